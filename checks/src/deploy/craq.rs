//! [`parthood_protocols::craq`], deployed.

use super::standing::{Needed, Stands};
use super::{
    ClientRole, Cluster, Deployable, KvClientMsg, MsgOf, Reads, Replicates, Simulated, StateOf, Store, client,
};
use parthood_models as models;
use parthood_protocols::craq::{Chain, Config, Msg, Node, Reader, State};
use parthood_protocols::faults::Correct;
use parthood_protocols::state_machine::KeyValue;
use parthood_runtime::udp::Standing;
use std::sync::Arc;

/// [`parthood_protocols::craq`]: the nodes of the cluster file, in its order, are the chain.
#[derive(Clone, Copy, Debug)]
pub struct Craq;

fn config(cluster: &Cluster) -> Arc<Config> {
    /// What fits a few datagrams.
    const RESEND_MAX: usize = 64;
    Arc::new(Config {
        nodes: cluster.members.len(),
        known_clients: Vec::new(),
        pending_max: cluster.sizes.limits().window_slots,
        resend_max: RESEND_MAX,
        lanes_max: cluster.sizes.limits().lanes,
        resend_after: cluster.times.resend(),
        faults: Correct,
    })
}

impl Deployable for Craq {
    type Actor = Node<KeyValue>;
    type Model = models::craq::Craq<KeyValue, Correct>;
    type Service = Store;

    const NAME: &'static str = "craq";
    const ROLES: &'static [&'static str] = &["node"];
    const VOTERS: Option<&'static str> = None;
    /// Nobody brings a node back what it has lost.
    const REJOINS: bool = false;

    fn server(cluster: &Cluster, index: usize, _: bool) -> Self::Actor {
        Node::Chain(Chain { index, config: config(cluster) })
    }

    /// Nobody leads: the head numbers the writes, and the tail has executed what any node shows.
    fn stands(_: &Cluster) -> Stands<Self> {
        Box::new(|_, state| match state {
            State::Chain(node) => Standing {
                executed: Some(node.committed),
                lanes: Some(node.sessions.len() as u64),
                outstanding: Some(node.pending.len() as u64),
                ..Standing::default()
            },
            State::Client(_) => Standing::default(),
        })
    }

    /// A chain that lacks a link takes no write.
    fn quorums(cluster: &Cluster) -> Vec<Needed> {
        let nodes = cluster.members.len();
        vec![Needed::some("whole chain", nodes, (0..nodes).collect())]
    }

    fn model(cluster: &Cluster) -> Self::Model {
        models::craq::Craq::deployed(config(cluster))
    }

    fn simulated(state: &StateOf<Self>) -> Option<Simulated<'_>> {
        match state {
            State::Client(client) => Some(client.into()),
            State::Chain(_) => None,
        }
    }

    fn replica(state: &StateOf<Self>) -> Option<(u64, &KeyValue)> {
        match state {
            State::Chain(node) => Some((node.committed, &node.machine)),
            State::Client(_) => None,
        }
    }
}

impl Replicates for Craq {
    const READS: &'static [Reads] = &[Reads::Linearizable];

    fn client(cluster: &Cluster, role: ClientRole) -> Self::Actor {
        Node::Client(Reader { client: client(0..cluster.members.len(), cluster, role) })
    }

    fn client_msg(msg: &MsgOf<Self>) -> Option<&KvClientMsg> {
        match msg {
            Msg::Client(msg) => Some(msg),
            _ => None,
        }
    }
}
