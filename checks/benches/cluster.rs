//! Commands per second of clusters on loopback, as ratios to a `MultiPaxos` written by hand, measured in the same run.
//! `cargo bench -p parthood --bench cluster [-- PROTOCOL ...]`. All event loops, the client and its lanes share the cores of
//! this machine, and where the system puts them changes a result by three: `taskset -c 0` puts all on one.

mod by_hand;
mod ports;

use by_hand::Form;
use nix::time::{ClockId, clock_gettime};
use parthood::bench::{self, Load};
use parthood::deploy::{Cluster, ServeOptions, serve};
use parthood::runtime::wire::Key;
use std::error::Error;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const RUN: Duration = Duration::from_secs(3);
const OUTSTANDING: [u32; 4] = [1, 16, 64, 1_000];
/// More datagrams than that an echo's socket may not hold.
const ECHOES_MAX: u32 = 256;
/// What is deployed, and on how many hosts.
const SYSTEMS: [(&str, u16); 5] = [
    ("unreplicated", 1),
    ("multipaxos", 3),
    ("matchmaker_multipaxos", 3),
    ("bpaxos", 3),
    ("compartmentalized", 3),
];

fn main() -> Result<(), Box<dyn Error>> {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    println!(
        "Puts of 16 bytes in a closed loop: commands/s, the ratio to the loop by hand (with one command outstanding to"
    );
    println!(
        "its plain form, with more to the one that packs), processor time of all threads in us, p50 and p99 in ms.\n"
    );
    println!("outstanding  system                 {:44}   {:44}   with fdatasync", "in memory", "no sync");
    for outstanding in OUTSTANDING {
        let show = |name: &str, figures: &str| println!("{outstanding:11}  {name:22} {figures}");
        show("raw echo", &format!("{:9.0}", raw_echo(outstanding.min(ECHOES_MAX))?));
        let plain = by_hand(Form::Plain, outstanding)?;
        show("by hand, plain", &plain.show(plain.rate));
        let packed = by_hand(Form::Packed, outstanding)?;
        let limit = if outstanding == 1 { plain.rate } else { packed.rate };
        show("by hand, packed", &packed.show(limit));
        for (protocol, hosts) in SYSTEMS {
            if wanted.is_empty() || wanted.iter().any(|name| name == protocol) {
                let measured = |disk| Ok(cluster(protocol, hosts, outstanding, disk)?.show(limit));
                let columns = [Disk::None, Disk::NoSync, Disk::Sync].map(measured);
                show(protocol, &columns.into_iter().collect::<Result<Vec<_>, Box<dyn Error>>>()?.join("   "));
            }
        }
    }
    Ok(())
}

struct Figures {
    rate: f64,
    /// Processor time of all threads per command, in microseconds.
    cost_us: f64,
    /// From command to answer, in milliseconds: the median and what one in a hundred exceeds.
    times: Option<(f64, f64)>,
}

impl Figures {
    fn show(&self, limit: f64) -> String {
        let Self { rate, cost_us, times } = self;
        let times = times.map_or(String::new(), |(p50, p99)| format!(" {p50:8.2} {p99:8.2}"));
        format!("{rate:9.0} ({:6.3}) {cost_us:8.2}{times}", rate / limit)
    }
}

fn by_hand(form: Form, outstanding: u32) -> Result<Figures, Box<dyn Error>> {
    let before = processor_us()?;
    let rate = by_hand::commands(form, outstanding, RUN)?;
    let cost_us = (processor_us()? - before) / (rate * RUN.as_secs_f64());
    Ok(Figures { rate, cost_us, times: None })
}

/// Where nodes keep what they save.
#[derive(Clone, Copy, PartialEq)]
enum Disk {
    /// Nowhere, as the loop by hand.
    None,
    /// In a log that the system writes when it likes.
    NoSync,
    /// In a log that is on the disk before anything leaves.
    Sync,
}

/// A cluster with fresh disks on so many hosts, all in this process, under a closed loop of puts.
fn cluster(protocol: &str, hosts: u16, outstanding: u32, disk: Disk) -> Result<Figures, Box<dyn Error>> {
    let folder = tempfile::tempdir_in(".")?;
    let file = folder.path().join("cluster.toml");
    std::fs::write(&file, Cluster::example(protocol, hosts, ports::free(hosts.into())?.start)?)?;
    Key::generate()?.save(&folder.path().join("cluster.key"))?;
    let mut cluster = Cluster::load(&file)?;
    cluster.data = cluster.data.filter(|_| disk != Disk::None);
    let nodes: Vec<_> = (0..cluster.members.len()).collect();
    let options = ServeOptions { no_sync: disk == Disk::NoSync, ..ServeOptions::default() };
    let serving = serve(&cluster, &nodes, &options)?;
    let load = Load { outstanding, duration: RUN, reads: 0.0, ..Load::default() };
    let before = processor_us()?;
    let measured = bench::run(&cluster, &load)?;
    let spent = processor_us()? - before;
    serving.stop()?;
    let ms = |share| measured.latencies.percentile(share).as_secs_f64() * 1e3;
    let rate = measured.per_second();
    let cost_us = spent / (rate * measured.took.as_secs_f64());
    Ok(Figures { rate, cost_us, times: Some((ms(0.5), ms(0.99))) })
}

/// The processor time of all threads of this process so far, in microseconds.
fn processor_us() -> Result<f64, Box<dyn Error>> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?).as_secs_f64() * 1e6)
}

/// Round trips per second of a plain loop over the standard library's socket, with datagrams of 64 bytes.
fn raw_echo(outstanding: u32) -> Result<f64, Box<dyn Error>> {
    let socket = || -> std::io::Result<UdpSocket> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(socket)
    };
    let (server, client) = (socket()?, socket()?);
    let address = server.local_addr()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let echo = std::thread::spawn(move || {
        let mut bytes = [0; 2048];
        while !stopped.load(Ordering::Relaxed) {
            if let Ok((len, from)) = server.recv_from(&mut bytes) {
                // A lost echo only lowers the figure.
                let _ = server.send_to(&bytes[..len], from);
            }
        }
    });
    for _ in 0..outstanding {
        client.send_to(&[1; 64], address)?;
    }
    let (start, mut trips, mut bytes) = (Instant::now(), 0_u32, [0; 2048]);
    while start.elapsed() < RUN {
        if client.recv_from(&mut bytes).is_ok() {
            trips += 1;
            client.send_to(&[1; 64], address)?;
        }
    }
    let rate = f64::from(trips) / start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    echo.join().map_err(|_| "the echo panicked")?;
    Ok(rate)
}
