//! A worker as the models know it: its work is a function of the task, and takes as long as a message.
//!
//! A job does between [`Msg::Work`] and [`Msg::Done`] what its files tell it, and needs no more of this protocol than
//! these two messages and [`Msg::Ready`].

use super::{Config, Msg, Node, Task, Timer, coordinator, mix};
use crate::faults::Faults;
use serde::Deserialize;
use stateright::actor::{Id, Out};
use std::sync::Arc;

/// What a worker is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// It does its tasks.
    #[default]
    Works,
    /// It dies of its first task.
    Dies,
    /// Its machine is broken: results are others.
    Errs,
}

/// A worker, as configured.
#[derive(Clone, Debug)]
pub struct Worker<F> {
    /// What all participants know.
    pub config: Arc<Config<F>>,
    /// What it is like.
    pub behaviour: Behaviour,
}

/// A worker's state; nothing of it is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkerState {
    /// It has nothing to do.
    Idle,
    /// It has done a task.
    Done {
        /// The task.
        task: Task,
        /// The hash of the result.
        hash: u64,
    },
    /// It has ended, or died.
    Ended,
}

impl WorkerState {
    /// Would the worker, in this state, do nothing about the message, now and for ever?
    pub fn ignores(&self, src: Id, msg: &Msg) -> bool {
        let is_old = |task: &Task| match self {
            Self::Idle => false,
            Self::Done { task: last, .. } => task.iteration < last.iteration || task == last,
            Self::Ended => true,
        };
        match msg {
            Msg::Work(task) => src != coordinator() || is_old(task),
            Msg::Finished | Msg::Diverged { .. } => src != coordinator() || *self == Self::Ended,
            Msg::Ready | Msg::Done { .. } => true,
        }
    }
}

impl<F: Faults<super::Mutant>> Worker<F> {
    pub(super) fn start(&self, out: &mut Out<Node<F>>) -> WorkerState {
        out.send(coordinator(), Msg::Ready);
        out.set_timer(Timer::Retry, self.config.retry_after.clone());
        WorkerState::Idle
    }

    pub(super) fn on_msg(&self, state: &mut WorkerState, msg: Msg, out: &mut Out<Node<F>>) {
        *state = match msg {
            Msg::Work(task) if self.behaviour != Behaviour::Dies => {
                let hash = result_of(&task) + u64::from(self.behaviour == Behaviour::Errs);
                out.send(coordinator(), Msg::Done { task, hash });
                WorkerState::Done { task, hash }
            }
            _ => {
                out.cancel_timer(Timer::Retry);
                WorkerState::Ended
            }
        };
    }

    pub(super) fn on_retry(&self, state: &WorkerState, out: &mut Out<Node<F>>) {
        let msg = match *state {
            WorkerState::Idle => Msg::Ready,
            WorkerState::Done { task, hash } => Msg::Done { task, hash },
            WorkerState::Ended => return,
        };
        out.send(coordinator(), msg);
        out.set_timer(Timer::Retry, self.config.retry_after.clone());
    }
}

/// The hash of a task's result, of a machine in order: it depends on the task and on what it starts from alone.
pub fn result_of(task: &Task) -> u64 {
    mix(mix(task.base, u64::from(task.iteration)), task.lease.task) >> 1
}
