//! [`parthood_protocols::horizontal`], deployed: servers that stay, acceptors that the log itself exchanges.
//!
//! The first configuration is majorities of as many acceptors as there are servers. The others are spares until somebody asks for
//! them with `parthood reconfigure`. The window is the limit on outstanding slots, and must stay what it is for as long as the
//! cluster lives.

use super::reconfigure::{ORDERS_MAX, Reconfigures, SIMULATED_RECONFIGURATIONS, operator};
use super::standing::{self, Needed, Stands, nodes_of};
use super::{
    ClientRole, Cluster, Deployable, KvClientMsg, MsgOf, Reads, Replicates, Simulated, StateOf, Store, client,
};
use parthood_models as models;
use parthood_protocols::faults::Correct;
use parthood_protocols::horizontal::{Acceptor, Config, Msg, Node, Role, Server, State};
use parthood_protocols::matchmaking::Configuration;
use parthood_protocols::multipaxos::Bounds;
use parthood_protocols::operator::{Operator, OperatorMsg, Wanted};
use parthood_protocols::state_machine::KeyValue;
use parthood_quorums::NodeSet;
use parthood_runtime::udp::Standing;
use stateright::actor::Id;
use std::sync::Arc;

/// [`parthood_protocols::horizontal`].
#[derive(Clone, Copy, Debug)]
pub struct Horizontal;

fn config(cluster: &Cluster) -> Arc<Config> {
    let (servers, acceptors) = (cluster.count("server"), cluster.count("acceptor"));
    let f = servers.min(acceptors).saturating_sub(1) / 2;
    let limits = cluster.sizes.limits();
    Arc::new(Config {
        servers,
        acceptors,
        initial: Configuration::Majority(NodeSet::first(2 * f + 1)),
        alpha: limits.window_slots as u64,
        known_clients: Vec::new(),
        limits,
        timing: cluster.times.timing(cluster.sizes),
        acceptor_failures: f,
        orders_max: ORDERS_MAX,
        retire: true,
        bounds: Bounds::default(),
        faults: Correct,
    })
}

impl Deployable for Horizontal {
    type Actor = Node<KeyValue>;
    type Model = models::horizontal::Horizontal<KeyValue, Correct>;
    type Service = Store;

    const NAME: &'static str = "horizontal";
    const ROLES: &'static [&'static str] = &["server", "acceptor"];
    /// The quorums of each configuration are majorities, or what the operator says.
    const VOTERS: Option<&'static str> = None;
    /// An acceptor that has lost what it saved is replaced by another one.
    const REJOINS: bool = false;
    /// A configuration in one slot is of force so many slots later.
    const AGREES_ON_WINDOW: bool = true;

    fn server(cluster: &Cluster, index: usize, _: bool) -> Self::Actor {
        let config = config(cluster);
        match config.role(Id::from(index)) {
            Some(Role::Server(index)) => Node::Server(Server { index, config }),
            Some(Role::Acceptor(_)) | None => Node::Acceptor(Acceptor { config }),
        }
    }

    fn stands(cluster: &Cluster) -> Stands<Self> {
        let config = config(cluster);
        Box::new(move |_, state| match state {
            State::Server(server) => {
                let leading = server.leading.as_ref();
                let newest = server.replica.machine.newest();
                let (version, configuration) =
                    newest.map_or((0, &config.initial), |newest| (newest.number, &newest.configuration));
                let node = |number| config.id(Role::Acceptor(number));
                Standing {
                    leads: leading.is_some_and(|leading| leading.leads),
                    leader: server.heard.map(|round| round.owner(config.servers) as u64),
                    round: server.heard.map(standing::plain),
                    queued: leading.map(|leading| leading.queue.len() as u64),
                    outstanding: leading.map(|leading| leading.outstanding.len() as u64),
                    quorums: standing::of_configuration(configuration, version, node).to_vec(),
                    ..standing::of_replica(&server.replica)
                }
            }
            State::Acceptor(node) => standing::of_acceptor_node(node, standing::plain),
            State::Client(_) | State::Operator(_) => Standing::default(),
        })
    }

    /// Which acceptors vote is in the log.
    fn quorums(cluster: &Cluster) -> Vec<Needed> {
        vec![Needed::some("server", 1, nodes_of(cluster, "server"))]
    }

    fn model(cluster: &Cluster) -> Self::Model {
        models::horizontal::Horizontal::deployed(config(cluster))
    }

    fn replica(state: &StateOf<Self>) -> Option<(u64, &KeyValue)> {
        match state {
            State::Server(server) => Some((server.replica.executed.0, &server.replica.machine.machine)),
            _ => None,
        }
    }

    /// One who goes round the acceptors, as many at a time as there were at first, and waits each time until the others are
    /// retired.
    fn operators(cluster: &Cluster, seed: u64) -> Vec<Self::Actor> {
        let Config { acceptors, initial, .. } = &*config(cluster);
        let (acceptors, voting) = (*acceptors, initial.acceptors().len());
        let some = |turn: usize| {
            let members = (turn..turn + voting).map(|number| number % acceptors).collect();
            Wanted::Acceptors(Configuration::Majority(members))
        };
        let start = usize::try_from(seed % 64).unwrap_or_default();
        let script: Vec<_> = (start..=start + SIMULATED_RECONFIGURATIONS).map(some).collect();
        let script = if acceptors > voting { script } else { vec![] };
        vec![Node::Operator(Operator { script, ..operator(cluster, None) })]
    }

    fn is_done(state: &StateOf<Self>) -> bool {
        match state {
            State::Operator(operator) => operator.wanted.is_none(),
            _ => true,
        }
    }

    fn simulated(state: &StateOf<Self>) -> Option<Simulated<'_>> {
        match state {
            State::Client(client) => Some(client.into()),
            _ => None,
        }
    }
}

impl Replicates for Horizontal {
    const READS: &'static [Reads] = &[Reads::Log];

    fn client(cluster: &Cluster, role: ClientRole) -> Self::Actor {
        Node::Client(client(0..cluster.count("server"), cluster, role))
    }

    fn client_msg(msg: &MsgOf<Self>) -> Option<&KvClientMsg> {
        match msg {
            Msg::Client(msg) => Some(msg),
            _ => None,
        }
    }
}

impl Reconfigures for Horizontal {
    fn operator(operator: Operator) -> Self::Actor {
        Node::Operator(operator)
    }

    fn told(msg: MsgOf<Self>) -> Option<OperatorMsg> {
        match msg {
            Msg::Operator(msg) => Some(msg),
            _ => None,
        }
    }
}
