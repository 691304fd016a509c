//! The `BPaxos` paper's throughput: more and more leaders, and commands that conflict, beside `MultiPaxos`.
//!
//! Its machines and its runtime are others than those of the other figures, so it has a table of its own, fitted to two of its
//! experiments: three leaders bind (50 µs a command), and five or more leave the replicas to bind, the more the more leaders
//! there are. (The reference's executor goes round the columns of leaders, and a conflicting command names a vertex of each.)
//! All else follows. Leaders propose themselves, as the paper has one of each on a machine; acceptors are asked `f + 1` at a
//! time, dependency nodes all. `MultiPaxos` is the log in parts with a leader and a replica on one server, `f + 1` of these.
//! `EPaxos` is in [`super::egalitarian`]. Not here: few clients, for which the paper's replicas run the graph in batches of half of them.

use super::cost::{handled, micros};
use super::measure::{Deployment, Measured, measure};
use super::server::Server;
use super::systems::{Batching, NEVER, Parts, Shape, known_clients, writer};
use super::{Drawn, Figure, Point};
use crate::draw::float;
use crate::error::Error;
use itertools::iproduct;
use parthood_protocols::bpaxos::{Bounds, Config, Fast, Layout, Limits, Msg, Node, Part, State, Timing};
use parthood_protocols::client::ClientMsg;
use parthood_protocols::compartmentalized::{self as parts, Group};
use parthood_protocols::faults::Correct;
use parthood_protocols::schedule::Schedule;
use parthood_protocols::state_machine::{Bytes, KeyValue, KeyValueCommand};
use parthood_quorums::Majority;
use parthood_runtime::sim::Work;
use parthood_runtime::{Cause, Step};
use rayon::prelude::*;
use stateright::actor::{Actor, Command, Id};
use std::sync::Arc;
use std::time::Duration;

/// As in the ablation of the paper.
pub(super) const CLIENTS: usize = 600;
const KEYS: usize = 10_000;
/// More than a client can get answered in a run.
const COMMANDS: usize = 400;

/// Costs in microseconds of one server's time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GraphCosts {
    /// A leader, dependency node or acceptor receives or sends anything. Fitted to three leaders; of the latter two no point
    /// of the data needed them to bind.
    pub message: f64,
    /// A replica receives and executes a vertex. Fitted.
    pub replica_vertex: f64,
    /// For each leader there is. Fitted.
    pub replica_column: f64,
    /// For each leader of which a vertex names dependencies. Fitted.
    pub replica_dependency: f64,
    /// A replica replies. Fitted.
    pub replica_reply: f64,
    /// A server with all roles receives or sends anything. Calibrated.
    pub coupled_message: f64,
    /// A server of `MultiPaxos` that leads and executes receives or sends anything. Fitted between one and two failures.
    pub multipaxos_message: f64,
    /// A server of `EPaxos` receives or sends anything. Fitted to one failure without conflicts.
    pub epaxos_message: f64,
    /// It commits a vertex, for each leader of which that names dependencies. Fitted to two failures with conflicts.
    pub epaxos_dependency: f64,
}

impl Default for GraphCosts {
    fn default() -> Self {
        Self {
            message: 3.85,
            replica_vertex: 8.1,
            replica_column: 0.62,
            replica_dependency: 1.0,
            replica_reply: 3.2,
            coupled_message: 8.2,
            multipaxos_message: 5.8,
            epaxos_message: 9.1,
            epaxos_dependency: 25.0,
        }
    }
}

/// A deployment that survives `f` failures, and so many of a hundred commands that conflict.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deployed {
    pub(super) f: usize,
    pub(super) leaders: usize,
    pub(super) percent: usize,
}

impl Deployed {
    pub(super) fn layout(self) -> Layout {
        let acceptors = 2 * self.f + 1;
        let Self { leaders, f, .. } = self;
        Layout {
            leaders,
            dependency_nodes: acceptors,
            acceptors,
            replicas: f + 1,
            proposers: 0,
            coupled: false,
        }
    }

    fn config(layout: Layout, fast: Option<Fast>) -> Arc<Config> {
        let everyone = Schedule::everyone;
        let system = Arc::new(Majority::new(layout.dependency_nodes.max(1)));
        let acceptors = Shape::Majority(layout.acceptors).group();
        let asked = Group { system, reads: everyone(), writes: everyone() };
        Arc::new(Config {
            layout,
            dependencies: if fast.is_some() { acceptors.clone() } else { asked },
            acceptors,
            fast,
            compaction: Some(1),
            saves_needed: 2,
            known_clients: known_clients(layout.nodes(), CLIENTS),
            // The paper's code takes no snapshots and forgets nothing.
            limits: Limits {
                snapshot_vertices: u64::MAX,
                log_bytes: usize::MAX,
                generation_vertices: usize::MAX,
                generation_parts: usize::MAX,
                ..Limits::default()
            },
            timing: Timing {
                resend: NEVER,
                backoff: NEVER..2 * NEVER,
                recover: NEVER..2 * NEVER,
                catch_up: NEVER,
                // The published runs have one command to a vertex.
                gather: None,
            },
            bounds: Bounds::default(),
            faults: Correct,
        })
    }

    pub(super) fn nodes(layout: Layout, fast: Option<Fast>) -> impl Iterator<Item = Node<KeyValue>> {
        let config = Self::config(layout, fast);
        let node = move |id| {
            let (role, index) = layout.node(Id::from(id));
            Node::of(role, Part { index, lost_storage: false, config: config.clone() })
        };
        (0..layout.nodes()).filter_map(node)
    }

    /// Writes of one key, and reads of others.
    fn script(self, client: usize) -> Vec<KeyValueCommand> {
        let command = |number: usize| {
            if (number * 37 + client * 61) % 100 < self.percent {
                KeyValueCommand::Put(Bytes::from("shared"), Bytes::from("8 bytes."))
            } else {
                let key = (number * CLIENTS + client) % KEYS;
                KeyValueCommand::Get(Bytes::from(&format!("{key}")))
            }
        };
        (0..COMMANDS).map(command).collect()
    }

    pub(super) fn clients(self) -> impl Iterator<Item = Node<KeyValue>> {
        (0..CLIENTS).map(move |number| {
            let mut client = writer(0..self.leaders, self.script(number));
            client.first_contact = number % self.leaders;
            Node::Client(client)
        })
    }

    fn apart(self, costs: GraphCosts) -> Deployment<Node<KeyValue>> {
        self.apart_as(self.layout(), None, costs)
    }

    pub(super) fn apart_as(
        self,
        layout: Layout,
        fast: Option<Fast>,
        costs: GraphCosts,
    ) -> Deployment<Node<KeyValue>> {
        Deployment {
            actors: Self::nodes(layout, fast).chain(self.clients()).collect(),
            roles: (0..layout.nodes()).map(|id| layout.role(Id::from(id)).0.title()).collect(),
            work: work(costs, layout.leaders),
            is_answer: |msg| msg.output().is_some(),
        }
    }

    /// Three servers with a node of each role on each of them.
    fn coupled(self, costs: GraphCosts) -> Deployment<Server<Node<KeyValue>>> {
        let layout = self.layout();
        let servers: Arc<[usize]> = (0..layout.nodes()).map(|id| layout.role(Id::from(id)).1).collect();
        let roles = vec!["server"; layout.leaders];
        Deployment {
            actors: Server::deploy(Self::nodes(layout, None), self.clients(), &servers),
            work: Box::new(of_servers(roles.len(), costs.coupled_message)),
            roles,
            is_answer: |carried| carried.msg.output().is_some(),
        }
    }

    /// `MultiPaxos`: servers that execute, of which one leads and is its own proxy leader; acceptors.
    fn multipaxos(self, costs: GraphCosts) -> Deployment<Server<parts::Node<KeyValue>>> {
        let executing = self.f + 1;
        let deployed = Parts {
            leaders: executing,
            proxies: 1,
            shape: Shape::Majority(2 * self.f + 1),
            replicas: executing,
            batching: Batching::NONE,
        };
        let (layout, config) = (deployed.layout(), deployed.config(CLIENTS));
        let node = |id| {
            let (role, index) = layout.role(Id::from(id));
            parts::Node::of(role, parts::Part { index, lost_storage: false, config: config.clone() })
        };
        let server = |id| match layout.role(Id::from(id)) {
            (parts::Role::Acceptor, index) => executing + index,
            (_, index) => index,
        };
        let client = |number| {
            let ask = |command| parts::Ask { command, read: None };
            parts::Node::Client(parts::Reader {
                writer: writer(0..1, vec![]),
                script: self.script(number).into_iter().map(ask).collect(),
                read: None,
                turn: number as u64,
                config: config.clone(),
            })
        };
        let nodes = (0..layout.nodes()).filter_map(node);
        let servers: Arc<[usize]> = (0..layout.nodes()).map(server).collect();
        Deployment {
            actors: Server::deploy(nodes, (0..CLIENTS).map(client), &servers),
            roles: [vec!["server"; executing], vec!["acceptor"; layout.acceptors]].concat(),
            work: Box::new(of_servers(executing, costs.multipaxos_message)),
            is_answer: |carried| carried.msg.output().is_some(),
        }
    }
}

/// The first servers work, so long for each message.
pub(super) fn of_servers<A: Actor>(working: usize, message: f64) -> impl Fn(&Step<'_, A>) -> Duration {
    move |step| {
        let works = usize::from(step.id) < working;
        if works { micros(message * handled(step)) } else { Duration::ZERO }
    }
}

/// What steps cost. Clients work for free.
fn work(costs: GraphCosts, leaders: usize) -> Work<Node<KeyValue>> {
    Box::new(move |step| {
        micros(match step.after {
            State::Leader(_) | State::DependencyNode(_) | State::Acceptor(_) | State::Server(_) => {
                costs.message * handled(step)
            }
            State::Replica(_) => replica(costs, leaders, step),
            _ => 0.0,
        })
    })
}

fn replica(costs: GraphCosts, leaders: usize, step: &Step<'_, Node<KeyValue>>) -> f64 {
    let Cause::Deliver { msg: Msg::Commit(committed), .. } = step.cause else { return 0.0 };
    let reply = |command: &&Command<_, _, _, _>| {
        matches!(command, Command::Send(_, Msg::Client(ClientMsg::Reply { .. })))
    };
    let named: usize = committed.iter().map(|committed| committed.proposal.deps.ranges()).sum();
    let vertex = costs.replica_vertex + costs.replica_column * float(leaders);
    vertex * float(committed.len())
        + costs.replica_dependency * float(named)
        + costs.replica_reply * float(step.out.iter().filter(reply).count())
}

/// Three servers, each in every role, and then a node for a role, with more and more leaders.
///
/// # Errors
/// When a run comes to a stop, which is a bug.
pub fn leaders(costs: GraphCosts) -> Result<Figure, Error> {
    let wanted = [
        (0, 19_400.0),
        (3, 59_900.0),
        (4, 71_900.0),
        (5, 78_700.0),
        (6, 71_200.0),
        (7, 70_400.0),
        (8, 69_100.0),
        (9, 61_500.0),
        (10, 63_300.0),
    ];
    let points = wanted.into_par_iter().map(|(leaders, published)| {
        let deployed = Deployed { f: 1, leaders: leaders.max(3), percent: 0 };
        let measured = if leaders == 0 {
            measure(Deployed { f: 1, ..deployed }.coupled(costs))?
        } else {
            measure(deployed.apart(costs))?
        };
        let doubt = (leaders == 0).then_some("the paper's coupled servers may have had a smaller heap");
        let tick = if leaders == 0 { "coupled".into() } else { format!("{leaders} leaders") };
        Ok(point("reads of different keys", &deployed, tick, leaders, (measured, published), doubt))
    });
    Ok(Figure {
        name: "leaders",
        title: "BPaxos, coupled and in parts",
        x: "leaders",
        drawn: Drawn::Bars,
        points: points.collect::<Result<_, Error>>()?,
    })
}

/// Commands of which none, 2 % or 10 % conflict, with one and with two failures to survive; `MultiPaxos` takes no notice.
///
/// # Errors
/// When a run comes to a stop, which is a bug.
pub fn conflicts(costs: GraphCosts) -> Result<Figure, Error> {
    let graph = [
        (1, 5, 0, 75_100.0),
        (1, 5, 2, 74_800.0),
        (1, 5, 10, 70_400.0),
        (2, 10, 0, 62_200.0),
        (2, 10, 2, 64_800.0),
        (2, 10, 10, 60_300.0),
    ];
    let log = iproduct!([(1, 29_200.0), (2, 16_300.0)], [0, 2, 10]);
    let log = log.map(|((f, published), percent)| (f, 0, percent, published));
    let wanted: Vec<_> = graph.into_iter().chain(log).collect();
    let points = wanted.into_par_iter().map(|(f, leaders, percent, published)| {
        let deployed = Deployed { f, leaders, percent };
        let tick = format!("{percent} %");
        if leaders > 0 {
            let measured = measure(deployed.apart(costs))?;
            let series = format!("BPaxos, f = {f}");
            return Ok(point(&series, &deployed, tick, percent, (measured, published), None));
        }
        Ok(Point {
            series: format!("MultiPaxos, f = {f}"),
            label: format!("{} leaders with a replica each, {} acceptors", f + 1, 2 * f + 1),
            tick,
            x: float(percent),
            measured: measure(deployed.multipaxos(costs))?,
            published: Some(published),
            doubt: None,
        })
    });
    Ok(Figure {
        name: "conflicts",
        title: "When commands conflict",
        x: "conflicting commands, in percent",
        drawn: Drawn::Lines,
        points: points.collect::<Result<_, Error>>()?,
    })
}

fn point(
    series: &str,
    deployed: &Deployed,
    tick: String,
    x: usize,
    (measured, published): (Measured, f64),
    doubt: Option<&'static str>,
) -> Point {
    let Layout { leaders, acceptors, replicas, .. } = deployed.layout();
    let label = match x {
        0 if doubt.is_some() => format!("{leaders} servers"),
        _ => format!(
            "{leaders} leaders, {acceptors} dependency nodes, {acceptors} acceptors, {replicas} replicas"
        ),
    };
    Point { series: series.into(), label, tick, x: float(x), measured, published: Some(published), doubt }
}
