//! S-Paxos before and after compartmentalization (the earlier draft of the paper, unbatched).
//!
//! The draft's state machine does nothing and its commands are empty, so a replica spends on a command what receiving
//! costs a proxy leader; disseminators and stabilizers, of which no data are published, are taken to be as fast as proxy
//! leaders. Nothing is calibrated: all other costs are those of the other figures.

use super::compartmentalized::writes;
use super::cost::{handled, micros};
use super::draft::DRAFT;
use super::measure::{Deployment, measure};
use super::server::{Server, work_of_servers};
use super::systems::{Batching, NEVER, known, writer};
use super::{Costs, Drawn, Figure, Point, Workload};
use crate::draw::float;
use crate::error::Error;
use itertools::Itertools as _;
use parthood_protocols::client::ClientMsg;
use parthood_protocols::command::Value;
use parthood_protocols::compartmentalized::{self as parts, Group, Reader};
use parthood_protocols::faults::Correct;
use parthood_protocols::schedule::Schedule;
use parthood_protocols::spaxos::{Config, InParts, Msg, Node, Role, State};
use parthood_protocols::state_machine::KeyValue;
use parthood_quorums::{Cluster, NodeSet, ReadWriteQuorumSystem};
use parthood_runtime::sim::Work;
use parthood_runtime::{Cause, Step};
use rayon::prelude::*;
use stateright::actor::{Command, Id};
use std::fmt;
use std::sync::Arc;

/// How many nodes there are of each role; acceptors and stabilizers in groups of three.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) disseminators: usize,
    pub(super) stores: usize,
    pub(super) proxies: usize,
    pub(super) acceptor_groups: usize,
    pub(super) replicas: usize,
    pub(super) batching: Batching,
}

/// Enough to keep the busiest node busy through ten hops.
const CLIENTS: usize = 1_000;
const SERVERS: usize = 3;

/// Three servers, each in every role, and then a node for a role, more and more of them.
///
/// # Errors
/// When a run comes to a stop, which is a bug.
pub fn spaxos(costs: Costs) -> Result<Figure, Error> {
    let sizes = |disseminators, stores, proxies, acceptor_groups| Sizes {
        disseminators,
        stores,
        proxies,
        acceptor_groups,
        replicas: 2,
        batching: Batching::NONE,
    };
    let doubt = "the sizes behind this number are known from a script only";
    let wanted = [
        (None, Some(22_000.0), None),
        (Some(sizes(2, 1, 2, 1)), None, None),
        (Some(sizes(4, 1, 4, 1)), None, None),
        (Some(sizes(6, 2, 6, 1)), None, None),
        (Some(sizes(13, 4, 14, 2)), Some(180_000.0), Some(doubt)),
    ];
    let points = wanted.into_par_iter().enumerate().map(|(step, (sizes, published, doubt))| {
        let measured = match sizes {
            None => measure(coupled(CLIENTS, Batching::NONE, costs))?,
            Some(sizes) => measure(in_parts(sizes, CLIENTS, costs))?,
        };
        let (label, tick) = name(sizes);
        let x = float(step);
        Ok(Point { series: "writes".into(), label, tick, x, measured, published, doubt })
    });
    let points = points.collect::<Result<Vec<_>, Error>>()?;
    let title = "S-Paxos, coupled and in parts";
    Ok(Figure {
        name: "spaxos",
        title,
        x: "disseminators + stabilizers + proxy leaders",
        drawn: Drawn::Bars,
        points,
    })
}

fn name(sizes: Option<Sizes>) -> (String, String) {
    let Some(sizes) = sizes else { return (format!("{SERVERS} servers"), "coupled".into()) };
    let Sizes { disseminators, stores, proxies, .. } = sizes;
    (sizes.to_string(), format!("{disseminators} + {} + {proxies}", 3 * stores))
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { disseminators, stores, proxies, acceptor_groups, replicas, batching } = self;
        let (stabilizers, acceptors) = (3 * stores, 3 * acceptor_groups);
        write!(
            f,
            "2 leaders, {disseminators} disseminators, {stabilizers} stabilizers in {stores} groups, {proxies} proxy leaders, \
             {acceptors} acceptors in {acceptor_groups} groups, {replicas} replicas{batching}"
        )
    }
}

/// Groups of three nodes with majorities. Acceptors are asked two at a time, in turn; all stabilizers store.
fn groups(count: usize, thrifty: bool) -> Vec<Group> {
    let names = (0..3 * count).map(|node| format!("n{node}"));
    let cluster = Cluster::named(names).expect("the names differ");
    let group = |first: usize| {
        let [a, b, c] = [first, first + 1, first + 2];
        let reads = format!("choose(2, n{a}, n{b}, n{c})");
        let system =
            ReadWriteQuorumSystem::parse(&cluster, Some(&reads), None).expect("majorities intersect");
        let quorums = [a, b, c].into_iter().combinations(2).map(NodeSet::from_iter);
        let turns = if thrifty { Schedule::rotation(quorums) } else { Schedule::everyone() };
        Group { system: Arc::new(system), reads: turns.clone(), writes: turns }
    };
    (0..count).map(|number| group(3 * number)).collect()
}

fn config(leaders: usize, sizes: Sizes, clients: usize) -> Arc<Config> {
    let layout = parts::Layout {
        leaders,
        proxies: sizes.proxies,
        acceptors: 3 * sizes.acceptor_groups,
        replicas: sizes.replicas,
        batchers: sizes.batching.batchers,
        unbatchers: sizes.batching.unbatchers,
        read_batchers: 0,
    };
    let stabilizers = 3 * sizes.stores;
    let first_client = layout.nodes() + sizes.disseminators + stabilizers;
    let parts = parts::Config {
        layout,
        leader_groups: 1,
        groups: groups(sizes.acceptor_groups, true),
        saves_needed: 2,
        known_clients: known(first_client, &writes(clients)),
        read_scheme: parts::ReadScheme::Timed,
        limits: parts::Limits {
            batch_commands: sizes.batching.commands,
            batch_bytes: usize::MAX,
            ..parts::Limits::default()
        },
        timing: parts::Timing {
            election: NEVER..2 * NEVER,
            ping: NEVER,
            resend: NEVER,
            catch_up: NEVER,
            ..parts::Timing::default()
        },
        bounds: parts::Bounds::default(),
        faults: InParts(Correct),
    };
    Arc::new(Config::new(parts, sizes.disseminators, stabilizers, groups(sizes.stores, false), 1 << 32))
}

fn clients(config: &Arc<Config>, count: usize) -> impl Iterator<Item = Node<KeyValue>> {
    let workload: Workload = writes(count);
    let (layout, parts) = (config.layout, config.layout.parts);
    let (first, contacts) = match parts.batchers {
        0 => (layout.disseminator(0), layout.disseminators),
        batchers => (parts.id(parts::Role::Batcher, 0), batchers),
    };
    let contacts = usize::from(first)..usize::from(first) + contacts;
    (0..count).map(move |number| {
        let mut client = writer(contacts.clone(), vec![]);
        client.first_contact = number % contacts.len();
        let script = workload.script(number).into_iter();
        let script = script.map(|command| parts::Ask { command, read: None }).collect();
        let config_of_parts = config.parts.clone();
        let reader =
            Reader { writer: client, script, read: None, turn: number as u64, config: config_of_parts };
        Node::client(config, reader)
    })
}

/// Every node a server of its own.
pub(super) fn in_parts(sizes: Sizes, count: usize, costs: Costs) -> Deployment<Node<KeyValue>> {
    let config = config(2, sizes, count);
    let ids = || (0..config.layout.nodes()).map(Id::from);
    Deployment {
        actors: ids().filter_map(|id| Node::of(&config, id, false)).chain(clients(&config, count)).collect(),
        roles: ids().map(|id| config.layout.role(id).0.title()).collect(),
        work: work_in_parts(costs),
        is_answer: |msg| msg.output().is_some(),
    }
}

/// What steps cost. Clients work for free.
fn work_in_parts(costs: Costs) -> Work<Node<KeyValue>> {
    Box::new(move |step: &Step<'_, Node<KeyValue>>| {
        let handled = handled(step);
        let is_answer =
            |command: &&Command<_, _, _, _>| matches!(command, Command::Send(_, msg) if is_reply(msg));
        micros(match step.after {
            State::Order(parts::State::Leader(_)) => costs.leader_message * handled,
            State::Order(parts::State::Acceptor(_)) => costs.acceptor_message * handled,
            State::Order(_) | State::Disseminator(_) | State::Stabilizer(_) => costs.proxy_message * handled,
            State::Serve(parts::State::Replica(_)) => {
                let replies = float(step.out.iter().filter(is_answer).count());
                let received = match &step.cause {
                    Cause::Deliver { msg: Msg::Serve(parts::Msg::Chosen { values, .. }), .. } => {
                        let commands = values.iter().flat_map(Value::commands).count();
                        costs.proxy_message + DRAFT.replica_command * float(commands.saturating_sub(1))
                    }
                    Cause::Deliver { .. } => costs.proxy_message,
                    _ => 0.0,
                };
                costs.replica_reply * replies + received
            }
            State::Serve(parts::State::Batcher(_)) => costs.batcher_message * handled,
            State::Serve(parts::State::Unbatcher) => {
                costs.unbatcher_batch + costs.unbatcher_reply * (handled - 1.0)
            }
            State::Serve(_) => 0.0,
        })
    })
}

fn is_reply(msg: &Msg<KeyValue>) -> bool {
    matches!(msg, Msg::Serve(parts::Msg::Reply(_) | parts::Msg::Replies(_)))
}

/// Three servers with a node of each role on each of them; the proxy leader is on the leader's.
pub(super) fn coupled(count: usize, batching: Batching, costs: Costs) -> Deployment<Server<Node<KeyValue>>> {
    let sizes = Sizes {
        disseminators: SERVERS,
        stores: 1,
        proxies: 1,
        acceptor_groups: 1,
        replicas: SERVERS,
        batching,
    };
    let config = config(2, sizes, count);
    let ids = || (0..config.layout.nodes()).map(Id::from);
    let servers: Arc<[usize]> = ids()
        .map(|id| match config.layout.role(id) {
            (Role::ProxyLeader, _) => 0,
            (_, index) => index,
        })
        .collect();
    let nodes = ids().filter_map(|id| Node::of(&config, id, false));
    Deployment {
        actors: Server::deploy(nodes, clients(&config, count), &servers),
        roles: vec!["server"; SERVERS],
        work: work_of_servers(SERVERS, batching, costs, |msg| {
            matches!(msg, Msg::Serve(parts::Msg::Client(ClientMsg::Request(_))))
        }),
        is_answer: |carried| carried.msg.output().is_some(),
    }
}
