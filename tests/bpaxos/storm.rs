//! Storms for a replicated graph: crashes, partitions, loss and duplication until all clients are done, and the reckoning.

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
    Bounds, Config, Fast, Layout, Limits, Msg, Node, Part, ReplicaState, Role, Rules, State, Timing,
};
use parthood_protocols::client::Client;
use parthood_protocols::compartmentalized::Group;
use parthood_protocols::graph::{VertexId, Vertices as _};
use parthood_protocols::schedule::Schedule as Turns;
use parthood_protocols::state_machine::{KeyValue, KeyValueCommand};
use parthood_quorums::Majority;
use parthood_runtime::sim::{Budget, Schedule, Settings, Sim, Span, Stop};
use parthood_runtime::{Observer, Step, Wants};
use stateright::actor::Id;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How many clients there are in a storm, and how much each asks for.
pub(crate) const CLIENTS: usize = 4;
pub(crate) const COMMANDS: usize = 60;
/// Clients that are known to servers.
const CLIENTS_MAX: usize = 400;

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn majority(nodes: usize) -> Group {
    Group { system: Arc::new(Majority::new(nodes)), reads: Turns::everyone(), writes: Turns::everyone() }
}

/// Clients need not open a session: that would be a barrier.
pub(crate) fn config<F: Rules>(layout: Layout, fast: Option<Fast>, limits: Limits, faults: F) -> Config<F> {
    let clients = layout.nodes()..layout.nodes() + CLIENTS_MAX;
    let dependency_nodes = if fast.is_some() { layout.acceptors } else { layout.dependency_nodes };
    Config {
        layout,
        dependencies: majority(dependency_nodes),
        acceptors: majority(layout.acceptors),
        fast,
        compaction: Some(1),
        saves_needed: layout.replicas.min(2),
        known_clients: clients.map(|id| id as u64).collect(),
        limits,
        timing: Timing::default(),
        bounds: Bounds::default(),
        faults,
    }
}

/// So little of everything that all of it is exceeded.
pub(crate) fn tiny() -> Limits {
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
pub(crate) fn actors<F: Rules>(
    config: Config<F>,
    scripts: Vec<Vec<KeyValueCommand>>,
) -> Vec<Node<KeyValue, F>> {
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
        let (role, index) = layout.node(Id::from(id));
        Node::of(role, Part { index, lost_storage: false, config: config.clone() })
    });
    nodes.chain(clients).collect()
}

/// What clients asked and were told, and what each replica ran, in order.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) clients: ClientHistory,
    pub(crate) ran: BTreeMap<Id, Vec<VertexId>>,
}

impl<F: Rules> Observer<Node<KeyValue, F>> for Seen {
    fn wants(&self) -> Wants {
        Wants::Steps
    }

    fn on_step(&mut self, step: &Step<'_, Node<KeyValue, F>>) {
        let outstanding: fn(&State<KeyValue>) -> Option<(u64, &KeyValueCommand)> = |state| match state {
            State::Client(client) => client.outstanding(0),
            _ => None,
        };
        if let State::Client(_) = step.after {
            self.clients.observe(step, outstanding, Msg::output);
        }
        if let Some(replica) = replica(step.after) {
            let ran = self.ran.entry(step.id).or_default();
            // After a crash it runs again what it had not saved.
            ran.retain(|vertex| replica.executed().contains(*vertex));
            let new = replica.history.iter().rev().take_while(|vertex| !ran.contains(vertex));
            let new: Vec<_> = new.copied().collect();
            ran.extend(new.into_iter().rev());
        }
    }
}

fn replica(state: &State<KeyValue>) -> Option<&ReplicaState<KeyValue>> {
    match state {
        State::Replica(replica) => Some(replica),
        State::Server(server) => server.replica.as_ref(),
        _ => None,
    }
}

pub(crate) fn replicas<F: Rules, O: Observer<Node<KeyValue, F>>>(
    sim: &Sim<Node<KeyValue, F>, O>,
    layout: Layout,
) -> impl Iterator<Item = &ReplicaState<KeyValue>> {
    (0..layout.nodes()).filter_map(|id| replica(sim.state(Id::from(id))?))
}

/// Has every client got its answers?
pub(crate) fn answered<F: Rules, O: Observer<Node<KeyValue, F>>>(
    sim: &Sim<Node<KeyValue, F>, O>,
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
pub(crate) fn storm<F: Rules>(
    seed: u64,
    config: Config<F>,
    script: impl Fn(usize) -> Vec<KeyValueCommand>,
) -> Result<Sim<Node<KeyValue, F>, Seen>, String> {
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

/// A fifth are reads; of two other commands outstanding hardly any, one in ten or all conflict.
pub(crate) fn one_store_over_udp_at_every_rate_of_conflict(protocol: &str) {
    for keys in [100_000, 10, 1] {
        let folder = tempfile::tempdir().unwrap();
        let small = "\n[limits]\nsnapshot_slots = 256\nretained_slots = 64\n";
        let file = cluster_of(folder.path(), protocol, 3, small);
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
