//! Counts the lives of a process, so that what they leave behind can be put in order.

use super::directory::{Directory, LIFE};
use crate::Error;
use std::fs;
use std::io;
use std::path::Path;

/// Begins a life of the process that uses this data directory, which is created if there is none. Its number is the time,
/// or one more than that of the life before if the clock was set back. So the lives are in order as long as the directory
/// is there, and as well as the clock can tell if it was lost.
///
/// # Errors
/// When another process uses the directory, its count makes no sense, or the operating system refuses.
pub fn begin_life(path: &Path, now_unix_us: u64) -> Result<u64, Error> {
    let directory = Directory::open(path)?;
    let name = path.join(LIFE);
    let last = match fs::read_to_string(&name) {
        Ok(text) => Some(text.trim().parse().map_err(|_| Error::Damaged {
            path: name,
            offset: 0,
            what: "it holds no number".into(),
        })?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::file("read", name)(error)),
    };
    let life = last.map_or(now_unix_us, |last: u64| now_unix_us.max(last.saturating_add(1)));
    directory.replace(LIFE, format!("{life}\n").as_bytes())?;
    Ok(life)
}
