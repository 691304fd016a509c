//! The votes ever cast, as part of a ghost, and what Paxos promises of them.
//!
//! "Chosen" is a fact about these and not what some actor believes: a value is chosen in a slot when, in one round, a
//! write quorum of the slot's group voted for it.

use im::OrdMap;
use parthood_protocols::command::Value;
use parthood_protocols::durable::{Change, map_changes};
use parthood_protocols::ids::{Round, Slot};
use parthood_protocols::log::Vote;
use parthood_quorums::NodeSet;
use std::collections::BTreeMap;
use std::hash::Hash;

/// Who ever voted for what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Votes<C: Ord, R: Ord = Round>(BTreeMap<Cast<C, R>, NodeSet>);

/// What is voted for: a slot, a round and a value.
pub type Cast<C, R = Round> = (Slot, R, Value<C>);

/// What a step of one acceptor changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes<C, R = Round> {
    /// What it voted for and never before.
    pub cast: Vec<Cast<C, R>>,
    /// What it turns out never to have voted for: its crash undid the steps, and nobody had heard of them.
    pub undone: Vec<Cast<C, R>>,
}

impl<C, R> Changes<C, R> {
    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.cast.is_empty() && self.undone.is_empty()
    }
}

impl<C: Ord, R: Ord> Default for Votes<C, R> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<C: Ord + Clone + Hash, R: Copy + Ord + Default> Votes<C, R> {
    /// What a step changes. Votes for slots from `undone_from` on that are gone after it were never cast; where nothing
    /// can be undone, or an acceptor only forgets, there is no such slot.
    pub fn changes(
        &self,
        acceptor: usize,
        before: &OrdMap<Slot, Vote<C, R>>,
        after: &OrdMap<Slot, Vote<C, R>>,
        undone_from: Option<Slot>,
    ) -> Changes<C, R> {
        let mut changes = Changes { cast: vec![], undone: vec![] };
        for change in map_changes(before, after) {
            let (Change::Put(slot, _) | Change::Remove(slot)) = &change;
            if let Some(vote) = before.get(slot).filter(|_| undone_from.is_some_and(|from| *slot >= from)) {
                changes.undone.push((*slot, vote.vote_round, vote.vote_value.clone()));
            }
            if let Change::Put(slot, vote) = change {
                let key = (slot, vote.vote_round, vote.vote_value);
                if !self.0.get(&key).is_some_and(|voters| voters.contains(acceptor)) {
                    changes.cast.push(key);
                }
            }
        }
        changes
    }

    /// Records what a step changes.
    pub fn apply(&mut self, acceptor: usize, changes: Changes<C, R>) {
        for key in changes.undone {
            if let Some(voters) = self.0.get_mut(&key) {
                *voters = voters.without(acceptor);
                if voters.is_empty() {
                    self.0.remove(&key);
                }
            }
        }
        for key in changes.cast {
            self.0.entry(key).or_default().insert(acceptor);
        }
    }

    /// Records a vote that was cast, as its message says.
    pub fn record(&mut self, acceptor: usize, cast: Cast<C, R>) {
        self.0.entry(cast).or_default().insert(acceptor);
    }

    /// Everything that somebody voted for, and who did.
    pub fn cast(&self) -> impl Iterator<Item = (&Cast<C, R>, NodeSet)> {
        self.0.iter().map(|(cast, voters)| (cast, *voters))
    }

    /// Who voted for this.
    pub fn voters(&self, slot: Slot, round: R, value: &Value<C>) -> NodeSet {
        self.0.get(&(slot, round, value.clone())).copied().unwrap_or_default()
    }

    /// How many votes were cast.
    pub fn count(&self) -> usize {
        self.0.values().map(|voters| voters.len()).sum()
    }

    /// All values that somebody voted for.
    pub fn values(&self) -> impl Iterator<Item = &Value<C>> {
        self.0.keys().map(|(.., value)| value)
    }

    /// What was chosen, in the order of slots and rounds.
    pub fn chosen<'a>(
        &'a self,
        is_write_quorum: impl Fn(Slot, R, NodeSet) -> bool + 'a,
    ) -> impl Iterator<Item = (Slot, R, &'a Value<C>)> {
        let quorum = move |((slot, round, _), voters): &(&Cast<C, R>, &NodeSet)| {
            is_write_quorum(*slot, *round, **voters)
        };
        let chosen = self.0.iter().filter(quorum);
        chosen.map(|((slot, round, value), _)| (*slot, *round, value))
    }

    /// The votes for a slot, from this round on.
    fn from(&self, slot: Slot, round: R) -> impl Iterator<Item = (R, &Value<C>, NodeSet)> {
        let votes = self.0.range((slot, round, Value::Noop)..);
        let votes = votes.take_while(move |((other, ..), _)| *other == slot);
        votes.map(|((_, round, value), voters)| (*round, value, *voters))
    }

    /// What was chosen in a slot, once for each round.
    pub fn chosen_in(
        &self,
        slot: Slot,
        is_write_quorum: impl Fn(Slot, R, NodeSet) -> bool,
    ) -> impl Iterator<Item = &Value<C>> {
        let chosen = self.from(slot, R::default());
        chosen
            .filter(move |(round, _, voters)| is_write_quorum(slot, *round, *voters))
            .map(|(_, value, _)| value)
    }

    /// Was this value chosen in this slot?
    pub fn is_chosen(
        &self,
        slot: Slot,
        value: &Value<C>,
        is_write_quorum: impl Fn(Slot, R, NodeSet) -> bool,
    ) -> bool {
        self.chosen_in(slot, is_write_quorum).any(|chosen| chosen == value)
    }

    /// The slots of which something was chosen, and where they begin to have gaps if all below `first` were.
    pub fn chosen_slots(
        &self,
        first: Slot,
        is_write_quorum: impl Fn(Slot, R, NodeSet) -> bool,
    ) -> (Vec<Slot>, Slot) {
        let mut slots: Vec<Slot> = self.chosen(is_write_quorum).map(|(slot, ..)| slot).collect();
        slots.dedup();
        let known = slots.iter().skip_while(|slot| **slot < first);
        let gapless = (first.0..).map(Slot).zip(known).take_while(|(slot, chosen)| slot == *chosen).count();
        (slots, first.plus(gapless as u64))
    }

    /// S1: no two values in one slot and round.
    pub fn one_proposal_per_round(&self) -> bool {
        let mut last = None;
        self.0.keys().all(|(slot, round, _)| last.replace((slot, round)) != Some((slot, round)))
    }

    /// S2: no two values chosen in one slot.
    pub fn agree(&self, is_write_quorum: impl Fn(Slot, R, NodeSet) -> bool) -> bool {
        let mut last: Option<(Slot, &Value<C>)> = None;
        self.chosen(is_write_quorum).all(|(slot, _, value)| {
            let before = last.replace((slot, value));
            before.is_none_or(|(other, before)| other != slot || before == value)
        })
    }

    /// S11, the invariant that Paxos rests on: what was chosen is all that higher rounds propose.
    pub fn higher_rounds_propose_what_was_chosen(
        &self,
        is_write_quorum: impl Fn(Slot, R, NodeSet) -> bool,
    ) -> bool {
        self.chosen(is_write_quorum).all(|(slot, chosen_in, chosen)| {
            self.from(slot, chosen_in).all(|(round, value, _)| round == chosen_in || value == chosen)
        })
    }
}
