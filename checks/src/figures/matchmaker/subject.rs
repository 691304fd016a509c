//! The systems that are compared, and what can be seen of them.

use crate::deploy::{
    Cluster, Deployable, Horizontal, MatchmakerMultiPaxos, MsgOf, Reconfigures, Replicates, StateOf,
};
use crate::error::Error;
use parthood_protocols::matchmaking::Said;
use parthood_protocols::{horizontal, matchmaker_multipaxos as matchmaker};
use std::fmt::Write as _;
use std::path::Path;

/// Acceptors, and matchmakers, in use and in reserve.
pub(super) const POOL: usize = 6;
/// Servers, and acceptors or matchmakers at work at a time.
pub(super) const WORKING: usize = 3;

/// A system whose acceptors can be exchanged.
pub(super) trait Subject: Reconfigures + Replicates {
    /// Does it tell that something is chosen?
    fn tells_chosen(msg: &MsgOf<Self>) -> bool;

    /// For a vote that reaches a server: the number of the configuration that it counts for.
    fn counts_for(msg: &MsgOf<Self>, server: &StateOf<Self>) -> Option<u64>;

    /// How many configurations a matchmaker returns with this.
    fn returned(_: &MsgOf<Self>) -> Option<usize> {
        None
    }
}

impl Subject for MatchmakerMultiPaxos {
    fn tells_chosen(msg: &MsgOf<Self>) -> bool {
        matches!(msg, matchmaker::Msg::Chosen { .. })
    }

    fn counts_for(msg: &MsgOf<Self>, server: &StateOf<Self>) -> Option<u64> {
        let (matchmaker::Msg::Phase2b { round, .. }, matchmaker::State::Server(server)) = (msg, server)
        else {
            return None;
        };
        let leading = server.leading.as_ref().filter(|leading| leading.round == *round)?;
        Some(leading.announced.version)
    }

    fn returned(msg: &MsgOf<Self>) -> Option<usize> {
        match msg {
            matchmaker::Msg::Said(Said::MatchB { earlier, .. }) => Some(earlier.len()),
            _ => None,
        }
    }
}

impl Subject for Horizontal {
    fn tells_chosen(msg: &MsgOf<Self>) -> bool {
        matches!(msg, horizontal::Msg::Chosen { .. })
    }

    fn counts_for(msg: &MsgOf<Self>, server: &StateOf<Self>) -> Option<u64> {
        let (horizontal::Msg::Phase2b { slot, .. }, horizontal::State::Server(server)) = (msg, server) else {
            return None;
        };
        server.replica.machine.governing(*slot).map(|governing| governing.number)
    }
}

/// How a cluster is set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    /// How long a second of the experiment takes, in milliseconds.
    pub(super) second_ms: u64,
    /// Slots that a leader has outstanding: for a horizontal log, its window.
    pub(super) window: usize,
    /// When what was not answered is sent again.
    pub(super) resend_ms: u64,
}

/// The cluster file: three servers, and pools of the other roles. `port` is that of a node by its name.
///
/// # Errors
/// When it is none.
pub(super) fn cluster<D: Deployable>(
    file: &Path,
    setup: Setup,
    port: impl Fn(&str) -> u16,
) -> Result<Cluster, Error> {
    let Setup { second_ms, window, resend_ms } = setup;
    // A leader is missed after four to five seconds, as in the paper.
    let (election, ping) = ([4 * second_ms, 5 * second_ms], (second_ms / 20).max(1));
    let mut text = format!(
        "protocol = \"{}\"\nid = 1\nkey_file = \"cluster.key\"\n\n[times]\nelection_ms = {election:?}\nping_ms = {ping}\n\
         resend_ms = {resend_ms}\nretry_ms = [10, 20]\n\n[limits]\nwindow_slots = {window}\nbatch_commands = 1\n",
        D::NAME
    );
    for role in D::ROLES {
        let count = if *role == "server" { WORKING } else { POOL };
        for letter in ('a'..).take(count) {
            let name = format!("{role}-{letter}");
            let port = port(&name);
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "\n[[node]]\nname = \"{name}\"\nrole = \"{role}\"\naddress = \"127.0.0.1:{port}\"\n"
            );
        }
    }
    Cluster::read(file, &text)
}
