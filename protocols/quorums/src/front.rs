//! Trade-offs between two metrics, and which nodes and limits an optimum hangs on.

use crate::number::count;
use crate::problem::Objective;
use crate::program::{Column, Program};
use crate::solution::Solution;
use crate::{Cluster, Error, Node, Plan, ReadWriteQuorumSystem, Result};

/// A point of a Pareto front: neither metric can be lower without the other being higher.
#[derive(Clone, Debug)]
pub struct FrontPoint {
    /// The first metric.
    pub x: f64,
    /// The second metric.
    pub y: f64,
    /// A strategy with these metrics.
    pub solution: Solution,
}

impl ReadWriteQuorumSystem {
    /// The Pareto front of two metrics under a plan's other limits (its own objective is not used). Both are linear in the
    /// strategy but for load, which is convex, so the front is convex; it is sampled at `points` evenly spaced values of `x`,
    /// ends included.
    ///
    /// # Errors
    /// When the metrics are equal, there are fewer than two points, or no strategy keeps the plan's limits.
    pub fn pareto(
        &self,
        cluster: &Cluster,
        plan: &Plan,
        [x, y]: [Objective; 2],
        points: usize,
    ) -> Result<Vec<FrontPoint>> {
        if x == y || points < 2 {
            let message = "needs two different metrics and at least two points".into();
            return Err(Error::BadShape { construction: "a Pareto front", message });
        }
        // Room for rounding: a limit at an optimum itself can be missed by the last digit.
        let loosened = |value: f64| value * (1.0 + 1e-9) + f64::MIN_POSITIVE;
        let minimise = |objective, limit: Option<(Objective, f64)>| {
            let plan = plan.with_objective(objective);
            self.optimise(
                cluster,
                &limit.into_iter().fold(plan, |plan, (metric, most)| plan.max(metric, loosened(most))),
            )
        };
        let left = minimise(x, None)?.value();
        let lowest = minimise(y, None)?.value();
        let right = minimise(x, Some((y, lowest)))?.value();
        let steps = if right > loosened(left) { points - 1 } else { 0 };
        let at = |i: usize| match i {
            0 => left,
            _ => left + (right - left) * count(i) / count(steps),
        };
        (0..=steps)
            .map(|i| {
                let solution = minimise(y, Some((x, at(i))))?;
                Ok(FrontPoint { x: at(i), y: solution.value(), solution })
            })
            .collect()
    }
}

/// What an optimum hangs on.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Nodes that bind, the most binding first: by what share the optimum falls per relative increase of the node's
    /// capacity. `0.4` means that one percent more capacity lowers it by about 0.4 percent.
    pub nodes: Vec<(Node, f64)>,
    /// Limits that bind: by what share the optimum falls per relative increase of the limit.
    pub limits: Vec<(Objective, f64)>,
}

impl Solution {
    /// What the optimum hangs on, from the prices that prove it. Where several prices do, the shares are those of one of
    /// them.
    pub fn explain(&self) -> Explanation {
        let (problem, solved) = (self.problem(), self.solved());
        let program = Program::<f64>::new(problem, solved.scale);
        let scaled = solved.value * solved.scale.of(problem.objective);
        let share = |amount: f64| if scaled > 0.0 { amount / scaled } else { 0.0 };
        let mut nodes = vec![0.0; problem.capacities.len()];
        for (column, level) in solved.ended.basis.iter().zip(&solved.ended.x) {
            let Column::Variable(variable) = column else { continue };
            for row in program.variables[*variable].rows.clone() {
                let alike = program.loaded_nodes(row);
                for node in alike.iter() {
                    nodes[node] -= solved.ended.y[row] * level / count(alike.len());
                }
            }
        }
        let price = |index: usize| Node::new(index).ok().map(|node| (node, share(nodes[index])));
        let mut nodes: Vec<(Node, f64)> =
            (0..nodes.len()).filter_map(price).filter(|(_, share)| *share > 1e-9).collect();
        nodes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut limits: Vec<(Objective, f64)> = Vec::new();
        for row in program.families()..program.rows() {
            let amount = share(-solved.ended.y[row] * program.bound(row));
            if let Some(metric) = program.limited(row).filter(|_| amount > 1e-9) {
                limits.push((metric, amount));
            }
        }
        Explanation { nodes, limits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attributes, Workload};

    fn study() -> (Cluster, ReadWriteQuorumSystem) {
        let mut cluster = Cluster::new();
        for (name, write, latency) in
            [("a", 100.0, 4.0), ("b", 100.0, 4.0), ("c", 50.0, 1.0), ("d", 50.0, 1.0)]
        {
            cluster.add(name, Attributes::capacities(2.0 * write, write).latency(latency)).unwrap();
        }
        let system = ReadWriteQuorumSystem::parse(&cluster, Some("a*b + c*d"), None).unwrap();
        (cluster, system)
    }

    #[test]
    fn a_front_is_convex_and_falls() {
        let (cluster, system) = study();
        let plan = Plan::minimise(Objective::Load, Workload::reads(1.0).unwrap());
        let front = system.pareto(&cluster, &plan, [Objective::Latency, Objective::Load], 5).unwrap();
        assert_eq!(front.len(), 5);
        let (first, last) = (&front[0], &front[4]);
        assert!((first.x - 1.0).abs() < 1e-9 && (first.y - 1.0 / 100.0).abs() < 1e-9);
        assert!((last.x - 3.0).abs() < 1e-6 && (last.y - 1.0 / 300.0).abs() < 1e-9);
        for three in front.windows(3) {
            assert!(three[0].y > three[1].y && three[1].y - three[2].y <= three[0].y - three[1].y + 1e-9);
        }
    }

    #[test]
    fn more_capacity_at_a_binding_node_lowers_the_optimum_by_its_share() {
        let (mut cluster, system) = study();
        let plan = Plan::minimise(Objective::Load, Workload::reads(0.7).unwrap());
        let solution = system.optimise(&cluster, &plan).unwrap();
        let explanation = solution.explain();
        assert!((explanation.nodes.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-9);
        for (node, share) in explanation.nodes {
            let name = cluster.name(node).to_owned();
            let before = cluster.attributes(node).unwrap().clone();
            let more = Attributes {
                read_capacity: before.read_capacity * 1.0001,
                write_capacity: before.write_capacity * 1.0001,
                ..before.clone()
            };
            cluster.set(&name, more).unwrap();
            let better = system.optimise(&cluster, &plan).unwrap().value();
            assert!((1.0 - better / solution.value() - share * 1e-4).abs() < 1e-7, "{name}");
            cluster.set(&name, before).unwrap();
        }
    }

    #[test]
    fn a_limit_that_binds_is_named() {
        let (cluster, system) = study();
        let plan = Plan::minimise(Objective::Latency, Workload::reads(1.0).unwrap());
        let solution = system.optimise(&cluster, &plan.clone().max_load(1.0 / 150.0)).unwrap();
        assert_eq!(solution.explain().limits.first().map(|(metric, _)| *metric), Some(Objective::Load));
        let solution = system.optimise(&cluster, &plan.max_load(1.0)).unwrap();
        assert_eq!(solution.explain().limits, []);
    }
}
