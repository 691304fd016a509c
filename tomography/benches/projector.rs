//! Milliseconds per y-slice of projector and solver, as ratios to a stored sparse matrix (CSR) in the same run.
//! `cargo bench -p parthood-tomography`. One thread: slabs are independent, so that more threads divide the time.
//!
//! The matrix is the strongest plain opponent: all weights are computed beforehand, and it, too, works on sixteen rows
//! at once. It costs 8 bytes per entry, 6.5 million entries at n = 256 and 61 tilts. The limit is the same number of products
//! and sums on a matrix and rows so small that all lie in the first-level cache. The other limit is memory: what an iteration
//! must read and write once, however it is done, at the speed of a triad, `a = b + s c`, of arrays that no cache holds.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::needless_range_loop,
    reason = "small numbers, as in the library"
)]

use nix::time::{ClockId, clock_gettime};
use parthood_tomography::project::{Joseph, Projector};
use parthood_tomography::solve::{Data, Progress, Run, Sirt, Whole, sirt};
use parthood_tomography::{LANES, Lanes, Result, Shape, Stack, Tilt, TiltSign};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

const SLABS: usize = 4;
const BUDGET: Duration = Duration::from_secs(2);

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of one thread");
    pool.install(|| {
        println!(
            "ms per y-slice, 61 tilts, one thread    Joseph       CSR   CSR / Joseph   limit   limit / Joseph"
        );
        for n in [256, 512] {
            measure(n);
        }
    });
}

fn measure(n: usize) {
    let angles: Vec<f64> = (-60..=60).step_by(2).map(f64::from).collect();
    let tilts = Tilt::series(&angles, TiltSign::Positive).expect("the angles make sense");
    let joseph = Joseph::new(n, n, n, &tilts).expect("the sizes make sense");
    let matrix = Csr::joseph(n, &tilts);
    let transposed = matrix.transposed(n * n);
    let rows = SLABS * LANES;
    let volume = pattern(joseph.volume_shape(rows));
    let images = pattern(joseph.image_shape(rows));
    let (mut sums, mut back) = (images.clone(), volume.clone());
    let limit = in_cache(matrix.entries.len()) / LANES as f64;
    let report = |what: &str, ours: f64, csr: f64, passes: f64| {
        let limit = passes * limit;
        println!(
            "{what:28} n = {n} {ours:10.2} {csr:10.2} {:10.2} {limit:12.2} {:12.2}",
            csr / ours,
            limit / ours
        );
    };
    let ours =
        milliseconds(|| joseph.project(black_box(&volume), &mut sums).expect("the shapes fit")) / rows as f64;
    let csr =
        milliseconds(|| matrix.multiply(black_box(&volume.slabs()[0].data), &mut sums.slabs_mut()[0].data))
            / LANES as f64;
    report("projection", ours, csr, 1.0);
    let ours = milliseconds(|| joseph.back_project(black_box(&images), &mut back).expect("the shapes fit"))
        / rows as f64;
    let csr = milliseconds(|| {
        transposed.multiply(black_box(&images.slabs()[0].data), &mut back.slabs_mut()[0].data);
    }) / LANES as f64;
    report("back projection", ours, csr, 1.0);
    let iterate = |projector: &dyn Projector| {
        let data = Data { projector, images: &images };
        let run = |iterations: usize| {
            let mut silent = |_: Progress| ControlFlow::Continue(());
            let mut run = Run { iterations, rows: &mut Whole, watch: &mut silent };
            sirt(data, volume.clone(), Sirt::default(), &mut run).expect("the shapes fit")
        };
        // Without the two sums of weights that a run starts with.
        (milliseconds(|| drop(black_box(run(3)))) - milliseconds(|| drop(black_box(run(1))))) / 2.0
    };
    let csr = Stored { matrix, transposed, volume: joseph.volume_plane(), images: joseph.image_plane() };
    let (ours, csr) = (iterate(&joseph) / rows as f64, iterate(&csr) / rows as f64);
    report("iteration of SIRT", ours, csr, 2.0);
    // The volume is read and a step of its size written, the step is read and written to be weighed, and added: seven times;
    // of the images, the sums are written, compared with what was measured, weighed, squared and read: eight times.
    let moved = 4 * (7 * n * n + 8 * tilts.len() * n);
    let (speed, alone) = (moved as f64 / ours / 1e6, moved as f64 / triad_bytes_per_ms());
    println!(
        "    memory: {speed:.2} GB/s; at the speed of a triad {alone:.3} ms, {:.2} of ours",
        alone / ours
    );
}

/// Bytes that a triad reads and writes in a millisecond.
fn triad_bytes_per_ms() -> f64 {
    let (one, two) = (vec![1.0_f32; 32 << 20], vec![2.0_f32; 32 << 20]);
    let mut sums = vec![0.0_f32; one.len()];
    let ms = milliseconds(|| {
        for ((sum, one), two) in black_box(&mut sums).iter_mut().zip(black_box(&one)).zip(black_box(&two)) {
            *sum = one + 0.5 * two;
        }
    });
    (3 * size_of_val(&one[..])) as f64 / ms
}

/// Milliseconds of so many entries on sixteen rows, of a matrix that stays in the first-level cache.
fn in_cache(entries: usize) -> f64 {
    const ROWS: usize = 16;
    const EACH: usize = 64;
    let small = Csr {
        starts: (0..=ROWS).map(|row| (row * EACH) as u32).collect(),
        entries: (0..ROWS * EACH).map(|entry| ((entry % EACH) as u32, 0.5)).collect(),
    };
    let (from, mut to) = ([Lanes([1.0; LANES]); EACH], [Lanes::ZERO; ROWS]);
    milliseconds(|| {
        for _ in 0..entries / (ROWS * EACH) {
            small.multiply(black_box(&from), &mut to);
        }
        black_box(&to);
    })
}

fn pattern(shape: Shape) -> Stack {
    Stack::from_fn(shape, |plane, row, column| ((plane * 31 + row * 7 + column) % 17) as f32)
}

/// Processor time of the shortest of as many runs as the budget allows, at least three. Not time on the clock: the
/// machine has other work.
fn milliseconds(mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = Duration::MAX;
    let mut runs = 0;
    while runs < 3 || start.elapsed() < BUDGET {
        let before = processor_time();
        run();
        best = best.min(processor_time().saturating_sub(before));
        runs += 1;
    }
    best.as_secs_f64() * 1e3
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("this thread has a clock").into()
}

/// The matrix and its transpose as a projector.
struct Stored {
    matrix: Csr,
    transposed: Csr,
    volume: [usize; 2],
    images: [usize; 2],
}

impl Projector for Stored {
    fn volume_plane(&self) -> [usize; 2] {
        self.volume
    }

    fn image_plane(&self) -> [usize; 2] {
        self.images
    }

    fn project(&self, volume: &Stack, images: &mut Stack) -> Result<()> {
        for (to, from) in images.slabs_mut().iter_mut().zip(volume.slabs()) {
            self.matrix.multiply(&from.data, &mut to.data);
        }
        Ok(())
    }

    fn back_project(&self, images: &Stack, volume: &mut Stack) -> Result<()> {
        for (to, from) in volume.slabs_mut().iter_mut().zip(images.slabs()) {
            self.transposed.multiply(&from.data, &mut to.data);
        }
        Ok(())
    }
}

/// A sparse matrix, row by row.
struct Csr {
    starts: Vec<u32>,
    entries: Vec<(u32, f32)>,
}

impl Csr {
    /// The matrix of a Joseph projector of an n by n volume, from the formulas: rows are pixels, columns voxels.
    fn joseph(n: usize, tilts: &[Tilt]) -> Self {
        let centre = (n as f64 - 1.0) / 2.0;
        let (mut starts, mut entries) = (vec![0], Vec::new());
        for tilt in tilts {
            let (sin, cos) = tilt.sin_cos();
            for pixel in 0..n {
                let x_beam = pixel as f64 - centre;
                for step in 0..n {
                    let along = step as f64 - centre;
                    let is_upright = cos >= sin.abs();
                    let place =
                        if is_upright { (x_beam + along * sin) / cos } else { (along * cos - x_beam) / sin };
                    let length = 1.0 / if is_upright { cos } else { sin.abs() };
                    let low = (place + centre).floor();
                    for (voxel, weight) in
                        [(low, 1.0 - (place + centre - low)), (low + 1.0, place + centre - low)]
                    {
                        if voxel >= 0.0 && voxel < n as f64 && weight > 0.0 {
                            let voxel = voxel as usize;
                            let index = if is_upright { step * n + voxel } else { voxel * n + step };
                            entries.push((index as u32, (weight * length) as f32));
                        }
                    }
                }
                starts.push(entries.len() as u32);
            }
        }
        Self { starts, entries }
    }

    fn transposed(&self, columns: usize) -> Self {
        let mut counts = vec![0_u32; columns + 1];
        for (column, _) in &self.entries {
            counts[*column as usize + 1] += 1;
        }
        for column in 0..columns {
            counts[column + 1] += counts[column];
        }
        let (starts, mut next) = (counts.clone(), counts);
        let mut entries = vec![(0, 0.0); self.entries.len()];
        for row in 0..self.starts.len() - 1 {
            for (column, weight) in &self.entries[self.starts[row] as usize..self.starts[row + 1] as usize] {
                let place = &mut next[*column as usize];
                entries[*place as usize] = (row as u32, *weight);
                *place += 1;
            }
        }
        Self { starts, entries }
    }

    fn multiply(&self, from: &[Lanes], to: &mut [Lanes]) {
        multiply(&self.starts, &self.entries, from, to);
    }
}

#[multiversion::multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512dq+avx512vl",
    "x86_64+avx2",
    "aarch64+neon"
))]
fn multiply(starts: &[u32], entries: &[(u32, f32)], from: &[Lanes], to: &mut [Lanes]) {
    for (sum, bounds) in to.iter_mut().zip(starts.windows(2)) {
        let mut lanes = [0.0_f32; LANES];
        for (column, weight) in &entries[bounds[0] as usize..bounds[1] as usize] {
            let value = &from[*column as usize].0;
            for lane in 0..LANES {
                lanes[lane] += weight * value[lane];
            }
        }
        sum.0 = lanes;
    }
}
