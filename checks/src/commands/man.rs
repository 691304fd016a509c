//! `parthood man`

use super::Console;
use crate::cli::Cli;
use crate::error::{Error, Status};
use crate::files;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use std::path::Path;

pub(super) fn run(folder: Option<&Path>) -> Result<Status, Error> {
    let pages = pages();
    let Some(folder) = folder else {
        for (_, page) in pages.iter().take(1) {
            Console::new().raw(page)?;
        }
        return Ok(Status::Done);
    };
    for (name, page) in &pages {
        files::write(&folder.join(name), page)?;
    }
    Console::new().line(format_args!("{} pages in {}", pages.len(), folder.display()))?;
    Ok(Status::Done)
}

/// The manual: a page for the program and one for each verb and its verbs, with the names of their files.
pub fn pages() -> Vec<(String, Vec<u8>)> {
    let mut command = Cli::command();
    command.build();
    let mut pages = Vec::new();
    add(&command, &mut pages);
    pages
}

fn add(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) {
    let man = Man::new(command.clone()).source(concat!("parthood ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render(&mut page).expect("memory takes what is written to it");
    pages.push((man.get_filename(), page));
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        add(verb, pages);
    }
}
