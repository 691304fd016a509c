//! What the tests of this package share.

use crate::align::Alignment;
use crate::comm::{Comm, Event};
use crate::plan::{Contrast, Mode, Model, Solver, Spec};
use crate::solve::Prior;
use crate::{Error, Result, Shape, Stack, Tilt};
use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Tilts of these angles.
pub(crate) fn tilts(angles_deg: &[f64]) -> Vec<Tilt> {
    angles_deg.iter().map(|angle| Tilt::new(*angle)).collect()
}

/// Sums along rays in voxels of 1.5 Angstrom at seven tilts onto images of 16 columns; four iterations.
pub(crate) fn rays(volume: Shape, solver: Solver, prior: Prior) -> Spec {
    Spec {
        volume,
        voxel_angstrom: 1.5,
        pixels: 16,
        tilts: tilts(&[-60.0, -41.0, -20.1, 0.0, 19.9, 33.0, 61.0]),
        alignment: Alignment::default(),
        contrast: Contrast::Projection,
        model: Model::Linear,
        solver,
        prior,
        iterations: 4,
        seed: 4,
        mode: Mode::Exact {},
    }
}

/// Values in -1..1, drawn from a seed in the order of rows, planes, columns.
pub(crate) fn noise(shape: Shape, seed: u64) -> Stack {
    let mut generator = Pcg32::new(seed, 1);
    Stack::from_fn(shape, |_, _, _| (generator.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0)
}

/// The sizes of values.
pub(crate) fn absolute(stack: &Stack) -> Stack {
    let mut stack = stack.clone();
    stack.update([], |value, []| value.abs());
    stack
}

/// The norm of a difference over that of the first.
pub(crate) fn difference(left: &Stack, right: &Stack) -> f64 {
    let norm = |stack: &Stack| stack.row_dots(stack).iter().sum::<f64>().sqrt();
    let mut gap = left.clone();
    gap.update([right], |left, [right]| left - right);
    norm(&gap) / norm(left)
}

/// Fails if something takes so many seconds, as it does when ranks wait for each other for ever. Whatever hangs is left behind.
pub(crate) fn within(seconds: u64, run: impl FnOnce() + Send + 'static) {
    let (end, ended) = channel();
    let thread = std::thread::spawn(move || {
        run();
        let _ = end.send(());
    });
    match ended.recv_timeout(Duration::from_secs(seconds)) {
        Err(RecvTimeoutError::Timeout) => panic!("it hangs: nothing after {seconds} s"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// A worker that is gone after so many messages: the one that it just read stays without an answer.
pub(crate) struct Mortal<C> {
    pub(crate) comm: C,
    /// How many messages it may still send.
    pub(crate) left: usize,
}

impl<C: Comm> Comm for Mortal<C> {
    fn rank(&self) -> usize {
        self.comm.rank()
    }

    fn size(&self) -> usize {
        self.comm.size()
    }

    fn send(&mut self, to: usize, bytes: Vec<u8>) -> Result<()> {
        if self.left == 0 {
            return Err(Error::Lost { rank: to });
        }
        self.left -= 1;
        self.comm.send(to, bytes)
    }

    fn recv(&mut self, from: usize) -> Result<Vec<u8>> {
        self.comm.recv(from)
    }

    fn recv_any(&mut self) -> Result<Event> {
        self.comm.recv_any()
    }

    fn try_recv_any(&mut self) -> Result<Option<Event>> {
        self.comm.try_recv_any()
    }
}
