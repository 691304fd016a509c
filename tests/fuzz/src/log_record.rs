//! Logs and snapshots: recovery from any bytes ends with an error or with promises that were really made.
//!
//! The first byte chooses what the rest is:
//!
//! - **raw**: a file as it stands;
//! - **records**: headers and contents of records, whose checksums are computed here a second time, from the essays of
//!   `storage/mod.rs` and `record.rs`, so that contents that no node would save get past them;
//! - **damage**: groups that are saved, and then an accident to the file. Then it is known what must come back.

use crate::run::Storage;
use parthood::deploy::DurableJournal;
use parthood::runtime::storage::{Durability, Journal, Limits, Log, WholeValue};
use parthood::runtime::wire::encode;
use std::fs;
use std::ops::Range;
use std::path::Path;
use tempfile::TempDir;

const CLUSTER: u64 = 7;
const HOSTED: [u64; 4] = [0, 1, 2, NEW];
/// Hosted, but it has no records.
const NEW: u64 = 3;
const LOG: &[u8; 16] = b"parthood log\0\0\0\0";
const SNAPSHOT: &[u8; 16] = b"parthood snap\0\0\0";
const FILE_HEADER_LEN: usize = 56;
/// Goes into the checksums of records; here none.
const SALT: [u8; 8] = [0; 8];
const RECORD_END: u8 = 0xE7;

/// Takes the input for one of the three.
pub fn run(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    let folder = tempfile::tempdir().expect("there is room for a folder");
    match kind % 3 {
        0 => {
            write(&folder, "log-0000000000000000", rest);
            recover::<Storage, DurableJournal>(folder.path());
        }
        1 => records(&folder, kind >= 0x80, rest),
        _ => damage(&folder, rest),
    }
}

fn write(folder: &TempDir, name: &str, bytes: &[u8]) {
    fs::write(folder.path().join(name), bytes).expect("there is room for a file");
}

type Opened<S, J> = Option<Log<S, J>>;

/// Opens the log; what was opened once can be opened again, and is the same and whole.
fn recover<S: Clone + PartialEq + Send + 'static, J: Journal<S>>(folder: &Path) -> Opened<S, J> {
    let open = || Log::<S, J>::open(folder, CLUSTER, &HOSTED, Durability::NoSync, Limits::default());
    let saved = |log: &Log<S, J>| HOSTED.map(|actor| log.storage(actor).cloned());
    let first = open().ok()?;
    let (before, groups) = (saved(&first), first.recovery().groups);
    drop(first);
    let again = open().expect("what was recovered can be recovered again");
    assert!(saved(&again) == before, "another start finds other promises");
    assert!(again.recovery().groups == groups && again.recovery().cut.is_none());
    Some(again)
}

/// Reads the input as records of a snapshot, if there is to be one, and of the segment after it.
fn records(folder: &TempDir, with_snapshot: bool, rest: &[u8]) {
    let mut rest = rest;
    let number = u64::from(with_snapshot);
    if with_snapshot {
        let mut bytes = file_header(SNAPSHOT, number, 9);
        record_group(&mut bytes, 9, &mut rest);
        write(folder, "snapshot-0000000000000001", &bytes);
    }
    let mut bytes = file_header(LOG, number, 9 * number);
    for group in 9 * number.. {
        if rest.is_empty() {
            break;
        }
        record_group(&mut bytes, group, &mut rest);
    }
    write(folder, &format!("log-{number:016x}"), &bytes);
    let Some(mut log) = recover::<Storage, DurableJournal>(folder.path()) else { return };
    // What was recovered can be written as a whole, by an actor that has saved nothing.
    let storages = HOSTED.map(|actor| log.storage(actor).cloned());
    let Some(storage) = storages.into_iter().flatten().last() else { return };
    log.save(NEW, storage.clone());
    log.commit().expect("there is room for a group");
    drop(log);
    let log = recover::<Storage, DurableJournal>(folder.path()).expect("what was committed is recovered");
    assert!(log.storage(NEW) == Some(&storage), "a storage reads back differently");
}

/// Appends a group of records: each takes a byte that says whose it is and what follows it, and a length.
fn record_group(bytes: &mut Vec<u8>, group: u64, rest: &mut &[u8]) {
    while let Some((&[whose, len], tail)) = rest.split_first_chunk() {
        let (content, tail) = tail.split_at(usize::from(len).min(tail.len()));
        *rest = tail;
        let last = whose & 0x40 == 0 || rest.len() < 2;
        let then = if last { 1 } else { u32::from(whose >> 5 & 1) * 2 };
        record(bytes, group, u64::from(whose) % NEW, then, content);
        if last {
            return;
        }
    }
    *rest = &[];
}

fn file_header(magic: &[u8; 16], number: u64, first_group: u64) -> Vec<u8> {
    let mut bytes =
        [&magic[..], &2_u32.to_le_bytes(), &CLUSTER.to_le_bytes(), &number.to_le_bytes()].concat();
    bytes.extend_from_slice(&first_group.to_le_bytes());
    bytes.extend_from_slice(&SALT);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn record(bytes: &mut Vec<u8>, group: u64, actor: u64, then: u32, content: &[u8]) {
    let start = bytes.len();
    let len = u32::try_from(content.len()).expect("an input is short");
    bytes.extend_from_slice(b"PREC");
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&group.to_le_bytes());
    bytes.extend_from_slice(&actor.to_le_bytes());
    bytes.extend_from_slice(&then.to_le_bytes());
    bytes.extend_from_slice(&salted(content).to_le_bytes());
    let header = salted(&bytes[start..]);
    bytes.extend_from_slice(&header.to_le_bytes());
    bytes.extend_from_slice(content);
    bytes.push(RECORD_END);
}

fn salted(bytes: &[u8]) -> u32 {
    crc32fast::hash(&[&SALT, bytes].concat())
}

/// Something that happens to a file.
enum Accident {
    Cut(usize),
    Flip(usize, u8),
    Zeros(Range<usize>),
    Append,
}

/// Saves groups taken from the input, lets an accident happen, and checks what comes back.
fn damage(folder: &TempDir, rest: &[u8]) {
    let Some((&[groups, kind, a, b, c, d], content)) = rest.split_first_chunk() else { return };
    let mut log = Log::<Vec<u8>, WholeValue>::open(
        folder.path(),
        CLUSTER,
        &HOSTED,
        Durability::NoSync,
        Limits::default(),
    )
    .expect("a folder can hold a log");
    let path = folder.path().join("log-0000000000000000");
    let length = || usize::try_from(fs::metadata(&path).expect("it exists").len()).expect("a file is short");
    let saved = |log: &Log<Vec<u8>, WholeValue>| HOSTED.map(|actor| log.storage(actor).cloned());
    // The state after each group, and where in the file it ends.
    let mut states = vec![(saved(&log), FILE_HEADER_LEN)];
    for (number, chunk) in (0_u8..).zip(content.chunks(content.len() / usize::from(groups % 8 + 1) + 1)) {
        for actor in HOSTED.into_iter().filter(|actor| number == 0 || chunk[0] >> actor & 1 == 1) {
            log.save(actor, [&[number], chunk].concat());
        }
        log.commit().expect("there is room for a group");
        if length() > states[states.len() - 1].1 {
            states.push((saved(&log), length()));
        }
    }
    drop(log);
    let mut bytes = fs::read(&path).expect("it exists");
    let at = (usize::from(a) << 8 | usize::from(b)) % bytes.len();
    let accident = match kind % 4 {
        0 => Accident::Cut(at),
        1 => Accident::Flip(at, 1 << (c % 8)),
        2 => Accident::Zeros(at..bytes.len().min(at + (usize::from(c) << 8 | usize::from(d)))),
        _ => Accident::Append,
    };
    match &accident {
        Accident::Cut(at) => bytes.truncate(*at),
        Accident::Flip(at, bit) => bytes[*at] ^= bit,
        Accident::Zeros(range) => bytes[range.clone()].fill(0),
        Accident::Append => bytes.extend_from_slice(content),
    }
    fs::write(&path, &bytes).expect("there is room for a file");
    let log = recover::<Vec<u8>, WholeValue>(folder.path());
    // Groups that the accident has not touched.
    let whole = |at: usize| states.iter().filter(|(_, end)| *end <= at).count().checked_sub(1);
    let last = states.len() - 1;
    let Some(log) = log else {
        let innocent = matches!(&accident, Accident::Cut(at) if whole(*at).is_some());
        return assert!(!innocent, "a log that was cut off in a record is refused");
    };
    let groups = usize::try_from(log.recovery().groups).expect("a log is short");
    assert!(groups > last || saved(&log) == states[groups].0, "what comes back was never saved");
    match accident {
        Accident::Cut(at) => assert_eq!(Some(groups), whole(at)),
        Accident::Flip(at, _) => {
            assert!(
                groups + 1 >= last && whole(at) == Some(groups),
                "a flip in group {:?} is accepted",
                whole(at)
            );
        }
        Accident::Zeros(range) => assert!(Some(groups) >= whole(range.start), "whole groups are lost"),
        Accident::Append => assert!(groups >= last, "whole groups are lost"),
    }
}

/// Real storages as records, and groups with one accident of each kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![[&[0], &file_header(LOG, 0, 0)[..]].concat(), vec![1, 0x40, 0, 1, 0]];
    // The kind of records without a snapshot, and with one.
    for kind in [1, 0x82] {
        let mut seed = vec![kind];
        for delta in deltas() {
            let Ok(len) = u8::try_from(delta.len()) else { continue };
            seed.extend([len % 2 * 0x40 + len % 3, len]);
            seed.extend(delta);
        }
        seeds.push(seed);
    }
    for kind in 0..4 {
        for groups in [0, 2, 7] {
            seeds.push(
                [&[2, groups, kind, 0, 99, 1, 200][..], &b"some of what is saved ".repeat(12)].concat(),
            );
        }
    }
    seeds
}

/// The changes between the storages that a server of a run recovers with.
fn deltas() -> Vec<Vec<u8>> {
    let mut before: Option<Storage> = None;
    let mut deltas = Vec::new();
    for storage in crate::run::storages() {
        for start in [None, before.as_ref()] {
            for delta in DurableJournal::diff(start, &storage) {
                let mut bytes = Vec::new();
                encode(&delta, &mut bytes, usize::MAX).expect("a delta has a binary form");
                deltas.push(bytes);
            }
        }
        before = Some(storage);
    }
    deltas
}
