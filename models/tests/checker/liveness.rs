//! Which fair runs stay away from a goal.

use crate::toys::{Climber, Graph};
use parthood_models::{Limits, Liveness, Network, Path, Setup, System, live};

fn odd(graph: &[&[u8]]) -> Liveness {
    live(
        &Graph(graph.iter().map(|edges| edges.to_vec()).collect()),
        |state| state % 2 == 1,
        &Limits::default(),
    )
}

#[test]
fn an_end_without_the_goal_is_stuck() {
    assert_eq!(odd(&[&[1, 2], &[], &[]]), Liveness::Stuck { path: Path::new(vec![1]), states: 1 });
}

#[test]
fn a_cycle_that_puts_nothing_off_is_stuck() {
    assert_eq!(odd(&[&[2], &[], &[0]]), Liveness::Stuck { path: Path::new(vec![]), states: 2 });
}

#[test]
fn a_cycle_that_puts_the_goal_off_for_ever_is_not_fair() {
    assert_eq!(odd(&[&[2, 1], &[], &[0, 1]]), Liveness::Reached { unique: 2 });
}

#[test]
fn what_is_possible_only_now_and_then_may_be_missed_for_ever() {
    assert!(matches!(odd(&[&[2, 1], &[], &[0]]), Liveness::Stuck { states: 2, .. }));
}

#[test]
fn a_path_through_the_goal_does_not_count() {
    assert_eq!(odd(&[&[1], &[2], &[2]]), Liveness::Reached { unique: 1 });
}

#[test]
fn loss_prevents_what_delivery_ensures() {
    let taken = |lossy| {
        let setup = Setup { network: Network::Unordered, lossy, ..Setup::default() };
        let system = System::new(Climber { sends: vec![3, 4] }, setup);
        live(&system, |state| state.actors().get(1) == Some(&4), &Limits::default())
    };
    assert!(matches!(taken(false), Liveness::Reached { .. }));
    assert!(matches!(taken(true), Liveness::Stuck { .. }));
}

#[test]
fn too_many_states_are_inconclusive() {
    let system = System::new(Climber { sends: vec![3, 4] }, Setup::default());
    let limits = Limits { states: 2, ..Limits::default() };
    assert_eq!(live(&system, |_| false, &limits), Liveness::Inconclusive(2));
}
