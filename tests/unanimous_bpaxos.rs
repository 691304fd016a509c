//! Unanimous `BPaxos` beyond the exhaustive rows: storms in the simulator, mutants that they find, and loads over UDP.

use crate::bpaxos::storm::{COMMANDS, config, one_store_over_udp_at_every_rate_of_conflict, storm, tiny};
use crate::storms;
use parthood::simulate;
use parthood_protocols::bpaxos::{Config, Fast, Layout};
use parthood_protocols::faults::Mutated;
use parthood_protocols::unanimous_bpaxos::Mutant;

fn settled(acceptors: usize, mutant: Option<Mutant>) -> Config<Mutated<Mutant>> {
    let layout =
        Layout { leaders: 3, dependency_nodes: 0, acceptors, replicas: 3, proposers: 0, coupled: false };
    config(layout, Some(Fast::Unanimous), tiny(), Mutated(mutant))
}

#[test]
fn clients_see_one_store_through_crashes_partitions_loss_and_duplication() {
    storms::survives("unanimous_bpaxos", 10);
}

#[test]
fn clients_see_one_store_with_tiny_windows_pages_generations_and_snapshots() {
    for (seed, acceptors) in (0..8).zip([3, 5].into_iter().cycle()) {
        let sim = storm(seed, settled(acceptors, None), |number| simulate::script(seed, number, COMMANDS));
        sim.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

/// What the rows find within a few steps, storms find too, each in some of thirty.
#[test]
fn the_storm_finds_mutants() {
    let found = |mutant: &Mutant| {
        (0..30).any(|seed| {
            let config = settled(3, Some(*mutant));
            storm(seed, config, |number| simulate::script(seed, number, COMMANDS)).is_err()
        })
    };
    let mut mutants = vec![Mutant::SkipPhase1, Mutant::ComponentUnsorted];
    mutants.retain(|mutant| !found(mutant));
    assert_eq!(mutants, [], "not found");
}

#[test]
fn clients_over_udp_see_one_store_at_every_rate_of_conflict_with_messages_lost_and_doubled() {
    one_store_over_udp_at_every_rate_of_conflict("unanimous_bpaxos");
}
