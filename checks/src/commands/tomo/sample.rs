//! `parthood tomo phantom` and `project`: samples and images that are made up.

use super::words::bytes;
use super::{Kind, PhantomArgs, ProjectArgs};
use crate::commands::Console;
use crate::error::{Error, Status};
use parthood_tomography::io::mrc::{Content, Order, Output};
use parthood_tomography::io::{Source, angles, check_different, check_room, check_writable, together, write};
use parthood_tomography::plan::Model;
use parthood_tomography::{Shape, phantom as samples};
use serde_json::json;
use std::path::Path;

const PROGRAM: &str = concat!("Parthood ", env!("CARGO_PKG_VERSION"));

pub(super) fn phantom(console: &Console, args: &PhantomArgs) -> Result<Status, Error> {
    let [columns, rows, planes] = args.size;
    let shape = Shape::new(planes, rows, columns)?;
    check_room(&args.out, 4 * shape.len() as u64)?;
    let (volume, what) = match args.kind {
        Kind::Clay => (samples::clay(shape, args.voxel, args.seed)?, format!("clay of seed {}", args.seed)),
        Kind::Beads => (samples::two_beads(shape)?, "two beads".to_owned()),
    };
    let mut output = Output::new(Content::Volume, args.voxel);
    output.labels = vec![format!("{PROGRAM} phantom, {what}")];
    write(&args.out, &volume, &output)?;
    if args.json {
        console.json(&json!({
            "schema": "parthood.tomo.phantom/1", "file": args.out, "shape": shape.to_array(),
            "voxel_angstrom": args.voxel, "what": what,
        }))?;
    } else {
        console.line(format_args!(
            "{}: {what}, {columns} x {rows} x {planes} voxels (x, y, z) of {} \u{c5}, {}",
            args.out.display(),
            args.voxel,
            bytes(4 * shape.len() as u64)
        ))?;
    }
    Ok(Status::Done)
}

pub(super) fn project(console: &Console, args: &ProjectArgs) -> Result<Status, Error> {
    let tlt = args.out.with_extension("tlt");
    let inputs = [&*args.volume].into_iter().chain(args.tilts.files()).chain(args.model.files());
    check_different(inputs, [&*args.out, &tlt])?;
    check_writable(&args.out)?;
    let mut reader = Source::open(&args.volume)?;
    let pixel = args.pixel.map_or_else(|| reader.pixel_angstrom(), Ok)?;
    let (noted, tilts) = args.tilts.angles()?;
    angles::check_all(&tlt, &noted)?;
    let model = args.model.model(tilts.len(), &[], false)?;
    let shape = reader.shape(Order::Planes)?;
    let needed = model.imaging_bytes(shape, pixel, &tilts, args.machine.threads());
    args.machine.check_memory("projecting this", needed)?;
    let volume = reader.read(Order::Planes)?;
    let images = args.machine.on_threads(|| model.images(&volume, pixel, &tilts))??;
    let mut output = Output::new(Content::Images, pixel);
    let what = match &model {
        Model::Linear => "sums along rays".to_owned(),
        _ => format!("intensities at {} foci", model.images_per_tilt()),
    };
    output.labels = vec![format!("{PROGRAM} projections, {what}")];
    output.angles_deg = (model.images_per_tilt() == 1).then(|| noted.clone());
    check_room(&args.out, 4 * images.shape().len() as u64)?;
    // A series beside another's angles would be taken for that.
    together(&args.out, |folder| {
        let staged = |path: &Path| folder.join(path.file_name().unwrap_or_default());
        angles::write(&staged(&tlt), &noted)?;
        write(&staged(&args.out), &images, &output)
    })?;
    let Shape { planes, rows, columns } = images.shape();
    if args.machine.json {
        console.json(&json!({
            "schema": "parthood.tomo.projections/1", "file": args.out, "angles": tlt,
            "images": planes, "tilts": tilts.len(), "shape": [planes, rows, columns], "pixel_angstrom": pixel,
        }))?;
    } else {
        console.line(format_args!(
            "{}: {what}, {planes} images of {columns} x {rows} pixels; angles in {}",
            args.out.display(),
            tlt.display()
        ))?;
    }
    Ok(Status::Done)
}
