//! Runs any Stateright actor: over UDP with durable storage, in a seeded simulator, or from a recorded trace.
//!
//! This package knows no protocol. It owns what an actor may assume of the world: that a step's `Save` is durable before
//! a `Send` of the same step leaves, that a timer fires some time after it was set, and that messages may be lost,
//! duplicated, delayed and reordered, but never forged.

mod error;
mod histogram;
mod host;
pub mod operations;
pub mod replay;
pub mod sim;
pub mod storage;
#[cfg(test)]
mod toy;
pub mod trace;
pub mod udp;
pub mod wire;

pub use error::Error;
pub use histogram::{Histogram, SharedHistogram};
pub use host::{Cause, CommandOf, Event, Host, LOCAL_APPLICATION, Notice, Observer, Runnable, Step, Wants};
