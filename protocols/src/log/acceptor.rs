//! An acceptor apart from replicas: promises and votes for the rounds of a log, and drops votes that replicas have saved.

use super::{AcceptorState, PageLimits, Report, VotesDelta};
use crate::command::{Value, ValueOf};
use crate::durable::Mismatch;
use crate::ids::{Round, Slot};
use crate::state_machine::StateMachine;
use serde::{Deserialize, Serialize};

/// What such an acceptor knows, all of which it saves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AcceptorNode<C: Clone, R = Round> {
    /// Promise and votes.
    pub acceptor: AcceptorState<C, R>,
    /// All slots below are chosen, enough replicas have saved what they amount to, and their votes are dropped.
    pub persisted: Slot,
}

/// Why a vote is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale<R> {
    /// The slot is chosen and stored already, as all below this one. That says nothing of what is chosen, or in which round,
    /// so it is no vote.
    Slot(Slot),
    /// It has promised this round, which is larger.
    Round(R),
}

impl<C: Clone, R: Copy + Ord + Default> AcceptorNode<C, R> {
    /// An acceptor that has promised and voted nothing.
    pub(crate) fn new() -> Self {
        Self { acceptor: AcceptorState::new(true), persisted: Slot::ZERO }
    }

    /// Raises its promise; true if that is new.
    pub(crate) fn promise(&mut self, round: R) -> bool {
        let is_new = round > self.acceptor.round;
        self.acceptor.round = self.acceptor.round.max(round);
        is_new
    }

    /// Votes; true if that is new. `any_round` breaks the rule that its round is not below the promise.
    pub(crate) fn vote<M: StateMachine<Command = C>>(
        &mut self,
        round: R,
        slot: Slot,
        value: ValueOf<M>,
        any_round: bool,
    ) -> Result<bool, Stale<R>> {
        if slot < self.persisted {
            return Err(Stale::Slot(self.persisted));
        }
        if round < self.acceptor.round && !any_round {
            return Err(Stale::Round(self.acceptor.round));
        }
        let promises = self.promise(round);
        Ok(self.acceptor.vote(round, slot, value, self.persisted) || promises)
    }

    /// Has it voted for another value in this very round?
    pub(crate) fn has_voted_otherwise(&self, round: R, slot: Slot, value: &Value<C>) -> bool
    where
        C: PartialEq,
    {
        let vote = self.acceptor.votes.get(&slot);
        vote.is_some_and(|vote| vote.vote_round == round && vote.vote_value != *value)
    }

    /// The votes from a slot on, as far as they fit a page.
    pub(crate) fn report<M: StateMachine<Command = C>>(
        &self,
        from: Slot,
        limits: PageLimits,
    ) -> Report<C, R> {
        self.acceptor.report::<M>(from, self.persisted, limits)
    }

    /// Notes what is stored, and drops the votes below; true if that is new.
    pub(crate) fn persist(&mut self, below: Slot) -> bool {
        let is_new = below > self.persisted;
        if is_new {
            self.persisted = below;
            self.acceptor.truncate(below);
        }
        is_new
    }
}

/// What changed between two saves of such an acceptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptorDelta<C, R = Round> {
    votes: VotesDelta<C, R>,
    persisted: Slot,
}

impl<C: Clone + PartialEq, R: Copy + Ord + Default> AcceptorNode<C, R> {
    pub(crate) fn delta(&self, before: Option<&Self>) -> AcceptorDelta<C, R> {
        let nothing = Self::new();
        let before = before.unwrap_or(&nothing);
        AcceptorDelta { votes: self.acceptor.delta(&before.acceptor), persisted: self.persisted }
    }

    pub(crate) fn patched(before: Option<Self>, delta: AcceptorDelta<C, R>) -> Result<Self, Mismatch> {
        let mut node = before.unwrap_or_else(Self::new);
        node.acceptor.patch(delta.votes, delta.persisted)?;
        node.persisted = delta.persisted;
        Ok(node)
    }
}
