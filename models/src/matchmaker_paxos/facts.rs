//! Matchmaker Paxos as facts: what was ever said stays said, and whoever likes acts on it, late, twice or never. (Matchmaker
//! notes, sections 8 to 10.)
//!
//! The actors' rows are larger than the configurations of the notes, since an actor remembers which answers it has had. Here
//! a round is a table of facts, as it was in the checker that the notes report on: with the same configurations there are the
//! same numbers of states, and broken rules break the same sentences after the same numbers of steps. That says that
//! the notes and this file speak of one protocol, and exhausts what is too large for actors: K6 with owners 0, 1, 0, K9b and
//! K10.
//!
//! A round is announced, answered by matchmakers, matched with `f + 1` answers, promised, proposed in, voted in, and known to have
//! chosen. Each round brings one value of its own. A proposer leaves a round for good when it announces its next one, but collects
//! for it whenever it may. Phase 1 ends with the promises at hand, which is general enough: others may have come later.

mod bits;
mod properties;
mod tests;

use crate::fingerprint::hash_of;
use crate::{Kind, Space};
use bits::{Bits, from, has, members, size};
use parthood_protocols::matchmaker_paxos::Mutant;

/// How many rounds a model can have.
const ROUNDS_MAX: usize = 4;
/// How many matchmakers there are, and how many of them are enough.
const MATCHMAKERS: usize = 3;
const F_PLUS_1: usize = 2;
const ACCEPTORS_MAX: usize = 4;
/// How many replicas keep a chosen value, where any do.
const REPLICAS: usize = 2;

/// Which sets of its acceptors read and write a configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Quorums {
    /// All write, and any one reads.
    Unanimous,
    Majority,
}

/// A round: whose it is, and what its configuration is.
#[derive(Clone, Copy, Debug)]
struct Round {
    owner: usize,
    acceptors: Bits,
    quorums: Quorums,
}

impl Round {
    fn reads(&self, acceptors: Bits) -> bool {
        let reading = size(acceptors & self.acceptors);
        match self.quorums {
            Quorums::Unanimous => reading > 0,
            Quorums::Majority => 2 * reading > size(self.acceptors),
        }
    }

    fn writes(&self, acceptors: Bits) -> bool {
        let writing = size(acceptors & self.acceptors);
        match self.quorums {
            Quorums::Unanimous => writing == size(self.acceptors),
            Quorums::Majority => 2 * writing > size(self.acceptors),
        }
    }
}

/// A configuration of the notes, and which rule is broken.
#[derive(Clone, Debug)]
struct Model {
    rounds: Vec<Round>,
    /// The rounds whose owner collects: if something is chosen in them, or they are free (Scenarios 1 and 2).
    collect: Bits,
    /// The rounds whose owner makes a chosen value known as persisted, and collects when enough know (Scenario 3).
    persist: Bits,
    /// Is freedom taken along to the next round?
    bypass: bool,
    /// Is the own proposal taken along?
    own_bypass: bool,
    /// Does each round add to what it finds, as in `CASPaxos`?
    register: bool,
    broken: Option<Mutant>,
}

/// A matchmaker's answer: its watermark and what it had noted before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Answer {
    watermark: u8,
    earlier: Bits,
    said: bool,
}

/// An acceptor's promise and what it reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Promise {
    said: bool,
    /// The round of its vote, counted from one; zero for none.
    vote: u8,
    persisted: bool,
}

/// What a proposer knows of what is below its round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Found {
    #[default]
    Nothing,
    /// Nothing was or will be chosen there.
    Free,
    /// A vote, whose value is proposed.
    Vote,
    /// A value is chosen, and replicas have it.
    Persisted,
}

/// What is known of a round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Facts {
    announced: bool,
    /// Below which round everything was retired when this one was announced.
    retired_below: u8,
    answers: [Answer; MATCHMAKERS],
    /// The rounds whose configurations phase 1 asks.
    matched: Option<Bits>,
    promises: [Promise; ACCEPTORS_MAX],
    found: Found,
    /// What is proposed; in a register what it is made of. Zero for nothing.
    value: Bits,
    votes: Bits,
    /// The acceptors that said, instead of voting, that a value is persisted (by the mutant only).
    excused: Bits,
    is_known_chosen: bool,
    persists: bool,
    /// The acceptors that have told this round's owner that they know it.
    noted: Bits,
    collects: bool,
    confirmed: Bits,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Matchmaker {
    log: Bits,
    watermark: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Acceptor {
    /// Promised, and voted in: rounds counted from one.
    round: u8,
    vote: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Known {
    rounds: [Facts; ROUNDS_MAX],
    matchmakers: [Matchmaker; MATCHMAKERS],
    acceptors: [Acceptor; ACCEPTORS_MAX],
    stored: Bits,
    /// Something was collected, or phase 1 left out, without a right to it.
    unjustified: bool,
    unlawful: bool,
    /// An answer was used whose watermark is above its round.
    late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Announce(usize),
    Answer(usize, usize),
    /// With the answers of these.
    Match(usize, Bits),
    Promise(usize, usize),
    EndPhase1(usize),
    Propose(usize),
    Vote(usize, usize),
    Excuse(usize, usize),
    Learn(usize),
    Store(usize),
    Persist(usize),
    Note(usize, usize),
    Collect(usize),
    Retire(usize, usize),
}

impl Model {
    fn is(&self, mutant: Mutant) -> bool {
        self.broken == Some(mutant)
    }

    /// Has its owner not gone on to another round?
    fn is_current(&self, known: &Known, round: usize) -> bool {
        let later = round + 1..self.rounds.len();
        let own = |other: &usize| self.rounds[*other].owner == self.rounds[round].owner;
        !later.filter(own).any(|other| known.rounds[other].announced)
    }

    /// Does a round's owner own the next one, too?
    fn has_successors(&self) -> bool {
        self.rounds.windows(2).any(|two| two[0].owner == two[1].owner)
    }

    /// The value of a round's own client.
    fn own(round: usize) -> Bits {
        1 << round
    }

    /// What is proposed after this was found.
    fn after(&self, round: usize, found: Bits) -> Bits {
        if self.register { found | Self::own(round) } else { found }
    }

    /// Which configurations phase 1 asks, by the rule or its mutant.
    fn asked(&self, matched: Bits) -> Bits {
        match matched {
            0 => 0,
            _ if self.is(Mutant::SkipOldestConfiguration) && size(matched) > 1 => matched & (matched - 1),
            _ if self.is(Mutant::OnlyNewestConfiguration) => 1 << matched.ilog2(),
            _ => matched,
        }
    }

    fn is_read(&self, asked: Bits, promised: Bits) -> bool {
        let is_read = |round: usize| self.rounds[round].reads(promised);
        if self.is(Mutant::AnyConfigurationSuffices) && asked != 0 {
            members(asked).any(is_read)
        } else {
            members(asked).all(is_read)
        }
    }

    /// Is the round in which a matched one takes its freedom from the one before, or proposes the same again?
    fn carried(&self, known: &Known, round: usize) -> Option<usize> {
        let any = self.is(Mutant::BypassFromAnyRound) || self.is(Mutant::OwnBypassFromAnyRound);
        let own = |other: &usize| {
            self.rounds[*other].owner == self.rounds[round].owner && known.rounds[*other].announced
        };
        let before = if any { 0..round } else { round.saturating_sub(1)..round };
        before.rev().find(own)
    }

    /// May phase 1 of this round be left out because of that one?
    fn frees(&self, facts: &Facts) -> bool {
        let after_votes = facts.found == Found::Vote && self.is(Mutant::BypassAfterVotes);
        let is_unused = facts.value == 0 || self.is(Mutant::BypassAfterProposing);
        self.bypass && (after_votes || facts.found == Found::Free && is_unused)
    }

    fn matches(&self, known: &mut Known, round: usize, by: Bits) {
        let answers = known.rounds[round].answers;
        let answers = || members(by).map(|matchmaker| answers[matchmaker]);
        let watermark = answers().map(|answer| answer.watermark).max().unwrap_or_default();
        let first = match watermark {
            _ if self.is(Mutant::IgnoreWatermarks) => 0,
            watermark if watermark > 0 && self.is(Mutant::PruneTooMuch) => watermark + 1,
            watermark => watermark,
        };
        known.late |= usize::from(watermark) > round;
        let union = answers().fold(0, |all, answer| all | answer.earlier);
        let matched = from(union, usize::from(first));
        let before = self.carried(known, round);
        known.rounds[round].matched = Some(matched);
        if let Some(before) = before {
            let facts = known.rounds[before].clone();
            let is_lawful = before + 1 == round;
            if self.frees(&facts) {
                known.rounds[round].found = Found::Free;
                known.unlawful |= !is_lawful || facts.value != 0 || facts.found != Found::Free;
            } else if self.own_bypass && facts.value != 0 {
                known.rounds[round].value = self.after(round, facts.value);
                known.rounds[round].found = Found::Vote;
                known.unlawful |= !is_lawful;
            }
        }
        if known.rounds[round].found == Found::Nothing && self.asked(matched) == 0 {
            known.rounds[round].found = Found::Free;
        }
    }

    fn ends_phase1(&self, known: &mut Known, round: usize) {
        let promises = known.rounds[round].promises.into_iter().filter(|promise| promise.said);
        let persisted = promises.clone().any(|promise| promise.persisted);
        let votes = promises.map(|promise| promise.vote).filter(|vote| *vote > 0);
        let best = if self.is(Mutant::LowestVote) { votes.min() } else { votes.max() };
        let found = match best {
            _ if persisted && !self.is(Mutant::IgnorePersisted) => Found::Persisted,
            Some(vote) => {
                let value = known.rounds[usize::from(vote) - 1].value;
                known.rounds[round].value = self.after(round, value);
                Found::Vote
            }
            None => Found::Free,
        };
        known.rounds[round].found = found;
    }

    /// Is a value chosen in this round, going by votes?
    fn chooses(&self, known: &Known, round: usize) -> bool {
        let facts = &known.rounds[round];
        facts.value != 0 && self.rounds[round].writes(facts.votes)
    }

    fn is_chosen(&self, known: &Known) -> bool {
        (0..self.rounds.len()).any(|round| self.chooses(known, round))
    }

    /// The acceptors that know of a persisted value.
    fn persisted(known: &Known) -> Bits {
        known.rounds.iter().fold(0, |all, facts| all | facts.noted)
    }

    /// Why a round may collect: by Scenario 1, 2 or 3.
    fn justified(&self, known: &Known, round: usize) -> bool {
        let facts = &known.rounds[round];
        let noted = self.rounds[round].writes(Self::persisted(known)) && size(known.stored) >= F_PLUS_1;
        self.chooses(known, round) || facts.found == Found::Free || noted && self.is_chosen(known)
    }

    /// Would its owner collect?
    fn would_collect(&self, known: &Known, round: usize) -> bool {
        let facts = &known.rounds[round];
        let older = |other: usize| {
            self.rounds[other].owner == self.rounds[round].owner && known.rounds[other].found == Found::Free
        };
        let by_rule = facts.is_known_chosen || facts.found == Found::Free;
        let by_mutant = match self.broken {
            Some(Mutant::CollectOnVote) => facts.votes != 0,
            Some(Mutant::CollectInPhase2) => facts.value != 0,
            Some(Mutant::CollectOnMatch) => facts.matched.is_some(),
            Some(Mutant::CollectByOlderFreedom) => facts.matched.is_some() && (0..round).any(older),
            Some(Mutant::PersistedIsChosenHere) => facts.excused != 0,
            _ => false,
        };
        let noted = self.rounds[round].writes(facts.noted);
        let by_persistence = facts.persists && (noted || self.is(Mutant::CollectBeforePersisted));
        by_rule || by_mutant || by_persistence
    }

    fn may_answer(&self, known: &Known, round: usize, matchmaker: usize) -> bool {
        let Matchmaker { log, watermark } = known.matchmakers[matchmaker];
        let above = usize::from(watermark) <= round || self.is(Mutant::AnswerBelowWatermark);
        let in_order = from(log, round) == 0 || self.is(Mutant::AcceptBelowLog) && !has(log, round);
        above && in_order && !known.rounds[round].answers[matchmaker].said
    }

    fn steps_of(&self, known: &Known, round: usize, steps: &mut Vec<Step>) {
        let facts = &known.rounds[round];
        let current = self.is_current(known, round);
        if !facts.announced {
            if current {
                steps.push(Step::Announce(round));
            }
            return;
        }
        let matchmakers = 0..MATCHMAKERS;
        let answering = matchmakers.filter(|matchmaker| self.may_answer(known, round, *matchmaker));
        steps.extend(answering.map(|matchmaker| Step::Answer(round, matchmaker)));
        let Some(matched) = facts.matched else {
            let enough = if self.is(Mutant::MatchQuorumShort) { F_PLUS_1 - 1 } else { F_PLUS_1 };
            let said = |by: Bits| members(by).all(|matchmaker| facts.answers[matchmaker].said);
            let quorums = (0..1 << MATCHMAKERS).filter(|by| size(*by) == enough && said(*by));
            steps.extend(quorums.filter(|_| current).map(|by| Step::Match(round, by)));
            return;
        };
        let asked = self.asked(matched);
        let is_asked = |acceptor: usize| members(asked).any(|of| has(self.rounds[of].acceptors, acceptor));
        let carried = facts.found != Found::Nothing && facts.promises.iter().all(|promise| !promise.said);
        for acceptor in 0..ACCEPTORS_MAX {
            let free = usize::from(known.acceptors[acceptor].round) <= round;
            if is_asked(acceptor) && !facts.promises[acceptor].said && free && !carried {
                steps.push(Step::Promise(round, acceptor));
            }
        }
        if facts.found == Found::Nothing && current {
            let promised = (0..ACCEPTORS_MAX).filter(|acceptor| facts.promises[*acceptor].said);
            if self.is_read(asked, promised.fold(0, |all, acceptor| all | 1 << acceptor)) {
                steps.push(Step::EndPhase1(round));
            }
        }
        if facts.found == Found::Free && facts.value == 0 && current {
            steps.push(Step::Propose(round));
        }
        if facts.value != 0 {
            self.steps_of_phase2(known, round, steps);
        }
        let stored = if self.is(Mutant::PersistTooEarly) { F_PLUS_1 - 1 } else { F_PLUS_1 };
        if has(self.persist, round) && !facts.persists && current && size(known.stored) >= stored {
            steps.push(Step::Persist(round));
        }
        if has(self.collect, round) {
            if !facts.collects && self.would_collect(known, round) {
                steps.push(Step::Collect(round));
            }
            let open = (0..MATCHMAKERS).filter(|matchmaker| !has(facts.confirmed, *matchmaker));
            steps.extend(open.filter(|_| facts.collects).map(|matchmaker| Step::Retire(round, matchmaker)));
        }
    }

    fn steps_of_phase2(&self, known: &Known, round: usize, steps: &mut Vec<Step>) {
        let facts = &known.rounds[round];
        for acceptor in members(self.rounds[round].acceptors) {
            let able = usize::from(known.acceptors[acceptor].round) <= round + 1
                || self.is(Mutant::AcceptLowerRound);
            let excuses = self.is(Mutant::PersistedIsChosenHere) && has(Self::persisted(known), acceptor);
            if able && !excuses && !has(facts.votes, acceptor) {
                steps.push(Step::Vote(round, acceptor));
            }
            if excuses && !has(facts.excused, acceptor) {
                steps.push(Step::Excuse(round, acceptor));
            }
        }
        if !facts.is_known_chosen && self.rounds[round].writes(facts.votes) {
            steps.push(Step::Learn(round));
        }
    }

    fn take(&self, known: &mut Known, step: Step) {
        match step {
            Step::Announce(round) => {
                let confirmed = (0..self.rounds.len()).rev();
                let retired = confirmed.into_iter().find(|of| size(known.rounds[*of].confirmed) >= F_PLUS_1);
                let below = u8::try_from(retired.unwrap_or_default()).unwrap_or_default();
                known.rounds[round].announced = true;
                known.rounds[round].retired_below = below;
            }
            Step::Answer(round, matchmaker) => {
                let Matchmaker { log, watermark } = known.matchmakers[matchmaker];
                let earlier = log & !from(log, round);
                known.rounds[round].answers[matchmaker] = Answer { watermark, earlier, said: true };
                if !self.is(Mutant::AnswerWithoutNoting) {
                    known.matchmakers[matchmaker].log |= 1 << round;
                }
            }
            Step::Match(round, by) => self.matches(known, round, by),
            Step::Promise(round, acceptor) => {
                let vote = known.acceptors[acceptor].vote;
                let persisted = has(Self::persisted(known), acceptor);
                known.rounds[round].promises[acceptor] = Promise { said: true, vote, persisted };
                if !self.is(Mutant::NoPromise) {
                    known.acceptors[acceptor].round = counted(round);
                }
            }
            Step::EndPhase1(round) => self.ends_phase1(known, round),
            Step::Propose(round) => known.rounds[round].value = Self::own(round),
            Step::Vote(round, acceptor) => {
                known.rounds[round].votes |= 1 << acceptor;
                let before = known.acceptors[acceptor].round;
                known.acceptors[acceptor].round = before.max(counted(round));
                known.acceptors[acceptor].vote = counted(round);
            }
            Step::Excuse(round, acceptor) => known.rounds[round].excused |= 1 << acceptor,
            Step::Learn(round) => known.rounds[round].is_known_chosen = true,
            Step::Store(replica) => known.stored |= 1 << replica,
            Step::Persist(round) => known.rounds[round].persists = true,
            Step::Note(round, acceptor) => known.rounds[round].noted |= 1 << acceptor,
            Step::Collect(round) => {
                known.unjustified |= !self.justified(known, round);
                known.rounds[round].collects = true;
            }
            Step::Retire(round, matchmaker) => {
                known.rounds[round].confirmed |= 1 << matchmaker;
                let Matchmaker { log, watermark } = &mut known.matchmakers[matchmaker];
                let below = if self.is(Mutant::CollectTooMuch) { round + 1 } else { round };
                *log = from(*log, below);
                if !self.is(Mutant::KeepWatermark) {
                    *watermark = (*watermark).max(u8::try_from(round).unwrap_or_default());
                }
            }
        }
    }
}

/// A round, counted from one.
fn counted(round: usize) -> u8 {
    u8::try_from(round + 1).unwrap_or(u8::MAX)
}

impl Space for Model {
    type State = Known;
    type Move = Step;

    fn initial(&self) -> Known {
        Known::default()
    }

    fn moves(&self, known: &Known, moves: &mut Vec<Step>) {
        moves.clear();
        for round in 0..self.rounds.len() {
            self.steps_of(known, round, moves);
        }
        let is_known = |round: usize| known.rounds[round].is_known_chosen;
        if self.persist != 0 && (0..self.rounds.len()).any(is_known) {
            moves.extend((0..REPLICAS).filter(|replica| !has(known.stored, *replica)).map(Step::Store));
        }
        for (round, facts) in known.rounds.iter().enumerate().filter(|(_, facts)| facts.persists) {
            let told = members(self.rounds[round].acceptors & !facts.noted);
            moves.extend(told.map(|acceptor| Step::Note(round, acceptor)));
        }
    }

    fn apply(&self, known: &Known, step: Step, next: &mut Known) -> bool {
        next.clone_from(known);
        self.take(next, step);
        true
    }

    fn fingerprint(&self, known: &Known) -> u64 {
        hash_of(known)
    }

    fn properties(&self) -> Vec<(&'static str, Kind)> {
        properties::of(self).into_iter().map(|(name, kind, _)| (name, kind)).collect()
    }

    fn holds(&self, property: usize, known: &Known) -> bool {
        properties::holds(self, property, known)
    }
}
