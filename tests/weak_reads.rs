//! Sequential and eventual reads over UDP, with links that lose and repeat datagrams and a replica that hears only clients for
//! a while: each kind by its own criterion; and by a stronger one, which it must fail.

use crate::harness::{cluster_of, hosts, pause};
use parthood::bench::{self, History, HistoryVerdict, Load, LogHistory, Measured};
use parthood::deploy::{self, Cluster, Reads, ServeOptions, Serving};
use parthood::models::linearizability::{Operation, Return};
use parthood::runtime::udp::Faults;
use stateright::actor::Id;
use std::thread::JoinHandle;
use std::time::Duration;

/// Three hosts with a node of every role; the last can be cut off from the others, and still answer clients.
struct Three {
    cluster: Cluster,
    serving: Vec<Serving>,
    _folder: tempfile::TempDir,
}

impl Three {
    fn start(protocol: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cluster = Cluster::load(&cluster_of(folder.path(), protocol, 3, "")).unwrap();
        let options = ServeOptions { no_sync: true, ..ServeOptions::default() };
        let serve = |host: &Vec<usize>| deploy::serve(&cluster, host, &options).unwrap();
        let serving = hosts(&cluster).iter().map(serve).collect();
        Self { cluster, serving, _folder: folder }
    }

    fn lose_and_repeat(&self, share: f64) {
        for handle in self.serving.iter().flat_map(|serving| &serving.handles) {
            handle.set_faults(Faults { drop: share, duplicate: share, ..Faults::default() });
        }
    }

    /// The last host hears clients alone.
    fn cut(&self) {
        let hosts = hosts(&self.cluster);
        let cut = hosts[..2].iter().flatten().map(|node| Id::from(*node)).collect();
        self.serving[2].handles[0].set_faults(Faults { cut, ..Faults::default() });
    }

    /// What a client is told; all with one kind of reads use the same keys.
    fn told(
        &self,
        consistency: Reads,
        reads: f64,
        operations_max: u64,
        seconds: f64,
    ) -> JoinHandle<Measured> {
        let load = Load {
            outstanding: 6,
            duration: Duration::from_secs_f64(seconds),
            operations_max,
            reads,
            consistency: Some(consistency),
            // The keys of one kind are not those of the other.
            seed: consistency as u64,
            keys: 10,
            check: true,
            ..Load::default()
        };
        let cluster = self.cluster.clone();
        std::thread::spawn(move || bench::run(&cluster, &load).unwrap())
    }

    fn stop(self) {
        for serving in self.serving {
            serving.stop().unwrap();
        }
    }
}

/// What all clients were told, by the clock of the first.
fn by_the_clock(measured: &[Measured]) -> History {
    let first = measured[0].started;
    let mut history = History::new();
    for (client, measured) in (0..).zip(measured) {
        let later = measured.started.saturating_duration_since(first);
        let later = u64::try_from(later.as_nanos()).unwrap();
        history.extend(measured.history.iter().cloned().map(|operation| Operation {
            client,
            invoked: operation.invoked + later,
            returned: operation.returned.map(|Return { at, output }| Return { at: at + later, output }),
            op: operation.op,
        }));
    }
    history
}

fn by_the_log(measured: Vec<Measured>) -> LogHistory {
    LogHistory::joined(measured.into_iter().map(|measured| measured.log_history))
}

fn weak_reads_show_what_the_log_held(protocol: &str) {
    let three = Three::start(protocol);
    for consistency in [Reads::Sequential, Reads::Eventual] {
        let clients = [0.3, 1.0].map(|reads| three.told(consistency, reads, u64::MAX, 2.0));
        pause(200);
        three.lose_and_repeat(0.02);
        pause(500);
        three.cut();
        pause(500);
        three.lose_and_repeat(0.0);
        let measured: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        for client in &measured {
            assert!(client.answered > 100, "{consistency:?}: {} commands are no load", client.answered);
        }
        let (verdict, _) = measured[0].verdict.as_ref().unwrap();
        assert_eq!(*verdict, HistoryVerdict::Right, "{consistency:?}: the client that wrote everything");
        assert_eq!(by_the_log(measured).judge(consistency == Reads::Sequential), HistoryVerdict::Right);
    }
    three.stop();
}

#[test]
fn weak_reads_of_compartmentalized_show_what_the_log_held() {
    weak_reads_show_what_the_log_held("compartmentalized");
}

#[test]
fn weak_reads_of_mencius_show_what_the_log_held() {
    weak_reads_show_what_the_log_held("mencius");
}

#[test]
fn weak_reads_of_spaxos_show_what_the_log_held() {
    weak_reads_show_what_the_log_held("spaxos");
}

/// What many clients read after another one has written, while a replica is cut off. Clients begin at replicas of their own
/// choice: one in three asks the one that is behind first.
fn after_writes(three: &Three, consistency: Reads, reads_of_each: u64) -> Vec<Measured> {
    three.cut();
    let mut measured = vec![three.told(consistency, 0.0, u64::MAX, 0.3).join().unwrap()];
    for _ in 0..30 {
        measured.push(three.told(consistency, 1.0, reads_of_each, 1.0).join().unwrap());
    }
    measured
}

/// The replica that is cut off shows an old state to a client that knows no better.
#[test]
fn sequential_reads_are_not_linearizable() {
    let three = Three::start("compartmentalized");
    let measured = after_writes(&three, Reads::Sequential, 6);
    three.stop();
    assert!(matches!(bench::judge(&by_the_clock(&measured)), HistoryVerdict::Wrong(_)));
    assert_eq!(by_the_log(measured).judge(true), HistoryVerdict::Right);
}

/// A client that reads at several replicas is shown less than before, unless it says what it has seen.
#[test]
fn eventual_reads_are_not_sequentially_consistent() {
    let three = Three::start("compartmentalized");
    let history = by_the_log(after_writes(&three, Reads::Eventual, 30));
    three.stop();
    assert!(matches!(history.judge(true), HistoryVerdict::Wrong(_)));
    assert_eq!(history.judge(false), HistoryVerdict::Right);
}

/// A claim about the log that is wrong by one slot does not pass.
#[test]
fn answers_that_show_another_slot_than_they_say_are_noticed() {
    let three = Three::start("compartmentalized");
    let client = three.told(Reads::Eventual, 0.5, u64::MAX, 0.5).join().unwrap();
    let mut history = by_the_log(vec![client]);
    three.stop();
    assert_eq!(history.judge(false), HistoryVerdict::Right);
    for operation in history.operations.iter_mut().filter(|operation| operation.invoked % 2 == 0) {
        operation.invoked += 200;
        if let Some(returned) = &mut operation.returned {
            returned.at += 200;
        }
    }
    assert!(matches!(history.judge(false), HistoryVerdict::Wrong(_)));
}
