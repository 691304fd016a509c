//! Counts that other tools, or the library's own model, agree with.

use crate::toy_paxos::{Fault, Toy};
use parthood_models::{Limits, Network, Reductions, Report, Setup, System, Verdict, check};
use std::ops::ControlFlow;

const COLLECT: Reductions = Reductions { collect: true, ..Reductions::NONE };
const SYMMETRY: Reductions = Reductions { symmetry: true, ..Reductions::NONE };
const BOTH: Reductions = Reductions { collect: true, symmetry: true, ..Reductions::NONE };

fn run(toy: Toy, network: Network, reductions: Reductions) -> Report {
    let system = System::new(toy, Setup { network, reductions, ..Setup::default() });
    check(&system, &Limits::default(), &mut |_| ControlFlow::Continue(()))
}

fn count(toy: Toy, network: Network, reductions: Reductions) -> usize {
    let report = run(toy, network, reductions);
    assert_eq!(report.verdict, Verdict::Holds);
    report.unique
}

#[test]
fn six_reference_counts_of_paxos_with_two_proposers() {
    let toy = Toy::new(2, 3, 0, 1);
    assert_eq!(count(toy, Network::Unordered, Reductions::NONE), 4_624);
    assert_eq!(count(toy, Network::Duplicating, Reductions::NONE), 2_800);
    assert_eq!(count(toy, Network::Duplicating, COLLECT), 1_288);
    assert_eq!(count(toy, Network::Unordered, SYMMETRY), 870);
    assert_eq!(count(toy, Network::Duplicating, SYMMETRY), 574);
    assert_eq!(count(toy, Network::Duplicating, BOTH), 286);
}

#[test]
fn a_promise_that_is_ignored_breaks_agreement_after_twelve_moves() {
    for network in [Network::Unordered, Network::Duplicating] {
        let report = run(Toy::new(2, 3, 0, 1).with(Fault::IgnoresPromise), network, Reductions::NONE);
        let Verdict::Violated { property: "agreement", path: Some(path) } = report.verdict else {
            panic!("{}", report.verdict)
        };
        assert_eq!(path.actions().len(), 12);
    }
}
