//! History that the properties need: that of the parts, and what was ever stored under which id.

use super::Spaxos;
use crate::Step;
use crate::compartmentalized;
use im::OrdMap;
use parthood_protocols::command::Command;
use parthood_protocols::durable::{Change, map_changes};
use parthood_protocols::faults::Faults;
use parthood_protocols::spaxos::{BatchId, Body, Mutant, Node, State, Store};
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What happened so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ghost<M: StateMachine = AppendLog> {
    /// The history of the parts: votes for ids, what clients asked and were told.
    pub(super) order: compartmentalized::Ghost<M, BatchId>,
    /// What some stabilizer ever stored under an id.
    stored: BTreeMap<BatchId, BTreeSet<Body<M::Command>>>,
}

impl<M: StateMachine> Default for Ghost<M> {
    fn default() -> Self {
        Self { order: compartmentalized::Ghost::default(), stored: BTreeMap::new() }
    }
}

impl<M: StateMachine> Ghost<M> {
    /// The history of the log of ids, and of the clients.
    pub fn order(&self) -> &compartmentalized::Ghost<M, BatchId> {
        &self.order
    }

    /// Does no id stand for two batches?
    pub(super) fn ids_are_unique(&self) -> bool {
        self.stored.values().all(|batches| batches.len() == 1)
    }

    /// Is this what the id stands for?
    pub(super) fn stands_for(&self, id: BatchId, commands: &[Command<M::Command>]) -> bool {
        self.stored.get(&id).is_some_and(|batches| batches.iter().any(|batch| **batch == *commands))
    }

    /// What an id stands for, as far as somebody stored it.
    pub(super) fn batches_of(&self, id: BatchId) -> impl Iterator<Item = &Command<M::Command>> {
        self.stored.get(&id).into_iter().flatten().flat_map(|batch| batch.iter())
    }
}

pub(super) fn observe<M: StateMachine, F: Faults<Mutant>>(
    protocol: &Spaxos<M, F>,
    ghost: &mut Cow<'_, Ghost<M>>,
    step: &Step<'_, Node<M, F>>,
) {
    let mut order = Cow::Borrowed(&ghost.order);
    compartmentalized::observe(protocol, &mut order, step);
    if let Cow::Owned(order) = order {
        ghost.to_mut().order = order;
    }
    if let State::Stabilizer(after) = step.after {
        // What it finds at its first start was stored before the record of the run begins.
        let before = match step.before {
            Some(State::Stabilizer(before)) => Some(&before.store),
            _ => None,
        };
        observe_store(ghost, before, &after.store);
    }
}

fn observe_store<M: StateMachine>(
    ghost: &mut Cow<'_, Ghost<M>>,
    before: Option<&Store<M::Command>>,
    after: &Store<M::Command>,
) {
    let nothing = OrdMap::new();
    let before = before.map_or(&nothing, |before| &before.batches);
    for change in map_changes(before, &after.batches) {
        if let Change::Put(id, batch) = change
            && !ghost.stored.get(&id).is_some_and(|batches| batches.contains(&batch))
        {
            ghost.to_mut().stored.entry(id).or_default().insert(batch);
        }
    }
}
