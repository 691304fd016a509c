//! Phase 1 of a new leader: what may be chosen already is proposed again, page by page.

use super::VotedSlot;
use crate::command::Value;
use crate::ids::{Round, Slot, SlotClass};
use im::OrdMap;
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};

/// Phase 1 of a leader, which goes through the log from its first slot that it does not know to be chosen.
///
/// An acceptor promises with its first page and reports only votes of smaller rounds or of this very leader afterwards, so
/// pages asked for later are as good as one that was asked for at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recovery<C: Clone, R: Clone = Round> {
    /// The first slot of the pages that it waits for.
    pub from: Slot,
    /// The pages it has, by acceptor.
    pub reports: OrdMap<usize, Report<C, R>>,
    /// Whether it has asked for the pages; it waits with that while too many slots are outstanding.
    pub asked: bool,
}

/// A page of an acceptor's votes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Report<C, R = Round> {
    /// Votes, in ascending order of slots.
    pub votes: Vec<VotedSlot<C, R>>,
    /// The slot of the first vote that did not fit; none if the page is the last.
    pub next: Option<Slot>,
    /// All slots below are chosen, and their votes dropped.
    pub chosen_below: Slot,
}

/// What follows from the pages of a read quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<C> {
    /// What to propose.
    pub proposals: Vec<(Slot, Value<C>)>,
    /// The first slot that nothing was proposed for.
    pub next_slot: Slot,
    /// Where the next page begins, if this one was not the last.
    pub next_page: Option<Slot>,
    /// All slots below are chosen and truncated somewhere.
    pub truncated: Slot,
}

/// Rules of `Recovery::page` that a mutant may break.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a rule of its own")]
pub struct RecoveryRules {
    /// Fills every slot with a noop.
    pub noop_over_votes: bool,
    /// Takes the vote of the lowest round.
    pub lowest_vote: bool,
    /// Numbers new slots after the last vote, whatever is chosen.
    pub next_slot_ignores_chosen: bool,
    /// Proposes from slot zero on.
    pub propose_from_zero: bool,
    /// Takes no notice of truncation.
    pub ignore_truncation: bool,
    /// Takes the first page for the last.
    pub first_page_only: bool,
}

impl<C: Clone, R: Copy + Ord> Recovery<C, R> {
    /// Phase 1 from a slot on, with nothing asked yet.
    pub(crate) fn new(from: Slot) -> Self {
        Self { from, reports: OrdMap::new(), asked: false }
    }

    /// Does it need this acceptor's page?
    pub fn awaits(&self, from: Slot, acceptor: usize) -> bool {
        self.asked && self.from == from && !self.reports.contains_key(&acceptor)
    }

    /// Whose pages it has.
    pub fn reporters(&self) -> NodeSet {
        self.reports.keys().copied().collect()
    }

    /// The value to propose for a slot: the reported vote of the highest round, else nothing. Votes of acceptors outside
    /// the slot's group do not hurt: whatever was proposed in a round is safe to propose in any higher one. (So all
    /// reports count for every slot. The reference code looks at one row of a grid only, its defect D2.)
    pub(crate) fn value_for(&self, slot: Slot, lowest: bool, counts: impl Fn(usize) -> bool) -> Value<C> {
        let votes =
            self.reports.iter().filter(|(acceptor, _)| counts(**acceptor)).filter_map(|(_, report)| {
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

    /// What the pages of a read quorum demand of a leader that numbers the slots of a class, and knows all slots below
    /// `chosen_below` to be chosen.
    /// Proposing for such a slot again is as safe as it is needless, as long as its votes are there: `from` says where a
    /// leader begins. New slots begin above everything that was voted for and everything that is chosen (the reference
    /// code forgets the latter, its defect D1).
    pub(crate) fn page(
        &self,
        class: SlotClass,
        chosen_below: Slot,
        rules: RecoveryRules,
        counts: impl Fn(Slot, usize) -> bool,
    ) -> Page<C> {
        let reports = || self.reports.values();
        let truncated = reports().map(|report| report.chosen_below).max().unwrap_or_default();
        let skipped = if rules.ignore_truncation { Slot::ZERO } else { truncated };
        let last_vote = reports().filter_map(|report| report.votes.last()).map(|vote| vote.slot).max();
        let votes_end = last_vote.map_or(Slot::ZERO, Slot::next);
        let next_page = reports().filter_map(|report| report.next).min();
        let next_page = next_page.filter(|_| !rules.first_page_only);

        let begin = if rules.propose_from_zero { Slot::ZERO } else { self.from.max(skipped) };
        let end = next_page.unwrap_or(votes_end);
        let new_slots = match next_page {
            _ if rules.next_slot_ignores_chosen => votes_end,
            _ if rules.propose_from_zero => end,
            Some(_) | None => end.max(begin).max(chosen_below),
        };
        let value = |slot| {
            let forget = rules.noop_over_votes;
            let value = self.value_for(slot, rules.lowest_vote, |acceptor| counts(slot, acceptor));
            if forget { Value::Noop } else { value }
        };
        let proposals = class.range(begin, end).map(|slot| (slot, value(slot))).collect();
        Page { proposals, next_slot: class.at_or_after(new_slots), next_page, truncated }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Vote;

    fn report(votes: &[(u64, u64, Value<u8>)]) -> Report<u8> {
        let votes = votes.iter().map(|(slot, round, value)| VotedSlot {
            slot: Slot(*slot),
            vote: Vote { vote_round: Round(*round), vote_value: value.clone() },
        });
        Report { votes: votes.collect(), next: None, chosen_below: Slot::ZERO }
    }

    fn value(seq: u64) -> Value<u8> {
        let id = crate::command::CommandId { client: 9, session: 0, pseudonym: 0, seq };
        Value::Batch([crate::command::Command { id, op: crate::command::Operation::Apply(0) }].into())
    }

    #[test]
    fn the_vote_of_the_highest_round_is_proposed_and_a_hole_is_filled_with_a_noop() {
        let reports = OrdMap::from(vec![
            (0_usize, report(&[(3, 1, value(1)), (5, 2, value(2))])),
            (1, report(&[(3, 4, value(4))])),
        ]);
        let recovery = Recovery { from: Slot(3), reports, asked: true };
        let page = recovery.page(SlotClass::ALL, Slot(3), RecoveryRules::default(), |_, _| true);
        let expected = vec![(Slot(3), value(4)), (Slot(4), Value::Noop), (Slot(5), value(2))];
        assert_eq!((page.proposals, page.next_slot), (expected, Slot(6)));
    }

    #[test]
    fn new_slots_begin_above_what_is_chosen_although_nobody_reports_it() {
        let recovery = Recovery { from: Slot(7), reports: OrdMap::unit(0, report(&[])), asked: true };
        assert_eq!(
            recovery.page(SlotClass::ALL, Slot(7), RecoveryRules::default(), |_, _| true).next_slot,
            Slot(7)
        );
        let truncated = Report { chosen_below: Slot(9), ..report(&[]) };
        let recovery = Recovery { from: Slot(7), reports: OrdMap::unit(0, truncated), asked: true };
        let page = recovery.page(SlotClass::ALL, Slot(7), RecoveryRules::default(), |_, _| true);
        assert_eq!((page.next_slot, page.proposals), (Slot(9), vec![]));
    }

    /// The worked example of the compartmentalization notes, 8.3: the second of three leader groups.
    #[test]
    fn new_slots_of_a_class_begin_above_what_is_chosen_and_what_is_voted_for() {
        let class = SlotClass::dealt(1, 3);
        let next = |votes: &[(u64, u64, Value<u8>)], chosen| {
            let reports = OrdMap::unit(0, report(votes));
            let recovery = Recovery { from: Slot::ZERO, reports, asked: true };
            recovery.page(class, Slot(chosen), RecoveryRules::default(), |_, _| true)
        };
        assert_eq!(next(&[(10, 1, value(1))], 15).next_slot, Slot(16));
        assert_eq!(next(&[(10, 1, value(1))], 0).next_slot, Slot(13));
        assert_eq!(next(&[], 0).next_slot, Slot(1));
        let slots: Vec<_> =
            next(&[(7, 1, value(1))], 0).proposals.into_iter().map(|(slot, _)| slot.0).collect();
        assert_eq!(slots, [1, 4, 7]);
    }

    #[test]
    fn a_page_is_awaited_from_each_acceptor_once() {
        let reports = OrdMap::from(vec![(0_usize, report(&[]))]);
        let recovery = Recovery { from: Slot(3), reports, asked: true };
        assert!(recovery.awaits(Slot(3), 1));
        assert!(!recovery.awaits(Slot(3), 0) && !recovery.awaits(Slot(4), 1));
    }
}
