//! What can be wrong with a recorded run.

use stateright::actor::Id;
use std::fmt;
use std::time::Duration;

/// A line of one of the traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Which trace, by the place it was given in, from 0.
    pub trace: usize,
    /// Which line, from 1.
    pub line: u64,
}

/// The first thing that is wrong with a recorded run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it is recorded.
    pub origin: Origin,
    /// When it happened, in the time of its trace.
    pub at: Duration,
    /// To which actor.
    pub id: Id,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with a recorded step. Contents are in `Debug` form.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// There is no such actor.
    UnknownActor,
    /// The actor steps, but has not started since the run began or it crashed.
    NotStarted,
    /// The replayed actor asks for something else than the recorded one.
    Output {
        /// The command in which they differ first, from 0.
        index: usize,
        /// The recorded command; none if there were fewer.
        recorded: Option<String>,
        /// The replayed command; none if there are fewer.
        replayed: Option<String>,
    },
    /// A timer fires that is not set.
    TimerNotSet {
        /// Which one.
        timer: String,
    },
    /// A choice is taken that is not offered.
    NotOffered {
        /// What was taken.
        random: String,
    },
    /// A message is delivered that its sender never sends.
    NeverSent {
        /// The sender.
        src: Id,
        /// The content.
        msg: String,
    },
    /// A message is delivered that its sender sends only in consequence of the delivery.
    SentLater {
        /// The sender.
        src: Id,
        /// The content.
        msg: String,
    },
    /// The actor starts from a storage that is none of the last ones it saved, and not the one it started from before.
    StorageNeverSaved,
    /// The actor starts from a storage older than what it had told others.
    Forgotten {
        /// The step that told them.
        told: Origin,
    },
    /// A message is delivered that was sent in a step that its sender forgot by restarting from an older storage.
    SentByForgotten {
        /// The sender.
        src: Id,
        /// The step that sent it.
        told: Origin,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "trace {}, line {}", self.trace, self.line)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, at, id, problem } = self;
        write!(f, "{origin}, at {} us, actor {}: {problem}", at.as_micros(), usize::from(*id))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = || "nothing more".to_owned();
        match self {
            Self::UnknownActor => write!(f, "there is no such actor"),
            Self::NotStarted => write!(f, "it steps without having started"),
            Self::Output { index, recorded, replayed } => write!(
                f,
                "command {index} was {}, replayed it is {}",
                recorded.clone().unwrap_or_else(none),
                replayed.clone().unwrap_or_else(none),
            ),
            Self::TimerNotSet { timer } => write!(f, "timer {timer} fires but is not set"),
            Self::NotOffered { random } => write!(f, "choice {random} is taken but not offered"),
            Self::NeverSent { src, msg } => {
                write!(f, "it receives {msg} from actor {}, which never sends it", usize::from(*src))
            }
            Self::SentLater { src, msg } => {
                write!(f, "it receives {msg} before actor {} sends it", usize::from(*src))
            }
            Self::StorageNeverSaved => {
                write!(f, "it starts from nothing, or from a storage that is none of those it saved last")
            }
            Self::Forgotten { told } => {
                write!(f, "it starts from a storage older than what it told others at {told}")
            }
            Self::SentByForgotten { src, told } => write!(
                f,
                "it receives what actor {} sent at {told}, before it restarted from an older storage",
                usize::from(*src)
            ),
        }
    }
}
