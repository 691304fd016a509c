//! Files that are there whole or not at all: a name never holds the beginning of what was to be written, also after a crash of
//! the machine.

use crate::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Writes a file, creating its folder. What has this name is replaced when all is written; a failure leaves it as it was.
pub(crate) fn write(file: &Path, text: impl AsRef<[u8]>) -> Result<(), Error> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    }
    // A link keeps pointing to what it points to; and a device, such as /dev/stdout, is no file to be replaced.
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    if target.exists() && !target.is_file() {
        return fs::write(&target, text).map_err(Error::file("write", file));
    }
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let unfinished = target.with_file_name(name);
    finish(&unfinished, &target, text.as_ref()).map_err(|error| {
        // It may not have been created; why it was not finished is what matters.
        let _ = fs::remove_file(&unfinished);
        Error::file("write", file)(error)
    })
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
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        }
        if file.exists() && !file.is_file() {
            return Err(Error::Usage(format!("{} exists and is no file: give another name", file.display())));
        }
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let path = file.with_file_name(name);
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let out = options.open(&path).map_err(Error::file("create", &path))?;
        Ok(Self { out: Some(BufWriter::new(out)), path, target: file.to_owned() })
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
    let mut file = File::create(unfinished)?;
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
