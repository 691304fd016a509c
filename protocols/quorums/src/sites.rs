//! Clients in several places: a latency from each to every node, a strategy for each, nodes shared by all.
//!
//! The linear program has a read and a write family per site; load rows sum what all sites put on a node. Measured
//! latencies are rows of a table, one column per node, so that what is slow together stays slow together.

use crate::plan::solve;
use crate::problem::Side;
use crate::solution::choices;
use crate::{
    Cluster, Error, Expr, Node, NodeSet, Plan, QuorumSystem, ReadWriteQuorumSystem, Result, Strategy,
    Workload,
};

/// The most nodes whose placements are all tried.
const MAX_PLACED: usize = 7;

/// A place with clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its share of all commands; shares are normalised.
    pub weight: f64,
    /// Seconds to each node of the cluster.
    pub latencies: Vec<f64>,
}

/// A strategy for every site.
#[derive(Clone, Debug)]
pub struct SiteStrategies {
    /// The optimum of the plan's objective over all sites.
    pub value: f64,
    /// By site.
    pub strategies: Vec<Strategy>,
}

impl ReadWriteQuorumSystem {
    /// A strategy per site, optimal together; the latencies of the cluster's nodes are those of the sites.
    ///
    /// # Errors
    /// As [`ReadWriteQuorumSystem::optimise`], and when a site has a bad weight or not one latency per node.
    pub fn optimise_for_sites(
        &self,
        cluster: &Cluster,
        plan: &Plan,
        sites: &[Site],
    ) -> Result<SiteStrategies> {
        plan.check()?;
        let total = check(cluster, sites)?;
        let mut families = Vec::new();
        for site in sites {
            families.extend(plan.families(self, &site.latencies.as_slice().into(), site.weight / total)?);
        }
        let problem = plan.problem_of(self, cluster, families);
        let solved = solve(&problem)?;
        let strategy = |site: usize| {
            let side = |side| choices(&problem, &solved, side, 2 * site..2 * site + 2);
            Strategy::of_choices(&problem.capacities, side(Side::Read), side(Side::Write))
        };
        let strategies = (0..sites.len()).map(strategy).collect::<Result<_>>()?;
        Ok(SiteStrategies { value: solved.value, strategies })
    }
}

fn check(cluster: &Cluster, sites: &[Site]) -> Result<f64> {
    let bad = |message: String| Err(Error::BadWeight { what: "sites", message });
    for (i, site) in sites.iter().enumerate() {
        if site.latencies.len() != cluster.len() {
            return bad(format!(
                "site {i} has {} latencies for {} nodes",
                site.latencies.len(),
                cluster.len()
            ));
        }
        let latency = site.latencies.iter().find(|latency| !(0.0..=crate::MOST_ATTRIBUTE).contains(*latency));
        if let Some(latency) = latency {
            return bad(format!("site {i} has the latency {latency}"));
        }
        if !(0.0..=crate::MOST_ATTRIBUTE).contains(&site.weight) || site.weight == 0.0 {
            return bad(format!("site {i} has the weight {}", site.weight));
        }
    }
    if sites.is_empty() {
        return Err(Error::Empty { what: "a set of sites" });
    }
    Ok(sites.iter().map(|site| site.weight).sum())
}

/// Measured latencies: one row per measurement, one column per node, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    rows: Vec<Vec<f64>>,
}

impl Samples {
    /// From rows of one latency per node.
    ///
    /// # Errors
    /// When there is no row, rows differ in length, or a latency is negative or not a number.
    pub fn new(rows: Vec<Vec<f64>>) -> Result<Self> {
        let columns = rows.first().map_or(0, Vec::len);
        if columns == 0 {
            return Err(Error::Empty { what: "a table of latencies" });
        }
        let odd = rows.iter().position(|row| {
            row.len() != columns || row.iter().any(|latency| latency.is_nan() || *latency < 0.0)
        });
        match odd {
            Some(row) => {
                let message = format!("row {row} has not {columns} latencies of at least 0");
                Err(Error::BadWeight { what: "latencies", message })
            }
            None => Ok(Self { rows }),
        }
    }

    /// Seconds until a quorum of `expr` among the contacted nodes has answered, by measurement, each with its weight.
    fn of_set(&self, expr: &Expr, contacted: NodeSet) -> Vec<f64> {
        let time = |row: &Vec<f64>| {
            let mut order: Vec<usize> = contacted.iter().filter(|node| *node < row.len()).collect();
            order.sort_by(|a, b| row[*a].total_cmp(&row[*b]));
            let mut answered = NodeSet::EMPTY;
            for node in order {
                answered.insert(node);
                if expr.is_quorum(answered) {
                    return row[node];
                }
            }
            f64::INFINITY
        };
        self.rows.iter().map(time).collect()
    }

    fn weighted(
        &self,
        system: &ReadWriteQuorumSystem,
        strategy: &Strategy,
        workload: &Workload,
    ) -> Vec<(f64, f64)> {
        let read = workload.mean();
        let mut all = Vec::new();
        let sides = [
            (strategy.reads(), system.read_expr(), read),
            (strategy.writes(), system.write_expr(), 1.0 - read),
        ];
        let share = 1.0 / crate::number::count(self.rows.len());
        for (choices, expr, fraction) in sides {
            for choice in choices {
                let weight = choice.probability * fraction * share;
                // Nothing of infinity is no number.
                if weight <= 0.0 {
                    continue;
                }
                all.extend(self.of_set(expr, choice.nodes).into_iter().map(|time| (time, weight)));
            }
        }
        all
    }

    /// The expected latency of a strategy, in seconds.
    pub fn expected(&self, system: &ReadWriteQuorumSystem, strategy: &Strategy, workload: &Workload) -> f64 {
        self.weighted(system, strategy, workload).iter().map(|(time, weight)| time * weight).sum()
    }

    /// The latency that a share of commands, between 0 and 1, does not exceed, in seconds.
    pub fn percentile(
        &self,
        system: &ReadWriteQuorumSystem,
        strategy: &Strategy,
        workload: &Workload,
        share: f64,
    ) -> f64 {
        let mut all = self.weighted(system, strategy, workload);
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut reached = 0.0;
        let within = |&(_, weight): &(f64, f64)| {
            reached += weight;
            reached >= share - 1e-12
        };
        let at = all.iter().position(within).unwrap_or(all.len().saturating_sub(1));
        all.get(at).map_or(0.0, |(time, _)| *time)
    }
}

/// A system on the machines that suit it best.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The system over the machines.
    pub system: ReadWriteQuorumSystem,
    /// The plan's optimum on them.
    pub value: f64,
    /// Were all placements tried? Otherwise it is the end of a climb by exchanges.
    pub exhaustive: bool,
}

/// Places a system: its node `i` becomes some machine of the cluster, such that the plan's optimum is the best. The system
/// must have as many nodes as the cluster. Up to seven are placed in all ways; more are exchanged pair by pair until no
/// exchange helps.
///
/// # Errors
/// When the numbers differ, or no placement keeps the limits.
pub fn place(system: &ReadWriteQuorumSystem, cluster: &Cluster, plan: &Plan) -> Result<Placement> {
    let n = cluster.len();
    if system.nodes() != NodeSet::first(n) {
        let message =
            format!("the system's nodes are {:?}, the machines 0 to {}", system.nodes(), n.saturating_sub(1));
        return Err(Error::BadShape { construction: "placement", message });
    }
    let machines: Vec<Node> = cluster.nodes().collect();
    let mut placer = Placer { system, cluster, plan, best: None, refusal: None };
    if n <= MAX_PLACED {
        placer.permute(&mut machines.clone(), 0)?;
    } else {
        placer.climb(machines)?;
    }
    match (placer.best, placer.refusal) {
        (Some((value, machines)), _) => {
            Ok(Placement { system: renamed(system, &machines)?, value, exhaustive: n <= MAX_PLACED })
        }
        (None, Some(error)) => Err(error),
        (None, None) => Err(Error::Empty { what: "a placement" }),
    }
}

struct Placer<'a> {
    system: &'a ReadWriteQuorumSystem,
    cluster: &'a Cluster,
    plan: &'a Plan,
    best: Option<(f64, Vec<Node>)>,
    refusal: Option<Error>,
}

impl Placer<'_> {
    fn permute(&mut self, machines: &mut Vec<Node>, fixed: usize) -> Result<()> {
        if fixed == machines.len() {
            return self.offer(machines).map(drop);
        }
        for next in fixed..machines.len() {
            machines.swap(fixed, next);
            self.permute(machines, fixed + 1)?;
            machines.swap(fixed, next);
        }
        Ok(())
    }

    fn climb(&mut self, mut machines: Vec<Node>) -> Result<()> {
        self.offer(&machines)?;
        let mut better = true;
        while better {
            better = false;
            for a in 0..machines.len() {
                for b in a + 1..machines.len() {
                    machines.swap(a, b);
                    if self.offer(&machines)? {
                        better = true;
                    } else {
                        machines.swap(a, b);
                    }
                }
            }
        }
        Ok(())
    }

    /// Tries a placement; true if it is the best so far.
    fn offer(&mut self, machines: &[Node]) -> Result<bool> {
        let value = match renamed(self.system, machines)?.optimise(self.cluster, self.plan) {
            Ok(solution) => solution.value(),
            Err(error @ (Error::Infeasible { .. } | Error::NoResilientSet { .. })) => {
                self.refusal = Some(error);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let better = self.best.as_ref().is_none_or(|(best, _)| value < best * (1.0 - 1e-9));
        if better {
            self.best = Some((value, machines.to_vec()));
        }
        Ok(better)
    }
}

fn renamed(system: &ReadWriteQuorumSystem, to: &[Node]) -> Result<ReadWriteQuorumSystem> {
    ReadWriteQuorumSystem::both(system.read_expr().renamed(to), system.write_expr().renamed(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attributes, Objective};

    fn plan(objective: Objective) -> Plan {
        Plan::minimise(objective, Workload::reads(0.5).unwrap())
    }

    #[test]
    fn every_site_uses_the_nodes_near_it() {
        let cluster = Cluster::named(["a", "b", "c", "d"]).unwrap();
        let system = ReadWriteQuorumSystem::parse(&cluster, Some("a*b + c*d"), None).unwrap();
        let sites = [
            Site { weight: 3.0, latencies: vec![1.0, 1.0, 9.0, 9.0] },
            Site { weight: 1.0, latencies: vec![9.0, 9.0, 1.0, 1.0] },
        ];
        let found = system.optimise_for_sites(&cluster, &plan(Objective::Latency), &sites).unwrap();
        // Reads stay near; a write needs a node of either pair.
        assert!((found.value - 5.0).abs() < 1e-9);
        assert_eq!(found.strategies[0].reads()[0].nodes, NodeSet::from_bits(0b0011));
        assert_eq!(found.strategies[1].reads()[0].nodes, NodeSet::from_bits(0b1100));
        let load = system.optimise_for_sites(&cluster, &plan(Objective::Load), &sites).unwrap();
        assert!(
            (load.value - system.optimise(&cluster, &plan(Objective::Load)).unwrap().value()).abs() < 1e-9
        );
        assert!(system.optimise_for_sites(&cluster, &plan(Objective::Load), &sites[..0]).is_err());
    }

    #[test]
    fn constant_samples_give_the_latency_of_the_definition() {
        let mut cluster = Cluster::new();
        for (name, latency) in [("a", 1.0), ("b", 4.0), ("c", 2.0)] {
            cluster.add(name, Attributes::default().latency(latency)).unwrap();
        }
        let system = ReadWriteQuorumSystem::parse(&cluster, Some("majority(a, b, c)"), None).unwrap();
        let strategy = Strategy::uniform(&system, &cluster, 0).unwrap();
        let workload = Workload::reads(0.3).unwrap();
        let samples = Samples::new(vec![vec![1.0, 4.0, 2.0]; 3]).unwrap();
        assert!(
            (samples.expected(&system, &strategy, &workload) - strategy.latency(&workload)).abs() < 1e-12
        );
        assert!((samples.percentile(&system, &strategy, &workload, 0.3) - 2.0).abs() < 1e-12);
        assert!((samples.percentile(&system, &strategy, &workload, 0.5) - 4.0).abs() < 1e-12);
        assert!(Samples::new(vec![vec![1.0], vec![-1.0]]).is_err());
        // Node b never answers, and all writes need it: reads are as they were.
        let lost = Samples::new(vec![vec![1.0, f64::INFINITY, 2.0]]).unwrap();
        let all = ReadWriteQuorumSystem::parse(&cluster, Some("a + b + c"), None).unwrap();
        let first =
            Strategy::new(&all, &cluster, &[(NodeSet::single(0), 1.0)], &[(NodeSet::first(3), 1.0)]).unwrap();
        let reads = Workload::reads(1.0).unwrap();
        assert!((lost.expected(&all, &first, &reads) - 1.0).abs() < 1e-12);
        assert!(lost.expected(&all, &first, &workload).is_infinite());
    }

    #[test]
    fn the_hub_of_a_wheel_goes_to_the_fastest_machine() {
        let mut cluster = Cluster::new();
        for (name, capacity) in [("a", 1.0), ("b", 1.0), ("c", 9.0), ("d", 1.0)] {
            cluster.add(name, Attributes::capacity(capacity)).unwrap();
        }
        let nodes: Vec<Node> = cluster.nodes().collect();
        let wheel = crate::constructions::wheel(&nodes).unwrap();
        let placed = place(&wheel, &cluster, &plan(Objective::Load)).unwrap();
        assert!(
            placed.exhaustive
                && placed.value < wheel.optimise(&cluster, &plan(Objective::Load)).unwrap().value()
        );
        assert!(placed.system.read_expr().is_quorum(NodeSet::from_bits(0b0101)));
        assert!(!placed.system.read_expr().is_quorum(NodeSet::from_bits(0b0011)));
    }
}
