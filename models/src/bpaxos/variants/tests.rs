//! All states of the variants, and the rules whose breaking is noticed.

use super::*;
use crate::{Verdict, exhaust};

/// How many states there are, or what does not hold and after how many steps.
pub(super) fn explore<S: Space + Copy>(protocol: S) -> Result<usize, (&'static str, usize)> {
    let report = exhaust(&protocol);
    match report.verdict {
        Verdict::Holds => {
            let missed = report.reached.iter().find(|reached| reached.path.is_none());
            assert!(missed.is_none(), "vacuous: {missed:?}");
            Ok(report.unique)
        }
        Verdict::Violated { property, .. } => Err((property, report.depth)),
        Verdict::Inconclusive(why) => panic!("not finished: {why:?}"),
    }
}

#[test]
fn variants_that_choose_in_one_round_trip_keep_both_invariants() {
    // For one failure, and only then, Fast BPaxos is Unanimous BPaxos, and safe.
    let fast =
        Protocol { variant: Variant::Fast { chooses: 3, popular: 2 }, ..Protocol::unanimous(1, false, 1) };
    assert_eq!(explore(fast), Ok(9_542));
    assert_eq!(explore(Protocol::unanimous(1, false, 1)), Ok(23_804));
    assert_eq!(explore(Protocol::basic(1, true, None)), Ok(1_700));
    assert_eq!(explore(Protocol::basic(1, false, None)), Ok(2_020));
    assert_eq!(explore(Protocol::basic(2, true, None)), Ok(1_017_951));
    assert_eq!(explore(Protocol::atlas(2)), Ok(278_972));
}

#[test]
fn every_broken_rule_of_the_variants_is_noticed() {
    // Fast BPaxos itself, with four servers and quorums of three (M17).
    let fast = Variant::Fast { chooses: 3, popular: 2 };
    let fast = Protocol { variant: fast, servers: 4, classic: 3, f: 1, recoveries: 1 };
    assert_eq!(explore(fast), Err((DEPENDENCIES, 6)));
    assert_eq!(explore(Protocol::unanimous(1, true, 1)), Err((DEPENDENCIES, 3)));
    assert_eq!(explore(Protocol::atlas(1)), Err((AGREEMENT, 5)));
    let broken = |f, broken| explore(Protocol::basic(f, true, Some(broken)));
    assert_eq!(broken(1, Broken::AskEverybody), Err((AGREEMENT, 6)));
    assert_eq!(broken(2, Broken::OwnerLikeOthers), Err((DEPENDENCIES, 6)));
    assert_eq!(broken(1, Broken::ForgetOwners), Err((DEPENDENCIES, 6)));
}
