//! A strategy that was found to be the best, deployed.

use crate::harness::{free_ports, parthood};
use parthood::bench::{self, HistoryVerdict, Load};
use parthood::deploy::{self, Cluster, ServeOptions};
use parthood::runtime::trace::{AnyStep, CauseRecord, Entry, TraceReader};
use serde_json::Value;
use std::fs;
use std::io::BufReader;
use std::time::Duration;

/// The busiest nodes are the ones that the strategy says, and as busy: counted on a deployed cluster.
#[test]
fn a_deployed_strategy_loads_its_nodes_as_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let nodes = ["a:read=4000,write=2000", "b:read=4000,write=2000", "c:read=2000,write=1000"];
    let slow = ["d:read=2000,write=1000", "e:read=2000,write=1000"];
    let mut arguments = vec!["quorums", "optimize", "--reads", "a*b + c*d*e", "--read-fraction", "0.5"];
    arguments.extend(nodes.iter().chain(&slow).flat_map(|node| ["--node", node]));
    let ended = parthood(folder, &[&arguments[..], &["--json", "--deploy", "c/cluster.toml"]].concat());
    assert_eq!(ended.status, 0, "{ended:?}");
    let predicted: Value = serde_json::from_str(&ended.out).unwrap();
    let predicted = &predicted["summary"]["node_load"];
    let again = parthood(folder, &[&arguments[..], &["--deploy", "c/cluster.toml"]].concat());
    assert!(again.status == 2 && again.err.contains("exists already"), "{again:?}");

    // Nothing is sent twice unless it is lost, and commands share no slot, so that every command is one contact.
    let file = folder.join("c/cluster.toml");
    let mut text = fs::read_to_string(&file).unwrap();
    let cluster = Cluster::load(&file).unwrap();
    for (member, port) in cluster.members.iter().zip(free_ports(cluster.members.len())) {
        text = text.replace(&format!("\"{}\"", member.address), &format!("\"127.0.0.1:{port}\""));
    }
    text += "\n[limits]\nbatch_commands = 1\n[times]\nresend_ms = 5000\nretry_ms = [5000, 9000]\nelection_ms = [5000, 9000]\n";
    fs::write(&file, text).unwrap();
    let cluster = Cluster::load(&file).unwrap();
    let trace = folder.join("run.ndjson");
    let options = ServeOptions { trace: Some(trace), no_sync: true, ..ServeOptions::default() };
    let all: Vec<usize> = (0..cluster.members.len()).collect();
    let serving = deploy::serve(&cluster, &all, &options).unwrap();
    let load = Load {
        outstanding: 4,
        operations_max: 4_000,
        duration: Duration::from_secs(100),
        seed: 5,
        check: true,
        ..Load::default()
    };
    let measured = bench::run(&cluster, &load).unwrap();
    serving.stop().unwrap();
    assert_eq!((measured.answered, measured.unknown), (4_000, 0));
    assert_eq!(bench::judge(&measured.history), HistoryVerdict::Right);

    for (index, member) in cluster.members.iter().enumerate().filter(|(_, member)| member.role == "acceptor")
    {
        let (mut reads, mut writes) = (0_u32, 0_u32);
        let file = fs::File::open(folder.join(format!("run-{}.ndjson", member.name))).unwrap();
        for entry in TraceReader::<_, AnyStep>::new(BufReader::new(file)).unwrap() {
            if let (_, Entry::Step(AnyStep { id, cause: CauseRecord::Deliver { msg, .. }, .. })) =
                entry.unwrap()
                && usize::from(id) == index
            {
                reads += u32::from(msg.get("PreRead").is_some());
                writes += u32::from(msg.get("Phase2a").is_some());
            }
        }
        let capacity = if ["a", "b"].contains(&member.name.as_str()) { 1.0 } else { 0.5 };
        let work = f64::from(reads) / (4_000.0 * capacity) + f64::from(writes) / (2_000.0 * capacity);
        let (found, predicted) = (work / 4_000.0, predicted[&member.name].as_f64().unwrap());
        assert!(
            (found - predicted).abs() <= 0.05 * predicted,
            "{}: {found} instead of {predicted}",
            member.name
        );
    }
}
