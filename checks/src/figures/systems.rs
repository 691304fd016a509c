//! What is deployed, and what its clients ask for.

use super::cost::Costs;
use super::many_keys::{Asked, KEYS, MANY, ManyKeys};
use super::measure::{Deployment, Measured, measure};
use super::server::Server;
use crate::draw::float;
use crate::error::Error;
use itertools::Itertools as _;
use parthood_protocols::client::Client;
use parthood_protocols::compartmentalized::{
    self as parts, Ask, Consistency, Group, Layout, Part, Reader, Role,
};
use parthood_protocols::faults::Correct;
use parthood_protocols::schedule::Schedule;
use parthood_protocols::state_machine::{Bytes, KeyValue, KeyValueCommand};
use parthood_protocols::{craq, multipaxos, unreplicated};
use parthood_quorums::{Majority, NodeSet};
use stateright::actor::Id;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Longer than any run: nothing is lost, so nothing need be sent again, and nobody stands for election.
pub(super) const NEVER: Duration = Duration::from_secs(3_600);
/// Batches are sent when they are full: with enough clients, long before this.
const BATCH_DUE: Duration = Duration::from_millis(20);
/// Slots in flight at a coupled leader that batches; what comes meanwhile is the next batch.
const BATCHES_IN_FLIGHT: usize = 8;

/// What is deployed.
#[derive(Clone, Debug, PartialEq)]
pub enum System {
    /// One server: [`unreplicated`], or, behind batchers, everything else of [`parts`] on it.
    Unreplicated(Batching),
    /// [`multipaxos`] with so many servers.
    Coupled {
        /// The servers.
        servers: usize,
        /// The most commands in a slot.
        batch: usize,
    },
    /// [`parts`].
    Parts(Parts),
    /// [`craq`] with so many nodes.
    Chain {
        /// The nodes.
        nodes: usize,
    },
}

/// A deployment of [`parts`], in which every role is there as often as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// How many leaders, one of them active.
    pub leaders: usize,
    /// How many proxy leaders.
    pub proxies: usize,
    /// How the acceptors are arranged.
    pub shape: Shape,
    /// How many replicas.
    pub replicas: usize,
    /// How commands are batched.
    pub batching: Batching,
}

impl Parts {
    /// How many of each role.
    pub fn layout(&self) -> Layout {
        Layout {
            leaders: self.leaders,
            proxies: self.proxies,
            acceptors: self.shape.acceptors(),
            replicas: self.replicas,
            batchers: self.batching.batchers,
            unbatchers: self.batching.unbatchers,
            read_batchers: 0,
        }
    }

    /// What its nodes know, if there are so many clients.
    pub(super) fn config(&self, clients: usize) -> Arc<parts::Config> {
        let layout = self.layout();
        let timing = parts::Timing {
            election: NEVER..2 * NEVER,
            ping: NEVER,
            resend: NEVER,
            catch_up: NEVER,
            batch: BATCH_DUE,
            gather: None,
        };
        Arc::new(parts::Config {
            layout,
            leader_groups: 1,
            groups: vec![self.shape.group()],
            saves_needed: self.replicas.min(2),
            known_clients: known_clients(layout.nodes(), clients),
            read_scheme: parts::ReadScheme::Timed,
            limits: parts::Limits {
                batch_commands: self.batching.commands,
                batch_bytes: usize::MAX,
                ..parts::Limits::default()
            },
            timing,
            bounds: parts::Bounds::default(),
            faults: Correct,
        })
    }
}

/// How commands are batched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// The nodes that collect commands.
    pub batchers: usize,
    /// The nodes that deal out replies.
    pub unbatchers: usize,
    /// The commands in a batch.
    pub commands: usize,
}

impl Batching {
    /// Every command has a slot of its own.
    pub const NONE: Self = Self { batchers: 0, unbatchers: 0, commands: 1 };
}

/// How acceptors are arranged. One quorum is contacted at a time, each in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Majorities of so many.
    Majority(usize),
    /// Rows are read quorums, columns write quorums.
    Grid {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
    },
}

/// What the clients ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    /// Clients, each with one command outstanding.
    pub clients: usize,
    /// The share of reads.
    pub reads: f64,
    /// What reads promise.
    pub consistency: Consistency,
    /// The share of commands that concern one hot key.
    pub skew: f64,
    /// The bytes of a value.
    pub value_bytes: usize,
    /// Whether a command is a request for 50 keys. What counts is then keys.
    pub many_keys: bool,
}

impl fmt::Display for Batching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batchers, unbatchers, commands } = self;
        if *batchers > 0 {
            write!(f, ", {batchers} batchers of {commands}")?;
        }
        if *unbatchers > 0 {
            write!(f, ", {unbatchers} unbatchers")?;
        }
        Ok(())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Majority(nodes) => write!(f, "{nodes} acceptors"),
            Self::Grid { rows, columns } => write!(f, "a {rows}x{columns} grid"),
        }
    }
}

impl Shape {
    pub(super) fn group(self) -> Group {
        match self {
            Self::Majority(nodes) => {
                let quorums = (0..nodes).combinations(nodes / 2 + 1).map(NodeSet::from_iter);
                let turns = Schedule::rotation(quorums);
                Group { system: Arc::new(Majority::new(nodes)), reads: turns.clone(), writes: turns }
            }
            Self::Grid { rows, columns } => Group::grid(0, rows, columns),
        }
    }

    /// The number of acceptors.
    pub fn acceptors(self) -> usize {
        match self {
            Self::Majority(nodes) => nodes,
            Self::Grid { rows, columns } => rows * columns,
        }
    }

    /// The members of a write quorum.
    pub(super) fn write_quorum(self) -> usize {
        match self {
            Self::Majority(nodes) => nodes / 2 + 1,
            Self::Grid { rows, .. } => rows,
        }
    }

    /// The share of the write quorums that an acceptor is a member of, which take turns.
    pub(super) fn share_of_writes(self) -> f64 {
        match self {
            Self::Majority(nodes) => float(nodes / 2 + 1) / float(nodes),
            Self::Grid { columns, .. } => 1.0 / float(columns),
        }
    }

    /// The same of read quorums.
    pub(super) fn share_of_reads(self) -> f64 {
        match self {
            Self::Majority(_) => self.share_of_writes(),
            Self::Grid { rows, .. } => 1.0 / float(rows),
        }
    }
}

impl System {
    /// Runs it.
    ///
    /// # Errors
    /// When the run comes to a stop, which is a bug.
    pub fn run(&self, workload: &Workload, costs: Costs) -> Result<Measured, Error> {
        match *self {
            Self::Unreplicated(Batching::NONE) => measure(unreplicated(workload, costs)),
            Self::Unreplicated(batching) => measure(behind_batchers(batching, workload, costs)),
            Self::Coupled { servers, batch } => measure(coupled(servers, batch, workload, costs)),
            Self::Parts(deployed) if workload.many_keys => {
                let requests = measure(in_parts::<ManyKeys>(deployed, workload, costs))?;
                Ok(Measured { per_second: requests.per_second * f64::from(MANY), ..requests })
            }
            Self::Parts(deployed) => measure(in_parts::<KeyValue>(deployed, workload, costs)),
            Self::Chain { nodes } => measure(chain(nodes, workload, costs)),
        }
    }
}

fn unreplicated(workload: &Workload, costs: Costs) -> Deployment<unreplicated::Node<KeyValue>> {
    let server = unreplicated::Server {
        known_clients: known(1, workload),
        lanes_max: workload.clients,
        faults: Correct,
    };
    let client = |number| unreplicated::Node::Client(writer(0..1, workload.script(number)));
    Deployment {
        actors: std::iter::once(unreplicated::Node::Server(server))
            .chain((0..workload.clients).map(client))
            .collect(),
        roles: vec!["server"],
        work: costs.unreplicated(),
        is_answer: |msg| msg.output().is_some(),
    }
}

fn coupled(
    servers: usize,
    batch: usize,
    workload: &Workload,
    costs: Costs,
) -> Deployment<multipaxos::Node<KeyValue>> {
    let timing = multipaxos::Timing {
        election: NEVER..2 * NEVER,
        ping: NEVER,
        resend: NEVER,
        catch_up: NEVER,
        gather: None,
    };
    let config = Arc::new(multipaxos::Config {
        servers,
        groups: vec![Arc::new(Majority::new(servers))],
        known_clients: known(servers, workload),
        limits: multipaxos::Limits {
            window_slots: if batch > 1 { BATCHES_IN_FLIGHT } else { 1 << 16 },
            batch_commands: batch,
            ..multipaxos::Limits::default()
        },
        timing,
        bounds: multipaxos::Bounds::default(),
        faults: Correct,
    });
    let server =
        |index| multipaxos::Node::Server(multipaxos::Server { index, voting: true, config: config.clone() });
    let client = |number| multipaxos::Node::Client(writer(0..1, workload.script(number)));
    Deployment {
        actors: (0..servers).map(server).chain((0..workload.clients).map(client)).collect(),
        roles: vec!["server"; servers],
        work: costs.coupled(batch > 1),
        is_answer: |msg| matches!(msg, multipaxos::Msg::Client(msg) if msg.output().is_some()),
    }
}

/// One server with a node of each role, batchers and unbatchers in front of it.
fn behind_batchers(
    batching: Batching,
    workload: &Workload,
    costs: Costs,
) -> Deployment<Server<parts::Node<KeyValue>>> {
    let deployed = Parts { leaders: 1, proxies: 1, shape: Shape::Majority(1), replicas: 1, batching };
    let layout = deployed.layout();
    let (nodes, clients) = actors(deployed, workload);
    let mut servers = vec![0; layout.nodes()];
    let mut roles = vec!["server"];
    for role in [Role::Batcher, Role::Unbatcher] {
        for id in layout.ids(role) {
            servers[usize::from(id)] = roles.len();
            roles.push(role.title());
        }
    }
    Deployment {
        actors: Server::deploy(nodes, clients, &servers.into()),
        roles,
        work: costs.behind_batchers(),
        is_answer: |carried| carried.msg.output().is_some(),
    }
}

fn in_parts<M: Asked>(deployed: Parts, workload: &Workload, costs: Costs) -> Deployment<parts::Node<M>> {
    let layout = deployed.layout();
    let (nodes, clients) = actors(deployed, workload);
    Deployment {
        actors: nodes.into_iter().chain(clients).collect(),
        roles: (0..layout.nodes()).map(|id| layout.role(Id::from(id)).0.title()).collect(),
        work: costs.in_parts(),
        is_answer: |msg| msg.output().is_some(),
    }
}

/// Nodes and clients.
fn actors<M: Asked>(deployed: Parts, workload: &Workload) -> (Vec<parts::Node<M>>, Vec<parts::Node<M>>) {
    let layout = deployed.layout();
    let config = deployed.config(workload.clients);
    let node = |id| {
        let (role, index) = layout.role(Id::from(id));
        parts::Node::of(role, Part { index, lost_storage: false, config: config.clone() })
    };
    let contacts = match layout.batchers {
        0 => 0..1,
        batchers => layout.ids(Role::Batcher).next().map_or(0..1, |first| {
            let first = usize::from(first);
            first..first + batchers
        }),
    };
    let client = |number: usize| {
        let read = Some(workload.consistency);
        let ask = |command| Ask { read: read.filter(|_| M::is_read(&command)), command };
        let mut writer = writer(contacts.clone(), vec![]);
        writer.first_contact = number % writer.contacts.len();
        parts::Node::Client(Reader {
            writer,
            script: M::script(workload, number).into_iter().map(ask).collect(),
            read,
            turn: number as u64,
            config: config.clone(),
        })
    };
    ((0..layout.nodes()).filter_map(node).collect(), (0..workload.clients).map(client).collect())
}

fn chain(nodes: usize, workload: &Workload, costs: Costs) -> Deployment<craq::Node<KeyValue>> {
    let config = Arc::new(craq::Config {
        nodes,
        known_clients: known(nodes, workload),
        pending_max: 1 << 16,
        resend_max: 64,
        lanes_max: 1 << 16,
        resend_after: NEVER..2 * NEVER,
        faults: Correct,
    });
    let node = |index| craq::Node::Chain(craq::Chain { index, config: config.clone() });
    let client = |number: usize| {
        let mut client = writer(0..nodes, workload.script(number));
        client.first_contact = number % nodes;
        craq::Node::Client(craq::Reader { client })
    };
    Deployment {
        actors: (0..nodes).map(node).chain((0..workload.clients).map(client)).collect(),
        roles: vec!["node"; nodes],
        work: costs.chain(),
        is_answer: |msg| matches!(msg, craq::Msg::Client(msg) if msg.output().is_some()),
    }
}

pub(super) fn known(nodes: usize, workload: &Workload) -> Vec<u64> {
    known_clients(nodes, workload.clients)
}

pub(super) fn known_clients(nodes: usize, clients: usize) -> Vec<u64> {
    (nodes..nodes + clients).map(|id| id as u64).collect()
}

pub(super) fn writer<C>(contacts: std::ops::Range<usize>, script: Vec<C>) -> Client<C> {
    Client {
        contacts: contacts.map(Id::from).collect(),
        first_contact: 0,
        script,
        lanes: 1,
        known: true,
        application: None,
        retries_max: u32::MAX,
        retry_after: NEVER..2 * NEVER,
    }
}

impl Workload {
    /// What a client asks for, more than it can get answered in a run.
    pub(super) fn script(&self, client: usize) -> Vec<KeyValueCommand> {
        let value = Bytes::from(&vec![b'v'; self.value_bytes]);
        let command = |(key, reads): (u32, bool)| {
            let key = Bytes::from(&format!("{key}"));
            if reads { KeyValueCommand::Get(key) } else { KeyValueCommand::Put(key, value.clone()) }
        };
        self.picks(client).map(command).collect()
    }

    /// The keys that a client's commands concern (or begin with), and whether they read.
    pub(super) fn picks(&self, client: usize) -> impl Iterator<Item = (u32, bool)> + use<> {
        const COMMANDS: usize = 400_000;
        let Self { skew, reads, .. } = *self;
        let mut random = (client as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut fraction = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX)
        };
        (0..(COMMANDS / self.clients).max(200)).map(move |_| {
            let hot = fraction() < skew;
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "not negative, and no larger than the number of keys"
            )]
            let key = if hot { 0 } else { (fraction() * f64::from(KEYS)) as u32 };
            (key, fraction() < reads)
        })
    }
}
