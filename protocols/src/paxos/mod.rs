//! Single-decree Paxos: proposers and acceptors choose one value, for ever.
//!
//! Rounds are numbered and each belongs to one proposer. In *phase 1* a proposer asks a read quorum of acceptors to
//! promise that they ignore smaller rounds, and learns what they voted for. In *phase 2* it proposes the value with the
//! highest vote round that it heard of, or its own if it heard of none, and a value for which a write quorum votes in one
//! round is *chosen*.
//!
//! # Why at most one value is chosen
//!
//! Let `v` be proposed in round `i`. Then no other value was or will be chosen in a round `j < i`: the read quorum of
//! round `i` meets every write quorum in an acceptor that had voted in `j` before its promise, or never will. Let `k` be
//! the highest vote round that was reported. For `j > k` nobody in the read quorum voted in `j`; for `j = k` only `v` was
//! proposed in `k`, as a round has one owner who proposes one value in it; for `j < k` the claim holds of `k` by
//! induction, whose value is `v`. Everything rests on one proposal per round: a proposer saves a round before it uses it
//! and never uses it again after a restart.
//!
//! # Departures from the paper
//!
//! (Compartmentalization paper, section 2.) Here a proposer sends everything again until it is answered, an acceptor
//! tells a proposer of a stale round which round it promised ([`Msg::Nack`]), a proposer that was overtaken waits before
//! it tries a higher round, and clients ask the next proposer when no answer comes. Acceptors and proposers save what a
//! restart must not forget. Phase 1 is answered also in the round that is promised already, which makes a repeated
//! question harmless.

mod acceptor;
mod proposer;

pub use crate::decree::{DecreeClient as PaxosClient, DecreeClientState as PaxosClientState};
pub use acceptor::{Acceptor, AcceptorState, Vote};
pub use proposer::{Phase, Proposer, ProposerState};

use crate::decree::{Decree, Heard};
use crate::durable::{Durable, Mismatch};
use crate::faults::{Correct, Faults};
use crate::ids::Round;
use crate::state_machine::Data;
use parthood_quorums::QuorumSystem;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Msg<V> {
    /// Client to proposer: please get this chosen.
    Propose(V),
    /// Proposer to acceptor: promise to ignore smaller rounds, and say what you voted for.
    Phase1a {
        /// The proposer's round.
        round: Round,
    },
    /// Acceptor to proposer: promised.
    Phase1b {
        /// The promised round.
        round: Round,
        /// The acceptor's last vote.
        vote: Option<Vote<V>>,
    },
    /// Proposer to acceptor: vote for this.
    Phase2a {
        /// The proposer's round.
        round: Round,
        /// The value.
        value: V,
    },
    /// Acceptor to proposer: voted.
    Phase2b {
        /// The round voted in.
        round: Round,
    },
    /// Acceptor to proposer: your round is too small.
    Nack {
        /// The round that the acceptor promised.
        round: Round,
    },
    /// Proposer to client: this value is chosen.
    Chosen(V),
    /// Application to client: please get this chosen.
    Invoke(V),
}

/// What sets a participant in motion when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// A proposer sends again, or tries a higher round if it was overtaken.
    Resend,
    /// A client asks the next proposer.
    Retry,
}

/// The rules that a mutant may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// An acceptor votes in a round below the one it promised.
    AcceptLowerRound,
    /// An acceptor answers phase 1 without raising its round.
    NoPromise,
    /// A proposer proposes its own value although phase 1 reported a vote.
    OwnValue,
    /// A proposer takes the reported vote with the lowest round.
    LowestVote,
    /// A proposer ends phase 1 one acceptor early.
    ReadQuorumShort,
    /// A proposer calls a value chosen one vote early.
    WriteQuorumShort,
    /// A proposer counts votes of any round.
    CountForeignVotes,
    /// A proposer uses rounds that it does not own.
    SharedRounds,
    /// An acceptor does not save.
    AcceptorForgets,
    /// A proposer does not save.
    ProposerForgets,
    /// The owner of round zero skips phase 1 in every round.
    AlwaysSkipPhase1,
    /// An acceptor that promised a higher round meanwhile still answers phase 1 of a lower one.
    AnswerStalePhase1,
}

/// What all participants know.
#[derive(Clone, Debug)]
pub struct Config<F = Correct> {
    /// The number of proposers: indices `0..proposers`.
    pub proposers: usize,
    /// The number of acceptors: indices from `proposers` on.
    pub acceptors: usize,
    /// The quorums, over acceptors numbered from 0.
    pub quorums: Arc<dyn QuorumSystem>,
    /// No proposer goes beyond this round; a bound for models.
    pub round_max: Round,
    /// Whether proposers send again; a bound for models whose network counts messages.
    pub resend: bool,
    /// Whether acceptors say that a round is too small; without it a proposer only finds out by silence.
    pub nack: bool,
    /// After how long a proposer sends again.
    pub resend_after: Range<Duration>,
    /// Which rules are broken.
    pub faults: F,
}

impl<F> Config<F> {
    /// The ids of the acceptors.
    pub fn acceptor_ids(&self) -> impl Iterator<Item = Id> + use<F> {
        (self.proposers..self.proposers + self.acceptors).map(Id::from)
    }

    /// The number of an acceptor in the quorum system; none if the id is no acceptor's.
    pub fn acceptor_index(&self, id: Id) -> Option<usize> {
        usize::from(id).checked_sub(self.proposers).filter(|index| *index < self.acceptors)
    }
}

/// A participant.
#[derive(Clone, Debug)]
pub enum Node<V, F = Correct> {
    /// A proposer.
    Proposer(Proposer<F>),
    /// An acceptor.
    Acceptor(Acceptor<F>),
    /// A client.
    Client(PaxosClient<V>),
}

/// A participant's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State<V> {
    /// A proposer's.
    Proposer(ProposerState<V>),
    /// An acceptor's.
    Acceptor(AcceptorState<V>),
    /// A client's.
    Client(PaxosClientState<V>),
}

/// What a participant saves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Storage<V> {
    /// The largest round that a proposer has used.
    Proposer(Round),
    /// All that an acceptor knows.
    Acceptor(AcceptorState<V>),
}

/// The storage is small: it is written whole.
impl<V: Data> Durable for Storage<V> {
    type Delta = Self;

    fn delta(&self, _: Option<&Self>) -> Self {
        self.clone()
    }

    fn patched(_: Option<Self>, delta: Self) -> Result<Self, Mismatch> {
        Ok(delta)
    }
}

impl<V: Data, F: Faults<Mutant>> Actor for Node<V, F> {
    type Msg = Msg<V>;
    type Timer = Timer;
    type State = State<V>;
    type Storage = Storage<V>;
    type Random = ();

    fn on_start(&self, _: Id, storage: &Option<Storage<V>>, out: &mut Out<Self>) -> State<V> {
        match (self, storage) {
            (Self::Proposer(_), Some(Storage::Proposer(used))) => {
                State::Proposer(ProposerState::after(Some(*used)))
            }
            (Self::Proposer(_), _) => State::Proposer(ProposerState::after(None)),
            (Self::Acceptor(_), Some(Storage::Acceptor(saved))) => State::Acceptor(saved.clone()),
            (Self::Acceptor(_), _) => State::Acceptor(AcceptorState::default()),
            (Self::Client(client), _) => State::Client(client.start(out)),
        }
    }

    fn on_msg(&self, _: Id, state: &mut Cow<'_, State<V>>, src: Id, msg: Msg<V>, out: &mut Out<Self>) {
        if self.ignores(state, src, &msg) {
            return;
        }
        match (self, state.to_mut()) {
            (Self::Proposer(proposer), State::Proposer(state)) => proposer.on_msg(state, src, msg, out),
            (Self::Acceptor(acceptor), State::Acceptor(state)) => acceptor.on_msg(state, src, msg, out),
            (Self::Client(client), State::Client(state)) => {
                if let Some(heard) = Self::heard(&msg) {
                    client.hear(state, &heard, out);
                }
            }
            _ => {}
        }
    }

    fn on_timeout(&self, _: Id, state: &mut Cow<'_, State<V>>, timer: &Timer, out: &mut Out<Self>) {
        match (self, timer) {
            (Self::Proposer(proposer), Timer::Resend) => proposer.on_resend(state, out),
            (Self::Client(client), Timer::Retry) => {
                if matches!(&**state, State::Client(now) if client.rests(now)) {
                    return;
                }
                let State::Client(state) = state.to_mut() else { return };
                client.on_retry(state, out);
            }
            _ => {}
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Proposer(proposer) => format!("proposer {}", proposer.index),
            Self::Acceptor(_) => "acceptor".into(),
            Self::Client(_) => "client".into(),
        }
    }
}

impl<V: Data, F: Faults<Mutant>> Node<V, F> {
    /// Would the participant, in this state, do nothing about the message?
    fn ignores(&self, state: &State<V>, src: Id, msg: &Msg<V>) -> bool {
        match (self, state) {
            (Self::Proposer(proposer), State::Proposer(state)) => proposer.ignores(state, src, msg),
            (Self::Acceptor(acceptor), State::Acceptor(state)) => acceptor.ignores(state, msg),
            (Self::Client(client), State::Client(state)) => {
                Self::heard(msg).is_none_or(|heard| client.ignores(state, src, &heard))
            }
            _ => true,
        }
    }
}

impl<V: Data, F: Faults<Mutant>> Decree<V> for Node<V, F> {
    const RETRY: Timer = Timer::Retry;

    fn propose(value: V) -> Msg<V> {
        Msg::Propose(value)
    }

    fn invoke(value: V) -> Msg<V> {
        Msg::Invoke(value)
    }

    fn chosen(value: V) -> Msg<V> {
        Msg::Chosen(value)
    }

    fn heard(msg: &Msg<V>) -> Option<Heard<'_, V>> {
        match msg {
            Msg::Chosen(value) => Some(Heard::Chosen(value)),
            Msg::Invoke(value) => Some(Heard::Invoke(value)),
            _ => None,
        }
    }
}
