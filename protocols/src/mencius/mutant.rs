//! The rules that a mutant may break.

use crate::compartmentalized;
use crate::faults::{Faults, Mutated};
use serde::{Deserialize, Serialize};

/// The rules that a mutant may break: first those of this protocol, then some that it shares with the one without leader
/// groups. `specs/mencius` says which property notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// A leader that skips begins one of its slots too early.
    RangeStartsEarly,
    /// A leader that skips goes on with the slots that it skipped.
    RangeNotSkipped,
    /// A leader that is behind does not skip.
    NoSkipping,
    /// A proxy leader calls a range chosen when one of several acceptor groups has voted for it.
    RangeChosenByOneGroup,
    /// An acceptor that votes for a range does not raise its watermark.
    RangeKeepsWatermark,
    /// A leader that was asked for a slot before it led forgets it when phase 1 is over.
    RecoverSlotForgotten,
    /// A new leader proposes for slots that other groups number (defect D5).
    RecoverForeignSlots,
    /// A replica stops at the first slot of a range that it knows already, and does not execute (defect D5).
    RangeEndsAtKnownSlot,
    /// An acceptor votes in a round below the one it promised.
    AcceptLowerRound,
    /// A new leader fills slots with noops although votes were reported.
    NoopOverVotes,
    /// A new leader ends phase 1 when one of its group's acceptor groups has answered.
    OneGroupSuffices,
    /// A new leader numbers new slots after the last one reported, below what is chosen already (defect D1).
    NextSlotIgnoresChosen,
    /// A leader that is asked for a lost slot proposes a noop there in its present round.
    RecoverWithNoop,
    /// A leader proposes a command under another number than its client gave it.
    RenumberCommands,
    /// A leader does not save its round.
    ReuseRoundAfterRestart,
    /// An acceptor does not save its votes and promises.
    NoSave,
    /// A replica executes past a slot that it lacks.
    ExecutePastHole,
    /// A replica replies to a command when it learns of it, with the state before the slots that it lacks.
    ReplyOnChosen,
    /// A replica executes what it has executed before.
    NoClientTable,
    /// Only the replica whose turn the slot is replies to what was executed before.
    NoCachedReplies,
    /// A replica answers a read with what it knows to be chosen but cannot execute yet.
    ReadPastHole,
    /// A snapshot leaves out the client table.
    SnapshotWithoutSessions,
    /// A reader that asked one of several groups does not add what the others may be ahead.
    NoShift,
    /// A client forgets the slots of its writes.
    ForgetWriteSlot,
    /// A client forgets the slots of its reads.
    ForgetReadSlot,
}

impl Mutant {
    /// The same rule where there is one group of leaders.
    fn in_parts(self) -> Option<compartmentalized::Mutant> {
        use compartmentalized::Mutant as Shared;
        Some(match self {
            Self::RangeStartsEarly
            | Self::RangeNotSkipped
            | Self::NoSkipping
            | Self::RangeChosenByOneGroup
            | Self::RangeKeepsWatermark
            | Self::RecoverSlotForgotten
            | Self::RecoverForeignSlots
            | Self::RangeEndsAtKnownSlot => return None,
            Self::AcceptLowerRound => Shared::AcceptLowerRound,
            Self::NoopOverVotes => Shared::NoopOverVotes,
            Self::OneGroupSuffices => Shared::OneGroupSuffices,
            Self::NextSlotIgnoresChosen => Shared::NextSlotIgnoresChosen,
            Self::RecoverWithNoop => Shared::RecoverWithNoop,
            Self::RenumberCommands => Shared::RenumberCommands,
            Self::ReuseRoundAfterRestart => Shared::ReuseRoundAfterRestart,
            Self::NoSave => Shared::NoSave,
            Self::ExecutePastHole => Shared::ExecutePastHole,
            Self::ReplyOnChosen => Shared::ReplyOnChosen,
            Self::NoClientTable => Shared::NoClientTable,
            Self::NoCachedReplies => Shared::NoCachedReplies,
            Self::ReadPastHole => Shared::ReadPastHole,
            Self::SnapshotWithoutSessions => Shared::SnapshotWithoutSessions,
            Self::NoShift => Shared::NoShift,
            Self::ForgetWriteSlot => Shared::ForgetWriteSlot,
            Self::ForgetReadSlot => Shared::ForgetReadSlot,
        })
    }
}

impl Faults<compartmentalized::Mutant> for Mutated<Mutant> {
    fn breaks(self, rule: compartmentalized::Mutant) -> bool {
        self.0.and_then(Mutant::in_parts) == Some(rule)
    }
}

impl Faults<Mutant> for Mutated<compartmentalized::Mutant> {
    fn breaks(self, _: Mutant) -> bool {
        false
    }
}
