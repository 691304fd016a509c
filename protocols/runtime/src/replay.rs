//! Replay: a recorded run goes through the same actors again, and has to come out the same.
//!
//! Given the recorded inputs, each actor must ask for exactly what it asked for when it was recorded. That finds
//! nondeterminism, faults of the codec and the storage, and a program that is not the one that was recorded. The steps
//! of several processes are first put into one order that respects causality ([`Merge`]), so that an [`Observer`] sees
//! the states of the whole system one step after another and can evaluate on them the properties that are checked
//! exhaustively elsewhere.
//!
//! What is checked besides equal outputs:
//! - a message is delivered only after it was sent, by an actor whose trace is there; loss and duplication are allowed;
//! - only timers that are set fire, and only choices that are offered are taken;
//! - an actor restarts from a storage that it has saved;
//! - **no promise is forgotten**: what an actor had saved after the storage it restarts from was never told to anyone.
//!   This is the rule that a step's sends wait for its saves, checked from outside. What only actors of the same process
//!   were told does not count when the process as a whole is killed: they forget it together. What any of them told
//!   others since the save that was lost does count. An actor whose disk is recorded as replaced may forget everything.
//!
//! Actors may do things in traces only in these ways, so a clean replay says that the recorded world kept the rules that
//! the checked world assumes. It does not say that the recorder wrote everything down.
//!
//! Memory grows by some 60 bytes for each different message of the run.

mod finding;
mod flow;
mod lives;
mod merge;
#[cfg(test)]
mod tests;

use crate::trace::{CauseRecord, Ending, Entry, StepOf, TraceReader};
use crate::{Error, Observer, Runnable};
use lives::Lives;
use stateright::actor::Id;
use std::io::BufRead;

pub use finding::{Finding, Origin, Problem};
pub use merge::{AnyMerge, Halt, Merge, MergeOf, Placed};

/// What a replay found.
#[derive(Debug)]
pub struct Report {
    /// Steps that were replayed.
    pub steps: u64,
    /// Starts and restarts among them.
    pub starts: u64,
    /// What became of the messages.
    pub messages: Messages,
    /// How each trace ends; none where reading stopped before.
    pub endings: Vec<Option<Ending>>,
    /// The first thing that is wrong, if anything is.
    pub finding: Option<Finding>,
}

/// What became of the messages of a recorded run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    /// Sends to actors.
    pub sent: u64,
    /// Deliveries of messages whose send is recorded.
    pub delivered: u64,
    /// Those among them that came more often than they were sent.
    pub duplicates: u64,
    /// Deliveries from actors that no trace hosts. Their sends cannot be checked.
    pub unrecorded: u64,
    /// Deliveries from the application.
    pub injected: u64,
}

/// An actor as it begins a life.
#[derive(Clone, Debug)]
pub struct Beginning<A> {
    /// The actor.
    pub actor: A,
    /// Is it known to have lost its disk? Then it may start from nothing, whatever it had saved before.
    pub lost_disk: bool,
}

impl<A> From<A> for Beginning<A> {
    /// One that has not lost its disk.
    fn from(actor: A) -> Self {
        Self { actor, lost_disk: false }
    }
}

/// Replays traces of one run and shows each step to `observer`. `cast` says who begins a life in which trace (by its
/// place among `traces`) under which index; none where there is no such actor.
///
/// There may be one trace or several; if a process ran several times, its traces come in the order of its runs
/// ([`Header::began`](crate::trace::Header::began)).
///
/// # Errors
///
/// If a trace cannot be read. What is wrong with the run is no error but [`Report::finding`].
pub fn replay<A, B, O>(
    mut cast: impl FnMut(usize, Id) -> Option<Beginning<A>>,
    traces: Vec<TraceReader<B, StepOf<A>>>,
    observer: &mut O,
) -> Result<Report, Error>
where
    A: Runnable<State: 'static>,
    B: BufRead,
    O: Observer<A>,
{
    let mut merge = Merge::new(traces);
    let mut lives = Lives::new(&mut cast, observer);
    let mut starts = 0;
    let finding = loop {
        match merge.next() {
            None => break None,
            Some(Err(Halt::Unreadable(error))) => return Err(error),
            Some(Err(Halt::Impossible(finding))) => break Some(*finding),
            Some(Ok(placed)) => {
                starts += u64::from(is_start::<A>(&placed.entry));
                if let Some(finding) = lives.feed(placed, &mut merge) {
                    break Some(finding);
                }
            }
        }
    };
    let (messages, endings) = (merge.messages(), merge.endings());
    Ok(Report { steps: lives.steps(), starts, messages, endings, finding })
}

fn is_start<A: Runnable>(entry: &Entry<StepOf<A>>) -> bool {
    matches!(entry, Entry::Step(step) if matches!(step.cause, CauseRecord::Start | CauseRecord::Recover(_)))
}
