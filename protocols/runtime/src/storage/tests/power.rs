//! What a loss of power leaves of what was asked of the disk: a disk that forgets what was not synced.

use super::*;
use crate::sim::{Purpose, Rng};
use crate::storage::disk::tape::{self, Op};
use std::collections::BTreeMap;

/// A disk writes so many bytes or none of them.
const SECTOR: u64 = 512;

/// How the disk is wrong.
#[derive(Clone, Copy, PartialEq)]
enum Disk {
    Sound,
    /// `fdatasync` does nothing.
    NoDataSync,
    /// `fsync` of a directory does nothing.
    NoDirectorySync,
}

/// A change of the names in a directory: what appears, and what goes.
type Change = (Option<(PathBuf, usize)>, Option<PathBuf>);

/// What both actors have saved.
type Saved = (Option<Map>, Option<Map>);

#[derive(Default)]
struct Inode {
    content: Vec<u8>,
    /// Writes and cuts since the last sync.
    unsynced: Vec<(u64, Option<Vec<u8>>)>,
}

impl Inode {
    fn apply(&mut self, (offset, bytes): (u64, Option<&[u8]>)) {
        let at = usize::try_from(offset).unwrap();
        let Some(bytes) = bytes else { return self.content.resize(at, 0) };
        self.content.resize(self.content.len().max(at + bytes.len()), 0);
        self.content[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn sync(&mut self) {
        for (offset, bytes) in std::mem::take(&mut self.unsynced) {
            self.apply((offset, bytes.as_deref()));
        }
    }

    /// Some sectors of what was not synced reach the disk.
    fn lose_power(&mut self, rng: &mut Rng) {
        for (offset, bytes) in std::mem::take(&mut self.unsynced) {
            let Some(bytes) = bytes else {
                if rng.chance(0.5) {
                    self.apply((offset, None));
                }
                continue;
            };
            let all = rng.index(3);
            let (mut at, mut rest) = (offset, &bytes[..]);
            while !rest.is_empty() {
                let len = usize::try_from(SECTOR - at % SECTOR).unwrap().min(rest.len());
                if all == 0 || (all == 1 && rng.chance(0.5)) {
                    self.apply((at, Some(&rest[..len])));
                }
                (at, rest) = (at + len as u64, &rest[len..]);
            }
        }
    }
}

/// The files after a loss of power at the end of the tape.
fn after_power_loss(ops: &[Op], disk: Disk, rng: &mut Rng) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut inodes: Vec<Inode> = Vec::new();
    let (mut names, mut durable) = (BTreeMap::<PathBuf, usize>::new(), BTreeMap::new());
    // Those since the last sync of the directory.
    let mut changes: Vec<Change> = Vec::new();
    let change = |names: &mut BTreeMap<_, _>,
                  (appears, goes): (Option<(PathBuf, usize)>, Option<PathBuf>)| {
        goes.map(|name| names.remove(&name));
        appears.map(|(name, inode)| names.insert(name, inode));
    };
    for op in ops {
        let entry = match op {
            Op::Create(path) => {
                inodes.push(Inode::default());
                (Some((path.clone(), inodes.len() - 1)), None)
            }
            Op::Rename(from, to) => (Some((to.clone(), names[from])), Some(from.clone())),
            Op::Remove(path) => (None, Some(path.clone())),
            Op::Write(path, offset, bytes) => {
                inodes[names[path]].unsynced.push((*offset, Some(bytes.clone())));
                continue;
            }
            Op::SetLen(path, len) => {
                inodes[names[path]].unsynced.push((*len, None));
                continue;
            }
            Op::SyncData(_) if disk == Disk::NoDataSync => continue,
            Op::SyncData(path) | Op::SyncAll(path) => {
                inodes[names[path]].sync();
                continue;
            }
            Op::FailedSync(path) => {
                inodes[names[path]].unsynced.clear();
                continue;
            }
            Op::SyncDirectory(_) => {
                if disk != Disk::NoDirectorySync {
                    changes.drain(..).for_each(|entry| change(&mut durable, entry));
                }
                continue;
            }
            Op::Told(_) => continue,
        };
        change(&mut names, entry.clone());
        changes.push(entry);
    }
    for entry in changes {
        if rng.chance(0.5) {
            change(&mut durable, entry);
        }
    }
    for inode in &mut inodes {
        inode.lose_power(rng);
    }
    durable.into_iter().map(|(name, inode)| (name, inodes[inode].content.clone())).collect()
}

/// Several lives of a log that are each killed, some between write and sync; what was asked of the disk, and the states.
fn history(rng: &mut Rng) -> (Vec<Op>, Vec<Saved>) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    fs::create_dir(&root).unwrap();
    tape::begin(&root);
    let mut states = vec![(None, None)];
    for _ in 0..=rng.index(4) {
        let mut log = open_synced(&root);
        assert_eq!(Some(&saved(&log)), states.last(), "a kill loses nothing that was written");
        tape::edit(&root, |ops| ops.push(Op::Told(states.len() - 1)));
        let commits = if rng.chance(0.3) { 0 } else { rng.index(30) };
        for _ in 0..commits {
            let actor = rng.index(2) as u64;
            let map = log.storage(actor).cloned().unwrap_or_default();
            let value = states.len().to_string().repeat(1 + rng.index(400));
            log.save(actor, map.update(u32::try_from(rng.index(6)).unwrap(), value));
            log.commit().unwrap();
            states.push(saved(&log));
            tape::edit(&root, |ops| ops.push(Op::Told(states.len() - 1)));
        }
        drop(log);
        // The kill came before the last sync, or because it failed: nobody was told.
        let (early, failed) = (rng.chance(0.5), rng.chance(0.5));
        tape::edit(&root, |ops| {
            let entered = ops.iter().rposition(|op| matches!(op, Op::SyncDirectory(_)));
            if states.len() == 1 && early {
                ops.truncate(entered.unwrap_or(ops.len()));
            }
            if let [.., Op::SyncData(path), Op::Told(_)] = &ops[..]
                && early
            {
                let path = path.clone();
                ops.truncate(ops.len() - 2);
                ops.extend(failed.then_some(Op::FailedSync(path)));
            }
        });
    }
    (tape::take(&root), states)
}

fn open_synced(path: &Path) -> MapLog {
    // Many changes are longer than a record.
    let limits = Limits { log_per_snapshot: 1, min_log_len: 8_000, max_record_len: 300 };
    MapLog::open(path, 7, &[0, 1], Durability::Sync, limits).unwrap()
}

/// Loses power at random times of random histories; says what was lost, if anything was.
fn lost(disk: Disk, seeds: std::ops::Range<u64>) -> Option<String> {
    for seed in seeds {
        let mut rng = Rng::new(seed, Purpose::Storage);
        let (ops, states) = history(&mut rng);
        for _ in 0..10 {
            let end = rng.index(ops.len() + 1);
            let told = ops[..end].iter().rev().find_map(|op| match op {
                Op::Told(state) => Some(*state),
                _ => None,
            });
            let dir = tempfile::tempdir().unwrap();
            for (name, content) in after_power_loss(&ops[..end], disk, &mut rng) {
                fs::write(dir.path().join(name.file_name().unwrap()), content).unwrap();
            }
            let found = match open(dir.path()) {
                Ok(log) => saved(&log),
                Err(error) => return Some(format!("seed {seed}, {end} of {}: {error}", ops.len())),
            };
            if !states[told.unwrap_or(0)..].contains(&found) {
                return Some(format!("seed {seed}, {end} of {}: state {told:?} is lost", ops.len()));
            }
        }
    }
    None
}

#[test]
fn a_loss_of_power_loses_nothing_that_was_told() {
    assert_eq!(lost(Disk::Sound, 0..20), None);
}

#[test]
fn the_names_of_a_new_directory_and_its_ancestors_are_durable() {
    let dir = tempfile::tempdir().unwrap();
    tape::begin(dir.path());
    open(&dir.path().join("a/b/c")).unwrap();
    let ops = tape::take(dir.path());
    for parent in ["", "a", "a/b", "a/b/c"] {
        let parent = dir.path().join(parent);
        assert!(ops.contains(&Op::SyncDirectory(parent.clone())), "{parent:?} of {ops:?}");
    }
}

#[test]
fn a_disk_whose_syncs_do_nothing_is_noticed() {
    assert!(lost(Disk::NoDataSync, 0..20).is_some());
    assert!(lost(Disk::NoDirectorySync, 0..20).is_some());
}
