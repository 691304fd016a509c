//! What those see who look after a running cluster: metrics, health, status, logs, and what a data directory holds.

use crate::harness::{Ended, Server, cluster, command, page, parthood, pause};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A node as a process of its own, with metrics, and where these are.
fn node(folder: &Path, name: &str) -> (Server, String) {
    let arguments = ["run", "--config", "cluster.toml", "--node", name, "--metrics", "127.0.0.1:0"];
    let server = Server::start(folder, &arguments);
    let announced =
        server.announced.iter().find_map(|line| line.strip_prefix("metrics and health on http://"));
    let address = announced.expect("it says where metrics are").to_owned();
    (server, address)
}

/// Waits until the health of a process has this status and says so.
fn health(address: &str, status: u16, words: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let (now, body) = page(address, "/health");
        if now == status && body.contains(words) {
            return;
        }
        assert!(Instant::now() < end, "it says {now}, and not {status} with `{words}`: {body}");
        pause(100);
    }
}

fn client(folder: &Path, arguments: &[&str]) -> Ended {
    parthood(folder, &[&["client", "--config", "cluster.toml", "--timeout", "20"], arguments].concat())
}

fn status(folder: &Path) -> (i32, Value) {
    let ended = parthood(folder, &["status", "--config", "cluster.toml", "--timeout", "2", "--json"]);
    (ended.status, serde_json::from_str(&ended.out).expect(&ended.err))
}

/// The sum of all samples of a name.
fn sum(text: &str, name: &str) -> f64 {
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    text.lines().filter(of_name).map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

#[test]
fn health_and_status_follow_a_majority_that_goes_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    cluster(folder, 3, "");
    let (a, metrics) = node(folder, "a");
    health(&metrics, 503, "a: no write quorum of servers: needs b, or c");
    let (b, _) = node(folder, "b");
    let (c, _) = node(folder, "c");
    health(&metrics, 200, "\"serves\":true");
    assert_eq!(client(folder, &["put", "k", "v"]).status, 0);
    let (code, whole) = status(folder);
    assert_eq!(code, 0, "{whole}");
    assert_eq!(whole["leaders"].as_array().unwrap().len(), 1, "{whole}");
    assert!(whole["nodes"].as_array().unwrap().iter().all(|node| node["answers"] == true), "{whole}");

    b.kill();
    c.kill();
    health(&metrics, 503, "no read quorum of servers: needs b, or c");
    let (code, halved) = status(folder);
    assert_eq!(code, 1, "{halved}");
    for quorum in halved["quorums"].as_array().unwrap() {
        assert_eq!((&quorum["there"], &quorum["needs"]), (&false.into(), &serde_json::json!([["b"], ["c"]])));
    }
    let shown = parthood(folder, &["status", "--config", "cluster.toml"]);
    assert!(shown.out.contains("write quorum of servers: missing, needs b, or c"), "{shown:?}");

    let (b, _) = node(folder, "b");
    health(&metrics, 200, "");
    let (code, back) = status(folder);
    assert_eq!((code, back["nodes"][2]["answers"].as_bool()), (0, Some(false)), "{back}");
    a.kill();
    b.kill();
    let (code, _) = status(folder);
    assert_eq!(code, 4, "nobody answers");
}

#[test]
fn metrics_move_and_every_family_is_described_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    cluster(folder, 1, "");
    let (server, address) = node(folder, "a");
    let (_, before) = page(&address, "/metrics");
    for number in 0..5 {
        assert_eq!(client(folder, &["put", "k", &number.to_string()]).status, 0);
    }
    let end = Instant::now() + Duration::from_secs(30);
    let after = loop {
        let (_, after) = page(&address, "/metrics");
        if sum(&after, "parthood_executed") >= sum(&before, "parthood_executed") + 5.0 {
            break after;
        }
        assert!(Instant::now() < end, "{after}");
        pause(50);
    };
    for name in [
        "parthood_turns_total",
        "parthood_messages_total",
        "parthood_fsync_seconds_count",
        "parthood_client_lanes",
    ] {
        assert!(sum(&after, name) > sum(&before, name), "{name} does not move: {after}");
    }
    assert!(after.contains("parthood_leads{node=\"a\"} 1"), "{after}");
    assert!(after.ends_with("# EOF\n"));
    for word in ["# HELP ", "# TYPE "] {
        let described: Vec<_> = after.lines().filter_map(|line| line.strip_prefix(word)).collect();
        let names: BTreeSet<_> = described.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert!(names.len() == described.len() && names.len() > 20, "{word}: {after}");
    }
    server.kill();
}

/// What the metrics of a deployment are said to tell: each has a family, and those that a load moves have moved.
#[test]
fn metrics_tell_of_commands_messages_drops_disks_queues_logs_and_leaders() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = cluster(folder, 1, "");
    let arguments =
        ["run", "--config", "cluster.toml", "--all", "--metrics", "127.0.0.1:0", "--resp", "127.0.0.1:0"];
    let server = Server::start(folder, &arguments);
    let after = |words: &str| {
        let line = server.announced.iter().find_map(|line| line.strip_prefix(words));
        line.expect("it says where it listens").to_owned()
    };
    let (metrics, gateway) =
        (after("metrics and health on http://"), after("clients of Redis are served on "));
    let mut redis = TcpStream::connect(gateway).unwrap();
    for _ in 0..5 {
        redis.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n").unwrap();
        let mut reply = [0; 5];
        redis.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"+OK\r\n");
    }
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger
        .send_to(
            b"no frame at all, but long enough to look at it as one",
            parthood::deploy::Cluster::load(&file).unwrap().members[0].address,
        )
        .unwrap();
    let moved = [
        "parthood_client_command_seconds_count",
        "parthood_client_command_seconds_bucket",
        "parthood_turn_seconds_bucket",
        "parthood_messages_total",
        "parthood_dropped_total",
        "parthood_fsync_seconds_count",
        "parthood_log_size_bytes",
        "parthood_log_entries",
        "parthood_leads",
        "parthood_leader",
        "parthood_executed",
    ];
    let there = [
        "parthood_queue_length",
        "parthood_snapshot_size_bytes",
        "parthood_snapshots_total",
        "parthood_round",
        "parthood_commands_queued",
    ];
    let end = Instant::now() + Duration::from_secs(30);
    let text = loop {
        let (_, text) = page(&metrics, "/metrics");
        if moved.iter().all(|name| sum(&text, name) > 0.0)
            && sum(&text, "parthood_client_command_seconds_count") >= 5.0
        {
            break text;
        }
        let still: Vec<_> = moved.iter().filter(|name| sum(&text, name) <= 0.0).collect();
        assert!(Instant::now() < end, "{still:?} of {text}");
        pause(50);
    };
    for name in there {
        assert!(text.lines().any(|line| line.starts_with(&format!("{name}{{"))), "{name} of {text}");
    }
    for (label, family) in [
        ("kind=\"", "parthood_messages_total"),
        ("reason=\"", "parthood_dropped_total"),
        ("result=\"failed\"", "parthood_snapshots_total"),
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(family) && line.contains(label)),
            "{family} by {label}"
        );
    }
}

#[test]
fn a_log_is_one_object_a_line_and_holds_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = cluster(folder, 1, "");
    let arguments =
        ["run", "--config", "cluster.toml", "--all", "--log-format", "json", "--log-level", "info"];
    let server = Server::of(command(folder, &arguments).stderr(Stdio::piped()));
    let address = parthood::deploy::Cluster::load(&file).unwrap().members[0].address;
    // What somebody with another key would send is told, once.
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let frame = [b"PTH\x07".as_slice(), &[0; 60]].concat();
    for _ in 0..20 {
        stranger.send_to(&frame, address).unwrap();
    }
    assert_eq!(client(folder, &["put", "colour", "a-secret-value"]).status, 0);
    let stop = std::process::Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(stop.success());
    let (code, log) = server.complaints();
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let level = |level: &str| lines.iter().filter(|line| line["level"] == level).count();
    assert!(level("INFO") >= 2 && level("WARN") == 1, "{log}");
    assert!(lines.iter().all(|line| line["message"].is_string() && line["timestamp"].is_string()), "{log}");
    assert!(lines.iter().any(|line| line["leader"] == "a" && line["leads"] == true), "{log}");

    let hex = fs::read_to_string(folder.join("cluster.key")).unwrap().trim().to_owned();
    let bytes: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let encoded = BASE64_STANDARD.encode(&bytes);
    for secret in
        [hex.to_uppercase(), encoded.trim_end_matches('=').to_owned(), "a-secret-value".to_owned(), hex]
    {
        assert!(!log.contains(&secret), "{log}");
    }
}

#[test]
fn what_a_data_directory_holds_is_told_with_a_process_at_work_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    cluster(folder, 1, "");
    let server = Server::start(folder, &["run", "--config", "cluster.toml", "--all"]);
    assert_eq!(client(folder, &["put", "k", "v"]).status, 0);
    let inspect = || {
        let ended = parthood(folder, &["trace", "inspect", "data", "--json"]);
        let found: Value = serde_json::from_str(&ended.out).expect(&ended.err);
        (ended.status, found)
    };
    assert_eq!(inspect().1["lock"], "held");
    server.kill();
    let (code, found) = inspect();
    assert_eq!((code, &found["lock"], &found["damaged"]), (0, &"free".into(), &false.into()), "{found}");
    assert_eq!(found["saved"][0]["node"], "a");
    assert!(found["saved"][0]["records"].as_u64().unwrap() > 0);

    let log = folder.join("data/a/log-0000000000000000");
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 5]).unwrap();
    let (code, torn) = inspect();
    assert_eq!((code, &torn["files"][0]["ending"]), (0, &"interrupted".into()), "{torn}");
    let mut damaged = bytes.clone();
    damaged[60] ^= 1;
    fs::write(&log, &damaged).unwrap();
    let (code, found) = inspect();
    assert_eq!((code, &found["files"][0]["ending"]), (1, &"damaged".into()), "{found}");
    let shown = parthood(folder, &["trace", "inspect", "data/a"]);
    assert!(shown.status == 1 && shown.out.contains("damaged at offset"), "{shown:?}");
    assert!(fs::read(&log).unwrap() == damaged, "an inspection changes nothing");
}
