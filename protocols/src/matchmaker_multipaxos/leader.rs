//! The leader in a server: numbers commands, proposes them, counts votes. How it came to lead is in [`super::round`], how it
//! changes its acceptors in [`super::reconfiguration`].

use super::handover::{Handover, Settling};
use super::reconfiguration::{Call, Next, Order};
use super::server::Turn;
use super::{Announced, Matched, Matching, Msg, Mutant, Role, Timer, Transition};
use crate::client::ClientMsg;
use crate::command::{CommandOf, Value, ValueOf};
use crate::faults::{Faults, is_enough};
use crate::ids::Slot;
use crate::log::Recovery;
use crate::matchmaker_paxos::Garbage;
use crate::matchmaking::{Configuration, Epoch, Round};
use crate::queue::{Due, Queue};
use crate::sessions::{Answer, LaneKey};
use crate::state_machine::StateMachine;
use im::{OrdMap, Vector};
use parthood_quorums::{NodeSet, QuorumSystem};
use stateright::actor::Id;

/// What a leader knows; nothing of it survives a restart or a higher round of another server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leading<C: Clone> {
    /// The round in which new slots are proposed.
    pub round: Round,
    /// Its configuration.
    pub announced: Announced,
    /// How far it is in becoming the leader.
    pub stage: Stage<C>,
    /// The first slot that it has not proposed for.
    pub next_slot: Slot,
    /// Nothing was or will be chosen in a smaller round from this slot on. Known once it leads.
    pub free_from: Slot,
    /// What it has proposed and does not know to be chosen; all of it in its round, some also in the previous one.
    pub outstanding: OrdMap<Slot, Proposal<C>>,
    /// The previous round and its configuration, while slots are pending that were proposed in it.
    pub previous: Option<(Round, Configuration)>,
    /// The round that it is about to go on to, with another configuration.
    pub next: Option<Next>,
    /// The reconfigurations that wait.
    pub orders: Vector<Order>,
    /// Whether the acceptors answer that the first of them wants, if they were asked.
    pub call: Option<Call>,
    /// The acceptors that have answered since it last asked all of them whether they are there, and before that since the time before.
    pub seen: [NodeSet; 2],
    /// Who asked for its configuration.
    pub operator: Option<usize>,
    /// The change of matchmakers under way.
    pub handover: Option<Handover>,
    /// The matchmakers that serve, while not enough participants know of them.
    pub settling: Option<Settling>,
    /// How far each server has saved what the log amounts to.
    pub stored: OrdMap<usize, Slot>,
    /// How far acceptors have been told that everything is stored.
    pub persisted: Slot,
    /// How far each acceptor has noted so.
    pub noted: OrdMap<usize, Slot>,
    /// How far the retirement of smaller rounds is.
    pub garbage: Garbage,
    /// Commands that wait for a slot.
    pub queue: Queue<C>,
    /// The lanes whose clients wait for an answer from this leader, and the sequence numbers they wait for.
    pub waiting: OrdMap<LaneKey, u64>,
    /// How often it has sent again in vain since it last got ahead in becoming the leader.
    pub attempts: u32,
}

/// How far a server is in becoming the leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stage<C: Clone> {
    /// It collects answers of matchmakers.
    Matching(Matching),
    /// It collects reports of votes.
    Phase1 {
        /// The configurations to ask.
        earlier: Vec<Matched>,
        /// The reports.
        recovery: Recovery<C, Round>,
    },
    /// It leads.
    Steady,
}

/// A proposed value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal<C> {
    /// The value.
    pub value: Value<C>,
    /// The acceptors that voted for it in the leader's round.
    pub voted: NodeSet,
    /// The acceptors that voted for it in the previous round.
    pub voted_before: NodeSet,
}

impl<C: Clone> Leading<C> {
    /// A server that begins to become the leader.
    pub(super) fn new(round: Round, announced: Announced, from: Slot) -> Self {
        Self {
            round,
            announced,
            stage: Stage::Matching(Matching::default()),
            next_slot: from,
            free_from: from,
            outstanding: OrdMap::new(),
            previous: None,
            next: None,
            orders: Vector::new(),
            call: None,
            seen: [NodeSet::EMPTY; 2],
            operator: None,
            handover: None,
            settling: None,
            stored: OrdMap::new(),
            persisted: Slot::ZERO,
            noted: OrdMap::new(),
            garbage: Garbage::Idle,
            queue: Queue::default(),
            waiting: OrdMap::new(),
            attempts: 0,
        }
    }

    /// Does it lead?
    pub fn is_steady(&self) -> bool {
        matches!(self.stage, Stage::Steady)
    }

    /// The answers that it waits for, to the announcement of this round.
    pub(super) fn matching(&mut self, round: Round) -> Option<&mut Matching> {
        match (&mut self.stage, &mut self.next) {
            (Stage::Matching(answers), _) if self.round == round => Some(answers),
            (_, Some(next)) if next.round == round => Some(&mut next.answers),
            _ => None,
        }
    }

    pub(super) fn awaits_match(&self, round: Round, matchmaker: usize) -> bool {
        let answers = match (&self.stage, &self.next) {
            (Stage::Matching(answers), _) if self.round == round => Some(answers),
            (_, Some(next)) if next.round == round => Some(&next.answers),
            _ => None,
        };
        answers.is_some_and(|answers| !answers.replied.contains(matchmaker))
    }

    pub(super) fn awaits_report(&self, round: Round, from: Slot, acceptor: usize) -> bool {
        match &self.stage {
            Stage::Phase1 { recovery, .. } => self.round == round && recovery.awaits(from, acceptor),
            Stage::Matching(_) | Stage::Steady => false,
        }
    }

    pub(super) fn awaits_vote(&self, round: Round, slot: Slot, acceptor: usize) -> bool {
        let Some(proposal) = self.outstanding.get(&slot) else { return false };
        if round == self.round {
            !proposal.voted.contains(acceptor)
        } else {
            self.previous.as_ref().is_some_and(|(previous, _)| *previous == round)
                && !proposal.voted_before.contains(acceptor)
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// The leading state, if this server leads or tries to.
    pub(super) fn leading(&mut self) -> Option<&mut Leading<M::Command>> {
        self.state.leading.as_mut()
    }

    /// The leading state, once phase 1 is over.
    pub(super) fn steady(&mut self) -> Option<&mut Leading<M::Command>> {
        self.leading().filter(|leading| leading.is_steady())
    }

    /// Answers a command if it is settled, else gets it a slot, or says who might.
    pub(super) fn on_request(&mut self, client: Id, command: CommandOf<M>) {
        let id = command.id;
        let known = self.state.replica.sessions.known_answer(&id);
        if let Some(answer) = known.filter(|_| !self.breaks(Mutant::NoClientTable)) {
            self.reply(client, ClientMsg::Reply { id, answer });
            return;
        }
        let limit = self.server.config.limits.waiting_commands;
        let Some(leading) = self.leading() else {
            self.send_elsewhere(&command);
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
        leading.queue.commands.push_back(command);
        self.propose_soon();
    }

    pub(super) fn send_elsewhere(&mut self, command: &CommandOf<M>) {
        let leader = self.state.heard.map_or(0, |round| round.proposer);
        let id = command.id;
        self.reply(id.client_id(), ClientMsg::NotLeader { id, leader });
    }

    /// The leading state, if commands wait that may have a slot.
    fn with_slots_to_give(&mut self) -> Option<&mut Leading<M::Command>> {
        let window = self.server.config.limits.window_slots;
        let waits = self.server.config.transition == Transition::Waits;
        let leading = self.steady().filter(|leading| !waits || leading.next.is_none());
        leading.filter(|leading| !leading.queue.is_empty() && leading.outstanding.len() < window)
    }

    /// Gives waiting commands slots when what has arrived with them is here, too.
    fn propose_soon(&mut self) {
        let gather = self.server.config.timing.gather;
        let Some(leading) = self.with_slots_to_give() else { return };
        match leading.queue.due(gather) {
            Due::Now => self.propose_queue(),
            Due::AtTimer => self.set_timer(Timer::Propose),
            Due::AtTimerSet => {}
        }
    }

    /// What has arrived together is here. Its slots are of the round of now, which may have begun since.
    pub(super) fn on_propose_timeout(&mut self) {
        let once = self.breaks(Mutant::GatherOnce);
        if let Some(leading) = self.leading() {
            leading.queue.has_gathered(once);
            self.propose_queue();
        }
    }

    /// Gives waiting commands slots while there are slots to give.
    pub(super) fn propose_queue(&mut self) {
        let limits = self.server.config.limits;
        let renumber = u64::from(self.breaks(Mutant::RenumberCommands));
        while let Some(leading) = self.with_slots_to_give() {
            let mut batch = leading.queue.take_batch::<M>(limits.batch_commands, limits.batch_bytes);
            for command in &mut batch {
                command.id.seq += renumber;
            }
            let slot = leading.next_slot;
            leading.next_slot = slot.next();
            self.propose(slot, Value::Batch(batch.into()));
        }
    }

    /// Proposes a value in the leader's round.
    pub(super) fn propose(&mut self, slot: Slot, value: ValueOf<M>) {
        let early = self.breaks(Mutant::ActivateBeforeMatched);
        let Some(leading) = self.leading() else { return };
        let proposal = Proposal { value: value.clone(), voted: NodeSet::EMPTY, voted_before: NodeSet::EMPTY };
        leading.outstanding.insert(slot, proposal);
        let (round, announced) = match leading.next.as_ref().filter(|_| early) {
            Some(next) => (next.round, &next.announced),
            None => (leading.round, &leading.announced),
        };
        let acceptors = announced.configuration.acceptors();
        self.send_to_all(acceptors, Role::Acceptor, &Msg::Phase2a { round, slot, value });
    }

    /// Counts a vote.
    pub(super) fn on_phase2b(&mut self, acceptor: usize, round: Round, slot: Slot) {
        let any_round = self.breaks(Mutant::CountForeignVotes);
        let Some(leading) = self.leading() else { return };
        let is_present = round == leading.round || any_round;
        let Some(proposal) = leading.outstanding.get_mut(&slot) else { return };
        let voted = if is_present { &mut proposal.voted } else { &mut proposal.voted_before };
        voted.insert(acceptor);
        self.choose_if_enough(slot);
        self.advance_recovery();
        self.propose_soon();
    }

    /// A value is chosen when a write quorum has voted for it in one round.
    fn choose_if_enough(&mut self, slot: Slot) {
        let one_short = self.breaks(Mutant::WriteQuorumShort);
        let all = self.server.config.acceptors;
        let Some(leading) = self.leading() else { return };
        let Some(proposal) = leading.outstanding.get(&slot) else { return };
        let writes = |configuration: &Configuration, voted| {
            is_enough(voted, all, one_short, |set| configuration.is_write_quorum(set))
        };
        let previous = leading.previous.as_ref();
        let enough = writes(&leading.announced.configuration, proposal.voted)
            || previous.is_some_and(|(_, configuration)| writes(configuration, proposal.voted_before));
        if let Some(proposal) = enough.then(|| leading.outstanding.remove(&slot)).flatten() {
            self.forget_previous();
            self.choose(slot, proposal.value);
        }
    }

    /// Once nothing is pending that the previous round gave out, its votes are of no interest.
    pub(super) fn forget_previous(&mut self) {
        if let Some(leading) = self.leading()
            && leading.outstanding.get_min().is_none_or(|(slot, _)| *slot >= leading.free_from)
        {
            leading.previous = None;
        }
    }

    /// A value is chosen: records it, tells the other servers, and executes what can be.
    fn choose(&mut self, slot: Slot, value: ValueOf<M>) {
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
    pub(super) fn answer(&mut self, command: &CommandOf<M>, answer: Option<Answer<M::Output>>) {
        let id = command.id;
        let lane = (id.client, id.pseudonym);
        let Some(leading) = self.leading() else { return };
        if leading.waiting.get(&lane).is_some_and(|seq| *seq <= id.seq) {
            leading.waiting.remove(&lane);
            if let Some(answer) = answer {
                self.reply(id.client_id(), ClientMsg::Reply { id, answer });
            }
        }
    }

    /// Tells the others that this server leads, how far everything is chosen, and with which acceptors.
    pub(super) fn ping(&mut self) {
        let (chosen_below, epoch) = (self.state.replica.executed, self.state.epoch);
        if self.server.config.bounds.ping
            && let Some(leading) = self.steady()
        {
            let (round, announced) = (leading.round, leading.announced.clone());
            self.send_to_others(&Msg::Ping { round, chosen_below, announced, epoch });
            self.set_timer(Timer::Ping);
        }
    }

    /// Follows the leader of a round that is not too small.
    pub(super) fn on_ping(
        &mut self,
        leader: Id,
        round: Round,
        chosen_below: Slot,
        announced: Announced,
        epoch: Epoch,
    ) {
        self.learn_epoch(epoch);
        if let Some(heard) = self.state.heard.filter(|heard| round < *heard) {
            self.send(leader, Msg::Nack { round: heard });
            return;
        }
        self.raise_round(round);
        if announced.age() > self.state.known.age() {
            self.state.known = announced;
            self.save();
        }
        self.await_leader();
        let source = usize::try_from(round.proposer).ok();
        self.expect_chosen(chosen_below, source);
    }

    /// Sends again what was not answered; or begins another round, if its patience is at an end: it may wait for acceptors
    /// that were retired after it had matched, or that have failed.
    pub(super) fn on_resend_timeout(&mut self) {
        let config = &self.server.config;
        let (patience, limit) = (config.patience, config.limits.resend_slots);
        let Some(leading) = self.leading() else { return };
        if !leading.is_steady() {
            if leading.attempts >= patience {
                self.begin_another_round();
                return;
            }
            leading.attempts += 1;
        }
        let round = leading.round;
        let acceptors = leading.announced.configuration.acceptors();
        for (slot, proposal) in leading.outstanding.clone().iter().take(limit) {
            let msg = Msg::Phase2a { round, slot: *slot, value: proposal.value.clone() };
            self.send_to_all(acceptors.difference(proposal.voted), Role::Acceptor, &msg);
        }
        self.resend_change();
        self.heed_file();
        self.settle_again();
        self.age_orders();
        self.ask_matchmakers();
        self.ask_for_reports();
        self.ask_to_store();
        self.tell_persisted();
        self.ask_to_retire();
        self.set_timer(Timer::Resend);
    }
}
