//! History that the properties need: what was asked and answered, votes ever cast, orders of execution.

use super::Bpaxos;
use crate::history::History;
use crate::sequential::OneObject;
use crate::{Cause, Step};
use parthood_protocols::bpaxos::{
    AcceptorState, Action, Config, LeaderState, Msg, Node, Proposal, ReplicaState, Rules, Snapshot, State,
    is_pre_acceptance,
};
use parthood_protocols::client::ClientMsg;
use parthood_protocols::durable::{Change, map_changes};
use parthood_protocols::graph::{VertexId, VertexSet, Vertices as _};
use parthood_protocols::ids::Round;
use parthood_protocols::state_machine::{KeyValue, StateMachine};
use parthood_quorums::NodeSet;
use stateright::actor::Command;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What happened so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ghost<M: StateMachine = KeyValue> {
    /// Who ever voted for what.
    pub(super) votes: BTreeMap<Cast<M::Command>, NodeSet>,
    /// What leaders gave numbers to.
    pub(super) numbered: BTreeMap<VertexId, Action<M::Command>>,
    /// What each dependency node answered last, by vertex and node.
    pub(super) answers: BTreeMap<(VertexId, usize), VertexSet>,
    /// For each replica, what it ran and in which order, as far as that can be seen.
    pub(super) orders: BTreeMap<usize, Vec<VertexId>>,
    /// The first snapshot of each number.
    pub(super) snapshots: BTreeMap<u64, Snapshot<M>>,
    /// Whether a replica took over another one's snapshot.
    pub(super) taken_over: bool,
    /// What clients asked and were told.
    pub(super) clients: History<M::Command, M::Output>,
    /// What went wrong in some step.
    pub(super) wrong: Wrong,
}

/// What is voted for: a vertex, a round and a value.
pub(super) type Cast<C> = (VertexId, Round, Proposal<C>);

/// What no state shows, but a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each belongs to a property of its own")]
pub(super) struct Wrong {
    /// A number was given to two different actions.
    pub(super) numbered_twice: bool,
    /// An acceptor's promise decreased.
    pub(super) went_back: bool,
    /// An acceptor answered for a vertex that it had collected.
    pub(super) answered_collected: bool,
    /// Two snapshots of one number differ.
    pub(super) snapshots_differ: bool,
    /// A snapshot with all its parts was not taken over.
    pub(super) snapshot_refused: bool,
}

/// What votes are to be read as.
#[derive(Clone, Copy, Debug)]
struct Votes {
    /// The step is a restart that may have undone some.
    undone: bool,
    /// Those of round zero are for what a leader has numbered.
    fast: bool,
}

impl<M: StateMachine> Default for Ghost<M> {
    fn default() -> Self {
        Self {
            votes: BTreeMap::new(),
            numbered: BTreeMap::new(),
            answers: BTreeMap::new(),
            orders: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            taken_over: false,
            clients: History::default(),
            wrong: Wrong::default(),
        }
    }
}

impl<M: StateMachine> Ghost<M> {
    /// How many votes were cast.
    pub fn votes(&self) -> usize {
        self.votes.values().map(|voters| voters.len()).sum()
    }

    /// What was chosen, in the order of vertices and rounds; in one round trip when the second of the two rounds says so.
    pub(super) fn chosen<'a, F: Rules>(
        &'a self,
        protocol: &'a Bpaxos<M, F>,
    ) -> impl Iterator<Item = (VertexId, Round, &'a Proposal<M::Command>)> {
        let chosen =
            self.votes.iter().filter(|(cast, voters)| self.is_chosen(protocol.config(), cast, **voters));
        chosen.map(|((vertex, round, proposal), _)| (*vertex, *round, proposal))
    }

    /// Have these voters chosen what they voted for? With a fast path, votes of even rounds only choose if that says so.
    fn is_chosen<F: Rules>(&self, config: &Config<F>, cast: &Cast<M::Command>, voters: NodeSet) -> bool {
        let (vertex, round, proposal) = cast;
        let Some(fast) = config.fast else { return config.acceptors.system.is_write_quorum(voters) };
        let in_round = |round| {
            let cast = (*vertex, Round(round), proposal.clone());
            self.votes.get(&cast).copied().unwrap_or_default()
        };
        let in_one_round_trip = round.0 <= 1
            && fast.has_chosen(config.layout.acceptors, vertex.leader as usize, in_round(0), in_round(1));
        in_one_round_trip || !is_pre_acceptance(*round) && config.acceptors.system.is_write_quorum(voters)
    }

    /// Was something chosen in one round trip?
    pub(super) fn was_fast<F: Rules>(&self, protocol: &Bpaxos<M, F>) -> bool {
        let config = protocol.config();
        let mut early = self.votes.iter().filter(|((_, round, _), _)| round.0 <= 1);
        early.any(|(cast, voters)| {
            let quorum = config.acceptors.system.is_write_quorum(*voters);
            (!quorum || cast.1 == Round::ZERO) && self.is_chosen(config, cast, *voters)
        })
    }
}

pub(super) fn observe<M: StateMachine, F: Rules>(
    protocol: &Bpaxos<M, F>,
    ghost: &mut Cow<'_, Ghost<M>>,
    step: &Step<'_, Node<M, F>>,
) {
    let (_, index) = protocol.config().layout.node(step.id);
    let undone = matches!(step.cause, Cause::Start(_)) && protocol.undone_steps;
    let votes = Votes { undone, fast: protocol.config().fast.is_some() };
    match (step.before, step.after) {
        (_, State::Leader(after)) => observe_leader(ghost, index, after, step, undone),
        (_, State::DependencyNode(_)) => observe_dependency_node(ghost, index, step),
        (before, State::Acceptor(after)) => {
            let before = before.and_then(|before| match before {
                State::Acceptor(before) => Some(before),
                _ => None,
            });
            observe_acceptor(ghost, index, before, after, votes);
            observe_answers(ghost, before, step);
        }
        (before, State::Server(after)) => {
            let before = before.and_then(|before| match before {
                State::Server(before) => Some(&**before),
                _ => None,
            });
            if let Some(leader) = &after.leader {
                observe_leader(ghost, index, leader, step, undone);
            }
            let acceptor = before.map(|before| &before.acceptor);
            observe_acceptor(ghost, index, acceptor, &after.acceptor, votes);
            observe_answers(ghost, acceptor, step);
            if let Some(replica) = &after.replica {
                observe_replica(
                    ghost,
                    index,
                    before.and_then(|before| before.replica.as_ref()),
                    replica,
                    step,
                );
            }
        }
        (before, State::Replica(after)) => {
            let before = before.and_then(|before| match before {
                State::Replica(before) => Some(&**before),
                _ => None,
            });
            observe_replica(ghost, index, before, after, step);
        }
        (Some(State::Client(before)), State::Client(after)) => {
            if let Cause::Deliver { msg: Msg::Client(msg @ ClientMsg::Reply { .. }), .. } = &step.cause
                && before != after
                && protocol.knows_clients()
            {
                ghost.to_mut().clients.returned(&OneObject::<M>::default(), msg);
            }
        }
        _ => {}
    }
    for command in step.out {
        if let (Command::Send(_, Msg::Client(msg)), true) = (command, protocol.knows_clients()) {
            match step.after {
                State::Client(_) => ghost.to_mut().clients.sent_by_client(msg),
                _ => ghost.to_mut().clients.sent_by_server(msg),
            }
        }
    }
}

/// Numbers that a leader gave out in steps that its crash undid were never told to anybody.
fn forget_unsaved_numbers<M: StateMachine>(
    ghost: &mut Cow<'_, Ghost<M>>,
    index: usize,
    after: &LeaderState<M::Command>,
) {
    let saved = |vertex: &VertexId| vertex.leader as usize != index || vertex.id < after.reserved;
    if !ghost.numbered.keys().all(saved) {
        ghost.to_mut().numbered.retain(|vertex, _| saved(vertex));
    }
}

fn observe_leader<M: StateMachine, F: Rules>(
    ghost: &mut Cow<'_, Ghost<M>>,
    index: usize,
    after: &LeaderState<M::Command>,
    step: &Step<'_, Node<M, F>>,
    undone: bool,
) {
    if undone {
        forget_unsaved_numbers(ghost, index, after);
    }
    for command in step.out {
        let (vertex, action) = match command {
            Command::Send(_, Msg::DependencyRequest { vertex, .. }) => {
                (vertex, after.waiting.get(&vertex.id).map(|waiting| &waiting.action))
            }
            Command::Send(_, Msg::PreAccept { vertex, round: Round::ZERO, proposal }) => {
                (vertex, Some(&proposal.action))
            }
            _ => continue,
        };
        if let Some(action) = action.filter(|_| vertex.leader as usize == index) {
            number(ghost, *vertex, action);
        }
    }
}

/// A vertex was given to an action.
fn number<M: StateMachine>(ghost: &mut Cow<'_, Ghost<M>>, vertex: VertexId, action: &Action<M::Command>) {
    match ghost.numbered.get(&vertex) {
        Some(known) if known == action => {}
        Some(_) => ghost.to_mut().wrong.numbered_twice = true,
        None => drop(ghost.to_mut().numbered.insert(vertex, action.clone())),
    }
}

fn observe_dependency_node<M: StateMachine, F: Rules>(
    ghost: &mut Cow<'_, Ghost<M>>,
    node: usize,
    step: &Step<'_, Node<M, F>>,
) {
    for command in step.out {
        if let Command::Send(_, Msg::DependencyReply { vertex, deps }) = command
            && ghost.answers.get(&(*vertex, node)) != Some(deps)
        {
            ghost.to_mut().answers.insert((*vertex, node), deps.clone());
        }
    }
}

/// Notes new votes; with a fast path, one in round zero says what its leader numbered. After a restart that may have undone steps, whatever they voted for was never told, and is no vote.
fn observe_acceptor<M: StateMachine>(
    ghost: &mut Cow<'_, Ghost<M>>,
    acceptor: usize,
    before: Option<&AcceptorState<M::Command>>,
    after: &AcceptorState<M::Command>,
    Votes { undone, fast }: Votes,
) {
    let nothing = im::OrdMap::new();
    let ballots = before.map_or(&nothing, |before| &before.ballots);
    for change in map_changes(ballots, &after.ballots) {
        let (Change::Put(vertex, _) | Change::Remove(vertex)) = &change;
        let old = ballots.get(vertex);
        let new = after.ballots.get(vertex);
        let gone = new.is_none() && !after.collection.contains(*vertex);
        let lower = old.zip(new).is_some_and(|(old, new)| new.round < old.round);
        if !undone && (gone || lower) {
            ghost.to_mut().wrong.went_back = true;
        }
        let cast =
            |vote: &parthood_protocols::bpaxos::Vote<_>| (*vertex, vote.vote_round, vote.vote_value.clone());
        let (old, new) = (old.and_then(|b| b.vote.as_ref()), new.and_then(|b| b.vote.as_ref()));
        if let Some(vote) = old.filter(|vote| {
            undone && after.voting && new != Some(*vote) && !after.collection.contains(*vertex)
        }) {
            let key = cast(vote);
            let Ghost { votes, .. } = ghost.to_mut();
            if let Some(voters) = votes.get_mut(&key) {
                *voters = voters.without(acceptor);
            }
            votes.retain(|_, voters| !voters.is_empty());
        }
        if let Some(vote) = new.filter(|vote| old != Some(*vote) && vote.vote_round == Round::ZERO && fast) {
            number(ghost, *vertex, &vote.vote_value.action);
        }
        if let Some(key) = new.filter(|vote| old != Some(*vote)).map(cast)
            && !ghost.votes.get(&key).is_some_and(|voters| voters.contains(acceptor))
        {
            ghost.to_mut().votes.entry(key).or_default().insert(acceptor);
        }
    }
}

/// Notes an answer for what was collected before.
fn observe_answers<M: StateMachine, F: Rules>(
    ghost: &mut Cow<'_, Ghost<M>>,
    before: Option<&AcceptorState<M::Command>>,
    step: &Step<'_, Node<M, F>>,
) {
    let Some(before) = before else { return };
    for command in step.out {
        if let Command::Send(
            _,
            Msg::Phase1b { vertex, .. } | Msg::Phase2b { vertex, .. } | Msg::PreAcceptOk { vertex, .. },
        ) = command
            && before.collection.contains(*vertex)
        {
            ghost.to_mut().wrong.answered_collected = true;
        }
    }
}

fn observe_replica<M: StateMachine, F: Rules>(
    ghost: &mut Cow<'_, Ghost<M>>,
    replica: usize,
    before: Option<&ReplicaState<M>>,
    after: &ReplicaState<M>,
    step: &Step<'_, Node<M, F>>,
) {
    let nothing = VertexSet::EMPTY;
    let ran_before = before.map_or(&nothing, ReplicaState::executed);
    if ran_before != after.executed() {
        let ran = |vertex: &&VertexId| !ran_before.contains(**vertex);
        let new: Vec<VertexId> = after.history.iter().filter(ran).copied().collect();
        let order = ghost.to_mut().orders.entry(replica).or_default();
        order.retain(|vertex| after.executed().contains(*vertex));
        order.extend(new);
    }
    let snapshot = &after.snapshot;
    if snapshot.number > 0 && before.is_none_or(|before| before.snapshot != *snapshot) {
        match ghost.snapshots.get(&snapshot.number) {
            None => drop(ghost.to_mut().snapshots.insert(snapshot.number, snapshot.clone())),
            Some(first) if first.machine == snapshot.machine && first.clients == snapshot.clients => {}
            Some(_) => ghost.to_mut().wrong.snapshots_differ = true,
        }
    }
    if let (Cause::Deliver { msg: Msg::SnapshotPart(part), .. }, Some(before)) = (&step.cause, before) {
        if after.snapshots > before.snapshots && !ghost.taken_over {
            ghost.to_mut().taken_over = true;
        }
        let complete = part.next.is_none() && before.transfer.is_some() && after.transfer.is_none();
        if complete && after.snapshots < part.number {
            ghost.to_mut().wrong.snapshot_refused = true;
        }
    }
}
