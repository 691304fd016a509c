//! All ranks in one process: a thread each, and a channel into each.

use super::{Comm, Event};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};

/// A rank's connection to the other threads. Dropping it tells the others that this rank is gone.
#[derive(Debug)]
pub struct Thread {
    rank: usize,
    inbox: Receiver<Event>,
    outboxes: Vec<Sender<Event>>,
    /// What arrived and is not yet read, in the order of arrival.
    unread: VecDeque<Event>,
    lost: Vec<bool>,
}

/// Connections of `size` ranks with each other.
pub fn connect(size: usize) -> Vec<Thread> {
    let (outboxes, inboxes): (Vec<_>, Vec<_>) = (0..size).map(|_| channel()).unzip();
    let connect = |(rank, inbox)| Thread {
        rank,
        inbox,
        outboxes: outboxes.clone(),
        unread: VecDeque::new(),
        lost: vec![false; size],
    };
    inboxes.into_iter().enumerate().map(connect).collect()
}

/// A connection whose other ranks are not here: also its inbox, and what it sends, by rank, for whoever carries messages.
#[cfg(feature = "mpi")]
pub(super) fn to_elsewhere(rank: usize, size: usize) -> (Thread, Sender<Event>, Vec<Receiver<Event>>) {
    let (outboxes, outgoing) = (0..size).map(|_| channel()).unzip();
    let (sender, inbox) = channel();
    (Thread { rank, inbox, outboxes, unread: VecDeque::new(), lost: vec![false; size] }, sender, outgoing)
}

/// Runs a program on `size` ranks, one thread each, and gives what each returned, in the order of ranks.
///
/// # Panics
/// If a rank panics.
pub fn run<R: Send>(size: usize, program: impl Fn(Thread) -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let program = &program;
        let threads: Vec<_> =
            connect(size).into_iter().map(|comm| scope.spawn(move || program(comm))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, R>| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().map(join).collect()
    })
}

impl Thread {
    /// Fails if no other rank is left. The channel itself never closes, since it is among the own outboxes.
    fn check_others(&self) -> Result<()> {
        let mut others = (0..self.size()).filter(|rank| *rank != self.rank);
        if others.all(|rank| self.lost[rank]) {
            return Err(Error::Lost { rank: usize::from(self.rank == 0) });
        }
        Ok(())
    }

    fn note(&mut self, event: Event) -> Event {
        if let Event::Lost { rank } = event {
            self.lost[rank] = true;
        }
        event
    }

    /// Takes one event from the channel.
    fn next(&mut self) -> Result<Event> {
        self.check_others()?;
        let event = self.inbox.recv().map_err(|_| Error::Lost { rank: self.rank })?;
        Ok(self.note(event))
    }
}

impl Comm for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.outboxes.len()
    }

    fn send(&mut self, to: usize, bytes: Vec<u8>) -> Result<()> {
        let message = Event::Message { from: self.rank, bytes };
        self.outboxes[to].send(message).map_err(|_| Error::Lost { rank: to })
    }

    fn recv(&mut self, from: usize) -> Result<Vec<u8>> {
        let is_wanted =
            |event: &Event| matches!(event, Event::Message { from: sender, .. } if *sender == from);
        loop {
            if let Some(place) = self.unread.iter().position(is_wanted)
                && let Some(Event::Message { bytes, .. }) = self.unread.remove(place)
            {
                return Ok(bytes);
            }
            if self.lost[from] {
                return Err(Error::Lost { rank: from });
            }
            let event = self.next()?;
            self.unread.push_back(event);
        }
    }

    fn recv_any(&mut self) -> Result<Event> {
        if let Some(event) = self.unread.pop_front() {
            return Ok(event);
        }
        self.next()
    }

    fn try_recv_any(&mut self) -> Result<Option<Event>> {
        if let Some(event) = self.unread.pop_front() {
            return Ok(Some(event));
        }
        match self.inbox.try_recv() {
            Ok(event) => Ok(Some(self.note(event))),
            Err(_) => self.check_others().map(|()| None),
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        for (rank, outbox) in self.outboxes.iter().enumerate() {
            if rank != self.rank {
                // Whoever is gone as well need not know.
                let _ = outbox.send(Event::Lost { rank: self.rank });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_rank_stay_in_order_and_others_wait() {
        let sums = run(3, |mut comm| {
            let rank = comm.rank();
            for to in (0..3).filter(|to| *to != rank) {
                for number in 0..10 {
                    comm.send(to, vec![rank as u8, number]).unwrap();
                }
            }
            let mut read = Vec::new();
            for from in (0..3).rev().filter(|from| *from != rank) {
                for number in 0..10 {
                    assert_eq!(comm.recv(from).unwrap(), [from as u8, number]);
                    read.push(number);
                }
            }
            comm.barrier().unwrap();
            read.len()
        });
        assert_eq!(sums, [20, 20, 20]);
    }

    #[test]
    fn gathering_and_broadcasting_follow_the_ranks() {
        let results = run(4, |mut comm| {
            let all = comm.gather(vec![comm.rank() as u8]).unwrap();
            comm.broadcast(all.concat()).unwrap()
        });
        assert!(results.iter().all(|bytes| *bytes == [0, 1, 2, 3]));
    }

    #[test]
    fn waiting_for_a_lost_rank_ends() {
        let results = run(3, |mut comm| match comm.rank() {
            1 => {
                comm.send(0, vec![7]).unwrap();
                Ok(vec![])
            }
            0 => {
                assert_eq!(comm.recv(1).unwrap(), [7], "what was sent before the loss is read first");
                comm.recv(1)
            }
            _ => comm.barrier().map(|()| vec![]),
        });
        assert_eq!(results[0], Err(Error::Lost { rank: 1 }));
        assert!(matches!(results[2], Err(Error::Lost { .. })));
    }
}
