//! The rules that a mutant may break.

crate::bpaxos::mutants! {
    /// The rules that a mutant may break: first those of the fast path and its recovery, then some that it shares with
    /// [`crate::bpaxos`]. `specs/epaxos` says which property notices.
    pub enum Mutant {
        fast {
            FastQuorumShort,
            AskEveryone,
            ForgetLeadersDeps,
            IgnoreFastVotes,
            LeaderLikeOthers,
            NoRecord,
        }
        shared {
            PromiseMovesVote,
            LowestVote,
            OwnValueOverVotes,
            SkipPhase1,
            ReadQuorumShort,
            WriteQuorumShort,
            DependencyQuorumShort,
            AcceptLowerRound,
            ForgetVotes,
            ForgetDependencies,
            IgnoreReads,
            CompactionWithoutPrefix,
            ReuseIds,
            GatherOnce,
            ExecuteUncommitted,
            ComponentUnsorted,
            ReplyAtCommit,
            NoClientTable,
            SavedAhead,
            SnapshotSplitsComponent,
            SnapshotWithoutClients,
            OwnIdKept,
            AnswerCollected,
        }
    }
}
