//! Forward waves: closed forms, conservation, symmetry, thickness of slices, the weak limit.

use super::*;

#[test]
fn fused_passes_equal_the_plain_formulas() {
    // Extents that are odd, prime, smaller and larger than a tile, and no multiple of one.
    for (x, y, slices) in [(9, 15, 3), (16, 37, 2), (20, 16, 4), (7, 1, 2), (1, 9, 1)] {
        for microscope in [microscope(), full_microscope()] {
            let optics = optics(microscope, x, y, 1.3, 8.0);
            let stack = blobs(optics.grid(), slices, 500.0, 7);
            let foci = [Focus::underfocus(300.0), Focus::at_distance(100.0)];
            let waves =
                optics.exposure(slices, &foci).unwrap().waves(&stack, &mut optics.workspace(false)).unwrap();
            for (wave, focus) in waves.chunks_exact(x * y).zip(foci) {
                let plain = reference(&microscope, optics.grid(), (slices, 8.0), &stack, focus, None);
                assert!(rms(wave, &plain) < 1e-13, "{x} x {y} x {slices}: {}", rms(wave, &plain));
            }
        }
    }
}

#[test]
fn nothing_leaves_the_beam_as_it_was() {
    let optics = optics(microscope(), 24, 40, 1.0, 4.0);
    let exposure = optics.exposure(6, &[Focus::underfocus(2000.0)]).unwrap();
    for wave in exposure.waves(&vec![0.0; 6 * 960], &mut optics.workspace(false)).unwrap() {
        assert!((wave - 1.0).norm() < 1e-14);
    }
}

#[test]
fn a_uniform_slab_only_turns_the_phase() {
    let microscope = microscope();
    let optics = optics(microscope, 32, 32, 1.0, 4.0);
    let exposure = optics.exposure(8, &[Focus::at_distance(500.0)]).unwrap();
    for wave in exposure.waves(&vec![30.0; 8 * 1024], &mut optics.workspace(false)).unwrap() {
        assert!((wave.norm() - 1.0).abs() < 1e-14);
        assert!((wave.arg() - microscope.beam.interaction * 240.0).abs() < 1e-14);
    }
    let absorbing = Microscope { absorption: 0.1, ..microscope };
    let optics = super::optics(absorbing, 32, 32, 1.0, 4.0);
    let exposure = optics.exposure(8, &[Focus::at_distance(500.0)]).unwrap();
    let wave = exposure.waves(&vec![30.0; 8 * 1024], &mut optics.workspace(false)).unwrap()[77];
    assert!((wave.norm() - (-0.1 * microscope.beam.interaction * 240.0).exp()).abs() < 1e-14);
}

#[test]
fn a_weak_grating_has_the_contrast_of_the_transfer_function() {
    let microscope = microscope();
    let (n, phase) = (64, 1e-3);
    let optics = optics(microscope, n, n, 1.0, 4.0);
    let focus = Focus::at_distance(2000.0);
    let published = [(3, 5.369_356e-4), (6, 1.770_665e-3), (9, 1.281_345e-3)];
    for (periods, amplitude) in published {
        let grating = |x: usize| (std::f64::consts::TAU * (periods * x) as f64 / n as f64).cos();
        let stack: Vec<f64> =
            (0..n * n).map(|i| phase / microscope.beam.interaction * grating(i / n)).collect();
        let images =
            optics.exposure(1, &[focus]).unwrap().intensities(&stack, &mut optics.workspace(false)).unwrap();
        let projected: f64 = (0..n * n).map(|i| images[i] * grating(i / n)).sum();
        let measured = 2.0 * projected / (n * n) as f64;
        assert!((measured / amplitude - 1.0).abs() < 1e-6, "{periods}: {measured}");
        let weak =
            WeakPhase::new(&microscope, optics.grid(), &[focus], 1e-3).unwrap().images(&stack).unwrap();
        let largest = weak.iter().zip(&images).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(largest < 2e-6, "second order in the phase: {largest}");
    }
}

#[test]
fn the_weak_model_is_the_limit_of_multislice() {
    let microscope = Microscope { slice_aperture: Aperture::None, ..full_microscope() };
    let optics = optics(microscope, 32, 24, 1.5, 4.0);
    let foci = [Focus::underfocus(3000.0), Focus::underfocus(6000.0)];
    let weak = WeakPhase::new(&microscope, optics.grid(), &foci, 1e-9).unwrap();
    let difference = |height: f64| {
        let stack = blobs(optics.grid(), 1, height, 3);
        let thick =
            optics.exposure(1, &foci).unwrap().intensities(&stack, &mut optics.workspace(false)).unwrap();
        let thin = weak.images(&stack).unwrap();
        let scale = thin.iter().map(|i| (i - 1.0).abs()).fold(0.0, f64::max);
        thin.iter().zip(&thick).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / scale
    };
    let (strong, faint) = (difference(1.0), difference(0.01));
    assert!(strong < 1e-3 && faint < 1.5e-2 * strong, "first order: {strong}, {faint}");
    // Two foci fill each other's zeros, so that a band-limited sample is found again.
    let sample = blobs(optics.grid(), 1, 1.0, 3);
    let found = weak.restore(&weak.images(&sample).unwrap()).unwrap();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (sample_mean, found_mean) = (mean(&sample), mean(&found));
    let pairs = sample.iter().zip(&found).map(|(a, b)| (a - sample_mean, b - found_mean));
    let (error, power) = pairs.fold((0.0, 0.0), |(e, p), (a, b)| (e + (a - b) * (a - b), p + a * a));
    assert!(error < 1e-2 * power, "{}", error / power);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// P3: within `16 S u log2 N` of 1, and never rising behind an aperture.
    #[test]
    fn slices_conserve_energy_and_apertures_only_take(seed in 1u64..10_000, height in 20.0..80.0f64) {
        for (aperture, conserves) in [(Aperture::None, true), (Aperture::Hard, false), (Aperture::Corner, false)] {
            let microscope =
                Microscope { slice_aperture: aperture, image_aperture: Aperture::None, ..microscope() };
            let optics = optics(microscope, 32, 32, 1.0, 4.0);
            let stack: Vec<f64> = numbers(seed, 8 * 1024).iter().map(|v| height * v).collect();
            let energy = |slices: usize| {
                let waves = optics.exposure(slices, &[Focus::at_distance(0.0)]).unwrap();
                let waves = waves.waves(&stack[..slices * 1024], &mut optics.workspace(false)).unwrap();
                waves.iter().map(C::norm_sqr).sum::<f64>() / 1024.0
            };
            let energies: Vec<f64> = (1..=8).map(energy).collect();
            let tolerance = |slices: usize| 16.0 * slices as f64 * (f64::EPSILON / 2.0) * 10.0;
            if conserves {
                let off = energies.iter().zip(1..).all(|(energy, slices)| (energy - 1.0).abs() <= tolerance(slices));
                prop_assert!(off, "{energies:?}");
            } else {
                prop_assert!(energies.windows(2).all(|pair| pair[1] <= pair[0] + tolerance(8)), "{energies:?}");
                prop_assert!(energies[7] < 0.99999, "random slices scatter beyond the aperture: {energies:?}");
            }
        }
    }
}

#[test]
fn energy_beyond_two_thirds_of_nyquist_is_reported() {
    let optics = optics(microscope(), 32, 27, 1.0, 4.0);
    let exposure = optics.exposure(2, &[Focus::at_distance(0.0)]).unwrap();
    let noise: Vec<f64> = numbers(5, 2 * optics.grid().len()).iter().map(|v| 1500.0 * v).collect();
    let smooth = blobs(optics.grid(), 2, 100.0, 2);
    let outside = |stack: &[f64]| {
        let images = vec![1.0; optics.grid().len()];
        let recorded = Recorded::new(&images);
        let mut ws = optics.workspace(false);
        exposure.misfit(stack, &recorded, Loss::Amplitude, &mut ws).unwrap().energy_outside
    };
    // The exit wave, by definition.
    let open = Microscope { image_aperture: Aperture::None, ..microscope() };
    let exit = reference(&open, optics.grid(), (2, 4.0), &noise, Focus::at_distance(2.0), None);
    let spectrum = transform(optics.grid(), &exit, -1.0);
    let (mut beyond, mut total) = (0.0, 0.0);
    for (index, value) in spectrum.iter().enumerate() {
        total += value.norm_sqr();
        if optics.grid().frequency(index / 27, index % 27) > 1.0 / 3.0 {
            beyond += value.norm_sqr();
        }
    }
    assert!((outside(&noise) - beyond / total).abs() < 1e-12);
    assert!(outside(&noise) > Misfit::ALIASED && outside(&smooth) < Misfit::ALIASED);
}

/// Waves through blobs of one seed in slices of 8, 4, 2 and 1 voxels, and the largest phase along a ray.
fn in_slices(microscope: Microscope, seed: u64) -> ([Vec<C<f64>>; 4], f64) {
    let (pixel, voxels) = (2.0, 16);
    let grid = Grid::new(24, 24, pixel).unwrap();
    let fine = blobs(grid, voxels, 25.0 * pixel, seed);
    let phi = (0..grid.len())
        .map(|i| (0..voxels).map(|s| fine[s * grid.len() + i]).sum::<f64>() * microscope.beam.interaction)
        .fold(0.0, f64::max);
    let wave = |bin: usize| {
        let optics = Optics::new(microscope, grid, bin as f64 * pixel).unwrap();
        let stack: Vec<f64> = (0..voxels / bin * grid.len())
            .map(|i| {
                let (slice, pixel) = (i / grid.len(), i % grid.len());
                (0..bin).map(|voxel| fine[(slice * bin + voxel) * grid.len() + pixel]).sum()
            })
            .collect();
        let exposure = optics.exposure(voxels / bin, &[Focus::at_distance(1000.0)]).unwrap();
        exposure.waves(&stack, &mut optics.workspace(false)).unwrap()
    };
    ([8, 4, 2, 1].map(wave), phi)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    /// P5: halving slices changes the wave by at most `pi lambda dz k_max^2 phi`, and by less each time.
    #[test]
    fn thinner_slices_converge_within_the_stated_bound(seed in 1u64..10_000) {
        let microscope = microscope();
        let (waves, phi) = in_slices(microscope, seed);
        let differences: Vec<f64> = waves.windows(2).map(|pair| rms(&pair[0], &pair[1])).collect();
        prop_assert!(differences.windows(2).all(|pair| pair[1] < 0.7 * pair[0]), "{differences:?}");
        let cut = 1.0 / 6.0;
        for (difference, bin) in differences.iter().zip([8.0, 4.0, 2.0]) {
            let bound = std::f64::consts::PI * microscope.beam.wavelength_angstrom * bin * 2.0 * cut * cut * phi;
            prop_assert!(*difference <= bound, "{difference} beside {bound}");
        }
    }
}

/// P5, the twin that must fail: an aperture within the band acts once for each slice, so more slices take more.
#[test]
fn an_aperture_within_the_band_for_each_slice_does_not_converge() {
    let inside = Microscope { slice_aperture: Aperture::IMAGE, ..microscope() };
    let (waves, _) = in_slices(inside, 11);
    let differences: Vec<f64> = waves.windows(2).map(|pair| rms(&pair[0], &pair[1])).collect();
    assert!(differences.windows(2).all(|pair| pair[1] > pair[0]), "{differences:?}");
}

#[test]
fn half_precision_of_double_is_enough() {
    let microscope = full_microscope();
    let grid = Grid::new(48, 40, 1.2).unwrap();
    let stack = blobs(grid, 12, 200.0, 9);
    let foci = [Focus::underfocus(1500.0)];
    let long = Optics::new(microscope, grid, 5.0).unwrap();
    let long = long.exposure(12, &foci).unwrap().waves(&stack, &mut long.workspace(false)).unwrap();
    let optics = Optics::<f32>::new(microscope, grid, 5.0).unwrap();
    let stack: Vec<f32> = stack.iter().map(|v| *v as f32).collect();
    let short = optics.exposure(12, &foci).unwrap().waves(&stack, &mut optics.workspace(false)).unwrap();
    let short: Vec<C<f64>> = short.iter().map(|w| C::new(w.re.wide(), w.im.wide())).collect();
    assert!(rms(&long, &short) < 2e-6, "{}", rms(&long, &short));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn a_shifted_sample_has_a_shifted_wave(shift_x in 0usize..20, shift_y in 0usize..33, seed in 1u64..1000) {
        let optics = optics(full_microscope(), 20, 33, 1.0, 4.0);
        let grid = optics.grid();
        let turned = |index: usize| {
            let (s, x, y) = (index / grid.len(), index / grid.y % grid.x, index % grid.y);
            s * grid.len() + (x + shift_x) % grid.x * grid.y + (y + shift_y) % grid.y
        };
        let stack = blobs(grid, 3, 300.0, seed);
        let shifted: Vec<f64> = (0..stack.len()).map(|index| stack[turned(index)]).collect();
        let exposure = optics.exposure(3, &[Focus::underfocus(800.0)]).unwrap();
        let mut ws = optics.workspace(false);
        let wave = exposure.waves(&stack, &mut ws).unwrap();
        let expected: Vec<C<f64>> = (0..grid.len()).map(|index| wave[turned(index)]).collect();
        prop_assert!(rms(&exposure.waves(&shifted, &mut ws).unwrap(), &expected) < 1e-14);
    }
}

#[test]
fn unfit_arrays_and_numbers_are_refused() {
    let optics = optics(microscope(), 8, 8, 1.0, 4.0);
    let exposure = optics.exposure(2, &[Focus::at_distance(0.0)]).unwrap();
    let mut ws = optics.workspace(false);
    assert!(exposure.waves(&[0.0; 64], &mut ws).unwrap_err().to_string().contains("stack of slices"));
    let recorded = Recorded::new(&[1.0; 63]);
    let message = exposure.misfit(&[0.0; 128], &recorded, Loss::Amplitude, &mut ws).unwrap_err().to_string();
    assert!(message.contains("recorded images"), "{message}");
    assert!(optics.exposure(0, &[Focus::at_distance(0.0)]).is_err());
    assert!(optics.exposure(2, &[Focus::at_distance(f64::NAN)]).is_err());
    assert!(Optics::<f32>::new(microscope(), optics.grid(), 0.0).is_err());
    assert!(Grid::new(8, 0, 1.0).is_err() && Grid::new(8, 8, -1.0).is_err());
}
