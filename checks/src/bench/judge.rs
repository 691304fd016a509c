//! By what a recorded history is judged.
//!
//! Everything but a weaker read must be linearizable, by the clock of the client that recorded it. What a weaker read
//! promises is about the log: an eventual read shows the state after some prefix of it, a sequential one the state after no
//! shorter prefix than anything that its client was shown before. Answers say which prefix they show, so the log itself
//! serves as the clock: a read that shows the slots below `s` happened between slots `s - 1` and `s`, and a write whose answer
//! shows them, somewhere between what its client was shown when it asked and slot `s - 1`. If the history is linearizable by
//! this clock, one order of all writes, that of the log, explains every answer of every client.

use crate::error::Status;
use parthood_models::linearizability::{self, Linearizability, Operation, Return, SequentialSpec, StepLimit};
use parthood_models::sequential::{EachKey, OneObject};
use parthood_protocols::state_machine::{KeyValue, KeyValueCommand, KeyValueOutput, StateMachine as _};
use std::fmt::Debug;

/// A history of a key-value store.
pub type History = Vec<Operation<KeyValueCommand, KeyValueOutput>>;

/// What a check of a recorded history found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryVerdict {
    /// It is what was promised.
    Right,
    /// It is not, for this reason.
    Wrong(String),
    /// There were too many possibilities.
    Inconclusive(String),
}

impl HistoryVerdict {
    /// The exit status it leads to.
    pub fn status(&self) -> Status {
        match self {
            Self::Right => Status::Done,
            Self::Wrong(_) => Status::Violated,
            Self::Inconclusive(_) => Status::Inconclusive,
        }
    }
}

/// Decides whether a history is linearizable, in words.
pub fn judge(history: &History) -> HistoryVerdict {
    let by_keys = history.iter().all(|operation| operation.op.key().is_some());
    if by_keys { judged(&EachKey, history) } else { judged(&OneObject::<KeyValue>::default(), history) }
}

fn judged<S>(spec: &S, history: &History) -> HistoryVerdict
where
    S: SequentialSpec<Op = KeyValueCommand, Output = KeyValueOutput, Key: Debug>,
{
    match linearizability::check(spec, history, StepLimit::default()) {
        Linearizability::Linearizable { .. } => HistoryVerdict::Right,
        Linearizability::NotLinearizable(violation) => HistoryVerdict::Wrong(violation.explain(history)),
        Linearizability::Inconclusive { key, limit } => {
            HistoryVerdict::Inconclusive(format!("key {key:?} has more than {} possible orders", limit.0))
        }
    }
}

/// What clients with weaker reads were told, by the clock of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogHistory {
    /// What was asked and answered. Slot `s` lasts from `2 s + 1` to `2 s + 2`.
    pub operations: History,
    /// The first read that showed less than its client was shown before it asked.
    pub went_back: Option<usize>,
}

/// How much of the log a client had been shown when it asked, and where its question stands in the history.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    index: usize,
    known: u64,
}

impl LogHistory {
    /// A client, which has been shown the slots below `known`, asks.
    pub fn asked(&mut self, client: u64, op: KeyValueCommand, known: u64) -> Place {
        let index = self.operations.len();
        let invoked = known.saturating_mul(2).saturating_add(1);
        self.operations.push(Operation { client, op, invoked, returned: None });
        Place { index, known }
    }

    /// It is answered, and the answer shows the slots below `shown`.
    pub fn answered(&mut self, place: Place, output: KeyValueOutput, shown: u64) {
        let Some(operation) = self.operations.get_mut(place.index) else { return };
        let end = shown.saturating_mul(2);
        let is_read = KeyValue::is_read(&operation.op);
        if is_read {
            operation.invoked = end;
            if shown < place.known && self.went_back.is_none() {
                self.went_back = Some(place.index);
            }
        }
        let at = if is_read { end } else { end.saturating_sub(1) };
        operation.returned = Some(Return { at, output });
    }

    /// What several clients of one cluster were told.
    #[must_use]
    pub fn joined(histories: impl IntoIterator<Item = Self>) -> Self {
        let mut joined = Self::default();
        for (number, history) in (0..).zip(histories) {
            let behind = joined.operations.len();
            joined.went_back = joined.went_back.or(history.went_back.map(|index| index + behind));
            // Clients of different runs count their lanes from zero.
            let named = |operation| Operation { client: number, ..operation };
            joined.operations.extend(history.operations.into_iter().map(named));
        }
        joined
    }

    /// Does the order of the log explain every answer, and, if they are `sequential`, did no read go back?
    pub fn judge(&self, sequential: bool) -> HistoryVerdict {
        if let Some(index) = self.went_back.filter(|_| sequential) {
            let operation = &self.operations[index];
            return HistoryVerdict::Wrong(format!(
                "client {} was shown less of the log by {:?} than before",
                operation.client, operation.op
            ));
        }
        match judge(&self.operations) {
            HistoryVerdict::Wrong(why) => HistoryVerdict::Wrong(format!(
                "by the clock of the log (slot s is from 2s+1 to 2s+2):\n{why}"
            )),
            verdict => verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parthood_protocols::state_machine::Bytes;

    fn put(value: &str) -> KeyValueCommand {
        KeyValueCommand::Put(Bytes::from("k"), Bytes::from(value))
    }

    fn value(value: &str) -> KeyValueOutput {
        KeyValueOutput::Value(Some(Bytes::from(value)))
    }

    /// Two puts in slots 0 and 1, and a read of this value that shows the slots below `shown`.
    fn read_of(found: &str, shown: u64, known: u64) -> LogHistory {
        let mut history = LogHistory::default();
        for (slot, new) in [(0, "a"), (1, "b")] {
            let place = history.asked(0, put(new), slot);
            history.answered(place, KeyValueOutput::Done, slot + 1);
        }
        let place = history.asked(1, KeyValueCommand::Get(Bytes::from("k")), known);
        history.answered(place, value(found), shown);
        history
    }

    #[test]
    fn a_read_shows_the_prefix_that_it_says() {
        assert_eq!(read_of("a", 1, 0).judge(true), HistoryVerdict::Right);
        assert_eq!(read_of("b", 2, 0).judge(true), HistoryVerdict::Right);
        assert!(matches!(read_of("b", 1, 0).judge(false), HistoryVerdict::Wrong(_)));
        assert!(matches!(read_of("a", 2, 0).judge(false), HistoryVerdict::Wrong(_)));
        assert!(matches!(read_of("c", 2, 0).judge(false), HistoryVerdict::Wrong(_)));
    }

    #[test]
    fn only_sequential_reads_must_not_go_back() {
        let went_back = read_of("a", 1, 2);
        assert_eq!(went_back.judge(false), HistoryVerdict::Right);
        assert!(matches!(went_back.judge(true), HistoryVerdict::Wrong(_)));
        let joined = LogHistory::joined([read_of("b", 2, 0), went_back]);
        assert_eq!((joined.operations.len(), joined.went_back), (6, Some(5)));
    }

    /// Nobody answers a put; a read that shows it is right, wherever in the log it is.
    #[test]
    fn what_was_not_answered_may_be_anywhere_behind_what_its_client_knew() {
        let mut history = read_of("c", 2, 0);
        history.asked(2, put("c"), 1);
        assert_eq!(history.judge(true), HistoryVerdict::Right);
        let mut history = read_of("c", 2, 0);
        history.asked(2, put("c"), 2);
        assert!(matches!(history.judge(true), HistoryVerdict::Wrong(_)));
    }
}
