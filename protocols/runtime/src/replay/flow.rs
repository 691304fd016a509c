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
    /// Delivered in another trace than it was sent in.
    delivered_elsewhere: bool,
    /// Sent first in a step that its actor forgot.
    forgotten: bool,
}

/// The storages of an actor, counted by its starts and saves, and what it sent first since which.
#[derive(Debug, Default)]
struct Promises {
    storage: u64,
    sends: VecDeque<(u64, u64)>,
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
        Self { first, origin, delivered: 0, delivered_elsewhere: false, forgotten: false }
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
    pub(super) fn store(&mut self, id: Id) {
        self.promises.entry(id).or_default().storage += 1;
    }

    pub(super) fn send(&mut self, src: Id, key: u64, origin: Origin) {
        let number = self.next;
        self.next += 1;
        match self.sent.entry(key) {
            Entry::Occupied(mut entry) if entry.get().forgotten => {
                *entry.get_mut() = Sent::first(number, origin);
                self.later.remove(&key);
            }
            Entry::Occupied(_) => return self.later.entry(key).or_default().push(number),
            Entry::Vacant(entry) => drop(entry.insert(Sent::first(number, origin))),
        }
        let promises = self.promises.entry(src).or_default();
        promises.sends.push_back((promises.storage, key));
        let oldest = promises.storage.saturating_sub(SAVES_KEPT as u64);
        while promises.sends.front().is_some_and(|(storage, _)| *storage < oldest) {
            promises.sends.pop_front();
        }
    }

    pub(super) fn deliver(&mut self, key: u64, origin: Origin) -> Delivery {
        let Some(sent) = self.sent.get_mut(&key) else { return Delivery::OfNothing };
        if sent.forgotten {
            return Delivery::OfForgotten(sent.origin);
        }
        let later = self.later.get(&key).map_or(&[][..], Vec::as_slice);
        let before = sent.delivered as usize;
        sent.delivered = sent.delivered.saturating_add(1);
        sent.delivered_elsewhere |= sent.origin.trace != origin.trace;
        let again = before > later.len();
        // Which of several equal messages arrived, nobody can tell: the oldest that has not.
        let number = match before.min(later.len()) {
            0 => sent.first,
            place => later[place - 1],
        };
        Delivery::Of { number, again }
    }

    /// The actor forgets every storage after the given one, and what it sent first since then. Returns where it told
    /// someone of it. `trace` is where it restarts.
    pub(super) fn forget(&mut self, id: Id, storage: u64, trace: usize) -> Option<Origin> {
        let sends = std::mem::take(&mut self.promises.entry(id).or_default().sends);
        let mut told = None;
        for (since, key) in sends {
            let Some(sent) = self.sent.get_mut(&key) else { continue };
            if since <= storage {
                continue;
            }
            let counts =
                if sent.origin.trace == trace { sent.delivered > 0 } else { sent.delivered_elsewhere };
            if counts {
                told = told.or(Some(sent.origin));
            }
            sent.forgotten = true;
        }
        told
    }
}
