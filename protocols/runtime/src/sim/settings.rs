//! The parameters of a simulated run.

use super::cost::Cost;
use super::network::Network;
use super::rng::Span;
use super::schedule::Fault;
use crate::Error;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Everything that determines a simulated run, besides the actors, the faults and what is injected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The seed of all random numbers.
    pub seed: u64,
    /// How messages travel, until a fault says otherwise.
    pub network: Network,
    /// The time from the end of a step until what it saved is durable. A disk keeps the order of saves.
    pub sync: Span,
    /// When sends leave.
    pub release: Release,
    /// The time until an offered random choice is made.
    pub choice: Span,
    /// By how many parts per million each node's clock is fast; nodes beyond the end are exact.
    pub clocks_ppm: Vec<i32>,
    /// What messages cost each node; nodes beyond the end work for free.
    pub costs: Vec<Cost>,
    /// What the run may use.
    pub limits: Limits,
}

/// When a step's sends leave its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Release {
    /// When everything that the node saved up to and in this step is durable. Waiting for the step's own save alone
    /// would not be enough: a later step may tell what an earlier one has saved.
    AfterSync,
    /// At once. **Wrong**: a crash can then forget what others were told. For tests that must notice.
    BeforeSync,
}

/// What a run may use. What does not fit into a queue is lost like any other message, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Events after which the run stops.
    pub events: u64,
    /// Events that wait for a node's server.
    pub queue: usize,
    /// Events that wait for their time: messages in flight, timers, faults.
    pub in_flight: usize,
    /// Messages to the application that were not taken out.
    pub outbox: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { events: u64::MAX, queue: 1 << 16, in_flight: 1 << 20, outbox: 1 << 16 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            network: Network::default(),
            sync: Span::ZERO,
            release: Release::AfterSync,
            choice: Span::ZERO,
            clocks_ppm: Vec::new(),
            costs: Vec::new(),
            limits: Limits::default(),
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_network(&self.network)?;
        check_span("the time of a sync", self.sync)?;
        check_span("the time of a random choice", self.choice)?;
        match self.clocks_ppm.iter().find(|ppm| **ppm <= -1_000_000) {
            Some(ppm) => Err(wrong(format!("a clock that is {ppm} ppm fast runs backwards"))),
            None => Ok(()),
        }
    }

    pub(crate) fn cost(&self, node: usize) -> Cost {
        self.costs.get(node).copied().unwrap_or_default()
    }

    /// The true time at which a timer of `node` fires that is to fire after `duration` on its own clock, in nanoseconds.
    pub(crate) fn true_time(&self, node: usize, duration: u64) -> u64 {
        const MILLION: u64 = 1_000_000;
        let ppm = self.clocks_ppm.get(node).copied().unwrap_or(0);
        let rate = u128::from(MILLION.saturating_add_signed(i64::from(ppm)).max(1));
        u64::try_from(u128::from(duration) * u128::from(MILLION) / rate).unwrap_or(u64::MAX)
    }
}

pub(crate) fn check_fault(fault: &Fault, nodes: usize) -> Result<(), Error> {
    let named: Vec<usize> = match fault {
        Fault::Crash(node)
        | Fault::Wipe(node)
        | Fault::Restart(node)
        | Fault::Pause(node)
        | Fault::Resume(node) => vec![*node],
        Fault::Cut(links) | Fault::Heal(links) => links.iter().flat_map(|(from, to)| [*from, *to]).collect(),
        Fault::Network(network) => return check_network(network),
    };
    match named.iter().find(|node| **node >= nodes) {
        Some(node) => Err(wrong(format!("a fault names node {node}, but there are {nodes} nodes"))),
        None => Ok(()),
    }
}

fn check_network(network: &Network) -> Result<(), Error> {
    check_span("the latency", network.latency)?;
    for (name, probability) in [("loss", network.loss), ("duplication", network.duplication)] {
        if !(0.0..=1.0).contains(&probability) {
            return Err(wrong(format!("the probability of {name} is {probability}, not between 0 and 1")));
        }
    }
    Ok(())
}

fn check_span(name: &str, Span { min, max }: Span) -> Result<(), Error> {
    if min > max || max > Duration::from_secs(1 << 32) {
        return Err(wrong(format!("{name} is from {min:?} to {max:?}: the wrong way round, or too long")));
    }
    Ok(())
}

fn wrong(reason: String) -> Error {
    Error::Simulation { reason }
}
