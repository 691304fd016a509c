//! The entries themselves: for each protocol its names, its manifest, and how a row becomes a model.

use super::Protocol;

/// All protocols, in the order in which a reader should meet them.
pub const PROTOCOLS: &[Protocol] = &[];
