//! What messages and commands cost: one table for all figures.

use super::many_keys::Asked;
use super::server::{Carried, Server};
use crate::draw::float;
use parthood_protocols::client::ClientMsg;
use parthood_protocols::command;
use parthood_protocols::state_machine::KeyValue;
use parthood_protocols::{compartmentalized as parts, craq, multipaxos, unreplicated};
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
    /// A batcher receives a command or sends a batch. (Two take in more than a million commands a second for a server that
    /// is not replicated.)
    pub batcher_message: f64,
    /// An unbatcher receives a batch of replies.
    pub unbatcher_batch: f64,
    /// An unbatcher sends a reply.
    pub unbatcher_reply: f64,
    /// A replica receives what is chosen for a slot.
    pub replica_slot: f64,
    /// A replica executes a command.
    pub replica_command: f64,
    /// A byte of a value is received and stored.
    pub byte: f64,
    /// A replica replies to a command or a read.
    pub replica_reply: f64,
    /// A replica receives and executes a read.
    pub replica_read: f64,
    /// A replica sees whether a read that names a slot may be answered.
    pub replica_compare: f64,
    /// It may not, and is held back until its slot is executed.
    pub replica_defer: f64,
    /// A replica writes a further key of a request that concerns many. This and the next two are fitted to the very figure
    /// that is made with them.
    pub replica_key_written: f64,
    /// It reads a further key.
    pub replica_key_read: f64,
    /// It sees whether a further key of a read that names a slot may be shown.
    pub replica_key_compared: f64,
    /// A coupled server sends or receives anything. Calibrated: with it the coupled protocol has the paper's throughput.
    pub coupled_message: f64,
    /// The same of a client's message, if commands are batched. Calibrated.
    pub coupled_batched: f64,
    /// An unreplicated server receives, executes and answers a command.
    pub unreplicated_command: f64,
    /// It executes a command of a batch after the first. Calibrated with what the draft measured.
    pub unreplicated_further: f64,
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
            batcher_message: 1.9,
            unbatcher_batch: 46.0,
            unbatcher_reply: 3.8,
            replica_slot: 4.68,
            replica_command: 1.05,
            byte: 0.0105,
            replica_reply: 2.8,
            replica_read: 5.9,
            replica_compare: 1.2,
            replica_defer: 3.1,
            replica_key_written: 0.2,
            replica_key_read: 0.15,
            replica_key_compared: 0.18,
            coupled_message: 5.7,
            coupled_batched: 1.65,
            unreplicated_command: 3.8,
            unreplicated_further: 0.9,
            chain_message: 4.25,
            chain_read: 8.1,
        }
    }
}

pub(super) fn micros(micros: f64) -> Duration {
    Duration::from_secs_f64(micros / 1e6)
}

/// How many messages a step sends to nodes other than its own.
fn sent<A: Actor>(step: &Step<'_, A>) -> f64 {
    let sends = step.out.iter().filter(|command| matches!(command, Command::Send(dst, _) if *dst != step.id));
    float(sends.count())
}

/// A received message and those sent.
pub(super) fn handled<A: Actor>(step: &Step<'_, A>) -> f64 {
    sent(step) + if matches!(step.cause, Cause::Deliver { .. }) { 1.0 } else { 0.0 }
}

/// The bytes of the value that a command brings.
fn bytes<M: Asked>(command: &command::CommandOf<M>) -> f64 {
    match &command.op {
        command::Operation::Apply(op) => float(M::bytes(op)),
        command::Operation::Open { .. } => 0.0,
    }
}

/// The keys of a command but one.
fn further_keys<M: Asked>(command: &M::Command) -> f64 {
    float(M::keys(command).skip(1).count())
}

impl Costs {
    /// What steps of an unreplicated server cost.
    pub(super) fn unreplicated(self) -> Work<unreplicated::Node<KeyValue>> {
        Box::new(move |step| match step.cause {
            Cause::Deliver { msg: ClientMsg::Request(command), .. } => {
                micros(self.unreplicated_command + self.byte * bytes::<KeyValue>(command))
            }
            _ => Duration::ZERO,
        })
    }

    /// The same behind batchers and unbatchers: on the server are all other parts, which cost nothing by themselves.
    pub(super) fn behind_batchers(self) -> Work<Server<parts::Node<KeyValue>>> {
        Box::new(move |step| {
            micros(match (step.after.as_slice(), &step.cause) {
                ([parts::State::Client(_)], _) => 0.0,
                ([parts::State::Batcher(_)], _) => self.batcher_message * handled(step),
                ([parts::State::Unbatcher], _) => self.unbatcher_batch + self.unbatcher_reply * sent(step),
                (_, Cause::Deliver { msg: Carried { msg: parts::Msg::Commands(batch), .. }, .. }) => {
                    let further = self.unreplicated_further * float(batch.len().saturating_sub(1));
                    self.unreplicated_command + further
                }
                _ => 0.0,
            })
        })
    }

    /// What steps of the protocol in parts cost. Clients work for free.
    pub(super) fn in_parts<M: Asked>(self) -> Work<parts::Node<M>> {
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
                parts::State::Batcher(_) => self.batcher_message * handled(step),
                parts::State::Unbatcher => self.unbatcher_batch + self.unbatcher_reply * sent(step),
                parts::State::Replica(replica) => self.replica::<M>(step, replica),
                _ => 0.0,
            })
        })
    }

    fn replica<M: Asked>(self, step: &Step<'_, parts::Node<M>>, after: &parts::ReplicaNode<M>) -> f64 {
        let Cause::Deliver { msg, .. } = step.cause else { return 0.0 };
        let reply = |command: &&Command<_, _, _, _>| {
            matches!(command, Command::Send(_, parts::Msg::Reply(_) | parts::Msg::Replies(_)))
        };
        let replies = self.replica_reply * float(step.out.iter().filter(reply).count());
        replies
            + match msg {
                parts::Msg::Chosen { values, .. } => {
                    let commands = values.iter().flat_map(command::Value::commands);
                    self.replica_slot * float(values.len())
                        + commands.map(|command| self.execute::<M>(command)).sum::<f64>()
                }
                parts::Msg::Read { reads, below } => {
                    let (compare, compare_key) = if below.0 > 0 {
                        (self.replica_compare, self.replica_key_compared)
                    } else {
                        (0.0, 0.0)
                    };
                    let defer = if *below > after.replica.executed { self.replica_defer } else { 0.0 };
                    let keys: f64 = reads.iter().map(|read| further_keys::<M>(&read.command)).sum();
                    (self.replica_read + compare + defer) * float(reads.len())
                        + (self.replica_key_read + compare_key) * keys
                }
                _ => 0.0,
            }
    }

    fn execute<M: Asked>(self, command: &command::CommandOf<M>) -> f64 {
        let keys = match &command.op {
            command::Operation::Apply(op) => further_keys::<M>(op),
            command::Operation::Open { .. } => 0.0,
        };
        self.replica_command + self.replica_key_written * keys + self.byte * bytes::<M>(command)
    }

    /// What steps of the coupled protocol cost, with commands in batches or without.
    pub(super) fn coupled(self, batched: bool) -> Work<multipaxos::Node<KeyValue>> {
        Box::new(move |step| {
            if matches!(step.after, multipaxos::State::Client(_)) {
                return Duration::ZERO;
            }
            // Whoever replies to a command has executed it; the others are not the busiest.
            let reply = |command: &&Command<_, _, _, _>| {
                matches!(command, Command::Send(_, multipaxos::Msg::Client(ClientMsg::Reply { .. })))
            };
            let replies = float(step.out.iter().filter(reply).count());
            let (requests, received) = match step.cause {
                Cause::Deliver { msg: multipaxos::Msg::Client(ClientMsg::Request(command)), .. } => {
                    (1.0, self.byte * bytes::<KeyValue>(command))
                }
                _ => (0.0, 0.0),
            };
            let of_clients = requests + replies;
            let (client_message, slots) = if batched {
                (self.coupled_batched, replies.min(1.0))
            } else {
                (self.coupled_message, replies)
            };
            micros(
                self.coupled_message * (handled(step) - of_clients)
                    + client_message * of_clients
                    + received
                    + self.replica_slot * slots
                    + self.replica_command * replies,
            )
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
