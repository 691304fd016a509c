//! What a newcomer meets first: the front page of the documentation, the guide, help, the manual, the page of `explore`.

use crate::harness::{command, page, parthood};
use clap::CommandFactory;
use parthood::cli::Cli;
use parthood::commands::man;
use parthood::registry::PROTOCOLS;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn text(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn every_protocol_is_one_click_from_the_front_page() {
    let page = text("checks/src/lib.rs");
    for protocol in PROTOCOLS {
        let name = protocol.name;
        for link in [format!("[`{name}`](protocols::{name})"), format!("[claims](models::{name})")] {
            assert!(page.contains(&link), "the front page lacks {link}");
        }
    }
}

#[test]
fn the_guide_shows_its_modules_as_they_are() {
    let guide = text("GUIDE.md");
    for module in ["adder", "claims"] {
        let source = text(&format!("checks/src/guide/{module}.rs"));
        let (_, code) = source.split_once("\n\n").unwrap();
        assert!(guide.contains(code.trim()), "GUIDE.md does not show checks/src/guide/{module}.rs as it is");
    }
}

#[test]
fn the_files_that_documents_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for document in ["GUIDE.md", "COMPARE.md", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = text(document);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let links = links.filter(|link| !link.is_empty() && !link.contains("::"));
        let endings = [".rs", ".md", ".py", ".json", ".svg"];
        let is_file = |word: &&str| word.contains('/') && endings.iter().any(|ending| word.ends_with(ending));
        let is_plain = |word: &&str| !word.contains(['*', '{', ' ']);
        // A path that is no path from the top is one within a part that the text speaks of.
        let tops = ["checks/", "models/", "protocols/", "specs/", "tests/", "tomography/"];
        let words = text.split('`').filter(is_file).filter(is_plain);
        let words = words.filter(|word| tops.iter().any(|top| word.starts_with(top)));
        for file in links.chain(words) {
            assert!(root.join(file).exists(), "{document} names {file}, which is not there");
        }
    }
}

#[test]
fn every_verb_has_help_with_an_example() {
    let mut command = Cli::command();
    command.build();
    for verb in command.get_subcommands() {
        let name = verb.get_name();
        let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains(&format!("\n  parthood {name}")), "{name} has no example: {help}");
        for part in std::iter::once(verb).chain(verb.get_subcommands()) {
            assert!(part.get_about().is_some(), "{name} {} does not say what it does", part.get_name());
        }
    }
}

#[test]
fn the_manual_has_a_page_for_every_verb_that_man_can_show() {
    let folder = tempfile::tempdir().unwrap();
    let ended = parthood(folder.path(), &["man", "--out", "man1"]);
    assert_eq!(ended.status, 0, "{ended:?}");
    for verb in Cli::command().get_subcommands() {
        let page = folder.path().join("man1").join(format!("parthood-{}.1", verb.get_name()));
        assert!(page.exists(), "{} is missing", page.display());
    }
    assert!(folder.path().join("man1/parthood-trace-draw.1").exists());
    let printed = parthood(folder.path(), &["man"]).out;
    assert!(printed.contains(".TH parthood 1"), "{printed}");

    let pages = man::pages();
    assert_eq!(pages.len(), std::fs::read_dir(folder.path().join("man1")).unwrap().count());
    for (name, page) in &pages {
        let roff = std::str::from_utf8(page).unwrap();
        assert!(roff.contains(".SH NAME") && roff.contains(".SH SYNOPSIS"), "{name}: {roff}");
    }
    for (name, _) in pages.iter().take(3) {
        let file = folder.path().join("man1").join(name);
        // Where there is no `man`, that the page is one must do; so must it where `man` only says that it was left out.
        let Ok(shown) = Command::new("man").arg("-l").arg(file).env("MANPAGER", "cat").output() else {
            return;
        };
        let (out, err) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
        if !out.contains("minimized") && !err.contains("minimized") {
            assert!(shown.status.success() && out.contains("SYNOPSIS"), "{name}: {out}{err}");
        }
    }
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn explore_serves_the_states_of_a_row_until_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["explore", "paxos", "--row", "mutant_own_value", "--port", "0", "--path", "0"];
    let mut explorer = Running(command(folder.path(), &arguments).stdout(Stdio::piped()).spawn().unwrap());
    let said = BufReader::new(explorer.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let addresses: Vec<String> = said.filter(|line| line.starts_with("http://")).take(2).collect();
    let address = addresses[0]["http://".len()..].split('/').next().unwrap();
    let get = |what: &str| page(address, what).1;
    let about = get("/about");
    assert!(about.contains("paxos/mutant_own_value") && about.contains("Mutant of paxos"), "{about}");
    assert!(get("/state/0").contains("\"moves\":[{"), "something can happen in the first state");
}
