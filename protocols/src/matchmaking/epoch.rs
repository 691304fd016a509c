//! Epochs: which matchmakers serve, and what is said between them and whoever needs them.

use super::{Age, Matched, Round};
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A set of matchmakers that serves until another one is chosen in its place. Epochs are numbered; an epoch that was chosen
/// has one set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// How many sets there were before.
    pub number: u64,
    /// The matchmakers, `2f + 1`.
    pub members: NodeSet,
}

impl Epoch {
    /// The first epoch.
    pub const fn first(members: NodeSet) -> Self {
        Self { number: 0, members }
    }

    /// The epoch after this one, with these members.
    #[must_use]
    pub const fn followed_by(self, members: NodeSet) -> Self {
        Self { number: self.number.saturating_add(1), members }
    }

    /// Are these one more than may fail? Any two such sets of members have one in common.
    pub fn is_quorum(&self, answered: NodeSet) -> bool {
        2 * answered.intersection(self.members).len() > self.members.len()
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{} {:?}", self.number, self.members)
    }
}

/// What a matchmaker is asked. Whoever names an epoch knows it to be chosen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ask<C> {
    /// I shall use this configuration in this round.
    MatchA {
        /// The epoch.
        epoch: Epoch,
        /// The round.
        round: Round,
        /// Its configuration.
        configuration: C,
    },
    /// Retire what is below this round, which was matched.
    GarbageA {
        /// The epoch.
        epoch: Epoch,
        /// The round.
        round: Round,
        /// How new its configuration is.
        age: Age,
    },
    /// Your epoch ends: say what you have noted, and promise this ballot on who follows.
    Stop {
        /// The epoch.
        epoch: Epoch,
        /// The ballot.
        ballot: Round,
    },
    /// Keep this for the case that you are in the epoch after that one.
    Bootstrap {
        /// The epoch before.
        after: Epoch,
        /// What is below is retired.
        watermark: Round,
        /// How new the configuration of that round is.
        collected: Age,
        /// The configurations of the rounds before.
        log: Vec<Matched<C>>,
    },
    /// Vote for these members of the next epoch.
    Choose {
        /// The epoch.
        epoch: Epoch,
        /// The ballot.
        ballot: Round,
        /// The members of the next epoch.
        members: NodeSet,
    },
    /// This epoch is chosen.
    Learn(Epoch),
}

/// What a matchmaker answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Said<C> {
    /// Noted; these came before.
    MatchB {
        /// The number of the epoch.
        epoch: u64,
        /// The round that was announced.
        round: Round,
        /// What is below is retired.
        watermark: Round,
        /// How new the configuration of that round is.
        collected: Age,
        /// The configurations of smaller rounds, in ascending order.
        earlier: Vec<Matched<C>>,
    },
    /// What is below the watermark is retired.
    GarbageB {
        /// The number of the epoch.
        epoch: u64,
        /// The matchmaker's watermark.
        watermark: Round,
    },
    /// Your round is too small.
    Nack {
        /// A round that you must go beyond.
        round: Round,
    },
    /// I answer nobody in this epoch any more; this is what I had noted, and how I voted.
    Stopped {
        /// The number of the epoch.
        epoch: u64,
        /// The promised ballot.
        ballot: Round,
        /// What is below is retired.
        watermark: Round,
        /// How new the configuration of that round is.
        collected: Age,
        /// All that was noted.
        log: Vec<Matched<C>>,
        /// The last vote on who follows.
        vote: Option<(Round, NodeSet)>,
    },
    /// Your ballot is too small.
    BallotNack {
        /// The number of the epoch.
        epoch: u64,
        /// A ballot that you must go beyond.
        ballot: Round,
    },
    /// I have what I need if I am in the next epoch.
    Bootstrapped {
        /// The number of the epoch before.
        after: u64,
    },
    /// I have voted for your set.
    Chose {
        /// The number of the epoch.
        epoch: u64,
        /// The ballot.
        ballot: Round,
    },
    /// I serve in epoch number so and so.
    Learned(u64),
    /// Nobody is answered in the epoch that you named. This is the newest one that I know; is it over as well?
    Over {
        /// The newest epoch that it knows.
        newest: Epoch,
        /// Is that one stopped, and its successor not chosen as far as it knows?
        stopped: bool,
    },
    /// I am to serve in epoch number so and so, and nobody has given me its log.
    Lacks(u64),
}

/// Rules of epochs that a mutant may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochRule {
    /// A stopped matchmaker notes no more rounds.
    StoppedNotesNothing,
    /// A stopped matchmaker retires nothing any more.
    StoppedRetiresNothing,
    /// One more than may fail must have stopped.
    StopQuorum,
    /// What any stopped matchmaker has noted is taken over, not what one of them has.
    UniteLogs,
    /// What any has noted counts, not only what all have.
    KeepWhatOneHas,
    /// The largest watermark is taken over.
    LargestWatermark,
    /// Who serves already keeps its own log, whatever arrives.
    BootstrapOnce,
    /// Who has no log answers nobody.
    SilentWithoutLog,
    /// The next set is voted on.
    VoteOnSuccessor,
    /// A set that was voted for is proposed again.
    ProposeWhatWasVoted,
    /// A vote is promised and cast in ballots that do not decrease.
    PromiseBallot,
}
