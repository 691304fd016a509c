//! The demo's tomogram: a clay that is reconstructed from its out-of-focus images, whole and by parts, each of which holds its
//! rows of the volume and no others.

use super::title;
use crate::commands::{Console, Tone};
use crate::error::{Error, Status};
use crate::files;
use parthood_tomography::align::Alignment;
use parthood_tomography::compare::compare;
use parthood_tomography::phantom::clay;
use parthood_tomography::plan::{Contrast, Mode, Model, Multislice, Plan, Solver, Spec};
use parthood_tomography::solve::{Prior, Progress, Whole};
use parthood_tomography::view::{Window, page, slices};
use parthood_tomography::wave::{Focus, Loss, Microscope};
use parthood_tomography::{Shape, Tilt, TiltSign, Volume};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

const VOXEL_ANGSTROM: f64 = 2.0;
/// Near focus fine detail shows, far from it what is large.
const UNDERFOCUS_ANGSTROM: [f64; 3] = [2000.0, 6000.0, 30_000.0];
/// Of sixteen rows each.
const PARTS: usize = 3;
const ITERATIONS: usize = 25;

/// What is reconstructed, and how.
fn spec(shape: Shape) -> Result<Spec, Error> {
    let angles: Vec<f64> = (-6..=6).map(|step| 10.0 * f64::from(step)).collect();
    let foci = UNDERFOCUS_ANGSTROM.map(Focus::underfocus).to_vec();
    let model = Model::Multislice(Multislice {
        microscope: Microscope::ideal(300e3)?,
        foci: vec![foci; angles.len()],
        bin: 4,
        vacuum_rows: 0,
        loss: Loss::Amplitude,
        wave_of_tilts: 4,
        checkpoints: false,
    });
    Ok(Spec {
        volume: shape,
        voxel_angstrom: VOXEL_ANGSTROM,
        pixels: shape.columns,
        tilts: Tilt::series(&angles, TiltSign::Positive)?,
        alignment: Alignment::default(),
        contrast: Contrast::Intensity { vacuum: 1.0 },
        model,
        solver: Solver::OrderedSubsets { subsets: 5, relaxation: 0.7, momentum_max: 0.9 },
        prior: Prior { positive: true, tv: None },
        iterations: ITERATIONS,
        seed: 1,
        mode: Mode::Exact {},
    })
}

pub(super) fn reconstructed(console: &Console, folder: &Path) -> Result<Status, Error> {
    title(console, "4. A clay of wavy sheets, from images of its electron waves, whole and by parts")?;
    let started = Instant::now();
    let shape = Shape::new(32, 48, 64)?;
    let truth = clay(shape, VOXEL_ANGSTROM, 5)?;
    let spec = spec(shape)?;
    let images = spec.model.images(&truth, VOXEL_ANGSTROM, &spec.tilts)?;
    let plan = Plan::new(spec)?;
    let mut losses = Vec::new();
    let mut told = |progress: Progress| {
        losses.push(progress.loss);
        ControlFlow::Continue(())
    };
    let whole = plan.reconstruct(0, &images, &mut Whole, &mut told)?;
    let parts = plan.reconstruct_by_parts(&images, PARTS)?;
    let (found, equal) = (compare(&truth, &whole)?, compare(&whole, &parts)?);
    console.line(format_args!(
        "  {} images, {ITERATIONS} passes in {:.1} s: the misfit falls from {:.1} to {:.2}",
        plan.spec.images(),
        started.elapsed().as_secs_f64(),
        losses.first().copied().unwrap_or_default(),
        losses.last().copied().unwrap_or_default()
    ))?;
    console.line(format_args!(
        "  relative error {:.2}: angles beyond 60 degrees are missing, as in a microscope",
        found.relative_l2
    ))?;
    let verdict = format!("the whole and {PARTS} parts of it: {} bits differ", equal.bits);
    let tone = if equal.bits == 0 { Tone::Good } else { Tone::Bad };
    console.line(format_args!("  {}", console.paint(tone, &verdict)))?;
    pictures(folder, &truth, &whole, &parts, &plan)?;
    Ok(if equal.bits == 0 { Status::Done } else { Status::Violated })
}

fn pictures(folder: &Path, truth: &Volume, whole: &Volume, parts: &Volume, plan: &Plan) -> Result<(), Error> {
    let middle = truth.shape().to_array().map(|extent| extent / 2);
    let window = Window::of(truth);
    for (name, volume) in [("clay.png", truth), ("tomogram.png", whole), ("parts.png", parts)] {
        files::write(&folder.join(name), slices(volume, middle, VOXEL_ANGSTROM, window)?.to_png()?)?;
    }
    let notes = [plan.spec.summary(), format!("plan {}", plan.hash()?)];
    files::write(&folder.join("tomogram.html"), page(whole, VOXEL_ANGSTROM, window, "tomogram", &notes)?)
}
