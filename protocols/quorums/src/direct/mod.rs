//! The least load at one read fraction without a linear program: for sums and products, and for thresholds.
//!
//! These are the systems that most clusters run (majorities, flexible quorums, grids), and nodes are rarely alike. What
//! is found has the form in which the simplex method ends, a basis and prices, and is proved like anything else; what has
//! none, or is too close to a tie for floating point, is left to the simplex method.

mod sums;
mod thresholds;

use crate::problem::{Objective, Problem, Scale};
use crate::program::Column;
use crate::simplex::Ended;
use crate::source::Candidate;
use crate::{NodeSet, Workload};

/// Probabilities and shares below this are left to the simplex method: rounding may have made them.
const LEAST_SHARE: f64 = 1e-9;

/// Of reads and of writes.
type Pair = [f64; 2];

/// An optimal strategy with the prices that prove it.
struct Found {
    load: f64,
    /// Of each side, with probabilities.
    sets: [Vec<(f64, NodeSet)>; 2],
    /// What a set of each side costs at the prices of nodes.
    cost: Pair,
    /// By node; zero where the load is less.
    prices: Vec<f64>,
}

/// The optimum, if it can be found so.
pub(crate) fn solve(problem: &Problem) -> Option<(Scale, Ended<f64>)> {
    let [reads, writes] = problem.families.as_slice() else { return None };
    let simple =
        problem.objective == Objective::Load && problem.limits.is_empty() && problem.symmetry.is_none();
    let Workload::Expected(points) = &problem.workload else { return None };
    let [(read, _)] = points.as_slice() else { return None };
    if !simple || *read <= 0.0 || *read >= 1.0 {
        return None;
    }
    let trees = [reads.source.plain()?, writes.source.plain()?];
    // The load of a node if it served all reads, or all writes.
    let work: Vec<Pair> = problem.capacities.iter().map(|(r, w)| [read / r, (1.0 - read) / w]).collect();
    sums::solve(trees, &work).or_else(|| thresholds::solve(trees, &work))?.ended(problem)
}

impl Found {
    /// In the form in which the simplex method ends, in units of the load; none if that is no basis.
    fn ended(self, problem: &Problem) -> Option<(Scale, Ended<f64>)> {
        let rows = problem.nodes.len() + 2;
        let (mut basis, mut x) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for (family, sets) in self.sets.into_iter().enumerate() {
            for (probability, set) in sets {
                basis.push(Column::Set(family, Candidate { set, latency: 0.0 }));
                x.push(probability);
            }
        }
        basis.push(Column::Variable(0));
        x.push(1.0);
        let (mut tight, mut y) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        tight.extend([0, 1]);
        y.extend(self.cost.map(|cost| cost / self.load));
        for (row, node) in (2..).zip(problem.nodes.iter()) {
            y.push(-self.prices[node]);
            if self.prices[node] > 0.0 {
                tight.push(row);
            }
        }
        let ended = Ended { feasible: true, value: 1.0, basis, x, tight, y };
        let scale = Scale { load: 1.0 / self.load, ..Scale::NONE };
        (ended.basis.len() == ended.tight.len()).then_some((scale, ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::Certificate;
    use crate::program::Program;
    use crate::{Attributes, Cluster, Expr, Plan, QuorumSystem, ReadWriteQuorumSystem, exact, simplex};
    use num_rational::BigRational;
    use proptest::prelude::*;

    const SYSTEMS: [&str; 10] = [
        "a*b + c*d*e",
        "(a + b) * (c + d + e*f)",
        "a*(b + c*(d + e*f)) + g*h",
        "a*b*c + d*e*f + g*h*i",
        "choose(2, a, b, c)",
        "choose(2, a, b, c, d, e)",
        "choose(3, a, b, c, d, e)",
        "choose(4, a, b, c, d, e, f, g)",
        "choose(3, a, b, c, d, e, f, g, h, i)",
        "choose(2, a, b, c*d, e)",
    ];

    fn cluster(capacities: &[(u32, u32)]) -> Cluster {
        let mut cluster = Cluster::new();
        for (name, (read, write)) in ["a", "b", "c", "d", "e", "f", "g", "h", "i"].into_iter().zip(capacities)
        {
            cluster.add(name, Attributes::capacities(f64::from(*read), f64::from(*write))).unwrap();
        }
        cluster
    }

    fn problem(cluster: &Cluster, reads: &str, read: f64) -> Problem {
        let system = ReadWriteQuorumSystem::parse(cluster, Some(reads), None).unwrap();
        let plan = Plan::minimise(Objective::Load, Workload::reads(read).unwrap());
        let mut problem = plan.problem(&system, cluster).unwrap();
        // Alike or not: here it makes no difference.
        problem.symmetry = None;
        problem
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_found_is_the_optimum_and_its_basis_proves_it(
            capacities in prop::collection::vec((1_u32..3000, 1_u32..3000), 9), which in 0..SYSTEMS.len(), read in 1_u32..20,
        ) {
            let problem = problem(&cluster(&capacities), SYSTEMS[which], f64::from(read) / 20.0);
            if let Some((scale, found)) = solve(&problem) {
                let expected = simplex::solve(&Program::<f64>::new(&problem, scale)).unwrap();
                prop_assert!((expected.value - 1.0).abs() < 1e-9, "{} {}", SYSTEMS[which], expected.value);
                let program = Program::<BigRational>::new(&problem, Scale::NONE);
                let exact = exact::at_basis(&program, &found).unwrap();
                for (floating, exact) in found.x.iter().take(found.x.len() - 1).zip(&exact.x) {
                    prop_assert!((floating - crate::number::rounded(exact)).abs() < 1e-9);
                }
                // As good as any: had it not been optimal, the proof would have gone on to another basis.
                let proof = Certificate::near(&problem, &found).unwrap();
                prop_assert_eq!(proof.value(), &exact.value);
            }
        }
    }

    #[test]
    fn uneven_majorities_and_grids_need_no_linear_program() {
        let mut cluster = Cluster::new();
        for i in 0..64_u32 {
            // As in the benchmark: of some majorities the same nodes take all reads.
            let (read, write) = (f64::from(i * 37 % 11 + 5) * 100.0, f64::from(i * 53 % 7 + 3) * 50.0);
            cluster.add(format!("n{i}"), Attributes::capacities(read, write)).unwrap();
        }
        let nodes: Vec<_> = cluster.nodes().collect();
        let plan = Plan::minimise(Objective::Load, Workload::reads(0.5).unwrap());
        let majorities = [3, 5, 7, 9, 11, 13].map(|n| crate::constructions::majority(&nodes[..n]).unwrap());
        let grids = [3, 4, 8].map(|side| crate::constructions::grid(&nodes[..side * side], side).unwrap());
        for system in majorities.into_iter().chain(grids) {
            let problem = plan.problem(&system, &cluster).unwrap();
            assert!(
                problem.symmetry.is_none() && solve(&problem).is_some(),
                "{} nodes",
                system.nodes().len()
            );
        }
    }

    #[test]
    fn what_has_another_form_is_left_to_the_simplex_method() {
        let cluster = cluster(&[(3, 5), (8, 1), (4, 7), (9, 2), (2, 2)]);
        for reads in ["choose(2, a, b, c*d, e)", "vote(3; 2:a, 1:b, 1:c)", "a*b + a*c"] {
            assert!(solve(&problem(&cluster, reads, 0.5)).is_none(), "{reads}");
        }
        // Nodes so slow to write that they had to read less than nothing.
        let slow = self::cluster(&[(1000, 1000), (1000, 1000), (1000, 1), (1000, 1)]);
        assert!(solve(&problem(&slow, "a*b + c*d", 0.5)).is_none());
        assert!(solve(&problem(&cluster, "a*b + c*d", 1.0)).is_none());
        let both = ReadWriteQuorumSystem::both(
            Expr::majority(cluster.nodes()).unwrap(),
            Expr::all(cluster.nodes()).unwrap(),
        );
        let plan = Plan::minimise(Objective::Load, Workload::reads(0.5).unwrap());
        let problem = plan.problem(&both.unwrap(), &cluster).unwrap();
        assert!(problem.symmetry.is_none() && solve(&problem).is_none(), "writes contact all");
        let limited = plan
            .max_network(9.0)
            .problem(&ReadWriteQuorumSystem::parse(&cluster, Some("a*b"), None).unwrap(), &cluster);
        assert!(solve(&limited.unwrap()).is_none());
    }
}
