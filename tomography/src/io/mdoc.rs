//! What `SerialEM` notes of each image: `.mdoc`.
//!
//! The text is `key = value` lines under headings in brackets. Keys before the first heading are of the whole series;
//! `[ZValue = n]` begins what is said of image n of the stack. Other headings and keys are passed over.

use super::{angles, content, number, read_text};
use crate::Result;
use std::collections::BTreeMap;
use std::path::Path;

/// What is known of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Image {
    /// The tilt angle of the stage in degrees.
    pub tilt_deg: f64,
    /// The side of a pixel in Angstrom.
    pub pixel_angstrom: Option<f64>,
    /// The defocus asked for, in micrometres, negative for underfocus.
    pub target_defocus_um: Option<f64>,
    /// The dose of this image, in electrons per square Angstrom.
    pub dose: Option<f64>,
}

/// The images of a series, in the order of the stack.
///
/// # Errors
/// [`crate::Error::Content`] names the line with a value that cannot be, or the image that is missing or has no angle;
/// [`crate::Error::File`] if the system refuses.
pub fn read(path: &Path) -> Result<Vec<Image>> {
    parse(path, &read_text(path)?)
}

/// The numbers of a heading or of the whole series.
#[derive(Debug, Clone, Default)]
struct Notes {
    tilt: Option<f64>,
    pixel: Option<f64>,
    defocus: Option<f64>,
    dose: Option<f64>,
}

impl Notes {
    /// Takes over a line, if it is one that is read.
    fn note(&mut self, path: &Path, line: usize, key: &str, value: &str) -> Result<()> {
        let field = format!("{key} in line {line}");
        let least = |least: f64, expected: &str| {
            let number = number(path, &field, value, expected)?;
            if number >= least { Ok(Some(number)) } else { Err(content(path, &field, value, expected)) }
        };
        match key {
            "TiltAngle" => {
                let expected = "an angle in degrees, between -90 and 90";
                self.tilt = Some(angles::check(path, &field, number(path, &field, value, expected)?)?);
            }
            "PixelSpacing" => self.pixel = least(f64::MIN_POSITIVE, "a positive length in Angstrom")?,
            "TargetDefocus" => self.defocus = least(f64::MIN, "a length in micrometres")?,
            "ExposureDose" => self.dose = least(0.0, "0 or more electrons per square Angstrom")?,
            _ => {}
        }
        Ok(())
    }
}

fn parse(path: &Path, text: &str) -> Result<Vec<Image>> {
    let mut series = Notes::default();
    let mut images: BTreeMap<usize, Notes> = BTreeMap::new();
    let mut other = Notes::default();
    let mut current = Some(&mut series);
    for (index, line) in text.lines().enumerate() {
        let (number, line) = (index + 1, line.trim());
        if let Some(heading) = line.strip_prefix('[') {
            let heading =
                heading.trim_end_matches(']').split_once('=').map(|(key, value)| (key.trim(), value.trim()));
            current = None;
            if let Some(("ZValue", value)) = heading {
                let field = format!("ZValue in line {number}");
                let z: usize = value
                    .parse()
                    .map_err(|_| content(path, &field, value, "the number of an image, from 0"))?;
                if images.contains_key(&z) {
                    return Err(content(path, field, z, "that of another image than those before"));
                }
                current = Some(images.entry(z).or_default());
            }
        } else if let Some((key, value)) = line.split_once('=') {
            let notes = current.as_deref_mut().unwrap_or(&mut other);
            notes.note(path, number, key.trim(), value.trim())?;
        }
    }
    if images.is_empty() {
        return Err(content(path, "the number of [ZValue = n] headings", 0, "at least 1"));
    }
    let image = |(expected, (z, notes)): (usize, (usize, Notes))| {
        if z != expected {
            return Err(content(path, "a ZValue", z, format!("{expected}, which has no heading")));
        }
        let tilt_deg = notes.tilt.ok_or_else(|| {
            content(path, format!("TiltAngle of [ZValue = {z}]"), "missing", "an angle in degrees")
        })?;
        let pixel_angstrom = notes.pixel.or(series.pixel);
        Ok(Image { tilt_deg, pixel_angstrom, target_defocus_um: notes.defocus, dose: notes.dose })
    };
    images.into_iter().enumerate().map(image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use proptest::prelude::*;

    const SERIES: &str = "PixelSpacing = 2.1\nImageFile = a.mrc\n\n[T = SerialEM: made up]\n\n\
        [ZValue = 1]\nTiltAngle = 3.01\nTargetDefocus = -4\nExposureDose = 2.5\nPixelSpacing = 2.2\n\n\
        [ZValue = 0]\r\nTiltAngle = 0.004\r\nStagePosition = 1 2\r\n[Other = 7]\nTiltAngle = 50\n";

    #[test]
    fn images_come_in_the_order_of_the_stack() {
        let images = parse(Path::new("a.mdoc"), SERIES).unwrap();
        let first = Image { tilt_deg: 0.004, pixel_angstrom: Some(2.1), target_defocus_um: None, dose: None };
        let second = Image {
            tilt_deg: 3.01,
            pixel_angstrom: Some(2.2),
            target_defocus_um: Some(-4.0),
            dose: Some(2.5),
        };
        assert_eq!(images, [first, second]);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let wrong = |text: &str| match parse(Path::new("a.mdoc"), &format!("{SERIES}{text}")) {
            Err(Error::Content { field, .. }) => field,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(wrong("[ZValue = 1]\n"), "ZValue in line 17");
        assert_eq!(wrong("[ZValue = -1]\n"), "ZValue in line 17");
        assert_eq!(wrong("[ZValue = 3]\nTiltAngle = 1\n"), "a ZValue");
        assert_eq!(wrong("[ZValue = 2]\n"), "TiltAngle of [ZValue = 2]");
        for line in ["TiltAngle = 95", "PixelSpacing = 0", "ExposureDose = -1", "TargetDefocus = nan"] {
            let key = line.split(' ').next().unwrap();
            assert_eq!(wrong(&format!("[ZValue = 2]\n{line}\n")), format!("{key} in line 18"));
        }
        assert!(parse(Path::new("a.mdoc"), "PixelSpacing = 2\n").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(
            lines in prop::collection::vec("\\[ZValue = [0-3]\\]|TiltAngle = [-+0-9.e]{0,6}|\\PC{0,30}", 0..12),
        ) {
            if let Ok(images) = parse(Path::new("a.mdoc"), &lines.join("\n")) {
                prop_assert!(images.iter().all(|image| image.tilt_deg.abs() < 90.0));
            }
        }
    }
}
