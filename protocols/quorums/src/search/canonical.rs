//! All duplicate-free quorum systems over given nodes, each once.
//!
//! The original enumerates set partitions and thresholds recursively and meets most functions several times. Here a tree is
//! canonical: no sum directly in a sum, no product directly in a product, a `choose` only where it is neither, and the
//! members of a gate ordered by their smallest node. Every function that a duplicate-free expression can denote then has
//! exactly one tree, so that there is nothing to compare or to remember (section 1.11 of the specification; 1, 2, 9, 74,
//! 885, 13 684, 258 489 of them for one to seven nodes).
//!
//! Trees share their subtrees: all live in one arena, members before gates, so that a quantity that composes over gates is
//! computed for every tree in a single pass.

use crate::{Expr, Node};

/// The most nodes whose systems are enumerated.
pub const MAX_ENUMERATED: usize = 7;

/// A tree of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    Leaf(u8),
    /// The threshold, and where the members are listed.
    Gate(u8, u32, u8),
}

/// All canonical trees over all subsets of the nodes.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) trees: Vec<Tree>,
    members: Vec<u32>,
    /// The trees over all nodes.
    pub(super) complete: Vec<u32>,
}

/// Asks whether to go on, once in so many trees.
struct Patience<'a> {
    asked: usize,
    go_on: &'a mut dyn FnMut() -> bool,
}

impl Patience<'_> {
    const TREES: usize = 1 << 13;

    fn lasts(&mut self, trees: usize) -> bool {
        if trees < self.asked + Self::TREES {
            return true;
        }
        self.asked = trees;
        (self.go_on)()
    }
}

impl Arena {
    /// All trees over `n` nodes, however long it takes.
    pub(super) fn whole(n: usize) -> Self {
        Self::new(n, &mut || true).expect("nobody stops it")
    }

    /// The trees over `n` nodes, `n` between 1 and [`MAX_ENUMERATED`]; none if `go_on`, asked now and then, says so.
    pub(super) fn new(n: usize, go_on: &mut dyn FnMut() -> bool) -> Option<Self> {
        let mut arena = Self { trees: Vec::new(), members: Vec::new(), complete: Vec::new() };
        let mut patience = Patience { asked: 0, go_on };
        let all = (1_usize << n) - 1;
        // Ascending masks: every subset of a mask comes before it.
        let mut by_mask: Vec<Vec<u32>> = vec![Vec::new(); all + 1];
        for mask in 1..=all {
            let mut found = Vec::new();
            if mask.is_power_of_two() {
                let node = u8::try_from(mask.trailing_zeros()).expect("a mask has at most 64 bits");
                found.push(arena.push(Tree::Leaf(node)));
            } else {
                arena.split(mask, &mut Vec::new(), &by_mask, &mut found, &mut patience)?;
            }
            by_mask[mask] = found;
        }
        arena.complete = by_mask.swap_remove(all);
        Some(arena)
    }

    /// Adds all trees whose members are `blocks` and then a partition of `rest`; none if stopped.
    fn split(
        &mut self,
        rest: usize,
        blocks: &mut Vec<usize>,
        by_mask: &[Vec<u32>],
        found: &mut Vec<u32>,
        patience: &mut Patience<'_>,
    ) -> Option<()> {
        if rest == 0 {
            if blocks.len() > 1 {
                self.combine(blocks, &mut Vec::new(), by_mask, found);
            }
            return patience.lasts(self.trees.len()).then_some(());
        }
        let lowest = rest & rest.wrapping_neg();
        let others = rest ^ lowest;
        let mut subset = others;
        loop {
            blocks.push(subset | lowest);
            self.split(others ^ subset, blocks, by_mask, found, patience)?;
            blocks.pop();
            if subset == 0 {
                return Some(());
            }
            subset = (subset - 1) & others;
        }
    }

    /// Adds all gates with a tree for each block.
    fn combine(
        &mut self,
        blocks: &[usize],
        chosen: &mut Vec<u32>,
        by_mask: &[Vec<u32>],
        found: &mut Vec<u32>,
    ) {
        if let Some(&block) = blocks.get(chosen.len()) {
            for &tree in &by_mask[block] {
                chosen.push(tree);
                self.combine(blocks, chosen, by_mask, found);
                chosen.pop();
            }
            return;
        }
        let m = u8::try_from(chosen.len()).expect("a gate has at most MAX_ENUMERATED members");
        let first = u32::try_from(self.members.len()).expect("the arena of MAX_ENUMERATED nodes fits");
        let nested = |arena: &Self, kind: fn(u8, u8) -> bool| {
            chosen.iter().any(|&tree| matches!(arena.trees[tree as usize], Tree::Gate(k, _, m) if kind(k, m)))
        };
        let sum_inside = nested(self, |k, _| k == 1);
        let product_inside = nested(self, |k, m| k == m);
        self.members.extend_from_slice(chosen);
        for k in 1..=m {
            if !(k == 1 && sum_inside || k == m && product_inside) {
                found.push(self.push(Tree::Gate(k, first, m)));
            }
        }
    }

    fn push(&mut self, tree: Tree) -> u32 {
        self.trees.push(tree);
        u32::try_from(self.trees.len() - 1).expect("the arena of MAX_ENUMERATED nodes fits")
    }

    pub(super) fn members(&self, first: u32, m: u8) -> &[u32] {
        &self.members[first as usize..first as usize + usize::from(m)]
    }

    /// The tree as an expression.
    pub(super) fn expr(&self, tree: u32, nodes: &[Node]) -> Expr {
        match self.trees[tree as usize] {
            Tree::Leaf(node) => nodes[usize::from(node)].into(),
            Tree::Gate(k, first, m) => {
                let members = self.members(first, m).iter().map(|&member| self.expr(member, nodes));
                Expr::choose(usize::from(k), members).expect("the threshold of a canonical gate is in range")
            }
        }
    }

    /// The same for all trees that differ only in which nodes of one color stand where.
    pub(super) fn shape(&self, tree: u32, color: &[u8]) -> Vec<u8> {
        match self.trees[tree as usize] {
            Tree::Leaf(node) => vec![color[usize::from(node)]],
            Tree::Gate(k, first, m) => {
                let mut shapes: Vec<Vec<u8>> =
                    self.members(first, m).iter().map(|&member| self.shape(member, color)).collect();
                shapes.sort_unstable();
                let mut shape = vec![0x40 | k, 0x80 | m];
                shape.extend(shapes.into_iter().flatten());
                shape
            }
        }
    }

    /// For every tree, the least sum over enough of its members, from what leaves are worth. `writes` evaluates the dual.
    pub(super) fn least(&self, leaf: &[f64], writes: bool) -> Vec<f64> {
        let mut least: Vec<f64> = Vec::with_capacity(self.trees.len());
        for tree in &self.trees {
            least.push(self.one(
                *tree,
                writes,
                |node| leaf[usize::from(node)],
                |member| least[member as usize],
            ));
        }
        least
    }

    /// The same for one tree.
    pub(super) fn least_of(&self, tree: u32, leaf: &[f64], writes: bool) -> f64 {
        let of = self.trees[tree as usize];
        self.one(of, writes, |node| leaf[usize::from(node)], |member| self.least_of(member, leaf, writes))
    }

    fn one(&self, tree: Tree, writes: bool, leaf: impl Fn(u8) -> f64, value: impl Fn(u32) -> f64) -> f64 {
        let (k, first, m) = match tree {
            Tree::Leaf(node) => return leaf(node),
            Tree::Gate(k, first, m) => (k, first, m),
        };
        let needed = usize::from(if writes { m - k + 1 } else { k });
        let mut values = [f64::INFINITY; MAX_ENUMERATED];
        for (at, &member) in self.members(first, m).iter().enumerate() {
            // Insertion keeps the few values sorted.
            let new = value(member);
            let mut to = at;
            while to > 0 && values[to - 1] > new {
                values[to] = values[to - 1];
                to -= 1;
            }
            values[to] = new;
        }
        values[..needed].iter().sum()
    }
}

/// Every set of read quorums over these nodes that a duplicate-free expression denotes, each once.
///
/// # Errors
/// When there is no node, or more than [`MAX_ENUMERATED`].
pub fn duplicate_free(nodes: &[Node]) -> crate::Result<Vec<Expr>> {
    if nodes.is_empty() {
        return Err(crate::Error::Empty { what: "a search" });
    }
    if nodes.len() > MAX_ENUMERATED {
        let (size, limit) = (nodes.len() as u64, MAX_ENUMERATED as u64);
        return Err(crate::Error::TooLarge { what: "nodes to enumerate systems of", size, limit });
    }
    let arena = Arena::whole(nodes.len());
    Ok(arena.complete.iter().map(|&tree| arena.expr(tree, nodes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_as_many_systems_as_distinct_functions() {
        for (n, expected) in [(1, 1), (2, 2), (3, 9), (4, 74), (5, 885), (6, 13_684)] {
            assert_eq!(Arena::whole(n).complete.len(), expected, "{n} nodes");
        }
    }

    #[test]
    fn no_two_systems_are_the_same_function() {
        let nodes: Vec<Node> = (0..5).map(|i| Node::new(i).unwrap()).collect();
        let all = duplicate_free(&nodes).unwrap();
        let functions: BTreeSet<_> = all.iter().map(|expr| expr.minimal_quorums().unwrap()).collect();
        assert_eq!(functions.len(), all.len());
    }

    #[test]
    fn shapes_forget_which_of_equal_nodes_stands_where() {
        let arena = Arena::whole(5);
        let shapes: BTreeSet<_> = arena.complete.iter().map(|&tree| arena.shape(tree, &[0; 5])).collect();
        assert_eq!(shapes.len(), 53);
        let shapes: BTreeSet<_> =
            arena.complete.iter().map(|&tree| arena.shape(tree, &[0, 1, 2, 3, 4])).collect();
        assert_eq!(shapes.len(), 885);
    }
}
