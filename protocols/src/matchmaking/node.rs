//! A matchmaker that may serve in many epochs, one after the other.
//!
//! It knows one epoch, the newest that was chosen as far as it has heard. If it is a member and was given a log, it serves:
//! it notes rounds and retires them. To stop is to promise a ballot on who follows; from then on its log is frozen and it
//! answers nobody. What it is given for the epoch after that it keeps, and says nothing about it before somebody who knows
//! tells it that the epoch was chosen. Older epochs it forgets: whoever asks about one is told of the newest.
//!
//! Logs that several reconfigurers hand over for one epoch are united. Each holds all rounds that were ever matched, or a
//! watermark above them, and so does the union. A matchmaker that serves takes nothing over any more. One that missed its
//! log may get it late: it then is like one that has heard nothing so far.

use super::{Age, Answer, Ask, Configuration, Epoch, EpochRule, MatchmakerState, Round, Rule, Said};
use crate::durable::{Durable, Mismatch};
use crate::faults::Correct;
use crate::state_machine::Data;
use parthood_quorums::NodeSet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A matchmaker's state, all of which it saves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MatchmakerNode<C: Clone = Configuration> {
    /// The newest epoch that it knows to be chosen.
    pub newest: Epoch,
    /// What it has noted in that epoch, if it is a member and was given the log.
    pub log: Option<MatchmakerState<C>>,
    /// What it has promised and voted on who follows; once it has, it is stopped.
    pub successor: Option<Successor>,
    /// The log of the next epoch, should it be a member.
    pub pending: Option<MatchmakerState<C>>,
}

/// What a stopped matchmaker has promised, and voted, on the next epoch's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Successor {
    /// Smaller ballots are refused.
    pub promised: Round,
    /// The last vote.
    pub vote: Option<(Round, NodeSet)>,
}

/// Which rules are broken.
pub trait Broken: Copy {
    /// Is this rule of logs broken?
    fn rule(&self, rule: Rule) -> bool;
    /// Is this rule of epochs broken?
    fn epoch_rule(&self, rule: EpochRule) -> bool;
}

impl Broken for Correct {
    fn rule(&self, _: Rule) -> bool {
        false
    }

    fn epoch_rule(&self, _: EpochRule) -> bool {
        false
    }
}

impl<C: Clone + PartialEq> MatchmakerNode<C> {
    /// Matchmaker number `me` at the beginning of the first epoch.
    pub fn new(first: Epoch, me: usize) -> Self {
        let log = first.members.contains(me).then(MatchmakerState::default);
        Self { newest: first, log, successor: None, pending: None }
    }

    /// Does it note rounds?
    pub fn serves(&self) -> bool {
        self.log.is_some() && self.successor.is_none()
    }

    /// Handles a question of whoever may ask, and says whether the state has changed. `entries_max` bounds the log.
    pub fn on(
        &mut self,
        me: usize,
        ask: Ask<C>,
        entries_max: usize,
        broken: impl Broken,
    ) -> (bool, Option<Said<C>>) {
        let before = (self.newest.number, self.successor);
        let named = match &ask {
            Ask::MatchA { epoch, .. }
            | Ask::GarbageA { epoch, .. }
            | Ask::Stop { epoch, .. }
            | Ask::Choose { epoch, .. }
            | Ask::Learn(epoch)
            | Ask::Bootstrap { after: epoch, .. } => *epoch,
        };
        self.learn(named, me);
        let learned = self.newest.number != before.0;
        let (changed, said) = match ask {
            Ask::Learn(_) => (false, self.learned(me)),
            Ask::Bootstrap { after, watermark, collected, log } => {
                let log = MatchmakerState { log: log.into_iter().collect(), watermark, collected };
                self.on_bootstrap(me, after, log, broken)
            }
            _ if named.number < self.newest.number => (false, Some(self.over())),
            Ask::MatchA { round, configuration, .. } => {
                self.on_match_a(round, &configuration, entries_max, broken)
            }
            Ask::GarbageA { round, age, .. } => self.on_garbage_a(round, age, broken),
            Ask::Stop { ballot, .. } => (false, self.on_stop(ballot)),
            Ask::Choose { ballot, members, .. } => (false, self.on_choose(ballot, members, broken)),
        };
        (learned || changed || self.successor != before.1, said)
    }

    /// Takes note of an epoch that was chosen.
    fn learn(&mut self, epoch: Epoch, me: usize) {
        if epoch.number <= self.newest.number {
            return;
        }
        let is_next = self.newest.number.checked_add(1) == Some(epoch.number);
        let pending = self.pending.take().filter(|_| is_next && epoch.members.contains(me));
        *self = Self { newest: epoch, log: pending, successor: None, pending: None };
    }

    /// Does it serve now? Whoever is no member has nothing to say.
    fn learned(&self, me: usize) -> Option<Said<C>> {
        let Epoch { number, members } = self.newest;
        if self.log.is_some() {
            return Some(Said::Learned(number));
        }
        members.contains(me).then_some(Said::Lacks(number))
    }

    fn over(&self) -> Said<C> {
        Said::Over { newest: self.newest, stopped: self.successor.is_some() }
    }

    fn on_match_a(
        &mut self,
        round: Round,
        configuration: &C,
        entries_max: usize,
        broken: impl Broken,
    ) -> (bool, Option<Said<C>>) {
        let epoch = self.newest.number;
        if self.successor.is_some() && !broken.epoch_rule(EpochRule::StoppedNotesNothing) {
            return (false, Some(self.over()));
        }
        if broken.epoch_rule(EpochRule::SilentWithoutLog) && self.log.is_none() {
            self.log = Some(MatchmakerState::default());
        }
        let Some(state) = &mut self.log else { return (false, None) };
        match state.announce(round, configuration, entries_max, |rule| broken.rule(rule)) {
            Answer::Matched { watermark, collected, earlier, is_new } => {
                (is_new, Some(Said::MatchB { epoch, round, watermark, collected, earlier }))
            }
            Answer::Refused(round) => (false, Some(Said::Nack { round })),
            Answer::Full => (false, None),
        }
    }

    fn on_garbage_a(&mut self, round: Round, age: Age, broken: impl Broken) -> (bool, Option<Said<C>>) {
        let epoch = self.newest.number;
        if self.successor.is_some() && !broken.epoch_rule(EpochRule::StoppedRetiresNothing) {
            return (false, Some(self.over()));
        }
        let Some(state) = &mut self.log else { return (false, None) };
        let changed = state.retire(round, age, |rule| broken.rule(rule));
        (changed, Some(Said::GarbageB { epoch, watermark: state.watermark }))
    }

    /// Promises a ballot, and with the first one is stopped.
    fn on_stop(&mut self, ballot: Round) -> Option<Said<C>> {
        let (epoch, state) = (self.newest.number, self.log.as_ref()?);
        let vote = match self.successor {
            Some(Successor { promised, .. }) if ballot < promised => {
                return Some(Said::BallotNack { epoch, ballot: promised });
            }
            Some(Successor { vote, .. }) => vote,
            None => None,
        };
        self.successor = Some(Successor { promised: ballot, vote });
        let log = state.log.iter().map(|(round, configuration)| (*round, configuration.clone())).collect();
        let MatchmakerState { watermark, collected, .. } = *state;
        Some(Said::Stopped { epoch, ballot, watermark, collected, log, vote })
    }

    fn on_choose(&mut self, ballot: Round, members: NodeSet, broken: impl Broken) -> Option<Said<C>> {
        let epoch = self.newest.number;
        self.log.as_ref()?;
        if let Some(Successor { promised, .. }) = self.successor
            && ballot < promised
            && !broken.epoch_rule(EpochRule::PromiseBallot)
        {
            return Some(Said::BallotNack { epoch, ballot: promised });
        }
        self.successor = Some(Successor { promised: ballot, vote: Some((ballot, members)) });
        Some(Said::Chose { epoch, ballot })
    }

    fn on_bootstrap(
        &mut self,
        me: usize,
        after: Epoch,
        log: MatchmakerState<C>,
        broken: impl Broken,
    ) -> (bool, Option<Said<C>>) {
        let again = broken.epoch_rule(EpochRule::BootstrapOnce);
        let place = if after.number == self.newest.number {
            &mut self.pending
        } else if after.number.checked_add(1) == Some(self.newest.number) && self.newest.members.contains(me)
        {
            &mut self.log
        } else {
            return (false, Some(self.over()));
        };
        let changed = match place {
            None => {
                *place = Some(log);
                true
            }
            Some(_) if after.number != self.newest.number => {
                if again {
                    *place = Some(log);
                }
                again
            }
            Some(pending) => {
                let before = pending.clone();
                pending.unite(log);
                *pending != before
            }
        };
        (changed, Some(Said::Bootstrapped { after: after.number }))
    }
}

/// What changed between two saves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "C: Data")]
pub struct NodeDelta<C> {
    newest: Epoch,
    log: LogDelta<C>,
    successor: Option<Successor>,
    pending: LogDelta<C>,
}

/// What changed in a log that there may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "C: Data")]
enum LogDelta<C> {
    /// There is none.
    Absent,
    /// It is this one.
    Whole(super::MatchmakerDelta<C>),
    /// It is the one before, with this difference.
    Changed(super::MatchmakerDelta<C>),
}

impl<C: Data> LogDelta<C> {
    fn between(before: Option<&MatchmakerState<C>>, after: Option<&MatchmakerState<C>>) -> Self {
        match (before, after) {
            (_, None) => Self::Absent,
            (Some(before), Some(after)) => Self::Changed(after.delta(Some(before))),
            (None, Some(after)) => Self::Whole(after.delta(None)),
        }
    }

    fn applied(self, before: Option<MatchmakerState<C>>) -> Result<Option<MatchmakerState<C>>, Mismatch> {
        match self {
            Self::Absent => Ok(None),
            Self::Whole(whole) => MatchmakerState::patched(None, whole).map(Some),
            Self::Changed(change) if before.is_some() => MatchmakerState::patched(before, change).map(Some),
            Self::Changed(_) => Err(Mismatch),
        }
    }
}

impl<C: Data> Durable for MatchmakerNode<C> {
    type Delta = NodeDelta<C>;

    fn delta(&self, before: Option<&Self>) -> NodeDelta<C> {
        let same = before.filter(|before| before.newest == self.newest);
        NodeDelta {
            newest: self.newest,
            log: LogDelta::between(same.and_then(|before| before.log.as_ref()), self.log.as_ref()),
            successor: self.successor,
            pending: LogDelta::between(
                same.and_then(|before| before.pending.as_ref()),
                self.pending.as_ref(),
            ),
        }
    }

    fn patched(before: Option<Self>, delta: NodeDelta<C>) -> Result<Self, Mismatch> {
        let NodeDelta { newest, log, successor, pending } = delta;
        if before.as_ref().is_some_and(|before| newest.number < before.newest.number) {
            return Err(Mismatch);
        }
        let (old_log, old_pending) = match before {
            Some(before) if before.newest == newest => (before.log, before.pending),
            _ => (None, None),
        };
        Ok(Self { newest, log: log.applied(old_log)?, successor, pending: pending.applied(old_pending)? })
    }
}

/// Written as the difference from nothing: what a trace of a recovery holds.
impl<C: Data> Serialize for MatchmakerNode<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.delta(None).serialize(serializer)
    }
}

impl<'de, C: Data> Deserialize<'de> for MatchmakerNode<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::patched(None, NodeDelta::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_patched_by_its_difference_is_the_other_state() {
        let first = Epoch::first(NodeSet::first(3));
        let second = first.followed_by([2, 3, 4].into_iter().collect());
        let round = |term| Round { term, ..Round::ZERO };
        let asked = [
            Ask::MatchA { epoch: first, round: round(1), configuration: 1_u64 },
            Ask::Bootstrap {
                after: first,
                watermark: round(0),
                collected: Age::default(),
                log: vec![(round(1), 1)],
            },
            Ask::Stop { epoch: first, ballot: round(3) },
            Ask::Choose { epoch: first, ballot: round(3), members: second.members },
            Ask::Bootstrap {
                after: first,
                watermark: round(2),
                collected: Age::default(),
                log: vec![(round(2), 2)],
            },
            Ask::Learn(second),
            Ask::MatchA { epoch: second, round: round(5), configuration: 5 },
        ];
        let mut node = MatchmakerNode::new(first, 2);
        let mut states = vec![node.clone()];
        for ask in asked {
            assert!(node.on(2, ask, 9, Correct).0, "{node:?} has changed");
            states.push(node.clone());
        }
        for (at, after) in states.iter().enumerate() {
            for before in &states[..=at] {
                let patched = MatchmakerNode::patched(Some(before.clone()), after.delta(Some(before)));
                assert_eq!(patched.as_ref(), Ok(after));
            }
            assert_eq!(MatchmakerNode::patched(None, after.delta(None)).as_ref(), Ok(after));
        }
        let back = MatchmakerNode::patched(Some(node), states[0].delta(None));
        assert_eq!(back, Err(Mismatch), "epochs only grow");
    }
}
