//! What is claimed of [`parthood_protocols::compartmentalized`], and the configurations in which it is checked.
//!
//! The state machine is an append log: its answers show every command that was lost, doubled or swapped, and every read
//! that goes back. The ghost keeps the votes ever cast, so that "chosen" is a fact and not what somebody believes.
//!
//! Trusted: this file and its two parts. Whoever doubts a verdict should read them first.

mod ghost;
pub(crate) mod properties;
mod scope;

pub use ghost::Ghost;
pub(crate) use ghost::observe;
pub(crate) use scope::{InParts, RecordOf, Scope, quorums_meet};

use crate::defaults::{one, plenty, three, two};
use crate::quorum_params::{self, QuorumParams};
use crate::{Budget, Property, Protocol, Step, View};
use parthood_protocols::client::Client;
use parthood_protocols::command::ValueOf;
use parthood_protocols::compartmentalized::{
    Ask, Bounds, Config, Consistency, Group, Layout, Limits, Msg, Mutant, Node, Part, ReadScheme, Reader,
    Role, Rules, State, Timer, Timing,
};
use parthood_protocols::faults::Mutated;
use parthood_protocols::ids::{Round, Slot};
use parthood_protocols::schedule::Schedule;
use parthood_protocols::state_machine::{AppendLog, AppendLogCommand, StateMachine};
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
    /// In how many groups the leaders share the log.
    #[serde(default = "one")]
    pub leader_groups: usize,
    /// After how many of its slots a leader tells other groups how far it is.
    #[serde(default = "one")]
    pub high_watermark_slots: usize,
    /// How many slots a leader must be behind another group to skip its own.
    #[serde(default = "one")]
    pub lag_slots: usize,
    /// The number of proxy leaders.
    #[serde(default = "one")]
    pub proxies: usize,
    /// The number of acceptors; they are called `a0`, `a1` and so on in quorum expressions.
    #[serde(default = "three")]
    pub acceptors: usize,
    /// The quorum systems of the groups; one of majorities if there are none.
    #[serde(default)]
    pub groups: Vec<QuorumParams>,
    /// Whether everybody is contacted, instead of one minimal quorum after the other.
    #[serde(default)]
    pub contact_all: bool,
    /// Which minimal quorum is contacted first.
    #[serde(default)]
    pub rotate: usize,
    /// The number of replicas.
    #[serde(default = "two")]
    pub replicas: usize,
    /// The number of batchers.
    #[serde(default)]
    pub batchers: usize,
    /// The number of unbatchers.
    #[serde(default)]
    pub unbatchers: usize,
    /// The number of read batchers.
    #[serde(default)]
    pub read_batchers: usize,
    /// Whether read batchers seal a batch whenever the one before has its index.
    #[serde(default)]
    pub adaptive: bool,
    /// The clients.
    pub clients: Vec<ClientParams>,
    /// No leader goes beyond this round; round `r` belongs to leader `r mod leaders`.
    #[serde(default)]
    pub round_max: u64,
    /// Whether stale rounds are answered.
    #[serde(default)]
    pub nack: bool,
    /// Whether leaders say so when idle.
    #[serde(default)]
    pub ping: bool,
    /// How many slots a leader may be ahead of what it knows to be chosen.
    #[serde(default = "plenty")]
    pub window_slots: usize,
    /// How many commands may wait at a leader.
    #[serde(default = "plenty")]
    pub waiting_commands: usize,
    /// Whether what arrives at a leader together shares a slot: a timer proposes it, at any time after it was set.
    #[serde(default)]
    pub gather: bool,
    /// How many commands share a slot at most.
    #[serde(default = "one")]
    pub batch_commands: usize,
    /// How many reads share a batch.
    #[serde(default = "two")]
    pub read_batch: usize,
    /// How many slots a page holds.
    #[serde(default = "plenty")]
    pub page_slots: usize,
    /// After how many slots leaders are told what is chosen; 0 for never.
    #[serde(default)]
    pub watermark_slots: u64,
    /// After how many slots a snapshot is taken; 0 for never.
    #[serde(default)]
    pub snapshot_slots: u64,
    /// How many slots before a snapshot are kept.
    #[serde(default)]
    pub retained_slots: u64,
    /// How many replicas must have saved a snapshot before acceptors drop votes.
    #[serde(default = "one")]
    pub saves_needed: usize,
    /// How many lanes the client table holds.
    #[serde(default = "plenty")]
    pub lanes: usize,
    /// Who may crash and restart.
    #[serde(default = "durable")]
    pub restartable: Vec<Role>,
    /// Acceptors that have lost their disk.
    #[serde(default)]
    pub without_disk: Vec<usize>,
    /// Whether every client must have its answers when nothing more can happen.
    #[serde(default)]
    pub answers: bool,
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientParams {
    /// What it asks, one after the other.
    pub script: Vec<AskParams>,
    /// The leader or batcher that it asks first.
    #[serde(default)]
    pub first: usize,
    /// Where it begins in rotations of groups, read quorums, replicas and read batchers.
    #[serde(default)]
    pub turn: u64,
    /// How often it may ask again.
    #[serde(default)]
    pub retries: u32,
    /// Whether it must open a session first.
    #[serde(default)]
    pub opens_session: bool,
}

/// Something to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskParams {
    /// Append this entry.
    Append(u8),
    /// Read all entries, without the log.
    Read(Consistency),
    /// Read all entries, through the log.
    LoggedRead,
}

impl From<AskParams> for Ask<AppendLogCommand> {
    fn from(params: AskParams) -> Self {
        match params {
            AskParams::Append(entry) => Self { command: AppendLogCommand::Append(entry), read: None },
            AskParams::Read(consistency) => Self { command: AppendLogCommand::Read, read: Some(consistency) },
            AskParams::LoggedRead => Self { command: AppendLogCommand::Read, read: None },
        }
    }
}

fn durable() -> Vec<Role> {
    vec![Role::Leader, Role::Acceptor, Role::Replica]
}

/// Compartmentalized `MultiPaxos` in one configuration.
#[derive(Clone, Debug)]
pub struct Compartmentalized<M: StateMachine = AppendLog, F: Rules = Mutated<Mutant>> {
    scope: Scope<M, F>,
    /// The nodes, and the clients as far as they are part of the configuration.
    actors: Vec<Node<M, F>>,
    restartable: Vec<Role>,
    properties: fn() -> Vec<Property<Self>>,
}

impl<M: StateMachine, F: Rules> Compartmentalized<M, F> {
    /// The protocol as it is deployed: with any state machine, and clients that nobody knows beforehand.
    pub fn deployed(config: Arc<Config<F>>) -> Self {
        Self::with_properties(config, properties::of_any_machine)
    }

    /// The deployed protocol, of which this is claimed.
    pub(crate) fn with_properties(config: Arc<Config<F>>, properties: fn() -> Vec<Property<Self>>) -> Self {
        Self {
            actors: nodes(&config, &[]).collect(),
            scope: Scope::of_any_machine(config),
            restartable: vec![],
            properties,
        }
    }

    fn role_of(&self, id: Id) -> (Role, usize) {
        self.scope.config.layout.role(id)
    }
}

impl Compartmentalized {
    /// The protocol in a configuration, with at most one rule broken.
    ///
    /// # Errors
    /// What makes no sense about the configuration, in words.
    pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Self, String> {
        if params.leader_groups != 1 {
            return Err("several leader groups are what mencius is".into());
        }
        Self::with_faults(params, Mutated(mutant), || properties::of_the_append_log(properties::validity))
    }
}

impl<F: Rules> Compartmentalized<AppendLog, F> {
    /// A configuration of scripted clients and an append log.
    pub(crate) fn with_faults(
        params: &Params,
        faults: F,
        properties: fn() -> Vec<Property<Self>>,
    ) -> Result<Self, String> {
        let first_client = layout(params).nodes();
        let config = Arc::new(config(params, first_client, faults)?);
        let contacts = if params.batchers > 0 { Role::Batcher } else { Role::Leader };
        let contacts: Vec<Id> = config.layout.ids(contacts).collect();
        let clients = clients(&config, &contacts, &params.clients)?;
        let nodes = nodes(&config, &params.without_disk);
        Ok(Self {
            actors: nodes.chain(clients.iter().cloned().map(Node::Client)).collect(),
            scope: Scope { answers: params.answers, ..Scope::of_the_append_log(config, clients) },
            restartable: params.restartable.clone(),
            properties,
        })
    }
}

pub(crate) fn layout(params: &Params) -> Layout {
    Layout {
        leaders: params.leaders,
        proxies: params.proxies,
        acceptors: params.acceptors,
        replicas: params.replicas,
        batchers: params.batchers,
        unbatchers: params.unbatchers,
        read_batchers: params.read_batchers,
    }
}

/// What all nodes know. Clients follow the nodes.
pub(crate) fn config<F: Rules>(params: &Params, first_client: usize, faults: F) -> Result<Config<F>, String> {
    validate(params)?;
    let known = (first_client..).zip(&params.clients).filter(|(_, client)| !client.opens_session);
    let contacted = Contacted { everybody: params.contact_all, first: params.rotate };
    Ok(Config {
        layout: layout(params),
        leader_groups: params.leader_groups,
        groups: groups('a', params.acceptors, &params.groups, contacted)?,
        saves_needed: params.saves_needed,
        known_clients: known.map(|(id, _)| id as u64).collect(),
        read_scheme: if params.adaptive { ReadScheme::Adaptive } else { ReadScheme::Timed },
        limits: limits(params),
        timing: Timing { gather: params.gather.then_some(Duration::ZERO), ..Timing::default() },
        bounds: Bounds { round_max: Round(params.round_max), nack: params.nack, ping: params.ping },
        faults,
    })
}

fn validate(params: &Params) -> Result<(), String> {
    let needed = [params.leaders, params.proxies, params.acceptors, params.replicas, params.clients.len()];
    if needed.contains(&0) {
        return Err("a leader, a proxy leader, an acceptor, a replica and a client are needed".into());
    }
    if params.leader_groups == 0 || params.leaders < params.leader_groups {
        return Err(format!("{} leaders make no {} groups", params.leaders, params.leader_groups));
    }
    if params.leader_groups > 1
        && (params.groups.is_empty() || !params.groups.len().is_multiple_of(params.leader_groups))
    {
        return Err(format!(
            "{} acceptor groups are not to be dealt to {} leader groups",
            params.groups.len(),
            params.leader_groups
        ));
    }
    if params.acceptors > quorum_params::NODES_MAX {
        return Err(format!("at most {} acceptors are modelled", quorum_params::NODES_MAX));
    }
    if let Some(wrong) = params.without_disk.iter().find(|acceptor| **acceptor >= params.acceptors) {
        return Err(format!("there is no acceptor {wrong}; there are {}", params.acceptors));
    }
    Ok(())
}

fn limits(params: &Params) -> Limits {
    let never = |slots: u64| if slots == 0 { u64::MAX } else { slots };
    Limits {
        window_slots: params.window_slots as u64,
        waiting_commands: params.waiting_commands,
        batch_commands: params.batch_commands,
        page_slots: params.page_slots,
        lanes: params.lanes,
        snapshot_slots: never(params.snapshot_slots),
        retained_slots: params.retained_slots,
        watermark_slots: never(params.watermark_slots),
        high_watermark_slots: params.high_watermark_slots as u64,
        lag_slots: params.lag_slots as u64,
        read_batch: params.read_batch,
        ..Limits::default()
    }
}

/// Which of a group's quorums are contacted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contacted {
    /// All nodes instead of one minimal quorum after the other.
    pub(crate) everybody: bool,
    /// Which minimal quorum is first.
    pub(crate) first: usize,
}

/// The groups of so many nodes, which expressions call `prefix` and a number; one of majorities if there are none.
pub(crate) fn groups(
    prefix: char,
    nodes: usize,
    params: &[QuorumParams],
    contacted: Contacted,
) -> Result<Vec<Group>, String> {
    let systems = if params.is_empty() {
        vec![quorum_params::majority(nodes)]
    } else {
        params.iter().map(|group| group.system(prefix, nodes)).collect::<Result<_, _>>()?
    };
    let schedule = |mut quorums: Vec<_>| {
        if contacted.everybody || quorums.is_empty() {
            return Schedule::everyone();
        }
        let first = contacted.first % quorums.len();
        quorums.rotate_left(first);
        Schedule::rotation(quorums)
    };
    let group = |system: Arc<dyn parthood_quorums::QuorumSystem>| Group {
        reads: schedule(quorum_params::minimal(nodes, |set| system.is_read_quorum(set))),
        writes: schedule(quorum_params::minimal(nodes, |set| system.is_write_quorum(set))),
        system,
    };
    Ok(systems.into_iter().map(group).collect())
}

/// All nodes that are no clients.
fn nodes<'a, M: StateMachine, F: Rules>(
    config: &'a Arc<Config<F>>,
    without_disk: &'a [usize],
) -> impl Iterator<Item = Node<M, F>> + use<'a, M, F> {
    let layout = config.layout;
    (0..layout.nodes()).filter_map(move |id| {
        let (role, index) = layout.role(Id::from(id));
        let lost_storage = role == Role::Acceptor && without_disk.contains(&index);
        Node::of(role, Part { index, lost_storage, config: config.clone() })
    })
}

/// The clients, which turn to these nodes.
pub(crate) fn clients<F: Rules>(
    config: &Arc<Config<F>>,
    contacts: &[Id],
    clients: &[ClientParams],
) -> Result<Vec<Reader<AppendLogCommand, F>>, String> {
    if let Some(client) = clients.iter().find(|client| client.first >= contacts.len()) {
        return Err(format!("no client can turn to number {} of {}", client.first, contacts.len()));
    }
    let client = |client: &ClientParams| Reader {
        writer: Client {
            contacts: contacts.to_vec(),
            first_contact: client.first,
            script: vec![],
            lanes: 1,
            known: !client.opens_session,
            application: None,
            retries_max: client.retries,
            // Only the simulator has a clock that this matters to.
            retry_after: Duration::from_millis(100)..Duration::from_millis(200),
        },
        script: client.script.iter().map(|ask| Ask::from(*ask)).collect(),
        read: None,
        turn: client.turn,
        config: config.clone(),
    };
    Ok(clients.iter().map(client).collect())
}

impl<M: StateMachine, F: Rules> InParts for Compartmentalized<M, F> {
    type Machine = M;
    type Order = M;
    type Rules = F;

    fn scope(&self) -> &Scope<M, F> {
        &self.scope
    }

    fn ordering(state: &State<M>) -> Option<&State<M>> {
        Some(state)
    }

    fn serving(state: &State<M>) -> Option<&State<M>> {
        Some(state)
    }

    fn said(msg: &Msg<M>) -> Option<&Msg<M>> {
        Some(msg)
    }

    fn record(ghost: &Ghost<M>) -> &Ghost<M> {
        ghost
    }

    fn is_chosen(view: &View<'_, Self>, slot: Slot, value: &ValueOf<M>) -> bool {
        view.ghost.votes.is_chosen(slot, value, properties::write_quorums(view.protocol))
    }
}

impl<M: StateMachine, F: Rules> Protocol for Compartmentalized<M, F> {
    type Actor = Node<M, F>;
    type Ghost = Ghost<M>;

    fn actors(&self) -> Vec<Node<M, F>> {
        self.actors.clone()
    }

    fn ghost(&self) -> Ghost<M> {
        Ghost::default()
    }

    fn observe(&self, ghost: &mut Cow<'_, Ghost<M>>, step: &Step<'_, Node<M, F>>) {
        observe(self, ghost, step);
        ghost::observe_leader(&self.scope.config, ghost, step);
    }

    fn properties(&self) -> Vec<Property<Self>> {
        (self.properties)()
    }

    /// Rounds, slots, watermarks and sequence numbers only grow, so what is behind them stays behind; but a replica that
    /// cannot answer another one now may be able to later, and one that needs no snapshot now may need it later.
    fn dead(&self, dst: Id, state: &State<M>, src: Id, msg: &Msg<M>) -> bool {
        match (state, msg) {
            (_, Msg::CatchUp { .. } | Msg::FetchSnapshot { .. }) => false,
            (State::Replica(replica), Msg::SnapshotPart(part)) => part.slot <= replica.replica.executed,
            _ => self.actors[usize::from(dst)].ignores(dst, state, src, msg),
        }
    }

    fn may_restart(&self, id: Id) -> bool {
        self.restartable.contains(&self.role_of(id).0)
    }

    /// Timers of one kind share a budget, in this order: election, ping, resend, catch-up, batch, retry. A leader proposes as
    /// often as there is something to propose.
    fn budget(&self, _: Id, timer: &Timer) -> Budget {
        Budget::Shared(match timer {
            Timer::Propose => return Budget::Unlimited,
            Timer::Election => 0,
            Timer::Ping => 1,
            Timer::Resend => 2,
            Timer::CatchUp => 3,
            Timer::Batch => 4,
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
