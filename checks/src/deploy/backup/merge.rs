//! How two series of entries in the order of their keys differ.

use super::Entry;
use crate::error::Error;
use std::cmp::Ordering;

/// An entry of a file or a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// Both hold it.
    Equal,
    /// Only the file does.
    Missing(Entry),
    /// Both hold the key, with different values.
    Other { file: Entry },
    /// Only the cluster does.
    Foreign(Entry),
}

type Read = Result<Entry, Error>;

/// Compares what a file holds with what a cluster does, both in the order of their keys. Ends after an error.
pub(super) fn merge(
    file: impl Iterator<Item = Read>,
    cluster: impl Iterator<Item = Read>,
) -> impl Iterator<Item = Result<Difference, Error>> {
    let (mut file, mut cluster) = (file.peekable(), cluster.peekable());
    let mut has_failed = false;
    std::iter::from_fn(move || {
        if has_failed {
            return None;
        }
        let order = match (file.peek(), cluster.peek()) {
            (None, None) => return None,
            (Some(Err(_)), _) | (_, None) => Ordering::Less,
            (_, Some(Err(_))) | (None, _) => Ordering::Greater,
            (Some(Ok(ours)), Some(Ok(theirs))) => ours.0.cmp(&theirs.0),
        };
        let difference = match order {
            Ordering::Less => file.next()?.map(Difference::Missing),
            Ordering::Greater => cluster.next()?.map(Difference::Foreign),
            Ordering::Equal => match (file.next()?, cluster.next()?) {
                (Ok(ours), Ok(theirs)) if ours.1 == theirs.1 => Ok(Difference::Equal),
                (Ok(file), Ok(_)) => Ok(Difference::Other { file }),
                (Err(error), _) | (_, Err(error)) => Err(error),
            },
        };
        has_failed = difference.is_err();
        Some(difference)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use parthood_protocols::state_machine::Bytes;

    fn entry(text: &str) -> Entry {
        let (key, value) = text.split_at(1);
        (Bytes::from(key), Bytes::from(value))
    }

    fn merged(file: &[&str], cluster: &[&str]) -> Vec<Difference> {
        let read = |text: &&str| Ok(entry(text));
        merge(file.iter().map(read), cluster.iter().map(read)).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn every_key_of_either_is_told_once() {
        use Difference::{Equal, Foreign, Missing, Other};
        assert_eq!(
            merged(&["a1", "c1", "d1", "f1"], &["b1", "c1", "d2", "e1"]),
            [
                Missing(entry("a1")),
                Foreign(entry("b1")),
                Equal,
                Other { file: entry("d1") },
                Foreign(entry("e1")),
                Missing(entry("f1")),
            ]
        );
        assert_eq!(merged(&[], &["a1"]), [Foreign(entry("a1"))]);
        assert_eq!(merged(&["a1"], &[]), [Missing(entry("a1"))]);
        assert_eq!(merged(&[], &[]), []);
    }

    #[test]
    fn an_error_on_either_side_ends_it() {
        let failing = || [Ok(entry("b1")), Err(Error::Usage("x".into())), Ok(entry("c1"))].into_iter();
        let some = || [Ok(entry("a1")), Ok(entry("d1"))].into_iter();
        let of_file: Vec<_> = merge(failing(), some()).collect();
        let of_cluster: Vec<_> = merge(some(), failing()).collect();
        for told in [of_file, of_cluster] {
            assert_eq!(told.len(), 3);
            assert!(told[2].is_err());
        }
    }
}
