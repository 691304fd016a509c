//! What a turn sends: messages are collected per process, and leave together.

use super::counters::Counters;
use super::handle::Faults;
use super::peers::Endpoint;
use super::socket::Socket;
use crate::Error;
use crate::sim::Rng;
use crate::wire::{FrameWriter, MAX_DATAGRAM_LEN, Seal};
use foldhash::HashMap;
use serde::Serialize;
use stateright::actor::Id;
use std::net::SocketAddr;

/// Datagrams that one turn sends at most.
const MAX_FRAMES: usize = 1 << 14;
/// Buffers that are kept for the next turn.
const KEPT_FRAMES: usize = 256;

/// Why a message does not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undeliverable {
    /// No datagram can carry it.
    TooLong,
    /// The turn sends too much already.
    Full,
}

/// Datagrams of a turn that was held back until its saves were durable.
pub(super) struct Outgoing {
    cluster: u64,
    /// The name of this process in its frames.
    sender: Id,
    seal: Seal,
    stamp: u64,
    /// A frame is closed rather than made longer than this.
    flush_len: usize,
    /// The frame of each destination that still takes messages, as an index of `frames`.
    open: HashMap<Endpoint, usize>,
    /// The first `used` are of this turn; the buffers of the others wait for reuse.
    frames: Vec<(SocketAddr, FrameWriter)>,
    used: usize,
}

impl Outgoing {
    pub(super) fn new(cluster: u64, sender: Id, seal: Seal, stamp: u64, flush_len: usize) -> Self {
        Self {
            cluster,
            sender,
            seal,
            stamp,
            flush_len,
            open: HashMap::default(),
            frames: Vec::new(),
            used: 0,
        }
    }

    /// Adds a message to what leaves for `endpoint` when the turn ends.
    pub(super) fn push<M: Serialize>(
        &mut self,
        (endpoint, address): (Endpoint, SocketAddr),
        src: Id,
        dst: Id,
        msg: &M,
    ) -> Result<(), Undeliverable> {
        if let Some(&open) = self.open.get(&endpoint)
            && self.frames[open].1.push(src, dst, msg, self.flush_len).is_ok()
        {
            return Ok(());
        }
        let frame = self.begin(address)?;
        frame.push(src, dst, msg, MAX_DATAGRAM_LEN).map_err(|_| Undeliverable::TooLong)?;
        self.open.insert(endpoint, self.used);
        self.used += 1;
        Ok(())
    }

    /// Sees to it that a datagram leaves for `endpoint` when the turn ends, if only an empty one.
    pub(super) fn open(&mut self, (endpoint, address): (Endpoint, SocketAddr)) -> Result<(), Undeliverable> {
        if !self.open.contains_key(&endpoint) {
            self.begin(address)?;
            self.open.insert(endpoint, self.used);
            self.used += 1;
        }
        Ok(())
    }

    /// The next frame, empty; it counts as used when the caller says so.
    fn begin(&mut self, address: SocketAddr) -> Result<&mut FrameWriter, Undeliverable> {
        if self.used == MAX_FRAMES {
            return Err(Undeliverable::Full);
        }
        if self.used == self.frames.len() {
            self.frames.push((address, FrameWriter::default()));
        }
        let (to, frame) = &mut self.frames[self.used];
        *to = address;
        frame.begin(self.cluster, self.sender);
        Ok(frame)
    }

    /// Lets everything out.
    pub(super) fn release(
        &mut self,
        socket: &mut Socket,
        faults: &Faults,
        rng: &mut Rng,
        counters: &mut Counters,
    ) -> Result<(), Error> {
        if self.used == 0 {
            return Ok(());
        }
        for (_, frame) in &mut self.frames[..self.used] {
            self.stamp += 1;
            frame.seal(&self.seal, self.stamp);
        }
        let mut datagrams = Vec::with_capacity(self.used);
        for (address, frame) in &self.frames[..self.used] {
            if rng.chance(faults.drop) {
                counters.injected_drops += 1;
                continue;
            }
            let copies = if rng.chance(faults.duplicate) { 2 } else { 1 };
            datagrams.extend(std::iter::repeat_n((*address, frame.bytes()), copies));
            counters.messages_out += frame.messages() as u64;
        }
        counters.datagrams_out += datagrams.len() as u64;
        counters.bytes_out += datagrams.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        counters.send_failures += socket.send(&datagrams)?;
        self.used = 0;
        self.open.clear();
        self.frames.truncate(KEPT_FRAMES);
        Ok(())
    }
}
