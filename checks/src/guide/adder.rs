//! The actor of the guide's first chapter, as it stands there.

use parthood::stateright::actor::{Actor, Id, Out};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// A participant.
#[derive(Clone, Debug)]
pub enum Node {
    /// Keeps a sum and adds what it is asked to, unless a rule is broken.
    Server(Option<Flaw>),
    /// Asks the first actor to add these numbers, one after the other, each as often as it takes.
    Client(Vec<u64>),
}

/// A rule that the server can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It does not remember what it has answered.
    NoTable,
    /// It does not save.
    NoSave,
}

/// What they say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Msg {
    /// Client to server: my addition with this number, from 1, is of this much.
    Add {
        /// Its number.
        number: usize,
        /// How much.
        by: u64,
    },
    /// Server to client: it was added, and this was the sum then.
    Added {
        /// Its number.
        number: usize,
        /// The sum.
        sum: u64,
    },
}

/// A client asks again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Retry;

/// What a participant knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// A server.
    Server(Sum),
    /// A client, and the answers that it got.
    Client(Vec<u64>),
}

/// What a server knows, and saves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sum {
    /// The sum.
    pub sum: u64,
    /// The table: the last number of each client, and what was answered.
    pub answered: BTreeMap<Id, (usize, u64)>,
}

impl Actor for Node {
    type Msg = Msg;
    type Timer = Retry;
    type State = State;
    type Storage = Sum;
    type Random = ();

    fn on_start(&self, _: Id, saved: &Option<Sum>, out: &mut Out<Self>) -> State {
        match self {
            Self::Server(_) => State::Server(saved.clone().unwrap_or_default()),
            Self::Client(numbers) => {
                ask(numbers, 0, out);
                State::Client(Vec::new())
            }
        }
    }

    fn on_msg(&self, _: Id, state: &mut Cow<'_, State>, src: Id, msg: Msg, out: &mut Out<Self>) {
        match (self, &**state, msg) {
            (Self::Server(flaw), State::Server(now), Msg::Add { number, by }) => {
                let (last, answer) = now.answered.get(&src).copied().unwrap_or_default();
                if number == last && *flaw != Some(Flaw::NoTable) {
                    return out.send(src, Msg::Added { number, sum: answer });
                }
                if number < last {
                    return; // Nobody waits for this any more.
                }
                let State::Server(next) = state.to_mut() else { return };
                next.sum += by;
                next.answered.insert(src, (number, next.sum));
                if *flaw != Some(Flaw::NoSave) {
                    out.save(next.clone());
                }
                out.send(src, Msg::Added { number, sum: next.sum });
            }
            (Self::Client(numbers), State::Client(sums), Msg::Added { number, sum })
                if number == sums.len() + 1 =>
            {
                ask(numbers, sums.len() + 1, out);
                let State::Client(sums) = state.to_mut() else { return };
                sums.push(sum);
            }
            _ => {}
        }
    }

    fn on_timeout(&self, _: Id, state: &mut Cow<'_, State>, _: &Retry, out: &mut Out<Self>) {
        if let (Self::Client(numbers), State::Client(sums)) = (self, &**state) {
            ask(numbers, sums.len(), out);
        }
    }
}

/// Asks for the addition after so many, if there is one, and sets the timer to ask again.
fn ask(numbers: &[u64], answered: usize, out: &mut Out<Node>) {
    match numbers.get(answered) {
        Some(by) => {
            out.send(Id::from(0), Msg::Add { number: answered + 1, by: *by });
            out.set_timer(Retry, Duration::from_millis(20)..Duration::from_millis(40));
        }
        None => out.cancel_timer(Retry),
    }
}
