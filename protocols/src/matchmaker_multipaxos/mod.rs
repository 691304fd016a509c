//! Matchmaker `MultiPaxos`: a replicated log whose acceptors can be exchanged while it runs, without a pause.
//!
//! Servers are proposers and replicas; one of them leads. Acceptors hold the votes of slots that are not stored yet. Each
//! round has a configuration, acceptors with their quorums, which matchmakers remember. (Whittaker et al., "Matchmaker
//! Paxos: A Reconfigurable Consensus Protocol", section 4; why one value at most is chosen per slot:
//! [`crate::matchmaker_paxos`]; what phase 1 and replicas have in common with other logs: [`crate::log`].)
//!
//! # Becoming leader
//!
//! A server matches a round of its own with the configuration that it knows. It learns of the configurations of smaller
//! rounds, runs phase 1 once for all slots with a read quorum of each, and proposes again what it finds. If matching shows a
//! newer configuration than it knew, it goes on to its next round with that: configurations are numbered by *versions*,
//! and only a reconfiguration, never a change of leader, makes a new one. So a server that slept through a
//! reconfiguration proposes nothing to acceptors that were switched off, and nobody asks them because of it.
//!
//! # Reconfiguration without a pause
//!
//! The leader of round `i` that is told to use other acceptors matches `i + 1`, its own immediate successor, while it goes
//! on in `i`. When `f + 1` matchmakers have answered, the new configuration is *active*: new slots belong to `i + 1`.
//! Phase 1 is left out for every slot:
//!
//! - Nothing was proposed for a slot that `i` did not give out, and phase 1 of `i` has found no votes there. So nothing is
//!   or will be chosen in it below `i + 1`.
//! - For a slot that is pending the leader has proposed a value in `i`. Below `i` nothing else can be chosen, and in `i`
//!   nothing else was proposed: it proposes the same value in `i + 1`.
//!
//! The latter is ours; the paper runs phase 1 of `i + 1` for pending slots. So old acceptors are never fenced and commands
//! are neither delayed nor lost; votes of both rounds count while slots of the old one are pending. Reconfigurations that
//! arrive meanwhile wait their turn, for as long as their operators ask for them. When its turn has come so many of the
//! wanted acceptors must be there that they could vote, for slots would wait for acceptors that are not. The leader asks all acceptors
//! as often as it says that it leads, so it mostly knows, and a round trip to the matchmakers is all that it takes; those that have not
//! answered of late it asks first, which takes another one. (It does not ask both at once: what was announced to the matchmakers
//! every later leader must ask, and would wait for if it is not there.) One that arrives before phase 1 of `i` is over waits for it; if that takes too long (its
//! acceptors may be the ones that failed) the leader begins another round with the new configuration, without asking. [`Transition`] takes the
//! two savings away one by one, for comparison.
//!
//! # Retiring the old acceptors
//!
//! The leader of `i` retires all smaller rounds when this is true of every slot: slots below some `w` are chosen and stored
//! by `f + 1` servers, and a write quorum of `i` knows so (Scenario 3); from `w` on nothing was proposed in a smaller
//! round that could be chosen (Scenario 2). `w` is the slot where phase 1 of `i` found nothing more, or that was the next
//! one when `i` became active. *Stored* means saved: a server takes a snapshot up to `w` on the leader's demand. The leader
//! takes the `f + 1`-th largest snapshot of all servers and tells the acceptors, which drop the votes below. (The paper also
//! uses Scenario 1, for slots chosen in `i` itself; waiting until these are stored too takes one message more and makes
//! the rule one. In particular no answer of an acceptor that has dropped a vote is ever taken for a vote.)
//!
//! Nobody ever needs what was dropped from anybody but a server: phase 1 meets an acceptor that says how far it has dropped,
//! nothing is proposed below, and `f + 1` servers have it.
//!
//! # What else runs
//!
//! Sessions, batching, catch-up and snapshots in parts are those of [`crate::multipaxos`]. What gathers at a leader belongs to
//! no round before it has a slot: it is proposed in the round of that moment, of the old acceptors or the new ones. A round above
//! one's own ends one's leadership. Whoever waits for acceptors that were retired after it had matched gives up and matches again.
//!
//! What a server's cluster file asks for its leader does as well, once: `wish.rs`.
//!
//! Matchmakers are replaced as in [`crate::matchmaker_epochs`], by the leader, while everything else goes on: `handover.rs`.
//! Servers save which ones serve, and tell each other. An operator's request for others waits until the leader's round is matched.

mod acceptor;
mod config;
mod handover;
mod leader;
mod matchmaker;
mod mutant;
mod reconfiguration;
mod replica;
mod round;
mod server;
mod storage;
#[cfg(test)]
mod tests;
mod wish;

pub use acceptor::{Acceptor, AcceptorNode};
pub use config::{Bounds, Config, Places, Role, Transition};
pub use handover::{Handover, Settling};
pub use leader::{Leading, Proposal, Stage};
pub use matchmaker::Matchmaker;
pub use mutant::Mutant;
pub use reconfiguration::{Asker, Call, Next, Order};
pub use server::{Server, ServerState};
pub use storage::{Kept, Storage, StorageDelta};
pub use wish::Wish;

use crate::client::{Client, ClientMsg, ClientState, RetryTimer};
use crate::command::ValueOf;
use crate::faults::{Correct, Faults};
use crate::ids::Slot;
use crate::log::{Report, SnapshotCursor, SnapshotPart};
use crate::matchmaking::{self, Age, Ask, Configuration, Epoch, Round, Said};
use crate::operator::{AskTimer, Operator, OperatorMsg, OperatorState};
use crate::state_machine::StateMachine;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;

/// A configuration as it is announced: reconfigurations number them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Announced {
    /// How many reconfigurations led to it.
    pub version: u64,
    /// The round that it was first announced for. Leaders that follow each other may give two configurations one version,
    /// where the first of them is cut off; the one of the larger round is the newer one.
    pub since: Round,
    /// The newest cluster file that was heeded when it was made.
    pub generation: u64,
    /// The acceptors and their quorums.
    pub configuration: Configuration,
}

impl Announced {
    /// How new it is.
    pub const fn age(&self) -> Age {
        (self.version, self.since)
    }
}

/// An announced configuration and the round that it was announced for.
pub type Matched = matchmaking::Matched<Announced>;
/// The answers so far to the announcement of a round.
pub type Matching = matchmaking::Matching<Announced>;
/// A matchmaker's state, all of which it saves.
pub type MatchmakerNode = matchmaking::MatchmakerNode<Announced>;

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Msg<M: StateMachine> {
    /// Between a client and a server.
    Client(ClientMsg<M::Command, M::Output>),
    /// Between an operator and a server.
    Operator(OperatorMsg),
    /// Leader to matchmaker.
    Ask(Ask<Announced>),
    /// Matchmaker to leader.
    Said(Said<Announced>),
    /// Leader to server: these matchmakers serve; save that.
    Serve(Epoch),
    /// Server to leader: saved that epoch number so and so serves.
    Serves(u64),
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
        report: Report<M::Command, Round>,
    },
    /// Leader to acceptor: vote for this.
    Phase2a {
        /// The leader's round.
        round: Round,
        /// The slot.
        slot: Slot,
        /// The value.
        value: ValueOf<M>,
    },
    /// Acceptor to leader: voted.
    Phase2b {
        /// The round voted in.
        round: Round,
        /// The slot voted for.
        slot: Slot,
    },
    /// Acceptor or server to leader: your round is too small.
    Nack {
        /// A round that it must go beyond.
        round: Round,
    },
    /// Leader to servers: I lead.
    Ping {
        /// The leader's round.
        round: Round,
        /// All slots below are chosen.
        chosen_below: Slot,
        /// The configuration of the round.
        announced: Announced,
        /// The matchmakers that serve.
        epoch: Epoch,
    },
    /// Leader to servers: see to it that what the slots below amount to is saved.
    Store(Slot),
    /// Server to leader: what the slots below amount to is saved.
    Stored(Slot),
    /// Leader to acceptor: slots below are chosen, and enough servers have saved what they amount to.
    Persisted(Slot),
    /// Acceptor to leader: I know that of the slots below, and have dropped their votes.
    PersistedAck(Slot),
    /// Server to server: send me what is chosen.
    CatchUp {
        /// From this slot on.
        from: Slot,
    },
    /// Leader to servers, and server to server: these values are chosen.
    Chosen {
        /// The slot of the first value.
        from: Slot,
        /// The values of this slot and the following ones.
        values: Vec<ValueOf<M>>,
    },
    /// Server to server: send me the next part of this snapshot.
    FetchSnapshot {
        /// The snapshot's slot.
        slot: Slot,
        /// Where to go on.
        cursor: SnapshotCursor<M>,
    },
    /// Server to server: a part of a snapshot.
    SnapshotPart(SnapshotPart<M>),
}

impl<M: StateMachine> From<ClientMsg<M::Command, M::Output>> for Msg<M> {
    fn from(msg: ClientMsg<M::Command, M::Output>) -> Self {
        Self::Client(msg)
    }
}

impl<M: StateMachine> From<OperatorMsg> for Msg<M> {
    fn from(msg: OperatorMsg) -> Self {
        Self::Operator(msg)
    }
}

/// What sets a participant in motion when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// A server has heard of no leader and stands for election.
    Election,
    /// A leader says that it leads.
    Ping,
    /// A leader proposes what has arrived together.
    Propose,
    /// A leader sends again what was not answered.
    Resend,
    /// A server asks for what it lacks.
    CatchUp,
    /// A client sends again.
    Retry(RetryTimer),
    /// An operator asks how far it is.
    Ask,
}

impl From<RetryTimer> for Timer {
    fn from(timer: RetryTimer) -> Self {
        Self::Retry(timer)
    }
}

impl From<AskTimer> for Timer {
    fn from(_: AskTimer) -> Self {
        Self::Ask
    }
}

/// A participant.
#[derive(Clone, Debug)]
pub enum Node<M: StateMachine, F = Correct> {
    /// A server: proposer and replica.
    Server(Server<F>),
    /// A matchmaker.
    Matchmaker(Matchmaker<F>),
    /// An acceptor.
    Acceptor(Acceptor<F>),
    /// A client.
    Client(Client<M::Command>),
    /// An operator.
    Operator(Operator),
}

/// A participant's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State<M: StateMachine> {
    /// A server's.
    Server(Box<ServerState<M>>),
    /// A matchmaker's.
    Matchmaker(MatchmakerNode),
    /// An acceptor's.
    Acceptor(AcceptorNode<M::Command>),
    /// A client's.
    Client(ClientState<M::Command>),
    /// An operator's.
    Operator(OperatorState),
}

impl<M: StateMachine, F: Faults<Mutant>> Actor for Node<M, F> {
    type Msg = Msg<M>;
    type Timer = Timer;
    type State = State<M>;
    type Storage = Storage<M>;
    type Random = ();

    fn on_start(&self, id: Id, storage: &Option<Storage<M>>, out: &mut Out<Self>) -> State<M> {
        let storage = storage.as_ref();
        match self {
            Self::Server(server) => State::Server(Box::new(server.start(storage, out))),
            Self::Matchmaker(matchmaker) => State::Matchmaker(match storage {
                Some(Storage::Matchmaker(saved)) => saved.clone(),
                _ => MatchmakerNode::new(matchmaker.config.first_epoch(), matchmaker.index),
            }),
            Self::Acceptor(_) => State::Acceptor(match storage {
                Some(Storage::Acceptor(saved)) => saved.clone(),
                _ => AcceptorNode::new(),
            }),
            Self::Client(client) => State::Client(client.start(id, out)),
            Self::Operator(operator) => State::Operator(operator.start(out)),
        }
    }

    fn on_msg(&self, id: Id, state: &mut Cow<'_, State<M>>, src: Id, msg: Msg<M>, out: &mut Out<Self>) {
        if self.ignores(state, src, &msg) {
            return;
        }
        if let (Self::Matchmaker(matchmaker), State::Matchmaker(now)) = (self, &**state) {
            if let Some(after) = matchmaker.on_msg(now, src, msg, out) {
                *state = Cow::Owned(State::Matchmaker(after));
            }
            return;
        }
        match (self, state.to_mut()) {
            (Self::Server(server), State::Server(state)) => server.on_msg(state, src, msg, out),
            (Self::Acceptor(acceptor), State::Acceptor(state)) => acceptor.on_msg(state, src, msg, out),
            (Self::Client(client), State::Client(state)) => {
                if let Msg::Client(msg) = msg {
                    client.on_msg::<M, _>(id, state, msg, out);
                }
            }
            (Self::Operator(operator), State::Operator(state)) => {
                if let Msg::Operator(msg) = msg {
                    operator.on_msg(state, src, msg, out);
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
            (Self::Operator(operator), State::Operator(state), Timer::Ask) => operator.on_timeout(state, out),
            _ => {}
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Server(server) => format!("server {}", server.index),
            Self::Matchmaker(matchmaker) => format!("matchmaker {}", matchmaker.index),
            Self::Acceptor(_) => "acceptor".into(),
            Self::Client(_) => "client".into(),
            Self::Operator(_) => "operator".into(),
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Node<M, F> {
    /// Would the participant, in this state, do nothing about the message?
    fn ignores(&self, state: &State<M>, src: Id, msg: &Msg<M>) -> bool {
        match (self, state) {
            (Self::Server(server), State::Server(state)) => server.ignores(state, src, msg),
            (Self::Matchmaker(matchmaker), State::Matchmaker(_)) => matchmaker.ignores(src, msg),
            (Self::Acceptor(acceptor), State::Acceptor(state)) => acceptor.ignores(state, src, msg),
            (Self::Client(client), State::Client(state)) => match msg {
                Msg::Client(msg) => client.ignores(state, src, msg),
                _ => true,
            },
            (Self::Operator(operator), State::Operator(state)) => match msg {
                Msg::Operator(msg) => operator.ignores(state, src, msg),
                _ => true,
            },
            _ => true,
        }
    }
}
