//! Deadlock `BPaxos`, and why it is called that (R9): recovery of a vertex first recovers what its voters did not depend on,
//! and that can go round in a circle. (Author's notes; no counterexample smaller than five commands is known.)
//!
//! Servers that survive have seen commands in orders of their own. Of a vertex without a later vote they report a value with
//! enough equal votes to have been chosen. What other survivors named besides must be settled first.

use itertools::Itertools as _;
use std::collections::BTreeSet;

/// In which order each surviving server has seen the commands.
type Orders<'a> = &'a [Vec<usize>];

/// Do two of so many commands conflict? Those do that are neighbours in a circle.
fn conflict(commands: usize, a: usize, b: usize) -> bool {
    a != b && ((a + 1) % commands == b || (b + 1) % commands == a)
}

/// What a server names as dependencies of a command.
fn deps(order: &[usize], command: usize) -> BTreeSet<usize> {
    let before = order.iter().take_while(|other| **other != command);
    before.copied().filter(|other| conflict(order.len(), command, *other)).collect()
}

/// What recovery of a command must wait for, if some value has so many votes.
fn waits_for(orders: Orders<'_>, command: usize, popular: usize) -> BTreeSet<usize> {
    let votes: Vec<BTreeSet<usize>> = orders.iter().map(|order| deps(order, command)).collect();
    let value = votes.iter().find(|value| votes.iter().filter(|other| other == value).count() >= popular);
    let all: BTreeSet<usize> = votes.iter().flatten().copied().collect();
    value.map_or_else(BTreeSet::new, |value| all.difference(value).copied().collect())
}

/// Does recovery of every command of some set wait for another one of the set?
fn deadlocks(orders: Orders<'_>, popular: usize) -> bool {
    let commands = orders[0].len();
    let mut stuck: BTreeSet<usize> = (0..commands).collect();
    loop {
        let free = |command: &usize| waits_for(orders, *command, popular).is_disjoint(&stuck);
        let Some(freed) = stuck.iter().copied().find(free) else { return !stuck.is_empty() };
        stuck.remove(&freed);
    }
}

/// Of `2f + 1` servers `f + 1` survive; a value with a majority of those can have been chosen.
fn popular(survivors: usize) -> usize {
    survivors / 2 + 1
}

#[test]
fn five_commands_seen_in_five_rotations_wait_for_each_other_in_a_circle() {
    let rotations: Vec<Vec<usize>> =
        (0..5).map(|first| (0..5).map(|command| (first + command) % 5).collect()).collect();
    for command in 0..5 {
        assert_eq!(waits_for(&rotations, command, popular(5)), BTreeSet::from([(command + 1) % 5]));
    }
    assert!(deadlocks(&rotations, popular(5)));
    // One server that has seen nothing earlier than it should, and the circle is open.
    let straight = vec![(0..5).collect::<Vec<_>>(); 5];
    assert!(!deadlocks(&straight, popular(5)));
}

#[test]
fn fewer_commands_or_servers_do_not_deadlock() {
    for (survivors, commands) in [(2, 2), (2, 3), (3, 3), (3, 4), (4, 3)] {
        let orders = (0..commands).permutations(commands).collect_vec();
        let all = (0..survivors).map(|_| orders.iter().cloned()).multi_cartesian_product();
        for seen in all {
            assert!(!deadlocks(&seen, popular(survivors)), "{seen:?}");
        }
    }
}
