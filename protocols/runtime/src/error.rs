//! What can go wrong in this package.

use std::io;

/// Why the runtime could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The trace could not be written to its file.
    #[error("cannot write the trace: {0}; later steps are not recorded")]
    TraceWrite(#[source] io::Error),
    /// A step has no JSON form.
    #[error("cannot write step {step} of the trace as JSON: {reason}; map keys must be strings or integers")]
    TraceEncode {
        /// Number of the step in this trace, from 1.
        step: u64,
        /// What the serialiser said.
        reason: String,
    },
    /// The trace could not be read from its file.
    #[error("cannot read the trace after line {line}: {source}")]
    TraceRead {
        /// The last line that was read.
        line: u64,
        /// What the system said.
        source: io::Error,
    },
    /// A line of a trace is longer than a line may be, when written or when read.
    #[error("trace line {line} is longer than {limit} bytes; no trace of this program has such a line")]
    TraceLineTooLong {
        /// Number of the line, from 1.
        line: u64,
        /// The most bytes a line may have.
        limit: usize,
    },
    /// A line of a trace is not what it should be.
    #[error("trace line {line}, column {column}: {reason}")]
    TraceLine {
        /// Number of the line, from 1.
        line: u64,
        /// Byte in the line, from 1; 0 where the line as a whole is wrong.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// The trace was written by another version of this program.
    #[error("the trace has format version {found}, this program reads version {known}; record it again")]
    TraceVersion {
        /// The version the trace names.
        found: u64,
        /// The version this program reads and writes.
        known: u64,
    },
}
