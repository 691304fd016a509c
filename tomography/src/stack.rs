//! Volumes and tilt series, held as slabs of sixteen rows.
//!
//! Everything linear in tomography acts on each y alone, by the same weights: the matrix is `1 (x) A`. So y is the
//! innermost axis, sixteen rows side by side in one cache line ([`Lanes`]), and a kernel computes one weight and uses
//! it sixteen times. A [`Slab`] is sixteen consecutive rows of all planes and columns, `[plane][column][16 lanes]`,
//! and a [`Stack`] is the slabs in the order of y. The last slab's unused lanes are 0 and take part in every kernel:
//! full and partial slabs run the same instructions, so where a row lies never changes its bits.
//!
//! The same type holds a volume (planes are z) and a tilt series (planes are images), since solvers do the same
//! arithmetic to both.

use crate::{Error, Result, Shape};
use ndarray::{Array3, ArrayView3};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a slab.
pub const LANES: usize = 16;

/// The values of sixteen consecutive rows at one plane and column: a cache line.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[repr(C, align(64))]
pub struct Lanes(pub [f32; LANES]);

impl Lanes {
    /// Sixteen zeros.
    pub const ZERO: Self = Self([0.0; LANES]);

    /// Appends the bytes of some lanes, each value least significant byte first.
    pub(crate) fn write(lanes: &[Self], bytes: &mut Vec<u8>) {
        bytes.reserve(size_of_val(lanes));
        bytes.extend(lanes.iter().flat_map(|lanes| &lanes.0).flat_map(|value| value.to_le_bytes()));
    }

    /// Takes lanes from as many bytes.
    pub(crate) fn read(lanes: &mut [Self], bytes: &[u8]) {
        let (values, _) = bytes.as_chunks::<4>();
        for (value, bytes) in lanes.iter_mut().flat_map(|lanes| &mut lanes.0).zip(values) {
            *value = f32::from_le_bytes(*bytes);
        }
    }
}

/// Sixteen consecutive rows of a stack, `[plane][column]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Slab {
    /// Number of columns of a plane.
    pub columns: usize,
    /// The values, plane by plane; `planes * columns` of them.
    pub data: Vec<Lanes>,
}

impl Slab {
    /// A slab of zeros.
    pub fn zeros(planes: usize, columns: usize) -> Self {
        Self { columns, data: vec![Lanes::ZERO; planes * columns] }
    }

    /// Number of planes.
    pub fn planes(&self) -> usize {
        self.data.len().checked_div(self.columns).unwrap_or(0)
    }

    /// One plane: a value of sixteen rows per column.
    pub fn plane(&self, plane: usize) -> &[Lanes] {
        &self.data[plane * self.columns..(plane + 1) * self.columns]
    }

    /// One plane, to write.
    pub fn plane_mut(&mut self, plane: usize) -> &mut [Lanes] {
        &mut self.data[plane * self.columns..(plane + 1) * self.columns]
    }
}

/// A volume or a tilt series.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    shape: Shape,
    slabs: Vec<Slab>,
}

/// A sample: planes are z, rows y, columns x; values in volt where they are potentials.
pub type Volume = Stack;
/// A tilt series: planes are images in the order of their tilts, rows y, columns x'.
pub type Projections = Stack;

impl Stack {
    /// A stack of zeros.
    pub fn zeros(shape: Shape) -> Self {
        let slabs = shape.rows.div_ceil(LANES);
        Self { shape, slabs: (0..slabs).map(|_| Slab::zeros(shape.planes, shape.columns)).collect() }
    }

    /// A stack from an array in MRC order, (z, y, x) or (image, y, x').
    ///
    /// # Errors
    /// [`Error::Parameter`] for an empty or too large array, [`Error::NotFinite`] for a value that is no number.
    pub fn from_array(array: &ArrayView3<'_, f32>) -> Result<Self> {
        let (planes, rows, columns) = array.dim();
        let mut stack = Self::zeros(Shape::new(planes, rows, columns)?);
        for ((plane, row, column), value) in array.indexed_iter() {
            if !value.is_finite() {
                return Err(Error::NotFinite { what: "array", plane, row, column, value: *value });
            }
            *stack.at_mut(plane, row, column) = *value;
        }
        Ok(stack)
    }

    /// The values as an array in MRC order, (z, y, x) or (image, y, x').
    pub fn to_array(&self) -> Array3<f32> {
        Array3::from_shape_fn(
            (self.shape.planes, self.shape.rows, self.shape.columns),
            |(plane, row, column)| self.at(plane, row, column),
        )
    }

    /// A stack from a function of (plane, row, column).
    pub fn from_fn(shape: Shape, mut value: impl FnMut(usize, usize, usize) -> f32) -> Self {
        let mut stack = Self::zeros(shape);
        for row in 0..shape.rows {
            for plane in 0..shape.planes {
                for column in 0..shape.columns {
                    *stack.at_mut(plane, row, column) = value(plane, row, column);
                }
            }
        }
        stack
    }

    /// The extent.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The slabs in the order of y.
    pub fn slabs(&self) -> &[Slab] {
        &self.slabs
    }

    /// The slabs, to write. Unused lanes of the last slab must stay 0.
    pub fn slabs_mut(&mut self) -> &mut [Slab] {
        &mut self.slabs
    }

    /// One value.
    pub fn at(&self, plane: usize, row: usize, column: usize) -> f32 {
        self.slabs[row / LANES].data[plane * self.shape.columns + column].0[row % LANES]
    }

    /// One value, to write.
    pub fn at_mut(&mut self, plane: usize, row: usize, column: usize) -> &mut f32 {
        &mut self.slabs[row / LANES].data[plane * self.shape.columns + column].0[row % LANES]
    }

    /// A copy of some rows, as a stack of its own.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the range is empty or reaches beyond the stack.
    pub fn rows(&self, rows: Range<usize>) -> Result<Self> {
        self.check_rows(&rows)?;
        let mut part = Self::zeros(self.shape.with_rows(rows.len()));
        part.copy_rows(0, self, rows);
        Ok(part)
    }

    /// Overwrites the rows from `first` on with those of a stack of the same planes and columns.
    ///
    /// # Errors
    /// [`Error::Shape`] if planes or columns differ or the rows do not fit.
    pub fn set_rows(&mut self, first: usize, part: &Self) -> Result<()> {
        let fits = first + part.shape.rows <= self.shape.rows;
        if !fits || part.shape.with_rows(1) != self.shape.with_rows(1) {
            let expected = self.shape.to_array();
            return Err(Error::Shape { what: "rows to set", expected, found: part.shape.to_array() });
        }
        self.copy_rows(first, part, 0..part.shape.rows);
        Ok(())
    }

    fn check_rows(&self, rows: &Range<usize>) -> Result<()> {
        if rows.is_empty() || rows.end > self.shape.rows {
            return Err(Error::parameter(
                "range of rows",
                format!("{rows:?}"),
                "within the stack, and not empty",
            ));
        }
        Ok(())
    }

    fn copy_rows(&mut self, first: usize, from: &Self, rows: Range<usize>) {
        for (to, row) in (first..).zip(rows) {
            let (source, target) = (&from.slabs[row / LANES].data, &mut self.slabs[to / LANES].data);
            for (target, source) in target.iter_mut().zip(source) {
                target.0[to % LANES] = source.0[row % LANES];
            }
        }
    }

    /// Whether all values are finite.
    ///
    /// # Errors
    /// [`Error::NotFinite`] names the first that is not.
    pub fn check_finite(&self, what: &'static str) -> Result<()> {
        for (slab, first) in self.slabs.iter().zip((0..).step_by(LANES)) {
            for (index, lanes) in slab.data.iter().enumerate() {
                if let Some(lane) = lanes.0.iter().position(|value| !value.is_finite()) {
                    let (plane, column) = (index / self.shape.columns, index % self.shape.columns);
                    return Err(Error::NotFinite {
                        what,
                        plane,
                        row: first + lane,
                        column,
                        value: lanes.0[lane],
                    });
                }
            }
        }
        Ok(())
    }

    /// Fails unless the shape is this one.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn check_shape(&self, what: &'static str, expected: Shape) -> Result<()> {
        self.shape.check(what, expected)
    }

    /// Sets every value to 0.
    pub fn clear(&mut self) {
        self.slabs.par_iter_mut().for_each(|slab| slab.data.fill(Lanes::ZERO));
    }

    /// Overwrites each value by a function of itself and of the values of others at its place. The function of zeros must
    /// be 0, for the lanes that are no rows.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn update<const N: usize>(&mut self, others: [&Self; N], new: impl Fn(f32, [f32; N]) -> f32 + Sync) {
        assert!(others.iter().all(|other| other.shape == self.shape), "values are combined place by place");
        self.slabs.par_iter_mut().enumerate().for_each(|(slab, target)| {
            for (index, lanes) in target.data.iter_mut().enumerate() {
                let others = others.map(|other| &other.slabs[slab].data[index].0);
                for lane in 0..LANES {
                    lanes.0[lane] = new(lanes.0[lane], others.map(|other| other[lane]));
                }
            }
        });
    }

    /// Multiplies each value by the weight of its plane and column, `[plane][column]`, the same for all rows.
    ///
    /// # Panics
    /// If there are not as many weights as places in a slab.
    pub fn weigh(&mut self, weights: &[f32]) {
        assert_eq!(
            weights.len(),
            self.shape.planes * self.shape.columns,
            "one weight for each plane and column"
        );
        self.slabs.par_iter_mut().for_each(|slab| {
            for (lanes, weight) in slab.data.iter_mut().zip(weights) {
                *lanes = Lanes(lanes.0.map(|value| value * weight));
            }
        });
    }

    /// A copy of some columns, as a stack of its own.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the range is empty or reaches beyond the stack.
    pub fn columns(&self, columns: Range<usize>) -> Result<Self> {
        if columns.is_empty() || columns.end > self.shape.columns {
            let value = format!("{columns:?}");
            return Err(Error::parameter("range of columns", value, "within the stack, and not empty"));
        }
        let mut part = Self::zeros(Shape { columns: columns.len(), ..self.shape });
        for (to, from) in part.slabs.iter_mut().zip(&self.slabs) {
            for plane in 0..self.shape.planes {
                to.plane_mut(plane).copy_from_slice(&from.plane(plane)[columns.clone()]);
            }
        }
        Ok(part)
    }

    /// Overwrites the columns from `first` on with those of a stack of the same planes and rows.
    ///
    /// # Errors
    /// [`Error::Shape`] if planes or rows differ or the columns do not fit.
    pub fn set_columns(&mut self, first: usize, part: &Self) -> Result<()> {
        let width = part.shape.columns;
        let fits = first + width <= self.shape.columns;
        if !fits || (Shape { columns: self.shape.columns, ..part.shape }) != self.shape {
            let expected = self.shape.to_array();
            return Err(Error::Shape { what: "columns to set", expected, found: part.shape.to_array() });
        }
        for (to, from) in self.slabs.iter_mut().zip(&part.slabs) {
            for plane in 0..self.shape.planes {
                to.plane_mut(plane)[first..first + width].copy_from_slice(from.plane(plane));
            }
        }
        Ok(())
    }

    /// One plane, row by row.
    pub fn plane(&self, plane: usize) -> Vec<f32> {
        let Shape { rows, columns, .. } = self.shape;
        (0..rows).flat_map(|row| (0..columns).map(move |column| self.at(plane, row, column))).collect()
    }

    /// Some planes, in the order given, as a stack of their own.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there is none or one is beyond the stack.
    pub fn planes(&self, planes: &[usize]) -> Result<Self> {
        if let Some(plane) = planes.iter().find(|plane| **plane >= self.shape.planes) {
            return Err(Error::parameter("index of a plane", plane, "below the number of planes"));
        }
        let mut part = Self::zeros(Shape::new(planes.len(), self.shape.rows, self.shape.columns)?);
        for (to, from) in part.slabs.iter_mut().zip(&self.slabs) {
            for (index, plane) in planes.iter().enumerate() {
                to.plane_mut(index).copy_from_slice(from.plane(*plane));
            }
        }
        Ok(part)
    }

    /// The inner product with another stack, row by row: the leaves of a canonical sum ([`crate::sum`]).
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn row_dots(&self, other: &Self) -> Vec<f64> {
        assert_eq!(self.shape, other.shape, "an inner product needs equal shapes");
        let slabs: Vec<[f64; LANES]> =
            self.slabs.par_iter().zip(&other.slabs).map(|(left, right)| slab_dots(left, right)).collect();
        slabs.into_iter().flatten().take(self.shape.rows).collect()
    }
}

/// Per lane, the products summed in the order of planes and columns.
fn slab_dots(left: &Slab, right: &Slab) -> [f64; LANES] {
    let mut sums = [0.0_f64; LANES];
    for (left, right) in left.data.iter().zip(&right.data) {
        for lane in 0..LANES {
            sums[lane] += f64::from(left.0[lane]) * f64::from(right.0[lane]);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(shape: Shape) -> Stack {
        Stack::from_fn(shape, |plane, row, column| (plane * 10_000 + row * 100 + column) as f32)
    }

    #[test]
    fn arrays_go_in_and_come_out_unchanged() {
        let array = Array3::from_shape_fn((3, 37, 5), |(z, y, x)| (z * 1000 + y * 10 + x) as f32 - 0.5);
        let stack = Stack::from_array(&array.view()).unwrap();
        assert_eq!(stack.slabs().len(), 3);
        assert_eq!(stack.to_array(), array);
        assert!(stack.slabs()[2].data.iter().all(|lanes| lanes.0[5..].iter().all(|value| *value == 0.0)));
    }

    #[test]
    fn rows_are_cut_and_put_back_at_any_place() {
        let whole = numbered(Shape::new(2, 45, 3).unwrap());
        let mut again = Stack::zeros(whole.shape());
        for rows in [0..1, 1..18, 18..20, 20..45] {
            let part = whole.rows(rows.clone()).unwrap();
            assert_eq!(part.at(1, 0, 2), whole.at(1, rows.start, 2));
            again.set_rows(rows.start, &part).unwrap();
        }
        assert_eq!(again, whole);
        assert!(whole.rows(3..3).is_err() && whole.rows(40..46).is_err());
        assert!(again.set_rows(44, &whole.rows(0..2).unwrap()).is_err());
    }

    #[test]
    fn the_sums_of_rows_do_not_depend_on_the_cut() {
        let whole = numbered(Shape::new(3, 50, 7).unwrap());
        let parts = [0..13, 13..14, 14..50].map(|rows| whole.rows(rows).unwrap());
        let sums: Vec<f64> = parts.iter().flat_map(|part| part.row_dots(part)).collect();
        assert_eq!(sums, whole.row_dots(&whole));
    }

    #[test]
    fn a_value_that_is_no_number_is_named() {
        let mut array = Array3::zeros((2, 20, 4));
        array[[1, 17, 3]] = f32::NAN;
        let error = Stack::from_array(&array.view()).unwrap_err();
        assert!(matches!(error, Error::NotFinite { plane: 1, row: 17, column: 3, .. }), "{error}");
        let mut stack = Stack::zeros(Shape::new(2, 20, 4).unwrap());
        *stack.at_mut(1, 17, 3) = f32::INFINITY;
        assert!(matches!(
            stack.check_finite("stack"),
            Err(Error::NotFinite { plane: 1, row: 17, column: 3, .. })
        ));
    }
}
