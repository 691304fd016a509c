//! A configuration: what the bounds of a row are about.

use super::{MatchmakerPaxos, Value, properties};
use crate::defaults::{never, plenty, three};
use crate::quorum_params::{NODES_MAX, interchangeable};
use parthood_protocols::decree::DecreeClient;
use parthood_protocols::faults::Mutated;
use parthood_protocols::matchmaker_paxos::{Config, Mutant, Operator, Proposer, Scenarios};
use parthood_protocols::matchmaking::Configuration;
use parthood_quorums::NodeSet;
use serde::Deserialize;
use stateright::actor::Id;
use std::sync::Arc;
use std::time::Duration;

/// A configuration: what the bounds of a row are about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Params {
    /// The proposers, and the acceptors of their rounds.
    pub proposers: Vec<ProposerParams>,
    /// The number of matchmakers, `2f + 1`.
    #[serde(default = "three")]
    pub matchmakers: usize,
    /// The number of replicas; at least `f + 1` if values are handed to them.
    #[serde(default)]
    pub replicas: usize,
    /// The clients; client `i` asks for value `i + 1`.
    pub clients: Vec<ClientParams>,
    /// The proposers that an operator asks, once, to go on to their next round.
    #[serde(default)]
    pub reconfigure: Vec<usize>,
    /// When proposers collect.
    #[serde(default)]
    pub collect: Scenarios,
    /// Whether a proposer that was free goes on without phase 1.
    #[serde(default)]
    pub bypass: bool,
    /// Whether a proposer that has proposed does.
    #[serde(default)]
    pub own_bypass: bool,
    /// Whether phase 1 asks all acceptors there are.
    #[serde(default)]
    pub ask_everyone: bool,
    /// Whether matchmakers and acceptors answer a stale round.
    #[serde(default)]
    pub nack: bool,
    /// Whether proposers send again, and go on to a higher round when overtaken or out of patience.
    #[serde(default)]
    pub resend: bool,
    /// How often a proposer sends again before it gives a round up.
    #[serde(default = "never")]
    pub patience: u32,
    /// How many configurations a matchmaker keeps.
    #[serde(default = "plenty")]
    pub log_max: usize,
    /// Whether all clients have asked before anything else happens; needs eager delivery.
    #[serde(default)]
    pub asked_at_once: bool,
    /// Whether every client must be told in the end: not so where rounds or retries may run out first.
    #[serde(default)]
    pub answers: bool,
}

/// A proposer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposerParams {
    /// The configurations of its rounds, one for each: it has no more rounds than that.
    pub configurations: Vec<ConfigurationParams>,
    /// Whether it begins before a client has asked.
    #[serde(default)]
    pub proactive: bool,
}

/// Acceptors and their quorums.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ConfigurationParams {
    /// Majorities of these acceptors.
    Majority(Vec<usize>),
    /// All of these write, any one reads.
    UnanimousWrites {
        /// The acceptors.
        all: Vec<usize>,
    },
    /// These quorums.
    Explicit {
        /// The read quorums.
        reads: Vec<Vec<usize>>,
        /// The write quorums.
        writes: Vec<Vec<usize>>,
    },
}

/// A client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientParams {
    /// The proposer it asks first.
    pub first: usize,
    /// How often it may ask again, each time the next proposer.
    pub retries: u32,
    /// Whether it only pretends to be a client, as it could on a network without authentication. Nothing else can break
    /// validity: the actors are generic in the value, and so cannot make one up.
    pub outsider: bool,
}

impl ConfigurationParams {
    pub(crate) fn configuration(&self) -> Result<Configuration, String> {
        let set = |numbers: &Vec<usize>| -> Result<NodeSet, String> {
            match numbers.iter().find(|number| **number >= NODES_MAX) {
                Some(number) => Err(format!("acceptor {number} is beyond the {NODES_MAX} that are modelled")),
                None => Ok(numbers.iter().copied().collect()),
            }
        };
        let sets = |sets: &Vec<Vec<usize>>| sets.iter().map(set).collect::<Result<Vec<_>, _>>();
        let configuration = match self {
            Self::Majority(numbers) => Configuration::Majority(set(numbers)?),
            Self::UnanimousWrites { all } => Configuration::UnanimousWrites(set(all)?),
            Self::Explicit { reads, writes } => {
                Configuration::Explicit { reads: sets(reads)?, writes: sets(writes)? }
            }
        };
        configuration.check().map_err(|error| error.to_string())?;
        Ok(configuration)
    }
}

impl MatchmakerPaxos {
    /// The protocol in a configuration, with at most one rule broken.
    ///
    /// # Errors
    /// What makes no sense about the configuration, in words.
    pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Self, String> {
        let mut configurations = vec![];
        for proposer in &params.proposers {
            let own: Result<Vec<_>, _> =
                proposer.configurations.iter().map(ConfigurationParams::configuration).collect();
            configurations.push(own?);
        }
        let all: Vec<&Configuration> = configurations.iter().flatten().collect();
        let acceptors = all.iter().flat_map(|one| one.acceptors().iter()).max().map_or(0, |last| last + 1);
        check(params, &configurations)?;
        let config = Arc::new(Config {
            proposers: params.proposers.len(),
            matchmakers: params.matchmakers,
            acceptors,
            replicas: params.replicas,
            scenarios: params.collect,
            bypass: params.bypass,
            own_bypass: params.own_bypass,
            ask_everyone: params.ask_everyone,
            log_max: params.log_max,
            nack: params.nack,
            resend: params.resend,
            patience: params.patience,
            resend_after: Duration::ZERO..Duration::ZERO,
            faults: Mutated(mutant),
        });
        let alike = alike(&all, acceptors);
        let proposers = configurations.into_iter().zip(&params.proposers).enumerate();
        let proposers = proposers.map(|(index, (configurations, proposer))| Proposer {
            index,
            rounds_max: configurations.len() as u64,
            configurations,
            proactive: proposer.proactive,
            config: config.clone(),
        });
        let valued = || (1..).zip(&params.clients);
        let clients = valued().map(|(value, client)| DecreeClient {
            proposers: (0..config.proposers)
                .map(|turn| Id::from((client.first + turn) % config.proposers))
                .collect(),
            value: Some(value),
            application: None,
            retries_max: client.retries,
            retry_after: Duration::ZERO..Duration::ZERO,
        });
        let operators = params.reconfigure.iter().map(|proposer| Operator { proposer: Id::from(*proposer) });
        Ok(Self {
            proposers: proposers.collect(),
            clients: clients.collect(),
            operators: operators.collect(),
            asked: valued().filter(|(_, client)| !client.outsider).map(|(value, _)| value).collect(),
            alike,
            answers: params.answers,
            asked_at_once: params.asked_at_once,
            undone_steps: false,
            properties: properties::of_known_clients,
            config,
        })
    }
}

/// What makes no sense, in words.
fn check(params: &Params, configurations: &[Vec<Configuration>]) -> Result<(), String> {
    let Params { proposers, matchmakers, replicas, clients, reconfigure, collect, .. } = params;
    if proposers.is_empty() || configurations.iter().any(Vec::is_empty) {
        return Err("at least one proposer is needed, and each needs at least one configuration".into());
    }
    if matchmakers % 2 == 0 {
        return Err(format!("{matchmakers} matchmakers are no 2f + 1"));
    }
    if collect.persisted && *replicas <= matchmakers / 2 {
        return Err(format!("{replicas} replicas are fewer than f + 1 = {}", matchmakers / 2 + 1));
    }
    if clients.len() >= Value::MAX.into() {
        return Err(format!("at most {} clients are modelled", Value::MAX - 1));
    }
    let named = clients.iter().map(|client| client.first).chain(reconfigure.iter().copied());
    match named.into_iter().find(|proposer| *proposer >= proposers.len()) {
        Some(wrong) => Err(format!("there is no proposer {wrong}; there are {}", proposers.len())),
        None => Ok(()),
    }
}

/// Groups of acceptors of which any two may change places without any configuration noticing.
pub(crate) fn alike(configurations: &[&Configuration], acceptors: usize) -> Vec<Vec<usize>> {
    let mut names: Vec<Vec<usize>> = vec![vec![]; acceptors];
    for configuration in configurations {
        let groups = interchangeable(*configuration, acceptors);
        for (number, group) in groups.iter().enumerate() {
            for acceptor in group {
                names[*acceptor].push(number);
            }
        }
    }
    let mut groups: Vec<Vec<usize>> = vec![];
    for acceptor in 0..acceptors {
        match groups.iter_mut().find(|group| names[group[0]] == names[acceptor]) {
            Some(group) => group.push(acceptor),
            None => groups.push(vec![acceptor]),
        }
    }
    groups
}
