//! The steps that a plan allows come to rest with any number of subsets; those that it does not are noticed.

use super::*;

/// Sixty-one tilts of a clay, by rays, and its images.
fn rays(subsets: usize) -> (Plan, Projections, Volume) {
    let solver = Solver::OrderedSubsets { subsets, relaxation: 0.7, momentum_max: 0.9 };
    let mut spec = spec(solver, POSITIVE, Mode::Exact {});
    (spec.volume, spec.pixels, spec.iterations) = (Shape { planes: 48, rows: 2, columns: 48 }, 48, 24);
    spec.tilts = tilts(&(-30..=30).map(|step| 2.0 * f64::from(step)).collect::<Vec<_>>());
    let truth = crate::phantom::clay(spec.volume, 4.0, 3).unwrap();
    let images = spec.model.images(&truth, spec.voxel_angstrom, &spec.tilts).unwrap();
    (Plan::new(spec).unwrap(), images, truth)
}

/// The same by waves out of focus, which show fine detail most.
fn scattered(subsets: usize) -> (Plan, Projections, Volume) {
    let (mut spec, _) = waves(Mode::Exact {});
    spec.solver = Solver::OrderedSubsets { subsets, relaxation: 0.7, momentum_max: 0.9 };
    (spec.volume, spec.pixels, spec.iterations) = (Shape { planes: 16, rows: 16, columns: 64 }, 64, 12);
    (spec.prior, spec.voxel_angstrom) = (POSITIVE, 2.0);
    spec.tilts = tilts(&(-30..=30).map(|step| 2.0 * f64::from(step)).collect::<Vec<_>>());
    let Model::Multislice(model) = &mut spec.model else { panic!("these are waves") };
    model.foci = vec![vec![Focus::underfocus(3000.0), Focus::underfocus(12_000.0)]; spec.tilts.len()];
    model.bin = 8;
    let truth = crate::phantom::clay(spec.volume, 2.0, 3).unwrap();
    let images = spec.model.images(&truth, spec.voxel_angstrom, &spec.tilts).unwrap();
    (Plan::new(spec).unwrap(), images, truth)
}

/// The result of a plan, and the misfits told.
fn run(plan: &Plan, images: &Projections) -> (Result<Volume>, Vec<f64>) {
    let mut losses = Vec::new();
    let mut told = |progress: Progress| {
        losses.push(progress.loss);
        ControlFlow::Continue(())
    };
    (plan.reconstruct(0, images, &mut Whole, &mut told), losses)
}

#[test]
fn any_number_of_subsets_comes_to_rest() {
    for (name, plan_of, counts) in [
        ("rays", rays as fn(usize) -> (Plan, Projections, Volume), &[1, 2, 5, 15, 30, 61][..]),
        ("waves", scattered, &[5, 15, 61]),
    ] {
        for subsets in counts {
            let (plan, images, truth) = plan_of(*subsets);
            let (found, losses) = run(&plan, &images);
            let error = difference(&truth, &found.unwrap());
            let (first, last) = (losses[0], losses[losses.len() - 1]);
            println!(
                "{name}, {subsets} subsets: momentum {:.2}, misfit {first:.2e} to {last:.2e}, error {error:.3}",
                plan.momentum
            );
            assert!(plan.momentum <= 0.9 && last < 0.2 * first, "{subsets}: {losses:?}");
            assert!(
                name == "waves" || *subsets > 5 || plan.momentum == 0.9,
                "few subsets bear what was chosen: {}",
                plan.momentum
            );
        }
    }
}

#[test]
fn more_momentum_than_many_subsets_bear_is_noticed_and_named() {
    for (name, plan_of) in [("rays", rays as fn(usize) -> (Plan, Projections, Volume)), ("waves", scattered)]
    {
        let (mut plan, images, _) = plan_of(15);
        (plan.momentum, plan.spec.iterations) = (0.9, 100);
        let (found, losses) = run(&plan, &images);
        println!("{name}: {losses:?}");
        let error = found.unwrap_err();
        assert!(matches!(error, Error::Diverging { .. }) && error.is_input(), "{error}");
        assert!(error.to_string().contains("fewer subsets"), "{error}");
        assert!(losses.len() < 100, "{name}: not run on to the end");
    }
}
