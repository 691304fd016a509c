//! Quorum expressions: what is printed reads back the same, and no question about one goes wrong.

use parthood::quorum_systems::{
    Cluster, Expr, NodeSet, Objective, Plan, QuorumSystem, ReadWriteQuorumSystem, Workload, reliability,
};
use std::collections::BTreeMap;

/// Larger expressions are only parsed, printed and asked for membership: the other questions may take their time.
const LEAVES_MAX: usize = 24;

/// Takes the input for an expression.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut cluster = Cluster::new();
    let Ok(expr) = cluster.parse_adding(text) else {
        assert!(cluster.is_empty(), "an expression that is refused adds no node");
        return;
    };
    let printed = cluster.show(&expr);
    assert_eq!(cluster.parse(&printed).as_ref(), Ok(&expr), "{printed} reads back differently");

    let system = ReadWriteQuorumSystem::reads(expr.clone());
    assert_eq!(system.write_expr().dual(), expr, "the dual of the dual is another expression");
    let all = NodeSet::first(cluster.len());
    let some = data.iter().map(|&byte| usize::from(byte) % cluster.len()).collect::<NodeSet>();
    for set in [NodeSet::EMPTY, all, some] {
        assert_eq!(system.is_read_quorum(set), expr.is_quorum(set));
        assert_eq!(system.is_write_quorum(set), !expr.is_quorum(all.difference(set)));
    }
    if expr.leaves() <= LEAVES_MAX {
        questions(&cluster, &expr, &system);
    }
}

/// Everything that `parthood quorums analyze` and `optimize` ask.
fn questions(cluster: &Cluster, expr: &Expr, system: &ReadWriteQuorumSystem) {
    if let (Ok(quorums), Ok(resilience)) = (expr.minimal_quorums(), system.resilience()) {
        assert!(quorums.iter().all(|set| expr.is_quorum(*set)));
        assert!(resilience < cluster.len());
    }
    if let Ok(up) = reliability(expr, &vec![0.5; cluster.len()]) {
        assert!((0.0..=1.0).contains(&up), "{up} is no probability");
    }
    let _ = system.availability(cluster, &BTreeMap::new());
    let _ = (system.least_overlap(), system.is_maximal(), system.writes_meet_each_other());
    let plan =
        Plan::minimise(Objective::Load, Workload::distribution([(0.5, 1.0)]).expect("a half is a fraction"));
    if let Ok(solution) = system.optimise(cluster, &plan) {
        assert!((0.0..=1.0 + 1e-9).contains(&solution.value()), "the load is {}", solution.value());
    }
}

/// An expression of each form.
pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "a",
        "a*b + c*d*e",
        "(a + b) * (c + d)",
        "majority(a, b, c*d)",
        "choose(2, a, b, c, a)",
        "choose2(a, b, c)",
        "vote(4; 3:a, 1:b, 1:c, 1:d, 1:e)",
        r#""10.0.0.1:80" + "a \"b\"" * _x-y.z"#,
        "choose(2, majority(a, b, c), majority(d, e, f), majority(g, h, i))",
        "((((a)))) * choose(1, b + c, vote(2; 1:d, 2:e*f))",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}
