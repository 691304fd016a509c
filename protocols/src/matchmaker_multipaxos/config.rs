//! What all participants know: who there is, limits, times, and which reconfigurations are refused.

use super::Mutant;
use crate::faults::{Correct, Faults};
use crate::matchmaking::{Configuration, Rule};
use crate::multipaxos::{Limits, Timing};
use itertools::Itertools;
use parthood_quorums::{NodeSet, QuorumSystem};
use serde::{Deserialize, Serialize};
use stateright::actor::Id;

/// The roles of participants with a fixed place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Server number so and so: proposer and replica.
    Server(usize),
    /// Matchmaker number so and so.
    Matchmaker(usize),
    /// Acceptor number so and so.
    Acceptor(usize),
}

/// What all participants know.
#[derive(Clone, Debug)]
pub struct Config<F = Correct> {
    /// The number of servers, `2f + 1`: indices from 0.
    pub servers: usize,
    /// The number of matchmakers, `2f + 1`: indices after the servers.
    pub matchmakers: usize,
    /// The number of acceptors, those that no configuration uses yet included: indices after the matchmakers.
    pub acceptors: usize,
    /// The first configuration.
    pub initial: Configuration,
    /// Clients whose session 0 is known from the start.
    pub known_clients: Vec<u64>,
    /// What is bounded, and where.
    pub limits: Limits,
    /// How long to wait for what.
    pub timing: Timing,
    /// The most configurations that a matchmaker keeps; beyond it answers nobody until some are retired.
    pub log_max: usize,
    /// How many failures of acceptors a configuration must survive: `f`, but in models with fewer acceptors.
    pub acceptor_failures: usize,
    /// How many reconfigurations may wait for the one under way; more are refused.
    pub orders_max: usize,
    /// How often a new leader sends again before it gives its round up.
    pub patience: u32,
    /// What a model leaves out.
    pub bounds: Bounds,
    /// Which rules are broken.
    pub faults: F,
}

/// What a model leaves out, to stay finite; a deployment leaves out nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Bounds {
    /// No leader uses a round of this age ([`crate::matchmaking::Round::age`]) or above.
    pub rounds_max: u64,
    /// Whether leaders send again.
    pub resend: bool,
    /// Whether leaders say so when idle.
    pub ping: bool,
    /// Whether matchmakers and acceptors say that a round is too small.
    pub nack: bool,
    /// Whether leaders retire configurations.
    pub collect: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { rounds_max: u64::MAX, resend: true, ping: true, nack: true, collect: true }
    }
}

/// Why a reconfiguration is refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// It names an acceptor that the leader does not know.
    #[error(
        "there is no acceptor number {0}: add it to the cluster file of all servers first, and restart them"
    )]
    UnknownAcceptor(usize),
    /// Its quorums are none.
    #[error("{0}")]
    Unsound(String),
    /// After so many failures nobody could say what was chosen.
    #[error("it does not survive {0} failures, as many as the matchmakers do: name more acceptors")]
    TooFragile(usize),
    /// As many as may wait are waiting.
    #[error("a reconfiguration is under way and {0} more are waiting: ask again when one of them is active")]
    UnderWay(usize),
}

impl<F> Config<F> {
    /// The role of a participant; none for clients, operators and strangers.
    pub fn role(&self, id: Id) -> Option<Role> {
        let number = usize::from(id);
        let acceptors = self.servers + self.matchmakers;
        match number {
            _ if number < self.servers => Some(Role::Server(number)),
            _ if number < acceptors => Some(Role::Matchmaker(number - self.servers)),
            _ if number < self.nodes() => Some(Role::Acceptor(number - acceptors)),
            _ => None,
        }
    }

    /// The id of a participant.
    pub fn id(&self, role: Role) -> Id {
        Id::from(match role {
            Role::Server(number) => number,
            Role::Matchmaker(number) => self.servers + number,
            Role::Acceptor(number) => self.servers + self.matchmakers + number,
        })
    }

    /// The number of participants with a fixed place.
    pub fn nodes(&self) -> usize {
        self.servers + self.matchmakers + self.acceptors
    }

    /// How many failures the matchmakers survive.
    pub fn f(&self) -> usize {
        self.matchmakers.saturating_sub(1) / 2
    }

    /// Why this configuration cannot be used, if it cannot. Whatever acceptors fail, as many as are
    /// to be survived, a read quorum must be left, so that
    /// a new round finds what was chosen; a write quorum need not be, for the new round may have other acceptors.
    pub fn refusal(&self, configuration: &Configuration) -> Option<Refusal> {
        if let Err(error) = configuration.check() {
            return Some(Refusal::Unsound(error.to_string()));
        }
        let acceptors = configuration.acceptors();
        if let Some(unknown) = acceptors.iter().find(|acceptor| *acceptor >= self.acceptors) {
            return Some(Refusal::UnknownAcceptor(unknown));
        }
        let survives = |lost: Vec<usize>| {
            let lost: NodeSet = lost.into_iter().collect();
            configuration.is_read_quorum(acceptors.difference(lost))
        };
        let f = self.acceptor_failures;
        let is_robust = f < acceptors.len() && acceptors.iter().combinations(f).all(survives);
        (!is_robust).then_some(Refusal::TooFragile(f))
    }

    /// Have so many answered that one more than may fail has?
    pub(super) fn is_enough(&self, answered: NodeSet, one_short: bool) -> bool {
        answered.len() + usize::from(one_short) > self.f()
    }
}

impl<F: Faults<Mutant>> Config<F> {
    pub(super) fn breaks(&self, rule: Mutant) -> bool {
        self.faults.breaks(rule)
    }

    /// Is a rule of matchmakers broken?
    pub(super) fn breaks_rule(&self, rule: Rule) -> bool {
        self.faults.breaks(match rule {
            Rule::RefuseBelowLog => Mutant::AcceptBelowLog,
            Rule::NoteBeforeAnswer => Mutant::AnswerWithoutNoting,
            Rule::RefuseBelowWatermark => Mutant::AnswerBelowWatermark,
            Rule::KeepCollector => Mutant::CollectTooMuch,
            Rule::RaiseWatermark => Mutant::KeepWatermark,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn config() -> Config {
        Config {
            servers: 3,
            matchmakers: 3,
            acceptors: 5,
            initial: Configuration::Majority(NodeSet::first(3)),
            known_clients: vec![],
            limits: Limits::default(),
            timing: Timing { resend: Duration::ZERO, ..Timing::default() },
            log_max: 64,
            acceptor_failures: 1,
            orders_max: 1,
            patience: 1,
            bounds: Bounds::default(),
            faults: Correct,
        }
    }

    #[test]
    fn a_configuration_that_loses_what_was_chosen_with_f_acceptors_is_refused() {
        let config = config();
        let set = |numbers: &[usize]| numbers.iter().copied().collect::<NodeSet>();
        let refusal = |configuration| config.refusal(&configuration);
        assert_eq!(refusal(Configuration::Majority(set(&[1, 2, 4]))), None);
        assert_eq!(
            refusal(Configuration::UnanimousWrites(set(&[3, 4]))),
            None,
            "one that is left can be asked"
        );
        assert_eq!(refusal(Configuration::Majority(set(&[1, 2]))), Some(Refusal::TooFragile(1)));
        assert_eq!(refusal(Configuration::single(1)), Some(Refusal::TooFragile(1)));
        assert_eq!(refusal(Configuration::Majority(set(&[1, 2, 5]))), Some(Refusal::UnknownAcceptor(5)));
        let none = refusal(Configuration::Majority(NodeSet::EMPTY));
        assert!(matches!(none, Some(Refusal::Unsound(_))), "{none:?}");
    }

    #[test]
    fn every_participant_has_one_id() {
        let config = config();
        let roles = (0..12).map(|id| config.role(Id::from(id)));
        let ids: Vec<_> = roles.map(|role| role.map(|role| usize::from(config.id(role)))).collect();
        assert_eq!(ids, (0..11).map(Some).chain([None]).collect::<Vec<_>>());
    }
}
