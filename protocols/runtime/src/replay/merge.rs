//! Puts the entries of several traces into one order in which every message is sent before it is delivered.
//!
//! The entries of one trace keep their order. Of the traces' next entries, one that waits for nothing is taken; among
//! several, the one with the earliest clock, which only makes the order natural. What was sent stays sent, so taking one
//! entry never keeps another from being taken: if this gets stuck, no order exists.

use super::finding::{Finding, Origin, Problem};
use super::flow::{Delivery, Flow, key};
use super::{Error, Messages};
use crate::LOCAL_APPLICATION;
use crate::trace::{CauseRecord, Ending, Entry, Output, StepRecord, TraceReader};
use serde::de::DeserializeOwned;
use serde_json::Value;
use stateright::actor::{Actor, Id};
use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::io::BufRead;
use std::time::Duration;

/// An entry in its place in the order.
#[derive(Debug)]
pub struct Placed<M, T, R, S> {
    /// Where it comes from.
    pub origin: Origin,
    /// The number of the message it delivers. Each send has a number, in the order of all sends, from 0. None for what
    /// is no delivery and for messages whose sends are not recorded.
    pub delivers: Option<u64>,
    /// The number of the first message it sends; the others follow.
    pub sends_from: u64,
    /// The entry.
    pub entry: Entry<StepRecord<M, T, R, S>>,
}

/// Why a merge cannot go on.
#[derive(Debug)]
pub enum Halt {
    /// A trace cannot be read.
    Unreadable(Error),
    /// There is no order in which every message is sent before it is delivered.
    Impossible(Box<Finding>),
}

/// An iterator over the entries of several traces in one causal order. It ends after an error.
#[derive(Debug)]
pub struct Merge<B, M, T, R, S> {
    sources: Vec<Source<B, M, T, R, S>>,
    hosted: BTreeSet<Id>,
    pub(super) flow: Flow,
    /// What the entry placed last stored and sent. It is noted when the next one is asked for: until then a start can
    /// still forget, and it forgets what was before it, not what it sends itself.
    unsettled: Option<Unsettled>,
    messages: Messages,
    done: bool,
}

#[derive(Debug)]
struct Unsettled {
    id: Id,
    origin: Origin,
    /// How many storages it adds.
    storages: usize,
    /// The keys of its sends.
    sends: Vec<u64>,
}

/// A merge of traces of the actor `A`.
pub type MergeOf<B, A> =
    Merge<B, <A as Actor>::Msg, <A as Actor>::Timer, <A as Actor>::Random, <A as Actor>::Storage>;

/// A merge of traces of any actor, their content as JSON.
pub type AnyMerge<B> = Merge<B, Value, Value, Value, Value>;

#[derive(Debug)]
struct Source<B, M, T, R, S> {
    reader: TraceReader<B, StepRecord<M, T, R, S>>,
    /// The next entry.
    head: Option<Head<M, T, R, S>>,
    /// The message without which the head cannot be taken.
    waits_for: Option<u64>,
    /// Earlier runs of the same process, which have to end before.
    after: Vec<usize>,
}

/// An entry and its line.
type Head<M, T, R, S> = (u64, Entry<StepRecord<M, T, R, S>>);

impl<B, M, T, R, S> Merge<B, M, T, R, S>
where
    B: BufRead,
    M: DeserializeOwned + Hash + Debug,
    T: DeserializeOwned,
    R: DeserializeOwned,
    S: DeserializeOwned,
{
    /// Merges traces. Of those that host the same actor, one begins after the other has ended, in the given order.
    pub fn new(traces: Vec<TraceReader<B, StepRecord<M, T, R, S>>>) -> Self {
        let hosted: Vec<BTreeSet<Id>> =
            traces.iter().map(|trace| trace.header().hosted.iter().copied().collect()).collect();
        let after = |place: usize| {
            (0..place).filter(|earlier| !hosted[*earlier].is_disjoint(&hosted[place])).collect::<Vec<_>>()
        };
        let sources = traces
            .into_iter()
            .enumerate()
            .map(|(place, reader)| Source { reader, head: None, waits_for: None, after: after(place) })
            .collect();
        Self {
            sources,
            hosted: hosted.into_iter().flatten().collect(),
            flow: Flow::default(),
            unsettled: None,
            messages: Messages::default(),
            done: false,
        }
    }

    /// What became of the messages so far.
    pub fn messages(&self) -> Messages {
        self.messages
    }

    /// How each trace ends, as far as it was read.
    pub fn endings(&self) -> Vec<Option<Ending>> {
        self.sources.iter().map(|source| source.reader.ending()).collect()
    }

    fn place(&mut self) -> Result<Option<Placed<M, T, R, S>>, Halt> {
        self.settle();
        for source in 0..self.sources.len() {
            self.fill(source).map_err(Halt::Unreadable)?;
        }
        if self.sources.iter().all(|source| source.head.is_none()) {
            return Ok(None);
        }
        // What was sent stays sent.
        for source in &mut self.sources {
            source.waits_for = source.waits_for.filter(|key| !self.flow.was_sent(*key));
        }
        let free = (0..self.sources.len()).filter(|source| self.is_free(*source));
        let Some(trace) = free.min_by_key(|source| self.sources[*source].clock()) else {
            return Err(Halt::Impossible(Box::new(self.stuck())));
        };
        let Some((line, entry)) = self.sources[trace].head.take() else { return Ok(None) };
        let origin = Origin { trace, line };
        let mut placed = Placed { origin, delivers: None, sends_from: self.flow.next(), entry };
        if let Entry::Step(step) = &placed.entry {
            placed.delivers =
                self.note(origin, step).map_err(|finding| Halt::Impossible(Box::new(finding)))?;
        }
        Ok(Some(placed))
    }

    /// Reads the next entry of a source, unless there is one.
    fn fill(&mut self, place: usize) -> Result<(), Error> {
        let source = &mut self.sources[place];
        if source.head.is_none()
            && let Some(next) = source.reader.next()
        {
            let (line, entry) = next?;
            source.waits_for = awaited(&entry, &self.hosted);
            source.head = Some((line, entry));
        }
        Ok(())
    }

    fn is_free(&self, place: usize) -> bool {
        let source = &self.sources[place];
        source.head.is_some()
            && source.waits_for.is_none()
            && source.after.iter().all(|earlier| self.sources[*earlier].head.is_none())
    }

    /// Notes what a step delivers, and remembers what it stores and sends; returns the number of the delivered message.
    fn note(&mut self, origin: Origin, step: &StepRecord<M, T, R, S>) -> Result<Option<u64>, Finding> {
        let mut delivers = None;
        if let CauseRecord::Deliver { src, msg } = &step.cause {
            match self.flow.deliver(key(*src, step.id, msg), origin) {
                Delivery::Of { number, again } => {
                    self.messages.delivered += 1;
                    self.messages.duplicates += u64::from(again);
                    delivers = Some(number);
                }
                Delivery::OfForgotten(told) => {
                    return Err(finding(origin, step, Problem::SentByForgotten { src: *src, told }));
                }
                Delivery::OfNothing if usize::from(*src) == LOCAL_APPLICATION => self.messages.injected += 1,
                Delivery::OfNothing => self.messages.unrecorded += 1,
            }
        }
        let starts = matches!(step.cause, CauseRecord::Start | CauseRecord::Recover(_));
        let saves = step.out.iter().any(|output| matches!(output, Output::Save));
        let mut sends = Vec::new();
        for output in &step.out {
            if let Output::Send { dst, msg } = output {
                self.messages.sent += u64::from(usize::from(*dst) != LOCAL_APPLICATION);
                sends.push(key(step.id, *dst, msg));
            }
        }
        let storages = usize::from(starts) + usize::from(saves);
        self.unsettled = Some(Unsettled { id: step.id, origin, storages, sends });
        Ok(delivers)
    }

    /// Notes what the entry placed last stored and sent.
    fn settle(&mut self) {
        let Some(Unsettled { id, origin, storages, sends }) = self.unsettled.take() else { return };
        for _ in 0..storages {
            self.flow.store(id, origin);
        }
        for key in sends {
            self.flow.send(id, key, origin);
        }
    }

    /// Says why no entry can be taken, after looking through the rest of all traces.
    fn stuck(&mut self) -> Finding {
        let mut sent_later = HashSet::new();
        for place in 0..self.sources.len() {
            let source = &mut self.sources[place];
            while let Some(Ok((_, entry))) = source.reader.next() {
                collect_sends(&entry, &mut sent_later);
            }
            if let Some((_, entry)) = &source.head {
                collect_sends(entry, &mut sent_later);
            }
        }
        let is_sent_later =
            |source: &Source<B, M, T, R, S>| source.waits_for.is_some_and(|key| sent_later.contains(&key));
        let waiting = self.sources.iter().enumerate().filter_map(|(trace, source)| match &source.head {
            Some((line, Entry::Step(step))) => match &step.cause {
                CauseRecord::Deliver { src, msg } => {
                    Some((Origin { trace, line: *line }, source, step, *src, msg))
                }
                _ => None,
            },
            _ => None,
        });
        let first = waiting.min_by_key(|(_, source, ..)| (is_sent_later(source), source.clock()));
        let (origin, source, step, src, msg) = first.expect("without a waiting delivery, one source is free");
        let msg = format!("{msg:?}");
        let problem = if is_sent_later(source) {
            Problem::SentLater { src, msg }
        } else {
            Problem::NeverSent { src, msg }
        };
        finding(origin, step, problem)
    }
}

impl<B, M, T, R, S> Source<B, M, T, R, S>
where
    B: BufRead,
    StepRecord<M, T, R, S>: DeserializeOwned,
{
    /// When the head happened, as well as the clocks can tell.
    fn clock(&self) -> u64 {
        let at_us = match &self.head {
            Some((_, Entry::Step(step))) => step.at_us,
            Some((_, Entry::Notice { at_us, .. })) => *at_us,
            None => u64::MAX,
        };
        self.reader.header().started_unix_us.unwrap_or(0).saturating_add(at_us)
    }
}

impl<B, M, T, R, S> Iterator for Merge<B, M, T, R, S>
where
    B: BufRead,
    M: DeserializeOwned + Hash + Debug,
    T: DeserializeOwned,
    R: DeserializeOwned,
    S: DeserializeOwned,
{
    type Item = Result<Placed<M, T, R, S>, Halt>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let placed = self.place();
        self.done = !matches!(placed, Ok(Some(_)));
        placed.transpose()
    }
}

pub(super) fn finding<M, T, R, S>(
    origin: Origin,
    step: &StepRecord<M, T, R, S>,
    problem: Problem,
) -> Finding {
    Finding { origin, at: Duration::from_micros(step.at_us), id: step.id, problem }
}

/// The message that has to be sent before an entry.
fn awaited<M: Hash, T, R, S>(entry: &Entry<StepRecord<M, T, R, S>>, hosted: &BTreeSet<Id>) -> Option<u64> {
    let Entry::Step(StepRecord { id, cause: CauseRecord::Deliver { src, msg }, .. }) = entry else {
        return None;
    };
    hosted.contains(src).then(|| key(*src, *id, msg))
}

fn collect_sends<M: Hash, T, R, S>(entry: &Entry<StepRecord<M, T, R, S>>, keys: &mut HashSet<u64>) {
    let Entry::Step(step) = entry else { return };
    for output in &step.out {
        if let Output::Send { dst, msg } = output {
            keys.insert(key(step.id, *dst, msg));
        }
    }
}
