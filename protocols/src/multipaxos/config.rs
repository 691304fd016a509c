//! What all servers know: quorums, limits, times, and the rules that a mutant may break.

use crate::faults::Correct;
use crate::ids::{Round, Slot};
use crate::log::{PageLimits, ReplicaLimits};
use parthood_quorums::{Majority, NodeSet, QuorumSystem};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What all servers know.
#[derive(Clone, Debug)]
pub struct Config<F = Correct> {
    /// The number of servers: indices `0..servers`.
    pub servers: usize,
    /// The quorum systems over servers; slot `s` is decided by group `s mod groups`.
    pub groups: Vec<Arc<dyn QuorumSystem>>,
    /// Clients whose session 0 is known from the start.
    pub known_clients: Vec<u64>,
    /// What is bounded, and where.
    pub limits: Limits,
    /// How long to wait for what.
    pub timing: Timing,
    /// What a model leaves out.
    pub bounds: Bounds,
    /// Which rules are broken.
    pub faults: F,
}

/// Nothing is unbounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most slots that a leader has outstanding. What arrives meanwhile shares the next slot.
    pub window_slots: usize,
    /// The most commands in a slot.
    pub batch_commands: usize,
    /// About the most bytes in a slot that holds more than one command.
    pub batch_bytes: usize,
    /// The most commands that wait for a slot or for their execution; more are answered "busy".
    pub waiting_commands: usize,
    /// The most slots in a page of votes or chosen values.
    pub page_slots: usize,
    /// About the most bytes in a page, or in a part of a snapshot.
    pub page_bytes: usize,
    /// The most proposals that are sent again at once.
    pub resend_slots: usize,
    /// The most lanes in the client table.
    pub lanes: usize,
    /// A snapshot is taken when this many slots were executed since the last.
    pub snapshot_slots: u64,
    /// How many chosen slots before its snapshot a replica keeps for others.
    pub retained_slots: u64,
    /// About the most bytes of values between two snapshots, and of those kept before one.
    pub log_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_slots: 64,
            batch_commands: 512,
            batch_bytes: 16 * 1024,
            waiting_commands: 65_536,
            page_slots: 512,
            page_bytes: 24 * 1024,
            resend_slots: 64,
            lanes: 65_536,
            snapshot_slots: 65_536,
            retained_slots: 65_536,
            log_bytes: 32 << 20,
        }
    }
}

impl Limits {
    /// How much of a log fits one message.
    pub fn page(&self) -> PageLimits {
        PageLimits { slots: self.page_slots, bytes: self.page_bytes }
    }

    /// What a replica keeps.
    pub fn replica(&self) -> ReplicaLimits {
        ReplicaLimits {
            lanes: self.lanes,
            snapshot_slots: self.snapshot_slots,
            retained_slots: self.retained_slots,
            log_bytes: self.log_bytes,
        }
    }
}

/// How long to wait; no safety argument mentions these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A follower that heard nothing for a random time within stands for election.
    pub election: Range<Duration>,
    /// A leader says so this often.
    pub ping: Duration,
    /// What was not answered is sent again after this.
    pub resend: Duration,
    /// What is missing is asked for after this.
    pub catch_up: Duration,
    /// A leader proposes what arrives within this together; each command at once if there is none. Where it is zero, nothing
    /// waits for what is not here yet.
    pub gather: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            election: Duration::from_millis(300)..Duration::from_millis(600),
            ping: Duration::from_millis(50),
            resend: Duration::from_millis(50),
            catch_up: Duration::from_millis(20),
            gather: Some(Duration::ZERO),
        }
    }
}

/// What a model leaves out, to stay finite; a deployment leaves out nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// No leader goes beyond this round.
    pub round_max: Round,
    /// Whether leaders send again.
    pub resend: bool,
    /// Whether leaders say so when idle.
    pub ping: bool,
    /// Whether acceptors say that a round is too small.
    pub nack: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { round_max: Round(u64::MAX), resend: true, ping: true, nack: true }
    }
}

/// The rules that a mutant may break. `specs/multipaxos` says which property notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// An acceptor votes in a round below the one it promised.
    AcceptLowerRound,
    /// An acceptor answers phase 1 without raising its round.
    NoPromise,
    /// A new leader fills slots with noops although votes were reported.
    NoopOverVotes,
    /// A new leader takes the reported vote with the lowest round.
    LowestVote,
    /// A new leader ends phase 1 one acceptor early.
    ReadQuorumShort,
    /// A leader calls a value chosen one vote early.
    WriteQuorumShort,
    /// A leader counts votes of any round.
    CountForeignVotes,
    /// A leader uses rounds that it does not own.
    SharedRounds,
    /// A new leader numbers new slots after the last one reported, below what is chosen already (defect D1).
    NextSlotIgnoresChosen,
    /// A new leader proposes from slot zero although it asked for later slots only.
    ProposeFromZero,
    /// A new leader ends phase 1 when one of several groups has answered.
    OneGroupSuffices,
    /// A leader that is asked for a slot proposes a noop there in its present round.
    NoopForCatchUp,
    /// A replica executes past a slot that it lacks.
    ExecutePastHole,
    /// A leader answers a command when it is chosen, with the state before the slots that are not.
    ReplyOnChosen,
    /// A replica executes what it has executed before.
    NoClientTable,
    /// A replica takes every sequence number but the last for new.
    TableComparesUnequal,
    /// Only the leader answers retries of what was executed.
    NoCachedReplies,
    /// A leader answers reads from its own state, without the log.
    LocalReads,
    /// A leader that has proposed what arrived together takes it for still arriving.
    GatherOnce,
    /// A server does not save its votes and promises.
    NoSave,
    /// A new leader ignores what acceptors report as truncated.
    IgnoreTruncation,
    /// A new leader takes the first page of votes for all of them.
    FirstPageOnly,
    /// A replica takes any vote below the announced slot for chosen.
    LearnForeignVotes,
    /// A snapshot leaves out the client table.
    SnapshotWithoutSessions,
    /// A server drops the votes that its snapshot covers, and the slot of the snapshot too.
    TruncateOneTooMany,
    /// A leader proposes a command under another number than its client gave it.
    RenumberCommands,
    /// The first server skips phase 1 after every restart.
    SkipPhase1AfterRestart,
}

impl<F> Config<F> {
    /// So many servers whose majorities decide, with the limits and times of a deployment.
    pub fn majority(servers: usize, faults: F) -> Self {
        Self {
            servers,
            groups: vec![Arc::new(Majority::new(servers))],
            known_clients: Vec::new(),
            limits: Limits::default(),
            timing: Timing::default(),
            bounds: Bounds::default(),
            faults,
        }
    }

    /// The quorum system that decides a slot.
    pub fn group(&self, slot: Slot) -> &dyn QuorumSystem {
        let groups = self.groups.len() as u64;
        let index = usize::try_from(slot.0 % groups).expect("a remainder is smaller than its divisor");
        &*self.groups[index]
    }

    /// Do these servers contain a read quorum of every group?
    pub fn is_read_quorum(&self, servers: NodeSet) -> bool {
        self.groups.iter().all(|group| group.is_read_quorum(servers))
    }
}
