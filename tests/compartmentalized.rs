//! `MultiPaxos` in parts, beyond the exhaustive rows: storms over all roles at once.

use crate::memory::{self, Long, writes};
use itertools::Itertools as _;
use parthood::simulate::{self, ClientHistory, Storm};
use parthood_models::linearizability::{self, Linearizability, StepLimit};
use parthood_models::sequential::EachKey;
use parthood_protocols::client::Client;
use parthood_protocols::compartmentalized::{
    Ask, Bounds, Config, Consistency, Group, Layout, Limits, Msg, Mutant, Node, Part, ReadScheme, Reader,
    Role, State, Timing,
};
use parthood_protocols::faults::Mutated;
use parthood_protocols::log::ReplicaState;
use parthood_protocols::state_machine::{KeyValue, KeyValueCommand, StateMachine};
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
const ALL_ROLES: Layout = Layout {
    leaders: 2,
    proxies: 3,
    acceptors: 4,
    replicas: 3,
    batchers: 2,
    unbatchers: 2,
    read_batchers: 2,
};

fn config(layout: Layout, groups: Vec<Group>, limits: Limits, mutant: Option<Mutant>) -> Arc<Settled> {
    Arc::new(Config {
        layout,
        leader_groups: 1,
        groups,
        saves_needed: 2,
        known_clients: vec![],
        read_scheme: ReadScheme::Timed,
        limits,
        timing: Timing { gather: Timing::default().gather.filter(|_| mutant.is_none()), ..Timing::default() },
        bounds: Bounds::default(),
        faults: Mutated(mutant),
    })
}

fn nodes(config: &Arc<Settled>) -> impl Iterator<Item = Actor> {
    let layout = config.layout;
    let config = config.clone();
    (0..layout.nodes()).filter_map(move |id| {
        let (role, index) = layout.role(Id::from(id));
        Node::of(role, Part { index, lost_storage: false, config: config.clone() })
    })
}

fn client(config: &Arc<Settled>, number: usize, known: bool, commands: Vec<KeyValueCommand>) -> Actor {
    let contacts = if config.layout.batchers > 0 { Role::Batcher } else { Role::Leader };
    let contacts: Vec<Id> = config.layout.ids(contacts).collect();
    let ask =
        |command| Ask { read: KeyValue::is_read(&command).then_some(Consistency::Linearizable), command };
    Node::Client(Reader {
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
        config: config.clone(),
    })
}

/// What the clients asked and were told.
#[derive(Default)]
struct History(ClientHistory);

impl Observer<Actor> for History {
    fn wants(&self) -> Wants {
        Wants::Steps
    }

    fn on_step(&mut self, step: &Step<'_, Actor>) {
        let outstanding: fn(&State<KeyValue>) -> Option<(u64, &KeyValueCommand)> = |state| match state {
            State::Client(client) => client.outstanding(0),
            _ => None,
        };
        if matches!(step.after, State::Client(_)) {
            self.0.observe(step, outstanding, Msg::output);
        }
    }
}

/// The replicas that are up.
fn replicas<O: Observer<Actor>>(
    sim: &Sim<Actor, O>,
    layout: Layout,
) -> impl Iterator<Item = &ReplicaState<KeyValue>> {
    layout.ids(Role::Replica).filter_map(|id| match sim.state(id) {
        Some(State::Replica(node)) => Some(&node.replica),
        _ => None,
    })
}

/// Runs until all clients are done, and says what is wrong.
fn storm(
    seed: u64,
    layout: Layout,
    groups: Vec<Group>,
    limits: Limits,
    mutant: Option<Mutant>,
) -> Result<Sim<Actor, History>, String> {
    const COMMANDS: usize = 60;
    let config = config(layout, groups, limits, mutant);
    let nodes_count = layout.nodes();
    let script = |number| simulate::script(seed, number, COMMANDS);
    let clients = (0..CLIENTS).map(|number| client(&config, number, false, script(number)));
    let actors: Vec<Actor> = nodes(&config).chain(clients).collect();
    let storm = Storm { crashes: 12, ..Storm::default() };
    let budget = Budget { down_at_most: 1, ..simulate::budget(&storm, nodes_count) };
    let sync = Span::new(millis(0), millis(8));
    let settings = Settings { seed, network: budget.storm, sync, ..Settings::default() };
    let schedule = Schedule::random(seed, nodes_count + CLIENTS, &budget);
    let mut sim = Sim::new(actors, settings, History::default()).map_err(|error| error.to_string())?;
    sim.schedule(&schedule).map_err(|error| error.to_string())?;
    let stop = sim.run_while(Duration::from_secs(200), |sim| {
        let done = (nodes_count..nodes_count + CLIENTS).all(|client| match sim.state(Id::from(client)) {
            Some(State::Client(client)) => client.is_idle() && client.asked == COMMANDS,
            _ => false,
        });
        let equally_far = || replicas(sim, layout).map(|replica| replica.executed).all_equal();
        !(done && sim.now() > budget.calm_at && equally_far())
    });
    if stop != Stop::Done {
        return Err(format!("clients or replicas are stuck: {stop:?}"));
    }
    if !replicas(&sim, layout).map(|replica| (&replica.machine, &replica.sessions)).all_equal() {
        return Err("replicas differ".into());
    }
    match linearizability::check(&EachKey, &sim.observer().0.operations, StepLimit::default()) {
        Linearizability::Linearizable { .. } => Ok(sim),
        verdict => Err(format!("{verdict:?}")),
    }
}

fn tiny() -> Limits {
    Limits {
        window_slots: 8,
        watermark_slots: 3,
        batch_commands: 2,
        page_slots: 2,
        page_bytes: 100,
        resend_slots: 2,
        snapshot_slots: 7,
        retained_slots: 3,
        read_batch: 2,
        ..Limits::default()
    }
}

/// Crashes lose what is not synced, of any node, one at a time.
#[test]
fn clients_see_one_store_with_every_role_crashing() {
    for seed in 0..8 {
        let limits = Limits { watermark_slots: 16, ..Limits::default() };
        let sim = storm(seed, ALL_ROLES, vec![Group::grid(0, 2, 2)], limits, None);
        let sim = sim.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(sim.observer().0.operations.len(), CLIENTS * 60);
    }
}

#[test]
fn clients_see_one_store_with_two_groups_tiny_windows_and_snapshots() {
    let layout = Layout { acceptors: 8, batchers: 0, unbatchers: 0, read_batchers: 0, ..ALL_ROLES };
    for seed in 100..108 {
        let sim = storm(seed, layout, vec![Group::grid(0, 2, 2), Group::grid(4, 2, 2)], tiny(), None);
        let sim = sim.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let truncated = layout.ids(Role::Acceptor).any(|id| match sim.state(id) {
            Some(State::Acceptor(node)) => node.truncated.0 > 0,
            _ => false,
        });
        assert!(truncated, "seed {seed}: no votes were dropped");
    }
}

/// The last slot of a run may be news that got lost: no later one tells of it.
#[test]
fn the_storm_notices_a_leader_that_lets_replicas_lag() {
    let stuck = (0..20).any(|seed| {
        storm(seed, ALL_ROLES, vec![Group::grid(0, 2, 2)], Limits::default(), Some(Mutant::LagUnnoticed))
            .is_err()
    });
    assert!(stuck);
}

#[test]
fn every_row_of_a_grid_meets_every_column() {
    for (rows, columns) in (1..=8).cartesian_product(1..=8) {
        let Group { system, reads, writes } = Group::grid(0, rows, columns);
        assert_eq!((reads.quorums().len(), writes.quorums().len()), (rows, columns));
        for (row, column) in reads.quorums().iter().cartesian_product(writes.quorums()) {
            assert!(!row.is_disjoint(*column), "{row:?} and {column:?}");
            assert!(system.is_read_quorum(*row) && system.is_write_quorum(*column));
            assert_eq!(system.is_write_quorum(*row), rows == 1, "{row:?}");
        }
    }
}

/// A long run with batches of commands, of one group of leaders or two.
pub(crate) fn long(leader_groups: usize, commands_each: usize, snapshot_slots: u64) -> Long<Actor, Role> {
    let layout = Layout {
        leaders: 2 * leader_groups,
        proxies: 2,
        acceptors: 4 * leader_groups,
        replicas: 2,
        batchers: 2,
        unbatchers: 2,
        read_batchers: 0,
    };
    let limits = Limits {
        batch_commands: memory::BATCH,
        snapshot_slots,
        retained_slots: 64,
        watermark_slots: 64,
        ..Limits::default()
    };
    let groups = (0..leader_groups).map(|group| Group::grid(4 * group, 2, 2)).collect();
    let config =
        Arc::new(Config { leader_groups, ..Arc::unwrap_or_clone(config(layout, groups, limits, None)) });
    let clients =
        (0..memory::CLIENTS).map(|number| client(&config, number, false, writes(number, commands_each)));
    Long {
        actors: nodes(&config).chain(clients).collect(),
        roles: (0..layout.nodes()).map(|id| layout.role(Id::from(id)).0).collect(),
        commands_each,
        executed: |state| match state {
            State::Replica(node) => Some(node.replica.executed.0),
            _ => None,
        },
        answered: |state| match state {
            State::Client(client) => client.is_idle().then_some(client.asked),
            _ => None,
        },
    }
}

/// A million commands in ten thousand slots: no role remembers more in the end than on the way.
#[test]
fn a_million_batched_commands_keep_memory_flat() {
    let growth = long(1, 2_500, 256).growth();
    assert!(growth.values().all(|percent| *percent < 120), "{growth:?}");
    // Without snapshots nothing is dropped, and this would tell.
    let growth = long(1, 250, u64::MAX).growth();
    assert!([Role::Acceptor, Role::Replica].iter().all(|role| growth[role] > 180), "{growth:?}");
}
