//! A configuration: what the bounds of a row are about.

use super::{MatchmakerFastPaxos, Value, properties};
use crate::defaults::{never, three};
use crate::matchmaker_paxos::alike;
use crate::quorum_params::NODES_MAX;
use parthood_protocols::decree::DecreeClient;
use parthood_protocols::faults::Mutated;
use parthood_protocols::matchmaker_fast_paxos::{Config, FastClient, FastProposer, Mutant, Shared};
use parthood_protocols::matchmaker_paxos::{Config as PaxosConfig, Scenarios};
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
    /// The clients; client `i` asks for value `i + 1`.
    pub clients: Vec<ClientParams>,
    /// When proposers collect.
    #[serde(default)]
    pub collect: Scenarios,
    /// Whether a proposer that finds divided votes proposes one of the values.
    #[serde(default)]
    pub settle: bool,
    /// Whether matchmakers and acceptors answer a stale round.
    #[serde(default)]
    pub nack: bool,
    /// Whether proposers send again, and go on to a higher round when overtaken or out of patience.
    #[serde(default)]
    pub resend: bool,
    /// How often a proposer sends again before it gives a round up.
    #[serde(default = "never")]
    pub patience: u32,
    /// Whether every client must be told in the end: not so where rounds or retries may run out first.
    #[serde(default)]
    pub answers: bool,
}

/// A proposer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposerParams {
    /// The acceptors of its rounds, one set for each: it has no more rounds than that.
    pub rounds: Vec<Vec<usize>>,
    /// Whether it begins before a client has asked it.
    #[serde(default)]
    pub proactive: bool,
}

/// A client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientParams {
    /// The proposer that it asks first; without it, it asks acceptors only.
    pub first: Option<usize>,
    /// How often it may ask again, each time the next proposer.
    pub retries: u32,
    /// Whether it only pretends to be a client, as it could on a network without authentication. Nothing else can break
    /// validity: the actors are generic in the value, and so cannot make one up.
    pub outsider: bool,
}

impl MatchmakerFastPaxos {
    /// The protocol in a configuration, with at most one rule broken.
    ///
    /// # Errors
    /// What makes no sense about the configuration, in words.
    pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Self, String> {
        check(params)?;
        let own = |proposer: &ProposerParams| {
            proposer.rounds.iter().map(|round| round.iter().copied().collect::<NodeSet>()).collect::<Vec<_>>()
        };
        let sets: Vec<Vec<NodeSet>> = params.proposers.iter().map(own).collect();
        let all = sets.iter().flatten().fold(NodeSet::EMPTY, |all, set| all.union(*set));
        let acceptors = all.iter().max().map_or(0, |last| last + 1);
        let configurations: Vec<_> =
            sets.iter().flatten().map(|set| Configuration::UnanimousWrites(*set)).collect();
        let alike = alike(&configurations.iter().collect::<Vec<_>>(), acceptors);
        let paxos = Arc::new(PaxosConfig {
            proposers: params.proposers.len(),
            matchmakers: params.matchmakers,
            acceptors,
            replicas: 0,
            scenarios: params.collect,
            bypass: false,
            own_bypass: false,
            ask_everyone: false,
            log_max: 64,
            nack: params.nack,
            resend: params.resend,
            patience: params.patience,
            resend_after: Duration::ZERO..Duration::ZERO,
            faults: Shared(Mutated(mutant)),
        });
        let (settle, faults) = (params.settle, Mutated(mutant));
        let config = Arc::new(Config { paxos, acceptors: sets, settle, faults });
        let proposers = params.proposers.iter().enumerate().map(|(index, proposer)| FastProposer {
            index,
            rounds_max: proposer.rounds.len() as u64,
            proactive: proposer.proactive,
            config: config.clone(),
        });
        let valued = || (1..).zip(&params.clients);
        let clients = valued().map(|(value, client)| client_of(&config, value, client));
        Ok(Self {
            proposers: proposers.collect(),
            clients: clients.collect(),
            asked: valued().filter(|(_, client)| !client.outsider).map(|(value, _)| value).collect(),
            alike,
            answers: params.answers,
            undone_steps: false,
            properties: properties::of_known_clients,
            config,
        })
    }
}

fn client_of(
    config: &Arc<Config<Mutated<Mutant>>>,
    value: Value,
    client: &ClientParams,
) -> FastClient<Value, Mutated<Mutant>> {
    let count = config.paxos.proposers;
    let all = |first: usize| (0..count).map(|turn| Id::from((first + turn) % count)).collect();
    let asks = DecreeClient {
        proposers: client.first.map_or_else(Vec::new, all),
        value: Some(value),
        application: None,
        retries_max: client.retries,
        retry_after: Duration::ZERO..Duration::ZERO,
    };
    FastClient { asks, config: config.clone() }
}

/// What makes no sense, in words.
fn check(params: &Params) -> Result<(), String> {
    let Params { proposers, matchmakers, clients, collect, .. } = params;
    let rounds = || proposers.iter().flat_map(|proposer| &proposer.rounds);
    if proposers.is_empty() || proposers.iter().any(|proposer| proposer.rounds.is_empty()) {
        return Err("at least one proposer is needed, and each needs acceptors for one round at least".into());
    }
    if rounds().any(Vec::is_empty) {
        return Err("a round without acceptors cannot choose anything".into());
    }
    if let Some(wrong) = rounds().flatten().find(|acceptor| **acceptor >= NODES_MAX) {
        return Err(format!("acceptor {wrong} is beyond the {NODES_MAX} that are modelled"));
    }
    if matchmakers.is_multiple_of(2) || collect.persisted {
        return Err("2f + 1 matchmakers are needed, and there is no scenario 3".into());
    }
    match clients.iter().filter_map(|client| client.first).find(|first| *first >= proposers.len()) {
        Some(wrong) => Err(format!("there is no proposer {wrong}; there are {}", proposers.len())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_makes_no_sense_is_refused_in_words() {
        let refused = |text: &str| {
            let params: Params = toml::from_str(text).unwrap();
            MatchmakerFastPaxos::new(&params, None).err().unwrap()
        };
        let with = |rest: &str| format!("proposers = [{{ rounds = [[0, 1]] }}]\n{rest}");
        assert!(refused("proposers = []\nclients = []").contains("at least one proposer"));
        assert!(refused("proposers = [{ rounds = [[]] }]\nclients = []").contains("without acceptors"));
        assert!(refused("proposers = [{ rounds = [[12]] }]\nclients = []").contains("beyond the 12"));
        assert!(refused(&with("clients = [{ first = 1 }]")).contains("there is no proposer 1"));
        assert!(refused(&with("clients = []\nmatchmakers = 2")).contains("2f + 1"));
        assert!(refused(&with("clients = []\ncollect = { persisted = true }")).contains("no scenario 3"));
    }
}
