//! The facade of Parthood: what a user of the library needs, in one place.
//!
//! The packages underneath can be used alone; this one adds what spans them: the claims and their check ([`manifest`],
//! [`check`](mod@check)), drawings ([`draw`]), and the command line ([`cli`], [`commands`]).

pub use parthood_models as models;
pub use parthood_protocols as protocols;
pub use parthood_quorums as quorum_systems;
pub use parthood_runtime as runtime;
pub use parthood_tomography as tomography;

pub mod bench;
mod chart;
pub mod check;
pub mod cli;
pub mod commands;
pub mod deploy;
pub mod draw;
mod error;
pub mod figures;
mod files;
pub mod logging;
pub mod manifest;
pub mod registry;
pub mod retrace;
pub mod settings;
pub mod simulate;
pub mod verdicts;
pub mod watching;

pub use error::{Error, Status};
