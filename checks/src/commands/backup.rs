//! `parthood backup` and `parthood restore`

use super::{Console, cluster, grouped};
use crate::cli::{Output, values};
use crate::deploy::{self, Backed, BackupOptions, RestoreOptions};
use crate::error::{Error, Status};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `backup`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        parthood backup monday.backup\n  \
        parthood backup --config c.toml monday.backup --json\n\n\
        The file holds one state of the store, with all that was acknowledged before the backup began; nodes go on meanwhile.\n\
        It gets its name when it is whole. A key that begins with `parthood.backup.` is there for a moment, and in no backup.\n\
        The file is not encrypted: whoever can read it can read the store.")]
pub struct BackupArgs {
    /// The file; one of this name is replaced.
    pub file: PathBuf,
    /// The cluster file [default: cluster/cluster.toml].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Take what the furthest replica that answers has executed. It may lack what was acknowledged, but needs no quorum.
    #[arg(long)]
    pub stale: bool,
    /// How many seconds to wait for any one answer.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    pub timeout: Duration,
    /// How results are written.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        parthood restore monday.backup --check      what it is a backup of, and whether it is whole\n  \
        parthood restore --config new.toml monday.backup\n\n\
        The cluster must be running and empty, and nobody else should write. A restore that was interrupted is asked for again,\n\
        and goes on. At its end the contents of the cluster are compared with those of the file. Status 1: the cluster holds\n\
        something else, or differs at the end.")]
pub struct RestoreArgs {
    /// The file.
    pub file: PathBuf,
    /// The cluster file [default: cluster/cluster.toml].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read the file only.
    #[arg(long, conflicts_with_all = ["config", "force"])]
    pub check: bool,
    /// Replace what the cluster holds: what is not in the file is removed.
    #[arg(long)]
    pub force: bool,
    /// How many seconds to wait for any one answer.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    pub timeout: Duration,
    /// How results are written.
    #[command(flatten)]
    pub output: Output,
}

pub(super) fn backup(args: &BackupArgs) -> Result<Status, Error> {
    let options = BackupOptions { stale: args.stale, timeout: args.timeout };
    let backed = deploy::backup(&cluster(args.config.as_deref())?, &args.file, options)?;
    tell("wrote", &args.file, &backed, args.output.json, &json!({}))?;
    Ok(Status::Done)
}

pub(super) fn restore(args: &RestoreArgs) -> Result<Status, Error> {
    if args.check {
        let backed = deploy::check_backup(&args.file)?;
        tell("whole:", &args.file, &backed, args.output.json, &json!({}))?;
        return Ok(Status::Done);
    }
    let options = RestoreOptions { force: args.force, timeout: args.timeout };
    let restored = deploy::restore(&cluster(args.config.as_deref())?, &args.file, options)?;
    let counts = json!({ "put": restored.put, "kept": restored.kept, "removed": restored.removed });
    tell("restored", &args.file, &restored.backed, args.output.json, &counts)?;
    Ok(Status::Done)
}

/// Says what a backup holds.
fn tell(what: &str, file: &Path, backed: &Backed, as_json: bool, more: &Value) -> Result<(), Error> {
    let console = Console::new();
    let Backed { header, keys, bytes, contents } = backed;
    if as_json {
        let mut line = json!({
            "schema": "parthood.backed/1", "file": file, "keys": keys, "bytes": bytes, "contents": contents.to_hex().as_str(),
            "backup": header,
        });
        if let (Some(line), Some(more)) = (line.as_object_mut(), more.as_object()) {
            line.extend(more.clone());
        }
        return console.json(&line);
    }
    let count = |number: &u64| grouped(usize::try_from(*number).unwrap_or(usize::MAX));
    let complete =
        if header.complete { "complete when it began" } else { "of one replica, perhaps not complete" };
    console.line(format_args!(
        "{what} {}: {} keys, {} bytes; {} of {} after {} executed, {complete}",
        file.display(),
        count(keys),
        count(bytes),
        header.node,
        header.protocol,
        count(&header.executed),
    ))?;
    for (name, of) in [("put", "put"), ("kept", "already there"), ("removed", "removed")] {
        if let Some(number) = more[name].as_u64().filter(|number| *number > 0) {
            console.line(format_args!("{} {of}", count(&number)))?;
        }
    }
    console.line(format_args!("contents {}", contents.to_hex()))
}
