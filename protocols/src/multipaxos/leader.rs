//! The leader in a server: numbers commands, proposes them, counts votes. Phase 1 is in [`super::recovery`].

use super::server::Turn;
use super::{Config, Msg, Mutant, Timer};
use crate::client::ClientMsg;
use crate::command::{CommandOf, Operation, Value, ValueOf};
use crate::faults::{Faults, is_enough};
use crate::ids::{Round, Slot};
use crate::log::Recovery;
use crate::queue::{Due, Queue};
use crate::sessions::{Answer, LaneKey};
use crate::state_machine::StateMachine;
use im::OrdMap;
use parthood_quorums::NodeSet;
use stateright::actor::Id;

/// Whether a server leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Leadership<C: Clone> {
    /// It does not.
    Follower,
    /// It does, or is trying to.
    Leader(LeaderState<C>),
}

/// What a leader knows; nothing of it survives a restart or a higher round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaderState<C: Clone> {
    /// Its round.
    pub round: Round,
    /// Phase 1, until it is finished.
    pub recovery: Option<Recovery<C>>,
    /// The first slot that it has not proposed for.
    pub next_slot: Slot,
    /// What it has proposed and does not know to be chosen.
    pub outstanding: OrdMap<Slot, Proposal<C>>,
    /// Commands that wait for a slot.
    pub queue: Queue<C>,
    /// The lanes whose clients wait for an answer from this leader, and the sequence numbers they wait for.
    pub waiting: OrdMap<LaneKey, u64>,
}

/// A value proposed in the leader's round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal<C> {
    /// The value.
    pub value: Value<C>,
    /// The servers that voted for it.
    pub voted: NodeSet,
}

impl<C: Clone> LeaderState<C> {
    /// A leader that has nothing to recover.
    pub(super) fn new(round: Round, next_slot: Slot) -> Self {
        Self {
            round,
            recovery: None,
            next_slot,
            outstanding: OrdMap::new(),
            queue: Queue::default(),
            waiting: OrdMap::new(),
        }
    }

    /// Do commands wait that may have a slot?
    fn has_slots_to_give(&self, window_slots: usize) -> bool {
        self.recovery.is_none() && !self.queue.is_empty() && self.outstanding.len() < window_slots
    }
}

impl<C: Clone> Leadership<C> {
    /// The leader's state, if the server leads.
    pub fn leader(&self) -> Option<&LeaderState<C>> {
        match self {
            Self::Follower => None,
            Self::Leader(leader) => Some(leader),
        }
    }

    /// The leader's state, if the server leads.
    pub(super) fn leader_mut(&mut self) -> Option<&mut LeaderState<C>> {
        match self {
            Self::Follower => None,
            Self::Leader(leader) => Some(leader),
        }
    }

    /// Does it need this report?
    pub(super) fn awaits_report(&self, round: Round, from: Slot, server: usize) -> bool {
        self.leader().is_some_and(|leader| {
            let recovery = leader.recovery.as_ref();
            leader.round == round && recovery.is_some_and(|recovery| recovery.awaits(from, server))
        })
    }

    /// Does it need this vote? (No round: of whatever round.)
    pub(super) fn awaits_vote(&self, round: Option<Round>, slot: Slot, server: usize) -> bool {
        self.leader().is_some_and(|leader| {
            round.is_none_or(|round| leader.round == round)
                && leader.outstanding.get(&slot).is_some_and(|proposal| !proposal.voted.contains(server))
        })
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// Takes the leadership as it stands.
    pub(super) fn lead(&mut self, leader: LeaderState<M::Command>) {
        self.state.leadership = Leadership::Leader(leader);
        self.cancel_timer(Timer::Election);
        self.set_timer(Timer::Resend);
    }

    /// Gives up a leadership that a higher round has ended.
    pub(super) fn step_down(&mut self) {
        let Leadership::Leader(leader) = &self.state.leadership else { return };
        for command in leader.queue.commands.clone() {
            self.send_elsewhere(&command);
        }
        self.state.leadership = Leadership::Follower;
        self.cancel_timer(Timer::Ping);
        self.cancel_timer(Timer::Resend);
        self.cancel_timer(Timer::Propose);
        self.await_leader();
    }

    /// Gives a leader, present or hoped for, time to show itself.
    pub(super) fn await_leader(&mut self) {
        let next = self.next_round();
        if self.state.acceptor.voting
            && next <= self.server.config.bounds.round_max
            && self.state.leadership.leader().is_none()
        {
            self.set_timer(Timer::Election);
        }
    }

    /// Answers a command if it is settled, else gets it a slot, or says who might.
    pub(super) fn on_request(&mut self, client: Id, command: CommandOf<M>) {
        let id = command.id;
        let leads = self.state.leadership.leader().is_some();
        let known = self.state.replica.sessions.known_answer(&id);
        let hides = self.breaks(Mutant::NoClientTable) || self.breaks(Mutant::NoCachedReplies) && !leads;
        if let Some(answer) = known.filter(|_| !hides) {
            self.reply(client, ClientMsg::Reply { id, answer });
            return;
        }
        if self.breaks(Mutant::LocalReads) && leads && self.answer_locally(client, &command) {
            return;
        }
        let limits = self.server.config.limits;
        let Leadership::Leader(leader) = &mut self.state.leadership else {
            self.send_elsewhere(&command);
            return;
        };
        let lane = (id.client, id.pseudonym);
        if leader.waiting.get(&lane).is_some_and(|seq| *seq >= id.seq) {
            return;
        }
        if leader.waiting.len() >= limits.waiting_commands || leader.queue.len() >= limits.waiting_commands {
            self.reply(client, ClientMsg::Busy { id });
            return;
        }
        leader.waiting.insert(lane, id.seq);
        leader.queue.commands.push_back(command);
        self.propose_soon();
    }

    fn send_elsewhere(&mut self, command: &CommandOf<M>) {
        let id = command.id;
        let leader = self.state.acceptor.round.owner(self.server.config.servers) as u64;
        self.reply(id.client_id(), ClientMsg::NotLeader { id, leader });
    }

    /// For a mutant: a read that skips the log.
    fn answer_locally(&mut self, client: Id, command: &CommandOf<M>) -> bool {
        match &command.op {
            Operation::Apply(operation) if M::is_read(operation) => {
                let answer = Answer::Output(self.state.replica.machine.clone().apply(operation));
                self.reply(client, ClientMsg::Reply { id: command.id, answer });
                true
            }
            _ => false,
        }
    }

    /// Gives waiting commands slots when what has arrived with them is here, too.
    fn propose_soon(&mut self) {
        let Config { timing, limits, .. } = &*self.server.config;
        let leader = self.state.leadership.leader_mut();
        let Some(leader) = leader.filter(|leader| leader.has_slots_to_give(limits.window_slots)) else {
            return;
        };
        match leader.queue.due(timing.gather) {
            Due::Now => self.propose_queue(),
            Due::AtTimer => self.set_timer(Timer::Propose),
            Due::AtTimerSet => {}
        }
    }

    /// What has arrived together is here.
    pub(super) fn on_propose_timeout(&mut self) {
        let once = self.breaks(Mutant::GatherOnce);
        if let Some(leader) = self.state.leadership.leader_mut() {
            leader.queue.has_gathered(once);
            self.propose_queue();
        }
    }

    /// Gives waiting commands slots while there are slots to give.
    pub(super) fn propose_queue(&mut self) {
        let window = self.server.config.limits.window_slots;
        while let Some(leader) = self.state.leadership.leader() {
            if !leader.has_slots_to_give(window) {
                return;
            }
            let value = self.next_batch();
            let Some(leader) = self.state.leadership.leader_mut() else { return };
            let slot = leader.next_slot;
            leader.next_slot = slot.next();
            self.propose(slot, value);
        }
    }

    /// Takes commands from the queue, as many as fit a slot.
    fn next_batch(&mut self) -> ValueOf<M> {
        let limits = self.server.config.limits;
        let renumber = u64::from(self.breaks(Mutant::RenumberCommands));
        let Some(leader) = self.state.leadership.leader_mut() else { return Value::Noop };
        let mut batch = leader.queue.take_batch::<M>(limits.batch_commands, limits.batch_bytes);
        for command in &mut batch {
            command.id.seq += renumber;
        }
        Value::Batch(batch.into())
    }

    /// Proposes a value in the leader's round; this server votes for it at once.
    pub(super) fn propose(&mut self, slot: Slot, value: ValueOf<M>) {
        let index = self.server.index;
        let chosen_below = self.state.replica.executed;
        let Some(leader) = self.state.leadership.leader_mut() else { return };
        let round = leader.round;
        let proposal = Proposal { value: value.clone(), voted: NodeSet::single(index) };
        leader.outstanding.insert(slot, proposal);
        self.vote(round, slot, value.clone());
        self.send_to_others(&Msg::Phase2a { round, slot, value, chosen_below });
        self.choose_if_enough(slot);
    }

    /// Counts a vote.
    pub(super) fn on_phase2b(&mut self, server: usize, slot: Slot) {
        let Some(leader) = self.state.leadership.leader_mut() else { return };
        if let Some(proposal) = leader.outstanding.get_mut(&slot) {
            proposal.voted.insert(server);
            self.choose_if_enough(slot);
            self.advance_recovery();
            self.propose_soon();
        }
    }

    fn choose_if_enough(&mut self, slot: Slot) {
        let config = &self.server.config;
        let one_short = self.breaks(Mutant::WriteQuorumShort);
        let Some(leader) = self.state.leadership.leader_mut() else { return };
        let enough = leader.outstanding.get(&slot).is_some_and(|proposal| {
            let group = config.group(slot);
            is_enough(proposal.voted, config.servers, one_short, |set| group.is_write_quorum(set))
        });
        if let Some(proposal) = enough.then(|| leader.outstanding.remove(&slot)).flatten() {
            self.choose(slot, proposal.value);
        }
    }

    /// Answers a client that waits for this command, if this server leads.
    pub(super) fn answer(&mut self, command: &CommandOf<M>, answer: Option<Answer<M::Output>>) {
        let id = command.id;
        let lane = (id.client, id.pseudonym);
        let Some(leader) = self.state.leadership.leader_mut() else { return };
        match leader.waiting.remove(&lane) {
            Some(later) if later > id.seq => drop(leader.waiting.insert(lane, later)),
            Some(_) => {
                if let Some(answer) = answer {
                    self.reply(id.client_id(), ClientMsg::Reply { id, answer });
                }
            }
            None => {}
        }
    }

    /// Tells the others that this server leads, and how far everything is chosen.
    pub(super) fn ping(&mut self) {
        let chosen_below = self.state.replica.executed;
        if let Some(leader) = self.state.leadership.leader()
            && leader.recovery.is_none()
            && self.server.config.bounds.ping
        {
            let round = leader.round;
            self.send_to_others(&Msg::Ping { round, chosen_below });
            self.set_timer(Timer::Ping);
        }
    }

    /// Follows the leader of a round that is not too small, and learns what it says is chosen.
    pub(super) fn on_ping(&mut self, leader: Id, round: Round, chosen_below: Slot) {
        if round < self.state.acceptor.round {
            self.nack(leader);
            return;
        }
        self.raise_round(round);
        self.await_leader();
        self.learn(round, chosen_below);
    }

    /// Sends again what was not answered.
    pub(super) fn on_resend_timeout(&mut self) {
        let chosen_below = self.state.replica.executed;
        let Some(leader) = self.state.leadership.leader() else { return };
        let round = leader.round;
        let limit = self.server.config.limits.resend_slots;
        for (slot, proposal) in leader.outstanding.clone().iter().take(limit) {
            for server in self.others().filter(|server| !proposal.voted.contains(usize::from(*server))) {
                let value = proposal.value.clone();
                self.send(server, Msg::Phase2a { round, slot: *slot, value, chosen_below });
            }
        }
        self.ask_for_reports();
        self.set_timer(Timer::Resend);
    }
}
