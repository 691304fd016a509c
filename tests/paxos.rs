//! Paxos: sentences of the paper that need no search, told step by step; storms; and a cluster of processes.

use crate::harness::{Server, cluster_of, parthood};
use parthood::protocols::faults::Correct;
use parthood::protocols::ids::Round;
use parthood::protocols::paxos::{Acceptor, Config, Msg, Node, Proposer, State, Storage, Vote};
use parthood::quorum_systems::Majority;
use parthood::retrace::{self, Properties};
use parthood::simulate::{self, Storm};
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
    let storm = Storm { protocol: "paxos".into(), seconds: 5, ..Storm::default() };
    for seed in 0..40 {
        let outcome = simulate::run(&storm, seed, None).unwrap();
        assert_eq!((outcome.failure, outcome.answered), (None, 4), "seed {seed}");
    }
}

/// Three processes, each a proposer and an acceptor. One is killed before the first proposal, all are killed after it.
#[test]
fn what_is_chosen_stays_chosen_through_kills_of_processes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    cluster_of(folder, "paxos", 3, "");
    let mut traces = Vec::new();
    let mut start = |host: char, life: u32| {
        let trace = format!("{host}{life}.ndjson");
        traces.push(folder.join(&trace));
        let nodes = [format!("proposer-{host}"), format!("acceptor-{host}")];
        Server::start(
            folder,
            &["run", "--config", "cluster.toml", "--node", &nodes[0], "--node", &nodes[1], "--trace", &trace],
        )
    };
    let propose = |value: &str| {
        let ended =
            parthood(folder, &["client", "--config", "cluster.toml", "--timeout", "20", "propose", value]);
        (ended.status, ended.out)
    };
    let first = [start('a', 1), start('b', 1), start('c', 1)];
    let [a, b, c] = first;
    a.kill();
    assert_eq!(propose("blue"), (0, "blue\n".into()), "two of three acceptors are a quorum");
    b.kill();
    c.kill();
    let again = [start('a', 2), start('b', 2)];
    assert_eq!(propose("red"), (1, "blue\n".into()), "the chosen value is on disk");
    again.into_iter().for_each(Server::kill);
    let replayed = retrace::check(&traces).unwrap();
    assert_eq!((replayed.finding, replayed.starts), (None, 10));
    assert!(matches!(replayed.properties, Properties::Evaluated { .. }));
    let refused = parthood(folder, &["client", "--config", "cluster.toml", "get", "k"]);
    assert_eq!(refused.status, 2);
    assert!(refused.err.contains("parthood client propose VALUE"), "{}", refused.err);
}
