//! Noops for many slots at once: what a range is, and how proxy leaders, acceptors and replicas handle one.
//!
//! A range names slots of all leader groups and means those that one of them numbers: in `4..13` the second of three groups
//! skips 4, 7 and 10. Where the group has several acceptor groups, each votes for the slots that it decides, and the range is
//! chosen when every one of them has delivered a write quorum.

use super::Mutant;
use crate::command::Value;
use crate::compartmentalized::{AcceptorNode, Config, Msg, ProxyState, ReplicaNode, Rules, Turn};
use crate::ids::{Round, Slot};
use crate::state_machine::StateMachine;
use serde::{Deserialize, Serialize};
use stateright::actor::Id;
use std::fmt;

/// Slots that a leader group skips: of those it numbers, the ones in a range. The first is one of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NoopRange {
    /// The first slot.
    pub from: Slot,
    /// The first slot that is too high.
    pub below: Slot,
}

impl fmt::Debug for NoopRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}..{:?}", self.from, self.below)
    }
}

impl<F: Rules> Config<F> {
    /// The slots that a range means.
    pub(crate) fn slots_in(&self, range: NoopRange) -> impl Iterator<Item = Slot> + Clone + use<F> {
        self.slots_of(self.leader_group(range.from)).range(range.from, range.below)
    }

    /// Does the range mean a slot, and no more than leaders put into one?
    pub(crate) fn is_noop_range(&self, range: NoopRange) -> bool {
        let count = self.slots_in(range).take(self.limits.page_slots + 1).count();
        (1..=self.limits.page_slots).contains(&count)
    }

    /// For each acceptor group that decides them, one of the slots that are proposed together: a single one, or a range.
    pub(crate) fn slots_decided_as_one(
        &self,
        slot: Slot,
        range: Option<NoopRange>,
    ) -> impl Iterator<Item = Slot> + Clone + use<F> {
        let range = range.unwrap_or(NoopRange { from: slot, below: slot.next() });
        self.slots_in(range).take(self.groups.len() / self.leader_groups)
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, ProxyState<M::Command>, M, F> {
    /// Passes on to the leaders of all other groups how far one is.
    pub(crate) fn on_high_watermark(&mut self, leader: Id, slot: Slot) {
        let (_, leader) = self.layout().role(leader);
        let group = self.config.group_of_leader(leader);
        for other in (0..self.config.leader_groups).filter(|other| *other != group) {
            self.send_to_leaders(other, None, &Msg::HighWatermark(slot));
        }
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, AcceptorNode<M::Command>, M, F> {
    /// Votes for noops in the slots of a range that this acceptor's group decides. A read may ask it later how far it voted,
    /// so these count as any other votes do.
    pub(crate) fn on_noops(&mut self, proxy: Id, round: Round, range: NoopRange) {
        let config = self.config;
        if !self.may_vote(config.leader_group(range.from), round, range.below.minus(1)) {
            return;
        }
        let (truncated, watermark) = (self.state.truncated, self.state.acceptor.vote_watermark);
        let mut is_new = false;
        for slot in config.slots_in(range) {
            if config.group(slot).system.nodes().contains(self.index) {
                is_new |= self.state.acceptor.vote(round, slot, Value::Noop, truncated);
            }
        }
        if self.breaks_mencius(Mutant::RangeKeepsWatermark) {
            self.state.acceptor.vote_watermark = watermark;
        }
        if is_new {
            self.save();
        }
        self.send(proxy, Msg::Phase2bNoops { round, range });
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, ReplicaNode<M>, M, F> {
    /// Learns that noops are chosen. Some of the slots may be known already.
    pub(crate) fn on_chosen_noops(&mut self, range: NoopRange) {
        let replica = &mut self.state.replica;
        for slot in self.config.slots_in(range) {
            if slot < replica.executed || replica.log.contains_key(&slot) {
                if self.config.breaks_mencius(Mutant::RangeEndsAtKnownSlot) {
                    return;
                }
            } else {
                replica.log.insert(slot, Value::Noop);
            }
        }
        let mut replies = vec![];
        self.execute(&mut replies);
        self.reply(replies);
    }
}
