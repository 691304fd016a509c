//! Hosts of their own, as far as one machine has them: network namespaces joined by a router that loses, repeats and damages
//! packets and cuts hosts off; processes that are killed, stopped and started under another clock; a disk that is full.
//!
//! It needs root, `ip`, `nft` and `unshare`; without them it says so and tests nothing. It takes two minutes, or as many seconds as
//! `PARTHOOD_FAULT_SECONDS` says. Where the kernel has netem, links delay and reorder as well.

use crate::harness::{Server, command, fault_time, pause};
use crate::scenario::with_last_reads;
use parthood::bench::{self, HistoryVerdict, Load};
use parthood::deploy::{ClientOptions, Cluster, KvClient};
use parthood::runtime::wire::Key;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const INSIDE: &str = "PARTHOOD_TEST_NAMESPACE";
const HOSTS: usize = 3;

/// Runs a tool; whether it could and did.
fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let ended = Command::new(program).args(arguments).stderr(Stdio::null()).stdout(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}

fn must(program: &str, line: &str) {
    let arguments: Vec<&str> = line.split(' ').collect();
    assert!(succeeds(program, &arguments), "{program} {line}");
}

#[test]
fn three_hosts_survive_their_network_their_clocks_and_a_full_disk() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    for (program, arguments) in [
        ("unshare", &["--net", "--mount", "--pid", "--fork", "ip", "link", "set", "lo", "up"][..]),
        ("nft", &["--version"][..]),
    ] {
        if !succeeds(program, arguments) {
            eprintln!("not tested: hosts in network namespaces, which need root, unshare, ip and nft");
            return;
        }
    }
    // All that the inner process makes of networks and mounts is gone with it, however it ends.
    let itself = std::env::current_exe().unwrap();
    let test = "hosts::three_hosts_survive_their_network_their_clocks_and_a_full_disk";
    let mut inner = Command::new("unshare");
    inner.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]).arg(itself);
    let status = inner.args([test, "--exact", "--nocapture"]).env(INSIDE, "1").status().unwrap();
    assert!(status.success(), "{status}");
}

/// The address of a host.
fn address(host: usize) -> String {
    format!("10.77.{host}.2")
}

/// The router is this process's own namespace: all links lead here.
fn lay_cables() {
    must("ip", "link set lo up");
    std::fs::create_dir_all("/run/netns").unwrap();
    must("mount", "-t tmpfs none /run/netns");
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    for host in 0..HOSTS {
        must("ip", &format!("netns add host{host}"));
        must("ip", &format!("link add link{host} type veth peer name out netns host{host}"));
        must("ip", &format!("addr add 10.77.{host}.1/24 dev link{host}"));
        must("ip", &format!("link set link{host} up"));
        must("ip", &format!("-n host{host} addr add {}/24 dev out", address(host)));
        must("ip", &format!("-n host{host} link set out up"));
        must("ip", &format!("-n host{host} link set lo up"));
        must("ip", &format!("-n host{host} route add default via 10.77.{host}.1"));
    }
}

/// What the links do from now on: lose one packet in twenty, repeat and damage some, and cut these hosts off.
fn disturb(noise: bool, cut: &[usize]) {
    let mut rules = String::new();
    for host in cut.iter().map(|host| address(*host)) {
        writeln!(rules, "ip saddr {host} drop\nip daddr {host} drop").unwrap();
    }
    let mut passing = rules.clone();
    if noise {
        passing.push_str("numgen random mod 100 < 5 drop\n");
        // A byte of the frame; the checksum of the packet is made right again, so that only the seal can tell.
        passing.push_str("udp length > 40 numgen random mod 100 < 1 @th,256,8 set 0x5a\n");
        for host in (0..HOSTS).map(address) {
            writeln!(passing, "ip daddr {host} numgen random mod 100 < 3 dup to {host}").unwrap();
        }
    }
    let script = format!(
        "table ip faults\nflush table ip faults\ntable ip faults {{\n\
         chain passing {{ type filter hook prerouting priority -300;\n{passing} }}\n\
         chain own {{ type filter hook output priority -300;\n{rules} }}\n}}\n"
    );
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "{script}");
}

/// Delays and reorders, where the kernel can.
fn delays() -> bool {
    (0..HOSTS).all(|host| {
        let line = format!("qdisc add dev link{host} root netem delay 3ms 2ms reorder 25%");
        succeeds("tc", &line.split(' ').collect::<Vec<_>>())
    })
}

/// Three hosts, each with its own folder, and a file for all of them.
struct Hosts {
    folder: tempfile::TempDir,
    cluster: Cluster,
    running: Vec<Option<Server>>,
    /// How often processes were started: the clock of each one begins elsewhere.
    starts: u64,
}

impl Hosts {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut text = Cluster::example("multipaxos", 3, 1).unwrap();
        for host in 0..HOSTS {
            text =
                text.replace(&format!("\"127.0.0.1:{}\"", host + 1), &format!("\"{}:7000\"", address(host)));
        }
        text.push_str("\n[limits]\nsnapshot_slots = 2048\nretained_slots = 1024\n");
        let key = Key::generate().unwrap();
        for host in 0..HOSTS {
            let own = folder.path().join(host.to_string());
            std::fs::create_dir(&own).unwrap();
            std::fs::write(own.join("cluster.toml"), &text).unwrap();
            key.save(&own.join("cluster.key")).unwrap();
        }
        let cluster = Cluster::load(&folder.path().join("0/cluster.toml")).unwrap();
        Self { folder, cluster, running: (0..HOSTS).map(|_| None).collect(), starts: 0 }
    }

    fn own(&self, host: usize) -> PathBuf {
        self.folder.path().join(host.to_string())
    }

    /// The command that runs a host's node, on that host.
    fn node(&mut self, host: usize) -> Command {
        self.starts += 1;
        let clock = (self.starts % 3 * 100_000).to_string();
        let name = self.cluster.members[host].name.clone();
        let plain = command(&self.own(host), &["run", "--config", "cluster.toml", "--node", &name]);
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &format!("host{host}")]);
        there.args(["unshare", "--time", "--fork", "--kill-child", "--monotonic", &clock]);
        there.arg(plain.get_program()).args(plain.get_args()).current_dir(self.own(host));
        there.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?)))).env_remove(INSIDE);
        there
    }

    fn start(&mut self, host: usize) {
        let mut node = self.node(host);
        self.running[host] = Some(Server::of(&mut node));
    }

    /// The process of the node itself, below the commands that put it into its namespaces.
    fn process(&self, host: usize) -> u32 {
        let mut process = self.running[host].as_ref().unwrap().id();
        while let Some(child) = child_of(process) {
            process = child;
        }
        process
    }

    fn signal(&self, host: usize, signal: &str) {
        must("kill", &format!("-{signal} {}", self.process(host)));
    }

    fn kill(&mut self, host: usize) {
        self.signal(host, "KILL");
        // What put it into its namespaces ends with it.
        self.running[host].take().unwrap().wait();
    }
}

fn child_of(process: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// How long until a command is answered.
fn until_answered(cluster: &Cluster) -> Duration {
    let started = Instant::now();
    let options = ClientOptions { timeout: Duration::from_secs(20), ..ClientOptions::default() };
    KvClient::connect(cluster, options).unwrap().put("probe", "x").unwrap();
    started.elapsed()
}

/// Fills a disk until nothing more fits.
fn fill(disk: &Path) -> PathBuf {
    let filler = disk.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    filler
}

/// What happens to the hosts in a round, under load. Which host it is changes from round to round.
fn round(hosts: &mut Hosts, number: usize) {
    let [first, second, third] = [0, 1, 2].map(|host| (host + number) % HOSTS);
    disturb(true, &[]);
    pause(1_000);
    disturb(true, &[first]);
    pause(1_500);
    disturb(true, &[]);
    hosts.kill(second);
    pause(500);
    hosts.start(second);
    hosts.signal(third, "STOP");
    pause(1_500);
    hosts.signal(third, "CONT");
    // Nobody has a quorum.
    disturb(false, &[first, second, third]);
    pause(1_000);
    disturb(false, &[]);
    let healed = until_answered(&hosts.cluster);
    hosts.signal(first, "STOP");
    hosts.signal(second, "STOP");
    pause(1_000);
    hosts.signal(first, "CONT");
    hosts.signal(second, "CONT");
    let resumed = until_answered(&hosts.cluster);
    eprintln!("round {number}: answers {healed:.0?} after the network and {resumed:.0?} after the processes");
}

/// The disk of the last host fills up: its node ends, says why, and goes on when there is room again.
fn full_disk(hosts: &mut Hosts) {
    let host = HOSTS - 1;
    let filler = fill(&hosts.own(host).join("data"));
    let full = hosts.running[host].take().unwrap();
    (0..20).for_each(put(&hosts.cluster));
    assert_eq!(full.wait(), Some(4), "it ends as the environment does not let it go on");
    std::fs::remove_file(filler).unwrap();
    hosts.start(host);
    (20..30).for_each(put(&hosts.cluster));
}

/// Puts a thousand bytes.
fn put(cluster: &Cluster) -> impl Fn(usize) + '_ {
    let options = ClientOptions { timeout: Duration::from_secs(20), ..ClientOptions::default() };
    let client = KvClient::connect(cluster, options).unwrap();
    move |key| client.put(format!("full {key}"), [7; 1000]).unwrap()
}

fn inside() {
    lay_cables();
    let mut hosts = Hosts::new();
    let disk = hosts.own(HOSTS - 1).join("data");
    std::fs::create_dir(&disk).unwrap();
    must("mount", &format!("-t tmpfs -o size=16m none {}", disk.display()));
    disturb(false, &[]);
    let netem = if delays() { "with" } else { "without, as this kernel has no netem," };
    eprintln!("three hosts {netem} delays and reordering");
    (0..HOSTS).for_each(|host| hosts.start(host));
    until_answered(&hosts.cluster);
    let end = Instant::now() + fault_time(120);
    for number in 0.. {
        let load = Load {
            outstanding: 4,
            duration: Duration::from_secs(9),
            operations_max: 100_000,
            keys: 100,
            check: true,
            seed: number as u64,
            patience: Duration::from_secs(30),
            ..Load::default()
        };
        let cluster = hosts.cluster.clone();
        let loading = std::thread::spawn(move || bench::run(&cluster, &load));
        round(&mut hosts, number);
        let measured = loading.join().unwrap().unwrap();
        assert_eq!(measured.unknown, 0, "every command is answered in the end");
        assert!(measured.answered > 100, "{} commands are no load", measured.answered);
        let history = with_last_reads(&hosts.cluster, measured);
        assert_eq!(bench::judge(&history), HistoryVerdict::Right, "round {number}");
        if number == 0 {
            full_disk(&mut hosts);
        }
        if Instant::now() > end {
            break;
        }
    }
}
