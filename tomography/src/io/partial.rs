//! Files and folders that are not finished: under names of their own beside their place, removed unless they get there.
//!
//! Who writes one holds a lock on it, which ends with the process. So what a process that was killed has left can be told
//! from what another is writing, on this machine or on one that shares the disk, and the next writer of the same name
//! removes it.

use super::{content, refused};
use crate::{Error, Result};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many names are tried.
const ATTEMPTS: u32 = 1000;
/// How the names end of what is not finished.
const PARTIAL: &str = ".partial";
/// How the name ends of what was put aside for what is finished. It is nobody's to remove but who put it there.
const OLD: &str = ".old";

/// A temporary file that is removed unless it got its final name.
pub(super) struct Temporary {
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    /// A new file beside a path, under a name that no other writer has, and locked for as long as the file is open.
    pub(super) fn beside(path: &Path) -> Result<(Self, File)> {
        remove_dead(path);
        let create = |candidate: &Path| OpenOptions::new().write(true).create_new(true).open(candidate);
        let (path, file) = unused(path, PARTIAL, create)?;
        Ok((Self { path, renamed: false }, file))
    }

    /// Gives the file its final name.
    pub(super) fn rename(&mut self, path: &Path) -> Result<()> {
        fs::rename(&self.path, path).map_err(refused(path, "rename the finished file"))?;
        self.renamed = true;
        sync_folder_of(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A temporary folder that is removed, with what is in it, unless it got its final name.
pub(super) struct Folder {
    path: PathBuf,
    renamed: bool,
    _lock: File,
}

impl Folder {
    /// A new folder beside a path, under a name that no other writer has, and locked.
    pub(super) fn beside(path: &Path) -> Result<Self> {
        remove_dead(path);
        Self::named(path, PARTIAL)
    }

    fn named(path: &Path, ending: &str) -> Result<Self> {
        let create = |candidate: &Path| fs::create_dir(candidate).and_then(|()| File::open(candidate));
        let (path, lock) = unused(path, ending, create)?;
        Ok(Self { path, renamed: false, _lock: lock })
    }

    /// Where it is now.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the folder its final name. What had that name is removed.
    pub(super) fn rename(mut self, path: &Path) -> Result<()> {
        self.renamed = put(&self.path, path)?;
        sync_folder_of(path)
    }

    /// Gives all that is in the folder final names, in the folder beside. What had one of them is removed.
    pub(super) fn spread(self, beside: &Path) -> Result<()> {
        let entries = fs::read_dir(&self.path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(refused(&self.path, "read the folder"))?;
        let mut names: Vec<OsString> = entries.into_iter().map(|entry| entry.file_name()).collect();
        names.sort();
        for name in names {
            put(&self.path.join(&name), &folder_of(beside).join(&name))?;
        }
        sync_folder_of(beside)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Gives something a final name, and tells whether nothing is left under the one that it had. Two folders exchange their
/// names in one step, where the system can do so: there is a whole one at any time, and the old one has the other's name.
fn put(from: &Path, to: &Path) -> Result<bool> {
    let failed = refused(to, "rename what is finished");
    if !to.is_dir() {
        return fs::rename(from, to).map(|()| true).map_err(failed);
    }
    match exchange(from, to) {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => put_in_two_steps(from, to).map(|()| true),
        Err(error) => Err(failed(error)),
    }
}

/// Puts aside the folder that has a name, gives the name to another, and removes what was put aside. What cannot be put back,
/// if the second step fails, stays where it is.
fn put_in_two_steps(from: &Path, to: &Path) -> Result<()> {
    let failed = refused(to, "rename what is finished");
    let mut old = Folder::named(to, OLD)?;
    fs::rename(to, &old.path).map_err(&failed)?;
    let Err(error) = fs::rename(from, to) else { return Ok(()) };
    old.renamed = true;
    Err(match fs::rename(&old.path, to) {
        Ok(()) => failed(error),
        Err(_) => Error::File {
            path: to.to_owned(),
            doing: "rename what is finished",
            why: format!("{error}; what was there before is now {}", old.path.display()),
        },
    })
}

/// Exchanges the names of two folders in one step; [`io::ErrorKind::Unsupported`] where there is no such step.
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use nix::errno::Errno;
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).map_err(|error| match error {
            Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP => io::ErrorKind::Unsupported.into(),
            error => error.into(),
        })
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    {
        let _ = (one, other);
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder_of(path: &Path) -> Result<()> {
    File::open(folder_of(path)).and_then(|folder| folder.sync_all()).map_err(refused(path, "sync the folder"))
}

/// How the names begin of what is not finished beside a path: hidden, and its own.
pub(super) fn beginning(name: &std::ffi::OsStr) -> OsString {
    let mut beginning = OsString::from(".");
    beginning.push(name);
    beginning.push(".");
    beginning
}

/// Creates something beside a path, under a name that nothing else has, and locks it. Where there are no locks it goes
/// without: nobody removes it then.
fn unused(path: &Path, ending: &str, create: impl Fn(&Path) -> io::Result<File>) -> Result<(PathBuf, File)> {
    let Some(name) = path.file_name() else {
        return Err(content(path, "the name", "empty", "that of a file"));
    };
    let mut attempt = 0;
    loop {
        let mut unique = beginning(name);
        unique.push(format!("{}-{attempt}{ending}", std::process::id()));
        let candidate = folder_of(path).join(unique);
        match create(&candidate) {
            Ok(file) if is_held(&file, &candidate) => return Ok((candidate, file)),
            // Somebody took it for a dead process's before it was locked.
            Ok(_) if attempt < ATTEMPTS => attempt += 1,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => attempt += 1,
            created => {
                let error = created.err().unwrap_or_else(|| io::ErrorKind::ResourceBusy.into());
                return Err(refused(path, "create a file beside it")(error));
            }
        }
    }
}

/// Locks what was just created, and tells whether it is still there.
fn is_held(file: &File, path: &Path) -> bool {
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && is_at(file, path)
}

/// Whether an open file or folder is what has this name.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(file), Ok(named)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (file.dev(), file.ino()) == (named.dev(), named.ino())
}

/// Removes what processes that are gone have left unfinished beside a path: what nobody holds a lock on. What cannot be
/// removed harms nobody.
fn remove_dead(path: &Path) {
    let Some(name) = path.file_name() else { return };
    let beginning = beginning(name).to_string_lossy().into_owned();
    for entry in fs::read_dir(folder_of(path)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(number) =
            name.to_str().and_then(|name| name.strip_prefix(beginning.as_str())?.strip_suffix(PARTIAL))
        else {
            continue;
        };
        let is_ours =
            number.contains('-') && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let Ok(kind) = entry.file_type() else { continue };
        if !is_ours || !(kind.is_file() || kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_ok() && is_at(&file, &path) {
            let _ = if kind.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A folder with a file in it.
    fn folder_beside(path: &Path, content: &str) -> Folder {
        let folder = Folder::beside(path).unwrap();
        fs::write(folder.path().join("x"), content).unwrap();
        folder
    }

    #[test]
    fn what_the_dead_left_is_removed_and_what_the_living_write_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let living = Temporary::beside(&place("a")).unwrap();
        for dead in [".a.1-0.partial", ".a.99999-3.partial", ".b.1-0.partial", ".a.1-0.old", ".a.x.partial"] {
            fs::write(place(dead), "left").unwrap();
        }
        fs::create_dir(place(".a.7-1.partial")).unwrap();
        fs::write(place(".a.7-1.partial/inner"), "left").unwrap();
        let second = Temporary::beside(&place("a")).unwrap();
        let me = std::process::id();
        let [first_name, second_name] = [0, 1].map(|number| format!(".a.{me}-{number}.partial"));
        // The other's, what was put aside, and what is named by nobody here stay.
        let mut expected = vec![".a.1-0.old", ".a.x.partial", ".b.1-0.partial", &first_name, &second_name];
        expected.sort_unstable();
        assert_eq!(names(folder.path()), expected);
        let _other = folder_beside(&place("b"), "new");
        assert!(!place(".b.1-0.partial").exists());
        drop((living, second));
        assert!(!place(&first_name).exists() && !place(&second_name).exists());
    }

    #[test]
    fn a_folder_is_replaced_in_one_step_or_in_two() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zarr");
        folder_beside(&path, "one").rename(&path).unwrap();
        folder_beside(&path, "two").rename(&path).unwrap();
        assert_eq!(fs::read_to_string(path.join("x")).unwrap(), "two");
        let mut three = folder_beside(&path, "three");
        put_in_two_steps(three.path(), &path).unwrap();
        three.renamed = true;
        assert_eq!(fs::read_to_string(path.join("x")).unwrap(), "three");
        assert_eq!(names(folder.path()), ["a.zarr"]);
        // A second step that fails, since what was to be renamed is gone: the first is taken back.
        let gone = folder_beside(&path, "four");
        fs::remove_dir_all(gone.path()).unwrap();
        let error = put_in_two_steps(gone.path(), &path).unwrap_err().to_string();
        assert!(error.contains("a.zarr: cannot rename"), "{error}");
        assert_eq!(fs::read_to_string(path.join("x")).unwrap(), "three");
        assert_eq!(names(folder.path()), ["a.zarr"]);
    }

    #[test]
    fn what_belongs_together_gets_its_names_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zarr");
        folder_beside(&path, "old").rename(&path).unwrap();
        fs::write(folder.path().join("a.tlt"), "old").unwrap();
        let both = Folder::beside(&path).unwrap();
        fs::create_dir(both.path().join("a.zarr")).unwrap();
        fs::write(both.path().join("a.zarr/x"), "new").unwrap();
        fs::write(both.path().join("a.tlt"), "new").unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("a.tlt")).unwrap(), "old");
        both.spread(&path).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("a.tlt")).unwrap(), "new");
        assert_eq!(fs::read_to_string(path.join("x")).unwrap(), "new");
        assert_eq!(names(folder.path()), ["a.tlt", "a.zarr"]);
    }

    #[test]
    fn a_folder_that_is_replaced_is_there_at_any_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zarr");
        folder_beside(&path, "0").rename(&path).unwrap();
        let probe = folder_beside(&path, "probe");
        if exchange(probe.path(), &path).is_err() {
            println!("skipped: this disk cannot exchange names");
            return;
        }
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut reads = 0_u32;
                while !over.load(Ordering::Relaxed) {
                    assert!(path.exists(), "it was gone after {reads} looks");
                    reads += 1;
                }
                reads
            });
            for number in 0..300 {
                folder_beside(&path, &number.to_string()).rename(&path).unwrap();
            }
            over.store(true, Ordering::Relaxed);
            assert!(reader.join().unwrap() > 0);
        });
        assert_eq!(fs::read_to_string(path.join("x")).unwrap(), "299");
    }
}
