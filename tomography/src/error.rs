//! What can go wrong, each with what is wrong, where, and what to do.

use std::path::PathBuf;

/// The result of this package's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong in a reconstruction.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two arrays that must agree in size do not.
    #[error("{what}: expected (planes, rows, columns) = {expected:?}, found {found:?}")]
    Shape {
        /// Which array, of which function.
        what: &'static str,
        /// The size it must have, as (planes, rows, columns).
        expected: [usize; 3],
        /// The size it has.
        found: [usize; 3],
    },
    /// A parameter is outside of its range.
    #[error("{name} is {value}; it must be {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value, as text.
        value: String,
        /// Its range, in words.
        expected: &'static str,
    },
    /// A voxel or pixel is not a number, or infinite.
    #[error(
        "{what}: the value at plane {plane}, row {row}, column {column} is {value}; mask or replace it first"
    )]
    NotFinite {
        /// Which array.
        what: &'static str,
        /// Index of its plane (z or tilt).
        plane: usize,
        /// Index of its row (y).
        row: usize,
        /// Index of its column (x).
        column: usize,
        /// The value.
        value: f32,
    },
    /// A plan that cannot be read or carried out.
    #[error("the plan is not usable: {why}")]
    Plan {
        /// Why.
        why: String,
    },
    /// A file says something that cannot be so, or that Parthood does not read.
    #[error("{}: {field} is {value}; it must be {expected}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The field, line or place in it.
        field: String,
        /// What stands there.
        value: String,
        /// What can stand there.
        expected: String,
    },
    /// A file could not be opened, read or written.
    #[error("{}: cannot {doing}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system answered.
        why: String,
    },
    /// A disk has less room than what is to be written.
    #[error(
        "{}: about {needed_mib} MiB are needed on its disk, {free_mib} MiB are free; make room, or write elsewhere",
        path.display()
    )]
    Room {
        /// The file.
        path: PathBuf,
        /// How much is to be written, in MiB.
        needed_mib: u64,
        /// How much is free, in MiB.
        free_mib: u64,
    },
    /// Another process does the same.
    #[error("{}: another process works there; wait until it ends, or write elsewhere", path.display())]
    Busy {
        /// Where it works.
        path: PathBuf,
    },
    /// A worker that others wait for is gone.
    #[error("worker {rank} is gone; start the run again, or with fewer workers")]
    Lost {
        /// Its rank.
        rank: usize,
    },
    /// MPI cannot be used.
    #[error("MPI cannot be used: {why}; see the notes of its installation, or run without it")]
    Mpi {
        /// Why.
        why: &'static str,
    },
    /// All workers are gone, and tasks remain.
    #[error("no worker is left for {tasks} unfinished tasks; start workers and run again")]
    NoWorkers {
        /// How many tasks are not done.
        tasks: usize,
    },
    /// One task was done twice with different results.
    #[error(
        "task {task} was done twice and its results differ: workers must run the same program on processors of one \
         kind, or one of them is broken"
    )]
    Diverged {
        /// The task.
        task: u64,
    },
    /// The steps of a reconstruction lead away from it.
    #[error(
        "the misfit rises for good: {loss:.3e} in iteration {iteration}, after {lowest:.3e}; the steps are too long for this \
         sample: plan with a smaller relaxation, with fewer subsets, or with gradient steps without momentum"
    )]
    Diverging {
        /// The iteration, from 1.
        iteration: usize,
        /// The lowest misfit before.
        lowest: f64,
        /// The misfit now.
        loss: f64,
    },
    /// A worker could not do its task.
    #[error("task {task} failed at worker {rank}: {why}")]
    Task {
        /// The task.
        task: u64,
        /// Who tried.
        rank: usize,
        /// Its error, as text.
        why: String,
    },
    /// A message that another worker would not have sent.
    #[error("a message from worker {rank} is not readable: {what}; all workers must run the same version")]
    Message {
        /// Who sent it.
        rank: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl Error {
    /// Whether what was given is at fault: a parameter, a plan, the content of a file, steps that do not suit
    /// a sample. Otherwise the machine is.
    pub const fn is_input(&self) -> bool {
        matches!(
            self,
            Self::Shape { .. }
                | Self::Parameter { .. }
                | Self::NotFinite { .. }
                | Self::Plan { .. }
                | Self::Content { .. }
                | Self::Diverging { .. }
        )
    }

    /// A parameter outside of its range.
    pub fn parameter(name: &'static str, value: impl std::fmt::Display, expected: &'static str) -> Self {
        Self::Parameter { name, value: value.to_string(), expected }
    }
}
