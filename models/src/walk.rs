//! Seeded random walks through what is too large to exhaust.
//!
//! A walk is a list of action indices, as a path of the search is, so it replays exactly. It never says that anything holds.

use crate::report::{Reached, Report, Verdict, Why};
use crate::space::Space;
use crate::{Kind, Path};
use std::ops::ControlFlow;

/// How to walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The same seed takes the same walks.
    pub seed: u64,
    /// How many walks, each from the initial state.
    pub walks: usize,
    /// How long each may become.
    pub steps: usize,
}

/// Takes random walks until a property fails. `progress` is called after each walk with how many there were, and may
/// stop. The report counts steps, not different states: `unique` is 0.
pub fn walk<S: Space>(space: &S, how: &Walk, progress: &mut dyn FnMut(usize) -> ControlFlow<()>) -> Report {
    let properties = space.properties();
    let sometimes = properties.iter().filter(|(_, kind)| *kind == Kind::Sometimes);
    let mut report = Report {
        verdict: Verdict::Inconclusive(Why::Sampled),
        unique: 0,
        generated: 0,
        depth: 0,
        ends: 0,
        reached: sometimes.map(|&(property, _)| Reached { property, path: None }).collect(),
        confused: 0,
    };
    let mut dice = Dice(how.seed);
    for count in 1..=how.walks {
        if let Some((property, path)) = one(space, &properties, how.steps, &mut dice, &mut report) {
            report.verdict = Verdict::Violated { property, path: Some(path) };
            break;
        }
        if progress(count).is_break() {
            report.verdict = Verdict::Inconclusive(Why::Stopped);
            break;
        }
    }
    report
}

/// One walk; what it violates, if anything.
fn one<S: Space>(
    space: &S,
    properties: &[(&'static str, Kind)],
    steps: usize,
    dice: &mut Dice,
    report: &mut Report,
) -> Option<(&'static str, Path)> {
    let mut state = space.initial();
    let (mut taken, mut moves) = (Vec::new(), Vec::new());
    loop {
        report.generated += 1;
        report.depth = report.depth.max(taken.len());
        let fails = |kind: Kind| {
            properties
                .iter()
                .enumerate()
                .find(|(number, (_, of))| *of == kind && !space.holds(*number, &state))
        };
        if let Some((_, (name, _))) = fails(Kind::Always) {
            return Some((name, Path::new(taken)));
        }
        for (number, (name, _)) in
            properties.iter().enumerate().filter(|(_, (_, kind))| *kind == Kind::Sometimes)
        {
            let reached =
                report.reached.iter_mut().find(|reached| reached.property == *name && reached.path.is_none());
            if let Some(reached) = reached.filter(|_| space.holds(number, &state)) {
                reached.path = Some(Path::new(taken.clone()));
            }
        }
        if taken.len() >= steps {
            return None;
        }
        space.moves(&state, &mut moves);
        let Some((action, next)) = dice.pick(space, &state, &moves) else {
            report.ends += 1;
            return fails(Kind::AtTheEnd).map(|(_, (name, _))| (*name, Path::new(taken)));
        };
        taken.push(action);
        state = next;
    }
}

/// A small generator of numbers that look random: splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A move that changes the state, each equally likely; none if there is none.
    fn pick<S: Space>(&mut self, space: &S, state: &S::State, moves: &[S::Move]) -> Option<(u16, S::State)> {
        let mut left: Vec<usize> = (0..moves.len()).collect();
        let mut next = state.clone();
        while !left.is_empty() {
            let at = usize::try_from(self.next() % left.len() as u64).expect("a remainder fits");
            let action = left.swap_remove(at);
            let happens = space.apply(state, moves[action], &mut next);
            if happens && space.fingerprint(&next) != space.fingerprint(state) {
                return Some((u16::try_from(action).expect("a state has fewer than 65,536 moves"), next));
            }
        }
        None
    }
}
