//! Tilt angles, one per line, in degrees: IMOD's `.rawtlt` (as recorded) and `.tlt` (after alignment).

use super::{content, number, read_text, write_lines};
use crate::Result;
use std::fmt::Display;
use std::path::Path;

const EXPECTED: &str = "an angle in degrees, between -90 and 90";

/// The angles of a file, in the order of the images. Empty lines are passed over.
///
/// # Errors
/// [`crate::Error::Content`] names the line that is no angle, or a file without any; [`crate::Error::File`] if the system
/// refuses.
pub fn read(path: &Path) -> Result<Vec<f64>> {
    parse(path, &read_text(path)?)
}

/// Writes angles, so that they are read again as they are.
///
/// # Errors
/// [`crate::Error::Content`] for an angle that could not be read again; [`crate::Error::File`] if the system refuses.
pub fn write(path: &Path, angles_deg: &[f64]) -> Result<()> {
    check_all(path, angles_deg)?;
    write_lines(path, angles_deg.iter().map(f64::to_string))
}

/// Fails for angles that could not be read again.
///
/// # Errors
/// [`crate::Error::Content`] names the image.
pub fn check_all(path: &Path, angles_deg: &[f64]) -> Result<()> {
    let mut angles = angles_deg.iter().enumerate();
    angles.try_for_each(|(index, angle)| check(path, format!("the angle of image {index}"), *angle).map(drop))
}

fn parse(path: &Path, text: &str) -> Result<Vec<f64>> {
    let mut angles = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let field = format!("line {}", index + 1);
        angles.push(check(path, &field, number(path, &field, line.trim(), EXPECTED)?)?);
    }
    if angles.is_empty() {
        return Err(content(path, "the number of angles", 0, "at least 1"));
    }
    Ok(angles)
}

/// An angle of an image of a flat sample: one of 90 degrees or more shows nothing of it.
pub(crate) fn check(path: &Path, field: impl Display, angle_deg: f64) -> Result<f64> {
    if angle_deg.abs() < 90.0 {
        return Ok(angle_deg);
    }
    Err(content(path, field, angle_deg, EXPECTED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use proptest::prelude::*;

    #[test]
    fn angles_are_read_with_or_without_blanks() {
        let angles = parse(Path::new("a.tlt"), "  -60.00\r\n\n0\n +59.5\n\n").unwrap();
        assert_eq!(angles, [-60.0, 0.0, 59.5]);
    }

    #[test]
    fn what_is_no_angle_is_named_with_its_line() {
        for wrong in ["91", "90", "-90.0", "nan", "inf", "1 2", "tilt", "1,5"] {
            let error = parse(Path::new("a.tlt"), &format!("1\n\n{wrong}\n")).unwrap_err();
            let Error::Content { field, expected, .. } = &error else { panic!("{error}") };
            assert_eq!((field.as_str(), expected.as_str()), ("line 3", EXPECTED));
        }
        assert!(parse(Path::new("a.tlt"), "\n \n").is_err());
        assert!(matches!(read(Path::new("there/is/none.tlt")), Err(Error::File { .. })));
    }

    proptest! {
        #[test]
        fn angles_are_read_as_they_were_written(angles in prop::collection::vec(-89.9_f64..89.9, 1..50)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.tlt");
            write(&path, &angles).unwrap();
            prop_assert_eq!(read(&path).unwrap(), angles);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[-+0-9.eE \\nna]{0,60}|.{0,60}") {
            if let Ok(angles) = parse(Path::new("a.tlt"), &text) {
                prop_assert!(angles.iter().all(|angle| angle.abs() < 90.0));
            }
        }
    }
}
