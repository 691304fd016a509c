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

use crate::{Error, Lanes, Projections, Result, Shape, Slab, Volume};
use rayon::prelude::*;

/// A projection matrix and its transpose, for any number of rows.
///
/// Implementors project slabs. Whole stacks are projected by the provided methods.
pub trait Projector: Sync {
    /// Planes and columns of the volume.
    fn volume_plane(&self) -> [usize; 2];
    /// Images and columns of the tilt series.
    fn image_plane(&self) -> [usize; 2];
    /// Overwrites projections with those of a group of slabs.
    fn project_slabs(&self, volume: &[Slab], images: &mut [Slab]);
    /// Overwrites slabs of the volume with the back projection.
    fn back_project_slabs(&self, images: &[Slab], volume: &mut [Slab]);

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

    /// The projections of a volume, `A x`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the arguments are not of this projector's shapes.
    fn project(&self, volume: &Volume, images: &mut Projections) -> Result<()> {
        check(self.volume_shape(volume.shape().rows), volume, self.image_shape(volume.shape().rows), images)?;
        let group = group(volume.slabs().len());
        let volumes = volume.slabs().par_chunks(group);
        images
            .slabs_mut()
            .par_chunks_mut(group)
            .zip(volumes)
            .for_each(|(to, from)| self.project_slabs(from, to));
        Ok(())
    }

    /// The back projection of a tilt series, `A^T b`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the arguments are not of this projector's shapes.
    fn back_project(&self, images: &Projections, volume: &mut Volume) -> Result<()> {
        check(self.volume_shape(images.shape().rows), volume, self.image_shape(images.shape().rows), images)?;
        let group = group(images.slabs().len());
        let images = images.slabs().par_chunks(group);
        volume
            .slabs_mut()
            .par_chunks_mut(group)
            .zip(images)
            .for_each(|(to, from)| self.back_project_slabs(from, to));
        Ok(())
    }

    /// The sum of each row of the matrix, per image and column: the length of each ray in the volume.
    fn row_sums(&self) -> Vec<f32> {
        let [planes, columns] = self.volume_plane();
        let [images, pixels] = self.image_plane();
        let ones = Slab { columns, data: vec![Lanes([1.0; _]); planes * columns] };
        let mut sums = [Slab::zeros(images, pixels)];
        self.project_slabs(&[ones], &mut sums);
        sums[0].data.iter().map(|lanes| lanes.0[0]).collect()
    }

    /// The sum of each column of the matrix, per plane and column of the volume: what all images see of a voxel.
    fn column_sums(&self) -> Vec<f32> {
        let [planes, columns] = self.volume_plane();
        let [images, pixels] = self.image_plane();
        let ones = Slab { columns: pixels, data: vec![Lanes([1.0; _]); images * pixels] };
        let mut sums = [Slab::zeros(planes, columns)];
        self.back_project_slabs(&[ones], &mut sums);
        sums[0].data.iter().map(|lanes| lanes.0[0]).collect()
    }
}

fn check(volume_shape: Shape, volume: &Volume, image_shape: Shape, images: &Projections) -> Result<()> {
    volume.check_shape("volume of a projection", volume_shape)?;
    images.check_shape("tilt series of a projection", image_shape)
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
