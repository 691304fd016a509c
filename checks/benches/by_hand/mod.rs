//! `MultiPaxos` for f = 1 written by hand for this machine, as the limit to be measured against: three servers, one thread
//! each, records of one length, arrays for maps, nothing on disk, nothing authenticated, nothing retried. It does what the
//! protocol needs in its steady state and no more: the first server leads in one round, both others are asked for their
//! votes, each replica executes what is chosen.
//!
//! [`Form::Plain`] sends each record in a datagram of its own, by `sendto` and `recvfrom`. [`Form::Packed`] sends all that
//! a turn has for a peer in one datagram, and many of those by one call.

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use std::collections::HashMap;
use std::error::Error;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How records travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Packed,
}

const SERVERS: usize = 3;
/// The client's place among the peers.
const CLIENT: usize = SERVERS;
/// Bytes of a record.
const RECORD: usize = 64;
const RECORDS_MAX: usize = 100;
const DATAGRAMS: usize = 64;
const KERNEL_BUFFER: usize = 8 << 20;

const REQUEST: u64 = 0;
const PHASE_2A: u64 = 1;
const PHASE_2B: u64 = 2;
const CHOSEN: u64 = 3;
const REPLY: u64 = 4;

#[derive(Clone, Copy, Default)]
struct Record {
    kind: u64,
    /// What the client calls the command.
    number: u64,
    round: u64,
    slot: u64,
    chosen_below: u64,
    key: u64,
    value: [u8; 16],
}

impl Record {
    fn write(&self, to: &mut Vec<u8>) {
        for word in [self.kind, self.number, self.round, self.slot, self.chosen_below, self.key] {
            to.extend_from_slice(&word.to_le_bytes());
        }
        to.extend_from_slice(&self.value);
    }

    fn read(bytes: &[u8]) -> Self {
        let word = |i: usize| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().unwrap_or_default());
        let value = bytes[48..RECORD].try_into().unwrap_or_default();
        let [kind, number, round, slot, chosen_below, key] = std::array::from_fn(word);
        Self { kind, number, round, slot, chosen_below, key, value }
    }
}

/// A socket, and what is to be sent at the end of a turn.
struct Port {
    socket: UdpSocket,
    form: Form,
    peers: Vec<SocketAddr>,
    outgoing: Vec<Vec<u8>>,
    slots: Vec<u8>,
    receive: MultiHeaders<SockaddrStorage>,
    send: MultiHeaders<SockaddrStorage>,
}

impl Port {
    fn new(socket: UdpSocket, form: Form, peers: Vec<SocketAddr>) -> Self {
        Self {
            socket,
            form,
            outgoing: vec![Vec::new(); peers.len()],
            peers,
            slots: vec![0; DATAGRAMS * RECORD * RECORDS_MAX],
            receive: MultiHeaders::preallocate(DATAGRAMS, None),
            send: MultiHeaders::preallocate(DATAGRAMS, None),
        }
    }

    fn push(&mut self, peer: usize, record: &Record) {
        record.write(&mut self.outgoing[peer]);
    }

    /// Waits for records.
    fn take(&mut self, records: &mut Vec<Record>) -> Outcome<()> {
        records.clear();
        if self.form == Form::Plain {
            if let Ok((len, _)) = self.socket.recv_from(&mut self.slots) {
                records.extend(self.slots[..len].chunks_exact(RECORD).map(Record::read));
            }
            return Ok(());
        }
        let mut slots: Vec<_> =
            self.slots.chunks_mut(RECORD * RECORDS_MAX).map(|slot| [IoSliceMut::new(slot)]).collect();
        let waiting = MsgFlags::MSG_WAITFORONE;
        match recvmmsg(self.socket.as_raw_fd(), &mut self.receive, &mut slots, waiting, None) {
            Ok(datagrams) => {
                for datagram in datagrams {
                    let bytes = datagram.iovs().next().unwrap_or_default();
                    records.extend(bytes.chunks_exact(RECORD).map(Record::read));
                }
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Sends all that is waiting.
    fn flush(&mut self) -> Outcome<()> {
        let length = if self.form == Form::Plain { RECORD } else { RECORD * RECORDS_MAX };
        let peers = self.peers.iter().zip(&self.outgoing);
        let datagrams: Vec<_> = peers
            .flat_map(|(peer, bytes)| bytes.chunks(length).map(move |datagram| (*peer, datagram)))
            .collect();
        if self.form == Form::Plain {
            for (peer, datagram) in datagrams {
                self.socket.send_to(datagram, peer)?;
            }
        } else {
            for some in datagrams.chunks(DATAGRAMS) {
                let bytes: Vec<_> = some.iter().map(|(_, datagram)| [IoSlice::new(datagram)]).collect();
                let to: Vec<_> = some.iter().map(|(peer, _)| Some(SockaddrStorage::from(*peer))).collect();
                sendmmsg(self.socket.as_raw_fd(), &mut self.send, &bytes, &to, [], MsgFlags::empty())?;
            }
        }
        self.outgoing.iter_mut().for_each(Vec::clear);
        Ok(())
    }
}

/// A server: acceptor, replica and, if it is the first, leader.
struct Server {
    index: usize,
    port: Port,
    round: u64,
    /// Votes, by slot: the round, and what for.
    log: Vec<(u64, Record)>,
    /// Votes of others, by slot.
    votes: Vec<u8>,
    executed: u64,
    store: HashMap<u64, [u8; 16]>,
}

impl Server {
    fn serve(mut self, stop: &AtomicBool) -> Outcome<()> {
        let mut records = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            self.port.take(&mut records)?;
            for record in &records {
                self.on_record(record);
            }
            if self.index == 0 && !records.is_empty() {
                self.execute_chosen();
            }
            self.port.flush()?;
        }
        Ok(())
    }

    fn on_record(&mut self, record: &Record) {
        match record.kind {
            REQUEST => {
                let slot = self.log.len() as u64;
                self.log.push((self.round, *record));
                self.votes.push(1);
                let (round, chosen_below) = (self.round, self.executed);
                let ask = Record { kind: PHASE_2A, round, slot, chosen_below, ..*record };
                for server in 1..SERVERS {
                    self.port.push(server, &ask);
                }
            }
            PHASE_2A if record.round >= self.round => {
                self.round = record.round;
                let slot = index(record.slot);
                if self.log.len() <= slot {
                    self.log.resize(slot + 1, (u64::MAX, Record::default()));
                }
                self.log[slot] = (record.round, *record);
                self.port.push(0, &Record { kind: PHASE_2B, ..*record });
                self.follow(record.chosen_below);
            }
            PHASE_2B if record.round == self.round => {
                let slot = index(record.slot);
                self.votes[slot] += 1;
            }
            CHOSEN => self.follow(record.chosen_below),
            _ => {}
        }
    }

    /// The leader executes what enough have voted for, answers, and lets the others know.
    fn execute_chosen(&mut self) {
        let before = self.executed;
        while let Some(2..) = self.votes.get(index(self.executed)) {
            let (_, record) = self.log[index(self.executed)];
            self.store.insert(record.key, record.value);
            self.port.push(CLIENT, &Record { kind: REPLY, ..record });
            self.executed += 1;
        }
        if self.executed > before {
            let chosen = Record { kind: CHOSEN, chosen_below: self.executed, ..Record::default() };
            for server in 1..SERVERS {
                self.port.push(server, &chosen);
            }
        }
    }

    /// A follower executes what it voted for in the leader's round.
    fn follow(&mut self, chosen_below: u64) {
        while self.executed < chosen_below {
            let slot = index(self.executed);
            match self.log.get(slot) {
                Some((round, record)) if *round == self.round => {
                    self.store.insert(record.key, record.value);
                    self.executed += 1;
                }
                _ => break,
            }
        }
    }
}

/// Puts of 16 bytes per second, in a closed loop of so many.
pub(crate) fn commands(form: Form, outstanding: u32, duration: Duration) -> Outcome<f64> {
    let sockets = (0..=SERVERS).map(|_| socket()).collect::<Outcome<Vec<_>>>()?;
    let peers: Vec<_> = sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?;
    let mut sockets = sockets.into_iter();
    let stop = Arc::new(AtomicBool::new(false));
    let servers: Vec<_> = (sockets.by_ref().take(SERVERS).enumerate())
        .map(|(index, socket)| {
            let (stop, peers) = (Arc::clone(&stop), peers.clone());
            std::thread::spawn(move || {
                let port = Port::new(socket, form, peers);
                let (log, votes, store) = (Vec::new(), Vec::new(), HashMap::new());
                let server = Server { index, port, round: 0, log, votes, executed: 0, store };
                server.serve(&stop).map_err(|error| error.to_string())
            })
        })
        .collect();
    let client = sockets.next().ok_or("the client has a socket")?;
    let rate = load(Port::new(client, form, peers), outstanding, duration);
    stop.store(true, Ordering::Relaxed);
    for server in servers {
        server.join().map_err(|_| "a server panicked")??;
    }
    rate
}

fn load(mut port: Port, outstanding: u32, duration: Duration) -> Outcome<f64> {
    let mut number = 0_u64;
    let mut request = |port: &mut Port| {
        let key = number * 2_654_435_761 % 1_000;
        let value = u128::from(number).to_le_bytes();
        port.push(0, &Record { kind: REQUEST, number, key, value, ..Record::default() });
        number += 1;
    };
    (0..outstanding).for_each(|_| request(&mut port));
    port.flush()?;
    let (start, mut answered, mut records) = (Instant::now(), 0_u32, Vec::new());
    while start.elapsed() < duration {
        port.take(&mut records)?;
        if records.is_empty() {
            return Err("a datagram was lost: the loop retries nothing".into());
        }
        for _ in &records {
            answered += 1;
            request(&mut port);
        }
        port.flush()?;
    }
    Ok(f64::from(answered) / start.elapsed().as_secs_f64())
}

fn index(slot: u64) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

fn socket() -> Outcome<UdpSocket> {
    use nix::sys::socket::{setsockopt, sockopt};
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    // What is granted is enough, or the loop says that a datagram was lost.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &KERNEL_BUFFER)
        .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &KERNEL_BUFFER));
    let _ = setsockopt(&socket, sockopt::SndBufForce, &KERNEL_BUFFER)
        .or_else(|_| setsockopt(&socket, sockopt::SndBuf, &KERNEL_BUFFER));
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    Ok(socket)
}
