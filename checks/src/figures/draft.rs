//! What the paper's first draft measured of the protocol in parts: on other machines than those that [`Costs`] is fitted to,
//! with a state machine that does nothing. So what that costs a node is a table of its own ([`DRAFT`]).

use super::compartmentalized::writes;
use super::cost::{handled, micros};
use super::measure::{Deployment, measure};
use super::systems::{NEVER, known, writer};
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

/// The commands in a batch, as in the paper; the draft does not say.
const BATCH: usize = 100;

/// A deployment of the draft: acceptors in groups of three, of which each group of leaders has as many as the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deployed {
    pub(super) clients: usize,
    pub(super) leader_groups: usize,
    pub(super) acceptor_groups: usize,
    pub(super) proxies: usize,
    pub(super) replicas: usize,
    pub(super) batchers: usize,
    pub(super) unbatchers: usize,
}

/// Costs on the draft's machines, in microseconds.
struct DraftCosts {
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
    /// A replica executes a command of a batch after the first: as in the paper.
    replica_command: f64,
}

const DRAFT: DraftCosts = DraftCosts {
    leader_message: 2.4,
    acceptor_message: 5.0,
    proxy_message: 3.2,
    proxy_chosen: 8.5,
    replica_learn: 3.4,
    replica_reply: 2.8,
    replica_command: 1.05,
};

/// The draft's ablation, and its largest deployments with batches and without. (Of those, Mencius without batches has a
/// figure of its own.)
///
/// # Errors
/// When a run comes to a stop.
pub fn draft(_: Costs) -> Result<Figure, Error> {
    const REPLICAS: &str = "how many replicas is not said; with two it fits";
    const ACCEPTOR: &str = "an acceptor's cost is calibrated with this plateau";
    let ablation = |proxies: usize, acceptor_groups: usize| Deployed {
        clients: 1_000,
        leader_groups: 1,
        acceptor_groups,
        proxies,
        replicas: 2,
        batchers: 0,
        unbatchers: 0,
    };
    let full = |leader_groups: usize, proxies: usize, batchers: usize| Deployed {
        clients: if batchers > 0 { 4_000 } else { 1_000 },
        leader_groups,
        acceptor_groups: 3,
        proxies,
        replicas: 5,
        batchers,
        unbatchers: 10,
    };
    let wanted = [
        (ablation(2, 1), 57.0, Some(REPLICAS)),
        (ablation(3, 1), 86.0, Some(REPLICAS)),
        (ablation(4, 1), 108.0, Some(REPLICAS)),
        (ablation(5, 1), 135.0, Some(REPLICAS)),
        (ablation(6, 1), 150.0, Some(ACCEPTOR)),
        (ablation(7, 1), 155.0, Some(ACCEPTOR)),
        (ablation(8, 1), 150.0, Some(ACCEPTOR)),
        (ablation(8, 2), 177.0, Some(REPLICAS)),
        (full(1, 30, 0), 208.0, Some("a leader's cost is calibrated with this number")),
        (full(1, 23, 8), 890.0, Some("two to eight batchers, says the draft")),
        (full(3, 19, 8), 844.0, Some("two to eight batchers, says the draft")),
    ];
    let points = wanted.into_par_iter().enumerate().map(|(step, (deployed, thousands, doubt))| {
        let series = if deployed.leader_groups > 1 { "mencius" } else { "compartmentalized" };
        let (label, tick) = name(&deployed);
        let (x, measured) = (float(step), measure(deployment(deployed)?)?);
        Ok(Point { series: series.into(), label, tick, x, measured, published: Some(thousands * 1e3), doubt })
    });
    Ok(Figure {
        name: "draft",
        title: "The first draft's deployments",
        x: "proxy leaders / acceptor groups",
        drawn: Drawn::Bars,
        points: points.collect::<Result<_, Error>>()?,
    })
}

fn name(deployed: &Deployed) -> (String, String) {
    let Deployed { leader_groups, acceptor_groups, proxies, replicas, batchers, unbatchers, .. } = deployed;
    let leaders = 2 * leader_groups;
    let batches = if *batchers > 0 { format!(", {batchers} batchers of {BATCH}") } else { String::new() };
    let label = format!(
        "{leaders} leaders in {leader_groups} groups, {proxies} proxy leaders, {acceptor_groups} groups of 3 acceptors, \
         {replicas} replicas, {unbatchers} unbatchers{batches}"
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

/// A deployment, ready to run.
pub(super) fn deployment(deployed: Deployed) -> Result<Deployment<parts::Node<KeyValue>>, Error> {
    let Deployed { clients, leader_groups, acceptor_groups, proxies, replicas, batchers, unbatchers } =
        deployed;
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
    let batch_commands = if batchers > 0 { BATCH } else { 1 };
    let config = Arc::new(Config {
        layout,
        leader_groups,
        groups: groups.map_err(|error: parthood_quorums::Error| Error::Usage(error.to_string()))?,
        saves_needed: 2,
        known_clients: known(nodes, &workload),
        read_scheme: ReadScheme::Timed,
        // The draft's data come from watermarks after one to twenty commands.
        limits: Limits {
            batch_commands,
            batch_bytes: usize::MAX,
            high_watermark_slots: 10usize.div_ceil(batch_commands) as u64,
            ..Limits::default()
        },
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
        Some(parts::Node::Client(Reader {
            writer: client(contacts.clone(), number, vec![]),
            script: workload.script(number).into_iter().map(ask).collect(),
            read: None,
            turn: number as u64,
            config: config.clone(),
        }))
    };
    Ok(Deployment {
        actors: (0..nodes).map(node).chain((0..clients).map(reader)).flatten().collect(),
        roles: (0..nodes).map(|id| layout.role(Id::from(id)).0.title()).collect(),
        work: Box::new(|step| micros(cost(step))),
        is_answer: |msg| msg.output().is_some(),
    })
}

/// The majorities of one of several groups of three acceptors, which take turns.
fn acceptors(group: usize, groups: usize) -> parthood_quorums::Result<Group> {
    let own: Vec<usize> = (0..3).map(|number| number * groups + group).collect();
    let nodes = own.iter().map(|node| Acceptor::new(*node)).collect::<parthood_quorums::Result<Vec<_>>>()?;
    let pairs = [(0, 1), (0, 2), (1, 2)].map(|(a, b)| NodeSet::from_iter([own[a], own[b]]));
    let turns = Schedule::rotation(pairs);
    Ok(Group { system: Arc::new(constructions::majority(&nodes)?), reads: turns.clone(), writes: turns })
}

/// What a step costs, in microseconds. Clients, batchers and unbatchers are not what is looked for.
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
        _ => 0.0,
    }
}
