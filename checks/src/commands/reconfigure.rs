//! `parthood reconfigure`

use super::Console;
use crate::cli::ReconfigureArgs;
use crate::deploy::{self, Cluster, DEFAULT_CLUSTER_FILE};
use crate::error::{Error, Status};
use parthood_protocols::matchmaker_multipaxos::Progress;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) fn run(args: &ReconfigureArgs) -> Result<Status, Error> {
    let file = args.config.as_deref().unwrap_or(Path::new(DEFAULT_CLUSTER_FILE));
    let cluster = Cluster::load(file)?;
    let wanted = deploy::configuration(&cluster, &args.acceptors, args.unanimous_writes)?;
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
        Some(Progress::Refused(why)) => {
            eprintln!("parthood: refused: {why}");
            Status::Violated
        }
        Some(Progress::Active(_)) => {
            eprintln!(
                "parthood: the old acceptors are still needed after {timeout:?}: do not shut them down; ask again with the same command"
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
    let names = args.acceptors.join(", ");
    let (stage, version, text) = match progress {
        Progress::Active(version) => (
            "active",
            *version,
            format!(
                "active: new commands go to {names} (configuration {version}); keep the old acceptors running"
            ),
        ),
        Progress::Retired(version) => {
            ("retired", *version, format!("retired: every acceptor other than {names} may be shut down"))
        }
        Progress::Waiting | Progress::Elsewhere(_) | Progress::Refused(_) => return Ok(()),
    };
    if args.output.json {
        let ms = after.as_secs_f64() * 1e3;
        let schema = "parthood.reconfigure/1";
        return console.json(&json!({
            "schema": schema, "stage": stage, "configuration": version, "acceptors": args.acceptors, "after_ms": ms,
        }));
    }
    console.line(text)
}
