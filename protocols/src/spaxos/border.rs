//! Where those who order ids meet those who execute batches.
//!
//! Neither knows of the other kind. The parts that order speak to "replicas" of a machine whose commands are ids, and the
//! parts that serve to "leaders" who number commands; what they say is handed over here. Most of it names slots and no
//! values, and means the same on both sides. What does not:
//!
//! - A proxy leader tells all replicas what is chosen. Of an id, one stabilizer is told instead, which tells the replicas.
//! - A batcher sends commands to the leader. A disseminator gets them instead.
//! - A replica tells acceptors what it has saved. Stabilizers are told too.
//! - To a replica, a stabilizer is a proxy leader.

use super::Msg;
use super::config::{Config, Role, turn};
use super::ids::{BatchId, Ids};
use super::mutant::{InParts, Mutant};
use super::node::Node;
use super::storage::Storage;
use crate::command::Value;
use crate::compartmentalized as parts;
use crate::faults::Faults;
use crate::ids::Slot;
use crate::state_machine::StateMachine;
use stateright::actor::{Command, Id, Out};

/// Who a sender is in the eyes of a part that serves.
pub(super) fn seen_by_parts<F>(config: &Config<F>, src: Id) -> Id {
    match config.layout.role(src) {
        (Role::Stabilizer, _) => config.layout.parts.id(parts::Role::ProxyLeader, 0),
        _ => src,
    }
}

/// A message that names no value, for the other side.
fn hand_over<A: StateMachine, B: StateMachine>(msg: parts::Msg<A>) -> Result<parts::Msg<B>, parts::Msg<A>> {
    Ok(match msg {
        parts::Msg::ChosenBelow(slot) => parts::Msg::ChosenBelow(slot),
        parts::Msg::AskChosen { below } => parts::Msg::AskChosen { below },
        parts::Msg::Saved(slot) => parts::Msg::Saved(slot),
        parts::Msg::Fill(slot) => parts::Msg::Fill(slot),
        parts::Msg::Recover(slot) => parts::Msg::Recover(slot),
        parts::Msg::PreRead(tag) => parts::Msg::PreRead(tag),
        parts::Msg::PreReadAck { tag, voted_below } => parts::Msg::PreReadAck { tag, voted_below },
        msg => return Err(msg),
    })
}

/// Asks for what a part that orders asks for, its state being this.
pub(super) fn from_order<M: StateMachine, F: Faults<Mutant>>(
    config: &Config<F>,
    id: Id,
    state: &parts::State<Ids>,
    asked: Out<parts::Node<Ids, InParts<F>>>,
    out: &mut Out<Node<M, F>>,
) {
    for command in asked {
        match command {
            Command::Send(dst, parts::Msg::Chosen { from, values }) => {
                if let (parts::State::ProxyLeader(proxy), Some(value)) = (state, values.first()) {
                    // A later round of a leader tries another stabilizer.
                    let tries = proxy.round(0).0 / config.layout.parts.leaders as u64;
                    learn(config, dst, (from, value), tries, out);
                }
            }
            // Disseminators ask leaders in turn; batchers ask disseminators.
            Command::Send(dst, parts::Msg::Ping { .. })
                if config.layout.index_in(Role::Batcher, dst).is_some() => {}
            Command::Send(dst, msg) if dst == id => out.send(dst, Msg::Order(msg)),
            Command::Send(dst, msg) => match hand_over(msg) {
                Ok(msg) => out.send(dst, Msg::Serve(msg)),
                Err(msg) => out.send(dst, Msg::Order(msg)),
            },
            Command::Save(storage) => out.save(Storage::Order(storage)),
            Command::SetTimer(timer, after) => out.set_timer(timer, after),
            Command::CancelTimer(timer) => out.cancel_timer(timer),
            // No part leaves anything to chance.
            Command::ChooseRandom(..) => {}
        }
    }
}

/// What a proxy leader tells a replica of a slot: nothing to do, or, once for all replicas, a stabilizer which batch to
/// pass on. An id that came too late for its slot stands for nothing there, and its disseminator is told.
fn learn<M: StateMachine, F: Faults<Mutant>>(
    config: &Config<F>,
    replica: Id,
    (slot, value): (Slot, &Value<BatchId>),
    tries: u64,
    out: &mut Out<Node<M, F>>,
) {
    let is_first = config.layout.index_in(Role::Replica, replica) == Some(0);
    let always = config.breaks(Mutant::IgnoreExpiry);
    let held = BatchId::held_by(value);
    match held.filter(|id| slot < id.expires || always) {
        Some(id) if is_first => {
            if let Some(stabilizer) = config.passer(id, slot.0 + tries) {
                out.send(stabilizer, Msg::ChosenId { slot, id });
            }
        }
        Some(_) => {}
        None => {
            let noop = parts::Msg::Chosen { from: slot, values: vec![Value::Noop] };
            out.send(replica, Msg::Serve(noop));
            if let Some(id) = held.filter(|_| is_first) {
                out.send(config.layout.disseminator(id.disseminator), Msg::Ordered { slot, id });
            }
        }
    }
}

/// Asks for what a part that serves asks for.
pub(super) fn from_serve<M: StateMachine, F: Faults<Mutant>>(
    config: &Config<F>,
    asked: Out<parts::Node<M, InParts<F>>>,
    out: &mut Out<Node<M, F>>,
) {
    for command in asked {
        match command {
            Command::Send(_, parts::Msg::Commands(commands)) => {
                let first = commands.first().map_or(0, |command| command.id.client + command.id.seq);
                let disseminator = config.layout.disseminator(turn(first, config.layout.disseminators));
                out.send(disseminator, Msg::Serve(parts::Msg::Commands(commands)));
            }
            Command::Send(dst, msg) => match hand_over(msg) {
                Ok(msg) => out.send(dst, Msg::Order(msg)),
                Err(msg) => out.send(dst, Msg::Serve(msg)),
            },
            Command::Save(storage) => {
                let saved = match &storage {
                    parts::Storage::Replica(snapshot) => Some(snapshot.slot),
                    _ => None,
                };
                out.save(Storage::Serve(storage));
                for (slot, index) in saved
                    .into_iter()
                    .flat_map(|slot| (0..config.layout.stabilizers).map(move |index| (slot, index)))
                {
                    out.send(config.layout.stabilizer(index), Msg::Serve(parts::Msg::Saved(slot)));
                }
            }
            Command::SetTimer(timer, after) => out.set_timer(timer, after),
            Command::CancelTimer(timer) => out.cancel_timer(timer),
            // No part leaves anything to chance.
            Command::ChooseRandom(..) => {}
        }
    }
}
