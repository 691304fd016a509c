//! A violation for people: the operations around it as bars over time.

use super::{Operation, Violation};
use std::fmt::{Debug, Write};

/// Operations shown around a violation.
const SHOWN: usize = 16;
/// Columns of the time axis.
const WIDTH: usize = 40;

impl<Key: Debug> Violation<Key> {
    /// The operations around the violation, one per line: who, when (as a bar), what, and which one fits nowhere.
    pub fn explain<Op: Debug, Output: Debug>(&self, history: &[Operation<Op, Output>]) -> String {
        let mut shown: Vec<usize> =
            self.before.iter().chain(&self.concurrent).copied().take(SHOWN - 1).collect();
        shown.push(self.operation);
        shown.sort_unstable_by_key(|&index| (history[index].invoked, index));
        shown.dedup();
        let column = columns(&shown.iter().map(|&index| &history[index]).collect::<Vec<_>>());
        let left_out = (self.before.len() + self.concurrent.len() + 1).saturating_sub(shown.len());
        let mut text = format!("key {:?}: no order of the operations explains one answer\n", self.key);
        for index in shown {
            let operation = &history[index];
            let end = operation.returned.as_ref();
            let (from, to) = (column(operation.invoked), end.map_or(WIDTH + 2, |end| column(end.at)));
            let mut bar: String =
                (0..WIDTH + 2).map(|at| if (from..=to).contains(&at) { '-' } else { ' ' }).collect();
            bar.replace_range(from..=from, "|");
            if end.is_some() {
                bar.replace_range(to..=to, "|");
            }
            let answer = end.map_or("no answer".into(), |end| format!("{:?}", end.output));
            let mark = if index == self.operation { "   <- fits nowhere" } else { "" };
            let _ = writeln!(
                text,
                "  client {:<5} {bar}  {:?} -> {answer}{mark}",
                operation.client, operation.op
            );
        }
        if left_out > 0 {
            let _ = writeln!(text, "  ({left_out} more concurrent operations are not shown)");
        }
        text
    }
}

/// Instants to columns, by rank: equal instants share a column, and order is kept.
fn columns<Op, Output>(shown: &[&Operation<Op, Output>]) -> impl Fn(u64) -> usize + use<Op, Output> {
    let ends = shown.iter().filter_map(|operation| operation.returned.as_ref().map(|end| end.at));
    let mut instants: Vec<u64> = shown.iter().map(|operation| operation.invoked).chain(ends).collect();
    instants.sort_unstable();
    instants.dedup();
    move |instant| instants.partition_point(|&other| other < instant) * WIDTH / instants.len().max(1)
}
