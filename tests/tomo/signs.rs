//! Signs, orders and notes as other programs give them: each is tried right, and with the other sign, which must show.

use super::{done, folder, json};
use std::fs;
use std::path::Path;

/// An array of `NumPy` of three axes: its extents and values.
type Array = ([usize; 3], Vec<f32>);

fn read_npy(path: &Path) -> Array {
    let bytes = fs::read(path).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = std::str::from_utf8(&bytes[10..10 + header]).unwrap();
    let shape = text.split(['(', ')']).nth(1).unwrap();
    let shape: Vec<usize> = shape.split(", ").map(|extent| extent.parse().unwrap()).collect();
    let values =
        bytes[10 + header..].chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    (shape.try_into().unwrap(), values.collect())
}

fn write_npy(path: &Path, ([planes, rows, columns], values): &Array) {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({planes}, {rows}, {columns})}}");
    let length = u16::try_from(text.len()).unwrap().to_le_bytes();
    let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(path, [b"\x93NUMPY\x01\x00".as_slice(), &length, text.as_bytes(), &values].concat()).unwrap();
}

/// Images as a camera shows them whose picture of the tilt axis leans from +y towards +x: point (x, y) of an upright image
/// falls on `(x cos + y sin, y cos - x sin)`. Interpolated from the upright ones, 0 outside.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small images"
)]
fn leaning(([planes, rows, columns], upright): &Array, degrees: f64) -> Array {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let [y_centre, x_centre] = [rows, columns].map(|extent| (*extent as f64 - 1.0) / 2.0);
    let mut values = Vec::with_capacity(upright.len());
    for image in upright.chunks_exact(rows * columns) {
        let pixel = |y: f64, x: f64| {
            let is_inside = (0.0..*rows as f64).contains(&y) && (0.0..*columns as f64).contains(&x);
            if is_inside { f64::from(image[y as usize * columns + x as usize]) } else { 0.0 }
        };
        for place in 0..rows * columns {
            let (x, y) = ((place % columns) as f64 - x_centre, (place / columns) as f64 - y_centre);
            let (x, y) = (x * cos - y * sin + x_centre, y * cos + x * sin + y_centre);
            let (along_x, along_y) = (x - x.floor(), y - y.floor());
            let row = |y: f64| (1.0 - along_x) * pixel(y, x.floor()) + along_x * pixel(y, x.floor() + 1.0);
            values.push(((1.0 - along_y) * row(y.floor()) + along_y * row(y.floor() + 1.0)) as f32);
        }
    }
    ([*planes, *rows, *columns], values)
}

#[test]
fn a_leaning_axis_is_put_upright_by_its_angle_and_not_by_the_other() {
    let folder = folder();
    let folder = folder.path();
    done(folder, &["phantom", "beads.mrc", "--kind", "beads", "--size", "48,48,32"]);
    done(folder, &["project", "beads.mrc", "upright.npy", "--tilts=-70:70:5"]);
    write_npy(&folder.join("tilts.npy"), &leaning(&read_npy(&folder.join("upright.npy")), 20.0));
    fs::rename(folder.join("upright.tlt"), folder.join("tilts.tlt")).unwrap();
    // IMOD's transforms lead from the camera to the upright image.
    let (sin, cos) = 20_f64.to_radians().sin_cos();
    for (name, sin) in [("right.xf", sin), ("wrong.xf", -sin)] {
        fs::write(folder.join(name), format!("{cos} {} {sin} {cos} 0 0\n", -sin).repeat(29)).unwrap();
    }
    let distance = |axis: [&str; 2]| {
        let base = ["reconstruct", "tilts.npy", "-o", "rec.mrc", "--planes", "32", "--iterations", "15"];
        done(folder, &[&base[..], &["--pixel", "2"], &axis].concat());
        json(folder, &["compare", "beads.mrc", "rec.mrc", "--no-fsc"])["relative_l2"].as_f64().unwrap()
    };
    let right = [distance(["--axis-angle", "20"]), distance(["--xf", "right.xf"])];
    let wrong = [distance(["--axis-angle", "-20"]), distance(["--xf", "wrong.xf"])];
    println!("right {right:?}, wrong {wrong:?}");
    assert!(right.iter().all(|distance| *distance < 0.35), "{right:?}");
    assert!(wrong.iter().all(|distance| *distance > 0.7), "{wrong:?}");
}

/// `clip rotx` of IMOD makes section k of its output from the lines `ny - 1 - k` of all sections, in their order.
#[test]
fn volumes_in_the_order_of_imod_are_turned_and_not_mirrored() {
    let folder = folder();
    let folder = folder.path();
    done(folder, &["phantom", "beads.mrc", "--kind", "beads", "--size", "20,24,16"]);
    done(folder, &["project", "beads.mrc", "tilts.mrc", "--tilts=-70:70:10"]);
    let solve = ["reconstruct", "tilts.mrc", "--planes", "16", "--iterations", "8", "-o"];
    done(folder, &[&solve[..], &["rec.npy"]].concat());
    done(folder, &[&solve[..], &["imod.npy", "--imod-order"]].concat());
    let (([planes, rows, columns], turned), (shape, left)) =
        (read_npy(&folder.join("rec.npy")), read_npy(&folder.join("imod.npy")));
    assert_eq!(shape, [rows, planes, columns]);
    for (place, value) in turned.iter().enumerate() {
        let (z, y, x) = (place / (rows * columns), place / columns % rows, place % columns);
        let there = left[(y * planes + planes - 1 - z) * columns + x];
        assert_eq!(value.to_bits(), there.to_bits(), "{x} {y} {z}");
    }
    // Whoever reads it says so, of either volume.
    for (left, right, order) in [
        ("rec.npy", "imod.npy", "--imod-order=right"),
        ("imod.npy", "rec.npy", "--imod-order=left"),
        ("imod.npy", "imod.npy", "--imod-order"),
    ] {
        done(folder, &["compare", left, right, order, "--bits", "--no-fsc"]);
    }
    // In files of other formats the same.
    done(folder, &[&solve[..], &["rec.mrc", "--imod-order"]].concat());
    done(folder, &["compare", "rec.npy", "rec.mrc", "--imod-order=right", "--bits", "--no-fsc"]);
    done(folder, &["view", "rec.mrc", "--imod-order"]);
}

#[test]
fn notes_and_options_of_other_programs_say_the_same_in_their_own_ways() {
    let folder = folder();
    let folder = folder.path();
    done(folder, &["phantom", "clay.mrc", "--size", "24,32,16"]);
    let optics = ["--kv", "300", "--underfocus", "1000"];
    done(folder, &[&["project", "clay.mrc", "waves.mrc", "--tilts=-60:60:20"], &optics[..]].concat());
    let solve = ["reconstruct", "waves.mrc", "--planes", "16", "--iterations", "3", "-o"];
    done(folder, &[&solve[..], &["rec.mrc"], &optics].concat());
    let same = |more: &[&str]| {
        done(folder, &[&solve[..], &["other.mrc"], more].concat());
        json(folder, &["compare", "rec.mrc", "other.mrc", "--no-fsc"])["bits_that_differ"] == 0
    };
    assert!(same(&["--kv", "300", "--overfocus=-1000"]));
    assert!(!same(&["--kv", "300", "--overfocus=1000"]));
    fs::rename(folder.join("waves.tlt"), folder.join("waves.rawtlt")).unwrap();
    assert!(same(&optics), "angles as recorded are found by themselves");
    fs::remove_file(folder.join("waves.rawtlt")).unwrap();
    // SerialEM notes micrometres, negative below focus.
    let notes = |defocus: &str| {
        let image = |index: i32| {
            format!("[ZValue = {index}]\nTiltAngle = {}\nTargetDefocus = {defocus}\n\n", 20 * index - 60)
        };
        let images: String = (0..7).map(image).collect();
        fs::write(folder.join("notes.mdoc"), format!("PixelSpacing = 2\n\n{images}")).unwrap();
    };
    notes("-0.1");
    assert!(same(&["--kv", "300", "--mdoc", "notes.mdoc"]));
    notes("0.1");
    assert!(!same(&["--kv", "300", "--mdoc", "notes.mdoc"]), "the other side of focus");
    assert!(same(&[&["--mdoc", "notes.mdoc"], &optics[..]].concat()), "what is given counts");
}

#[test]
fn the_logarithm_of_what_is_absorbed_is_what_rays_add_up_to() {
    let folder = folder();
    let folder = folder.path();
    done(folder, &["phantom", "clay.mrc", "--size", "24,32,16"]);
    done(folder, &["project", "clay.mrc", "tilts.npy", "--tilts=-60:60:10"]);
    let (shape, sums) = read_npy(&folder.join("tilts.npy"));
    let largest = sums.iter().copied().fold(0.0, f32::max);
    // A hundredth of a beam of 250 is left behind the densest place.
    let absorbed = sums.iter().map(|sum| 250.0 * (-sum / largest * 100_f32.ln()).exp()).collect();
    write_npy(&folder.join("beam.npy"), &(shape, absorbed));
    let scaled = sums.iter().map(|sum| sum / largest * 100_f32.ln()).collect();
    write_npy(&folder.join("scaled.npy"), &(shape, scaled));
    let solve = |series: &str, out: &str, more: &[&str]| {
        let base = ["reconstruct", series, "-o", out, "--planes", "16", "--tlt", "tilts.tlt", "--pixel", "2"];
        done(folder, &[&base[..], more].concat());
    };
    solve("scaled.npy", "rec.mrc", &[]);
    solve("beam.npy", "log.mrc", &["--log", "--vacuum", "250"]);
    solve("beam.npy", "dark.mrc", &["--log", "--vacuum", "125"]);
    let distance = |right: &str| {
        json(folder, &["compare", "rec.mrc", right, "--no-fsc"])["relative_l2"].as_f64().unwrap()
    };
    assert!(distance("log.mrc") < 1e-4, "{}", distance("log.mrc"));
    assert!(distance("dark.mrc") > 0.05, "another beam is another sample");
}
