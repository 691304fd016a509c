//! What is claimed of [`parthood_protocols::matchmaker_epochs`], and the configurations in which it is checked.
//!
//! The ghost keeps what was matched and with what result, who answered what in which epoch, and the votes on who follows.
//! "Matched" and "chosen" are facts about answers and votes, not what somebody believes.
//!
//! # Reductions
//! *Symmetry*: matchmakers that are in the same sets. *Collection*: what its receiver has outgrown.
//!
//! Trusted: this file and its parts. Whoever doubts a verdict should read them first.

mod ghost;
mod properties;

pub use ghost::Ghost;

use crate::{Budget, Class, Hashed, Parts, Property, Protocol, Step};
use parthood_protocols::faults::{Faults, Mutated};
use parthood_protocols::matchmaker_epochs::{
    Config, Msg, Mutant, Node, Phase, Proposer, ProposerState, Reconfigurer, ReconfigurerState, Role, State,
    Timer,
};
use parthood_protocols::matchmaker_paxos::Garbage;
use parthood_protocols::matchmaking::{Changing, Epoch, Said};
use parthood_quorums::NodeSet;
use serde::Deserialize;
use stateright::actor::Id;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A configuration: what the bounds of a row are about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Params {
    /// For each proposer, how many rounds it may use.
    pub proposers: Vec<u64>,
    /// The reconfigurers.
    #[serde(default)]
    pub reconfigurers: Vec<ReconfigurerParams>,
    /// The members of the first epoch, `2f + 1`.
    #[serde(default = "three")]
    pub first: Vec<usize>,
    /// Whether proposers retire what is below what they have matched.
    #[serde(default)]
    pub collect: bool,
    /// Whether matchmakers answer a stale round.
    #[serde(default)]
    pub nack: bool,
    /// Whether participants ask again.
    #[serde(default)]
    pub resend: bool,
    /// Whether in the end every change must be over and everybody who proposes be answered.
    #[serde(default)]
    pub answers: bool,
}

/// A reconfigurer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconfigurerParams {
    /// The sets that it would like to have serve, one after the other.
    pub script: Vec<Vec<usize>>,
    /// How many ballots it may use.
    #[serde(default = "one")]
    pub ballots: u64,
}

fn one() -> u64 {
    1
}

fn three() -> Vec<usize> {
    vec![0, 1, 2]
}

/// The matchmakers alone, in one configuration.
#[derive(Clone, Debug)]
pub struct MatchmakerEpochs<F: Faults<Mutant> = Mutated<Mutant>> {
    config: Arc<Config<F>>,
    proposers: Vec<Proposer<F>>,
    reconfigurers: Vec<Reconfigurer<F>>,
    /// Matchmakers that are in the same sets.
    alike: Vec<Vec<usize>>,
    answers: bool,
}

impl MatchmakerEpochs {
    /// The protocol in a configuration, with at most one rule broken.
    ///
    /// # Errors
    /// What makes no sense about the configuration, in words.
    pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Self, String> {
        let scripts = params.reconfigurers.iter().flat_map(|one| &one.script);
        let sets: Vec<NodeSet> = std::iter::once(&params.first)
            .chain(scripts)
            .map(|members| members.iter().copied().collect())
            .collect();
        let (size, first) = (params.first.len(), sets[0]);
        if size.is_multiple_of(2) || sets.iter().any(|set| set.len() != size) {
            return Err(format!("each set of matchmakers needs 2f + 1 = {size} members, an odd number"));
        }
        let matchmakers = sets.iter().flat_map(|set| set.iter()).max().map_or(0, |last| last + 1);
        let resend = params.resend.then_some(Duration::ZERO..Duration::ZERO);
        let config = Arc::new(Config {
            proposers: params.proposers.len(),
            reconfigurers: params.reconfigurers.len(),
            matchmakers,
            first: Epoch::first(first),
            log_max: 64,
            collect: params.collect,
            nack: params.nack,
            resend,
            faults: Mutated(mutant),
        });
        let proposers = params.proposers.iter().enumerate();
        let reconfigurers = params.reconfigurers.iter().enumerate();
        Ok(Self {
            proposers: proposers
                .map(|(index, rounds_max)| Proposer {
                    index,
                    rounds_max: *rounds_max,
                    config: config.clone(),
                })
                .collect(),
            reconfigurers: reconfigurers
                .map(|(index, one)| Reconfigurer {
                    index,
                    script: one.script.iter().map(|set| set.iter().copied().collect()).collect(),
                    ballots_max: one.ballots,
                    config: config.clone(),
                })
                .collect(),
            alike: alike(&sets, matchmakers),
            answers: params.answers,
            config,
        })
    }
}

/// Groups matchmakers that are in the same sets.
fn alike(sets: &[NodeSet], matchmakers: usize) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<Vec<bool>, Vec<usize>> = BTreeMap::new();
    for number in 0..matchmakers {
        let member = sets.iter().map(|set| set.contains(number)).collect();
        groups.entry(member).or_default().push(number);
    }
    groups.into_values().collect()
}

impl<F: Faults<Mutant>> MatchmakerEpochs<F> {
    fn split_set(&self, what: &str, set: NodeSet, parts: &mut Parts<'_>) {
        for number in set.iter() {
            parts.about(self.config.id(Role::Matchmaker(number)), what);
        }
    }

    fn split_proposer(&self, proposer: &ProposerState, parts: &mut Parts<'_>) {
        let ProposerState { used, heard, epoch, phase, garbage } = proposer;
        parts.rest(&(used, heard, epoch));
        match phase {
            Phase::Idle => parts.rest("idle"),
            Phase::Matching(answers) => {
                parts.rest(&("matching", answers.watermark, &answers.earlier));
                self.split_set("replied", answers.replied, parts);
            }
            Phase::Matched(earlier) => parts.rest(&("matched", earlier)),
        }
        match garbage {
            Garbage::Asked(confirmed) => {
                parts.rest("asked");
                self.split_set("confirmed", *confirmed, parts);
            }
            idle_or_done => parts.rest(idle_or_done),
        }
    }

    fn split_reconfigurer(&self, reconfigurer: &ReconfigurerState, parts: &mut Parts<'_>) {
        let ReconfigurerState { epoch, ballot, change, done } = reconfigurer;
        parts.rest(&(epoch, ballot, done));
        let Some(change) = change else { return parts.rest("rests") };
        parts.rest(&(change.epoch, change.ballot, change.wanted));
        self.split_set("stopped", change.stopped, parts);
        match &change.stage {
            Changing::Stopping { merged, vote } => parts.rest(&("stopping", merged, vote)),
            Changing::Bootstrapping { merged, have } => {
                parts.rest(&("bootstrapping", merged));
                self.split_set("have", *have, parts);
            }
            Changing::Choosing { merged, members, voted } => {
                parts.rest(&("choosing", merged, members));
                self.split_set("voted", *voted, parts);
            }
        }
    }
}

impl<F: Faults<Mutant>> Protocol for MatchmakerEpochs<F> {
    type Actor = Node<F>;
    type Ghost = Ghost;

    fn actors(&self) -> Vec<Self::Actor> {
        let proposers = self.proposers.iter().cloned().map(Node::Proposer);
        let reconfigurers = self.reconfigurers.iter().cloned().map(Node::Reconfigurer);
        let matchmakers =
            (0..self.config.matchmakers).map(|number| Node::Matchmaker(number, self.config.clone()));
        proposers.chain(reconfigurers).chain(matchmakers).collect()
    }

    fn ghost(&self) -> Ghost {
        Ghost::default()
    }

    fn observe(&self, ghost: &mut Cow<'_, Ghost>, step: &Step<'_, Self::Actor>) {
        ghost::observe(&self.config, ghost, step);
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }

    /// A round or ballot that was left is never used again, restarts included; epochs only grow.
    fn dead(&self, _: Id, state: &State, _: Id, msg: &Msg) -> bool {
        match (state, msg) {
            (State::Proposer(proposer), Msg::Said(said)) => {
                let matching = matches!(proposer.phase, Phase::Matching(_));
                match said {
                    Said::MatchB { epoch, round, .. } => {
                        *epoch < proposer.epoch.number
                            || Some(*round) < proposer.used
                            || Some(*round) == proposer.used && !matching
                    }
                    Said::GarbageB { epoch, watermark } => {
                        *epoch < proposer.epoch.number || Some(*watermark) < proposer.used
                    }
                    Said::Nack { round } => Some(*round) <= proposer.heard,
                    Said::Over { newest, .. } => newest.number <= proposer.epoch.number,
                    _ => true,
                }
            }
            (State::Proposer(proposer), Msg::Chosen(epoch)) => epoch.number <= proposer.epoch.number,
            (State::Reconfigurer(one), Msg::Said(said)) => match said {
                Said::Stopped { epoch, ballot, .. } | Said::Chose { epoch, ballot } => {
                    *epoch < one.epoch.number || Some(*ballot) < one.ballot
                }
                Said::Bootstrapped { after } => *after < one.epoch.number,
                Said::BallotNack { epoch, ballot } => {
                    *epoch < one.epoch.number || Some(*ballot) <= one.ballot
                }
                Said::Over { newest, .. } => newest.number <= one.epoch.number,
                _ => true,
            },
            _ => false,
        }
    }

    /// Timers of one kind share a budget, in this order: another round, a proposer asks again, a reconfigurer tries again.
    fn budget(&self, _: Id, timer: &Timer) -> Budget {
        match timer {
            Timer::Begin => Budget::Shared(0),
            Timer::Resend => Budget::Shared(1),
            Timer::Retry => Budget::Shared(2),
        }
    }

    fn classes(&self) -> Vec<Class> {
        let id = |number: &usize| vec![self.config.id(Role::Matchmaker(*number))];
        self.alike.iter().map(|group| group.iter().map(id).collect()).collect()
    }

    fn split_state(&self, _: Id, state: &Hashed<State>, parts: &mut Parts<'_>) {
        match &**state {
            State::Proposer(proposer) => self.split_proposer(proposer, parts),
            State::Reconfigurer(reconfigurer) => self.split_reconfigurer(reconfigurer, parts),
            State::Matchmaker(_) => parts.own(state),
        }
    }

    fn split_ghost(&self, ghost: &Hashed<Ghost>, parts: &mut Parts<'_>) {
        ghost::split(&self.config, ghost, parts);
    }

    fn name(&self, id: Id) -> String {
        match self.config.role(id) {
            Some(Role::Proposer(number)) => format!("proposer {number}"),
            Some(Role::Reconfigurer(number)) => format!("reconfigurer {number}"),
            Some(Role::Matchmaker(number)) => format!("matchmaker {number}"),
            None => "stranger".into(),
        }
    }

    fn role(&self, id: Id) -> &'static str {
        match self.config.role(id) {
            Some(Role::Proposer(_)) => "proposer",
            Some(Role::Reconfigurer(_)) => "reconfigurer",
            Some(Role::Matchmaker(_)) | None => "matchmaker",
        }
    }
}
