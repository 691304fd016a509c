//! [`parthood_protocols::craq`], deployed.

use super::standing::{Needed, Stands};
use super::{
    ClientRole, Cluster, Deployable, KvClientMsg, MsgOf, Reads, Replicates, StateOf, answered, client,
    scripted,
};
use parthood_models as models;
use parthood_protocols::command::CommandId;
use parthood_protocols::craq::{Chain, Config, Msg, Node, Reader, State};
use parthood_protocols::faults::Correct;
use parthood_protocols::state_machine::{KeyValue, KeyValueCommand, KeyValueOutput};
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

    fn scripted(cluster: &Cluster, seed: u64, number: usize, commands: usize) -> Self::Actor {
        Self::client(cluster, scripted::<Self>(seed, number, commands))
    }

    fn answered(state: &StateOf<Self>) -> Option<usize> {
        match state {
            State::Client(client) => Some(answered(client)),
            State::Chain(_) => None,
        }
    }

    fn replica(state: &StateOf<Self>) -> Option<(u64, &KeyValue)> {
        match state {
            State::Chain(node) => Some((node.committed, &node.machine)),
            State::Client(_) => None,
        }
    }

    fn outstanding(state: &StateOf<Self>) -> Option<(u64, &KeyValueCommand)> {
        match state {
            State::Client(client) => client.outstanding(0),
            State::Chain(_) => None,
        }
    }

    fn output(msg: &MsgOf<Self>) -> Option<(CommandId, &KeyValueOutput)> {
        match msg {
            Msg::Client(msg) => msg.output(),
            _ => None,
        }
    }
}

impl Replicates for Craq {
    const READS: &'static [Reads] = &[Reads::Linearizable];

    fn client(cluster: &Cluster, role: ClientRole) -> Self::Actor {
        Node::Client(Reader { client: client(0..cluster.members.len(), cluster, role) })
    }

    fn wrap(msg: KvClientMsg) -> MsgOf<Self> {
        Msg::Client(msg)
    }

    fn unwrap(msg: MsgOf<Self>) -> Option<KvClientMsg> {
        match msg {
            Msg::Client(msg) => Some(msg),
            _ => None,
        }
    }
}
