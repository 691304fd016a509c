//! OME-Zarr 0.4 (Zarr 2): a folder of chunks at several scales, as napari and Fiji open them.
//!
//! Chunks have up to 64 values along each axis, so one of a volume holds whole slabs of sixteen rows. Each scale has half
//! the values of the one before along x and y, and along z of a volume, and each value is the mean of those it covers.
//! What is written is not compressed; what is read may be, by zlib or gzip. An own reader and writer: the format is two
//! small texts and bare numbers, and what its crate would add are compressors, its own cache and threads.
//!
//! A folder is written beside its place, brought to disk and renamed, so under a final name there is all of it or nothing.
//! A chunk that is not there is all fill, and takes no memory; but an array that claims to be thousands of times larger than
//! what is stored of it is refused.

use super::mrc::{Content, Output};
use super::npy::Type;
use super::source::{Order, Sections};
use super::{check_claim, check_writable, content, partial, read_text, refused};
use crate::{Result, Shape};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

/// Values along each side of a chunk.
const CHUNK: usize = 64;
/// Scales go on until a section is no larger than this.
const SMALLEST: usize = 128;
/// No chunk that is read has more values.
const MAX_CHUNK: usize = 1 << 28;

/// `.zarray`: what an array says of itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Meta {
    zarr_format: u32,
    shape: Vec<usize>,
    chunks: Vec<usize>,
    dtype: String,
    compressor: Option<Compressor>,
    fill_value: Value,
    order: String,
    filters: Option<Vec<Value>>,
    #[serde(default)]
    dimension_separator: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Compressor {
    id: String,
}

/// An open array of three axes: the first scale of a folder of scales, or an array by itself.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    array: PathBuf,
    meta: Meta,
    kind: Type,
    /// Extents and chunks of the last three axes.
    extents: [[usize; 3]; 2],
    /// What stands where there is no chunk.
    fill: f32,
    pixel_angstrom: Option<f64>,
    labels: Vec<String>,
    /// Decoded chunks of the lines that were read last, by their place; nothing for those that are not there.
    cache: BTreeMap<[usize; 3], Option<Vec<f32>>>,
}

fn json_of(path: &Path) -> Result<Value> {
    serde_json::from_str(&read_text(path)?).map_err(|error| content(path, "the text", error, "JSON"))
}

impl Reader {
    /// Opens a folder.
    ///
    /// # Errors
    /// [`crate::Error::File`] if the system refuses, [`crate::Error::Content`] for what is no array that is read here.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path.join("zarr.json").exists() {
            let expected = "2 (OME-Zarr 0.4); convert it, or save it with zarr_format=2";
            return Err(content(path, "the version of Zarr", 3, expected));
        }
        let attributes = path.join(".zattrs");
        let attributes = if attributes.exists() { json_of(&attributes)? } else { Value::Null };
        let scales = &attributes["multiscales"][0];
        let scale = &scales["datasets"][0];
        let array = match &scale["path"] {
            Value::String(inner) => inside(path, inner)?,
            _ => path.to_owned(),
        };
        let file = array.join(".zarray");
        let meta: Meta = serde_json::from_value(json_of(&file)?)
            .map_err(|error| content(&file, "the text", error, "the description of an array"))?;
        let (kind, extents) = meta.check(&file)?;
        check_claim(&file, extents[0], kind.bytes, stored(&array)?)?;
        let labels = attributes["parthood"]["labels"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(Self {
            path: path.to_owned(),
            kind,
            extents,
            fill: meta.fill(&file)?,
            pixel_angstrom: pixel_of(scales, scale),
            labels: labels.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            array,
            meta,
            cache: BTreeMap::new(),
        })
    }

    /// A chunk's values, if it is there.
    fn chunk(&mut self, at: [usize; 3]) -> Result<Option<&[f32]>> {
        if !self.cache.contains_key(&at) {
            let values = self.decode(at)?;
            self.cache.insert(at, values);
        }
        Ok(self.cache.get(&at).and_then(Option::as_deref))
    }

    fn decode(&self, at: [usize; 3]) -> Result<Option<Vec<f32>>> {
        let leading = self.meta.shape.len() - 3;
        let names: Vec<String> =
            std::iter::repeat_n(0, leading).chain(at).map(|index| index.to_string()).collect();
        let separator = self.meta.dimension_separator.as_deref().unwrap_or(".");
        let path = self.array.join(names.join(separator));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(refused(&path, "open")(error)),
        };
        let expected = self.extents[1].iter().product::<usize>() * self.kind.bytes;
        let source: Box<dyn Read> =
            match self.meta.compressor.as_ref().map(|compressor| compressor.id.as_str()) {
                Some("zlib") => Box::new(flate2::read::ZlibDecoder::new(file)),
                Some(_) => Box::new(flate2::read::MultiGzDecoder::new(file)),
                None => Box::new(file),
            };
        let mut bytes = Vec::new();
        source.take(expected as u64 + 1).read_to_end(&mut bytes).map_err(refused(&path, "read"))?;
        if bytes.len() != expected {
            let found = if bytes.len() > expected { "more".to_owned() } else { bytes.len().to_string() };
            return Err(content(&path, "the bytes of the chunk", found, expected));
        }
        Ok(Some(bytes.chunks_exact(self.kind.bytes).map(|bytes| self.kind.decode(bytes)).collect()))
    }
}

/// Bytes of the files of a folder, and of the folders in it.
fn stored(folder: &Path) -> Result<u64> {
    let failed = refused(folder, "read the folder");
    let mut sum = 0_u64;
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        let what = entry.metadata().map_err(&failed)?;
        sum = sum.saturating_add(if what.is_dir() { stored(&entry.path())? } else { what.len() });
    }
    Ok(sum)
}

impl Meta {
    /// What stands where there is no chunk; nothing in particular is taken for 0.
    fn fill(&self, file: &Path) -> Result<f32> {
        match &self.fill_value {
            Value::Null => Ok(0.0),
            Value::String(text) if matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity") => Ok(f32::NAN),
            value => value
                .as_f64()
                .map(|fill| fill as f32)
                .ok_or_else(|| content(file, "fill_value", value, "a number or null")),
        }
    }

    /// What is read here, of what could be.
    fn check(&self, file: &Path) -> Result<(Type, [[usize; 3]; 2])> {
        let wrong = |field: &str, found: String, expected: &str| Err(content(file, field, found, expected));
        if self.zarr_format != 2 {
            return wrong("zarr_format", self.zarr_format.to_string(), "2");
        }
        let Some(kind) = Type::parse(&self.dtype) else {
            return wrong("dtype", self.dtype.clone(), "numbers of 8 to 32 bits or 64-bit floats, as <f4");
        };
        let axes = self.shape.len();
        let leading = axes.saturating_sub(3);
        if axes < 3 || self.chunks.len() != axes || self.shape[..leading].iter().any(|extent| *extent != 1) {
            let found = format!("{:?} in chunks of {:?}", self.shape, self.chunks);
            return wrong("shape", found, "three axes, and no more than one entry along others");
        }
        let last = |all: &[usize]| -> [usize; 3] { std::array::from_fn(|axis| all[leading + axis]) };
        let (shape, chunks) = (last(&self.shape), last(&self.chunks));
        let values = chunks.iter().try_fold(1_usize, |product, extent| product.checked_mul(*extent));
        if shape.contains(&0) || !values.is_some_and(|values| (1..=MAX_CHUNK).contains(&values)) {
            return wrong("chunks", format!("{:?}", self.chunks), "of at least one value and below 1 GiB");
        }
        if let Some(compressor) = &self.compressor
            && !matches!(compressor.id.as_str(), "zlib" | "gzip")
        {
            return wrong("compressor", compressor.id.clone(), "zlib, gzip or null");
        }
        if self.order != "C" || self.filters.as_ref().is_some_and(|filters| !filters.is_empty()) {
            return wrong("order or filters", self.order.clone(), "C, without filters");
        }
        if !matches!(self.dimension_separator.as_deref(), None | Some("." | "/")) {
            return wrong(
                "dimension_separator",
                format!("{:?}", self.dimension_separator),
                "a dot or a slash",
            );
        }
        Ok((kind, [shape, chunks]))
    }
}

/// A place within a folder, and nowhere else.
fn inside(folder: &Path, inner: &str) -> Result<PathBuf> {
    if Path::new(inner).components().all(|component| matches!(component, Component::Normal(_))) {
        return Ok(folder.join(inner));
    }
    Err(content(folder, "the path of the first scale", inner, "a folder within this one"))
}

/// The side of a pixel in Angstrom: the scale along x, if its unit is known.
fn pixel_of(scales: &Value, scale: &Value) -> Option<f64> {
    let unit = scales["axes"].as_array()?.last()?["unit"].as_str()?;
    let angstrom = match unit {
        "angstrom" => 1.0,
        "nanometer" => 10.0,
        "micrometer" => 1e4,
        _ => return None,
    };
    let transforms = scale["coordinateTransformations"].as_array()?;
    let scale = transforms.iter().find_map(|transform| transform["scale"].as_array()?.last()?.as_f64())?;
    (scale.is_finite() && scale > 0.0).then_some(scale * angstrom)
}

impl Sections for Reader {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> [usize; 3] {
        let [sections, lines, columns] = self.extents[0];
        [columns, lines, sections]
    }

    fn lines(&mut self, section: usize, lines: Range<usize>, values: &mut [f32]) -> Result<()> {
        let [[.., columns], [deep, high, wide]] = self.extents;
        let rows = lines.start / high..lines.end.div_ceil(high);
        self.cache.retain(|[layer, row, _], _| *layer == section / deep && rows.contains(row));
        for (line, values) in lines.zip(values.chunks_exact_mut(columns)) {
            for (chunk, values) in values.chunks_mut(wide).enumerate() {
                let from = ((section % deep) * high + line % high) * wide;
                let fill = self.fill;
                match self.chunk([section / deep, line / high, chunk])? {
                    Some(found) => values.copy_from_slice(&found[from..from + values.len()]),
                    None => values.fill(fill),
                }
            }
        }
        Ok(())
    }

    fn pixel_angstrom(&self) -> Result<f64> {
        self.pixel_angstrom.ok_or_else(|| {
            content(&self.path, "the pixel size", "not in the file", "given by hand, in Angstrom")
        })
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    /// A layer of chunks as deep as they are, of whole chunks; and a chunk as it is stored and as it is decoded.
    fn held_bytes(&self) -> [u64; 2] {
        let [[.., columns], [deep, high, wide]] = self.extents;
        let each_line = 4 * (deep * columns.next_multiple_of(wide)) as u64;
        let chunk = (self.extents[1].iter().product::<usize>() * (self.kind.bytes + 4)) as u64;
        // The first and the last line lie somewhere in a chunk.
        [each_line, 2 * high as u64 * each_line + chunk]
    }

    fn identity(&self) -> String {
        format!("{:?} {:?} {:?}", self.meta, self.pixel_angstrom, self.labels)
    }
}

/// Writes sections as a folder of scales, whole or not at all.
pub(super) fn write_sections(
    path: &Path,
    shape: Shape,
    output: &Output,
    fill: &mut dyn FnMut(usize, &mut [f32]) -> Result<()>,
) -> Result<()> {
    output.check()?;
    check_writable(path)?;
    let folder = partial::Folder::beside(path)?;
    let mut scales = Scale::all(folder.path(), shape, output)?;
    let mut values = vec![0.0; shape.rows * shape.columns];
    for section in 0..shape.planes {
        fill(section, &mut values)?;
        push(&mut scales, &values)?;
    }
    finish(&mut scales)?;
    let text = |name: &str, value: &Value| put(&folder.path().join(name), format!("{value:#}").as_bytes());
    text(".zgroup", &json!({"zarr_format": 2}))?;
    text(".zattrs", &attributes(scales.len(), output))?;
    folder.rename(path)
}

/// Writes a file, and waits until it is on disk.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(refused(path, "write"))
}

/// How many sections of the largest scale are in memory while so many are written: those of a layer of chunks, at all scales
/// a third more, and what becomes a smaller one.
pub(super) fn sections_held(planes: usize) -> usize {
    2 * planes.min(CHUNK) + 4
}

/// What napari needs to know of the scales.
fn attributes(scales: usize, output: &Output) -> Value {
    let is_volume = output.content == Content::Volume;
    let space = |name: &str| json!({"name": name, "type": "space", "unit": "angstrom"});
    let axes = match (output.content, output.order) {
        (Content::Images, _) => vec![json!({"name": "t", "type": "time"}), space("y"), space("x")],
        (Content::Volume, Order::Planes) => ["z", "y", "x"].map(space).to_vec(),
        (Content::Volume, Order::Rows) => ["y", "z", "x"].map(space).to_vec(),
    };
    let dataset = |scale: usize| {
        let times = (1_u64 << scale) as f64;
        let (side, shift) = (output.pixel_angstrom * times, output.pixel_angstrom * (times - 1.0) / 2.0);
        let first = |of_space: f64, of_time: f64| if is_volume { of_space } else { of_time };
        json!({"path": scale.to_string(), "coordinateTransformations": [
            {"type": "scale", "scale": [first(side, 1.0), side, side]},
            {"type": "translation", "translation": [first(shift, 0.0), shift, shift]},
        ]})
    };
    json!({
        "multiscales": [{
            "version": "0.4", "name": "tomogram", "type": "mean", "axes": axes,
            "datasets": (0..scales).map(dataset).collect::<Vec<_>>(),
        }],
        "parthood": {"labels": output.labels},
    })
}

/// A scale that is being written, section by section.
struct Scale {
    folder: PathBuf,
    /// Sections, lines and columns, of the array and of a chunk.
    extents: [[usize; 3]; 2],
    /// Sections of a layer of chunks, and how many are there.
    layer: Vec<f32>,
    filled: usize,
    layers: usize,
    /// Sections that a section of the next scale is the mean of, and the first of two.
    factor: usize,
    waiting: Option<Vec<f32>>,
}

impl Scale {
    /// The scales of an array, with what describes each already written.
    fn all(folder: &Path, shape: Shape, output: &Output) -> Result<Vec<Self>> {
        let factor = if output.content == Content::Volume { 2 } else { 1 };
        let (mut scales, mut extents) = (Vec::new(), [shape.planes, shape.rows, shape.columns]);
        loop {
            let chunk = extents.map(|extent| extent.min(CHUNK));
            let folder = folder.join(scales.len().to_string());
            fs::create_dir(&folder).map_err(refused(&folder, "create the folder"))?;
            let meta = json!({
                "zarr_format": 2, "shape": extents, "chunks": chunk, "dtype": "<f4", "compressor": null,
                "fill_value": 0.0, "order": "C", "filters": null, "dimension_separator": "/",
            });
            put(&folder.join(".zarray"), format!("{meta:#}").as_bytes())?;
            let layer = vec![0.0; chunk[0] * extents[1] * extents[2]];
            scales.push(Self {
                folder,
                extents: [extents, chunk],
                layer,
                filled: 0,
                layers: 0,
                factor,
                waiting: None,
            });
            if extents[1].max(extents[2]) <= SMALLEST {
                return Ok(scales);
            }
            extents = [extents[0].div_ceil(factor), extents[1].div_ceil(2), extents[2].div_ceil(2)];
        }
    }

    /// Writes the chunks of the layer.
    fn flush(&mut self) -> Result<()> {
        let [[_, lines, columns], [deep, high, wide]] = self.extents;
        for (row, first) in (0..lines).step_by(high).enumerate() {
            let folder = self.folder.join(self.layers.to_string()).join(row.to_string());
            fs::create_dir_all(&folder).map_err(refused(&folder, "create the folder"))?;
            for (column, left) in (0..columns).step_by(wide).enumerate() {
                let mut bytes = Vec::with_capacity(4 * deep * high * wide);
                for (section, line) in
                    (0..deep).flat_map(|z| (first..first + high).map(move |line| (z, line)))
                {
                    let is_there = section < self.filled && line < lines;
                    let row = &self.layer[(section * lines + line.min(lines - 1)) * columns..][..columns];
                    let value = |at: usize| if is_there { row.get(at).copied().unwrap_or(0.0) } else { 0.0 };
                    bytes.extend((left..left + wide).flat_map(|at| value(at).to_le_bytes()));
                }
                put(&folder.join(column.to_string()), &bytes)?;
            }
        }
        (self.layers, self.filled) = (self.layers + 1, 0);
        Ok(())
    }
}

/// Adds a section to the first of some scales, and what becomes whole by it to those after.
fn push(scales: &mut [Scale], values: &[f32]) -> Result<()> {
    let Some((scale, smaller)) = scales.split_first_mut() else { return Ok(()) };
    scale.layer[scale.filled * values.len()..][..values.len()].copy_from_slice(values);
    scale.filled += 1;
    if scale.filled == scale.extents[1][0] {
        scale.flush()?;
    }
    if smaller.is_empty() {
        return Ok(());
    }
    let [_, lines, columns] = scale.extents[0];
    if scale.factor == 1 {
        return push(smaller, &halved(&[values], lines, columns));
    }
    if let Some(first) = scale.waiting.take() {
        return push(smaller, &halved(&[&first, values], lines, columns));
    }
    scale.waiting = Some(values.to_vec());
    Ok(())
}

/// Writes what is left of each scale: a last section without a second, and a last layer that is not full.
fn finish(scales: &mut [Scale]) -> Result<()> {
    let Some((scale, smaller)) = scales.split_first_mut() else { return Ok(()) };
    if let Some(last) = scale.waiting.take() {
        let [_, lines, columns] = scale.extents[0];
        push(smaller, &halved(&[&last], lines, columns))?;
    }
    if scale.filled > 0 {
        scale.flush()?;
    }
    finish(smaller)
}

/// Sections of one place at half the extents: means of what each value covers.
fn halved(sections: &[&[f32]], lines: usize, columns: usize) -> Vec<f32> {
    let mean = |line: usize, column: usize| {
        let (mut sum, mut count) = (0.0_f64, 0.0);
        for section in sections {
            for line in 2 * line..(2 * line + 2).min(lines) {
                for column in 2 * column..(2 * column + 2).min(columns) {
                    (sum, count) = (sum + f64::from(section[line * columns + column]), count + 1.0);
                }
            }
        }
        (sum / count) as f32
    };
    let (lines, columns) = (lines.div_ceil(2), columns.div_ceil(2));
    (0..lines)
        .flat_map(|line| (0..columns).map(move |column| (line, column)))
        .map(|(line, column)| mean(line, column))
        .collect()
}
