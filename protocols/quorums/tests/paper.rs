//! The numbers of "Read-Write Quorum Systems Made Practical", one by one.

#![allow(clippy::unwrap_used, reason = "a case that is not of the expected form fails its test")]

use num_rational::BigRational;
use parthood_quorums::{
    Attributes, Cluster, Expr, Node, NodeSet, Objective, Plan, ReadWriteQuorumSystem, Strategy, Workload,
    search,
};

fn figure_nodes() -> Cluster {
    let mut cluster = Cluster::new();
    for (name, write, latency) in [("a", 100.0, 4.0), ("b", 100.0, 4.0), ("c", 50.0, 1.0), ("d", 50.0, 1.0)] {
        cluster.add(name, Attributes::capacities(2.0 * write, write).latency(latency)).unwrap();
    }
    cluster
}

fn study_nodes() -> Cluster {
    let mut cluster = Cluster::new();
    let nodes =
        [("a", 2000.0, 1.0), ("b", 1000.0, 1.0), ("c", 2000.0, 3.0), ("d", 1000.0, 4.0), ("e", 2000.0, 5.0)];
    for (name, write, latency) in nodes {
        cluster.add(name, Attributes::capacities(2.0 * write, write).latency(latency)).unwrap();
    }
    cluster
}

fn study_workload() -> Workload {
    let weights = [10.0, 20.0, 100.0, 100.0, 100.0, 60.0, 30.0, 30.0, 20.0];
    let fractions = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1];
    Workload::distribution(fractions.into_iter().zip(weights)).unwrap()
}

fn system(cluster: &Cluster, reads: &str) -> ReadWriteQuorumSystem {
    ReadWriteQuorumSystem::parse(cluster, Some(reads), None).unwrap()
}

/// The exact optimum, its certificate checked.
fn optimum(cluster: &Cluster, system: &ReadWriteQuorumSystem, plan: &Plan) -> BigRational {
    let proof = system.optimise(cluster, plan).unwrap().prove().unwrap();
    proof.check(system, cluster, plan).unwrap();
    proof.value().clone()
}

fn exactly(cluster: &Cluster, reads: &str, plan: &Plan, expected: &str) {
    assert_eq!(optimum(cluster, &system(cluster, reads), plan), expected.parse().unwrap(), "{reads}");
}

fn load(workload: Workload) -> Plan {
    Plan::minimise(Objective::Load, workload)
}

const STUDY: [&str; 3] = ["majority(a, b, c, d, e)", "a*b + c*d*e", "a*b + a*c*e + d*e + d*c*b"];

#[test]
fn figure_2_a_majority_of_three_has_resilience_1_load_two_thirds_and_capacity_three_halves() {
    let cluster = Cluster::named(["a", "b", "c"]).unwrap();
    let majority = system(&cluster, "a*b + b*c + a*c");
    assert_eq!(majority.resilience().unwrap(), 1);
    exactly(&cluster, "a*b + b*c + a*c", &load(Workload::reads(1.0).unwrap()), "2/3");
}

#[test]
fn figure_3_the_two_by_two_grid_has_capacities_300_200_and_100() {
    for (fraction, expected) in [(1.0, "1/300"), (0.5, "1/200"), (0.0, "1/100")] {
        exactly(&figure_nodes(), "a*b + c*d", &load(Workload::reads(fraction).unwrap()), expected);
    }
}

#[test]
fn figure_4_a_distribution_of_read_fractions_has_capacity_159() {
    let workload =
        Workload::distribution([(0.0, 10.0), (0.25, 4.0), (0.5, 2.0), (0.75, 1.0), (1.0, 1.0)]).unwrap();
    let (cluster, plan) = (figure_nodes(), load(workload.clone()));
    exactly(&cluster, "a*c + b*d", &plan, "91/14400");
    let strategy = system(&cluster, "a*c + b*d").optimise(&cluster, &plan).unwrap().strategy();
    assert!((strategy.capacity(&workload) - 159.304_029).abs() < 1e-5);
}

#[test]
fn figure_5_the_best_capacity_at_each_read_fraction() {
    for (fraction, expected) in
        [(0.0, "1/150"), (0.25, "7/1200"), (0.5, "1/200"), (0.75, "1/240"), (1.0, "1/200")]
    {
        exactly(&figure_nodes(), "a*c + b*d", &load(Workload::reads(fraction).unwrap()), expected);
    }
}

#[test]
fn figure_6_resilient_strategies_cost_capacity() {
    for (reads, f, expected) in [
        ("a*b + c*d", 0, "1/300"),
        ("a*b + c*d", 1, "1/100"),
        ("choose(2, a, b, c, d)", 0, "1/300"),
        ("choose(2, a, b, c, d)", 1, "1/200"),
    ] {
        let plan = load(Workload::reads(1.0).unwrap()).resilient(f);
        exactly(&figure_nodes(), reads, &plan, expected);
    }
}

#[test]
fn figure_7_the_least_latency_under_limits_is_2_seconds_where_the_paper_prints_3() {
    let plan = Plan::minimise(Objective::Latency, Workload::reads(1.0).unwrap())
        .max_load(1.0 / 150.0)
        .max_network(2.0);
    let cluster = figure_nodes();
    let value = system(&cluster, "a*b + c*d").optimise(&cluster, &plan).unwrap().value();
    assert!((value - 2.0).abs() < 1e-9);
    let fastest =
        system(&cluster, "a*b + c*d").optimise(&cluster, &load(Workload::reads(1.0).unwrap())).unwrap();
    let latency = fastest.strategy().latency(&Workload::reads(1.0).unwrap());
    assert!((latency - 3.0).abs() < 1e-9, "the paper prints the latency of the strategy with the least load");
}

#[test]
fn figure_8_search_finds_read_one_write_all() {
    let plan = Plan::minimise(Objective::Latency, Workload::reads(1.0).unwrap())
        .max_load(1.0 / 150.0)
        .max_network(2.0);
    let found = search(&figure_nodes(), &plan, 0, &mut |_| true).unwrap();
    assert!(found.proved && (found.value - 1.0).abs() < 1e-9);
}

#[test]
fn section_4_the_uniform_majority_has_capacity_2292_and_latency_4_5() {
    let cluster = study_nodes();
    let majority = system(&cluster, STUDY[0]);
    let strategy = Strategy::uniform(&majority, &cluster, 0).unwrap();
    assert!((strategy.capacity(&study_workload()) - 2291.602).abs() < 1e-3);
    assert!((strategy.latency(&study_workload()) - 4.5).abs() < 1e-9);
}

#[test]
fn figure_11_optimal_strategies_have_capacities_3667_4200_and_4125() {
    let (cluster, plan) = (study_nodes(), load(study_workload()));
    let expected = [("1041/3760000", 3666.564), ("1823/7520000", 4200.216), ("347/1410000", 4124.884)];
    for (reads, (exact, capacity)) in STUDY.into_iter().zip(expected) {
        exactly(&cluster, reads, &plan, exact);
        let strategy = system(&cluster, reads).optimise(&cluster, &plan).unwrap().strategy();
        assert!((strategy.capacity(&study_workload()) - capacity).abs() < 1e-3, "{reads}");
    }
}

#[test]
fn figure_12_search_finds_a_system_of_capacity_5005() {
    let (cluster, plan) = (study_nodes(), load(study_workload()));
    let found = search(&cluster, &plan, 1, &mut |_| true).unwrap();
    assert!(found.proved);
    assert_eq!(optimum(&cluster, &found.system, &plan), "379/1880000".parse().unwrap());
    let paper = system(&cluster, "(c + b*d)*(a + e)");
    let capacity = paper.optimise(&cluster, &plan).unwrap().strategy().capacity(&study_workload());
    assert!((capacity - 5005.1853).abs() < 1e-3);
}

#[test]
fn figure_13_latencies_at_a_capacity_of_2000() {
    let plan = Plan::minimise(Objective::Latency, study_workload()).max_load(1.0 / 2000.0);
    for (reads, expected) in STUDY.into_iter().zip(["761/235", "459/235", "5147/2115"]) {
        exactly(&study_nodes(), reads, &plan, expected);
    }
}

#[test]
fn section_4_search_for_latency_finds_1_48_seconds() {
    let (cluster, plan) =
        (study_nodes(), Plan::minimise(Objective::Latency, study_workload()).max_load(1.0 / 2000.0));
    let found = search(&cluster, &plan, 1, &mut |_| true).unwrap();
    assert!(found.proved);
    assert_eq!(optimum(&cluster, &found.system, &plan), "347/235".parse().unwrap());
}

#[test]
fn the_artifacts_study_with_one_crash_has_capacities_2750_1375_1375_and_3012() {
    let (cluster, plan) = (study_nodes(), load(study_workload()).resilient(1));
    let capacity = |system: &ReadWriteQuorumSystem| {
        system.optimise(&cluster, &plan).unwrap().strategy().capacity(&study_workload())
    };
    for (reads, expected) in STUDY.into_iter().zip([2749.92, 1374.96, 1374.96]) {
        assert!((capacity(&system(&cluster, reads)) - expected).abs() < 0.01, "{reads}");
    }
    let found = search(&cluster, &plan, 1, &mut |_| true).unwrap();
    let named = system(&cluster, "choose(3, a, c, b + d, e)").optimise(&cluster, &plan).unwrap();
    assert!(found.proved && (found.value - named.value()).abs() < 1e-9 * found.value);
    assert!((named.strategy().capacity(&study_workload()) - 3012.03).abs() < 0.01);
}

/// The truth tables of all monotone functions of `n` variables: a set is a bit. The constant ones are the first and the last.
fn monotone(n: u32) -> Vec<u64> {
    if n == 0 {
        return vec![0, 1];
    }
    let below = monotone(n - 1);
    let both = |without: &u64| -> Vec<u64> {
        let with = below.iter().filter(|with| without & !**with == 0);
        with.map(|with| without | with << (1 << (n - 1))).collect()
    };
    below.iter().flat_map(both).collect()
}

/// The search tries what duplicate-free expressions denote. On the study nothing else is better.
#[test]
fn section_4_no_monotone_system_of_five_nodes_is_better_than_the_ones_that_are_searched() {
    let cluster = study_nodes();
    let plans =
        [load(study_workload()), Plan::minimise(Objective::Latency, study_workload()).max_load(1.0 / 2000.0)];
    let mut least = [f64::INFINITY; 2];
    let functions: Vec<u64> = monotone(5).into_iter().filter(|f| ![0, (1 << 32) - 1].contains(f)).collect();
    assert_eq!(functions.len(), 7579);
    let mut resilient = 0;
    for function in functions {
        let quorum = |set: usize| function >> set & 1 == 1;
        let minimal =
            |set: &usize| quorum(*set) && (0..5).all(|i| set >> i & 1 == 0 || !quorum(set ^ 1 << i));
        let sets = (0..32).filter(minimal).map(|set| NodeSet::from_bits(set as u128));
        let all = |set: NodeSet| Expr::all(set.iter().map(|i| Node::new(i).unwrap())).unwrap();
        let system = ReadWriteQuorumSystem::reads(Expr::any(sets.map(all)).unwrap());
        if system.resilience().unwrap() == 0 {
            continue;
        }
        resilient += 1;
        for (least, plan) in least.iter_mut().zip(&plans) {
            *least = system.optimise(&cluster, plan).map_or(*least, |solution| least.min(solution.value()));
        }
    }
    assert_eq!(resilient, 6212);
    assert!((least[0] * 1_880_000.0 / 379.0 - 1.0).abs() < 1e-9, "{}", least[0]);
    assert!((least[1] * 235.0 / 347.0 - 1.0).abs() < 1e-9, "{}", least[1]);
}
