//! Stacks of grey TIFF pages, as cameras and `ImageJ` write them.
//!
//! Pages are read and written by the crate `tiff`, which is told how much memory a page may take. `ImageJ`'s description
//! says how large a pixel is; other resolutions are meant for printers and are not believed. Files beyond 4 GiB are
//! written as `BigTIFF`.

use super::mrc::Output;
use super::source::Sections;
use super::{check_claim, content, refused, replace};
use crate::{Error, Result, Shape};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use tiff::decoder::ifd::Value;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::encoder::{Rational, TiffEncoder, TiffKind, colortype::Gray32Float};
use tiff::tags::Tag;
use tiff::{ColorType, TiffError};

/// No page is larger when decoded.
const MAX_PAGE_BYTES: usize = 1 << 30;
/// No tag is larger.
const MAX_TAG_BYTES: usize = 16 << 20;
/// From here on pages are written as `BigTIFF`, whose offsets have 64 bits.
const BIG_BYTES: u64 = 4_000_000_000;
/// How a line of the description begins that says where the data come from.
const LABEL: &str = "label=";

fn damaged(path: &Path) -> impl Fn(TiffError) -> Error {
    let path = path.to_owned();
    move |error| match error {
        TiffError::IoError(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            refused(&path, "read")(error)
        }
        TiffError::IoError(_) => content(&path, "the TIFF", "cut off", "as long as its header says"),
        error => content(&path, "the TIFF", error, "an intact stack of grey pages"),
    }
}

/// An open stack. All its pages are of one size.
pub struct Reader<R: Read + Seek = BufReader<File>> {
    path: PathBuf,
    decoder: Decoder<R>,
    size: [usize; 3],
    description: String,
    labels: Vec<String>,
    /// Bytes of a pixel as it is stored.
    pixel_bytes: u64,
    /// Pixels per unit of the description.
    resolution: Option<f64>,
    /// The page that was decoded last.
    page: Option<(usize, Vec<f32>)>,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::File`] if the system refuses, [`Error::Content`] for what is no stack of grey pages of one size.
    pub fn open(path: &Path) -> Result<Self> {
        Self::new(BufReader::new(File::open(path).map_err(refused(path, "open"))?), path)
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Looks through the pages of a source; `path` names it in errors.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn new(mut source: R, path: &Path) -> Result<Self> {
        let stored = source.seek(SeekFrom::End(0)).map_err(refused(path, "read"))?;
        source.seek(SeekFrom::Start(0)).map_err(refused(path, "read"))?;
        let failed = damaged(path);
        let mut limits = Limits::default();
        limits.decoding_buffer_size = MAX_PAGE_BYTES;
        limits.intermediate_buffer_size = MAX_PAGE_BYTES;
        limits.ifd_value_size = MAX_TAG_BYTES;
        let mut decoder = Decoder::new(source).map_err(&failed)?.with_limits(limits);
        let text = |decoder: &mut Decoder<R>, tag| decoder.get_tag_ascii_string(tag).unwrap_or_default();
        let description = text(&mut decoder, Tag::ImageDescription);
        let resolution = match decoder.find_tag(Tag::XResolution) {
            Ok(Some(Value::Rational(count, of))) if count > 0 && of > 0 => {
                Some(f64::from(count) / f64::from(of))
            }
            _ => None,
        };
        let first = decoder.dimensions().map_err(&failed)?;
        let (pages, pixel_bytes) = pages_of(&mut decoder, first, path)?;
        let labels = description.lines().filter_map(|line| line.strip_prefix(LABEL)).map(str::to_owned);
        let (labels, size) = (labels.collect(), [first.0 as usize, first.1 as usize, pages]);
        if size.contains(&0) {
            return Err(content(path, "the size of a page", format!("{first:?}"), "at least one pixel"));
        }
        check_claim(path, size, 1, stored)?;
        // ImageJ writes stacks beyond 4 GiB as one page and the rest behind it, where no reader of TIFF finds it.
        let images = description.lines().find_map(|line| line.strip_prefix("images=")?.trim().parse().ok());
        if pages == 1 && images.is_some_and(|images: usize| images > 1) {
            let expected =
                format!("{}, as its description says; save it as pages, or as BigTIFF", images.unwrap_or(1));
            return Err(content(path, "the number of pages", pages, expected));
        }
        let path = path.to_owned();
        Ok(Self { path, decoder, size, description, labels, pixel_bytes, resolution, page: None })
    }

    /// Decodes a page.
    fn decode(&mut self, page: usize) -> Result<Vec<f32>> {
        let failed = damaged(&self.path);
        self.decoder.seek_to_image(page).map_err(&failed)?;
        let values: Vec<f32> = match self.decoder.read_image().map_err(&failed)? {
            DecodingResult::U8(values) => values.into_iter().map(f32::from).collect(),
            DecodingResult::U16(values) => values.into_iter().map(f32::from).collect(),
            DecodingResult::U32(values) => values.into_iter().map(|value| value as f32).collect(),
            DecodingResult::U64(values) => values.into_iter().map(|value| value as f32).collect(),
            DecodingResult::I8(values) => values.into_iter().map(f32::from).collect(),
            DecodingResult::I16(values) => values.into_iter().map(f32::from).collect(),
            DecodingResult::I32(values) => values.into_iter().map(|value| value as f32).collect(),
            DecodingResult::I64(values) => values.into_iter().map(|value| value as f32).collect(),
            DecodingResult::F16(values) => values.into_iter().map(half::f16::to_f32).collect(),
            DecodingResult::F32(values) => values,
            DecodingResult::F64(values) => values.into_iter().map(|value| value as f32).collect(),
        };
        let [columns, lines, _] = self.size;
        if values.len() == columns * lines {
            return Ok(values);
        }
        let field = format!("the number of pixels of page {page}");
        Err(content(&self.path, field, values.len(), columns * lines))
    }
}

/// The number of pages, all of which must be grey and of one size, and the bytes of a pixel as it is stored.
fn pages_of<R: Read + Seek>(decoder: &mut Decoder<R>, size: (u32, u32), path: &Path) -> Result<(usize, u64)> {
    let failed = damaged(path);
    let (mut pages, mut pixel_bytes) = (0, 0);
    loop {
        let (found, colour) = (decoder.dimensions().map_err(&failed)?, decoder.colortype().map_err(&failed)?);
        let ColorType::Gray(bits @ (8 | 16 | 32 | 64)) = colour else {
            let field = format!("the pixels of page {pages}");
            return Err(content(path, field, format!("{colour:?}"), "grey, of 8 to 64 bits"));
        };
        if found != size {
            let field = format!("the size of page {pages}");
            return Err(content(
                path,
                field,
                format!("{found:?}"),
                format!("{size:?}, as that of the first page"),
            ));
        }
        pixel_bytes = pixel_bytes.max(u64::from(bits / 8));
        pages += 1;
        if !decoder.more_images() || pages > Shape::MAX_EXTENT {
            return Ok((pages, pixel_bytes));
        }
        decoder.next_image().map_err(&failed)?;
    }
}

impl<R: Read + Seek + Send> Sections for Reader<R> {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> [usize; 3] {
        self.size
    }

    fn lines(&mut self, section: usize, lines: Range<usize>, values: &mut [f32]) -> Result<()> {
        let page = match self.page.take() {
            Some((at, page)) if at == section => page,
            _ => self.decode(section)?,
        };
        let columns = self.size[0];
        values.copy_from_slice(&page[lines.start * columns..lines.end * columns]);
        self.page = Some((section, page));
        Ok(())
    }

    fn pixel_angstrom(&self) -> Result<f64> {
        let unit = self.description.lines().find_map(|line| line.strip_prefix("unit="));
        let angstrom = match unit.map(str::trim) {
            Some("nm") => 10.0,
            Some("um" | "micron" | "\\u00B5m") => 1e4,
            Some("A" | "angstrom" | "\\u00C5") => 1.0,
            _ => 0.0,
        };
        match self.resolution.map(|resolution| angstrom / resolution) {
            Some(pixel) if pixel > 0.0 => Ok(pixel),
            _ => Err(content(&self.path, "the pixel size", "not in the file", "given by hand, in Angstrom")),
        }
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    /// A page, as it is stored and as it is decoded.
    fn held_bytes(&self) -> [u64; 2] {
        let [columns, lines, _] = self.size;
        [0, (columns * lines) as u64 * (self.pixel_bytes + 4)]
    }

    fn identity(&self) -> String {
        format!("{:?} {:?} {:?}", self.size, self.description, self.resolution)
    }
}

/// Writes sections as pages of 32-bit floats, whole or not at all.
pub(super) fn write_sections(
    path: &Path,
    shape: Shape,
    output: &Output,
    fill: &mut dyn FnMut(usize, &mut [f32]) -> Result<()>,
) -> Result<()> {
    output.check()?;
    let failed = damaged(path);
    replace(path, |file| {
        if 4 * shape.len() as u64 + 4096 * shape.planes as u64 > BIG_BYTES {
            pages(&mut TiffEncoder::new_big(file).map_err(&failed)?, path, shape, output, fill)
        } else {
            pages(&mut TiffEncoder::new(file).map_err(&failed)?, path, shape, output, fill)
        }
    })
}

fn pages<W: Write + Seek, K: TiffKind>(
    encoder: &mut TiffEncoder<W, K>,
    path: &Path,
    shape: Shape,
    output: &Output,
    fill: &mut dyn FnMut(usize, &mut [f32]) -> Result<()>,
) -> Result<()> {
    let failed = |error| match error {
        TiffError::IoError(error) => refused(path, "write")(error),
        error => content(path, "the TIFF", error, "such that it can be written"),
    };
    let Shape { planes, rows, columns } = shape;
    let mut description = format!("ImageJ=1.54f\nimages={planes}\nslices={planes}\nunit=nm\nloop=false\n");
    for label in &output.labels {
        description.extend([LABEL, label, "\n"]);
    }
    // Pixels per nanometre, to seven digits.
    let per_nanometre = (1e7 / output.pixel_angstrom).clamp(1.0, f64::from(u32::MAX));
    let resolution = || Rational { n: per_nanometre.round() as u32, d: 1_000_000 };
    let mut values = vec![0.0; rows * columns];
    for section in 0..planes {
        fill(section, &mut values)?;
        let mut image = encoder.new_image::<Gray32Float>(columns as u32, rows as u32).map_err(failed)?;
        image.x_resolution(resolution());
        image.y_resolution(resolution());
        if section == 0 {
            image.encoder().write_tag(Tag::ImageDescription, description.as_str()).map_err(failed)?;
        }
        image.write_data(&values).map_err(failed)?;
    }
    Ok(())
}
