//! Known failures of `BPaxos` and of its reference code, told step by step on the actors of the models: with the rule broken
//! the run ends wrong, and the protocol itself refuses the step that matters. Each is drawn in `specs/bpaxos`.
//!
//! (R3 and R4, which are failures of `EPaxos`, as far as the same rule is one of `BPaxos`; R6, R7, R8, R12 and R13. R1, R2, R5, R9
//! and R10 are runs of models without actors, `models/src/bpaxos/variants/known.rs`; they are drawn here. R11 is in
//! `tests/epaxos/runs.rs`.)

use parthood::draw;
use parthood_models::bpaxos::{Bpaxos, Params, known_runs};
use parthood_models::{Input, Kind, Move, Network, Path, Setup, State, System, Trace};
use parthood_protocols::bpaxos::{Mutant, ReplicaState, Rules, State as Node};
use parthood_protocols::faults::Mutated;
use parthood_protocols::graph::VertexSet;
use parthood_protocols::state_machine::KeyValue;
use serde_json::{Value, json};
use std::path::Path as File;

/// How a run goes on: nothing happens but what the lines say, and messages that they do not mention are late for ever.
pub(crate) struct Run<F: Rules = Mutated<Mutant>> {
    system: System<Bpaxos<KeyValue, F>>,
    /// `c0`, `l1`, `d2`, `a0`, `r1`, `p0` and `s1` for a client, leader, dependency node, acceptor, replica, proposer and server.
    names: Vec<String>,
    state: State<Bpaxos<KeyValue, F>>,
    actions: Vec<u16>,
}

impl Run {
    fn new(mut params: Value, mutant: Option<Mutant>) -> Self {
        params["restartable"] = json!(["leader", "proposer", "dependency_node", "acceptor", "replica"]);
        let params: Params = serde_json::from_value(params).unwrap();
        Self::of(Bpaxos::new(&params, mutant).unwrap())
    }
}

impl<F: Rules> Run<F> {
    /// Begins in a configuration; each kind of timer may ring four times, and one node may restart.
    pub(crate) fn of(protocol: Bpaxos<KeyValue, F>) -> Self {
        let setup =
            Setup { network: Network::Unordered, restarts: 1, timers: vec![4; 6], ..Setup::default() };
        let system = System::new(protocol, setup);
        let short = |name: &str| format!("{}{}", &name[..1], name.rsplit(' ').next().unwrap());
        let lanes = system.trace(&Path::default()).unwrap().lanes;
        let names = lanes.iter().map(|lane| short(&lane.name)).collect();
        Self { state: system.initial(), system, names, actions: vec![] }
    }

    fn name(&self, id: impl Into<usize>) -> &str {
        &self.names[id.into()]
    }

    /// The number of the move that a line tells of, if it can happen: `d1 hears l0 Phase2a v0.1`, `r1 waits v0.1` for a timer,
    /// or `p0 restarts`. Words after the first two or three must be in what is heard; a vertex must be what it is about.
    fn find(&self, line: &str) -> Option<(u16, Move)> {
        let words: Vec<&str> = line.split(' ').collect();
        let has = |text: &str, words: &[&str]| {
            words.iter().all(|word| match word.strip_prefix('v') {
                Some(_) => text.contains(&format!("vertex: {word}")) || text.contains(&format!("({word})")),
                None => text.contains(word),
            })
        };
        let messages: Vec<_> = self.state.messages().collect();
        let timers: Vec<_> = self.state.timers().collect();
        let tells_of = |mv: &Move| match (*mv, words[1]) {
            (Move::React(Input::Deliver(at)), "hears") => {
                let (src, dst, msg) = messages[usize::from(at)];
                let between = [self.name(dst), self.name(src)] == [words[0], words[2]];
                between && has(&format!("{msg:?}"), &words[3..])
            }
            (Move::React(Input::Timeout(at)), "waits") => {
                let (owner, timer) = timers[usize::from(at)];
                self.name(owner) == words[0] && has(&format!("{timer:?}"), &words[2..])
            }
            (Move::Restart(at), "restarts") => self.name(at) == words[0],
            _ => false,
        };
        let mut moves = vec![];
        self.system.moves(&self.state, &mut moves);
        let mut found = (0..).zip(moves).filter(|(_, mv)| tells_of(mv));
        let first = found.next();
        assert!(found.next().is_none(), "several moves are like {line:?}");
        first
    }

    /// Has these things happen, one after the other.
    pub(crate) fn follow(mut self, lines: &[&str]) -> Self {
        for line in lines {
            let in_flight = || {
                let messages = self.state.messages();
                messages
                    .map(|(src, dst, msg)| format!("{} hears {} {msg:?}", self.name(dst), self.name(src)))
                    .collect::<Vec<_>>()
            };
            let (number, mv) = self
                .find(line)
                .unwrap_or_else(|| panic!("{line:?} cannot happen; in flight: {:#?}", in_flight()));
            self.state = self.system.apply(&self.state, mv).unwrap_or_else(|| panic!("{line:?} is ignored"));
            self.actions.push(number);
        }
        self
    }

    /// Can it not happen, or would nobody care?
    pub(crate) fn refuses(&self, line: &str) -> bool {
        self.find(line).is_none_or(|(_, mv)| self.system.apply(&self.state, mv).is_none())
    }

    /// What does not hold.
    pub(crate) fn violated(&self) -> Vec<&'static str> {
        let always = self.system.all_properties().iter().filter(|property| property.kind == Kind::Always);
        always.filter(|property| !self.system.holds(property, &self.state)).map(|p| p.name).collect()
    }

    pub(crate) fn replica(&self, index: usize) -> &ReplicaState<KeyValue> {
        let mut replicas = self.state.actors().iter().filter_map(|state| match state {
            Node::Replica(replica) => Some(&**replica),
            Node::Server(server) => server.replica.as_ref(),
            _ => None,
        });
        replicas.nth(index).unwrap()
    }

    /// Compares the run's picture with the stored one.
    fn is_drawn_as(&self, name: &str, title: &str, verdict: &str, bad: bool) {
        self.is_drawn_in("bpaxos", name, title, verdict, bad);
    }

    /// The same in the folder of a protocol's specification.
    pub(crate) fn is_drawn_in(&self, protocol: &str, name: &str, title: &str, verdict: &str, bad: bool) {
        let mut trace = self.system.trace(&Path::new(self.actions.clone())).unwrap();
        title.clone_into(&mut trace.title);
        compare(protocol, name, &trace, verdict, bad);
    }
}

/// Compares a run's picture with the one that is stored beside a protocol's specification.
pub(crate) fn compare(protocol: &str, name: &str, trace: &Trace, verdict: &str, bad: bool) {
    let diagram = draw::from_trace(trace, "", Some((verdict.to_owned(), bad)));
    let file =
        File::new(env!("CARGO_MANIFEST_DIR")).join("../specs").join(protocol).join(format!("{name}.svg"));
    let drawn = diagram.without_idle_lanes().to_svg();
    if std::fs::read_to_string(&file).ok().as_ref() != Some(&drawn) {
        let anew = std::env::temp_dir().join(format!("{name}.svg"));
        std::fs::write(&anew, drawn).unwrap();
        panic!("{} is another picture than {}", file.display(), anew.display());
    }
}

/// Fast `BPaxos` and others, whose runs say themselves whether they end wrong.
#[test]
fn known_runs_of_the_variants_are_drawn() {
    for run in known_runs().unwrap() {
        let verdict = match &run.violated[..] {
            [] => "in order".to_owned(),
            violated => format!("violated: {}", violated.join(", ")),
        };
        compare("bpaxos", run.name, &run.trace, &verdict, !run.violated.is_empty());
    }
}

/// A leader's vertex gets enough votes.
macro_rules! chosen {
    ($by:literal, $vertex:literal) => {
        [concat!("a0 hears ", $by, " Phase2a ", $vertex), concat!($by, " hears a0 Phase2b ", $vertex)]
    };
}

fn increment(key: &str, by: i64) -> Value {
    json!({ "increment": [key, by] })
}

/// R3: an acceptor that reports its vote as if it had been cast in the round that it promises. The first vote for x is older
/// than what was chosen, and looks as new.
#[test]
fn a_promise_that_moves_the_vote_would_choose_a_second_value() {
    let run = |mutant| {
        let params = json!({
            "dependency_nodes": 1, "replicas": 1, "contact_all": true, "round_max": 2, "nack": true,
            "clients": [{ "script": [increment("a", 1)] }, { "script": [increment("a", 2)], "first": 1 }],
        });
        Run::new(params, mutant)
            .follow(&["l0 hears c0 Request", "d0 hears l0 v0.0", "l0 hears d0 v0.0"])
            .follow(&["a2 hears l0 Phase2a v0.0"])
            .follow(&["l1 hears c1 Request", "d0 hears l1 v1.0", "l1 hears d0 v1.0"])
            .follow(&["a0 hears l1 Phase2a v1.0", "a1 hears l1 Phase2a v1.0"])
            .follow(&["l1 hears a0 Phase2b v1.0", "l1 hears a1 Phase2b v1.0", "r0 hears l1 v1.0"])
            .follow(&["r0 waits v0.0", "r0 waits v0.0", "l1 hears r0 Recover v0.0"])
            .follow(&["a0 hears l1 Phase1a v0.0", "a1 hears l1 Phase1a v0.0"])
            .follow(&["l1 hears a0 Phase1b v0.0", "l1 hears a1 Phase1b v0.0"])
            .follow(&["a0 hears l1 Phase2a v0.0 noop", "a1 hears l1 Phase2a v0.0 noop"])
            .follow(&["a0 hears l0 Phase2a v0.0", "l0 hears a0 Nack v0.0", "l0 waits Backoff v0.0"])
            .follow(&["a1 hears l0 Phase1a v0.0", "a2 hears l0 Phase1a v0.0"])
            .follow(&["l0 hears a1 Phase1b v0.0", "l0 hears a2 Phase1b v0.0"])
    };
    let right = run(None);
    assert!(right.refuses("a0 hears l0 Phase2a v0.0 r2 incr"), "the later vote is for a noop");
    let right = right.follow(&["a0 hears l0 Phase2a v0.0 r2 noop", "a1 hears l0 Phase2a v0.0 r2 noop"]);
    assert_eq!(right.violated(), Vec::<&str>::new());

    // The third acceptor has moved its vote to the new round by itself.
    let wrong = run(Some(Mutant::PromiseMovesVote)).follow(&["a0 hears l0 Phase2a v0.0 r2 incr"]);
    assert!(wrong.violated().contains(&"agreement"), "{:?}", wrong.violated());
    wrong.is_drawn_as("promise_moves_vote", "A promise moves the vote (R3)", "violated: agreement", true);
}

/// R4: x is before y at one leader, and z comes after both. Nodes that name the largest vertex only say that z is after y; when y
/// is lost and becomes a noop, nothing says any more that z is after x.
#[test]
fn compaction_that_relies_on_transitivity_would_lose_an_order_with_a_noop() {
    let run = |mutant| {
        let params = json!({
            "acceptors": 1, "contact_all": true, "compaction": 1, "round_max": 1,
            "clients": [
                { "script": [increment("a", 4)] },
                { "script": [increment("a", 1)], "first": 1 },
                { "script": [increment("a", 2)], "first": 1 },
            ],
        });
        Run::new(params, mutant)
            .follow(&["l1 hears c1 Request", "d0 hears l1 v1.0", "d1 hears l1 v1.0", "d2 hears l1 v1.0"])
            .follow(&["l1 hears d0 v1.0", "l1 hears d1 v1.0"])
            .follow(&chosen!("l1", "v1.0"))
            .follow(&["l1 hears c2 Request", "d1 hears l1 v1.1", "d2 hears l1 v1.1"])
            .follow(&["l0 hears c0 Request", "d1 hears l0 v0.0", "d2 hears l0 v0.0"])
            .follow(&["l0 hears d1 v0.0", "l0 hears d2 v0.0"])
            .follow(&chosen!("l0", "v0.0"))
            .follow(&["r1 hears l0 v0.0"])
    };
    // The leader of y has not heard from enough nodes and cannot say what y is; the other one makes it a noop.
    let y_is_lost = |run: Run| {
        run.follow(&["r1 waits v1.1", "r1 waits v1.1", "l0 hears r1 Recover v1.1"])
            .follow(&["a0 hears l0 Phase1a v1.1", "l0 hears a0 Phase1b v1.1"])
            .follow(&chosen!("l0", "v1.1"))
            .follow(&["r0 hears l1 v1.0", "r0 hears l0 v1.1", "r0 hears l0 v0.0", "r1 hears l0 v1.1"])
    };
    let wrong = y_is_lost(run(Some(Mutant::CompactionWithoutPrefix)));
    assert_eq!(wrong.replica(1).executed().len(), 2, "z has run and x has not");
    let wrong = wrong.follow(&["r1 hears l1 v1.0"]);
    let order = "conflicting vertices run in one order";
    assert!(wrong.violated().contains(&order), "{:?}", wrong.violated());
    let title = "Compaction that relies on transitivity (R4)";
    wrong.is_drawn_as("compaction_without_prefix", title, &format!("violated: {order}"), true);

    let right = run(None);
    let waiting: VertexSet = right.replica(1).executor.blockers().collect();
    assert_eq!(format!("{waiting:?}"), "{v1.1}", "z waits for x too, and for y, which is the last");
    let right = y_is_lost(right.follow(&["r1 hears l1 v1.0"]));
    assert_eq!(right.violated(), Vec::<&str>::new());
    assert_eq!(right.replica(0).machine, right.replica(1).machine);
}

/// A snapshot s, and conflicting commands b and c, in a component of three: s after b, b after c, c after s; all after x.
const SNAPSHOT_IN_A_COMPONENT: &[&str] = &[
    "l0 hears c0 Request",
    "d0 hears l0 v0.0",
    "d1 hears l0 v0.0",
    "d2 hears l0 v0.0",
    "l0 hears d0 v0.0",
    "l0 hears d1 v0.0",
    "a0 hears l0 Phase2a v0.0",
    "l0 hears a0 Phase2b v0.0",
    "r0 hears l0 v0.0",
    "r1 hears l0 v0.0",
    "l0 hears r0 SnapshotRequest",
    "c0 hears r0 Reply",
    "l0 hears c0 Request",
    "l1 hears c1 Request",
    "d0 hears l0 v0.2",
    "d0 hears l0 v0.1",
    "d1 hears l0 v0.1",
    "d1 hears l1 v1.0",
    "d2 hears l1 v1.0",
    "d2 hears l0 v0.2",
    "l0 hears d0 v0.1",
    "l0 hears d1 v0.1",
    "l0 hears d0 v0.2",
    "l0 hears d2 v0.2",
    "l1 hears d1 v1.0",
    "l1 hears d2 v1.0",
    "a0 hears l0 Phase2a v0.1",
    "l0 hears a0 Phase2b v0.1",
];

/// R6, which the reference code has: the first replica runs s, b, c and saves what s stands for; the second does not know s,
/// takes the snapshot for it, and then c waits for nothing any more.
#[test]
fn a_snapshot_within_a_component_would_let_another_replica_run_the_rest_in_another_order() {
    let run = |mutant| {
        let params = json!({
            "acceptors": 1, "contact_all": true, "snapshot_vertices": 1, "retained_vertices": 0, "saves_needed": 2,
            "clients": [
                { "script": [increment("a", 1), increment("a", 2)] },
                { "script": [increment("a", 4)], "first": 1 },
            ],
        });
        Run::new(params, mutant)
            .follow(SNAPSHOT_IN_A_COMPONENT)
            .follow(&chosen!("l0", "v0.2"))
            .follow(&chosen!("l1", "v1.0"))
            .follow(&["r0 hears l0 v0.1", "r0 hears l0 v0.2", "r0 hears l1 v1.0"])
            .follow(&[
                "r1 hears l0 v0.2",
                "r1 hears l1 v1.0",
                "r1 waits v0.1",
                "r1 waits v0.1",
                "r1 waits v0.1",
            ])
            .follow(&["r0 hears r1 Recover v0.1", "r1 hears r0 SnapshotPart"])
            .follow(&["r0 hears r1 FetchSnapshot", "r1 hears r0 SnapshotPart"])
    };
    let wrong = run(Some(Mutant::SnapshotSplitsComponent));
    let order = "conflicting vertices run in one order";
    assert!(wrong.violated().contains(&order), "{:?}", wrong.violated());
    let title = "A snapshot within a component (R6)";
    wrong.is_drawn_as("snapshot_in_a_component", title, &format!("violated: {order}"), true);

    let right = run(None);
    assert_eq!(right.violated(), Vec::<&str>::new());
    let (first, second) = (right.replica(0), right.replica(1));
    assert_eq!((first.executed(), &first.machine), (second.executed(), &second.machine));
    assert!(second.history.is_empty(), "the second replica runs neither b nor c itself");
}

/// R7: a dependency node that remembers the largest vertex, and returns what is below the largest instead of below or equal.
#[test]
fn a_watermark_that_is_one_short_would_leave_a_command_and_a_snapshot_without_an_order() {
    let run = |mutant| {
        let params = json!({
            "leaders": 1, "dependency_nodes": 1, "acceptors": 1, "replicas": 1, "compaction": 1, "snapshot_vertices": 1,
            "clients": [{ "script": [increment("a", 1)] }],
        });
        Run::new(params, mutant)
            .follow(&["l0 hears c0 Request", "d0 hears l0 v0.0", "l0 hears d0 v0.0"])
            .follow(&chosen!("l0", "v0.0"))
            .follow(&["r0 hears l0 v0.0", "l0 hears r0 SnapshotRequest"])
            .follow(&["d0 hears l0 v0.1", "l0 hears d0 v0.1"])
            .follow(&chosen!("l0", "v0.1"))
    };
    let wrong = run(Some(Mutant::CompactionOneShort));
    let invariant = "the dependency invariant";
    assert!(wrong.violated().contains(&invariant), "{:?}", wrong.violated());
    let title = "A watermark that is one short (R7)";
    wrong.is_drawn_as("watermark_one_short", title, &format!("violated: {invariant}"), true);
    assert_eq!(run(None).violated(), Vec::<&str>::new());
}

/// R8: a client's second command runs at a replica that has not run its first.
#[test]
fn a_client_table_of_the_largest_number_would_lose_a_command() {
    let run = |mutant| {
        let params = json!({
            "leaders": 1, "dependency_nodes": 1, "acceptors": 1,
            "clients": [{ "script": [increment("a", 1), increment("b", 1)] }],
        });
        Run::new(params, mutant)
            .follow(&["l0 hears c0 Request", "d0 hears l0 v0.0", "l0 hears d0 v0.0"])
            .follow(&chosen!("l0", "v0.0"))
            .follow(&["r0 hears l0 v0.0", "c0 hears r0 Reply"])
            .follow(&["l0 hears c0 Request", "d0 hears l0 v0.1", "l0 hears d0 v0.1"])
            .follow(&chosen!("l0", "v0.1"))
            .follow(&["r0 hears l0 v0.1", "r1 hears l0 v0.1", "r1 hears l0 v0.0"])
    };
    let wrong = run(Some(Mutant::LargestIdOnly));
    assert!(wrong.violated().contains(&"exactly once"), "{:?}", wrong.violated());
    assert_ne!(wrong.replica(0).machine, wrong.replica(1).machine);
    let title = "A client table of the largest number (R8)";
    wrong.is_drawn_as("largest_number_only", title, "violated: exactly once", true);

    let right = run(None);
    assert_eq!(right.violated(), Vec::<&str>::new());
    assert_eq!(right.replica(0).machine, right.replica(1).machine);
}

/// R12: u is known to one dependency node. g is chosen after u, and d after g. If g were answered when it is committed, u could
/// still be chosen after d: one component, in which d comes before g although it was invoked when g had been answered.
#[test]
fn a_reply_at_commit_would_let_a_later_command_come_first() {
    let run = |mutant| {
        let params = json!({
            "acceptors": 1, "replicas": 1, "contact_all": true,
            "clients": [
                { "script": [increment("a", 10), increment("a", 100)], "first": 1, "retries": 1 },
                { "script": [increment("a", 1)] },
            ],
        });
        Run::new(params, mutant)
            .follow(&["l0 hears c1 Request", "d0 hears l0 v0.0"])
            .follow(&["l1 hears c0 Request", "d0 hears l1 v1.0", "d1 hears l1 v1.0"])
            .follow(&["l1 hears d0 v1.0", "l1 hears d1 v1.0"])
            .follow(&chosen!("l1", "v1.0"))
            .follow(&["r0 hears l1 v1.0"])
    };
    let right = run(None);
    assert!(right.refuses("c0 hears r0 Reply"), "g waits for u, and so does its answer");
    let waiting: VertexSet = right.replica(0).executor.blockers().collect();
    assert_eq!(format!("{waiting:?}"), "{v0.0}");

    let wrong = run(Some(Mutant::ReplyAtCommit))
        .follow(&["c0 hears r0 Reply", "c0 waits Retry", "l0 hears c0 Request"])
        .follow(&["d1 hears l0 v0.1", "d2 hears l0 v0.1", "l0 hears d1 v0.1", "l0 hears d2 v0.1"])
        .follow(&["d2 hears l0 v0.0", "l0 hears d0 v0.0", "l0 hears d2 v0.0"])
        .follow(&chosen!("l0", "v0.0"))
        .follow(&chosen!("l0", "v0.1"))
        .follow(&["r0 hears l0 v0.1", "r0 hears l0 v0.0", "c0 hears r0 Reply 100"]);
    assert!(wrong.violated().contains(&"linearizable"), "{:?}", wrong.violated());
    let order: Vec<String> = wrong.replica(0).history.iter().map(|vertex| format!("{vertex:?}")).collect();
    assert_eq!(order, ["v0.0", "v0.1", "v1.0"], "d before g");
    wrong.is_drawn_as("reply_at_commit", "A reply at commit (R12)", "violated: linearizable", true);
}

/// A replica waits for a vertex whose leader has not heard from its dependency node yet.
fn owner_is_asked_first(mutant: Option<Mutant>) -> Run {
    let params = json!({
        "separate_proposers": true, "dependency_nodes": 1, "acceptors": 1, "replicas": 1, "round_max": 2,
        "clients": [
            { "script": [increment("a", 1)] },
            { "script": [increment("a", 2)], "first": 1 },
        ],
    });
    Run::new(params, mutant)
        .follow(&["l0 hears c0 Request", "d0 hears l0 v0.0"])
        .follow(&["l1 hears c1 Request", "d0 hears l1 v1.0", "l1 hears d0 v1.0", "p1 hears l1 Propose v1.0"])
        .follow(&chosen!("p1", "v1.0"))
        .follow(&["r0 hears p1 v1.0", "r0 waits v0.0", "l0 hears d0 v0.0", "p0 hears r0 Recover v0.0"])
}

/// R13: the owner is asked to recover a vertex before its leader proposes it, and uses up round zero for a noop.
#[test]
fn an_owner_that_proposed_a_noop_ignores_its_leaders_proposal() {
    let right = owner_is_asked_first(None);
    assert!(right.refuses("p0 hears l0 Propose v0.0"));
    let right = right.follow(&chosen!("p0", "v0.0")).follow(&["r0 hears p0 v0.0"]);
    assert_eq!(right.violated(), Vec::<&str>::new());
    assert_eq!(right.replica(0).executed().len(), 2, "the noop, and what waited for it");
    right.is_drawn_as(
        "owner_noop_race",
        "The owner is asked before its leader proposes (R13)",
        "in order",
        false,
    );
}

/// R13 with a restart in between, M13.
#[test]
fn an_owner_that_forgot_its_noop_does_not_use_round_zero_again() {
    let again = |mutant| {
        owner_is_asked_first(mutant).follow(&[
            "a0 hears p0 Phase2a v0.0 r0",
            "p0 restarts",
            "p0 hears l0 Propose v0.0",
        ])
    };
    let right = again(None);
    assert!(right.refuses("a0 hears p0 Phase2a v0.0 incr"), "the command needs a later round");
    let right = right
        .follow(&["a0 hears p0 Phase1a v0.0 r2", "p0 hears a0 Phase1b v0.0 r2"])
        .follow(&["a0 hears p0 Phase2a v0.0 r2 noop", "p0 hears a0 Phase2b v0.0 r2"])
        .follow(&["r0 hears p0 v0.0 noop"]);
    assert_eq!(right.violated(), Vec::<&str>::new());

    // An acceptor votes once in a round: asked again, it says that it has.
    let wrong = again(Some(Mutant::ReuseRounds)).follow(&[
        "a0 hears p0 Phase2a v0.0 incr",
        "p0 hears a0 Phase2b v0.0",
        "r0 hears p0 v0.0",
    ]);
    let learned = "learned implies chosen";
    assert!(wrong.violated().contains(&learned), "{:?}", wrong.violated());
    let title = "Round zero used twice (R13, with a restart)";
    wrong.is_drawn_as("round_zero_twice", title, &format!("violated: {learned}"), true);
}

/// A proposer has a vertex chosen in a later round, restarts, and is asked for the vertex again. From its first attempt an
/// acceptor's promise from before the vote is still on its way.
fn asked_again_after_a_restart(mutant: Option<Mutant>) -> Run {
    let params = json!({
        "dependency_nodes": 1, "replicas": 1, "contact_all": true, "round_max": 3,
        "clients": [
            { "script": [increment("a", 1)] },
            { "script": [increment("a", 2)], "first": 1 },
            { "script": [increment("b", 1)], "first": 1 },
        ],
    });
    Run::new(params, mutant)
        .follow(&["l0 hears c0 Request", "d0 hears l0 v0.0", "l0 hears d0 v0.0", "a2 hears l0 Phase2a v0.0"])
        .follow(&["l1 hears c1 Request", "d0 hears l1 v1.0", "l1 hears d0 v1.0"])
        .follow(&["a0 hears l1 Phase2a v1.0", "a1 hears l1 Phase2a v1.0"])
        .follow(&["l1 hears a0 Phase2b v1.0", "l1 hears a1 Phase2b v1.0", "r0 hears l1 v1.0"])
        .follow(&["r0 waits v0.0", "r0 waits v0.0", "l1 hears r0 Recover v0.0"])
        .follow(&["a0 hears l1 Phase1a v0.0", "a1 hears l1 Phase1a v0.0", "a2 hears l1 Phase1a v0.0"])
        .follow(&["l1 hears a0 Phase1b v0.0", "l1 hears a2 Phase1b v0.0"])
        .follow(&["a1 hears l1 Phase2a v0.0", "a2 hears l1 Phase2a v0.0"])
        .follow(&["l1 hears a1 Phase2b v0.0", "l1 hears a2 Phase2b v0.0"])
        .follow(&["l1 hears c2 Request", "l1 restarts"])
        .follow(&["r0 waits v0.0", "r0 waits v0.0", "l1 hears r0 Recover v0.0"])
        .follow(&["a0 hears l1 Phase1a v0.0", "l1 hears a0 Phase1b v0.0"])
}

#[test]
fn a_proposer_that_forgot_the_round_of_a_chosen_vertex_does_not_use_it_again() {
    let wrong = asked_again_after_a_restart(Some(Mutant::ForgetUsedRounds))
        .follow(&["l1 hears a1 Phase1b v0.0", "a0 hears l1 Phase2a v0.0 noop"]);
    assert_eq!(wrong.violated(), ["one proposal per round and vertex"]);
    let wrong = wrong
        .follow(&["a1 hears l1 Phase2a v0.0 noop", "l1 hears a0 Phase2b v0.0", "l1 hears a1 Phase2b v0.0"])
        .follow(&["r0 hears l1 v0.0 noop"]);
    let learned = "learned implies chosen";
    assert!(wrong.violated().contains(&learned), "{:?}", wrong.violated());
    let title = "A round used again after a restart";
    wrong.is_drawn_as("later_round_twice", title, &format!("violated: {learned}"), true);

    let right = asked_again_after_a_restart(None);
    assert!(right.refuses("l1 hears a1 Phase1b v0.0"), "that promise is for an earlier round");
    let right = right
        .follow(&["a2 hears l1 Phase1a v0.0", "l1 hears a2 Phase1b v0.0 r3"])
        .follow(&["a0 hears l1 Phase2a v0.0 r3 incr", "a2 hears l1 Phase2a v0.0 r3 incr"]);
    assert_eq!(right.violated(), Vec::<&str>::new());
}
