//! Toy actors for this package's tests: clients that ask a counter to add one, again and again, and wait for each answer.

use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// How a counter may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    /// It ignores what it had saved.
    Forgets,
    /// It counts two for one.
    CountsDouble,
}

#[derive(Clone, Debug)]
pub(crate) enum Toy {
    Counter(Flaw),
    /// Wants `goal` additions done by `counter`.
    Client {
        counter: Id,
        goal: u64,
    },
    /// Asks the counter for this many additions at once, when it starts.
    Burst(u64),
    /// Takes requests to `counter` and answers to `client`, and keeps nothing.
    Proxy {
        counter: Id,
        client: Id,
    },
    /// Wants `goal` additions done by `counter`, and saves how far it is. It asks for the next two at a time, but for
    /// three when it starts.
    Saver {
        counter: Id,
        goal: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Msg {
    /// The sender's addition of this number, from 1.
    Add(u64),
    /// The addition of this number was done.
    Added(u64),
    /// Do this many more; only an application says so.
    More(u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Timer {
    Retry,
}

/// A counter's state and storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// The last addition of each client.
    pub(crate) done: BTreeMap<u64, u64>,
    pub(crate) total: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Counter(Counts),
    Client { done: u64, goal: u64, luck: u64 },
}

impl State {
    pub(crate) fn counts(&self) -> &Counts {
        match self {
            Self::Counter(counts) => counts,
            Self::Client { .. } => panic!("a client has no counts"),
        }
    }

    pub(crate) fn done(&self) -> u64 {
        match self {
            Self::Counter(_) => panic!("a counter is never done"),
            Self::Client { done, .. } => *done,
        }
    }
}

/// One counter, index 0, and clients.
pub(crate) fn cluster(flaw: Flaw, clients: usize, goal: u64) -> Vec<Toy> {
    let counter = Id::from(0);
    std::iter::once(Toy::Counter(flaw)).chain((0..clients).map(|_| Toy::Client { counter, goal })).collect()
}

/// Milliseconds.
pub(crate) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn number(id: Id) -> u64 {
    usize::from(id) as u64
}

impl Toy {
    /// Asks for additions after `done`, `ahead` of them at most.
    fn ask_ahead(counter: Id, (done, goal, ahead): (u64, u64, u64), out: &mut Out<Self>) {
        (done + 1..=goal.min(done + ahead)).for_each(|n| out.send(counter, Msg::Add(n)));
        if done < goal {
            out.set_timer(Timer::Retry, ms(20)..ms(40));
        } else {
            out.cancel_timer(Timer::Retry);
        }
    }

    fn ask(&self, done: u64, goal: u64, out: &mut Out<Self>) {
        let Self::Client { counter, .. } = self else { return };
        if done < goal {
            out.send(*counter, Msg::Add(done + 1));
            out.set_timer(Timer::Retry, ms(20)..ms(40));
        } else {
            out.cancel_timer(Timer::Retry);
        }
    }
}

impl Actor for Toy {
    type Msg = Msg;
    type Timer = Timer;
    type State = State;
    type Storage = Counts;
    type Random = u64;

    fn on_start(&self, _: Id, storage: &Option<Counts>, out: &mut Out<Self>) -> State {
        match self {
            Self::Counter(Flaw::Forgets) => State::Counter(Counts::default()),
            Self::Counter(_) => State::Counter(storage.clone().unwrap_or_default()),
            Self::Client { goal, .. } => {
                self.ask(0, *goal, out);
                State::Client { done: 0, goal: *goal, luck: 0 }
            }
            Self::Saver { counter, goal } => {
                let done = storage.as_ref().map_or(0, |saved| saved.total);
                Self::ask_ahead(*counter, (done, *goal, 3), out);
                State::Client { done, goal: *goal, luck: 0 }
            }
            Self::Proxy { .. } => State::Client { done: 0, goal: 0, luck: 0 },
            Self::Burst(count) => {
                (1..=*count).for_each(|n| out.send(Id::from(0), Msg::Add(n)));
                State::Client { done: 0, goal: 0, luck: 0 }
            }
        }
    }

    fn on_msg(&self, _: Id, state: &mut Cow<'_, State>, src: Id, msg: Msg, out: &mut Out<Self>) {
        match (self, &**state, msg) {
            (Self::Counter(flaw), State::Counter(counts), Msg::Add(n)) => {
                let last = counts.done.get(&number(src)).copied().unwrap_or(0);
                if n == last + 1 {
                    let State::Counter(counts) = state.to_mut() else { return };
                    counts.done.insert(number(src), n);
                    counts.total += if *flaw == Flaw::CountsDouble { 2 } else { 1 };
                    out.send(src, Msg::Added(n));
                    out.save(counts.clone());
                } else if n <= last {
                    out.send(src, Msg::Added(n));
                }
            }
            (Self::Client { .. }, State::Client { done, goal, .. }, Msg::Added(n)) if n == done + 1 => {
                self.ask(n, *goal, out);
                if n % 8 == 0 {
                    out.choose_random("luck", vec![1, 2, 3]);
                }
                if n == *goal {
                    out.send(Id::from(crate::LOCAL_APPLICATION), Msg::Added(n));
                }
                let State::Client { done, .. } = state.to_mut() else { return };
                *done = n;
            }
            (Self::Proxy { counter, .. }, _, Msg::Add(n)) => out.send(*counter, Msg::Add(n)),
            (Self::Proxy { client, .. }, _, Msg::Added(n)) => out.send(*client, Msg::Added(n)),
            (Self::Saver { counter, .. }, State::Client { done, goal, .. }, Msg::Added(n)) if n > *done => {
                Self::ask_ahead(*counter, (n, *goal, 2), out);
                out.save(Counts { total: n, ..Counts::default() });
                let State::Client { done, .. } = state.to_mut() else { return };
                *done = n;
            }
            (Self::Client { .. }, State::Client { done, goal, .. }, Msg::More(n)) => {
                self.ask(*done, goal + n, out);
                let State::Client { goal, .. } = state.to_mut() else { return };
                *goal += n;
            }
            _ => {}
        }
    }

    fn on_timeout(&self, _: Id, state: &mut Cow<'_, State>, _: &Timer, out: &mut Out<Self>) {
        let State::Client { done, goal, .. } = &**state else { return };
        match self {
            Self::Saver { counter, .. } => Self::ask_ahead(*counter, (*done, *goal, 2), out),
            _ => self.ask(*done, *goal, out),
        }
    }

    fn on_random(&self, _: Id, state: &mut Cow<'_, State>, random: &u64, _: &mut Out<Self>) {
        if let State::Client { luck, .. } = state.to_mut() {
            *luck += random;
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Counter(_) => "counter".into(),
            Self::Client { .. } | Self::Burst(_) | Self::Proxy { .. } | Self::Saver { .. } => "client".into(),
        }
    }
}
