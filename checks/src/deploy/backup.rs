//! Backups: the contents of a running cluster in one file, and back into a cluster.
//!
//! **A backup is one state.** A replica keeps the state it has at one moment (a clone shares what does not change) and
//! hands it out page by page, while it goes on. Before that a marker is put into the store, by a command that conflicts with all
//! others: a state that holds the marker holds all that was acknowledged before the backup began, under every protocol. So a
//! backup is as good as a linearizable read of everything. The marker is removed again and is never part of a backup.
//! Without a quorum no marker can be put; then a stale backup takes what some replica has executed, which is one state too,
//! but may lack what others have acknowledged.
//!
//! **A restore puts and compares.** What the cluster holds is compared with the file first: a cluster that holds something
//! else is left alone. One that holds a part of the file is one whose restore was interrupted: the rest is put. At the end the
//! contents of the cluster are read as for a backup, and must be those of the file.

mod export;
mod file;
mod merge;

pub(super) use export::exporting;
pub use file::BackupHeader;

use super::{ClientError, ClientOptions, Cluster, KvClient, Pending};
use crate::error::Error;
use crate::files::Unfinished;
use export::Export;
use file::{Backup, BackupWriter, SCHEMA};
use merge::{Difference, merge};
use parthood_protocols::state_machine::{
    Batch, BatchedCommand, Bytes, KeyValueCommand, KeyValueOutput, MAX_BATCH_BYTES, MAX_BATCH_COMMANDS,
};
use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The only state machine of which there are backups.
const MACHINE: &str = "key_value";
/// Batches of a restore that are under way at a time.
const OUTSTANDING: usize = 16;
/// How often a batch is sent that has no answer.
const TRIES: u32 = 5;

/// A key and its value.
type Entry = (Bytes, Bytes);

/// How a backup is made.
#[derive(Clone, Copy, Debug)]
pub struct BackupOptions {
    /// Take what some replica has executed: it may lack what others have acknowledged, but needs no quorum.
    pub stale: bool,
    /// How long to wait for any one answer.
    pub timeout: Duration,
}

/// How a backup is restored.
#[derive(Clone, Copy, Debug)]
pub struct RestoreOptions {
    /// Replace what the cluster holds.
    pub force: bool,
    /// How long to wait for any one answer.
    pub timeout: Duration,
}

/// What a backup file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backed {
    /// What it is a backup of.
    pub header: BackupHeader,
    /// Its keys.
    pub keys: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The hash of all keys and values, in their order.
    pub contents: blake3::Hash,
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the file holds, and the cluster now.
    pub backed: Backed,
    /// Keys that were put.
    pub put: u64,
    /// Keys that were removed.
    pub removed: u64,
    /// Keys that were there already, with their values.
    pub kept: u64,
}

/// Writes the contents of a running cluster into a file. It has its name when it is whole.
///
/// # Errors
/// When the cluster does not answer, or the file cannot be written.
pub fn backup(cluster: &Cluster, file: &Path, options: BackupOptions) -> Result<Backed, Error> {
    // What cannot be written is said before anything is asked.
    let out = Unfinished::begin(file)?;
    let client = client(cluster, options.timeout)?;
    let mut export = if options.stale {
        Export::of_some_replica(cluster, options.timeout)?
    } else {
        Export::of_everything(cluster, &client, options.timeout)?
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let header = BackupHeader {
        schema: SCHEMA.into(),
        machine: MACHINE.into(),
        protocol: cluster.protocol.clone(),
        cluster: format!("{:016x}", cluster.identity()),
        node: export.node_name(cluster),
        executed: export.executed(),
        complete: !options.stale,
        at_unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
    };
    let mut writer = BackupWriter::begin(out, file, header)?;
    for entry in export.entries() {
        writer.entry(&entry?)?;
    }
    let (out, backed) = writer.finish()?;
    out.finish()?;
    Ok(backed)
}

/// Reads a backup file as a whole, and says what it holds.
///
/// # Errors
/// When it is no whole backup.
pub fn check_backup(file: &Path) -> Result<Backed, Error> {
    Backup::open(file).map(|backup| backup.backed)
}

/// Puts the contents of a file into a running cluster. One that holds something else is left alone, unless it is forced.
/// Nobody else should write meanwhile.
///
/// # Errors
/// When the file is no whole backup, the cluster holds something else or does not answer, or differs at the end.
pub fn restore(cluster: &Cluster, file: &Path, options: RestoreOptions) -> Result<Restored, Error> {
    let backup = Backup::open(file)?;
    if backup.backed.header.machine != MACHINE {
        let machine = &backup.backed.header.machine;
        return Err(Error::Usage(format!(
            "{} is a backup of a {machine}, and this cluster replicates a {MACHINE}",
            file.display()
        )));
    }
    let client = client(cluster, options.timeout)?;
    let mut export = Export::of_everything(cluster, &client, options.timeout)?;
    if !options.force {
        for difference in merge(backup.entries()?, export.entries()) {
            refuse_foreign(&difference?, file)?;
        }
    }
    let mut puts = Puts { client: &client, batch: Vec::new(), bytes: 0, under_way: VecDeque::new() };
    let mut restored = Restored { backed: backup.backed.clone(), put: 0, removed: 0, kept: 0 };
    for difference in merge(backup.entries()?, export.entries()) {
        match difference? {
            Difference::Equal => restored.kept += 1,
            Difference::Missing((key, value)) | Difference::Other { file: (key, value) } => {
                restored.put += 1;
                puts.push(BatchedCommand::Put(key, value))?;
            }
            Difference::Foreign((key, _)) => {
                restored.removed += 1;
                puts.push(BatchedCommand::Delete(key))?;
            }
        }
    }
    puts.finish()?;
    let mut now = Export::of_everything(cluster, &client, options.timeout)?;
    let mut contents = file::Contents::default();
    now.entries().try_for_each(|entry| entry.map(|entry| contents.add(&entry)))?;
    if contents.hash() != backup.backed.contents {
        return Err(Error::Impossible(format!(
            "the cluster does not hold what {} does: somebody else has written meanwhile; restore again with --force when \
             nobody does",
            file.display()
        )));
    }
    Ok(restored)
}

fn client(cluster: &Cluster, timeout: Duration) -> Result<KvClient, Error> {
    let lanes = u32::try_from(OUTSTANDING).unwrap_or(u32::MAX);
    KvClient::connect(cluster, ClientOptions { lanes, timeout, ..ClientOptions::default() })
}

fn refuse_foreign(difference: &Difference, file: &Path) -> Result<(), Error> {
    let file = file.display();
    let holds = match difference {
        Difference::Equal | Difference::Missing(_) => return Ok(()),
        Difference::Other { file: (key, _) } => format!("another value of the key {key:?} than {file} does"),
        Difference::Foreign((key, _)) => format!("the key {key:?}, which {file} does not"),
    };
    Err(Error::Impossible(format!(
        "the cluster is not empty: it holds {holds}. Nothing was changed: restore into a new cluster, or give --force to \
         replace what this one holds"
    )))
}

/// Batches on their way.
struct Puts<'a> {
    client: &'a KvClient,
    batch: Vec<BatchedCommand>,
    bytes: usize,
    under_way: VecDeque<(Batch, Pending)>,
}

impl Puts<'_> {
    fn push(&mut self, command: BatchedCommand) -> Result<(), Error> {
        let bytes = command.bytes();
        if self.batch.len() == MAX_BATCH_COMMANDS || self.bytes + bytes + 16 > MAX_BATCH_BYTES {
            self.send()?;
        }
        self.bytes += bytes;
        self.batch.push(command);
        Ok(())
    }

    fn send(&mut self) -> Result<(), Error> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if self.under_way.len() == OUTSTANDING {
            self.await_one()?;
        }
        self.bytes = 0;
        let batch: Batch = std::mem::take(&mut self.batch).into_iter().collect();
        let pending = self.client.submit(KeyValueCommand::Batch(batch.clone()));
        self.under_way.push_back((batch, pending));
        Ok(())
    }

    /// Waits for the oldest batch. One without an answer is sent again: to put the same twice is to put it once.
    fn await_one(&mut self) -> Result<(), Error> {
        let Some((batch, mut pending)) = self.under_way.pop_front() else { return Ok(()) };
        for left in (0..TRIES).rev() {
            let why = match pending.wait() {
                Ok(KeyValueOutput::Batch(_)) => return Ok(()),
                Ok(other) => {
                    return Err(Error::Environment(format!("the cluster answers {other:?} to a batch")));
                }
                Err(why @ (ClientError::Stopped(_) | ClientError::TooManyLanes)) => {
                    return Err(Error::Environment(why.to_string()));
                }
                Err(why) => why,
            };
            if left == 0 {
                return Err(Error::Environment(format!(
                    "{why}; restore again to go on where this one ended"
                )));
            }
            pending = self.client.submit(KeyValueCommand::Batch(batch.clone()));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Error> {
        self.send()?;
        while !self.under_way.is_empty() {
            self.await_one()?;
        }
        Ok(())
    }
}
