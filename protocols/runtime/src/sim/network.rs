//! The simulated network: what can become of a message on its way.

use super::rng::{Rng, Span};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How messages between different nodes travel. A message of a node to itself arrives at once and is never lost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// The time a message takes. The wider the span, the more messages overtake each other.
    pub latency: Span,
    /// The probability that a message is lost.
    pub loss: f64,
    /// The probability that a message that is not lost arrives twice, each copy after a latency of its own.
    pub duplication: f64,
}

impl Network {
    /// Loses nothing, duplicates nothing, and keeps the order: every message takes as long.
    pub const fn perfect(latency: Duration) -> Self {
        Self { latency: Span::exactly(latency), loss: 0.0, duplication: 0.0 }
    }
}

/// From half a millisecond to one, nothing lost or duplicated: a local network on a good day.
impl Default for Network {
    fn default() -> Self {
        let latency = Span::new(Duration::from_micros(500), Duration::from_millis(1));
        Self { latency, loss: 0.0, duplication: 0.0 }
    }
}

/// What became of the messages of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Messages released by their senders, without those to themselves and to the application.
    pub sent: u64,
    /// Copies handed to their receivers' queues.
    pub arrived: u64,
    /// Messages lost at random.
    pub lost: u64,
    /// Messages that became two.
    pub duplicated: u64,
    /// Copies lost because their link was cut when they were sent or when they would have arrived.
    pub cut: u64,
    /// Copies that reached a node that was down.
    pub to_down: u64,
    /// Copies lost because the receiver's queue or the network was full.
    pub overflow: u64,
    /// Messages to an index that no actor has.
    pub unroutable: u64,
    /// Messages dropped because they are longer than a message may be ([`Sim::set_longest`](super::Sim::set_longest)).
    #[serde(default)]
    pub too_long: u64,
}

/// The links between nodes; cuts of the same link add up, so that intervals may overlap.
#[derive(Debug)]
pub(crate) struct Links {
    nodes: usize,
    cuts: Vec<u32>,
    cut: usize,
}

impl Links {
    pub(crate) fn new(nodes: usize) -> Self {
        Self { nodes, cuts: vec![0; nodes * nodes], cut: 0 }
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut > 0 && self.cuts[from * self.nodes + to] > 0
    }

    /// True if the link worked before.
    pub(crate) fn cut(&mut self, from: usize, to: usize) -> bool {
        let count = &mut self.cuts[from * self.nodes + to];
        *count += 1;
        self.cut += usize::from(*count == 1);
        *count == 1
    }

    /// True if the link works again.
    pub(crate) fn heal(&mut self, from: usize, to: usize) -> bool {
        let count = &mut self.cuts[from * self.nodes + to];
        let last = *count == 1;
        *count = count.saturating_sub(1);
        self.cut -= usize::from(last);
        last
    }
}

/// The latencies, in nanoseconds, of the copies of a message that arrive: none, one or two.
pub(crate) fn fate(network: &Network, rng: &mut Rng, traffic: &mut Traffic) -> [Option<u64>; 2] {
    if rng.chance(network.loss) {
        traffic.lost += 1;
        return [None, None];
    }
    let first = Some(rng.within(network.latency));
    if rng.chance(network.duplication) {
        traffic.duplicated += 1;
        return [first, Some(rng.within(network.latency))];
    }
    [first, None]
}
