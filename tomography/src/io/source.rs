//! Any format: what readers of volumes and tilt series have in common, and which of them a file's name asks for.
//!
//! A file is sections of lines of columns, whatever its format. A reader decodes lines; that values are finite, that rows
//! are within the file, and which axis sections follow is looked after here, once.

#[cfg(feature = "hdf5")]
use super::emd;
use super::mrc::{self, Output};
use super::{content, npy, tiff, zarr};
use crate::{Error, Result, Shape, Stack};
use std::ops::Range;
use std::path::Path;

/// Which axis the sections of a file follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Sections are planes: images of a tilt series, z of a volume.
    #[default]
    Planes,
    /// Sections are rows of constant y, and their lines z, the last line first: reconstructions of IMOD before they are
    /// turned. This is the rotation by a right angle about x that `trimvol -rx` and `clip rotx` make, so the hand stays.
    Rows,
}

impl Order {
    /// Sections and lines as planes and rows, or the other way.
    pub(super) fn exchange(self, shape: Shape) -> Shape {
        match self {
            Self::Planes => shape,
            Self::Rows => Shape { planes: shape.rows, rows: shape.planes, ..shape },
        }
    }

    /// Plane and row of a section's line, of so many lines.
    pub(crate) const fn place(self, section: usize, line: usize, lines: usize) -> (usize, usize) {
        match self {
            Self::Planes => (section, line),
            Self::Rows => (lines - 1 - line, section),
        }
    }
}

/// A format, by the name of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// MRC (`.mrc`, `.rec`, `.st`, `.ali`, and whatever is none of the others).
    Mrc,
    /// An array of `NumPy` (`.npy`).
    Npy,
    /// A stack of pages (`.tif`, `.tiff`).
    Tiff,
    /// OME-Zarr (`.zarr`), a folder.
    Zarr,
    /// EMD and other HDF5 (`.emd`, `.h5`, `.hdf5`), read and written by a program that was built with the feature `hdf5`. An
    /// array in a file has a name behind the file's: `series.h5:/exchange/data`.
    Hdf5,
}

impl Format {
    /// The format that a name asks for.
    pub fn of(path: &Path) -> Self {
        let (file, _) = split(path);
        let extension = file.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("npy") => Self::Npy,
            Some("tif" | "tiff") => Self::Tiff,
            Some("zarr") => Self::Zarr,
            Some("emd" | "h5" | "hdf5") => Self::Hdf5,
            _ => Self::Mrc,
        }
    }
}

/// The file of a name, and the array in it that the name tells.
pub(crate) fn split(path: &Path) -> (&Path, Option<&str>) {
    let whole = (path, None);
    let Some(text) = path.to_str() else { return whole };
    let of_hdf5 = |at: &usize| {
        let file = text[..*at].to_ascii_lowercase();
        [".emd", ".h5", ".hdf5"].iter().any(|ending| file.ends_with(ending))
    };
    let at = text.match_indices(":/").map(|(at, _)| at).find(of_hdf5);
    at.map_or(whole, |at| (Path::new(&text[..at]), Some(&text[at + 1..])))
}

/// Why a file of HDF5 is not read or written.
#[cfg(not(feature = "hdf5"))]
fn no_hdf5(path: &Path) -> Error {
    let expected = "another one, since this program was built without it (cargo build --features hdf5)";
    content(path, "the format", "HDF5", expected)
}

/// What a reader of one format does.
pub trait Sections: Send {
    /// The file.
    fn path(&self) -> &Path;

    /// Columns, lines of a section, and sections.
    fn size(&self) -> [usize; 3];

    /// Decodes some lines of a section; both are within the file.
    ///
    /// # Errors
    /// [`Error::Content`] for what cannot be decoded, [`Error::File`] if the system refuses.
    fn lines(&mut self, section: usize, lines: Range<usize>, values: &mut [f32]) -> Result<()>;

    /// The side of a pixel in Angstrom.
    ///
    /// # Errors
    /// [`Error::Content`] if the file does not say, or says what cannot be.
    fn pixel_angstrom(&self) -> Result<f64> {
        Err(content(self.path(), "the pixel size", "not in the file", "given by hand, in Angstrom"))
    }

    /// Where the data come from.
    fn labels(&self) -> &[String] {
        &[]
    }

    /// The tilt angle of each section in degrees, if the file has them.
    ///
    /// # Errors
    /// [`Error::Content`] if it has something else in their place.
    fn angles(&self) -> Result<Option<Vec<f64>>> {
        Ok(None)
    }

    /// Bytes that are held while sections are read: for each line of a section that is read at a time, and besides.
    fn held_bytes(&self) -> [u64; 2];

    /// What the file says of itself, as text: another text for another file, as far as its header goes.
    fn identity(&self) -> String;
}

/// The extent of the whole.
///
/// # Errors
/// [`Error::Parameter`] if an axis is longer than [`Shape::MAX_EXTENT`].
pub(super) fn shape(sections: &(impl Sections + ?Sized), order: Order) -> Result<Shape> {
    let [columns, lines, count] = sections.size();
    Ok(order.exchange(Shape::new(count, lines, columns)?))
}

/// Decodes some lines of a section, all of which must be finite.
pub(super) fn finite_lines(
    sections: &mut (impl Sections + ?Sized),
    section: usize,
    lines: Range<usize>,
    values: &mut [f32],
) -> Result<()> {
    let [columns, file_lines, count] = sections.size();
    if section >= count || lines.end > file_lines {
        return Err(Error::parameter("section", section, "one of the file's, from 0"));
    }
    sections.lines(section, lines.clone(), values)?;
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let (line, column) = (lines.start + at / columns, at % columns);
        let place = format!("the value at section {section}, row {line}, column {column}");
        return Err(content(sections.path(), place, values[at], "finite; mask or replace it"));
    }
    Ok(())
}

/// Reads some rows of all planes.
pub(super) fn rows(
    sections: &mut (impl Sections + ?Sized),
    order: Order,
    rows: Range<usize>,
) -> Result<Stack> {
    let (whole, file_lines) = (shape(sections, order)?, sections.size()[1]);
    if rows.is_empty() || rows.end > whole.rows {
        let value = format!("{rows:?} of {}", whole.rows);
        return Err(Error::parameter("range of rows", value, "within the file, and not empty"));
    }
    let (of_sections, lines) = match order {
        Order::Planes => (0..whole.planes, rows.clone()),
        Order::Rows => (rows.clone(), 0..whole.planes),
    };
    let mut values = vec![0.0; lines.len() * whole.columns];
    // A compressed file of a few bytes may claim any number of sections. The last one first: what is not there is found
    // before memory is taken for all of them. The first that is wrong is told all the same.
    if let Err(error) = finite_lines(sections, of_sections.end - 1, lines.clone(), &mut values) {
        for section in of_sections {
            finite_lines(sections, section, lines.clone(), &mut values)?;
        }
        return Err(error);
    }
    let mut stack = Stack::zeros(whole.with_rows(rows.len()));
    for section in of_sections {
        finite_lines(sections, section, lines.clone(), &mut values)?;
        for (line, values) in lines.clone().zip(values.chunks_exact(whole.columns)) {
            let (plane, row) = order.place(section, line, file_lines);
            for (column, value) in values.iter().enumerate() {
                *stack.at_mut(plane, row - rows.start, column) = *value;
            }
        }
    }
    Ok(stack)
}

/// An open volume or tilt series of any format.
pub struct Source(Box<dyn Sections>);

impl Source {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::File`] if the system refuses, [`Error::Content`] for a header that cannot be so or that is not read.
    pub fn open(path: &Path) -> Result<Self> {
        // A pipe would be waited for, and cannot be read at any place.
        if split(path).0.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            return Err(content(path, "the name", "that of a pipe or a device", "that of a file"));
        }
        Ok(Self(match Format::of(path) {
            Format::Mrc => Box::new(mrc::Reader::open(path)?),
            Format::Npy => Box::new(npy::Reader::open(path)?),
            Format::Tiff => Box::new(tiff::Reader::open(path)?),
            Format::Zarr => Box::new(zarr::Reader::open(path)?),
            #[cfg(feature = "hdf5")]
            Format::Hdf5 => Box::new(emd::Reader::open(path)?),
            #[cfg(not(feature = "hdf5"))]
            Format::Hdf5 => return Err(no_hdf5(path)),
        }))
    }

    /// The extent of the whole.
    ///
    /// # Errors
    /// [`Error::Parameter`] if an axis is longer than [`Shape::MAX_EXTENT`].
    pub fn shape(&self, order: Order) -> Result<Shape> {
        shape(&*self.0, order)
    }

    /// Reads all.
    ///
    /// # Errors
    /// As [`Source::rows`].
    pub fn read(&mut self, order: Order) -> Result<Stack> {
        let whole = self.shape(order)?.rows;
        self.rows(order, 0..whole)
    }

    /// Reads some rows of all planes.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the range is empty or reaches beyond the file, [`Error::Content`] for a value that is no
    /// finite number, [`Error::File`] if the system refuses.
    pub fn rows(&mut self, order: Order, range: Range<usize>) -> Result<Stack> {
        rows(&mut *self.0, order, range)
    }

    /// Reads one section, line by line.
    ///
    /// # Errors
    /// As [`Source::rows`].
    pub fn section(&mut self, section: usize, values: &mut [f32]) -> Result<()> {
        let lines = self.0.size()[1];
        finite_lines(&mut *self.0, section, 0..lines, values)
    }

    /// The side of a pixel in Angstrom.
    ///
    /// # Errors
    /// As [`Sections::pixel_angstrom`].
    pub fn pixel_angstrom(&self) -> Result<f64> {
        self.0.pixel_angstrom()
    }

    /// Where the data come from.
    pub fn labels(&self) -> &[String] {
        self.0.labels()
    }

    /// The tilt angle of each section in degrees, if the file has them.
    ///
    /// # Errors
    /// As [`Sections::angles`].
    pub fn angles(&self) -> Result<Option<Vec<f64>>> {
        self.0.angles()
    }

    /// Bytes that are held while sections are read: for each line of a section that is read at a time, and besides.
    pub fn held_bytes(&self) -> [u64; 2] {
        self.0.held_bytes()
    }

    /// Decodes some lines of a section, one after the other.
    ///
    /// # Errors
    /// As [`Source::rows`].
    pub fn lines(&mut self, section: usize, lines: Range<usize>, values: &mut [f32]) -> Result<()> {
        finite_lines(&mut *self.0, section, lines, values)
    }

    /// What the file says of itself, as text.
    pub fn identity(&self) -> String {
        self.0.identity()
    }
}

/// Writes a stack in the format that the name asks for, whole or not at all.
///
/// # Errors
/// [`Error::Parameter`] for an output that makes no sense, [`Error::Content`] for a value that the mode cannot hold,
/// [`Error::File`] if the system refuses, as on a full disk.
pub fn write(path: &Path, stack: &Stack, output: &Output) -> Result<()> {
    write_sections(path, stack.shape(), output, &mut |section, values| {
        section_of(stack, output.order, section, values);
        Ok(())
    })
}

/// Writes what is given section by section, in the order of the file, whole or not at all: the same file as [`write()`] of
/// the whole stack. `fill(section, values)` overwrites the values of a section, line by line. Formats other than MRC hold
/// 32-bit floats, whatever mode the output has.
///
/// # Errors
/// As [`write()`], and those of `fill`.
pub fn write_sections(
    path: &Path,
    shape: Shape,
    output: &Output,
    fill: &mut dyn FnMut(usize, &mut [f32]) -> Result<()>,
) -> Result<()> {
    match Format::of(path) {
        Format::Mrc => mrc::write_sections(path, shape, output, fill),
        Format::Npy => npy::write_sections(path, output.order.exchange(shape), fill),
        Format::Tiff => tiff::write_sections(path, output.order.exchange(shape), output, fill),
        Format::Zarr => zarr::write_sections(path, output.order.exchange(shape), output, fill),
        #[cfg(feature = "hdf5")]
        Format::Hdf5 => emd::write_sections(path, output.order.exchange(shape), output, fill),
        #[cfg(not(feature = "hdf5"))]
        Format::Hdf5 => Err(no_hdf5(path)),
    }
}

/// Bytes of memory that writing a stack takes, besides the stack: a section, or a layer of chunks, for Zarr at every scale.
pub fn writing_bytes(path: &Path, shape: Shape, order: Order) -> u64 {
    let Shape { planes, rows, columns } = order.exchange(shape);
    let sections = match Format::of(path) {
        Format::Zarr => zarr::sections_held(planes),
        #[cfg(feature = "hdf5")]
        Format::Hdf5 => emd::sections_held(planes),
        #[cfg(not(feature = "hdf5"))]
        Format::Hdf5 => 0,
        Format::Mrc | Format::Npy | Format::Tiff => 2,
    };
    4 * (sections * rows * columns) as u64
}

/// A section of a stack, line by line.
pub(super) fn section_of(stack: &Stack, order: Order, section: usize, values: &mut [f32]) {
    let lines = order.exchange(stack.shape()).rows;
    for (line, values) in values.chunks_exact_mut(stack.shape().columns).enumerate() {
        let (plane, row) = order.place(section, line, lines);
        for (column, value) in values.iter_mut().enumerate() {
            *value = stack.at(plane, row, column);
        }
    }
}
