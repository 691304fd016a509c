//! A folder that one process at a time works in, and a file that one at a time makes.

use super::partial::{beginning, folder_of, is_at};
use super::refused;
use crate::{Error, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The file in the folder that is locked.
const NAME: &str = "lock";
/// How often what is locked is made again that another process has just removed.
const ATTEMPTS: usize = 10;

/// The right to work in a folder or to make a file; it ends with this, or with the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    /// What is removed at the end.
    remove: Option<PathBuf>,
}

impl Lock {
    /// Makes a folder, unless it is there, and takes the right to work in it.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has it, [`Error::File`] if the system refuses.
    pub fn of(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        for _ in 0..ATTEMPTS {
            std::fs::create_dir_all(folder).map_err(refused(folder, "create the folder"))?;
            match Self::take(&path, folder)? {
                Some((_, Some(error))) => return Err(refused(&path, "lock")(error)),
                Some((file, None)) => return Ok(Self { _file: file, remove: None }),
                None => {}
            }
        }
        Err(Error::Busy { path: folder.to_owned() })
    }

    /// Takes the right to make a file. What is locked lies beside it, hidden, and is removed at the end. Where there are no
    /// locks it goes without.
    ///
    /// # Errors
    /// [`Error::Busy`] if another process has it, [`Error::File`] if the system refuses.
    pub fn on(file: &Path) -> Result<Self> {
        let mut name = beginning(file.file_name().unwrap_or_default());
        name.push(NAME);
        let path = folder_of(file).join(name);
        for _ in 0..ATTEMPTS {
            if let Some((locked, _)) = Self::take(&path, file)? {
                return Ok(Self { _file: locked, remove: Some(path) });
            }
        }
        Err(Error::Busy { path: file.to_owned() })
    }

    /// Locks a file, and tells if the system has no locks; none if another process has just removed it.
    fn take(path: &Path, busy: &Path) -> Result<Option<(File, Option<io::Error>)>> {
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(refused(path, "create"))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::Busy { path: busy.to_owned() }),
            Err(TryLockError::Error(error)) => Ok(Some((file, Some(error)))),
            Ok(()) => Ok(is_at(&file, path).then_some((file, None))),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(path) = &self.remove {
            // Whoever has it open already finds it gone, and makes another.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let parts = folder.path().join("rec.mrc.parts");
        let first = Lock::of(&parts).unwrap();
        let error = Lock::of(&parts).unwrap_err();
        assert_eq!(error, Error::Busy { path: parts.clone() });
        assert!(
            !error.is_input() && error.to_string().contains("rec.mrc.parts: another process works there")
        );
        // Whoever has it may remove the folder; the next begins with a new one.
        std::fs::remove_dir_all(&parts).unwrap();
        let second = Lock::of(&parts).unwrap();
        drop(first);
        assert!(Lock::of(&parts).is_err());
        drop(second);
        Lock::of(&parts).unwrap();
    }

    #[test]
    fn a_file_is_made_by_one_at_a_time_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let names = || {
            let entries = std::fs::read_dir(&folder).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let [file, other] = ["rec.mrc", "other.mrc"].map(|name| folder.path().join(name));
        // What a process that was killed has left holds nothing.
        std::fs::write(folder.path().join(".rec.mrc.lock"), "").unwrap();
        let first = Lock::on(&file).unwrap();
        assert_eq!(Lock::on(&file).unwrap_err(), Error::Busy { path: file.clone() });
        drop(Lock::on(&other).unwrap());
        assert_eq!(names(), [".rec.mrc.lock"]);
        drop(first);
        assert!(names().is_empty());
        drop(Lock::on(&file).unwrap());
        assert!(matches!(Lock::on(&folder.path().join("no/rec.mrc")), Err(Error::File { .. })));
    }
}
