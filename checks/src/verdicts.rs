//! The last verdict of each row on this machine, for `parthood list`. A convenience: a file that cannot be read or
//! written only means that nothing is known.

use crate::check::Outcome;
use crate::files;
use crate::manifest::Row;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The folder for everything a command leaves behind.
pub const RESULTS: &str = "results";

const FILE: &str = "results/verdicts.json";

/// The last verdicts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Verdicts(BTreeMap<String, Last>);

/// The last verdict of a row.
#[derive(Debug, Serialize, Deserialize)]
pub struct Last {
    /// In a few words.
    pub verdict: String,
    /// Was it what the manifest says?
    pub as_expected: bool,
}

impl Verdicts {
    /// What is known.
    pub fn load() -> Self {
        let text = std::fs::read_to_string(FILE).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// The last verdict of a row.
    pub fn of(&self, row: &Row) -> Option<&Last> {
        self.0.get(&key(row))
    }

    /// Adds outcomes to what is known.
    pub fn remember(outcomes: &[Outcome]) {
        let mut verdicts = Self::load();
        for outcome in outcomes {
            let last = Last { verdict: outcome.verdict(), as_expected: outcome.differs.is_none() };
            verdicts.0.insert(key(&outcome.row), last);
        }
        if let Ok(text) = serde_json::to_string_pretty(&verdicts) {
            let _ = files::write(Path::new(FILE), text);
        }
    }
}

fn key(row: &Row) -> String {
    format!("{}/{}", row.protocol, row.name)
}
