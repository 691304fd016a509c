//! What messages and commands cost: one table for all figures.

use crate::draw::float;
use parthood_protocols::client::ClientMsg;
use parthood_protocols::state_machine::KeyValue;
use parthood_protocols::{compartmentalized as parts, craq, multipaxos};
use parthood_runtime::sim::Work;
use parthood_runtime::{Cause, Step};
use stateright::actor::{Actor, Command};
use std::time::Duration;

/// Costs in microseconds of one server's time. (Fit to the raw data of the compartmentalization paper, whose machines had
/// 4 virtual processors; only ratios matter. What is not fitted is said.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// A leader receives or sends a command. An upper bound: no point of the data needed the leader to bind.
    pub leader_message: f64,
    /// A proxy leader receives a proposal or a vote, or asks for one.
    pub proxy_message: f64,
    /// A proxy leader tells a replica what is chosen.
    pub proxy_chosen: f64,
    /// An acceptor receives or sends anything. Not fitted: taken as a proxy leader's.
    pub acceptor_message: f64,
    /// A replica receives and executes a command.
    pub replica_execute: f64,
    /// A replica replies to a command or a read.
    pub replica_reply: f64,
    /// A replica receives and executes a read.
    pub replica_read: f64,
    /// A replica sees whether a read that names a slot may be answered.
    pub replica_compare: f64,
    /// It may not, and is held back until its slot is executed.
    pub replica_defer: f64,
    /// A coupled server sends or receives anything. Calibrated: with it the coupled protocol has the paper's throughput.
    pub coupled_message: f64,
    /// A node of a chain sends or receives anything.
    pub chain_message: f64,
    /// A node of a chain looks through its pending writes before it answers a read.
    pub chain_read: f64,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            leader_message: 2.9,
            proxy_message: 3.2,
            proxy_chosen: 8.5,
            acceptor_message: 3.2,
            replica_execute: 5.9,
            replica_reply: 2.8,
            replica_read: 5.9,
            replica_compare: 1.2,
            replica_defer: 3.1,
            coupled_message: 5.7,
            chain_message: 4.25,
            chain_read: 8.1,
        }
    }
}

fn micros(micros: f64) -> Duration {
    Duration::from_secs_f64(micros / 1e6)
}

/// How many messages a step sends to nodes other than its own.
fn sent<A: Actor>(step: &Step<'_, A>) -> f64 {
    let sends = step.out.iter().filter(|command| matches!(command, Command::Send(dst, _) if *dst != step.id));
    float(sends.count())
}

/// A received message and those sent.
fn handled<A: Actor>(step: &Step<'_, A>) -> f64 {
    sent(step) + if matches!(step.cause, Cause::Deliver { .. }) { 1.0 } else { 0.0 }
}

impl Costs {
    /// What steps of the protocol in parts cost. Clients work for free.
    pub(super) fn in_parts(self) -> Work<parts::Node<KeyValue>> {
        Box::new(move |step| {
            micros(match step.after {
                parts::State::Leader(_) => self.leader_message * handled(step),
                parts::State::ProxyLeader(_) => {
                    let news = step
                        .out
                        .iter()
                        .filter(|command| matches!(command, Command::Send(_, parts::Msg::Chosen { .. })));
                    let news = float(news.count());
                    self.proxy_chosen * news + self.proxy_message * (handled(step) - news)
                }
                parts::State::Acceptor(_) => self.acceptor_message * handled(step),
                parts::State::Replica(replica) => self.replica(step, replica),
                _ => 0.0,
            })
        })
    }

    fn replica(self, step: &Step<'_, parts::Node<KeyValue>>, after: &parts::ReplicaNode<KeyValue>) -> f64 {
        let Cause::Deliver { msg, .. } = step.cause else { return 0.0 };
        let reply =
            |command: &&Command<_, _, _, _>| matches!(command, Command::Send(_, parts::Msg::Reply(_)));
        let replies = self.replica_reply * float(step.out.iter().filter(reply).count());
        replies
            + match msg {
                parts::Msg::Chosen { values, .. } => {
                    self.replica_execute * float(values.iter().map(|value| value.commands().len()).sum())
                }
                parts::Msg::Read { reads, below } => {
                    let compare = if below.0 > 0 { self.replica_compare } else { 0.0 };
                    let defer = if *below > after.replica.executed { self.replica_defer } else { 0.0 };
                    (self.replica_read + compare + defer) * float(reads.len())
                }
                _ => 0.0,
            }
    }

    /// What steps of the coupled protocol cost.
    pub(super) fn coupled(self) -> Work<multipaxos::Node<KeyValue>> {
        Box::new(move |step| {
            if matches!(step.after, multipaxos::State::Client(_)) {
                return Duration::ZERO;
            }
            // Whoever replies to a command has executed it; the others are not the busiest.
            let reply = |command: &&Command<_, _, _, _>| {
                matches!(command, Command::Send(_, multipaxos::Msg::Client(ClientMsg::Reply { .. })))
            };
            let executed = step.out.iter().filter(reply).count();
            micros(self.coupled_message * handled(step) + self.replica_execute * float(executed))
        })
    }

    /// What steps of a chain cost.
    pub(super) fn chain(self) -> Work<craq::Node<KeyValue>> {
        Box::new(move |step| {
            if matches!(step.after, craq::State::Client(_)) {
                return Duration::ZERO;
            }
            let reads = match step.cause {
                Cause::Deliver { msg: craq::Msg::Client(_), .. } => self.chain_read,
                _ => 0.0,
            };
            micros(self.chain_message * handled(step) + reads)
        })
    }
}
