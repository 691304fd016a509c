//! The variants that choose a vertex in one round trip, as models of facts: Fast `BPaxos`, which is wrong, Unanimous `BPaxos`,
//! the optimizations of Basic `EPaxos` and of Atlas; Deadlock and Majority Commit `BPaxos` have files of their own. (Journal
//! version, sections 4 to 6.) Known failures are runs of these models, which can be drawn ([`known_runs`]).
//!
//! Each server is dependency node and acceptor. There are two vertices with conflicting commands, so dependencies are one
//! bit: the other vertex or not. A message is a fact that whoever likes may act on, late, twice or never. Recovery is one
//! step: a quorum promises a round, what it reports decides a value, and the quorum votes for it. That is enough for the
//! tension between the two invariants, which is what these protocols differ in: consensus may force a value upon recovery
//! whose dependencies too few nodes have named. Votes of round zero are remembered for ever, since "chosen" means that they
//! were cast.

mod deadlock;
mod known;
mod majority_commit;
#[cfg(test)]
mod tests;

pub use known::{KnownRun, known_runs};

use crate::script::{Telling, Told};
use crate::{Kind, Lane, Space};
use itertools::Itertools as _;
use parthood_quorums::NodeSet;
use std::collections::BTreeSet;
use std::fmt;
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

/// As labels of a drawing say it, of the vertex x.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Noop => "noop",
            Self::Command(false) => "after nothing",
            Self::Command(true) => "after the other",
        })
    }
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

/// Those who propose, recover and hear of the first vertex, the servers, and those of the second vertex.
fn lanes(servers: usize) -> Vec<Lane> {
    let lane = |name: String, role| Lane { name, role };
    let proposers = |vertex: usize| lane(format!("proposers of {}", NAMES[vertex]), "proposer");
    let servers = (0..servers).map(|server| lane(format!("server {server}"), "server"));
    [proposers(0)].into_iter().chain(servers).chain([proposers(1)]).collect()
}

/// What the vertices are called in a drawing.
const NAMES: [&str; 2] = ["x", "y"];

/// The lane of those who propose a vertex.
fn proposers(servers: usize, at: usize) -> usize {
    if at == 0 { 0 } else { servers + 1 }
}

fn server_lane(server: usize) -> usize {
    server + 1
}

/// The last of what is told of one move says what it amounts to.
fn ending(mut told: Vec<Telling>, note: String) -> Vec<Telling> {
    if let Some(last) = told.last_mut() {
        last.note = note;
    }
    told
}

impl Protocol {
    /// What a member of a recovery quorum reports.
    fn report(&self, vertex: &Vertex, at: usize, server: usize) -> String {
        match (
            vertex.later[server],
            vertex.recorded.filter(|_| server == self.owner(at)),
            vertex.fast[server],
        ) {
            (Some((round, value)), ..) => format!("voted {value} in round {round}"),
            (_, Some(recorded), _) => format!("recorded {}", Value::Command(recorded)),
            (.., Some(fast)) => format!("voted {}", Value::Command(fast)),
            _ => "no vote".into(),
        }
    }
}

impl Told for Protocol {
    fn lanes(&self) -> Vec<Lane> {
        lanes(self.servers)
    }

    fn tell(&self, before: &Vertices, step: Step, after: &Vertices) -> Vec<Telling> {
        let proposers = |at| proposers(self.servers, at);
        let to_server = |at: usize, server: usize, label: String, note: String| Telling {
            from: proposers(at),
            to: server_lane(server),
            label,
            note,
        };
        let chosen = |at: usize| {
            let news = after[at].chosen.difference(&before[at].chosen);
            news.map(|value| format!("; {} {value} is chosen", NAMES[at])).join("")
        };
        match step {
            Step::Ask(at, server) => {
                let note = match after[at].fast[server] {
                    Some(value) => format!("votes {}", Value::Command(value)),
                    None => "votes no more".into(),
                };
                vec![to_server(at, server, NAMES[at].into(), note + &chosen(at))]
            }
            Step::Record(at, value) => {
                let label = format!("record {} {}", NAMES[at], Value::Command(value));
                vec![to_server(at, self.owner(at), label, format!("records{}", chosen(at)))]
            }
            Step::Coordinate(at, quorum) => {
                let label = format!("round 1: {} {}", NAMES[at], Value::Command(true));
                let asked = quorum.iter().map(|server| to_server(at, server, label.clone(), "votes".into()));
                ending(asked.collect(), format!("votes{}", chosen(at)))
            }
            Step::Recover(at, quorum, becomes) => {
                let reports = quorum.iter().map(|server| Telling {
                    from: server_lane(server),
                    to: proposers(at),
                    label: self.report(&before[at], at, server),
                    note: String::new(),
                });
                let value = match becomes {
                    Becomes::This(value) => value.to_string(),
                    Becomes::Union => "what they name now".into(),
                };
                ending(reports.collect(), format!("recovers {}: {value}{}", NAMES[at], chosen(at)))
            }
        }
    }
}
