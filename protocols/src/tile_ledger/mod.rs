//! Tiles of a reconstruction: a coordinator leases tasks to workers, iteration after iteration.
//!
//! An iteration is a set of tasks, such as the slabs or the tilts of a volume, and what it makes of the volume is
//! *committed* once all of them are done. A task of the next iteration starts from the commit, which a lease names by its
//! hash. Results themselves travel elsewhere; here only their hashes do.
//!
//! # Why parts equal the whole whatever happens
//!
//! A task's result depends on the task and the commit that it starts from, and on nothing else: not on who does it, when,
//! or how often. So it does no harm that a lease ends before its worker does, that two workers do one task, or that a
//! result arrives twice or late: the first counts, and every other must be the same ([`parthood_ledger::Ledger`]). What
//! could do harm is excluded:
//!
//! - a result counts for its own iteration only, though a task has the same number in each;
//! - an iteration is committed when no task is open, and no task of the next is leased before;
//! - the coordinator saves before it speaks, so a restart neither leases anew what is committed nor commits it again;
//! - two results that differ are a fault of a machine or a program: nothing is leased any more ([`Msg::Diverged`]).
//!
//! With one worker that lives, every task ends: a lost worker's lease ends by a timer, and who waits is told.
//!
//! The coordinator's books are its storage, whole. So they may as well lie in a replicated store and be worked on by
//! whoever has a message for the coordinator, one after the other: read, handle, compare and swap. That is how jobs keep
//! them in a cluster.
//!
//! Source: the decomposition of Ren, Whittaker, Ophus, Waller (arXiv:2110.07857); the paper says nothing of who does what,
//! so this protocol is ours.

mod coordinator;
mod worker;

pub use coordinator::{Books, Coordinator, CoordinatorState};
pub use worker::{Behaviour, Worker, WorkerState, result_of};

use crate::durable::{Durable, Mismatch};
use crate::faults::{Correct, Faults};
use parthood_ledger::Lease;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Msg {
    /// Worker to coordinator: I have nothing to do.
    Ready,
    /// Coordinator to worker: do this task.
    Work(Task),
    /// Worker to coordinator: done.
    Done {
        /// The task.
        task: Task,
        /// The hash of the result.
        hash: u64,
    },
    /// Coordinator to worker: all iterations are committed.
    Finished,
    /// Coordinator to worker: two results of a task differ, and the run has stopped.
    Diverged {
        /// The iteration.
        iteration: u32,
        /// The task.
        task: u64,
    },
}

/// A task of one iteration, as it is leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Task {
    /// The iteration, from 0.
    pub iteration: u32,
    /// The task and its lease.
    pub lease: Lease,
    /// The hash of the commit that it starts from.
    pub base: u64,
}

/// What sets a participant in motion when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// The coordinator takes the tasks of a worker for lost.
    Expire(Id),
    /// A worker says again what it said last.
    Retry,
}

/// The rules that a mutant may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// The coordinator commits although one task is open.
    CommitsEarly,
    /// The coordinator leases tasks of the next iteration when none of this one is free.
    LeasesAhead,
    /// The coordinator counts a result for the current iteration, whatever iteration it is of.
    AnyIteration,
    /// The coordinator goes on when two results differ.
    IgnoresDivergence,
    /// The coordinator does not save.
    NoSave,
    /// The coordinator keeps the tasks of a lost worker leased.
    KeepsLostTasks,
}

/// What all participants know.
#[derive(Clone, Debug)]
pub struct Config<F = Correct> {
    /// Tasks of an iteration, numbered from 0.
    pub tasks: u64,
    /// How many iterations there are.
    pub iterations: u32,
    /// After how long without a result a worker is taken for lost.
    pub expire_after: Range<Duration>,
    /// After how long a worker says again what it said.
    pub retry_after: Range<Duration>,
    /// Which rules are broken.
    pub faults: F,
}

/// The coordinator's id.
pub fn coordinator() -> Id {
    Id::from(0)
}

/// The hash of a commit: that of the commit before it, and of all results in the order of tasks.
pub fn commit_of(base: u64, results: impl IntoIterator<Item = (u64, u64)>) -> u64 {
    results.into_iter().fold(base, |hash, (task, result)| mix(mix(hash, task), result))
}

/// Two numbers as one (the finaliser of `SplitMix64`).
pub(crate) fn mix(left: u64, right: u64) -> u64 {
    let sum = left.rotate_left(23).wrapping_add(right).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let sum = (sum ^ (sum >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let sum = (sum ^ (sum >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    sum ^ (sum >> 31)
}

/// A participant.
#[derive(Clone, Debug)]
pub enum Node<F = Correct> {
    /// The coordinator.
    Coordinator(Coordinator<F>),
    /// A worker.
    Worker(Worker<F>),
}

/// A participant's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The coordinator's.
    Coordinator(CoordinatorState),
    /// A worker's.
    Worker(WorkerState),
}

/// The books are small: they are written whole.
impl Durable for Books {
    type Delta = Self;

    fn delta(&self, _: Option<&Self>) -> Self {
        self.clone()
    }

    fn patched(_: Option<Self>, delta: Self) -> Result<Self, Mismatch> {
        Ok(delta)
    }
}

impl<F: Faults<Mutant>> Actor for Node<F> {
    type Msg = Msg;
    type Timer = Timer;
    type State = State;
    type Storage = Books;
    type Random = ();

    fn on_start(&self, _: Id, storage: &Option<Books>, out: &mut Out<Self>) -> State {
        match self {
            Self::Coordinator(coordinator) => State::Coordinator(coordinator.start(storage.as_ref(), out)),
            Self::Worker(worker) => State::Worker(worker.start(out)),
        }
    }

    fn on_msg(&self, _: Id, state: &mut Cow<'_, State>, src: Id, msg: Msg, out: &mut Out<Self>) {
        match (self, &**state) {
            (Self::Coordinator(coordinator), State::Coordinator(now)) => {
                let mut next = now.clone();
                coordinator.on_msg(&mut next, src, msg, out);
                if next != *now {
                    *state.to_mut() = State::Coordinator(next);
                }
            }
            (Self::Worker(worker), State::Worker(now)) if !WorkerState::ignores(now, src, &msg) => {
                let State::Worker(state) = state.to_mut() else { return };
                worker.on_msg(state, msg, out);
            }
            _ => {}
        }
    }

    fn on_timeout(&self, _: Id, state: &mut Cow<'_, State>, timer: &Timer, out: &mut Out<Self>) {
        match (self, timer) {
            (Self::Coordinator(coordinator), Timer::Expire(worker)) => {
                if let State::Coordinator(state) = state.to_mut() {
                    coordinator.on_expire(state, *worker, out);
                }
            }
            (Self::Worker(worker), Timer::Retry) => {
                if let State::Worker(state) = &**state {
                    worker.on_retry(state, out);
                }
            }
            _ => {}
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Coordinator(_) => "coordinator".into(),
            Self::Worker(_) => "worker".into(),
        }
    }
}
