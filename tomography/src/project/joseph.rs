//! Joseph's projector: rays that step along the axis nearest to them and interpolate along the other.
//!
//! The ray of pixel x' at tilt theta is `x = (x' + z sin) / cos`, or `z = (x cos - x') / sin`. Where |cos| >= |sin| it
//! steps from plane to plane of the volume and interpolates linearly along x, with the weight 1 / |cos|, the length of
//! the step; otherwise it steps from column to column and interpolates along z, with 1 / |sin|. Outside of the volume is
//! 0. Steeper tilts work on a transposed copy of the slab, so that the innermost loop always runs along memory.
//!
//! A projector may stand for some of the columns of a wider volume ([`Joseph::columns_of`]): the projections of a volume
//! are the sum of those of its parts.
//!
//! Source: P. M. Joseph, IEEE Trans. Med. Imaging 1 (1982) 192; weights and signs as `linear` of ASTRA.

use super::kernel::{Line, Taps};
use super::{Projector, check, check_extent, clear, in_groups};
use crate::geometry::centre;
use crate::{Error, Projections, Result, Slab, Tilt, Volume};
use std::ops::Range;

/// Images that share one sweep over the volume. What a sweep reads from memory costs as much as three images with it, measured
/// at 256 and 512 columns; from twenty on nothing is gained.
const IMAGES_AT_ONCE: usize = 20;

/// Joseph's projection matrix of a tilt series.
#[derive(Debug, Clone)]
pub struct Joseph {
    planes: usize,
    columns: usize,
    pixels: usize,
    images: usize,
    /// Images that step along z, then images that step along x.
    upright: Vec<Rays>,
    flat: Vec<Rays>,
}

/// The rays of one image: at step `k`, pixel `t` looks at `slope * t + (origin + advance * k)`.
#[derive(Debug, Clone, Copy)]
struct Rays {
    image: usize,
    slope: f64,
    origin: f64,
    advance: f64,
    length: f64,
}

impl Rays {
    fn line(&self, step: usize) -> Line {
        let origin = self.origin + self.advance * step as f64;
        Line { slope: self.slope, origin, length: self.length }
    }
}

impl Joseph {
    /// The projector of a volume of `planes` (z) by `columns` (x) onto images of `pixels` columns (x').
    ///
    /// # Errors
    /// [`Error::Parameter`] for an extent below 2 or too large, and for tilts that make no sense.
    pub fn new(planes: usize, columns: usize, pixels: usize, tilts: &[Tilt]) -> Result<Self> {
        Self::columns_of(planes, columns, 0..columns, pixels, tilts)
    }

    /// The projector of the columns `part` of a volume of `planes` by `columns`, onto the images of the whole.
    ///
    /// # Errors
    /// As [`Joseph::new`], and if the part is not within the volume.
    pub fn columns_of(
        planes: usize,
        columns: usize,
        part: Range<usize>,
        pixels: usize,
        tilts: &[Tilt],
    ) -> Result<Self> {
        check_extent("planes of the volume", planes)?;
        check_extent("columns of the volume", columns)?;
        check_extent("columns of an image", pixels)?;
        if part.end > columns {
            return Err(Error::parameter("range of columns", format!("{part:?}"), "within the volume"));
        }
        check_extent("columns of a part of the volume", part.len())?;
        tilts.iter().try_for_each(Tilt::check)?;
        let (z_centre, x_centre) = (centre(planes), centre(columns) - part.start as f64);
        let mut joseph =
            Self { planes, columns: part.len(), pixels, images: tilts.len(), upright: vec![], flat: vec![] };
        for (image, tilt) in tilts.iter().enumerate() {
            let (sin, cos) = tilt.sin_cos();
            let pixel_centre = centre(pixels) + tilt.offset_px;
            if cos >= sin.abs() {
                let (slope, advance) = (1.0 / cos, sin / cos);
                let origin = x_centre - pixel_centre * slope - z_centre * advance;
                joseph.upright.push(Rays { image, slope, origin, advance, length: slope });
            } else {
                let (slope, advance) = (-1.0 / sin, cos / sin);
                let origin = z_centre - pixel_centre * slope - x_centre * advance;
                joseph.flat.push(Rays { image, slope, origin, advance, length: slope.abs() });
            }
        }
        Ok(joseph)
    }
}

impl Projector for Joseph {
    fn volume_plane(&self) -> [usize; 2] {
        [self.planes, self.columns]
    }

    fn image_plane(&self) -> [usize; 2] {
        [self.images, self.pixels]
    }

    fn project(&self, volume: &Volume, images: &mut Projections) -> Result<()> {
        check(self, volume, images)?;
        in_groups(volume, images, |volume, images| self.project_slabs(volume, images));
        Ok(())
    }

    fn back_project(&self, images: &Projections, volume: &mut Volume) -> Result<()> {
        check(self, volume, images)?;
        in_groups(images, volume, |images, volume| self.back_project_slabs(images, volume));
        Ok(())
    }
}

impl Joseph {
    /// Overwrites the images of a group of slabs with their projections.
    fn project_slabs(&self, volume: &[Slab], images: &mut [Slab]) {
        clear(images);
        project_rays(&self.upright, volume, images);
        if !self.flat.is_empty() {
            let turned: Vec<Slab> = volume.iter().map(transposed).collect();
            project_rays(&self.flat, &turned, images);
        }
    }

    /// Overwrites a group of slabs with the back projection of their images.
    fn back_project_slabs(&self, images: &[Slab], volume: &mut [Slab]) {
        clear(volume);
        if !self.flat.is_empty() {
            let mut turned: Vec<Slab> =
                volume.iter().map(|_| Slab::zeros(self.columns, self.planes)).collect();
            back_project_rays(&self.flat, images, &mut turned);
            for (slab, turned) in volume.iter_mut().zip(&turned) {
                transpose(turned, slab);
            }
        }
        back_project_rays(&self.upright, images, volume);
    }
}

/// Adds to the images what their rays see, a step along the planes at a time.
fn project_rays(rays: &[Rays], volume: &[Slab], images: &mut [Slab]) {
    let Some(like) = volume.first() else { return };
    let mut taps = Taps::default();
    for rays in rays.chunks(IMAGES_AT_ONCE) {
        for step in (0..like.planes()).step_by(2) {
            let has_next = step + 1 < like.planes();
            for ray in rays {
                let next = if has_next { ray.line(step + 1) } else { Line::NONE };
                taps.forward([ray.line(step), next], like.columns, images[0].columns);
                for (volume, images) in volume.iter().zip(images.iter_mut()) {
                    let planes = [volume.plane(step), volume.plane(step + usize::from(has_next))];
                    taps.add(images.plane_mut(ray.image), planes);
                }
            }
        }
    }
}

/// Adds to the planes what their voxels receive from the images, a step along the planes at a time.
fn back_project_rays(rays: &[Rays], images: &[Slab], volume: &mut [Slab]) {
    let Some((planes, columns)) = volume.first().map(|slab| (slab.planes(), slab.columns)) else { return };
    let mut taps = Taps::default();
    for rays in rays.chunks(IMAGES_AT_ONCE) {
        for step in 0..planes {
            for pair in rays.chunks(2) {
                let (first, second) = (&pair[0], pair.last().unwrap_or(&pair[0]));
                let line = if pair.len() == 2 { second.line(step) } else { Line::NONE };
                taps.backward([first.line(step), line], columns, images[0].columns);
                for (images, volume) in images.iter().zip(volume.iter_mut()) {
                    taps.add(volume.plane_mut(step), [images.plane(first.image), images.plane(second.image)]);
                }
            }
        }
    }
}

/// The slab with planes and columns exchanged.
fn transposed(slab: &Slab) -> Slab {
    let mut turned = Slab::zeros(slab.columns, slab.planes());
    transpose(slab, &mut turned);
    turned
}

/// Overwrites a slab with another one, planes and columns exchanged.
fn transpose(slab: &Slab, turned: &mut Slab) {
    const TILE: usize = 8;
    let (planes, columns) = (slab.planes(), slab.columns);
    for plane_tile in (0..planes).step_by(TILE) {
        for column in 0..columns {
            for plane in plane_tile..planes.min(plane_tile + TILE) {
                turned.data[column * planes + plane] = slab.data[plane * columns + column];
            }
        }
    }
}
