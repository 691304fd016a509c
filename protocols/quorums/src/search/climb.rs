//! Search over more nodes than can be enumerated: from known constructions uphill.
//!
//! The start is the best of the majorities, grids and nested thresholds over the nodes in order of capacity. A step changes
//! one thing: a threshold, the places of two nodes, or the gate that a node is in. The first better neighbor is taken; the
//! climb ends where there is none. Nothing is proved but the bound that holds for every system.

use super::{Found, Progress, TIE, problem, universal_bound};
use crate::plan::{Plan, solve};
use crate::{Cluster, Error, Expr, Node, ReadWriteQuorumSystem, Result};

/// Groups of nodes: so many of the groups, and in each so many of its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shape {
    threshold: usize,
    groups: Vec<(usize, Vec<Node>)>,
}

impl Shape {
    fn expr(&self) -> Result<Expr> {
        let group = |(k, nodes): &(usize, Vec<Node>)| Expr::choose(*k, nodes.iter().copied());
        Expr::choose(self.threshold, self.groups.iter().map(group).collect::<Result<Vec<_>>>()?)
    }

    /// Grids and nested thresholds: the nodes dealt to groups of nearly equal strength.
    fn starts(cluster: &Cluster) -> Vec<Self> {
        let mut nodes: Vec<Node> = cluster.nodes().collect();
        let capacity =
            |node: &Node| cluster.attributes(*node).map_or(0.0, |a| a.read_capacity + a.write_capacity);
        nodes.sort_by(|a, b| capacity(b).total_cmp(&capacity(a)));
        let n = nodes.len();
        let mut starts = Vec::new();
        for count in 1..=n {
            let deal = |group: usize| nodes.iter().copied().skip(group).step_by(count).collect::<Vec<Node>>();
            let groups: Vec<Vec<Node>> = (0..count).map(deal).collect();
            for threshold in [1, count / 2 + 1, count] {
                for inner in [1.0, 0.5, 0.0] {
                    let k = |group: &[Node]| match inner {
                        0.0 => group.len(),
                        0.5 => group.len() / 2 + 1,
                        _ => 1,
                    };
                    let groups = groups.iter().map(|group| (k(group), group.clone())).collect();
                    let shape = Self { threshold, groups };
                    if !starts.contains(&shape) {
                        starts.push(shape);
                    }
                }
            }
        }
        starts
    }

    fn neighbors(&self) -> Vec<Self> {
        let mut all = Vec::new();
        for threshold in [self.threshold.wrapping_sub(1), self.threshold + 1] {
            all.push(Self { threshold, ..self.clone() });
        }
        for group in 0..self.groups.len() {
            for k in [self.groups[group].0.wrapping_sub(1), self.groups[group].0 + 1] {
                let mut next = self.clone();
                next.groups[group].0 = k;
                all.push(next);
            }
        }
        for from in 0..self.groups.len() {
            for at in 0..self.groups[from].1.len() {
                for to in 0..=self.groups.len() {
                    all.push(self.with_node_moved(from, at, to));
                }
                for to in from + 1..self.groups.len() {
                    for other in 0..self.groups[to].1.len() {
                        let mut next = self.clone();
                        let node = next.groups[from].1[at];
                        next.groups[from].1[at] = next.groups[to].1[other];
                        next.groups[to].1[other] = node;
                        all.push(next);
                    }
                }
            }
        }
        all.retain(Self::is_valid);
        all
    }

    /// The node goes to another group, or to a new one.
    fn with_node_moved(&self, from: usize, at: usize, to: usize) -> Self {
        let mut next = self.clone();
        let node = next.groups[from].1.remove(at);
        match next.groups.get_mut(to) {
            Some(group) => group.1.push(node),
            None => next.groups.push((1, vec![node])),
        }
        next.groups.retain(|(_, nodes)| !nodes.is_empty());
        next
    }

    fn is_valid(&self) -> bool {
        (1..=self.groups.len()).contains(&self.threshold)
            && self.groups.iter().all(|(k, nodes)| (1..=nodes.len()).contains(k))
    }
}

struct Climber<'a> {
    cluster: &'a Cluster,
    plan: &'a Plan,
    resilience: usize,
    best: Option<(f64, Shape)>,
    tried: usize,
    solved: usize,
    floor: f64,
}

pub(super) fn climb(
    cluster: &Cluster,
    plan: &Plan,
    resilience: usize,
    go_on: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Found> {
    let floor = universal_bound(cluster, plan);
    let mut climber = Climber { cluster, plan, resilience, best: None, tried: 0, solved: 0, floor };
    let mut stopped = !climber.try_all(Shape::starts(cluster), false, go_on)?;
    while let Some((value, shape)) = climber.best.clone().filter(|_| !stopped) {
        stopped = !climber.try_all(shape.neighbors(), true, go_on)?;
        if climber.best.as_ref().is_some_and(|(next, _)| *next >= value) {
            break;
        }
    }
    let progress = climber.progress();
    let Some((value, shape)) = climber.best else {
        return Err(Error::NothingFound { candidates: climber.tried });
    };
    let proved = value <= floor * (1.0 + TIE);
    let system = ReadWriteQuorumSystem::reads(shape.expr()?);
    Ok(Found { system, value, bound: floor.min(value), proved, progress })
}

impl Climber<'_> {
    /// Tries shapes, all or up to the first better one; false if stopped.
    fn try_all(
        &mut self,
        shapes: Vec<Shape>,
        first: bool,
        go_on: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<bool> {
        for shape in shapes {
            // The first candidate is tried whatever the time, so that there is an answer.
            if self.tried > 0 && !go_on(&self.progress()) {
                return Ok(false);
            }
            self.tried += 1;
            let reads = shape.expr()?;
            if ReadWriteQuorumSystem::reads(reads.clone()).resilience()? < self.resilience {
                continue;
            }
            self.solved += 1;
            let value = match problem(self.cluster, self.plan, reads).and_then(|problem| solve(&problem)) {
                Ok(solved) => solved.value,
                Err(Error::Infeasible { .. } | Error::NoResilientSet { .. }) => continue,
                Err(error) => return Err(error),
            };
            if self.best.as_ref().is_none_or(|(best, _)| value < best * (1.0 - TIE)) {
                self.best = Some((value, shape));
                if first {
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    fn progress(&self) -> Progress {
        let best = self.best.as_ref().map(|(value, _)| *value);
        Progress { candidates: self.tried, open: 0, solved: self.solved, best, bound: self.floor }
    }
}
