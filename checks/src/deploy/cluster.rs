//! The cluster file: who is a member, where, and by which quorums the members decide.

use super::{Deployable, Visit, visit};
use crate::error::Error;
use crate::settings::{self, Fields, Placed, Problems};
use parthood_protocols::multipaxos::{Limits, Timing};
use parthood_quorums::NodeSet;
use parthood_runtime::udp::AddressBook;
use parthood_runtime::wire::Key;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod example;
mod group;

pub use group::Group;

/// Where the cluster file is looked for, and where `run --all` puts one if there is none.
pub const DEFAULT_CLUSTER_FILE: &str = "cluster/cluster.toml";

/// A cluster, as its file describes it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The protocol.
    pub protocol: String,
    /// Tells clusters apart that share a network.
    pub id: u64,
    /// The file of the secret that all its processes share.
    pub key_file: PathBuf,
    /// The folder of its saves; none keeps them in memory only.
    pub data: Option<PathBuf>,
    /// The nodes, by index: ordered by role, and as in the file within a role.
    pub members: Vec<Member>,
    /// The quorum systems; slot `s` belongs to number `s` modulo their number.
    pub groups: Vec<Group>,
    /// How long to wait for what.
    pub times: Times,
    /// What is bounded, and where.
    pub sizes: Sizes,
    /// The file as it was read.
    pub text: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// What it does.
    pub role: &'static str,
    /// Where it listens. Nodes with one address live in one process.
    pub address: SocketAddr,
}

/// Durations, in milliseconds. They matter for speed and liveness only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_field_names, reason = "the names in the file, with their unit")]
pub struct Times {
    election_ms: (u64, u64),
    ping_ms: u64,
    resend_ms: u64,
    catch_up_ms: u64,
    retry_ms: (u64, u64),
}

/// Limits of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    window_slots: usize,
    batch_commands: usize,
    waiting_commands: usize,
    /// The most lanes of all clients together.
    pub lanes: usize,
    snapshot_slots: u64,
    retained_slots: u64,
}

impl Default for Times {
    fn default() -> Self {
        let Timing { election, ping, resend, catch_up } = Timing::default();
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            election_ms: (millis(election.start), millis(election.end)),
            ping_ms: millis(ping),
            resend_ms: millis(resend),
            catch_up_ms: millis(catch_up),
            retry_ms: (100, 200),
        }
    }
}

impl Default for Sizes {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            window_slots: limits.window_slots,
            batch_commands: limits.batch_commands,
            waiting_commands: limits.waiting_commands,
            lanes: limits.lanes,
            snapshot_slots: limits.snapshot_slots,
            retained_slots: limits.retained_slots,
        }
    }
}

impl Times {
    pub(super) fn timing(self) -> Timing {
        Timing {
            election: range(self.election_ms),
            ping: Duration::from_millis(self.ping_ms),
            resend: Duration::from_millis(self.resend_ms),
            catch_up: Duration::from_millis(self.catch_up_ms),
        }
    }

    pub(super) fn retry(self) -> Range<Duration> {
        range(self.retry_ms)
    }

    /// A random time, so that two who overtake one another do not do so for ever.
    pub(super) fn resend(self) -> Range<Duration> {
        range((self.resend_ms, self.resend_ms.saturating_mul(2)))
    }
}

fn range((from, to): (u64, u64)) -> Range<Duration> {
    Duration::from_millis(from)..Duration::from_millis(to)
}

impl Sizes {
    pub(super) fn limits(self) -> Limits {
        Limits {
            window_slots: self.window_slots,
            batch_commands: self.batch_commands,
            waiting_commands: self.waiting_commands,
            lanes: self.lanes,
            snapshot_slots: self.snapshot_slots,
            retained_slots: self.retained_slots,
            ..Limits::default()
        }
    }
}

impl Cluster {
    /// Reads a cluster file.
    ///
    /// # Errors
    /// When it cannot be read, or all its mistakes.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(file).map_err(Error::file("read the cluster file", file))?;
        Self::read(file, &text)
    }

    /// Reads a cluster file from its text; paths in it are relative to the file.
    ///
    /// # Errors
    /// All its mistakes.
    pub fn read(file: &Path, text: &str) -> Result<Self, Error> {
        let cluster = settings::read(file, text, |top, problems| cluster(file, top, problems))?;
        let cluster =
            cluster.ok_or_else(|| Error::Usage(format!("{} is not a cluster file", file.display())))?;
        Ok(Self { text: text.to_owned(), ..cluster })
    }

    /// The nodes as a reader of a drawing would call them: by role and number.
    pub fn titles(&self) -> impl Iterator<Item = String> {
        let mut counts = BTreeMap::new();
        self.members.iter().map(move |member| {
            let count: &mut usize = counts.entry(member.role).or_default();
            *count += 1;
            format!("{} {}", member.role, *count - 1)
        })
    }

    /// How many nodes have this role.
    pub fn count(&self, role: &str) -> usize {
        self.members.iter().filter(|member| member.role == role).count()
    }

    /// The index of a node.
    ///
    /// # Errors
    /// When no node has this name.
    pub fn index(&self, name: &str) -> Result<usize, Error> {
        let found = self.members.iter().position(|member| member.name == name);
        found.ok_or_else(|| {
            Error::unknown("node", name, self.members.iter().map(|member| member.name.as_str()))
        })
    }

    /// The key of its key file.
    ///
    /// # Errors
    /// When the file is missing, readable by others, or holds no key.
    pub fn key(&self) -> Result<Key, Error> {
        if !self.key_file.exists() {
            let file = self.key_file.display();
            return Err(Error::Environment(format!(
                "the key file {file} is missing: copy it from another node of the cluster, or write a new one with `parthood key {file}`"
            )));
        }
        Ok(Key::load(&self.key_file)?)
    }

    /// Where its nodes are.
    pub fn book(&self) -> AddressBook {
        self.members.iter().map(|member| member.address).collect()
    }
}

fn cluster(file: &Path, top: &mut Fields<'_>, problems: &mut Problems<'_>) -> Option<Cluster> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let protocol = top.required::<String>("protocol", problems);
    let roles = protocol.as_ref().and_then(|Placed { value, place }| {
        visit(value, RolesOf).map_err(|error| problems.note(place, error.to_string())).ok()
    });
    let id = top.optional::<u64>("id", problems);
    let key_file = top.required::<PathBuf>("key_file", problems);
    let data = top.optional::<PathBuf>("data", problems);
    let members = members(top, roles, problems);
    let groups = group::groups(top, &members, roles, problems);
    let times = times(top, problems);
    let sizes = sizes(top, problems);
    Some(Cluster {
        protocol: protocol?.value,
        id: id.map_or(0, |id| id.value),
        key_file: folder.join(key_file?.value),
        data: data.map(|data| folder.join(data.value)),
        members,
        groups,
        times,
        sizes,
        text: String::new(),
    })
}

/// The roles of a protocol's nodes.
#[derive(Clone, Copy)]
struct Roles {
    all: &'static [&'static str],
    voters: Option<&'static str>,
    /// Does it contact one quorum where one is enough?
    thrifty: bool,
}

struct RolesOf;

impl Visit for RolesOf {
    type Output = Roles;

    fn visit<D: Deployable>(self) -> Roles {
        Roles { all: D::ROLES, voters: D::VOTERS, thrifty: D::THRIFTY }
    }
}

/// The role that a node names; a protocol with one role needs no name for it.
fn role(
    named: Option<&Placed<String>>,
    node: &Range<usize>,
    roles: Option<Roles>,
    problems: &mut Problems<'_>,
) -> Option<&'static str> {
    let all = roles?.all;
    let Some(Placed { value, place }) = named else {
        if all.len() > 1 {
            problems.note(node, format!("`role` is missing; it is one of {}", all.join(", ")));
        }
        return all.first().copied();
    };
    let found = all.iter().find(|role| *role == value);
    if found.is_none() {
        problems.note(place, Error::unknown("role", value, all.iter().copied()).to_string());
    }
    found.copied()
}

fn members(top: &mut Fields<'_>, roles: Option<Roles>, problems: &mut Problems<'_>) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    let tables = top.tables("node", problems);
    if tables.is_empty() {
        problems.note(&top.place(), "a cluster needs a node: begin it with [[node]]");
    }
    if tables.len() > NodeSet::CAPACITY {
        problems.note(&top.place(), format!("a cluster has at most {} nodes", NodeSet::CAPACITY));
    }
    for mut table in tables {
        let name = table.required::<String>("name", problems);
        let address = table.required::<String>("address", problems);
        let named = table.optional::<String>("role", problems);
        let role = role(named.as_ref(), &table.place(), roles, problems);
        table.finish(problems);
        if let Some(Placed { value, place }) = &name {
            if members.iter().any(|member| member.name == *value) {
                problems.note(place, format!("a second node with the name `{value}`"));
            }
            if value.is_empty() || value.contains(['/', '\\', '\0']) {
                problems.note(place, "a name is not empty and holds no slash: it names a folder");
            }
        }
        let address = address.and_then(|Placed { value, place }| {
            let parsed = value.parse::<SocketAddr>();
            let hint = "is no address: write IP:PORT, as 127.0.0.1:7001 or [::1]:7001";
            parsed.map_err(|_| problems.note(&place, format!("`{value}` {hint}"))).ok()
        });
        members.push(Member {
            name: name.map(|name| name.value).unwrap_or_default(),
            role: role.unwrap_or_default(),
            address: address.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))),
        });
    }
    let all = roles.map_or(&[] as &[_], |roles| roles.all);
    for role in all.iter().filter(|_| !members.is_empty()) {
        if !members.iter().any(|member| member.role == *role || member.role.is_empty()) {
            problems.note(&top.place(), format!("a cluster needs a node with the role `{role}`"));
        }
    }
    members.sort_by_key(|member| all.iter().position(|role| *role == member.role));
    members
}

fn times(top: &mut Fields<'_>, problems: &mut Problems<'_>) -> Times {
    let mut times = Times::default();
    let Some(mut table) = top.table("times", problems) else { return times };
    let mut span = |key, value: &mut (u64, u64), problems: &mut Problems<'_>| {
        let Some(Placed { value: read, place }) = table.optional::<(u64, u64)>(key, problems) else { return };
        if read.0 == 0 || read.0 >= read.1 {
            problems.note(&place, format!("`{key}` must be [from, to] with 0 < from < to"));
        }
        *value = read;
    };
    span("election_ms", &mut times.election_ms, problems);
    span("retry_ms", &mut times.retry_ms, problems);
    let mut single = |key, value: &mut u64, problems: &mut Problems<'_>| {
        let Some(Placed { value: read, place }) = table.optional::<u64>(key, problems) else { return };
        if read == 0 {
            problems.note(&place, format!("`{key}` must be at least 1"));
        }
        *value = read;
    };
    single("ping_ms", &mut times.ping_ms, problems);
    single("resend_ms", &mut times.resend_ms, problems);
    single("catch_up_ms", &mut times.catch_up_ms, problems);
    table.finish(problems);
    times
}

fn sizes(top: &mut Fields<'_>, problems: &mut Problems<'_>) -> Sizes {
    let mut sizes = Sizes::default();
    let Some(mut table) = top.table("limits", problems) else { return sizes };
    let mut counts = BTreeMap::new();
    for key in
        ["window_slots", "batch_commands", "waiting_commands", "lanes", "snapshot_slots", "retained_slots"]
    {
        let Some(Placed { value, place }) = table.optional::<u32>(key, problems) else { continue };
        if value == 0 {
            problems.note(&place, format!("`{key}` must be at least 1"));
        }
        counts.insert(key, value);
    }
    table.finish(problems);
    let count = |key: &str, default: usize| counts.get(key).map_or(default, |&value| value as usize);
    sizes.window_slots = count("window_slots", sizes.window_slots);
    sizes.batch_commands = count("batch_commands", sizes.batch_commands);
    sizes.waiting_commands = count("waiting_commands", sizes.waiting_commands);
    sizes.lanes = count("lanes", sizes.lanes);
    sizes.snapshot_slots = counts.get("snapshot_slots").map_or(sizes.snapshot_slots, |&value| value.into());
    sizes.retained_slots = counts.get("retained_slots").map_or(sizes.retained_slots, |&value| value.into());
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let Err(Error::Settings { problems, .. }) = Cluster::read(Path::new("c/cluster.toml"), text) else {
            panic!("there are mistakes in {text}")
        };
        problems.into_iter().map(|problem| format!("{}: {}", problem.line, problem.what)).collect()
    }

    #[test]
    fn the_example_is_a_cluster_file() {
        let cluster =
            Cluster::read(Path::new("c/cluster.toml"), &Cluster::example("multipaxos", 3, 7001).unwrap())
                .unwrap();
        assert_eq!(cluster.members[2].address.to_string(), "127.0.0.1:7003");
        assert_eq!(cluster.key_file, Path::new("c/cluster.key"));
        assert_eq!((cluster.times, cluster.sizes), (Times::default(), Sizes::default()));
    }

    #[test]
    fn what_the_example_only_mentions_is_read_and_is_the_default() {
        let text = Cluster::example("multipaxos", 3, 7001).unwrap();
        let settings = |line: &str| {
            line.starts_with("# [times]") || line.starts_with("# [limits]") || line.contains("   # ")
        };
        let lines = text.lines().map(|line| if settings(line) { &line[2..] } else { line });
        let text = lines.collect::<Vec<_>>().join("\n");
        assert!(text.contains("\nelection_ms") && text.contains("\nretained_slots"), "{text}");
        let cluster = Cluster::read(Path::new("cluster.toml"), &text).unwrap();
        assert_eq!((cluster.times, cluster.sizes), (Times::default(), Sizes::default()));
    }

    #[test]
    fn a_file_with_many_mistakes_tells_them_all() {
        let text = "protocol = 'multipaxo'\nkey = 'k'\n[[node]]\nname = 'a'\naddress = 'nowhere'\n\
                    [[node]]\nname = 'a'\naddress = '[::1]:7'\n[times]\nping_ms = 0\nelection_ms = [5, 5]\n";
        let found = mistakes(text);
        assert_eq!(found.len(), 7, "{found:#?}");
        assert_eq!(found[0], "1: `key_file` is missing");
        assert!(found[1].contains("did you mean `multipaxos`?"), "{found:#?}");
        assert_eq!(found[2], "2: unknown key `key`; did you mean `key_file`?");
        assert!(found[3].starts_with("5: `nowhere` is no address"), "{found:#?}");
        assert_eq!(found[4], "7: a second node with the name `a`");
        assert_eq!(found[5], "10: `ping_ms` must be at least 1");
        assert_eq!(found[6], "11: `election_ms` must be [from, to] with 0 < from < to");
    }

    #[test]
    fn quorums_that_do_not_meet_are_refused() {
        let nodes = "[[node]]\nname='a'\naddress='127.0.0.1:1'\n[[node]]\nname='b'\naddress='127.0.0.1:2'\n";
        let text =
            format!("protocol='multipaxos'\nkey_file='k'\n[[quorums]]\nreads='a'\nwrites='b'\n{nodes}");
        let found = mistakes(&text);
        assert!(found.len() == 1 && found[0].starts_with("4: "), "{found:#?}");
    }
}
