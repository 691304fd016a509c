//! The replayed actors, from start to start.

use super::Beginning;
use super::finding::{Finding, Problem};
use super::merge::{MergeOf, Placed, finding};
use crate::trace::{CauseRecord, Entry, Output, StepOf};
use crate::{CommandOf, Event, Host, Notice, Observer, Runnable, Wants};
use stateright::actor::{Actor, Command, Id, Out};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::io::BufRead;
use std::time::Duration;

/// How many of its last saves an actor may restart from. A kill loses those of one turn, which takes 256 datagrams with
/// tens of messages each, and 4,096 messages within the process. Versions of a storage share structure.
pub(super) const SAVES_KEPT: usize = 1 << 17;

/// Who begins a life in which trace under which index.
type Cast<'c, A> = &'c mut dyn FnMut(usize, Id) -> Option<Beginning<A>>;

pub(super) struct Lives<'o, A: Runnable<State: 'static>, O> {
    cast: Cast<'o, A>,
    actors: BTreeMap<usize, Life<A>>,
    steps: u64,
    observer: &'o mut O,
    wants: Wants,
}

/// An actor, and what it is waiting for and may restart from.
struct Life<A: Runnable<State: 'static>> {
    host: Option<Host<A>>,
    timers: HashSet<A::Timer>,
    choices: BTreeMap<String, Vec<A::Random>>,
    /// Storages by their numbers, as [`super::flow::Flow`] counts them: the one it started from, and its saves. Empty if
    /// it may start from any.
    storages: VecDeque<(u64, Option<A::Storage>)>,
    next: u64,
}

type PlacedOf<A> =
    Placed<<A as Actor>::Msg, <A as Actor>::Timer, <A as Actor>::Random, <A as Actor>::Storage>;

impl<'o, A: Runnable<State: 'static>, O: Observer<A>> Lives<'o, A, O> {
    pub(super) fn new(cast: Cast<'o, A>, observer: &'o mut O) -> Self {
        let wants = observer.wants();
        Self { cast, actors: BTreeMap::new(), steps: 0, observer, wants }
    }

    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// Replays an entry; returns what is wrong with it.
    pub(super) fn feed<B: BufRead>(
        &mut self,
        placed: PlacedOf<A>,
        merge: &mut MergeOf<B, A>,
    ) -> Option<Finding> {
        match placed.entry {
            Entry::Notice { at_us, notice } => {
                if let Notice::Crash(id) | Notice::Wipe(id) = notice
                    && let Some(life) = self.actors.get_mut(&usize::from(id))
                {
                    life.end();
                    if notice == Notice::Wipe(id) {
                        life.storages.clear();
                    }
                }
                self.observer.on_notice(Duration::from_micros(at_us), &notice);
                None
            }
            Entry::Step(mut step) => {
                let recorded = std::mem::take(&mut step.out);
                let cause = std::mem::replace(&mut step.cause, CauseRecord::Start);
                let trace = placed.origin.trace;
                let mut forget = |storage| merge.flow.forget(step.id, storage, trace);
                let problem = self.step((trace, &step), cause, &recorded, &mut forget)?;
                Some(finding(placed.origin, &step, problem))
            }
        }
    }

    fn step(
        &mut self,
        (trace, step): (usize, &StepOf<A>),
        cause: CauseRecord<A::Msg, A::Timer, A::Random, A::Storage>,
        recorded: &[Output<A::Msg, A::Timer, A::Random>],
        forget: &mut dyn FnMut(u64) -> Option<super::Origin>,
    ) -> Option<Problem> {
        let (at, mut out) = (Duration::from_micros(step.at_us), Out::new());
        let event = match cause {
            CauseRecord::Start => Err(None),
            CauseRecord::Recover(storage) => Err(Some(storage)),
            CauseRecord::Deliver { src, msg } => Ok(Event::Deliver { src, msg }),
            CauseRecord::Timeout(timer) => Ok(Event::Timeout(timer)),
            CauseRecord::Random(random) => Ok(Event::Random(random)),
        };
        match event {
            Err(storage) => {
                let Some(Beginning { actor, lost_disk }) = (self.cast)(trace, step.id) else {
                    return Some(Problem::UnknownActor);
                };
                let life = self.actors.entry(usize::from(step.id)).or_default();
                if lost_disk && storage.is_none() {
                    life.storages.clear();
                }
                match life.recover(storage.as_ref()) {
                    Err(problem) => return Some(problem),
                    Ok(Some(number)) => {
                        if let Some(told) = forget(number) {
                            return Some(Problem::Forgotten { told });
                        }
                    }
                    Ok(None) => {}
                }
                let observer = &mut *self.observer;
                life.host = Some(Host::start_observed(step.id, actor, &storage, at, observer, &mut out));
                life.store(storage);
            }
            Ok(event) => {
                let Some(life) = self.actors.get_mut(&usize::from(step.id)) else {
                    let known = (self.cast)(trace, step.id).is_some();
                    return Some(if known { Problem::NotStarted } else { Problem::UnknownActor });
                };
                if let Err(problem) = life.expects(&event) {
                    return Some(problem);
                }
                let Some(host) = &mut life.host else { return Some(Problem::NotStarted) };
                host.step_observed(event, at, self.wants, self.observer, &mut out);
            }
        }
        self.steps += 1;
        if let Some(problem) = difference::<A>(recorded, &out) {
            return Some(problem);
        }
        self.actors.get_mut(&usize::from(step.id))?.follow(out);
        None
    }
}

impl<A: Runnable<State: 'static>> Default for Life<A> {
    fn default() -> Self {
        let (timers, choices) = (HashSet::new(), BTreeMap::new());
        Self { host: None, timers, choices, storages: VecDeque::new(), next: 0 }
    }
}

impl<A: Runnable<State: 'static>> Life<A> {
    /// The actor stops.
    fn end(&mut self) {
        self.host = None;
        self.timers.clear();
        self.choices.clear();
    }

    /// Ends the life, if there is one, and finds the number of the storage that the next one starts from; none at the
    /// first start, and after a wipe.
    fn recover(&mut self, storage: Option<&A::Storage>) -> Result<Option<u64>, Problem> {
        self.end();
        if self.storages.is_empty() {
            return Ok(None);
        }
        let found = self.storages.iter().rev().find(|(_, saved)| saved.as_ref() == storage);
        let number = found.map(|(number, _)| *number).ok_or(Problem::StorageNeverSaved)?;
        self.storages.clear();
        Ok(Some(number))
    }

    fn store(&mut self, storage: Option<A::Storage>) {
        self.next += 1;
        self.storages.push_back((self.next, storage));
        if self.storages.len() > SAVES_KEPT {
            self.storages.pop_front();
        }
    }

    /// Takes note that an event happens which the actor has asked for.
    fn expects(&mut self, event: &Event<A>) -> Result<(), Problem> {
        if self.host.is_none() {
            return Err(Problem::NotStarted);
        }
        match event {
            Event::Timeout(timer) if !self.timers.remove(timer) => {
                Err(Problem::TimerNotSet { timer: text(timer) })
            }
            // Two keys may offer equal choices, and which key was meant is not recorded.
            Event::Random(random) if !self.choices.values().any(|offered| offered.contains(random)) => {
                Err(Problem::NotOffered { random: text(random) })
            }
            _ => Ok(()),
        }
    }

    /// Takes note of what the actor asks for.
    fn follow(&mut self, out: Out<A>) {
        let mut saved = None;
        for command in out {
            match command {
                Command::SetTimer(timer, _) => drop(self.timers.insert(timer)),
                Command::CancelTimer(timer) => drop(self.timers.remove(&timer)),
                Command::ChooseRandom(key, choices) => drop(self.choices.insert(key, choices)),
                Command::Save(storage) => saved = Some(storage),
                Command::Send(..) => {}
            }
        }
        if saved.is_some() {
            self.store(saved);
        }
    }
}

/// The first command in which what was recorded and what is replayed differ.
fn difference<A: Runnable>(
    recorded: &[Output<A::Msg, A::Timer, A::Random>],
    replayed: &[CommandOf<A>],
) -> Option<Problem> {
    let differs = |index: &usize| match (recorded.get(*index), replayed.get(*index)) {
        (Some(recorded), Some(replayed)) => !recorded.is::<A>(replayed),
        _ => true,
    };
    let index = (0..recorded.len().max(replayed.len())).find(differs)?;
    let recorded = recorded.get(index).map(text);
    let replayed = replayed.get(index).map(|command| text(&Output::of(command)));
    Some(Problem::Output { index, recorded, replayed })
}

fn text(value: &impl Debug) -> String {
    format!("{value:?}")
}
