//! History that the properties need: proposals ever made, votes ever cast, and promises that were taken back.

use super::Value;
use crate::Step;
use parthood_protocols::faults::Mutated;
use parthood_protocols::ids::Round;
use parthood_protocols::paxos::{Msg, Mutant, Node, State};
use parthood_quorums::NodeSet;
use stateright::actor::Command;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// What was ever proposed in each round.
    pub(super) proposed: BTreeSet<(Round, Value)>,
    /// Who ever voted for what.
    pub(super) cast: BTreeMap<(Round, Value), NodeSet>,
    /// Did an acceptor's promise ever decrease?
    pub(super) went_back: bool,
}

impl Ghost {
    /// Notes a step; `acceptor` is the number of the one that made it, if it is one.
    pub(super) fn observe(
        ghost: &mut Cow<'_, Self>,
        acceptor: Option<usize>,
        step: &Step<'_, Node<Value, Mutated<Mutant>>>,
    ) {
        for command in step.out {
            if let Command::Send(_, Msg::Phase2a { round, value }) = command
                && !ghost.proposed.contains(&(*round, *value))
            {
                ghost.to_mut().proposed.insert((*round, *value));
            }
        }
        let (Some(State::Acceptor(before)), State::Acceptor(after), Some(acceptor)) =
            (step.before, step.after, acceptor)
        else {
            return;
        };
        if after.round < before.round {
            ghost.to_mut().went_back = true;
        }
        if let Some(vote) = after.vote.as_ref().filter(|vote| before.vote.as_ref() != Some(vote)) {
            let key = (vote.vote_round, vote.vote_value);
            if !ghost.cast.get(&key).is_some_and(|voters| voters.contains(acceptor)) {
                ghost.to_mut().cast.entry(key).or_default().insert(acceptor);
            }
        }
    }
}
