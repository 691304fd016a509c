//! The actors refine the author's specification (`specification.rs`): every step of theirs is a step of it, or none.
//!
//! What dependency nodes answered are its dependency graphs, what was ever voted for are its proposals, what a quorum voted
//! for is chosen, and what leaders gave numbers to are its commands by vertex. The specification numbers vertices in the
//! order of its commands, the actors by leader; it treats vertices that have a command alike, so a step may be matched
//! under any order of those.

use super::specification::{Deps, Proposal, Specification, State as Abstract};
use super::{Bpaxos, Params};
use crate::{Network, Reductions, Setup, State, System};
use itertools::Itertools as _;
use parthood_protocols::bpaxos::{Action, Mutant, Proposal as Chosen, State as Node};
use parthood_protocols::graph::VertexId;
use parthood_protocols::state_machine::KeyValueCommand;
use stateright::Model as _;
use std::collections::{BTreeMap, BTreeSet};

/// The actors and what they are said to refine.
struct Refinement {
    system: System<Bpaxos>,
    specification: Specification,
    first_client: u64,
    /// A vote of a sole acceptor proposes and chooses.
    steps_at_once: usize,
}

/// What a search has seen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// States of the actors.
    states: usize,
    /// States of the specification.
    specified: BTreeSet<Abstract>,
}

impl Refinement {
    fn of(params: &Params, mutant: Option<Mutant>, timers: Vec<u8>) -> Self {
        let protocol = Bpaxos::new(params, mutant).unwrap();
        let first_client = protocol.config().layout.nodes() as u64;
        let reductions = Reductions { collect: true, ..Reductions::NONE };
        let setup = Setup { network: Network::Unordered, timers, reductions, ..Setup::default() };
        Self {
            system: System::new(protocol, setup),
            specification: Specification::of(params.clients.len(), params.dependency_nodes),
            first_client,
            steps_at_once: if params.acceptors == 1 { 2 } else { 1 },
        }
    }

    /// The state of the specification that a state stands for; vertices are numbered by their places in the order.
    fn specified(&self, state: &State<Bpaxos>, order: &[VertexId]) -> Abstract {
        let place = |vertex: VertexId| {
            order.iter().position(|other| *other == vertex).expect("a vertex that is named has a number")
        };
        let deps = |deps: &mut dyn Iterator<Item = VertexId>| -> Deps { deps.map(place).collect() };
        let command = |action: &Action<KeyValueCommand>| {
            let id = action.commands().first().map(|command| command.id.client - self.first_client);
            id.map(|id| usize::try_from(id).unwrap_or(usize::MAX))
        };
        let proposal = |value: &Chosen<KeyValueCommand>| -> Proposal {
            (command(&value.action), deps(&mut value.deps.iter()))
        };
        let graphs = state.actors().iter().filter_map(|state| match state {
            Node::DependencyNode(node) => Some(node.old.entries.iter().chain(&node.new.entries)),
            _ => None,
        });
        let ghost = state.ghost();
        let mut specified = Abstract {
            dependency_graphs: graphs
                .map(|entries| {
                    entries.map(|(vertex, entry)| (place(*vertex), deps(&mut entry.deps.iter()))).collect()
                })
                .collect(),
            proposed_commands: BTreeMap::new(),
            proposals: vec![BTreeSet::new(); self.specification.vertices()],
            chosen: vec![None; self.specification.vertices()],
        };
        for (vertex, action) in &ghost.numbered {
            specified.proposed_commands.extend(command(action).map(|command| (place(*vertex), command)));
        }
        for (vertex, _, value) in ghost.votes.keys() {
            specified.proposals[place(*vertex)].insert(proposal(value));
        }
        for (vertex, _, value) in ghost.chosen(self.system.protocol()) {
            specified.chosen[place(vertex)] = Some(proposal(value));
        }
        specified
    }

    /// Are that so many steps of the specification at most? If so, the states before and after.
    fn steps(&self, before: &State<Bpaxos>, after: &State<Bpaxos>) -> Option<[Abstract; 2]> {
        let vertices: Vec<VertexId> = after.ghost().numbered.keys().copied().collect();
        let orders = vertices.iter().copied().permutations(vertices.len());
        let pairs = orders.map(|order| [self.specified(before, &order), self.specified(after, &order)]);
        pairs.into_iter().find(|[one, other]| {
            let in_order = one.proposed_commands.keys().copied().eq(0..one.proposed_commands.len());
            in_order && self.leads_to(one, other, self.steps_at_once)
        })
    }

    fn leads_to(&self, one: &Abstract, other: &Abstract, steps: usize) -> bool {
        let next = || self.specification.next_states(one).into_iter();
        one == other || steps > 0 && next().any(|next| self.leads_to(&next, other, steps - 1))
    }

    /// Tries all steps of the actors; fails with the first that the specification has no step for.
    fn check(&self) -> Result<Seen, String> {
        let initial = self.system.initial();
        let mut known = BTreeSet::from([initial.fingerprint()]);
        let (mut waiting, mut moves, mut seen) = (vec![initial], vec![], Seen::default());
        while let Some(state) = waiting.pop() {
            seen.states += 1;
            self.system.moves(&state, &mut moves);
            for next in moves.iter().filter_map(|mv| self.system.apply(&state, *mv)) {
                let Some(step) = self.steps(&state, &next) else {
                    return Err(format!("{:?} to {:?}", state.ghost(), next.ghost()));
                };
                seen.specified.extend(step);
                if known.insert(next.fingerprint()) {
                    waiting.push(next);
                }
            }
        }
        Ok(seen)
    }
}

/// Two clients with a command each on one key, at two leaders; one replica.
fn conflicting(more: &str) -> Params {
    let clients =
        r#"[{ script = [{ increment = ["a", 1] }] }, { script = [{ increment = ["a", 2] }], first = 1 }]"#;
    toml::from_str(&format!("clients = {clients}\nreplicas = 1\n{more}")).unwrap()
}

/// The configurations, and so the numbers of states, are those of the rows `two_conflicting_all` and `recovery`.
#[test]
fn every_step_of_the_actors_is_a_step_of_the_specification() {
    let asked = conflicting("acceptors = 1\ncontact_all = true");
    let seen = Refinement::of(&asked, None, vec![]).check().unwrap();
    assert_eq!(seen.states, 5_024);
    let both = |state: &Abstract| {
        let deps = |vertex: usize| state.chosen[vertex].as_ref().map(|chosen| chosen.1.clone());
        deps(0) == Some(Deps::from([1])) && deps(1) == Some(Deps::from([0]))
    };
    assert!(seen.specified.iter().any(both), "vertices that depend on each other");

    let recovered = conflicting("dependency_nodes = 1\nround_max = 1");
    let seen = Refinement::of(&recovered, None, vec![0, 0, 0, 2]).check().unwrap();
    assert_eq!(seen.states, 1_098);
    for noop in [true, false] {
        let chosen =
            |state: &Abstract| state.chosen.iter().flatten().any(|chosen| chosen.0.is_none() == noop);
        assert!(seen.specified.iter().any(chosen));
    }
}

#[test]
fn actors_with_a_broken_rule_take_steps_that_the_specification_has_not() {
    let asked = conflicting("acceptors = 1");
    let recovered = conflicting("dependency_nodes = 1\nround_max = 1");
    let asked_for_command = conflicting("acceptors = 1\nround_max = 1\ncontact_all = true");
    for (params, mutant) in [
        (&asked, Mutant::DependencyQuorumShort),
        (&asked, Mutant::IntersectReplies),
        (&asked, Mutant::NoDependencies),
        (&asked_for_command, Mutant::RecoverCommand),
        (&recovered, Mutant::OwnValueOverVotes),
        (&recovered, Mutant::SkipPhase1),
    ] {
        let refines = Refinement::of(params, Some(mutant), vec![0, 0, 0, 2]).check();
        assert!(refines.is_err(), "{mutant:?}");
    }
}
