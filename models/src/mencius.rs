//! What is claimed of [`parthood_protocols::mencius`], and the configurations in which it is checked.
//!
//! It is the actor of [`parthood_protocols::compartmentalized`] with several leader groups, so what is claimed of that is
//! claimed here too, of the whole log; and that leaders keep to the slots that are theirs.
//!
//! Trusted: this file, and that of [`crate::compartmentalized`] with its two parts.

use crate::Property;
use crate::compartmentalized::{Compartmentalized, Params, properties};
use parthood_protocols::compartmentalized::{Config, Rules};
use parthood_protocols::faults::Mutated;
use parthood_protocols::mencius::Mutant;
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use std::sync::Arc;

/// The protocol in a configuration, with at most one rule broken.
///
/// # Errors
/// What makes no sense about the configuration, in words.
pub fn new(
    params: &Params,
    mutant: Option<Mutant>,
) -> Result<Compartmentalized<AppendLog, Mutated<Mutant>>, String> {
    Compartmentalized::with_faults(params, Mutated(mutant), of_the_append_log)
}

/// The protocol as it is deployed: with any state machine, and clients that nobody knows beforehand.
pub fn deployed<M: StateMachine, F: Rules>(config: Arc<Config<F>>) -> Compartmentalized<M, F> {
    Compartmentalized::with_properties(config, of_any_machine)
}

fn ownership<M: StateMachine, F: Rules>() -> Property<Compartmentalized<M, F>> {
    Property::always("leaders keep to their slots", properties::leaders_keep_to_their_slots)
}

fn of_any_machine<M: StateMachine, F: Rules>() -> Vec<Property<Compartmentalized<M, F>>> {
    properties::of_any_machine().into_iter().chain([ownership()]).collect()
}

fn of_the_append_log<F: Rules>() -> Vec<Property<Compartmentalized<AppendLog, F>>> {
    properties::of_the_append_log(properties::validity).into_iter().chain([ownership()]).collect()
}
