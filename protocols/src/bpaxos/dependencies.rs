//! The dependency service node: says of each vertex which conflicting ones it has seen before, for ever the same.
//!
//! What it answered is kept in two generations. When the newer one is full the older one is forgotten, and every number up
//! to the largest that it held of a leader becomes a dependency of everything: false dependencies at worst, since all of
//! these were given out. A vertex that is asked for again after it was forgotten is answered anew, with more than before.

use super::Msg;
use super::config::{Config, Limits, Role};
use super::index::{Footprint, Index, Memory};
use super::mutant::{Mutant, Rules};
use super::node::{Part, Turn};
use super::storage::Storage;
use crate::graph::{VertexId, VertexSet, Vertices as _};
use crate::state_machine::StateMachine;
use im::OrdMap;
use serde::{Deserialize, Serialize};
use stateright::actor::Id;
use std::sync::Arc;

/// A dependency node's state, all of which is saved or follows from what is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DependencyState<K: Ord + Clone> {
    /// How many generations were forgotten.
    pub forgotten: u64,
    /// What was forgotten, and everything below: dependencies of everything.
    pub collected: VertexSet,
    /// The generation before this one.
    pub old: Generation<K>,
    /// The generation that grows.
    pub new: Generation<K>,
    /// Whether it takes part. One that lost its disk may not: it has forgotten what it saw.
    pub serving: bool,
}

/// What was answered during a while.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Generation<K: Ord + Clone> {
    /// By vertex.
    pub entries: OrdMap<VertexId, Entry<K>>,
    /// The same by what the vertices touch.
    pub index: Index<K>,
}

/// A vertex that was seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry<K> {
    /// What it touches.
    pub footprint: Arc<Footprint<K>>,
    /// What was answered.
    pub deps: VertexSet,
}

impl<K: Ord + Clone> Default for Generation<K> {
    fn default() -> Self {
        Self { entries: OrdMap::new(), index: Index::default() }
    }
}

impl<K: Ord + Clone> Generation<K> {
    /// One that holds these entries.
    fn of<F: Rules>(entries: OrdMap<VertexId, Entry<K>>, memory: Memory<F>) -> Self {
        let mut index = Index::default();
        for (vertex, entry) in &entries {
            index.insert(*vertex, &entry.footprint, memory);
        }
        Self { entries, index }
    }
}

impl<K: Ord + Clone> DependencyState<K> {
    /// A node that has seen nothing.
    pub fn new(serving: bool) -> Self {
        let (old, new) = (Generation::default(), Generation::default());
        Self { forgotten: 0, collected: VertexSet::EMPTY, old, new, serving }
    }

    /// What was answered for a vertex, if it was and is not forgotten.
    pub fn answered(&self, vertex: VertexId) -> Option<&VertexSet> {
        let entry = self.new.entries.get(&vertex).or_else(|| self.old.entries.get(&vertex));
        entry.map(|entry| &entry.deps)
    }

    /// Answers: with what it answered before, or else with all conflicting vertices seen so far.
    pub fn answer<F: Rules>(
        &mut self,
        vertex: VertexId,
        footprint: &Arc<Footprint<K>>,
        config: &Config<F>,
    ) -> VertexSet {
        if let Some(deps) = self.answered(vertex) {
            return deps.clone();
        }
        let memory = Memory { compaction: config.compaction, faults: config.faults };
        let mut deps = VertexSet::EMPTY;
        if !config.breaks(Mutant::NoDependencies) {
            deps.add_all(&self.collected);
            self.old.index.conflicts(footprint, memory, &mut deps);
            self.new.index.conflicts(footprint, memory, &mut deps);
        }
        if config.breaks(Mutant::OwnIdKept) {
            deps.insert(vertex);
        } else {
            deps.remove(vertex);
        }
        self.new.index.insert(vertex, footprint, memory);
        self.new.entries.insert(vertex, Entry { footprint: footprint.clone(), deps: deps.clone() });
        let Limits { generation_vertices, generation_parts, .. } = config.limits;
        if self.new.entries.len() >= generation_vertices || self.new.index.parts() >= generation_parts {
            self.begin_generation(config.breaks(Mutant::ForgetGeneration));
        }
        deps
    }

    fn begin_generation(&mut self, forget: bool) {
        let old = std::mem::replace(&mut self.old, std::mem::take(&mut self.new));
        if !forget {
            self.collected.add_all(&old.entries.keys().copied().collect::<VertexSet>().filled());
        }
        self.forgotten += 1;
    }
}

impl<F: Rules> Part<F> {
    pub(super) fn start_dependency_node<M: StateMachine>(
        &self,
        storage: Option<&Storage<M>>,
    ) -> DependencyState<M::Key> {
        let Some(Storage::DependencyNode { forgotten, collected, old, new, serving }) = storage else {
            return DependencyState::new(!self.lost_storage);
        };
        let memory = Memory { compaction: self.config.compaction, faults: self.config.faults };
        DependencyState {
            forgotten: *forgotten,
            collected: collected.clone(),
            old: Generation::of(old.clone(), memory),
            new: Generation::of(new.clone(), memory),
            serving: *serving && !self.lost_storage,
        }
    }

    pub(super) fn dependency_node_ignores<M: StateMachine>(
        &self,
        state: &DependencyState<M::Key>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let (role, index) = self.config.layout.role(src);
        match msg {
            Msg::DependencyRequest { vertex, .. } => {
                !state.serving || role != Role::Leader || index != vertex.leader as usize
            }
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, DependencyState<M::Key>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        if let Msg::DependencyRequest { vertex, footprint } = msg {
            self.on_request(src, vertex, &footprint);
        }
    }

    /// What it has seen is saved before anybody hears of it: a node that forgets a vertex breaks the dependency invariant.
    fn on_request(&mut self, leader: Id, vertex: VertexId, footprint: &Arc<Footprint<M::Key>>) {
        let known = self.state.answered(vertex).is_some();
        let deps = self.state.answer(vertex, footprint, self.config);
        if !known && !self.breaks(Mutant::ForgetDependencies) {
            let DependencyState { forgotten, collected, old, new, serving } = self.state.clone();
            let (old, new) = (old.entries, new.entries);
            self.out.save(Storage::DependencyNode { forgotten, collected, old, new, serving });
        }
        self.send(leader, Msg::DependencyReply { vertex, deps });
    }
}
