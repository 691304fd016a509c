//! The matchmakers alone: how one set of them takes the place of another while proposers match rounds.
//!
//! Matchmakers are asked once in a while, when a round begins, so they may be stopped while others take over. What has to be
//! true is that this is not noticed: of two rounds that were ever matched, in whatever epochs, the larger one is told of the
//! smaller one, unless that is retired. Everything that [`crate::matchmaker_paxos`] and its relatives rest on follows from
//! that, so it is checked here, without acceptors and logs. (Whittaker et al., "Matchmaker Paxos: A Reconfigurable Consensus
//! Protocol", section 6.)
//!
//! Proposers match rounds, with something that is noted for each, and perhaps retire what is below. Reconfigurers replace
//! epochs ([`crate::matchmaking::Change`] says how and why). [`crate::matchmaker_multipaxos`] has the same matchmakers; its
//! servers are both proposers and reconfigurers.

mod proposer;
mod reconfigurer;

pub use proposer::{Phase, Proposer, ProposerState};
pub use reconfigurer::{Reconfigurer, ReconfigurerState};

use crate::faults::{Correct, Faults};
use crate::matchmaking::{self, Ask, Broken, Epoch, EpochRule, Round, Rule, Said};
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What is noted for a round; elsewhere its acceptors and quorums.
pub type Noted = u64;
/// A matchmaker's state, all of which it saves.
pub type MatchmakerNode = matchmaking::MatchmakerNode<Noted>;
/// A change of matchmakers under way.
pub type Change = matchmaking::Change<Noted>;
/// The answers so far to the announcement of a round.
pub type Matching = matchmaking::Matching<Noted>;

/// The roles of participants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Proposer number so and so.
    Proposer(usize),
    /// Reconfigurer number so and so.
    Reconfigurer(usize),
    /// Matchmaker number so and so.
    Matchmaker(usize),
}

/// What all participants know.
#[derive(Clone, Debug)]
pub struct Config<F = Correct> {
    /// The number of proposers: indices from 0.
    pub proposers: usize,
    /// The number of reconfigurers: indices after the proposers.
    pub reconfigurers: usize,
    /// The number of matchmakers, those that no epoch uses yet included: indices after the reconfigurers.
    pub matchmakers: usize,
    /// The first epoch.
    pub first: Epoch,
    /// The most that a matchmaker notes.
    pub log_max: usize,
    /// Whether proposers retire what is below a round that they have matched.
    pub collect: bool,
    /// Whether matchmakers say that a round is too small.
    pub nack: bool,
    /// When participants send again, or try again; never if none.
    pub resend: Option<Range<Duration>>,
    /// Which rules are broken.
    pub faults: F,
}

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Msg {
    /// To a matchmaker.
    Ask(Ask<Noted>),
    /// From a matchmaker.
    Said(Said<Noted>),
    /// Reconfigurer to proposer: this epoch is chosen.
    Chosen(Epoch),
}

/// What sets a participant in motion when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// A proposer begins another round.
    Begin,
    /// A proposer asks again.
    Resend,
    /// A reconfigurer asks again, loses patience, or tries a higher ballot.
    Retry,
}

/// The rules that a mutant may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// A proposer ends matching one answer early.
    MatchQuorumShort,
    /// A proposer adds answers of two epochs up.
    CombineEpochs,
    /// A proposer adds confirmations of two epochs up.
    CombineConfirmations,
    /// A stopped matchmaker still notes rounds.
    AnswerStopped,
    /// A stopped matchmaker still retires.
    RetireStopped,
    /// A reconfigurer goes on when one too few have stopped.
    StopQuorumShort,
    /// The next epoch is told what one of those that stopped had noted.
    OneLog,
    /// The next epoch is told what all of those that stopped had noted.
    CommonLog,
    /// The next epoch is told the smallest watermark.
    LowestWatermark,
    /// A matchmaker that serves takes over a log that arrives.
    OverwriteServing,
    /// A matchmaker that has no log answers as if it were empty.
    AnswerWithoutLog,
    /// A reconfigurer does not have its set voted on.
    SkipVote,
    /// A reconfigurer proposes its own set whatever was voted for.
    IgnoreVotes,
    /// A reconfigurer announces a set that is not chosen yet.
    AnnounceUnchosen,
    /// A matchmaker votes in a ballot below the one that it promised.
    VoteBelowPromise,
    /// A reconfigurer tells nobody what is chosen.
    SilentReconfigurer,
    /// A matchmaker does not save.
    MatchmakerForgets,
    /// A reconfigurer does not save which ballots it has used.
    ReconfigurerForgets,
}

/// The rules that are broken, as [`crate::matchmaking`] asks for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<F>(F);

impl<F: Faults<Mutant>> Broken for Rules<F> {
    /// What may be wrong with a log is checked in [`crate::matchmaker_paxos`].
    fn rule(&self, _: Rule) -> bool {
        false
    }

    fn epoch_rule(&self, rule: EpochRule) -> bool {
        self.0.breaks(match rule {
            EpochRule::StoppedNotesNothing => Mutant::AnswerStopped,
            EpochRule::StoppedRetiresNothing => Mutant::RetireStopped,
            EpochRule::StopQuorum => Mutant::StopQuorumShort,
            EpochRule::UniteLogs => Mutant::OneLog,
            EpochRule::KeepWhatOneHas => Mutant::CommonLog,
            EpochRule::LargestWatermark => Mutant::LowestWatermark,
            EpochRule::BootstrapOnce => Mutant::OverwriteServing,
            EpochRule::SilentWithoutLog => Mutant::AnswerWithoutLog,
            EpochRule::VoteOnSuccessor => Mutant::SkipVote,
            EpochRule::ProposeWhatWasVoted => Mutant::IgnoreVotes,
            EpochRule::PromiseBallot => Mutant::VoteBelowPromise,
        })
    }
}

impl<F> Config<F> {
    /// The role of a participant; none for strangers.
    pub fn role(&self, id: Id) -> Option<Role> {
        let number = usize::from(id);
        let matchmakers = self.proposers + self.reconfigurers;
        match number {
            _ if number < self.proposers => Some(Role::Proposer(number)),
            _ if number < matchmakers => Some(Role::Reconfigurer(number - self.proposers)),
            _ if number < matchmakers + self.matchmakers => Some(Role::Matchmaker(number - matchmakers)),
            _ => None,
        }
    }

    /// The id of a participant.
    pub fn id(&self, role: Role) -> Id {
        Id::from(match role {
            Role::Proposer(number) => number,
            Role::Reconfigurer(number) => self.proposers + number,
            Role::Matchmaker(number) => self.proposers + self.reconfigurers + number,
        })
    }
}

impl<F: Faults<Mutant>> Config<F> {
    pub(crate) fn breaks(&self, rule: Mutant) -> bool {
        self.faults.breaks(rule)
    }

    pub(crate) fn rules(&self) -> Rules<F> {
        Rules(self.faults)
    }

    /// Asks these matchmakers.
    fn ask(&self, numbers: NodeSet, ask: &Ask<Noted>, out: &mut Out<Node<F>>) {
        for number in numbers.iter() {
            out.send(self.id(Role::Matchmaker(number)), Msg::Ask(ask.clone()));
        }
    }

    fn set_timer(&self, timer: Timer, out: &mut Out<Node<F>>) {
        if let Some(after) = &self.resend {
            out.set_timer(timer, after.clone());
        }
    }
}

/// A participant.
#[derive(Clone, Debug)]
pub enum Node<F = Correct> {
    /// A proposer.
    Proposer(Proposer<F>),
    /// A reconfigurer.
    Reconfigurer(Reconfigurer<F>),
    /// A matchmaker, with its number.
    Matchmaker(usize, Arc<Config<F>>),
}

/// A participant's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// A proposer's.
    Proposer(ProposerState),
    /// A reconfigurer's.
    Reconfigurer(ReconfigurerState),
    /// A matchmaker's.
    Matchmaker(MatchmakerNode),
}

/// What a participant saves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "there are as many as nodes")]
pub enum Storage {
    /// The largest round that a proposer has used.
    Proposer(Round),
    /// The largest ballot that a reconfigurer has used.
    Reconfigurer(Round),
    /// All that a matchmaker knows.
    Matchmaker(MatchmakerNode),
}

impl<F: Faults<Mutant>> Actor for Node<F> {
    type Msg = Msg;
    type Timer = Timer;
    type State = State;
    type Storage = Storage;
    type Random = ();

    fn on_start(&self, _: Id, storage: &Option<Storage>, out: &mut Out<Self>) -> State {
        match (self, storage) {
            (Self::Proposer(proposer), storage) => {
                let used = storage.as_ref().and_then(|storage| match storage {
                    Storage::Proposer(used) => Some(*used),
                    _ => None,
                });
                State::Proposer(proposer.start(used, out))
            }
            (Self::Reconfigurer(reconfigurer), storage) => {
                let used = storage.as_ref().and_then(|storage| match storage {
                    Storage::Reconfigurer(used) => Some(*used),
                    _ => None,
                });
                State::Reconfigurer(reconfigurer.start(used, out))
            }
            (Self::Matchmaker(..), Some(Storage::Matchmaker(saved))) => State::Matchmaker(saved.clone()),
            (Self::Matchmaker(me, config), _) => State::Matchmaker(MatchmakerNode::new(config.first, *me)),
        }
    }

    fn on_msg(&self, _: Id, state: &mut Cow<'_, State>, src: Id, msg: Msg, out: &mut Out<Self>) {
        match (self, &**state, msg) {
            (Self::Proposer(proposer), State::Proposer(now), msg) if !proposer.ignores(now, src, &msg) => {
                if let State::Proposer(state) = state.to_mut() {
                    proposer.on_msg(state, src, msg, out);
                }
            }
            (Self::Reconfigurer(one), State::Reconfigurer(now), Msg::Said(said)) => {
                let Some(Role::Matchmaker(number)) = one.config.role(src) else { return };
                if Reconfigurer::<F>::ignores(now, number, &said) {
                    return;
                }
                if let State::Reconfigurer(state) = state.to_mut() {
                    one.on_said(state, number, said, out);
                }
            }
            (Self::Matchmaker(me, config), State::Matchmaker(now), Msg::Ask(ask)) => {
                let mut after = now.clone();
                let (changed, said) = after.on(*me, ask, config.log_max, config.rules());
                if changed {
                    if !config.breaks(Mutant::MatchmakerForgets) {
                        out.save(Storage::Matchmaker(after.clone()));
                    }
                    *state = Cow::Owned(State::Matchmaker(after));
                }
                match said {
                    Some(Said::Nack { .. }) if !config.nack => {}
                    Some(said) => out.send(src, Msg::Said(said)),
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn on_timeout(&self, _: Id, state: &mut Cow<'_, State>, timer: &Timer, out: &mut Out<Self>) {
        match (self, state.to_mut()) {
            (Self::Proposer(proposer), State::Proposer(state)) => proposer.on_timeout(state, *timer, out),
            (Self::Reconfigurer(one), State::Reconfigurer(state)) => one.on_timeout(state, out),
            _ => {}
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Proposer(proposer) => format!("proposer {}", proposer.index),
            Self::Reconfigurer(reconfigurer) => format!("reconfigurer {}", reconfigurer.index),
            Self::Matchmaker(me, _) => format!("matchmaker {me}"),
        }
    }
}
