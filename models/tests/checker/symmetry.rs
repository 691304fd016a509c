//! Sorting signatures is exact, and changes no verdict.

use crate::toy_paxos::{Fault, Msg, State, Toy};
use crate::{run, run_within};
use itertools::Itertools;
use parthood_models::{Kind, Limits, Move, Network, Reductions, Setup, Space, System, Verdict};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// A system whose fingerprint is the smallest hash of a state under all renamings of the acceptors, and which shares
/// nothing with the signatures.
struct Renamed {
    system: System<Toy>,
    toy: Toy,
}

impl Renamed {
    fn new(toy: Toy, network: Network) -> Self {
        Self { system: System::new(toy, Setup { network, ..Setup::default() }), toy }
    }

    /// The hash after acceptor `i` was renamed to `names[i]`.
    fn hash(&self, state: &parthood_models::State<Toy>, names: &[u8]) -> u64 {
        let first = self.toy.proposers;
        let rename = |id: usize| match id.checked_sub(first.into()).and_then(|acceptor| names.get(acceptor)) {
            Some(name) => usize::from(first + name),
            None => id,
        };
        let mask =
            |mask: u8| (0..8).filter(|bit| mask >> bit & 1 == 1).fold(0_u8, |all, bit| all | 1 << names[bit]);
        let mut actors: Vec<(usize, State)> = state
            .actors()
            .iter()
            .enumerate()
            .map(|(at, state)| match *state {
                State::Proposer { ballot, second, acks, best } => {
                    (at, State::Proposer { ballot, second, acks: mask(acks), best })
                }
                State::Acceptor { .. } | State::Learner { .. } => (rename(at), *state),
            })
            .collect();
        actors.sort_by_key(|(at, _)| *at);
        let mut flight: Vec<(usize, usize, Msg)> =
            state.messages().map(|(src, dst, msg)| (rename(src.into()), rename(dst.into()), *msg)).collect();
        flight.sort_unstable();
        let mut votes: Vec<_> =
            state.ghost().iter().map(|&(who, ballot, value)| (rename(who.into()), ballot, value)).collect();
        votes.sort_unstable();
        let mut hasher = DefaultHasher::new();
        (actors, flight, votes).hash(&mut hasher);
        hasher.finish()
    }
}

impl Space for Renamed {
    type State = parthood_models::State<Toy>;
    type Move = Move;

    fn initial(&self) -> Self::State {
        self.system.initial()
    }

    fn moves(&self, state: &Self::State, moves: &mut Vec<Move>) {
        self.system.moves(state, moves);
    }

    fn apply(&self, state: &Self::State, mv: Move, next: &mut Self::State) -> bool {
        Space::apply(&self.system, state, mv, next)
    }

    fn fingerprint(&self, state: &Self::State) -> u64 {
        let names = (0..self.toy.acceptors).permutations(self.toy.acceptors.into());
        names.map(|names| self.hash(state, &names)).min().expect("there is the renaming that renames nothing")
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
    let reductions = Reductions { symmetry: true, ..Reductions::NONE };
    for network in [Network::Unordered, Network::Duplicating] {
        for toy in [Toy::new(2, 3, 0, 1), Toy::new(1, 4, 0, 2), Toy::new(2, 3, 0, 1).with(Fault::OwnValue)] {
            let renamed = run(&Renamed::new(toy, network)).unique;
            let system = System::new(toy, Setup { network, reductions, ..Setup::default() });
            let sorted = run_within(&system, &Limits { only: Some(String::new()), ..Limits::default() });
            assert_eq!(sorted.unique, renamed, "{toy:?} {network:?}");
        }
    }
}

#[test]
fn reduced_and_full_searches_agree_on_every_fault() {
    let faults = [Fault::None, Fault::IgnoresPromise, Fault::QuorumMinusOne, Fault::OwnValue, Fault::NoSave];
    for fault in faults {
        let verdict = |reductions| {
            let setup = Setup { network: Network::Unordered, restarts: 1, reductions, ..Setup::default() };
            let limits = Limits { only: Some("agreement".into()), ..Limits::default() };
            let system = System::new(Toy::new(2, 3, 0, 1).with(fault), setup);
            match run_within(&system, &limits).verdict {
                Verdict::Violated { property, path } => {
                    (Some(property), path.map(|path| path.actions().len()))
                }
                Verdict::Holds => (None, None),
                Verdict::Inconclusive(why) => panic!("{why}"),
            }
        };
        let full = verdict(Reductions::NONE);
        assert_eq!(full.0.is_some(), fault != Fault::None);
        assert_eq!(verdict(Reductions { symmetry: true, ..Reductions::NONE }), full, "{fault:?}");
        // What the collection takes for granted, this fault breaks; there it must be caught, not agree.
        if fault != Fault::IgnoresPromise {
            assert_eq!(verdict(Reductions { collect: true, ..Reductions::NONE }), full, "{fault:?}");
            assert_eq!(verdict(Reductions::ALL), full, "{fault:?}");
        }
    }
}
