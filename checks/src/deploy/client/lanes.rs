//! The plain form of a client, for a program with a loop of its own: one thread, many commands outstanding.

use super::super::{ClientRole, Cluster, Commands, DurableJournal, KvClientMsg, Reads, Replicates};
use crate::error::Error;
use parthood_protocols::client::{ClientMsg, Returned};
use parthood_protocols::state_machine::{KeyValueCommand, KeyValueOutput};
use parthood_runtime::udp::{ClientProcess, Driver, Handle};
use parthood_runtime::{Cause, Observer, Step, Wants};
use stateright::actor::{Command, Id};
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// A client in the caller's own thread.
pub struct Lanes<D: Replicates> {
    driver: Driver<D::Actor, DurableJournal>,
    id: Id,
    pub(super) free: Vec<u32>,
    /// How much of the log each answer shows, in their order, if that is to be told.
    shown: Option<Receiver<Option<u64>>>,
}

/// Notes how much of the log answers show, in the order in which the client passes them on.
struct Shown<D> {
    slots: Sender<Option<u64>>,
    protocol: PhantomData<fn(D)>,
}

impl<D: Replicates> Observer<D::Actor> for Shown<D> {
    fn wants(&self) -> Wants {
        Wants::Steps
    }

    fn on_step(&mut self, step: &Step<'_, D::Actor>) {
        let shown = match &step.cause {
            Cause::Deliver { msg, .. } => D::shown(msg),
            _ => None,
        };
        for command in step.out {
            if let Command::Send(_, msg) = command
                && matches!(D::client_msg(msg), Some(ClientMsg::Returned { .. }))
            {
                // Nobody listens any more when the client is gone.
                let _ = self.slots.send(shown);
            }
        }
    }
}

/// Where a client begins to take turns: clients are dealt to all whom they may contact by what is random in their ids.
pub(in crate::deploy) fn turn(id: Id) -> u64 {
    usize::from(id) as u64 >> u16::BITS
}

impl<D: Replicates> Lanes<D> {
    /// A client with so many lanes. Nothing is sent before the first turn.
    ///
    /// # Errors
    /// When the key or a socket cannot be used, or the protocol does not know this way to read.
    pub fn connect(cluster: &Cluster, lanes: u32, reads: Option<Reads>) -> Result<Self, Error> {
        Self::start(cluster, lanes, reads, false)
    }

    /// The same, and it tells how much of the log answers show, where the protocol says so.
    ///
    /// # Errors
    /// As [`Lanes::connect`].
    pub fn recording(cluster: &Cluster, lanes: u32, reads: Option<Reads>) -> Result<Self, Error> {
        Self::start(cluster, lanes, reads, true)
    }

    fn start(cluster: &Cluster, lanes: u32, reads: Option<Reads>, records: bool) -> Result<Self, Error> {
        let reads = reads.unwrap_or(D::READS[0]).among(D::READS, D::NAME)?;
        let id = ClientProcess::random()?.id(0);
        let mut builder = Driver::builder(cluster.identity(), cluster.keys()?, cluster.book());
        let mut shown = None;
        if records {
            let (slots, receiver) = mpsc::channel();
            builder = builder.observer(Shown::<D> { slots, protocol: PhantomData });
            shown = Some(receiver);
        }
        let commands = Commands::Application { lanes };
        let role = ClientRole { commands, reads, turn: turn(id) };
        let driver = builder.host(id, D::client(cluster, role)).build()?;
        Ok(Self { driver, id, free: (0..lanes).rev().collect(), shown })
    }

    /// Puts a command on a free lane and returns the lane; none if all are taken.
    pub fn invoke(&mut self, command: KeyValueCommand) -> Option<u32> {
        let lane = self.free.pop()?;
        if self.driver.inject(self.id, KvClientMsg::Invoke { pseudonym: lane, command }.into()) {
            return Some(lane);
        }
        self.free.push(lane);
        None
    }

    /// Waits for something to happen, for at most `patience`, and tells which lanes are free again, why, and which slots the
    /// answer shows (all below a number), if that is recorded and known.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn turn(
        &mut self,
        patience: Duration,
        mut returned: impl FnMut(u32, Returned<KeyValueOutput>, Option<u64>),
    ) -> Result<(), Error> {
        self.driver.turn(Some(patience))?;
        let results: Vec<_> = self.driver.outbox().collect();
        for (_, msg) in results {
            let Some(ClientMsg::Returned { pseudonym: lane, result }) = D::client_msg(&msg) else {
                continue;
            };
            if *result != Returned::LaneTaken {
                self.free.push(*lane);
            }
            let shown = self.shown.as_ref().and_then(|shown| shown.try_recv().ok()).flatten();
            returned(*lane, result.clone(), shown);
        }
        self.driver.complaints().for_each(|complaint| eprintln!("parthood: {complaint}"));
        Ok(())
    }

    /// Are all lanes free?
    pub fn is_idle(&self, lanes: u32) -> bool {
        self.free.len() == lanes as usize
    }

    /// Becomes readable when a turn is due.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.driver.socket()
    }

    /// How long until a turn is due all the same, if it ever is.
    pub fn until_turn(&mut self) -> Option<Duration> {
        self.driver.until_turn()
    }

    /// Wakes a turn from other threads.
    pub fn handle(&self) -> Handle {
        self.driver.handle()
    }
}
