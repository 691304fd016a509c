//! What was asked of the disk below some directories, and what was told to others meanwhile.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was asked. Files go by the names they had then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::storage) enum Op {
    Create(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    SetLen(PathBuf, u64),
    SyncData(PathBuf),
    SyncAll(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDirectory(PathBuf),
    /// A sync that failed: memory is taken for equal to the disk, and is not.
    FailedSync(PathBuf),
    /// From here on, the state of this number may be told to others.
    Told(usize),
}

static TAPES: Mutex<Vec<(PathBuf, Vec<Op>)>> = Mutex::new(Vec::new());

fn tapes() -> MutexGuard<'static, Vec<(PathBuf, Vec<Op>)>> {
    TAPES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tapes what happens at `root` and below until the tape is taken.
pub(in crate::storage) fn begin(root: &Path) {
    tapes().push((root.into(), Vec::new()));
}

/// Ends a tape.
pub(in crate::storage) fn take(root: &Path) -> Vec<Op> {
    let mut tapes = tapes();
    let place = tapes.iter().position(|(path, _)| path == root).expect("it was begun");
    tapes.swap_remove(place).1
}

/// Changes a tape.
pub(in crate::storage) fn edit(root: &Path, change: impl FnOnce(&mut Vec<Op>)) {
    let mut tapes = tapes();
    let (_, ops) = tapes.iter_mut().find(|(path, _)| path == root).expect("it was begun");
    change(ops);
}

pub(super) fn note(path: &Path, op: impl FnOnce(&Path) -> Op) {
    if let Some((_, ops)) = tapes().iter_mut().find(|(root, _)| path.starts_with(root)) {
        ops.push(op(path));
    }
}

pub(super) fn note_file(file: &File, op: impl FnOnce(&Path) -> Op) {
    if tapes().is_empty() {
        return;
    }
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("Linux knows open files");
    note(&path, op);
}
