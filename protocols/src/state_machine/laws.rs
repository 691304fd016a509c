//! What every state machine must satisfy, tried on commands of the caller's choice.

use super::StateMachine;

/// Tries the laws of [`StateMachine`] on the states after `one` and after `other` and on all pairs of their commands:
/// changes lead from either state to the other, exported parts compose to the state, reads and refused commands change
/// nothing, and commands that do not conflict commute in state and outputs.
///
/// # Errors
/// A law that does not hold, and where.
pub fn try_laws<M: StateMachine>(one: &[M::Command], other: &[M::Command]) -> Result<(), String> {
    let (first, second) = (run::<M>(one), run::<M>(other));
    for (before, after) in [(&first, &second), (&second, &first)] {
        let mut moved = before.clone();
        moved.patch(after.changes_since(before));
        demand(moved == *after, || format!("the changes from {before:?} to {after:?} lead to {moved:?}"))?;
        for max_bytes in [0, 20, 200] {
            let copy = copy(after, max_bytes);
            demand(copy == *after, || {
                format!("{after:?} in parts of {max_bytes} bytes composes to {copy:?}")
            })?;
        }
    }
    let mut commands: Vec<_> = one.iter().chain(other).collect();
    commands.sort_unstable();
    commands.dedup();
    for x in &commands {
        let mut read = first.clone();
        let output = read.apply(x);
        let changes = read != first;
        demand(!(M::is_read(x) && changes), || format!("{x:?} is a read and changes {first:?}"))?;
        if let Some(refusal) = M::refusal(x) {
            demand(!changes && output == refusal, || {
                format!("{x:?} is refused and takes effect on {first:?}")
            })?;
        }
        for y in &commands {
            demand(M::conflicts(x, y) == M::conflicts(y, x), || {
                format!("only one of {x:?} and {y:?} conflicts")
            })?;
            let (mut xy, mut yx) = (first.clone(), first.clone());
            let (x_first, y_second) = (xy.apply(x), xy.apply(y));
            let (y_first, x_second) = (yx.apply(y), yx.apply(x));
            let commute = (xy, x_first, y_second) == (yx, x_second, y_first);
            demand(commute || M::conflicts(x, y), || {
                format!("{x:?} and {y:?} do not conflict, and their order matters to {first:?}")
            })?;
        }
    }
    Ok(())
}

fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn run<M: StateMachine>(commands: &[M::Command]) -> M {
    let mut machine = M::default();
    for command in commands {
        machine.apply(command);
    }
    machine
}

/// A default state patched with all parts of a state.
fn copy<M: StateMachine>(state: &M, max_bytes: usize) -> M {
    let (mut copy, mut cursor) = (M::default(), None);
    loop {
        let part = state.export(cursor.as_ref(), max_bytes);
        copy.patch(part.changes);
        cursor = part.next;
        if cursor.is_none() {
            return copy;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::state_machine::{Counter, CounterCommand, Part};
    use proptest::prelude::*;

    /// The laws on random commands, and that outputs take no more bytes than they say.
    pub(crate) fn hold<M: StateMachine>(command: impl Strategy<Value = M::Command> + Clone) {
        let commands = || proptest::collection::vec(command.clone(), 0..20);
        let config = ProptestConfig::with_cases(64);
        proptest!(config, |(a in commands(), b in commands(), x in command.clone())| {
            prop_assert_eq!(try_laws::<M>(&a, &b), Ok(()));
            let output = run::<M>(&a).apply(&x);
            let encoded = postcard::to_stdvec(&output).expect("outputs can be encoded");
            prop_assert!(encoded.len() <= M::output_bytes(&output), "{output:?}");
        });
    }

    /// A counter with one law broken.
    #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Wrong<const LAW: u8>(Counter);

    impl<const LAW: u8> StateMachine for Wrong<LAW> {
        type Command = CounterCommand;
        type Output = u64;
        type Key = ();
        type Change = u64;
        type Cursor = ();

        fn apply(&mut self, command: &CounterCommand) -> u64 {
            let command = if LAW == 0 { &CounterCommand::Add(1) } else { command };
            self.0.apply(command)
        }

        fn refusal(command: &CounterCommand) -> Option<u64> {
            (LAW == 1 && *command == CounterCommand::Add(2)).then_some(7)
        }

        fn is_read(command: &CounterCommand) -> bool {
            Counter::is_read(command)
        }

        fn keys(_: &CounterCommand) -> impl Iterator<Item = ()> {
            std::iter::repeat_n((), usize::from(LAW != 2))
        }

        fn changes_since(&self, before: &Self) -> Vec<u64> {
            if LAW == 3 { vec![] } else { self.0.changes_since(&before.0) }
        }

        fn patch(&mut self, changes: Vec<u64>) {
            self.0.patch(changes);
        }

        fn export(&self, cursor: Option<&()>, max_bytes: usize) -> Part<Self> {
            let changes = self.0.export(cursor, max_bytes).changes;
            Part { changes: if LAW == 4 { vec![] } else { changes }, next: None }
        }

        fn command_bytes(_: &CounterCommand) -> usize {
            11
        }

        fn output_bytes(_: &u64) -> usize {
            10
        }
    }

    #[test]
    fn each_broken_law_is_named() {
        let (one, other) = ([CounterCommand::Add(2), CounterCommand::Read], [CounterCommand::Add(3)]);
        let found = [
            try_laws::<Wrong<0>>(&one, &other),
            try_laws::<Wrong<1>>(&one, &other),
            try_laws::<Wrong<2>>(&one, &other),
            try_laws::<Wrong<3>>(&one, &other),
            try_laws::<Wrong<4>>(&one, &other),
        ];
        let words = ["is a read", "is refused", "do not conflict", "the changes from", "composes to"];
        for (found, word) in found.into_iter().zip(words) {
            assert!(found.as_ref().is_err_and(|why| why.contains(word)), "{word}: {found:?}");
        }
        assert_eq!(try_laws::<Wrong<5>>(&one, &other), Ok(()));
    }
}
