//! The client: writes go to the head, successive reads to successive nodes.

use super::{Msg, Mutant, Node};
use crate::client::{Client, ClientMsg, ClientState, RetryTimer};
use crate::command::Operation;
use crate::faults::Faults;
use crate::state_machine::StateMachine;
use stateright::actor::{Command, Id, Out};

/// A client, as configured.
#[derive(Clone, Debug)]
pub struct Reader<C> {
    /// The role shared with other protocols. Its contacts are the nodes of the chain, the head first; the contact that it
    /// would ask is where its reads begin.
    pub client: Client<C>,
}

/// A client's state.
pub type ReaderState<C> = ClientState<C>;

impl<C: Clone> Reader<C> {
    pub(super) fn start<M, F>(&self, id: Id, out: &mut Out<Node<M, F>>) -> ReaderState<C>
    where
        M: StateMachine<Command = C>,
        F: Faults<Mutant>,
    {
        let mut asked = Out::new();
        let state = self.client.start(id, &mut asked);
        self.route(asked, out);
        state
    }

    /// Is the message of no use in this state, now and for ever?
    pub fn ignores<O>(&self, state: &ReaderState<C>, src: Id, msg: &ClientMsg<C, O>) -> bool {
        self.client.ignores(state, src, msg)
    }

    pub(super) fn on_msg<M, F>(
        &self,
        id: Id,
        state: &mut ReaderState<C>,
        msg: ClientMsg<C, M::Output>,
        out: &mut Out<Node<M, F>>,
    ) where
        M: StateMachine<Command = C>,
        F: Faults<Mutant>,
    {
        let mut asked = Out::new();
        self.client.on_msg::<M, _>(id, state, msg, &mut asked);
        self.route(asked, out);
    }

    pub(super) fn on_timeout<M, F>(
        &self,
        id: Id,
        state: &mut ReaderState<C>,
        timer: RetryTimer,
        out: &mut Out<Node<M, F>>,
    ) where
        M: StateMachine<Command = C>,
        F: Faults<Mutant>,
    {
        let mut asked = Out::new();
        self.client.on_timeout(id, state, timer, &mut asked);
        self.route(asked, out);
    }

    /// Sends each request where it belongs.
    fn route<M, F>(&self, asked: Out<Node<M, F>>, out: &mut Out<Node<M, F>>)
    where
        M: StateMachine<Command = C>,
        F: Faults<Mutant>,
    {
        let contacts = &self.client.contacts;
        for command in asked {
            match command {
                Command::Send(contact, Msg::Client(ClientMsg::Request(request))) => {
                    let to = match &request.op {
                        Operation::Apply(read) if M::is_read(read) => {
                            let first = contacts.iter().position(|id| *id == contact).unwrap_or_default();
                            let turn = usize::try_from(request.id.seq).unwrap_or_default();
                            contacts[(first + turn % contacts.len()) % contacts.len()]
                        }
                        _ => contacts[0],
                    };
                    out.send(to, ClientMsg::Request(request).into());
                }
                Command::Send(to, msg) => out.send(to, msg),
                Command::SetTimer(timer, duration) => out.set_timer(timer, duration),
                Command::CancelTimer(timer) => out.cancel_timer(timer),
                Command::ChooseRandom(key, choices) => out.choose_random(key, choices),
                Command::Save(storage) => out.save(storage),
            }
        }
    }
}
