//! What is claimed of [`parthood_protocols::multipaxos`], and the configurations in which it is checked.
//!
//! In the checker the state machine is an append log: its answers show every command that was lost, doubled or swapped.
//! In a deployment it is any other; what does not depend on knowing the clients' scripts is claimed there too. The ghost
//! keeps the votes ever cast, so that "chosen" is a fact and not what somebody believes.
//!
//! Trusted: this file and its two parts. Whoever doubts a verdict should read them first.

mod ghost;
mod properties;

pub use ghost::Ghost;

use crate::defaults::{one, plenty, three};
use crate::quorum_params::{self, QuorumParams};
use crate::{Budget, ClientParams, Property, Protocol, Step, client_params};
use parthood_protocols::client::{Client, ClientMsg};
use parthood_protocols::faults::{Faults, Mutated};
use parthood_protocols::ids::{Round, Slot};
use parthood_protocols::multipaxos::{
    Bounds, Config, Limits, Msg, Mutant, Node, Server, ServerState, State, Timer, Timing,
};
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use parthood_quorums::QuorumSystem;
use serde::Deserialize;
use stateright::actor::Id;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// A configuration: what the bounds of a row are about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The number of servers; they are called `s0`, `s1` and so on in quorum expressions.
    #[serde(default = "three")]
    pub servers: usize,
    /// The quorum systems of the groups; majorities if there are none.
    #[serde(default)]
    pub groups: Vec<QuorumParams>,
    /// Servers that may not vote, as after the loss of a disk.
    #[serde(default)]
    pub learners: Vec<usize>,
    /// The clients.
    pub clients: Vec<ClientParams>,
    /// No leader goes beyond this round; round `r` belongs to server `r mod servers`.
    #[serde(default)]
    pub round_max: u64,
    /// Whether acceptors answer a stale round.
    #[serde(default)]
    pub nack: bool,
    /// How many slots a leader may have outstanding.
    #[serde(default = "plenty")]
    pub window_slots: usize,
    /// Whether what arrives at a leader together shares a slot: a timer proposes it, at any time after it was set.
    #[serde(default)]
    pub gather: bool,
    /// How many commands share a slot at most.
    #[serde(default = "one")]
    pub batch_commands: usize,
    /// How many slots a page holds.
    #[serde(default = "plenty")]
    pub page_slots: usize,
    /// After how many slots a snapshot is taken; 0 for never.
    #[serde(default)]
    pub snapshot_slots: u64,
    /// How many slots before a snapshot are kept.
    #[serde(default)]
    pub retained_slots: u64,
    /// How many lanes the client table holds.
    #[serde(default = "plenty")]
    pub lanes: usize,
    /// Whether every client must have its answers when nothing more can happen. Not so where a client may give up.
    #[serde(default)]
    pub answers: bool,
}

/// `MultiPaxos` in one configuration.
#[derive(Clone, Debug)]
pub struct Multipaxos<M: StateMachine = AppendLog, F: Faults<Mutant> = Mutated<Mutant>> {
    config: Arc<Config<F>>,
    learners: Vec<usize>,
    /// The clients, as far as they are part of the configuration.
    clients: Vec<Client<M::Command>>,
    answers: bool,
    /// Does every read quorum of a group meet every write quorum of it?
    quorums_meet: bool,
    /// May a restart undo steps that nobody has heard of, as where a save takes its time?
    undone_steps: bool,
    properties: fn() -> Vec<Property<Self>>,
}

impl<M: StateMachine, F: Faults<Mutant>> Multipaxos<M, F> {
    /// The protocol as it is deployed: with any state machine, and clients that nobody knows beforehand.
    pub fn deployed(config: Arc<Config<F>>) -> Self {
        let servers = config.servers;
        let quorums_meet = config.groups.iter().all(|group| quorum_params::intersect(&**group, servers));
        Self {
            config,
            learners: vec![],
            clients: vec![],
            answers: false,
            quorums_meet,
            undone_steps: true,
            properties: properties::of_any_machine,
        }
    }

    /// The protocol with any state machine and clients that follow their scripts: the actors after the servers. Clients whose
    /// session is known from the start must be so to both sides ([`Config::known_clients`], [`Client::known`]).
    pub fn scripted(config: Arc<Config<F>>, clients: Vec<Client<M::Command>>) -> Self {
        let properties = properties::of_scripted_clients;
        Self { clients, undone_steps: false, properties, ..Self::deployed(config) }
    }

    /// What all servers know.
    pub(crate) fn config(&self) -> &Config<F> {
        &self.config
    }

    /// The client with this id, if it is part of the configuration.
    pub(crate) fn client(&self, id: u64) -> Option<&Client<M::Command>> {
        self.clients.get(usize::try_from(id).ok()?.checked_sub(self.config.servers)?)
    }

    fn is_server(&self, id: Id) -> bool {
        usize::from(id) < self.config.servers
    }
}

impl Multipaxos {
    /// The protocol in a configuration, with at most one rule broken.
    ///
    /// # Errors
    /// What makes no sense about the configuration, in words.
    pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Self, String> {
        let servers = params.servers;
        let clients = client_params::clients(&params.clients, servers)?;
        if servers > quorum_params::NODES_MAX {
            return Err(format!("at most {} servers are modelled", quorum_params::NODES_MAX));
        }
        if let Some(wrong) = params.learners.iter().find(|server| **server >= servers) {
            return Err(format!("there is no server {wrong}; there are {servers}"));
        }
        let never = |slots: u64| if slots == 0 { u64::MAX } else { slots };
        let limits = Limits {
            window_slots: params.window_slots,
            batch_commands: params.batch_commands,
            page_slots: params.page_slots,
            lanes: params.lanes,
            snapshot_slots: never(params.snapshot_slots),
            retained_slots: params.retained_slots,
            ..Limits::default()
        };
        let bounds = Bounds { round_max: Round(params.round_max), nack: params.nack, ..Bounds::default() };
        let config = Config {
            servers,
            groups: groups(servers, &params.groups)?,
            known_clients: client_params::known(&params.clients, servers),
            limits,
            timing: Timing { gather: params.gather.then_some(Duration::ZERO), ..Timing::default() },
            bounds,
            faults: Mutated(mutant),
        };
        let quorums_meet = config.groups.iter().all(|group| quorum_params::intersect(&**group, servers));
        Ok(Self {
            config: Arc::new(config),
            learners: params.learners.clone(),
            clients,
            answers: params.answers,
            quorums_meet,
            undone_steps: false,
            properties: properties::of_the_append_log,
        })
    }

    /// The same where a save takes its time, so that a restart may undo steps that nobody has heard of.
    #[must_use]
    pub fn with_slow_saves(self) -> Self {
        Self { undone_steps: true, ..self }
    }
}

fn groups(servers: usize, groups: &[QuorumParams]) -> Result<Vec<Arc<dyn QuorumSystem>>, String> {
    if groups.is_empty() {
        return Ok(vec![quorum_params::majority(servers)]);
    }
    groups.iter().map(|group| group.system('s', servers)).collect()
}

impl<M: StateMachine, F: Faults<Mutant>> Protocol for Multipaxos<M, F> {
    type Actor = Node<M, F>;
    type Ghost = Ghost<M>;

    fn actors(&self) -> Vec<Self::Actor> {
        let server = |index| {
            let voting = !self.learners.contains(&index);
            Node::Server(Server { index, voting, config: self.config.clone() })
        };
        (0..self.config.servers).map(server).chain(self.clients.iter().cloned().map(Node::Client)).collect()
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

    fn dead(&self, dst: Id, state: &State<M>, _: Id, msg: &Msg<M>) -> bool {
        match (state, msg) {
            (State::Client(client), Msg::Client(msg)) => match self.client(usize::from(dst) as u64) {
                Some(config) => matches!(msg, ClientMsg::Reply { .. }) && config.ignores(client, dst, msg),
                None => false,
            },
            (State::Server(server), msg) => !self.config.bounds.nack && is_stale(server, msg),
            (State::Client(_), _) => false,
        }
    }

    fn may_restart(&self, id: Id) -> bool {
        self.is_server(id)
    }

    /// Timers of one kind share a budget, in this order: election, ping, resend, catch-up, retry. A leader proposes as often as
    /// there is something to propose.
    fn budget(&self, _: Id, timer: &Timer) -> Budget {
        match timer {
            Timer::Election => Budget::Shared(0),
            Timer::Ping => Budget::Shared(1),
            Timer::Resend => Budget::Shared(2),
            Timer::CatchUp => Budget::Shared(3),
            Timer::Retry(_) => Budget::Shared(4),
            Timer::Propose => Budget::Unlimited,
        }
    }

    fn name(&self, id: Id) -> String {
        match usize::from(id).checked_sub(self.config.servers) {
            None => format!("server {}", usize::from(id)),
            Some(client) => format!("client {client}"),
        }
    }

    fn role(&self, id: Id) -> &'static str {
        if self.is_server(id) { "server" } else { "client" }
    }

    fn describe_state(state: &State<M>) -> String {
        properties::describe(state)
    }
}

/// Will a server ignore this message for ever, since its round or slot is over? (Where stale rounds are not answered.)
fn is_stale<M: StateMachine>(server: &ServerState<M>, msg: &Msg<M>) -> bool {
    let promised = server.acceptor.round;
    let executed = server.replica.executed;
    match msg {
        Msg::Phase1a { round, .. } | Msg::Phase2a { round, .. } | Msg::Ping { round, .. } => {
            *round < promised
        }
        Msg::Phase1b { round, from, .. } => {
            let wanted = server.leadership.leader().and_then(|leader| leader.recovery.as_ref());
            *round < promised || wanted.is_none_or(|recovery| *from < recovery.from)
        }
        Msg::Phase2b { round, slot } => {
            let leader = server.leadership.leader();
            *round < promised || leader.is_none_or(|leader| !leader.outstanding.contains_key(slot))
        }
        Msg::Chosen { from, values } => Slot(from.0 + values.len() as u64) <= executed,
        Msg::SnapshotPart(part) => part.slot <= executed,
        _ => false,
    }
}
