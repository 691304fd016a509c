//! Who does what: tasks, leases and results, without threads, clocks or messages.
//!
//! A task is free, leased, or done. A lease has an epoch that grows with each lease of its task. Done is final:
//!
//! 1. A result counts whoever brings it and of whatever epoch, since a task's result depends on the task alone.
//! 2. A second result of a task must have the first one's hash and is dropped; another hash is a fault of a machine or a
//!    program, and the run stops ([`Answer::Diverged`]).
//! 3. The tasks of a worker that is lost become free.
//!
//! So re-execution after a loss, late results of a worker thought lost, and deliveries that repeat do no harm.
//!
//! A package of its own, since two others have nothing else in common: workers of one process run it as it stands, and
//! the actor that is model-checked and kept by a cluster (`tile_ledger`) adds messages, iterations and restarts.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A permission to do a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// The task.
    pub task: u64,
    /// The how-manieth lease of this task.
    pub epoch: u32,
}

/// What became of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The first of its task: keep it.
    Accepted,
    /// The task was done already, with the same result: drop it.
    Duplicate,
    /// The task was done already, with another result: stop.
    Diverged,
    /// No such task in this round: drop it.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum State<H> {
    Free,
    Leased(u64),
    Done(H),
}

/// The tasks of one round. `H` is the hash of a result.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ledger<H> {
    tasks: BTreeMap<u64, (State<H>, u32)>,
}

impl<H: Copy + Eq> Ledger<H> {
    /// A round of tasks, all free.
    pub fn new(tasks: impl IntoIterator<Item = u64>) -> Self {
        Self { tasks: tasks.into_iter().map(|task| (task, (State::Free, 0))).collect() }
    }

    /// Leases a task to a worker: `wish` if it is free, else the first free one.
    pub fn lease(&mut self, worker: u64, wish: Option<u64>) -> Option<Lease> {
        let is_free = |task: &u64| self.tasks.get(task).is_some_and(|(state, _)| *state == State::Free);
        let task = wish.filter(is_free).or_else(|| self.tasks.keys().copied().find(is_free))?;
        let (state, epoch) = self.tasks.get_mut(&task)?;
        (*state, *epoch) = (State::Leased(worker), epoch.saturating_add(1));
        Some(Lease { task, epoch: *epoch })
    }

    /// The leases that are held, in the order of tasks, and by whom.
    pub fn held(&self) -> impl Iterator<Item = (u64, Lease)> {
        self.tasks.iter().filter_map(|(task, (state, epoch))| match state {
            State::Leased(worker) => Some((*worker, Lease { task: *task, epoch: *epoch })),
            State::Free | State::Done(_) => None,
        })
    }

    /// Takes note of a result.
    pub fn done(&mut self, task: u64, hash: H) -> Answer {
        let Some((state, _)) = self.tasks.get_mut(&task) else { return Answer::Unknown };
        match *state {
            State::Done(first) if first == hash => Answer::Duplicate,
            State::Done(_) => Answer::Diverged,
            State::Free | State::Leased(_) => {
                *state = State::Done(hash);
                Answer::Accepted
            }
        }
    }

    /// The result of each task that has one, in the order of tasks.
    pub fn results(&self) -> impl Iterator<Item = (u64, H)> {
        self.tasks.iter().filter_map(|(task, (state, _))| match state {
            State::Done(hash) => Some((*task, *hash)),
            State::Free | State::Leased(_) => None,
        })
    }

    /// Frees the tasks of a lost worker; whether it had any.
    pub fn lose(&mut self, worker: u64) -> bool {
        let mut had = false;
        for (state, _) in self.tasks.values_mut() {
            if *state == State::Leased(worker) {
                *state = State::Free;
                had = true;
            }
        }
        had
    }

    /// How many tasks are not done.
    pub fn remaining(&self) -> usize {
        self.tasks.values().filter(|(state, _)| !matches!(state, State::Done(_))).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn done_is_final_and_has_one_hash() {
        let mut ledger = Ledger::new([1, 2]);
        let first = ledger.lease(0, Some(2)).unwrap();
        assert_eq!(first, Lease { task: 2, epoch: 1 });
        assert_eq!(ledger.held().collect::<Vec<_>>(), [(0, first)]);
        assert!(ledger.lose(0) && !ledger.lose(0));
        assert_eq!(ledger.lease(1, Some(2)), Some(Lease { task: 2, epoch: 2 }));
        assert_eq!(ledger.done(2, 'a'), Answer::Accepted, "late, of the lost worker's epoch, and as good");
        assert_eq!(ledger.done(2, 'a'), Answer::Duplicate);
        assert_eq!(ledger.done(2, 'b'), Answer::Diverged);
        assert_eq!(ledger.done(3, 'a'), Answer::Unknown);
        assert!(!ledger.lose(1), "losing a worker does not undo what is done");
        assert_eq!((ledger.remaining(), ledger.results().collect()), (1, vec![(2, 'a')]));
        assert_eq!(
            ledger.lease(1, Some(2)),
            Some(Lease { task: 1, epoch: 1 }),
            "a wish for what is done is not met"
        );
        assert_eq!(ledger.lease(1, None), None);
    }
}
