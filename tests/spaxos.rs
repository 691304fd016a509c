//! S-Paxos in parts, beyond the exhaustive rows: storms over all roles at once, and the message law.

use crate::memory::{self, Long, writes};
use crate::message_law::tally;
use crate::storms;
use itertools::Itertools as _;
use parthood::simulate::{self, ClientHistory, Storm};
use parthood_models::linearizability::{self, Linearizability, StepLimit};
use parthood_models::sequential::EachKey;
use parthood_protocols::client::Client;
use parthood_protocols::compartmentalized::{self as parts, Ask, Consistency, Group, Limits, Reader};
use parthood_protocols::faults::Mutated;
use parthood_protocols::log::ReplicaState;
use parthood_protocols::spaxos::{Config, InParts, Layout, Msg, Mutant, Node, Role, State};
use parthood_protocols::state_machine::{Bytes, KeyValue, KeyValueCommand, StateMachine};
use parthood_runtime::sim::{Budget, Schedule, Settings, Sim, Span, Stop};
use parthood_runtime::{Observer, Step, Wants};
use stateright::actor::Id;
use std::sync::Arc;
use std::time::Duration;

type Actor = Node<KeyValue, Mutated<Mutant>>;
type Settled = Config<Mutated<Mutant>>;

const CLIENTS: usize = 4;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Every role at least once, two of each that may crash.
const ALL_PARTS: parts::Layout = parts::Layout {
    leaders: 2,
    proxies: 3,
    acceptors: 4,
    replicas: 3,
    batchers: 2,
    unbatchers: 2,
    read_batchers: 2,
};

const UNBATCHED: parts::Layout = parts::Layout { batchers: 0, unbatchers: 0, read_batchers: 0, ..ALL_PARTS };

/// What differs from one run to another.
#[derive(Clone)]
struct Shape {
    parts: parts::Layout,
    stores: Vec<Group>,
    limits: Limits,
    lifetime_slots: u64,
    known_clients: usize,
    ping: bool,
}

fn stabilizers(stores: &[Group]) -> usize {
    stores.iter().flat_map(|store| store.system.nodes().iter().collect::<Vec<_>>()).max().unwrap_or(0) + 1
}

fn config(shape: &Shape, mutant: Option<Mutant>) -> Arc<Settled> {
    const DISSEMINATORS: usize = 2;
    let stabilizers = stabilizers(&shape.stores);
    let first_client = shape.parts.nodes() + DISSEMINATORS + stabilizers;
    let parts = parts::Config {
        layout: shape.parts,
        leader_groups: 1,
        groups: vec![Group::grid(0, 2, 2)],
        saves_needed: 2,
        known_clients: (first_client..first_client + shape.known_clients).map(|id| id as u64).collect(),
        read_scheme: parts::ReadScheme::Timed,
        limits: shape.limits,
        timing: parts::Timing::default(),
        bounds: parts::Bounds { ping: shape.ping, ..parts::Bounds::default() },
        faults: InParts(Mutated(mutant)),
    };
    let stores = shape.stores.clone();
    Arc::new(Config::new(parts, DISSEMINATORS, stabilizers, stores, shape.lifetime_slots))
}

fn nodes(config: &Arc<Settled>) -> Vec<Actor> {
    (0..config.layout.nodes()).filter_map(|id| Node::of(config, Id::from(id), false)).collect()
}

fn client(config: &Arc<Settled>, number: usize, known: bool, commands: Vec<KeyValueCommand>) -> Actor {
    let layout = config.layout;
    let contacts: Vec<Id> = match layout.parts.batchers {
        0 => (0..layout.disseminators).map(|index| layout.disseminator(index)).collect(),
        _ => layout.parts.ids(parts::Role::Batcher).collect(),
    };
    let ask =
        |command| Ask { read: KeyValue::is_read(&command).then_some(Consistency::Linearizable), command };
    let reader = Reader {
        writer: Client {
            first_contact: number % contacts.len(),
            contacts,
            script: vec![],
            lanes: 1,
            known,
            application: None,
            retries_max: u32::MAX,
            retry_after: millis(100)..millis(200),
        },
        script: commands.into_iter().map(ask).collect(),
        read: None,
        turn: number as u64,
        config: config.parts.clone(),
    };
    Node::client(config, reader)
}

/// What the clients asked and were told.
#[derive(Default)]
struct History(ClientHistory);

fn outstanding(state: &State<KeyValue>) -> Option<(u64, &KeyValueCommand)> {
    match state {
        State::Serve(parts::State::Client(client)) => client.outstanding(0),
        _ => None,
    }
}

impl Observer<Actor> for History {
    fn wants(&self) -> Wants {
        Wants::Steps
    }

    fn on_step(&mut self, step: &Step<'_, Actor>) {
        if matches!(step.after, State::Serve(parts::State::Client(_))) {
            self.0.observe(step, outstanding, Msg::output);
        }
    }
}

/// The replicas that are up.
fn replicas<O: Observer<Actor>>(sim: &Sim<Actor, O>, layout: Layout) -> Vec<&ReplicaState<KeyValue>> {
    let ids = layout.parts.ids(parts::Role::Replica);
    ids.filter_map(|id| match sim.state(id) {
        Some(State::Serve(parts::State::Replica(node))) => Some(&node.replica),
        _ => None,
    })
    .collect()
}

/// Runs until all clients are done, and says what is wrong.
fn storm(seed: u64, shape: &Shape, mutant: Option<Mutant>) -> Result<Sim<Actor, History>, String> {
    const COMMANDS: usize = 60;
    let config = config(shape, mutant);
    let layout = config.layout;
    let nodes_count = layout.nodes();
    let script = |number| simulate::script(seed, number, COMMANDS);
    let clients = (0..CLIENTS).map(|number| client(&config, number, false, script(number)));
    let actors: Vec<Actor> = nodes(&config).into_iter().chain(clients).collect();
    let storm = Storm { crashes: 12, ..Storm::default() };
    let budget = Budget { down_at_most: 1, ..simulate::budget(&storm, nodes_count) };
    let sync = Span::new(millis(0), millis(8));
    let settings = Settings { seed, network: budget.storm, sync, ..Settings::default() };
    let schedule = Schedule::random(seed, nodes_count + CLIENTS, &budget);
    let mut sim = Sim::new(actors, settings, History::default()).map_err(|error| error.to_string())?;
    sim.schedule(&schedule).map_err(|error| error.to_string())?;
    let stop = sim.run_while(Duration::from_secs(200), |sim| {
        let done = (nodes_count..nodes_count + CLIENTS).all(|client| match sim.state(Id::from(client)) {
            Some(State::Serve(parts::State::Client(client))) => client.is_idle() && client.asked == COMMANDS,
            _ => false,
        });
        let equally_far = || replicas(sim, layout).iter().map(|replica| replica.executed).all_equal();
        !(done && sim.now() > budget.calm_at && equally_far())
    });
    if stop != Stop::Done {
        return Err(format!("clients or replicas are stuck: {stop:?}"));
    }
    if !replicas(&sim, layout).iter().map(|replica| (&replica.machine, &replica.sessions)).all_equal() {
        return Err("replicas differ".into());
    }
    match linearizability::check(&EachKey, &sim.observer().0.operations, StepLimit::default()) {
        Linearizability::Linearizable { .. } => Ok(sim),
        verdict => Err(format!("{verdict:?}")),
    }
}

fn shape(parts: parts::Layout, stores: Vec<Group>, limits: Limits, lifetime_slots: u64) -> Shape {
    Shape { parts, stores, limits, lifetime_slots, known_clients: 0, ping: true }
}

/// Crashes lose what is not synced, of any node, one at a time.
#[test]
fn clients_see_one_store_with_every_role_crashing() {
    for seed in 0..6 {
        let limits = Limits { watermark_slots: 16, ..Limits::default() };
        let sim = storm(seed, &shape(ALL_PARTS, vec![Group::grid(0, 2, 2)], limits, 1 << 16), None);
        let sim = sim.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(sim.observer().0.operations.len(), CLIENTS * 60);
    }
}

fn tiny() -> Limits {
    Limits {
        window_slots: 8,
        watermark_slots: 3,
        page_slots: 2,
        page_bytes: 100,
        resend_slots: 2,
        snapshot_slots: 7,
        retained_slots: 3,
        ..Limits::default()
    }
}

/// Ids expire all the time, batches are dropped, and nobody waits for them.
#[test]
fn clients_see_one_store_with_two_groups_of_stabilizers_and_ids_that_expire() {
    for seed in 100..106 {
        let stores = vec![Group::grid(0, 2, 2), Group::grid(4, 2, 2)];
        let sim = storm(seed, &shape(UNBATCHED, stores, tiny(), 24), None);
        let sim = sim.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let dropped = (0..sim.stats().len()).any(|id| match sim.state(Id::from(id)) {
            Some(State::Stabilizer(stabilizer)) => {
                stabilizer.store.truncated.0 > 0 && stabilizer.store.batches.len() < 80
            }
            _ => false,
        });
        assert!(dropped, "seed {seed}: no batches were dropped");
    }
}

/// A copy of a request to order an id may come when its batch is gone. If ids were good for ever, replicas would wait for it.
#[test]
fn the_storm_notices_ids_that_do_not_expire() {
    let shape = shape(UNBATCHED, vec![Group::grid(0, 2, 2)], tiny(), 9);
    assert!((0..20).any(|seed| storm(seed, &shape, Some(Mutant::IgnoreExpiry)).is_err()));
}

/// The message law of a loss-free run with thrifty acceptors (the draft's, per command): the leader 2, the proxy leaders
/// together `1 + 2q + 1`, the disseminators together `1 + s + s + 1`, a stabilizer 2 for each batch of its group, replicas
/// `1 + 1/n`. Ours, since disseminators are told when they may forget: stabilizers `1 + n + 1` for a batch that they pass
/// on, disseminators 1 more, and acknowledgements beyond a quorum are counted.
#[test]
fn commands_cost_what_the_message_law_says() {
    let (clients, each) = (5, 24);
    for (stabilizers, groups, replicas) in [(2, 1, 2), (3, 2, 3), (4, 4, 2)] {
        let parts = parts::Layout {
            leaders: 2,
            proxies: 3,
            acceptors: 4,
            replicas,
            batchers: 0,
            unbatchers: 0,
            read_batchers: 0,
        };
        // A column of so many: all store, any one can be asked.
        let stores = (0..groups).map(|group| Group::grid(group * stabilizers, stabilizers, 1)).collect();
        let limits = Limits { watermark_slots: u64::MAX, ..Limits::default() };
        let shape = Shape { known_clients: clients, ping: false, ..shape(parts, stores, limits, 1 << 16) };
        let config = config(&shape, None);
        let script = |client| (0..each).map(|number| put(client, number)).collect::<Vec<_>>();
        let clients_of = (0..clients).map(|number| client(&config, number, true, script(number)));
        let actors: Vec<Actor> = nodes(&config).into_iter().chain(clients_of).collect();
        let handled = tally(&actors);
        let total = |role: Role| -> usize {
            let ids = (0..config.layout.nodes()).filter(|id| config.layout.role(Id::from(*id)).0 == role);
            ids.map(|id| handled[id]).sum()
        };
        let (commands, s, n, q) = (clients * each, stabilizers, replicas, 2);
        assert_eq!((handled[0], handled[1]), (2 * commands, 0), "the leaders");
        assert_eq!(total(Role::ProxyLeader), commands * (1 + 2 * q + 1));
        assert_eq!(total(Role::Acceptor), commands * 2 * q);
        assert_eq!(total(Role::Replica), commands * (n + 1));
        assert_eq!(total(Role::Disseminator), commands * (1 + 2 * s + 1 + 1));
        assert_eq!(total(Role::Stabilizer), commands * (2 * s + 1 + n + 1));
    }
}

fn put(client: usize, number: usize) -> KeyValueCommand {
    KeyValueCommand::Put(Bytes::from(&format!("{client}")), Bytes::from(&format!("{number}")))
}

#[test]
fn the_deployed_cluster_weathers_storms_with_its_properties_watched() {
    storms::survives("spaxos", 4);
}

/// A long run in which batchers make batches of commands.
fn long(commands_each: usize, snapshot_slots: u64) -> Long<Actor, Role> {
    let parts = parts::Layout { proxies: 2, replicas: 2, read_batchers: 0, ..ALL_PARTS };
    let limits = Limits {
        batch_commands: memory::BATCH,
        snapshot_slots,
        retained_slots: 64,
        watermark_slots: 64,
        ..Limits::default()
    };
    let shape = shape(parts, vec![Group::grid(0, 2, 2)], limits, 256);
    let config = config(&shape, None);
    let clients =
        (0..memory::CLIENTS).map(|number| client(&config, number, false, writes(number, commands_each)));
    Long {
        actors: nodes(&config).into_iter().chain(clients).collect(),
        roles: (0..config.layout.nodes()).map(|id| config.layout.role(Id::from(id)).0).collect(),
        commands_each,
        executed: |state| match state {
            State::Serve(parts::State::Replica(node)) => Some(node.replica.executed.0),
            _ => None,
        },
        answered: |state| match state {
            State::Serve(parts::State::Client(client)) => client.is_idle().then_some(client.asked),
            _ => None,
        },
    }
}

/// A million commands in ten thousand slots: no role remembers more in the end than on the way.
#[test]
fn a_million_batched_commands_keep_memory_flat() {
    let growth = long(2_500, 256).growth();
    assert!(growth.values().all(|percent| *percent < 120), "{growth:?}");
    let growth = long(250, u64::MAX).growth();
    assert!([Role::Stabilizer, Role::Replica].iter().all(|role| growth[role] > 180), "{growth:?}");
}
