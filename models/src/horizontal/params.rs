//! A configuration: what the bounds of a row are about.

use super::{Horizontal, properties};
use crate::client_params::{self, ClientParams};
use crate::defaults::{one, plenty, two};
use crate::matchmaker_paxos::{ConfigurationParams, alike};
use parthood_protocols::faults::Mutated;
use parthood_protocols::horizontal::{Config, Mutant};
use parthood_protocols::ids::Round;
use parthood_protocols::matchmaking::Configuration;
use parthood_protocols::multipaxos::{Bounds, Limits, Timing};
use parthood_protocols::operator::{Numbers, Operator, Wanted};
use serde::Deserialize;
use stateright::actor::Id;
use std::sync::Arc;
use std::time::Duration;

/// A configuration: what the bounds of a row are about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Params {
    /// The number of servers.
    #[serde(default = "two")]
    pub servers: usize,
    /// Configurations of acceptors; the first is the initial one.
    pub configurations: Vec<ConfigurationParams>,
    /// The operators.
    #[serde(default)]
    pub operators: Vec<OperatorParams>,
    /// The clients.
    pub clients: Vec<ClientParams>,
    /// The window.
    pub alpha: u64,
    /// No leader goes beyond this round.
    #[serde(default)]
    pub round_max: u64,
    /// How many failures of acceptors a configuration must survive.
    #[serde(default)]
    pub acceptor_failures: usize,
    /// How many reconfigurations may be on their way into the log.
    #[serde(default = "one")]
    pub orders_max: usize,
    /// Whether leaders see to it that old acceptors are not needed any more.
    #[serde(default)]
    pub retire: bool,
    /// Whether acceptors and servers answer a stale round.
    #[serde(default)]
    pub nack: bool,
    /// Whether leaders send again.
    #[serde(default)]
    pub resend: bool,
    /// Whether what arrives at a leader together shares a slot: a timer proposes it, at any time after it was set.
    #[serde(default)]
    pub gather: bool,
    /// How many commands share a slot at most.
    #[serde(default = "one")]
    pub batch_commands: usize,
    /// How many slots a page holds.
    #[serde(default = "plenty")]
    pub page_slots: usize,
    /// How many slots before a snapshot are kept.
    #[serde(default)]
    pub retained_slots: u64,
    /// Whether every client must have its answers when nothing more can happen. Not so where a client may give up.
    #[serde(default)]
    pub answers: bool,
}

/// An operator.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorParams {
    /// What it asks for, one after the other: numbers of configurations.
    pub script: Vec<usize>,
    /// The server it asks first.
    #[serde(default)]
    pub first: usize,
    /// Whether it waits until the old acceptors are retired before it asks for the next.
    #[serde(default)]
    pub until_retired: bool,
    /// How often it may ask again.
    #[serde(default)]
    pub retries: u32,
    /// Whether it must be told the first number.
    #[serde(default)]
    pub knows_nothing: bool,
}

impl Horizontal {
    /// The protocol in a configuration, with at most one rule broken.
    ///
    /// # Errors
    /// What makes no sense about the configuration, in words.
    pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Self, String> {
        let configurations: Result<Vec<Configuration>, String> =
            params.configurations.iter().map(ConfigurationParams::configuration).collect();
        let configurations = configurations?;
        check(params)?;
        let all: Vec<&Configuration> = configurations.iter().collect();
        let acceptors = all.iter().flat_map(|one| one.acceptors().iter()).max().map_or(0, |last| last + 1);
        let limits = Limits {
            batch_commands: params.batch_commands,
            page_slots: params.page_slots,
            lanes: 64,
            snapshot_slots: u64::MAX,
            retained_slots: params.retained_slots,
            ..Limits::default()
        };
        let config = Arc::new(Config {
            servers: params.servers,
            acceptors,
            initial: configurations[0].clone(),
            alpha: params.alpha,
            known_clients: client_params::known(&params.clients, params.servers + acceptors),
            limits,
            timing: Timing { gather: params.gather.then_some(Duration::ZERO), ..Timing::default() },
            acceptor_failures: params.acceptor_failures,
            orders_max: params.orders_max,
            retire: params.retire,
            bounds: Bounds {
                round_max: Round(params.round_max),
                resend: params.resend,
                ping: false,
                nack: params.nack,
            },
            faults: Mutated(mutant),
        });
        let wanted = |number: &usize| Wanted::Acceptors(configurations[*number].clone());
        let operators = params.operators.iter().map(|operator| Operator {
            contacts: (0..params.servers).map(Id::from).collect(),
            first_contact: operator.first,
            script: operator.script.iter().map(wanted).collect(),
            knows: if operator.knows_nothing { Numbers::default() } else { Numbers::FIRST },
            until_retired: operator.until_retired,
            application: None,
            retries_max: operator.retries,
            // Only the simulator has a clock that this matters to.
            ask_after: Duration::from_millis(100)..Duration::from_millis(200),
        });
        Ok(Self {
            alike: alike(&all, acceptors),
            clients: client_params::clients(&params.clients, params.servers)?,
            operators: operators.collect(),
            answers: params.answers,
            undone_steps: false,
            properties: properties::of_the_append_log,
            config,
        })
    }
}

/// What makes no sense, in words.
fn check(params: &Params) -> Result<(), String> {
    let Params { servers, configurations, operators, alpha, .. } = params;
    if configurations.is_empty() {
        return Err("an initial configuration is needed".into());
    }
    if *alpha == 0 {
        return Err("with a window of no slot nothing can be proposed".into());
    }
    let wanted = operators.iter().flat_map(|operator| &operator.script);
    if let Some(wrong) = wanted.into_iter().find(|number| **number >= configurations.len()) {
        return Err(format!("there is no configuration {wrong}; there are {}", configurations.len()));
    }
    match operators.iter().find(|operator| operator.first >= *servers) {
        Some(wrong) => Err(format!("there is no server {}; there are {servers}", wrong.first)),
        None => Ok(()),
    }
}
