//! The acceptor in a server: promises, votes, and reports of votes by pages.

use super::recovery::Report;
use super::server::Turn;
use super::{Msg, Mutant};
use crate::command::{Value, ValueOf, value_bytes};
use crate::faults::Faults;
use crate::ids::{Round, Slot};
use crate::state_machine::StateMachine;
use im::OrdMap;
use serde::{Deserialize, Serialize};
use stateright::actor::Id;

/// What the acceptor in a server knows, all of which is saved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AcceptorState<C: Clone> {
    /// It ignores smaller rounds.
    pub round: Round,
    /// Its last vote for each slot that its snapshot does not cover.
    pub votes: OrdMap<Slot, Vote<C>>,
    /// The largest slot it ever voted for.
    pub vote_watermark: Option<Slot>,
    /// Whether it may promise and vote at all. A server that lost its disk may not: it has forgotten its promises.
    pub voting: bool,
}

/// A vote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vote<C> {
    /// The round it was cast in.
    pub vote_round: Round,
    /// The value it was cast for.
    pub vote_value: Value<C>,
}

/// A vote and its slot, as reported in phase 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VotedSlot<C> {
    /// The slot.
    pub slot: Slot,
    /// The acceptor's last vote for it.
    pub vote: Vote<C>,
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// Promises, and reports a page of votes.
    pub(super) fn on_phase1a(&mut self, leader: Id, round: Round, from: Slot) {
        if round < self.state.acceptor.round {
            self.nack(leader);
            return;
        }
        if !self.breaks(Mutant::NoPromise) {
            self.raise_round(round);
        }
        self.await_leader();
        let report = self.report(from);
        self.send(leader, Msg::Phase1b { round, from, report });
    }

    /// Votes, and learns what the leader says is chosen.
    pub(super) fn on_phase2a(
        &mut self,
        leader: Id,
        round: Round,
        slot: Slot,
        value: ValueOf<M>,
        chosen_below: Slot,
    ) {
        if round < self.state.acceptor.round && !self.breaks(Mutant::AcceptLowerRound) {
            self.nack(leader);
            return;
        }
        self.raise_round(round);
        self.vote(round, slot, value);
        self.send(leader, Msg::Phase2b { round, slot });
        self.learn(round, chosen_below);
    }

    /// Records a vote. A slot below the snapshot is chosen, with this very value: nothing is left to remember.
    pub(super) fn vote(&mut self, vote_round: Round, slot: Slot, vote_value: ValueOf<M>) {
        let truncated = self.state.replica.snapshot.slot;
        let acceptor = &mut self.state.acceptor;
        let voted = acceptor.votes.get(&slot).is_some_and(|vote| vote.vote_round == vote_round);
        if slot < truncated || voted {
            return;
        }
        acceptor.votes.insert(slot, Vote { vote_round, vote_value });
        acceptor.vote_watermark = acceptor.vote_watermark.max(Some(slot));
        self.save();
    }

    /// Raises the promise, which ends this server's own leadership of a smaller round.
    pub(super) fn raise_round(&mut self, round: Round) {
        if round > self.state.acceptor.round {
            self.state.acceptor.round = round;
            self.save();
            self.step_down();
        }
    }

    /// The votes from a slot on, as far as they fit a page.
    pub(super) fn report(&self, from: Slot) -> Report<M::Command> {
        let limits = &self.server.config.limits;
        let mut rest = self.state.acceptor.votes.range(from..).peekable();
        let (mut votes, mut bytes) = (vec![], 0);
        while let Some((_, vote)) = rest.peek() {
            bytes += 16 + value_bytes::<M>(&vote.vote_value);
            if votes.len() == limits.page_slots || (bytes > limits.page_bytes && !votes.is_empty()) {
                break;
            }
            votes.extend(rest.next().map(|(slot, vote)| VotedSlot { slot: *slot, vote: vote.clone() }));
        }
        let next = rest.peek().map(|(slot, _)| **slot);
        Report { votes, next, chosen_below: self.state.replica.snapshot.slot }
    }

    /// Drops the votes that the snapshot covers.
    pub(super) fn truncate_votes(&mut self) {
        let mut end = self.state.replica.snapshot.slot;
        if self.breaks(Mutant::TruncateOneTooMany) {
            end = end.next();
        }
        let votes = &mut self.state.acceptor.votes;
        while votes.get_min().is_some_and(|(slot, _)| *slot < end) {
            *votes = votes.without_min().1;
        }
    }

    pub(super) fn nack(&mut self, leader: Id) {
        if self.server.config.bounds.nack {
            let round = self.state.acceptor.round;
            self.send(leader, Msg::Nack { round });
        }
    }
}
