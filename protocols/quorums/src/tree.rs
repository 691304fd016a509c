//! Expressions in the form in which protocols and the solver ask them: is this a quorum, and which quorum is cheapest?
//!
//! The leaves of a gate that have one vote are one bit mask, so that a majority of 63 nodes is tested by one population
//! count.
//!
//! Nodes have prices; a quorum costs the sum of its members. In a duplicate-free expression the members of a gate share no
//! node, so the cheapest quorum of a gate is a cheapest choice of satisfied members: the k cheapest of a `choose`, a
//! knapsack of votes otherwise. Quorums need not be enumerated. This is the oracle of column generation.
//!
//! The same recursion finds cheapest *f-resilient* sets. Say that a set has level l at a gate if l crashes of its members
//! are needed to unsatisfy the gate. A gate has level at least l when no choice of its members with levels summing to less
//! than l holds enough votes to block it. The recursion walks the members and keeps, per partial choice, the votes at level
//! 0 and the most votes that each number of crashes below l takes away.

use crate::number::Number;
use crate::{Expr, NodeSet};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A set and the sum of its members' prices.
pub(crate) type Priced<T> = (T, NodeSet);

/// A gate; a leaf alone is a gate of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tree {
    pub(crate) threshold: u32,
    /// Leaves with one vote, each once.
    pub(crate) leaves: NodeSet,
    /// All other members.
    pub(crate) members: Vec<(u32, Tree)>,
    /// Has every member one vote?
    pub(crate) unit: bool,
    /// The number of members, leaves included.
    pub(crate) size: usize,
}

/// What a set must have besides being a quorum.
#[derive(Clone, Copy)]
pub(crate) struct Demand {
    /// Members may only be these.
    pub(crate) allowed: NodeSet,
    /// The crashes it survives.
    pub(crate) resilient: usize,
    /// The members among these must already be a quorum, if given.
    pub(crate) fast: Option<NodeSet>,
}

/// An expression with the form in which it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Compiled {
    pub(crate) expr: Expr,
    pub(crate) tree: Tree,
    pub(crate) nodes: NodeSet,
    pub(crate) dup_free: bool,
}

impl Compiled {
    pub(crate) fn new(expr: Expr) -> Self {
        let (tree, nodes) = (Tree::new(&expr), expr.nodes());
        let dup_free = expr.leaves() == nodes.len();
        Self { expr, tree, nodes, dup_free }
    }
}

impl Tree {
    pub(crate) fn new(expr: &Expr) -> Self {
        let gate = match expr {
            Expr::Leaf(node) => return Self::leaf(node.index()),
            Expr::Gate(gate) => gate,
        };
        let mut leaves = NodeSet::EMPTY;
        let mut members = Vec::new();
        for (votes, child) in gate.children() {
            match child {
                Expr::Leaf(node) if *votes == 1 && leaves.insert(node.index()) => {}
                child => members.push((*votes, Self::new(child))),
            }
        }
        let size = gate.children().len();
        Self { threshold: gate.threshold(), leaves, members, unit: gate.is_unit(), size }
    }

    fn leaf(node: usize) -> Self {
        Self { threshold: 1, leaves: NodeSet::single(node), members: Vec::new(), unit: true, size: 1 }
    }

    /// Does the set contain a quorum?
    pub(crate) fn holds(&self, nodes: NodeSet) -> bool {
        let mut missing =
            i64::from(self.threshold) - i64::from(nodes.intersection(self.leaves).bits().count_ones());
        for (votes, member) in &self.members {
            if missing <= 0 {
                break;
            }
            if member.holds(nodes) {
                missing -= i64::from(*votes);
            }
        }
        missing <= 0
    }

    /// A cheapest set that meets the demand; prices are not negative. For expressions without repeated nodes.
    /// `stack` is room for the members of gates, left as it was.
    pub(crate) fn cheapest<T: Number>(
        &self,
        prices: &[T],
        demand: Demand,
        stack: &mut Vec<Priced<T>>,
    ) -> Option<Priced<T>> {
        if demand.resilient == 0 {
            let allowed = demand.fast.map_or(demand.allowed, |fast| fast.intersection(demand.allowed));
            return self.cheapest_quorum(prices, allowed, stack);
        }
        let mut levels = self.levels(prices, demand);
        levels.swap_remove(usize::from(demand.fast.is_some())).swap_remove(demand.resilient + 1)
    }

    fn cheapest_quorum<T: Number>(
        &self,
        prices: &[T],
        allowed: NodeSet,
        stack: &mut Vec<Priced<T>>,
    ) -> Option<Priced<T>> {
        let first = stack.len();
        let threshold = self.threshold as usize;
        let leaf = |node: usize| (prices[node].clone(), NodeSet::single(node));
        // Sums and products of nodes, which most gates are, need no list.
        if self.unit && self.members.is_empty() && threshold == self.size {
            let all = self.leaves.iter().map(|node| &prices[node]);
            let cost = || all.fold(T::zero(), |sum, price| sum.add(price));
            return self.leaves.is_subset(allowed).then(|| (cost(), self.leaves));
        }
        if self.unit && self.members.is_empty() && threshold == 1 {
            let cheaper = |best: usize, node| if prices[node] < prices[best] { node } else { best };
            return self.leaves.intersection(allowed).iter().reduce(cheaper).map(leaf);
        }
        if !self.unit {
            let leaves = self.leaves.intersection(allowed).iter().map(|node| (1, leaf(node)));
            let members = self.members.iter().filter_map(|(votes, member)| {
                Some((*votes, member.cheapest_quorum(prices, allowed, stack)?))
            });
            return knapsack(threshold, leaves.chain(members));
        }
        stack.extend(self.leaves.intersection(allowed).iter().map(leaf));
        for (_, member) in &self.members {
            let cheapest = member.cheapest_quorum(prices, allowed, stack);
            stack.extend(cheapest);
        }
        let cheapest = cheapest_members(threshold, &mut stack[first..]);
        stack.truncate(first);
        cheapest
    }

    /// Cheapest sets by flag and level: `[flag][level]`, where a set with the flag contains a quorum of fast nodes.
    fn levels<T: Number>(&self, prices: &[T], demand: Demand) -> Vec<Vec<Option<Priced<T>>>> {
        let most = demand.resilient + 1;
        let leaves = self.leaves.iter().map(|node| (1, leaf_levels(node, prices, demand)));
        let members = self.members.iter().map(|(votes, member)| (*votes, member.levels(prices, demand)));
        let total =
            self.leaves.bits().count_ones() + self.members.iter().map(|(votes, _)| votes).sum::<u32>();
        let spare = total - self.threshold;
        let mut partial = BTreeMap::from([(Partial::new(demand.resilient), (T::zero(), NodeSet::EMPTY))]);
        for (votes, options) in leaves.chain(members) {
            partial = extend(&partial, votes, &options, spare, self.threshold);
        }
        let mut result = vec![vec![None; most + 1]; 2];
        for (state, priced) in partial {
            let lost = |crashes: usize| if crashes == 0 { 0 } else { state.taken[crashes - 1] };
            let reached = (1..=most).take_while(|level| state.absent + lost(level - 1) <= spare).count();
            let flags = 1 + usize::from(state.fast >= self.threshold);
            for kept in result.iter_mut().take(flags).flat_map(|levels| &mut levels[..=reached]) {
                keep_cheaper(kept, &priced);
            }
        }
        result
    }
}

/// [`Tree::levels`] of a node alone.
fn leaf_levels<T: Number>(node: usize, prices: &[T], demand: Demand) -> Vec<Vec<Option<Priced<T>>>> {
    let most = demand.resilient + 1;
    let member = demand.allowed.contains(node).then(|| (prices[node].clone(), NodeSet::single(node)));
    let mut plain = vec![None; most + 1];
    plain[0] = Some((T::zero(), NodeSet::EMPTY));
    plain[1].clone_from(&member);
    let mut flagged = vec![None; most + 1];
    if demand.fast.is_some_and(|fast| fast.contains(node)) {
        flagged[0].clone_from(&member);
        flagged[1] = member;
    }
    vec![plain, flagged]
}

/// What matters of a choice for the members of a gate seen so far.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Partial {
    /// The votes of members at level 0.
    absent: u32,
    /// The votes of members with a quorum of fast nodes, up to the threshold.
    fast: u32,
    /// The most votes of other members that 1, 2, .. crashes take away.
    taken: Vec<u32>,
}

impl Partial {
    fn new(resilient: usize) -> Self {
        Self { absent: 0, fast: 0, taken: vec![0; resilient] }
    }

    fn with(&self, votes: u32, level: usize) -> Self {
        let mut next = self.clone();
        if level == 0 {
            next.absent += votes;
        } else {
            for crashes in (level..=self.taken.len()).rev() {
                let before = if crashes == level { 0 } else { self.taken[crashes - level - 1] };
                next.taken[crashes - 1] = next.taken[crashes - 1].max(before + votes);
            }
        }
        next
    }
}

fn extend<T: Number>(
    partial: &BTreeMap<Partial, Priced<T>>,
    votes: u32,
    options: &[Vec<Option<Priced<T>>>],
    spare: u32,
    threshold: u32,
) -> BTreeMap<Partial, Priced<T>> {
    let mut extended: BTreeMap<Partial, Priced<T>> = BTreeMap::new();
    for (state, (cost, set)) in partial {
        for (flag, levels) in options.iter().enumerate() {
            for (level, option) in levels.iter().enumerate() {
                let Some((more, members)) = option else { continue };
                let mut next = state.with(votes, level);
                // A gate of level 0 has nothing to keep to, and its cheapest set is empty; but it may need the flag.
                next.absent = next.absent.min(spare + 1);
                if flag == 1 {
                    next.fast = (next.fast + votes).min(threshold);
                }
                let priced = (cost.add(more), set.union(*members));
                match extended.get_mut(&next) {
                    Some(known) if known.0 <= priced.0 => {}
                    Some(known) => *known = priced,
                    None => drop(extended.insert(next, priced)),
                }
            }
        }
    }
    extended
}

fn keep_cheaper<T: Number>(kept: &mut Option<Priced<T>>, priced: &Priced<T>) {
    if kept.as_ref().is_none_or(|(cost, _)| priced.0 < *cost) {
        *kept = Some(priced.clone());
    }
}

/// The union of the `k` cheapest members.
fn cheapest_members<T: Number>(k: usize, members: &mut [Priced<T>]) -> Option<Priced<T>> {
    if members.len() < k {
        return None;
    }
    let by_cost =
        |a: &Priced<T>, b: &Priced<T>| a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal).then(a.1.cmp(&b.1));
    if k == 1 {
        return members.iter().min_by(|a, b| by_cost(a, b)).cloned();
    }
    if k < members.len() {
        members.select_nth_unstable_by(k - 1, by_cost);
    }
    let (first, others) = members[..k].split_first()?;
    let mut chosen = first.clone();
    for (cost, set) in others {
        chosen.0 = chosen.0.add(cost);
        chosen.1 = chosen.1.union(*set);
    }
    Some(chosen)
}

/// The cheapest members whose votes reach the threshold.
fn knapsack<T: Number>(
    threshold: usize,
    members: impl Iterator<Item = (u32, Priced<T>)>,
) -> Option<Priced<T>> {
    let mut cheapest: Vec<Option<Priced<T>>> = vec![None; threshold + 1];
    cheapest[0] = Some((T::zero(), NodeSet::EMPTY));
    for (votes, (cost, set)) in members {
        for reached in (1..=threshold).rev() {
            let Some((base, others)) = &cheapest[reached.saturating_sub(votes as usize)] else { continue };
            let priced = (base.add(&cost), others.union(set));
            keep_cheaper(&mut cheapest[reached], &priced);
        }
    }
    cheapest.swap_remove(threshold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cluster;

    const SYSTEMS: [&str; 9] = [
        "a",
        "majority(a, b, c, d, e)",
        "choose(2, a, b, c, d*e, f)",
        "a*b + c*d*e",
        "(a + b) * (c + d + e) * f",
        "choose(3, a, b + c, d, e + f)",
        "vote(4; 3:a, 1:b, 1:c, 2:d, 1:e)",
        "vote(5; 3:a*b, 2:c+d, 2:e, 1:f)",
        "choose(2, choose(2, a, b, c), choose(2, d, e, f), vote(3; 2:g, 1:h, 1:i))",
    ];

    fn survives(expr: &Expr, set: NodeSet, f: usize) -> bool {
        if f == 0 {
            return expr.is_quorum(set);
        }
        !set.is_empty() && set.iter().all(|node| survives(expr, set.without(node), f - 1))
    }

    /// Every demand on every small system, against all subsets.
    #[test]
    fn the_oracle_agrees_with_all_subsets() {
        let cluster = Cluster::named(["a", "b", "c", "d", "e", "f", "g", "h", "i"]).unwrap();
        let prices = [3.0, 1.0, 4.0, 1.5, 9.0, 2.5, 6.0, 5.25, 3.5];
        for text in SYSTEMS {
            let expr = cluster.parse(text).unwrap();
            let tree = Tree::new(&expr);
            let all = expr.nodes();
            let subsets: Vec<NodeSet> =
                (0..1 << 9).map(NodeSet::from_bits).filter(|set| set.is_subset(all)).collect();
            for resilient in 0..=3 {
                let resilient_sets: Vec<NodeSet> =
                    subsets.iter().copied().filter(|set| survives(&expr, *set, resilient)).collect();
                for (allowed, fast) in
                    [(0x1ff, None), (0x1fd, None), (0x1ff, Some(0x0f7)), (0x1ff, Some(0x1ce))]
                {
                    let (allowed, fast) = (NodeSet::from_bits(allowed), fast.map(NodeSet::from_bits));
                    let cost = |set: NodeSet| set.iter().map(|i| prices[i]).sum::<f64>();
                    let expected = resilient_sets
                        .iter()
                        .filter(|set| set.is_subset(allowed))
                        .filter(|set| fast.is_none_or(|fast| expr.is_quorum(set.intersection(fast))))
                        .map(|set| cost(*set))
                        .min_by(f64::total_cmp);
                    let found = tree.cheapest(&prices, Demand { allowed, resilient, fast }, &mut Vec::new());
                    assert_eq!(found.map(|(found, _)| found), expected, "{text} {resilient} {fast:?}");
                    if let Some((found, set)) = found {
                        assert!(survives(&expr, set, resilient) && (cost(set) - found).abs() < 1e-12);
                    }
                }
            }
        }
    }
}
