//! What all participants know, and the rules that a mutant may break.

use crate::faults::{Correct, Faults};
use crate::matchmaking::Rule;
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};
use stateright::actor::Id;
use std::ops::Range;
use std::time::Duration;

/// The rules that a mutant may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// A proposer collects as soon as somebody voted in its round: the mistake of `DPaxos`.
    CollectOnVote,
    /// A proposer collects when it proposes, whatever phase 1 has found.
    CollectInPhase2,
    /// A proposer collects right after matching.
    CollectOnMatch,
    /// A proposer collects in a round because an older one of its own was free.
    CollectByOlderFreedom,
    /// Phase 1 leaves out the oldest of several returned configurations.
    SkipOldestConfiguration,
    /// Phase 1 asks only the newest returned configuration.
    OnlyNewestConfiguration,
    /// Phase 1 ends with a read quorum of any one returned configuration.
    AnyConfigurationSuffices,
    /// A proposer ends matching one answer early.
    MatchQuorumShort,
    /// A matchmaker accepts a round below one that it has noted.
    AcceptBelowLog,
    /// A matchmaker answers without noting.
    AnswerWithoutNoting,
    /// An acceptor votes in a round below the one it promised.
    AcceptLowerRound,
    /// An acceptor answers phase 1 without raising its round.
    NoPromise,
    /// A proposer takes the reported vote with the lowest round.
    LowestVote,
    /// A matchmaker retires the configuration of the collecting round as well.
    CollectTooMuch,
    /// A proposer leaves out the configuration of the watermark's own round.
    PruneTooMuch,
    /// A proposer takes freedom along into a round that is not the successor.
    BypassFromAnyRound,
    /// A proposer takes freedom along although it has proposed.
    BypassAfterProposing,
    /// A proposer takes freedom along although phase 1 has reported a vote.
    BypassAfterVotes,
    /// A matchmaker answers rounds below its watermark.
    AnswerBelowWatermark,
    /// A matchmaker forgets what is retired, but does not raise its watermark.
    KeepWatermark,
    /// Of rounds with one configuration a matchmaker keeps the smallest.
    KeepSmallestOfEqual,
    /// A proposer takes no notice of watermarks.
    IgnoreWatermarks,
    /// A proposer collects before a write quorum has noted that the value is persisted.
    CollectBeforePersisted,
    /// A proposer takes no notice of acceptors that know of a persisted value.
    IgnorePersisted,
    /// A proposer says that a value is persisted one replica early.
    PersistTooEarly,
    /// A proposer takes "a value is persisted" for a vote.
    PersistedIsChosenHere,
    /// A proposer sends what is pending again under its next round to the old acceptors, who do not report votes of the
    /// round at hand: the worst defect of the authors' implementation.
    RelabelPending,
    /// A proposer takes its proposal along into a round that is not the successor.
    OwnBypassFromAnyRound,
    /// A proposer calls a value chosen one vote early.
    WriteQuorumShort,
    /// An acceptor does not save.
    AcceptorForgets,
    /// A matchmaker does not save.
    MatchmakerForgets,
    /// A proposer does not save.
    ProposerForgets,
    /// A replica does not save.
    ReplicaForgets,
    /// A proposer does not tell its clients what is chosen.
    SilentProposer,
}

/// When a proposer collects; see the module's essay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenarios {
    /// Scenario 1: when a value is chosen in its round.
    pub chosen: bool,
    /// Scenario 2: when phase 1 has found no vote.
    pub free: bool,
    /// Scenario 3: when a value is persisted. Without it, chosen values are not handed to replicas.
    pub persisted: bool,
}

impl Scenarios {
    /// All of them.
    pub const ALL: Self = Self { chosen: true, free: true, persisted: true };
}

/// The roles of participants with a fixed place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Proposer number so and so.
    Proposer(usize),
    /// Matchmaker number so and so.
    Matchmaker(usize),
    /// Acceptor number so and so.
    Acceptor(usize),
    /// Replica number so and so.
    Replica(usize),
}

/// What all participants know.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Config<F = Correct> {
    /// The number of proposers: indices from 0.
    pub proposers: usize,
    /// The number of matchmakers, `2f + 1`: indices after the proposers.
    pub matchmakers: usize,
    /// The number of acceptors of all configurations: indices after the matchmakers.
    pub acceptors: usize,
    /// The number of replicas, at least `f + 1` if scenario 3 is used: indices after the acceptors.
    pub replicas: usize,
    /// When proposers collect.
    pub scenarios: Scenarios,
    /// Whether a proposer that was free goes on to the successor without phase 1.
    pub bypass: bool,
    /// Whether a proposer that has proposed does.
    pub own_bypass: bool,
    /// Whether phase 1 asks all acceptors and not only those of the returned configurations.
    pub ask_everyone: bool,
    /// The most configurations that a matchmaker keeps; beyond it answers nobody until some are retired.
    pub log_max: usize,
    /// Whether matchmakers and acceptors say that a round is too small; without it a proposer finds out by silence.
    pub nack: bool,
    /// Whether proposers send again; a bound for models whose network counts messages.
    pub resend: bool,
    /// How often a proposer sends again before it gives a round up.
    pub patience: u32,
    /// After how long a proposer sends again.
    pub resend_after: Range<Duration>,
    /// Which rules are broken.
    pub faults: F,
}

impl<F> Config<F> {
    /// The role of a participant; none for clients and strangers.
    pub fn role(&self, id: Id) -> Option<Role> {
        let first = |role: fn(usize) -> Role| usize::from(self.id(role(0)));
        let number = usize::from(id);
        let in_order: [fn(usize) -> Role; 4] =
            [Role::Replica, Role::Acceptor, Role::Matchmaker, Role::Proposer];
        let role = in_order.into_iter().find(|role| number >= first(*role))?;
        (number < self.servers()).then(|| role(number - first(role)))
    }

    /// The id of a participant.
    pub fn id(&self, role: Role) -> Id {
        let matchmakers = self.proposers;
        let acceptors = matchmakers + self.matchmakers;
        Id::from(match role {
            Role::Proposer(number) => number,
            Role::Matchmaker(number) => matchmakers + number,
            Role::Acceptor(number) => acceptors + number,
            Role::Replica(number) => acceptors + self.acceptors + number,
        })
    }

    /// The number of participants that are not clients.
    pub fn servers(&self) -> usize {
        self.proposers + self.matchmakers + self.acceptors + self.replicas
    }

    /// How many matchmakers any two of which sets share one: `f + 1` of `2f + 1`. So many replicas survive `f` failures.
    pub fn f_plus_1(&self) -> usize {
        self.matchmakers / 2 + 1
    }

    /// Have so many answered that one more than may fail has?
    pub(super) fn is_enough(&self, answered: NodeSet, one_short: bool) -> bool {
        answered.len() + usize::from(one_short) >= self.f_plus_1()
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
            Rule::KeepLargestOfEqual => Mutant::KeepSmallestOfEqual,
        })
    }
}
