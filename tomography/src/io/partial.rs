//! Files and folders that are not finished: under names of their own beside their place, removed unless they get there.

use super::{content, refused};
use crate::Result;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// How many names are tried.
const ATTEMPTS: u32 = 1000;

/// A temporary file that is removed unless it got its final name.
pub(super) struct Temporary {
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    /// A new file beside a path, under a name that no other writer has.
    pub(super) fn beside(path: &Path) -> Result<(Self, File)> {
        let (path, file) =
            unused(path, |candidate| OpenOptions::new().write(true).create_new(true).open(candidate))?;
        Ok((Self { path, renamed: false }, file))
    }

    /// Gives the file its final name.
    pub(super) fn rename(&mut self, path: &Path) -> Result<()> {
        std::fs::rename(&self.path, path).map_err(refused(path, "rename the finished file"))?;
        self.renamed = true;
        sync_folder_of(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A temporary folder that is removed, with what is in it, unless it got its final name.
pub(super) struct Folder {
    path: PathBuf,
    renamed: bool,
}

impl Folder {
    /// A new folder beside a path, under a name that no other writer has.
    pub(super) fn beside(path: &Path) -> Result<Self> {
        let (path, ()) = unused(path, |candidate| std::fs::create_dir(candidate))?;
        Ok(Self { path, renamed: false })
    }

    /// Where it is now.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the folder its final name. What had that name is put aside first, and removed last.
    pub(super) fn rename(mut self, path: &Path) -> Result<()> {
        let failed = refused(path, "rename the finished folder");
        let old = path.exists().then(|| Self::beside(path)).transpose()?;
        if let Some(old) = &old {
            std::fs::rename(path, &old.path).map_err(&failed)?;
        }
        if let Err(error) = std::fs::rename(&self.path, path) {
            if let Some(old) = &old {
                let _ = std::fs::rename(&old.path, path);
            }
            return Err(failed(error));
        }
        self.renamed = true;
        sync_folder_of(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder_of(path: &Path) -> Result<()> {
    File::open(folder_of(path)).and_then(|folder| folder.sync_all()).map_err(refused(path, "sync the folder"))
}

/// Creates something beside a path, under a name that nothing else has.
fn unused<T>(path: &Path, create: impl Fn(&Path) -> io::Result<T>) -> Result<(PathBuf, T)> {
    let Some(name) = path.file_name() else {
        return Err(content(path, "the name", "empty", "that of a file"));
    };
    let mut attempt = 0;
    loop {
        let mut unique = std::ffi::OsString::from(".");
        unique.push(name);
        unique.push(format!(".{}-{attempt}.partial", std::process::id()));
        let candidate = folder_of(path).join(unique);
        match create(&candidate) {
            Ok(created) => return Ok((candidate, created)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(refused(path, "create a file beside it")(error)),
        }
    }
}
