//! The rules that a mutant may break.

use super::fast::FastRule;
use crate::faults::{Faults, Mutated};
use serde::{Deserialize, Serialize};

/// Which rules are broken: of the modules, and of the ways to choose a vertex in one round trip.
pub trait Rules: Faults<Mutant> + Faults<FastRule> {}

impl<F: Faults<Mutant> + Faults<FastRule>> Rules for F {}

impl Faults<FastRule> for Mutated<Mutant> {
    fn breaks(self, _: FastRule) -> bool {
        false
    }
}

/// The rules that a mutant may break. `specs/bpaxos` says which property notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// A leader takes one dependency node less than a quorum for enough.
    DependencyQuorumShort,
    /// A leader or proposer takes a second answer of a node for another node's.
    CountRepeats,
    /// A leader asks what the first command of a vertex conflicts with, and forgets the others.
    AskForFirst,
    /// A leader takes the dependencies that all of a quorum name, instead of any.
    IntersectReplies,
    /// A dependency node takes no notice of what is read.
    IgnoreReads,
    /// A dependency node names no dependencies.
    NoDependencies,
    /// A dependency node does not save what it has seen.
    ForgetDependencies,
    /// A dependency node that remembers the largest vertices leaves out the very largest.
    CompactionOneShort,
    /// A dependency node that remembers the largest vertices does not count those below as dependencies.
    CompactionWithoutPrefix,
    /// A dependency node that begins a new generation does not count what it forgets as dependencies.
    ForgetGeneration,
    /// A dependency node names a vertex as a dependency of itself.
    OwnIdKept,
    /// A leader that is asked to recover a vertex proposes its command with the dependencies it has heard of so far.
    RecoverCommand,
    /// A leader numbers from zero after a restart.
    ReuseIds,
    /// A leader that has numbered what arrived together takes it for still arriving.
    GatherOnce,
    /// A proposer proposes its own value although votes were reported.
    OwnValueOverVotes,
    /// A proposer takes the reported vote with the lowest round.
    LowestVote,
    /// A proposer that recovers a vertex skips phase 1.
    SkipPhase1,
    /// A proposer ends phase 1 one acceptor early.
    ReadQuorumShort,
    /// A proposer calls a value chosen one vote early.
    WriteQuorumShort,
    /// A proposer does not save which rounds it has used.
    ReuseRounds,
    /// A proposer that knows of everything what was chosen forgets which rounds it has used.
    ForgetUsedRounds,
    /// A proposer that forgets what is collected stops sending again what is not.
    CollectStopsResend,
    /// An acceptor votes in a round below the one it promised.
    AcceptLowerRound,
    /// An acceptor that promises a round reports its vote as if cast in it.
    PromiseMovesVote,
    /// An acceptor does not save its promises and votes.
    ForgetVotes,
    /// An acceptor answers for a vertex that it has collected as if it had never heard of it.
    AnswerCollected,
    /// A replica tells of one vertex more than its snapshot stands for.
    SavedAhead,
    /// A replica does not wait for dependencies that are not committed.
    ExecuteUncommitted,
    /// Replicas run the vertices of a component in orders of their own.
    ComponentUnsorted,
    /// A replica takes a snapshot at its vertex, before the rest of the component has run.
    SnapshotSplitsComponent,
    /// A snapshot leaves out the client table.
    SnapshotWithoutClients,
    /// A replica executes what it has executed before.
    NoClientTable,
    /// The client table keeps the largest number that has run, and nothing below it is new.
    LargestIdOnly,
    /// A replica replies when a command is committed, before it has run.
    ReplyAtCommit,
}

/// The `Mutant` of a protocol with a fast path: which rules of the fast path it can break, and which it shares with [`Mutant`].
macro_rules! mutants {
    (
        $(#[$of:meta])*
        pub enum Mutant {
            fast { $($fast:ident,)+ }
            shared { $($shared:ident,)+ }
        }
    ) => {
        $(#[$of])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Mutant {
            $(#[doc = concat!("[`crate::bpaxos::FastRule::", stringify!($fast), "`].")] $fast,)+
            $(#[doc = concat!("[`crate::bpaxos::Mutant::", stringify!($shared), "`].")] $shared,)+
        }

        impl $crate::faults::Faults<$crate::bpaxos::FastRule> for $crate::faults::Mutated<Mutant> {
            fn breaks(self, rule: $crate::bpaxos::FastRule) -> bool {
                use $crate::bpaxos::FastRule;
                matches!((self.0, rule), $((Some(Mutant::$fast), FastRule::$fast))|+)
            }
        }

        impl $crate::faults::Faults<$crate::bpaxos::Mutant> for $crate::faults::Mutated<Mutant> {
            fn breaks(self, rule: $crate::bpaxos::Mutant) -> bool {
                use $crate::bpaxos::Mutant as Shared;
                matches!((self.0, rule), $((Some(Mutant::$shared), Shared::$shared))|+)
            }
        }
    };
}
pub(crate) use mutants;
