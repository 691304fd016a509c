//! The matchmakers alone, in the simulator: they are replaced all the time while proposers match rounds, nodes crash,
//! reconfigurers die in the middle, and messages are lost, doubled and held back.

use parthood::protocols::faults::{Correct, Faults, Mutated};
use parthood::protocols::matchmaker_epochs::{
    Config, Mutant, Node, Noted, Phase, Proposer, Reconfigurer, Role, State,
};
use parthood::protocols::matchmaking::{Epoch, Matched, Round};
use parthood::quorum_systems::NodeSet;
use parthood::runtime::sim::{Fault, Network, Schedule, Settings, Sim, Span, Stop, partition};
use parthood::runtime::{Observer, Step, Wants};
use parthood::simulate::{self, Storm};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const PROPOSERS: usize = 2;
const RECONFIGURERS: usize = 2;
const MATCHMAKERS: usize = 6;
const NODES: usize = PROPOSERS + RECONFIGURERS + MATCHMAKERS;
/// How often each reconfigurer wants other matchmakers.
const CHANGES: usize = 12;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn config<F>(collect: bool, faults: F) -> Arc<Config<F>> {
    Arc::new(Config {
        proposers: PROPOSERS,
        reconfigurers: RECONFIGURERS,
        matchmakers: MATCHMAKERS,
        first: Epoch::first(NodeSet::first(3)),
        log_max: 10_000,
        collect,
        nack: true,
        resend: Some(millis(80)..millis(160)),
        faults,
    })
}

fn actors(config: &Arc<Config>) -> Vec<Node> {
    let proposer = |index| Node::Proposer(Proposer { index, rounds_max: u64::MAX, config: config.clone() });
    // Every set of three turns up; the two reconfigurers want different ones.
    let set = |turn: usize| -> NodeSet {
        let first = turn % MATCHMAKERS;
        let step = 1 + turn / MATCHMAKERS % 2;
        [first, (first + step) % MATCHMAKERS, (first + step + 2) % MATCHMAKERS].into_iter().collect()
    };
    let reconfigurer = |index: usize| {
        let script = (0..CHANGES).map(|turn| set(turn + 3 * index)).collect();
        Node::Reconfigurer(Reconfigurer { index, script, ballots_max: u64::MAX, config: config.clone() })
    };
    let matchmakers = (0..MATCHMAKERS).map(|number| Node::Matchmaker(number, config.clone()));
    (0..PROPOSERS).map(proposer).chain((0..RECONFIGURERS).map(reconfigurer)).chain(matchmakers).collect()
}

/// What proposers note for a round: for some rounds the same, as elsewhere configurations come back.
fn noted(round: Round) -> Noted {
    round.age() * 8 + round.proposer
}

/// What was matched, judged as it happens.
#[derive(Default)]
struct Judge {
    /// For each round the number of its epoch, and what was said to come before.
    matched: BTreeMap<Round, (u64, Vec<Matched<Noted>>)>,
    collects: bool,
    wrong: Vec<String>,
    /// The sets that served, by the number of their epochs.
    sets: BTreeMap<u64, NodeSet>,
}

impl Judge {
    /// Does a round that was told of these know of a smaller one, or may that be retired?
    fn knows(&self, round: Round, told: &[Matched<Noted>], below: Round) -> bool {
        // A larger round with the same note stands for a smaller one.
        let stands_for = |(of, note): &Matched<Noted>| *of == below || *of > below && *note == noted(below);
        // Whoever has matched a round retires what is below.
        let mut others = self.matched.range(below..).filter(|(of, _)| **of != below && **of != round);
        told.iter().any(stands_for) || self.collects && others.next().is_some()
    }
}

impl<F: Faults<Mutant>> Observer<Node<F>> for Judge {
    fn wants(&self) -> Wants {
        Wants::Steps
    }

    fn on_step(&mut self, step: &Step<'_, Node<F>>) {
        match step.after {
            State::Proposer(proposer) => {
                let (Phase::Matched(earlier), Some(round)) = (&proposer.phase, proposer.used) else { return };
                if self.matched.contains_key(&round) {
                    return;
                }
                // Whichever of two is noticed first; the answers to the smaller one may have been under way for long.
                let (smaller, larger) = (self.matched.range(..round), self.matched.range(round..));
                let smaller = smaller.filter(|(below, _)| !self.knows(round, earlier, **below));
                let larger = larger.filter(|(above, (_, told))| !self.knows(**above, told, round));
                let wrong =
                    smaller.map(|(below, _)| (round, *below)).chain(larger.map(|(above, _)| (*above, round)));
                let wrong: Vec<_> =
                    wrong.map(|(one, other)| format!("{one:?} does not know {other:?}")).collect();
                self.wrong.extend(wrong);
                self.matched.insert(round, (proposer.epoch.number, earlier.clone()));
            }
            State::Matchmaker(node) if node.log.is_some() => {
                let set = *self.sets.entry(node.newest.number).or_insert(node.newest.members);
                if set != node.newest.members {
                    self.wrong.push(format!("{:?} and {set:?} serve in one epoch", node.newest));
                }
            }
            _ => {}
        }
    }
}

/// Returns how many rounds were matched.
fn storm(seed: u64, collects: bool) -> usize {
    let config = config(collects, Correct);
    let storm = Storm { seconds: 10, crashes: 12, ..Storm::default() };
    let mut budget = simulate::budget(&storm, NODES);
    budget.down_at_most = 2;
    let sync = Span::new(millis(0), millis(8));
    let settings = Settings { seed, network: budget.storm, sync, ..Settings::default() };
    let judge = Judge { collects, ..Judge::default() };
    let mut sim = Sim::new(actors(&config), settings, judge).unwrap();
    sim.schedule(&Schedule::random(seed, NODES, &budget)).unwrap();
    let done = |sim: &Sim<Node, Judge>| {
        let over = (0..RECONFIGURERS).all(|number| {
            let id = config.id(Role::Reconfigurer(number));
            matches!(sim.state(id), Some(State::Reconfigurer(one)) if one.done >= CHANGES)
        });
        let last = sim.observer().sets.keys().max().copied();
        over && sim.observer().matched.values().any(|(epoch, _)| Some(*epoch) == last)
    };
    let stop = sim.run_while(Duration::from_secs(120), |sim| !(done(sim) && sim.now() > budget.calm_at));
    let judge = sim.observer();
    assert_eq!(judge.wrong, [""; 0], "seed {seed}");
    assert_eq!(stop, Stop::Done, "seed {seed}: stuck after {} epochs", judge.sets.len());
    assert!(judge.sets.len() > CHANGES, "seed {seed}: {} epochs are no change", judge.sets.len());
    judge.matched.len()
}

#[test]
fn no_matched_round_is_forgotten_in_a_storm_while_matchmakers_are_replaced() {
    let rounds: usize = (0..12).map(|seed| storm(seed, false)).sum();
    assert!(rounds > 200, "{rounds} rounds are no load");
}

#[test]
fn nor_where_what_is_below_is_retired() {
    let rounds: usize = (0..12).map(|seed| storm(seed, true)).sum();
    assert!(rounds > 200, "{rounds} rounds are no load");
}

#[test]
fn a_dead_reconfigurer_leaves_a_stopped_epoch_that_another_one_ends() {
    // Reconfigurer 0 dies for good at some moment of its first change; whatever it has done by then, the other one goes on.
    for at in (250..15_000).step_by(250).map(Duration::from_micros) {
        let config = config(true, Correct);
        let mut actors = actors(&config);
        let (first, second) = (config.id(Role::Reconfigurer(0)), config.id(Role::Reconfigurer(1)));
        if let Node::Reconfigurer(one) = &mut actors[usize::from(second)] {
            one.script.truncate(1);
        }
        // The second one begins when the first is long dead.
        let schedule = Schedule::new().down(second.into(), Duration::ZERO, millis(300));
        let schedule = schedule.with(at, Fault::Crash(first.into()));
        let settings = Settings { seed: 7, ..Settings::default() };
        let mut sim = Sim::new(actors, settings, Judge { collects: true, ..Judge::default() }).unwrap();
        sim.schedule(&schedule).unwrap();
        let done = |sim: &Sim<Node, Judge>| match sim.state(second) {
            Some(State::Reconfigurer(one)) => {
                one.done > 0 && sim.observer().matched.values().any(|(epoch, _)| *epoch == one.epoch.number)
            }
            _ => false,
        };
        let stop = sim.run_while(Duration::from_secs(60), |sim| !done(sim));
        assert_eq!(stop, Stop::Done, "dead after {at:?}");
        assert_eq!(sim.observer().wrong, [""; 0], "dead after {at:?}");
    }
}

/// Numbers of nodes in the scripts below: two proposers, two reconfigurers, and then the matchmakers.
const LEADERS: [usize; 2] = [0, 1];
const OPERATORS: [usize; 2] = [2, 3];
const M: usize = PROPOSERS + RECONFIGURERS;
/// When scripts end.
const END: Duration = Duration::from_secs(5);

/// The links from a node to others.
fn links(from: usize, to: &[usize]) -> Vec<(usize, usize)> {
    to.iter().map(|to| (from, *to)).collect()
}

/// The links from a leader to all matchmakers.
fn mute(leader: usize) -> Vec<(usize, usize)> {
    (M..NODES).map(|matchmaker| (leader, matchmaker)).collect()
}

/// A run in which each proposer has one round and each reconfigurer wants one set, and every message takes a millisecond.
fn scripted<F: Faults<Mutant>>(
    faults: F,
    sets: [Option<[usize; 3]>; 2],
    schedule: &Schedule,
) -> Sim<Node<F>, Judge> {
    let config = config(false, faults);
    let proposer = |index| Node::Proposer(Proposer { index, rounds_max: 1, config: config.clone() });
    let reconfigurer = |(index, set): (usize, Option<[usize; 3]>)| {
        let script = set.into_iter().map(NodeSet::from_iter).collect();
        Node::Reconfigurer(Reconfigurer { index, script, ballots_max: u64::MAX, config: config.clone() })
    };
    let matchmakers = (0..MATCHMAKERS).map(|number| Node::Matchmaker(number, config.clone()));
    let reconfigurers = sets.into_iter().enumerate().map(reconfigurer);
    let actors = (0..PROPOSERS).map(proposer).chain(reconfigurers).chain(matchmakers).collect();
    let settings = Settings { seed: 1, network: Network::perfect(millis(1)), ..Settings::default() };
    let mut sim = Sim::new(actors, settings, Judge::default()).unwrap();
    sim.schedule(schedule).unwrap();
    sim.run_until(END);
    sim
}

/// The first round of a proposer.
fn first_round(proposer: usize) -> Round {
    Round::next_owned_by(proposer, None)
}

/// The rounds that were matched, with the numbers of their epochs and the smaller rounds that they know.
fn matched<F: Faults<Mutant>>(sim: &Sim<Node<F>, Judge>) -> Vec<(Round, u64, Vec<Round>)> {
    let known = |earlier: &[Matched<Noted>]| earlier.iter().map(|(round, _)| *round).collect();
    let matched = sim.observer().matched.iter();
    matched.map(|(round, (epoch, earlier))| (*round, *epoch, known(earlier))).collect()
}

/// Has the proposer given up its round, because it has heard of this one?
fn lost_to<F: Faults<Mutant>>(sim: &Sim<Node<F>, Judge>, proposer: usize, round: Round) -> bool {
    let state = sim.state(proposer.into());
    matches!(state, Some(State::Proposer(one)) if one.heard == Some(round) && one.phase == Phase::Idle)
}

/// One leader has an answer of an old matchmaker and one of a new one, the other leader those of two other new ones. The
/// old matchmaker was not among those that stopped.
fn leaders_race<F: Faults<Mutant>>(faults: F) -> Sim<Node<F>, Judge> {
    let [one, other] = LEADERS;
    let schedule = Schedule::new()
        .cut(links(OPERATORS[0], &[M]), Duration::ZERO, END)
        .cut(links(one, &[M + 1, M + 2]), Duration::ZERO, END)
        .cut(links(one, &[M + 4, M + 5]), Duration::ZERO, millis(1_000))
        .cut(mute(other), Duration::ZERO, millis(400))
        .cut(links(other, &[M + 3]), Duration::ZERO, END);
    scripted(faults, [Some([3, 4, 5]), None], &schedule)
}

#[test]
fn of_two_leaders_that_race_while_matchmakers_are_replaced_one_matches_and_the_other_hears_of_it() {
    let sim = leaders_race(Correct);
    assert_eq!(sim.observer().wrong, [""; 0]);
    assert_eq!(matched(&sim), [(first_round(1), 1, vec![])]);
    assert!(lost_to(&sim, LEADERS[0], first_round(1)));
    let control = leaders_race(Mutated(Some(Mutant::CombineEpochs)));
    assert_eq!(control.observer().wrong, ["r0.1.0 does not know r0.0.0"]);
}

/// A reconfigurer that hears nothing any more goes on handing over the log of the first epoch to a matchmaker that has
/// long noted a round in the second one. (It has not heard that all old ones have stopped, or it would take these.)
fn late_bootstrap<F: Faults<Mutant>>(faults: F) -> Sim<Node<F>, Judge> {
    let [one, other] = LEADERS;
    let deaf = OPERATORS[1];
    let schedule = Schedule::new()
        .cut(links(deaf, &[M + 3, M + 4, M + 5]), Duration::ZERO, millis(500))
        .cut(vec![(M + 2, deaf)], Duration::ZERO, END)
        .cut((0..NODES).map(|from| (from, deaf)).collect(), Duration::from_micros(2_500), END)
        .cut(mute(one), Duration::ZERO, millis(300))
        .cut(links(one, &[M + 3]), Duration::ZERO, END)
        .cut(mute(other), Duration::ZERO, millis(1_000))
        .cut(links(other, &[M + 4]), Duration::ZERO, END);
    scripted(faults, [Some([3, 4, 5]); 2], &schedule)
}

#[test]
fn a_log_that_arrives_late_changes_nothing_at_a_matchmaker_that_serves() {
    let sim = late_bootstrap(Correct);
    assert_eq!(sim.observer().wrong, [""; 0]);
    let first = first_round(0);
    assert_eq!(matched(&sim), [(first, 1, vec![]), (first_round(1), 1, vec![first])]);
    let control = late_bootstrap(Mutated(Some(Mutant::OverwriteServing)));
    assert_eq!(control.observer().wrong, ["r0.1.0 does not know r0.0.0"]);
}

/// Two matchmakers crash when they have stopped and voted, before they hear who follows. A leader that has heard nothing of
/// that either finds them first when they are back.
fn stopped_ones_come_back<F: Faults<Mutant>>(faults: F) -> Sim<Node<F>, Judge> {
    let [one, other] = LEADERS;
    let stopped = Duration::from_micros(6_500);
    let mut schedule = Schedule::new()
        .cut(mute(one), Duration::ZERO, millis(300))
        .cut(links(one, &[M]), Duration::ZERO, END)
        .cut(links(OPERATORS[0], &[one]), Duration::ZERO, END)
        .cut(mute(other), Duration::ZERO, millis(1_000));
    for back in [M + 1, M + 2] {
        schedule = schedule.down(back, stopped, millis(200));
    }
    scripted(faults, [Some([3, 4, 5]), None], &schedule)
}

#[test]
fn a_stopped_matchmaker_that_comes_back_answers_nobody() {
    let sim = stopped_ones_come_back(Correct);
    assert_eq!(sim.observer().wrong, [""; 0]);
    assert_eq!(matched(&sim), [(first_round(1), 1, vec![])]);
    for mutant in [Mutant::AnswerStopped, Mutant::MatchmakerForgets] {
        let control = stopped_ones_come_back(Mutated(Some(mutant)));
        assert_eq!(control.observer().wrong, ["r0.1.0 does not know r0.0.0"], "{mutant:?}");
    }
}

/// A reconfigurer dies when its set is chosen, and only the new matchmakers have heard of it.
fn reconfigurer_dies<F: Faults<Mutant>>(faults: F) -> Sim<Node<F>, Judge> {
    let [dies, ends] = OPERATORS;
    let schedule = Schedule::new()
        .cut(partition(NODES, &LEADERS), Duration::ZERO, END)
        .cut(partition(NODES, &[ends]), Duration::ZERO, millis(300))
        .cut(links(dies, &[M, M + 1, M + 2]), Duration::from_micros(5_500), END)
        .with(millis(20), Fault::Crash(dies));
    scripted(faults, [Some([3, 4, 5]), Some([0, 1, 2])], &schedule)
}

#[test]
fn who_ends_what_a_dead_reconfigurer_has_begun_has_the_same_matchmakers_serve() {
    let sim = reconfigurer_dies(Correct);
    assert_eq!(sim.observer().wrong, [""; 0]);
    let chosen = Epoch::first(NodeSet::first(3)).followed_by(NodeSet::from_iter([3, 4, 5]));
    let ended = sim.state(OPERATORS[1].into());
    assert!(matches!(ended, Some(State::Reconfigurer(one)) if one.epoch == chosen), "{ended:?}");
    let control = reconfigurer_dies(Mutated(Some(Mutant::IgnoreVotes)));
    assert!(control.observer().wrong[0].ends_with("serve in one epoch"), "{:?}", control.observer().wrong);
}
