//! Timers of all actors of a process.

use foldhash::HashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::Hash;
use std::time::Instant;

/// Stale entries tolerated beyond the number of timers that are set.
const SLACK: usize = 64;

/// Setting a timer again replaces it; a timer fires once for each time it is set.
#[derive(Debug)]
pub(super) struct Timers<T> {
    /// The generation of each timer that is set.
    set: HashMap<(usize, T), u64>,
    /// By deadline, then by age. An entry whose generation is not the timer's is stale.
    queue: BinaryHeap<Reverse<Entry<T>>>,
    generation: u64,
}

#[derive(Debug)]
struct Entry<T> {
    deadline: Instant,
    generation: u64,
    host: usize,
    timer: T,
}

impl<T> Entry<T> {
    fn key(&self) -> (Instant, u64) {
        (self.deadline, self.generation)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl<T: Clone + Eq + Hash> Timers<T> {
    pub(super) fn new() -> Self {
        Self { set: HashMap::default(), queue: BinaryHeap::new(), generation: 0 }
    }

    pub(super) fn set(&mut self, host: usize, timer: T, deadline: Instant) {
        self.generation += 1;
        let generation = self.generation;
        self.set.insert((host, timer.clone()), generation);
        self.queue.push(Reverse(Entry { deadline, generation, host, timer }));
        if self.queue.len() > 2 * self.set.len() + SLACK {
            let set = &self.set;
            self.queue.retain(|Reverse(entry)| {
                set.get(&(entry.host, entry.timer.clone())) == Some(&entry.generation)
            });
        }
    }

    pub(super) fn cancel(&mut self, host: usize, timer: T) {
        self.set.remove(&(host, timer));
    }

    /// The number of timers that are set.
    pub(super) fn len(&self) -> usize {
        self.set.len()
    }

    /// When the next timer is due. Entries of timers that were cancelled or set anew are dropped on the way: if their
    /// deadlines counted, a process with nothing to wait for would not sleep.
    pub(super) fn next_deadline(&mut self) -> Option<Instant> {
        while let Some(Reverse(entry)) = self.queue.peek() {
            if self.set.get(&(entry.host, entry.timer.clone())) == Some(&entry.generation) {
                return Some(entry.deadline);
            }
            self.queue.pop();
        }
        None
    }

    /// Takes the timer that has been due for longest.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(usize, T)> {
        if self.next_deadline()? > now {
            return None;
        }
        let Reverse(entry) = self.queue.pop()?;
        let key = (entry.host, entry.timer);
        self.set.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Set(usize, u8, u64),
        Cancel(usize, u8),
        Pass(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0..2usize, 0..4u8, 0..20u64).prop_map(|(h, t, d)| Op::Set(h, t, d)),
            (0..2usize, 0..4u8).prop_map(|(h, t)| Op::Cancel(h, t)),
            (0..10u64).prop_map(Op::Pass),
        ]
    }

    proptest! {
        #[test]
        fn a_timer_fires_once_at_the_deadline_set_last(ops in prop::collection::vec(op(), 0..400)) {
            let start = Instant::now();
            let mut now = start;
            let mut timers = Timers::new();
            let mut model = HashMap::default();
            for op in ops {
                match op {
                    Op::Set(host, timer, delay) => {
                        let deadline = now + Duration::from_millis(delay);
                        timers.set(host, timer, deadline);
                        model.insert((host, timer), deadline);
                    }
                    Op::Cancel(host, timer) => {
                        timers.cancel(host, timer);
                        model.remove(&(host, timer));
                    }
                    Op::Pass(delay) => {
                        now += Duration::from_millis(delay);
                        let mut last = start;
                        while let Some(fired) = timers.pop_due(now) {
                            let deadline = model.remove(&fired).expect("it is set");
                            prop_assert!(last <= deadline && deadline <= now);
                            last = deadline;
                        }
                        prop_assert!(model.values().all(|&deadline| deadline > now));
                    }
                }
                prop_assert_eq!(timers.next_deadline(), model.values().min().copied());
                prop_assert!(timers.queue.len() <= 2 * timers.len() + SLACK + 8);
            }
        }
    }
}
