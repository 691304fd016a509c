//! The `parthood` command.

use clap::Parser;
use parthood::cli::Cli;
use parthood::commands;
use std::process::ExitCode;

fn main() -> ExitCode {
    let status = commands::run(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("parthood: {error}");
        error.status()
    });
    ExitCode::from(status as u8)
}
