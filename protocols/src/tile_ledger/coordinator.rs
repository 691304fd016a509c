//! The coordinator: leases tasks, takes results, commits iterations. It saves before it speaks.

use super::{Config, Msg, Mutant, Node, Task, Timer, commit_of};
use crate::faults::Faults;
use parthood_ledger::{Answer, Lease, Ledger};
use serde::{Deserialize, Serialize};
use stateright::actor::{Id, Out};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The coordinator, as configured.
#[derive(Clone, Debug)]
pub struct Coordinator<F> {
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

/// What the coordinator saves: all that it must not forget.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Books {
    /// The iteration under way; as many are committed.
    pub iteration: u32,
    /// The hash of the last commit; 0 before the first.
    pub base: u64,
    /// The tasks of the iteration under way.
    pub ledger: Ledger<u64>,
    /// The task that has two results, if there is one.
    pub diverged: Option<u64>,
}

/// The coordinator's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CoordinatorState {
    /// The books.
    pub books: Books,
    /// Workers that asked while nothing was free. They ask again after a restart.
    pub waiting: BTreeSet<Id>,
}

fn number(worker: Id) -> u64 {
    usize::from(worker) as u64
}

fn worker(number: u64) -> Id {
    Id::from(usize::try_from(number).unwrap_or(usize::MAX))
}

impl<F: Faults<Mutant>> Coordinator<F> {
    /// The first books, or the saved ones; every lease that is held gets its time anew.
    pub(super) fn start(&self, saved: Option<&Books>, out: &mut Out<Node<F>>) -> CoordinatorState {
        let fresh = || Books { iteration: 0, base: 0, ledger: self.tasks(), diverged: None };
        let books = saved.cloned().unwrap_or_else(fresh);
        for (holder, _) in books.ledger.held() {
            out.set_timer(Timer::Expire(worker(holder)), self.config.expire_after.clone());
        }
        CoordinatorState { books, waiting: BTreeSet::new() }
    }

    fn tasks(&self) -> Ledger<u64> {
        Ledger::new(0..self.config.tasks)
    }

    fn breaks(&self, rule: Mutant) -> bool {
        self.config.faults.breaks(rule)
    }

    fn is_finished(&self, books: &Books) -> bool {
        books.iteration >= self.config.iterations
    }

    pub(super) fn on_msg(&self, state: &mut CoordinatorState, src: Id, msg: Msg, out: &mut Out<Node<F>>) {
        match msg {
            Msg::Ready => {}
            Msg::Done { task, hash } => self.on_done(&mut state.books, src, &task, hash, out),
            Msg::Work(_) | Msg::Finished | Msg::Diverged { .. } => return,
        }
        state.waiting.insert(src);
        self.serve(state, out);
    }

    /// Takes the tasks of a worker for lost.
    pub(super) fn on_expire(&self, state: &mut CoordinatorState, lost: Id, out: &mut Out<Node<F>>) {
        if !self.breaks(Mutant::KeepsLostTasks) && state.books.ledger.lose(number(lost)) {
            self.save(&state.books, out);
            self.serve(state, out);
        }
    }

    /// Takes note of a result, and commits the iteration with the last one.
    fn on_done(&self, books: &mut Books, src: Id, task: &Task, hash: u64, out: &mut Out<Node<F>>) {
        let is_current = task.iteration == books.iteration || self.breaks(Mutant::AnyIteration);
        if self.is_finished(books) || !is_current {
            return;
        }
        match books.ledger.done(task.lease.task, hash) {
            Answer::Accepted => {}
            Answer::Diverged if !self.breaks(Mutant::IgnoresDivergence) && books.diverged.is_none() => {
                books.diverged = Some(task.lease.task);
            }
            Answer::Diverged | Answer::Duplicate | Answer::Unknown => return,
        }
        if books.ledger.held().all(|(holder, _)| holder != number(src)) {
            out.cancel_timer(Timer::Expire(src));
        }
        let open = books.ledger.remaining();
        if open == 0 || open == 1 && self.breaks(Mutant::CommitsEarly) {
            books.base = commit_of(books.base, books.ledger.results());
            books.iteration += 1;
            books.ledger = self.tasks();
        }
        self.save(books, out);
    }

    /// Gives everyone who waits a task, as far as there are any, or tells them that there will be none.
    fn serve(&self, state: &mut CoordinatorState, out: &mut Out<Node<F>>) {
        let CoordinatorState { books, waiting } = state;
        let before = books.clone();
        let mut answers = Vec::new();
        for waits in std::mem::take(waiting) {
            match self.answer(books, waits) {
                Some(answer) => answers.push((waits, answer)),
                None => drop(waiting.insert(waits)),
            }
        }
        if *books != before {
            self.save(books, out);
        }
        for (dst, msg) in answers {
            if matches!(msg, Msg::Work(_)) {
                out.set_timer(Timer::Expire(dst), self.config.expire_after.clone());
            }
            out.send(dst, msg);
        }
    }

    /// What to tell a worker without a task; nothing while it has to wait. Who holds a lease already gets it once more.
    fn answer(&self, books: &mut Books, src: Id) -> Option<Msg> {
        if let Some(task) = books.diverged {
            return Some(Msg::Diverged { iteration: books.iteration, task });
        }
        if self.is_finished(books) {
            return Some(Msg::Finished);
        }
        let held = books.ledger.held().find(|(holder, _)| *holder == number(src));
        let lease = held.map(|(_, lease)| lease).or_else(|| books.ledger.lease(number(src), None));
        let task = |lease| Task { iteration: books.iteration, lease, base: books.base };
        match lease {
            Some(lease) => Some(Msg::Work(task(lease))),
            None if self.breaks(Mutant::LeasesAhead) && books.iteration + 1 < self.config.iterations => {
                let base = commit_of(books.base, books.ledger.results());
                let lease = Lease { task: 0, epoch: 1 };
                Some(Msg::Work(Task { iteration: books.iteration + 1, lease, base }))
            }
            None => None,
        }
    }

    fn save(&self, books: &Books, out: &mut Out<Node<F>>) {
        if !self.breaks(Mutant::NoSave) {
            out.save(books.clone());
        }
    }
}
