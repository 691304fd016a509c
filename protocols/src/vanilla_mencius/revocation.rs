//! Revocation: phase 1 for slots of a server that is waited for.

use super::server::Turn;
use super::{Config, Msg, Mutant, Timer};
use crate::command::Value;
use crate::faults::Faults;
use crate::ids::{Round, Slot};
use crate::log::Vote;
use crate::state_machine::StateMachine;
use im::OrdMap;
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};
use stateright::actor::Id;
use std::fmt;

/// Slots of one server: of those it owns, the ones in a range. The first may belong to it or not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stretch {
    /// The first slot; its owner is whose slots are meant.
    pub from: Slot,
    /// The first slot that is too high.
    pub below: Slot,
}

impl fmt::Debug for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}..{:?}", self.from, self.below)
    }
}

impl Stretch {
    /// The slots.
    pub fn iter<F: Faults<Mutant>>(self, config: &Config<F>) -> impl Iterator<Item = Slot> + use<F> {
        config.slots_of(config.owner(self.from)).range(self.from, self.below)
    }

    /// Are these no more than servers revoke at once?
    pub(super) fn is_sound<F: Faults<Mutant>>(self, config: &Config<F>) -> bool {
        self.iter(config).take(config.revoke_slots + 1).count() <= config.revoke_slots
    }
}

/// What a server knows of a slot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Known<C> {
    /// This is chosen.
    Chosen(Value<C>),
    /// It voted.
    Voted(Vote<C>),
}

/// A revocation, until phase 1 is over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revocation<C: Clone> {
    /// Its round.
    pub round: Round,
    /// The slots.
    pub slots: Stretch,
    /// Who has promised.
    pub promised: NodeSet,
    /// The most that is known of a slot: what is chosen, or the vote of the highest round.
    pub known: OrdMap<Slot, Known<C>>,
}

impl<C: Clone> Revocation<C> {
    fn add(&mut self, slot: Slot, known: Known<C>) {
        let better = match (self.known.get(&slot), &known) {
            (None, _) | (Some(Known::Voted(_)), Known::Chosen(_)) => true,
            (Some(Known::Voted(old)), Known::Voted(new)) => new.vote_round > old.vote_round,
            (Some(Known::Chosen(_)), _) => false,
        };
        if better {
            self.known.insert(slot, known);
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// May it revoke this slot? Not one of its own, unless somebody else has begun to.
    pub(super) fn may_revoke(&self, slot: Slot) -> bool {
        let begun = self.state.promises.contains_key(&slot);
        (!self.slots().contains(slot) || begun)
            && !self.breaks(Mutant::NoRevocation)
            && self.next_round() <= self.config.round_max
    }

    fn next_round(&self) -> Round {
        self.state.round.next_owned_by(self.index, self.config.servers)
    }

    /// Has waited for a slot for too long: runs phase 1 for it and those of its owner's that follow.
    pub(super) fn on_revoke_timeout(&mut self) {
        self.state.waits = false;
        let Some(from) = self.state.missing().filter(|slot| self.may_revoke(*slot)) else { return };
        let round = self.next_round();
        let owner = self.config.slots_of(self.config.owner(from));
        let mut below = from;
        for _ in 0..self.config.revoke_slots {
            below = owner.after(below);
        }
        // Behind the last of them, not before the next.
        let slots = Stretch { from, below: below.minus(self.config.servers as u64).next() };
        let revocation = Revocation { round, slots, promised: NodeSet::EMPTY, known: OrdMap::new() };
        self.state.revocation = Some(revocation);
        self.state.round = round;
        self.save();
        self.send_to_others(&Msg::Phase1a { round, slots });
        self.set_timer(Timer::Resend);
        if let Some(known) = self.promise(round, slots) {
            self.on_phase1b(self.index, round, slots, known);
        }
    }

    /// Asks again those that have not promised.
    pub(super) fn ask_again(&mut self) {
        let Some(Revocation { round, slots, promised, .. }) = self.state.revocation.clone() else { return };
        for server in (0..self.config.servers).filter(|server| !promised.contains(*server)) {
            self.out.send(Id::from(server), Msg::Phase1a { round, slots });
        }
    }

    pub(super) fn on_phase1a(&mut self, src: Id, round: Round, slots: Stretch) {
        if let Some(known) = self.promise(round, slots) {
            self.out.send(src, Msg::Phase1b { round, slots, known });
        }
    }

    /// Promises, unless it has promised a higher round for one of the slots, and says what it knows of them. If they are its
    /// own, it skips what it has not proposed in.
    fn promise(&mut self, round: Round, slots: Stretch) -> Option<Vec<(Slot, Known<M::Command>)>> {
        let higher = |slot: Slot| self.state.promises.get(&slot).is_some_and(|promised| *promised > round);
        if slots.iter(self.config).any(higher) {
            return None;
        }
        if self.slots().contains(slots.from) {
            let last = slots.iter(self.config).last()?;
            self.skip_below(last.next(), round);
        }
        self.state.round = self.state.round.max(round);
        let mut known = vec![];
        for slot in slots.iter(self.config) {
            if let Some(value) = self.state.replica.log.get(&slot) {
                known.push((slot, Known::Chosen(value.clone())));
                continue;
            }
            self.state.promises.insert(slot, round);
            if let Some(vote) = self.state.votes.get(&slot) {
                known.push((slot, Known::Voted(vote.clone())));
            }
        }
        self.save();
        Some(known)
    }

    /// Counts promises; with a majority of them, proposes what they demand.
    pub(super) fn on_phase1b(
        &mut self,
        server: usize,
        round: Round,
        slots: Stretch,
        known: Vec<(Slot, Known<M::Command>)>,
    ) {
        let config = self.config;
        let revocation = self.state.revocation.as_mut();
        let Some(revocation) =
            revocation.filter(|revocation| (revocation.round, revocation.slots) == (round, slots))
        else {
            return;
        };
        revocation.promised.insert(server);
        let asked_for = |slot: &Slot| slots.iter(config).any(|other| other == *slot);
        for (slot, known) in known.into_iter().filter(|(slot, _)| asked_for(slot)) {
            revocation.add(slot, known);
        }
        if config.is_majority(revocation.promised)
            && let Some(revocation) = self.state.revocation.take()
        {
            for slot in slots.iter(config) {
                self.settle(round, slot, revocation.known.get(&slot).cloned());
            }
        }
    }

    /// What is chosen in a slot is told to all; what was voted for is proposed; everything else becomes a noop.
    fn settle(&mut self, round: Round, slot: Slot, known: Option<Known<M::Command>>) {
        let promised = self.state.promises.get(&slot).copied().unwrap_or_default();
        let over = self.breaks(Mutant::NoopOverVotes);
        match known {
            Some(Known::Chosen(value)) => {
                self.send_to_others(&Msg::Chosen { slot, value: value.clone() });
                self.choose(slot, value);
            }
            _ if self.state.knows(slot) || promised > round => {}
            Some(Known::Voted(vote)) if !over => self.propose(round, slot, vote.vote_value),
            _ => {
                let own = self.state.proposals.values().find(|proposal| proposal.round == Round::ZERO);
                let command = own.map(|proposal| proposal.value.clone());
                let command = command.filter(|_| self.breaks(Mutant::RevokeWithCommand));
                self.propose(round, slot, command.unwrap_or(Value::Noop));
            }
        }
    }
}
