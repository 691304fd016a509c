//! The dependency service alone: every order in which every node can see every vertex, with the deployed nodes' own code.
//!
//! Assumed: one command for each vertex. Claimed: of two conflicting vertices, whichever quorums answered, one names the other
//! (S3); answers are stable; only other vertices that were given out are named (S11). So many of `c` commands in every order
//! at each of `n` nodes are `(sum over k of c!/(c-k)!)^n` states.

use crate::quorum_params::{self, QuorumParams};
use crate::{Kind, Space, Verdict, exhaust};
use parthood_protocols::bpaxos::{
    Bounds, Config, DependencyState, Footprint, Layout, Limits, Mutant, Timing,
};
use parthood_protocols::compartmentalized::Group;
use parthood_protocols::faults::Mutated;
use parthood_protocols::graph::{VertexId, VertexSet, Vertices as _};
use parthood_protocols::schedule::Schedule;
use parthood_protocols::state_machine::Bytes;
use parthood_quorums::NodeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

pub(super) type Settled = Config<Mutated<Mutant>>;
type Change = fn(&mut Settled);

struct Service {
    config: Settled,
    /// The vertices and what they touch.
    vertices: Vec<(VertexId, Arc<Footprint<Bytes>>)>,
    /// Does a node lose its memory instead of answering the last vertex a second time (M5)?
    amnesia: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Seen {
    nodes: Vec<DependencyState<Bytes>>,
    /// By vertex and node, what was answered.
    answers: Vec<Vec<Option<VertexSet>>>,
    unstable: bool,
}

/// The configuration of a module that is alone: majorities, and nothing is bounded.
pub(super) fn settled(layout: Layout, mutant: Option<Mutant>) -> Settled {
    let group = |nodes| Group {
        system: quorum_params::majority(nodes),
        reads: Schedule::everyone(),
        writes: Schedule::everyone(),
    };
    Config {
        layout,
        dependencies: group(layout.dependency_nodes),
        acceptors: group(layout.acceptors),
        fast: None,
        compaction: None,
        saves_needed: 1,
        known_clients: vec![],
        limits: Limits::default(),
        timing: Timing::default(),
        bounds: Bounds::default(),
        faults: Mutated(mutant),
    }
}

/// How many states there are, or which property is violated.
pub(super) fn explore(space: &impl Space) -> Result<usize, &'static str> {
    let report = exhaust(space);
    match report.verdict {
        Verdict::Holds => Ok(report.unique),
        Verdict::Violated { property, .. } => Err(property),
        Verdict::Inconclusive(why) => panic!("not finished: {why:?}"),
    }
}

impl Service {
    fn new(nodes: usize, footprints: &[&str], change: impl Fn(&mut Settled), mutant: Option<Mutant>) -> Self {
        let layout = Layout {
            leaders: 2,
            proposers: 0,
            dependency_nodes: nodes,
            acceptors: 1,
            replicas: 1,
            coupled: false,
        };
        let mut config = settled(layout, mutant);
        change(&mut config);
        let mut next = [0; 2];
        let vertex = |(at, text): (usize, &&str)| {
            let leader = at % 2;
            next[leader] += 1;
            let vertex = VertexId { leader: u32::try_from(leader).unwrap(), id: next[leader] - 1 };
            (vertex, Arc::new(footprint(text)))
        };
        let vertices = footprints.iter().enumerate().map(vertex).collect();
        Self { config, vertices, amnesia: false }
    }

    fn is_quorum(&self, nodes: NodeSet) -> bool {
        self.config.is_dependency_quorum(nodes)
    }

    /// The nodes that answered for one vertex without naming another.
    fn silent(&self, state: &Seen, vertex: usize, about: usize) -> NodeSet {
        let about = self.vertices[about].0;
        let answers = state.answers[vertex].iter().enumerate();
        answers
            .filter(|(_, deps)| deps.as_ref().is_some_and(|deps| !deps.contains(about)))
            .map(|(node, _)| node)
            .collect()
    }
}

/// `r:a w:b` reads a and writes b; `*` touches everything.
fn footprint(text: &str) -> Footprint<Bytes> {
    if text == "*" {
        return Footprint::Everything;
    }
    let keys = |mark| text.split(' ').filter_map(|part| part.strip_prefix(mark)).map(Bytes::from).collect();
    Footprint::Parts { reads: keys("r:"), writes: keys("w:") }
}

impl Space for Service {
    type State = Seen;
    type Move = (usize, usize);

    fn initial(&self) -> Seen {
        let nodes = self.config.layout.dependency_nodes;
        Seen {
            nodes: vec![DependencyState::new(true); nodes],
            answers: vec![vec![None; nodes]; self.vertices.len()],
            unstable: false,
        }
    }

    fn moves(&self, _: &Seen, moves: &mut Vec<(usize, usize)>) {
        moves.clear();
        let nodes = 0..self.config.layout.dependency_nodes;
        moves.extend(nodes.flat_map(|node| (0..self.vertices.len()).map(move |vertex| (node, vertex))));
    }

    fn apply(&self, state: &Seen, (node, at): (usize, usize), next: &mut Seen) -> bool {
        next.clone_from(state);
        let (vertex, footprint) = &self.vertices[at];
        let known = state.answers[at][node].is_some();
        // Forgotten vertices are new ones again, without an end.
        if known && state.nodes[node].forgotten > 0 {
            return false;
        }
        if known && self.amnesia && at + 1 == self.vertices.len() {
            next.nodes[node] = DependencyState::new(true);
            return next != state;
        }
        let deps = next.nodes[node].answer(*vertex, footprint, &self.config);
        if known {
            let same = state.answers[at][node].as_ref() == Some(&deps);
            next.unstable |= !same;
        }
        next.answers[at][node] = Some(deps);
        next != state
    }

    fn fingerprint(&self, state: &Seen) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&state.nodes, &state.answers, state.unstable).hash(&mut hasher);
        hasher.finish()
    }

    fn properties(&self) -> Vec<(&'static str, Kind)> {
        vec![
            ("the dependency service", Kind::Always),
            ("answers are stable", Kind::Always),
            ("dependencies were given out, to others", Kind::Always),
        ]
    }

    fn holds(&self, property: usize, state: &Seen) -> bool {
        let all: VertexSet = self.vertices.iter().map(|(vertex, _)| *vertex).collect();
        match property {
            0 => (0..self.vertices.len()).all(|a| {
                (0..a).filter(|b| self.vertices[a].1.conflicts(&self.vertices[*b].1)).all(|b| {
                    !self.is_quorum(self.silent(state, a, b)) || !self.is_quorum(self.silent(state, b, a))
                })
            }),
            1 => !state.unstable,
            _ => self.vertices.iter().zip(&state.answers).all(|((vertex, _), answers)| {
                answers.iter().flatten().all(|deps| !deps.contains(*vertex) && deps.is_subset(&all))
            }),
        }
    }
}

const WRITES: [&str; 4] = ["w:a", "w:a", "w:a", "w:a"];
const MIXED: [&str; 4] = ["w:a", "r:a", "r:a w:b", "*"];

#[test]
fn every_order_at_every_node_keeps_the_contract_in_the_expected_number_of_states() {
    let exact = |nodes, footprints: &[&str]| explore(&Service::new(nodes, footprints, |_| {}, None));
    assert_eq!(exact(3, &WRITES[..2]), Ok(125));
    assert_eq!(exact(3, &WRITES[..3]), Ok(4_096));
    assert_eq!(exact(5, &WRITES[..2]), Ok(3_125));
    // Where commands commute, different orders leave the same answers behind, and so fewer states.
    assert_eq!(exact(3, &MIXED[..3]), Ok(13_usize.pow(3)));
}

#[test]
fn compaction_generations_and_other_quorums_keep_the_contract() {
    let top = |count: u64| move |config: &mut Settled| config.compaction = Some(count);
    let small = |config: &mut Settled| config.limits.generation_vertices = 1;
    let parts = |config: &mut Settled| config.limits.generation_parts = 1;
    let rows = || Some("d0*d1 + d2*d3".to_owned());
    let grid = |config: &mut Settled| {
        let quorums = QuorumParams { reads: rows(), writes: None, unchecked: false };
        config.dependencies.system = quorums.system('d', 4).unwrap();
    };
    for footprints in [&WRITES[..3], &MIXED[1..]] {
        for count in 1..3 {
            explore(&Service::new(3, footprints, top(count), None)).unwrap();
        }
        explore(&Service::new(3, footprints, small, None)).unwrap();
        explore(&Service::new(3, footprints, parts, None)).unwrap();
    }
    explore(&Service::new(4, &WRITES[..2], grid, None)).unwrap();
}

#[test]
fn every_broken_rule_of_the_service_is_noticed() {
    let found = |footprints: &[&str], change: Change, mutant| {
        explore(&Service::new(3, footprints, change, Some(mutant)))
    };
    let exact: Change = |_| {};
    let top: Change = |config| config.compaction = Some(1);
    let generations: Change = |config| config.limits.generation_vertices = 1;
    let parts: Change = |config| config.limits.generation_parts = 1;
    let service = Err("the dependency service");
    assert_eq!(found(&WRITES[..2], exact, Mutant::NoDependencies), service);
    assert_eq!(found(&WRITES[..2], exact, Mutant::DependencyQuorumShort), service);
    assert_eq!(found(&MIXED[..2], exact, Mutant::IgnoreReads), service);
    assert_eq!(found(&WRITES[..2], top, Mutant::CompactionOneShort), service);
    assert_eq!(found(&WRITES, top, Mutant::CompactionWithoutPrefix), service);
    assert_eq!(found(&WRITES[..3], generations, Mutant::ForgetGeneration), service);
    assert_eq!(found(&WRITES[..3], parts, Mutant::ForgetGeneration), service);
    assert_eq!(found(&WRITES[..2], exact, Mutant::OwnIdKept), Err("dependencies were given out, to others"));
    let forgetful = Service { amnesia: true, ..Service::new(3, &WRITES[..2], exact, None) };
    assert!(explore(&forgetful).is_err());
}
