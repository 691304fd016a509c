//! What is claimed of [`parthood_protocols::epaxos`], and the configurations in which it is checked.
//!
//! It is the actor of [`parthood_protocols::bpaxos`] with a part of every role on each server and with a fast path, so what is
//! claimed of that is claimed here too: by the same properties, of votes in pairs of rounds. Of what is chosen in one round
//! trip the ghost knows by votes alone, as of everything else.
//!
//! Trusted: this file, and that of [`crate::bpaxos`] with its parts.

use crate::bpaxos::{Bpaxos, Params, of_a_fast_model};
use parthood_protocols::bpaxos::Fast;
use parthood_protocols::epaxos::Mutant;
use parthood_protocols::faults::Mutated;
use parthood_protocols::state_machine::KeyValue;

/// The protocol in a configuration, with at most one rule broken.
///
/// # Errors
/// What makes no sense about the configuration, in words.
pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Bpaxos<KeyValue, Mutated<Mutant>>, String> {
    Bpaxos::with_faults(params, Some(Fast::Epaxos), Mutated(mutant), of_a_fast_model)
}
