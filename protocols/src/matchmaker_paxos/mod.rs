//! Matchmaker Paxos, single decree: one value is chosen for ever, while acceptors come and go.
//!
//! Every round has a [`Configuration`] of its own: acceptors and their quorums. Before a proposer uses round `i` it
//! announces its configuration to the *matchmakers*. `f + 1` of `2f + 1` must answer, each with the configurations that it
//! was told of for smaller rounds. Phase 1 then asks a read quorum of *every* one of these; phase 2 uses the round's own.
//! (Whittaker et al., "Matchmaker Paxos: A Reconfigurable Consensus Protocol".)
//!
//! # Why at most one value is chosen
//!
//! The claim for round `i`: if `v` is proposed in `i`, no other value was or will be chosen in a round `j < i`. Any two
//! sets of `f + 1` matchmakers share one, which answers rounds in ascending order only. So if `j` was matched, either its
//! configuration is among those that `i` asks, and the argument is that of [`crate::paxos`] for each such `j`; or nobody
//! will ever finish matching `j`, and nothing is proposed in it; or `j` was retired.
//!
//! # Garbage collection
//!
//! The owner of `i` may tell the matchmakers to forget what is below `i`, but never `i` itself, if one of these is true:
//!
//! 1. a value was chosen *in round `i`*: a later phase 1 meets its votes. That somebody voted in `i` is not enough; this is
//!    the mistake of `DPaxos` ([`Mutant::CollectOnVote`]);
//! 2. phase 1 of `i` found no vote: nothing was or will be chosen below `i`;
//! 3. a value is chosen, in whatever round, `f + 1` replicas store it, and a write quorum of `i` has noted so. A later phase
//!    1 meets one that has, and takes the value from the replicas instead of proposing.
//!
//! All three are stable, so it does not matter when the order arrives. Once `f + 1` matchmakers have confirmed it, the
//! acceptors of smaller rounds are *retired*: no matching that begins from now on returns them, and they may be switched
//! off. A proposer that had its answers before may still wait for them; it gives up after a while and matches again.
//!
//! # Without phase 1
//!
//! A proposer that goes on from `i` to its immediate successor `i + 1`, as it does when it is to use other acceptors, needs
//! no phase 1 in two cases. If `i` was free, that is, phase 1 found no vote, and nothing was proposed in `i`: nothing can
//! be chosen below `i + 1` either. And if it proposed `x` in `i`, it may propose `x` again: below `i` nothing but `x` can
//! be chosen, and in `i` nothing else was proposed. The latter is ours. What matching is for, then, is that later rounds
//! learn of the configuration. Together with garbage collection this is safe only because matchmakers refuse rounds below
//! their watermark ([`Mutant::AnswerBelowWatermark`]).
//!
//! # Departures from the paper
//!
//! Everything is sent again until it is answered, and answered again when it is repeated: the paper's matchmaker ignores a
//! copy of the largest round, and the authors' implementation refuses it, so that a duplicate ends its own round. An acceptor
//! that was told that a value is persisted does not vote any more. Its answer says that *some* value is chosen and not that
//! it was chosen in this round, so it leads to scenario 3 and not to 1 (the authors' implementation confuses the two:
//! [`Mutant::PersistedIsChosenHere`]). Participants save what a restart must not forget; a restarted proposer has forgotten
//! that it was free, and runs phase 1.

mod acceptor;
mod config;
mod garbage;
mod matchmaker;
mod proposer;
mod replica;

pub use acceptor::{Acceptor, AcceptorState, Vote};
pub use config::{Config, Mutant, Role, Scenarios};
pub use garbage::Garbage;
pub use matchmaker::Matchmaker;
pub use proposer::{Carried, Phase, Proposer, ProposerState};
pub use replica::Replica;

use crate::decree::{Decree, DecreeClient, DecreeClientState, Heard};
use crate::durable::{Durable, Mismatch};
use crate::faults::{Correct, Faults};
use crate::matchmaking::{Configuration, Matched, MatchmakerDelta, MatchmakerState, Round};
use crate::state_machine::Data;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Msg<V> {
    /// Client to proposer: please get this chosen.
    Propose(V),
    /// Proposer to client: this value is chosen.
    Chosen(V),
    /// Application to client: please get this chosen.
    Invoke(V),
    /// Operator to proposer: go on to your next round, with the acceptors whose turn it is.
    Reconfigure,
    /// Proposer to matchmaker: I shall use this configuration in this round.
    MatchA {
        /// The proposer's round.
        round: Round,
        /// The acceptors and quorums of this round.
        configuration: Configuration,
    },
    /// Matchmaker to proposer: noted; these came before.
    MatchB {
        /// The proposer's round.
        round: Round,
        /// What is below is retired.
        watermark: Round,
        /// The configurations of smaller rounds, in ascending order.
        earlier: Vec<Matched>,
    },
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
        /// Whether it knows that a value is chosen and stored by the replicas.
        persisted: bool,
    },
    /// Proposer to acceptor: vote for this.
    Phase2a {
        /// The proposer's round.
        round: Round,
        /// The value.
        value: V,
    },
    /// Acceptor to proposer: voted; or not, since a value is chosen already.
    Phase2b {
        /// The proposer's round.
        round: Round,
        /// Whether it did not vote, because it knows that a value is chosen and stored by the replicas.
        persisted: bool,
    },
    /// Matchmaker or acceptor to proposer: your round is too small.
    Nack {
        /// A round that it must go beyond.
        round: Round,
    },
    /// Proposer to replica: this value is chosen, keep it.
    Store(V),
    /// Replica to proposer: kept.
    Stored,
    /// Proposer to replica: which value is chosen?
    Fetch,
    /// Replica to proposer: this one.
    Fetched(V),
    /// Proposer to acceptor: a value is chosen, and enough replicas keep it.
    Persisted {
        /// The proposer's round.
        round: Round,
    },
    /// Acceptor to proposer: noted.
    PersistedAck {
        /// The proposer's round.
        round: Round,
    },
    /// Proposer to matchmaker: retire what is below this round.
    GarbageA {
        /// The proposer's round.
        round: Round,
    },
    /// Matchmaker to proposer: what is below the watermark is retired.
    GarbageB {
        /// The matchmaker's watermark.
        watermark: Round,
    },
}

/// What sets a participant in motion when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// A proposer sends again, or tries a higher round if it was overtaken or has waited long enough.
    Resend,
    /// A client asks the next proposer.
    Retry,
}

/// Whoever asks for a reconfiguration: once, when it starts.
#[derive(Clone, Copy, Debug)]
pub struct Operator {
    /// Whom it asks.
    pub proposer: Id,
}

/// A participant.
#[derive(Clone, Debug)]
pub enum Node<V, F = Correct> {
    /// A proposer.
    Proposer(Proposer<F>),
    /// A matchmaker.
    Matchmaker(Matchmaker<F>),
    /// An acceptor.
    Acceptor(Acceptor<F>),
    /// A replica.
    Replica(Replica<F>),
    /// A client.
    Client(DecreeClient<V>),
    /// An operator.
    Operator(Operator),
}

/// A participant's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State<V> {
    /// A proposer's.
    Proposer(ProposerState<V>),
    /// A matchmaker's.
    Matchmaker(MatchmakerState),
    /// An acceptor's.
    Acceptor(AcceptorState<V>),
    /// A replica's: the chosen value, if it was told.
    Replica(Option<V>),
    /// A client's.
    Client(DecreeClientState<V>),
    /// An operator's.
    Operator,
}

/// What a participant saves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Storage<V> {
    /// The largest round that a proposer has used.
    Proposer(Round),
    /// All that a matchmaker knows.
    Matchmaker(MatchmakerState),
    /// All that an acceptor knows.
    Acceptor(AcceptorState<V>),
    /// The chosen value.
    Replica(V),
}

/// What changed between two saves. All but the log of a matchmaker is small, and written whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StorageDelta<V> {
    /// A matchmaker's log.
    Matchmaker(MatchmakerDelta),
    /// Anything else.
    Whole(Storage<V>),
}

impl<V: Data> Durable for Storage<V> {
    type Delta = StorageDelta<V>;

    fn delta(&self, before: Option<&Self>) -> StorageDelta<V> {
        let Self::Matchmaker(after) = self else { return StorageDelta::Whole(self.clone()) };
        let before = before.and_then(|before| match before {
            Self::Matchmaker(before) => Some(before),
            _ => None,
        });
        StorageDelta::Matchmaker(after.delta(before))
    }

    fn patched(before: Option<Self>, delta: StorageDelta<V>) -> Result<Self, Mismatch> {
        match (before, delta) {
            (_, StorageDelta::Whole(storage)) => Ok(storage),
            (Some(Self::Matchmaker(before)), StorageDelta::Matchmaker(delta)) => {
                MatchmakerState::patched(Some(before), delta).map(Self::Matchmaker)
            }
            (None, StorageDelta::Matchmaker(delta)) => {
                MatchmakerState::patched(None, delta).map(Self::Matchmaker)
            }
            (Some(_), StorageDelta::Matchmaker(_)) => Err(Mismatch),
        }
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
            (Self::Proposer(proposer), storage) => {
                let used = storage.as_ref().and_then(|storage| match storage {
                    Storage::Proposer(used) => Some(*used),
                    _ => None,
                });
                State::Proposer(proposer.start(used, out))
            }
            (Self::Matchmaker(_), Some(Storage::Matchmaker(saved))) => State::Matchmaker(saved.clone()),
            (Self::Matchmaker(_), _) => State::Matchmaker(MatchmakerState::default()),
            (Self::Acceptor(_), Some(Storage::Acceptor(saved))) => State::Acceptor(saved.clone()),
            (Self::Acceptor(_), _) => State::Acceptor(AcceptorState::default()),
            (Self::Replica(_), Some(Storage::Replica(saved))) => State::Replica(Some(saved.clone())),
            (Self::Replica(_), _) => State::Replica(None),
            (Self::Client(client), _) => State::Client(client.start(out)),
            (Self::Operator(Operator { proposer }), _) => {
                out.send(*proposer, Msg::Reconfigure);
                State::Operator
            }
        }
    }

    fn on_msg(&self, _: Id, state: &mut Cow<'_, State<V>>, src: Id, msg: Msg<V>, out: &mut Out<Self>) {
        if self.ignores(state, src, &msg) {
            return;
        }
        match (self, state.to_mut()) {
            (Self::Proposer(proposer), State::Proposer(state)) => proposer.on_msg(state, src, msg, out),
            (Self::Matchmaker(matchmaker), State::Matchmaker(state)) => {
                matchmaker.on_msg(state, src, msg, out);
            }
            (Self::Acceptor(acceptor), State::Acceptor(state)) => acceptor.on_msg(state, src, msg, out),
            (Self::Replica(replica), State::Replica(state)) => replica.on_msg(state, src, msg, out),
            (Self::Client(client), State::Client(state)) => {
                if let Some(heard) = Self::heard(&msg) {
                    client.hear(state, &heard, out);
                }
            }
            _ => {}
        }
    }

    fn on_timeout(&self, _: Id, state: &mut Cow<'_, State<V>>, timer: &Timer, out: &mut Out<Self>) {
        match (self, timer, &**state) {
            (Self::Proposer(proposer), Timer::Resend, State::Proposer(now)) if !now.rests() => {
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
            Self::Replica(_) => "replica".into(),
            Self::Client(_) => "client".into(),
            Self::Operator(_) => "operator".into(),
        }
    }
}

impl<V: Data, F: Faults<Mutant>> Node<V, F> {
    /// Would the participant, in this state, do nothing about the message?
    fn ignores(&self, state: &State<V>, src: Id, msg: &Msg<V>) -> bool {
        match (self, state) {
            (Self::Proposer(proposer), State::Proposer(state)) => proposer.ignores(state, src, msg),
            (Self::Matchmaker(matchmaker), State::Matchmaker(state)) => matchmaker.ignores(state, msg),
            (Self::Acceptor(acceptor), State::Acceptor(state)) => acceptor.ignores(state, msg),
            (Self::Replica(_), State::Replica(state)) => match msg {
                Msg::Store(_) => false,
                Msg::Fetch => state.is_none(),
                _ => true,
            },
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
