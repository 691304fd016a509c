//! The executor against the definition, against Tarjan from scratch, and against itself with a rule broken.

use super::*;
use crate::graph::components;
use itertools::Itertools as _;
use proptest::prelude::*;
use std::collections::BTreeSet;

type Set = BTreeSet<u32>;
type Graph = BTreeMap<u32, Set>;

/// A four-vertex graph from the bits of a number, one for each of the twelve edges.
fn four(bits: u32) -> Graph {
    let edges = (0..4).flat_map(|from| (0..4).filter(move |to| *to != from).map(move |to| (from, to)));
    let present: Vec<_> = edges.enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, e)| e).collect();
    (0..4).map(|v| (v, present.iter().filter(|(from, _)| *from == v).map(|(_, to)| *to).collect())).collect()
}

/// All that a vertex reaches, itself included, or none if it reaches what is not committed.
fn reach(graph: &Graph, vertex: u32) -> Option<Set> {
    let (mut found, mut todo) = (Set::new(), vec![vertex]);
    while let Some(next) = todo.pop() {
        if found.insert(next) {
            todo.extend(graph.get(&next)?);
        }
    }
    Some(found)
}

/// What may run, by definition.
fn eligible(committed: &Graph) -> Set {
    committed.keys().copied().filter(|vertex| reach(committed, *vertex).is_some()).collect()
}

/// Commits the vertices of a graph in an order; the sequence of components after each commit.
fn run(graph: &Graph, order: &[u32]) -> Vec<Vec<Vec<u32>>> {
    let mut executor = Executor::<Set>::default();
    order.iter().map(|vertex| executor.commit(*vertex, graph[vertex].clone()).components).collect()
}

/// What is wrong with what ran at each commit, judged by the definition; none if nothing is.
fn wrong(graph: &Graph, order: &[u32], ran: &[Vec<Vec<u32>>]) -> Option<String> {
    let (mut committed, mut executed) = (Graph::new(), Set::new());
    for (vertex, components) in order.iter().zip(ran) {
        committed.insert(*vertex, graph[vertex].clone());
        for component in components {
            let Some(reached) = reach(&committed, component[0]) else {
                return Some(format!("{component:?} reaches what is not committed"));
            };
            let whole: Vec<u32> = reached
                .iter()
                .copied()
                .filter(|other| reach(&committed, *other).is_some_and(|back| back.contains(&component[0])))
                .collect();
            if *component != whole {
                return Some(format!("{component:?} is not the component {whole:?}, sorted"));
            }
            if let Some(early) = reached.iter().find(|v| !whole.contains(v) && !executed.contains(v)) {
                return Some(format!("{component:?} ran before {early}, which it reaches"));
            }
            executed.extend(component);
        }
        if executed != eligible(&committed) {
            return Some(format!("{executed:?} ran, {:?} may", eligible(&committed)));
        }
    }
    None
}

/// The same for Tarjan from scratch at each commit.
fn rescan(graph: &Graph, order: &[u32]) -> Vec<Vec<Vec<u32>>> {
    let (mut committed, mut executed) = (Graph::new(), Set::new());
    let step = |vertex: &u32| {
        committed.insert(*vertex, graph[vertex].clone());
        let found = components(&committed, &executed);
        executed.extend(found.iter().flatten());
        found
    };
    order.iter().map(step).collect()
}

/// Every graph of four vertices with every order of arrival.
fn all_of_four() -> impl Iterator<Item = (Graph, Vec<u32>)> {
    (0..1 << 12).flat_map(|bits| (0..4).permutations(4).map(move |order| (four(bits), order)))
}

#[test]
fn every_graph_of_four_vertices_in_every_order_runs_as_the_definition_says() {
    for (graph, order) in all_of_four() {
        assert_eq!(wrong(&graph, &order, &run(&graph, &order)), None, "{graph:?} in order {order:?}");
        assert_eq!(wrong(&graph, &order, &rescan(&graph, &order)), None, "{graph:?} in order {order:?}");
    }
}

/// How many of these runs the definition refuses.
fn refused(runs: impl Fn(&Graph, &[u32]) -> Vec<Vec<Vec<u32>>>) -> usize {
    let bad = |(graph, order): &(Graph, Vec<u32>)| wrong(graph, order, &runs(graph, order)).is_some();
    all_of_four().filter(bad).count()
}

#[test]
fn the_definition_notices_every_broken_rule() {
    let flat = |ran: Vec<Vec<Vec<u32>>>, map: &dyn Fn(Vec<u32>) -> Vec<Vec<u32>>| {
        ran.into_iter().map(|components| components.into_iter().flat_map(map).collect()).collect()
    };
    // A component in the order of arrival (M23).
    let by_arrival = refused(|graph, order| {
        flat(run(graph, order), &|mut component| {
            component.sort_by_key(|vertex| order.iter().position(|other| other == vertex));
            vec![component]
        })
    });
    // Dependencies that are not committed are left out (M24).
    let ignoring = refused(|_, order| order.iter().map(|vertex| vec![vec![*vertex]]).collect());
    // Components before what they reach (M25).
    let reversed = refused(|graph, order| {
        run(graph, order).into_iter().map(|components| components.into_iter().rev().collect()).collect()
    });
    // A component in pieces (M26).
    let split = refused(|graph, order| {
        flat(run(graph, order), &|component| component.into_iter().map(|vertex| vec![vertex]).collect())
    });
    // What waited for a vertex is not looked at when it is committed.
    let asleep = refused(|graph, order| {
        let mut executor = Executor::<Set>::default();
        let mut commit = |vertex: &u32| {
            executor.waiters.remove(vertex);
            executor.commit(*vertex, graph[vertex].clone()).components
        };
        order.iter().map(&mut commit).collect()
    });
    // Only the vertex that met the blocker is put down as waiting: the rest of its path is forgotten.
    let path_forgotten = refused(|graph, order| {
        let mut executor = Executor::<Set>::default();
        let mut commit = |vertex: &u32| {
            let ran = executor.commit(*vertex, graph[vertex].clone()).components;
            let one = |(blocker, waiting): (&u32, &OrdSet<u32>)| {
                (*blocker, waiting.iter().copied().take(1).collect::<OrdSet<u32>>())
            };
            executor.waiters = executor.waiters.iter().map(one).collect();
            ran
        };
        order.iter().map(&mut commit).collect()
    });
    let counts = [by_arrival, ignoring, reversed, split, asleep, path_forgotten];
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

/// Pairs of which one reaches the other run in one order; so components, and the order along edges, say all.
fn agree(graph: &Graph, one: &[Vec<u32>], other: &[Vec<u32>]) -> bool {
    let places = |components: &[Vec<u32>]| -> BTreeMap<u32, usize> {
        let flat = components.iter().enumerate();
        flat.flat_map(|(at, component)| component.iter().map(move |vertex| (*vertex, at))).collect()
    };
    let (mine, theirs) = (places(one), places(other));
    let edges = graph.iter().flat_map(|(from, deps)| deps.iter().map(move |to| (from, to)));
    one.iter().sorted().eq(other.iter().sorted())
        && edges.into_iter().all(|(from, to)| mine[from].cmp(&mine[to]) == theirs[from].cmp(&theirs[to]))
}

/// A graph that looks like conflicts: mostly edges to near and earlier vertices, some to later ones.
fn random_graph(vertices: u32, degree: u32, seed: u64) -> (Graph, Vec<u32>) {
    let mut random = seed | 1;
    let mut below = |bound: u32| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        u32::try_from(random % u64::from(bound)).expect("a remainder is below its divisor")
    };
    let mut graph = Graph::new();
    for vertex in 0..vertices {
        let near = |offset: u32| (vertex + 8).saturating_sub(offset).min(vertices - 1);
        let deps = (0..below(degree + 1)).map(|_| near(below(60))).collect();
        graph.insert(vertex, deps);
    }
    let mut order: Vec<u32> = (0..vertices).collect();
    for at in 0..vertices as usize {
        let with = (at + below(64) as usize).min(order.len() - 1);
        order.swap(at, with);
    }
    (graph, order)
}

#[test]
fn random_graphs_of_thousands_run_as_from_scratch() {
    for (seed, degree) in [(1, 2), (2, 3), (3, 4)] {
        let (graph, order) = random_graph(2_000, degree, seed);
        let mine = run(&graph, &order);
        let theirs = rescan(&graph, &order);
        for (at, (mine, theirs)) in mine.iter().zip(&theirs).enumerate() {
            let ran = |components: &Vec<Vec<u32>>| components.iter().flatten().copied().collect::<Set>();
            assert_eq!(ran(mine), ran(theirs), "seed {seed}, after {at} commits");
        }
        assert!(agree(&graph, &mine.concat(), &theirs.concat()), "seed {seed}");
        let largest = mine.iter().flatten().map(Vec::len).max();
        assert!(largest > Some(1), "seed {seed}: no cycle");
    }
}

/// Each vertex depends on the next; the last, which all wait for, comes last, and on the first if the chain is closed.
#[test]
fn chains_of_a_hundred_thousand_vertices_do_not_overflow_the_stack() {
    const LENGTH: u32 = 100_000;
    for closed in [false, true] {
        let deps = |vertex: u32| -> Set {
            let next = (vertex + 1) % LENGTH;
            (closed || next > 0).then_some(next).into_iter().collect()
        };
        let graph: Graph = (0..LENGTH).map(|vertex| (vertex, deps(vertex))).collect();
        let mut executor = Executor::<Set>::default();
        for vertex in (0..LENGTH - 1).rev() {
            assert_eq!(executor.commit(vertex, deps(vertex)).components.len(), 0);
        }
        assert_eq!(executor.blockers().collect_vec(), [LENGTH - 1]);
        let last = executor.commit(LENGTH - 1, deps(LENGTH - 1)).components;
        assert_eq!(last.len(), if closed { 1 } else { LENGTH as usize });
        assert_eq!(last, components(&graph, &Set::new()));
        assert_eq!(executor.executed().len(), LENGTH as usize);
    }
}

/// Two leaders number commands in turn, each of which depends on all before. Somebody who lacks all of them gets those of one
/// leader and then those of the other, or hears of the last ones first.
#[test]
fn whoever_catches_up_looks_at_each_vertex_a_few_times() {
    const EACH: u32 = 150;
    let number = |at: u32| at % 2 * EACH + at / 2;
    let deps = |at: u32| (0..at).map(number).collect::<Set>();
    let in_turn = 0..2 * EACH;
    let column_by_column = in_turn.clone().step_by(2).chain(in_turn.clone().skip(1).step_by(2));
    let last_ones_first = (EACH..2 * EACH).chain(0..EACH);
    for order in [column_by_column.collect_vec(), last_ones_first.collect_vec()] {
        let mut executor = Executor::<Set>::default();
        let mut put_down = 0;
        for at in order {
            let before = executor.pending.clone();
            executor.commit(number(at), deps(at));
            let waits = |(vertex, now): &(&u32, &Pending<Set>)| {
                before.get(*vertex).is_none_or(|before| before.blocker != now.blocker)
            };
            put_down += executor.pending.iter().filter(waits).count();
        }
        assert_eq!(executor.executed().len(), 2 * EACH as usize);
        assert!(put_down <= 6 * EACH as usize, "{put_down} times for {} vertices", 2 * EACH);
    }
}

#[test]
fn blockers_are_told_once_and_no_vertex_is_one_that_nobody_waits_for() {
    let mut executor = Executor::<Set>::default();
    assert_eq!(executor.commit(1, Set::from([0])).blockers, [0]);
    assert!(executor.commit(2, Set::from([1])).blockers.is_empty());
    assert_eq!(executor.commit(4, Set::from([2, 3])).blockers, [3], "the largest that is missing");
    assert!(executor.commit(5, Set::from([1, 2])).blockers.is_empty());
    assert!(executor.commit(6, Set::from([0, 3])).blockers.is_empty());
    assert_eq!(executor.blockers().collect_vec(), [0, 3]);
    assert_eq!(executor.commit(3, Set::new()), Outcome { components: vec![vec![3]], blockers: vec![] });
    assert_eq!(executor.blockers().collect_vec(), [0], "what waited for 3 now waits for 0");
    assert_eq!(executor.commit(0, Set::new()).components, [[0], [1], [2], [4], [5], [6]]);
    assert_eq!(executor.commit(1, Set::from([9])), Outcome::default(), "an edge never changes");
}

proptest! {
    #[test]
    fn what_ran_elsewhere_need_not_run_here(bits in 0..1_u32 << 12, order in Just(vec![0, 1, 2, 3]).prop_shuffle(), split in 0..5_usize, seen in 0..16_u32) {
        let graph = four(bits);
        // Elsewhere the first vertices of the order are known; here some vertices, and then the rest in the other order.
        let elsewhere = run(&graph, &order[..split]).concat().concat().into_iter().collect::<Set>();
        let mut executor = Executor::<Set>::default();
        let mut ran = vec![];
        for vertex in (0..4).filter(|vertex| seen >> vertex & 1 == 1) {
            ran.extend(executor.commit(vertex, graph[&vertex].clone()).components);
        }
        let here: Set = ran.iter().flatten().copied().collect();
        ran.extend(executor.install(&elsewhere).components);
        for vertex in order.iter().rev() {
            ran.extend(executor.commit(*vertex, graph[vertex].clone()).components);
        }
        prop_assert_eq!(executor.executed().len(), 4);
        prop_assert_eq!(executor.pending().count() + executor.blockers().count(), 0);
        let ran: Vec<u32> = ran.concat();
        let expected: Set = (0..4).filter(|v| here.contains(v) || !elsewhere.contains(v)).collect();
        prop_assert_eq!(ran.len(), expected.len());
        prop_assert_eq!(ran.into_iter().collect::<Set>(), expected);
    }
}

proptest! {
    #[test]
    fn what_is_missing_is_what_committed_vertices_depend_on(
        edges in proptest::collection::vec((0..20_u32, 0..20_u32), 0..40),
        committed in proptest::collection::btree_set(0..20_u32, 0..12), limit in 0..12_usize
    ) {
        let mut executor = Executor::<Set>::default();
        let deps = |vertex| edges.iter().filter(|(from, _)| *from == vertex).map(|(_, to)| *to).collect::<Set>();
        for vertex in &committed {
            executor.commit(*vertex, deps(*vertex));
        }
        let all: Set = committed.iter().flat_map(|vertex| deps(*vertex)).filter(|dep| !committed.contains(dep)).collect();
        let found = executor.missing(limit);
        prop_assert_eq!(found.len(), limit.min(all.len()), "each once");
        prop_assert!(found.iter().all(|vertex| all.contains(vertex)));
        prop_assert!(executor.blockers().all(|blocker| executor.missing(usize::MAX).contains(&blocker)));
    }
}
