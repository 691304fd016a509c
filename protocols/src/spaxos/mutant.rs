//! The rules that a mutant may break: those of S-Paxos, and some of the parts that it is made of.

use crate::compartmentalized as parts;
use crate::faults::Faults;
use crate::mencius;
use serde::{Deserialize, Serialize};

/// The rules that a mutant may break. `specs/spaxos` says which property notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// A disseminator has an id ordered when one stabilizer has stored its batch.
    ReadyAfterOneAck,
    /// A disseminator uses its ids again after a restart.
    ReuseIdAfterRestart,
    /// The same, and a stabilizer replaces what it has stored under an id.
    OverwriteBatch,
    /// A disseminator gives commands other numbers than their clients did.
    RenumberCommands,
    /// A stabilizer that lacks a chosen batch tells replicas that nothing was chosen.
    NoopWithoutBatch,
    /// A stabilizer that lacks a chosen batch asks nobody for it.
    NoFetch,
    /// A stabilizer does not save what it stores.
    NoStoreSave,
    /// A stabilizer drops batches that can still be ordered in slots which replicas have not saved.
    DropUnexpired,
    /// An id stands for its batch in every slot.
    IgnoreExpiry,
    /// A stabilizer says nothing to a disseminator whose id came too late to be stored.
    QuietAboutExpired,
    /// A disseminator takes an id that was ordered too late for one that was ordered.
    ForgetExpired,
    /// [`parts::Mutant::AcceptLowerRound`].
    AcceptLowerRound,
    /// [`parts::Mutant::NoopOverVotes`].
    NoopOverVotes,
    /// [`parts::Mutant::WriteQuorumShort`].
    WriteQuorumShort,
    /// [`parts::Mutant::NextSlotIgnoresChosen`].
    NextSlotIgnoresChosen,
    /// [`parts::Mutant::ReuseRoundAfterRestart`].
    ReuseRoundAfterRestart,
    /// [`parts::Mutant::NoSave`].
    NoSave,
    /// [`parts::Mutant::ExecutePastHole`].
    ExecutePastHole,
    /// [`parts::Mutant::NoClientTable`].
    NoClientTable,
    /// [`parts::Mutant::NoCachedReplies`].
    NoCachedReplies,
    /// [`parts::Mutant::SnapshotWithoutSessions`].
    SnapshotWithoutSessions,
    /// [`parts::Mutant::WatermarkResetByRound`].
    WatermarkResetByRound,
    /// [`parts::Mutant::PreReadMinimum`].
    PreReadMinimum,
    /// [`parts::Mutant::ForgetReadSlot`].
    ForgetReadSlot,
    /// [`parts::Mutant::ReadPastHole`].
    ReadPastHole,
}

impl Mutant {
    /// A rule of the parts, if it is one of these.
    fn of_parts(rule: parts::Mutant) -> Option<Self> {
        Some(match rule {
            parts::Mutant::AcceptLowerRound => Self::AcceptLowerRound,
            parts::Mutant::NoopOverVotes => Self::NoopOverVotes,
            parts::Mutant::WriteQuorumShort => Self::WriteQuorumShort,
            parts::Mutant::NextSlotIgnoresChosen => Self::NextSlotIgnoresChosen,
            parts::Mutant::ReuseRoundAfterRestart => Self::ReuseRoundAfterRestart,
            parts::Mutant::NoSave => Self::NoSave,
            parts::Mutant::ExecutePastHole => Self::ExecutePastHole,
            parts::Mutant::NoClientTable => Self::NoClientTable,
            parts::Mutant::NoCachedReplies => Self::NoCachedReplies,
            parts::Mutant::SnapshotWithoutSessions => Self::SnapshotWithoutSessions,
            parts::Mutant::WatermarkResetByRound => Self::WatermarkResetByRound,
            parts::Mutant::PreReadMinimum => Self::PreReadMinimum,
            parts::Mutant::ForgetReadSlot => Self::ForgetReadSlot,
            parts::Mutant::ReadPastHole => Self::ReadPastHole,
            _ => return None,
        })
    }
}

/// The same faults as the parts see them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InParts<F>(pub F);

impl<F: Faults<Mutant>> Faults<parts::Mutant> for InParts<F> {
    fn breaks(self, rule: parts::Mutant) -> bool {
        Mutant::of_parts(rule).is_some_and(|rule| self.0.breaks(rule))
    }
}

/// There is one group of leaders.
impl<F: Faults<Mutant>> Faults<mencius::Mutant> for InParts<F> {
    fn breaks(self, _: mencius::Mutant) -> bool {
        false
    }
}
