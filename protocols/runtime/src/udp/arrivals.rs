//! What comes in, as far as it may be delivered.

use super::counters::Counters;
use super::handle::Faults;
use super::peers::Peers;
use super::watch::{Watch, is_driver};
use crate::Runnable;
use crate::wire::{Frame, Parcel, Refusal};
use foldhash::HashMap;
use stateright::actor::Id;
use std::net::SocketAddr;
use std::time::Instant;

/// A message on its way to an actor of this process.
pub(super) struct Delivery<A: Runnable> {
    pub(super) host: usize,
    pub(super) src: Id,
    pub(super) msg: A::Msg,
}

/// What decides on an authenticated frame.
pub(super) struct Door<'a, A: Runnable> {
    pub(super) peers: &'a mut Peers,
    pub(super) index: &'a HashMap<Id, usize>,
    pub(super) faults: &'a Faults,
    pub(super) inbox: &'a mut Vec<Delivery<A>>,
    pub(super) watch: &'a mut Watch<A>,
}

impl<A: Runnable> Door<'_, A> {
    /// Collects the messages of a frame that may be delivered here.
    pub(super) fn accept(&mut self, frame: &Frame<'_>, from: SocketAddr, counters: &mut Counters) {
        self.peers.learn(frame.sender, frame.stamp, from);
        for parcel in frame.parcels() {
            if let Err(reason) = parcel.and_then(|parcel| self.admit(frame.sender, &parcel)) {
                counters.refuse(reason);
            }
        }
    }

    fn admit(&mut self, sender: Id, parcel: &Parcel<'_>) -> Result<(), Refusal> {
        if !self.peers.is_from(parcel.src, sender) {
            return Err(Refusal::Source);
        }
        let host = self.index.get(&parcel.dst).copied();
        if host.is_none() && !is_driver(parcel.dst) {
            return Err(Refusal::Destination);
        }
        if self.faults.cuts(parcel.src) {
            return Err(Refusal::Fault);
        }
        match host {
            Some(host) => self.inbox.push(Delivery { host, src: parcel.src, msg: parcel.message()? }),
            None => self.watch.hear(parcel, Instant::now())?,
        }
        Ok(())
    }
}
