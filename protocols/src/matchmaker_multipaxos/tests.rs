//! What a leader does about nodes that are not there, operators who ask too early or not any more, and slots that another
//! leader's values have taken.

use super::{
    Acceptor, Bounds, Config, Leading, Matchmaker, Msg, Node, Places, Role, Server, ServerState, State,
    Timer, Transition, Wish,
};
use crate::client::Client;
use crate::command::Value;
use crate::faults::Correct;
use crate::ids::Slot;
use crate::matchmaking::{Ask, Configuration};
use crate::multipaxos::{Limits, Timing};
use crate::operator::{Numbers, Operator, OperatorMsg, OperatorState, Progress, Refusal, Wanted};
use crate::state_machine::{AppendLog, AppendLogCommand};
use parthood_quorums::NodeSet;
use stateright::actor::{Actor, Command, Id, Out};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: u32 = 2;
/// Whom operators tell how far they are.
const APPLICATION: usize = 1_000;

type Sent = (Id, Id, Msg<AppendLog>);

/// Three servers, three of four matchmakers, six acceptors of which the first three vote; and others.
struct Cluster {
    config: Arc<Config>,
    nodes: Vec<Node<AppendLog>>,
    states: Vec<State<AppendLog>>,
    flight: VecDeque<Sent>,
    told: Vec<Progress>,
}

fn set(numbers: &[usize]) -> NodeSet {
    numbers.iter().copied().collect()
}

fn majority(numbers: &[usize]) -> Wanted {
    Wanted::Acceptors(Configuration::Majority(set(numbers)))
}

fn operator(wanted: Wanted) -> Node<AppendLog> {
    Node::Operator(Operator {
        contacts: (0..3).map(Id::from).collect(),
        first_contact: 0,
        script: vec![wanted],
        knows: Numbers::FIRST,
        until_retired: true,
        application: Some(Id::from(APPLICATION)),
        retries_max: u32::MAX,
        ask_after: Duration::ZERO..Duration::ZERO,
    })
}

fn client() -> Node<AppendLog> {
    Node::Client(Client {
        contacts: (0..3).map(Id::from).collect(),
        first_contact: 0,
        script: vec![AppendLogCommand::Append(7)],
        lanes: 1,
        known: true,
        application: None,
        retries_max: 0,
        retry_after: Duration::ZERO..Duration::ZERO,
    })
}

impl Cluster {
    fn new(others: Vec<Node<AppendLog>>) -> Self {
        let config = Arc::new(Config {
            servers: 3,
            places: Places::in_blocks(4, 6),
            matchmakers: 4,
            serving: 3,
            acceptors: 6,
            initial: Configuration::Majority(NodeSet::first(3)),
            known_clients: vec![13],
            limits: Limits::default(),
            // Nobody lets that timer fire.
            timing: Timing { gather: None, ..Timing::default() },
            log_max: 64,
            acceptor_failures: 1,
            orders_max: 1,
            patience: PATIENCE,
            transition: Transition::Seamless,
            bounds: Bounds::default(),
            faults: Correct,
        });
        let node = |id: usize| match config.role(Id::from(id)) {
            Some(Role::Server(index)) => {
                Node::Server(Server { index, wish: Wish::default(), config: config.clone() })
            }
            Some(Role::Matchmaker(index)) => Node::Matchmaker(Matchmaker { index, config: config.clone() }),
            Some(Role::Acceptor(_)) | None => Node::Acceptor(Acceptor { config: config.clone() }),
        };
        let nodes: Vec<_> = (0..config.nodes()).map(node).chain(others).collect();
        let mut cluster = Self { config, nodes, states: vec![], flight: VecDeque::new(), told: vec![] };
        for at in 0..cluster.nodes.len() {
            let mut out = Out::new();
            cluster.states.push(cluster.nodes[at].on_start(Id::from(at), &None, &mut out));
            cluster.send(at, out);
        }
        cluster
    }

    fn send(&mut self, at: usize, out: Out<Node<AppendLog>>) {
        for command in out {
            match command {
                Command::Send(dst, Msg::Operator(OperatorMsg::Progress { progress, .. }))
                    if dst == Id::from(APPLICATION) =>
                {
                    self.told.push(progress);
                }
                Command::Send(dst, msg) => self.flight.push_back((Id::from(at), dst, msg)),
                _ => {}
            }
        }
    }

    fn react(
        &mut self,
        at: usize,
        react: impl FnOnce(&Node<AppendLog>, &mut Cow<'_, State<AppendLog>>, &mut Out<Node<AppendLog>>),
    ) {
        let (mut state, mut out) = (Cow::Owned(self.states[at].clone()), Out::new());
        react(&self.nodes[at], &mut state, &mut out);
        self.states[at] = state.into_owned();
        self.send(at, out);
    }

    fn hear(&mut self, src: Id, dst: Id, msg: Msg<AppendLog>) {
        let at = usize::from(dst);
        if at < self.nodes.len() {
            self.react(at, |node, state, out| node.on_msg(dst, state, src, msg, out));
        }
    }

    /// Delivers everything but what these are to hear, until nothing more is said.
    fn run(&mut self, deaf: &[Role]) {
        let deaf: Vec<Id> = deaf.iter().map(|role| self.config.id(*role)).collect();
        while let Some((src, dst, msg)) = self.flight.pop_front() {
            if !deaf.contains(&dst) {
                self.hear(src, dst, msg);
            }
        }
    }

    /// A timer rings so often, and what comes of it is heard.
    fn ring(&mut self, at: usize, timer: Timer, turns: u32, deaf: &[Role]) {
        for _ in 0..turns {
            self.react(at, |node, state, out| node.on_timeout(Id::from(at), state, &timer, out));
            self.run(deaf);
        }
    }

    fn server(&self) -> &ServerState<AppendLog> {
        self.server_number(0)
    }

    fn server_number(&self, number: usize) -> &ServerState<AppendLog> {
        match &self.states[number] {
            State::Server(server) => server,
            other => panic!("{other:?} is no server's"),
        }
    }

    fn leading(&self) -> &Leading<AppendLogCommand> {
        self.server().leading.as_ref().unwrap()
    }

    fn operator(&self, number: usize) -> &OperatorState {
        match &self.states[self.config.nodes() + number] {
            State::Operator(operator) => operator,
            other => panic!("{other:?} is no operator's"),
        }
    }

    fn serves(&self, matchmaker: usize) -> bool {
        match &self.states[usize::from(self.config.id(Role::Matchmaker(matchmaker)))] {
            State::Matchmaker(node) => node.serves(),
            other => panic!("{other:?} is no matchmaker's"),
        }
    }
}

#[test]
fn matchmakers_are_not_replaced_before_a_leader_leads() {
    let mut cluster = Cluster::new(vec![operator(Wanted::Matchmakers(set(&[0, 1, 3])))]);
    let (src, dst, request) = cluster.flight.pop_back().unwrap();
    assert!(matches!(request, Msg::Operator(_)), "the operator started last");
    cluster.hear(src, dst, request);
    let stops = |(.., msg): &Sent| matches!(msg, Msg::Ask(Ask::Stop { .. }));
    assert!(!cluster.flight.iter().any(stops) && cluster.leading().handover.is_none());
    cluster.run(&[]);
    assert!(cluster.leading().is_steady());
    assert_eq!(cluster.told, [Progress::Waiting]);
    let operator = cluster.config.nodes();
    cluster.ring(operator, Timer::Ask, 1, &[]);
    assert_eq!(cluster.server().epoch.members, set(&[0, 1, 3]));
    assert_eq!(cluster.told.last(), Some(&Progress::Retired(1)));
}

#[test]
fn a_new_matchmaker_that_missed_its_log_gets_it_before_the_old_ones_may_go() {
    let mut cluster = Cluster::new(vec![]);
    cluster.run(&[]);
    // Matchmaker 2 does not stop, so nobody can take the place of matchmaker 3, which does not get the log.
    let (absent, new) = (Role::Matchmaker(2), Role::Matchmaker(3));
    let asks = Cluster::new(vec![operator(Wanted::Matchmakers(set(&[0, 1, 3])))]);
    cluster.nodes.extend(asks.nodes.last().cloned());
    cluster.states.extend(asks.states.last().cloned());
    let asker = cluster.config.nodes();
    cluster.ring(asker, Timer::Ask, 1, &[absent, new]);
    cluster.ring(0, Timer::Resend, PATIENCE + 1, &[absent, new]);
    assert_eq!(cluster.server().epoch.members, set(&[0, 1, 3]));
    assert!(!cluster.serves(3) && cluster.operator(0).wanted.is_some(), "{:?}", cluster.told);
    cluster.ring(0, Timer::Resend, 1, &[absent]);
    assert!(cluster.serves(3));
    assert_eq!(cluster.told.last(), Some(&Progress::Retired(1)));
}

#[test]
fn a_matchmaker_that_missed_its_log_gets_one_from_the_next_leader() {
    let mut cluster = Cluster::new(vec![]);
    cluster.run(&[]);
    let (absent, new) = (Role::Matchmaker(2), Role::Matchmaker(3));
    let asks = Cluster::new(vec![operator(Wanted::Matchmakers(set(&[0, 1, 3])))]);
    cluster.nodes.extend(asks.nodes.last().cloned());
    cluster.states.extend(asks.states.last().cloned());
    let asker = cluster.config.nodes();
    cluster.ring(asker, Timer::Ask, 1, &[absent, new]);
    cluster.ring(0, Timer::Resend, 2 * PATIENCE + 2, &[absent, new]);
    assert_eq!(cluster.told.last(), Some(&Progress::Retired(1)), "two of three serve");
    cluster.ring(1, Timer::Election, 1, &[Role::Server(0)]);
    assert!(!cluster.serves(3), "whoever had its log leads no more");
    cluster.ring(1, Timer::Resend, PATIENCE, &[Role::Server(0)]);
    assert!(!cluster.serves(3), "the last leader may have told it");
    cluster.ring(1, Timer::Resend, 1, &[Role::Server(0)]);
    assert!([0, 1, 3].iter().all(|member| cluster.serves(*member)));
    let epoch = cluster.server_number(1).epoch;
    assert_eq!((epoch.number, epoch.members), (2, set(&[0, 1, 3])));
    assert!(cluster.server_number(1).leading.as_ref().is_some_and(|leading| leading.settling.is_none()));
}

#[test]
fn acceptors_that_do_not_answer_are_refused_and_change_nothing() {
    let wanted = majority(&[3, 4, 5]);
    let mut cluster = Cluster::new(vec![operator(wanted.clone())]);
    let deaf = [4, 5].map(Role::Acceptor);
    cluster.run(&deaf);
    cluster.ring(0, Timer::Resend, 4 * PATIENCE, &deaf);
    assert_eq!(cluster.told, [Progress::Waiting]);
    cluster.ring(0, Timer::Resend, 1, &deaf);
    assert_eq!(cluster.told.last(), Some(&Progress::Refused(Refusal::SilentAcceptor(4))));
    assert_eq!(cluster.leading().announced.version, 0);

    let mut cluster = Cluster::new(vec![operator(wanted)]);
    cluster.run(&[Role::Acceptor(5)]);
    assert_eq!(cluster.leading().announced.version, 1, "two of three can vote");
}

#[test]
fn acceptors_that_have_answered_of_late_are_active_after_one_round_trip() {
    let request = || OperatorMsg::Reconfigure { wanted: majority(&[3, 4, 5]), after: Some(0), active: None };
    let asked = |absent: &[Role]| {
        let mut cluster = Cluster::new(vec![]);
        cluster.run(&[]);
        cluster.ring(0, Timer::Ping, 2, absent);
        let operator = Id::from(cluster.config.nodes());
        cluster.hear(operator, Id::from(0), request().into());
        cluster
    };
    let everybody: Vec<Role> = (0..6).map(Role::Acceptor).collect();
    let mut cluster = asked(&[]);
    assert!(cluster.leading().next.is_some());
    cluster.run(&everybody);
    assert_eq!(cluster.leading().announced.version, 1, "it took matchmakers alone");

    let mut cluster = asked(&[4, 5].map(Role::Acceptor));
    assert!(cluster.leading().next.is_none() && cluster.leading().call.is_some(), "two did not answer twice");
    cluster.run(&[]);
    assert_eq!(cluster.leading().announced.version, 1);
}

#[test]
fn an_operator_asks_the_next_server_sooner_while_nobody_has_answered() {
    let Node::Operator(operator) = operator(majority(&[3, 4, 5])) else { panic!("an operator") };
    let ask_after = Duration::from_millis(80)..Duration::from_millis(160);
    let node = Node::<AppendLog>::Operator(Operator { ask_after: ask_after.clone(), ..operator });
    let sooner = Duration::from_millis(10)..Duration::from_millis(20);
    let timers = |out: Out<Node<AppendLog>>| {
        let timer = |command| match command {
            Command::SetTimer(Timer::Ask, after) => Some(after),
            _ => None,
        };
        out.into_iter().filter_map(timer).collect::<Vec<_>>()
    };
    let (me, mut out) = (Id::from(13), Out::new());
    let mut state = Cow::Owned(node.on_start(me, &None, &mut out));
    assert_eq!(timers(out), std::slice::from_ref(&sooner));
    let mut out = Out::new();
    node.on_timeout(me, &mut state, &Timer::Ask, &mut out);
    let asked =
        |command: &Command<_, _, _, _>| matches!(command, Command::Send(server, _) if *server == Id::from(1));
    assert!(out.iter().any(asked));
    assert_eq!(timers(out), [sooner]);
    let mut out = Out::new();
    let waiting = OperatorMsg::Progress { wanted: majority(&[3, 4, 5]), progress: Progress::Waiting };
    node.on_msg(me, &mut state, Id::from(1), waiting.into(), &mut out);
    assert_eq!(timers(out), [ask_after]);
}

#[test]
fn what_an_operator_has_ceased_to_ask_for_is_given_up() {
    let mut cluster = Cluster::new(vec![operator(majority(&[0, 1, 3])), operator(majority(&[1, 2, 4]))]);
    // No round is matched, so the first one is not over, and the second one waits.
    let asks: Vec<Sent> = (0..2).map(|_| cluster.flight.pop_back().unwrap()).collect();
    cluster.run(&[]);
    cluster.flight.extend(asks.into_iter().rev());
    let deaf = [0, 1, 2].map(Role::Matchmaker);
    cluster.run(&deaf);
    assert!(cluster.leading().next.is_some());
    assert_eq!(cluster.leading().orders.len(), 1);
    let long = 8 * PATIENCE;
    cluster.ring(0, Timer::Resend, long, &deaf);
    assert_eq!(cluster.leading().orders.len(), 1);
    let second = cluster.config.nodes() + 1;
    cluster.ring(second, Timer::Ask, 1, &deaf);
    cluster.ring(0, Timer::Resend, long, &deaf);
    assert_eq!(cluster.leading().orders.len(), 1, "it was asked for again");
    cluster.ring(0, Timer::Resend, 1, &deaf);
    assert_eq!(cluster.leading().orders.len(), 0);
}

#[test]
fn a_command_whose_slot_is_taken_by_another_value_gets_another_slot() {
    let mut cluster = Cluster::new(vec![client()]);
    let acceptors = [0, 1, 2].map(Role::Acceptor);
    cluster.run(&acceptors);
    assert_eq!(cluster.leading().outstanding.len(), 1);
    let noop = Msg::Chosen { from: Slot::ZERO, values: vec![Value::Noop] };
    cluster.hear(Id::from(1), Id::from(0), noop);
    let again = cluster.leading().outstanding.get_min().map(|(slot, one)| (*slot, one.value.clone()));
    let (slot, value) = again.unwrap();
    assert_eq!((slot, value.commands().len()), (Slot(1), 1));
    assert!(cluster.flight.iter().any(|(.., msg)| matches!(msg, Msg::Phase2a { slot: Slot(1), .. })));
}
