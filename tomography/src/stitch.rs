//! Putting blocks together.
//!
//! On each side of a border two neighbours are blended over a ramp: the right one's weight rises as a raised cosine from
//! 0 to 1, the left one's is 1 minus it. Blending is written `left + w (right - left)`, so where blocks agree the result
//! is what they agree on, in every bit: stitching the blocks of a volume gives the volume back. Beyond the ramp, and
//! everywhere if it is 0, a voxel is its core's own.
//!
//! Blocks are joined along x first and then along y, line by line, so that a whole need never be in memory. Where halos
//! overlap, blocks that were reconstructed apart disagree, and how much they do is an estimate of their error that needs no
//! whole to compare to ([`Disagreement`]).

use crate::plan::{Block, Mode, Plan};
use crate::{Error, Result, Stack, Volume};
use std::f64::consts::FRAC_PI_2;
use std::ops::Range;

/// The weight of the block after a border at `border`, at an index, for a ramp of so many voxels on each side.
///
/// The weight of the block before it is 1 minus this. 0 before the ramp, 1 after it.
pub fn weight_after(index: usize, border: usize, ramp: usize) -> f32 {
    if index + ramp < border {
        return 0.0;
    }
    if index >= border + ramp {
        return 1.0;
    }
    let share = ((index + ramp - border) as f64 + 0.5) / (2 * ramp) as f64;
    (FRAC_PI_2 * share).sin().powi(2) as f32
}

/// How much two neighbours differ where both have voxels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disagreement {
    /// The two blocks.
    pub blocks: [usize; 2],
    /// Root of the mean square of the differences.
    pub rms: f64,
    /// The largest difference.
    pub max: f32,
}

/// What stands at an index along an axis: a block's own, or the first of two and then the second with its weight.
type Share = (usize, Option<(usize, f32)>);

/// Who has a share of an index along an axis whose cores are these, in order.
fn share(cores: &[Range<usize>], ramp: usize, index: usize) -> Share {
    let own = cores.partition_point(|core| core.end <= index);
    let border = |left: usize| (left, Some((left + 1, weight_after(index, cores[left].end, ramp))));
    if own > 0 && index < cores[own].start + ramp {
        return border(own - 1);
    }
    if own + 1 < cores.len() && index + ramp >= cores[own].end {
        return border(own);
    }
    (own, None)
}

/// Overwrites values with shares of two lines.
fn blend(values: &mut [f32], right: &[f32], weight: f32) {
    for (left, right) in values.iter_mut().zip(right) {
        *left += weight * (right - *left);
    }
}

/// How the blocks of a plan lie beside each other.
pub struct Stitching<'a> {
    blocks: &'a [Block],
    ramp: [usize; 2],
    /// Cores along y and x.
    cores: [Vec<Range<usize>>; 2],
    /// For each column who has a share of it.
    columns: Vec<Share>,
}

impl<'a> Stitching<'a> {
    /// Of a plan.
    pub fn of(plan: &'a Plan) -> Self {
        let ramp = match plan.spec.mode {
            Mode::Patch { ramp, .. } => ramp,
            Mode::Exact {} | Mode::Window { .. } => [0, 0],
        };
        let blocks = &plan.blocks[..];
        let mut rows: Vec<Range<usize>> = blocks.iter().map(|block| block.core_rows.clone()).collect();
        rows.dedup();
        let across = blocks.len() / rows.len().max(1);
        let columns: Vec<Range<usize>> =
            blocks[..across].iter().map(|block| block.core_columns.clone()).collect();
        let shares = (0..plan.spec.volume.columns).map(|column| share(&columns, ramp[1], column)).collect();
        Self { blocks, ramp, cores: [rows, columns], columns: shares }
    }

    /// The blocks that have a share of a row.
    pub fn blocks_of(&self, row: usize) -> Range<usize> {
        let across = self.cores[1].len();
        let (first, second) = share(&self.cores[0], self.ramp[0], row);
        first * across..(second.map_or(first, |(second, _)| second) + 1) * across
    }

    /// A line of the whole: a row of a plane, from the lines that `line(block)` gives of each block that has a share of it.
    pub fn line<'b>(&self, row: usize, line: impl Fn(usize) -> &'b [f32], values: &mut [f32]) {
        let (first, second) = share(&self.cores[0], self.ramp[0], row);
        self.across(first, &line, values);
        if let Some((second, weight)) = second {
            let mut right = vec![0.0; values.len()];
            self.across(second, &line, &mut right);
            blend(values, &right, weight);
        }
    }

    /// A line of a row of blocks.
    fn across<'b>(&self, row_of_blocks: usize, line: &impl Fn(usize) -> &'b [f32], values: &mut [f32]) {
        let first = row_of_blocks * self.cores[1].len();
        let lines: Vec<&[f32]> = (0..self.cores[1].len()).map(|block| line(first + block)).collect();
        let value = |block: usize, column: usize| lines[block][column - self.blocks[block].columns.start];
        for (column, (to, (left, right))) in values.iter_mut().zip(&self.columns).enumerate() {
            *to = value(*left, column);
            if let Some((right, weight)) = right {
                *to += weight * (value(*right, column) - *to);
            }
        }
    }
}

/// Puts the blocks of a plan together, each with its halo, in the plan's order.
///
/// # Errors
/// [`Error::Parameter`] unless there is a volume for each block; [`Error::Shape`] if one is not of its block's size.
pub fn stitch(plan: &Plan, volumes: &[Volume]) -> Result<Volume> {
    check(plan, volumes)?;
    let (stitching, shape) = (Stitching::of(plan), plan.spec.volume);
    let mut whole = Stack::zeros(shape);
    let mut values = vec![0.0; shape.columns];
    for plane in 0..shape.planes {
        let planes: Vec<Vec<f32>> = volumes.iter().map(|volume| volume.plane(plane)).collect();
        for row in 0..shape.rows {
            stitching.line(row, |block| line_of(&plan.blocks[block], &planes[block], row), &mut values);
            for (column, value) in values.iter().enumerate() {
                *whole.at_mut(plane, row, column) = *value;
            }
        }
    }
    Ok(whole)
}

/// A row of the whole in a plane of a block.
pub fn line_of<'a>(block: &Block, plane: &'a [f32], row: usize) -> &'a [f32] {
    let columns = block.columns.len();
    &plane[(row - block.rows.start) * columns..][..columns]
}

fn check(plan: &Plan, volumes: &[Volume]) -> Result<()> {
    if volumes.len() != plan.blocks.len() {
        return Err(Error::parameter(
            "number of volumes to stitch",
            volumes.len(),
            "that of the plan's blocks",
        ));
    }
    for (block, volume) in plan.blocks.iter().zip(volumes) {
        let shape = plan.spec.volume.with_rows(block.rows.len());
        volume.check_shape("block to stitch", crate::Shape { columns: block.columns.len(), ..shape })?;
    }
    Ok(())
}

/// Two blocks that share voxels, and what they differed by so far.
struct Overlap {
    blocks: [usize; 2],
    rows: Range<usize>,
    columns: Range<usize>,
    squares: f64,
    max: f32,
}

/// How much neighbours differ where their halos overlap, plane by plane.
pub struct Overlaps<'a> {
    blocks: &'a [Block],
    pairs: Vec<Overlap>,
    planes: usize,
}

impl<'a> Overlaps<'a> {
    /// Of each pair of a plan's blocks that share voxels, once.
    pub fn of(plan: &'a Plan) -> Self {
        let common =
            |left: &Range<usize>, right: &Range<usize>| left.start.max(right.start)..left.end.min(right.end);
        let mut pairs = Vec::new();
        for left in &plan.blocks {
            for right in &plan.blocks[left.id + 1..] {
                let (rows, columns) =
                    (common(&left.rows, &right.rows), common(&left.columns, &right.columns));
                if !rows.is_empty() && !columns.is_empty() {
                    let blocks = [left.id, right.id];
                    pairs.push(Overlap { blocks, rows, columns, squares: 0.0, max: 0.0 });
                }
            }
        }
        Self { blocks: &plan.blocks, pairs, planes: 0 }
    }

    /// Looks at a plane of every block.
    pub fn add(&mut self, planes: &[Vec<f32>]) {
        self.planes += 1;
        for Overlap { blocks, rows, columns, squares, max } in &mut self.pairs {
            for row in rows.clone() {
                let [left, right] = blocks.map(|block| {
                    let first = self.blocks[block].columns.start;
                    &line_of(&self.blocks[block], &planes[block], row)
                        [columns.start - first..columns.end - first]
                });
                for (left, right) in left.iter().zip(right) {
                    let gap = left - right;
                    *squares += f64::from(gap) * f64::from(gap);
                    *max = max.max(gap.abs());
                }
            }
        }
    }

    /// What was found.
    pub fn found(&self) -> Vec<Disagreement> {
        let found = |overlap: &Overlap| {
            let count = self.planes * overlap.rows.len() * overlap.columns.len();
            let rms = (overlap.squares / count.max(1) as f64).sqrt();
            Disagreement { blocks: overlap.blocks, rms, max: overlap.max }
        };
        self.pairs.iter().map(found).collect()
    }
}

/// How much neighbours differ where their halos overlap: each pair that shares voxels, once.
///
/// # Errors
/// As [`stitch`].
pub fn disagreements(plan: &Plan, volumes: &[Volume]) -> Result<Vec<Disagreement>> {
    check(plan, volumes)?;
    let mut overlaps = Overlaps::of(plan);
    for plane in 0..plan.spec.volume.planes {
        let planes: Vec<Vec<f32>> = volumes.iter().map(|volume| volume.plane(plane)).collect();
        overlaps.add(&planes);
    }
    Ok(overlaps.found())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shape;
    use crate::align::Alignment;
    use crate::plan::{Contrast, Model, Solver, Spec};
    use crate::solve::{Filter, Prior};
    use crate::testing::{noise, tilts};
    use proptest::prelude::*;

    fn plan(shape: [usize; 3], mode: Mode) -> Plan {
        let [planes, rows, columns] = shape;
        let spec = Spec {
            volume: Shape { planes, rows, columns },
            voxel_angstrom: 2.0,
            pixels: columns,
            tilts: tilts(&[-20.0, 20.0]),
            alignment: Alignment::default(),
            contrast: Contrast::Projection,
            model: Model::Linear,
            solver: Solver::Wbp { filter: Filter::RamLak },
            prior: Prior::default(),
            iterations: 0,
            seed: 0,
            mode,
        };
        Plan::new(spec).unwrap()
    }

    fn cut(plan: &Plan, whole: &Volume) -> Vec<Volume> {
        let part =
            |block: &Block| whole.rows(block.rows.clone()).unwrap().columns(block.columns.clone()).unwrap();
        plan.blocks.iter().map(part).collect()
    }

    /// Cores of at least twice the ramp, with room for the ramp in what remains.
    fn modes() -> impl Strategy<Value = ([usize; 3], Mode)> {
        let axis = || (0_usize..4, 0_usize..6, 0_usize..4, 1_usize..4);
        (axis(), axis()).prop_map(|(rows, columns)| {
            let axis = |(ramp, more, halo, blocks): (usize, usize, usize, usize)| {
                let core = 2 * ramp + more + 2;
                (core, ramp + halo, ramp, core * blocks + 2 * (ramp + more / 2))
            };
            let (rows, columns) = (axis(rows), axis(columns));
            let mode = Mode::Patch {
                core: [rows.0, columns.0],
                halo: [rows.1, columns.1],
                ramp: [rows.2, columns.2],
                exterior: 1,
            };
            ([3, rows.3, columns.3], mode)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        #[test]
        fn the_blocks_of_a_volume_give_it_back((shape, mode) in modes(), seed: u32) {
            let plan = plan(shape, mode);
            let whole = noise(plan.spec.volume, seed.into());
            let blocks = cut(&plan, &whole);
            let once = stitch(&plan, &blocks).unwrap();
            prop_assert_eq!(&once, &whole);
            prop_assert!(disagreements(&plan, &blocks).unwrap().iter().all(|gap| gap.max == 0.0 && gap.rms == 0.0));
            // What disagrees is settled once: to cut and stitch again changes nothing.
            let mut others = blocks;
            for (index, block) in others.iter_mut().enumerate() {
                block.update([], |value, []| value + index as f32);
            }
            let settled = stitch(&plan, &others).unwrap();
            prop_assert_eq!(&stitch(&plan, &cut(&plan, &settled)).unwrap(), &settled);
        }

        #[test]
        fn weights_rise_from_0_to_1_and_their_partners_fall(border in 5_usize..20, ramp in 0_usize..6) {
            let weights: Vec<f32> = (0..30).map(|index| weight_after(index, border, ramp)).collect();
            prop_assert!(weights.windows(2).all(|pair| pair[0] <= pair[1]));
            for (index, weight) in weights.iter().enumerate() {
                let before = 1.0 - weight;
                prop_assert!((f64::from(*weight) + f64::from(before) - 1.0).abs() <= f64::from(f32::EPSILON));
                prop_assert_eq!(*weight == 0.0, index + ramp < border);
                prop_assert_eq!(*weight == 1.0, index >= border + ramp);
            }
        }
    }

    #[test]
    fn neighbours_are_blended_across_the_border_and_nowhere_else() {
        let plan = plan([2, 24, 4], Mode::Patch { core: [12, 4], halo: [5, 0], ramp: [3, 0], exterior: 1 });
        let level = |block: &Block| {
            let shape = plan.spec.volume.with_rows(block.rows.len());
            Stack::from_fn(shape, |_, _, _| block.id as f32)
        };
        let volumes: Vec<Volume> = plan.blocks.iter().map(level).collect();
        let joined = stitch(&plan, &volumes).unwrap();
        for row in 0..24 {
            let value = joined.at(1, row, 2);
            assert_eq!(value, weight_after(row, 12, 3), "row {row}");
            assert_eq!(value > 0.0 && value < 1.0, (9..15).contains(&row), "row {row}");
        }
        let gaps = disagreements(&plan, &volumes).unwrap();
        assert_eq!(gaps, [Disagreement { blocks: [0, 1], rms: 1.0, max: 1.0 }]);
        assert!(stitch(&plan, &volumes[..1]).is_err());
        assert!(stitch(&plan, &[volumes[0].clone(), joined]).is_err());
    }
}
