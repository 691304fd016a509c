//! What is claimed of every protocol that chooses one value.

use crate::{Protocol, View};
use parthood_quorums::NodeSet;
use std::collections::{BTreeMap, BTreeSet};

/// A protocol that chooses one value. "Chosen" is a fact about the votes ever cast, and not what some actor believes.
pub(crate) trait OneValue: Protocol {
    /// Its rounds.
    type Round: Ord + 'static;
    /// What is chosen.
    type Value: Ord + 'static;

    /// What was chosen, and in which round.
    fn chosen<'a>(view: &View<'a, Self>) -> impl Iterator<Item = &'a (Self::Round, Self::Value)>;

    /// What proposers take for chosen.
    fn learned<'a>(view: &View<'a, Self>) -> impl Iterator<Item = &'a Self::Value>;

    /// What each client was told, or has found out.
    fn told<'a>(view: &View<'a, Self>) -> impl Iterator<Item = Option<&'a Self::Value>>;
}

/// What was chosen, and in which round.
pub(crate) fn chosen<'a, P: OneValue>(view: &View<'a, P>) -> impl Iterator<Item = &'a (P::Round, P::Value)> {
    P::chosen(view)
}

/// I1 of the matchmaker notes, S2 of the compartmentalization notes.
pub(crate) fn agreement<P: OneValue>(view: &View<'_, P>) -> bool {
    all_equal(chosen(view).map(|(_, value)| value))
}

/// S3.
pub(crate) fn learned_implies_chosen<P: OneValue>(view: &View<'_, P>) -> bool {
    let mut known = P::learned(view).chain(P::told(view).flatten());
    known.all(|value| chosen(view).any(|(_, chosen)| chosen == value))
}

/// S4, for what a single decree has instead of logs.
pub(crate) fn clients_agree<P: OneValue>(view: &View<'_, P>) -> bool {
    all_equal(P::told(view).flatten())
}

/// L1.
pub(crate) fn every_client_is_told<P: OneValue>(view: &View<'_, P>) -> bool {
    P::told(view).all(|value| value.is_some())
}

fn all_equal<'a, V: Eq + 'a>(mut values: impl Iterator<Item = &'a V>) -> bool {
    values.next().is_none_or(|first| values.all(|value| value == first))
}

/// I4 and S1, of proposals and not only of votes.
pub(crate) fn one_proposal_per_round<R: Ord, V>(proposed: &BTreeSet<(R, V)>) -> bool {
    let mut last = None;
    proposed.iter().all(|(round, _)| last.replace(round) != Some(round))
}

/// Takes a vote back that an acceptor has forgotten and told nobody of: it is none.
pub(crate) fn take_back<T: Ord>(cast: &mut BTreeMap<T, NodeSet>, acceptor: usize, vote: &T) {
    if let Some(voters) = cast.get_mut(vote) {
        *voters = voters.without(acceptor);
    }
    cast.retain(|_, voters| !voters.is_empty());
}
