//! What can go wrong outside an actor, in words that say what, where, and what to do.

use crate::wire::Refusal;
use stateright::actor::Id;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything this package can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried: a verb, as in "read".
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The log cannot be appended to, for example because the disk is full.
    #[error(
        "cannot append to the log {}: {source}; nothing after the last durable step was acknowledged, \
         so make room or repair the disk and start the node again",
        path.display()
    )]
    LogWrite {
        /// The segment.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The log failed before, and what it holds since is unknown.
    #[error("the log {} has failed before: stop the node and start it again", path.display())]
    LogFailed {
        /// The segment.
        path: PathBuf,
    },
    /// Another process uses the data directory.
    #[error("{} is in use by another process: stop it, or give this one its own data directory", path.display())]
    DirectoryInUse {
        /// The data directory.
        path: PathBuf,
    },
    /// A file of the data directory is damaged in a way that no interrupted write explains.
    #[error(
        "{} is damaged at offset {offset}: {what}; refusing to start, since starting without it may break promises \
         this node has made: restore the data directory from a copy, or remove the node from the cluster",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first byte that makes no sense.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The data directory was written by something else.
    #[error("{} {what}: give this process the data directory that belongs to it", path.display())]
    ForeignDirectory {
        /// The file that says so.
        path: PathBuf,
        /// In which respect.
        what: String,
    },
    /// A saved value cannot be written.
    #[error("actor {actor} saves a change that has no binary form")]
    NoBinaryForm {
        /// Who saved it.
        actor: u64,
    },
    /// A snapshot failed. Nothing is lost: the log goes on, and is longer than it need be.
    #[error(
        "no snapshot in {}: {source}; nothing is lost, but the log grows until one succeeds, which is tried again after as \
         much log",
        directory.display()
    )]
    Snapshot {
        /// The data directory.
        directory: PathBuf,
        /// Why it failed.
        source: Box<Error>,
    },
    /// A socket cannot be bound.
    #[error("cannot listen on {address}: {source}{}", hint_of_bind(source))]
    Bind {
        /// The local address.
        address: SocketAddr,
        /// Why it failed.
        source: io::Error,
    },
    /// A bound socket fails.
    #[error("cannot {action} on the socket {address}: {source}")]
    Socket {
        /// What was tried: a verb, as in "receive".
        action: &'static str,
        /// The local address.
        address: SocketAddr,
        /// Why it failed.
        source: io::Error,
    },
    /// A message exceeds what a datagram carries, and was dropped.
    #[error(
        "{src:?} sends {dst:?} a message that exceeds {limit} bytes or cannot be encoded: the protocol must page it"
    )]
    MessageTooLong {
        /// Its sender.
        src: Id,
        /// Its destination.
        dst: Id,
        /// The most bytes of an encoded message.
        limit: usize,
    },
    /// Datagrams come from somebody who is none of this cluster; told once for each reason.
    #[error(
        "datagrams from {from} are not heard: {why}. Have all processes the same key, and the same protocol, nodes, quorums and lanes in their cluster files?"
    )]
    Stranger {
        /// Where the first came from.
        from: SocketAddr,
        /// Why they are refused.
        why: Refusal,
    },
    /// The hosted actors, the address book and the socket do not fit together.
    #[error("{0}")]
    Setup(String),
    /// The key file does not hold a key that only its owner can read.
    #[error("the key file {} {what}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The trace could not be written to its file.
    #[error("cannot write the trace: {0}; later steps are not recorded")]
    TraceWrite(#[source] io::Error),
    /// A step has no JSON form.
    #[error("cannot write step {step} of the trace as JSON: {reason}")]
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
    /// The parameters or faults of a simulation make no sense.
    #[error("the simulation cannot run: {reason}")]
    Simulation {
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

impl Error {
    /// For `map_err`: a failed action on a file.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

fn hint_of_bind(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "; another process listens there: stop it, or choose another port",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges",
        _ => "",
    }
}
