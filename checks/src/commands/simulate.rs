//! `parthood simulate`

use super::{Console, Tone, grouped};
use crate::cli::SimulateArgs;
use crate::error::{Error, Status};
use crate::simulate::{self, Outcome, Storm};
use serde_json::json;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) fn run(args: &SimulateArgs) -> Result<Status, Error> {
    let defaults = Storm::default();
    let calm = |value: Option<u32>, default: u32| value.unwrap_or(if args.calm { 0 } else { default });
    let share = |value: Option<f64>, default: f64| value.unwrap_or(if args.calm { 0.0 } else { default });
    let storm = Storm {
        protocol: args.protocol.clone(),
        servers: args.servers,
        clients: args.clients,
        commands: args.commands,
        seconds: args.seconds,
        loss: share(args.loss, defaults.loss),
        duplication: share(args.duplication, defaults.duplication),
        crashes: calm(args.crashes, defaults.crashes),
        pauses: calm(args.pauses, defaults.pauses),
        cuts: calm(args.cuts, defaults.cuts),
    };
    if args.trace.is_some() && args.seeds != 1 {
        return Err(Error::Usage("--trace records one seed: leave out --seeds".into()));
    }
    let console = Console::new();
    let outcomes = all(args, &storm, &console)?;
    let failures = outcomes.iter().filter(|outcome| outcome.failure.is_some()).count();
    if !args.output.json {
        let answered: usize = outcomes.iter().map(|outcome| outcome.answered).sum();
        let (count, answered) = (outcomes.len(), grouped(answered));
        let summary = match failures {
            0 => format!(
                "{count} of {count} runs are right: {answered} commands answered, all properties hold, linearizable, replicas equal"
            ),
            _ => format!("{failures} of {count} runs went wrong"),
        };
        console.line(console.paint(if failures == 0 { Tone::Good } else { Tone::Bad }, &summary))?;
    }
    Ok(if failures == 0 { Status::Done } else { Status::Violated })
}

/// Runs all seeds on all cores, and tells of each as it ends.
fn all(args: &SimulateArgs, storm: &Storm, console: &Console) -> Result<Vec<Outcome>, Error> {
    let next = AtomicU64::new(0);
    let outcomes = Mutex::new(Vec::new());
    let error = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= args.seeds {
                        break;
                    }
                    let seed = args.seed.wrapping_add(number);
                    let done = simulate::run(storm, seed, args.trace.as_deref())
                        .and_then(|outcome| tell(console, args, &outcome).map(|()| outcome));
                    match done {
                        Ok(outcome) => outcomes.lock().expect("no worker panics here").push(outcome),
                        Err(failed) => {
                            error.lock().expect("no worker panics here").get_or_insert(failed);
                            next.store(args.seeds, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    match error.into_inner().expect("no worker panics here") {
        Some(error) => Err(error),
        None => Ok(outcomes.into_inner().expect("no worker panics here")),
    }
}

fn tell(console: &Console, args: &SimulateArgs, outcome: &Outcome) -> Result<(), Error> {
    let Outcome { seed, failure, answered, virtual_time, events, messages, lost, crashes } = outcome;
    if args.output.json {
        return console.json(&json!({
            "schema": "parthood.simulation/1", "protocol": args.protocol, "seed": seed, "right": failure.is_none(),
            "failure": failure, "answered": answered, "virtual_seconds": virtual_time.as_secs_f64(),
            "events": events, "messages": messages, "lost": lost, "crashes": crashes,
        }));
    }
    let verdict = match failure {
        None => console.paint(Tone::Good, "right"),
        Some(why) => console.paint(Tone::Bad, why),
    };
    console.line(format_args!(
        "seed {seed}: {answered} commands in {:.1} virtual s, {} messages, {} lost, {crashes} crashes: {verdict}",
        virtual_time.as_secs_f64(),
        grouped(usize::try_from(*messages).unwrap_or(usize::MAX)),
        grouped(usize::try_from(*lost).unwrap_or(usize::MAX)),
    ))?;
    if failure.is_some() {
        console.line(format_args!("  replay: {}", replay_line(args, *seed)))?;
    }
    Ok(())
}

/// The command that runs this seed again and records it.
fn replay_line(args: &SimulateArgs, seed: u64) -> String {
    let mut line = format!(
        "parthood simulate {} --seed {seed} --servers {} --clients {} --commands {} --seconds {} --trace failure.ndjson",
        args.protocol, args.servers, args.clients, args.commands, args.seconds
    );
    if args.calm {
        line.push_str(" --calm");
    }
    let counts = [("crashes", args.crashes), ("pauses", args.pauses), ("cuts", args.cuts)];
    for (name, count) in counts {
        line.extend(count.map(|count| format!(" --{name} {count}")));
    }
    for (name, share) in [("loss", args.loss), ("duplication", args.duplication)] {
        line.extend(share.map(|share| format!(" --{name} {share}")));
    }
    line
}
