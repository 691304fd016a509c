//! Proofs of optimality that are checked without the solver.
//!
//! A certificate holds a strategy and prices, all rational. The strategy shows that its value can be had: its sets are
//! quorums (resilient ones, by removing every group of members in turn), its probabilities sum to one, its metrics keep the
//! limits. The prices show that nothing is better: they put a price on every node at every read fraction and on every
//! limit, such that no variable and no set has negative reduced cost, the cheapest set being found by the oracle. Then the
//! prices of the right-hand sides sum to a bound for every strategy (weak duality). If the two agree, the value is proved;
//! for an infeasible plan the bound exceeds zero though it leaves the objective out (Farkas), which no strategy could do.

use crate::exact;
use crate::number::{Number, decimal};
use crate::plan::Plan;
use crate::problem::{Problem, Scale};
use crate::program::{Program, Room};
use crate::simplex::{self, Ended};
use crate::{Cluster, Error, NodeSet, Objective, ReadWriteQuorumSystem, Result, Workload};
use num_rational::BigRational;
use num_traits::Signed;
use serde::{Deserialize, Serialize};

/// The exact optimum of a plan, or the proof that there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Is there a strategy that keeps the limits?
    feasible: bool,
    #[serde(with = "ratio")]
    value: BigRational,
    #[serde(with = "weights")]
    reads: Vec<(NodeSet, BigRational)>,
    #[serde(with = "weights")]
    writes: Vec<(NodeSet, BigRational)>,
    #[serde(with = "ratios")]
    prices: Vec<BigRational>,
}

impl Certificate {
    /// The proof for the basis that a run ended with, if it is exactly optimal or exactly infeasible; if floating point
    /// was wrong about that, the proof for where rational arithmetic ends from there.
    pub(crate) fn near(problem: &Problem, near: &Ended<f64>) -> Result<Self> {
        Ok(Self::with_solution(problem, near)?.0)
    }

    /// The same with the solution that it is the proof of.
    pub(crate) fn with_solution(problem: &Problem, near: &Ended<f64>) -> Result<(Self, Ended<BigRational>)> {
        let program = Program::<BigRational>::new(problem, Scale::NONE);
        let whole = problem.symmetry.is_some().then(|| Program::whole(problem, Scale::NONE));
        let whole = whole.as_ref().unwrap_or(&program);
        let proof = |ended| (Self::new(&program, whole, &ended), ended);
        let at_basis = exact::at_basis(&program, near).map(proof);
        match at_basis.filter(|(proof, _)| proof.check_for(problem, whole).is_ok()) {
            Some(proof) => Ok(proof),
            None => Ok(proof(simplex::resume(&program, near)?)),
        }
    }

    /// The proof that a solution of a program that may have one row for several nodes is one of the whole program.
    fn new(
        program: &Program<'_, BigRational>,
        whole: &Program<'_, BigRational>,
        ended: &Ended<BigRational>,
    ) -> Self {
        let sets = |family| {
            let sets = if ended.feasible { ended.sets(program.problem, family) } else { Vec::new() };
            sets.into_iter().filter(|(_, probability)| probability.is_positive()).collect()
        };
        Self {
            feasible: ended.feasible,
            value: ended.value.clone(),
            reads: sets(0),
            writes: sets(1),
            prices: program.prices_of_whole(whole, &ended.y),
        }
    }

    /// Does it prove an optimum? Otherwise it proves that no strategy keeps the limits.
    pub fn is_feasible(&self) -> bool {
        self.feasible
    }

    /// The optimum; for an infeasible plan, by how much the limits are exceeded at least.
    pub fn value(&self) -> &BigRational {
        &self.value
    }

    /// The read quorums with their exact probabilities.
    pub fn reads(&self) -> &[(NodeSet, BigRational)] {
        &self.reads
    }

    /// The write quorums with their exact probabilities.
    pub fn writes(&self) -> &[(NodeSet, BigRational)] {
        &self.writes
    }

    /// Checks the proof for a system, its nodes and a plan, in rational arithmetic and without the solver.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self, system: &ReadWriteQuorumSystem, cluster: &Cluster, plan: &Plan) -> Result<()> {
        let problem = plan.problem(system, cluster)?;
        self.check_for(&problem, &Program::whole(&problem, Scale::NONE))
    }

    fn check_for(&self, problem: &Problem, program: &Program<'_, BigRational>) -> Result<()> {
        let bound = self.bound(program)?;
        if !self.feasible {
            return holds(bound.is_positive(), || {
                format!("the prices prove nothing: their bound is {bound}")
            });
        }
        let value = self.exact_value(problem)?;
        holds(value == self.value, || format!("the strategy is worth {value}, not {}", self.value))?;
        holds(bound == self.value, || format!("the prices prove {bound}, not {}", self.value))
    }

    /// What the prices prove: no strategy is worth less.
    fn bound(&self, program: &Program<'_, BigRational>) -> Result<BigRational> {
        let y = &self.prices;
        holds(y.len() == program.rows(), || format!("{} prices for {} rows", y.len(), program.rows()))?;
        let positive = y.iter().skip(program.families()).position(Signed::is_positive);
        holds(positive.is_none(), || format!("the price of inequality {positive:?} is positive"))?;
        for (i, variable) in program.variables.iter().enumerate() {
            let cost = variable.reduced_cost(y, self.feasible);
            holds(!cost.is_negative(), || format!("variable {i} has the reduced cost {cost}"))?;
        }
        let mut room = Room::new(program);
        program.price(program.priced(y), self.feasible, &mut room);
        for (family, own) in y.iter().enumerate().take(program.families()) {
            let cheapest = program.cheapest(family, &mut room);
            let cost = cheapest.map_or_else(BigRational::zero, |(cost, _)| cost - own);
            holds(!cost.is_negative(), || format!("a set of family {family} has the reduced cost {cost}"))?;
        }
        let mut bound = BigRational::zero();
        for (row, price) in y.iter().enumerate() {
            bound += price * program.bound(row);
        }
        Ok(bound)
    }

    /// What the strategy is worth, from the definitions of the metrics.
    fn exact_value(&self, problem: &Problem) -> Result<BigRational> {
        for (family, sets) in problem.families.iter().zip([&self.reads, &self.writes]) {
            let sum: BigRational = sets.iter().map(|(_, probability)| probability).sum();
            holds(sum == BigRational::one(), || format!("the probabilities of a side sum to {sum}"))?;
            for (set, probability) in sets {
                holds(family.source.allows(*set), || format!("{set:?} may not be contacted"))?;
                holds(!probability.is_negative(), || format!("{set:?} has the probability {probability}"))?;
            }
        }
        for (metric, limit) in &problem.limits {
            let value = self.metric(problem, *metric);
            holds(value <= decimal(*limit), || {
                format!("the {} is {value}, not at most {limit}", metric.name())
            })?;
        }
        Ok(self.metric(problem, problem.objective))
    }

    fn metric(&self, problem: &Problem, metric: Objective) -> BigRational {
        let points: Vec<(BigRational, BigRational)> = match &problem.workload {
            Workload::Worst(least, most) => {
                [least, most].map(|read| (decimal(*read), BigRational::one())).into()
            }
            Workload::Expected(points) => {
                let total: BigRational = points.iter().map(|(_, weight)| decimal(*weight)).sum();
                points.iter().map(|(read, weight)| (decimal(*read), decimal(*weight) / &total)).collect()
            }
        };
        let values = points.into_iter().map(|(read, weight)| weight * self.metric_at(problem, metric, &read));
        match problem.workload {
            Workload::Expected(_) => values.sum(),
            Workload::Worst(..) => values.max().unwrap_or_else(BigRational::zero),
        }
    }

    fn metric_at(&self, problem: &Problem, metric: Objective, read: &BigRational) -> BigRational {
        let write = BigRational::one() - read;
        let sides = [(&self.reads, read, 0), (&self.writes, &write, 1)];
        if metric == Objective::Load {
            let load = |node: usize| -> BigRational {
                let (read_capacity, write_capacity) = problem.capacities[node];
                let contacted = |sets: &[(NodeSet, BigRational)]| -> BigRational {
                    sets.iter()
                        .filter(|(set, _)| set.contains(node))
                        .map(|(_, probability)| probability)
                        .sum()
                };
                read * contacted(&self.reads) / decimal(read_capacity)
                    + &write * contacted(&self.writes) / decimal(write_capacity)
            };
            return problem.nodes.iter().map(load).max().unwrap_or_else(BigRational::zero);
        }
        let mut value = BigRational::zero();
        for (sets, fraction, family) in sides {
            for (set, probability) in sets {
                let amount = match metric {
                    Objective::Latency => decimal(problem.families[family].source.latency(*set)),
                    _ => BigRational::of(crate::number::count(set.len())),
                };
                value += fraction * probability * amount;
            }
        }
        value
    }
}

fn holds(condition: bool, reason: impl FnOnce() -> String) -> Result<()> {
    if condition { Ok(()) } else { Err(Error::BadCertificate { reason: reason() }) }
}

/// Rationals as text, since no number format of JSON holds them.
mod ratio {
    use num_rational::BigRational;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn parse<E: Error>(text: &str) -> Result<BigRational, E> {
        // A zero denominator is rejected by the parser.
        text.parse().map_err(|_| E::custom(format!("{text:?} is no fraction")))
    }

    pub(super) fn serialize<S: Serializer>(value: &BigRational, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BigRational, D::Error> {
        parse(&String::deserialize(deserializer)?)
    }
}

mod ratios {
    use num_rational::BigRational;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(values: &[BigRational], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<BigRational>, D::Error> {
        Vec::<String>::deserialize(deserializer)?.iter().map(|text| super::ratio::parse(text)).collect()
    }
}

mod weights {
    use crate::NodeSet;
    use num_rational::BigRational;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        sets: &[(NodeSet, BigRational)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            sets.iter().map(|(set, weight)| (set.iter().collect::<Vec<_>>(), weight.to_string())),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(NodeSet, BigRational)>, D::Error> {
        let sets = Vec::<(Vec<usize>, String)>::deserialize(deserializer)?;
        let set = |nodes: Vec<usize>| {
            let fits = nodes.iter().all(|&node| node < NodeSet::CAPACITY);
            fits.then(|| nodes.into_iter().collect())
                .ok_or_else(|| serde::de::Error::custom("a node is no index"))
        };
        sets.into_iter().map(|(nodes, weight)| Ok((set(nodes)?, super::ratio::parse(&weight)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::attempt;
    use crate::{Attributes, Expr};

    /// Lifting gives what the simplex method gives in rational arithmetic, which is far slower, and it is exactly optimal.
    #[test]
    fn a_basis_of_floating_point_is_optimal_exactly() {
        let mut cluster = Cluster::new();
        for i in 0..9_u32 {
            let node = Attributes::capacities(f64::from(i * 37 % 11 + 5), f64::from(i * 53 % 7 + 3));
            cluster.add(format!("n{i}"), node.latency(f64::from(i * 29 % 13 + 1))).unwrap();
        }
        let system = ReadWriteQuorumSystem::reads(Expr::majority(cluster.nodes()).unwrap());
        let load = Plan::minimise(Objective::Load, Workload::reads(0.5).unwrap());
        let latency = load.with_objective(Objective::Latency);
        for (plan, feasible) in
            [(load, true), (latency.clone().max_load(0.13), true), (latency.max_load(0.01), false)]
        {
            let problem = plan.problem(&system, &cluster).unwrap();
            let program = Program::<BigRational>::new(&problem, Scale::NONE);
            let (_, near) = attempt(&problem).unwrap();
            let proof = |ended| Certificate::new(&program, &program, &ended);
            let lifted = proof(exact::at_basis(&program, &near).unwrap());
            assert_eq!(lifted.check_for(&problem, &program), Ok(()));
            assert_eq!(lifted.feasible, feasible);
            assert_eq!(lifted, proof(simplex::resume(&program, &near).unwrap()));
        }
    }
}
