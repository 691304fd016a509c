//! The variants that choose a vertex in one round trip, as models of facts: Fast `BPaxos`, which is wrong, Unanimous `BPaxos`,
//! the optimizations of Basic `EPaxos` and of Atlas; Majority Commit `BPaxos` has a file of its own. (Journal version,
//! sections 4 to 6.)
//!
//! Each server is dependency node and acceptor. There are two vertices with conflicting commands, so dependencies are one
//! bit: the other vertex or not. A message is a fact that whoever likes may act on, late, twice or never. Recovery is one
//! step: a quorum promises a round, what it reports decides a value, and the quorum votes for it. That is enough for the
//! tension between the two invariants, which is what these protocols differ in: consensus may force a value upon recovery
//! whose dependencies too few nodes have named. Votes of round zero are remembered for ever, since "chosen" means that they
//! were cast.

mod majority_commit;

use crate::{Kind, Space, Verdict, exhaust};
use itertools::Itertools as _;
use parthood_quorums::NodeSet;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// How many servers a model can have.
const SERVERS_MAX: usize = 5;

/// What a vertex can be chosen to be: a noop, or its command with or without the other vertex as a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Value {
    Noop,
    Command(bool),
}

/// Which values round zero can have chosen, and what recovery makes of what it finds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Variant {
    /// So many equal votes choose; a value with so many votes in a recovery quorum is taken.
    Fast { chooses: usize, popular: usize },
    /// All votes equal choose; a value that all of a recovery quorum voted for is taken, and by the mutant (M18, which the
    /// reference code is) one that all voters of the quorum voted for.
    Unanimous { voters_only: bool },
    /// The owner's node is asked first, and the others add its dependencies to theirs. The owner's acceptor records a value
    /// with `2f` equal votes, its own among them if it `must_match`.
    Basic { must_match: bool, broken: Option<Broken> },
    /// The union of all dependencies is chosen if each of them occurs so many times.
    Atlas { popular: usize },
}

/// A broken rule of the Basic `EPaxos` optimization.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Broken {
    /// More than `2f` servers are asked (M20).
    AskEverybody,
    /// Recovery takes the owner's reply for one like the others (M21).
    OwnerLikeOthers,
    /// The others do not add the owner's dependencies (M22).
    ForgetOwners,
}

/// A protocol with so many servers of which `f` may fail, and so many recoveries of each vertex.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    variant: Variant,
    servers: usize,
    /// Recovery quorums, which also choose in later rounds.
    classic: usize,
    f: usize,
    recoveries: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Vertex {
    /// What each dependency node answered.
    deps: [Option<bool>; SERVERS_MAX],
    /// What each acceptor voted for in round zero, if it ever did.
    fast: [Option<bool>; SERVERS_MAX],
    /// Its last vote of a later round, which it has promised too.
    later: [Option<(u8, Value)>; SERVERS_MAX],
    recoveries: u8,
    /// What the owner's acceptor has recorded.
    recorded: Option<bool>,
    /// All that was ever chosen.
    chosen: BTreeSet<Value>,
}

type Vertices = [Vertex; 2];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A vertex reaches a server, whose dependency node answers and whose acceptor votes if it is still in round zero.
    Ask(usize, usize),
    /// The owner's acceptor records a value.
    Record(usize, bool),
    /// All votes of round zero are in and differ: the owner has their union chosen in round one by a quorum.
    Coordinate(usize, NodeSet),
    /// A quorum recovers a vertex, which becomes this.
    Recover(usize, NodeSet, Becomes),
}

/// What a recovered vertex becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    This(Value),
    /// What the dependency nodes of the quorum say now.
    Union,
}

impl Vertex {
    fn votes_for(&self, value: bool, among: impl Iterator<Item = usize>) -> usize {
        among.filter(|server| self.fast[*server] == Some(value)).count()
    }
}

impl Protocol {
    fn unanimous(f: usize, voters_only: bool, recoveries: u8) -> Self {
        let variant = Variant::Unanimous { voters_only };
        Self { variant, servers: 2 * f + 1, classic: f + 1, f, recoveries }
    }

    fn basic(f: usize, must_match: bool, broken: Option<Broken>) -> Self {
        let variant = Variant::Basic { must_match, broken };
        Self { variant, servers: 2 * f + 1, classic: f + 1, f, recoveries: 1 }
    }

    fn atlas(popular: usize) -> Self {
        Self { variant: Variant::Atlas { popular }, servers: 3, classic: 2, f: 1, recoveries: 2 }
    }

    /// The first server owns the first vertex, the last one the second.
    fn owner(&self, vertex: usize) -> usize {
        if vertex == 0 { 0 } else { self.servers - 1 }
    }

    fn quorums(&self) -> impl Iterator<Item = NodeSet> + use<> {
        (0..self.servers).combinations(self.classic).map(|servers| servers.into_iter().collect())
    }

    /// Does a server hear of a vertex, if it does not know it yet?
    fn may_ask(&self, vertex: &Vertex, owner: usize, server: usize) -> bool {
        let Variant::Basic { broken, .. } = self.variant else { return true };
        let asked = vertex.deps.iter().flatten().count();
        let enough = broken != Some(Broken::AskEverybody) && asked >= 2 * self.f;
        if server == owner { asked == 0 } else { vertex.deps[owner].is_some() && !enough }
    }

    fn ask(&self, vertices: &mut Vertices, at: usize, server: usize) -> bool {
        let owner = self.owner(at);
        if vertices[at].deps[server].is_some() || !self.may_ask(&vertices[at], owner, server) {
            return false;
        }
        let names = vertices[1 - at].deps[server].is_some();
        let vertex = &mut vertices[at];
        vertex.deps[server] = Some(names);
        let adds =
            matches!(self.variant, Variant::Basic { broken, .. } if broken != Some(Broken::ForgetOwners));
        if vertex.later[server].is_none() {
            vertex.fast[server] = Some(names || adds && vertex.deps[owner] == Some(true));
        }
        self.choose_fast(vertex);
        true
    }

    /// Notes what the votes of round zero choose.
    fn choose_fast(&self, vertex: &mut Vertex) {
        let all = vertex.fast[..self.servers].iter().copied().collect::<Option<Vec<bool>>>();
        match self.variant {
            Variant::Fast { chooses, .. } => {
                for value in [false, true] {
                    if vertex.votes_for(value, 0..self.servers) >= chooses {
                        vertex.chosen.insert(Value::Command(value));
                    }
                }
            }
            Variant::Unanimous { .. } => {
                let value = all.and_then(|all| all.into_iter().all_equal_value().ok());
                vertex.chosen.extend(value.map(Value::Command));
            }
            Variant::Atlas { popular } => {
                let union = all.map(|all| all.contains(&true));
                let common = |union: &bool| !union || vertex.votes_for(true, 0..self.servers) >= popular;
                let value = union.filter(common);
                vertex.chosen.extend(value.map(Value::Command));
            }
            Variant::Basic { .. } => {}
        }
    }

    fn record(&self, vertex: &mut Vertex, owner: usize, value: bool) -> bool {
        let Variant::Basic { must_match, .. } = self.variant else { return false };
        let others = vertex.votes_for(value, (0..self.servers).filter(|server| *server != owner));
        let own = vertex.fast[owner].is_some_and(|own| own == value || !must_match);
        if vertex.later[owner].is_some() || vertex.recorded.is_some() || !own || others < 2 * self.f - 1 {
            return false;
        }
        vertex.recorded = Some(value);
        vertex.chosen.insert(Value::Command(value));
        true
    }

    fn coordinate(&self, vertex: &mut Vertex, quorum: NodeSet) -> bool {
        let votes = &vertex.fast[..self.servers];
        let split = !votes.contains(&None) && votes.contains(&Some(true)) && votes.contains(&Some(false));
        let in_time = quorum.iter().all(|server| vertex.later[server].is_none());
        let unions = matches!(self.variant, Variant::Unanimous { .. } | Variant::Atlas { .. });
        if !(unions && split && in_time) {
            return false;
        }
        for server in quorum.iter() {
            vertex.later[server] = Some((1, Value::Command(true)));
        }
        vertex.chosen.insert(Value::Command(true));
        true
    }

    /// What recovery may make of a vertex by what a quorum reports.
    fn becomes(&self, vertex: &Vertex, owner: usize, quorum: NodeSet) -> Vec<Becomes> {
        let taken = |values: Vec<bool>| {
            values.into_iter().map(|value| Becomes::This(Value::Command(value))).collect()
        };
        let latest = quorum.iter().filter_map(|server| vertex.later[server]).max_by_key(|(round, _)| *round);
        let popular = |least: usize| {
            let values = [false, true].into_iter();
            values.filter(|value| vertex.votes_for(*value, quorum.iter()) >= least).collect::<Vec<_>>()
        };
        let votes = || quorum.iter().map(|server| vertex.fast[server]);
        let forced: Vec<bool> = match self.variant {
            Variant::Basic { broken, .. }
                if broken != Some(Broken::OwnerLikeOthers) && quorum.contains(owner) =>
            {
                match vertex.recorded {
                    Some(value) => return taken(vec![value]),
                    None if latest.is_some() => vec![],
                    None => return vec![Becomes::This(Value::Noop)],
                }
            }
            Variant::Basic { .. } => popular(self.f),
            Variant::Fast { popular: least, .. } => popular(least),
            Variant::Unanimous { voters_only: false } => popular(self.classic),
            Variant::Unanimous { voters_only: true } => {
                votes().flatten().all_equal_value().ok().into_iter().collect()
            }
            Variant::Atlas { .. } => {
                let all: Option<Vec<bool>> = votes().collect();
                all.map(|all| all.contains(&true)).into_iter().collect()
            }
        };
        match latest {
            Some((_, value)) => vec![Becomes::This(value)],
            None if !forced.is_empty() => taken(forced),
            None if matches!(self.variant, Variant::Unanimous { .. } | Variant::Atlas { .. }) => {
                vec![Becomes::This(Value::Noop), Becomes::Union]
            }
            None => vec![Becomes::This(Value::Noop)],
        }
    }

    fn recover(&self, vertices: &mut Vertices, at: usize, quorum: NodeSet, becomes: Becomes) -> bool {
        let vertex = &vertices[at];
        let allowed = self.becomes(vertex, self.owner(at), quorum);
        if vertex.recoveries >= self.recoveries || !allowed.contains(&becomes) {
            return false;
        }
        let value = match becomes {
            Becomes::This(value) => value,
            Becomes::Union => {
                let mut union = false;
                for server in quorum.iter() {
                    let sees = vertices[1 - at].deps[server].is_some();
                    union |= *vertices[at].deps[server].get_or_insert(sees);
                }
                Value::Command(union)
            }
        };
        let vertex = &mut vertices[at];
        vertex.recoveries += 1;
        for server in quorum.iter() {
            vertex.later[server] = Some((1 + vertex.recoveries, value));
        }
        vertex.chosen.insert(value);
        true
    }

    /// What steps lead to; none as soon as one cannot happen.
    fn after(&self, steps: &[Step]) -> Option<Vertices> {
        let mut vertices = self.initial();
        for step in steps {
            let before = vertices.clone();
            if !self.apply(&before, *step, &mut vertices) {
                return None;
            }
        }
        Some(vertices)
    }
}

impl Space for Protocol {
    type State = Vertices;
    type Move = Step;

    fn initial(&self) -> Vertices {
        Vertices::default()
    }

    fn moves(&self, vertices: &Vertices, moves: &mut Vec<Step>) {
        moves.clear();
        for (at, vertex) in vertices.iter().enumerate() {
            moves.extend((0..self.servers).map(|server| Step::Ask(at, server)));
            moves.extend([false, true].map(|value| Step::Record(at, value)));
            for quorum in self.quorums() {
                moves.push(Step::Coordinate(at, quorum));
                let becomes = self.becomes(vertex, self.owner(at), quorum);
                moves.extend(becomes.into_iter().map(|becomes| Step::Recover(at, quorum, becomes)));
            }
        }
    }

    fn apply(&self, before: &Vertices, step: Step, next: &mut Vertices) -> bool {
        next.clone_from(before);
        match step {
            Step::Ask(at, server) => self.ask(next, at, server),
            Step::Record(at, value) => self.record(&mut next[at], self.owner(at), value),
            Step::Coordinate(at, quorum) => self.coordinate(&mut next[at], quorum),
            Step::Recover(at, quorum, becomes) => self.recover(next, at, quorum, becomes),
        }
    }

    fn fingerprint(&self, vertices: &Vertices) -> u64 {
        let mut hasher = DefaultHasher::new();
        vertices.hash(&mut hasher);
        hasher.finish()
    }

    fn properties(&self) -> Vec<(&'static str, Kind)> {
        vec![
            (AGREEMENT, Kind::Always),
            (DEPENDENCIES, Kind::Always),
            ("the fast path", Kind::Sometimes),
            ("a recovered command", Kind::Sometimes),
        ]
    }

    fn holds(&self, property: usize, vertices: &Vertices) -> bool {
        match property {
            0 => vertices.iter().all(|vertex| vertex.chosen.len() <= 1),
            1 => {
                let silent = |vertex: &Vertex| vertex.chosen.contains(&Value::Command(false));
                !vertices.iter().all(silent)
            }
            2 => vertices.iter().any(|vertex| !vertex.chosen.is_empty() && vertex.recoveries == 0),
            _ => vertices.iter().any(|vertex| {
                let recovered = vertex.later.iter().flatten().any(|(round, _)| *round > 1);
                recovered && vertex.chosen.iter().any(|value| *value != Value::Noop)
            }),
        }
    }
}

const AGREEMENT: &str = "agreement";
const DEPENDENCIES: &str = "the dependency invariant";

/// How many states there are, or what does not hold and after how many steps.
fn explore<S: Space + Copy>(protocol: S) -> Result<usize, (&'static str, usize)> {
    let report = exhaust(&protocol);
    match report.verdict {
        Verdict::Holds => {
            let missed = report.reached.iter().find(|reached| reached.path.is_none());
            assert!(missed.is_none(), "vacuous: {missed:?}");
            Ok(report.unique)
        }
        Verdict::Violated { property, .. } => Err((property, report.depth)),
        Verdict::Inconclusive(why) => panic!("not finished: {why:?}"),
    }
}

fn quorum<const N: usize>(servers: [usize; N]) -> NodeSet {
    servers.into_iter().collect()
}

fn noop(at: usize, servers: NodeSet) -> Step {
    Step::Recover(at, servers, Becomes::This(Value::Noop))
}

fn command(at: usize, servers: NodeSet, deps: bool) -> Step {
    Step::Recover(at, servers, Becomes::This(Value::Command(deps)))
}

#[test]
fn variants_that_choose_in_one_round_trip_keep_both_invariants() {
    // For one failure, and only then, Fast BPaxos is Unanimous BPaxos, and safe.
    let fast =
        Protocol { variant: Variant::Fast { chooses: 3, popular: 2 }, ..Protocol::unanimous(1, false, 1) };
    assert_eq!(explore(fast), Ok(9_542));
    assert_eq!(explore(Protocol::unanimous(1, false, 1)), Ok(23_804));
    assert_eq!(explore(Protocol::basic(1, true, None)), Ok(1_700));
    assert_eq!(explore(Protocol::basic(1, false, None)), Ok(2_020));
    assert_eq!(explore(Protocol::basic(2, true, None)), Ok(1_017_951));
    assert_eq!(explore(Protocol::atlas(2)), Ok(278_972));
}

#[test]
fn every_broken_rule_of_the_variants_is_noticed() {
    // Fast BPaxos itself, with four servers and quorums of three (M17).
    let fast = Variant::Fast { chooses: 3, popular: 2 };
    let fast = Protocol { variant: fast, servers: 4, classic: 3, f: 1, recoveries: 1 };
    assert_eq!(explore(fast), Err((DEPENDENCIES, 6)));
    assert_eq!(explore(Protocol::unanimous(1, true, 1)), Err((DEPENDENCIES, 3)));
    assert_eq!(explore(Protocol::atlas(1)), Err((AGREEMENT, 5)));
    let broken = |f, broken| explore(Protocol::basic(f, true, Some(broken)));
    assert_eq!(broken(1, Broken::AskEverybody), Err((AGREEMENT, 6)));
    assert_eq!(broken(2, Broken::OwnerLikeOthers), Err((DEPENDENCIES, 6)));
    assert_eq!(broken(1, Broken::ForgetOwners), Err((DEPENDENCIES, 6)));
}

/// R1: each command is known to two servers of five, too few for a quorum of the dependency service, and consensus forces
/// recovery to choose it all the same.
#[test]
fn fast_bpaxos_chooses_conflicting_commands_that_do_not_depend_on_each_other() {
    let asked = [Step::Ask(0, 0), Step::Ask(0, 1), Step::Ask(1, 3), Step::Ask(1, 4)];
    let (left, right) = (quorum([0, 1, 2]), quorum([2, 3, 4]));
    let run = |becomes: fn(usize, NodeSet) -> Step| {
        [asked.to_vec(), vec![becomes(0, left), becomes(1, right)]].concat()
    };
    let forced = run(|at, servers| command(at, servers, false));
    let fast = Variant::Fast { chooses: 4, popular: 2 };
    let fast = Protocol { variant: fast, ..Protocol::unanimous(2, false, 1) };
    let end = fast.after(&forced).unwrap();
    assert!(!fast.holds(1, &end), "no edge: {end:?}");
    assert_eq!(fast.after(&run(noop)), None, "nothing else is allowed");
    // To Unanimous BPaxos the silent third server says that nobody can have been chosen.
    let unanimous = Protocol::unanimous(2, false, 1);
    assert_eq!(unanimous.after(&forced), None);
    assert!(unanimous.holds(1, &unanimous.after(&run(noop)).unwrap()));
}

/// R2, which the reference code has: recovery that looks at voters only.
#[test]
fn unanimous_bpaxos_counts_a_server_that_did_not_vote() {
    let both = quorum([0, 1]);
    let run = [Step::Ask(0, 0), command(0, both, false), Step::Ask(1, 1), command(1, both, false)];
    let wrong = Protocol::unanimous(1, true, 1);
    assert!(!wrong.holds(1, &wrong.after(&run).unwrap()));
    let right = Protocol::unanimous(1, false, 1);
    assert_eq!(right.after(&run), None);
    let run = [Step::Ask(0, 0), noop(0, both), Step::Ask(1, 1), noop(1, both)];
    assert!(right.holds(1, &right.after(&run).unwrap()));
}

/// R5: with one failure and everybody asked, two values have one vote each besides the owner's.
#[test]
fn basic_epaxos_asks_two_servers_of_three_and_no_more() {
    let asked = [Step::Ask(1, 2), Step::Ask(0, 0), Step::Ask(0, 2), Step::Ask(0, 1)];
    let run = [&asked[..], &[Step::Record(0, true), command(0, quorum([1, 2]), false)]].concat();
    let wrong = Protocol::basic(1, false, Some(Broken::AskEverybody));
    assert!(!wrong.holds(0, &wrong.after(&run).unwrap()), "two values are chosen");
    let right = Protocol::basic(1, false, None);
    assert_eq!(right.after(&asked), None, "the third server is not asked");
    let run = [&asked[..3], &[Step::Record(0, true), command(0, quorum([1, 2]), true)]].concat();
    assert!(right.holds(0, &right.after(&run).unwrap()));
}
