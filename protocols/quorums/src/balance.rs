//! Sums and products of nodes that occur once: the strategy that makes all nodes equally busy, without a linear program.
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
//! Sets follow from shares by stacking: members of what must be contacted together are lined up, and a set ends where that
//! of any member does. A tree of `n` nodes has `n + 1` sets, which with the load are a basis of all `n + 2` rows.

use crate::problem::{Objective, Problem, Scale};
use crate::program::Column;
use crate::simplex::Ended;
use crate::source::Candidate;
use crate::tree::Tree;
use crate::{NodeSet, Workload};

/// Shares below this part of what is shared are left to the simplex method: rounding may have made them.
const LEAST_SHARE: f64 = 1e-9;

/// What a node does per second of its time, and what it has to do.
#[derive(Clone, Copy, Default)]
struct Duty {
    /// Its load if it served all reads, or all writes.
    work: Pair,
    /// What it serves.
    share: Pair,
    /// What it is worth.
    price: f64,
}

/// Of reads and of writes.
type Pair = [f64; 2];

struct Balance {
    duties: Vec<Duty>,
    load: f64,
}

/// The optimum, if it makes all nodes equally busy and can be found so.
pub(crate) fn solve(problem: &Problem) -> Option<(Scale, Ended<f64>)> {
    let [reads, writes] = problem.families.as_slice() else { return None };
    let plain = problem.objective == Objective::Load && problem.limits.is_empty() && problem.symmetry.is_none();
    let Workload::Expected(points) = &problem.workload else { return None };
    let [(read, _)] = points.as_slice() else { return None };
    let trees = [reads.source.plain()?, writes.source.plain()?];
    if !plain || *read <= 0.0 || *read >= 1.0 {
        return None;
    }
    let duty = |(read_capacity, write_capacity): &(f64, f64)| Duty {
        work: [read / read_capacity, (1.0 - read) / write_capacity],
        ..Duty::default()
    };
    let mut balance = Balance { duties: problem.capacities.iter().map(duty).collect(), load: 0.0 };
    let root = balance.work(trees)?;
    balance.load = root[0] + root[1];
    balance.share_out(trees, root, [1.0; 2], 1.0)?;
    Some(balance.solved(problem, trees, root))
}

/// Is it a sum for reads and a product for writes, or the other way round? Says which side contacts one member.
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
fn members<'a>([reads, writes]: [&'a Tree; 2]) -> impl Iterator<Item = [&'a Tree; 2]> {
    reads.members.iter().zip(&writes.members).map(|(read, write)| [&read.1, &write.1])
}

impl Balance {
    /// The seconds per read and per write of a part of the tree; none if it is not made of sums and products.
    fn work(&self, trees: [&Tree; 2]) -> Option<Pair> {
        let one = one_of(trees)?;
        let (mut inverse, mut ratio) = (0.0, 0.0);
        let mut add = |work: Pair| {
            inverse += 1.0 / work[one];
            ratio += work[1 - one] / work[one];
        };
        for node in trees[0].leaves.iter() {
            add(self.duties[node].work);
        }
        for member in members(trees) {
            add(self.work(member)?);
        }
        let mut work = [1.0 / inverse; 2];
        work[1 - one] *= ratio;
        Some(work)
    }

    /// Shares out what a part of the tree serves, and what it is worth; none if a share is negative or may be.
    fn share_out(&mut self, trees: [&Tree; 2], work: Pair, share: Pair, price: f64) -> Option<()> {
        let one = one_of(trees)?;
        let load = self.load;
        let of_member = |member: Pair| {
            let mut served = share;
            served[one] = (load - member[1 - one] * share[1 - one]) / member[one];
            (served[one] > LEAST_SHARE * share[one]).then_some((served, price * work[one] / member[one]))
        };
        for node in trees[0].leaves.iter() {
            let duty = &mut self.duties[node];
            (duty.share, duty.price) = of_member(duty.work)?;
        }
        for member in members(trees) {
            let work = self.work(member)?;
            let (share, price) = of_member(work)?;
            self.share_out(member, work, share, price)?;
        }
        Some(())
    }

    /// The solution in the form in which the simplex method ends, in units of the load.
    fn solved(&self, problem: &Problem, trees: [&Tree; 2], root: Pair) -> (Scale, Ended<f64>) {
        let rows = problem.nodes.len() + 2;
        let (mut basis, mut x) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let mut stack = Vec::with_capacity(2 * rows);
        for (family, tree) in trees.into_iter().enumerate() {
            self.sets(tree, family, &mut stack);
            for (share, set) in stack.drain(..) {
                basis.push(Column::Set(family, Candidate { set, latency: 0.0 }));
                x.push(share);
            }
        }
        basis.push(Column::Variable(0));
        x.push(1.0);
        let mut y = Vec::with_capacity(rows);
        y.extend(root.map(|work| work / self.load));
        y.extend(problem.nodes.iter().map(|node| -self.duties[node].price));
        let ended = Ended { feasible: true, value: 1.0, basis, x, tight: (0..rows).collect(), y };
        let scale = Scale { load: 1.0 / self.load, ..Scale::NONE };
        (scale, ended)
    }

    /// Adds the sets of one side of a part of the tree, with their shares.
    fn sets(&self, tree: &Tree, side: usize, stack: &mut Vec<(f64, NodeSet)>) {
        let leaf = |node: usize| (self.duties[node].share[side], NodeSet::single(node));
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
        let mut heads = Vec::with_capacity(tree.members.len() + 1);
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
        let left = |member: &usize| stack[heads[*member]].0;
        // One member moves on at a time, so that there are as many sets as rows even where two end together.
        let next = (0..heads.len()).filter(|member| heads[*member] + 1 < ends[*member]);
        let Some(next) = next.min_by(|a, b| left(a).total_cmp(&left(b))) else {
            return stack.push((heads.first().map_or(0.0, |head| stack[*head].0), set));
        };
        let share = left(&next).max(0.0);
        stack.push((share, set));
        for head in heads.iter() {
            stack[*head].0 -= share;
        }
        heads[next] += 1;
    }
}
