//! The rules that a mutant may break.

use crate::bpaxos::{self, Broken, FastRule};
use crate::faults::{Faults, Mutated};
use serde::{Deserialize, Serialize};

/// The rules that a mutant may break: first those of the fast path and its recovery, then some that it shares with
/// [`bpaxos`]. `specs/unanimous_bpaxos` says which property notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// A leader calls a value chosen that all acceptors but one have voted for.
    FastQuorumShort,
    /// Recovery compares votes and takes no notice of who has not voted (the reference code).
    VotersOnly,
    /// Recovery takes no notice of what round zero may have chosen.
    IgnoreFastVotes,
    /// The union of one acceptor less than a quorum is proposed.
    DependencyQuorumShort,
    /// Recovery takes the reported vote with the lowest round.
    LowestVote,
    /// Recovery proposes a noop although votes were reported.
    OwnValueOverVotes,
    /// Recovery skips phase 1.
    SkipPhase1,
    /// Recovery ends phase 1 one acceptor early.
    ReadQuorumShort,
    /// A proposer calls a value chosen one vote early.
    WriteQuorumShort,
    /// An acceptor votes in a round below the one it promised.
    AcceptLowerRound,
    /// An acceptor does not save its promises and votes.
    ForgetVotes,
    /// An acceptor does not save what it has seen.
    ForgetDependencies,
    /// An acceptor takes no notice of what is read.
    IgnoreReads,
    /// A leader numbers from zero after a restart.
    ReuseIds,
    /// A replica does not wait for dependencies that are not committed.
    ExecuteUncommitted,
    /// Replicas run the vertices of a component in orders of their own.
    ComponentUnsorted,
    /// A replica replies when a command is committed, before it has run.
    ReplyAtCommit,
    /// A replica executes what it has executed before.
    NoClientTable,
    /// A replica tells of one vertex more than its snapshot stands for.
    SavedAhead,
    /// A replica takes a snapshot at its vertex, before the rest of the component has run.
    SnapshotSplitsComponent,
    /// A snapshot leaves out the client table.
    SnapshotWithoutClients,
    /// An acceptor names a vertex as a dependency of itself.
    OwnIdKept,
    /// An acceptor answers for a vertex that it has collected as if it had never heard of it.
    AnswerCollected,
}

impl Mutant {
    /// The same rule of the actor.
    fn of_the_actor(self) -> Broken {
        use Broken::{Fast, Shared};
        use bpaxos::Mutant as M;
        match self {
            Self::FastQuorumShort => Fast(FastRule::FastQuorumShort),
            Self::VotersOnly => Fast(FastRule::VotersOnly),
            Self::IgnoreFastVotes => Fast(FastRule::IgnoreFastVotes),
            Self::DependencyQuorumShort => Shared(M::DependencyQuorumShort),
            Self::LowestVote => Shared(M::LowestVote),
            Self::OwnValueOverVotes => Shared(M::OwnValueOverVotes),
            Self::SkipPhase1 => Shared(M::SkipPhase1),
            Self::ReadQuorumShort => Shared(M::ReadQuorumShort),
            Self::WriteQuorumShort => Shared(M::WriteQuorumShort),
            Self::AcceptLowerRound => Shared(M::AcceptLowerRound),
            Self::ForgetVotes => Shared(M::ForgetVotes),
            Self::ForgetDependencies => Shared(M::ForgetDependencies),
            Self::IgnoreReads => Shared(M::IgnoreReads),
            Self::ReuseIds => Shared(M::ReuseIds),
            Self::ExecuteUncommitted => Shared(M::ExecuteUncommitted),
            Self::ComponentUnsorted => Shared(M::ComponentUnsorted),
            Self::ReplyAtCommit => Shared(M::ReplyAtCommit),
            Self::NoClientTable => Shared(M::NoClientTable),
            Self::SavedAhead => Shared(M::SavedAhead),
            Self::SnapshotSplitsComponent => Shared(M::SnapshotSplitsComponent),
            Self::SnapshotWithoutClients => Shared(M::SnapshotWithoutClients),
            Self::OwnIdKept => Shared(M::OwnIdKept),
            Self::AnswerCollected => Shared(M::AnswerCollected),
        }
    }
}

impl Faults<bpaxos::Mutant> for Mutated<Mutant> {
    fn breaks(self, rule: bpaxos::Mutant) -> bool {
        self.0.map(Mutant::of_the_actor) == Some(Broken::Shared(rule))
    }
}

impl Faults<FastRule> for Mutated<Mutant> {
    fn breaks(self, rule: FastRule) -> bool {
        self.0.map(Mutant::of_the_actor) == Some(Broken::Fast(rule))
    }
}
