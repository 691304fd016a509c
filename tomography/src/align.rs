//! Bringing the tilt axis into the direction of the columns, once, before anything else sees the images.
//!
//! On the camera the tilt axis leans by an angle, and images are shifted against each other. Both are undone by one
//! bilinear interpolation. Afterwards the rows of a tilt series are the rows of the volume, which is what lets them be
//! reconstructed apart. What was outside of the camera becomes a value of the caller's choice.

use crate::geometry::centre;
use crate::{Error, Projections, Result, Stack};
use serde::{Deserialize, Serialize};

/// Where the aligned image lies on the camera.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alignment {
    /// By how much the tilt axis leans on the camera from +y towards +x, in degrees.
    pub axis_angle_deg: f64,
    /// Where the aligned images' centres lie on the camera, from its centre, as (x, y) in pixels: one per image, or none
    /// for no shift.
    pub shifts_px: Vec<[f64; 2]>,
}

impl Alignment {
    /// The aligned images, of the size of the raw ones.
    ///
    /// Point (x, y) of the aligned image, from its centre, is `(x cos + y sin, y cos - x sin)` plus the shift on the camera.
    /// An alignment by nothing changes no bit.
    ///
    /// # Errors
    /// [`Error::Parameter`] for numbers that are not finite, and for shifts that are not one per image.
    pub fn apply(&self, raw: &Projections, outside: f32) -> Result<Projections> {
        let shape = raw.shape();
        if !self.shifts_px.is_empty() && self.shifts_px.len() != shape.planes {
            return Err(Error::parameter(
                "number of shifts",
                self.shifts_px.len(),
                "that of the images, or 0",
            ));
        }
        if !self.axis_angle_deg.is_finite() || self.shifts_px.iter().flatten().any(|shift| !shift.is_finite())
        {
            return Err(Error::parameter("alignment", format!("{self:?}"), "made of finite numbers"));
        }
        let (sin, cos) = self.axis_angle_deg.to_radians().sin_cos();
        let (x_centre, y_centre) = (centre(shape.columns), centre(shape.rows));
        Ok(Stack::from_fn(shape, |image, row, column| {
            let shift = self.shifts_px.get(image).copied().unwrap_or_default();
            let (x, y) = (column as f64 - x_centre, row as f64 - y_centre);
            let place = [y * cos - x * sin + shift[1] + y_centre, x * cos + y * sin + shift[0] + x_centre];
            interpolate(raw, image, place).unwrap_or(outside)
        }))
    }
}

/// The value at a (row, column) between pixels; none where a pixel that it needs is beyond the image.
fn interpolate(images: &Projections, image: usize, place: [f64; 2]) -> Option<f32> {
    let extents = [images.shape().rows, images.shape().columns];
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
            value += row_weight * column_weight * f64::from(images.at(image, row, column));
        }
    }
    Some(value as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;
    use crate::testing::noise;

    #[test]
    fn nothing_changes_nothing_and_whole_pixels_are_exact() {
        let raw = noise(Shape::new(2, 20, 9).unwrap(), 3);
        assert_eq!(Alignment::default().apply(&raw, 0.0).unwrap(), raw);
        let alignment = Alignment { axis_angle_deg: 0.0, shifts_px: vec![[2.0, -1.0], [0.0, 3.0]] };
        let aligned = alignment.apply(&raw, 7.0).unwrap();
        assert_eq!(aligned.at(0, 5, 4), raw.at(0, 4, 6));
        assert_eq!(aligned.at(1, 5, 4), raw.at(1, 8, 4));
        assert_eq!((aligned.at(0, 0, 4), aligned.at(0, 5, 8), aligned.at(1, 17, 0)), (7.0, 7.0, 7.0));
        let wrong = Alignment { axis_angle_deg: 0.0, shifts_px: vec![[0.0, 0.0]] };
        assert!(wrong.apply(&raw, 0.0).is_err());
        assert!(Alignment { axis_angle_deg: f64::NAN, shifts_px: vec![] }.apply(&raw, 0.0).is_err());
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
        let aligned = Alignment { axis_angle_deg: 20.0, shifts_px: vec![] }.apply(&raw, 0.0).unwrap();
        for row in 8..33 {
            assert!((aligned.at(0, row, 20) - 1.0).abs() < 0.1, "row {row}: {}", aligned.at(0, row, 20));
            assert!(aligned.at(0, row, 26) < 1e-3 && aligned.at(0, row, 14) < 1e-3);
        }
    }
}
