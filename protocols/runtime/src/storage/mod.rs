//! Durable storage: a write-ahead log of what changed between saves, and snapshots that keep it short.
//!
//! An actor saves its whole storage. A [`Journal`] turns two successive saves into deltas, and the log appends those, so
//! the cost of a save follows what changed. All saves of a batch of steps form one *group*: it is written by one append
//! and made durable by one `fdatasync`, and recovery takes it whole or not at all. What the steps of a batch send to
//! each other inside the process may therefore be delivered before the group is durable: no crash can keep the effect
//! and lose the cause. What leaves the process has to wait for [`Log::commit`].
//!
//! **Files** of a data directory, which one process at a time may use (a lock on `LOCK`):
//!
//! - `log-N`: a segment. A header, then records `{group, actor, delta}` with checksums of header and payload. A delta that
//!   exceeds [`Limits::max_record_len`] is written as several records of the same group, as it is encoded. The checksums are
//!   salted by a random number of each file: what a client stores can never pass for a record.
//! - `snapshot-N`: the same format with a single group that builds every storage from nothing, as of the start of
//!   segment N. Once it is durable, what has a smaller number is deleted.
//! - `life`: when the last life of the process began, if it was ever asked for ([`begin_life`]).
//! - `*.tmp`: not yet renamed to what it will be; deleted at start.
//!
//! **Recovery** reads the newest snapshot and the segments from its number on. Three cases at the end of the last one:
//! it ends with a whole group; or an interrupted write explains what is there (the file ends too early, or a disk sector
//! was never written and reads as zeros, and nothing later follows), which is cut off and said, since nothing after it
//! was acknowledged; or nothing innocent explains it, and recovery refuses, as it does for damage anywhere else. A record
//! neither begins nor ends with a zero, so that an unwritten sector is told however little of it belongs to the group. What it
//! cannot tell from an interrupted write is a file that ends exactly between two groups, and damage to the very last
//! group when that group holds a whole sector of zeros.
//!
//! What recovery reads may be in memory only: a killed process may have written a group that it never synced, or whose
//! sync failed. An actor that restarts from it answers without saving again, so recovery first makes it durable: it writes
//! the last group once more and syncs all segments and the directory. What a snapshot replaces is deleted when the
//! snapshot has been read and found whole.
//!
//! **Snapshots** are written by a thread of their own, from a clone of the storages. With persistent collections the
//! clone is cheap, and the event loop never waits for one; a log that grows meanwhile is only longer.
//!
//! **A failed append** is final: the log takes nothing any more, and the caller stops. After a failed `fdatasync` the
//! state of the disk is unknown, and trying again may report success for lost data.

mod directory;
mod disk;
mod inspect;
mod life;
mod log;
mod record;
mod recovery;
mod snapshot;
#[cfg(test)]
mod tests;

pub use inspect::{Ending, FileKind, FileReport, Inspection, Lock, Saved, inspect};
pub use life::begin_life;
pub use log::{Log, LogCounters};
pub use recovery::{Cut, Recovery};

use serde::{Serialize, de::DeserializeOwned};

/// How a storage is written as a series of changes.
pub trait Journal<S> {
    /// A change. It is written as one record, or as several if it is long; but it is held in memory as a whole.
    type Delta: Serialize + DeserializeOwned;

    /// The changes that lead from `old` to `new`, in order. Nothing when the two are equal; at least one when there is
    /// no `old`.
    fn diff(old: Option<&S>, new: &S) -> impl Iterator<Item = Self::Delta>;

    /// Makes one change; `None` when it does not fit the storage.
    fn apply(old: Option<S>, delta: Self::Delta) -> Option<S>;
}

/// The journal of small storages: every change is the whole value.
#[derive(Clone, Copy, Debug, Default)]
pub struct WholeValue;

impl<S: Clone + PartialEq + Serialize + DeserializeOwned> Journal<S> for WholeValue {
    type Delta = S;

    fn diff(old: Option<&S>, new: &S) -> impl Iterator<Item = S> {
        (old != Some(new)).then(|| new.clone()).into_iter()
    }

    fn apply(_: Option<S>, delta: S) -> Option<S> {
        Some(delta)
    }
}

/// What a save survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the machine: each group is synced to the disk.
    #[default]
    Sync,
    /// A crash of the process: groups are handed to the operating system.
    NoSync,
}

/// When a log is replaced by a snapshot, and how long its records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A snapshot is due when the log since the last one exceeds this many times its size,
    pub log_per_snapshot: u64,
    /// and at least this many bytes.
    pub min_log_len: u64,
    /// The most bytes of one record; a longer change is written as several.
    pub max_record_len: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { log_per_snapshot: 4, min_log_len: 64 << 20, max_record_len: 1 << 20 }
    }
}
