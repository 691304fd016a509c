//! The replica: executes the graph, replies where that is its duty, and has recovered what it waits for.
//!
//! When it takes a snapshot, and whom it tells, is in [`super::saving`].
//! What travels between replicas, vertices by pages and snapshots in parts, is in [`super::transfer`].

use super::clients::{ClientTable, TableRules};
use super::config::{Limits, Role};
use super::mutant::{Mutant, Rules};
use super::node::{Node, Part, Turn};
use super::snapshot::{Snapshot, Transfer};
use super::storage::Storage;
use super::{Action, Committed, Msg, ProposalOf, Timer, proposal_bytes};
use crate::client::ClientMsg;
use crate::command::CommandOf;
use crate::graph::{Executor, Outcome, VertexId, VertexSet, Vertices as _};
use crate::sessions::{Answer, Standing};
use crate::state_machine::StateMachine;
use im::{OrdMap, Vector};
use stateright::actor::{Id, Out};

/// A replica's state, of which the snapshot is saved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaState<M: StateMachine> {
    /// What has run and what waits for what.
    pub executor: Executor<VertexSet>,
    /// What was chosen, as far as it waits or is kept for others.
    pub log: OrdMap<VertexId, ProposalOf<M>>,
    /// What has run and is kept for others, in the order in which it ran.
    pub history: Vector<VertexId>,
    /// About how many bytes that takes.
    pub history_bytes: usize,
    /// What has run and is not kept: whoever lacks it needs the snapshot.
    pub dropped: VertexSet,
    /// The state machine.
    pub machine: M,
    /// The client table.
    pub clients: ClientTable<M::Output>,
    /// How many snapshot vertices have run.
    pub snapshots: u64,
    /// How many vertices have run since the last of them.
    pub since_snapshot: u64,
    /// About how many bytes those take.
    pub bytes_since_snapshot: usize,
    /// The last snapshot taken or received; saved.
    pub snapshot: Snapshot<M>,
    /// Vertices that it has recovered, and how often it has asked.
    pub recovering: OrdMap<VertexId, u64>,
    /// Whose turn it is to be asked for what is missing.
    pub turn: u64,
    /// The snapshot that others are fetching: kept while newer ones are taken.
    pub lent: Option<Snapshot<M>>,
    /// The snapshot that is being fetched.
    pub transfer: Option<Transfer<M>>,
}

impl<M: StateMachine> ReplicaState<M> {
    /// A replica for which a snapshot stands for all that has run.
    pub(super) fn at(snapshot: Snapshot<M>) -> Self {
        Self {
            executor: Executor::at(snapshot.executed.clone()),
            log: OrdMap::new(),
            history: Vector::new(),
            history_bytes: 0,
            dropped: snapshot.executed.clone(),
            machine: snapshot.machine.clone(),
            clients: snapshot.clients.clone(),
            snapshots: snapshot.number,
            since_snapshot: 0,
            bytes_since_snapshot: 0,
            recovering: OrdMap::new(),
            turn: 0,
            lent: None,
            transfer: None,
            snapshot,
        }
    }

    /// The vertices that have run.
    pub fn executed(&self) -> &VertexSet {
        self.executor.executed()
    }

    /// About how many bytes a vertex of the log takes.
    pub(super) fn bytes_of(&self, vertex: VertexId) -> usize {
        self.log.get(&vertex).map_or(0, proposal_bytes::<M>)
    }

    /// Notes that a vertex has run.
    fn note(&mut self, vertex: VertexId) {
        let bytes = self.bytes_of(vertex);
        self.history.push_back(vertex);
        self.history_bytes += bytes;
        self.since_snapshot += 1;
        self.bytes_since_snapshot += bytes;
    }

    /// Drops all but the last of what the snapshot stands for.
    fn drop_retained(&mut self, limits: Limits) {
        while (self.history.len() > limits.retained_vertices || self.history_bytes > limits.log_bytes)
            && let Some(vertex) = self.history.front().copied()
            && self.snapshot.executed.contains(vertex)
        {
            self.history_bytes -= self.bytes_of(vertex);
            self.history.pop_front();
            self.log.remove(&vertex);
            self.dropped.insert(vertex);
        }
    }
}

impl<F: Rules> Part<F> {
    pub(super) fn start_replica<M: StateMachine>(
        &self,
        storage: Option<&Storage<M>>,
        out: &mut Out<Node<M, F>>,
    ) -> ReplicaState<M> {
        let snapshot = if let Some(Storage::Replica(snapshot)) = storage {
            snapshot.clone()
        } else {
            let clients = ClientTable::with_clients(self.config.known_clients.iter().copied());
            Snapshot { clients, ..Snapshot::default() }
        };
        let mut state = ReplicaState::at(snapshot);
        self.turn(&mut state, out).set_timer(Timer::CatchUp);
        state
    }

    pub(super) fn replica_ignores<M: StateMachine>(
        &self,
        state: &ReplicaState<M>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let layout = self.config.layout;
        let (role, index) = layout.role(src);
        let from_replica = role == Role::Replica && index != self.index;
        match msg {
            Msg::Commit(committed) => {
                let is_known = |committed: &Committed<_>| state.executor.knows(committed.vertex);
                !(from_replica || role == layout.proposing()) || committed.iter().all(is_known)
            }
            Msg::Recover(vertex) => {
                !from_replica || !state.log.contains_key(vertex) && !state.dropped.contains(*vertex)
            }
            Msg::CatchUp { known } => !from_replica || state.executed().is_subset(known),
            Msg::FetchSnapshot { .. } => !from_replica || state.snapshot.number == 0,
            Msg::SnapshotPart(part) => !from_replica || !state.awaits(part),
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, ReplicaState<M>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        self.state.drop_retained(self.config.limits);
        match msg {
            Msg::Commit(committed) => self.on_commit(src, committed),
            Msg::Recover(vertex) => self.on_recover(src, vertex),
            Msg::CatchUp { known } => self.on_catch_up(src, &known),
            Msg::FetchSnapshot { number, cursor } => self.on_fetch_snapshot(src, number, cursor),
            Msg::SnapshotPart(part) => self.on_snapshot_part(src, part),
            _ => {}
        }
    }

    pub(super) fn on_timeout(&mut self, timer: Timer) {
        match timer {
            Timer::Recover(vertex) => self.on_recover_timeout(vertex),
            Timer::CatchUp => self.on_catch_up_timeout(),
            _ => {}
        }
    }

    /// Learns what is chosen. A page from another replica is followed by the next.
    fn on_commit(&mut self, src: Id, committed: Vec<Committed<M::Command>>) {
        for Committed { vertex, proposal } in committed {
            self.learn(vertex, proposal);
        }
        if self.layout().role(src).0 == Role::Replica {
            self.ask_for_more(src);
        }
    }

    fn learn(&mut self, vertex: VertexId, proposal: ProposalOf<M>) {
        if self.state.executor.knows(vertex) {
            return;
        }
        if self.state.recovering.remove(&vertex).is_some() {
            self.cancel_timer(Timer::Recover(vertex));
        }
        if self.breaks(Mutant::ReplyAtCommit) {
            self.reply_out_of_turn(vertex, &proposal);
        }
        let mut deps = proposal.deps.clone();
        if self.breaks(Mutant::ExecuteUncommitted) {
            deps = deps.iter().filter(|dep| self.state.executor.knows(*dep)).collect();
        }
        self.state.log.insert(vertex, proposal);
        let outcome = self.state.executor.commit(vertex, deps);
        self.run(outcome);
    }

    /// Runs what may run, and sees to it that what somebody waits for comes.
    pub(super) fn run(&mut self, outcome: Outcome<VertexId>) {
        let Outcome { components, blockers } = outcome;
        for (at, component) in components.iter().enumerate() {
            let later = components.get(at + 1..).unwrap_or_default();
            self.run_component(component.clone(), later);
        }
        for blocker in blockers {
            self.recover_later(blocker);
        }
    }

    /// Runs a component in the order of its vertices, snapshots last: a snapshot stands for whole components. (The executor
    /// counts those `later` as executed already.)
    fn run_component(&mut self, mut component: Vec<VertexId>, later: &[Vec<VertexId>]) {
        let splits = self.breaks(Mutant::SnapshotSplitsComponent);
        if self.breaks(Mutant::ComponentUnsorted) && self.index % 2 == 1 {
            component.reverse();
        }
        let action = |state: &ReplicaState<M>, vertex: &VertexId| {
            state.log.get(vertex).map_or(Action::Noop, |proposal| proposal.action.clone())
        };
        if !splits {
            component.sort_by_key(|vertex| action(self.state, vertex) == Action::Snapshot);
        }
        let before = (self.state.since_snapshot, self.state.bytes_since_snapshot);
        for (place, vertex) in component.iter().enumerate() {
            self.state.note(*vertex);
            match action(self.state, vertex) {
                Action::Noop => {}
                Action::Commands(commands) => {
                    for command in commands.iter() {
                        self.execute(*vertex, command);
                    }
                }
                Action::Snapshot => {
                    let mut executed = self.state.executed().clone();
                    let rest = component[place + 1..].iter().filter(|_| splits);
                    for vertex in later.iter().flatten().chain(rest) {
                        executed.remove(*vertex);
                    }
                    self.take_snapshot(executed);
                }
            }
        }
        self.request_snapshot_if_due(before);
    }

    /// Executes a command unless it was executed before. The replica whose turn the vertex is replies; to what was executed
    /// before everybody replies, since whoever should have the first time may be gone.
    fn execute(&mut self, vertex: VertexId, command: &CommandOf<M>) {
        let rules = TableRules {
            anew: self.breaks(Mutant::NoClientTable),
            largest_only: self.breaks(Mutant::LargestIdOnly),
        };
        let ReplicaState { clients, machine, .. } = self.state;
        let replies = self.config.replier(vertex) == self.index
            || matches!(
                clients.standing(&command.id),
                Standing::Settled(Answer::Output(_) | Answer::Opened { .. })
            );
        let answer = clients.execute(machine, command, self.config.limits.lanes, rules);
        if let Some(answer) = answer
            && replies
        {
            let reply = ClientMsg::Reply { id: command.id, answer };
            self.send(command.id.client_id(), Msg::Client(reply));
        }
    }

    /// For a mutant: replies with what the commands would do to the present state, before their turn.
    fn reply_out_of_turn(&mut self, vertex: VertexId, proposal: &ProposalOf<M>) {
        let (machine, clients) = (self.state.machine.clone(), self.state.clients.clone());
        for command in proposal.action.commands() {
            self.execute(vertex, command);
        }
        (self.state.machine, self.state.clients) = (machine, clients);
    }

    /// Begins to wait for a vertex that is not committed.
    pub(super) fn recover_later(&mut self, vertex: VertexId) {
        let ReplicaState { executor, recovering, .. } = self.state;
        let room = recovering.len() < self.config.limits.recovering_vertices;
        if room && !executor.knows(vertex) && !recovering.contains_key(&vertex) {
            recovering.insert(vertex, 0);
            self.set_timer(Timer::Recover(vertex));
        }
    }

    /// Has waited for a vertex long enough: asks a proposer, first the vertex's own and then the next, since the own one may
    /// be gone. Every third time it asks another replica, since what was collected only replicas know.
    fn on_recover_timeout(&mut self, vertex: VertexId) {
        let Some(asked_before) = self.state.recovering.get_mut(&vertex) else { return };
        let tries = *asked_before;
        *asked_before += 1;
        let asked = match self.other_replica(tries / 3) {
            Some(replica) if tries % 3 == 2 => replica,
            other => self.proposer_in_turn(vertex, if other.is_some() { tries - tries / 3 } else { tries }),
        };
        self.send(asked, Msg::Recover(vertex));
        self.set_timer(Timer::Recover(vertex));
    }

    /// A proposer, in turn, beginning with the vertex's own, or the one that is on this server.
    fn proposer_in_turn(&self, vertex: VertexId, turn: u64) -> Id {
        let (layout, proposers) = (self.layout(), self.config.proposers() as u64);
        let first = if layout.coupled { self.index as u64 } else { u64::from(vertex.leader) };
        let turn = turn.wrapping_add(first) % proposers;
        layout.id(layout.proposing(), usize::try_from(turn).unwrap_or(0))
    }

    /// Another replica, in turn.
    pub(super) fn other_replica(&self, turn: u64) -> Option<Id> {
        let others = self.layout().replicas.checked_sub(1).filter(|others| *others > 0)?;
        let ahead = 1 + usize::try_from(turn % others as u64).unwrap_or(0);
        Some(self.layout().id(Role::Replica, (self.index + ahead) % (others + 1)))
    }

    /// Time and again: asks another replica for what it lacks, and tells again what may have been lost.
    fn on_catch_up_timeout(&mut self) {
        let turn = self.state.turn;
        self.state.turn = turn.wrapping_add(1);
        if let Some(source) = self.other_replica(turn) {
            self.ask_for_missing(source);
        }
        if self.state.snapshot.number > 0 {
            self.tell_saved();
        }
        // Whoever is fetching one would make others take ever newer ones, and have to begin again.
        if self.snapshot_is_due() && self.state.transfer.is_none() {
            self.request_snapshot();
        }
        for missing in self.state.executor.missing(self.config.limits.recovering_vertices) {
            self.recover_later(missing);
        }
        self.set_timer(Timer::CatchUp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpaxos::{Bounds, Config, Layout, Proposal, State, Timing};
    use crate::command::{Command, CommandId, Operation};
    use crate::compartmentalized::Group;
    use crate::faults::Correct;
    use crate::state_machine::{Counter, CounterCommand};
    use stateright::actor::{Actor, Command as Effect};
    use std::borrow::Cow;
    use std::sync::Arc;

    const LAYOUT: Layout =
        Layout { leaders: 3, dependency_nodes: 3, acceptors: 3, replicas: 3, proposers: 0, coupled: false };

    /// The second replica.
    fn replica() -> (Node<Counter>, State<Counter>) {
        replica_within(Limits::default())
    }

    fn replica_within(limits: Limits) -> (Node<Counter>, State<Counter>) {
        let majority = || Group::grid(0, 1, 1);
        let config = Arc::new(Config {
            layout: LAYOUT,
            dependencies: majority(),
            acceptors: majority(),
            fast: None,
            compaction: None,
            saves_needed: 1,
            known_clients: vec![7],
            limits,
            timing: Timing::default(),
            bounds: Bounds::default(),
            faults: Correct,
        });
        let actor = Node::of(Role::Replica, Part { index: 1, lost_storage: false, config }).unwrap();
        let state = actor.on_start(LAYOUT.id(Role::Replica, 1), &None, &mut Out::new());
        (actor, state)
    }

    /// Lets a timer run out; to whom something is sent then.
    fn asked_after((actor, state): &mut (Node<Counter>, State<Counter>), timer: Timer) -> Vec<Id> {
        let (mut out, mut now) = (Out::new(), Cow::Borrowed(&*state));
        actor.on_timeout(LAYOUT.id(Role::Replica, 1), &mut now, &timer, &mut out);
        *state = now.into_owned();
        let sent = out.into_iter().filter_map(|effect| match effect {
            Effect::Send(dst, _) => Some(dst),
            _ => None,
        });
        sent.collect()
    }

    #[test]
    fn all_holes_are_waited_for_together_and_the_next_proposer_is_asked_after_the_own_one() {
        let mut replica = replica();
        let hole = |id| VertexId { leader: 0, id };
        let holes: Vec<VertexId> = (0..40).map(hole).collect();
        let deps = VertexSet::below([40]);
        let id = CommandId { client: 7, session: 0, pseudonym: 0, seq: 1 };
        let command = Command { id, op: Operation::Apply(CounterCommand::Add(1)) };
        let proposal = Proposal { action: Action::Commands([command].into()), deps };
        let committed = Committed { vertex: VertexId { leader: 1, id: 0 }, proposal };
        let (mut out, mut state) = (Out::new(), Cow::Borrowed(&replica.1));
        let leader = LAYOUT.id(Role::Leader, 1);
        replica.0.on_msg(
            LAYOUT.id(Role::Replica, 1),
            &mut state,
            leader,
            Msg::Commit(vec![committed]),
            &mut out,
        );
        replica.1 = state.into_owned();

        asked_after(&mut replica, Timer::CatchUp);
        let State::Replica(state) = &replica.1 else { panic!("a replica") };
        assert_eq!(state.recovering.keys().copied().collect::<Vec<_>>(), holes);
        let asked: Vec<Id> =
            (0..6).flat_map(|_| asked_after(&mut replica, Timer::Recover(hole(5)))).collect();
        let leader = |index| LAYOUT.id(Role::Leader, index);
        let other = |index| LAYOUT.id(Role::Replica, index);
        assert_eq!(asked, [leader(0), leader(1), other(2), leader(2), leader(0), other(0)]);
    }

    /// What this replica sends when it learns of these.
    fn learned(
        replica: &mut (Node<Counter>, State<Counter>),
        committed: Vec<Committed<CounterCommand>>,
    ) -> Vec<Msg<Counter>> {
        let (mut out, mut state) = (Out::new(), Cow::Borrowed(&replica.1));
        let leader = LAYOUT.id(Role::Leader, 0);
        replica.0.on_msg(LAYOUT.id(Role::Replica, 1), &mut state, leader, Msg::Commit(committed), &mut out);
        replica.1 = state.into_owned();
        let sent = out.into_iter().filter_map(|effect| match effect {
            Effect::Send(_, msg) => Some(msg),
            _ => None,
        });
        sent.collect()
    }

    /// Ten commands, a snapshot, and what it learns of next. Another replica asks first, so this one waits for twice as much.
    #[test]
    fn snapshots_are_asked_for_earlier_and_less_is_kept_where_vertices_are_large() {
        let committed = |id: u64, action, deps| Committed {
            vertex: vertex((0, id)),
            proposal: Proposal { action, deps },
        };
        let command = |id: u64| {
            let command_id = CommandId { client: 7, session: 0, pseudonym: 0, seq: 1 + id };
            let command = Command { id: command_id, op: Operation::Apply(CounterCommand::Add(1)) };
            committed(id, Action::Commands([command].into()), VertexSet::EMPTY)
        };
        let bytes = proposal_bytes::<Counter>(&command(9).proposal);
        let wide = Limits { snapshot_vertices: 1_000, retained_vertices: 1_000, ..Limits::default() };
        for (vertices, asked, kept) in [(2, vec![3], 2), (4, vec![7], 4), (5, vec![9], 5), (20, vec![], 11)] {
            let mut replica = replica_within(Limits { log_bytes: vertices * bytes, ..wide });
            let asks = |msg: &Msg<Counter>| matches!(msg, Msg::SnapshotRequest);
            let asked_at: Vec<u64> =
                (0..10).filter(|id| learned(&mut replica, vec![command(*id)]).iter().any(asks)).collect();
            assert_eq!(asked_at, asked, "{vertices}");
            learned(&mut replica, vec![committed(10, Action::Snapshot, VertexSet::below([10]))]);
            learned(&mut replica, vec![command(11)]);
            let State::Replica(state) = &replica.1 else { panic!("a replica") };
            assert_eq!((state.history.len(), state.log.len()), (kept + 1, kept + 1));
            assert_eq!((state.since_snapshot, state.bytes_since_snapshot), (1, bytes));
            let kept_bytes = state.history.iter().map(|vertex| state.bytes_of(*vertex)).sum::<usize>();
            assert_eq!(state.history_bytes, kept_bytes);
        }
    }

    #[test]
    fn a_page_is_in_the_order_in_which_it_ran() {
        let mut replica = replica();
        let me = LAYOUT.id(Role::Replica, 1);
        let mut hear = |src: Id, msg: Msg<Counter>| {
            let (mut out, mut state) = (Out::new(), Cow::Borrowed(&replica.1));
            replica.0.on_msg(me, &mut state, src, msg, &mut out);
            replica.1 = state.into_owned();
            out.into_iter().collect::<Vec<_>>()
        };
        // Of three leaders' vertices each depends on the one before it.
        let ran: Vec<VertexId> = [2, 0, 1, 2, 0].into_iter().zip([0, 0, 0, 1, 1]).map(vertex).collect();
        for (at, vertex) in ran.iter().enumerate() {
            let deps = ran[..at].iter().copied().collect();
            let proposal = Proposal { action: Action::Noop, deps };
            hear(LAYOUT.id(Role::Leader, 0), Msg::Commit(vec![Committed { vertex: *vertex, proposal }]));
        }
        let known = [ran[0], ran[2]].into_iter().collect();
        let sent = hear(LAYOUT.id(Role::Replica, 0), Msg::CatchUp { known });
        let [Effect::Send(_, Msg::Commit(page))] = sent.as_slice() else { panic!("{sent:?}") };
        let page: Vec<VertexId> = page.iter().map(|committed| committed.vertex).collect();
        assert_eq!(page, [ran[1], ran[3], ran[4]]);
    }

    fn vertex((leader, id): (u32, u64)) -> VertexId {
        VertexId { leader, id }
    }
}
