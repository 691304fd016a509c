//! What is claimed of [`parthood_protocols::tile_ledger`], and the configurations in which it is checked.
//!
//! A worker's result is a function of its task and of the commit it starts from, so what every commit has to be can be
//! computed beforehand, and the checker compares: parts equal the whole whatever the network, the workers and the timers
//! do.

use crate::{Budget, Cause, Property, Protocol, Step, View};
use parthood_ledger::Lease;
use parthood_protocols::faults::{Faults, Mutated};
use parthood_protocols::tile_ledger::{
    Behaviour, Books, Config, Coordinator, Msg, Mutant, Node, State, Task, Timer, Worker, WorkerState,
    commit_of, result_of,
};
use serde::Deserialize;
use stateright::actor::{Command, Id};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A configuration: what the bounds of a row are about.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    /// The workers, and what each is like.
    pub workers: Vec<Behaviour>,
    /// Tasks of an iteration.
    pub tasks: u64,
    /// Iterations.
    pub iterations: u32,
    /// Whether every iteration must be committed when nothing more can happen.
    #[serde(default)]
    pub ends: bool,
}

/// A coordinator and its workers in one configuration.
#[derive(Clone, Debug)]
pub struct TileLedger<F: Faults<Mutant> = Mutated<Mutant>> {
    config: Arc<Config<F>>,
    workers: Vec<Behaviour>,
    ends: bool,
    /// What each commit has to be; nothing where a worker errs.
    expected: Vec<u64>,
}

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// The commits, by iteration.
    commits: Vec<u64>,
    /// Was an iteration committed that had been committed before?
    committed_again: bool,
    /// The results that arrived while their iteration was under way: iteration, task, hash.
    results: BTreeSet<(u32, u64, u64)>,
    /// Was a task leased whose iteration starts from anything but all results of the last?
    started_early: bool,
    /// Was a task leased after two results had differed?
    went_on: bool,
}

impl TileLedger {
    /// The protocol in a configuration, with at most one rule broken.
    ///
    /// # Errors
    /// What makes no sense about the configuration, in words.
    pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Self, String> {
        let Params { workers, tasks, iterations, ends } = params;
        if workers.is_empty() || *tasks == 0 || *iterations == 0 {
            return Err("there must be at least one worker, task and iteration".into());
        }
        let at_once = Duration::ZERO..Duration::ZERO;
        let config = Config {
            tasks: *tasks,
            iterations: *iterations,
            expire_after: at_once.clone(),
            retry_after: at_once,
            faults: Mutated(mutant),
        };
        let expected = if workers.contains(&Behaviour::Errs) { vec![] } else { commits(*tasks, *iterations) };
        Ok(Self { config: Arc::new(config), workers: workers.clone(), ends: *ends, expected })
    }
}

/// The commits of one worker that does all tasks in their order.
fn commits(tasks: u64, iterations: u32) -> Vec<u64> {
    let next = |base: &mut u64, iteration| {
        let result =
            |task| (task, result_of(&Task { iteration, lease: Lease { task, epoch: 1 }, base: *base }));
        *base = commit_of(*base, (0..tasks).map(result));
        Some(*base)
    };
    (0..iterations).scan(0, next).collect()
}

impl Ghost {
    /// Do two results of a task differ?
    fn differ(&self) -> bool {
        let next = self.results.iter().skip(1);
        self.results.iter().zip(next).any(|(left, right)| (left.0, left.1) == (right.0, right.1))
    }

    /// Are all results of the iteration before this one there, and does the task start from them?
    fn is_whole_before(&self, task: &Task, tasks: u64) -> bool {
        let Some(last) = task.iteration.checked_sub(1) else { return true };
        let is_there =
            |number: u64| self.results.range((last, number, 0)..=(last, number, u64::MAX)).next().is_some();
        (0..tasks).all(is_there) && self.commits.get(last as usize) == Some(&task.base)
    }
}

const ALL: &[Property<TileLedger>] = &[
    Property::always("a slab version is committed once", |view| !view.ghost.committed_again),
    Property::always("two results of a task carry one hash, or the run stops", |view| !view.ghost.went_on),
    Property::always("no iteration starts on part of the last", |view| !view.ghost.started_early),
    Property::always("parts equal the whole", |view| {
        view.protocol.expected.is_empty()
            || view
                .ghost
                .commits
                .iter()
                .zip(&view.protocol.expected)
                .all(|(found, expected)| found == expected)
    }),
    Property::at_the_end("every iteration is committed", |view| !view.protocol.ends || is_finished(view)),
    Property::sometimes("all iterations are committed", is_finished),
    Property::sometimes("a worker is told that results differ", |view| {
        books(view).is_some_and(|books| books.diverged.is_some())
    }),
    Property::sometimes("a task is leased anew", |view| {
        books(view).is_some_and(|books| books.ledger.held().any(|(_, lease)| lease.epoch > 1))
    }),
];

fn books<'a>(view: &View<'a, TileLedger>) -> Option<&'a Books> {
    match view.states.get(0) {
        Some(State::Coordinator(state)) => Some(&state.books),
        _ => None,
    }
}

fn is_finished(view: &View<'_, TileLedger>) -> bool {
    books(view).is_some_and(|books| books.iteration == view.protocol.config.iterations)
}

impl Protocol for TileLedger {
    type Actor = Node<Mutated<Mutant>>;
    type Ghost = Ghost;

    fn actors(&self) -> Vec<Self::Actor> {
        let coordinator = Node::Coordinator(Coordinator { config: self.config.clone() });
        let worker = |behaviour: &Behaviour| {
            Node::Worker(Worker { config: self.config.clone(), behaviour: *behaviour })
        };
        std::iter::once(coordinator).chain(self.workers.iter().map(worker)).collect()
    }

    fn ghost(&self) -> Ghost {
        Ghost::default()
    }

    fn observe(&self, ghost: &mut Cow<'_, Ghost>, step: &Step<'_, Self::Actor>) {
        let (Some(State::Coordinator(before)), State::Coordinator(after)) = (step.before, step.after) else {
            return;
        };
        let (before, after) = (&before.books, &after.books);
        if let Cause::Deliver { msg: Msg::Done { task, hash }, .. } = step.cause
            && task.iteration == before.iteration
            && !ghost.results.contains(&(task.iteration, task.lease.task, *hash))
        {
            ghost.to_mut().results.insert((task.iteration, task.lease.task, *hash));
        }
        if after.iteration > before.iteration && !matches!(step.cause, Cause::Start(_)) {
            let ghost = ghost.to_mut();
            if ghost.commits.len() > before.iteration as usize {
                ghost.committed_again = true;
            } else {
                ghost.commits.push(after.base);
            }
        }
        for command in step.out {
            let Command::Send(_, Msg::Work(task)) = command else { continue };
            let went_on = ghost.differ();
            let started_early = !ghost.is_whole_before(task, self.config.tasks);
            if went_on && !ghost.went_on || started_early && !ghost.started_early {
                let ghost = ghost.to_mut();
                (ghost.went_on, ghost.started_early) =
                    (ghost.went_on || went_on, ghost.started_early || started_early);
            }
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        ALL.to_vec()
    }

    fn dead(&self, _: Id, state: &State, src: Id, msg: &Msg) -> bool {
        match state {
            State::Worker(worker) => worker.ignores(src, msg),
            State::Coordinator(_) => false,
        }
    }

    /// Timers of one kind share a budget, in this order: a living worker is taken for lost, a worker says again what it
    /// said, a dead worker is taken for lost.
    fn budget(&self, _: Id, timer: &Timer) -> Budget {
        let dies = |worker: Id| {
            let behaviour = usize::from(worker).checked_sub(1).and_then(|worker| self.workers.get(worker));
            behaviour == Some(&Behaviour::Dies)
        };
        match timer {
            Timer::Expire(worker) if dies(*worker) => Budget::Shared(2),
            Timer::Expire(_) => Budget::Shared(0),
            Timer::Retry => Budget::Shared(1),
        }
    }

    fn name(&self, id: Id) -> String {
        match usize::from(id).checked_sub(1) {
            None => "coordinator".to_owned(),
            Some(worker) => format!("worker {worker}"),
        }
    }

    fn role(&self, id: Id) -> &'static str {
        if usize::from(id) == 0 { "coordinator" } else { "worker" }
    }

    fn describe_state(state: &State) -> String {
        match state {
            State::Coordinator(state) => {
                let Books { iteration, ledger, diverged, .. } = &state.books;
                let stopped = if diverged.is_some() { ", stopped" } else { "" };
                format!("iteration {iteration}, {} tasks open{stopped}", ledger.remaining())
            }
            State::Worker(WorkerState::Idle) => "idle".to_owned(),
            State::Worker(WorkerState::Done { task, .. }) => {
                format!("has done task {} of iteration {}", task.lease.task, task.iteration)
            }
            State::Worker(WorkerState::Ended) => "ended".to_owned(),
        }
    }

    fn describe_msg(msg: &Msg) -> String {
        let named =
            |task: &Task| format!("{} of {}, lease {}", task.lease.task, task.iteration, task.lease.epoch);
        match msg {
            Msg::Work(task) => format!("Work: task {}", named(task)),
            Msg::Done { task, .. } => format!("Done: task {}", named(task)),
            other => format!("{other:?}"),
        }
    }
}
