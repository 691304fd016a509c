//! Nodes that are alike, and what a linear program saves by them.
//!
//! Nodes of one capacity and latency that the expressions treat alike can change places, and a strategy stays as good. So
//! there is an optimal strategy that puts the same load on all of them, and the program needs one load row for all, the mean
//! of theirs. This is the reduction by colour refinement of Grohe, Kersting, Mladenov and Selman ("Dimension reduction via
//! colour refinement", 2014), with the sets left out: the columns are too many to be coloured, and generated anyway.
//!
//! The colours are found on the expression. A node's first colour is what is known of it; that of a gate is its thresholds
//! and the votes and colours of its members. Members of a gate with the same votes and colour are *of one kind*: they can
//! change places, with all below them. Two nodes are alike if they are in the same position of parts of one kind, up to the
//! root. On a tree this is exact: they are alike just if some exchange of members takes one to the other.
//!
//! A solution of the small program becomes one of the whole by turning: all members of one kind move on by the same number of
//! places, at every gate, and each turn gets the same share. Sizes, latencies and the crashes that a set survives stay as they
//! are, and alike nodes end with the same load, the mean. A class of `m` nodes has `m` turns. All classes turn together, with
//! one hand that goes once around: n nodes make at most n different sets of one. Prices are divided by the size of the class.
//! The certificate is that of the whole program, and checked as any other.

use crate::number::{Number, count};
use crate::problem::{Objective, Problem};
use crate::{Expr, Gate, NodeSet};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Which nodes are alike.
#[derive(Clone, Debug)]
pub(crate) struct Symmetry {
    /// The classes of more than one node.
    classes: Vec<NodeSet>,
    whole: Part,
}

/// A part of the expressions.
#[derive(Clone, Debug)]
enum Part {
    Node(usize),
    /// The members by kind; those of a kind have their own members in the same order.
    Gate(Vec<Vec<Part>>),
}

impl Part {
    fn kinds(&self) -> &[Vec<Self>] {
        if let Self::Gate(kinds) = self { kinds } else { &[] }
    }

    fn node(&self) -> Option<usize> {
        if let Self::Node(node) = self { Some(*node) } else { None }
    }
}

/// A fraction of once around: so many of so many parts of it.
type Turn = (usize, usize);

/// What two parts of one kind have in common: the color of a node, or for a gate its threshold in each expression and,
/// ascending, the votes and kinds of its members.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    Node(usize),
    Gate(Vec<u32>, Vec<(Vec<u32>, usize)>),
}

impl Symmetry {
    /// The nodes of a problem that are alike; `None` if none are, or if it would not make the program smaller: without rows
    /// of loads it is small, and where sets are enumerated these are few.
    pub(crate) fn of(problem: &Problem) -> Option<Self> {
        let same = |a: usize, b: usize| {
            problem.capacities[a] == problem.capacities[b]
                && problem.families.iter().all(|family| family.source.alike(a, b))
        };
        problem.counts(Objective::Load).then(|| Self::with(problem, same)).flatten()
    }

    /// As [`Symmetry::of`], with another equivalence of nodes in place of what is known of them.
    fn with(problem: &Problem, same: impl Fn(usize, usize) -> bool) -> Option<Self> {
        let earlier = |node: usize| {
            problem.nodes.iter().take_while(|other| *other < node).find(|other| same(*other, node))
        };
        problem.nodes.iter().find_map(earlier)?;
        let mut color: Vec<usize> = (0..problem.capacities.len()).collect();
        for node in problem.nodes.iter() {
            color[node] = earlier(node).map_or(node, |earlier| color[earlier]);
        }
        let expressions: Vec<&Expr> =
            problem.families.iter().map(|family| family.source.expr()).collect::<Option<_>>()?;
        let (_, whole) = part(&expressions, &color, &mut BTreeMap::new())?;
        let mut classes = Vec::new();
        add_classes(&[&whole], &mut classes);
        classes.retain(|class| class.len() > 1);
        (!classes.is_empty()).then_some(Self { classes, whole })
    }

    /// The classes of more than one node.
    pub(crate) fn classes(&self) -> &[NodeSet] {
        &self.classes
    }

    /// The sets with their probabilities such that alike nodes have the same: all turns of each, in ascending order.
    pub(crate) fn spread<T: Number>(
        &self,
        sets: impl IntoIterator<Item = (NodeSet, T)>,
    ) -> Vec<(NodeSet, T)> {
        let turns = self.turns();
        let mut spread: BTreeMap<NodeSet, T> = BTreeMap::new();
        for (set, probability) in sets {
            for (turn, (part, whole)) in &turns {
                let mut turned = NodeSet::EMPTY;
                turn_to(&self.whole, &self.whole, *turn, set, &mut turned);
                let share = T::of(count(*part)).div(&T::of(count(*whole)));
                spread.entry(turned).or_insert_with(T::zero).add_mul(&probability, &share);
            }
        }
        spread.into_iter().collect()
    }

    /// The turns that differ, each with its share.
    fn turns(&self) -> Vec<(Turn, Turn)> {
        let mut ends: Vec<Turn> = vec![(0, 1), (1, 1)];
        for class in &self.classes {
            ends.extend((1..class.len()).map(|place| (place, class.len())));
        }
        let order = |a: &Turn, b: &Turn| (a.0 * b.1).cmp(&(b.0 * a.1));
        ends.sort_by(order);
        ends.dedup_by(|a, b| order(a, b) == Ordering::Equal);
        let between = |ends: &[Turn]| {
            let ((a, whole_a), (b, whole_b)) = (ends[0], ends[1]);
            let (a, b, whole) = (a * whole_b, b * whole_a, whole_a * whole_b);
            ((a + b, 2 * whole), (b - a, whole))
        };
        ends.windows(2).map(between).collect()
    }
}

/// The kind of a part that all expressions have in the same place, and the part; `None` if they differ in more than
/// thresholds and votes.
fn part(expressions: &[&Expr], color: &[usize], kinds: &mut BTreeMap<Look, usize>) -> Option<(usize, Part)> {
    let (look, part) = match expressions[0] {
        Expr::Leaf(node) => {
            let same = expressions.iter().all(|other| matches!(other, Expr::Leaf(other) if other == node));
            same.then(|| (Look::Node(color[node.index()]), Part::Node(node.index())))?
        }
        Expr::Gate(_) => {
            let gates: Vec<&Gate> =
                expressions.iter().map(|expression| gate(expression)).collect::<Option<_>>()?;
            let size = gates[0].children().len();
            if gates.iter().any(|gate| gate.children().len() != size) {
                return None;
            }
            let mut members = Vec::with_capacity(size);
            for at in 0..size {
                let votes: Vec<u32> = gates.iter().map(|gate| gate.children()[at].0).collect();
                let below: Vec<&Expr> = gates.iter().map(|gate| &gate.children()[at].1).collect();
                let (kind, member) = part(&below, color, kinds)?;
                members.push(((votes, kind), member));
            }
            members.sort_by(|a, b| a.0.cmp(&b.0));
            let (looks, members): (Vec<_>, Vec<_>) = members.into_iter().unzip();
            let mut by_kind: Vec<Vec<Part>> = Vec::new();
            for (at, member) in members.into_iter().enumerate() {
                match by_kind.last_mut() {
                    Some(kind) if looks[at] == looks[at - 1] => kind.push(member),
                    _ => by_kind.push(vec![member]),
                }
            }
            let thresholds = gates.iter().map(|gate| gate.threshold()).collect();
            (Look::Gate(thresholds, looks), Part::Gate(by_kind))
        }
    };
    let next = kinds.len();
    Some((*kinds.entry(look).or_insert(next), part))
}

fn gate(expression: &Expr) -> Option<&Gate> {
    if let Expr::Gate(gate) = expression { Some(gate) } else { None }
}

/// The nodes of parts that can change places, by class.
fn add_classes(alike: &[&Part], classes: &mut Vec<NodeSet>) {
    let kinds = alike.iter().map(|part| part.kinds().len()).max().unwrap_or(0);
    if kinds == 0 {
        classes.push(alike.iter().filter_map(|part| part.node()).collect());
    }
    for kind in 0..kinds {
        let members: Vec<&Part> = alike.iter().flat_map(|part| &part.kinds()[kind]).collect();
        add_classes(&members, classes);
    }
}

/// Adds what a turn puts in place of one part: what the set has of another of its kind, turned.
fn turn_to(to: &Part, from: &Part, (part, whole): Turn, set: NodeSet, turned: &mut NodeSet) {
    if let (Some(to), Some(from)) = (to.node(), from.node())
        && set.contains(from)
    {
        turned.insert(to);
    }
    for (to, from) in to.kinds().iter().zip(from.kinds()) {
        let (places, below) = (part * to.len() / whole, (part * to.len() % whole, whole));
        for (at, to) in to.iter().enumerate() {
            turn_to(to, &from[(at + places) % from.len()], below, set, turned);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::Certificate;
    use crate::plan::attempt;
    use crate::problem::Scale;
    use crate::program::Program;
    use crate::{Attributes, Cluster, Error, Plan, QuorumSystem, ReadWriteQuorumSystem, Workload};
    use num_rational::BigRational;
    use proptest::prelude::*;

    /// With the classes of nodes that are alike if all have the same attributes.
    const SYSTEMS: [(&str, &[&str]); 9] = [
        ("a", &[]),
        ("majority(a, b, c, d, e)", &["abcde"]),
        ("a*b*c + d*e*f + g*h*i", &["abcdefghi"]),
        ("a*b + c*d*e", &["ab", "cde"]),
        ("choose(2, a*b, c*d, e*f)", &["abcdef"]),
        ("choose(2, a, b, c + d, e + f*g)", &["ab", "cd", "fg"]),
        ("vote(5; 2:a, 2:b, 1:c, 1:d, 1:e)", &["ab", "cde"]),
        ("(a + b*c) * (d + e*f) + g*h", &["ad", "bcef", "gh"]),
        ("choose(2, majority(a, b, c), majority(d, e, f), majority(g, h, i))", &["abcdefghi"]),
    ];
    const NODES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];

    fn cluster(kinds: &[usize]) -> Cluster {
        let mut cluster = Cluster::new();
        for (name, kind) in NODES.into_iter().zip(kinds) {
            let (read, write, latency) = [(4.0, 2.0, 1.0), (4.0, 2.0, 3.0), (3.0, 1.0, 1.0)][*kind];
            cluster.add(name, Attributes::capacities(read, write).latency(latency)).unwrap();
        }
        cluster
    }

    fn system(cluster: &Cluster, reads: &str) -> ReadWriteQuorumSystem {
        ReadWriteQuorumSystem::parse(cluster, Some(reads), None).unwrap()
    }

    fn load() -> Plan {
        Plan::minimise(Objective::Load, Workload::reads(0.7).unwrap())
    }

    fn proof(problem: &Problem) -> Certificate {
        Certificate::near(problem, &attempt(problem).unwrap().1).unwrap()
    }

    #[test]
    fn nodes_in_the_same_position_are_alike() {
        let cluster = cluster(&[0; 9]);
        for (reads, classes) in SYSTEMS {
            let problem = load().problem(&system(&cluster, reads), &cluster).unwrap();
            let set = |class: &&str| {
                class.chars().map(|name| cluster.node(&name.to_string()).unwrap().index()).collect()
            };
            let mut found = problem.symmetry.map_or_else(Vec::new, |symmetry| symmetry.classes);
            found.sort_unstable_by_key(|class| class.iter().next());
            assert_eq!(found, classes.iter().map(set).collect::<Vec<NodeSet>>(), "{reads}");
        }
    }

    #[test]
    fn a_node_that_is_known_to_be_different_is_not_alike() {
        let classes = |kinds: &[usize], plan: &Plan| {
            let cluster = cluster(kinds);
            let problem = plan.problem(&system(&cluster, "majority(a, b, c)"), &cluster).unwrap();
            problem.symmetry.map_or_else(Vec::new, |symmetry| symmetry.classes)
        };
        let set = NodeSet::from_bits;
        assert_eq!(classes(&[2, 0, 0], &load()), [set(0b110)]);
        // Latency is no difference while none is asked for.
        assert_eq!(classes(&[1, 0, 0], &load()), [set(0b111)]);
        assert_eq!(classes(&[1, 0, 0], &load().max_latency(9.0)), [set(0b110)]);
        assert_eq!(classes(&[0, 0, 0], &load().failed(set(0b010))), [set(0b101)]);
        assert_eq!(classes(&[0, 1, 2], &load().max_latency(9.0)), []);
    }

    #[test]
    fn a_program_has_one_row_for_all_nodes_that_are_alike() {
        let mut cluster = Cluster::new();
        for node in 0..64 {
            cluster.add(format!("n{node}"), Attributes::default()).unwrap();
        }
        let nodes: Vec<_> = cluster.nodes().collect();
        let majority = crate::constructions::majority(&nodes[..63]).unwrap();
        for system in [majority, crate::constructions::grid(&nodes, 8).unwrap()] {
            let problem = load().problem(&system, &cluster).unwrap();
            assert_eq!(Program::<f64>::new(&problem, Scale::NONE).rows(), 2 + 1);
            assert_eq!(Program::<f64>::whole(&problem, Scale::NONE).rows(), 2 + system.nodes().len());
            let proof = proof(&problem);
            assert_eq!(proof.check(&system, &cluster, &load()), Ok(()));
            let most = system.nodes().len();
            assert!(proof.reads().len() <= most && proof.writes().len() <= most);
        }
    }

    #[test]
    fn nodes_that_are_wrongly_taken_for_alike_are_noticed_by_the_proof() {
        let cluster = cluster(&[0, 0, 2, 0, 2, 0, 0, 2, 2]);
        for (reads, _) in SYSTEMS.iter().filter(|(_, classes)| classes.len() == 1) {
            let system = system(&cluster, reads);
            let mut problem = load().problem(&system, &cluster).unwrap();
            assert_eq!(proof(&problem).check(&system, &cluster, &load()), Ok(()));
            problem.symmetry = Symmetry::with(&problem, |_, _| true);
            let wrong = proof(&problem).check(&system, &cluster, &load());
            assert!(matches!(wrong, Err(Error::BadCertificate { .. })), "{reads}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn one_row_for_nodes_that_are_alike_changes_no_optimum(
            kinds in prop::collection::vec(0_usize..3, 9), few in 1_usize..4, which in 0..SYSTEMS.len(),
            metrics in (0_usize..3, 0_usize..3), fractions in 0_usize..3, f in 0_usize..2, slack in 1_u32..40,
        ) {
            let kinds: Vec<usize> = kinds.into_iter().map(|kind| kind % few).collect();
            let cluster = cluster(&kinds);
            let system = system(&cluster, SYSTEMS[which].0);
            let workload = [
                Workload::reads(0.7).unwrap(),
                Workload::distribution([(0.2, 1.0), (0.5, 1.0), (0.9, 3.0)]).unwrap(),
                Workload::worst(0.3, 0.6).unwrap(),
            ][fractions].clone();
            let [objective, limited] = [metrics.0, metrics.1].map(|metric| [Objective::Load, Objective::Network, Objective::Latency][metric]);
            let mut plan = Plan::minimise(objective, workload).resilient(f);
            if limited != objective {
                let Ok(least) = system.optimise(&cluster, &plan.with_objective(limited)) else { return Ok(()) };
                plan = plan.max(limited, least.value() * (f64::from(slack) - 0.5) / 10.0);
            }
            let Ok(problem) = plan.problem(&system, &cluster) else { return Ok(()) };
            let small = proof(&problem);
            let whole = proof(&Problem { symmetry: None, ..problem.clone() });
            prop_assert_eq!(small.check(&system, &cluster, &plan), Ok(()));
            prop_assert_eq!(small.is_feasible(), whole.is_feasible());
            if whole.is_feasible() {
                prop_assert_eq!(small.value(), whole.value());
            }
            for class in problem.symmetry.iter().flat_map(Symmetry::classes) {
                for sets in [small.reads(), small.writes()] {
                    let contacted = |node: usize| sets.iter().filter(|(set, _)| set.contains(node)).map(|(_, p)| p).sum::<BigRational>();
                    let contacted: Vec<BigRational> = class.iter().map(contacted).collect();
                    prop_assert!(contacted.windows(2).all(|two| two[0] == two[1]));
                }
            }
        }
    }
}
