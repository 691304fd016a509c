//! Is a history sequentially consistent: is there one order of all operations that keeps each client's own order and
//! explains every answer? (Lamport, 1979.) Unlike linearizability, real time between clients does not count.

use crate::linearizability::SequentialSpec;
use std::collections::BTreeSet;

/// What a client asked, in order; the answer is missing if it did not come, which only the last may be.
pub type Program<S> = Vec<(<S as SequentialSpec>::Op, Option<<S as SequentialSpec>::Output>)>;

/// Decides it for programs on one object, by trying all orders: for small histories.
pub fn sequentially_consistent<S>(spec: &S, programs: &[Program<S>]) -> bool
where
    S: SequentialSpec<Key = (), State: Ord>,
{
    let mut seen = BTreeSet::new();
    let start = vec![0; programs.len()];
    extend(spec, programs, &start, &spec.initial(&()), &mut seen)
}

fn extend<S>(
    spec: &S,
    programs: &[Program<S>],
    done: &[usize],
    state: &S::State,
    seen: &mut BTreeSet<(Vec<usize>, S::State)>,
) -> bool
where
    S: SequentialSpec<Key = (), State: Ord>,
{
    let answered =
        |program: &Program<S>, done: usize| program[done..].iter().all(|(_, answer)| answer.is_none());
    if programs.iter().zip(done).all(|(program, done)| answered(program, *done)) {
        return true;
    }
    if !seen.insert((done.to_vec(), state.clone())) {
        return false;
    }
    (0..programs.len()).any(|client| {
        let Some((op, answer)) = programs[client].get(done[client]) else { return false };
        let Some(next) = spec.step(state, op, answer.as_ref()) else { return false };
        let mut done = done.to_vec();
        done[client] += 1;
        extend(spec, programs, &done, &next, seen)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequential::OneObject;
    use parthood_protocols::state_machine::{AppendLog, AppendLogCommand as Op, AppendLogOutput as Out};

    fn holds(programs: &[Program<OneObject<AppendLog>>]) -> bool {
        sequentially_consistent(&OneObject::<AppendLog>::default(), programs)
    }

    fn read(entries: &[u8]) -> (Op, Option<Out>) {
        (Op::Read, Some(Out::Entries(entries.to_vec())))
    }

    #[test]
    fn a_late_view_is_allowed_and_a_view_that_goes_back_is_not() {
        let write = vec![(Op::Append(1), Some(Out::Appended(0)))];
        assert!(holds(&[write.clone(), vec![read(&[]), read(&[1])]]));
        assert!(!holds(&[write, vec![read(&[1]), read(&[])]]));
    }

    #[test]
    fn a_client_sees_its_own_writes_and_an_unanswered_write_may_or_may_not_count() {
        assert!(!holds(&[vec![(Op::Append(1), Some(Out::Appended(0))), read(&[])]]));
        assert!(holds(&[vec![(Op::Append(1), None)], vec![read(&[])]]));
        assert!(holds(&[vec![(Op::Append(1), None)], vec![read(&[1])]]));
    }
}
