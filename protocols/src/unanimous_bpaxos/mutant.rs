//! The rules that a mutant may break.

crate::bpaxos::mutants! {
    /// The rules that a mutant may break: first those of the fast path and its recovery, then some that it shares with
    /// [`crate::bpaxos`]. `specs/unanimous_bpaxos` says which property notices.
    pub enum Mutant {
        fast {
            FastQuorumShort,
            VotersOnly,
            IgnoreFastVotes,
        }
        shared {
            DependencyQuorumShort,
            LowestVote,
            OwnValueOverVotes,
            SkipPhase1,
            ReadQuorumShort,
            WriteQuorumShort,
            AcceptLowerRound,
            ForgetVotes,
            ForgetDependencies,
            IgnoreReads,
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
