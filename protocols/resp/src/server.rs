//! What is answered without the store: about the connection and the gateway.

use crate::command::{NOT_AN_INTEGER, SYNTAX};
use crate::connection::{Connection, Context};
use crate::reply::{Protocol, Reply};
use crate::request::number;
use crate::table::{self, Entry};
use parthood_protocols::state_machine::matches;

/// The version of Redis whose words are spoken.
const VERSION: &str = "7.0.0";
/// What `CONFIG GET` knows.
const SETTINGS: [(&str, &str); 4] =
    [("appendonly", "no"), ("databases", "1"), ("maxmemory", "0"), ("save", "")];

/// The reply to a command that does not ask the store.
pub(crate) fn reply(
    connection: &mut Connection,
    name: &str,
    arguments: &[Vec<u8>],
    context: &Context<'_>,
) -> Reply {
    match (name, arguments) {
        ("ping", []) => Reply::Simple("PONG"),
        ("ping" | "echo", [text]) => Reply::text(text),
        ("ping", _) => Reply::error("wrong number of arguments for 'ping' command"),
        ("select", [index]) => match number(index) {
            Some(0) => Reply::OK,
            Some(index) if i32::try_from(index).is_ok() => Reply::error("DB index is out of range"),
            Some(_) => Reply::error("value is out of range, value must between -2147483648 and 2147483647"),
            None => Reply::error(NOT_AN_INTEGER),
        },
        ("client|id", _) => Reply::Integer(i64::try_from(connection.id).unwrap_or(i64::MAX)),
        ("client|getname", _) if connection.name.is_empty() => Reply::Null,
        ("client|getname", _) => Reply::text(&connection.name),
        ("client|setname", [_, new]) => match self::name(new) {
            Ok(new) => {
                connection.name = new;
                Reply::OK
            }
            Err(refusal) => refusal,
        },
        ("client|setinfo" | "unwatch", _) => Reply::OK,
        ("command", _) => Reply::Array(table::commands().map(Entry::info).collect()),
        ("command|count", _) => Reply::Integer(i64::try_from(table::commands().count()).unwrap_or(i64::MAX)),
        ("command|list", _) => Reply::Array(table::commands().map(|entry| Reply::text(entry.name)).collect()),
        ("command|info", [_, names @ ..]) => info(names),
        ("command|docs", [_, names @ ..]) => docs(names),
        ("config|get", [_, patterns @ ..]) => settings(patterns),
        ("info", _) => Reply::Text(about(connection, context)),
        ("parthood|reads", [_, rest @ ..]) => reads(connection, rest, context),
        ("readonly" | "readwrite", _) => Reply::error("This instance has cluster support disabled"),
        _ => Reply::error(SYNTAX),
    }
}

/// A name for a connection.
pub(crate) fn name(name: &[u8]) -> Result<Vec<u8>, Reply> {
    const MAX_NAME_BYTES: usize = 256;
    if !name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Err(Reply::error("Client names cannot contain spaces, newlines or special characters."));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(Reply::error(format!("a client's name may have {MAX_NAME_BYTES} bytes")));
    }
    Ok(name.to_vec())
}

/// What `HELLO` answers.
pub(crate) fn greeting(connection: &Connection) -> Reply {
    let version = if connection.protocol == Protocol::Resp3 { 3 } else { 2 };
    let id = i64::try_from(connection.id).unwrap_or(i64::MAX);
    let pairs = [
        ("server", Reply::text("redis")),
        ("version", Reply::text(VERSION)),
        ("proto", Reply::Integer(version)),
        ("id", Reply::Integer(id)),
        ("mode", Reply::text("standalone")),
        ("role", Reply::text("master")),
        ("modules", Reply::Array(vec![])),
    ];
    Reply::Map(pairs.map(|(name, value)| (Reply::text(name), value)).into())
}

fn about(connection: &Connection, context: &Context<'_>) -> String {
    let reads = context.reads.get(connection.reads).copied().unwrap_or_default();
    let gateway = (context.info)();
    format!(
        "# Server\r\nredis_version:{VERSION}\r\nredis_mode:standalone\r\n\r\n# Parthood\r\nreads:{reads}\r\n{gateway}"
    )
}

fn reads(connection: &mut Connection, how: &[Vec<u8>], context: &Context<'_>) -> Reply {
    match how {
        [] => Reply::text(context.reads.get(connection.reads).copied().unwrap_or_default()),
        [how] => {
            let is_meant = |known: &&str| how.eq_ignore_ascii_case(known.as_bytes());
            match context.reads.iter().position(is_meant) {
                Some(index) => {
                    connection.reads = index;
                    Reply::OK
                }
                None => Reply::error(format!("reads of this cluster are: {}", context.reads.join(", "))),
            }
        }
        _ => Reply::error(SYNTAX),
    }
}

fn entry(name: &[u8]) -> Option<&'static Entry> {
    table::find(name)
}

fn info(names: &[Vec<u8>]) -> Reply {
    if names.is_empty() {
        return Reply::Array(table::commands().map(Entry::info).collect());
    }
    Reply::Array(names.iter().map(|name| entry(name).map_or(Reply::NullArray, Entry::info)).collect())
}

fn docs(names: &[Vec<u8>]) -> Reply {
    if names.is_empty() {
        return Reply::Map(table::commands().map(Entry::docs).collect());
    }
    Reply::Map(names.iter().filter_map(|name| entry(name)).map(Entry::docs).collect())
}

fn settings(patterns: &[Vec<u8>]) -> Reply {
    let is_meant =
        |name: &str| patterns.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), name.as_bytes()));
    let known = SETTINGS.iter().filter(|(name, _)| is_meant(name));
    Reply::Map(known.map(|(name, value)| (Reply::text(name), Reply::text(value))).collect())
}
