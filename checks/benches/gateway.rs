//! Sets and gets through the gateway for Redis clients, beside Redis itself with two replicas, in one run. Redis acknowledges
//! a set when one server has it, unless the client asks for `WAIT 1` after it; the cluster when two of three have it, and when
//! it is on their disks unless they have none. `cargo bench -p parthood --bench gateway`; Redis where it is installed.
//!
//! Every system is loaded by the same loop: so many connections, each with one pipeline under way.

mod ports;

use parthood::deploy::{Cluster, Gateway, GatewayOptions, ServeOptions, Serving, serve};
use parthood::runtime::wire::Key;
use std::error::Error;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

const RUN: Duration = Duration::from_secs(3);
/// Connections, and how many commands a pipeline holds.
const LOADS: [(usize, usize); 4] = [(1, 1), (50, 1), (1, 16), (50, 16)];
const KEYS: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Outcome<()> {
    println!(
        "Commands/s; values of 16 bytes. In brackets the ratio to the sets of Redis with WAIT 1, and to its gets.\n"
    );
    println!("connections  pipeline  system                       sets                  gets");
    for (connections, pipeline) in LOADS {
        let show = |name: &str, sets: f64, gets: f64, (of_sets, of_gets): (f64, f64)| {
            let (s, g) = (sets / of_sets, gets / of_gets);
            println!(
                "{connections:11}  {pipeline:8}  {name:24} {sets:9.0} ({s:6.2})    {gets:9.0} ({g:6.2})"
            );
        };
        let mut beside = (f64::NAN, f64::NAN);
        match Redis::start()? {
            Some(redis) => {
                let load = Load { address: redis.address(), connections, pipeline, waits: false };
                let (sets, gets) = (load.sets()?, load.gets()?);
                let waiting = Load { waits: true, ..load }.sets()?;
                beside = (waiting, gets);
                show("Redis, one server", sets, gets, beside);
                show("Redis, WAIT 1", waiting, gets, beside);
            }
            None => println!("{connections:11}  {pipeline:8}  Redis: not installed"),
        }
        for (name, in_memory) in [("Parthood, in memory", true), ("Parthood, fdatasync", false)] {
            let running = Running::start(in_memory)?;
            let load = Load { address: running.gateway.address(), connections, pipeline, waits: false };
            show(name, load.sets()?, load.gets()?, beside);
            running.stop()?;
        }
    }
    Ok(())
}

/// A closed loop of connections.
#[derive(Clone, Copy)]
struct Load {
    address: SocketAddr,
    connections: usize,
    pipeline: usize,
    /// Say `WAIT 1 0` after each pipeline.
    waits: bool,
}

impl Load {
    /// Sets per second; all keys have values afterwards.
    fn sets(self) -> Outcome<f64> {
        let set = |number: usize| {
            let key = format!("key:{:04}", number % KEYS);
            format!("*3\r\n$3\r\nSET\r\n$8\r\n{key}\r\n$16\r\n{number:016}\r\n")
        };
        let waits = if self.waits { "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n0\r\n" } else { "" };
        self.run(|from| (from..from + self.pipeline).map(set).collect::<String>() + waits, 1)
    }

    /// Gets per second of keys that have values.
    fn gets(self) -> Outcome<f64> {
        let get = |number: usize| format!("*2\r\n$3\r\nGET\r\n$8\r\nkey:{:04}\r\n", number * 7919 % KEYS);
        Self { waits: false, ..self }.run(|from| (from..from + self.pipeline).map(get).collect(), 2)
    }

    /// Commands per second of pipelines that `say` makes, whose every reply has so many lines.
    fn run(self, say: impl Fn(usize) -> String, lines: usize) -> Outcome<f64> {
        let wanted = self.pipeline * lines + usize::from(self.waits);
        let connect = |_| -> Outcome<TcpStream> {
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let mut streams = (0..self.connections).map(connect).collect::<Outcome<Vec<_>>>()?;
        let mut said = 0;
        let mut next = |stream: &mut TcpStream| {
            said += self.pipeline;
            stream.write_all(say(said).as_bytes())
        };
        streams.iter_mut().try_for_each(&mut next)?;
        let (start, mut answered, mut bytes) = (Instant::now(), 0_u32, [0; 16 * 1024]);
        let pipeline = u32::try_from(self.pipeline)?;
        while start.elapsed() < RUN {
            for stream in &mut streams {
                let mut heard = 0;
                while heard < wanted {
                    let count = stream.read(&mut bytes)?;
                    if count == 0 || bytes[..count].contains(&b'-') {
                        return Err(String::from_utf8_lossy(&bytes[..count]).into_owned().into());
                    }
                    heard += bytes[..count].split(|byte| *byte == b'\n').count() - 1;
                }
                answered += pipeline;
                next(stream)?;
            }
        }
        Ok(f64::from(answered) / start.elapsed().as_secs_f64())
    }
}

/// A cluster of three in this process with a gateway.
struct Running {
    serving: Serving,
    gateway: Gateway,
    _folder: tempfile::TempDir,
}

impl Running {
    fn start(in_memory: bool) -> Outcome<Self> {
        let folder = tempfile::tempdir_in(".")?;
        let file = folder.path().join("cluster.toml");
        std::fs::write(&file, Cluster::example("multipaxos", 3, ports::free(3)?.start)?)?;
        Key::generate()?.save(&folder.path().join("cluster.key"))?;
        let mut cluster = Cluster::load(&file)?;
        cluster.data = cluster.data.filter(|_| !in_memory);
        let serving = serve(&cluster, &[0, 1, 2], &ServeOptions::default())?;
        let gateway = Gateway::start(&cluster, GatewayOptions::new("127.0.0.1:0".parse()?))?;
        Ok(Self { serving, gateway, _folder: folder })
    }

    fn stop(self) -> Outcome<()> {
        self.gateway.stop()?;
        Ok(self.serving.stop()?)
    }
}

/// A server of Redis with two replicas, in memory.
struct Redis {
    port: u16,
    servers: Vec<Child>,
    _folder: tempfile::TempDir,
}

impl Redis {
    fn start() -> Outcome<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let ports = ports::free(3)?;
        let first = ports.start;
        let mut servers = vec![];
        for port in ports {
            match Self::serve(port, (port > first).then_some(first), folder.path()) {
                Ok(server) => servers.push(server),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        let redis = Self { port: first, servers, _folder: folder };
        let since = Instant::now();
        while !redis.is_replicated() {
            if since.elapsed() > PATIENCE {
                return Err("the replicas of Redis do not answer".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Some(redis))
    }

    fn serve(port: u16, of: Option<u16>, folder: &Path) -> std::io::Result<Child> {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
            "--bind",
            "127.0.0.1",
        ]);
        if let Some(first) = of {
            command.args(["--replicaof", "127.0.0.1", &first.to_string()]);
        }
        command.arg("--repl-diskless-sync-delay").arg("0").current_dir(folder).stdout(Stdio::null()).spawn()
    }

    fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Does a set reach both replicas?
    fn is_replicated(&self) -> bool {
        let ask = || -> Outcome<bool> {
            let mut stream = TcpStream::connect(self.address())?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(b"SET a b\r\nWAIT 2 200\r\n")?;
            let (mut said, mut bytes) = (String::new(), [0; 64]);
            while said.matches('\n').count() < 2 {
                let count = stream.read(&mut bytes)?;
                said += std::str::from_utf8(&bytes[..count])?;
            }
            Ok(said.ends_with(":2\r\n"))
        };
        ask().unwrap_or(false)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // It may have ended by itself.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
