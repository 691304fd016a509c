//! What can go wrong, and the exit status it leads to.

use crate::settings::Problem;
use std::path::{Path, PathBuf};

/// Anything that keeps a command from doing what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that means nothing here.
    #[error("unknown {kind} `{name}`{}{}", did_you_mean(nearest.as_deref()), list_of(known))]
    UnknownName {
        /// What was named.
        kind: &'static str,
        /// The name.
        name: String,
        /// The most similar known name, if one is similar.
        nearest: Option<String>,
        /// All known names.
        known: Vec<String>,
    },
    /// Arguments that do not go together, or ask for something impossible.
    #[error("{0}")]
    Usage(String),
    /// What was asked for makes sense and cannot be had.
    #[error("{0}")]
    Impossible(String),
    /// A settings file with mistakes, all of them.
    #[error("{}", every(file, problems))]
    Settings {
        /// The file.
        file: PathBuf,
        /// The mistakes, in the order of their lines.
        problems: Vec<Problem>,
    },
    /// A file or directory that cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The machine refuses something else.
    #[error("{0}")]
    Environment(String),
    /// A model cannot do what was asked of it.
    #[error(transparent)]
    Runtime(#[from] parthood_runtime::Error),
    /// The tomography cannot do what was asked of it.
    #[error(transparent)]
    Tomography(#[from] parthood_tomography::Error),
}

/// What a command ends with. The numbers are the exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// What was asked for holds, or is done.
    Done = 0,
    /// Something is violated, or differs from what was expected.
    Violated = 1,
    /// The arguments or a settings file make no sense.
    Usage = 2,
    /// A bound or a time limit came before an answer.
    Inconclusive = 3,
    /// The machine refuses: a file, a port, a disk.
    Environment = 4,
}

impl Error {
    /// The exit status for this error.
    pub fn status(&self) -> Status {
        match self {
            Self::Impossible(_) => Status::Violated,
            Self::UnknownName { .. } | Self::Usage(_) | Self::Settings { .. } => Status::Usage,
            Self::Tomography(error) if error.is_input() => Status::Usage,
            Self::File { .. } | Self::Environment(_) | Self::Runtime(_) | Self::Tomography(_) => {
                Status::Environment
            }
        }
    }

    /// An unknown name, with the known one that is most similar to it.
    pub fn unknown<'a>(kind: &'static str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
        Self::UnknownName {
            kind,
            name: name.to_owned(),
            nearest: nearest(name, known.iter().map(String::as_str)),
            known,
        }
    }

    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

/// The known name most similar to `name`, if any is similar at all.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    const SIMILAR: f64 = 0.75;
    known
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other.to_owned())
}

pub(crate) fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"))
}

fn list_of(known: &[String]) -> String {
    const LISTED: usize = 20;
    match known.len() {
        0 => "; there are none".into(),
        1..=LISTED => format!(" (known: {})", known.join(", ")),
        _ => String::new(),
    }
}

fn every(file: &Path, problems: &[Problem]) -> String {
    let count =
        if problems.len() == 1 { "one mistake".into() } else { format!("{} mistakes", problems.len()) };
    let lines = problems.iter().map(|problem| {
        let Problem { line, column, what } = problem;
        format!("\n  {}:{line}:{column}: {what}", file.display())
    });
    format!("{} has {count}:{}", file.display(), lines.collect::<String>())
}
