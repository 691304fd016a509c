//! The log of a server: one line for each event, on stderr.
//!
//! What a library finds worth telling it tells by `tracing`. Nothing that is told holds a key, a key's file or a value of a client.

use clap::{Args, ValueEnum};
use tracing::Level;

/// How much is logged, and how.
#[derive(Clone, Copy, Debug, Args)]
pub struct LogArgs {
    /// Log lines: a time, a level, words and key=value, or one JSON object each.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged: failures, what went wrong besides, or also starts, stops and changes of the leader.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = LogLevel::Warn)]
    pub log_level: LogLevel,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What is logged; each includes those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What ends a server.
    Error,
    /// What does not.
    Warn,
    /// What happens.
    Info,
}

impl Default for LogArgs {
    fn default() -> Self {
        Self { log_format: LogFormat::Text, log_level: LogLevel::Warn }
    }
}

/// Begins to log. The first call of a process counts.
pub(crate) fn start(args: LogArgs) {
    let level = match args.log_level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
    };
    let lines =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).with_target(false);
    // Somebody else may have begun: then theirs is the log.
    let _ = match args.log_format {
        LogFormat::Text => tracing::subscriber::set_global_default(lines.finish()),
        LogFormat::Json => tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish()),
    };
}
