//! Mencius before and after it is taken apart (the compartmentalization paper's first draft, figure 10), writes only, on the
//! draft's machines. The servers before are charged as those of the coupled protocol are, whose published curve is the
//! draft's.

use super::compartmentalized::writes;
use super::cost::{handled, micros};
use super::draft::{Deployed, UNBATCHERS, client, deployment};
use super::measure::{Deployment, Measured, measure};
use super::systems::{NEVER, known};
use super::{Costs, Drawn, Figure, Point};
use crate::error::Error;
use parthood_protocols::client::ClientMsg;
use parthood_protocols::faults::Correct;
use parthood_protocols::ids::Round;
use parthood_protocols::state_machine::KeyValue;
use parthood_protocols::vanilla_mencius as vanilla;
use parthood_runtime::Cause;
use parthood_runtime::sim::Work;
use stateright::actor::Command;
use std::sync::Arc;
use std::time::Duration;

const SERVERS: usize = 3;
const CLIENTS: usize = 1_000;

/// As the draft's script deploys it: three groups of two leaders with three acceptors each.
const IN_PARTS: Deployed = Deployed {
    clients: CLIENTS,
    leader_groups: 3,
    acceptor_groups: 3,
    proxies: 29,
    replicas: 5,
    batching: UNBATCHERS,
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
    let after: Measured = measure(deployment(IN_PARTS)?)?;
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
