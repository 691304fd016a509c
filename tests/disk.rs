//! What a full or damaged disk does to a server and to a command: one clear message, and nothing acknowledged is lost.
//!
//! A disk is made full by a limit on the size of files, which every machine grants; where the signal that goes with it is
//! ignored, writing fails as it does on a full disk.

use crate::harness::{Ended, Server, cluster, finish, limited, parthood};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

const RUN: [&str; 4] = ["run", "--config", "cluster.toml", "--all"];

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    cluster(folder.path(), 1, "");
    folder
}

fn client(folder: &Path, arguments: &[&str]) -> Ended {
    let options = ["client", "--config", "cluster.toml", "--timeout", "2"];
    parthood(folder, &[&options[..], arguments].concat())
}

fn log(folder: &Path) -> PathBuf {
    folder.join("data/a/log-0000000000000000")
}

/// Starts a server, puts this many values, and kills it; the length of the log after each answer.
fn put(folder: &Path, count: usize) -> Vec<usize> {
    let server = Server::start(folder, &RUN);
    let mut lengths = Vec::new();
    for number in 0..count {
        let key = format!("key {number}");
        assert_eq!(client(folder, &["put", &key, &"v".repeat(300)]).status, 0);
        lengths.push(usize::try_from(fs::metadata(log(folder)).unwrap().len()).unwrap());
    }
    server.kill();
    lengths
}

/// How many of the values are there, which are the first ones.
fn found(folder: &Path) -> usize {
    let found = (0..).take_while(|number| client(folder, &["get", &format!("key {number}")]).status == 0);
    found.count()
}

#[test]
fn a_full_disk_stops_a_server_that_says_so_and_loses_nothing_it_acknowledged() {
    const LIMIT_KIB: usize = 24;
    let folder = folder();
    let folder = folder.path();
    let server = Server::of(limited(folder, &RUN, LIMIT_KIB).stderr(Stdio::piped()));
    let mut acknowledged = 0;
    let refused = loop {
        let put = client(folder, &["put", &format!("key {acknowledged}"), &"v".repeat(2000)]);
        if put.status != 0 {
            break put;
        }
        acknowledged += 1;
        assert!(acknowledged < LIMIT_KIB, "a disk of {LIMIT_KIB} KiB holds no more than it can");
    };
    assert_eq!(refused.status, 3, "what became of the command is not known: {refused:?}");
    let (status, complaints) = server.complaints();
    assert_eq!(status, Some(4), "{complaints}");
    let log = "cannot append to the log data/a/log-0000000000000000: File too large";
    assert!(complaints.contains(log), "{complaints}");
    assert!(complaints.contains("so make room or repair the disk and start the node again"), "{complaints}");
    assert_eq!(complaints.lines().count(), 1, "one message: {complaints}");
    assert!(acknowledged > 2, "{acknowledged}");

    let server = Server::start(folder, &RUN);
    let there = found(folder);
    assert!((acknowledged..=acknowledged + 1).contains(&there), "{acknowledged} of {there}");
    assert_eq!(client(folder, &["put", "after", "room was made"]).status, 0);
    server.kill();
}

#[test]
fn a_server_that_finds_no_room_at_its_start_says_so() {
    let folder = folder();
    let ended = finish(&mut limited(folder.path(), &RUN, 0));
    assert_eq!(ended.status, 4, "{ended:?}");
    assert!(ended.err.contains("cannot write data/a/log-0000000000000000.tmp: File too large"), "{ended:?}");
    let server = Server::start(folder.path(), &RUN);
    assert_eq!(client(folder.path(), &["put", "k", "v"]).status, 0, "the attempt left nothing in the way");
    server.kill();
}

#[test]
fn a_write_that_a_crash_tore_is_cut_off_and_nothing_else_is_lost() {
    let folder = folder();
    let folder = folder.path();
    let lengths = put(folder, 3);
    // As if the machine had crashed while the last command was written.
    let torn = lengths[2] - 5;
    fs::File::options().write(true).open(log(folder)).unwrap().set_len(torn as u64).unwrap();
    let server = Server::start(folder, &RUN);
    assert_eq!(found(folder), 2);
    let said = server.announced.concat();
    let cut = said.split_once("of an interrupted write at offset ").map_or("", |(_, offset)| offset);
    let offset: usize = cut.split(' ').next().and_then(|offset| offset.parse().ok()).expect(&said);
    assert!((lengths[1]..torn).contains(&offset), "{lengths:?}: {said}");
    server.kill();
}

#[test]
fn a_flipped_byte_in_the_middle_of_the_log_is_refused_and_named() {
    let folder = folder();
    let folder = folder.path();
    let lengths = put(folder, 3);
    let mut bytes = fs::read(log(folder)).unwrap();
    let at = lengths[1] - 20;
    bytes[at] ^= 4;
    fs::write(log(folder), &bytes).unwrap();
    let refused = parthood(folder, &RUN);
    assert_eq!(refused.status, 4, "{refused:?}");
    assert!(refused.err.contains("data/a/log-0000000000000000 is damaged at offset "), "{refused:?}");
    assert!(refused.err.contains("restore the data directory from a copy"), "{refused:?}");
    assert_eq!(refused.err.lines().count(), 1, "one message: {refused:?}");
    assert!(fs::read(log(folder)).unwrap() == bytes, "what is damaged is left as it is");

    bytes[at] ^= 4;
    fs::write(log(folder), &bytes).unwrap();
    let server = Server::start(folder, &RUN);
    assert_eq!(found(folder), 3);
    server.kill();
}

#[test]
fn what_cannot_be_written_whole_is_not_written() {
    let folder = folder();
    let folder = folder.path();
    fs::write(folder.join("old.svg"), "what was there").unwrap();
    let writes = [
        &["quorums", "plot", "--reads", "a*b + c*d", "--svg"][..],
        &["quorums", "pareto", "--reads", "a*b + c*d", "--svg"],
        &["check", "paxos", "--row", "mutant_own_value", "--svg"],
    ];
    for arguments in writes {
        for file in ["new.svg", "old.svg"] {
            let ended = finish(&mut limited(folder, &[arguments, &[file]].concat(), 1));
            assert_eq!(ended.status, 4, "{arguments:?}: {ended:?}");
            assert!(ended.err.contains(&format!("cannot write {file}: File too large")), "{ended:?}");
        }
        assert!(!folder.join("new.svg").exists());
        assert_eq!(fs::read_to_string(folder.join("old.svg")).unwrap(), "what was there");
        let unfinished = fs::read_dir(folder)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp"));
        assert_eq!(unfinished.count(), 0, "{arguments:?}");
    }
}

#[test]
fn results_that_find_no_room_are_an_error() {
    let folder = folder();
    for arguments in [&["list", "paxos"][..], &["completions", "bash"]] {
        let out = fs::File::create(folder.path().join("out")).unwrap();
        let ended = finish(limited(folder.path(), arguments, 1).stdout(out));
        assert_eq!(ended.status, 4, "{arguments:?}: {ended:?}");
        assert!(ended.err.contains("cannot write to stdout: File too large"), "{ended:?}");
    }
}
