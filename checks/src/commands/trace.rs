//! `parthood trace`

use super::{Console, Tone, grouped};
use crate::cli::{TraceArgs, TraceVerb};
use crate::error::{Error, Status};
use crate::files;
use crate::retrace::{self, Properties, Replayed};
use parthood_runtime::trace::Ending;
use serde_json::json;

pub(super) fn run(args: &TraceArgs) -> Result<Status, Error> {
    match &args.verb {
        TraceVerb::Inspect { folders, output } => super::inspect::run(folders, output.json),
        TraceVerb::Check { files, output } => {
            let replayed = retrace::check(files)?;
            let console = Console::new();
            if output.json {
                console.json(&as_json(&replayed))?;
            } else {
                report(&console, &replayed)?;
            }
            Ok(if replayed.finding.is_none() { Status::Done } else { Status::Violated })
        }
        TraceVerb::Draw { files, from, steps, svg } => {
            let diagram = retrace::picture(files, &(*from..from.saturating_add(*steps)))?;
            files::write(svg, diagram.to_svg())?;
            let drawn = diagram.events.len();
            Console::new()
                .line(format_args!("wrote {}: {drawn} events from step {from} on", svg.display()))?;
            Ok(Status::Done)
        }
    }
}

fn report(console: &Console, replayed: &Replayed) -> Result<(), Error> {
    let count = |number: u64| grouped(usize::try_from(number).unwrap_or(usize::MAX));
    let messages = &replayed.messages;
    console.line(format_args!(
        "{}: {} steps replayed, {} starts; {} messages sent, {} delivered, {} of them again, {} from outside",
        replayed.protocol,
        count(replayed.steps),
        count(replayed.starts),
        count(messages.sent),
        count(messages.delivered),
        count(messages.duplicates),
        count(messages.unrecorded + messages.injected),
    ))?;
    for (file, ending) in &replayed.endings {
        let how = match ending {
            Some(Ending::Complete) | None => continue,
            Some(Ending::Missing) => "ends without an end line: its process was killed".to_owned(),
            Some(Ending::Torn { line, bytes }) => {
                format!("was cut in line {line}, {bytes} bytes of which are dropped")
            }
        };
        console.line(format_args!("{} {how}", file.display()))?;
    }
    if let Some(finding) = &replayed.finding {
        return console.line(console.paint(Tone::Bad, finding));
    }
    let properties = match &replayed.properties {
        Properties::Evaluated { times } => {
            format!("the model's properties hold, evaluated {} times", count(*times))
        }
        Properties::Unseen { node } => {
            format!("the model's properties were not evaluated, for no trace of node {node} is given")
        }
    };
    let compared = format!(
        "clean: every actor asks for what it asked for, no promise is forgotten; replicas compared {} times",
        count(replayed.comparisons)
    );
    console.line(console.paint(Tone::Good, &compared))?;
    console.line(properties)
}

fn as_json(replayed: &Replayed) -> serde_json::Value {
    let endings: Vec<_> = replayed
        .endings
        .iter()
        .map(|(file, ending)| json!({ "file": file, "complete": *ending == Some(Ending::Complete) }))
        .collect();
    let (evaluated, unseen) = match &replayed.properties {
        Properties::Evaluated { times } => (*times, None),
        Properties::Unseen { node } => (0, Some(node)),
    };
    json!({
        "properties_evaluated": evaluated, "unseen": unseen,
        "schema": "parthood.replay/1", "protocol": replayed.protocol, "clean": replayed.finding.is_none(),
        "finding": replayed.finding, "steps": replayed.steps, "starts": replayed.starts,
        "sent": replayed.messages.sent, "delivered": replayed.messages.delivered,
        "duplicates": replayed.messages.duplicates, "traces": endings, "comparisons": replayed.comparisons,
    })
}
