//! Counts that other tools, or the library's own model, agree with.

use crate::abstract_paxos::AbstractPaxos;
use crate::toy_paxos::{Fault, Toy};
use crate::{exhaust, run, run_within};
use parthood_models::paxos::{ClientParams, Params, Paxos};
use parthood_models::{Limits, Network, Reductions, Setup, System, Torn, Verdict};
use stateright::actor::{ActorModel, LossyNetwork, Network as StockNetwork};
use stateright::{Checker, Expectation, Model};

const COLLECT: Reductions = Reductions { collect: true, ..Reductions::NONE };
const SYMMETRY: Reductions = Reductions { symmetry: true, ..Reductions::NONE };
const BOTH: Reductions = Reductions { collect: true, symmetry: true, ..Reductions::NONE };
const ALL: Reductions = Reductions::ALL;

fn count(toy: Toy, network: Network, reductions: Reductions) -> usize {
    exhaust(&System::new(toy, Setup { network, reductions, ..Setup::default() }))
}

#[test]
fn six_reference_counts_of_paxos_with_two_proposers() {
    let toy = Toy::new(2, 3, 0, 1);
    assert_eq!(count(toy, Network::Unordered, Reductions::NONE), 4_624);
    assert_eq!(count(toy, Network::Duplicating, Reductions::NONE), 2_800);
    assert_eq!(count(toy, Network::Duplicating, COLLECT), 1_288);
    assert_eq!(count(toy, Network::Unordered, SYMMETRY), 870);
    assert_eq!(count(toy, Network::Duplicating, SYMMETRY), 574);
    assert_eq!(count(toy, Network::Duplicating, BOTH), 286);
}

#[test]
fn larger_reference_counts_under_every_reduction() {
    assert_eq!(count(Toy::new(1, 3, 1, 1), Network::Unordered, Reductions::NONE), 182);
    assert_eq!(count(Toy::new(2, 3, 1, 1), Network::Unordered, Reductions::NONE), 33_124);
    assert_eq!(count(Toy::new(2, 3, 1, 1), Network::Unordered, COLLECT), 4_099);
    assert_eq!(count(Toy::new(2, 3, 1, 1), Network::Unordered, BOTH), 843);
    assert_eq!(count(Toy::new(2, 3, 1, 1), Network::Unordered, ALL), 286);
    assert_eq!(count(Toy::new(2, 3, 2, 1), Network::Unordered, BOTH), 6_621);
    assert_eq!(count(Toy::new(2, 3, 2, 1), Network::Unordered, ALL), 286);
    assert_eq!(count(Toy::new(3, 3, 0, 1), Network::Unordered, COLLECT), 39_208);
    assert_eq!(count(Toy::new(3, 3, 0, 1), Network::Unordered, BOTH), 7_270);
    assert_eq!(count(Toy::new(2, 5, 0, 1), Network::Unordered, BOTH), 2_124);
    assert_eq!(count(Toy::new(2, 3, 0, 2), Network::Unordered, BOTH), 32_571);
    assert_eq!(count(Toy::new(2, 3, 0, 2), Network::Duplicating, BOTH), 32_571);
    assert_eq!(count(Toy::new(2, 7, 0, 1), Network::Unordered, BOTH), 10_213);
}

#[test]
fn an_acceptor_that_saves_before_it_answers_is_not_changed_by_a_restart() {
    let setup = Setup { network: Network::Unordered, restarts: 1, ..Setup::default() };
    assert_eq!(exhaust(&System::new(Toy::new(2, 3, 0, 1), setup)), 4_624);
}

/// The library's own model of the same actors, with as much loss as asked for.
fn stock(toy: Toy, network: StockNetwork<crate::toy_paxos::Msg>, lossy: LossyNetwork) -> usize {
    let model =
        ActorModel::new(toy, ()).actors(parthood_models::Protocol::actors(&toy)).init_network(network);
    let model = model.lossy_network(lossy).property(Expectation::Always, "true", |_, _| true);
    model.checker().spawn_dfs().join().unique_state_count()
}

#[test]
fn the_librarys_own_model_counts_the_same_where_it_is_sound() {
    let multiset = || StockNetwork::new_unordered_nonduplicating([]);
    let lossy = Setup { network: Network::Unordered, lossy: true, ..Setup::default() };
    for toy in [Toy::new(2, 3, 0, 1), Toy::new(2, 3, 1, 1), Toy::new(1, 5, 0, 1), Toy::new(1, 3, 2, 1)] {
        assert_eq!(
            count(toy, Network::Unordered, Reductions::NONE),
            stock(toy, multiset(), LossyNetwork::No)
        );
    }
    // With two proposers, lost and skipped messages make the ghost tell more than the actors' states do.
    for toy in [Toy::new(1, 3, 1, 1), Toy::new(1, 5, 0, 1)] {
        assert_eq!(exhaust(&System::new(toy, lossy.clone())), stock(toy, multiset(), LossyNetwork::Yes));
        let ordered = stock(toy, StockNetwork::new_ordered([]), LossyNetwork::No);
        assert_eq!(count(toy, Network::Ordered, Reductions::NONE), ordered);
    }
    assert_eq!(exhaust(&System::new(Toy::new(2, 3, 0, 1), lossy)), 97_097);
    assert_eq!(count(Toy::new(2, 3, 0, 1), Network::Ordered, Reductions::NONE), 10_672);
}

#[test]
fn the_librarys_engines_find_as_many_states_in_our_system() {
    for reductions in [Reductions::NONE, BOTH] {
        let system = || {
            System::new(
                Toy::new(2, 3, 0, 1),
                Setup { network: Network::Unordered, reductions, ..Setup::default() },
            )
        };
        let ours = exhaust(&system());
        assert_eq!(system().checker().spawn_dfs().join().unique_state_count(), ours);
        assert_eq!(system().checker().spawn_bfs().join().unique_state_count(), ours);
    }
}

#[test]
fn no_two_states_of_the_reference_share_a_fingerprint() {
    let system = System::new(Toy::new(2, 3, 0, 1), Setup { network: Network::Unordered, ..Setup::default() });
    let limits = Limits { exact: true, ..Limits::default() };
    let report = run_within(&system, &limits);
    assert_eq!((report.unique, report.confused), (4_624, 0));
}

/// The moves of a shortest way to break agreement.
fn broken(fault: Fault, setup: Setup) -> usize {
    match run(&System::new(Toy::new(2, 3, 0, 1).with(fault), setup)).verdict {
        Verdict::Violated { property: "agreement", path: Some(path) } => path.actions().len(),
        other => panic!("{fault:?}: {other}"),
    }
}

#[test]
fn each_fault_breaks_agreement_after_the_reference_number_of_moves() {
    for network in [Network::Unordered, Network::Duplicating] {
        let setup = Setup { network, ..Setup::default() };
        assert_eq!(broken(Fault::IgnoresPromise, setup.clone()), 12);
        assert_eq!(broken(Fault::QuorumMinusOne, setup.clone()), 8);
        assert_eq!(broken(Fault::OwnValue, setup.clone()), 12);
        assert_eq!(broken(Fault::NoSave, Setup { restarts: 1, ..setup }), 13);
    }
}

#[test]
fn sends_released_before_a_torn_save_break_agreement_and_sends_held_back_do_not() {
    let setup = |torn| Setup { network: Network::Unordered, restarts: 1, torn, ..Setup::default() };
    exhaust(&System::new(Toy::new(2, 3, 0, 1), setup(Torn::Held)));
    assert_eq!(broken(Fault::None, setup(Torn::Released)), 12);
}

#[test]
fn a_collection_that_trusts_a_broken_actor_is_caught() {
    let setup = Setup { reductions: COLLECT, ..Setup::default() };
    let report = run(&System::new(Toy::new(2, 3, 0, 1).with(Fault::IgnoresPromise), setup));
    let Verdict::Violated { property, path: Some(path) } = report.verdict else {
        panic!("{}", report.verdict)
    };
    assert_eq!((property, path.actions().len()), ("a collected message would have been ignored", 5));
}

#[test]
fn abstract_paxos_has_the_states_that_tlc_and_spin_count() {
    assert_eq!(exhaust(&AbstractPaxos { ballots: 2, symmetric: false }), 3_921);
    assert_eq!(exhaust(&AbstractPaxos { ballots: 2, symmetric: true }), 857);
    assert_eq!(exhaust(&AbstractPaxos { ballots: 3, symmetric: true }), 34_113);
    let report = run(&AbstractPaxos { ballots: 3, symmetric: false });
    assert_eq!((report.unique, report.depth + 1), (185_369, 25));
}

#[test]
fn the_librarys_own_model_counts_the_same_for_the_real_paxos() {
    let client = |first| ClientParams { first, retries: 0, outsider: false };
    for clients in [vec![client(0)], vec![client(0), client(0)], vec![client(0), client(1)]] {
        let params = Params {
            proposers: 2,
            acceptors: 3,
            quorums: None,
            clients,
            round_max: 1,
            nack: false,
            resend: false,
            answers: false,
        };
        let paxos = Paxos::new(&params, None).unwrap();
        let model = ActorModel::new((), ()).actors(parthood_models::Protocol::actors(&paxos));
        let model = model.init_network(StockNetwork::new_unordered_nonduplicating([]));
        let stock = model.property(Expectation::Always, "true", |_, _| true).checker().spawn_dfs().join();
        let setup = Setup { network: Network::Unordered, ..Setup::default() };
        assert_eq!(exhaust(&System::new(paxos, setup)), stock.unique_state_count());
    }
}
