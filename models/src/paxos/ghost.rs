//! History that the properties need: proposals ever made, votes ever cast, and promises that were taken back.

use super::{Paxos, Value};
use crate::one_value::take_back;
use crate::{Cause, Step};
use parthood_protocols::faults::Faults;
use parthood_protocols::ids::Round;
use parthood_protocols::paxos::{AcceptorState, Msg, Mutant, Node, ProposerState, State};
use parthood_protocols::state_machine::Data;
use parthood_quorums::NodeSet;
use stateright::actor::Command;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What happened so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ghost<V = Value> {
    /// What was ever proposed in each round.
    pub(super) proposed: BTreeSet<(Round, V)>,
    /// Who ever voted for what.
    pub(super) cast: BTreeMap<(Round, V), NodeSet>,
    /// Did an acceptor's promise ever decrease?
    pub(super) went_back: bool,
}

impl<V> Default for Ghost<V> {
    fn default() -> Self {
        Self { proposed: BTreeSet::new(), cast: BTreeMap::new(), went_back: false }
    }
}

pub(super) fn observe<V: Data, F: Faults<Mutant>>(
    protocol: &Paxos<V, F>,
    ghost: &mut Cow<'_, Ghost<V>>,
    step: &Step<'_, Node<V, F>>,
) {
    let undone = protocol.undone_steps && matches!(step.cause, Cause::Start(_));
    match (step.before, step.after) {
        (before, State::Acceptor(after)) => {
            let before = before.and_then(|before| match before {
                State::Acceptor(before) => Some(before),
                State::Proposer(_) | State::Client(_) => None,
            });
            let Some(acceptor) = protocol.config.acceptor_index(step.id) else { return };
            observe_acceptor(ghost, acceptor, before, after, undone);
        }
        (Some(State::Proposer(_)), State::Proposer(after)) if undone => {
            forget_unsent(ghost, after, |round| protocol.owns(step.id, round));
        }
        _ => {}
    }
    for command in step.out {
        if let Command::Send(_, Msg::Phase2a { round, value }) = command
            && !ghost.proposed.iter().any(|(other, proposed)| other == round && proposed == value)
        {
            ghost.to_mut().proposed.insert((*round, value.clone()));
        }
    }
}

/// Notes a vote. After a restart that may have undone steps, what they voted for was never told, and is no vote.
fn observe_acceptor<V: Data>(
    ghost: &mut Cow<'_, Ghost<V>>,
    acceptor: usize,
    before: Option<&AcceptorState<V>>,
    after: &AcceptorState<V>,
    undone: bool,
) {
    let old = before.and_then(|before| before.vote.as_ref());
    if old == after.vote.as_ref() && before.is_none_or(|before| before.round <= after.round) {
        return;
    }
    if undone {
        if let Some(old) = old {
            let vote = (old.vote_round, old.vote_value.clone());
            take_back(&mut ghost.to_mut().cast, acceptor, &vote);
        }
    } else if before.is_some_and(|before| after.round < before.round) {
        ghost.to_mut().went_back = true;
    }
    if let Some(vote) = &after.vote {
        let key = (vote.vote_round, vote.vote_value.clone());
        if !ghost.cast.get(&key).is_some_and(|voters| voters.contains(acceptor)) {
            ghost.to_mut().cast.entry(key).or_default().insert(acceptor);
        }
    }
}

/// A round that the restarted proposer does not remember to have used was never heard of by anybody.
fn forget_unsent<V: Data>(
    ghost: &mut Cow<'_, Ghost<V>>,
    after: &ProposerState<V>,
    owns: impl Fn(Round) -> bool,
) {
    let unsent = |round: Round| owns(round) && Some(round) > after.used;
    if ghost.proposed.iter().any(|(round, _)| unsent(*round)) {
        ghost.to_mut().proposed.retain(|(round, _)| !unsent(*round));
    }
}
