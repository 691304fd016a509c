//! The leader's phase 1: a page at a time, it asks a read quorum of every acceptor group that decides its slots what was
//! voted for, and proposes it again.

use super::config::{Config, Role};
use super::leader::LeaderState;
use super::mutant::{Mutant, Rules};
use super::node::Turn;
use super::{Group, Msg, Timer};
use crate::faults::is_enough;
use crate::ids::SlotClass;
use crate::log::{Recovery, RecoveryRules, Report};
use crate::mencius;
use crate::state_machine::StateMachine;
use parthood_quorums::NodeSet;

impl<M: StateMachine, F: Rules> Turn<'_, LeaderState<M::Command>, M, F> {
    fn recovery(&mut self) -> Option<&mut Recovery<M::Command>> {
        self.state.leading.as_mut().and_then(|leading| leading.recovery.as_mut())
    }

    pub(super) fn on_phase1b(&mut self, acceptor: usize, report: Report<M::Command>) {
        if let Some(recovery) = self.recovery() {
            recovery.reports.insert(acceptor, report);
            self.go_on();
        }
    }

    /// Goes through the log as far as pages have arrived and there is room for what they bring.
    pub(super) fn advance_recovery(&mut self) {
        let window_end = self.window_end();
        while let Some(recovery) = self.recovery() {
            if !recovery.asked {
                if recovery.from >= window_end {
                    self.set_timer(Timer::Resend);
                    return;
                }
                recovery.asked = true;
                let round = self.state.round.0;
                let readers = |readers: NodeSet, group: &Group| readers.union(group.readers(round));
                self.ask_for_reports(self.config.groups_of(self.group()).fold(NodeSet::EMPTY, readers));
                self.set_timer(Timer::Resend);
            }
            if !self.has_read_quorum() {
                return;
            }
            self.propose_page();
        }
    }

    pub(super) fn ask_for_reports(&mut self, acceptors: NodeSet) {
        let (round, layout) = (self.state.round, self.layout());
        let Some(from) = self.recovery().map(|recovery| recovery.from) else { return };
        for acceptor in acceptors.iter() {
            self.send(layout.id(Role::Acceptor, acceptor), Msg::Phase1a { round, from });
        }
    }

    /// Has a read quorum of every acceptor group that decides its slots sent its page?
    fn has_read_quorum(&mut self) -> bool {
        let one_short = self.breaks(Mutant::ReadQuorumShort);
        let any_group = self.breaks(Mutant::OneGroupSuffices);
        let (config, group): (&Config<F>, _) = (self.config, self.group());
        let reporters = self.recovery().map_or(NodeSet::EMPTY, |recovery| recovery.reporters());
        is_enough(reporters, config.layout.acceptors, one_short, |set| {
            let mut groups = config.groups_of(group);
            let is_read_quorum = |group: &Group| group.system.is_read_quorum(set);
            if any_group { groups.any(is_read_quorum) } else { groups.all(is_read_quorum) }
        })
    }

    /// Proposes again what a read quorum reports of one page; the next page is then due, or phase 1 is over.
    fn propose_page(&mut self) {
        let (config, rules) = (self.config, self.recovery_rules());
        let chosen_below = self.state.chosen_below;
        let one_row = self.breaks(Mutant::ReportsOfOneRow);
        let all_slots = self.breaks_mencius(mencius::Mutant::RecoverForeignSlots);
        let slots = if all_slots { SlotClass::ALL } else { self.slots() };
        let Some(leading) = &mut self.state.leading else { return };
        let Some(recovery) = leading.recovery.take() else { return };
        let page = recovery.page(slots, chosen_below, rules, |slot, acceptor| {
            !one_row || config.group(slot).readers(slot.0).contains(acceptor)
        });
        leading.next_slot = page.next_slot;
        leading.recovery = page.next_page.map(Recovery::new);
        self.state.chosen_below = chosen_below.max(page.truncated);
        for (slot, value) in page.proposals {
            self.propose(slot, value);
        }
        if page.next_page.is_none() {
            self.cancel_timer(Timer::Resend);
            if !self.breaks_mencius(mencius::Mutant::RecoverSlotForgotten) {
                self.fill(self.state.fill_below);
            }
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
}
