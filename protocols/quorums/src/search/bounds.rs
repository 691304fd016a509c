//! Lower bounds on candidates from the prices of another one's solution.
//!
//! Prices that prove an optimum are feasible for every system over the same nodes: only the cheapest quorums differ. So the
//! sum of a candidate's cheapest read quorum, its cheapest write quorum and a constant is a lower bound on its optimum, or,
//! for prices that prove infeasibility, a proof of its own when it is above zero. Sets that must survive crashes are quorums
//! too, so the bound holds for them, if less tightly.

use super::TIE;
use super::canonical::Arena;
use crate::source;

/// Prices that bound candidates from below.
#[derive(Debug)]
pub(super) struct Prices {
    /// By side: for each latency that counts, its price and the prices of the nodes, infinite for slower ones.
    sides: Vec<Vec<(f64, Vec<f64>)>>,
    /// What is added to the two cheapest quorums.
    constant: f64,
    /// What a bound is divided by to be in the objective's unit; for a proof of infeasibility there is none.
    unit: Option<f64>,
}

impl Prices {
    pub(super) fn new(
        sides: Vec<source::Prices<f64>>,
        latencies: &[f64],
        constant: f64,
        unit: Option<f64>,
    ) -> Self {
        let mut levels = latencies.to_vec();
        levels.sort_by(f64::total_cmp);
        levels.dedup();
        let side = |prices: source::Prices<f64>| {
            if prices.latency <= 0.0 {
                return vec![(0.0, prices.node)];
            }
            let within = |level: &f64| {
                let fast =
                    |(price, latency): (&f64, &f64)| if latency <= level { *price } else { f64::INFINITY };
                (prices.latency * level, prices.node.iter().zip(latencies).map(fast).collect())
            };
            levels.iter().map(within).collect()
        };
        Self { sides: sides.into_iter().map(side).collect(), constant, unit }
    }

    /// Prices that bound nothing.
    pub(super) fn none(nodes: usize) -> Self {
        Self::new(vec![source::Prices::none(nodes), source::Prices::none(nodes)], &[], 0.0, None)
    }

    /// Raises the bounds of these candidates, or leaves them if `go_on`, asked now and then, says so.
    pub(super) fn raise(
        &self,
        arena: &Arena,
        candidates: &mut [(u32, f64)],
        go_on: &mut dyn FnMut() -> bool,
    ) {
        if candidates.len() * 16 < arena.trees.len() {
            for (tree, bound) in candidates {
                *bound = bound.max(self.bound(arena, *tree));
            }
            return;
        }
        let mut table = |side| self.table(arena, side, go_on);
        let (Some(reads), Some(writes)) = (table(0), table(1)) else { return };
        for (tree, bound) in candidates {
            *bound = bound.max(self.conclude(reads[*tree as usize] + writes[*tree as usize]));
        }
    }

    /// A lower bound on one candidate; infinite if it is infeasible.
    fn bound(&self, arena: &Arena, tree: u32) -> f64 {
        let cheapest = |side: usize| {
            let within = |(price, leaf): &(f64, Vec<f64>)| price + arena.least_of(tree, leaf, side == 1);
            self.sides[side].iter().map(within).fold(f64::INFINITY, f64::min)
        };
        self.conclude(cheapest(0) + cheapest(1))
    }

    fn conclude(&self, cheapest: f64) -> f64 {
        let bound = cheapest + self.constant;
        match self.unit {
            Some(unit) => bound / unit,
            None if bound > TIE => f64::INFINITY,
            None => 0.0,
        }
    }

    /// The cost of the cheapest quorum of one side, for every tree; none if stopped.
    fn table(&self, arena: &Arena, side: usize, go_on: &mut dyn FnMut() -> bool) -> Option<Vec<f64>> {
        let mut cheapest = vec![f64::INFINITY; arena.trees.len()];
        for (price, leaf) in &self.sides[side] {
            if !go_on() {
                return None;
            }
            for (cheapest, least) in cheapest.iter_mut().zip(arena.least(leaf, side == 1)) {
                *cheapest = cheapest.min(price + least);
            }
        }
        Some(cheapest)
    }
}

/// The candidates that no prices of the pool keep from being below `best`, with their bounds.
pub(super) fn survivors(
    arena: &Arena,
    pool: &[Prices],
    candidates: &[(u32, f64)],
    best: f64,
) -> Vec<(u32, f64)> {
    // Newest first; prices that reject a candidate are likely to reject the next one.
    let mut order: Vec<&Prices> = pool.iter().rev().collect();
    let mut survivors = Vec::new();
    for &(tree, known) in candidates {
        let mut least = known;
        let rejects = |prices: &&Prices| {
            least = least.max(prices.bound(arena, tree));
            least >= best
        };
        if known >= best {
            continue;
        }
        match order.iter().position(rejects) {
            Some(at) => order[..=at].rotate_right(1),
            None => survivors.push((tree, least)),
        }
    }
    survivors
}
