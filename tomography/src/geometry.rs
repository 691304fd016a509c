//! Axes, tilts and coordinates.
//!
//! The volume has right-handed axes (x, y, z) in voxels, measured from its centre: index `i` of an axis of `n` voxels
//! lies at `i - (n - 1) / 2`. The tilt axis is y. The beam runs along +z', and at tilt theta
//!
//! ```text
//! x' =  x cos(theta) - z sin(theta)      x =  x' cos(theta) + z' sin(theta)
//! z' =  x sin(theta) + z cos(theta)      z = -x' sin(theta) + z' cos(theta)
//! ```
//!
//! so that y' = y. An image is a plane of (y, x'). Instruments differ in which way a positive tilt turns
//! ([`TiltSign`]) and in how the tilt axis lies in the image; the latter is undone once, on the images, before anything
//! here sees them.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The extent of a stack: planes of rows of columns, the order (z, y, x) of MRC files.
///
/// The planes of a volume are its z; those of a tilt series are its images. Rows are y, columns are x or x'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Number of planes: z of a volume, images of a tilt series.
    pub planes: usize,
    /// Number of rows: y, along the tilt axis.
    pub rows: usize,
    /// Number of columns: x of a volume, x' of a tilt series.
    pub columns: usize,
}

impl Shape {
    /// The largest extent along any axis; coordinates of more voxels would not be exact in `f32`.
    pub const MAX_EXTENT: usize = 1 << 20;

    /// A shape from (planes, rows, columns).
    ///
    /// # Errors
    /// [`Error::Parameter`] if an extent is 0 or more than [`Shape::MAX_EXTENT`].
    pub fn new(planes: usize, rows: usize, columns: usize) -> Result<Self> {
        for (name, extent) in [("planes", planes), ("rows", rows), ("columns", columns)] {
            if extent == 0 || extent > Self::MAX_EXTENT {
                return Err(Error::parameter(name, extent, "between 1 and 1048576"));
            }
        }
        Ok(Self { planes, rows, columns })
    }

    /// The extents as (planes, rows, columns).
    pub const fn to_array(self) -> [usize; 3] {
        [self.planes, self.rows, self.columns]
    }

    /// The number of voxels or pixels.
    pub const fn len(self) -> usize {
        self.planes * self.rows * self.columns
    }

    /// Whether there are no voxels; a shape from [`Shape::new`] has some.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Fails unless this is the shape that `what` must have.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn check(self, what: &'static str, expected: Self) -> Result<()> {
        if self == expected {
            return Ok(());
        }
        Err(Error::Shape { what, expected: expected.to_array(), found: self.to_array() })
    }

    /// This shape with another number of rows.
    #[must_use]
    pub const fn with_rows(self, rows: usize) -> Self {
        Self { rows, ..self }
    }
}

/// The coordinate of the centre of an axis of `n` voxels: (n - 1) / 2.
pub fn centre(n: usize) -> f64 {
    (n as f64 - 1.0) / 2.0
}

/// Which way the angles of a series turn the sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TiltSign {
    /// As in the formulas of this module.
    #[default]
    Positive,
    /// The other way: every angle is negated.
    Negative,
}

impl TiltSign {
    /// The angle of the formulas for an angle as the instrument gives it.
    pub fn apply(self, angle_deg: f64) -> f64 {
        match self {
            Self::Positive => angle_deg,
            Self::Negative => -angle_deg,
        }
    }
}

/// One image's place in a tilt series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tilt {
    /// Angle of the formulas of this module, in degrees, within -90..=90.
    pub angle_deg: f64,
    /// Where the centre of rotation falls in the image, in pixels from the image's centre. A crop of an image at a
    /// fraction of a pixel keeps the fraction here, so that data are never resampled.
    pub offset_px: f64,
}

impl Tilt {
    /// The largest angle either way. Beyond it a series only repeats itself mirrored.
    pub const MAX_DEG: f64 = 90.0;

    /// A tilt about an axis that passes the image's centre.
    pub const fn new(angle_deg: f64) -> Self {
        Self { angle_deg, offset_px: 0.0 }
    }

    /// The tilts of these angles.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there is no angle, or one is not finite or beyond [`Tilt::MAX_DEG`].
    pub fn series(angles_deg: &[f64], sign: TiltSign) -> Result<Vec<Self>> {
        if angles_deg.is_empty() {
            return Err(Error::parameter("number of tilts", 0, "at least 1"));
        }
        let tilts: Vec<Self> = angles_deg.iter().map(|angle| Self::new(sign.apply(*angle))).collect();
        tilts.iter().try_for_each(Self::check)?;
        Ok(tilts)
    }

    /// Whether angle and offset make sense.
    ///
    /// # Errors
    /// [`Error::Parameter`] if they do not.
    pub fn check(&self) -> Result<()> {
        if self.angle_deg.is_nan() || self.angle_deg.abs() > Self::MAX_DEG {
            return Err(Error::parameter("tilt angle", self.angle_deg, "within -90 to 90 degrees"));
        }
        if self.offset_px.is_nan() || self.offset_px.abs() > Shape::MAX_EXTENT as f64 {
            return Err(Error::parameter(
                "image offset",
                self.offset_px,
                "within -1048576 to 1048576 pixels",
            ));
        }
        Ok(())
    }

    /// Sine and cosine. Exact at 0 and at the right angles.
    pub fn sin_cos(&self) -> (f64, f64) {
        if self.angle_deg.abs() == 90.0 {
            return (self.angle_deg.signum(), 0.0);
        }
        self.angle_deg.to_radians().sin_cos()
    }

    /// Where a point (x, z) of the volume lies in the beam's frame: (x', z').
    pub fn to_beam(&self, x: f64, z: f64) -> (f64, f64) {
        let (sin, cos) = self.sin_cos();
        (x * cos - z * sin, x * sin + z * cos)
    }

    /// Where a point (x', z') of the beam's frame lies in the volume: (x, z).
    pub fn to_volume(&self, x_beam: f64, z_beam: f64) -> (f64, f64) {
        let (sin, cos) = self.sin_cos();
        (x_beam * cos + z_beam * sin, -x_beam * sin + z_beam * cos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beam_frame_is_a_rotation_and_back() {
        for angle in [-90.0, -60.0, -45.0, 0.0, 12.5, 45.0, 71.0, 90.0] {
            let tilt = Tilt::new(angle);
            let (x_beam, z_beam) = tilt.to_beam(3.0, -5.0);
            let (x, z) = tilt.to_volume(x_beam, z_beam);
            assert!((x - 3.0).abs() < 1e-14 && (z + 5.0).abs() < 1e-14, "{angle}: {x} {z}");
            assert!((x_beam.hypot(z_beam) - 34.0_f64.sqrt()).abs() < 1e-14);
        }
        // A bead above the axis moves to -x' when the tilt is positive: the hand of the axes.
        assert!(Tilt::new(30.0).to_beam(0.0, 10.0).0 < 0.0);
        assert!(Tilt::new(TiltSign::Negative.apply(30.0)).to_beam(0.0, 10.0).0 > 0.0);
    }

    #[test]
    fn right_angles_are_exact() {
        assert_eq!(Tilt::new(0.0).to_beam(2.0, 7.0), (2.0, 7.0));
        assert_eq!(Tilt::new(90.0).to_beam(2.0, 7.0), (-7.0, 2.0));
        assert_eq!(Tilt::new(-90.0).to_beam(2.0, 7.0), (7.0, -2.0));
    }

    #[test]
    fn senseless_tilts_are_refused() {
        for angles in [&[][..], &[0.0, f64::NAN], &[90.5], &[f64::INFINITY]] {
            assert!(matches!(Tilt::series(angles, TiltSign::Positive), Err(Error::Parameter { .. })));
        }
        for offset_px in [f64::NAN, f64::INFINITY, 1e300, -1_048_577.0] {
            assert!(Tilt { angle_deg: 0.0, offset_px }.check().is_err(), "{offset_px}");
        }
        assert!(Shape::new(1, 0, 1).is_err());
        assert!(Shape::new(1, 1, (1 << 20) + 1).is_err());
    }
}
