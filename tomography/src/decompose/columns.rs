//! Blocks across the tilt axis: partial projections, added in canonical order.
//!
//! A ray crosses many columns, so crops along x are no decomposition. The projections themselves are: those of a volume
//! are the sum of those of its columns. [`Blocked`] is the projector that computes exactly this, block by block, and adds
//! by the tree over the blocks' index: it *is* the whole. [`Columns`] computes the same sums with the blocks at workers.
//! Back projection needs no sum: each block's voxels see all images.
//!
//! Blocks travel with their task and results come back, so a task can be done by anyone, again, and late.

use super::pool::{Pool, serve};
use super::wire::{decode, encode};
use crate::comm::Comm;
use crate::project::{Joseph, Projector, check};
use crate::sum::tree_fold;
use crate::{Error, Projections, Result, Stack, Tilt, Volume};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

const PROJECT: u8 = 0;
const BACK_PROJECT: u8 = 1;

/// Joseph's projector as the canonical sum over blocks of columns.
#[derive(Debug, Clone)]
pub struct Blocked {
    whole: [[usize; 2]; 2],
    parts: Vec<(Range<usize>, Joseph)>,
}

impl Blocked {
    /// The projector of [`Joseph::new`] in blocks of `width` columns. The last block is what remains, and takes one
    /// column more where one alone would remain.
    ///
    /// # Errors
    /// As [`Joseph::new`]; [`Error::Parameter`] for a width below 2.
    pub fn new(planes: usize, columns: usize, pixels: usize, tilts: &[Tilt], width: usize) -> Result<Self> {
        if width < 2 {
            return Err(Error::parameter("width of a block", width, "at least 2 columns"));
        }
        let count = (columns / width + usize::from(columns % width > 1)).max(1);
        let part = |block: usize| {
            let end = if block + 1 == count { columns } else { (block + 1) * width };
            let range = block * width..end;
            Ok((range.clone(), Joseph::columns_of(planes, columns, range, pixels, tilts)?))
        };
        let parts = (0..count).map(part).collect::<Result<_>>()?;
        Ok(Self { whole: [[planes, columns], [tilts.len(), pixels]], parts })
    }

    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        self.parts.len()
    }

    /// The columns of each block.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.parts.iter().map(|(range, _)| range.clone())
    }

    /// The projections of one block of a volume.
    fn partial(&self, block: usize, piece: &Volume) -> Result<Projections> {
        let mut images = Stack::zeros(self.image_shape(piece.shape().rows));
        self.parts[block].1.project(piece, &mut images)?;
        Ok(images)
    }

    /// The back projection onto one block.
    fn back(&self, block: usize, images: &Projections) -> Result<Volume> {
        let joseph = &self.parts[block].1;
        let mut piece = Stack::zeros(joseph.volume_shape(images.shape().rows));
        joseph.back_project(images, &mut piece)?;
        Ok(piece)
    }
}

fn add(left: &mut Stack, right: &Stack) {
    left.update([right], |left, [right]| left + right);
}

/// Adds partial projections by the canonical tree.
fn add_all(partials: impl IntoIterator<Item = Result<Projections>>, images: &mut Projections) -> Result<()> {
    if let Some(sum) = tree_fold(partials, add)? {
        sum.check_shape("partial projections", images.shape())?;
        *images = sum;
    }
    Ok(())
}

impl Projector for Blocked {
    fn volume_plane(&self) -> [usize; 2] {
        self.whole[0]
    }

    fn image_plane(&self) -> [usize; 2] {
        self.whole[1]
    }

    fn project(&self, volume: &Volume, images: &mut Projections) -> Result<()> {
        check(self, volume, images)?;
        let partial = |block| self.partial(block, &volume.columns(self.parts[block].0.clone())?);
        add_all((0..self.blocks()).map(partial), images)
    }

    fn back_project(&self, images: &Projections, volume: &mut Volume) -> Result<()> {
        check(self, volume, images)?;
        for (block, (range, _)) in self.parts.iter().enumerate() {
            volume.set_columns(range.start, &self.back(block, images)?)?;
        }
        Ok(())
    }
}

/// The projector [`Blocked`] with its blocks at the workers of a pool.
///
/// Equal to it in every bit, for any number of workers, any assignment, any order of arrival, and through the loss of
/// workers as long as one is left.
#[derive(Debug)]
pub struct Columns<'a, C: Comm> {
    blocked: &'a Blocked,
    pool: Mutex<Pool<C>>,
    /// The block that a worker should do as its turn-th.
    wish: fn(usize, usize) -> Option<usize>,
}

impl<'a, C: Comm> Columns<'a, C> {
    /// The projector of a coordinator. The workers run [`serve_columns`] with an equal `blocked`. `wish(worker, turn)` is
    /// the block that a worker should do as its `turn`-th in each projection, if it is free.
    ///
    /// # Errors
    /// As [`Pool::new`].
    pub fn new(blocked: &'a Blocked, comm: C, wish: fn(usize, usize) -> Option<usize>) -> Result<Self> {
        Ok(Self { blocked, pool: Mutex::new(Pool::new(comm)?), wish })
    }

    fn run(&self, tasks: &[Vec<u8>]) -> Result<Vec<Stack>> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.run(tasks, &self.wish)?.iter().map(|bytes| decode(bytes, 0)).collect()
    }

    fn partials(&self, volume: &Volume) -> Result<Vec<Projections>> {
        let task = |(block, range)| Ok(task(PROJECT, block, &volume.columns(range)?));
        self.run(&self.blocked.ranges().enumerate().map(task).collect::<Result<Vec<_>>>()?)
    }

    /// The projections, with the blocks' parts added one by one in the order given, such as that of their arrival. Within
    /// [`order_bound`] of those in canonical order, and not equal to them.
    ///
    /// # Errors
    /// As [`Projector::project`]; [`Error::Parameter`] unless each block is named once.
    pub fn project_in_order(&self, volume: &Volume, images: &mut Projections, order: &[usize]) -> Result<()> {
        check(self, volume, images)?;
        let mut named = order.to_vec();
        named.sort_unstable();
        if !named.into_iter().eq(0..self.blocked.blocks()) {
            return Err(Error::parameter("order of blocks", format!("{order:?}"), "each block once"));
        }
        let partials = self.partials(volume)?;
        images.clear();
        for block in order {
            images.update([&partials[*block]], |sum, [part]| sum + part);
        }
        Ok(())
    }
}

impl<C: Comm> Projector for Columns<'_, C> {
    fn volume_plane(&self) -> [usize; 2] {
        self.blocked.whole[0]
    }

    fn image_plane(&self) -> [usize; 2] {
        self.blocked.whole[1]
    }

    fn project(&self, volume: &Volume, images: &mut Projections) -> Result<()> {
        check(self, volume, images)?;
        add_all(self.partials(volume)?.into_iter().map(Ok), images)
    }

    fn back_project(&self, images: &Projections, volume: &mut Volume) -> Result<()> {
        check(self, volume, images)?;
        let tasks: Vec<_> =
            (0..self.blocked.blocks()).map(|block| task(BACK_PROJECT, block, images)).collect();
        for (range, piece) in self.blocked.ranges().zip(self.run(&tasks)?) {
            volume.set_columns(range.start, &piece)?;
        }
        Ok(())
    }
}

fn task(kind: u8, block: usize, stack: &Stack) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((block as u64).to_le_bytes());
    bytes.extend(encode(stack));
    bytes
}

/// Projects blocks for a coordinator until it stops.
///
/// # Errors
/// As [`serve`].
pub fn serve_columns<C: Comm>(blocked: &Blocked, comm: &mut C) -> Result<()> {
    serve(comm, |bytes| {
        let unreadable = |what| Error::Message { rank: 0, what };
        let (head, stack) = bytes.split_at_checked(9).ok_or_else(|| unreadable("no block"))?;
        let mut block = [0; 8];
        block.copy_from_slice(&head[1..]);
        let block = u64::from_le_bytes(block) as usize;
        if block >= blocked.blocks() {
            return Err(unreadable("a block that there is not"));
        }
        let stack = decode(stack, 0)?;
        match head[0] {
            PROJECT => blocked.partial(block, &stack).map(|images| encode(&images)),
            BACK_PROJECT => blocked.back(block, &stack).map(|piece| encode(&piece)),
            _ => Err(unreadable("an unknown task")),
        }
    })
}

/// How far two sums of the same `terms` floats in different orders are apart at most, given the sum of their sizes:
/// `2 g / (1 - g) * size` with `g = terms * 2^-24`.
pub fn order_bound(terms: usize, sizes: f64) -> f64 {
    let rounding = terms as f64 * f64::from(f32::EPSILON) / 2.0;
    2.0 * rounding / (1.0 - rounding) * sizes
}
