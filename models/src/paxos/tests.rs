//! The reductions of this model are exact, and its mutants die with them too.

use super::{ClientParams, Params, Paxos, Value};
use crate::{
    Kind, Limits, Liveness, Move, Network, Reductions, Setup, Space, State, System, Verdict, check, index,
    live,
};
use itertools::Itertools;
use parthood_protocols::paxos::{Mutant, Phase, State as PaxosState, Storage};
use parthood_quorums::NodeSet;
use stateright::actor::Id;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;

/// Two proposers with a client each, three acceptors, rounds 0 and 1.
fn duel() -> Params {
    let client = |first| ClientParams { first, retries: 0, outsider: false };
    Params {
        proposers: 2,
        acceptors: 3,
        quorums: None,
        clients: vec![client(0), client(1)],
        round_max: 1,
        nack: false,
        resend: false,
        answers: false,
    }
}

fn system(mutant: Option<Mutant>, setup: Setup) -> System<Paxos> {
    System::new(Paxos::new(&duel(), mutant).unwrap(), setup)
}

/// The smallest hash of a state under all renamings of the acceptors; shares nothing with the signatures.
struct Renamed(System<Paxos>);

impl Renamed {
    fn hash(&self, state: &State<Paxos>, names: &[usize]) -> u64 {
        let config = &self.0.protocol().config;
        let rename = |id: Id| match config.acceptor_index(id) {
            Some(number) => config.proposers + names[number],
            None => index(id),
        };
        let set = |set: NodeSet| -> NodeSet {
            (0..config.acceptors).filter(|number| set.contains(*number)).map(|number| names[number]).collect()
        };
        let actor = |state: &PaxosState<Value>| {
            let mut state = state.clone();
            if let PaxosState::Proposer(proposer) = &mut state {
                match &mut proposer.phase {
                    Phase::Phase1 { promised: nodes, .. } | Phase::Phase2 { voted: nodes, .. } => {
                        *nodes = set(*nodes);
                    }
                    Phase::Idle | Phase::Done(_) => {}
                }
            }
            state
        };
        let place = |at: usize| rename(Id::from(at));
        let mut actors: Vec<_> =
            state.actors().iter().map(actor).enumerate().map(|(at, s)| (place(at), s)).collect();
        actors.sort_by_key(|(at, _)| *at);
        let mut storage: Vec<(usize, &Storage<Value>)> = (state.storage.iter().enumerate())
            .filter_map(|(at, storage)| Some((place(at), &**storage.as_ref()?)))
            .collect();
        storage.sort_by_key(|(at, _)| *at);
        let mut flight: Vec<_> =
            state.messages().map(|(src, dst, msg)| (rename(src), rename(dst), msg)).collect();
        flight.sort_unstable();
        let cast: Vec<_> = state.ghost.cast.iter().map(|(vote, voters)| (*vote, set(*voters))).collect();
        let mut hasher = DefaultHasher::new();
        (actors, storage, flight, cast, &state.ghost.proposed, state.ghost.went_back, state.restarts)
            .hash(&mut hasher);
        hasher.finish()
    }
}

impl Space for Renamed {
    type State = State<Paxos>;
    type Move = Move;

    fn initial(&self) -> Self::State {
        self.0.initial()
    }

    fn moves(&self, state: &Self::State, moves: &mut Vec<Move>) {
        self.0.moves(state, moves);
    }

    fn apply(&self, state: &Self::State, mv: Move, next: &mut Self::State) -> bool {
        self.0.apply_to(state, mv, next)
    }

    fn fingerprint(&self, state: &Self::State) -> u64 {
        let acceptors = self.0.protocol().config.acceptors;
        (0..acceptors)
            .permutations(acceptors)
            .map(|names| self.hash(state, &names))
            .min()
            .expect("one at least")
    }

    fn properties(&self) -> Vec<(&'static str, Kind)> {
        vec![]
    }

    fn holds(&self, _: usize, _: &Self::State) -> bool {
        true
    }
}

fn run<S: Space>(space: &S, only: Option<&str>) -> crate::Report {
    let limits = Limits { only: only.map(Into::into), ..Limits::default() };
    check(space, &limits, &mut |_| ControlFlow::Continue(()))
}

#[test]
fn sorted_signatures_tell_as_many_states_apart_as_all_renamings() {
    let worlds = [
        (Network::Duplicating, 0, None),
        (Network::Unordered, 0, Some(Mutant::NoPromise)),
        (Network::Unordered, 1, Some(Mutant::AcceptorForgets)),
    ];
    for (network, restarts, mutant) in worlds {
        let world = |symmetry| Setup {
            network,
            restarts,
            reductions: Reductions { symmetry, ..Reductions::NONE },
            ..Setup::default()
        };
        let renamed = run(&Renamed(system(mutant, world(false))), None).unique;
        let sorted = run(&system(mutant, world(true)), Some("no property")).unique;
        assert_eq!(sorted, renamed, "{network:?} {mutant:?}");
    }
}

#[test]
fn reduced_and_full_searches_find_the_same_shortest_violations() {
    let mutants = [
        (None, "agreement"),
        (Some(Mutant::NoPromise), "agreement"),
        (Some(Mutant::OwnValue), "agreement"),
        (Some(Mutant::OwnValue), "clients agree"),
        (Some(Mutant::ReadQuorumShort), "a higher round proposes what was chosen"),
        (Some(Mutant::WriteQuorumShort), "learned implies chosen"),
    ];
    for (mutant, property) in mutants {
        let verdict = |reductions| {
            let setup = Setup { network: Network::Duplicating, reductions, ..Setup::default() };
            match run(&system(mutant, setup), Some(property)).verdict {
                Verdict::Violated { path: Some(path), .. } => Some(path.actions().len()),
                Verdict::Holds => None,
                other => panic!("{other}"),
            }
        };
        let full = verdict(Reductions::NONE);
        assert_eq!(full.is_some(), mutant.is_some(), "{mutant:?}");
        assert_eq!(verdict(Reductions { symmetry: true, ..Reductions::NONE }), full, "{mutant:?} {property}");
        // Eager delivery makes one move of two, so that a path may be shorter.
        let all = verdict(Reductions::ALL);
        assert_eq!(all.is_some(), full.is_some(), "{mutant:?} {property}");
        assert!(all <= full, "{mutant:?} {property}");
    }
}

/// Does every fair run tell every client?
fn tells(params: &Params, setup: Setup) -> Liveness {
    let told = |state: &State<Paxos>| {
        state.actors().iter().all(|actor| match actor {
            PaxosState::Client(client) => client.chosen.is_some(),
            PaxosState::Proposer(_) | PaxosState::Acceptor(_) => true,
        })
    };
    live(&System::new(Paxos::new(params, None).unwrap(), setup), told, &Limits::default())
}

#[test]
fn every_fair_run_of_one_proposer_tells_its_client_even_after_a_restart() {
    let client = ClientParams { first: 0, retries: 0, outsider: false };
    let alone = Params { proposers: 1, clients: vec![client], resend: true, ..duel() };
    let setup = |restarts| Setup { timers: vec![Setup::UNLIMITED], restarts, ..Setup::default() };
    assert!(matches!(tells(&alone, setup(0)), Liveness::Reached { .. }));
    assert!(matches!(tells(&alone, setup(1)), Liveness::Reached { .. }));
    // A second restart needs a third round, which these bounds do not have.
    assert!(matches!(tells(&alone, setup(2)), Liveness::Stuck { .. }));
}

#[test]
fn a_proposer_that_is_not_told_of_a_higher_round_asks_in_vain_for_ever() {
    let setup = || Setup { timers: vec![Setup::UNLIMITED], ..Setup::default() };
    let resending = Params { resend: true, round_max: 1, ..duel() };
    assert!(matches!(tells(&resending, setup()), Liveness::Stuck { .. }));
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_in_words() {
    let refused = |params: Params| Paxos::new(&params, None).err().unwrap();
    assert_eq!(
        refused(Params { clients: vec![ClientParams { first: 2, retries: 0, outsider: false }], ..duel() }),
        "there is no proposer 2; there are 2"
    );
    assert!(refused(Params { acceptors: 0, ..duel() }).contains("at least one"));
    assert!(refused(Params { acceptors: 13, ..duel() }).contains("at most 12 acceptors"));
}
