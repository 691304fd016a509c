//! Simple `BPaxos` beyond the exhaustive rows: storms in the simulator in several layouts, orders of execution, a million
//! commands, and loads over UDP at several rates of conflict.

mod hole_over_udp;
mod holes;
mod room;
pub(crate) mod storm;

use crate::storms;
use itertools::Itertools as _;
use parthood::simulate;
use parthood_protocols::bpaxos::{Action, Config, Layout, Limits, Mutant, Node, Role, State};
use parthood_protocols::faults::Mutated;
use parthood_protocols::graph::VertexId;
use parthood_protocols::state_machine::{Bytes, KeyValue, KeyValueCommand};
use parthood_runtime::sim::{Network, Settings, Sim, Stop};
use stateright::actor::Id;
use std::collections::BTreeMap;
use std::time::Duration;
use storm::{
    CLIENTS, COMMANDS, actors, answered, one_store_over_udp_at_every_rate_of_conflict, replicas, storm, tiny,
};

type Actor = Node<KeyValue, Mutated<Mutant>>;
type Settled = Config<Mutated<Mutant>>;

/// Leaders that propose themselves.
const MERGED: Layout =
    Layout { leaders: 3, dependency_nodes: 3, acceptors: 3, replicas: 3, proposers: 0, coupled: false };
/// More leaders than proposers, and other numbers of everything.
const SEPARATE: Layout =
    Layout { leaders: 3, dependency_nodes: 5, acceptors: 3, replicas: 2, proposers: 2, coupled: false };

fn config(layout: Layout, limits: Limits) -> Settled {
    storm::config(layout, None, limits, Mutated(None))
}

#[test]
fn clients_see_one_store_through_crashes_partitions_loss_and_duplication() {
    storms::survives("bpaxos", 10);
}

#[test]
fn clients_see_one_store_with_tiny_windows_pages_generations_and_snapshots() {
    let compactions = [Some(1), Some(2), None];
    for (seed, layout) in (0..8).zip([MERGED, SEPARATE].into_iter().cycle()) {
        let compaction = compactions[usize::try_from(seed % 3).unwrap()];
        let config = Config { compaction, ..config(layout, tiny()) };
        let sim = storm(seed, config, |number| simulate::script(seed, number, COMMANDS));
        let sim = sim.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let collected = |id| match sim.state(id) {
            Some(State::Acceptor(acceptor)) => !acceptor.collection.vertices.is_empty(),
            _ => false,
        };
        assert!(layout.ids(Role::Acceptor).any(collected), "seed {seed}: no votes were dropped");
        let forgot = |id| match sim.state(id) {
            Some(State::DependencyNode(node)) => node.forgotten > 0,
            _ => false,
        };
        assert!(layout.ids(Role::DependencyNode).any(forgot), "seed {seed}: no dependencies were forgotten");
    }
}

/// What the rows find within a few steps, storms find too, each in some of thirty.
#[test]
fn the_storm_finds_mutants() {
    let found = |mutant: &Mutant| {
        (0..30).any(|seed| {
            let config = Config { faults: Mutated(Some(*mutant)), ..config(MERGED, tiny()) };
            storm(seed, config, |number| simulate::script(seed, number, COMMANDS)).is_err()
        })
    };
    let mut mutants = vec![Mutant::NoDependencies, Mutant::LargestIdOnly];
    mutants.retain(|mutant| !found(mutant));
    assert_eq!(mutants, [], "not found");
}

/// A sole leader on a network that loses a tenth: nobody else can get its vertices chosen, and all of them conflict. While some
/// of them are on their way others are collected.
fn answered_by_a_sole_leader(mutant: Option<Mutant>) -> bool {
    let layout = Layout { leaders: 1, ..MERGED };
    let config = Config { faults: Mutated(mutant), ..config(layout, tiny()) };
    let actors = actors(config, (0..CLIENTS).map(counting(100)).collect());
    let network = Network { loss: 0.1, ..Network::default() };
    let mut sim = Sim::new(actors, Settings { network, ..Settings::default() }, ()).unwrap();
    let done = |sim: &Sim<Actor, ()>| answered(sim, layout, CLIENTS, COMMANDS);
    sim.run_while(Duration::from_secs(100), |sim| !done(sim)) == Stop::Done
}

#[test]
fn what_is_not_collected_is_sent_again() {
    assert!(answered_by_a_sole_leader(None));
    assert!(!answered_by_a_sole_leader(Some(Mutant::CollectStopsResend)));
}

/// So many of a hundred commands count on one key; the others write keys of their own. Every command counts one.
fn counting(percent: usize) -> impl Fn(usize) -> Vec<KeyValueCommand> {
    move |client| {
        let key = |number: usize| {
            let shared = (number * 37 + client * 61) % 100 < percent;
            if shared { Bytes::from("shared") } else { Bytes::from(&format!("{client}.{number}")) }
        };
        (0..COMMANDS).map(|number| KeyValueCommand::Increment(key(number), 1)).collect()
    }
}

/// At no conflicts and few, replicas run commands in orders of their own and end in one state. When all conflict there is one
/// order, but for noops.
#[test]
fn replicas_that_ran_commuting_commands_in_different_orders_end_in_the_same_state() {
    for (percent, differ) in [(0, true), (10, true), (100, false)] {
        let limits = Limits { snapshot_vertices: u64::MAX, ..Limits::default() };
        let mut orders_differ = false;
        for seed in 0..4 {
            let sim = storm(seed, config(MERGED, limits), counting(percent));
            let sim = sim.unwrap_or_else(|error| panic!("{percent} %, seed {seed}: {error}"));
            let first = replicas(&sim, MERGED).next().unwrap();
            let acts = |vertex: &&VertexId| first.log[*vertex].action != Action::Noop;
            let orders = sim.observer().ran.values().map(|ran| ran.iter().filter(acts).collect_vec());
            orders_differ |= !orders.collect_vec().iter().all_equal();
            // Every command took effect once.
            let count = |value: &Bytes| format!("{value:?}").parse::<usize>().unwrap();
            let total: usize = first.machine.iter().map(|(_, value)| count(value)).sum();
            assert_eq!(total, CLIENTS * COMMANDS, "{percent} %, seed {seed}");
        }
        assert_eq!(orders_differ, differ, "{percent} %");
    }
}

/// What the nodes of each role remember, written out, at equal distances in the graph; the clients are done at the end.
fn remembered(commands_each: usize, limits: Limits) -> Vec<BTreeMap<Role, usize>> {
    const CLIENTS: usize = 400;
    // Several between two snapshots, so that the most of many is as much as there ever is.
    const SAMPLES: usize = 80;
    let layout =
        Layout { leaders: 2, dependency_nodes: 3, acceptors: 3, replicas: 2, proposers: 2, coupled: false };
    let value = Bytes::from("sixteen bytes...");
    let script = |number: usize| {
        let put = KeyValueCommand::Put(Bytes::from(&format!("{number}")), value.clone());
        vec![put; commands_each]
    };
    let actors = actors(config(layout, limits), (0..CLIENTS).map(script).collect());
    let mut sim = Sim::new(actors, Settings::default(), ()).unwrap();
    let mut samples = vec![];
    for sample in 1..=SAMPLES {
        let first = Id::from(layout.nodes());
        let goal = commands_each * sample / SAMPLES;
        let slow = |sim: &Sim<Actor, ()>| match sim.state(first) {
            Some(State::Client(client)) => client.invoked() < goal,
            _ => true,
        };
        assert_eq!(sim.run_while(Duration::from_secs(6_000), slow), Stop::Done);
        let mut sizes = BTreeMap::new();
        for id in (0..layout.nodes()).map(Id::from) {
            let size = format!("{:?}", sim.state(id)).len();
            *sizes.entry(layout.role(id).0).or_default() += size;
        }
        samples.push(sizes);
    }
    let done = |sim: &Sim<Actor, ()>| answered(sim, layout, CLIENTS, commands_each);
    assert_eq!(sim.run_while(Duration::from_secs(6_000), |sim| !done(sim)), Stop::Done);
    samples
}

/// The most that a role remembers in the second half of a run, in percent of the most in the first.
fn growth(samples: &[BTreeMap<Role, usize>], role: Role) -> usize {
    let most =
        |samples: &[BTreeMap<Role, usize>]| samples.iter().map(|sizes| sizes[&role]).max().unwrap_or(1);
    let (first, second) = samples.split_at(samples.len() / 2);
    100 * most(second) / most(first)
}

/// A million commands, batched by leaders that ask for two vertices at a time: no role remembers more in the end than on the way.
#[test]
fn a_million_commands_keep_memory_flat() {
    let limits = Limits {
        window_vertices: 2,
        batch_commands: 100,
        generation_vertices: 128,
        snapshot_vertices: 256,
        retained_vertices: 64,
        ..Limits::default()
    };
    let samples = remembered(2_500, limits);
    for role in samples[0].keys() {
        let growth = growth(&samples, *role);
        assert!(growth < 130, "{role:?}: {growth} %");
    }
    // Without snapshots and generations nothing is dropped, and this would tell.
    let never = Limits {
        snapshot_vertices: u64::MAX,
        generation_vertices: usize::MAX,
        generation_parts: usize::MAX,
        log_bytes: usize::MAX,
        ..limits
    };
    let samples = remembered(250, never);
    for role in [Role::Proposer, Role::DependencyNode, Role::Acceptor, Role::Replica] {
        let growth = growth(&samples, role);
        assert!(growth > 160, "{role:?}: {growth} %");
    }
}

#[test]
fn clients_over_udp_see_one_store_at_every_rate_of_conflict_with_messages_lost_and_doubled() {
    one_store_over_udp_at_every_rate_of_conflict("bpaxos");
}
