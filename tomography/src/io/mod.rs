//! Files: what microscopes and other programs write, and what they read.
//!
//! A file is not trusted. Its sizes are compared with its length before anything is allocated for them, and what does
//! not fit is one [`Error::Content`] that names file, field and value. A file is written under a temporary name beside
//! its target, brought to disk and renamed ([`replace`]): under a final name there is a whole file or none.
//!
//! ```text
//! source   any format of volumes and tilt series, by the name of a file:
//! mrc        MRC2014, with IMOD's additions
//! npy        arrays of NumPy
//! tiff       stacks of grey pages
//! zarr       OME-Zarr, chunks at several scales
//! angles   one tilt angle per line (.tlt, .rawtlt)
//! xf       one alignment of an image per line (.xf)
//! foci     the defoci of one tilt per line (.foci)
//! mdoc     what SerialEM notes of each image
//! survey   one pass over all pixels of a series
//! checkpoint  what a solver needs to go on after an interruption
//! ```

pub mod angles;
pub mod checkpoint;
#[cfg(feature = "hdf5")]
mod emd;
pub mod foci;
mod lock;
pub mod mdoc;
pub mod mrc;
pub mod npy;
#[cfg(test)]
mod others;
mod partial;
mod room;
#[cfg(test)]
mod round_trips;
mod source;
mod survey;
pub mod tiff;
pub mod xf;
mod zarr;

pub use lock::Lock;
pub use room::{check_room, taken};
pub use source::{Format, Order, Sections, Source, write, write_sections, writing_bytes};
pub use survey::Survey;

use crate::{Error, Result};
use partial::Temporary;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

/// No text file of this module is longer; a longer one is something else.
const MAX_TEXT_BYTES: u64 = 64 << 20;
/// No compression of these formats makes fewer bytes of data: LZW writes 12 bits for up to 4 KiB, and others do less.
const MAX_RATIO: u128 = 4096;

/// What stands at a place of a file is not what can stand there.
pub(crate) fn content(
    path: &Path,
    field: impl Display,
    value: impl Display,
    expected: impl Display,
) -> Error {
    Error::Content {
        path: path.to_owned(),
        field: field.to_string(),
        value: value.to_string(),
        expected: expected.to_string(),
    }
}

/// The system refused.
pub(crate) fn refused(path: &Path, doing: &'static str) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::File { path: path.clone(), doing, why: error.to_string() }
}

/// Writes a file whole or not at all: what `fill` writes goes to a temporary file in the same folder, which replaces
/// `path` once all of it is on disk. If anything fails, whatever was under `path` is still there.
///
/// # Errors
/// Those of `fill`; [`Error::File`] if the system refuses, as on a full disk.
pub fn replace(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let (mut temporary, file) = Temporary::beside(path)?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    fill(&mut writer)?;
    let file = writer.into_inner().map_err(|error| refused(path, "write")(error.into_error()))?;
    file.sync_all().map_err(refused(path, "write"))?;
    temporary.rename(path)
}

/// Fails if a file of this name could not be written: before the work, and not after it.
///
/// # Errors
/// [`Error::File`] if the system refuses a file in its folder.
pub fn check_writable(path: &Path) -> Result<()> {
    if let (file, Some(array)) = source::split(path) {
        return Err(content(file, "the array to write", array, "left out: it is /data/tomography/data"));
    }
    let replaceable = Format::of(path) == Format::Zarr && path.join(".zgroup").exists();
    if path.is_dir() && !replaceable {
        return Err(content(path, "the name", "that of a folder", "that of a file"));
    }
    Temporary::beside(path).map(drop)
}

/// Writes files that belong together: `fill` writes them into a folder that it is given, under the names that they will have
/// beside `path`, and all of them are on disk before the first gets its name.
///
/// # Errors
/// Those of `fill`; [`Error::File`] if the system refuses.
pub fn together(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let folder = partial::Folder::beside(path)?;
    fill(folder.path())?;
    folder.spread(path)
}

/// Fails if something would be written in place of something that is read.
///
/// # Errors
/// [`Error::Content`] names what would be.
pub fn check_different<'a>(
    inputs: impl IntoIterator<Item = &'a Path>,
    outputs: impl IntoIterator<Item = &'a Path>,
) -> Result<()> {
    let file = |path: &'a Path| source::split(path).0.canonicalize().ok();
    let inputs: Vec<_> = inputs.into_iter().filter_map(file).collect();
    for output in outputs {
        if output.canonicalize().is_ok_and(|output| inputs.contains(&output)) {
            return Err(content(output, "the name to write", "that of an input", "another name"));
        }
    }
    Ok(())
}

/// The BLAKE3 hash of a file.
///
/// # Errors
/// [`Error::File`] if the system refuses.
pub fn hash(path: &Path) -> Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let file = File::open(path).map_err(refused(path, "open"))?;
    hasher.update_reader(file).map_err(refused(path, "read"))?;
    Ok(*hasher.finalize().as_bytes())
}

/// A text file.
fn read_text(path: &Path) -> Result<String> {
    let mut text = String::new();
    let file = File::open(path).map_err(refused(path, "open"))?;
    file.take(MAX_TEXT_BYTES + 1).read_to_string(&mut text).map_err(refused(path, "read as text"))?;
    if text.len() as u64 > MAX_TEXT_BYTES {
        return Err(content(path, "length", "above 64 MiB", "that of a short text file"));
    }
    Ok(text)
}

/// Writes a text file, one line each.
fn write_lines(path: &Path, lines: impl IntoIterator<Item = String>) -> Result<()> {
    replace(path, |file| {
        lines.into_iter().try_for_each(|line| writeln!(file, "{line}").map_err(refused(path, "write")))
    })
}

/// A finite number at a place of a text file.
fn number(path: &Path, field: impl Display, text: &str, expected: &str) -> Result<f64> {
    text.parse()
        .ok()
        .filter(|value: &f64| value.is_finite())
        .ok_or_else(|| content(path, field, text, expected))
}

/// Fails if data that may be compressed are claimed to be larger than so many bytes on disk can hold. So what is taken for
/// them is in proportion to what there is, whatever a header says.
fn check_claim(path: &Path, extents: [usize; 3], bytes_each: usize, stored: u64) -> Result<()> {
    let factors = extents.into_iter().chain([bytes_each]).map(|factor| factor as u128);
    let claimed = factors.fold(1, u128::saturating_mul);
    if claimed <= u128::from(stored).saturating_mul(MAX_RATIO) {
        return Ok(());
    }
    let expected = format!("at least {} for the {extents:?} values it claims", claimed.div_ceil(MAX_RATIO));
    Err(content(path, "the number of bytes stored", stored, expected))
}

/// Fails unless a file has one entry for each image.
///
/// # Errors
/// [`Error::Content`] names both counts.
pub fn check_count(path: &Path, what: &str, found: usize, images: usize) -> Result<()> {
    if found == images {
        return Ok(());
    }
    let expected = format!("{images}, the number of images of the tilt series");
    Err(content(path, format!("the number of {what}"), found, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("volume.mrc");
        write_lines(&path, ["old".to_owned()]).unwrap();
        let full = replace(&path, |file| {
            file.write_all(&vec![7; 3 << 20]).unwrap();
            Err(refused(&path, "write")(io::ErrorKind::StorageFull.into()))
        });
        assert!(matches!(full, Err(Error::File { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\n");
        assert_eq!(names(folder.path()), ["volume.mrc"]);
        write_lines(&path, ["new".to_owned()]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(names(folder.path()), ["volume.mrc"]);
    }

    #[test]
    fn inputs_are_not_written_over_whatever_they_are_called() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| folder.path().join(name));
        std::fs::write(&a, "a").unwrap();
        std::fs::write(&b, "b").unwrap();
        check_different([&*a], [&*b, &*c]).unwrap();
        let same = folder.path().join("../").join(folder.path().file_name().unwrap()).join("a");
        std::os::unix::fs::symlink(&a, &c).unwrap();
        for output in [&a, &same, &c] {
            let error = check_different([&*b, &*a], [&*folder.path().join("d"), output]).unwrap_err();
            assert!(error.to_string().contains("the name to write is that of an input"), "{error}");
        }
    }

    #[test]
    fn a_name_that_is_taken_and_a_folder_that_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let others = folder.path().join(format!(".a.{}-0.partial", std::process::id()));
        std::fs::write(&others, "other").unwrap();
        let lock = File::open(&others).unwrap();
        lock.try_lock().unwrap();
        write_lines(&path, ["mine".to_owned()]).unwrap();
        assert_eq!(std::fs::read_to_string(others).unwrap(), "other");
        let error = write_lines(&folder.path().join("no/a"), ["mine".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("no/a: cannot create"), "{error}");
        assert!(write_lines(folder.path(), ["mine".to_owned()]).is_err());
    }
}
