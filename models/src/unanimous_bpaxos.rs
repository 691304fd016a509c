//! What is claimed of [`parthood_protocols::unanimous_bpaxos`], and the configurations in which it is checked.
//!
//! It is the actor of [`parthood_protocols::bpaxos`] with acceptors that are dependency nodes, too, and with a fast path, so
//! what is claimed of that is claimed here too: by the same properties, of votes in pairs of rounds.
//!
//! Trusted: this file, and that of [`crate::bpaxos`] with its parts.

use crate::bpaxos::{Bpaxos, Params, of_a_fast_model};
use parthood_protocols::bpaxos::Fast;
use parthood_protocols::faults::Mutated;
use parthood_protocols::state_machine::KeyValue;
use parthood_protocols::unanimous_bpaxos::Mutant;

/// The protocol in a configuration, with at most one rule broken.
///
/// # Errors
/// What makes no sense about the configuration, in words.
pub fn new(params: &Params, mutant: Option<Mutant>) -> Result<Bpaxos<KeyValue, Mutated<Mutant>>, String> {
    Bpaxos::with_faults(params, Some(Fast::Unanimous), Mutated(mutant), of_a_fast_model)
}
