//! What all participants know: who there is, limits, times, and which reconfigurations are refused.

use super::Mutant;
use crate::faults::{Correct, Faults};
use crate::matchmaking::{Broken, Configuration, Epoch, EpochRule, Rule};
use crate::multipaxos::{Limits, Timing};
use crate::operator::{Refusal, refusal};
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

/// Who has which id after the servers. Matchmakers and acceptors may be added at the end, and nobody's id ever changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places(Vec<Role>);

impl Places {
    /// All matchmakers, and then all acceptors.
    pub fn in_blocks(matchmakers: usize, acceptors: usize) -> Self {
        Self((0..matchmakers).map(Role::Matchmaker).chain((0..acceptors).map(Role::Acceptor)).collect())
    }

    /// In this order.
    pub fn in_order(roles: impl IntoIterator<Item = Role>) -> Self {
        Self(roles.into_iter().collect())
    }
}

/// What all participants know.
#[derive(Clone, Debug)]
pub struct Config<F = Correct> {
    /// The number of servers, `2f + 1`: indices from 0.
    pub servers: usize,
    /// The ids of the others.
    pub places: Places,
    /// The number of matchmakers, those that no epoch uses yet included.
    pub matchmakers: usize,
    /// How many of them serve at a time, the first ones at first: `2f + 1`.
    pub serving: usize,
    /// The number of acceptors, those that no configuration uses yet included.
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
    /// How a leader goes on to other acceptors.
    pub transition: Transition,
    /// What a model leaves out.
    pub bounds: Bounds,
    /// Which rules are broken.
    pub faults: F,
}

/// How a leader goes on to other acceptors. All but the first exist to show what is lost without it (the paper's ablation).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// It gives out slots in its round until the next one is matched, and leaves phase 1 out.
    #[default]
    Seamless,
    /// It leaves phase 1 out, but gives out no slot while the next round is matched.
    Waits,
    /// It begins the next round as a new leader would: no slot until it is matched and phase 1 is over.
    Restarts,
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
    /// Whether leaders ask acceptors whether they are there before they use them.
    pub ask_first: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { rounds_max: u64::MAX, resend: true, ping: true, nack: true, collect: true, ask_first: true }
    }
}

/// No node and no client has this id.
const NOBODY: usize = usize::MAX >> 1;

impl<F> Config<F> {
    /// The role of a participant; none for clients, operators and strangers.
    pub fn role(&self, id: Id) -> Option<Role> {
        let number = usize::from(id);
        match number.checked_sub(self.servers) {
            None => Some(Role::Server(number)),
            Some(place) => self.places.0.get(place).copied(),
        }
    }

    /// The id of a participant. One that this participant has not heard of, as its cluster file is older than others', gets
    /// an id that nobody has.
    pub fn id(&self, role: Role) -> Id {
        let place = || self.places.0.iter().position(|one| *one == role).map(|place| self.servers + place);
        Id::from(match role {
            Role::Server(number) => number,
            Role::Matchmaker(_) | Role::Acceptor(_) => place().unwrap_or(NOBODY),
        })
    }

    /// The number of participants with a fixed place.
    pub fn nodes(&self) -> usize {
        self.servers + self.matchmakers + self.acceptors
    }

    /// How many failures the matchmakers survive.
    pub fn f(&self) -> usize {
        self.serving.saturating_sub(1) / 2
    }

    /// The first matchmakers that serve.
    pub fn first_epoch(&self) -> Epoch {
        Epoch::first(NodeSet::first(self.serving))
    }

    /// Why these matchmakers cannot serve, if they cannot.
    pub fn refusal_of_matchmakers(&self, members: NodeSet) -> Option<Refusal> {
        if let Some(unknown) = members.iter().find(|number| *number >= self.matchmakers) {
            return Some(Refusal::UnknownMatchmaker(unknown));
        }
        (members.len() != self.serving).then_some(Refusal::NotAsMany(self.serving))
    }

    /// Why this configuration cannot be used, if it cannot. Whatever acceptors fail, as many as are to be survived, a read
    /// quorum must be left, so that a new round finds what was chosen; a write quorum need not be, for the new round may have
    /// other acceptors.
    pub fn refusal(&self, configuration: &Configuration) -> Option<Refusal> {
        let reads = |left| configuration.is_read_quorum(left);
        let refused = refusal(configuration, self.acceptors, self.acceptor_failures, reads);
        refused
            .or_else(|| self.is_too_large(configuration).then(|| Refusal::TooLarge(configuration.quorums())))
    }

    /// Could a matchmaker's log of such configurations be too large for a message?
    fn is_too_large(&self, configuration: &Configuration) -> bool {
        self.log_max.saturating_mul(configuration.bytes()) > self.limits.page_bytes
    }
}

/// The rules of matchmakers that are broken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<F>(F);

impl<F: Faults<Mutant>> Config<F> {
    pub(super) fn breaks(&self, rule: Mutant) -> bool {
        self.faults.breaks(rule)
    }

    pub(super) fn rules(&self) -> Rules<F> {
        Rules(self.faults)
    }
}

impl<F: Faults<Mutant>> Broken for Rules<F> {
    fn rule(&self, rule: Rule) -> bool {
        self.0.breaks(match rule {
            Rule::RefuseBelowLog => Mutant::AcceptBelowLog,
            Rule::NoteBeforeAnswer => Mutant::AnswerWithoutNoting,
            Rule::RefuseBelowWatermark => Mutant::AnswerBelowWatermark,
            Rule::KeepCollector => Mutant::CollectTooMuch,
            Rule::RaiseWatermark => Mutant::KeepWatermark,
            Rule::KeepLargestOfEqual => Mutant::KeepSmallestOfEqual,
        })
    }

    /// What else may be wrong with epochs is checked in [`crate::matchmaker_epochs`].
    fn epoch_rule(&self, rule: EpochRule) -> bool {
        match rule {
            EpochRule::StoppedNotesNothing => self.0.breaks(Mutant::NoteStopped),
            EpochRule::VoteOnSuccessor => self.0.breaks(Mutant::SkipVote),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn config() -> Config {
        Config {
            servers: 3,
            places: Places::in_blocks(3, 5),
            matchmakers: 3,
            serving: 3,
            acceptors: 5,
            initial: Configuration::Majority(NodeSet::first(3)),
            known_clients: vec![],
            limits: Limits::default(),
            timing: Timing { resend: Duration::ZERO, ..Timing::default() },
            log_max: 64,
            acceptor_failures: 1,
            orders_max: 1,
            patience: 1,
            transition: Transition::Seamless,
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
        let added = [Role::Acceptor(5), Role::Matchmaker(3), Role::Acceptor(6)];
        let before = (0..11).filter_map(|id| config.role(Id::from(id))).skip(config.servers);
        let places = Places::in_order(before.chain(added));
        let later = Config { places, matchmakers: 4, acceptors: 7, ..config.clone() };
        assert!((0..11).all(|id| later.role(Id::from(id)) == config.role(Id::from(id))), "nobody moves");
        assert_eq!(added.map(|role| usize::from(later.id(role))), [11, 12, 13]);
        assert!(config.role(config.id(added[0])).is_none(), "whoever has not heard of it sends to nobody");
    }
}
