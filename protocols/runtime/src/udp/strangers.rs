//! Who sends what cannot be heard, again and again: another cluster, or a process with another key.
//!
//! One damaged datagram of a peer is no stranger's, so it takes several in a row from one address.

use crate::Error;
use crate::wire::Refusal;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// So many datagrams in a row from one address are refused before anybody is told.
pub(super) const IN_A_ROW: u32 = 8;
/// The most addresses that are watched at a time.
const MAX_WATCHED: usize = 64;

/// Addresses from which nothing but what is refused has come.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    rows: BTreeMap<SocketAddr, u32>,
    told: BTreeSet<Refusal>,
}

impl Strangers {
    /// A good frame came from this address.
    pub(super) fn heard(&mut self, from: SocketAddr) {
        if !self.rows.is_empty() {
            self.rows.remove(&from);
        }
    }

    /// A datagram from this address was refused. What is to be said of it, once for each reason.
    pub(super) fn refused(&mut self, from: SocketAddr, why: Refusal) -> Option<Error> {
        let tells = matches!(why, Refusal::Version | Refusal::Cluster | Refusal::Forged);
        if !tells || self.told.contains(&why) {
            return None;
        }
        if self.rows.len() >= MAX_WATCHED && !self.rows.contains_key(&from) {
            return None;
        }
        let row = self.rows.entry(from).or_default();
        *row += 1;
        if *row < IN_A_ROW {
            return None;
        }
        self.rows.remove(&from);
        self.told.insert(why);
        Some(Error::Stranger { from, why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn damaged_datagrams_among_good_ones_are_no_strangers() {
        let mut strangers = Strangers::default();
        for _ in 0..100 {
            for _ in 1..IN_A_ROW {
                assert!(strangers.refused(address(1), Refusal::Forged).is_none());
            }
            strangers.heard(address(1));
        }
    }

    #[test]
    fn a_stranger_is_told_of_once_for_each_reason() {
        let mut strangers = Strangers::default();
        let mut told = |why| (0..100).filter_map(|_| strangers.refused(address(2), why)).count();
        assert_eq!([told(Refusal::Forged), told(Refusal::Version), told(Refusal::Magic)], [1, 1, 0]);
    }

    #[test]
    fn many_addresses_take_little_room() {
        let mut strangers = Strangers::default();
        for port in 0..10_000 {
            assert!(strangers.refused(address(port), Refusal::Forged).is_none());
        }
        assert_eq!(strangers.rows.len(), MAX_WATCHED);
    }
}
