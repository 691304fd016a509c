//! Storage that can say cheaply how it differs from an earlier version of itself.
//!
//! An actor saves its whole storage, as the models assume. Its maps are persistent collections, so a save shares what
//! did not change with the save before, and the difference is found by walking only what is not shared: a runtime can
//! append it to a log at a cost that follows the change and not the size.

/// A map whose clones and differences cost what is not shared. State machines keep their state in such maps.
pub use im::OrdMap;
use im::ordmap::DiffItem;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt::Debug;
use std::ops::Bound;

/// A storage whose versions can be written down as differences.
pub trait Durable: Sized {
    /// What changed from one version to the next.
    type Delta: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send;

    /// What changed since `before`, or since nothing was saved.
    fn delta(&self, before: Option<&Self>) -> Self::Delta;

    /// The version that differs from `before` by `delta`.
    ///
    /// # Errors
    /// [`Mismatch`] when `delta` cannot follow `before`: the record was made against another version.
    fn patched(before: Option<Self>, delta: Self::Delta) -> Result<Self, Mismatch>;
}

/// A difference that does not fit the version that it is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a saved difference does not fit the version before it")]
pub struct Mismatch;

/// What changed in a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Change<K, V> {
    /// The key now has this value.
    Put(K, V),
    /// The key is gone.
    Remove(K),
}

/// The changes that turn `before` into `after`, in key order. Costs what is not shared between the two.
pub fn map_changes<K: Ord + Clone, V: Clone + PartialEq>(
    before: &OrdMap<K, V>,
    after: &OrdMap<K, V>,
) -> Vec<Change<K, V>> {
    before
        .diff(after)
        .map(|item| match item {
            DiffItem::Add(key, value) | DiffItem::Update { new: (key, value), .. } => {
                Change::Put(key.clone(), value.clone())
            }
            DiffItem::Remove(key, _) => Change::Remove(key.clone()),
        })
        .collect()
}

/// Applies changes to a map.
pub fn patch_map<K: Ord + Clone, V: Clone>(map: &mut OrdMap<K, V>, changes: Vec<Change<K, V>>) {
    for change in changes {
        match change {
            Change::Put(key, value) => {
                map.insert(key, value);
            }
            Change::Remove(key) => {
                map.remove(&key);
            }
        }
    }
}

/// The next entries of a map above `after`, of about `max_bytes` as `bytes` measures them and at least one if any is left;
/// and the key after which to go on, none when these are the last.
pub fn export_map<K: Ord + Clone, V: Clone>(
    map: &OrdMap<K, V>,
    after: Option<&K>,
    max_bytes: usize,
    bytes: impl Fn(&K, &V) -> usize,
) -> (Vec<Change<K, V>>, Option<K>) {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = map.range::<_, K>((from, Bound::Unbounded)).peekable();
    let (mut changes, mut size, mut last) = (vec![], 0_usize, None);
    while let Some((key, value)) = rest.peek() {
        size = size.saturating_add(bytes(key, value));
        if size > max_bytes && !changes.is_empty() {
            break;
        }
        changes.push(Change::Put((*key).clone(), (*value).clone()));
        last = Some((*key).clone());
        rest.next();
    }
    (changes, rest.peek().and(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_map_patched_by_its_changes_is_the_other_map(
            before in btree_map(0..40_u8, 0..4_u8, 0..40), after in btree_map(0..40_u8, 0..4_u8, 0..40)
        ) {
            let (before, after): (OrdMap<u8, u8>, OrdMap<u8, u8>) = (before.into(), after.into());
            let mut patched = before.clone();
            patch_map(&mut patched, map_changes(&before, &after));
            prop_assert_eq!(patched, after);
        }

        #[test]
        fn exported_parts_make_up_the_map_and_keep_to_the_bytes(
            map in btree_map(0..40_u8, 0..30_usize, 0..40), max in 0..100_usize
        ) {
            let map: OrdMap<u8, usize> = map.into();
            let (mut copy, mut after) = (OrdMap::new(), None);
            loop {
                let (changes, next) = export_map(&map, after.as_ref(), max, |_, value| *value);
                let sizes: Vec<usize> = changes.iter().filter_map(|change| match change {
                    Change::Put(_, value) => Some(*value),
                    Change::Remove(_) => None,
                }).collect();
                prop_assert!(sizes.len() == 1 || sizes.iter().sum::<usize>() <= max, "{sizes:?}");
                patch_map(&mut copy, changes);
                after = next;
                if after.is_none() { break }
            }
            prop_assert_eq!(copy, map);
        }
    }
}
