//! Operators of deployed protocols whose nodes can be exchanged while they run.

use super::{Cluster, Deployable, DurableJournal, Horizontal, MatchmakerMultiPaxos, MsgOf};
use crate::error::Error;
use parthood_protocols::matchmaking::Configuration;
use parthood_protocols::operator::{Numbers, Operator, OperatorMsg, Progress, Wanted};
use parthood_quorums::NodeSet;
use parthood_runtime::LOCAL_APPLICATION;
use parthood_runtime::udp::{ClientProcess, Driver};
use stateright::actor::{Actor, Id};
use std::time::{Duration, Instant};

/// How many reconfigurations may wait for the one under way, or be on their way into the log.
pub(super) const ORDERS_MAX: usize = 4;

/// How many reconfigurations there are in a simulation, before the last.
pub(super) const SIMULATED_RECONFIGURATIONS: usize = 12;

/// A deployable protocol whose nodes can be exchanged while it runs.
pub trait Reconfigures: Deployable<Actor: Actor<Msg: From<OperatorMsg>>> {
    /// A participant who asks for that.
    fn operator(operator: Operator) -> Self::Actor;

    /// What an operator says and is told, if this is such a message.
    fn told(msg: MsgOf<Self>) -> Option<OperatorMsg>;
}

/// An operator who asks for nothing yet.
pub(crate) fn operator(cluster: &Cluster, application: Option<Id>) -> Operator {
    Operator {
        contacts: (0..cluster.count("server")).map(Id::from).collect(),
        first_contact: 0,
        script: Vec::new(),
        knows: Numbers::default(),
        until_retired: true,
        application,
        retries_max: u32::MAX,
        ask_after: cluster.times.retry(),
    }
}

/// That these acceptors vote: majorities of them decide; or any one reads and all must write.
///
/// # Errors
/// When a name is none of an acceptor.
pub fn acceptors(cluster: &Cluster, names: &[String], unanimous_writes: bool) -> Result<Wanted, Error> {
    configuration(cluster, names, unanimous_writes).map(Wanted::Acceptors)
}

pub(super) fn configuration(
    cluster: &Cluster,
    names: &[String],
    unanimous_writes: bool,
) -> Result<Configuration, Error> {
    let acceptors = numbers(cluster, names, "acceptor")?;
    let all_write = Configuration::UnanimousWrites(acceptors);
    Ok(if unanimous_writes { all_write } else { Configuration::Majority(acceptors) })
}

/// That these matchmakers serve.
///
/// # Errors
/// When a name is none of a matchmaker.
pub fn matchmakers(cluster: &Cluster, names: &[String]) -> Result<Wanted, Error> {
    Ok(Wanted::Matchmakers(numbers(cluster, names, "matchmaker")?))
}

/// The numbers of nodes of one role, which are counted as they come in the file.
pub(super) fn numbers(cluster: &Cluster, names: &[String], role: &str) -> Result<NodeSet, Error> {
    let mut numbers = NodeSet::EMPTY;
    for name in names {
        let index = cluster.index(name)?;
        let (before, member) = (&cluster.members[..index], &cluster.members[index]);
        if member.role != role {
            return Err(Error::Usage(format!("{name} has the role {}, and not {role}", member.role)));
        }
        numbers.insert(before.iter().filter(|member| member.role == role).count());
    }
    Ok(numbers)
}

/// The name of a node of this role.
pub fn node_name(cluster: &Cluster, role: &str, number: usize) -> String {
    let mut nodes = cluster.members.iter().filter(|member| member.role == role);
    nodes.nth(number).map_or_else(|| format!("{role} {number}"), |member| member.name.clone())
}

/// Has a running cluster use other acceptors or matchmakers. `told` hears how far it is; the last it hears, if there is time,
/// is that the old ones are not needed any more or that the request is refused, which is returned.
///
/// # Errors
/// When the cluster runs a protocol whose nodes are fixed, or a socket cannot be used.
pub fn reconfigure(
    cluster: &Cluster,
    wanted: &Wanted,
    timeout: Duration,
    told: impl FnMut(&Progress),
) -> Result<Option<Progress>, Error> {
    match cluster.protocol.as_str() {
        Horizontal::NAME => ask::<Horizontal>(cluster, wanted, timeout, told),
        MatchmakerMultiPaxos::NAME => ask::<MatchmakerMultiPaxos>(cluster, wanted, timeout, told),
        other => Err(Error::Usage(format!(
            "the cluster runs {other}, whose nodes are fixed: only {} and {} can change them",
            MatchmakerMultiPaxos::NAME,
            Horizontal::NAME
        ))),
    }
}

fn ask<D: Reconfigures>(
    cluster: &Cluster,
    wanted: &Wanted,
    timeout: Duration,
    mut told: impl FnMut(&Progress),
) -> Result<Option<Progress>, Error> {
    let id = ClientProcess::random()?.id(0);
    let operator = D::operator(operator(cluster, Some(Id::from(LOCAL_APPLICATION))));
    let builder =
        Driver::<D::Actor, DurableJournal>::builder(cluster.identity(), cluster.keys()?, cluster.book());
    let mut driver = builder.host(id, operator).build()?;
    driver.inject(id, OperatorMsg::Reconfigure { wanted: wanted.clone(), after: None, active: None }.into());
    let end = Instant::now() + timeout;
    let mut furthest = None;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        driver.turn(Some(left))?;
        let heard: Vec<_> = driver.outbox().collect();
        for (_, msg) in heard {
            let Some(OperatorMsg::Progress { progress, .. }) = D::told(msg) else { continue };
            if Some(&progress) > furthest.as_ref() {
                told(&progress);
                furthest = Some(progress);
            }
        }
        driver.complaints().for_each(|complaint| eprintln!("parthood: {complaint}"));
        let is_over =
            matches!(furthest, Some(Progress::Refused(_) | Progress::Retired(_) | Progress::Superseded(_)));
        if is_over || left.is_zero() {
            return Ok(furthest);
        }
    }
}
