//! The configurations of the notes, section 9, and their mutants, section 10, with the numbers that the notes give.

use super::properties::{
    AGREEMENT, ANCHORED, BYPASS, EXCLUDES, JUSTIFIED, ORDER, PROMISES, RETIRED, STORED, USED,
};
use super::{Bits, Model, Quorums, Round};
use crate::{Limits, Verdict, Walk, Why, check, walk};
use parthood_protocols::matchmaker_paxos::Mutant;
use std::ops::ControlFlow;

/// Acceptors, by the letters of the notes.
const A: Bits = 1;
const B: Bits = 2;
const C: Bits = 4;
const D: Bits = 8;
/// Every round but the first.
const LATER: Bits = 0b1110;

/// Rounds with these owners and acceptors, and nothing more.
fn rounds(owners: &[usize], acceptors: &[Bits]) -> Model {
    let round = |(owner, acceptors): (&usize, &Bits)| Round {
        owner: *owner,
        acceptors: *acceptors,
        quorums: Quorums::Unanimous,
    };
    Model {
        rounds: owners.iter().zip(acceptors).map(round).collect(),
        collect: 0,
        persist: 0,
        bypass: false,
        own_bypass: false,
        register: false,
        broken: None,
    }
}

fn k1() -> Model {
    Model { collect: LATER, ..rounds(&[0, 1], &[A, B]) }
}

fn k2() -> Model {
    Model { collect: LATER, ..rounds(&[0, 1], &[A | B, C | D]) }
}

fn k3() -> Model {
    let mut model = rounds(&[0, 1], &[A | B | C, A | B | C]);
    model.rounds.iter_mut().for_each(|round| round.quorums = Quorums::Majority);
    model
}

fn k4_without_collection() -> Model {
    rounds(&[0, 1, 0], &[A, B, C])
}

fn k4() -> Model {
    Model { collect: LATER, ..k4_without_collection() }
}

fn k5() -> Model {
    Model { collect: LATER, ..rounds(&[0, 1, 0], &[A, B | C, D]) }
}

fn k6(owners: [usize; 3]) -> Model {
    Model { collect: LATER, bypass: true, ..rounds(&owners, &[A, B, C]) }
}

fn k7() -> Model {
    Model { collect: LATER, bypass: true, ..rounds(&[0, 0], &[A, B]) }
}

fn k8() -> Model {
    rounds(&[0, 1, 0], &[A | B, C, D])
}

/// Scenario 3 in the second round, which alone collects.
fn k9() -> Model {
    Model { collect: 1 << 1, persist: 1 << 1, ..k4_without_collection() }
}

/// The first two rounds share an acceptor, and make known what is persisted.
fn k9b() -> Model {
    Model { collect: 1 << 1, persist: 1 << 0 | 1 << 1, ..rounds(&[0, 1, 0], &[A, A | B, C]) }
}

fn k10(owners: [usize; 4]) -> Model {
    let bypass = owners.windows(2).any(|two| two[0] == two[1]);
    Model { bypass, ..rounds(&owners, &[A, B, C, D]) }
}

fn k11(owners: [usize; 4]) -> Model {
    Model { collect: LATER, bypass: true, ..k10(owners) }
}

/// How many states there are, and how many steps away the last of them is.
fn exhausted(model: &Model) -> (usize, usize) {
    let report = check(model, &Limits::default(), &mut |_| ControlFlow::Continue(()));
    let missed = report.reached.iter().find(|reached| reached.path.is_none());
    assert_eq!((&report.verdict, missed), (&Verdict::Holds, None), "{model:?}");
    (report.unique, report.depth)
}

/// After how many steps a rule, when it is broken, breaks these properties.
fn breaks(mutant: Mutant, model: &Model, properties: &[(&'static str, usize)]) {
    let model = Model { broken: Some(mutant), ..model.clone() };
    for (property, steps) in properties {
        let limits = Limits { only: Some((*property).into()), ..Limits::default() };
        let report = check(&model, &limits, &mut |_| ControlFlow::Continue(()));
        assert!(matches!(report.verdict, Verdict::Violated { .. }), "{mutant:?}: {property} holds");
        assert_eq!(report.depth, *steps, "{mutant:?}, {property}");
    }
}

#[test]
fn small_configurations_have_the_states_of_the_notes() {
    assert_eq!(exhausted(&k1()), (4_383, 21));
    assert_eq!(exhausted(&k2()), (21_419, 24));
    assert_eq!(exhausted(&k3()), (14_679, 23));
    assert_eq!(exhausted(&k4_without_collection()), (30_425, 27));
    assert_eq!(exhausted(&k7()), (4_191, 21));
    assert_eq!(exhausted(&k8()), (186_507, 30));
    // Not in the notes: a proposal that is taken along leaves less to happen.
    assert_eq!(exhausted(&Model { own_bypass: true, ..k7() }), (3_551, 19));
}

/// C1: what a value is made of follows from the rounds that it was found in, so there are no more states.
#[test]
fn a_register_has_as_many_states() {
    let register = |model: Model| exhausted(&Model { register: true, ..model });
    assert_eq!(register(k1()), (4_383, 21));
    assert_eq!(register(k2()), (21_419, 24));
    assert_eq!(register(k4_without_collection()), (30_425, 27));
    assert_eq!(register(k8()), (186_507, 30));
    let model = Model { register: true, ..k4_without_collection() };
    breaks(Mutant::LowestVote, &model, &[(AGREEMENT, 21)]);
}

#[test]
fn broken_rules_are_noticed_after_the_steps_of_the_notes() {
    let k1 = k1();
    breaks(Mutant::MatchQuorumShort, &k1, &[(EXCLUDES, 8), (AGREEMENT, 10)]);
    breaks(Mutant::AcceptBelowLog, &k1, &[(ORDER, 4), (EXCLUDES, 10), (AGREEMENT, 12)]);
    breaks(Mutant::AnswerWithoutNoting, &k1, &[(ORDER, 4), (ANCHORED, 6), (AGREEMENT, 12)]);
    breaks(Mutant::AcceptLowerRound, &k1, &[(PROMISES, 11), (AGREEMENT, 14)]);
    breaks(Mutant::NoPromise, &k1, &[(PROMISES, 11), (AGREEMENT, 14)]);
    let k4 = k4();
    breaks(Mutant::CollectInPhase2, &k4, &[(JUSTIFIED, 13)]);
    breaks(Mutant::CollectOnMatch, &k4, &[(JUSTIFIED, 7)]);
    breaks(Mutant::SkipOldestConfiguration, &k4, &[(EXCLUDES, 14), (AGREEMENT, 16)]);
    breaks(Mutant::OnlyNewestConfiguration, &k4, &[(EXCLUDES, 14), (AGREEMENT, 16)]);
    breaks(Mutant::AnyConfigurationSuffices, &k4, &[(EXCLUDES, 14), (AGREEMENT, 16)]);
    breaks(Mutant::CollectTooMuch, &k4, &[(ANCHORED, 6), (ORDER, 8), (EXCLUDES, 12), (AGREEMENT, 14)]);
    breaks(Mutant::PruneTooMuch, &k4, &[(EXCLUDES, 12), (AGREEMENT, 14)]);
    breaks(Mutant::IgnoreWatermarks, &k4, &[(RETIRED, 13)]);
    breaks(Mutant::BypassAfterProposing, &k7(), &[(BYPASS, 9), (AGREEMENT, 12)]);
    breaks(Mutant::LowestVote, &k8(), &[(EXCLUDES, 21), (AGREEMENT, 22)]);
    breaks(Mutant::PersistTooEarly, &k9(), &[(STORED, 10)]);
}

/// M19 and M20, which random testing hardly finds; M16 and M43 in K6 with owners 0, 1, 0; and M18.
#[test]
fn broken_rules_of_leaving_phase_1_out_are_noticed() {
    let k6_011 = k6([0, 1, 1]);
    let answered = [(ORDER, 10), (USED, 12), (EXCLUDES, 16), (AGREEMENT, 18)];
    breaks(Mutant::AnswerBelowWatermark, &k6_011, &answered);
    breaks(Mutant::KeepWatermark, &k6_011, &[(ORDER, 9), (RETIRED, 13), (AGREEMENT, 18)]);
    breaks(Mutant::BypassAfterVotes, &k6_011, &[(BYPASS, 16), (AGREEMENT, 18)]);
    let k6_010 = k6([0, 1, 0]);
    breaks(Mutant::BypassFromAnyRound, &k6_010, &[(BYPASS, 8), (AGREEMENT, 18)]);
    let own = Model { own_bypass: true, ..k6_010 };
    breaks(Mutant::OwnBypassFromAnyRound, &own, &[(BYPASS, 8), (AGREEMENT, 18)]);
}

#[test]
#[ignore = "takes minutes"]
fn large_configurations_have_the_states_of_the_notes() {
    assert_eq!(exhausted(&k4()), (1_730_041, 35));
    assert_eq!(exhausted(&k6([0, 1, 1])), (1_817_289, 35));
    assert_eq!(exhausted(&k6([0, 0, 1])), (1_691_329, 35));
    assert_eq!(exhausted(&k6([0, 1, 0])), (1_730_041, 35));
    assert_eq!(exhausted(&k9()), (1_311_229, 35));
    // The notes round these three.
    assert_eq!(exhausted(&k10([0, 1, 0, 1])), (1_625_651, 38));
    assert_eq!(exhausted(&k10([0, 1, 1, 1])), (1_512_799, 38));
    assert_eq!(exhausted(&k10([0, 1, 1, 0])), (1_564_611, 38));
    let register = |model: Model| exhausted(&Model { register: true, ..model });
    assert_eq!(register(k4()), (1_730_041, 35));
    assert_eq!(register(k6([0, 1, 1])), (1_817_289, 35));
}

#[test]
#[ignore = "takes minutes"]
fn the_largest_configurations_have_the_states_of_the_notes() {
    assert_eq!(exhausted(&k5()), (7_755_913, 37));
    assert_eq!(exhausted(&k9b()), (7_780_875, 39));
}

#[test]
#[ignore = "takes minutes"]
fn broken_rules_of_collection_lose_agreement_after_the_steps_of_the_notes() {
    breaks(Mutant::CollectOnVote, &k5(), &[(AGREEMENT, 23)]);
    breaks(Mutant::CollectInPhase2, &k4(), &[(AGREEMENT, 22)]);
    breaks(Mutant::CollectOnMatch, &k4(), &[(AGREEMENT, 20)]);
    breaks(Mutant::CollectBeforePersisted, &k9(), &[(AGREEMENT, 24)]);
    breaks(Mutant::IgnorePersisted, &k9(), &[(AGREEMENT, 25)]);
    breaks(Mutant::PersistedIsChosenHere, &k9b(), &[(AGREEMENT, 28)]);
}

/// Where the notes say that a mutant passes, it does: acceptors that stand alone do not show the mistake of `DPaxos`, and without
/// leaving phase 1 out the watermark is no condition of agreement.
#[test]
#[ignore = "takes minutes"]
fn mutants_that_pass_where_the_notes_say_so() {
    for (mutant, model) in [
        (Mutant::CollectOnVote, k1()),
        (Mutant::CollectOnVote, k2()),
        (Mutant::CollectOnVote, k4()),
        (Mutant::AnswerBelowWatermark, k4()),
        (Mutant::IgnoreWatermarks, k4()),
        (Mutant::CollectByOlderFreedom, k4()),
    ] {
        let model = Model { broken: Some(mutant), ..model };
        let limits = Limits { only: Some(AGREEMENT.into()), ..Limits::default() };
        let report = check(&model, &limits, &mut |_| ControlFlow::Continue(()));
        assert_eq!(report.verdict, Verdict::Holds, "{mutant:?}");
    }
}

/// K11 is not exhausted. Walks find nothing wrong, and show nothing beyond; the mutant that needs four rounds to break
/// agreement (M4) breaks what agreement rests on.
#[test]
fn walks_through_four_rounds_with_collection_find_nothing() {
    let how = Walk { seed: 1, walks: 20_000, steps: 100 };
    let walked = |model: &Model| walk(model, &how, &mut |_| ControlFlow::Continue(())).verdict;
    for owners in [[0, 1, 0, 1], [0, 1, 1, 1], [0, 1, 1, 0]] {
        assert_eq!(walked(&k11(owners)), Verdict::Inconclusive(Why::Sampled));
        let broken = Model { broken: Some(Mutant::CollectByOlderFreedom), ..k11(owners) };
        assert!(matches!(walked(&broken), Verdict::Violated { property: JUSTIFIED, .. }), "{owners:?}");
    }
}
