//! Mencius before and after it is taken apart (the compartmentalization paper's first draft, figure 10), writes only.
//!
//! The draft's experiments ran on other machines than those that [`Costs`] is fitted to, with a state machine that does
//! nothing, so what they cost a node is a table of its own ([`DRAFT`]). The servers before are charged as those of the coupled
//! protocol are, whose published curve is the draft's.

use super::compartmentalized::writes;
use super::cost::{handled, micros};
use super::measure::{Deployment, Measured, measure};
use super::systems::{NEVER, known, writer};
use super::{Costs, Drawn, Figure, Point};
use crate::error::Error;
use parthood_protocols::client::{Client, ClientMsg};
use parthood_protocols::compartmentalized::{
    self as parts, Ask, Bounds, Config, Group, Layout, Limits, Part, ReadScheme, Reader, Timing,
};
use parthood_protocols::faults::Correct;
use parthood_protocols::ids::Round;
use parthood_protocols::schedule::Schedule;
use parthood_protocols::state_machine::{KeyValue, KeyValueCommand};
use parthood_protocols::vanilla_mencius as vanilla;
use parthood_quorums::{Node as Acceptor, NodeSet, constructions};
use parthood_runtime::sim::Work;
use parthood_runtime::{Cause, Step};
use stateright::actor::{Command, Id};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

const SERVERS: usize = 3;
const CLIENTS: usize = 1_000;
const GROUPS: usize = 3;

/// As the draft's script deploys it: three groups of two leaders with three acceptors each.
const LAYOUT: Layout = Layout {
    leaders: 2 * GROUPS,
    proxies: 29,
    acceptors: 3 * GROUPS,
    replicas: 5,
    batchers: 0,
    unbatchers: 10,
    read_batchers: 0,
};

/// Costs on the draft's machines, in microseconds.
struct DraftCosts {
    /// A leader receives or sends anything. (208,000 commands of two messages a second, where a leader alone binds.)
    leader_message: f64,
    /// An acceptor receives or sends anything. (100,000 votes of two messages a second, where acceptors bind.)
    acceptor_message: f64,
    /// A proxy leader receives anything or asks for a vote, and tells a replica: as in the paper.
    proxy_message: f64,
    proxy_chosen: f64,
    /// A replica learns what is chosen, and replies. Calibrated with the very plateau that is shown.
    replica_learn: f64,
    replica_reply: f64,
}

const DRAFT: DraftCosts = DraftCosts {
    leader_message: 2.4,
    acceptor_message: 5.0,
    proxy_message: 3.2,
    proxy_chosen: 8.5,
    replica_learn: 3.4,
    replica_reply: 2.8,
};

/// A server learns and executes a command: a replica's cost in the paper.
const SERVER_EXECUTE: f64 = 5.9;

/// Mencius before and after.
///
/// # Errors
/// When a run comes to a stop.
pub fn mencius(costs: Costs) -> Result<Figure, Error> {
    let point = |series: &str, label: &str, x: f64, published: f64, measured, doubt| Point {
        series: series.into(),
        label: label.into(),
        tick: if x > 0.0 { "in parts".into() } else { "3 servers".into() },
        x,
        measured,
        published: Some(published),
        doubt,
    };
    let before: Measured = measure(servers(costs))?;
    let after: Measured = measure(in_parts()?)?;
    let label = "3 groups of 2 leaders and 3 acceptors, 29 proxy leaders, 5 replicas, 10 unbatchers";
    let doubt = "the replicas' cost is calibrated with this number";
    let points = vec![
        point("before", "3 servers", 0.0, 32_400.0, before, None),
        point("after", label, 1.0, 252_000.0, after, Some(doubt)),
    ];
    Ok(Figure {
        name: "mencius",
        title: "Mencius before and after it is taken apart",
        x: "deployment",
        drawn: Drawn::Bars,
        points,
    })
}

/// A client, which turns to one of these nodes, and stays with it.
fn client(contacts: Range<usize>, number: usize, script: Vec<KeyValueCommand>) -> Client<KeyValueCommand> {
    Client { first_contact: number % contacts.len(), ..writer(contacts, script) }
}

fn servers(costs: Costs) -> Deployment<vanilla::Node<KeyValue>> {
    let workload = writes(CLIENTS);
    let config = Arc::new(vanilla::Config {
        servers: SERVERS,
        known_clients: known(SERVERS, &workload),
        lanes_max: 1 << 16,
        revoke_slots: 1_000,
        round_max: Round(u64::MAX),
        resend: NEVER,
        flush: Duration::from_secs(1),
        revoke: NEVER,
        faults: Correct,
    });
    let server = |index| vanilla::Node::Server(vanilla::Server { index, config: config.clone() });
    let client = |number| vanilla::Node::Client(client(0..SERVERS, number, workload.script(number)));
    Deployment {
        actors: (0..SERVERS).map(server).chain((0..CLIENTS).map(client)).collect(),
        roles: vec!["server"; SERVERS],
        work: work_of_servers(costs),
        is_answer: |msg| matches!(msg, vanilla::Msg::Client(ClientMsg::Reply { .. })),
    }
}

fn work_of_servers(costs: Costs) -> Work<vanilla::Node<KeyValue>> {
    Box::new(move |step| {
        if matches!(step.after, vanilla::State::Client(_)) {
            return Duration::ZERO;
        }
        // Each server executes each command once: when it is told, or tells, what is chosen.
        let told = matches!(step.cause, Cause::Deliver { msg: vanilla::Msg::Chosen { .. }, .. });
        let tells =
            step.out.iter().any(|command| matches!(command, Command::Send(_, vanilla::Msg::Chosen { .. })));
        let executes = if told || tells { SERVER_EXECUTE } else { 0.0 };
        micros(costs.coupled_message * handled(step) + executes)
    })
}

fn in_parts() -> Result<Deployment<parts::Node<KeyValue>>, Error> {
    let groups = (0..GROUPS).map(acceptors).collect::<Result<Vec<_>, _>>();
    let (nodes, workload) = (LAYOUT.nodes(), writes(CLIENTS));
    let config = Arc::new(Config {
        layout: LAYOUT,
        leader_groups: GROUPS,
        groups: groups.map_err(|error| Error::Usage(error.to_string()))?,
        saves_needed: 2,
        known_clients: known(nodes, &workload),
        read_scheme: ReadScheme::Timed,
        // The draft's data come from watermarks after one to twenty commands.
        limits: Limits { batch_commands: 1, high_watermark_slots: 10, ..Limits::default() },
        timing: Timing {
            election: NEVER..2 * NEVER,
            ping: NEVER,
            resend: NEVER,
            catch_up: NEVER,
            ..Timing::default()
        },
        bounds: Bounds::default(),
        faults: Correct,
    });
    let node = |id| {
        let (role, index) = LAYOUT.role(Id::from(id));
        parts::Node::of(role, Part { index, lost_storage: false, config: config.clone() })
    };
    let reader = |number| {
        let ask = |command| Ask { command, read: None };
        Some(parts::Node::Client(Reader {
            // The first leader of each group is the active one.
            writer: client(0..GROUPS, number, vec![]),
            script: workload.script(number).into_iter().map(ask).collect(),
            read: None,
            turn: number as u64,
            config: config.clone(),
        }))
    };
    Ok(Deployment {
        actors: (0..nodes).map(node).chain((0..CLIENTS).map(reader)).flatten().collect(),
        roles: (0..nodes).map(|id| LAYOUT.role(Id::from(id)).0.title()).collect(),
        work: Box::new(|step| micros(cost(step))),
        is_answer: |msg| msg.output().is_some(),
    })
}

/// The majorities of a leader group's acceptors, which take turns.
fn acceptors(group: usize) -> parthood_quorums::Result<Group> {
    let own: Vec<usize> = (0..3).map(|number| number * GROUPS + group).collect();
    let nodes = own.iter().map(|node| Acceptor::new(*node)).collect::<parthood_quorums::Result<Vec<_>>>()?;
    let pairs = [(0, 1), (0, 2), (1, 2)].map(|(a, b)| NodeSet::from_iter([own[a], own[b]]));
    let turns = Schedule::rotation(pairs);
    Ok(Group { system: Arc::new(constructions::majority(&nodes)?), reads: turns.clone(), writes: turns })
}

/// What a step costs, in microseconds. Clients and unbatchers are not what is looked for.
fn cost(step: &Step<'_, parts::Node<KeyValue>>) -> f64 {
    let sends = |what: fn(&parts::Msg<KeyValue>) -> bool| {
        let found = |command: &&Command<_, _, _, _>| matches!(command, Command::Send(_, msg) if what(msg));
        crate::draw::float(step.out.iter().filter(found).count())
    };
    match (step.after, &step.cause) {
        (parts::State::Leader(_), _) => DRAFT.leader_message * handled(step),
        (parts::State::Acceptor(_), _) => DRAFT.acceptor_message * handled(step),
        (parts::State::ProxyLeader(_), _) => {
            let news = sends(|msg| matches!(msg, parts::Msg::Chosen { .. } | parts::Msg::ChosenNoops(_)));
            DRAFT.proxy_chosen * news + DRAFT.proxy_message * (handled(step) - news)
        }
        (parts::State::Replica(_), Cause::Deliver { .. }) => {
            let replies = sends(|msg| matches!(msg, parts::Msg::Reply(_) | parts::Msg::Replies(_)));
            DRAFT.replica_learn + DRAFT.replica_reply * replies
        }
        _ => 0.0,
    }
}
