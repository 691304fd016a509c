//! The `parthood` command as a process of its own, and what a cluster of such processes needs.
//!
//! The command is a library, so this test binary is the program: it starts itself with the one test
//! [`the_command_itself`], which finds the arguments in its environment. So what is tested is what was just built.

use clap::Parser;
use itertools::Itertools as _;
use parthood::cli::Cli;
use parthood::deploy::Cluster;
use parthood::runtime::wire::Key;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

const ARGUMENTS: &str = "PARTHOOD_TEST_ARGUMENTS";

/// Not a test unless another test started it: then it is the program.
#[test]
fn the_command_itself() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let arguments: Vec<String> = serde_json::from_str(&arguments).expect("the harness writes JSON");
    // What the test framework has printed so far stands on a line of its own.
    println!();
    let status = match Cli::try_parse_from(std::iter::once("parthood".into()).chain(arguments)) {
        Ok(cli) => parthood::commands::run(cli).unwrap_or_else(|error| {
            eprintln!("parthood: {error}");
            error.status()
        }) as i32,
        Err(error) => {
            let _ = error.print();
            error.exit_code()
        }
    };
    std::process::exit(status);
}

/// The command, not yet started.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let program = std::env::current_exe().expect("this program exists");
    let mut command = Command::new(program);
    command
        .args(["--exact", "harness::the_command_itself", "--nocapture", "--test-threads=1"])
        .env(ARGUMENTS, serde_json::to_string(arguments).expect("texts are JSON"))
        .env("NO_COLOR", "1")
        .current_dir(folder);
    command
}

/// What a command wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The command as on a disk that is full: no file can grow beyond so many KiB.
pub(crate) fn limited(folder: &Path, arguments: &[&str], kib: usize) -> Command {
    let limited = command(folder, arguments);
    // POSIX counts files in blocks of 512 bytes. Without its signal a write beyond the limit fails like any other.
    let script = "trap '' XFSZ && ulimit -f \"$1\" && shift && exec \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh", &(2 * kib).to_string()]);
    shell.arg(limited.get_program()).args(limited.get_args()).current_dir(folder);
    shell.envs(limited.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
}

/// Runs the command to its end.
pub(crate) fn parthood(folder: &Path, arguments: &[&str]) -> Ended {
    finish(&mut command(folder, arguments))
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Ended {
    ended(command.output().expect("this program starts"))
}

/// What a command that has ended wrote.
pub(crate) fn ended(Output { status, stdout, stderr }: Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the command writes text");
    // The framework's own lines come first.
    let out = text(stdout);
    let out = out
        .lines()
        .skip_while(|line| line.is_empty() || line.starts_with("running ") || line.starts_with("test "));
    let out = out.map(|line| format!("{line}\n")).collect();
    Ended { status: status.code().expect("it was not killed"), out, err: text(stderr) }
}

/// A server process; it is killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    /// What it said before it was ready.
    pub(crate) announced: Vec<String>,
}

impl Server {
    /// Starts nodes and waits until they listen.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::of(&mut command(folder, arguments))
    }

    /// Starts the nodes of a host as a process of their own; each life has a trace of its own.
    pub(crate) fn of_host(
        folder: &Path,
        cluster: &Cluster,
        host: usize,
        life: u32,
        traces: &mut Vec<PathBuf>,
    ) -> Self {
        let trace = format!("{host}.{life}.ndjson");
        let mut arguments = vec!["run", "--config", "cluster.toml", "--trace", &trace];
        for node in &hosts(cluster)[host] {
            arguments.extend(["--node", &cluster.members[*node].name]);
        }
        traces.push(folder.join(&trace));
        Self::start(folder, &arguments)
    }

    /// The same for a prepared command.
    pub(crate) fn of(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().expect("this program starts");
        let out = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut announced = Vec::new();
        for line in out.lines() {
            let line = line.expect("the command writes text");
            if line.starts_with("ready") {
                return Self { process, announced };
            }
            announced.push(line);
        }
        panic!("the server ended before it was ready: {:?}, {announced:?}", process.wait());
    }

    /// As `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it was started here");
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its exit status, once it has ended by itself.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.process.wait().expect("it was started here").code()
    }

    /// Its exit status and its complaints, if these were piped, once it has ended by itself.
    pub(crate) fn complaints(mut self) -> (Option<i32>, String) {
        let mut complaints = String::new();
        if let Some(mut pipe) = self.process.stderr.take() {
            pipe.read_to_string(&mut complaints).expect("the command writes text");
        }
        (self.wait(), complaints)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The nodes of a cluster, host by host.
pub(crate) fn hosts(cluster: &Cluster) -> Vec<Vec<usize>> {
    let by_address = (0..cluster.members.len()).into_group_map_by(|node| cluster.members[*node].address);
    by_address.into_values().sorted().collect()
}

/// The status and the body of a page.
pub(crate) fn page(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// For how long a test goes on hurting a cluster: so many seconds, or as many as `PARTHOOD_FAULT_SECONDS` says.
pub(crate) fn fault_time(usual_seconds: u64) -> Duration {
    let said = std::env::var("PARTHOOD_FAULT_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(said.unwrap_or(usual_seconds))
}

/// Lets other processes and threads go on for so long.
pub(crate) fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// Ports handed out so far: tests run side by side.
static PORTS: Mutex<Vec<u16>> = Mutex::new(Vec::new());

/// UDP ports of 127.0.0.1 that nobody uses.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let mut taken = PORTS.lock().expect("no test panics here");
    let mut ports = Vec::new();
    while ports.len() < count {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
        let port = socket.local_addr().expect("it is bound").port();
        if !taken.contains(&port) {
            taken.push(port);
            ports.push(port);
        }
    }
    ports
}

/// A cluster file for nodes a, b, c.. in this folder, with its key.
pub(crate) fn cluster(folder: &Path, nodes: usize, more: &str) -> PathBuf {
    cluster_of(folder, "multipaxos", nodes, more)
}

/// A cluster file for hosts a, b, c.., each with a node of every role, in this folder, with its key.
pub(crate) fn cluster_of(folder: &Path, protocol: &str, hosts: usize, more: &str) -> PathBuf {
    const PLACEHOLDER: u16 = 1;
    let hosts = u16::try_from(hosts).expect("few hosts");
    let mut text = Cluster::example(protocol, hosts, PLACEHOLDER).expect("the protocol exists");
    for (host, port) in (PLACEHOLDER..).zip(free_ports(hosts.into())) {
        text = text.replace(&format!("\"127.0.0.1:{host}\""), &format!("\"127.0.0.1:{port}\""));
    }
    text.push_str(more);
    let file = folder.join("cluster.toml");
    std::fs::write(&file, text).expect("the folder is ours");
    Key::generate().and_then(|key| key.save(&folder.join("cluster.key"))).expect("the folder is ours");
    file
}
