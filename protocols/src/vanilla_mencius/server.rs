//! A server: it proposes in its own slots, votes in all, skips, and executes.

use super::revocation::{Revocation, Stretch};
use super::{Config, Msg, Mutant, Node, Timer};
use crate::client::ClientMsg;
use crate::command::{Command, CommandId, CommandOf, Value, ValueOf};
use crate::faults::{Faults, is_enough};
use crate::ids::{Round, Slot, SlotClass};
use crate::log::{ReplicaState, Vote};
use crate::sessions::{Sessions, Standing};
use crate::state_machine::StateMachine;
use im::OrdMap;
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};
use stateright::actor::{Id, Out};
use std::sync::Arc;

/// A server, as configured.
#[derive(Clone, Debug)]
pub struct Server<F> {
    /// Which one it is.
    pub index: usize,
    /// What all servers know.
    pub config: Arc<Config<F>>,
}

/// A server's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerState<M: StateMachine> {
    /// The first of its slots that it has neither proposed in nor skipped; saved.
    pub next_slot: Slot,
    /// The largest round that it has used or promised; saved.
    pub round: Round,
    /// Promises above round zero, for slots not known to be chosen; saved.
    pub promises: OrdMap<Slot, Round>,
    /// Votes for slots not known to be chosen; saved.
    pub votes: OrdMap<Slot, Vote<M::Command>>,
    /// What is chosen, which is saved, and what it amounts to.
    pub replica: ReplicaState<M>,
    /// What it has skipped since it last said so to everybody.
    pub skipped: Option<Stretch>,
    /// What it waits for votes for.
    pub proposals: OrdMap<Slot, Proposal<M::Command>>,
    /// What it revokes, until phase 1 is over.
    pub revocation: Option<Revocation<M::Command>>,
    /// Whether the clock runs after which it revokes the slot that it waits for.
    pub waits: bool,
}

/// A value that a server waits for votes for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal<C> {
    /// The round.
    pub round: Round,
    /// The value.
    pub value: Value<C>,
    /// Who voted for it.
    pub voted: NodeSet,
}

/// What a server saves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Storage<M: StateMachine> {
    next_slot: Slot,
    round: Round,
    promises: OrdMap<Slot, Round>,
    votes: OrdMap<Slot, Vote<M::Command>>,
    chosen: OrdMap<Slot, ValueOf<M>>,
}

/// One event being handled.
pub(super) struct Turn<'a, M: StateMachine, F: Faults<Mutant>> {
    pub(super) index: usize,
    pub(super) config: &'a Config<F>,
    pub(super) state: &'a mut ServerState<M>,
    pub(super) out: &'a mut Out<Node<M, F>>,
    must_save: bool,
}

impl<F: Faults<Mutant>> Server<F> {
    pub(super) fn start<M: StateMachine>(
        &self,
        storage: Option<&Storage<M>>,
        out: &mut Out<Node<M, F>>,
    ) -> ServerState<M> {
        let slots = self.config.slots_of(self.index);
        let sessions = Sessions::with_clients(self.config.known_clients.iter().copied());
        let mut state = ServerState {
            next_slot: slots.at_or_after(Slot::ZERO),
            round: Round::ZERO,
            promises: OrdMap::new(),
            votes: OrdMap::new(),
            replica: ReplicaState::new(sessions),
            skipped: None,
            proposals: OrdMap::new(),
            revocation: None,
            waits: false,
        };
        if let Some(saved) = storage {
            state.round = saved.round;
            state.promises = saved.promises.clone();
            state.votes = saved.votes.clone();
            state.replica.log = saved.chosen.clone();
            state.next_slot = saved.next_slot;
            self.turn(&mut state, out, |turn| {
                turn.resume();
            });
        }
        state
    }

    /// Is the message of no use in this state, now and for ever?
    pub fn ignores<M: StateMachine>(&self, state: &ServerState<M>, src: Id, msg: &Msg<M>) -> bool {
        let config = &self.config;
        let server = usize::from(src);
        let from_server = server < config.servers && server != self.index;
        if matches!(msg, Msg::Client(_)) == from_server {
            return true;
        }
        match msg {
            Msg::Client(ClientMsg::Request(command)) => {
                !command.is_sound::<M>(src) || state.replica.sessions.standing(&command.id) == Standing::Old
            }
            Msg::Client(_) => true,
            Msg::Phase1a { round, slots } => {
                round.owner(config.servers) != server || *round == Round::ZERO || !slots.is_sound(config)
            }
            Msg::Phase1b { slots, .. } => !slots.is_sound(config),
            Msg::Phase2a { round, slot, .. } => {
                !config.may_propose(server, *round, *slot) && !config.breaks(Mutant::ForeignSlots)
            }
            Msg::Phase2b { .. } => false,
            Msg::Skip(slots) => config.owner(slots.from) != server || state.knows_all(config, *slots),
            Msg::Chosen { slot, .. } => state.knows(*slot),
        }
    }

    pub(super) fn on_msg<M: StateMachine>(
        &self,
        state: &mut ServerState<M>,
        src: Id,
        msg: Msg<M>,
        out: &mut Out<Node<M, F>>,
    ) {
        let server = usize::from(src);
        self.turn(state, out, |turn| match msg {
            Msg::Client(ClientMsg::Request(command)) => turn.on_request(command),
            Msg::Client(_) => {}
            Msg::Phase1a { round, slots } => turn.on_phase1a(src, round, slots),
            Msg::Phase1b { round, slots, known } => turn.on_phase1b(server, round, slots, known),
            Msg::Phase2a { round, slot, value, skipped } => {
                turn.learn_skipped(server, skipped);
                turn.on_phase2a(src, round, slot, value);
            }
            Msg::Phase2b { round, slot, skipped } => {
                turn.learn_skipped(server, skipped);
                turn.on_phase2b(server, round, slot);
            }
            Msg::Skip(slots) => turn.learn_skipped(server, Some(slots)),
            Msg::Chosen { slot, value } => turn.choose(slot, value),
        });
    }

    pub(super) fn on_timeout<M: StateMachine>(
        &self,
        state: &mut ServerState<M>,
        timer: Timer,
        out: &mut Out<Node<M, F>>,
    ) {
        self.turn(state, out, |turn| match timer {
            Timer::Resend => turn.on_resend_timeout(),
            Timer::Flush => turn.flush(),
            Timer::Revoke => turn.on_revoke_timeout(),
            Timer::Retry(_) => {}
        });
    }

    /// Runs one turn: executes what it made possible, and saves if anything changed that must not be forgotten.
    fn turn<M: StateMachine>(
        &self,
        state: &mut ServerState<M>,
        out: &mut Out<Node<M, F>>,
        handle: impl FnOnce(&mut Turn<'_, M, F>),
    ) {
        let mut turn = Turn { index: self.index, config: &self.config, state, out, must_save: false };
        handle(&mut turn);
        turn.execute();
        if turn.must_save {
            let forgets = self.config.breaks(Mutant::ForgetSkipped);
            let storage = Storage {
                next_slot: if forgets {
                    state.first_unproposed(&self.config, self.index)
                } else {
                    state.next_slot
                },
                round: state.round,
                promises: state.promises.clone(),
                votes: state.votes.clone(),
                chosen: state.replica.log.clone(),
            };
            out.save(storage);
        }
    }
}

impl<M: StateMachine> ServerState<M> {
    /// Does it know what is chosen in a slot?
    pub fn knows(&self, slot: Slot) -> bool {
        self.replica.log.contains_key(&slot)
    }

    /// Is this command proposed here, or chosen, and not executed yet?
    fn holds(&self, id: &CommandId) -> bool {
        let proposed = self.proposals.values().map(|proposal| &proposal.value);
        let chosen = self.replica.log.range(self.replica.executed..).map(|(_, value)| value);
        proposed.chain(chosen).flat_map(Value::commands).any(|command| command.id == *id)
    }

    /// Does it know that of all these slots?
    fn knows_all<F: Faults<Mutant>>(&self, config: &Config<F>, slots: Stretch) -> bool {
        slots.iter(config).all(|slot| self.knows(slot))
    }

    /// For a mutant: the first slot after those in which it has proposed a command.
    fn first_unproposed<F: Faults<Mutant>>(&self, config: &Config<F>, index: usize) -> Slot {
        let own = config.slots_of(index);
        let commands = |value: &ValueOf<M>| *value != Value::Noop;
        let voted = self.votes.iter().filter(|(_, vote)| commands(&vote.vote_value)).map(|(slot, _)| *slot);
        let chosen = self.replica.log.iter().filter(|(_, value)| commands(value)).map(|(slot, _)| *slot);
        let last = voted.chain(chosen).filter(|slot| own.contains(*slot)).max();
        last.map_or(own.at_or_after(Slot::ZERO), |last| own.after(last))
    }

    /// Does it know what is chosen in a later slot?
    fn knows_later(&self, slot: Slot) -> bool {
        self.replica.log.get_max().is_some_and(|(last, _)| *last > slot)
    }

    /// The slot that it waits for: one that it cannot execute although there is something behind it.
    pub(super) fn missing(&self) -> Option<Slot> {
        let slot = self.replica.executed;
        let wanted = self.knows_later(slot) || self.next_slot > slot;
        (wanted && !self.knows(slot)).then_some(slot)
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    pub(super) fn slots(&self) -> SlotClass {
        self.config.slots_of(self.index)
    }

    pub(super) fn breaks(&self, rule: Mutant) -> bool {
        self.config.breaks(rule)
    }

    pub(super) fn save(&mut self) {
        self.must_save = true;
    }

    pub(super) fn send_to_others(&mut self, msg: &Msg<M>) {
        for server in (0..self.config.servers).filter(|server| *server != self.index) {
            self.out.send(Id::from(server), msg.clone());
        }
    }

    pub(super) fn set_timer(&mut self, timer: Timer) {
        let after = match timer {
            Timer::Resend => self.config.resend,
            Timer::Flush => self.config.flush,
            Timer::Revoke => self.config.revoke,
            Timer::Retry(_) => return,
        };
        self.out.set_timer(timer, after..2 * after);
    }

    /// After a restart: asks for votes again in its own slots that nobody has revoked.
    fn resume(&mut self) {
        let ServerState { votes, promises, .. } = &*self.state;
        let own = |slot: &Slot| self.slots().contains(*slot) && !promises.contains_key(slot);
        let mine: Vec<_> = votes.iter().filter(|(slot, _)| own(slot)).collect();
        let proposal = |vote: &Vote<M::Command>| Proposal {
            round: vote.vote_round,
            value: vote.vote_value.clone(),
            voted: NodeSet::single(self.index),
        };
        let proposals = mine.into_iter().map(|(slot, vote)| (*slot, proposal(vote))).collect();
        self.state.proposals = proposals;
        if !self.state.proposals.is_empty() {
            self.set_timer(Timer::Resend);
        }
    }

    fn on_request(&mut self, mut command: CommandOf<M>) {
        if let Some(answer) = self.state.replica.sessions.known_answer(&command.id) {
            let reply = ClientMsg::Reply { id: command.id, answer };
            self.out.send(command.id.client_id(), Msg::Client(reply));
            return;
        }
        if self.state.holds(&command.id) {
            return;
        }
        command.id.seq += u64::from(self.breaks(Mutant::RenumberCommands));
        self.propose_command(command);
    }

    /// Proposes a command in its next slot, with its own vote.
    fn propose_command(&mut self, command: Command<M::Command>) {
        let slot = self.state.next_slot;
        let foreign = self.breaks(Mutant::ForeignSlots);
        self.state.next_slot = if foreign { slot.next() } else { self.slots().after(slot) };
        self.propose(Round::ZERO, slot, Value::Batch([command].into()));
    }

    /// Votes for a value and asks the others to; what it has skipped is told along with it.
    pub(super) fn propose(&mut self, round: Round, slot: Slot, value: ValueOf<M>) {
        let vote = Vote { vote_round: round, vote_value: value.clone() };
        self.state.votes.insert(slot, vote);
        self.save();
        if self.state.proposals.is_empty() {
            self.set_timer(Timer::Resend);
        }
        let skipped = self.state.skipped.take();
        if skipped.is_some() {
            self.out.cancel_timer(Timer::Flush);
        }
        self.send_to_others(&Msg::Phase2a { round, slot, value: value.clone(), skipped });
        let voted = NodeSet::single(self.index);
        self.state.proposals.insert(slot, Proposal { round, value, voted });
        self.count(slot);
    }

    /// Votes; whoever was overtaken skips its slots before, and says so with the vote. Where the outcome is known, tells it.
    fn on_phase2a(&mut self, src: Id, round: Round, slot: Slot, value: ValueOf<M>) {
        // A slot of its own is revoked; one of the owner's overtakes.
        self.skip_below(if self.slots().contains(slot) { slot.next() } else { slot }, round);
        if let Some(value) = self.state.replica.log.get(&slot).cloned() {
            self.out.send(src, Msg::Chosen { slot, value });
            return;
        }
        let promised = self.state.promises.get(&slot).copied().unwrap_or_default();
        if round < promised && !self.breaks(Mutant::AcceptLowerRound) {
            return;
        }
        if round > promised {
            self.state.promises.insert(slot, round);
            self.state.round = self.state.round.max(round);
        }
        self.state.votes.insert(slot, Vote { vote_round: round, vote_value: value });
        self.save();
        let skipped = self.state.skipped;
        self.out.send(src, Msg::Phase2b { round, slot, skipped });
    }

    /// Skips its own slots below another: they hold noops from now on. What is chosen by revocation overtakes nobody, unless
    /// it is its own slots that are revoked.
    pub(super) fn skip_below(&mut self, below: Slot, round: Round) {
        let (own, from) = (self.slots(), self.state.next_slot);
        let revoked = below > Slot::ZERO && own.contains(below.minus(1));
        if from >= below || self.breaks(Mutant::NoSkipping) || round > Round::ZERO && !revoked {
            return;
        }
        let begin = self.state.skipped.map_or(from, |skipped| skipped.from);
        for slot in own.range(from, below) {
            self.choose(slot, Value::Noop);
        }
        if !self.breaks(Mutant::ProposeSkipped) {
            self.state.next_slot = own.at_or_after(below);
        }
        if self.state.skipped.is_none() {
            self.set_timer(Timer::Flush);
        }
        self.state.skipped = Some(Stretch { from: begin, below });
        self.save();
    }

    /// Says what it has skipped.
    fn flush(&mut self) {
        if let Some(skipped) = self.state.skipped.take() {
            self.send_to_others(&Msg::Skip(skipped));
        }
    }

    /// Another server has skipped these of its slots.
    fn learn_skipped(&mut self, server: usize, skipped: Option<Stretch>) {
        let Some(skipped) = skipped.filter(|skipped| self.config.owner(skipped.from) == server) else {
            return;
        };
        for slot in skipped.iter(self.config) {
            self.choose(slot, Value::Noop);
        }
    }

    fn on_phase2b(&mut self, server: usize, round: Round, slot: Slot) {
        if let Some(proposal) = self.state.proposals.get_mut(&slot).filter(|known| known.round == round) {
            proposal.voted.insert(server);
            self.count(slot);
        }
    }

    /// Is what it proposed chosen? Then everybody is told.
    fn count(&mut self, slot: Slot) {
        let one_short = self.breaks(Mutant::WriteQuorumShort);
        let config = self.config;
        let Some(Proposal { value, voted, .. }) = self.state.proposals.get(&slot) else { return };
        if is_enough(*voted, config.servers, one_short, |set| config.is_majority(set)) {
            let value = value.clone();
            self.send_to_others(&Msg::Chosen { slot, value: value.clone() });
            self.choose(slot, value);
        }
    }

    /// Notes what is chosen. A command of its own that something else was chosen over is proposed anew.
    pub(super) fn choose(&mut self, slot: Slot, value: ValueOf<M>) {
        if self.state.knows(slot) {
            return;
        }
        let lost = self.state.proposals.remove(&slot).filter(|proposal| proposal.value != value);
        self.state.promises.remove(&slot);
        self.state.votes.remove(&slot);
        self.state.replica.log.insert(slot, value);
        self.save();
        if self.state.proposals.is_empty() {
            self.out.cancel_timer(Timer::Resend);
        }
        let lost = lost.filter(|lost| lost.round == Round::ZERO);
        for command in lost.iter().flat_map(|lost| lost.value.commands()) {
            // Its own slots before this one are proposed in or skipped, so this is a later one.
            self.propose_command(command.clone());
        }
    }

    /// Executes the log as far as it has no hole, and replies for its own slots.
    fn execute(&mut self) {
        let before = self.state.replica.executed;
        loop {
            let slot = self.state.replica.executed;
            match self.state.replica.log.get(&slot).cloned() {
                Some(value) => {
                    value.commands().iter().for_each(|command| self.execute_command(slot, command));
                }
                None if self.breaks(Mutant::ExecutePastHole) && self.state.knows_later(slot) => {}
                None => break,
            }
            self.state.replica.executed = slot.next();
        }
        if self.state.replica.executed > before && self.state.waits {
            self.state.waits = false;
            self.out.cancel_timer(Timer::Revoke);
        }
        if self.state.missing().is_some_and(|slot| self.may_revoke(slot)) && !self.state.waits {
            self.state.waits = true;
            self.set_timer(Timer::Revoke);
        }
    }

    fn execute_command(&mut self, slot: Slot, command: &CommandOf<M>) {
        let (anew, lanes) = (self.breaks(Mutant::NoClientTable), self.config.lanes_max);
        let answer = self.state.replica.execute_command(slot, command, lanes, anew);
        if let Some(answer) = answer.filter(|_| self.config.owner(slot) == self.index) {
            let reply = ClientMsg::Reply { id: command.id, answer };
            self.out.send(command.id.client_id(), Msg::Client(reply));
        }
    }

    fn on_resend_timeout(&mut self) {
        for (slot, Proposal { round, value, voted }) in &self.state.proposals.clone() {
            for server in (0..self.config.servers).filter(|server| !voted.contains(*server)) {
                let (slot, round, value) = (*slot, *round, value.clone());
                self.out.send(Id::from(server), Msg::Phase2a { round, slot, value, skipped: None });
            }
        }
        self.ask_again();
        if !self.state.proposals.is_empty() || self.state.revocation.is_some() {
            self.set_timer(Timer::Resend);
        }
    }
}
