//! Matchmaker Fast Paxos: storms, and a cluster of processes.

use crate::decree;

#[test]
fn all_clients_are_told_the_same_value_through_a_storm() {
    decree::survives_storms("matchmaker_fast_paxos");
}

#[test]
fn what_is_chosen_stays_chosen_through_kills_of_processes() {
    decree::survives_kills("matchmaker_fast_paxos");
}
