//! `parthood tomo` as its users meet it: the whole way from a sample to a picture, interruptions, and bad input.

mod memory;
mod refusals;
mod signs;

use crate::harness::{Ended, command, parthood};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn tomo(folder: &Path, arguments: &[&str]) -> Ended {
    parthood(folder, &[&["tomo"], arguments].concat())
}

/// What is said of pixels that are too coarse for what a sample scatters.
const TOO_COARSE: &str = "of a wave's energy lies beyond 2/3 of the pixels' Nyquist frequency";

/// What a verb says, which must succeed.
fn done(folder: &Path, arguments: &[&str]) -> String {
    let ended = tomo(folder, arguments);
    // A slow machine is told how iterations come along, and a sample may scatter further than its pixels show.
    let is_progress = |line: &str| line.contains("iteration ") && line.contains(", loss ");
    let is_known = |line: &str| is_progress(line) || line.contains(TOO_COARSE);
    assert!(ended.status == 0 && ended.err.lines().all(is_known), "{arguments:?}: {ended:?}");
    ended.out
}

/// The last object that a verb prints with `--json`.
fn json(folder: &Path, arguments: &[&str]) -> Value {
    let text = done(folder, &[arguments, &["--json"]].concat());
    serde_json::from_str(text.lines().last().expect("it says something")).expect(&text)
}

/// Asserts that a verb is refused with this status and one message of one line that contains all of these, and that it
/// leaves nothing in the folder and takes nothing away, unless it is what a process that was killed has left.
fn refused(folder: &Path, arguments: &[&str], status: i32, parts: &[&str]) {
    let before = names(folder);
    let ended = tomo(folder, arguments);
    assert_eq!((ended.status, ended.err.lines().count()), (status, 1), "{arguments:?}: {ended:?}");
    for part in parts {
        assert!(ended.err.contains(part), "{arguments:?}: no {part:?} in {ended:?}");
    }
    let after = names(folder);
    let left: Vec<&String> = after.iter().filter(|name| !before.contains(name)).collect();
    assert!(left.is_empty(), "{arguments:?} left {left:?}");
    let kept = |name: &&String| name.starts_with('.') || after.contains(name);
    assert!(before.iter().all(|name| kept(&name)), "{arguments:?} took away some of {before:?}: {after:?}");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A folder with a small clay and its projections.
fn clay() -> tempfile::TempDir {
    let folder = folder();
    done(folder.path(), &["phantom", "clay.mrc", "--size", "28,40,16", "--seed", "3"]);
    done(folder.path(), &["project", "clay.mrc", "tilts.mrc", "--tilts=-60:60:6"]);
    folder
}

const RECONSTRUCT: [&str; 8] =
    ["reconstruct", "tilts.mrc", "-o", "rec.mrc", "--planes", "16", "--iterations", "8"];

#[test]
fn from_a_sample_to_a_picture() {
    let folder = clay();
    let folder = folder.path();
    let said = done(folder, &[&RECONSTRUCT[..], &["--tv", "0.05"]].concat());
    for part in [
        "28 x 40 x 16 voxels (x, y, z) of 2 \u{c5}, from 21 tilts, 21 images",
        "linear, FISTA, 8 iterations, variation 0.05 V",
        "memory       about ",
        "time         about ",
        "rec.mrc: done in ",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let compared = json(folder, &["compare", "clay.mrc", "rec.mrc", "--fsc", "fsc.csv"]);
    let distance = compared["relative_l2"].as_f64().unwrap();
    assert!(distance > 0.05 && distance < 0.6, "a wedge is missing, and no more: {distance}");
    let csv = fs::read_to_string(folder.join("fsc.csv")).unwrap();
    let correlation: f64 = csv.lines().nth(3).unwrap().split(',').nth(2).unwrap().parse().unwrap();
    assert!(correlation > 0.5, "low frequencies are found: {csv}");
    done(folder, &["view", "rec.mrc"]);
    let png = fs::read(folder.join("rec.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG") && png.len() > 1000);
    let page = fs::read_to_string(folder.join("rec.html")).unwrap();
    assert!(
        page.contains("linear, FISTA, 8 iterations") && !page.contains("http"),
        "it has its origin, and needs no network"
    );
    assert_eq!(
        names(folder),
        ["clay.mrc", "fsc.csv", "rec.html", "rec.mrc", "rec.png", "tilts.mrc", "tilts.tlt"]
    );
}

#[test]
fn every_solver_runs_and_bits_do_not_depend_on_threads() {
    let folder = clay();
    let folder = folder.path();
    for solver in ["wbp", "sirt", "cgls", "gradient", "fista", "subsets"] {
        let solve = [&RECONSTRUCT[..], &["--solver", solver]].concat();
        done(folder, &[&solve[..], &["--threads", "1"]].concat());
        let one = fs::read(folder.join("rec.mrc")).unwrap();
        done(folder, &[&solve[..], &["--threads", "3"]].concat());
        assert!(fs::read(folder.join("rec.mrc")).unwrap() == one, "{solver}: the same file from 3 threads");
        let compared = json(folder, &["compare", "clay.mrc", "rec.mrc", "--no-fsc"]);
        assert!(compared["relative_l2"].as_f64().unwrap() < 0.75, "{solver}: {compared}");
    }
}

#[test]
fn waves_are_reconstructed_from_intensities() {
    let folder = folder();
    let folder = folder.path();
    let optics = ["--kv", "300", "--underfocus", "1000,2000"];
    done(folder, &["phantom", "clay.mrc", "--size", "24,32,16"]);
    done(folder, &[&["project", "clay.mrc", "tilts.mrc", "--tilts=-60:60:12"], &optics[..]].concat());
    let solve = [&["--iterations=16", "--solver", "subsets", "--subsets", "3"], &optics[..]].concat();
    let ended = tomo(folder, &[&RECONSTRUCT[..6], &solve].concat());
    assert_eq!(ended.err.matches(TOO_COARSE).count(), 1, "said once: {ended:?}");
    let said = ended.out;
    assert!(
        said.contains("from 11 tilts, 22 images") && said.contains("multislice, ordered subsets"),
        "{said}"
    );
    let waves =
        json(folder, &["compare", "clay.mrc", "rec.mrc", "--no-fsc"])["relative_l2"].as_f64().unwrap();
    assert!(waves < 0.75, "{waves}");
    // The other sign of defocus, or of the tilts, explains the images less well.
    for wrong in [
        &["--kv", "300", "--underfocus=-1000,-2000"][..],
        &[&optics[..], &["--tilt-sign", "negative"]].concat(),
    ] {
        let solve = [&["--iterations=16", "--solver", "subsets", "--subsets", "3"], wrong].concat();
        done(folder, &[&RECONSTRUCT[..6], &solve].concat());
        let found = json(folder, &["compare", "clay.mrc", "rec.mrc", "--no-fsc"]);
        assert!(found["relative_l2"].as_f64().unwrap() > 1.1 * waves, "{wrong:?}: {found} beside {waves}");
    }
}

#[test]
fn signs_are_told_apart_by_two_beads() {
    let folder = folder();
    let folder = folder.path();
    done(folder, &["phantom", "beads.mrc", "--kind", "beads", "--size", "40,24,32"]);
    let distance = |tilts: &[&str], solve: &[&str]| {
        done(folder, &[&["project", "beads.mrc", "tilts.mrc", "--tilts=-70:70:5"], tilts].concat());
        let base = ["reconstruct", "tilts.mrc", "-o", "rec.mrc", "--planes", "32", "--iterations", "15"];
        done(folder, &[&base[..], solve].concat());
        json(folder, &["compare", "beads.mrc", "rec.mrc", "--no-fsc"])["relative_l2"].as_f64().unwrap()
    };
    let negative = ["--tilt-sign", "negative"];
    assert!(distance(&[], &[]) < 0.3);
    assert!(distance(&negative, &negative) < 0.3, "both of one convention");
    assert!(distance(&negative, &[]) > 0.6 && distance(&[], &negative) > 0.6, "a wrong sign shows");
}

#[test]
fn blocks_of_an_array_of_jobs_are_stitched() {
    let folder = clay();
    let folder = folder.path();
    let plan =
        ["plan", "tilts.mrc", "-o", "plan.json", "--planes", "16", "--iterations", "8", "--mode", "patch"];
    let blocks = ["--core", "16", "--tv", "0.05", "--tv-iterations", "4"];
    let said = done(folder, &[&plan[..], &blocks].concat());
    assert!(said.contains("3 of 16 rows and 28 columns, halo 8 and 0, blended over 4 and 0"), "{said}");
    refused(
        folder,
        &["stitch", "plan.json", "-o", "rec.mrc"],
        4,
        &["plan.blocks/block-0000.mrc", "cannot open"],
    );
    for block in ["2", "0", "1"] {
        done(folder, &["run", "plan.json", "tilts.mrc", "--block", block]);
    }
    let again = done(folder, &["run", "plan.json", "tilts.mrc", "--block", "1"]);
    assert!(again.contains("is there already"), "{again}");
    let said = done(folder, &["stitch", "plan.json", "-o", "rec.mrc"]);
    assert!(said.contains("   0 and    1   ") && said.contains(" rms, "), "{said}");
    let one_by_one = fs::read(folder.join("rec.mrc")).unwrap();
    // The same in one process.
    let whole = [&["reconstruct", "tilts.mrc", "-o", "rec.mrc"], &plan[4..], &blocks].concat();
    done(folder, &whole);
    assert!(fs::read(folder.join("rec.mrc")).unwrap() == one_by_one);
    // And close to, but not equal to, the whole.
    let all = [&["reconstruct", "tilts.mrc", "-o", "all.mrc"], &plan[4..8], &blocks[2..]].concat();
    done(folder, &all);
    let compared = json(folder, &["compare", "all.mrc", "rec.mrc", "--no-fsc", "--tolerance", "1e-2"]);
    assert!(compared["bits_that_differ"].as_u64().unwrap() > 0, "{compared}");
    for (beyond, status) in [(&["--bits"][..], 1), (&["--tolerance", "1e-9"], 1), (&["--tolerance", "1"], 0)]
    {
        let ended = tomo(folder, &[&["compare", "all.mrc", "rec.mrc", "--no-fsc"], beyond].concat());
        assert_eq!(ended.status, status, "{beyond:?}: {ended:?}");
    }
    // Blocks of another plan are not taken.
    done(folder, &[&plan[..], &blocks, &["--signed"]].concat());
    refused(
        folder,
        &["stitch", "plan.json", "-o", "rec2.mrc"],
        2,
        &["block-0000.mrc", "the plan that made it", "run this block again"],
    );
    refused(folder, &["run", "plan.json", "tilts.mrc", "--block", "3"], 2, &["block is 3 of 3"]);
    refused(folder, &["run", "plan.json", "clay.mrc", "--block", "0"], 2, &["the number of images is 16"]);
    done(folder, &["project", "clay.mrc", "other.mrc", "--tilts=-60:60:6", "--tilt-sign", "negative"]);
    refused(folder, &["run", "plan.json", "other.mrc", "--block", "0"], 2, &["made for another series"]);
    let text = fs::read_to_string(folder.join("plan.json")).unwrap();
    fs::write(folder.join("old.json"), text.replacen("\"version\": \"", "\"version\": \"0.0.", 1)).unwrap();
    refused(
        folder,
        &["run", "old.json", "tilts.mrc", "--block", "0"],
        2,
        &["old.json", "version 0.0.", "plan again"],
    );
    fs::write(folder.join("old.json"), "{").unwrap();
    refused(folder, &["stitch", "old.json", "-o", "rec2.mrc"], 2, &["old.json: the plan is not usable"]);
}

#[test]
fn a_run_that_is_killed_goes_on_and_ends_in_the_same_bits() {
    let folder = folder();
    let folder = folder.path();
    done(folder, &["phantom", "clay.mrc", "--size", "96,64,48"]);
    done(folder, &["project", "clay.mrc", "tilts.mrc", "--tilts=-60:60:3"]);
    let solve = |out: &'static str| {
        [
            "tomo",
            "reconstruct",
            "tilts.mrc",
            "-o",
            out,
            "--planes",
            "48",
            "--iterations",
            "40",
            "--tv",
            "0.05",
        ]
    };
    assert_eq!(parthood(folder, &solve("whole.mrc")).status, 0);
    let checkpoint = folder.join("rec.mrc.checkpoint");
    for kills in 1..=3 {
        let mut started = command(folder, &solve("rec.mrc")).stdout(Stdio::null()).spawn().unwrap();
        let had = iterations(&checkpoint);
        while iterations(&checkpoint) <= had + 2 {
            assert!(started.try_wait().unwrap().is_none(), "it was to be killed before its end ({kills})");
            std::thread::sleep(Duration::from_millis(1));
        }
        started.kill().unwrap();
        started.wait().unwrap();
        assert!(!folder.join("rec.mrc").exists(), "nothing has the final name before all is done");
    }
    let left = iterations(&checkpoint);
    assert!(left > 6 && left < 40, "{left}");
    // Another plan does not go on from it, and does not destroy it.
    let other = [&solve("rec.mrc")[1..], &["--signed"]].concat();
    refused(folder, &other, 2, &["rec.mrc.checkpoint", "the plan or the images are others"]);
    assert_eq!(iterations(&checkpoint), left);
    assert_eq!(parthood(folder, &solve("rec.mrc")).status, 0);
    assert!(fs::read(folder.join("rec.mrc")).unwrap() == fs::read(folder.join("whole.mrc")).unwrap());
    assert!(!checkpoint.exists());
    done(folder, &["compare", "whole.mrc", "rec.mrc", "--bits", "--no-fsc"]);
    // Nor is anything left of what the killed were about to write.
    assert_eq!(names(folder), ["clay.mrc", "rec.mrc", "tilts.mrc", "tilts.tlt", "whole.mrc"]);
}

/// How many iterations a checkpoint has: the number behind its mark and its identity.
fn iterations(checkpoint: &Path) -> u64 {
    let Ok(bytes) = fs::read(checkpoint) else { return 0 };
    u64::from_le_bytes(bytes[48..56].try_into().unwrap())
}

#[test]
fn more_volume_than_memory_is_done_from_disk_to_the_same_bits() {
    let folder = folder();
    let folder = folder.path();
    done(folder, &["phantom", "clay.mrc", "--size", "160,640,64"]);
    done(folder, &["project", "clay.mrc", "tilts.mrc", "--tilts=-60:60:8"]);
    let optics = ["--kv", "300", "--underfocus", "3000", "--vacuum-rows", "32", "--threads", "1"];
    done(folder, &[&["project", "clay.mrc", "waves.mrc", "--tilts=-60:60:40"], &optics[..]].concat());
    for (series, more, mib) in [
        ("tilts.mrc", &["--solver", "sirt"][..], 64_u64),
        ("tilts.mrc", &["--tv", "0.05"], 64),
        ("tilts.mrc", &["--solver", "cgls"], 48),
        ("waves.mrc", &optics, 170),
    ] {
        let limit = &format!("{mib}MiB");
        let solve = [&["reconstruct", series, "--planes", "64", "--iterations", "2"], more].concat();
        let memory = json(folder, &[&solve[..], &["-o", "memory.mrc"]].concat());
        let disk = json(folder, &[&solve[..], &["-o", "disk.mrc", "--memory", limit]].concat());
        let peak = |told: &Value| told["peak_bytes"].as_u64().unwrap();
        assert!(peak(&memory) > (mib << 20), "{more:?}: it needs more than is given: {memory}");
        assert!(peak(&disk) * 10 <= (mib << 20) * 11, "{more:?}: within a tenth of what is given: {disk}");
        assert!(fs::read(folder.join("memory.mrc")).unwrap() == fs::read(folder.join("disk.mrc")).unwrap());
        let said = done(folder, &[&solve[..], &["-o", "disk.mrc", "--memory", limit, "--dry-run"]].concat());
        assert!(said.contains("from disk    ") && said.contains(" bands of "), "{said}");
    }
    let written = ["clay.mrc", "disk.mrc", "memory.mrc", "tilts.mrc", "tilts.tlt", "waves.mrc", "waves.tlt"];
    assert_eq!(names(folder), written);
    let zarr = ["reconstruct", "tilts.mrc", "-o", "disk.zarr", "--planes", "64", "--memory", "48MiB"];
    refused(folder, &zarr, 2, &["from disk, writing disk.zarr alone would take", "write an .mrc"]);
}

#[test]
fn every_format_goes_all_the_way() {
    let folder = clay();
    let folder = folder.path();
    let solve = ["--planes", "16", "--iterations", "4"];
    done(folder, &[&["reconstruct", "tilts.mrc", "-o", "rec.mrc"], &solve[..]].concat());
    for format in ["npy", "tif", "zarr"] {
        let [volume, series, result] = ["clay", "tilts", "rec"].map(|name| format!("{name}.{format}"));
        done(folder, &["phantom", &volume, "--size", "28,40,16", "--seed", "3"]);
        let pixel = if format == "npy" { &["--pixel", "2"][..] } else { &[] };
        done(folder, &[&["project", &volume, &series, "--tilts=-60:60:6"], pixel].concat());
        done(folder, &[&["reconstruct", &series, "-o", &result], &solve[..], pixel].concat());
        let compared = json(folder, &["compare", "rec.mrc", &result, "--no-fsc", "--bits"]);
        assert_eq!(compared["bits_that_differ"], 0, "{format}: {compared}");
        done(folder, &[&["view", &result, "-o", "view"], pixel].concat());
    }
    refused(
        folder,
        &["reconstruct", "tilts.npy", "-o", "r.npy", "--planes", "16"],
        2,
        &["tilts.npy: the pixel size"],
    );
    fs::write(folder.join("bad.tif"), b"II*\0 and nothing more").unwrap();
    refused(folder, &["compare", "bad.tif", "rec.mrc"], 2, &["bad.tif: the TIFF is "]);
    refused(folder, &["compare", "absent.zarr", "rec.mrc"], 4, &["absent.zarr/.zarray: cannot open"]);
    let huge = ["phantom", "huge.mrc", "--size", "30000,30000,30000"];
    refused(folder, &huge, 4, &["huge.mrc: about ", " MiB are needed on its disk", "make room"]);
}

#[test]
fn what_was_recorded_other_than_noted_is_found() {
    let folder = folder();
    let folder = folder.path();
    let optics = ["--kv", "300", "--underfocus"];
    done(folder, &["phantom", "clay.mrc", "--size", "40,48,16"]);
    done(
        folder,
        &[&["project", "clay.mrc", "tilts.mrc", "--tilts=-60:60:20"], &optics[..], &["1650"]].concat(),
    );
    let refine = ["refine", "tilts.mrc", "clay.mrc", "-o", "better"];
    let said = json(folder, &[&refine[..], &optics, &["1500"]].concat());
    assert!(said["misfit"][1].as_f64().unwrap() < 0.2 * said["misfit"][0].as_f64().unwrap(), "{said}");
    let foci = fs::read_to_string(folder.join("better.foci")).unwrap();
    let foci: Vec<f64> = foci.lines().map(|line| line.parse().unwrap()).collect();
    assert!(foci.len() == 7 && foci.iter().all(|focus| (focus - 1650.0).abs() < 25.0), "{foci:?}");
    let xf = fs::read_to_string(folder.join("better.xf")).unwrap();
    assert_eq!(xf.lines().count(), 7);
    let solve = ["reconstruct", "tilts.mrc", "-o", "rec.mrc", "--planes", "16", "--iterations", "2"];
    done(folder, &[&solve[..], &["--kv", "300", "--foci", "better.foci", "--xf", "better.xf"]].concat());
    // Rays have no focus that could be told of.
    done(folder, &["project", "clay.mrc", "rays.mrc", "--tilts=-60:60:20"]);
    let said = done(folder, &["refine", "rays.mrc", "clay.mrc", "-o", "of-rays"]);
    assert!(said.contains("-60.00 deg   shift ") && !said.contains("underfocus"), "{said}");
    fs::write(folder.join("few.foci"), "1500\n").unwrap();
    let few = [&solve[..], &["--kv", "300", "--foci", "few.foci"]].concat();
    refused(folder, &few, 2, &["few.foci: the number of tilts is 1", "7, the number"]);
}
