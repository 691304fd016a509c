//! Defects of Stateright 0.31, each beside the answer given here. (Defects of its reliable link and of its runtime have no
//! counterpart: neither is used.)

use crate::toys::{Climber, Graph, Idlers, Line};
use crate::{exhaust, run, run_within};
use parthood_models::{Limits, Liveness, Network, Setup, System, Verdict, Walk, Why, check, live, walk};
use stateright::actor::{ActorModel, Network as StockNetwork};
use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::ops::ControlFlow;

fn go_on(_: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn stock_count(idlers: Idlers) -> usize {
    let model = ActorModel::new(idlers, ()).actors(parthood_models::Protocol::actors(&idlers));
    let model = model.property(Expectation::Always, "true", |_, _| true);
    model.checker().spawn_bfs().join().unique_state_count()
}

#[test]
fn states_that_differ_in_who_holds_a_timer_or_a_choice_are_different() {
    for choose in [false, true] {
        let idlers = Idlers { count: 4, choose };
        assert_eq!(exhaust(&System::new(idlers, Setup::default())), 16);
        assert_eq!(stock_count(idlers), 5, "the library has been corrected");
    }
}

#[test]
fn a_search_cut_short_never_says_that_anything_holds() {
    let line = Line { last: 10_000, wrong: 9_000 };
    let limits = Limits { states: 1_000, ..Limits::default() };
    let report = run_within(&line, &limits);
    assert_eq!((report.verdict, report.unique), (Verdict::Inconclusive(Why::States(1_000)), 1_000));
    let limits = Limits { depth: 8_999, ..Limits::default() };
    assert_eq!(run_within(&line, &limits).verdict, Verdict::Inconclusive(Why::Depth(8_999)));

    let stock = line.checker().target_state_count(1_000).spawn_bfs().join();
    assert!(stock.is_done() && stock.discovery("right").is_none(), "the library has been corrected");
}

#[test]
fn a_search_stops_when_it_is_told_to() {
    let line = Line { last: 1_000_000, wrong: u32::MAX };
    let mut calls = 0;
    let report = check(&line, &Limits::default(), &mut |_| {
        calls += 1;
        if calls < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!((report.verdict, calls), (Verdict::Inconclusive(Why::Stopped), 3));
}

#[test]
fn a_bound_on_depth_counts_moves() {
    let line = Line { last: 10, wrong: 5 };
    let found = |depth| run_within(&line, &Limits { depth, ..Limits::default() }).verdict;
    assert!(matches!(found(5), Verdict::Violated { property: "right", .. }));
    assert_eq!(found(4), Verdict::Inconclusive(Why::Depth(4)));

    let stock =
        |depth| line.checker().target_max_depth(depth).spawn_bfs().join().discovery("right").is_some();
    assert!(!stock(6) && stock(7), "the library has been corrected");
}

#[test]
fn a_counterexample_is_a_shortest_one_whatever_else_is_looked_for() {
    let line = Line { last: 3_000, wrong: 5 };
    let Verdict::Violated { property: "right", path: Some(path) } = run(&line).verdict else { panic!() };
    assert_eq!(path.actions().len(), 5);

    let stock = line.checker().finish_when(HasDiscoveries::All).spawn_bfs().join();
    let found = stock.discovery("right").unwrap().into_actions().len();
    assert!(found > 5, "the library has been corrected");
}

#[test]
fn a_walk_replays_to_the_violation_that_it_reports() {
    let fault = crate::toy_paxos::Fault::QuorumMinusOne;
    let toy = crate::toy_paxos::Toy::new(2, 3, 0, 1).with(fault);
    let system = System::new(toy, Setup { network: Network::Unordered, ..Setup::default() });
    for seed in 0..20 {
        let how = Walk { seed, walks: 1_000, steps: 100 };
        let Verdict::Violated { property: "agreement", path: Some(path) } =
            walk(&system, &how, &mut go_on).verdict
        else {
            panic!("seed {seed}")
        };
        let end = system.follow(&path, |_, _, _| {}).unwrap();
        assert!(crate::toy_paxos::chosen(&system.view(&end)).len() > 1, "seed {seed}");
        assert_eq!(walk(&system, &how, &mut go_on), walk(&system, &how, &mut go_on));
    }
}

#[test]
fn cycles_and_joins_do_not_hide_that_a_goal_is_missed() {
    // Round and round; and two ways to an end, of which one is known when the other joins it.
    let (cycle, join) =
        (Graph(vec![vec![2], vec![], vec![0]]), Graph(vec![vec![1, 2], vec![2], vec![4], vec![], vec![]]));
    for graph in [&cycle, &join] {
        let found = live(graph, |state| state % 2 == 1, &Limits::default());
        assert!(matches!(found, Liveness::Stuck { .. }), "{found:?}");
    }
    for graph in [cycle, Graph(vec![vec![2, 1], vec![], vec![4], vec![4], vec![0]])] {
        assert!(
            graph.checker().spawn_bfs().join().discovery("odd").is_none(),
            "the library has been corrected"
        );
    }
}

#[test]
fn equal_messages_in_flight_are_counted() {
    let system =
        System::new(Climber { sends: vec![3, 3] }, Setup { network: Network::Unordered, ..Setup::default() });
    assert_eq!(system.initial().messages().count(), 2);

    let both = [3, 3].map(|msg| stateright::actor::Envelope { src: 0.into(), dst: 1.into(), msg });
    let stock = StockNetwork::new_unordered_nonduplicating(both);
    assert_eq!(stock.iter_all().count(), 3, "the library has been corrected");
}

#[test]
fn a_message_that_is_ignored_on_an_ordered_network_is_seen_to_be() {
    let setup = Setup { network: Network::Ordered, ..Setup::default() };
    let system = System::new(Climber { sends: vec![3, 2, 4] }, setup);
    // The head of the channel moves although 2 is ignored; the ghost sees that nothing was taken in.
    assert_eq!(exhaust(&system), 4);
    let end = system.follow(&"0/0/0/0".parse().unwrap(), |_, _, _| {}).unwrap();
    assert_eq!(end.ghost(), &[3, 4]);
}

#[test]
fn a_path_of_twenty_thousand_moves_is_no_burden() {
    let report = run(&Line { last: 20_000, wrong: u32::MAX });
    assert_eq!((report.verdict, report.unique, report.depth), (Verdict::Holds, 20_001, 20_000));
}

#[test]
fn restarts_are_atomic_and_bounded_in_total() {
    // Nothing is saved, so each restart begins again at zero; the duplicating network delivers once more.
    let count = |restarts| {
        let system = System::new(Climber { sends: vec![1] }, Setup { restarts, ..Setup::default() });
        let report = run(&system);
        (
            report.unique,
            matches!(report.verdict, Verdict::Violated { property: "what is taken in climbs", .. }),
        )
    };
    assert_eq!(count(0), (2, false));
    // Zero and one, before and after the restart, and what was taken in before.
    assert_eq!(count(1), (4, false));
    assert_eq!(count(2), (6, false));
}
