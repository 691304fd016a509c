//! A leader that dies with a hole in its column: a vertex that dependency nodes know and nobody proposes. What depends on it
//! waits until a replica has it recovered; nothing else does.

use super::{Actor, Seen, actors, config, millis};
use crate::harness::{cluster_of, free_ports};
use itertools::Itertools as _;
use parthood::deploy::{
    self, ClientRole, Cluster, Commands, DurableJournal, Reads, Replicates as _, ServeOptions,
};
use parthood::runtime::udp::{ClientProcess, Driver, Faults};
use parthood_protocols::bpaxos::{Config, Layout, Limits, Msg, Node, Role, State};
use parthood_protocols::client::ClientMsg;
use parthood_protocols::state_machine::{Bytes, KeyValue, KeyValueCommand};
use parthood_runtime::sim::{Fault, Network, Settings, Sim, Stop};
use stateright::actor::Id;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Leader 0 writes two keys and dies, its last vertex known to the dependency nodes and proposed by nobody if there is to be a
/// hole. Meanwhile a client of leader 1 writes the key of the hole and one of leader 2 the other key. How long the slowest
/// command of each takes from then on. (At one leader compaction would have each key's commands wait for the other's.)
fn slowest_after_a_death(hole: bool, compaction: Option<u64>) -> [Duration; 2] {
    const EACH: usize = 300;
    const DOOMED: usize = 6;
    let layout = Layout { leaders: 3, dependency_nodes: 3, acceptors: 3, replicas: 2, proposers: 0 };
    let config = Config { compaction, ..config(layout, 3, Limits::default()) };
    let write = |key: &str| KeyValueCommand::Increment(Bytes::from(key), 1);
    let mut doomed = vec![write("cold"); DOOMED - 1];
    doomed.push(write("hot"));
    let mut actors = actors(config, vec![doomed, vec![write("hot"); EACH], vec![write("cold"); EACH]]);
    let nodes = layout.nodes();
    for actor in &mut actors[nodes..] {
        if let Node::Client(client) = actor {
            client.retry_after = Duration::from_secs(1_000)..Duration::from_secs(1_001);
        }
    }
    let settings = Settings { network: Network::perfect(millis(1)), ..Settings::default() };
    let mut sim = Sim::new(actors, settings, Seen::default()).unwrap();
    let others = [nodes + 1, nodes + 2];
    for other in others {
        sim.apply(&Fault::Pause(other)).unwrap();
    }
    let leader = layout.id(Role::Leader, 0);
    let numbered = |sim: &Sim<Actor, Seen>| match sim.state(leader) {
        Some(State::Leader(state)) => state.next,
        _ => 0,
    };
    assert_eq!(sim.run_while(Duration::from_secs(5), |sim| numbered(sim) < DOOMED as u64), Stop::Done);
    if hole {
        let back = layout.ids(Role::DependencyNode).map(|id| (id.into(), leader.into())).collect();
        sim.apply(&Fault::Cut(back)).unwrap();
    }
    sim.run_until(sim.now() + millis(20));
    sim.apply(&Fault::Crash(leader.into())).unwrap();
    let dead_at = u64::try_from(sim.now().as_nanos()).unwrap();
    for other in others {
        sim.apply(&Fault::Resume(other)).unwrap();
    }
    let done = |sim: &Sim<Actor, Seen>| {
        others.iter().all(|client| match sim.state(Id::from(*client)) {
            Some(State::Client(client)) => client.is_idle() && client.invoked() == EACH,
            _ => false,
        })
    };
    assert_eq!(sim.run_while(Duration::from_secs(60), |sim| !done(sim)), Stop::Done);
    others.map(|client| {
        let operations = sim.observer().clients.operations.iter();
        let own = operations.filter(|op| op.client == client as u64 && op.invoked >= dead_at);
        let took = own.filter_map(|operation| Some(operation.returned.as_ref()?.at - operation.invoked));
        Duration::from_nanos(took.max().unwrap())
    })
}

#[test]
fn a_leader_that_dies_with_a_hole_in_its_column_delays_only_what_depends_on_it() {
    for compaction in [None, Some(1)] {
        let without = slowest_after_a_death(false, compaction);
        // From the client by way of leader, dependency node, leader, acceptor, leader and replica: seven messages.
        assert_eq!(without, [millis(7); 2], "{compaction:?}");
        let [hot, cold] = slowest_after_a_death(true, compaction);
        assert_eq!(cold, millis(7), "{compaction:?}: nothing else waits any longer");
        // Asked first is the dead leader, then a replica, then another leader: three waits of up to 450 ms.
        assert!(hot > millis(450) && hot < millis(1_400), "{compaction:?}: {hot:?}");
    }
}

/// A client over UDP that turns to one leader first.
struct Caller {
    driver: Driver<Node<KeyValue>, DurableJournal>,
    id: Id,
    asked: Instant,
}

impl Caller {
    fn of(cluster: &Cluster, leader: u64) -> Self {
        let id = ClientProcess::random().unwrap().id(0);
        let role =
            ClientRole { commands: Commands::Application { lanes: 1 }, reads: Reads::Log, turn: leader };
        let builder = Driver::builder(cluster.id, cluster.key().unwrap(), cluster.book());
        let driver = builder.host(id, deploy::Bpaxos::client(cluster, role)).build().unwrap();
        Self { driver, id, asked: Instant::now() }
    }

    fn ask(&mut self, key: &str) {
        let command = KeyValueCommand::Increment(Bytes::from(key), 1);
        self.asked = Instant::now();
        assert!(self.driver.inject(self.id, Msg::Client(ClientMsg::Invoke { pseudonym: 0, command })));
    }

    /// How long the answer took, if it comes within the time.
    fn answered_within(&mut self, patience: Duration) -> Option<Duration> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            self.driver.turn(Some(left.min(millis(20)))).unwrap();
            let returned = |(_, msg): (Id, _)| matches!(msg, Msg::Client(ClientMsg::Returned { .. }));
            if self.driver.outbox().any(returned) {
                return Some(self.asked.elapsed());
            }
            if left.is_zero() {
                return None;
            }
        }
    }

    fn took(&mut self, key: &str) -> Duration {
        self.ask(key);
        self.answered_within(Duration::from_secs(30)).expect("clients are answered in the end")
    }
}

/// A leader in a process of its own, the dependency nodes in one, and all others in one. Before the leader dies the dependency
/// nodes hear of its last vertex, and their answers are lost, if there is to be a hole. How long a client of another leader
/// then waits for the key of the hole, how long one of the third leader waits for another key at most, and how many answers
/// it gets meanwhile. (It takes its time: a snapshot or a dependency node's new generation would make everything wait.)
fn waits_after_a_death_over_udp(hole: bool) -> (Duration, Duration, usize) {
    let folder = tempfile::tempdir().unwrap();
    let slow = "\n[times]\nretry_ms = [1000, 1001]\n";
    let file = cluster_of(folder.path(), "bpaxos", 3, slow);
    let mut cluster = Cluster { data: None, ..Cluster::load(&file).unwrap() };
    let ports = free_ports(3);
    let nodes = |cluster: &Cluster, process: usize| {
        let address = SocketAddr::from(([127, 0, 0, 1], ports[process]));
        cluster.members.iter().positions(|member| member.address == address).collect_vec()
    };
    for (index, member) in cluster.members.iter_mut().enumerate() {
        let process = match member.role {
            "leader" if index == 0 => 0,
            "dependency_node" => 1,
            _ => 2,
        };
        member.address = SocketAddr::from(([127, 0, 0, 1], ports[process]));
    }
    let serve =
        |process| deploy::serve(&cluster, &nodes(&cluster, process), &ServeOptions::default()).unwrap();
    let (leader, dependency_nodes, others) = (serve(0), serve(1), serve(2));
    // Asking again at the third leader would have its other commands wait too, since dependencies are compacted.
    let patient = cluster.text.replace(slow, "\n[times]\nretry_ms = [20000, 20001]\n");
    let patient = Cluster { times: Cluster::read(&file, &patient).unwrap().times, ..cluster.clone() };
    let mut callers = [0, 1, 2].map(|leader| Caller::of(&patient, leader));
    for (caller, key) in callers.iter_mut().zip(["cold", "hot", "cold"]) {
        caller.took(key);
    }
    let [doomed, hot, cold] = &mut callers;
    let lose = |drop| dependency_nodes.handles[0].set_faults(Faults { drop, ..Faults::default() });
    if hole {
        lose(1.0);
        doomed.ask("hot");
        // Answers are lost from some moment on.
        while doomed.answered_within(millis(500)).is_some() {
            doomed.ask("hot");
        }
    } else {
        doomed.took("hot");
    }
    leader.stop().unwrap();
    lose(0.0);

    hot.ask("hot");
    let (mut waited, mut slowest, mut meanwhile, mut answers) = (None, Duration::ZERO, 0, 0);
    while waited.is_none() || answers < 50 {
        slowest = slowest.max(cold.took("cold"));
        std::thread::sleep(millis(1));
        answers += 1;
        if waited.is_none() {
            waited = hot.answered_within(Duration::ZERO);
            meanwhile = answers;
        }
    }
    dependency_nodes.stop().unwrap();
    others.stop().unwrap();
    (waited.unwrap_or_default(), slowest, meanwhile)
}

#[test]
fn over_udp_too_a_hole_delays_only_what_depends_on_it() {
    // A replica asks for a vertex after a second at least: first the dead leader, then another replica, then another leader.
    let least = Duration::from_secs(3);
    let (hot, cold, _) = waits_after_a_death_over_udp(false);
    assert!(hot < least && cold < least, "nothing waits for what the leader finished: {hot:?}, {cold:?}");
    let (hot, cold, meanwhile) = waits_after_a_death_over_udp(true);
    assert!(hot >= least, "{hot:?}");
    assert!(cold < least / 2, "{cold:?}");
    assert!(meanwhile > 50, "{meanwhile} commands were answered while one waited {hot:?}");
}
