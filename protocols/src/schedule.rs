//! Which quorum to contact when one is enough: a fixed rotation.
//!
//! A thrifty sender contacts one quorum instead of everybody. The papers draw it at random; here quorums take turns, each
//! as often as its weight says and as evenly spread as possible, so that measured loads equal the predicted ones, models
//! are finite and replay is exact. Whoever retransmits contacts everybody.

use parthood_quorums::NodeSet;
use std::sync::Arc;

/// An order in which quorums take turns; an empty one stands for contacting everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule(Arc<[NodeSet]>);

impl Schedule {
    /// Contact everybody.
    pub fn everyone() -> Self {
        Self::default()
    }

    /// Each quorum once, in this order.
    pub fn rotation(quorums: impl IntoIterator<Item = NodeSet>) -> Self {
        Self(quorums.into_iter().collect())
    }

    /// Each quorum as often as its weight, spread evenly: at every turn, the one that is furthest behind its share.
    pub fn weighted(quorums: &[(NodeSet, u32)]) -> Self {
        let total: i64 = quorums.iter().map(|(_, weight)| i64::from(*weight)).sum();
        let mut due = vec![0_i64; quorums.len()];
        let turn = |_| {
            for (due, (_, weight)) in due.iter_mut().zip(quorums) {
                *due += i64::from(*weight);
            }
            let (next, _) = due.iter().enumerate().rev().max_by_key(|(_, due)| **due)?;
            due[next] -= total;
            Some(quorums[next].0)
        };
        Self((0..total).filter_map(turn).collect())
    }

    /// The same for shares that sum to 1, such as a strategy's probabilities, in a rotation of `turns` turns. A share that is
    /// no multiple of `1/turns` is rounded so that all turns are given away (largest remainders first).
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of the turns lies between zero and the number of turns"
    )]
    pub fn shares(quorums: &[(NodeSet, f64)], turns: u32) -> Self {
        let exact = |share: f64| share.clamp(0.0, 1.0) * f64::from(turns);
        let mut weights: Vec<(NodeSet, u32)> =
            quorums.iter().map(|(set, share)| (*set, (exact(*share) + 1e-9).floor() as u32)).collect();
        let given: u32 = weights.iter().map(|(_, weight)| weight).sum();
        let rest = |at: usize| exact(quorums[at].1) - f64::from(weights[at].1);
        let mut order: Vec<usize> = (0..quorums.len()).collect();
        order.sort_by(|a, b| rest(*b).total_cmp(&rest(*a)));
        for at in order.into_iter().take(turns.saturating_sub(given) as usize) {
            weights[at].1 += 1;
        }
        Self::weighted(&weights)
    }

    /// Whose turn it is the `number`-th time; none for everybody.
    pub fn pick(&self, number: u64) -> Option<NodeSet> {
        let turn = number.checked_rem(self.0.len() as u64)?;
        self.0.get(usize::try_from(turn).ok()?).copied()
    }

    /// The quorums in their order.
    pub fn quorums(&self) -> &[NodeSet] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_quorum_comes_as_often_as_its_weight_and_never_a_turn_early_or_late(
            weights in proptest::collection::vec(0..6_u32, 1..5)
        ) {
            let quorums: Vec<_> = weights.iter().enumerate().map(|(node, w)| (NodeSet::single(node), *w)).collect();
            let schedule = Schedule::weighted(&quorums);
            let total: u32 = weights.iter().sum();
            prop_assert_eq!(schedule.quorums().len(), total as usize);
            for (set, weight) in quorums {
                let mut seen = 0_i64;
                for turn in 1..=i64::from(total) {
                    let picked = schedule.pick(turn.unsigned_abs() - 1);
                    seen += i64::from(picked == Some(set));
                    // Within less than the number of quorums of its exact share at every moment.
                    let exact = turn * i64::from(weight);
                    prop_assert!((seen * i64::from(total) - exact).abs() < 5 * i64::from(total));
                }
                prop_assert_eq!(seen, i64::from(weight));
            }
        }
    }

    #[test]
    fn shares_become_turns() {
        let (a, b, c) = (NodeSet::single(0), NodeSet::single(1), NodeSet::single(2));
        let schedule = Schedule::shares(&[(a, 0.5), (b, 0.3), (c, 0.2)], 10);
        let count = |set| schedule.quorums().iter().filter(|other| **other == set).count();
        assert_eq!((count(a), count(b), count(c)), (5, 3, 2));
        let thirds = Schedule::shares(&[(a, 1.0 / 3.0), (b, 1.0 / 3.0), (c, 1.0 / 3.0)], 10);
        assert_eq!(thirds.quorums().len(), 10);
    }

    #[test]
    fn an_empty_schedule_contacts_everybody() {
        assert_eq!(Schedule::everyone().pick(7), None);
    }
}
