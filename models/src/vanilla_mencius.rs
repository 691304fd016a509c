//! What is claimed of [`parthood_protocols::vanilla_mencius`], and the configurations in which it is checked.
//!
//! A value is chosen when a majority voted for it in one round, and a noop also when the owner of the slot has skipped it.
//! The ghost keeps the votes ever cast and the slots ever skipped, so that both are facts and not what somebody believes.
//!
//! Trusted: this file and its part.

mod properties;

use crate::client_params::{self, ClientParams};
use crate::defaults::{one, three};
use crate::history::History;
use crate::sequential::OneObject;
use crate::votes::Votes;
use crate::{Budget, Cause, Property, Protocol, Step, quorum_params};
use parthood_protocols::client::{Client, ClientMsg};
use parthood_protocols::command::Value;
use parthood_protocols::faults::Mutated;
use parthood_protocols::ids::{Round, Slot};
use parthood_protocols::state_machine::{AppendLog, AppendLogCommand, AppendLogOutput};
use parthood_protocols::vanilla_mencius::{
    Config, Msg, Mutant, Node, Server, ServerState, State, Stretch, Timer,
};
use serde::Deserialize;
use stateright::actor::{Command, Id};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A configuration: what the bounds of a row are about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The number of servers.
    #[serde(default = "three")]
    pub servers: usize,
    /// The clients.
    pub clients: Vec<ClientParams>,
    /// No server goes beyond this round; round `r` above zero belongs to server `r mod servers`.
    #[serde(default)]
    pub round_max: u64,
    /// How many slots of a server are revoked at once.
    #[serde(default = "one")]
    pub revoke_slots: usize,
    /// Whether every client must have its answers when nothing more can happen.
    #[serde(default)]
    pub answers: bool,
}

/// Mencius with servers of their own slots, in one configuration.
#[derive(Clone, Debug)]
pub struct VanillaMencius {
    config: Arc<Config<Mutated<Mutant>>>,
    clients: Vec<Client<AppendLogCommand>>,
    answers: bool,
}

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// Who ever voted for what.
    votes: Votes<AppendLogCommand>,
    /// The slots that their owners ever skipped.
    skipped: BTreeSet<Slot>,
    /// What clients asked and were told.
    clients: History<AppendLogCommand, AppendLogOutput>,
}

impl VanillaMencius {
    /// The protocol in a configuration, with at most one rule broken.
    ///
    /// # Errors
    /// What makes no sense about the configuration, in words.
    pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Self, String> {
        let servers = params.servers;
        let clients = client_params::clients(&params.clients, servers)?;
        if servers > quorum_params::NODES_MAX {
            return Err(format!("at most {} servers are modelled", quorum_params::NODES_MAX));
        }
        // Only the simulator has a clock that these matter to.
        let soon = Duration::from_millis(50);
        let config = Config {
            servers,
            known_clients: client_params::known(&params.clients, servers),
            lanes_max: 64,
            revoke_slots: params.revoke_slots.max(1),
            round_max: Round(params.round_max),
            resend: soon,
            flush: soon,
            revoke: soon,
            faults: Mutated(mutant),
        };
        Ok(Self { config: Arc::new(config), clients, answers: params.answers })
    }

    fn client(&self, id: u64) -> Option<&Client<AppendLogCommand>> {
        self.clients.get(usize::try_from(id).ok()?.checked_sub(self.config.servers)?)
    }

    fn is_server(&self, id: Id) -> bool {
        usize::from(id) < self.config.servers
    }

    /// Notes votes, and the slots that a server decides not to propose in.
    fn observe_server(
        &self,
        ghost: &mut Cow<'_, Ghost>,
        server: usize,
        before: Option<&ServerState<AppendLog>>,
        after: &ServerState<AppendLog>,
    ) {
        let nothing = im::OrdMap::new();
        let votes_before = before.map_or(&nothing, |before| &before.votes);
        let changes = ghost.votes.changes(server, votes_before, &after.votes, None);
        if !changes.is_empty() {
            ghost.to_mut().votes.apply(server, changes);
        }
        self.observe_skipped(ghost, after.skipped);
    }

    /// Notes what a server says, or is about to say, that it skipped.
    fn observe_skipped(&self, ghost: &mut Cow<'_, Ghost>, skipped: Option<Stretch>) {
        for slot in skipped.into_iter().flat_map(|skipped| skipped.iter(&self.config)) {
            if !ghost.skipped.contains(&slot) {
                ghost.to_mut().skipped.insert(slot);
            }
        }
    }
}

impl Protocol for VanillaMencius {
    type Actor = Node<AppendLog, Mutated<Mutant>>;
    type Ghost = Ghost;

    fn actors(&self) -> Vec<Self::Actor> {
        let server = |index| Node::Server(Server { index, config: self.config.clone() });
        (0..self.config.servers).map(server).chain(self.clients.iter().cloned().map(Node::Client)).collect()
    }

    fn ghost(&self) -> Ghost {
        Ghost::default()
    }

    fn observe(&self, ghost: &mut Cow<'_, Ghost>, step: &Step<'_, Self::Actor>) {
        match (step.before, step.after) {
            (before, State::Server(after)) => {
                let before = before.and_then(|before| match before {
                    State::Server(before) => Some(&**before),
                    State::Client(_) => None,
                });
                self.observe_server(ghost, usize::from(step.id), before, after);
            }
            (Some(State::Client(before)), State::Client(after)) => {
                if let Cause::Deliver { msg: Msg::Client(msg @ ClientMsg::Reply { .. }), .. } = &step.cause
                    && before != after
                {
                    ghost.to_mut().clients.returned(&OneObject::<AppendLog>::default(), msg);
                }
            }
            _ => {}
        }
        for command in step.out {
            match (command, step.after) {
                // What a server votes for and settles in one step never shows in its state.
                (Command::Send(_, Msg::Phase2a { round, slot, value, skipped }), State::Server(_)) => {
                    self.observe_skipped(ghost, *skipped);
                    ghost.to_mut().votes.record(usize::from(step.id), (*slot, *round, value.clone()));
                }
                (Command::Send(_, Msg::Client(msg)), State::Client(_)) => {
                    ghost.to_mut().clients.sent_by_client(msg);
                }
                (Command::Send(_, Msg::Client(msg)), State::Server(_)) => {
                    ghost.to_mut().clients.sent_by_server(msg);
                }
                _ => {}
            }
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }

    fn dead(&self, dst: Id, state: &State<AppendLog>, src: Id, msg: &Msg<AppendLog>) -> bool {
        match (state, msg) {
            (State::Client(client), Msg::Client(msg)) => {
                self.client(usize::from(dst) as u64).is_some_and(|config| {
                    matches!(msg, ClientMsg::Reply { .. }) && config.ignores(client, src, msg)
                })
            }
            (State::Server(server), Msg::Chosen { slot, .. }) => server.knows(*slot),
            _ => false,
        }
    }

    fn may_restart(&self, id: Id) -> bool {
        self.is_server(id)
    }

    /// Timers of one kind share a budget, in this order: resend, flush, revoke, retry.
    fn budget(&self, _: Id, timer: &Timer) -> Budget {
        match timer {
            Timer::Resend => Budget::Shared(0),
            Timer::Flush => Budget::Shared(1),
            Timer::Revoke => Budget::Shared(2),
            Timer::Retry(_) => Budget::Shared(3),
        }
    }

    fn name(&self, id: Id) -> String {
        match usize::from(id).checked_sub(self.config.servers) {
            None => format!("server {}", usize::from(id)),
            Some(client) => format!("client {client}"),
        }
    }

    fn role(&self, id: Id) -> &'static str {
        if self.is_server(id) { "server" } else { "client" }
    }

    fn describe_state(state: &State<AppendLog>) -> String {
        properties::describe(state)
    }
}

impl Ghost {
    /// Is this what is chosen in a slot, or one of several values?
    fn is_chosen(
        &self,
        config: &Config<Mutated<Mutant>>,
        slot: Slot,
        value: &Value<AppendLogCommand>,
    ) -> bool {
        *value == Value::Noop && self.skipped.contains(&slot)
            || self.votes.is_chosen(slot, value, |_, _, voters| config.is_majority(voters))
    }
}
