//! MRC files: volumes and tilt series of electron microscopy.
//!
//! The format is MRC2014 (Cheng et al., J. Struct. Biol. 192 (2015) 146): a header of 1024 bytes, an extended header, and
//! sections of rows of columns, in either order of bytes. IMOD's additions are read: its stamp tells whether bytes are
//! signed. Complex modes are refused.
//!
//! Only what changes the data is believed, and is checked: sizes against the length of the file before anything is
//! allocated, values for being numbers. Statistics are computed anew on writing. A [`Reader`] reads any rows, so a
//! worker reads those it reconstructs.

mod header;
mod pixels;
#[cfg(test)]
mod tests;

pub use header::{Endian, Header, Statistics};
pub use pixels::Mode;

pub use super::source::Order;

use super::source::{self, Sections};
use super::{content, refused, replace};
use crate::{Error, Result, Shape, Stack};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes before the angle of the stage in a section of FEI's extended headers: by the table of the Python package
/// `mrcfile`; not verified on a file from a microscope.
const FEI_ALPHA: usize = 100;

/// What follows the header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extended {
    /// What it is: `SERI`, `FEI1`, `FEI2`, ...; zeros if there is none.
    pub kind: [u8; 4],
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// An open MRC file. What its header says fits its length.
#[derive(Debug)]
pub struct Reader<R = File> {
    path: PathBuf,
    source: R,
    header: Header,
    /// The `SerialEM` fields at byte 128: bytes of a section in the extended header, and what they hold.
    serial: [i16; 2],
    data: u64,
    /// Of the lines that are being decoded.
    bytes: Vec<u8>,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::File`] if the system refuses, [`Error::Content`] for a header that cannot be so or that is not read.
    pub fn open(path: &Path) -> Result<Self> {
        Self::new(File::open(path).map_err(refused(path, "open"))?, path)
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Reads the headers of a source; `path` names it in errors.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn new(mut source: R, path: &Path) -> Result<Self> {
        let failed = refused(path, "read");
        let length = source.seek(SeekFrom::End(0)).map_err(&failed)?;
        let mut bytes = [0; header::BYTES];
        if length < bytes.len() as u64 {
            let value = format!("{length} bytes");
            return Err(content(path, "the length of the file", value, "at least the 1024 of an MRC header"));
        }
        source.seek(SeekFrom::Start(0)).map_err(&failed)?;
        source.read_exact(&mut bytes).map_err(&failed)?;
        let (mut header, extended) = Header::parse(path, &bytes)?;
        let data = header::BYTES as u64 + extended;
        if data > length {
            let expected = format!("less than the {length} bytes of the file");
            return Err(content(path, "nsymbt, the length of the extended header,", extended, expected));
        }
        let [columns, rows, sections] = header.size.map(|size| size as u128);
        let section = rows * header.mode.row_bytes(columns);
        let room = u128::from(length - data);
        if room < section * sections || room >= section * (sections + 1) {
            let header = format!("{columns} x {rows} x {sections} of mode {}", header.mode.number());
            let expected = format!("{}, by its header ({header})", u128::from(data) + section * sections);
            return Err(content(path, "the length of the file", format!("{length} bytes"), expected));
        }
        header.extended.bytes = vec![0; extended as usize];
        source.read_exact(&mut header.extended.bytes).map_err(&failed)?;
        let serial = [128, 130].map(|at| header.endian.i16(&bytes, at));
        Ok(Self { path: path.to_owned(), source, header, serial, data, bytes: Vec::new() })
    }

    /// What the header says.
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The side of a pixel in Angstrom.
    ///
    /// # Errors
    /// As [`Header::pixel_angstrom`].
    pub fn pixel_angstrom(&self) -> Result<f64> {
        self.header.pixel_angstrom(&self.path)
    }
}

impl<R: Read + Seek + Send> Reader<R> {
    /// The extent of the whole.
    ///
    /// # Errors
    /// [`Error::Parameter`] if an axis is longer than [`Shape::MAX_EXTENT`].
    pub fn shape(&self, order: Order) -> Result<Shape> {
        source::shape(self, order)
    }

    /// Reads all.
    ///
    /// # Errors
    /// As [`Reader::rows`].
    pub fn read(&mut self, order: Order) -> Result<Stack> {
        let rows = self.shape(order)?.rows;
        self.rows(order, 0..rows)
    }

    /// Reads one section, line by line.
    ///
    /// # Errors
    /// As [`Reader::rows`].
    pub fn section(&mut self, section: usize, values: &mut [f32]) -> Result<()> {
        let lines = self.header.size[1];
        source::finite_lines(self, section, 0..lines, values)
    }

    /// Reads some rows of all planes.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the range is empty or reaches beyond the file, [`Error::Content`] for a value that is no
    /// finite number, [`Error::File`] if the system refuses.
    pub fn rows(&mut self, order: Order, rows: Range<usize>) -> Result<Stack> {
        source::rows(self, order, rows)
    }
}

impl<R: Read + Seek + Send> Sections for Reader<R> {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> [usize; 3] {
        self.header.size
    }

    fn lines(&mut self, section: usize, lines: Range<usize>, values: &mut [f32]) -> Result<()> {
        let Header { size: [columns, file_lines, _], mode, endian, .. } = self.header;
        let line_bytes = mode.row_bytes(columns as u128) as usize;
        self.bytes.resize(lines.len() * line_bytes, 0);
        let at = self.data + ((section * file_lines + lines.start) * line_bytes) as u64;
        self.source.seek(SeekFrom::Start(at)).map_err(refused(&self.path, "read"))?;
        self.source.read_exact(&mut self.bytes).map_err(refused(&self.path, "read"))?;
        for (bytes, values) in self.bytes.chunks_exact(line_bytes).zip(values.chunks_exact_mut(columns)) {
            mode.decode(endian, bytes, values);
        }
        Ok(())
    }

    fn pixel_angstrom(&self) -> Result<f64> {
        self.header.pixel_angstrom(&self.path)
    }

    fn labels(&self) -> &[String] {
        &self.header.labels
    }

    fn angles(&self) -> Result<Option<Vec<f64>>> {
        Self::angles(self)
    }

    fn held_bytes(&self) -> [u64; 2] {
        [
            self.header.mode.row_bytes(self.header.size[0] as u128) as u64,
            self.header.extended.bytes.len() as u64,
        ]
    }

    fn identity(&self) -> String {
        format!("{:?}", self.header)
    }
}

impl<R> Reader<R> {
    /// The tilt angle of each section in degrees, if the extended header has them: those of `SerialEM` (`SERI`), or the
    /// stage's alpha of FEI (`FEI1`, `FEI2`; not verified on a file from a microscope).
    ///
    /// # Errors
    /// [`Error::Content`] if it claims to have angles but is too short, or an angle is beyond a right angle.
    pub fn angles(&self) -> Result<Option<Vec<f64>>> {
        let Header { endian, size, extended: Extended { kind, bytes }, .. } = &self.header;
        let [step, flags] = self.serial;
        let (step, offset) = match kind {
            b"SERI" if flags & 1 == 0 => return Ok(None),
            b"SERI" => (i32::from(step), 0),
            b"FEI1" | b"FEI2" if bytes.len() >= 4 => (endian.i32(bytes, 0), FEI_ALPHA),
            _ => return Ok(None),
        };
        let width = if offset == 0 { 2 } else { 8 };
        let name = kind.escape_ascii();
        let step = usize::try_from(step).ok().filter(|step| *step >= offset + width).ok_or_else(|| {
            let field = format!("the bytes per section of the {name} header");
            content(&self.path, field, step, format!("at least {}", offset + width))
        })?;
        if bytes.len() / step < size[2] {
            let expected = format!("at least {} for {} sections", step * size[2], size[2]);
            return Err(content(&self.path, "the length of the extended header", bytes.len(), expected));
        }
        let angle = |section: usize| {
            let at = section * step + offset;
            let angle = if offset == 0 {
                f64::from(endian.i16(bytes, at)) / 100.0
            } else {
                f64::from_le_bytes(endian.array(bytes, at))
            };
            super::angles::check(&self.path, format!("the tilt angle of section {section}"), angle)
        };
        (0..size[2]).map(angle).collect::<Result<Vec<f64>>>().map(Some)
    }
}

/// What the planes of a stack are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Images of a tilt series.
    Images,
    /// Planes of z.
    Volume,
}

/// How a file is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// What it holds.
    pub content: Content,
    /// How values are stored. Integers must be integers already; [`Mode::F16`] rounds.
    pub mode: Mode,
    /// The order of bytes.
    pub endian: Endian,
    /// Which axis the sections follow.
    pub order: Order,
    /// The side of a pixel or voxel in Angstrom.
    pub pixel_angstrom: f64,
    /// Where the data come from; at most 10 labels of at most 80 ASCII characters.
    pub labels: Vec<String>,
    /// What follows the header.
    pub extended: Extended,
    /// The tilt angle of each image; only EMD keeps them.
    pub angles_deg: Option<Vec<f64>>,
}

impl Output {
    /// 32-bit numbers, little endian, sections of planes, nothing else.
    pub fn new(content: Content, pixel_angstrom: f64) -> Self {
        Self {
            content,
            mode: Mode::F32,
            endian: Endian::Little,
            order: Order::Planes,
            pixel_angstrom,
            labels: Vec::new(),
            extended: Extended::default(),
            angles_deg: None,
        }
    }

    /// Fails for a pixel size that makes no sense, in every format.
    pub(super) fn check(&self) -> Result<()> {
        if self.pixel_angstrom.is_finite() && self.pixel_angstrom > 0.0 {
            return Ok(());
        }
        Err(Error::parameter("pixel size", self.pixel_angstrom, "positive, in Angstrom"))
    }

    /// The header of a stack of this extent.
    fn header(&self, shape: Shape) -> Result<Header> {
        self.check()?;
        Header::check_labels(&self.labels)?;
        if i32::try_from(self.extended.bytes.len()).is_err() {
            let length = self.extended.bytes.len();
            return Err(Error::parameter("length of the extended header", length, "below 2 GiB"));
        }
        let Shape { planes, rows, columns } = self.order.exchange(shape);
        let depth = if self.content == Content::Images { 1 } else { planes };
        let intervals = [columns, rows, depth];
        let cell = intervals.map(|count| (count as f64 * self.pixel_angstrom) as f32);
        if !cell.iter().all(|side| side.is_finite() && *side > 0.0) {
            return Err(Error::parameter(
                "pixel size",
                self.pixel_angstrom,
                "such that the cell's sides are floats",
            ));
        }
        Ok(Header {
            size: [columns, rows, planes],
            mode: self.mode,
            endian: self.endian,
            intervals,
            cell,
            statistics: Statistics::default(),
            space_group: i32::from(self.content == Content::Volume),
            origin: [0.0; 3],
            labels: self.labels.clone(),
            extended: self.extended.clone(),
        })
    }
}

/// Writes what is given section by section, in the order of the file, whole or not at all. `fill(section, values)` overwrites
/// the values of a section, line by line.
///
/// # Errors
/// [`Error::Parameter`] for an output that makes no sense, [`Error::Content`] for a value that the mode cannot hold,
/// [`Error::File`] if the system refuses, as on a full disk; and those of `fill`.
pub(super) fn write_sections(
    path: &Path,
    shape: Shape,
    output: &Output,
    fill: &mut dyn FnMut(usize, &mut [f32]) -> Result<()>,
) -> Result<()> {
    let mut header = output.header(shape)?;
    replace(path, |file| encode(file, path, output.order, &mut header, fill))
}

/// Writes headers and data. Statistics are known only at the end, so the header is written twice.
fn encode(
    target: &mut (impl Write + Seek),
    path: &Path,
    order: Order,
    header: &mut Header,
    fill: &mut dyn FnMut(usize, &mut [f32]) -> Result<()>,
) -> Result<()> {
    let failed = refused(path, "write");
    target.write_all(&header.to_bytes()).map_err(&failed)?;
    target.write_all(&header.extended.bytes).map_err(&failed)?;
    let [columns, lines, sections] = header.size;
    let mut bytes = Vec::new();
    let mut values = vec![0.0; lines * columns];
    let mut moments = Moments::default();
    for section in 0..sections {
        fill(section, &mut values)?;
        for (line, values) in values.chunks_exact(columns).enumerate() {
            let values = values.iter().copied();
            bytes.clear();
            if let Err((column, value)) = header.mode.encode(header.endian, values, &mut moments, &mut bytes)
            {
                let (plane, row) = order.place(section, line, lines);
                let place = format!("the value at plane {plane}, row {row}, column {column}");
                return Err(content(path, place, value, header.mode.range()));
            }
            target.write_all(&bytes).map_err(&failed)?;
        }
    }
    header.statistics = moments.statistics();
    target.seek(SeekFrom::Start(0)).map_err(&failed)?;
    target.write_all(&header.to_bytes()).map_err(&failed)?;
    target.flush().map_err(&failed)
}

/// Sums of what was written, by Welford's update, which does not cancel.
#[derive(Debug, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
    range: Option<(f32, f32)>,
}

impl Moments {
    fn add(&mut self, value: f32) {
        let (min, max) = self.range.unwrap_or((value, value));
        self.range = Some((min.min(value), max.max(value)));
        let gap = f64::from(value) - self.mean;
        self.count += 1.0;
        self.mean += gap / self.count;
        self.squares += gap * (f64::from(value) - self.mean);
    }

    fn statistics(&self) -> Statistics {
        let (min, max) = self.range.unwrap_or_default();
        let rms = (self.squares / self.count.max(1.0)).sqrt() as f32;
        Statistics { min, max, mean: self.mean as f32, rms }
    }
}
