//! Where the sets come from that a strategy chooses among.
//!
//! A duplicate-free expression answers with its cheapest set directly ([`crate::tree`]). Any other is enumerated once, down to the
//! sets that can be needed: minimal ones, and, where crashes must be survived and latency counts, those that contain a
//! faster quorum than every smaller resilient set. Without crashes to survive minimal quorums are enough: dropping a member
//! of a quorum that is not among its fastest never makes it slower.

use crate::number::Number;
use crate::quorums::{MAX_QUORUMS, minimal};
use crate::tree::{Compiled, Demand, Priced, Tree};
use crate::{Error, Expr, NodeSet, Result};
use std::sync::Arc;

/// A set that clients may contact, and how long they wait for a quorum of it, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) set: NodeSet,
    pub(crate) latency: f64,
}

/// What a set costs: the prices of its members, and a price per second of latency.
pub(crate) struct Prices<T> {
    pub(crate) node: Vec<T>,
    /// The part of every node's price that all have in common.
    pub(crate) size: T,
    pub(crate) latency: T,
}

impl<T: Number> Prices<T> {
    /// All nodes for nothing.
    pub(crate) fn none(nodes: usize) -> Self {
        Self { node: vec![T::zero(); nodes], size: T::zero(), latency: T::zero() }
    }

    /// What a set costs.
    pub(crate) fn of(&self, candidate: &Candidate) -> T {
        let mut cost = T::of(candidate.latency).mul(&self.latency);
        for node in candidate.set.iter() {
            cost = cost.add(&self.node[node]);
        }
        cost
    }
}

/// The sets of one side of a system, for one group of clients.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    quorums: Arc<Compiled>,
    /// The sets, if nodes repeat.
    list: Option<Vec<Candidate>>,
    /// Seconds to each node.
    latencies: Arc<[f64]>,
    /// Distinct latencies of usable nodes, ascending, each with the nodes that are no slower; none unless `timed`.
    levels: Vec<(f64, NodeSet)>,
    usable: NodeSet,
    resilient: usize,
    /// Do latencies count? Candidates carry none otherwise.
    timed: bool,
}

impl Source {
    /// The sets of `usable` nodes that are quorums after any `resilient` crashes; `None` if there are none.
    pub(crate) fn new(
        quorums: &Arc<Compiled>,
        latencies: Arc<[f64]>,
        usable: NodeSet,
        resilient: usize,
        timed: bool,
    ) -> Result<Option<Self>> {
        let usable = usable.intersection(quorums.nodes);
        let levels = if timed { levels(&latencies, usable) } else { Vec::new() };
        let quorums = quorums.clone();
        let mut source = Self { quorums, list: None, latencies, levels, usable, resilient, timed };
        if !source.quorums.dup_free {
            source.list = Some(source.enumerate()?);
        }
        Ok(source.is_possible().then_some(source))
    }

    /// A cheapest set and its cost; prices are not negative. `stack` is room for the oracle.
    pub(crate) fn cheapest<T: Number>(
        &self,
        prices: &Prices<T>,
        stack: &mut Vec<Priced<T>>,
    ) -> Option<(T, Candidate)> {
        let tree = &self.quorums.tree;
        let demand = Demand { allowed: self.usable, resilient: self.resilient, fast: None };
        if let Some(list) = &self.list {
            return cheapest_listed(list, prices);
        }
        // However little a second costs: it is the slowest set's seconds that may be many.
        if !T::of(self.slowest()).mul(&prices.latency).is_above_zero() {
            let (cost, set) = tree.cheapest(&prices.node, demand, stack)?;
            return Some((cost, self.candidate(set)));
        }
        let mut best: Option<(T, Candidate)> = None;
        for (latency, fast) in &self.levels {
            let demand = Demand { fast: Some(*fast), ..demand };
            if let Some((mut cost, set)) = tree.cheapest(&prices.node, demand, stack) {
                cost.add_mul(&T::of(*latency), &prices.latency);
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, self.candidate(set)));
                }
            }
        }
        best
    }

    /// The least time after which the members that have answered form a quorum; infinite if they never do.
    pub(crate) fn latency(&self, set: NodeSet) -> f64 {
        let done = |levels: &[(f64, NodeSet)]| {
            let done = levels.iter().find(|(_, fast)| self.quorums.tree.holds(set.intersection(*fast)));
            done.map_or(f64::INFINITY, |(latency, _)| *latency)
        };
        // Where latencies do not count, few are asked for.
        if self.timed {
            done(&self.levels)
        } else {
            done(&levels(&self.latencies, set.intersection(self.usable)))
        }
    }

    /// The expression, unless the sets are listed.
    pub(crate) fn expr(&self) -> Option<&Expr> {
        self.list.is_none().then_some(&self.quorums.expr)
    }

    /// The tree, if its minimal quorums are all that is asked for.
    pub(crate) fn plain(&self) -> Option<&Tree> {
        let all = self.list.is_none() && self.resilient == 0 && self.usable == self.quorums.nodes;
        all.then_some(&self.quorums.tree)
    }

    /// Is the same known of two nodes?
    pub(crate) fn alike(&self, a: usize, b: usize) -> bool {
        let as_fast = !self.timed || self.latencies.get(a) == self.latencies.get(b);
        as_fast && self.usable.contains(a) == self.usable.contains(b)
    }

    /// Seconds to the slowest node that may be contacted; zero where latencies do not count.
    pub(crate) fn slowest(&self) -> f64 {
        self.levels.last().map_or(0.0, |(latency, _)| *latency)
    }

    /// Seconds to each node.
    pub(crate) fn latencies(&self) -> &[f64] {
        &self.latencies
    }

    /// Is this set one a strategy may use?
    pub(crate) fn allows(&self, set: NodeSet) -> bool {
        set.is_subset(self.usable) && survives(&self.quorums.expr, set, self.resilient)
    }

    /// All minimal sets.
    pub(crate) fn minimal_sets(&self) -> Result<Vec<NodeSet>> {
        let Some(resilient) = self.quorums.expr.resilient(self.resilient)? else { return Ok(Vec::new()) };
        Ok(resilient.minimal_quorums()?.into_iter().filter(|set| set.is_subset(self.usable)).collect())
    }

    /// Is there any set?
    fn is_possible(&self) -> bool {
        match &self.list {
            Some(list) => !list.is_empty(),
            None if self.resilient == 0 => self.quorums.tree.holds(self.usable),
            None => self.cheapest(&Prices::<f64>::none(self.latencies.len()), &mut Vec::new()).is_some(),
        }
    }

    fn candidate(&self, set: NodeSet) -> Candidate {
        Candidate { set, latency: if self.timed { self.latency(set) } else { 0.0 } }
    }

    fn enumerate(&self) -> Result<Vec<Candidate>> {
        let sets = self.minimal_sets()?;
        let mut candidates: Vec<Candidate> = sets.iter().map(|set| self.candidate(*set)).collect();
        if self.resilient == 0 || !self.timed {
            return Ok(candidates);
        }
        let quorums = self.quorums.expr.minimal_quorums()?;
        for (latency, fast) in &self.levels {
            let quick: Vec<NodeSet> =
                quorums.iter().copied().filter(|quorum| quorum.is_subset(*fast)).collect();
            let size = quick.len().saturating_mul(sets.len());
            if size > MAX_QUORUMS {
                let (size, limit) = (size as u64, MAX_QUORUMS as u64);
                return Err(Error::TooLarge { what: "resilient sets to enumerate", size, limit });
            }
            let joined = sets.iter().flat_map(|set| quick.iter().map(|quorum| set.union(*quorum))).collect();
            let joined = minimal(joined).into_iter().map(|set| self.candidate(set));
            candidates.extend(joined.filter(|candidate| candidate.latency.total_cmp(latency).is_eq()));
        }
        candidates.sort_by_key(|candidate| candidate.set);
        candidates.dedup();
        Ok(candidates)
    }
}

fn cheapest_listed<T: Number>(list: &[Candidate], prices: &Prices<T>) -> Option<(T, Candidate)> {
    let mut best: Option<(T, Candidate)> = None;
    for candidate in list {
        let cost = prices.of(candidate);
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, *candidate));
        }
    }
    best
}

/// Is the set still a quorum after any `crashes` of its members crash?
pub(crate) fn survives(expr: &Expr, set: NodeSet, crashes: usize) -> bool {
    let quorum = expr.is_quorum(set);
    quorum && (crashes == 0 || set.iter().all(|node| survives(expr, set.without(node), crashes - 1)))
}

fn levels(latencies: &[f64], usable: NodeSet) -> Vec<(f64, NodeSet)> {
    let of = |node: usize| latencies.get(node).copied().unwrap_or(0.0);
    let mut distinct: Vec<f64> = usable.iter().map(of).collect();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    distinct
        .into_iter()
        .map(|latency| (latency, usable.iter().filter(|&node| of(node) <= latency).collect()))
        .collect()
}
