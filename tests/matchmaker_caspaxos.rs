//! Matchmaker `CASPaxos` in the simulator: crashes, partitions, loss and duplication.

use parthood::models::linearizability::{self, Linearizability, Operation, Return, StepLimit};
use parthood::models::sequential::OneObject;
use parthood::protocols::client::{Client, ClientMsg};
use parthood::protocols::command::Operation as Asked;
use parthood::protocols::faults::Correct;
use parthood::protocols::matchmaker_caspaxos::{CasProposer, Config, Msg, Node, Shared, State};
use parthood::protocols::matchmaker_paxos::{
    Acceptor, Config as PaxosConfig, Matchmaker, Node as Server, Scenarios,
};
use parthood::protocols::matchmaking::Configuration;
use parthood::protocols::sessions::Answer;
use parthood::protocols::state_machine::{AppendLog, AppendLogCommand, AppendLogOutput};
use parthood::quorum_systems::NodeSet;
use parthood::runtime::sim::{Schedule, Settings, Sim, Span, Stop};
use parthood::runtime::{Cause, Observer, Step, Wants};
use parthood::simulate::{self, Storm};
use stateright::actor::{Command, Id};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const CLIENTS: usize = 3;
const COMMANDS: usize = 12;

type Actor = Node<AppendLog, Correct>;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Three proposers, three matchmakers and four acceptors, of which every round uses others.
fn config() -> Arc<Config> {
    let paxos = Arc::new(PaxosConfig {
        proposers: 3,
        matchmakers: 3,
        acceptors: 4,
        replicas: 0,
        scenarios: Scenarios { chosen: true, free: true, persisted: false },
        bypass: false,
        own_bypass: true,
        ask_everyone: false,
        log_max: 1_000,
        nack: true,
        resend: true,
        patience: 8,
        resend_after: millis(50)..millis(100),
        faults: Shared(Correct),
    });
    let known_clients = (0..CLIENTS).map(|number| (paxos.servers() + number) as u64).collect();
    Arc::new(Config { known_clients, lanes_max: 64, faults: Correct, paxos })
}

fn actors(config: &Arc<Config>) -> Vec<Actor> {
    let paxos = || config.paxos.clone();
    let majority = |nodes: [usize; 3]| Configuration::Majority(nodes.into_iter().collect::<NodeSet>());
    let configurations = vec![majority([0, 1, 2]), majority([1, 2, 3]), majority([0, 2, 3])];
    let proposer = |index| {
        let (configurations, config) = (configurations.clone(), config.clone());
        Node::Proposer(CasProposer { index, configurations, rounds_max: u64::MAX, config })
    };
    let script = |client: usize| {
        let command = |number: usize| match number % 4 {
            3 => AppendLogCommand::Read,
            _ => AppendLogCommand::Append(u8::try_from(client * COMMANDS + number).unwrap()),
        };
        (0..COMMANDS).map(command).collect()
    };
    let client = |number: usize| {
        Node::Client(Client {
            contacts: (0..3).map(Id::from).collect(),
            first_contact: number,
            script: script(number),
            lanes: 1,
            known: true,
            application: None,
            retries_max: u32::MAX,
            retry_after: millis(300)..millis(600),
        })
    };
    let matchmakers = (0..3).map(|_| Node::Server(Server::Matchmaker(Matchmaker { config: paxos() })));
    let acceptors = (0..4).map(|_| Node::Server(Server::Acceptor(Acceptor { config: paxos() })));
    (0..3).map(proposer).chain(matchmakers).chain(acceptors).chain((0..CLIENTS).map(client)).collect()
}

/// What clients asked and were told.
#[derive(Default)]
struct History {
    operations: Vec<Operation<AppendLogCommand, AppendLogOutput>>,
    places: BTreeMap<(u64, u64), usize>,
}

impl Observer<Actor> for History {
    fn wants(&self) -> Wants {
        Wants::Steps
    }

    fn on_step(&mut self, step: &Step<'_, Actor>) {
        let State::Client(_) = step.after else { return };
        let now = u64::try_from(step.at.as_nanos()).unwrap();
        if let Cause::Deliver {
            msg: Msg::Client(ClientMsg::Reply { id, answer: Answer::Output(output) }),
            ..
        } = step.cause
        {
            let place = self.places[&(id.client, id.seq)];
            let returned = &mut self.operations[place].returned;
            returned.get_or_insert(Return { at: now, output: output.clone() });
        }
        for command in step.out {
            let Command::Send(_, Msg::Client(ClientMsg::Request(request))) = command else { continue };
            let Asked::Apply(op) = request.op else { continue };
            let (client, seq) = (request.id.client, request.id.seq);
            self.places.entry((client, seq)).or_insert_with(|| {
                self.operations.push(Operation { client, op, invoked: now, returned: None });
                self.operations.len() - 1
            });
        }
    }
}

#[test]
fn clients_see_one_register_through_a_storm_while_acceptors_take_turns() {
    for seed in 0..20 {
        let config = config();
        let servers = config.paxos.servers();
        let storm = Storm { seconds: 10, crashes: 10, ..Storm::default() };
        let budget = simulate::budget(&storm, servers);
        let sync = Span::new(millis(0), millis(8));
        let settings = Settings { seed, network: budget.storm, sync, ..Settings::default() };
        let mut sim = Sim::new(actors(&config), settings, History::default()).unwrap();
        sim.schedule(&Schedule::random(seed, servers + CLIENTS, &budget)).unwrap();
        let done = |sim: &Sim<Actor, History>| {
            (servers..servers + CLIENTS).all(|client| match sim.state(Id::from(client)) {
                Some(State::Client(client)) => client.is_idle() && client.invoked() == COMMANDS,
                _ => false,
            })
        };
        let deadline = Duration::from_secs(300);
        let stop = sim.run_while(deadline, |sim| !(done(sim) && sim.now() > budget.calm_at));
        // With all answered, nothing may be left to do before the storm is over.
        assert!(stop == Stop::Done || stop == Stop::Quiet && done(&sim), "seed {seed}: stuck ({stop:?})");
        let operations = &sim.observer().operations;
        let verdict =
            linearizability::check(&OneObject::<AppendLog>::default(), operations, StepLimit::default());
        assert!(matches!(verdict, Linearizability::Linearizable { .. }), "seed {seed}: {verdict:?}");
    }
}
