//! The leader: numbers commands and collects their dependencies. It forgets a vertex when it is proposed.

use super::collection::Collection;
use super::config::Role;
use super::index::Footprint;
use super::mutant::{Mutant, Rules};
use super::node::{Part, Turn};
use super::proposer::{Attempt, ProposerState};
use super::storage::Storage;
use super::{Action, Committed, Msg, Proposal, Timer};
use crate::client::ClientMsg;
use crate::command::CommandOf;
use crate::graph::{VertexId, VertexSet, Vertices as _};
use crate::queue::{Due, Queue};
use crate::state_machine::StateMachine;
use im::OrdMap;
use parthood_quorums::NodeSet;
use stateright::actor::Id;
use std::sync::Arc;

/// A leader's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaderState<C: Clone> {
    /// The next number to give out.
    pub next: u64,
    /// Numbers below may have been given out; saved.
    pub reserved: u64,
    /// Vertices that wait for their dependencies, by number.
    pub waiting: OrdMap<u64, Waiting<C>>,
    /// Commands that wait for a number.
    pub queue: Queue<C>,
    /// What it does as a proposer, if there are no proposers.
    pub proposer: Option<ProposerState<C>>,
    /// What is collected, if there are; else it knows that as a proposer.
    pub collection: Collection,
}

impl<C: Clone> LeaderState<C> {
    fn collection(&self) -> &Collection {
        self.proposer.as_ref().map_or(&self.collection, |proposer| &proposer.collection)
    }
}

/// A vertex that waits for its dependencies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Waiting<C> {
    /// What it does.
    pub action: Action<C>,
    /// The dependency nodes that have answered.
    pub answered: NodeSet,
    /// What they answered, together.
    pub deps: VertexSet,
}

impl<F: Rules> Part<F> {
    pub(super) fn start_leader<M: StateMachine>(
        &self,
        storage: Option<&Storage<M>>,
    ) -> LeaderState<M::Command> {
        let (reserved, saved) = match storage {
            Some(Storage::Leader { reserved, proposer }) => (*reserved, Some(proposer)),
            _ => (0, None),
        };
        let merged = self.config.layout.proposers == 0;
        let proposer = merged.then(|| ProposerState::restored(saved, reserved));
        let collection = Collection::of(VertexSet::EMPTY);
        LeaderState {
            next: reserved,
            reserved,
            waiting: OrdMap::new(),
            queue: Queue::default(),
            proposer,
            collection,
        }
    }

    pub(super) fn leader_ignores<M: StateMachine>(
        &self,
        state: &LeaderState<M::Command>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let (role, index) = self.config.layout.role(src);
        match msg {
            _ if self.lost_storage => true,
            Msg::Client(ClientMsg::Request(command)) => !command.is_sound::<M>(src),
            Msg::DependencyReply { vertex, .. } => {
                let waiting = state.waiting.get(&vertex.id);
                role != Role::DependencyNode
                    || vertex.leader as usize != self.index
                    || waiting.is_none_or(|waiting| {
                        waiting.answered.contains(self.config.answers_for(index, waiting.answered))
                    })
            }
            Msg::SnapshotRequest => role != Role::Replica,
            Msg::Recover(vertex) if self.awaits_dependencies(state, *vertex) => {
                role != Role::Replica || !self.config.breaks(Mutant::RecoverCommand)
            }
            Msg::Saved(set) if state.proposer.is_none() => {
                role != Role::Replica || state.collection.has_heard(index, set)
            }
            msg => state.proposer.as_ref().is_none_or(|proposer| self.proposer_ignores(proposer, src, msg)),
        }
    }

    fn awaits_dependencies<C: Clone>(&self, state: &LeaderState<C>, vertex: VertexId) -> bool {
        vertex.leader as usize == self.index && state.waiting.contains_key(&vertex.id)
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, LeaderState<M::Command>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        match msg {
            Msg::Client(ClientMsg::Request(command)) => self.on_request(src, command),
            Msg::DependencyReply { vertex, deps } => {
                let (_, node) = self.layout().role(src);
                self.on_reply(node, vertex, &deps);
            }
            Msg::SnapshotRequest => self.on_snapshot_request(),
            Msg::Recover(vertex) if self.part.awaits_dependencies(self.state, vertex) => {
                self.propose(vertex);
            }
            Msg::Saved(set) if self.state.proposer.is_none() => {
                let (_, replica) = self.layout().role(src);
                self.state.collection.hear(replica, &set, self.config.saves_needed);
                self.number_soon();
            }
            msg => {
                let makes_room = matches!(msg, Msg::Saved(_) | Msg::Collected(_));
                if let Some(mut proposer) = self.as_proposer() {
                    proposer.on_msg(src, msg);
                }
                if makes_room || self.config.fast.is_some() {
                    self.number_soon();
                }
            }
        }
    }

    pub(super) fn on_timeout(&mut self, timer: Timer) {
        match timer {
            Timer::Ask => self.on_ask_timeout(),
            Timer::Number => self.on_number_timeout(),
            timer => {
                if let Some(mut proposer) = self.as_proposer() {
                    proposer.on_timeout(timer);
                }
            }
        }
    }

    /// The same event as the proposer that it is, if there are no proposers.
    fn as_proposer(&mut self) -> Option<Turn<'_, ProposerState<M::Command>, M, F>> {
        let Self { index, part, config, state, out, .. } = self;
        let numbers = state.reserved;
        let state = state.proposer.as_mut()?;
        Some(Turn { index: *index, part, config, state, out, numbers: Some(numbers) })
    }

    fn on_request(&mut self, client: Id, command: CommandOf<M>) {
        if self.state.queue.len() >= self.config.limits.waiting_commands {
            self.send(client, Msg::Client(ClientMsg::Busy { id: command.id }));
            return;
        }
        self.state.queue.commands.push_back(command);
        self.number_soon();
    }

    /// One snapshot at a time is enough. It needs no room in the window, where there is none as long as there is much to do.
    fn on_snapshot_request(&mut self) {
        let waiting = self.state.waiting.values().map(|waiting| &waiting.action);
        let attempts = self.attempts().map(|(_, attempt)| &attempt.proposal.action);
        let on_its_way = waiting.chain(attempts).any(|action| *action == Action::Snapshot);
        if !on_its_way && self.is_near(self.config.limits.column_vertices) {
            self.number(Action::Snapshot);
        }
    }

    /// With a fast path: what is not chosen yet, of its own vertices or recovered ones.
    fn attempts(&self) -> impl Iterator<Item = (&VertexId, &Attempt<M::Command>)> {
        let proposer = self.state.proposer.as_ref().filter(|_| self.config.fast.is_some());
        proposer.into_iter().flat_map(|proposer| &proposer.active)
    }

    /// How many vertices wait for their dependencies; with a fast path, until they are chosen.
    fn outstanding(&self) -> usize {
        let proposer = self.state.proposer.as_ref().filter(|_| self.config.fast.is_some());
        self.state.waiting.len() + proposer.map_or(0, |proposer| proposer.active.len())
    }

    /// Gives numbers to what waits when what has arrived with it is here, too.
    fn number_soon(&mut self) {
        if !self.has_numbers_to_give() {
            return;
        }
        match self.state.queue.due(self.config.timing.gather) {
            Due::Now => self.number_queue(),
            Due::AtTimer => self.set_timer(Timer::Number),
            Due::AtTimerSet => {}
        }
    }

    /// What has arrived together is here.
    fn on_number_timeout(&mut self) {
        let once = self.breaks(Mutant::GatherOnce);
        self.state.queue.has_gathered(once);
        self.number_queue();
    }

    /// Do commands wait that may have a number?
    fn has_numbers_to_give(&self) -> bool {
        let limits = self.config.limits;
        let room = limits.column_vertices - limits.column_vertices / 16;
        !self.state.queue.is_empty() && self.has_room(room)
    }

    /// Gives numbers to what waits, as far as the window has room; what piles up meanwhile shares a vertex.
    fn number_queue(&mut self) {
        let limits = self.config.limits;
        while self.has_numbers_to_give() {
            let batch = self.state.queue.take_batch::<M>(limits.batch_commands, limits.batch_bytes);
            self.number(Action::Commands(batch.into()));
        }
    }

    /// Is there room for another vertex, in the window and among so many that are not collected?
    fn has_room(&self, count: u64) -> bool {
        self.is_near(count) && self.outstanding() < self.config.limits.window_vertices
    }

    /// Would another vertex be among so many that are not collected?
    fn is_near(&self, count: u64) -> bool {
        self.state.collection().is_near(self.vertex(self.state.next), count)
    }

    /// This leader's vertex of this number.
    fn vertex(&self, id: u64) -> VertexId {
        VertexId { leader: u32::try_from(self.index).unwrap_or(u32::MAX), id }
    }

    /// Gives a vertex its number, which is never given out again, and asks a quorum of dependency nodes, or those that may
    /// choose it at once.
    fn number(&mut self, action: Action<M::Command>) {
        let vertex = self.vertex(self.state.next);
        self.state.next += 1;
        if self.state.next > self.state.reserved {
            self.state.reserved = vertex.id + self.config.limits.reserved_ids.max(1);
            if !self.breaks(Mutant::ReuseIds) {
                self.save();
            }
        }
        if self.config.fast.is_some() {
            if let Some(mut proposer) = self.as_proposer() {
                proposer.propose_fast(vertex, action);
            }
            return;
        }
        let turn = vertex.id.wrapping_add(u64::from(vertex.leader));
        let nodes = self.config.dependencies.readers(turn).union(self.config.dependencies.writers(turn));
        self.ask(vertex, &action, nodes);
        if self.state.waiting.is_empty() {
            self.set_timer(Timer::Ask);
        }
        let waiting = Waiting { action, answered: NodeSet::EMPTY, deps: VertexSet::EMPTY };
        self.state.waiting.insert(vertex.id, waiting);
    }

    fn save(&mut self) {
        let LeaderState { reserved, proposer, .. } = self.state;
        let proposer = proposer.as_ref().map(|proposer| proposer.saved).unwrap_or_default();
        self.out.save(Storage::Leader { reserved: *reserved, proposer });
    }

    fn ask(&mut self, vertex: VertexId, action: &Action<M::Command>, nodes: NodeSet) {
        let footprint = match action.commands() {
            [first, _, ..] if self.breaks(Mutant::AskForFirst) => {
                Footprint::of::<M>(&Action::Commands([first.clone()].into()))
            }
            _ => Footprint::of::<M>(action),
        };
        let (footprint, layout) = (Arc::new(footprint), self.layout());
        for node in nodes.iter() {
            let footprint = footprint.clone();
            self.send(layout.id(Role::DependencyNode, node), Msg::DependencyRequest { vertex, footprint });
        }
    }

    fn on_reply(&mut self, node: usize, vertex: VertexId, deps: &VertexSet) {
        let intersect = self.breaks(Mutant::IntersectReplies);
        let Some(waiting) = self.state.waiting.get_mut(&vertex.id) else { return };
        if intersect && !waiting.answered.is_empty() {
            waiting.deps = waiting.deps.iter().filter(|vertex| deps.contains(*vertex)).collect();
        } else {
            waiting.deps.add_all(deps);
        }
        waiting.answered.insert(self.config.answers_for(node, waiting.answered));
        if self.config.is_dependency_quorum(waiting.answered) {
            self.propose(vertex);
            self.number_soon();
        }
    }

    fn propose(&mut self, vertex: VertexId) {
        let Some(Waiting { action, deps, .. }) = self.state.waiting.remove(&vertex.id) else { return };
        if self.state.waiting.is_empty() {
            self.cancel_timer(Timer::Ask);
        }
        let proposal = Proposal { action, deps };
        if let Some(mut proposer) = self.as_proposer() {
            return proposer.propose(vertex, proposal);
        }
        let proposer = self.layout().id(Role::Proposer, self.config.proposer_of(self.index));
        self.send(proposer, Msg::Propose(Committed { vertex, proposal }));
    }

    /// Asks again all dependency nodes that have not answered.
    fn on_ask_timeout(&mut self) {
        let everyone = NodeSet::first(self.layout().dependency_nodes);
        for (id, waiting) in self.state.waiting.clone().iter().take(self.config.limits.resend_vertices) {
            let silent = everyone.difference(waiting.answered);
            self.ask(self.vertex(*id), &waiting.action, silent);
        }
        if !self.state.waiting.is_empty() {
            self.set_timer(Timer::Ask);
        }
    }
}
