//! The author's TLA+ specification of Simple `BPaxos`, with the same variables and one move per action, and TLC's counts.
//!
//! Dependency nodes are concrete; consensus is a set of proposals per vertex of which one is chosen; leaders, proposers and
//! messages are left out. Any vertex may be proposed as a noop at any time; each command is proposed once; there is one
//! vertex more than there are commands.

use stateright::{Checker as _, Model, Property};
use std::collections::{BTreeMap, BTreeSet};

/// The dependencies of a vertex.
pub(super) type Deps = BTreeSet<usize>;
/// A proposal: a command, or none for a noop, with its dependencies.
pub(super) type Proposal = (Option<usize>, Deps);

/// So many commands, all of which conflict, and so many dependency nodes; majorities are quorums.
#[derive(Clone, Debug)]
pub(super) struct Specification {
    commands: usize,
    nodes: usize,
    /// How many nodes a quorum has less than it should (M1).
    short: usize,
    /// Nodes name no dependencies (M4).
    silent: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct State {
    /// By node, what it answered.
    pub(super) dependency_graphs: Vec<BTreeMap<usize, Deps>>,
    /// The commands of vertices.
    pub(super) proposed_commands: BTreeMap<usize, usize>,
    /// By vertex.
    pub(super) proposals: Vec<BTreeSet<Proposal>>,
    /// By vertex.
    pub(super) chosen: Vec<Option<Proposal>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    ProposeCommand(usize),
    DependencyServiceProcess(usize, usize),
    ConsensusPropose(usize, Vec<usize>),
    ConsensusProposeNoop(usize),
    ConsensusChoose(usize, Proposal),
}

impl Specification {
    pub(super) fn of(commands: usize, nodes: usize) -> Self {
        Self { commands, nodes, short: 0, silent: false }
    }

    pub(super) fn vertices(&self) -> usize {
        self.commands + 1
    }

    fn quorum(&self) -> usize {
        self.nodes / 2 + 1 - self.short
    }

    /// All quorums, larger ones too.
    fn quorums(&self) -> impl Iterator<Item = Vec<usize>> {
        let members = |bits: usize| (0..self.nodes).filter(|node| bits >> node & 1 == 1).collect::<Vec<_>>();
        let sets = (0..1 << self.nodes).map(members).collect::<Vec<_>>();
        let least = self.quorum();
        sets.into_iter().filter(move |set| set.len() >= least)
    }
}

impl Model for Specification {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            dependency_graphs: vec![BTreeMap::new(); self.nodes],
            proposed_commands: BTreeMap::new(),
            proposals: vec![BTreeSet::new(); self.vertices()],
            chosen: vec![None; self.vertices()],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let proposed: Vec<usize> = state.proposed_commands.values().copied().collect();
        let commands = (0..self.commands).filter(|command| !proposed.contains(command));
        actions.extend(commands.map(Action::ProposeCommand));
        for vertex in state.proposed_commands.keys() {
            let seen = |node: &usize| state.dependency_graphs[*node].contains_key(vertex);
            let unseen = (0..self.nodes).filter(|node| !seen(node));
            actions.extend(unseen.map(|node| Action::DependencyServiceProcess(node, *vertex)));
            let quorums = self.quorums().filter(|quorum| quorum.iter().all(seen));
            actions.extend(quorums.map(|quorum| Action::ConsensusPropose(*vertex, quorum)));
        }
        for vertex in 0..self.vertices() {
            actions.push(Action::ConsensusProposeNoop(vertex));
            if state.chosen[vertex].is_none() {
                let proposals = state.proposals[vertex].iter().cloned();
                actions.extend(proposals.map(|proposal| Action::ConsensusChoose(vertex, proposal)));
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::ProposeCommand(command) => {
                next.proposed_commands.insert(state.proposed_commands.len(), command);
            }
            Action::DependencyServiceProcess(node, vertex) => {
                let graph = &mut next.dependency_graphs[node];
                let deps = if self.silent { Deps::new() } else { graph.keys().copied().collect() };
                graph.insert(vertex, deps);
            }
            Action::ConsensusPropose(vertex, quorum) => {
                let named = quorum.iter().flat_map(|node| &state.dependency_graphs[*node][&vertex]);
                let proposal = (Some(state.proposed_commands[&vertex]), named.copied().collect());
                next.proposals[vertex].insert(proposal);
            }
            Action::ConsensusProposeNoop(vertex) => {
                next.proposals[vertex].insert((None, Deps::new()));
            }
            Action::ConsensusChoose(vertex, proposal) => next.chosen[vertex] = Some(proposal),
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("ChosenConflicts", |_, state: &State| {
                let commands =
                    |(_, chosen): &(usize, &Option<Proposal>)| chosen.as_ref().is_some_and(|p| p.0.is_some());
                let chosen: Vec<_> = state.chosen.iter().enumerate().filter(commands).collect();
                let deps =
                    |chosen: &Option<Proposal>, other| chosen.as_ref().is_some_and(|p| p.1.contains(&other));
                chosen.iter().all(|(a, one)| {
                    chosen.iter().all(|(b, other)| a == b || deps(one, *b) || deps(other, *a))
                })
            }),
            Property::always("Nontriviality", |_, state: &State| {
                state.chosen.iter().enumerate().all(|(vertex, chosen)| {
                    let command = chosen.as_ref().and_then(|proposal| proposal.0);
                    command.is_none_or(|command| state.proposed_commands.get(&vertex) == Some(&command))
                })
            }),
            Property::sometimes("two vertices depend on each other", |_, state: &State| {
                let deps = |a: usize, b| state.chosen[a].as_ref().is_some_and(|p| p.1.contains(&b));
                deps(0, 1) && deps(1, 0)
            }),
        ]
    }
}

/// How many states are so many steps away, and no fewer.
fn by_depth(model: &Specification) -> Vec<usize> {
    let mut seen: BTreeSet<State> = model.init_states().into_iter().collect();
    let mut level: Vec<State> = seen.iter().cloned().collect();
    let mut counts = vec![];
    while !level.is_empty() {
        counts.push(level.len());
        let next = level.iter().flat_map(|state| model.next_states(state)).collect::<Vec<_>>();
        level = next.into_iter().filter(|state| seen.insert(state.clone())).collect();
    }
    counts
}

#[test]
fn the_specification_has_as_many_states_at_each_depth_as_tlc_counts() {
    assert_eq!(by_depth(&Specification::of(1, 3)), [1, 3, 8, 14, 22, 28, 30, 22, 11, 2]);
    let two = by_depth(&Specification::of(2, 3));
    let golden = [1, 5, 20, 61, 166, 395, 847, 1634, 2848, 4422, 6046, 7124, 7068, 5712, 3612, 1672, 508, 72];
    assert_eq!(two, golden);
    assert_eq!(two.iter().sum::<usize>(), 42_213);
    let one_node = by_depth(&Specification::of(2, 1));
    assert_eq!((one_node.iter().sum::<usize>(), one_node.len()), (1_335, 13));
}

#[test]
fn the_specification_holds_and_broken_ones_do_not() {
    let check = |model: Specification| model.checker().spawn_bfs().join();
    let sound = check(Specification::of(2, 3));
    assert_eq!(sound.unique_state_count(), 42_213);
    sound.assert_properties();
    for broken in [
        Specification { short: 1, ..Specification::of(2, 3) },
        Specification { silent: true, ..Specification::of(2, 3) },
    ] {
        assert!(check(broken.clone()).discovery("ChosenConflicts").is_some(), "{broken:?}");
    }
}
