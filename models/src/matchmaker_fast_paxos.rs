//! What is claimed of [`parthood_protocols::matchmaker_fast_paxos`], and the configurations in which it is checked.
//!
//! The ghost keeps the votes ever cast, what was proposed, and for which rounds proposers have collected. What is claimed of
//! matchmakers is claimed, and broken, in [`crate::matchmaker_paxos`]: they are the same code.
//!
//! # Reductions
//! *Symmetry*: matchmakers; acceptors that no set of acceptors tells apart. *Collection*: what its receiver has outgrown, as
//! in [`crate::matchmaker_paxos`], and votes that a client or proposer has counted. *Eager*: telling a client that never asks
//! again; and confirming that something is retired. What clients send to acceptors is never eager: who comes first is the
//! point.

mod ghost;
mod params;
mod properties;

pub use ghost::Ghost;
pub use params::{ClientParams, Params, ProposerParams};

use crate::{Budget, Class, Hashed, Parts, Property, Protocol, Step, index};
use parthood_protocols::faults::{Faults, Mutated};
use parthood_protocols::matchmaker_fast_paxos::{
    Config, FastAcceptor, FastClient, FastClientState, FastPhase, FastProposer, FastState, Msg, Mutant, Node,
    State, Timer, Votes,
};
use parthood_protocols::matchmaker_paxos::{Garbage, Matchmaker, Msg as Paxos, Role, State as ServerState};
use parthood_protocols::matchmaking::MatchmakerState;
use parthood_protocols::state_machine::Data;
use parthood_quorums::NodeSet;
use stateright::actor::Id;
use std::borrow::Cow;
use std::sync::Arc;

/// What is to be chosen in models.
pub type Value = u8;

/// Matchmaker Fast Paxos in one configuration.
#[derive(Clone, Debug)]
pub struct MatchmakerFastPaxos<V: Data = Value, F: Faults<Mutant> = Mutated<Mutant>> {
    config: Arc<Config<F>>,
    proposers: Vec<FastProposer<F>>,
    /// The clients, as far as they are part of the configuration.
    clients: Vec<FastClient<V, F>>,
    /// The values that clients, and not outsiders, ask for.
    asked: Vec<V>,
    /// Acceptors that no set of acceptors tells apart.
    alike: Vec<Vec<usize>>,
    answers: bool,
    /// May a restart undo steps that nobody has heard of, as where a save takes its time?
    undone_steps: bool,
    properties: fn() -> Vec<Property<Self>>,
}

impl<V: Data, F: Faults<Mutant>> MatchmakerFastPaxos<V, F> {
    /// The protocol as it is deployed: with any values, and clients that nobody knows beforehand.
    pub fn deployed(config: Arc<Config<F>>, proposers: Vec<FastProposer<F>>) -> Self {
        Self {
            config,
            proposers,
            clients: vec![],
            asked: vec![],
            alike: vec![],
            answers: false,
            undone_steps: true,
            properties: properties::of_any_run,
        }
    }

    fn role_of(&self, id: Id) -> Option<Role> {
        self.config.paxos.role(id)
    }

    /// The number of a client among them.
    fn beyond(&self, id: Id) -> Option<usize> {
        index(id).checked_sub(self.config.paxos.servers())
    }

    fn dead_to_matchmaker(&self, state: &MatchmakerState, msg: &Paxos<V>) -> bool {
        let Paxos::MatchA { round, .. } = msg else { return false };
        let too_late = state.log.get_max().is_some_and(|(largest, _)| largest > round);
        !self.config.paxos.nack && (too_late || *round < state.watermark)
    }

    fn split_set(&self, what: &str, set: NodeSet, role: fn(usize) -> Role, parts: &mut Parts<'_>) {
        for number in set.iter() {
            parts.about(self.config.paxos.id(role(number)), what);
        }
    }

    fn split_votes(&self, votes: &Votes<V>, parts: &mut Parts<'_>) {
        for (value, voters) in &votes.0 {
            for number in voters.iter() {
                parts.about(self.config.paxos.id(Role::Acceptor(number)), &("voted", value));
            }
        }
    }

    fn split_proposer(&self, proposer: &FastState<V>, parts: &mut Parts<'_>) {
        let FastState { used, heard, clients, attempts, phase, garbage } = proposer;
        parts.rest(&(used, heard, clients, attempts));
        match phase {
            FastPhase::Matching { answers, spared } => {
                parts.rest(&("matching", answers.watermark, &answers.earlier, spared));
                self.split_set("replied", answers.replied, Role::Matchmaker, parts);
            }
            FastPhase::Phase1 { earlier, promised, best } => {
                parts.rest(&("phase 1", earlier, best));
                self.split_set("promised", *promised, Role::Acceptor, parts);
            }
            FastPhase::Phase2 { value, votes } => {
                parts.rest(&("phase 2", value));
                self.split_votes(votes, parts);
            }
            other @ (FastPhase::Idle | FastPhase::Done(_)) => parts.rest(other),
        }
        if let Garbage::Asked(confirmed) = garbage {
            parts.rest("asked");
            self.split_set("confirmed", *confirmed, Role::Matchmaker, parts);
        } else {
            parts.rest(garbage);
        }
    }
}

impl<V: Data, F: Faults<Mutant>> Protocol for MatchmakerFastPaxos<V, F> {
    type Actor = Node<V, F>;
    type Ghost = Ghost<V>;

    fn actors(&self) -> Vec<Self::Actor> {
        let config = || self.config.clone();
        let matchmaker = |_| Node::Matchmaker(Matchmaker { config: self.config.paxos.clone() });
        let acceptor = |_| Node::Acceptor(FastAcceptor { config: config() });
        let proposers = self.proposers.iter().cloned().map(Node::Proposer);
        let matchmakers = (0..self.config.paxos.matchmakers).map(matchmaker);
        let acceptors = (0..self.config.paxos.acceptors).map(acceptor);
        let clients = self.clients.iter().cloned().map(Node::Client);
        proposers.chain(matchmakers).chain(acceptors).chain(clients).collect()
    }

    fn ghost(&self) -> Ghost<V> {
        Ghost::default()
    }

    fn observe(&self, ghost: &mut Cow<'_, Ghost<V>>, step: &Step<'_, Self::Actor>) {
        ghost::observe(self, ghost, step);
    }

    fn properties(&self) -> Vec<Property<Self>> {
        (self.properties)()
    }

    fn dead(&self, _: Id, state: &State<V>, src: Id, msg: &Msg<V>) -> bool {
        match (state, msg) {
            (
                State::Acceptor(acceptor),
                Msg::Paxos(Paxos::Phase1a { round } | Paxos::Phase2a { round, .. }) | Msg::Any { round },
            ) => !self.config.paxos.nack && *round < acceptor.kept.round,
            (State::Matchmaker(ServerState::Matchmaker(matchmaker)), Msg::Paxos(msg)) => {
                self.dead_to_matchmaker(matchmaker, msg)
            }
            (State::Proposer(proposer), msg) => dead_to_proposer(proposer, self.role_of(src), msg),
            (State::Client(client), msg) => dead_to_client(client, self.role_of(src), msg),
            _ => false,
        }
    }

    fn eager(&self, _: Id, dst: Id, msg: &Msg<V>) -> bool {
        let client = self.beyond(dst).and_then(|client| self.clients.get(client));
        match msg {
            Msg::Paxos(Paxos::Chosen(_)) => client.is_some_and(|client| client.asks.retries_max == 0),
            Msg::Paxos(Paxos::GarbageB { .. }) => true,
            _ => false,
        }
    }

    /// A client that restarts is another client.
    fn may_restart(&self, id: Id) -> bool {
        self.role_of(id).is_some()
    }

    /// Proposers share one budget; a client's is its own.
    fn budget(&self, _: Id, timer: &Timer) -> Budget {
        match timer {
            Timer::Resend => Budget::Shared(0),
            Timer::Retry => Budget::Unlimited,
        }
    }

    fn classes(&self) -> Vec<Class> {
        let id = |role: Role| vec![self.config.paxos.id(role)];
        let alike = |numbers: &Vec<usize>| numbers.iter().map(|number| id(Role::Acceptor(*number))).collect();
        let mut classes: Vec<Class> = self.alike.iter().map(alike).collect();
        classes.push((0..self.config.paxos.matchmakers).map(|number| id(Role::Matchmaker(number))).collect());
        classes
    }

    fn split_state(&self, _: Id, state: &Hashed<State<V>>, parts: &mut Parts<'_>) {
        match &**state {
            State::Proposer(proposer) => self.split_proposer(proposer, parts),
            State::Client(FastClientState { asks, round, votes }) => {
                parts.rest(&(asks, round));
                self.split_votes(votes, parts);
            }
            State::Matchmaker(_) | State::Acceptor(_) => parts.own(state),
        }
    }

    fn split_ghost(&self, ghost: &Hashed<Ghost<V>>, parts: &mut Parts<'_>) {
        let Ghost { proposed, cast, collected, moments } = &**ghost;
        parts.rest(&(proposed, collected, moments));
        for (vote, voters) in cast {
            for number in voters.iter() {
                parts.about(self.config.paxos.id(Role::Acceptor(number)), vote);
            }
        }
    }

    fn name(&self, id: Id) -> String {
        match (self.role_of(id), self.beyond(id)) {
            (Some(Role::Proposer(number)), _) => format!("proposer {number}"),
            (Some(Role::Matchmaker(number)), _) => format!("matchmaker {number}"),
            (Some(Role::Acceptor(number) | Role::Replica(number)), _) => format!("acceptor {number}"),
            (None, number) => format!("client {}", number.unwrap_or_default()),
        }
    }

    fn role(&self, id: Id) -> &'static str {
        match self.role_of(id) {
            Some(Role::Proposer(_)) => "proposer",
            Some(Role::Matchmaker(_)) => "matchmaker",
            Some(Role::Acceptor(_) | Role::Replica(_)) => "acceptor",
            None => "client",
        }
    }
}

/// Is the message dead to a proposer? After a restart it still knows which rounds it has used.
fn dead_to_proposer<V: Data>(state: &FastState<V>, src: Option<Role>, msg: &Msg<V>) -> bool {
    let Some(used) = state.used else { return false };
    let passed = |round, phase_over: bool| round < used || round == used && phase_over;
    let matching = matches!(state.phase, FastPhase::Matching { .. });
    let phase1 = matches!(state.phase, FastPhase::Phase1 { .. });
    match (msg, &state.phase, src) {
        (Msg::Paxos(Paxos::MatchB { round, .. }), ..) => passed(*round, !matching),
        (Msg::Phase2b { round, value }, FastPhase::Phase2 { votes, .. }, Some(Role::Acceptor(from))) => {
            let counted = votes.0.get(value).is_some_and(|voters| voters.contains(from));
            passed(*round, counted)
        }
        (Msg::Paxos(Paxos::Phase1b { round, .. }) | Msg::Phase2b { round, .. }, ..) => {
            passed(*round, !(matching || phase1))
        }
        (Msg::Paxos(Paxos::GarbageB { watermark }), ..) => passed(*watermark, state.garbage == Garbage::Done),
        (Msg::Paxos(Paxos::Nack { round }), ..) => *round <= used,
        _ => false,
    }
}

/// Is the message dead to a client? In models it asks for one thing only.
fn dead_to_client<V: Data>(state: &FastClientState<V>, src: Option<Role>, msg: &Msg<V>) -> bool {
    let is_told = state.asks.chosen.is_some();
    match (msg, src) {
        (Msg::Phase2b { round, value }, Some(Role::Acceptor(from))) => {
            let counted = || state.votes.0.get(value).is_some_and(|voters| voters.contains(from));
            is_told || *round < state.round || *round == state.round && counted()
        }
        (Msg::Paxos(Paxos::Chosen(_)), _) => is_told,
        _ => false,
    }
}
