//! The properties of the model in storms: what the checker evaluates in every state within its bounds is evaluated here every so
//! many steps of runs far beyond them.

use parthood::watching::Watching;
use parthood_models::matchmaker_multipaxos::{MatchmakerMultipaxos, OperatorParams, Params};
use parthood_models::matchmaker_paxos::ConfigurationParams;
use parthood_models::{self as models, ClientParams};
use parthood_protocols::matchmaker_multipaxos::{Mutant, State, Transition};
use parthood_protocols::state_machine::AppendLogCommand;
use parthood_runtime::sim::{Budget, Network, Schedule, Settings, Sim, Span};
use stateright::actor::Id;
use std::time::Duration;

const SERVERS: usize = 3;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Three servers, three of four matchmakers, three of five acceptors, and operators who exchange them all the time.
fn params() -> Params {
    const COMMANDS: u8 = 12;
    let client = |number: u8| ClientParams {
        script: (0..COMMANDS).map(|entry| AppendLogCommand::Append(number * COMMANDS + entry)).collect(),
        first: usize::from(number) % SERVERS,
        retries: u32::MAX,
        opens_session: false,
    };
    let operator = |script: Vec<usize>, matchmakers: Vec<Vec<usize>>| OperatorParams {
        script,
        matchmakers,
        first: 0,
        until_retired: false,
        retries: u32::MAX,
        knows_nothing: false,
    };
    let sets = [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0], [4, 0, 1]];
    Params {
        servers: SERVERS,
        matchmakers: 3,
        spare_matchmakers: 1,
        configurations: sets.map(|set| ConfigurationParams::Majority(set.to_vec())).to_vec(),
        operators: vec![
            operator((1..30).map(|turn| turn % sets.len()).collect(), vec![]),
            operator(
                vec![],
                (0..4).map(|turn| if turn % 2 == 0 { vec![1, 2, 3] } else { vec![0, 1, 2] }).collect(),
            ),
        ],
        files: vec![],
        clients: (0..3).map(client).collect(),
        rounds_max: u64::MAX,
        acceptor_failures: 1,
        orders_max: 2,
        collect: true,
        ask_first: true,
        nack: true,
        resend: true,
        patience: 4,
        transition: Transition::Seamless,
        window_slots: 3,
        gather: false,
        batch_commands: 1,
        page_slots: 2,
        retained_slots: 3,
        answers: false,
    }
}

/// The property that falls in a storm, if one does, and how many requests of the operators were done or refused.
fn watched(seed: u64, mutant: Option<Mutant>) -> (Option<&'static str>, usize) {
    let model =
        MatchmakerMultipaxos::new(&params(), mutant).expect("the configuration makes sense").in_a_storm();
    let actors = models::Protocol::actors(&model);
    let nodes = actors.len();
    let observer = Watching::new(model, nodes);
    let network = Network { latency: Span::new(millis(1), millis(60)), loss: 0.1, duplication: 0.1 };
    let sync = Span::new(millis(0), millis(8));
    let settings = Settings { seed, network, sync, ..Settings::default() };
    let mut sim = Sim::new(actors, settings, observer).expect("the settings are sound");
    let budget = Budget {
        nodes: (0..SERVERS + 4 + 5).collect(),
        calm_at: Duration::from_secs(12),
        crashes: 8,
        down_at_most: 1,
        down: Span::new(millis(100), millis(1500)),
        pauses: 2,
        pause: Span::new(millis(100), millis(1000)),
        cuts: 4,
        cut: Span::new(millis(100), millis(2000)),
        storm: network,
        calm: Network::default(),
    };
    sim.schedule(&Schedule::random(seed, nodes, &budget)).expect("the schedule names nodes that exist");
    sim.run_while(Duration::from_secs(14), |sim| sim.observer().violated().is_none());
    let done = (0..nodes).filter_map(|id| match sim.state(Id::from(id)) {
        Some(State::Operator(operator)) => Some(operator.done),
        _ => None,
    });
    (sim.observer().violated().map(|violation| violation.property), done.sum())
}

#[test]
fn the_properties_of_the_model_hold_throughout_a_storm() {
    for seed in 0..5 {
        assert_eq!(watched(seed, None), (None, 29 + 4), "seed {seed}");
    }
}

/// Each of them before two values are chosen for a slot.
#[test]
fn what_agreement_rests_on_falls_first_in_a_storm() {
    let falls = [
        (Mutant::CollectAtOnce, "garbage collection is justified"),
        (Mutant::AnyConfigurationSuffices, "what is proposed excludes other choices below"),
    ];
    for (mutant, property) in falls {
        let found = (0..20).find_map(|seed| watched(seed, Some(mutant)).0);
        assert_eq!(found, Some(property), "{mutant:?}");
    }
}
