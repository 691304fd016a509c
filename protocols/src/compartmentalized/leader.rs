//! The leader: numbers commands. It keeps no log, so after phase 1 it handles two messages per command or batch.

use super::config::Role;
use super::mutant::{Mutant, Rules};
use super::node::{Node, Part, Turn};
use super::storage::Storage;
use super::{Msg, Timer};
use crate::client::ClientMsg;
use crate::command::{CommandOf, Value, ValueOf};
use crate::ids::{Round, Slot, SlotClass, remainder};
use crate::log::Recovery;
use crate::queue::{Due, Queue};
use crate::state_machine::StateMachine;
use im::OrdSet;
use parthood_quorums::NodeSet;
use stateright::actor::{Id, Out};
use std::time::Duration;

/// A leader's state, of which its last round is saved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaderState<C: Clone> {
    /// The largest round that it has used or heard of.
    pub round: Round,
    /// All slots below are known to be chosen.
    pub chosen_below: Slot,
    /// Another leader group has proposed something in all its slots below.
    pub high_watermark: Slot,
    /// With several leader groups: somebody waits for all slots below, so whoever leads next fills them.
    pub fill_below: Slot,
    /// Proxy leaders that lost something; they are passed over while there are others.
    pub suspects: OrdSet<usize>,
    /// What it does as the leader of `round`, if it is active.
    pub leading: Option<Leading<C>>,
}

/// What an active leader knows; nothing of it survives a restart or a higher round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leading<C: Clone> {
    /// Phase 1, until it is finished.
    pub recovery: Option<Recovery<C>>,
    /// The first slot of its own that it has not proposed for.
    pub next_slot: Slot,
    /// Commands that wait for a slot.
    pub queue: Queue<C>,
    /// What it knew to be chosen when it last asked, its window being full.
    pub asked_at: Option<Slot>,
}

impl<F: Rules> Part<F> {
    pub(super) fn start_leader<M: StateMachine>(
        &self,
        storage: Option<&Storage<M>>,
        out: &mut Out<Node<M, F>>,
    ) -> LeaderState<M::Command> {
        let saved = match storage {
            Some(Storage::Leader { round }) => Some(*round),
            _ => None,
        };
        let mut state = LeaderState {
            round: saved.unwrap_or_default(),
            chosen_below: Slot::ZERO,
            high_watermark: Slot::ZERO,
            fill_below: Slot::ZERO,
            suspects: OrdSet::new(),
            leading: None,
        };
        let mut turn = self.turn(&mut state, out);
        // Nothing precedes round zero, so its owner leads without phase 1: once, which the save makes sure of.
        if self.config.number_in_group(self.index) == 0 && saved.is_none() && !self.lost_storage {
            turn.save();
            turn.lead(None, Slot::ZERO);
            turn.ping();
        } else {
            turn.await_leader();
        }
        state
    }

    pub(super) fn leader_ignores<M: StateMachine>(
        &self,
        state: &LeaderState<M::Command>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let config = &self.config;
        let (role, index) = config.layout.role(src);
        match msg {
            Msg::Client(ClientMsg::Request(command)) => !command.is_sound::<M>(src),
            Msg::Commands(_) => role != Role::Batcher,
            Msg::Phase1b { round, from, .. } => {
                let recovery = state.leading.as_ref().and_then(|leading| leading.recovery.as_ref());
                role != Role::Acceptor
                    || *round != state.round
                    || recovery.is_none_or(|recovery| !recovery.awaits(*from, index))
            }
            Msg::Nack { round } => *round <= state.round,
            Msg::Ping { round } => {
                let is_over = *round < state.round && !config.bounds.nack;
                let others = config.group_of_leader(index) != config.group_of_leader(self.index);
                role != Role::Leader || others || is_over || *round == state.round && state.leading.is_some()
            }
            Msg::ChosenBelow(slot) => role != Role::Replica || *slot <= state.chosen_below,
            Msg::HighWatermark(slot) => role != Role::ProxyLeader || *slot <= state.high_watermark,
            Msg::Fill(_) | Msg::Recover(_) => role != Role::Replica,
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, LeaderState<M::Command>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        match msg {
            Msg::Client(ClientMsg::Request(command)) => self.on_request(src, command),
            Msg::Commands(commands) => self.on_commands(src, commands),
            Msg::Phase1b { report, .. } => {
                let (_, acceptor) = self.layout().role(src);
                self.on_phase1b(acceptor, report);
            }
            Msg::Nack { round } => self.step_down(round),
            Msg::Ping { round } => self.on_ping(src, round),
            Msg::ChosenBelow(slot) => {
                self.state.chosen_below = slot;
                self.go_on();
            }
            Msg::HighWatermark(slot) => {
                self.state.high_watermark = slot;
                self.skip_if_behind();
            }
            Msg::Fill(below) => self.fill(below),
            Msg::Recover(slot) => self.on_recover(slot),
            _ => {}
        }
    }

    pub(super) fn on_timeout(&mut self, timer: Timer) {
        match timer {
            Timer::Election if self.state.leading.is_none() => self.elect(self.state.chosen_below),
            Timer::Ping => self.ping(),
            Timer::Propose => self.on_propose_timeout(),
            Timer::Resend => self.on_resend_timeout(),
            _ => {}
        }
    }

    /// Its round must not be used again after a restart.
    pub(super) fn save(&mut self) {
        if !self.breaks(Mutant::ReuseRoundAfterRestart) {
            self.out.save(Storage::Leader { round: self.state.round });
        }
    }

    /// The leader group that it belongs to.
    pub(crate) fn group(&self) -> usize {
        self.config.group_of_leader(self.index)
    }

    /// The slots that it numbers when it leads.
    pub(crate) fn slots(&self) -> SlotClass {
        self.config.slots_of(self.group())
    }

    /// The smallest round of this leader above all that it has heard of.
    fn next_round(&self) -> Round {
        let round = self.state.round;
        if self.breaks(Mutant::SharedRounds) {
            Round(round.0 + 1)
        } else {
            let (number, group) = (self.config.number_in_group(self.index), self.group());
            round.next_owned_by(number, self.config.leaders_in(group))
        }
    }

    pub(super) fn lead(&mut self, recovery: Option<Recovery<M::Command>>, from: Slot) {
        let queue = self.state.leading.take().map(|leading| leading.queue).unwrap_or_default();
        let next_slot = self.slots().at_or_after(from);
        self.state.leading = Some(Leading { recovery, next_slot, queue, asked_at: None });
        self.cancel_timer(Timer::Election);
    }

    /// Gives a leader, present or hoped for, time to show itself.
    pub(super) fn await_leader(&mut self) {
        let may = self.state.leading.is_none() && !self.part.lost_storage;
        if may && self.next_round() <= self.config.bounds.round_max {
            self.set_timer(Timer::Election);
        }
    }

    /// Starts a round of its own, to propose again from a slot on.
    fn elect(&mut self, from: Slot) {
        let round = self.next_round();
        if round > self.config.bounds.round_max || self.part.lost_storage {
            return;
        }
        self.state.round = round;
        self.save();
        self.lead(Some(Recovery::new(from)), from);
        self.go_on();
    }

    /// Gives way to a higher round. Whoever waits for a slot is sent on.
    fn step_down(&mut self, round: Round) {
        self.state.round = round;
        if let Some(leading) = self.state.leading.take() {
            self.cancel_timer(Timer::Ping);
            self.cancel_timer(Timer::Resend);
            self.cancel_timer(Timer::Propose);
            for command in &leading.queue.commands {
                self.send_elsewhere(command);
            }
        }
        self.await_leader();
    }

    fn on_ping(&mut self, leader: Id, round: Round) {
        if round < self.state.round {
            let round = self.state.round;
            self.send(leader, Msg::Nack { round });
        } else {
            self.step_down(round);
        }
    }

    /// Tells the other leaders of its group and the batchers that this one leads, and replicas how far everything is chosen.
    pub(super) fn ping(&mut self) {
        if self.state.leading.is_some() && self.config.bounds.ping {
            let msg = Msg::Ping { round: self.state.round };
            self.send_to_leaders(self.group(), Some(self.index), &msg);
            self.send_to_all(Role::Batcher, None, &msg);
            if !self.breaks(Mutant::LagUnnoticed) {
                self.ask_chosen();
            }
            self.set_timer(Timer::Ping);
        }
    }

    fn on_request(&mut self, client: Id, command: CommandOf<M>) {
        let limit = self.config.limits.waiting_commands;
        match &mut self.state.leading {
            None => self.send_elsewhere(&command),
            Some(leading) if leading.queue.len() >= limit => {
                self.send(client, Msg::Client(ClientMsg::Busy { id: command.id }));
            }
            Some(leading) => {
                leading.queue.commands.push_back(command);
                self.propose_more(1);
            }
        }
    }

    fn send_elsewhere(&mut self, command: &CommandOf<M>) {
        let id = command.id;
        let leader = usize::from(self.config.leader_of(self.group(), self.state.round)) as u64;
        self.send(id.client_id(), Msg::Client(ClientMsg::NotLeader { id, leader }));
    }

    /// Numbers a batch. One for which there is no room is dropped: the clients ask again.
    fn on_commands(&mut self, batcher: Id, commands: Vec<CommandOf<M>>) {
        let limit = self.config.limits.waiting_commands;
        match &mut self.state.leading {
            None => {
                let round = self.state.round;
                self.send(batcher, Msg::NotLeader { round, commands });
            }
            Some(leading) if leading.queue.len() + commands.len() > limit => {}
            Some(leading) => {
                let added = commands.len();
                leading.queue.commands.extend(commands);
                self.propose_more(added);
            }
        }
    }

    /// Goes on with whatever waited for room.
    pub(super) fn go_on(&mut self) {
        self.advance_recovery();
        if !self.propose_soon() {
            self.set_timer(Timer::Resend);
        }
        self.skip_if_behind();
    }

    /// Proposes what was added to the queue. The first that has to wait for room sets the clock; later ones do not put it
    /// back.
    fn propose_more(&mut self, added: usize) {
        let first = self.ready().is_some_and(|leading| leading.queue.len() == added);
        if !self.propose_soon() && first {
            self.set_timer(Timer::Resend);
        }
    }

    /// How long commands gather. Where there are batchers they have gathered: a batch is proposed when it arrives.
    fn gather(&self) -> Option<Duration> {
        self.config.timing.gather.filter(|_| self.layout().batchers == 0)
    }

    /// Proposes what waits when what has arrived with it is here, too; false if it has to wait for room.
    fn propose_soon(&mut self) -> bool {
        let (gather, window_end) = (self.gather(), self.window_end());
        let Some(leading) = self.ready().filter(|leading| !leading.queue.is_empty()) else { return true };
        if leading.next_slot >= window_end {
            return false;
        }
        match leading.queue.due(gather) {
            Due::Now => return self.propose_queue(),
            Due::AtTimer => self.set_timer(Timer::Propose),
            Due::AtTimerSet => {}
        }
        true
    }

    /// What has arrived together is here.
    fn on_propose_timeout(&mut self) {
        let once = self.breaks(Mutant::GatherOnce);
        let Some(leading) = &mut self.state.leading else { return };
        leading.queue.has_gathered(once);
        if !self.propose_queue() {
            self.set_timer(Timer::Resend);
        }
    }

    /// The first slot that it may not propose for yet.
    pub(crate) fn window_end(&self) -> Slot {
        self.state.chosen_below.plus(self.config.limits.window_slots)
    }

    /// The leading state, once phase 1 is over.
    pub(crate) fn ready(&mut self) -> Option<&mut Leading<M::Command>> {
        self.state.leading.as_mut().filter(|leading| leading.recovery.is_none())
    }

    /// Proposes what waits, as far as there is room; false if something has to wait on.
    fn propose_queue(&mut self) -> bool {
        let (limits, window_end) = (self.config.limits, self.window_end());
        let renumber = u64::from(self.breaks(Mutant::RenumberCommands));
        let before = self.ready().map(|leading| leading.next_slot);
        while let Some(leading) = self.ready().filter(|leading| !leading.queue.is_empty()) {
            if leading.next_slot >= window_end {
                self.tell_high_watermark(before);
                return false;
            }
            let mut batch = leading.queue.take_batch::<M>(limits.batch_commands, limits.batch_bytes);
            for command in &mut batch {
                command.id.seq += renumber;
            }
            self.propose_next(Value::Batch(batch.into()));
        }
        self.tell_high_watermark(before);
        true
    }

    fn propose_next(&mut self, value: ValueOf<M>) {
        let slots = self.slots();
        if let Some(leading) = &mut self.state.leading {
            let slot = leading.next_slot;
            leading.next_slot = slots.after(slot);
            self.propose(slot, value);
        }
    }

    /// Hands a proposal to a proxy leader. Leaders begin with different ones, so that nothing is correct only because all
    /// proposals for a slot pass through one.
    pub(super) fn propose(&mut self, slot: Slot, value: ValueOf<M>) {
        let round = self.state.round;
        self.send_to_proxy(slot, Msg::Phase2a { round, slot, value });
    }

    /// Sends what concerns a slot of its own to the proxy leader whose turn it is.
    pub(crate) fn send_to_proxy(&mut self, slot: Slot, msg: Msg<M>) {
        let turn = self.turn_of_proxy(slot);
        if let Some(proxy) = self.config.turn(Role::ProxyLeader, turn) {
            self.send(proxy, msg);
        }
    }

    /// Whose turn it is for a slot. Those that lost something are passed over while there are others.
    fn turn_of_proxy(&self, slot: Slot) -> u64 {
        let turn = (slot.0 / self.config.leader_groups as u64).wrapping_add(self.index as u64);
        let proxies = self.layout().proxies;
        let trusted = |turn: &u64| !self.state.suspects.contains(&remainder(*turn, proxies));
        (0..proxies as u64).map(|more| turn.wrapping_add(more)).find(trusted).unwrap_or(turn)
    }

    /// What was proposed for a slot got lost, perhaps because its proxy leader is gone. (If it is not, it is trusted again
    /// when all others are suspected.)
    fn suspect_proxy(&mut self, slot: Slot) {
        let proxies = self.layout().proxies;
        if proxies < 2 || self.breaks(Mutant::SameProxyAgain) {
            return;
        }
        let proxy = remainder(self.turn_of_proxy(slot), proxies);
        self.state.suspects.insert(proxy);
        if self.state.suspects.len() == proxies {
            self.state.suspects = OrdSet::unit(proxy);
        }
    }

    /// Proposes noops up to a slot, unless there is something there already. With several leader groups, the votes that show
    /// the need may lie where phase 1 does not look, so a leader that is not ready remembers.
    pub(super) fn fill(&mut self, below: Slot) {
        if self.config.leader_groups > 1 {
            if self.ready().is_none() {
                self.state.fill_below = self.state.fill_below.max(below);
            }
            self.skip(below);
            return;
        }
        let below = below.min(self.window_end());
        while self.ready().is_some_and(|leading| leading.next_slot < below) {
            self.propose_next(Value::Noop);
        }
    }

    /// Replicas lack a slot that was proposed, by whomever and whatever: only phase 1 can tell, and only a round in which
    /// nothing was proposed yet can propose it again.
    fn on_recover(&mut self, slot: Slot) {
        let chosen_below = self.state.chosen_below;
        let proposed = self.ready().is_some_and(|leading| slot < leading.next_slot);
        if !proposed {
            self.fill(slot.next());
        } else if self.breaks(Mutant::RecoverWithNoop) {
            self.propose(slot, Value::Noop);
        } else {
            self.suspect_proxy(slot);
            let above = self.breaks(Mutant::RecoverAboveChosen);
            self.elect(if above { chosen_below } else { slot.min(chosen_below) });
            self.fill(slot.next());
        }
    }

    /// Asks again for what phase 1 or the window waits for. Where nothing more is chosen since it asked last, what it has
    /// outstanding may be lost, and no replica misses what it never heard of: it proposes again.
    fn on_resend_timeout(&mut self) {
        let nodes = self.config.groups_of(self.group()).map(|group| group.system.nodes());
        let acceptors = nodes.fold(NodeSet::EMPTY, NodeSet::union);
        let window_end = self.window_end();
        let chosen_below = self.state.chosen_below;
        let Some(leading) = &mut self.state.leading else { return };
        match &leading.recovery {
            Some(recovery) if recovery.asked => {
                let missing = acceptors.difference(recovery.reporters());
                self.ask_for_reports(missing);
            }
            None if leading.queue.is_empty() || leading.next_slot < window_end => return,
            _ if leading.asked_at != Some(chosen_below) || self.config.breaks(Mutant::TrustWindow) => {
                leading.asked_at = Some(chosen_below);
                self.ask_chosen();
            }
            _ => {
                self.suspect_proxy(chosen_below);
                self.elect(chosen_below);
                return;
            }
        }
        self.set_timer(Timer::Resend);
    }

    fn ask_chosen(&mut self) {
        let below = self.state.chosen_below;
        self.send_to_all(Role::Replica, None, &Msg::AskChosen { below });
    }
}
