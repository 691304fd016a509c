//! The command line: every verb and flag, documented once; help, completions and the parser come from here.

use crate::manifest::Tier;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Protocols and tomography taken apart, each part checked against its whole, and run for real.
#[derive(Debug, Parser)]
#[command(
    name = "parthood",
    version,
    about,
    after_help = "Exit status: 0 holds or done, 1 violated or differing, 2 usage, 3 inconclusive, 4 environment.\n\
                  Human text and --json go to stdout, progress and logs to stderr.",
    propagate_version = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Lists the protocols, or the claims about one.
    List(ListArgs),
    /// Checks claims exhaustively within their bounds.
    Check(CheckArgs),
    /// Opens a claim in the Explorer, to step through its states in a browser.
    Explore(ExploreArgs),
    /// Writes a completion script for a shell to stdout.
    #[command(
        after_help = "Example:\n  parthood completions bash > ~/.local/share/bash-completion/completions/parthood"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// How results are written.
#[derive(Clone, Copy, Debug, Args)]
pub struct Output {
    /// Write one JSON object per line.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  parthood list\n  parthood list paxos")]
pub struct ListArgs {
    /// The protocol whose layers and claims to list.
    pub protocol: Option<String>,
    /// How results are written.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        parthood check                                  all claims of tier smoke\n  \
        parthood check paxos --mutants                  and that each broken rule is noticed\n  \
        parthood check paxos --row own_value --svg a.svg   draws the counterexample of a mutant\n  \
        parthood check --tier smoke,full --json > verdicts.ndjson")]
pub struct CheckArgs {
    /// The protocols to check; all of them if none is named.
    pub protocols: Vec<String>,
    /// The tiers to check.
    #[arg(long, value_delimiter = ',', default_value = "smoke")]
    pub tier: Vec<Tier>,
    /// Check this row only, whatever its tier.
    #[arg(long, value_name = "NAME")]
    pub row: Option<String>,
    /// Check the rows with a broken rule too.
    #[arg(long)]
    pub mutants: bool,
    /// Draw the path of the first row that has one into this file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// How many threads check; all cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Give a row up after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Give a row up after so many states.
    #[arg(long, value_name = "N")]
    pub states_max: Option<usize>,
    /// How results are written.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `explore`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  parthood explore paxos\n  parthood explore paxos --row own_value --port 3001"
)]
pub struct ExploreArgs {
    /// The protocol.
    pub protocol: String,
    /// The row whose bounds to explore; the first by default.
    #[arg(long, value_name = "NAME")]
    pub row: Option<String>,
    /// The port; a free one is taken if it is busy.
    #[arg(long, value_name = "N", default_value_t = 3000)]
    pub port: u16,
    /// A path as `check` prints it, to open its last state.
    #[arg(long, value_name = "0/4/2")]
    pub path: Option<String>,
}
