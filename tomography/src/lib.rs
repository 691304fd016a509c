//! Electron tomography by sub-volumes that equal the whole.
//!
//! A tilt series is reconstructed as sub-volumes, each on its own worker, and the sub-volumes are put together. The
//! question of this package is when the result *equals* what one worker would have computed. Where the answer is
//! "bit for bit", parts and whole run the same kernels in the same order of summation ([`sum`]), and the properties of
//! this package compare bits. Where it is not, the function has another name and its error a stated bound.
//!
//! ```text
//! geometry   axes, tilts, coordinates           stack      volumes and tilt series, in slabs of 16 rows
//! sum        the one order of every float sum   project    Joseph's projector, rotation and sum, their transposes
//! wave       the wave through thick samples     solve      from images to volumes: WBP, SIRT, CGLS, FISTA, subsets, TV
//! comm       messages between workers           decompose  rows, columns, and tasks at workers, equal to the whole
//! align      the tilt axis along the columns      io  MRC files, tilt angles, alignments
//! plan       all that bits depend on, in a file  stitch     blocks put together     phantom  made-up samples
//! job        from files to files, with checkpoints
//! compare    how far two volumes are apart         view       pictures, and a page to scroll through a volume
//! ```
//!
//! Source: Ren, Whittaker, Ophus, Waller, "Electron tomography by parts" (arXiv:2110.07857) and its predecessor,
//! Ultramicroscopy 208 (2020) 112860.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "voxel counts along an axis fit in 24 bits, and kernels turn them into coordinates and back"
)]
#![allow(
    clippy::many_single_char_names,
    clippy::similar_names,
    reason = "x, y, z, their primes and the letters of the papers' formulas"
)]
#![allow(clippy::float_cmp, reason = "equality of bits is what this package is about")]
#![allow(
    clippy::needless_range_loop,
    reason = "loops over sixteen lanes of several arrays are written alike"
)]

pub mod align;
#[cfg(test)]
mod claims;
pub mod comm;
pub mod compare;
pub mod decompose;
pub mod error;
pub mod geometry;
pub mod io;
pub mod job;
pub mod phantom;
pub mod plan;
pub mod project;
pub mod solve;
pub mod stack;
pub mod stitch;
pub mod sum;
#[cfg(test)]
mod testing;
pub mod view;
pub mod wave;

pub use error::{Error, Result};
pub use geometry::{Shape, Tilt, TiltSign};
pub use stack::{LANES, Lanes, Projections, Slab, Stack, Volume};
