//! Exhaustive checking of any Stateright actor, and the properties of each protocol.
//!
//! A protocol is written once, as a [`stateright::actor::Actor`]. This package says what has to be true of it and
//! tries every interleaving within stated bounds:
//!
//! - [`Protocol`] is what a model file writes: the actors, a *ghost* that records history, the properties, and what
//!   the reductions may assume.
//! - [`System`] is the transition system of those actors on a network; it implements [`stateright::Model`], so the
//!   library's engines and its Explorer run on it too.
//! - [`check`] explores a system level by level and answers with a [`Verdict`] that never claims more than was done.
//! - [`live`] asks whether every fair run reaches a goal.
//! - [`walk`] takes seeded random walks through what is too large to exhaust.
//! - [`Watch`] evaluates the same properties outside of this package, on a simulated or recorded run.
//!
//! # Why not the library's own actor model
//! Stateright 0.31 hashes sets without their length, so that states which differ only in *who* holds a timer are
//! taken for one and a false invariant passes; a run cut short reports success; its counterexamples are not the
//! shortest. `tests/checker/defects.rs` reproduces each of these beside the answer given here.
//!
//! # Why a verdict can be trusted
//! A fingerprint of 64 bits stands for a state, so two states may be confused by chance: for n states with
//! probability about n²/2⁶⁵, which is 3·10⁻⁶ for ten million. Small systems are checked with whole states as keys ([`Limits::exact`]),
//! which excludes defects of hashing itself. Every reduction can be switched off in [`Setup`].

pub mod bpaxos;
mod checker;
mod client_params;
pub mod compartmentalized;
pub mod craq;
mod defaults;
pub mod epaxos;
mod fingerprint;
pub mod history;
pub mod horizontal;
pub mod linearizability;
mod liveness;
mod look;
pub mod matchmaker_caspaxos;
pub mod matchmaker_epochs;
pub mod matchmaker_fast_paxos;
pub mod matchmaker_multipaxos;
pub mod matchmaker_paxos;
pub mod mencius;
mod moments;
pub mod multipaxos;
mod network;
mod one_value;
pub mod paxos;
pub mod program_order;
mod protocol;
mod quorum_params;
mod replay;
mod replicas;
mod report;
mod script;
pub mod sequential;
mod space;
pub mod spaxos;
mod state;
mod stateright_model;
mod symmetry;
mod system;
pub mod tile_ledger;
mod transition;
pub mod unanimous_bpaxos;
pub mod unreplicated;
pub mod vanilla_mencius;
pub mod votes;
mod walk;
mod watch;

pub use checker::{Limits, Progress, check, exhaust};
pub use client_params::ClientParams;
pub use fingerprint::Hashed;
pub use liveness::{Fair, Liveness, live};
pub use look::{ActorLook, Look, MessageLook, MoveLook, PropertyLook};
pub use network::{Network, Packet};
pub use protocol::{
    Budget, Cause, CommandOf, Kind, MsgOf, Property, Protocol, RandomOf, StateOf, States, Step, StorageOf,
    TimerOf, View,
};
pub use quorum_params::QuorumParams;
pub use replay::{Lane, Path, Trace, TraceCause, TraceSend, TraceStep};
pub use report::{Reached, Report, Verdict, Why};
pub use space::Space;
pub use state::State;
pub use stateright_model::Action;
pub use symmetry::{Class, Parts};
pub use system::{Input, Move, Reductions, Setup, System, Torn};
pub use walk::{Walk, walk};
pub use watch::Watch;

use stateright::actor::Id;

/// What is wrong with a question put to this package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A path names an action that the state reached so far does not have.
    #[error(
        "step {step} of the path asks for action {index}, but only {available} are possible there; was the path recorded on another row or version?"
    )]
    NoSuchAction {
        /// Which step, counted from 1.
        step: usize,
        /// The action asked for.
        index: u16,
        /// How many there are.
        available: usize,
    },
    /// A path names an action that does nothing in the state reached so far.
    #[error(
        "step {step} of the path, action {index}, does nothing there; was the path recorded on another row or version?"
    )]
    Ignored {
        /// Which step, counted from 1.
        step: usize,
        /// The action asked for.
        index: u16,
    },
    /// A text is not a path.
    #[error("`{0}` is not a path: expected numbers separated by slashes, such as 0/3/1, the first of them 0")]
    NotAPath(String),
}

/// The logical index of an actor as an array index.
pub(crate) fn index(id: Id) -> usize {
    usize::from(id)
}
