//! `parthood client`

use super::{Console, Tone, cluster, grouped};
use crate::bench::{self, HistoryVerdict, Load, Measured};
use crate::cli::{BenchArgs, ClientArgs, ClientVerb};
use crate::deploy::{self, ClientError, ClientOptions, Cluster, KvClient, Reads};
use crate::error::{Error, Status};
use serde_json::json;

pub(super) fn run(args: &ClientArgs) -> Result<Status, Error> {
    let cluster = cluster(args.config.as_deref())?;
    if let ClientVerb::Bench(bench) = &args.verb {
        return load(&cluster, bench, args);
    }
    let timeout = args.timeout;
    let answer = if let ClientVerb::Propose { value } = &args.verb {
        deploy::propose(&cluster, value.as_bytes(), timeout)?.map(|chosen| Answer {
            as_asked: chosen.as_slice() == value.as_bytes(),
            text: Some(String::from_utf8_lossy(chosen.as_slice()).into_owned()),
            why_not: "another value was chosen before",
        })
    } else {
        ask(
            &KvClient::connect(
                &cluster,
                ClientOptions { reads: args.consistency, lanes: 1, timeout, ..ClientOptions::default() },
            )?,
            &args.verb,
        )
    };
    match answer {
        Ok(answer) => tell(&answer, args.output.json),
        Err(error @ (ClientError::Timeout(_) | ClientError::NotSent(_))) => {
            eprintln!("parthood: {error}");
            Ok(Status::Inconclusive)
        }
        Err(error @ ClientError::Refused(_)) => {
            eprintln!("parthood: {error}");
            Ok(Status::Violated)
        }
        Err(error) => Err(Error::Environment(error.to_string())),
    }
}

/// What a command led to: what it did or found, and whether that is what was asked for.
struct Answer {
    text: Option<String>,
    as_asked: bool,
    why_not: &'static str,
}

fn ask(client: &KvClient, verb: &ClientVerb) -> Result<Answer, ClientError> {
    let done = |text: Option<String>| Answer { text, as_asked: true, why_not: "" };
    let show = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(match verb {
        ClientVerb::Put { key, value } => {
            client.put(key, value)?;
            done(None)
        }
        ClientVerb::Get { key } => {
            let value = client.get(key)?.map(show);
            Answer { as_asked: value.is_some(), text: value, why_not: "the key has no value" }
        }
        ClientVerb::Delete { key } => {
            let existed = client.delete(key)?;
            Answer { text: None, as_asked: existed, why_not: "the key had no value" }
        }
        ClientVerb::Cas { key, expected, new } => {
            let expected = (!expected.is_empty()).then_some(expected.as_bytes());
            match client.compare_and_swap(key, expected, new)? {
                Ok(()) => done(None),
                Err(found) => {
                    Answer { text: found.map(show), as_asked: false, why_not: "the key holds something else" }
                }
            }
        }
        ClientVerb::Incr { key, by } => done(Some(client.increment(key, *by)?.to_string())),
        ClientVerb::Propose { .. } | ClientVerb::Bench(_) => done(None),
    })
}

fn tell(answer: &Answer, as_json: bool) -> Result<Status, Error> {
    let console = Console::new();
    if as_json {
        let schema = "parthood.answer/1";
        console.json(&json!({ "schema": schema, "value": answer.text, "as_asked": answer.as_asked }))?;
    } else if let Some(text) = &answer.text {
        console.line(text)?;
    }
    if answer.as_asked {
        return Ok(Status::Done);
    }
    eprintln!("parthood: {}", answer.why_not);
    Ok(Status::Violated)
}

fn load(cluster: &Cluster, args: &BenchArgs, client: &ClientArgs) -> Result<Status, Error> {
    let load = Load {
        outstanding: args.outstanding,
        duration: args.seconds,
        operations_max: args.operations.unwrap_or(u64::MAX),
        reads: args.reads,
        consistency: client.consistency,
        keys: args.keys,
        skew: args.skew,
        value_bytes: args.value_bytes,
        seed: match args.seed {
            Some(seed) => seed,
            None => u64::from(std::process::id()) << 32 | u64::from(nanos_now()),
        },
        check: args.check,
        ..Load::default()
    };
    let measured = bench::run(cluster, &load)?;
    let console = Console::new();
    if client.output.json {
        console.json(&as_json_line(&load, &measured))?;
    } else {
        report(&console, &load, &measured)?;
    }
    Ok(measured.verdict.map_or(Status::Done, |(verdict, _)| verdict.status()))
}

/// Makes the keys of two runs differ.
fn nanos_now() -> u32 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos())
}

fn report(console: &Console, load: &Load, measured: &Measured) -> Result<(), Error> {
    let millis = |share| measured.latencies.percentile(share).as_secs_f64() * 1e3;
    let count = |number: u64| grouped(usize::try_from(number).unwrap_or(usize::MAX));
    console.line(format_args!(
        "{} commands/s: {} answered in {:.2} s with {} outstanding, {:.0} % reads, {} keys, {}-byte values, seed {}",
        console.paint(Tone::Strong, &format!("{:.0}", measured.per_second())),
        count(measured.answered),
        measured.took.as_secs_f64(),
        load.outstanding,
        load.reads * 100.0,
        load.keys,
        load.value_bytes,
        load.seed
    ))?;
    console.line(format_args!(
        "latency ms: p50 {:.3}  p99 {:.3}  p999 {:.3}  max {:.3}; {} without an answer",
        millis(0.5),
        millis(0.99),
        millis(0.999),
        millis(1.0),
        count(measured.unknown)
    ))?;
    let Some((verdict, took)) = &measured.verdict else { return Ok(()) };
    let took = took.as_secs_f64();
    match verdict {
        HistoryVerdict::Right => {
            let total = count(measured.history.len() as u64);
            let text = format!("{}: {total} operations checked in {took:.2} s", promised(load));
            console.line(console.paint(Tone::Good, &text))
        }
        HistoryVerdict::Wrong(why) => {
            console.line(console.paint(Tone::Bad, &format!("not {}", promised(load))))?;
            console.line(why)
        }
        HistoryVerdict::Inconclusive(why) => {
            console.line(console.paint(Tone::Open, &format!("inconclusive: {why}")))
        }
    }
}

/// What a load's reads promise, in words.
fn promised(load: &Load) -> &'static str {
    match load.consistency {
        Some(Reads::Sequential) => "sequentially consistent",
        Some(Reads::Eventual) => "eventually consistent",
        _ => "linearizable",
    }
}

fn as_json_line(load: &Load, measured: &Measured) -> serde_json::Value {
    let micros = |share| measured.latencies.percentile(share).as_secs_f64() * 1e6;
    let verdict = measured.verdict.as_ref().map(|(verdict, took)| {
        let (name, why) = match verdict {
            HistoryVerdict::Right => (promised(load).to_owned(), None),
            HistoryVerdict::Wrong(why) => (format!("not {}", promised(load)), Some(why)),
            HistoryVerdict::Inconclusive(why) => ("inconclusive".to_owned(), Some(why)),
        };
        json!({ "verdict": name, "why": why, "seconds": took.as_secs_f64() })
    });
    json!({
        "schema": "parthood.bench/1", "commands_per_second": measured.per_second(), "answered": measured.answered,
        "unknown": measured.unknown, "seconds": measured.took.as_secs_f64(), "outstanding": load.outstanding,
        "reads": load.reads, "keys": load.keys, "skew": load.skew, "value_bytes": load.value_bytes,
        "seed": load.seed, "p50_us": micros(0.5), "p99_us": micros(0.99), "p999_us": micros(0.999),
        "max_us": micros(1.0), "check": verdict,
    })
}
