//! A seeded simulator for any actor: a whole system in one thread, in virtual time, with everything going wrong.
//!
//! **Deterministic.** Events happen in the order of their virtual times, and of their creation where times are equal.
//! All randomness comes from one seed ([`Settings::seed`]). Two runs of the same actors with the same settings, faults
//! and injections are equal, and so are their traces, byte for byte. Time is counted in nanoseconds, because the cost of
//! a message is a few microseconds; a trace has microseconds.
//!
//! **Messages** take a time, get lost, get duplicated and overtake each other ([`Network`]); links can be cut one way or
//! both.
//!
//! **Storage.** A save is durable some time after its step ([`Settings::sync`]), and sends wait for it: those of the
//! step, and those of later steps, which may speak of what is not durable yet. A crash in between loses the save and the
//! sends together, so that it looks like lost messages, never like a forgotten promise. [`Release::BeforeSync`] breaks
//! this on purpose.
//!
//! **Costs.** Each node is one server with a queue in the order of arrival. Handling takes the time of its messages
//! ([`Cost`]) and of a caller's function ([`Sim::set_work`]). A step happens at the beginning of its service, its saves
//! and sends leave at the end. All costs are zero unless set; then nothing ever waits.

mod cost;
mod network;
mod node;
mod rng;
mod schedule;
mod settings;
mod step;
#[cfg(test)]
mod tests;

use crate::{Error, LOCAL_APPLICATION, Notice, Observer, Wants};
use cost::Meter;
use network::Links;
use node::Node;
use rng::nanos;
use stateright::actor::{Actor, Id};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fmt;
use std::time::Duration;

pub use cost::{Cost, Work};
pub use network::{Network, Traffic};
pub use node::NodeStats;
pub use rng::Span;
pub(crate) use rng::{Purpose, Rng};
pub use schedule::{Budget, Fault, Schedule, into, out_of, partition};
pub use settings::{Limits, Release, Settings};

/// Why a run returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The caller's condition became true.
    Done,
    /// Virtual time reached the deadline.
    Deadline,
    /// Nothing is left that could ever happen.
    Quiet,
    /// The run used up [`Limits::events`].
    Events,
}

/// A message that a node sent to the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<M> {
    /// When it was released.
    pub at: Duration,
    /// The node that sent it.
    pub src: Id,
    /// Its content.
    pub msg: M,
}

/// A simulated system.
pub struct Sim<A: Actor<State: 'static>, O: Observer<A> = ()> {
    settings: Settings,
    network: Network,
    nodes: Vec<Node<A>>,
    links: Links,
    now: u64,
    /// Numbers events, timer settings and offers.
    next: u64,
    events: u64,
    pending: BinaryHeap<Reverse<Pending<A>>>,
    traffic: Traffic,
    outbox: Vec<Reply<A::Msg>>,
    outbox_lost: u64,
    rngs: Rngs,
    /// The caller's observer and the meter of the caller's costs.
    observer: (O, Meter<A>),
    wants: Wants,
    longest: Option<Longest<A>>,
}

/// The most bytes a message may have, and how many one has.
type Longest<A> = (usize, fn(&<A as Actor>::Msg) -> usize);

/// One generator for each purpose.
struct Rngs {
    network: Rng,
    timers: Rng,
    choices: Rng,
    storage: Rng,
}

/// An event and its time.
struct Pending<A: Actor> {
    at: u64,
    number: u64,
    what: What<A>,
}

enum What<A: Actor> {
    Arrive {
        src: Id,
        dst: usize,
        msg: A::Msg,
    },
    Timer {
        node: usize,
        life: u64,
        timer: A::Timer,
        set: u64,
    },
    Choice {
        node: usize,
        life: u64,
        key: String,
        made: u64,
    },
    /// The oldest save of this life that is not durable becomes so.
    Synced {
        node: usize,
        life: u64,
    },
    /// The server has finished a step.
    Ready {
        node: usize,
        life: u64,
    },
    Fault(Box<Fault>),
}

impl<A: Actor<State: 'static>, O: Observer<A>> Sim<A, O> {
    /// A system of these actors, by index, all of them started at time zero with nothing saved.
    ///
    /// # Errors
    ///
    /// If the settings make no sense.
    pub fn new(actors: Vec<A>, settings: Settings, observer: O) -> Result<Self, Error> {
        settings.check()?;
        let rng = |purpose| Rng::new(settings.seed, purpose);
        let observer = (observer, Meter::default());
        let mut sim = Self {
            network: settings.network,
            links: Links::new(actors.len()),
            now: 0,
            next: 0,
            events: 0,
            pending: BinaryHeap::new(),
            traffic: Traffic::default(),
            outbox: Vec::new(),
            outbox_lost: 0,
            rngs: Rngs {
                network: rng(Purpose::Network),
                timers: rng(Purpose::Timers),
                choices: rng(Purpose::Choices),
                storage: rng(Purpose::Storage),
            },
            nodes: actors.into_iter().map(Node::new).collect(),
            wants: observer.wants(),
            observer,
            settings,
            longest: None,
        };
        (0..sim.nodes.len()).for_each(|node| sim.start(node));
        Ok(sim)
    }

    /// Adds a cost to each step from now on.
    pub fn set_work(&mut self, work: Work<A>) {
        self.observer.1.work = Some(work);
        self.wants = self.observer.wants();
    }

    /// Drops messages between nodes that are longer than `limit`, by this measure, and counts them
    /// ([`Traffic::too_long`]), as a network of datagrams does; those on their way, too. Without it no message is too long.
    pub fn set_longest(&mut self, limit: usize, measure: fn(&A::Msg) -> usize) {
        self.longest = Some((limit, measure));
        let before = self.pending.len();
        self.pending.retain(|Reverse(pending)| match &pending.what {
            What::Arrive { src, dst, msg } => {
                [*dst, LOCAL_APPLICATION].contains(&usize::from(*src)) || measure(msg) <= limit
            }
            _ => true,
        });
        self.traffic.too_long += (before - self.pending.len()) as u64;
    }

    /// Has faults happen at their times, or now if their time has passed.
    ///
    /// # Errors
    ///
    /// If a fault names a node that does not exist or a network that makes no sense; then none happens.
    pub fn schedule(&mut self, schedule: &Schedule) -> Result<(), Error> {
        for (_, fault) in schedule.faults() {
            settings::check_fault(fault, self.nodes.len())?;
        }
        for (at, fault) in schedule.faults() {
            self.push(nanos(*at), What::Fault(Box::new(fault.clone())));
        }
        Ok(())
    }

    /// Has a fault happen now.
    ///
    /// # Errors
    ///
    /// As [`Sim::schedule`].
    pub fn apply(&mut self, fault: &Fault) -> Result<(), Error> {
        settings::check_fault(fault, self.nodes.len())?;
        self.fault(fault);
        Ok(())
    }

    /// Hands a message of the application to a node; it arrives before virtual time goes on, if the node is up.
    pub fn inject(&mut self, dst: Id, msg: A::Msg) {
        let dst = usize::from(dst);
        if dst < self.nodes.len() {
            self.push(self.now, What::Arrive { src: Id::from(LOCAL_APPLICATION), dst, msg });
        } else {
            self.traffic.unroutable += 1;
        }
    }

    /// Takes out what was sent to the application since the last call.
    pub fn take_outbox(&mut self) -> Vec<Reply<A::Msg>> {
        std::mem::take(&mut self.outbox)
    }

    /// Runs until virtual time reaches `deadline`.
    pub fn run_until(&mut self, deadline: Duration) -> Stop {
        self.run_while(deadline, |_| true)
    }

    /// Runs as long as `go_on` is true, which is asked before each event, but not beyond `deadline`.
    pub fn run_while(&mut self, deadline: Duration, mut go_on: impl FnMut(&Self) -> bool) -> Stop {
        let limit = nanos(deadline);
        let stop = loop {
            if !go_on(self) {
                break Stop::Done;
            }
            let Some(Reverse(first)) = self.pending.peek() else { break Stop::Quiet };
            if first.at > limit {
                self.now = limit.max(self.now);
                break Stop::Deadline;
            }
            if self.events >= self.settings.limits.events {
                break Stop::Events;
            }
            let Some(Reverse(pending)) = self.pending.pop() else { break Stop::Quiet };
            assert!(pending.at >= self.now, "virtual time never goes back");
            self.now = pending.at;
            self.events += 1;
            self.happen(pending.what);
        };
        self.observer.on_commit();
        stop
    }

    /// The virtual time.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The state of an actor that is up.
    pub fn state(&self, id: Id) -> Option<&A::State> {
        Some(self.nodes.get(usize::from(id))?.host.as_ref()?.state())
    }

    /// What an actor would find again after a crash now.
    pub fn durable(&self, id: Id) -> Option<&A::Storage> {
        self.nodes.get(usize::from(id))?.durable.as_ref()
    }

    /// What each node did.
    pub fn stats(&self) -> impl ExactSizeIterator<Item = &NodeStats> {
        self.nodes.iter().map(|node| &node.stats)
    }

    /// What became of the messages.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Messages to the application that were lost because nobody took the earlier ones out.
    pub fn outbox_lost(&self) -> u64 {
        self.outbox_lost
    }

    /// Forgets what was counted so far: a measurement begins.
    pub fn reset_stats(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.stats = NodeStats::default());
        self.traffic = Traffic::default();
    }

    /// The observer.
    pub fn observer(&self) -> &O {
        &self.observer.0
    }

    /// Ends the run and returns the observer.
    pub fn into_observer(self) -> O {
        self.observer.0
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Has something happen at a time, or now if that has passed.
    fn push(&mut self, at: u64, what: What<A>) {
        let number = self.number();
        self.pending.push(Reverse(Pending { at: at.max(self.now), number, what }));
    }

    fn fault(&mut self, fault: &Fault) {
        match fault {
            Fault::Crash(node) => {
                if self.nodes[*node].crash() {
                    self.notice(&Notice::Crash(Id::from(*node)));
                }
            }
            Fault::Wipe(node) => {
                if self.nodes[*node].host.is_none() {
                    self.nodes[*node].durable = None;
                    self.notice(&Notice::Wipe(Id::from(*node)));
                }
            }
            Fault::Restart(node) => self.start(*node),
            Fault::Pause(node) => {
                if self.nodes[*node].host.is_some() && !self.nodes[*node].paused {
                    self.nodes[*node].paused = true;
                    self.notice(&Notice::Pause(Id::from(*node)));
                }
            }
            Fault::Resume(node) => {
                if self.nodes[*node].paused {
                    self.nodes[*node].paused = false;
                    self.notice(&Notice::Resume(Id::from(*node)));
                    self.go_on(*node);
                }
            }
            Fault::Cut(links) => {
                for (from, to) in links {
                    if self.links.cut(*from, *to) {
                        self.notice(&Notice::Cut(Id::from(*from), Id::from(*to)));
                    }
                }
            }
            Fault::Heal(links) => {
                for (from, to) in links {
                    if self.links.heal(*from, *to) {
                        self.notice(&Notice::Heal(Id::from(*from), Id::from(*to)));
                    }
                }
            }
            Fault::Network(network) => self.network = *network,
        }
    }

    fn notice(&mut self, notice: &Notice) {
        self.observer.on_notice(Duration::from_nanos(self.now), notice);
    }
}

impl<A: Actor<State: 'static>, O: Observer<A>> fmt::Debug for Sim<A, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("now", &self.now()).field("events", &self.events).finish_non_exhaustive()
    }
}

impl<A: Actor> PartialEq for Pending<A> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<A: Actor> Eq for Pending<A> {}

impl<A: Actor> PartialOrd for Pending<A> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<A: Actor> Ord for Pending<A> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
