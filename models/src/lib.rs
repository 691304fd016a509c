//! Exhaustive checking of any Stateright actor, and the properties of each protocol.

pub mod linearizability;
