//! A plan carried out by the ranks of MPI, to the file that one process would write.
//!
//! ```sh
//! parthood tomo plan tilts.mrc -o plan.json --planes 48
//! mpirun -n 4 tomo-mpi plan.json tilts.mrc rec.mrc
//! ```
//!
//! Every rank reads the plan and, once, all of the series; then of rays the rows that it reconstructs, of waves all, in window mode those of its windows. Rank 0 writes the volume.
//! Each rank computes on as many threads as `RAYON_NUM_THREADS` says, by default on all cores of its machine. Status 0 says
//! that the volume is there, 2 that what was given is at fault, 4 that a machine is.

use parthood_tomography::comm::{Comm, mpi};
use parthood_tomography::io::{Order, Survey, check_different, check_room, check_writable};
use parthood_tomography::job::Job;
use parthood_tomography::plan::Plan;
use parthood_tomography::{Error, Result};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: mpirun -n RANKS tomo-mpi PLAN SERIES VOLUME";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plan, series, out] = &arguments[..] else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match mpi::run(|comms| reconstruct(comms, plan, series, out)).flatten() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever lost a rank learns no more by it than what that rank says.
            if !matches!(error, Error::Lost { .. }) {
                eprintln!("tomo-mpi: {error}");
            }
            ExitCode::from(if error.is_input() { 2 } else { 4 })
        }
    }
}

fn reconstruct<C: Comm>(comms: [C; 2], plan: &str, series: &str, out: &str) -> Result<()> {
    let is_first = comms[0].rank() == 0;
    let [plan, series, out] = [plan, series, out].map(Path::new);
    check_different([plan, series], [out])?;
    let text = std::fs::read_to_string(plan).map_err(|error| Error::File {
        path: plan.into(),
        doing: "read the plan",
        why: error.to_string(),
    })?;
    let plan = Plan::from_json(&text)?;
    plan.check_machine()?;
    let survey = Survey::of(series)?;
    let job = Job::new(&plan, 0, &survey)?;
    if is_first {
        check_writable(out)?;
        check_room(out, plan.disk_bytes(false))?;
    }
    match job.reconstruct_among(comms)? {
        Some(volume) => job.write(&volume, out, Order::Planes),
        None => Ok(()),
    }
}
