//! What is claimed of [`parthood_protocols::matchmaker_multipaxos`], and the configurations in which it is checked.
//!
//! In the checker the state machine is an append log. The ghost keeps the votes ever cast, what was proposed, which
//! configuration was announced for which round, and what matchmakers have answered and confirmed; "chosen" is a fact about
//! votes and announced configurations, and not what somebody believes. Some properties speak of a moment: the ghost judges
//! them when it sees the step.
//!
//! Of what is claimed of epochs, "each epoch has one set" (I13) and "who serves knows what was matched before" (I14) are
//! properties here, of storms and recorded runs as well. That who answers is in an epoch which is chosen (I17), and what is voted on
//! who follows, is checked in [`crate::matchmaker_epochs`], whose ghost keeps those votes.
//!
//! # Reductions
//! *Symmetry*: matchmakers; acceptors that no configuration tells apart. *Collection*: what its receiver has outgrown, as in
//! [`crate::matchmaker_paxos`]. *Eager*: confirming that something is retired, where no operator waits for that.
//!
//! Trusted: this file and its parts. Whoever doubts a verdict should read them first.

mod ghost;
mod params;
mod properties;

pub use ghost::Ghost;
pub use params::{FileParams, OperatorParams, Params};

use crate::{Budget, Class, Hashed, Parts, Property, Protocol, Step, index};
use parthood_protocols::client::{Client, ClientMsg};
use parthood_protocols::faults::{Faults, Mutated};
use parthood_protocols::matchmaker_multipaxos::{
    Acceptor, Announced, Config, Handover, Leading, Matching, Matchmaker, Msg, Mutant, Node, Role, Server,
    ServerState, Stage, State, Timer, Wish,
};
use parthood_protocols::matchmaker_paxos::Garbage;
use parthood_protocols::matchmaking::{Ask, Changing, Round, Said};
use parthood_protocols::operator::Operator;
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use parthood_quorums::NodeSet;
use stateright::actor::Id;
use std::borrow::Cow;
use std::sync::Arc;

/// Matchmaker `MultiPaxos` in one configuration.
#[derive(Clone, Debug)]
pub struct MatchmakerMultipaxos<M: StateMachine = AppendLog, F: Faults<Mutant> = Mutated<Mutant>> {
    config: Arc<Config<F>>,
    /// The clients, as far as they are part of the configuration.
    clients: Vec<Client<M::Command>>,
    operators: Vec<Operator>,
    /// What the servers' cluster files ask for, as far as they ask for anything.
    wishes: Vec<Wish>,
    /// Acceptors that no configuration tells apart.
    alike: Vec<Vec<usize>>,
    /// Matchmakers that are in the same sets.
    matchmakers_alike: Vec<Vec<usize>>,
    answers: bool,
    /// May a restart undo steps that nobody has heard of, as where a save takes its time?
    undone_steps: bool,
    properties: fn() -> Vec<Property<Self>>,
}

impl<M: StateMachine, F: Faults<Mutant>> MatchmakerMultipaxos<M, F> {
    /// The protocol as it is deployed: with any state machine, and clients and operators that nobody knows beforehand.
    pub fn deployed(config: Arc<Config<F>>) -> Self {
        Self {
            config,
            clients: vec![],
            operators: vec![],
            wishes: vec![],
            alike: vec![],
            matchmakers_alike: vec![],
            answers: false,
            undone_steps: true,
            properties: properties::of_any_machine,
        }
    }

    /// What all participants know.
    pub(crate) fn config(&self) -> &Config<F> {
        &self.config
    }

    /// The number of a client or operator among them.
    fn beyond(&self, id: Id) -> Option<usize> {
        index(id).checked_sub(self.config.nodes())
    }

    /// The client with this id, if it is part of the configuration.
    pub(crate) fn client(&self, id: u64) -> Option<&Client<M::Command>> {
        self.clients.get(usize::try_from(id).ok()?.checked_sub(self.config.nodes())?)
    }

    fn split_set(&self, what: &str, set: NodeSet, role: fn(usize) -> Role, parts: &mut Parts<'_>) {
        for number in set.iter() {
            parts.about(self.config.id(role(number)), what);
        }
    }

    fn split_answers(&self, what: &str, answers: &Matching, parts: &mut Parts<'_>) {
        parts.rest(&(what, answers.watermark, answers.collected, &answers.earlier));
        self.split_set(what, answers.replied, Role::Matchmaker, parts);
    }

    fn split_leading(&self, leading: &Leading<M::Command>, parts: &mut Parts<'_>) {
        let acceptor = |number: usize| self.config.id(Role::Acceptor(number));
        let Leading { round, announced, next_slot, free_from, previous, orders, operator, .. } = leading;
        parts.rest(&(round, announced, next_slot, free_from, previous, orders, operator));
        let Leading { stored, persisted, queue, waiting, attempts, .. } = leading;
        parts.rest(&(stored, persisted, queue, waiting, attempts));
        match &leading.stage {
            Stage::Matching(answers) => self.split_answers("matching", answers, parts),
            Stage::Phase1 { earlier, recovery } => {
                parts.rest(&("phase 1", earlier, recovery.from, recovery.asked));
                for (number, report) in &recovery.reports {
                    parts.about(acceptor(*number), &("report", report));
                }
            }
            Stage::Steady => parts.rest("steady"),
        }
        for (slot, proposal) in &leading.outstanding {
            parts.rest(&(slot, &proposal.value));
            for number in proposal.voted.iter() {
                parts.about(acceptor(number), &("voted", slot));
            }
            for number in proposal.voted_before.iter() {
                parts.about(acceptor(number), &("voted before", slot));
            }
        }
        if let Some(call) = &leading.call {
            parts.rest(&("call", call.attempts));
            for number in call.answered.iter() {
                parts.about(acceptor(number), "answers");
            }
        }
        for number in leading.seen[0].iter() {
            parts.about(acceptor(number), "seen");
        }
        for number in leading.seen[1].iter() {
            parts.about(acceptor(number), "seen before");
        }
        if let Some(next) = &leading.next {
            parts.rest(&(next.round, &next.announced, next.by));
            self.split_answers("next", &next.answers, parts);
        }
        for (number, below) in &leading.noted {
            parts.about(acceptor(*number), &("noted", below));
        }
        match leading.garbage {
            Garbage::Asked(confirmed) => {
                parts.rest("asked");
                self.split_set("confirmed", confirmed, Role::Matchmaker, parts);
            }
            idle_or_done => parts.rest(&idle_or_done),
        }
        if let Some(handover) = &leading.handover {
            self.split_handover(handover, parts);
        }
        if let Some(settling) = &leading.settling {
            parts.rest(&("settling", settling.operator, settling.servers, &settling.log));
            parts.rest(&(settling.attempts, settling.is_over));
            self.split_set("serves", settling.matchmakers, Role::Matchmaker, parts);
        }
    }

    fn split_handover(&self, handover: &Handover, parts: &mut Parts<'_>) {
        parts.rest(&("handover", handover.by, handover.wanted, handover.attempts));
        let Some(change) = &handover.change else { return };
        parts.rest(&(change.epoch, change.ballot, change.wanted));
        self.split_set("stopped", change.stopped, Role::Matchmaker, parts);
        match &change.stage {
            Changing::Stopping { merged, vote } => parts.rest(&("stopping", merged, vote)),
            Changing::Bootstrapping { merged, have } => {
                parts.rest(&("bootstrapping", merged));
                self.split_set("have", *have, Role::Matchmaker, parts);
            }
            Changing::Choosing { merged, members, voted } => {
                parts.rest(&("choosing", merged, members));
                self.split_set("voted", *voted, Role::Matchmaker, parts);
            }
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Protocol for MatchmakerMultipaxos<M, F> {
    type Actor = Node<M, F>;
    type Ghost = Ghost<M>;

    fn actors(&self) -> Vec<Self::Actor> {
        let config = || self.config.clone();
        let wish = |index: usize| self.wishes.get(index).cloned().unwrap_or_default();
        let node = |id: usize| match self.config.role(Id::from(id)) {
            Some(Role::Server(index)) => Node::Server(Server { index, wish: wish(index), config: config() }),
            Some(Role::Matchmaker(index)) => Node::Matchmaker(Matchmaker { index, config: config() }),
            Some(Role::Acceptor(_)) | None => Node::Acceptor(Acceptor { config: config() }),
        };
        let clients = self.clients.iter().cloned().map(Node::Client);
        let operators = self.operators.iter().cloned().map(Node::Operator);
        (0..self.config.nodes()).map(node).chain(clients).chain(operators).collect()
    }

    fn ghost(&self) -> Ghost<M> {
        Ghost::default()
    }

    fn observe(&self, ghost: &mut Cow<'_, Ghost<M>>, step: &Step<'_, Self::Actor>) {
        ghost::observe(self, ghost, step);
    }

    fn properties(&self) -> Vec<Property<Self>> {
        (self.properties)()
    }

    fn dead(&self, dst: Id, state: &State<M>, src: Id, msg: &Msg<M>) -> bool {
        let silent = !self.config.bounds.nack;
        match (state, msg) {
            (State::Acceptor(node), Msg::Phase1a { round, .. }) => silent && *round < node.acceptor.round,
            (State::Acceptor(node), Msg::Phase2a { round, slot, .. }) => {
                // Where votes are dropped somebody who is stale may still be told so.
                silent
                    && *round < node.acceptor.round
                    && *slot >= node.persisted
                    && !self.config.bounds.collect
            }
            (State::Matchmaker(node), Msg::Ask(Ask::MatchA { epoch, round, .. })) => {
                // A stopped matchmaker does answer.
                let Some(state) = node.log.as_ref().filter(|_| self.matchmakers_stay()) else { return false };
                let larger = state.log.get_max().is_some_and(|(largest, _)| largest > round);
                silent && *epoch == node.newest && (larger || *round < state.watermark)
            }
            (State::Server(server), msg) => self.dead_to_server(server, src, msg),
            (State::Client(client), Msg::Client(msg)) => match self.client(index(dst) as u64) {
                Some(config) => matches!(msg, ClientMsg::Reply { .. }) && config.ignores(client, dst, msg),
                None => false,
            },
            _ => false,
        }
    }

    fn eager(&self, _: Id, _: Id, msg: &Msg<M>) -> bool {
        matches!(msg, Msg::Said(Said::GarbageB { .. })) && self.operators.is_empty()
    }

    /// A client or operator that restarts is another one.
    fn may_restart(&self, id: Id) -> bool {
        self.config.role(id).is_some()
    }

    /// Timers of one kind share a budget, in this order: election, ping, resend, catch-up, retry, ask. A leader proposes as often
    /// as there is something to propose.
    fn budget(&self, _: Id, timer: &Timer) -> Budget {
        match timer {
            Timer::Election => Budget::Shared(0),
            Timer::Ping => Budget::Shared(1),
            Timer::Resend => Budget::Shared(2),
            Timer::CatchUp => Budget::Shared(3),
            Timer::Retry(_) => Budget::Shared(4),
            Timer::Ask => Budget::Shared(5),
            Timer::Propose => Budget::Unlimited,
        }
    }

    fn classes(&self) -> Vec<Class> {
        let id = |role: Role| vec![self.config.id(role)];
        let alike = |numbers: &Vec<usize>| numbers.iter().map(|number| id(Role::Acceptor(*number))).collect();
        let mut classes: Vec<Class> = self.alike.iter().map(alike).collect();
        let alike =
            |numbers: &Vec<usize>| numbers.iter().map(|number| id(Role::Matchmaker(*number))).collect();
        classes.extend(self.matchmakers_alike.iter().map(alike));
        classes
    }

    fn split_state(&self, _: Id, state: &Hashed<State<M>>, parts: &mut Parts<'_>) {
        let State::Server(server) = &**state else { return parts.own(state) };
        let ServerState { used, heard, known, epoch, ballot, store_below, leading, replica } = &**server;
        parts.rest(&(used, heard, known, epoch, ballot, store_below, replica));
        match leading {
            Some(leading) => self.split_leading(leading, parts),
            None => parts.rest("follows"),
        }
    }

    fn split_ghost(&self, ghost: &Hashed<Ghost<M>>, parts: &mut Parts<'_>) {
        ghost::split(self, ghost, parts);
    }

    fn name(&self, id: Id) -> String {
        match (self.config.role(id), self.beyond(id)) {
            (Some(Role::Server(number)), _) => format!("server {number}"),
            (Some(Role::Matchmaker(number)), _) => format!("matchmaker {number}"),
            (Some(Role::Acceptor(number)), _) => format!("acceptor {number}"),
            (None, Some(number)) if number < self.clients.len() => format!("client {number}"),
            (None, number) => {
                format!("operator {}", number.unwrap_or_default().saturating_sub(self.clients.len()))
            }
        }
    }

    fn role(&self, id: Id) -> &'static str {
        match (self.config.role(id), self.beyond(id)) {
            (Some(Role::Server(_)), _) => "server",
            (Some(Role::Matchmaker(_)), _) => "matchmaker",
            (Some(Role::Acceptor(_)), _) => "acceptor",
            (None, Some(number)) if number < self.clients.len() => "client",
            (None, _) => "operator",
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> MatchmakerMultipaxos<M, F> {
    /// Will a server ignore this message for ever? A round that it has left it never uses again, restarts included.
    fn dead_to_server(&self, server: &ServerState<M>, src: Id, msg: &Msg<M>) -> bool {
        let Some(used) = server.used else { return false };
        let leading = server.leading.as_ref();
        // The rounds whose answers it may still wait for: none below the last one that it has used, but for the present
        // and previous one of a leader that is about to go on.
        let first = leading.map_or(used, |leading| {
            leading.previous.as_ref().map_or(leading.round, |(previous, _)| *previous)
        });
        match msg {
            Msg::Said(said) => self.dead_answer(server, leading, used, src, said),
            Msg::Phase1b { round, .. } => {
                *round < used || *round == used && leading.is_none_or(Leading::is_steady)
            }
            Msg::Phase2b { round, .. } => *round < first || leading.is_none() && *round <= used,
            Msg::Nack { round } => Some(*round) <= server.heard,
            Msg::Chosen { from, values } => from.plus(values.len() as u64) <= server.replica.executed,
            Msg::SnapshotPart(part) => part.slot <= server.replica.executed,
            _ => false,
        }
    }

    /// Does every matchmaker serve for ever?
    fn matchmakers_stay(&self) -> bool {
        self.config.matchmakers == self.config.serving
    }

    /// Will a server ignore this answer of a matchmaker for ever?
    fn dead_answer(
        &self,
        server: &ServerState<M>,
        leading: Option<&Leading<M::Command>>,
        used: Round,
        src: Id,
        said: &Said<Announced>,
    ) -> bool {
        match said {
            Said::MatchB { epoch, round, .. } => {
                let replied = |answers: &Matching| match self.config.role(src) {
                    Some(Role::Matchmaker(number)) => {
                        *epoch == server.epoch.number && answers.replied.contains(number)
                    }
                    _ => false,
                };
                let waits = leading.is_some_and(|leading| match (&leading.stage, &leading.next) {
                    (Stage::Matching(answers), _) if leading.round == *round => !replied(answers),
                    (_, Some(next)) if next.round == *round => !replied(&next.answers),
                    _ => false,
                });
                *round <= used && !waits && self.matchmakers_stay()
            }
            Said::GarbageB { watermark, .. } => leading.map_or(*watermark <= used, |leading| {
                let is_done = leading.garbage == Garbage::Done && leading.round == used;
                *watermark < leading.round || is_done && *watermark <= used
            }),
            Said::Nack { round } => Some(*round) <= server.heard,
            Said::Lacks(epoch) => *epoch < server.epoch.number,
            _ => false,
        }
    }
}
