//! From a volume to its projections and back: the linear model of a tilt series.
//!
//! A projector is a matrix A that acts on each y alone, the same for all y. [`Joseph`] follows rays; [`RotateSum`]
//! turns the volume and adds its planes, which is the limit of multislice for a thin and weak sample. Both come with
//! the transposed matrix, entry by entry: `<A x, b> = <x, A^T b>` up to the rounding of the sums alone.
//!
//! Slabs are independent of each other. They are worked on in parallel, each output by one thread, so that the result
//! does not depend on the number of threads.

mod joseph;
mod kernel;
mod rotate;
#[cfg(test)]
mod tests;

pub use joseph::Joseph;
pub use rotate::{RotateSum, Rotation};

use crate::{Error, Lanes, Projections, Result, Shape, Slab, Stack, Volume};
use rayon::prelude::*;

/// A projection matrix and its transpose, for any number of rows.
pub trait Projector: Sync {
    /// Planes and columns of the volume.
    fn volume_plane(&self) -> [usize; 2];
    /// Images and columns of the tilt series.
    fn image_plane(&self) -> [usize; 2];

    /// Overwrites `images` with the projections of a volume, `A x`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the arguments are not of this projector's shapes; if it has workers elsewhere, their errors.
    fn project(&self, volume: &Volume, images: &mut Projections) -> Result<()>;

    /// Overwrites `volume` with the back projection of a tilt series, `A^T b`.
    ///
    /// # Errors
    /// As [`Projector::project`].
    fn back_project(&self, images: &Projections, volume: &mut Volume) -> Result<()>;

    /// The shape of a volume of so many rows.
    fn volume_shape(&self, rows: usize) -> Shape {
        let [planes, columns] = self.volume_plane();
        Shape { planes, rows, columns }
    }

    /// The shape of a tilt series of so many rows.
    fn image_shape(&self, rows: usize) -> Shape {
        let [planes, columns] = self.image_plane();
        Shape { planes, rows, columns }
    }

    /// The sum of each row of the matrix, per image and column: the length of each ray in the volume.
    ///
    /// # Errors
    /// As [`Projector::project`].
    fn row_sums(&self) -> Result<Vec<f32>> {
        let mut sums = Stack::zeros(self.image_shape(1));
        self.project(&Stack::from_fn(self.volume_shape(1), |_, _, _| 1.0), &mut sums)?;
        Ok(sums.slabs()[0].data.iter().map(|lanes| lanes.0[0]).collect())
    }

    /// The sum of each column of the matrix, per plane and column of the volume: what all images see of a voxel.
    ///
    /// # Errors
    /// As [`Projector::project`].
    fn column_sums(&self) -> Result<Vec<f32>> {
        let mut sums = Stack::zeros(self.volume_shape(1));
        self.back_project(&Stack::from_fn(self.image_shape(1), |_, _, _| 1.0), &mut sums)?;
        Ok(sums.slabs()[0].data.iter().map(|lanes| lanes.0[0]).collect())
    }
}

/// Works on groups of slabs in parallel: `work(from, to)` overwrites `to`, which no other call touches.
fn in_groups(from: &Stack, to: &mut Stack, work: impl Fn(&[Slab], &mut [Slab]) + Sync) {
    let group = group(from.slabs().len());
    let from = from.slabs().par_chunks(group);
    to.slabs_mut().par_chunks_mut(group).zip(from).for_each(|(to, from)| work(from, to));
}

/// Fails unless volume and tilt series are of the projector's shapes.
pub(crate) fn check(
    projector: &(impl Projector + ?Sized),
    volume: &Volume,
    images: &Projections,
) -> Result<()> {
    volume.check_shape("volume of a projection", projector.volume_shape(volume.shape().rows))?;
    images.check_shape("tilt series of a projection", projector.image_shape(volume.shape().rows))
}

/// How many slabs share one computation of weights: as many as leave work for every thread, and fit the cache.
fn group(slabs: usize) -> usize {
    (slabs / rayon::current_num_threads()).clamp(1, 4)
}

/// Fails unless an axis has the two voxels that interpolation needs.
fn check_extent(name: &'static str, extent: usize) -> Result<()> {
    if (2..=Shape::MAX_EXTENT).contains(&extent) {
        return Ok(());
    }
    Err(Error::parameter(name, extent, "between 2 and 1048576"))
}

fn clear(slabs: &mut [Slab]) {
    for slab in slabs {
        slab.data.fill(Lanes::ZERO);
    }
}
