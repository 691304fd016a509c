//! The proxy leader: broadcasts a proposal, counts votes, tells the replicas. It forgets a slot when it is chosen, and
//! everything when it restarts; what is lost with it is recovered.

use super::config::Role;
use super::mutant::{Mutant, Rules};
use super::node::{Part, Turn};
use super::{Msg, Timer};
use crate::command::{Value, ValueOf};
use crate::faults::is_enough;
use crate::ids::{Round, Slot};
use crate::mencius::{self, NoopRange};
use crate::state_machine::StateMachine;
use im::OrdMap;
use parthood_quorums::NodeSet;
use stateright::actor::Id;

/// A proxy leader's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProxyState<C: Clone> {
    /// By leader group, the round of all that it works on, if it is not zero. What earlier rounds proposed, the leader of
    /// this one has proposed again, or found that it can never be chosen: it may be forgotten.
    pub rounds: OrdMap<usize, Round>,
    /// What is not known to be chosen, by slot, or by the first slot of a range.
    pub pending: OrdMap<Slot, Pending<C>>,
}

/// A value that is being voted on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pending<C> {
    /// The value.
    pub value: Value<C>,
    /// For noops in a range of slots: the range.
    pub range: Option<NoopRange>,
    /// The acceptors that voted for it in the round.
    pub voted: NodeSet,
}

impl<C: Clone> Default for ProxyState<C> {
    fn default() -> Self {
        Self { rounds: OrdMap::new(), pending: OrdMap::new() }
    }
}

impl<C: Clone> ProxyState<C> {
    /// The round of a leader group that it works on.
    pub fn round(&self, leader_group: usize) -> Round {
        self.rounds.get(&leader_group).copied().unwrap_or_default()
    }
}

impl<F: Rules> Part<F> {
    pub(super) fn proxy_ignores<M: StateMachine>(
        &self,
        state: &ProxyState<M::Command>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let config = &self.config;
        let (role, index) = config.layout.role(src);
        let round_of = |slot: &Slot| state.round(config.leader_group(*slot));
        let ignores_proposal = |round: &Round, slot: &Slot| {
            role != Role::Leader || *round < round_of(slot) && !config.bounds.nack
        };
        let ignores_vote = |round: &Round, slot: &Slot, range: Option<NoopRange>| {
            let any_round = config.breaks(Mutant::MergeRounds);
            role != Role::Acceptor
                || *round != round_of(slot) && !any_round
                || state
                    .pending
                    .get(slot)
                    .is_none_or(|pending| pending.range != range || pending.voted.contains(index))
        };
        match msg {
            Msg::Phase2a { round, slot, .. } => ignores_proposal(round, slot),
            Msg::Phase2aNoops { round, range } => {
                ignores_proposal(round, &range.from) || !config.is_noop_range(*range)
            }
            Msg::Phase2b { round, slot } => ignores_vote(round, slot, None),
            Msg::Phase2bNoops { round, range } => ignores_vote(round, &range.from, Some(*range)),
            Msg::HighWatermark(_) => role != Role::Leader,
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, ProxyState<M::Command>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        match msg {
            Msg::Phase2a { round, slot, value } => self.on_phase2a(src, round, slot, value, None),
            Msg::Phase2aNoops { round, range } => {
                self.on_phase2a(src, round, range.from, Value::Noop, Some(range));
            }
            Msg::Phase2b { slot, .. } | Msg::Phase2bNoops { range: NoopRange { from: slot, .. }, .. } => {
                let (_, acceptor) = self.layout().role(src);
                self.on_phase2b(acceptor, slot);
            }
            Msg::HighWatermark(slot) => self.on_high_watermark(src, slot),
            _ => {}
        }
    }

    fn on_phase2a(
        &mut self,
        leader: Id,
        round: Round,
        slot: Slot,
        value: ValueOf<M>,
        range: Option<NoopRange>,
    ) {
        let (config, group) = (self.config, self.config.leader_group(slot));
        let known = self.state.round(group);
        if round < known {
            let round = known;
            self.send(leader, Msg::Nack { round });
            return;
        }
        let mut voted = NodeSet::EMPTY;
        if round > known {
            if self.breaks(Mutant::MergeRounds) {
                voted = self.state.pending.remove(&slot).map_or(voted, |pending| pending.voted);
            } else {
                let of_others = |slot: &Slot| config.leader_group(*slot) != group;
                let pending = std::mem::take(&mut self.state.pending);
                self.state.pending = pending.into_iter().filter(|(slot, _)| of_others(slot)).collect();
            }
            self.state.rounds.insert(group, round);
        }
        let limit = usize::try_from(config.limits.window_slots).unwrap_or(usize::MAX);
        if self.state.pending.contains_key(&slot) || self.state.pending.len() >= limit {
            return;
        }
        if self.state.pending.is_empty() {
            self.set_timer(Timer::Resend);
        }
        let pending = Pending { value, range, voted };
        let decided = config.slots_decided_as_one(slot, range);
        let writers = decided.fold(NodeSet::EMPTY, |set, slot| set.union(config.writers(slot, round)));
        self.propose(writers, slot, &pending);
        self.state.pending.insert(slot, pending);
    }

    fn propose(&mut self, acceptors: NodeSet, slot: Slot, pending: &Pending<M::Command>) {
        let (round, layout) = (self.state.round(self.config.leader_group(slot)), self.layout());
        for acceptor in acceptors.iter() {
            let msg = match pending.range {
                Some(range) => Msg::Phase2aNoops { round, range },
                None => Msg::Phase2a { round, slot, value: pending.value.clone() },
            };
            self.send(layout.id(Role::Acceptor, acceptor), msg);
        }
    }

    fn on_phase2b(&mut self, acceptor: usize, slot: Slot) {
        let one_short = self.breaks(Mutant::WriteQuorumShort);
        let any_group = self.breaks_mencius(mencius::Mutant::RangeChosenByOneGroup);
        let config = self.config;
        let Some(pending) = self.state.pending.get_mut(&slot) else { return };
        pending.voted.insert(acceptor);
        let decided = config.slots_decided_as_one(slot, pending.range);
        let enough = is_enough(pending.voted, config.layout.acceptors, one_short, |set| {
            let (mut decided, is_chosen) =
                (decided.clone(), |slot| config.group(slot).system.is_write_quorum(set));
            if any_group { decided.any(is_chosen) } else { decided.all(is_chosen) }
        });
        if let Some(pending) = enough.then(|| self.state.pending.remove(&slot)).flatten() {
            let chosen = match pending.range {
                Some(range) => Msg::ChosenNoops(range),
                None => Msg::Chosen { from: slot, values: vec![pending.value] },
            };
            self.send_to_all(Role::Replica, None, &chosen);
            if self.state.pending.is_empty() {
                self.cancel_timer(Timer::Resend);
            }
        }
    }

    /// Proposes again to all acceptors of the groups what was not answered.
    pub(super) fn on_resend_timeout(&mut self) {
        let limit = if self.breaks(Mutant::ProposeOnce) { 0 } else { self.config.limits.resend_slots };
        for (slot, pending) in self.state.pending.clone().iter().take(limit) {
            let decided = self.config.slots_decided_as_one(*slot, pending.range);
            let nodes = decided.map(|slot| self.config.group(slot).system.nodes());
            let everybody = nodes.fold(NodeSet::EMPTY, NodeSet::union);
            self.propose(everybody.difference(pending.voted), *slot, pending);
        }
        if !self.state.pending.is_empty() {
            self.set_timer(Timer::Resend);
        }
    }
}
