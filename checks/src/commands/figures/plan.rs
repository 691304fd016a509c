//! `parthood figures plan`

use crate::cli::PlanArgs;
use crate::commands::{Console, Tone};
use crate::error::{Error, Status};
use crate::figures::{self, Costs, Target};
use serde_json::json;

/// More is not simulated in reasonable time.
const TARGET_MAX: f64 = 1e7;
const F_MAX: usize = 8;
const VALUE_MAX: usize = 1 << 16;

pub(super) fn run(args: &PlanArgs) -> Result<Status, Error> {
    let costs = Costs::default();
    let target = target(args)?;
    let parts = figures::plan(&target, &costs)?;
    let machines = parts.layout().nodes();
    let measured = parts.run(&target, costs)?;
    let keeps_up = measured.per_second >= target.per_second;
    let console = Console::new();
    let roles = || parts.counts().map(|(role, count)| (role, count, parts.busy(role, &target, &costs)));
    if args.output.json {
        let roles: Vec<_> = roles()
            .map(|(role, count, busy)| json!({ "role": role.title(), "count": count, "busy": busy }))
            .collect();
        console.json(&json!({
            "schema": "parthood.plan/1", "target": target.per_second, "reads": target.reads, "f": target.f,
            "machines": machines, "batch": parts.batching.commands, "acceptors": parts.shape.to_string(), "roles": roles,
            "simulated": { "commands_per_second": measured.per_second, "binding": measured.binding,
                "utilization": measured.utilization },
        }))?;
    } else {
        let batches = match parts.batching.commands {
            1 => "no batches".into(),
            commands => format!("batches of {commands}"),
        };
        let head = format!("{machines} machines, {batches}, {}", parts.shape);
        console.line(console.paint(Tone::Strong, &head))?;
        for (role, count, busy) in roles() {
            let busy = busy * 100.0;
            console.line(format_args!("  {count:>3} x {:<14} {busy:>5.1} % busy", role.title()))?;
        }
        console.line(format_args!(
            "simulated, as fast as it goes: {:.1} k/s, {} {:.0} % busy",
            measured.per_second / 1e3,
            measured.binding,
            measured.utilization * 100.0
        ))?;
    }
    Ok(if keeps_up { Status::Done } else { Status::Violated })
}

fn target(args: &PlanArgs) -> Result<Target, Error> {
    let usage = |what: String| Err(Error::Usage(what));
    if !(1.0..=TARGET_MAX).contains(&args.target) {
        return usage(format!(
            "--target {}: from 1 to {TARGET_MAX} commands per second can be planned for",
            args.target
        ));
    }
    if !(0.0..=1.0).contains(&args.reads) {
        return usage(format!("--reads {}: a share is from 0 to 1", args.reads));
    }
    if !(args.busy > 0.0 && args.busy <= 1.0) {
        return usage(format!("--busy {}: a share of a node's time is above 0 and at most 1", args.busy));
    }
    if args.f > F_MAX {
        return usage(format!("--f {}: at most {F_MAX} failures can be planned for", args.f));
    }
    if args.value_bytes > VALUE_MAX {
        return usage(format!("--value-bytes {}: at most {VALUE_MAX}", args.value_bytes));
    }
    let PlanArgs { target: per_second, reads, value_bytes, f, busy, consistency, .. } = *args;
    let consistency = consistency.consistency();
    Ok(Target { per_second, reads, consistency, value_bytes, f, busy })
}
