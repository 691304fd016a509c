//! Files of volumes and tilt series: a header is an error or the truth about the bytes that follow.

use parthood::tomography::io::mrc::{Content, Output};
use parthood::tomography::io::{Sections, mrc, npy, tiff, write};
use parthood::tomography::{Result, Shape, Stack};
use std::io::Cursor;
use std::path::Path;

/// No more pixels of a section are decoded here.
const PIXELS_MAX: usize = 1 << 22;
const NAMES: [&str; 3] = ["volume.mrc", "volume.npy", "volume.tif"];

/// Takes the input for a format, by the first byte, and a file of it.
pub fn run(data: &[u8]) {
    let Some((format, bytes)) = data.split_first() else { return };
    let (name, source) = (Path::new("volume"), Cursor::new(bytes));
    let opened: Result<Box<dyn Sections + '_>> = match format % 3 {
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
        assert!(read.is_ok() || format % 3 == 2, "sizes were compared with the length: {read:?}");
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
    (0..).zip(NAMES).map(seed).collect()
}
