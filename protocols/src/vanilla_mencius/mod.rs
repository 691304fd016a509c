//! Mencius as it was first proposed: `N` servers, each of which leads the slots that are dealt to it.
//!
//! (The compartmentalization paper's first draft, section 4.1; the comparison for [`crate::mencius`].) Slot `s` is owned by
//! server `s mod N`, and every server is leader, acceptor and replica at once. In round 0 of a slot only its owner may
//! propose. In a higher round `r` the server `r mod N` may, and only what phase 1 reported, or else a noop.
//!
//! **Skipping is final without a quorum.** Nobody but the owner ever proposes anything but a noop in a slot that the owner
//! has proposed nothing in. So when the owner decides to propose nothing there, a noop is what is chosen, whoever proposes it,
//! and whoever hears of the skip may take it for chosen. This rests on the owner's never proposing there later, not even
//! after a restart: how far it is gets saved before anybody hears of it. (With leader groups no slot has an owner for ever,
//! and none of this holds.)
//!
//! - A server that is asked for a command proposes it in its next slot. Whoever votes for it skips its own slots before
//!   that one, says so with the vote, and the others learn of it with its next proposal, or after a while.
//! - The owner counts votes, tells the others, and replies when it has executed everything before.
//! - **Revocation.** A server that waits for a slot of another one for too long runs phase 1 for a stretch of that server's
//!   slots in a round of its own: what is chosen, it learns; what was voted for, it proposes; everything else becomes a noop.
//!   The owner, should it be alive, skips that stretch as soon as it hears of it, and proposes again elsewhere what it
//!   had proposed there.
//!
//! A suspicion is a timer here: no failure detector is needed, since a wrong one costs slots and nothing else. A server saves
//! its votes, promises, what it knows to be chosen and how far it is. What this leaves out, as a comparison may, are snapshots
//! and the truncation of logs.

mod revocation;
mod server;

pub use revocation::{Known, Revocation, Stretch};
pub use server::{Proposal, Server, ServerState, Storage};

use crate::client::{Client, ClientMsg, ClientState, RetryTimer};
use crate::command::ValueOf;
use crate::faults::{Correct, Faults};
use crate::ids::{Round, Slot, SlotClass};
use crate::state_machine::StateMachine;
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;
use std::time::Duration;

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Msg<M: StateMachine> {
    /// Between a client and a server.
    Client(ClientMsg<M::Command, M::Output>),
    /// To all servers: promise to ignore smaller rounds in these slots of one server, and report what you know of them.
    Phase1a {
        /// A round of the sender.
        round: Round,
        /// The slots.
        slots: Stretch,
    },
    /// Promised; this is known.
    Phase1b {
        /// The promised round.
        round: Round,
        /// The slots.
        slots: Stretch,
        /// What is known of some of them.
        known: Vec<(Slot, Known<M::Command>)>,
    },
    /// To all servers: vote for this.
    Phase2a {
        /// The sender's round for the slot.
        round: Round,
        /// The slot.
        slot: Slot,
        /// The value.
        value: ValueOf<M>,
        /// What the sender has skipped since it last said so.
        skipped: Option<Stretch>,
    },
    /// Voted.
    Phase2b {
        /// The round voted in.
        round: Round,
        /// The slot voted for.
        slot: Slot,
        /// What the voter has skipped since it last said so to everybody.
        skipped: Option<Stretch>,
    },
    /// To all servers: I propose nothing in these slots of mine, now and for ever.
    Skip(Stretch),
    /// This is chosen.
    Chosen {
        /// The slot.
        slot: Slot,
        /// The value.
        value: ValueOf<M>,
    },
}

impl<M: StateMachine> From<ClientMsg<M::Command, M::Output>> for Msg<M> {
    fn from(msg: ClientMsg<M::Command, M::Output>) -> Self {
        Self::Client(msg)
    }
}

/// What sets a participant in motion when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// A server sends again what was not answered.
    Resend,
    /// A server says what it has skipped.
    Flush,
    /// A server has waited for a slot for too long.
    Revoke,
    /// A client sends again.
    Retry(RetryTimer),
}

impl From<RetryTimer> for Timer {
    fn from(timer: RetryTimer) -> Self {
        Self::Retry(timer)
    }
}

/// The rules that a mutant may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// A server proposes in slots that it has skipped.
    ProposeSkipped,
    /// A server does not save how far it is.
    ForgetSkipped,
    /// A server proposes its commands in slots of others.
    ForeignSlots,
    /// A server that revokes proposes a command of its own where nothing was reported.
    RevokeWithCommand,
    /// A server that is behind skips nothing.
    NoSkipping,
    /// A server that waits for a slot goes on waiting.
    NoRevocation,
    /// A server votes in a round below the one it promised.
    AcceptLowerRound,
    /// A server that revokes proposes noops although votes were reported.
    NoopOverVotes,
    /// A server calls a value chosen one vote early.
    WriteQuorumShort,
    /// A server executes past a slot that it lacks.
    ExecutePastHole,
    /// A server executes what it has executed before.
    NoClientTable,
    /// A server proposes a command under another number than its client gave it.
    RenumberCommands,
}

/// What all servers know.
#[derive(Clone, Debug)]
pub struct Config<F = Correct> {
    /// The number of servers.
    pub servers: usize,
    /// Clients whose session 0 is known from the start.
    pub known_clients: Vec<u64>,
    /// The most lanes in the client table.
    pub lanes_max: usize,
    /// How many slots of a server are revoked at once.
    pub revoke_slots: usize,
    /// No server goes beyond this round; for models.
    pub round_max: Round,
    /// What was not answered is sent again after this.
    pub resend: Duration,
    /// What was skipped is told after this, if no proposal tells it.
    pub flush: Duration,
    /// A slot is waited for so long.
    pub revoke: Duration,
    /// Which rules are broken.
    pub faults: F,
}

impl<F: Faults<Mutant>> Config<F> {
    /// The server that owns a slot.
    pub fn owner(&self, slot: Slot) -> usize {
        crate::ids::remainder(slot.0, self.servers)
    }

    /// The slots that a server owns.
    pub fn slots_of(&self, server: usize) -> SlotClass {
        SlotClass::dealt(server, self.servers)
    }

    /// May this server propose in this round of a slot?
    pub fn may_propose(&self, server: usize, round: Round, slot: Slot) -> bool {
        server == if round == Round::ZERO { self.owner(slot) } else { round.owner(self.servers) }
    }

    /// Are these more than half of the servers?
    pub fn is_majority(&self, servers: NodeSet) -> bool {
        2 * servers.len() > self.servers
    }

    pub(crate) fn breaks(&self, rule: Mutant) -> bool {
        self.faults.breaks(rule)
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
        match (self, state.to_mut(), *timer) {
            (Self::Client(client), State::Client(state), Timer::Retry(timer)) => {
                client.on_timeout(id, state, timer, out);
            }
            (Self::Server(server), State::Server(state), timer) => server.on_timeout(state, timer, out),
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
