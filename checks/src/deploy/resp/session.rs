//! One client of the gateway: what it has asked, what it was answered, and the bytes in between.

use super::server::Shared;
use crate::deploy::{ClientError, Ticket};
use parthood_protocols::state_machine::{
    Batch, BatchedCommand, BatchedOutput, KeyValue, KeyValueCommand, KeyValueOutput, MAX_BATCH_COMMANDS,
    StateMachine as _,
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

/// A batch that the store was asked.
struct Flight {
    number: u64,
    /// How many questions it holds.
    queries: usize,
    writes: bool,
    ticket: Ticket,
    since: Instant,
}

/// A client.
pub(super) struct Session {
    pub(super) stream: TcpStream,
    connection: Connection,
    entries: VecDeque<Entry>,
    /// The bytes of the questions among them.
    waiting: usize,
    flight: Option<Flight>,
    /// How many questions the next batch may hold: less while the answers of more are too large.
    queries_max: usize,
    out: Vec<u8>,
    /// How much of that is sent.
    sent: usize,
    /// When the client last took something.
    taken: Instant,
    /// Nothing more is read.
    has_ended: bool,
    flights: u64,
}

impl Session {
    pub(super) fn new(stream: TcpStream, connection: Connection) -> Self {
        Self {
            stream,
            connection,
            entries: VecDeque::new(),
            waiting: 0,
            flight: None,
            queries_max: MAX_BATCH_COMMANDS,
            out: vec![],
            sent: 0,
            taken: Instant::now(),
            has_ended: false,
            flights: 0,
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

    /// Does what can be done: takes requests, asks the store, and sends what is answered.
    pub(super) fn advance(&mut self, token: u64, shared: &mut Shared) -> io::Result<()> {
        loop {
            self.take_requests(shared);
            self.ask(token, shared);
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

    /// Asks the store what waits, if it is not asked already: questions for reads of one kind, as many as fit.
    fn ask(&mut self, token: u64, shared: &mut Shared) {
        if self.flight.is_some() {
            return;
        }
        let (mut commands, mut bytes, mut queries, mut kind) = (vec![], 0, 0, None);
        for entry in &self.entries {
            let State::Asked(query, reads) = &entry.state else { continue };
            let fits = Query::fit(commands.len() + query.commands().len(), bytes + query.bytes());
            if kind.is_some_and(|kind| kind != *reads)
                || queries == self.queries_max
                || (queries > 0 && !fits)
            {
                break;
            }
            kind = Some(*reads);
            queries += 1;
            bytes += query.bytes();
            commands.extend_from_slice(query.commands());
        }
        let Some(kind) = kind else { return };
        self.flights += 1;
        let command = KeyValueCommand::Batch(commands.into_iter().collect::<Batch>());
        let writes = !KeyValue::is_read(&command);
        match shared.submit(kind, (token, self.flights), command) {
            Ok(ticket) => {
                let number = self.flights;
                self.flight = Some(Flight { number, queries, writes, ticket, since: Instant::now() });
            }
            Err(error) => self.refuse(usize::MAX, &Reply::Error(format!("CLUSTERDOWN {error}"))),
        }
    }

    /// Takes the answer to a batch; one to a batch that was given up is not heard.
    pub(super) fn answer(
        &mut self,
        number: u64,
        answer: Result<KeyValueOutput, ClientError>,
        shared: &mut Shared,
    ) {
        let Some(flight) = self.flight.take_if(|flight| flight.number == number) else { return };
        match answer {
            Ok(KeyValueOutput::Batch(outputs)) => {
                self.queries_max = self.queries_max.saturating_mul(2).min(MAX_BATCH_COMMANDS);
                self.tell(flight.queries, outputs.outputs(), shared);
            }
            Ok(KeyValueOutput::OutputTooLarge) if flight.queries > 1 => {
                // Nothing was done: ask for half as much.
                self.queries_max = flight.queries / 2;
            }
            Ok(KeyValueOutput::OutputTooLarge) => self.refuse(1, &Query::too_large_to_tell()),
            Ok(other) => {
                let what = Reply::error(format!("the store gave an unexpected answer: {other:?}"));
                self.refuse(flight.queries, &what);
            }
            Err(error) => self.fail(flight.queries, flight.writes, &error),
        }
    }

    /// Gives up a batch that nobody has answered in time; false if there is none.
    pub(super) fn expire(&mut self, timeout: Duration) -> bool {
        let flight = self.flight.take_if(|flight| flight.since.elapsed() >= timeout);
        let Some(Flight { ticket, queries, writes, .. }) = flight else { return false };
        self.fail(queries, writes, &ticket.give_up(timeout));
        true
    }

    /// Has the client taken nothing for so long?
    pub(super) fn is_stuck(&self, patience: Duration) -> bool {
        self.wants_to_write() && self.taken.elapsed() >= patience
    }

    fn asked(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut().filter(|entry| matches!(entry.state, State::Asked(..)))
    }

    /// Answers the first questions with these outputs.
    fn tell(&mut self, queries: usize, mut outputs: &[BatchedOutput], shared: &mut Shared) {
        let mut done = 0;
        for entry in self.asked().take(queries) {
            let State::Asked(query, _) = &entry.state else { continue };
            let count = query.commands().len().min(outputs.len());
            let (own, behind) = outputs.split_at(count);
            outputs = behind;
            done += query.bytes();
            entry.state = State::Answered(shared.reply(query, own));
        }
        self.waiting -= done;
    }

    /// Answers the first questions with this.
    fn refuse(&mut self, queries: usize, reply: &Reply) {
        let mut done = 0;
        for entry in self.asked().take(queries) {
            if let State::Asked(query, _) = &entry.state {
                done += query.bytes();
            }
            entry.state = State::Answered(reply.clone());
        }
        self.waiting -= done;
    }

    /// Tells why a batch has no answer. What waits behind one that may yet take effect must not overtake it.
    fn fail(&mut self, queries: usize, writes: bool, error: &ClientError) {
        let is_unknown = matches!(error, ClientError::Timeout(_) | ClientError::SessionLost);
        if is_unknown && writes {
            self.refuse_mixed(queries, &Reply::Error(format!("UNKNOWN {error}")), &without_answer());
            let behind = "TRYAGAIN not sent, so it has no effect: a command before it has no answer";
            self.refuse(usize::MAX, &Reply::Error(behind.into()));
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
