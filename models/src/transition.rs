//! One move of a system.
//!
//! The handler runs on the borrowed state; a successor is built only if it did something. Then the ghost sees the
//! step, its commands are carried out, eager messages are delivered, and dead messages are collected.

use crate::fingerprint::Hashed;
use crate::index;
use crate::network::{Network, Packet, contains};
use crate::protocol::{Cause, Protocol, StateOf, Step};
use crate::state::{Offer, State};
use crate::system::{Input, Move, System, Torn};
use stateright::actor::{Actor, Command, Id, Out, is_no_op_with_timer};
use std::borrow::Cow;

/// Called with every step within a move, in order.
pub(crate) type Seen<'s, P> = &'s mut dyn FnMut(&Step<'_, <P as Protocol>::Actor>);

/// A move in the making.
pub(crate) struct Transition<'a, 's, P: Protocol> {
    system: &'a System<P>,
    from: &'a State<P>,
    seen: Seen<'s, P>,
    /// Actors that changed or to which something was sent: only their messages can have died.
    touched: Touched,
}

impl<P: Protocol> System<P> {
    /// Starts every actor, in order, and then carries out what they asked for.
    pub(crate) fn start(&self, seen: Seen<'_, P>) -> State<P> {
        let count = self.actors.len();
        let mut outs = Vec::with_capacity(count);
        let actors = self.actors.iter().enumerate().map(|(at, actor)| {
            let mut out = Out::new();
            let state = actor.on_start(at.into(), &None, &mut out);
            outs.push(if self.is_down(at.into()) { Out::new() } else { out });
            Hashed::new(state)
        });
        let empty = State {
            actors: actors.collect(),
            flight: Vec::new(),
            timers: Vec::new(),
            offers: Vec::new(),
            storage: if self.setup.restarts > 0 { vec![None; count] } else { Vec::new() },
            restarts: 0,
            fired: vec![0; self.setup.timers.len()],
            ghost: Hashed::new(self.protocol.ghost()),
            collected_live: false,
            fingerprint: 0,
        };
        let mut next = empty.clone();
        let mut transition = Transition::new(self, &empty, seen);
        for (at, out) in outs.into_iter().enumerate() {
            let after = next.actors[at].clone();
            transition.carry_out(&mut next, at.into(), &Cause::Start(None), None, &after, out);
        }
        transition.finish(&mut next);
        next
    }
}

impl<'a, 's, P: Protocol> Transition<'a, 's, P> {
    pub(crate) fn new(system: &'a System<P>, from: &'a State<P>, seen: Seen<'s, P>) -> Self {
        Self { system, from, seen, touched: Touched(0) }
    }

    /// Makes `next` what the move leads to; false, and `next` is of no use, if the move is ignored. Reusing one `next` saves
    /// the allocations of the many successors that turn out to be known.
    pub(crate) fn make(mut self, mv: Move, next: &mut State<P>) -> bool {
        let happens = match mv {
            Move::React(input) => self.react(input, next),
            Move::Tear(input) => self.tear(input, next),
            Move::Restart(at) => self.restart(usize::from(at).into(), next),
            Move::Drop(at) => {
                next.clone_from(self.from);
                next.flight.remove(usize::from(at));
                true
            }
        };
        if happens {
            self.finish(next);
        }
        happens
    }

    fn react(&mut self, input: Input, next: &mut State<P>) -> bool {
        let from = self.from;
        let Some((id, cause)) = self.cause(input) else { return false };
        let before = &from.actors[index(id)];
        let (state, out) = self.handle(id, before, &cause);
        let same = is_same(before, &state);
        // On an ordered network the head of a channel moves even if its message means nothing to the receiver; a
        // timer and a choice are used up.
        let ignored = match cause {
            Cause::Deliver { .. } => match self.system.setup.network {
                Network::Ordered => false,
                Network::Unordered => same && out.is_empty(),
                Network::Duplicating => same && self.repeats(id, &cause, before, &out),
            },
            Cause::Timeout(timer) => is_no_op_with_timer(&state, &out, timer),
            Cause::Random(_) | Cause::Start(_) => false,
        };
        if !ignored {
            let after = owned(before, state);
            self.consume(input, next);
            self.carry_out(next, id, &cause, Some(before), &after, out);
        }
        // Firing without effect does not count against a budget: it is sending again what is still in flight.
        !ignored && (next.fired == from.fired || next.differs_but_for_counters(from))
    }

    /// Does a step that leaves its actor as it is only send what is in flight anyway, and tell the ghost nothing new?
    /// On the duplicating network most steps are of this kind, and they are told apart before anything is copied.
    fn repeats(&self, id: Id, cause: &Cause<'_, P::Actor>, state: &StateOf<P>, out: &Out<P::Actor>) -> bool {
        let from = self.from;
        let in_flight = |command: &crate::CommandOf<P::Actor>| match command {
            Command::Send(dst, msg) => contains(&from.flight, id, *dst, msg),
            _ => false,
        };
        let mut ghost = Cow::Borrowed(&*from.ghost);
        out.iter().all(in_flight) && {
            let step = Step { id, cause: *cause, before: Some(state), after: state, out };
            self.system.protocol.observe(&mut ghost, &step);
            matches!(ghost, Cow::Borrowed(_))
        }
    }

    /// Who reacts, and to what; none if nobody is there.
    fn cause(&self, input: Input) -> Option<(Id, Cause<'a, P::Actor>)> {
        let from = self.from;
        Some(match input {
            Input::Deliver(at) => {
                let packet = from.flight.get(usize::from(at))?;
                (packet.dst, Cause::Deliver { src: packet.src, msg: &packet.msg })
            }
            Input::Timeout(at) => {
                let (owner, timer) = from.timers.get(usize::from(at))?;
                (*owner, Cause::Timeout(timer))
            }
            Input::Random { offer, choice } => {
                let offer = from.offers.get(usize::from(offer))?;
                (offer.actor, Cause::Random(offer.choices.get(usize::from(choice))?))
            }
        })
    }

    fn handle<'b>(
        &self,
        id: Id,
        before: &'b StateOf<P>,
        cause: &Cause<'_, P::Actor>,
    ) -> (Cow<'b, StateOf<P>>, Out<P::Actor>) {
        let actor = &self.system.actors[index(id)];
        let (mut state, mut out) = (Cow::Borrowed(before), Out::new());
        match *cause {
            Cause::Start(storage) => {
                state = Cow::Owned(actor.on_start(id, &storage.cloned(), &mut out));
            }
            Cause::Deliver { src, msg } => actor.on_msg(id, &mut state, src, msg.clone(), &mut out),
            Cause::Timeout(timer) => actor.on_timeout(id, &mut state, timer, &mut out),
            Cause::Random(random) => actor.on_random(id, &mut state, random, &mut out),
        }
        (state, out)
    }

    /// Makes `next` the state without what was reacted to.
    fn consume(&self, input: Input, next: &mut State<P>) {
        next.clone_from(self.from);
        match input {
            Input::Deliver(at) => {
                if self.system.setup.network != Network::Duplicating {
                    next.flight.remove(usize::from(at));
                }
            }
            Input::Timeout(at) => {
                let (owner, timer) = next.timers.remove(usize::from(at));
                let budget = self.system.protocol.budget(owner, &timer);
                if let Some((class, _)) = self.system.setup.bound(budget) {
                    next.fired[class] += 1;
                }
            }
            Input::Random { offer, .. } => {
                next.offers.remove(usize::from(offer));
            }
        }
    }

    /// Restarts an actor from what it saved. Ignored if nothing would change but the number of restarts.
    fn restart(&mut self, id: Id, next: &mut State<P>) -> bool {
        let from = self.from;
        next.clone_from(from);
        self.restart_in(next, id);
        next.differs_but_for_counters(from)
    }

    fn restart_in(&mut self, next: &mut State<P>, id: Id) {
        next.restarts += 1;
        next.timers.retain(|(owner, _)| *owner != id);
        next.offers.retain(|offer| offer.actor != id);
        let before = next.actors[index(id)].clone();
        let storage = next.storage.get(index(id)).cloned().flatten();
        let cause = Cause::Start(storage.as_deref());
        let (state, out) = self.handle(id, &before, &cause);
        let after = owned(&before, state);
        self.carry_out(next, id, &cause, Some(&before), &after, out);
    }

    /// An actor reacts and saves, but crashes before that is durable. If its sends were held back, nobody has seen
    /// the step; a broken runtime let them go before.
    fn tear(&mut self, input: Input, next: &mut State<P>) -> bool {
        let from = self.from;
        let Some((id, cause)) = self.cause(input) else { return false };
        let before = &from.actors[index(id)];
        let (state, out) = self.handle(id, before, &cause);
        let saves = out.iter().any(|command| matches!(command, Command::Save(_)));
        if !saves || !self.system.protocol.may_restart(id) {
            return false;
        }
        self.consume(input, next);
        if self.system.setup.torn == Torn::Released {
            let durable = next.storage[index(id)].clone();
            let after = owned(before, state);
            self.carry_out(next, id, &cause, Some(before), &after, out);
            next.storage[index(id)] = durable;
        }
        self.restart_in(next, id);
        true
    }

    /// Shows a step to the ghost and does what the actor asked for.
    fn carry_out(
        &mut self,
        next: &mut State<P>,
        id: Id,
        cause: &Cause<'_, P::Actor>,
        before: Option<&StateOf<P>>,
        after: &Hashed<StateOf<P>>,
        out: Out<P::Actor>,
    ) {
        let step = Step { id, cause: *cause, before, after, out: &out };
        (self.seen)(&step);
        let mut ghost = Cow::Borrowed(&*next.ghost);
        self.system.protocol.observe(&mut ghost, &step);
        if let Cow::Owned(ghost) = ghost {
            next.ghost = Hashed::new(ghost);
        }
        next.actors[index(id)] = after.clone();
        self.touched.insert(id);
        for command in out {
            self.command(next, id, command);
        }
    }

    fn command(&mut self, next: &mut State<P>, id: Id, command: crate::CommandOf<P::Actor>) {
        match command {
            Command::Send(dst, msg) => self.send(next, id, dst, msg),
            Command::SetTimer(timer, _) => {
                let entry = (id, timer);
                if let Err(at) = next.timers.binary_search(&entry) {
                    next.timers.insert(at, entry);
                }
            }
            Command::CancelTimer(timer) => {
                if let Ok(at) = next.timers.binary_search(&(id, timer)) {
                    next.timers.remove(at);
                }
            }
            Command::ChooseRandom(key, choices) => {
                let found = next.offers.binary_search_by(|offer| (offer.actor, &offer.key).cmp(&(id, &key)));
                match found {
                    Ok(at) if choices.is_empty() => {
                        next.offers.remove(at);
                    }
                    Ok(at) => next.offers[at].choices = choices,
                    Err(_) if choices.is_empty() => {}
                    Err(at) => next.offers.insert(at, Offer { actor: id, key, choices }),
                }
            }
            Command::Save(storage) => {
                if next.restarts < self.system.setup.restarts {
                    next.storage[index(id)] = Some(Hashed::new(storage));
                }
            }
        }
    }

    /// A message to nobody, or to one that is down, is lost.
    fn send(&mut self, next: &mut State<P>, src: Id, dst: Id, msg: crate::MsgOf<P>) {
        if index(dst) >= self.system.actors.len() || self.system.is_down(dst) {
            return;
        }
        if !(self.system.setup.reductions.eager && self.system.protocol.eager(src, dst, &msg)) {
            self.touched.insert(dst);
            let packet = Hashed::new(Packet::new(src, dst, msg));
            return self.system.setup.network.insert(&mut next.flight, packet);
        }
        let before = next.actors[index(dst)].clone();
        let cause = Cause::Deliver { src, msg: &msg };
        let (state, out) = self.handle(dst, &before, &cause);
        if !(out.is_empty() && is_same(&before, &state)) {
            let after = owned(&before, state);
            self.carry_out(next, dst, &cause, Some(&before), &after, out);
        }
    }

    fn finish(&mut self, next: &mut State<P>) {
        if self.system.setup.reductions.collect {
            self.collect(next);
        }
        if next.restarts >= self.system.setup.restarts {
            next.storage.clear();
        }
        next.seal(&self.system.protocol, &self.system.classes);
    }

    /// Removes the messages that the protocol calls dead, and verifies that each would have been ignored now: the
    /// protocol's word may describe the correct actor while the one at hand is broken.
    fn collect(&self, next: &mut State<P>) {
        let State { flight, actors, collected_live, .. } = next;
        flight.retain(|packet| {
            let dst = index(packet.dst);
            let state = &actors[dst];
            if !self.touched.contains(packet.dst)
                || !self.system.protocol.dead(packet.dst, state, packet.src, &packet.msg)
            {
                return true;
            }
            let cause = Cause::Deliver { src: packet.src, msg: &packet.msg };
            let (after, out) = self.handle(packet.dst, state, &cause);
            *collected_live |= !(out.is_empty() && is_same(state, &after));
            false
        });
    }
}

/// A set of actors.
struct Touched(u128);

impl Touched {
    fn insert(&mut self, id: Id) {
        self.0 |= 1 << index(id);
    }

    fn contains(&self, id: Id) -> bool {
        self.0 & 1 << index(id) != 0
    }
}

/// Did a handler leave the state as it was, even if it asked for a copy to change?
#[allow(clippy::ptr_arg, reason = "whether a copy was made is the question")]
fn is_same<S: Clone + PartialEq>(before: &Hashed<S>, state: &Cow<'_, S>) -> bool {
    match state {
        Cow::Borrowed(_) => true,
        Cow::Owned(after) => *after == **before,
    }
}

/// The state after a handler, shared with the one before if it was not touched.
fn owned<S: Clone + std::hash::Hash>(before: &Hashed<S>, state: Cow<'_, S>) -> Hashed<S> {
    match state {
        Cow::Borrowed(_) => before.clone(),
        Cow::Owned(state) => Hashed::new(state),
    }
}
