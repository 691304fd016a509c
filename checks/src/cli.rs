//! The command line: every verb and flag, documented once; help, completions and the parser come from here.

use crate::commands::backup::{BackupArgs, RestoreArgs};
use crate::commands::quorums::QuorumsArgs;
use crate::commands::status::StatusArgs;
use crate::commands::tomo::TomoArgs;
use crate::deploy::Reads;
use crate::logging::LogArgs;
use crate::manifest::Tier;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

mod offline;
pub(crate) mod values;

pub use offline::{FiguresArgs, FiguresVerb, PlanArgs, SimulateArgs, TraceArgs, TraceVerb};

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
    /// Opens a page to step through the states of a claim in a browser.
    Explore(ExploreArgs),
    /// Checks Paxos, breaks it and draws the counterexample, runs a cluster through a crash, and reconstructs a clay.
    #[command(after_help = "Example:\n  parthood demo    pictures in results/demo")]
    Demo,
    /// Analyzes, optimises and searches read-write quorum systems.
    Quorums(QuorumsArgs),
    /// Reconstructs volumes from tilt series of an electron microscope, whole or by parts.
    Tomo(TomoArgs),
    /// Runs the deployed actors in a seeded simulator, through a storm of faults.
    Simulate(SimulateArgs),
    /// Regenerates the papers' figures from simulated runs of the actors.
    Figures(FiguresArgs),
    /// Replays or draws recorded runs, and looks into data directories.
    Trace(TraceArgs),
    /// Runs nodes of a cluster on this machine.
    Run(RunArgs),
    /// Says who leads a running cluster, who lags, who is silent, and which quorums are missing.
    Status(StatusArgs),
    /// Talks to a running cluster.
    Client(ClientArgs),
    /// Writes the contents of a running cluster into a file, as of one moment.
    Backup(BackupArgs),
    /// Puts the contents of a backup into a running cluster that is empty, and compares.
    Restore(RestoreArgs),
    /// Has a running cluster use other acceptors, and says when the old ones may be shut down.
    Reconfigure(ReconfigureArgs),
    /// Writes a new cluster key into a file.
    #[command(after_help = "Example:\n  parthood key cluster/cluster.key")]
    Key {
        /// The file, which must not exist.
        file: PathBuf,
    },
    /// Writes a completion script for a shell to stdout.
    #[command(
        after_help = "Example:\n  parthood completions bash > ~/.local/share/bash-completion/completions/parthood"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Writes the manual: the page of the program to stdout, or all pages into a folder.
    #[command(
        after_help = "Examples:\n  parthood man > parthood.1\n  parthood man --out ~/.local/share/man/man1"
    )]
    Man {
        /// The folder of the pages, one for each verb.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
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
        parthood check paxos --row mutant_own_value --svg a.svg   draws the counterexample\n  \
        parthood check paxos --manifest mine.toml       your own configurations; see `checks/manifest`\n  \
        parthood check --tier smoke,full --json > verdicts.ndjson")]
pub struct CheckArgs {
    /// The protocols to check; all of them if none is named.
    pub protocols: Vec<String>,
    /// Check the rows of this file, of the one protocol that is named, instead of those that the program brings.
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
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
    after_help = "Examples:\n  parthood explore paxos\n  parthood explore paxos --row mutant_own_value --port 3001"
)]
pub struct ExploreArgs {
    /// The protocol.
    pub protocol: String,
    /// Take the row from this file instead of those that the program brings.
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
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

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("which").args(["all", "node", "print_config"]).required(true).multiple(false),
    after_help = "Examples:\n  \
        parthood run multipaxos --all                     three nodes on this machine, in one process\n  \
        parthood run multipaxos --print-config > c.toml   a commented cluster file\n  \
        parthood run --config c.toml --node a             one node; start the others elsewhere\n  \
        parthood run --config c.toml --node a --metrics 127.0.0.1:9101 --log-format json\n  \
        parthood run --all --resp 127.0.0.1:6379          and speak to it with redis-cli\n\n\
        A gateway knows strings: GET, SET (NX, XX, GET), MGET, MSET, DEL, EXISTS, INCR, APPEND, SCAN, KEYS, MULTI/EXEC and more;\n\
        COMMAND DOCS tells all, with two of our own: CAS key old new, and PARTHOOD READS, what reads of a connection promise.\n\
        A node that has lost its data directory is started with --rejoin: it executes and serves, but does not vote.\n\
        /health is 200 if every event loop has turned within 3 s, its data directory takes a file, and the nodes that have\n\
        answered within 3 s hold every quorum that the cluster needs; else 503 with the reasons."
)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct RunArgs {
    /// The protocol, if it is not to be taken from the cluster file.
    pub protocol: Option<String>,
    /// The cluster file [default: cluster/cluster.toml, which --all writes if it is missing].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Run all nodes in this process.
    #[arg(long)]
    pub all: bool,
    /// Run this node; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub node: Vec<String>,
    /// Keep what nodes save in this folder, instead of the one that the cluster file names.
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Record every step into this file, to be replayed by `parthood trace check`.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Serve /metrics and /health over HTTP here; whoever can connect may read them.
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
    /// How the log is written.
    #[command(flatten)]
    pub log: LogArgs,
    /// Do not wait for the disk: saves survive a crash of the process, not of the machine.
    #[arg(long)]
    pub no_sync: bool,
    /// The nodes have lost what they saved: they must not vote.
    #[arg(long)]
    pub rejoin: bool,
    /// Serve clients of Redis here: an address and a port, as 127.0.0.1:6379.
    #[arg(long, value_name = "ADDR")]
    pub resp: Option<SocketAddr>,
    /// What reads of clients of Redis promise [default: as the protocol likes best].
    #[arg(long, value_enum, value_name = "HOW", requires = "resp")]
    pub reads: Option<Reads>,
    /// What clients of Redis must say: a file of one line, which only its owner can read.
    #[arg(long, value_name = "FILE", requires = "resp")]
    pub resp_password_file: Option<PathBuf>,
    /// The most clients of Redis at a time.
    #[arg(long, value_name = "N", requires = "resp", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    pub resp_clients: u16,
    /// Print a commented cluster file and end.
    #[arg(long)]
    pub print_config: bool,
}

/// Arguments of `client`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        parthood client put colour blue\n  \
        parthood client get colour\n  \
        parthood client bench --outstanding 64 --seconds 5 --check\n\n\
        Status 1: the key has no value or holds something else. Status 3: no answer in time; whether the command took\n\
        effect is then unknown.")]
pub struct ClientArgs {
    /// The cluster file [default: cluster/cluster.toml].
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// How many seconds to wait for an answer.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = values::seconds, global = true)]
    pub timeout: Duration,
    /// How reads are answered, where the protocol has a choice [default: linearizable].
    #[arg(long, value_enum, value_name = "HOW", global = true)]
    pub consistency: Option<Reads>,
    /// How results are written.
    #[command(flatten)]
    pub output: GlobalOutput,
    /// What to ask for.
    #[command(subcommand)]
    pub verb: ClientVerb,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Args)]
pub struct GlobalOutput {
    /// Write one JSON object per line.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What a client can ask for.
#[derive(Debug, Subcommand)]
pub enum ClientVerb {
    /// Sets a key.
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: String,
    },
    /// Prints the value of a key.
    Get {
        /// The key.
        key: String,
    },
    /// Removes a key.
    Delete {
        /// The key.
        key: String,
    },
    /// Sets a key if it holds what is expected.
    Cas {
        /// The key.
        key: String,
        /// What it must hold now; an empty text expects no value.
        expected: String,
        /// What it shall hold then.
        new: String,
    },
    /// Adds to the number that a key holds, and prints the sum.
    Incr {
        /// The key.
        key: String,
        /// How much to add.
        #[arg(default_value_t = 1, allow_negative_numbers = true)]
        by: i64,
    },
    /// Proposes a value to a cluster that decides once and for all, and prints what is chosen.
    Propose {
        /// The value.
        value: String,
    },
    /// Puts a load on the cluster and measures it.
    Bench(BenchArgs),
}

/// Arguments of `reconfigure`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        parthood reconfigure --acceptors acceptor-b,acceptor-c,acceptor-d\n  \
        parthood reconfigure --acceptors acceptor-a,acceptor-d --unanimous-writes\n\n\
        A new acceptor or matchmaker is added to the cluster file of all servers first, at its end, and started with an empty\n\
        disk. To ask again is harmless: the answer is how far it is.\n\n\
        A changed cluster file does the same: where its table [reconfiguration] names others, nodes that are started again with\n\
        it will have them used. Without names this command tells how far that is, and sees to it if nobody does.")]
pub struct ReconfigureArgs {
    /// The cluster file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The acceptors that vote from now on; majorities of them decide.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub acceptors: Vec<String>,
    /// The matchmakers that serve from now on, as many as before.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with_all = ["acceptors", "unanimous_writes"])]
    pub matchmakers: Vec<String>,
    /// All of them must vote, and any one that is left can say what was chosen: one more than may fail are enough.
    #[arg(long, requires = "acceptors")]
    pub unanimous_writes: bool,
    /// How long to wait until the old ones may be shut down, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::seconds)]
    pub timeout: Duration,
    /// How results are written.
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `client bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Commands outstanding at any time.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub outstanding: u32,
    /// How long commands are issued.
    #[arg(long, value_name = "N", default_value = "10", value_parser = values::seconds)]
    pub seconds: Duration,
    /// How many commands are issued at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub operations: Option<u64>,
    /// The share of reads, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = values::share)]
    pub reads: f64,
    /// How many keys there are.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub keys: u32,
    /// How uneven they are used: key i in proportion to 1 / i^SKEW.
    #[arg(long, value_name = "SKEW", default_value_t = 0.0, value_parser = values::skew)]
    pub skew: f64,
    /// The bytes of a value.
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub value_bytes: usize,
    /// Determines keys, values and order; random by default.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Record the history and check it: that it is linearizable, or what sequential and eventual reads promise.
    #[arg(long)]
    pub check: bool,
}
