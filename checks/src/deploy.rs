//! The deployed world: a cluster file, the processes that host its nodes, and clients.
//!
//! The runtime knows no protocol and the protocols know no socket; here they meet. A protocol that can be deployed
//! implements [`Deployable`]; what hosts its nodes and what speaks to them is the same for all.

mod client;
mod cluster;
mod journal;
mod server;

pub use client::{ClientError, ClientOptions, KvClient, Lanes, Pending};
pub use cluster::{Cluster, DEFAULT_CLUSTER_FILE, Group, Member, Sizes, Times};
pub use journal::DurableJournal;
pub use server::{ServeOptions, Serving, serve};

use parthood_protocols::client::{Client, ClientMsg};
use parthood_protocols::durable::Durable;
use parthood_protocols::faults::Correct;
use parthood_protocols::multipaxos;
use parthood_protocols::state_machine::{KeyValue, KeyValueCommand, KeyValueOutput};
use parthood_protocols::unreplicated;
use parthood_runtime::{LOCAL_APPLICATION, Runnable};
use stateright::actor::{Actor, Id};
use std::sync::Arc;

/// A protocol that replicates the key-value store and can be deployed.
pub trait Deployable: 'static {
    /// Its actor.
    type Actor: Runnable<
            Msg: Send,
            Timer: Send,
            Random: Send,
            State: Send + 'static,
            Storage: Durable<Delta: Send> + Send + 'static,
        > + Send
        + 'static;

    /// The name it has in every layer.
    const NAME: &'static str;

    /// How many of so many nodes it makes use of.
    fn servers(nodes: usize) -> usize {
        nodes
    }

    /// A node of the cluster. One that is not `voting` has lost what it saved and must not vote.
    fn server(cluster: &Cluster, index: usize, voting: bool) -> Self::Actor;

    /// A client.
    fn client(cluster: &Cluster, role: ClientRole) -> Self::Actor;

    /// What clients say, as a message of the protocol.
    fn wrap(msg: KvClientMsg) -> MsgOf<Self>;

    /// What clients say and are told, if the message is about that.
    fn client_msg(msg: &MsgOf<Self>) -> Option<&KvClientMsg>;

    /// For a server: how many slots it has executed, and the store.
    fn replica(state: &StateOf<Self>) -> Option<(u64, &KeyValue)>;

    /// For a client that waits for nothing: how many commands of its script it has issued.
    fn finished(state: &StateOf<Self>) -> Option<usize>;
}

/// What a client of the key-value store says and is told.
pub type KvClientMsg = ClientMsg<KeyValueCommand, KeyValueOutput>;

/// Where a client's commands come from.
#[derive(Clone, Debug)]
pub enum ClientRole {
    /// From the application of its process, on so many lanes.
    Application {
        /// The lanes.
        lanes: u32,
    },
    /// From a script, one after the other.
    Scripted {
        /// The commands.
        script: Vec<KeyValueCommand>,
        /// The node that is asked first.
        first: usize,
    },
}

/// The messages of a deployable protocol.
pub type MsgOf<D> = <<D as Deployable>::Actor as Actor>::Msg;
/// The states of a deployable protocol.
pub type StateOf<D> = <<D as Deployable>::Actor as Actor>::State;

/// [`multipaxos`].
#[derive(Clone, Copy, Debug)]
pub struct MultiPaxos;

/// [`unreplicated`]: the first node of the cluster serves alone.
#[derive(Clone, Copy, Debug)]
pub struct Unreplicated;

impl Deployable for MultiPaxos {
    type Actor = multipaxos::Node<KeyValue>;

    const NAME: &'static str = "multipaxos";

    fn server(cluster: &Cluster, index: usize, voting: bool) -> Self::Actor {
        let config = multipaxos::Config {
            servers: cluster.members.len(),
            groups: cluster.groups.iter().map(Group::system).collect(),
            known_clients: Vec::new(),
            limits: cluster.sizes.limits(),
            timing: cluster.times.timing(),
            bounds: multipaxos::Bounds::default(),
            faults: Correct,
        };
        multipaxos::Node::Server(multipaxos::Server { index, voting, config: Arc::new(config) })
    }

    fn client(cluster: &Cluster, role: ClientRole) -> Self::Actor {
        multipaxos::Node::Client(client(cluster.members.len(), cluster, role))
    }

    fn wrap(msg: KvClientMsg) -> MsgOf<Self> {
        multipaxos::Msg::Client(msg)
    }

    fn client_msg(msg: &MsgOf<Self>) -> Option<&KvClientMsg> {
        match msg {
            multipaxos::Msg::Client(msg) => Some(msg),
            _ => None,
        }
    }

    fn replica(state: &StateOf<Self>) -> Option<(u64, &KeyValue)> {
        match state {
            multipaxos::State::Server(server) => Some((server.replica.executed.0, &server.replica.machine)),
            multipaxos::State::Client(_) => None,
        }
    }

    fn finished(state: &StateOf<Self>) -> Option<usize> {
        match state {
            multipaxos::State::Client(client) => client.is_idle().then(|| client.invoked()),
            multipaxos::State::Server(_) => None,
        }
    }
}

impl Deployable for Unreplicated {
    type Actor = unreplicated::Node<KeyValue>;

    const NAME: &'static str = "unreplicated";

    fn servers(nodes: usize) -> usize {
        nodes.min(1)
    }

    fn server(cluster: &Cluster, _: usize, _: bool) -> Self::Actor {
        let lanes_max = cluster.sizes.lanes;
        unreplicated::Node::Server(unreplicated::Server {
            known_clients: Vec::new(),
            lanes_max,
            faults: Correct,
        })
    }

    fn client(cluster: &Cluster, role: ClientRole) -> Self::Actor {
        unreplicated::Node::Client(client(1, cluster, role))
    }

    fn wrap(msg: KvClientMsg) -> MsgOf<Self> {
        msg
    }

    fn client_msg(msg: &MsgOf<Self>) -> Option<&KvClientMsg> {
        Some(msg)
    }

    fn replica(state: &StateOf<Self>) -> Option<(u64, &KeyValue)> {
        match state {
            unreplicated::State::Server(server) => Some((server.executed.0, &server.machine)),
            unreplicated::State::Client(_) => None,
        }
    }

    fn finished(state: &StateOf<Self>) -> Option<usize> {
        match state {
            unreplicated::State::Client(client) => client.is_idle().then(|| client.invoked()),
            unreplicated::State::Server(_) => None,
        }
    }
}

fn client(servers: usize, cluster: &Cluster, role: ClientRole) -> Client<KeyValueCommand> {
    let (lanes, script, first_contact, application) = match role {
        ClientRole::Application { lanes } => (lanes, Vec::new(), 0, Some(Id::from(LOCAL_APPLICATION))),
        ClientRole::Scripted { script, first } => (1, script, first % servers.max(1), None),
    };
    Client {
        contacts: (0..servers).map(Id::from).collect(),
        first_contact,
        script,
        lanes,
        known: false,
        application,
        retries_max: u32::MAX,
        retry_after: cluster.times.retry(),
    }
}
