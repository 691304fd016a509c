//! The rules that a mutant may break.

use crate::faults::Faults;
use crate::mencius;
use serde::{Deserialize, Serialize};

/// Which rules of the parts are broken: of `MultiPaxos` in parts, and of what [`mencius`] adds to it.
pub trait Rules: Faults<Mutant> + Faults<mencius::Mutant> {}

impl<F: Faults<Mutant> + Faults<mencius::Mutant>> Rules for F {}

/// The rules that a mutant may break. `specs/compartmentalized` says which property notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// An acceptor votes in a round below the one it promised.
    AcceptLowerRound,
    /// An acceptor answers phase 1 without raising its round.
    NoPromise,
    /// An acceptor votes in a round above its own without raising that.
    VoteWithoutPromise,
    /// A new leader fills slots with noops although votes were reported.
    NoopOverVotes,
    /// A new leader takes the reported vote with the lowest round.
    LowestVote,
    /// A new leader ends phase 1 one acceptor early.
    ReadQuorumShort,
    /// A proxy leader calls a value chosen one vote early.
    WriteQuorumShort,
    /// A proxy leader keeps the votes for a slot when a later round proposes there, and counts votes of any round.
    MergeRounds,
    /// A leader uses rounds that it does not own.
    SharedRounds,
    /// A new leader numbers new slots after the last one reported, below what is chosen already (defect D1).
    NextSlotIgnoresChosen,
    /// A new leader proposes from slot zero although it asked for later slots only.
    ProposeFromZero,
    /// A new leader looks for a slot's votes only in the read quorum whose turn the slot is (defect D2).
    ReportsOfOneRow,
    /// A new leader ends phase 1 when one of several groups has answered.
    OneGroupSuffices,
    /// A leader that is asked for a lost slot proposes a noop there in its present round.
    RecoverWithNoop,
    /// A replica executes past a slot that it lacks.
    ExecutePastHole,
    /// A replica replies to a command when it learns of it, with the state before the slots that it lacks.
    ReplyOnChosen,
    /// A replica executes what it has executed before.
    NoClientTable,
    /// A replica takes every sequence number but the last for new.
    TableComparesUnequal,
    /// Only the replica whose turn the slot is replies to what was executed before.
    NoCachedReplies,
    /// A reader takes one acceptor less than a read quorum for enough.
    PreReadQuorumShort,
    /// A reader takes the smallest watermark of a read quorum.
    PreReadMinimum,
    /// A replica answers a read at once, whatever its index.
    ReadWithoutWaiting,
    /// A replica answers a read one slot early.
    WaitOneSlotLess,
    /// An acceptor tells a reader of one slot less than it voted for.
    AckOneSlotLess,
    /// An acceptor forgets its watermark when it promises a higher round.
    WatermarkResetByRound,
    /// An acceptor computes its watermark from the votes that are left after truncation.
    WatermarkFromVotes,
    /// A reader that asked one of several groups does not add what the others may be ahead.
    NoShift,
    /// A read batcher adds reads to a batch whose index is being asked for.
    JoinSentBatch,
    /// A client forgets the slots of its writes.
    ForgetWriteSlot,
    /// A client forgets the slots of its reads.
    ForgetReadSlot,
    /// A replica says of a read that waited that it shows one slot less than it does (defect D4).
    DeferredReadReportsEarlier,
    /// A batch of sequential reads waits for the least that one of them has seen.
    WeakBatchMinimum,
    /// A replica answers a read with what it knows to be chosen but cannot execute yet.
    ReadPastHole,
    /// The leader's ping does not tell replicas how far everything is chosen.
    LagUnnoticed,
    /// A replica asks nobody for the slots that a read waits for.
    NoFill,
    /// A leader that is asked for a lost slot begins phase 1 above what it knows to be chosen (defect D3).
    RecoverAboveChosen,
    /// A proxy leader does not propose again what acceptors did not answer (defect D6).
    ProposeOnce,
    /// A leader that has proposed what arrived together takes it for still arriving.
    GatherOnce,
    /// A leader whose window is full takes nothing in it for lost.
    TrustWindow,
    /// A leader hands what it proposes again for a slot to the proxy leader that had it before.
    SameProxyAgain,
    /// A batcher waits until a batch is full (defect D6).
    WaitForFullBatch,
    /// A read batcher does not ask again what acceptors did not answer (defect D6).
    AskOnce,
    /// A client makes do with a sequential read where it was asked for a linearizable one.
    LinearizableAsSequential,
    /// A client makes do with an eventual read where it was asked for a sequential one.
    SequentialAsEventual,
    /// An acceptor does not save its votes and promises.
    NoSave,
    /// A leader does not save its round.
    ReuseRoundAfterRestart,
    /// A read batcher numbers its questions from the beginning after a restart.
    ReuseTagAfterRestart,
    /// A replica tells leaders of one slot more than it has executed.
    WatermarkAhead,
    /// A new leader ignores what acceptors report as truncated.
    IgnoreTruncation,
    /// An acceptor drops the vote for the first slot that is not saved, too.
    TruncateOneTooMany,
    /// A new leader takes the first page of votes for all of them.
    FirstPageOnly,
    /// A snapshot leaves out the client table.
    SnapshotWithoutSessions,
    /// A leader proposes a command under another number than its client gave it.
    RenumberCommands,
}
