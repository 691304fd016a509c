//! Every reference case: what the original package answers where it is right, and the truth where it is not.

#![allow(clippy::unwrap_used, reason = "a case that is not of the expected form fails its test")]

use num_bigint::BigInt;
use num_rational::BigRational;
use parthood_quorums::{
    Attributes, Cluster, Error, Expr, Node, NodeSet, Objective, Plan, QuorumSystem, ReadWriteQuorumSystem,
    Result, Strategy, Workload, duplicate_free, quorum_counts, search,
};
use serde_json::Value;

const TEXT: &str = include_str!("fixtures/quoracle.json");

fn cases(list: &str, kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(TEXT).unwrap();
    all[list].as_array().unwrap().iter().filter(|case| case["kind"] == kind).cloned().collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn cluster(case: &Value) -> Cluster {
    let mut cluster = Cluster::new();
    for node in case["nodes"].as_array().unwrap() {
        let capacities =
            Attributes::capacities(number(&node["read_capacity"]), number(&node["write_capacity"]));
        cluster.add(node["name"].as_str().unwrap(), capacities.latency(number(&node["latency"]))).unwrap();
    }
    cluster
}

fn workload(case: &Value) -> Result<Workload> {
    let points = case["read_fraction"].as_array().unwrap();
    Workload::distribution(points.iter().map(|point| (number(&point[0]), number(&point[1]))))
}

fn objective(name: &str) -> Option<Objective> {
    [Objective::Load, Objective::Network, Objective::Latency].into_iter().find(|metric| metric.name() == name)
}

fn plan(case: &Value) -> Result<Plan> {
    let metric = objective(case["objective"].as_str().unwrap()).unwrap();
    let f = usize::try_from(case["f"].as_u64().unwrap()).unwrap();
    let mut plan = Plan::minimise(metric, workload(case)?).resilient(f);
    for (name, limit) in case["limits"].as_object().unwrap() {
        plan = plan.max(objective(name).unwrap(), number(limit));
    }
    Ok(plan)
}

fn system(case: &Value, cluster: &Cluster) -> Result<ReadWriteQuorumSystem> {
    ReadWriteQuorumSystem::parse(cluster, case["reads"].as_str(), case["writes"].as_str())
}

fn rational(text: &str) -> BigRational {
    text.parse().unwrap_or_else(|_| panic!("{text} is no fraction"))
}

fn close(got: f64, expected: f64, what: &str) {
    assert!((got - expected).abs() <= 1e-9 * expected.abs().max(1e-300), "{what}: {got} is not {expected}");
}

fn float(value: &BigRational) -> f64 {
    // Wide enough for every case: twenty digits before the division.
    let scaled: BigInt = (value * BigInt::from(10).pow(40)).round().to_integer();
    scaled.to_string().parse::<f64>().unwrap() * 1e-40
}

fn check_strategy(case: &Value) {
    let id = case["id"].as_str().unwrap();
    let cluster = cluster(case);
    let (system, plan) = (system(case, &cluster).unwrap(), plan(case).unwrap());
    let answer = system.optimise(&cluster, &plan);
    if case["status"] == "infeasible" {
        let error = answer.map(|solution| solution.value()).unwrap_err();
        if matches!(error, Error::NoResilientSet { .. }) {
            return;
        }
        assert!(matches!(error, Error::Infeasible { .. }), "{id}: {error}");
        let proof = system.certify(&cluster, &plan).unwrap();
        assert!(!proof.is_feasible(), "{id}");
        proof.check(&system, &cluster, &plan).unwrap_or_else(|error| panic!("{id}: {error}"));
        return;
    }
    let solution = answer.unwrap_or_else(|error| panic!("{id}: {error}"));
    let exact = rational(case["exact"].as_str().unwrap());
    close(solution.value(), float(&exact), id);
    let strategy = solution.strategy();
    let metric = |metric| match metric {
        Objective::Load => strategy.load(plan.workload()),
        Objective::Network => strategy.network_load(plan.workload()),
        Objective::Latency => strategy.latency(plan.workload()),
    };
    close(metric(plan.objective()), float(&exact), id);
    for (limited, limit) in plan.limits() {
        assert!(metric(*limited) <= limit * (1.0 + 1e-9), "{id}: {} exceeds {limit}", limited.name());
    }
    assert!(strategy.is_resilient(&system, plan.resilience()), "{id}");
    if let Some(capacity) = case["capacity_exact"].as_str() {
        close(strategy.capacity(plan.workload()), float(&rational(capacity)), id);
    }
    let proof = solution.prove().unwrap();
    assert_eq!(*proof.value(), exact, "{id}");
    proof.check(&system, &cluster, &plan).unwrap_or_else(|error| panic!("{id}: {error}"));
}

#[test]
fn every_strategy_is_optimal_and_its_certificate_proves_it_exactly() {
    let cases = cases("cases", "strategy");
    assert_eq!(cases.len(), 159);
    cases.iter().for_each(check_strategy);
}

#[test]
fn where_the_original_is_wrong_or_order_dependent_the_answer_is_exact() {
    let cases = cases("divergences", "strategy");
    assert_eq!(cases.len(), 10);
    cases.iter().for_each(check_strategy);
}

#[test]
fn every_search_finds_the_optimum_among_the_counted_candidates() {
    let cases = cases("cases", "search");
    assert_eq!(cases.len(), 23);
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let (cluster, plan) = (cluster(&case), plan(&case).unwrap());
        let resilience = usize::try_from(case["resilience"].as_u64().unwrap()).unwrap();
        let nodes: Vec<Node> = cluster.nodes().collect();
        let candidates = duplicate_free(&nodes).unwrap();
        assert_eq!(Value::from(candidates.len()), case["candidates"], "{id}");
        let systems = candidates.into_iter().map(ReadWriteQuorumSystem::reads);
        let values: Vec<f64> = systems
            .filter(|system| system.resilience().unwrap() >= resilience)
            .filter_map(|system| system.optimise(&cluster, &plan).ok())
            .map(|solution| solution.value())
            .collect();
        assert_eq!(Value::from(values.len()), case["feasible_candidates"], "{id}");
        let found = search(&cluster, &plan, resilience, &mut |_| true);
        if case["status"] == "infeasible" {
            assert!(matches!(found, Err(Error::NothingFound { .. })), "{id}");
            continue;
        }
        let found = found.unwrap();
        let exact = rational(case["exact"].as_str().unwrap());
        assert!(found.proved && found.gap() == 0.0, "{id}");
        close(found.value, float(&exact), id);
        assert!(found.system.resilience().unwrap() >= resilience, "{id}");
        let proof = found.system.certify(&cluster, &plan).unwrap();
        assert_eq!(*proof.value(), exact, "{id}");
        proof.check(&found.system, &cluster, &plan).unwrap();
    }
}

fn letters(value: &Value) -> NodeSet {
    value.as_str().unwrap().bytes().map(|letter| usize::from(letter - b'a')).collect()
}

#[test]
fn minimal_quorums_resilience_and_quorum_counts_are_those_of_the_reference() {
    let cases = cases("cases", "structure");
    assert_eq!(cases.len(), 18);
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let elements = case["elements"].as_array().unwrap();
        let last = elements.iter().map(letters).fold(NodeSet::EMPTY, NodeSet::union).iter().last().unwrap();
        let names = (0..=last).map(|i| char::from(b'a' + u8::try_from(i).unwrap()).to_string());
        let cluster = Cluster::named(names).unwrap();
        let reads = cluster.parse(case["reads"].as_str().unwrap()).unwrap();
        let system = ReadWriteQuorumSystem::reads(reads.clone());
        let minimal = |expr: &Expr, key: &str| {
            let mut expected: Vec<NodeSet> = case[key].as_array().unwrap().iter().map(letters).collect();
            expected.sort_unstable();
            assert_eq!(expr.minimal_quorums().unwrap(), expected, "{id} {key}");
        };
        minimal(&reads, "minimal_read_quorums");
        minimal(system.write_expr(), "minimal_write_quorums");
        assert_eq!(Value::from(reads.is_dup_free()), case["dup_free"], "{id}");
        assert_eq!(Value::from(reads.resilience().unwrap()), case["read_resilience"], "{id}");
        assert_eq!(Value::from(system.write_expr().resilience().unwrap()), case["write_resilience"], "{id}");
        assert_eq!(Value::from(system.resilience().unwrap()), case["resilience"], "{id}");
        for row in case["is_quorum"].as_array().unwrap() {
            let set = letters(&row[0]);
            assert_eq!(Value::from(system.is_read_quorum(set)), row[1], "{id} {row}");
            assert_eq!(Value::from(system.is_write_quorum(set)), row[2], "{id} {row}");
        }
        assert_eq!(Value::from(quorum_counts(&reads).unwrap()), case["read_quorum_count_by_size"], "{id}");
        let writes = quorum_counts(system.write_expr()).unwrap();
        assert_eq!(Value::from(writes), case["write_quorum_count_by_size"], "{id}");
    }
}

fn check_metrics(case: &Value, strategy: &Strategy, workload: &Workload) {
    let id = case["id"].as_str().unwrap();
    close(strategy.load(workload), number(&case["load"]), id);
    close(strategy.capacity(workload), number(&case["capacity"]), id);
    close(strategy.network_load(workload), number(&case["network"]), id);
    // The reference rounds latencies to microseconds.
    let latency = number(&case["latency"]);
    assert!((strategy.latency(workload) - latency).abs() <= 1e-6 + 1e-9 * latency, "{id}");
}

#[test]
fn uniform_strategies_have_the_metrics_of_the_reference() {
    let cases = cases("cases", "uniform");
    assert_eq!(cases.len(), 10);
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let cluster = cluster(&case);
        let f = usize::try_from(case["f"].as_u64().unwrap()).unwrap();
        let strategy = Strategy::uniform(&system(&case, &cluster).unwrap(), &cluster, f);
        if case["status"] != "ok" {
            assert!(matches!(strategy, Err(Error::NoResilientSet { .. })), "{id}");
            continue;
        }
        let strategy = strategy.unwrap();
        assert_eq!(Value::from(strategy.reads().len()), case["n_read"], "{id}");
        assert_eq!(Value::from(strategy.writes().len()), case["n_write"], "{id}");
        check_metrics(&case, &strategy, &workload(&case).unwrap());
    }
}

#[test]
fn given_strategies_have_the_metrics_of_the_reference() {
    let cases = cases("cases", "evaluate");
    assert_eq!(cases.len(), 10);
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let cluster = cluster(&case);
        let set = |text: &Value| {
            let names: Vec<String> = text.as_str().unwrap().chars().map(String::from).collect();
            cluster.set_of(names.iter().map(String::as_str)).unwrap()
        };
        let weights = |key: &str| -> Vec<(NodeSet, f64)> {
            case[key].as_array().unwrap().iter().map(|row| (set(&row[0]), number(&row[1]))).collect()
        };
        let system = system(&case, &cluster).unwrap();
        let strategy =
            Strategy::new(&system, &cluster, &weights("read_weights"), &weights("write_weights")).unwrap();
        let workload = workload(&case).unwrap();
        check_metrics(&case, &strategy, &workload);
        for (name, expected) in case["node"].as_object().unwrap() {
            let node = cluster.node(name).unwrap();
            close(strategy.node_load(node, &workload), number(&expected["load"]), id);
            close(strategy.node_utilization(node, &workload), number(&expected["utilization"]), id);
            close(strategy.node_throughput(node, &workload), number(&expected["throughput"]), id);
        }
    }
}

#[test]
fn invalid_input_is_an_error() {
    let cases = cases("cases", "error");
    assert_eq!(cases.len(), 14);
    for case in cases {
        let id = case["id"].as_str().unwrap();
        let cluster = cluster(&case);
        if case["f"] == -1 || case["objective"] == "cost" {
            // They have no value of their types here; the command line refuses them (`tests/quorums.rs`).
            assert!(objective("cost").is_none() && usize::try_from(-1).is_err());
            continue;
        }
        let error =
            system(&case, &cluster).and_then(|system| system.optimise(&cluster, &plan(&case)?)).unwrap_err();
        assert!(!error.to_string().is_empty(), "{id}");
    }
}
