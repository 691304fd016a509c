//! `EPaxos` and Unanimous `BPaxos` when commands conflict.
//!
//! What a message costs a server of `EPaxos` is fitted to one failure without conflicts; what it costs with two follows. Conflicts
//! cost `EPaxos` messages (the slow path) and time to execute the graph. The messages explain little of what the paper's `EPaxos`
//! loses, so what a dependency costs a server is fitted too, to two failures with conflicts. Nodes of Unanimous `BPaxos` are
//! charged as those of `BPaxos` are; the paper has no numbers of it. Pre-acceptances go to as few servers as may choose, accepts
//! to `f + 1`.
//!
//! A dependency costs the same whether it has run or not: most have not. With one failure, where nothing takes the slow path, the
//! law asks for too much: with 10 % conflicts throughput is 16 % too low (`specs/epaxos`).

use super::bpaxos::{Deployed, GraphCosts};
use super::cost::{handled, micros};
use super::measure::{Deployment, measure};
use super::{Drawn, Figure, Point};
use crate::draw::float;
use crate::error::Error;
use parthood_protocols::bpaxos::{Fast, Layout, Msg, Node, State};
use parthood_protocols::state_machine::KeyValue;
use parthood_runtime::{Cause, Step};
use rayon::prelude::*;
use stateright::actor::Command;
use std::time::Duration;

/// What the paper has for 600 clients: failures, conflicting commands in percent, commands a second, median latency in ms.
const PUBLISHED: [(usize, usize, f64, f64); 6] = [
    (1, 0, 33_300.0, 16.3),
    (1, 2, 34_700.0, 16.3),
    (1, 10, 30_900.0, 18.3),
    (2, 0, 24_400.0, 22.9),
    (2, 2, 19_500.0, 28.4),
    (2, 10, 17_100.0, 34.1),
];

/// The paper's median latency of `EPaxos`, in ms, at a point of the figure.
pub fn published_latency_ms(f: usize, percent: usize) -> Option<f64> {
    PUBLISHED.iter().find(|point| (point.0, point.1) == (f, percent)).map(|point| point.3)
}

/// Servers that survive `f` failures.
fn epaxos(f: usize, percent: usize, costs: GraphCosts) -> Deployment<Node<KeyValue>> {
    let servers = 2 * f + 1;
    let layout = Layout::of_servers(servers);
    let deployed = Deployed { f, leaders: servers, percent };
    Deployment {
        actors: Deployed::nodes(layout, Some(Fast::Epaxos)).chain(deployed.clients()).collect(),
        roles: vec!["server"; servers],
        work: Box::new(move |step| server(costs, step)),
        is_answer: |msg| msg.output().is_some(),
    }
}

/// What a step of a server costs; clients work for free.
fn server(costs: GraphCosts, step: &Step<'_, Node<KeyValue>>) -> Duration {
    if !matches!(step.after, State::Server(_)) {
        return Duration::ZERO;
    }
    // What it is told of, or what it tells the others, once.
    let told = match step.cause {
        Cause::Deliver { msg, .. } => Some(msg),
        _ => None,
    };
    let sent = step.out.iter().filter_map(|command| match command {
        Command::Send(_, msg) => Some(msg),
        _ => None,
    });
    let committed = told.into_iter().chain(sent).find_map(|msg| match msg {
        Msg::Commit(committed) => Some(committed),
        _ => None,
    });
    let named: usize =
        committed.into_iter().flatten().map(|committed| committed.proposal.deps.ranges()).sum();
    micros(costs.epaxos_message * handled(step) + costs.epaxos_dependency * float(named))
}

/// `EPaxos` and Unanimous `BPaxos`, of whose commands none, 2 % or 10 % conflict, with one and with two failures to survive.
///
/// # Errors
/// When a run comes to a stop, which is a bug.
pub fn egalitarian(costs: GraphCosts) -> Result<Figure, Error> {
    let servers = PUBLISHED.map(|(f, percent, published, _)| (f, percent, Some(published)));
    let unanimous = PUBLISHED.map(|(f, percent, ..)| (f, percent, None));
    let wanted: Vec<_> = servers.into_iter().chain(unanimous).collect();
    let points = wanted.into_par_iter().map(|(f, percent, published)| {
        let (series, label, measured) = if published.is_some() {
            let label = format!("{} servers", 2 * f + 1);
            (format!("EPaxos, f = {f}"), label, measure(epaxos(f, percent, costs))?)
        } else {
            let deployed = Deployed { f, leaders: 5 * f, percent };
            let layout = Layout { dependency_nodes: 0, ..deployed.layout() };
            let label = format!("{} leaders, {} acceptors, {} replicas", 5 * f, 2 * f + 1, f + 1);
            let measured = measure(deployed.apart_as(layout, Some(Fast::Unanimous), costs))?;
            (format!("Unanimous BPaxos, f = {f}"), label, measured)
        };
        let (tick, x) = (format!("{percent} %"), float(percent));
        Ok(Point { series, label, tick, x, measured, published, doubt: None })
    });
    Ok(Figure {
        name: "egalitarian",
        title: "One round trip, when commands conflict",
        x: "conflicting commands, in percent",
        drawn: Drawn::Lines,
        points: points.collect::<Result<_, Error>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::bpaxos::CLIENTS;
    use super::*;

    #[test]
    fn latencies_are_those_of_the_closed_loop() {
        // The paper's medians are near what its throughputs say of 600 clients: one number tells as much as the other.
        for (_, _, throughput, latency_ms) in PUBLISHED {
            let mean_ms = float(CLIENTS) / throughput * 1e3;
            assert!((latency_ms / mean_ms - 1.0).abs() < 0.12, "{latency_ms} ms, not {mean_ms}");
        }
    }
}
