//! A tilt series of a volume: the gradient of all images' misfit with respect to every voxel.
//!
//! A tilt's slices are `p` times the sums of `bin` planes of the turned volume ([`Rotation`]), so with the gradient
//! `g_s` of a slice the volume's is `p R^T g`, `g_s` repeated over the bin. Turning acts on every slab of rows by
//! itself; the wave needs them all. That splits one tilt into three steps, and it is these that parts of a computation
//! exchange ([`super::Tilts`]):
//!
//! ```text
//! turn       owner of a slab     slab of the volume -> slab of slices
//! respond    whoever does a tilt all slabs of slices -> misfit, slabs of the slices' gradient
//! turn_back  owner of a slab     adds a tilt's slab of gradient to the volume's, tilts in their order
//! ```
//!
//! The order in which tilts are added is the order in which they are listed, whoever did them and whenever; the sum of
//! losses is a tree over that list. So the number of threads or workers does not enter.

use super::{Exposure, Focus, Grid, Here, Loss, Microscope, Misfit, Optics, Recorded, Workspace};
use crate::project::Rotation;
use crate::sum::tree_sum;
use crate::{Error, LANES, Projections, Result, Shape, Slab, Tilt, Volume};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Mutex;

/// The largest norm of the bilinear rotation (measured over all angles: 1.0225 at 45 degrees).
const ROTATION_NORM: f64 = 1.03;

/// One tilt and the foci at which it was recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shot {
    /// The tilt.
    pub tilt: Tilt,
    /// The foci, at least one.
    pub foci: Vec<Focus>,
}

/// What a multislice reconstruction computes with: everything that parts must share to equal the whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The microscope.
    pub microscope: Microscope,
    /// Side of a voxel and of a pixel in Angstrom.
    pub pixel_angstrom: f64,
    /// The volume.
    pub volume: Shape,
    /// Columns of an image (x').
    pub columns: usize,
    /// Rows of vacuum beyond the volume's last row. Waves are periodic along y: without vacuum the rows at both ends
    /// are neighbours.
    pub vacuum_rows: usize,
    /// Planes of the turned volume that make a slice.
    pub bin: usize,
    /// The tilts. Gradients are added in this order.
    pub shots: Vec<Shot>,
    /// The measure of misfit.
    pub loss: Loss,
    /// Rows whose misfit counts in the reported loss; all of them act on the gradient.
    pub counted: Range<usize>,
    /// Tilts that are worked on at the same time, whatever the number of threads: memory is proportional to it.
    pub wave_of_tilts: usize,
    /// Whether to keep only every sqrt(S)-th wave and compute the others again; the same bits for less memory.
    pub checkpoints: bool,
}

impl Setup {
    /// A setup with the usual choices: slices of 4 planes, no vacuum, the loss of amplitudes, all rows counted.
    pub fn new(microscope: Microscope, pixel_angstrom: f64, volume: Shape, shots: Vec<Shot>) -> Self {
        Self {
            microscope,
            pixel_angstrom,
            volume,
            columns: volume.columns,
            vacuum_rows: 0,
            bin: 4,
            shots,
            loss: Loss::Amplitude,
            counted: 0..volume.rows,
            wave_of_tilts: 8,
            checkpoints: false,
        }
    }

    /// The shape of the images: those of a shot's foci follow one another.
    pub fn images(&self) -> Shape {
        let planes = self.shots.iter().map(|shot| shot.foci.len()).sum();
        Shape { planes, rows: self.volume.rows, columns: self.columns }
    }

    /// The length of the beam's path through the volume at a tilt, in Angstrom.
    pub fn thickness_angstrom(&self, tilt: &Tilt) -> f64 {
        (self.slices(tilt) * self.bin) as f64 * self.pixel_angstrom
    }

    /// The slices of the volume turned to a tilt: as many as lose no voxel.
    pub(crate) fn slices(&self, tilt: &Tilt) -> usize {
        let depth = Rotation::depth([self.volume.planes, self.volume.columns], tilt);
        let slices = depth.div_ceil(self.bin);
        // With the parity of the volume's planes, a turned plane at tilt 0 is a plane of the volume.
        slices + usize::from((slices * self.bin + self.volume.planes) % 2 == 1 && self.bin % 2 == 1)
    }

    fn check(&self) -> Result<()> {
        for (name, value) in [
            ("number of tilts", self.shots.len()),
            ("planes of a slice", self.bin),
            ("tilts at the same time", self.wave_of_tilts),
        ] {
            if !(1..=Shape::MAX_EXTENT).contains(&value) {
                return Err(Error::parameter(name, value, "between 1 and 1048576"));
            }
        }
        if self.vacuum_rows > Shape::MAX_EXTENT {
            return Err(Error::parameter("rows of vacuum", self.vacuum_rows, "at most 1048576"));
        }
        if self.counted.is_empty() || self.counted.end > self.volume.rows {
            let range = format!("{:?}", self.counted);
            return Err(Error::parameter("range of counted rows", range, "within the volume, and not empty"));
        }
        Ok(())
    }
}

/// What was recorded of one shot, in the layout of waves.
#[derive(Debug, Default)]
struct Image {
    intensities: Vec<f32>,
    weights: Option<Vec<f32>>,
}

/// A tilt's answer: its misfit and the gradient with respect to its slices, slab by slab.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The misfit; its loss is that of the counted rows.
    pub misfit: Misfit,
    /// Slabs of the slices' gradient, `[slice][x']`.
    pub slabs: Vec<Slab>,
}

/// A tilt series prepared for multislice.
pub struct Series {
    setup: Setup,
    optics: Optics<f32>,
    rotations: Vec<Rotation>,
    images: Vec<Image>,
    spare: Mutex<Vec<Workspace<f32>>>,
}

impl Series {
    /// Prepares a series. `images` are intensities as multiples of that of the bare beam, in the order of shots and
    /// their foci; `weights` tell how much each pixel counts (all 1 if none are given).
    ///
    /// # Errors
    /// [`Error::Shape`] if images or weights do not fit the setup, [`Error::Parameter`] if the setup makes no sense,
    /// an intensity is negative, or a weight is.
    pub fn new(setup: Setup, images: &Projections, weights: Option<&Projections>) -> Result<Self> {
        let mut series = Self::without_images(setup)?;
        series.record(images, weights)?;
        Ok(series)
    }

    /// Takes what was recorded.
    pub(super) fn record(&mut self, images: &Projections, weights: Option<&Projections>) -> Result<()> {
        let shape = self.setup.images();
        for (what, stack) in [("recorded images", Some(images)), ("weights of images", weights)] {
            let Some(stack) = stack else { continue };
            stack.check_shape(what, shape)?;
            stack.check_finite(what)?;
            let lanes = stack.slabs().iter().flat_map(|slab| &slab.data).flat_map(|lanes| &lanes.0);
            if let Some(negative) = lanes.into_iter().find(|value| **value < 0.0) {
                return Err(Error::parameter(what, negative, "not negative"));
            }
        }
        let mut first = 0;
        for shot in &self.setup.shots {
            let planes = first..first + shot.foci.len();
            first = planes.end;
            let intensities = self.to_wave_order(images, planes.clone(), 1.0);
            // Rows of vacuum were not recorded.
            let vacuum = self.setup.vacuum_rows > 0;
            let weights = match weights {
                Some(weights) => Some(self.to_wave_order(weights, planes, 0.0)),
                None if vacuum => Some(self.to_wave_order(&ones(shape), planes, 0.0)),
                None => None,
            };
            self.images.push(Image { intensities, weights });
        }
        Ok(())
    }

    /// The images that a volume (in volt) makes, as intensities.
    ///
    /// # Errors
    /// As [`Series::new`]; [`Error::Shape`] if the volume is not of the setup.
    pub fn simulate(setup: Setup, volume: &Volume) -> Result<Projections> {
        let series = Self::without_images(setup)?;
        volume.check_shape("volume to image", series.setup.volume)?;
        let images = (0..series.setup.shots.len()).into_par_iter().with_max_len(1).map(|shot| {
            let stack = series.gather(series.turn_all(shot, volume.slabs()));
            series.with_workspace(|ws| series.exposure(shot)?.intensities(&stack, ws))
        });
        let images: Vec<f32> = images.collect::<Result<Vec<_>>>()?.concat();
        let grid = series.optics.grid();
        Ok(Projections::from_fn(series.setup.images(), |plane, row, column| {
            images[(plane * grid.x + column) * grid.y + row]
        }))
    }

    /// Fails if a setup makes no sense.
    ///
    /// # Errors
    /// As [`Series::new`].
    pub fn check_setup(setup: Setup) -> Result<()> {
        Self::without_images(setup).map(drop)
    }

    pub(super) fn without_images(setup: Setup) -> Result<Self> {
        setup.check()?;
        let grid = Grid::new(setup.columns, setup.volume.rows + setup.vacuum_rows, setup.pixel_angstrom)?;
        let optics = Optics::new(setup.microscope, grid, setup.bin as f64 * setup.pixel_angstrom)?;
        let plane = [setup.volume.planes, setup.volume.columns];
        let rotation = |shot: &Shot| {
            Rotation::new(plane, [setup.slices(&shot.tilt), setup.columns], setup.bin, shot.tilt)
        };
        let rotations: Vec<Rotation> = setup.shots.iter().map(rotation).collect::<Result<_>>()?;
        let series = Self { setup, optics, rotations, images: Vec::new(), spare: Mutex::default() };
        (0..series.setup.shots.len()).try_for_each(|shot| series.exposure(shot).map(drop))?;
        Ok(series)
    }

    /// The setup.
    pub const fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The slices of a shot, in volt Angstrom, that a slab of the volume makes.
    pub fn turn(&self, shot: usize, slab: &Slab) -> Slab {
        let rotation = &self.rotations[shot];
        let [slices, columns] = rotation.slice_plane();
        let mut beam = Slab::zeros(slices, columns);
        rotation.turn(slab, self.setup.pixel_angstrom as f32, &mut beam);
        beam
    }

    /// The misfit of a shot and the gradient with respect to its slices, from all slabs of slices in order.
    ///
    /// # Errors
    /// [`Error::Shape`] if slabs are missing or not of this shot.
    pub fn respond(&self, shot: usize, beams: Vec<Slab>) -> Result<Response> {
        self.check_beams(shot, &beams)?;
        let stack = self.gather(beams);
        let mut gradient = vec![0.0; stack.len()];
        let image = &self.images[shot];
        let recorded = Recorded {
            intensities: &image.intensities,
            weights: image.weights.as_deref(),
            counted: self.setup.counted.clone(),
        };
        let misfit = self.with_workspace(|ws| {
            self.exposure(shot)?.gradient(&stack, &recorded, self.setup.loss, ws, &mut gradient)
        })?;
        Ok(Response { misfit, slabs: self.scatter(&gradient) })
    }

    /// Adds a shot's slab of slices' gradient to the volume's slab.
    pub fn turn_back(&self, shot: usize, gradient: &Slab, slab: &mut Slab) {
        self.rotations[shot].turn_back(gradient, self.setup.pixel_angstrom as f32, slab);
    }

    /// The misfit of some shots and its gradient with respect to the volume (1/V), computed in this process.
    ///
    /// # Errors
    /// [`Error::Shape`] if volume or gradient are not of the setup.
    pub fn gradient(&self, volume: &Volume, shots: &[usize], gradient: &mut Volume) -> Result<Misfit> {
        volume.check_shape("volume", self.setup.volume)?;
        self.gradient_by(&mut Here, volume, shots, gradient)
    }

    /// The product of the Gauss-Newton matrix of some shots at a volume with a change of it.
    ///
    /// # Errors
    /// [`Error::Shape`] if volume or change are not of the setup.
    pub fn gauss_newton(&self, volume: &Volume, change: &Volume, shots: &[usize]) -> Result<Volume> {
        volume.check_shape("volume", self.setup.volume)?;
        change.check_shape("change of the volume", self.setup.volume)?;
        let mut product = Volume::zeros(self.setup.volume);
        let of_shot = |shot: &usize| {
            let stack = self.gather(self.turn_all(*shot, volume.slabs()));
            let change = self.gather(self.turn_all(*shot, change.slabs()));
            let weights = self.images[*shot].weights.as_deref();
            let product = self.with_workspace(|ws| {
                self.exposure(*shot)?.gauss_newton(&stack, &change, weights, self.setup.loss, ws)
            })?;
            Ok(self.scatter(&product))
        };
        for shots in shots.chunks(self.setup.wave_of_tilts) {
            let slabs: Vec<Vec<Slab>> =
                shots.par_iter().with_max_len(1).map(of_shot).collect::<Result<_>>()?;
            let slabs: Vec<&[Slab]> = slabs.iter().map(|slabs| &slabs[..]).collect();
            self.add(shots, &slabs, &mut product);
        }
        Ok(product)
    }

    /// A bound of the curvature of some shots for the loss of amplitudes, by Cauchy and Schwarz along the beam:
    /// `sigma^2 p^2 (1 + absorption^2) sum over shots of (planes of the turned volume) (foci) |R|^2`.
    pub fn curvature_bound(&self, shots: &[usize]) -> f64 {
        let microscope = &self.setup.microscope;
        let step = microscope.beam.interaction * self.setup.pixel_angstrom * ROTATION_NORM;
        let rays = shots.iter().map(|shot| {
            let [slices, _] = self.slice_plane(*shot);
            (slices * self.setup.bin * self.setup.shots[*shot].foci.len()) as f64
        });
        step * step * (1.0 + microscope.absorption.powi(2)) * rays.sum::<f64>()
    }

    /// An estimate of the largest curvature of some shots at a volume: that many power iterations on the Gauss-Newton
    /// matrix. It comes from below; multiply by 1.1 for a step. It is one number of the whole series: parts that
    /// estimate their own cannot equal the whole.
    ///
    /// # Errors
    /// [`Error::Shape`] if the volume is not of the setup.
    pub fn curvature(&self, volume: &Volume, shots: &[usize], iterations: usize) -> Result<f64> {
        // Any vector that is not orthogonal to the largest one will do; this one has parts of all frequencies.
        let noise = |plane: usize, row: usize, column: usize| {
            let bits = (plane * 73 + row * 179 + column * 283 + plane * row * column * 7919) as u32;
            (bits.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32
        };
        let mut direction = Volume::from_fn(self.setup.volume, noise);
        let mut curvature = 0.0;
        for _ in 0..iterations {
            let norm = tree_sum(&direction.row_dots(&direction)).sqrt();
            if norm == 0.0 {
                return Ok(0.0);
            }
            let scale = (1.0 / norm) as f32;
            for lanes in direction.slabs_mut().iter_mut().flat_map(|slab| &mut slab.data) {
                lanes.0 = lanes.0.map(|value| value * scale);
            }
            direction = self.gauss_newton(volume, &direction, shots)?;
            curvature = tree_sum(&direction.row_dots(&direction)).sqrt();
        }
        Ok(curvature)
    }

    /// The largest phase in radian along any ray of any shot through a volume.
    ///
    /// # Errors
    /// [`Error::Shape`] if the volume is not of the setup.
    pub fn largest_phase(&self, volume: &Volume) -> Result<f64> {
        volume.check_shape("volume", self.setup.volume)?;
        let of_slab = |shot: usize, slab: &Slab| {
            let beam = self.turn(shot, slab);
            let mut rays = vec![[0.0_f32; LANES]; beam.columns];
            for (index, lanes) in beam.data.iter().enumerate() {
                rays[index % beam.columns].iter_mut().zip(lanes.0).for_each(|(ray, v)| *ray += v);
            }
            rays.iter().flatten().fold(0.0_f32, |largest, ray| largest.max(ray.abs()))
        };
        let of_shot = |shot| volume.slabs().iter().map(|slab| of_slab(shot, slab)).fold(0.0, f32::max);
        let largest = (0..self.setup.shots.len()).into_par_iter().map(of_shot).reduce(|| 0.0, f32::max);
        Ok(f64::from(largest) * self.setup.microscope.beam.interaction)
    }

    /// Adds what came back of some shots, slab by slab, to the slabs held here, in the order of the shots.
    pub(super) fn add(&self, shots: &[usize], slabs: &[&[Slab]], sum: &mut Volume) {
        sum.slabs_mut().par_iter_mut().enumerate().for_each(|(index, sum)| {
            for (shot, slabs) in shots.iter().zip(slabs) {
                self.turn_back(*shot, &slabs[index], sum);
            }
        });
    }

    /// The slices of a shot that some slabs of the volume make.
    pub(super) fn turn_all(&self, shot: usize, slabs: &[Slab]) -> Vec<Slab> {
        slabs.par_iter().map(|slab| self.turn(shot, slab)).collect()
    }

    /// Slices and columns of a shot.
    pub fn slice_plane(&self, shot: usize) -> [usize; 2] {
        self.rotations[shot].slice_plane()
    }

    fn exposure(&self, shot: usize) -> Result<Exposure<'_, f32>> {
        let [slices, _] = self.slice_plane(shot);
        self.optics.exposure(slices, &self.setup.shots[shot].foci)
    }

    fn check_beams(&self, shot: usize, beams: &[Slab]) -> Result<()> {
        let [planes, columns] = self.slice_plane(shot);
        let slabs = self.setup.volume.rows.div_ceil(LANES);
        let fits = |slab: &Slab| slab.columns == columns && slab.planes() == planes;
        if beams.len() == slabs && beams.iter().all(fits) {
            return Ok(());
        }
        let found = beams.first().map_or([0; 3], |slab| [slab.planes(), beams.len() * LANES, slab.columns]);
        Err(Error::Shape { what: "slabs of slices", expected: [planes, slabs * LANES, columns], found })
    }

    /// Slabs of slices as one stack `[slice][x'][y]`, vacuum beyond the last row.
    fn gather(&self, beams: Vec<Slab>) -> Vec<f32> {
        let (grid, rows) = (self.optics.grid(), self.setup.volume.rows);
        let mut stack = vec![0.0; beams.first().map_or(0, |slab| slab.data.len()) * grid.y];
        for (first, slab) in (0..rows).step_by(LANES).zip(beams) {
            let used = LANES.min(rows - first);
            for (row, lanes) in stack.chunks_exact_mut(grid.y).zip(&slab.data) {
                row[first..first + used].copy_from_slice(&lanes.0[..used]);
            }
        }
        stack
    }

    /// The reverse of [`Series::gather`]; vacuum is dropped.
    fn scatter(&self, stack: &[f32]) -> Vec<Slab> {
        let (grid, rows) = (self.optics.grid(), self.setup.volume.rows);
        let slab = |first: usize| {
            let used = LANES.min(rows - first);
            let mut slab = Slab::zeros(stack.len() / grid.len(), grid.x);
            for (lanes, row) in slab.data.iter_mut().zip(stack.chunks_exact(grid.y)) {
                lanes.0[..used].copy_from_slice(&row[first..first + used]);
            }
            slab
        };
        (0..rows).step_by(LANES).map(slab).collect()
    }

    /// Images of a stack in the order of waves, `[focus][x'][y]`, with a value for rows of vacuum.
    fn to_wave_order(&self, stack: &Projections, planes: Range<usize>, vacuum: f32) -> Vec<f32> {
        let (grid, rows) = (self.optics.grid(), self.setup.volume.rows);
        let mut values = vec![vacuum; planes.len() * grid.len()];
        for (plane, values) in planes.zip(values.chunks_exact_mut(grid.len())) {
            for (column, values) in values.chunks_exact_mut(grid.y).enumerate() {
                for (row, value) in values[..rows].iter_mut().enumerate() {
                    *value = stack.at(plane, row, column);
                }
            }
        }
        values
    }

    /// Runs with memory of an earlier run, if there is any.
    fn with_workspace<R>(&self, run: impl FnOnce(&mut Workspace<f32>) -> R) -> R {
        let lock = || self.spare.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let found = lock().pop();
        let mut ws = found.unwrap_or_else(|| self.optics.workspace(self.setup.checkpoints));
        let result = run(&mut ws);
        lock().push(ws);
        result
    }
}

/// The misfit of several shots in the order of their list.
pub(crate) fn total(misfits: &[Misfit]) -> Misfit {
    let losses: Vec<f64> = misfits.iter().map(|misfit| misfit.loss).collect();
    let outside = misfits.iter().map(|misfit| misfit.energy_outside).fold(0.0, f64::max);
    Misfit { loss: tree_sum(&losses), energy_outside: outside }
}

fn ones(shape: Shape) -> Projections {
    Projections::from_fn(shape, |_, _, _| 1.0)
}
