//! Matchmaker Fast Paxos: `f + 1` acceptors choose a client's value in two message delays, and others take their place when
//! one of them fails.
//!
//! Clients send their values straight to the acceptors. The *coordinator* of a round, a proposer that has made sure that
//! nothing was chosen below, tells its acceptors to vote for *any* value: each votes for the first one that a client sends
//! it, and tells the coordinator and that client. If all have voted for the same, it is chosen. If not, nothing is chosen in
//! this round, now or ever, and the coordinator goes on to its next round. (Whittaker et al., "Matchmaker Paxos: A
//! Reconfigurable Consensus Protocol", on Fast Paxos; matchmakers, rounds and their acceptors:
//! [`crate::matchmaker_paxos`].)
//!
//! Fast Paxos of 2006 needs more than a majority of `2f + 1` acceptors for a fast choice, so that a phase 1 that misses `f`
//! of them still sees which value that may have been. With matchmakers `f + 1` acceptors are enough, which is the least
//! there can be: all of them write, and any one that is left can be asked. The price is that a round ends with the first
//! acceptor that fails, and that the slowest one decides how long a choice takes.
//!
//! # Why at most one value is chosen
//!
//! The claim is about votes: if somebody votes for `v` in round `i`, no other value was or will be chosen in a round `j < i`.
//! The coordinator of `i` has asked an acceptor of every configuration that a round below may have used. Let `k` be the
//! largest round in which one of them has voted, and `V` what was voted for in `k` as far as they say.
//!
//! - In rounds between `k` and `i` nothing can be chosen: all would have to vote, and one has promised not to.
//! - If `V` is empty nothing was or will be chosen below `i` at all.
//! - If `V` is `v` alone nothing else can be chosen in `k`, where all would have to vote for it; and, by the claim for `k`,
//!   nothing else below. The coordinator proposes `v`, as in Paxos. To say "any" would be wrong.
//! - If `V` has two values the votes of `k` are divided, so that nothing is chosen in it; and, by the claim for `k` and each
//!   of the two, nothing below. So the coordinator is free as if `V` were empty. To propose one of them is as safe, and
//!   ends the dispute: [`Config::settle`].
//!
//! All of this hangs on writes being unanimous: configurations are sets of acceptors here, and nothing else can be given.
//!
//! # Garbage collection
//!
//! Scenarios 1 and 2 are those of [`crate::matchmaker_paxos`]: a value was chosen in `i`, or nothing was or will be chosen
//! below, be it that `V` is empty or divided. (The paper says that garbage collection carries over; that a divided vote is
//! as good as none is ours.) Scenario 3 is left out.
//!
//! Phase 1 is never left out: a coordinator that has said "any" does not know what was voted for in its own round
//! ([`Mutant::BypassFastRound`]).
//!
//! # Departures from the paper
//!
//! Acceptors remember the last value that a client has sent, so that it need not be sent again when a round comes after it.
//! Everything is sent again until it is answered. Clients also ask a proposer, one after the other, until they are told:
//! that is what begins a round where none has begun, and what replaces acceptors that do not answer.

mod acceptor;
mod client;
mod proposer;
mod votes;

pub use acceptor::{FastAcceptor, FastAcceptorState};
pub use client::{FastClient, FastClientState};
pub use proposer::{FastPhase, FastProposer, FastState};
pub use votes::Votes;

use crate::decree::{Decree, Heard};
use crate::faults::{Correct, Faults};
use crate::matchmaker_paxos as paxos;
use crate::matchmaking::{Configuration, Round};
use crate::state_machine::Data;
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Command, Id, Out};
use std::borrow::Cow;
use std::sync::Arc;

pub use paxos::{Storage, Timer};

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Msg<V> {
    /// What is said in Matchmaker Paxos too, with the same meaning; and `Propose`, which clients say to acceptors as well.
    Paxos(paxos::Msg<V>),
    /// Proposer to acceptor, in place of a `Phase2a` that names a value: vote for the first one that a client sends you.
    Any {
        /// The proposer's round.
        round: Round,
    },
    /// Acceptor to the proposer of the round, and to a client: this is what I have voted for.
    Phase2b {
        /// The round.
        round: Round,
        /// The value.
        value: V,
    },
}

/// The rules that a mutant may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// A proposer says "any" although phase 1 has found one value.
    AnyAfterVote,
    /// A value counts as chosen when all acceptors but one have voted for it.
    ChosenWithoutOne,
    /// An acceptor votes again in a round, for what another client sends.
    VoteAgain,
    /// An acceptor that was told "any" in one round votes for any value in later rounds as well.
    AnyForEver,
    /// A proposer leaves out phase 1 after a round in which it has said "any".
    BypassFastRound,
    /// A proposer takes the values of the lowest vote round.
    LowestVote,
    /// A proposer ends matching one answer early.
    MatchQuorumShort,
    /// Phase 1 asks only the newest returned configuration.
    OnlyNewestConfiguration,
    /// An acceptor votes in a round below the one it promised.
    AcceptLowerRound,
    /// An acceptor answers phase 1 without raising its round.
    NoPromise,
    /// A proposer collects as soon as somebody voted in its round.
    CollectOnVote,
    /// A proposer collects when phase 1 is over, whatever that has found.
    CollectAfterPhase1,
    /// An acceptor does not save.
    AcceptorForgets,
    /// A matchmaker does not save.
    MatchmakerForgets,
    /// A proposer does not save.
    ProposerForgets,
    /// A proposer whose acceptors are divided waits for ever.
    NoRecovery,
    /// A proposer does not tell its clients what is chosen.
    SilentProposer,
}

/// The faults of matchmakers, as far as a mutant of this protocol has any.
#[derive(Clone, Copy, Debug)]
pub struct Shared<F>(pub F);

impl<F: Faults<Mutant>> Faults<paxos::Mutant> for Shared<F> {
    fn breaks(self, rule: paxos::Mutant) -> bool {
        rule == paxos::Mutant::MatchmakerForgets && self.0.breaks(Mutant::MatchmakerForgets)
    }
}

/// What all participants know.
#[derive(Clone, Debug)]
pub struct Config<F = Correct> {
    /// What matchmakers know as well; how many there are of each role. There are no replicas.
    pub paxos: Arc<paxos::Config<Shared<F>>>,
    /// For each proposer the acceptors of its rounds, in turn: at least one set, of `f + 1`. All of them write, any one reads.
    pub acceptors: Vec<Vec<NodeSet>>,
    /// Whether a proposer whose phase 1 has found divided votes proposes one of the values, rather than say "any" again.
    pub settle: bool,
    /// Which rules are broken.
    pub faults: F,
}

impl<F: Faults<Mutant>> Config<F> {
    /// The acceptors of a round; none if no proposer owns it.
    pub fn acceptors(&self, round: Round) -> NodeSet {
        let own = usize::try_from(round.proposer).ok().and_then(|owner| self.acceptors.get(owner));
        let turn = own.and_then(|own| round.age().checked_rem(own.len() as u64));
        let turn = turn.and_then(|turn| usize::try_from(turn).ok());
        own.zip(turn).and_then(|(own, turn)| own.get(turn)).copied().unwrap_or_default()
    }

    /// The configuration of a round.
    pub fn configuration(&self, round: Round) -> Configuration {
        Configuration::UnanimousWrites(self.acceptors(round))
    }

    /// The proposer that owns a round.
    pub fn owner(&self, round: Round) -> Option<Id> {
        let owner = usize::try_from(round.proposer).ok().filter(|owner| *owner < self.paxos.proposers);
        owner.map(|owner| self.paxos.id(paxos::Role::Proposer(owner)))
    }

    fn breaks(&self, rule: Mutant) -> bool {
        self.faults.breaks(rule)
    }
}

/// A participant.
#[derive(Clone, Debug)]
pub enum Node<V, F = Correct> {
    /// A proposer, the coordinator of its rounds.
    Proposer(FastProposer<F>),
    /// A matchmaker.
    Matchmaker(paxos::Matchmaker<Shared<F>>),
    /// An acceptor.
    Acceptor(FastAcceptor<F>),
    /// A client.
    Client(FastClient<V, F>),
}

/// A participant's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State<V> {
    /// A proposer's.
    Proposer(FastState<V>),
    /// A matchmaker's.
    Matchmaker(paxos::State<V>),
    /// An acceptor's.
    Acceptor(FastAcceptorState<V>),
    /// A client's.
    Client(FastClientState<V>),
}

impl<V: Data, F: Faults<Mutant>> Actor for Node<V, F> {
    type Msg = Msg<V>;
    type Timer = Timer;
    type State = State<V>;
    type Storage = Storage<V>;
    type Random = ();

    fn on_start(&self, id: Id, storage: &Option<Storage<V>>, out: &mut Out<Self>) -> State<V> {
        match (self, storage) {
            (Self::Proposer(proposer), Some(Storage::Proposer(used))) => {
                State::Proposer(proposer.start(Some(*used), out))
            }
            (Self::Proposer(proposer), _) => State::Proposer(proposer.start(None, out)),
            (Self::Matchmaker(matchmaker), storage) => {
                let server = paxos::Node::Matchmaker(matchmaker.clone());
                State::Matchmaker(server.on_start(id, storage, &mut Out::new()))
            }
            (Self::Acceptor(_), Some(Storage::Acceptor(saved))) => {
                State::Acceptor(FastAcceptorState::after(saved.clone()))
            }
            (Self::Acceptor(_), _) => {
                State::Acceptor(FastAcceptorState::after(paxos::AcceptorState::default()))
            }
            (Self::Client(client), _) => State::Client(client.start(out)),
        }
    }

    fn on_msg(&self, id: Id, state: &mut Cow<'_, State<V>>, src: Id, msg: Msg<V>, out: &mut Out<Self>) {
        match (self, &**state, msg) {
            (Self::Proposer(proposer), State::Proposer(now), msg) if !proposer.ignores(now, src, &msg) => {
                let State::Proposer(state) = state.to_mut() else { return };
                proposer.on_msg(state, src, msg, out);
            }
            (Self::Matchmaker(matchmaker), State::Matchmaker(now), Msg::Paxos(msg)) => {
                let server = paxos::Node::Matchmaker(matchmaker.clone());
                let (mut after, mut said) = (Cow::Borrowed(now), Out::new());
                server.on_msg(id, &mut after, src, msg, &mut said);
                if let Cow::Owned(after) = after {
                    *state = Cow::Owned(State::Matchmaker(after));
                }
                say(said, out);
            }
            (Self::Acceptor(acceptor), State::Acceptor(now), msg) if !acceptor.ignores(now, &msg) => {
                let State::Acceptor(state) = state.to_mut() else { return };
                acceptor.on_msg(state, src, msg, out);
            }
            (Self::Client(client), State::Client(now), msg) if !client.ignores(now, src, &msg) => {
                let State::Client(state) = state.to_mut() else { return };
                client.on_msg(state, src, msg, out);
            }
            _ => {}
        }
    }

    fn on_timeout(&self, _: Id, state: &mut Cow<'_, State<V>>, timer: &Timer, out: &mut Out<Self>) {
        match (self, timer, &**state) {
            (Self::Proposer(proposer), Timer::Resend, State::Proposer(now)) if !proposer.rests(now) => {
                let State::Proposer(state) = state.to_mut() else { return };
                proposer.on_resend(state, out);
            }
            (Self::Client(client), Timer::Retry, State::Client(now)) if !client.rests(now) => {
                let State::Client(state) = state.to_mut() else { return };
                client.on_retry(state, out);
            }
            _ => {}
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Proposer(proposer) => format!("proposer {}", proposer.index),
            Self::Matchmaker(_) => "matchmaker".into(),
            Self::Acceptor(_) => "acceptor".into(),
            Self::Client(_) => "client".into(),
        }
    }
}

/// Passes on what a matchmaker asks for; it sets no timers.
fn say<V: Data, F: Faults<Mutant>>(said: Out<paxos::Node<V, Shared<F>>>, out: &mut Out<Node<V, F>>) {
    for command in said {
        match command {
            Command::Send(to, msg) => out.send(to, Msg::Paxos(msg)),
            Command::Save(storage) => out.save(storage),
            Command::SetTimer(..) | Command::CancelTimer(_) | Command::ChooseRandom(..) => {}
        }
    }
}

impl<V: Data, F: Faults<Mutant>> Decree<V> for Node<V, F> {
    const RETRY: Timer = Timer::Retry;

    fn propose(value: V) -> Msg<V> {
        Msg::Paxos(paxos::Msg::Propose(value))
    }

    fn invoke(value: V) -> Msg<V> {
        Msg::Paxos(paxos::Msg::Invoke(value))
    }

    fn chosen(value: V) -> Msg<V> {
        Msg::Paxos(paxos::Msg::Chosen(value))
    }

    fn heard(msg: &Msg<V>) -> Option<Heard<'_, V>> {
        match msg {
            Msg::Paxos(paxos::Msg::Chosen(value)) => Some(Heard::Chosen(value)),
            Msg::Paxos(paxos::Msg::Invoke(value)) => Some(Heard::Invoke(value)),
            _ => None,
        }
    }
}
