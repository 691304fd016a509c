//! What a network may do with messages.
//!
//! The messages in flight are one sorted list. On [`Network::Duplicating`] it is a set that never shrinks: a message
//! once sent may be delivered any number of times, in any order, or never. That covers reordering, duplication and
//! loss in one relation, which makes it the network of choice for safety. The library's own duplicating network also
//! remembers the message delivered last, and so tells apart states that no property can.

use crate::fingerprint::{Hashed, hash_of};
use serde::{Deserialize, Serialize};
use stateright::actor::Id;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// What a network may do with messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Any order, each message as often as it was sent at most.
    Unordered,
    /// Any order, each message any number of times.
    #[default]
    Duplicating,
    /// For each sender and receiver, in the order of sending.
    Ordered,
}

/// A message in flight.
#[derive(Debug)]
pub struct Packet<M> {
    /// Its sender.
    pub src: Id,
    /// Its receiver.
    pub dst: Id,
    /// Its content.
    pub msg: M,
    /// The hash of the content alone.
    payload: u64,
}

/// The messages in flight, sorted by sender, receiver and content; on an ordered network by sender, receiver and age.
pub(crate) type Flight<M> = Vec<Hashed<Packet<M>>>;

impl<M: Hash> Packet<M> {
    pub(crate) fn new(src: Id, dst: Id, msg: M) -> Self {
        let payload = hash_of(&msg);
        Self { src, dst, msg, payload }
    }
}

impl<M> Packet<M> {
    pub(crate) fn payload(&self) -> u64 {
        self.payload
    }

    fn channel(&self) -> (Id, Id) {
        (self.src, self.dst)
    }
}

impl<M: Ord> Packet<M> {
    fn order(&self, other: &Self) -> Ordering {
        self.channel().cmp(&other.channel()).then_with(|| self.msg.cmp(&other.msg))
    }
}

impl<M> Hash for Packet<M> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.src, self.dst, self.payload).hash(hasher);
    }
}

impl<M: PartialEq> PartialEq for Packet<M> {
    fn eq(&self, other: &Self) -> bool {
        self.channel() == other.channel() && self.msg == other.msg
    }
}

/// Is this message in flight? Not for ordered networks.
pub(crate) fn contains<M: Ord>(flight: &Flight<M>, src: Id, dst: Id, msg: &M) -> bool {
    flight.binary_search_by(|other| other.channel().cmp(&(src, dst)).then_with(|| other.msg.cmp(msg))).is_ok()
}

impl Network {
    /// Puts a message in flight.
    pub(crate) fn insert<M: Ord>(self, flight: &mut Flight<M>, packet: Hashed<Packet<M>>) {
        if self == Self::Ordered {
            let end = flight.partition_point(|other| other.channel() <= packet.channel());
            return flight.insert(end, packet);
        }
        match flight.binary_search_by(|other| other.order(&packet)) {
            Ok(_) if self == Self::Duplicating => {}
            Ok(at) | Err(at) => flight.insert(at, packet),
        }
    }

    /// Which of the messages in flight can be delivered next; equal ones count once.
    pub(crate) fn deliverable<M: PartialEq>(self, flight: &Flight<M>) -> impl Iterator<Item = usize> + '_ {
        (0..flight.len()).filter(move |&at| {
            let Some(before) = at.checked_sub(1).map(|at| &flight[at]) else { return true };
            match self {
                Self::Duplicating => true,
                Self::Unordered => *before != flight[at],
                Self::Ordered => before.channel() != flight[at].channel(),
            }
        })
    }
}
