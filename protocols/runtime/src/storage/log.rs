//! The write-ahead log of one process.

use super::directory::{Directory, FIRST_RECORD, file_name};
use super::disk;
use super::record::{FileHeader, GroupWriter, Kind, WriteError};
use super::recovery::{Recovered, Recovery, recover};
use super::snapshot::Background;
use super::{Durability, Journal, Limits};
use crate::{Error, Histogram};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Counts what a log does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogCounters {
    /// Groups written.
    pub groups: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Groups made durable by an `fdatasync`.
    pub syncs: u64,
    /// Snapshots completed.
    pub snapshots: u64,
    /// Snapshots that failed; the log goes on without, and another is tried after as much log again.
    pub failed_snapshots: u64,
    /// How long each `fdatasync` took.
    pub sync_times: Histogram,
    /// Bytes logged since the last snapshot was begun.
    pub log_len: u64,
    /// Bytes of the last snapshot; 0 if there is none.
    pub snapshot_len: u64,
}

/// The storages of a process, as saved and as durable.
pub struct Log<S: Send + 'static, J: Journal<S>> {
    /// Before `directory`, so that it ends while the lock is still held.
    snapshot: Option<Background>,
    directory: Directory,
    cluster: u64,
    durability: Durability,
    limits: Limits,
    tail: Tail,
    number: u64,
    next_group: u64,
    durable: BTreeMap<u64, S>,
    pending: BTreeMap<u64, S>,
    group: GroupWriter,
    snapshot_len: u64,
    /// Bytes logged since the last snapshot was begun.
    since_snapshot: u64,
    /// Why snapshots failed that nobody has been told of yet.
    complaints: Vec<Error>,
    failed: bool,
    counters: LogCounters,
    recovery: Recovery,
    journal: PhantomData<fn() -> J>,
}

impl<S: Clone + Send + 'static, J: Journal<S>> Log<S, J> {
    /// Opens the log in `path`, creating one if there is none, for the actors that this process hosts.
    ///
    /// # Errors
    /// When another process uses the directory, it belongs to another cluster or to other actors, it is damaged, or the
    /// operating system refuses.
    pub fn open(
        path: &Path,
        cluster: u64,
        hosted: &[u64],
        durability: Durability,
        limits: Limits,
    ) -> Result<Self, Error> {
        let directory = Directory::open(path)?;
        let recovered: Recovered<S> = recover::<S, J>(&directory, cluster)?;
        if let Some(actor) = recovered.storages.keys().find(|actor| !hosted.contains(actor)) {
            let what = format!("holds promises of actor {actor}, which this process does not host");
            return Err(Error::ForeignDirectory { path: path.into(), what });
        }
        let number = recovered.number;
        let path = file_name(directory.path(), Kind::Log, number);
        Ok(Self {
            tail: Tail { file: recovered.file, path, offset: recovered.end, salt: recovered.salt },
            directory,
            cluster,
            durability,
            limits,
            number,
            next_group: recovered.next_group,
            durable: recovered.storages,
            pending: BTreeMap::new(),
            group: GroupWriter::new(limits.max_record_len),
            snapshot_len: recovered.snapshot_len,
            since_snapshot: recovered.log_len,
            snapshot: None,
            complaints: Vec::new(),
            failed: false,
            counters: LogCounters::default(),
            recovery: recovered.report,
            journal: PhantomData,
        })
    }

    /// What the start found.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// What an actor saved last, as far as it is durable.
    pub fn storage(&self, actor: u64) -> Option<&S> {
        self.durable.get(&actor)
    }

    /// Remembers a save for the next [`Log::commit`]. A later save of the same actor replaces it.
    pub fn save(&mut self, actor: u64, storage: S) {
        self.pending.insert(actor, storage);
    }

    /// Makes all saves since the last commit durable, as one group. When it returns, what depended on them may leave.
    ///
    /// # Errors
    /// When they cannot be written, for example because the disk is full, now or at an earlier commit. They must then be
    /// considered lost, and the caller has to stop.
    pub fn commit(&mut self) -> Result<(), Error> {
        if self.failed {
            return Err(Error::LogFailed { path: self.tail.path.clone() });
        }
        if self.pending.is_empty() {
            return Ok(());
        }
        let result = self.append_group();
        self.failed = result.is_err();
        result?;
        self.poll_snapshot();
        let due = self.limits.min_log_len.max(self.limits.log_per_snapshot.saturating_mul(self.snapshot_len));
        if self.snapshot.is_none() && self.since_snapshot >= due {
            let result = self.begin_snapshot();
            self.failed = result.is_err();
            result?;
        }
        Ok(())
    }

    /// What the log has done since it was opened.
    pub fn counters(&self) -> LogCounters {
        LogCounters { log_len: self.since_snapshot, snapshot_len: self.snapshot_len, ..self.counters }
    }

    /// Takes what went wrong and does not end the log: why snapshots failed, or there are none. Each such time is told once.
    pub fn complaints(&mut self) -> impl Iterator<Item = Error> + '_ {
        self.complaints.drain(..)
    }

    /// Every later write goes to `file`.
    #[cfg(test)]
    pub(crate) fn replace_tail(&mut self, file: File) {
        self.tail.file = file;
    }

    fn append_group(&mut self) -> Result<(), Error> {
        let start = self.tail.offset;
        self.group.begin(self.next_group, self.tail.salt);
        let result = self.write_group();
        let len = self.tail.offset - start;
        if let Err((actor, error)) = result {
            self.tail.give_up(start);
            return Err(match error {
                WriteError::NoForm => Error::NoBinaryForm { actor },
                WriteError::Io(source) => Error::LogWrite { path: self.tail.path.clone(), source },
            });
        }
        if len > 0 {
            self.next_group += 1;
            self.since_snapshot += len;
            self.counters.groups += 1;
            self.counters.records += self.group.records;
            self.counters.bytes += len;
        }
        self.durable.append(&mut self.pending);
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), (u64, WriteError)> {
        for (&actor, storage) in &self.pending {
            for delta in J::diff(self.durable.get(&actor), storage) {
                self.group.push(&mut self.tail, actor, &delta).map_err(|error| (actor, error))?;
            }
        }
        if self.group.records == 0 {
            return Ok(());
        }
        let mut finish = || -> io::Result<()> {
            self.group.finish(&mut self.tail)?;
            if self.durability == Durability::Sync {
                let begun = Instant::now();
                disk::sync_data(&self.tail.file)?;
                self.counters.sync_times.observe(begun.elapsed());
                self.counters.syncs += 1;
            }
            Ok(())
        };
        finish().map_err(|error| (0, error.into()))
    }

    fn poll_snapshot(&mut self) {
        let Some(result) = self.snapshot.as_mut().and_then(Background::poll) else { return };
        self.snapshot = None;
        match result {
            Ok(len) => {
                self.snapshot_len = len;
                self.counters.snapshots += 1;
            }
            Err(error) => self.lack_snapshot(error),
        }
    }

    /// Notes that a snapshot has failed. Another one is due when as much is logged again.
    fn lack_snapshot(&mut self, source: Error) {
        self.counters.failed_snapshots += 1;
        let directory = self.directory.path().into();
        self.complaints.push(Error::Snapshot { directory, source: Box::new(source) });
    }

    /// Begins a new segment, and a snapshot of everything before it.
    fn begin_snapshot(&mut self) -> Result<(), Error> {
        let number = self.number + 1;
        let header = |kind| FileHeader::new(kind, self.cluster, number, self.next_group);
        let of_log = header(Kind::Log)?;
        let file = self.directory.create_log(of_log)?;
        let path = file_name(self.directory.path(), Kind::Log, number);
        let started = Background::start::<S, J>(
            self.directory.path().into(),
            header(Kind::Snapshot)?,
            self.durable.clone(),
            self.limits.max_record_len,
        );
        self.tail = Tail { file, path, offset: FIRST_RECORD, salt: of_log.salt };
        self.number = number;
        self.since_snapshot = 0;
        match started {
            Ok(background) => self.snapshot = Some(background),
            Err(source) => {
                let path = self.directory.path();
                self.lack_snapshot(Error::file("start a thread for a snapshot of", path)(source));
            }
        }
        Ok(())
    }
}

impl<S: Send + 'static, J: Journal<S>> fmt::Debug for Log<S, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("path", &self.tail.path)
            .field("next_group", &self.next_group)
            .finish_non_exhaustive()
    }
}

/// The end of the last segment.
#[derive(Debug)]
struct Tail {
    file: File,
    path: PathBuf,
    offset: u64,
    salt: u64,
}

impl Tail {
    /// Takes a failed group back as far as possible; recovery does the rest.
    fn give_up(&mut self, offset: u64) {
        let _ = disk::set_len(&self.file, offset);
        self.offset = offset;
    }
}

impl Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = disk::write_at(&self.file, bytes, self.offset)?;
        self.offset += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
