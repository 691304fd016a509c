//! The cluster file that a new user begins with.

use super::{Cluster, RolesOf, visit};
use crate::error::Error;
use std::fmt::Write;

const EXAMPLE: &str = r#"# A Parthood cluster. Every node and every client reads the same file; paths are relative to it.

# The protocol: multipaxos, craq, paxos or unreplicated.
protocol = "{protocol}"

# Tells clusters apart that share a network.
id = 1

# The secret of the cluster: whoever holds it is a member. Readable by its owner only; `parthood key FILE` writes one.
key_file = "cluster.key"

# Where nodes keep what they save, one folder for each. Without it they forget everything when they stop.
data = "data"

# By which quorums the nodes decide; majorities if nothing is said. Names of nodes, + for or, * for and, choose(2, a, b, c).
# If only reads or only writes are given, the other side is what meets them. Several [[quorums]] share the log by slots.
# [[quorums]]
# reads = "a*b + c"

# Waiting times in milliseconds: they matter for speed, never for safety.
# [times]
# election_ms = [300, 600]   # a node that hears no leader for a random time within stands for election
# ping_ms = 50               # how often a leader says that it leads
# resend_ms = 50             # when what was not answered is sent again
# catch_up_ms = 20           # when what is missing is asked for
# retry_ms = [100, 200]      # when a client asks the next node

# Nothing is unbounded.
# [limits]
# window_slots = 64          # slots that a leader has outstanding; what arrives meanwhile shares the next slot
# batch_commands = 512       # commands in a slot
# waiting_commands = 65536   # commands that wait; more are answered "busy"
# lanes = 65536              # lanes of all clients together
# snapshot_slots = 65536     # slots between two snapshots
# retained_slots = 65536     # slots kept for others before a snapshot

# The nodes: IPv4 or IPv6. Nodes with the same address run in the same process.
"#;

impl Cluster {
    /// A file that describes `hosts` processes on loopback with a node of each role, every setting explained.
    ///
    /// # Errors
    /// When there is no such protocol.
    pub fn example(protocol: &str, hosts: u16, first_port: u16) -> Result<String, Error> {
        let roles = visit(protocol, RolesOf)?.all;
        let mut text = EXAMPLE.replace("{protocol}", protocol);
        for host in 0..hosts {
            let letter = char::from(b'a' + u8::try_from(host % 26).unwrap_or_default());
            let port = first_port.saturating_add(host);
            for role in roles {
                let (name, role) = match roles.len() {
                    1 => (letter.to_string(), String::new()),
                    _ => (format!("{role}-{letter}"), format!("role = \"{role}\"\n")),
                };
                // Writing to a string cannot fail.
                let _ = write!(text, "\n[[node]]\nname = \"{name}\"\n{role}address = \"127.0.0.1:{port}\"\n");
            }
        }
        Ok(text)
    }
}
