//! What fuzzing has found so far: for each target the inputs that together reach all the code that was ever reached, in one
//! compressed file under `kept/`. An input is its length in four bytes, little-endian, and its bytes.

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

fn file(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kept").join(target).with_extension("gz")
}

/// The inputs of a target; none if nothing was kept yet.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub fn inputs(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let file = file(target);
    if !file.exists() {
        return Ok(vec![]);
    }
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(file)?).read_to_end(&mut bytes)?;
    let damaged = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (mut rest, mut inputs) = (&bytes[..], vec![]);
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk().ok_or_else(damaged)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (input, tail) = tail.split_at_checked(length).ok_or_else(damaged)?;
        inputs.push(input.to_vec());
        rest = tail;
    }
    Ok(inputs)
}

/// Keeps the inputs of a folder, and no others; returns how many.
///
/// # Errors
/// When the folder cannot be read or the file not be written.
pub fn keep(target: &str, folder: &Path) -> io::Result<usize> {
    let mut inputs = vec![];
    for entry in fs::read_dir(folder)? {
        inputs.push(fs::read(entry?.path())?);
    }
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    let mut packed = GzEncoder::new(vec![], Compression::best());
    for input in &inputs {
        let length = u32::try_from(input.len()).map_err(io::Error::other)?;
        packed.write_all(&length.to_le_bytes())?;
        packed.write_all(input)?;
    }
    let file = file(target);
    fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    fs::write(file, packed.finish()?)?;
    Ok(inputs.len())
}
