//! [`parthood_protocols::paxos`], deployed: any bytes are proposed, and one value is chosen for ever.

use super::standing::{Stands, plain};
use super::{
    ClientError, Cluster, Deployable, DurableJournal, MatchmakerFastPaxos, MatchmakerPaxos, OneValue,
    Simulated, StateOf,
};
use crate::error::Error;
use parthood_models as models;
use parthood_protocols::decree::{Decree, DecreeClient, Heard};
use parthood_protocols::faults::Correct;
use parthood_protocols::ids::Round;
use parthood_protocols::paxos::{Acceptor, Config, Node, Proposer, State};
use parthood_protocols::state_machine::{Bytes, MAX_VALUE_BYTES};
use parthood_runtime::LOCAL_APPLICATION;
use parthood_runtime::udp::{ClientProcess, Driver, Standing};
use stateright::actor::Id;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// [`parthood_protocols::paxos`].
#[derive(Clone, Copy, Debug)]
pub struct Paxos;

fn config(cluster: &Cluster) -> Arc<Config> {
    let (proposers, acceptors) = (cluster.count("proposer"), cluster.count("acceptor"));
    Arc::new(Config {
        proposers,
        acceptors,
        quorums: cluster.groups[0].system(),
        round_max: Round(u64::MAX),
        resend: true,
        nack: true,
        resend_after: cluster.times.resend(),
        faults: Correct,
    })
}

impl Deployable for Paxos {
    type Actor = Node<Bytes>;
    type Model = models::paxos::Paxos<Bytes, Correct>;
    type Service = OneValue;

    const NAME: &'static str = "paxos";
    const ROLES: &'static [&'static str] = &["proposer", "acceptor"];
    const VOTERS: Option<&'static str> = Some("acceptor");
    /// An acceptor that has lost its promises may help to choose a second value.
    const REJOINS: bool = false;

    fn server(cluster: &Cluster, index: usize, _: bool) -> Self::Actor {
        let config = config(cluster);
        if index < config.proposers {
            return Node::Proposer(Proposer { index, config });
        }
        Node::Acceptor(Acceptor { config })
    }

    /// Nobody leads: whoever is asked proposes.
    fn stands(_: &Cluster) -> Stands<Self> {
        Box::new(|_, state| {
            let round = match state {
                State::Proposer(proposer) => Some(plain(proposer.heard)),
                State::Acceptor(acceptor) => Some(plain(acceptor.round)),
                State::Client(_) => None,
            };
            Standing { round, ..Standing::default() }
        })
    }

    fn model(cluster: &Cluster) -> Self::Model {
        models::paxos::Paxos::deployed(config(cluster))
    }

    fn simulated(state: &StateOf<Self>) -> Option<Simulated<'_>> {
        match state {
            State::Client(client) => Some(client.into()),
            State::Proposer(_) | State::Acceptor(_) => None,
        }
    }
}

/// A protocol that chooses one value for ever.
pub trait Decides: Deployable<Actor: Decree<Bytes>> {
    /// A client that proposes this value, or what its application says, and asks this proposer first.
    fn client(cluster: &Cluster, value: Option<Bytes>, first: usize) -> Self::Actor;
}

impl Decides for Paxos {
    fn client(cluster: &Cluster, value: Option<Bytes>, first: usize) -> Self::Actor {
        Node::Client(asking(cluster, value, first))
    }
}

/// What a client does about proposers.
pub(super) fn asking(cluster: &Cluster, value: Option<Bytes>, first: usize) -> DecreeClient<Bytes> {
    let proposers = cluster.count("proposer");
    DecreeClient {
        proposers: (0..proposers).map(|turn| Id::from((first + turn) % proposers)).collect(),
        application: value.is_none().then(|| Id::from(LOCAL_APPLICATION)),
        value,
        retries_max: u32::MAX,
        retry_after: cluster.times.retry(),
    }
}

/// Proposes a value to a running cluster, and waits for what is chosen: this value or an earlier one.
///
/// # Errors
/// When the cluster runs a protocol that replicates a store, or a socket cannot be used; within, when there is no answer in
/// time or the value is too long.
pub fn propose(
    cluster: &Cluster,
    value: &[u8],
    timeout: Duration,
) -> Result<Result<Bytes, ClientError>, Error> {
    match cluster.protocol.as_str() {
        Paxos::NAME => propose_as::<Paxos>(cluster, value, timeout),
        MatchmakerPaxos::NAME => propose_as::<MatchmakerPaxos>(cluster, value, timeout),
        MatchmakerFastPaxos::NAME => propose_as::<MatchmakerFastPaxos>(cluster, value, timeout),
        protocol => Err(Error::Usage(format!(
            "the cluster runs {protocol}, which replicates a store: ask it with `parthood client put`, `get` and so on"
        ))),
    }
}

fn propose_as<D: Decides>(
    cluster: &Cluster,
    value: &[u8],
    timeout: Duration,
) -> Result<Result<Bytes, ClientError>, Error> {
    if value.len() > MAX_VALUE_BYTES {
        let (length, limit) = (value.len(), MAX_VALUE_BYTES);
        return Ok(Err(ClientError::Refused(format!(
            "a value of {length} bytes exceeds the limit of {limit}"
        ))));
    }
    let id = ClientProcess::random()?.id(0);
    let first = usize::try_from(super::client::turn(id)).unwrap_or_default();
    let builder =
        Driver::<D::Actor, DurableJournal>::builder(cluster.identity(), cluster.keys()?, cluster.book());
    let mut driver = builder.host(id, D::client(cluster, None, first)).build()?;
    driver.inject(id, D::Actor::invoke(Bytes::from(value)));
    let end = Instant::now() + timeout;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        driver.turn(Some(left))?;
        let chosen = driver.outbox().find_map(|(_, msg)| match D::Actor::heard(&msg) {
            Some(Heard::Chosen(value)) => Some(value.clone()),
            _ => None,
        });
        if let Some(value) = chosen {
            return Ok(Ok(value));
        }
        driver.complaints().for_each(|complaint| eprintln!("parthood: {complaint}"));
        if left.is_zero() {
            return Ok(Err(ClientError::Timeout(timeout)));
        }
    }
}
