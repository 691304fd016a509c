//! What other threads may do with a running driver.

use super::Counters;
use crate::Error;
use nix::sys::eventfd::{EfdFlags, EventFd};
use stateright::actor::Id;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Stops, wakes and disturbs a driver, and reads its counters, from any thread.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    wake: EventFd,
    /// Is a wake-up pending? Spares further system calls.
    woken: AtomicBool,
    stop: AtomicBool,
    faults: Mutex<Faults>,
    /// Changes with `faults`.
    version: AtomicU64,
    counters: Mutex<Counters>,
}

impl Handle {
    pub(super) fn new() -> Result<Self, Error> {
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|errno| Error::file("create an event at", Path::new("eventfd"))(errno.into()))?;
        Ok(Self(Arc::new(Shared {
            wake,
            woken: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            faults: Mutex::default(),
            version: AtomicU64::new(0),
            counters: Mutex::default(),
        })))
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
            // The counter of the event cannot overflow: it is written once for each time it is read.
            let _ = self.0.wake.write(1);
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
        lock(&self.0.counters).clone()
    }

    pub(super) fn publish(&self, counters: &Counters) {
        lock(&self.0.counters).clone_from(counters);
    }

    /// The faults, if they have changed since `version`, which is brought up to date.
    pub(super) fn changed_faults(&self, version: &mut u64) -> Option<Faults> {
        let current = self.0.version.load(Ordering::Acquire);
        (std::mem::replace(version, current) != current).then(|| lock(&self.0.faults).clone())
    }

    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }

    /// Takes back the wake-up that ended a wait.
    pub(super) fn sleep(&self) {
        // In this order, so that a waker in between writes again.
        self.0.woken.store(false, Ordering::Release);
        let _ = self.0.wake.read();
    }
}

/// What the locks guard is replaced as a whole, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
