//! Multislice by workers that equals multislice by one, in every bit.
//!
//! The wave of a tilt needs all rows, a row of the volume needs all tilts. So a tilt's slices are brought together, row
//! by row, where its wave is computed, and its gradient goes back row by row (statement D2):
//!
//! ```text
//! holder of rows      turns its slabs of the volume to the tilt           slab -> slab of slices
//! worker of a tilt    wave there and back, through the slabs of everyone  slabs of slices -> misfit, slabs of gradient
//! holder of rows      adds p R^T (slab of gradient), tilts in their order
//! ```
//!
//! Nothing is approximated, and every sum has an order that no schedule changes: a slab's gradient is added in the order
//! in which the tilts are listed, losses by a tree over that list, pixels row by row. One program, [`Scattering`], runs
//! over three ways to have tilts done ([`Tilts`]):
//!
//! | | who holds the rows | who does a tilt | if a worker is lost |
//! |---|---|---|---|
//! | [`Here`] | this process | this process | - |
//! | [`Pooled`] | rank 0 | any other rank, by leases | its tilts are done again |
//! | [`Everywhere`] | each rank its own | the ranks in turns | the run ends with an error |
//!
//! On the wire goes `2 * 4 * N_x' * N_y * S` bytes per tilt and gradient; a worker of a tilt holds the waves of one tilt,
//! `8 * N_x' * N_y * S` bytes or sqrt(S) of S of them, whatever the number of tilts. `wave_of_tilts` is a constant of the
//! setup, so that neither memory nor result depends on the number of workers.

use super::series::total;
use super::{Misfit, Response, Series};
use crate::comm::Comm;
use crate::decompose::{Pool, serve};
use crate::solve::{Objective, Rows};
use crate::{Error, LANES, Lanes, Result, Slab, Volume};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// A way to have tilts done.
pub trait Tilts: Send {
    /// The answers of some shots, in their order, with the slabs of the rows held here.
    ///
    /// # Errors
    /// [`Error::Shape`] if the slabs are not of the series, and errors of workers.
    fn respond(&mut self, series: &Series, shots: &[usize], own: &[Slab]) -> Result<Vec<Response>>;
}

/// The misfit of some shots of a series, for the solvers.
pub struct Scattering<'a, T> {
    series: &'a Series,
    shots: Vec<usize>,
    tilts: &'a Mutex<T>,
}

impl<'a, T: Tilts> Scattering<'a, T> {
    /// The misfit of these shots, done that way.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there is no shot, or one that the series has not.
    pub fn new(series: &'a Series, shots: Vec<usize>, tilts: &'a Mutex<T>) -> Result<Self> {
        let known = series.setup().shots.len();
        if shots.is_empty() || shots.iter().any(|shot| *shot >= known) {
            return Err(Error::parameter("shots", format!("{shots:?}"), "some of those of the series"));
        }
        Ok(Self { series, shots, tilts })
    }
}

impl<T: Tilts> Objective for Scattering<'_, T> {
    fn check(&self, volume: &Volume) -> Result<()> {
        volume.check_shape("rows of a volume", self.series.setup().volume.with_rows(volume.shape().rows))
    }

    fn gradient(&self, at: &Volume, _: &mut dyn Rows, gradient: &mut Volume) -> Result<Misfit> {
        let mut tilts = self.tilts.lock().unwrap_or_else(PoisonError::into_inner);
        self.series.gradient_by(&mut *tilts, at, &self.shots, gradient)
    }
}

impl Series {
    /// The misfit of some shots, done some way, and its gradient with respect to the rows held here (1/V).
    ///
    /// # Errors
    /// [`Error::Shape`] if the rows are not of the setup; errors of workers.
    pub fn gradient_by(
        &self,
        tilts: &mut impl Tilts,
        rows: &Volume,
        shots: &[usize],
        gradient: &mut Volume,
    ) -> Result<Misfit> {
        gradient.check_shape("gradient of the volume", rows.shape())?;
        gradient.clear();
        let mut misfits = Vec::with_capacity(shots.len());
        for shots in shots.chunks(self.setup().wave_of_tilts) {
            let responses = tilts.respond(self, shots, rows.slabs())?;
            misfits.extend(responses.iter().map(|response| response.misfit));
            let slabs: Vec<&[Slab]> = responses.iter().map(|response| &response.slabs[..]).collect();
            self.add(shots, &slabs, gradient);
        }
        Ok(total(&misfits))
    }
}

/// Tilts done in this process, side by side on the threads of the pool in use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Here;

impl Tilts for Here {
    fn respond(&mut self, series: &Series, shots: &[usize], own: &[Slab]) -> Result<Vec<Response>> {
        // Steep tilts take longer than others, so none waits behind another while a thread is idle.
        let shots = shots.par_iter().with_max_len(1);
        shots.map(|shot| series.respond(*shot, series.turn_all(*shot, own))).collect()
    }
}

/// Tilts done by the other ranks, leased to them one at a time. Answers that arrive twice, in any order, or from a worker
/// that was thought lost leave no trace; the tilts of lost workers are done by others. The workers run [`serve_tilts`].
#[derive(Debug)]
pub struct Pooled<C: Comm> {
    pool: Pool<C>,
    wish: fn(usize, usize) -> Option<usize>,
}

impl<C: Comm> Pooled<C> {
    /// The coordinator. `wish(worker, turn)` is the place in a wave of tilts of the one that a worker should do as its
    /// `turn`-th, if it is free; the result does not depend on it.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn new(comm: C, wish: fn(usize, usize) -> Option<usize>) -> Result<Self> {
        Ok(Self { pool: Pool::new(comm)?, wish })
    }
}

impl<C: Comm> Tilts for Pooled<C> {
    fn respond(&mut self, series: &Series, shots: &[usize], own: &[Slab]) -> Result<Vec<Response>> {
        let task = |shot: &usize| {
            let mut bytes = (*shot as u64).to_le_bytes().to_vec();
            write_slabs(&series.turn_all(*shot, own), &mut bytes);
            bytes
        };
        let tasks: Vec<Vec<u8>> = shots.par_iter().map(task).collect();
        let answers = self.pool.run(&tasks, &self.wish)?;
        shots
            .iter()
            .zip(answers)
            .map(|(shot, bytes)| read_response(series, *shot, own.len(), &bytes, 0))
            .collect()
    }
}

/// Does tilts for a coordinator until it stops.
///
/// # Errors
/// As [`serve`].
pub fn serve_tilts<C: Comm>(series: &Series, comm: &mut C) -> Result<()> {
    serve(comm, |bytes| {
        let unreadable = |what| Error::Message { rank: 0, what };
        let (head, slabs) = bytes.split_first_chunk::<8>().ok_or_else(|| unreadable("no shot"))?;
        let shot = u64::from_le_bytes(*head) as usize;
        if shot >= series.setup().shots.len() {
            return Err(unreadable("a shot that there is not"));
        }
        let count = series.setup().volume.rows.div_ceil(LANES);
        let response = series.respond(shot, read_slabs(series, shot, count, slabs, 0)?)?;
        Ok(write_response(response.misfit, &response.slabs))
    })
}

/// Tilts done by all ranks in turns, each of which holds some rows. All ranks run the same solver on their rows; what they
/// learn of the others is here, and in the prior's rows.
#[derive(Debug)]
pub struct Everywhere<C> {
    comm: C,
    /// The slabs of each rank.
    slabs: Vec<Range<usize>>,
}

impl<C: Comm> Everywhere<C> {
    /// One rank of several that hold these rows.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless there is a range for each rank, they follow each other without gap, and all but the
    /// last end at a whole slab.
    pub fn new(comm: C, rows: &[Range<usize>]) -> Result<Self> {
        let follow = rows.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].end % LANES == 0);
        let fits =
            rows.len() == comm.size() && follow && !rows.iter().any(Range::is_empty) && rows[0].start == 0;
        if !fits {
            let expected = "a range per worker, in order, without gap, cut between slabs";
            return Err(Error::parameter("partition of rows", format!("{rows:?}"), expected));
        }
        let slabs = rows.iter().map(|rows| rows.start / LANES..rows.end.div_ceil(LANES)).collect();
        Ok(Self { comm, slabs })
    }

    /// Sends the slices of these shots to the ranks that do them; gives back those of shots that are done here.
    fn send_slices(&mut self, series: &Series, shots: &[usize], own: &[Slab]) -> Result<Vec<Vec<Slab>>> {
        let (rank, size) = (self.comm.rank(), self.comm.size());
        let mut kept = Vec::new();
        for (place, shot) in shots.iter().enumerate() {
            let slabs = series.turn_all(*shot, own);
            if place % size == rank {
                kept.push(slabs);
                continue;
            }
            let mut bytes = Vec::new();
            write_slabs(&slabs, &mut bytes);
            self.comm.send(place % size, bytes)?;
        }
        Ok(kept)
    }

    /// Does one shot with the slabs of all ranks, sends each its part of the answer, and gives the own.
    fn do_shot(&mut self, series: &Series, shot: usize, own: Vec<Slab>) -> Result<Response> {
        let (here, mut own) = (self.comm.rank(), Some(own));
        let mut slabs = Vec::new();
        for rank in 0..self.comm.size() {
            if rank == here {
                slabs.extend(own.take().into_iter().flatten());
            } else {
                let bytes = self.comm.recv(rank)?;
                slabs.extend(read_slabs(series, shot, self.slabs[rank].len(), &bytes, rank)?);
            }
        }
        let Response { misfit, mut slabs } = series.respond(shot, slabs)?;
        for rank in (0..self.comm.size()).filter(|rank| *rank != here) {
            self.comm.send(rank, write_response(misfit, &slabs[self.slabs[rank].clone()]))?;
        }
        Ok(Response { misfit, slabs: slabs.drain(self.slabs[here].clone()).collect() })
    }
}

impl<C: Comm> Tilts for Everywhere<C> {
    fn respond(&mut self, series: &Series, shots: &[usize], own: &[Slab]) -> Result<Vec<Response>> {
        let (rank, size) = (self.comm.rank(), self.comm.size());
        if own.len() != self.slabs[rank].len() {
            let expected = [own.first().map_or(0, Slab::planes), self.slabs[rank].len() * LANES, 0];
            let found = [expected[0], own.len() * LANES, 0];
            return Err(Error::Shape { what: "rows of this worker", expected, found });
        }
        // Between two ranks, slices of a wave come before its answers, each in the order of shots: nothing else is needed
        // to tell messages apart.
        let kept = self.send_slices(series, shots, own)?;
        let mine = shots.iter().skip(rank).step_by(size).zip(kept);
        let mut done = Vec::new();
        for (shot, slabs) in mine {
            done.push(self.do_shot(series, *shot, slabs)?);
        }
        let mut done = done.into_iter();
        let mut responses = Vec::with_capacity(shots.len());
        for (place, shot) in shots.iter().enumerate() {
            let worker = place % size;
            if worker == rank {
                responses.extend(done.next());
            } else {
                let bytes = self.comm.recv(worker)?;
                responses.push(read_response(series, *shot, own.len(), &bytes, worker)?);
            }
        }
        Ok(responses)
    }
}

fn write_slabs(slabs: &[Slab], bytes: &mut Vec<u8>) {
    for slab in slabs {
        Lanes::write(&slab.data, bytes);
    }
}

fn read_slabs(series: &Series, shot: usize, count: usize, bytes: &[u8], rank: usize) -> Result<Vec<Slab>> {
    let [slices, columns] = series.slice_plane(shot);
    let size = slices * columns * size_of::<Lanes>();
    if bytes.len() != count * size {
        return Err(Error::Message { rank, what: "slabs of another size" });
    }
    let slab = |bytes: &[u8]| {
        let mut slab = Slab::zeros(slices, columns);
        Lanes::read(&mut slab.data, bytes);
        slab
    };
    Ok(bytes.chunks_exact(size).map(slab).collect())
}

fn write_response(misfit: Misfit, slabs: &[Slab]) -> Vec<u8> {
    let mut bytes = [misfit.loss.to_le_bytes(), misfit.energy_outside.to_le_bytes()].concat();
    write_slabs(slabs, &mut bytes);
    bytes
}

fn read_response(series: &Series, shot: usize, count: usize, bytes: &[u8], rank: usize) -> Result<Response> {
    let too_short = || Error::Message { rank, what: "an answer without its misfit" };
    let (loss, rest) = bytes.split_first_chunk::<8>().ok_or_else(too_short)?;
    let (outside, slabs) = rest.split_first_chunk::<8>().ok_or_else(too_short)?;
    let misfit = Misfit { loss: f64::from_le_bytes(*loss), energy_outside: f64::from_le_bytes(*outside) };
    Ok(Response { misfit, slabs: read_slabs(series, shot, count, slabs, rank)? })
}
