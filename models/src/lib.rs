//! Exhaustive checking of any Stateright actor, and the properties of each protocol.
