//! `parthood reconfigure`

use super::{Console, cluster};
use crate::cli::ReconfigureArgs;
use crate::deploy::{self, Cluster};
use crate::error::{Error, Status};
use parthood_protocols::operator::{Progress, Refusal, Wanted};
use serde_json::json;
use std::time::{Duration, Instant};

/// What is asked for, of one role.
struct Request<'a> {
    /// The role, in the plural.
    roles: &'static str,
    names: &'a [String],
    wanted: Wanted,
}

pub(super) fn run(args: &ReconfigureArgs) -> Result<Status, Error> {
    let cluster = cluster(args.config.as_deref())?;
    for request in requests(args, &cluster)? {
        let status = ask(args, &cluster, &request, args.timeout)?;
        if status != Status::Done {
            return Ok(status);
        }
    }
    Ok(Status::Done)
}

/// What was named; or else what the cluster file names, matchmakers first as its leader does.
fn requests<'a>(args: &'a ReconfigureArgs, cluster: &'a Cluster) -> Result<Vec<Request<'a>>, Error> {
    let named = !args.acceptors.is_empty() || !args.matchmakers.is_empty();
    let (acceptors, matchmakers, unanimous) = match &cluster.changed {
        _ if named => (&args.acceptors, &args.matchmakers, args.unanimous_writes),
        Some(changed) => (&changed.acceptors, &changed.matchmakers, changed.unanimous_writes),
        None => {
            let what = "name --acceptors or --matchmakers; the cluster file has no [reconfiguration] that says which";
            return Err(Error::Usage(what.into()));
        }
    };
    let mut requests = vec![];
    if !matchmakers.is_empty() {
        let wanted = deploy::matchmakers(cluster, matchmakers)?;
        requests.push(Request { roles: "matchmakers", names: matchmakers, wanted });
    }
    if !acceptors.is_empty() {
        let wanted = deploy::acceptors(cluster, acceptors, unanimous)?;
        requests.push(Request { roles: "acceptors", names: acceptors, wanted });
    }
    Ok(requests)
}

/// Asks for it and tells how far it is, until the old ones may be shut down.
fn ask(
    args: &ReconfigureArgs,
    cluster: &Cluster,
    request: &Request<'_>,
    timeout: Duration,
) -> Result<Status, Error> {
    let console = Console::new();
    let started = Instant::now();
    let mut written = Ok(());
    let furthest = deploy::reconfigure(cluster, &request.wanted, timeout, |progress| {
        if written.is_ok() {
            written = tell(&console, args, request, progress, started.elapsed());
        }
    })?;
    written?;
    Ok(match furthest {
        Some(Progress::Retired(_)) => Status::Done,
        Some(Progress::Refused(Refusal::SilentAcceptor(number))) => {
            let name = deploy::node_name(cluster, "acceptor", number);
            eprintln!(
                "parthood: {name} does not answer, and nothing was changed: start it and ask again, or name another"
            );
            Status::Violated
        }
        Some(Progress::Refused(Refusal::Silent(number))) => {
            let name = deploy::node_name(cluster, "matchmaker", number);
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
                "parthood: number {number} has come between, as somebody asked for others or a new leader ended what was begun: shut nobody down, and ask again if these are still wanted"
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
            eprintln!(
                "parthood: not active within {timeout:?}, and given up unless it has begun: ask again with the same command"
            );
            Status::Inconclusive
        }
        Some(Progress::Elsewhere(_) | Progress::Behind(_)) | None => {
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
    request: &Request<'_>,
    progress: &Progress,
    after: Duration,
) -> Result<(), Error> {
    let names = request.names.join(", ");
    let (stage, number) = match progress {
        Progress::Active(number) => ("active", *number),
        Progress::Retired(number) => ("retired", *number),
        Progress::Elsewhere(_)
        | Progress::Behind(_)
        | Progress::Waiting
        | Progress::Refused(_)
        | Progress::Superseded(_) => return Ok(()),
    };
    let role = request.roles.trim_end_matches('s');
    let text = match (progress, &request.wanted) {
        (Progress::Retired(_), _) => format!("retired: every {role} other than {names} may be shut down"),
        (_, Wanted::Acceptors(_)) => {
            format!(
                "active: new commands go to {names} (configuration {number}); keep the old acceptors running"
            )
        }
        (_, Wanted::Matchmakers(_)) => {
            format!("active: {names} serve (epoch {number}); keep the old matchmakers running")
        }
    };
    if args.output.json {
        let ms = after.as_secs_f64() * 1e3;
        let schema = "parthood.reconfigure/1";
        return console.json(&json!({
            "schema": schema, "stage": stage, "configuration": number, request.roles: request.names, "after_ms": ms,
        }));
    }
    console.line(text)
}
