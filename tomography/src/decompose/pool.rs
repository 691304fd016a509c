//! Tasks for workers, over any back end: rank 0 leases, the others work.
//!
//! A message is a kind, a task, an epoch, and a payload. The coordinator gives each worker one task at a time, a wish of
//! the assignment first, and keys every result by its task: order of arrival, repetition and loss of workers leave no
//! trace in what [`Pool::run`] returns.

use crate::comm::{Comm, Event};
use crate::{Error, Result};
use parthood_ledger::{Answer, Lease, Ledger};
use std::collections::{BTreeMap, BTreeSet};

const WORK: u8 = 0;
const DONE: u8 = 1;
const FAILED: u8 = 2;
const STOP: u8 = 3;
const HEAD: usize = 13;

fn frame(kind: u8, lease: Lease, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + payload.len());
    bytes.push(kind);
    bytes.extend(lease.task.to_le_bytes());
    bytes.extend(lease.epoch.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn unframe(bytes: &[u8], rank: usize) -> Result<(u8, Lease, &[u8])> {
    let (head, payload) = bytes.split_at_checked(HEAD).ok_or(Error::Message { rank, what: "too short" })?;
    let (mut task, mut epoch) = ([0; 8], [0; 4]);
    task.copy_from_slice(&head[1..9]);
    epoch.copy_from_slice(&head[9..]);
    Ok((head[0], Lease { task: u64::from_le_bytes(task), epoch: u32::from_le_bytes(epoch) }, payload))
}

/// Does tasks until the coordinator says stop or is gone: `work(payload)` gives the result.
///
/// # Errors
/// [`Error::Message`] for a message that is none of a coordinator's. An error of `work` is sent to the coordinator, which
/// stops the run.
pub fn serve<C: Comm>(comm: &mut C, mut work: impl FnMut(&[u8]) -> Result<Vec<u8>>) -> Result<()> {
    loop {
        let bytes = match comm.recv(0) {
            Ok(bytes) => bytes,
            Err(Error::Lost { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let (kind, lease, payload) = unframe(&bytes, 0)?;
        let answer = match kind {
            STOP => return Ok(()),
            WORK => match work(payload) {
                Ok(result) => frame(DONE, lease, &result),
                Err(error) => frame(FAILED, lease, error.to_string().as_bytes()),
            },
            _ => return Err(Error::Message { rank: 0, what: "an unknown kind" }),
        };
        if comm.send(0, answer).is_err() {
            return Ok(());
        }
    }
}

/// The coordinator's side: workers that are there, and those with something to do.
#[derive(Debug)]
pub struct Pool<C: Comm> {
    comm: C,
    alive: BTreeSet<usize>,
    busy: BTreeSet<usize>,
    /// How many tasks have a name.
    named: u64,
    #[cfg(test)]
    mutant: Option<Mutant>,
}

/// Coordinators that rely on what a back end does not promise.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutant {
    /// A result is of the task that its worker was given last, whatever it says.
    ByWorker,
    /// Tasks of every round have the same names.
    NamesAgain,
    /// Whoever is lost has said all it has to say.
    LostAreSilent,
}

impl<C: Comm> Pool<C> {
    /// The coordinator of all other ranks. It must be rank 0.
    ///
    /// # Errors
    /// [`Error::Parameter`] on another rank.
    pub fn new(comm: C) -> Result<Self> {
        if comm.rank() != 0 {
            return Err(Error::parameter("rank of a coordinator", comm.rank(), "0"));
        }
        let alive = (1..comm.size()).collect();
        Ok(Self {
            comm,
            alive,
            busy: BTreeSet::new(),
            named: 0,
            #[cfg(test)]
            mutant: None,
        })
    }

    /// Has all tasks done and returns their results in the order of the tasks. `wish(worker, turn)` is the index of the
    /// task that a worker should do as its `turn`-th, if it is free; the results do not depend on it.
    ///
    /// # Errors
    /// [`Error::NoWorkers`] if all are lost, [`Error::Diverged`] if a task had two results, [`Error::Task`] if a worker
    /// reports an error.
    pub fn run(
        &mut self,
        tasks: &[Vec<u8>],
        wish: &dyn Fn(usize, usize) -> Option<usize>,
    ) -> Result<Vec<Vec<u8>>> {
        // A task is named once and for all, so that a late result of an earlier round is none of this one's.
        let first = self.named;
        #[cfg(test)]
        let first = if self.mutant == Some(Mutant::NamesAgain) { 0 } else { first };
        self.named += tasks.len() as u64;
        let mut ledger = Ledger::new(first..first + tasks.len() as u64);
        let mut turns: BTreeMap<usize, usize> = BTreeMap::new();
        let mut results = BTreeMap::new();
        while ledger.remaining() > 0 {
            let idle: Vec<usize> = self.alive.difference(&self.busy).copied().collect();
            for worker in idle {
                let turn = turns.entry(worker).or_default();
                let wish = wish(worker, *turn).map(|index| first + index as u64);
                let Some(lease) = ledger.lease(worker as u64, wish) else { break };
                *turn += 1;
                match self.comm.send(worker, frame(WORK, lease, &tasks[(lease.task - first) as usize])) {
                    Ok(()) => drop(self.busy.insert(worker)),
                    Err(_) => self.lose(worker, &mut ledger),
                }
            }
            if self.alive.is_empty() {
                return Err(Error::NoWorkers { tasks: ledger.remaining() });
            }
            self.take(&mut ledger, &mut results)?;
        }
        Ok(results.into_values().collect())
    }

    /// Takes the next event.
    fn take(
        &mut self,
        ledger: &mut Ledger<blake3::Hash>,
        results: &mut BTreeMap<u64, Vec<u8>>,
    ) -> Result<()> {
        let (from, bytes) = match self.comm.recv_any() {
            Ok(Event::Message { from, bytes }) => (from, bytes),
            Ok(Event::Lost { rank }) => {
                self.lose(rank, ledger);
                return Ok(());
            }
            Err(Error::Lost { .. }) => return Err(Error::NoWorkers { tasks: ledger.remaining() }),
            Err(error) => return Err(error),
        };
        self.busy.remove(&from);
        let (kind, lease, payload) = unframe(&bytes, from)?;
        let task = lease.task;
        #[cfg(test)]
        let task = self.mistaken(task, from, ledger)?;
        match kind {
            FAILED => {
                Err(Error::Task { task, rank: from, why: String::from_utf8_lossy(payload).into_owned() })
            }
            DONE => match ledger.done(task, blake3::hash(payload)) {
                Answer::Accepted => {
                    results.insert(task, payload.to_vec());
                    Ok(())
                }
                Answer::Duplicate | Answer::Unknown => Ok(()),
                Answer::Diverged => Err(Error::Diverged { task }),
            },
            _ => Err(Error::Message { rank: from, what: "an unknown kind" }),
        }
    }

    /// The task that a mutant takes a result for.
    #[cfg(test)]
    fn mistaken(&self, task: u64, from: usize, ledger: &Ledger<blake3::Hash>) -> Result<u64> {
        match self.mutant {
            Some(Mutant::ByWorker) => {
                let held = ledger.held().find(|(worker, _)| *worker == from as u64);
                Ok(held.map_or(task, |(_, lease)| lease.task))
            }
            Some(Mutant::LostAreSilent) if !self.alive.contains(&from) => {
                Err(Error::Message { rank: from, what: "of the dead" })
            }
            _ => Ok(task),
        }
    }

    fn lose(&mut self, worker: usize, ledger: &mut Ledger<blake3::Hash>) {
        self.alive.remove(&worker);
        self.busy.remove(&worker);
        ledger.lose(worker as u64);
    }
}

impl<C: Comm> Drop for Pool<C> {
    /// Tells the workers to stop. Those that are gone need not know.
    fn drop(&mut self) {
        for worker in &self.alive {
            let _ = self.comm.send(*worker, frame(STOP, Lease { task: 0, epoch: 0 }, &[]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comm::storm::Storm;
    use crate::comm::threads::run;
    use crate::testing::Mortal;

    const WORKERS: usize = 4;

    /// Three rounds of tasks, of which each asks for its number squared, by workers of which one dies after some tasks.
    fn rounds<C: Comm>(comm: C, mutant: Option<Mutant>) -> Result<Vec<Vec<u8>>> {
        let mut pool = Pool::new(comm)?;
        pool.mutant = mutant;
        let mut results = Vec::new();
        for round in 0..3_u8 {
            let tasks: Vec<Vec<u8>> = (0..7).map(|task| vec![4 * round + task]).collect();
            results.extend(pool.run(&tasks, &|_, _| None)?);
        }
        Ok(results)
    }

    /// Whether the results are those of the tasks, with a back end that is kind without a seed.
    fn is_right(mutant: Option<Mutant>, seed: Option<u64>) -> bool {
        let mut results = run(WORKERS + 1, |comm| {
            if comm.rank() > 0 {
                let left = if comm.rank() == 1 { 2 } else { usize::MAX };
                let mut comm = Mortal { comm, left };
                return serve(&mut comm, |task| Ok(vec![task[0] * task[0]])).map(|()| vec![]);
            }
            match seed {
                Some(seed) => rounds(Storm::new(comm, seed, 30), mutant),
                None => rounds(comm, mutant),
            }
        });
        let expected = (0..3_u8).flat_map(|round| (0..7).map(move |task| 4 * round + task));
        results.swap_remove(0).is_ok_and(|found| found.into_iter().eq(expected.map(|task| vec![task * task])))
    }

    /// The storm does what it is for: what it must not break holds in it, and what relies on a kind back end does not.
    #[test]
    fn a_storm_finds_who_relies_on_order_and_on_single_delivery() {
        for seed in 0..40 {
            assert!(is_right(None, Some(seed)), "seed {seed}");
        }
        for mutant in [Mutant::ByWorker, Mutant::NamesAgain, Mutant::LostAreSilent] {
            assert!(is_right(Some(mutant), None), "{mutant:?} looks right where all is kind");
            let found = (0..40).filter(|seed| !is_right(Some(mutant), Some(*seed))).count();
            assert!(found > 0, "no storm of forty finds {mutant:?}");
        }
    }

    /// Rank 0 has two tasks done by a worker that behaves as `answer` says: the frames it sends for a lease.
    fn two_tasks(answer: fn(Lease) -> Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        let mut results = run(2, |mut comm| {
            if comm.rank() == 0 {
                return Pool::new(comm)?.run(&[vec![1], vec![2]], &|_, _| None);
            }
            while let Ok(bytes) = comm.recv(0) {
                let (kind, lease, _) = unframe(&bytes, 0)?;
                if kind == STOP || answer(lease).into_iter().any(|frame| comm.send(0, frame).is_err()) {
                    break;
                }
            }
            Ok(vec![])
        });
        results.swap_remove(0)
    }

    #[test]
    fn results_are_in_the_order_of_tasks_and_repetition_is_harmless() {
        let twice = |lease: Lease| vec![frame(DONE, lease, &[lease.task as u8]); 2];
        assert_eq!(two_tasks(twice), Ok(vec![vec![0], vec![1]]));
    }

    #[test]
    fn two_results_of_one_task_stop_the_run() {
        let answer = |lease: Lease| vec![frame(DONE, lease, &[1]), frame(DONE, lease, &[2])];
        assert_eq!(two_tasks(answer), Err(Error::Diverged { task: 0 }));
    }

    #[test]
    fn an_error_at_a_worker_and_an_unreadable_message_stop_the_run() {
        let failed = two_tasks(|lease| vec![frame(FAILED, lease, b"no memory")]);
        assert_eq!(failed, Err(Error::Task { task: 0, rank: 1, why: "no memory".to_owned() }));
        assert!(matches!(two_tasks(|_| vec![vec![1, 2, 3]]), Err(Error::Message { rank: 1, .. })));
        assert!(matches!(
            two_tasks(|lease| vec![frame(77, lease, &[])]),
            Err(Error::Message { rank: 1, .. })
        ));
    }
}
