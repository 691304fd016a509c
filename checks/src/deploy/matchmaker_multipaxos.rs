//! [`parthood_protocols::matchmaker_multipaxos`], deployed: servers that stay, acceptors and matchmakers that can be exchanged.
//!
//! As many matchmakers serve as there are servers, the first ones at first; the first configuration is majorities of as many
//! acceptors. The others are spares until somebody asks for them: with `parthood reconfigure`, or with the table
//! `[reconfiguration]` of a changed cluster file when nodes are started again. New matchmakers and acceptors come at the end of
//! the file; nodes keep their numbers.

use super::reconfigure::{
    ORDERS_MAX, Reconfigures, SIMULATED_RECONFIGURATIONS, configuration, numbers, operator,
};
use super::standing::{self, Needed, Stands, nodes_of};
use super::{
    ClientRole, Cluster, Deployable, KvClientMsg, MsgOf, Reads, Replicates, Simulated, StateOf, Store,
    changes, client,
};
use crate::error::Error;
use parthood_models as models;
use parthood_protocols::faults::Correct;
use parthood_protocols::matchmaker_multipaxos::{
    Acceptor, Bounds, Config, Matchmaker, Msg, Node, Places, Role, Server, Stage, State, Transition, Wish,
};
use parthood_protocols::matchmaking::Configuration;
use parthood_protocols::operator::{Operator, OperatorMsg, Refusal, Wanted};
use parthood_protocols::state_machine::KeyValue;
use parthood_quorums::NodeSet;
use parthood_runtime::udp::{Choice, Quorum, Standing};
use stateright::actor::Id;
use std::sync::Arc;

/// [`parthood_protocols::matchmaker_multipaxos`].
#[derive(Clone, Copy, Debug)]
pub struct MatchmakerMultiPaxos;

/// How often a new leader sends again before it begins another round.
const PATIENCE: u32 = 8;

/// The most configurations that a matchmaker keeps; so many fit a datagram.
const LOG_MAX: usize = 500;

/// What all participants of a cluster know.
pub(crate) fn config(cluster: &Cluster) -> Arc<Config> {
    let (servers, acceptors) = (cluster.count("server"), cluster.count("acceptor"));
    let matchmakers = cluster.count("matchmaker");
    // The largest 2f + 1 that there are as many of.
    let serving = (servers.min(matchmakers).max(1) - 1) / 2 * 2 + 1;
    Arc::new(Config {
        servers,
        places: places(cluster),
        matchmakers,
        serving,
        acceptors,
        initial: Configuration::Majority(NodeSet::first(acceptors.min(serving))),
        acceptor_failures: serving / 2,
        known_clients: Vec::new(),
        limits: cluster.sizes.limits(),
        timing: cluster.times.timing(cluster.sizes),
        log_max: LOG_MAX,
        orders_max: ORDERS_MAX,
        patience: PATIENCE,
        transition: Transition::default(),
        bounds: Bounds::default(),
        faults: Correct,
    })
}

/// Matchmakers and acceptors are numbered as they come in the file.
fn places(cluster: &Cluster) -> Places {
    let (mut matchmakers, mut acceptors) = (0.., 0..);
    let role = |role| match role {
        "matchmaker" => matchmakers.next().map(Role::Matchmaker),
        "acceptor" => acceptors.next().map(Role::Acceptor),
        _ => None,
    };
    Places::in_order(cluster.members.iter().map(|member| member.role).filter_map(role))
}

impl Deployable for MatchmakerMultiPaxos {
    type Actor = Node<KeyValue>;
    type Model = models::matchmaker_multipaxos::MatchmakerMultipaxos<KeyValue, Correct>;
    type Service = Store;

    const NAME: &'static str = "matchmaker_multipaxos";
    const ROLES: &'static [&'static str] = &["server", "matchmaker", "acceptor"];
    const ADDED_ROLES: &'static [&'static str] = &["matchmaker", "acceptor"];
    /// The quorums of each configuration are majorities, or what the operator says.
    const VOTERS: Option<&'static str> = None;
    /// An acceptor that has lost what it saved is replaced by another one.
    const REJOINS: bool = false;

    fn server(cluster: &Cluster, index: usize, _: bool) -> Self::Actor {
        let config = config(cluster);
        match config.role(Id::from(index)) {
            // What a cluster file asks for is checked when it is read.
            Some(Role::Server(index)) => {
                Node::Server(Server { index, wish: wish(cluster).unwrap_or_default(), config })
            }
            Some(Role::Matchmaker(index)) => Node::Matchmaker(Matchmaker { index, config }),
            Some(Role::Acceptor(_)) | None => Node::Acceptor(Acceptor { config }),
        }
    }

    fn may_follow(before: &Cluster, now: &Cluster) -> Result<(), String> {
        changes::nobody_moves(before, now)?;
        changes::generations_grow(before, now)?;
        let (old, new) = (config(before), config(now));
        if (old.serving, &old.initial) == (new.serving, &new.initial) {
            return Ok(());
        }
        Err(format!(
            "at first {} matchmakers served and the acceptors were {:?}; by this file they would have been {} and {:?}: add fewer nodes",
            old.serving, old.initial, new.serving, new.initial
        ))
    }

    fn stands(cluster: &Cluster) -> Stands<Self> {
        let config = config(cluster);
        Box::new(move |_, state| match state {
            State::Server(server) => {
                let leading = server.leading.as_ref();
                let known = &server.known;
                let acceptors = standing::of_configuration(&known.configuration, known.version, |number| {
                    config.id(Role::Acceptor(number))
                });
                let members = server.epoch.members;
                let matchmakers = Quorum {
                    what: "majority of matchmakers".to_owned(),
                    version: server.epoch.number,
                    any_of: vec![Choice {
                        nodes: members
                            .iter()
                            .map(|number| usize::from(config.id(Role::Matchmaker(number))) as u64)
                            .collect(),
                        least: (members.len() / 2 + 1) as u64,
                    }],
                };
                Standing {
                    leads: leading.is_some_and(|leading| matches!(leading.stage, Stage::Steady)),
                    leader: server.heard.map(|round| round.proposer),
                    round: server.heard.map(standing::triple),
                    queued: leading.map(|leading| leading.queue.len() as u64),
                    outstanding: leading.map(|leading| leading.outstanding.len() as u64),
                    quorums: acceptors.into_iter().chain([matchmakers]).collect(),
                    ..standing::of_replica(&server.replica)
                }
            }
            State::Acceptor(node) => standing::of_acceptor_node(node, standing::triple),
            State::Matchmaker(_) | State::Client(_) | State::Operator(_) => Standing::default(),
        })
    }

    /// Which acceptors vote and which matchmakers serve is known to the servers.
    fn quorums(cluster: &Cluster) -> Vec<Needed> {
        vec![Needed::some("server", 1, nodes_of(cluster, "server"))]
    }

    fn model(cluster: &Cluster) -> Self::Model {
        models::matchmaker_multipaxos::MatchmakerMultipaxos::deployed(config(cluster))
    }

    fn replica(state: &StateOf<Self>) -> Option<(u64, &KeyValue)> {
        match state {
            State::Server(server) => Some((server.replica.executed.0, &server.replica.machine)),
            _ => None,
        }
    }

    /// One who goes through all pairs of acceptors, and waits each time until the others are retired; and one who does so with
    /// matchmakers, if there are spares.
    fn operators(cluster: &Cluster, seed: u64) -> Vec<Self::Actor> {
        let Config { acceptors, matchmakers, serving, .. } = *config(cluster);
        let start = usize::try_from(seed % 64).unwrap_or_default();
        let turns = start..start + SIMULATED_RECONFIGURATIONS;
        let pair = |turn: usize| {
            let first = turn % acceptors;
            let pair = [first, (first + 1 + turn / acceptors % 2) % acceptors].into_iter().collect();
            Wanted::Acceptors(Configuration::UnanimousWrites(pair))
        };
        let everybody = Wanted::Acceptors(Configuration::Majority(NodeSet::first(acceptors)));
        let pairs = turns.clone().map(pair).chain([everybody]);
        let some = |turn: usize| {
            let members = (turn..turn + serving).map(|number| number % matchmakers).collect();
            Wanted::Matchmakers(members)
        };
        let of_acceptors = if acceptors < 3 { vec![] } else { pairs.collect() };
        let of_matchmakers = if matchmakers == serving { vec![] } else { turns.map(some).collect() };
        let scripts = [of_acceptors, of_matchmakers].into_iter();
        scripts.map(|script| Node::Operator(Operator { script, ..operator(cluster, None) })).collect()
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

impl Replicates for MatchmakerMultiPaxos {
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

impl Reconfigures for MatchmakerMultiPaxos {
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

/// What the table `[reconfiguration]` of a cluster file asks for.
///
/// # Errors
/// When a name is none of an acceptor or matchmaker, or what it asks for would be refused.
pub(super) fn wish(cluster: &Cluster) -> Result<Wish, Error> {
    let Some(changed) = &cluster.changed else { return Ok(Wish::default()) };
    let config = config(cluster);
    let sound =
        |refusal: Option<Refusal>| refusal.map_or(Ok(()), |refusal| Err(Error::Usage(refusal.to_string())));
    let mut wish = Wish { generation: changed.generation, ..Wish::default() };
    if !changed.acceptors.is_empty() {
        let configuration = configuration(cluster, &changed.acceptors, changed.unanimous_writes)?;
        sound(config.refusal(&configuration))?;
        wish.acceptors = Some(configuration);
    }
    if !changed.matchmakers.is_empty() {
        let members = numbers(cluster, &changed.matchmakers, "matchmaker")?;
        sound(config.refusal_of_matchmakers(members))?;
        wish.matchmakers = Some(members);
    }
    Ok(wish)
}
