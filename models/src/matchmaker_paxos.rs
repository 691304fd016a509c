//! What is claimed of [`parthood_protocols::matchmaker_paxos`], and the configurations in which it is checked.
//!
//! The ghost keeps the votes ever cast, what was proposed, which rounds were free, and what matchmakers have answered and
//! retired. Some properties speak of a moment (was garbage collection justified when it was asked for?): the ghost judges
//! them when it sees the step, by rules of its own and not by what the proposer believes.
//!
//! # Reductions
//! *Symmetry*: matchmakers; replicas; acceptors that no configuration tells apart. *Collection*: what its receiver has
//! outgrown, as in [`crate::paxos`]: announcements that a matchmaker refuses, stale questions where nobody says so, answers
//! for a phase or round that the proposer has left. A restart brings none of it back. *Eager*: telling a client that never
//! asks again; and confirming that something is retired, upon which the proposer only ceases to send again. Where a row says
//! `asked_at_once`, clients' questions too: that is no reduction but a bound, all clients have asked before anything else.
//!
//! Trusted: this file and its parts. Whoever doubts a verdict should read them first.

#[cfg(test)]
mod facts;
mod ghost;
mod params;
mod properties;
#[cfg(test)]
mod tests;
mod words;

pub use ghost::Ghost;
pub(crate) use params::alike;
pub use params::{ClientParams, ConfigurationParams, Params, ProposerParams};

use crate::{Budget, Class, Hashed, Parts, Property, Protocol, Step, index};
use parthood_protocols::decree::DecreeClient;
use parthood_protocols::faults::{Faults, Mutated};
use parthood_protocols::matchmaker_paxos::{
    Acceptor, Config, Garbage, Matchmaker, Msg, Mutant, Node, Operator, Phase, Proposer, ProposerState,
    Replica, Role, State, Timer,
};
use parthood_protocols::matchmaking::{Configuration, MatchmakerState, Round};
use parthood_protocols::state_machine::Data;
use parthood_quorums::NodeSet;
use stateright::actor::Id;
use std::borrow::Cow;
use std::sync::Arc;

/// What is to be chosen in models.
pub type Value = u8;

/// Single-decree Matchmaker Paxos in one configuration.
#[derive(Clone, Debug)]
pub struct MatchmakerPaxos<V: Data = Value, F: Faults<Mutant> = Mutated<Mutant>> {
    config: Arc<Config<F>>,
    proposers: Vec<Proposer<F>>,
    /// The clients, as far as they are part of the configuration.
    clients: Vec<DecreeClient<V>>,
    /// The proposers that an operator asks to reconfigure.
    operators: Vec<Operator>,
    /// The values that clients, and not outsiders, ask for.
    asked: Vec<V>,
    /// Acceptors that no configuration tells apart.
    alike: Vec<Vec<usize>>,
    answers: bool,
    /// Have all clients asked before anything else happens?
    asked_at_once: bool,
    /// May a restart undo steps that nobody has heard of, as where a save takes its time?
    undone_steps: bool,
    properties: fn() -> Vec<Property<Self>>,
}

impl<V: Data, F: Faults<Mutant>> MatchmakerPaxos<V, F> {
    /// The protocol as it is deployed: with any values, and clients that nobody knows beforehand.
    pub fn deployed(config: Arc<Config<F>>, proposers: Vec<Proposer<F>>) -> Self {
        Self {
            config,
            proposers,
            clients: vec![],
            operators: vec![],
            asked: vec![],
            alike: vec![],
            answers: false,
            asked_at_once: false,
            undone_steps: true,
            properties: properties::of_any_run,
        }
    }

    /// The configuration of a round; none if no proposer owns it.
    fn configuration(&self, round: Round) -> Option<&Configuration> {
        let owner = self.proposers.get(usize::try_from(round.proposer).ok()?)?;
        Some(owner.configuration(round))
    }

    /// Is the message dead to this proposer? After a restart it still knows which rounds it has used.
    fn dead_to_proposer(
        &self,
        number: usize,
        state: &ProposerState<V>,
        role: Option<Role>,
        msg: &Msg<V>,
    ) -> bool {
        let Some(used) = state.used else { return false };
        let passed = |round: &Round, phase_over: bool| *round < used || *round == used && phase_over;
        let matching = matches!(state.phase, Phase::Matching { .. });
        let phase1 = matches!(state.phase, Phase::Phase1 { .. });
        let phase2 = matches!(state.phase, Phase::Phase2 { .. } | Phase::Free);
        match msg {
            Msg::MatchB { round, .. } => {
                let replied = matches!((&state.phase, role), (Phase::Matching { answers, .. }, Some(Role::Matchmaker(from)))
                    if answers.replied.contains(from));
                passed(round, !matching || replied)
            }
            Msg::Phase1b { round, .. } => passed(round, !(matching || phase1)),
            Msg::Phase2b { round, .. } => passed(round, !(matching || phase1 || phase2)),
            Msg::PersistedAck { round } => passed(round, matches!(state.phase, Phase::Done(_) | Phase::Idle)),
            Msg::GarbageB { watermark } => passed(watermark, state.garbage == Garbage::Done),
            Msg::Nack { round } => *round <= used,
            Msg::Reconfigure => {
                let next = Round::next_owned_by(number, state.heard);
                next.age() >= self.proposers[number].rounds_max && Some(used) == state.heard
            }
            _ => false,
        }
    }

    fn dead_to_matchmaker(&self, state: &MatchmakerState, msg: &Msg<V>) -> bool {
        let Msg::MatchA { round, configuration } = msg else { return false };
        let too_late = state
            .log
            .get_max()
            .is_some_and(|(largest, noted)| largest > round || largest == round && noted != configuration);
        !self.config.nack && (too_late || *round < state.watermark)
    }

    fn split_set(&self, what: &str, set: NodeSet, role: fn(usize) -> Role, parts: &mut Parts<'_>) {
        for number in set.iter() {
            parts.about(self.config.id(role(number)), what);
        }
    }

    /// The number of a client or operator among them.
    fn beyond(&self, id: Id) -> Option<usize> {
        index(id).checked_sub(self.config.servers())
    }
}

impl<V: Data, F: Faults<Mutant>> Protocol for MatchmakerPaxos<V, F> {
    type Actor = Node<V, F>;
    type Ghost = Ghost<V>;

    fn actors(&self) -> Vec<Self::Actor> {
        let config = || self.config.clone();
        let proposers = self.proposers.iter().cloned().map(Node::Proposer);
        let matchmakers =
            (0..self.config.matchmakers).map(|_| Node::Matchmaker(Matchmaker { config: config() }));
        let acceptors = (0..self.config.acceptors).map(|_| Node::Acceptor(Acceptor { config: config() }));
        let replicas = (0..self.config.replicas).map(|_| Node::Replica(Replica { config: config() }));
        let clients = self.clients.iter().cloned().map(Node::Client);
        let operators = self.operators.iter().copied().map(Node::Operator);
        proposers
            .chain(matchmakers)
            .chain(acceptors)
            .chain(replicas)
            .chain(clients)
            .chain(operators)
            .collect()
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

    fn dead(&self, dst: Id, state: &State<V>, src: Id, msg: &Msg<V>) -> bool {
        match (state, msg) {
            (State::Acceptor(acceptor), Msg::Phase1a { round } | Msg::Phase2a { round, .. }) => {
                !self.config.nack && *round < acceptor.round
            }
            (State::Matchmaker(matchmaker), msg) => self.dead_to_matchmaker(matchmaker, msg),
            (State::Proposer(proposer), msg) => {
                self.dead_to_proposer(index(dst), proposer, self.config.role(src), msg)
            }
            (State::Client(client), Msg::Chosen(_)) => client.chosen.is_some(),
            _ => false,
        }
    }

    fn eager(&self, _: Id, dst: Id, msg: &Msg<V>) -> bool {
        let client = self.beyond(dst).and_then(|client| self.clients.get(client));
        match msg {
            Msg::Chosen(_) => client.is_some_and(|client| client.retries_max == 0),
            Msg::GarbageB { .. } => true,
            Msg::Propose(_) => self.asked_at_once,
            _ => false,
        }
    }

    /// A client that restarts is another client.
    fn may_restart(&self, id: Id) -> bool {
        self.config.role(id).is_some()
    }

    /// Proposers share one budget; a client's is its own.
    fn budget(&self, _: Id, timer: &Timer) -> Budget {
        match timer {
            Timer::Resend => Budget::Shared(0),
            Timer::Retry => Budget::Unlimited,
        }
    }

    fn classes(&self) -> Vec<Class> {
        let class = |count: usize, role: fn(usize) -> Role| -> Class {
            (0..count).map(|number| vec![self.config.id(role(number))]).collect()
        };
        let alike = |numbers: &Vec<usize>| {
            numbers.iter().map(|number| vec![self.config.id(Role::Acceptor(*number))]).collect()
        };
        let mut classes: Vec<Class> = self.alike.iter().map(alike).collect();
        classes.push(class(self.config.matchmakers, Role::Matchmaker));
        if self.config.replicas > 0 {
            classes.push(class(self.config.replicas, Role::Replica));
        }
        classes
    }

    fn split_state(&self, _: Id, state: &Hashed<State<V>>, parts: &mut Parts<'_>) {
        let State::Proposer(proposer) = &**state else { return parts.own(state) };
        let ProposerState { used, heard, clients, attempts, phase, garbage } = proposer;
        parts.rest(&(used, heard, clients, attempts));
        match phase {
            Phase::Matching { answers, carried } => {
                parts.rest(&("matching", answers.watermark, &answers.earlier, carried));
                self.split_set("replied", answers.replied, Role::Matchmaker, parts);
            }
            Phase::Phase1 { earlier, promised, best } => {
                parts.rest(&("phase 1", earlier, best));
                self.split_set("promised", *promised, Role::Acceptor, parts);
            }
            Phase::Phase2 { value, voted } => {
                parts.rest(&("phase 2", value));
                self.split_set("voted", *voted, Role::Acceptor, parts);
            }
            Phase::Storing { value, stored } => {
                parts.rest(&("storing", value));
                self.split_set("stored", *stored, Role::Replica, parts);
            }
            Phase::Persisting { value, noted } => {
                parts.rest(&("persisting", value));
                self.split_set("noted", *noted, Role::Acceptor, parts);
            }
            other @ (Phase::Idle | Phase::Free | Phase::Fetching | Phase::Done(_)) => parts.rest(other),
        }
        if let Garbage::Asked(confirmed) = garbage {
            parts.rest("asked");
            self.split_set("confirmed", *confirmed, Role::Matchmaker, parts);
        } else {
            parts.rest(garbage);
        }
    }

    fn split_ghost(&self, ghost: &Hashed<Ghost<V>>, parts: &mut Parts<'_>) {
        ghost::split(self, ghost, parts);
    }

    fn name(&self, id: Id) -> String {
        match (self.config.role(id), self.beyond(id)) {
            (Some(Role::Proposer(number)), _) => format!("proposer {number}"),
            (Some(Role::Matchmaker(number)), _) => format!("matchmaker {number}"),
            (Some(Role::Acceptor(number)), _) => format!("acceptor {number}"),
            (Some(Role::Replica(number)), _) => format!("replica {number}"),
            (None, Some(number)) if number < self.clients.len() => format!("client {number}"),
            (None, number) => {
                format!("operator {}", number.unwrap_or_default().saturating_sub(self.clients.len()))
            }
        }
    }

    fn role(&self, id: Id) -> &'static str {
        match (self.config.role(id), self.beyond(id)) {
            (Some(Role::Proposer(_)), _) => "proposer",
            (Some(Role::Matchmaker(_)), _) => "matchmaker",
            (Some(Role::Acceptor(_)), _) => "acceptor",
            (Some(Role::Replica(_)), _) => "replica",
            (None, Some(number)) if number < self.clients.len() => "client",
            (None, _) => "operator",
        }
    }

    fn describe_state(state: &State<V>) -> String {
        words::state(state)
    }

    fn describe_msg(msg: &Msg<V>) -> String {
        words::msg(msg)
    }
}
