//! Milliseconds of CPU of a wave through 64 slices, forward and with its gradient, one thread, 32-bit complex numbers.
//! `cargo bench -p parthood-tomography --bench multislice`.
//!
//! The limit is what the transforms alone cost: as many bare one-dimensional transforms of the same length, on values
//! that stay in the first-level cache, in the same run; and what comes from memory and goes there: slices, kept waves and
//! gradients, at the speed of a plain copy. Beside it stands what the transforms cost without being fused: as many of rustfft's
//! two-dimensional ones, rows and transposed rows, with transpositions by tiles. `peers/bench.py` measures other programs on
//! the same task.

#![allow(missing_docs, clippy::cast_precision_loss, reason = "small numbers")]

use nix::time::{ClockId, clock_gettime};
use parthood_tomography::wave::{C, Focus, Grid, Loss, Microscope, Optics, Recorded};
use rustfft::FftPlanner;
use std::hint::black_box;
use std::time::Duration;

const SLICES: usize = 64;
const BUDGET_S: f64 = 3.0;

fn main() {
    println!(
        "64 slices, one focus, one thread     ms   transforms alone, ms   share of ours   memory alone, ms   share   \
         two-dimensional, ms   share"
    );
    for n in [256, 512] {
        measure(n);
    }
}

fn measure(n: usize) {
    let microscope = Microscope::ideal(300e3).expect("300 kV is a voltage");
    let grid = Grid::new(n, n, 1.0).expect("the sizes make sense");
    let optics = Optics::<f32>::new(microscope, grid, 4.0).expect("4 Angstrom is a thickness");
    let exposure = optics.exposure(SLICES, &[Focus::underfocus(1000.0)]).expect("one focus");
    let stack: Vec<f32> = (0..SLICES * n * n).map(|i| (i * 7919 % 4001) as f32 * 0.01).collect();
    let images = vec![1.0; n * n];
    let recorded = Recorded::new(&images);
    let mut gradient = vec![0.0; stack.len()];
    let mut ws = optics.workspace(false);
    let copied = copied_bytes_per_ms();
    let report = |what: &str, transforms: usize, bytes: usize, run: &mut dyn FnMut()| {
        let (ours, bare, moved) = (milliseconds(run), bare(n, transforms), bytes as f64 / copied);
        let planes = planes(n, transforms / (2 * n));
        println!(
            "{what:12} n = {n:4} {ours:22.1} {bare:20.1} {:14.2} {moved:18.1} {:12.2} {planes:17.1} {:11.2}",
            bare / ours,
            moved / ours,
            planes / ours
        );
    };
    let pixels = SLICES * n * n;
    // Rows forth and columns forth per slice and back again, and back at the camera.
    let forward = 4 * SLICES * n;
    report("forward", forward, 4 * pixels, &mut || {
        let misfit = exposure.misfit(black_box(&stack), &recorded, Loss::Amplitude, &mut ws);
        black_box(misfit.expect("the shapes agree"));
    });
    // Slices twice, their gradient, and the waves there and back.
    report("gradient", 2 * forward, (3 * 4 + 2 * 8) * pixels, &mut || {
        let misfit = exposure.gradient(black_box(&stack), &recorded, Loss::Amplitude, &mut ws, &mut gradient);
        black_box(misfit.expect("the shapes agree"));
    });
}

/// Bytes that a copy reads and writes in a millisecond, of arrays that no cache holds.
fn copied_bytes_per_ms() -> f64 {
    let from = vec![1.0_f32; 64 << 20];
    let mut to = vec![0.0_f32; from.len()];
    let ms = milliseconds(&mut || black_box(&mut to).copy_from_slice(black_box(&from)));
    (2 * size_of_val(&from[..])) as f64 / ms
}

/// So many bare transforms of length `n`, half of them forth and half back.
fn bare(n: usize, transforms: usize) -> f64 {
    let mut planner = FftPlanner::<f32>::new();
    let plans = [planner.plan_fft_forward(n), planner.plan_fft_inverse(n)];
    let mut values = vec![C::new(0.001, 0.0); n];
    let mut scratch = vec![C::default(); plans[0].get_inplace_scratch_len()];
    milliseconds(&mut || {
        for transform in 0..transforms {
            if transform % 8 == 0 {
                values.fill(C::new(0.001, 0.0));
            }
            plans[transform % 2].process_with_scratch(&mut values, &mut scratch);
        }
    })
}

/// So many two-dimensional transforms of a plane of n by n, half of them forth and half back, without scaling.
fn planes(n: usize, transforms: usize) -> f64 {
    const TILE: usize = 16;
    let mut planner = FftPlanner::<f32>::new();
    let plans = [planner.plan_fft_forward(n), planner.plan_fft_inverse(n)];
    let (mut values, mut turned) = (vec![C::new(0.001, 0.0); n * n], vec![C::default(); n * n]);
    let mut scratch = vec![C::default(); plans[0].get_inplace_scratch_len()];
    let transpose = |from: &[C<f32>], to: &mut [C<f32>]| {
        for (top, left) in
            (0..n).step_by(TILE).flat_map(|top| (0..n).step_by(TILE).map(move |left| (top, left)))
        {
            for row in top..n.min(top + TILE) {
                for column in left..n.min(left + TILE) {
                    to[column * n + row] = from[row * n + column];
                }
            }
        }
    };
    milliseconds(&mut || {
        for transform in 0..transforms {
            if transform % 4 == 0 {
                values.fill(C::new(0.001, 0.0));
            }
            let plan = &plans[transform % 2];
            plan.process_with_scratch(&mut values, &mut scratch);
            transpose(&values, &mut turned);
            plan.process_with_scratch(&mut turned, &mut scratch);
            transpose(&turned, &mut values);
        }
        black_box(&values);
    })
}

/// The least CPU time of several runs: other work on the machine only adds.
fn milliseconds(run: &mut dyn FnMut()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("threads have a clock");
        Duration::from(time).as_secs_f64()
    };
    run();
    let (start, mut least) = (now(), f64::MAX);
    while now() - start < BUDGET_S {
        let before = now();
        run();
        least = least.min(now() - before);
    }
    least * 1e3
}
