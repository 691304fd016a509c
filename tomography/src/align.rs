//! Bringing the tilt axis into the direction of the columns, once, before anything else sees the images.
//!
//! On the camera the tilt axis leans by an angle, and images are shifted against each other. Both are undone by one
//! bilinear interpolation. Afterwards the rows of a tilt series are the rows of the volume, which is what lets them be
//! reconstructed apart. What was outside of the camera becomes a value of the caller's choice.

use crate::geometry::centre;
use crate::io::xf::Transform;
use crate::{Error, Projections, Result, Shape, Stack};
use serde::{Deserialize, Serialize};

/// Where an aligned image lies on the camera: point p of it, from its centre, is `matrix p + shift` on the camera, from
/// the camera's centre, as (x, y) in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Rows of the matrix.
    pub matrix: [[f64; 2]; 2],
    /// The shift, in pixels.
    pub shift: [f64; 2],
}

impl Place {
    /// The place of an image whose tilt axis leans from +y towards +x by an angle in degrees: point (x, y) lies at
    /// `(x cos + y sin, y cos - x sin)` plus the shift.
    pub fn leaning(axis_angle_deg: f64, shift: [f64; 2]) -> Self {
        let (sin, cos) = axis_angle_deg.to_radians().sin_cos();
        Self { matrix: [[cos, sin], [-sin, cos]], shift }
    }
}

impl Place {
    /// The aligned image's value at a (row, column), from the pixels of a raw one of the same extent, line by line; none
    /// where a pixel that it needs is beyond the camera.
    pub(crate) fn value(&self, raw: &[f32], shape: Shape, at: [usize; 2]) -> Option<f32> {
        self.interpolate(|row, column| raw[row * shape.columns + column], shape, at)
    }

    fn interpolate(
        &self,
        pixel: impl Fn(usize, usize) -> f32,
        shape: Shape,
        [row, column]: [usize; 2],
    ) -> Option<f32> {
        let Self { matrix: [along_x, along_y], shift } = self;
        let extents = [shape.rows, shape.columns];
        let [y_centre, x_centre] = extents.map(centre);
        let (x, y) = (column as f64 - x_centre, row as f64 - y_centre);
        let at = |row: &[f64; 2], shift: f64, centre: f64| x * row[0] + y * row[1] + shift + centre;
        let place = [at(along_y, shift[1], y_centre), at(along_x, shift[0], x_centre)];
        let mut corners = [[(0, 0.0); 2]; 2];
        for axis in 0..2 {
            let low = place[axis].floor();
            let far = place[axis] - low;
            for (corner, (index, weight)) in [(low, 1.0 - far), (low + 1.0, far)].into_iter().enumerate() {
                if weight > 0.0 && !(0.0..extents[axis] as f64).contains(&index) {
                    return None;
                }
                // A corner without weight may lie outside: any pixel will do for it.
                corners[axis][corner] = (if weight > 0.0 { index as usize } else { 0 }, weight);
            }
        }
        let mut value = 0.0;
        for (row, row_weight) in corners[0] {
            for (column, column_weight) in corners[1] {
                value += row_weight * column_weight * f64::from(pixel(row, column));
            }
        }
        Some(value as f32)
    }
}

impl From<Place> for Transform {
    fn from(place: Place) -> Self {
        // Either is the other's inverse, and of the same form.
        let Place { matrix, shift } = Place::from(Self { matrix: place.matrix, shift: place.shift });
        Self { matrix, shift }
    }
}

impl From<Transform> for Place {
    /// A transform of IMOD leads from the camera to the aligned image; this is the way back.
    fn from(Transform { matrix: [[a, b], [c, d]], shift: [x, y] }: Transform) -> Self {
        let determinant = a * d - b * c;
        let matrix = [[d / determinant, -b / determinant], [-c / determinant, a / determinant]];
        let back = |row: [f64; 2]| -(row[0] * x + row[1] * y);
        Self { matrix, shift: matrix.map(back) }
    }
}

/// Where the aligned images lie on the camera.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alignment {
    /// One place per image, or none if images are aligned already.
    pub places: Vec<Place>,
}

impl Alignment {
    /// Fails unless there is a place for each of so many images, or none, and all are made of finite numbers.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub fn check(&self, images: usize) -> Result<()> {
        if !self.places.is_empty() && self.places.len() != images {
            let expected = "that of the images, or 0";
            return Err(Error::parameter("number of alignments", self.places.len(), expected));
        }
        let is_finite = |place: &Place| {
            place.matrix.iter().flatten().chain(&place.shift).all(|number| number.is_finite())
        };
        match self.places.iter().find(|place| !is_finite(place)) {
            Some(place) => Err(Error::parameter("alignment", format!("{place:?}"), "made of finite numbers")),
            None => Ok(()),
        }
    }

    /// The aligned images, of the size of the raw ones. An alignment by nothing changes no bit.
    ///
    /// # Errors
    /// As [`Alignment::check`].
    pub fn apply(&self, raw: &Projections, outside: f32) -> Result<Projections> {
        let shape = raw.shape();
        self.check(shape.planes)?;
        if self.places.is_empty() {
            return Ok(raw.clone());
        }
        Ok(Stack::from_fn(shape, |image, row, column| {
            let pixel = |row, column| raw.at(image, row, column);
            self.places[image].interpolate(pixel, shape, [row, column]).unwrap_or(outside)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    #[test]
    fn nothing_changes_nothing_and_whole_pixels_are_exact() {
        let raw = noise(Shape::new(2, 20, 9).unwrap(), 3);
        assert_eq!(Alignment::default().apply(&raw, 0.0).unwrap(), raw);
        let places = [[2.0, -1.0], [0.0, 3.0]].map(|shift| Place::leaning(0.0, shift));
        let alignment = Alignment { places: places.to_vec() };
        let aligned = alignment.apply(&raw, 7.0).unwrap();
        assert_eq!(aligned.at(0, 5, 4), raw.at(0, 4, 6));
        assert_eq!(aligned.at(1, 5, 4), raw.at(1, 8, 4));
        assert_eq!((aligned.at(0, 0, 4), aligned.at(0, 5, 8), aligned.at(1, 17, 0)), (7.0, 7.0, 7.0));
        assert!(Alignment { places: places[..1].to_vec() }.apply(&raw, 0.0).is_err());
        let wrong = Alignment { places: vec![Place::leaning(f64::NAN, [0.0; 2]); 2] };
        assert!(wrong.apply(&raw, 0.0).is_err());
    }

    #[test]
    fn a_leaning_axis_becomes_a_column() {
        // A bright line through the camera's centre, leaning by 20 degrees from +y towards +x.
        let angle = 20.0_f64.to_radians();
        let shape = Shape::new(1, 41, 41).unwrap();
        let raw = Stack::from_fn(shape, |_, row, column| {
            let (x, y) = (column as f64 - 20.0, row as f64 - 20.0);
            let distance = x * angle.cos() - y * angle.sin();
            (-distance * distance / 4.0).exp() as f32
        });
        let alignment = Alignment { places: vec![Place::leaning(20.0, [0.0; 2])] };
        let aligned = alignment.apply(&raw, 0.0).unwrap();
        for row in 8..33 {
            assert!((aligned.at(0, row, 20) - 1.0).abs() < 0.1, "row {row}: {}", aligned.at(0, row, 20));
            assert!(aligned.at(0, row, 26) < 1e-3 && aligned.at(0, row, 14) < 1e-3);
        }
    }
    #[test]
    fn a_transform_of_imod_is_undone() {
        let transform = Transform { matrix: [[0.9, 0.2], [-0.3, 1.1]], shift: [4.0, -7.0] };
        let place = Place::from(transform);
        let point = [3.0, -2.0];
        let forth = |rows: [[f64; 2]; 2], shift: [f64; 2], at: [f64; 2]| {
            [0, 1].map(|axis| rows[axis][0] * at[0] + rows[axis][1] * at[1] + shift[axis])
        };
        let aligned = forth(transform.matrix, transform.shift, point);
        let back = forth(place.matrix, place.shift, aligned);
        let again = Transform::from(place);
        let off = |left: f64, right: f64| (left - right).abs() > 1e-12;
        assert!(
            !again.matrix.iter().flatten().zip(transform.matrix.iter().flatten()).any(|(l, r)| off(*l, *r))
        );
        assert!(!again.shift.iter().zip(transform.shift).any(|(left, right)| off(*left, right)));
        assert!((back[0] - 3.0).abs() < 1e-12 && (back[1] + 2.0).abs() < 1e-12, "{back:?}");
    }
}
