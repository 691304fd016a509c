//! The invariants of the architecture that a test can enforce (ARCHITECTURE.md).

use parthood::manifest::{Expectation, Row};
use parthood::models::Kind;
use parthood::registry::PROTOCOLS;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The packages and the packages of ours that each may depend on.
const ARROWS: [(&str, &[&str]); 9] = [
    ("protocols/quorums", &[]),
    ("protocols", &["parthood-ledger", "parthood-quorums"]),
    ("models", &["parthood-ledger", "parthood-protocols", "parthood-quorums"]),
    ("protocols/runtime", &[]),
    ("protocols/resp", &["parthood-protocols"]),
    ("tomography", &["parthood-ledger"]),
    ("tomography/ledger", &[]),
    (
        "checks",
        &[
            "parthood-models",
            "parthood-protocols",
            "parthood-quorums",
            "parthood-resp",
            "parthood-runtime",
            "parthood-tomography",
        ],
    ),
    ("tests", &[]),
];
/// Packages that touch nothing outside of themselves.
const PURE: [&str; 5] =
    ["protocols/quorums/src", "protocols/resp/src", "protocols/src", "models/src", "tomography/ledger/src"];
/// What they may not mention.
const IMPURE: [&str; 12] = [
    "std::net",
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    "std::io",
    "Instant",
    "SystemTime",
    "println!",
    "eprintln!",
    "fastrand",
    "rand::",
];
/// Where a pure package may all the same: a search uses several threads, with results that do not depend on their number.
const EXCEPTIONS: [(&str, &str); 1] = [("protocols/quorums/src/search/mod.rs", "std::thread")];
/// Mutants and properties that no row kills, and why that is right. One that is killed after all may not stand here.
const ALIVE: [(&str, &str, &str); 5] = [
    ("paxos", "answer_stale_phase1", "harmless: the higher promise implies the lower one"),
    ("bpaxos", "collect_stops_resend", "harms where messages are lost for good: a run notices it"),
    ("bpaxos", "forget_used_rounds", "shows after some forty steps: the run `later_round_twice`"),
    (
        "epaxos",
        "quorums meet",
        "who is in a fast quorum is counted, so quorums are majorities, and those meet",
    ),
    ("compartmentalized", "lag_unnoticed", "harms in runs without an end only: a storm notices it"),
];
const FILE_LINES_MAX: usize = 520;
const FUNCTION_LINES_MAX: usize = 72;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the workspace")
        .to_owned()
}

/// All files below a folder with this extension.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<(String, String)> {
    let folders = ["protocols", "models", "checks", "tomography", "tests"].map(|folder| root().join(folder));
    let name = |path: &Path| path.strip_prefix(root()).unwrap().display().to_string();
    folders
        .iter()
        .flat_map(|folder| files(folder, "rs"))
        .map(|path| (name(&path), std::fs::read_to_string(&path).unwrap()))
        .collect()
}

/// The part of a source that is not tests and not comments.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn pure_packages_touch_nothing_outside() {
    let mut found = Vec::new();
    for (name, text) in sources() {
        let is_pure =
            PURE.iter().any(|folder| name.starts_with(folder)) && !name.starts_with("protocols/runtime");
        if !is_pure || name.ends_with("tests.rs") {
            continue;
        }
        let code = code(&text);
        for word in IMPURE.iter().filter(|word| code.contains(**word)) {
            if !EXCEPTIONS.contains(&(name.as_str(), *word)) {
                found.push(format!("{name} mentions {word}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn dependencies_point_one_way() {
    for (package, allowed) in ARROWS {
        let text = std::fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = text.parse().unwrap();
        let dependencies =
            manifest.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let ours = dependencies.keys().filter(|name| name.starts_with("parthood"));
        let foreign: Vec<_> = ours.filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(foreign.is_empty(), "{package} may not depend on {foreign:?}");
    }
}

#[test]
fn files_and_functions_fit_a_reader() {
    let mut long = Vec::new();
    for (name, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            long.push(format!("{name} has {} lines", lines.len()));
        }
        for (start, line) in lines.iter().enumerate() {
            let body = line.trim_start();
            let indent = &line[..line.len() - body.len()];
            let is_function = ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn "]
                .iter()
                .any(|word| body.starts_with(word));
            if !is_function || body.ends_with(';') || body.ends_with('}') {
                continue;
            }
            let end = lines[start..].iter().position(|line| *line == format!("{indent}}}")).unwrap_or(0);
            if end > FUNCTION_LINES_MAX {
                long.push(format!("{name}:{} has a function of {end} lines", start + 1));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn a_protocol_has_the_same_name_in_every_layer() {
    for protocol in PROTOCOLS {
        for (what, path) in protocol.layers() {
            assert!(root().join(&path).exists(), "{}: {path} ({what}) is missing", protocol.name);
        }
    }
    let known: BTreeSet<String> =
        PROTOCOLS.iter().map(|protocol| format!("{}.toml", protocol.name)).collect();
    let manifests = files(&root().join("checks/manifest"), "toml");
    let names = manifests.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    assert_eq!(names.collect::<BTreeSet<_>>(), known, "a manifest without an entry is never checked");
}

/// The variants of a protocol's `Mutant`, in the form that rows use.
fn mutants(protocol: &str) -> BTreeSet<String> {
    let folder = root().join("protocols/src").join(protocol);
    let texts = files(&folder, "rs").into_iter().map(|path| std::fs::read_to_string(path).unwrap());
    let Some(text) = texts.into_iter().find(|text| text.contains("pub enum Mutant {")) else {
        return BTreeSet::new();
    };
    let body =
        text.split("pub enum Mutant {").nth(1).and_then(|rest| rest.split("\n}").next()).unwrap_or_default();
    let variants = body.lines().map(str::trim).filter(|line| line.starts_with(char::is_uppercase));
    variants.map(|variant| snake_case(variant.trim_end_matches(','))).collect()
}

fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for (index, character) in name.chars().enumerate() {
        if character.is_uppercase() && index > 0 {
            text.push('_');
        }
        text.extend(character.to_lowercase());
    }
    text
}

/// What is not killed and should be.
fn alive<'a>(protocol: &str, all: &'a BTreeSet<String>, killed: &'a BTreeSet<String>) -> Vec<&'a str> {
    let excused = |name: &str| ALIVE.iter().any(|(whose, what, _)| (*whose, *what) == (protocol, name));
    if let Some(name) = killed.iter().find(|name| excused(name)) {
        panic!("{name} of {protocol} is killed: strike it from the list of those that need not be");
    }
    all.difference(killed).map(String::as_str).filter(|name| !excused(name)).collect()
}

#[test]
fn every_mutant_is_killed_by_a_row() {
    for protocol in PROTOCOLS {
        let killed: BTreeSet<String> =
            protocol.rows().unwrap().into_iter().filter_map(|row| row.mutant).collect();
        let mutants = mutants(protocol.name);
        assert!(
            !mutants.is_empty(),
            "{} has no mutants: nothing shows that its checks can fail",
            protocol.name
        );
        assert_eq!(
            alive(protocol.name, &mutants, &killed),
            [""; 0],
            "no row of {} kills these",
            protocol.name
        );
    }
}

#[test]
fn every_property_is_violated_by_a_row() {
    for protocol in PROTOCOLS {
        let rows = protocol.rows().unwrap();
        let killed: BTreeSet<String> = rows
            .iter()
            .filter_map(|row| match &row.expect {
                Expectation::Violates(property) => Some(property.clone()),
                Expectation::Holds | Expectation::Reaches(_) | Expectation::FindsNothing => None,
            })
            .collect();
        let claims: BTreeSet<String> = rows
            .iter()
            .filter(|row| !row.setup.reductions.collect)
            .flat_map(|row| protocol.model(row).unwrap().properties())
            .filter(|(_, kind)| *kind != Kind::Sometimes)
            .map(|(name, _)| name.to_owned())
            .collect();
        let alive = alive(protocol.name, &claims, &killed);
        assert_eq!(alive, [""; 0], "no row of {} shows that these can fail", protocol.name);
    }
}

/// All rows, as specifications name them: `protocol/row`.
fn named_rows() -> BTreeMap<String, Row> {
    let rows = PROTOCOLS.iter().flat_map(|protocol| protocol.rows().unwrap());
    rows.map(|row| (format!("{}/{}", row.protocol, row.name), row)).collect()
}

/// What a text names like a row, and what follows.
fn rows_in(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let pieces: Vec<&str> = text.split('`').collect();
    let quoted: Vec<_> = pieces.windows(2).skip(1).step_by(2).map(|pair| (pair[0], pair[1])).collect();
    quoted.into_iter().filter(|(name, _)| {
        let Some((protocol, row)) = name.split_once('/') else { return false };
        let is_word = row.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        is_word && PROTOCOLS.iter().any(|known| known.name == protocol)
    })
}

/// Where a property follows a row in brackets, the row violates that.
#[test]
fn rows_that_specifications_name_are_there() {
    let rows = named_rows();
    let (mut wrong, mut seen) = (vec![], 0);
    for path in files(&root().join("specs"), "md") {
        let text = std::fs::read_to_string(&path).unwrap();
        for (name, rest) in rows_in(&text) {
            seen += 1;
            let said = rest.strip_prefix(" (").and_then(|rest| rest.split_once(')'));
            let violates = said.map(|(property, _)| Expectation::Violates(property.to_owned()));
            match (rows.get(name), violates) {
                (None, _) => wrong.push(format!("{}: there is no row {name}", path.display())),
                (Some(row), Some(violates)) if row.expect != violates => {
                    wrong.push(format!("{}: {name} expects {:?}", path.display(), row.expect));
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 100, "only {seen} rows are named");
}

/// The sources of protocols, models and what spans packages, tests included.
fn tested_sources() -> String {
    let sources = ["models", "protocols", "checks", "tests"].map(|folder| files(&root().join(folder), "rs"));
    let text: String = sources.concat().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    text.lines().map(|line| line.trim_start().to_owned() + "\n").collect()
}

/// What is said of attackers is shown: each line of a table ends with a test.
#[test]
fn every_line_of_the_threat_model_names_a_test() {
    let text = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let sources = tested_sources();
    let lines: Vec<&str> =
        text.lines().filter(|line| line.contains("| can |") || line.contains("| cannot |")).collect();
    assert!(lines.len() >= 12, "only {} lines", lines.len());
    for line in lines {
        let shown_by = line.rsplit('`').nth(1).unwrap_or_default();
        let is_there = sources.contains(&format!("#[test]\nfn {shown_by}()"));
        assert!(is_there, "no test shows: {line}");
    }
}

/// The lists of mutants are whole, and a row kills each, or a test whose name is said.
#[test]
fn the_lists_of_mutants_are_whole() {
    let rows = named_rows();
    let sources = tested_sources();
    for (protocol, mutants) in [("compartmentalized", 46), ("bpaxos", 36), ("matchmaker_paxos", 48)] {
        let text = std::fs::read_to_string(root().join("specs").join(protocol).join("mutants.md")).unwrap();
        for number in 1..=mutants {
            let line = text.lines().find(|line| line.starts_with(&format!("| {number} |")));
            let line = line.unwrap_or_else(|| panic!("{protocol}: mutant {number} is not in the list"));
            let kills = |row: &Row| matches!(row.expect, Expectation::Violates(_));
            let by_row = rows_in(line).filter_map(|(name, _)| rows.get(name)).any(kills);
            let by_test = line.split('`').any(|word| sources.contains(&format!("#[test]\nfn {word}()")));
            assert!(by_row || by_test, "{protocol}: nothing kills mutant {number}");
        }
    }
}
