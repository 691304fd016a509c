//! What is claimed of [`parthood_protocols::paxos`], and the configurations in which it is checked.
//!
//! In the checker values are small numbers, each asked for by one client; in a deployment they are anything. The ghost keeps the votes ever cast, so that "chosen" is a
//! fact about the acceptors and not what a proposer believes.
//!
//! # Reductions
//! *Symmetry*: acceptors that the quorum system does not tell apart. *Collection*: promises and votes for a round that
//! their proposer has left for good, and, where acceptors do not answer stale rounds, the questions of such rounds. What
//! a restart could make interesting again is not collected: a proposer forgets what it heard, but not what it used.
//! *Eager*: telling a client that never asks again.
//!
//! Trusted: this file and its two parts. Whoever doubts a verdict should read them first.

mod ghost;
mod properties;
#[cfg(test)]
mod tests;

pub use ghost::Ghost;

use crate::defaults::{three, two};
use crate::quorum_params::{self, NODES_MAX, QuorumParams};
use crate::{Budget, Class, Hashed, Parts, Property, Protocol, Step, index};
use parthood_protocols::faults::{Faults, Mutated};
use parthood_protocols::ids::Round;
use parthood_protocols::paxos::{
    Acceptor, Config, Msg, Mutant, Node, PaxosClient, Phase, Proposer, State, Timer,
};
use parthood_protocols::state_machine::Data;
use parthood_quorums::NodeSet;
use serde::Deserialize;
use stateright::actor::Id;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// What is to be chosen in models.
pub type Value = u8;

/// A configuration: what the bounds of a row are about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The number of proposers.
    #[serde(default = "two")]
    pub proposers: usize,
    /// The number of acceptors; they are called `a0`, `a1` and so on in quorum expressions.
    #[serde(default = "three")]
    pub acceptors: usize,
    /// The quorum system; majorities if there is none.
    #[serde(default)]
    pub quorums: Option<QuorumParams>,
    /// The clients; client `i` asks for value `i + 1`.
    pub clients: Vec<ClientParams>,
    /// No proposer goes beyond this round; round `r` belongs to proposer `r mod proposers`.
    #[serde(default)]
    pub round_max: u64,
    /// Whether acceptors answer a stale round.
    #[serde(default)]
    pub nack: bool,
    /// Whether proposers send again, and go on to a higher round when overtaken.
    #[serde(default)]
    pub resend: bool,
    /// Whether every client must be told in the end: not so where rounds or retries may run out first.
    #[serde(default)]
    pub answers: bool,
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientParams {
    /// The proposer it asks first.
    #[serde(default)]
    pub first: usize,
    /// How often it may ask again, each time the next proposer.
    #[serde(default)]
    pub retries: u32,
    /// Whether it only pretends to be a client, as it could on a network without authentication. Nothing else can break
    /// validity: the actors are generic in the value, and so cannot make one up.
    #[serde(default)]
    pub outsider: bool,
}

/// Single-decree Paxos in one configuration.
#[derive(Clone, Debug)]
pub struct Paxos<V: Data = Value, F: Faults<Mutant> = Mutated<Mutant>> {
    config: Arc<Config<F>>,
    /// The clients, as far as they are part of the configuration.
    clients: Vec<PaxosClient<V>>,
    /// The values that clients, and not outsiders, ask for.
    asked: Vec<V>,
    /// Does every read quorum meet every write quorum?
    quorums_meet: bool,
    /// Acceptors that the quorum system does not tell apart.
    alike: Vec<Vec<usize>>,
    answers: bool,
    /// May a restart undo steps that nobody has heard of, as where a save takes its time?
    undone_steps: bool,
    properties: fn() -> Vec<Property<Self>>,
}

impl Paxos {
    /// The protocol in a configuration, with at most one rule broken.
    ///
    /// # Errors
    /// What makes no sense about the configuration, in words.
    pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Self, String> {
        let Params { proposers, acceptors, ref clients, .. } = *params;
        if proposers == 0 || acceptors == 0 || clients.is_empty() {
            return Err("at least one proposer, one acceptor and one client are needed".into());
        }
        if acceptors > NODES_MAX || clients.len() >= Value::MAX.into() {
            return Err(format!("at most {NODES_MAX} acceptors and {} clients are modelled", Value::MAX - 1));
        }
        if let Some(wrong) = clients.iter().map(|client| client.first).find(|first| *first >= proposers) {
            return Err(format!("there is no proposer {wrong}; there are {proposers}"));
        }
        let quorums = match &params.quorums {
            None => quorum_params::majority(acceptors),
            Some(quorums) => quorums.system('a', acceptors)?,
        };
        let asked =
            (1..).zip(clients).filter(|(_, client)| !client.outsider).map(|(value, _)| value).collect();
        let clients = (1..).zip(clients).map(|(value, client)| PaxosClient {
            proposers: (0..proposers).map(|turn| Id::from((client.first + turn) % proposers)).collect(),
            value: Some(value),
            application: None,
            retries_max: client.retries,
            retry_after: Duration::ZERO..Duration::ZERO,
        });
        Ok(Self {
            clients: clients.collect(),
            asked,
            quorums_meet: quorum_params::intersect(&*quorums, acceptors),
            alike: quorum_params::interchangeable(&*quorums, acceptors),
            answers: params.answers,
            undone_steps: false,
            properties: properties::of_known_clients,
            config: Arc::new(Config {
                proposers,
                acceptors,
                quorums,
                round_max: Round(params.round_max),
                resend: params.resend,
                nack: params.nack,
                resend_after: Duration::ZERO..Duration::ZERO,
                faults: Mutated(mutant),
            }),
        })
    }
}

impl<V: Data, F: Faults<Mutant>> Paxos<V, F> {
    /// The protocol as it is deployed: with any values, and clients that nobody knows beforehand.
    pub fn deployed(config: Arc<Config<F>>) -> Self {
        Self {
            clients: vec![],
            asked: vec![],
            quorums_meet: quorum_params::intersect(&*config.quorums, config.acceptors),
            alike: vec![],
            answers: false,
            undone_steps: true,
            properties: properties::of_any_run,
            config,
        }
    }

    /// Does the round belong to this proposer?
    fn owns(&self, proposer: Id, round: Round) -> bool {
        round.0 % self.config.proposers as u64 == index(proposer) as u64
    }

    fn acceptor(&self, number: usize) -> Id {
        Id::from(self.config.proposers + number)
    }

    fn client(&self, id: Id) -> Option<usize> {
        index(id).checked_sub(self.config.proposers + self.config.acceptors)
    }

    /// Splits a set of acceptors by member.
    fn split_set(&self, what: &str, set: NodeSet, parts: &mut Parts<'_>) {
        for number in 0..self.config.acceptors {
            if set.contains(number) {
                parts.about(self.acceptor(number), what);
            }
        }
    }
}

impl<V: Data, F: Faults<Mutant>> Protocol for Paxos<V, F> {
    type Actor = Node<V, F>;
    type Ghost = Ghost<V>;

    fn actors(&self) -> Vec<Self::Actor> {
        let config = || self.config.clone();
        let proposers =
            (0..self.config.proposers).map(|index| Node::Proposer(Proposer { index, config: config() }));
        let acceptors = (0..self.config.acceptors).map(|_| Node::Acceptor(Acceptor { config: config() }));
        proposers.chain(acceptors).chain(self.clients.iter().cloned().map(Node::Client)).collect()
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

    fn dead(&self, _: Id, state: &State<V>, _: Id, msg: &Msg<V>) -> bool {
        match (state, msg) {
            (State::Acceptor(acceptor), Msg::Phase1a { round } | Msg::Phase2a { round, .. }) => {
                !self.config.nack && *round < acceptor.round
            }
            (State::Proposer(proposer), Msg::Phase1b { round, .. } | Msg::Phase2b { round }) => {
                let over = match proposer.phase {
                    Phase::Phase1 { .. } => false,
                    Phase::Phase2 { .. } => matches!(msg, Msg::Phase1b { .. }),
                    Phase::Idle | Phase::Done(_) => true,
                };
                proposer.used.is_some_and(|used| *round < used || (*round == used && over))
            }
            (State::Proposer(proposer), Msg::Nack { round }) => proposer.used >= Some(*round),
            (State::Client(client), Msg::Chosen(_)) => client.chosen.is_some(),
            _ => false,
        }
    }

    fn eager(&self, _: Id, dst: Id, msg: &Msg<V>) -> bool {
        let client = self.client(dst).and_then(|client| self.clients.get(client));
        matches!(msg, Msg::Chosen(_)) && client.is_some_and(|client| client.retries_max == 0)
    }

    /// A client that restarts is another client.
    fn may_restart(&self, id: Id) -> bool {
        self.client(id).is_none()
    }

    /// Proposers share one budget; a client's is its own.
    fn budget(&self, _: Id, timer: &Timer) -> Budget {
        match timer {
            Timer::Resend => Budget::Shared(0),
            Timer::Retry => Budget::Unlimited,
        }
    }

    fn classes(&self) -> Vec<Class> {
        let class = |alike: &Vec<usize>| alike.iter().map(|&number| vec![self.acceptor(number)]).collect();
        self.alike.iter().map(class).collect()
    }

    fn split_state(&self, _: Id, state: &Hashed<State<V>>, parts: &mut Parts<'_>) {
        let State::Proposer(proposer) = &**state else { return parts.own(state) };
        parts.rest(&(proposer.used, proposer.heard, &proposer.own_value, &proposer.clients));
        match &proposer.phase {
            Phase::Phase1 { promised, best } => {
                parts.rest(&("phase 1", best));
                self.split_set("promised", *promised, parts);
            }
            Phase::Phase2 { value, voted } => {
                parts.rest(&("phase 2", value));
                self.split_set("voted", *voted, parts);
            }
            other => parts.rest(other),
        }
    }

    fn split_ghost(&self, ghost: &Hashed<Ghost<V>>, parts: &mut Parts<'_>) {
        parts.rest(&(&ghost.proposed, ghost.went_back));
        for (vote, voters) in &ghost.cast {
            for number in (0..self.config.acceptors).filter(|number| voters.contains(*number)) {
                parts.about(self.acceptor(number), vote);
            }
        }
    }

    fn name(&self, id: Id) -> String {
        match (self.client(id), self.config.acceptor_index(id)) {
            (Some(client), _) => format!("client {client}"),
            (None, Some(acceptor)) => format!("acceptor {acceptor}"),
            (None, None) => format!("proposer {}", index(id)),
        }
    }

    fn role(&self, id: Id) -> &'static str {
        match (self.client(id), self.config.acceptor_index(id)) {
            (Some(_), _) => "client",
            (None, Some(_)) => "acceptor",
            (None, None) => "proposer",
        }
    }

    fn describe_state(state: &State<V>) -> String {
        properties::describe_state(state)
    }

    fn describe_msg(msg: &Msg<V>) -> String {
        properties::describe_msg(msg)
    }
}
