//! Rounds of a server's own: election, matching, phase 1.

use super::leader::{Leading, Stage};
use super::server::Turn;
use super::{Announced, Matched, Matching, Msg, Mutant, Role, Settling, Timer};
use crate::command::{CommandId, CommandOf};
use crate::faults::Faults;
use crate::ids::{Slot, SlotClass};
use crate::log::{Recovery, RecoveryRules, Report};
use crate::matchmaking::{Age, Ask, Round, read_everywhere};
use crate::state_machine::StateMachine;
use parthood_quorums::{NodeSet, QuorumSystem};

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// The smallest round of this server above all that it has heard of, if the bound allows one more.
    fn next_round(&self) -> Option<Round> {
        let round = Round::next_owned_by(self.server.index, self.state.heard);
        (round.age() < self.server.config.bounds.rounds_max).then_some(round)
    }

    /// Gives a leader, present or hoped for, time to show itself.
    pub(super) fn await_leader(&mut self) {
        if self.state.leading.is_none() && self.next_round().is_some() {
            self.set_timer(Timer::Election);
        }
    }

    /// Stands for election: no leader was heard of for too long.
    pub(super) fn on_election_timeout(&mut self) {
        if self.state.leading.is_none() {
            let known = self.state.known.clone();
            self.begin_round(known);
        }
    }

    /// A higher round of another server ends one's leadership. Whoever waits for a slot is sent on.
    pub(super) fn raise_round(&mut self, round: Round) {
        if Some(round) <= self.state.heard {
            return;
        }
        self.state.heard = Some(round);
        if self.breaks(Mutant::BypassFromAnyRound) && self.go_on_beyond() {
            return;
        }
        if let Some(leading) = self.state.leading.take() {
            for command in &leading.queue.commands {
                self.send_elsewhere(command);
            }
            self.cancel_timer(Timer::Ping);
            self.cancel_timer(Timer::Resend);
            self.cancel_timer(Timer::Propose);
            self.await_leader();
        }
    }

    /// For a mutant: keeps leading, and takes what it knows along into a round that is not the successor of its own.
    fn go_on_beyond(&mut self) -> bool {
        let Some(leading) = self.leading() else { return false };
        let Some(next) = leading.next.take() else { return false };
        leading.orders.push_front(next.order());
        self.begin_next();
        true
    }

    /// Uses a round: saves that it does.
    pub(super) fn use_round(&mut self, round: Round) {
        self.state.used = Some(round);
        self.state.heard = Some(round);
        self.save();
    }

    /// Begins the smallest round of its own above all that it has heard of. What it has proposed and what waits it takes
    /// along: a command that is chosen twice is executed once.
    pub(super) fn begin_round(&mut self, announced: Announced) {
        let Some(round) = self.next_round() else { return };
        self.use_round(round);
        let mut begun = Leading::new(round, announced, self.state.replica.executed);
        let old = self.state.leading.take();
        if self.state.epoch.number > 0 && old.is_none() {
            begun.settling = Some(Settling::default());
        }
        if let Some(old) = old {
            let pending = old.outstanding.values().flat_map(|proposal| proposal.value.commands().to_vec());
            begun.queue.commands = pending.collect();
            begun.queue.commands.append(old.queue.commands);
            begun.queue.gathering = old.queue.gathering;
            begun.waiting = old.waiting;
            begun.orders = old.orders;
            begun.handover = old.handover;
            begun.settling = old.settling;
            if let Some(next) = old.next {
                begun.orders.push_front(next.order());
            }
        }
        self.state.leading = Some(begun);
        self.cancel_timer(Timer::Election);
        self.cancel_timer(Timer::Ping);
        self.ask_matchmakers();
        self.set_timer(Timer::Resend);
    }

    /// Gives its present round up for another one; with the next configuration that was asked for, if any was.
    pub(super) fn begin_another_round(&mut self) {
        let faults = self.server.config.faults;
        let known = self.state.known.version;
        let Some(leading) = self.leading() else { return };
        let mut announced = leading.announced.clone();
        let version = announced.version.max(known);
        let order = leading.next_order(version, |mutant| faults.breaks(mutant));
        let heeded = announced.generation.max(self.state.known.generation);
        if let (Some(order), Some(since)) = (&order, self.next_round()) {
            let (generation, configuration) = (order.by.generation(heeded), order.wanted.clone());
            announced = Announced { version: version + 1, since, generation, configuration };
        }
        self.begin_round(announced);
        if let (Some(order), Some(leading)) = (order, self.leading()) {
            leading.operator = order.by.operator();
        }
    }

    /// Announces, or announces again, the configuration of the round that is being matched.
    pub(super) fn ask_matchmakers(&mut self) {
        let epoch = self.state.epoch;
        let Some(leading) = self.leading() else { return };
        let (round, announced, answers) = match (&leading.stage, &leading.next) {
            (Stage::Matching(answers), _) => (leading.round, &leading.announced, answers),
            (_, Some(next)) => (next.round, &next.announced, &next.answers),
            _ => return,
        };
        let (missing, configuration) = (epoch.members.difference(answers.replied), announced.clone());
        let ask = Ask::MatchA { epoch, round, configuration };
        self.send_to_all(missing, Role::Matchmaker, &Msg::Ask(ask));
    }

    pub(super) fn on_match_b(
        &mut self,
        matchmaker: usize,
        round: Round,
        (watermark, collected): (Round, Age),
        earlier: Vec<Matched>,
    ) {
        let epoch = self.state.epoch;
        let one_short = self.breaks(Mutant::MatchQuorumShort);
        let combine = self.breaks(Mutant::CombineEpochs);
        let Some(leading) = self.state.leading.as_mut() else { return };
        let is_next = leading.round != round;
        let Some(answers) = leading.matching(round) else { return };
        answers.add(matchmaker, watermark, collected, earlier);
        let replied = answers.replied;
        let combined = combine && 2 * replied.len() > epoch.members.len();
        if epoch.is_quorum(replied) || combined || one_short {
            if is_next {
                self.activate();
            } else {
                self.end_matching();
            }
        }
    }

    /// Knows which configurations to ask; or that there is a newer one than its own, which it then goes on to.
    fn end_matching(&mut self) {
        let Some(Leading { stage: Stage::Matching(answers), announced, .. }) = &self.state.leading else {
            return;
        };
        let earlier = self.returned(answers);
        let newest = answers.earlier.iter().map(|(_, announced)| announced);
        let newest = newest.max_by_key(|announced| announced.age()).cloned();
        let keep = self.breaks(Mutant::KeepOutdated);
        if let Some(newest) = newest.filter(|newest| newest.age() > announced.age() && !keep) {
            if newest.age() > self.state.known.age() {
                self.state.known = newest.clone();
            }
            self.begin_round(newest);
            return;
        }
        let from = self.state.replica.executed;
        if let Some(leading) = self.leading() {
            leading.attempts = 0;
            leading.stage = Stage::Phase1 { earlier, recovery: Recovery::new(from) };
            self.advance_recovery();
        }
    }

    /// The configurations that phase 1 must ask. Not those that are older than the one that was collected for: a server that had
    /// slept announced them for larger rounds, learned of the newer one, and proposed nothing there.
    fn returned(&self, answers: &Matching) -> Vec<Matched> {
        let mut returned = answers.returned();
        if !self.breaks(Mutant::AskOutdated) {
            returned.retain(|(_, announced)| announced.age() >= answers.collected);
        }
        if self.breaks(Mutant::IgnoreWatermarks) {
            returned.clone_from(&answers.earlier);
        }
        if self.breaks(Mutant::SkipOldestConfiguration) && returned.len() > 1 {
            returned.remove(0);
        }
        if self.breaks(Mutant::OnlyNewestConfiguration) {
            returned.drain(..returned.len().saturating_sub(1));
        }
        returned
    }

    /// Asks, or asks again, for the pages that are missing.
    pub(super) fn ask_for_reports(&mut self) {
        let Some(leading) = self.leading() else { return };
        let Stage::Phase1 { earlier, recovery } = &leading.stage else { return };
        let all = earlier.iter().map(|(_, announced)| announced.configuration.acceptors());
        let missing = all.fold(NodeSet::EMPTY, NodeSet::union).difference(recovery.reporters());
        let (round, from) = (leading.round, recovery.from);
        if recovery.asked {
            self.send_to_all(missing, Role::Acceptor, &Msg::Phase1a { round, from });
        }
    }

    /// Adds a page, and goes on if that was enough.
    pub(super) fn on_phase1b(&mut self, acceptor: usize, report: Report<M::Command, Round>) {
        if let Some(recovery) = self.recovery() {
            recovery.reports.insert(acceptor, report);
            self.advance_recovery();
            self.propose_queue();
        }
    }

    fn recovery(&mut self) -> Option<&mut Recovery<M::Command, Round>> {
        match self.leading() {
            Some(Leading { stage: Stage::Phase1 { recovery, .. }, .. }) => Some(recovery),
            _ => None,
        }
    }

    /// Goes through the log as far as pages have arrived and there is room for what they bring.
    pub(super) fn advance_recovery(&mut self) {
        let window = self.server.config.limits.window_slots;
        loop {
            let room = self.leading().is_some_and(|leading| leading.outstanding.len() < window);
            let Some(recovery) = self.recovery() else { return };
            if !recovery.asked {
                if !room {
                    return;
                }
                recovery.asked = true;
                self.ask_for_reports();
            }
            if !self.has_read_quorums() {
                return;
            }
            self.propose_page();
        }
    }

    /// Has a read quorum of every returned configuration sent its page?
    fn has_read_quorums(&self) -> bool {
        let Some(Leading { stage: Stage::Phase1 { earlier, recovery }, .. }) = &self.state.leading else {
            return false;
        };
        let reporters = recovery.reporters();
        let configurations = || earlier.iter().map(|(_, announced)| &announced.configuration);
        let any_suffices = self.breaks(Mutant::AnyConfigurationSuffices);
        read_everywhere(configurations(), reporters)
            || any_suffices && configurations().any(|configuration| configuration.is_read_quorum(reporters))
    }

    /// Proposes again what read quorums report of one page; the next page is then due, or phase 1 is over. From where it
    /// has found nothing nobody has chosen anything, and nobody will.
    fn propose_page(&mut self) {
        let executed = self.state.replica.executed;
        let rules = RecoveryRules {
            noop_over_votes: self.breaks(Mutant::NoopOverVotes),
            lowest_vote: self.breaks(Mutant::LowestVote),
            ignore_truncation: self.breaks(Mutant::IgnorePersisted),
            ..RecoveryRules::default()
        };
        let Some(recovery) = self.recovery() else { return };
        let page = recovery.page(SlotClass::ALL, executed, rules, |_, _| true);
        let next_page = page.next_page.map(Recovery::new);
        let is_over = next_page.is_none();
        let Some(leading) = self.leading() else { return };
        leading.attempts = 0;
        leading.next_slot = page.next_slot;
        leading.free_from = page.next_slot;
        match (next_page, &mut leading.stage) {
            (Some(next), Stage::Phase1 { recovery, .. }) => *recovery = next,
            _ => leading.stage = Stage::Steady,
        }
        self.expect_chosen(page.truncated, None);
        for (slot, value) in page.proposals.into_iter().filter(|(slot, _)| *slot >= executed) {
            self.propose(slot, value);
        }
        if is_over {
            self.become_steady();
        }
    }

    /// Leads.
    fn become_steady(&mut self) {
        let Some(leading) = self.leading() else { return };
        let announced = leading.announced.clone();
        if announced.age() > self.state.known.age() {
            self.state.known = announced;
            self.save();
        }
        self.tell_operator();
        self.ping();
        self.look_around();
        self.make_durable();
        self.propose_queue();
        self.begin_next();
        self.heed_file();
    }

    /// A leader that has caught up past its own proposals need not count their votes any more. What somebody else's value has
    /// taken the slot of gets another one. (That one's round is above, and so this leader's is over; but nobody who knows
    /// that may be left to say so. Acceptors are, once something is proposed to them.)
    pub(super) fn forget_decided_proposals(&mut self) {
        let executed = self.state.replica.executed;
        if let Some(leading) = self.leading() {
            let mut ousted = vec![];
            while leading.outstanding.get_min().is_some_and(|(slot, _)| *slot < executed) {
                let (proposal, rest) = leading.outstanding.without_min();
                leading.outstanding = rest;
                ousted.extend(proposal.into_iter().flat_map(|one| one.value.commands().to_vec()));
            }
            leading.next_slot = leading.next_slot.max(executed);
            for command in ousted {
                self.request_again(command);
            }
            self.forget_previous();
            self.advance_recovery();
            self.propose_queue();
        }
    }

    /// Handles a command anew, if its client still waits.
    fn request_again(&mut self, command: CommandOf<M>) {
        let CommandId { client, pseudonym, seq, .. } = command.id;
        let Some(leading) = self.leading() else { return };
        if leading.waiting.get(&(client, pseudonym)) == Some(&seq) {
            leading.waiting.remove(&(client, pseudonym));
            self.on_request(command.id.client_id(), command);
        }
    }

    /// The `f + 1`-th largest of the slots up to which servers have saved, this one included.
    pub(super) fn stored_below(&mut self) -> Slot {
        let index = self.server.index;
        let f = self.server.config.f();
        let needed = if self.breaks(Mutant::PersistTooEarly) { f } else { f + 1 };
        let own = self.state.replica.snapshot.slot;
        let Some(leading) = self.leading() else { return Slot::ZERO };
        let others = leading.stored.iter().filter(|(server, _)| **server != index).map(|(_, slot)| *slot);
        let mut slots: Vec<Slot> = others.chain([own]).collect();
        slots.sort_unstable_by(|a, b| b.cmp(a));
        slots.get(needed.saturating_sub(1)).copied().unwrap_or_default()
    }
}
