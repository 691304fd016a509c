//! Choosing a vertex in one round trip: what [`crate::epaxos`] and [`crate::unanimous_bpaxos`] have in common, and where they
//! differ.
//!
//! Acceptors are dependency nodes, too. Asked to *pre-accept* a command, one votes for it after what its own dependency node
//! names; if enough of them happen to vote alike, that is chosen. Otherwise the union of their votes is proposed like any
//! other value: it is what a quorum of the dependency service has answered.
//!
//! **Rounds come in pairs.** A ballot `b` of the literature is the rounds `2b` and `2b + 1`, both of one proposer. In the even
//! round acceptors pre-accept, each with a value of its own; in the odd one they accept what is proposed, and a write quorum
//! chooses. So a vote needs no status beside its round, what was accepted outranks what was pre-accepted in the same ballot,
//! and a promise is compared with one number. That a promise and a vote have a round *each* is what `EPaxos` once got wrong
//! (`specs/epaxos`, R3). Only round 0 can choose by equal votes, and only the vertex's own leader asks for them.
//!
//! **Recovery** promises an even round `2b`, `b > 0`, and then
//! 1. takes the vote of the highest round if that is odd: it may be chosen;
//! 2. else, if round 0 is the highest, takes what its votes may have chosen: [`Fast::forced`];
//! 3. else has a command that somebody pre-accepted, or its own, pre-accepted again in round `2b` and proposes the union of a
//!    quorum in round `2b + 1`, however equal the votes are;
//! 4. else proposes a noop.

use super::config::Config;
use super::mutant::Rules;
use super::{Proposal, Vote};
use crate::graph::{VertexId, VertexSet};
use crate::ids::Round;
use crate::{epaxos, unanimous_bpaxos};
use im::OrdMap;
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};

/// How a vertex can be chosen in one round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fast {
    /// By equal votes of all acceptors.
    Unanimous,
    /// By equal votes of all but one of the others, after the leader's own acceptor, which records it.
    Epaxos,
}

/// Rules of the fast path that a mutant may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FastRule {
    /// A leader takes one vote less than it must for a fast quorum.
    FastQuorumShort,
    /// A leader asks more acceptors than it needs, and takes those that answer first.
    AskEveryone,
    /// An acceptor does not add the dependencies that the leader's named.
    ForgetLeadersDeps,
    /// Recovery takes no notice of what round zero may have chosen.
    IgnoreFastVotes,
    /// Recovery takes the vote of the leader's own acceptor for one like the others.
    LeaderLikeOthers,
    /// Recovery compares votes and takes no notice of who has not voted.
    VotersOnly,
    /// The leader calls a value chosen before its own acceptor has recorded it.
    NoRecord,
}

/// What the answers to a pre-acceptance in round zero amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody who was asked has not answered.
    Open,
    /// The command is chosen after this, or is as soon as the leader's own acceptor has recorded it.
    Fast(VertexSet),
    /// The votes differ.
    Slow,
}

/// What acceptors pre-accepted a command after.
pub type Answers = OrdMap<usize, VertexSet>;

/// Acceptors that promised, each with its last vote.
pub type Promises<C> = OrdMap<usize, Option<Vote<C>>>;

impl Fast {
    /// The acceptors to be asked in round zero, if these have answered.
    pub(super) fn asked<F: Rules>(self, config: &Config<F>, vertex: VertexId, answers: &Answers) -> NodeSet {
        match self {
            Self::Unanimous => NodeSet::first(config.layout.acceptors),
            Self::Epaxos => epaxos::asked(config, vertex, answers),
        }
    }

    /// What the answers of round zero amount to.
    pub(super) fn outcome<F: Rules>(
        self,
        config: &Config<F>,
        vertex: VertexId,
        answers: &Answers,
    ) -> Outcome {
        match self {
            Self::Unanimous => unanimous_bpaxos::outcome(config, answers),
            Self::Epaxos => epaxos::outcome(config, vertex, answers),
        }
    }

    /// What round zero may have chosen, if the promises of a read quorum report no later vote.
    pub(super) fn forced<'a, C: Ord, F: Rules>(
        self,
        config: &Config<F>,
        vertex: VertexId,
        promises: &'a Promises<C>,
    ) -> Option<&'a Proposal<C>> {
        match self {
            _ if config.breaks_fast(FastRule::IgnoreFastVotes) => None,
            Self::Unanimous => unanimous_bpaxos::forced(config, promises),
            Self::Epaxos => epaxos::forced(config, vertex, promises),
        }
    }

    /// Must the leader's own acceptor record what was agreed on?
    pub(super) fn records(self) -> bool {
        self == Self::Epaxos
    }

    /// Did these acceptors, by their votes for one value in rounds zero and one, choose it in one round trip?
    pub fn has_chosen(self, acceptors: usize, leader: usize, zero: NodeSet, one: NodeSet) -> bool {
        match self {
            Self::Unanimous => zero == NodeSet::first(acceptors),
            Self::Epaxos => one.contains(leader) && zero.without(leader).len() >= epaxos::others(acceptors),
        }
    }
}

/// Do acceptors pre-accept in this round?
pub fn is_pre_acceptance(round: Round) -> bool {
    round.0.is_multiple_of(2)
}

/// The round of the same ballot in which a proposed value is accepted.
pub(super) fn acceptance(round: Round) -> Round {
    Round(round.0 | 1)
}
