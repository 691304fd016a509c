//! Paxos as its specification has it: three acceptors, two values, and the set of all messages ever sent. TLC and SPIN
//! count the same states.

use parthood_models::{Kind, Space};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// A ballot or, negative, none.
type Ballot = i8;

/// The model with this many ballots.
pub(crate) struct AbstractPaxos {
    pub(crate) ballots: Ballot,
    /// Count states that differ in the order of the acceptors once.
    pub(crate) symmetric: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Acceptor {
    promised: Ballot,
    /// Ballot and value of the last vote.
    vote: (Ballot, u8),
    /// By ballot: the vote reported in its 1b message.
    reports: [Option<(Ballot, u8)>; 4],
    /// By ballot: whether it sent a 2b message.
    votes: [bool; 4],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    acceptors: [Acceptor; 3],
    asked: [bool; 4],
    /// By ballot: the proposed value.
    proposed: [Option<u8>; 4],
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Ask(Ballot),
    Promise(usize, Ballot),
    Propose(Ballot, u8),
    Vote(usize, Ballot),
}

const QUORUMS: [[usize; 2]; 3] = [[0, 1], [0, 2], [1, 2]];
const VALUES: [u8; 2] = [1, 2];

fn at(ballot: Ballot) -> usize {
    usize::try_from(ballot).expect("a ballot in use is not negative")
}

impl State {
    /// May this value be proposed, given some quorum's reports?
    fn is_free(&self, ballot: Ballot, value: u8) -> bool {
        QUORUMS.iter().any(|quorum| {
            let reports: Option<Vec<_>> =
                quorum.iter().map(|&who| self.acceptors[who].reports[at(ballot)]).collect();
            reports.is_some_and(|reports| {
                reports.into_iter().max().is_none_or(|(voted, of)| voted < 0 || of == value)
            })
        })
    }

    fn is_chosen(&self, value: u8) -> bool {
        self.proposed.iter().enumerate().any(|(ballot, proposed)| {
            *proposed == Some(value)
                && QUORUMS.iter().any(|quorum| quorum.iter().all(|&who| self.acceptors[who].votes[ballot]))
        })
    }
}

impl Space for AbstractPaxos {
    type State = State;
    type Move = Step;

    fn initial(&self) -> State {
        let acceptor = Acceptor { promised: -1, vote: (-1, 0), reports: [None; 4], votes: [false; 4] };
        State { acceptors: [acceptor; 3], asked: [false; 4], proposed: [None; 4] }
    }

    fn moves(&self, _: &State, moves: &mut Vec<Step>) {
        moves.clear();
        for ballot in 0..self.ballots {
            moves.push(Step::Ask(ballot));
            moves.extend(VALUES.map(|value| Step::Propose(ballot, value)));
            moves.extend([0, 1, 2].map(|who| Step::Promise(who, ballot)));
            moves.extend([0, 1, 2].map(|who| Step::Vote(who, ballot)));
        }
    }

    fn apply(&self, state: &State, mv: Step, next: &mut State) -> bool {
        next.clone_from(state);
        match mv {
            Step::Ask(ballot) => next.asked[at(ballot)] = true,
            Step::Promise(who, ballot) => {
                let acceptor = &mut next.acceptors[who];
                if state.asked[at(ballot)] && ballot > acceptor.promised {
                    acceptor.promised = ballot;
                    acceptor.reports[at(ballot)] = Some(acceptor.vote);
                }
            }
            Step::Propose(ballot, value) => {
                if state.proposed[at(ballot)].is_none() && state.is_free(ballot, value) {
                    next.proposed[at(ballot)] = Some(value);
                }
            }
            Step::Vote(who, ballot) => {
                let acceptor = &mut next.acceptors[who];
                if let Some(value) = state.proposed[at(ballot)].filter(|_| ballot >= acceptor.promised) {
                    acceptor.promised = ballot;
                    acceptor.vote = (ballot, value);
                    acceptor.votes[at(ballot)] = true;
                }
            }
        }
        next != state
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let mut state = state.clone();
        if self.symmetric {
            state.acceptors.sort_unstable();
        }
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        hasher.finish()
    }

    fn properties(&self) -> Vec<(&'static str, Kind)> {
        vec![("agreement", Kind::Always), ("the second value is chosen", Kind::Sometimes)]
    }

    fn holds(&self, property: usize, state: &State) -> bool {
        if property == 0 { !(state.is_chosen(1) && state.is_chosen(2)) } else { state.is_chosen(2) }
    }
}
