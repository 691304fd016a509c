//! P8: reconstructions by workers equal the whole's in every bit; and what the solvers reach with waves.

use super::series::{needle, setup};
use super::*;
use crate::comm::storm::Storm;
use crate::comm::threads;
use crate::decompose::{Part, partition};
use crate::solve::{
    Momentum, Objective, OrderedSubsets, Prior, Progress, Proximal, Rows, Run, Tv, Watch, Whole, interleaved,
    ordered_subsets, proximal,
};
use crate::testing::{Mortal, difference, within};
use crate::{Error, Projections, Result, Volume};
use std::ops::ControlFlow;
use std::sync::Mutex;

const SUBSETS: usize = 2;
const REACH: usize = 4;

fn series(rows: usize) -> Series {
    let truth = needle(rows, 3);
    let setup = setup(rows);
    let images = Series::simulate(setup.clone(), &truth).unwrap();
    Series::new(setup, &images, None).unwrap()
}

fn prior(tv: f32) -> Prior {
    let tv = (tv > 0.0).then_some(Tv { weight: tv, iterations: REACH });
    Prior { positive: true, tv }
}

/// All shots and their curvature: one number of the whole series, computed from its geometry.
fn all(series: &Series) -> (Vec<usize>, f64) {
    let shots: Vec<usize> = (0..series.setup().shots.len()).collect();
    let bound = series.curvature_bound(&shots);
    (shots, bound)
}

fn run<'a>(iterations: usize, rows: &'a mut dyn Rows, watch: &'a mut dyn Watch) -> Run<'a> {
    Run { iterations, rows, watch }
}

/// FISTA with total variation on the rows held here; the losses and the volume.
fn by_fista<T: Tilts>(
    series: &Series,
    tilts: T,
    rows: &mut dyn Rows,
    own: usize,
) -> Result<(Vec<f64>, Volume)> {
    let (shots, lipschitz) = all(series);
    let tilts = Mutex::new(tilts);
    let objective = Scattering::new(series, shots, &tilts)?;
    let mut losses = Vec::new();
    let mut watch = |progress: Progress| {
        losses.push(progress.loss);
        ControlFlow::Continue(())
    };
    let options = Proximal { lipschitz, momentum: Momentum::Restarted, prior: prior(0.2) };
    let start = Volume::zeros(series.setup().volume.with_rows(own));
    let volume = proximal(&objective, start, options, &mut run(4, rows, &mut watch))?;
    Ok((losses, volume))
}

/// Ordered subsets with capped momentum on the rows held here.
fn by_subsets<T: Tilts>(
    series: &Series,
    tilts: T,
    rows: &mut dyn Rows,
    own: usize,
) -> Result<(Vec<f64>, Volume)> {
    let tilts = Mutex::new(tilts);
    let subsets = interleaved(series.setup().shots.len(), SUBSETS);
    let lipschitz = subsets.iter().map(|shots| series.curvature_bound(shots)).fold(0.0, f64::max);
    let objectives: Vec<_> =
        subsets.into_iter().map(|shots| Scattering::new(series, shots, &tilts)).collect::<Result<_>>()?;
    let mut losses = Vec::new();
    let mut watch = |progress: Progress| {
        losses.push(progress.loss);
        ControlFlow::Continue(())
    };
    let options = OrderedSubsets { lipschitz, relaxation: 0.7, momentum_max: 0.9, prior: prior(0.2) };
    let start = Volume::zeros(series.setup().volume.with_rows(own));
    let volume = ordered_subsets(&objectives, start, options, &mut run(3, rows, &mut watch))?;
    Ok((losses, volume))
}

/// FISTA with tilts leased to workers, of which some are lost after so many messages, in a storm of messages.
fn pooled(series: &Series, lost_after: &[Option<usize>], seed: u64) -> Result<(Vec<f64>, Volume)> {
    let wishes: [fn(usize, usize) -> Option<usize>; 3] = [
        |_, _| None,
        |worker, turn| Some((5 * worker + turn) % 3),
        |worker, turn| Some((worker + 3 - turn % 3) % 3),
    ];
    let mut results = threads::run(lost_after.len() + 1, |comm| {
        let rank = crate::comm::Comm::rank(&comm);
        if rank > 0 {
            let mut comm = Mortal { comm, left: lost_after[rank - 1].unwrap_or(usize::MAX) };
            return serve_tilts(series, &mut comm).map(|()| None);
        }
        let tilts = Pooled::new(Storm::new(comm, seed, 30), wishes[seed as usize % 3])?;
        by_fista(series, tilts, &mut Whole, series.setup().volume.rows).map(Some)
    });
    results.swap_remove(0).map(Option::unwrap)
}

/// A solver of the rows held here.
type Solver<T> = fn(&Series, T, &mut dyn Rows, usize) -> Result<(Vec<f64>, Volume)>;

/// A solver on several ranks, each of which holds some rows, with messages that leave late: everyone's losses, and the rows
/// put together.
fn everywhere(
    series: &Series,
    ranks: usize,
    seed: u64,
    solver: Solver<Everywhere<Storm<threads::Thread>>>,
) -> (Vec<f64>, Volume) {
    let ranges = partition(series.setup().volume.rows, ranks);
    assert_eq!(ranges.len(), ranks);
    // Each rank has two connections: one for tilts, one for rows.
    let tilts: Vec<_> = threads::connect(ranks).into_iter().map(|comm| Mutex::new(Some(comm))).collect();
    let results = threads::run(ranks, |comm| {
        let rank = crate::comm::Comm::rank(&comm);
        let tilts = tilts[rank].lock().unwrap().take().unwrap();
        let [rows, tilts] = Storm::of_rank([comm, tilts], seed, 0);
        let mut part = Part::new(rows, ranges.clone())?;
        let tilts = Everywhere::new(tilts, &ranges)?;
        let (losses, own) = solver(series, tilts, &mut part, ranges[rank].len())?;
        Ok((losses, part.gather(&own)?))
    });
    let results: Vec<(Vec<f64>, Option<Volume>)> = results.into_iter().collect::<Result<_>>().unwrap();
    assert!(results.iter().all(|(losses, _)| *losses == results[0].0), "all ranks are told the same");
    let (losses, whole) = results.into_iter().next().unwrap();
    (losses, whole.unwrap())
}

#[test]
fn any_number_of_workers_in_any_order_gives_the_same_bits() {
    let series = series(40);
    let whole = by_fista(&series, Here, &mut Whole, 40).unwrap();
    assert!(whole.0.windows(2).all(|pair| pair[1] < pair[0]), "the loss falls: {:?}", whole.0);
    for workers in [1, 2, 3, 5] {
        for seed in 0..2 {
            assert_eq!(pooled(&series, &vec![None; workers], seed).unwrap(), whole, "{workers}, seed {seed}");
        }
    }
}

#[test]
fn any_number_of_holders_of_rows_gives_the_same_bits() {
    within(300, || {
        let series = series(75);
        let fista = by_fista(&series, Here, &mut Whole, 75).unwrap();
        let subsets = by_subsets(&series, Here, &mut Whole, 75).unwrap();
        for ranks in [1, 2, 3, 5] {
            for seed in 0..2 {
                assert_eq!(everywhere(&series, ranks, seed, by_fista), fista, "{ranks} ranks, seed {seed}");
                let found = everywhere(&series, ranks, seed, by_subsets);
                assert_eq!(found, subsets, "{ranks} ranks, seed {seed}, subsets");
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn lost_workers_leave_no_trace(
        workers in 2usize..=5,
        deaths in prop::array::uniform5(prop::option::of(0usize..12)),
        survivor in 0usize..5,
        seed in 0u64..1000,
    ) {
        let mut deaths = deaths[..workers].to_vec();
        deaths[survivor % workers] = None;
        let series = series(20);
        let whole = by_fista(&series, Here, &mut Whole, 20).unwrap();
        prop_assert_eq!(pooled(&series, &deaths, seed).unwrap(), whole);
    }
}

#[test]
fn without_workers_and_with_unreadable_messages_runs_end_with_an_error() {
    let series = series(20);
    let error = pooled(&series, &[Some(2), Some(0)], 1).unwrap_err();
    assert!(matches!(error, Error::NoWorkers { .. }), "{error}");
    for bytes in
        [vec![1, 2, 3], 9u64.to_le_bytes().to_vec(), [0u64.to_le_bytes().to_vec(), vec![0; 9]].concat()]
    {
        let results = threads::run(2, |mut comm| {
            if crate::comm::Comm::rank(&comm) == 1 {
                return serve_tilts(&series, &mut comm);
            }
            crate::decompose::Pool::new(comm)?.run(std::slice::from_ref(&bytes), &|_, _| None).map(drop)
        });
        assert!(matches!(results[0], Err(Error::Task { .. })), "{:?}", results[0]);
    }
    assert!(Scattering::new(&series, vec![4], &Mutex::new(Here)).is_err());
    let cuts = threads::connect(2).into_iter().map(|comm| Everywhere::new(comm, &[0..17, 17..20]).is_err());
    assert!(cuts.into_iter().all(|refused| refused), "slabs are not cut");
}

/// The order of solvers found on a clay phantom (section 1.5 of the summary the numbers come from), on a needle.
#[test]
fn subsets_with_momentum_gain_most_then_fista_then_plain_steps() {
    let truth = needle(24, 3);
    let mut setup = setup(24);
    let shot = |angle: f64| Shot { tilt: crate::Tilt::new(angle), foci: setup.shots[0].foci.clone() };
    setup.shots = (-6..=6).map(|step| shot(10.0 * f64::from(step))).collect();
    let images: Projections = Series::simulate(setup.clone(), &truth).unwrap();
    let series = Series::new(setup, &images, None).unwrap();
    let (shots, _) = all(&series);
    let empty = Volume::zeros(truth.shape());
    let lipschitz = 1.1 * series.curvature(&empty, &shots, 10).unwrap();
    let here = Mutex::new(Here);
    let passes = 12;
    let error = |volume: &Volume| difference(&truth, volume);
    let quiet = &mut |_: Progress| ControlFlow::Continue(());
    let mut by_steps = |momentum| {
        let objective = Scattering::new(&series, shots.clone(), &here).unwrap();
        objective.check(&empty).unwrap();
        let options = Proximal { lipschitz, momentum, prior: prior(0.0) };
        error(&proximal(&objective, empty.clone(), options, &mut run(passes, &mut Whole, quiet)).unwrap())
    };
    let (plain, fista) = (by_steps(Momentum::None), by_steps(Momentum::Nesterov));
    let subsets = interleaved(13, 4);
    let curvature = |shots: &Vec<usize>| 1.1 * series.curvature(&empty, shots, 10).unwrap();
    let lipschitz = subsets.iter().map(curvature).fold(0.0, f64::max);
    let objectives: Vec<_> =
        subsets.into_iter().map(|shots| Scattering::new(&series, shots, &here).unwrap()).collect();
    let options = OrderedSubsets { lipschitz, relaxation: 0.7, momentum_max: 0.9, prior: prior(0.0) };
    let volume = ordered_subsets(&objectives, empty, options, &mut run(passes, &mut Whole, quiet)).unwrap();
    let subsets = error(&volume);
    println!(
        "relative error after {passes} passes: plain {plain:.3}, FISTA {fista:.3}, subsets {subsets:.3}"
    );
    assert!(subsets < fista && fista < plain && plain < 1.0, "{subsets} {fista} {plain}");
    assert!(subsets < 0.75 * plain);
}
