//! State machine replication protocols, each one Stateright actor.
