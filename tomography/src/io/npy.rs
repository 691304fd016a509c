//! Arrays of `NumPy` (`.npy`), of two or three axes: (section, line, column), in C order.
//!
//! The header is a Python dictionary of three entries, which is parsed as such and by no more than that
//! (numpy.lib.format, versions 1 to 3). An own reader, since the sizes that a header claims have to be compared with the
//! file before anything is allocated, and since rows are read alone.

use super::source::Sections;
use super::{content, refused, replace};
use crate::{Result, Shape};
use half::f16;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Headers are of about a hundred bytes; a longer one is something else.
const MAX_HEADER_BYTES: usize = 1 << 16;
/// Headers end at a multiple of this.
const ALIGNMENT: usize = 64;

/// A type of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Type {
    /// `f`, `i`, `u` or `b`, as in the header.
    kind: char,
    pub(super) bytes: usize,
    is_big: bool,
}

impl Type {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut characters = text.chars();
        let is_big = match characters.next()? {
            '<' | '|' => false,
            '>' => true,
            _ => return None,
        };
        let kind = characters.next()?;
        let bytes = characters.as_str().parse().ok()?;
        let known = matches!((kind, bytes), ('f', 2 | 4 | 8) | ('i' | 'u', 1 | 2 | 4) | ('b', 1));
        known.then_some(Self { kind, bytes, is_big })
    }

    pub(super) fn decode(self, bytes: &[u8]) -> f32 {
        let mut wide = [0; 8];
        for (to, from) in wide.iter_mut().zip(bytes) {
            *to = *from;
        }
        if self.is_big {
            wide[..self.bytes].reverse();
        }
        let number = u64::from_le_bytes(wide);
        let unused = 64 - 8 * self.bytes as u32;
        match (self.kind, self.bytes) {
            ('f', 2) => f16::from_bits(number as u16).to_f32(),
            ('f', 4) => f32::from_bits(number as u32),
            ('f', _) => f64::from_bits(number) as f32,
            ('i', _) => ((number << unused).cast_signed() >> unused) as f32,
            _ => number as f32,
        }
    }
}

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Header {
    kind: Type,
    shape: Vec<usize>,
}

impl Header {
    /// Reads the dictionary.
    fn parse(path: &Path, text: &str) -> Result<Self> {
        let value = |key: &str| {
            let quoted = [format!("'{key}':"), format!("\"{key}\":")];
            quoted
                .iter()
                .find_map(|quoted| text.split_once(quoted.as_str()))
                .map(|(_, rest)| rest.trim_start())
        };
        let wrong = |field: &str, found: Option<&str>, expected: &str| {
            let shown: String = found.map_or("missing", first_value).chars().take(40).collect();
            content(path, format!("{field} of the header"), shown, expected)
        };
        let descr = value("descr");
        let kind = descr
            .and_then(|text| text.split(['\'', '"']).nth(1))
            .and_then(Type::parse)
            .ok_or_else(|| wrong("descr", descr, "numbers of 8 to 32 bits or 64-bit floats, as '<f4'"))?;
        match value("fortran_order") {
            Some(text) if text.starts_with("False") => {}
            found => return Err(wrong("fortran_order", found, "False; save numpy.ascontiguousarray(array)")),
        }
        let shape = value("shape");
        let numbers = shape.and_then(|text| text.strip_prefix('(')).and_then(|text| text.split_once(')'));
        let shape = numbers
            .and_then(|(numbers, _)| {
                let numbers = numbers.split(',').map(str::trim).filter(|number| !number.is_empty());
                numbers.map(|number| number.parse().ok()).collect::<Option<Vec<usize>>>()
            })
            .filter(|shape| matches!(shape.len(), 2 | 3) && !shape.contains(&0))
            .ok_or_else(|| wrong("shape", shape, "two or three extents, none of them 0"))?;
        Ok(Self { kind, shape })
    }

    fn size(&self) -> [usize; 3] {
        match self.shape[..] {
            [sections, lines, columns] => [columns, lines, sections],
            [lines, columns] => [columns, lines, 1],
            _ => [0; 3],
        }
    }
}

/// The value that a text of a dictionary begins with.
fn first_value(text: &str) -> &str {
    let end = if text.starts_with('(') { text.find(')').map(|at| at + 1) } else { text.find([',', '}']) };
    text[..end.unwrap_or(text.len())].trim_end()
}

/// An open array. What its header says fits its length.
#[derive(Debug)]
pub struct Reader<R = File> {
    path: PathBuf,
    source: R,
    header: Header,
    data: u64,
    bytes: Vec<u8>,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// [`crate::Error::File`] if the system refuses, [`crate::Error::Content`] for what is no array of numbers.
    pub fn open(path: &Path) -> Result<Self> {
        Self::new(File::open(path).map_err(refused(path, "open"))?, path)
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the header of a source; `path` names it in errors.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn new(mut source: R, path: &Path) -> Result<Self> {
        let failed = refused(path, "read");
        let length = source.seek(SeekFrom::End(0)).map_err(&failed)?;
        source.seek(SeekFrom::Start(0)).map_err(&failed)?;
        let mut start = Vec::new();
        source.by_ref().take(12).read_to_end(&mut start).map_err(&failed)?;
        if !start.starts_with(MAGIC) || start.len() < 12 {
            return Err(content(path, "the beginning", "another file's", "that of a .npy file"));
        }
        let (at, header_bytes) = match start[6] {
            1 => (10, usize::from(u16::from_le_bytes([start[8], start[9]]))),
            2 | 3 => (12, u32::from_le_bytes([start[8], start[9], start[10], start[11]]) as usize),
            version => return Err(content(path, "the version of the format", version, "1, 2 or 3")),
        };
        if header_bytes > MAX_HEADER_BYTES || (at + header_bytes) as u64 > length {
            return Err(content(
                path,
                "the length of the header",
                header_bytes,
                "that of a short text in the file",
            ));
        }
        source.seek(SeekFrom::Start(at as u64)).map_err(&failed)?;
        let mut text = vec![0; header_bytes];
        source.read_exact(&mut text).map_err(&failed)?;
        let header = Header::parse(path, &String::from_utf8_lossy(&text))?;
        let mut numbers = header.shape.iter().map(|extent| *extent as u128);
        let bytes = numbers.try_fold(header.kind.bytes as u128, u128::checked_mul);
        let data = (at + header_bytes) as u64;
        if bytes != Some(u128::from(length - data)) {
            let expected =
                bytes.map_or("shorter".to_owned(), |bytes| format!("{}", bytes + u128::from(data)));
            let expected = format!("{expected}, by its header ({:?})", header.shape);
            return Err(content(path, "the length of the file", format!("{length} bytes"), expected));
        }
        Ok(Self { path: path.to_owned(), source, header, data, bytes: Vec::new() })
    }
}

impl<R: Read + Seek + Send> Sections for Reader<R> {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> [usize; 3] {
        self.header.size()
    }

    fn lines(&mut self, section: usize, lines: Range<usize>, values: &mut [f32]) -> Result<()> {
        let ([columns, file_lines, _], kind) = (self.header.size(), self.header.kind);
        let line_bytes = columns * kind.bytes;
        self.bytes.resize(lines.len() * line_bytes, 0);
        let at = self.data + ((section * file_lines + lines.start) * line_bytes) as u64;
        self.source.seek(SeekFrom::Start(at)).map_err(refused(&self.path, "read"))?;
        self.source.read_exact(&mut self.bytes).map_err(refused(&self.path, "read"))?;
        for (value, bytes) in values.iter_mut().zip(self.bytes.chunks_exact(kind.bytes)) {
            *value = kind.decode(bytes);
        }
        Ok(())
    }

    fn held_bytes(&self) -> [u64; 2] {
        [(self.header.size()[0] * self.header.kind.bytes) as u64, 0]
    }

    fn identity(&self) -> String {
        format!("{:?}", self.header)
    }
}

/// Writes sections of 32-bit floats, whole or not at all.
pub(super) fn write_sections(
    path: &Path,
    shape: Shape,
    fill: &mut dyn FnMut(usize, &mut [f32]) -> Result<()>,
) -> Result<()> {
    let Shape { planes, rows, columns } = shape;
    let mut text =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({planes}, {rows}, {columns}), }}");
    let padding = (ALIGNMENT - (10 + text.len() + 1) % ALIGNMENT) % ALIGNMENT;
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    replace(path, |file| {
        let mut put = |bytes: &[u8]| file.write_all(bytes).map_err(refused(path, "write"));
        put(MAGIC)?;
        put(&[1, 0])?;
        put(&(text.len() as u16).to_le_bytes())?;
        put(text.as_bytes())?;
        let (mut values, mut bytes) = (vec![0.0; rows * columns], Vec::new());
        for section in 0..planes {
            fill(section, &mut values)?;
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            put(&bytes)?;
        }
        Ok(())
    })
}
