//! The acceptor: promises, votes, and tells readers how far it has voted.

use super::Msg;
use super::config::Role;
use super::mutant::{Mutant, Rules};
use super::node::{Part, Turn};
use super::pre_read::Tag;
use super::storage::Storage;
use crate::command::ValueOf;
use crate::ids::{Round, Slot};
use crate::log::AcceptorState;
use crate::state_machine::StateMachine;
use im::OrdMap;
use stateright::actor::Id;

/// An acceptor's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AcceptorNode<C: Clone> {
    /// Promise and votes; saved.
    pub acceptor: AcceptorState<C>,
    /// All slots below are chosen, saved by enough replicas, and their votes dropped; saved.
    pub truncated: Slot,
    /// How far each replica has saved what the log amounts to. Not saved: replicas tell again.
    pub saves: OrdMap<usize, Slot>,
}

impl<F: Rules> Part<F> {
    pub(super) fn start_acceptor<M: StateMachine>(
        &self,
        storage: Option<&Storage<M>>,
    ) -> AcceptorNode<M::Command> {
        let (acceptor, truncated) = match storage {
            Some(Storage::Acceptor { acceptor, truncated }) => (acceptor.clone(), *truncated),
            _ => (AcceptorState::new(!self.lost_storage), Slot::ZERO),
        };
        AcceptorNode { acceptor, truncated, saves: OrdMap::new() }
    }

    pub(super) fn acceptor_ignores<M: StateMachine>(
        &self,
        state: &AcceptorNode<M::Command>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let config = &self.config;
        let (role, index) = config.layout.role(src);
        let answers = config.bounds.nack || config.breaks(Mutant::AcceptLowerRound);
        let is_over = |round: Round| round < state.acceptor.round && !answers;
        let voting = state.acceptor.voting;
        match msg {
            Msg::Phase1a { round, .. } => !voting || role != Role::Leader || is_over(*round),
            Msg::Phase2a { round, .. } => !voting || role != Role::ProxyLeader || is_over(*round),
            Msg::Phase2aNoops { round, range } => {
                !voting || role != Role::ProxyLeader || is_over(*round) || !config.is_noop_range(*range)
            }
            Msg::PreRead(_) => !voting || !matches!(role, Role::Client | Role::ReadBatcher),
            Msg::Saved(slot) => {
                role != Role::Replica || state.saves.get(&index).is_some_and(|known| known >= slot)
            }
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, AcceptorNode<M::Command>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        match msg {
            Msg::Phase1a { round, from } => self.on_phase1a(src, round, from),
            Msg::Phase2a { round, slot, value } => self.on_phase2a(src, round, slot, value),
            Msg::Phase2aNoops { round, range } => self.on_noops(src, round, range),
            Msg::PreRead(tag) => self.on_pre_read(src, tag),
            Msg::Saved(slot) => {
                let (_, replica) = self.layout().role(src);
                self.on_saved(replica, slot);
            }
            _ => {}
        }
    }

    pub(crate) fn save(&mut self) {
        if !self.breaks(Mutant::NoSave) {
            let (acceptor, truncated) = (self.state.acceptor.clone(), self.state.truncated);
            self.out.save(Storage::Acceptor { acceptor, truncated });
        }
    }

    /// Promises, and reports a page of votes.
    fn on_phase1a(&mut self, leader: Id, round: Round, from: Slot) {
        if round < self.state.acceptor.round {
            let (_, leader) = self.layout().role(leader);
            self.nack(self.config.group_of_leader(leader), round);
            return;
        }
        if !self.breaks(Mutant::NoPromise) {
            self.raise_round(round);
        }
        let limits = self.config.limits.page();
        let report = self.state.acceptor.report::<M>(from, self.state.truncated, limits);
        self.send(leader, Msg::Phase1b { round, from, report });
    }

    /// Votes. A slot so far beyond the truncated ones that there is no room for it is left to be proposed again.
    fn on_phase2a(&mut self, proxy: Id, round: Round, slot: Slot, value: ValueOf<M>) {
        if !self.may_vote(self.config.leader_group(slot), round, slot) {
            return;
        }
        let truncated = self.state.truncated;
        if self.state.acceptor.vote(round, slot, value, truncated) {
            self.save();
        }
        self.send(proxy, Msg::Phase2b { round, slot });
    }

    /// May it vote, up to a slot, in a round of a leader group? It does not go back to that group's smaller rounds then.
    pub(crate) fn may_vote(&mut self, leader_group: usize, round: Round, last: Slot) -> bool {
        if round < self.state.acceptor.round && !self.config.breaks(Mutant::AcceptLowerRound) {
            self.nack(leader_group, round);
            return false;
        }
        if last >= self.state.truncated.plus(self.config.limits.votes) {
            return false;
        }
        if !self.breaks(Mutant::VoteWithoutPromise) {
            self.raise_round(round);
        }
        true
    }

    /// Tells the leader of a round that is over; it may still propose in it, while the proxy leader has nothing to learn.
    fn nack(&mut self, leader_group: usize, round: Round) {
        if self.config.bounds.nack {
            let leader = self.config.leader_of(leader_group, round);
            let round = self.state.acceptor.round;
            self.send(leader, Msg::Nack { round });
        }
    }

    fn raise_round(&mut self, round: Round) {
        if round > self.state.acceptor.round {
            self.state.acceptor.round = round;
            if self.breaks(Mutant::WatermarkResetByRound) {
                self.state.acceptor.vote_watermark = None;
            }
            self.save();
        }
    }

    fn on_pre_read(&mut self, reader: Id, tag: Tag) {
        let voted_below = self.state.acceptor.vote_watermark.map_or(Slot::ZERO, Slot::next);
        let too_low = u64::from(self.breaks(Mutant::AckOneSlotLess));
        self.send(reader, Msg::PreReadAck { tag, voted_below: voted_below.minus(too_low) });
    }

    /// Drops the votes that enough replicas have saved the outcome of. The watermark stays.
    fn on_saved(&mut self, replica: usize, slot: Slot) {
        let needed = self.config.saves_needed.max(1);
        let AcceptorNode { acceptor, truncated, saves } = self.state;
        saves.insert(replica, slot);
        let mut slots: Vec<Slot> = saves.values().copied().collect();
        slots.sort_unstable();
        let Some(end) = slots.len().checked_sub(needed).map(|at| slots[at]) else { return };
        if end <= *truncated {
            return;
        }
        *truncated = end;
        let one_too_many = self.config.breaks(Mutant::TruncateOneTooMany);
        acceptor.truncate(if one_too_many { end.next() } else { end });
        if self.config.breaks(Mutant::WatermarkFromVotes) {
            acceptor.vote_watermark = acceptor.votes.get_max().map(|(slot, _)| *slot);
        }
        self.save();
    }
}
