//! Ranks that MPI has started: at other machines, if it is told so.
//!
//! The main thread carries messages and does nothing else, so that MPI is called from one thread only (`MPI_THREAD_FUNNELED`)
//! and moves on whatever the program computes; the program runs beside it, on connections like those between threads
//! ([`super::threads`]). A message goes out in pieces of up to a gigabyte, since MPI counts in 31 bits; MPI keeps the order
//! of what one rank sends to another. While a piece is being sent, what arrives is taken in, so two ranks that send to each
//! other do not wait for each other for ever.
//!
//! No reduction of MPI is used: it would add in an order of its own.
//!
//! A rank whose program ends tells the others, whether it is done or has failed. What a rank that dies leaves behind is MPI's
//! business: `mpirun` ends all the others. So here the run is over then, where [`crate::decompose::Pool`] goes on among threads.

use super::Event;
use super::threads::{Thread, to_elsewhere};
use crate::{Error, Result};
use mpi::Threading;
use mpi::point_to_point::{Destination, MatchedReceiveVec, Source};
use mpi::topology::{Communicator, SimpleCommunicator};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

/// Bytes of a piece at most.
const PIECE: usize = 1 << 30;
/// How often it is looked, in vain, before the thread sleeps a little.
const LOOKS: u32 = 1 << 10;
/// How long it sleeps.
const REST: Duration = Duration::from_micros(50);

/// What a piece is, as the rest of its tag; the rest is its connection.
const KINDS: i32 = 3;
const LAST: i32 = 0;
const MORE: i32 = 1;
const GONE: i32 = 2;

/// One of several connections with all ranks: what the program wants to send, by rank, and where it reads.
struct Line {
    outgoing: Vec<Receiver<Event>>,
    inbox: Sender<Event>,
    /// How many ranks do not know yet that the program has dropped its end.
    untold: usize,
    /// The ranks whose programs have dropped theirs.
    gone: Vec<bool>,
}

/// The ends of all lines that belong to MPI.
struct Carrier {
    lines: Vec<Line>,
    /// Messages of which not all pieces are here, by rank and line.
    partial: BTreeMap<(usize, usize), Vec<u8>>,
}

/// Runs a program as this rank of those that MPI has started, with `N` connections that do not hear each other. To be called
/// once, by the main thread.
///
/// # Errors
/// [`Error::Mpi`] if MPI does not start, or not for a process with threads.
///
/// # Panics
/// If the program panics.
pub fn run<R: Send, const N: usize>(program: impl FnOnce([Thread; N]) -> R + Send) -> Result<R> {
    let Some((universe, level)) = mpi::initialize_with_threading(Threading::Funneled) else {
        return Err(Error::Mpi { why: "it is running already in this process" });
    };
    if level < Threading::Funneled {
        return Err(Error::Mpi { why: "this installation does not allow for a process with threads" });
    }
    let world = universe.world();
    let (rank, size) = (world.rank() as usize, world.size() as usize);
    let mut lines = Vec::with_capacity(N);
    let ends: [Thread; N] = std::array::from_fn(|_| {
        let (end, inbox, outgoing) = to_elsewhere(rank, size);
        let gone = (0..size).map(|other| other == rank).collect();
        lines.push(Line { outgoing, inbox, untold: size - 1, gone });
        end
    });
    let mut carrier = Carrier { lines, partial: BTreeMap::new() };
    std::thread::scope(|scope| {
        let program = scope.spawn(move || program(ends));
        carrier.carry();
        match program.join() {
            Ok(result) => Ok(result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

impl Carrier {
    /// Carries messages until every rank's program has dropped all its ends, so that nobody waits for a message of another
    /// that has left MPI.
    fn carry(&mut self) {
        let mut looks = 0;
        while self.lines.iter().any(|line| line.untold > 0 || line.gone.contains(&false)) {
            if self.take_in() | self.send_out() {
                looks = 0;
            } else if looks < LOOKS {
                looks += 1;
                std::thread::yield_now();
            } else {
                std::thread::sleep(REST);
            }
        }
    }

    /// Takes one piece in, if one has come; whether it has.
    fn take_in(&mut self) -> bool {
        let world = SimpleCommunicator::world();
        let Some(found) = world.any_process().immediate_matched_probe() else { return false };
        let (piece, status) = found.matched_receive_vec::<u8>();
        let (from, line) = (status.source_rank() as usize, (status.tag() / KINDS) as usize);
        let Some(Line { inbox, gone, .. }) = self.lines.get_mut(line) else { return true };
        let event = match status.tag() % KINDS {
            MORE => {
                self.partial.entry((from, line)).or_default().extend(piece);
                return true;
            }
            GONE => {
                gone[from] = true;
                Event::Lost { rank: from }
            }
            _ => {
                let bytes = match self.partial.remove(&(from, line)) {
                    Some(begun) => [begun, piece].concat(),
                    None => piece,
                };
                Event::Message { from, bytes }
            }
        };
        // A program that is over reads no more.
        let _ = inbox.send(event);
        true
    }

    /// Sends one message to each rank that there is one for; whether there was any.
    fn send_out(&mut self) -> bool {
        let mut any = false;
        for line in 0..self.lines.len() {
            for to in 0..self.lines[line].outgoing.len() {
                match self.lines[line].outgoing[to].try_recv() {
                    Ok(Event::Message { bytes, .. }) => self.send(to, line, &bytes),
                    Ok(Event::Lost { .. }) => {
                        self.send_piece(to, &[], line as i32 * KINDS + GONE);
                        self.lines[line].untold -= 1;
                    }
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => continue,
                }
                any = true;
            }
        }
        any
    }

    fn send(&mut self, to: usize, line: usize, bytes: &[u8]) {
        let mut rest = bytes;
        while rest.len() > PIECE {
            let (piece, after) = rest.split_at(PIECE);
            self.send_piece(to, piece, line as i32 * KINDS + MORE);
            rest = after;
        }
        self.send_piece(to, rest, line as i32 * KINDS + LAST);
    }

    /// Sends a piece, and takes in what comes meanwhile.
    fn send_piece(&mut self, to: usize, piece: &[u8], tag: i32) {
        let world = SimpleCommunicator::world();
        mpi::request::scope(|scope| {
            let mut sending = world.process_at_rank(to as i32).immediate_send_with_tag(scope, piece, tag);
            while let Err(request) = sending.test() {
                sending = request;
                if !self.take_in() {
                    std::thread::yield_now();
                }
            }
        });
    }
}
