//! What those who must not, can and cannot do. Each line of SECURITY.md names a test.

use crate::harness::{Server, cluster, cluster_of, parthood};
use parthood::deploy::{ClientOptions, Cluster, KvClient};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const VALUE: &str = "what the patient has";

fn put(folder: &Path, config: &str, key: &str, value: &str) -> i32 {
    parthood(folder, &["client", "--config", config, "--timeout", "10", "put", key, value]).status
}

/// The secret in a key file, as text and as bytes.
fn secret(file: &Path) -> (String, Vec<u8>) {
    let text = std::fs::read_to_string(file).unwrap().trim().to_owned();
    let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap());
    let bytes = bytes.collect();
    (text, bytes)
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// All bytes of the files below a folder.
fn bytes_below(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all.extend(if path.is_dir() { bytes_below(&path) } else { std::fs::read(&path).unwrap() });
    }
    all
}

#[test]
fn who_listens_reads_what_is_sent_but_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = cluster_of(folder.path(), "unreplicated", 1, "");
    let cluster = Cluster::load(&file).unwrap();
    let listener = UdpSocket::bind(cluster.members[0].address).unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let client = KvClient::connect(&cluster, ClientOptions::default()).unwrap();
    let asking = std::thread::spawn(move || client.put("diagnosis", VALUE).is_err());
    let (text, key) = secret(&folder.path().join("cluster.key"));
    let mut datagram = vec![0; 1 << 16];
    let mut heard = Vec::new();
    // A client without a session opens one first, so the listener answers nothing and hears only that.
    while heard.is_empty() {
        let length = listener.recv(&mut datagram).unwrap();
        heard.extend_from_slice(&datagram[..length]);
    }
    assert!(holds(&heard, b"PTH"), "frames are not hidden");
    assert!(!holds(&heard, text.as_bytes()) && !holds(&heard, &key));
    assert!(asking.join().unwrap(), "nobody answered");
}

/// Passes datagrams on, in both directions, and keeps those of the client.
struct Wiretap {
    socket: UdpSocket,
    node: std::net::SocketAddr,
    stop: AtomicBool,
}

impl Wiretap {
    /// Everything that the client sent, until stopped.
    fn listen(&self) -> Vec<Vec<u8>> {
        self.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (mut captured, mut client, mut datagram) = (Vec::new(), None, vec![0; 1 << 16]);
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((length, from)) = self.socket.recv_from(&mut datagram) else { continue };
            let datagram = &datagram[..length];
            if from == self.node {
                client.map(|client| self.socket.send_to(datagram, client).unwrap());
            } else {
                client = Some(from);
                captured.push(datagram.to_vec());
                self.socket.send_to(datagram, self.node).unwrap();
            }
        }
        captured
    }
}

#[test]
fn captured_datagrams_that_are_sent_again_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = cluster_of(folder.path(), "unreplicated", 1, "");
    let _server = Server::start(folder.path(), &["run", "--config", "cluster.toml", "--all"]);
    let direct = Cluster::load(&file).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut tapped = direct.clone();
    tapped.members[0].address = socket.local_addr().unwrap();
    let tap = Wiretap { socket, node: direct.members[0].address, stop: AtomicBool::new(false) };
    let captured = std::thread::scope(|scope| {
        let listening = scope.spawn(|| tap.listen());
        let client = KvClient::connect(&tapped, ClientOptions::default()).unwrap();
        for value in ["first", "second", VALUE] {
            client.put("k", value).unwrap();
        }
        client.put("gone", "soon").unwrap();
        client.delete("gone").unwrap();
        tap.stop.store(true, Ordering::Relaxed);
        listening.join().unwrap()
    });
    assert!(captured.len() >= 6, "a session and five commands: {}", captured.len());
    assert!(captured.iter().any(|datagram| holds(datagram, VALUE.as_bytes())), "values are not hidden");
    let attacker = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in captured.iter().chain(captured.iter().rev()).chain(&captured) {
        attacker.send_to(datagram, direct.members[0].address).unwrap();
    }
    let client = KvClient::connect(&direct, ClientOptions::default()).unwrap();
    assert_eq!(client.get("k").unwrap().as_deref(), Some(VALUE.as_bytes()));
    assert_eq!(client.get("gone").unwrap(), None);
}

#[test]
fn strangers_are_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    let file = cluster_of(folder.path(), "unreplicated", 1, "");
    let _server = Server::start(folder.path(), &["run", "--config", "cluster.toml", "--all"]);
    let node = Cluster::load(&file).unwrap().members[0].address;
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut frame = b"PTH\x01".to_vec();
    frame.resize(200, 0);
    for datagram in [&b""[..], b"PING", &frame, &vec![0xff; 60_000]] {
        stranger.send_to(datagram, node).unwrap();
    }
    assert!(stranger.recv(&mut [0; 2048]).is_err(), "nothing is sent to who has no key");
    assert_eq!(put(folder.path(), "cluster.toml", "k", "v"), 0, "and the node still serves");
}

#[test]
fn another_key_is_another_cluster() {
    let folder = tempfile::tempdir().unwrap();
    cluster_of(folder.path(), "unreplicated", 1, "");
    let _server = Server::start(folder.path(), &["run", "--config", "cluster.toml", "--all"]);
    assert_eq!(parthood(folder.path(), &["key", "other.key"]).status, 0);
    let text = std::fs::read_to_string(folder.path().join("cluster.toml")).unwrap();
    std::fs::write(folder.path().join("other.toml"), text.replace("cluster.key", "other.key")).unwrap();
    let ask = ["client", "--config", "other.toml", "--timeout", "1", "put", "k", "v"];
    assert_eq!(parthood(folder.path(), &ask).status, 3);
}

#[test]
fn whoever_holds_the_key_may_do_everything() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::load(&cluster_of(folder.path(), "unreplicated", 1, "")).unwrap();
    let _server = Server::start(folder.path(), &["run", "--config", "cluster.toml", "--all"]);
    let client = || KvClient::connect(&cluster, ClientOptions::default()).unwrap();
    client().put("mine", VALUE).unwrap();
    client().delete("mine").unwrap();
    assert_eq!(client().get("mine").unwrap(), None);
}

#[test]
fn a_stolen_disk_tells_values_but_no_key() {
    let folder = tempfile::tempdir().unwrap();
    cluster(folder.path(), 3, "");
    let server = Server::start(folder.path(), &["run", "--config", "cluster.toml", "--all"]);
    assert_eq!(put(folder.path(), "cluster.toml", "diagnosis", VALUE), 0);
    server.kill();
    let (text, key) = secret(&folder.path().join("cluster.key"));
    let disk = bytes_below(&folder.path().join("data"));
    assert!(holds(&disk, VALUE.as_bytes()), "what is saved is not hidden");
    assert!(!holds(&disk, text.as_bytes()) && !holds(&disk, &key));
}

#[test]
fn a_key_that_others_may_read_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    cluster(folder.path(), 3, "");
    let key = folder.path().join("cluster.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    for verb in [
        &["run", "--config", "cluster.toml", "--all"][..],
        &["client", "--config", "cluster.toml", "get", "k"],
    ] {
        let ended = parthood(folder.path(), verb);
        assert_eq!(ended.status, 4, "{ended:?}");
        assert!(ended.err.contains("mode 644") && ended.err.contains("chmod 600"), "{ended:?}");
    }
}

/// Each stage is a restart of one node after the other, and clients may be a stage behind.
#[test]
fn a_key_is_exchanged_without_a_pause() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = cluster(folder, 3, "");
    assert_eq!(parthood(folder, &["key", "new.key"]).status, 0);
    let text = std::fs::read_to_string(&file).unwrap();
    let line = "key_file = \"cluster.key\"\n";
    assert!(text.contains(line));
    let stage =
        |name: &str, keys: &str| std::fs::write(folder.join(name), text.replacen(line, keys, 1)).unwrap();
    let other = |file: &str| format!("accepted_key_file = \"{file}\"\n");
    stage("1.toml", &format!("{line}{}", other("new.key")));
    stage("2.toml", &format!("key_file = \"new.key\"\n{}", other("cluster.key")));
    stage("3.toml", "key_file = \"new.key\"\n");

    let start =
        |config: &str, node: &str| Server::start(folder, &["run", "--config", config, "--node", node]);
    let mut nodes: Vec<Server> = ["a", "b", "c"].map(|node| start("cluster.toml", node)).into();
    let mut before = "cluster.toml";
    let mut said = 0;
    for now in ["1.toml", "2.toml", "3.toml"] {
        for name in ["a", "b", "c"] {
            nodes.remove(0).kill();
            nodes.push(start(now, name));
            said += 1;
            assert_eq!(
                put(folder, before, &format!("k{said}"), VALUE),
                0,
                "{name} is at {now}, the client at {before}"
            );
        }
        before = now;
    }
    let get =
        |config, key: &str| parthood(folder, &["client", "--config", config, "--timeout", "2", "get", key]);
    for number in 1..=said {
        assert_eq!(get("3.toml", &format!("k{number}")).out.trim(), VALUE);
    }
    assert_eq!(get("cluster.toml", "k1").status, 3, "the old key opens nothing any more");
}
