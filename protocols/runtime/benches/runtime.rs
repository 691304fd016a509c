//! What the runtime costs, beside what the machine allows: `cargo bench -p parthood-runtime [codec|frame|log|udp]`.
//!
//! Absolute numbers depend on the machine and on who shares it. The ratios are measured side by side, in turns, and the
//! best of several short runs counts on either side.

use im::OrdMap;
use im::ordmap::DiffItem;
use parthood_runtime::storage::{Durability, Journal, Limits, Log, WholeValue};
use parthood_runtime::udp::{AddressBook, ClientProcess, Driver};
use parthood_runtime::wire::{Frame, FrameWriter, Key, MAX_DATAGRAM_LEN, decode, encode};
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;
use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One measured run.
const RUN: Duration = Duration::from_millis(400);
/// Runs of each of two sides, in turns.
const RUNS: usize = 3;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let parts: [(&str, fn()); 4] = [("codec", codec), ("frame", frame), ("log", log), ("udp", udp)];
    for (name, run) in parts {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            run();
        }
    }
}

/// The best rate per second of `f`, which does `per_call` things.
fn rate(per_call: u64, mut f: impl FnMut()) -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..RUNS {
        let (start, mut calls) = (Instant::now(), 0);
        while start.elapsed() < RUN / 4 {
            (0..16).for_each(|_| f());
            calls += 16;
        }
        best = best.max(per_second(calls * per_call, start.elapsed()));
    }
    best
}

#[expect(clippy::cast_precision_loss, reason = "counts of a second are small")]
fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// The processor time of this process in microseconds, to 10 ms; unlike the time of day it hardly depends on who else
/// uses the machine.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    // User and system time are the 14th and 15th field, in hundredths of a second; the 3rd comes first here.
    fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>()
        * 10_000
}

#[expect(clippy::cast_precision_loss, reason = "counts of a second are small")]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}

/// Something like a vote on a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Vote {
    Phase2a { round: u64, slot: u64, value: Vec<(u64, u64, String)> },
    Phase2b { round: u64, slot: u64 },
}

fn votes() -> [(&'static str, Vote); 3] {
    let value = |n| (0..n).map(|i| (1 << 63 | i, i, "16 bytes of text".into())).collect();
    [
        ("phase 2b", Vote::Phase2b { round: 3, slot: 1_000_000 }),
        ("phase 2a, 1 command of 16 bytes", Vote::Phase2a { round: 3, slot: 1_000_000, value: value(1) }),
        ("phase 2a, 32 commands of 16 bytes", Vote::Phase2a { round: 3, slot: 1_000_000, value: value(32) }),
    ]
}

fn codec() {
    println!("codec                                    bytes   write ns    read ns   read ns by postcard");
    for (name, vote) in votes() {
        let mut bytes = Vec::new();
        let write = rate(1, || {
            bytes.clear();
            encode(black_box(&vote), &mut bytes, MAX_DATAGRAM_LEN).expect("it is small");
        });
        let read = rate(1, || assert!(decode::<Vote>(black_box(&bytes)).is_ok()));
        let reference = rate(1, || assert!(postcard::from_bytes::<Vote>(black_box(&bytes)).is_ok()));
        let [write, read, reference] = [write, read, reference].map(|rate| 1e9 / rate);
        println!("{name:40} {:5} {write:10.0} {read:10.0} {reference:10.0}", bytes.len());
    }
}

fn frame() {
    let seal = Key::new([1; 32]).seal();
    println!("frame                                    bytes    seal ns    open ns");
    for (name, count) in [("1 message", 1), ("60 messages", 60), ("2,600 messages", 2_600)] {
        let mut frame = FrameWriter::default();
        frame.begin(7, Id::from(0));
        for slot in 0..count {
            let vote = Vote::Phase2b { round: 3, slot };
            frame.push(Id::from(0), Id::from(1), &vote, MAX_DATAGRAM_LEN).expect("it fits");
        }
        let unsealed = frame.clone();
        let copy = rate(1, || drop(black_box(unsealed.clone())));
        let sealed = rate(1, || {
            let mut frame = unsealed.clone();
            frame.seal(&seal, 1);
            black_box(frame.bytes());
        });
        frame.seal(&seal, 1);
        let open = rate(1, || assert!(Frame::open(black_box(frame.bytes()), 7, &seal).is_ok()));
        let seal_ns = 1e9 / sealed - 1e9 / copy;
        println!("{name:40} {:5} {seal_ns:10.0} {:10.0}", frame.bytes().len(), 1e9 / open);
    }
}

fn log() {
    let dir = tempfile::tempdir_in(".").expect("the working directory is writable");
    println!(
        "log, records of 60 bytes        records/s   groups/s   ratio to raw append (and fdatasync) of as many bytes"
    );
    for durability in [Durability::NoSync, Durability::Sync] {
        for actors in [1, 16, 64] {
            let (mut raw, mut ours) = (0.0_f64, 0.0_f64);
            for _ in 0..RUNS {
                raw = raw.max(raw_append(dir.path(), actors, durability));
                ours = ours.max(log_append(dir.path(), actors, durability));
            }
            let records = ours * f64::from(actors);
            let name = format!("{durability:?}, {actors} to a group");
            println!("{name:28} {records:12.0} {ours:10.0}   {:.2}", ours / raw);
        }
    }
    snapshot();
}

/// The map of a big state, by its changes.
struct Changes;

impl Journal<OrdMap<u64, u64>> for Changes {
    type Delta = Vec<(u64, u64)>;

    fn diff(old: Option<&OrdMap<u64, u64>>, new: &OrdMap<u64, u64>) -> impl Iterator<Item = Self::Delta> {
        let old = old.cloned().unwrap_or_default();
        let changes: Vec<_> = old
            .diff(new)
            .filter_map(|item| match item {
                DiffItem::Add(k, v) | DiffItem::Update { new: (k, v), .. } => Some((*k, *v)),
                DiffItem::Remove(..) => None,
            })
            .collect();
        std::iter::once(changes)
    }

    fn apply(old: Option<OrdMap<u64, u64>>, delta: Self::Delta) -> Option<OrdMap<u64, u64>> {
        let mut map = old.unwrap_or_default();
        map.extend(delta);
        Some(map)
    }
}

/// How long commits take while a snapshot of a million entries is written.
fn snapshot() {
    let dir = tempfile::tempdir_in(".").expect("the working directory is writable");
    let limits = Limits { log_per_snapshot: 0, min_log_len: 30 << 20, ..Limits::default() };
    let mut log =
        Log::<_, Changes>::open(dir.path(), 7, &[0], Durability::NoSync, limits).expect("it is empty");
    let mut map: OrdMap<u64, u64> = (0..1_000_000_u64).map(|key| (key, u64::MAX)).collect();
    let (start, mut longest, mut commits) = (Instant::now(), Duration::ZERO, 0);
    while log.counters().snapshots == 0 {
        log.save(0, map.clone());
        let commit = Instant::now();
        log.commit().expect("the disk has room");
        if commits > 0 {
            longest = longest.max(commit.elapsed());
        }
        commits += 1;
        map.extend((0..500_u64).map(|i| (commits * 997 % 1_000_000 + i, commits)));
    }
    let took = start.elapsed();
    println!(
        "snapshot of 1,000,000 entries: {commits} commits in {took:.1?}, the longest but the first {longest:.1?}"
    );
}

/// Groups per second of the log.
fn log_append(dir: &Path, actors: u32, durability: Durability) -> f64 {
    let dir = tempfile::tempdir_in(dir).expect("a directory");
    let hosted: Vec<u64> = (0..actors.into()).collect();
    let mut log = Log::<[u64; 6], WholeValue>::open(dir.path(), 7, &hosted, durability, Limits::default())
        .expect("the directory is empty");
    let (start, mut groups) = (Instant::now(), 0);
    while start.elapsed() < RUN {
        groups += 1;
        for &actor in &hosted {
            log.save(actor, [u64::MAX ^ groups; 6]);
        }
        log.commit().expect("the disk has room");
    }
    per_second(groups, start.elapsed())
}

/// Groups per second of nothing but the system calls.
fn raw_append(dir: &Path, actors: u32, durability: Durability) -> f64 {
    let mut file = File::create(dir.join("raw")).expect("a file");
    let bytes = vec![1; 96 * actors as usize];
    let (start, mut groups) = (Instant::now(), 0);
    while start.elapsed() < RUN {
        groups += 1;
        file.write_all(&bytes).expect("the disk has room");
        if durability == Durability::Sync {
            file.sync_data().expect("the disk works");
        }
    }
    per_second(groups, start.elapsed())
}

/// Two actors that play ping-pong with several balls.
#[derive(Clone)]
enum Player {
    Server { saves: bool },
    Client { balls: u64 },
}

impl Actor for Player {
    type Msg = [u64; 4];
    type Timer = ();
    type State = u64;
    type Storage = u64;
    type Random = ();

    fn on_start(&self, _: Id, storage: &Option<u64>, out: &mut Out<Self>) -> u64 {
        if let Self::Client { balls } = self {
            (0..*balls).for_each(|ball| out.send(Id::from(0), [ball; 4]));
        }
        storage.unwrap_or(0)
    }

    fn on_msg(&self, _: Id, state: &mut Cow<'_, u64>, src: Id, msg: [u64; 4], out: &mut Out<Self>) {
        *state.to_mut() += 1;
        out.send(src, msg);
        if let Self::Server { saves: true } = self {
            out.save(**state);
        }
    }
}

fn udp() {
    let dir = tempfile::tempdir_in(".").expect("the working directory is writable");
    println!("udp                 round trips/s              CPU us/round trip        with fdatasync");
    println!(
        "outstanding    raw echo     actors  ratio   raw echo  actors   per datagram   trips/s  per sync"
    );
    for balls in [1, 16, 64, 256] {
        let mut sides = [Side::default(), Side::default(), Side::default()];
        for _ in 0..RUNS {
            sides[0].keep_best(raw_echo(balls));
            sides[1].keep_best(ping_pong(balls, None));
            sides[2].keep_best(ping_pong(balls, Some(dir.path())));
        }
        let [raw, actors, durable] = sides;
        println!(
            "{balls:11} {:11.0} {:10.0} {:6.2} {:10.2} {:7.2} {:14.1} {:9.0} {:9.1}",
            raw.rate,
            actors.rate,
            actors.rate / raw.rate,
            raw.cpu_us,
            actors.cpu_us,
            actors.group,
            durable.rate,
            durable.group
        );
    }
}

/// The best of several runs.
#[derive(Clone, Copy, Default)]
struct Side {
    /// Round trips per second.
    rate: f64,
    /// Processor time per round trip, of both ends.
    cpu_us: f64,
    /// Messages per datagram, or per `fdatasync` with a data directory.
    group: f64,
}

impl Side {
    fn keep_best(&mut self, other: Self) {
        let cpu_us = if self.rate == 0.0 { other.cpu_us } else { self.cpu_us.min(other.cpu_us) };
        *self = if self.rate > other.rate { *self } else { other };
        self.cpu_us = cpu_us;
    }
}

/// Round trips of two drivers.
fn ping_pong(balls: u64, data: Option<&Path>) -> Side {
    let book = |address: SocketAddr| AddressBook::from_iter([address]);
    let key = Key::new([5; 32]);
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let player = Player::Server { saves: data.is_some() };
    let data = data.map(|path| tempfile::tempdir_in(path).expect("a directory"));
    let mut builder = Driver::<Player>::builder(1, key.clone(), book(any)).host(Id::from(0), player);
    if let Some(data) = &data {
        builder = builder.data(data.path());
    }
    let mut server = builder.build().expect("a free port");
    let (address, handle) = (server.local_address(), server.handle());
    let server = std::thread::spawn(move || {
        server.run(|error| panic!("{error}")).expect("loopback works");
        server.counters()
    });
    let id = ClientProcess::random().expect("randomness").id(0);
    let client = Driver::<Player>::builder(1, key, book(address)).host(id, Player::Client { balls });
    let mut client = client.build().expect("a free port");
    let (start, cpu) = (Instant::now(), cpu_us());
    while start.elapsed() < RUN {
        client.turn(Some(RUN)).expect("loopback works");
    }
    let trips = *client.state(id).expect("it is hosted");
    let (elapsed, cpu) = (start.elapsed(), cpu_us() - cpu);
    handle.stop();
    let counters = server.join().expect("the server does not panic");
    let units = if data.is_some() { counters.log.syncs } else { counters.datagrams_out };
    Side {
        rate: per_second(trips, elapsed),
        cpu_us: ratio(cpu, trips),
        group: ratio(counters.messages_out, units),
    }
}

/// Round trips of a plain loop over the standard library's socket, with datagrams of 64 bytes.
fn raw_echo(balls: u64) -> Side {
    let socket = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        socket
    };
    let (server, client) = (socket(), socket());
    let address = server.local_addr().expect("it is bound");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        let mut bytes = [0; 2048];
        while !stopped.load(Ordering::Relaxed) {
            if let Ok((len, from)) = server.recv_from(&mut bytes) {
                server.send_to(&bytes[..len], from).expect("loopback works");
            }
        }
    });
    let mut bytes = [0; 2048];
    let (start, cpu, mut trips) = (Instant::now(), cpu_us(), 0);
    (0..balls).for_each(|_| drop(client.send_to(&[1; 64], address)));
    while start.elapsed() < RUN {
        if client.recv_from(&mut bytes).is_ok() {
            trips += 1;
            client.send_to(&[1; 64], address).expect("loopback works");
        }
    }
    let side =
        Side { rate: per_second(trips, start.elapsed()), cpu_us: ratio(cpu_us() - cpu, trips), group: 1.0 };
    stop.store(true, Ordering::Relaxed);
    thread.join().expect("the server does not panic");
    side
}
