//! A module alone, in every state that it can come to.

use std::collections::HashSet;
use std::hash::Hash;

/// Visits everything that can be reached; how many states that are, or the first that is wrong.
pub(super) fn exhaust<S: Clone + Eq + Hash>(
    start: S,
    next: impl Fn(&S) -> Vec<S>,
    mut is_right: impl FnMut(&S) -> bool,
) -> Result<usize, S> {
    let mut seen = HashSet::from([start.clone()]);
    let mut waiting = vec![start];
    while let Some(state) = waiting.pop() {
        if !is_right(&state) {
            return Err(state);
        }
        waiting.extend(next(&state).into_iter().filter(|state| seen.insert(state.clone())));
    }
    Ok(seen.len())
}
