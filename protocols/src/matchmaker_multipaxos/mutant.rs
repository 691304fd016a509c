//! The rules that a mutant may break. `specs/matchmaker_multipaxos` says which property notices.

use serde::{Deserialize, Serialize};

/// The rules that a mutant may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// A leader ends matching one answer early.
    MatchQuorumShort,
    /// A matchmaker accepts a round below one that it has noted.
    AcceptBelowLog,
    /// A matchmaker answers without noting.
    AnswerWithoutNoting,
    /// A matchmaker answers rounds below its watermark.
    AnswerBelowWatermark,
    /// A matchmaker retires the configuration of the collecting round as well.
    CollectTooMuch,
    /// A matchmaker forgets what is retired, but does not raise its watermark.
    KeepWatermark,
    /// Of rounds with one configuration a matchmaker keeps the smallest.
    KeepSmallestOfEqual,
    /// Phase 1 leaves out the oldest of several returned configurations.
    SkipOldestConfiguration,
    /// Phase 1 asks only the newest returned configuration.
    OnlyNewestConfiguration,
    /// Phase 1 ends with a read quorum of any one returned configuration.
    AnyConfigurationSuffices,
    /// A leader asks acceptors that a server which had slept announced after they were retired.
    AskOutdated,
    /// A stopped matchmaker notes rounds.
    NoteStopped,
    /// A leader takes no notice of watermarks.
    IgnoreWatermarks,
    /// An acceptor votes in a round below the one it promised.
    AcceptLowerRound,
    /// An acceptor answers phase 1 without raising its round.
    NoPromise,
    /// A new leader takes the reported vote with the lowest round.
    LowestVote,
    /// A new leader fills slots with noops although votes were reported.
    NoopOverVotes,
    /// A leader calls a value chosen one vote early.
    WriteQuorumShort,
    /// A leader counts votes of its previous round for its present one.
    CountForeignVotes,
    /// A leader that is to reconfigure goes on, without phase 1, in a round that is not the successor.
    BypassFromAnyRound,
    /// A leader that is to reconfigure goes on, without phase 1, before phase 1 of its present round is over.
    BypassUnfinishedPhase1,
    /// A reconfiguring leader gives the last slot of its previous round to another command.
    ReuseLastSlot,
    /// A reconfiguring leader does not propose again what is pending, though nobody is asked about it.
    ForgetPending,
    /// A reconfiguring leader uses its new acceptors before matching is over.
    ActivateBeforeMatched,
    /// A leader collects as soon as it leads, whatever replicas and acceptors know.
    CollectAtOnce,
    /// A leader collects before a write quorum has noted what is stored.
    CollectBeforePersisted,
    /// A leader says that slots are stored one replica early.
    PersistTooEarly,
    /// A new leader takes no notice of what acceptors have dropped as stored.
    IgnorePersisted,
    /// A leader says that old acceptors are retired before the matchmakers have confirmed it.
    RetiredTooEarly,
    /// A leader says that a configuration is active while it is still matching.
    ActiveTooEarly,
    /// A leader does not have the old matchmakers vote on who follows.
    SkipVote,
    /// A leader adds answers of two epochs of matchmakers up.
    CombineEpochs,
    /// A leader says that the old matchmakers may go before enough others know who follows.
    HandedOverTooEarly,
    /// The same when no other server has saved who follows.
    SettleWithOneServer,
    /// The same when one of the new ones serves.
    SettleWithOneMatchmaker,
    /// A leader uses acceptors without asking whether they are there.
    ActivateUnseen,
    /// A new leader uses the configuration that it knew although a newer one was matched.
    KeepOutdated,
    /// A leader heeds its cluster file whatever newer one was heeded before.
    HeedAnyFile,
    /// A leader does what an operator asked for, whatever that was to follow.
    HeedLateCopies,
    /// A replica executes past a slot that it lacks.
    ExecutePastHole,
    /// A replica executes what it has executed before.
    NoClientTable,
    /// A leader answers a command when it is chosen, with the state before the slots that are not.
    ReplyOnChosen,
    /// A leader proposes a command under another number than its client gave it.
    RenumberCommands,
    /// A leader that has proposed what arrived together takes it for still arriving.
    GatherOnce,
    /// A leader does not answer.
    SilentLeader,
    /// An acceptor does not save.
    AcceptorForgets,
    /// A matchmaker does not save.
    MatchmakerForgets,
    /// A server does not save which rounds it has used.
    ServerForgets,
}
