//! [`parthood_protocols::bpaxos`], deployed: as it is, or with a fast path as [`parthood_protocols::unanimous_bpaxos`] and
//! [`parthood_protocols::epaxos`].

use super::standing::{self, Needed, Stands};
use super::{
    ClientRole, Cluster, Deployable, Group, KvClientMsg, MsgOf, Reads, Replicates, Simulated, Sizes, StateOf,
    Store, client,
};
use parthood_models as models;
use parthood_protocols::bpaxos::{Bounds, Config, Fast, Layout, Msg, Node, Part, ReplicaState, Role, State};
use parthood_protocols::compartmentalized;
use parthood_protocols::faults::Correct;
use parthood_protocols::schedule::Schedule;
use parthood_protocols::state_machine::KeyValue;
use parthood_quorums::{Majority, NodeSet};
use parthood_runtime::udp::Standing;
use stateright::actor::Id;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// A replicated graph, with one of the ways to choose a vertex.
#[derive(Clone, Copy, Debug)]
pub struct Graph<const WAY: u8>;

/// By a round trip to the dependency service and one to acceptors.
const SIMPLE: u8 = 0;
/// By equal votes of all acceptors, if it can be.
const UNANIMOUS: u8 = 1;
/// By equal votes of most servers, if it can be.
const EPAXOS: u8 = 2;

/// [`parthood_protocols::bpaxos`]: any number of nodes of each role; without proposers leaders propose themselves.
pub type Bpaxos = Graph<SIMPLE>;
/// [`parthood_protocols::unanimous_bpaxos`]: the same, where acceptors are dependency nodes, too.
pub type UnanimousBpaxos = Graph<UNANIMOUS>;
/// [`parthood_protocols::epaxos`]: any number of servers.
pub type Epaxos = Graph<EPAXOS>;

/// Dependency nodes remember the largest vertex of each leader, as in the paper's measurements.
const COMPACTION: Option<u64> = Some(1);

const fn fast(way: u8) -> Option<Fast> {
    match way {
        UNANIMOUS => Some(Fast::Unanimous),
        EPAXOS => Some(Fast::Epaxos),
        _ => None,
    }
}

impl<const WAY: u8> Graph<WAY> {
    fn layout(cluster: &Cluster) -> Layout {
        if WAY == EPAXOS {
            return Layout::of_servers(cluster.count("server"));
        }
        Layout {
            leaders: cluster.count("leader"),
            dependency_nodes: if WAY == SIMPLE { cluster.count("dependency_node") } else { 0 },
            acceptors: cluster.count("acceptor"),
            replicas: cluster.count("replica"),
            proposers: if WAY == SIMPLE { cluster.count("proposer") } else { 0 },
            coupled: false,
        }
    }

    fn config(cluster: &Cluster) -> Arc<Config> {
        let layout = Self::layout(cluster);
        let majority = |nodes: usize| compartmentalized::Group {
            system: Arc::new(Majority::new(nodes.clamp(1, NodeSet::CAPACITY))),
            reads: Schedule::everyone(),
            writes: Schedule::everyone(),
        };
        let acceptors = cluster.groups.first().map_or_else(|| majority(layout.acceptors), Group::in_turn);
        let dependencies = if WAY == SIMPLE { majority(layout.dependency_nodes) } else { acceptors.clone() };
        Arc::new(Config {
            layout,
            dependencies,
            acceptors,
            fast: fast(WAY),
            compaction: COMPACTION,
            // One more than a majority of the replicas may lose.
            saves_needed: layout.replicas / 2 + 1,
            known_clients: Vec::new(),
            limits: cluster.sizes.limits_of_a_graph(),
            timing: cluster.times.timing_of_a_graph(cluster.sizes),
            bounds: Bounds::default(),
            faults: Correct,
        })
    }
}

impl<const WAY: u8> Deployable for Graph<WAY> {
    type Actor = Node<KeyValue>;
    type Model = models::bpaxos::Bpaxos<KeyValue, Correct>;
    type Service = Store;

    const NAME: &'static str = match WAY {
        UNANIMOUS => "unanimous_bpaxos",
        EPAXOS => "epaxos",
        _ => "bpaxos",
    };
    const ROLES: &'static [&'static str] = match WAY {
        UNANIMOUS => &["leader", "acceptor", "replica"],
        EPAXOS => &["server"],
        _ => &["leader", "dependency_node", "acceptor", "replica"],
    };
    const OPTIONAL_ROLES: &'static [&'static str] = if WAY == SIMPLE { &["proposer"] } else { &[] };
    // Which servers choose at once is counted in EPaxos, so there are majorities.
    const VOTERS: Option<&'static str> = if WAY == EPAXOS { None } else { Some("acceptor") };
    const THRIFTY: bool = WAY != EPAXOS;
    const REJOINS: bool = true;

    fn server(cluster: &Cluster, index: usize, voting: bool) -> Self::Actor {
        let config = Self::config(cluster);
        let (role, index) = config.layout.node(Id::from(index));
        Node::of(role, Part { index, lost_storage: !voting, config })
            .expect("the nodes of a cluster are no clients")
    }

    /// Nobody leads: every leader numbers and proposes vertices of its own.
    fn stands(_: &Cluster) -> Stands<Self> {
        Box::new(|_, state| {
            let leader = match state {
                State::Leader(leader) => Some(leader),
                State::Server(server) => server.leader.as_ref(),
                _ => None,
            };
            let acceptor = match state {
                State::Acceptor(acceptor) => Some(acceptor),
                State::Server(server) => Some(&server.acceptor),
                _ => None,
            };
            let serving = !matches!(state, State::DependencyNode(node) if !node.serving);
            let replica = replica(state);
            Standing {
                executed: replica.map(|replica| replica.executed().len()),
                lanes: replica.map(|replica| replica.clients.lanes() as u64),
                queued: leader.map(|leader| leader.queue.len() as u64),
                outstanding: leader.map(|leader| leader.waiting.len() as u64),
                log: replica.map_or_else(
                    || acceptor.map(|acceptor| acceptor.ballots.len() as u64),
                    |replica| Some(replica.log.len() as u64),
                ),
                abstains: !serving || acceptor.is_some_and(|acceptor| !acceptor.voting),
                ..Standing::default()
            }
        })
    }

    /// Besides the acceptors those who say what conflicts with what, where they are others, by majorities. In `EPaxos` servers
    /// are all of it: a majority is what recovery and the slow path need.
    fn quorums(cluster: &Cluster) -> Vec<Needed> {
        match WAY {
            EPAXOS => vec![Needed::majority("majority of servers", standing::nodes_of(cluster, "server"))],
            SIMPLE => {
                let role = "dependency_node";
                let majority =
                    Needed::majority(format!("majority of {role}s"), standing::nodes_of(cluster, role));
                let others =
                    standing::needed::<Self>(cluster).into_iter().filter(|needed| needed.what != role);
                others.chain([majority]).collect()
            }
            _ => standing::needed::<Self>(cluster),
        }
    }

    fn model(cluster: &Cluster) -> Self::Model {
        models::bpaxos::Bpaxos::deployed(Self::config(cluster))
    }

    fn simulated(state: &StateOf<Self>) -> Option<Simulated<'_>> {
        match state {
            State::Client(client) => Some(client.into()),
            _ => None,
        }
    }

    fn sizes() -> Sizes {
        Sizes::of_a_graph()
    }

    fn replica(state: &StateOf<Self>) -> Option<(u64, &KeyValue)> {
        replica(state).map(|replica| (replica.executed().len(), &replica.machine))
    }

    /// Two replicas may have executed equally many vertices and not the same.
    fn executed(state: &StateOf<Self>) -> u64 {
        replica(state).map_or(0, |replica| {
            let mut hasher = DefaultHasher::new();
            replica.executed().hash(&mut hasher);
            hasher.finish()
        })
    }
}

fn replica(state: &State<KeyValue>) -> Option<&ReplicaState<KeyValue>> {
    match state {
        State::Replica(replica) => Some(replica),
        State::Server(server) => server.replica.as_ref(),
        _ => None,
    }
}

impl<const WAY: u8> Replicates for Graph<WAY> {
    const READS: &'static [Reads] = &[Reads::Log];

    fn client(cluster: &Cluster, role: ClientRole) -> Self::Actor {
        let layout = Self::layout(cluster);
        let first = usize::from(layout.id(Role::Leader, 0));
        Node::Client(client(first..first + layout.leaders, cluster, role))
    }

    fn client_msg(msg: &MsgOf<Self>) -> Option<&KvClientMsg> {
        match msg {
            Msg::Client(msg) => Some(msg),
            _ => None,
        }
    }
}
