//! [`multipaxos`], deployed.

use super::standing::{self, Stands};
use super::{
    ClientRole, Cluster, Deployable, Group, KvClientMsg, MsgOf, Reads, Replicates, Simulated, StateOf, Store,
    client,
};
use parthood_models as models;
use parthood_protocols::faults::Correct;
use parthood_protocols::multipaxos::{self, Config};
use parthood_protocols::state_machine::KeyValue;
use parthood_runtime::udp::Standing;
use std::sync::Arc;

/// [`multipaxos`].
#[derive(Clone, Copy, Debug)]
pub struct MultiPaxos;

fn config(cluster: &Cluster) -> Arc<Config> {
    Arc::new(Config {
        servers: cluster.members.len(),
        groups: cluster.groups.iter().map(Group::system).collect(),
        known_clients: Vec::new(),
        limits: cluster.sizes.limits(),
        timing: cluster.times.timing(cluster.sizes),
        bounds: multipaxos::Bounds::default(),
        faults: Correct,
    })
}

impl Deployable for MultiPaxos {
    type Actor = multipaxos::Node<KeyValue>;
    type Model = models::multipaxos::Multipaxos<KeyValue, Correct>;
    type Service = Store;

    const NAME: &'static str = "multipaxos";
    const ROLES: &'static [&'static str] = &["server"];
    const VOTERS: Option<&'static str> = Some("server");
    const REJOINS: bool = true;

    fn server(cluster: &Cluster, index: usize, voting: bool) -> Self::Actor {
        multipaxos::Node::Server(multipaxos::Server { index, voting, config: config(cluster) })
    }

    fn stands(cluster: &Cluster) -> Stands<Self> {
        let servers = cluster.members.len();
        Box::new(move |_, state| match state {
            multipaxos::State::Server(server) => {
                let (acceptor, leader) = (&server.acceptor, server.leadership.leader());
                Standing {
                    leads: leader.is_some_and(|leader| leader.recovery.is_none()),
                    leader: Some(acceptor.round.owner(servers) as u64),
                    round: Some(standing::plain(acceptor.round)),
                    queued: leader.map(|leader| leader.queue.len() as u64),
                    outstanding: leader.map(|leader| leader.outstanding.len() as u64),
                    abstains: !acceptor.voting,
                    ..standing::of_replica(&server.replica)
                }
            }
            multipaxos::State::Client(_) => Standing::default(),
        })
    }

    fn model(cluster: &Cluster) -> Self::Model {
        models::multipaxos::Multipaxos::deployed(config(cluster))
    }

    fn replica(state: &StateOf<Self>) -> Option<(u64, &KeyValue)> {
        match state {
            multipaxos::State::Server(server) => Some((server.replica.executed.0, &server.replica.machine)),
            multipaxos::State::Client(_) => None,
        }
    }

    fn simulated(state: &StateOf<Self>) -> Option<Simulated<'_>> {
        match state {
            multipaxos::State::Client(client) => Some(client.into()),
            multipaxos::State::Server(_) => None,
        }
    }
}

impl Replicates for MultiPaxos {
    const READS: &'static [Reads] = &[Reads::Log];

    fn client(cluster: &Cluster, role: ClientRole) -> Self::Actor {
        multipaxos::Node::Client(client(0..cluster.members.len(), cluster, role))
    }

    fn client_msg(msg: &MsgOf<Self>) -> Option<&KvClientMsg> {
        match msg {
            multipaxos::Msg::Client(msg) => Some(msg),
            _ => None,
        }
    }
}
