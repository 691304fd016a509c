//! Simple `BPaxos` beyond the exhaustive rows: storms in the simulator in several layouts, orders of execution, a million
//! commands, and loads over UDP at several rates of conflict.

mod holes;
mod room;

use crate::harness::cluster_of;
use crate::scenario::with_last_reads;
use itertools::Itertools as _;
use parthood::bench::{self, HistoryVerdict, Load};
use parthood::deploy::{self, Cluster, ServeOptions};
use parthood::retrace::{self, Properties};
use parthood::runtime::udp::Faults;
use parthood::simulate::{self, ClientHistory, Storm};
use parthood_models::linearizability::{self, Linearizability, StepLimit};
use parthood_models::sequential::EachKey;
use parthood_protocols::bpaxos::{
    Action, Bounds, Config, Layout, Limits, Msg, Mutant, Node, Part, ReplicaState, Role, State, Timing,
};
use parthood_protocols::client::Client;
use parthood_protocols::compartmentalized::Group;
use parthood_protocols::faults::Mutated;
use parthood_protocols::graph::{VertexId, Vertices as _};
use parthood_protocols::schedule::Schedule as Turns;
use parthood_protocols::state_machine::{Bytes, KeyValue, KeyValueCommand};
use parthood_quorums::Majority;
use parthood_runtime::sim::{Budget, Network, Schedule, Settings, Sim, Span, Stop};
use parthood_runtime::{Observer, Step, Wants};
use stateright::actor::Id;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

type Actor = Node<KeyValue, Mutated<Mutant>>;
type Settled = Config<Mutated<Mutant>>;

const CLIENTS: usize = 4;
const COMMANDS: usize = 60;

/// Leaders that propose themselves.
const MERGED: Layout = Layout { leaders: 3, dependency_nodes: 3, acceptors: 3, replicas: 3, proposers: 0 };
/// More leaders than proposers, and other numbers of everything.
const SEPARATE: Layout = Layout { leaders: 3, dependency_nodes: 5, acceptors: 3, replicas: 2, proposers: 2 };

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn majority(nodes: usize) -> Group {
    Group { system: Arc::new(Majority::new(nodes)), reads: Turns::everyone(), writes: Turns::everyone() }
}

/// Clients need not open a session: that would be a barrier.
fn config(layout: Layout, clients: usize, limits: Limits) -> Settled {
    Config {
        layout,
        dependencies: majority(layout.dependency_nodes),
        acceptors: majority(layout.acceptors),
        compaction: Some(1),
        saves_needed: layout.replicas.min(2),
        known_clients: (layout.nodes()..layout.nodes() + clients).map(|id| id as u64).collect(),
        limits,
        timing: Timing::default(),
        bounds: Bounds::default(),
        faults: Mutated(None),
    }
}

/// So little of everything that all of it is exceeded.
fn tiny() -> Limits {
    Limits {
        window_vertices: 4,
        batch_commands: 2,
        reserved_ids: 3,
        generation_vertices: 8,
        resend_vertices: 2,
        page_vertices: 2,
        page_bytes: 100,
        snapshot_vertices: 9,
        retained_vertices: 4,
        ..Limits::default()
    }
}

/// The nodes, and clients that ask this.
fn actors(config: Settled, scripts: Vec<Vec<KeyValueCommand>>) -> Vec<Actor> {
    let config = Arc::new(config);
    let layout = config.layout;
    let contacts: Vec<Id> = layout.ids(Role::Leader).collect();
    let clients = scripts.into_iter().enumerate().map(|(number, script)| {
        Node::Client(Client {
            first_contact: number % contacts.len(),
            contacts: contacts.clone(),
            script,
            lanes: 1,
            known: true,
            application: None,
            retries_max: u32::MAX,
            retry_after: millis(100)..millis(200),
        })
    });
    let nodes = (0..layout.nodes()).filter_map(|id| {
        let (role, index) = layout.role(Id::from(id));
        Node::of(role, Part { index, lost_storage: false, config: config.clone() })
    });
    nodes.chain(clients).collect()
}

/// What clients asked and were told, and what each replica ran, in order.
#[derive(Default)]
struct Seen {
    clients: ClientHistory,
    ran: BTreeMap<Id, Vec<VertexId>>,
}

impl Observer<Actor> for Seen {
    fn wants(&self) -> Wants {
        Wants::Steps
    }

    fn on_step(&mut self, step: &Step<'_, Actor>) {
        let outstanding: fn(&State<KeyValue>) -> Option<(u64, &KeyValueCommand)> = |state| match state {
            State::Client(client) => client.outstanding(0),
            _ => None,
        };
        match step.after {
            State::Client(_) => self.clients.observe(step, outstanding, Msg::output),
            State::Replica(replica) => {
                let ran = self.ran.entry(step.id).or_default();
                // After a crash it runs again what it had not saved.
                ran.retain(|vertex| replica.executed().contains(*vertex));
                let new = replica.history.iter().rev().take_while(|vertex| !ran.contains(vertex));
                let new: Vec<_> = new.copied().collect();
                ran.extend(new.into_iter().rev());
            }
            _ => {}
        }
    }
}

fn replicas<O: Observer<Actor>>(
    sim: &Sim<Actor, O>,
    layout: Layout,
) -> impl Iterator<Item = &ReplicaState<KeyValue>> {
    layout.ids(Role::Replica).filter_map(|id| match sim.state(id) {
        Some(State::Replica(replica)) => Some(&**replica),
        _ => None,
    })
}

/// Has every client got its answers?
fn answered<O: Observer<Actor>>(
    sim: &Sim<Actor, O>,
    layout: Layout,
    clients: usize,
    commands: usize,
) -> bool {
    (layout.nodes()..layout.nodes() + clients).all(|client| match sim.state(Id::from(client)) {
        Some(State::Client(client)) => client.is_idle() && client.invoked() == commands,
        _ => false,
    })
}

/// Runs until all clients are done, and says what is wrong.
fn storm(
    seed: u64,
    config: Settled,
    script: impl Fn(usize) -> Vec<KeyValueCommand>,
) -> Result<Sim<Actor, Seen>, String> {
    let layout = config.layout;
    let nodes = layout.nodes();
    let actors = actors(config, (0..CLIENTS).map(script).collect());
    let storm = Storm { crashes: 12, ..Storm::default() };
    let budget = Budget { down_at_most: 1, ..simulate::budget(&storm, nodes) };
    let sync = Span::new(millis(0), millis(8));
    let settings = Settings { seed, network: budget.storm, sync, ..Settings::default() };
    let schedule = Schedule::random(seed, nodes + CLIENTS, &budget);
    let mut sim = Sim::new(actors, settings, Seen::default()).map_err(|error| error.to_string())?;
    sim.schedule(&schedule).map_err(|error| error.to_string())?;
    let stop = sim.run_while(Duration::from_secs(200), |sim| {
        let equal = || replicas(sim, layout).map(ReplicaState::executed).all_equal();
        !(answered(sim, layout, CLIENTS, COMMANDS) && sim.now() > budget.calm_at && equal())
    });
    if stop != Stop::Done {
        return Err(format!("clients or replicas are stuck: {stop:?}"));
    }
    if !replicas(&sim, layout).map(|replica| (&replica.machine, &replica.clients)).all_equal() {
        return Err("replicas have executed the same and differ".into());
    }
    match linearizability::check(&EachKey, &sim.observer().clients.operations, StepLimit::default()) {
        Linearizability::Linearizable { .. } => Ok(sim),
        verdict => Err(format!("{verdict:?}")),
    }
}

/// The deployed configuration, with the properties of the model throughout.
#[test]
fn clients_see_one_store_through_crashes_partitions_loss_and_duplication() {
    let storm = Storm { protocol: "bpaxos".into(), ..Storm::default() };
    for seed in 0..10 {
        let outcome = simulate::run(&storm, seed, None).unwrap();
        assert_eq!(outcome.failure, None, "seed {seed}");
        assert_eq!(outcome.answered, storm.commands * usize::from(storm.clients), "seed {seed}");
    }
}

#[test]
fn clients_see_one_store_with_tiny_windows_pages_generations_and_snapshots() {
    let compactions = [Some(1), Some(2), None];
    for (seed, layout) in (0..8).zip([MERGED, SEPARATE].into_iter().cycle()) {
        let compaction = compactions[usize::try_from(seed % 3).unwrap()];
        let config = Config { compaction, ..config(layout, CLIENTS, tiny()) };
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
            let config = Config { faults: Mutated(Some(*mutant)), ..config(MERGED, CLIENTS, tiny()) };
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
    let config = Config { faults: Mutated(mutant), ..config(layout, CLIENTS, tiny()) };
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
            let sim = storm(seed, config(MERGED, CLIENTS, limits), counting(percent));
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
    const SAMPLES: usize = 20;
    let layout = Layout { leaders: 2, dependency_nodes: 3, acceptors: 3, replicas: 2, proposers: 2 };
    let value = Bytes::from("sixteen bytes...");
    let script = |number: usize| {
        let put = KeyValueCommand::Put(Bytes::from(&format!("{number}")), value.clone());
        vec![put; commands_each]
    };
    let actors = actors(config(layout, CLIENTS, limits), (0..CLIENTS).map(script).collect());
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
    let never = Limits { snapshot_vertices: u64::MAX, generation_vertices: usize::MAX, ..limits };
    let samples = remembered(250, never);
    for role in [Role::Proposer, Role::DependencyNode, Role::Acceptor, Role::Replica] {
        let growth = growth(&samples, role);
        assert!(growth > 160, "{role:?}: {growth} %");
    }
}

/// A fifth are reads; of two other commands outstanding hardly any, one in ten or all conflict.
#[test]
fn clients_over_udp_see_one_store_at_every_rate_of_conflict_with_messages_lost_and_doubled() {
    for keys in [100_000, 10, 1] {
        let folder = tempfile::tempdir().unwrap();
        let small = "\n[limits]\nsnapshot_slots = 256\nretained_slots = 64\n";
        let file = cluster_of(folder.path(), "bpaxos", 3, small);
        let cluster = Cluster { data: None, ..Cluster::load(&file).unwrap() };
        let nodes: Vec<usize> = (0..cluster.members.len()).collect();
        // One for each process.
        let traces = folder.path().join("traces");
        std::fs::create_dir(&traces).unwrap();
        let options = ServeOptions { trace: Some(traces.join("run.ndjson")), ..ServeOptions::default() };
        let serving = deploy::serve(&cluster, &nodes, &options).unwrap();
        for handle in &serving.handles {
            handle.set_faults(Faults { drop: 0.02, duplicate: 0.02, ..Faults::default() });
        }
        let load = Load {
            outstanding: 8,
            duration: Duration::from_secs(4),
            operations_max: 600,
            reads: 0.2,
            keys,
            check: true,
            seed: 3,
            ..Load::default()
        };
        let measured = bench::run(&cluster, &load).unwrap();
        assert_eq!(measured.unknown, 0, "{keys} keys: every command is answered in the end");
        assert!(measured.answered > 50, "{keys} keys: {} commands are no load", measured.answered);
        for handle in &serving.handles {
            handle.set_faults(Faults::default());
        }
        let history = with_last_reads(&cluster, measured);
        assert_eq!(bench::judge(&history), HistoryVerdict::Right, "{keys} keys");
        serving.stop().unwrap();
        let traces = std::fs::read_dir(&traces).unwrap().map(|file| file.unwrap().path());
        let replayed = retrace::check(&traces.sorted().collect_vec()).unwrap();
        assert_eq!(replayed.finding, None, "{keys} keys");
        let evaluated = matches!(replayed.properties, Properties::Evaluated { times } if times > 1);
        assert!(evaluated && replayed.comparisons > 0, "{keys} keys: {:?}", replayed.properties);
    }
}
