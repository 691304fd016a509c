//! Compartmentalized `MultiPaxos`: `MultiPaxos` taken apart, so that every part but one can be multiplied.
//!
//! (Compartmentalization paper, sections 3 to 5; why one value at most is chosen per slot: [`crate::paxos`]; what phase 1
//! and replicas have in common with the coupled protocol: [`crate::log`].) Six decompositions, each of which can be on alone:
//!
//! 1. **Proxy leaders.** The leader only numbers commands and hands each to a proxy leader, which broadcasts it, counts
//!    votes and tells the replicas. The leader keeps no log and handles two messages per command.
//! 2. **Acceptor groups and grids.** Acceptors form any read-write quorum system, or several: slot `s` belongs to group
//!    `s mod G`. Phase 1 waits for a read quorum of every group.
//! 3. **More replicas.** Every replica executes everything; the reply to slot `s` is the duty of replica `s mod n`.
//! 4. **Leaderless reads.** A reader asks a read quorum of one group for the largest slot voted for, `i`, and then any
//!    replica, which answers when it has executed up to `i + G - 1`. Whatever finished before the read began was chosen at or
//!    below that slot: it has a write quorum in its group, which meets the read quorum asked; if its group is another, the
//!    last slot before it of the group asked is at most `G - 1` lower and was chosen too.
//! 5. **Batchers** collect commands, **read batchers** collect reads and ask acceptors once per batch.
//! 6. **Unbatchers** deal out replies.
//!
//! What the paper leaves out is here too, since without it nothing runs:
//!
//! - **Weaker reads.** A sequential read tells a replica what its client has seen, an eventual one nothing.
//! - **Loss.** Clients, readers, leaders in phase 1 and proxy leaders send again, the latter to all acceptors of the group. A
//!   replica that lacks a slot asks the others in turn; if nobody has it, it asks the leader, which knows no more than the
//!   slot's number and therefore runs phase 1 again in a higher round. (Proposing a noop in its present round could give
//!   one round two values.)
//! - **The last message.** A replica that lost the news of the last slot hears of no later one. The leader's ping tells
//!   replicas how far everything is chosen, and whoever knows of more says so.
//! - **Idle systems.** A read may wait for a slot that nobody proposed: other groups' slots are counted in, and a slot voted
//!   for may be lost with its leader. The replica asks the leader to fill the log with noops up to there.
//! - **Truncation.** Replicas save snapshots and tell acceptors; an acceptor drops votes when enough replicas have saved
//!   what they stand for, and keeps its watermark. It reports in phase 1 how far it has truncated.
//! - **Batching.** Without batchers, what arrives at a leader together shares a slot. What comes from batchers has waited for
//!   others already, and is proposed when it arrives; if the window is full it shares a slot, too.
//! - **Flow.** A leader is at most a window of slots ahead of what replicas report as chosen, which bounds proxy leaders too.
//! - **Restarts.** An acceptor saves promises and votes, a leader its round, a replica its snapshots, a read batcher how
//!   often it was started (a late answer to an earlier life's question must not pass for one to its own). The others
//!   may forget everything.

mod acceptor;
mod batcher;
mod client;
mod config;
mod leader;
mod mutant;
mod node;
mod phase1;
mod pre_read;
mod proxy_leader;
mod read_batcher;
mod replica;
mod storage;
mod unbatcher;

pub use acceptor::AcceptorNode;
pub use batcher::BatcherState;
pub use client::{Ask, Consistency, Reader, ReaderState, Reading, Stage};
pub use config::{Bounds, Config, Group, Layout, Limits, ReadScheme, Role, Timing};
pub use leader::{LeaderState, Leading};
pub use mutant::{Mutant, Rules};
pub(crate) use node::Turn;
pub use node::{Node, Part, State};
pub use pre_read::{PreRead, Tag};
pub use proxy_leader::{Pending, ProxyState};
pub use read_batcher::{Batch, ReadBatcherState};
pub use replica::ReplicaNode;
pub use storage::{Storage, StorageDelta};

use crate::client::{ClientMsg, RetryTimer};
use crate::command::{Command, CommandId, ValueOf};
use crate::ids::{Round, Slot};
use crate::log::{Report, SnapshotCursor, SnapshotPart};
use crate::mencius::NoopRange;
use crate::sessions::Answer;
use crate::state_machine::StateMachine;
use serde::{Deserialize, Serialize};

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Msg<M: StateMachine> {
    /// Between a client and a leader or batcher, and between a client and its application.
    Client(ClientMsg<M::Command, M::Output>),
    /// Batcher to leader: number these.
    Commands(Vec<Command<M::Command>>),
    /// Leader to batcher: I do not lead; here is your batch again.
    NotLeader {
        /// The round whose owner may lead.
        round: Round,
        /// The batch.
        commands: Vec<Command<M::Command>>,
    },
    /// Leader to leaders of its group and batchers: I lead.
    Ping {
        /// The leader's round.
        round: Round,
    },
    /// New leader to acceptor: promise to ignore smaller rounds, and report your votes.
    Phase1a {
        /// The leader's round.
        round: Round,
        /// The first slot of interest.
        from: Slot,
    },
    /// Acceptor to new leader: promised; a page of votes.
    Phase1b {
        /// The promised round.
        round: Round,
        /// The first slot of the page.
        from: Slot,
        /// What the page says.
        report: Report<M::Command>,
    },
    /// Leader to proxy leader: get this chosen. Proxy leader to acceptor: vote for this.
    Phase2a {
        /// The leader's round.
        round: Round,
        /// The slot.
        slot: Slot,
        /// The value.
        value: ValueOf<M>,
    },
    /// Acceptor to proxy leader: voted.
    Phase2b {
        /// The round voted in.
        round: Round,
        /// The slot voted for.
        slot: Slot,
    },
    /// The same for noops in all slots of a range that the leader's group numbers.
    Phase2aNoops {
        /// The leader's round.
        round: Round,
        /// The slots.
        range: NoopRange,
    },
    /// Acceptor to proxy leader: voted for noops, in those of these slots that its group decides.
    Phase2bNoops {
        /// The round voted in.
        round: Round,
        /// The slots.
        range: NoopRange,
    },
    /// Proxy leader to replicas: noops are chosen in these slots.
    ChosenNoops(NoopRange),
    /// Leader to proxy leader to leaders of other groups: my group has proposed something in its slots up to here.
    HighWatermark(Slot),
    /// To the leader of a round that is too small.
    Nack {
        /// A larger round that somebody promised.
        round: Round,
    },
    /// Proxy leader to replica, and replica to replica: these values are chosen.
    Chosen {
        /// The slot of the first value.
        from: Slot,
        /// The values of this slot and the following ones.
        values: Vec<ValueOf<M>>,
    },
    /// Replica to replica: send me what is chosen.
    CatchUp {
        /// From this slot on.
        from: Slot,
    },
    /// Replica to replica: send me the next part of this snapshot.
    FetchSnapshot {
        /// The snapshot's slot.
        slot: Slot,
        /// Where to go on.
        cursor: SnapshotCursor<M>,
    },
    /// Replica to replica: a part of a snapshot.
    SnapshotPart(SnapshotPart<M>),
    /// Replica to leaders: all slots below are chosen.
    ChosenBelow(Slot),
    /// Leader to replicas: all slots below are chosen. Who knows of more?
    AskChosen {
        /// The first slot that the leader does not know to be chosen.
        below: Slot,
    },
    /// Replica to acceptors: I have saved what the slots below amount to.
    Saved(Slot),
    /// Replica to leaders: a read waits until all slots below are chosen; fill them if you have nothing else for them.
    Fill(Slot),
    /// Replica to the leaders who number this slot: nobody has it.
    Recover(Slot),
    /// Reader to acceptor: how far did you vote?
    PreRead(Tag),
    /// Acceptor to reader: I never voted for this slot or a later one.
    PreReadAck {
        /// The question.
        tag: Tag,
        /// One more than the largest slot ever voted for.
        voted_below: Slot,
    },
    /// Client to read batcher: read this for me.
    ReadRequest {
        /// The read.
        read: Read<M::Command>,
        /// How fresh it must be.
        consistency: Consistency,
        /// What the client has seen.
        seen: Slot,
    },
    /// Reader to replica: answer these when all slots below are executed.
    Read {
        /// The reads.
        reads: Vec<Read<M::Command>>,
        /// The first slot that they need not show.
        below: Slot,
    },
    /// To a client: this became of its command or read.
    Reply(Reply<M::Output>),
    /// Replica to unbatcher: deal these out.
    Replies(Vec<Reply<M::Output>>),
}

impl<M: StateMachine> Msg<M> {
    /// The output of a command or read, if this brings its client one.
    pub fn output(&self) -> Option<(CommandId, &M::Output)> {
        match self {
            Self::Client(msg) => msg.output(),
            Self::Reply(Reply { id, answer: Answer::Output(output), .. }) => Some((*id, output)),
            _ => None,
        }
    }
}

/// A command that changes nothing and leaves no trace in the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Read<C> {
    /// Its name; it shares the sequence numbers of its client's commands.
    pub id: CommandId,
    /// What is asked.
    pub command: C,
}

/// What became of a command or a read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reply<O> {
    /// The command or read.
    pub id: CommandId,
    /// The answer shows the slots below, and none other.
    pub below: Slot,
    /// The answer.
    pub answer: Answer<O>,
}

/// The most bytes of a name and what goes with it.
const NAME_BYTES: usize = 48;

impl<C> Read<C> {
    /// Does it read, and none that the machine refuses?
    fn is_sound<M: StateMachine<Command = C>>(&self) -> bool {
        M::is_read(&self.command) && M::refusal(&self.command).is_none()
    }

    /// About how many bytes it takes in a message.
    fn bytes<M: StateMachine<Command = C>>(&self) -> usize {
        NAME_BYTES + M::command_bytes(&self.command)
    }
}

impl<O> Reply<O> {
    /// About how many bytes it takes in a message.
    fn bytes<M: StateMachine<Output = O>>(&self) -> usize {
        let output = match &self.answer {
            Answer::Output(output) => M::output_bytes(output),
            Answer::Opened { .. } | Answer::Expired | Answer::TooManyLanes => 10,
        };
        NAME_BYTES + output
    }
}

impl<M: StateMachine> From<ClientMsg<M::Command, M::Output>> for Msg<M> {
    fn from(msg: ClientMsg<M::Command, M::Output>) -> Self {
        Self::Client(msg)
    }
}

/// What sets a participant in motion when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// A leader that is not active has heard of none that is, and stands for election.
    Election,
    /// The active leader says that it leads.
    Ping,
    /// The active leader proposes what has arrived together.
    Propose,
    /// A leader, proxy leader or read batcher sends again what was not answered.
    Resend,
    /// A replica asks for what it lacks.
    CatchUp,
    /// A batch is old enough.
    Batch,
    /// A client sends again.
    Retry(RetryTimer),
}

impl From<RetryTimer> for Timer {
    fn from(timer: RetryTimer) -> Self {
        Self::Retry(timer)
    }
}
