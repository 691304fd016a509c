//! Single-decree Paxos, reduced to its core, as a reference for state counts that other tools and the library's own
//! model agree with. Proposers 0..P, then acceptors, then learners.

use parthood_models::{Cause, Class, Hashed, Parts, Property, Protocol, Step, View};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;
use std::time::Duration;

/// A ballot; 0 is none, and the ballots of a proposer are its number plus one, and on in steps of the number of proposers.
pub(crate) type Ballot = u8;

/// How the actors are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Toy {
    pub(crate) proposers: u8,
    pub(crate) acceptors: u8,
    pub(crate) learners: u8,
    /// Ballots that each proposer may use; it goes on to the next by a timer.
    pub(crate) rounds: u8,
    pub(crate) fault: Fault,
}

/// How an actor is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The acceptor votes in ballots below its promise.
    IgnoresPromise,
    /// The proposer is content with one promise less than a majority.
    QuorumMinusOne,
    /// The proposer proposes its own value whatever was reported.
    OwnValue,
    /// The acceptor forgets to save.
    NoSave,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Msg {
    P1a(Ballot),
    P1b(Ballot, Ballot, u8),
    P2a(Ballot, u8),
    P2b(Ballot, u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Proposer { ballot: Ballot, second: bool, acks: u8, best: (Ballot, u8) },
    Acceptor { promised: Ballot, vote: (Ballot, u8) },
    Learner { votes: u64 },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ToyActor {
    toy: Toy,
    me: u8,
}

impl Toy {
    pub(crate) fn new(proposers: u8, acceptors: u8, learners: u8, rounds: u8) -> Self {
        Self { proposers, acceptors, learners, rounds, fault: Fault::None }
    }

    pub(crate) fn with(self, fault: Fault) -> Self {
        Self { fault, ..self }
    }

    fn acceptor_ids(self) -> std::ops::Range<u8> {
        self.proposers..self.proposers + self.acceptors
    }

    fn learner_ids(self) -> std::ops::Range<u8> {
        let first = self.proposers + self.acceptors;
        first..first + self.learners
    }

    fn majority(self) -> u32 {
        u32::from(self.acceptors) / 2 + 1
    }
}

fn id(at: u8) -> Id {
    Id::from(usize::from(at))
}

fn at(id: Id) -> u8 {
    u8::try_from(usize::from(id)).expect("a toy has few actors")
}

impl Actor for ToyActor {
    type Msg = Msg;
    type Timer = ();
    type State = State;
    type Storage = State;
    type Random = ();

    fn on_start(&self, _: Id, storage: &Option<State>, out: &mut Out<Self>) -> State {
        let toy = self.toy;
        if let Some(state) = storage {
            return *state;
        }
        if self.me < toy.proposers {
            let ballot = self.me + 1;
            toy.acceptor_ids().for_each(|to| out.send(id(to), Msg::P1a(ballot)));
            if toy.rounds > 1 {
                out.set_timer((), Duration::ZERO..Duration::ZERO);
            }
            State::Proposer { ballot, second: false, acks: 0, best: (0, 0) }
        } else if self.me < toy.proposers + toy.acceptors {
            State::Acceptor { promised: 0, vote: (0, 0) }
        } else {
            State::Learner { votes: 0 }
        }
    }

    fn on_msg(&self, _: Id, state: &mut Cow<'_, State>, src: Id, msg: Msg, out: &mut Out<Self>) {
        let toy = self.toy;
        match (**state, msg) {
            (State::Acceptor { promised, vote }, Msg::P1a(ballot)) if ballot > promised => {
                self.become_and_save(State::Acceptor { promised: ballot, vote }, state, out);
                out.send(src, Msg::P1b(ballot, vote.0, vote.1));
            }
            (State::Acceptor { promised, vote }, Msg::P2a(ballot, value)) => {
                let old = ballot < promised && toy.fault != Fault::IgnoresPromise;
                if old || vote.0 >= ballot {
                    return;
                }
                let promised = promised.max(ballot);
                self.become_and_save(State::Acceptor { promised, vote: (ballot, value) }, state, out);
                toy.learner_ids().for_each(|to| out.send(id(to), Msg::P2b(ballot, value)));
            }
            (State::Proposer { ballot, second: false, acks, best }, Msg::P1b(of, voted, value))
                if of == ballot =>
            {
                let bit = 1 << (at(src) - toy.proposers);
                if acks & bit != 0 {
                    return;
                }
                let (acks, best) = (acks | bit, best.max((voted, value)));
                let enough = toy.majority() - u32::from(toy.fault == Fault::QuorumMinusOne);
                if acks.count_ones() < enough {
                    *state.to_mut() = State::Proposer { ballot, second: false, acks, best };
                    return;
                }
                let own = best.0 == 0 || toy.fault == Fault::OwnValue;
                let value = if own { self.me + 1 } else { best.1 };
                *state.to_mut() = State::Proposer { ballot, second: true, acks: 0, best: (0, value) };
                toy.acceptor_ids().for_each(|to| out.send(id(to), Msg::P2a(ballot, value)));
            }
            (State::Learner { votes }, Msg::P2b(ballot, _)) => {
                let bit = 1 << (u64::from(at(src) - toy.proposers) * 8 + u64::from(ballot));
                if votes & bit == 0 {
                    *state.to_mut() = State::Learner { votes: votes | bit };
                }
            }
            _ => {}
        }
    }

    fn on_timeout(&self, _: Id, state: &mut Cow<'_, State>, (): &(), out: &mut Out<Self>) {
        let toy = self.toy;
        if let State::Proposer { ballot, .. } = **state {
            let ballot = ballot + toy.proposers;
            *state.to_mut() = State::Proposer { ballot, second: false, acks: 0, best: (0, 0) };
            toy.acceptor_ids().for_each(|to| out.send(id(to), Msg::P1a(ballot)));
            if ballot + toy.proposers <= toy.proposers * toy.rounds {
                out.set_timer((), Duration::ZERO..Duration::ZERO);
            }
        }
    }
}

impl ToyActor {
    fn become_and_save(self, next: State, state: &mut Cow<'_, State>, out: &mut Out<Self>) {
        *state.to_mut() = next;
        if self.toy.fault != Fault::NoSave {
            out.save(next);
        }
    }
}

/// Every vote ever cast: acceptor, ballot, value; sorted.
pub(crate) type Votes = Vec<(u8, Ballot, u8)>;

impl Protocol for Toy {
    type Actor = ToyActor;
    type Ghost = Votes;

    fn actors(&self) -> Vec<ToyActor> {
        let all = self.proposers + self.acceptors + self.learners;
        (0..all).map(|me| ToyActor { toy: *self, me }).collect()
    }

    fn ghost(&self) -> Votes {
        Vec::new()
    }

    fn observe(&self, ghost: &mut Cow<'_, Votes>, step: &Step<'_, ToyActor>) {
        let (Cause::Deliver { msg: Msg::P2a(ballot, value), .. }, State::Acceptor { vote, .. }) =
            (step.cause, step.after)
        else {
            return;
        };
        if *vote == (*ballot, *value) {
            let entry = (at(step.id), *ballot, *value);
            if let Err(place) = ghost.binary_search(&entry) {
                ghost.to_mut().insert(place, entry);
            }
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("agreement", |view| chosen(view).len() <= 1),
            Property::sometimes("a value is chosen", |view| !chosen(view).is_empty()),
        ]
    }

    fn dead(&self, _: Id, state: &State, _: Id, msg: &Msg) -> bool {
        match (state, msg) {
            (State::Acceptor { promised, .. }, Msg::P1a(ballot)) => ballot <= promised,
            (State::Acceptor { promised, vote }, Msg::P2a(ballot, _)) => {
                ballot < promised || *ballot <= vote.0
            }
            (State::Proposer { ballot, second, .. }, Msg::P1b(of, ..)) => {
                of < ballot || (of == ballot && *second)
            }
            _ => false,
        }
    }

    fn eager(&self, _: Id, _: Id, msg: &Msg) -> bool {
        matches!(msg, Msg::P2b(..))
    }

    fn may_restart(&self, id: Id) -> bool {
        self.acceptor_ids().contains(&at(id))
    }

    fn classes(&self) -> Vec<Class> {
        vec![self.acceptor_ids().map(|member| vec![id(member)]).collect()]
    }

    fn split_state(&self, _: Id, state: &Hashed<State>, parts: &mut Parts<'_>) {
        match **state {
            State::Proposer { ballot, second, acks, best } => {
                parts.rest(&(ballot, second, best));
                for bit in 0..self.acceptors {
                    parts.about(id(self.proposers + bit), &(acks >> bit & 1));
                }
            }
            State::Acceptor { .. } => parts.own(state),
            State::Learner { votes } => {
                for bit in 0..self.acceptors {
                    parts.about(id(self.proposers + bit), &(votes >> (8 * bit) & 255));
                }
            }
        }
    }

    fn split_ghost(&self, ghost: &Hashed<Votes>, parts: &mut Parts<'_>) {
        for (acceptor, ballot, value) in ghost.iter() {
            parts.about(id(*acceptor), &(ballot, value));
        }
    }
}

/// Every value for which a majority voted in one ballot.
pub(crate) fn chosen(view: &View<'_, Toy>) -> Vec<u8> {
    let mut chosen: Vec<u8> = Vec::new();
    for &(_, ballot, value) in view.ghost {
        let votes = view.ghost.iter().filter(|(_, b, v)| (*b, *v) == (ballot, value)).count();
        if votes >= view.protocol.majority() as usize && !chosen.contains(&value) {
            chosen.push(value);
        }
    }
    chosen
}
