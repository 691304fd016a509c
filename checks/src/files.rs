//! Files that are there whole or not at all: a name never holds the beginning of what was to be written, also after a crash of
//! the machine.

use crate::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Writes a file, creating its folder. What has this name is replaced when all is written; a failure leaves it as it was.
pub(crate) fn write(file: &Path, text: impl AsRef<[u8]>) -> Result<(), Error> {
    let target = target(file)?;
    // A device, such as /dev/stdout, is no file to be replaced.
    if target.exists() && !target.is_file() {
        return fs::write(&target, text).map_err(Error::file("write", file));
    }
    let unfinished = unfinished(&target);
    finish(&unfinished, &target, text.as_ref()).map_err(|error| {
        // It may not have been created; why it was not finished is what matters.
        let _ = fs::remove_file(&unfinished);
        Error::file("write", file)(error)
    })
}

/// What a file of this name replaces: a link keeps pointing to what it points to. Creates the folder.
fn target(file: &Path) -> Result<PathBuf, Error> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    }
    Ok(fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()))
}

/// What a file is called until all of it is written.
fn unfinished(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    target.with_file_name(name)
}

/// Creates a file with these permissions. What has its name is left over, or was put there by somebody else: it is not written to.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options().write(true).create_new(true).mode(mode).open(path)
}

/// A file that only its owner can read, which is written bit by bit and gets its name when it is finished. One that is dropped
/// before leaves nothing.
#[derive(Debug)]
pub(crate) struct Unfinished {
    out: Option<BufWriter<File>>,
    path: PathBuf,
    target: PathBuf,
}

impl Unfinished {
    /// Begins a file, creating its folder.
    pub(crate) fn begin(file: &Path) -> Result<Self, Error> {
        let target = target(file)?;
        if target.exists() && !target.is_file() {
            return Err(Error::Usage(format!("{} exists and is no file: give another name", file.display())));
        }
        let path = unfinished(&target);
        let out = create(&path, 0o600).map_err(Error::file("create", &path))?;
        Ok(Self { out: Some(BufWriter::new(out)), path, target })
    }

    /// Gives it its name, when all of it is on disk.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let Some(out) = self.out.take() else { return Ok(()) };
        let named = out.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| {
            file.sync_all()?;
            drop(file);
            name(&self.path, &self.target)
        });
        named.map_err(Error::file("write", &self.target)).inspect_err(|_| drop(fs::remove_file(&self.path)))
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.as_mut().map_or(Ok(0), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.out.take().is_some() {
            // What is left over if this fails has another name than what was asked for.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes a file, renames it when all of it is on disk, and waits until the name is.
fn finish(unfinished: &Path, target: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = create(unfinished, 0o666)?;
    file.write_all(text)?;
    file.sync_all()?;
    name(unfinished, target)
}

/// Renames a file whose content is on disk, and waits until its name is.
fn name(unfinished: &Path, target: &Path) -> io::Result<()> {
    fs::rename(unfinished, target)?;
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/a.svg");
        write(&file, "one").unwrap();
        let link = folder.path().join("link.svg");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, "two").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn what_is_not_finished_leaves_nothing_and_what_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.bin");
        for (finished, expected) in [(true, "one"), (false, "one"), (true, "three")] {
            let mut unfinished = Unfinished::begin(&file).unwrap();
            unfinished.write_all(if expected == "one" && finished { b"one" } else { b"three" }).unwrap();
            if finished {
                unfinished.finish().unwrap();
            } else {
                drop(unfinished);
            }
            assert_eq!(fs::read_to_string(&file).unwrap(), expected);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        assert!(Unfinished::begin(folder.path()).unwrap_err().to_string().contains("is no file"));
    }

    #[test]
    fn what_was_put_where_a_file_is_written_is_not_written_to() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let [file, link, theirs] = ["a.bin", "link.bin", "theirs"].map(|name| folder.path().join(name));
        fs::write(&theirs, "theirs").unwrap();
        symlink(&file, &link).unwrap();
        let write_secret = || {
            let mut secret = Unfinished::begin(&link).unwrap();
            secret.write_all(b"ours").unwrap();
            secret.finish().unwrap();
        };
        let write_text = || write(&link, "ours").unwrap();
        for write in [&write_text as &dyn Fn(), &write_secret] {
            fs::write(&file, "").unwrap();
            symlink(&theirs, unfinished(&fs::canonicalize(&file).unwrap())).unwrap();
            write();
            assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
            assert_eq!(fs::read_to_string(&file).unwrap(), "ours");
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        }
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_cannot_be_written_is_named_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("taken")).unwrap();
        for name in ["taken", "taken/.."] {
            let error = write(&folder.path().join(name), "text").unwrap_err().to_string();
            assert!(error.starts_with("cannot write ") && error.contains("taken"), "{error}");
        }
        let error = write(Path::new("/dev/full"), "text").unwrap_err().to_string();
        assert!(error.starts_with("cannot write /dev/full: No space left"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
