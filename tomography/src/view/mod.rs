//! Pictures of a volume: three slices with a scale bar as PNG, and a page to scroll through all of it.
//!
//! A picture has the slices through one place: x to the right and y upward, and beside and below it z instead of x and
//! of y. Grey values are linear between two values of the volume ([`Window`]), the same in all slices, and are printed
//! with the picture: no slice is stretched by itself. Pixels are voxels, or whole multiples of them.

mod font;
mod grey;
mod page;

pub use grey::Grey;
pub use page::page;

use crate::{Error, Result, Shape, Volume};

/// Small volumes are enlarged until their longest side has so many pixels.
const LEAST_PIXELS: usize = 480;
/// Pixels between slices, around them, and of the strip below them.
const GAP: usize = 8;
const STRIP: usize = 34;
/// The share of voxels that may be darker than black, and brighter than white.
const CLIPPED: f64 = 0.002;
/// So many voxels are enough to find the window.
const SAMPLES: usize = 1 << 20;
const WHITE: u8 = 255;
const INK: u8 = 20;

/// The values that are drawn black and white.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Black.
    pub low: f32,
    /// White.
    pub high: f32,
}

impl Window {
    /// The window that leaves one voxel in 500 beyond either end.
    pub fn of(volume: &Volume) -> Self {
        let shape = volume.shape();
        let stride = shape.len().div_ceil(SAMPLES).max(1);
        let mut values: Vec<f32> = (0..shape.len())
            .step_by(stride)
            .map(|index| {
                let (rest, column) = (index / shape.columns, index % shape.columns);
                volume.at(rest / shape.rows, rest % shape.rows, column)
            })
            .collect();
        values.sort_unstable_by(f32::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        Self { low: at(CLIPPED), high: at(1.0 - CLIPPED) }
    }

    /// The grey of a value; that of the middle if the window is empty.
    pub fn grey(self, value: f32) -> u8 {
        if self.high <= self.low {
            return 128;
        }
        let share = (value - self.low) / (self.high - self.low);
        (share.clamp(0.0, 1.0) * 255.0).round() as u8
    }
}

/// The length of a scale bar that is about a quarter of a width, both in Angstrom, and what is written beside it.
pub fn scale_bar(width_angstrom: f64) -> (f64, String) {
    let power = 10_f64.powf((width_angstrom / 4.0).log10().floor());
    let length = [10.0, 5.0, 2.0, 1.0]
        .map(|digit| digit * power)
        .into_iter()
        .find(|length| *length <= width_angstrom / 3.0);
    let length = length.unwrap_or(power);
    let text =
        if length >= 100.0 { format!("{} nm", length / 10.0) } else { format!("{} \u{c5}", round(length)) };
    (length, text)
}

/// Without the last digits, which are rounding.
fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The three slices through a place (plane, row, column), with a scale bar.
///
/// # Errors
/// [`Error::Parameter`] for a place beyond the volume or a voxel size that is no length.
pub fn slices(volume: &Volume, place: [usize; 3], voxel_angstrom: f64, window: Window) -> Result<Grey> {
    let Shape { planes, rows, columns } = volume.shape();
    for ((name, index), extent) in [("plane", place[0]), ("row", place[1]), ("column", place[2])]
        .into_iter()
        .zip([planes, rows, columns])
    {
        if index >= extent {
            return Err(Error::parameter(name, index, "within the volume, from 0"));
        }
    }
    if !(voxel_angstrom.is_finite() && voxel_angstrom > 0.0) {
        return Err(Error::parameter("voxel size", voxel_angstrom, "positive, in Angstrom"));
    }
    let scale = (LEAST_PIXELS / columns.max(rows)).max(1);
    let (width, height) = ((columns + planes) * scale + 3 * GAP, (rows + planes) * scale + 3 * GAP);
    let mut picture = Grey::new(width.max(160), height + STRIP, WHITE);
    let [plane, row, column] = place;
    let mut panel =
        |left: usize, top: usize, [across, down]: [usize; 2], value: &dyn Fn(usize, usize) -> f32| {
            for y in 0..down * scale {
                for x in 0..across * scale {
                    // The second axis points upward.
                    let grey = window.grey(value(x / scale, down - 1 - y / scale));
                    picture.set(left + x, top + y, grey);
                }
            }
        };
    let (right, below) = (2 * GAP + columns * scale, 2 * GAP + rows * scale);
    panel(GAP, GAP, [columns, rows], &|x, y| volume.at(plane, y, x));
    panel(right, GAP, [planes, rows], &|z, y| volume.at(z, y, column));
    panel(GAP, below, [columns, planes], &|x, z| volume.at(z, row, x));
    for (text, left, top) in [("xy", GAP, GAP), ("zy", right, GAP), ("xz", GAP, below)] {
        picture.label(left + 3, top + 3, text);
    }
    let (length, text) = scale_bar(columns as f64 * voxel_angstrom);
    let bar = ((length / voxel_angstrom) * scale as f64).round() as usize;
    picture.fill([GAP, height + 6], [bar, 6], INK);
    picture.text(GAP + bar + 8, height + 2, &text, INK);
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stack;
    use crate::testing::noise;

    fn ramp(shape: Shape) -> Volume {
        Stack::from_fn(shape, |z, y, x| (100 * z + 10 * y + x) as f32)
    }

    #[test]
    fn each_panel_shows_its_slice_the_right_way_up() {
        let shape = Shape::new(3, 5, 480).unwrap();
        let volume = ramp(shape);
        let window = Window { low: 0.0, high: 1000.0 };
        let picture = slices(&volume, [1, 2, 7], 2.0, window).unwrap();
        let grey = |z: usize, y: usize, x: usize| window.grey(volume.at(z, y, x));
        // Below the labels, and one pixel per voxel.
        assert_eq!(picture.at(GAP + 100, GAP), grey(1, 4, 100), "y points upward");
        assert_eq!(picture.at(GAP + 100, GAP + 4), grey(1, 0, 100));
        let (right, below) = (2 * GAP + 480, 2 * GAP + 5);
        assert_eq!(picture.at(right, GAP), grey(0, 4, 7), "z points to the right");
        assert_eq!(picture.at(right + 2, GAP), grey(2, 4, 7));
        assert_eq!(picture.at(GAP + 100, below), grey(2, 2, 100), "z points upward");
        assert_eq!(picture.at(GAP + 100, below + 2), grey(0, 2, 100));
        // 960 Angstrom wide: a bar of 20 nm, 100 pixels.
        let strip = 3 * GAP + 8 + 8;
        let dark = (0..picture.width()).filter(|x| picture.at(*x, strip - 2) == INK).count();
        assert!(dark >= 100 && picture.at(GAP + 99, strip - 2) == INK, "{dark}");
        assert!(slices(&volume, [3, 0, 0], 2.0, window).is_err());
        assert!(slices(&volume, [0, 0, 0], 0.0, window).is_err());
    }

    #[test]
    fn small_volumes_are_enlarged_by_whole_numbers() {
        let volume = noise(Shape::new(4, 10, 20).unwrap(), 3);
        let picture = slices(&volume, [2, 5, 10], 1.0, Window::of(&volume)).unwrap();
        assert_eq!(picture.width(), 24 * 24 + 3 * GAP);
        assert_eq!(picture.at(GAP + 30, GAP + 60), picture.at(GAP + 47, GAP + 71), "a voxel is a square");
    }

    #[test]
    fn windows_leave_out_little_and_constants_are_grey() {
        let volume = noise(Shape::new(10, 40, 40).unwrap(), 3);
        let window = Window::of(&volume);
        assert!(window.low < -0.98 && window.high > 0.98 && window.low > -1.0 && window.high < 1.0);
        assert_eq!([window.grey(-2.0), window.grey(2.0)], [0, 255]);
        let constant = Stack::from_fn(volume.shape(), |_, _, _| 3.0);
        assert_eq!(Window::of(&constant).grey(3.0), 128);
    }

    #[test]
    fn scale_bars_have_round_lengths() {
        for (width, text) in [
            (960.0, "20 nm"),
            (100.0, "20 \u{c5}"),
            (63.0, "20 \u{c5}"),
            (48_000.0, "1000 nm"),
            (3.2, "1 \u{c5}"),
        ] {
            let (length, found) = scale_bar(width);
            assert_eq!(found, text, "{width}");
            assert!(length > width / 10.0 && length <= width / 3.0 + 1e-9, "{width}: {length}");
        }
    }
}
