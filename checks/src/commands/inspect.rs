//! `parthood trace inspect`

use super::{Console, Tone, grouped};
use crate::deploy::cluster_of_home;
use crate::error::{Error, Status};
use parthood_runtime::storage::{Ending, FileKind, FileReport, Inspection, Lock, Saved, inspect};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

pub(super) fn run(folders: &[PathBuf], as_lines: bool) -> Result<Status, Error> {
    let console = Console::new();
    let mut is_damaged = false;
    for folder in folders {
        for home in homes(folder)? {
            let found = inspect(&home)?;
            is_damaged |= found.is_damaged();
            let names = names(&home);
            if as_lines {
                console.json(&as_json(&home, &found, &names))?;
            } else {
                report(&console, &home, &found, &names)?;
            }
        }
    }
    Ok(if is_damaged { Status::Violated } else { Status::Done })
}

/// The folder itself if a process saves there; else those in it where one does.
fn homes(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let list = |folder: &Path| -> Result<Vec<PathBuf>, Error> {
        let entries = fs::read_dir(folder).map_err(Error::file("list", folder))?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
        paths.map_err(Error::file("list", folder))
    };
    let is_home = |folder: &Path| -> Result<bool, Error> {
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name == "LOCK" || name.starts_with("log-") || name.starts_with("snapshot-")
        };
        Ok(list(folder)?.iter().any(is_ours))
    };
    if is_home(folder)? {
        return Ok(vec![folder.to_owned()]);
    }
    let mut homes = Vec::new();
    for path in list(folder)? {
        if path.is_dir() && is_home(&path)? {
            homes.push(path);
        }
    }
    homes.sort();
    if homes.is_empty() {
        let folder = folder.display();
        return Err(Error::Environment(format!(
            "{folder} holds no log, and no folder in it does: name a data directory"
        )));
    }
    Ok(homes)
}

/// What nodes are called, by index, if the copy of the cluster file beside the folder says so.
fn names(home: &Path) -> Vec<String> {
    cluster_of_home(home)
        .map_or_else(Vec::new, |cluster| cluster.members.into_iter().map(|member| member.name).collect())
}

fn name(names: &[String], actor: u64) -> String {
    let name = usize::try_from(actor).ok().and_then(|actor| names.get(actor));
    name.cloned().unwrap_or_else(|| format!("node {actor}"))
}

fn count(number: u64) -> String {
    grouped(usize::try_from(number).unwrap_or(usize::MAX))
}

fn in_use(lock: Lock) -> &'static str {
    match lock {
        Lock::Free => "no process uses it",
        Lock::Held => "a process is at work in it",
        Lock::Missing => "no process has used it",
        Lock::Unknown => "whether a process uses it cannot be told",
    }
}

fn kind(file: &FileReport) -> &'static str {
    match file.kind {
        FileKind::Snapshot => "snapshot",
        FileKind::Segment => "segment",
    }
}

fn report(console: &Console, home: &Path, found: &Inspection, names: &[String]) -> Result<(), Error> {
    console.line(format_args!("{}: {}", home.display(), in_use(found.lock)))?;
    for file in &found.files {
        let FileReport { path, bytes, groups, records, is_replaced, ending, .. } = file;
        let path = path.file_name().unwrap_or_default().to_string_lossy();
        let replaced = if *is_replaced { ", replaced by a newer snapshot" } else { "" };
        let (kind, bytes, groups, records) = (kind(file), count(*bytes), count(*groups), count(*records));
        console.line(format_args!(
            "  {kind} {path}: {bytes} bytes, {groups} groups, {records} records{replaced}"
        ))?;
        match ending {
            Ending::Whole => {}
            Ending::Interrupted { offset, bytes } => console.line(console.paint(
                Tone::Open,
                &format!("    ends with {bytes} bytes of an interrupted write at offset {offset}, which a start cuts off"),
            ))?,
            Ending::Damaged { offset, what } => {
                console.line(console.paint(Tone::Bad, &format!("    damaged at offset {offset}: {what}")))?;
            }
        }
    }
    for (actor, Saved { records, bytes, largest, last_group }) in &found.saved {
        let (records, bytes, largest) = (count(*records), count(*bytes), count(*largest));
        console.line(format_args!(
            "  {}: {records} records, {bytes} bytes, the largest {largest}, the last in group {last_group}",
            name(names, *actor)
        ))?;
    }
    for path in &found.unfinished {
        console.line(format_args!("  {}: never finished, which a start deletes", path.display()))?;
    }
    for path in &found.foreign {
        let text = format!("  {}: no file of a data directory, which a start refuses", path.display());
        console.line(console.paint(Tone::Bad, &text))?;
    }
    Ok(())
}

fn as_json(home: &Path, found: &Inspection, names: &[String]) -> Value {
    let files = found.files.iter().map(|file| {
        let (ending, offset, what) = match &file.ending {
            Ending::Whole => ("whole", None, None),
            Ending::Interrupted { offset, .. } => ("interrupted", Some(*offset), None),
            Ending::Damaged { offset, what } => ("damaged", Some(*offset), Some(what)),
        };
        json!({
            "path": file.path, "kind": kind(file), "bytes": file.bytes, "groups": file.groups,
            "records": file.records, "replaced": file.is_replaced, "ending": ending, "offset": offset, "what": what,
            "cluster": file.cluster.map(|cluster| format!("{cluster:016x}")),
        })
    });
    let saved = found.saved.iter().map(|(actor, saved)| {
        json!({
            "node": name(names, *actor), "records": saved.records, "bytes": saved.bytes,
            "largest": saved.largest, "last_group": saved.last_group,
        })
    });
    let lock = match found.lock {
        Lock::Free => "free",
        Lock::Held => "held",
        Lock::Missing => "missing",
        Lock::Unknown => "unknown",
    };
    json!({
        "schema": "parthood.inspection/1", "folder": home, "lock": lock, "damaged": found.is_damaged(),
        "files": files.collect::<Vec<_>>(), "saved": saved.collect::<Vec<_>>(), "life": found.life,
        "unfinished": found.unfinished, "foreign": found.foreign,
    })
}
