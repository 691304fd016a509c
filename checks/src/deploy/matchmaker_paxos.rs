//! [`parthood_protocols::matchmaker_paxos`], deployed: one value is chosen for ever, by acceptors that take turns.
//!
//! The first configuration of every proposer is majorities of all acceptors. One that goes on, because it was overtaken or
//! has waited long enough, uses two of them, both of which must vote, and each time another two.

use super::paxos::{Decides, asking};
use super::standing::{Needed, Stands, nodes_of, triple};
use super::{Cluster, Deployable, OneValue, Simulated, StateOf};
use parthood_models as models;
use parthood_protocols::faults::Correct;
use parthood_protocols::matchmaker_paxos::{
    Acceptor, Config, Matchmaker, Node, Proposer, Replica, Role, Scenarios, State,
};
use parthood_protocols::matchmaking::Configuration;
use parthood_protocols::state_machine::Bytes;
use parthood_quorums::NodeSet;
use parthood_runtime::udp::Standing;
use stateright::actor::Id;
use std::sync::Arc;

/// [`parthood_protocols::matchmaker_paxos`].
#[derive(Clone, Copy, Debug)]
pub struct MatchmakerPaxos;

/// How often a proposer sends again before it goes on to its next round.
const PATIENCE: u32 = 8;

/// The most configurations that a matchmaker keeps; so many fit a datagram.
const LOG_MAX: usize = 1_000;

/// What all participants know, with these faults.
pub(super) fn servers<F>(cluster: &Cluster, faults: F) -> Config<F> {
    let replicas = cluster.count("replica");
    let matchmakers = cluster.count("matchmaker");
    // With fewer replicas than f + 1 nothing can be persisted; acceptors are then asked for ever.
    let scenarios = Scenarios { persisted: replicas > matchmakers / 2, ..Scenarios::ALL };
    Config {
        proposers: cluster.count("proposer"),
        matchmakers,
        acceptors: cluster.count("acceptor"),
        replicas,
        scenarios,
        bypass: true,
        own_bypass: true,
        ask_everyone: false,
        log_max: LOG_MAX,
        nack: true,
        resend: true,
        patience: PATIENCE,
        resend_after: cluster.times.resend(),
        faults,
    }
}

fn config(cluster: &Cluster) -> Arc<Config> {
    Arc::new(servers(cluster, Correct))
}

fn proposer(index: usize, config: &Arc<Config>) -> Proposer<Correct> {
    let acceptors = config.acceptors;
    let pair = |first: usize| [first, (first + 1) % acceptors].into_iter().collect();
    let pairs = (0..acceptors).map(|first| Configuration::UnanimousWrites(pair(first)));
    let everybody = Configuration::Majority(NodeSet::first(acceptors));
    let configurations = std::iter::once(everybody).chain(pairs).collect();
    Proposer { index, configurations, rounds_max: u64::MAX, proactive: false, config: config.clone() }
}

impl Deployable for MatchmakerPaxos {
    type Actor = Node<Bytes>;
    type Model = models::matchmaker_paxos::MatchmakerPaxos<Bytes, Correct>;
    type Service = OneValue;

    const NAME: &'static str = "matchmaker_paxos";
    const ROLES: &'static [&'static str] = &["proposer", "matchmaker", "acceptor", "replica"];
    /// The quorums of each round are the proposers' affair.
    const VOTERS: Option<&'static str> = None;
    /// Who has lost promises, announcements or the chosen value may help to choose a second one.
    const REJOINS: bool = false;

    fn server(cluster: &Cluster, index: usize, _: bool) -> Self::Actor {
        let config = config(cluster);
        match config.role(Id::from(index)) {
            Some(Role::Proposer(number)) => Node::Proposer(proposer(number, &config)),
            Some(Role::Matchmaker(_)) => Node::Matchmaker(Matchmaker { config }),
            Some(Role::Acceptor(_)) => Node::Acceptor(Acceptor { config }),
            Some(Role::Replica(_)) | None => Node::Replica(Replica { config }),
        }
    }

    /// Nobody leads: whoever is asked proposes.
    fn stands(_: &Cluster) -> Stands<Self> {
        Box::new(|_, state| match state {
            State::Proposer(proposer) => {
                Standing { round: proposer.heard.map(triple), ..Standing::default() }
            }
            _ => Standing::default(),
        })
    }

    /// Who votes in a round is known to its proposer alone: these are enough for some round. What earlier rounds may have
    /// chosen has to be asked of their acceptors, too.
    fn quorums(cluster: &Cluster) -> Vec<Needed> {
        let acceptors = nodes_of(cluster, "acceptor");
        let pair = |first: usize| vec![acceptors[first], acceptors[(first + 1) % acceptors.len()]];
        let pairs = (0..acceptors.len()).map(|first| (2.min(acceptors.len()), pair(first)));
        let rounds = pairs.chain([(acceptors.len() / 2 + 1, acceptors.clone())]).collect();
        vec![
            Needed::some("proposer", 1, nodes_of(cluster, "proposer")),
            Needed::majority("majority of matchmakers", nodes_of(cluster, "matchmaker")),
            Needed::any_of("write quorum of acceptors of a round", rounds),
        ]
    }

    fn model(cluster: &Cluster) -> Self::Model {
        let config = config(cluster);
        let proposers = (0..config.proposers).map(|number| proposer(number, &config)).collect();
        models::matchmaker_paxos::MatchmakerPaxos::deployed(config, proposers)
    }

    fn simulated(state: &StateOf<Self>) -> Option<Simulated<'_>> {
        match state {
            State::Client(client) => Some(client.into()),
            _ => None,
        }
    }
}

impl Decides for MatchmakerPaxos {
    fn client(cluster: &Cluster, value: Option<Bytes>, first: usize) -> Self::Actor {
        Node::Client(asking(cluster, value, first))
    }
}
