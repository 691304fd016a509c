//! Backups of running clusters, and what becomes of them.

use crate::harness::{Server, cluster, cluster_of, parthood};
use parthood::deploy::{
    BackupOptions, Batched, ClientOptions, Cluster, KvClient, RestoreOptions, backup, check_backup, restore,
};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);
const BACKUP: BackupOptions = BackupOptions { stale: false, timeout: TIMEOUT };
const RESTORE: RestoreOptions = RestoreOptions { force: false, timeout: TIMEOUT };

fn start(folder: &Path, protocol: &str) -> (Server, Cluster) {
    let file = cluster_of(folder, protocol, 3, "");
    (Server::start(folder, &["run", "--config", "cluster.toml", "--all"]), Cluster::load(&file).unwrap())
}

fn client(cluster: &Cluster) -> KvClient {
    let options = ClientOptions { timeout: TIMEOUT, ..ClientOptions::default() };
    KvClient::connect(cluster, options).unwrap()
}

/// Several pages of keys, some of them with the longest values.
fn fill(client: &KvClient) {
    for key in 0..40 {
        let bytes = if key % 4 == 0 { 16 << 10 } else { key };
        client.put(format!("key {key:03}"), vec![b'x'; bytes]).unwrap();
    }
}

#[test]
fn a_backup_is_one_state_and_is_restored_into_an_empty_cluster() {
    let [old, new] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let file = old.path().join("made/a.backup");
    let (_servers, cluster) = start(old.path(), "multipaxos");
    let writer = client(&cluster);
    fill(&writer);
    // Two numbers that are always equal, while the backup is made.
    let stop = AtomicBool::new(false);
    let (backed, before) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                writer.batch(Batched::new().increment("a first", 1).increment("z last", 1)).unwrap();
            }
        });
        let before: i64 = loop {
            let read = client(&cluster).get("z last").unwrap();
            if let Some(number) = read {
                break String::from_utf8(number).unwrap().parse().unwrap();
            }
        };
        let backed = backup(&cluster, &file, BACKUP);
        stop.store(true, Ordering::Relaxed);
        (backed.unwrap(), before)
    });
    assert!(
        backed.header.complete && backed.keys == 42 && backed.header.protocol == "multipaxos",
        "{backed:?}"
    );
    assert_eq!(check_backup(&file).unwrap(), backed);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.windows(7).any(|window| window == b"key 039"), "it is not encrypted");
    let after = writer.get("z last").unwrap();

    let (_others, other) = start(new.path(), "compartmentalized");
    let restored = restore(&other, &file, RESTORE).unwrap();
    assert_eq!((restored.put, restored.kept, restored.removed), (42, 0, 0));
    let reader = client(&other);
    let number =
        |key: &str| -> i64 { String::from_utf8(reader.get(key).unwrap().unwrap()).unwrap().parse().unwrap() };
    assert_eq!(number("a first"), number("z last"), "it is one state");
    assert!(before <= number("z last"), "it holds what was acknowledged before it began");
    let after: i64 = String::from_utf8(after.unwrap()).unwrap().parse().unwrap();
    assert!(number("z last") <= after);
    assert_eq!(reader.get("key 036").unwrap().map(|value| value.len()), Some(16 << 10));
    // Once more changes nothing, and what is made of the copy holds the same.
    let again = restore(&other, &file, RESTORE).unwrap();
    assert_eq!((again.put, again.kept), (0, 42));
    assert_eq!(backup(&other, &file, BACKUP).unwrap().contents, backed.contents);
}

#[test]
fn an_interrupted_restore_goes_on_and_other_contents_are_left_alone() {
    let [old, new] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let file = old.path().join("a.backup");
    let (servers, cluster) = start(old.path(), "unreplicated");
    fill(&client(&cluster));
    backup(&cluster, &file, BACKUP).unwrap();
    drop(servers);
    let (_others, other) = start(new.path(), "craq");
    let writer = client(&other);
    // A part of it is there.
    writer.put("key 001", "x").unwrap();
    let restored = restore(&other, &file, RESTORE).unwrap();
    assert_eq!((restored.put, restored.kept), (39, 1));
    for (key, value) in [("foreign", "y"), ("key 002", "another")] {
        let before = writer.get(key).unwrap();
        writer.put(key, value).unwrap();
        let message = restore(&other, &file, RESTORE).unwrap_err().to_string();
        assert!(
            message.contains("is not empty") && message.contains(key) && message.contains("--force"),
            "{message}"
        );
        assert_eq!(writer.get(key).unwrap().as_deref(), Some(value.as_bytes()), "nothing was changed");
        assert!(before.as_deref() != Some(value.as_bytes()));
        let forced = restore(&other, &file, RestoreOptions { force: true, ..RESTORE }).unwrap();
        assert_eq!(forced.put + forced.removed, 1);
    }
    assert_eq!(writer.get("foreign").unwrap(), None);
}

#[test]
fn protocols_without_one_order_are_backed_up_too() {
    for protocol in ["bpaxos", "epaxos"] {
        let folder = tempfile::tempdir().unwrap();
        let (_servers, cluster) = start(folder.path(), protocol);
        let writer = client(&cluster);
        for key in 0..20 {
            writer.put(format!("{key}"), "v").unwrap();
        }
        let backed = backup(&cluster, &folder.path().join("b"), BACKUP).unwrap();
        assert_eq!(backed.keys, 20, "{protocol}: all that was acknowledged");
    }
}

#[test]
fn the_commands_say_what_is_wrong_and_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let config = cluster(folder, 3, "");
    let nobody = ["backup", "--config", "cluster.toml", "--timeout", "0.3", "a.backup"];
    for more in [&[][..], &["--stale"]] {
        let ended = parthood(folder, &[&nobody[..], more].concat());
        assert_eq!(ended.status, 4, "{ended:?}");
        assert!(
            ended.err.contains(if more.is_empty() { "--stale" } else { "no replica answers" }),
            "{ended:?}"
        );
        let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().contains("a.backup")), "{left:?}");
    }
    let server = Server::start(folder, &["run", "--config", "cluster.toml", "--node", "a", "--node", "b"]);
    client(&Cluster::load(&config).unwrap()).put("k", "v").unwrap();
    let made = parthood(folder, &["backup", "--config", "cluster.toml", "a.backup", "--json"]);
    assert_eq!(made.status, 0, "{made:?}");
    let line: serde_json::Value = serde_json::from_str(&made.out).unwrap();
    assert_eq!((&line["keys"], &line["backup"]["complete"]), (&1.into(), &true.into()), "{line}");
    server.kill();
    // No quorum is left.
    let _one = Server::start(folder, &["run", "--config", "cluster.toml", "--node", "a"]);
    let quick = ["backup", "--config", "cluster.toml", "--timeout", "1"];
    assert_eq!(parthood(folder, &[&quick[..], &["b.backup"]].concat()).status, 4);
    let stale = parthood(folder, &[&quick[..], &["--stale", "b.backup"]].concat());
    assert!(stale.status == 0 && stale.out.contains("perhaps not complete"), "{stale:?}");

    let checked = parthood(folder, &["restore", "a.backup", "--check"]);
    assert!(checked.status == 0 && checked.out.contains("1 keys"), "{checked:?}");
    let bytes = fs::read(folder.join("a.backup")).unwrap();
    fs::write(folder.join("a.backup"), &bytes[..bytes.len() - 1]).unwrap();
    let checked = parthood(folder, &["restore", "a.backup", "--check"]);
    assert!(checked.status == 4 && checked.err.contains("ends too early"), "{checked:?}");
    let checked = parthood(folder, &["restore", "cluster.toml", "--check"]);
    assert!(checked.status == 2 && checked.err.contains("is no backup"), "{checked:?}");
}
