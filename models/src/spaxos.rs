//! What is claimed of [`parthood_protocols::spaxos`], and the configurations in which it is checked.
//!
//! Everything that is claimed of a log in parts is claimed here too, of ids where it is about order and of batches where
//! it is about what replicas execute; [`crate::compartmentalized`] says it once. What is added: an id stands for one batch,
//! and what was ordered is stored.
//!
//! Trusted: this file and its two parts. Whoever doubts a verdict should read them first.

mod ghost;
mod properties;

pub use ghost::Ghost;

use crate::compartmentalized::{self, Contacted, InParts, RecordOf, Scope};
use crate::defaults::one;
use crate::{Budget, Property, Protocol, QuorumParams, Step, View};
use parthood_protocols::command::ValueOf;
use parthood_protocols::compartmentalized as parts;
use parthood_protocols::faults::{Faults, Mutated};
use parthood_protocols::ids::Slot;
use parthood_protocols::spaxos::{
    Config, Ids, InParts as RulesInParts, Layout, Msg, Mutant, Node, Role, State, Timer,
};
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use serde::Deserialize;
use stateright::actor::Id;
use std::borrow::Cow;
use std::sync::Arc;

/// A configuration: what the bounds of a row are about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The number of disseminators.
    #[serde(default = "one")]
    pub disseminators: usize,
    /// The number of stabilizers; they are called `s0`, `s1` and so on in quorum expressions.
    #[serde(default = "one")]
    pub stabilizers: usize,
    /// The quorum systems of the stabilizers' groups; one of majorities if there are none.
    #[serde(default)]
    pub stores: Vec<QuorumParams>,
    /// Whether all stabilizers of a group are asked to store, instead of one minimal quorum after the other.
    #[serde(default)]
    pub store_all: bool,
    /// Stabilizers that have lost their disk.
    #[serde(default)]
    pub without_disk: Vec<usize>,
    /// In how many slots an id can be ordered.
    #[serde(default = "plenty")]
    pub lifetime_slots: u64,
    /// Who may crash and restart.
    #[serde(default = "durable")]
    pub restartable: Vec<Role>,
    /// Those who order and serve, and the clients, which turn to disseminators or batchers. (Who may restart is said above.)
    pub parts: compartmentalized::Params,
}

fn plenty() -> u64 {
    64
}

fn durable() -> Vec<Role> {
    vec![Role::Leader, Role::Acceptor, Role::Replica, Role::Disseminator, Role::Stabilizer]
}

/// S-Paxos in one configuration.
#[derive(Clone, Debug)]
pub struct Spaxos<M: StateMachine = AppendLog, F: Faults<Mutant> = Mutated<Mutant>> {
    scope: Scope<M, RulesInParts<F>>,
    config: Arc<Config<F>>,
    /// The nodes, and the clients as far as they are part of the configuration.
    actors: Vec<Node<M, F>>,
    restartable: Vec<Role>,
    properties: fn() -> Vec<Property<Self>>,
}

impl<M: StateMachine, F: Faults<Mutant>> Spaxos<M, F> {
    /// The protocol as it is deployed: with any state machine, and clients that nobody knows beforehand.
    pub fn deployed(config: Arc<Config<F>>) -> Self {
        Self {
            actors: nodes(&config, &[], &[]).collect(),
            scope: scope(Scope::of_any_machine(config.parts.clone()), &config),
            restartable: vec![],
            properties: properties::of_any_machine,
            config,
        }
    }

    fn role_of(&self, id: Id) -> (Role, usize) {
        self.config.layout.role(id)
    }
}

impl Spaxos {
    /// The protocol in a configuration, with at most one rule broken.
    ///
    /// # Errors
    /// What makes no sense about the configuration, in words.
    pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Self, String> {
        let layout = layout(params);
        if params.disseminators == 0 || params.stabilizers == 0 {
            return Err("a disseminator and a stabilizer are needed".into());
        }
        if params.stabilizers > crate::quorum_params::NODES_MAX {
            return Err(format!("at most {} stabilizers are modelled", crate::quorum_params::NODES_MAX));
        }
        if let Some(wrong) = params.without_disk.iter().find(|index| **index >= params.stabilizers) {
            return Err(format!("there is no stabilizer {wrong}; there are {}", params.stabilizers));
        }
        let parts = compartmentalized::config(&params.parts, layout.nodes(), RulesInParts(Mutated(mutant)))?;
        let contacted = Contacted { everybody: params.store_all, first: 0 };
        let stores = compartmentalized::groups('s', params.stabilizers, &params.stores, contacted)?;
        let (disseminators, stabilizers) = (params.disseminators, params.stabilizers);
        let config = Arc::new(Config::new(parts, disseminators, stabilizers, stores, params.lifetime_slots));
        let contacts: Vec<Id> = match params.parts.batchers {
            0 => (0..disseminators).map(|index| layout.disseminator(index)).collect(),
            _ => layout.parts.ids(parts::Role::Batcher).collect(),
        };
        let clients = compartmentalized::clients(&config.parts, &contacts, &params.parts.clients)?;
        let known = Scope::of_the_append_log(config.parts.clone(), clients.clone());
        let actors = nodes(&config, &params.parts.without_disk, &params.without_disk);
        let clients = clients.into_iter().map(|client| Node::client(&config, client));
        Ok(Self {
            actors: actors.chain(clients).collect(),
            scope: Scope { answers: params.parts.answers, ..scope(known, &config) },
            restartable: params.restartable.clone(),
            properties: properties::of_the_append_log,
            config,
        })
    }
}

fn layout(params: &Params) -> Layout {
    Layout {
        parts: compartmentalized::layout(&params.parts),
        disseminators: params.disseminators,
        stabilizers: params.stabilizers,
    }
}

/// The clients come after all nodes, and stabilizers have quorums too.
fn scope<M: StateMachine, F: Faults<Mutant>>(
    parts: Scope<M, RulesInParts<F>>,
    config: &Config<F>,
) -> Scope<M, RulesInParts<F>> {
    let stores_meet = compartmentalized::quorums_meet(&config.stores, config.layout.stabilizers);
    Scope { first_client: config.layout.nodes(), quorums_meet: parts.quorums_meet && stores_meet, ..parts }
}

/// All nodes that are no clients; these acceptors and stabilizers have lost their disk.
fn nodes<'a, M: StateMachine, F: Faults<Mutant>>(
    config: &'a Arc<Config<F>>,
    acceptors: &'a [usize],
    stabilizers: &'a [usize],
) -> impl Iterator<Item = Node<M, F>> + use<'a, M, F> {
    (0..config.layout.nodes()).map(Id::from).filter_map(move |id| {
        let lost_storage = match config.layout.role(id) {
            (Role::Acceptor, index) => acceptors.contains(&index),
            (Role::Stabilizer, index) => stabilizers.contains(&index),
            _ => false,
        };
        Node::of(config, id, lost_storage)
    })
}

impl<M: StateMachine, F: Faults<Mutant>> InParts for Spaxos<M, F> {
    type Machine = M;
    type Order = Ids;
    type Rules = RulesInParts<F>;

    fn scope(&self) -> &Scope<M, RulesInParts<F>> {
        &self.scope
    }

    fn ordering(state: &State<M>) -> Option<&parts::State<Ids>> {
        match state {
            State::Order(state) => Some(state),
            _ => None,
        }
    }

    fn serving(state: &State<M>) -> Option<&parts::State<M>> {
        match state {
            State::Serve(state) => Some(state),
            _ => None,
        }
    }

    fn said(msg: &Msg<M>) -> Option<&parts::Msg<M>> {
        match msg {
            Msg::Serve(msg) => Some(msg),
            _ => None,
        }
    }

    fn record(ghost: &Ghost<M>) -> &RecordOf<Self> {
        &ghost.order
    }

    fn is_chosen(view: &View<'_, Self>, slot: Slot, value: &ValueOf<M>) -> bool {
        properties::is_chosen(view, slot, value)
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Protocol for Spaxos<M, F> {
    type Actor = Node<M, F>;
    type Ghost = Ghost<M>;

    fn actors(&self) -> Vec<Node<M, F>> {
        self.actors.clone()
    }

    fn ghost(&self) -> Ghost<M> {
        Ghost::default()
    }

    fn observe(&self, ghost: &mut Cow<'_, Ghost<M>>, step: &Step<'_, Node<M, F>>) {
        ghost::observe(self, ghost, step);
    }

    fn properties(&self) -> Vec<Property<Self>> {
        (self.properties)()
    }

    /// As in the parts; a batch that is not there yet may be there when it is asked for.
    fn dead(&self, dst: Id, state: &State<M>, src: Id, msg: &Msg<M>) -> bool {
        use parts::Msg as Said;
        match (state, msg) {
            (_, Msg::Serve(Said::CatchUp { .. } | Said::FetchSnapshot { .. }) | Msg::Fetch { .. }) => false,
            (State::Serve(parts::State::Replica(replica)), Msg::Serve(Said::SnapshotPart(part))) => {
                part.slot <= replica.replica.executed
            }
            _ => self.actors[usize::from(dst)].ignores(dst, state, src, msg),
        }
    }

    fn may_restart(&self, id: Id) -> bool {
        self.restartable.contains(&self.role_of(id).0)
    }

    /// Timers of one kind share a budget, in this order: election, ping, resend of the parts, catch-up, batch, retry, resend
    /// of disseminators and stabilizers.
    fn budget(&self, id: Id, timer: &Timer) -> Budget {
        let new_role = matches!(self.role_of(id).0, Role::Disseminator | Role::Stabilizer);
        Budget::Shared(match timer {
            // Nobody sets it: a slot holds one id.
            Timer::Propose => return Budget::Unlimited,
            Timer::Election => 0,
            Timer::Ping => 1,
            Timer::Resend if new_role => 6,
            Timer::Resend => 2,
            Timer::CatchUp => 3,
            Timer::Batch => 4,
            Timer::Retry(_) => 5,
        })
    }

    fn name(&self, id: Id) -> String {
        let (_, index) = self.role_of(id);
        format!("{} {index}", self.role(id))
    }

    fn role(&self, id: Id) -> &'static str {
        self.role_of(id).0.title()
    }

    fn describe_state(state: &State<M>) -> String {
        properties::describe(state)
    }

    fn describe_msg(msg: &Msg<M>) -> String {
        match msg {
            Msg::Order(msg) => format!("{msg:?}"),
            Msg::Serve(msg) => format!("{msg:?}"),
            msg => format!("{msg:?}"),
        }
    }
}
