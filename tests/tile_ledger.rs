//! The ledger of tiles: what the exhaustive rows leave out, and jobs whose ledger a cluster keeps.

use crate::harness::{Server, cluster, command, parthood};
use parthood::models::tile_ledger::{Params, TileLedger};
use parthood::models::{Network, Setup, System, Verdict, Walk, Why, walk};
use parthood_protocols::tile_ledger::Behaviour;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// More of everything than can be exhausted, at random: still no step outside of what is claimed.
#[test]
fn random_runs_of_a_larger_ledger_keep_its_claims() {
    let params = |first| Params {
        workers: vec![first, Behaviour::Works, Behaviour::Works],
        tasks: 5,
        iterations: 4,
        ends: false,
    };
    for first in [Behaviour::Works, Behaviour::Errs] {
        let setup =
            Setup { network: Network::Unordered, restarts: 4, timers: vec![6, 6], ..Setup::default() };
        let system = System::new(TileLedger::new(&params(first), None).unwrap(), setup);
        let how = Walk { seed: 7, walks: 300, steps: 400 };
        let report = walk(&system, &how, &mut |_| ControlFlow::Continue(()));
        assert!(matches!(report.verdict, Verdict::Inconclusive(Why::Sampled)), "{report:?}");
        let reached =
            |name: &str| report.reached.iter().any(|found| found.property == name && found.path.is_some());
        assert!(reached("a task is leased anew") && reached("all iterations are committed"), "{report:?}");
        assert_eq!(reached("a worker is told that results differ"), first == Behaviour::Errs, "{report:?}");
    }
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    let ended = parthood(folder, arguments);
    assert_eq!(ended.status, 0, "{arguments:?}: {ended:?}");
    ended.out
}

const RUN: [&str; 8] =
    ["tomo", "run", "plan.json", "tilts.mrc", "--ledger", "cluster.toml", "--patience", "1.5"];

fn worker(folder: &Path) -> Child {
    command(folder, &RUN).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Three machines work on the blocks; one dies in the middle of one, and so does a node of the cluster.
#[test]
fn neither_a_dead_worker_nor_a_dead_node_loses_a_reconstruction() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    cluster(folder, 3, "");
    let [a, b, c] = ["a", "b", "c"].map(|node| ["run", "--config", "cluster.toml", "--node", node]);
    let nodes = [a, b, c].map(|arguments| Server::start(folder, &arguments));
    done(folder, &["tomo", "phantom", "clay.mrc", "--size", "64,80,32"]);
    done(folder, &["tomo", "project", "clay.mrc", "tilts.mrc", "--tilts=-60:60:4"]);
    let plan = ["--planes", "32", "--iterations", "30", "--tv", "0.05", "--mode", "patch", "--core", "16"];
    done(folder, &[&["tomo", "plan", "tilts.mrc", "-o", "plan.json"], &plan[..]].concat());
    let mut killed = worker(folder);
    let checkpoint = |block: usize| folder.join(format!("plan.blocks/block-{block:04}.mrc.checkpoint"));
    let started = Instant::now();
    while !(0..5).any(|block| checkpoint(block).exists()) {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let [node, ..] = nodes;
    let workers = [worker(folder), worker(folder)];
    node.kill();
    let mut said = String::new();
    for worker in workers {
        let ended = crate::harness::ended(worker.wait_with_output().unwrap());
        assert_eq!(ended.status, 0, "{ended:?}");
        assert!(ended.out.contains("all 5 blocks are done"), "{ended:?}");
        said.push_str(&ended.err);
    }
    assert!(said.contains("its block is free again"), "the dead worker's lease was ended: {said}");
    done(folder, &["tomo", "stitch", "plan.json", "-o", "parts.mrc"]);
    done(folder, &[&["tomo", "reconstruct", "tilts.mrc", "-o", "whole.mrc"], &plan[..]].concat());
    assert!(fs::read(folder.join("parts.mrc")).unwrap() == fs::read(folder.join("whole.mrc")).unwrap());
    // Whoever comes late finds nothing to do.
    let late = done(folder, &RUN);
    assert!(late.contains("0 of them here"), "{late}");
    // What the ledger says is done must be there, and is not done anew by a ledger.
    let gone = folder.join("plan.blocks/block-0003.mrc");
    fs::rename(&gone, folder.join("elsewhere.mrc")).unwrap();
    let missing = parthood(folder, &RUN);
    assert_eq!((missing.status, missing.out.as_str()), (4, ""), "{missing:?}");
    assert!(missing.err.contains("block-0003.mrc: done, says the ledger, but not there"), "{missing:?}");
    let anew = parthood(folder, &[&RUN[..], &["--anew"]].concat());
    assert!(anew.status == 2 && anew.err.contains("--ledger"), "{anew:?}");
}
