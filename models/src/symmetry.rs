//! Symmetry by sorted signatures, inside the fingerprint.
//!
//! Acceptors that obey the same rules may change places: a run and the run with two of them exchanged satisfy the
//! same properties. An engine only looks at fingerprints, so it is enough that such states have one fingerprint: a
//! state is taken apart into what it says about nobody in particular and, for each member of a class, a *signature*
//! of everything said about that member. The fingerprint covers the former and the sorted signatures. States
//! stay concrete, so counterexamples need no translation back, and it costs no more than plain hashing.
//!
//! Exact if members never refer to each other. If a member of one class could refer to a member of another, sorting
//! each class by itself would confuse states that differ in who refers to whom; [`Parts`] refuses that.

use crate::fingerprint::hash_of;
use crate::index;
use stateright::actor::Id;
use std::hash::Hash;

/// Members that may change places. A member is one actor, or several in a fixed order, such as a row of a grid.
pub type Class = Vec<Vec<Id>>;

/// Where in a class an actor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    class: usize,
    member: usize,
    position: usize,
}

/// The classes of a system, by actor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    places: Vec<Option<Place>>,
    /// How many members each class has.
    sizes: Vec<usize>,
}

impl Classes {
    pub(crate) fn new(actors: usize, classes: &[Class]) -> Self {
        let mut places = vec![None; actors];
        for (class, members) in classes.iter().enumerate() {
            for (member, ids) in members.iter().enumerate() {
                assert_eq!(ids.len(), members[0].len(), "members of a class have equally many actors");
                for (position, &id) in ids.iter().enumerate() {
                    assert!(places[index(id)].is_none(), "actor {} stands in two places", index(id));
                    places[index(id)] = Some(Place { class, member, position });
                }
            }
        }
        Self { places, sizes: classes.iter().map(Vec::len).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }
}

/// A state, taken apart.
#[derive(Debug)]
pub struct Parts<'a> {
    classes: &'a Classes,
    /// Who speaks: an actor, or nobody.
    holder: Option<Id>,
    /// What kind of thing is said, so that equal words in different places differ.
    topic: u64,
    rest: u64,
    /// What is said about each actor that is a member of a class.
    about: Vec<u64>,
}

impl<'a> Parts<'a> {
    pub(crate) fn new(classes: &'a Classes) -> Self {
        Self { classes, holder: None, topic: 0, rest: 0, about: vec![0; classes.places.len()] }
    }

    /// What follows is said by `holder`, as part of `topic`.
    pub(crate) fn says(&mut self, holder: Option<Id>, topic: u64) {
        (self.holder, self.topic) = (holder, topic);
    }

    fn place(&self, id: Id) -> Option<Place> {
        self.classes.places.get(index(id)).copied().flatten()
    }

    /// Adds what the holder says about itself or about nobody: to its signature if it is a member of a class.
    pub fn own<T: Hash + ?Sized>(&mut self, item: &T) {
        match self.holder {
            Some(id) => self.about(id, item),
            None => self.rest(item),
        }
    }

    /// Adds what is said about nobody in particular. Calls count in their order.
    pub fn rest<T: Hash + ?Sized>(&mut self, item: &T) {
        self.rest = hash_of(&(self.rest, self.holder, self.topic, hash_of(item)));
    }

    /// Adds what is said about one actor. The order of calls does not count, so an item must say what it is.
    ///
    /// # Panics
    /// When a member of a class speaks about another member of any class: see the module's essay.
    pub fn about<T: Hash + ?Sized>(&mut self, id: Id, item: &T) {
        if self.place(id).is_none() {
            return self.rest(&(id, hash_of(item)));
        }
        let speaker = match self.holder {
            Some(holder) if holder == id => None,
            Some(holder) => {
                assert!(
                    self.place(holder).is_none(),
                    "actors {} and {} are both members of classes; one must not refer to the other",
                    index(holder),
                    index(id)
                );
                Some(holder)
            }
            None => None,
        };
        let said = hash_of(&(speaker, self.holder.is_some(), self.topic, hash_of(item)));
        let about = &mut self.about[index(id)];
        *about = about.wrapping_add(said);
    }

    /// Adds a message in flight; between actors outside of all classes, in the order of calls.
    pub(crate) fn message(&mut self, src: Id, dst: Id, payload: u64) {
        match (self.place(src), self.place(dst)) {
            (None, None) => {
                self.says(None, topic::BETWEEN);
                self.rest(&(src, dst, payload));
            }
            (Some(_), None) => {
                self.says(Some(dst), topic::FROM);
                self.about(src, &payload);
            }
            (None, Some(_)) => {
                self.says(Some(src), topic::TO);
                self.about(dst, &payload);
            }
            (Some(_), Some(_)) => {
                assert_eq!(src, dst, "members of classes must not write to each other");
                self.says(Some(src), topic::TO);
                self.about(src, &payload);
            }
        }
    }

    /// The fingerprint: what was said about nobody, and the sorted signatures of each class.
    pub(crate) fn finish(self) -> u64 {
        let mut signatures: Vec<Vec<u64>> = self.classes.sizes.iter().map(|&size| vec![0; size]).collect();
        for (place, about) in self.classes.places.iter().zip(&self.about) {
            if let Some(place) = place {
                let signature = &mut signatures[place.class][place.member];
                *signature = signature.wrapping_add(hash_of(&(place.position, about)));
            }
        }
        for class in &mut signatures {
            class.sort_unstable();
        }
        hash_of(&(self.rest, signatures))
    }
}

/// What kinds of things are said.
pub(crate) mod topic {
    pub(crate) const STATE: u64 = 1;
    pub(crate) const STORAGE: u64 = 2;
    pub(crate) const TIMER: u64 = 3;
    pub(crate) const CHOICE: u64 = 4;
    pub(crate) const GHOST: u64 = 5;
    pub(crate) const COUNTERS: u64 = 6;
    pub(crate) const FROM: u64 = 7;
    pub(crate) const TO: u64 = 8;
    pub(crate) const BETWEEN: u64 = 9;
}
