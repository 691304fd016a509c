//! The client library, when things do not go as they should.

use crate::harness::{Server, cluster};
use parthood::deploy::{ClientError, ClientOptions, Cluster, KvClient};
use std::path::Path;
use std::time::{Duration, Instant};

fn start(folder: &Path) -> Server {
    Server::start(folder, &["run", "--config", "cluster.toml", "--all"])
}

/// Nobody listens: one command is on its way for ever, and those behind it are not sent after their callers have given up.
#[test]
fn what_was_not_sent_in_time_is_not_sent_later() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cluster = Cluster::load(&cluster(folder, 3, "")).unwrap();
    let options = ClientOptions { lanes: 1, timeout: Duration::from_millis(300), ..ClientOptions::default() };
    let client = KvClient::connect(&cluster, options).unwrap();
    assert!(matches!(client.put("k", "on its way"), Err(ClientError::Timeout(_))));
    assert!(matches!(client.put("k", "behind it"), Err(ClientError::NotSent(_))));
    let _servers = start(folder);
    let value = || client.get("k").ok().flatten();
    let end = Instant::now() + Duration::from_secs(30);
    while value().is_none() && Instant::now() < end {}
    assert_eq!(value().as_deref(), Some(&b"on its way"[..]));
}

/// Two lanes are all that the servers remember: the third client makes them forget the first.
#[test]
fn a_client_that_was_forgotten_is_told_once_and_goes_on_in_another_session() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cluster = Cluster::load(&cluster(folder, 3, "\n[limits]\nlanes = 2\n")).unwrap();
    let _servers = start(folder);
    let client = || {
        let options = ClientOptions { lanes: 1, ..ClientOptions::default() };
        KvClient::connect(&cluster, options).unwrap()
    };
    let first = client();
    first.put("k", "first").unwrap();
    for other in ["second", "third"] {
        client().put("k", other).unwrap();
    }
    assert_eq!(first.put("k", "forgotten"), Err(ClientError::SessionLost));
    first.put("k", "again").unwrap();
    assert_eq!(first.get("k").unwrap().as_deref(), Some(&b"again"[..]));
}
