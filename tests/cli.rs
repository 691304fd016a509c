//! Bad input at the command line: one clear message, the documented exit status, nothing lost.

use crate::harness::{Server, cluster, free_ports, parthood};
use clap::{CommandFactory, Parser};
use parthood::cli::Cli;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn an_unknown_protocol_is_answered_with_the_nearest_one() {
    let folder = folder();
    for verb in ["check", "explore", "simulate", "list"] {
        let ended = parthood(folder.path(), &[verb, "multipaxo"]);
        assert_eq!(ended.status, 2, "{verb}: {ended:?}");
        assert!(
            ended.err.contains("unknown protocol `multipaxo`; did you mean `multipaxos`?"),
            "{verb}: {ended:?}"
        );
        assert_eq!(ended.out, "", "{verb}");
    }
}

#[test]
fn an_unknown_row_is_answered_with_the_nearest_one() {
    let row = parthood::registry::find("multipaxos").unwrap().rows().unwrap()[0].name.clone();
    let wrong = format!("{row}x");
    let ended = parthood(folder().path(), &["check", "multipaxos", "--row", &wrong]);
    assert_eq!(ended.status, 2, "{ended:?}");
    assert!(ended.err.contains(&format!("unknown row `{wrong}`; did you mean `{row}`?")), "{ended:?}");
}

#[test]
fn rows_of_ones_own_are_checked_without_building_anything() {
    let folder = folder();
    let paxos = parthood::registry::find("paxos").unwrap();
    let first = paxos.rows().unwrap()[0].clone();
    let row = include_str!("../checks/manifest/paxos.toml").split("[[row]]").nth(1).unwrap();
    let mine = format!("[[row]]{row}").replace(&format!("\"{}\"", first.name), "\"mine\"");
    let write = |text: &str| std::fs::write(folder.path().join("mine.toml"), text).unwrap();
    let check = || parthood(folder.path(), &["check", "paxos", "--manifest", "mine.toml", "--row", "mine"]);

    write(&mine);
    let ended = check();
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(ended.out.contains("paxos/mine") && ended.out.contains("1 of 1 rows as expected"), "{ended:?}");
    assert!(!folder.path().join("results").exists(), "verdicts are kept of the program's own claims only");

    let count = format!("unique_states = {}", first.unique_states);
    write(&mine.replace(&count, "unique_states = 1"));
    let ended = check();
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.out.contains(&format!("unique states {} instead of 1", first.unique_states)), "{ended:?}");

    write("[[row]]\nname = 'mine'\n");
    let ended = check();
    assert_eq!(ended.status, 2, "{ended:?}");
    assert!(ended.err.contains("mine.toml") && ended.err.contains("claim"), "{ended:?}");
    let ended = parthood(folder.path(), &["check", "--manifest", "mine.toml"]);
    assert_eq!(ended.status, 2, "{ended:?}");
    assert!(ended.err.contains("name one"), "{ended:?}");
    let ended = parthood(folder.path(), &["explore", "paxos", "--manifest", "none.toml"]);
    assert_eq!(ended.status, 4, "{ended:?}");
    assert!(ended.err.contains("cannot read none.toml"), "{ended:?}");
}

#[test]
fn usage_errors_have_status_two_and_help_has_examples() {
    let folder = folder();
    for arguments in
        [&["chekc"][..], &["run", "multipaxos"], &["check", "--tier", "smok"], &["client", "get"]]
    {
        assert_eq!(parthood(folder.path(), arguments).status, 2, "{arguments:?}");
    }
    for verb in ["list", "check", "explore", "simulate", "run", "client"] {
        let ended = parthood(folder.path(), &[verb, "--help"]);
        assert_eq!(ended.status, 0);
        assert!(ended.out.contains("Examples:"), "{verb}: {}", ended.out);
    }
}

#[test]
fn a_cluster_file_with_three_mistakes_tells_all_three() {
    let folder = folder();
    let text = "protocol = 'multipaxos'\nkey_file = 'k'\nkolour = 1\n[[node]]\nname = 'a'\naddress = 'here'\n\
                [times]\nping_ms = 0\n";
    std::fs::write(folder.path().join("c.toml"), text).unwrap();
    let ended = parthood(folder.path(), &["run", "--config", "c.toml", "--all"]);
    assert_eq!(ended.status, 2, "{ended:?}");
    for mistake in [
        "c.toml has 3 mistakes:",
        "c.toml:3:1: unknown key `kolour`",
        "c.toml:6:11: `here` is no address",
        "c.toml:8:11: `ping_ms` must be at least 1",
    ] {
        assert!(ended.err.contains(mistake), "{mistake}: {ended:?}");
    }
}

#[test]
fn what_the_machine_refuses_has_status_four_and_says_what_to_do() {
    let folder = folder();
    let refused = |arguments: &[&str], message: &str| {
        let ended = parthood(folder.path(), arguments);
        assert_eq!(ended.status, 4, "{ended:?}");
        assert!(ended.err.contains(message), "{message}: {ended:?}");
    };
    refused(&["run", "--config", "absent.toml", "--all"], "cannot read the cluster file absent.toml");
    refused(&["client", "get", "k"], "cannot read the cluster file cluster/cluster.toml");
    refused(&["trace", "check", "absent.ndjson"], "cannot open the trace absent.ndjson");
    cluster(folder.path(), 1, "");
    std::fs::remove_file(folder.path().join("cluster.key")).unwrap();
    refused(
        &["run", "--config", "cluster.toml", "--all"],
        "cluster.key is missing: copy it from another node",
    );
}

#[test]
fn an_address_or_a_data_directory_in_use_is_refused() {
    let folder = folder();
    cluster(folder.path(), 1, "");
    let server = Server::start(folder.path(), &["run", "--config", "cluster.toml", "--all"]);
    let second = parthood(folder.path(), &["run", "--config", "cluster.toml", "--all"]);
    assert_eq!(second.status, 4, "{second:?}");
    assert!(second.err.contains("in use by another process"), "{second:?}");
    let elsewhere = parthood(folder.path(), &["run", "--config", "cluster.toml", "--all", "--data", "other"]);
    assert_eq!(elsewhere.status, 4, "{elsewhere:?}");
    assert!(elsewhere.err.contains("another process listens there"), "{elsewhere:?}");
    let put = parthood(folder.path(), &["client", "--config", "cluster.toml", "put", "k", "v"]);
    assert_eq!(put.status, 0, "the first server is not disturbed: {put:?}");
    server.kill();
}

#[test]
fn a_client_prints_values_and_says_by_its_status_what_became_of_them() {
    let folder = folder();
    cluster(folder.path(), 3, "");
    let server = Server::start(folder.path(), &["run", "--config", "cluster.toml", "--all"]);
    let client = |arguments: &[&str]| {
        let ended = parthood(folder.path(), &[&["client", "--config", "cluster.toml"], arguments].concat());
        (ended.status, ended.out)
    };
    assert_eq!(client(&["get", "k"]), (1, String::new()));
    assert_eq!(client(&["put", "k", "v"]), (0, String::new()));
    assert_eq!(client(&["get", "k"]), (0, "v\n".into()));
    assert_eq!(client(&["cas", "k", "w", "x"]), (1, "v\n".into()));
    assert_eq!(client(&["cas", "k", "v", "7"]), (0, String::new()));
    assert_eq!(client(&["incr", "k", "-9"]), (0, "-2\n".into()));
    assert_eq!(client(&["delete", "k"]), (0, String::new()));
    assert_eq!(client(&["delete", "k"]), (1, String::new()));
    let (status, line) = client(&["--json", "get", "k"]);
    assert_eq!(
        (status, line.as_str()),
        (1, "{\"as_asked\":false,\"schema\":\"parthood.answer/1\",\"value\":null}\n")
    );
    server.kill();
    let (status, _) = client(&["--timeout", "0.3", "get", "k"]);
    assert_eq!(status, 3, "no answer: unknown");
}

#[test]
fn a_server_stops_on_sigterm_and_recovers_what_it_saved() {
    let folder = folder();
    cluster(folder.path(), 1, "");
    let arguments = ["run", "--config", "cluster.toml", "--all"];
    let server = Server::start(folder.path(), &arguments);
    assert_eq!(parthood(folder.path(), &["client", "--config", "cluster.toml", "put", "k", "v"]).status, 0);
    let stop = std::process::Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap();
    assert!(stop.success());
    assert_eq!(server.wait(), Some(0));
    let again = Server::start(folder.path(), &arguments);
    let get = parthood(folder.path(), &["client", "--config", "cluster.toml", "get", "k"]);
    assert_eq!((get.status, get.out.as_str()), (0, "v\n"));
    again.kill();
}

#[test]
fn the_printed_config_is_accepted() {
    let folder = folder();
    let printed = parthood(folder.path(), &["run", "--print-config"]);
    assert_eq!(printed.status, 0);
    let ports = free_ports(3);
    let text = ports.iter().enumerate().fold(printed.out, |text, (index, port)| {
        text.replace(&format!("127.0.0.1:{}", 7001 + index), &format!("127.0.0.1:{port}"))
    });
    std::fs::write(folder.path().join("c.toml"), text).unwrap();
    assert_eq!(parthood(folder.path(), &["key", "cluster.key"]).status, 0);
    assert_eq!(parthood(folder.path(), &["key", "cluster.key"]).status, 4, "a key is never overwritten");
    Server::start(folder.path(), &["run", "--config", "c.toml", "--all"]).kill();
}

#[test]
fn the_examples_of_the_help_make_sense() {
    let mut examples = 0;
    for verb in Cli::command().get_subcommands() {
        let Some(help) = verb.get_after_help() else { continue };
        for line in help.to_string().lines().filter_map(|line| line.trim().strip_prefix("parthood ")) {
            // An explanation follows after two spaces, and what the shell does after a sign of its own.
            let example = line.split("  ").next().and_then(|line| line.split(" > ").next()).unwrap_or(line);
            let quoted = example.split('\'').enumerate();
            let words = quoted.flat_map(|(part, text)| match part % 2 {
                0 => text.split_whitespace().collect::<Vec<_>>(),
                _ => vec![text],
            });
            let words: Vec<&str> = words.collect();
            examples += 1;
            if let Err(error) = Cli::try_parse_from(std::iter::once("parthood").chain(words.iter().copied()))
            {
                panic!("{line}: {error}");
            }
            let row = words.iter().position(|word| *word == "--row").and_then(|at| words.get(at + 1));
            if let Some(row) = row {
                let rows = parthood::registry::find(words[1]).unwrap().rows().unwrap();
                assert!(rows.iter().any(|known| known.name == *row), "{line}: there is no such row");
            }
        }
    }
    assert!(examples > 10, "{examples}");
}

#[test]
fn completions_are_written_for_every_shell() {
    let folder = folder();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ended = parthood(folder.path(), &["completions", shell]);
        assert_eq!(ended.status, 0);
        assert!(ended.out.contains("parthood") && ended.out.contains("simulate"), "{shell}");
    }
}
