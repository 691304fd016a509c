//! What the commands of Redis ask of the store.

use crate::cursors::Cursors;
use crate::query::{Query, Render};
use crate::reply::Reply;
use crate::request::number;
use parthood_protocols::state_machine::{BatchedCommand, Bytes, MAX_PAGE_COUNT, When};

pub(crate) const SYNTAX: &str = "syntax error";
pub(crate) const NOT_AN_INTEGER: &str = "value is not an integer or out of range";
/// What a page holds if the client does not say.
const PAGE_COUNT: u32 = 10;

type Asked = Result<Query, Reply>;

/// The question that a command asks, if it asks one of the store. Its arguments are as many as its name demands.
pub(crate) fn ask(name: &str, arguments: &[Vec<u8>], cursors: &Cursors) -> Option<Asked> {
    let bytes = |index: usize| arguments.get(index).map_or_else(|| Bytes::from(""), Bytes::from);
    let key = bytes(0);
    let of_each = |command: fn(Bytes) -> BatchedCommand, render| {
        Query::new(arguments.iter().map(|key| command(Bytes::from(key))).collect(), render)
    };
    Some(match name {
        "get" => Query::one(BatchedCommand::Get(key), Render::Value),
        "set" => set(arguments),
        "setnx" => {
            let set = BatchedCommand::Set { key, value: bytes(1), when: When::Absent, tell: false };
            Query::one(set, Render::WasDone)
        }
        "getset" => {
            let set = BatchedCommand::Set { key, value: bytes(1), when: When::Always, tell: true };
            Query::one(set, Render::Value)
        }
        "getdel" => Query::one(BatchedCommand::Take(key), Render::Value),
        "append" => Query::one(BatchedCommand::Append(key, bytes(1)), Render::Number),
        "strlen" => Query::one(BatchedCommand::Length(key), Render::Number),
        "cas" => {
            let swap = BatchedCommand::CompareAndSwap { key, expected: Some(bytes(1)), new: bytes(2) };
            Query::one(swap, Render::WasDone)
        }
        "del" | "unlink" => of_each(BatchedCommand::Delete, Render::Sum),
        "exists" => of_each(BatchedCommand::Exists, Render::Sum),
        "mget" => of_each(BatchedCommand::Get, Render::Values),
        "mset" => mset(arguments),
        "incr" => Query::one(BatchedCommand::Increment(key, 1), Render::Number),
        "decr" => Query::one(BatchedCommand::Increment(key, -1), Render::Number),
        "incrby" | "decrby" => increment(name == "decrby", key, arguments),
        "type" => Query::one(BatchedCommand::Exists(key), Render::Type),
        "ttl" | "pttl" => Query::one(BatchedCommand::Exists(key), Render::Lifetime),
        "dbsize" => Query::one(BatchedCommand::Count, Render::Number),
        "keys" => {
            let page = BatchedCommand::Page { after: None, pattern: pattern(&key), count: MAX_PAGE_COUNT };
            Query::one(page, Render::Keys)
        }
        "scan" => scan(arguments, cursors),
        _ => return None,
    })
}

/// No pattern is cheaper than one that everything matches.
fn pattern(pattern: &Bytes) -> Option<Bytes> {
    (pattern.as_slice() != b"*").then(|| pattern.clone())
}

fn set(arguments: &[Vec<u8>]) -> Asked {
    let [key, value, options @ ..] = arguments else { return Err(Reply::error(SYNTAX)) };
    let (mut when, mut tell, mut lifetime) = (When::Always, false, None);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match option.to_ascii_lowercase().as_slice() {
            b"nx" if when != When::Present => when = When::Absent,
            b"xx" if when != When::Absent => when = When::Present,
            b"get" => tell = true,
            // No key expires, so that there is nothing to keep.
            b"keepttl" if lifetime.is_none_or(|kept| kept == "KEEPTTL") => lifetime = Some("KEEPTTL"),
            ex @ (b"ex" | b"px" | b"exat" | b"pxat") if lifetime.is_none() && options.next().is_some() => {
                lifetime = Some(match ex {
                    b"ex" => "EX",
                    b"px" => "PX",
                    b"exat" => "EXAT",
                    _ => "PXAT",
                });
            }
            _ => return Err(Reply::error(SYNTAX)),
        }
    }
    if let Some(option) = lifetime.filter(|option| *option != "KEEPTTL") {
        return Err(Reply::error(format!("{option} is not supported: keys of this store do not expire")));
    }
    let render = if tell { Render::Value } else { Render::OkOrNull };
    Query::one(BatchedCommand::Set { key: Bytes::from(key), value: Bytes::from(value), when, tell }, render)
}

fn mset(arguments: &[Vec<u8>]) -> Asked {
    let (pairs, rest) = arguments.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Reply::error("wrong number of arguments for 'mset' command"));
    }
    let put = |[key, value]: &[Vec<u8>; 2]| BatchedCommand::Put(Bytes::from(key), Bytes::from(value));
    Query::new(pairs.iter().map(put).collect(), Render::Ok)
}

fn increment(down: bool, key: Bytes, arguments: &[Vec<u8>]) -> Asked {
    let by = arguments.get(1).and_then(|by| number(by)).ok_or_else(|| Reply::error(NOT_AN_INTEGER))?;
    let by =
        if down { by.checked_neg().ok_or_else(|| Reply::error("decrement would overflow"))? } else { by };
    Query::one(BatchedCommand::Increment(key, by), Render::Number)
}

/// What C takes for a number without a sign: with one it wraps, and nothing is 0.
fn number_of_cursor(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    match text.strip_prefix('-') {
        _ if text.is_empty() => Some(0),
        Some(digits) if digits.starts_with(|digit: char| digit.is_ascii_digit()) => {
            digits.parse().ok().map(u64::wrapping_neg)
        }
        Some(_) => None,
        None => text.parse().ok(),
    }
}

fn scan(arguments: &[Vec<u8>], cursors: &Cursors) -> Asked {
    let cursor = arguments.first().and_then(|cursor| number_of_cursor(cursor));
    let Some(cursor) = cursor else { return Err(Reply::error("invalid cursor")) };
    let (mut count, mut matching, mut others) = (PAGE_COUNT, None, false);
    for option in arguments[1..].chunks(2) {
        let [option, value] = option else { return Err(Reply::error(SYNTAX)) };
        match option.to_ascii_lowercase().as_slice() {
            b"count" => {
                let asked = number(value).ok_or_else(|| Reply::error(NOT_AN_INTEGER))?;
                if asked < 1 {
                    return Err(Reply::error(SYNTAX));
                }
                count = u32::try_from(asked).unwrap_or(u32::MAX).min(MAX_PAGE_COUNT);
            }
            b"match" => matching = pattern(&Bytes::from(value)),
            b"type" => others = !value.eq_ignore_ascii_case(b"string"),
            _ => return Err(Reply::error(SYNTAX)),
        }
    }
    let after = match cursor {
        0 => None,
        cursor => Some(cursors.find(cursor).cloned().ok_or_else(|| {
            let why = "this gateway has not given it out, or thousands since: begin with 0";
            Reply::error(format!("invalid cursor: {why}"))
        })?),
    };
    if others {
        // All keys hold strings.
        let nothing = vec![Reply::text("0"), Reply::Array(vec![])];
        return Ok(Query::fixed(Reply::Array(nothing)));
    }
    Query::one(BatchedCommand::Page { after, pattern: matching, count }, Render::Page)
}
