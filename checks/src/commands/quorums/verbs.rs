//! The verbs of `parthood quorums` but for the search.

use super::deploy;
use super::figures;
use super::input::{File, Given};
use super::report::{goal, metric, number, table, time};
use super::{Kind, has_no_answer, usage};
use crate::commands::{Console, Tone, run};
use crate::error::{Error, Status};
use crate::files;
use parthood_quorums::{
    Certificate, Choice, Expr, FrontPoint, Objective, QuorumSystem, ReadWriteQuorumSystem, Side, Solution,
    Strategy, Workload,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// So many minimal quorums are listed.
const LISTED: usize = 12;
/// The forms of a stored result: an optimum, and the proof that there is none.
const SOLUTION: &str = "parthood.quorums.solution/1";
const INFEASIBLE: &str = "parthood.quorums.infeasible/1";

pub(super) fn analyze(console: &Console, given: &Given) -> Result<Status, Error> {
    for (name, system) in given.some()? {
        let value = facts(given, name, system)?;
        if given.json {
            console.json(&value)?;
            continue;
        }
        console.line(console.paint(Tone::Strong, name))?;
        let Value::Object(facts) = value else { continue };
        for (key, value) in facts.iter().filter(|(key, _)| *key != "schema" && *key != "system") {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Null => "not known (too large)".into(),
                Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
                other => other.to_string(),
            };
            console.line(format_args!("  {:26} {text}", key.replace('_', " ")))?;
        }
    }
    Ok(Status::Done)
}

/// What is true of a system whatever the strategy; null where it is too large to tell.
fn facts(given: &Given, name: &str, system: &ReadWriteQuorumSystem) -> Result<Value, Error> {
    let cluster = &given.cluster;
    let side = |expr: &Expr| {
        let minimal = expr.minimal_quorums().ok();
        let listed = |sets: &[parthood_quorums::NodeSet]| -> Vec<String> {
            let more = (sets.len() > LISTED).then(|| format!("and {} more", sets.len() - LISTED));
            sets.iter().take(LISTED).map(|set| cluster.show_set(*set)).chain(more).collect()
        };
        let sizes = minimal.as_ref().and_then(|sets| {
            let sizes = || sets.iter().map(|set| set.len());
            Some(format!("{} to {}", sizes().min()?, sizes().max()?))
        });
        (minimal.as_ref().map(Vec::len), sizes, minimal.as_deref().map(listed))
    };
    let (reads, read_sizes, read_list) = side(system.read_expr());
    let (writes, write_sizes, write_list) = side(system.write_expr());
    let up = system.availability(cluster, &given.zones).ok();
    let zone = system.resilience_beyond_a_zone(cluster).map_err(usage)?;
    Ok(json!({
        "schema": "parthood.quorums.analysis/1", "system": name,
        "reads": cluster.show(system.read_expr()), "writes": cluster.show(system.write_expr()),
        "nodes": system.nodes().len(),
        "no_node_repeats": system.read_expr().is_dup_free() && system.write_expr().is_dup_free(),
        "minimal_read_quorums": reads, "minimal_write_quorums": writes,
        "read_quorum_sizes": read_sizes, "write_quorum_sizes": write_sizes,
        "read_quorums": read_list, "write_quorums": write_list,
        "read_resilience": system.read_expr().resilience().ok(),
        "write_resilience": system.write_expr().resilience().ok(),
        "resilience_beyond_a_zone": zone.map_or_else(|| json!("a zone alone can stop it"), |f| json!(f)),
        "least_overlap": system.least_overlap().ok(),
        "writes_meet_each_other": system.writes_meet_each_other().ok(),
        "no_write_quorum_missing": system.is_maximal().ok(),
        "read_availability": up.map(|up| up.read), "write_availability": up.map(|up| up.write),
        "both_available": up.and_then(|up| up.both),
    }))
}

/// A result that `verify` can check: what was asked, in the form of a file, and the proof.
#[derive(Serialize, Deserialize)]
struct Stored {
    schema: String,
    problem: File,
    system: String,
    certificate: Certificate,
    #[serde(default)]
    summary: Value,
}

pub(super) fn optimize(
    console: &Console,
    given: &Given,
    prove: bool,
    deploy: Option<&Path>,
) -> Result<Status, Error> {
    let (name, system) = given.one()?;
    let answer = if prove {
        let proved = system.optimise_exactly(&given.cluster, &given.plan);
        proved.map(|(solution, proof)| (solution, Some(proof)))
    } else {
        system.optimise(&given.cluster, &given.plan).map(|solution| (solution, None))
    };
    let (solution, proof) = match answer {
        Ok(answer) => answer,
        Err(error) if has_no_answer(&error) => return refuse(console, given, prove, &error),
        Err(error) => return Err(usage(error)),
    };
    if let Some(proof) = &proof {
        proof.check(system, &given.cluster, &given.plan).map_err(usage)?;
    }
    let strategy = solution.strategy();
    if let Some(file) = deploy {
        let text = deploy::cluster_file(file, &given.cluster, system, &strategy)?;
        run::create(file, &text)?;
        eprintln!("wrote {0}; start it with: parthood run --all --config {0}", file.display());
    }
    if given.json {
        let summary = summary(given, &strategy, solution.value());
        let value = match proof {
            None => json!({"schema": "parthood.quorums.strategy/1", "system": name, "summary": summary}),
            Some(certificate) => stored(SOLUTION, given, name, certificate, summary)?,
        };
        console.json(&value)?;
        return Ok(Status::Done);
    }
    tell_optimum(console, given, (name, system), &solution, proof.as_ref())?;
    Ok(Status::Done)
}

fn tell_optimum(
    console: &Console,
    given: &Given,
    (name, system): (&str, &ReadWriteQuorumSystem),
    solution: &Solution,
    proof: Option<&Certificate>,
) -> Result<(), Error> {
    let strategy = solution.strategy();
    console.line(format_args!(
        "{}: {}",
        console.paint(Tone::Strong, name),
        goal(&given.cluster, &given.plan)
    ))?;
    console.line(format_args!("  reads   {}", given.cluster.show(system.read_expr())))?;
    console.line(format_args!("  writes  {}", given.cluster.show(system.write_expr())))?;
    console.line(format_args!("  value   {}", metric(given.plan.objective(), solution.value())))?;
    if let Some(proof) = proof {
        let exact = proof.value().to_string();
        let exact = if exact.len() > 60 { format!("a fraction of {} digits", exact.len()) } else { exact };
        console.line(format_args!(
            "  proved  {}",
            console.paint(Tone::Good, &format!("{exact}, by a strategy and prices that agree exactly"))
        ))?;
    }
    metrics(console, given, &strategy)?;
    choices(console, given, "reads", strategy.reads())?;
    choices(console, given, "writes", strategy.writes())?;
    nodes(console, given, &strategy)?;
    explanation(console, given, solution)
}

/// Says why there is no strategy, with the proof if limits exclude each other.
fn refuse(
    console: &Console,
    given: &Given,
    prove: bool,
    error: &parthood_quorums::Error,
) -> Result<Status, Error> {
    let (name, system) = given.one()?;
    let reason = error.to_string();
    let provable = prove && matches!(error, parthood_quorums::Error::Infeasible { .. });
    let proof = provable.then(|| system.certify(&given.cluster, &given.plan)).transpose().map_err(usage)?;
    if let Some(proof) = &proof {
        proof.check(system, &given.cluster, &given.plan).map_err(usage)?;
    }
    if !given.json {
        let proved = if proof.is_some() { " (proved by prices)" } else { "" };
        console.line(format_args!("{}{proved}", console.paint(Tone::Bad, &reason)))?;
        return Ok(Status::Violated);
    }
    let mut value = match proof {
        None => json!({"schema": INFEASIBLE}),
        Some(certificate) => stored(INFEASIBLE, given, name, certificate, Value::Null)?,
    };
    value["reason"] = json!(reason);
    console.json(&value)?;
    Ok(Status::Violated)
}

fn stored(
    schema: &str,
    given: &Given,
    system: &str,
    certificate: Certificate,
    summary: Value,
) -> Result<Value, Error> {
    let (schema, system, problem) = (schema.into(), system.into(), given.file.clone());
    serde_json::to_value(Stored { schema, problem, system, certificate, summary })
        .map_err(|error| Error::Environment(error.to_string()))
}

fn summary(given: &Given, strategy: &Strategy, value: f64) -> Value {
    let workload = given.plan.workload();
    let side = |choices: &[Choice]| -> Value {
        choices
            .iter()
            .map(|choice| {
                let names: Vec<&str> = given
                    .cluster
                    .nodes()
                    .filter(|node| choice.nodes.contains(node.index()))
                    .map(|node| given.cluster.name(node))
                    .collect();
                json!({"nodes": names, "probability": choice.probability, "latency": choice.latency})
            })
            .collect()
    };
    json!({
        "value": value, "load": strategy.load(workload), "capacity": strategy.capacity(workload),
        "sustained_capacity": strategy.sustained_capacity(workload), "network": strategy.network_load(workload),
        "latency": strategy.latency(workload), "reads": side(strategy.reads()), "writes": side(strategy.writes()),
        "node_load": given.cluster.nodes().map(|node| (given.cluster.name(node).to_owned(), json!(strategy.node_load(node, workload)))).collect::<serde_json::Map<_, _>>(),
    })
}

fn metrics(console: &Console, given: &Given, strategy: &Strategy) -> Result<(), Error> {
    let workload = given.plan.workload();
    console.line(format_args!(
        "\n  load {} s/command; capacity {}/s expected, {}/s sustained; network {}; latency {}\n",
        number(strategy.load(workload)),
        number(strategy.capacity(workload)),
        number(strategy.sustained_capacity(workload)),
        number(strategy.network_load(workload)),
        time(strategy.latency(workload))
    ))
}

fn choices(console: &Console, given: &Given, head: &str, choices: &[Choice]) -> Result<(), Error> {
    let mut rows = vec![vec![head.to_owned(), "probability".into(), "latency".into()]];
    rows.extend(choices.iter().map(|choice| {
        vec![given.cluster.show_set(choice.nodes), number(choice.probability), time(choice.latency)]
    }));
    table(console, &rows)?;
    console.line("")
}

fn nodes(console: &Console, given: &Given, strategy: &Strategy) -> Result<(), Error> {
    let workload = given.plan.workload();
    let head = ["node", "load", "utilization", "throughput/s"].map(String::from).to_vec();
    let row = |node| {
        let share = strategy.node_utilization(node, workload);
        vec![
            given.cluster.name(node).to_owned(),
            number(strategy.node_load(node, workload)),
            format!("{:.1} %", 100.0 * share),
            number(strategy.node_throughput(node, workload)),
        ]
    };
    table(console, &std::iter::once(head).chain(given.cluster.nodes().map(row)).collect::<Vec<_>>())
}

fn explanation(console: &Console, given: &Given, solution: &Solution) -> Result<(), Error> {
    let explanation = solution.explain();
    for (node, share) in &explanation.nodes {
        let name = given.cluster.name(*node);
        console.line(format_args!(
            "  1 % more capacity at {name} lowers the {} by {share:.3} %",
            given.plan.objective().name()
        ))?;
    }
    for (limit, share) in &explanation.limits {
        console.line(format_args!(
            "  a {} limit 1 % higher lowers the {} by {share:.3} %",
            limit.name(),
            given.plan.objective().name()
        ))?;
    }
    Ok(())
}

/// A metric's name, its value, and whether less is better.
type Column = (&'static str, fn(&Strategy, &Workload) -> f64, bool);

pub(super) fn compare(console: &Console, given: &Given) -> Result<Status, Error> {
    let mut rows = Vec::new();
    for (name, system) in given.some()? {
        let strategy = system.optimise(&given.cluster, &given.plan).map(|solution| solution.strategy());
        let resilience = system.resilience().ok();
        rows.push((name, strategy, resilience, system.availability(&given.cluster, &given.zones).ok()));
    }
    let workload = given.plan.workload();
    let columns: [Column; 5] = [
        ("load", Strategy::load, true),
        ("capacity/s", Strategy::capacity, false),
        ("1/load /s", Strategy::sustained_capacity, false),
        ("network", Strategy::network_load, true),
        ("latency s", Strategy::latency, true),
    ];
    let best: Vec<f64> = columns
        .iter()
        .map(|(_, value, lower)| {
            let values = rows
                .iter()
                .filter_map(|(_, strategy, ..)| strategy.as_ref().ok())
                .map(|strategy| value(strategy, workload));
            if *lower { values.fold(f64::INFINITY, f64::min) } else { values.fold(0.0, f64::max) }
        })
        .collect();
    let optimum = |strategy: &Strategy| match given.plan.objective() {
        Objective::Load => strategy.load(workload),
        Objective::Network => strategy.network_load(workload),
        Objective::Latency => strategy.latency(workload),
    };
    let mut lines = vec![
        ["system"]
            .into_iter()
            .chain(columns.iter().map(|column| column.0))
            .chain(["resilience", "availability"])
            .map(String::from)
            .collect::<Vec<_>>(),
    ];
    for (name, strategy, resilience, up) in &rows {
        let up = up.map(|up| up.of(workload));
        if given.json {
            console.json(&json!({
                "schema": "parthood.quorums.comparison/1", "system": name, "resilience": resilience, "availability": up,
                "summary": strategy.as_ref().ok().map(|strategy| summary(given, strategy, optimum(strategy))),
                "refused": strategy.as_ref().err().map(ToString::to_string),
            }))?;
        }
        let mut line = vec![(*name).clone()];
        match strategy {
            Err(error) => line.push(error.to_string()),
            Ok(strategy) => {
                line.extend(columns.iter().zip(&best).map(|((_, value, _), best)| {
                    let value = value(strategy, workload);
                    let mark = if (value - best).abs() <= 1e-9 * best.abs() { "*" } else { " " };
                    format!("{}{mark}", number(value))
                }));
                line.push(resilience.map_or_else(|| "?".into(), |f| f.to_string()));
                line.push(up.map_or_else(|| "?".into(), |up| format!("{up:.6}")));
            }
        }
        lines.push(line);
    }
    if !given.json {
        console.line(format_args!("{}; * is the best of a column", goal(&given.cluster, &given.plan)))?;
        table(console, &lines)?;
    }
    Ok(Status::Done)
}

pub(super) fn pareto(
    console: &Console,
    given: &Given,
    axes: [Objective; 2],
    points: usize,
    svg: Option<&Path>,
) -> Result<Status, Error> {
    svg.map(has_a_folder).transpose()?;
    let mut fronts: Vec<(String, Vec<FrontPoint>)> = Vec::new();
    for (name, system) in given.some()? {
        let front = system.pareto(&given.cluster, &given.plan, axes, points).map_err(usage)?;
        fronts.push((name.clone(), front));
    }
    for (name, front) in &fronts {
        if given.json {
            for point in front {
                console.json(&json!({"schema": "parthood.quorums.front/1", "system": name, axes[0].name(): point.x, axes[1].name(): point.y}))?;
            }
        } else if svg.is_none() {
            let head = vec![name.clone(), axes[0].name().into(), axes[1].name().into()];
            let rows = front.iter().map(|point| vec![String::new(), number(point.x), number(point.y)]);
            table(console, &std::iter::once(head).chain(rows).collect::<Vec<_>>())?;
        }
    }
    if let Some(path) = svg {
        files::write(path, figures::fronts(given, axes, &fronts))?;
    }
    Ok(Status::Done)
}

/// A picture goes where there is a folder: a new one would more likely be a name misspelt than one wanted.
fn has_a_folder(picture: &Path) -> Result<(), Error> {
    let folder = picture.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder.filter(|folder| !folder.is_dir()) {
        None => Ok(()),
        Some(folder) => {
            let (picture, folder) = (picture.display(), folder.display());
            Err(Error::Usage(format!("cannot write {picture}: there is no folder {folder}; create it first")))
        }
    }
}

pub(super) fn plot(console: &Console, given: &Given, kind: Kind, path: &Path) -> Result<Status, Error> {
    has_a_folder(path)?;
    let svg = figures::draw(given, kind)?;
    files::write(path, svg)?;
    if !given.json {
        console.line(format_args!("drew {}", path.display()))?;
    }
    Ok(Status::Done)
}

pub(super) fn sample(
    console: &Console,
    given: &Given,
    count: usize,
    seed: u64,
    write: bool,
) -> Result<Status, Error> {
    let (_, system) = given.one()?;
    let strategy = system.optimise(&given.cluster, &given.plan).map_err(usage)?.strategy();
    let sampler = strategy.sampler(if write { Side::Write } else { Side::Read });
    let mut state = seed;
    for _ in 0..count {
        let set = given.cluster.show_set(sampler.draw(split_mix(&mut state)));
        if given.json { console.json(&json!({"quorum": set}))? } else { console.line(set)? }
    }
    Ok(Status::Done)
}

/// The next number of Steele, Lea and Flood's generator.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub(super) fn verify(console: &Console, path: &Path) -> Result<Status, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    let wrong = |message: String| Error::Usage(format!("{}: {message}", path.display()));
    let stored: Stored = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if ![SOLUTION, INFEASIBLE].contains(&stored.schema.as_str()) {
        return Err(wrong(format!("the schema is {:?}, not {SOLUTION:?} or {INFEASIBLE:?}", stored.schema)));
    }
    let given = Given::of_file(stored.problem, false)?;
    let system = given.systems.iter().find(|(name, _)| *name == stored.system);
    let (name, system) = system.ok_or_else(|| wrong(format!("it has no system {:?}", stored.system)))?;
    match stored.certificate.check(system, &given.cluster, &given.plan) {
        Ok(()) => {
            let value = stored.certificate.value();
            let verdict = if stored.certificate.is_feasible() {
                "holds: the optimum is"
            } else {
                "holds: infeasible by at least"
            };
            console.line(format_args!("{name}: {} {value}", console.paint(Tone::Good, verdict)))?;
            Ok(Status::Done)
        }
        Err(error) => {
            console.line(format_args!("{name}: {}", console.paint(Tone::Bad, &error.to_string())))?;
            Ok(Status::Violated)
        }
    }
}
