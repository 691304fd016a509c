//! The wave through the sample: from slices of potential to images, and back from images to a gradient.
//!
//! ```text
//! beam        wavelength and interaction        microscope   H(k): defocus, aberration, envelopes; free space
//! aperture    where spectra are cut             multislice   the wave through a stack of slices, and the gradient
//! loss        misfit of a wave to an image      weak         the linear model of thin samples
//! series      tilts of a volume, its gradient   windows      the same by sub-volumes with halos, nearly
//! halo        how far waves reach               exact        tilts at workers, equal to the whole in every bit
//! ```
//!
//! Below them, `real` has elementary functions with the same bits everywhere, `kernels` the loops over pixels, `plane`
//! the transforms.

#![allow(clippy::inline_always, reason = "a loop is compiled for vector units only with all that it calls")]

mod aperture;
mod beam;
mod exact;
mod halo;
mod kernels;
mod loss;
mod microscope;
mod multislice;
mod plane;
mod real;
mod series;
#[cfg(test)]
mod tests;
mod weak;
mod windows;

pub use aperture::Aperture;
pub use beam::Beam;
pub use exact::{Everywhere, Here, Pooled, Scattering, Tilts, serve_tilts};
pub use halo::{Tail, geometric_radius_px};
pub use loss::Loss;
pub use microscope::{Focus, FreeSpace, Microscope};
pub use multislice::{Exposure, Misfit, Optics, Recorded, Workspace};
pub use plane::Grid;
pub use real::{C, Real};
pub(crate) use series::total;
pub use series::{Response, Series, Setup, Shot};
pub use weak::WeakPhase;
pub use windows::{InOwnWindows, InWindows, OwnWindows, Windows, least_halo};
