//! The properties (`BPaxos` notes, section 10), and states in words.

use super::{Bpaxos, Ghost};
use crate::{Property, View};
use itertools::Itertools as _;
use parthood_protocols::bpaxos::{
    AcceptorState, Action, Attempt, DependencyState, Footprint, LeaderState, Proposal, ProposerState,
    ReplicaState, Rules, Stage, State, Vote, Waiting, is_pre_acceptance,
};
use parthood_protocols::command::{CommandId, Operation};
use parthood_protocols::graph::{VertexId, VertexSet, Vertices as _};
use parthood_protocols::ids::Round;
use parthood_protocols::state_machine::{KeyValue, StateMachine};
use parthood_quorums::NodeSet;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};

type Seen<'a, M, F> = View<'a, Bpaxos<M, F>>;

/// What is claimed of a deployed run, whatever the machine and whoever the clients.
pub(super) fn of_a_deployment<M: StateMachine, F: Rules>() -> Vec<Property<Bpaxos<M, F>>> {
    vec![
        Property::always("one proposal per round and vertex", one_proposal_per_round),
        Property::always("agreement", agreement),
        Property::always("learned implies chosen", learned_implies_chosen),
        Property::always("the dependency invariant", dependency_invariant),
        Property::always("a number is given out once", |view| !view.ghost.wrong.numbered_twice),
        Property::always("what has run is closed", executed_is_closed),
        Property::always("equal executed sets give equal states", equal_sets_give_equal_states),
        Property::always("snapshots are closed, and equal everywhere", snapshots_are_sound),
        Property::always("what is collected is saved", collected_is_saved),
        Property::always("what is collected is not answered for", |view| {
            !view.ghost.wrong.answered_collected
        }),
        Property::always("promises never decrease", |view| !view.ghost.wrong.went_back),
        Property::always("quorums meet", |view| view.protocol.quorums_meet),
    ]
}

/// What is claimed of a model: that, and what takes every pair of vertices and the clients' scripts to say.
pub(super) fn of_a_model<F: Rules>() -> Vec<Property<Bpaxos<KeyValue, F>>> {
    let more: [Property<Bpaxos<KeyValue, F>>; 17] = [
        Property::always("the dependency service", dependency_service),
        Property::always("dependencies were given out, to others", dependencies_were_given_out),
        Property::always("validity", validity),
        Property::always("conflicting vertices run in one order", one_order),
        Property::always("exactly once", exactly_once),
        Property::always("linearizable", |view| view.ghost.clients.linearizable()),
        Property::at_the_end("every client is answered", |view| {
            !view.protocol.answers || every_client_is_answered(view)
        }),
        Property::sometimes("all clients are done", every_client_is_answered),
        Property::sometimes("two vertices depend on each other", |view| {
            let chosen = chosen(view);
            let depend = |a: &VertexId, b: &VertexId| {
                chosen.get(a).is_some_and(|p: &&Proposal<_>| p.deps.contains(*b))
            };
            chosen.keys().any(|a| chosen.keys().any(|b| a != b && depend(a, b) && depend(b, a)))
        }),
        Property::sometimes("three vertices depend on each other in a ring", |view| {
            let chosen = chosen(view);
            let first = |a: &VertexId, b: &VertexId| {
                a != b && chosen[a].deps.contains(*b) && !chosen[b].deps.contains(*a)
            };
            let ring = |(a, b, c)| first(a, b) && first(b, c) && first(c, a);
            chosen.keys().array_combinations().any(|[a, b, c]| ring((a, b, c)) || ring((a, c, b)))
        }),
        Property::sometimes("a noop is chosen", |view| {
            chosen(view).values().any(|proposal| proposal.action == Action::Noop)
        }),
        Property::sometimes("a command is chosen in a later round", |view| {
            let mut chosen = view.ghost.chosen(view.protocol);
            chosen.any(|(_, round, proposal)| round > Round::ZERO && !proposal.action.commands().is_empty())
        }),
        Property::sometimes("replicas run vertices in different orders", |view| {
            let orders: Vec<_> = view.ghost.orders.values().collect();
            orders.iter().any(|a| orders.iter().any(|b| a.len() == b.len() && a != b))
        }),
        Property::sometimes("commands share a vertex", |view| {
            view.ghost.numbered.values().any(|action| action.commands().len() > 1)
        }),
        Property::sometimes("vertices are collected", |view| {
            acceptors(view).any(|acceptor| !acceptor.collection.vertices.is_empty())
        }),
        Property::sometimes("a snapshot is taken over", |view| view.ghost.taken_over),
        Property::sometimes("a snapshot stands for a component of several", |view| {
            let chosen = chosen(view);
            view.ghost.snapshots.values().any(|snapshot| {
                let inside = |vertex: &&VertexId| snapshot.executed.contains(**vertex);
                let inside: Vec<_> = chosen.keys().filter(inside).collect();
                let names = |a: &VertexId, b: &VertexId| a != b && chosen[a].deps.contains(*b);
                inside.iter().any(|a| inside.iter().any(|b| names(a, b) && names(b, a)))
            })
        }),
    ];
    of_a_deployment().into_iter().chain(more).collect()
}

/// What is claimed of a model with a fast path: that, and that it is taken.
pub(crate) fn of_a_fast_model<F: Rules>() -> Vec<Property<Bpaxos<KeyValue, F>>> {
    let fast =
        Property::sometimes("a command is chosen in one round trip", |view: &Seen<'_, KeyValue, F>| {
            view.ghost.was_fast(view.protocol)
        });
    of_a_model().into_iter().chain([fast]).collect()
}

fn acceptors<'a, M: StateMachine, F: Rules>(
    view: &Seen<'a, M, F>,
) -> impl Iterator<Item = &'a AcceptorState<M::Command>> {
    view.states.iter().filter_map(|state| match state {
        State::Acceptor(acceptor) => Some(acceptor),
        State::Server(server) => Some(&server.acceptor),
        _ => None,
    })
}

fn replicas<'a, M: StateMachine, F: Rules>(
    view: &Seen<'a, M, F>,
) -> impl Iterator<Item = (usize, &'a ReplicaState<M>)> {
    let replicas = view.states.iter().filter_map(|state| match state {
        State::Replica(replica) => Some(&**replica),
        State::Server(server) => server.replica.as_ref(),
        _ => None,
    });
    replicas.enumerate()
}

/// What was chosen, by vertex; of two values the last.
fn chosen<'a, M: StateMachine, F: Rules>(
    view: &Seen<'a, M, F>,
) -> BTreeMap<VertexId, &'a Proposal<M::Command>> {
    view.ghost.chosen(view.protocol).map(|(vertex, _, proposal)| (vertex, proposal)).collect()
}

/// S5. With a fast path, in rounds in which acceptors do not vote for what they know themselves.
fn one_proposal_per_round<M: StateMachine, F: Rules>(view: &Seen<'_, M, F>) -> bool {
    let mut last = None;
    let own = |round: &Round| view.protocol.config().fast.is_some() && is_pre_acceptance(*round);
    let mut proposed = view.ghost.votes.keys().filter(|(_, round, _)| !own(round));
    proposed.all(|(vertex, round, _)| last.replace((vertex, round)) != Some((vertex, round)))
}

/// S1.
fn agreement<M: StateMachine, F: Rules>(view: &Seen<'_, M, F>) -> bool {
    let mut last: Option<(VertexId, &Proposal<M::Command>)> = None;
    view.ghost.chosen(view.protocol).all(|(vertex, _, proposal)| {
        let before = last.replace((vertex, proposal));
        before.is_none_or(|(other, before)| other != vertex || before == proposal)
    })
}

/// S1, for what replicas believe.
fn learned_implies_chosen<M: StateMachine, F: Rules>(view: &Seen<'_, M, F>) -> bool {
    let chosen: BTreeSet<_> =
        view.ghost.chosen(view.protocol).map(|(vertex, _, value)| (vertex, value)).collect();
    replicas(view).all(|(_, replica)| replica.log.iter().all(|entry| chosen.contains(&(*entry.0, entry.1))))
}

/// S2: of two chosen vertices that conflict, one depends on the other. Vertices that touch one part of the state are compared
/// with each other, and those that touch everything with all.
fn dependency_invariant<M: StateMachine, F: Rules>(view: &Seen<'_, M, F>) -> bool {
    let mut parts: BTreeMap<M::Key, Vec<VertexId>> = BTreeMap::new();
    let (mut barriers, mut all) = (vec![], BTreeMap::new());
    for (vertex, proposal) in chosen(view) {
        if proposal.action == Action::Noop {
            continue;
        }
        let footprint = Footprint::of::<M>(&proposal.action);
        match &footprint {
            Footprint::Everything => barriers.push(vertex),
            Footprint::Parts { reads, writes } => {
                for key in reads.iter().chain(writes) {
                    parts.entry(key.clone()).or_default().push(vertex);
                }
            }
        }
        all.insert(vertex, (footprint, &proposal.deps));
    }
    let kept = |a: &VertexId, b: &VertexId| {
        let ((one, deps), (other, others)) = (&all[a], &all[b]);
        a == b || !one.conflicts(other) || deps.contains(*b) || others.contains(*a)
    };
    let pairs = |vertices: &Vec<VertexId>| {
        vertices.iter().enumerate().all(|(at, a)| vertices[at + 1..].iter().all(|b| kept(a, b)))
    };
    parts.values().all(pairs) && barriers.iter().all(|a| all.keys().all(|b| kept(a, b)))
}

/// What each dependency node answered last, by vertex and node: where acceptors are these, what they pre-accepted.
fn answers<'a, F: Rules>(view: &Seen<'a, KeyValue, F>) -> Cow<'a, BTreeMap<(VertexId, usize), VertexSet>> {
    if view.protocol.config().fast.is_none() {
        return Cow::Borrowed(&view.ghost.answers);
    }
    let mut answers: BTreeMap<_, VertexSet> = BTreeMap::new();
    for ((vertex, round, proposal), voters) in &view.ghost.votes {
        for voter in voters.iter().filter(|_| is_pre_acceptance(*round)) {
            // What a node names for a vertex never changes, but the leader's own is added for some votes.
            let known = answers.entry((*vertex, voter)).or_insert_with(|| proposal.deps.clone());
            if proposal.deps.is_subset(known) {
                *known = proposal.deps.clone();
            }
        }
    }
    Cow::Owned(answers)
}

/// S3: whichever quorums' answers the leaders of two conflicting vertices put together, one names the other.
fn dependency_service<F: Rules>(view: &Seen<'_, KeyValue, F>) -> bool {
    let Ghost { numbered, .. } = view.ghost;
    let answers = answers(view);
    let silent = |vertex: VertexId, about: VertexId| -> NodeSet {
        let of_vertex = answers.range((vertex, 0)..=(vertex, usize::MAX));
        of_vertex.filter(|(_, deps)| !deps.contains(about)).map(|((_, node), _)| *node).collect()
    };
    let config = view.protocol.config();
    let quorum = |nodes| {
        let system = &config.dependencies.system;
        system.is_read_quorum(nodes) && system.is_write_quorum(nodes)
    };
    numbered.iter().all(|(a, one)| {
        let one = Footprint::of::<KeyValue>(one);
        numbered.range(..a).all(|(b, other)| {
            !one.conflicts(&Footprint::of::<KeyValue>(other))
                || !quorum(silent(*a, *b))
                || !quorum(silent(*b, *a))
        })
    })
}

/// S11: what is named as a dependency is another vertex, whose number was given out.
fn dependencies_were_given_out<F: Rules>(view: &Seen<'_, KeyValue, F>) -> bool {
    let given: VertexSet = view.ghost.numbered.keys().copied().collect();
    let given = given.filled();
    answers(view).iter().all(|((vertex, _), deps)| !deps.contains(*vertex) && deps.is_subset(&given))
}

/// S4: what is chosen is a noop after nothing, or what a leader numbered after what a quorum named together.
fn validity<F: Rules>(view: &Seen<'_, KeyValue, F>) -> bool {
    let Ghost { numbered, .. } = view.ghost;
    let answers = answers(view);
    view.ghost.chosen(view.protocol).all(|(vertex, _, proposal)| {
        if proposal.action == Action::Noop {
            return proposal.deps.is_empty();
        }
        let named = answers.range((vertex, 0)..=(vertex, usize::MAX));
        let (mut nodes, mut union) = (NodeSet::EMPTY, VertexSet::EMPTY);
        for ((_, node), deps) in named.filter(|(_, deps)| deps.is_subset(&proposal.deps)) {
            nodes.insert(*node);
            union.add_all(deps);
        }
        let system = &view.protocol.config().dependencies.system;
        let quorum = system.is_read_quorum(nodes) && system.is_write_quorum(nodes);
        numbered.get(&vertex) == Some(&proposal.action) && quorum && union == proposal.deps
    })
}

/// S8, of states: what has run ran after, or together with, all that it depends on.
fn executed_is_closed<M: StateMachine, F: Rules>(view: &Seen<'_, M, F>) -> bool {
    replicas(view).all(|(_, replica)| {
        let executed = replica.executed();
        let ran = |vertex: &VertexId| executed.contains(*vertex);
        replica.log.iter().all(|(vertex, proposal)| !ran(vertex) || proposal.deps.is_subset(executed))
    })
}

/// Which of two vertices a replica runs first, as far as that can be seen.
fn first<M: StateMachine>(
    ghost: &Ghost<M>,
    index: usize,
    replica: &ReplicaState<M>,
    a: VertexId,
    b: VertexId,
) -> Option<VertexId> {
    match (replica.executed().contains(a), replica.executed().contains(b)) {
        (false, false) => None,
        (true, false) => Some(a),
        (false, true) => Some(b),
        (true, true) => {
            let order = ghost.orders.get(&index)?;
            let place = |vertex| order.iter().position(|other| *other == vertex);
            Some(if place(a)? < place(b)? { a } else { b })
        }
    }
}

/// S7: no two replicas run conflicting vertices in different orders, nor one of them the first only and one the second only.
fn one_order<F: Rules>(view: &Seen<'_, KeyValue, F>) -> bool {
    let acting = chosen(view).into_iter().filter(|(_, proposal)| proposal.action != Action::Noop);
    let acting: Vec<_> = acting.map(|(vertex, p)| (vertex, Footprint::of::<KeyValue>(&p.action))).collect();
    acting.iter().enumerate().all(|(at, (a, one))| {
        acting[at + 1..].iter().filter(|(_, other)| one.conflicts(other)).all(|(b, _)| {
            let mut firsts =
                replicas(view).filter_map(|(index, replica)| first(view.ghost, index, replica, *a, *b));
            let seen = firsts.next();
            firsts.all(|other| Some(other) == seen)
        })
    })
}

/// S9: replicas that have run the same hold the same, client table included.
fn equal_sets_give_equal_states<M: StateMachine, F: Rules>(view: &Seen<'_, M, F>) -> bool {
    let all: Vec<_> = replicas(view).map(|(_, replica)| replica).collect();
    all.iter().all(|a| {
        let same = all.iter().filter(|b| b.executed() == a.executed());
        same.into_iter().all(|b| a.machine == b.machine && a.clients == b.clients)
    })
}

/// S9: what a replica holds is what its vertices amount to, each command once, in the order in which they ran; and whoever
/// answers a command answers the same. (Not where sessions are opened: commands of a forgotten one do not run.)
fn exactly_once<F: Rules>(view: &Seen<'_, KeyValue, F>) -> bool {
    let chosen = chosen(view);
    view.ghost.clients.answers_agree()
        && replicas(view).all(|(index, replica)| {
            let nothing = vec![];
            let order = view.ghost.orders.get(&index).unwrap_or(&nothing);
            let commands =
                || order.iter().filter_map(|vertex| chosen.get(vertex)).flat_map(|p| p.action.commands());
            let opens = commands().any(|command| matches!(command.op, Operation::Open { .. }));
            let (mut machine, mut done) = (KeyValue::default(), BTreeSet::<CommandId>::new());
            let mut seen: VertexSet = order.iter().copied().collect();
            // What it took over it did not run: that comes first, and each snapshot is compared with the others of its number.
            let mut base = VertexSet::EMPTY;
            if let Some(snapshot) = view.ghost.snapshots.get(&replica.snapshot.number)
                && seen != *replica.executed()
            {
                base = snapshot.executed.clone();
                seen.add_all(&base);
                machine = snapshot.machine.clone();
                let inside = chosen.iter().filter(|(vertex, _)| base.contains(**vertex));
                done = inside.flat_map(|(_, p)| p.action.commands()).map(|command| command.id).collect();
            }
            if opens || seen != *replica.executed() {
                return true;
            }
            let after = order.iter().filter(|vertex| !base.contains(**vertex));
            for command in after.filter_map(|vertex| chosen.get(vertex)).flat_map(|p| p.action.commands()) {
                if let Operation::Apply(op) = &command.op
                    && done.insert(command.id)
                {
                    machine.apply(op);
                }
            }
            machine == replica.machine
        })
}

/// S13: a snapshot stands for whole components and all that they reach, and snapshots of one number for the same state.
fn snapshots_are_sound<M: StateMachine, F: Rules>(view: &Seen<'_, M, F>) -> bool {
    let Ghost { snapshots, wrong, .. } = view.ghost;
    if wrong.snapshots_differ || wrong.snapshot_refused {
        return false;
    }
    if snapshots.is_empty() {
        return true;
    }
    let chosen = chosen(view);
    snapshots.values().all(|snapshot| {
        let inside = chosen.iter().filter(|(vertex, _)| snapshot.executed.contains(**vertex));
        inside.into_iter().all(|(_, proposal)| proposal.deps.is_subset(&snapshot.executed))
    })
}

/// S12: what acceptors and proposers have collected, enough replicas have saved.
fn collected_is_saved<M: StateMachine, F: Rules>(view: &Seen<'_, M, F>) -> bool {
    let needed = view.protocol.config().saves_needed;
    let saved_by = |below: &VertexSet| {
        replicas(view).filter(|(_, replica)| below.is_subset(&replica.snapshot.executed)).count()
    };
    let proposers = view.states.iter().filter_map(|state| match state {
        State::Leader(leader) => leader.proposer.as_ref(),
        State::Proposer(proposer) => Some(proposer),
        State::Server(server) => server.leader.as_ref()?.proposer.as_ref(),
        _ => None,
    });
    let collected = acceptors(view).map(|acceptor| &acceptor.collection.vertices);
    let collected = collected.chain(proposers.map(|proposer| &proposer.collection.vertices));
    // Everything of a leader up to the last is in one snapshot, or in none.
    collected.flat_map(|set| (0..set.leaders()).map(move |leader| (leader, set.frontier(leader)))).all(
        |(leader, end)| {
            let below = VertexSet::below((0..=leader).map(|other| if other == leader { end } else { 0 }));
            end == 0 || saved_by(&below) >= needed
        },
    )
}

/// L1.
fn every_client_is_answered<F: Rules>(view: &Seen<'_, KeyValue, F>) -> bool {
    view.states.iter().enumerate().all(|(at, state)| match (state, view.protocol.actors.get(at)) {
        (State::Client(state), Some(parthood_protocols::bpaxos::Node::Client(client))) => {
            state.is_idle() && state.invoked() == client.script.len()
        }
        _ => true,
    })
}

/// A state in words.
pub(super) fn describe<M: StateMachine>(state: &State<M>) -> String {
    match state {
        State::Leader(leader) => describe_leader(leader),
        State::Proposer(proposer) => describe_proposer(proposer),
        State::DependencyNode(node) => describe_dependency_node(node),
        State::Acceptor(acceptor) => describe_acceptor(acceptor),
        State::Replica(replica) => describe_replica(replica),
        State::Server(server) => {
            // What it names as a dependency node it also votes for as an acceptor.
            let leader = server.leader.as_ref().map(describe_leader);
            let acceptor = describe_acceptor(&server.acceptor);
            let replica = server.replica.as_ref().map(describe_replica);
            let parts: Vec<_> = [leader, Some(acceptor), replica].into_iter().flatten().collect();
            parts.join("\n")
        }
        State::Client(client) => format!("{client:?}"),
    }
}

// Writing to a string cannot fail.

fn describe_leader<C: Clone + Debug>(leader: &LeaderState<C>) -> String {
    let mut text = format!("next number {}", leader.next);
    for (id, waiting) in &leader.waiting {
        let Waiting { action, answered, deps } = waiting;
        let _ = write!(text, "\n{id} waits: {action:?}, {answered:?} named {deps:?}");
    }
    if let Some(proposer) = &leader.proposer {
        for (vertex, attempt) in &proposer.active {
            let _ = write!(text, "\n{}", describe_attempt(*vertex, attempt));
        }
        if !proposer.chosen.is_empty() {
            let _ = write!(text, "\nknows {:?}", proposer.chosen);
        }
    }
    text
}

fn describe_attempt<C: Clone + Debug>(vertex: VertexId, attempt: &Attempt<C>) -> String {
    let Attempt { round, proposal, stage } = attempt;
    let set = |nodes: &mut dyn Iterator<Item = &usize>| nodes.copied().collect::<NodeSet>();
    match stage {
        Stage::Backoff => format!("{vertex:?} was overtaken by {round:?}: {proposal:?}"),
        Stage::Phase1(promises) => {
            format!("{vertex:?} in {round:?}: {proposal:?}, promised by {:?}", set(&mut promises.keys()))
        }
        Stage::PreAccept(answers, late) => {
            let late = if *late { ", others are late" } else { "" };
            format!(
                "{vertex:?} in {round:?}: {proposal:?}, pre-accepted by {:?}{late}",
                set(&mut answers.keys())
            )
        }
        Stage::Record => format!("{vertex:?} in {round:?}: {proposal:?}, to be recorded"),
        Stage::Phase2(voted) => format!("{vertex:?} in {round:?}: {proposal:?}, votes of {voted:?}"),
    }
}

fn describe_proposer<C: Clone + Debug>(proposer: &ProposerState<C>) -> String {
    let mut text = String::new();
    for (vertex, attempt) in &proposer.active {
        let _ = writeln!(text, "{}", describe_attempt(*vertex, attempt));
    }
    let _ = write!(text, "knows {:?}", proposer.chosen);
    text
}

fn describe_dependency_node<K: Ord + Clone + Debug>(node: &DependencyState<K>) -> String {
    let mut text = String::new();
    for (vertex, entry) in node.old.entries.iter().chain(&node.new.entries) {
        let _ = writeln!(text, "{vertex:?} touches {:?}, after {:?}", entry.footprint, entry.deps);
    }
    let _ = write!(text, "forgot {:?}", node.collected);
    text
}

fn describe_acceptor<C: Clone + Debug>(acceptor: &AcceptorState<C>) -> String {
    let mut text = String::new();
    for (vertex, ballot) in &acceptor.ballots {
        let _ = match &ballot.vote {
            Some(Vote { vote_round, vote_value }) => {
                let promised = if ballot.round == *vote_round {
                    String::new()
                } else {
                    format!("promised {:?}, ", ballot.round)
                };
                writeln!(text, "{vertex:?}: {promised}voted {vote_value:?} in {vote_round:?}")
            }
            None => writeln!(text, "{vertex:?}: promised {:?}", ballot.round),
        };
    }
    let _ = write!(text, "collected {:?}", acceptor.collection.vertices);
    text
}

fn describe_replica<M: StateMachine>(replica: &ReplicaState<M>) -> String {
    let mut text = String::new();
    for (vertex, proposal) in &replica.log {
        let _ = writeln!(text, "knows {vertex:?} is {proposal:?}");
    }
    let _ = write!(text, "ran {:?}: {:?}", replica.executed(), replica.machine);
    text
}
