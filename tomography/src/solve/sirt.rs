//! SIRT: `x <- x + C A^T R (b - A x)`, with R and C the inverse sums of the rows and columns of A.
//!
//! The weights make the iteration stable without a step size, whatever the tilts. They depend on the geometry alone.
//! Source: J. Gregor and T. Benson, IEEE Trans. Med. Imaging 27 (2008) 918.

use super::{Data, Run, check_data, misfit};
use crate::{Error, Result, Stack, Volume};

/// The options of [`sirt`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sirt {
    /// Factor of each step; 1 is the classic, up to 2 converges.
    pub relaxation: f32,
    /// Whether negative voxels are set to 0 after each step.
    pub positive: bool,
}

impl Default for Sirt {
    fn default() -> Self {
        Self { relaxation: 1.0, positive: true }
    }
}

/// Reconstructs by SIRT from a start.
///
/// # Errors
/// [`Error::Shape`] if data and start do not fit, [`Error::Parameter`] for a relaxation out of range, and the errors of
/// the projector and of the rows.
pub fn sirt(data: Data<'_>, start: Volume, options: Sirt, run: &mut Run<'_>) -> Result<Volume> {
    check_data(data, &start)?;
    if options.relaxation.is_nan() || options.relaxation <= 0.0 || options.relaxation >= 2.0 {
        return Err(Error::parameter("relaxation", options.relaxation, "above 0 and below 2"));
    }
    let inverse = |sums: Vec<f32>| -> Vec<f32> {
        sums.into_iter().map(|sum| if sum > 0.0 { 1.0 / sum } else { 0.0 }).collect()
    };
    let rays = inverse(data.projector.row_sums()?);
    let mut voxels = inverse(data.projector.column_sums()?);
    for weight in &mut voxels {
        *weight *= -options.relaxation;
    }
    let floor = if options.positive { 0.0 } else { f32::NEG_INFINITY };
    let (first, [], [mut volume]) = run.begin([], [start])?;
    let mut step = Stack::zeros(volume.shape());
    let mut residual = Stack::zeros(data.images.shape());
    for iteration in first..run.iterations {
        misfit(data, &volume, &mut residual)?;
        if run.report(iteration, &residual)?.1.is_break() {
            break;
        }
        residual.weigh(&rays);
        data.projector.back_project(&residual, &mut step)?;
        step.weigh(&voxels);
        volume.update([&step], |value, [step]| (value + step).max(floor));
        run.watch.keep(iteration + 1, &[], &[&volume])?;
    }
    Ok(volume)
}
