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

use parthood_protocols::client::{Client, ClientMsg, Returned};
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

    /// A node of the cluster. One that is not `voting` has lost what it saved and must not vote.
    fn server(cluster: &Cluster, index: usize, voting: bool) -> Self::Actor;

    /// A client with so many lanes, whose results go to the application of its process.
    fn client(cluster: &Cluster, lanes: u32) -> Self::Actor;

    /// What an application says to its client.
    fn invoke(pseudonym: u32, command: KeyValueCommand) -> MsgOf<Self>;

    /// What a client says to its application, if this is it.
    fn returned(msg: MsgOf<Self>) -> Option<(u32, Returned<KeyValueOutput>)>;
}

/// The messages of a deployable protocol.
pub type MsgOf<D> = <<D as Deployable>::Actor as Actor>::Msg;
/// The storage of a deployable protocol.
pub type StorageOf<D> = <<D as Deployable>::Actor as Actor>::Storage;

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

    fn client(cluster: &Cluster, lanes: u32) -> Self::Actor {
        multipaxos::Node::Client(client(cluster.members.len(), cluster, lanes))
    }

    fn invoke(pseudonym: u32, command: KeyValueCommand) -> MsgOf<Self> {
        multipaxos::Msg::Client(ClientMsg::Invoke { pseudonym, command })
    }

    fn returned(msg: MsgOf<Self>) -> Option<(u32, Returned<KeyValueOutput>)> {
        match msg {
            multipaxos::Msg::Client(ClientMsg::Returned { pseudonym, result }) => Some((pseudonym, result)),
            _ => None,
        }
    }
}

impl Deployable for Unreplicated {
    type Actor = unreplicated::Node<KeyValue>;

    const NAME: &'static str = "unreplicated";

    fn server(cluster: &Cluster, _: usize, _: bool) -> Self::Actor {
        let lanes_max = cluster.sizes.lanes;
        unreplicated::Node::Server(unreplicated::Server {
            known_clients: Vec::new(),
            lanes_max,
            faults: Correct,
        })
    }

    fn client(cluster: &Cluster, lanes: u32) -> Self::Actor {
        unreplicated::Node::Client(client(1, cluster, lanes))
    }

    fn invoke(pseudonym: u32, command: KeyValueCommand) -> MsgOf<Self> {
        ClientMsg::Invoke { pseudonym, command }
    }

    fn returned(msg: MsgOf<Self>) -> Option<(u32, Returned<KeyValueOutput>)> {
        match msg {
            ClientMsg::Returned { pseudonym, result } => Some((pseudonym, result)),
            _ => None,
        }
    }
}

fn client(servers: usize, cluster: &Cluster, lanes: u32) -> Client<KeyValueCommand> {
    Client {
        contacts: (0..servers).map(Id::from).collect(),
        first_contact: 0,
        script: Vec::new(),
        lanes,
        known: false,
        application: Some(Id::from(LOCAL_APPLICATION)),
        retries_max: u32::MAX,
        retry_after: cluster.times.retry(),
    }
}
