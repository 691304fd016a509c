//! The commands that are known, as `COMMAND` tells them.

use crate::reply::Reply;

/// A command, or one of those that come behind a common word, as `client|id`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// How many words it has; at least so many if negative.
    pub(crate) arity: i64,
    pub(crate) kind: Kind,
    pub(crate) summary: &'static str,
}

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It writes, and its keys are: its first argument, all arguments, or every other one.
    Writes(Keys),
    /// It only reads.
    Reads(Keys),
    /// It is about the connection or the server.
    Local,
    /// A word in front of others.
    Group,
}

/// Which arguments are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    None,
    First,
    All,
    EveryOther,
}

const fn entry(name: &'static str, arity: i64, kind: Kind, summary: &'static str) -> Entry {
    Entry { name, arity, kind, summary }
}

use Keys::{All, EveryOther, First};
use Kind::{Group, Local, Reads, Writes};

pub(crate) const COMMANDS: &[Entry] = &[
    entry("append", 3, Writes(First), "Adds to the end of a value, and tells its length."),
    entry("auth", -2, Local, "Says the password."),
    entry("cas", 4, Writes(First), "CAS key old new: sets the key to new if it holds old; 1 if so, else 0."),
    entry("client", -2, Group, "About this connection."),
    entry("client|getname", 2, Local, "Tells the connection's name."),
    entry("client|id", 2, Local, "Tells the connection's number."),
    entry("client|setinfo", 4, Local, "Takes the name of a library, and forgets it."),
    entry("client|setname", 3, Local, "Names the connection."),
    entry("command", -1, Local, "Tells what commands there are."),
    entry("command|count", 2, Local, "Tells how many commands there are."),
    entry("command|docs", -2, Local, "Tells what commands do."),
    entry("command|info", -2, Local, "Tells about commands."),
    entry("command|list", -2, Local, "Tells the names of commands."),
    entry("config", -2, Group, "About settings."),
    entry("config|get", -3, Local, "Tells settings."),
    entry("dbsize", 1, Reads(Keys::None), "Tells how many keys there are."),
    entry("decr", 2, Writes(First), "Takes one from the number that a key holds."),
    entry("decrby", 3, Writes(First), "Takes from the number that a key holds."),
    entry("del", -2, Writes(All), "Removes keys, and tells how many there were."),
    entry("discard", 1, Local, "Forgets what was queued."),
    entry("echo", 2, Local, "Says what it is told."),
    entry("exec", 1, Local, "Does what was queued, at one moment."),
    entry("exists", -2, Reads(All), "Tells how many of the keys there are."),
    entry("get", 2, Reads(First), "Tells the value of a key."),
    entry("getdel", 2, Writes(First), "Removes a key, and tells the value it had."),
    entry("getset", 3, Writes(First), "Sets a key, and tells the value it had."),
    entry("hello", -1, Local, "Chooses the version of the protocol."),
    entry("incr", 2, Writes(First), "Adds one to the number that a key holds."),
    entry("incrby", 3, Writes(First), "Adds to the number that a key holds."),
    entry("info", -1, Local, "Tells about the gateway."),
    entry("keys", 2, Reads(Keys::None), "Tells the keys that match a pattern, if that is not much."),
    entry("mget", -2, Reads(All), "Tells the values of keys, of one moment."),
    entry("mset", -3, Writes(EveryOther), "Sets keys, at one moment."),
    entry("multi", 1, Local, "Queues what follows, up to EXEC."),
    entry("parthood", -2, Group, "What Redis has not."),
    entry(
        "parthood|reads",
        -2,
        Local,
        "PARTHOOD READS [how]: what reads of this connection promise; tells it if nothing follows.",
    ),
    entry("ping", -1, Local, "Answers."),
    entry("pttl", 2, Reads(First), "-1 for a key, as none expires, and -2 for none."),
    entry("quit", -1, Local, "Ends the connection."),
    entry("readonly", 1, Local, "Refused: for clusters of Redis."),
    entry("readwrite", 1, Local, "Refused: for clusters of Redis."),
    entry("reset", 1, Local, "Makes the connection as it was when it began."),
    entry("scan", -2, Reads(Keys::None), "Tells some keys, and where to go on."),
    entry("select", 2, Local, "Chooses database 0."),
    entry("set", -3, Writes(First), "Sets a key; NX, XX, GET and KEEPTTL are known."),
    entry("setnx", 3, Writes(First), "Sets a key if it has no value."),
    entry("strlen", 2, Reads(First), "Tells the length of a value."),
    entry("ttl", 2, Reads(First), "-1 for a key, as none expires, and -2 for none."),
    entry("type", 2, Reads(First), "Tells that a key holds a string, or nothing."),
    entry("unlink", -2, Writes(All), "Removes keys, and tells how many there were."),
    entry("unwatch", 1, Local, "Does nothing, as nothing is watched."),
    entry("watch", -2, Local, "Refused: use CAS."),
];

/// The commands with names of one word.
pub(crate) fn commands() -> impl Iterator<Item = &'static Entry> {
    COMMANDS.iter().filter(|entry| !entry.name.contains('|'))
}

/// The command of this name, in letters of either case.
pub(crate) fn find(name: &[u8]) -> Option<&'static Entry> {
    let lower = || name.iter().map(u8::to_ascii_lowercase);
    COMMANDS.binary_search_by(|entry| entry.name.bytes().cmp(lower())).ok().map(|index| &COMMANDS[index])
}

/// What may follow a common word.
fn behind(entry: &Entry) -> impl Iterator<Item = &'static Entry> {
    let name = entry.name;
    COMMANDS
        .iter()
        .filter(move |other| other.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('|')))
}

impl Entry {
    /// Has it as many words as it must?
    pub(crate) fn takes(&self, words: usize) -> bool {
        let words = i64::try_from(words).unwrap_or(i64::MAX);
        if self.arity < 0 { words >= -self.arity } else { words == self.arity }
    }

    /// Does anything follow a common word?
    pub(crate) fn is_group(&self) -> bool {
        matches!(self.kind, Local | Group) && behind(self).next().is_some()
    }

    /// As `COMMAND` tells it.
    pub(crate) fn info(&self) -> Reply {
        let (flag, keys) = match self.kind {
            Writes(keys) => (Some("write"), keys),
            Reads(keys) => (Some("readonly"), keys),
            Local | Group => (None, Keys::None),
        };
        let (first, last, step) = match keys {
            Keys::None => (0, 0, 0),
            First => (1, 1, 1),
            All => (1, -1, 1),
            EveryOther => (1, -1, 2),
        };
        let nothing = || Reply::Array(vec![]);
        Reply::Array(vec![
            Reply::text(self.name),
            Reply::Integer(self.arity),
            Reply::Set(flag.into_iter().map(Reply::Simple).collect()),
            Reply::Integer(first),
            Reply::Integer(last),
            Reply::Integer(step),
            Reply::Set(vec![]),
            nothing(),
            nothing(),
            Reply::Array(behind(self).map(Self::info).collect()),
        ])
    }

    /// As `COMMAND DOCS` tells it.
    pub(crate) fn docs(&self) -> (Reply, Reply) {
        let group = match self.kind {
            Writes(_) | Reads(_) => "string",
            Local | Group => "connection",
        };
        let mut docs: Vec<_> = [("summary", self.summary), ("since", "1.0.0"), ("group", group)]
            .map(|(name, text)| (Reply::text(name), Reply::text(text)))
            .into();
        let parts: Vec<_> = behind(self).map(Self::docs).collect();
        if !parts.is_empty() {
            docs.push((Reply::text("subcommands"), Reply::Map(parts)));
        }
        (Reply::text(self.name), Reply::Map(docs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_found() {
        assert!(COMMANDS.is_sorted_by(|one, other| one.name < other.name));
        assert!(
            COMMANDS
                .iter()
                .all(|entry| find(entry.name.as_bytes()).is_some_and(|found| found.name == entry.name))
        );
        assert_eq!(behind(find(b"CLIENT").unwrap()).count(), 4);
    }
}
