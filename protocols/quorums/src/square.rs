//! A small dense matrix that gains and loses rows and columns.

use crate::number::Number;

/// Row by row, with room for more columns.
#[derive(Debug)]
pub(crate) struct Square<T> {
    entries: Vec<T>,
    rows: usize,
    columns: usize,
    /// From one row to the next.
    stride: usize,
}

impl<T: Number> Square<T> {
    /// No rows and no columns, with room for so many.
    pub(crate) fn with_room(size: usize) -> Self {
        Self { entries: Vec::with_capacity(size * size), rows: 0, columns: 0, stride: size.max(1) }
    }

    pub(crate) fn row(&self, at: usize) -> &[T] {
        &self.entries[at * self.stride..at * self.stride + self.columns]
    }

    pub(crate) fn row_mut(&mut self, at: usize) -> &mut [T] {
        &mut self.entries[at * self.stride..at * self.stride + self.columns]
    }

    /// Adds a row at the end.
    pub(crate) fn add_row(&mut self, row: &[T]) {
        self.rows += 1;
        self.entries.resize(self.rows * self.stride, T::zero());
        self.row_mut(self.rows - 1).clone_from_slice(row);
    }

    /// Adds a column of zeros at the end.
    pub(crate) fn add_column(&mut self) {
        if self.columns == self.stride {
            let stride = 2 * self.stride;
            let mut entries = vec![T::zero(); self.rows * stride];
            for (to, from) in entries.chunks_exact_mut(stride).zip(self.entries.chunks_exact(self.stride)) {
                to[..self.columns].clone_from_slice(from);
            }
            (self.entries, self.stride) = (entries, stride);
        }
        self.columns += 1;
        for row in 0..self.rows {
            self.entries[row * self.stride + self.columns - 1] = T::zero();
        }
    }

    /// Takes a row out; the last one takes its place.
    pub(crate) fn drop_row(&mut self, at: usize) {
        self.rows -= 1;
        for column in 0..self.columns {
            self.entries.swap(at * self.stride + column, self.rows * self.stride + column);
        }
        self.entries.truncate(self.rows * self.stride);
    }

    /// Takes a column out; the last one takes its place.
    pub(crate) fn drop_column(&mut self, at: usize) {
        self.columns -= 1;
        for row in 0..self.rows {
            self.entries.swap(row * self.stride + at, row * self.stride + self.columns);
        }
    }
}
