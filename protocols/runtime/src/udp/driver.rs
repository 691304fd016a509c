//! The event loop.

mod telling;

use super::Builder;
use super::arrivals::{Delivery, Door};
use super::counters::Counters;
use super::handle::{Faults, Handle};
use super::kinds::Way;
use super::outgoing::{Outgoing, Undeliverable};
use super::peers::{Peers, bits_of, is_local_application};
use super::socket::Socket;
use super::strangers::Strangers;
use super::timers::Timers;
use super::watch::Watch;
use crate::sim::{Purpose, Rng};
use crate::storage::{Journal, Log, Recovery, WholeValue};
use crate::wire::{Frame, Keys, MAX_MESSAGE_LEN, Seal};
use crate::{
    Cause, CommandOf, Error, Event, Host, LOCAL_APPLICATION, Notice, Observer, Runnable, Step, Wants,
};
use foldhash::HashMap;
use stateright::actor::{Command, Id, Out};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Batches of datagrams that one turn takes at most: the more, the larger the group that shares an `fdatasync`.
const MAX_BATCHES: usize = 4;
/// Messages between actors of the process that one turn delivers at most.
const MAX_LOCAL_STEPS: usize = 4_096;
/// Messages between actors of the process that may wait.
const MAX_LOCAL: usize = 1 << 16;
/// Messages to the application that may wait until it takes them.
const MAX_OUTBOX: usize = 1 << 16;
/// Failures that do not end the driver and may wait until the caller takes them.
const MAX_COMPLAINTS: usize = 64;
/// How often a process of clients lets all nodes know where it is, while it has something to say.
const GREET_EVERY: Duration = Duration::from_millis(500);
/// How old the counters that other threads see may be.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);

/// Runs the actors of one process; see the essay of this module.
pub struct Driver<A: Runnable<State: 'static, Storage: Send + 'static>, J: Journal<A::Storage> = WholeValue> {
    cluster: u64,
    seal: Seal,
    hosts: Vec<Host<A>>,
    index: HashMap<Id, usize>,
    peers: Peers,
    socket: Socket,
    outgoing: Outgoing,
    log: Option<Log<A::Storage, J>>,
    timers: Timers<A::Timer>,
    /// Messages of the current batch from other processes.
    inbox: Vec<Delivery<A>>,
    /// Messages from actors of this process and from the application.
    local: VecDeque<Delivery<A>>,
    /// Random choices that were asked for; a later one with the same host and key replaces an earlier.
    choices: VecDeque<(usize, String, A::Random)>,
    /// When the nodes were greeted last, if this is a process of clients.
    greeted: Option<Instant>,
    outbox: VecDeque<(Id, A::Msg)>,
    /// How many of `outbox` depend on nothing that is not durable.
    released: usize,
    complaints: Vec<Error>,
    strangers: Strangers,
    observer: Option<(Wants, Box<dyn Observer<A> + Send>)>,
    handle: Handle,
    faults: Faults,
    faults_version: u64,
    watch: Watch<A>,
    rng: Rng,
    seed: u64,
    started: Instant,
    now: Instant,
    /// When the wait of this turn was over.
    woken: Instant,
    published: Instant,
    counters: Counters,
}

/// What a builder has prepared.
pub(super) struct Parts<A: Runnable<State: 'static, Storage: Send + 'static>, J: Journal<A::Storage>> {
    pub(super) cluster: u64,
    pub(super) seal: Seal,
    pub(super) actors: Vec<(Id, A)>,
    pub(super) peers: Peers,
    pub(super) outgoing: Outgoing,
    pub(super) socket: Socket,
    pub(super) log: Option<Log<A::Storage, J>>,
    pub(super) handle: Handle,
    pub(super) seed: u64,
    pub(super) observer: Option<Box<dyn Observer<A> + Send>>,
    pub(super) watch: Watch<A>,
}

impl<A, J> Driver<A, J>
where
    A: Runnable<State: 'static, Storage: Send + 'static>,
    J: Journal<A::Storage>,
{
    /// Begins to put a driver together.
    pub fn builder(cluster: u64, keys: impl Into<Keys>, book: super::AddressBook) -> Builder<A, J> {
        Builder::new(cluster, keys, book)
    }

    pub(super) fn start(parts: Parts<A, J>) -> Self {
        let now = Instant::now();
        let receive_buffer = parts.socket.receive_buffer() as u64;
        let mut driver = Self {
            cluster: parts.cluster,
            seal: parts.seal,
            hosts: Vec::new(),
            index: parts.actors.iter().enumerate().map(|(host, (id, _))| (*id, host)).collect(),
            peers: parts.peers,
            socket: parts.socket,
            outgoing: parts.outgoing,
            log: parts.log,
            timers: Timers::new(),
            inbox: Vec::new(),
            local: VecDeque::new(),
            choices: VecDeque::new(),
            greeted: None,
            outbox: VecDeque::new(),
            released: 0,
            complaints: Vec::new(),
            strangers: Strangers::default(),
            observer: parts.observer.map(|o| (o.wants(), o)).filter(|(wants, _)| *wants > Wants::Nothing),
            handle: parts.handle,
            faults: Faults::default(),
            faults_version: 0,
            watch: parts.watch,
            rng: Rng::new(parts.seed, Purpose::Choices),
            seed: parts.seed,
            started: now,
            now,
            woken: now,
            published: now,
            counters: Counters { receive_buffer, ..Counters::default() },
        };
        for (id, actor) in parts.actors {
            driver.start_actor(id, actor);
        }
        driver
    }

    fn start_actor(&mut self, id: Id, actor: A) {
        let storage = self.log.as_ref().and_then(|log| log.storage(bits_of(id))).cloned();
        let mut out = Out::new();
        let host = Host::start(id, actor, &storage, &mut out);
        if let Some((_, observer)) = &mut self.observer {
            let (at, after) = (self.started.elapsed(), host.state());
            let cause = Cause::Start(storage.as_ref());
            observer.on_step(&Step { at, id, cause, before: None, after, out: &out });
        }
        self.hosts.push(host);
        self.perform(self.hosts.len() - 1, out);
    }

    /// Turns until the handle says stop. Each failure that concerns one message only is given to `report`.
    ///
    /// # Errors
    /// When the log or the socket fails. Nothing that depends on a lost save has left.
    pub fn run(&mut self, mut report: impl FnMut(Error)) -> Result<(), Error> {
        while !self.handle.is_stopping() {
            self.turn(None)?;
            self.complaints.drain(..).for_each(&mut report);
        }
        Ok(())
    }

    /// Waits for something to happen, and does all that it entails. It may return when nothing has happened: after
    /// `patience` at the latest (`None`: a second).
    ///
    /// # Errors
    /// When the log or the socket fails. Nothing that depends on a lost save has left; the driver must not be used again.
    pub fn turn(&mut self, patience: Option<Duration>) -> Result<(), Error> {
        let steps = self.counters.steps;
        self.update_faults();
        let patience = self.patience(patience);
        self.counters.turns += 1;
        self.receive(patience)?;
        self.fire_timers();
        self.step_local();
        if let Some((_, observer)) = &mut self.observer {
            observer.on_commit();
        }
        if let Some(log) = &mut self.log {
            log.commit()?;
            let room = MAX_COMPLAINTS.saturating_sub(self.complaints.len());
            self.complaints.extend(log.complaints().take(room));
        }
        self.released = self.outbox.len();
        self.converse();
        self.outgoing.release(&mut self.socket, &self.faults, &mut self.rng, &mut self.counters)?;
        self.publish(self.counters.steps > steps);
        Ok(())
    }

    /// Gives an actor of this process a message in the next turn; it comes from
    /// [`LOCAL_APPLICATION`](crate::LOCAL_APPLICATION). False when there is no such actor or too much is waiting.
    pub fn inject(&mut self, dst: Id, msg: A::Msg) -> bool {
        match self.index.get(&dst) {
            Some(&host) => self.enqueue(Delivery { host, src: Id::from(LOCAL_APPLICATION), msg }),
            None => false,
        }
    }

    /// Takes what actors have sent to [`LOCAL_APPLICATION`](crate::LOCAL_APPLICATION), with the senders. All that the
    /// messages depend on is durable.
    pub fn outbox(&mut self) -> impl Iterator<Item = (Id, A::Msg)> + '_ {
        let released = std::mem::take(&mut self.released);
        self.outbox.drain(..released)
    }

    /// Takes the failures that concerned one message only.
    pub fn complaints(&mut self) -> impl Iterator<Item = Error> + '_ {
        self.complaints.drain(..)
    }

    /// Stops, wakes and disturbs this driver from other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// What was found in the data directory, if there is one.
    pub fn recovery(&self) -> Option<&Recovery> {
        self.log.as_ref().map(Log::recovery)
    }

    /// The seed of all that this driver draws.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Where this process listens.
    pub fn local_address(&self) -> SocketAddr {
        self.socket.local()
    }

    /// The socket, for a caller that waits for other things, too: when it is readable, or [`Driver::until_turn`] is over, a turn
    /// without patience is due.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// How long until a turn is due though nothing is received; none if it never is.
    pub fn until_turn(&mut self) -> Option<Duration> {
        // What actors did at the start or in another turn may still have to be committed and released.
        if !self.local.is_empty() || !self.choices.is_empty() || self.counters.turns == 0 {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let until_timer = self.timers.next_deadline().map(|deadline| deadline.saturating_duration_since(now));
        until_timer.into_iter().chain(self.watch.patience(now)).min()
    }

    /// What this driver has done.
    pub fn counters(&self) -> Counters {
        let log = self.log.as_ref().map(Log::counters).unwrap_or_default();
        Counters { log, ..self.counters.clone() }
    }

    /// The state of a hosted actor.
    pub fn state(&self, id: Id) -> Option<&A::State> {
        self.index.get(&id).map(|&host| self.hosts[host].state())
    }

    /// Lets every later append fail as on a full disk.
    #[cfg(test)]
    pub(super) fn fill_the_disk(&mut self) {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("Linux has it");
        self.log.as_mut().expect("the test has a data directory").replace_tail(full);
    }

    /// How long a turn may wait.
    fn patience(&mut self, patience: Option<Duration>) -> Option<Duration> {
        if self.handle.take_wake_up() {
            return Some(Duration::ZERO);
        }
        patience.into_iter().chain(self.until_turn()).min()
    }

    fn receive(&mut self, mut patience: Option<Duration>) -> Result<(), Error> {
        for batch in 0..MAX_BATCHES {
            let Self { socket, seal, cluster, peers, index, faults, inbox, .. } = self;
            let Self { counters, handle, watch, strangers, complaints, .. } = self;
            let mut door = Door { peers, index, faults, inbox, watch };
            let before = counters.datagrams_in;
            let more = socket.receive(patience, |from, datagram| {
                if handle.is_wake_up(from, datagram) {
                    return;
                }
                counters.datagrams_in += 1;
                counters.bytes_in += datagram.len() as u64;
                match Frame::open(datagram, *cluster, seal) {
                    Ok(frame) => {
                        strangers.heard(from);
                        door.accept(&frame, from, counters);
                    }
                    Err(why) => {
                        counters.refuse(why);
                        complaints.extend(strangers.refused(from, why));
                    }
                }
            })?;
            counters.receive_calls += u64::from(counters.datagrams_in > before);
            counters.messages_in += inbox.len() as u64;
            self.now = Instant::now();
            self.woken = if batch == 0 { self.now } else { self.woken };
            let mut inbox = std::mem::take(&mut self.inbox);
            for Delivery { host, src, msg } in inbox.drain(..) {
                self.counters.kinds.count(&msg, Way::Received);
                self.step(host, Event::Deliver { src, msg });
            }
            self.inbox = inbox;
            if !more {
                break;
            }
            patience = Some(Duration::ZERO);
        }
        Ok(())
    }

    fn fire_timers(&mut self) {
        // Not more than are set now, as an actor may set a timer that is due at once.
        for _ in 0..self.timers.len() {
            let Some((host, timer)) = self.timers.pop_due(self.now) else { break };
            self.counters.timeouts += 1;
            self.step(host, Event::Timeout(timer));
        }
    }

    fn step_local(&mut self) {
        for _ in 0..MAX_LOCAL_STEPS {
            if let Some((host, _, random)) = self.choices.pop_front() {
                self.step(host, Event::Random(random));
            } else if let Some(Delivery { host, src, msg }) = self.local.pop_front() {
                self.counters.messages_local += 1;
                self.counters.kinds.count(&msg, Way::Local);
                self.step(host, Event::Deliver { src, msg });
            } else {
                break;
            }
        }
    }

    fn step(&mut self, host: usize, event: Event<A>) {
        self.counters.steps += 1;
        let mut out = Out::new();
        if self.observer.is_some() {
            self.step_observed(host, event, &mut out);
        } else {
            self.hosts[host].step(event, &mut out);
        }
        self.perform(host, out);
    }

    fn step_observed(&mut self, host: usize, event: Event<A>, out: &mut Out<A>) {
        let Some((wants, observer)) = &mut self.observer else { return };
        let host = &mut self.hosts[host];
        let before = (*wants == Wants::States).then(|| host.state().clone());
        let copy = match &event {
            Event::Deliver { src, msg } => Event::<A>::Deliver { src: *src, msg: msg.clone() },
            Event::Timeout(timer) => Event::Timeout(timer.clone()),
            Event::Random(random) => Event::Random(random.clone()),
        };
        host.step(event, out);
        let cause = match &copy {
            Event::Deliver { src, msg } => Cause::Deliver { src: *src, msg },
            Event::Timeout(timer) => Cause::Timeout(timer),
            Event::Random(random) => Cause::Random(random),
        };
        let at = self.started.elapsed();
        observer.on_step(&Step {
            at,
            id: host.id(),
            cause,
            before: before.as_ref(),
            after: host.state(),
            out,
        });
    }

    fn perform(&mut self, host: usize, out: Out<A>) {
        for command in out {
            self.perform_one(host, command);
        }
    }

    fn perform_one(&mut self, host: usize, command: CommandOf<A>) {
        let id = self.hosts[host].id();
        match command {
            Command::Send(dst, msg) => self.send(id, dst, msg),
            Command::SetTimer(timer, range) => {
                let deadline = self.now + self.draw(range);
                self.timers.set(host, timer, deadline);
            }
            Command::CancelTimer(timer) => self.timers.cancel(host, timer),
            Command::ChooseRandom(key, options) => {
                self.choices.retain(|(h, k, _)| (*h, k) != (host, &key));
                let taken = self.rng.index(options.len());
                if let Some(random) = options.into_iter().nth(taken) {
                    self.choices.push_back((host, key, random));
                }
            }
            Command::Save(storage) => {
                if let Some(log) = &mut self.log {
                    log.save(bits_of(id), storage);
                }
            }
        }
    }

    fn send(&mut self, src: Id, dst: Id, msg: A::Msg) {
        if let Some(&host) = self.index.get(&dst) {
            self.enqueue(Delivery { host, src, msg });
        } else if is_local_application(dst) {
            if self.outbox.len() < MAX_OUTBOX {
                self.outbox.push_back((src, msg));
            } else {
                self.counters.outbox_overflows += 1;
            }
        } else if self.faults.cuts(dst) {
            self.counters.injected_drops += 1;
        } else if let Some(to) = self.peers.locate(dst) {
            self.greet(src);
            match self.outgoing.push(to, src, dst, &msg) {
                Ok(()) => self.counters.kinds.count(&msg, Way::Sent),
                Err(Undeliverable::Full) => self.counters.send_overflows += 1,
                Err(Undeliverable::TooLong) => {
                    self.complain(Error::MessageTooLong { src, dst, limit: MAX_MESSAGE_LEN });
                }
            }
        } else {
            self.counters.unknown_destinations += 1;
        }
    }

    /// Tells all nodes where a client is: whoever answers it need not be whom it asked.
    fn greet(&mut self, src: Id) {
        let due = self.greeted.is_none_or(|last| self.now.duration_since(last) >= GREET_EVERY);
        if !due || !self.peers.is_client(src) {
            return;
        }
        self.greeted = Some(self.now);
        for node in (0..self.peers.nodes()).map(Id::from) {
            if let Some(to) = self.peers.locate(node).filter(|_| !self.faults.cuts(node)) {
                // Where a turn sends too much already, the next greeting will do.
                let _ = self.outgoing.open(to);
            }
        }
    }

    fn complain(&mut self, error: Error) {
        self.counters.oversized += 1;
        if self.complaints.len() < MAX_COMPLAINTS {
            self.complaints.push(error);
        }
    }

    fn enqueue(&mut self, delivery: Delivery<A>) -> bool {
        let fits = self.local.len() < MAX_LOCAL;
        if fits {
            self.local.push_back(delivery);
        } else {
            self.counters.local_overflows += 1;
        }
        fits
    }

    /// A duration in the range, its end excluded.
    fn draw(&mut self, range: Range<Duration>) -> Duration {
        let width = u64::try_from(range.end.saturating_sub(range.start).as_nanos()).unwrap_or(u64::MAX);
        range.start + Duration::from_nanos(self.rng.below(width))
    }

    fn update_faults(&mut self) {
        let Some(faults) = self.handle.changed_faults(&mut self.faults_version) else { return };
        let before = std::mem::replace(&mut self.faults, faults);
        let Some((_, observer)) = &mut self.observer else { return };
        let at = self.started.elapsed();
        let mut tell = |peers: &mut dyn Iterator<Item = &Id>, notice: fn(Id, Id) -> Notice| {
            for &peer in peers {
                for host in &self.hosts {
                    observer.on_notice(at, &notice(host.id(), peer));
                    observer.on_notice(at, &notice(peer, host.id()));
                }
            }
        };
        tell(&mut self.faults.cut.difference(&before.cut), Notice::Cut);
        tell(&mut before.cut.difference(&self.faults.cut), Notice::Heal);
    }
}
