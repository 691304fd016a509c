//! A configuration: what the bounds of a row are about.

use super::{MatchmakerMultipaxos, properties};
use crate::client_params::{self, ClientParams};
use crate::defaults::{never, one, plenty, three, two};
use crate::matchmaker_paxos::{ConfigurationParams, alike};
use parthood_protocols::faults::Mutated;
use parthood_protocols::matchmaker_multipaxos::{Bounds, Config, Mutant, Places, Transition, Wish};
use parthood_protocols::matchmaking::Configuration;
use parthood_protocols::multipaxos::{Limits, Timing};
use parthood_protocols::operator::{Numbers, Operator, Wanted};
use serde::Deserialize;
use stateright::actor::Id;
use std::collections::BTreeMap;
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
    /// The number of matchmakers, `2f + 1`.
    #[serde(default = "three")]
    pub matchmakers: usize,
    /// How many more matchmakers there are.
    #[serde(default)]
    pub spare_matchmakers: usize,
    /// Configurations; the first is the initial one.
    pub configurations: Vec<ConfigurationParams>,
    /// The operators.
    #[serde(default)]
    pub operators: Vec<OperatorParams>,
    /// What the cluster files of the servers ask for, from the first server on.
    #[serde(default)]
    pub files: Vec<FileParams>,
    /// The clients.
    pub clients: Vec<ClientParams>,
    /// No leader uses a round of this age or above: terms and steps together.
    #[serde(default = "one_round")]
    pub rounds_max: u64,
    /// How many failures of acceptors a configuration must survive.
    #[serde(default)]
    pub acceptor_failures: usize,
    /// How many reconfigurations may wait.
    #[serde(default = "one")]
    pub orders_max: usize,
    /// Whether leaders retire configurations.
    #[serde(default)]
    pub collect: bool,
    /// Whether leaders ask acceptors whether they are there before they use them.
    #[serde(default)]
    pub ask_first: bool,
    /// Whether matchmakers and acceptors answer a stale round.
    #[serde(default)]
    pub nack: bool,
    /// Whether leaders send again.
    #[serde(default)]
    pub resend: bool,
    /// How often a new leader sends again before it gives its round up.
    #[serde(default = "never")]
    pub patience: u32,
    /// How a leader goes on to other acceptors.
    #[serde(default)]
    pub transition: Transition,
    /// How many slots a leader may have outstanding.
    #[serde(default = "plenty")]
    pub window_slots: usize,
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
    #[serde(default)]
    pub script: Vec<usize>,
    /// After that, sets of matchmakers.
    #[serde(default)]
    pub matchmakers: Vec<Vec<usize>>,
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

/// A server's cluster file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileParams {
    /// Its number.
    pub generation: u64,
    /// The number of the configuration that it asks for.
    #[serde(default)]
    pub configuration: Option<usize>,
    /// The matchmakers that it asks for.
    #[serde(default)]
    pub matchmakers: Option<Vec<usize>>,
}

fn one_round() -> u64 {
    1
}

impl MatchmakerMultipaxos {
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
        let matchmakers = params.matchmakers + params.spare_matchmakers;
        let nodes = params.servers + matchmakers + acceptors;
        let limits = Limits {
            window_slots: params.window_slots,
            batch_commands: params.batch_commands,
            page_slots: params.page_slots,
            lanes: 64,
            snapshot_slots: u64::MAX,
            retained_slots: params.retained_slots,
            ..Limits::default()
        };
        let bounds = Bounds {
            rounds_max: params.rounds_max,
            resend: params.resend,
            ping: false,
            nack: params.nack,
            collect: params.collect,
            ask_first: params.ask_first,
        };
        let config = Arc::new(Config {
            servers: params.servers,
            places: Places::in_blocks(matchmakers, acceptors),
            matchmakers,
            serving: params.matchmakers,
            acceptors,
            initial: configurations[0].clone(),
            acceptor_failures: params.acceptor_failures,
            known_clients: client_params::known(&params.clients, nodes),
            limits,
            timing: Timing { gather: params.gather.then_some(Duration::ZERO), ..Timing::default() },
            log_max: 64,
            orders_max: params.orders_max,
            patience: params.patience,
            transition: params.transition,
            bounds,
            faults: Mutated(mutant),
        });
        let operators = params.operators.iter().map(|operator| Operator {
            contacts: (0..params.servers).map(Id::from).collect(),
            first_contact: operator.first,
            script: script(operator, &configurations),
            knows: if operator.knows_nothing { Numbers::default() } else { Numbers::FIRST },
            until_retired: operator.until_retired,
            application: None,
            retries_max: operator.retries,
            // Only the simulator has a clock that this matters to.
            ask_after: Duration::from_millis(100)..Duration::from_millis(200),
        });
        let wish = |file: &FileParams| Wish {
            generation: file.generation,
            acceptors: file.configuration.map(|number| configurations[number].clone()),
            matchmakers: file.matchmakers.as_ref().map(|members| members.iter().copied().collect()),
        };
        Ok(Self {
            wishes: params.files.iter().map(wish).collect(),
            alike: alike(&all, acceptors),
            matchmakers_alike: matchmakers_alike(params),
            clients: client_params::clients(&params.clients, params.servers)?,
            operators: operators.collect(),
            answers: params.answers,
            undone_steps: false,
            properties: properties::of_the_append_log,
            config,
        })
    }
}

impl MatchmakerMultipaxos {
    /// The same in a storm: a save takes its time, so that a restart may undo steps that nobody has heard of, and leaders say that
    /// they lead.
    #[must_use]
    pub fn in_a_storm(mut self) -> Self {
        Arc::make_mut(&mut self.config).bounds.ping = true;
        Self { undone_steps: true, ..self }
    }
}

/// What an operator asks for, one after the other.
fn script(operator: &OperatorParams, configurations: &[Configuration]) -> Vec<Wanted> {
    let acceptors = operator.script.iter().map(|number| Wanted::Acceptors(configurations[*number].clone()));
    let members = |set: &Vec<usize>| Wanted::Matchmakers(set.iter().copied().collect());
    acceptors.chain(operator.matchmakers.iter().map(members)).collect()
}

/// Groups matchmakers that are in the same sets.
fn matchmakers_alike(params: &Params) -> Vec<Vec<usize>> {
    let of_files = || params.files.iter().filter_map(|file| file.matchmakers.as_ref());
    let wanted = || params.operators.iter().flat_map(|operator| &operator.matchmakers).chain(of_files());
    let mut groups: BTreeMap<Vec<bool>, Vec<usize>> = BTreeMap::new();
    for number in 0..params.matchmakers + params.spare_matchmakers {
        let sets = wanted().map(|set| set.contains(&number));
        let member = std::iter::once(number < params.matchmakers).chain(sets).collect();
        groups.entry(member).or_default().push(number);
    }
    groups.into_values().collect()
}

/// What makes no sense, in words.
fn check(params: &Params) -> Result<(), String> {
    let Params { servers, matchmakers, configurations, operators, .. } = params;
    if configurations.is_empty() {
        return Err("an initial configuration is needed".into());
    }
    if matchmakers % 2 == 0 {
        return Err(format!("{matchmakers} matchmakers are no 2f + 1"));
    }
    if *servers <= matchmakers / 2 {
        return Err(format!("{servers} servers are fewer than f + 1 = {}", matchmakers / 2 + 1));
    }
    let of_files = params.files.iter().filter_map(|file| file.configuration.as_ref());
    let wanted = operators.iter().flat_map(|operator| &operator.script).chain(of_files);
    if let Some(wrong) = wanted.into_iter().find(|number| **number >= configurations.len()) {
        return Err(format!("there is no configuration {wrong}; there are {}", configurations.len()));
    }
    let of_files = params.files.iter().filter_map(|file| file.matchmakers.as_ref());
    let members = operators.iter().flat_map(|operator| &operator.matchmakers).chain(of_files);
    let all = matchmakers + params.spare_matchmakers;
    if let Some(wrong) = members.flatten().find(|number| **number >= all) {
        return Err(format!("there is no matchmaker {wrong}; there are {all}"));
    }
    match operators.iter().find(|operator| operator.first >= *servers) {
        Some(wrong) => Err(format!("there is no server {}; there are {servers}", wrong.first)),
        None => Ok(()),
    }
}
