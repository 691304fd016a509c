//! The facade of Parthood: what a user of the library needs, in one place.

pub mod draw;
mod error;
pub mod settings;

pub use error::{Error, Status};
