//! The cheapest deployment for a throughput.
//!
//! The message law (compartmentalization paper, section 4) says how many messages a node of each role handles per command;
//! the figures' table says what they cost. So the load of every role follows from the counts in closed form, and the counts
//! from the load that is wanted: per batch size the fewest replicas that keep up, then the smallest grid, then as many of
//! each other role as it takes. The simulator, which knows no law, is asked whether the deployment does what was promised.

use super::systems::{Batching, Parts, Shape, System, Workload};
use super::{Costs, Measured};
use crate::draw::float;
use crate::error::Error;
use parthood_protocols::compartmentalized::{Consistency, Role};

/// Sizes of batches that are tried.
const BATCHES: [usize; 9] = [1, 2, 5, 10, 20, 50, 100, 200, 500];
/// The most nodes of a role, and the longest side of a grid, that are tried.
const MOST_NODES: usize = 256;
const LONGEST_SIDE: usize = 32;
/// Clients that keep this many seconds' worth of commands outstanding, or this many batches of every batcher.
const OUTSTANDING_SECONDS: f64 = 0.004;
const OUTSTANDING_BATCHES: usize = 6;

/// What a deployment is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Commands per second.
    pub per_second: f64,
    /// The share of reads.
    pub reads: f64,
    /// What reads promise; none if they take the way of writes.
    pub consistency: Option<Consistency>,
    /// The bytes of a value.
    pub value_bytes: usize,
    /// How many nodes of each role may fail.
    pub f: usize,
    /// The largest share of its time that a node may work.
    pub busy: f64,
}

impl Parts {
    /// Each role that is there, with its count.
    pub fn counts(&self) -> impl Iterator<Item = (Role, usize)> {
        self.layout().counts().into_iter().filter(|(_, count)| *count > 0)
    }

    /// The microseconds that a node of a role works per command, reads and writes taken together. (Of leaders, the active
    /// one.)
    pub fn load(&self, role: Role, target: &Target, costs: &Costs) -> f64 {
        let reads = if target.consistency.is_some() { target.reads } else { 0.0 };
        let writes = 1.0 - reads;
        let batch = float(self.batching.commands);
        let slots = writes / batch;
        let replicas = float(self.replicas);
        match role {
            Role::Batcher => costs.batcher_message * (writes + slots) / float(self.batching.batchers),
            Role::Leader => costs.leader_message * 2.0 * slots,
            Role::ProxyLeader => {
                let messages = costs.proxy_message * float(1 + 2 * self.shape.write_quorum());
                slots * (messages + costs.proxy_chosen * replicas) / float(self.proxies)
            }
            Role::Acceptor => {
                let asked = match target.consistency {
                    Some(Consistency::Linearizable) => reads * self.shape.share_of_reads(),
                    _ => 0.0,
                };
                2.0 * costs.acceptor_message * (slots * self.shape.share_of_writes() + asked)
            }
            Role::Replica => {
                let command = costs.replica_command + costs.byte * float(target.value_bytes);
                let written =
                    slots * (costs.replica_slot + costs.replica_reply / replicas) + writes * command;
                let waits = match target.consistency {
                    _ if writes == 0.0 => 0.0,
                    Some(Consistency::Linearizable) => costs.replica_compare + costs.replica_defer,
                    Some(Consistency::Sequential) => costs.replica_compare,
                    Some(Consistency::Eventual) | None => 0.0,
                };
                let reply = costs.replica_reply / self.reads_answered_together(target).unwrap_or(1.0);
                written + reads * (costs.replica_read + reply + waits) / replicas
            }
            Role::Unbatcher => {
                let dealt = slots * costs.unbatcher_batch + writes * costs.unbatcher_reply;
                let read = self.reads_answered_together(target).map_or(0.0, |together| {
                    reads * (costs.unbatcher_batch / together + costs.unbatcher_reply)
                });
                (dealt + read) / float(self.batching.unbatchers)
            }
            _ => 0.0,
        }
    }

    /// How many reads a replica answers at once, through an unbatcher: those that waited for a slot until it was executed.
    /// None if they are answered one by one.
    fn reads_answered_together(&self, target: &Target) -> Option<f64> {
        let waits = self.batching.unbatchers > 0 && target.consistency == Some(Consistency::Linearizable);
        let slots = (1.0 - target.reads) / float(self.batching.commands);
        let together = target.reads / float(self.replicas) / slots;
        (waits && together.is_finite() && together > 1.0).then_some(together)
    }

    /// The share of its time that a node of a role works, at the target.
    pub fn busy(&self, role: Role, target: &Target, costs: &Costs) -> f64 {
        self.load(role, target, costs) * target.per_second / 1e6
    }

    /// Does no node work for more of its time than it may?
    pub fn keeps_up(&self, target: &Target, costs: &Costs) -> bool {
        self.counts().all(|(role, _)| self.busy(role, target, costs) <= target.busy)
    }

    /// Runs it in the simulator, with more clients than it takes.
    ///
    /// # Errors
    /// When the run comes to a stop, which is a bug.
    pub fn run(&self, target: &Target, costs: Costs) -> Result<Measured, Error> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the target is limited")]
        let outstanding = (target.per_second * OUTSTANDING_SECONDS) as usize;
        let batches = OUTSTANDING_BATCHES * self.batching.batchers * self.batching.commands;
        let workload = Workload {
            clients: outstanding.max(batches).max(100),
            reads: if target.consistency.is_some() { target.reads } else { 0.0 },
            consistency: target.consistency.unwrap_or(Consistency::Linearizable),
            skew: 0.0,
            value_bytes: target.value_bytes,
            many_keys: false,
        };
        System::Parts(*self).run(&workload, costs)
    }
}

/// The deployment with the fewest machines that does it; of several the one with the smallest batches.
///
/// # Errors
/// When no deployment does: then the message names the role that nothing can be done about.
pub fn plan(target: &Target, costs: &Costs) -> Result<Parts, Error> {
    let found = BATCHES.into_iter().filter_map(|batch| smallest(target, costs, batch).ok());
    if let Some(parts) = found.min_by_key(|parts| (parts.layout().nodes(), parts.batching.commands)) {
        return Ok(parts);
    }
    // Larger batches help whoever they can help.
    let largest = BATCHES[BATCHES.len() - 1];
    let (role, most) = smallest(target, costs, largest).err().unwrap_or((Role::Leader, target.per_second));
    let why = match role {
        Role::Leader => "one leader numbers all slots",
        Role::Replica => "every replica executes every write",
        _ => "there are only so many machines to a role",
    };
    Err(Error::Impossible(format!(
        "no deployment that the plan knows of does {} commands per second: {why}, which ends at {most:.0}; ask for less, or \
         for more reads past the log",
        target.per_second
    )))
}

/// The fewest machines with batches of this size; or the role that cannot keep up, and what it can do.
fn smallest(target: &Target, costs: &Costs, batch: usize) -> Result<Parts, (Role, f64)> {
    let least = target.f + 1;
    let batched = batch > 1;
    let batching = Batching {
        batchers: usize::from(batched) * least,
        unbatchers: usize::from(batched) * least,
        commands: batch,
    };
    let shape = match target.consistency {
        Some(Consistency::Linearizable) => Shape::Grid { rows: least, columns: least },
        _ => Shape::Majority(2 * target.f + 1),
    };
    let mut parts = Parts { leaders: least, shape, proxies: least, replicas: least, batching };
    let fits = |parts: &Parts, role| parts.busy(role, target, costs) <= target.busy;
    let end = |parts: &Parts, role| (role, target.busy * 1e6 / parts.load(role, target, costs));
    if !fits(&parts, Role::Leader) {
        return Err(end(&parts, Role::Leader));
    }
    grow(&mut parts, Role::Replica, |parts| &mut parts.replicas, fits)
        .map_err(|parts| end(&parts, Role::Replica))?;
    if batched {
        grow(&mut parts, Role::Batcher, |parts| &mut parts.batching.batchers, fits)
            .map_err(|parts| end(&parts, Role::Batcher))?;
        grow(&mut parts, Role::Unbatcher, |parts| &mut parts.batching.unbatchers, fits)
            .map_err(|parts| end(&parts, Role::Unbatcher))?;
    }
    let mut best: Option<Parts> = None;
    for shape in shapes(target) {
        let mut parts = Parts { shape, ..parts };
        let done = fits(&parts, Role::Acceptor)
            && grow(&mut parts, Role::ProxyLeader, |parts| &mut parts.proxies, fits).is_ok();
        if done && best.is_none_or(|best| parts.layout().nodes() < best.layout().nodes()) {
            best = Some(parts);
        }
    }
    best.ok_or_else(|| end(&parts, Role::Acceptor))
}

/// Adds nodes of a role until they keep up; gives back what does not, with as many as may be.
fn grow(
    parts: &mut Parts,
    role: Role,
    count: fn(&mut Parts) -> &mut usize,
    fits: impl Fn(&Parts, Role) -> bool,
) -> Result<(), Parts> {
    while !fits(parts, role) {
        if *count(parts) >= MOST_NODES {
            return Err(*parts);
        }
        *count(parts) += 1;
    }
    Ok(())
}

/// The arrangements of acceptors that survive as many failures as asked for: grids where reads ask them, since there rows scale
/// reads and columns scale writes; else majorities, which need the fewest.
fn shapes(target: &Target) -> Vec<Shape> {
    let least = target.f + 1;
    if target.consistency != Some(Consistency::Linearizable) {
        return (target.f..LONGEST_SIDE).map(|f| Shape::Majority(2 * f + 1)).collect();
    }
    let side = || least..=LONGEST_SIDE;
    side().flat_map(|rows| side().map(move |columns| Shape::Grid { rows, columns })).collect()
}
