//! Commands per second of a cluster on loopback, as ratios to a plain UDP echo measured in the same run.
//! `cargo bench -p parthood`. Three event loops, the client and its lanes share the cores of this machine.

mod ports;

use parthood::bench::{self, Load};
use parthood::deploy::{Cluster, ServeOptions, serve};
use parthood::runtime::wire::Key;
use std::error::Error;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const RUN: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn Error>> {
    println!("puts of 16 bytes           commands/s (ratio to the raw echo)   p50 and p99 in ms");
    println!("outstanding   raw echo   protocol       no sync                      with fdatasync");
    for outstanding in [1, 16, 64, 256] {
        let echo = raw_echo(outstanding)?;
        for protocol in ["unreplicated", "multipaxos"] {
            let fast = commands(protocol, outstanding, true)?;
            let durable = commands(protocol, outstanding, false)?;
            println!(
                "{outstanding:11} {echo:10.0}   {protocol:12} {}   {}",
                fast.show(echo),
                durable.show(echo)
            );
        }
    }
    Ok(())
}

struct Figures {
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Figures {
    fn show(&self, echo: f64) -> String {
        let Self { rate, p50_ms, p99_ms } = self;
        format!("{rate:8.0} ({:5.3}) {p50_ms:6.2} {p99_ms:7.2}", rate / echo)
    }
}

/// A cluster of three with fresh disks, under a closed loop of puts.
fn commands(protocol: &str, outstanding: u32, no_sync: bool) -> Result<Figures, Box<dyn Error>> {
    let folder = tempfile::tempdir_in(".")?;
    let file = folder.path().join("cluster.toml");
    std::fs::write(&file, Cluster::example(protocol, 3, ports::free(3)?.start)?)?;
    Key::generate()?.save(&folder.path().join("cluster.key"))?;
    let cluster = Cluster::load(&file)?;
    let options = ServeOptions { no_sync, ..ServeOptions::default() };
    let serving = serve(&cluster, &[0, 1, 2], &options)?;
    let load = Load { outstanding, duration: RUN, reads: 0.0, ..Load::default() };
    let measured = bench::run(&cluster, &load)?;
    serving.stop()?;
    let ms = |share| measured.latencies.percentile(share).as_secs_f64() * 1e3;
    Ok(Figures { rate: measured.per_second(), p50_ms: ms(0.5), p99_ms: ms(0.99) })
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
