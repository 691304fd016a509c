//! Compartmentalized S-Paxos: the log orders names of batches, and the batches travel past the leader.
//!
//! (Compartmentalization paper in its earlier draft, section on S-Paxos; why the log is safe and what its parts do:
//! [`crate::compartmentalized`].) A client gives a command to any **disseminator**, which makes an id for it (or for a
//! batch of a batcher) and has it stored by a write quorum of **stabilizers**. Then the id goes through `MultiPaxos` in
//! parts like a command; leader and acceptors never see what it stands for. A proxy leader that learns of a chosen id tells
//! one stabilizer, which passes the batch on to all replicas, having fetched it from a read quorum if it lacks it. Replicas
//! execute, catch up and reply as ever, and reads go past the log as ever.
//!
//! So S-Paxos is made of parts twice: leaders, proxy leaders and acceptors of a log of ids, replicas and whoever serves
//! clients of a log of batches. Both are the very nodes of [`crate::compartmentalized`]; the two roles between them are new,
//! and `border.rs` is where the two logs meet.
//!
//! **Why it is safe.** Ids are ordered by `MultiPaxos`. An id names its disseminator, how often that was started (saved
//! before it is used) and a number, so no two batches have one id, and a stabilizer stores one batch under an id for ever:
//! slot to id to batch is a function. A command whose client asks again gets another id and may be ordered twice; exactly
//! once comes from the client table, as ever.
//!
//! **Why it is live.** An id is ordered only when a write quorum has stored its batch, so with whoever else is lost, every
//! read quorum has it.
//!
//! What no source has:
//!
//! - **Ids expire.** Stabilizers cannot keep batches for ever, yet a copy of a request to order an id may come at any time
//!   and be given a slot: replicas would wait there for a batch that is gone. So an id says up to which slot it stands for
//!   its batch, and stands for nothing from there on. Whether it does follows from slot and id alone, so all agree. A batch
//!   is dropped when enough replicas have saved all slots before the expiry of its id, ordered or not. An id that came too
//!   late costs its disseminator another one; so that it hears of it, stabilizers answer also what they do not store.
//! - **Resends.** A disseminator sends stores and ids again until it hears, from the stabilizer that passed the batch on,
//!   that the id is in a slot; it asks the leaders in turn and goes where they send it. A stabilizer asks again for a batch.
//!   If the news of a chosen id gets lost, replicas miss a slot that none of them has, and the leader proposes it again.
//! - **Restarts.** A stabilizer saves a batch before it says that it stored it, a disseminator how often it was started.

mod border;
mod config;
mod disseminator;
mod ids;
mod mutant;
mod node;
mod stabilizer;
mod storage;

pub use crate::compartmentalized::Timer;
pub use config::{Config, Layout, Role};
pub use disseminator::{DisseminatorState, Pending};
pub use ids::{BatchId, Ids};
pub use mutant::{InParts, Mutant};
pub use node::{Hosted, Node, Part, State};
pub use stabilizer::StabilizerState;
pub use storage::{Body, Storage, StorageDelta, Store};

use crate::client::ClientMsg;
use crate::command::CommandId;
use crate::compartmentalized as parts;
use crate::ids::Slot;
use crate::state_machine::StateMachine;
use serde::{Deserialize, Serialize};

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Msg<M: StateMachine> {
    /// About the log of ids. To a leader, a disseminator is a client that asks for its id to be ordered.
    Order(parts::Msg<Ids>),
    /// About commands, and about the log of batches.
    Serve(parts::Msg<M>),
    /// Disseminator to stabilizer: store this.
    Store {
        /// The id.
        id: BatchId,
        /// The commands that it stands for.
        batch: Body<M::Command>,
    },
    /// Stabilizer to disseminator: stored.
    StoreAck {
        /// The id.
        id: BatchId,
    },
    /// Proxy leader to a stabilizer: an id is chosen, pass its batch on.
    ChosenId {
        /// The slot.
        slot: Slot,
        /// The id.
        id: BatchId,
    },
    /// To a disseminator, from whoever learned it: an id was put into a slot, or comes too late for this one and all before.
    Ordered {
        /// The slot.
        slot: Slot,
        /// The id.
        id: BatchId,
    },
    /// Stabilizer to stabilizer: give me this batch.
    Fetch {
        /// The id.
        id: BatchId,
    },
    /// Stabilizer to stabilizer: here is a batch.
    Fetched {
        /// The id.
        id: BatchId,
        /// The commands that it stands for.
        batch: Body<M::Command>,
    },
}

impl<M: StateMachine> Msg<M> {
    /// The output of a command or read, if this brings its client one.
    pub fn output(&self) -> Option<(CommandId, &M::Output)> {
        match self {
            Self::Serve(msg) => msg.output(),
            _ => None,
        }
    }
}

impl<M: StateMachine> From<ClientMsg<M::Command, M::Output>> for Msg<M> {
    fn from(msg: ClientMsg<M::Command, M::Output>) -> Self {
        Self::Serve(parts::Msg::Client(msg))
    }
}
