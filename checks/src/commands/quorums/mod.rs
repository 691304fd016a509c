//! `parthood quorums`: analyze, optimise, search and draw read-write quorum systems.

mod deploy;
mod figures;
mod input;
mod report;
mod search;
mod verbs;

use super::Console;
use crate::error::{Error, Status};
use clap::{Args, Subcommand, ValueEnum};
use input::{File, Given};
use parthood_quorums::{Cluster, Plan, ReadWriteQuorumSystem};
use std::path::{Path, PathBuf};

/// Arguments of `quorums`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        parthood quorums analyze --reads 'majority(a, b, c)'\n  \
        parthood quorums optimize study.toml --system grid --json > grid.json\n  \
        parthood quorums verify grid.json\n  \
        parthood quorums optimize --reads 'a*b + c*d' --node 'a:read=200,write=100,latency=4ms' --read-fraction 0.5\n  \
        parthood quorums optimize study.toml --system grid --deploy grid/cluster.toml\n  \
        parthood quorums search study.toml --resilience 1 --timeout 10\n\n\
        A file is TOML or JSON:\n  \
        [nodes.a]\n  read = 4000          # commands per second; or capacity = 2000 for both\n  write = 2000\n  \
        latency = \"1ms\"\n  up = 0.999           # probability\n  zone = \"eu\"\n  \
        [systems.grid]\n  reads = \"a*b + c*d*e\"\n  \
        [workload]             # weights of read fractions\n  \"0.9\" = 10\n  \"0.5\" = 100\n  \
        [goal]\n  minimise = \"load\"    # or network, latency\n  max_latency = \"4ms\"   # max_load, min_capacity, max_network\n  \
        resilient = 1          # every contacted set survives a crash")]
pub struct QuorumsArgs {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Prints what is true of systems whatever the strategy: quorums, resilience, overlap, availability.
    Analyze(CommonArgs),
    /// Finds an optimal strategy and proves it.
    Optimize(OptimizeArgs),
    /// Finds the best system over the nodes.
    Search(SearchArgs),
    /// Compares the optima of several systems, metric by metric.
    Compare(CommonArgs),
    /// Prints or draws the trade-off between two metrics.
    Pareto(ParetoArgs),
    /// Draws a strategy.
    Plot(PlotArgs),
    /// Draws quorums at random, as the optimal strategy would.
    Sample(SampleArgs),
    /// Checks a stored result of `optimize --json` in exact arithmetic, without the solver.
    Verify {
        /// The file.
        file: PathBuf,
    },
}

/// What every verb needs: nodes, systems, read fractions and a goal.
#[derive(Clone, Debug, Args)]
struct CommonArgs {
    /// A TOML or JSON file with nodes, systems, workload and goal.
    file: Option<PathBuf>,
    /// A node, as NAME:read=N,write=N,latency=1ms,up=0.99,zone=Z or NAME:capacity=N; repeat it.
    #[arg(long, value_name = "NODE")]
    node: Vec<String>,
    /// Read quorums; writes are all sets that meet them unless given.
    #[arg(long, value_name = "EXPRESSION")]
    reads: Option<String>,
    /// Write quorums.
    #[arg(long, value_name = "EXPRESSION")]
    writes: Option<String>,
    /// Use this system of the file.
    #[arg(long, value_name = "NAME")]
    system: Option<String>,
    /// A read fraction between 0 and 1, or FRACTION=WEIGHT; repeat it for a distribution, or give LEAST..MOST for the worst
    /// of a range.
    #[arg(long, value_name = "FRACTION", allow_hyphen_values = true)]
    read_fraction: Vec<String>,
    /// The metric to minimise.
    #[arg(long, value_enum)]
    minimise: Option<Metric>,
    /// The load may be at most this, in seconds per command.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    max_load: Option<f64>,
    /// The capacity 1/load must be at least this, in commands per second.
    #[arg(long, value_name = "RATE", conflicts_with = "max_load", allow_negative_numbers = true)]
    min_capacity: Option<f64>,
    /// The network load may be at most this, in nodes per command.
    #[arg(long, value_name = "NODES", allow_negative_numbers = true)]
    max_network: Option<f64>,
    /// The latency may be at most this, as 4ms or 0.004.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    max_latency: Option<String>,
    /// Contact only sets that survive so many crashes.
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    resilient: Option<usize>,
    /// Nodes that are down.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    failed: Vec<String>,
    /// Write one JSON object per line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct OptimizeArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Do not prove the optimum in exact arithmetic, which can take long for large systems.
    #[arg(long)]
    no_proof: bool,
    /// Write a cluster file in which the system and the strategy are at work, for `parthood run`.
    #[arg(long, value_name = "FILE")]
    deploy: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct SearchArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The system must survive so many crashes.
    #[arg(long, value_name = "F", default_value_t = 0, allow_negative_numbers = true)]
    resilience: usize,
    /// Stop after so many seconds and print the best so far.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<f64>,
}

#[derive(Debug, Args)]
struct ParetoArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The first metric.
    #[arg(long, value_enum, default_value = "latency")]
    x: Metric,
    /// The second metric.
    #[arg(long, value_enum, default_value = "load")]
    y: Metric,
    /// How many points.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u16).range(2..=1000), allow_negative_numbers = true)]
    points: u16,
    /// Draw the fronts into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct PlotArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// What to draw.
    #[arg(long, value_enum, default_value = "load")]
    kind: Kind,
    /// The file to draw into.
    #[arg(long, value_name = "FILE")]
    svg: PathBuf,
}

#[derive(Debug, Args)]
struct SampleArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// How many quorums.
    #[arg(short = 'n', long, default_value_t = 10, allow_negative_numbers = true)]
    count: usize,
    /// The seed; the same seed gives the same quorums.
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    seed: u64,
    /// Draw write quorums instead of read quorums.
    #[arg(long)]
    write: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Metric {
    Load,
    Network,
    Latency,
}

/// A picture of a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The load of every node, stacked by quorum.
    Load,
    /// The share of its time that every node works at capacity, stacked by quorum.
    Utilization,
    /// The commands per second of every node at capacity, stacked by quorum.
    Throughput,
    /// The load of every node against the read fraction, for one system; the load of each of several systems.
    Fraction,
    /// The capacity of every system against the read fraction.
    Capacity,
}

/// What a file of quorum systems says: the nodes, the systems by name, and the plan.
pub type Read = (Cluster, Vec<(String, ReadWriteQuorumSystem)>, Plan);

/// Reads a file's text, which is JSON if the file's name says so, TOML otherwise.
///
/// # Errors
/// The first mistake.
pub fn read(file: &Path, text: &str) -> Result<Read, Error> {
    let given = Given::of_file(File::of_text(file, text)?, false)?;
    Ok((given.cluster, given.systems, given.plan))
}

/// Does what the arguments ask for.
pub(super) fn run(args: &QuorumsArgs) -> Result<Status, Error> {
    let console = Console::new();
    match &args.verb {
        Verb::Analyze(common) => verbs::analyze(&console, &Given::new(common)?),
        Verb::Optimize(args) => {
            verbs::optimize(&console, &Given::new(&args.common)?, !args.no_proof, args.deploy.as_deref())
        }
        Verb::Search(args) => {
            search::run(&console, &Given::new(&args.common)?, args.resilience, args.timeout)
        }
        Verb::Compare(common) => verbs::compare(&console, &Given::new(common)?),
        Verb::Pareto(args) => {
            let given = Given::new(&args.common)?;
            let axes = [args.x.objective(), args.y.objective()];
            verbs::pareto(&console, &given, axes, args.points.into(), args.svg.as_deref())
        }
        Verb::Plot(args) => verbs::plot(&console, &Given::new(&args.common)?, args.kind, &args.svg),
        Verb::Sample(args) => {
            verbs::sample(&console, &Given::new(&args.common)?, args.count, args.seed, args.write)
        }
        Verb::Verify { file } => verbs::verify(&console, file),
    }
}

impl Metric {
    const fn objective(self) -> parthood_quorums::Objective {
        match self {
            Self::Load => parthood_quorums::Objective::Load,
            Self::Network => parthood_quorums::Objective::Network,
            Self::Latency => parthood_quorums::Objective::Latency,
        }
    }
}

/// An error of the library is a mistake in what was given, unless it says that there is no answer.
#[allow(clippy::needless_pass_by_value, reason = "it is passed to map_err")]
fn usage(error: parthood_quorums::Error) -> Error {
    if has_no_answer(&error) { Error::Impossible(error.to_string()) } else { Error::Usage(error.to_string()) }
}

fn has_no_answer(error: &parthood_quorums::Error) -> bool {
    use parthood_quorums::Error::{Infeasible, NoResilientSet, NothingFound};
    matches!(error, Infeasible { .. } | NoResilientSet { .. } | NothingFound { .. })
}
