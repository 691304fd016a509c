//! What every protocol with matchmakers shares, whichever actor hosts it.
//!
//! Each round has acceptors and quorums of its own, its [`Configuration`]. Before a proposer uses a round it tells the
//! matchmakers which configuration it will use there, and learns which ones were used below. So phase 1 knows whom to ask,
//! and acceptors may come and go with rounds.
//!
//! - [`Round`]: triples, so that a proposer owns the very next round too.
//! - [`Configuration`]: acceptors and their quorums, as data in messages.
//! - [`MatchmakerState`]: the log of a matchmaker, its watermark, and how they are saved.
//! - [`Matching`]: what a proposer makes of the answers of `f + 1` matchmakers.
//! - [`Epoch`]: which matchmakers serve, for as long as no others are chosen in their place; [`MatchmakerNode`] is a matchmaker
//!   that may serve in many epochs, and [`Change`] is what replaces one epoch by the next.
//!
//! These are plain data with transitions; who sends what to whom is the business of each protocol.

mod change;
mod configuration;
mod epoch;
mod matching;
mod matchmaker;
mod node;
mod round;

pub use change::{Change, Changing, Outcome};
pub use configuration::{Configuration, ConfigurationError, QUORUMS_MAX};
pub use epoch::{Ask, Epoch, EpochRule, Said};
pub use matching::{Matching, read_everywhere};
pub(crate) use matchmaker::Standing;
pub use matchmaker::{Answer, MatchmakerDelta, MatchmakerState, Rule};
pub use node::{Broken, MatchmakerNode, NodeDelta, Successor};
pub use round::Round;

/// How new a configuration is, where configurations follow each other: how many there were before it, and the round that it was
/// first announced for. Where every round has one of its own none is newer than another.
pub type Age = (u64, Round);

/// A configuration, or what a protocol announces with it, and the round that it was announced for.
pub type Matched<C = Configuration> = (Round, C);
