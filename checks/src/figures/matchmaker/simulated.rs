//! An experiment in the simulator, in virtual time: every node is a server of its own, as in the paper.

use super::delayed::{Delayed, Held};
use super::script::{Deed, Script};
use super::subject::Subject;
use super::timeline::{Answer, Reconfiguration, Timeline};
use crate::deploy::{ClientRole, Cluster, Commands, MsgOf, Reads};
use crate::error::Error;
use crate::figures::cost::{handled, micros};
use parthood_protocols::client::ClientMsg;
use parthood_protocols::matchmaking::Configuration;
use parthood_protocols::operator::{Numbers, Operator, OperatorMsg, Progress, Wanted};
use parthood_protocols::state_machine::{Bytes, KeyValueCommand};
use parthood_runtime::sim::{Fault, Network, Settings, Sim, Span};
use parthood_runtime::{Cause, LOCAL_APPLICATION, Observer, Step, Wants};
use stateright::actor::{Command, Id};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the machines are like: a message between two nodes takes so long, give or take a tenth, and a node is busy so long with
/// each one that it receives or sends. Fitted to the quiet phase of the paper's first experiment at one client and at eight; at
/// four, all that is read off these figures follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machines {
    /// Microseconds from one node to another.
    pub hop_us: f64,
    /// Microseconds of a node's time.
    pub message_us: f64,
}

impl Default for Machines {
    fn default() -> Self {
        Self { hop_us: 66.0, message_us: 4.6 }
    }
}

/// More than a client gets answered in a millisecond, in the simulator.
const COMMANDS_PER_MS: usize = 6;

/// A run of an experiment, ready to begin.
pub(super) struct Run<'a, D: Subject> {
    pub(super) cluster: &'a Cluster,
    pub(super) nodes: Vec<D::Actor>,
    pub(super) system: String,
    pub(super) clients: usize,
    pub(super) second: Duration,
    pub(super) machines: Machines,
    pub(super) delay: fn(&MsgOf<D>) -> Duration,
}

/// Sees answers, choices and what matchmakers return.
struct Tally<D: Subject> {
    nodes: usize,
    /// For each client: the number of its command and when it was asked first.
    asked: BTreeMap<Id, (u64, Duration)>,
    answers: Vec<(Duration, Duration)>,
    /// When the first slot was chosen by each configuration.
    chosen: BTreeMap<u64, Duration>,
    returned: Vec<(Duration, usize)>,
    subject: std::marker::PhantomData<fn(D)>,
}

impl<D: Subject> Observer<Delayed<D::Actor>> for Tally<D> {
    fn wants(&self) -> Wants {
        Wants::Steps
    }

    fn on_step(&mut self, step: &Step<'_, Delayed<D::Actor>>) {
        let sent = || {
            step.out.iter().filter_map(|command| match command {
                Command::Send(_, msg) => Some(msg),
                _ => None,
            })
        };
        if usize::from(step.id) < self.nodes {
            let Cause::Deliver { msg, .. } = step.cause else { return };
            self.returned.extend(D::returned(msg).map(|count| (step.at, count)));
            let Held { state, .. } = step.after;
            if let Some(number) = D::counts_for(msg, state)
                && sent().any(D::tells_chosen)
            {
                self.chosen.entry(number).or_insert(step.at);
            }
            return;
        }
        if let Cause::Deliver { msg, .. } = step.cause
            && let Some((id, _)) = D::output(msg)
            && let Some((_, asked)) = self.asked.remove(&step.id).filter(|(seq, _)| *seq == id.seq)
        {
            self.answers.push((step.at, step.at.saturating_sub(asked)));
        }
        for msg in sent() {
            if let Some(ClientMsg::Request(command)) = D::client_msg(msg)
                && command.id.seq > 0
            {
                let asked = self.asked.entry(step.id).or_insert((command.id.seq, step.at));
                if asked.0 != command.id.seq {
                    *asked = (command.id.seq, step.at);
                }
            }
        }
    }
}

/// Runs it.
///
/// # Errors
/// When the simulation cannot begin.
pub(super) fn run<D: Subject>(run: Run<'_, D>, script: &Script) -> Result<Timeline, Error> {
    let Run { cluster, nodes, system, clients, second, machines, delay } = run;
    let count = nodes.len();
    let millis = usize::try_from(second.mul_f64(script.seconds).as_millis()).unwrap_or(usize::MAX);
    let write = KeyValueCommand::Put(Bytes::from("k"), Bytes::from("v"));
    let commands = vec![write; millis.saturating_mul(COMMANDS_PER_MS)];
    let client = |_| {
        D::client(
            cluster,
            ClientRole { commands: Commands::Script(commands.clone()), reads: Reads::Log, turn: 0 },
        )
    };
    let operator = D::operator(operator(cluster));
    let actors = nodes.into_iter().chain((0..clients).map(client)).chain([operator]);
    let actors = actors.map(|actor| Delayed { actor, delay }).collect();
    let hop = |share: f64| micros(machines.hop_us * share);
    let network = Network { latency: Span::new(hop(0.9), hop(1.1)), loss: 0.0, duplication: 0.0 };
    let tally = Tally::<D> {
        nodes: count,
        asked: BTreeMap::new(),
        answers: Vec::new(),
        chosen: BTreeMap::new(),
        returned: Vec::new(),
        subject: std::marker::PhantomData,
    };
    let mut sim = Sim::new(actors, Settings { network, ..Settings::default() }, tally)?;
    sim.set_work(Box::new(move |step| {
        let is_node = usize::from(step.id) < count;
        if is_node { micros(machines.message_us * handled(step)) } else { Duration::ZERO }
    }));
    for (at, deed) in &script.deeds {
        sim.run_until(second.mul_f64(*at));
        match deed {
            Deed::Acceptors(_) | Deed::Matchmakers(_) => {
                let msg = OperatorMsg::Reconfigure { wanted: wanted(deed), after: None, active: None };
                sim.inject(Id::from(count + clients), msg.into());
            }
            Deed::KillLeader => sim.apply(&Fault::Crash(0))?,
            Deed::KillAcceptor(number) => sim.apply(&Fault::Crash(node(cluster, "acceptor", *number)))?,
            Deed::KillMatchmaker(number) => sim.apply(&Fault::Crash(node(cluster, "matchmaker", *number)))?,
        }
    }
    sim.run_until(second.mul_f64(script.seconds));
    let told = sim.take_outbox().into_iter().filter_map(|reply| match D::told(reply.msg) {
        Some(OperatorMsg::Progress { progress, .. }) => Some((reply.at, progress)),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    let tally = sim.into_observer();
    let seconds = |at: Duration| at.as_secs_f64() / second.as_secs_f64();
    let answer = |(at, latency): &(Duration, Duration)| Answer {
        at: seconds(*at),
        latency_ms: latency.as_secs_f64() * 1e3,
    };
    let answers = tally.answers.iter().map(answer).collect();
    let reconfigurations = reconfigurations(script, second, &told, &tally);
    Ok(Timeline { system, clients, second: second.as_secs_f64(), answers, reconfigurations })
}

/// An operator who is told by the script what to ask for.
fn operator(cluster: &Cluster) -> Operator {
    Operator {
        knows: Numbers::FIRST,
        ask_after: Duration::from_millis(100)..Duration::from_millis(200),
        ..crate::deploy::operator(cluster, Some(Id::from(LOCAL_APPLICATION)))
    }
}

/// What a deed asks for.
pub(super) fn wanted(deed: &Deed) -> Wanted {
    match deed {
        Deed::Matchmakers(members) => Wanted::Matchmakers(members.iter().copied().collect()),
        Deed::Acceptors(members) => {
            Wanted::Acceptors(Configuration::Majority(members.iter().copied().collect()))
        }
        Deed::KillAcceptor(_) | Deed::KillMatchmaker(_) | Deed::KillLeader => {
            Wanted::Acceptors(Configuration::Majority([0, 1, 2].into_iter().collect()))
        }
    }
}

/// The id of a node.
fn node(cluster: &Cluster, role: &str, number: usize) -> usize {
    let mut of_role = cluster.members.iter().enumerate().filter(|(_, member)| member.role == role);
    of_role.nth(number).map_or(usize::MAX, |(index, _)| index)
}

/// What became of each that was asked for, until the next one was.
fn reconfigurations<D: Subject>(
    script: &Script,
    second: Duration,
    told: &[(Duration, Progress)],
    tally: &Tally<D>,
) -> Vec<Reconfiguration> {
    let asked = || script.deeds.iter().filter(|(_, deed)| deed.reconfigures());
    let ends = asked().skip(1).map(|(at, _)| *at).chain([script.seconds]);
    let one = |((asked, deed), end): (&(f64, Deed), f64)| {
        let (from, to) = (second.mul_f64(*asked), second.mul_f64(end));
        let ms = |at: Duration| at.saturating_sub(from).as_secs_f64() * 1e3;
        let within = |at: &Duration| *at >= from && *at < to;
        let mut heard = told.iter().filter(|(at, _)| within(at));
        let number = |progress: &Progress| match progress {
            Progress::Active(number) | Progress::Retired(number) => Some(*number),
            _ => None,
        };
        let active = heard.clone().find_map(|(at, progress)| Some((*at, number(progress)?)));
        let retired = heard.find(|(_, progress)| matches!(progress, Progress::Retired(_)));
        let of_acceptors = matches!(deed, Deed::Acceptors(_));
        let first = active.filter(|_| of_acceptors).and_then(|(_, number)| tally.chosen.get(&number));
        let returned = tally.returned.iter().filter(|(at, _)| within(at)).map(|(_, count)| *count).max();
        Reconfiguration {
            asked: *asked,
            active_ms: active.map(|(at, _)| ms(at)),
            first_commit_ms: first.map(|at| ms(*at)),
            retired_ms: retired.map(|(at, _)| ms(*at)),
            returned: returned.filter(|_| of_acceptors),
        }
    };
    asked().zip(ends).map(one).collect()
}
