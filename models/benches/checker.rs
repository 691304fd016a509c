//! How fast states are visited, beside Stateright's own model and engines on the same actors within the same bounds; and
//! what the reductions leave of them. `cargo bench -p parthood-models`.

use parthood_models::paxos::{ClientParams, Params, Paxos};
use parthood_models::{Limits, Network, Protocol, Reductions, Setup, System, Verdict, check};
use stateright::actor::{ActorModel, Network as StockNetwork};
use stateright::{Checker, Expectation, Model};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Two proposers that duel in rounds 0 and 1.
fn duel(acceptors: usize) -> Paxos {
    let client = |first| ClientParams { first, retries: 0, outsider: false };
    let params = Params {
        proposers: 2,
        acceptors,
        quorums: None,
        clients: vec![client(0), client(1)],
        round_max: 1,
        nack: false,
        resend: false,
        answers: false,
    };
    Paxos::new(&params, None).expect("the configuration makes sense")
}

/// The best of several runs, with what it counted.
fn best(runs: usize, mut once: impl FnMut() -> usize) -> (usize, Duration) {
    let timed = (0..runs).map(|_| {
        let started = Instant::now();
        let states = once();
        (states, started.elapsed())
    });
    timed.min_by_key(|(_, took)| *took).expect("there is a run")
}

fn ours(paxos: &Paxos, reductions: Reductions) -> usize {
    let system =
        System::new(paxos.clone(), Setup { network: Network::Unordered, reductions, ..Setup::default() });
    let report = check(&system, &Limits::default(), &mut |_| ControlFlow::Continue(()));
    assert_eq!(report.verdict, Verdict::Holds);
    report.unique
}

/// The library's model of the same actors, with one property that costs nothing.
fn stock(paxos: &Paxos, depth_first: bool) -> usize {
    let network = StockNetwork::new_unordered_nonduplicating([]);
    let model = ActorModel::new((), ()).actors(paxos.actors()).init_network(network);
    let checker = model.property(Expectation::Always, "true", |_, _| true).checker();
    if depth_first {
        checker.spawn_dfs().join().unique_state_count()
    } else {
        checker.spawn_bfs().join().unique_state_count()
    }
}

fn main() {
    println!("{:<44}{:>10}{:>10}{:>13}{:>7}", "", "states", "ms", "states/s", "ratio");
    for (acceptors, runs) in [(3, 10), (4, 3)] {
        let paxos = duel(acceptors);
        println!("Paxos, 2 proposers, {acceptors} acceptors, 2 clients, rounds 0 and 1, unordered network");
        let base = best(runs, || stock(&paxos, false));
        let both = Reductions { eager: false, ..Reductions::ALL };
        let rows = [
            ("ActorModel, breadth first", base),
            ("ActorModel, depth first", best(runs, || stock(&paxos, true))),
            ("System, all properties", best(runs, || ours(&paxos, Reductions::NONE))),
            ("System, symmetry and collection", best(runs, || ours(&paxos, both))),
            ("System, all reductions", best(runs, || ours(&paxos, Reductions::ALL))),
        ];
        let speed = |(states, took): (usize, Duration)| {
            f64::from(u32::try_from(states).expect("a search has fewer than 2³² states")) / took.as_secs_f64()
        };
        for (name, row) in rows {
            let (ms, ratio) = (row.1.as_secs_f64() * 1e3, speed(row) / speed(base));
            println!("  {name:<42}{:>10}{ms:>10.1}{:>13.0}{ratio:>7.2}", row.0, speed(row));
        }
    }
}
