//! What is to be solved, in the numbers that were given.

use crate::number::count;
use crate::source::Source;
use crate::symmetry::Symmetry;
use crate::{LEAST_ATTRIBUTE, MOST_ATTRIBUTE, NodeSet, Workload};

/// What a strategy can be judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Objective {
    /// The load of the busiest node, in seconds per command.
    Load,
    /// The expected number of nodes contacted per command.
    Network,
    /// The expected time until a quorum has answered, in seconds.
    Latency,
}

impl Objective {
    /// `load`, `network` or `latency`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Network => "network",
            Self::Latency => "latency",
        }
    }
}

/// Reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Reads.
    Read,
    /// Writes.
    Write,
}

/// One side of the system for one group of clients.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) side: Side,
    /// The share of all commands that come from these clients.
    pub(crate) share: f64,
    pub(crate) source: Source,
}

/// What is to be solved, in the numbers that were given.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) families: Vec<Family>,
    /// Read and write capacity of each node.
    pub(crate) capacities: Vec<(f64, f64)>,
    pub(crate) nodes: NodeSet,
    pub(crate) workload: Workload,
    pub(crate) objective: Objective,
    pub(crate) limits: Vec<(Objective, f64)>,
    /// The nodes that are alike, if any are.
    pub(crate) symmetry: Option<Symmetry>,
}

impl Problem {
    pub(crate) fn counts(&self, metric: Objective) -> bool {
        self.objective == metric || self.limits.iter().any(|(limited, _)| *limited == metric)
    }

    /// Commands of a side per second that a node is capable of.
    pub(crate) fn capacity(&self, node: usize, side: Side) -> f64 {
        let (read, write) = self.capacities[node];
        if side == Side::Read { read } else { write }
    }
}

/// Factors that bring the metrics near 1 in floating point; all 1 in rational arithmetic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) load: f64,
    pub(crate) network: f64,
    pub(crate) latency: f64,
}

impl Scale {
    pub(crate) const NONE: Self = Self { load: 1.0, network: 1.0, latency: 1.0 };

    pub(crate) fn of(self, metric: Objective) -> f64 {
        match metric {
            Objective::Load => self.load,
            Objective::Network => self.network,
            Objective::Latency => self.latency,
        }
    }

    /// Factors for a problem whose cheapest sets put this load on a node. Latencies are measured by the limit, or else by
    /// the slowest node that may be contacted.
    pub(crate) fn for_problem(problem: &Problem, load: f64) -> Self {
        let slowest = || problem.families.iter().map(|family| family.source.slowest()).fold(0.0, f64::max);
        let limit = problem.limits.iter().find(|(metric, _)| *metric == Objective::Latency);
        let latency = limit.map_or_else(slowest, |(_, limit)| limit.clamp(LEAST_ATTRIBUTE, MOST_ATTRIBUTE));
        let inverse = |value: f64| if value > 0.0 { 1.0 / value } else { 1.0 };
        Self {
            load: inverse(load),
            network: 1.0 / count(problem.nodes.len().max(1)),
            latency: inverse(latency),
        }
    }
}
