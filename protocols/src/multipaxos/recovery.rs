//! Election and phase 1 of a new leader.

use super::leader::LeaderState;
use super::server::Turn;
use super::{Msg, Mutant};
use crate::command::Value;
use crate::faults::{Faults, is_enough};
use crate::ids::{Round, Slot, SlotClass};
use crate::log::{Recovery, RecoveryRules, Report};
use crate::state_machine::StateMachine;
use parthood_quorums::NodeSet;

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
        leader.recovery = Some(Recovery::new(from));
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
        let rules = self.recovery_rules();
        let Some(leader) = self.state.leadership.leader_mut() else { return };
        let Some(recovery) = leader.recovery.take() else { return };
        let page = recovery.page(SlotClass::ALL, executed, rules, |_, _| true);
        leader.next_slot = page.next_slot;
        leader.recovery = page.next_page.map(Recovery::new);
        self.expect_chosen(page.truncated, None);
        for (slot, value) in page.proposals {
            if slot >= executed || rules.propose_from_zero {
                self.propose(slot, value);
            }
        }
        if page.next_page.is_none() {
            self.ping();
        }
    }

    fn recovery_rules(&self) -> RecoveryRules {
        RecoveryRules {
            noop_over_votes: self.breaks(Mutant::NoopOverVotes),
            lowest_vote: self.breaks(Mutant::LowestVote),
            next_slot_ignores_chosen: self.breaks(Mutant::NextSlotIgnoresChosen),
            propose_from_zero: self.breaks(Mutant::ProposeFromZero),
            ignore_truncation: self.breaks(Mutant::IgnoreTruncation),
            first_page_only: self.breaks(Mutant::FirstPageOnly),
        }
    }

    /// For a mutant: answers a replica that lacks a slot with a noop, as if nothing had been proposed there.
    pub(super) fn propose_noop_for(&mut self, slot: Slot) {
        if self.breaks(Mutant::NoopForCatchUp) {
            self.propose(slot, Value::Noop);
        }
    }
}
