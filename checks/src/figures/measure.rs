//! A run of a deployment in the simulator: throughput, and who is busiest.

use crate::draw::float;
use crate::error::Error;
use parthood_runtime::sim::{Network, Settings, Sim, Stop, Work};
use parthood_runtime::{Cause, Observer, Runnable, Step, Wants};
use std::time::Duration;

/// A message takes this long between two nodes. (One client gets 3,070 commands a second through six hops and the nodes'
/// work in the paper's data.)
const HOP: Duration = Duration::from_micros(40);
/// Until queues have filled.
const WARM_UP: Duration = Duration::from_millis(80);
/// Answers that a measurement counts, and the virtual time that it takes at most.
const ANSWERS: usize = 20_000;
const LONGEST: Duration = Duration::from_secs(2);

/// What a run showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Commands answered per second of virtual time.
    pub per_second: f64,
    /// The mean time from a command to its answer. (In a closed loop it follows from the throughput.)
    pub latency_ms: f64,
    /// The role of the busiest node.
    pub binding: &'static str,
    /// The share of its time that it works.
    pub utilization: f64,
    /// By role: messages that its nodes sent and received together, per command.
    pub messages: Vec<(&'static str, f64)>,
}

/// A deployment, ready to run.
pub(super) struct Deployment<A: Runnable> {
    /// Nodes, then clients.
    pub(super) actors: Vec<A>,
    /// The role of each node.
    pub(super) roles: Vec<&'static str>,
    /// What their work costs.
    pub(super) work: Work<A>,
    /// Is this the answer to a command?
    pub(super) is_answer: fn(&A::Msg) -> bool,
}

/// Counts answers and messages.
struct Tally<A: Runnable> {
    is_answer: fn(&A::Msg) -> bool,
    answers: usize,
    handled: Vec<usize>,
}

impl<A: Runnable> Observer<A> for Tally<A> {
    fn wants(&self) -> Wants {
        Wants::Steps
    }

    fn on_step(&mut self, step: &Step<'_, A>) {
        let sent = step.out.iter().filter(|command| matches!(command, stateright::actor::Command::Send(..)));
        let received = matches!(step.cause, Cause::Deliver { .. });
        if let Some(handled) = self.handled.get_mut(usize::from(step.id)) {
            *handled += sent.count() + usize::from(received);
        } else {
            let answer = matches!(step.cause, Cause::Deliver { msg, .. } if (self.is_answer)(msg));
            self.answers += usize::from(answer);
        }
    }
}

/// Runs it until enough commands are answered.
pub(super) fn measure<A: Runnable<State: 'static>>(deployment: Deployment<A>) -> Result<Measured, Error> {
    let Deployment { actors, roles, work, is_answer } = deployment;
    let clients = actors.len() - roles.len();
    let settings = Settings { network: Network::perfect(HOP), ..Settings::default() };
    let tally = Tally { is_answer, answers: 0, handled: vec![0; roles.len()] };
    let mut sim = Sim::new(actors, settings, tally)?;
    sim.set_work(work);
    sim.run_until(WARM_UP);
    let (from, answers_before, handled_before) =
        (sim.now(), sim.observer().answers, sim.observer().handled.clone());
    sim.reset_stats();
    let stop = sim.run_while(WARM_UP + LONGEST, |sim| sim.observer().answers < answers_before + ANSWERS);
    let took = sim.now().saturating_sub(from).as_secs_f64();
    let answers = sim.observer().answers - answers_before;
    if answers == 0 || stop == Stop::Quiet {
        return Err(Error::Environment(format!(
            "a simulated deployment came to a stop after {answers} answers"
        )));
    }
    let answers = float(answers);
    let busy = sim.stats().zip(&roles).map(|(stats, role)| (*role, stats.busy.as_secs_f64() / took));
    let (binding, utilization) = busy.fold(("", 0.0), |most, next| if next.1 > most.1 { next } else { most });
    let mut messages: Vec<(&'static str, f64)> = Vec::new();
    for ((role, after), before) in roles.iter().zip(&sim.observer().handled).zip(&handled_before) {
        let more = float(after - before) / answers;
        match messages.iter_mut().find(|(name, _)| name == role) {
            Some((_, sum)) => *sum += more,
            None => messages.push((role, more)),
        }
    }
    let per_second = answers / took;
    let latency_ms = float(clients) / per_second * 1e3;
    Ok(Measured { per_second, latency_ms, binding, utilization, messages })
}
