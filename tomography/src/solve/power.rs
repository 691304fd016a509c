//! The largest eigenvalue of `A^T A`, which bounds the step of a gradient method.

use crate::project::Projector;
use crate::sum::tree_sum;
use crate::{Result, Shape, Stack};
use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;

/// The Lipschitz constant of the gradient of `|A x - b|^2 / 2`, estimated from below by power iterations from a seeded
/// start and raised by a tenth.
///
/// All rows have the same matrix, so one row is enough, and the constant depends on the geometry and the seed alone:
/// every part of a volume finds the same, which is what its steps must have in common with the whole's.
///
/// # Errors
/// Those of the projector.
pub fn lipschitz(projector: &dyn Projector, seed: u64, iterations: usize) -> Result<f64> {
    let mut generator = Pcg32::new(seed, 0x5851_F42D);
    let Shape { planes, columns, .. } = projector.volume_shape(1);
    let mut values =
        (0..planes * columns).map(|_| 0.5 + (generator.next_u32() >> 8) as f32 / (1 << 24) as f32);
    let mut volume = Stack::from_fn(projector.volume_shape(1), |_, _, _| values.next().unwrap_or(1.0));
    let mut images = Stack::zeros(projector.image_shape(1));
    let mut eigenvalue = 0.0;
    for _ in 0..iterations.max(1) {
        let length = tree_sum(&volume.row_dots(&volume)).sqrt();
        if length == 0.0 {
            break;
        }
        volume.update([], |value, []| (f64::from(value) / length) as f32);
        projector.project(&volume, &mut images)?;
        eigenvalue = tree_sum(&images.row_dots(&images));
        projector.back_project(&images, &mut volume)?;
    }
    Ok(1.1 * eigenvalue)
}
