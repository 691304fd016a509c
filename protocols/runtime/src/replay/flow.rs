//! Which messages were sent and delivered, by sender, receiver and content.
//!
//! Messages are told apart by 64-bit hashes. Among a billion messages, a wrong delivery is mistaken for a right one with
//! a probability of 5e-11; a right one is never mistaken for a wrong one.

use super::finding::Origin;
use super::lives::SAVES_KEPT;
use stateright::actor::Id;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// The sends of one content from one actor to another.
#[derive(Debug)]
struct Sent {
    /// Number of the first send.
    first: u64,
    /// Where it was sent first.
    origin: Origin,
    delivered: u32,
    /// Delivered in another trace than it was sent in, before that or any other sent it, too.
    delivered_elsewhere: bool,
    /// Sent in another trace, too.
    also_elsewhere: bool,
    /// Sent first in a step that was forgotten.
    forgotten: bool,
}

/// The storages of an actor, counted by its starts and saves, and what it sent first since which.
#[derive(Debug, Default)]
struct Promises {
    storage: u64,
    /// Where it stored the last ones.
    stored: VecDeque<(u64, Origin)>,
    sends: VecDeque<(u64, u64)>,
}

impl Promises {
    /// Lets go what no restart can forget.
    fn trim(&mut self) {
        let oldest = self.storage.saturating_sub(SAVES_KEPT as u64);
        while self.stored.front().is_some_and(|(storage, _)| *storage < oldest) {
            self.stored.pop_front();
        }
        while self.sends.front().is_some_and(|(storage, _)| *storage < oldest) {
            self.sends.pop_front();
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Flow {
    sent: HashMap<u64, Sent, BuildHasherDefault<KeyHasher>>,
    /// Numbers of the later sends of what was sent more than once.
    later: HashMap<u64, Vec<u64>>,
    promises: HashMap<Id, Promises>,
    next: u64,
}

/// What a delivery is, by what was sent so far.
#[derive(Debug, PartialEq)]
pub(super) enum Delivery {
    /// Of the send of this number, and whether it was delivered as often as it was sent before.
    Of { number: u64, again: bool },
    /// Of a message first sent in a step that its sender forgot.
    OfForgotten(Origin),
    /// Of nothing that was sent.
    OfNothing,
}

/// Takes a message's key for its hash: it is one.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.is_empty(), "keys are numbers");
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What identifies a message.
pub(super) fn key<M: Hash>(src: Id, dst: Id, msg: &M) -> u64 {
    let mut hasher = DefaultHasher::new();
    (src, dst, msg).hash(&mut hasher);
    hasher.finish()
}

impl Sent {
    fn first(first: u64, origin: Origin) -> Self {
        Self {
            first,
            origin,
            delivered: 0,
            delivered_elsewhere: false,
            also_elsewhere: false,
            forgotten: false,
        }
    }
}

impl Flow {
    pub(super) fn was_sent(&self, key: u64) -> bool {
        self.sent.contains_key(&key)
    }

    /// The number that the next send gets.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The actor has another storage: it started or saved.
    pub(super) fn store(&mut self, id: Id, origin: Origin) {
        let promises = self.promises.entry(id).or_default();
        promises.storage += 1;
        promises.stored.push_back((promises.storage, origin));
        promises.trim();
    }

    pub(super) fn send(&mut self, src: Id, key: u64, origin: Origin) {
        let number = self.next;
        self.next += 1;
        match self.sent.entry(key) {
            Entry::Occupied(mut entry) if entry.get().forgotten => {
                *entry.get_mut() = Sent::first(number, origin);
                self.later.remove(&key);
            }
            Entry::Occupied(mut entry) => {
                entry.get_mut().also_elsewhere |= entry.get().origin.trace != origin.trace;
                return self.later.entry(key).or_default().push(number);
            }
            Entry::Vacant(entry) => drop(entry.insert(Sent::first(number, origin))),
        }
        let promises = self.promises.entry(src).or_default();
        promises.sends.push_back((promises.storage, key));
    }

    pub(super) fn deliver(&mut self, key: u64, origin: Origin) -> Delivery {
        let Some(sent) = self.sent.get_mut(&key) else { return Delivery::OfNothing };
        if sent.forgotten {
            return Delivery::OfForgotten(sent.origin);
        }
        let later = self.later.get(&key).map_or(&[][..], Vec::as_slice);
        let before = sent.delivered as usize;
        sent.delivered = sent.delivered.saturating_add(1);
        sent.delivered_elsewhere |= sent.origin.trace != origin.trace && !sent.also_elsewhere;
        let again = before > later.len();
        // Which of several equal messages arrived, nobody can tell: the oldest that has not.
        let number = match before.min(later.len()) {
            0 => sent.first,
            place => later[place - 1],
        };
        Delivery::Of { number, again }
    }

    /// The actor forgets every storage after the given one, and what was sent first since then: by itself, or, if it
    /// restarts in another trace, by anyone in the trace that it stored the next one in. Returns where someone was told
    /// of it. `trace` is where it restarts.
    ///
    /// A process releases nothing that comes after a save before the save is durable, whichever of its actors saves and
    /// whichever sends. If it was killed, the save that is lost says so of all the process sent from there on.
    pub(super) fn forget(&mut self, id: Id, storage: u64, trace: usize) -> Option<Origin> {
        let promises = self.promises.entry(id).or_default();
        let lost = promises.stored.iter().find(|(number, _)| *number > storage).map(|(_, origin)| *origin);
        promises.stored.clear();
        let sends = std::mem::take(&mut promises.sends);
        let lost = lost?;
        if lost.trace != trace {
            return self.forget_process(lost);
        }
        let mut told = None;
        for (since, key) in sends {
            let Some(sent) = self.sent.get_mut(&key).filter(|_| since > storage) else { continue };
            if sent.delivered > 0 {
                told = told.or(Some(sent.origin));
            }
            sent.forgotten = true;
        }
        told
    }

    /// A process forgets all it sent first in its trace from this line on. Returns the first line of which it told
    /// someone outside.
    fn forget_process(&mut self, lost: Origin) -> Option<Origin> {
        let mut told: Option<Origin> = None;
        let since = |sent: &&mut Sent| sent.origin.trace == lost.trace && sent.origin.line >= lost.line;
        for sent in self.sent.values_mut().filter(since) {
            if sent.delivered_elsewhere && told.is_none_or(|told| sent.origin.line < told.line) {
                told = Some(sent.origin);
            }
            sent.forgotten = !sent.also_elsewhere;
        }
        told
    }
}
