//! The search for an order of the operations on one key.

use super::{Operation, SequentialSpec, StepLimit};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash};

/// How many of the operations placed before a contradiction are reported.
const BEFORE_REPORTED: usize = 4;

/// What the search of one key ends with; indices are those of the whole history.
pub(super) enum Found {
    /// An order that explains the history, and the number of placements tried.
    Order(Vec<usize>, u64),
    /// No order exists; the fields are those of a violation.
    Contradiction { operation: usize, concurrent: Vec<usize>, before: Vec<usize> },
    /// Too many possibilities.
    Limit,
}

/// An operation of this key, by its position among them.
type Local = u32;

#[derive(Clone, Copy)]
enum Event {
    Call(Local),
    Return(Local),
}

/// What the search needs to know of an operation, besides the operation.
#[derive(Clone, Copy)]
struct Facts {
    /// Its bit in a [`Config`]; reused after its return.
    slot: u32,
    preserves: bool,
    overwrites: bool,
}

/// A set of slots.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Slots(Box<[u64]>);

impl Slots {
    fn contains(&self, slot: u32) -> bool {
        self.0[slot as usize / 64] >> (slot % 64) & 1 == 1
    }

    fn insert(&mut self, slot: u32) {
        self.0[slot as usize / 64] |= 1 << (slot % 64);
    }

    fn remove(&mut self, slot: u32) {
        self.0[slot as usize / 64] &= !(1 << (slot % 64));
    }
}

/// Everything that the future of the search depends on, besides the event it stands at.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Config<State> {
    state: State,
    /// Open operations that were placed.
    placed: Slots,
    /// Open operations that may count as placed, invisibly, just before an overwriting one.
    hidden: Slots,
}

/// What can be done when an operation returns that has no place yet.
enum Choice<State> {
    /// Place this one, which leads to this state.
    Place(Local, State),
    /// Leave it hidden: it was placed without a trace, earlier.
    Hide,
}

/// A return that left a choice, with the choices not tried yet (the best one last).
struct Frame<State> {
    event: usize,
    forced: Local,
    config: Config<State>,
    trail: usize,
    choices: Vec<Choice<State>>,
}

/// The longest part of the history that some order explains.
struct Deepest {
    event: usize,
    forced: Local,
    before: Vec<usize>,
}

pub(super) struct Search<'a, S: SequentialSpec> {
    spec: &'a S,
    history: &'a [Operation<S::Op, S::Output>],
    indices: Vec<usize>,
    limit: StepLimit,
    facts: Vec<Facts>,
    events: Vec<Event>,
    /// For each event that is a return, the open operations that will return, in the order of their calls.
    open: Vec<Box<[Local]>>,
    /// The operations that never return, with the event of their call.
    endless: Vec<(usize, Local)>,
    /// Placements in order, each with the event that was being handled.
    trail: Vec<(usize, Local)>,
    config: Config<S::State>,
    deepest: Deepest,
}

impl<'a, S: SequentialSpec> Search<'a, S> {
    pub(super) fn new(
        spec: &'a S,
        key: &S::Key,
        history: &'a [Operation<S::Op, S::Output>],
        indices: Vec<usize>,
        limit: StepLimit,
    ) -> Self {
        let events = in_order_of_time(history, &indices);
        let plan = Plan::new(&events, |local| history[indices[local as usize]].returned.is_some());
        let facts = plan.slots.iter().zip(&indices).map(|(&slot, &index)| {
            let operation = &history[index];
            let fact = |ask: fn(&S, &S::Op, &S::Output) -> bool| {
                operation.returned.as_ref().is_some_and(|end| ask(spec, &operation.op, &end.output))
            };
            Facts { slot, preserves: fact(S::preserves), overwrites: fact(S::overwrites) }
        });
        let empty = Slots(vec![0; plan.slot_count.div_ceil(64)].into());
        Self {
            facts: facts.collect(),
            config: Config { state: spec.initial(key), placed: empty.clone(), hidden: empty },
            deepest: Deepest { event: 0, forced: 0, before: Vec::new() },
            open: plan.open,
            endless: plan.endless,
            trail: Vec::new(),
            spec,
            history,
            indices,
            limit,
            events,
        }
    }

    pub(super) fn run(mut self) -> Found {
        let mut seen: HashSet<(usize, Config<S::State>), BuildHasherDefault<DefaultHasher>> =
            HashSet::default();
        let mut frames: Vec<Frame<S::State>> = Vec::new();
        let (mut event, mut steps) = (0, 0);
        loop {
            let Some(mut forced) = self.advance(&mut event) else { return Found::Order(self.order(), steps) };
            if seen.insert((event, self.config.clone())) {
                let choices = self.choices(event, forced);
                frames.push(Frame {
                    event,
                    forced,
                    config: self.config.clone(),
                    trail: self.trail.len(),
                    choices,
                });
            }
            let choice = loop {
                let Some(frame) = frames.last_mut() else { return self.contradiction() };
                if let Some(choice) = frame.choices.pop() {
                    (event, forced) = (frame.event, frame.forced);
                    self.config.clone_from(&frame.config);
                    self.trail.truncate(frame.trail);
                    break choice;
                }
                frames.pop();
            };
            steps += 1;
            if steps > self.limit.0 {
                return Found::Limit;
            }
            match choice {
                Choice::Place(local, state) => self.place(event, local, state),
                Choice::Hide => {
                    self.close(forced);
                    event += 1;
                }
            }
        }
    }

    /// Goes on until an operation returns that has no place yet; none at the end of the history.
    fn advance(&mut self, event: &mut usize) -> Option<Local> {
        while let Some(&next) = self.events.get(*event) {
            match next {
                Event::Call(local) => self.place_if_preserving(*event, local),
                Event::Return(local) => {
                    if !self.is_placed(local) {
                        self.remember_deepest(*event, local);
                        return Some(local);
                    }
                    self.close(local);
                }
            }
            *event += 1;
        }
        None
    }

    /// What can be done at this return, the most promising last.
    fn choices(&self, event: usize, forced: Local) -> Vec<Choice<S::State>> {
        let state = &self.config.state;
        let mut choices = Vec::new();
        let endless = self.endless.iter().take_while(|(call, _)| *call < event).map(|&(_, local)| local);
        for local in endless.filter(|&local| !self.is_placed(local)) {
            let after = self.step(state, local).filter(|after| after != state);
            choices.extend(after.map(|after| Choice::Place(local, after)));
        }
        let mut enabling = Vec::new();
        for &local in
            self.open[event].iter().rev().filter(|&&local| local != forced && !self.is_placed(local))
        {
            if let Some(after) = self.step(state, local) {
                let enables = self.step(&after, forced).is_some();
                if enables { &mut enabling } else { &mut choices }.push(Choice::Place(local, after));
            }
        }
        choices.append(&mut enabling);
        if self.config.hidden.contains(self.facts[forced as usize].slot) {
            choices.push(Choice::Hide);
        }
        choices.extend(self.step(state, forced).map(|after| Choice::Place(forced, after)));
        choices
    }

    /// Forgets an operation that has returned.
    fn close(&mut self, local: Local) {
        let slot = self.facts[local as usize].slot;
        self.config.placed.remove(slot);
        self.config.hidden.remove(slot);
    }

    /// Places an operation now, with everything that comes for free with it.
    fn place(&mut self, event: usize, local: Local, state: S::State) {
        let facts = self.facts[local as usize];
        self.config.placed.insert(facts.slot);
        self.config.hidden.remove(facts.slot);
        self.trail.push((event, local));
        let changed = self.config.state != state;
        self.config.state = state;
        for other in 0..self.open[event].len() {
            let other = self.open[event][other];
            if facts.overwrites && self.facts[other as usize].overwrites && !self.is_placed(other) {
                self.config.hidden.insert(self.facts[other as usize].slot);
            }
            if changed {
                self.place_if_preserving(event, other);
            }
        }
    }

    fn place_if_preserving(&mut self, event: usize, local: Local) {
        let facts = self.facts[local as usize];
        if facts.preserves && !self.is_placed(local) && self.step(&self.config.state, local).is_some() {
            self.config.placed.insert(facts.slot);
            self.trail.push((event, local));
        }
    }

    fn is_placed(&self, local: Local) -> bool {
        self.config.placed.contains(self.facts[local as usize].slot)
    }

    fn step(&self, state: &S::State, local: Local) -> Option<S::State> {
        let operation = &self.history[self.indices[local as usize]];
        self.spec.step(state, &operation.op, operation.returned.as_ref().map(|end| &end.output))
    }

    fn remember_deepest(&mut self, event: usize, forced: Local) {
        if event > self.deepest.event {
            let last = self.trail.len().saturating_sub(BEFORE_REPORTED);
            let before = self.trail[last..].iter().map(|&(_, local)| self.indices[local as usize]).collect();
            self.deepest = Deepest { event, forced, before };
        }
    }

    fn contradiction(&self) -> Found {
        let Deepest { event, forced, ref before } = self.deepest;
        let concurrent = self.open[event].iter().filter(|&&local| local != forced);
        Found::Contradiction {
            operation: self.indices[forced as usize],
            concurrent: concurrent.map(|&local| self.indices[local as usize]).collect(),
            before: before.clone(),
        }
    }

    /// The placements, with each hidden operation put just before the overwriting one that hid it.
    fn order(&self) -> Vec<usize> {
        let mut call_and_return = vec![(0, usize::MAX); self.indices.len()];
        for (at, event) in self.events.iter().enumerate() {
            match *event {
                Event::Call(local) => call_and_return[local as usize].0 = at,
                Event::Return(local) => call_and_return[local as usize].1 = at,
            }
        }
        let mut placed = vec![false; self.indices.len()];
        self.trail.iter().for_each(|&(_, local)| placed[local as usize] = true);
        let overwriting: Vec<usize> = (0..self.trail.len())
            .filter(|&position| self.facts[self.trail[position].1 as usize].overwrites)
            .collect();
        let mut hidden_before: Vec<Vec<usize>> = vec![Vec::new(); self.trail.len()];
        for local in (0..self.indices.len()).filter(|&local| !placed[local]) {
            let (call, end) = call_and_return[local];
            if end < usize::MAX {
                let next = overwriting.partition_point(|&position| self.trail[position].0 < call);
                hidden_before[overwriting[next]].push(self.indices[local]);
            }
        }
        let placed = self.trail.iter().map(|&(_, local)| self.indices[local as usize]);
        hidden_before
            .into_iter()
            .zip(placed)
            .flat_map(|(hidden, index)| hidden.into_iter().chain([index]))
            .collect()
    }
}

/// Invocations and returns by time; at one instant invocations come first, which makes the operations concurrent.
fn in_order_of_time<Op, Output>(history: &[Operation<Op, Output>], indices: &[usize]) -> Vec<Event> {
    let mut timed = Vec::with_capacity(2 * indices.len());
    for (local, &index) in (0..).zip(indices) {
        let operation = &history[index];
        timed.push((operation.invoked, 0, local));
        if let Some(end) = &operation.returned {
            timed.push((end.at.max(operation.invoked), 1, local));
        }
    }
    timed.sort_unstable();
    let event = |(_, kind, local)| if kind == 0 { Event::Call(local) } else { Event::Return(local) };
    timed.into_iter().map(event).collect()
}

/// What is known of the history before the search.
struct Plan {
    slots: Vec<u32>,
    slot_count: usize,
    open: Vec<Box<[Local]>>,
    endless: Vec<(usize, Local)>,
}

impl Plan {
    fn new(events: &[Event], returns: impl Fn(Local) -> bool) -> Self {
        let calls = events.iter().filter(|event| matches!(event, Event::Call(_))).count();
        let mut plan = Self { slots: vec![0; calls], slot_count: 0, open: Vec::new(), endless: Vec::new() };
        let (mut free, mut open): (Vec<u32>, Vec<Local>) = (Vec::new(), Vec::new());
        for (at, &event) in events.iter().enumerate() {
            match event {
                Event::Call(local) => {
                    let slot = free.pop().unwrap_or_else(|| {
                        plan.slot_count += 1;
                        u32::try_from(plan.slot_count - 1).expect("a history fits in memory")
                    });
                    plan.slots[local as usize] = slot;
                    if returns(local) {
                        open.push(local);
                    } else {
                        plan.endless.push((at, local));
                    }
                    plan.open.push(Box::default());
                }
                Event::Return(local) => {
                    plan.open.push(open.as_slice().into());
                    open.retain(|&other| other != local);
                    free.push(plan.slots[local as usize]);
                }
            }
        }
        plan
    }
}
