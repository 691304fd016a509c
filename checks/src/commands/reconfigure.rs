//! `parthood reconfigure`

use super::Console;
use crate::cli::ReconfigureArgs;
use crate::deploy::{self, Cluster, DEFAULT_CLUSTER_FILE};
use crate::error::{Error, Status};
use parthood_protocols::matchmaker_multipaxos::{Progress, Refusal};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) fn run(args: &ReconfigureArgs) -> Result<Status, Error> {
    let file = args.config.as_deref().unwrap_or(Path::new(DEFAULT_CLUSTER_FILE));
    let cluster = Cluster::load(file)?;
    let wanted = if args.matchmakers.is_empty() {
        deploy::acceptors(&cluster, &args.acceptors, args.unanimous_writes)?
    } else {
        deploy::matchmakers(&cluster, &args.matchmakers)?
    };
    let timeout = Duration::from_secs_f64(args.timeout.clamp(0.001, 3600.0));
    let console = Console::new();
    let started = Instant::now();
    let mut written = Ok(());
    let furthest = deploy::reconfigure(&cluster, &wanted, timeout, |progress| {
        if written.is_ok() {
            written = tell(&console, args, progress, started.elapsed());
        }
    })?;
    written?;
    Ok(match furthest {
        Some(Progress::Retired(_)) => Status::Done,
        Some(Progress::Refused(Refusal::Silent(number))) => {
            let name = deploy::matchmaker_name(&cluster, number);
            eprintln!(
                "parthood: {name} did not answer, and another matchmaker serves in its place: start it and ask again, or name another"
            );
            Status::Violated
        }
        Some(Progress::Refused(why)) => {
            eprintln!("parthood: refused: {why}");
            Status::Violated
        }
        Some(Progress::Superseded(number)) => {
            eprintln!(
                "parthood: somebody has asked for others since, number {number}: shut nobody down before that is retired"
            );
            Status::Violated
        }
        Some(Progress::Active(_)) => {
            eprintln!(
                "parthood: the old ones are still needed after {timeout:?}: do not shut them down; ask again with the same command"
            );
            Status::Inconclusive
        }
        Some(Progress::Waiting) => {
            eprintln!("parthood: not active within {timeout:?}: ask again with the same command");
            Status::Inconclusive
        }
        Some(Progress::Elsewhere(_)) | None => {
            eprintln!(
                "parthood: no leader answered within {timeout:?}: is a majority of the servers and matchmakers running?"
            );
            Status::Inconclusive
        }
    })
}

fn tell(
    console: &Console,
    args: &ReconfigureArgs,
    progress: &Progress,
    after: Duration,
) -> Result<(), Error> {
    let (key, nodes) = if args.matchmakers.is_empty() {
        ("acceptors", &args.acceptors)
    } else {
        ("matchmakers", &args.matchmakers)
    };
    let names = nodes.join(", ");
    let (stage, number) = match progress {
        Progress::Active(number) => ("active", *number),
        Progress::Retired(number) => ("retired", *number),
        Progress::Waiting | Progress::Elsewhere(_) | Progress::Refused(_) | Progress::Superseded(_) => {
            return Ok(());
        }
    };
    let role = key.trim_end_matches('s');
    let text = match (progress, key) {
        (Progress::Retired(_), _) => format!("retired: every {role} other than {names} may be shut down"),
        (_, "acceptors") => {
            format!(
                "active: new commands go to {names} (configuration {number}); keep the old acceptors running"
            )
        }
        _ => format!("active: {names} serve (epoch {number}); keep the old matchmakers running"),
    };
    if args.output.json {
        let ms = after.as_secs_f64() * 1e3;
        let schema = "parthood.reconfigure/1";
        return console.json(&json!({
            "schema": schema, "stage": stage, "configuration": number, key: nodes, "after_ms": ms,
        }));
    }
    console.line(text)
}
