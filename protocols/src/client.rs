//! The client role, shared by all protocols that replicate a state machine.
//!
//! A client opens a session, keeps at most one command outstanding per lane, and sends the same command again when no
//! answer comes, to the next contact in turn. Since the servers remember what they answered, sending again is always
//! safe. Its commands come from a script (models, simulations) or from the application of its process (deployments), by
//! [`ClientMsg::Invoke`]; both kinds go through the same code.

use crate::command::{Command, CommandId, Operation};
use crate::sessions::Answer;
use crate::state_machine::StateMachine;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::ops::Range;
use std::time::Duration;

/// What a client and its servers say to each other, and a client and its application.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ClientMsg<C, O> {
    /// Client to server: please execute this.
    Request(Command<C>),
    /// Server to client: this became of it.
    Reply {
        /// The command.
        id: CommandId,
        /// What became of it.
        answer: Answer<O>,
    },
    /// Server to client: ask that server instead.
    NotLeader {
        /// The command.
        id: CommandId,
        /// The index of the server that probably leads.
        leader: u64,
    },
    /// Server to client: a limit is reached, try again later.
    Busy {
        /// The command.
        id: CommandId,
    },
    /// Application to client: please get this executed.
    Invoke {
        /// The lane to use; it must be free.
        pseudonym: u32,
        /// The command.
        command: C,
    },
    /// Client to application: this became of the lane's command.
    Returned {
        /// The lane, free again unless it was refused as taken.
        pseudonym: u32,
        /// What became of it.
        result: Returned<O>,
    },
}

impl<C, O> ClientMsg<C, O> {
    /// The output of a command, if this brings one.
    pub fn output(&self) -> Option<(CommandId, &O)> {
        match self {
            Self::Reply { id, answer: Answer::Output(output) } => Some((*id, output)),
            _ => None,
        }
    }
}

/// What an application learns of its command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Returned<O> {
    /// It was executed with this output, or would be: what no state executes was not sent.
    Output(O),
    /// The servers have forgotten the session; whether the command was executed is unknown.
    SessionLost,
    /// The servers have no room for a session of so many lanes; the command was not sent.
    TooManyLanes,
    /// The lane does not exist or has a command outstanding; this one was not sent.
    LaneTaken,
}

/// The timer after which a lane's command is sent again; the number of lanes names the timer of the request for a session.
/// (Whoever uses lanes for something of its own, such as reads, sets and stops the timers of these lanes only.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RetryTimer(pub u32);

/// A client, as configured.
#[derive(Clone, Debug)]
pub struct Client<C> {
    /// The servers it may ask, in the order in which it tries them.
    pub contacts: Vec<Id>,
    /// Which of the contacts it asks first.
    pub first_contact: usize,
    /// What it asks on lane 0, one after the other.
    pub script: Vec<C>,
    /// The number of lanes.
    pub lanes: u32,
    /// Whether the servers know its session 0 from the start; otherwise it opens one.
    pub known: bool,
    /// Where results go; none for a client with a script.
    pub application: Option<Id>,
    /// How often it may send again in all.
    pub retries_max: u32,
    /// How long it waits for an answer.
    pub retry_after: Range<Duration>,
}

/// A client's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientState<C> {
    /// Which of the contacts is asked next.
    contact: usize,
    /// Whether a server has sent it on since it last heard of a command or gave up waiting; it follows once.
    redirected: bool,
    session: Session,
    lanes: Vec<Lane<C>>,
    /// How many commands of the script were invoked.
    scripted: usize,
    retries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Session {
    Opening,
    Open(u64),
    Lost,
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Lane<C> {
    seq: u64,
    outstanding: Option<C>,
    /// The contact that was asked last.
    asked: usize,
}

impl<C> ClientState<C> {
    /// Has the client nothing outstanding?
    pub fn is_idle(&self) -> bool {
        self.session != Session::Opening && self.lanes.iter().all(|lane| lane.outstanding.is_none())
    }

    /// The number of commands of its script that it has invoked.
    pub fn invoked(&self) -> usize {
        self.scripted
    }

    /// The command that a lane waits for, and its sequence number.
    pub fn outstanding(&self, pseudonym: u32) -> Option<(u64, &C)> {
        let lane = self.lanes.get(pseudonym as usize)?;
        Some((lane.seq, lane.outstanding.as_ref()?))
    }
}

impl<C> ClientState<C> {
    /// Does this lane exist, with nothing outstanding?
    pub(crate) fn is_free(&self, pseudonym: u32) -> bool {
        self.lanes.get(pseudonym as usize).is_some_and(|lane| lane.outstanding.is_none())
    }

    /// Names something that does not go through the log; the name is used up like that of a command.
    pub(crate) fn name_read(&mut self, client: Id, pseudonym: u32) -> CommandId {
        let seq = self.lanes.get_mut(pseudonym as usize).map_or(0, |lane| {
            lane.seq += 1;
            lane.seq
        });
        CommandId { client: usize::from(client) as u64, session: 0, pseudonym, seq }
    }
}

impl<C> Client<C> {
    /// One that asks these servers, the first one first, for one command after the other.
    pub fn with_script(servers: Range<usize>, script: Vec<C>) -> Self {
        Self {
            contacts: servers.map(Id::from).collect(),
            first_contact: 0,
            script,
            lanes: 1,
            known: false,
            application: None,
            retries_max: u32::MAX,
            retry_after: Duration::from_millis(100)..Duration::from_millis(200),
        }
    }

    /// One that asks these servers what the application of its process wants, so many commands at a time.
    pub fn of_application(servers: Range<usize>, application: Id, lanes: u32) -> Self {
        Self { application: Some(application), lanes, ..Self::with_script(servers, Vec::new()) }
    }
}

impl<C: Clone> Client<C> {
    /// The first state: asks for a session unless the servers know it.
    pub fn start<O, A>(&self, id: Id, out: &mut Out<A>) -> ClientState<C>
    where
        A: Actor<Msg: From<ClientMsg<C, O>>, Timer: From<RetryTimer>>,
    {
        let lane = Lane { seq: 0, outstanding: None, asked: self.first_contact };
        let mut state = ClientState {
            contact: self.first_contact,
            redirected: false,
            session: if self.known { Session::Open(0) } else { Session::Opening },
            lanes: vec![lane; self.lanes as usize],
            scripted: 0,
            retries: 0,
        };
        if self.known {
            self.continue_script(id, &mut state, out);
        } else {
            self.ask_for_session(id, &mut state, out);
        }
        state
    }

    /// Is the message of no use in this state, now and for ever?
    pub fn ignores<O>(&self, state: &ClientState<C>, src: Id, msg: &ClientMsg<C, O>) -> bool {
        match msg {
            ClientMsg::Reply { id, .. } => !state.awaits(id),
            ClientMsg::NotLeader { id, .. } => !state.awaits(id) || state.redirected,
            ClientMsg::Invoke { .. } => self.application != Some(src),
            ClientMsg::Request(_) | ClientMsg::Busy { .. } | ClientMsg::Returned { .. } => true,
        }
    }

    /// Handles a message that is not ignored.
    pub fn on_msg<M, A>(
        &self,
        id: Id,
        state: &mut ClientState<C>,
        msg: ClientMsg<C, M::Output>,
        out: &mut Out<A>,
    ) where
        M: StateMachine<Command = C>,
        A: Actor<Msg: From<ClientMsg<C, M::Output>>, Timer: From<RetryTimer>>,
    {
        match msg {
            ClientMsg::Reply { id: command, answer } => self.on_reply(id, state, command, answer, out),
            ClientMsg::NotLeader { id: command, leader } => {
                self.on_not_leader(id, state, command, leader, out);
            }
            ClientMsg::Invoke { pseudonym, command } => {
                self.on_invoke::<M, A>(id, state, pseudonym, command, out);
            }
            ClientMsg::Request(_) | ClientMsg::Busy { .. } | ClientMsg::Returned { .. } => {}
        }
    }

    /// Sends a command again, to the next contact if nobody else has turned to that one yet.
    pub fn on_timeout<O, A>(&self, id: Id, state: &mut ClientState<C>, timer: RetryTimer, out: &mut Out<A>)
    where
        A: Actor<Msg: From<ClientMsg<C, O>>, Timer: From<RetryTimer>>,
    {
        let opening = state.session == Session::Opening;
        let pseudonym = if opening { 0 } else { timer.0 };
        let Some(lane) = state.lanes.get(pseudonym as usize) else { return };
        let waits = if opening { timer == self.session_timer() } else { lane.outstanding.is_some() };
        if !waits || state.retries >= self.retries_max {
            return;
        }
        if self.retries_max < u32::MAX {
            state.retries += 1;
        }
        state.redirected = false;
        if lane.asked == state.contact {
            state.contact = (state.contact + 1) % self.contacts.len();
        }
        if opening {
            self.ask_for_session(id, state, out);
        } else {
            self.ask(id, state, pseudonym, out);
        }
    }

    fn session_timer(&self) -> RetryTimer {
        RetryTimer(self.lanes)
    }

    fn on_reply<O: Clone, A>(
        &self,
        id: Id,
        state: &mut ClientState<C>,
        command: CommandId,
        answer: Answer<O>,
        out: &mut Out<A>,
    ) where
        A: Actor<Msg: From<ClientMsg<C, O>>, Timer: From<RetryTimer>>,
    {
        state.redirected = false;
        let opening = state.session == Session::Opening;
        let timer = if opening { self.session_timer() } else { RetryTimer(command.pseudonym) };
        out.cancel_timer(timer.into());
        match answer {
            Answer::Opened { session } => {
                state.session = Session::Open(session);
                for pseudonym in 0..self.lanes {
                    if state.lanes[pseudonym as usize].outstanding.is_some() {
                        self.ask(id, state, pseudonym, out);
                    }
                }
                self.continue_script(id, state, out);
            }
            Answer::Output(output) => {
                self.finish(state, command.pseudonym, Returned::Output(output), out);
                self.continue_script(id, state, out);
            }
            Answer::Expired => {
                state.session = Session::Lost;
                self.fail_all(state, &Returned::SessionLost, out);
            }
            Answer::TooManyLanes => {
                state.session = Session::Refused;
                self.fail_all(state, &Returned::TooManyLanes, out);
            }
        }
    }

    fn on_not_leader<O, A>(
        &self,
        id: Id,
        state: &mut ClientState<C>,
        command: CommandId,
        leader: u64,
        out: &mut Out<A>,
    ) where
        A: Actor<Msg: From<ClientMsg<C, O>>, Timer: From<RetryTimer>>,
    {
        let leader = self.contacts.iter().position(|contact| usize::from(*contact) as u64 == leader);
        if let Some(leader) = leader.filter(|leader| *leader != state.lanes[command.pseudonym as usize].asked)
        {
            state.contact = leader;
            state.redirected = true;
            if state.session == Session::Opening {
                self.ask_for_session(id, state, out);
            } else {
                self.ask(id, state, command.pseudonym, out);
            }
        }
    }

    fn on_invoke<M, A>(
        &self,
        id: Id,
        state: &mut ClientState<C>,
        pseudonym: u32,
        command: C,
        out: &mut Out<A>,
    ) where
        M: StateMachine<Command = C>,
        A: Actor<Msg: From<ClientMsg<C, M::Output>>, Timer: From<RetryTimer>>,
    {
        let lane = state.lanes.get_mut(pseudonym as usize).filter(|lane| lane.outstanding.is_none());
        let refused = match (lane, M::refusal(&command), state.session) {
            (None, ..) => Returned::LaneTaken,
            (_, Some(output), _) => Returned::Output(output),
            (_, _, Session::Lost) => Returned::SessionLost,
            (_, _, Session::Refused) => Returned::TooManyLanes,
            (Some(lane), None, session) => {
                lane.seq += 1;
                lane.outstanding = Some(command);
                if session != Session::Opening {
                    self.ask(id, state, pseudonym, out);
                }
                return;
            }
        };
        self.tell(pseudonym, refused, out);
    }

    fn continue_script<O, A>(&self, id: Id, state: &mut ClientState<C>, out: &mut Out<A>)
    where
        A: Actor<Msg: From<ClientMsg<C, O>>, Timer: From<RetryTimer>>,
    {
        if let (Some(command), None) = (self.script.get(state.scripted), &state.lanes[0].outstanding) {
            state.scripted += 1;
            state.lanes[0].seq += 1;
            state.lanes[0].outstanding = Some(command.clone());
            self.ask(id, state, 0, out);
        }
    }

    fn finish<O, A>(&self, state: &mut ClientState<C>, pseudonym: u32, result: Returned<O>, out: &mut Out<A>)
    where
        A: Actor<Msg: From<ClientMsg<C, O>>>,
    {
        state.lanes[pseudonym as usize].outstanding = None;
        self.tell(pseudonym, result, out);
    }

    fn fail_all<O: Clone, A>(&self, state: &mut ClientState<C>, result: &Returned<O>, out: &mut Out<A>)
    where
        A: Actor<Msg: From<ClientMsg<C, O>>>,
    {
        for pseudonym in 0..self.lanes {
            if state.lanes[pseudonym as usize].outstanding.is_some() {
                self.finish(state, pseudonym, result.clone(), out);
            }
        }
    }

    fn tell<O, A>(&self, pseudonym: u32, result: Returned<O>, out: &mut Out<A>)
    where
        A: Actor<Msg: From<ClientMsg<C, O>>>,
    {
        if let Some(application) = self.application {
            out.send(application, ClientMsg::Returned { pseudonym, result }.into());
        }
    }

    /// Asks the present contact for a session.
    fn ask_for_session<O, A>(&self, id: Id, state: &mut ClientState<C>, out: &mut Out<A>)
    where
        A: Actor<Msg: From<ClientMsg<C, O>>, Timer: From<RetryTimer>>,
    {
        let client = usize::from(id) as u64;
        let id = CommandId { client, session: 0, pseudonym: 0, seq: 0 };
        self.send(
            state,
            Command { id, op: Operation::Open { lanes: self.lanes } },
            self.session_timer(),
            out,
        );
    }

    /// Sends a lane's command to the present contact, if it has one and a session to send it in.
    fn ask<O, A>(&self, id: Id, state: &mut ClientState<C>, pseudonym: u32, out: &mut Out<A>)
    where
        A: Actor<Msg: From<ClientMsg<C, O>>, Timer: From<RetryTimer>>,
    {
        let Session::Open(session) = state.session else { return };
        let Lane { seq, outstanding: Some(command), .. } = &state.lanes[pseudonym as usize] else { return };
        let id = CommandId { client: usize::from(id) as u64, session, pseudonym, seq: *seq };
        let command = Command { id, op: Operation::Apply(command.clone()) };
        self.send(state, command, RetryTimer(pseudonym), out);
    }

    /// Sends a request to the present contact, and sets the timer after which it is sent again.
    fn send<O, A>(&self, state: &mut ClientState<C>, command: Command<C>, timer: RetryTimer, out: &mut Out<A>)
    where
        A: Actor<Msg: From<ClientMsg<C, O>>, Timer: From<RetryTimer>>,
    {
        state.lanes[command.id.pseudonym as usize].asked = state.contact;
        out.send(self.contacts[state.contact], ClientMsg::Request(command).into());
        if state.retries < self.retries_max {
            out.set_timer(timer.into(), self.retry_after.clone());
        }
    }
}

impl<C> ClientState<C> {
    /// Does the client wait for an answer to this command?
    pub(crate) fn awaits(&self, id: &CommandId) -> bool {
        let Some(lane) = self.lanes.get(id.pseudonym as usize) else { return false };
        match self.session {
            Session::Opening => id.seq == 0,
            Session::Open(session) => {
                session == id.session && lane.seq == id.seq && lane.outstanding.is_some()
            }
            Session::Lost | Session::Refused => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Correct;
    use crate::state_machine::{Bytes, KeyValue, KeyValueCommand, KeyValueOutput, MAX_KEY_BYTES};
    use crate::unreplicated::{Msg, Node, Server};
    use stateright::actor;
    use std::borrow::Cow;

    const SERVER: usize = 0;
    const CLIENT: usize = 1;
    const APPLICATION: usize = 2;

    /// What an actor that has just started sends when it gets a message.
    fn answer(actor: &Node<KeyValue>, id: usize, src: usize, msg: Msg<KeyValue>) -> Vec<(Id, Msg<KeyValue>)> {
        let id = Id::from(id);
        let state = actor.on_start(id, &None, &mut Out::new());
        let mut out = Out::new();
        actor.on_msg(id, &mut Cow::Borrowed(&state), Id::from(src), msg, &mut out);
        let sent = out.into_iter().filter_map(|effect| match effect {
            actor::Command::Send(dst, msg) => Some((dst, msg)),
            _ => None,
        });
        sent.collect()
    }

    #[test]
    fn a_command_that_the_machine_refuses_is_answered_by_the_client_and_ignored_by_the_server() {
        let client = Client::of_application(SERVER..CLIENT, Id::from(APPLICATION), 1);
        let client = Node::Client(Client { known: true, ..client });
        let server =
            Node::Server(Server { known_clients: vec![CLIENT as u64], lanes_max: 8, faults: Correct });
        for (bytes, fits) in [(MAX_KEY_BYTES, true), (MAX_KEY_BYTES + 1, false)] {
            let command = KeyValueCommand::Get(Bytes::from(&vec![7; bytes]));
            let invoke = ClientMsg::Invoke { pseudonym: 0, command: command.clone() };
            let id = CommandId { client: CLIENT as u64, session: 0, pseudonym: 0, seq: 1 };
            let request = ClientMsg::Request(Command { id, op: Operation::Apply(command) });
            let asked = answer(&client, CLIENT, APPLICATION, invoke);
            let answered = answer(&server, SERVER, CLIENT, request.clone());
            if fits {
                assert_eq!(asked, [(Id::from(SERVER), request)]);
                let output = Answer::Output(KeyValueOutput::Value(None));
                assert_eq!(answered, [(Id::from(CLIENT), ClientMsg::Reply { id, answer: output })]);
            } else {
                let result = Returned::Output(KeyValueOutput::TooLarge);
                assert_eq!(asked, [(Id::from(APPLICATION), ClientMsg::Returned { pseudonym: 0, result })]);
                assert_eq!(answered, []);
            }
        }
    }
}
