//! Paxos: sentences of the paper that need no search, told step by step; storms; and a cluster of processes.

use crate::decree;
use crate::harness::{cluster_of, parthood};
use parthood::protocols::faults::Correct;
use parthood::protocols::ids::Round;
use parthood::protocols::paxos::{Acceptor, Config, Msg, Node, Proposer, State, Storage, Vote};
use parthood::quorum_systems::Majority;
use stateright::actor::{Actor, Command, Id, Out};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

type Paxos = Node<u8, Correct>;

const PROPOSERS: usize = 2;

/// One participant and what it said last.
struct Stage {
    id: Id,
    actor: Paxos,
    state: State<u8>,
    saved: Option<Storage<u8>>,
}

impl Stage {
    fn new(id: usize) -> Self {
        let config = Arc::new(Config {
            proposers: PROPOSERS,
            acceptors: 3,
            quorums: Arc::new(Majority::new(3)),
            round_max: Round(u64::MAX),
            resend: true,
            nack: true,
            resend_after: Duration::ZERO..Duration::ZERO,
            faults: Correct,
        });
        let actor = if id < PROPOSERS {
            Node::Proposer(Proposer { index: id, config })
        } else {
            Node::Acceptor(Acceptor { config })
        };
        let state = actor.on_start(Id::from(id), &None, &mut Out::new());
        Self { id: Id::from(id), actor, state, saved: None }
    }

    /// Delivers a message and returns what is sent, in order.
    fn hear(&mut self, src: usize, msg: Msg<u8>) -> Vec<(usize, Msg<u8>)> {
        let mut out = Out::new();
        let mut state = Cow::Owned(self.state.clone());
        self.actor.on_msg(self.id, &mut state, Id::from(src), msg, &mut out);
        self.state = state.into_owned();
        let mut sent = vec![];
        for command in out {
            match command {
                Command::Send(dst, msg) => sent.push((usize::from(dst), msg)),
                Command::Save(storage) => self.saved = Some(storage),
                _ => {}
            }
        }
        sent
    }

    fn restart(&mut self) {
        self.state = self.actor.on_start(self.id, &self.saved, &mut Out::new());
    }
}

const CLIENT: usize = 9;
const ACCEPTOR: usize = PROPOSERS;

#[test]
fn an_acceptor_ignores_rounds_below_its_promise_and_says_so() {
    let mut acceptor = Stage::new(ACCEPTOR);
    assert_eq!(
        acceptor.hear(1, Msg::Phase1a { round: Round(3) }),
        [(1, Msg::Phase1b { round: Round(3), vote: None })]
    );
    let nack = Msg::Nack { round: Round(3) };
    assert_eq!(acceptor.hear(0, Msg::Phase1a { round: Round(2) }), [(0, nack.clone())]);
    assert_eq!(acceptor.hear(0, Msg::Phase2a { round: Round(2), value: 1 }), [(0, nack)]);
}

#[test]
fn an_acceptor_remembers_its_promise_and_vote_after_a_restart() {
    let mut acceptor = Stage::new(ACCEPTOR);
    acceptor.hear(0, Msg::Phase2a { round: Round(2), value: 2 });
    acceptor.hear(1, Msg::Phase1a { round: Round(3) });
    acceptor.restart();
    assert_eq!(acceptor.hear(0, Msg::Phase1a { round: Round(2) }), [(0, Msg::Nack { round: Round(3) })]);
    let vote = Some(Vote { vote_round: Round(2), vote_value: 2 });
    assert_eq!(
        acceptor.hear(0, Msg::Phase1a { round: Round(4) }),
        [(0, Msg::Phase1b { round: Round(4), vote })]
    );
}

#[test]
fn the_owner_of_round_zero_skips_phase_1_once_in_its_life() {
    let mut proposer = Stage::new(0);
    let asked = proposer.hear(CLIENT, Msg::Propose(2));
    assert!(asked.iter().all(|(_, msg)| *msg == Msg::Phase2a { round: Round::ZERO, value: 2 }));
    assert_eq!(asked.len(), 3);
    proposer.restart();
    let asked = proposer.hear(CLIENT, Msg::Propose(3));
    assert!(asked.iter().all(|(_, msg)| *msg == Msg::Phase1a { round: Round(2) }), "{asked:?}");
}

#[test]
fn a_proposer_takes_the_value_of_the_highest_vote_round_over_its_own() {
    let mut proposer = Stage::new(1);
    proposer.hear(CLIENT, Msg::Propose(4));
    let round = Round(1);
    let report = |round: u64, value| Msg::Phase1b {
        round: Round(1),
        vote: Some(Vote { vote_round: Round(round), vote_value: value }),
    };
    assert_eq!(proposer.hear(ACCEPTOR, report(0, 5)), [], "one acceptor of three is no quorum");
    let asked = proposer.hear(ACCEPTOR + 1, Msg::Phase1b { round, vote: None });
    assert!(asked.iter().all(|(_, msg)| *msg == Msg::Phase2a { round, value: 5 }));
    assert_eq!(asked.len(), 3);
}

#[test]
fn a_chosen_value_is_told_to_every_client_that_asks() {
    let mut proposer = Stage::new(0);
    proposer.hear(CLIENT, Msg::Propose(2));
    proposer.hear(ACCEPTOR, Msg::Phase2b { round: Round::ZERO });
    assert_eq!(proposer.hear(ACCEPTOR + 1, Msg::Phase2b { round: Round::ZERO }), [(CLIENT, Msg::Chosen(2))]);
    assert_eq!(proposer.hear(CLIENT + 1, Msg::Propose(3)), [(CLIENT + 1, Msg::Chosen(2))]);
}

#[test]
fn all_clients_are_told_the_same_value_through_a_storm() {
    decree::survives_storms("paxos");
}

#[test]
fn what_is_chosen_stays_chosen_through_kills_of_processes() {
    decree::survives_kills("paxos");
}

#[test]
fn commands_of_a_store_are_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    cluster_of(folder.path(), "paxos", 3, "");
    let refused = parthood(folder.path(), &["client", "--config", "cluster.toml", "get", "k"]);
    assert_eq!(refused.status, 2);
    assert!(refused.err.contains("parthood client propose VALUE"), "{}", refused.err);
}
