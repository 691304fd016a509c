//! The leader in a server: numbers commands and configurations, proposes them, counts votes. Whose votes, and what it must
//! ask before, is in [`super::window`].

use super::configured::{answer, entry};
use super::server::Turn;
use super::window::Chunk;
use super::{Configured, Entry, Msg, Mutant, Numbered, Role, Timer};
use crate::client::ClientMsg;
use crate::command::{Command, CommandId, CommandOf, Operation, Value, ValueOf};
use crate::faults::{Faults, is_enough};
use crate::ids::{Round, Slot};
use crate::matchmaking::Configuration;
use crate::operator::{Progress, Refusal, Wanted, out_of_turn};
use crate::queue::Queue;
use crate::sessions::{Answer, LaneKey};
use crate::state_machine::StateMachine;
use im::{OrdMap, Vector};
use parthood_quorums::{NodeSet, QuorumSystem};
use stateright::actor::Id;

/// What a leader knows; nothing of it survives a restart or a higher round of another server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leading<C: Clone> {
    /// Its round.
    pub round: Round,
    /// The configurations of the slots from the first that is not executed on.
    pub chunks: Vector<Chunk<C>>,
    /// Whether phase 1 of the first of them was over once: it leads.
    pub leads: bool,
    /// The first slot that it has not proposed for.
    pub next_slot: Slot,
    /// What it has proposed and does not know to be chosen.
    pub outstanding: OrdMap<Slot, Proposal<C>>,
    /// Reconfigurations on their way into the log.
    pub orders: Vector<Order>,
    /// Who asked for the newest configuration, and was told so much.
    pub told: Option<(usize, Progress)>,
    /// How far each server has saved what the log amounts to.
    pub stored: OrdMap<usize, Slot>,
    /// How far acceptors have been told that everything is stored.
    pub persisted: Slot,
    /// Commands and configurations that wait for a slot.
    pub queue: Queue<Entry<C>>,
    /// The lanes whose clients wait for an answer from this leader, and the sequence numbers they wait for.
    pub waiting: OrdMap<LaneKey, u64>,
}

/// A value proposed in the leader's round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal<C> {
    /// The value.
    pub value: Value<Entry<C>>,
    /// The acceptors that voted for it.
    pub voted: NodeSet,
}

/// A reconfiguration on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// Who asked.
    pub operator: usize,
    /// The number that it has if nobody else's comes first.
    pub number: u64,
    /// What was asked for.
    pub wanted: Configuration,
}

impl<C: Clone> Leading<C> {
    /// A server that begins to become the leader.
    pub(super) fn new(round: Round, from: Slot) -> Self {
        Self {
            round,
            chunks: Vector::new(),
            leads: false,
            next_slot: from,
            outstanding: OrdMap::new(),
            orders: Vector::new(),
            told: None,
            stored: OrdMap::new(),
            persisted: Slot::ZERO,
            queue: Queue::default(),
            waiting: OrdMap::new(),
        }
    }

    /// Does it need this vote? (No round: of whatever round.)
    pub(super) fn awaits_vote(&self, round: Option<Round>, slot: Slot, acceptor: usize) -> bool {
        round.is_none_or(|round| self.round == round)
            && self.outstanding.get(&slot).is_some_and(|proposal| !proposal.voted.contains(acceptor))
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// The leading state, if this server leads or tries to.
    pub(super) fn leading(&mut self) -> Option<&mut Leading<M::Command>> {
        self.state.leading.as_mut()
    }

    /// Answers a command if it is settled, else gets it a slot, or says who might.
    pub(super) fn on_request(&mut self, client: Id, command: CommandOf<M>) {
        let id = command.id;
        let known = self.state.replica.sessions.known_answer(&id).and_then(answer);
        if let Some(answer) = known.filter(|_| !self.breaks(Mutant::NoClientTable)) {
            self.reply(client, ClientMsg::Reply { id, answer });
            return;
        }
        let limit = self.server.config.limits.waiting_commands;
        let Some(leading) = self.leading() else {
            self.send_elsewhere(id);
            return;
        };
        let lane = (id.client, id.pseudonym);
        if leading.waiting.get(&lane).is_some_and(|seq| *seq >= id.seq) {
            return;
        }
        if leading.waiting.len() >= limit || leading.queue.len() >= limit {
            self.reply(client, ClientMsg::Busy { id });
            return;
        }
        leading.waiting.insert(lane, id.seq);
        leading.queue.commands.push_back(entry(command));
        self.go_on();
    }

    /// The server that probably leads.
    fn leader(&self) -> u64 {
        self.state.heard.map_or(0, |round| round.owner(self.server.config.servers) as u64)
    }

    fn send_elsewhere(&mut self, id: CommandId) {
        let leader = self.leader();
        self.reply(id.client_id(), ClientMsg::NotLeader { id, leader });
    }

    /// A higher round of another server ends one's leadership. Whoever waits for a slot is sent on.
    pub(super) fn step_down(&mut self) {
        let Some(leading) = self.state.leading.take() else { return };
        for command in leading.queue.commands.iter().filter(|command| is_of_client(command)) {
            self.send_elsewhere(command.id);
        }
        self.cancel_timer(Timer::Ping);
        self.cancel_timer(Timer::Resend);
        self.cancel_timer(Timer::Propose);
        self.await_leader();
    }

    /// Takes from the queue what fits a slot; nothing if it is empty. Where a configuration begins to govern follows from its
    /// slot, which is known only now.
    pub(super) fn next_value(&mut self, slot: Slot) -> ValueOf<Configured<M>> {
        let (limits, alpha) = (self.server.config.limits, self.server.config.alpha);
        let renumber = u64::from(self.breaks(Mutant::RenumberCommands));
        let first = match alpha {
            _ if self.breaks(Mutant::ActivateAtOnce) => slot.next(),
            alpha if self.breaks(Mutant::ActivateEarly) => slot.plus(alpha).minus(1),
            alpha => slot.plus(alpha),
        };
        let Some(leading) = self.leading() else { return Value::Noop };
        let mut batch = leading.queue.take_batch::<Configured<M>>(limits.batch_commands, limits.batch_bytes);
        for command in &mut batch {
            match &mut command.op {
                Operation::Apply(Entry::Configuration(numbered)) => {
                    (numbered.slot, numbered.first) = (slot, first);
                }
                _ => command.id.seq += renumber,
            }
        }
        if batch.is_empty() { Value::Noop } else { Value::Batch(batch.into()) }
    }

    /// Proposes a value to the acceptors that vote for its slot.
    pub(super) fn propose(&mut self, slot: Slot, value: ValueOf<Configured<M>>) {
        let acceptors = self.configuration(slot).acceptors();
        let Some(leading) = self.leading() else { return };
        let round = leading.round;
        leading.outstanding.insert(slot, Proposal { value: value.clone(), voted: NodeSet::EMPTY });
        self.send_to_all(acceptors, Role::Acceptor, &Msg::Phase2a { round, slot, value });
    }

    /// Counts a vote. The value is chosen when a write quorum of the slot's configuration has voted for it.
    pub(super) fn on_phase2b(&mut self, acceptor: usize, slot: Slot) {
        let one_short = self.breaks(Mutant::WriteQuorumShort);
        let (all, configuration) = (self.server.config.acceptors, self.configuration(slot));
        let Some(leading) = self.leading() else { return };
        let Some(proposal) = leading.outstanding.get_mut(&slot) else { return };
        proposal.voted.insert(acceptor);
        let writes = |set| configuration.is_write_quorum(set);
        if is_enough(proposal.voted, all, one_short, writes)
            && let Some(proposal) = leading.outstanding.remove(&slot)
        {
            self.choose(slot, proposal.value);
            self.go_on();
        }
    }

    /// A value is chosen: records it, tells the other servers, and executes what can be.
    fn choose(&mut self, slot: Slot, value: ValueOf<Configured<M>>) {
        if slot < self.state.replica.executed {
            return;
        }
        self.send_to_others(&Msg::Chosen { from: slot, values: vec![value.clone()] });
        if self.breaks(Mutant::ReplyOnChosen) {
            self.reply_out_of_turn(&value);
        }
        self.state.replica.log.insert(slot, value);
        self.execute();
    }

    /// Answers a client that waits for this command, if this server leads.
    pub(super) fn answer(
        &mut self,
        command: &CommandOf<Configured<M>>,
        answered: Option<Answer<Option<M::Output>>>,
    ) {
        let id = command.id;
        let lane = (id.client, id.pseudonym);
        let Some(leading) = self.leading() else { return };
        if leading.waiting.get(&lane).is_some_and(|seq| *seq <= id.seq) {
            leading.waiting.remove(&lane);
            if let Some(answer) = answered.and_then(answer) {
                self.reply(id.client_id(), ClientMsg::Reply { id, answer });
            }
        }
    }

    /// Tells the others that this server leads, and how far everything is chosen.
    pub(super) fn ping(&mut self) {
        let chosen_below = self.state.replica.executed;
        if self.server.config.bounds.ping
            && let Some(leading) = self.leading().filter(|leading| leading.leads)
        {
            let round = leading.round;
            self.send_to_others(&Msg::Ping { round, chosen_below });
            self.set_timer(Timer::Ping);
        }
    }

    /// Follows the leader of a round that is not too small.
    pub(super) fn on_ping(&mut self, leader: Id, round: Round, chosen_below: Slot) {
        if let Some(heard) = self.state.heard.filter(|heard| round < *heard) {
            self.send(leader, Msg::Nack { round: heard });
            return;
        }
        self.raise_round(round);
        self.await_leader();
        self.expect_chosen(chosen_below, Some(round.owner(self.server.config.servers)));
    }

    /// Does what an operator asks for, or says how far it is. To ask again is harmless.
    pub(super) fn on_reconfigure(
        &mut self,
        operator: Id,
        wanted: Wanted,
        after: Option<u64>,
        active: Option<u64>,
    ) {
        let Wanted::Acceptors(configuration) = &wanted else { return };
        let progress = self.order(usize::from(operator), configuration, after, active);
        self.tell(operator, wanted, progress);
        self.go_on();
    }

    fn order(
        &mut self,
        operator: usize,
        wanted: &Configuration,
        after: Option<u64>,
        active: Option<u64>,
    ) -> Progress {
        let heeds_any = self.breaks(Mutant::HeedLateCopies);
        let (config, newest, present) = (&self.server.config, self.newest(), self.present());
        let early = self.breaks(Mutant::ActiveTooEarly);
        let leader = self.leader();
        let Some(leading) = &mut self.state.leading else { return Progress::Elsewhere(leader) };
        if leading.orders.iter().any(|order| order.wanted == *wanted) {
            return Progress::Waiting;
        }
        // What was active is not made active again because its operator has not heard that another one followed.
        if active.is_some_and(|active| active < newest.number) {
            return Progress::Superseded(newest.number);
        }
        // It is in force: as the last one that was asked for, or as what came of this very request, though others wait.
        let is_done = leading.orders.is_empty() || after.is_some_and(|after| after < newest.number);
        if let Some(present) = present.filter(|_| is_done && newest.configuration == *wanted) {
            return present;
        }
        if let Some(refusal) = config.refusal(wanted) {
            return Progress::Refused(refusal);
        }
        if leading.orders.len() >= config.orders_max {
            return Progress::Refused(Refusal::UnderWay(config.orders_max));
        }
        if let Some(progress) = out_of_turn(after, newest.number).filter(|_| !heeds_any) {
            return progress;
        }
        let number = newest.number + leading.orders.len() as u64 + 1;
        leading.orders.push_back(Order { operator, number, wanted: wanted.clone() });
        let (slot, configuration) = (Slot::ZERO, wanted.clone());
        let entry = Entry::Configuration(Numbered { number, slot, first: slot, configuration });
        let id = CommandId { client: operator as u64, session: 0, pseudonym: 0, seq: number };
        leading.queue.commands.push_back(Command { id, op: Operation::Apply(entry) });
        if early { Progress::Active(number) } else { Progress::Waiting }
    }

    /// How far the newest configuration is.
    fn present(&mut self) -> Option<Progress> {
        let early = self.breaks(Mutant::RetiredTooEarly);
        let (newest, stored) = (self.newest(), self.stored_below());
        let leading = self.leading()?;
        let votes = leading.chunks.last().is_some_and(|chunk| chunk.phase1.is_none());
        Some(match newest.number {
            _ if !votes || leading.next_slot < newest.first => Progress::Waiting,
            number if stored >= newest.first || early => Progress::Retired(number),
            number => Progress::Active(number),
        })
    }

    /// Tells whoever asked for the newest configuration how far it is, if that is farther than before.
    pub(super) fn tell_operator(&mut self) {
        let Some(progress) = self.present() else { return };
        let configuration = self.newest().configuration;
        let Some((operator, told)) = self.leading().and_then(|leading| leading.told.as_mut()) else { return };
        if *told < progress {
            *told = progress.clone();
            let operator = Id::from(*operator);
            self.tell(operator, Wanted::Acceptors(configuration), progress);
        }
    }

    /// Sends again what was not answered. Whoever does not lead yet may lack slots whose acceptors are retired: it asks the
    /// other servers, too.
    pub(super) fn on_resend_timeout(&mut self) {
        let from = self.state.replica.executed;
        let limit = self.server.config.limits.resend_slots;
        let Some(leading) = self.leading() else { return };
        let (round, leads) = (leading.round, leading.leads);
        for (slot, proposal) in leading.outstanding.clone().iter().take(limit) {
            let msg = Msg::Phase2a { round, slot: *slot, value: proposal.value.clone() };
            let missing = self.configuration(*slot).acceptors().difference(proposal.voted);
            self.send_to_all(missing, Role::Acceptor, &msg);
        }
        if !leads {
            self.send_to_others(&Msg::CatchUp { from });
        }
        self.ask_for_reports();
        self.ask_to_store();
        self.set_timer(Timer::Resend);
    }
}

/// Does a client wait for it? Operators ask again by themselves.
fn is_of_client<C>(command: &Command<Entry<C>>) -> bool {
    !matches!(command.op, Operation::Apply(Entry::Configuration(_)))
}
