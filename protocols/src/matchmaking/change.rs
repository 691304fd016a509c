//! How one set of matchmakers takes the place of another.
//!
//! A *reconfigurer*, and there may be several at once, does this:
//!
//! 1. It stops the present epoch: one more than may fail freeze their logs and promise its ballot.
//! 2. It merges what they had noted: all rounds, and the largest watermark. A round that was matched was noted by as many,
//!    so one of those that stopped has it, or a watermark above it.
//! 3. It hands the merged log to all members of the next epoch that it would propose. One that does not answer it replaces by
//!    one of the stopped ones that does, and has the others of the present epoch stop for that, too; it goes on without it
//!    only when there is nobody else.
//! 4. It has the stopped matchmakers vote on the next members, which is Paxos: if one of them had voted for a set, it proposes
//!    the one of the highest ballot in place of its own. (That one's members got their logs before it was first proposed.)
//! 5. When one more than may fail have voted the epoch is chosen, and everybody may hear of it.
//!
//! To stop and to promise are one message, and so the set may change while logs are handed over: a ballot proposes one set,
//! and none before that. If a reconfigurer dies, another one does all of this again.
//!
//! While no successor is chosen nobody can match, which stalls reconfigurations of acceptors and changes of leader, and
//! nothing else: rounds that were matched go on.

use super::node::Broken;
use super::{Ask, Configuration, Epoch, EpochRule, MatchmakerState, Round, Said};
use parthood_quorums::NodeSet;

/// A change of matchmakers under way, as its reconfigurer sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change<C: Clone = Configuration> {
    /// The epoch that ends.
    pub epoch: Epoch,
    /// The reconfigurer's ballot.
    pub ballot: Round,
    /// The members that it would propose.
    pub wanted: NodeSet,
    /// Those of the present epoch that stopped for it.
    pub stopped: NodeSet,
    /// How far it is.
    pub stage: Changing<C>,
}

/// How far a change is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Changing<C: Clone> {
    /// The present epoch is being stopped.
    Stopping {
        /// What those that stopped had noted.
        merged: MatchmakerState<C>,
        /// The vote of the highest ballot among theirs.
        vote: Option<(Round, NodeSet)>,
    },
    /// The next members get their log.
    Bootstrapping {
        /// The log.
        merged: MatchmakerState<C>,
        /// Those that have it.
        have: NodeSet,
    },
    /// The stopped ones vote.
    Choosing {
        /// The log, for members that have missed it.
        merged: MatchmakerState<C>,
        /// The next members.
        members: NodeSet,
        /// Those that voted.
        voted: NodeSet,
    },
}

/// What comes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    Waits,
    /// The next stage: there is something to send.
    Advances,
    /// Somebody has promised a higher ballot.
    Overtaken(Round),
    /// The epoch is chosen.
    Chosen(Epoch),
}

impl<C: Clone + PartialEq> Change<C> {
    /// Begins to replace an epoch, in a ballot that its reconfigurer has not used before.
    pub fn new(epoch: Epoch, ballot: Round, wanted: NodeSet) -> Self {
        let stage = Changing::Stopping { merged: MatchmakerState::default(), vote: None };
        Self { epoch, ballot, wanted, stopped: NodeSet::EMPTY, stage }
    }

    /// Who has not stopped, and is to: so that there is somebody to take for a member that does not answer.
    pub fn stragglers(&self) -> Option<(NodeSet, Ask<C>)> {
        let (epoch, ballot) = (self.epoch, self.ballot);
        let is_bootstrapping = matches!(self.stage, Changing::Bootstrapping { .. });
        is_bootstrapping.then(|| (epoch.members.difference(self.stopped), Ask::Stop { epoch, ballot }))
    }

    /// Whom to ask what; again, if somebody does not answer.
    pub fn questions(&self) -> (NodeSet, Ask<C>) {
        let (epoch, ballot) = (self.epoch, self.ballot);
        match &self.stage {
            Changing::Stopping { .. } => {
                (epoch.members.difference(self.stopped), Ask::Stop { epoch, ballot })
            }
            Changing::Bootstrapping { merged, have } => {
                (self.wanted.difference(*have), bootstrap(epoch, merged))
            }
            Changing::Choosing { members, voted, .. } => {
                let members = *members;
                (epoch.members.difference(*voted), Ask::Choose { epoch, ballot, members })
            }
        }
    }

    /// The log of the next epoch, for a member that has missed it.
    pub fn bootstrap(&self) -> Option<Ask<C>> {
        match &self.stage {
            Changing::Choosing { merged, .. } => Some(bootstrap(self.epoch, merged)),
            Changing::Stopping { .. } | Changing::Bootstrapping { .. } => None,
        }
    }

    /// Would an answer do nothing?
    pub fn ignores(&self, from: usize, said: &Said<C>) -> bool {
        let (epoch, ballot) = (self.epoch.number, self.ballot);
        match (said, &self.stage) {
            (
                Said::Stopped { epoch: of, ballot: to, .. },
                Changing::Stopping { .. } | Changing::Bootstrapping { .. },
            ) => (*of, *to) != (epoch, ballot) || self.stopped.contains(from),
            (Said::Bootstrapped { after }, Changing::Bootstrapping { have, .. }) => {
                *after != epoch || have.contains(from) || !self.wanted.contains(from)
            }
            (Said::Chose { epoch: of, ballot: to }, Changing::Choosing { voted, .. }) => {
                (*of, *to) != (epoch, ballot) || voted.contains(from)
            }
            (Said::BallotNack { epoch: of, ballot: promised }, _) => *of != epoch || *promised <= ballot,
            _ => true,
        }
    }

    /// Takes an answer in that is not to be ignored.
    pub fn on(&mut self, from: usize, said: Said<C>, broken: impl Broken) -> Outcome {
        match (said, &mut self.stage) {
            (Said::BallotNack { ballot, .. }, _) => Outcome::Overtaken(ballot),
            (
                Said::Stopped { watermark, collected, log, vote, .. },
                Changing::Stopping { merged, vote: highest },
            ) => {
                let log = MatchmakerState { log: log.into_iter().collect(), watermark, collected };
                merge(merged, log, self.stopped.is_empty(), broken);
                self.stopped.insert(from);
                *highest = (*highest).max(vote);
                self.advance(broken)
            }
            // What it had noted and voted is not needed any more.
            (Said::Stopped { .. }, Changing::Bootstrapping { .. }) => {
                self.stopped.insert(from);
                Outcome::Waits
            }
            (Said::Bootstrapped { .. }, Changing::Bootstrapping { have, .. }) => {
                have.insert(from);
                self.advance(broken)
            }
            (Said::Chose { .. }, Changing::Choosing { members, voted, .. }) => {
                voted.insert(from);
                let (members, voted) = (*members, *voted);
                if self.epoch.is_quorum(voted) {
                    return Outcome::Chosen(self.epoch.followed_by(members));
                }
                Outcome::Waits
            }
            _ => Outcome::Waits,
        }
    }

    /// Goes on to the next stage, if this one is done.
    fn advance(&mut self, broken: impl Broken) -> Outcome {
        match &self.stage {
            Changing::Stopping { merged, vote } => {
                let one_short = broken.epoch_rule(EpochRule::StopQuorum) && !self.stopped.is_empty();
                if !one_short && !self.epoch.is_quorum(self.stopped) {
                    return Outcome::Waits;
                }
                let merged = merged.clone();
                let voted = vote.filter(|_| !broken.epoch_rule(EpochRule::ProposeWhatWasVoted));
                self.stage = match voted {
                    Some((_, members)) => Changing::Choosing { merged, members, voted: NodeSet::EMPTY },
                    None => Changing::Bootstrapping { merged, have: NodeSet::EMPTY },
                };
                Outcome::Advances
            }
            Changing::Bootstrapping { have, .. } if self.wanted.is_subset(*have) => self.propose(broken),
            Changing::Bootstrapping { .. } | Changing::Choosing { .. } => Outcome::Waits,
        }
    }

    /// Proposes its set.
    fn propose(&mut self, broken: impl Broken) -> Outcome {
        let Changing::Bootstrapping { merged, .. } = &self.stage else { return Outcome::Waits };
        let (merged, members) = (merged.clone(), self.wanted);
        self.stage = Changing::Choosing { merged, members, voted: NodeSet::EMPTY };
        if broken.epoch_rule(EpochRule::VoteOnSuccessor) {
            return Outcome::Chosen(self.epoch.followed_by(members));
        }
        Outcome::Advances
    }

    /// Somebody does not answer. One of the wanted members is replaced by one that has stopped, if there is one; if there is
    /// not, one more than may fail are enough.
    pub fn lose_patience(&mut self, broken: impl Broken) -> Outcome {
        let Changing::Bootstrapping { have, .. } = &self.stage else { return Outcome::Waits };
        let have = *have;
        let silent = self.wanted.difference(have);
        let mut spare = self.stopped.difference(self.wanted).iter();
        let mut wanted = self.wanted;
        for one in silent.iter() {
            if let Some(other) = spare.next() {
                wanted = wanted.without(one).with(other);
            }
        }
        if wanted != self.wanted {
            self.wanted = wanted;
            return Outcome::Advances;
        }
        let next = self.epoch.followed_by(wanted);
        if next.is_quorum(have) { self.propose(broken) } else { Outcome::Waits }
    }
}

fn bootstrap<C: Clone>(after: Epoch, merged: &MatchmakerState<C>) -> Ask<C> {
    let log = merged.log.iter().map(|(round, configuration)| (*round, configuration.clone())).collect();
    Ask::Bootstrap { after, watermark: merged.watermark, collected: merged.collected, log }
}

/// Adds what one matchmaker had noted to what the others had.
fn merge<C: Clone + PartialEq>(
    merged: &mut MatchmakerState<C>,
    mut log: MatchmakerState<C>,
    is_first: bool,
    broken: impl Broken,
) {
    if is_first {
        *merged = log;
        return;
    }
    if broken.epoch_rule(EpochRule::LargestWatermark) {
        let smallest = merged.watermark.min(log.watermark);
        (merged.watermark, log.watermark) = (smallest, smallest);
    }
    if broken.epoch_rule(EpochRule::KeepWhatOneHas) {
        merged.log = std::mem::take(&mut merged.log).intersection(log.log);
    } else if !broken.epoch_rule(EpochRule::UniteLogs) {
        merged.unite(log);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Correct;
    use crate::matchmaking::MatchmakerNode;

    fn set(members: &[usize]) -> NodeSet {
        members.iter().copied().collect()
    }

    fn ballot(term: u64) -> Round {
        Round { term, ..Round::ZERO }
    }

    /// Puts the questions of a change to those that answer, and takes their answers in.
    fn ask(nodes: &mut [MatchmakerNode<u8>], change: &mut Change<u8>, alive: NodeSet) -> Outcome {
        let mut last = Outcome::Waits;
        let (whom, question) = change.questions();
        for me in whom.intersection(alive).iter() {
            let (_, said) = nodes[me].on(me, question.clone(), 9, Correct);
            let said = said.unwrap();
            if !change.ignores(me, &said) {
                let outcome = change.on(me, said, Correct);
                last = if outcome == Outcome::Waits { last } else { outcome };
            }
        }
        last
    }

    fn match_a(epoch: Epoch, term: u64) -> Ask<u8> {
        Ask::MatchA { epoch, round: ballot(term), configuration: u8::try_from(term).unwrap() }
    }

    #[test]
    fn the_next_matchmakers_know_what_was_matched_and_the_old_ones_say_who_they_are() {
        let first = Epoch::first(set(&[0, 1, 2]));
        let mut nodes: Vec<_> = (0..6).map(|me| MatchmakerNode::<u8>::new(first, me)).collect();
        for me in [0, 1] {
            nodes[me].on(me, match_a(first, 1), 9, Correct);
        }
        let everybody = NodeSet::first(6);
        let mut change = Change::new(first, ballot(1), set(&[3, 4, 5]));
        assert_eq!(ask(&mut nodes, &mut change, everybody), Outcome::Advances);
        assert!(matches!(change.stage, Changing::Bootstrapping { .. }));
        let (changed, said) = nodes[0].on(0, match_a(first, 2), 9, Correct);
        assert_eq!((changed, said), (false, Some(Said::Over { newest: first, stopped: true })));
        let (_, said) = nodes[3].on(3, match_a(first, 2), 9, Correct);
        assert_eq!(said, None, "no member of the first epoch");
        assert_eq!(ask(&mut nodes, &mut change, everybody), Outcome::Advances);
        let second = first.followed_by(set(&[3, 4, 5]));
        assert_eq!(ask(&mut nodes, &mut change, set(&[1, 2])), Outcome::Chosen(second));
        let (_, said) = nodes[4].on(4, match_a(second, 2), 9, Correct);
        let earlier = vec![(ballot(1), 1)];
        let (round, watermark) = (ballot(2), Round::ZERO);
        assert_eq!(
            said,
            Some(Said::MatchB { epoch: 1, round, watermark, collected: (0, Round::ZERO), earlier }),
            "whoever names it knows"
        );
        nodes[0].on(0, Ask::Learn(second), 9, Correct);
        let (_, said) = nodes[0].on(0, match_a(first, 3), 9, Correct);
        assert_eq!(said, Some(Said::Over { newest: second, stopped: false }));
    }

    #[test]
    fn what_was_voted_for_is_proposed_by_whoever_comes_next() {
        let first = Epoch::first(set(&[0, 1, 2]));
        let mut nodes: Vec<_> = (0..6).map(|me| MatchmakerNode::<u8>::new(first, me)).collect();
        let mut one = Change::new(first, ballot(1), set(&[3, 4, 5]));
        ask(&mut nodes, &mut one, NodeSet::first(6));
        ask(&mut nodes, &mut one, NodeSet::first(6));
        assert_eq!(ask(&mut nodes, &mut one, set(&[2])), Outcome::Waits, "one vote");
        let mut other = Change::new(first, ballot(2), set(&[0, 1, 3]));
        assert_eq!(ask(&mut nodes, &mut other, set(&[1, 2])), Outcome::Advances);
        assert_eq!(
            ask(&mut nodes, &mut other, set(&[0, 1])),
            Outcome::Chosen(first.followed_by(set(&[3, 4, 5])))
        );
        assert_eq!(ask(&mut nodes, &mut one, set(&[0])), Outcome::Overtaken(ballot(2)));
    }

    #[test]
    fn a_member_that_does_not_answer_is_replaced_and_one_more_than_may_fail_suffice_where_nobody_is_left() {
        let first = Epoch::first(set(&[0, 1, 2]));
        let mut nodes: Vec<_> = (0..6).map(|me| MatchmakerNode::<u8>::new(first, me)).collect();
        let mut change = Change::new(first, ballot(1), set(&[3, 4, 5]));
        let alive = set(&[0, 2, 3, 4]);
        ask(&mut nodes, &mut change, alive);
        assert_eq!(ask(&mut nodes, &mut change, alive), Outcome::Waits);
        assert_eq!(change.lose_patience(Correct), Outcome::Advances);
        assert_eq!(change.wanted, set(&[0, 3, 4]));
        assert_eq!(ask(&mut nodes, &mut change, alive), Outcome::Advances);
        // Another one that may only name the present members goes on with those that are left.
        let mut same = Change::new(first, ballot(2), first.members);
        ask(&mut nodes, &mut same, alive);
        assert_eq!(ask(&mut nodes, &mut same, alive), Outcome::Waits);
        assert_eq!(same.lose_patience(Correct), Outcome::Advances);
        assert_eq!(ask(&mut nodes, &mut same, alive), Outcome::Chosen(first.followed_by(first.members)));
        // Who was away gets the log late, and once.
        let late = same.bootstrap().unwrap();
        nodes[1].on(1, Ask::Learn(first.followed_by(first.members)), 9, Correct);
        assert!(!nodes[1].serves());
        nodes[1].on(1, late.clone(), 9, Correct);
        assert!(nodes[1].serves());
        let second = nodes[1].newest;
        nodes[1].on(1, match_a(second, 4), 9, Correct);
        let before = nodes[1].clone();
        nodes[1].on(1, late, 9, Correct);
        assert_eq!(nodes[1], before, "it serves already");
    }

    #[test]
    fn whoever_stops_late_can_still_be_taken_for_one_that_does_not_answer() {
        let first = Epoch::first(set(&[0, 1, 2]));
        let mut nodes: Vec<_> = (0..6).map(|me| MatchmakerNode::<u8>::new(first, me)).collect();
        let mut change = Change::new(first, ballot(1), set(&[0, 1, 5]));
        assert_eq!(change.stragglers(), None, "all are asked anyway");
        assert_eq!(ask(&mut nodes, &mut change, set(&[0, 1])), Outcome::Advances);
        assert_eq!(ask(&mut nodes, &mut change, set(&[0, 1])), Outcome::Waits);
        let (whom, stop) = change.stragglers().unwrap();
        assert_eq!(whom, NodeSet::single(2));
        let said = nodes[2].on(2, stop, 9, Correct).1.unwrap();
        assert!(!change.ignores(2, &said));
        assert_eq!(change.on(2, said, Correct), Outcome::Waits);
        assert_eq!(change.lose_patience(Correct), Outcome::Advances);
        assert_eq!(change.wanted, set(&[0, 1, 2]));
    }
}
