//! Simple `BPaxos`: a replicated graph instead of a log, out of modules that scale one by one.
//!
//! ("Bipartisan Paxos", arXiv:2003.00331; the variant with garbage collection is that of its reference code.) A command
//! becomes a *vertex* of a graph: a leader numbers it, the dependency service says which vertices it conflicts with,
//! consensus fixes command and dependencies of the vertex for ever, and replicas execute the graph ([`crate::graph`]).
//! Commands that do not conflict are never compared with each other, and no node is special.
//!
//! 1. A **leader** gives a command the vertex `(its index, 0, 1, 2..)` and asks the dependency nodes.
//! 2. A **dependency node** answers with all conflicting vertices that it has seen before, for ever the same. The leader
//!    takes the union of a quorum's answers. Two quorums meet in a node, and of two conflicting commands that node saw one
//!    first: so one of the two depends on the other. This is the *dependency invariant*.
//! 3. A **proposer** has command and dependencies chosen by single-decree Paxos with the **acceptors**, one instance a vertex.
//!    Round `r` of a vertex of leader `o` belongs to proposer `(o + r) mod proposers`; the owner of round zero skips phase 1.
//! 4. **Replicas** execute vertices when all that they reach is known, components in one order everywhere, and reply then:
//!    not earlier, or a command invoked after the reply could still come before.
//! 5. **Recovery.** A replica that waits for a vertex which is not chosen asks a proposer for it, who proposes a *noop* without
//!    dependencies unless phase 1 finds a vote. A noop conflicts with nothing, so it owes the invariant nothing. The command
//!    comes back in another vertex when its client asks again.
//!
//! With [`Fast`], a way to choose a vertex in one round trip, the same actor is [`crate::epaxos`] and
//! [`crate::unanimous_bpaxos`]: acceptors are dependency nodes, too, and vote for their own answers.
//!
//! Leaders and proposers are nodes of their own or, if the layout has no proposers, one (section 3 of the journal version: one
//! hop less). Each thing that is compared is a part of the state: [`StateMachine::keys`] tells which a command reads and
//! writes, and a dependency node need not know more of it.
//!
//! What the paper leaves out or only mentions is here too, since without it nothing runs:
//!
//! - **Batching.** What arrives at a leader together shares a vertex, which conflicts with whatever one of its commands
//!   conflicts with. So each of them waits for all that the others wait for, and costs a share of a vertex.
//! - **Compaction.** A dependency node can keep, for each key and leader, the largest few vertices and call everything
//!   below them a dependency. That only adds edges, which costs time and never order.
//! - **Barriers.** A snapshot is a vertex that conflicts with everything but noops, so snapshots are totally ordered and
//!   every vertex is before or after each. So is the opening of a session: forgetting the least recently used one must
//!   mean the same everywhere.
//! - **Snapshots** are taken when a whole component has run, never within one: a set of vertices that splits a component
//!   would let whoever installs it run the rest in another order. (The reference code does split them.)
//! - **Collection.** Replicas tell acceptors and proposers how far, leader by leader, a saved snapshot stands for everything.
//!   What enough of them have saved is dropped and never answered again as if it were fresh: the answer is that it was
//!   collected. A dependency node forgets in two generations, and counts all it forgot as dependencies of everything.
//! - **Holes.** Numbers that were given out and lost would stop collection for ever, so a replica that takes a snapshot has
//!   the holes below the last vertex of each leader recovered.
//! - **Exactly once, out of order.** A client's later command may run before an earlier one elsewhere, so the client table keeps
//!   the set of numbers that have run, not the largest.
//! - **Catch-up.** Replicas ask each other in turn for what they lack: vertices by pages, or a snapshot in parts.
//! - **Restarts.** A leader saves how far it has given out numbers, a proposer how far it may have used round zero and
//!   beyond which round it never went, an acceptor everything, a dependency node what it answered, a replica its snapshots.

mod acceptor;
mod clients;
mod collection;
mod config;
mod dependencies;
#[cfg(test)]
mod exhaust;
mod fast;
mod index;
mod leader;
mod mutant;
mod node;
mod pre_accept;
mod proposer;
mod replica;
mod saving;
mod server;
mod snapshot;
mod storage;
mod transfer;

pub use acceptor::{AcceptorState, Ballot};
pub use clients::{ClientTable, Lane, LaneChange};
pub use collection::Collection;
pub use config::{Bounds, Config, Layout, Limits, Role, Timing};
pub use dependencies::{DependencyState, Entry, Generation};
pub use fast::{Answers, Fast, FastRule, Outcome, Promises, is_pre_acceptance};
pub use index::{Footprint, Index};
pub use leader::{LeaderState, Waiting};
pub(crate) use mutant::mutants;
pub use mutant::{Mutant, Rules};
pub use node::{Node, Part, State};
pub use proposer::{Attempt, ProposerState, Stage};
pub use replica::ReplicaState;
pub use server::ServerState;
pub use snapshot::{Snapshot, SnapshotDelta, SnapshotPart, Transfer};
pub use storage::{DependencyDelta, ProposerSaved, Storage, StorageDelta};

use crate::client::{ClientMsg, RetryTimer};
use crate::command::{Command, CommandId, command_bytes};
use crate::graph::{VertexId, VertexSet};
use crate::ids::Round;
use crate::log::SnapshotCursor;
use crate::state_machine::StateMachine;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// What a vertex does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action<C> {
    /// Nothing: stands in for what was lost. It conflicts with nothing.
    Noop,
    /// Takes a snapshot. It conflicts with everything but noops.
    Snapshot,
    /// Executes these commands, in this order.
    Commands(Arc<[Command<C>]>),
}

impl<C> Action<C> {
    /// The commands, in order.
    pub fn commands(&self) -> &[Command<C>] {
        match self {
            Self::Noop | Self::Snapshot => &[],
            Self::Commands(commands) => commands,
        }
    }
}

impl<C: fmt::Debug> fmt::Debug for Action<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Noop => f.write_str("noop"),
            Self::Snapshot => f.write_str("snapshot"),
            Self::Commands(commands) if commands.len() == 1 => commands[0].fmt(f),
            Self::Commands(commands) => f.debug_list().entries(commands.iter()).finish(),
        }
    }
}

/// What is chosen for a vertex, once and for all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Proposal<C> {
    /// What the vertex does.
    pub action: Action<C>,
    /// What must run before it, or together with it if they depend on each other.
    pub deps: VertexSet,
}

impl<C> Proposal<C> {
    /// Nothing, after nothing.
    pub const NOOP: Self = Self { action: Action::Noop, deps: VertexSet::EMPTY };
}

impl<C: fmt::Debug> fmt::Debug for Proposal<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.action.fmt(f)?;
        if self.deps.is_empty() { Ok(()) } else { write!(f, " after {:?}", self.deps) }
    }
}

/// The proposals of a state machine's commands.
pub type ProposalOf<M> = Proposal<<M as StateMachine>::Command>;

/// About how many bytes a proposal takes in a message.
fn proposal_bytes<M: StateMachine>(proposal: &ProposalOf<M>) -> usize {
    const RANGE: usize = 10;
    let commands = proposal.action.commands().iter().map(command_bytes::<M>).sum::<usize>();
    16 + commands + proposal.deps.ranges() * RANGE
}

/// A vertex with what was chosen for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Committed<C> {
    /// The vertex.
    pub vertex: VertexId,
    /// What was chosen.
    pub proposal: Proposal<C>,
}

/// A vote of an acceptor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vote<C> {
    /// The round it was cast in.
    pub vote_round: Round,
    /// What it was cast for.
    pub vote_value: Proposal<C>,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Msg<M: StateMachine> {
    /// Between a client and a leader or replica, and between a client and its application.
    Client(ClientMsg<M::Command, M::Output>),
    /// Leader to dependency node: what does this conflict with?
    DependencyRequest {
        /// The vertex.
        vertex: VertexId,
        /// What it reads and writes.
        footprint: Arc<Footprint<M::Key>>,
    },
    /// Dependency node to leader: with these, as far as I have seen.
    DependencyReply {
        /// The vertex.
        vertex: VertexId,
        /// What it conflicts with.
        deps: VertexSet,
    },
    /// Leader to proposer: get this chosen.
    Propose(Committed<M::Command>),
    /// Proposer to acceptor: promise to ignore smaller rounds of this vertex, and report your vote.
    Phase1a {
        /// The vertex.
        vertex: VertexId,
        /// The round.
        round: Round,
    },
    /// Acceptor to proposer: promised.
    Phase1b {
        /// The vertex.
        vertex: VertexId,
        /// The promised round.
        round: Round,
        /// The acceptor's last vote, if it has voted.
        vote: Option<Vote<M::Command>>,
    },
    /// Proposer to acceptor: vote for this.
    Phase2a {
        /// The vertex.
        vertex: VertexId,
        /// The round.
        round: Round,
        /// The value.
        proposal: ProposalOf<M>,
    },
    /// Acceptor to proposer: voted.
    Phase2b {
        /// The vertex.
        vertex: VertexId,
        /// The round voted in.
        round: Round,
    },
    /// Proposer to acceptor that is a dependency node, too: vote for this command after what you name, and these.
    PreAccept {
        /// The vertex.
        vertex: VertexId,
        /// The round.
        round: Round,
        /// The command, and what it is to depend on besides.
        proposal: ProposalOf<M>,
    },
    /// Acceptor to proposer: voted for the command after these.
    PreAcceptOk {
        /// The vertex.
        vertex: VertexId,
        /// The round voted in.
        round: Round,
        /// What it depends on in this vote.
        deps: VertexSet,
    },
    /// Acceptor to proposer of a round that is too small.
    Nack {
        /// The vertex.
        vertex: VertexId,
        /// The round that was promised instead.
        round: Round,
    },
    /// Acceptor to proposer: all of these are chosen, saved by enough replicas, and forgotten.
    Collected(VertexSet),
    /// Proposer to replica, and replica to replica: these are chosen.
    Commit(Vec<Committed<M::Command>>),
    /// Replica to proposer or replica: I wait for this.
    Recover(VertexId),
    /// Replica to replica: send me what is chosen besides what I know.
    CatchUp {
        /// What the sender knows.
        known: VertexSet,
    },
    /// Replica to leader: it is time for a snapshot.
    SnapshotRequest,
    /// Replica to replica: send me the next part of this snapshot.
    FetchSnapshot {
        /// The snapshot's number.
        number: u64,
        /// Where to go on.
        cursor: SnapshotCursor<M>,
    },
    /// Replica to replica: a part of a snapshot.
    SnapshotPart(SnapshotPart<M>),
    /// Replica to acceptors and proposers: I have saved what these amount to. (All below a number, for each leader.)
    Saved(VertexSet),
}

impl<M: StateMachine> Msg<M> {
    /// The output of a command, if this brings its client one.
    pub fn output(&self) -> Option<(CommandId, &M::Output)> {
        match self {
            Self::Client(msg) => msg.output(),
            _ => None,
        }
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
    /// A leader gives a number to what has arrived together.
    Number,
    /// A leader sends again what dependency nodes have not answered.
    Ask,
    /// A proposer sends again what acceptors have not answered.
    Resend,
    /// A proposer that was overtaken tries a higher round for this vertex.
    Backoff(VertexId),
    /// A replica has waited long enough for this vertex.
    Recover(VertexId),
    /// A replica asks another one for what it lacks, and tells how far its snapshot stands for everything.
    CatchUp,
    /// A client sends again.
    Retry(RetryTimer),
}

impl From<RetryTimer> for Timer {
    fn from(timer: RetryTimer) -> Self {
        Self::Retry(timer)
    }
}
