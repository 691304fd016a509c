//! What is collected: chosen, saved by enough replicas, and forgotten. It also bounds what there can be to remember: nobody
//! takes part in a vertex that is too far beyond what is collected of its leader's, and a leader gives out no number there.
//! Whatever a replica waits for is nearer than that, so that a full memory never refuses what would empty it.

use crate::graph::{VertexId, VertexSet, Vertices as _};
use im::OrdMap;

/// What is collected, as far as a node knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Collection {
    /// For each leader, all below a number.
    pub vertices: VertexSet,
    /// How far each replica's snapshot stands for everything. Not saved: replicas tell again.
    pub saves: OrdMap<usize, VertexSet>,
}

impl Collection {
    /// One that knows of these vertices.
    pub(super) fn of(vertices: VertexSet) -> Self {
        Self { vertices, saves: OrdMap::new() }
    }

    /// Is this vertex collected?
    pub fn contains(&self, vertex: VertexId) -> bool {
        self.vertices.contains(vertex)
    }

    /// Is this vertex of its leader's next `count` that are not collected, or collected itself?
    pub(super) fn is_near(&self, vertex: VertexId, count: u64) -> bool {
        vertex.id.saturating_sub(self.vertices.frontier(vertex.leader)) < count
    }

    /// Is this all that a replica has told before?
    pub(super) fn has_heard(&self, replica: usize, saved: &VertexSet) -> bool {
        self.saves.get(&replica).is_some_and(|known| saved.is_subset(known))
    }

    /// Hears how far a replica's snapshot stands for everything; what so many have told is collected. Is it more than before?
    pub(super) fn hear(&mut self, replica: usize, saved: &VertexSet, needed: usize) -> bool {
        self.saves.insert(replica, saved.prefix());
        let leaders = self.saves.values().map(VertexSet::leaders).max().unwrap_or(0);
        let end = |leader| {
            let mut ends: Vec<u64> = self.saves.values().map(|set| set.frontier(leader)).collect();
            ends.sort_unstable();
            ends.len().checked_sub(needed.max(1)).map_or(0, |at| ends[at])
        };
        self.add(&VertexSet::below((0..leaders).map(end)))
    }

    /// Learns what is collected. Is it more than before?
    pub(super) fn add(&mut self, vertices: &VertexSet) -> bool {
        let grows = !vertices.is_subset(&self.vertices);
        if grows {
            self.vertices.add_all(&vertices.prefix());
        }
        grows
    }

    /// Removes the entries of what is collected.
    pub(super) fn remove_from<V: Clone>(&self, map: &mut OrdMap<VertexId, V>) {
        for leader in 0..self.vertices.leaders() {
            let end = VertexId { leader, id: self.vertices.frontier(leader) };
            let from = VertexId { leader, id: 0 };
            let gone: Vec<VertexId> = map.range(from..end).map(|(vertex, _)| *vertex).collect();
            for vertex in gone {
                map.remove(&vertex);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::exhaust::exhaust;
    use super::*;
    use std::collections::BTreeSet;

    const REPLICAS: usize = 3;
    const VERTICES: [VertexId; 3] =
        [VertexId { leader: 0, id: 0 }, VertexId { leader: 0, id: 1 }, VertexId { leader: 1, id: 0 }];

    /// What replicas have saved, what they ever told of it, and a node that hears some of that.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Seen {
        saved: Vec<VertexSet>,
        told: BTreeSet<(usize, VertexSet)>,
        node: Collection,
    }

    /// What can happen: a replica saves a vertex, in any order, and tells; the node hears something new or old.
    fn next(state: &Seen, needed: usize) -> Vec<Seen> {
        let saves = (0..REPLICAS).flat_map(|replica| VERTICES.map(move |vertex| (replica, vertex)));
        let saves = saves.filter(|(replica, vertex)| !state.saved[*replica].contains(*vertex));
        let saves = saves.map(|(replica, vertex)| {
            let mut next = state.clone();
            next.saved[replica].insert(vertex);
            next.told.insert((replica, next.saved[replica].clone()));
            next
        });
        let hears = state.told.iter().map(|(replica, saved)| {
            let mut next = state.clone();
            next.node.hear(*replica, saved, needed);
            next
        });
        saves.chain(hears).collect()
    }

    /// Two of three must have saved what is collected (needed); with `asked` of them, how many states there are.
    fn collected(needed: usize, asked: usize) -> Result<usize, Seen> {
        let node = Collection::of(VertexSet::EMPTY);
        let start = Seen { saved: vec![VertexSet::EMPTY; REPLICAS], told: BTreeSet::new(), node };
        exhaust(
            start,
            |state| next(state, asked),
            |state| {
                let savers = |vertex| state.saved.iter().filter(|saved| saved.contains(vertex)).count();
                VERTICES.into_iter().all(|vertex| !state.node.contains(vertex) || savers(vertex) >= needed)
            },
        )
    }

    #[test]
    fn nothing_is_collected_that_too_few_have_saved_whatever_is_heard_late() {
        assert_eq!(collected(2, 2).map_err(drop), Ok(192_308));
        assert!(collected(2, 1).is_err(), "with one too few it is noticed");
    }
}
