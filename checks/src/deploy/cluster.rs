//! The cluster file: who is a member, where, and by which quorums the members decide.

use super::{Deployable, Visit, visit};
use crate::error::Error;
use crate::settings::{self, Fields, Placed, Problems};
use parthood_protocols::compartmentalized::ReadScheme;
use parthood_quorums::NodeSet;
use parthood_runtime::udp::AddressBook;
use parthood_runtime::wire::{Key, Keys};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

mod agreed;
mod bounds;
mod changed;
mod example;
mod group;

pub use agreed::Terms;
pub use bounds::{Sizes, Times};
pub use changed::Changed;
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
    /// The file of a second secret that is accepted but not used, while the cluster goes over to another one.
    pub accepted_key_file: Option<PathBuf>,
    /// The folder of its saves; none keeps them in memory only.
    pub data: Option<PathBuf>,
    /// The nodes, by index: ordered by role, and as in the file within a role, or within those that may get more nodes.
    pub members: Vec<Member>,
    /// Which nodes are to take the place of others since the first cluster file, if any are.
    pub changed: Option<Changed>,
    /// In how many groups the leaders share the log.
    pub leader_groups: usize,
    /// The quorum systems; slot `s` belongs to number `s` modulo their number.
    pub groups: Vec<Group>,
    /// The quorum systems of those who keep what is not executed yet, where the protocol has such nodes; what there is to
    /// keep is dealt to them in turn.
    pub stores: Vec<Group>,
    /// How long to wait for what.
    pub times: Times,
    /// What is bounded, and where.
    pub sizes: Sizes,
    /// How read batchers make batches, where there are any.
    pub read_scheme: ReadScheme,
    /// What all nodes agree on from the first start on.
    pub terms: Terms,
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

    /// The keys of its key files.
    ///
    /// # Errors
    /// When a file is missing, readable by others, or holds no key.
    pub fn keys(&self) -> Result<Keys, Error> {
        let accepted = self.accepted_key_file.as_deref().map(key).transpose()?;
        Ok(Keys { sent: key(&self.key_file)?, accepted })
    }

    /// Where its nodes are.
    pub fn book(&self) -> AddressBook {
        self.members.iter().map(|member| member.address).collect()
    }
}

fn key(file: &Path) -> Result<Key, Error> {
    if !file.exists() {
        let file = file.display();
        return Err(Error::Environment(format!(
            "the key file {file} is missing: copy it from another node of the cluster, or write a new one with `parthood key {file}`"
        )));
    }
    Ok(Key::load(file)?)
}

fn cluster(file: &Path, top: &mut Fields<'_>, problems: &mut Problems<'_>) -> Option<Cluster> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let protocol = top.required::<String>("protocol", problems);
    let roles = protocol.as_ref().and_then(|Placed { value, place }| {
        visit(value, RolesOf).map_err(|error| problems.note(place, error.to_string())).ok()
    });
    let id = top.optional::<u64>("id", problems);
    let key_file = top.required::<PathBuf>("key_file", problems);
    let accepted_key_file = top.optional::<PathBuf>("accepted_key_file", problems);
    let data = top.optional::<PathBuf>("data", problems);
    let members = members(top, roles, problems);
    let leader_groups = leader_groups(top, &members, roles, problems);
    let groups = group::groups(top, &members, roles, leader_groups, problems);
    let stores = group::stores(top, &members, roles, problems);
    let times = bounds::times(top, problems);
    let sizes = bounds::sizes(top, roles.map_or_else(Sizes::default, |roles| roles.sizes), problems);
    let read_scheme = read_scheme(top, problems);
    let (changed, place) = changed::changed(top, problems).unzip();
    let mut cluster = Cluster {
        protocol: protocol?.value,
        id: id.map_or(0, |id| id.value),
        key_file: folder.join(key_file?.value),
        accepted_key_file: accepted_key_file.map(|file| folder.join(file.value)),
        data: data.map(|data| folder.join(data.value)),
        members,
        changed,
        leader_groups,
        groups,
        stores,
        times,
        sizes,
        read_scheme,
        terms: Terms::default(),
        text: String::new(),
    };
    cluster.terms = agreed::terms(&cluster, roles?);
    if let Some(place) = place {
        changed::check(&cluster, &place, problems);
    }
    Some(cluster)
}

/// What a cluster file must know of a protocol.
#[derive(Clone, Copy)]
struct Roles {
    required: &'static [&'static str],
    optional: &'static [&'static str],
    later: &'static [&'static str],
    added: &'static [&'static str],
    voters: Option<&'static str>,
    keepers: Option<&'static str>,
    /// Does it contact one quorum where one is enough?
    thrifty: bool,
    /// In how many groups its leaders share the log by default; one if they never do.
    leader_groups: usize,
    /// Must all nodes have one window?
    agrees_on_window: bool,
    sizes: Sizes,
}

impl Roles {
    /// All roles, in the order in which nodes are numbered.
    fn all(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.required.iter().chain(self.optional).chain(self.later).copied()
    }

    /// Where nodes of a role are numbered: roles that may get more nodes share a place.
    fn place(&self, role: &str) -> Option<usize> {
        let role = if self.added.contains(&role) { self.added.first().copied() } else { Some(role) };
        self.all().position(|one| Some(one) == role)
    }

    /// Those that must be there.
    fn needed(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.required.iter().chain(self.later).copied()
    }
}

struct RolesOf;

impl Visit for RolesOf {
    type Output = Roles;

    fn visit<D: Deployable>(self) -> Roles {
        Roles {
            required: D::ROLES,
            optional: D::OPTIONAL_ROLES,
            later: D::LATER_ROLES,
            added: D::ADDED_ROLES,
            voters: D::VOTERS,
            keepers: D::KEEPERS,
            thrifty: D::THRIFTY,
            leader_groups: D::LEADER_GROUPS,
            agrees_on_window: D::AGREES_ON_WINDOW,
            sizes: D::sizes(),
        }
    }
}

/// The role that a node names; a protocol with one role needs no name for it.
fn role(
    named: Option<&Placed<String>>,
    node: &Range<usize>,
    roles: Option<Roles>,
    problems: &mut Problems<'_>,
) -> Option<&'static str> {
    let roles = roles?;
    let all = roles.all();
    let Some(Placed { value, place }) = named else {
        if all.clone().count() > 1 {
            let all: Vec<_> = all.clone().collect();
            problems.note(node, format!("`role` is missing; it is one of {}", all.join(", ")));
        }
        return roles.required.first().copied();
    };
    let found = roles.all().find(|role| *role == value);
    if found.is_none() {
        problems.note(place, Error::unknown("role", value, all).to_string());
    }
    found
}

/// In how many groups the leaders share the log: each needs a leader and a node that votes.
fn leader_groups(
    top: &mut Fields<'_>,
    members: &[Member],
    roles: Option<Roles>,
    problems: &mut Problems<'_>,
) -> usize {
    let given = top.optional::<u32>("leader_groups", problems);
    let Some(roles) = roles else { return 1 };
    let (groups, place) = match given {
        Some(Placed { value, place }) => (usize::try_from(value).unwrap_or(usize::MAX), place),
        None => (roles.leader_groups, top.place()),
    };
    if roles.leader_groups == 1 {
        if groups != 1 {
            problems.note(&place, "the leaders of this protocol do not share the log");
        }
        return 1;
    }
    let count = |role: &str| members.iter().filter(|member| member.role == role).count();
    let least = ["leader"].into_iter().chain(roles.voters).map(count).min().unwrap_or_default();
    if groups == 0 || groups > least {
        if !members.is_empty() {
            problems.note(
                &place,
                format!("{groups} leader groups: there is at least one, and each needs a leader and a node that votes"),
            );
        }
        return 1;
    }
    groups
}

fn read_scheme(top: &mut Fields<'_>, problems: &mut Problems<'_>) -> ReadScheme {
    let Some(Placed { value, place }) = top.optional::<String>("read_scheme", problems) else {
        return ReadScheme::Timed;
    };
    match value.as_str() {
        "timed" => ReadScheme::Timed,
        "adaptive" => ReadScheme::Adaptive,
        other => {
            problems.note(&place, Error::unknown("read scheme", other, ["timed", "adaptive"]).to_string());
            ReadScheme::Timed
        }
    }
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
    let needed = roles.into_iter().flat_map(|roles| roles.needed().collect::<Vec<_>>());
    for role in needed.filter(|_| !members.is_empty()) {
        if !members.iter().any(|member| member.role == role || member.role.is_empty()) {
            problems.note(&top.place(), format!("a cluster needs a node with the role `{role}`"));
        }
    }
    members.sort_by_key(|member| roles.and_then(|roles| roles.place(member.role)));
    members
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
