//! Clients of Redis at the gateway, the real ones where they are installed.

mod rust;

use crate::harness::{Server, cluster, cluster_of, command, free_ports, parthood, pause};
use parthood::deploy::{Cluster, Gateway, GatewayOptions, Reads, ServeOptions, Serving, serve};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A cluster in this process with a gateway.
struct Running {
    serving: Option<Serving>,
    gateway: Option<Gateway>,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Running {
    fn start(protocol: &str, change: impl FnOnce(&mut GatewayOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster::load(&cluster_of(folder.path(), protocol, 3, "")).unwrap();
        let nodes: Vec<usize> = (0..cluster.members.len()).collect();
        let serving =
            serve(&cluster, &nodes, &ServeOptions { no_sync: true, ..ServeOptions::default() }).unwrap();
        let mut options = GatewayOptions::new("127.0.0.1:0".parse().unwrap());
        options.timeout = Duration::from_secs(20);
        change(&mut options);
        let gateway = Gateway::start(&cluster, options).unwrap();
        let address = gateway.address();
        Self { serving: Some(serving), gateway: Some(gateway), address, _folder: folder }
    }

    fn connect(&self) -> Connection {
        Connection::to(self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let ends = [self.gateway.take().map(Gateway::stop), self.serving.take().map(Serving::stop)];
        assert!(std::thread::panicking() || ends.into_iter().flatten().all(|end| end.is_ok()));
    }
}

/// A bare connection.
struct Connection(TcpStream);

impl Connection {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(stream)
    }

    /// Says lines and hears what is answered, up to a mark; all of it if the connection ends.
    fn say(&mut self, lines: &str) -> String {
        const MARK: &str = "$4\r\nmark\r\n";
        let said = format!("{}\r\nECHO mark\r\n", lines.replace('\n', "\r\n"));
        self.0.write_all(said.as_bytes()).unwrap();
        let (mut heard, mut part) = (vec![], [0; 4096]);
        while !heard.ends_with(MARK.as_bytes()) {
            match self.0.read(&mut part) {
                Ok(count @ 1..) => heard.extend_from_slice(&part[..count]),
                _ => break,
            }
        }
        let heard = String::from_utf8(heard).unwrap();
        heard.strip_suffix(MARK).unwrap_or(&heard).replace("\r\n", "\n")
    }
}

/// Runs a program that may not be installed.
fn installed(program: &str, arguments: &[&str]) -> Option<Output> {
    let output = Command::new(program).args(arguments).output();
    if output.is_err() {
        eprintln!("skipped: there is no {program} here (Debian: redis-tools, python3-redis)");
    }
    output.ok()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn requests_of_a_pipeline_take_effect_in_their_order() {
    let running = Running::start("multipaxos", |_| {});
    let mut connection = running.connect();
    let lines: Vec<String> =
        (1..=500).map(|number| format!("APPEND a {}\nINCR n\nPING", number % 10)).collect();
    let answered = connection.say(&lines.join("\n"));
    let expected: String = (1..=500).map(|number| format!(":{number}\n:{number}\n+PONG\n")).collect();
    assert_eq!(answered, expected);
    assert_eq!(connection.say("STRLEN a\nGET n"), ":500\n$3\n500\n");
}

#[test]
fn what_is_written_through_one_kind_of_command_is_seen_by_all() {
    let running = Running::start("bpaxos", |_| {});
    let (mut one, mut other) = (running.connect(), running.connect());
    let heard = one.say("MSET a 1 b 2 c 3\nDBSIZE\nSCAN 0 COUNT 2");
    assert!(heard.starts_with("+OK\n:3\n*2\n$") && heard.ends_with("\n*2\n$1\na\n$1\nb\n"), "{heard}");
    let cursor = heard.lines().nth(4).unwrap();
    let rest = other.say(&format!("SCAN {cursor}"));
    assert_eq!(rest, "*2\n$1\n0\n*1\n$1\nc\n", "a cursor is good at every connection");
    assert_eq!(
        other.say("MULTI\nINCR a\nGETDEL b\nMGET a b\nEXEC"),
        "+OK\n+QUEUED\n+QUEUED\n+QUEUED\n*3\n:2\n$1\n2\n*2\n$1\n2\n$-1\n"
    );
    assert_eq!(one.say("CAS a 2 x\nCAS a 2 y\nKEYS *\nEXISTS a b c"), ":1\n:0\n*2\n$1\na\n$1\nc\n:2\n");
}

#[test]
fn each_connection_chooses_what_its_reads_promise() {
    let running = Running::start("compartmentalized", |options| options.reads = Some(Reads::Sequential));
    let mut connection = running.connect();
    assert_eq!(connection.say("PARTHOOD READS\nSET a 1\nGET a"), "$10\nsequential\n+OK\n$1\n1\n");
    let changes = "PARTHOOD READS linearizable\nGET a\nPARTHOOD READS eventual\nPARTHOOD READS\nPARTHOOD READS log\nGET a";
    assert_eq!(connection.say(changes), "+OK\n$1\n1\n+OK\n$8\neventual\n+OK\n$1\n1\n");
    assert_eq!(running.connect().say("PARTHOOD READS"), "$10\nsequential\n");
    let refused = Gateway::start(
        &Cluster::load(&cluster(tempfile::tempdir().unwrap().path(), 3, "")).unwrap(),
        GatewayOptions {
            reads: Some(Reads::Eventual),
            ..GatewayOptions::new("127.0.0.1:0".parse().unwrap())
        },
    );
    assert!(refused.unwrap_err().to_string().contains("reads as log, not as eventual"));
}

#[test]
fn there_is_an_end_to_connections_and_to_patience() {
    let running = Running::start("unreplicated", |options| {
        options.connections_max = 2;
        options.patience = Duration::from_millis(500);
    });
    let (mut first, mut second) = (running.connect(), running.connect());
    assert_eq!(first.say("PING") + &second.say("PING"), "+PONG\n+PONG\n");
    let mut third = String::new();
    Connection::to(running.address).0.read_to_string(&mut third).unwrap();
    assert_eq!(third, "-ERR max number of clients reached\r\n");
    assert_eq!(first.say(&format!("SET big {}", "x".repeat(16_000))), "+OK\n");
    // It asks for 64 MB and reads nothing of it: it is not read any more, and then closed.
    second.0.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    for _ in 0..4_000 {
        if second.0.write_all(b"GET big\r\n").is_err() {
            break;
        }
    }
    let end = Instant::now() + Duration::from_secs(60);
    while !first.say("INFO").contains("connected_clients:1") {
        assert!(Instant::now() < end, "{}", first.say("INFO"));
        pause(50);
    }
    let mut heard = vec![];
    // What was sent before the end may be read, and is less than was asked for.
    let _ = second.0.read_to_end(&mut heard);
    assert!(heard.len() < 60_000_000, "{}", heard.len());
}

#[test]
fn a_password_is_asked_for_and_its_file_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    cluster(folder, 3, "");
    let port = free_ports(1)[0];
    let address = format!("127.0.0.1:{port}");
    let run =
        ["run", "--config", "cluster.toml", "--all", "--resp", &address, "--resp-password-file", "password"];
    let file = folder.join("password");
    std::fs::write(&file, "sesame\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = parthood(folder, &run);
    assert!(refused.status != 0 && refused.err.contains("chmod 600"), "{refused:?}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut logged = command(folder, &[&run[..], &["--log-level", "info"]].concat());
    let server = Server::of(logged.stderr(Stdio::piped()));
    assert!(server.announced.iter().any(|line| line.contains(&address)), "{:?}", server.announced);
    assert!(!server.announced.iter().any(|line| line.contains("sesame")));
    let mut connection = Connection::to(address.parse().unwrap());
    let heard = connection.say("AUTH wrong\nGET a\nQUIT");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\n";
    assert_eq!(heard, format!("{wrong}-NOAUTH Authentication required.\n+OK\n"));
    let mut connection = Connection::to(address.parse().unwrap());
    assert_eq!(connection.say("AUTH sesame\nSET a 1\nGET a"), "+OK\n+OK\n$1\n1\n");
    let port = port.to_string();
    if let Some(output) =
        installed("redis-cli", &["-p", &port, "-a", "sesame", "--no-auth-warning", "get", "a"])
    {
        assert_eq!(text(&output), "1\n");
    }
    let stop = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(stop.success());
    let (code, log) = server.complaints();
    assert!(code == Some(0) && !log.is_empty() && !log.contains("sesame"), "{log}");
}

/// It needs `prlimit`; without it says so and tests nothing.
#[test]
fn clients_that_cannot_be_accepted_wait_and_disturb_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    cluster(folder, 1, "");
    let run = ["run", "--config", "cluster.toml", "--all", "--resp", "127.0.0.1:0"];
    let server = Server::of(command(folder, &run).stderr(Stdio::piped()));
    let address =
        server.announced.iter().find_map(|line| line.strip_prefix("clients of Redis are served on "));
    let address: SocketAddr = address.expect("it says where it listens").parse().unwrap();
    let mut connection = Connection::to(address);
    assert_eq!(connection.say("SET k v"), "+OK\n");
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    let limit = [format!("--pid={}", server.id()), format!("--nofile={0}:{0}", open + 1)];
    match Command::new("prlimit").args(limit).status() {
        Ok(status) => assert!(status.success()),
        Err(_) => return eprintln!("no prlimit: nothing is tested"),
    }
    let others: Vec<_> = (0..20).map(|_| Connection::to(address)).collect();
    for number in 0..100 {
        assert_eq!(connection.say(&format!("SET k {number}")), "+OK\n");
    }
    drop(others);
    // When there is room again they are accepted.
    assert_eq!(Connection::to(address).say("GET k"), "$2\n99\n");
    let stop = Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(stop.success());
    let (code, log) = server.complaints();
    let told = log.matches("cannot accept a Redis client").count();
    assert!(
        code == Some(0) && (1..=22).contains(&told),
        "it is told once for each time that it begins: {log}"
    );
}

/// The node that leads is killed while a client counts: no acknowledged step is lost, and each error says what it means.
#[test]
fn the_gateway_outlives_a_node() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let description = Cluster::load(&cluster(folder, 3, "")).unwrap();
    let start = |node: &str| Server::start(folder, &["run", "--config", "cluster.toml", "--node", node]);
    let (first, _second, _third) = (start("a"), start("b"), start("c"));
    let mut options = GatewayOptions::new("127.0.0.1:0".parse().unwrap());
    options.timeout = Duration::from_secs(30);
    let gateway = Gateway::start(&description, options).unwrap();
    let mut connection = Connection::to(gateway.address());
    let (mut acknowledged, mut unknown, mut first) = (0, 0, Some(first));
    for step in 0..200 {
        if step == 50
            && let Some(first) = first.take()
        {
            first.kill();
        }
        match connection.say("INCR n") {
            heard if heard.starts_with(':') => acknowledged += 1,
            heard if heard.starts_with("-UNKNOWN") => unknown += 1,
            heard => assert!(heard.starts_with("-TRYAGAIN"), "{heard}"),
        }
    }
    let heard = connection.say("GET n");
    let found: i64 = heard.lines().nth(1).unwrap().parse().unwrap();
    assert!((acknowledged..=acknowledged + unknown).contains(&found), "{acknowledged} {unknown} {found}");
    assert!(acknowledged >= 100, "{acknowledged}");
    gateway.stop().unwrap();
}

/// Nobody serves: what was sent may yet take effect, what was not sent will not, and reads promise nothing.
#[test]
fn without_a_cluster_every_error_says_what_it_means() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::load(&cluster(folder.path(), 3, "")).unwrap();
    let mut options = GatewayOptions::new("127.0.0.1:0".parse().unwrap());
    (options.timeout, options.lanes) = (Duration::from_millis(300), 1);
    let gateway = Gateway::start(&cluster, options).unwrap();
    let mut connection = Connection::to(gateway.address());
    assert!(connection.say("PING\nSET a 1").starts_with("+PONG\n-UNKNOWN no answer within"));
    assert!(connection.say("SET a 2").starts_with("-TRYAGAIN not sent within"));
    gateway.stop().unwrap();
}

#[test]
fn redis_cli_works_unmodified() {
    let running = Running::start("multipaxos", |_| {});
    let port = running.address.port().to_string();
    let cli = |arguments: &[&str]| {
        installed("redis-cli", &[&["-p", &port], arguments].concat()).map(|output| text(&output))
    };
    let Some(set) = cli(&["set", "colour", "blue"]) else { return };
    assert_eq!(set, "OK\n");
    assert_eq!(cli(&["get", "colour"]).unwrap(), "blue\n");
    assert_eq!(cli(&["-3", "get", "none"]).unwrap(), "\n");
    assert_eq!(cli(&["--scan"]).unwrap(), "colour\n");
    assert!(
        cli(&["frob", "x"]).unwrap().contains("ERR unknown command 'frob', with args beginning with: 'x'")
    );
    assert!(cli(&["info"]).unwrap().contains("redis_version:"));
}

#[test]
fn redis_benchmark_works_unmodified() {
    let running = Running::start("multipaxos", |_| {});
    let port = running.address.port().to_string();
    for pipeline in ["1", "16"] {
        let arguments =
            ["-p", &port, "-t", "set,get,mset,incr", "-P", pipeline, "-c", "50", "-n", "2000", "-q"];
        let Some(output) = installed("redis-benchmark", &arguments) else { return };
        let text = text(&output);
        assert!(output.status.success() && !text.to_lowercase().contains("err"), "{text}");
        assert!(["SET: ", "GET: ", "INCR: "].iter().all(|name| text.contains(name)), "{text}");
    }
    let mut connection = running.connect();
    let counted = connection.say("GET counter:__rand_int__");
    assert!(
        counted.lines().nth(1).is_some_and(|count| count.parse::<u32>().is_ok_and(|count| count >= 4000)),
        "{counted}"
    );
}

#[test]
fn the_python_client_works_unmodified() {
    let running = Running::start("multipaxos", |_| {});
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("resp/client.py");
    let script = script.display().to_string();
    let port = running.address.port().to_string();
    // Where Debian puts its packages, whatever `python3` is.
    let Some(output) = installed("/usr/bin/python3", &[&script, &port]) else { return };
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    eprint!("{text}");
}
