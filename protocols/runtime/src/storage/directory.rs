//! The data directory: its lock, and the files in it.

use super::disk::{self, Appender};
use super::record::{FILE_HEADER_LEN, FileHeader, Kind};
use crate::Error;
use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

pub(super) const LOCK: &str = "LOCK";
/// Where the lives of the process are counted.
pub(super) const LIFE: &str = "life";
/// How often the lock is tried, and the pause between.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(25);
pub(super) const TEMPORARY: &str = ".tmp";
/// What a file system keeps at its root, should the data directory be one.
pub(super) const MOUNTED: &str = "lost+found";

/// A data directory that this process has locked.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Holds the lock for as long as it is open.
    _lock: File,
}

/// The numbers of the files in a directory.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) logs: BTreeSet<u64>,
    pub(super) snapshots: BTreeSet<u64>,
}

impl Directory {
    /// Creates the directory if there is none, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.is_dir();
        let created: Vec<&Path> = path.ancestors().take_while(missing).collect();
        fs::create_dir_all(path).map_err(Error::file("create the data directory", path))?;
        for created in created {
            sync_directory(parent(created))?;
        }
        let name = path.join(LOCK);
        let lock = File::options().write(true).create(true).truncate(false).open(&name);
        let lock = lock.map_err(Error::file("open the lock file", &name))?;
        let mut tries = 1..LOCK_TRIES;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path: path.into(), _lock: lock }),
                // A process that was killed a moment ago may not have let go yet.
                Err(TryLockError::WouldBlock) if tries.next().is_some() => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => return Err(Error::DirectoryInUse { path: path.into() }),
                Err(TryLockError::Error(source)) => return Err(Error::file("lock", &name)(source)),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is there. Deletes what was never finished; refuses what is not ours.
    pub(super) fn contents(&self) -> Result<Contents, Error> {
        let mut contents = Contents::default();
        for entry in fs::read_dir(&self.path).map_err(Error::file("list", &self.path))? {
            let path = entry.map_err(Error::file("list", &self.path))?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if [LOCK, LIFE, MOUNTED].contains(&name) {
            } else if name.ends_with(TEMPORARY) {
                disk::remove(&path).map_err(Error::file("delete the unfinished file", &path))?;
            } else if let Some(number) = number_of(name, "log-") {
                contents.logs.insert(number);
            } else if let Some(number) = number_of(name, "snapshot-") {
                contents.snapshots.insert(number);
            } else {
                let what = "is no file of a data directory".into();
                return Err(Error::ForeignDirectory { path, what });
            }
        }
        Ok(contents)
    }

    /// Creates a file that holds a header and what `content` writes, all of it durable, or nothing.
    pub(super) fn create<T>(
        path: &Path,
        header: FileHeader,
        content: impl FnOnce(&mut File) -> Result<T, Error>,
    ) -> Result<(File, T), Error> {
        let name = file_name(path, header.kind, header.number);
        write_whole(&name, |file, temporary| {
            let mut out = Appender { file, offset: 0 };
            out.write_all(&header.to_bytes()).map_err(Error::file("write", temporary))?;
            content(file)
        })
    }

    /// Replaces a small file that is no part of the log, or creates it; it is durable, or as it was.
    pub(super) fn replace(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let fill = |file: &mut File, temporary: &Path| {
            Appender { file, offset: 0 }.write_all(content).map_err(Error::file("write", temporary))
        };
        write_whole(&self.path.join(name), fill).map(|_| ())
    }

    /// Creates a segment.
    pub(super) fn create_log(&self, header: FileHeader) -> Result<File, Error> {
        Self::create(&self.path, header, |_| Ok(())).map(|(file, ())| file)
    }
}

/// Has a file appear under a name when all of its content is durable.
fn write_whole<T>(
    name: &Path,
    content: impl FnOnce(&mut File, &Path) -> Result<T, Error>,
) -> Result<(File, T), Error> {
    let temporary = name.with_extension(&TEMPORARY[1..]);
    let create = || {
        let mut file = disk::create(&temporary).map_err(Error::file("create", &temporary))?;
        let result = content(&mut file, &temporary)?;
        disk::sync_all(&file).map_err(Error::file("sync", &temporary))?;
        disk::rename(&temporary, name).map_err(Error::file("rename", &temporary))?;
        sync_directory(parent(name))?;
        Ok((file, result))
    };
    create().inspect_err(|_| {
        // The failure itself is reported; what is left over is deleted at the next start.
        let _ = disk::remove(&temporary);
    })
}

/// The directory that holds a name.
fn parent(name: &Path) -> &Path {
    name.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The path of a file.
pub(super) fn file_name(directory: &Path, kind: Kind, number: u64) -> PathBuf {
    let kind = match kind {
        Kind::Log => "log",
        Kind::Snapshot => "snapshot",
    };
    directory.join(format!("{kind}-{number:016x}"))
}

/// Deletes what the snapshot of this number replaces.
pub(super) fn delete_before(directory: &Path, number: u64) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(Error::file("list", directory))? {
        let path = entry.map_err(Error::file("list", directory))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if number_of(name, "log-").or_else(|| number_of(name, "snapshot-")).is_some_and(|n| n < number) {
            disk::remove(&path).map_err(Error::file("delete", &path))?;
        }
    }
    Ok(())
}

/// The length of the header of every file, as an offset.
pub(super) const FIRST_RECORD: u64 = FILE_HEADER_LEN as u64;

pub(super) fn number_of(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

pub(super) fn sync_directory(path: &Path) -> Result<(), Error> {
    disk::sync_directory(path).map_err(Error::file("sync the directory", path))
}
