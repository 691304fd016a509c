//! The verbs: each takes its arguments and ends with a status or an error.

pub mod backup;
mod check;
mod client;
mod demo;
mod explore;
mod figures;
mod inspect;
mod list;
pub mod man;
pub mod quorums;
mod reconfigure;
mod run;
mod simulate;
pub mod status;
pub mod tomo;
mod trace;

use crate::cli::{Cli, Verb};
use crate::deploy::{Cluster, DEFAULT_CLUSTER_FILE};
use crate::error::{Error, Status};
use crate::logging::{self, LogArgs};
use clap::CommandFactory;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// The cluster file that is meant.
fn cluster_file(given: Option<&Path>) -> &Path {
    given.unwrap_or(Path::new(DEFAULT_CLUSTER_FILE))
}

/// The cluster that is meant.
fn cluster(file: Option<&Path>) -> Result<Cluster, Error> {
    Cluster::load(cluster_file(file))
}

/// Does what the command line asks for.
///
/// # Errors
/// Anything that keeps it from being done; [`Error::status`] is then the exit status.
pub fn run(cli: Cli) -> Result<Status, Error> {
    logging::start(match &cli.verb {
        Verb::Run(args) => args.log,
        _ => LogArgs::default(),
    });
    match cli.verb {
        Verb::List(args) => list::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Explore(args) => explore::run(&args),
        Verb::Demo => demo::run(),
        Verb::Quorums(args) => quorums::run(&args),
        Verb::Simulate(args) => simulate::run(&args),
        Verb::Tomo(args) => tomo::run(&args),
        Verb::Figures(args) => figures::run(&args),
        Verb::Trace(args) => trace::run(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Client(args) => client::run(&args),
        Verb::Backup(args) => backup::backup(&args),
        Verb::Restore(args) => backup::restore(&args),
        Verb::Reconfigure(args) => reconfigure::run(&args),
        Verb::Key { file } => run::key(&file),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "parthood", &mut script);
            Console::new().raw(&script)?;
            Ok(Status::Done)
        }
        Verb::Man { out } => man::run(out.as_deref()),
    }
}

/// Where results go: stdout, with colours if a person reads it.
struct Console {
    out: io::Stdout,
    coloured: bool,
}

/// What a piece of text says, and so how it looks.
#[derive(Clone, Copy)]
enum Tone {
    Good,
    Bad,
    Open,
    Strong,
    Faint,
}

impl Console {
    fn new() -> Self {
        let out = io::stdout();
        let coloured = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { out, coloured }
    }

    /// Writes a line. A reader that goes away, as `head` does, ends the program quietly.
    fn line(&self, text: impl std::fmt::Display) -> Result<(), Error> {
        self.raw(format!("{text}\n").as_bytes())
    }

    fn json(&self, value: &serde_json::Value) -> Result<(), Error> {
        self.line(value)
    }

    fn raw(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut out = self.out.lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            written => {
                written.map_err(|error| Error::Environment(format!("cannot write to stdout: {error}")))
            }
        }
    }

    fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Open => "33",
            Tone::Strong => "1",
            Tone::Faint => "2",
        };
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A whole number as people write it: 1,234,567.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
