//! Protocols and tomography taken apart, each part checked against its whole, and run for real.
//!
//! This is the facade: everything that a user of the library needs, in one place. Begin with the [`guide`], which writes an
//! actor, checks it, breaks it, explores, simulates and runs it. `README.md` says what the program does, `ARCHITECTURE.md` why it is
//! built this way, `COMPARE.md` how it stands beside others.
//!
//! # Protocols
//! The same name in every layer: the actors, what is claimed of them, and how they are deployed.
//!
//! | protocol | actors | claims | deployed |
//! |---|---|---|---|
//! | one server, no fault tolerance | [`unreplicated`](protocols::unreplicated) | [claims](models::unreplicated) | [`Unreplicated`](deploy::Unreplicated) |
//! | one value chosen once | [`paxos`](protocols::paxos) | [claims](models::paxos) | [`Paxos`](deploy::Paxos) |
//! | a replicated log, coupled servers | [`multipaxos`](protocols::multipaxos) | [claims](models::multipaxos) | [`MultiPaxos`](deploy::MultiPaxos) |
//! | the same in parts, reads without the leader | [`compartmentalized`](protocols::compartmentalized) | [claims](models::compartmentalized) | [`Compartmentalized`](deploy::Compartmentalized) |
//! | several leaders at work at once | [`mencius`](protocols::mencius) | [claims](models::mencius) | [`Mencius`](deploy::Mencius) |
//! | Mencius as first proposed | [`vanilla_mencius`](protocols::vanilla_mencius) | [claims](models::vanilla_mencius) | |
//! | the log orders names of batches | [`spaxos`](protocols::spaxos) | [claims](models::spaxos) | [`Spaxos`](deploy::Spaxos) |
//! | a chain with reads at every node | [`craq`](protocols::craq) | [claims](models::craq) | [`Craq`](deploy::Craq) |
//! | a replicated graph, out of modules | [`bpaxos`](protocols::bpaxos) | [claims](models::bpaxos) | [`Bpaxos`](deploy::Bpaxos) |
//! | the same, chosen in one round trip where all agree | [`unanimous_bpaxos`](protocols::unanimous_bpaxos) | [claims](models::unanimous_bpaxos) | [`UnanimousBpaxos`](deploy::UnanimousBpaxos) |
//! | every server leads, votes and executes | [`epaxos`](protocols::epaxos) | [claims](models::epaxos) | [`Epaxos`](deploy::Epaxos) |
//! | one value, other acceptors in every round | [`matchmaker_paxos`](protocols::matchmaker_paxos) | [claims](models::matchmaker_paxos) | [`MatchmakerPaxos`](deploy::MatchmakerPaxos) |
//! | a register without a log | [`matchmaker_caspaxos`](protocols::matchmaker_caspaxos) | [claims](models::matchmaker_caspaxos) | |
//! | one value in two message delays by `f + 1` acceptors | [`matchmaker_fast_paxos`](protocols::matchmaker_fast_paxos) | [claims](models::matchmaker_fast_paxos) | [`MatchmakerFastPaxos`](deploy::MatchmakerFastPaxos) |
//! | how matchmakers are replaced | [`matchmaker_epochs`](protocols::matchmaker_epochs) | [claims](models::matchmaker_epochs) | |
//! | a log whose acceptors are exchanged without a pause | [`matchmaker_multipaxos`](protocols::matchmaker_multipaxos) | [claims](models::matchmaker_multipaxos) | [`MatchmakerMultiPaxos`](deploy::MatchmakerMultiPaxos) |
//! | a log that says which acceptors decide it | [`horizontal`](protocols::horizontal) | [claims](models::horizontal) | [`Horizontal`](deploy::Horizontal) |
//! | tasks of a reconstruction at workers | [`tile_ledger`](protocols::tile_ledger) | [claims](models::tile_ledger) | by `tomo run --ledger` |
//!
//! # Packages
//! Each can be used alone.
//!
//! | package | here | for |
//! |---|---|---|
//! | `parthood-protocols` | [`protocols`] | the actors, state machines, client table, log, graph |
//! | `parthood-quorums` | [`quorum_systems`] | read-write quorum systems: analysis, strategies with proofs, search |
//! | `parthood-runtime` | [`runtime`] | any actor over UDP, in a seeded simulator, or from a recorded trace |
//! | `parthood-models` | [`models`] | exhaustive checking of any actor; the properties of each protocol |
//! | `parthood-tomography` | [`tomography`] | volumes from tilt series, whole or by parts |
//!
//! What spans them is here: the claims and their check ([`manifest`], [`check`](mod@check), [`registry`]), drawings ([`draw`]), a page
//! to walk through states ([`explorer`]), clusters and their clients ([`deploy`]), loads ([`bench`](mod@bench)), storms
//! ([`simulate`]), the papers' figures ([`figures`]), and the command line ([`cli`], [`commands`]). The library whose traits all
//! actors and models implement is [`stateright`].

// The code of the guide is as a reader writes it.
extern crate self as parthood;

pub use parthood_models as models;
pub use parthood_protocols as protocols;
pub use parthood_quorums as quorum_systems;
pub use parthood_runtime as runtime;
pub use parthood_tomography as tomography;
pub use stateright;

pub mod bench;
mod chart;
pub mod check;
pub mod cli;
pub mod commands;
pub mod deploy;
pub mod draw;
mod error;
pub mod explorer;
pub mod figures;
mod files;
pub mod guide;
pub mod logging;
pub mod manifest;
pub mod registry;
pub mod retrace;
pub mod settings;
pub mod simulate;
pub mod verdicts;
pub mod watching;

pub use error::{Error, Status};
