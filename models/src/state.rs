//! A state of a system: everything that can influence what happens next, and the ghost.

use crate::fingerprint::{Hashed, hash_of};
use crate::network::Flight;
use crate::protocol::{MsgOf, Protocol, RandomOf, StateOf, States, StorageOf, TimerOf};
use crate::symmetry::{Classes, Parts, topic};
use stateright::actor::Id;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Random choices an actor has been offered under one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Offer<R> {
    pub(crate) actor: Id,
    pub(crate) key: String,
    pub(crate) choices: Vec<R>,
}

/// A state of a [`crate::System`].
pub struct State<P: Protocol> {
    pub(crate) actors: Vec<Hashed<StateOf<P>>>,
    pub(crate) flight: Flight<MsgOf<P>>,
    /// The timers that are set, sorted, each with its owner: who holds a timer tells states apart.
    pub(crate) timers: Vec<(Id, TimerOf<P>)>,
    /// Sorted by actor and key.
    pub(crate) offers: Vec<Offer<RandomOf<P>>>,
    /// What each actor saved last; empty once nobody can restart any more, because then nobody can read it.
    pub(crate) storage: Vec<Option<Hashed<StorageOf<P>>>>,
    /// How many restarts there were.
    pub(crate) restarts: u8,
    /// How often timers of each budget fired.
    pub(crate) fired: Vec<u8>,
    pub(crate) ghost: Hashed<P::Ghost>,
    /// Was a message collected that its receiver would not have ignored?
    pub(crate) collected_live: bool,
    pub(crate) fingerprint: u64,
}

impl<P: Protocol> State<P> {
    /// The actors' states.
    pub fn actors(&self) -> States<'_, StateOf<P>> {
        States::Shared(&self.actors)
    }

    /// History.
    pub fn ghost(&self) -> &P::Ghost {
        &self.ghost
    }

    /// The messages in flight: sender, receiver and content.
    pub fn messages(&self) -> impl Iterator<Item = (Id, Id, &MsgOf<P>)> {
        self.flight.iter().map(|packet| (packet.src, packet.dst, &packet.msg))
    }

    /// The timers that are set, each with its owner.
    pub fn timers(&self) -> impl Iterator<Item = (Id, &TimerOf<P>)> {
        self.timers.iter().map(|(owner, timer)| (*owner, timer))
    }

    /// Stands for the state in every engine. With symmetry, states that differ only in which member of a class is
    /// which have one fingerprint.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Computes the fingerprint after a change.
    pub(crate) fn seal(&mut self, protocol: &P, classes: &Classes) {
        self.fingerprint = if classes.is_empty() { self.plain() } else { self.symmetric(protocol, classes) };
    }

    /// Is there a difference besides how often something happened?
    pub(crate) fn differs_but_for_counters(&self, other: &Self) -> bool {
        self.actors != other.actors
            || self.flight != other.flight
            || self.timers != other.timers
            || self.offers != other.offers
            || self.storage != other.storage
            || self.ghost != other.ghost
    }

    fn plain(&self) -> u64 {
        hash_of(&(
            (&self.actors, &self.flight, &self.timers, &self.offers),
            (&self.storage, self.restarts, &self.fired, &self.ghost, self.collected_live),
        ))
    }

    fn symmetric(&self, protocol: &P, classes: &Classes) -> u64 {
        let mut parts = Parts::new(classes);
        for (at, state) in self.actors.iter().enumerate() {
            parts.says(Some(at.into()), topic::STATE);
            protocol.split_state(at.into(), state, &mut parts);
        }
        for (at, storage) in self.storage.iter().enumerate() {
            if let Some(storage) = storage {
                parts.says(Some(at.into()), topic::STORAGE);
                protocol.split_storage(at.into(), storage, &mut parts);
            }
        }
        for (owner, timer) in &self.timers {
            parts.says(Some(*owner), topic::TIMER);
            parts.own(timer);
        }
        for offer in &self.offers {
            parts.says(Some(offer.actor), topic::CHOICE);
            parts.own(&(&offer.key, &offer.choices));
        }
        for packet in &self.flight {
            parts.message(packet.src, packet.dst, packet.payload());
        }
        parts.says(None, topic::GHOST);
        protocol.split_ghost(&self.ghost, &mut parts);
        parts.says(None, topic::COUNTERS);
        parts.rest(&(self.restarts, &self.fired, self.collected_live));
        parts.finish()
    }
}

impl<P: Protocol> Clone for State<P> {
    fn clone(&self) -> Self {
        Self {
            actors: self.actors.clone(),
            flight: self.flight.clone(),
            timers: self.timers.clone(),
            offers: self.offers.clone(),
            storage: self.storage.clone(),
            restarts: self.restarts,
            fired: self.fired.clone(),
            ghost: self.ghost.clone(),
            collected_live: self.collected_live,
            fingerprint: self.fingerprint,
        }
    }

    fn clone_from(&mut self, source: &Self) {
        self.actors.clone_from(&source.actors);
        self.flight.clone_from(&source.flight);
        self.timers.clone_from(&source.timers);
        self.offers.clone_from(&source.offers);
        self.storage.clone_from(&source.storage);
        self.restarts = source.restarts;
        self.fired.clone_from(&source.fired);
        self.ghost.clone_from(&source.ghost);
        self.collected_live = source.collected_live;
        self.fingerprint = source.fingerprint;
    }
}

impl<P: Protocol> Hash for State<P> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.fingerprint);
    }
}

/// Compares states as they are, whatever their fingerprints.
impl<P: Protocol> PartialEq for State<P> {
    fn eq(&self, other: &Self) -> bool {
        self.actors == other.actors
            && self.flight == other.flight
            && self.timers == other.timers
            && self.offers == other.offers
            && self.storage == other.storage
            && self.restarts == other.restarts
            && self.fired == other.fired
            && self.ghost == other.ghost
            && self.collected_live == other.collected_live
    }
}

/// A state in words, one line for each actor, then what is in flight; the Explorer shows this.
impl<P: Protocol> fmt::Debug for State<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, state) in self.actors.iter().enumerate() {
            write!(f, "actor {at}: {}", P::describe_state(state))?;
            for (_, timer) in self.timers.iter().filter(|(owner, _)| *owner == at.into()) {
                write!(f, "; timer: {}", P::describe_timer(timer))?;
            }
            for offer in self.offers.iter().filter(|offer| offer.actor == at.into()) {
                let choices: Vec<_> = offer.choices.iter().map(P::describe_random).collect();
                write!(f, "; {}: one of {}", offer.key, choices.join(", "))?;
            }
            writeln!(f)?;
        }
        if self.restarts > 0 {
            writeln!(f, "restarts so far: {}", self.restarts)?;
        }
        writeln!(f, "in flight:{}", if self.flight.is_empty() { " nothing" } else { "" })?;
        for (src, dst, msg) in self.messages() {
            writeln!(f, "  {} from {} to {}", P::describe_msg(msg), usize::from(src), usize::from(dst))?;
        }
        Ok(())
    }
}
