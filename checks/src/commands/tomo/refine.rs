//! `parthood tomo refine`: shifts and defoci of the tilts, by a reconstruction.

use super::RefineArgs;
use super::options::{inputs, spec_of};
use crate::commands::Console;
use crate::error::{Error, Status};
use parthood_tomography::align::Place;
use parthood_tomography::io::xf::{self, Transform};
use parthood_tomography::io::{Order, Source, Survey, check_different, check_writable, foci};
use parthood_tomography::plan::{Correction, Model, Refinement};
use parthood_tomography::wave::Focus;
use serde_json::json;
use std::path::{Path, PathBuf};

pub(super) fn refine(console: &Console, args: &RefineArgs) -> Result<Status, Error> {
    let [to_xf, to_foci] = ["xf", "foci"].map(|extension| named(&args.out, extension));
    let given = inputs(&args.series, &args.model).chain([&*args.volume]);
    check_different(given, [&*to_xf, &to_foci])?;
    check_writable(&to_xf)?;
    check_writable(&to_foci)?;
    let mut reader = Source::open(&args.volume)?;
    let shape = reader.shape(args.file.order())?;
    let spec = spec_of(&args.series, &args.model, false, [shape.planes, shape.columns])?;
    args.machine.check_memory("refining this", spec.refining_bytes(args.machine.threads()))?;
    let volume = reader.read(args.file.order())?;
    spec.contrast.check_series(&Survey::of(&args.series.series)?)?;
    let images = spec.prepare(Source::open(&args.series.series)?.read(Order::Planes)?)?;
    let what = Refinement { shift_max_px: args.shift_max.into(), foci: !args.keep_foci };
    let found = args.machine.on_threads(|| spec.refine(&volume, &images, what))??;
    let better = spec.corrected(&found.corrections);
    let mut places = better.alignment.places;
    places.resize(spec.images(), Place::leaning(0.0, [0.0; 2]));
    let transforms: Vec<Transform> = places.into_iter().map(Transform::from).collect();
    let mut files = vec![&to_xf];
    if let Model::Multislice(model) = &better.model {
        let underfocus = |tilt: &Vec<_>| tilt.iter().map(|focus: &Focus| -focus.distance_angstrom).collect();
        foci::write(&to_foci, &model.foci.iter().map(underfocus).collect::<Vec<_>>())?;
        files.push(&to_foci);
    }
    xf::write(&to_xf, &transforms)?;
    let [before, after] = found.misfit;
    for (tilt, correction) in spec.tilts.iter().zip(&found.corrections) {
        let Correction { shift_px: [x, y], distance_angstrom } = correction;
        if args.machine.json {
            console.json(&json!({
                "schema": "parthood.tomo.correction/1", "tilt_deg": tilt.angle_deg, "shift_px": [x, y],
                "underfocus_angstrom": 0.0 - distance_angstrom,
            }))?;
        } else {
            // Rays have no focus; and what was not moved is moved by 0.0, not by -0.0.
            let focus = if spec.model == Model::Linear {
                String::new()
            } else {
                format!("   underfocus {:>+8.1} \u{c5}", 0.0 - distance_angstrom)
            };
            console.line(format_args!("{:>7.2} deg   shift {x:>6.2}, {y:>6.2} px{focus}", tilt.angle_deg))?;
        }
    }
    if args.machine.json {
        console
            .json(&json!({"schema": "parthood.tomo.refined/1", "files": files, "misfit": found.misfit}))?;
    } else {
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        console.line(format_args!("{}: misfit {before:.4e}, then {after:.4e}", files.join(", ")))?;
    }
    Ok(Status::Done)
}

/// A name with an extension behind it.
fn named(name: &Path, extension: &str) -> PathBuf {
    let mut named = name.as_os_str().to_owned();
    named.push(".");
    named.push(extension);
    PathBuf::from(named)
}
