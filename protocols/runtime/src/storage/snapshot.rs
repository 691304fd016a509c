//! Snapshots, written by a thread of their own.

use super::Journal;
use super::directory::{Directory, FIRST_RECORD, delete_before};
use super::disk::{self, Appender};
use super::record::{FileHeader, GroupWriter, WriteError};
use crate::Error;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// A snapshot is synced every so many bytes, so that the log's own syncs never queue behind all of it.
const SYNC_EVERY: u64 = 4 << 20;

/// A snapshot in the making. Dropping it gives it up, and waits until it has.
#[derive(Debug)]
pub(super) struct Background {
    thread: Option<JoinHandle<Result<u64, Error>>>,
    cancel: Arc<AtomicBool>,
}

impl Background {
    /// Starts to write `storages`; when that is durable, deletes the files it replaces.
    pub(super) fn start<S: Send + 'static, J: Journal<S>>(
        directory: PathBuf,
        header: FileHeader,
        storages: BTreeMap<u64, S>,
        max_record_len: u32,
    ) -> io::Result<Self> {
        let cancel = Arc::new(AtomicBool::new(false));
        let cancelled = Arc::clone(&cancel);
        let write = move || {
            let len = write::<S, J>(&directory, header, &storages, max_record_len, &cancelled)?;
            delete_before(&directory, header.number)?;
            Ok(len)
        };
        let thread = thread::Builder::new().name("snapshot".into()).spawn(write)?;
        Ok(Self { thread: Some(thread), cancel })
    }

    /// The size of the snapshot or why there is none, once that is known.
    pub(super) fn poll(&mut self) -> Option<Result<u64, Error>> {
        let thread = self.thread.take_if(|thread| thread.is_finished())?;
        Some(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its result no longer matters: an unfinished snapshot is deleted at the next start.
            let _ = thread.join();
        }
    }
}

/// Writes a snapshot; returns its length.
fn write<S, J: Journal<S>>(
    directory: &Path,
    header: FileHeader,
    storages: &BTreeMap<u64, S>,
    max_record_len: u32,
    cancel: &AtomicBool,
) -> Result<u64, Error> {
    let fill = |file: &mut File| -> Result<u64, Error> {
        let out = Appender { file, offset: FIRST_RECORD };
        let mut out = Paced { out, len: 0, unsynced: 0, cancel };
        let mut group = GroupWriter::new(max_record_len);
        group.begin(header.first_group, header.salt);
        let mut all = || -> Result<(), (u64, WriteError)> {
            for (&actor, storage) in storages {
                for delta in J::diff(None, storage) {
                    group.push(&mut out, actor, &delta).map_err(|error| (actor, error))?;
                }
            }
            group.finish(&mut out).map_err(|error| (0, error.into()))
        };
        match all() {
            Ok(()) => Ok(out.len),
            Err((actor, WriteError::NoForm)) => Err(Error::NoBinaryForm { actor }),
            Err((_, WriteError::Io(source))) => Err(Error::file("write a snapshot in", directory)(source)),
        }
    };
    Directory::create(directory, header, fill).map(|(_, len)| len)
}

/// A file that is synced now and then, and fails once it is cancelled.
struct Paced<'a> {
    out: Appender<'a>,
    len: u64,
    unsynced: u64,
    cancel: &'a AtomicBool,
}

impl Write for Paced<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancel.load(Ordering::Relaxed) {
            // Not `Interrupted`: writers would try again.
            return Err(io::Error::other("the node stops"));
        }
        let written = self.out.write(bytes)?;
        self.len += written as u64;
        self.unsynced += written as u64;
        if self.unsynced >= SYNC_EVERY {
            disk::sync_data(self.out.file)?;
            self.unsynced = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
