//! Matchmaker Fast Paxos: how many message delays a client waits, storms, and a cluster of processes.

use crate::decree;
use parthood::protocols::decree::DecreeClient;
use parthood::protocols::faults::Correct;
use parthood::protocols::matchmaker_fast_paxos::{
    Config, FastAcceptor, FastClient, FastPhase, FastProposer, Msg, Node, Shared, State,
};
use parthood::protocols::matchmaker_paxos::{Config as PaxosConfig, Matchmaker, Role, Scenarios};
use parthood::quorum_systems::NodeSet;
use stateright::actor::{Actor, Command, Id, Out};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// A proposer with two rounds of two of three acceptors, and clients that ask acceptors only.
fn nodes(values: &[u8]) -> Vec<Node<u8>> {
    let paxos = Arc::new(PaxosConfig {
        proposers: 1,
        matchmakers: 3,
        acceptors: 3,
        replicas: 0,
        scenarios: Scenarios { chosen: true, free: true, persisted: false },
        bypass: false,
        own_bypass: false,
        ask_everyone: false,
        log_max: 9,
        nack: true,
        resend: false,
        patience: 0,
        resend_after: Duration::ZERO..Duration::ZERO,
        faults: Shared(Correct),
    });
    let rounds: Vec<NodeSet> = [[0, 1], [1, 2]].map(|round| round.into_iter().collect()).into();
    let config = Arc::new(Config { acceptors: vec![rounds], settle: true, faults: Correct, paxos });
    let node = |index| match config.paxos.role(Id::from(index)) {
        Some(Role::Proposer(index)) => {
            Node::Proposer(FastProposer { index, rounds_max: 9, proactive: true, config: config.clone() })
        }
        Some(Role::Matchmaker(_)) => Node::Matchmaker(Matchmaker { config: config.paxos.clone() }),
        _ => Node::Acceptor(FastAcceptor { config: config.clone() }),
    };
    let client = |value: &u8| {
        let asks = DecreeClient {
            proposers: vec![],
            value: Some(*value),
            application: None,
            retries_max: 0,
            retry_after: Duration::ZERO..Duration::ZERO,
        };
        Node::Client(FastClient { asks, config: config.clone() })
    };
    (0..config.paxos.servers()).map(node).chain(values.iter().map(client)).collect()
}

/// Messages of one step of time: all that were sent in the one before arrive, those that `first` says before the others.
struct Clockwork {
    nodes: Vec<Node<u8>>,
    states: Vec<State<u8>>,
    flight: Vec<(Id, Id, Msg<u8>)>,
}

impl Clockwork {
    /// Starts the servers, and lets them get ready.
    fn ready(values: &[u8]) -> Self {
        let nodes = nodes(values);
        let mut this = Self { states: vec![], flight: vec![], nodes };
        for at in 0..this.nodes.len() - values.len() {
            this.start(at);
        }
        while !this.flight.is_empty() {
            this.delay(|_, _| false);
        }
        this
    }

    fn start(&mut self, at: usize) {
        let mut out = Out::new();
        let state = self.nodes[at].on_start(Id::from(at), &None, &mut out);
        self.states.push(state);
        self.send(at, out);
    }

    fn send(&mut self, at: usize, out: Out<Node<u8>>) {
        for command in out {
            if let Command::Send(dst, msg) = command {
                self.flight.push((Id::from(at), dst, msg));
            }
        }
    }

    fn delay(&mut self, first: impl Fn(Id, Id) -> bool) {
        let mut now = std::mem::take(&mut self.flight);
        now.sort_by_key(|(src, dst, _)| !first(*src, *dst));
        for (src, dst, msg) in now {
            let at = usize::from(dst);
            let (mut state, mut out) = (Cow::Owned(self.states[at].clone()), Out::new());
            self.nodes[at].on_msg(dst, &mut state, src, msg, &mut out);
            self.states[at] = state.into_owned();
            self.send(at, out);
        }
    }

    /// What a client was told, by its place from the end.
    fn told(&self, last: usize) -> Option<u8> {
        match &self.states[self.states.len() - last] {
            State::Client(client) => client.asks.chosen,
            other => panic!("{other:?} is no client's"),
        }
    }
}

#[test]
fn a_client_is_answered_in_two_message_delays_if_nobody_disagrees() {
    let mut run = Clockwork::ready(&[1]);
    run.start(run.nodes.len() - 1);
    run.delay(|_, _| false);
    assert_eq!(run.told(1), None, "its value has just arrived");
    run.delay(|_, _| false);
    assert_eq!(run.told(1), Some(1));
}

#[test]
fn where_acceptors_disagree_the_next_round_settles_it_with_other_acceptors() {
    let mut run = Clockwork::ready(&[1, 2]);
    let clients = run.nodes.len() - 2;
    run.start(clients);
    run.start(clients + 1);
    // Acceptor 0 hears of the second client first, the others of the first one.
    let second = |src: Id, dst: Id| usize::from(dst) == 4 && usize::from(src) == clients + 1;
    run.delay(second);
    run.delay(second);
    assert_eq!((run.told(2), run.told(1)), (None, None), "divided");
    // Matching, phase 1, phase 2: there and back each time; acceptors tell the client that they have heard of last.
    for _ in 0..6 {
        run.delay(second);
    }
    let State::Proposer(proposer) = &run.states[0] else { panic!("the first is the proposer") };
    assert!(matches!(proposer.phase, FastPhase::Done(_)), "{proposer:?}");
    assert_eq!(proposer.used.map(|round| round.step), Some(1));
}

#[test]
fn all_clients_are_told_the_same_value_through_a_storm() {
    decree::survives_storms("matchmaker_fast_paxos");
}

#[test]
fn what_is_chosen_stays_chosen_through_kills_of_processes() {
    decree::survives_kills("matchmaker_fast_paxos");
}
