//! Cluster files that change between two starts of a node.
//!
//! What a node has saved is of use only to the same node. So each process keeps a copy of the cluster file that it was last
//! started with beside its folder, and is not started with one under which somebody would be somebody else.

use super::{Cluster, Deployable};
use crate::error::Error;
use std::path::{Path, PathBuf};

/// The copy of the cluster file with which the process of this name was last started.
fn copy(data: &Path, name: &str) -> PathBuf {
    data.join(format!("{name}.toml"))
}

/// Refuses a cluster file under which these nodes would not be those that have saved here.
///
/// # Errors
/// Which node would be another one, and what to do; or when the copy of the last file cannot be read.
pub(super) fn check<D: Deployable>(
    cluster: &Cluster,
    nodes: &[usize],
    data: &Path,
    name: &str,
) -> Result<(), Error> {
    let file = copy(data, name);
    if !file.exists() {
        return nobody_moved_house(cluster, nodes, data, name);
    }
    let text = std::fs::read_to_string(&file).map_err(Error::file("read", &file))?;
    D::may_follow(&Cluster::read(&file, &text)?, cluster).map_err(|why| {
        let file = file.display();
        Error::Usage(format!(
            "{name} cannot go on with this cluster file: {why} (it was last started with {file})"
        ))
    })
}

/// Keeps a copy of the cluster file. It is whole or not there.
///
/// # Errors
/// When it cannot be written.
pub(super) fn remember(cluster: &Cluster, data: &Path, name: &str) -> Result<(), Error> {
    let (file, temporary) = (copy(data, name), data.join(format!("{name}.toml.tmp")));
    std::fs::write(&temporary, &cluster.text).map_err(Error::file("write", &temporary))?;
    std::fs::rename(&temporary, &file).map_err(Error::file("rename", &temporary))
}

/// A process is named after its nodes. With one more at its address it would have another folder, and its nodes would have
/// forgotten everything.
fn nobody_moved_house(cluster: &Cluster, nodes: &[usize], data: &Path, name: &str) -> Result<(), Error> {
    let Ok(entries) = std::fs::read_dir(data) else { return Ok(()) };
    let hosted = |one: &str| nodes.iter().any(|node| cluster.members[*node].name == one);
    for entry in entries {
        let entry = entry.map_err(Error::file("list", data))?;
        let folder = entry.file_name().to_string_lossy().into_owned();
        let moved =
            folder.split('+').find(|one| hosted(one)).filter(|_| folder != name && entry.path().is_dir());
        if let Some(node) = moved {
            return Err(Error::Usage(format!(
                "{node} has saved in {}, and would not find it as one of {name}: give new nodes an address of their own",
                entry.path().display()
            )));
        }
    }
    Ok(())
}

/// Every node is still there under its number; others may have come after them.
///
/// # Errors
/// Which node is not, and what to do.
pub(super) fn nobody_moves(before: &Cluster, now: &Cluster) -> Result<(), String> {
    for (number, old) in before.members.iter().enumerate() {
        match now.members.get(number) {
            Some(new) if (&new.name, new.role) == (&old.name, old.role) => {}
            Some(new) => {
                return Err(format!(
                    "node {number} was {} and would be {}: add nodes after all others, and leave those in the file that are not needed any more",
                    old.name, new.name
                ));
            }
            None => {
                return Err(format!(
                    "{} is missing: leave it in the file, even if it is not needed any more",
                    old.name
                ));
            }
        }
    }
    if before.count("server") == now.count("server") {
        return Ok(());
    }
    Err("servers cannot be added: they stay as many as they were at first".into())
}

/// A file that asks for something else has a larger generation.
///
/// # Errors
/// Which one it must exceed.
pub(super) fn generations_grow(before: &Cluster, now: &Cluster) -> Result<(), String> {
    let generation = |cluster: &Cluster| cluster.changed.as_ref().map_or(0, |changed| changed.generation);
    let (old, new) = (generation(before), generation(now));
    if new > old || before.changed == now.changed {
        return Ok(());
    }
    Err(format!("its [reconfiguration] is generation {new}, and another one was generation {old}: count up"))
}
