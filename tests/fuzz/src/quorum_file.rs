//! Files of nodes, systems and a goal: a mistake is one message, and what has none has an optimum or a reason, and no number
//! that is none.

use parthood::commands::quorums::read;
use parthood::quorum_systems::{Cluster, Objective, Plan, QuorumSystem, ReadWriteQuorumSystem, search};
use std::path::Path;

/// Larger systems are only read: the questions may take their time.
const LEAVES_MAX: usize = 16;
/// So many nodes are searched for a system.
const SEARCHED_MAX: usize = 4;

/// Takes the input for a file, JSON if it begins as an object does.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let name = if text.trim_start().starts_with('{') { "study.json" } else { "study.toml" };
    match read(Path::new(name), text) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok((cluster, systems, plan)) => {
            for (_, system) in &systems {
                if system.read_expr().leaves() + system.write_expr().leaves() <= LEAVES_MAX {
                    questions(&cluster, system, &plan);
                }
            }
            if cluster.len() <= SEARCHED_MAX
                && let Ok(found) = search(&cluster, &plan, 0, &mut |_| true)
            {
                assert!(found.value.is_finite() && found.bound <= found.value && found.proved);
            }
        }
    }
}

/// What `parthood quorums optimize` and `pareto` ask.
fn questions(cluster: &Cluster, system: &ReadWriteQuorumSystem, plan: &Plan) {
    match system.optimise(cluster, plan) {
        Err(error) => assert!(!error.to_string().contains("NaN") || plan_has_nan(plan), "{error}"),
        Ok(solution) => {
            let strategy = solution.strategy();
            let workload = plan.workload();
            assert!(solution.value().is_finite() && solution.value() >= 0.0);
            for value in
                [strategy.load(workload), strategy.network_load(workload), strategy.latency(workload)]
            {
                assert!(value.is_finite() && value >= 0.0, "{value}");
            }
            let contacted = strategy.reads().iter().all(|choice| system.is_read_quorum(choice.nodes));
            assert!(contacted, "what is contacted are quorums");
            let explained = solution.explain();
            assert!(explained.nodes.iter().all(|(_, share)| share.is_finite()));
        }
    }
    if let Ok((solution, proof)) = system.optimise_exactly(cluster, plan) {
        assert_eq!(proof.check(system, cluster, plan), Ok(()));
        assert!(solution.value().is_finite());
    }
    let _ = system.pareto(cluster, plan, [Objective::Latency, Objective::Load], 3);
}

/// A limit that is no number is named as what it is.
fn plan_has_nan(plan: &Plan) -> bool {
    plan.limits().iter().any(|(_, limit)| limit.is_nan())
}

/// Files with everything in them, in both forms, and with mistakes.
pub fn seeds() -> Vec<Vec<u8>> {
    let whole = "[nodes.a]\nread = 4000\nwrite = 2000\nlatency = \"1ms\"\nup = 0.999\nzone = \"eu\"\n\
        [nodes.b]\ncapacity = 1000\nlatency = 0.002\n[nodes.c]\n[nodes.d]\ncapacity = 1e-9\nlatency = '3 s'\n\
        [systems.grid]\nreads = \"a*b + c*d\"\n[systems.any]\nreads = 'a + b + c'\nwrites = 'a*b*c*d'\n\
        [workload]\n\"0.9\" = 10\n\"0.5\" = 100\n\
        [goal]\nminimise = \"latency\"\nmin_capacity = 10\nmax_network = 3.5\nfailed = []\n[zones]\neu = 0.99\n";
    let worst = "[systems.s]\nreads = 'majority(a, b, c)'\n[goal]\nworst = [0.2, 0.8]\nmax_latency = '4ms'\nresilient = 1\n";
    let json = r#"{"nodes": {"a": {"read": 2, "write": 1}, "b": {}}, "systems": {"s": {"writes": "a*b"}}, "workload": {"0.25": 1}, "goal": {"max_load": 2, "minimise": "network"}}"#;
    let mistakes = "[nodes.a]\ncapacity = -1\n[systems.s]\nreads = 'a +'\n[workload]\n'2' = nan\n";
    [whole, worst, json, mistakes, "[nodes.a]\n", "{}"].map(|text| text.as_bytes().to_vec()).into()
}
