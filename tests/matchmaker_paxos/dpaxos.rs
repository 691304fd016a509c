//! The run in which `DPaxos` chooses two values (matchmaker notes, section 7), on the actors of the models, and drawn: zones of
//! the nodes A to C, D to F and G to I, which are the acceptors 0 to 8; three ballots with the replication quorums {B, C},
//! {G, H} and {E, F}.

use crate::bpaxos_runs::compare;
use parthood_models::matchmaker_paxos::{MatchmakerPaxos, Params};
use parthood_models::{Input, Kind, Move, Network, Path, Setup, State, System};
use parthood_protocols::matchmaker_paxos::Mutant;
use serde_json::json;

struct Run {
    system: System<MatchmakerPaxos>,
    /// `p0`, `m1`, `a2` and `c0` for a proposer, matchmaker, acceptor and client.
    names: Vec<String>,
    state: State<MatchmakerPaxos>,
    actions: Vec<u16>,
}

impl Run {
    fn new(mutant: Option<Mutant>) -> Self {
        let params = json!({
            "proposers": [
                { "configurations": [{ "all": [1, 2] }] },
                { "configurations": [{ "all": [6, 7] }] },
                { "configurations": [{ "all": [4, 5] }] },
            ],
            "clients": [{ "first": 0 }, { "first": 1 }, { "first": 2 }],
            "collect": { "chosen": true, "free": true },
        });
        let params: Params = serde_json::from_value(params).unwrap();
        let setup = Setup { network: Network::Unordered, ..Setup::default() };
        let system = System::new(MatchmakerPaxos::new(&params, mutant).unwrap(), setup);
        let short = |name: &str| format!("{}{}", &name[..1], name.rsplit(' ').next().unwrap());
        let lanes = system.trace(&Path::default()).unwrap().lanes;
        let names = lanes.iter().map(|lane| short(&lane.name)).collect();
        Self { state: system.initial(), system, names, actions: vec![] }
    }

    /// The number of the delivery that a line tells of, if it can happen: `a1 hears p0 Phase2a`.
    fn find(&self, line: &str) -> Option<(u16, Move)> {
        let words: Vec<&str> = line.split(' ').collect();
        let messages: Vec<_> = self.state.messages().collect();
        let tells_of = |mv: &Move| {
            let Move::React(Input::Deliver(at)) = *mv else { return false };
            let (src, dst, msg) = messages[usize::from(at)];
            let between = [&self.names[usize::from(dst)], &self.names[usize::from(src)]];
            between == [words[0], words[2]] && format!("{msg:?}").starts_with(words[3])
        };
        let mut moves = vec![];
        self.system.moves(&self.state, &mut moves);
        let mut found = (0..).zip(moves).filter(|(_, mv)| tells_of(mv));
        let first = found.next();
        assert!(found.next().is_none(), "several moves are like {line:?}");
        first
    }

    /// Has these things happen, one after the other, and nothing else.
    fn follow(mut self, lines: &[&str]) -> Self {
        for line in lines {
            let (number, mv) = self.find(line).unwrap_or_else(|| panic!("{line:?} cannot happen"));
            self.state = self.system.apply(&self.state, mv).unwrap_or_else(|| panic!("{line:?} is ignored"));
            self.actions.push(number);
        }
        self
    }

    /// What does not hold.
    fn violated(&self) -> Vec<&'static str> {
        let always = self.system.all_properties().iter().filter(|property| property.kind == Kind::Always);
        always.filter(|property| !self.system.holds(property, &self.state)).map(|p| p.name).collect()
    }

    /// Compares the run's picture with the stored one.
    fn is_drawn_as(&self, name: &str, title: &str, verdict: &str) {
        let mut trace = self.system.trace(&Path::new(self.actions.clone())).unwrap();
        title.clone_into(&mut trace.title);
        compare("matchmaker_paxos", name, &trace, verdict, true);
    }
}

/// The first value is chosen in ballot 0 by B and C. Ballot 1 hears of it from C and proposes it to G and H; the message to H is
/// late for ever, and G votes.
const ONE_VOTE: &[&str] = &[
    "p0 hears c0 Propose",
    "m0 hears p0 MatchA",
    "p0 hears m0 MatchB",
    "m1 hears p0 MatchA",
    "p0 hears m1 MatchB",
    "a1 hears p0 Phase2a",
    "a2 hears p0 Phase2a",
    "p1 hears c1 Propose",
    "m1 hears p1 MatchA",
    "p1 hears m1 MatchB",
    "m2 hears p1 MatchA",
    "p1 hears m2 MatchB",
    "a2 hears p1 Phase1a",
    "p1 hears a2 Phase1b",
    "a6 hears p1 Phase2a",
    "p1 hears a6 Phase2b",
];

/// Ballot 2 is announced, and asks H, which has not voted.
const NEXT: &[&str] = &[
    "p2 hears c2 Propose",
    "m0 hears p2 MatchA",
    "p2 hears m0 MatchB",
    "m1 hears p2 MatchA",
    "p2 hears m1 MatchB",
    "a7 hears p2 Phase1a",
    "p2 hears a7 Phase1b",
];

const VOTES: &[&str] = &["a4 hears p2 Phase2a", "a5 hears p2 Phase2a"];

#[test]
fn collecting_because_of_a_vote_chooses_a_second_value() {
    let wrong = Run::new(Some(Mutant::CollectOnVote)).follow(ONE_VOTE);
    assert_eq!(wrong.violated(), ["garbage collection is justified"]);
    let wrong = wrong.follow(&["m0 hears p1 GarbageA", "m1 hears p1 GarbageA"]).follow(NEXT).follow(VOTES);
    assert!(wrong.violated().contains(&"agreement"), "{:?}", wrong.violated());
    wrong.is_drawn_as("dpaxos", "DPaxos: collecting because of a vote", "violated: agreement");

    let right = Run::new(None).follow(ONE_VOTE);
    assert!(right.find("m0 hears p1 GarbageA").is_none(), "one vote of two is no choice");
    // Nothing was collected, so C is asked as well, and what it reports is proposed.
    let right = right.follow(NEXT).follow(&["a2 hears p2 Phase1a", "p2 hears a2 Phase1b"]).follow(VOTES);
    assert_eq!(right.violated(), Vec::<&str>::new());
}
