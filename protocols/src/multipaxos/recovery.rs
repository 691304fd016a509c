//! Election and phase 1 of a new leader: what may be chosen already is proposed again, page by page.

use super::acceptor::VotedSlot;
use super::leader::LeaderState;
use super::server::Turn;
use super::{Msg, Mutant};
use crate::command::{Value, ValueOf};
use crate::faults::{Faults, is_enough};
use crate::ids::{Round, Slot};
use crate::state_machine::StateMachine;
use im::OrdMap;
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};

/// Phase 1 of a leader, which goes through the log from its first unexecuted slot on.
///
/// An acceptor promises with its first page and reports only votes of smaller rounds or of this very leader afterwards, so
/// pages asked for later are as good as one that was asked for at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recovery<C: Clone> {
    /// The first slot of the pages that it waits for.
    pub from: Slot,
    /// The pages it has, by server.
    pub reports: OrdMap<usize, Report<C>>,
    /// Whether it has asked for the pages; it waits with that while too many slots are outstanding.
    pub asked: bool,
}

/// A page of an acceptor's votes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Report<C> {
    /// Votes, in ascending order of slots.
    pub votes: Vec<VotedSlot<C>>,
    /// The slot of the first vote that did not fit; none if the page is the last.
    pub next: Option<Slot>,
    /// All slots below are chosen, and their votes dropped.
    pub chosen_below: Slot,
}

impl<C: Clone> Recovery<C> {
    /// Does it need this server's page?
    pub(super) fn awaits(&self, from: Slot, server: usize) -> bool {
        self.asked && self.from == from && !self.reports.contains_key(&server)
    }

    fn reporters(&self) -> NodeSet {
        self.reports.keys().copied().collect()
    }

    /// The value to propose for a slot: the reported vote of the highest round, else nothing. Votes of servers outside the
    /// slot's group do not hurt: whatever was proposed in a round is safe to propose in any higher one.
    fn value_for(&self, slot: Slot, lowest: bool) -> Value<C> {
        let votes = self.reports.values().filter_map(|report| {
            let position = report.votes.binary_search_by_key(&slot, |vote| vote.slot).ok()?;
            Some(&report.votes[position].vote)
        });
        let vote = if lowest {
            votes.min_by_key(|vote| vote.vote_round)
        } else {
            votes.max_by_key(|vote| vote.vote_round)
        };
        vote.map_or(Value::Noop, |vote| vote.vote_value.clone())
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// The smallest round of this server above all that it has heard of.
    pub(super) fn next_round(&self) -> Round {
        let (index, servers) = (self.server.index, self.server.config.servers);
        let round = self.state.acceptor.round;
        if self.breaks(Mutant::SharedRounds) {
            Round(round.0 + 1)
        } else {
            round.next_owned_by(index, servers)
        }
    }

    /// Stands for election: no leader was heard of for too long.
    pub(super) fn on_election_timeout(&mut self) {
        let round = self.next_round();
        let may = self.state.acceptor.voting && self.state.leadership.leader().is_none();
        if !may || round > self.server.config.bounds.round_max {
            return;
        }
        let from = self.state.replica.executed;
        self.state.acceptor.round = round;
        self.save();
        let mut leader = LeaderState::new(round, from);
        leader.recovery = Some(Recovery { from, reports: OrdMap::new(), asked: false });
        self.lead(leader);
        self.advance_recovery();
    }

    /// Asks, or asks again, for the pages that are missing.
    pub(super) fn ask_for_reports(&mut self) {
        let Some(leader) = self.state.leadership.leader() else { return };
        let Some(recovery) = leader.recovery.as_ref().filter(|recovery| recovery.asked) else { return };
        let (round, from, answered) = (leader.round, recovery.from, recovery.reporters());
        for server in self.others().filter(|server| !answered.contains(usize::from(*server))) {
            self.send(server, Msg::Phase1a { round, from });
        }
    }

    /// Adds a page, and goes on if that was enough.
    pub(super) fn on_phase1b(&mut self, server: usize, report: Report<M::Command>) {
        if let Some(recovery) = self.recovery() {
            recovery.reports.insert(server, report);
            self.advance_recovery();
            self.propose_queue();
        }
    }

    fn recovery(&mut self) -> Option<&mut Recovery<M::Command>> {
        self.state.leadership.leader_mut().and_then(|leader| leader.recovery.as_mut())
    }

    /// Goes through the log as far as pages have arrived and there is room for what they bring.
    pub(super) fn advance_recovery(&mut self) {
        let window = self.server.config.limits.window_slots;
        while let Some(leader) = self.state.leadership.leader_mut() {
            let room = leader.outstanding.len() < window;
            let Some(recovery) = leader.recovery.as_mut() else { return };
            if !recovery.asked {
                if !room {
                    return;
                }
                recovery.asked = true;
                let from = recovery.from;
                self.ask_for_reports();
                let (index, own) = (self.server.index, self.report(from));
                self.recovery().map(|recovery| recovery.reports.insert(index, own));
            }
            if !self.has_read_quorum() {
                return;
            }
            self.propose_page();
        }
    }

    /// Has a read quorum of every group sent its page?
    fn has_read_quorum(&mut self) -> bool {
        let config = &self.server.config;
        let one_short = self.breaks(Mutant::ReadQuorumShort);
        let any_group = self.breaks(Mutant::OneGroupSuffices);
        let reporters = self.recovery().map_or(NodeSet::EMPTY, |recovery| recovery.reporters());
        is_enough(reporters, config.servers, one_short, |set| {
            config.is_read_quorum(set)
                || any_group && config.groups.iter().any(|group| group.is_read_quorum(set))
        })
    }

    /// Proposes again what a read quorum reports of one page; the next page is then due, or phase 1 is over.
    fn propose_page(&mut self) {
        let executed = self.state.replica.executed;
        let rule = |rule| self.server.config.faults.breaks(rule);
        let Some(leader) = self.state.leadership.leader_mut() else { return };
        let Some(recovery) = leader.recovery.take() else { return };
        let reports = || recovery.reports.values();

        let truncated = reports().map(|report| report.chosen_below).max().unwrap_or_default();
        let chosen_below = if rule(Mutant::IgnoreTruncation) { executed } else { truncated.max(executed) };
        let last_vote = reports().filter_map(|report| report.votes.last()).map(|vote| vote.slot).max();
        let votes_end = last_vote.map_or(Slot::ZERO, Slot::next);
        let page_end = reports().filter_map(|report| report.next).min();
        let page_end = page_end.filter(|_| !rule(Mutant::FirstPageOnly));

        let begin = recovery.from.max(chosen_below);
        let begin = if rule(Mutant::ProposeFromZero) { Slot::ZERO } else { begin };
        let end = page_end.unwrap_or(votes_end);
        leader.next_slot = match page_end {
            _ if rule(Mutant::NextSlotIgnoresChosen) => votes_end,
            Some(page_end) => page_end.max(begin),
            None => votes_end.max(begin),
        };
        if let Some(from) = page_end {
            leader.recovery = Some(Recovery { from, reports: OrdMap::new(), asked: false });
        }
        let values: Vec<(Slot, ValueOf<M>)> = (begin.0..end.0)
            .map(Slot)
            .map(|slot| {
                let forget = rule(Mutant::NoopOverVotes);
                let value = recovery.value_for(slot, rule(Mutant::LowestVote));
                (slot, if forget { Value::Noop } else { value })
            })
            .collect();
        self.expect_chosen(truncated, None);
        for (slot, value) in values {
            self.propose(slot, value);
        }
        if page_end.is_none() {
            self.ping();
        }
    }

    /// For a mutant: answers a replica that lacks a slot with a noop, as if nothing had been proposed there.
    pub(super) fn propose_noop_for(&mut self, slot: Slot) {
        if self.breaks(Mutant::NoopForCatchUp) {
            self.propose(slot, Value::Noop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::multipaxos::Vote;

    fn report(votes: &[(u64, u64, Value<u8>)]) -> Report<u8> {
        let votes = votes.iter().map(|(slot, round, value)| VotedSlot {
            slot: Slot(*slot),
            vote: Vote { vote_round: Round(*round), vote_value: value.clone() },
        });
        Report { votes: votes.collect(), next: None, chosen_below: Slot::ZERO }
    }

    #[test]
    fn the_vote_of_the_highest_round_is_proposed_and_a_hole_is_filled_with_a_noop() {
        let value = |round| Value::Batch(Vec::from([command(round)]).into());
        let reports = OrdMap::from(vec![
            (0_usize, report(&[(3, 1, value(1)), (5, 2, value(2))])),
            (1, report(&[(3, 4, value(4))])),
        ]);
        let recovery = Recovery { from: Slot(3), reports, asked: true };
        assert_eq!(recovery.value_for(Slot(3), false), value(4));
        assert_eq!(recovery.value_for(Slot(4), false), Value::Noop);
        assert_eq!(recovery.value_for(Slot(5), false), value(2));
    }

    fn command(seq: u64) -> crate::command::Command<u8> {
        let id = crate::command::CommandId { client: 9, session: 0, pseudonym: 0, seq };
        crate::command::Command { id, op: crate::command::Operation::Apply(0) }
    }

    #[test]
    fn a_page_is_awaited_from_each_server_once() {
        let reports = OrdMap::from(vec![(0_usize, report(&[]))]);
        let recovery = Recovery { from: Slot(3), reports, asked: true };
        assert!(recovery.awaits(Slot(3), 1));
        assert!(!recovery.awaits(Slot(3), 0) && !recovery.awaits(Slot(4), 1));
    }
}
