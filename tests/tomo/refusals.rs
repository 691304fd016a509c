//! What is refused, and by which words: input that cannot be, arguments that do not go together, names that are taken, disks that
//! are full.

use super::{RECONSTRUCT, clay, done, folder, names, refused};
use crate::harness::{command, finish, limited, parthood};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn bad_input_is_refused_by_name_before_any_work() {
    let folder = clay();
    let folder = folder.path();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let whole = fs::read(folder.join("tilts.mrc")).unwrap();
    let changed = |name: &str, at: usize, bytes: &[u8]| {
        let mut copy = whole.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        write(name, &copy);
    };
    let with = |series: &'static str, more: &[&'static str], status: i32, parts: &[&str]| {
        let base = ["reconstruct", series, "-o", "rec.mrc", "--planes", "16"];
        refused(folder, &[&base[..], more].concat(), status, parts);
    };
    let tilts = ["--tlt", "tilts.tlt"];
    write("few.tlt", b"-60\n0\n60\n");
    with(
        "tilts.mrc",
        &["--tlt", "few.tlt"],
        2,
        &["few.tlt", "the number of tilt angles is 3", "21, the number of images"],
    );
    write("wild.tlt", b"-60\n0\n95\n");
    with("tilts.mrc", &["--tlt", "wild.tlt"], 2, &["wild.tlt: line 3 is 95", "between -90 and 90"]);
    with("absent.mrc", &tilts, 4, &["absent.mrc: cannot open"]);
    with("tilts.mrc", &["--tlt", "absent.tlt"], 4, &["absent.tlt: cannot open"]);
    changed("nan.mrc", 1024 + 4 * (28 * 40 * 2 + 28 * 3 + 5), &f32::NAN.to_le_bytes());
    with(
        "nan.mrc",
        &tilts,
        2,
        &["nan.mrc: the value at section 2, row 3, column 5 is NaN", "mask or replace it"],
    );
    write("short.mrc", &whole[..whole.len() - 100]);
    with("short.mrc", &tilts, 2, &["short.mrc: the length of the file"]);
    write("tiny.mrc", &whole[..300]);
    with("tiny.mrc", &tilts, 2, &["tiny.mrc: the length of the file is 300 bytes"]);
    changed("lying.mrc", 8, &2_000_000_i32.to_le_bytes());
    with("lying.mrc", &tilts, 2, &["lying.mrc: the length of the file"]);
    changed("bare.mrc", 40, &0_f32.to_le_bytes());
    with("bare.mrc", &tilts, 2, &["bare.mrc: the pixel size", "give it by hand"]);
    done(
        folder,
        &[
            "reconstruct",
            "bare.mrc",
            "-o",
            "by-hand.mrc",
            "--planes",
            "16",
            "--tlt",
            "tilts.tlt",
            "--pixel",
            "2",
        ],
    );
    fs::remove_file(folder.join("by-hand.mrc")).unwrap();
    with("bare.mrc", &["--tlt", "tilts.tlt", "--pixel", "0"], 2, &["voxel size in Angstrom is 0"]);
}

#[test]
fn arguments_that_do_not_go_together_are_refused_by_name() {
    let folder = clay();
    let folder = folder.path();
    let with = |more: &[&'static str], status: i32, parts: &[&str]| {
        let base = ["reconstruct", "tilts.mrc", "-o", "rec.mrc", "--planes", "16"];
        refused(folder, &[&base[..], more].concat(), status, parts);
    };
    fs::rename(folder.join("tilts.tlt"), folder.join("away.tlt")).unwrap();
    with(&[], 2, &["no tilt angles are known", "--tlt FILE"]);
    fs::rename(folder.join("away.tlt"), folder.join("tilts.tlt")).unwrap();
    with(&["--kv", "300"], 2, &["--underfocus"]);
    with(&["--kv", "300000", "--underfocus", "1000"], 2, &["accelerating voltage is 300000000"]);
    with(&["--kv", "300", "--underfocus", "1", "--solver", "sirt"], 2, &["solver is Sirt"]);
    with(&["--solver", "cgls", "--tv", "1"], 2, &["prior is given"]);
    with(&["--mode", "patch"], 2, &["--mode patch needs --core"]);
    for needless in [&["--core", "8"][..], &["--exterior", "2"], &["--tolerance", "0.1"]] {
        with(
            needless,
            2,
            &["--core, --halo, --ramp, --exterior and --tolerance are for --mode patch or window"],
        );
    }
    with(&["--vacuum", "2"], 2, &["--vacuum is for intensities: give --log, or --kv"]);
    with(&["--subsets", "3"], 2, &["--subsets is for --solver subsets"]);
    with(&["--filter", "hann"], 2, &["--filter is for --solver wbp"]);
    with(&["--restart", "--solver", "sirt"], 2, &["--restart is for --solver fista"]);
    with(&["--relaxation", "1"], 2, &["--relaxation is for --solver sirt or subsets"]);
    with(&["--relaxation", "2", "--solver", "sirt"], 2, &["relaxation is 2", "above 0 and below 2"]);
    with(&["--iterations", "0"], 2, &["iterations is 0"]);
    with(
        &["--tv", "1", "--tv-iterations", "18446744073709551615"],
        2,
        &["total variation is 18446744073709551615"],
    );
    let halo = ["--mode", "patch", "--core", "16", "--halo", "18446744073709551615", "--ramp", "0"];
    done(folder, &[&["plan", "tilts.mrc", "-o", "halo.json", "--planes", "16"], &halo[..]].concat());
    fs::remove_file(folder.join("halo.json")).unwrap();
    with(
        &["--memory", "20.3MiB"],
        2,
        &["this needs about ", "20.3 MiB are given", "cannot be done from disk"],
    );
    inputs_are_not_written_over(folder);
    refused(
        folder,
        &["project", "clay.mrc", "steep.mrc", "--tilts=-90:90:2"],
        2,
        &["steep.tlt: the angle of image 0 is -90", "between -90 and 90"],
    );
    refused(
        folder,
        &["reconstruct", "tilts.mrc", "-o", "no/rec.mrc", "--planes", "16"],
        4,
        &["no/rec.mrc: cannot create"],
    );
    refused(
        folder,
        &["compare", "clay.mrc", "tilts.mrc"],
        2,
        &["volume to compare", "[16, 40, 28]", "[21, 40, 28]"],
    );
    refused(folder, &["view", "clay.mrc", "--at", "28,0,0"], 2, &["column is 28"]);
}

/// Every verb that writes refuses to write in place of what it reads, whatever that is called.
fn inputs_are_not_written_over(folder: &Path) {
    let planes = ["--planes", "16"];
    done(folder, &[&["plan", "tilts.mrc", "-o", "plan.json"], &planes[..]].concat());
    fs::write(folder.join("same.xf"), "1 0 0 1 0 0\n".repeat(21)).unwrap();
    std::os::unix::fs::symlink("tilts.mrc", folder.join("link.mrc")).unwrap();
    fs::create_dir(folder.join("blocks")).unwrap();
    std::os::unix::fs::symlink("../tilts.mrc", folder.join("blocks/block-0000.mrc")).unwrap();
    let before = fs::read(folder.join("tilts.mrc")).unwrap();
    let solve =
        |verb: &'static str, out: &'static str| [&[verb, "tilts.mrc", "-o", out], &planes[..]].concat();
    for arguments in [
        &solve("reconstruct", "tilts.mrc")[..],
        &solve("reconstruct", "link.mrc"),
        &[&solve("reconstruct", "./tilts.tlt")[..], &["--tlt", "tilts.tlt"]].concat(),
        &[&solve("reconstruct", "same.xf")[..], &["--xf", "same.xf"]].concat(),
        &solve("plan", "tilts.mrc"),
        &["project", "clay.mrc", "clay.mrc", "--tilts=-60:60:6"],
        &["project", "clay.mrc", "tilts.mrc", "--tlt", "tilts.tlt"],
        &["run", "plan.json", "tilts.mrc", "--block", "0", "--blocks", "blocks"],
        &["stitch", "plan.json", "-o", "plan.json"],
        &["stitch", "plan.json", "--blocks", "blocks", "-o", "tilts.mrc"],
        &["refine", "tilts.mrc", "clay.mrc", "-o", "same", "--xf", "same.xf"],
        &["compare", "clay.mrc", "tilts.mrc", "--fsc", "tilts.mrc"],
    ] {
        refused(folder, arguments, 2, &["the name to write is that of an input; it must be another name"]);
    }
    assert!(fs::read(folder.join("tilts.mrc")).unwrap() == before);
    for name in ["plan.json", "same.xf", "link.mrc"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    fs::remove_dir_all(folder.join("blocks")).unwrap();
}

#[test]
fn two_equal_runs_do_not_disturb_each_other() {
    let folder = folder();
    let folder = folder.path();
    done(folder, &["phantom", "clay.mrc", "--size", "128,256,48"]);
    done(folder, &["project", "clay.mrc", "tilts.mrc", "--tilts=-60:60:8"]);
    let solve = ["reconstruct", "tilts.mrc", "-o", "rec.mrc", "--planes", "48", "--iterations", "40"];
    let solve = [&solve[..], &["--tv", "0.05"]].concat();
    let from_disk = [&solve[..], &["--memory", "56MiB"]].concat();
    for (solve, kept, where_it_works) in
        [(from_disk, "rec.mrc.parts/state", "rec.mrc.parts"), (solve, "rec.mrc.checkpoint", "rec.mrc")]
    {
        let tomo: Vec<&str> = [&["tomo"], &solve[..]].concat();
        let mut first = command(folder, &tomo).stdout(Stdio::null()).spawn().unwrap();
        while !folder.join(kept).exists() {
            assert!(first.try_wait().unwrap().is_none(), "it ended before the second began");
            std::thread::sleep(Duration::from_millis(1));
        }
        let second = parthood(folder, &tomo);
        assert!(first.try_wait().unwrap().is_none(), "the first was to run while the second tried");
        assert_eq!((second.status, second.err.lines().count()), (4, 1), "{second:?}");
        let busy = format!("parthood: {where_it_works}: another process works there; wait until it ends");
        assert!(second.err.contains(&busy), "{second:?}");
        // What was killed holds nothing.
        first.kill().unwrap();
        first.wait().unwrap();
        done(folder, &solve);
        assert_eq!(names(folder), ["clay.mrc", "rec.mrc", "tilts.mrc", "tilts.tlt"]);
        fs::remove_file(folder.join("rec.mrc")).unwrap();
    }
}

#[test]
fn a_full_disk_leaves_nothing_under_a_final_name() {
    let folder = clay();
    let folder = folder.path();
    let before = names(folder);
    let reconstruct = [&["tomo"], &RECONSTRUCT[..], &["--no-checkpoints"]].concat();
    let ended = finish(&mut limited(folder, &reconstruct, 20));
    assert_eq!((ended.status, ended.err.lines().count()), (4, 1), "{ended:?}");
    assert!(ended.err.contains("rec.mrc: cannot write: File too large"), "{ended:?}");
    assert_eq!(names(folder), before);
    let ended = finish(&mut limited(folder, &[&["tomo"], &RECONSTRUCT[..]].concat(), 20));
    assert_eq!(ended.status, 4, "{ended:?}");
    assert!(ended.err.contains("rec.mrc.checkpoint: cannot write"), "{ended:?}");
    assert_eq!(names(folder), before);
}
