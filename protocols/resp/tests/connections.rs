//! Whole connections against a store in memory.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Server, wire};
use proptest::prelude::*;

/// What is said line by line, and what is answered.
fn dialogue(server: &mut Server, lines: &[(&str, &str)]) {
    let mut connection = server.connect();
    for (said, answered) in lines {
        let (out, _) = server.talk(&mut connection, format!("{said}\r\n").as_bytes());
        assert_eq!(String::from_utf8_lossy(&out), answered.replace('\n', "\r\n"), "{said}");
    }
}

#[test]
fn what_redis_has_not_is_said_plainly() {
    dialogue(
        &mut Server::new(None),
        &[
            ("SET a 1 EX 10", "-ERR EX is not supported: keys of this store do not expire\n"),
            ("SET a 1 PX", "-ERR syntax error\n"),
            ("SET a 1 KEEPTTL", "+OK\n"),
            ("CAS a 1 2", ":1\n"),
            ("CAS a 1 3", ":0\n"),
            ("GET a", "$1\n2\n"),
            ("TTL a", ":-1\n"),
            (
                "WATCH a",
                "-ERR WATCH is not supported: use CAS key old new, which sets a key if it holds what you saw\n",
            ),
            ("PARTHOOD READS", "$12\nlinearizable\n"),
            ("PARTHOOD READS sequential", "+OK\n"),
            ("PARTHOOD READS", "$10\nsequential\n"),
            ("PARTHOOD READS stale", "-ERR reads of this cluster are: linearizable, sequential\n"),
            ("RESET", "+RESET\n"),
            ("PARTHOOD READS", "$12\nlinearizable\n"),
            (
                "SCAN 17",
                "-ERR invalid cursor: this gateway has not given it out, or thousands since: begin with 0\n",
            ),
        ],
    );
}

#[test]
fn nothing_is_said_to_strangers() {
    let mut server = Server::new(Some("sesame"));
    dialogue(
        &mut server,
        &[
            ("SET a 1", "-NOAUTH Authentication required.\n"),
            ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.\n"),
            ("AUTH other sesame", "-WRONGPASS invalid username-password pair or user is disabled.\n"),
            ("GET a", "-NOAUTH Authentication required.\n"),
            ("MULTI", "-NOAUTH Authentication required.\n"),
            ("AUTH sesame", "+OK\n"),
            ("SET a 1", "+OK\n"),
            ("RESET", "+RESET\n"),
            ("GET a", "-NOAUTH Authentication required.\n"),
        ],
    );
    let mut connection = server.connect();
    let (out, has_ended) = server.talk(&mut connection, b"*11\r\n");
    assert_eq!(
        (out.as_slice(), has_ended),
        (&b"-ERR Protocol error: unauthenticated multibulk length\r\n"[..], true)
    );
    let (out, _) = server.talk(&mut connection, b"PING\r\n");
    assert!(out.is_empty(), "after an end nothing is said");
}

#[test]
fn a_transaction_happens_at_one_moment_or_not_at_all() {
    let value = "x".repeat(16 * 1024);
    let mut server = Server::new(None);
    let mut connection = server.connect();
    let mut say = |words: &[&str]| {
        let (out, _) = server.talk(&mut connection, &wire(words));
        String::from_utf8(out).unwrap()
    };
    for key in ["a", "b", "c"] {
        say(&["SET", key, &value]);
    }
    assert!(say(&["MGET", "a", "b", "c"]).starts_with("-ERR the answer would exceed 32768 bytes"));
    say(&["MULTI"]);
    say(&["SET", "a", "1"]);
    say(&["MGET", "b", "c"]);
    assert!(say(&["EXEC"]).starts_with("-ERR the answer would exceed"));
    assert!(say(&["GET", "a"]).len() > 16_000, "nothing of it was done");
    say(&["MULTI"]);
    for key in ["a", "b", "c"] {
        say(&["SET", key, &value]);
    }
    assert!(say(&["EXEC"]).starts_with("-ERR what is done at one moment may have 34816 bytes"));
    say(&["MULTI"]);
    say(&["SET", "a", "1"]);
    say(&["SCAN", "0", "TYPE", "hash"]);
    assert_eq!(say(&["EXEC"]), "*2\r\n+OK\r\n*2\r\n$1\r\n0\r\n*0\r\n");
}

#[test]
fn a_scan_with_cursors_finds_every_key_that_stays() {
    let mut server = Server::new(None);
    let mut connection = server.connect();
    for key in 0..300 {
        server.talk(&mut connection, &wire(&["SET", &format!("k{key:03}"), "v"]));
    }
    let (mut cursor, mut found) = ("0".to_owned(), vec![]);
    loop {
        let (out, _) =
            server.talk(&mut connection, &wire(&["SCAN", &cursor, "MATCH", "k?[0-4]*", "COUNT", "7"]));
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        found.extend(lines.iter().filter(|line| line.starts_with('k')).map(|line| (*line).to_owned()));
        // Keys come and go meanwhile.
        server.talk(&mut connection, &wire(&["DEL", found.last().map_or("", |key| key)]));
        cursor = lines[2].to_owned();
        if cursor == "0" {
            break;
        }
    }
    let expected = (0..300).map(|key| format!("k{key:03}")).filter(|key| key.as_bytes()[2] < b'5');
    assert!(found.iter().cloned().eq(expected));
}

#[test]
fn hello_chooses_the_version() {
    let mut server = Server::new(None);
    let mut connection = server.connect();
    let (out, _) =
        server.talk(&mut connection, b"GET a\r\nHELLO 3\r\nGET a\r\nHELLO 4\r\nHELLO 2\r\nGET a\r\n");
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("$-1\r\n%7\r\n$6\r\nserver\r\n"), "{text}");
    assert!(text.contains("_\r\n-NOPROTO unsupported protocol version\r\n*14\r\n"), "{text}");
    assert!(text.ends_with("$-1\r\n"), "{text}");
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "get",
        "set",
        "mset",
        "del",
        "exec",
        "multi",
        "scan",
        "keys",
        "hello",
        "auth",
        "command",
        "docs",
        "info",
        "client",
        "setname",
        "config",
        "incrby",
        "cas",
        "append",
        "nx",
        "ex",
        "match",
        "count",
        "0",
        "-1",
        "3",
        "a",
        "b",
        "[",
        "*",
        "",
        "9223372036854775808",
        "parthood",
        "reads",
        "reset",
        "exists",
        "decrby",
    ];
    prop_oneof![
        6 => proptest::sample::select(known.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..5),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let request = proptest::collection::vec(word(), 1..6).prop_map(|words| wire(&words));
    let line = proptest::collection::vec(word(), 1..6)
        .prop_map(|words| [words.join(&b' '), b"\r\n".to_vec()].concat());
    let noise = proptest::collection::vec(any::<u8>(), 0..9);
    let piece = prop_oneof![8 => request, 4 => line, 1 => noise];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// No bytes make a connection fail, and how they are split makes no difference to what it says.
    #[test]
    fn any_bytes_in_any_pieces_are_answered_alike(bytes in bytes(), sizes in proptest::collection::vec(1..40_usize, 1..9)) {
        let mut server = Server::new(None);
        let mut connection = server.connect();
        let whole = server.talk(&mut connection, &bytes).0;
        let mut server = Server::new(None);
        let mut connection = server.connect();
        let (mut parts, mut rest) = (vec![], &bytes[..]);
        for size in sizes.iter().cycle() {
            if rest.is_empty() { break }
            let (piece, behind) = rest.split_at(rest.len().min(*size));
            rest = behind;
            parts.extend(server.talk(&mut connection, piece).0);
        }
        prop_assert_eq!(String::from_utf8_lossy(&parts), String::from_utf8_lossy(&whole));
    }
}
