//! Where scans go on.
//!
//! Clients take a cursor for a number, and the store goes on behind a key. The latest cursors are remembered; one that is not,
//! or was given out by another gateway, is refused and never taken for another one.

use parthood_protocols::state_machine::Bytes;
use std::collections::VecDeque;

/// How many cursors are remembered.
const MAX_CURSORS: usize = 4096;

/// The cursors that were given out.
#[derive(Clone, Debug)]
pub struct Cursors {
    /// What tells them from those of others.
    tag: u64,
    /// The number of the oldest one that is remembered, from 1.
    first: u64,
    keys: VecDeque<Bytes>,
}

impl Cursors {
    /// None yet. The tag should be random.
    pub fn new(tag: u32) -> Self {
        Self { tag: u64::from(tag >> 1) << 32, first: 1, keys: VecDeque::new() }
    }

    /// Gives out a cursor that goes on behind this key.
    pub(crate) fn remember(&mut self, key: Bytes) -> u64 {
        if self.keys.len() == MAX_CURSORS {
            self.keys.pop_front();
            self.first += 1;
        }
        self.keys.push_back(key);
        let number = self.first + self.keys.len() as u64 - 1;
        self.tag | number & u64::from(u32::MAX)
    }

    /// The key behind which a cursor goes on.
    pub(crate) fn find(&self, cursor: u64) -> Option<&Bytes> {
        let low = u64::from(u32::MAX);
        let is_own = cursor & !low == self.tag;
        let behind = cursor.wrapping_sub(self.first) & low;
        self.keys.get(usize::try_from(behind).ok()?).filter(|_| is_own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_to_its_key_or_nowhere() {
        let (mut cursors, other) = (Cursors::new(7 << 8), Cursors::new(9 << 8));
        let key = |number: usize| Bytes::from(&number.to_string());
        let given: Vec<u64> = (0..2 * MAX_CURSORS).map(|number| cursors.remember(key(number))).collect();
        for (number, cursor) in given.iter().enumerate() {
            let expected = (number >= MAX_CURSORS).then(|| key(number));
            assert_eq!(cursors.find(*cursor), expected.as_ref());
            assert_eq!(other.find(*cursor), None);
        }
        assert_eq!(cursors.find(0), None);
    }
}
