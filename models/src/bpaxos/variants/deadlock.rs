//! Deadlock `BPaxos`, and why it is called that (R9): recovery of a vertex first recovers what its voters did not depend on,
//! and that can go round in a circle. (Author's notes; no counterexample smaller than five commands is known.)
//!
//! `f + 1` servers survive, and recovery asks all of them. Commands are in a circle, and neighbours conflict. A server votes
//! for a command after those neighbours that it has heard of, unless it was asked to recover it before. Recovery looks for
//! a value with a majority of the survivors' votes, which may have been chosen. What survivors name besides must be settled
//! first. With the rules of Majority Commit `BPaxos` a value was not chosen if none of its voters knew that what it depends on
//! was, and of two recoveries that wait for each other the first may go on.

use crate::script::{Telling, Told};
use crate::{Kind, Lane, Space};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// So many survivors and commands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circle {
    pub(super) servers: usize,
    pub(super) commands: usize,
    /// Are the rules those of Majority Commit `BPaxos`?
    pub(super) majority_commit: bool,
}

/// What a server has heard of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Heard {
    command: usize,
    voted: bool,
    /// It then knew what had become of all that the command depends on.
    known: bool,
}

/// How far recovery of a command is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Recovery {
    #[default]
    Never,
    /// These must be settled first.
    Waits(BTreeSet<usize>),
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// What each server has heard of, in its order.
    heard: Vec<Vec<Heard>>,
    recoveries: Vec<Recovery>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A command reaches a server.
    Hear { server: usize, command: usize },
    /// All survivors say what they know of a command, and it is found out what it must wait for.
    Recover { command: usize },
    /// It waits for nothing any more.
    Finish { command: usize },
}

pub(super) const END: &str = "no recovery waits for ever";

impl Circle {
    fn conflict(self, a: usize, b: usize) -> bool {
        a != b && ((a + 1) % self.commands == b || (b + 1) % self.commands == a)
    }

    /// What a server names as dependencies of a command, and its vote, if it has one, knew.
    fn answer(self, heard: &[Heard], command: usize) -> (BTreeSet<usize>, Option<&Heard>) {
        let before = heard.iter().take_while(|other| other.command != command);
        let deps = before.map(|other| other.command).filter(|other| self.conflict(command, *other));
        let own = heard.iter().find(|other| other.command == command);
        (deps.collect(), own.filter(|own| own.voted))
    }

    /// What recovery of a command must wait for.
    fn waits_for(self, state: &State, command: usize) -> BTreeSet<usize> {
        let answers: Vec<_> = state.heard.iter().map(|heard| self.answer(heard, command)).collect();
        let voters = |value: &BTreeSet<usize>| {
            answers.iter().filter(|(deps, vote)| deps == value && vote.is_some()).collect::<Vec<_>>()
        };
        let popular = |value: &&BTreeSet<usize>| {
            let voters = voters(value);
            let known = voters.iter().any(|(_, vote)| vote.is_some_and(|vote| vote.known));
            voters.len() > self.servers / 2 && (known || !self.majority_commit)
        };
        let all: BTreeSet<usize> = answers.iter().flat_map(|(deps, _)| deps).copied().collect();
        let value = answers.iter().map(|(deps, _)| deps).find(popular);
        value.map_or_else(BTreeSet::new, |value| all.difference(value).copied().collect())
    }

    fn hear(self, state: &mut State, server: usize, command: usize) -> bool {
        if state.heard[server].iter().any(|other| other.command == command) {
            return false;
        }
        let (deps, _) = self.answer(&state.heard[server], command);
        let known = deps.iter().all(|other| state.recoveries[*other] == Recovery::Done);
        let voted = state.recoveries[command] == Recovery::Never;
        state.heard[server].push(Heard { command, voted, known });
        true
    }

    /// Does a recovery wait for something that will never be settled before it?
    fn is_held_up(self, state: &State, by: usize) -> bool {
        match &state.recoveries[by] {
            Recovery::Done => false,
            Recovery::Waits(_) => !self.majority_commit,
            Recovery::Never => true,
        }
    }
}

impl Space for Circle {
    type State = State;
    type Move = Step;

    fn initial(&self) -> State {
        let recoveries = vec![Recovery::Never; self.commands];
        State { heard: vec![vec![]; self.servers], recoveries }
    }

    fn moves(&self, _: &State, moves: &mut Vec<Step>) {
        moves.clear();
        for command in 0..self.commands {
            moves.extend((0..self.servers).map(|server| Step::Hear { server, command }));
            moves.extend([Step::Recover { command }, Step::Finish { command }]);
        }
    }

    fn apply(&self, before: &State, step: Step, next: &mut State) -> bool {
        next.clone_from(before);
        match step {
            Step::Hear { server, command } => self.hear(next, server, command),
            Step::Recover { command } => {
                let waits = self.waits_for(before, command);
                for server in 0..self.servers {
                    next.recoveries[command] = Recovery::Waits(BTreeSet::new());
                    self.hear(next, server, command);
                }
                next.recoveries[command] = Recovery::Waits(waits);
                before.recoveries[command] == Recovery::Never
            }
            Step::Finish { command } => {
                next.recoveries[command] = Recovery::Done;
                match &before.recoveries[command] {
                    Recovery::Waits(waits) => !waits.iter().any(|other| self.is_held_up(before, *other)),
                    _ => false,
                }
            }
        }
    }

    /// Servers are alike.
    fn fingerprint(&self, state: &State) -> u64 {
        let mut hasher = DefaultHasher::new();
        let mut heard: Vec<_> = state.heard.iter().collect();
        heard.sort_unstable();
        (heard, &state.recoveries).hash(&mut hasher);
        hasher.finish()
    }

    fn properties(&self) -> Vec<(&'static str, Kind)> {
        vec![(END, Kind::AtTheEnd), ("a recovery waits", Kind::Sometimes)]
    }

    fn holds(&self, property: usize, state: &State) -> bool {
        let waits = |recovery: &Recovery| matches!(recovery, Recovery::Waits(waits) if !waits.is_empty());
        match property {
            0 => state.recoveries.iter().all(|recovery| *recovery == Recovery::Done),
            _ => state.recoveries.iter().any(waits),
        }
    }
}

/// Names of commands, one after the other.
fn names<'a>(commands: impl IntoIterator<Item = &'a usize>) -> String {
    let names: Vec<String> = commands.into_iter().map(ToString::to_string).collect();
    if names.is_empty() { "nothing".into() } else { names.join(" and ") }
}

impl Told for Circle {
    fn lanes(&self) -> Vec<Lane> {
        let servers =
            (0..self.servers).map(|server| Lane { name: format!("server {server}"), role: "server" });
        [Lane { name: "proposers".into(), role: "proposer" }].into_iter().chain(servers).collect()
    }

    fn tell(&self, before: &State, step: Step, after: &State) -> Vec<Telling> {
        match step {
            Step::Hear { server, command } => {
                let (deps, _) = self.answer(&after.heard[server], command);
                let note = format!("votes after {}", names(&deps));
                vec![Telling { from: 0, to: server + 1, label: format!("command {command}"), note }]
            }
            Step::Recover { command } => {
                let mut told: Vec<Telling> = (0..self.servers)
                    .map(|server| {
                        let (deps, vote) = self.answer(&before.heard[server], command);
                        let voted = if vote.is_some() { "after" } else { "no vote, but after" };
                        let label = format!("{command} {voted} {}", names(&deps));
                        Telling { from: server + 1, to: 0, label, note: String::new() }
                    })
                    .collect();
                if let (Some(last), Recovery::Waits(waits)) = (told.last_mut(), &after.recoveries[command]) {
                    last.note = format!("recovery of {command} waits for {}", names(waits));
                }
                told
            }
            Step::Finish { command } => {
                let note = format!("recovery of {command} ends");
                vec![Telling { from: 0, to: 1, label: format!("{command} is settled"), note }]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::explore;
    use super::*;
    use itertools::Itertools as _;

    fn circle(servers: usize, commands: usize) -> Circle {
        Circle { servers, commands, majority_commit: false }
    }

    /// Whether somebody hears late, or only when asked, makes no circle of so few.
    #[test]
    fn two_or_three_commands_do_not_deadlock_whenever_they_are_recovered() {
        assert_eq!(explore(circle(3, 2)), Ok(1_067));
        assert_eq!(explore(circle(5, 2)), Ok(6_106));
        assert_eq!(explore(circle(3, 3)), Ok(367_124));
        assert_eq!(explore(Circle { majority_commit: true, ..circle(3, 2) }), Ok(1_091));
    }

    /// All is heard, and then recovered.
    fn deadlocks(orders: &[Vec<usize>]) -> bool {
        let circle = circle(orders.len(), orders[0].len());
        let heard = orders.iter().enumerate().flat_map(|(server, order)| {
            order.iter().map(move |command| Step::Hear { server, command: *command })
        });
        let recover = (0..circle.commands).map(|command| Step::Recover { command });
        let (mut state, mut next) = (circle.initial(), circle.initial());
        for step in heard.chain(recover) {
            assert!(circle.apply(&state, step, &mut next));
            std::mem::swap(&mut state, &mut next);
        }
        let finish = |command| Step::Finish { command };
        while (0..circle.commands).any(|command| circle.apply(&state, finish(command), &mut next)) {
            std::mem::swap(&mut state, &mut next);
        }
        !circle.holds(0, &state)
    }

    #[test]
    fn one_server_in_the_order_of_the_circle_opens_it() {
        let rotation = |first: usize| (0..5).map(|next| (first + next) % 5).collect::<Vec<_>>();
        assert!(deadlocks(&(0..5).map(rotation).collect::<Vec<_>>()));
        assert!(!deadlocks(&vec![rotation(0); 5]));
    }

    #[test]
    fn fewer_commands_or_servers_do_not_deadlock() {
        for (servers, commands) in [(2, 2), (2, 3), (3, 3), (3, 4), (4, 3)] {
            let orders = (0..commands).permutations(commands).collect_vec();
            for seen in (0..servers).map(|_| orders.iter().cloned()).multi_cartesian_product() {
                assert!(!deadlocks(&seen), "{seen:?}");
            }
        }
    }
}
