//! Matchmaker Paxos: sentences of the paper and known failures, told step by step; storms; and a cluster of processes.

mod dpaxos;

use crate::decree;
use parthood::protocols::faults::{Correct, Faults, Mutated};
use parthood::protocols::matchmaker_paxos::{
    Acceptor, Config, Matchmaker, Msg, Mutant, Node, Phase, Proposer, ProposerState, Replica, Role,
    Scenarios, State, Storage, Timer,
};
use parthood::protocols::matchmaking::{Configuration, Round};
use parthood::quorum_systems::{NodeSet, QuorumSystem};
use stateright::actor::{Actor, Command, Id, Out};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const MATCHMAKERS: usize = 3;
const PATIENCE: u32 = 2;

/// A run told step by step: messages arrive when the script says so, and those it does not mention are lost.
struct Script<F: Faults<Mutant>> {
    config: Arc<Config<F>>,
    configurations: Vec<Vec<Configuration>>,
    nodes: Vec<Node<u8, F>>,
    states: Vec<State<u8>>,
    saved: Vec<Option<Storage<u8>>>,
    flight: Vec<(Id, Id, Msg<u8>)>,
    votes: BTreeMap<(Round, u8), NodeSet>,
}

/// What is particular to a script, beside the configurations of its proposers.
#[derive(Clone, Copy, Default)]
struct Rules {
    scenarios: Scenarios,
    bypass: bool,
    own_bypass: bool,
}

fn one(acceptor: usize) -> Configuration {
    Configuration::single(acceptor)
}

fn all(acceptors: [usize; 2]) -> Configuration {
    Configuration::UnanimousWrites(acceptors.into_iter().collect())
}

impl<F: Faults<Mutant>> Script<F> {
    fn new(configurations: Vec<Vec<Configuration>>, rules: Rules, faults: F) -> Self {
        let config = Arc::new(Config {
            proposers: configurations.len(),
            matchmakers: MATCHMAKERS,
            acceptors: 9,
            replicas: 2,
            scenarios: rules.scenarios,
            bypass: rules.bypass,
            own_bypass: rules.own_bypass,
            ask_everyone: false,
            log_max: 64,
            nack: true,
            resend: true,
            patience: PATIENCE,
            resend_after: Duration::ZERO..Duration::ZERO,
            faults,
        });
        let node = |id: usize| match config.role(Id::from(id)) {
            Some(Role::Proposer(index)) => Node::Proposer(Proposer {
                index,
                configurations: configurations[index].clone(),
                rounds_max: u64::MAX,
                proactive: false,
                config: config.clone(),
            }),
            Some(Role::Matchmaker(_)) => Node::Matchmaker(Matchmaker { config: config.clone() }),
            Some(Role::Acceptor(_)) => Node::Acceptor(Acceptor { config: config.clone() }),
            _ => Node::Replica(Replica { config: config.clone() }),
        };
        let nodes: Vec<_> = (0..config.servers()).map(node).collect();
        let start = |(id, node): (usize, &Node<u8, F>)| node.on_start(Id::from(id), &None, &mut Out::new());
        let states = nodes.iter().enumerate().map(start).collect();
        let saved = nodes.iter().map(|_| None).collect();
        Self { config, configurations, nodes, states, saved, flight: vec![], votes: BTreeMap::new() }
    }

    fn id(&self, role: Role) -> usize {
        usize::from(self.config.id(role))
    }

    fn client(&self, number: usize) -> Id {
        Id::from(self.config.servers() + number)
    }

    /// Has an actor react, and puts what it says in flight.
    fn step(
        &mut self,
        at: usize,
        react: impl FnOnce(&Node<u8, F>, &mut Cow<'_, State<u8>>, &mut Out<Node<u8, F>>),
    ) {
        let (mut state, mut out) = (Cow::Owned(self.states[at].clone()), Out::new());
        react(&self.nodes[at], &mut state, &mut out);
        self.states[at] = state.into_owned();
        for command in out {
            match command {
                Command::Send(dst, msg) => self.flight.push((Id::from(at), dst, msg)),
                Command::Save(storage) => self.saved[at] = Some(storage),
                _ => {}
            }
        }
        if let (Some(Role::Acceptor(number)), State::Acceptor(state)) =
            (self.config.role(Id::from(at)), &self.states[at])
            && let Some(vote) = &state.vote
        {
            self.votes.entry((vote.vote_round, vote.vote_value)).or_default().insert(number);
        }
    }

    fn hear(&mut self, at: usize, src: Id, msg: Msg<u8>) {
        self.step(at, |node, state, out| node.on_msg(Id::from(at), state, src, msg, out));
    }

    /// Client `client` asks a proposer to get a value chosen.
    fn propose(&mut self, proposer: usize, client: usize, value: u8) {
        self.hear(proposer, self.client(client), Msg::Propose(value));
    }

    fn reconfigure(&mut self, proposer: usize) {
        self.hear(proposer, self.client(0), Msg::Reconfigure);
    }

    fn time_out(&mut self, proposer: usize) {
        self.step(proposer, |node, state, out| {
            node.on_timeout(Id::from(proposer), state, &Timer::Resend, out);
        });
    }

    fn restart(&mut self, role: Role) {
        let at = self.id(role);
        let saved = self.saved[at].clone();
        self.step(at, |node, state, out| *state = Cow::Owned(node.on_start(Id::from(at), &saved, out)));
    }

    /// Delivers what is in flight from one to another, as far as it is wanted.
    fn deliver_if(&mut self, from: Role, to: Role, wanted: impl Fn(&Msg<u8>) -> bool) {
        let (from, to) = (self.config.id(from), self.config.id(to));
        let (now, later) = std::mem::take(&mut self.flight)
            .into_iter()
            .partition(|(src, dst, msg)| (*src, *dst) == (from, to) && wanted(msg));
        self.flight = later;
        let now: Vec<(Id, Id, Msg<u8>)> = now;
        for (src, dst, msg) in now {
            self.hear(usize::from(dst), src, msg);
        }
    }

    fn deliver(&mut self, from: Role, to: Role) {
        self.deliver_if(from, to, |_| true);
    }

    /// What a proposer has said reaches these, and their answers reach it.
    fn exchange(&mut self, proposer: usize, others: &[Role]) {
        for other in others {
            self.deliver(Role::Proposer(proposer), *other);
            self.deliver(*other, Role::Proposer(proposer));
        }
    }

    fn proposer(&self, number: usize) -> &ProposerState<u8> {
        match &self.states[number] {
            State::Proposer(state) => state,
            other => panic!("{other:?} is no proposer's"),
        }
    }

    fn is_collecting(&self, proposer: usize) -> bool {
        self.flight
            .iter()
            .any(|(src, _, msg)| usize::from(*src) == proposer && matches!(msg, Msg::GarbageA { .. }))
    }

    /// The values for which a write quorum voted in some round.
    fn chosen(&self) -> BTreeSet<u8> {
        let is_chosen = |(round, _): &(Round, u8), voters: NodeSet| {
            let own = &self.configurations[usize::try_from(round.proposer).unwrap()];
            let turn = usize::try_from(round.age()).unwrap() % own.len();
            own[turn].is_write_quorum(voters)
        };
        let chosen = self.votes.iter().filter(|(vote, voters)| is_chosen(vote, **voters));
        chosen.map(|((_, value), _)| *value).collect()
    }
}

const M: [Role; 3] = [Role::Matchmaker(0), Role::Matchmaker(1), Role::Matchmaker(2)];
const X: u8 = 1;
const Y: u8 = 2;
const Z: u8 = 3;

fn a(number: usize) -> Role {
    Role::Acceptor(number)
}

/// The run in which `DPaxos` chooses two values: zones of the nodes A to C, D to F and G to I; three ballots with the
/// replication quorums {B, C}, {G, H} and {E, F}.
fn dpaxos<F: Faults<Mutant>>(faults: F) -> (bool, BTreeSet<u8>) {
    let node = |name: char| usize::try_from(u32::from(name) - u32::from('A')).unwrap();
    let quorum = |names: [char; 2]| all(names.map(node));
    let at = |name: char| a(node(name));
    let rules =
        Rules { scenarios: Scenarios { chosen: true, free: true, persisted: false }, ..Rules::default() };
    let mut run = Script::new(
        vec![vec![quorum(['B', 'C'])], vec![quorum(['G', 'H'])], vec![quorum(['E', 'F'])]],
        rules,
        faults,
    );
    // x is chosen in ballot 0.
    run.propose(0, 0, X);
    run.exchange(0, &[M[0], M[1], at('B'), at('C')]);
    assert_eq!(run.chosen(), [X].into());
    // Ballot 1 hears of it from C and proposes it to G and H. G accepts; the message to H is lost.
    run.propose(1, 1, Y);
    run.exchange(1, &[M[1], M[2], at('C'), at('G')]);
    assert_eq!(run.votes[&(Round { proposer: 1, ..Round::ZERO }, X)], NodeSet::single(node('G')));
    // Does one vote in ballot 1 allow to forget the quorum of ballot 0?
    let collects = run.is_collecting(1);
    run.exchange(1, &M);
    // Ballot 2 asks H, which has not voted; then, if it must, C.
    run.propose(2, 2, Z);
    run.exchange(2, &[M[0], M[1], at('H'), at('E'), at('F'), at('C'), at('E'), at('F')]);
    (collects, run.chosen())
}

#[test]
fn a_vote_is_no_choice_and_collecting_because_of_it_chooses_twice_as_in_dpaxos() {
    assert_eq!(dpaxos(Mutated(Some(Mutant::CollectOnVote))), (true, [X, Z].into()));
    assert_eq!(dpaxos(Correct), (false, [X].into()));
}

/// A proposer was free in round 0; in a lower round than its next one something is chosen.
fn older_freedom<F: Faults<Mutant>>(faults: F) -> (bool, BTreeSet<u8>) {
    let rules = Rules { scenarios: Scenarios { free: true, ..Scenarios::default() }, ..Rules::default() };
    let mut run = Script::new(vec![vec![one(0), one(2)], vec![one(1)], vec![one(3)]], rules, faults);
    run.reconfigure(0);
    run.exchange(0, &[M[0], M[1]]);
    assert_eq!(run.proposer(0).phase, Phase::Free);
    run.propose(1, 0, X);
    run.exchange(1, &[M[2], M[0], a(0), a(1)]);
    assert_eq!(run.chosen(), [X].into());
    // Its first announcement reaches the third matchmaker, which tells it of the higher round.
    run.deliver(Role::Proposer(0), M[2]);
    run.deliver(M[2], Role::Proposer(0));
    run.reconfigure(0);
    run.exchange(0, &[M[0], M[1]]);
    let is_later = |msg: &Msg<u8>| matches!(msg, Msg::GarbageA { round } if round.term > 0);
    let collects = run.flight.iter().any(|(.., msg)| is_later(msg));
    run.exchange(0, &M);
    // Another one begins too low, is told, and matches above.
    run.propose(2, 1, Z);
    run.exchange(2, &[M[1]]);
    run.time_out(2);
    run.exchange(2, &[M[1], M[2], a(0), a(1), a(2), a(3)]);
    (collects, run.chosen())
}

#[test]
fn freedom_of_an_older_round_is_no_reason_to_collect() {
    assert_eq!(older_freedom(Mutated(Some(Mutant::CollectByOlderFreedom))), (true, [X, Z].into()));
    assert_eq!(older_freedom(Correct), (false, [X].into()));
}

/// Freedom taken along and garbage collected together, and an announcement that comes too late.
fn late_announcement<F: Faults<Mutant>>(faults: F) -> BTreeSet<u8> {
    let scenarios = Scenarios { chosen: true, ..Scenarios::default() };
    let rules = Rules { scenarios, bypass: true, ..Rules::default() };
    let mut run = Script::new(vec![vec![one(0)], vec![one(1), one(2)]], rules, faults);
    run.propose(0, 0, X);
    run.exchange(0, &[M[0]]);
    run.reconfigure(1);
    run.exchange(1, &[M[1], M[2]]);
    assert_eq!(run.proposer(1).phase, Phase::Free);
    run.reconfigure(1);
    run.exchange(1, &[M[0], M[1]]);
    assert_eq!(run.proposer(1).phase, Phase::Free, "no phase 1, although an answer lists round 0");
    run.propose(1, 1, Y);
    run.exchange(1, &[a(2)]);
    assert_eq!(run.chosen(), [Y].into());
    run.deliver_if(Role::Proposer(1), M[2], |msg| matches!(msg, Msg::GarbageA { .. }));
    run.exchange(0, &[M[2], a(0)]);
    run.chosen()
}

#[test]
fn a_matchmaker_refuses_rounds_below_its_watermark() {
    assert_eq!(late_announcement(Mutated(Some(Mutant::AnswerBelowWatermark))), [X, Y].into());
    assert_eq!(late_announcement(Correct), [Y].into());
}

/// An acceptor of two configurations knows that a value is persisted.
fn persisted_answer<F: Faults<Mutant>>(faults: F) -> (bool, BTreeSet<u8>) {
    let [b, c, d] = [1, 2, 3];
    let scenarios = Scenarios { chosen: true, free: false, persisted: true };
    let rules = Rules { scenarios, ..Rules::default() };
    let mut run = Script::new(vec![vec![one(b)], vec![all([b, c])], vec![one(d)]], rules, faults);
    run.propose(0, 0, X);
    run.exchange(0, &[M[0], M[1], a(b), Role::Replica(0), Role::Replica(1)]);
    run.propose(1, 1, Y);
    run.exchange(1, &[M[1], M[2]]);
    run.deliver(Role::Proposer(1), a(b));
    run.deliver(a(b), Role::Proposer(1));
    assert!(matches!(run.proposer(1).phase, Phase::Phase2 { value: X, .. }));
    run.deliver(Role::Proposer(0), a(b));
    run.exchange(1, &[a(b)]);
    let collects = run.is_collecting(1);
    run.exchange(1, &M);
    run.propose(2, 2, Z);
    run.exchange(2, &[M[0], M[1], a(c), a(d)]);
    (collects, run.chosen())
}

#[test]
fn that_a_value_is_persisted_does_not_mean_that_it_was_chosen_in_this_round() {
    assert_eq!(persisted_answer(Mutated(Some(Mutant::PersistedIsChosenHere))), (true, [X, Z].into()));
    assert_eq!(persisted_answer(Correct), (false, [X].into()));
}

/// A value is chosen, nobody hears of it, and the proposer goes on to other acceptors.
fn pending_value<F: Faults<Mutant>>(faults: F) -> BTreeSet<u8> {
    let mut run = Script::new(vec![vec![one(0), one(1)]], Rules::default(), faults);
    run.propose(0, 0, X);
    run.propose(0, 1, Y);
    run.exchange(0, &[M[0], M[1]]);
    run.deliver(Role::Proposer(0), a(0));
    run.reconfigure(0);
    run.deliver_if(Role::Proposer(0), a(0), |msg| matches!(msg, Msg::Phase2a { .. }));
    run.flight.retain(|(.., msg)| !matches!(msg, Msg::Phase2b { .. }));
    run.exchange(0, &[M[0], M[1], a(0), a(1)]);
    run.chosen()
}

#[test]
fn what_is_pending_is_not_sent_again_under_a_round_that_is_not_matched() {
    assert_eq!(pending_value(Mutated(Some(Mutant::RelabelPending))), [X, Y].into());
    assert_eq!(pending_value(Correct), [X].into());
}

#[test]
fn a_proposer_that_waits_for_retired_acceptors_gives_up_and_matches_again() {
    let rules = Rules { scenarios: Scenarios::ALL, ..Rules::default() };
    let mut run = Script::new(vec![vec![one(0)], vec![one(1)], vec![one(2)]], rules, Correct);
    let round = |proposer, step| Round { proposer, step, ..Round::ZERO };
    run.propose(0, 0, X);
    run.exchange(0, &[M[0], M[1]]);
    run.propose(1, 1, Y);
    run.exchange(1, &[M[0], M[1]]);
    // Round 2 is answered before the configuration of round 0 is retired, and hears of the answers afterwards.
    run.propose(2, 2, Z);
    run.deliver(Role::Proposer(2), M[0]);
    run.deliver(Role::Proposer(2), M[1]);
    run.exchange(1, &[a(0), M[0], M[1]]);
    assert_eq!(run.proposer(1).retired_below(), Some(round(1, 0)));
    run.deliver(M[0], Role::Proposer(2));
    run.deliver(M[1], Role::Proposer(2));
    let asked = |run: &Script<Correct>| match &run.proposer(2).phase {
        Phase::Phase1 { earlier, .. } => earlier.iter().map(|(round, _)| *round).collect::<Vec<_>>(),
        other => panic!("{other:?} is not phase 1"),
    };
    assert_eq!(asked(&run), [round(0, 0), round(1, 0)], "what is retired by now was not when it began");
    // Acceptor 0 is switched off. Without it phase 1 never ends, and patience does.
    run.exchange(2, &[a(1)]);
    (0..=PATIENCE).for_each(|_| run.time_out(2));
    assert_eq!(run.proposer(2).used, Some(round(2, 1)));
    run.exchange(2, &[M[0], M[1]]);
    assert_eq!(asked(&run), [round(1, 0), round(2, 0)], "matching that begins now returns nothing retired");
    run.exchange(2, &[a(1), a(2), a(2)]);
    assert_eq!(run.chosen(), [Z].into());
}

#[test]
fn a_proposal_goes_on_to_other_acceptors_without_phase_1_and_without_fencing_the_old_ones() {
    let rules = Rules { own_bypass: true, ..Rules::default() };
    let mut run = Script::new(vec![vec![one(0), one(1)]], rules, Correct);
    run.propose(0, 0, X);
    run.exchange(0, &[M[0], M[1]]);
    run.reconfigure(0);
    run.exchange(0, &[M[0], M[1]]);
    assert!(run.flight.iter().all(|(.., msg)| !matches!(msg, Msg::Phase1a { .. })));
    run.exchange(0, &[a(0), a(1)]);
    assert_eq!(run.votes.len(), 2, "the old acceptor votes as before: {:?}", run.votes);
    assert_eq!(run.proposer(0).phase, Phase::Done(X));
}

#[test]
fn a_restarted_proposer_uses_no_round_again_and_has_forgotten_that_it_was_free() {
    let rules = Rules { bypass: true, ..Rules::default() };
    let mut run = Script::new(vec![vec![one(0)]], rules, Correct);
    run.reconfigure(0);
    run.exchange(0, &[M[0], M[1]]);
    assert_eq!(run.proposer(0).phase, Phase::Free);
    run.restart(Role::Proposer(0));
    run.propose(0, 0, X);
    assert_eq!(run.proposer(0).used, Some(Round::ZERO.successor()));
    run.exchange(0, &[M[0], M[1]]);
    assert!(matches!(run.proposer(0).phase, Phase::Phase1 { .. }));
    run.exchange(0, &[a(0), a(0)]);
    assert_eq!(run.proposer(0).phase, Phase::Done(X));
}

#[test]
fn matchmakers_and_acceptors_remember_after_a_restart() {
    let mut run = Script::new(vec![vec![one(0)], vec![one(1)]], Rules::default(), Correct);
    run.propose(0, 0, X);
    run.exchange(0, &[M[0], M[1], a(0)]);
    for role in [M[0], M[1], M[2], a(0)] {
        run.restart(role);
    }
    run.propose(1, 1, Y);
    run.exchange(1, &[M[1], M[2], a(0), a(1)]);
    assert_eq!(run.chosen(), [X].into());
    assert_eq!(run.proposer(1).phase, Phase::Done(X));
}

#[test]
fn a_repeated_announcement_is_answered_with_the_same_words() {
    let mut run = Script::new(vec![vec![one(0)]], Rules::default(), Correct);
    run.propose(0, 0, X);
    run.time_out(0);
    run.deliver(Role::Proposer(0), M[0]);
    let answers: Vec<_> = run.flight.iter().filter(|(src, ..)| *src == run.config.id(M[0])).collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn a_proposer_is_not_frightened_by_its_own_round() {
    let mut run = Script::new(vec![vec![one(0), one(1)]], Rules::default(), Correct);
    run.propose(0, 0, X);
    run.reconfigure(0);
    let before = run.proposer(0).clone();
    let matchmaker = run.config.id(M[0]);
    run.hear(0, matchmaker, Msg::Nack { round: Round::ZERO.successor() });
    assert_eq!(*run.proposer(0), before, "a copy of its own older question was refused");
    let higher = Round { term: 3, ..Round::ZERO };
    run.hear(0, matchmaker, Msg::Nack { round: higher });
    run.time_out(0);
    assert_eq!(run.proposer(0).used, Some(higher.successor()));
}

#[test]
fn all_clients_are_told_the_same_value_through_a_storm() {
    decree::survives_storms("matchmaker_paxos");
}

#[test]
fn what_is_chosen_stays_chosen_through_kills_of_processes() {
    decree::survives_kills("matchmaker_paxos");
}
