//! Files of volumes and tilt series: a header is an error or the truth about the bytes that follow. And what lies beside
//! them: angles, alignments, foci, notes and plans.

use parthood::tomography::io::mrc::{Content, Output};
use parthood::tomography::io::{Order, Sections, Source, angles, foci, mdoc, mrc, npy, tiff, write, xf};
use parthood::tomography::plan::Plan;
use parthood::tomography::{Result, Shape, Stack};
use std::io::Cursor;
use std::path::Path;
use tempfile::TempDir;

/// No more pixels of a section are decoded here.
const PIXELS_MAX: usize = 1 << 22;
const NAMES: [&str; 3] = ["volume.mrc", "volume.npy", "volume.tif"];
/// Between the description of an array of Zarr and a chunk of it.
const END: u8 = 0;

/// Takes the input for a format, by the first byte, and a file of it.
pub fn run(data: &[u8]) {
    let Some((format, bytes)) = data.split_first() else { return };
    match format % 8 {
        3 => zarr(bytes),
        number @ 4.. => text(number, bytes),
        number => sections(number, bytes),
    }
}

/// An array of Zarr, and a chunk that has each of the names that a first one can have.
fn zarr(bytes: &[u8]) {
    let cut = bytes.iter().position(|byte| *byte == END).unwrap_or(bytes.len());
    let (folder, path) = folder("volume.zarr");
    let put = |name: &str, bytes: &[u8]| {
        let path = path.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(&path)).expect("there is room for a folder");
        std::fs::write(path, bytes).expect("there is room for a file");
    };
    put(".zarray", &bytes[..cut]);
    let chunk = bytes.get(cut + 1..).unwrap_or_default();
    put("0.0.0", chunk);
    put("0/0/0", chunk);
    if let Ok(mut source) = Source::open(&path) {
        let shape = source.shape(Order::Planes);
        if shape.is_ok_and(|shape| shape.len() <= PIXELS_MAX) {
            let _ = source.read(Order::Planes);
        }
    }
    drop(folder);
}

/// A folder, and a path in it.
fn folder(name: &str) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path().join(name);
    (folder, path)
}

/// What lies beside a series: what is read is finite, and is read again as it was written.
fn text(format: u8, bytes: &[u8]) {
    let (folder, path) = folder("beside");
    std::fs::write(&path, bytes).expect("there is room for a file");
    match format {
        4 => {
            if let Ok(read) = angles::read(&path) {
                assert!(read.iter().all(|angle| angle.is_finite()));
                if angles::write(&path, &read).is_ok() {
                    assert!(angles::read(&path).is_ok());
                }
            }
        }
        5 => drop(xf::read(&path)),
        6 => drop(mdoc::read(&path)),
        _ => drop((foci::read(&path), Plan::from_json(&String::from_utf8_lossy(bytes)))),
    }
    drop(folder);
}

fn sections(format: u8, bytes: &[u8]) {
    let (name, source) = (Path::new("volume"), Cursor::new(bytes));
    let opened: Result<Box<dyn Sections + '_>> = match format {
        0 => mrc::Reader::new(source, name).map(|reader| Box::new(reader) as _),
        1 => npy::Reader::new(source, name).map(|reader| Box::new(reader) as _),
        _ => tiff::Reader::new(source, name).map(|reader| Box::new(reader) as _),
    };
    let Ok(mut sections) = opened else { return };
    let [columns, lines, count] = sections.size();
    assert!(columns > 0 && lines > 0 && count > 0);
    let _ = (sections.pixel_angstrom(), sections.angles(), sections.identity());
    if columns * lines > PIXELS_MAX {
        return;
    }
    let mut values = vec![0.0; columns * lines];
    for section in [0, count - 1] {
        let read = sections.lines(section, 0..lines, &mut values);
        assert!(read.is_ok() || format == 2, "sizes were compared with the length: {read:?}");
    }
}

/// A small file of each format.
pub fn seeds() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let shape = Shape::new(3, 4, 5).expect("it is small");
    let stack = Stack::from_fn(shape, |plane, row, column| (plane * 20 + row * 5 + column) as f32);
    let seed = |(format, name): (u8, &str)| {
        let path = folder.path().join(name);
        write(&path, &stack, &Output::new(Content::Volume, 2.0)).expect("there is room for a file");
        let bytes = std::fs::read(&path).expect("it was just written");
        [&[format], &bytes[..]].concat()
    };
    let mut seeds: Vec<Vec<u8>> = (0..).zip(NAMES).map(seed).collect();
    let zarr = "{\"zarr_format\": 2, \"shape\": [2, 3, 4], \"chunks\": [2, 3, 4], \"dtype\": \"<i2\", \"fill_value\": 1, \
                \"order\": \"C\", \"filters\": null, \"compressor\": null, \"dimension_separator\": \"/\"}";
    seeds.push([&[3], zarr.as_bytes(), &[END], &[7; 48]].concat());
    for (format, text) in (4..).zip([
        "-60.0\n  0\n59.5\n",
        "1.0 0.0 0.0 1.0 2.5 -3.25\n0.9 -0.1 0.1 0.9 0 0\n",
        "PixelSpacing = 2.5\n\n[ZValue = 0]\nTiltAngle = -60.01\nTargetDefocus = -3\n",
        "3000 6000\n3100 6100\n",
        "{\"format\": 2, \"version\": \"0.1.0\", \"blocks\": []}",
    ]) {
        seeds.push([&[format.min(7)], text.as_bytes()].concat());
    }
    seeds
}
