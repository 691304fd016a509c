//! The 1024 bytes before the data.

use super::super::content;
use super::{Extended, Mode};
use crate::{Result, Shape};
use std::path::Path;

/// Length of the header.
pub(super) const BYTES: usize = 1024;
/// Offset and number of labels, and the length of each.
const LABELS: (usize, usize, usize) = (224, 10, 80);
/// What IMOD writes at byte 152 where its flags follow at byte 156.
const IMOD_STAMP: i32 = 1_146_047_817;
/// IMOD's flag: bytes of mode 0 are signed.
const SIGNED: i32 = 1;
/// IMOD's flag: a byte of mode 0 holds two pixels.
const NIBBLES_IN_BYTES: i32 = 16;
/// How far the two sides of a pixel may differ, relatively, by rounding alone.
const SQUARE: f64 = 1e-3;

/// The order of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endian {
    /// The lowest byte first: all machines of today.
    Little,
    /// The highest byte first.
    Big,
}

impl Endian {
    pub(super) fn array<const N: usize>(self, bytes: &[u8], at: usize) -> [u8; N] {
        let mut array: [u8; N] = std::array::from_fn(|index| bytes[at + index]);
        if self == Self::Big {
            array.reverse();
        }
        array
    }

    pub(super) fn i16(self, bytes: &[u8], at: usize) -> i16 {
        i16::from_le_bytes(self.array(bytes, at))
    }

    pub(super) fn i32(self, bytes: &[u8], at: usize) -> i32 {
        i32::from_le_bytes(self.array(bytes, at))
    }

    pub(super) fn f32(self, bytes: &[u8], at: usize) -> f32 {
        f32::from_le_bytes(self.array(bytes, at))
    }

    /// Writes a number, given in little endian.
    pub(super) fn put<const N: usize>(self, bytes: &mut [u8], at: usize, mut value: [u8; N]) {
        if self == Self::Big {
            value.reverse();
        }
        bytes[at..at + N].copy_from_slice(&value);
    }
}

/// Least, greatest and mean value, and the root mean square deviation from the mean.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Statistics {
    /// The least value.
    pub min: f32,
    /// The greatest.
    pub max: f32,
    /// The mean.
    pub mean: f32,
    /// The root mean square deviation from the mean.
    pub rms: f32,
}

/// What a header says.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Columns, rows and sections, all positive.
    pub size: [usize; 3],
    /// How a value is stored.
    pub mode: Mode,
    /// The order of bytes.
    pub endian: Endian,
    /// Intervals along each axis of the cell; 0 where the writer did not say.
    pub intervals: [usize; 3],
    /// Sides of the cell in Angstrom; 0 where the writer did not say. That of z has no meaning for a tilt series.
    pub cell: [f32; 3],
    /// Of what the writer noted; often not up to date, and not trusted.
    pub statistics: Statistics,
    /// 0 for images, 1 for a volume, 401 for several volumes.
    pub space_group: i32,
    /// Origin, in units that programs do not agree upon.
    pub origin: [f32; 3],
    /// Notes on where the data come from; at most 10 of at most 80 ASCII characters.
    pub labels: Vec<String>,
    /// What follows the header.
    pub extended: Extended,
}

impl Header {
    /// Reads a header, and the length of what follows it. `extended` is left empty.
    pub(super) fn parse(path: &Path, bytes: &[u8; BYTES]) -> Result<(Self, u64)> {
        if &bytes[208..211] != b"MAP" {
            let value = bytes[208..212].escape_ascii();
            return Err(content(path, "the mark at byte 208", value, "\"MAP \", as in every MRC2014 file"));
        }
        let endian = endian(path, bytes)?;
        let int = |at| endian.i32(bytes, at);
        let floats = |at| std::array::from_fn(|axis| endian.f32(bytes, at + 4 * axis));
        let mut header = Self {
            size: ints(path, ["nx", "ny", "nz"], [0, 4, 8].map(int), 1)?,
            mode: mode(path, bytes, endian)?,
            endian,
            intervals: ints(path, ["mx", "my", "mz"], [28, 32, 36].map(int), 0)?,
            cell: floats(40),
            statistics: Statistics {
                min: endian.f32(bytes, 76),
                max: endian.f32(bytes, 80),
                mean: endian.f32(bytes, 84),
                rms: endian.f32(bytes, 216),
            },
            space_group: int(88),
            origin: floats(196),
            labels: Vec::new(),
            extended: Extended { kind: std::array::from_fn(|index| bytes[104 + index]), bytes: Vec::new() },
        };
        for (axis, side) in ["x", "y", "z"].into_iter().zip(header.cell) {
            if !(side.is_finite() && side >= 0.0) {
                let expected = "finite and not negative";
                return Err(content(path, format!("the cell's side along {axis}"), side, expected));
            }
        }
        let axes = [64, 68, 72].map(int);
        if ![[1, 2, 3], [0; 3]].contains(&axes) {
            let expected =
                "1, 2, 3: columns along x, rows along y; turn the axes with the program that wrote it";
            return Err(content(path, "the order of axes (mapc, mapr, maps)", format!("{axes:?}"), expected));
        }
        let (first, count, length) = LABELS;
        let labels = (0..count).map(|label| &bytes[first + label * length..][..length]);
        let text = |label: &[u8]| String::from_utf8_lossy(label).trim_end_matches(['\0', ' ']).to_owned();
        header.labels = labels.map(text).filter(|label| !label.is_empty()).collect();
        let extended = u64::try_from(int(92));
        let extended = extended.map_err(|_| content(path, "nsymbt", int(92), "0 or more bytes"))?;
        Ok((header, extended))
    }

    /// The header's bytes; lengths are those that the caller checked.
    pub(super) fn to_bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let endian = self.endian;
        let extended = self.extended.bytes.len() as i32;
        let mut put = |at: usize, value: [u8; 4]| endian.put(&mut bytes, at, value);
        for (at, value) in [(12, self.mode.number()), (88, self.space_group), (92, extended), (108, 20_140)] {
            put(at, value.to_le_bytes());
        }
        for axis in 0..3 {
            for (at, value) in [(0, self.size[axis]), (28, self.intervals[axis]), (64, axis + 1)] {
                put(at + 4 * axis, (value as i32).to_le_bytes());
            }
            for (at, value) in [(40, self.cell[axis]), (52, 90.0), (196, self.origin[axis])] {
                put(at + 4 * axis, value.to_le_bytes());
            }
        }
        let Statistics { min, max, mean, rms } = self.statistics;
        for (at, value) in [(76, min), (80, max), (84, mean), (216, rms)] {
            put(at, value.to_le_bytes());
        }
        bytes[104..108].copy_from_slice(&self.extended.kind);
        if let Some(flags) = self.mode.imod_flags() {
            endian.put(&mut bytes, 152, IMOD_STAMP.to_le_bytes());
            endian.put(&mut bytes, 156, flags.to_le_bytes());
        }
        bytes[208..212].copy_from_slice(b"MAP ");
        let stamp = if endian == Endian::Little { [0x44, 0x44] } else { [0x11, 0x11] };
        bytes[212..214].copy_from_slice(&stamp);
        endian.put(&mut bytes, 220, (self.labels.len() as i32).to_le_bytes());
        let (first, _, length) = LABELS;
        for (label, text) in self.labels.iter().enumerate() {
            let field = &mut bytes[first + label * length..][..length];
            field.fill(b' ');
            field[..text.len()].copy_from_slice(text.as_bytes());
        }
        bytes
    }

    /// Fails for labels that have no place in a header.
    pub(super) fn check_labels(labels: &[String]) -> Result<()> {
        let (_, count, length) = LABELS;
        if labels.len() > count {
            return Err(crate::Error::parameter("number of labels", labels.len(), "at most 10"));
        }
        let fits = |label: &&String| {
            label.len() <= length && label.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        };
        match labels.iter().find(|label| !fits(label)) {
            Some(label) => Err(crate::Error::parameter(
                "label",
                format!("{label:?}"),
                "at most 80 printable ASCII characters",
            )),
            None => Ok(()),
        }
    }

    /// The side of a pixel, the same along x and y, in Angstrom.
    ///
    /// # Errors
    /// [`crate::Error::Content`] if the header does not say, or the sides differ by more than 0.1 %: then ask the user.
    pub fn pixel_angstrom(&self, path: &Path) -> Result<f64> {
        let side = |axis: usize| f64::from(self.cell[axis]) / self.intervals[axis] as f64;
        let (x, y) = (side(0), side(1));
        let known = |side: f64| side.is_finite() && side > 0.0;
        if !(known(x) && known(y)) {
            let value = format!("{:?} Angstrom over {:?} intervals", &self.cell[..2], &self.intervals[..2]);
            return Err(content(path, "the pixel size", value, "positive; give it by hand"));
        }
        if (x - y).abs() > SQUARE * x {
            let value = format!("{x} by {y} Angstrom");
            return Err(content(path, "the pixel size", value, "the same along x and y"));
        }
        Ok(x)
    }

    /// The extent, as sections of rows of columns.
    ///
    /// # Errors
    /// [`crate::Error::Parameter`] if an axis is longer than [`Shape::MAX_EXTENT`].
    pub fn sections(&self) -> Result<Shape> {
        let [columns, rows, planes] = self.size;
        Shape::new(planes, rows, columns)
    }
}

/// Counts that must be at least this.
fn ints(path: &Path, names: [&str; 3], values: [i32; 3], least: usize) -> Result<[usize; 3]> {
    let mut counts = [0; 3];
    for ((count, name), value) in counts.iter_mut().zip(names).zip(values) {
        let valid = usize::try_from(value).ok().filter(|value| *value >= least);
        *count = valid.ok_or_else(|| content(path, name, value, format!("{least} or more")))?;
    }
    Ok(counts)
}

/// The order of bytes by the machine stamp; if that is missing, the one in which mode and sizes make sense.
fn endian(path: &Path, bytes: &[u8; BYTES]) -> Result<Endian> {
    match bytes[212..214] {
        [0x44, 0x44 | 0x41] => return Ok(Endian::Little),
        [0x11, 0x11] => return Ok(Endian::Big),
        _ => {}
    }
    let sensible = |endian: &Endian| {
        let sizes = [0, 4, 8].map(|at| endian.i32(bytes, at));
        let mode = endian.i32(bytes, 12);
        sizes.into_iter().all(|size| (1..=Shape::MAX_EXTENT as i32).contains(&size))
            && (0..128).contains(&mode)
    };
    [Endian::Little, Endian::Big].into_iter().find(sensible).ok_or_else(|| {
        let value = format!("{:02x?}, and sizes make no sense in either order of bytes", &bytes[212..214]);
        content(path, "the machine stamp", value, "44 44 (little endian) or 11 11 (big endian)")
    })
}

/// How values are stored. Bytes are signed by the standard and were unsigned before it, so IMOD notes which in its
/// flags. Without its stamp a greatest value that no signed byte can have decides.
fn mode(path: &Path, bytes: &[u8; BYTES], endian: Endian) -> Result<Mode> {
    let number = endian.i32(bytes, 12);
    let flags = (endian.i32(bytes, 152) == IMOD_STAMP).then(|| endian.i32(bytes, 156));
    let max = endian.f32(bytes, 80);
    match (number, flags) {
        (0, Some(flags)) if flags & NIBBLES_IN_BYTES != 0 => Err(content(
            path,
            "IMOD's flags for mode 0",
            flags,
            "without 16 (two pixels in a byte); convert with newstack -mode 6",
        )),
        (0, Some(flags)) if flags & SIGNED == 0 => Ok(Mode::U8),
        (0, Some(_)) => Ok(Mode::I8),
        (0, None) => Ok(if max > 127.0 && max <= 255.0 { Mode::U8 } else { Mode::I8 }),
        (1, _) => Ok(Mode::I16),
        (2, _) => Ok(Mode::F32),
        (6, _) => Ok(Mode::U16),
        (12, _) => Ok(Mode::F16),
        (101, _) => Ok(Mode::U4),
        (3 | 4, _) => Err(content(path, "the mode", format!("{number} (complex)"), "one of real numbers")),
        _ => Err(content(path, "the mode", number, "0, 1, 2, 6, 12 or 101")),
    }
}

impl Mode {
    /// What IMOD needs to know of bytes.
    fn imod_flags(self) -> Option<i32> {
        match self {
            Self::I8 => Some(SIGNED),
            Self::U8 => Some(0),
            _ => None,
        }
    }
}
