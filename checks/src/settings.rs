//! Reads settings in TOML, and tells all that is wrong with them at once.
//!
//! A derived reader stops at the first mistake. Whoever edits a file wants to hear of all of them, each with its line, and
//! a misspelt key must not be taken for a default. So a table is taken apart key by key: what is wrong is noted and
//! reading goes on, and what nobody asked for is unknown.

use crate::error::{Error, did_you_mean, nearest};
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where, counted from 1.
    pub line: usize,
    /// Where in the line, in characters, counted from 1.
    pub column: usize,
    /// What is wrong, and what to do.
    pub what: String,
}

/// The mistakes found so far.
#[derive(Debug)]
pub struct Problems<'t> {
    text: &'t str,
    found: Vec<Problem>,
}

impl Problems<'_> {
    /// Notes a mistake at a place in the text.
    pub fn note(&mut self, place: &Range<usize>, what: impl Into<String>) {
        let before = self.text.get(..place.start.min(self.text.len())).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        self.found.push(Problem { line, column, what: what.into() });
    }
}

/// A value and its place in the text.
#[derive(Clone, Debug)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Range<usize>,
}

/// A table that is being taken apart.
#[derive(Debug)]
pub struct Fields<'t> {
    place: Range<usize>,
    entries: DeTable<'t>,
    known: Vec<&'static str>,
}

/// Reads a whole file: `read` takes the top table apart and notes what is wrong.
///
/// # Errors
/// All mistakes, if there are any.
pub fn read<T>(
    file: &Path,
    text: &str,
    read: impl FnOnce(&mut Fields<'_>, &mut Problems<'_>) -> T,
) -> Result<T, Error> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut problems = Problems { text, found: Vec::new() };
    for error in &errors {
        problems.note(&error.span().unwrap_or_default(), error.message());
    }
    let mut fields = Fields::new(table.span(), table.into_inner());
    let value = read(&mut fields, &mut problems);
    if errors.is_empty() {
        fields.finish(&mut problems);
    } else {
        // What a broken line hides is not missing, and one broken line is one mistake.
        problems.found.truncate(errors.len());
        problems.found.sort();
        problems.found.dedup_by_key(|problem| problem.line);
    }
    let mut found = problems.found;
    found.sort();
    if found.is_empty() { Ok(value) } else { Err(Error::Settings { file: file.to_owned(), problems: found }) }
}

impl<'t> Fields<'t> {
    fn new(place: Range<usize>, entries: DeTable<'t>) -> Self {
        Self { place, entries, known: Vec::new() }
    }

    /// Where the table begins.
    pub fn place(&self) -> Range<usize> {
        self.place.start..self.place.start
    }

    fn remove(&mut self, key: &'static str) -> Option<Spanned<DeValue<'t>>> {
        self.known.push(key);
        self.entries.remove(key)
    }

    /// The value of a key that may be missing.
    pub fn optional<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<Placed<T>> {
        let value = self.remove(key)?;
        let place = value.span();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(Placed { value, place }),
            Err(error) => {
                problems.note(&error.span().unwrap_or(place), format!("`{key}`: {}", error.message()));
                None
            }
        }
    }

    /// The value of a key that must be there.
    pub fn required<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<Placed<T>> {
        if !self.entries.contains_key(key) {
            self.known.push(key);
            problems.note(&self.place(), format!("`{key}` is missing"));
            return None;
        }
        self.optional(key, problems)
    }

    /// The tables of an array of tables, which may be missing.
    pub fn tables(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Vec<Fields<'t>> {
        let Some(value) = self.remove(key) else { return Vec::new() };
        let place = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            problems.note(&place, format!("`{key}` must be an array of tables: begin each with [[{key}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            let place = item.span();
            match item.into_inner() {
                DeValue::Table(entries) => tables.push(Self::new(place, entries)),
                _ => problems.note(&place, format!("`{key}` must hold tables only")),
            }
        }
        tables
    }

    /// A table, which may be missing.
    pub fn table(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<Fields<'t>> {
        let value = self.remove(key)?;
        let place = value.span();
        if let DeValue::Table(entries) = value.into_inner() {
            return Some(Self::new(place, entries));
        }
        problems.note(&place, format!("`{key}` must be a table: begin it with [{key}]"));
        None
    }

    /// Notes every key that was not asked for.
    pub fn finish(&mut self, problems: &mut Problems<'_>) {
        for (key, _) in std::mem::take(&mut self.entries) {
            let nearest = nearest(key.get_ref(), self.known.iter().copied());
            problems.note(
                &key.span(),
                format!("unknown key `{}`{}", key.get_ref(), did_you_mean(nearest.as_deref())),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Node {
        name: String,
        port: u16,
    }

    fn nodes(text: &str) -> Result<Vec<Node>, Error> {
        read(Path::new("cluster.toml"), text, |top, problems| {
            let mut nodes = Vec::new();
            for mut node in top.tables("node", problems) {
                let name = node.required::<String>("name", problems);
                let port = node.optional::<u16>("port", problems);
                node.finish(problems);
                nodes.push(Node {
                    name: name.map(|name| name.value).unwrap_or_default(),
                    port: port.map_or(0, |port| port.value),
                });
            }
            nodes
        })
    }

    fn mistakes(text: &str) -> Vec<String> {
        let Err(Error::Settings { problems, .. }) = nodes(text) else {
            panic!("there are mistakes in {text:?}")
        };
        problems.into_iter().map(|Problem { line, column, what }| format!("{line}:{column} {what}")).collect()
    }

    #[test]
    fn a_right_file_is_read() {
        let read = nodes("[[node]]\nname = 'a'\nport = 7\n[[node]]\nname = 'b'").unwrap();
        assert_eq!(read, [Node { name: "a".into(), port: 7 }, Node { name: "b".into(), port: 0 }]);
    }

    #[test]
    fn all_mistakes_are_told_with_their_lines() {
        let text = "colour = 1\n[[node]]\nnmae = 'a'\nport = 70000\n\n[[node]]\nname = 3\n";
        let found = mistakes(text);
        assert_eq!(found.len(), 5, "{found:#?}");
        assert_eq!(found[0], "1:1 unknown key `colour`");
        assert_eq!(found[1], "2:1 `name` is missing");
        assert_eq!(found[2], "3:1 unknown key `nmae`; did you mean `name`?");
        assert!(found[3].starts_with("4:8 `port`: invalid value: integer `70000`"), "{found:#?}");
        assert!(found[4].starts_with("7:8 `name`: invalid type: integer `3`"), "{found:#?}");
    }

    #[test]
    fn broken_syntax_is_told_alone() {
        let found = mistakes("[[node]]\nname = \n[[node]]\nname == 'b'\n");
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].starts_with("2:") && found[1].starts_with("4:"), "{found:#?}");
    }

    #[test]
    fn a_table_where_a_list_of_tables_belongs_is_told() {
        assert_eq!(mistakes("node = 3"), ["1:8 `node` must be an array of tables: begin each with [[node]]"]);
    }
}
