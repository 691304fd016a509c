//! A simulated node: an actor that is up or down, its disk, its timers and choices, and the queue before its server.

use super::rng::nanos;
use crate::{Event, Host};
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// What a node did since the run began or [`super::Sim::reset_stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStats {
    /// Steps of its actor, starts included.
    pub steps: u64,
    /// Messages it handled, without those from itself and from the application.
    pub received: u64,
    /// Messages it released, without those to itself and to the application.
    pub sent: u64,
    /// Messages it sent to itself.
    pub to_self: u64,
    /// Steps that saved.
    pub saves: u64,
    /// Crashes.
    pub crashes: u64,
    /// The most events that waited for its server at once.
    pub queue_max: usize,
    /// How long its server was busy.
    pub busy: Duration,
}

/// An event that waits for the server.
pub(crate) enum Work<A: Actor> {
    Message { src: Id, msg: A::Msg },
    Timer { timer: A::Timer, set: u64 },
    Choice { key: String, made: u64 },
}

/// The sends of a step, waiting for their step to be done and their saves to be durable.
pub(crate) struct Outgoing<A: Actor> {
    /// When the step is done, in nanoseconds.
    pub(crate) at: u64,
    /// How many saves of this life must be durable before.
    pub(crate) after: u64,
    pub(crate) sends: Vec<(Id, A::Msg)>,
}

pub(crate) struct Node<A: Actor<State: 'static>> {
    /// The actor itself while the node is down.
    resting: Option<A>,
    /// The actor's life while the node is up.
    pub(crate) host: Option<Host<A>>,
    /// Counts lives: what was meant for an earlier one is void.
    pub(crate) life: u64,
    pub(crate) paused: bool,
    /// When the server is free again, in nanoseconds.
    pub(crate) free_at: u64,
    pub(crate) queue: VecDeque<Work<A>>,
    /// Set timers, by the number of their setting. Only looked up, never iterated.
    pub(crate) timers: HashMap<A::Timer, u64>,
    /// Offered choices, by the number of their offer.
    pub(crate) choices: BTreeMap<String, (u64, Vec<A::Random>)>,
    pub(crate) durable: Option<A::Storage>,
    /// Saves that are on their way to the disk, in order.
    pub(crate) unsynced: VecDeque<A::Storage>,
    /// When the last of them is durable, in nanoseconds.
    pub(crate) disk_free_at: u64,
    /// Saves of this life, and how many of them are durable.
    pub(crate) saved: u64,
    pub(crate) synced: u64,
    pub(crate) outgoing: VecDeque<Outgoing<A>>,
    pub(crate) stats: NodeStats,
}

impl<A: Actor<State: 'static>> Node<A> {
    pub(crate) fn new(actor: A) -> Self {
        Self {
            resting: Some(actor),
            host: None,
            life: 0,
            paused: false,
            free_at: 0,
            queue: VecDeque::new(),
            timers: HashMap::new(),
            choices: BTreeMap::new(),
            durable: None,
            unsynced: VecDeque::new(),
            disk_free_at: 0,
            saved: 0,
            synced: 0,
            outgoing: VecDeque::new(),
            stats: NodeStats::default(),
        }
    }

    /// The actor, if the node is down; whoever takes it starts a life.
    pub(crate) fn take_resting(&mut self) -> Option<A> {
        self.resting.take()
    }

    /// Loses everything but what is durable; false if the node was down already.
    pub(crate) fn crash(&mut self) -> bool {
        let Some(host) = self.host.take() else { return false };
        self.resting = Some(host.into_actor());
        self.life += 1;
        self.paused = false;
        (self.free_at, self.disk_free_at) = (0, 0);
        (self.saved, self.synced) = (0, 0);
        self.queue.clear();
        self.timers.clear();
        self.choices.clear();
        self.unsynced.clear();
        self.outgoing.clear();
        self.stats.crashes += 1;
        true
    }

    /// True if the server can take up the next event.
    pub(crate) fn is_ready(&self, now: u64) -> bool {
        self.host.is_some() && !self.paused && self.free_at <= now
    }

    pub(crate) fn enqueue(&mut self, work: Work<A>) {
        self.queue.push_back(work);
        self.stats.queue_max = self.stats.queue_max.max(self.queue.len());
    }

    /// The event that a piece of work stands for, unless it was cancelled or replaced meanwhile. `pick` chooses an index
    /// below a number.
    pub(crate) fn event(&mut self, work: Work<A>, pick: impl FnOnce(usize) -> usize) -> Option<Event<A>> {
        match work {
            Work::Message { src, msg } => Some(Event::Deliver { src, msg }),
            Work::Timer { timer, set } => {
                if self.timers.get(&timer) != Some(&set) {
                    return None;
                }
                self.timers.remove(&timer);
                Some(Event::Timeout(timer))
            }
            Work::Choice { key, made } => {
                if self.choices.get(&key)?.0 != made {
                    return None;
                }
                let (_, mut choices) = self.choices.remove(&key)?;
                let index = pick(choices.len());
                Some(Event::Random(choices.swap_remove(index)))
            }
        }
    }

    /// One more save is durable.
    pub(crate) fn sync_one(&mut self) {
        if let Some(storage) = self.unsynced.pop_front() {
            self.durable = Some(storage);
            self.synced += 1;
        }
    }

    /// The next sends that may leave now.
    pub(crate) fn next_released(&mut self, now: u64) -> Option<Outgoing<A>> {
        let first = self.outgoing.front()?;
        let may_leave = first.after <= self.synced && first.at <= now;
        if may_leave { self.outgoing.pop_front() } else { None }
    }

    pub(crate) fn work_for(&mut self, service: Duration, now: u64) {
        self.free_at = now.saturating_add(nanos(service));
        self.stats.busy += service;
    }
}
