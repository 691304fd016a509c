//! Traces: a reader trusts nothing, what it reads is written the same, and a replay of it ends with a finding.

use crate::run::{self, Step};
use parthood::retrace;
use parthood::runtime::trace::{AnyStep, Ending, TraceReader};
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::fmt::Debug;
use std::io::{Seek, Write};
use tempfile::NamedTempFile;

/// Takes the input for a trace.
pub fn run(data: &[u8]) {
    read::<AnyStep>(data);
    if read::<Step>(data) {
        replay(data);
    }
}

/// Reads everything; false if there is no header.
fn read<L: DeserializeOwned + Debug>(data: &[u8]) -> bool {
    let Ok(mut reader) = TraceReader::<_, L>::new(data) else { return false };
    let mut last = 0;
    let mut failed = false;
    for entry in &mut reader {
        assert!(!failed, "a reader ends with its first error");
        match entry {
            Ok((line, _)) => {
                assert!(line > last, "line {line} comes after line {last}");
                last = line;
            }
            Err(_) => failed = true,
        }
    }
    assert_eq!(reader.ending().is_none(), failed, "a trace ends in one way or is wrong");
    if let Some(Ending::Torn { bytes, .. }) = reader.ending() {
        assert!(data.len() >= bytes && !data.ends_with(b"\n"));
    }
    true
}

/// Replays through the actors, as `parthood trace check` does, and draws.
fn replay(data: &[u8]) {
    thread_local! {
        static FILE: RefCell<NamedTempFile> = RefCell::new(NamedTempFile::new().expect("there is room for a file"));
    }
    let write = |file: &mut NamedTempFile| {
        file.as_file().set_len(0)?;
        file.rewind()?;
        file.write_all(data)?;
        Ok::<_, std::io::Error>(file.path().to_owned())
    };
    let path = FILE.with_borrow_mut(write).expect("there is room for an input");
    let _ = retrace::check(std::slice::from_ref(&path));
    let _ = retrace::picture(&[path], &(1..20));
}

/// A recorded run, whole, cut and in short pieces.
pub fn seeds() -> Vec<Vec<u8>> {
    let trace = run::trace();
    let lines: Vec<&str> = trace.split_inclusive('\n').collect();
    let (header, steps) = lines.split_at(1);
    let mut seeds = vec![trace.as_bytes()[..trace.len() / 3].to_vec(), header[0].as_bytes().to_vec()];
    for some in [2, 6, 20, 60] {
        let begin: String = steps.iter().take(some).copied().collect();
        seeds.push(format!("{}{begin}", header[0]).into_bytes());
    }
    let end: String = lines[lines.len().saturating_sub(12)..].concat();
    seeds.push(format!("{}{end}", header[0]).into_bytes());
    seeds
}
