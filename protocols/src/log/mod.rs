//! What every protocol with a log of slots shares, whichever actor hosts it.
//!
//! - [`AcceptorState`]: promises and votes, their watermark, reports of them by pages, truncation, and how they are saved.
//! - [`AcceptorNode`]: the same of an acceptor apart from replicas, which drops what enough of these have saved.
//! - [`Recovery`]: phase 1 of a new leader, page by page: what to propose again, what to fill, where new slots begin.
//! - [`ReplicaState`]: the log as far as it is known, its execution, snapshots, and what a replica lacks.
//! - [`Snapshot`]: a state machine with its client table, and how it travels in parts.
//!
//! These are plain data with transitions; who sends what to whom is the business of each protocol.

mod acceptor;
mod recovery;
mod replica;
mod snapshot;
mod votes;

pub use acceptor::{AcceptorDelta, AcceptorNode, Stale};
pub use recovery::{Page, Recovery, RecoveryRules, Report};
pub use replica::{Lent, Missing, ReplicaState};
pub use snapshot::{Snapshot, SnapshotCursor, SnapshotDelta, SnapshotPart, Transfer};
pub use votes::{AcceptorState, Vote, VotedSlot, VotesDelta};

/// How much of a log fits one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// The most slots.
    pub slots: usize,
    /// About the most bytes, unless one slot alone is larger.
    pub bytes: usize,
}

/// What a replica keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaLimits {
    /// The most lanes in the client table.
    pub lanes: usize,
    /// A snapshot is taken when this many slots were executed since the last.
    pub snapshot_slots: u64,
    /// How many chosen slots before its snapshot a replica keeps for others.
    pub retained_slots: u64,
    /// About how many bytes both may take: a snapshot is taken earlier, and less is kept before it, where values are large.
    pub log_bytes: usize,
}
