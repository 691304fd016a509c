//! What is claimed of [`parthood_protocols::bpaxos`], and the configurations in which it is checked.
//!
//! The state machine is a key-value store: its commands conflict or not, and increments show every one that was lost,
//! doubled or swapped. The ghost keeps what leaders asked, what dependency nodes answered and the votes ever cast, so that
//! "chosen" and "conflicts" are facts and not what somebody believes.
//!
//! The modules are also checked alone, within larger bounds than the whole can bear: `modules.rs`. `specification.rs` is the
//! author's TLA+, and `refinement.rs` says that every step of the actors is one of its steps.
//!
//! Trusted: this file and its parts. Whoever doubts a verdict should read them first.

#[cfg(test)]
mod consensus;
mod ghost;
#[cfg(test)]
mod modules;
mod properties;
#[cfg(test)]
mod refinement;
#[cfg(test)]
mod specification;
#[cfg_attr(not(test), allow(dead_code, reason = "tests explore more than the known runs need"))]
mod variants;

pub use ghost::Ghost;
pub(crate) use properties::of_a_fast_model;
pub use variants::{KnownRun, known_runs};

use crate::defaults::{one, plenty, three, two};
use crate::quorum_params::{self, QuorumParams};
use crate::{Budget, Property, Protocol, Step};
use parthood_protocols::bpaxos::{
    Bounds, Config, Fast, Layout, Limits, Msg, Mutant, Node, Part, Role, Rules, State, Timer, Timing,
};
use parthood_protocols::client::{Client, ClientMsg};
use parthood_protocols::compartmentalized::Group;
use parthood_protocols::faults::Mutated;
use parthood_protocols::ids::Round;
use parthood_protocols::schedule::Schedule;
use parthood_protocols::state_machine::{KeyValue, KeyValueCommand, StateMachine};
use serde::Deserialize;
use stateright::actor::Id;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// A configuration: what the bounds of a row are about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a dimension of its own")]
pub struct Params {
    /// The number of leaders.
    #[serde(default = "two")]
    pub leaders: usize,
    /// Whether proposers are nodes of their own, as many as leaders.
    #[serde(default)]
    pub separate_proposers: bool,
    /// The number of dependency nodes; they are called `d0`, `d1` and so on in quorum expressions.
    #[serde(default = "three")]
    pub dependency_nodes: usize,
    /// Their quorum system; majorities if nothing is said.
    #[serde(default)]
    pub dependency_quorums: Option<QuorumParams>,
    /// The number of acceptors; they are called `a0`, `a1` and so on in quorum expressions.
    #[serde(default = "three")]
    pub acceptors: usize,
    /// Their quorum system; majorities if nothing is said.
    #[serde(default)]
    pub acceptor_quorums: Option<QuorumParams>,
    /// Whether everybody is contacted, instead of one minimal quorum after the other.
    #[serde(default)]
    pub contact_all: bool,
    /// Which minimal quorum is contacted first.
    #[serde(default)]
    pub rotate: usize,
    /// The number of replicas.
    #[serde(default = "two")]
    pub replicas: usize,
    /// Of how many largest vertices dependency nodes remember each; all if nothing is said.
    #[serde(default)]
    pub compaction: Option<u64>,
    /// After how many vertices a dependency node begins a new generation.
    #[serde(default = "plenty")]
    pub generation_vertices: usize,
    /// The clients.
    pub clients: Vec<ClientParams>,
    /// No proposer goes beyond this round.
    #[serde(default)]
    pub round_max: u64,
    /// Whether stale rounds are answered.
    #[serde(default)]
    pub nack: bool,
    /// Whether replicas ask each other for what they lack.
    #[serde(default)]
    pub catch_up: bool,
    /// After how many vertices a snapshot is due; 0 for never.
    #[serde(default)]
    pub snapshot_vertices: u64,
    /// How many vertices before a snapshot are kept.
    #[serde(default = "plenty")]
    pub retained_vertices: usize,
    /// How many replicas must have saved a snapshot before vertices are collected.
    #[serde(default = "one")]
    pub saves_needed: usize,
    /// How many lanes the client table holds.
    #[serde(default = "plenty")]
    pub lanes: usize,
    /// How many vertices a leader may have waiting for dependencies.
    #[serde(default = "plenty")]
    pub window_vertices: usize,
    /// Whether what arrives at a leader together shares a vertex: a timer numbers it, at any time after it was set.
    #[serde(default)]
    pub gather: bool,
    /// How many commands share a vertex at most.
    #[serde(default = "one")]
    pub batch_commands: usize,
    /// How many commands may wait at a leader; more are answered "busy".
    #[serde(default = "plenty")]
    pub waiting_commands: usize,
    /// The most vertices of one leader that are not collected: where a request may come any number of times, what ends its
    /// numbers.
    #[serde(default = "column")]
    pub column_vertices: u64,
    /// How many numbers are set aside with one save.
    #[serde(default = "one_id")]
    pub reserved_ids: u64,
    /// Who may crash and restart.
    #[serde(default)]
    pub restartable: Vec<Role>,
    /// Whether every client must have its answers when nothing more can happen.
    #[serde(default)]
    pub answers: bool,
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientParams {
    /// What it asks, one after the other.
    pub script: Vec<KeyValueCommand>,
    /// The leader it asks first.
    #[serde(default)]
    pub first: usize,
    /// How often it may ask again, each time the next leader.
    #[serde(default)]
    pub retries: u32,
    /// Whether it must open a session first.
    #[serde(default)]
    pub opens_session: bool,
}

fn one_id() -> u64 {
    1
}

fn column() -> u64 {
    Limits::default().column_vertices
}

/// Simple `BPaxos` in one configuration.
#[derive(Clone, Debug)]
pub struct Bpaxos<M: StateMachine = KeyValue, F: Rules = Mutated<Mutant>> {
    config: Arc<Config<F>>,
    /// The nodes, and the clients as far as they are part of the configuration.
    actors: Vec<Node<M, F>>,
    restartable: Vec<Role>,
    answers: bool,
    /// Do quorums meet as they must?
    quorums_meet: bool,
    /// May a restart undo steps that nobody has heard of, as where a save takes its time?
    undone_steps: bool,
    properties: fn() -> Vec<Property<Self>>,
}

impl<M: StateMachine, F: Rules> Bpaxos<M, F> {
    /// The protocol as it is deployed: with any state machine, and clients that nobody knows beforehand.
    pub fn deployed(config: Arc<Config<F>>) -> Self {
        Self {
            actors: nodes(&config),
            restartable: vec![],
            answers: false,
            quorums_meet: quorums_meet(&config),
            undone_steps: true,
            properties: properties::of_a_deployment,
            config,
        }
    }

    /// What all nodes know.
    pub(crate) fn config(&self) -> &Config<F> {
        &self.config
    }

    /// Are the clients part of the configuration?
    fn knows_clients(&self) -> bool {
        self.actors.len() > self.config.layout.nodes()
    }

    fn role_of(&self, id: Id) -> (Role, usize) {
        self.config.layout.node(id)
    }
}

impl Bpaxos {
    /// The protocol in a configuration, with at most one rule broken.
    ///
    /// # Errors
    /// What makes no sense about the configuration, in words.
    pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Self, String> {
        Self::with_faults(params, None, Mutated(mutant), properties::of_a_model)
    }
}

impl<F: Rules> Bpaxos<KeyValue, F> {
    /// The protocol in a configuration, perhaps with a fast path, with these faults and properties.
    pub(crate) fn with_faults(
        params: &Params,
        fast: Option<Fast>,
        faults: F,
        properties: fn() -> Vec<Property<Self>>,
    ) -> Result<Self, String> {
        let layout = Layout {
            leaders: params.leaders,
            proposers: if params.separate_proposers { params.leaders } else { 0 },
            dependency_nodes: if fast.is_some() { 0 } else { params.dependency_nodes },
            acceptors: params.acceptors,
            replicas: params.replicas,
            coupled: fast == Some(Fast::Epaxos),
        };
        validate(params, fast)?;
        let (name, quorums) = match fast {
            Some(_) => ('a', params.acceptor_quorums.as_ref()),
            None => ('d', params.dependency_quorums.as_ref()),
        };
        let clients = (layout.nodes()..).zip(&params.clients);
        let known = clients.filter(|(_, client)| !client.opens_session).map(|(id, _)| id as u64);
        let config = Arc::new(Config {
            layout,
            dependencies: group(params, name, params.dependency_nodes, quorums)?,
            acceptors: group(params, 'a', params.acceptors, params.acceptor_quorums.as_ref())?,
            fast,
            compaction: params.compaction,
            saves_needed: params.saves_needed,
            known_clients: known.collect(),
            limits: limits(params),
            timing: Timing { gather: params.gather.then_some(Duration::ZERO), ..Timing::default() },
            bounds: Bounds {
                round_max: Round(params.round_max),
                nack: params.nack,
                catch_up: params.catch_up,
            },
            faults,
        });
        let actors = nodes(&config).into_iter().chain(params.clients.iter().map(|c| client(layout, c)));
        Ok(Self {
            quorums_meet: quorums_meet(&config),
            actors: actors.collect(),
            config,
            restartable: params.restartable.clone(),
            answers: params.answers,
            undone_steps: false,
            properties,
        })
    }
}

fn validate(params: &Params, fast: Option<Fast>) -> Result<(), String> {
    let Params { leaders, dependency_nodes, acceptors, replicas, .. } = *params;
    if fast.is_some() && (dependency_nodes != acceptors || params.separate_proposers) {
        return Err(
            "with a fast path acceptors are dependency nodes, and leaders propose: give both numbers, and \
            the same"
                .into(),
        );
    }
    let coupled = leaders == acceptors && replicas == acceptors && params.acceptor_quorums.is_none();
    if fast == Some(Fast::Epaxos) && !coupled {
        return Err(
            "each server has a part of every role, and quorums are majorities: give one number for all \
            roles"
                .into(),
        );
    }
    if params.column_vertices == 0 || params.waiting_commands == 0 {
        return Err("`column_vertices` or `waiting_commands` 0: no leader would take a command".into());
    }
    let needed =
        [params.leaders, params.dependency_nodes, params.acceptors, params.replicas, params.clients.len()];
    if needed.contains(&0) {
        return Err("a leader, a dependency node, an acceptor, a replica and a client are needed".into());
    }
    if params.dependency_nodes.max(params.acceptors) > quorum_params::NODES_MAX {
        return Err(format!("at most {} nodes of a role are modelled", quorum_params::NODES_MAX));
    }
    match params.clients.iter().find(|client| client.first >= params.leaders) {
        Some(client) => Err(format!("no client can turn to leader {} of {}", client.first, params.leaders)),
        None => Ok(()),
    }
}

fn limits(params: &Params) -> Limits {
    let never = |count: u64| if count == 0 { u64::MAX } else { count };
    Limits {
        window_vertices: params.window_vertices,
        batch_commands: params.batch_commands,
        waiting_commands: params.waiting_commands,
        column_vertices: params.column_vertices,
        generation_vertices: params.generation_vertices,
        snapshot_vertices: never(params.snapshot_vertices),
        retained_vertices: params.retained_vertices,
        reserved_ids: params.reserved_ids,
        lanes: params.lanes,
        ..Limits::default()
    }
}

fn group(params: &Params, name: char, nodes: usize, quorums: Option<&QuorumParams>) -> Result<Group, String> {
    let system = match quorums {
        Some(quorums) => quorums.system(name, nodes)?,
        None => quorum_params::majority(nodes),
    };
    let schedule = |mut quorums: Vec<_>| {
        if params.contact_all || quorums.is_empty() {
            return Schedule::everyone();
        }
        let first = params.rotate % quorums.len();
        quorums.rotate_left(first);
        Schedule::rotation(quorums)
    };
    Ok(Group {
        reads: schedule(quorum_params::minimal(nodes, |set| system.is_read_quorum(set))),
        writes: schedule(quorum_params::minimal(nodes, |set| system.is_write_quorum(set))),
        system,
    })
}

fn quorums_meet<F: Rules>(config: &Config<F>) -> bool {
    let Layout { dependency_nodes, acceptors, .. } = config.layout;
    let dependency_nodes = if config.fast.is_some() { acceptors } else { dependency_nodes };
    [(&config.dependencies, dependency_nodes), (&config.acceptors, acceptors)]
        .into_iter()
        .all(|(group, nodes)| quorum_params::intersect(&*group.system, nodes))
}

/// All nodes that are no clients.
fn nodes<M: StateMachine, F: Rules>(config: &Arc<Config<F>>) -> Vec<Node<M, F>> {
    let layout = config.layout;
    let nodes = (0..layout.nodes()).map(|id| {
        let (role, index) = layout.node(Id::from(id));
        Node::of(role, Part { index, lost_storage: false, config: config.clone() })
    });
    nodes.flatten().collect()
}

fn client<F: Rules>(layout: Layout, client: &ClientParams) -> Node<KeyValue, F> {
    Node::Client(Client {
        contacts: layout.ids(Role::Leader).collect(),
        first_contact: client.first,
        script: client.script.clone(),
        lanes: 1,
        known: !client.opens_session,
        application: None,
        retries_max: client.retries,
        // Only the simulator has a clock that this matters to.
        retry_after: Duration::from_millis(100)..Duration::from_millis(200),
    })
}

impl<M: StateMachine, F: Rules> Protocol for Bpaxos<M, F> {
    type Actor = Node<M, F>;
    type Ghost = Ghost<M>;

    fn actors(&self) -> Vec<Node<M, F>> {
        self.actors.clone()
    }

    fn ghost(&self) -> Ghost<M> {
        Ghost::default()
    }

    fn observe(&self, ghost: &mut Cow<'_, Ghost<M>>, step: &Step<'_, Node<M, F>>) {
        ghost::observe(self, ghost, step);
    }

    fn properties(&self) -> Vec<Property<Self>> {
        (self.properties)()
    }

    /// Rounds, numbers and what is known only grow, so what is behind them stays behind; but who cannot answer now may be able
    /// to later, who restarts may know less, and an acceptor that has collected a vertex has an answer of its own.
    fn dead(&self, dst: Id, state: &State<M>, src: Id, msg: &Msg<M>) -> bool {
        if self.may_restart(dst) {
            return false;
        }
        match msg {
            Msg::Phase1a { .. } | Msg::Phase2a { .. } | Msg::PreAccept { .. } => {
                let collects = self.config.limits.snapshot_vertices != u64::MAX;
                !collects && self.actors[usize::from(dst)].ignores(state, src, msg)
            }
            Msg::Recover(_)
            | Msg::CatchUp { .. }
            | Msg::FetchSnapshot { .. }
            | Msg::SnapshotPart(_)
            | Msg::SnapshotRequest
            | Msg::Client(ClientMsg::Request(_)) => false,
            _ => self.actors[usize::from(dst)].ignores(state, src, msg),
        }
    }

    fn may_restart(&self, id: Id) -> bool {
        self.restartable.contains(&self.role_of(id).0)
    }

    /// Timers of one kind share a budget, in this order: ask, resend, backoff, recover, catch-up, retry. A leader gives numbers
    /// as often as there is something to number.
    fn budget(&self, _: Id, timer: &Timer) -> Budget {
        Budget::Shared(match timer {
            Timer::Number => return Budget::Unlimited,
            Timer::Ask => 0,
            Timer::Resend => 1,
            Timer::Backoff(_) => 2,
            Timer::Recover(_) => 3,
            Timer::CatchUp => 4,
            Timer::Retry(_) => 5,
        })
    }

    fn name(&self, id: Id) -> String {
        let (_, index) = self.role_of(id);
        format!("{} {index}", self.role(id))
    }

    fn role(&self, id: Id) -> &'static str {
        self.role_of(id).0.title()
    }

    fn describe_state(state: &State<M>) -> String {
        properties::describe(state)
    }
}
