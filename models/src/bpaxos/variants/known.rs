//! Known failures of the variants, and two things that were taken for some, step by step. With the rule broken a run ends
//! wrong; the protocol that is right refuses the step that matters.

use super::deadlock::{self, Circle};
use super::majority_commit::{self, MAJORITY_COMMIT};
use super::{Becomes, Broken, Protocol, Step, Value, Variant};
use crate::Trace;
use crate::script::{Script, Told};
use parthood_quorums::NodeSet;

/// A run that is known, to be drawn.
#[derive(Clone, Debug)]
pub struct KnownRun {
    /// The name of its file.
    pub name: &'static str,
    /// What it does, step by step.
    pub trace: Trace,
    /// What does not hold in the end.
    pub violated: Vec<&'static str>,
}

/// All of them.
///
/// # Errors
/// In words, which step of a run cannot happen: then the models are no longer what the runs were written for.
pub fn known_runs() -> Result<Vec<KnownRun>, String> {
    Ok(vec![
        known("fast_bpaxos", "Fast BPaxos (R1)", &fast_bpaxos()?),
        known("voters_only", "Recovery that looks at voters only (R2)", &voters_only()?),
        known("everybody_asked", "Basic EPaxos asks everybody (R5)", &everybody_asked()?),
        known("recoveries_in_a_circle", "Recoveries wait in a circle (R9)", &in_a_circle()?),
        known("taken_for_a_bug", "A run of Caesar that was taken for a bug (R10)", &taken_for_a_bug()?),
    ])
}

fn known<S: Told>(name: &'static str, title: &str, script: &Script<S>) -> KnownRun {
    KnownRun { name, trace: script.trace(title), violated: script.violated() }
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

/// R1, the beginning: each command reaches two servers of five, too few for a quorum of the dependency service.
const TWO_EACH: [Step; 4] = [Step::Ask(0, 0), Step::Ask(0, 1), Step::Ask(1, 3), Step::Ask(1, 4)];

/// Consensus forces recovery to choose both commands, and neither knows of the other.
fn fast_bpaxos() -> Result<Script<Protocol>, String> {
    let fast = Variant::Fast { chooses: 4, popular: 2 };
    let fast = Protocol { variant: fast, ..Protocol::unanimous(2, false, 1) };
    let recoveries = [command(0, quorum([0, 1, 2]), false), command(1, quorum([2, 3, 4]), false)];
    Script::new(fast).follow(&TWO_EACH)?.follow(&recoveries)
}

/// R2, which the reference code has.
fn voters_only() -> Result<Script<Protocol>, String> {
    let both = quorum([0, 1]);
    Script::new(Protocol::unanimous(1, true, 1))
        .follow(&[Step::Ask(0, 0), command(0, both, false)])?
        .follow(&[Step::Ask(1, 1), command(1, both, false)])
}

/// R5, the beginning: y is before x at its own server, and unknown to that of x.
const Y_FIRST: [Step; 3] = [Step::Ask(1, 2), Step::Ask(0, 0), Step::Ask(0, 2)];

/// With one failure and everybody asked, two values have one vote each besides the owner's.
fn everybody_asked() -> Result<Script<Protocol>, String> {
    Script::new(Protocol::basic(1, false, Some(Broken::AskEverybody))).follow(&Y_FIRST)?.follow(&[
        Step::Ask(0, 1),
        Step::Record(0, true),
        command(0, quorum([1, 2]), false),
    ])
}

/// R9, the beginning: each of five servers hears of five commands, and begins with another one.
fn rotations() -> Vec<deadlock::Step> {
    let rotation = |first| (0..5).map(move |next| (first, (first + next) % 5));
    let heard = (0..5).flat_map(rotation);
    heard.map(|(server, command)| deadlock::Step::Hear { server, command }).collect()
}

/// Recovery of each command waits for that of the next one.
fn in_a_circle() -> Result<Script<Circle>, String> {
    let recoveries: Vec<_> = (0..5).map(|command| deadlock::Step::Recover { command }).collect();
    Script::new(Circle { servers: 5, commands: 5, majority_commit: false })
        .follow(&rotations())?
        .follow(&recoveries)
}

/// R10: four servers answer x, which is chosen; then all answer y, which comes after it.
fn taken_for_a_bug() -> Result<Script<majority_commit::Protocol>, String> {
    let ask = |at, known| move |server| majority_commit::Step::Ask { at, server, known };
    let x: Vec<_> = (0..4).map(ask(0, false)).collect();
    let y: Vec<_> = (0..4).map(ask(1, true)).chain([ask(1, false)(4)]).collect();
    Script::new(MAJORITY_COMMIT).follow(&x)?.follow(&y)
}

#[cfg(test)]
mod tests {
    use super::super::{AGREEMENT, DEPENDENCIES};
    use super::*;

    const NOTHING: [&str; 0] = [];

    /// To Unanimous `BPaxos` the silent third server says that nobody can have been chosen.
    #[test]
    fn fast_bpaxos_chooses_conflicting_commands_that_do_not_depend_on_each_other() {
        assert_eq!(fast_bpaxos().unwrap().violated(), [DEPENDENCIES]);
        let unanimous = Script::new(Protocol::unanimous(2, false, 1)).follow(&TWO_EACH).unwrap();
        let (left, right) = (quorum([0, 1, 2]), quorum([2, 3, 4]));
        assert!(unanimous.refuses(command(0, left, false)));
        assert!(unanimous.refuses(command(1, right, false)));
        let end = unanimous.follow(&[noop(0, left), noop(1, right)]).unwrap();
        assert_eq!(end.violated(), NOTHING);
    }

    #[test]
    fn fast_bpaxos_is_forced() {
        let variant = Variant::Fast { chooses: 4, popular: 2 };
        let fast = Script::new(Protocol { variant, ..Protocol::unanimous(2, false, 1) });
        assert!(fast.follow(&TWO_EACH).unwrap().refuses(noop(0, quorum([0, 1, 2]))));
    }

    #[test]
    fn unanimous_bpaxos_counts_a_server_that_did_not_vote() {
        assert_eq!(voters_only().unwrap().violated(), [DEPENDENCIES]);
        let both = quorum([0, 1]);
        let right = Script::new(Protocol::unanimous(1, false, 1)).follow(&[Step::Ask(0, 0)]).unwrap();
        assert!(right.refuses(command(0, both, false)));
        let right = right.follow(&[noop(0, both), Step::Ask(1, 1)]).unwrap();
        assert!(right.refuses(command(1, both, false)));
        assert_eq!(right.follow(&[noop(1, both)]).unwrap().violated(), NOTHING);
    }

    #[test]
    fn basic_epaxos_asks_two_servers_of_three_and_no_more() {
        assert_eq!(everybody_asked().unwrap().violated(), [AGREEMENT]);
        let right = Script::new(Protocol::basic(1, false, None)).follow(&Y_FIRST).unwrap();
        assert!(right.refuses(Step::Ask(0, 1)), "the third server is not asked");
        let right = right.follow(&[Step::Record(0, true)]).unwrap();
        assert!(right.refuses(command(0, quorum([1, 2]), false)));
        let right = right.follow(&[command(0, quorum([1, 2]), true)]).unwrap();
        assert_eq!(right.violated(), NOTHING);
    }

    /// In Majority Commit `BPaxos` no voter knew that what the value depends on was chosen, so the value was not.
    #[test]
    fn five_commands_seen_in_five_rotations_wait_for_each_other_in_a_circle() {
        let wrong = in_a_circle().unwrap();
        assert_eq!(wrong.violated(), [deadlock::END]);
        for command in 0..5 {
            assert!(wrong.refuses(deadlock::Step::Finish { command }));
        }
        let mut right = Script::new(Circle { servers: 5, commands: 5, majority_commit: true });
        right = right.follow(&rotations()).unwrap();
        for command in 0..5 {
            use deadlock::Step::{Finish, Recover};
            right = right.follow(&[Recover { command }, Finish { command }]).unwrap();
        }
        assert_eq!(right.violated(), NOTHING);
    }

    /// Caesar itself is not modelled. What it was thought to show, conflicting commands that do not know of each other, is not
    /// in this run.
    #[test]
    fn a_run_that_was_taken_for_a_bug_is_none() {
        let end = taken_for_a_bug().unwrap();
        assert_eq!(end.violated(), NOTHING);
        assert_eq!(end.state().chosen_fast(), [vec![Value::Command(false)], vec![Value::Command(true)]]);
    }
}
