//! Plans that make no sense, that were edited, or that are another machine's.

use super::*;

#[test]
fn plans_that_make_no_sense_are_refused() {
    let (solver, prior) = solvers()[1];
    let good = || spec(solver, prior, Mode::Exact {});
    let refused = |change: fn(&mut Spec)| {
        let mut spec = good();
        change(&mut spec);
        Plan::new(spec).unwrap_err().to_string()
    };
    assert!(refused(|spec| spec.volume.rows = 0).contains("rows is 0"));
    assert!(refused(|spec| spec.voxel_angstrom = f64::NAN).contains("voxel size"));
    assert!(refused(|spec| spec.tilts.clear()).contains("number of tilts"));
    assert!(refused(|spec| spec.tilts[0].angle_deg = 95.0).contains("tilt angle is 95"));
    assert!(refused(|spec| spec.prior = TV).contains("total variation"));
    assert!(refused(|spec| spec.solver = Solver::Cgls {}).contains("prior"));
    assert!(
        refused(|spec| spec.mode = Mode::Patch { core: [0, 4], halo: [0, 0], ramp: [0, 0], exterior: 1 })
            .contains("core")
    );
    assert!(
        refused(|spec| spec.mode = Mode::Patch { core: [20, 14], halo: [1, 0], ramp: [2, 0], exterior: 1 })
            .contains("ramp")
    );
    assert!(
        refused(|spec| spec.mode = Mode::Patch { core: [21, 14], halo: [4, 0], ramp: [4, 0], exterior: 1 })
            .contains("core")
    );
    assert!(
        refused(|spec| spec.mode = Mode::Patch { core: [44, 13], halo: [0, 0], ramp: [0, 0], exterior: 1 })
            .contains("column")
    );
    let plan = Plan::new(good()).unwrap();
    assert!(plan.reconstruct(1, &images(&plan.spec), &mut Whole, &mut silent).is_err());
    assert!(plan.images_of(7, &images(&plan.spec)).is_err());
    let text = plan.to_json().unwrap();
    for (from, to) in [
        ("\"format\": 3", "\"format\": 1"),
        ("\"rows\": {\n        \"start\": 0", "\"rows\": {\n        \"start\": 1"),
        ("\"lipschitz\": 1.0", "\"lipschitz\": -1.0"),
        ("\"seed\"", "\"sead\""),
        ("{", ""),
    ] {
        assert!(text.contains(from), "{from}");
        let error = Plan::from_json(&text.replacen(from, to, 1)).unwrap_err();
        assert!(matches!(error, Error::Plan { .. }), "{from} -> {to}: {error}");
    }
}

#[test]
fn numbers_without_bound_are_refused_by_name() {
    let (solver, prior) = solvers()[1];
    let good = || spec(solver, prior, Mode::Exact {});
    let subsets = |spec: &mut Spec, subsets: usize, relaxation: f64, momentum_max: f64| {
        spec.solver = Solver::OrderedSubsets { subsets, relaxation, momentum_max };
    };
    for (change, named) in [
        (
            &(|spec: &mut Spec| spec.solver = Solver::Sirt { relaxation: 2.0 }) as &dyn Fn(&mut Spec),
            "relaxation is 2",
        ),
        (&|spec| spec.solver = Solver::Sirt { relaxation: f32::NAN }, "relaxation is NaN"),
        (&|spec| subsets(spec, 0, 0.7, 0.9), "number of subsets is 0"),
        (&|spec| subsets(spec, 2, -0.7, 0.9), "relaxation is -0.7"),
        (&|spec| subsets(spec, 2, f64::INFINITY, 0.9), "relaxation is inf"),
        (&|spec| subsets(spec, 2, 0.7, f64::NAN), "largest momentum is NaN"),
        (&|spec| subsets(spec, 2, 0.7, 1.5), "largest momentum is 1.5"),
        (&|spec| spec.iterations = 0, "iterations is 0"),
        (&|spec| spec.iterations = usize::MAX, "iterations is 18446744073709551615"),
        (&|spec| spec.tilts[1].offset_px = 1e12, "image offset is 1000000000000"),
        (
            &|spec| {
                spec.solver = Solver::Proximal { momentum: Momentum::None };
                spec.prior.tv = Some(Tv { weight: 1.0, iterations: usize::MAX });
            },
            "iterations of total variation is 18446744073709551615",
        ),
        (
            &|spec| {
                spec.mode = Mode::Patch { core: [9, 7], halo: [0; 2], ramp: [0; 2], exterior: usize::MAX }
            },
            "coarse voxel is 18446744073709551615",
        ),
        (
            &|spec| {
                (spec.volume.rows, spec.volume.columns) = (1 << 20, 1 << 20);
                spec.mode = Mode::Patch { core: [1, 2], halo: [0; 2], ramp: [0; 2], exterior: 1 };
            },
            "no plan has more than 4194304 windows",
        ),
    ] {
        let mut spec = good();
        change(&mut spec);
        let error = Plan::new(spec).unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
    let mut wide = good();
    wide.mode = Mode::Patch { core: [11, 14], halo: [usize::MAX, 0], ramp: [0; 2], exterior: 1 };
    assert!(Plan::new(wide).unwrap().blocks.iter().all(|block| block.rows == (0..44)), "cut off at the ends");
}

#[test]
fn a_plan_that_was_edited_or_is_another_machines_does_not_run() {
    let (solver, prior) = solvers()[4];
    let plan = Plan::new(spec(solver, prior, Mode::Exact {})).unwrap();
    plan.check_machine().unwrap();
    Plan::from_json(&plan.to_json().unwrap()).unwrap().check_machine().unwrap();
    // One iteration more has the same constant; other tilts have not.
    let edit = |change: fn(&mut Plan)| {
        let mut edited = plan.clone();
        change(&mut edited);
        Plan::from_json(&edited.to_json().unwrap()).unwrap().check_machine()
    };
    edit(|plan| plan.spec.iterations += 1).unwrap();
    for change in [
        (|plan| plan.lipschitz *= 1.0 + f64::EPSILON) as fn(&mut Plan),
        |plan| plan.spec.seed += 1,
        |plan| plan.spec.solver = Solver::OrderedSubsets { subsets: 2, relaxation: 0.7, momentum_max: 0.9 },
    ] {
        let error = edit(change).unwrap_err().to_string();
        assert!(error.contains("its Lipschitz constant is") && error.contains("plan again"), "{error}");
    }
    let subsets = Solver::OrderedSubsets { subsets: 3, relaxation: 0.7, momentum_max: 0.9 };
    let mut faster = Plan::new(spec(subsets, prior, Mode::Exact {})).unwrap();
    faster.momentum += 0.01;
    let error = faster.check_machine().unwrap_err().to_string();
    assert!(error.contains("its momentum is") && error.contains("plan again"), "{error}");
    faster.momentum = 1.5;
    assert!(
        Plan::from_json(&faster.to_json().unwrap()).unwrap_err().to_string().contains("its momentum is 1.5")
    );
    let error = edit(|plan| plan.processor = "VAX".to_owned()).unwrap_err().to_string();
    assert!(error.contains("it was made for VAX, this machine has "), "{error}");
}
