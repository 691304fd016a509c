//! What is told of memory before the work, beside what the work takes; and what is refused for it.

use super::{done, folder, json, names, refused};
use crate::harness::parthood;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// What a run tells: the first and the last object.
fn told(folder: &Path, arguments: &[&str]) -> [Value; 2] {
    let text = done(folder, &[arguments, &["--json"]].concat());
    let mut lines = text.lines().map(|line| serde_json::from_str(line).expect(&text));
    let first: Value = lines.next().expect("it says something");
    [first.clone(), lines.next_back().unwrap_or(first)]
}

/// What a process takes for itself: its code, and what its allocator keeps for each thread.
const OWN: f64 = 32.0 * 1_048_576.0;

#[test]
fn the_estimate_of_memory_is_within_a_fifth_of_the_peak_besides_the_process_itself() {
    let folder = folder();
    let folder = folder.path();
    let optics = ["--kv", "300", "--underfocus", "3000", "--vacuum-rows", "32"];
    done(folder, &["phantom", "clay.mrc", "--size", "128,256,64"]);
    done(folder, &["project", "clay.mrc", "tilts.mrc", "--tilts=-60:60:4"]);
    done(folder, &[&["project", "clay.mrc", "waves.mrc", "--tilts=-60:60:40"], &optics[..]].concat());
    let with_optics = |more: &[&'static str]| [&optics[..], more].concat();
    let patches = ["--mode", "patch", "--core", "128,64", "--halo", "16,16", "--exterior", "1"];
    for (series, more) in [
        ("tilts.mrc", vec!["--solver", "sirt"]),
        ("tilts.mrc", vec!["--solver", "fista", "--tv", "0.05"]),
        ("tilts.mrc", vec!["--solver", "cgls"]),
        ("tilts.mrc", vec!["--solver", "subsets"]),
        ("tilts.mrc", patches.to_vec()),
        ("waves.mrc", with_optics(&[])),
        ("waves.mrc", with_optics(&["--recompute-waves"])),
        ("waves.mrc", with_optics(&["--mode", "window", "--core", "64", "--halo", "32"])),
    ] {
        let solve = ["reconstruct", series, "-o", "rec.mrc", "--planes", "64", "--iterations", "2"];
        let [plan, volume] = told(folder, &[&solve[..], &["--threads", "2"], &more].concat());
        let [estimate, peak] = [&plan["bytes"], &volume["peak_bytes"]].map(|bytes| bytes.as_f64().unwrap());
        println!("{more:?}: {:.1} MiB told, {:.1} MiB taken", estimate / 1_048_576.0, peak / 1_048_576.0);
        let expected = 0.8 * estimate..1.2 * estimate + OWN;
        assert!(expected.contains(&peak), "{more:?}: {estimate} told, {peak} taken");
    }
}

#[test]
fn what_cannot_be_done_within_memory_is_refused_before_it_is_tried() {
    let folder = folder();
    let folder = folder.path();
    done(folder, &["phantom", "clay.mrc", "--size", "28,40,16"]);
    done(folder, &["project", "clay.mrc", "tilts.mrc", "--tilts=-60:60:6"]);
    // A thickness that was mistyped: to look for the step alone would take more than there is.
    let thick = ["-o", "rec.mrc", "--planes", "1000000", "--memory", "1GiB"];
    refused(
        folder,
        &[&["reconstruct", "tilts.mrc"], &thick[..]].concat(),
        2,
        &["planning this needs about "],
    );
    refused(folder, &[&["plan", "tilts.mrc"], &thick[..]].concat(), 2, &["planning this needs about "]);
    let small = ["--memory", "1MiB"];
    let given = "of memory, and 1.0 MiB are given";
    let projected = ["project", "clay.mrc", "more.mrc", "--tilts=-60:60:6"];
    refused(folder, &[&projected[..], &small].concat(), 2, &["projecting this needs about ", given]);
    let refine = ["refine", "tilts.mrc", "clay.mrc", "-o", "better"];
    refused(folder, &[&refine[..], &small].concat(), 2, &["refining this needs about ", given]);
    let plan = ["plan", "tilts.mrc", "-o", "plan.json", "--planes", "16"];
    refused(folder, &[&plan[..], &small].concat(), 2, &["planning this needs about ", given]);
    done(folder, &plan);
    done(folder, &["run", "plan.json", "tilts.mrc", "--block", "0"]);
    refused(
        folder,
        &["stitch", "plan.json", "-o", "rec.mrc", "--memory", "1MiB"],
        2,
        &["stitching this", given],
    );
}

#[test]
fn an_interrupted_run_in_blocks_keeps_the_blocks_that_are_done() {
    let folder = folder();
    let folder = folder.path();
    done(folder, &["phantom", "clay.mrc", "--size", "28,80,16"]);
    done(folder, &["project", "clay.mrc", "tilts.mrc", "--tilts=-60:60:6"]);
    let solve = ["reconstruct", "tilts.mrc", "--planes", "16", "--iterations", "4", "--mode", "patch"];
    let solve = [&solve[..], &["--core", "32", "--halo", "8", "-o"]].concat();
    done(folder, &[&solve[..], &["rec.mrc"]].concat());
    let whole = fs::read(folder.join("rec.mrc")).unwrap();
    // As a run leaves it that was killed after its first block: no other has been begun.
    let plan = ["plan", "tilts.mrc", "-o", "plan.json", "--planes", "16", "--iterations", "4"];
    done(folder, &[&plan[..], &["--mode", "patch", "--core", "32", "--halo", "8"]].concat());
    fs::remove_file(folder.join("rec.mrc")).unwrap();
    done(folder, &["run", "plan.json", "tilts.mrc", "--block", "0", "--blocks", "rec.mrc.parts"]);
    let first = folder.join("rec.mrc.parts/block-0000.mrc");
    let mut bytes = fs::read(&first).unwrap();
    // A voxel of a kept block shows up in the result: the block was not computed again.
    bytes[1024..1028].copy_from_slice(&7_f32.to_le_bytes());
    fs::write(&first, &bytes).unwrap();
    done(folder, &[&solve[..], &["rec.mrc"]].concat());
    assert!(fs::read(folder.join("rec.mrc")).unwrap() != whole);
    done(folder, &[&solve[..], &["rec.mrc", "--anew"]].concat());
    assert!(fs::read(folder.join("rec.mrc")).unwrap() == whole);
    assert_eq!(names(folder), ["clay.mrc", "plan.json", "rec.mrc", "tilts.mrc", "tilts.tlt"]);
}

#[test]
fn windows_are_planned_and_come_close_to_the_whole() {
    let folder = folder();
    let folder = folder.path();
    let optics = ["--kv", "300", "--underfocus", "1000"];
    done(folder, &["phantom", "clay.mrc", "--size", "24,128,16"]);
    done(folder, &[&["project", "clay.mrc", "waves.mrc", "--tilts=-60:60:20"], &optics[..]].concat());
    let plan = ["plan", "waves.mrc", "-o", "plan.json", "--planes", "16", "--iterations", "6"];
    let plan = [&plan[..], &optics, &["--mode", "window", "--core", "32"]].concat();
    let said = done(folder, &plan);
    assert!(
        said.contains("windows      4 of 32 rows, halo ") && said.contains("of a wave comes from beyond it"),
        "{said}"
    );
    assert!(said.contains("differences of 6 gradients from the whole's, each times "), "{said}");
    assert!(said.contains("slices       of 4 planes; --bin should be at most 228"), "{said}");
    let [told, _] = told(folder, &plan);
    let (halo, beyond) =
        (told["windows"]["halo"].as_u64().unwrap(), told["windows"]["beyond"].as_f64().unwrap());
    assert!(halo > 4 && beyond <= 1e-3 && told["windows"]["count"] == 4, "{told}");
    let solve = ["reconstruct", "waves.mrc", "--planes", "16", "--iterations", "6", "-o"];
    done(folder, &[&solve[..], &["whole.mrc"], &optics].concat());
    let distance = |halo: &[&str]| {
        let window = ["--mode", "window", "--core", "32"];
        done(folder, &[&solve[..], &["rec.mrc"], &optics, &window, halo].concat());
        json(folder, &["compare", "whole.mrc", "rec.mrc", "--no-fsc"])["relative_l2"].as_f64().unwrap()
    };
    let (by_default, narrow) = (distance(&[]), distance(&["--halo", "2"]));
    println!("halo {halo}: {by_default:.1e}; halo 2: {narrow:.1e}");
    assert!(by_default < 1e-3 && narrow > 10.0 * by_default, "{by_default} {narrow}");
    let series = ["reconstruct", "clay.mrc", "-o", "no.mrc", "--planes", "16", "--tilts=-60:60:8"];
    for (more, status, said) in [
        (&["--mode", "window", "--core", "32"][..], 2, "model of windows is linear"),
        (&["--mode", "window"], 2, "--mode window needs --core ROWS"),
        (&["--mode", "window", "--core", "8,8"], 2, "--core ROWS has no columns"),
        (
            &["--mode", "window", "--core", "8", "--ramp", "2"],
            2,
            "--ramp and --exterior are for --mode patch",
        ),
    ] {
        let ended = parthood(folder, &[&["tomo"], &series[..], more].concat());
        assert!(ended.status == status && ended.err.contains(said), "{more:?}: {ended:?}");
    }
}
