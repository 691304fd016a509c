//! Long runs of the deployed actors in the seeded simulator: a storm of faults, then calm, then the reckoning.
//!
//! The actors are those of `parthood run`, with the same settings; only the sockets, clocks and disks are simulated. A run
//! is right when the model's properties hold throughout, every client got all its answers after the storm, the history is
//! linearizable, and all replicas are equal. It is determined by its seed and its options.

use crate::bench::{self, History, HistoryVerdict};
use crate::deploy::{Cluster, Deployable, MultiPaxos, Service as _, Visit, visit};
use crate::error::Error;
use crate::watching::{Violation, Watching};
use itertools::Itertools;
use parthood_models::linearizability::{Operation, Return};
use parthood_protocols::command::CommandId;
use parthood_protocols::state_machine::{Bytes, KeyValue, KeyValueCommand, KeyValueOutput};
use parthood_runtime::sim::{Budget, Network, Schedule, Settings, Sim, Span, Stop};
use parthood_runtime::trace::{Header, TraceWriter};
use parthood_runtime::wire::{MAX_MESSAGE_LEN, encoded_len};
use parthood_runtime::{Cause, Notice, Observer, Step, Wants};
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id};
use std::collections::BTreeMap;
use std::fs::File;
use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

/// More servers are not simulated in reasonable time,
const SERVERS_MAX: u64 = 25;
/// nor are more clients,
const CLIENTS_MAX: u64 = 100;
/// nor more commands of each,
const COMMANDS_MAX: u64 = 10_000;
/// nor a storm of more than a day,
const SECONDS_MAX: u64 = 86_400;
/// nor more faults of one kind.
const FAULTS_MAX: u64 = 1_000;

/// What a run is made of, besides its seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// The protocol.
    pub protocol: String,
    /// How many servers.
    pub servers: u16,
    /// How many clients.
    pub clients: u16,
    /// How many commands each client issues.
    pub commands: usize,
    /// How many seconds the storm lasts, in virtual time.
    pub seconds: u64,
    /// The probability that a message is lost.
    pub loss: f64,
    /// The probability that a message arrives twice.
    pub duplication: f64,
    /// How many crashes, each with a restart that finds what was durable.
    pub crashes: u32,
    /// How many times a server stands still for a while.
    pub pauses: u32,
    /// How many times links are cut for a while.
    pub cuts: u32,
}

impl Default for Storm {
    fn default() -> Self {
        Self {
            protocol: MultiPaxos::NAME.to_owned(),
            servers: 3,
            clients: 4,
            commands: 100,
            seconds: 20,
            loss: 0.05,
            duplication: 0.05,
            crashes: 6,
            pauses: 3,
            cuts: 4,
        }
    }
}

impl Storm {
    /// Refuses what no simulation is made of. Options come from a command line or from the header of a trace.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let counts = [
            ("servers", u64::from(self.servers), 1..=SERVERS_MAX),
            ("clients", self.clients.into(), 1..=CLIENTS_MAX),
            ("commands", self.commands as u64, 1..=COMMANDS_MAX),
            ("seconds", self.seconds, 0..=SECONDS_MAX),
            ("crashes", self.crashes.into(), 0..=FAULTS_MAX),
            ("pauses", self.pauses.into(), 0..=FAULTS_MAX),
            ("cuts", self.cuts.into(), 0..=FAULTS_MAX),
        ];
        if let Some((name, count, range)) =
            counts.into_iter().find(|(_, count, range)| !range.contains(count))
        {
            let (least, most) = range.into_inner();
            return Err(Error::Usage(format!(
                "{name} of a simulation: {count} is not from {least} to {most}"
            )));
        }
        let shares = [("loss", self.loss), ("duplication", self.duplication)];
        match shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            None => Ok(()),
            Some((name, share)) => Err(Error::Usage(format!(
                "{name} of a simulation: {share} is no share, which is from 0 to 1"
            ))),
        }
    }
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What went wrong, if anything.
    pub failure: Option<String>,
    /// Commands that were answered.
    pub answered: usize,
    /// How long it took, in virtual time.
    pub virtual_time: Duration,
    /// Events.
    pub events: u64,
    /// Messages that arrived.
    pub messages: u64,
    /// Messages that were lost, for whatever reason.
    pub lost: u64,
    /// Crashes that happened.
    pub crashes: u64,
}

/// Runs one seed; `trace` records it.
///
/// # Errors
/// When the options make no sense, or the trace cannot be written.
pub fn run(storm: &Storm, seed: u64, trace: Option<&Path>) -> Result<Outcome, Error> {
    visit(&storm.protocol, Run { storm, seed, trace })?
}

struct Run<'a> {
    storm: &'a Storm,
    seed: u64,
    trace: Option<&'a Path>,
}

impl Visit for Run<'_> {
    type Output = Result<Outcome, Error>;

    fn visit<D: Deployable>(self) -> Result<Outcome, Error> {
        run_as::<D>(self.storm, self.seed, self.trace)
    }
}

/// The cluster of a run: so many hosts, each with a node of every role.
pub(crate) fn cluster(storm: &Storm) -> Result<Cluster, Error> {
    Cluster::read(Path::new("simulated"), &Cluster::example(&storm.protocol, storm.servers, 1)?)
}

/// The actors of a run: nodes of the cluster, clients, operators.
pub(crate) fn actors<D: Deployable>(cluster: &Cluster, storm: &Storm, seed: u64) -> Vec<D::Actor> {
    let nodes = 0..D::servers(cluster.members.len());
    let clients = 0..usize::from(storm.clients);
    let clients = clients.map(|number| D::Service::scripted(cluster, seed, number, storm.commands));
    let nodes = nodes.map(|index| D::server(cluster, index, true));
    nodes.chain(clients).chain(D::operators(cluster, seed)).collect()
}

fn run_as<D: Deployable>(storm: &Storm, seed: u64, trace: Option<&Path>) -> Result<Outcome, Error> {
    storm.check()?;
    let hosts = D::servers(usize::from(storm.servers));
    let storm = Storm { servers: u16::try_from(hosts).unwrap_or(u16::MAX), ..storm.clone() };
    let cluster = cluster(&storm)?;
    let (servers, clients) = (D::servers(cluster.members.len()), usize::from(storm.clients));
    let budget = budget(&storm, servers);
    let sync = Span::new(Duration::ZERO, Duration::from_millis(8));
    let settings = Settings { seed, network: budget.storm, sync, ..Settings::default() };
    let record = trace.map(|file| record::<D>(&storm, &cluster, seed, file)).transpose()?;
    let observer = Recorder::<D> {
        protocol: PhantomData,
        servers,
        history: ClientHistory::default(),
        watching: Watching::new(D::model(&cluster), servers),
        trace: record,
    };
    let mut sim = Sim::new(actors::<D>(&cluster, &storm, seed), settings, observer)?;
    sim.set_longest(MAX_MESSAGE_LEN, encoded_len);
    sim.schedule(&Schedule::random(seed, servers + clients, &budget))?;
    let deadline = budget.calm_at + Duration::from_secs(120);
    let violated = |sim: &Sim<D::Actor, Recorder<D>>| sim.observer().watching.violated().is_some();
    let done = |sim: &Sim<D::Actor, Recorder<D>>| is_done::<D>(sim, servers, &storm);
    let mut stop =
        sim.run_while(deadline, |sim| !violated(sim) && (sim.now() <= budget.calm_at || !done(sim)));
    if stop == Stop::Quiet && done(&sim) {
        // Nothing is left to do before the storm is over.
        stop = Stop::Done;
    }
    let traffic = *sim.traffic();
    let mut outcome = Outcome {
        seed,
        failure: failure::<D>(&sim, servers, stop),
        answered: answers::<D>(&sim, servers, &storm).sum(),
        virtual_time: sim.now(),
        events: sim.events(),
        messages: traffic.arrived,
        lost: traffic.lost + traffic.cut + traffic.to_down + traffic.overflow,
        crashes: sim.stats().map(|stats| stats.crashes).sum(),
    };
    let Recorder { history, trace, mut watching, .. } = sim.into_observer();
    if let Some(trace) = trace {
        trace.finish()?;
    }
    watching.look();
    if let Some(Violation { property, steps }) = watching.violated() {
        outcome.failure = Some(format!("\"{property}\" does not hold after {steps} steps"));
    }
    if outcome.failure.is_none() && traffic.too_long > 0 {
        let count = traffic.too_long;
        outcome.failure = Some(format!("{count} messages were longer than a datagram carries"));
    }
    if outcome.failure.is_none() {
        outcome.failure = match bench::judge(&history.operations) {
            HistoryVerdict::Right => None,
            HistoryVerdict::Wrong(why) => Some(format!("not linearizable\n{why}")),
            HistoryVerdict::Inconclusive(why) => Some(format!("linearizability undecided: {why}")),
        };
    }
    Ok(outcome)
}

/// What may go wrong at the nodes of a cluster, which are the first of the run.
pub fn budget(storm: &Storm, servers: usize) -> Budget {
    let millis = Duration::from_millis;
    let stormy = Network {
        latency: Span::new(millis(1), millis(30)),
        loss: storm.loss,
        duplication: storm.duplication,
    };
    Budget {
        nodes: (0..servers).collect(),
        calm_at: Duration::from_secs(storm.seconds),
        crashes: storm.crashes,
        down_at_most: ((servers - 1) / 2).max(1),
        down: Span::new(millis(100), millis(2_000)),
        pauses: storm.pauses,
        pause: Span::new(millis(100), millis(1_500)),
        cuts: storm.cuts,
        cut: Span::new(millis(100), millis(3_000)),
        storm: stormy,
        calm: Network::default(),
    }
}

/// For each client, how many of its commands were answered.
fn answers<D: Deployable>(
    sim: &Sim<D::Actor, Recorder<D>>,
    servers: usize,
    storm: &Storm,
) -> impl Iterator<Item = usize> {
    (servers..servers + usize::from(storm.clients))
        .map(|client| sim.state(Id::from(client)).and_then(D::simulated).map_or(0, |client| client.answered))
}

/// Has every client its answers and every operator what it wanted, and have all replicas executed the same?
fn is_done<D: Deployable>(sim: &Sim<D::Actor, Recorder<D>>, servers: usize, storm: &Storm) -> bool {
    let operators = servers + usize::from(storm.clients)..sim.stats().len();
    answers::<D>(sim, servers, storm).all(|answered| answered == D::Service::commands(storm.commands))
        && operators.into_iter().all(|id| sim.state(Id::from(id)).is_some_and(D::is_done))
        && (0..servers).all(|server| sim.state(Id::from(server)).is_some())
        && replicas::<D>(sim, servers)
            .map(|(server, executed, _)| (executed, mark::<D>(sim, server)))
            .all_equal()
}

/// What a node has executed, if how much does not tell.
fn mark<D: Deployable>(sim: &Sim<D::Actor, Recorder<D>>, server: usize) -> Option<u64> {
    sim.state(Id::from(server)).map(D::executed)
}

/// The nodes that execute commands: their index, how many slots they have executed, and their data.
fn replicas<D: Deployable>(
    sim: &Sim<D::Actor, Recorder<D>>,
    servers: usize,
) -> impl Iterator<Item = (usize, u64, &KeyValue)> {
    (0..servers).filter_map(|server| {
        let (executed, machine) = sim.state(Id::from(server)).and_then(D::replica)?;
        Some((server, executed, machine))
    })
}

fn failure<D: Deployable>(sim: &Sim<D::Actor, Recorder<D>>, servers: usize, stop: Stop) -> Option<String> {
    if stop != Stop::Done {
        return Some(format!("clients or replicas are stuck after the storm ({stop:?})"));
    }
    let ((first, ..), (other, ..)) =
        replicas::<D>(sim, servers).tuple_windows().find(|((.., one), (.., other))| one != other)?;
    Some(format!("servers {first} and {other} have executed the same commands and hold different data"))
}

/// What clients of the store asked and were told, each with one command outstanding.
#[derive(Debug, Default)]
pub struct ClientHistory {
    /// The commands, in the order in which they were first sent.
    pub operations: History,
    /// By client: the sequence number of the command that is open, and its place.
    open: BTreeMap<u64, (u64, usize)>,
}

impl ClientHistory {
    /// Notes a step of a client: `outstanding` tells what it waits for, and `output` what a message brings it.
    pub fn observe<A: Actor>(
        &mut self,
        step: &Step<'_, A>,
        outstanding: impl Fn(&A::State) -> Option<(u64, &KeyValueCommand)>,
        output: impl Fn(&A::Msg) -> Option<(CommandId, &KeyValueOutput)>,
    ) {
        let now = u64::try_from(step.at.as_nanos()).unwrap_or(u64::MAX);
        let client = usize::from(step.id) as u64;
        let waits = outstanding(step.after);
        let open = self.open.get(&client).copied();
        let answered = open.filter(|(open, _)| waits.is_none_or(|(seq, _)| seq != *open));
        if let Some((open, index)) = answered {
            self.open.remove(&client);
            if let Cause::Deliver { msg, .. } = step.cause
                && let Some((_, output)) = output(msg).filter(|(id, _)| id.seq == open)
            {
                self.operations[index].returned = Some(Return { at: now, output: output.clone() });
            }
        }
        if let Some((seq, op)) = waits.filter(|_| !self.open.contains_key(&client)) {
            self.open.insert(client, (seq, self.operations.len()));
            self.operations.push(Operation { client, op: op.clone(), invoked: now, returned: None });
        }
    }
}

/// Records what clients ask and are told, and the trace.
struct Recorder<D: Deployable> {
    protocol: PhantomData<fn() -> D>,
    servers: usize,
    history: ClientHistory,
    watching: Watching<D::Model>,
    trace: Option<TraceWriter<File>>,
}

impl<D: Deployable> Observer<D::Actor> for Recorder<D> {
    fn wants(&self) -> Wants {
        Wants::Steps
    }

    fn on_step(&mut self, step: &Step<'_, D::Actor>) {
        if usize::from(step.id) >= self.servers {
            self.history.observe(step, |state| D::simulated(state)?.outstanding, D::Service::output);
        }
        self.watching.on_step(step);
        self.trace.iter_mut().for_each(|trace| trace.on_step(step));
    }

    fn on_notice(&mut self, at: Duration, notice: &Notice) {
        self.watching.on_notice(at, notice);
        self.trace.iter_mut().for_each(|trace| Observer::<D::Actor>::on_notice(trace, at, notice));
    }

    fn on_commit(&mut self) {
        self.trace.iter_mut().for_each(Observer::<D::Actor>::on_commit);
    }
}

fn record<D: Deployable>(
    storm: &Storm,
    cluster: &Cluster,
    seed: u64,
    file: &Path,
) -> Result<TraceWriter<File>, Error> {
    let out = File::create(file).map_err(Error::file("create the trace", file))?;
    let nodes = cluster.titles().take(D::servers(cluster.members.len()));
    let clients = (0..storm.clients).map(|client| format!("client {client}"));
    let operators = (0..D::operators(cluster, seed).len()).map(|number| format!("operator {number}"));
    let actors: Vec<String> = nodes.chain(clients).chain(operators).collect();
    let header = Header {
        protocol: D::NAME.to_owned(),
        seed: Some(seed),
        hosted: (0..actors.len()).map(Id::from).collect(),
        actors,
        parameters: serde_json::json!({ "storm": storm }),
        ..Header::default()
    };
    Ok(TraceWriter::new(out, header)?)
}

/// A mix of all commands on few keys, the same for the same seed.
pub fn script(seed: u64, client: usize, commands: usize) -> Vec<KeyValueCommand> {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (client as u64 + 1);
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let command = |number: usize| {
        let key = Bytes::from(&format!("k{}", below(5)));
        let value = Bytes::from(&format!("{client}.{number}"));
        match below(10) {
            0..4 => KeyValueCommand::Put(key, value),
            4..7 => KeyValueCommand::Get(key),
            7 => KeyValueCommand::Delete(key),
            8 => KeyValueCommand::Increment(Bytes::from("n"), 1),
            _ => KeyValueCommand::CompareAndSwap { key, expected: None, new: value },
        }
    };
    (0..commands).map(command).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_hear_nothing_before_the_calm_are_answered_after_it() {
        for protocol in ["multipaxos", "compartmentalized", "spaxos"] {
            let protocol = protocol.to_owned();
            let storm =
                Storm { protocol, clients: 1, commands: 1, seconds: 1, loss: 1.0, ..Storm::default() };
            let outcome = run(&storm, 1, None).unwrap();
            assert_eq!((&outcome.failure, outcome.answered), (&None, 1), "{}", storm.protocol);
        }
    }

    #[test]
    fn options_that_no_simulation_has_are_refused_by_name() {
        let storm = Storm::default;
        let wrong = [
            ("servers", Storm { servers: 0, ..storm() }),
            ("servers", Storm { servers: u16::MAX, ..storm() }),
            ("clients", Storm { clients: u16::MAX, ..storm() }),
            ("commands", Storm { commands: 0, ..storm() }),
            ("commands", Storm { commands: usize::MAX, ..storm() }),
            ("seconds", Storm { seconds: u64::MAX, ..storm() }),
            ("crashes", Storm { crashes: u32::MAX, ..storm() }),
            ("pauses", Storm { pauses: u32::MAX, ..storm() }),
            ("cuts", Storm { cuts: u32::MAX, ..storm() }),
            ("loss", Storm { loss: f64::NAN, ..storm() }),
            ("duplication", Storm { duplication: 7.0, ..storm() }),
        ];
        for (name, wrong) in wrong {
            let message = run(&wrong, 1, None).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name} of a simulation: ")), "{message}");
        }
    }
}
