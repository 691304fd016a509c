//! What a process has saved is found by the same nodes of the same cluster, and by nobody else.

use crate::harness::{Server, cluster, cluster_of, parthood};
use std::path::Path;

fn start(folder: &Path, more: &[&str]) -> Server {
    Server::start(folder, &[&["run", "--config", "cluster.toml"], more].concat())
}

fn refused(folder: &Path, more: &[&str], why: &str) {
    let ended = parthood(folder, &[&["run", "--config", "cluster.toml"], more].concat());
    assert!(matches!(ended.status, 2 | 4) && ended.err.contains(why), "{why}: {ended:?}");
}

fn client(folder: &Path, arguments: &[&str]) -> String {
    let ended = parthood(folder, &[&["client", "--config", "cluster.toml"], arguments].concat());
    assert_eq!(ended.status, 0, "{ended:?}");
    ended.out
}

/// Nodes a and b in one process, c in another.
fn two_processes(folder: &Path) {
    let file = cluster(folder, 3, "");
    let text = std::fs::read_to_string(&file).unwrap();
    let address = |node: &str| {
        let of_node = text.split(&format!("name = \"{node}\"")).nth(1).unwrap();
        of_node.split('"').nth(1).unwrap().to_owned()
    };
    std::fs::write(&file, text.replace(&address("b"), &address("a"))).unwrap();
}

#[test]
fn nodes_find_what_they_saved_in_whatever_order_they_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    two_processes(folder);
    let first = start(folder, &["--node", "b", "--node", "a"]);
    client(folder, &["put", "k", "saved"]);
    first.kill();
    refused(folder, &["--node", "a"], "would find nothing of it as one of a");
    let second = start(folder, &["--node", "a", "--node", "b"]);
    assert!(second.announced.iter().any(|line| line.contains("recovered")), "{:?}", second.announced);
    assert_eq!(client(folder, &["get", "k"]).trim(), "saved");
}

#[test]
fn nodes_whose_folder_is_gone_vote_no_more_however_often_they_are_started() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    cluster(folder, 3, "");
    let others = start(folder, &["--node", "a"]);
    let third = start(folder, &["--node", "c"]);
    start(folder, &["--node", "b"]).kill();
    std::fs::remove_dir_all(folder.join("data/b")).unwrap();
    refused(folder, &["--node", "b"], "start these nodes with --rejoin");
    std::fs::create_dir(folder.join("data/b")).unwrap();
    refused(folder, &["--node", "b"], "holds nothing");
    let votes = |server: &Server| !server.announced.iter().any(|line| line.contains("not voting"));
    let rejoined = start(folder, &["--node", "b", "--rejoin"]);
    assert!(!votes(&rejoined) && votes(&others), "{rejoined:?}");
    rejoined.kill();
    let again = start(folder, &["--node", "b"]);
    assert!(!votes(&again), "{again:?}");
    // With another one gone there is nobody left who votes beside a: whoever has forgotten its promises is no replacement.
    third.kill();
    let ended = parthood(folder, &["client", "--config", "cluster.toml", "--timeout", "2", "put", "k", "v"]);
    assert_eq!(ended.status, 3, "{ended:?}");
}

#[test]
fn nodes_do_not_go_on_under_other_terms() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = cluster(folder, 3, "");
    start(folder, &["--all"]).kill();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}\n[limits]\nlanes = 131072\n")).unwrap();
    refused(folder, &["--all"], "lanes was `65536` and would be `131072`");
    std::fs::write(&file, text.replacen("id = 1", "id = 2", 1)).unwrap();
    refused(folder, &["--all"], "id was `1` and would be `2`");
    std::fs::write(&file, &text).unwrap();
    start(folder, &["--all"]).kill();
    std::fs::write(folder.join("data/notes.toml"), "mine").unwrap();
    refused(folder, &["--all"], "the data folder must hold nothing else");
}

/// The mend for nodes that are started with other files one by one: those that disagree do not hear one another.
#[test]
fn nodes_with_other_terms_do_not_hear_one_another() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = cluster_of(folder, "multipaxos", 3, "");
    let text = std::fs::read_to_string(&file).unwrap();
    let others = format!("{text}\n[limits]\nlanes = 131072\n");
    std::fs::write(folder.join("others.toml"), others).unwrap();
    let _one = start(folder, &["--node", "a"]);
    let _two = Server::start(folder, &["run", "--config", "others.toml", "--node", "b"]);
    let put = ["client", "--config", "cluster.toml", "--timeout", "2", "put", "k", "v"];
    let ended = parthood(folder, &put);
    assert!(ended.status == 3, "{ended:?}");
    let _three = start(folder, &["--node", "c"]);
    assert_eq!(parthood(folder, &put).status, 0, "two that agree are a majority");
}
