//! What `specs/tomography` says is tested is a test: no name there that there is not.

use std::collections::BTreeSet;
use std::path::Path;

const README: &str = include_str!("../../specs/tomography/README.md");

/// The names of all tests in the sources of a folder.
fn tests_in(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            tests_in(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for (_, after) in text.match_indices("#[test]").map(|(at, mark)| text.split_at(at + mark.len())) {
                let name = after.trim_start().strip_prefix("fn ").and_then(|rest| rest.split('(').next());
                names.extend(name.map(str::to_owned));
            }
        }
    }
}

/// What stands between backquotes and looks like the name of a test.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |word: &&str| {
        word.matches('_').count() >= 2
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    text.split('`').skip(1).step_by(2).filter(is_name)
}

#[test]
fn every_property_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests", "../tests"] {
        tests_in(&root.join(folder), &mut tests);
    }
    let missing: Vec<&str> = named(README).filter(|name| !tests.contains(*name)).collect();
    assert!(missing.is_empty(), "no test has these names: {missing:?}");
    for property in 1..=16 {
        let start = format!("| P{property} |");
        let [row] = README.lines().filter(|line| line.starts_with(&start)).collect::<Vec<_>>()[..] else {
            panic!("P{property} has no row, or several");
        };
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 5, "P{property}: {cells:?}");
        assert!(named(cells[2]).next().is_some(), "P{property} names no test");
        assert!(!cells[3].is_empty() && !cells[4].is_empty(), "P{property} lacks a tolerance or a twin");
    }
    assert!(!tests.contains("a_test_that_there_is_not") && tests.len() > 100, "{}", tests.len());
}
