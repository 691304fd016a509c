//! The Matchmaker paper's experiments: acceptors, the leader and matchmakers fail or are exchanged while clients go on.
//!
//! Each is a script (`script`) that is played to a cluster of the very actors: in the simulator, where every node is a server of
//! its own and two numbers say how fast the machines are ([`Machines`]), or over UDP on this machine, where nothing is fitted and
//! everything shares its cores. Beside it runs the horizontal log, with a window that the clients never fill and with one that they
//! do. Three servers are proposers and replicas at once, leaders ask all acceptors (the paper's ask two of three at first, which is
//! what its latency with a dead acceptor shows), and every command has a slot of its own.
//!
//! The ablation takes away, in turn, that rounds are matched ahead, that phase 1 is left out, and that configurations are
//! collected, with the answers of matchmakers and of phase 1 a quarter of a second late.

mod delayed;
mod deployed;
mod published;
mod report;
mod script;
mod simulated;
mod subject;
mod timeline;

pub use published::{Published, published};
pub use report::{Row, Speed};
pub use script::{Deed, Phase, Script};
pub use simulated::Machines;
pub use timeline::{Answer, Measured as Stretch, Reconfiguration, Spread, Timeline};

use crate::deploy::{Cluster, Deployable, Horizontal, MatchmakerMultiPaxos, MsgOf, matchmaker_config};
use crate::error::Error;
use parthood_protocols::matchmaker_multipaxos::{
    Acceptor, Bounds, Config, Matchmaker, Msg, Node, Role, Server, Transition, Wish,
};
use parthood_protocols::matchmaking::Said;
use parthood_protocols::state_machine::KeyValue;
use rayon::prelude::*;
use simulated::Run;
use stateright::actor::Id;
use std::sync::Arc;
use std::time::Duration;
use subject::{Setup, Subject};

/// An experiment and what its runs showed.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// What was done.
    pub script: Script,
    /// What came of it.
    pub runs: Vec<Timeline>,
}

/// Where an experiment runs, and how long its seconds are. What is not a matter of the script, as the delay of a message, is not
/// scaled: with seconds that are a tenth there is as much of everything between two reconfigurations as there is in a tenth.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// How long a second of the script takes.
    pub second: Duration,
    /// The machines of the simulator; none to run over UDP on this one.
    pub machines: Option<Machines>,
}

/// What a message may wait for an answer before it is sent again, where nothing is late.
const RESEND_MS: u64 = 10;
/// The same where answers are a quarter of a second late.
const RESEND_LATE_MS: u64 = 2_000;
/// How late these are.
const LATE: Duration = Duration::from_millis(250);
/// A window that eight clients cannot fill, and one that they do. The paper's is 8.
const WINDOWS: [(&str, usize); 2] = [("horizontal, window 8", 8), ("horizontal, window 2", 2)];
const WIDE: usize = 64;

/// One system, with so many slots in flight at most, and so many clients.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    system: &'static str,
    window: usize,
    clients: usize,
    is_horizontal: bool,
}

fn matchmaker(clients: usize) -> Wanted {
    Wanted { system: "matchmaker", window: WIDE, clients, is_horizontal: false }
}

/// All systems at one, four and eight clients; the narrow window only at eight, as fewer do not notice it.
fn all_systems() -> Vec<Wanted> {
    let [(wide, eight), (narrow, two)] = WINDOWS;
    let with = |system, window, clients| Wanted { system, window, clients, is_horizontal: true };
    let horizontal = [1, 4, 8].map(|clients| with(wide, eight, clients));
    [1, 4, 8].map(matchmaker).into_iter().chain(horizontal).chain([with(narrow, two, 8)]).collect()
}

/// E1: acceptors are exchanged.
///
/// # Errors
/// When a run cannot begin.
pub fn acceptors(stage: Stage) -> Result<Experiment, Error> {
    play(stage, script::acceptors(), &all_systems())
}

/// E2: the leader fails.
///
/// # Errors
/// When a run cannot begin.
pub fn leader(stage: Stage) -> Result<Experiment, Error> {
    let wanted: Vec<_> = all_systems().into_iter().filter(|wanted| wanted.window > 2).collect();
    play(stage, script::leader(), &wanted)
}

/// E3: matchmakers are exchanged.
///
/// # Errors
/// When a run cannot begin.
pub fn matchmakers(stage: Stage) -> Result<Experiment, Error> {
    play(stage, script::matchmakers(), &[1, 4, 8].map(matchmaker))
}

fn play(stage: Stage, script: Script, wanted: &[Wanted]) -> Result<Experiment, Error> {
    let one = |wanted: &Wanted| {
        if wanted.is_horizontal {
            run::<Horizontal>(stage, &script, *wanted)
        } else {
            run::<MatchmakerMultiPaxos>(stage, &script, *wanted)
        }
    };
    let runs: Result<Vec<Timeline>, Error> = match stage.machines {
        Some(_) => wanted.par_iter().map(one).collect(),
        // Whoever runs beside others measures these.
        None => wanted.iter().map(one).collect(),
    };
    Ok(Experiment { runs: runs?, script })
}

fn run<D: Subject>(stage: Stage, script: &Script, wanted: Wanted) -> Result<Timeline, Error> {
    let second_ms = u64::try_from(stage.second.as_millis()).unwrap_or(u64::MAX);
    let setup = Setup { second_ms, window: wanted.window, resend_ms: RESEND_MS };
    let Some(machines) = stage.machines else {
        return deployed::run::<D>(setup, wanted.system, wanted.clients, script);
    };
    let cluster = subject::cluster::<D>("cluster.toml".as_ref(), setup, |_| 1)?;
    let nodes = (0..cluster.members.len()).map(|index| D::server(&cluster, index, true));
    let run = Run::<D> {
        cluster: &cluster,
        nodes: nodes.collect(),
        system: wanted.system.into(),
        clients: wanted.clients,
        second: stage.second,
        machines,
        delay: |_| Duration::ZERO,
    };
    simulated::run(run, script)
}

/// What is taken away, and what is left.
const VARIANTS: [(&str, Transition, bool); 4] = [
    ("nothing", Transition::Restarts, false),
    ("collection", Transition::Restarts, true),
    ("+ no phase 1", Transition::Waits, true),
    ("+ matching ahead", Transition::Seamless, true),
];

/// The ablation, in the simulator: eight clients, and late answers.
///
/// # Errors
/// When a run cannot begin.
pub fn ablation(machines: Machines) -> Result<Experiment, Error> {
    let script = script::ablation();
    let setup = Setup { second_ms: 1_000, window: WIDE, resend_ms: RESEND_LATE_MS };
    let cluster = subject::cluster::<MatchmakerMultiPaxos>("cluster.toml".as_ref(), setup, |_| 1)?;
    let one = |(system, transition, collect): &(&str, Transition, bool)| {
        let run = Run::<MatchmakerMultiPaxos> {
            cluster: &cluster,
            nodes: with(&cluster, *transition, *collect),
            system: (*system).into(),
            clients: 8,
            second: Duration::from_secs(1),
            machines,
            delay: is_late,
        };
        simulated::run(run, &script)
    };
    let runs: Result<Vec<Timeline>, Error> = VARIANTS.par_iter().map(one).collect();
    Ok(Experiment { runs: runs?, script })
}

fn is_late(msg: &MsgOf<MatchmakerMultiPaxos>) -> Duration {
    match msg {
        Msg::Said(Said::MatchB { .. }) | Msg::Phase1b { .. } => LATE,
        _ => Duration::ZERO,
    }
}

/// The nodes of a cluster whose leaders do without something.
fn with(cluster: &Cluster, transition: Transition, collect: bool) -> Vec<Node<KeyValue>> {
    let config = matchmaker_config(cluster);
    let bounds = Bounds { collect, ..config.bounds };
    let config = Arc::new(Config { transition, bounds, ..(*config).clone() });
    let node = |id| {
        let config = config.clone();
        match config.role(Id::from(id)) {
            Some(Role::Server(index)) => Node::Server(Server { index, wish: Wish::default(), config }),
            Some(Role::Matchmaker(index)) => Node::Matchmaker(Matchmaker { index, config }),
            Some(Role::Acceptor(_)) | None => Node::Acceptor(Acceptor { config }),
        }
    };
    (0..MatchmakerMultiPaxos::servers(cluster.members.len())).map(node).collect()
}
