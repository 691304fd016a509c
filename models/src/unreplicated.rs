//! What is claimed of [`parthood_protocols::unreplicated`], and the configurations in which it is checked.
//!
//! One server, so nothing can disagree; what remains is that a command takes effect once, however often it is sent, and
//! that a restart forgets nothing that was answered. In the checker the state machine is an append log, whose answers show
//! both.

use crate::history::History;
use crate::sequential::OneObject;
use crate::{Budget, Cause, ClientParams, Property, Protocol, Step, View, client_params};
use parthood_protocols::client::{Client, ClientMsg, RetryTimer};
use parthood_protocols::command::CommandId;
use parthood_protocols::faults::{Faults, Mutated};
use parthood_protocols::sessions::Standing;
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use parthood_protocols::unreplicated::{Msg, Mutant, Node, Server, State};
use serde::Deserialize;
use stateright::actor::{Command, Id};
use std::borrow::Cow;

/// A configuration: what the bounds of a row are about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The clients.
    pub clients: Vec<ClientParams>,
    /// Whether every client must have its answers when nothing more can happen. Not so where a client may give up.
    #[serde(default)]
    pub answers: bool,
}

/// The unreplicated server and its clients in one configuration.
#[derive(Clone, Debug)]
pub struct Unreplicated<M: StateMachine = AppendLog, F: Faults<Mutant> = Mutated<Mutant>> {
    server: Server<F>,
    /// The clients, as far as they are part of the configuration.
    clients: Vec<Client<M::Command>>,
    answers: bool,
    properties: fn() -> Vec<Property<Self>>,
}

/// What clients asked and were told.
pub type Ghost<M> = History<<M as StateMachine>::Command, <M as StateMachine>::Output>;

impl<M: StateMachine, F: Faults<Mutant>> Unreplicated<M, F> {
    /// The server as it is deployed: with any state machine, and clients that nobody knows beforehand.
    pub fn deployed(server: Server<F>) -> Self {
        let properties =
            || vec![Property::always("exactly once", |view: &View<'_, Self>| view.ghost.answers_agree())];
        Self { server, clients: vec![], answers: false, properties }
    }
}

impl Unreplicated {
    /// The protocol in a configuration, with at most one rule broken.
    ///
    /// # Errors
    /// What makes no sense about the configuration, in words.
    pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Self, String> {
        let clients = client_params::clients(&params.clients, 1)?;
        let known_clients = client_params::known(&params.clients, 1);
        let server = Server { known_clients, lanes_max: 64, faults: Mutated(mutant) };
        let properties = || ALL.to_vec();
        Ok(Self { server, clients, answers: params.answers, properties })
    }
}

const ALL: &[Property<Unreplicated>] = &[
    Property::always("linearizable", |view| view.ghost.linearizable()),
    Property::always("exactly once", |view| view.ghost.answers_agree()),
    Property::at_the_end("every client is answered", |view| !view.protocol.answers || all_are_answered(view)),
    Property::sometimes("all clients are answered", all_are_answered),
];

fn all_are_answered(view: &View<'_, Unreplicated>) -> bool {
    let clients = view.states.iter().filter_map(|state| match state {
        State::Client(client) => Some(client),
        State::Server(_) => None,
    });
    clients
        .zip(&view.protocol.clients)
        .all(|(state, client)| state.is_idle() && state.invoked() == client.script.len())
}

impl<M: StateMachine, F: Faults<Mutant>> Protocol for Unreplicated<M, F> {
    type Actor = Node<M, F>;
    type Ghost = Ghost<M>;

    fn actors(&self) -> Vec<Self::Actor> {
        let clients = self.clients.iter().cloned().map(Node::Client);
        std::iter::once(Node::Server(self.server.clone())).chain(clients).collect()
    }

    fn ghost(&self) -> Ghost<M> {
        History::default()
    }

    fn observe(&self, ghost: &mut Cow<'_, Ghost<M>>, step: &Step<'_, Self::Actor>) {
        let client_changed =
            matches!((step.before, step.after), (Some(before @ State::Client(_)), after) if before != after);
        if let Cause::Deliver { msg: msg @ ClientMsg::Reply { .. }, .. } = &step.cause
            && client_changed
            && !self.clients.is_empty()
        {
            ghost.to_mut().returned(&OneObject::<M>::default(), msg);
        }
        // Clients that nobody knows beforehand are those of a deployment, where a save takes its time.
        if let (Cause::Start(_), Some(_), State::Server(server), true) =
            (&step.cause, step.before, step.after, self.clients.is_empty())
        {
            let forgotten = |id: &CommandId| matches!(server.sessions.standing(id), Standing::New);
            ghost.to_mut().unsent(forgotten);
        }
        for command in step.out {
            let Command::Send(_, msg) = command else { continue };
            match step.after {
                State::Client(_) if self.clients.is_empty() => {}
                State::Client(_) => ghost.to_mut().sent_by_client(msg),
                State::Server(_) => ghost.to_mut().sent_by_server(msg),
            }
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        (self.properties)()
    }

    fn dead(&self, dst: Id, state: &State<M>, _: Id, msg: &Msg<M>) -> bool {
        let (State::Client(state), Some(number)) = (state, usize::from(dst).checked_sub(1)) else {
            return false;
        };
        let client = self.clients.get(number);
        matches!(msg, ClientMsg::Reply { .. }) && client.is_some_and(|client| client.ignores(state, dst, msg))
    }

    /// A client that restarts is another client.
    fn may_restart(&self, id: Id) -> bool {
        usize::from(id) == 0
    }

    fn budget(&self, _: Id, _: &RetryTimer) -> Budget {
        Budget::Shared(0)
    }

    fn name(&self, id: Id) -> String {
        match usize::from(id).checked_sub(1) {
            None => "server".to_owned(),
            Some(client) => format!("client {client}"),
        }
    }

    fn role(&self, id: Id) -> &'static str {
        if usize::from(id) == 0 { "server" } else { "client" }
    }

    fn describe_state(state: &State<M>) -> String {
        match state {
            State::Server(server) => format!("executed {}: {:?}", server.executed.0, server.machine),
            State::Client(client) if client.is_idle() => format!("{} commands done", client.invoked()),
            State::Client(client) => format!("waits for command {}", client.invoked()),
        }
    }
}
