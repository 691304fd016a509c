//! The read batcher: collects reads, asks the acceptors once for all of a batch, and passes the batch to a replica.
//!
//! A batch is sealed before its question is sent: a read that joined later could have been asked for after something that
//! the answer does not know of.

use super::client::Consistency;
use super::config::{ReadScheme, Role};
use super::mutant::{Mutant, Rules};
use super::node::{Node, Part, Turn};
use super::pre_read::{PreRead, Tag};
use super::storage::Storage;
use super::{Msg, Read, Timer};
use crate::command::parts;
use crate::ids::Slot;
use crate::state_machine::StateMachine;
use im::{OrdMap, Vector};
use stateright::actor::{Id, Out};

/// A read batcher's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReadBatcherState<C: Clone> {
    /// How often it was started; saved.
    pub incarnation: u64,
    /// The number of the next batch.
    pub next: u64,
    /// Linearizable reads of the batch that is not sealed.
    pub open: Vector<Read<C>>,
    /// Other reads that wait for company.
    pub weak: Vector<Read<C>>,
    /// What the clients of these have seen.
    pub weak_below: Option<Slot>,
    /// Sealed batches that wait for their index, by number.
    pub sealed: OrdMap<u64, Batch<C>>,
}

/// A sealed batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Batch<C: Clone> {
    /// Its reads.
    pub reads: Vector<Read<C>>,
    /// The question for its index.
    pub question: PreRead,
}

impl<F: Rules> Part<F> {
    pub(super) fn start_read_batcher<M: StateMachine>(
        &self,
        storage: Option<&Storage<M>>,
        out: &mut Out<Node<M, F>>,
    ) -> ReadBatcherState<M::Command> {
        let incarnation = match storage {
            Some(Storage::ReadBatcher { incarnation }) => incarnation + 1,
            _ => 0,
        };
        if !self.config.breaks(Mutant::ReuseTagAfterRestart) {
            out.save(Storage::ReadBatcher { incarnation });
        }
        ReadBatcherState {
            incarnation,
            next: 0,
            open: Vector::new(),
            weak: Vector::new(),
            weak_below: None,
            sealed: OrdMap::new(),
        }
    }

    pub(super) fn read_batcher_ignores<M: StateMachine>(
        &self,
        state: &ReadBatcherState<M::Command>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        match msg {
            Msg::ReadRequest { read, consistency, .. } => {
                let lost = *consistency == Consistency::Linearizable && self.lost_storage;
                read.id.client_id() != src || !read.is_sound::<M>() || lost
            }
            Msg::PreReadAck { tag, .. } => {
                let batch = state.sealed.get(&tag.number);
                batch.is_none_or(|batch| !batch.question.awaits(&self.config, *tag, src))
            }
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, ReadBatcherState<M::Command>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        match msg {
            Msg::ReadRequest { read, consistency: Consistency::Linearizable, .. } => self.add(read),
            Msg::ReadRequest { read, consistency, seen } => {
                let seen = if consistency == Consistency::Eventual { Slot::ZERO } else { seen };
                self.add_weak(read, seen);
            }
            Msg::PreReadAck { tag, voted_below } => self.on_answer(src, tag, voted_below),
            _ => {}
        }
    }

    pub(super) fn on_timeout(&mut self, timer: Timer) {
        match timer {
            Timer::Batch => {
                self.seal_if(true);
                self.send_weak();
                self.start_clock();
            }
            Timer::Resend => self.on_resend_timeout(),
            _ => {}
        }
    }

    /// Adds a linearizable read to the open batch. If that is full and cannot be sealed, the read is dropped, and its client
    /// asks again.
    fn add(&mut self, read: Read<M::Command>) {
        if self.breaks(Mutant::JoinSentBatch)
            && let Some((number, mut batch)) = self.state.sealed.get_max().cloned()
        {
            batch.reads.push_back(read);
            self.state.sealed.insert(number, batch);
            return;
        }
        let first = !self.waits();
        if self.state.open.len() < self.config.limits.read_batch {
            self.state.open.push_back(read);
        }
        self.seal_if(false);
        if first {
            self.start_clock();
        }
    }

    /// Does a read wait for the clock?
    fn waits(&self) -> bool {
        let timed = self.config.read_scheme == ReadScheme::Timed;
        !self.state.weak.is_empty() || timed && !self.state.open.is_empty()
    }

    /// Sets the clock if anything waits for it. It runs from the first read on; later ones do not put it back.
    fn start_clock(&mut self) {
        if self.waits() {
            self.set_timer(Timer::Batch);
        }
    }

    /// Seals the open batch if it is time to.
    fn seal_if(&mut self, due: bool) {
        let limits = self.config.limits;
        let (open, sealed) = (self.state.open.len(), self.state.sealed.len());
        let time = match self.config.read_scheme {
            ReadScheme::Adaptive => sealed == 0,
            ReadScheme::Timed => due || open >= limits.read_batch,
        };
        if open > 0 && time && sealed < limits.pre_reads {
            self.seal();
        }
    }

    fn seal(&mut self) {
        let number = self.state.next;
        self.state.next += 1;
        let tag = Tag { series: self.state.incarnation, number };
        let question = PreRead::ask(self.config, tag, number + self.index as u64, self.out);
        let reads = std::mem::take(&mut self.state.open);
        if self.state.sealed.is_empty() {
            self.set_timer(Timer::Resend);
        }
        self.state.sealed.insert(number, Batch { reads, question });
    }

    fn on_answer(&mut self, acceptor: Id, tag: Tag, voted_below: Slot) {
        let Some(batch) = self.state.sealed.get_mut(&tag.number) else { return };
        let Some(below) = batch.question.add(self.config, acceptor, voted_below) else { return };
        if let Some(batch) = self.state.sealed.remove(&tag.number) {
            self.pass_on(batch.reads, below, tag.number);
        }
        if self.state.sealed.is_empty() {
            self.cancel_timer(Timer::Resend);
        }
        self.seal_if(false);
    }

    fn pass_on(&mut self, reads: Vector<Read<M::Command>>, below: Slot, number: u64) {
        if let Some(replica) = self.config.turn(Role::Replica, number + self.index as u64) {
            for reads in parts(reads, usize::MAX, self.config.limits.page_bytes, Read::bytes::<M>) {
                self.send(replica, Msg::Read { reads, below });
            }
        }
    }

    /// Adds a read that needs no question. A batch must show what every client in it has seen.
    fn add_weak(&mut self, read: Read<M::Command>, seen: Slot) {
        let known = self.state.weak_below.unwrap_or(seen);
        let least = self.breaks(Mutant::WeakBatchMinimum);
        self.state.weak_below = Some(if least { known.min(seen) } else { known.max(seen) });
        let first = !self.waits();
        self.state.weak.push_back(read);
        if self.state.weak.len() >= self.config.limits.read_batch {
            self.send_weak();
        }
        if first {
            self.start_clock();
        }
    }

    fn send_weak(&mut self) {
        if let Some(below) = self.state.weak_below.take() {
            let reads = std::mem::take(&mut self.state.weak);
            let number = self.state.next;
            self.state.next += 1;
            self.pass_on(reads, below, number);
        }
    }

    fn on_resend_timeout(&mut self) {
        let again = !self.breaks(Mutant::AskOnce);
        for batch in self.state.sealed.clone().values().filter(|_| again) {
            batch.question.ask_again(self.config, self.out);
        }
        if !self.state.sealed.is_empty() {
            self.set_timer(Timer::Resend);
        }
    }
}
