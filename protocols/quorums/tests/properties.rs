//! What holds for every system: random expressions against truth tables and definitions.

#![allow(clippy::unwrap_used, reason = "a case that is not of the expected form fails its test")]

use parthood_quorums::{
    Attributes, Cluster, Error, Expr, Node, NodeSet, Objective, Plan, QuorumSystem, ReadWriteQuorumSystem,
    Workload, duplicate_free, search,
};
use proptest::prelude::*;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn cluster(attributes: &[(u32, u32, u32)]) -> Cluster {
    let mut cluster = Cluster::new();
    for (name, (read, write, latency)) in NAMES.into_iter().zip(attributes) {
        let node = Attributes::capacities(f64::from(*read), f64::from(*write)).latency(f64::from(*latency));
        cluster.add(name, node).unwrap();
    }
    cluster
}

fn nodes() -> impl Strategy<Value = Vec<(u32, u32, u32)>> {
    prop::collection::vec((1_u32..50, 1_u32..50, 0_u32..9), NAMES.len())
}

fn expr() -> impl Strategy<Value = Expr> {
    let leaf = (0..NAMES.len()).prop_map(|index| Expr::from(Node::new(index).unwrap()));
    leaf.prop_recursive(3, 16, 4, |inner| {
        let members = prop::collection::vec((1_u64..4, inner), 1..5);
        (members, any::<prop::sample::Index>()).prop_map(|(members, at)| {
            let total: u64 = members.iter().map(|(votes, _)| votes).sum();
            let threshold = at.index(usize::try_from(total).unwrap()) as u64 + 1;
            Expr::vote(threshold, members).unwrap()
        })
    })
}

fn sets() -> impl Iterator<Item = NodeSet> {
    (0..1 << NAMES.len()).map(NodeSet::from_bits)
}

fn survives(expr: &Expr, set: NodeSet, f: usize) -> bool {
    expr.is_quorum(set) && (f == 0 || set.iter().all(|node| survives(expr, set.without(node), f - 1)))
}

fn plan(objective: Objective, read: u32) -> Plan {
    Plan::minimise(objective, Workload::reads(f64::from(read) / 20.0).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_set_is_a_quorum_exactly_when_its_complement_is_none_of_the_dual(expr in expr()) {
        let dual = expr.dual();
        let all = NodeSet::first(NAMES.len());
        for set in sets() {
            prop_assert_eq!(expr.is_quorum(set), !dual.is_quorum(all.difference(set)));
        }
        prop_assert_eq!(dual.dual(), expr);
    }

    #[test]
    fn what_is_printed_reads_back_the_same(expr in expr()) {
        let cluster = Cluster::named(NAMES).unwrap();
        let text = cluster.show(&expr);
        prop_assert_eq!(cluster.parse(&text).unwrap(), expr, "{}", text);
    }

    #[test]
    fn minimal_quorums_and_resilience_are_those_of_the_truth_table(expr in expr()) {
        let quorum = |set: NodeSet| expr.is_quorum(set);
        let minimal: Vec<NodeSet> =
            sets().filter(|set| quorum(*set) && set.iter().all(|node| !quorum(set.without(node)))).collect();
        prop_assert_eq!(expr.minimal_quorums().unwrap(), minimal);
        let all = NodeSet::first(NAMES.len());
        let kills = sets().filter(|lost| !quorum(all.difference(*lost))).map(NodeSet::len).min().unwrap();
        prop_assert_eq!(expr.resilience().unwrap(), kills - 1);
    }

    #[test]
    fn resilient_sets_are_those_of_the_definition(expr in expr(), f in 1_usize..3) {
        let resilient = expr.resilient(f).unwrap();
        for set in sets() {
            let found = resilient.as_ref().is_some_and(|resilient| resilient.is_quorum(set));
            prop_assert_eq!(found, survives(&expr, set, f), "{:?}", set);
        }
    }

    #[test]
    fn reads_meet_writes_in_more_than_t_nodes_exactly_when_writes_are_t_resilient_for_the_dual(expr in expr(), t in 0_usize..3) {
        let reads = expr.minimal_quorums().unwrap();
        let dual = expr.dual();
        for set in sets() {
            let meets = reads.iter().all(|read| read.intersection(set).len() > t);
            prop_assert_eq!(meets, survives(&dual, set, t));
        }
    }

    #[test]
    fn an_optimum_is_proved_and_respects_its_limits(
        expr in expr(), nodes in nodes(), read in 0_u32..21, f in 0_usize..2, which in 0_usize..3, slack in 1_u32..40,
    ) {
        let cluster = cluster(&nodes);
        let system = ReadWriteQuorumSystem::reads(expr);
        let metrics = [Objective::Load, Objective::Network, Objective::Latency];
        let (objective, limited) = (metrics[which], metrics[(which + 1) % 3]);
        let free = plan(objective, read).resilient(f);
        let Ok(unlimited) = system.optimise(&cluster, &free) else { return Ok(()) };
        let least = system.optimise(&cluster, &plan(limited, read).resilient(f)).unwrap().value();
        // Some limits can be kept and some cannot. Whether the least value itself, rounded to a double, can be kept
        // is the rounding's decision, not the system's: no limit here is that close.
        let limit = (least * (f64::from(slack) - 0.5) / 10.0).max(1e-9);
        let plan = free.max(limited, limit);
        let proof = system.certify(&cluster, &plan).unwrap();
        prop_assert!(proof.check(&system, &cluster, &plan).is_ok(), "{:?}", proof.check(&system, &cluster, &plan));
        match system.optimise(&cluster, &plan) {
            Ok(solution) => {
                prop_assert!(proof.is_feasible());
                prop_assert!(solution.value() >= unlimited.value() * (1.0 - 1e-9));
                prop_assert!(solution.strategy().is_resilient(&system, f));
            }
            Err(error) => {
                let infeasible = matches!(error, Error::Infeasible { .. });
                prop_assert!(!proof.is_feasible() && infeasible, "{}", error);
            }
        }
    }

    #[test]
    fn swapping_reads_and_writes_changes_no_optimum(expr in expr(), nodes in nodes(), read in 0_u32..21) {
        let swapped: Vec<(u32, u32, u32)> = nodes.iter().map(|(r, w, l)| (*w, *r, *l)).collect();
        for objective in [Objective::Load, Objective::Network, Objective::Latency] {
            let one = ReadWriteQuorumSystem::reads(expr.clone()).certify(&cluster(&nodes), &plan(objective, read)).unwrap();
            let other = ReadWriteQuorumSystem::writes(expr.clone());
            let other = other.certify(&cluster(&swapped), &plan(objective, 20 - read)).unwrap();
            prop_assert_eq!(one.value(), other.value());
        }
    }

    #[test]
    fn the_order_of_nodes_changes_no_optimum(
        expr in expr(), nodes in nodes(), order in Just((0..NAMES.len()).collect::<Vec<_>>()).prop_shuffle(), read in 0_u32..21,
    ) {
        let cluster = cluster(&nodes);
        let mut shuffled = Cluster::new();
        for index in order {
            let node = cluster.attributes(Node::new(index).unwrap()).unwrap().clone();
            shuffled.add(NAMES[index], node).unwrap();
        }
        let text = cluster.show(&expr);
        for objective in [Objective::Load, Objective::Network, Objective::Latency] {
            let value = |cluster: &Cluster| {
                let system = ReadWriteQuorumSystem::parse(cluster, Some(&text), None).unwrap();
                system.certify(cluster, &plan(objective, read)).unwrap().value().clone()
            };
            prop_assert_eq!(value(&cluster), value(&shuffled), "{}", text);
        }
    }

    #[test]
    fn surviving_more_costs_no_less_and_no_load_is_below_the_bound_of_all_systems(
        expr in expr(), nodes in nodes(), read in 0_u32..21,
    ) {
        let cluster = cluster(&nodes);
        let system = ReadWriteQuorumSystem::reads(expr);
        // Every read meets every write: the inequality of Cauchy and Schwarz.
        let product: f64 = nodes.iter().map(|(read, write, _)| f64::from(read * write)).sum();
        let fraction = f64::from(read) / 20.0;
        let bound = 2.0 * (fraction * (1.0 - fraction) / product).sqrt();
        for objective in [Objective::Load, Objective::Network, Objective::Latency] {
            let value = |f: usize| system.optimise(&cluster, &plan(objective, read).resilient(f)).map(|s| s.value());
            let Ok(mut least) = value(0) else { continue };
            prop_assert!(objective != Objective::Load || least >= bound * (1.0 - 1e-9), "{} < {}", least, bound);
            for f in 1..3 {
                let Ok(value) = value(f) else { break };
                prop_assert!(value >= least * (1.0 - 1e-9), "{} crashes: {} < {}", f, value, least);
                least = value;
            }
        }
    }

    #[test]
    fn capacities_from_a_millionth_to_a_trillion_scale_the_load(expr in expr(), nodes in nodes(), power in -6_i32..11) {
        let scale = 10_f64.powi(power);
        let mut scaled = cluster(&nodes);
        for (name, (read, write, _)) in NAMES.into_iter().zip(&nodes) {
            scaled.set(name, Attributes::capacities(f64::from(*read) * scale, f64::from(*write) * scale)).unwrap();
        }
        let system = ReadWriteQuorumSystem::reads(expr);
        let value = |cluster: &Cluster| system.optimise(cluster, &plan(Objective::Load, 11)).unwrap().value();
        let (before, after) = (value(&cluster(&nodes)), value(&scaled));
        prop_assert!((after * scale / before - 1.0).abs() < 1e-9, "{} {}", before, after);
    }

    #[test]
    fn the_worst_read_fraction_is_never_better_than_one_within_the_range(expr in expr(), nodes in nodes(), ends in (0_u32..21, 0_u32..21)) {
        let (least, most) = (ends.0.min(ends.1), ends.0.max(ends.1));
        let system = ReadWriteQuorumSystem::reads(expr);
        let cluster = cluster(&nodes);
        let range = Workload::worst(f64::from(least) / 20.0, f64::from(most) / 20.0).unwrap();
        for objective in [Objective::Load, Objective::Network, Objective::Latency] {
            let worst = Plan::minimise(objective, range.clone());
            let value = system.optimise(&cluster, &worst).unwrap().value();
            let proof = system.certify(&cluster, &worst).unwrap();
            prop_assert!(proof.check(&system, &cluster, &worst).is_ok());
            for read in [least, u32::midpoint(least, most), most] {
                prop_assert!(value >= system.optimise(&cluster, &plan(objective, read)).unwrap().value() - 1e-9);
            }
        }
    }

    #[test]
    fn failed_nodes_are_never_contacted(expr in expr(), nodes in nodes(), down in 0_u128..64) {
        let down = NodeSet::from_bits(down);
        let cluster = cluster(&nodes);
        let system = ReadWriteQuorumSystem::reads(expr);
        let up = NodeSet::first(NAMES.len()).difference(down);
        let found = system.optimise(&cluster, &plan(Objective::Load, 9).failed(down));
        prop_assert_eq!(found.is_ok(), system.is_read_quorum(up) && system.is_write_quorum(up));
        if let Ok(solution) = found {
            let strategy = solution.strategy();
            let mut contacted = strategy.reads().iter().chain(strategy.writes());
            prop_assert!(contacted.all(|choice| choice.nodes.is_disjoint(down)));
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-f()+*,:;0-9 \"\\\\\\-choosevtmajrity]{0,60}") {
        if let Ok(expr) = Cluster::new().parse_adding(&text) {
            prop_assert!(expr.leaves() > 0);
        }
    }

    #[test]
    fn no_unicode_makes_the_parser_panic(text in "\\PC{0,40}") {
        if let Err(error) = Cluster::new().parse_adding(&text) {
            let points = matches!(error, Error::Parse { column, .. } if column <= text.chars().count() + 1);
            prop_assert!(points, "{}", error);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_search_finds_what_trying_every_candidate_finds(
        nodes in nodes(), n in 2_usize..5, read in 0_u32..21, resilience in 0_usize..2, f in 0_usize..2, which in 0_usize..3,
    ) {
        let cluster = cluster(&nodes[..n]);
        let objective = [Objective::Load, Objective::Network, Objective::Latency][which];
        let plan = plan(objective, read).resilient(f);
        let all: Vec<Node> = cluster.nodes().collect();
        let best = duplicate_free(&all).unwrap().into_iter().map(ReadWriteQuorumSystem::reads)
            .filter(|system| system.resilience().unwrap() >= resilience)
            .filter_map(|system| system.optimise(&cluster, &plan).ok())
            .map(|solution| solution.value()).fold(f64::INFINITY, f64::min);
        match search(&cluster, &plan, resilience, &mut |_| true) {
            Ok(found) => prop_assert!(found.proved && (found.value - best).abs() <= 1e-9 * best, "{} {}", found.value, best),
            Err(_) => prop_assert!(best.is_infinite()),
        }
    }
}

#[test]
fn a_search_that_is_stopped_returns_its_best_and_a_gap() {
    let attributes = [(40, 20, 1), (20, 10, 1), (41, 20, 3), (20, 11, 4), (40, 21, 5), (30, 15, 2)];
    let (cluster, plan) = (cluster(&attributes), plan(Objective::Load, 10));
    let whole = search(&cluster, &plan, 1, &mut |_| true).unwrap();
    // Stopped at once, it has solved the first candidates.
    for batches in [0, 1, 3, 40] {
        let mut left = batches;
        let found = search(&cluster, &plan, 1, &mut |_| {
            left -= 1;
            left >= 0
        })
        .unwrap();
        assert!(
            !found.proved && found.bound <= whole.value && found.value >= whole.value && found.gap() > 0.0
        );
    }
    assert!(matches!(search(&cluster, &plan, 6, &mut |_| true), Err(Error::NothingFound { .. })));
}
