//! History that the properties need.

use super::{MatchmakerFastPaxos, Value};
use crate::one_value::take_back;
use crate::{Cause, Step};
use parthood_protocols::faults::Faults;
use parthood_protocols::matchmaker_fast_paxos::{
    FastAcceptorState, FastPhase, FastState, Msg, Mutant, Node, State,
};
use parthood_protocols::matchmaker_paxos::{AcceptorState, Msg as Paxos, Role};
use parthood_protocols::matchmaking::{Age, Round};
use parthood_protocols::state_machine::Data;
use parthood_quorums::NodeSet;
use stateright::actor::Command;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What happened so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ghost<V = Value> {
    /// What was ever proposed in each round; nothing in particular where the proposer has said "any".
    pub(super) proposed: BTreeSet<(Round, Option<V>)>,
    /// Who ever voted for what.
    pub(super) cast: BTreeMap<(Round, V), NodeSet>,
    /// The rounds below which proposers have had everything retired.
    pub(super) collected: BTreeSet<Round>,
    /// Bad things that happened at some moment, by the names of the properties that exclude them.
    pub(super) moments: BTreeSet<&'static str>,
}

/// Names of properties about moments.
pub(super) mod moment {
    pub(crate) const PROMISES_BIND: &str = "promises bind";
    pub(crate) const ONE_VOTE: &str = "an acceptor votes once in a round";
    pub(crate) const BYPASS: &str = "phase 1 is left out only by right";
}

impl<V> Default for Ghost<V> {
    fn default() -> Self {
        Self {
            proposed: BTreeSet::new(),
            cast: BTreeMap::new(),
            collected: BTreeSet::new(),
            moments: BTreeSet::new(),
        }
    }
}

/// The ghost of a state in the making; copied when it changes.
type Now<'a, 'g, V> = &'a mut Cow<'g, Ghost<V>>;

pub(super) fn observe<V: Data, F: Faults<Mutant>>(
    protocol: &MatchmakerFastPaxos<V, F>,
    ghost: Now<'_, '_, V>,
    step: &Step<'_, Node<V, F>>,
) {
    let restarted = step.before.is_some() && matches!(step.cause, Cause::Start(_));
    let undone = protocol.undone_steps && restarted;
    match (protocol.config.paxos.role(step.id), step.before, step.after) {
        (Some(Role::Acceptor(number)), before, State::Acceptor(after)) => {
            let before = before.and_then(|before| match before {
                State::Acceptor(before) => Some(&before.kept),
                _ => None,
            });
            if let Some(before) = before.filter(|_| undone) {
                forget_vote(ghost, number, before, &after.kept);
            } else {
                observe_acceptor(ghost, number, before, after);
            }
        }
        (Some(Role::Proposer(number)), Some(State::Proposer(before)), State::Proposer(after)) => {
            if undone {
                forget_proposals(ghost, number, after);
            }
            observe_matched(protocol, ghost, step, before, after);
        }
        _ => {}
    }
    for command in step.out {
        if let Command::Send(_, msg) = command {
            observe_send(ghost, step, msg);
        }
    }
}

fn note<V: Data>(ghost: Now<'_, '_, V>, moment: &'static str) {
    if !ghost.moments.contains(moment) {
        ghost.to_mut().moments.insert(moment);
    }
}

/// Notes a vote, whether it is the only one of its round, and whether promises bind.
fn observe_acceptor<V: Data>(
    ghost: Now<'_, '_, V>,
    number: usize,
    before: Option<&AcceptorState<V>>,
    after: &FastAcceptorState<V>,
) {
    let promised = before.map_or(Round::ZERO, |before| before.round);
    if after.kept.round < promised {
        note(ghost, moment::PROMISES_BIND);
    }
    let old = before.and_then(|before| before.vote.as_ref());
    let Some(vote) = after.kept.vote.as_ref().filter(|vote| Some(*vote) != old) else { return };
    if vote.vote_round < promised {
        note(ghost, moment::PROMISES_BIND);
    }
    let of_this =
        |((round, _), voters): (&(Round, V), &NodeSet)| *round == vote.vote_round && voters.contains(number);
    if ghost.cast.iter().any(of_this) {
        note(ghost, moment::ONE_VOTE);
    }
    let key = (vote.vote_round, vote.vote_value.clone());
    if !ghost.cast.get(&key).is_some_and(|voters| voters.contains(number)) {
        ghost.to_mut().cast.entry(key).or_default().insert(number);
    }
}

/// An acceptor has forgotten a vote that it had told nobody: it is none.
fn forget_vote<V: Data>(
    ghost: Now<'_, '_, V>,
    number: usize,
    before: &AcceptorState<V>,
    after: &AcceptorState<V>,
) {
    let Some(old) = before.vote.as_ref().filter(|old| after.vote.as_ref() != Some(*old)) else { return };
    take_back(&mut ghost.to_mut().cast, number, &(old.vote_round, old.vote_value.clone()));
}

/// A proposer has forgotten rounds that it had told nobody of.
fn forget_proposals<V: Data>(ghost: Now<'_, '_, V>, number: usize, after: &FastState<V>) {
    let unsent = |round: &Round| round.proposer == number as u64 && Some(*round) > after.used;
    if ghost.proposed.iter().any(|(round, _)| unsent(round)) || ghost.collected.iter().any(unsent) {
        ghost.to_mut().proposed.retain(|(round, _)| !unsent(round));
        ghost.to_mut().collected.retain(|round| !unsent(round));
    }
}

/// Matching is finished: where something came before there must be a phase 1.
fn observe_matched<V: Data, F: Faults<Mutant>>(
    protocol: &MatchmakerFastPaxos<V, F>,
    ghost: Now<'_, '_, V>,
    step: &Step<'_, Node<V, F>>,
    before: &FastState<V>,
    after: &FastState<V>,
) {
    let (FastPhase::Matching { answers, .. }, FastPhase::Phase2 { .. }) = (&before.phase, &after.phase)
    else {
        return;
    };
    let Cause::Deliver { src, msg: Msg::Paxos(Paxos::MatchB { watermark, earlier, .. }) } = step.cause else {
        return;
    };
    let Some(Role::Matchmaker(number)) = protocol.config.paxos.role(src) else { return };
    let mut answers = answers.clone();
    answers.add(number, *watermark, Age::default(), earlier.clone());
    if !answers.returned().is_empty() || answers.replied.len() < protocol.config.paxos.f_plus_1() {
        note(ghost, moment::BYPASS);
    }
}

fn observe_send<V: Data, F: Faults<Mutant>>(
    ghost: Now<'_, '_, V>,
    step: &Step<'_, Node<V, F>>,
    msg: &Msg<V>,
) {
    let proposal = match msg {
        Msg::Paxos(Paxos::Phase2a { round, value }) => (*round, Some(value.clone())),
        Msg::Any { round } => (*round, None),
        Msg::Paxos(Paxos::GarbageA { round }) => {
            if !ghost.collected.contains(round) {
                ghost.to_mut().collected.insert(*round);
            }
            return;
        }
        Msg::Paxos(Paxos::Phase1b { round, .. }) => {
            if let State::Acceptor(after) = step.after
                && after.kept.round < *round
            {
                note(ghost, moment::PROMISES_BIND);
            }
            return;
        }
        _ => return,
    };
    if !ghost.proposed.contains(&proposal) {
        ghost.to_mut().proposed.insert(proposal);
    }
}
