//! Ours beside the crate `quoracle` 2.1.1 in one run: strategies and searches, with the ratio of their times.
//!
//! `cargo bench -p parthood-quorums`. With `-- --json` one object per line, for `compare_original.py`; with `-- --ours` without
//! the crate; with `-- majority` the cases with that in their names. The least of several runs is printed: what else the
//! machine does only ever adds.

#![allow(clippy::unwrap_used, reason = "a benchmark with a wrong input has nothing to measure")]

use parthood_quorums::{
    Attributes, Cluster, Expr, Node, Objective, Plan, ReadWriteQuorumSystem, Workload, constructions, search,
};
use quoracle::Distribution;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Measured for at least this long, and at least twice unless once takes longer than [`LONG`].
const MEASURED: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(5);

struct Case {
    name: String,
    cluster: Cluster,
    reads: Option<ReadWriteQuorumSystem>,
    points: Vec<(f64, f64)>,
    /// Minimise latency, and keep the load below this.
    load_max: Option<f64>,
    /// The crashes that a system that is searched for must survive.
    resilience: usize,
    /// Is the peer able to do it in reasonable time?
    peer: bool,
}

fn main() {
    let (flags, names): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let given = |flag: &str| flags.iter().any(|argument| argument == flag);
    let (json, ours_alone) = (given("--json"), given("--ours"));
    let asked = |case: &Case| names.is_empty() || names.iter().any(|name| case.name.contains(name.as_str()));
    if !json {
        println!(
            "{:34} {:>12} {:>12} {:>8} {:>12}   optimum",
            "", "quoracle", "parthood", "ratio", "and proof"
        );
    }
    for case in strategies().into_iter().chain(searches()).filter(asked) {
        let (ours, value) = time(|| run(&case));
        let peer = (case.peer && !ours_alone).then(|| time(|| run_peer(&case)));
        if let Some((_, theirs)) = peer {
            assert!((theirs / value - 1.0).abs() < 1e-6, "{}: {theirs} is not {value}", case.name);
        }
        let proof = case.reads.as_ref().map(|system| time(|| prove(&case, system)).0.as_secs_f64());
        let ours = ours.as_secs_f64();
        let theirs = peer.map(|(time, _)| time.as_secs_f64());
        if json {
            let [theirs, proof] =
                [theirs, proof].map(|time| time.map_or_else(|| "null".into(), |time| time.to_string()));
            println!(
                "{{\"name\":\"{}\",\"seconds\":{ours},\"crate_seconds\":{theirs},\"proof_seconds\":{proof},\"value\":{value}}}",
                case.name
            );
        } else {
            let ratio = theirs.map_or_else(|| "-".into(), |theirs| format!("{:.0}x", theirs / ours));
            let [theirs, proof] = [theirs, proof].map(|time| time.map_or_else(|| "-".into(), shown));
            println!(
                "{:34} {theirs:>12} {:>12} {ratio:>8} {proof:>12}   {value:.6e}",
                case.name,
                shown(ours)
            );
        }
    }
}

fn shown(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.1} us", s * 1e6),
    }
}

fn time(mut run: impl FnMut() -> f64) -> (Duration, f64) {
    let begin = Instant::now();
    let (mut least, mut value) = (Duration::MAX, 0.0);
    loop {
        let before = Instant::now();
        value = black_box(run()).max(value);
        least = least.min(before.elapsed());
        if begin.elapsed() > MEASURED || least > LONG {
            return (least, value);
        }
    }
}

/// Uneven nodes, so that no symmetry makes a program easy: of these no two are alike. `compare_original.py` has the same.
fn nodes(n: u32) -> Cluster {
    let mut cluster = Cluster::new();
    for i in 0..n {
        let (read, write) = (f64::from(i * 37 % 11 + 5) * 100.0, f64::from(i * 53 % 7 + 3) * 50.0);
        cluster
            .add(format!("n{i}"), Attributes::capacities(read, write).latency(f64::from(i * 29 % 13 + 1)))
            .unwrap();
    }
    cluster
}

/// The same nodes as often as they are wanted: all of them alike.
fn equal_nodes(n: usize) -> Cluster {
    let mut cluster = Cluster::new();
    for i in 0..n {
        cluster.add(format!("n{i}"), Attributes::capacities(1000.0, 200.0)).unwrap();
    }
    cluster
}

fn nine_points() -> Vec<(f64, f64)> {
    (1..10_u32).map(|i| (f64::from(i) / 10.0, f64::from(i * 7 % 5 + 1))).collect()
}

fn strategies() -> Vec<Case> {
    let half = || vec![(0.5, 1.0)];
    let case = |name: String, n: u32, points, peer, build: &dyn Fn(&[Node]) -> ReadWriteQuorumSystem| {
        let cluster = nodes(n);
        let all: Vec<Node> = cluster.nodes().collect();
        Case { name, reads: Some(build(&all)), cluster, points, load_max: None, resilience: 0, peer }
    };
    let majority = |all: &[Node]| constructions::majority(all).unwrap();
    let mut cases = Vec::new();
    for n in [3, 5, 7, 9, 11, 13, 21, 31, 63] {
        cases.push(case(format!("majority {n}"), n, half(), n <= 13, &majority));
    }
    for side in [3_u32, 4, 5, 7, 8] {
        let grid = |all: &[Node]| constructions::grid(all, side as usize).unwrap();
        cases.push(case(format!("grid {side}x{side}"), side * side, half(), side <= 5, &grid));
    }
    for n in [9, 11] {
        cases.push(case(format!("majority {n}, 9 fractions"), n, nine_points(), true, &majority));
    }
    let grid = |all: &[Node]| constructions::grid(all, 4).unwrap();
    cases.push(case("grid 4x4, 9 fractions".into(), 16, nine_points(), true, &grid));
    for n in [9, 11] {
        let name = format!("majority {n}, latency, load limit");
        cases.push(Case { load_max: Some(0.0013), ..case(name, n, half(), true, &majority) });
    }
    let wall = |all: &[Node]| constructions::wall(all, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 5]).unwrap();
    cases.push(case("wall 50".into(), 50, half(), false, &wall));
    let grid = |all: &[Node]| constructions::grid(all, 8).unwrap();
    for case in [
        case("majority 63".into(), 63, half(), false, &majority),
        case("grid 8x8".into(), 64, half(), false, &grid),
    ] {
        let (name, cluster) = (format!("{}, equal nodes", case.name), equal_nodes(case.cluster.len()));
        cases.push(Case { name, cluster, ..case });
    }
    cases.push(case("tree 63".into(), 63, half(), false, &|all| constructions::tree(all).unwrap()));
    cases
}

fn searches() -> Vec<Case> {
    let case = |n: u32, points: Vec<(f64, f64)>| Case {
        name: format!("search {n} nodes, {} fractions", points.len()),
        cluster: nodes(n),
        reads: None,
        peer: n <= 5,
        points,
        load_max: None,
        resilience: 0,
    };
    let half = || vec![(0.5, 1.0)];
    vec![
        case(4, half()),
        case(5, half()),
        Case { name: "search 5 nodes, resilience 1".into(), resilience: 1, ..case(5, half()) },
        case(5, nine_points()),
        case(6, half()),
        case(6, nine_points()),
        case(7, half()),
    ]
}

fn plan(case: &Case) -> Plan {
    let workload = Workload::distribution(case.points.iter().copied()).unwrap();
    match case.load_max {
        Some(load) => Plan::minimise(Objective::Latency, workload).max_load(load),
        None => Plan::minimise(Objective::Load, workload),
    }
}

/// Solves a case and proves it.
fn prove(case: &Case, system: &ReadWriteQuorumSystem) -> f64 {
    let solution = system.optimise(&case.cluster, &plan(case)).unwrap();
    assert!(solution.prove().unwrap().is_feasible());
    solution.value()
}

fn run(case: &Case) -> f64 {
    let plan = plan(case);
    match &case.reads {
        Some(system) => system.optimise(&case.cluster, &plan).unwrap().value(),
        None => search(&case.cluster, &plan, case.resilience, &mut |_| true).unwrap().value,
    }
}

fn run_peer(case: &Case) -> f64 {
    let weights = Distribution::weighted(&case.points).unwrap();
    let system = case
        .reads
        .as_ref()
        .map(|system| quoracle::QuorumSystem::from_reads(peer_expr(case, system.read_expr())));
    let Some(system) = system else {
        let nodes: Vec<_> = case.cluster.nodes().map(|node| peer_node(case, node)).collect();
        let resilience = case.resilience;
        let read_fraction = Some(weights.clone());
        let config = quoracle::SearchConfig { read_fraction, resilience, ..Default::default() };
        return quoracle::search(&nodes, &config).unwrap().strategy.load(Some(&weights), None).unwrap();
    };
    let limits = quoracle::StrategyLimits { load: case.load_max, ..Default::default() };
    let strategy = |objective| system.strategy(objective, Some(&weights), None, &limits, 0).unwrap();
    if case.load_max.is_some() {
        return strategy(quoracle::Objective::Latency).latency(Some(&weights), None).unwrap().as_secs_f64();
    }
    strategy(quoracle::Objective::Load).load(Some(&weights), None).unwrap()
}

fn peer_node(case: &Case, node: Node) -> quoracle::Node<usize> {
    let attributes = case.cluster.attributes(node).unwrap();
    quoracle::Node::new(node.index())
        .with_read_write_capacity(attributes.read_capacity, attributes.write_capacity)
        .unwrap()
        .with_latency(Duration::from_secs_f64(attributes.latency))
}

fn peer_expr(case: &Case, expr: &Expr) -> quoracle::Expr<usize> {
    match expr {
        Expr::Leaf(node) => quoracle::Expr::Node(peer_node(case, *node)),
        Expr::Gate(gate) => {
            let members = gate.children().iter().map(|(_, child)| peer_expr(case, child)).collect();
            quoracle::choose(gate.threshold() as usize, members).unwrap()
        }
    }
}
