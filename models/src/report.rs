//! What a check found out, and no more than that.

use crate::Path;
use std::fmt;

/// The answer to a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every reachable state was visited; what should hold in every state, or at the end, does.
    Holds,
    /// A property does not hold.
    Violated {
        /// Its name.
        property: &'static str,
        /// A shortest way to a state where it fails. None for a property that should hold somewhere but holds in
        /// no reachable state.
        path: Option<Path>,
    },
    /// Nothing wrong was found, but not everything was visited.
    Inconclusive(Why),
}

/// Why a check ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It reached [`crate::Limits::states`].
    States(usize),
    /// It reached [`crate::Limits::depth`].
    Depth(usize),
    /// The caller stopped it.
    Stopped,
    /// It samples, by design.
    Sampled,
}

/// What a check found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The answer.
    pub verdict: Verdict,
    /// How many different states were visited.
    pub unique: usize,
    /// How many states were generated, repetitions included.
    pub generated: u64,
    /// How many moves the state furthest from the initial one is away from it; for a violation, how many lead to it.
    pub depth: usize,
    /// In how many states nothing more could happen.
    pub ends: usize,
    /// For each property that should hold somewhere, where it was first seen to.
    pub reached: Vec<Reached>,
    /// How many different states had the fingerprint of another; counted by [`crate::Limits::exact`] only.
    pub confused: usize,
}

/// Where a property was first seen to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Its name.
    pub property: &'static str,
    /// A shortest way there, if there is one among the states visited.
    pub path: Option<Path>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds => write!(f, "holds"),
            Self::Violated { property, path: Some(path) } => {
                write!(f, "violated: {property} (after {} moves)", path.actions().len())
            }
            Self::Violated { property, path: None } => {
                write!(f, "violated: {property} (in no reachable state)")
            }
            Self::Inconclusive(why) => write!(f, "inconclusive: {why}"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::States(most) => write!(f, "stopped at the bound of {most} states"),
            Self::Depth(most) => write!(f, "not explored beyond {most} moves"),
            Self::Stopped => write!(f, "stopped on request"),
            Self::Sampled => write!(f, "sampled, not exhausted"),
        }
    }
}
