//! Values that carry their own hash.
//!
//! A step changes one actor and a few messages of a state. Whatever a state shares with its predecessor is hashed
//! once, when it is made, and shared by reference afterwards.

use foldhash::quality::FixedState;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// Any fixed number: the same state has the same fingerprint in every run.
const SEED: u64 = 0x5061_7274_686f_6f64;

/// The hash of a value, the same in every run of one build.
pub(crate) fn hash_of<T: Hash + ?Sized>(value: &T) -> u64 {
    FixedState::with_seed(SEED).hash_one(value)
}

/// A shared value and its hash, computed once.
pub struct Hashed<T>(Arc<(u64, T)>);

impl<T: Hash> Hashed<T> {
    /// Hashes the value.
    pub fn new(value: T) -> Self {
        Self(Arc::new((hash_of(&value), value)))
    }
}

impl<T> Deref for Hashed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.1
    }
}

impl<T> Clone for Hashed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Hash for Hashed<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.0.0);
    }
}

/// Compares the values themselves, not only their hashes.
impl<T: PartialEq> PartialEq for Hashed<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.0 == other.0.0 && self.0.1 == other.0.1)
    }
}

impl<T: fmt::Debug> fmt::Debug for Hashed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.1.fmt(f)
    }
}
