//! A stack in a file: its slabs as they lie in memory, one after the other, so that rows are read and written in place.

use crate::io::{content, refused};
use crate::{LANES, Lanes, Result, Shape, Slab, Stack};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Lanes that go through a buffer at a time.
const BUFFER: usize = 1 << 12;

/// A stack in a file.
#[derive(Debug)]
pub(super) struct Spilled {
    path: PathBuf,
    file: File,
    shape: Shape,
}

impl Spilled {
    /// A stack of zeros in a new file, or in place of the one of this name. Room on disk is taken as it is written.
    pub(super) fn create(path: &Path, shape: Shape) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(path);
        let spilled = Self { path: path.to_owned(), file: file.map_err(refused(path, "create"))?, shape };
        spilled.file.set_len(spilled.bytes()).map_err(refused(path, "create"))?;
        Ok(spilled)
    }

    /// The stack of a file that is there.
    pub(super) fn open(path: &Path, shape: Shape) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(refused(path, "open"))?;
        let length = file.metadata().map_err(refused(path, "read"))?.len();
        let spilled = Self { path: path.to_owned(), file, shape };
        if length != spilled.bytes() {
            let expected = format!("{}: it is damaged; begin anew", spilled.bytes());
            return Err(content(path, "the length of the file", length, expected));
        }
        Ok(spilled)
    }

    pub(super) const fn shape(&self) -> Shape {
        self.shape
    }

    fn slab_bytes(&self) -> u64 {
        (self.shape.planes * self.shape.columns * size_of::<Lanes>()) as u64
    }

    fn bytes(&self) -> u64 {
        self.shape.rows.div_ceil(LANES) as u64 * self.slab_bytes()
    }

    /// Some rows. Whole slabs around them are read.
    pub(super) fn rows(&self, rows: Range<usize>) -> Result<Stack> {
        let first = rows.start / LANES;
        let end = (rows.end.div_ceil(LANES) * LANES).min(self.shape.rows);
        let mut stack = Stack::zeros(self.shape.with_rows(end - first * LANES));
        self.seek(first as u64 * self.slab_bytes())?;
        let mut bytes = vec![0; BUFFER * size_of::<Lanes>()];
        for lanes in stack.slabs_mut().iter_mut().flat_map(|slab| slab.data.chunks_mut(BUFFER)) {
            let bytes = &mut bytes[..size_of_val(lanes)];
            (&self.file).read_exact(bytes).map_err(refused(&self.path, "read"))?;
            Lanes::read(lanes, bytes);
        }
        if rows == (first * LANES..end) {
            return Ok(stack);
        }
        stack.rows(rows.start - first * LANES..rows.end - first * LANES)
    }

    /// Overwrites rows from the first of a slab on, to the end of a slab or of the stack.
    pub(super) fn set_rows(&self, first: usize, part: &Stack) -> Result<()> {
        self.seek((first / LANES) as u64 * self.slab_bytes())?;
        let mut bytes = Vec::new();
        for lanes in part.slabs().iter().flat_map(|slab: &Slab| slab.data.chunks(BUFFER)) {
            bytes.clear();
            Lanes::write(lanes, &mut bytes);
            (&self.file).write_all(&bytes).map_err(refused(&self.path, "write"))?;
        }
        Ok(())
    }

    /// One plane, row by row.
    pub(super) fn plane(&self, plane: usize, values: &mut [f32]) -> Result<()> {
        let Shape { rows, columns, .. } = self.shape;
        let mut bytes = vec![0; columns * size_of::<Lanes>()];
        let mut lanes = vec![Lanes::ZERO; columns];
        for (slab, values) in values.chunks_mut(LANES * columns).enumerate() {
            self.seek(slab as u64 * self.slab_bytes() + (plane * bytes.len()) as u64)?;
            (&self.file).read_exact(&mut bytes).map_err(refused(&self.path, "read"))?;
            Lanes::read(&mut lanes, &bytes);
            for (lane, row) in values.chunks_exact_mut(columns).enumerate() {
                row.iter_mut().zip(&lanes).for_each(|(value, lanes)| *value = lanes.0[lane]);
            }
        }
        debug_assert_eq!(values.len(), rows * columns, "a plane of all rows");
        Ok(())
    }

    /// Waits until all of it is on disk.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(refused(&self.path, "write"))
    }

    fn seek(&self, to: u64) -> Result<()> {
        (&self.file).seek(SeekFrom::Start(to)).map(drop).map_err(refused(&self.path, "read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    #[test]
    fn rows_and_planes_of_a_file_are_those_of_the_stack() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stack");
        let whole = noise(Shape::new(3, 45, 7).unwrap(), 1);
        let spilled = Spilled::create(&path, whole.shape()).unwrap();
        assert_eq!(spilled.rows(3..20).unwrap(), Stack::zeros(whole.shape().with_rows(17)));
        for rows in [32..45, 0..16, 16..32] {
            spilled.set_rows(rows.start, &whole.rows(rows).unwrap()).unwrap();
        }
        spilled.sync().unwrap();
        let spilled = Spilled::open(&path, whole.shape()).unwrap();
        for rows in [0..45, 0..1, 15..17, 16..32, 31..45, 44..45] {
            assert_eq!(spilled.rows(rows.clone()).unwrap(), whole.rows(rows).unwrap());
        }
        let mut values = vec![0.0; 45 * 7];
        spilled.plane(2, &mut values).unwrap();
        assert!((0..45).all(|row| (0..7).all(|column| values[row * 7 + column] == whole.at(2, row, column))));
        let other = Shape::new(3, 50, 7).unwrap();
        assert!(Spilled::open(&path, other).unwrap_err().to_string().contains("begin anew"));
    }
}
