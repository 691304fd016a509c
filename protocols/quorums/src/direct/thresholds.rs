//! Any `k` of `n` nodes for reads, any `l` of them for writes: nodes are filled, the best readers with reads first.
//!
//! A strategy matters by how often it contacts each node: reads `r_i` and writes `w_i`, none above 1, that sum to `k` and `l`.
//! A node has the load `a_i r_i + b_i w_i`. Given a load `L` for all, the most writes beside `k` reads are had by order of
//! `b_i / a_i`: the first nodes take reads, and writes once every read contacts them; the last nodes the other way round; one
//! between takes of both what is missing. How many writes that makes is a concave function of `L`, so Newton's method
//! finds the least load from below in as many steps as there are pieces on the way, each in time `n`.
//!
//! The slope at the end is the price of a write, and the node between says what a read is worth beside it. Sets with
//! given frequencies of nodes are drawn systematically: nodes are laid end to end, each as long as its frequency, and a comb
//! with one tooth per unit slides along; a set ends where a tooth passes from one node to the next (W. G. Madow, 1949).

use super::{Found, LEAST_SHARE, Pair};
use crate::NodeSet;
use crate::tree::Tree;

const READS: usize = 0;
const WRITES: usize = 1;
/// More steps than pieces of any function that was met; nothing depends on it but time.
const MAX_STEPS: usize = 200;
/// Writes are missing by no more than rounding.
const ROUNDING: f64 = 1e-14;

/// A node, what it serves at a load, and how fast that grows with it.
#[derive(Clone, Copy)]
struct Filled {
    node: usize,
    work: Pair,
    share: Pair,
    growth: Pair,
}

/// What a load leaves to be desired.
enum Missing {
    /// Reads alone exceed it; it is at least so much too low.
    Reads(f64),
    Writes(Balance),
}

/// The most writes beside the reads that are needed.
struct Balance {
    /// The position of the node that takes both.
    between: usize,
    writes: f64,
    /// How fast writes grow with the load.
    slope: f64,
}

/// The least load of two thresholds over the same nodes; none if they are none, or it is too close to a tie.
pub(super) fn solve([reads, writes]: [&Tree; 2], work: &[Pair]) -> Option<Found> {
    let flat = |tree: &Tree| tree.unit && tree.members.is_empty() && (tree.threshold as usize) < tree.size;
    if !flat(reads) || !flat(writes) || reads.leaves != writes.leaves {
        return None;
    }
    let needed = [f64::from(reads.threshold), f64::from(writes.threshold)];
    let idle = |node: usize| Filled { node, work: work[node], share: [0.0; 2], growth: [0.0; 2] };
    let mut nodes: Vec<Filled> = reads.leaves.iter().map(idle).collect();
    let reader = |node: &Filled| node.work[WRITES] / node.work[READS];
    nodes.sort_unstable_by(|a, b| reader(b).total_cmp(&reader(a)).then(a.node.cmp(&b.node)));
    let mut load = needed[READS] / nodes.iter().map(|node| 1.0 / node.work[READS]).sum::<f64>();
    for _ in 0..MAX_STEPS {
        load += match fill(&mut nodes, needed[READS], load)? {
            Missing::Reads(more) => more,
            Missing::Writes(balance) => {
                let more = (needed[WRITES] - balance.writes) / balance.slope;
                if more <= ROUNDING * load {
                    return found(&nodes, &balance, needed, load, work.len());
                }
                more
            }
        };
    }
    None
}

impl Filled {
    /// Fills the node up to a load, with one side first.
    fn with_first(&mut self, first: usize, load: f64) {
        let (alone, rest) = (load / self.work[first], (load - self.work[first]) / self.work[1 - first]);
        (self.share, self.growth) = ([0.0; 2], [0.0; 2]);
        self.share[first] = alone.min(1.0);
        if alone < 1.0 {
            self.growth[first] = 1.0 / self.work[first];
        } else {
            self.share[1 - first] = rest.min(1.0);
            if rest < 1.0 {
                self.growth[1 - first] = 1.0 / self.work[1 - first];
            }
        }
    }
}

/// Fills all nodes up to a load, the best readers, which come first, with reads first; none if reads need no such order.
fn fill(nodes: &mut [Filled], needed: f64, load: f64) -> Option<Missing> {
    let mut reads = 0.0;
    for node in nodes.iter_mut() {
        node.with_first(WRITES, load);
        reads += node.share[READS];
    }
    if reads >= needed {
        return None;
    }
    let sum = |nodes: &[Filled], of: fn(&Filled) -> f64| nodes.iter().map(of).sum::<f64>();
    for between in 0..nodes.len() {
        let node = &mut nodes[between];
        let before = reads - node.share[READS];
        node.with_first(READS, load);
        reads = before + node.share[READS];
        if reads < needed {
            continue;
        }
        let ([read, write], share) = (node.work, needed - before);
        (node.share, node.growth) = ([share, (load - read * share) / write], [0.0; 2]);
        // The node between gives up as many reads as the others gain.
        let gained = sum(nodes, |node| node.growth[READS]);
        let slope = sum(nodes, |node| node.growth[WRITES]) + (1.0 + read * gained) / write;
        let writes = sum(nodes, |node| node.share[WRITES]);
        return Some(Missing::Writes(Balance { between, writes, slope }));
    }
    let growth = sum(nodes, |node| node.growth[READS]);
    (growth > 0.0).then(|| Missing::Reads((needed - reads) / growth))
}

fn found(nodes: &[Filled], balance: &Balance, needed: Pair, load: f64, all: usize) -> Option<Found> {
    let (write, [of_read, of_write]) = (1.0 / balance.slope, nodes[balance.between].work);
    let worth = [write * of_read / of_write, write];
    // Is the node contacted by some sets of a side and not by others?
    let partly = |at: usize, side: usize| {
        // The node between may turn out to have a read of everything, like those before it.
        let between = at == balance.between && (side == WRITES || nodes[at].share[READS] < 1.0);
        between || nodes[at].growth[side] > 0.0
    };
    let mut prices = vec![0.0; all];
    for (at, node) in nodes.iter().enumerate() {
        if let Some(side) = [WRITES, READS].into_iter().find(|side| partly(at, *side)) {
            prices[node.node] = worth[side] / node.work[side];
        }
    }
    let mut cost = [0.0; 2];
    let mut sets = [Vec::new(), Vec::new()];
    for side in [READS, WRITES] {
        let (partial, others): (Vec<usize>, Vec<usize>) = (0..nodes.len()).partition(|at| partly(*at, side));
        let always = others.into_iter().map(|at| &nodes[at]).filter(|node| node.share[side] >= 1.0);
        let saved = always.clone().map(|node| worth[side] - prices[node.node] * node.work[side]);
        cost[side] = worth[side] * needed[side] - saved.sum::<f64>();
        let partial: Vec<(usize, f64)> =
            partial.into_iter().map(|at| (nodes[at].node, nodes[at].share[side])).collect();
        sets[side] = comb(always.map(|node| node.node).collect(), &partial)?;
    }
    Some(Found { load, sets, cost, prices })
}

/// Sets with these members, and others as often as they are to be; none if that would be next to never.
fn comb(always: NodeSet, partial: &[(usize, f64)]) -> Option<Vec<(f64, NodeSet)>> {
    if partial.is_empty() {
        return Some(vec![(1.0, always)]);
    }
    let mut set = always;
    // Where a tooth passes from one node to the next, the teeth being where they began plus so much.
    let mut passes = Vec::with_capacity(partial.len());
    let (mut length, mut teeth) = (0.0, 0.0);
    for pair in partial.windows(2) {
        length += pair[0].1;
        if length > teeth {
            set.insert(pair[0].0);
            teeth += 1.0;
        }
        passes.push((length - length.floor(), pair[0].0, pair[1].0));
    }
    let (last, share) = partial.last()?;
    // All lengths sum to a whole number but for rounding.
    if length + share > teeth + 0.5 {
        set.insert(*last);
    }
    passes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut sets = Vec::with_capacity(partial.len());
    let mut before = 0.0;
    for (at, from, to) in passes {
        sets.push((at - before, set));
        set = set.without(from).with(to);
        before = at;
    }
    sets.push((1.0 - before, set));
    let common = sets.iter().all(|(probability, _)| *probability > LEAST_SHARE);
    (common && partial.len() > 1).then_some(sets)
}
