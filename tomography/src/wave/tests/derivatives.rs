//! Derivatives: adjoint, finite differences, curvature, and equal bits however waves are kept.

use super::*;

const FOCI: [Focus; 2] = [Focus::underfocus(700.0), Focus::underfocus(1900.0)];

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

fn signed(seed: u64, count: usize) -> Vec<f64> {
    numbers(seed, count).iter().map(|v| 2.0 * v - 1.0).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn the_adjoint_is_the_adjoint(seed in 1u64..10_000, slices in 1usize..6, absorbs in any::<bool>()) {
        let microscope = if absorbs { full_microscope() } else { microscope() };
        let optics = optics(microscope, 14, 21, 1.1, 5.0);
        let exposure = optics.exposure(slices, &FOCI).unwrap();
        let stack = blobs(optics.grid(), slices, 600.0, seed);
        let change = signed(seed + 1, stack.len());
        let parts = signed(seed + 2, 4 * optics.grid().len());
        let residuals: Vec<C<f64>> = parts.chunks_exact(2).map(|pair| C::new(pair[0], pair[1])).collect();
        let mut ws = optics.workspace(false);
        let moved = exposure.tangent(&stack, &change, &mut ws).unwrap();
        let gradient = exposure.adjoint(&stack, &residuals, &mut ws).unwrap();
        let left: f64 = moved.iter().zip(&residuals).map(|(a, b)| (a * b.conj()).re).sum();
        let right = dot(&change, &gradient);
        let norm = |values: &[C<f64>]| values.iter().map(C::norm_sqr).sum::<f64>().sqrt();
        prop_assert!((left - right).abs() <= 1e-13 * norm(&moved) * norm(&residuals), "{left} {right}");
        prop_assert!(norm(&moved) > 1e-6);
    }
}

#[test]
fn the_tangent_is_the_limit_of_differences() {
    let optics = optics(full_microscope(), 14, 21, 1.1, 5.0);
    let exposure = optics.exposure(4, &FOCI).unwrap();
    let stack = blobs(optics.grid(), 4, 600.0, 2);
    let change = signed(3, stack.len());
    let mut ws = optics.workspace(false);
    let tangent = exposure.tangent(&stack, &change, &mut ws).unwrap();
    let mut at = |step: f64| {
        let stack: Vec<f64> = stack.iter().zip(&change).map(|(v, dv)| v + step * dv).collect();
        exposure.waves(&stack, &mut ws).unwrap()
    };
    let (up, down) = (at(1e-2), at(-1e-2));
    let differences: Vec<C<f64>> = up.iter().zip(&down).map(|(a, b)| (a - b) / 2e-2).collect();
    assert!(rms(&tangent, &differences) < 1e-8 * rms(&tangent, &vec![C::default(); tangent.len()]));
}

/// The error of a gradient beside central differences along itself and along noise, relative to the slope that is to be
/// expected there, best of four steps.
fn error_of_gradient(loss: Loss, microscope: Microscope, weighted: bool, seed: u64) -> f64 {
    let optics = optics(microscope, 14, 21, 1.1, 5.0);
    let exposure = optics.exposure(4, &FOCI).unwrap();
    let mut ws = optics.workspace(false);
    let truth = blobs(optics.grid(), 4, 300.0, seed);
    let images = exposure.intensities(&truth, &mut ws).unwrap();
    let weights: Vec<f64> = numbers(8, images.len()).iter().map(|v| v + 0.5).collect();
    let recorded = Recorded { weights: weighted.then_some(&weights[..]), ..Recorded::new(&images) };
    let stack: Vec<f64> = truth.iter().map(|v| 0.6 * v).collect();
    let mut gradient = vec![0.0; stack.len()];
    let misfit = exposure.gradient(&stack, &recorded, loss, &mut ws, &mut gradient).unwrap();
    assert_eq!(misfit, exposure.misfit(&stack, &recorded, loss, &mut ws).unwrap());
    let norm = dot(&gradient, &gradient).sqrt();
    let along: Vec<f64> = gradient.iter().map(|g| g / norm * 50.0).collect();
    let mut worst = 0.0_f64;
    let noise = signed(seed + 4, stack.len());
    let expected = norm * dot(&noise, &noise).sqrt() / (stack.len() as f64).sqrt();
    for (direction, slope) in [(along, norm * 50.0), (noise, expected)] {
        let mut at = |step: f64| {
            let stack: Vec<f64> = stack.iter().zip(&direction).map(|(v, d)| v + step * d).collect();
            exposure.misfit(&stack, &recorded, loss, &mut ws).unwrap().loss
        };
        let exact = dot(&gradient, &direction);
        let errors = [1e-1, 1e-2, 1e-3, 1e-4]
            .map(|step| ((at(step) - at(-step)) / (2.0 * step) - exact).abs() / slope);
        worst = worst.max(errors.into_iter().fold(f64::MAX, f64::min));
    }
    worst
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    /// P2.
    #[test]
    fn gradients_are_the_limit_of_differences(seed in 1u64..10_000) {
        for loss in [Loss::Amplitude, Loss::Intensity, Loss::Poisson] {
            for (microscope, weighted) in [(microscope(), false), (full_microscope(), true)] {
                let error = error_of_gradient(loss, microscope, weighted, seed);
                prop_assert!(error <= 1e-8, "{loss:?}: {error}");
            }
        }
    }
}

#[test]
fn curvature_is_that_of_the_loss_where_images_are_met() {
    let optics = optics(full_microscope(), 14, 21, 1.1, 5.0);
    let exposure = optics.exposure(3, &FOCI).unwrap();
    let mut ws = optics.workspace(false);
    let stack = blobs(optics.grid(), 3, 300.0, 5);
    let images = exposure.intensities(&stack, &mut ws).unwrap();
    let recorded = Recorded::new(&images);
    let change = signed(4, stack.len());
    for loss in [Loss::Amplitude, Loss::Intensity, Loss::Poisson] {
        let product = exposure.gauss_newton(&stack, &change, None, loss, &mut ws).unwrap();
        let mut at = |step: f64| {
            let stack: Vec<f64> = stack.iter().zip(&change).map(|(v, dv)| v + step * dv).collect();
            let mut gradient = vec![0.0; stack.len()];
            exposure.gradient(&stack, &recorded, loss, &mut ws, &mut gradient).unwrap();
            gradient
        };
        let (up, down) = (at(1e-2), at(-1e-2));
        let error: f64 = (0..stack.len()).map(|i| ((up[i] - down[i]) / 2e-2 - product[i]).powi(2)).sum();
        assert!(error.sqrt() < 1e-5 * dot(&product, &product).sqrt(), "{loss:?}: {}", error.sqrt());
    }
}

#[test]
fn kept_and_recomputed_waves_give_the_same_bits() {
    for slices in [1, 2, 5, 9, 11] {
        let grid = Grid::new(18, 35, 1.0).unwrap();
        let optics = Optics::<f32>::new(full_microscope(), grid, 4.0).unwrap();
        let exposure = optics.exposure(slices, &FOCI).unwrap();
        let stack: Vec<f32> = blobs(grid, slices, 300.0, 1).iter().map(|v| *v as f32).collect();
        let images = vec![0.9; 2 * grid.len()];
        let recorded = Recorded::new(&images);
        let run = |checkpoints: bool| {
            let mut ws = optics.workspace(checkpoints);
            let mut gradient = vec![0.0; stack.len()];
            // Twice, since memory is used again.
            exposure.gradient(&stack, &recorded, Loss::Amplitude, &mut ws, &mut gradient).unwrap();
            let misfit =
                exposure.gradient(&stack, &recorded, Loss::Amplitude, &mut ws, &mut gradient).unwrap();
            (misfit, gradient.iter().map(|g| g.to_bits()).collect::<Vec<u32>>())
        };
        assert_eq!(run(false), run(true), "{slices} slices");
    }
}
