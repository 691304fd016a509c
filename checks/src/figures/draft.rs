//! What the paper's first draft measured of the protocol in parts: on other machines than those that [`Costs`] is fitted to,
//! with a state machine that does nothing. So what that costs a node is a table of its own ([`DRAFT`]).

use super::compartmentalized::writes;
use super::cost::{handled, micros};
use super::measure::{Deployment, measure};
use super::systems::{Batching, NEVER, System, known, writer};
use super::{Costs, Drawn, Figure, Point};
use crate::draw::float;
use crate::error::Error;
use parthood_protocols::client::Client;
use parthood_protocols::command::Value;
use parthood_protocols::compartmentalized::{
    self as parts, Ask, Bounds, Config, Group, Layout, Limits, Part, ReadScheme, Reader, Role, Timing,
};
use parthood_protocols::faults::Correct;
use parthood_protocols::schedule::Schedule;
use parthood_protocols::state_machine::{KeyValue, KeyValueCommand};
use parthood_quorums::{Node as Acceptor, NodeSet, constructions};
use parthood_runtime::{Cause, Step};
use rayon::prelude::*;
use stateright::actor::{Command, Id};
use std::ops::Range;
use std::sync::Arc;

/// Replies are dealt out by others, and every command has a slot of its own.
pub(super) const UNBATCHERS: Batching = Batching { batchers: 0, unbatchers: 10, commands: 1 };
/// The commands in a batch, as in the paper; the draft does not say.
pub(super) const BATCH: usize = 100;

pub(super) type Node = parts::Node<KeyValue>;

/// A deployment of the draft: acceptors in groups of three, of which each group of leaders has as many as the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deployed {
    pub(super) clients: usize,
    pub(super) leader_groups: usize,
    pub(super) acceptor_groups: usize,
    pub(super) proxies: usize,
    pub(super) replicas: usize,
    pub(super) batching: Batching,
}

/// Costs on the draft's machines, in microseconds.
pub(super) struct DraftCosts {
    /// A leader receives or sends anything. (208,000 commands of two messages a second, where a leader alone binds.)
    leader_message: f64,
    /// An acceptor receives or sends anything. (100,000 votes of two messages a second, where acceptors bind.)
    acceptor_message: f64,
    /// A proxy leader receives anything or asks for a vote, and tells a replica: as in the paper.
    proxy_message: f64,
    proxy_chosen: f64,
    /// A replica learns what is chosen, and replies. Calibrated with the plateau of compartmentalized Mencius.
    replica_learn: f64,
    replica_reply: f64,
    /// A replica executes a command of a batch after the first. Calibrated with the plateaus of the batched deployments.
    pub(super) replica_command: f64,
    /// A batcher receives a command or sends a batch: as in the paper.
    batcher_message: f64,
    /// An unbatcher receives a batch of replies, and sends a reply. Fitted to two points that no line joins.
    unbatcher_batch: f64,
    unbatcher_reply: f64,
}

pub(super) const DRAFT: DraftCosts = DraftCosts {
    leader_message: 2.4,
    acceptor_message: 5.0,
    proxy_message: 3.2,
    proxy_chosen: 8.5,
    replica_learn: 3.4,
    replica_reply: 2.8,
    replica_command: 1.15,
    batcher_message: 1.9,
    unbatcher_batch: 46.0,
    unbatcher_reply: 3.4,
};

/// The draft's ablation, and its largest deployment, without batches.
///
/// # Errors
/// When a run comes to a stop.
pub fn draft(costs: Costs) -> Result<Figure, Error> {
    const REPLICAS: &str = "how many replicas is not said; with two it fits";
    const ACCEPTOR: &str = "an acceptor's cost is calibrated with this plateau";
    let ablation = |proxies: usize, acceptor_groups: usize| Deployed {
        clients: 1_000,
        leader_groups: 1,
        acceptor_groups,
        proxies,
        replicas: 2,
        batching: Batching::NONE,
    };
    let full = Deployed { acceptor_groups: 3, replicas: 5, batching: UNBATCHERS, ..ablation(30, 3) };
    let wanted = [
        (ablation(2, 1), 57.0, REPLICAS),
        (ablation(3, 1), 86.0, REPLICAS),
        (ablation(4, 1), 108.0, REPLICAS),
        (ablation(5, 1), 135.0, REPLICAS),
        (ablation(6, 1), 150.0, ACCEPTOR),
        (ablation(7, 1), 155.0, ACCEPTOR),
        (ablation(8, 1), 150.0, ACCEPTOR),
        (ablation(8, 2), 177.0, REPLICAS),
        (full, 208.0, "a leader's cost is calibrated with this number"),
    ];
    let points = wanted.into_par_iter().enumerate().map(|(step, (deployed, thousands, doubt))| {
        let (label, tick) = name(&deployed);
        let (x, measured) = (float(step), measure(deployment(deployed)?)?);
        let (published, doubt) = (Some(thousands * 1e3), Some(doubt));
        Ok(Point { series: "compartmentalized".into(), label, tick, x, measured, published, doubt })
    });
    let alone = Point {
        series: "unreplicated".into(),
        label: "one server".into(),
        tick: "alone".into(),
        x: float(wanted.len()),
        measured: System::Unreplicated(Batching::NONE).run(&writes(1_000), costs)?,
        published: Some(300e3),
        doubt: None,
    };
    let points = points.collect::<Result<Vec<_>, Error>>()?;
    Ok(Figure {
        name: "draft",
        title: "The first draft's deployments",
        x: "proxy leaders / acceptor groups",
        drawn: Drawn::Bars,
        points: points.into_iter().chain([alone]).collect(),
    })
}

pub(super) fn name(deployed: &Deployed) -> (String, String) {
    let Deployed { leader_groups, acceptor_groups, proxies, replicas, batching, .. } = deployed;
    let leaders = 2 * leader_groups;
    let label = format!(
        "{leaders} leaders in {leader_groups} groups, {proxies} proxy leaders, {acceptor_groups} groups of 3 acceptors, \
         {replicas} replicas{batching}"
    );
    (label, format!("{proxies} / {acceptor_groups}"))
}

/// A client, which turns to one of these nodes, and stays with it.
pub(super) fn client(
    contacts: Range<usize>,
    number: usize,
    script: Vec<KeyValueCommand>,
) -> Client<KeyValueCommand> {
    Client { first_contact: number % contacts.len(), ..writer(contacts, script) }
}

/// A deployment in which every node is a server of its own.
pub(super) fn deployment(deployed: Deployed) -> Result<Deployment<Node>, Error> {
    let (layout, nodes, clients) = actors(deployed)?;
    Ok(Deployment {
        actors: nodes.into_iter().chain(clients).collect(),
        roles: (0..layout.nodes()).map(|id| layout.role(Id::from(id)).0.title()).collect(),
        work: Box::new(|step| micros(cost(step))),
        is_answer: |msg| msg.output().is_some(),
    })
}

/// Nodes, and clients.
pub(super) fn actors(deployed: Deployed) -> Result<(Layout, Vec<Node>, Vec<Node>), Error> {
    let Deployed { clients, leader_groups, acceptor_groups, proxies, replicas, batching } = deployed;
    let Batching { batchers, unbatchers, commands } = batching;
    let layout = Layout {
        leaders: 2 * leader_groups,
        proxies,
        acceptors: 3 * acceptor_groups,
        replicas,
        batchers,
        unbatchers,
        read_batchers: 0,
    };
    let groups =
        (0..acceptor_groups).map(|group| acceptors(group, acceptor_groups)).collect::<Result<_, _>>();
    let (nodes, workload) = (layout.nodes(), writes(clients));
    let config = Arc::new(Config {
        layout,
        leader_groups,
        groups: groups.map_err(|error: parthood_quorums::Error| Error::Usage(error.to_string()))?,
        saves_needed: 2,
        known_clients: known(nodes, &workload),
        read_scheme: ReadScheme::Timed,
        // The draft's data come from watermarks after one to twenty slots.
        limits: Limits {
            batch_commands: commands,
            batch_bytes: usize::MAX,
            high_watermark_slots: 10,
            ..Limits::default()
        },
        timing: Timing {
            election: NEVER..2 * NEVER,
            ping: NEVER,
            resend: NEVER,
            catch_up: NEVER,
            gather: None,
            ..Timing::default()
        },
        bounds: Bounds::default(),
        faults: Correct,
    });
    // The first leader of each group is the active one.
    let contacts = match layout.ids(Role::Batcher).next().map(usize::from) {
        Some(first) => first..first + batchers,
        None => 0..leader_groups,
    };
    let node = |id| {
        let (role, index) = layout.role(Id::from(id));
        parts::Node::of(role, Part { index, lost_storage: false, config: config.clone() })
    };
    let reader = |number| {
        let ask = |command| Ask { command, read: None };
        parts::Node::Client(Reader {
            writer: client(contacts.clone(), number, vec![]),
            script: workload.script(number).into_iter().map(ask).collect(),
            read: None,
            turn: number as u64,
            config: config.clone(),
        })
    };
    Ok((layout, (0..nodes).filter_map(node).collect(), (0..clients).map(reader).collect()))
}

/// The majorities of one of several groups of three acceptors, which take turns.
fn acceptors(group: usize, groups: usize) -> parthood_quorums::Result<Group> {
    let own: Vec<usize> = (0..3).map(|number| number * groups + group).collect();
    let nodes = own.iter().map(|node| Acceptor::new(*node)).collect::<parthood_quorums::Result<Vec<_>>>()?;
    let pairs = [(0, 1), (0, 2), (1, 2)].map(|(a, b)| NodeSet::from_iter([own[a], own[b]]));
    let turns = Schedule::rotation(pairs);
    Ok(Group { system: Arc::new(constructions::majority(&nodes)?), reads: turns.clone(), writes: turns })
}

/// What a step costs, in microseconds. Clients work for free.
fn cost(step: &Step<'_, parts::Node<KeyValue>>) -> f64 {
    let sends = |what: fn(&parts::Msg<KeyValue>) -> bool| {
        let found = |command: &&Command<_, _, _, _>| matches!(command, Command::Send(_, msg) if what(msg));
        float(step.out.iter().filter(found).count())
    };
    match (step.after, &step.cause) {
        (parts::State::Leader(_), _) => DRAFT.leader_message * handled(step),
        (parts::State::Acceptor(_), _) => DRAFT.acceptor_message * handled(step),
        (parts::State::ProxyLeader(_), _) => {
            let news = sends(|msg| matches!(msg, parts::Msg::Chosen { .. } | parts::Msg::ChosenNoops(_)));
            DRAFT.proxy_chosen * news + DRAFT.proxy_message * (handled(step) - news)
        }
        (parts::State::Replica(_), Cause::Deliver { msg, .. }) => {
            let replies = sends(|msg| matches!(msg, parts::Msg::Reply(_) | parts::Msg::Replies(_)));
            let commands: usize = match msg {
                parts::Msg::Chosen { values, .. } => values.iter().flat_map(Value::commands).count(),
                _ => 1,
            };
            let further = float(commands.saturating_sub(1));
            DRAFT.replica_learn + DRAFT.replica_command * further + DRAFT.replica_reply * replies
        }
        (parts::State::Batcher(_), _) => DRAFT.batcher_message * handled(step),
        (parts::State::Unbatcher, _) => {
            let replies = sends(|msg| matches!(msg, parts::Msg::Reply(_)));
            DRAFT.unbatcher_batch + DRAFT.unbatcher_reply * replies
        }
        _ => 0.0,
    }
}
