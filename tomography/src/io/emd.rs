//! HDF5: EMD as tomviz writes it, Data Exchange, and any array of three axes whose name is given (feature `hdf5`).
//!
//! ```text
//! /data/tomography            a group with the attribute emd_group_type
//!     data                    [angle][y][x] of a tilt series, [x][y][z] of a volume
//!     dim1, dim2, dim3        places along each axis, with attributes name and units: degrees, nanometres
//! /exchange/data, theta       Data Exchange: [angle][y][x], degrees
//! ```
//!
//! Which of several arrays is meant is told behind the name of the file: `series.h5:/exchange/data`. Axes called x, y and z
//! are found in any order; others are sections, lines and columns as they lie.
//!
//! The library of the HDF Group reads and writes, through its maintained binding. What it is told of extents is compared with
//! what is stored before memory is taken; beyond that a damaged file is in its hands, which are not ours. It is a feature since
//! it must be installed.

use super::mrc::{Content, Output};
use super::source::{Order, Sections, split};
use super::{check_claim, content, partial, refused};
use crate::{Error, Result, Shape};
use hdf5::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode};
use hdf5::{Dataset, Group, Location};
use ndarray::{Array3, Ix3, s};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Values along each side of a chunk.
const CHUNK: usize = 64;
/// How deep arrays are looked for, and how many groups at most.
const MAX_DEPTH: usize = 4;
const MAX_GROUPS: usize = 256;
/// Bytes that the library keeps of the chunks of an array.
const CACHE: u64 = 1 << 20;

/// Some lines of some sections, as `[section][line][column]`.
#[derive(Debug)]
struct Layer {
    sections: Range<usize>,
    lines: Range<usize>,
    values: Array3<f32>,
}

/// An open array of three axes.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    name: String,
    dataset: Dataset,
    kind: String,
    /// Extents as they are stored.
    extents: [usize; 3],
    /// Which of them sections, lines and columns follow.
    axes: [usize; 3],
    /// Sections that are read at a time.
    depth: usize,
    chunk_bytes: u64,
    pixel_angstrom: Option<f64>,
    angles: Option<Vec<f64>>,
    labels: Vec<String>,
    layer: Option<Layer>,
}

/// What the library says, on one line.
fn failed<'a>(path: &'a Path, doing: &'static str) -> impl Fn(hdf5::Error) -> Error + 'a {
    move |error| {
        let why = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Error::File { path: path.to_owned(), doing, why }
    }
}

impl Reader {
    /// Opens a file, and the array in it that the name tells, or the only one that can be meant.
    ///
    /// # Errors
    /// [`Error::File`] if the system or the library refuses, [`Error::Content`] for what is no array that is read here.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (file, wanted) = split(path);
        // The system's own words are clearer than the library's.
        File::open(file).map_err(refused(file, "open"))?;
        let root = hdf5::File::open(file).map_err(failed(file, "read as HDF5"))?;
        let name = wanted.map_or_else(|| only(file, &root), |name| Ok(name.to_owned()))?;
        let dataset = root.dataset(&name).map_err(failed(path, "read this dataset"))?;
        let (bytes, kind) = number_type(path, &name, &dataset)?;
        let shape = dataset.shape();
        let Ok(extents) = <[usize; 3]>::try_from(shape.clone()) else {
            return Err(content(path, format!("the shape of {name}"), format!("{shape:?}"), "of three axes"));
        };
        if extents.contains(&0) {
            return Err(content(path, format!("the shape of {name}"), format!("{shape:?}"), "without a 0"));
        }
        check_claim(path, extents, bytes, dataset.storage_size())?;
        let (folder, _) = name.rsplit_once('/').unwrap_or_default();
        let dims = Dim::all(&root, folder, extents);
        let axes = axes(&dims);
        let chunk = dataset.chunk().and_then(|chunk| <[usize; 3]>::try_from(chunk).ok());
        let chunk_bytes =
            chunk.map_or(0, |chunk| chunk.iter().map(|side| *side as u64).product::<u64>() * bytes as u64);
        let depth = chunk.map_or(if axes[0] == 0 { 1 } else { CHUNK }, |chunk| chunk[axes[0]]);
        let angles = dims[axes[0]].degrees().or_else(|| theta(&root, folder, extents[axes[0]]));
        Ok(Self {
            pixel_angstrom: dims[axes[1]].spacing_angstrom(),
            labels: labels(&root),
            depth: depth.clamp(1, extents[axes[0]]),
            path: path.to_owned(),
            layer: None,
            name,
            dataset,
            kind,
            extents,
            axes,
            chunk_bytes,
            angles,
        })
    }

    fn read(&self, sections: &Range<usize>, lines: &Range<usize>) -> Result<Array3<f32>> {
        let mut ranges = [0..0, 0..0, 0..0];
        ranges[self.axes[0]] = sections.clone();
        ranges[self.axes[1]] = lines.clone();
        ranges[self.axes[2]] = 0..self.extents[self.axes[2]];
        let [first, second, third] = ranges;
        let values = self.dataset.read_slice::<f32, _, Ix3>(s![first, second, third]);
        Ok(values.map_err(failed(&self.path, "read its values"))?.permuted_axes(self.axes))
    }
}

/// Bytes of a number of an array, and their kind.
fn number_type(path: &Path, name: &str, dataset: &Dataset) -> Result<(usize, String)> {
    let kind = dataset.dtype().and_then(|kind| Ok((kind.size(), kind.to_descriptor()?)));
    match kind {
        Ok((
            bytes,
            kind @ (TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) | TypeDescriptor::Float(_)),
        )) => Ok((bytes, kind.to_string())),
        found => {
            let found = found.map_or_else(|error| error.to_string(), |(_, kind)| kind.to_string());
            Err(content(path, format!("the type of {name}"), found, "integers or floats of 32 or 64 bits"))
        }
    }
}

/// The array that must be meant: that of the only EMD group, of Data Exchange, or the only one of three axes.
fn only(path: &Path, root: &Group) -> Result<String> {
    let (mut emd, mut all, mut groups) = (Vec::new(), Vec::new(), vec![(root.clone(), 0)]);
    let mut at = 0;
    while let Some((group, depth)) = groups.get(at).cloned() {
        at += 1;
        let arrays = group.datasets().map_err(failed(path, "list its datasets"))?;
        for array in arrays.iter().filter(|array| array.ndim() == 3) {
            if group.attr("emd_group_type").is_ok() && array.name().ends_with("/data") {
                emd.push(array.name());
            }
            all.push(array.name());
        }
        if depth < MAX_DEPTH {
            let inner = group.groups().map_err(failed(path, "list its groups"))?;
            groups.extend(inner.into_iter().map(|group| (group, depth + 1)));
            groups.truncate(MAX_GROUPS);
        }
    }
    let exchange = all.iter().find(|name| *name == "/exchange/data").cloned();
    match (&emd[..], exchange, &all[..]) {
        ([one], ..) | ([], None, [one]) => Ok(one.clone()),
        ([], Some(exchange), _) => Ok(exchange),
        ([], None, []) => Err(content(path, "the number of arrays of three axes", 0, "at least 1")),
        _ => {
            let names = if emd.is_empty() { all } else { emd };
            let expected =
                format!("one: write {}:{} for the first of {}", path.display(), names[0], names.join(", "));
            Err(content(path, "the number of arrays that can be meant", names.len(), expected))
        }
    }
}

/// What a file says of an axis.
#[derive(Debug, Default)]
struct Dim {
    name: String,
    unit: String,
    places: Vec<f64>,
}

impl Dim {
    fn all(root: &Group, folder: &str, extents: [usize; 3]) -> [Self; 3] {
        std::array::from_fn(|axis| {
            let Ok(dataset) = root.dataset(&format!("{folder}/dim{}", axis + 1)) else {
                return Self::default();
            };
            let name = text(&dataset, "name").unwrap_or_default().to_lowercase();
            let unit = text(&dataset, "units").unwrap_or_default();
            let unit = unit.chars().filter(|letter| !"[]_ ".contains(*letter)).collect();
            // More or fewer places than values belong to something else.
            let is_of_axis = dataset.shape() == [extents[axis]];
            let places = is_of_axis.then(|| dataset.read_raw::<f64>().ok()).flatten().unwrap_or_default();
            Self { name, unit, places }
        })
    }

    /// The distance of its places, if its unit is a length.
    fn spacing_angstrom(&self) -> Option<f64> {
        let angstrom = match self.unit.as_str() {
            "A" | "\u{c5}" | "\u{212b}" | "angstrom" | "Angstrom" => 1.0,
            "pm" => 0.01,
            "nm" | "nanometer" => 10.0,
            "um" | "\u{b5}m" | "\u{3bc}m" | "micrometer" => 1e4,
            _ => return None,
        };
        let [first, .., last] = self.places[..] else { return None };
        let spacing = angstrom * (last - first) / (self.places.len() - 1) as f64;
        (spacing.is_finite() && spacing > 0.0).then_some(spacing)
    }

    /// Its places, if its unit is an angle's.
    fn degrees(&self) -> Option<Vec<f64>> {
        let degrees = match self.unit.as_str() {
            "deg" | "degree" | "degrees" | "\u{b0}" => 1.0,
            "rad" | "radian" | "radians" => 1.0_f64.to_degrees(),
            _ => return None,
        };
        let is_known = !self.places.is_empty() && self.places.iter().all(|place| place.is_finite());
        is_known.then(|| self.places.iter().map(|place| degrees * place).collect())
    }
}

/// Where sections, lines and columns are: z, y and x by their names, else as they lie.
fn axes(dims: &[Dim; 3]) -> [usize; 3] {
    let place = |name: &str| dims.iter().position(|dim| dim.name == name);
    match ["z", "y", "x"].map(place) {
        [Some(z), Some(y), Some(x)] => [z, y, x],
        _ => [0, 1, 2],
    }
}

/// The angles of Data Exchange.
fn theta(root: &Group, folder: &str, images: usize) -> Option<Vec<f64>> {
    let dataset = root.dataset(&format!("{folder}/theta")).ok()?;
    let angles = if dataset.shape() == [images] { dataset.read_raw::<f64>().ok()? } else { return None };
    angles.iter().all(|angle| angle.is_finite()).then_some(angles)
}

/// An attribute that is text, in any of the ways in which files have it.
fn text(location: &Location, name: &str) -> Option<String> {
    let attribute = location.attr(name).ok()?;
    let fixed = || {
        let ascii = attribute.read_scalar::<FixedAscii<256>>().map(|text| text.as_str().to_owned());
        ascii.or_else(|_| attribute.read_scalar::<FixedUnicode<256>>().map(|text| text.as_str().to_owned()))
    };
    let ascii = || attribute.read_scalar::<VarLenAscii>().map(|text| text.as_str().to_owned());
    let unicode = attribute.read_scalar::<VarLenUnicode>().map(|text| text.as_str().to_owned());
    unicode.or_else(|_| ascii()).or_else(|_| fixed()).ok()
}

/// Where the data come from, as far as this program wrote it.
fn labels(root: &Group) -> Vec<String> {
    let labels = root.attr("parthood_labels").and_then(|labels| labels.read_raw::<VarLenUnicode>());
    labels
        .map_or_else(|_| Vec::new(), |labels| labels.iter().map(|label| label.as_str().to_owned()).collect())
}

impl Sections for Reader {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size(&self) -> [usize; 3] {
        let [sections, lines, columns] = self.axes.map(|axis| self.extents[axis]);
        [columns, lines, sections]
    }

    fn lines(&mut self, section: usize, lines: Range<usize>, values: &mut [f32]) -> Result<()> {
        let first = section / self.depth * self.depth;
        let sections = first..(first + self.depth).min(self.extents[self.axes[0]]);
        let layer = match self.layer.take() {
            Some(layer) if layer.sections == sections && layer.lines == lines => layer,
            _ => Layer { values: self.read(&sections, &lines)?, sections, lines },
        };
        let plane = layer.values.index_axis(ndarray::Axis(0), section - first);
        for (value, found) in values.iter_mut().zip(plane.iter()) {
            *value = *found;
        }
        self.layer = Some(layer);
        Ok(())
    }

    fn pixel_angstrom(&self) -> Result<f64> {
        let expected = "given by hand, in Angstrom";
        self.pixel_angstrom.ok_or_else(|| content(&self.path, "the pixel size", "not in the file", expected))
    }

    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn angles(&self) -> Result<Option<Vec<f64>>> {
        Ok(self.angles.clone())
    }

    /// A layer of sections, once as it is and once as the next one is read; and what the library keeps.
    fn held_bytes(&self) -> [u64; 2] {
        [8 * (self.depth * self.extents[self.axes[2]]) as u64, CACHE + self.chunk_bytes]
    }

    fn identity(&self) -> String {
        let Self { name, kind, extents, axes, pixel_angstrom, angles, labels, .. } = self;
        format!("{name} {kind} {extents:?} {axes:?} {pixel_angstrom:?} {angles:?} {labels:?}")
    }
}

/// How many sections are in memory while so many are written.
pub(super) fn sections_held(planes: usize) -> usize {
    planes.min(CHUNK) + 2
}

/// Writes sections as EMD, whole or not at all.
pub(super) fn write_sections(
    path: &Path,
    shape: Shape,
    output: &Output,
    fill: &mut dyn FnMut(usize, &mut [f32]) -> Result<()>,
) -> Result<()> {
    output.check()?;
    if output.order == Order::Rows {
        let expected = "that of planes: the axes of EMD have names";
        return Err(Error::parameter("order of sections", "IMOD's", expected));
    }
    if output.angles_deg.as_ref().is_some_and(|angles| angles.len() != shape.planes) {
        return Err(Error::parameter("number of angles", shape.planes, "that of the images"));
    }
    // The library locks its files, and so do unfinished ones of ours: a folder stands between.
    let folder = partial::Folder::beside(path)?;
    let inner = folder.path().join(path.file_name().unwrap_or_default());
    write_file(&inner, shape, output, fill)?;
    File::open(&inner).and_then(|file| file.sync_all()).map_err(refused(path, "write"))?;
    folder.spread(path)
}

fn write_file(
    path: &Path,
    shape: Shape,
    output: &Output,
    fill: &mut dyn FnMut(usize, &mut [f32]) -> Result<()>,
) -> Result<()> {
    let failed = failed(path, "write");
    let is_volume = output.content == Content::Volume;
    let Shape { planes, rows, columns } = shape;
    let extents = if is_volume { [columns, rows, planes] } else { [planes, rows, columns] };
    let (dataset, file) = describe(path, extents, output).map_err(&failed)?;
    // A volume is stored by columns, so whole layers of chunks are turned and written at a time.
    let depth = if is_volume { CHUNK } else { 1 };
    let mut values = vec![0.0; rows * columns];
    for first in (0..planes).step_by(depth) {
        let sections = first..(first + depth).min(planes);
        let mut layer = Array3::zeros((columns, rows, sections.len()));
        for section in sections.clone() {
            fill(section, &mut values)?;
            for ((column, row, _), value) in
                layer.slice_mut(s![.., .., section - first..=section - first]).indexed_iter_mut()
            {
                *value = values[row * columns + column];
            }
        }
        let written = if is_volume {
            dataset.write_slice(&layer, s![.., .., sections])
        } else {
            let images = layer.permuted_axes([2, 1, 0]).as_standard_layout().into_owned();
            dataset.write_slice(&images, s![sections, .., ..])
        };
        written.map_err(&failed)?;
    }
    drop(dataset);
    file.close().map_err(&failed)
}

/// A new file with all but the values.
fn describe(path: &Path, extents: [usize; 3], output: &Output) -> hdf5::Result<(Dataset, hdf5::File)> {
    let file = hdf5::File::create(path)?;
    for (name, version) in [("version_major", 0_u32), ("version_minor", 2)] {
        file.new_attr::<u32>().create(name)?.write_scalar(&version)?;
    }
    let labels: Vec<VarLenUnicode> = output.labels.iter().filter_map(|label| label.parse().ok()).collect();
    if !labels.is_empty() {
        file.new_attr::<VarLenUnicode>().shape(labels.len()).create("parthood_labels")?.write_raw(&labels)?;
    }
    let group = file.create_group("data")?.create_group("tomography")?;
    group.new_attr::<u32>().create("emd_group_type")?.write_scalar(&1)?;
    let is_volume = output.content == Content::Volume;
    let mut chunk = extents.map(|extent| extent.min(CHUNK));
    if !is_volume {
        chunk[0] = 1;
    }
    let builder = group.new_dataset::<f32>().obj_track_times(false);
    let dataset = builder.chunk(chunk).shape(extents).create("data")?;
    note(&dataset, "name", if is_volume { "tomogram" } else { "tilt_series" })?;
    let along =
        |extent: usize| (0..extent).map(|at| (at as f64 * output.pixel_angstrom / 10.0) as f32).collect();
    let names = if is_volume { ["x", "y", "z"] } else { ["angles", "y", "x"] };
    for (axis, name) in names.into_iter().enumerate() {
        let (places, unit): (Vec<f32>, &str) = match (&output.angles_deg, name) {
            (Some(angles), "angles") => (angles.iter().map(|angle| *angle as f32).collect(), "[deg]"),
            (None, "angles") => ((0..extents[axis]).map(|image| image as f32).collect(), "[]"),
            _ => (along(extents[axis]), "[n_m]"),
        };
        let builder = group.new_dataset::<f32>().obj_track_times(false);
        let dim = builder.shape(places.len()).create(format!("dim{}", axis + 1).as_str())?;
        dim.write_raw(&places)?;
        note(&dim, "name", if unit == "[]" { "image" } else { name })?;
        note(&dim, "units", unit)?;
    }
    Ok((dataset, file))
}

/// Text as tomviz has it: of fixed length.
fn note(location: &Location, name: &str, text: &str) -> hdf5::Result<()> {
    let text = FixedAscii::<16>::from_ascii(text.as_bytes()).unwrap_or_default();
    location.new_attr::<FixedAscii<16>>().create(name)?.write_scalar(&text)
}
