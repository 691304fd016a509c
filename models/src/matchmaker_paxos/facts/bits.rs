//! Small sets.

/// A set of rounds, matchmakers, acceptors or replicas: a bit for each.
pub(super) type Bits = u8;

pub(super) fn has(bits: Bits, number: usize) -> bool {
    bits >> number & 1 == 1
}

pub(super) fn members(bits: Bits) -> impl Iterator<Item = usize> {
    (0..8).filter(move |number| has(bits, *number))
}

pub(super) fn size(bits: Bits) -> usize {
    bits.count_ones() as usize
}

/// Those at or above a number.
pub(super) fn from(bits: Bits, first: usize) -> Bits {
    bits >> first << first
}
