//! What is not collected is bounded for each leader, and what would make room is never refused for want of it.

use super::storm::{CLIENTS, COMMANDS, actors, answered, millis, tiny};
use super::{Actor, MERGED, SEPARATE, config, counting};
use parthood_protocols::bpaxos::{Config, Layout, Limits, Role, State};
use parthood_runtime::sim::{Fault, Settings, Sim, Stop};
use std::time::Duration;

const COLUMN: u64 = 32;

/// The most vertices of which an acceptor knows anything.
fn most_votes(sim: &Sim<Actor, ()>, layout: Layout) -> usize {
    let votes = |id| match sim.state(id) {
        Some(State::Acceptor(acceptor)) => acceptor.ballots.len(),
        _ => 0,
    };
    layout.ids(Role::Acceptor).map(votes).max().unwrap_or(0)
}

/// All replicas but one pause, so that nothing is collected; the columns fill up, and a leader crashes and forgets what waits
/// for dependencies. Were all clients answered once the replicas went on, and in the meantime?
fn answered_before_and_after_a_pause(layout: Layout, limits: Limits) -> [bool; 2] {
    let settled = Config { saves_needed: 2, ..config(layout, limits) };
    let actors = actors(settled, (0..CLIENTS).map(counting(50)).collect());
    let mut sim = Sim::new(actors, Settings::default(), ()).unwrap();
    let paused: Vec<usize> = layout.ids(Role::Replica).skip(1).map(usize::from).collect();
    for replica in &paused {
        sim.apply(&Fault::Pause(*replica)).unwrap();
    }
    let leader = usize::from(layout.id(Role::Leader, 0));
    let done = |sim: &Sim<Actor, ()>| answered(sim, layout, CLIENTS, COMMANDS);
    sim.run_until(millis(300));
    sim.apply(&Fault::Crash(leader)).unwrap();
    sim.run_until(millis(400));
    sim.apply(&Fault::Restart(leader)).unwrap();
    sim.run_until(Duration::from_secs(10));
    let before = done(&sim);
    for replica in &paused {
        sim.apply(&Fault::Resume(*replica)).unwrap();
    }
    let stop = sim.run_while(Duration::from_secs(100), |sim| {
        assert!(most_votes(sim, layout) <= layout.leaders * usize::try_from(COLUMN).unwrap());
        !done(sim)
    });
    [before, stop == Stop::Done]
}

#[test]
fn full_columns_stop_commands_and_not_what_makes_room() {
    let bounded = Limits { column_vertices: COLUMN, ..tiny() };
    for layout in [MERGED, SEPARATE] {
        assert_eq!(answered_before_and_after_a_pause(layout, bounded), [false, true], "{layout:?}");
        // Without snapshots there is never room again.
        let never = Limits { snapshot_vertices: u64::MAX, ..bounded };
        assert_eq!(answered_before_and_after_a_pause(layout, never), [false, false], "{layout:?}");
    }
}
