//! How much faster two threads are than one, by the clock: `cargo bench -p parthood-tomography --bench threads`.
//!
//! One and two threads take turns, and the shortest of many runs counts, since others may use the machine; the processor time
//! of two threads over that of one says what sharing costs, whoever else is there.

#![allow(missing_docs, clippy::cast_precision_loss, reason = "small numbers")]

use nix::time::{ClockId, clock_gettime};
use parthood_tomography::phantom::clay;
use parthood_tomography::project::{Joseph, Projector};
use parthood_tomography::solve::{Data, Objective, Whole};
use parthood_tomography::wave::{Focus, Microscope, Series, Setup, Shot};
use parthood_tomography::{Shape, Stack, Tilt};
use std::hint::black_box;
use std::time::{Duration, Instant};

const ROUNDS: usize = 15;

fn main() {
    println!("two threads beside one          by the clock      processor time");
    rays();
    waves();
}

/// The gradient of 128 rows of 256 x 256 voxels and 61 tilts.
fn rays() {
    let tilts: Vec<Tilt> = (-30..=30).map(|step| Tilt::new(2.0 * f64::from(step))).collect();
    let joseph = Joseph::new(256, 256, 256, &tilts).expect("the sizes make sense");
    let volume = Stack::from_fn(joseph.volume_shape(128), |z, y, x| ((z * 31 + y * 7 + x) % 17) as f32);
    let images = Stack::zeros(joseph.image_shape(128));
    let mut gradient = Stack::zeros(volume.shape());
    report("gradient of rays", &mut || {
        let data = Data { projector: &joseph, images: &images };
        let loss = data.gradient(black_box(&volume), &mut Whole, &mut gradient);
        black_box(loss.expect("the shapes fit"));
    });
}

/// The gradient of 8 tilts of 256 rows of 128 x 32 voxels.
fn waves() {
    let shape = Shape::new(32, 256, 128).expect("the sizes make sense");
    let volume = clay(shape, 2.0, 1).expect("2 Angstrom is a size");
    let shot =
        |step: i32| Shot { tilt: Tilt::new(15.0 * f64::from(step)), foci: vec![Focus::underfocus(3000.0)] };
    let shots = (-4..4).map(shot).collect();
    let setup = Setup::new(Microscope::ideal(300e3).expect("a voltage"), 2.0, shape, shots);
    let images = Stack::from_fn(setup.images(), |_, _, _| 1.0);
    let series = Series::new(setup, &images, None).expect("the setup makes sense");
    let mut gradient = Stack::zeros(shape);
    report("gradient of waves, by tilts", &mut || {
        let misfit = series.gradient(black_box(&volume), &[0, 1, 2, 3, 4, 5, 6, 7], &mut gradient);
        black_box(misfit.expect("the shapes fit"));
    });
}

fn report(what: &str, run: &mut (dyn FnMut() + Send)) {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a few threads");
    let pools = [pool(1), pool(2)];
    let (mut clock, mut processor) = ([Duration::MAX; 2], [Duration::MAX; 2]);
    for _ in 0..ROUNDS {
        for (index, pool) in pools.iter().enumerate() {
            let (start, before) = (Instant::now(), processor_time());
            pool.install(&mut *run);
            clock[index] = clock[index].min(start.elapsed());
            processor[index] = processor[index].min(processor_time().saturating_sub(before));
        }
    }
    let ratio = |times: [Duration; 2]| times[0].as_secs_f64() / times[1].as_secs_f64();
    println!("{what:30} {:6.2} times faster {:10.2} times as much", ratio(clock), 1.0 / ratio(processor));
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("this process has a clock").into()
}
