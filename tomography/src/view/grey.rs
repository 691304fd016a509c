//! A picture in shades of grey.

use super::font;
use crate::io::{refused, replace};
use crate::{Error, Result};
use std::path::Path;

/// How much larger than the font signs are drawn.
const SIGN_SCALE: usize = 2;
/// Behind a label within a slice, and the label.
const LABEL: [u8; 2] = [0, 255];

/// A picture in shades of grey: 0 is black, 255 white.
#[derive(Debug, Clone, PartialEq)]
pub struct Grey {
    width: usize,
    pixels: Vec<u8>,
}

impl Grey {
    /// A picture of one shade.
    pub fn new(width: usize, height: usize, shade: u8) -> Self {
        Self { width, pixels: vec![shade; width * height] }
    }

    /// Pixels of a row.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    pub fn height(&self) -> usize {
        self.pixels.len().checked_div(self.width).unwrap_or(0)
    }

    /// The shade of a pixel, from the left and from the top.
    pub fn at(&self, x: usize, y: usize) -> u8 {
        self.pixels[y * self.width + x]
    }

    /// Sets a pixel; what lies beyond the picture is left out.
    pub fn set(&mut self, x: usize, y: usize, shade: u8) {
        if x < self.width
            && let Some(pixel) = self.pixels.get_mut(y * self.width + x)
        {
            *pixel = shade;
        }
    }

    /// Fills a rectangle.
    pub fn fill(&mut self, [left, top]: [usize; 2], [width, height]: [usize; 2], shade: u8) {
        for y in top..top + height {
            for x in left..left + width {
                self.set(x, y, shade);
            }
        }
    }

    /// Writes a text, its upper left corner here.
    pub fn text(&mut self, left: usize, top: usize, text: &str, shade: u8) {
        for (place, sign) in text.chars().enumerate() {
            let left = left + place * (font::SIZE[0] + 1) * SIGN_SCALE;
            for (y, bits) in font::rows(sign).into_iter().enumerate() {
                for x in (0..font::SIZE[0]).filter(|x| bits >> (font::SIZE[0] - 1 - x) & 1 == 1) {
                    let corner = [left + x * SIGN_SCALE, top + y * SIGN_SCALE];
                    self.fill(corner, [SIGN_SCALE; 2], shade);
                }
            }
        }
    }

    /// Writes a text on a dark ground, if the picture has room for it there.
    pub(super) fn label(&mut self, left: usize, top: usize, text: &str) {
        let [width, height] = [text.len() * (font::SIZE[0] + 1) * SIGN_SCALE, font::SIZE[1] * SIGN_SCALE];
        self.fill([left, top], [width + 4, height + 4], LABEL[0]);
        self.text(left + 3, top + 2, text, LABEL[1]);
    }

    /// The picture as PNG.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a picture that is empty or too large.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let refused = |why: png::EncodingError| Error::parameter("picture", why, "one that PNG can hold");
        let mut bytes = Vec::new();
        let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
        let mut encoder = png::Encoder::new(&mut bytes, side(self.width), side(self.height()));
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(refused)?;
        writer.write_image_data(&self.pixels).map_err(refused)?;
        writer.finish().map_err(refused)?;
        Ok(bytes)
    }

    /// Writes the picture as PNG, whole or not at all.
    ///
    /// # Errors
    /// As [`Grey::to_png`]; [`Error::File`] if the system refuses.
    pub fn write(&self, path: &Path) -> Result<()> {
        let png = self.to_png()?;
        replace(path, |file| std::io::Write::write_all(file, &png).map_err(refused(path, "write")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_read_again_as_it_was_written() {
        let mut picture = Grey::new(70, 20, 200);
        picture.text(2, 3, "10 nm", 7);
        picture.fill([60, 15], [40, 40], 3);
        let png = picture.to_png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&png)).read_info().unwrap();
        let mut pixels = vec![0; 70 * 20];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (70, 20));
        assert_eq!(pixels, picture.pixels);
        assert_eq!(picture.at(69, 19), 3, "what lies beyond is left out");
        let ink = |left: usize| (left..left + 10).any(|x| (3..17).any(|y| picture.at(x, y) == 7));
        assert!(ink(2) && ink(14) && !ink(26) && ink(38), "signs have their places");
        assert!(Grey::new(0, 0, 0).to_png().is_err());
    }
}
