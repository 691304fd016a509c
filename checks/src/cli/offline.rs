//! The arguments of what needs no cluster: simulations, figures, traces.

use super::Output;
use crate::deploy::Reads;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Arguments of `simulate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        parthood simulate multipaxos --seeds 20\n  \
        parthood simulate multipaxos --seed 7 --trace run.ndjson\n\n\
        The same seed and options give the same run, and the same bytes in the trace.")]
pub struct SimulateArgs {
    /// The protocol.
    pub protocol: String,
    /// The seed, or the first of several.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many seeds to run.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub seeds: u64,
    /// Record the run into this file.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// How many servers.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=25))]
    pub servers: u16,
    /// How many clients.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub clients: u16,
    /// How many commands each client issues.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub commands: usize,
    /// How long the storm lasts, in virtual time.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub seconds: u64,
    /// No faults but those that are asked for.
    #[arg(long)]
    pub calm: bool,
    /// The probability that a message is lost [default: 0.05].
    #[arg(long, value_name = "SHARE")]
    pub loss: Option<f64>,
    /// The probability that a message arrives twice [default: 0.05].
    #[arg(long, value_name = "SHARE")]
    pub duplication: Option<f64>,
    /// How many crashes, each with a restart [default: 6].
    #[arg(long, value_name = "N")]
    pub crashes: Option<u32>,
    /// How many times a server stands still for a while [default: 3].
    #[arg(long, value_name = "N")]
    pub pauses: Option<u32>,
    /// How many times links are cut for a while [default: 4].
    #[arg(long, value_name = "N")]
    pub cuts: Option<u32>,
    /// How results are written.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `figures`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        parthood figures compartmentalized            into results/figures/compartmentalized\n  \
        parthood figures --out /tmp/figures --json\n  \
        parthood figures matchmaker --second-ms 1000  reconfigurations and failures, as slow as in the paper\n  \
        parthood figures matchmaker --udp             the same over UDP on this machine\n  \
        parthood figures plan --target 1000000 --reads 0.9\n\n\
        Every node is a server that works off its queue, as fast as the paper's machines. The published numbers stand\n\
        beside ours, with the relative error and the busiest node.")]
#[command(args_conflicts_with_subcommands = true)]
pub struct FiguresArgs {
    /// Something else than the figures.
    #[command(subcommand)]
    pub verb: Option<FiguresVerb>,
    /// The paper; all of them if none is named.
    pub paper: Option<String>,
    /// The folder of the CSV and SVG files.
    #[arg(long, value_name = "FOLDER", default_value = "results/figures")]
    pub out: PathBuf,
    /// For `matchmaker`: run over UDP on this machine, in real time, instead of in the simulator.
    #[arg(long)]
    pub udp: bool,
    /// For `matchmaker`: how long a second of the paper's experiments takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(20..=10_000))]
    pub second_ms: u64,
    /// How results are written.
    #[command(flatten)]
    pub output: Output,
}

/// What else the machines of the figures are good for.
#[derive(Debug, Subcommand)]
pub enum FiguresVerb {
    /// Finds the cheapest deployment of `compartmentalized` for a throughput.
    Plan(PlanArgs),
}

/// Arguments of `figures plan`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        parthood figures plan --target 1000000 --reads 0.9\n  \
        parthood figures plan --target 200000 --f 2 --busy 0.7 --json\n\n\
        Machines are those of the figures, one to a node. Loads follow from the number of messages that a node handles per\n\
        command; the last line is what the simulated actors do.")]
pub struct PlanArgs {
    /// Commands per second.
    #[arg(long, value_name = "COMMANDS")]
    pub target: f64,
    /// The share of commands that are reads, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub reads: f64,
    /// What reads promise, or that they take the way of writes.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Reads::Linearizable)]
    pub consistency: Reads,
    /// The bytes of a value.
    #[arg(long, value_name = "BYTES", default_value_t = 16)]
    pub value_bytes: usize,
    /// How many nodes of each role may fail.
    #[arg(long, value_name = "F", default_value_t = 1)]
    pub f: usize,
    /// The largest share of its time that a node may work, above 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
    pub busy: f64,
    /// How results are written.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `trace`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        parthood trace check run-a.ndjson run-b.ndjson run-c.ndjson\n  \
        parthood trace draw run.ndjson --from 100 --steps 30 --svg part.svg")]
pub struct TraceArgs {
    /// What to do with the traces.
    #[command(subcommand)]
    pub verb: TraceVerb,
}

/// What can be done with traces.
#[derive(Debug, Subcommand)]
pub enum TraceVerb {
    /// Says what data directories hold: files, records, what is saved for whom, how the log ends. Changes nothing.
    #[command(after_help = "Example:\n  parthood trace inspect cluster/data\n\n\
        Status 1: a start would refuse something in it. If a process is at work in the directory, the end of its log may be a\n\
        write under way.")]
    Inspect {
        /// Data directories, of one process or of several below.
        #[arg(required = true)]
        folders: Vec<PathBuf>,
        /// How results are written.
        #[command(flatten)]
        output: Output,
    },
    /// Replays a recorded run through the actors: each must ask for exactly what it asked for.
    #[command(after_help = "Example:\n  parthood trace check run-a.ndjson run-b.ndjson run-c.ndjson")]
    Check {
        /// The traces of one run, in any order.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// How results are written.
        #[command(flatten)]
        output: Output,
    },
    /// Draws a part of a recorded run as a sequence diagram.
    #[command(after_help = "Example:\n  parthood trace draw run.ndjson --from 100 --steps 30 --svg part.svg")]
    Draw {
        /// The traces of one run, in any order.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The first step to draw.
        #[arg(long, value_name = "N", default_value_t = 1)]
        from: u64,
        /// How many steps to draw.
        #[arg(long, value_name = "N", default_value_t = 40)]
        steps: u64,
        /// The picture.
        #[arg(long, value_name = "FILE", default_value = "trace.svg")]
        svg: PathBuf,
    },
}
