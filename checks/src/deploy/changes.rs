//! What a process has saved, and under which cluster file.
//!
//! What a node has saved is of use only to the same node, in the same cluster. So each process keeps a copy of the cluster file that it
//! was last started with beside its folder, together with the names of its nodes, and is not started with one under which
//! somebody would be somebody else, or would have forgotten what it has saved in another folder. A node that has lost what it
//! saved must not vote, for ever: that is remembered there as well.

use super::{Cluster, Deployable};
use crate::error::Error;
use crate::files;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The first line of a copy, before the file itself.
const NODES: &str = "# The cluster file with which these nodes were last started: ";
/// What is between the names of nodes, which hold letters, digits and a few marks.
const BETWEEN: &str = " + ";

/// Where a process saves.
pub(super) struct Home<'a> {
    cluster: &'a Cluster,
    nodes: String,
    data: &'a Path,
    name: &'a str,
}

/// A copy of a cluster file beside a folder.
struct Copy {
    nodes: String,
    text: String,
}

impl<'a> Home<'a> {
    /// The home of these nodes: a folder of this name.
    pub(super) fn new(cluster: &'a Cluster, nodes: &[usize], data: &'a Path, name: &'a str) -> Self {
        let names: Vec<&str> = nodes.iter().map(|node| cluster.members[*node].name.as_str()).collect();
        Self { cluster, nodes: names.join(BETWEEN), data, name }
    }

    /// The folder.
    pub(super) fn folder(&self) -> PathBuf {
        self.data.join(self.name)
    }

    fn copy(&self) -> PathBuf {
        copy_beside(&self.folder())
    }

    /// Refuses a cluster file under which these nodes would not be those that have saved here. Returns whether they have lost
    /// what they saved: now, as the user says, or before an earlier start.
    ///
    /// # Errors
    /// Which node would be another one, and what to do; or when something cannot be read or written.
    pub(super) fn enter<D: Deployable>(&self, lost: bool) -> Result<bool, Error> {
        fs::create_dir_all(self.data).map_err(Error::file("create the data directory", self.data))?;
        self.nobody_has_moved()?;
        let copy = self.copy();
        if copy.exists() {
            if !lost && !self.has_saved()? {
                let (name, folder, copy) = (self.name, self.folder(), copy.display());
                let folder = folder.display();
                let what = if D::REJOINS {
                    "with --rejoin, so that they serve but do not vote"
                } else {
                    "not at all: others must take their place"
                };
                return Err(Error::Environment(format!(
                    "{name} was started before, as {copy} says, and {folder} holds nothing: put back what it held; if that is lost, start these nodes {what}"
                )));
            }
            let before = Cluster::read(&copy, &read(&copy)?.text)?;
            let may = self.cluster.agrees_with(&before).and_then(|()| D::may_follow(&before, self.cluster));
            may.map_err(|why| {
                let (name, copy) = (self.name, copy.display());
                Error::Usage(format!(
                    "{name} cannot go on with this cluster file: {why} (it was last started with {copy})"
                ))
            })?;
        }
        let mark = self.data.join(format!("{}.rejoined", self.name));
        if lost && !mark.exists() {
            let words = "These nodes have lost what they saved before. They do not vote, whether --rejoin says so or not.\n";
            files::write(&mark, words)?;
        }
        Ok(lost || mark.exists())
    }

    /// Does the folder hold the log that every process begins at its first start?
    fn has_saved(&self) -> Result<bool, Error> {
        let folder = self.folder();
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            entries => entries.map_err(Error::file("list", &folder))?,
        };
        let mut names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
        Ok(names.any(|name| name.to_string_lossy().starts_with("log-")))
    }

    /// A process is named after its nodes. If it had others it would have another folder, and they would have forgotten
    /// everything.
    fn nobody_has_moved(&self) -> Result<(), Error> {
        for entry in fs::read_dir(self.data).map_err(Error::file("list", self.data))? {
            let file = entry.map_err(Error::file("list", self.data))?.path();
            if file.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let there = read(&file)?.nodes;
            let moved = self.nodes.split(BETWEEN).find(|one| there.split(BETWEEN).any(|other| other == *one));
            if let Some(node) = moved.filter(|_| there != self.nodes || file != self.copy()) {
                return Err(Error::Usage(format!(
                    "{node} has saved in {}, as one of {there}, and would find nothing of it as one of {}: start the same nodes together as before; nodes that are added need an address of their own",
                    file.with_extension("").display(),
                    self.nodes
                )));
            }
        }
        Ok(())
    }

    /// Keeps a copy of the cluster file. It is whole or not there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn remember(&self) -> Result<(), Error> {
        files::write(&self.copy(), format!("{NODES}{}\n{}", self.nodes, self.cluster.text))
    }
}

/// The cluster that the copy beside a process's folder describes, if there is one that can be read.
pub fn cluster_of_home(folder: &Path) -> Option<Cluster> {
    let copy = copy_beside(folder);
    Cluster::read(&copy, &read(&copy).ok()?.text).ok()
}

/// Where the copy is that belongs to a folder.
fn copy_beside(folder: &Path) -> PathBuf {
    let mut copy = folder.as_os_str().to_owned();
    copy.push(".toml");
    copy.into()
}

/// Reads a copy of a cluster file.
fn read(file: &Path) -> Result<Copy, Error> {
    let all = fs::read_to_string(file).map_err(Error::file("read", file))?;
    let parts = all.strip_prefix(NODES).and_then(|rest| rest.split_once('\n'));
    let (nodes, text) = parts.ok_or_else(|| {
        Error::Usage(format!(
            "{} is not the copy of a cluster file that a process keeps: the data folder must hold nothing else",
            file.display()
        ))
    })?;
    Ok(Copy { nodes: nodes.to_owned(), text: text.to_owned() })
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
    Ok(())
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
