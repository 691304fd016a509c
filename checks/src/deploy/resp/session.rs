//! One client of the gateway: what it has asked, what it was answered, and the bytes in between.

use super::server::Shared;
use crate::deploy::ClientError;
use parthood_protocols::state_machine::{
    BatchedCommand, BatchedOutput, MAX_BATCH_COMMANDS, MAX_OUTPUT_BYTES,
};
use parthood_resp::{Connection, Protocol, Query, Reply, Step};
use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The most requests of a connection that are not answered.
const MAX_WAITING: usize = 1024;
/// The most bytes of questions that wait. (The last one may exceed it.)
const MAX_WAITING_BYTES: usize = 64 * 1024;
/// The bytes of replies that are not read, beyond which nothing more is done for a client.
const MAX_UNREAD_BYTES: usize = 256 * 1024;
/// How much is read at a time.
const READ_BYTES: usize = 16 * 1024;

/// A request that waits for its turn to be answered.
struct Entry {
    protocol: Protocol,
    state: State,
}

enum State {
    Answered(Reply),
    /// Waits for reads of this kind.
    Asked(Query, usize),
}

/// The questions of a client that come next, as many as one batch may hold.
pub(super) struct Questions {
    /// Which reads they want.
    pub(super) kind: usize,
    pub(super) queries: usize,
    pub(super) commands: usize,
    pub(super) bytes: usize,
    pub(super) writes: bool,
    /// Must they be a batch of their own?
    pub(super) alone: bool,
}

/// A client.
pub(super) struct Session {
    pub(super) stream: TcpStream,
    connection: Connection,
    entries: VecDeque<Entry>,
    /// The bytes of the questions among them.
    waiting: usize,
    /// The first of these questions are asked.
    is_asking: bool,
    /// How many questions the next batch may hold: less while the answers of more are too large.
    queries_max: usize,
    /// Its answers were too large to be told with those of others.
    is_alone: bool,
    out: Vec<u8>,
    /// How much of that is sent.
    sent: usize,
    /// When the client last took something.
    taken: Instant,
    /// Nothing more is read.
    has_ended: bool,
}

impl Session {
    pub(super) fn new(stream: TcpStream, connection: Connection) -> Self {
        Self {
            stream,
            connection,
            entries: VecDeque::new(),
            waiting: 0,
            is_asking: false,
            queries_max: MAX_BATCH_COMMANDS,
            is_alone: false,
            out: vec![],
            sent: 0,
            taken: Instant::now(),
            has_ended: false,
        }
    }

    /// May more be read?
    pub(super) fn wants_to_read(&self) -> bool {
        !self.has_ended && !self.is_full()
    }

    /// Is there something to send?
    pub(super) fn wants_to_write(&self) -> bool {
        self.sent < self.out.len()
    }

    /// Is all said and done?
    pub(super) fn is_done(&self) -> bool {
        self.has_ended && self.entries.is_empty() && !self.wants_to_write()
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= MAX_WAITING
            || self.waiting >= MAX_WAITING_BYTES
            || self.out.len() - self.sent >= MAX_UNREAD_BYTES
    }

    /// Reads what is there, once.
    pub(super) fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; READ_BYTES];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.has_ended = true,
            Ok(count) => self.connection.feed(&bytes[..count]),
            Err(error) if is_temporary(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Does what can be done: takes requests, and sends what is answered.
    pub(super) fn advance(&mut self, shared: &mut Shared) -> io::Result<()> {
        loop {
            self.take_requests(shared);
            let was_full = self.is_full();
            self.settle();
            let was_full = was_full || self.is_full();
            self.write()?;
            // What waited for room goes on.
            if !was_full || self.is_full() {
                return Ok(());
            }
        }
    }

    fn take_requests(&mut self, shared: &mut Shared) {
        while !self.is_full()
            && let Some(step) = shared.step(&mut self.connection)
        {
            let state = match step {
                Step::Reply(reply) => State::Answered(reply),
                Step::Ask(query) => {
                    self.waiting += query.bytes();
                    State::Asked(query, self.connection.reads())
                }
                Step::End(reply) => {
                    self.has_ended = true;
                    State::Answered(reply)
                }
            };
            self.entries.push_back(Entry { protocol: self.connection.protocol(), state });
        }
    }

    /// Is there something to ask?
    pub(super) fn wants_to_ask(&self) -> bool {
        !self.is_asking && self.waiting > 0
    }

    /// What comes next, if nothing is asked.
    pub(super) fn questions(&self) -> Option<Questions> {
        let mut next: Option<Questions> = None;
        for entry in self.entries.iter().filter(|_| !self.is_asking) {
            let State::Asked(query, kind) = &entry.state else { continue };
            let (own, kind, alone) = (query.commands(), *kind, self.is_alone);
            let start = Questions { kind, queries: 0, commands: 0, bytes: 0, writes: false, alone };
            let next = next.get_or_insert(start);
            let fits = Query::fit(next.commands + own.len(), next.bytes + query.bytes());
            if next.kind != kind || next.queries == self.queries_max || (next.queries > 0 && !fits) {
                break;
            }
            next.queries += 1;
            next.commands += own.len();
            next.bytes += query.bytes();
            next.writes |= !own.iter().all(BatchedCommand::is_read);
        }
        next
    }

    /// The commands of the first questions, which are asked now.
    pub(super) fn begin(&mut self, queries: usize) -> impl Iterator<Item = &BatchedCommand> {
        self.is_asking = true;
        let asked = self.entries.iter().filter_map(|entry| match &entry.state {
            State::Asked(query, _) => Some(query),
            State::Answered(_) => None,
        });
        asked.take(queries).flat_map(Query::commands)
    }

    /// Has the client taken nothing for so long?
    pub(super) fn is_stuck(&self, patience: Duration) -> bool {
        self.wants_to_write() && self.taken.elapsed() >= patience
    }

    fn asked(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().filter(|entry| matches!(entry.state, State::Asked(..)))
    }

    /// Answers the first questions with these outputs.
    pub(super) fn hear(&mut self, queries: usize, outputs: &[BatchedOutput], shared: &mut Shared) {
        self.is_asking = false;
        self.queries_max = self.queries_max.saturating_mul(2).min(MAX_BATCH_COMMANDS);
        self.is_alone &= outputs.iter().map(BatchedOutput::bytes).sum::<usize>() > MAX_OUTPUT_BYTES / 4;
        let (mut rest, mut done) = (outputs, 0);
        for entry in self.asked().take(queries) {
            let State::Asked(query, _) = &entry.state else { continue };
            let (own, behind) = rest.split_at(query.commands().len().min(rest.len()));
            rest = behind;
            done += query.bytes();
            entry.state = State::Answered(shared.reply(query, own));
        }
        self.waiting -= done;
    }

    /// The answers to the first questions are too large, perhaps those of others with which they were told.
    pub(super) fn ask_for_less(&mut self, queries: usize, is_shared: bool) {
        self.is_asking = false;
        if is_shared {
            self.is_alone = true;
        } else if queries > 1 {
            self.queries_max = queries / 2;
        } else {
            self.refuse(1, &Query::too_large_to_tell());
        }
    }

    /// Answers the first questions with this.
    pub(super) fn refuse(&mut self, queries: usize, reply: &Reply) {
        self.is_asking = false;
        let mut done = 0;
        for entry in self.asked().take(queries) {
            if let State::Asked(query, _) = &entry.state {
                done += query.bytes();
            }
            entry.state = State::Answered(reply.clone());
        }
        self.waiting -= done;
    }

    /// Answers all questions with this.
    pub(super) fn refuse_all(&mut self, reply: &Reply) {
        self.refuse(usize::MAX, reply);
    }

    /// Tells why a batch has no answer. What waits behind one that may yet take effect must not overtake it.
    pub(super) fn fail(&mut self, queries: usize, writes: bool, error: &ClientError) {
        let is_unknown = matches!(error, ClientError::Timeout(_) | ClientError::SessionLost);
        if is_unknown && writes {
            self.refuse_mixed(queries, &Reply::Error(format!("UNKNOWN {error}")), &without_answer());
            let behind = "TRYAGAIN not sent, so it has no effect: a command before it has no answer";
            self.refuse_all(&Reply::Error(behind.into()));
            return;
        }
        let reply = match error {
            ClientError::Timeout(_) => without_answer(),
            ClientError::SessionLost => {
                Reply::Error("TRYAGAIN the servers have forgotten the gateway's session".into())
            }
            ClientError::NotSent(_) | ClientError::Busy(_) => Reply::Error(format!("TRYAGAIN {error}")),
            _ => Reply::Error(format!("CLUSTERDOWN {error}")),
        };
        self.refuse(queries, &reply);
    }

    /// Answers the first questions, those that write with one thing and those that read with another.
    fn refuse_mixed(&mut self, queries: usize, writes: &Reply, reads: &Reply) {
        for _ in 0..queries {
            let Some(entry) = self.asked().next() else { return };
            let State::Asked(query, _) = &entry.state else { return };
            let only_reads = query.commands().iter().all(BatchedCommand::is_read);
            self.refuse(1, if only_reads { reads } else { writes });
        }
    }

    /// Moves what is answered to what is sent.
    fn settle(&mut self) {
        while let Some(Entry { state: State::Answered(_), .. }) = self.entries.front()
            && self.out.len() - self.sent < MAX_UNREAD_BYTES
            && let Some(Entry { protocol, state: State::Answered(reply) }) = self.entries.pop_front()
        {
            reply.write(protocol, &mut self.out);
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while self.wants_to_write() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.sent += count;
                    self.taken = Instant::now();
                }
                Err(error) if is_temporary(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if self.wants_to_write() {
            // What is sent takes no more room than what is not.
            if self.sent > MAX_UNREAD_BYTES {
                self.out.drain(..self.sent);
                self.sent = 0;
            }
        } else {
            self.out.clear();
            self.sent = 0;
            self.taken = Instant::now();
        }
        Ok(())
    }
}

fn without_answer() -> Reply {
    Reply::Error(
        "CLUSTERDOWN no answer: is a majority of the cluster running? Nothing was asked to change".into(),
    )
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
