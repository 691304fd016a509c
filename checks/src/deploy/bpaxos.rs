//! [`parthood_protocols::bpaxos`], deployed.

use super::{
    ClientRole, Cluster, Deployable, Group, KvClientMsg, MsgOf, Reads, Replicates, Sizes, StateOf, answered,
    client, scripted,
};
use parthood_models as models;
use parthood_protocols::bpaxos::{Bounds, Config, Layout, Msg, Node, Part, Role, State};
use parthood_protocols::command::CommandId;
use parthood_protocols::compartmentalized;
use parthood_protocols::faults::Correct;
use parthood_protocols::schedule::Schedule;
use parthood_protocols::state_machine::{KeyValue, KeyValueCommand, KeyValueOutput};
use parthood_quorums::{Majority, NodeSet};
use stateright::actor::Id;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// [`parthood_protocols::bpaxos`]: any number of nodes of each role; without proposers leaders propose themselves.
#[derive(Clone, Copy, Debug)]
pub struct Bpaxos;

/// Dependency nodes remember the largest vertex of each leader, as in the paper's measurements.
const COMPACTION: Option<u64> = Some(1);

fn layout(cluster: &Cluster) -> Layout {
    Layout {
        leaders: cluster.count("leader"),
        dependency_nodes: cluster.count("dependency_node"),
        acceptors: cluster.count("acceptor"),
        replicas: cluster.count("replica"),
        proposers: cluster.count("proposer"),
    }
}

fn config(cluster: &Cluster) -> Arc<Config> {
    let layout = layout(cluster);
    let majority = |nodes: usize| compartmentalized::Group {
        system: Arc::new(Majority::new(nodes.clamp(1, NodeSet::CAPACITY))),
        reads: Schedule::everyone(),
        writes: Schedule::everyone(),
    };
    let acceptors = cluster.groups.first().map(Group::in_turn);
    Arc::new(Config {
        layout,
        dependencies: majority(layout.dependency_nodes),
        acceptors: acceptors.unwrap_or_else(|| majority(layout.acceptors)),
        compaction: COMPACTION,
        // One more than a majority of the replicas may lose.
        saves_needed: layout.replicas / 2 + 1,
        known_clients: Vec::new(),
        limits: cluster.sizes.limits_of_a_graph(),
        timing: cluster.times.timing_of_a_graph(),
        bounds: Bounds::default(),
        faults: Correct,
    })
}

impl Deployable for Bpaxos {
    type Actor = Node<KeyValue>;
    type Model = models::bpaxos::Bpaxos<KeyValue, Correct>;

    const NAME: &'static str = "bpaxos";
    const ROLES: &'static [&'static str] = &["leader", "dependency_node", "acceptor", "replica"];
    const OPTIONAL_ROLES: &'static [&'static str] = &["proposer"];
    const VOTERS: Option<&'static str> = Some("acceptor");
    const THRIFTY: bool = true;
    const REJOINS: bool = true;

    fn server(cluster: &Cluster, index: usize, voting: bool) -> Self::Actor {
        let config = config(cluster);
        let (role, index) = config.layout.role(Id::from(index));
        Node::of(role, Part { index, lost_storage: !voting, config })
            .expect("the nodes of a cluster are no clients")
    }

    fn model(cluster: &Cluster) -> Self::Model {
        models::bpaxos::Bpaxos::deployed(config(cluster))
    }

    fn scripted(cluster: &Cluster, seed: u64, number: usize, commands: usize) -> Self::Actor {
        Self::client(cluster, scripted::<Self>(seed, number, commands))
    }

    fn answered(state: &StateOf<Self>) -> Option<usize> {
        match state {
            State::Client(client) => Some(answered(client)),
            _ => None,
        }
    }

    fn sizes() -> Sizes {
        Sizes::of_a_graph()
    }

    fn replica(state: &StateOf<Self>) -> Option<(u64, &KeyValue)> {
        match state {
            State::Replica(replica) => Some((replica.executed().len(), &replica.machine)),
            _ => None,
        }
    }

    /// Two replicas may have executed equally many vertices and not the same.
    fn executed(state: &StateOf<Self>) -> u64 {
        match state {
            State::Replica(replica) => {
                let mut hasher = DefaultHasher::new();
                replica.executed().hash(&mut hasher);
                hasher.finish()
            }
            _ => 0,
        }
    }

    fn outstanding(state: &StateOf<Self>) -> Option<(u64, &KeyValueCommand)> {
        match state {
            State::Client(client) => client.outstanding(0),
            _ => None,
        }
    }

    fn output(msg: &MsgOf<Self>) -> Option<(CommandId, &KeyValueOutput)> {
        msg.output()
    }
}

impl Replicates for Bpaxos {
    const READS: &'static [Reads] = &[Reads::Log];

    fn client(cluster: &Cluster, role: ClientRole) -> Self::Actor {
        let layout = layout(cluster);
        let first = usize::from(layout.id(Role::Leader, 0));
        Node::Client(client(first..first + layout.leaders, cluster, role))
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
