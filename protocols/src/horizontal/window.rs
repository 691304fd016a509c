//! Whose votes decide which slot, and phase 1 with each configuration.
//!
//! A leader keeps a *chunk* for each configuration that slots from its first unexecuted one on have. It runs phase 1 of its
//! round in each, ahead of time: with the acceptors of a new configuration while the rest of the window still goes to the
//! old ones. Slots are taken in order. The next one is recovered if phase 1 of its chunk is not over, else given to what
//! waits; and none beyond the window is.

use super::leader::Leading;
use super::server::Turn;
use super::{Entry, Msg, Mutant, Numbered, Role, Timer};
use crate::command::ValueOf;
use crate::faults::{Faults, is_enough};
use crate::ids::{Round, Slot, SlotClass};
use crate::log::{Recovery, RecoveryRules, Report};
use crate::matchmaking::Configuration;
use crate::operator::Progress;
use crate::queue::Due;
use crate::state_machine::StateMachine;
use im::Vector;
use parthood_quorums::{NodeSet, QuorumSystem};

/// A configuration and what a leader has asked its acceptors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chunk<C: Clone> {
    /// The configuration, and from which slot on it governs.
    pub numbered: Numbered,
    /// Phase 1, until it is over.
    pub phase1: Option<Recovery<Entry<C>>>,
}

impl<C: Clone> Leading<C> {
    /// The chunk of a slot.
    fn chunk_of(&self, slot: Slot) -> Option<usize> {
        self.chunks.iter().rposition(|chunk| chunk.numbered.first <= slot)
    }

    /// Does it need this page?
    pub(super) fn awaits_report(&self, round: Round, from: Slot, acceptor: usize) -> bool {
        self.round == round && self.chunks.iter().any(|chunk| chunk.awaits(from, acceptor))
    }
}

impl<C: Clone> Chunk<C> {
    fn awaits(&self, from: Slot, acceptor: usize) -> bool {
        self.numbered.configuration.acceptors().contains(acceptor)
            && self.phase1.as_ref().is_some_and(|recovery| recovery.awaits(from, acceptor))
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// The newest configuration in the log, as far as that is executed.
    pub(super) fn newest(&self) -> Numbered {
        let newest = self.state.replica.machine.newest().cloned();
        newest.unwrap_or_else(|| Numbered::initial(self.server.config.initial.clone()))
    }

    /// The configuration that decides a slot of the window.
    pub(super) fn configuration(&self, slot: Slot) -> Configuration {
        let governing = self.state.replica.machine.governing(slot).map(|one| &one.configuration);
        governing.unwrap_or(&self.server.config.initial).clone()
    }

    /// The first chunks of a new leader.
    pub(super) fn first_chunks(&self) -> Vector<Chunk<M::Command>> {
        let (machine, executed) = (&self.state.replica.machine, self.state.replica.executed);
        let mut first = machine.governing(executed).cloned();
        if self.breaks(Mutant::OnlyNewestConfiguration) {
            first = machine.newest().cloned().map(|newest| Numbered { first: executed, ..newest });
        }
        let numbered = first.unwrap_or_else(|| Numbered::initial(self.server.config.initial.clone()));
        Vector::unit(Chunk { numbered, phase1: Some(Recovery::new(executed)) })
    }

    /// Takes slots for as long as the window and phase 1 allow it, and says how far it is.
    pub(super) fn go_on(&mut self) {
        self.follow_log();
        while self.take_next_slot(false) {}
        self.tell_operator();
    }

    /// What has arrived together is here.
    pub(super) fn on_propose_timeout(&mut self) {
        let once = self.breaks(Mutant::GatherOnce);
        if let Some(leading) = self.leading() {
            leading.queue.has_gathered(once);
            while self.take_next_slot(true) {}
        }
    }

    /// Opens chunks for configurations that were chosen, and leaves behind what is executed.
    fn follow_log(&mut self) {
        let skip = self.breaks(Mutant::SkipNewAcceptors);
        let (executed, newest) = (self.state.replica.executed, self.newest());
        let configurations = self.state.replica.machine.configurations.clone();
        let Some(leading) = self.leading() else { return };
        let last = leading.chunks.last().map_or(0, |chunk| chunk.numbered.number);
        for numbered in configurations.into_iter().filter(|numbered| numbered.number > last) {
            let phase1 = (!skip).then(|| Recovery::new(numbered.first.max(executed)));
            leading.chunks.push_back(Chunk { numbered, phase1 });
        }
        while leading.chunks.get(1).is_some_and(|second| second.numbered.first <= executed) {
            leading.chunks.pop_front();
        }
        while leading.outstanding.get_min().is_some_and(|(slot, _)| *slot < executed) {
            leading.outstanding = leading.outstanding.without_min().1;
        }
        leading.next_slot = leading.next_slot.max(executed);
        while let Some(order) = leading.orders.front().filter(|order| order.number <= newest.number).cloned()
        {
            leading.orders.pop_front();
            if order.wanted == newest.configuration {
                leading.told = Some((order.operator, Progress::Waiting));
            }
        }
        if newest.number > last {
            self.ask_for_reports();
            self.ask_to_store();
        }
    }

    /// Proposes for the next slot, or goes on with phase 1 of its chunk; false if it has to wait. What remains until a new
    /// configuration governs is filled at once, with noops where nothing waits, so that this comes to pass; from there on what
    /// waits is proposed when it `has_gathered`.
    fn take_next_slot(&mut self, has_gathered: bool) -> bool {
        let gather = self.server.config.timing.gather.filter(|_| !has_gathered);
        let beyond = u64::from(self.breaks(Mutant::ProposeBeyondWindow));
        let horizon = self.server.config.horizon(self.state.replica.executed).plus(beyond);
        let governs_from = self.newest().first;
        let Some(leading) = self.leading() else { return false };
        let slot = leading.next_slot;
        let Some(at) = leading.chunk_of(slot).filter(|_| slot < horizon) else { return false };
        if leading.chunks[at].phase1.is_some() {
            return self.recover(at, horizon);
        }
        if slot >= governs_from {
            let due = (!leading.queue.is_empty()).then(|| leading.queue.due(gather));
            if due == Some(Due::AtTimer) {
                self.set_timer(Timer::Propose);
            }
            if due != Some(Due::Now) {
                return false;
            }
        }
        let Some(leading) = self.leading() else { return false };
        leading.next_slot = slot.next();
        let value = self.next_value(slot);
        self.propose(slot, value);
        true
    }

    /// Asks, or asks again, the acceptors of all chunks whose phase 1 is not over for the pages that are missing.
    pub(super) fn ask_for_reports(&mut self) {
        let Some(leading) = self.leading() else { return };
        let round = leading.round;
        let mut questions = Vec::new();
        for chunk in &mut leading.chunks {
            if let Some(recovery) = &mut chunk.phase1 {
                recovery.asked = true;
                let missing = chunk.numbered.configuration.acceptors().difference(recovery.reporters());
                questions.push((missing, recovery.from));
            }
        }
        for (missing, from) in questions {
            self.send_to_all(missing, Role::Acceptor, &Msg::Phase1a { round, from });
        }
    }

    /// Adds a page to whatever chunk it is of, and goes on if that was enough.
    pub(super) fn on_phase1b(&mut self, acceptor: usize, from: Slot, report: &Report<Entry<M::Command>>) {
        let Some(leading) = self.leading() else { return };
        for chunk in leading.chunks.iter_mut().filter(|chunk| chunk.awaits(from, acceptor)) {
            if let Some(recovery) = &mut chunk.phase1 {
                recovery.reports.insert(acceptor, report.clone());
            }
        }
        self.go_on();
    }

    /// Proposes again what a read quorum of a chunk reports, as far as slots belong to the chunk and the window; false if no
    /// read quorum has reported yet.
    fn recover(&mut self, at: usize, horizon: Slot) -> bool {
        let rules = RecoveryRules {
            noop_over_votes: self.breaks(Mutant::NoopOverVotes),
            lowest_vote: self.breaks(Mutant::LowestVote),
            ignore_truncation: self.breaks(Mutant::IgnorePersisted),
            ..RecoveryRules::default()
        };
        let one_short = self.breaks(Mutant::ReadQuorumShort);
        let (all, executed) = (self.server.config.acceptors, self.state.replica.executed);
        let Some(leading) = self.leading() else { return false };
        let end = leading.chunks.get(at + 1).map_or(horizon, |next| next.numbered.first.min(horizon));
        let Some(Chunk { numbered, phase1: Some(recovery) }) = leading.chunks.get(at) else { return false };
        let reads = |set| numbered.configuration.is_read_quorum(set);
        if !recovery.asked || !is_enough(recovery.reporters(), all, one_short, reads) {
            return false;
        }
        let page = recovery.page(SlotClass::ALL, executed, rules, |_, _| true);
        let next_page = page.next_page.map(Recovery::new);
        let begin = leading.next_slot;
        leading.next_slot = begin.max(page.next_slot.min(end));
        let proposed = begin..leading.next_slot;
        if page.next_slot <= end {
            leading.chunks[at].phase1 = next_page;
        }
        let begins_to_lead = !leading.leads && leading.chunks[at].phase1.is_none();
        leading.leads |= begins_to_lead;
        self.expect_chosen(page.truncated, None);
        for (slot, value) in page.proposals.into_iter().filter(|(slot, _)| proposed.contains(slot)) {
            self.propose_again(slot, value);
        }
        if begins_to_lead {
            self.ping();
            self.ask_to_store();
        }
        self.ask_for_next_pages();
        true
    }

    fn propose_again(&mut self, slot: Slot, value: ValueOf<super::Configured<M>>) {
        if slot >= self.state.replica.executed {
            self.propose(slot, value);
        }
    }

    /// Asks for pages that nobody was asked for.
    fn ask_for_next_pages(&mut self) {
        let unasked = |chunk: &Chunk<_>| chunk.phase1.as_ref().is_some_and(|recovery| !recovery.asked);
        if self.leading().is_some_and(|leading| leading.chunks.iter().any(unasked)) {
            self.ask_for_reports();
        }
    }

    /// The `f + 1`-th largest of the slots up to which servers have saved, this one included.
    pub(super) fn stored_below(&mut self) -> Slot {
        let (index, f) = (self.server.index, self.server.config.f());
        let needed = if self.breaks(Mutant::PersistTooEarly) { f } else { f + 1 };
        let own = self.state.replica.snapshot.slot;
        let Some(leading) = self.leading() else { return Slot::ZERO };
        let others = leading.stored.iter().filter(|(server, _)| **server != index).map(|(_, slot)| *slot);
        let mut slots: Vec<Slot> = others.chain([own]).collect();
        slots.sort_unstable_by(|a, b| b.cmp(a));
        slots.get(needed.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Asks, or asks again, servers to save what the slots amount to that older configurations decided.
    pub(super) fn ask_to_store(&mut self) {
        let below = self.newest().first;
        let others = NodeSet::first(self.server.config.servers).without(self.server.index);
        let retires = self.server.config.retire && below > Slot::ZERO;
        let Some(leading) = self.leading().filter(|leading| retires && leading.leads) else { return };
        let stored = |server: &usize| leading.stored.get(server) >= Some(&below);
        let missing = others.iter().filter(|server| !stored(server)).collect();
        self.send_to_all(missing, Role::Server, &Msg::Store(below));
        self.state.store_below = self.state.store_below.max(below);
        self.store_if_due();
    }

    pub(super) fn on_stored(&mut self, server: usize, slot: Slot) {
        if let Some(leading) = self.leading() {
            leading.stored.insert(server, slot);
            self.persist();
        }
    }

    /// Tells acceptors how far enough servers have saved what the log amounts to, if that is farther than they were told. One
    /// that does not hear of it hears the next time.
    pub(super) fn persist(&mut self) {
        let stored = self.stored_below();
        let Some(leading) = self.leading().filter(|leading| leading.leads) else { return };
        if stored > leading.persisted {
            leading.persisted = stored;
            let all = leading.chunks.iter().map(|chunk| chunk.numbered.configuration.acceptors());
            let acceptors = all.fold(NodeSet::EMPTY, NodeSet::union);
            self.send_to_all(acceptors, Role::Acceptor, &Msg::Persisted(stored));
        }
        self.tell_operator();
    }
}
