//! Blocks put together from their files, a plane at a time: neither a block nor the whole need fit into memory.

use super::{BLOCK, PLAN, PROCESSOR, labels};
use crate::io::mrc::{Content, Order, Output};
use crate::io::{self, Source, content, writing_bytes};
use crate::plan::{BASE, Plan};
use crate::stitch::{Disagreement, Overlaps, Stitching, line_of};
use crate::{Result, Shape};
use std::path::{Path, PathBuf};

impl Plan {
    /// Bytes at the peak of [`stitch_blocks`]: a plane of every block, and what writing takes.
    pub fn stitching_bytes(&self, out: &Path, order: Order) -> u64 {
        let plane = |block: &crate::plan::Block| 4 * (block.rows.len() * block.columns.len()) as u64;
        BASE + self.blocks.iter().map(plane).sum::<u64>() + writing_bytes(out, self.spec.volume, order)
    }
}

/// Fails unless every block of a plan is where `path(block)` says, made by this plan on a machine of its kind.
///
/// # Errors
/// [`crate::Error::Content`] for a file that is not the block of this plan, and as [`Source::open`].
pub fn check_blocks(plan: &Plan, path: impl Fn(usize) -> PathBuf) -> Result<()> {
    let hash = plan.hash()?;
    for block in &plan.blocks {
        let path = path(block.id);
        let reader = Source::open(&path)?;
        for (what, begin, expected) in [
            ("the plan that made it", PLAN, format!("{PLAN}{hash}")),
            ("the block that it is", BLOCK, format!("{BLOCK}{} of {}", block.id, plan.blocks.len())),
            ("the machine that made it", PROCESSOR, format!("{PROCESSOR}{}", plan.processor)),
        ] {
            let found = reader.labels().iter().find(|label| label.starts_with(begin));
            if found != Some(&expected) {
                let found = found.map_or("not named in its labels", String::as_str);
                return Err(content(&path, what, found, format!("{expected}; run this block again")));
            }
        }
        let Shape { planes, .. } = plan.spec.volume;
        reader.shape(Order::Planes)?.check(
            "block to stitch",
            Shape { planes, rows: block.rows.len(), columns: block.columns.len() },
        )?;
    }
    Ok(())
}

/// Puts the blocks of a plan together, writes the whole, and tells how much neighbours differ. `path(block)` is where each
/// lies.
///
/// # Errors
/// As [`check_blocks`], [`Source::lines`] and [`io::write_sections`].
pub fn stitch_blocks(
    plan: &Plan,
    path: impl Fn(usize) -> PathBuf,
    out: &Path,
    order: Order,
) -> Result<Vec<Disagreement>> {
    check_blocks(plan, &path)?;
    let (stitching, shape) = (Stitching::of(plan), plan.spec.volume);
    let mut output = Output::new(Content::Volume, plan.spec.voxel_angstrom);
    output.order = order;
    output.labels = labels(plan, &plan.hash()?);
    output.labels.push(format!("stitched of {} blocks", plan.blocks.len()));
    // Some rows of a plane of a block. A file is opened for each: there may be more blocks than files may be open.
    let lines = |block: usize, plane: usize, rows: std::ops::Range<usize>| {
        let mut values = vec![0.0; rows.len() * plan.blocks[block].columns.len()];
        Source::open(&path(block))?.lines(plane, rows, &mut values).map(|()| values)
    };
    let plane = |plane: usize| -> Result<Vec<Vec<f32>>> {
        plan.blocks.iter().map(|block| lines(block.id, plane, 0..block.rows.len())).collect()
    };
    let mut overlaps = Overlaps::of(plan);
    io::write_sections(out, shape, &output, &mut |section, values| match order {
        Order::Planes => {
            let planes = plane(section)?;
            overlaps.add(&planes);
            for (row, values) in values.chunks_exact_mut(shape.columns).enumerate() {
                stitching.line(row, |block| line_of(&plan.blocks[block], &planes[block], row), values);
            }
            Ok(())
        }
        Order::Rows => {
            let shared = stitching.blocks_of(section);
            for (line, values) in values.chunks_exact_mut(shape.columns).enumerate() {
                let (plane, row) = order.place(section, line, shape.planes);
                let of_block = |block: usize| {
                    let own = row - plan.blocks[block].rows.start;
                    lines(block, plane, own..own + 1)
                };
                let found = shared.clone().map(of_block).collect::<Result<Vec<_>>>()?;
                stitching.line(row, |block| &found[block - shared.start], values);
            }
            Ok(())
        }
    })?;
    if order == Order::Rows {
        (0..shape.planes).try_for_each(|index| plane(index).map(|planes| overlaps.add(&planes)))?;
    }
    Ok(overlaps.found())
}
