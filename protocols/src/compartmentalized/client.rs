//! The client: its commands go through the log, by way of [`crate::client`]; its reads do not.
//!
//! A linearizable read asks a read quorum of acceptors for an index and then a replica for a state that shows it. A
//! sequential read skips the first step and uses what the client has seen: the largest slot that any answer to it
//! showed, whatever kind of question that was. An eventual read waits for nothing.

use super::config::{Config, Role};
use super::mutant::{Mutant, Rules};
use super::node::Node;
use super::pre_read::{PreRead, Tag};
use super::{Msg, Read, Reply, Timer};
use crate::client::{Client, ClientMsg, ClientState, RetryTimer, Returned};
use crate::command::CommandId;
use crate::ids::Slot;
use crate::sessions::Answer;
use crate::state_machine::StateMachine;
use im::OrdMap;
use serde::{Deserialize, Serialize};
use stateright::actor::{Id, Out};
use std::sync::Arc;

/// What a read promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// It shows everything that was finished before it was asked for.
    Linearizable,
    /// It shows everything that its client was shown before, on the same lane or another.
    Sequential,
    /// It shows the state after some prefix of the log.
    Eventual,
}

/// Something to ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask<C> {
    /// The command.
    pub command: C,
    /// What a read promises; none puts it into the log like any other command.
    pub read: Option<Consistency>,
}

/// A client, as configured.
#[derive(Clone, Debug)]
pub struct Reader<C, F> {
    /// The part that writes; its own script is empty.
    pub writer: Client<C>,
    /// What it asks on lane 0, one after the other.
    pub script: Vec<Ask<C>>,
    /// How it reads for its application; none through the log.
    pub read: Option<Consistency>,
    /// Where it begins in every rotation (of groups, quorums and replicas), so that clients spread.
    pub turn: u64,
    /// What all nodes know.
    pub config: Arc<Config<F>>,
}

/// A client's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReaderState<C> {
    /// The part that writes.
    pub writer: ClientState<C>,
    /// Some answer showed the slots below.
    pub seen: Slot,
    /// How many questions of its script it has asked.
    pub asked: usize,
    /// The reads that are going on, by lane.
    pub reading: OrdMap<u32, Reading<C>>,
}

/// A read that is going on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reading<C> {
    /// Its name and what is asked.
    pub read: Read<C>,
    /// What it promises.
    pub consistency: Consistency,
    /// How far it is.
    pub stage: Stage,
    /// How often it was sent again.
    pub retries: u32,
}

/// How far a read is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Acceptors are asked for the index.
    Index(PreRead),
    /// A replica is asked for a state that shows all slots below.
    State(Slot),
    /// A read batcher sees to it.
    Batched,
}

impl<C> ReaderState<C> {
    /// Has the client nothing outstanding?
    pub fn is_idle(&self) -> bool {
        self.writer.is_idle() && self.reading.is_empty()
    }

    /// The command or read that a lane waits for, and its sequence number.
    pub fn outstanding(&self, pseudonym: u32) -> Option<(u64, &C)> {
        match self.reading.get(&pseudonym) {
            Some(Reading { read, .. }) => Some((read.id.seq, &read.command)),
            None => self.writer.outstanding(pseudonym),
        }
    }
}

impl<C: Clone, F: Rules> Reader<C, F> {
    pub(super) fn start<M>(&self, id: Id, out: &mut Out<Node<M, F>>) -> ReaderState<C>
    where
        M: StateMachine<Command = C>,
    {
        let writer = self.writer.start(id, out);
        let mut state = ReaderState { writer, seen: Slot::ZERO, asked: 0, reading: OrdMap::new() };
        self.continue_script(id, &mut state, out);
        state
    }

    pub(super) fn ignores<M>(&self, id: Id, state: &ReaderState<C>, src: Id, msg: &Msg<M>) -> bool
    where
        M: StateMachine<Command = C>,
    {
        match msg {
            Msg::Client(msg) => src == id || self.writer.ignores(&state.writer, src, msg),
            Msg::Reply(reply) => !state.awaits(&reply.id) && !state.writer.awaits(&reply.id),
            Msg::PreReadAck { tag, .. } => {
                let lane = u32::try_from(tag.series).unwrap_or(u32::MAX);
                match state.reading.get(&lane).map(|reading| &reading.stage) {
                    Some(Stage::Index(question)) => !question.awaits(&self.config, *tag, src),
                    _ => true,
                }
            }
            _ => true,
        }
    }

    pub(super) fn on_msg<M>(
        &self,
        id: Id,
        state: &mut ReaderState<C>,
        src: Id,
        msg: Msg<M>,
        out: &mut Out<Node<M, F>>,
    ) where
        M: StateMachine<Command = C>,
    {
        match msg {
            Msg::Client(ClientMsg::Invoke { pseudonym, command }) => {
                self.on_invoke(id, state, pseudonym, command, out);
            }
            Msg::Client(msg) => self.writer.on_msg::<M, _>(id, &mut state.writer, msg, out),
            Msg::Reply(reply) => self.on_reply(id, state, reply, out),
            Msg::PreReadAck { tag, voted_below } => self.on_answer(state, src, tag, voted_below, out),
            _ => {}
        }
        self.continue_script(id, state, out);
    }

    /// Sends a command or a read again; a read to everybody, and then to another replica.
    pub(super) fn on_timeout<M>(
        &self,
        id: Id,
        state: &mut ReaderState<C>,
        timer: RetryTimer,
        out: &mut Out<Node<M, F>>,
    ) where
        M: StateMachine<Command = C>,
    {
        let Some(reading) = state.reading.get_mut(&timer.0) else {
            self.writer.on_timeout(id, &mut state.writer, timer, out);
            return;
        };
        if reading.retries >= self.writer.retries_max {
            return;
        }
        reading.retries = reading.retries.saturating_add(1);
        if let Stage::Index(question) = &reading.stage {
            question.ask_again(&self.config, out);
            self.await_answer(reading, out);
        } else {
            let (reading, seen) = (reading.clone(), state.seen);
            self.send_read(&reading, seen, out);
        }
    }

    /// Asks the next question of the script when the one before is answered.
    fn continue_script<M>(&self, id: Id, state: &mut ReaderState<C>, out: &mut Out<Node<M, F>>)
    where
        M: StateMachine<Command = C>,
    {
        if let Some(ask) = self.script.get(state.asked).filter(|_| state.is_idle()) {
            state.asked += 1;
            self.ask(id, state, 0, ask.clone(), out);
        }
    }

    fn on_invoke<M>(
        &self,
        id: Id,
        state: &mut ReaderState<C>,
        pseudonym: u32,
        command: C,
        out: &mut Out<Node<M, F>>,
    ) where
        M: StateMachine<Command = C>,
    {
        let read = self.read.filter(|_| M::is_read(&command));
        if state.reading.contains_key(&pseudonym) || read.is_some() && !state.writer.is_free(pseudonym) {
            self.tell(pseudonym, Returned::LaneTaken, out);
        } else if let (Some(_), Some(output)) = (read, M::refusal(&command)) {
            self.tell(pseudonym, Returned::Output(output), out);
        } else {
            self.ask(id, state, pseudonym, Ask { command, read }, out);
        }
    }

    fn ask<M>(
        &self,
        id: Id,
        state: &mut ReaderState<C>,
        pseudonym: u32,
        ask: Ask<C>,
        out: &mut Out<Node<M, F>>,
    ) where
        M: StateMachine<Command = C>,
    {
        let Ask { command, read } = ask;
        let Some(consistency) = read else {
            let invoke = ClientMsg::Invoke { pseudonym, command };
            self.writer.on_msg::<M, _>(id, &mut state.writer, invoke, out);
            return;
        };
        let consistency = match consistency {
            Consistency::Linearizable if self.config.breaks(Mutant::LinearizableAsSequential) => {
                Consistency::Sequential
            }
            Consistency::Sequential if self.config.breaks(Mutant::SequentialAsEventual) => {
                Consistency::Eventual
            }
            consistency => consistency,
        };
        let read = Read { id: state.writer.name_read(id, pseudonym), command };
        let turn = self.turn.wrapping_add(read.id.seq);
        let first = match consistency {
            _ if self.config.layout.read_batchers > 0 => Stage::Batched,
            Consistency::Linearizable => {
                let tag = Tag { series: u64::from(pseudonym), number: read.id.seq };
                Stage::Index(PreRead::ask(&self.config, tag, turn, out))
            }
            Consistency::Sequential => Stage::State(state.seen),
            Consistency::Eventual => Stage::State(Slot::ZERO),
        };
        let reading = Reading { read, consistency, stage: first, retries: 0 };
        match reading.stage {
            Stage::Index(_) => self.await_answer(&reading, out),
            Stage::State(_) | Stage::Batched => self.send_read(&reading, state.seen, out),
        }
        state.reading.insert(pseudonym, reading);
    }

    /// An acceptor tells how far it voted; with a read quorum of answers, a replica can be asked.
    fn on_answer<M>(
        &self,
        state: &mut ReaderState<C>,
        acceptor: Id,
        tag: Tag,
        voted_below: Slot,
        out: &mut Out<Node<M, F>>,
    ) where
        M: StateMachine<Command = C>,
    {
        let lane = u32::try_from(tag.series).unwrap_or(u32::MAX);
        let Some(reading) = state.reading.get_mut(&lane) else { return };
        let Stage::Index(question) = &mut reading.stage else { return };
        if let Some(below) = question.add(&self.config, acceptor, voted_below) {
            reading.stage = Stage::State(below);
            self.send_read(reading, state.seen, out);
        }
    }

    /// Sends a read that needs no question to acceptors (any more), to a replica or read batcher whose turn it is.
    fn send_read<M>(&self, reading: &Reading<C>, seen: Slot, out: &mut Out<Node<M, F>>)
    where
        M: StateMachine<Command = C>,
    {
        let Reading { read, consistency, retries, .. } = reading;
        let turn = self.turn.wrapping_add(read.id.seq).wrapping_add(u64::from(*retries));
        let read = read.clone();
        let (role, msg) = match reading.stage {
            Stage::State(below) => (Role::Replica, Msg::Read { reads: vec![read], below }),
            _ => (Role::ReadBatcher, Msg::ReadRequest { read, consistency: *consistency, seen }),
        };
        if let Some(next) = self.config.turn(role, turn) {
            out.send(next, msg);
        }
        self.await_answer(reading, out);
    }

    fn await_answer<M>(&self, reading: &Reading<C>, out: &mut Out<Node<M, F>>)
    where
        M: StateMachine<Command = C>,
    {
        if reading.retries < self.writer.retries_max {
            let timer = RetryTimer(reading.read.id.pseudonym);
            out.set_timer(Timer::Retry(timer), self.writer.retry_after.clone());
        }
    }

    fn on_reply<M>(
        &self,
        id: Id,
        state: &mut ReaderState<C>,
        reply: Reply<M::Output>,
        out: &mut Out<Node<M, F>>,
    ) where
        M: StateMachine<Command = C>,
    {
        let lane = reply.id.pseudonym;
        let is_read = state.awaits(&reply.id);
        let forgets = if is_read { Mutant::ForgetReadSlot } else { Mutant::ForgetWriteSlot };
        if !self.config.breaks(forgets) {
            state.seen = state.seen.max(reply.below);
        }
        if is_read {
            state.reading.remove(&lane);
            out.cancel_timer(Timer::Retry(RetryTimer(lane)));
            if let Answer::Output(output) = reply.answer {
                self.tell(lane, Returned::Output(output), out);
            }
        } else {
            let answer = ClientMsg::Reply { id: reply.id, answer: reply.answer };
            self.writer.on_msg::<M, _>(id, &mut state.writer, answer, out);
        }
    }

    fn tell<M>(&self, pseudonym: u32, result: Returned<M::Output>, out: &mut Out<Node<M, F>>)
    where
        M: StateMachine<Command = C>,
    {
        if let Some(application) = self.writer.application {
            out.send(application, Msg::Client(ClientMsg::Returned { pseudonym, result }));
        }
    }
}

impl<C> ReaderState<C> {
    /// Is this a read that is going on?
    fn awaits(&self, id: &CommandId) -> bool {
        self.reading.get(&id.pseudonym).is_some_and(|reading| reading.read.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Operation;
    use crate::compartmentalized::{Bounds, Group, Layout, Limits, ReadScheme, State, Timing};
    use crate::faults::Correct;
    use crate::state_machine::{Register, RegisterCommand, RegisterOutput};
    use stateright::actor::{Actor, Command};
    use std::borrow::Cow;
    use std::collections::BTreeSet;
    use std::time::Duration;

    const LAYOUT: Layout = Layout {
        leaders: 2,
        proxies: 1,
        acceptors: 1,
        replicas: 1,
        batchers: 0,
        unbatchers: 0,
        read_batchers: 0,
    };

    /// A client of an application, and what came of it so far.
    struct Asking {
        actor: Node<Register>,
        state: State<Register>,
        timers: BTreeSet<Timer>,
        sent: Vec<(Id, Msg<Register>)>,
    }

    fn client() -> Id {
        Id::from(LAYOUT.nodes())
    }

    fn application() -> Id {
        Id::from(LAYOUT.nodes() + 1)
    }

    impl Asking {
        fn new(lanes: u32) -> Self {
            let config = Arc::new(Config {
                layout: LAYOUT,
                leader_groups: 1,
                groups: vec![Group::grid(0, 1, 1)],
                saves_needed: 1,
                known_clients: vec![],
                read_scheme: ReadScheme::Timed,
                limits: Limits::default(),
                timing: Timing::default(),
                bounds: Bounds::default(),
                faults: Correct,
            });
            let writer = Client {
                contacts: LAYOUT.ids(Role::Leader).collect(),
                first_contact: 0,
                script: vec![],
                lanes,
                known: false,
                application: Some(application()),
                retries_max: u32::MAX,
                retry_after: Duration::from_millis(1)..Duration::from_millis(2),
            };
            let read = Some(Consistency::Linearizable);
            let actor = Node::Client(Reader { writer, script: vec![], read, turn: 0, config });
            let mut out = Out::new();
            let state = actor.on_start(client(), &None, &mut out);
            let mut asking = Self { actor, state, timers: BTreeSet::new(), sent: vec![] };
            asking.note(out);
            asking
        }

        fn note(&mut self, out: Out<Node<Register>>) {
            for command in out {
                match command {
                    Command::Send(dst, msg) => self.sent.push((dst, msg)),
                    Command::SetTimer(timer, _) => drop(self.timers.insert(timer)),
                    Command::CancelTimer(timer) => drop(self.timers.remove(&timer)),
                    _ => {}
                }
            }
        }

        fn deliver(&mut self, src: Id, msg: Msg<Register>) {
            let (mut out, mut state) = (Out::new(), Cow::Borrowed(&self.state));
            self.actor.on_msg(client(), &mut state, src, msg, &mut out);
            self.state = state.into_owned();
            self.note(out);
        }

        fn invoke(&mut self, pseudonym: u32, command: RegisterCommand) {
            self.deliver(application(), Msg::Client(ClientMsg::Invoke { pseudonym, command }));
        }

        /// Lets all timers that are set run out.
        fn wait(&mut self) {
            for timer in std::mem::take(&mut self.timers) {
                let (mut out, mut state) = (Out::new(), Cow::Borrowed(&self.state));
                self.actor.on_timeout(client(), &mut state, &timer, &mut out);
                self.state = state.into_owned();
                self.note(out);
            }
        }

        /// Whom it has asked for a session since the last call.
        fn asked_for_a_session(&mut self) -> Vec<Id> {
            let asked = self.sent.iter().filter_map(|(dst, msg)| match msg {
                Msg::Client(ClientMsg::Request(request)) => {
                    matches!(request.op, Operation::Open { .. }).then_some(*dst)
                }
                _ => None,
            });
            let asked = asked.collect();
            self.sent.clear();
            asked
        }
    }

    #[test]
    fn a_read_on_any_lane_leaves_the_request_for_a_session_alone() {
        let leaders: Vec<Id> = LAYOUT.ids(Role::Leader).collect();
        let (acceptor, replica) = (LAYOUT.id(Role::Acceptor, 0), LAYOUT.id(Role::Replica, 0));
        for lane in 0..2 {
            let mut asking = Asking::new(2);
            assert_eq!(asking.asked_for_a_session(), leaders[..1], "which is dead");
            asking.invoke(lane, RegisterCommand::Read);
            let tag = Tag { series: lane.into(), number: 1 };
            asking.deliver(acceptor, Msg::PreReadAck { tag, voted_below: Slot::ZERO });
            let id = CommandId { client: usize::from(client()) as u64, session: 0, pseudonym: lane, seq: 1 };
            let answer = Answer::Output(RegisterOutput::Value(0));
            asking.deliver(replica, Msg::Reply(Reply { id, below: Slot::ZERO, answer }));
            asking.invoke(lane, RegisterCommand::Write(1));
            asking.sent.clear();
            asking.wait();
            assert_eq!(asking.asked_for_a_session(), leaders[1..], "lane {lane}");

            let open = CommandId { client: id.client, session: 0, pseudonym: 0, seq: 0 };
            let answer = Answer::Opened { session: 5 };
            asking.deliver(leaders[1], Msg::Client(ClientMsg::Reply { id: open, answer }));
            let write = |(_, msg): &(Id, Msg<Register>)| match msg {
                Msg::Client(ClientMsg::Request(request)) => Some(request.id),
                _ => None,
            };
            let session = CommandId { session: 5, pseudonym: lane, seq: 2, ..open };
            assert_eq!(asking.sent.iter().filter_map(write).collect::<Vec<_>>(), [session]);
            assert_eq!(asking.timers, BTreeSet::from([Timer::Retry(RetryTimer(lane))]), "its own timer");
        }
    }
}
