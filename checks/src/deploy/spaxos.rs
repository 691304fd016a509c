//! [`parthood_protocols::spaxos`], deployed.

use super::compartmentalized::{in_parts, layout as layout_of_parts, reader, stands};
use super::standing::Stands;
use super::{
    ClientRole, Cluster, Deployable, Group, KvClientMsg, MsgOf, Reads, Replicates, Simulated, Sizes, StateOf,
    Store,
};
use parthood_models as models;
use parthood_protocols::command::CommandId;
use parthood_protocols::compartmentalized::{self as parts, Role};
use parthood_protocols::faults::Correct;
use parthood_protocols::spaxos::{Config, InParts, Layout, Msg, Node, State};
use parthood_protocols::state_machine::{KeyValue, KeyValueOutput};
use parthood_runtime::udp::Standing;
use stateright::actor::Id;
use std::sync::Arc;

/// [`parthood_protocols::spaxos`]: any number of nodes of each role.
#[derive(Clone, Copy, Debug)]
pub struct Spaxos;

/// An id can be ordered this many windows after the last slot that its disseminator has heard of. Leaders are at most one
/// window ahead of what is chosen.
const LIFETIME_WINDOWS: u64 = 4;

fn layout(cluster: &Cluster) -> Layout {
    Layout {
        parts: layout_of_parts(cluster),
        disseminators: cluster.count("disseminator"),
        stabilizers: cluster.count("stabilizer"),
    }
}

fn config(cluster: &Cluster) -> Arc<Config> {
    let parts = in_parts(cluster, InParts(Correct));
    let stores = cluster.stores.iter().map(Group::in_turn).collect();
    let lifetime = parts.limits.window_slots.saturating_mul(LIFETIME_WINDOWS);
    let Layout { disseminators, stabilizers, .. } = layout(cluster);
    Arc::new(Config::new(parts, disseminators, stabilizers, stores, lifetime))
}

/// The state of a part that serves, if it is one.
fn serving(state: &StateOf<Spaxos>) -> Option<&parts::State<KeyValue>> {
    match state {
        State::Serve(state) => Some(state),
        _ => None,
    }
}

impl Deployable for Spaxos {
    type Actor = Node<KeyValue>;
    type Model = models::spaxos::Spaxos<KeyValue, Correct>;
    type Service = Store;

    const NAME: &'static str = "spaxos";
    const ROLES: &'static [&'static str] = &["leader", "proxy_leader", "acceptor", "replica"];
    const OPTIONAL_ROLES: &'static [&'static str] = &["batcher", "unbatcher", "read_batcher"];
    const LATER_ROLES: &'static [&'static str] = &["disseminator", "stabilizer"];
    const VOTERS: Option<&'static str> = Some("acceptor");
    const KEEPERS: Option<&'static str> = Some("stabilizer");
    const THRIFTY: bool = true;
    const REJOINS: bool = true;

    fn server(cluster: &Cluster, index: usize, voting: bool) -> Self::Actor {
        Node::of(&config(cluster), Id::from(index), !voting).expect("the nodes of a cluster are no clients")
    }

    fn stands(cluster: &Cluster) -> Stands<Self> {
        let config = config(cluster);
        Box::new(move |node, state| match state {
            State::Order(state) => stands(&config.parts, node, state),
            State::Serve(state) => stands(&config.parts, node, state),
            State::Disseminator(_) | State::Stabilizer(_) => Standing::default(),
        })
    }

    fn model(cluster: &Cluster) -> Self::Model {
        models::spaxos::Spaxos::deployed(config(cluster))
    }

    fn simulated(state: &StateOf<Self>) -> Option<Simulated<'_>> {
        match serving(state)? {
            parts::State::Client(client) => Some(client.into()),
            _ => None,
        }
    }

    fn sizes() -> Sizes {
        Sizes::in_parts()
    }

    fn replica(state: &StateOf<Self>) -> Option<(u64, &KeyValue)> {
        match serving(state)? {
            parts::State::Replica(node) => Some((node.replica.executed.0, &node.replica.machine)),
            _ => None,
        }
    }
}

impl Replicates for Spaxos {
    const READS: &'static [Reads] = &[Reads::Linearizable, Reads::Sequential, Reads::Eventual, Reads::Log];

    /// A client that turns to batchers if there are any, else to disseminators.
    fn client(cluster: &Cluster, role: ClientRole) -> Self::Actor {
        let config = config(cluster);
        let layout = config.layout;
        let (first, count) = match layout.parts.batchers {
            0 => (layout.disseminator(0), layout.disseminators),
            batchers => (layout.parts.id(Role::Batcher, 0), batchers),
        };
        let first = usize::from(first);
        Node::client(&config, reader(cluster, &config.parts, first..first + count, role))
    }

    fn shown(msg: &MsgOf<Self>) -> Option<u64> {
        match msg {
            Msg::Serve(parts::Msg::Reply(reply)) => Some(reply.below.0),
            _ => None,
        }
    }

    fn client_msg(msg: &MsgOf<Self>) -> Option<&KvClientMsg> {
        match msg {
            Msg::Serve(parts::Msg::Client(msg)) => Some(msg),
            _ => None,
        }
    }

    fn output(msg: &MsgOf<Self>) -> Option<(CommandId, &KeyValueOutput)> {
        msg.output()
    }
}
