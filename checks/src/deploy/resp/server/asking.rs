//! What the store is asked: batches of what connections have waiting.

use super::{Server, Shared};
use crate::deploy::resp::session::{Questions, Session};
use crate::deploy::{ClientError, Ticket};
use parthood_protocols::state_machine::{BatchedCommand, KeyValueCommand, KeyValueOutput};
use parthood_resp::{Query, Reply};
use std::collections::HashMap;
use std::mem;
use std::time::Instant;

/// The questions of one connection in a batch.
struct Part {
    token: u64,
    queries: usize,
    /// Where their commands begin, and how many there are.
    at: usize,
    commands: usize,
}

/// A batch that is gathered: of reads of one kind, and of connections that write something or of such that do not, as a batch
/// that only reads may need no log.
struct Gathered {
    kind: usize,
    writes: bool,
    /// Its only connection shares with no others.
    alone: bool,
    commands: Vec<BatchedCommand>,
    bytes: usize,
    parts: Vec<Part>,
}

impl Gathered {
    fn of(questions: &Questions) -> Self {
        let Questions { kind, writes, alone, .. } = *questions;
        Self { kind, writes, alone, commands: vec![], bytes: 0, parts: vec![] }
    }

    fn takes(&self, questions: &Questions) -> bool {
        (self.kind, self.writes) == (questions.kind, questions.writes)
            && !self.alone
            && !questions.alone
            && Query::fit(self.commands.len() + questions.commands, self.bytes + questions.bytes)
    }

    fn take(&mut self, token: u64, session: &mut Session, questions: &Questions) {
        let Questions { queries, commands, bytes, .. } = *questions;
        self.parts.push(Part { token, queries, at: self.commands.len(), commands });
        self.commands.extend(session.begin(queries).cloned());
        self.bytes += bytes;
    }
}

/// A batch that the store was asked.
struct Flight {
    parts: Vec<Part>,
    writes: bool,
    ticket: Ticket,
    since: Instant,
}

/// Batches without an answer, by number.
#[derive(Default)]
pub(super) struct Flights {
    under_way: HashMap<u64, Flight>,
    last: u64,
}

impl Server {
    /// Asks the store what connections have waiting.
    pub(super) fn ask(&mut self) {
        let mut batches: Vec<Gathered> = vec![];
        for token in mem::take(&mut self.ready) {
            let Some((session, _)) = self.sessions.get_mut(&token) else { continue };
            let Some(questions) = session.questions() else { continue };
            let open = batches.iter().position(|batch| batch.takes(&questions));
            let open = open.unwrap_or_else(|| {
                batches.push(Gathered::of(&questions));
                batches.len() - 1
            });
            batches[open].take(token, session, &questions);
        }
        for batch in batches {
            self.send(batch);
        }
    }

    fn send(&mut self, batch: Gathered) {
        let Gathered { kind, writes, commands, parts, .. } = batch;
        let command = KeyValueCommand::Batch(commands.into_iter().collect());
        self.flights.last += 1;
        match self.shared.submit(kind, self.flights.last, command) {
            Ok(ticket) => {
                let flight = Flight { parts, writes, ticket, since: Instant::now() };
                self.flights.under_way.insert(self.flights.last, flight);
            }
            Err(error) => {
                let why = Reply::Error(format!("CLUSTERDOWN {error}"));
                self.tell(parts, |session, _, _| session.refuse_all(&why));
            }
        }
    }

    /// Takes the answer to a batch; one to a batch that was given up is not heard.
    pub(super) fn land(&mut self, number: u64, answer: Result<KeyValueOutput, ClientError>) {
        let Some(Flight { parts, writes, .. }) = self.flights.under_way.remove(&number) else { return };
        match answer {
            Ok(KeyValueOutput::Batch(outputs)) => self.tell(parts, |session, part, shared| {
                let own = outputs.outputs().get(part.at..part.at + part.commands);
                session.hear(part.queries, own.unwrap_or_default(), shared);
            }),
            // Nothing was done: each asks by itself, or for half as much.
            Ok(KeyValueOutput::OutputTooLarge) => {
                let is_shared = parts.len() > 1;
                self.tell(parts, |session, part, _| session.ask_for_less(part.queries, is_shared));
            }
            Ok(other) => {
                let what = Reply::error(format!("the store gave an unexpected answer: {other:?}"));
                self.tell(parts, |session, part, _| session.refuse(part.queries, &what));
            }
            Err(error) => self.tell(parts, |session, part, _| session.fail(part.queries, writes, &error)),
        }
    }

    /// Gives up batches that nobody has answered in time.
    pub(super) fn expire(&mut self) {
        let timeout = self.shared.options.timeout;
        let over = self.flights.under_way.extract_if(|_, flight| flight.since.elapsed() >= timeout);
        for (_, Flight { parts, writes, ticket, .. }) in over.collect::<Vec<_>>() {
            let error = ticket.give_up(timeout);
            self.tell(parts, |session, part, _| session.fail(part.queries, writes, &error));
        }
    }

    /// Tells connections what became of their part of a batch, and lets them go on.
    fn tell(&mut self, parts: Vec<Part>, mut told: impl FnMut(&mut Session, &Part, &mut Shared)) {
        for part in parts {
            if let Some((session, _)) = self.sessions.get_mut(&part.token) {
                told(session, &part, &mut self.shared);
                self.advance(part.token);
            }
        }
    }
}
