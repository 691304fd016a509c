//! Sums and products of nodes that occur once: all nodes can be made equally busy.
//!
//! Let a part of the tree serve a share `r` of the reads and `w` of the writes. A node then has the load `a r + b w`, its
//! seconds per read and per write. A sum sends a read to one member and a write to all. If all nodes below have the load `L`,
//! its members have `a_i r_i + b_i w = L` where the `r_i` sum to `r`, so the sum itself has `a r + b w = L` where `1/a` is the
//! sum of the `1/a_i`, and `b` is `a` times the sum of the `b_i / a_i`. A product is the same with reads and writes
//! exchanged. The root serves everything: `L = a + b`. Going back down, every share follows.
//!
//! If no share is negative this is a strategy, and none is better. Let the root be worth 1, a member of a sum `a / a_i` of
//! what the sum is, a member of a product `b / b_i`: then nodes are worth 1 together, and every read quorum costs `a` and
//! every write quorum `b` at these prices. If one is negative, some node is idle part of the time, and which is for the
//! simplex method to find.
//!
//! Sets follow from shares by lining up: where all members are contacted together, a set ends where that of any member does.
//! A tree of `n` nodes has `n + 1` sets, which with the load are a basis of all `n + 2` rows.

use super::{Found, LEAST_SHARE, Pair};
use crate::NodeSet;
use crate::tree::Tree;

struct Balance<'a> {
    work: &'a [Pair],
    load: f64,
    /// What each node serves.
    shares: Vec<Pair>,
    prices: Vec<f64>,
}

/// The strategy in which all nodes are equally busy; none if there is none, or the trees have other gates.
pub(super) fn solve(trees: [&Tree; 2], work: &[Pair]) -> Option<Found> {
    let cost = of_part(trees, work)?;
    let (shares, prices) = (vec![[0.0; 2]; work.len()], vec![0.0; work.len()]);
    let mut balance = Balance { work, load: cost[0] + cost[1], shares, prices };
    balance.share_out(trees, cost, [1.0; 2], 1.0)?;
    let sets = |side: usize| {
        let mut sets = Vec::with_capacity(2 * work.len());
        balance.sets(trees[side], side, &mut sets);
        sets
    };
    Some(Found { load: balance.load, sets: [sets(0), sets(1)], cost, prices: balance.prices })
}

/// Which side contacts one member, where the other contacts all; none if the gates are not of that kind.
fn one_of([reads, writes]: [&Tree; 2]) -> Option<usize> {
    let same = reads.leaves == writes.leaves && reads.size == writes.size && reads.unit && writes.unit;
    let size = u32::try_from(reads.size).ok()?;
    match (reads.threshold, writes.threshold) {
        (1, all) if same && all == size => Some(0),
        (all, 1) if same && all == size => Some(1),
        _ => None,
    }
}

/// The members that are no leaves, of both sides.
fn members([reads, writes]: [&Tree; 2]) -> impl Iterator<Item = [&Tree; 2]> {
    reads.members.iter().zip(&writes.members).map(|(read, write)| [&read.1, &write.1])
}

/// The seconds per read and per write of a part of the tree; none if it is not made of sums and products.
fn of_part(trees: [&Tree; 2], work: &[Pair]) -> Option<Pair> {
    let one = one_of(trees)?;
    let (mut inverse, mut ratio) = (0.0, 0.0);
    let mut add = |work: Pair| {
        inverse += 1.0 / work[one];
        ratio += work[1 - one] / work[one];
    };
    for node in trees[0].leaves.iter() {
        add(work[node]);
    }
    for member in members(trees) {
        add(of_part(member, work)?);
    }
    let mut part = [1.0 / inverse; 2];
    part[1 - one] *= ratio;
    Some(part)
}

impl Balance<'_> {
    /// Shares out what a part of the tree serves, and what it is worth; none if a share is negative or may be.
    fn share_out(&mut self, trees: [&Tree; 2], part: Pair, share: Pair, price: f64) -> Option<()> {
        let one = one_of(trees)?;
        let load = self.load;
        let of_member = |member: Pair| {
            let mut served = share;
            served[one] = (load - member[1 - one] * share[1 - one]) / member[one];
            (served[one] > LEAST_SHARE * share[one]).then_some((served, price * part[one] / member[one]))
        };
        for node in trees[0].leaves.iter() {
            (self.shares[node], self.prices[node]) = of_member(self.work[node])?;
        }
        for member in members(trees) {
            let part = of_part(member, self.work)?;
            let (share, price) = of_member(part)?;
            self.share_out(member, part, share, price)?;
        }
        Some(())
    }

    /// Adds the sets of one side of a part of the tree, with their probabilities.
    fn sets(&self, tree: &Tree, side: usize, stack: &mut Vec<(f64, NodeSet)>) {
        let leaf = |node: usize| (self.shares[node][side], NodeSet::single(node));
        if tree.threshold == 1 {
            stack.extend(tree.leaves.iter().map(leaf));
            for (_, member) in &tree.members {
                self.sets(member, side, stack);
            }
            return;
        }
        if tree.members.is_empty() {
            let share = tree.leaves.iter().next().map_or(0.0, |node| leaf(node).0);
            return stack.push((share, tree.leaves));
        }
        let first = stack.len();
        // Where the sets of each member begin.
        let mut heads = Vec::with_capacity(tree.members.len());
        for (_, member) in &tree.members {
            heads.push(stack.len());
            self.sets(member, side, stack);
        }
        let end = stack.len();
        line_up(stack, &mut heads, end, tree.leaves);
        stack.drain(first..end);
    }
}

/// Adds the sets that contact one set of each member and all leaves. The members' sets lie one after the other, up to `end`.
fn line_up(stack: &mut Vec<(f64, NodeSet)>, heads: &mut [usize], end: usize, leaves: NodeSet) {
    let ends: Vec<usize> = heads.iter().skip(1).copied().chain([end]).collect();
    loop {
        let set = heads.iter().fold(leaves, |set, head| set.union(stack[*head].1));
        let left = |member: usize| stack[heads[member]].0;
        // One member moves on at a time, so that there are as many sets as rows even where two end together.
        let next = (0..heads.len()).filter(|member| heads[*member] + 1 < ends[*member]);
        let Some(next) = next.min_by(|a, b| left(*a).total_cmp(&left(*b))) else {
            return stack.push((heads.first().map_or(0.0, |head| stack[*head].0), set));
        };
        let share = left(next).max(0.0);
        stack.push((share, set));
        for head in heads.iter() {
            stack[*head].0 -= share;
        }
        heads[next] += 1;
    }
}
