//! What is claimed of [`parthood_protocols::craq`], and the configurations in which it is checked.
//!
//! In the checker the state machine is an append log: its answers show every write that was lost, doubled, swapped or
//! seen too early.

use crate::defaults::{plenty, two};
use crate::history::History;
use crate::sequential::OneObject;
use crate::{Budget, Cause, ClientParams, Property, Protocol, Step, View, client_params};
use parthood_protocols::client::ClientMsg;
use parthood_protocols::command::CommandId;
use parthood_protocols::craq::{Chain, ChainState, Config, Msg, Mutant, Node, Reader, State, Timer};
use parthood_protocols::faults::{Faults, Mutated};
use parthood_protocols::sessions::{Answer, Standing};
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use serde::Deserialize;
use stateright::actor::{Command, Id};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// A configuration: what the bounds of a row are about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The number of nodes in the chain.
    #[serde(default = "two")]
    pub nodes: usize,
    /// The clients. Command number `n` of one, from 1, asks node `first + n` if it is a read, counted around the chain.
    pub clients: Vec<ClientParams>,
    /// How many writes may be pending.
    #[serde(default = "plenty")]
    pub pending_max: usize,
    /// Whether every client must have its answers when nothing more can happen. Not so where a client may give up.
    #[serde(default)]
    pub answers: bool,
}

/// A chain and its clients in one configuration.
#[derive(Clone, Debug)]
pub struct Craq<M: StateMachine = AppendLog, F: Faults<Mutant> = Mutated<Mutant>> {
    config: Arc<Config<F>>,
    /// The clients, as far as they are part of the configuration.
    clients: Vec<Reader<M::Command>>,
    answers: bool,
    properties: fn() -> Vec<Property<Self>>,
}

/// What happened so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ghost<M: StateMachine> {
    /// What clients asked and were told; of the answers only those to writes, for a read may be answered twice.
    clients: History<M::Command, M::Output>,
    /// Did a node, not restarting, ever lose what it had received or executed?
    went_back: bool,
}

impl Craq {
    /// The protocol in a configuration, with at most one rule broken.
    ///
    /// # Errors
    /// What makes no sense about the configuration, in words.
    pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Self, String> {
        let nodes = params.nodes;
        let clients = client_params::clients(&params.clients, nodes)?;
        let config = Config {
            nodes,
            known_clients: client_params::known(&params.clients, nodes),
            pending_max: params.pending_max,
            resend_max: plenty(),
            lanes_max: plenty(),
            resend_after: Duration::ZERO..Duration::ZERO,
            faults: Mutated(mutant),
        };
        let clients = clients.into_iter().map(|client| Reader { client });
        let (clients, properties) = (clients.collect(), || of_known_clients());
        Ok(Self { config: Arc::new(config), clients, answers: params.answers, properties })
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Craq<M, F> {
    /// The protocol as it is deployed: with any state machine, and clients that nobody knows beforehand.
    pub fn deployed(config: Arc<Config<F>>) -> Self {
        Self { config, clients: vec![], answers: false, properties: of_any_run }
    }

    fn is_node(&self, id: Id) -> bool {
        usize::from(id) < self.config.nodes
    }

    /// Clients that nobody knows beforehand are those of a deployment, where a save takes its time and a restart may undo
    /// what nobody has heard of.
    fn is_deployed(&self) -> bool {
        self.clients.is_empty()
    }
}

/// What is claimed whoever the clients: the properties of a deployed run.
fn of_any_run<M: StateMachine, F: Faults<Mutant>>() -> Vec<Property<Craq<M, F>>> {
    vec![
        Property::always("writes are received in the order of the chain", received_in_order),
        Property::always("what is executed is a prefix of what the successor executed", executed_in_order),
        Property::always("equal prefixes give equal states", equal_prefixes_give_equal_states),
        Property::always("exactly once", |view| view.ghost.clients.answers_agree()),
        Property::always("nothing received is lost", |view| !view.ghost.went_back),
    ]
}

/// What is claimed where all clients are known: the properties of a model.
fn of_known_clients<F: Faults<Mutant>>() -> Vec<Property<Craq<AppendLog, F>>> {
    let with_clients: [Property<Craq<AppendLog, F>>; 4] = [
        Property::always("linearizable", |view| view.ghost.clients.linearizable()),
        Property::at_the_end("every client is answered", |view| {
            !view.protocol.answers || all_are_answered(view)
        }),
        Property::sometimes("all clients are answered", all_are_answered),
        Property::sometimes("a write is pending at the head and executed at the tail", |view| {
            let head = nodes(view).next();
            let tail = nodes(view).last();
            matches!((head, tail), (Some(head), Some(tail)) if tail.committed > head.committed)
        }),
    ];
    of_any_run().into_iter().chain(with_clients).collect()
}

fn nodes<'a, M: StateMachine, F: Faults<Mutant>>(
    view: &View<'a, Craq<M, F>>,
) -> impl Iterator<Item = &'a ChainState<M>> + use<'a, M, F> {
    view.states.iter().filter_map(|state| match state {
        State::Chain(node) => Some(&**node),
        State::Client(_) => None,
    })
}

/// Each node and its successor.
fn links<'a, M: StateMachine, F: Faults<Mutant>>(
    view: &View<'a, Craq<M, F>>,
) -> impl Iterator<Item = (&'a ChainState<M>, &'a ChainState<M>)> + use<'a, M, F> {
    nodes(view).zip(nodes(view).skip(1))
}

/// S15, of what is received: a prefix of what the predecessor received, write by write where both still have it.
fn received_in_order<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Craq<M, F>>) -> bool {
    let gapless = |node: &ChainState<M>| {
        node.pending.keys().copied().eq(node.committed + 1..=node.received) && node.committed <= node.received
    };
    nodes(view).all(gapless)
        && links(view).all(|(node, successor)| {
            let mut pending = successor.pending.iter();
            successor.received <= node.received
                && pending.all(|(number, write)| node.pending.get(number).is_none_or(|other| other == write))
        })
}

/// S15, of what is executed; so the head's pending writes cover everything below.
fn executed_in_order<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Craq<M, F>>) -> bool {
    links(view).all(|(node, successor)| node.committed <= successor.committed)
}

fn equal_prefixes_give_equal_states<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Craq<M, F>>) -> bool {
    nodes(view).all(|a| {
        nodes(view)
            .filter(|b| b.committed == a.committed)
            .all(|b| a.machine == b.machine && a.sessions == b.sessions)
    })
}

fn all_are_answered<F: Faults<Mutant>>(view: &View<'_, Craq<AppendLog, F>>) -> bool {
    let clients = view.states.iter().filter_map(|state| match state {
        State::Client(client) => Some(client),
        State::Chain(_) => None,
    });
    clients
        .zip(&view.protocol.clients)
        .all(|(state, reader)| state.is_idle() && state.invoked() == reader.client.script.len())
}

impl<M: StateMachine, F: Faults<Mutant>> Protocol for Craq<M, F> {
    type Actor = Node<M, F>;
    type Ghost = Ghost<M>;

    fn actors(&self) -> Vec<Self::Actor> {
        let node = |index| Node::Chain(Chain { index, config: self.config.clone() });
        (0..self.config.nodes).map(node).chain(self.clients.iter().cloned().map(Node::Client)).collect()
    }

    fn ghost(&self) -> Ghost<M> {
        Ghost { clients: History::default(), went_back: false }
    }

    fn observe(&self, ghost: &mut Cow<'_, Ghost<M>>, step: &Step<'_, Self::Actor>) {
        match (step.before, step.after) {
            (Some(State::Chain(before)), State::Chain(after)) => {
                let restart = matches!(step.cause, Cause::Start(_));
                let lost = after.received < before.received || after.committed < before.committed;
                if lost && !(restart && self.is_deployed()) {
                    ghost.to_mut().went_back = true;
                }
                if restart && self.is_deployed() {
                    let forgotten = |id: &CommandId| matches!(after.sessions.standing(id), Standing::New);
                    ghost.to_mut().clients.unsent(forgotten);
                }
            }
            (Some(before @ State::Client(_)), after) if before != after && !self.is_deployed() => {
                if let Cause::Deliver { msg: Msg::Client(msg @ ClientMsg::Reply { .. }), .. } = &step.cause {
                    ghost.to_mut().clients.returned(&OneObject::<M>::default(), msg);
                }
            }
            _ => {}
        }
        for command in step.out {
            let Command::Send(_, Msg::Client(msg)) = command else { continue };
            match step.after {
                State::Client(_) if self.is_deployed() => {}
                State::Client(_) => ghost.to_mut().clients.sent_by_client(msg),
                State::Chain(node) => {
                    if let ClientMsg::Reply { id, answer: Answer::Output(_) } = msg
                        && (node.sessions.known_answer(id).is_some() || self.breaks(Mutant::HeadReplies))
                    {
                        ghost.to_mut().clients.sent_by_server(msg);
                    }
                }
            }
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        (self.properties)()
    }

    fn dead(&self, dst: Id, state: &State<M>, src: Id, msg: &Msg<M>) -> bool {
        match (state, msg) {
            (State::Client(state), Msg::Client(msg)) => {
                let number = usize::from(dst).checked_sub(self.config.nodes);
                let reader = number.and_then(|number| self.clients.get(number));
                matches!(msg, ClientMsg::Reply { .. })
                    && reader.is_some_and(|reader| reader.ignores(state, src, msg))
            }
            (State::Chain(node), Msg::Ack { committed }) => *committed <= node.committed,
            _ => false,
        }
    }

    fn may_restart(&self, id: Id) -> bool {
        self.is_node(id)
    }

    /// Timers of one kind share a budget, in this order: resend, retry.
    fn budget(&self, _: Id, timer: &Timer) -> Budget {
        match timer {
            Timer::Resend => Budget::Shared(0),
            Timer::Retry(_) => Budget::Shared(1),
        }
    }

    fn name(&self, id: Id) -> String {
        match usize::from(id).checked_sub(self.config.nodes) {
            None => format!("node {}", usize::from(id)),
            Some(client) => format!("client {client}"),
        }
    }

    fn role(&self, id: Id) -> &'static str {
        if self.is_node(id) { "node" } else { "client" }
    }

    fn describe_state(state: &State<M>) -> String {
        match state {
            State::Client(client) if client.is_idle() => format!("{} commands done", client.invoked()),
            State::Client(client) => format!("waits for command {}", client.invoked()),
            State::Chain(node) => {
                let pending: Vec<String> = node
                    .pending
                    .iter()
                    .map(|(number, write)| format!("\npending {number}: {write:?}"))
                    .collect();
                let ChainState { received, committed, machine, .. } = &**node;
                format!("received {received}, executed {committed}: {machine:?}{}", pending.concat())
            }
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Craq<M, F> {
    fn breaks(&self, rule: Mutant) -> bool {
        self.config.faults.breaks(rule)
    }
}
