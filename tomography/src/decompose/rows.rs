//! Blocks along the tilt axis: each worker has some rows and runs the solver on them.

use super::wire::{decode, encode};
use crate::comm::{Comm, decode_f64, encode_f64};
use crate::solve::Rows;
use crate::sum::tree_sum;
use crate::{Error, LANES, Result, Stack};
use std::ops::Range;

/// Cuts rows into `parts` ranges at whole slabs, as equal as can be. Fewer ranges if there are fewer slabs.
pub fn partition(rows: usize, parts: usize) -> Vec<Range<usize>> {
    let slabs = rows.div_ceil(LANES);
    let parts = parts.clamp(1, slabs.max(1));
    let border = |part: usize| (slabs * part / parts * LANES).min(rows);
    (0..parts).map(|part| border(part)..border(part + 1)).collect()
}

/// One worker's rows of a whole. Each rank has the range at its place in the partition; any cut will do.
#[derive(Debug)]
pub struct Part<C> {
    comm: C,
    ranges: Vec<Range<usize>>,
}

impl<C: Comm> Part<C> {
    /// The part of this rank.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless there is a range for each rank, and they follow each other without gap.
    pub fn new(comm: C, ranges: Vec<Range<usize>>) -> Result<Self> {
        let follow = ranges.windows(2).all(|pair| pair[0].end == pair[1].start);
        if ranges.len() != comm.size()
            || !follow
            || ranges.iter().any(Range::is_empty)
            || ranges[0].start != 0
        {
            let value = format!("{ranges:?}");
            return Err(Error::parameter(
                "partition of rows",
                value,
                "a range per worker, in order and without gap",
            ));
        }
        Ok(Self { comm, ranges })
    }

    /// The rows held here.
    pub fn range(&self) -> Range<usize> {
        self.ranges[self.comm.rank()].clone()
    }

    /// Brings all rows to rank 0, as one stack; nothing elsewhere.
    ///
    /// # Errors
    /// [`Error::Lost`] if a worker is gone.
    pub fn gather(&mut self, own: &Stack) -> Result<Option<Stack>> {
        let parts = self.comm.gather(encode(own))?;
        let total = self.ranges.last().map_or(0, |range| range.end);
        let mut whole = (self.comm.rank() == 0).then(|| Stack::zeros(own.shape().with_rows(total)));
        if let Some(whole) = &mut whole {
            for (rank, bytes) in parts.iter().enumerate() {
                whole.set_rows(self.ranges[rank].start, &decode(bytes, rank)?)?;
            }
        }
        Ok(whole)
    }
}

/// The rows within `reach` before and after a range, without those beyond the ends.
fn around(range: &Range<usize>, reach: usize, total: usize) -> [Range<usize>; 2] {
    [range.start.saturating_sub(reach)..range.start, range.end..(range.end + reach).min(total)]
}

fn common(left: &Range<usize>, right: &Range<usize>) -> Range<usize> {
    left.start.max(right.start)..left.end.min(right.end)
}

impl<C: Comm> Rows for Part<C> {
    fn sum(&mut self, leaves: &[f64]) -> Result<f64> {
        let parts = self.comm.gather(encode_f64(leaves))?;
        let mut all = Vec::new();
        for (rank, bytes) in parts.iter().enumerate() {
            all.extend(decode_f64(bytes, rank)?);
        }
        let sum = self.comm.broadcast(encode_f64(&[tree_sum(&all)]))?;
        decode_f64(&sum, 0)?.first().copied().ok_or(Error::Message { rank: 0, what: "no sum" })
    }

    fn beside(&mut self, own: &Stack, reach: usize) -> Result<[Option<Stack>; 2]> {
        let (rank, mine) = (self.comm.rank(), self.range());
        let total = self.ranges.last().map_or(0, |range| range.end);
        let others = || (0..self.ranges.len()).filter(|other| *other != rank);
        // Who needs rows of mine, and whose rows do I need: both from the partition, in the order of ranks.
        for other in others().collect::<Vec<_>>() {
            for wanted in around(&self.ranges[other], reach, total) {
                let rows = common(&wanted, &mine);
                if !rows.is_empty() {
                    let rows = own.rows(rows.start - mine.start..rows.end - mine.start)?;
                    self.comm.send(other, encode(&rows))?;
                }
            }
        }
        let mut sides = [None, None];
        for (side, wanted) in sides.iter_mut().zip(around(&mine, reach, total)) {
            if wanted.is_empty() {
                continue;
            }
            let mut rows = Stack::zeros(own.shape().with_rows(wanted.len()));
            for other in 0..self.ranges.len() {
                let part = common(&wanted, &self.ranges[other]);
                if other != rank && !part.is_empty() {
                    let received = decode(&self.comm.recv(other)?, other)?;
                    rows.set_rows(part.start - wanted.start, &received)?;
                }
            }
            *side = Some(rows);
        }
        Ok(sides)
    }
}
