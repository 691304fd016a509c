//! The cluster file that a new user begins with.

use super::{Cluster, RolesOf, Sizes, visit};
use crate::error::Error;
use std::fmt::Write;

const EXAMPLE: &str = r#"# A Parthood cluster. Every node and every client reads the same file; paths are relative to it.

# The protocol: multipaxos, compartmentalized, mencius, spaxos, craq, bpaxos, unanimous_bpaxos, epaxos, paxos,
# matchmaker_paxos, matchmaker_fast_paxos, matchmaker_multipaxos, horizontal or unreplicated.
protocol = "{protocol}"

# Tells clusters apart that share a network.
id = 1

# The secret of the cluster: whoever holds it is a member. Readable by its owner only; `parthood key FILE` writes one.
key_file = "cluster.key"

# Another secret that is accepted but not sent, to change the key without a pause: give all processes the new one here, one after
# the other; then exchange the two, one after the other; then take the old one away.
# accepted_key_file = "other.key"

# Where nodes keep what they save, one folder for each. Without it they forget everything when they stop.
data = "data"

{leaders}{scheme}# By which quorums the nodes decide; majorities if nothing is said. Names of nodes, + for or, * for and, choose(2, a, b, c).
# If only reads or only writes are given, the other side is what meets them. Several [[quorums]] share the log by slots.
# [[quorums]]
# reads = "a*b + c"
{strategy}{stores}
# Waiting times in milliseconds: they matter for speed, never for safety.
# [times]
# election_ms = [300, 600]   # a node that hears no leader for a random time within stands for election
# ping_ms = 50               # how often a leader says that it leads
# resend_ms = 50             # when what was not answered is sent again
# catch_up_ms = 20           # when what is missing is asked for
# batch_ms = 1               # when a batcher sends a batch that is not full
# retry_ms = [100, 200]      # when a client asks the next node

# Nothing is unbounded.
# [limits]
{limits}
# The nodes: IPv4 or IPv6. Nodes with the same address run in the same process.
"#;

/// What follows the quorum systems where one quorum is contacted at a time.
const STRATEGY: &str = r#"# Quorums take turns if it is said which and how often; otherwise all nodes that vote are asked. `parthood quorums optimize
# --deploy FILE` writes the best shares.
# read_strategy = [{ nodes = ["a", "b"], share = 0.5 }, { nodes = ["c"], share = 0.5 }]
# write_strategy = [{ nodes = ["a", "c"], share = 0.5 }, { nodes = ["b", "c"], share = 0.5 }]
"#;

/// What follows where some nodes keep what is not executed yet.
const STORES: &str = r#"
# The same for the nodes with the role `{keepers}`: by which quorums they keep what is not executed yet. Several [[stores]] are
# dealt what there is to keep in turn.
# [[stores]]
# writes = "choose(2, d, e, f)"
"#;
/// What comes before them where leaders share the log.
const LEADERS: &str = r"# In how many groups the leaders share the log, slot by slot. Leaders, [[quorums]] and, without these, the nodes that vote
# are dealt to them in turn: leader k, quorum system k and acceptor k serve group k modulo the number of groups.
leader_groups = {groups}

";

/// What comes before them where nodes can be exchanged.
const CHANGED: &str = r#"# Which nodes are to take the place of others. Nodes that are started again with the changed file, one after the other, see to
# it; `parthood reconfigure` without names says when the old ones may be shut down. New nodes come at the end of the file, and
# old ones stay in it, so that nobody's number changes. Count up with every change.
# [reconfiguration]
# generation = 1
# acceptors = ["acceptor-b", "acceptor-c", "acceptor-d"]
# unanimous_writes = false   # true: all of them must vote, so that one more than may fail are enough
# matchmakers = ["matchmaker-b", "matchmaker-c", "matchmaker-d"]

"#;

/// What comes before the quorum systems where there may be read batchers.
const SCHEME: &str = r#"# How read batchers make batches of linearizable reads: by size and time, or "adaptive": while the one before is under way.
# read_scheme = "timed"

"#;

impl Cluster {
    /// A file that describes `hosts` processes on loopback with a node of each role that must be there, and of each leader
    /// group, every setting explained.
    ///
    /// # Errors
    /// When there is no such protocol.
    pub fn example(protocol: &str, hosts: u16, first_port: u16) -> Result<String, Error> {
        let roles = visit(protocol, RolesOf)?;
        let strategy = if roles.thrifty { STRATEGY } else { "" };
        let scheme = if roles.optional.contains(&"read_batcher") { SCHEME } else { "" };
        let stores = roles.keepers.map_or(String::new(), |keepers| STORES.replace("{keepers}", keepers));
        let changed = if roles.added.is_empty() { "" } else { CHANGED };
        let shares = roles.leader_groups > 1;
        let leaders = if shares {
            LEADERS.replace("{groups}", &roles.leader_groups.to_string())
        } else {
            String::new()
        };
        let mut text = EXAMPLE
            .replace("{protocol}", protocol)
            .replace("{leaders}", &leaders)
            .replace("{scheme}", &[changed, scheme].concat())
            .replace("{strategy}", strategy)
            .replace("{stores}", &stores)
            .replace("{limits}", &limits(roles.sizes));
        if !roles.optional.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# Roles that may be left out: {}.", roles.optional.join(", "));
        }
        for host in 0..hosts {
            let letter = char::from(b'a' + u8::try_from(host % 26).unwrap_or_default());
            let port = first_port.saturating_add(host);
            for role in roles.needed() {
                let (name, line) = match roles.needed().count() {
                    1 => (letter.to_string(), String::new()),
                    _ => (format!("{role}-{letter}"), format!("role = \"{role}\"\n")),
                };
                // A member of each leader group.
                let dealt = shares && (role == "leader" || roles.voters == Some(role));
                for number in 0..if dealt { roles.leader_groups } else { 1 } {
                    let number = if dealt { number.to_string() } else { String::new() };
                    // Writing to a string cannot fail.
                    let _ = write!(
                        text,
                        "\n[[node]]\nname = \"{name}{number}\"\n{line}address = \"127.0.0.1:{port}\"\n"
                    );
                }
            }
        }
        Ok(text)
    }
}

fn limits(mut sizes: Sizes) -> String {
    let mut text = String::new();
    for (key, meaning, value) in sizes.fields() {
        let setting = format!("{key} = {value}");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# {setting:<26} # {meaning}");
    }
    text
}
