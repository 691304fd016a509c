//! Metrics that a strict reader understands, and a health that follows what happens.

use super::http::page;
use super::*;
use crate::toy::{Flaw, State, Toy};
use crate::udp::{AddressBook, ClientProcess, Driver};
use crate::wire::Key;
use stateright::actor::Id;
use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use tiny_http::Method;

fn free() -> SocketAddr {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn standing(_: Id, state: &State) -> Standing {
    Standing { leads: true, leader: Some(1), executed: Some(state.counts().total), ..Standing::default() }
}

/// A counter that saves in this folder, at work, and what it shows.
fn at_work(data: &Path) -> (Driver<Toy>, Operations) {
    let book = AddressBook::from_iter([free(), free()]);
    let mut counter = Driver::<Toy>::builder(1, Key::new([1; 32]), book.clone())
        .host(Id::from(0), Toy::Counter(Flaw::None))
        .data(data)
        .standing(standing)
        .watch(Duration::from_millis(10))
        .build()
        .unwrap();
    let id = ClientProcess::random().unwrap().id(0);
    let toy = Toy::Client { counter: Id::from(0), goal: 30 };
    let mut client = Driver::<Toy>::builder(1, Key::new([1; 32]), book).host(id, toy).build().unwrap();
    while client.state(id).unwrap().done() < 30 {
        client.turn(Some(Duration::from_millis(1))).unwrap();
        counter.turn(Some(Duration::from_millis(1))).unwrap();
    }
    settle(&mut counter);
    let source = Source { name: "a".into(), handle: counter.handle(), data: Some(data.to_owned()) };
    let missing = |present: &BTreeMap<u64, Standing>| match present.len() {
        2 => vec![],
        others => vec![format!("{others} of two nodes")],
    };
    let operations = Operations::new(vec![source], vec!["a".into(), "b \"x\"".into()], Box::new(missing));
    (counter, operations)
}

/// Lets a driver publish what it has done.
fn settle(driver: &mut Driver<Toy>) {
    let since = Instant::now();
    while driver.handle().view().at.is_none_or(|at| at <= since) {
        driver.turn(Some(Duration::from_millis(5))).unwrap();
    }
}

/// Reads `name{label="value",..} number` strictly.
fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value after a space");
    let value = if value == "+Inf" { f64::INFINITY } else { value.parse().expect("a number") };
    let (name, labels) = series.split_once('{').map_or((series, None), |(name, rest)| (name, Some(rest)));
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    assert!(is_name(name), "{line}");
    let mut found = BTreeMap::new();
    let mut rest = labels.map_or("", |rest| rest.strip_suffix('}').expect("a closing brace"));
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").expect("a quoted value");
        assert!(is_name(label), "{line}");
        let mut text = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => text.push(chars.next().expect("an escaped character").1),
                (_, other) => text.push(other),
            }
        };
        assert!(found.insert(label.to_owned(), text).is_none(), "{line}");
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    (name.to_owned(), found, value)
}

/// All samples of a text, each of which belongs to the family that was begun last.
fn read(text: &str) -> BTreeMap<(String, BTreeMap<String, String>), f64> {
    let body = text.strip_suffix("# EOF\n").expect("an end");
    let mut families = BTreeSet::new();
    let mut samples = BTreeMap::new();
    let (mut family, mut kind) = (String::new(), String::new());
    let mut lines = body.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect("words");
            assert!(families.insert(name.to_owned()) && words.ends_with('.'), "{line}");
            let typed = lines.next().and_then(|line| line.strip_prefix("# TYPE ")).expect("a type follows");
            let (same, of_kind) = typed.split_once(' ').expect("a type");
            assert_eq!(same, name);
            (family, kind) = (name.to_owned(), of_kind.to_owned());
            continue;
        }
        let (name, labels, value) = sample(line);
        let suffixes: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_sum", "_count"],
            other => panic!("{other}"),
        };
        assert!(suffixes.iter().any(|suffix| name == format!("{family}{suffix}")), "{line} in {family}");
        assert!(value >= 0.0 && samples.insert((name, labels), value).is_none(), "{line}");
    }
    samples
}

fn with(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn metrics_are_read_by_a_strict_reader_and_move() {
    let dir = tempfile::tempdir().unwrap();
    let (mut counter, operations) = at_work(dir.path());
    let times = SharedHistogram::default();
    times.observe(Duration::from_micros(3));
    let operations = operations.client(times);
    let before = read(&operations.metrics().unwrap());
    let value = |samples: &BTreeMap<_, f64>, name: &str, labels: &[(&str, &str)]| {
        samples.get(&(name.to_owned(), with(labels))).copied().unwrap_or_else(|| panic!("{name} is missing"))
    };
    assert!(
        value(&before, "parthood_messages_total", &[("loop", "a"), ("way", "received"), ("kind", "Add")])
            >= 30.0
    );
    assert!(value(&before, "parthood_fsync_seconds_count", &[("loop", "a")]) >= 1.0);
    assert!((value(&before, "parthood_executed", &[("node", "a")]) - 30.0).abs() < 0.5);
    assert!((value(&before, "parthood_leader", &[("node", "a"), ("leader", "b \"x\"")]) - 1.0).abs() < 0.5);
    let bucket =
        |le| value(&before, "parthood_client_command_seconds_bucket", &[("client", "0"), ("le", le)]);
    assert!((bucket("+Inf") - 1.0).abs() < 0.5);
    let forged =
        |samples: &_| value(samples, "parthood_dropped_total", &[("loop", "a"), ("reason", "magic")]);
    let stranger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    stranger.send_to(&[0; 60], counter.local_address()).unwrap();
    settle(&mut counter);
    settle(&mut counter);
    let after = read(&operations.metrics().unwrap());
    assert!((forged(&after) - forged(&before) - 1.0).abs() < 0.5);
    let turns = |samples: &_| value(samples, "parthood_turns_total", &[("loop", "a")]);
    assert!(turns(&after) > turns(&before));
}

#[test]
fn buckets_of_a_histogram_are_cumulative() {
    let dir = tempfile::tempdir().unwrap();
    let (_counter, operations) = at_work(dir.path());
    let samples = read(&operations.metrics().unwrap());
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for ((name, labels), value) in &samples {
        if name == "parthood_turn_seconds_bucket" {
            buckets.push((labels["le"].replace("+Inf", "inf").parse().unwrap(), *value));
        }
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1) && buckets.len() > 20, "{buckets:?}");
    let count = samples[&("parthood_turn_seconds_count".to_owned(), with(&[("loop", "a")]))];
    assert!((buckets.last().unwrap().1 - count).abs() < 0.5);
}

#[test]
fn health_names_a_missing_quorum_a_disk_that_takes_nothing_and_a_loop_that_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    let (counter, mut operations) = at_work(dir.path());
    let health = operations.health();
    assert_eq!((health.serves, health.reasons), (false, vec!["a: 1 of two nodes".to_owned()]));
    assert!(!dir.path().join(PROBE).exists());
    operations.missing = Box::new(|_| vec![]);
    assert!(operations.health().serves);

    operations.probes.clear();
    // A folder of that name cannot be written over, whoever asks.
    fs::create_dir(dir.path().join(PROBE)).unwrap();
    let health = operations.health();
    assert!(!health.serves && health.reasons[0].contains("a: cannot write"), "{health:?}");
    assert_eq!(operations.health(), health, "a disk is not looked at every time");
    fs::remove_dir(dir.path().join(PROBE)).unwrap();
    operations.probes.clear();
    assert!(operations.health().serves);

    // Nobody turns it any more.
    std::thread::sleep(STALLED + Duration::from_millis(50));
    let health = operations.health();
    assert!(health.reasons.iter().any(|why| why.contains("has stood still for 3 s")), "{health:?}");
    drop(counter);
}

#[test]
fn pages_have_the_right_status() {
    let dir = tempfile::tempdir().unwrap();
    let (_counter, mut operations) = at_work(dir.path());
    let status = |method: &Method, url: &str, operations: &mut Operations| page(method, url, operations).0;
    assert_eq!(status(&Method::Get, "/", &mut operations), 404);
    assert_eq!(status(&Method::Post, "/metrics", &mut operations), 405);
    assert_eq!(status(&Method::Get, "/metrics?x=1", &mut operations), 200);
    assert_eq!(status(&Method::Get, "/health", &mut operations), 503);
    operations.missing = Box::new(|_| vec![]);
    let (status, _, text) = page(&Method::Get, "/health", &mut operations);
    assert_eq!(
        (status, text.as_str()),
        (200, "{\"schema\":\"parthood.health/1\",\"serves\":true,\"reasons\":[]}\n")
    );
}

#[test]
fn a_listener_answers_over_http_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (_counter, operations) = at_work(dir.path());
    let listener = Listener::start((Ipv4Addr::LOCALHOST, 0).into(), operations).unwrap();
    let address = listener.local_address();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let metrics = get("/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("openmetrics-text"), "{metrics}");
    assert!(get("/health").starts_with("HTTP/1.1 503"));
    let second = Listener::start(address, Operations::new(vec![], vec![], Box::new(|_| vec![])));
    assert!(second.unwrap_err().to_string().contains("another process listens there"));
    // It ends, or this test does not.
    drop(listener);
}
