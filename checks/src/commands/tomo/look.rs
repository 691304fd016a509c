//! `parthood tomo compare` and `view`.

use super::{CompareArgs, ViewArgs, Which};
use crate::commands::{Console, Tone};
use crate::error::{Error, Status};
use crate::files;
use parthood_tomography::compare::{
    Comparison, Shell, compare as compare_volumes, fourier_shells, resolution,
};
use parthood_tomography::io::{Source, check_different};
use parthood_tomography::view::{Window, page, slices};
use serde_json::json;
use std::fmt::Write;

/// The correlations at which the resolution is read off.
const THRESHOLDS: [f64; 2] = [0.5, 0.143];

pub(super) fn compare(console: &Console, args: &CompareArgs) -> Result<Status, Error> {
    if args.tolerance.is_nan() || args.tolerance < 0.0 {
        return Err(Error::Usage(format!("--tolerance is {}; it must be at least 0", args.tolerance)));
    }
    check_different([&*args.left, &args.right], args.fsc.as_deref())?;
    let [mut left, mut right] = [Source::open(&args.left)?, Source::open(&args.right)?];
    let voxel = left.pixel_angstrom().ok();
    let [left_order, right_order] = Which::orders(args.imod_order);
    let (left, right) = (left.read(left_order)?, right.read(right_order)?);
    let found = compare_volumes(&left, &right)?;
    let shells = if args.no_fsc { None } else { Some(fourier_shells(&left, &right)?) };
    if let (Some(file), Some(shells)) = (&args.fsc, &shells) {
        files::write(file, csv(shells, voxel))?;
    }
    let differs = found.relative_l2 > args.tolerance || (args.bits && found.bits > 0);
    if args.json {
        let at = |threshold| shells.as_deref().and_then(|shells| resolution(shells, threshold));
        console.json(&json!({
            "schema": "parthood.tomo.comparison/1", "left": args.left, "right": args.right,
            "relative_l2": found.relative_l2, "largest": found.largest, "at": found.place,
            "voxels_that_differ": found.voxels, "bits_that_differ": found.bits,
            "frequency_per_voxel_at_0.5": at(0.5), "frequency_per_voxel_at_0.143": at(0.143),
            "voxel_angstrom": voxel, "differs": differs,
        }))?;
    } else {
        tell(console, &found, left.shape().len(), differs)?;
        if let Some(shells) = &shells {
            console.line(format_args!("Fourier shells  {}", shells_in_words(shells, voxel)))?;
        }
    }
    Ok(if differs { Status::Violated } else { Status::Done })
}

fn tell(console: &Console, found: &Comparison, voxels: usize, differs: bool) -> Result<(), Error> {
    let tone = if differs { Tone::Bad } else { Tone::Good };
    let relative = format!("{:.4e}", found.relative_l2);
    console.line(format_args!("relative L2     {}", console.paint(tone, &relative)))?;
    let [z, y, x] = found.place;
    let place = if found.largest > 0.0 { format!(" at x {x}, y {y}, z {z}") } else { String::new() };
    console.line(format_args!("largest         {}{place}", found.largest))?;
    let bits = if found.bits == 0 {
        console.paint(Tone::Good, "0 bits differ")
    } else {
        format!("{} bits differ, in {} of {voxels} voxels", found.bits, found.voxels)
    };
    console.line(format_args!("bits            {bits}"))
}

/// A frequency in cycles per voxel as a length, where the voxel is known.
fn length(frequency: f64, voxel: Option<f64>) -> String {
    voxel.map_or_else(
        || format!("{:.2} voxels", 1.0 / frequency),
        |voxel| format!("{:.2} \u{c5}", voxel / frequency),
    )
}

fn shells_in_words(shells: &[Shell], voxel: Option<f64>) -> String {
    let at = THRESHOLDS.map(|threshold| {
        let place = resolution(shells, threshold)
            .map_or_else(|| "nowhere up to Nyquist".to_owned(), |frequency| length(frequency, voxel));
        format!("below {threshold}: {place}")
    });
    at.join("; ")
}

fn csv(shells: &[Shell], voxel: Option<f64>) -> String {
    let mut text = "frequency_per_voxel,resolution_angstrom,correlation,frequencies\n".to_owned();
    for Shell { frequency, correlation, count } in shells {
        let length =
            voxel.filter(|_| *frequency > 0.0).map_or_else(String::new, |p| format!("{:.4}", p / frequency));
        let correlation = correlation.map_or_else(String::new, |value| format!("{value:.6}"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{frequency:.6},{length},{correlation},{count}");
    }
    text
}

pub(super) fn view(console: &Console, args: &ViewArgs) -> Result<Status, Error> {
    let name = args.out.clone().unwrap_or_else(|| args.volume.with_extension(""));
    let named = |extension: &str| {
        let mut named = name.clone().into_os_string();
        named.push(extension);
        std::path::PathBuf::from(named)
    };
    let (png, html) = (named(".png"), named(".html"));
    check_different([&*args.volume], [&*png, &html])?;
    let mut reader = Source::open(&args.volume)?;
    let voxel = args.pixel.map_or_else(|| reader.pixel_angstrom(), Ok)?;
    let volume = reader.read(args.file.order())?;
    let shape = volume.shape();
    let middle = shape.to_array().map(|extent| extent / 2);
    let place = args.at.map_or(middle, |[x, y, z]| [z, y, x]);
    let window = args.window.map_or_else(|| Window::of(&volume), |[low, high]| Window { low, high });
    let picture = slices(&volume, place, voxel, window)?;
    let title = args.volume.file_name().unwrap_or_default().to_string_lossy();
    let page = page(&volume, voxel, window, &title, reader.labels())?;
    files::write(&png, picture.to_png()?)?;
    files::write(&html, page)?;
    if args.json {
        let [z, y, x] = place;
        console.json(&json!({
            "schema": "parthood.tomo.view/1", "png": png, "html": html, "at": [x, y, z],
            "black": window.low, "white": window.high, "voxel_angstrom": voxel,
        }))?;
    } else {
        let [z, y, x] = place;
        console.line(format_args!("{}: slices at x {x}, y {y}, z {z}", png.display()))?;
        console.line(format_args!("{}: all of it, to scroll through in a browser", html.display()))?;
        console.line(format_args!("black is {}, white is {}", window.low, window.high))?;
    }
    Ok(Status::Done)
}
