//! What the checker is held against: counts of other tools, and the library's defects.

mod abstract_paxos;
mod calibration;
mod defects;
mod engine;
mod liveness;
mod symmetry;
mod toy_paxos;
mod toys;

use parthood_models::{Limits, Report, Space, Verdict, check};
use std::ops::ControlFlow;

/// Visits every reachable state.
fn run<S: Space>(space: &S) -> Report {
    run_within(space, &Limits::default())
}

/// Visits every state within limits.
fn run_within<S: Space>(space: &S, limits: &Limits) -> Report {
    check(space, limits, &mut |_| ControlFlow::Continue(()))
}

/// How many states there are; every property holds.
fn exhaust<S: Space>(space: &S) -> usize {
    let report = run(space);
    assert_eq!(report.verdict, Verdict::Holds);
    report.unique
}
