//! Runs of `EPaxos` told step by step, and drawn in `specs/epaxos`: a known failure, and two that were taken for one.

use crate::bpaxos_runs::Run;
use parthood_models::bpaxos::Params;
use parthood_models::epaxos;
use parthood_protocols::epaxos::Mutant;
use parthood_protocols::faults::Mutated;
use serde_json::{Value, json};

fn increment(by: i64) -> Value {
    json!({ "increment": ["a", by] })
}

fn five_servers(clients: &Value, mutant: Option<Mutant>) -> Run<Mutated<Mutant>> {
    let params = json!({
        "leaders": 5, "dependency_nodes": 5, "acceptors": 5, "replicas": 5,
        "contact_all": true, "round_max": 6, "nack": true, "clients": clients,
    });
    let params: Params = serde_json::from_value(params).unwrap();
    Run::of(epaxos::new(&params, mutant).unwrap())
}

/// R3, with five servers. Server 4 accepts `v4.0` after nothing, by itself. Server 0, which knows a conflicting `v0.0`, recovers it
/// after that, and has it accepted by servers 0, 2 and 3: chosen. With one ballot for promises and votes, servers 2 and 4 promise
/// server 1 and seem to have accepted in its ballot, both of them; it cannot tell which was the later one, and takes the other.
/// (The published run has one recovery more, which makes the two seem equal to a third server.)
#[test]
fn one_ballot_for_promises_and_votes_would_choose_a_second_value() {
    let run = |mutant| {
        five_servers(&json!([{ "script": [increment(1)] }, { "script": [increment(2)], "first": 4 }]), mutant)
            .follow(&["s4 hears c1 Request", "s1 hears s4 PreAccept v4.0", "s2 hears s4 PreAccept v4.0"])
            .follow(&["s4 hears s1 PreAcceptOk v4.0", "s4 hears s2 PreAcceptOk v4.0"])
            .follow(&["s4 waits Resend", "s4 waits Resend"])
            .follow(&["s0 hears c0 Request", "s1 hears s0 PreAccept v0.0", "s2 hears s0 PreAccept v0.0"])
            .follow(&["s3 hears s0 PreAccept v0.0", "s0 hears s1 PreAcceptOk v0.0"])
            .follow(&["s0 hears s2 PreAcceptOk v0.0", "s0 hears s3 PreAcceptOk v0.0"])
            .follow(&["s1 hears s0 Phase2a v0.0", "s2 hears s0 Phase2a v0.0"])
            .follow(&["s0 hears s1 Phase2b v0.0", "s0 hears s2 Phase2b v0.0"])
            .follow(&["s1 hears s0 Commit v0.0", "s2 hears s0 Commit v0.0"])
            .follow(&["s0 hears s4 PreAccept v4.0", "s0 waits Recover v4.0"])
            .follow(&["s2 hears s0 Phase1a v4.0", "s3 hears s0 Phase1a v4.0"])
            .follow(&["s0 hears s2 Phase1b v4.0", "s0 hears s3 Phase1b v4.0"])
            .follow(&["s2 hears s0 PreAccept v4.0", "s3 hears s0 PreAccept v4.0"])
            .follow(&["s0 hears s2 PreAcceptOk v4.0", "s0 hears s3 PreAcceptOk v4.0"])
            .follow(&["s2 hears s0 Phase2a v4.0", "s3 hears s0 Phase2a v4.0"])
            .follow(&["s1 waits Recover v4.0", "s2 hears s1 Phase1a v4.0", "s4 hears s1 Phase1a v4.0"])
            .follow(&["s1 hears s2 Phase1b v4.0", "s1 hears s4 Phase1b v4.0"])
            .follow(&["s4 hears s1 Phase2a v4.0", "s0 hears s1 Phase2a v4.0"])
    };
    assert_eq!(run(None).violated(), Vec::<&str>::new());
    let wrong = run(Some(Mutant::PromiseMovesVote));
    assert!(wrong.violated().contains(&"agreement"), "{:?}", wrong.violated());
    let title = "One ballot for promises and votes (R3)";
    wrong.is_drawn_in("epaxos", "one_ballot", title, "violated: agreement", true);
}

/// R11, a draft that its author withdrew: it was to show two values chosen for one instance. Server 0 has `v0.0` chosen after
/// servers 1, 2 and 3 agreed; server 4 has `v4.0` chosen by servers 0 and 1, after it. Servers 0 and 1 fall silent, and
/// server 2 recovers `v0.0` with servers 3 and 4, of whom the latter knows only a conflicting command. (The draft stops here.)
#[test]
fn a_recovery_that_hears_of_a_conflicting_command_chooses_the_same_value_again() {
    let run =
        five_servers(&json!([{ "script": [increment(1)] }, { "script": [increment(2)], "first": 4 }]), None)
            .follow(&["s0 hears c0 Request", "s1 hears s0 PreAccept v0.0", "s2 hears s0 PreAccept v0.0"])
            .follow(&["s3 hears s0 PreAccept v0.0", "s0 hears s1 PreAcceptOk v0.0"])
            .follow(&["s0 hears s2 PreAcceptOk v0.0", "s0 hears s3 PreAcceptOk v0.0"])
            .follow(&["s4 hears c1 Request", "s0 hears s4 PreAccept v4.0", "s1 hears s4 PreAccept v4.0"])
            .follow(&["s4 hears s0 PreAcceptOk v4.0", "s4 hears s1 PreAcceptOk v4.0"])
            .follow(&["s4 waits Resend", "s4 waits Resend"])
            .follow(&["s0 hears s4 Phase2a v4.0", "s1 hears s4 Phase2a v4.0"])
            .follow(&["s4 hears s0 Phase2b v4.0", "s4 hears s1 Phase2b v4.0", "s2 hears s4 Commit v4.0"])
            .follow(&["s2 waits Recover v0.0", "s3 hears s2 Phase1a v0.0", "s4 hears s2 Phase1a v0.0"])
            .follow(&["s2 hears s3 Phase1b v0.0", "s2 hears s4 Phase1b v0.0"]);
    assert!(run.refuses("s3 hears s2 Phase2a v0.0 after"), "it was chosen after nothing");
    let run = run.follow(&["s3 hears s2 Phase2a v0.0 incr", "s4 hears s2 Phase2a v0.0 incr"]).follow(&[
        "s2 hears s3 Phase2b v0.0",
        "s2 hears s4 Phase2b v0.0",
        "s4 hears s2 Commit v0.0",
    ]);
    assert_eq!(run.violated(), Vec::<&str>::new());
    assert_eq!(run.replica(2).history, run.replica(4).history);
    assert_eq!(run.replica(4).history.len(), 2, "both have run");
    run.is_drawn_in("epaxos", "first_draft", "A draft that was withdrawn (R11)", "in order", false);
}

/// R11, the other draft: it was to show commands that run in different orders. `v0.1` and `v1.0` reach three servers each, in
/// different orders, and their leaders fall silent. Server 2, which saw `v0.1` first, recovers it, and server 4, which saw
/// `v1.0` first, recovers that. (The draft stops before the first recovery ends.) Server 2 has a command of its own after both.
#[test]
fn two_recoveries_of_conflicting_commands_leave_one_order() {
    let clients = json!([
        { "script": [{ "increment": ["b", 1] }] },
        { "script": [increment(1)] },
        { "script": [increment(2)], "first": 1 },
        { "script": [increment(4)], "first": 2 },
    ]);
    let run = five_servers(&clients, None)
        .follow(&["s0 hears c0 Request", "s0 hears c1 Request", "s1 hears c2 Request"])
        .follow(&["s2 hears s0 PreAccept v0.1", "s3 hears s1 PreAccept v1.0", "s4 hears s1 PreAccept v1.0"])
        .follow(&["s2 hears s1 PreAccept v1.0", "s3 hears s0 PreAccept v0.1", "s4 hears s0 PreAccept v0.1"])
        .follow(&["s2 hears c3 Request", "s3 hears s2 PreAccept v2.0", "s4 hears s2 PreAccept v2.0"])
        .follow(&["s2 hears s3 PreAcceptOk v2.0", "s2 hears s4 PreAcceptOk v2.0"])
        .follow(&["s2 waits Resend", "s2 waits Resend"])
        .follow(&["s3 hears s2 Phase2a v2.0", "s4 hears s2 Phase2a v2.0"])
        .follow(&["s2 hears s3 Phase2b v2.0", "s2 hears s4 Phase2b v2.0", "s4 hears s2 Commit v2.0"])
        .follow(&["s4 waits Recover v1.0", "s2 hears s4 Phase1a v1.0", "s3 hears s4 Phase1a v1.0"])
        .follow(&["s4 hears s2 Phase1b v1.0", "s4 hears s3 Phase1b v1.0"])
        .follow(&["s2 hears s4 Phase2a v1.0", "s3 hears s4 Phase2a v1.0"])
        .follow(&["s4 hears s2 Phase2b v1.0", "s4 hears s3 Phase2b v1.0", "s2 hears s4 Commit v1.0"])
        .follow(&["s2 waits Recover v0.1", "s3 hears s2 Phase1a v0.1", "s4 hears s2 Phase1a v0.1"])
        .follow(&["s2 hears s3 Phase1b v0.1", "s2 hears s4 Phase1b v0.1"]);
    assert!(!run.refuses("s3 hears s2 Phase2a v0.1 after {v1.0}"), "two others saw it after v1.0");
    let run = run.follow(&["s3 hears s2 Phase2a v0.1", "s4 hears s2 Phase2a v0.1"]).follow(&[
        "s2 hears s3 Phase2b v0.1",
        "s2 hears s4 Phase2b v0.1",
        "s4 hears s2 Commit v0.1",
    ]);
    assert_eq!(run.violated(), Vec::<&str>::new());
    assert_eq!(run.replica(2).history, run.replica(4).history);
    let order: Vec<String> = run.replica(4).history.iter().map(|vertex| format!("{vertex:?}")).collect();
    assert_eq!(order, ["v1.0", "v0.1", "v2.0"]);
    run.is_drawn_in("epaxos", "second_draft", "Another draft that was withdrawn (R11)", "in order", false);
}
