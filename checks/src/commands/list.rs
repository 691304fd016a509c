//! `parthood list`

use super::{Console, Tone, grouped};
use crate::cli::ListArgs;
use crate::error::{Error, Status};
use crate::registry::{self, PROTOCOLS, Protocol};
use crate::verdicts::Verdicts;
use serde_json::json;

pub(super) fn run(args: &ListArgs) -> Result<Status, Error> {
    let console = Console::new();
    match &args.protocol {
        None if args.output.json => PROTOCOLS.iter().try_for_each(|protocol| {
            let rows = protocol.rows()?;
            console.json(&json!({
                "schema": "parthood.protocol/1", "protocol": protocol.name, "title": protocol.title,
                "paper": protocol.paper, "rows": rows.len(),
                "mutants": rows.iter().filter(|row| row.mutant.is_some()).count(),
            }))
        })?,
        None => all(&console)?,
        Some(name) => one(&console, registry::find(name)?, args.output.json)?,
    }
    Ok(Status::Done)
}

fn all(console: &Console) -> Result<(), Error> {
    let verdicts = Verdicts::load();
    let width = PROTOCOLS.iter().map(|protocol| protocol.name.len()).max().unwrap_or(0);
    for protocol in PROTOCOLS {
        let rows = protocol.rows()?;
        let mutants = rows.iter().filter(|row| row.mutant.is_some()).count();
        let known =
            rows.iter().filter(|row| verdicts.of(row).is_some_and(|verdict| verdict.as_expected)).count();
        let name = console.paint(Tone::Strong, &format!("{:width$}", protocol.name));
        console.line(format_args!(
            "{name}  {}\n{:width$}  {} claims, {mutants} broken on purpose; {known} of {} last seen as expected",
            protocol.title,
            "",
            rows.len() - mutants,
            rows.len()
        ))?;
    }
    console.line(format_args!("\nparthood list PROTOCOL prints its layers and claims."))
}

fn one(console: &Console, protocol: &Protocol, as_json: bool) -> Result<(), Error> {
    let verdicts = Verdicts::load();
    let rows = protocol.rows()?;
    if as_json {
        return rows.iter().try_for_each(|row| {
            let verdict = verdicts.of(row);
            console.json(&json!({
                "schema": "parthood.row/1", "protocol": row.protocol, "row": row.name, "claim": row.claim,
                "source": row.source, "bounds": row.bounds, "world": row.world(), "tier": row.tier,
                "mutant": row.mutant, "expect": row.expect.to_string(), "unique_states": row.unique_states,
                "walked_states": row.walks.map(|walks| walks.states),
                "depth": row.depth, "last_verdict": verdict.map(|verdict| &verdict.verdict),
                "last_as_expected": verdict.map(|verdict| verdict.as_expected),
            }))
        });
    }
    console.line(format_args!("{}: {}", console.paint(Tone::Strong, protocol.name), protocol.title))?;
    console.line(format_args!("{}\n", protocol.paper))?;
    for (what, path) in protocol.layers() {
        console.line(format_args!("  {what:24} {path}"))?;
    }
    for row in &rows {
        let last = match verdicts.of(row) {
            None => console.paint(Tone::Faint, "not checked here yet"),
            Some(verdict) if verdict.as_expected => console.paint(Tone::Good, &verdict.verdict),
            Some(verdict) => console.paint(Tone::Bad, &verdict.verdict),
        };
        let mutant = row.mutant.as_ref().map_or_else(String::new, |mutant| format!(" [mutant {mutant}]"));
        console.line(format_args!(
            "\n{}{mutant}, {}: {last}",
            console.paint(Tone::Strong, &row.name),
            row.tier
        ))?;
        console.line(format_args!("  {} ({})", row.claim, row.source))?;
        console.line(format_args!("  {}; {}", row.bounds, row.world()))?;
        let states = grouped(usize::try_from(row.states()).unwrap_or(usize::MAX));
        console.line(format_args!("  expected: {}; {states} states, depth {}", row.expect, row.depth))?;
    }
    Ok(())
}
