//! Storage that knows its own differences, as the runtime's log wants it.

use parthood_protocols::durable::Durable;
use parthood_runtime::storage::Journal;

/// The journal of any [`Durable`] storage.
#[derive(Clone, Copy, Debug, Default)]
pub struct DurableJournal;

impl<S: Durable + PartialEq> Journal<S> for DurableJournal {
    type Delta = S::Delta;

    fn diff(old: Option<&S>, new: &S) -> impl Iterator<Item = S::Delta> {
        (old != Some(new)).then(|| new.delta(old)).into_iter()
    }

    fn apply(old: Option<S>, delta: S::Delta) -> Option<S> {
        S::patched(old, delta).ok()
    }
}
