//! `MultiPaxos`, coupled: every server is proposer, acceptor and replica. A log of slots, one Paxos instance each.
//!
//! One server leads. It runs phase 1 once for all slots of its round, and then needs one exchange with a write quorum per
//! command: [`Msg::Phase2a`] out, [`Msg::Phase2b`] back. (Compartmentalization paper, section 2; for why one value at
//! most is chosen per slot see [`crate::paxos`].) What the textbook leaves out is here too, since without it nothing runs:
//!
//! - **Learning.** A server that voted in the leader's round holds the value already, so the leader only announces how
//!   far everything is chosen ([`Msg::Ping`], and with every proposal). A vote of that very round, below the announced
//!   slot, is for the chosen value: the leader proposed one value in it, and by the Paxos invariant it is the chosen one.
//! - **Phase 1 by pages.** A new leader asks from its own first unexecuted slot on, and acceptors answer with bounded
//!   pages; the promise is made with the first one, so later pages cannot miss a vote of a smaller round. Slots that a
//!   read quorum reports nothing for are filled with noops, up to the last slot reported.
//! - **Truncation.** A server saves a snapshot (state machine and client table) every so often and drops its votes below
//!   it. It reports its snapshot's slot in phase 1: everything below is chosen, and the new leader must neither propose
//!   there nor number new slots below it. Whoever needs a dropped slot gets the snapshot instead, from the very server
//!   that dropped the vote; so every live read quorum can bring any server up to date.
//! - **Catch-up.** A replica that knows of chosen slots it lacks asks the others in turn, for log entries or, if these
//!   are gone, for a snapshot in parts. (The reference code restarts phase 1 instead, and can leave a replica stuck.)
//! - **Election** is only a hint for liveness: a server that hears nothing from a leader for a random time starts a round
//!   of its own. Two servers that believe they lead are harmless.
//! - **Exactly-once** is the client table of [`crate::sessions`]; every replica answers a retry of what it executed.
//! - **Batching.** What arrives at a leader together shares a slot, and it has a limited number of slots outstanding; what
//!   arrives meanwhile shares the next one.
//!
//! A server saves its round, votes and snapshot before anything that follows from them leaves. Its leader's round is never
//! above its acceptor's, so the saved round also keeps a restarted leader from using a round twice.

mod acceptor;
mod catch_up;
mod config;
mod leader;
mod recovery;
mod replica;
mod server;
mod storage;

pub use config::{Bounds, Config, Limits, Mutant, Timing};
pub use leader::{LeaderState, Leadership, Proposal};
pub use server::{Server, ServerState};
pub use storage::{Storage, StorageDelta};

use crate::client::{Client, ClientMsg, ClientState, RetryTimer};
use crate::command::ValueOf;
use crate::faults::{Correct, Faults};
use crate::ids::{Round, Slot};
use crate::log::{Report, SnapshotCursor, SnapshotPart};
use crate::state_machine::StateMachine;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Msg<M: StateMachine> {
    /// Between a client and a server.
    Client(ClientMsg<M::Command, M::Output>),
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
    /// Leader to acceptor: vote for this.
    Phase2a {
        /// The leader's round.
        round: Round,
        /// The slot.
        slot: Slot,
        /// The value.
        value: ValueOf<M>,
        /// All slots below are chosen.
        chosen_below: Slot,
    },
    /// Acceptor to leader: voted.
    Phase2b {
        /// The round voted in.
        round: Round,
        /// The slot voted for.
        slot: Slot,
    },
    /// Acceptor to leader: your round is too small.
    Nack {
        /// The round that the acceptor promised.
        round: Round,
    },
    /// Leader to everybody: I lead.
    Ping {
        /// The leader's round.
        round: Round,
        /// All slots below are chosen.
        chosen_below: Slot,
    },
    /// Replica to replica: send me what is chosen.
    CatchUp {
        /// From this slot on.
        from: Slot,
    },
    /// Replica to replica: these values are chosen.
    Chosen {
        /// The slot of the first value.
        from: Slot,
        /// The values of this slot and the following ones.
        values: Vec<ValueOf<M>>,
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
}

impl<M: StateMachine> From<ClientMsg<M::Command, M::Output>> for Msg<M> {
    fn from(msg: ClientMsg<M::Command, M::Output>) -> Self {
        Self::Client(msg)
    }
}

/// What sets a participant in motion when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// A follower has heard of no leader and stands for election.
    Election,
    /// A leader says that it leads.
    Ping,
    /// A leader proposes what has arrived together.
    Propose,
    /// A leader sends again what was not answered.
    Resend,
    /// A replica asks for what it lacks.
    CatchUp,
    /// A client sends again.
    Retry(RetryTimer),
}

impl From<RetryTimer> for Timer {
    fn from(timer: RetryTimer) -> Self {
        Self::Retry(timer)
    }
}

/// A participant.
#[derive(Clone, Debug)]
pub enum Node<M: StateMachine, F = Correct> {
    /// A server.
    Server(Server<F>),
    /// A client.
    Client(Client<M::Command>),
}

/// A participant's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State<M: StateMachine> {
    /// A server's.
    Server(Box<ServerState<M>>),
    /// A client's.
    Client(ClientState<M::Command>),
}

impl<M: StateMachine, F: Faults<Mutant>> Actor for Node<M, F> {
    type Msg = Msg<M>;
    type Timer = Timer;
    type State = State<M>;
    type Storage = Storage<M>;
    type Random = ();

    fn on_start(&self, id: Id, storage: &Option<Storage<M>>, out: &mut Out<Self>) -> State<M> {
        match self {
            Self::Server(server) => State::Server(Box::new(server.start(storage.as_ref(), out))),
            Self::Client(client) => State::Client(client.start(id, out)),
        }
    }

    fn on_msg(&self, id: Id, state: &mut Cow<'_, State<M>>, src: Id, msg: Msg<M>, out: &mut Out<Self>) {
        match (self, &**state) {
            (Self::Server(server), State::Server(now)) if !server.ignores(now, src, &msg) => {
                let State::Server(state) = state.to_mut() else { return };
                server.on_msg(state, src, msg, out);
            }
            (Self::Client(client), State::Client(now)) => {
                let Msg::Client(msg) = msg else { return };
                if !client.ignores(now, src, &msg) {
                    let State::Client(state) = state.to_mut() else { return };
                    client.on_msg::<M, _>(id, state, msg, out);
                }
            }
            _ => {}
        }
    }

    fn on_timeout(&self, id: Id, state: &mut Cow<'_, State<M>>, timer: &Timer, out: &mut Out<Self>) {
        match (self, state.to_mut(), timer) {
            (Self::Server(server), State::Server(state), timer) => server.on_timeout(state, *timer, out),
            (Self::Client(client), State::Client(state), Timer::Retry(timer)) => {
                client.on_timeout(id, state, *timer, out);
            }
            _ => {}
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Server(server) => format!("server {}", server.index),
            Self::Client(_) => "client".into(),
        }
    }
}
