//! The solvers against closed forms, against each other, and against what they minimise.

use super::*;
use crate::geometry::centre;
use crate::project::Joseph;
use crate::testing::{difference, noise, tilts};
use crate::{Error, Shape, Tilt};

/// A smooth blob off the centre: a volume whose projections are well sampled.
fn blob(joseph: &Joseph, rows: usize) -> Volume {
    let shape = joseph.volume_shape(rows);
    Stack::from_fn(shape, |z, y, x| {
        let (x, z) = (x as f64 - centre(shape.columns) - 2.5, z as f64 - centre(shape.planes) + 1.5);
        ((1.0 + 0.1 * y as f64) * (-(x * x + z * z) / 18.0).exp()) as f32
    })
}

fn every(step: usize, limit: i32) -> Vec<Tilt> {
    tilts(&(-limit..=limit).step_by(step).map(f64::from).collect::<Vec<_>>())
}

fn measured(projector: &dyn Projector, volume: &Volume) -> Projections {
    let mut images = Stack::zeros(projector.image_shape(volume.shape().rows));
    projector.project(volume, &mut images).unwrap();
    images
}

/// Runs a solver and gives its result and losses.
fn watched(iterations: usize, solve: impl FnOnce(&mut Run<'_>) -> Result<Volume>) -> (Volume, Vec<f64>) {
    let mut losses = Vec::new();
    let mut progress = |progress: Progress| {
        losses.push(progress.loss);
        ControlFlow::Continue(())
    };
    let mut run = Run { iterations, rows: &mut Whole, watch: &mut progress };
    let volume = solve(&mut run).unwrap();
    (volume, losses)
}

#[test]
fn filtered_back_projection_finds_a_blob_again() {
    let tilts = tilts(&(0..120).map(|step| -90.0 + 1.5 * f64::from(step)).collect::<Vec<_>>());
    let joseph = Joseph::new(48, 48, 64, &tilts).unwrap();
    let truth = blob(&joseph, 3);
    let images = measured(&joseph, &truth);
    for (filter, limit) in [(Filter::RamLak, 0.03), (Filter::SheppLogan, 0.04), (Filter::Hann, 0.09)] {
        let volume = wbp(&joseph, &tilts, &images, filter).unwrap();
        let error = difference(&truth, &volume);
        println!("{filter:?}: {error:.4}");
        assert!(error < limit, "{filter:?}: {error}");
    }
    assert!(wbp(&joseph, &tilts[..1], &images, Filter::RamLak).is_err());
}

#[test]
fn windows_are_1_at_0_and_fall() {
    for filter in [Filter::SheppLogan, Filter::Hann] {
        assert_eq!(filter.window(0.0), 1.0);
        assert!(filter.window(0.25) < 1.0 && filter.window(0.5) < filter.window(0.25));
    }
    assert!(Filter::Hann.window(0.5).abs() < 1e-15);
}

#[test]
fn solvers_descend_to_the_same_volume() {
    let joseph = Joseph::new(24, 24, 32, &every(6, 84)).unwrap();
    let truth = blob(&joseph, 2);
    let images = measured(&joseph, &truth);
    let data = Data { projector: &joseph, images: &images };
    let zero = || Stack::zeros(truth.shape());
    let lipschitz = lipschitz(&joseph, 1, 20).unwrap();
    let prior = Prior { positive: true, tv: None };
    let options = |momentum| Proximal { lipschitz, momentum, prior };
    let results = [
        ("SIRT", watched(150, |run| sirt(data, zero(), Sirt::default(), run))),
        ("PG", watched(150, |run| proximal(&data, zero(), options(Momentum::None), run))),
        ("FISTA", watched(60, |run| proximal(&data, zero(), options(Momentum::Nesterov), run))),
        ("restarted", watched(60, |run| proximal(&data, zero(), options(Momentum::Restarted), run))),
        ("CGLS", watched(20, |run| cgls(data, zero(), run))),
    ];
    for (name, (volume, losses)) in &results {
        let (error, last) = (difference(&truth, volume), losses[losses.len() - 1] / losses[0]);
        println!("{name}: error {error:.4}, loss {last:.1e} of the first after {}", losses.len());
        assert!(error < 0.05 && last < 1e-3, "{name}: {error} {last}");
    }
    for (name, (_, losses)) in [&results[1], &results[4]] {
        assert!(losses.windows(2).all(|pair| pair[1] <= pair[0] * (1.0 + 1e-5)), "{name} never rises");
    }
}

#[test]
fn ordered_subsets_are_ahead_of_fista_after_a_few_passes() {
    let tilts = every(3, 60);
    let joseph = Joseph::new(24, 24, 32, &tilts).unwrap();
    let truth = blob(&joseph, 2);
    let images = measured(&joseph, &truth);
    let indices = interleaved(tilts.len(), 5);
    assert_eq!(indices.iter().map(Vec::len).sum::<usize>(), tilts.len());
    let parts: Vec<(Joseph, Projections)> = indices
        .iter()
        .map(|subset| {
            let tilts: Vec<Tilt> = subset.iter().map(|index| tilts[*index]).collect();
            (Joseph::new(24, 24, 32, &tilts).unwrap(), images.planes(subset).unwrap())
        })
        .collect();
    let subsets: Vec<Data<'_>> = parts.iter().map(|(projector, images)| Data { projector, images }).collect();
    let largest = parts.iter().map(|(joseph, _)| lipschitz(joseph, 1, 20).unwrap()).fold(0.0_f64, f64::max);
    let prior = Prior { positive: true, tv: None };
    let options = OrderedSubsets { lipschitz: largest, relaxation: 0.7, momentum_max: 0.9, prior };
    let zero = || Stack::zeros(truth.shape());
    let (by_subsets, _) = watched(8, |run| ordered_subsets(&subsets, zero(), options, run));
    let whole = lipschitz(&joseph, 1, 20).unwrap();
    let data = Data { projector: &joseph, images: &images };
    let fista = Proximal { lipschitz: whole, momentum: Momentum::Nesterov, prior };
    let (by_fista, _) = watched(8, |run| proximal(&data, zero(), fista, run));
    let errors = [difference(&truth, &by_subsets), difference(&truth, &by_fista)];
    println!("after 8 passes: subsets {:.4}, FISTA {:.4}", errors[0], errors[1]);
    assert!(errors[0] < errors[1]);
    assert!(
        ordered_subsets(
            &[] as &[Data<'_>],
            zero(),
            options,
            &mut never(&mut Whole, &mut |_: Progress| -> ControlFlow<()> { unreachable!() })
        )
        .is_err()
    );
}

fn never<'a>(rows: &'a mut Whole, watch: &'a mut dyn Watch) -> Run<'a> {
    Run { iterations: 1, rows, watch }
}

#[test]
fn the_constant_is_the_largest_eigenvalue_and_a_tenth() {
    // At tilt 0 alone, A^T A adds each column of `planes` voxels: the eigenvalue is the number of planes.
    let joseph = Joseph::new(9, 7, 7, &tilts(&[0.0])).unwrap();
    let constant = lipschitz(&joseph, 5, 10).unwrap();
    assert!((constant - 9.9).abs() < 1e-4, "{constant}");
    assert_eq!(constant, lipschitz(&joseph, 5, 10).unwrap());
}

/// `w sum |D x|` in plain loops and `f64`: a second opinion.
fn total_variation(volume: &Volume) -> f64 {
    let Shape { planes, rows, columns } = volume.shape();
    let at = |z: usize, y: usize, x: usize| f64::from(volume.at(z, y, x));
    let mut sum = 0.0;
    for z in 0..planes {
        for y in 0..rows {
            for x in 0..columns {
                let own = at(z, y, x);
                let along_z = if z + 1 < planes { at(z + 1, y, x) - own } else { 0.0 };
                let along_y = if y + 1 < rows { at(z, y + 1, x) - own } else { 0.0 };
                let along_x = if x + 1 < columns { at(z, y, x + 1) - own } else { 0.0 };
                sum += (along_z * along_z + along_y * along_y + along_x * along_x).sqrt();
            }
        }
    }
    sum
}

#[test]
fn total_variation_is_minimised_as_the_duality_gap_proves() {
    let target = noise(Shape::new(5, 21, 6).unwrap(), 4);
    let weight = 0.2;
    let squared = |stack: &Stack| stack.row_dots(stack).iter().sum::<f64>();
    let mut gaps = Vec::new();
    for iterations in [5, 50, 1000] {
        let prior = Prior { positive: false, tv: Some(Tv { weight, iterations }) };
        let volume = prior.apply(target.clone(), &mut Whole).unwrap();
        let mut gap = volume.clone();
        gap.update([&target], |value, [target]| value - target);
        let primal = 0.5 * squared(&gap) + f64::from(weight) * total_variation(&volume);
        // The last primal step is x = b - w D^T p with |p| <= 1, whose dual value is |b|^2 / 2 - |x|^2 / 2.
        let dual = 0.5 * (squared(&target) - squared(&volume));
        gaps.push((primal - dual) / primal);
    }
    println!("relative duality gap after 5, 50, 1000 iterations: {gaps:?}");
    assert!(gaps[0] > gaps[1] && gaps[1] > gaps[2] && gaps[2] < 1e-4, "{gaps:?}");
    assert!(gaps[2] > -1e-6, "below 0 the dual point would not be feasible: {gaps:?}");
}

#[test]
fn total_variation_keeps_constants_and_the_mean_and_the_sign() {
    let tv = Some(Tv { weight: 0.5, iterations: 20 });
    let flat = Stack::from_fn(Shape::new(4, 19, 5).unwrap(), |_, _, _| 3.25);
    assert_eq!(Prior { positive: true, tv }.apply(flat.clone(), &mut Whole).unwrap(), flat);
    let rough = noise(flat.shape(), 8);
    let smooth = Prior { positive: false, tv }.apply(rough.clone(), &mut Whole).unwrap();
    let sum = |stack: &Stack| stack.row_dots(&flat).iter().sum::<f64>() / 3.25;
    assert!((sum(&rough) - sum(&smooth)).abs() < 1e-4, "reflecting ends lose nothing");
    assert!(total_variation(&smooth) < 0.1 * total_variation(&rough));
    let positive = Prior { positive: true, tv }.apply(rough, &mut Whole).unwrap();
    assert!(positive.to_array().iter().all(|value| *value >= 0.0));
}

#[test]
fn a_run_stops_when_told_and_refuses_what_makes_no_sense() {
    let joseph = Joseph::new(8, 8, 8, &tilts(&[0.0, 45.0])).unwrap();
    let images = measured(&joseph, &blob(&joseph, 1));
    let data = Data { projector: &joseph, images: &images };
    let zero = || Stack::zeros(joseph.volume_shape(1));
    let mut calls = 0;
    let mut stop = |_: Progress| {
        calls += 1;
        if calls == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut run = Run { iterations: 100, rows: &mut Whole, watch: &mut stop };
    sirt(data, zero(), Sirt::default(), &mut run).unwrap();
    assert_eq!(calls, 3);
    let mut go = |_: Progress| ControlFlow::Continue(());
    let mut run = Run { iterations: 1, rows: &mut Whole, watch: &mut go };
    let wrong = Stack::zeros(joseph.volume_shape(2));
    assert!(matches!(sirt(data, wrong, Sirt::default(), &mut run), Err(Error::Shape { .. })));
    assert!(sirt(data, zero(), Sirt { relaxation: 2.0, positive: true }, &mut run).is_err());
    let options = |lipschitz, weight| Proximal {
        lipschitz,
        momentum: Momentum::None,
        prior: Prior { positive: true, tv: Some(Tv { weight, iterations: 3 }) },
    };
    assert!(proximal(&data, zero(), options(0.0, 1.0), &mut run).is_err());
    assert!(proximal(&data, zero(), options(1.0, f32::NAN), &mut run).is_err());
}

/// Keeps every state in memory, and begins with one of an earlier run.
#[derive(Default)]
struct Memory {
    states: Vec<State>,
    begin: Option<State>,
    told: usize,
}

impl Watch for Memory {
    fn progress(&mut self, _: Progress) -> ControlFlow<()> {
        self.told += 1;
        ControlFlow::Continue(())
    }

    fn resume(&mut self) -> Result<Option<State>> {
        Ok(self.begin.take())
    }

    fn keep(&mut self, iterations: usize, scalars: &[f64], stacks: &[&Stack]) -> Result<()> {
        let stacks = stacks.iter().map(|stack| (*stack).clone()).collect();
        self.states.push(State { iterations, scalars: scalars.to_vec(), stacks });
        Ok(())
    }
}

#[test]
fn a_solver_that_was_interrupted_anywhere_ends_in_the_same_bits() {
    const ITERATIONS: usize = 6;
    let joseph = Joseph::new(14, 16, 18, &every(15, 60)).unwrap();
    let mut images = measured(&joseph, &blob(&joseph, 20));
    let grain = noise(images.shape(), 5);
    images.update([&grain], |value, [grain]| value + grain);
    let data = Data { projector: &joseph, images: &images };
    let lipschitz = lipschitz(&joseph, 1, 10).unwrap();
    let prior = Prior { positive: true, tv: Some(Tv { weight: 0.05, iterations: 3 }) };
    let solve = |solver: usize, watch: &mut Memory| {
        let start = Stack::zeros(joseph.volume_shape(20));
        let run = &mut Run { iterations: ITERATIONS, rows: &mut Whole, watch };
        let options = |momentum, factor| Proximal { lipschitz: lipschitz / factor, momentum, prior };
        let subsets = OrderedSubsets { lipschitz, relaxation: 0.7, momentum_max: 0.9, prior };
        match solver {
            0 => sirt(data, start, Sirt::default(), run),
            1 => cgls(data, start, run),
            2 => proximal(&data, start, options(Momentum::Nesterov, 1.0), run),
            // Too long a step, so that the loss rises and momentum starts anew.
            3 => proximal(&data, start, options(Momentum::Restarted, 2.5), run),
            _ => ordered_subsets(&[data, data], start, subsets, run),
        }
    };
    for solver in 0..5 {
        let mut memory = Memory::default();
        let whole = solve(solver, &mut memory).unwrap();
        assert_eq!(memory.states.len(), ITERATIONS);
        let mut needed = vec![false; memory.states[0].stacks.len()];
        let mut scalar_needed = memory.states[0].scalars.is_empty();
        for state in &memory.states {
            let mut again = Memory { begin: Some(state.clone()), ..Memory::default() };
            assert_eq!(solve(solver, &mut again).unwrap(), whole, "{solver} after {}", state.iterations);
            assert_eq!(again.told, ITERATIONS - state.iterations, "what was done is not done again");
            // Each number and each stack that is kept is needed, if two iterations are left to show it. Positivity may hide
            // the change of a voxel one way, or now and then.
            if state.iterations < ITERATIONS - 1 {
                let changes = |change: &dyn Fn(&mut State)| {
                    let mut state = state.clone();
                    change(&mut state);
                    solve(solver, &mut Memory { begin: Some(state), ..Memory::default() }).unwrap() != whole
                };
                for (stack, needed) in needed.iter_mut().enumerate() {
                    let shape = state.stacks[stack].shape();
                    *needed |= [1.0, -1.0].into_iter().any(|change| {
                        changes(&|state| {
                            *state.stacks[stack].at_mut(shape.planes / 2, 3, shape.columns / 2) += change;
                        })
                    });
                }
                if let Some(first) = state.scalars.first() {
                    scalar_needed |= changes(&|state| state.scalars[0] = first + 1.0);
                }
            }
        }
        assert!(needed.iter().all(|needed| *needed) && scalar_needed, "{solver}: {needed:?} {scalar_needed}");
        let mut foreign = memory.states[0].clone();
        foreign.stacks.pop();
        let mut foreign = Memory { begin: Some(foreign), ..Memory::default() };
        assert!(matches!(solve(solver, &mut foreign), Err(Error::Plan { .. })), "{solver}");
    }
}
