//! Matchmaker `CASPaxos`: a register that is changed in place, without a log, by acceptors that come and go.
//!
//! What acceptors vote for is the whole state of a machine. Every command needs a round of its own: its proposer matches,
//! learns the state that was voted for in the highest round, applies the command, and proposes the result. Matchmakers
//! and acceptors are those of [`crate::matchmaker_paxos`], unchanged. (The paper has one sentence about this variant;
//! what follows is ours.)
//!
//! # Why the chosen states form a chain
//!
//! If a state is proposed in round `i`, every state that was or can be chosen below is one of its ancestors: this is the
//! claim of [`crate::matchmaker_paxos`] with "ancestor or equal" for "equal", by the same induction. So of two chosen states
//! the later one was made from the earlier one. A command whose proposer does not learn what became of it is proposed
//! again, and may already be in the state; the state therefore remembers what each client asked last ([`Register`]).
//!
//! A proposer that goes on from round `i` to its immediate successor needs no phase 1: it applies the next command to its
//! own proposal of `i`, chosen or not. Below `i` only ancestors of that can be chosen, and in `i` nothing else. So a
//! proposer that nobody disturbs writes in two round trips, of which one registers the acceptors.
//!
//! # Garbage collection
//!
//! Scenarios 1 and 2 are as in [`crate::matchmaker_paxos`]. Scenario 3 makes no sense: no state is final.

mod proposer;
mod register;

pub use proposer::{CasPhase, CasProposer, CasState};
pub use register::{Machine, Register};

use crate::client::{Client, ClientMsg, ClientState, RetryTimer};
use crate::faults::{Correct, Faults};
use crate::matchmaker_paxos as paxos;
use crate::state_machine::StateMachine;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Command, Id, Out};
use std::borrow::Cow;
use std::sync::Arc;

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(bound = "M: Machine")]
pub enum Msg<M: StateMachine> {
    /// Between a client and a proposer.
    Client(ClientMsg<M::Command, M::Output>),
    /// Between a proposer and a matchmaker or acceptor.
    Paxos(paxos::Msg<Register<M>>),
}

impl<M: StateMachine> From<ClientMsg<M::Command, M::Output>> for Msg<M> {
    fn from(msg: ClientMsg<M::Command, M::Output>) -> Self {
        Self::Client(msg)
    }
}

/// What sets a participant in motion when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// A proposer sends again, or tries a higher round if it was overtaken or has waited long enough.
    Resend,
    /// A client asks the next proposer.
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
    /// A proposer takes the state of the lowest vote round, as the authors' implementation does.
    LowestVote,
    /// A proposer takes the initial state although phase 1 has reported a vote.
    IgnoreVotes,
    /// A proposer takes its proposal along into a round that is not the successor.
    OwnBypassFromAnyRound,
    /// A command is applied again although the state says that it was.
    NoClientTable,
    /// A proposer answers its client before the state is chosen.
    AnswerProposal,
    /// A proposer does not answer.
    SilentProposer,
    /// A proposer collects as soon as somebody voted in its round.
    CollectOnVote,
    /// An acceptor answers phase 1 without raising its round.
    NoPromise,
    /// An acceptor does not save.
    AcceptorForgets,
    /// A proposer does not save.
    ProposerForgets,
}

/// The faults of matchmakers and acceptors, as far as a mutant of this protocol has any.
#[derive(Clone, Copy, Debug)]
pub struct Shared<F>(pub F);

impl<F: Faults<Mutant>> Faults<paxos::Mutant> for Shared<F> {
    fn breaks(self, rule: paxos::Mutant) -> bool {
        match rule {
            paxos::Mutant::NoPromise => self.0.breaks(Mutant::NoPromise),
            paxos::Mutant::AcceptorForgets => self.0.breaks(Mutant::AcceptorForgets),
            _ => false,
        }
    }
}

/// What all participants know.
#[derive(Clone, Debug)]
pub struct Config<F = Correct> {
    /// What matchmakers and acceptors know as well. There are no replicas.
    pub paxos: Arc<paxos::Config<Shared<F>>>,
    /// Clients whose session 0 is known from the start.
    pub known_clients: Vec<u64>,
    /// The most lanes in the client table.
    pub lanes_max: usize,
    /// Which rules are broken.
    pub faults: F,
}

/// A participant.
#[derive(Clone, Debug)]
pub enum Node<M: StateMachine, F = Correct> {
    /// A proposer.
    Proposer(CasProposer<F>),
    /// A matchmaker or acceptor.
    Server(paxos::Node<Register<M>, Shared<F>>),
    /// A client.
    Client(Client<M::Command>),
}

/// A participant's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State<M: StateMachine> {
    /// A proposer's.
    Proposer(Box<CasState<M>>),
    /// A matchmaker's or acceptor's.
    Server(paxos::State<Register<M>>),
    /// A client's.
    Client(ClientState<M::Command>),
}

/// What a participant saves.
pub type Storage<M> = paxos::Storage<Register<M>>;

impl<M: Machine, F: Faults<Mutant>> Actor for Node<M, F> {
    type Msg = Msg<M>;
    type Timer = Timer;
    type State = State<M>;
    type Storage = Storage<M>;
    type Random = ();

    fn on_start(&self, id: Id, storage: &Option<Storage<M>>, out: &mut Out<Self>) -> State<M> {
        match self {
            Self::Proposer(_) => State::Proposer(Box::new(CasState::after(storage.as_ref()))),
            Self::Server(server) => {
                let mut said = Out::new();
                let state = server.on_start(id, storage, &mut said);
                say(said, out);
                State::Server(state)
            }
            Self::Client(client) => State::Client(client.start(id, out)),
        }
    }

    fn on_msg(&self, id: Id, state: &mut Cow<'_, State<M>>, src: Id, msg: Msg<M>, out: &mut Out<Self>) {
        match (self, &**state, msg) {
            (Self::Proposer(proposer), State::Proposer(now), msg) if !proposer.ignores(now, src, &msg) => {
                let State::Proposer(state) = state.to_mut() else { return };
                proposer.on_msg(state, src, msg, out);
            }
            (Self::Server(server), State::Server(now), Msg::Paxos(msg)) => {
                let (mut after, mut said) = (Cow::Borrowed(now), Out::new());
                server.on_msg(id, &mut after, src, msg, &mut said);
                if let Cow::Owned(after) = after {
                    *state = Cow::Owned(State::Server(after));
                }
                say(said, out);
            }
            (Self::Client(client), State::Client(now), Msg::Client(msg))
                if !client.ignores(now, src, &msg) =>
            {
                let State::Client(state) = state.to_mut() else { return };
                client.on_msg::<M, _>(id, state, msg, out);
            }
            _ => {}
        }
    }

    fn on_timeout(&self, id: Id, state: &mut Cow<'_, State<M>>, timer: &Timer, out: &mut Out<Self>) {
        match (self, timer, &**state) {
            (Self::Proposer(proposer), Timer::Resend, State::Proposer(now)) if !now.rests() => {
                let State::Proposer(state) = state.to_mut() else { return };
                proposer.on_resend(state, out);
            }
            (Self::Client(client), Timer::Retry(timer), State::Client(_)) => {
                let State::Client(state) = state.to_mut() else { return };
                client.on_timeout(id, state, *timer, out);
            }
            _ => {}
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Proposer(proposer) => format!("proposer {}", proposer.index),
            Self::Server(server) => server.name(),
            Self::Client(_) => "client".into(),
        }
    }
}

/// Passes on what a matchmaker or acceptor asks for; they set no timers.
fn say<M: Machine, F: Faults<Mutant>>(
    said: Out<paxos::Node<Register<M>, Shared<F>>>,
    out: &mut Out<Node<M, F>>,
) {
    for command in said {
        match command {
            Command::Send(to, msg) => out.send(to, Msg::Paxos(msg)),
            Command::Save(storage) => out.save(storage),
            Command::SetTimer(..) | Command::CancelTimer(_) | Command::ChooseRandom(..) => {}
        }
    }
}
