//! [`unreplicated`], deployed.

use super::standing::{Needed, Stands};
use super::{
    ClientRole, Cluster, Deployable, KvClientMsg, MsgOf, Reads, Replicates, Simulated, StateOf, Store, client,
};
use parthood_models as models;
use parthood_protocols::faults::Correct;
use parthood_protocols::state_machine::KeyValue;
use parthood_protocols::unreplicated;
use parthood_runtime::udp::Standing;

/// [`unreplicated`]: the first node of the cluster serves alone.
#[derive(Clone, Copy, Debug)]
pub struct Unreplicated;

fn server(cluster: &Cluster) -> unreplicated::Server<Correct> {
    unreplicated::Server {
        known_clients: Vec::new(),
        lanes_max: cluster.sizes.limits().lanes,
        faults: Correct,
    }
}

impl Deployable for Unreplicated {
    type Actor = unreplicated::Node<KeyValue>;
    type Model = models::unreplicated::Unreplicated<KeyValue, Correct>;
    type Service = Store;

    const NAME: &'static str = "unreplicated";
    const ROLES: &'static [&'static str] = &["server"];
    const VOTERS: Option<&'static str> = None;
    const REJOINS: bool = true;

    fn servers(nodes: usize) -> usize {
        nodes.min(1)
    }

    fn server(cluster: &Cluster, _: usize, _: bool) -> Self::Actor {
        unreplicated::Node::Server(server(cluster))
    }

    fn stands(_: &Cluster) -> Stands<Self> {
        Box::new(|_, state| match state {
            unreplicated::State::Server(server) => Standing {
                executed: Some(server.executed.0),
                lanes: Some(server.sessions.len() as u64),
                ..Standing::default()
            },
            unreplicated::State::Client(_) => Standing::default(),
        })
    }

    fn quorums(_: &Cluster) -> Vec<Needed> {
        vec![Needed::some("server", 1, vec![0])]
    }

    fn model(cluster: &Cluster) -> Self::Model {
        models::unreplicated::Unreplicated::deployed(server(cluster))
    }

    fn replica(state: &StateOf<Self>) -> Option<(u64, &KeyValue)> {
        match state {
            unreplicated::State::Server(server) => Some((server.executed.0, &server.machine)),
            unreplicated::State::Client(_) => None,
        }
    }

    fn simulated(state: &StateOf<Self>) -> Option<Simulated<'_>> {
        match state {
            unreplicated::State::Client(client) => Some(client.into()),
            unreplicated::State::Server(_) => None,
        }
    }
}

impl Replicates for Unreplicated {
    const READS: &'static [Reads] = &[Reads::Log];

    fn client(cluster: &Cluster, role: ClientRole) -> Self::Actor {
        unreplicated::Node::Client(client(0..1, cluster, role))
    }

    fn client_msg(msg: &MsgOf<Self>) -> Option<&KvClientMsg> {
        Some(msg)
    }
}
