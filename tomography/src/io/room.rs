//! Room on disk, looked at before the work and not when it has run out.

use super::refused;
use crate::{Error, Result};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes of a block as the system counts them.
const BLOCK: u64 = 512;

/// Fails if the disk of a file has less room than so many bytes. Others may fill it meanwhile, so writing may still fail.
///
/// # Errors
/// [`Error::Room`], and [`Error::File`] if the system does not tell.
pub fn check_room(path: &Path, needed: u64) -> Result<()> {
    let folder = path.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let disk = nix::sys::statvfs::statvfs(folder)
        .map_err(|error| refused(folder, "ask for the room on disk")(error.into()))?;
    #[allow(clippy::useless_conversion, reason = "the widths differ from system to system")]
    let free = u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size()));
    if free >= needed {
        return Ok(());
    }
    Err(Error::Room { path: path.to_owned(), needed_mib: needed.div_ceil(1 << 20), free_mib: free >> 20 })
}

/// Bytes that a file takes on disk, or the files of a folder; 0 if there is none. What an interrupted run has left there needs
/// no room any more when it goes on.
pub fn taken(path: &Path) -> u64 {
    let Ok(what) = std::fs::symlink_metadata(path) else { return 0 };
    let inside = std::fs::read_dir(path).into_iter().flatten().flatten();
    what.blocks() * BLOCK + inside.map(|entry| taken(&entry.path())).sum::<u64>()
}
