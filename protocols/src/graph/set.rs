//! Numbered vertices, and sets of them as ranges of numbers.
//!
//! Each of several leaders numbers its vertices 0, 1, 2 and so on. What was executed, and what a command depends on, are
//! then nearly contiguous for each leader, and a set takes room for its gaps and not for its members. A set has one
//! representation, so that equal sets are equal, hash alike and travel as the same bytes.

use super::Vertices;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// A vertex: the leader that numbered it, and the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VertexId {
    /// The leader's index.
    pub leader: u32,
    /// The number that the leader gave it.
    pub id: u64,
}

impl fmt::Debug for VertexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}", self.leader, self.id)
    }
}

/// The most leaders that a set can have members of.
const COLUMNS_MAX: usize = 128;

/// A set of vertices: for each leader, ranges of numbers.
///
/// A copy shares the ranges until either is changed: maps of what was proposed, whose nodes are copied, hold many sets.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "Vec<Vec<(u64, u64)>>")]
pub struct VertexSet {
    /// By leader; the last is not empty. None if there is no member.
    columns: Option<Arc<Vec<Ids>>>,
}

/// A set of numbers, as ranges from the first to before the second: ascending, not empty, not touching.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Ids(Vec<(u64, u64)>);

impl Ids {
    /// Is the number a member?
    pub fn contains(&self, id: u64) -> bool {
        self.range(id).is_some()
    }

    /// Makes a number a member.
    pub fn insert(&mut self, id: u64) {
        self.add(id, id.saturating_add(1));
    }

    /// The number of ranges: what its size follows.
    pub fn ranges(&self) -> usize {
        self.0.len()
    }

    /// The place of the first range that ends at or after `id`.
    fn place(&self, id: u64) -> usize {
        self.0.partition_point(|(_, end)| *end < id)
    }

    /// The range that `id` is in.
    fn range(&self, id: u64) -> Option<(u64, u64)> {
        let at = self.0.partition_point(|(_, end)| *end <= id);
        self.0.get(at).copied().filter(|(from, _)| *from <= id)
    }

    /// Adds the numbers from `from` to before `end`.
    fn add(&mut self, from: u64, end: u64) {
        let first = self.place(from);
        let touching = self.0[first..].iter().take_while(|(other, _)| *other <= end).count();
        if touching == 0 {
            return self.0.insert(first, (from, end));
        }
        let last = self.0[first + touching - 1].1;
        self.0[first] = (from.min(self.0[first].0), end.max(last));
        self.0.drain(first + 1..first + touching);
    }

    fn remove(&mut self, id: u64) {
        let Some((from, end)) = self.range(id) else { return };
        let at = self.0.partition_point(|(_, end)| *end <= id);
        let rest = [(from, id), (id + 1, end)];
        self.0.splice(at..=at, rest.into_iter().filter(|(from, end)| from < end));
    }

    /// The smallest member from `from` on that is no member of `other`.
    fn next_outside(&self, other: &Self, from: u64) -> Option<u64> {
        let mut at = self.0.partition_point(|(_, end)| *end <= from);
        let mut id = from;
        while let Some((start, end)) = self.0.get(at) {
            id = id.max(*start);
            if id >= *end {
                at += 1;
            } else if let Some((_, covered)) = other.range(id) {
                id = covered;
            } else {
                return Some(id);
            }
        }
        None
    }

    /// The largest member that is no member of `other`.
    fn last_outside(&self, other: &Self) -> Option<u64> {
        self.0.iter().rev().find_map(|(from, end)| {
            let mut id = end - 1;
            while let Some((covered, _)) = other.range(id) {
                if covered <= *from {
                    return None;
                }
                id = covered - 1;
            }
            Some(id)
        })
    }

    /// Adds everything below its `count`-th largest member.
    fn fill_below_top(&mut self, count: u64) {
        let mut left = count.max(1);
        for (from, end) in self.0.iter().rev() {
            if end - from >= left {
                let below = end - left;
                return self.add(0, below + 1);
            }
            left -= end - from;
        }
    }
}

impl VertexSet {
    /// No vertices.
    pub const EMPTY: Self = Self { columns: None };

    /// For each leader, all numbers below one.
    pub fn below(ends: impl IntoIterator<Item = u64>) -> Self {
        let column = |end| if end > 0 { Ids(vec![(0, end)]) } else { Ids::default() };
        Self::of(ends.into_iter().map(column).collect())
    }

    /// The set with these members by leader, of which the last may have none.
    fn of(mut columns: Vec<Ids>) -> Self {
        while columns.last().is_some_and(|column| column.0.is_empty()) {
            columns.pop();
        }
        Self { columns: (!columns.is_empty()).then(|| Arc::new(columns)) }
    }

    fn columns(&self) -> &[Ids] {
        self.columns.as_deref().map_or(&[], Vec::as_slice)
    }

    fn column(&self, leader: u32) -> Option<&Ids> {
        self.columns().get(leader as usize)
    }

    /// The number of members.
    pub fn len(&self) -> u64 {
        self.columns().iter().flat_map(|column| &column.0).map(|(from, end)| end - from).sum()
    }

    /// Has it no member?
    pub fn is_empty(&self) -> bool {
        self.columns.is_none()
    }

    /// Makes a vertex no member.
    pub fn remove(&mut self, vertex: VertexId) {
        if self.contains(vertex)
            && let Some(columns) = &mut self.columns
        {
            let mut columns = std::mem::take(Arc::make_mut(columns));
            columns[vertex.leader as usize].remove(vertex.id);
            *self = Self::of(columns);
        }
    }

    /// Makes all vertices of a leader from `from` to before `end` members.
    pub fn insert_range(&mut self, leader: u32, from: u64, end: u64) {
        let at = leader as usize;
        if from < end && at < COLUMNS_MAX {
            let columns = Arc::make_mut(self.columns.get_or_insert_default());
            if columns.len() <= at {
                columns.resize(at + 1, Ids::default());
            }
            columns[at].add(from, end);
        }
    }

    /// Adds, for each leader, everything below its `count`-th largest member: of all its members only the `count` largest
    /// need then be remembered.
    pub fn fill_below_top(&mut self, count: u64) {
        for column in self.columns.iter_mut().flat_map(Arc::make_mut) {
            column.fill_below_top(count);
        }
    }

    /// How many leaders it may have members of.
    pub fn leaders(&self) -> u32 {
        u32::try_from(self.columns().len()).unwrap_or(u32::MAX)
    }

    /// The smallest number of a leader that is no member: all below are.
    pub fn frontier(&self, leader: u32) -> u64 {
        match self.column(leader).and_then(|column| column.0.first()) {
            Some((0, end)) => *end,
            _ => 0,
        }
    }

    /// One more than the largest number of a leader that is a member, or 0.
    pub fn end(&self, leader: u32) -> u64 {
        self.column(leader).and_then(|column| column.0.last()).map_or(0, |(_, end)| *end)
    }

    /// For each leader, the members below the smallest number that is none.
    #[must_use]
    pub fn prefix(&self) -> Self {
        Self::below((0..self.leaders()).map(|leader| self.frontier(leader)))
    }

    /// For each leader, all numbers up to its largest member.
    #[must_use]
    pub fn filled(&self) -> Self {
        Self::below((0..self.leaders()).map(|leader| self.end(leader)))
    }

    /// The number of ranges: what its size follows.
    pub fn ranges(&self) -> usize {
        self.columns().iter().map(Ids::ranges).sum()
    }

    /// The same, with at most so many ranges for each leader: the later ones are left out.
    #[must_use]
    pub fn with_ranges(&self, most: usize) -> Self {
        let column = |ids: &Ids| Ids(ids.0.iter().take(most).copied().collect());
        Self::of(self.columns().iter().map(column).collect())
    }

    /// The members that are no members of `other`, ascending.
    pub fn outside<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = VertexId> + 'a {
        let next = move |last: &VertexId| self.next_outside(other, Some(*last));
        std::iter::successors(self.next_outside(other, None), next)
    }

    /// The members, ascending.
    pub fn iter(&self) -> impl Iterator<Item = VertexId> {
        (0_u32..).zip(self.columns()).flat_map(|(leader, column)| {
            column.0.iter().flat_map(move |(from, end)| (*from..*end).map(move |id| VertexId { leader, id }))
        })
    }

    /// Are all its members members of `other`?
    pub fn is_subset(&self, other: &Self) -> bool {
        self.next_outside(other, None).is_none()
    }
}

impl Vertices for VertexSet {
    type Vertex = VertexId;

    fn contains(&self, vertex: VertexId) -> bool {
        self.column(vertex.leader).is_some_and(|column| column.range(vertex.id).is_some())
    }

    fn insert(&mut self, vertex: VertexId) {
        self.insert_range(vertex.leader, vertex.id, vertex.id.saturating_add(1));
    }

    fn next_outside(&self, other: &Self, after: Option<VertexId>) -> Option<VertexId> {
        let (first, mut from) = match after {
            Some(VertexId { leader, id }) => (leader, id.checked_add(1)),
            None => (0, Some(0)),
        };
        for leader in first..self.leaders() {
            let none = Ids::default();
            if let (Some(column), Some(from)) = (self.column(leader), from)
                && let Some(id) = column.next_outside(other.column(leader).unwrap_or(&none), from)
            {
                return Some(VertexId { leader, id });
            }
            from = Some(0);
        }
        None
    }

    fn last_outside(&self, other: &Self) -> Option<VertexId> {
        let none = Ids::default();
        let columns = (0..self.leaders()).rev().filter_map(|leader| Some((leader, self.column(leader)?)));
        columns.into_iter().find_map(|(leader, column)| {
            let id = column.last_outside(other.column(leader).unwrap_or(&none))?;
            Some(VertexId { leader, id })
        })
    }

    fn add_all(&mut self, other: &Self) {
        if self.is_empty() {
            return self.clone_from(other);
        }
        for (leader, column) in (0_u32..).zip(other.columns()) {
            for (from, end) in &column.0 {
                self.insert_range(leader, *from, *end);
            }
        }
    }
}

impl FromIterator<VertexId> for VertexSet {
    fn from_iter<I: IntoIterator<Item = VertexId>>(vertices: I) -> Self {
        let mut set = Self::EMPTY;
        vertices.into_iter().for_each(|vertex| set.insert(vertex));
        set
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(from, end)| *from..*end)).finish()
    }
}

impl fmt::Debug for VertexSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut set = f.debug_set();
        for (leader, column) in self.columns().iter().enumerate() {
            for (from, end) in &column.0 {
                match end - from {
                    1 => set.entry(&format_args!("v{leader}.{from}")),
                    _ => set.entry(&format_args!("v{leader}.{from}..{end}")),
                };
            }
        }
        set.finish()
    }
}

/// Something written that is no set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a set is written as ascending ranges that are not empty and do not touch, for at most {COLUMNS_MAX} leaders"
)]
pub struct NotASet;

impl TryFrom<Vec<(u64, u64)>> for Ids {
    type Error = NotASet;

    fn try_from(ranges: Vec<(u64, u64)>) -> Result<Self, NotASet> {
        let apart = ranges.windows(2).all(|pair| pair[0].1 < pair[1].0);
        let filled = ranges.iter().all(|(from, end)| from < end);
        if apart && filled { Ok(Self(ranges)) } else { Err(NotASet) }
    }
}

impl From<Ids> for Vec<(u64, u64)> {
    fn from(ids: Ids) -> Self {
        ids.0
    }
}

impl TryFrom<Vec<Vec<(u64, u64)>>> for VertexSet {
    type Error = NotASet;

    fn try_from(columns: Vec<Vec<(u64, u64)>>) -> Result<Self, NotASet> {
        let trimmed = columns.last().is_none_or(|column| !column.is_empty());
        if columns.len() > COLUMNS_MAX || !trimmed {
            return Err(NotASet);
        }
        Ok(Self::of(columns.into_iter().map(Ids::try_from).collect::<Result<_, _>>()?))
    }
}

impl Serialize for VertexSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.columns().iter().map(|column| &column.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    type Plain = BTreeSet<VertexId>;

    fn vertices() -> impl Strategy<Value = Plain> {
        btree_set((0..3_u32, 0..12_u64), 0..24)
            .prop_map(|set| set.into_iter().map(|(leader, id)| VertexId { leader, id }).collect())
    }

    fn set(plain: &Plain) -> VertexSet {
        plain.iter().copied().collect()
    }

    proptest! {
        #[test]
        fn a_set_of_ranges_is_the_set_of_its_members(a in vertices(), b in vertices(), pick in (0..3_u32, 0..12_u64)) {
            let vertex = VertexId { leader: pick.0, id: pick.1 };
            let ranges = set(&a);
            prop_assert_eq!(ranges.iter().collect::<Plain>(), a.clone());
            prop_assert_eq!(ranges.contains(vertex), a.contains(&vertex));
            for after in [None, Some(vertex)] {
                prop_assert_eq!(ranges.next_outside(&set(&b), after), Vertices::next_outside(&a, &b, after));
            }
            prop_assert_eq!(ranges.last_outside(&set(&b)), Vertices::last_outside(&a, &b));
            prop_assert_eq!(ranges.outside(&set(&b)).collect::<Plain>(), a.difference(&b).copied().collect::<Plain>());
            let mut union = ranges.clone();
            union.add_all(&set(&b));
            prop_assert_eq!(union, set(&a.union(&b).copied().collect()));
            let (mut without, mut rest) = (ranges.clone(), a.clone());
            without.remove(vertex);
            rest.remove(&vertex);
            prop_assert_eq!(without, set(&rest));
            prop_assert_eq!(ranges.is_subset(&set(&b)), a.is_subset(&b));
            for leader in 0..3 {
                let ids: Vec<u64> = a.iter().filter(|v| v.leader == leader).map(|v| v.id).collect();
                let prefix = ids.iter().zip(0..).take_while(|(id, at)| **id == *at).count() as u64;
                prop_assert_eq!(ranges.frontier(leader), prefix);
                prop_assert_eq!(ranges.end(leader), ids.last().map_or(0, |id| id + 1));
            }
        }

        #[test]
        fn remembering_the_largest_members_only_adds_members(order in vec((0..3_u32, 0..12_u64), 0..24), count in 1..4_u64) {
            let order: Vec<_> = order.into_iter().map(|(leader, id)| VertexId { leader, id }).collect();
            let plain: Plain = order.iter().copied().collect();
            let mut filled = VertexSet::EMPTY;
            for vertex in order {
                filled.insert(vertex);
                filled.fill_below_top(count);
            }
            let expected = |v: &VertexId| {
                let larger = plain.iter().filter(|other| other.leader == v.leader && other.id > v.id).count() as u64;
                plain.contains(v) || larger >= count
            };
            let all = (0..3).flat_map(|leader| (0..12).map(move |id| VertexId { leader, id }));
            prop_assert_eq!(filled, all.filter(expected).collect());
        }

        #[test]
        fn what_is_written_is_read_and_nothing_else(columns in vec(vec((0..9_u64, 0..9_u64), 0..3), 0..3)) {
            let written = |set: &VertexSet| {
                postcard::from_bytes::<Vec<Vec<(u64, u64)>>>(&postcard::to_stdvec(set).unwrap()).unwrap()
            };
            if let Ok(set) = VertexSet::try_from(columns.clone()) {
                prop_assert_eq!(written(&set), columns);
                prop_assert_eq!(set.iter().collect::<VertexSet>(), set);
            } else {
                let members = columns.iter().zip(0..).flat_map(|(ids, leader)| {
                    ids.iter().flat_map(move |(from, end)| (*from..*end).map(move |id| VertexId { leader, id }))
                });
                prop_assert_ne!(written(&members.collect()), columns);
            }
        }
    }
}
