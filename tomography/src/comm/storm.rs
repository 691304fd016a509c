//! Any back end, made unkind: messages leave late, are held back on arrival while others overtake them, and may arrive
//! again much later. All of it is drawn from a seed; what threads make of it is not.
//!
//! What is built on [`Comm::recv_any`] must not care, and the tests see to it. Messages that are waited for by rank keep
//! their order, as every back end promises. Nothing is held back for ever: what was to leave late leaves before its rank
//! waits, on whichever of its connections ([`Storm::of_rank`]), and what was held on arrival is delivered when nothing is
//! left that could overtake it. For that a rank that waits for anyone is taken for a coordinator, each of whose messages
//! is answered once.

use super::{Comm, Event};
use crate::Result;
use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How many old messages may come again.
const REMEMBERED: usize = 8;
/// How many others may overtake a message.
const OVERTAKEN: u32 = 4;
/// How many of a hundred messages leave late, with all that follow them to the same rank.
const LATE_PERCENT: u32 = 40;

/// What a connection sends, some of it late.
#[derive(Debug)]
struct Port<C> {
    comm: C,
    generator: Pcg32,
    /// What has not left yet, by rank, in order.
    leaving: Vec<Vec<Vec<u8>>>,
    /// How many answers each rank owes; none of a rank that is gone.
    owed: Vec<Option<usize>>,
}

/// A back end whose messages are delayed, and of [`Comm::recv_any`] also shuffled and repeated.
#[derive(Debug)]
pub struct Storm<C: Comm> {
    rank: usize,
    size: usize,
    generator: Pcg32,
    /// Repetitions in percent.
    repeat_percent: u32,
    port: Arc<Mutex<Port<C>>>,
    /// The other connections of this rank.
    others: Vec<Weak<Mutex<Port<C>>>>,
    /// What has arrived, and how many others are to be delivered before.
    held: Vec<(u32, Event)>,
    past: Vec<Event>,
}

fn below(generator: &mut Pcg32, bound: usize) -> usize {
    generator.next_u32() as usize % bound
}

fn draws(generator: &mut Pcg32, percent: u32) -> bool {
    generator.next_u32() % 100 < percent
}

fn lock<C>(port: &Mutex<Port<C>>) -> MutexGuard<'_, Port<C>> {
    port.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C: Comm> Port<C> {
    fn send_now(&mut self, to: usize, bytes: Vec<u8>) -> Result<()> {
        self.comm.send(to, bytes)?;
        self.owed[to] = self.owed[to].map(|owed| owed + 1);
        Ok(())
    }

    /// Lets all go that was to leave late, to one rank after the other. Whoever is gone says so itself.
    fn let_go(&mut self) {
        let first = below(&mut self.generator, self.leaving.len());
        for turn in 0..self.leaving.len() {
            let to = (first + turn) % self.leaving.len();
            for bytes in std::mem::take(&mut self.leaving[to]) {
                let _ = self.send_now(to, bytes);
            }
        }
    }
}

impl<C: Comm> Storm<C> {
    /// Delays, shuffles and repeats by a seed; `repeat_percent` of the messages come again, some much later.
    pub fn new(comm: C, seed: u64, repeat_percent: u32) -> Self {
        let [storm] = Self::of_rank([comm], seed, repeat_percent);
        storm
    }

    /// The same for all connections of a rank. A rank that waits on one of them sends nothing more on the others meanwhile,
    /// so what was to leave late leaves there as well: a storm delays, and keeps nothing.
    pub fn of_rank<const N: usize>(comms: [C; N], seed: u64, repeat_percent: u32) -> [Self; N] {
        let mut line = 0;
        let mut storms = comms.map(|comm| {
            let (rank, size) = (comm.rank(), comm.size());
            let generator = |use_: u64| Pcg32::new(seed, 4 * rank as u64 + (line << 32) + use_);
            let (leaving, owed) = (vec![Vec::new(); size], vec![Some(0); size]);
            let port = Arc::new(Mutex::new(Port { comm, generator: generator(1), leaving, owed }));
            let generator = generator(0);
            line += 1;
            let (others, held, past) = (Vec::new(), Vec::new(), Vec::new());
            Self { rank, size, generator, repeat_percent, port, others, held, past }
        });
        for line in 0..N {
            let others = (0..N).filter(|other| *other != line);
            storms[line].others = others.map(|other| Arc::downgrade(&storms[other].port)).collect();
        }
        storms
    }

    /// Lets all go that was to leave late, before this rank waits. A connection that another thread uses meanwhile is left to
    /// that thread.
    fn let_go(&self) {
        lock(&self.port).let_go();
        for other in self.others.iter().filter_map(Weak::upgrade) {
            if let Ok(mut port) = other.try_lock() {
                port.let_go();
            }
        }
    }

    fn hold(&mut self, event: Event) {
        let owed = &mut lock(&self.port).owed;
        match event {
            Event::Message { from, .. } => owed[from] = owed[from].map(|owed| owed.saturating_sub(1)),
            Event::Lost { rank } => owed[rank] = None,
        }
        let overtaken = self.generator.next_u32() % (OVERTAKEN + 1);
        self.held.push((overtaken, event));
    }

    fn take_in(&mut self) {
        self.let_go();
        loop {
            let event = lock(&self.port).comm.try_recv_any();
            let Ok(Some(event)) = event else { break };
            self.hold(event);
        }
        if lock(&self.port).owed.iter().all(|owed| owed.is_none_or(|owed| owed == 0)) {
            self.held.iter_mut().for_each(|(overtaken, _)| *overtaken = 0);
        }
    }

    /// One of the events that nothing has to overtake any more.
    fn due(&mut self) -> Option<Event> {
        let due: Vec<usize> = (0..self.held.len()).filter(|place| self.held[*place].0 == 0).collect();
        if due.is_empty() {
            return None;
        }
        let place = due[below(&mut self.generator, due.len())];
        let (_, event) = self.held.swap_remove(place);
        for (overtaken, _) in &mut self.held {
            *overtaken = overtaken.saturating_sub(1);
        }
        if matches!(event, Event::Message { .. }) && draws(&mut self.generator, self.repeat_percent) {
            self.past.push(event.clone());
            if self.past.len() > REMEMBERED {
                let place = below(&mut self.generator, self.past.len());
                self.past.swap_remove(place);
            }
        }
        Some(event)
    }
}

impl<C: Comm> Comm for Storm<C> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn send(&mut self, to: usize, bytes: Vec<u8>) -> Result<()> {
        let mut port = lock(&self.port);
        if port.leaving[to].is_empty() && !draws(&mut self.generator, LATE_PERCENT) {
            return port.send_now(to, bytes);
        }
        port.leaving[to].push(bytes);
        Ok(())
    }

    fn recv(&mut self, from: usize) -> Result<Vec<u8>> {
        self.let_go();
        lock(&self.port).comm.recv(from)
    }

    fn recv_any(&mut self) -> Result<Event> {
        if !self.past.is_empty() && draws(&mut self.generator, self.repeat_percent) {
            let place = below(&mut self.generator, self.past.len());
            return Ok(self.past.swap_remove(place));
        }
        loop {
            self.take_in();
            if let Some(event) = self.due() {
                return Ok(event);
            }
            // What is here is held back, and somebody owes an answer that may overtake it.
            let event = lock(&self.port).comm.recv_any();
            match event {
                Ok(event) => self.hold(event),
                Err(error) if self.held.is_empty() => return Err(error),
                Err(_) => lock(&self.port).owed.fill(None),
            }
        }
    }

    fn try_recv_any(&mut self) -> Result<Option<Event>> {
        self.take_in();
        match self.due() {
            Some(event) => Ok(Some(event)),
            None if self.held.is_empty() => lock(&self.port).comm.try_recv_any(),
            None => Ok(None),
        }
    }
}

impl<C: Comm> Drop for Storm<C> {
    fn drop(&mut self) {
        lock(&self.port).let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comm::threads::{connect, run};
    use crate::testing::within;

    const WORKERS: usize = 3;
    const EACH: u8 = 20;

    /// Rank and number of each answer in the order of delivery: every worker is asked that many times and answers in order.
    fn delivered(seed: u64, repeat_percent: u32) -> Vec<(usize, u8)> {
        let mut results = run(WORKERS + 1, |mut comm| {
            if comm.rank() > 0 {
                for number in 0..EACH {
                    comm.recv(0).unwrap();
                    comm.send(0, vec![number]).unwrap();
                }
                return Vec::new();
            }
            let mut storm = Storm::new(comm, seed, repeat_percent);
            for to in (0..EACH).flat_map(|_| 1..=WORKERS) {
                storm.send(to, Vec::new()).unwrap();
            }
            let (mut found, mut lost) = (Vec::new(), 0);
            while lost < WORKERS {
                match storm.recv_any().unwrap() {
                    Event::Message { from, bytes } => found.push((from, bytes[0])),
                    Event::Lost { .. } => lost += 1,
                }
            }
            // Whatever a loss has overtaken.
            while let Ok(Event::Message { from, bytes }) = storm.recv_any() {
                found.push((from, bytes[0]));
            }
            found
        });
        results.swap_remove(0)
    }

    #[test]
    fn messages_are_overtaken_and_none_is_kept() {
        for seed in 0..10 {
            let mut found = delivered(seed, 0);
            let places =
                |rank: usize| found.iter().filter(move |(from, _)| *from == rank).map(|(_, number)| *number);
            let overtaken: usize = (1..=WORKERS)
                .map(|rank| {
                    places(rank).zip(places(rank).skip(1)).filter(|(first, second)| first > second).count()
                })
                .sum();
            assert!(overtaken >= 5, "seed {seed}: {overtaken} in {found:?}");
            found.sort_unstable();
            assert!(
                found.iter().copied().eq((1..=WORKERS).flat_map(|rank| (0..EACH).map(move |n| (rank, n))))
            );
        }
    }

    /// Rank 0 asks on one connection and waits for the answer on the other, and never turns to the first again.
    #[test]
    fn what_is_late_leaves_while_its_rank_waits_on_another_connection() {
        within(60, || {
            for seed in 0..40 {
                let second: Vec<_> = connect(2).into_iter().map(|comm| Mutex::new(Some(comm))).collect();
                let answers = run(2, |first| {
                    let second = second[first.rank()].lock().unwrap().take().unwrap();
                    let [mut first, mut second] = Storm::of_rank([first, second], seed, 0);
                    if first.rank() == 0 {
                        first.send(1, vec![1]).unwrap();
                        return second.recv(1).unwrap();
                    }
                    let asked = first.recv(0).unwrap();
                    second.send(0, asked.clone()).unwrap();
                    asked
                });
                assert_eq!(answers, [[1], [1]]);
            }
        });
    }

    #[test]
    fn some_messages_come_again() {
        let all = WORKERS * usize::from(EACH);
        for seed in 0..10 {
            let found = delivered(seed, 30);
            assert!(found.len() > all + 3, "seed {seed}: {} of {all}", found.len());
        }
    }
}
