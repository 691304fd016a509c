//! The command line: every verb and flag, documented once; help, completions and the parser come from here.

use crate::commands::quorums::QuorumsArgs;
use crate::commands::status::StatusArgs;
use crate::commands::tomo::TomoArgs;
use crate::deploy::Reads;
use crate::logging::LogArgs;
use crate::manifest::Tier;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
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
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, global = true)]
    pub timeout: f64,
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
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub timeout: f64,
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
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub seconds: f64,
    /// How many commands are issued at most.
    #[arg(long, value_name = "N")]
    pub operations: Option<u64>,
    /// The share of reads, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    pub reads: f64,
    /// How many keys there are.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub keys: u32,
    /// How uneven they are used: key i in proportion to 1 / i^SKEW.
    #[arg(long, value_name = "SKEW", default_value_t = 0.0)]
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
    #[arg(long, value_name = "K", default_value_t = 1)]
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
