//! Majority Commit `BPaxos`, which chooses in one round trip with a fast quorum of `f + maj(f + 1)` and does not deadlock, and
//! Deadlock `BPaxos`, from which it was made. (Journal version, section 6; a proof on paper, no specification.)
//!
//! As in the other variants each server is dependency node and acceptor, messages are facts, and of two vertices with conflicting
//! commands dependencies are one bit. Recovery is two steps: a quorum promises, and some time later, when what its value
//! depends on is known, votes. Votes of round zero go on meanwhile elsewhere.
//!
//! A value with a majority of a recovery quorum's votes may have been chosen, so it must be proposed; but others of the quorum
//! may name a dependency that it has not. Then recovery waits until that is chosen: as a noop, or after this vertex, and no edge
//! is missed; otherwise the value cannot have been chosen. (The paper has a quorum asked whether it was, before something else
//! is proposed. Whoever has not heard of it says no, so safety cannot rest on the answer, and here nobody asks that.) Two recoveries
//! may wait for each other: each popular value then shows that the other had too few votes, so neither was chosen. And a value
//! is chosen in round zero only if a quorum of the voters knew its dependencies to be chosen, so that nobody waits for these.
//!
//! Deadlock `BPaxos` has neither of the last two rules: equal votes choose, a popular value with the dependency is proposed
//! whoever knew what, and recoveries that wait for each other do so for ever. Both invariants hold in it.

use super::{AGREEMENT, DEPENDENCIES, NAMES, Value, ending, lanes, proposers, server_lane};
use crate::script::{Telling, Told};
use crate::{Kind, Lane, Space};
use itertools::Itertools as _;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

const SERVERS: usize = 5;
/// Of a recovery, and of votes in it.
const CLASSIC: usize = 3;
/// `f + maj(f + 1)` votes choose in round zero.
const FAST: usize = 4;
/// Of `FAST` votes a recovery's quorum holds so many at least.
const POPULAR: usize = 2;

/// A broken rule.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Broken {
    /// Equal votes choose, whether or not a quorum of the voters knew the dependencies to be chosen.
    DependenciesUnknown,
    /// Recovery takes the popular value, whatever else its quorum names: Fast `BPaxos`.
    OthersIgnored,
    /// Recovery does not ask what became of the vertex that its quorum names, and proposes whatever it likes.
    NobodyAsked,
    /// A recovery that waits for one that waits for it goes on waiting.
    WaitForEver,
}

/// What a server knows of a vertex.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Seen {
    /// Its dependency node has answered: after the other vertex or not.
    answer: Option<bool>,
    /// Its acceptor voted for that in round zero.
    voted: bool,
    /// It then knew what the other vertex was chosen to be.
    known: bool,
    /// It has promised the recovery's round.
    promised: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    servers: [[Seen; 2]; SERVERS],
    /// What recovery made of each vertex.
    recovered: [Option<Value>; 2],
    /// What was chosen in round zero.
    fast: [BTreeSet<Value>; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A vertex reaches a server, before or after it hears what the other was chosen to be.
    Ask { at: usize, server: usize, known: bool },
    /// These servers promise a recovery's round, and their dependency nodes answer.
    Promise { at: usize, quorum: [usize; CLASSIC] },
    /// They vote for what it makes of the vertex.
    Finish { at: usize, value: Value },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Protocol {
    broken: Option<Broken>,
    /// Is it Deadlock `BPaxos`?
    deadlock: bool,
    /// Is every recovery claimed to end?
    ends: bool,
}

pub(super) const MAJORITY_COMMIT: Protocol = Protocol { broken: None, deadlock: false, ends: true };

const END: &str = "no recovery waits for ever";

impl State {
    fn seen(&self, at: usize) -> impl Iterator<Item = Seen> + '_ {
        self.servers.iter().map(move |server| server[at])
    }

    fn is_chosen(&self, at: usize, value: impl Fn(Value) -> bool) -> bool {
        self.recovered[at].iter().chain(&self.fast[at]).any(|chosen| value(*chosen))
    }

    /// The members of the quorum that recovers a vertex.
    fn quorum(&self, at: usize) -> impl Iterator<Item = Seen> + '_ {
        self.seen(at).filter(|seen| seen.promised)
    }

    fn voters(&self, at: usize, deps: bool) -> usize {
        self.quorum(at).filter(|seen| seen.voted && seen.answer == Some(deps)).count()
    }

    fn quorum_names_other(&self, at: usize) -> bool {
        self.quorum(at).any(|seen| seen.answer == Some(true))
    }

    /// Has its recovery found a value that may be chosen, and must first know what became of the other vertex?
    fn depends(&self, at: usize) -> bool {
        self.voters(at, false) >= POPULAR && self.quorum_names_other(at)
    }
}

impl Protocol {
    fn breaks(self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }

    /// Notes what the votes of round zero choose.
    fn choose_fast(self, state: &mut State, at: usize) {
        for deps in [false, true] {
            let voters = || state.seen(at).filter(|seen| seen.voted && seen.answer == Some(deps));
            let knew = voters().filter(|seen| seen.known).count();
            let any = self.deadlock || self.breaks(Broken::DependenciesUnknown);
            let enough = !deps || knew >= CLASSIC || any;
            if voters().count() >= FAST && enough {
                state.fast[at].insert(Value::Command(deps));
            }
        }
    }

    /// What recovery may make of a vertex; nothing as long as it waits for the other.
    fn becomes(self, state: &State, at: usize) -> Vec<Value> {
        let other = 1 - at;
        let free = vec![Value::Noop, Value::Command(state.quorum_names_other(at))];
        if state.voters(at, true) >= POPULAR {
            let known = state.quorum(at).any(|seen| seen.voted && seen.known);
            return if known || self.deadlock || self.breaks(Broken::OthersIgnored) {
                vec![Value::Command(true)]
            } else {
                free
            };
        }
        if state.voters(at, false) < POPULAR {
            return free;
        }
        let harmless = state.is_chosen(other, |value| value != Value::Command(false));
        if !state.depends(at) || harmless || self.breaks(Broken::OthersIgnored) {
            return vec![Value::Command(false)];
        }
        let in_circle = state.depends(other) && !self.deadlock && !self.breaks(Broken::WaitForEver);
        let known = state.is_chosen(other, |_| true) || self.breaks(Broken::NobodyAsked);
        if known || in_circle { free } else { vec![] }
    }
}

impl Space for Protocol {
    type State = State;
    type Move = Step;

    fn initial(&self) -> State {
        State::default()
    }

    fn moves(&self, state: &State, moves: &mut Vec<Step>) {
        moves.clear();
        for at in 0..2 {
            for server in 0..SERVERS {
                moves.extend([false, true].map(|known| Step::Ask { at, server, known }));
            }
            if state.quorum(at).next().is_none() {
                let quorums = (0..SERVERS).array_combinations();
                moves.extend(quorums.map(|quorum| Step::Promise { at, quorum }));
            } else if state.recovered[at].is_none() {
                moves.extend(self.becomes(state, at).into_iter().map(|value| Step::Finish { at, value }));
            }
        }
    }

    fn apply(&self, before: &State, step: Step, next: &mut State) -> bool {
        next.clone_from(before);
        match step {
            Step::Ask { at, server, known } => {
                let other = before.servers[server][1 - at].answer.is_some();
                let seen = &mut next.servers[server][at];
                let can_know = other && !seen.promised && before.is_chosen(1 - at, |_| true);
                if seen.answer.is_some() || known && !can_know {
                    return false;
                }
                *seen = Seen { answer: Some(other), voted: !seen.promised, known, promised: seen.promised };
                self.choose_fast(next, at);
            }
            Step::Promise { at, quorum } => {
                for server in quorum {
                    let other = before.servers[server][1 - at].answer.is_some();
                    let seen = &mut next.servers[server][at];
                    seen.promised = true;
                    seen.answer.get_or_insert(other);
                }
            }
            Step::Finish { at, value } => next.recovered[at] = Some(value),
        }
        true
    }

    /// Servers are alike.
    fn fingerprint(&self, state: &State) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut servers = state.servers;
        servers.sort_unstable();
        (servers, state.recovered, &state.fast).hash(&mut hasher);
        hasher.finish()
    }

    fn properties(&self) -> Vec<(&'static str, Kind)> {
        let mut properties = vec![
            (AGREEMENT, Kind::Always),
            (DEPENDENCIES, Kind::Always),
            ("the fast path after another vertex", Kind::Sometimes),
            ("a recovered command", Kind::Sometimes),
        ];
        properties.extend(self.ends.then_some((END, Kind::AtTheEnd)));
        properties
    }

    fn holds(&self, property: usize, state: &State) -> bool {
        let silent = |at: usize| state.is_chosen(at, |value| value == Value::Command(false));
        let recovered = |at: usize| state.recovered[at].is_some();
        match property {
            0 => (0..2).all(|at| state.recovered[at].iter().chain(&state.fast[at]).all_equal()),
            1 => !(silent(0) && silent(1)),
            2 => state.fast.iter().any(|fast| fast.contains(&Value::Command(true))),
            3 => state.recovered.iter().any(|value| matches!(value, Some(Value::Command(_)))),
            _ => recovered(0) && recovered(1),
        }
    }
}

impl State {
    /// What was chosen for each vertex in round zero.
    #[cfg(test)]
    pub(super) fn chosen_fast(&self) -> [Vec<Value>; 2] {
        [0, 1].map(|at: usize| self.fast[at].iter().copied().collect())
    }
}

impl Told for Protocol {
    fn lanes(&self) -> Vec<Lane> {
        lanes(SERVERS)
    }

    fn tell(&self, before: &State, step: Step, after: &State) -> Vec<Telling> {
        let to_server = |at: usize, server: usize, label: String, note: String| Telling {
            from: proposers(SERVERS, at),
            to: server_lane(server),
            label,
            note,
        };
        match step {
            Step::Ask { at, server, known } => {
                let seen = after.servers[server][at];
                let value = Value::Command(seen.answer == Some(true));
                let votes = if seen.voted { "votes" } else { "no vote, but" };
                let knew = if known { ", which it knows to be chosen" } else { "" };
                let news = after.fast[at].difference(&before.fast[at]);
                let chosen = news.map(|value| format!("; {} {value} is chosen", NAMES[at])).join("");
                vec![to_server(at, server, NAMES[at].into(), format!("{votes} {value}{knew}{chosen}"))]
            }
            Step::Promise { at, quorum } => {
                let label = |server: usize| match before.servers[server][at] {
                    Seen { answer: Some(deps), voted: true, .. } => format!("voted {}", Value::Command(deps)),
                    _ => format!(
                        "no vote, but {}",
                        Value::Command(after.servers[server][at].answer == Some(true))
                    ),
                };
                let reports = quorum.into_iter().map(|server| Telling {
                    from: server_lane(server),
                    to: proposers(SERVERS, at),
                    label: label(server),
                    note: String::new(),
                });
                ending(reports.collect(), format!("recovers {}", NAMES[at]))
            }
            Step::Finish { at, value } => {
                let quorum = (0..SERVERS).filter(|server| after.servers[*server][at].promised);
                let label = format!("round 1: {} {value}", NAMES[at]);
                let asked = quorum.map(|server| to_server(at, server, label.clone(), "votes".into()));
                ending(asked.collect(), format!("votes; {} {value} is chosen", NAMES[at]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::explore;
    use super::*;

    #[test]
    fn majority_commit_bpaxos_keeps_both_invariants_and_does_not_deadlock() {
        assert_eq!(explore(MAJORITY_COMMIT), Ok(279_026));
    }

    #[test]
    fn deadlock_bpaxos_keeps_both_invariants_and_two_recoveries_may_wait_for_each_other() {
        let deadlock = Protocol { deadlock: true, ..MAJORITY_COMMIT };
        assert_eq!(explore(Protocol { ends: false, ..deadlock }), Ok(261_115));
        assert_eq!(explore(deadlock), Err((END, 10)));
    }

    /// For the circle two vertices are enough if their recoveries ask different quorums; see `deadlock.rs` for one quorum.
    #[test]
    fn every_broken_rule_of_majority_commit_is_noticed() {
        let broken = |rule| {
            explore(Protocol { broken: Some(rule), ..MAJORITY_COMMIT }).map_err(|(property, _)| property)
        };
        assert_eq!(broken(Broken::DependenciesUnknown), Err(AGREEMENT));
        assert_eq!(broken(Broken::OthersIgnored), Err(DEPENDENCIES));
        assert_eq!(broken(Broken::NobodyAsked), Err(AGREEMENT));
        assert_eq!(broken(Broken::WaitForEver), Err(END));
    }
}
