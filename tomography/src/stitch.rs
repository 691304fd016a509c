//! Putting blocks together.
//!
//! On each side of a border two neighbours are blended over a ramp: the right one's weight rises as a raised cosine from
//! 0 to 1, the left one's is 1 minus it. Blending is written `left + w (right - left)`, so where blocks agree the result
//! is what they agree on, in every bit: stitching the blocks of a volume gives the volume back. Beyond the ramp, and
//! everywhere if it is 0, a voxel is its core's own.
//!
//! Blocks are joined along x first and then along y. Where halos overlap, blocks that were reconstructed apart disagree,
//! and how much they do is an estimate of their error that needs no whole to compare to ([`Disagreement`]).

use crate::plan::{Block, Mode, Plan};
use crate::sum::tree_sum;
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

/// An axis along which stacks are joined.
#[derive(Clone, Copy)]
enum Axis {
    Rows,
    Columns,
}

impl Axis {
    fn part(self, stack: &Stack, range: Range<usize>) -> Result<Stack> {
        match self {
            Self::Rows => stack.rows(range),
            Self::Columns => stack.columns(range),
        }
    }

    fn set(self, stack: &mut Stack, first: usize, part: &Stack) -> Result<()> {
        match self {
            Self::Rows => stack.set_rows(first, part),
            Self::Columns => stack.set_columns(first, part),
        }
    }
}

/// A stack in its place along an axis: the range of its core, and where it begins, halo included.
struct Piece {
    core: Range<usize>,
    first: usize,
    stack: Stack,
}

/// Joins pieces, in their order, into a stack of `extent`.
fn join(axis: Axis, pieces: &[Piece], ramp: usize, mut joined: Stack) -> Result<Stack> {
    for (index, piece) in pieces.iter().enumerate() {
        let own =
            |range: Range<usize>| axis.part(&piece.stack, range.start - piece.first..range.end - piece.first);
        // Its core, and what its right ramp needs; the left ramp is blended over what is there.
        let is_last = index + 1 == pieces.len();
        let end = if is_last { piece.core.end } else { piece.core.end + ramp };
        let is_first = index == 0;
        let start = if is_first { piece.core.start } else { piece.core.start + ramp };
        axis.set(&mut joined, start, &own(start..end)?)?;
        if is_first {
            continue;
        }
        for place in piece.core.start - ramp..piece.core.start + ramp {
            let weight = weight_after(place, piece.core.start, ramp);
            let mut blend = axis.part(&joined, place..place + 1)?;
            blend.update([&own(place..place + 1)?], |left, [right]| left + weight * (right - left));
            axis.set(&mut joined, place, &blend)?;
        }
    }
    Ok(joined)
}

/// Puts the blocks of a plan together, each with its halo, in the plan's order.
///
/// # Errors
/// [`Error::Parameter`] unless there is a volume for each block; [`Error::Shape`] if one is not of its block's size.
pub fn stitch(plan: &Plan, volumes: &[Volume]) -> Result<Volume> {
    check(plan, volumes)?;
    let ramp = match plan.spec.mode {
        Mode::Patch { ramp, .. } => ramp,
        Mode::Exact {} => [0, 0],
    };
    let mut bands: Vec<Piece> = Vec::new();
    let bands_of_blocks = plan.blocks.chunk_by(|left, right| left.core_rows == right.core_rows);
    let mut volumes = volumes.iter();
    for blocks in bands_of_blocks {
        let piece = |(block, stack): (&Block, &Volume)| Piece {
            core: block.core_columns.clone(),
            first: block.columns.start,
            stack: stack.clone(),
        };
        let pieces: Vec<Piece> = blocks.iter().zip(volumes.by_ref()).map(piece).collect();
        let empty = Stack::zeros(plan.spec.volume.with_rows(blocks[0].rows.len()));
        let stack = join(Axis::Columns, &pieces, ramp[1], empty)?;
        bands.push(Piece { core: blocks[0].core_rows.clone(), first: blocks[0].rows.start, stack });
    }
    join(Axis::Rows, &bands, ramp[0], Stack::zeros(plan.spec.volume))
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

/// How much neighbours differ where their halos overlap: each pair that shares voxels, once.
///
/// # Errors
/// As [`stitch`].
pub fn disagreements(plan: &Plan, volumes: &[Volume]) -> Result<Vec<Disagreement>> {
    check(plan, volumes)?;
    let mut found = Vec::new();
    for (left, left_volume) in plan.blocks.iter().zip(volumes) {
        for (right, right_volume) in plan.blocks.iter().zip(volumes).skip(left.id + 1) {
            let rows = left.rows.start.max(right.rows.start)..left.rows.end.min(right.rows.end);
            let columns =
                left.columns.start.max(right.columns.start)..left.columns.end.min(right.columns.end);
            if rows.is_empty() || columns.is_empty() {
                continue;
            }
            let common = |block: &Block, volume: &Volume| {
                let rows = rows.start - block.rows.start..rows.end - block.rows.start;
                let columns = columns.start - block.columns.start..columns.end - block.columns.start;
                volume.rows(rows)?.columns(columns)
            };
            let mut gap = common(left, left_volume)?;
            gap.update([&common(right, right_volume)?], |left, [right]| left - right);
            let squares = tree_sum(&gap.row_dots(&gap));
            let values = gap.slabs().iter().flat_map(|slab| &slab.data).flat_map(|lanes| lanes.0);
            found.push(Disagreement {
                blocks: [left.id, right.id],
                rms: (squares / gap.shape().len() as f64).sqrt(),
                max: values.fold(0.0, |max, value| max.max(value.abs())),
            });
        }
    }
    Ok(found)
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
