//! A leader that dies with a hole in its column: a vertex that dependency nodes know and nobody proposes. What depends on it
//! waits until a replica has it recovered; nothing else does.

use super::storm::{Seen, actors, millis};
use super::{Actor, config};
use parthood_protocols::bpaxos::{Config, Layout, Limits, Node, Role, State};
use parthood_protocols::state_machine::{Bytes, KeyValueCommand};
use parthood_runtime::sim::{Fault, Network, Settings, Sim, Stop};
use stateright::actor::Id;
use std::time::Duration;

/// Leader 0 writes two keys and dies, its last vertex known to the dependency nodes and proposed by nobody if there is to be a
/// hole. Meanwhile a client of leader 1 writes the key of the hole and one of leader 2 the other key. How long the slowest
/// command of each takes from then on. (At one leader compaction would have each key's commands wait for the other's.)
fn slowest_after_a_death(hole: bool, compaction: Option<u64>) -> [Duration; 2] {
    const EACH: usize = 300;
    const DOOMED: usize = 6;
    let layout =
        Layout { leaders: 3, dependency_nodes: 3, acceptors: 3, replicas: 2, proposers: 0, coupled: false };
    let config = Config { compaction, ..config(layout, Limits::default()) };
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
        // Whole ones: a timer of no length takes the simulator a nanosecond.
        millis(took.max().unwrap() / 1_000_000)
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
        // Asked first is the dead leader, then another one: two waits of 150 to 450 ms.
        assert!(hot > millis(300) && hot < millis(950), "{compaction:?}: {hot:?}");
    }
}
