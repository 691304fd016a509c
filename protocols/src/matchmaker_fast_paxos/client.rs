//! The client: sends its value to the acceptors, and counts their votes.
//!
//! It is told by whoever knows first: all acceptors of one round, or a proposer.

use super::{Config, Msg, Mutant, Node, Votes};
use crate::decree::{Decree, DecreeClient, DecreeClientState, Heard};
use crate::faults::Faults;
use crate::matchmaker_paxos::Role;
use crate::matchmaking::Round;
use crate::state_machine::Data;
use stateright::actor::{Id, Out};
use std::sync::Arc;

/// A client, as configured.
#[derive(Clone, Debug)]
pub struct FastClient<V, F> {
    /// What it asks for, which proposers it asks as well, and how often.
    pub asks: DecreeClient<V>,
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

/// A client's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FastClientState<V> {
    /// What it asked for, and was told.
    pub asks: DecreeClientState<V>,
    /// The largest round in which it knows a vote; until it is told.
    pub round: Round,
    /// The votes of that round.
    pub votes: Votes<V>,
}

type Say<'a, V, F> = &'a mut Out<Node<V, F>>;

impl<V: Data, F: Faults<Mutant>> FastClient<V, F> {
    pub(super) fn start(&self, out: Say<'_, V, F>) -> FastClientState<V> {
        let asks = self.asks.start(out);
        let state = FastClientState { asks, round: Round::ZERO, votes: Votes::default() };
        self.ask_acceptors(&state, out);
        state
    }

    pub(super) fn ignores(&self, state: &FastClientState<V>, src: Id, msg: &Msg<V>) -> bool {
        match (msg, self.config.paxos.role(src)) {
            (Msg::Phase2b { round, value }, Some(Role::Acceptor(number))) => {
                let waits = state.asks.asked.is_some() && state.asks.chosen.is_none();
                !waits || *round < state.round || *round == state.round && state.votes.contains(number, value)
            }
            (msg, _) => <Node<V, F> as Decree<V>>::heard(msg)
                .is_none_or(|heard| self.asks.ignores(&state.asks, src, &heard)),
        }
    }

    pub(super) fn on_msg(&self, state: &mut FastClientState<V>, src: Id, msg: Msg<V>, out: Say<'_, V, F>) {
        if let Msg::Phase2b { round, value } = msg {
            let Some(Role::Acceptor(number)) = self.config.paxos.role(src) else { return };
            self.on_vote(state, number, round, value, out);
        } else if let Some(heard) = <Node<V, F> as Decree<V>>::heard(&msg) {
            self.hear(state, &heard, out);
        }
    }

    fn hear(&self, state: &mut FastClientState<V>, heard: &Heard<'_, V>, out: Say<'_, V, F>) {
        (state.round, state.votes) = (Round::ZERO, Votes::default());
        self.asks.hear(&mut state.asks, heard, out);
        if let Heard::Invoke(_) = heard {
            self.ask_acceptors(state, out);
        }
    }

    /// Counts a vote of the largest round that it has heard of; smaller ones it forgets.
    fn on_vote(
        &self,
        state: &mut FastClientState<V>,
        acceptor: usize,
        round: Round,
        value: V,
        out: Say<'_, V, F>,
    ) {
        if round > state.round {
            (state.round, state.votes) = (round, Votes::default());
        }
        state.votes.add(acceptor, value);
        let without_one = self.config.breaks(Mutant::ChosenWithoutOne);
        let chosen = state.votes.chosen(self.config.acceptors(round), without_one).cloned();
        if let Some(value) = chosen {
            self.hear(state, &Heard::Chosen(&value), out);
        }
    }

    /// Will it do nothing when its time is up?
    pub(super) fn rests(&self, state: &FastClientState<V>) -> bool {
        self.asks.rests(&state.asks)
    }

    /// Asks the next proposer, and the acceptors again.
    pub(super) fn on_retry(&self, state: &mut FastClientState<V>, out: Say<'_, V, F>) {
        self.asks.on_retry(&mut state.asks, out);
        self.ask_acceptors(state, out);
    }

    fn ask_acceptors(&self, state: &FastClientState<V>, out: Say<'_, V, F>) {
        if let Some(value) = &state.asks.asked {
            for number in 0..self.config.paxos.acceptors {
                let acceptor = self.config.paxos.id(Role::Acceptor(number));
                out.send(acceptor, <Node<V, F> as Decree<V>>::propose(value.clone()));
            }
        }
    }
}
