//! The acceptor: promises, votes, and tells readers how far it has voted.

use super::Msg;
use super::config::Role;
use super::mutant::Mutant;
use super::node::{Part, Turn};
use super::pre_read::Tag;
use super::storage::Storage;
use crate::command::ValueOf;
use crate::faults::Faults;
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

impl<F: Faults<Mutant>> Part<F> {
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
            Msg::PreRead(_) => !voting || !matches!(role, Role::Client | Role::ReadBatcher),
            Msg::Saved(slot) => {
                role != Role::Replica || state.saves.get(&index).is_some_and(|known| known >= slot)
            }
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, AcceptorNode<M::Command>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        match msg {
            Msg::Phase1a { round, from } => self.on_phase1a(src, round, from),
            Msg::Phase2a { round, slot, value } => self.on_phase2a(src, round, slot, value),
            Msg::PreRead(tag) => self.on_pre_read(src, tag),
            Msg::Saved(slot) => {
                let (_, replica) = self.layout().role(src);
                self.on_saved(replica, slot);
            }
            _ => {}
        }
    }

    fn save(&mut self) {
        if !self.breaks(Mutant::NoSave) {
            let (acceptor, truncated) = (self.state.acceptor.clone(), self.state.truncated);
            self.out.save(Storage::Acceptor { acceptor, truncated });
        }
    }

    /// Promises, and reports a page of votes.
    fn on_phase1a(&mut self, leader: Id, round: Round, from: Slot) {
        if round < self.state.acceptor.round {
            self.nack(round);
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
        let AcceptorNode { acceptor, truncated, .. } = self.state;
        if round < acceptor.round && !self.config.breaks(Mutant::AcceptLowerRound) {
            self.nack(round);
            return;
        }
        if slot >= truncated.plus(self.config.limits.votes) {
            return;
        }
        let truncated = *truncated;
        self.raise_round(round);
        if self.state.acceptor.vote(round, slot, value, truncated) {
            self.save();
        }
        self.send(proxy, Msg::Phase2b { round, slot });
    }

    /// Tells the leader of a round that is over; it may still propose in it, while the proxy leader has nothing to learn.
    fn nack(&mut self, round: Round) {
        if self.config.bounds.nack {
            let leader = self.config.leader_of(round);
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
