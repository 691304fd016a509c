//! What other threads may do with a running driver.

use super::socket::Waker;
use super::{Counters, Standing, Told};
use stateright::actor::Id;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Faults that a driver injects, for tests. Without any it works as well as it can.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// The probability that a datagram is not sent.
    pub drop: f64,
    /// The probability that a datagram is sent twice.
    pub duplicate: f64,
    /// Actors elsewhere that are neither heard nor answered.
    pub cut: BTreeSet<Id>,
    /// Is everything outside the process neither heard nor answered?
    pub isolated: bool,
}

impl Faults {
    /// Is the link to this actor outside the process cut?
    pub(super) fn cuts(&self, id: Id) -> bool {
        self.isolated || self.cut.contains(&id)
    }
}

/// What a driver lets other threads see, as of the end of one of its turns.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// When that was; none before the first time.
    pub at: Option<Instant>,
    /// What it has done.
    pub counters: Counters,
    /// What waits in it.
    pub queues: Queues,
    /// How the nodes stand that it hosts, if it can tell.
    pub standings: BTreeMap<u64, Standing>,
    /// What other nodes have said last, if it asks them.
    pub told: BTreeMap<u64, Told>,
}

/// What waits in a driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Messages between actors of the process.
    pub local: usize,
    /// Messages to the application.
    pub outbox: usize,
    /// Timers that are set.
    pub timers: usize,
}

/// Stops, wakes and disturbs a driver, and reads its counters, from any thread. As long as it lives the driver's port is taken.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waker: Waker,
    /// Is a wake-up pending? Spares further system calls.
    woken: AtomicBool,
    stop: AtomicBool,
    faults: Mutex<Faults>,
    /// Changes with `faults`.
    version: AtomicU64,
    view: Mutex<View>,
}

impl Handle {
    pub(super) fn new(waker: Waker) -> Self {
        Self(Arc::new(Shared {
            waker,
            woken: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            faults: Mutex::default(),
            version: AtomicU64::new(0),
            view: Mutex::default(),
        }))
    }

    /// Ends [`Driver::run`](super::Driver::run) after the current turn.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Was the driver told to stop?
    pub fn is_stopping(&self) -> bool {
        self.0.stop.load(Ordering::Acquire)
    }

    /// Ends the wait of the current turn, or of the next one.
    pub fn wake(&self) {
        if !self.0.woken.swap(true, Ordering::AcqRel) {
            self.0.waker.wake();
        }
    }

    /// Injects these faults from the next turn on, instead of those before.
    pub fn set_faults(&self, faults: Faults) {
        *lock(&self.0.faults) = faults;
        self.0.version.fetch_add(1, Ordering::Release);
        self.wake();
    }

    /// The driver's counters, as of less than about a tenth of a second of activity ago.
    pub fn counters(&self) -> Counters {
        lock(&self.0.view).counters.clone()
    }

    /// The driver as of less than about a tenth of a second of activity ago, or a second if it has nothing to do.
    pub fn view(&self) -> View {
        lock(&self.0.view).clone()
    }

    pub(super) fn publish(&self, view: View) {
        *lock(&self.0.view) = view;
    }

    /// The faults, if they have changed since `version`, which is brought up to date.
    pub(super) fn changed_faults(&self, version: &mut u64) -> Option<Faults> {
        let current = self.0.version.load(Ordering::Acquire);
        (std::mem::replace(version, current) != current).then(|| lock(&self.0.faults).clone())
    }

    /// Was the driver woken since the last call?
    pub(super) fn take_wake_up(&self) -> bool {
        self.0.woken.swap(false, Ordering::AcqRel)
    }

    /// Is this datagram a wake-up? Then it has been taken.
    pub(super) fn is_wake_up(&self, from: SocketAddr, datagram: &[u8]) -> bool {
        let is_wake_up = self.0.waker.is_wake_up(from, datagram);
        if is_wake_up {
            self.take_wake_up();
        }
        is_wake_up
    }
}

/// What the locks guard is replaced as a whole, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
