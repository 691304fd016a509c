//! P6, P7, P9 and the negative ones of P13: which decompositions equal the whole, and which do not.

use super::*;
use crate::comm::storm::Storm;
use crate::comm::{Comm, threads};
use crate::project::{Joseph, Projector};
use crate::solve::{
    Data, Filter, Momentum, OrderedSubsets, Prior, Progress, Proximal, Rows, Run, Sirt, Tv, Whole, cgls,
    interleaved, lipschitz, ordered_subsets, proximal, sirt, wbp,
};
use crate::testing::{Mortal, absolute, difference, noise, tilts};
use crate::{Error, Projections, Result, Stack, Tilt, Volume};
use proptest::prelude::*;
use std::ops::{ControlFlow, Range};

const SIZE: usize = 12;

fn series() -> Vec<Tilt> {
    tilts(&[-60.0, -48.0, -30.0, -11.0, 0.0, 7.0, 22.5, 45.0, 52.0, 60.0])
}

fn joseph() -> Joseph {
    Joseph::new(SIZE, SIZE, SIZE + 2, &series()).unwrap()
}

/// Images of a random volume that is not negative.
fn images(rows: usize, seed: u64) -> Projections {
    let joseph = joseph();
    let mut images = Stack::zeros(joseph.image_shape(rows));
    joseph.project(&absolute(&noise(joseph.volume_shape(rows), seed)), &mut images).unwrap();
    images
}

/// A solver of rows: what it knows of the others comes from `rows`.
type Solver = fn(&Projections, &mut dyn Rows) -> Result<Volume>;

fn solved(
    images: &Projections,
    iterations: usize,
    rows: &mut dyn Rows,
    solve: impl FnOnce(Data<'_>, Volume, &mut Run<'_>) -> Result<Volume>,
) -> Result<Volume> {
    let joseph = joseph();
    let start = Stack::zeros(joseph.volume_shape(images.shape().rows));
    let mut progress = |_: Progress| ControlFlow::Continue(());
    solve(Data { projector: &joseph, images }, start, &mut Run { iterations, rows, watch: &mut progress })
}

fn by_sirt(images: &Projections, rows: &mut dyn Rows) -> Result<Volume> {
    solved(images, 12, rows, |data, start, run| sirt(data, start, Sirt::default(), run))
}

fn by_wbp(images: &Projections, _: &mut dyn Rows) -> Result<Volume> {
    wbp(&joseph(), &series(), images, Filter::Hann)
}

fn by_gradient(images: &Projections, rows: &mut dyn Rows, options: Proximal) -> Result<Volume> {
    solved(images, 12, rows, |data, start, run| proximal(&data, start, options, run))
}

fn options(momentum: Momentum, tv: Option<Tv>) -> Proximal {
    let prior = Prior { positive: true, tv };
    Proximal { lipschitz: lipschitz(&joseph(), 1, 10).unwrap(), momentum, prior }
}

fn by_projected_gradient(images: &Projections, rows: &mut dyn Rows) -> Result<Volume> {
    by_gradient(images, rows, options(Momentum::None, None))
}

fn by_fista(images: &Projections, rows: &mut dyn Rows) -> Result<Volume> {
    by_gradient(images, rows, options(Momentum::Nesterov, None))
}

fn by_restarted_fista(images: &Projections, rows: &mut dyn Rows) -> Result<Volume> {
    solved(images, 60, rows, |data, start, run| {
        proximal(&data, start, options(Momentum::Restarted, None), run)
    })
}

fn by_cgls(images: &Projections, rows: &mut dyn Rows) -> Result<Volume> {
    solved(images, 8, rows, cgls)
}

const INNER: usize = 8;

fn by_tv(images: &Projections, rows: &mut dyn Rows) -> Result<Volume> {
    by_gradient(images, rows, options(Momentum::Nesterov, Some(Tv { weight: 0.05, iterations: INNER })))
}

fn by_subsets(images: &Projections, rows: &mut dyn Rows) -> Result<Volume> {
    let tilts = series();
    let parts: Vec<(Joseph, Projections)> = interleaved(tilts.len(), 3)
        .iter()
        .map(|subset| {
            let tilts: Vec<Tilt> = subset.iter().map(|index| tilts[*index]).collect();
            (Joseph::new(SIZE, SIZE, SIZE + 2, &tilts).unwrap(), images.planes(subset).unwrap())
        })
        .collect();
    let subsets: Vec<Data<'_>> = parts.iter().map(|(projector, images)| Data { projector, images }).collect();
    let lipschitz = lipschitz(&parts[0].0, 1, 10)?;
    let prior = Prior { positive: true, tv: None };
    let options = OrderedSubsets { lipschitz, relaxation: 0.7, momentum_max: 0.9, prior };
    solved(images, 4, rows, |_, start, run| ordered_subsets(&subsets, start, options, run))
}

/// Each part solved by itself, knowing nothing of the others, and put together.
fn apart(solver: Solver, images: &Projections, ranges: &[Range<usize>]) -> Volume {
    let mut volume = Stack::zeros(joseph().volume_shape(images.shape().rows));
    for range in ranges {
        let part = solver(&images.rows(range.clone()).unwrap(), &mut Whole).unwrap();
        volume.set_rows(range.start, &part).unwrap();
    }
    volume
}

/// Each part solved by a worker of its own, with messages that leave late, and put together.
fn together(solver: Solver, images: &Projections, ranges: &[Range<usize>]) -> Volume {
    let results = threads::run(ranges.len(), |comm| {
        let mut part = Part::new(Storm::new(comm, ranges.len() as u64, 0), ranges.to_vec())?;
        let own = solver(&images.rows(part.range())?, &mut part)?;
        part.gather(&own)
    });
    results.into_iter().map(Result::unwrap).next().flatten().unwrap()
}

/// Ranges between some borders.
fn cut(rows: usize, mut borders: Vec<usize>) -> Vec<Range<usize>> {
    borders.extend([0, rows]);
    borders.sort_unstable();
    borders.dedup();
    borders.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

#[test]
fn a_partition_covers_all_rows_at_whole_slabs() {
    for (rows, parts) in [(1, 1), (16, 3), (40, 2), (100, 5), (33, 9)] {
        let ranges = partition(rows, parts);
        assert_eq!(cut(rows, ranges.iter().map(|range| range.start).collect()), ranges);
        assert!(ranges.iter().all(|range| range.start % crate::LANES == 0));
    }
    assert_eq!(partition(100, 3), [0..32, 32..64, 64..100]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// Statement A.
    #[test]
    fn rows_of_a_linear_problem_are_solved_apart(
        rows in 2_usize..50,
        borders in prop::collection::vec(0_usize..50, 0..5),
        single: bool,
        seed: u32,
    ) {
        let borders = borders.into_iter().map(|border| border % rows).chain(single.then_some(1)).collect();
        let (images, ranges) = (images(rows, seed.into()), cut(rows, borders));
        let solvers: [Solver; 5] = [by_wbp, by_sirt, by_projected_gradient, by_fista, by_subsets];
        for solver in solvers {
            let whole = solver(&images, &mut Whole).unwrap();
            prop_assert_eq!(&apart(solver, &images, &ranges), &whole);
        }
    }

    #[test]
    fn rows_with_sums_over_all_rows_are_solved_together(
        rows in 5_usize..50,
        borders in prop::collection::vec(0_usize..50, 1..4),
        seed: u32,
    ) {
        let (images, ranges) = (images(rows, seed.into()), cut(rows, borders.into_iter().map(|b| b % rows).collect()));
        for solver in [by_cgls as Solver, by_restarted_fista] {
            prop_assert_eq!(together(solver, &images, &ranges), solver(&images, &mut Whole).unwrap());
        }
    }

    /// Statement B.
    #[test]
    fn total_variation_needs_as_many_rows_as_it_has_iterations(
        rows in 5_usize..50,
        borders in prop::collection::vec(0_usize..50, 1..4),
        seed: u32,
    ) {
        let (images, ranges) = (images(rows, seed.into()), cut(rows, borders.into_iter().map(|b| b % rows).collect()));
        prop_assert_eq!(together(by_tv, &images, &ranges), by_tv(&images, &mut Whole).unwrap());
    }
}

#[test]
fn one_two_three_and_five_workers_give_the_same_bits() {
    let images = images(80, 3);
    for solver in [by_cgls as Solver, by_restarted_fista, by_tv] {
        let whole = solver(&images, &mut Whole).unwrap();
        for workers in [1, 2, 3, 5] {
            assert_eq!(together(solver, &images, &partition(80, workers)), whole, "{workers} workers");
        }
    }
}

/// Rows that see no further than some reach.
struct Short<C>(Part<C>, usize);

impl<C: Comm> Rows for Short<C> {
    fn sum(&mut self, leaves: &[f64]) -> Result<f64> {
        self.0.sum(leaves)
    }

    fn beside(&mut self, own: &Stack, reach: usize) -> Result<[Option<Stack>; 2]> {
        self.0.beside(own, reach.min(self.1))
    }
}

#[test]
fn with_fewer_rows_total_variation_differs() {
    let images = images(64, 11);
    let ranges = partition(64, 4);
    let whole = by_tv(&images, &mut Whole).unwrap();
    let with_reach = |reach: usize| {
        let results = threads::run(4, |comm| {
            let mut part = Short(Part::new(comm, ranges.clone())?, reach);
            let own = by_tv(&images.rows(part.0.range())?, &mut part)?;
            part.0.gather(&own)
        });
        results.into_iter().map(Result::unwrap).next().flatten().unwrap()
    };
    let mut last = f64::INFINITY;
    for reach in [0, 2, 4, INNER - 2] {
        let error = difference(&whole, &with_reach(reach));
        println!("reach {reach} of {INNER}: {error:.1e}");
        assert!(error > 0.0 && error < last, "reach {reach}: {error} after {last}");
        last = error;
    }
    assert_eq!(with_reach(INNER), whole);
}

/// P13: what must break the equality, or its test proves nothing.
#[test]
fn scalars_of_a_part_break_the_equality() {
    let images = images(64, 5);
    let ranges = partition(64, 4);
    let whole = by_cgls(&images, &mut Whole).unwrap();
    let local = difference(&whole, &apart(by_cgls, &images, &ranges));
    println!("conjugate gradients with the inner products of a part: {local:.1e}");
    assert!(local > 1e-4, "{local}");

    let step_of_the_part: Solver = |images, rows| {
        // A constant estimated for each part, here from a seed that its data give.
        let seed = u64::from(images.at(0, 0, 5).to_bits());
        let lipschitz = lipschitz(&joseph(), seed, 2)?;
        by_gradient(images, rows, Proximal { lipschitz, ..options(Momentum::Nesterov, None) })
    };
    let whole = step_of_the_part(&images, &mut Whole).unwrap();
    let local = difference(&whole, &apart(step_of_the_part, &images, &ranges));
    println!("a step of each part's own: {local:.1e}");
    assert!(local > 1e-6, "{local}");

    let normalised: Solver = |images, rows| {
        let ones = Stack::from_fn(images.shape(), |_, _, _| 1.0);
        let mean = (images.row_dots(&ones).iter().sum::<f64>() / images.shape().len() as f64) as f32;
        let mut images = images.clone();
        images.update([], |value, []| value / mean);
        by_sirt(&images, rows)
    };
    let whole = normalised(&images, &mut Whole).unwrap();
    let local = difference(&whole, &apart(normalised, &images, &ranges));
    println!("images divided by each part's own mean: {local:.1e}");
    assert!(local > 1e-4, "{local}");
}

fn blocked() -> Blocked {
    Blocked::new(SIZE, SIZE, SIZE + 2, &series(), 3).unwrap()
}

/// SIRT with the blocks of columns at workers, of which some are lost after so many tasks, in a storm of messages.
fn across(workers: usize, lost_after: [Option<usize>; 5], seed: u64, images: &Projections) -> Result<Volume> {
    let wishes: [fn(usize, usize) -> Option<usize>; 3] = [
        |_, _| None,
        |worker, turn| Some((7 * worker + turn) % 4),
        |worker, turn| Some((worker + 4 - turn) % 4),
    ];
    let blocked = blocked();
    let mut results = threads::run(workers + 1, |comm| {
        let rank = comm.rank();
        if rank > 0 {
            let mut comm = Mortal { comm, left: lost_after[rank - 1].unwrap_or(usize::MAX) };
            return serve_columns(&blocked, &mut comm).map(|()| None);
        }
        let columns = Columns::new(&blocked, Storm::new(comm, seed, 30), wishes[seed as usize % 3])?;
        let start = Stack::zeros(blocked.volume_shape(images.shape().rows));
        let mut progress = |_: Progress| ControlFlow::Continue(());
        let mut run = Run { iterations: 4, rows: &mut Whole, watch: &mut progress };
        sirt(Data { projector: &columns, images }, start, Sirt::default(), &mut run).map(Some)
    });
    results.swap_remove(0).map(Option::unwrap)
}

fn whole_across(images: &Projections) -> Volume {
    let blocked = blocked();
    let start = Stack::zeros(blocked.volume_shape(images.shape().rows));
    let mut progress = |_: Progress| ControlFlow::Continue(());
    let mut run = Run { iterations: 4, rows: &mut Whole, watch: &mut progress };
    sirt(Data { projector: &blocked, images }, start, Sirt::default(), &mut run).unwrap()
}

#[test]
fn columns_at_any_number_of_workers_give_the_same_bits() {
    let images = images(5, 21);
    let whole = whole_across(&images);
    for workers in [1, 2, 3, 5] {
        for seed in 0..3 {
            assert_eq!(
                across(workers, [None; 5], seed, &images).unwrap(),
                whole,
                "{workers} workers, seed {seed}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn lost_workers_leave_no_trace(
        workers in 2_usize..=5,
        deaths in prop::array::uniform5(prop::option::of(0_usize..20)),
        survivor in 0_usize..5,
        seed: u32,
    ) {
        let mut deaths = deaths;
        deaths[survivor % workers] = None;
        let images = images(3, 22);
        prop_assert_eq!(across(workers, deaths, seed.into(), &images).unwrap(), whole_across(&images));
    }

    /// P9.
    #[test]
    fn another_order_is_within_its_bound(order in Just((0..4).collect::<Vec<usize>>()).prop_shuffle(), seed: u32) {
        let blocked = blocked();
        let volume = noise(blocked.volume_shape(3), seed.into());
        let mut canonical = Stack::zeros(blocked.image_shape(3));
        blocked.project(&volume, &mut canonical).unwrap();
        let mut sizes = Stack::zeros(blocked.image_shape(3));
        blocked.project(&absolute(&volume), &mut sizes).unwrap();
        let arrived = in_order(&blocked, &volume, &order);
        for ((image, row, pixel), value) in arrived.to_array().indexed_iter() {
            let gap = f64::from(value - canonical.at(image, row, pixel)).abs();
            // Partial projections are the same floats in both; their sum of sizes is at most that of the sizes, rounded.
            let bound = order_bound(blocked.blocks(), 1.001 * f64::from(sizes.at(image, row, pixel)));
            prop_assert!(gap <= bound, "{} > {}", gap, bound);
        }
    }
}

/// The projections with the blocks' parts added in this order.
fn in_order(blocked: &Blocked, volume: &Volume, order: &[usize]) -> Projections {
    let mut results = threads::run(2, |mut comm| {
        if comm.rank() == 1 {
            return serve_columns(blocked, &mut comm).map(|()| None);
        }
        let mut images = Stack::zeros(blocked.image_shape(volume.shape().rows));
        let columns = Columns::new(blocked, comm, |_, _| None)?;
        columns.project_in_order(volume, &mut images, order)?;
        assert!(columns.project_in_order(volume, &mut images.clone(), &[0, 0, 1, 2]).is_err());
        Ok(Some(images))
    });
    results.swap_remove(0).unwrap().unwrap()
}

#[test]
fn another_order_gives_other_bits_somewhere() {
    let blocked = blocked();
    let volume = noise(blocked.volume_shape(3), 1);
    let mut canonical = Stack::zeros(blocked.image_shape(3));
    blocked.project(&volume, &mut canonical).unwrap();
    let arrived = in_order(&blocked, &volume, &[3, 1, 0, 2]);
    let mut unblocked = Stack::zeros(blocked.image_shape(3));
    joseph().project(&volume, &mut unblocked).unwrap();
    for (name, other) in [("parts in another order", arrived), ("not in blocks", unblocked)] {
        let gap = difference(&canonical, &other);
        println!("{name}: {gap:.1e}");
        assert!(gap > 0.0 && gap < 1e-6, "{name}: {gap}");
    }
}

#[test]
fn without_workers_the_run_ends_with_an_error() {
    let error = across(2, [Some(3), Some(0), None, None, None], 1, &images(2, 1)).unwrap_err();
    assert!(matches!(error, Error::NoWorkers { .. }), "{error}");
}

#[test]
fn blocks_cover_the_columns() {
    for (columns, width, blocks) in [(12, 3, 4), (13, 3, 4), (14, 3, 5), (5, 9, 1), (4, 2, 2)] {
        let blocked = Blocked::new(4, columns, 9, &series(), width).unwrap();
        let borders = blocked.ranges().map(|range| range.start).collect();
        assert_eq!(cut(columns, borders), blocked.ranges().collect::<Vec<_>>());
        assert_eq!(blocked.blocks(), blocks, "{columns} in {width}");
        assert!(blocked.ranges().all(|range| range.len() >= 2));
    }
    assert!(Blocked::new(4, 8, 9, &series(), 1).is_err());
}
