//! Single-decree Paxos as a user of Stateright would write it: an actor per role in one enum, an `ActorModel`, two
//! properties. And the same actors with the same properties in `System`, without a ghost, symmetry or any other help.

use parthood_models::{Property, Protocol, Step, View};
use stateright::Expectation;
use stateright::actor::{Actor, ActorModel, Id, Network, Out};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

type Ballot = u8;
type Value = u8;

/// So many proposers, each with one ballot and a value of its own, and so many acceptors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    pub(crate) proposers: usize,
    pub(crate) acceptors: usize,
}

/// A participant.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Proposer { ballot: Ballot, value: Value, acceptors: Vec<Id> },
    Acceptor,
}

/// What participants say to each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Msg {
    Prepare(Ballot),
    Promise(Ballot, Option<(Ballot, Value)>),
    Accept(Ballot, Value),
    Accepted(Ballot),
}

/// What a participant knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Knowledge {
    Proposer {
        promises: BTreeMap<Id, Option<(Ballot, Value)>>,
        proposed: Option<Value>,
        accepted: BTreeSet<Id>,
        chosen: Option<Value>,
    },
    Acceptor {
        promised: Option<Ballot>,
        accepted: Option<(Ballot, Value)>,
    },
}

impl Actor for Node {
    type Msg = Msg;
    type Timer = ();
    type State = Knowledge;
    type Storage = ();
    type Random = ();

    fn on_start(&self, _: Id, _: &Option<()>, out: &mut Out<Self>) -> Knowledge {
        match self {
            Self::Proposer { ballot, acceptors, .. } => {
                out.broadcast(acceptors, &Msg::Prepare(*ballot));
                Knowledge::Proposer {
                    promises: BTreeMap::new(),
                    proposed: None,
                    accepted: BTreeSet::new(),
                    chosen: None,
                }
            }
            Self::Acceptor => Knowledge::Acceptor { promised: None, accepted: None },
        }
    }

    fn on_msg(&self, _: Id, state: &mut Cow<'_, Knowledge>, src: Id, msg: Msg, out: &mut Out<Self>) {
        match (self, &**state, msg) {
            (Self::Acceptor, Knowledge::Acceptor { promised, accepted }, Msg::Prepare(ballot))
                if Some(ballot) > *promised =>
            {
                out.send(src, Msg::Promise(ballot, *accepted));
                *state.to_mut() = Knowledge::Acceptor { promised: Some(ballot), accepted: *accepted };
            }
            (Self::Acceptor, Knowledge::Acceptor { promised, .. }, Msg::Accept(ballot, value))
                if Some(ballot) >= *promised =>
            {
                out.send(src, Msg::Accepted(ballot));
                *state.to_mut() =
                    Knowledge::Acceptor { promised: Some(ballot), accepted: Some((ballot, value)) };
            }
            (
                Self::Proposer { value, acceptors, .. },
                Knowledge::Proposer { proposed: None, .. },
                Msg::Promise(ballot, vote),
            ) => {
                let Knowledge::Proposer { promises, proposed, .. } = state.to_mut() else { return };
                promises.insert(src, vote);
                if promises.len() > acceptors.len() / 2 {
                    let highest = promises.values().flatten().max();
                    let value = highest.map_or(*value, |(_, value)| *value);
                    *proposed = Some(value);
                    out.broadcast(acceptors, &Msg::Accept(ballot, value));
                }
            }
            (
                Self::Proposer { acceptors, .. },
                Knowledge::Proposer { chosen: None, .. },
                Msg::Accepted(_),
            ) => {
                let Knowledge::Proposer { proposed, accepted, chosen, .. } = state.to_mut() else { return };
                accepted.insert(src);
                if accepted.len() > acceptors.len() / 2 {
                    *chosen = *proposed;
                }
            }
            _ => {}
        }
    }
}

/// The value that a participant takes for chosen.
fn chosen(state: &Knowledge) -> Option<Value> {
    match state {
        Knowledge::Proposer { chosen, .. } => *chosen,
        Knowledge::Acceptor { .. } => None,
    }
}

fn agreed<'a>(states: impl Iterator<Item = &'a Knowledge>) -> bool {
    states.filter_map(chosen).collect::<BTreeSet<_>>().len() < 2
}

impl Plain {
    fn nodes(self) -> Vec<Node> {
        let acceptors: Vec<Id> = (self.proposers..self.proposers + self.acceptors).map(Id::from).collect();
        let proposer = |number: Ballot| Node::Proposer {
            ballot: number,
            value: number + 1,
            acceptors: acceptors.clone(),
        };
        let proposers = (0..).take(self.proposers).map(proposer);
        proposers.chain((0..self.acceptors).map(|_| Node::Acceptor)).collect()
    }

    /// The library's model.
    pub(crate) fn actor_model(self) -> ActorModel<Node> {
        ActorModel::new((), ())
            .actors(self.nodes())
            .init_network(Network::new_unordered_nonduplicating([]))
            .property(Expectation::Always, "agreement", |_, state| {
                agreed(state.actor_states.iter().map(|state| &**state))
            })
            .property(Expectation::Sometimes, "a value is chosen", |_, state| {
                state.actor_states.iter().any(|state| chosen(state).is_some())
            })
    }
}

impl Protocol for Plain {
    type Actor = Node;
    type Ghost = ();

    fn actors(&self) -> Vec<Node> {
        self.nodes()
    }

    fn ghost(&self) {}

    fn observe(&self, _: &mut Cow<'_, ()>, _: &Step<'_, Node>) {}

    fn properties(&self) -> Vec<Property<Self>> {
        let agreement = |view: &View<'_, Self>| agreed(view.states.iter());
        let some = |view: &View<'_, Self>| view.states.iter().any(|state| chosen(state).is_some());
        vec![Property::always("agreement", agreement), Property::sometimes("a value is chosen", some)]
    }
}
