//! The table `[reconfiguration]` of a cluster file: which nodes are to take the place of those that were there at first.

use super::super::MatchmakerMultiPaxos;
use super::Cluster;
use crate::deploy::{Deployable, matchmaker_multipaxos};
use crate::settings::{Fields, Placed, Problems};
use std::ops::Range;

/// Which nodes are to take the place of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Counts such changes: of two files that ask for different nodes the one with the larger number counts.
    pub generation: u64,
    /// The acceptors that vote; the same as before if it names none.
    pub acceptors: Vec<String>,
    /// Must all of them vote, so that any one that is left can say what was chosen?
    pub unanimous_writes: bool,
    /// The matchmakers that serve; the same as before if it names none.
    pub matchmakers: Vec<String>,
}

/// Reads the table, if it is there, and where it is.
pub(super) fn changed(top: &mut Fields<'_>, problems: &mut Problems<'_>) -> Option<(Changed, Range<usize>)> {
    let mut table = top.table("reconfiguration", problems)?;
    let place = table.place();
    let generation = table.required::<u64>("generation", problems);
    let acceptors = table.optional::<Vec<String>>("acceptors", problems);
    let unanimous_writes = table.optional::<bool>("unanimous_writes", problems);
    let matchmakers = table.optional::<Vec<String>>("matchmakers", problems);
    table.finish(problems);
    if let Some(Placed { value: 0, place }) = &generation {
        problems.note(place, "the first change is generation 1: it counts up from there");
    }
    let changed = Changed {
        generation: generation?.value,
        acceptors: acceptors.map(|acceptors| acceptors.value).unwrap_or_default(),
        unanimous_writes: unanimous_writes.is_some_and(|unanimous| unanimous.value),
        matchmakers: matchmakers.map(|matchmakers| matchmakers.value).unwrap_or_default(),
    };
    if changed.acceptors.is_empty() && changed.matchmakers.is_empty() {
        problems.note(&place, "it asks for nothing: name `acceptors`, `matchmakers` or both");
    }
    Some((changed, place))
}

/// Notes what could not be done.
pub(super) fn check(cluster: &Cluster, place: &Range<usize>, problems: &mut Problems<'_>) {
    if cluster.protocol != MatchmakerMultiPaxos::NAME {
        let (name, protocol) = (MatchmakerMultiPaxos::NAME, &cluster.protocol);
        problems.note(
            place,
            format!("{protocol} does not exchange its nodes for a changed file: only {name} does"),
        );
    } else if let Err(error) = matchmaker_multipaxos::wish(cluster) {
        problems.note(place, error.to_string());
    }
}
