//! What an acceptor remembers of a log: its promise and its votes.

use super::{PageLimits, Report};
use crate::command::{Value, ValueOf, value_bytes};
use crate::durable::{Change, Mismatch, map_changes, patch_map};
use crate::ids::{Round, Slot};
use crate::state_machine::StateMachine;
use im::OrdMap;
use serde::{Deserialize, Serialize};

/// What an acceptor knows, all of which is saved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AcceptorState<C: Clone, R = Round> {
    /// It ignores smaller rounds.
    pub round: R,
    /// Its last vote for each slot that was not truncated.
    pub votes: OrdMap<Slot, Vote<C, R>>,
    /// The largest slot it ever voted for. No new round, truncation or restart lowers it.
    pub vote_watermark: Option<Slot>,
    /// Whether it may promise and vote at all. One that lost its disk may not: it has forgotten its promises.
    pub voting: bool,
}

/// A vote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vote<C, R = Round> {
    /// The round it was cast in.
    pub vote_round: R,
    /// The value it was cast for.
    pub vote_value: Value<C>,
}

/// A vote and its slot, as reported in phase 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VotedSlot<C, R = Round> {
    /// The slot.
    pub slot: Slot,
    /// The acceptor's last vote for it.
    pub vote: Vote<C, R>,
}

impl<C: Clone, R: Default> Default for AcceptorState<C, R> {
    fn default() -> Self {
        Self { round: R::default(), votes: OrdMap::new(), vote_watermark: None, voting: true }
    }
}

impl<C: Clone, R: Clone> AcceptorState<C, R> {
    /// Drops the votes for slots below `end`; the watermark stays.
    pub(crate) fn truncate(&mut self, end: Slot) {
        while self.votes.get_min().is_some_and(|(slot, _)| *slot < end) {
            self.votes = self.votes.without_min().1;
        }
    }
}

impl<C: Clone, R: Copy + Ord + Default> AcceptorState<C, R> {
    /// An acceptor that has promised and voted nothing.
    pub(crate) fn new(voting: bool) -> Self {
        Self { voting, ..Self::default() }
    }

    /// Records a vote; false if nothing is new. A slot below `truncated` is chosen, with this very value: nothing is left
    /// to remember of it.
    pub(crate) fn vote(&mut self, vote_round: R, slot: Slot, vote_value: Value<C>, truncated: Slot) -> bool {
        let voted = self.votes.get(&slot).is_some_and(|vote| vote.vote_round == vote_round);
        if slot < truncated || voted {
            return false;
        }
        self.votes.insert(slot, Vote { vote_round, vote_value });
        self.vote_watermark = self.vote_watermark.max(Some(slot));
        true
    }

    /// The votes from a slot on, as far as they fit a page. `chosen_below` is where votes were truncated.
    pub(crate) fn report<M: StateMachine<Command = C>>(
        &self,
        from: Slot,
        chosen_below: Slot,
        limits: PageLimits,
    ) -> Report<C, R> {
        let mut rest = self.votes.range(from..).peekable();
        let (mut votes, mut bytes) = (vec![], 0);
        while let Some((_, vote)) = rest.peek() {
            let value: &ValueOf<M> = &vote.vote_value;
            bytes += 16 + value_bytes::<M>(value);
            if votes.len() == limits.slots || (bytes > limits.bytes && !votes.is_empty()) {
                break;
            }
            votes.extend(rest.next().map(|(slot, vote)| VotedSlot { slot: *slot, vote: vote.clone() }));
        }
        let next = rest.peek().map(|(slot, _)| **slot);
        Report { votes, next, chosen_below }
    }
}

/// What changed between two saves of an acceptor, apart from votes that were truncated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VotesDelta<C, R = Round> {
    round: R,
    voting: bool,
    vote_watermark: Option<Slot>,
    votes: Vec<(Slot, Vote<C, R>)>,
}

impl<C: Clone + PartialEq, R: Copy + Ord> AcceptorState<C, R> {
    pub(crate) fn delta(&self, before: &Self) -> VotesDelta<C, R> {
        let votes = map_changes(&before.votes, &self.votes).into_iter().filter_map(|change| match change {
            Change::Put(slot, vote) => Some((slot, vote)),
            Change::Remove(_) => None,
        });
        VotesDelta {
            round: self.round,
            voting: self.voting,
            vote_watermark: self.vote_watermark,
            votes: votes.collect(),
        }
    }

    /// Applies a difference; `truncated` is where votes end after it.
    pub(crate) fn patch(&mut self, delta: VotesDelta<C, R>, truncated: Slot) -> Result<(), Mismatch> {
        if delta.round < self.round || delta.vote_watermark < self.vote_watermark {
            return Err(Mismatch);
        }
        self.round = delta.round;
        self.voting = delta.voting;
        self.vote_watermark = delta.vote_watermark;
        self.truncate(truncated);
        let votes = delta.votes.into_iter().map(|(slot, vote)| Change::Put(slot, vote));
        patch_map(&mut self.votes, votes.collect());
        Ok(())
    }
}
