//! Alignments of images, one per line: IMOD's `.xf`.
//!
//! A line is `a11 a12 a21 a22 dx dy`: a point (x, y) of the raw image, measured from its centre in pixels, comes to lie
//! at (a11 x + a12 y + dx, a21 x + a22 y + dy) of the aligned one.

use super::{content, number, read_text, write_lines};
use crate::Result;
use std::path::Path;

const EXPECTED: &str = "six numbers: a11 a12 a21 a22 dx dy";

/// Where a raw image lies in the aligned one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transform {
    /// Rows of the matrix about the image's centre.
    pub matrix: [[f64; 2]; 2],
    /// Shift in pixels, along x and y, after the matrix.
    pub shift: [f64; 2],
}

/// The alignments of a file, in the order of the images. Empty lines are passed over.
///
/// # Errors
/// [`crate::Error::Content`] names the line that is not six numbers or whose matrix has no inverse, or a file without any;
/// [`crate::Error::File`] if the system refuses.
pub fn read(path: &Path) -> Result<Vec<Transform>> {
    parse(path, &read_text(path)?)
}

/// Writes alignments, so that they are read again as they are.
///
/// # Errors
/// [`crate::Error::Content`] for one that could not be read again; [`crate::Error::File`] if the system refuses.
pub fn write(path: &Path, transforms: &[Transform]) -> Result<()> {
    let line = |Transform { matrix: [[a, b], [c, d]], shift: [x, y] }: &Transform| {
        format!("{a} {b} {c} {d} {x} {y}")
    };
    let lines: Vec<String> = transforms.iter().map(line).collect();
    parse(path, &lines.join("\n"))?;
    write_lines(path, lines)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Transform>> {
    let mut transforms = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let field = format!("line {}", index + 1);
        let numbers = line.split_whitespace().map(|word| number(path, &field, word, EXPECTED));
        let numbers = numbers.collect::<Result<Vec<f64>>>()?;
        let [a, b, c, d, x, y] = numbers[..] else {
            return Err(content(path, field, format!("{} numbers", numbers.len()), EXPECTED));
        };
        let determinant = a * d - b * c;
        if !determinant.is_normal() {
            let value = format!("a matrix of determinant {determinant}");
            return Err(content(path, field, value, "a matrix that has an inverse"));
        }
        transforms.push(Transform { matrix: [[a, b], [c, d]], shift: [x, y] });
    }
    if transforms.is_empty() {
        return Err(content(path, "the number of alignments", 0, "at least 1"));
    }
    Ok(transforms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_alignment_is_named_with_its_line() {
        let path = Path::new("a.xf");
        let good = "  0.9999000   0.0100000  -0.0100000   0.9999000      12.500      -3.250\n";
        let read = parse(path, good).unwrap();
        assert_eq!(read[0].matrix, [[0.9999, 0.01], [-0.01, 0.9999]]);
        assert_eq!(read[0].shift, [12.5, -3.25]);
        for wrong in
            ["1 0 0 1 2", "1 0 0 1 2 3 4", "1 0 0 1 2 x", "1 0 0 1 2 nan", "1 2 2 4 0 0", "0 0 0 0 0 0"]
        {
            let error = parse(path, &format!("{good}{wrong}")).unwrap_err();
            assert!(matches!(&error, Error::Content { field, .. } if field == "line 2"), "{error}");
        }
        assert!(parse(path, "").is_err());
    }

    proptest! {
        #[test]
        fn alignments_are_read_as_they_were_written(
            numbers in prop::collection::vec((0.5_f64..2.0, -0.2_f64..0.2, -1e3_f64..1e3), 1..20),
        ) {
            let transform = |(a, b, x): (f64, f64, f64)| Transform { matrix: [[a, b], [-b, a]], shift: [x, -x / 3.0] };
            let transforms: Vec<Transform> = numbers.into_iter().map(transform).collect();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.xf");
            write(&path, &transforms).unwrap();
            prop_assert_eq!(read(&path).unwrap(), transforms);
        }
    }
}
