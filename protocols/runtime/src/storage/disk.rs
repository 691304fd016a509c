//! What storage asks of the disk, in one place. Tests tape it, and ask what a loss of power would have left
//! (`tests/power.rs`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

#[cfg(test)]
pub(super) mod tape;

/// Creates an empty file in place of any other.
pub(super) fn create(path: &Path) -> io::Result<File> {
    #[cfg(test)]
    tape::note(path, |path| tape::Op::Create(path.into()));
    File::create(path)
}

/// Writes the first of some bytes; returns how many.
pub(super) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    let written = file.write_at(bytes, offset)?;
    #[cfg(test)]
    tape::note_file(file, |path| tape::Op::Write(path.into(), offset, bytes[..written].into()));
    Ok(written)
}

/// Writes a file from an offset on.
#[derive(Debug)]
pub(super) struct Appender<'a> {
    pub(super) file: &'a File,
    pub(super) offset: u64,
}

impl Write for Appender<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = write_at(self.file, bytes, self.offset)?;
        self.offset += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Cuts off what follows.
pub(super) fn set_len(file: &File, len: u64) -> io::Result<()> {
    #[cfg(test)]
    tape::note_file(file, |path| tape::Op::SetLen(path.into(), len));
    file.set_len(len)
}

/// Makes the content of a file durable.
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    #[cfg(test)]
    tape::note_file(file, |path| tape::Op::SyncData(path.into()));
    file.sync_data()
}

/// Makes a file durable, but not its name.
pub(super) fn sync_all(file: &File) -> io::Result<()> {
    #[cfg(test)]
    tape::note_file(file, |path| tape::Op::SyncAll(path.into()));
    file.sync_all()
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    tape::note(path, |path| tape::Op::SyncDirectory(path.into()));
    File::open(path)?.sync_all()
}

/// Gives a file another name.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    tape::note(from, |from| tape::Op::Rename(from.into(), to.into()));
    fs::rename(from, to)
}

/// Deletes a file.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    tape::note(path, |path| tape::Op::Remove(path.into()));
    fs::remove_file(path)
}

/// Writes a part of a file once more and makes it durable. It may have been read from memory although the disk does not
/// hold it: the process that wrote it was killed before it was synced, or its sync failed, after which memory counts as
/// equal to the disk and another sync does nothing.
pub(super) fn write_again(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut bytes = vec![0; 1 << 16];
    let mut out = Appender { file, offset: from };
    while out.offset < to {
        let len = usize::try_from(to - out.offset).unwrap_or(usize::MAX).min(bytes.len());
        file.read_exact_at(&mut bytes[..len], out.offset)?;
        out.write_all(&bytes[..len])?;
    }
    sync_all(file)
}
