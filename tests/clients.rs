//! The client library, when things do not go as they should.

use crate::harness::{Server, cluster};
use parthood::deploy::{Batched, ClientError, ClientOptions, Cluster, KvClient};
use parthood_protocols::state_machine::{BatchedOutput, KeyValueCommand, KeyValueOutput};
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
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

/// Waits for a future, with nothing but this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(Duration::from_secs(20)),
        }
    }
}

#[test]
fn futures_need_no_runtime_and_batches_are_done_together() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cluster = Cluster::load(&cluster(folder, 3, "")).unwrap();
    let _servers = start(folder);
    let client = KvClient::connect(&cluster, ClientOptions::default()).unwrap();
    block_on(async {
        let client = client.asynchronous();
        client.put("colour", "blue").await.unwrap();
        assert_eq!(client.get("colour").await.unwrap().as_deref(), Some(&b"blue"[..]));
        assert_eq!(
            client.compare_and_swap("colour", Some(b"red"), "green").await.unwrap(),
            Err(Some(b"blue".into()))
        );
        assert_eq!(client.compare_and_swap("colour", Some(b"blue"), "green").await.unwrap(), Ok(()));
        // All are under way before the first is waited for.
        let all: Vec<_> =
            (0..100).map(|_| client.submit(KeyValueCommand::Increment("n".as_bytes().into(), 1))).collect();
        let mut sums = Vec::new();
        for one in all {
            let KeyValueOutput::Number(sum) = one.await.unwrap() else { panic!("a sum") };
            sums.push(sum);
        }
        sums.sort_unstable();
        assert_eq!(sums, (1..=100).collect::<Vec<_>>());
        let outputs = client
            .batch(Batched::new().put("a", "1").increment("a", 2).get("a").delete("colour"))
            .await
            .unwrap();
        assert_eq!(outputs.len(), 4);
        assert_eq!(outputs[2], BatchedOutput::Value(Some("3".as_bytes().into())));
        assert!(!client.delete("colour").await.unwrap());
        assert!(matches!(client.increment("a", i64::MAX).await, Err(ClientError::Refused(_))));
    });
    let too_many = (0..2_000).fold(Batched::new(), |batch, key| batch.put(format!("{key}"), "v"));
    assert!(matches!(client.batch(too_many), Err(ClientError::Refused(_))));
    assert_eq!(client.get("7").unwrap(), None, "nothing of it was done");
}

#[test]
fn a_future_without_an_answer_ends_and_says_whether_the_command_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::load(&cluster(folder.path(), 3, "")).unwrap();
    let options = ClientOptions {
        lanes: 1,
        timeout: Duration::from_millis(300),
        retries: 1,
        ..ClientOptions::default()
    };
    let client = KvClient::connect(&cluster, options).unwrap();
    let asked = client.asynchronous();
    assert!(matches!(block_on(asked.put("k", "on its way")), Err(ClientError::Timeout(_))));
    let begun = Instant::now();
    assert!(matches!(block_on(asked.put("k", "behind it")), Err(ClientError::NotSent(_))));
    assert!(begun.elapsed() >= Duration::from_millis(600), "it was tried again");
}

#[test]
fn a_key_is_watched_by_polling() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cluster = Cluster::load(&cluster(folder, 3, "")).unwrap();
    let _servers = start(folder);
    let client = KvClient::connect(&cluster, ClientOptions::default()).unwrap();
    let mut seen = Vec::new();
    for value in client.watch_by_polling("k", Duration::from_millis(5)) {
        seen.push(value.unwrap());
        match seen.len() {
            1 => client.put("k", "one").unwrap(),
            // The same value again is no change.
            2 => {
                client.put("k", "one").unwrap();
                client.put("k", "two").unwrap();
            }
            3 => drop(client.delete("k").unwrap()),
            _ => break,
        }
    }
    let seen: Vec<_> = seen.iter().map(|value| value.as_deref()).collect();
    assert_eq!(seen, [None, Some(&b"one"[..]), Some(b"two"), None]);
}
