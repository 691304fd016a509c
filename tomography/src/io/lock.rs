//! A folder that one process at a time works in.

use super::partial::is_at;
use super::refused;
use crate::{Error, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// The file in the folder that is locked.
const NAME: &str = "lock";
/// How often the folder is made again that another process has just removed, with its lock.
const ATTEMPTS: usize = 10;

/// The right to work in a folder; it ends with this, or with the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
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
            let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
            let file = opened.map_err(refused(&path, "create"))?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: folder.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(refused(&path, "lock")(error)),
                Ok(()) if is_at(&file, &path) => return Ok(Self { _file: file }),
                Ok(()) => {}
            }
        }
        Err(Error::Busy { path: folder.to_owned() })
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
}
