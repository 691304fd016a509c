//! [`parthood_protocols::matchmaker_fast_paxos`], deployed: one value is chosen for ever, if nothing fails in two message
//! delays.
//!
//! As many acceptors serve in a round as half of the matchmakers, and one: all of them must vote. Each round of a proposer
//! uses the next ones, so that one that does not answer is soon left out. The first proposer begins when it starts.

use super::matchmaker_paxos::servers;
use super::paxos::{Decides, asking};
use super::standing::{Needed, Stands, nodes_of, triple};
use super::{Cluster, Deployable, OneValue, Simulated, StateOf};
use parthood_models as models;
use parthood_protocols::faults::Correct;
use parthood_protocols::matchmaker_fast_paxos::{
    Config, FastAcceptor, FastClient, FastProposer, Node, Shared, State,
};
use parthood_protocols::matchmaker_paxos::{Config as PaxosConfig, Matchmaker, Role};
use parthood_protocols::state_machine::Bytes;
use parthood_quorums::NodeSet;
use parthood_runtime::udp::Standing;
use stateright::actor::Id;
use std::sync::Arc;

/// [`parthood_protocols::matchmaker_fast_paxos`].
#[derive(Clone, Copy, Debug)]
pub struct MatchmakerFastPaxos;

fn config(cluster: &Cluster) -> Arc<Config> {
    let known = servers(cluster, Shared(Correct));
    let paxos = Arc::new(PaxosConfig { bypass: false, own_bypass: false, ..known });
    let (proposers, acceptors) = (paxos.proposers, paxos.acceptors);
    let of_a_round = paxos.f_plus_1().min(acceptors);
    let from = |first: usize| (0..of_a_round).map(|turn| (first + turn) % acceptors).collect::<NodeSet>();
    let rounds: Vec<NodeSet> = (0..acceptors).map(from).collect();
    // Without an end to disputes acceptors that remember different values would go on for ever.
    Arc::new(Config { acceptors: vec![rounds; proposers], settle: true, faults: Correct, paxos })
}

fn proposer(index: usize, config: &Arc<Config>) -> FastProposer<Correct> {
    FastProposer { index, rounds_max: u64::MAX, proactive: index == 0, config: config.clone() }
}

impl Deployable for MatchmakerFastPaxos {
    type Actor = Node<Bytes>;
    type Model = models::matchmaker_fast_paxos::MatchmakerFastPaxos<Bytes, Correct>;
    type Service = OneValue;

    const NAME: &'static str = "matchmaker_fast_paxos";
    const ROLES: &'static [&'static str] = &["proposer", "matchmaker", "acceptor"];
    /// All acceptors of a round must vote, and which ones those are is the proposers' affair.
    const VOTERS: Option<&'static str> = None;
    /// Who has lost promises or announcements may help to choose a second value.
    const REJOINS: bool = false;

    fn server(cluster: &Cluster, index: usize, _: bool) -> Self::Actor {
        let config = config(cluster);
        match config.paxos.role(Id::from(index)) {
            Some(Role::Proposer(number)) => Node::Proposer(proposer(number, &config)),
            Some(Role::Matchmaker(_)) => Node::Matchmaker(Matchmaker { config: config.paxos.clone() }),
            Some(Role::Acceptor(_) | Role::Replica(_)) | None => Node::Acceptor(FastAcceptor { config }),
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

    /// All acceptors of a round vote, and which ones those are its proposer knows alone: these are enough for some round. What
    /// earlier rounds may have chosen has to be asked of their acceptors, too.
    fn quorums(cluster: &Cluster) -> Vec<Needed> {
        let nodes = nodes_of(cluster, "acceptor");
        let rounds = config(cluster).acceptors[0]
            .iter()
            .map(|round| {
                (round.len(), round.iter().filter_map(|number| nodes.get(number).copied()).collect())
            })
            .collect();
        vec![
            Needed::some("proposer", 1, nodes_of(cluster, "proposer")),
            Needed::majority("majority of matchmakers", nodes_of(cluster, "matchmaker")),
            Needed::any_of("quorum of acceptors of a round", rounds),
        ]
    }

    fn model(cluster: &Cluster) -> Self::Model {
        let config = config(cluster);
        let proposers = (0..config.paxos.proposers).map(|number| proposer(number, &config)).collect();
        models::matchmaker_fast_paxos::MatchmakerFastPaxos::deployed(config, proposers)
    }

    fn simulated(state: &StateOf<Self>) -> Option<Simulated<'_>> {
        match state {
            State::Client(client) => Some((&client.asks).into()),
            _ => None,
        }
    }
}

impl Decides for MatchmakerFastPaxos {
    fn client(cluster: &Cluster, value: Option<Bytes>, first: usize) -> Self::Actor {
        Node::Client(FastClient { asks: asking(cluster, value, first), config: config(cluster) })
    }
}
