//! The reductions of this model are exact, and its mutants die with them too.

use super::{ClientParams, ConfigurationParams, Ghost, MatchmakerPaxos, Params, ProposerParams, Value};
use crate::{
    Kind, Limits, Move, Network, Reductions, Report, Setup, Space, State, System, Verdict, check, index,
};
use itertools::Itertools;
use parthood_protocols::matchmaker_paxos::{
    Garbage, Mutant, Phase, ProposerState, Role, Scenarios, State as ActorState, Storage,
};
use parthood_quorums::NodeSet;
use stateright::actor::Id;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;

/// Proposers with these configurations, one client each, collection by scenarios 1 and 2.
fn params(configurations: &[&[&[usize]]]) -> Params {
    let majority = |acceptors: &&[usize]| ConfigurationParams::Majority(acceptors.to_vec());
    let proposer = |own: &&[&[usize]]| ProposerParams {
        configurations: own.iter().map(majority).collect(),
        proactive: false,
    };
    let client = |first| ClientParams { first, ..ClientParams::default() };
    Params {
        proposers: configurations.iter().map(proposer).collect(),
        matchmakers: 3,
        replicas: 0,
        clients: (0..configurations.len()).map(client).collect(),
        reconfigure: vec![],
        collect: Scenarios { chosen: true, free: true, persisted: false },
        bypass: false,
        own_bypass: false,
        ask_everyone: false,
        nack: false,
        resend: false,
        patience: u32::MAX,
        log_max: 64,
        asked_at_once: false,
        answers: false,
    }
}

/// Two rounds with an acceptor each.
fn k1() -> Params {
    params(&[&[&[0]], &[&[1]]])
}

/// The first round has two acceptors that nothing tells apart.
fn with_a_pair() -> Params {
    let mut params = k1();
    params.proposers[0].configurations = vec![ConfigurationParams::UnanimousWrites { all: vec![0, 1] }];
    params.proposers[1].configurations = vec![ConfigurationParams::Majority(vec![2])];
    params
}

/// With replicas that nothing tells apart.
fn with_replicas() -> Params {
    Params {
        replicas: 2,
        collect: Scenarios { persisted: true, ..Scenarios::default() },
        ..params(&[&[&[0]]])
    }
}

fn system(params: &Params, mutant: Option<Mutant>, setup: Setup) -> System<MatchmakerPaxos> {
    System::new(MatchmakerPaxos::new(params, mutant).unwrap(), setup)
}

fn run<S: Space>(space: &S, only: Option<&str>) -> Report {
    let limits = Limits { only: only.map(Into::into), ..Limits::default() };
    check(space, &limits, &mut |_| ControlFlow::Continue(()))
}

/// New names of matchmakers, acceptors and replicas.
struct Names {
    matchmakers: Vec<usize>,
    acceptors: Vec<usize>,
    replicas: Vec<usize>,
}

impl Names {
    fn role(&self, role: Role) -> Role {
        match role {
            Role::Proposer(number) => Role::Proposer(number),
            Role::Matchmaker(number) => Role::Matchmaker(self.matchmakers[number]),
            Role::Acceptor(number) => Role::Acceptor(self.acceptors[number]),
            Role::Replica(number) => Role::Replica(self.replicas[number]),
        }
    }

    fn set(names: &[usize], set: NodeSet) -> NodeSet {
        set.iter().map(|number| names[number]).collect()
    }

    fn proposer(&self, mut state: ProposerState<Value>) -> ProposerState<Value> {
        match &mut state.phase {
            Phase::Matching { answers, .. } => {
                answers.replied = Self::set(&self.matchmakers, answers.replied);
            }
            Phase::Phase1 { promised: set, .. }
            | Phase::Phase2 { voted: set, .. }
            | Phase::Persisting { noted: set, .. } => *set = Self::set(&self.acceptors, *set),
            Phase::Storing { stored, .. } => *stored = Self::set(&self.replicas, *stored),
            Phase::Idle | Phase::Free | Phase::Fetching | Phase::Done(_) => {}
        }
        if let Garbage::Asked(confirmed) = &mut state.garbage {
            *confirmed = Self::set(&self.matchmakers, *confirmed);
        }
        state
    }

    fn ghost(&self, mut ghost: Ghost) -> Ghost {
        ghost.cast.values_mut().for_each(|set| *set = Self::set(&self.acceptors, *set));
        ghost.answered.values_mut().for_each(|set| *set = Self::set(&self.matchmakers, *set));
        ghost.confirmed =
            ghost.confirmed.into_iter().map(|(number, round)| (self.matchmakers[number], round)).collect();
        ghost.stored = Self::set(&self.replicas, ghost.stored);
        ghost.noted = Self::set(&self.acceptors, ghost.noted);
        ghost
    }
}

/// The smallest hash of a state under all renamings; shares nothing with the signatures.
struct Renamed {
    system: System<MatchmakerPaxos>,
    all: Vec<Names>,
}

impl Renamed {
    /// `pairs` of acceptors may change places.
    fn new(system: System<MatchmakerPaxos>, pair: bool) -> Self {
        let config = system.protocol().config.clone();
        let others = 2..config.acceptors;
        let acceptors = if pair {
            vec![(0..config.acceptors).collect(), [1, 0].into_iter().chain(others).collect()]
        } else {
            vec![(0..config.acceptors).collect::<Vec<usize>>()]
        };
        let matchmakers = (0..config.matchmakers).permutations(config.matchmakers);
        let replicas = (0..config.replicas).permutations(config.replicas);
        let all = matchmakers.cartesian_product(acceptors).cartesian_product(replicas.collect_vec());
        let all = all
            .map(|((matchmakers, acceptors), replicas)| Names { matchmakers, acceptors, replicas })
            .collect();
        Self { system, all }
    }

    fn hash(&self, state: &State<MatchmakerPaxos>, names: &Names) -> u64 {
        let config = &self.system.protocol().config;
        let rename = |id: Id| config.role(id).map_or(index(id), |role| index(config.id(names.role(role))));
        let actor = |state: &ActorState<Value>| match state.clone() {
            ActorState::Proposer(proposer) => ActorState::Proposer(names.proposer(proposer)),
            other => other,
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
        let mut hasher = DefaultHasher::new();
        (actors, storage, flight, names.ghost(state.ghost().clone()), state.restarts).hash(&mut hasher);
        hasher.finish()
    }
}

impl Space for Renamed {
    type State = State<MatchmakerPaxos>;
    type Move = Move;

    fn initial(&self) -> Self::State {
        self.system.initial()
    }

    fn moves(&self, state: &Self::State, moves: &mut Vec<Move>) {
        self.system.moves(state, moves);
    }

    fn apply(&self, state: &Self::State, mv: Move, next: &mut Self::State) -> bool {
        self.system.apply_to(state, mv, next)
    }

    fn fingerprint(&self, state: &Self::State) -> u64 {
        self.all.iter().map(|names| self.hash(state, names)).min().expect("one at least")
    }

    fn properties(&self) -> Vec<(&'static str, Kind)> {
        vec![]
    }

    fn holds(&self, _: usize, _: &Self::State) -> bool {
        true
    }
}

#[test]
fn sorted_signatures_tell_as_many_states_apart_as_all_renamings() {
    let worlds = [
        (k1(), false, 0, None),
        (k1(), false, 1, Some(Mutant::MatchmakerForgets)),
        (with_a_pair(), true, 0, None),
        (with_replicas(), false, 1, Some(Mutant::ReplicaForgets)),
    ];
    for (params, pair, restarts, mutant) in worlds {
        let world = |symmetry| Setup {
            network: Network::Unordered,
            restarts,
            reductions: Reductions { symmetry, collect: true, eager: true },
            ..Setup::default()
        };
        let renamed = run(&Renamed::new(system(&params, mutant, world(false)), pair), None).unique;
        let sorted = run(&system(&params, mutant, world(true)), Some("no property")).unique;
        assert_eq!(sorted, renamed, "{params:?} {mutant:?}");
    }
}

#[test]
fn reduced_and_full_searches_find_the_same_shortest_violations() {
    let order = "matchmakers answer in ascending order and list what they answered";
    let exclude = "what is proposed excludes other choices below";
    let found = [
        (None, "agreement"),
        (Some(Mutant::AnswerWithoutNoting), order),
        (Some(Mutant::MatchQuorumShort), exclude),
        (Some(Mutant::MatchQuorumShort), "agreement"),
        (Some(Mutant::NoPromise), "agreement"),
        (Some(Mutant::CollectOnMatch), "garbage collection is justified"),
    ];
    for (mutant, property) in found {
        let length = |reductions| {
            let setup = Setup { network: Network::Unordered, reductions, ..Setup::default() };
            match run(&system(&k1(), mutant, setup), Some(property)).verdict {
                Verdict::Violated { path: Some(path), .. } => Some(path.actions().len()),
                Verdict::Holds => None,
                other => panic!("{other}"),
            }
        };
        let full = length(Reductions::NONE);
        assert_eq!(full.is_some(), mutant.is_some(), "{mutant:?}");
        assert_eq!(length(Reductions { symmetry: true, ..Reductions::NONE }), full, "{mutant:?} {property}");
        // Eager delivery makes one move of two, so that a path may be shorter.
        let all = length(Reductions::ALL);
        assert_eq!(all.is_some(), full.is_some(), "{mutant:?} {property}");
        assert!(all <= full, "{mutant:?} {property}");
    }
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_in_words() {
    let refused = |params: Params| MatchmakerPaxos::new(&params, None).err().unwrap();
    assert_eq!(refused(Params { reconfigure: vec![2], ..k1() }), "there is no proposer 2; there are 2");
    assert_eq!(refused(Params { matchmakers: 4, ..k1() }), "4 matchmakers are no 2f + 1");
    assert!(refused(Params { replicas: 1, ..with_replicas() }).contains("fewer than f + 1 = 2"));
    assert!(refused(params(&[])).contains("at least one proposer"));
    assert!(refused(params(&[&[&[12]]])).contains("beyond the 12"));
    let disjoint = ConfigurationParams::Explicit { reads: vec![vec![0]], writes: vec![vec![1]] };
    let proposer = ProposerParams { configurations: vec![disjoint], proactive: false };
    assert!(refused(Params { proposers: vec![proposer], clients: vec![], ..k1() }).contains("does not meet"));
}
