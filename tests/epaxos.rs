//! `EPaxos` beyond the exhaustive rows: storms in the simulator, mutants that they find, and loads over UDP.

mod runs;

use crate::bpaxos::storm::{
    CLIENTS, COMMANDS, config, one_store_over_udp_at_every_rate_of_conflict, replicas, storm, tiny,
};
use crate::storms;
use parthood::simulate;
use parthood_protocols::bpaxos::{Config, Fast, Layout, Limits};
use parthood_protocols::epaxos::Mutant;
use parthood_protocols::faults::Mutated;

type Settled = Config<Mutated<Mutant>>;

fn settled(servers: usize, limits: Limits, mutant: Option<Mutant>) -> Settled {
    let layout = Layout::of_servers(servers);
    config(layout, Some(Fast::Epaxos), limits, Mutated(mutant))
}

#[test]
fn clients_see_one_store_through_crashes_partitions_loss_and_duplication() {
    storms::survives("epaxos", 10);
}

#[test]
fn clients_see_one_store_with_tiny_windows_pages_generations_and_snapshots() {
    for (seed, servers) in (0..8).zip([3, 5, 4].into_iter().cycle()) {
        let sim =
            storm(seed, settled(servers, tiny(), None), |number| simulate::script(seed, number, COMMANDS));
        let sim = sim.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let layout = settled(servers, tiny(), None).layout;
        assert!(
            replicas(&sim, layout).all(|replica| replica.snapshot.number > 0),
            "seed {seed}: no snapshots"
        );
        let asked = CLIENTS * COMMANDS;
        assert!(
            replicas(&sim, layout).all(|replica| replica.executed().len() > asked as u64 / 2),
            "seed {seed}"
        );
    }
}

/// What the rows find within a few steps, storms find too, each in some of thirty.
#[test]
fn the_storm_finds_mutants() {
    let found = |mutant: &Mutant| {
        (0..30).any(|seed| {
            let config = settled(3, tiny(), Some(*mutant));
            storm(seed, config, |number| simulate::script(seed, number, COMMANDS)).is_err()
        })
    };
    let mut mutants = vec![Mutant::FastQuorumShort, Mutant::SkipPhase1, Mutant::ComponentUnsorted];
    mutants.retain(|mutant| !found(mutant));
    assert_eq!(mutants, [], "not found");
}

#[test]
fn clients_over_udp_see_one_store_at_every_rate_of_conflict_with_messages_lost_and_doubled() {
    one_store_over_udp_at_every_rate_of_conflict("epaxos");
}
