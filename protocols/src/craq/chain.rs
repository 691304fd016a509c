//! A node of the chain: receives in order, executes what the tail has executed, answers reads.

use super::{Config, Msg, Mutant, Node, Storage, Timer};
use crate::client::ClientMsg;
use crate::command::{Command, CommandOf, Operation};
use crate::faults::Faults;
use crate::ids::Slot;
use crate::sessions::{Answer, Sessions, Standing};
use crate::state_machine::StateMachine;
use im::OrdMap;
use stateright::actor::{Id, Out};
use std::sync::Arc;

/// A node, as configured.
#[derive(Clone, Debug)]
pub struct Chain<F> {
    /// Its place, from 0 at the head.
    pub index: usize,
    /// What all nodes know.
    pub config: Arc<Config<F>>,
}

/// A node's state, all of which it saves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChainState<M: StateMachine> {
    /// It has received all writes up to this number.
    pub received: u64,
    /// It has executed all writes up to this number, and so has the tail.
    pub committed: u64,
    /// What it has received and not executed, by number.
    pub pending: OrdMap<u64, CommandOf<M>>,
    /// The state machine.
    pub machine: M,
    /// The client table.
    pub sessions: Sessions<M::Output>,
}

impl<M: StateMachine> Default for ChainState<M> {
    fn default() -> Self {
        let (machine, sessions) = (M::default(), Sessions::default());
        Self { received: 0, committed: 0, pending: OrdMap::new(), machine, sessions }
    }
}

type Say<'a, M, F> = &'a mut Out<Node<M, F>>;

impl<F: Faults<Mutant>> Chain<F> {
    /// The first state, or the saved one.
    pub(super) fn start<M: StateMachine>(
        &self,
        storage: Option<&Storage<M>>,
        out: Say<'_, M, F>,
    ) -> ChainState<M> {
        let sessions = || Sessions::with_clients(self.config.known_clients.iter().copied());
        let state =
            storage.cloned().unwrap_or_else(|| ChainState { sessions: sessions(), ..Default::default() });
        if !state.pending.is_empty() {
            self.await_ack(out);
        }
        state
    }

    /// Is the message of no use in this state?
    pub(super) fn ignores<M: StateMachine>(&self, state: &ChainState<M>, src: Id, msg: &Msg<M>) -> bool {
        match msg {
            Msg::Client(ClientMsg::Request(command)) => {
                !command.is_sound::<M>(src) || !(is_read::<M>(command) || self.index == 0)
            }
            Msg::Client(_) => true,
            Msg::Write { number, .. } => {
                let next = state.received + 1;
                Some(src) != self.predecessor() || *number > next && !self.breaks(Mutant::NoNumbers)
            }
            Msg::Ack { committed } => Some(src) != self.successor() || *committed <= state.committed,
            Msg::TailRead(_) => self.index != self.reader_of_dirty(),
        }
    }

    /// Handles a message that is not ignored.
    pub(super) fn on_msg<M: StateMachine>(&self, state: &mut ChainState<M>, msg: Msg<M>, out: Say<'_, M, F>) {
        match msg {
            Msg::Client(ClientMsg::Request(command)) if is_read::<M>(&command) => {
                self.on_read(state, command, out);
            }
            Msg::Client(ClientMsg::Request(command)) => self.on_request(state, command, out),
            Msg::Write { number, command } => self.on_write(state, number, command, out),
            Msg::Ack { committed } => self.on_ack(state, committed, out),
            Msg::TailRead(command) => reply_to_read(&state.machine, &command, out),
            Msg::Client(_) => {}
        }
    }

    /// The head numbers a write that is new, and answers a copy of one that is acknowledged. What it has executed lags behind
    /// what the tail has, so it knows less: that a session is unknown, only the tail can say.
    fn on_request<M: StateMachine>(
        &self,
        state: &mut ChainState<M>,
        command: CommandOf<M>,
        out: Say<'_, M, F>,
    ) {
        let standing = match state.sessions.standing(&command.id) {
            _ if self.breaks(Mutant::NoClientTable) => Standing::New,
            Standing::Settled(Answer::Expired) if !self.breaks(Mutant::ExpireAtTheHead) => Standing::New,
            standing => standing,
        };
        let under_way = || state.pending.values().any(|pending| pending.id == command.id);
        match standing {
            Standing::Settled(answer) => {
                out.send(command.id.client_id(), ClientMsg::Reply { id: command.id, answer }.into());
            }
            Standing::Old => {}
            Standing::New if !self.breaks(Mutant::NoClientTable) && under_way() => {}
            Standing::New if state.pending.len() >= self.config.pending_max => {
                out.send(command.id.client_id(), ClientMsg::Busy { id: command.id }.into());
            }
            Standing::New => {
                if self.breaks(Mutant::HeadReplies)
                    && let Some(answer) = self.foresee(state, &command)
                {
                    out.send(command.id.client_id(), ClientMsg::Reply { id: command.id, answer }.into());
                }
                self.accept(state, command, out);
                self.save(state, out);
            }
        }
    }

    /// Takes the write that is next; one that was received before is a question how far the tail has come.
    fn on_write<M: StateMachine>(
        &self,
        state: &mut ChainState<M>,
        number: u64,
        command: CommandOf<M>,
        out: Say<'_, M, F>,
    ) {
        if number <= state.received && !self.breaks(Mutant::NoNumbers) {
            self.acknowledge(state, out);
            return;
        }
        self.accept(state, command, out);
        self.save(state, out);
    }

    /// Receives a write: the tail executes it, another node hands it on.
    fn accept<M: StateMachine>(&self, state: &mut ChainState<M>, command: CommandOf<M>, out: Say<'_, M, F>) {
        state.received += 1;
        let number = state.received;
        state.pending.insert(number, command.clone());
        let Some(successor) = self.successor() else {
            for (id, answer) in self.execute(state, number) {
                if !self.breaks(Mutant::SilentTail) {
                    out.send(id.client_id(), ClientMsg::Reply { id, answer }.into());
                }
            }
            self.acknowledge(state, out);
            return;
        };
        if state.pending.len() == 1 {
            self.await_ack(out);
        }
        out.send(successor, Msg::Write { number, command });
        if self.breaks(Mutant::AckOnReceive)
            && let Some(predecessor) = self.predecessor()
        {
            out.send(predecessor, Msg::Ack { committed: number });
        }
    }

    /// Executes what the tail has executed.
    fn on_ack<M: StateMachine>(&self, state: &mut ChainState<M>, committed: u64, out: Say<'_, M, F>) {
        self.execute(state, committed);
        if state.pending.is_empty() {
            out.cancel_timer(Timer::Resend);
        }
        self.acknowledge(state, out);
        self.save(state, out);
    }

    /// Executes the pending writes up to a number, and returns the answers.
    fn execute<M: StateMachine>(
        &self,
        state: &mut ChainState<M>,
        up_to: u64,
    ) -> Vec<(crate::command::CommandId, Answer<M::Output>)> {
        let mut answers = vec![];
        while state.committed < up_to.min(state.received) {
            state.committed += 1;
            let Some(command) = state.pending.remove(&state.committed) else { continue };
            let slot = Slot(state.committed);
            let answer = match &command.op {
                Operation::Apply(operation) if self.breaks(Mutant::NoClientTable) => {
                    let output = state.sessions.apply(&mut state.machine, slot, command.id, operation);
                    Some(Answer::Output(output))
                }
                _ => state.sessions.execute(&mut state.machine, slot, &command, self.config.lanes_max),
            };
            answers.extend(answer.map(|answer| (command.id, answer)));
        }
        answers
    }

    /// Answers a read that no pending write can change; hands any other to the tail.
    fn on_read<M: StateMachine>(&self, state: &mut ChainState<M>, command: CommandOf<M>, out: Say<'_, M, F>) {
        let Operation::Apply(read) = &command.op else { return };
        let dirty = state.pending.values().any(|pending| match &pending.op {
            Operation::Apply(write) => M::conflicts(read, write),
            Operation::Open { .. } => false,
        });
        if dirty && self.breaks(Mutant::AnswerPending) {
            let mut machine = state.machine.clone();
            for write in state.pending.values() {
                if let Operation::Apply(write) = &write.op {
                    machine.apply(write);
                }
            }
            reply_to_read(&machine, &command, out);
        } else if dirty && !self.breaks(Mutant::AnswerDirty) && self.index != self.reader_of_dirty() {
            out.send(Id::from(self.reader_of_dirty()), Msg::TailRead(command));
        } else {
            reply_to_read(&state.machine, &command, out);
        }
    }

    /// Sends again what was not acknowledged.
    pub(super) fn on_resend<M: StateMachine>(&self, state: &ChainState<M>, out: Say<'_, M, F>) {
        let Some(successor) = self.successor().filter(|_| !state.pending.is_empty()) else { return };
        for (number, command) in state.pending.iter().take(self.config.resend_max) {
            out.send(successor, Msg::Write { number: *number, command: command.clone() });
        }
        self.await_ack(out);
    }

    /// What a write would be answered if everything pending were executed.
    fn foresee<M: StateMachine>(
        &self,
        state: &ChainState<M>,
        command: &CommandOf<M>,
    ) -> Option<Answer<M::Output>> {
        let mut state = state.clone();
        let received = state.received;
        self.execute(&mut state, received);
        state.sessions.execute(&mut state.machine, Slot(received + 1), command, self.config.lanes_max)
    }

    fn acknowledge<M: StateMachine>(&self, state: &ChainState<M>, out: Say<'_, M, F>) {
        if let Some(predecessor) = self.predecessor() {
            out.send(predecessor, Msg::Ack { committed: state.committed });
        }
    }

    fn await_ack<M: StateMachine>(&self, out: Say<'_, M, F>) {
        if self.successor().is_some() {
            out.set_timer(Timer::Resend, self.config.resend_after.clone());
        }
    }

    fn save<M: StateMachine>(&self, state: &ChainState<M>, out: Say<'_, M, F>) {
        if !self.breaks(Mutant::NoSave) {
            out.save(state.clone());
        }
    }

    fn predecessor(&self) -> Option<Id> {
        self.index.checked_sub(1).map(Id::from)
    }

    fn successor(&self) -> Option<Id> {
        let next = self.index + 1;
        (next < self.config.nodes).then(|| Id::from(next))
    }

    /// Who answers a read that is dirty elsewhere: the tail.
    fn reader_of_dirty(&self) -> usize {
        if self.breaks(Mutant::DirtyToHead) { 0 } else { self.config.nodes - 1 }
    }

    fn breaks(&self, rule: Mutant) -> bool {
        self.config.faults.breaks(rule)
    }
}

fn is_read<M: StateMachine>(command: &CommandOf<M>) -> bool {
    matches!(&command.op, Operation::Apply(op) if M::is_read(op))
}

/// A read changes nothing, not even the client table: a copy of it is read again.
fn reply_to_read<M: StateMachine, F: Faults<Mutant>>(
    machine: &M,
    command: &CommandOf<M>,
    out: &mut Out<Node<M, F>>,
) {
    let Command { id, op: Operation::Apply(read) } = command else { return };
    let output = machine.clone().apply(read);
    out.send(id.client_id(), ClientMsg::Reply { id: *id, answer: Answer::Output(output) }.into());
}
