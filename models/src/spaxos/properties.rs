//! The properties (compartmentalization notes, section 13), and states in words.

use super::Spaxos;
use crate::compartmentalized::properties as parts;
use crate::{Property, View};
use parthood_protocols::command::{Value, ValueOf};
use parthood_protocols::faults::Faults;
use parthood_protocols::ids::Slot;
use parthood_protocols::spaxos::{BatchId, DisseminatorState, Mutant, StabilizerState, State};
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use parthood_quorums::NodeSet;
use std::fmt::Write;

/// What is claimed whatever the machine and whoever the clients: the properties of a deployed run.
pub(super) fn of_any_machine<M: StateMachine, F: Faults<Mutant>>() -> Vec<Property<Spaxos<M, F>>> {
    parts::of_any_machine().into_iter().chain(of_batches()).collect()
}

/// What is claimed of the append log and clients with scripts: the properties of a model.
pub(super) fn of_the_append_log<F: Faults<Mutant>>() -> Vec<Property<Spaxos<AppendLog, F>>> {
    let guards: [Property<Spaxos<AppendLog, F>>; 3] = [
        Property::sometimes("an id comes too late", |view| {
            ordered(view).any(|(slot, id)| slot >= id.expires)
        }),
        Property::sometimes("a chosen batch is fetched", |view| {
            stabilizers(view).any(|stabilizer| !stabilizer.wanted.is_empty())
        }),
        Property::sometimes("batches are dropped", |view| {
            stabilizers(view).any(|stabilizer| {
                stabilizer.store.truncated > Slot::ZERO && stabilizer.store.batches.is_empty()
            })
        }),
    ];
    parts::of_the_append_log(validity).into_iter().chain(of_batches()).chain(guards).collect()
}

/// S14.
fn of_batches<M: StateMachine, F: Faults<Mutant>>() -> [Property<Spaxos<M, F>>; 2] {
    [
        Property::always("an id stands for one batch", |view| view.ghost.ids_are_unique()),
        Property::always("what is ordered is stored", ordered_implies_stored),
    ]
}

fn stabilizers<'a, M: StateMachine, F: Faults<Mutant>>(
    view: &View<'a, Spaxos<M, F>>,
) -> impl Iterator<Item = &'a StabilizerState<M::Command>> {
    view.states.iter().filter_map(|state| match state {
        State::Stabilizer(stabilizer) => Some(stabilizer),
        _ => None,
    })
}

/// The ids that were chosen, with their slots.
fn ordered<M: StateMachine, F: Faults<Mutant>>(
    view: &View<'_, Spaxos<M, F>>,
) -> impl Iterator<Item = (Slot, BatchId)> {
    parts::chosen(view).filter_map(|(slot, _, value)| Some((slot, BatchId::held_by(value)?)))
}

/// S3: in the slot, a value was chosen that stands for this.
pub(super) fn is_chosen<M: StateMachine, F: Faults<Mutant>>(
    view: &View<'_, Spaxos<M, F>>,
    slot: Slot,
    learned: &ValueOf<M>,
) -> bool {
    let quorums = parts::write_quorums(view.protocol);
    view.ghost.order.votes.chosen_in(slot, quorums).any(|chosen| {
        match (BatchId::meant_by(slot, chosen), learned) {
            (None, Value::Noop) => true,
            (Some(id), Value::Batch(commands)) => view.ghost.stands_for(id, commands),
            _ => false,
        }
    })
}

/// S5: what a chosen id stands for was asked for.
fn validity<F: Faults<Mutant>>(view: &View<'_, Spaxos<AppendLog, F>>) -> bool {
    ordered(view)
        .all(|(_, id)| view.ghost.batches_of(id).all(|command| parts::was_asked(view.protocol, command)))
}

/// S14: a write quorum stores the batch of every id that was ordered in time, unless enough replicas have saved what became
/// of it. One that lost its disk did store, whatever it has forgotten.
fn ordered_implies_stored<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Spaxos<M, F>>) -> bool {
    ordered(view).filter(|(slot, id)| slot < &id.expires).all(|(_, id)| {
        let stores = |stabilizer: &StabilizerState<_>| {
            let store = &stabilizer.store;
            !stabilizer.storing || id.expires <= store.truncated || store.batches.contains_key(&id)
        };
        let stabilizers = stabilizers(view).enumerate().filter(|(_, stabilizer)| stores(stabilizer));
        let storing: NodeSet = stabilizers.map(|(index, _)| index).collect();
        view.protocol.config.store(id).system.is_write_quorum(storing)
    })
}

/// A state in words.
pub(super) fn describe<M: StateMachine>(state: &State<M>) -> String {
    match state {
        State::Order(state) => parts::describe(state),
        State::Serve(state) => parts::describe(state),
        State::Disseminator(disseminator) => describe_disseminator(disseminator),
        State::Stabilizer(stabilizer) => describe_stabilizer(stabilizer),
    }
}

fn describe_disseminator<C: Clone + std::fmt::Debug>(disseminator: &DisseminatorState<C>) -> String {
    let mut text = format!("life {}, next id {}", disseminator.incarnation, disseminator.next);
    for pending in disseminator.pending.values() {
        let stage = if pending.asked.is_some() { "to be ordered" } else { "to be stored" };
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n{:?} is {stage}, stored by {:?}: {:?}",
            pending.id, pending.stored, pending.batch
        );
    }
    text
}

fn describe_stabilizer<C: Clone + std::fmt::Debug>(stabilizer: &StabilizerState<C>) -> String {
    let mut text = format!("{} batches", stabilizer.store.batches.len());
    if stabilizer.store.truncated > Slot::ZERO {
        // Writing to a string cannot fail.
        let _ = write!(text, ", those expired at {:?} dropped", stabilizer.store.truncated);
    }
    for (id, batch) in &stabilizer.store.batches {
        let _ = write!(text, "\n{id:?} is {batch:?}");
    }
    for (id, slot) in &stabilizer.wanted {
        let _ = write!(text, "\n{slot:?} waits for {id:?}");
    }
    text
}
