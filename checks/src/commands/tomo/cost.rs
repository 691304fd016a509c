//! What a plan needs of a machine, told before the work, and how to get along with less.

use super::MachineArgs;
use super::words::{bytes, duration};
use crate::commands::Console;
use crate::error::Error;
use parthood_tomography::io::mrc::Order;
use parthood_tomography::io::{Survey, writing_bytes};
use parthood_tomography::job::Bands;
use parthood_tomography::plan::{Estimate, Mode, Model, Plan, Solver, Spec, Speed};
use serde_json::json;
use std::path::Path;

/// Fails if it takes more memory than there is to find out what a plan needs.
pub(super) fn check_planning(draft: &Plan, machine: MachineArgs) -> Result<(), Error> {
    machine.check_memory("planning this", draft.planning_bytes(machine.threads()))
}

/// What a plan needs on this machine.
pub(super) struct Cost {
    estimate: Estimate,
    /// Of the largest block, on the threads that there are.
    seconds: f64,
    threads: usize,
    halo: Option<[usize; 2]>,
    windows: Option<Windowed>,
}

/// The windows of a plan, and what is known of how far its result is from the whole's.
struct Windowed {
    core: usize,
    halo: usize,
    count: usize,
    /// The share of a wave that comes from beyond the halo, at most.
    beyond: f64,
    /// What a gradient that differs by 1 from the whole's adds to the difference of the volumes, at most.
    each: f64,
}

impl Windowed {
    fn of(plan: &Plan) -> Result<Option<Self>, Error> {
        let Mode::Window { core, halo } = plan.spec.mode else { return Ok(None) };
        let relaxation = match plan.spec.solver {
            Solver::OrderedSubsets { relaxation, .. } => relaxation,
            _ => 1.0,
        };
        let (count, beyond) = (plan.spec.volume.rows.div_ceil(core), plan.spec.beyond(halo)?);
        Ok(Some(Self { core, halo, count, beyond, each: relaxation / plan.lipschitz }))
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "core": self.core, "halo": self.halo, "count": self.count, "beyond": self.beyond,
            "of_each_gradient": self.each,
        })
    }
}

impl Cost {
    pub(super) fn of(plan: &Plan, machine: MachineArgs) -> Result<Self, Error> {
        let threads = machine.threads();
        let estimate = plan.estimate(1, threads);
        let speed = machine.on_threads(|| Speed::measure(plan))??;
        let halo = match plan.spec.mode {
            Mode::Patch { halo, .. } => Some(halo),
            _ => None,
        };
        let windows = Windowed::of(plan)?;
        Ok(Self { seconds: estimate.seconds(speed, threads), estimate, threads, halo, windows })
    }

    pub(super) fn tell(&self, console: &Console, plan: &Plan) -> Result<(), Error> {
        let Spec { volume, voxel_angstrom, ref tilts, .. } = plan.spec;
        let [planes, rows, columns] = volume.to_array();
        console.line(format_args!(
            "volume       {columns} x {rows} x {planes} voxels (x, y, z) of {voxel_angstrom} \u{c5}, from {} tilts, {} images",
            tilts.len(),
            plan.spec.images()
        ))?;
        console.line(format_args!("solver       {}", plan.spec.summary()))?;
        if let Solver::OrderedSubsets { subsets, momentum_max, .. } = plan.spec.solver
            && plan.momentum < momentum_max
        {
            console.line(format_args!(
                "momentum     at most {:.2}: with {momentum_max} the steps of {subsets} subsets would not come to rest",
                plan.momentum
            ))?;
        }
        if let (
            Some([rows, columns]),
            Mode::Patch { core: [core_rows, core_columns], ramp: [ramp_rows, ramp_columns], .. },
        ) = (self.halo, plan.spec.mode)
        {
            console.line(format_args!(
                "blocks       {} of {core_rows} rows and {core_columns} columns, halo {rows} and {columns}, blended over \
                 {ramp_rows} and {ramp_columns} on each side",
                plan.blocks.len()
            ))?;
        }
        if let Some(Windowed { core, halo, count, beyond, each }) = &self.windows {
            console.line(format_args!(
                "windows      {count} of {core} rows, halo {halo}; at most {beyond:.1e} of a wave comes from beyond it"
            ))?;
            console.line(format_args!(
                "             off by at most the differences of {} gradients from the whole's, each times {each:.2e} (without \
                 momentum)",
                plan.spec.iterations
            ))?;
        }
        if let Model::Multislice(model) = &plan.spec.model {
            let (bin, largest) = (model.bin, model.largest_bin(voxel_angstrom));
            console.line(format_args!("slices       of {bin} planes; --bin should be at most {largest}"))?;
        }
        let each = if plan.blocks.len() > 1 { " for a block" } else { "" };
        console.line(format_args!("memory       about {}{each}", bytes(self.estimate.bytes)))?;
        console.line(format_args!(
            "time         about {}{each}, on {} threads",
            duration(self.seconds),
            self.threads
        ))
    }

    pub(super) fn json(&self, plan: &Plan) -> Result<serde_json::Value, Error> {
        Ok(json!({
            "schema": "parthood.tomo.plan/1", "plan": plan.hash()?, "summary": plan.spec.summary(),
            "blocks": plan.blocks.len(), "halo": self.halo, "bytes": self.estimate.bytes, "seconds": self.seconds,
            "threads": self.threads, "tilts": plan.spec.tilts.len(), "images": plan.spec.images(),
            "shape": plan.spec.volume.to_array(), "windows": self.windows.as_ref().map(Windowed::json),
        }))
    }
}

/// How to get along with the memory that there is: none if all fits, bands from disk if they do and the file can be written
/// by sections, where `out` says which file in which order.
pub(super) fn fit(
    plan: &Plan,
    machine: MachineArgs,
    series: &Survey,
    out: Option<(&Path, Order)>,
) -> Result<Option<Bands>, Error> {
    let (limit, whose) = machine.limit();
    let needed = plan.estimate(1, machine.threads()).bytes;
    if needed <= limit {
        return Ok(None);
    }
    let needs = format!("this needs about {} of memory, and {} are {whose}", bytes(needed), bytes(limit));
    if plan.spec.mode != (Mode::Exact {}) {
        return Err(Error::Usage(format!("{needs}; plan smaller blocks, or take fewer threads")));
    }
    if let Some((out, order)) = out {
        let writing = writing_bytes(out, plan.spec.volume, order);
        if writing > limit {
            let (out, writing) = (out.display(), bytes(writing));
            return Err(Error::Usage(format!(
                "{needs}; from disk, writing {out} alone would take {writing}: write an .mrc"
            )));
        }
    }
    let bands = plan.bands(limit, machine.threads(), series);
    bands.map(Some).map_err(|why| {
        Error::Usage(format!(
            "{needs}; it cannot be done from disk either: {why}; or plan blocks with --mode patch"
        ))
    })
}

/// Tells how a job is done in bands.
pub(super) fn tell_bands(console: &Console, bands: Bands) -> Result<(), Error> {
    let how = if bands.apart { "one after the other" } else { "in step" };
    console.line(format_args!(
        "from disk    {} bands of {} rows, {how}, about {} of memory and {} on disk",
        bands.count,
        bands.rows,
        bytes(bands.bytes),
        bytes(bands.disk_bytes)
    ))
}
