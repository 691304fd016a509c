//! The log of a matchmaker.
//!
//! It accepts rounds in ascending order, and answers each with what it accepted before. So of any two rounds that `f + 1`
//! matchmakers answered, the larger one learns of the smaller one, or the smaller one can no longer be answered.
//!
//! Of several rounds with one configuration the log keeps the largest, and besides it the largest round of all: who asks the
//! acceptors of that configuration about all smaller rounds asks about each of them. (Ours. Without it, leaders that follow
//! each other while no quorum of acceptors is there would fill every matchmaker's log, and nobody could ever lead again.)

use super::{Age, Configuration, Matched, Round};
use crate::durable::{Change, Durable, Mismatch, map_changes, patch_map};
use crate::state_machine::Data;
use im::OrdMap;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A matchmaker's state, all of which it saves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MatchmakerState<C: Clone = Configuration> {
    /// The configurations that were announced, by round.
    pub log: OrdMap<Round, C>,
    /// What was announced for smaller rounds is retired and gone, and smaller rounds are refused.
    pub watermark: Round,
    /// How new the configuration of the watermark's round is. That round was matched: so whoever has announced an older one for
    /// a larger round has learned of the newer one, and proposed nothing.
    pub collected: Age,
}

/// What a matchmaker says to an announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<C = Configuration> {
    /// It is noted.
    Matched {
        /// The matchmaker's watermark.
        watermark: Round,
        /// How new its configuration is.
        collected: Age,
        /// The configurations of smaller rounds, in ascending order.
        earlier: Vec<Matched<C>>,
        /// Whether the log has changed.
        is_new: bool,
    },
    /// It comes too late; the proposer must go beyond this round.
    Refused(Round),
    /// There is no room before something is retired.
    Full,
}

/// What becomes of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    New,
    Known,
    Refused(Round),
    Full,
}

/// Rules of a matchmaker that a mutant may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Refuse rounds below one in the log.
    RefuseBelowLog,
    /// Note a round before answering.
    NoteBeforeAnswer,
    /// Refuse rounds below the watermark.
    RefuseBelowWatermark,
    /// Retire what is below the round that is collected for, and not that round itself.
    KeepCollector,
    /// Raise the watermark when something is retired.
    RaiseWatermark,
    /// Of rounds with one configuration keep the largest.
    KeepLargestOfEqual,
}

impl<C: Clone> Default for MatchmakerState<C> {
    fn default() -> Self {
        Self { log: OrdMap::new(), watermark: Round::ZERO, collected: Age::default() }
    }
}

impl<C: Clone + PartialEq> MatchmakerState<C> {
    /// Notes the configuration of a round and says what was announced below. The largest round is answered again with the
    /// same words, or fewer if something was retired since: a repeated question is harmless.
    pub fn announce(
        &mut self,
        round: Round,
        configuration: &C,
        entries_max: usize,
        breaks: impl Fn(Rule) -> bool,
    ) -> Answer<C> {
        let is_new = match self.judge(round, configuration, entries_max, &breaks) {
            Standing::Refused(largest) => return Answer::Refused(largest),
            Standing::Full => return Answer::Full,
            standing => standing == Standing::New && !breaks(Rule::NoteBeforeAnswer),
        };
        let below = self.log.range(..round);
        let earlier = below.map(|(round, configuration)| (*round, configuration.clone())).collect();
        if is_new {
            self.log.insert(round, configuration.clone());
            self.drop_covered(breaks(Rule::KeepLargestOfEqual));
        }
        Answer::Matched { watermark: self.watermark, collected: self.collected, earlier, is_new }
    }

    /// Drops rounds below the largest for which a larger one below it has the same configuration; or a smaller one.
    fn drop_covered(&mut self, keep_smallest: bool) {
        let Some((largest, _)) = self.log.get_max() else { return };
        let mut kept: Vec<&C> = vec![];
        let mut covered = vec![];
        let mut below: Vec<_> = self.log.range(..*largest).collect();
        if !keep_smallest {
            below.reverse();
        }
        for (round, configuration) in below {
            if kept.contains(&configuration) {
                covered.push(*round);
            } else {
                kept.push(configuration);
            }
        }
        for round in covered {
            self.log.remove(&round);
        }
    }

    /// Does the log hold a round, or a larger one with its configuration, which stands for it?
    pub fn covers(&self, round: Round, configuration: Option<&C>) -> bool {
        self.log.range(round..).any(|(of, noted)| *of == round || Some(noted) == configuration)
    }

    /// Adds what another matchmaker, or several, had noted and retired.
    pub(crate) fn unite(&mut self, other: Self) {
        self.watermark = self.watermark.max(other.watermark);
        self.collected = self.collected.max(other.collected);
        let log = std::mem::take(&mut self.log).union(other.log);
        self.log = log.into_iter().filter(|(round, _)| *round >= self.watermark).collect();
        self.drop_covered(false);
    }

    /// What becomes of an announcement.
    pub(crate) fn judge(
        &self,
        round: Round,
        configuration: &C,
        entries_max: usize,
        breaks: impl Fn(Rule) -> bool,
    ) -> Standing {
        let largest = self.log.get_max();
        let known = largest.is_some_and(|(largest, noted)| *largest == round && noted == configuration);
        let too_late = !known && largest.is_some_and(|(largest, _)| *largest >= round);
        let retired = round < self.watermark;
        if too_late && !breaks(Rule::RefuseBelowLog) || retired && !breaks(Rule::RefuseBelowWatermark) {
            let largest = largest.map(|(largest, _)| *largest).unwrap_or_default();
            Standing::Refused(largest.max(self.watermark))
        } else if known {
            Standing::Known
        } else if self.log.len() >= entries_max && !self.log.values().any(|noted| noted == configuration) {
            Standing::Full
        } else {
            Standing::New
        }
    }

    /// Retires all configurations below a round, but not its own, which is that new; says whether anything changed.
    pub fn retire(&mut self, round: Round, age: Age, breaks: impl Fn(Rule) -> bool) -> bool {
        let is_retired = |entry: &Round| *entry < round || *entry == round && breaks(Rule::KeepCollector);
        let shrinks = self.log.keys().any(is_retired);
        if shrinks {
            let kept = self.log.iter().filter(|(entry, _)| !is_retired(entry));
            self.log = kept.map(|(entry, configuration)| (*entry, configuration.clone())).collect();
        }
        let raises = round > self.watermark && !breaks(Rule::RaiseWatermark);
        if raises {
            self.watermark = round;
            self.collected = self.collected.max(age);
        }
        raises || shrinks
    }
}

/// What changed between two saves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchmakerDelta<C = Configuration> {
    log: Vec<Change<Round, C>>,
    watermark: Round,
    collected: Age,
}

impl<C: Data> Durable for MatchmakerState<C> {
    type Delta = MatchmakerDelta<C>;

    fn delta(&self, before: Option<&Self>) -> MatchmakerDelta<C> {
        let empty = Self::default();
        let log = map_changes(&before.unwrap_or(&empty).log, &self.log);
        MatchmakerDelta { log, watermark: self.watermark, collected: self.collected }
    }

    fn patched(before: Option<Self>, delta: MatchmakerDelta<C>) -> Result<Self, Mismatch> {
        let mut state = before.unwrap_or_default();
        if delta.watermark < state.watermark {
            return Err(Mismatch);
        }
        patch_map(&mut state.log, delta.log);
        state.watermark = delta.watermark;
        state.collected = delta.collected;
        Ok(state)
    }
}

/// Written as the difference from nothing: what a trace of a recovery holds.
impl<C: Data> Serialize for MatchmakerState<C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.delta(None).serialize(serializer)
    }
}

impl<'de, C: Data> Deserialize<'de> for MatchmakerState<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::patched(None, MatchmakerDelta::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(term: u64) -> Round {
        Round { term, ..Round::ZERO }
    }

    fn correct(_: Rule) -> bool {
        false
    }

    fn announced(matchmaker: &mut MatchmakerState, term: u64) -> Answer {
        matchmaker.announce(round(term), &Configuration::single(0), 4, correct)
    }

    #[test]
    fn rounds_are_accepted_in_ascending_order_and_answered_with_those_below() {
        let mut matchmaker = MatchmakerState::default();
        let one = vec![(round(1), Configuration::single(0))];
        announced(&mut matchmaker, 1);
        let answer = |earlier, is_new| Answer::Matched {
            watermark: Round::ZERO,
            collected: Age::default(),
            earlier,
            is_new,
        };
        assert_eq!(announced(&mut matchmaker, 3), answer(one.clone(), true));
        assert_eq!(announced(&mut matchmaker, 3), answer(one, false), "a copy is answered again");
        assert_eq!(announced(&mut matchmaker, 2), Answer::Refused(round(3)));
        assert_eq!(announced(&mut matchmaker, 1), Answer::Refused(round(3)), "not the largest any more");
        let other = matchmaker.announce(round(3), &Configuration::single(1), 4, correct);
        assert_eq!(other, Answer::Refused(round(3)), "one configuration in a round");
    }

    #[test]
    fn what_is_below_the_collecting_round_is_gone_and_refused_and_the_round_itself_stays() {
        let mut matchmaker = MatchmakerState::default();
        for term in 1..4 {
            let configuration = Configuration::single(usize::try_from(term % 3).unwrap());
            matchmaker.announce(round(term), &configuration, 4, correct);
        }
        assert!(matchmaker.retire(round(3), Age::default(), correct));
        assert!(!matchmaker.retire(round(2), Age::default(), correct), "a late order changes nothing");
        assert_eq!(matchmaker.watermark, round(3));
        assert_eq!(matchmaker.log.keys().copied().collect::<Vec<_>>(), [round(3)]);
        let answer = Answer::Matched {
            watermark: round(3),
            collected: Age::default(),
            earlier: vec![],
            is_new: false,
        };
        assert_eq!(announced(&mut matchmaker, 3), answer);
        let mut empty = MatchmakerState::default();
        empty.retire(round(3), Age::default(), correct);
        assert_eq!(announced(&mut empty, 2), Answer::Refused(round(3)));
    }

    #[test]
    fn a_full_log_takes_nothing_new_until_something_is_retired() {
        let mut matchmaker = MatchmakerState::default();
        let other = |matchmaker: &mut MatchmakerState, term| {
            matchmaker.announce(
                round(term),
                &Configuration::single(usize::try_from(term).unwrap()),
                4,
                correct,
            )
        };
        (1..5).for_each(|term| drop(other(&mut matchmaker, term)));
        assert_eq!(other(&mut matchmaker, 5), Answer::Full);
        let known = matchmaker.announce(round(5), &Configuration::single(2), 4, correct);
        assert!(
            matches!(known, Answer::Matched { is_new: true, .. }),
            "who leads with a known one is never refused"
        );
        matchmaker.retire(round(4), Age::default(), correct);
        assert!(matches!(other(&mut matchmaker, 6), Answer::Matched { is_new: true, .. }));
    }

    #[test]
    fn leaders_that_follow_each_other_with_one_configuration_do_not_fill_the_log() {
        let mut matchmaker = MatchmakerState::default();
        matchmaker.announce(round(1), &Configuration::single(1), 4, correct);
        (2..1_000).for_each(|term| drop(announced(&mut matchmaker, term)));
        assert_eq!(matchmaker.log.keys().copied().collect::<Vec<_>>(), [round(1), round(998), round(999)]);
        let earlier = vec![(round(1), Configuration::single(1)), (round(998), Configuration::single(0))];
        let answer =
            Answer::Matched { watermark: Round::ZERO, collected: Age::default(), earlier, is_new: false };
        assert_eq!(announced(&mut matchmaker, 999), answer, "a copy hears of the same configuration below");
    }

    #[test]
    fn a_state_patched_by_its_difference_is_the_other_state() {
        let mut before = MatchmakerState::default();
        (1..4).for_each(|term| drop(announced(&mut before, term)));
        let mut after = before.clone();
        after.retire(round(2), Age::default(), correct);
        announced(&mut after, 7);
        assert_eq!(
            MatchmakerState::patched(Some(before.clone()), after.delta(Some(&before))),
            Ok(after.clone())
        );
        assert_eq!(MatchmakerState::patched(None, after.delta(None)), Ok(after.clone()));
        assert_eq!(MatchmakerState::patched(Some(after), before.delta(None)), Err(Mismatch));
    }
}
