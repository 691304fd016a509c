//! Reads a trace, line by line, trusting nothing in it.

use super::{Entry, Header, LINE_BYTES_MAX, Line, VERSION};
use crate::Error;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, Read};
use std::marker::PhantomData;

/// How a trace that was read to its end ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With an `end` line: the recorder finished.
    Complete,
    /// After a whole line, without an `end` line: the recorder was killed between two lines.
    Missing,
    /// In the middle of a line, which was dropped: the recorder was killed while it wrote.
    Torn {
        /// The line that was dropped.
        line: u64,
        /// How many bytes of it there were.
        bytes: usize,
    },
}

/// An iterator over the entries of a trace with their line numbers; `L` is [`super::StepOf`] an actor or
/// [`super::AnyStep`]. It ends at the first error.
#[derive(Debug)]
pub struct TraceReader<B, L> {
    input: B,
    header: Header,
    bytes: Vec<u8>,
    line: u64,
    steps: u64,
    ending: Option<Ending>,
    failed: bool,
    entry: PhantomData<fn() -> L>,
}

/// As much of a header as every version has.
#[derive(Deserialize)]
struct AnyHeader {
    header: AnyVersion,
}

#[derive(Deserialize)]
struct AnyVersion {
    version: u64,
}

impl<B: BufRead, L: DeserializeOwned> TraceReader<B, L> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// If there is none, or one of another version.
    pub fn new(input: B) -> Result<Self, Error> {
        let mut reader = Self {
            input,
            header: Header::default(),
            bytes: Vec::new(),
            line: 0,
            steps: 0,
            ending: None,
            failed: false,
            entry: PhantomData,
        };
        if !reader.read_line()? {
            return Err(reader.whole_line("the file is empty, a trace begins with a header"));
        }
        let any: AnyHeader = reader.parse()?;
        if any.header.version != VERSION {
            return Err(Error::TraceVersion { found: any.header.version, known: VERSION });
        }
        match reader.parse::<Line<()>>()? {
            Line::Header(header) => reader.header = header,
            _ => return Err(reader.whole_line("a trace begins with a header")),
        }
        Ok(reader)
    }

    /// What the trace says about its run.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How the trace ends; none as long as there is more to read, and after an error.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Reads the next line without its end into `bytes`; false at the end of the file.
    fn read_line(&mut self) -> Result<bool, Error> {
        self.bytes.clear();
        let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(2);
        let read = (&mut self.input).take(most).read_until(b'\n', &mut self.bytes);
        if let Err(source) = read {
            return Err(Error::TraceRead { line: self.line, source });
        }
        self.line += 1;
        let content = self.bytes.len() - usize::from(self.bytes.ends_with(b"\n"));
        if content > LINE_BYTES_MAX {
            return Err(Error::TraceLineTooLong { line: self.line, limit: LINE_BYTES_MAX });
        }
        Ok(!self.bytes.is_empty())
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.bytes).map_err(|error| {
            let full = error.to_string();
            // The parser counts lines within this line; the place is ours to name.
            let reason = full.rsplit_once(" at line ").map_or(full.as_str(), |(reason, _)| reason);
            Error::TraceLine { line: self.line, column: error.column(), reason: reason.to_owned() }
        })
    }

    fn whole_line(&self, reason: &str) -> Error {
        Error::TraceLine { line: self.line, column: 0, reason: reason.to_owned() }
    }

    fn read_entry(&mut self) -> Result<Option<(u64, Entry<L>)>, Error> {
        if !self.read_line()? {
            self.ending = Some(Ending::Missing);
            return Ok(None);
        }
        let line = match self.parse::<Line<L>>() {
            Ok(line) => line,
            Err(_) if !self.bytes.ends_with(b"\n") => {
                self.ending = Some(Ending::Torn { line: self.line, bytes: self.bytes.len() });
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match line {
            Line::Header(_) => {
                Err(self.whole_line("a second header; each process life has a trace of its own"))
            }
            Line::Step(step) => {
                self.steps += 1;
                Ok(Some((self.line, Entry::Step(step))))
            }
            Line::Notice { at_us, notice } => Ok(Some((self.line, Entry::Notice { at_us, notice }))),
            Line::End { steps } => self.read_end(steps).map(|()| None),
        }
    }

    fn read_end(&mut self, steps: u64) -> Result<(), Error> {
        if steps != self.steps {
            let reason = format!("the end counts {steps} steps, the trace has {}", self.steps);
            return Err(self.whole_line(&reason));
        }
        if self.read_line()? {
            return Err(self.whole_line("a line after the end"));
        }
        self.ending = Some(Ending::Complete);
        Ok(())
    }
}

impl<B: BufRead, L: DeserializeOwned> Iterator for TraceReader<B, L> {
    type Item = Result<(u64, Entry<L>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.ending.is_some() {
            return None;
        }
        let entry = self.read_entry();
        self.failed = entry.is_err();
        entry.transpose()
    }
}
