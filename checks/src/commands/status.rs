//! `parthood status`

use super::{Console, Tone, cluster, cluster_file, grouped};
use crate::cli::{Output, values};
use crate::deploy::{self, Cluster, Found, Surveyed};
use crate::error::{Error, Status};
use clap::Args;
use itertools::Itertools as _;
use parthood_runtime::udp::Standing;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        parthood status\n  \
        parthood status --config c.toml --json\n\n\
        Nodes are asked over the cluster's own UDP, with its key. Status 0: every quorum is there; 1: one is missing, and\n\
        who is needed for it is said; 4: nobody answers.")]
pub struct StatusArgs {
    /// The cluster file [default: cluster/cluster.toml].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How many seconds to wait for those that do not answer.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = values::seconds)]
    pub timeout: Duration,
    /// How results are written.
    #[command(flatten)]
    pub output: Output,
}

pub(super) fn run(args: &StatusArgs) -> Result<Status, Error> {
    let cluster = cluster(args.config.as_deref())?;
    let surveyed = deploy::look(&cluster, args.timeout)?;
    let console = Console::new();
    if args.output.json {
        console.json(&as_json(&cluster, &surveyed))?;
    } else {
        report(&console, &cluster, &surveyed)?;
    }
    if surveyed.answers.is_empty() {
        let refused = surveyed.refused.iter().map(|why| format!("; refused: {why}")).join("");
        eprintln!(
            "parthood: nobody answers: are the nodes running, are their addresses those of {}, and is the key theirs?{refused}",
            cluster_file(args.config.as_deref()).display()
        );
        return Ok(Status::Environment);
    }
    let is_whole = surveyed.quorums.iter().all(|found| found.is_there);
    Ok(if is_whole { Status::Done } else { Status::Violated })
}

/// What a node does, in a word.
fn part(cluster: &Cluster, surveyed: &Surveyed, node: u64) -> &'static str {
    let Some((standing, _)) = surveyed.answers.get(&node) else { return "silent" };
    let leads = surveyed.leaders(cluster).contains(&node);
    match (leads, standing.leads, standing.abstains) {
        (true, ..) => "leads",
        (_, true, _) => "overtaken",
        (.., true) => "does not vote",
        _ => "",
    }
}

fn round(standing: &Standing) -> String {
    match standing.round {
        None => String::new(),
        Some([number, 0, 0]) => number.to_string(),
        Some(triple) => triple.iter().join("."),
    }
}

fn number(number: Option<u64>) -> String {
    number.map_or_else(String::new, |number| grouped(usize::try_from(number).unwrap_or(usize::MAX)))
}

fn name(cluster: &Cluster, node: u64) -> String {
    let member = usize::try_from(node).ok().and_then(|node| cluster.members.get(node));
    member.map_or_else(|| node.to_string(), |member| member.name.clone())
}

fn report(console: &Console, cluster: &Cluster, surveyed: &Surveyed) -> Result<(), Error> {
    let (nodes, answers) = (surveyed.nodes, surveyed.answers.len());
    console.line(format_args!("{}: {answers} of {nodes} nodes answer", cluster.protocol))?;
    let width = cluster.members.iter().map(|member| member.name.len()).max().unwrap_or_default().max(4);
    let roles = cluster.members.iter().map(|member| member.role.len()).max().unwrap_or_default().max(4);
    let head = format!(
        "{:width$}  {:roles$}  {:13}  {:>8}  {:>12}  {:>10}  {:>8}",
        "node", "role", "", "round", "executed", "behind", "lanes"
    );
    console.line(console.paint(Tone::Faint, head.trim_end()))?;
    let furthest = surveyed.furthest();
    for (node, member) in (0..).zip(&cluster.members).take(nodes) {
        let standing = surveyed.answers.get(&node).map(|(standing, _)| standing.clone()).unwrap_or_default();
        let behind = furthest.zip(standing.executed).map(|(furthest, executed)| furthest - executed);
        let (round, executed, behind) = (round(&standing), number(standing.executed), number(behind));
        let (part, lanes) = (part(cluster, surveyed, node), number(standing.lanes));
        let line = format!(
            "{:width$}  {:roles$}  {part:13}  {round:>8}  {executed:>12}  {behind:>10}  {lanes:>8}",
            member.name, member.role
        );
        let tone = match part {
            "silent" => Some(Tone::Bad),
            "leads" => Some(Tone::Strong),
            "" => None,
            _ => Some(Tone::Open),
        };
        let line = line.trim_end();
        console.line(tone.map_or_else(|| line.to_owned(), |tone| console.paint(tone, line)))?;
    }
    for Found { what, is_there, .. } in &surveyed.quorums {
        if *is_there {
            console.line(format_args!("{what}: {}", console.paint(Tone::Good, "there")))?;
        }
    }
    for found in surveyed.quorums.iter().filter(|found| !found.is_there) {
        let missing = format!("missing, needs {}", found.who(cluster));
        console.line(format_args!("{}: {}", found.what, console.paint(Tone::Bad, &missing)))?;
    }
    Ok(())
}

fn as_json(cluster: &Cluster, surveyed: &Surveyed) -> Value {
    let furthest = surveyed.furthest();
    let nodes = (0..).zip(&cluster.members).take(surveyed.nodes).map(|(node, member)| {
        let Some((standing, after)) = surveyed.answers.get(&node) else {
            return json!({ "name": member.name, "role": member.role, "answers": false });
        };
        json!({
            "name": member.name, "role": member.role, "answers": true,
            "after_ms": after.as_secs_f64() * 1e3,
            "leads": surveyed.leaders(cluster).contains(&node),
            "leader": standing.leader.map(|leader| name(cluster, leader)),
            "round": standing.round, "executed": standing.executed,
            "behind": furthest.zip(standing.executed).map(|(furthest, executed)| furthest - executed),
            "lanes": standing.lanes, "queued": standing.queued, "outstanding": standing.outstanding,
            "log": standing.log, "abstains": standing.abstains,
        })
    });
    let names = |set: &Vec<usize>| set.iter().map(|node| name(cluster, *node as u64)).collect::<Vec<_>>();
    let quorums = surveyed.quorums.iter().map(|found| {
        let needs: Vec<_> = found.needs.iter().map(names).collect();
        json!({ "what": found.what, "there": found.is_there, "needs": needs })
    });
    let leaders: Vec<_> = surveyed.leaders(cluster).into_iter().map(|node| name(cluster, node)).collect();
    json!({
        "schema": "parthood.status/1", "protocol": cluster.protocol, "leaders": leaders,
        "nodes": nodes.collect::<Vec<_>>(), "quorums": quorums.collect::<Vec<_>>(), "refused": surveyed.refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn who_leads_who_lags_and_who_is_silent_is_told() {
        let text = Cluster::example("multipaxos", 3, 7001).unwrap();
        let cluster = Cluster::read(std::path::Path::new("c/cluster.toml"), &text).unwrap();
        let standing = |leads, executed| {
            let round = Some([4, 0, 0]);
            Standing { leads, leader: Some(0), round, executed: Some(executed), ..Standing::default() }
        };
        let answers = BTreeMap::from([
            (0, (standing(true, 1_000), Duration::from_millis(2))),
            (2, (standing(false, 958), Duration::from_millis(3))),
        ]);
        let surveyed = Surveyed { answers, nodes: 3, quorums: vec![], refused: vec![] };
        let told = as_json(&cluster, &surveyed);
        assert_eq!(told["leaders"], json!(["a"]));
        let of =
            |field: &str| told["nodes"].as_array().unwrap().iter().map(|node| node[field].clone()).collect();
        assert_eq!(Value::Array(of("answers")), json!([true, false, true]));
        assert_eq!(Value::Array(of("behind")), json!([0, null, 42]));
        assert_eq!(Value::Array(of("leads")), json!([true, null, false]));
        assert_eq!([0, 1, 2].map(|node| part(&cluster, &surveyed, node)), ["leads", "silent", ""]);
    }
}
