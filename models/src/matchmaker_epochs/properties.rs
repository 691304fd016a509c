//! The properties (matchmaker notes, section 8).

use super::ghost::moment;
use super::{Ghost, MatchmakerEpochs};
use crate::moments::{happens, never};
use crate::{Property, View};
use parthood_protocols::faults::Faults;
use parthood_protocols::matchmaker_epochs::{MatchmakerNode, Mutant, Phase, ProposerState, State};
use parthood_protocols::matchmaker_paxos::Garbage;
use parthood_protocols::matchmaking::{Epoch, Round};
use parthood_quorums::NodeSet;
use std::collections::BTreeMap;

type Seen<'a, F> = View<'a, MatchmakerEpochs<F>>;

/// What is claimed.
pub(super) fn all<F: Faults<Mutant>>() -> Vec<Property<MatchmakerEpochs<F>>> {
    vec![
        Property::always("of two matched rounds the larger one knows the smaller one", larger_knows_smaller),
        Property::always("each epoch has one set", |view| one_each(view.ghost.served.iter().copied())),
        Property::always("one set at most is chosen to follow an epoch", one_successor),
        Property::always("a ballot proposes one set", |view| {
            let proposed = &view.ghost.proposed;
            let of = |(epoch, ballot, _): &(Epoch, Round, NodeSet)| (*epoch, *ballot);
            proposed.iter().zip(proposed.iter().skip(1)).all(|(one, next)| of(one) != of(next))
        }),
        Property::always("who serves knows what was matched before", logs_are_complete),
        Property::always("who serves has retired what was retired before", watermarks_are_taken_over),
        Property::always("what a proposer takes for retired is retired", |view| {
            proposers(view).all(|proposer| is_retired(view.ghost, proposer))
        }),
        never!(moment::ORDER),
        never!(moment::RETIRED),
        never!(moment::PURE),
        never!(moment::FROZEN),
        never!(moment::SILENT),
        never!(moment::WENT_BACK),
        Property::at_the_end("every change is over and everybody answered", |view| {
            !view.protocol.answers || all_is_over(view)
        }),
        Property::sometimes("a round is matched after the matchmakers were replaced", |view| {
            view.ghost.matched.values().any(|(epoch, _)| *epoch > 0)
        }),
        Property::sometimes("the new matchmakers return what the old ones matched", |view| {
            let matched = &view.ghost.matched;
            matched.values().any(|(epoch, earlier)| {
                let before = |below| matched.get(below).is_some_and(|(of, _)| of < epoch);
                earlier.iter().any(|(below, _)| before(below))
            })
        }),
        Property::sometimes("matchmakers are replaced twice", |view| {
            view.ghost.matched.values().any(|(epoch, _)| *epoch > 1)
        }),
        Property::sometimes("what is below a round is retired", |view| {
            proposers(view).any(|proposer| proposer.garbage == Garbage::Done)
        }),
        happens!(moment::LATE),
        happens!(moment::ADOPTED),
        happens!(moment::REPLACED),
        happens!(moment::POINTED),
    ]
}

fn matchmakers<'a, F: Faults<Mutant>>(
    view: &Seen<'a, F>,
) -> impl Iterator<Item = &'a MatchmakerNode> + use<'a, F> {
    view.states.iter().filter_map(|state| match state {
        State::Matchmaker(node) => Some(node),
        _ => None,
    })
}

fn proposers<'a, F: Faults<Mutant>>(
    view: &Seen<'a, F>,
) -> impl Iterator<Item = &'a ProposerState> + use<'a, F> {
    view.states.iter().filter_map(|state| match state {
        State::Proposer(proposer) => Some(proposer),
        _ => None,
    })
}

/// What everything else rests on, whatever the epochs: a round that was matched is returned to every larger one, unless
/// somebody else wanted it retired.
fn larger_knows_smaller<F: Faults<Mutant>>(view: &Seen<'_, F>) -> bool {
    let matched = &view.ghost.matched;
    matched.iter().all(|(round, (_, earlier))| {
        matched.range(..round).all(|(below, _)| {
            let returned = earlier.iter().any(|(of, _)| of == below);
            let retired = |by: &Round| by > below && by != round;
            returned || view.ghost.collecting.iter().any(retired)
        })
    })
}

/// I13: no two sets with one number.
fn one_each(mut epochs: impl Iterator<Item = Epoch>) -> bool {
    let mut sets = BTreeMap::new();
    epochs.all(|epoch| *sets.entry(epoch.number).or_insert(epoch.members) == epoch.members)
}

/// Agreement on who follows.
fn one_successor<F: Faults<Mutant>>(view: &Seen<'_, F>) -> bool {
    let chosen = view.ghost.votes.iter().filter(|((epoch, ..), by)| epoch.is_quorum(**by));
    one_each(chosen.map(|((epoch, _, members), _)| epoch.followed_by(*members)))
}

/// I14: who serves has noted every round that was matched in an earlier epoch, or its watermark is above.
fn logs_are_complete<F: Faults<Mutant>>(view: &Seen<'_, F>) -> bool {
    matchmakers(view).all(|node| {
        let Some(state) = &node.log else { return true };
        view.ghost.answered.keys().all(|(epoch, round)| {
            epoch.number >= node.newest.number
                || !view.ghost.is_matched_in(*epoch, *round)
                || state.log.contains_key(round)
                || *round < state.watermark
        })
    })
}

/// The watermark of who serves is not below one that was confirmed in an earlier epoch by one more than may fail.
fn watermarks_are_taken_over<F: Faults<Mutant>>(view: &Seen<'_, F>) -> bool {
    matchmakers(view).all(|node| {
        let Some(state) = &node.log else { return true };
        view.ghost.confirmed.iter().all(|((epoch, _), watermark)| {
            epoch.number >= node.newest.number
                || *watermark <= state.watermark
                || !view.ghost.is_retired_in(*epoch, *watermark)
        })
    })
}

fn is_retired(ghost: &Ghost, proposer: &ProposerState) -> bool {
    let Some(round) = proposer.used.filter(|_| proposer.garbage == Garbage::Done) else { return true };
    ghost.confirmed.keys().any(|(epoch, _)| ghost.is_retired_in(*epoch, round))
}

fn all_is_over<F: Faults<Mutant>>(view: &Seen<'_, F>) -> bool {
    let answered = proposers(view).all(|proposer| {
        let waits = matches!(proposer.phase, Phase::Matching(_));
        let larger = view.ghost.answered.keys().any(|(_, round)| Some(*round) > proposer.used);
        !waits || larger
    });
    let over = view.states.iter().all(|state| match state {
        State::Reconfigurer(reconfigurer) => reconfigurer.change.is_none(),
        _ => true,
    });
    answered && over
}
