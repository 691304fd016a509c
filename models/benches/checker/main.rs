//! How fast states are visited, beside Stateright's own model and engines on the same actors within the same bounds; and
//! what the reductions leave of them. `cargo bench -p parthood-models`.
//!
//! Two sets of actors: the Paxos of this project, with clients and a ghost of all votes, whose properties the library's
//! model cannot express; and [`plain_paxos`], with properties that both evaluate. Neither has timers on two actors or
//! random choices, so the library's counts are sound, and must be equal.

mod plain_paxos;

use parthood_models::paxos::{ClientParams, Params, Paxos};
use parthood_models::{Limits, Network, Protocol, Reductions, Setup, System, Verdict, check};
use plain_paxos::Plain;
use stateright::actor::{ActorModel, Network as StockNetwork};
use stateright::{Checker, CheckerBuilder, Expectation, Model};
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

/// A search that is measured: its name, and what counts its states.
type Contestant<'a> = (&'a str, &'a dyn Fn() -> usize);

/// Lets all search in turn, several times, and prints the best time of each beside that of the first, which is the
/// library's. What else the machine does so befalls all of them.
fn race(title: &str, runs: usize, contestants: &[Contestant<'_>]) -> Vec<usize> {
    let mut best = vec![(0, Duration::MAX); contestants.len()];
    for _ in 0..runs {
        for ((_, search), best) in contestants.iter().zip(&mut best) {
            let started = Instant::now();
            let states = search();
            *best = (states, best.1.min(started.elapsed()));
        }
    }
    println!("{title}");
    let speed = |(states, took): (usize, Duration)| {
        f64::from(u32::try_from(states).expect("a search has fewer than 2³² states")) / took.as_secs_f64()
    };
    for ((name, _), row) in contestants.iter().zip(&best) {
        let (ms, ratio) = (row.1.as_secs_f64() * 1e3, speed(*row) / speed(best[0]));
        println!("  {name:<42}{:>10}{ms:>10.1}{:>13.0}{ratio:>7.2}", row.0, speed(*row));
    }
    best.into_iter().map(|(states, _)| states).collect()
}

fn ours<P: Protocol>(protocol: P, reductions: Reductions) -> usize {
    let system = System::new(protocol, Setup { network: Network::Unordered, reductions, ..Setup::default() });
    let report = check(&system, &Limits::default(), &mut |_| ControlFlow::Continue(()));
    assert_eq!(report.verdict, Verdict::Holds);
    report.unique
}

/// The library's model of the same actors, with one property that costs nothing.
fn stock(paxos: &Paxos) -> CheckerBuilder<ActorModel<<Paxos as Protocol>::Actor>> {
    let network = StockNetwork::new_unordered_nonduplicating([]);
    let model = ActorModel::new((), ()).actors(paxos.actors()).init_network(network);
    model.property(Expectation::Always, "true", |_, _| true).checker()
}

fn plain(plain: Plain, runs: usize) {
    let stock = || plain.actor_model().checker();
    let Plain { proposers, acceptors } = plain;
    let title = format!(
        "Plain Paxos, {proposers} proposers with a ballot each, {acceptors} acceptors, the same properties"
    );
    let states = race(
        &title,
        runs,
        &[
            ("ActorModel, breadth first", &|| stock().spawn_bfs().join().unique_state_count()),
            ("ActorModel, breadth first, 2 threads", &|| {
                stock().threads(2).spawn_bfs().join().unique_state_count()
            }),
            ("System, no reductions", &|| ours(plain, Reductions::NONE)),
        ],
    );
    assert!(states.iter().all(|count| *count == states[0]), "the same actors have the same states");
}

fn dueling(acceptors: usize, runs: usize) {
    let paxos = duel(acceptors);
    let both = Reductions { eager: false, ..Reductions::ALL };
    let states = race(
        &format!("Paxos, 2 proposers, {acceptors} acceptors, 2 clients, rounds 0 and 1, unordered network"),
        runs,
        &[
            ("ActorModel, breadth first", &|| stock(&paxos).spawn_bfs().join().unique_state_count()),
            ("ActorModel, breadth first, 2 threads", &|| {
                stock(&paxos).threads(2).spawn_bfs().join().unique_state_count()
            }),
            ("ActorModel, depth first", &|| stock(&paxos).spawn_dfs().join().unique_state_count()),
            ("System, all properties", &|| ours(paxos.clone(), Reductions::NONE)),
            ("System, symmetry and collection", &|| ours(paxos.clone(), both)),
            ("System, all reductions", &|| ours(paxos.clone(), Reductions::ALL)),
        ],
    );
    assert_eq!(states[0], states[3], "the same actors have the same states");
}

fn main() {
    println!("{:<44}{:>10}{:>10}{:>13}{:>7}", "", "states", "ms", "states/s", "ratio");
    plain(Plain { proposers: 2, acceptors: 3 }, 12);
    dueling(3, 10);
    dueling(4, 3);
}
