//! Any back end, made unkind: messages to whoever waits for anyone arrive in a drawn order and may arrive again later.
//!
//! What is built on [`Comm::recv_any`] must not care, and the tests see to it. Messages that are waited for by rank
//! keep their order, as every back end promises.

use super::{Comm, Event};
use crate::Result;
use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;

/// How many old messages may come again.
const REMEMBERED: usize = 8;

/// A back end whose events of [`Comm::recv_any`] are shuffled and repeated.
#[derive(Debug)]
pub struct Storm<C> {
    comm: C,
    generator: Pcg32,
    /// Repetitions in percent.
    repeat_percent: u32,
    waiting: Vec<Event>,
    past: Vec<Event>,
}

impl<C: Comm> Storm<C> {
    /// Shuffles and repeats by a seed; `repeat_percent` of the messages come again, some much later.
    pub fn new(comm: C, seed: u64, repeat_percent: u32) -> Self {
        let generator = Pcg32::new(seed, comm.rank() as u64);
        Self { comm, generator, repeat_percent, waiting: Vec::new(), past: Vec::new() }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.generator.next_u32() as usize % bound
    }

    /// Takes one of the events that are there, which must be one at least.
    fn draw(&mut self) -> Event {
        let place = self.below(self.waiting.len());
        let event = self.waiting.swap_remove(place);
        if matches!(event, Event::Message { .. }) && self.generator.next_u32() % 100 < self.repeat_percent {
            self.past.push(event.clone());
            if self.past.len() > REMEMBERED {
                let place = self.below(self.past.len());
                self.past.swap_remove(place);
            }
        }
        event
    }
}

impl<C: Comm> Comm for Storm<C> {
    fn rank(&self) -> usize {
        self.comm.rank()
    }

    fn size(&self) -> usize {
        self.comm.size()
    }

    fn send(&mut self, to: usize, bytes: Vec<u8>) -> Result<()> {
        self.comm.send(to, bytes)
    }

    fn recv(&mut self, from: usize) -> Result<Vec<u8>> {
        self.comm.recv(from)
    }

    fn recv_any(&mut self) -> Result<Event> {
        if !self.past.is_empty() && self.generator.next_u32() % 100 < self.repeat_percent {
            let place = self.below(self.past.len());
            return Ok(self.past.swap_remove(place));
        }
        if self.waiting.is_empty() {
            let event = self.comm.recv_any()?;
            self.waiting.push(event);
        }
        while let Ok(Some(event)) = self.comm.try_recv_any() {
            self.waiting.push(event);
        }
        Ok(self.draw())
    }

    fn try_recv_any(&mut self) -> Result<Option<Event>> {
        while let Ok(Some(event)) = self.comm.try_recv_any() {
            self.waiting.push(event);
        }
        if self.waiting.is_empty() {
            return self.comm.try_recv_any();
        }
        Ok(Some(self.draw()))
    }
}
