//! Nodes, systems, read fractions and a goal, from a file, from flags, or from both: flags win.

use super::{CommonArgs, usage};
use crate::error::Error;
use parthood_quorums::{Attributes, Cluster, Objective, Plan, ReadWriteQuorumSystem, Workload};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A file, in TOML or JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) nodes: BTreeMap<String, NodeEntry>,
    pub(super) systems: BTreeMap<String, SystemEntry>,
    /// Weights by read fraction; half of the commands are reads if there is no such table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) workload: Option<BTreeMap<String, f64>>,
    pub(super) goal: Goal,
    /// The probability that each zone is up.
    pub(super) zones: BTreeMap<String, f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct NodeEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    up: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SystemEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    reads: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    writes: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Goal {
    #[serde(skip_serializing_if = "Option::is_none")]
    minimise: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_load: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_capacity: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_network: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_latency: Option<Time>,
    resilient: usize,
    failed: Vec<String>,
    /// The worst read fraction between these two, instead of a workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    worst: Option<(f64, f64)>,
}

/// Seconds, or text with a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Time {
    Seconds(f64),
    Text(String),
}

impl Time {
    fn seconds(&self) -> Result<f64, Error> {
        let text = match self {
            Self::Seconds(seconds) => return Ok(*seconds),
            Self::Text(text) => text.trim(),
        };
        let units = [("ms", 1e3), ("us", 1e6), ("ns", 1e9), ("s", 1.0), ("", 1.0)];
        let value = units.iter().find_map(|(unit, per_second)| {
            let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            // Division by a power of ten rounds to the decimal that is meant.
            Some(number / per_second)
        });
        value.ok_or_else(|| Error::Usage(format!("{text:?} is no time; write 4ms, 0.5s or seconds")))
    }
}

/// Everything a verb works on.
pub(super) struct Given {
    pub(super) cluster: Cluster,
    pub(super) systems: Vec<(String, ReadWriteQuorumSystem)>,
    pub(super) plan: Plan,
    pub(super) zones: BTreeMap<String, f64>,
    pub(super) json: bool,
    /// What was given, in the form of a file.
    pub(super) file: File,
}

impl Given {
    pub(super) fn new(args: &CommonArgs) -> Result<Self, Error> {
        let mut file = args.file.as_deref().map_or_else(|| Ok(File::default()), read)?;
        if let Some(name) = &args.system {
            if !file.systems.contains_key(name) {
                return Err(Error::unknown("system", name, file.systems.keys().map(String::as_str)));
            }
            file.systems.retain(|other, _| other == name);
        }
        if args.reads.is_some() || args.writes.is_some() {
            let entry = SystemEntry { reads: args.reads.clone(), writes: args.writes.clone() };
            file.systems = BTreeMap::from([("given".into(), entry)]);
        }
        let mut flags = BTreeMap::new();
        for text in &args.node {
            let (name, entry) = node(text)?;
            if flags.insert(name.clone(), entry).is_some() {
                return Err(usage(parthood_quorums::Error::DuplicateNode { name }));
            }
        }
        file.nodes.append(&mut flags);
        add_workload(&mut file, &args.read_fraction)?;
        let goal = &mut file.goal;
        if let Some(metric) = args.minimise {
            goal.minimise = Some(metric.objective().name().into());
        }
        if args.max_load.is_some() || args.min_capacity.is_some() {
            (goal.max_load, goal.min_capacity) = (args.max_load, args.min_capacity);
        }
        goal.max_network = args.max_network.or(goal.max_network);
        goal.max_latency = args.max_latency.clone().map(Time::Text).or_else(|| goal.max_latency.clone());
        goal.resilient = args.resilient.unwrap_or(goal.resilient);
        goal.failed.extend(args.failed.iter().cloned());
        Self::of_file(file, args.json)
    }

    pub(super) fn of_file(file: File, json: bool) -> Result<Self, Error> {
        let mut cluster = Cluster::new();
        for (name, entry) in &file.nodes {
            cluster.add(name, entry.attributes(name)?).map_err(usage)?;
        }
        if file.nodes.is_empty() {
            // Without nodes, those that the expressions name are equal.
            for text in file.systems.values().flat_map(|entry| [&entry.reads, &entry.writes]).flatten() {
                cluster.parse_adding(text).map_err(usage)?;
            }
        }
        let system = |(name, entry): (&String, &SystemEntry)| {
            ReadWriteQuorumSystem::parse(&cluster, entry.reads.as_deref(), entry.writes.as_deref())
                .map(|system| (name.clone(), system))
                .map_err(|error| Error::Usage(format!("system {name}: {error}")))
        };
        let systems = file.systems.iter().map(system).collect::<Result<Vec<_>, _>>()?;
        let plan = plan(&file, &cluster)?;
        zones(&file)?;
        Ok(Self { cluster, systems, plan, zones: file.zones.clone(), json, file })
    }

    /// The systems, of which there must be one.
    pub(super) fn some(&self) -> Result<&[(String, ReadWriteQuorumSystem)], Error> {
        if self.systems.is_empty() {
            return Err(Error::Usage(
                "no system: give --reads, --writes or a file with [systems.NAME]".into(),
            ));
        }
        Ok(&self.systems)
    }

    /// The system, of which there must be exactly one.
    pub(super) fn one(&self) -> Result<&(String, ReadWriteQuorumSystem), Error> {
        match self.some()? {
            [one] => Ok(one),
            many => {
                let names: Vec<&str> = many.iter().map(|(name, _)| name.as_str()).collect();
                Err(Error::Usage(format!("choose one of {} with --system", names.join(", "))))
            }
        }
    }
}

impl NodeEntry {
    fn attributes(&self, name: &str) -> Result<Attributes, Error> {
        let (read, write) = match (self.capacity, self.read, self.write) {
            (None, None, None) => (1.0, 1.0),
            (Some(both), None, None) => (both, both),
            (None, Some(read), Some(write)) => (read, write),
            _ => {
                let message = format!("node {name}: give capacity alone, or read and write together");
                return Err(Error::Usage(message));
            }
        };
        let latency = self.latency.as_ref().map_or(Ok(1.0), Time::seconds);
        let latency = latency.map_err(|error| Error::Usage(format!("node {name}: {error}")))?;
        let attributes = Attributes::capacities(read, write).latency(latency).up(self.up.unwrap_or(1.0));
        Ok(Attributes { zone: self.zone.clone(), ..attributes })
    }
}

fn read(path: &Path) -> Result<File, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    File::of_text(path, &text)
}

impl File {
    /// Reads JSON if the name says so, TOML otherwise.
    pub(super) fn of_text(path: &Path, text: &str) -> Result<Self, Error> {
        let wrong = |message: String| Error::Usage(format!("{}: {message}", path.display()));
        if path.extension().is_some_and(|extension| extension == "json") {
            serde_json::from_str(text).map_err(|error| wrong(error.to_string()))
        } else {
            toml::from_str(text).map_err(|error| wrong(error.to_string()))
        }
    }
}

/// A node from a flag: `NAME:key=value,..`.
fn node(text: &str) -> Result<(String, NodeEntry), Error> {
    let wrong = |what: &str| Error::Usage(format!("--node {text:?}: {what}"));
    let (name, fields) = text.split_once(':').unwrap_or((text, ""));
    let mut entry = NodeEntry::default();
    for field in fields.split(',').filter(|field| !field.trim().is_empty()) {
        let (key, value) = field.split_once('=').ok_or_else(|| wrong("a field is written KEY=VALUE"))?;
        let (key, value) = (key.trim(), value.trim());
        let number = || value.parse::<f64>().map(Some).map_err(|_| wrong(&format!("{value:?} is no number")));
        match key {
            "capacity" => entry.capacity = number()?,
            "read" => entry.read = number()?,
            "write" => entry.write = number()?,
            "up" => entry.up = number()?,
            "latency" => entry.latency = Some(Time::Text(value.into())),
            "zone" => entry.zone = Some(value.into()),
            _ => {
                return Err(Error::unknown(
                    "field of --node",
                    key,
                    ["capacity", "read", "write", "up", "latency", "zone"],
                ));
            }
        }
    }
    let name = name.trim();
    if name.is_empty() {
        return Err(wrong("a node needs a name; write NAME:KEY=VALUE"));
    }
    Ok((name.into(), entry))
}

fn add_workload(file: &mut File, flags: &[String]) -> Result<(), Error> {
    let number = |text: &str| {
        text.trim()
            .parse::<f64>()
            .map_err(|_| Error::Usage(format!("--read-fraction: {text:?} is no number")))
    };
    if !flags.is_empty() {
        file.workload = None;
        file.goal.worst = None;
    }
    for flag in flags {
        if let Some((least, most)) = flag.split_once("..") {
            if file.goal.worst.replace((number(least)?, number(most)?)).is_some() {
                return Err(Error::Usage("--read-fraction: give one range, not several".into()));
            }
        } else {
            let (fraction, weight) = flag.split_once('=').unwrap_or((flag, "1"));
            let weights = file.workload.get_or_insert_default();
            if weights.insert(fraction.trim().into(), number(weight)?).is_some() {
                return Err(Error::Usage(format!("--read-fraction: {} is given twice", fraction.trim())));
            }
        }
    }
    if file.goal.worst.is_some() && file.workload.is_some() {
        return Err(Error::Usage("give read fractions or a range of them, not both".into()));
    }
    Ok(())
}

/// Checks that every zone is one, and up with a probability.
fn zones(file: &File) -> Result<(), Error> {
    for (zone, up) in &file.zones {
        if !(0.0..=1.0).contains(up) {
            let message =
                format!("zone {zone}: the probability of being up is {up}, but must be between 0 and 1");
            return Err(Error::Usage(message));
        }
        let known: BTreeSet<&str> = file.nodes.values().filter_map(|node| node.zone.as_deref()).collect();
        if !known.contains(zone.as_str()) {
            return Err(Error::unknown("zone", zone, known));
        }
    }
    Ok(())
}

fn plan(file: &File, cluster: &Cluster) -> Result<Plan, Error> {
    let goal = &file.goal;
    let fraction = |(text, weight): (&String, &f64)| {
        let fraction = text.trim().parse::<f64>();
        fraction
            .map(|f| (f, *weight))
            .map_err(|_| Error::Usage(format!("workload: {text:?} is no read fraction")))
    };
    let workload = match (goal.worst, &file.workload) {
        (Some((least, most)), _) => Workload::worst(least, most),
        (None, None) => Workload::reads(0.5),
        // Whoever opens a table means to fill it.
        (None, Some(weights)) if weights.is_empty() => {
            let message = "workload: no read fraction is given; write \"0.5\" = 1, or leave the table out";
            return Err(Error::Usage(message.into()));
        }
        (None, Some(weights)) => {
            Workload::distribution(weights.iter().map(fraction).collect::<Result<Vec<_>, _>>()?)
        }
    };
    let metrics = [Objective::Load, Objective::Network, Objective::Latency];
    let objective = match &goal.minimise {
        None => Objective::Load,
        Some(name) => metrics
            .into_iter()
            .find(|metric| metric.name() == name)
            .ok_or_else(|| Error::unknown("metric", name, metrics.map(Objective::name)))?,
    };
    let mut plan = Plan::minimise(objective, workload.map_err(usage)?).resilient(goal.resilient);
    if goal.max_load.is_some() && goal.min_capacity.is_some() {
        return Err(Error::Usage("max_load and min_capacity are the same limit; give one".into()));
    }
    if let Some(capacity) = goal.min_capacity.filter(|capacity| !capacity.is_finite() || *capacity <= 0.0) {
        let limit = format!("the capacity limit is {capacity}, but must be a positive finite number");
        return Err(Error::Usage(limit));
    }
    if let Some(load) = goal.max_load.or(goal.min_capacity.map(|capacity| 1.0 / capacity)) {
        plan = plan.max_load(load);
    }
    if let Some(nodes) = goal.max_network {
        plan = plan.max_network(nodes);
    }
    if let Some(time) = &goal.max_latency {
        plan = plan.max_latency(time.seconds()?);
    }
    let failed = cluster.set_of(goal.failed.iter().map(String::as_str)).map_err(usage)?;
    Ok(plan.failed(failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("4ms", 0.004), ("250us", 0.00025), ("1.5 s", 1.5), ("2", 2.0)] {
            assert!((Time::Text(text.into()).seconds().unwrap() - seconds).abs() < 1e-15, "{text}");
        }
        assert!(Time::Text("soon".into()).seconds().is_err());
    }

    #[test]
    fn a_file_reads_the_same_from_toml_and_json() {
        let text = "[nodes.a]\ncapacity = 2\n[nodes.b]\nread = 4\nwrite = 2\nlatency = '3ms'\n\
                    [systems.any]\nreads = 'a + b'\n[workload]\n'0.9' = 1\n[goal]\nminimise = 'latency'\nmax_network = 2\n";
        let file: File = toml::from_str(text).unwrap();
        let again: File = serde_json::from_str(&serde_json::to_string(&file).unwrap()).unwrap();
        assert_eq!(file, again);
        let given = Given::of_file(file, false).unwrap();
        assert_eq!(given.cluster.len(), 2);
        assert_eq!(given.plan.objective(), Objective::Latency);
        assert_eq!(given.plan.limits(), [(Objective::Network, 2.0)]);
        assert!(toml::from_str::<File>("[nodes.a]\ncapcity = 2\n").is_err());
    }

    #[test]
    fn zones_that_no_node_is_in_or_that_have_no_probability_are_errors() {
        let wrong = |zones: &str| {
            let text = format!("[nodes.a]\nzone = 'eu'\n[systems.one]\nreads = 'a'\n[zones]\n{zones}\n");
            Given::of_file(toml::from_str(&text).unwrap(), false).map(drop)
        };
        assert!(wrong("eu = 0.9").is_ok());
        assert!(
            wrong("eu = 2").unwrap_err().to_string().contains("zone eu: the probability of being up is 2")
        );
        assert!(wrong("eu = nan").is_err());
        assert!(wrong("us = 0.9").unwrap_err().to_string().contains("unknown zone `us`"));
    }

    #[test]
    fn read_fractions_are_given_once() {
        let given = |flags: &[&str]| {
            let flags: Vec<String> = flags.iter().map(|flag| (*flag).into()).collect();
            add_workload(&mut File::default(), &flags).map_err(|error| error.to_string())
        };
        assert_eq!(given(&["0.5=1", "0.9=2"]), Ok(()));
        assert!(given(&["0.5", "0.5=2"]).unwrap_err().contains("0.5 is given twice"));
        assert!(given(&["0.1..0.2", "0.3..0.4"]).unwrap_err().contains("one range"));
        assert!(given(&["0.1..0.2", "0.3"]).unwrap_err().contains("not both"));
    }

    #[test]
    fn nodes_are_written_as_flags() {
        let (name, entry) = node("a:read=4000, write=2000,latency=1ms,zone=eu").unwrap();
        let attributes = entry.attributes(&name).unwrap();
        assert_eq!(attributes, Attributes::capacities(4000.0, 2000.0).latency(0.001).zone("eu"));
        assert!(node("a:read=fast").is_err());
        assert!(node("a:raed=1").unwrap_err().to_string().contains("did you mean `read`"));
        assert!(node("a:read=1").unwrap().1.attributes("a").is_err());
        assert!(node(":read=1").unwrap_err().to_string().contains("a node needs a name"));
    }
}
