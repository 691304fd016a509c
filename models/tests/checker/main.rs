//! What the checker is held against: counts of other tools, and the library's defects.

mod abstract_paxos;
mod calibration;
mod toy_paxos;

use parthood_models::{Limits, Report, Space, Verdict, check};
use std::ops::ControlFlow;

/// Visits every reachable state.
fn run<S: Space>(space: &S) -> Report {
    check(space, &Limits::default(), &mut |_| ControlFlow::Continue(()))
}

/// How many states there are; every property holds.
fn exhaust<S: Space>(space: &S) -> usize {
    let report = run(space);
    assert_eq!(report.verdict, Verdict::Holds);
    report.unique
}
