//! The conflict index: which vertices touch what a command touches.

use super::Action;
use super::mutant::Mutant;
use crate::command::Operation;
use crate::faults::Faults;
use crate::graph::{VertexId, VertexSet, Vertices as _};
use crate::state_machine::StateMachine;
use im::OrdMap;
use serde::{Deserialize, Serialize};

/// What a vertex reads and writes: all that the dependency service must know of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Footprint<K> {
    /// It conflicts with every vertex that does anything.
    Everything,
    /// Parts of the state, each once and in order.
    Parts {
        /// What it only reads.
        reads: Vec<K>,
        /// What it writes.
        writes: Vec<K>,
    },
}

impl<K: Ord> Footprint<K> {
    /// What an action of a state machine reads and writes.
    pub fn of<M: StateMachine<Key = K>>(action: &Action<M::Command>) -> Self {
        let (mut reads, mut writes) = (vec![], vec![]);
        if *action == Action::Snapshot {
            return Self::Everything;
        }
        for command in action.commands() {
            match &command.op {
                Operation::Open { .. } => return Self::Everything,
                Operation::Apply(op) if M::touches_all(op) => return Self::Everything,
                Operation::Apply(op) if M::is_read(op) => reads.extend(M::keys(op)),
                Operation::Apply(op) => writes.extend(M::keys(op)),
            }
        }
        for keys in [&mut reads, &mut writes] {
            keys.sort_unstable();
            keys.dedup();
        }
        reads.retain(|key| writes.binary_search(key).is_err());
        Self::Parts { reads, writes }
    }

    /// Can the order of two vertices with these footprints matter?
    pub fn conflicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everything, _) | (_, Self::Everything) => true,
            (Self::Parts { reads, writes }, Self::Parts { reads: other_reads, writes: other_writes }) => {
                let share = |a: &[K], b: &[K]| a.iter().any(|key| b.binary_search(key).is_ok());
                share(writes, other_writes) || share(reads, other_writes) || share(writes, other_reads)
            }
        }
    }
}

/// The vertices seen, by what they touch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Index<K: Ord + Clone> {
    parts: OrdMap<K, Touched>,
    /// Those that touch everything.
    barriers: VertexSet,
    /// All.
    all: VertexSet,
}

/// The vertices that touch one part of the state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Touched {
    readers: VertexSet,
    writers: VertexSet,
}

impl<K: Ord + Clone> Default for Index<K> {
    fn default() -> Self {
        Self { parts: OrdMap::new(), barriers: VertexSet::EMPTY, all: VertexSet::EMPTY }
    }
}

/// How an index remembers: all vertices, or so many largest ones of each leader, with the rules that may be broken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory<F> {
    pub(super) compaction: Option<u64>,
    pub(super) faults: F,
}

impl<F: Faults<Mutant>> Memory<F> {
    fn add(self, set: &mut VertexSet, vertex: VertexId) {
        set.insert(vertex);
        match self.compaction {
            Some(count) if !self.faults.breaks(Mutant::CompactionWithoutPrefix) => set.fill_below_top(count),
            Some(count) => {
                // For a mutant: the largest of each leader and nothing below.
                let largest = |leader| {
                    let mut ids: Vec<_> = set.iter().filter(|vertex| vertex.leader == leader).collect();
                    ids.drain(..ids.len().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX)));
                    ids
                };
                *set = (0..set.leaders()).flat_map(largest).collect();
            }
            None => {}
        }
    }

    fn extend(self, deps: &mut VertexSet, set: &VertexSet) {
        if self.compaction.is_some() && self.faults.breaks(Mutant::CompactionOneShort) {
            let ends = (0..set.leaders()).map(|leader| set.end(leader).saturating_sub(1));
            deps.add_all(&VertexSet::below(ends));
        } else {
            deps.add_all(set);
        }
    }
}

impl<K: Ord + Clone> Index<K> {
    pub(super) fn insert<F: Faults<Mutant>>(
        &mut self,
        vertex: VertexId,
        footprint: &Footprint<K>,
        memory: Memory<F>,
    ) {
        memory.add(&mut self.all, vertex);
        match footprint {
            Footprint::Everything => memory.add(&mut self.barriers, vertex),
            Footprint::Parts { reads, writes } => {
                let no_reads = memory.faults.breaks(Mutant::IgnoreReads);
                for key in reads.iter().filter(|_| !no_reads) {
                    self.touch(key, |touched| memory.add(&mut touched.readers, vertex));
                }
                for key in writes {
                    self.touch(key, |touched| memory.add(&mut touched.writers, vertex));
                }
            }
        }
    }

    /// How many parts of the state somebody touches.
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Changes who touches a part. (Nearly always somebody does, and then one look-up is enough.)
    fn touch(&mut self, key: &K, change: impl Fn(&mut Touched)) {
        if let Some(touched) = self.parts.get_mut(key) {
            return change(touched);
        }
        let mut touched = Touched::default();
        change(&mut touched);
        self.parts.insert(key.clone(), touched);
    }

    /// Adds what conflicts with a footprint to `deps`.
    pub(super) fn conflicts<F: Faults<Mutant>>(
        &self,
        footprint: &Footprint<K>,
        memory: Memory<F>,
        deps: &mut VertexSet,
    ) {
        let Footprint::Parts { reads, writes } = footprint else { return memory.extend(deps, &self.all) };
        memory.extend(deps, &self.barriers);
        for touched in reads.iter().filter_map(|key| self.parts.get(key)) {
            memory.extend(deps, &touched.writers);
        }
        for touched in writes.iter().filter_map(|key| self.parts.get(key)) {
            memory.extend(deps, &touched.writers);
            memory.extend(deps, &touched.readers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, CommandId};
    use crate::faults::Correct;
    use crate::state_machine::{BatchedCommand, Bytes, KeyValue, KeyValueCommand};
    use proptest::prelude::*;

    type Seen = Vec<(VertexId, KeyValueCommand)>;

    fn seen() -> impl Strategy<Value = Seen> {
        let key = prop_oneof![Just("a"), Just("b")].prop_map(Bytes::from);
        let batch = |key| {
            KeyValueCommand::Batch(
                [BatchedCommand::Get(key), BatchedCommand::Delete(Bytes::from("c"))].into_iter().collect(),
            )
        };
        let command = (key, 0..3).prop_map(move |(key, which)| match which {
            0 => KeyValueCommand::Get(key),
            1 => KeyValueCommand::Delete(key),
            _ => batch(key),
        });
        let leaders = proptest::collection::vec((0..3_u32, command), 0..20);
        leaders.prop_map(|asked| {
            let mut next = [0; 3];
            let number = |(leader, command): (u32, KeyValueCommand)| {
                let id = next[leader as usize];
                next[leader as usize] += 1;
                (VertexId { leader, id }, command)
            };
            asked.into_iter().map(number).collect()
        })
    }

    fn footprint(command: &KeyValueCommand) -> Footprint<Bytes> {
        let id = CommandId { client: 0, session: 0, pseudonym: 0, seq: 1 };
        let command = Command { id, op: Operation::Apply(command.clone()) };
        Footprint::of::<KeyValue>(&Action::Commands([command].into()))
    }

    proptest! {
        #[test]
        fn an_exact_index_finds_what_conflicts_and_a_compacted_one_that_and_more(seen in seen(), count in 1..3_u64) {
            let exact = Memory { compaction: None, faults: Correct };
            let compacted = Memory { compaction: Some(count), faults: Correct };
            let (mut all, mut some) = (Index::default(), Index::default());
            for (at, (vertex, command)) in seen.iter().enumerate() {
                let asked = footprint(command);
                let (mut deps, mut more) = (VertexSet::EMPTY, VertexSet::EMPTY);
                all.conflicts(&asked, exact, &mut deps);
                some.conflicts(&asked, compacted, &mut more);
                let before = seen[..at].iter();
                let conflicting = before.filter(|(_, other)| KeyValue::conflicts(command, other)).map(|(vertex, _)| *vertex);
                prop_assert_eq!(&deps, &conflicting.collect::<VertexSet>());
                prop_assert!(deps.is_subset(&more));
                prop_assert!(more.is_subset(&seen[..at].iter().map(|(vertex, _)| *vertex).collect()), "only what was given out");
                all.insert(*vertex, &asked, exact);
                some.insert(*vertex, &asked, compacted);
            }
        }

        #[test]
        fn who_counts_keys_conflicts_with_all(seen in seen()) {
            for (_, one) in &seen {
                prop_assert!(footprint(&KeyValueCommand::Count).conflicts(&footprint(one)));
            }
        }

        #[test]
        fn footprints_conflict_where_commands_do(seen in seen()) {
            for (_, one) in &seen {
                for (_, other) in &seen {
                    prop_assert_eq!(footprint(one).conflicts(&footprint(other)), KeyValue::conflicts(one, other));
                }
            }
        }
    }
}
