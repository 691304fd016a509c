//! The same words as Redis: sequences of commands are said to a real one, and the replies compared byte for byte.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Server, wire};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A Redis of our own, without a port; it ends with the test.
struct Redis {
    process: Child,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Redis {
    /// None where there is no `redis-server`.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("redis.sock");
        let process = Command::new("redis-server")
            .args(["--port", "0", "--databases", "1", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = process else {
            eprintln!("skipped: there is no redis-server here (Debian: apt-get install redis-server)");
            return None;
        };
        let redis = Self { process, socket, _folder: folder };
        for _ in 0..1000 {
            if UnixStream::connect(&redis.socket).is_ok() {
                return Some(redis);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("redis-server does not listen");
    }

    /// What it answers to these bytes on a new connection, on an empty store.
    fn talk(&self, bytes: &[u8]) -> Vec<u8> {
        const LAST: &[u8] = b"$9\r\nthe end.\n\r\n";
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(b"FLUSHALL\r\n").unwrap();
        let mut flushed = [0; 5];
        stream.read_exact(&mut flushed).unwrap();
        stream.write_all(bytes).unwrap();
        // It may have ended the connection already.
        let _ = stream.write_all(&wire(&["DISCARD"]));
        let _ = stream.write_all(&wire(&["ECHO", "the end.\n"]));
        let (mut out, mut part) = (vec![], [0; 4096]);
        while let Ok(count @ 1..) = stream.read(&mut part) {
            out.extend_from_slice(&part[..count]);
            if out.ends_with(LAST) {
                break;
            }
        }
        out
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ours(bytes: &[u8]) -> Vec<u8> {
    let mut server = Server::new(None);
    let mut connection = server.connect();
    let (mut out, has_ended) = server.talk(&mut connection, bytes);
    if !has_ended {
        out.extend(server.talk(&mut connection, &wire(&["DISCARD"])).0);
        out.extend(server.talk(&mut connection, &wire(&["ECHO", "the end.\n"])).0);
    }
    out
}

fn assert_same(redis: &Redis, bytes: &[u8]) {
    let (theirs, ours) = (redis.talk(bytes), ours(bytes));
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string().replace("\\r\\n", "\n");
    assert!(ours == theirs, "said:\n{}\nours:\n{}\ntheirs:\n{}", text(bytes), text(&ours), text(&theirs));
}

/// There is no file to remember failures beside: a failure prints what was said.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

fn key() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["a", "b", "c", "n"]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    let some =
        ["", "x", "10", "-3", "007", "+5", " 1", "9223372036854775807", "-9223372036854775808", "3.0", "a b"];
    proptest::sample::select(some.to_vec()).prop_map(str::to_owned)
}

/// A command with the right number of arguments, mostly.
fn command() -> impl Strategy<Value = Vec<String>> {
    let of = |names: &[&str]| {
        proptest::sample::select(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    };
    let one = of(&[
        "GET", "get", "INCR", "DECR", "STRLEN", "GETDEL", "TYPE", "TTL", "PTTL", "DEL", "UNLINK", "EXISTS",
        "MGET",
    ]);
    let two = of(&["SETNX", "GETSET", "APPEND", "INCRBY", "DECRBY", "SET", "MSET"]);
    let many = of(&["DEL", "UNLINK", "EXISTS", "MGET"]);
    let none = of(&[
        "PING", "MULTI", "EXEC", "DISCARD", "DBSIZE", "UNWATCH", "READONLY", "FROB", "CLIENT", "MULTI",
        "EXEC",
    ]);
    let option = of(&["NX", "XX", "GET", "nx", "get", "KEEPTTL", "FROB"]);
    let pattern = of(&["zz*", "[^abcn]", "a", "\\a", "[b-b]"]);
    let any = of(&[
        "GET",
        "SET",
        "MSET",
        "KEYS",
        "SCAN",
        "SELECT",
        "ECHO",
        "PING",
        "CLIENT",
        "CONFIG",
        "frobnicate",
        "INCRBY",
        "HELLO",
        "EXEC",
        "SETNAME",
        "AUTH",
    ]);
    prop_oneof![
        4 => (one, key()).prop_map(|(name, key)| vec![name, key]),
        4 => (two, key(), value()).prop_map(|(name, key, value)| vec![name, key, value]),
        2 => (many, proptest::collection::vec(key(), 0..5))
            .prop_map(|(name, keys)| [vec![name], keys].concat()),
        2 => (key(), value(), proptest::collection::vec(option, 0..3))
            .prop_map(|(key, value, options)| [vec!["SET".into(), key, value], options].concat()),
        1 => proptest::collection::vec((key(), value()), 0..4).prop_map(|pairs| {
            let pairs = pairs.into_iter().flat_map(|(key, value)| [key, value]);
            std::iter::once("MSET".to_owned()).chain(pairs).collect()
        }),
        3 => none.prop_map(|name| vec![name]),
        1 => pattern.prop_map(|pattern| vec!["KEYS".into(), pattern]),
        1 => value().prop_map(|text| vec!["ECHO".into(), text]),
        1 => value().prop_map(|index| vec!["SELECT".into(), index]),
        1 => (any, proptest::collection::vec(value(), 0..4))
            .prop_map(|(name, arguments)| [vec![name], arguments].concat()),
    ]
}

/// What is not compared: it is not the same by design.
fn is_our_own(words: &[String]) -> bool {
    let word = |index: usize| words.get(index).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
    match word(0).as_str() {
        // The number of a connection.
        "hello" => word(1).is_empty() || word(1) == "3",
        // Without a password everything is right to Redis, but its users have names.
        "auth" => words.len() > 2,
        "keys" | "scan" => words.len() == 2 && word(0) == "scan",
        _ => false,
    }
}

#[test]
fn replies_are_those_of_redis_byte_for_byte() {
    let Some(redis) = Redis::start() else { return };
    let said = proptest::collection::vec(command().prop_filter("our own", |words| !is_our_own(words)), 1..30);
    let result = TestRunner::new(config()).run(&said, |commands| {
        let bytes: Vec<u8> = commands.iter().flat_map(|words| wire(words)).collect();
        assert_same(&redis, &bytes);
        Ok(())
    });
    result.unwrap();
}

/// What is compared line by line.
const LINES: &[&str] = &[
    "FROB",
    "frob 'a b' \"c\\n\" d",
    "GET",
    "get a b",
    "SET a",
    "SET a 1 NX XX",
    "SET a 1 XX NX",
    "SET a 1 EX",
    "SET a 1 FROB",
    "SET a x\r\nINCR a\r\nINCRBY a 1",
    "SET a 9223372036854775807\r\nINCR a",
    "DECRBY a -9223372036854775808",
    "INCRBY a 1.5",
    "INCRBY a 9223372036854775808",
    "MSET a",
    "MSET a 1 b",
    "EXEC",
    "DISCARD",
    "MULTI\r\nMULTI\r\nEXEC",
    "MULTI\r\nFROB\r\nSET a 1\r\nEXEC\r\nGET a",
    "MULTI\r\nGET\r\nEXEC",
    "MULTI\r\nSET a x\r\nINCR a\r\nSET a 1 FROB\r\nGET a\r\nPING\r\nMSET a\r\nEXEC",
    "MULTI\r\nEXEC",
    "MULTI\r\nWATCH a\r\nEXEC",
    "MULTI\r\nMSET a 1 b\r\nPING a b\r\nEXEC",
    "SELECT 1000",
    "SELECT x",
    "SELECT 99999999999",
    "SCAN x",
    "SCAN 0 COUNT 0",
    "SCAN 0 COUNT x",
    "SCAN 0 FROB 1",
    "SCAN 0 MATCH",
    "SCAN 0",
    "KEYS *",
    "PING a b",
    "PING hello",
    "CLIENT",
    "CLIENT FROB",
    "client setname",
    "CLIENT SETNAME 'a b'",
    "CLIENT SETNAME ab\r\nCLIENT GETNAME",
    "CLIENT GETNAME",
    "CONFIG GET save",
    "CONFIG GET appendonly",
    "HELLO x",
    "HELLO 4",
    "HELLO 3 FROB",
    "HELLO 3 AUTH a",
    "HELLO 3 AUTH frob b",
    "AUTH a",
    "AUTH a b",
    "AUTH default b",
    "AUTH a b c",
    "COMMAND FROB",
    "ECHO",
    "READONLY",
    "QUIT\r\nPING",
    "MULTI\r\nSET a 1\r\nRESET\r\nGET a",
    "TYPE a\r\nSET a 1\r\nTYPE a",
    "SETNX a 1\r\nSETNX a 2\r\nGETSET a 3\r\nGETDEL a\r\nGETDEL a",
    "APPEND a x\r\nAPPEND a yz\r\nSTRLEN a\r\nSTRLEN b",
    "SET a 1 GET\r\nSET a 2 NX GET\r\nSET b 2 NX GET\r\nSET c 3 XX GET\r\nMGET a b c",
];

#[test]
fn errors_are_those_of_redis_word_for_word() {
    let Some(redis) = Redis::start() else { return };
    for line in LINES {
        assert_same(&redis, format!("{line}\r\n").as_bytes());
    }
    let long = "x".repeat(300);
    assert_same(&redis, &wire(&[&long, &long, "b"]));
    assert_same(&redis, &wire(&["frob", "a\r\nb", &long[..100], "c\0d", &long[..50]]));
    for bytes in [
        &b"*x\r\n"[..],
        b"*-1\r\n*0\r\n\r\nPING\r\n",
        b"*99999999999\r\n",
        b"*1\r\nPING\r\n",
        b"*1\r\n$-5\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n$99999999999\r\n",
        b"get 'a\r\n",
        b"get \"a\"b\r\n",
        b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
    ] {
        assert_same(&redis, bytes);
    }
}

#[test]
fn patterns_choose_the_keys_that_they_choose_for_redis() {
    let Some(redis) = Redis::start() else { return };
    let strategy = ("[-ab*?\\[\\]\\\\^]{1,6}", "[ab*\\]^-]{1,4}");
    let result = TestRunner::new(config()).run(&strategy, |(pattern, key)| {
        let bytes = [wire(&["SET", &key, "1"]), wire(&["KEYS", &pattern])].concat();
        assert_same(&redis, &bytes);
        Ok(())
    });
    result.unwrap();
}
