//! CGLS: conjugate gradients for least squares.
//!
//! The fastest way to the least-squares solution, and the one whose steps depend on inner products over all rows. With
//! inner products of a part alone, a part takes other steps than the whole does; here they are sums over all rows in
//! the canonical order, so it takes the same.
//! Source: A. Bjoerck, Numerical Methods for Least Squares Problems (1996), section 7.4.

use super::{Data, Run, check_data, misfit};
use crate::{Result, Stack, Volume};

/// Reconstructs by conjugate gradients from a start. Stop early: the noise is fitted last.
///
/// # Errors
/// [`crate::Error::Shape`] if data and start do not fit, and the errors of the projector and of the rows.
pub fn cgls(data: Data<'_>, start: Volume, run: &mut Run<'_>) -> Result<Volume> {
    check_data(data, &start)?;
    let mut residual = Stack::zeros(data.images.shape());
    misfit(data, &start, &mut residual)?;
    residual.update([], |value, []| -value);
    let mut gradient = Stack::zeros(start.shape());
    data.projector.back_project(&residual, &mut gradient)?;
    let length = run.rows.sum(&gradient.row_dots(&gradient))?;
    let fresh = [start, gradient.clone(), residual];
    let (first, [mut length], [mut volume, mut direction, mut residual]) = run.begin([length], fresh)?;
    let mut projected = Stack::zeros(data.images.shape());
    for iteration in first..run.iterations {
        if run.report(iteration, &residual)?.1.is_break() || length == 0.0 {
            break;
        }
        data.projector.project(&direction, &mut projected)?;
        let curvature = run.rows.sum(&projected.row_dots(&projected))?;
        if curvature == 0.0 {
            break;
        }
        let step = (length / curvature) as f32;
        volume.update([&direction], |value, [direction]| value + step * direction);
        residual.update([&projected], |value, [projected]| value - step * projected);
        data.projector.back_project(&residual, &mut gradient)?;
        let next = run.rows.sum(&gradient.row_dots(&gradient))?;
        let turn = (next / length) as f32;
        direction.update([&gradient], |direction, [gradient]| gradient + turn * direction);
        length = next;
        run.watch.keep(iteration + 1, &[length], &[&volume, &direction, &residual])?;
    }
    Ok(volume)
}
