//! Traces: what every actor of a run was given and what it asked for, one JSON object per line.
//!
//! A trace is written by any world (the simulator, a deployed process) and read by replay, by the merge of several
//! processes' traces, and by drawings. An actor can read no clock and draw no random number, so its inputs determine
//! it: the inputs are all that replay needs, and the recorded outputs are what it must find again.
//!
//! ```text
//! {"header":{"version":1,"protocol":"paxos","seed":7,"actors":["p0","a0"],"hosted":[0,1],"parameters":{}}}
//! {"step":{"at_us":0,"id":0,"cause":"start","out":[{"send":{"dst":1,"msg":"Ping"}},"save"]}}
//! {"step":{"at_us":310,"id":1,"cause":{"deliver":{"src":0,"msg":"Ping"}},"out":[]}}
//! {"notice":{"at_us":500,"notice":{"crash":0}}}
//! {"step":{"at_us":900,"id":0,"cause":{"recover":{"round":3}},"out":[]}}
//! {"end":{"steps":3}}
//! ```
//!
//! Messages, timers, choices and storages are in the JSON form that serde gives them, except that a map is an array of its
//! keys and values in turn: its keys need not be strings. What JSON cannot tell apart, such as `None` and `Some(None)`,
//! comes back changed, and replay then finds a difference.
//!
//! **A save is recorded as a fact, without its content.** The content is a function of the inputs, so replay has it
//! anyway; a digest would cost time in the size of the storage at each save, which is what storage by structural
//! sharing avoids. What is durable can differ from what was saved only after a restart, and there the line carries the
//! recovered storage in full, so that replay can tell a lost or altered one.
//!
//! **The end.** A trace that ends with an `end` line is complete. One without it stopped early: the process was killed.
//! A last line that is cut short is then expected; reading drops it and says so ([`Ending`]). Because a recorder gets
//! its lines to the operating system before the effects of their steps can be seen ([`crate::Observer::on_commit`]), a
//! killed process loses no line that matters; a loss of power may.

mod flat;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use crate::{CommandOf, Notice};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Command, Id};
use std::time::Duration;

pub use reader::{Ending, TraceReader};
pub use writer::TraceWriter;

/// The version of the format that this program writes, and the only one it reads.
pub const VERSION: u64 = 1;

/// The most bytes a line may have. Only a recovered storage can come near it.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// What a trace says about its run before the first step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Format version; [`TraceWriter::new`] sets it.
    pub version: u64,
    /// The protocol, by the name it has in every layer.
    pub protocol: String,
    /// The seed of a simulated run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Names of all actors of the system for people, by index.
    pub actors: Vec<String>,
    /// Indices of the actors whose steps this trace records. A message from an actor that no trace hosts, such as a
    /// remote client, can be delivered without a recorded send.
    pub hosted: Vec<Id>,
    /// Wall-clock time at which the trace's time is zero, in microseconds since 1970 UTC. Only used to put the steps of
    /// several processes into a natural order where causality leaves a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_unix_us: Option<u64>,
    /// Larger than that of any earlier life of the same process, whatever became of the clock in between
    /// ([`begin_life`](crate::storage::begin_life)); none if it keeps nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<u64>,
    /// Whatever else is needed to build the same actors again.
    #[serde(default)]
    pub parameters: serde_json::Value,
}

impl Header {
    /// Orders the traces of a process's lives. Without [`Header::life`], they are in order if the clock was.
    pub fn began(&self) -> Option<u64> {
        self.life.or(self.started_unix_us)
    }
}

/// One recorded step. The parameters are the message, timer, random and storage types of the actor ([`StepOf`]), or
/// JSON values for a reader that knows no protocol ([`AnyStep`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    bound(
        serialize = "M: Serialize, T: Serialize, R: Serialize, S: Serialize",
        deserialize = "M: DeserializeOwned, T: DeserializeOwned, R: DeserializeOwned, S: DeserializeOwned"
    )
)]
pub struct StepRecord<M, T, R, S> {
    /// Microseconds since the run began, rounded down.
    pub at_us: u64,
    /// The actor that stepped.
    pub id: Id,
    /// What it reacted to.
    pub cause: CauseRecord<M, T, R, S>,
    /// What it asked for, in order.
    pub out: Vec<Output<M, T, R>>,
}

/// A recorded step of the actor `A`.
pub type StepOf<A> =
    StepRecord<<A as Actor>::Msg, <A as Actor>::Timer, <A as Actor>::Random, <A as Actor>::Storage>;

/// A recorded step of any actor, its content as JSON.
pub type AnyStep = StepRecord<serde_json::Value, serde_json::Value, serde_json::Value, serde_json::Value>;

/// What a recorded step reacted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "snake_case",
    bound(
        serialize = "M: Serialize, T: Serialize, R: Serialize, S: Serialize",
        deserialize = "M: DeserializeOwned, T: DeserializeOwned, R: DeserializeOwned, S: DeserializeOwned"
    )
)]
pub enum CauseRecord<M, T, R, S> {
    /// A start with nothing saved before.
    Start,
    /// A start with what was saved and found again.
    Recover(#[serde(with = "flat")] S),
    /// A message.
    Deliver {
        /// Its sender.
        src: Id,
        /// Its content.
        #[serde(with = "flat")]
        msg: M,
    },
    /// A timer.
    Timeout(#[serde(with = "flat")] T),
    /// A random choice.
    Random(#[serde(with = "flat")] R),
}

/// What a recorded step asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "snake_case",
    bound(
        serialize = "M: Serialize, T: Serialize, R: Serialize",
        deserialize = "M: DeserializeOwned, T: DeserializeOwned, R: DeserializeOwned"
    )
)]
pub enum Output<M, T, R> {
    /// A message to send.
    Send {
        /// Its destination.
        dst: Id,
        /// Its content.
        #[serde(with = "flat")]
        msg: M,
    },
    /// A timer to set or set again.
    SetTimer {
        /// Which one.
        #[serde(with = "flat")]
        timer: T,
        /// The least time until it fires, in microseconds, rounded down.
        min_us: u64,
        /// The most time until it fires, in microseconds, rounded down.
        max_us: u64,
    },
    /// A timer to cancel.
    CancelTimer(#[serde(with = "flat")] T),
    /// A random choice to make; none of no choices.
    Choose {
        /// Which choice.
        key: String,
        /// What there is to choose from.
        #[serde(with = "flat")]
        choices: Vec<R>,
    },
    /// A save, whose content is not recorded.
    Save,
}

/// What a trace holds between its header and its end.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<L> {
    /// An actor's step.
    Step(L),
    /// Something that happened to an actor or a link.
    Notice {
        /// Microseconds since the run began, rounded down.
        at_us: u64,
        /// What happened.
        notice: Notice,
    },
}

/// A line as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line<L> {
    Header(Header),
    Step(L),
    Notice { at_us: u64, notice: Notice },
    End { steps: u64 },
}

/// Microseconds, as many as fit.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl<'a, M, T, R> Output<&'a M, &'a T, &'a R> {
    /// The recorded form of a command, borrowing its content.
    pub(crate) fn of<S>(command: &'a Command<M, T, R, S>) -> Self {
        match command {
            Command::Send(dst, msg) => Self::Send { dst: *dst, msg },
            Command::SetTimer(timer, range) => {
                Self::SetTimer { timer, min_us: micros(range.start), max_us: micros(range.end) }
            }
            Command::CancelTimer(timer) => Self::CancelTimer(timer),
            Command::ChooseRandom(key, choices) => {
                Self::Choose { key: key.clone(), choices: choices.iter().collect() }
            }
            Command::Save(_) => Self::Save,
        }
    }
}

impl<M, T, R> Output<M, T, R> {
    /// True if `command` is what was recorded. A save's content is not compared: it is not recorded.
    pub fn is<A: Actor<Msg = M, Timer = T, Random = R>>(&self, command: &CommandOf<A>) -> bool
    where
        M: PartialEq,
        T: PartialEq,
        R: PartialEq,
    {
        match (self, command) {
            (Self::Send { dst, msg }, Command::Send(to, sent)) => dst == to && msg == sent,
            (Self::SetTimer { timer, min_us, max_us }, Command::SetTimer(set, range)) => {
                timer == set && *min_us == micros(range.start) && *max_us == micros(range.end)
            }
            (Self::CancelTimer(timer), Command::CancelTimer(cancelled)) => timer == cancelled,
            (Self::Choose { key, choices }, Command::ChooseRandom(asked, offered)) => {
                key == asked && choices == offered
            }
            (Self::Save, Command::Save(_)) => true,
            _ => false,
        }
    }
}
