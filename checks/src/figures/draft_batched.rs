//! What the paper's first draft measured with batches: `MultiPaxos` as more nodes take batches apart, and each protocol on
//! three servers and in parts.
//!
//! Servers hold a node of every role of the protocol in parts, and messages between nodes of one server are free. (The draft's
//! own servers were made of the same code.) A message of a client costs a server what any other does.

use super::compartmentalized::writes;
use super::draft::{BATCH, Deployed, actors, deployment, name};
use super::measure::{Deployment, Measured, measure};
use super::server::{Server, work_of_servers};
use super::spaxos::{self, Sizes};
use super::systems::{Batching, System};
use super::{Costs, Drawn, Figure, Point};
use crate::draw::float;
use crate::error::Error;
use parthood_protocols::client::ClientMsg;
use parthood_protocols::compartmentalized::{self as parts, Role};
use parthood_protocols::state_machine::KeyValue;
use rayon::prelude::*;
use stateright::actor::Id;

const CLIENTS: usize = 4_000;
const SERVERS: usize = 3;
/// Batches where commands are not taken apart, as in the paper.
const ON_SERVERS: Batching = Batching { batchers: SERVERS, unbatchers: SERVERS, commands: 40 };
/// What bounds the deployments in parts.
const EXECUTING: &str = "what executing costs is calibrated with these plateaus";

#[derive(Clone, Copy)]
enum Wanted {
    Alone,
    MultiPaxos,
    Parts(Deployed),
    Mencius,
    SPaxos,
    SPaxosInParts(Sizes),
}

/// The draft's deployments with batches.
///
/// # Errors
/// When a run comes to a stop.
pub fn draft_batched(costs: Costs) -> Result<Figure, Error> {
    let in_parts = |leader_groups, acceptor_groups, proxies, replicas, unbatchers| {
        let batching = Batching { batchers: 8, unbatchers, commands: BATCH };
        Wanted::Parts(Deployed {
            clients: CLIENTS,
            leader_groups,
            acceptor_groups,
            proxies,
            replicas,
            batching,
        })
    };
    let ablation = |unbatchers| in_parts(1, 1, 2, 2, unbatchers);
    let spaxos = Wanted::SPaxosInParts(Sizes {
        disseminators: 13,
        stores: 4,
        proxies: 11,
        acceptor_groups: 2,
        replicas: 2,
        batching: Batching { batchers: 3, unbatchers: 7, commands: BATCH },
    });
    let replies = Some("two unbatchers send 234,000 replies each, three 301,000: no cost explains both");
    let batchers = Some("two to eight batchers, says the draft");
    let wanted = [
        ("multipaxos", Wanted::MultiPaxos, 200.0, None),
        ("multipaxos", ablation(2), 468.0, replies),
        ("multipaxos", ablation(3), 904.0, replies),
        ("multipaxos", ablation(4), 950.0, Some(EXECUTING)),
        ("multipaxos", ablation(5), 968.0, Some(EXECUTING)),
        ("multipaxos", ablation(6), 928.0, Some(EXECUTING)),
        ("multipaxos", in_parts(1, 3, 23, 5, 10), 890.0, batchers),
        ("mencius", Wanted::Mencius, 168.0, Some("200,000, says the text")),
        ("mencius", in_parts(3, 3, 19, 5, 10), 844.0, batchers),
        ("spaxos", Wanted::SPaxos, 180.0, None),
        ("spaxos", spaxos, 750.0, Some("the sizes behind this number are known from a script only")),
        ("unreplicated", Wanted::Alone, 1_100.0, Some("what executing costs is calibrated with this number")),
    ];
    let points = wanted.into_par_iter().enumerate().map(|(step, (series, wanted, thousands, doubt))| {
        let (label, tick) = wanted.name();
        let (x, measured) = (float(step), wanted.measure(costs)?);
        Ok(Point { series: series.into(), label, tick, x, measured, published: Some(thousands * 1e3), doubt })
    });
    Ok(Figure {
        name: "draft-batched",
        title: "The first draft's deployments, with batches",
        x: "on three servers / in parts, unbatchers",
        drawn: Drawn::Bars,
        points: points.collect::<Result<_, Error>>()?,
    })
}

impl Wanted {
    fn name(self) -> (String, String) {
        let servers =
            |protocol: &str| format!("{SERVERS} servers, {protocol}, batches of {}", ON_SERVERS.commands);
        match self {
            Self::Alone => (format!("one server, 10 batchers of {BATCH}, 10 unbatchers"), "alone".into()),
            Self::MultiPaxos => (servers("multipaxos"), "coupled".into()),
            Self::Mencius => (servers("mencius"), "Mencius".into()),
            Self::SPaxos => (servers("spaxos"), "S-Paxos".into()),
            Self::Parts(deployed) => (name(&deployed).0, deployed.batching.unbatchers.to_string()),
            Self::SPaxosInParts(sizes) => (sizes.to_string(), sizes.batching.unbatchers.to_string()),
        }
    }

    fn measure(self, costs: Costs) -> Result<Measured, Error> {
        match self {
            Self::Alone => {
                let batching = Batching { batchers: 10, unbatchers: 10, commands: BATCH };
                System::Unreplicated(batching).run(&writes(CLIENTS), costs)
            }
            Self::MultiPaxos => {
                let system = System::Coupled { servers: SERVERS, batch: ON_SERVERS.commands };
                system.run(&writes(CLIENTS), costs)
            }
            Self::Parts(deployed) => measure(deployment(deployed)?),
            Self::Mencius => measure(mencius(costs)?),
            Self::SPaxos => measure(spaxos::coupled(CLIENTS, ON_SERVERS, costs)),
            Self::SPaxosInParts(sizes) => measure(spaxos::in_parts(sizes, CLIENTS, costs)),
        }
    }
}

/// Three servers, each with a leader, an acceptor for each group of leaders, and one of everything else.
fn mencius(costs: Costs) -> Result<Deployment<Server<parts::Node<KeyValue>>>, Error> {
    let (layout, nodes, clients) = actors(Deployed {
        clients: CLIENTS,
        leader_groups: SERVERS,
        acceptor_groups: SERVERS,
        proxies: SERVERS,
        replicas: SERVERS,
        batching: ON_SERVERS,
    })?;
    let server = |id| match layout.role(Id::from(id)) {
        (Role::Acceptor, index) => index / SERVERS,
        (_, index) => index % SERVERS,
    };
    Ok(Deployment {
        actors: Server::deploy(nodes, clients, &(0..layout.nodes()).map(server).collect()),
        roles: vec!["server"; SERVERS],
        work: work_of_servers(SERVERS, ON_SERVERS, costs, |msg| {
            matches!(msg, parts::Msg::Client(ClientMsg::Request(_)))
        }),
        is_answer: |carried| carried.msg.output().is_some(),
    })
}
