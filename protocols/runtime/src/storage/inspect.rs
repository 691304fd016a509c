//! Looks at a data directory without changing anything in it.
//!
//! Nothing is refused: what is damaged, foreign or left over is said, and the rest is read. If a process is at work in the
//! directory the end of its log may be a write under way; and a snapshot may replace files while they are read.

use super::directory::{LIFE, LOCK, MOUNTED, TEMPORARY, number_of};
use super::record::{Kind, RecordHeader, Then};
use super::recovery::Scan;
use crate::Error;
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// What a data directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Does a process use it?
    pub lock: Lock,
    /// Snapshots and segments, each kind in the order of their numbers.
    pub files: Vec<FileReport>,
    /// What a start would read for each actor, by index.
    pub saved: BTreeMap<u64, Saved>,
    /// When the last life began, if that was ever asked for.
    pub life: Option<String>,
    /// Files that were never finished. The next start deletes them.
    pub unfinished: Vec<PathBuf>,
    /// What does not belong here, and why. A start would refuse it.
    pub foreign: Vec<PathBuf>,
}

/// Whether a process uses a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// No process does.
    Free,
    /// A process does.
    Held,
    /// None ever did: there is no lock file.
    Missing,
    /// The operating system does not say.
    Unknown,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// It stands for everything before the segment of its number.
    Snapshot,
    /// A part of the log.
    Segment,
}

/// One snapshot or segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: FileKind,
    /// Its number.
    pub number: u64,
    /// Its length.
    pub bytes: u64,
    /// The cluster that it belongs to, if its header can be read.
    pub cluster: Option<u64>,
    /// Whole groups.
    pub groups: u64,
    /// Records in them.
    pub records: u64,
    /// A newer snapshot stands for it, and the next start deletes it.
    pub is_replaced: bool,
    /// How it ends.
    pub ending: Ending,
}

/// How a file ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a whole group.
    Whole,
    /// With an interrupted write, which a start cuts off: nothing of it was acknowledged.
    Interrupted {
        /// Where it begins.
        offset: u64,
        /// How long it is.
        bytes: u64,
    },
    /// With something that no interrupted write explains. A start refuses it.
    Damaged {
        /// Where that is.
        offset: u64,
        /// What is wrong.
        what: String,
    },
}

/// What is saved for one actor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Records that a start reads.
    pub records: u64,
    /// Bytes of their contents.
    pub bytes: u64,
    /// Bytes of the largest; a long change is several records.
    pub largest: u64,
    /// The group of the last.
    pub last_group: u64,
}

impl Saved {
    fn add(&mut self, header: RecordHeader) {
        let bytes = u64::from(header.len);
        self.records += 1;
        self.bytes += bytes;
        self.largest = self.largest.max(bytes);
        self.last_group = header.group;
    }
}

/// Looks at a data directory. Nothing in it is changed.
///
/// # Errors
/// When it or a file in it cannot be read at all.
pub fn inspect(path: &Path) -> Result<Inspection, Error> {
    let mut found = Inspection {
        lock: lock(path)?,
        files: Vec::new(),
        saved: BTreeMap::new(),
        life: None,
        unfinished: Vec::new(),
        foreign: Vec::new(),
    };
    let mut numbers = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::file("list", path))? {
        let path = entry.map_err(Error::file("list", path))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name == LIFE {
            let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
            found.life = Some(text.trim().to_owned());
        } else if [LOCK, MOUNTED].contains(&name) {
        } else if name.ends_with(TEMPORARY) {
            found.unfinished.push(path);
        } else if let Some(number) = number_of(name, "log-") {
            numbers.push((FileKind::Segment, number));
        } else if let Some(number) = number_of(name, "snapshot-") {
            numbers.push((FileKind::Snapshot, number));
        } else {
            found.foreign.push(path);
        }
    }
    numbers.sort_unstable();
    found.read(path, &numbers)?;
    Ok(found)
}

/// Whether a process holds the lock; it is tried in a way that does not keep others from sharing it.
fn lock(path: &Path) -> Result<Lock, Error> {
    let name = path.join(LOCK);
    if !name.exists() {
        return Ok(Lock::Missing);
    }
    let file = File::open(&name).map_err(Error::file("open the lock file", &name))?;
    Ok(match file.try_lock_shared() {
        Ok(()) => Lock::Free,
        Err(TryLockError::WouldBlock) => Lock::Held,
        Err(TryLockError::Error(_)) => Lock::Unknown,
    })
}

impl Inspection {
    /// Would a start refuse something, apart from a lock that is held?
    pub fn is_damaged(&self) -> bool {
        let damaged = |file: &FileReport| !file.is_replaced && matches!(file.ending, Ending::Damaged { .. });
        !self.foreign.is_empty() || self.files.iter().any(damaged)
    }

    /// Reads the files with these numbers, snapshots first.
    fn read(&mut self, path: &Path, numbers: &[(FileKind, u64)]) -> Result<(), Error> {
        let of = |kind| numbers.iter().filter(move |one| one.0 == kind).map(|one| one.1);
        let base = of(FileKind::Snapshot).max();
        let last = of(FileKind::Segment).max();
        let (mut group, mut expected) = (None, base.unwrap_or(0));
        for &(kind, number) in numbers {
            let is_replaced = Some(number) < base;
            let is_segment = kind == FileKind::Segment;
            let mut file =
                self.read_one(path, kind, number, is_replaced, is_segment && Some(number) == last)?;
            if !is_replaced {
                let follows = !is_segment || number == expected && group.is_none_or(|group| group == file.1);
                if !follows && file.0.ending == Ending::Whole {
                    let what = "the file does not follow the one before it".to_owned();
                    file.0.ending = Ending::Damaged { offset: 0, what };
                }
                group = Some(file.1 + if is_segment { file.0.groups } else { 0 });
                expected = number + u64::from(is_segment);
            }
            self.files.push(file.0);
        }
        let missing = base.filter(|base| expected == *base);
        if let (Some(number), Some(snapshot)) =
            (missing, self.files.iter_mut().rev().find(|file| file.kind == FileKind::Snapshot))
        {
            snapshot.ending = Ending::Damaged { offset: 0, what: format!("segment {number:x} is missing") };
        }
        Ok(())
    }

    /// What a file holds, and the group that it begins with. What counts is added to what is saved.
    fn read_one(
        &mut self,
        path: &Path,
        kind: FileKind,
        number: u64,
        is_replaced: bool,
        is_last: bool,
    ) -> Result<(FileReport, u64), Error> {
        let in_log = if kind == FileKind::Segment { Kind::Log } else { Kind::Snapshot };
        let file = super::directory::file_name(path, in_log, number);
        let bytes = fs::metadata(&file).map_err(Error::file("inspect", &file))?.len();
        let ending = Ending::Whole;
        let mut report = FileReport {
            path: file,
            kind,
            number,
            bytes,
            cluster: None,
            groups: 0,
            records: 0,
            is_replaced,
            ending,
        };
        let scan = match Scan::begin(path, in_log, number) {
            Ok(scan) => scan,
            Err(error) => {
                report.ending = damage(error)?;
                return Ok((report, 0));
            }
        };
        report.cluster = Some(scan.header.cluster);
        match scan.verify(is_last) {
            Ok(extent) if kind == FileKind::Snapshot && extent.groups > 1 => {
                let what = "a snapshot has one group".to_owned();
                report.ending = Ending::Damaged { offset: 0, what };
            }
            Ok(extent) if extent.end == scan.len => {}
            Ok(extent) => {
                report.ending = Ending::Interrupted { offset: extent.end, bytes: scan.len - extent.end };
            }
            Err(error) => report.ending = damage(error)?,
        }
        self.count(&scan, &mut report)?;
        Ok((report, scan.header.first_group))
    }

    /// Counts the records of whole groups up to the first that is not.
    fn count(&mut self, scan: &Scan, report: &mut FileReport) -> Result<(), Error> {
        let mut records = scan.records(scan.len)?;
        let mut group = Vec::new();
        while let Ok(Some((header, _))) = records.next().map_err(Error::file("read", &scan.path))? {
            if header.group != scan.header.first_group + report.groups {
                break;
            }
            group.push(header);
            if header.then == Then::Nothing {
                report.groups += 1;
                report.records += group.len() as u64;
                for header in group.drain(..).filter(|_| !report.is_replaced) {
                    self.saved.entry(header.actor).or_default().add(header);
                }
            }
        }
        Ok(())
    }
}

/// What is wrong with a file, if that is what the failure says.
fn damage(error: Error) -> Result<Ending, Error> {
    match error {
        Error::Damaged { offset, what, .. } => Ok(Ending::Damaged { offset, what }),
        Error::ForeignDirectory { what, .. } => Ok(Ending::Damaged { offset: 0, what }),
        other => Err(other),
    }
}
