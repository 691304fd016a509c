//! One pass over all pixels of a series before anything is computed from it: what tells it from another one, how large its
//! values are, and that all of them are numbers. So a pixel that cannot be used is found now, by its place in the file,
//! and not in the last of many hours.

use super::{Order, Source, content};
use crate::{Error, Result, Shape};
use std::path::{Path, PathBuf};

/// Values that are read at a time, at least a line.
const AT_ONCE: usize = 1 << 18;

/// A series that was read through.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    path: PathBuf,
    shape: Shape,
    fingerprint: String,
    smallest: f32,
    place: [usize; 3],
    largest: f32,
    held: [u64; 2],
}

impl Survey {
    /// Reads a series through.
    ///
    /// # Errors
    /// As [`Source::open`] and [`Source::lines`].
    pub fn of(path: &Path) -> Result<Self> {
        Self::by(path, AT_ONCE)
    }

    /// Reads some lines of all sections, then the next: so of a format that is stored in chunks no more than those lines are
    /// held. Of one that is stored in pages all lines are read at a time.
    fn by(path: &Path, at_once: usize) -> Result<Self> {
        let mut reader = Source::open(path)?;
        let (shape, held) = (reader.shape(Order::Planes)?, reader.held_bytes());
        let mut hasher = blake3::Hasher::new();
        hasher.update(reader.identity().as_bytes());
        let (mut smallest, mut place, mut largest) = (f32::INFINITY, [0; 3], f32::NEG_INFINITY);
        let lines = if held[0] == 0 { shape.rows } else { (at_once / shape.columns).clamp(1, shape.rows) };
        let (mut values, mut bytes) = (vec![0.0; lines * shape.columns], Vec::new());
        for first in (0..shape.rows).step_by(lines) {
            let lines = first..(first + lines).min(shape.rows);
            let values = &mut values[..lines.len() * shape.columns];
            for section in 0..shape.planes {
                if let Err(error) = reader.lines(section, lines.clone(), values) {
                    return Err(first_of(&mut reader, section, (shape, lines.len())).unwrap_or(error));
                }
                bytes.clear();
                for (index, value) in values.iter().enumerate() {
                    bytes.extend(value.to_le_bytes());
                    largest = largest.max(*value);
                    if *value < smallest {
                        let (line, column) = (first + index / shape.columns, index % shape.columns);
                        (smallest, place) = (*value, [section, line, column]);
                    }
                }
                hasher.update(&bytes);
            }
        }
        let fingerprint = hasher.finalize().to_hex().to_string();
        Ok(Self { path: path.to_owned(), shape, fingerprint, smallest, place, largest, held })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Images, rows and columns.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The BLAKE3 hash of what the file says of itself and of all its pixels, in hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The largest value.
    pub const fn largest(&self) -> f32 {
        self.largest
    }

    /// Bytes that are held while so many lines of each section are read, besides what they are read into.
    pub const fn held_bytes(&self, lines: usize) -> u64 {
        let [each_line, besides] = self.held;
        // And the lines as numbers, before they get their places.
        (each_line + 4 * self.shape.columns as u64) * lines as u64 + besides
    }

    /// Fails unless `is_fit` holds for the smallest value, and so for all; `expected` says what it must be.
    ///
    /// # Errors
    /// [`crate::Error::Content`] names file and place.
    pub fn check_smallest(&self, is_fit: impl Fn(f32) -> bool, expected: &str) -> Result<()> {
        if is_fit(self.smallest) {
            return Ok(());
        }
        let [section, row, column] = self.place;
        let place = format!("the value at section {section}, row {row}, column {column}");
        Err(content(&self.path, place, self.smallest, expected))
    }
}

/// What is wrong with the first section before this one that has something wrong with it: of lines that come later, or it would
/// have been found.
fn first_of(reader: &mut Source, before: usize, (shape, lines): (Shape, usize)) -> Option<Error> {
    let mut values = vec![0.0; lines * shape.columns];
    let mut error = |section: usize, first: usize| {
        let lines = first..(first + lines).min(shape.rows);
        reader.lines(section, lines.clone(), &mut values[..lines.len() * shape.columns]).err()
    };
    (0..before).find_map(|section| (0..shape.rows).step_by(lines).find_map(|first| error(section, first)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::mrc::{Content, Output};
    use crate::io::write;
    use crate::testing::noise;

    #[test]
    fn any_pixel_is_part_of_the_fingerprint_and_the_smallest_is_named() {
        let folder = tempfile::tempdir().unwrap();
        // Noise has values from -1 to 1; no axis is a multiple of what is hashed at a time.
        let stack = noise(Shape::new(3, 70, 101).unwrap(), 5);
        for name in ["a.mrc", "a.npy", "a.tif", "a.zarr"] {
            let path = folder.path().join(name);
            let mut fingerprints = Vec::new();
            // Pixels far from the middle line, whose changes leave the statistics of the header as they are.
            for swapped in [None, Some([0, 3, 4]), Some([2, 69, 100])] {
                let mut stack = stack.clone();
                if let Some([section, row, column]) = swapped {
                    let (one, other) = (stack.at(section, row, column), stack.at(section, row, column - 1));
                    *stack.at_mut(section, row, column) = other;
                    *stack.at_mut(section, row, column - 1) = one;
                }
                write(&path, &stack, &Output::new(Content::Images, 2.0)).unwrap();
                let survey = Survey::of(&path).unwrap();
                assert_eq!(survey, Survey::of(&path).unwrap());
                fingerprints.push(survey.fingerprint().to_owned());
            }
            fingerprints.sort();
            fingerprints.dedup();
            assert_eq!(fingerprints.len(), 3, "{name}");
        }
        let mut stack = stack;
        *stack.at_mut(2, 60, 99) = -7.0;
        *stack.at_mut(1, 9, 11) = 8.0;
        let path = folder.path().join("a.mrc");
        write(&path, &stack, &Output::new(Content::Images, 2.0)).unwrap();
        let survey = Survey::of(&path).unwrap();
        assert_eq!((survey.largest(), survey.shape()), (8.0, stack.shape()));
        // The same, a few lines at a time.
        let lines = Survey::by(&path, 3 * 101).unwrap();
        assert_eq!(
            (lines.largest, lines.smallest, lines.place),
            (survey.largest, survey.smallest, survey.place)
        );
        assert_ne!(lines.fingerprint, survey.fingerprint, "another order of hashing: nobody mixes the two");
        survey.check_smallest(|value| value == -7.0, "").unwrap();
        let error = survey.check_smallest(|value| value >= 0.0, "not negative").unwrap_err().to_string();
        assert!(
            error
                .ends_with("a.mrc: the value at section 2, row 60, column 99 is -7; it must be not negative"),
            "{error}"
        );
        *stack.at_mut(2, 69, 99) = f32::NAN;
        let path = folder.path().join("a.npy");
        write(&path, &stack, &Output::new(Content::Images, 2.0)).unwrap();
        let error = Survey::of(&path).unwrap_err().to_string();
        assert!(error.contains("section 2, row 69, column 99 is NaN"), "{error}");
    }

    /// A section is named before a later one, whatever lines are read first.
    #[test]
    fn the_first_section_that_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut stack = noise(Shape::new(4, 70, 11).unwrap(), 5);
        for [section, row] in [[1, 69], [1, 40], [2, 0], [3, 41]] {
            *stack.at_mut(section, row, 3) = f32::NAN;
        }
        for name in ["a.npy", "a.tif", "a.zarr"] {
            let path = folder.path().join(name);
            write(&path, &stack, &Output::new(Content::Images, 2.0)).unwrap();
            for at_once in [11, 9 * 11, AT_ONCE] {
                let error = Survey::by(&path, at_once).unwrap_err().to_string();
                assert!(error.contains("section 1, row 40, column 3 is NaN"), "{name}, {at_once}: {error}");
            }
        }
    }
}
