//! What all nodes of a cluster agree on from its first start to its end.
//!
//! Nodes whose cluster files differ in one of these would number one another differently, take other quorums for enough, or forget
//! other clients: replicas would diverge although each does as it is told. So all of it is part of the cluster's
//! identity, which is in every datagram and every file: nodes that disagree do not hear one another, and what was saved under other terms is
//! not taken up. Durations, limits of memory and how often a quorum is contacted may differ, and so may addresses.

use super::{Cluster, Roles};

/// What all nodes of a cluster agree on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms(Vec<Term>);

/// A term: what it is called, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    what: String,
    value: String,
}

pub(super) fn terms(cluster: &Cluster, roles: Roles) -> Terms {
    let term = |what: &str, value: String| Term { what: what.to_owned(), value };
    let mut terms = vec![
        term("protocol", cluster.protocol.clone()),
        term("id", cluster.id.to_string()),
        term("leader_groups", cluster.leader_groups.to_string()),
        term("lanes", cluster.sizes.lanes().to_string()),
    ];
    if roles.agrees_on_window {
        terms.push(term("window_slots", cluster.sizes.limits().window_slots.to_string()));
    }
    for (kind, groups) in [("quorums", &cluster.groups), ("stores", &cluster.stores)] {
        let terms_of = |(number, group): (usize, &super::Group)| {
            term(&format!("[[{kind}]] number {number}"), group.rule().to_owned())
        };
        terms.extend(groups.iter().enumerate().map(terms_of));
    }
    // Nodes of a role that may get more come after the others, so that nobody's number changes.
    let fixed = cluster.members.iter().filter(|member| !roles.added.contains(&member.role));
    let node = |(number, member): (usize, &super::Member)| {
        term(&format!("node {number}"), format!("{} {}", member.role, member.name))
    };
    terms.extend(fixed.enumerate().map(node));
    Terms(terms)
}

impl Cluster {
    /// The number by which processes and files of this cluster know one another: nodes with different terms have different ones.
    pub fn identity(&self) -> u64 {
        let mut hasher = blake3::Hasher::new_derive_key("parthood cluster terms, version 1");
        for Term { what, value } in &self.terms.0 {
            for part in [what, value] {
                hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
            }
        }
        let mut identity = [0; 8];
        hasher.finalize_xof().fill(&mut identity);
        u64::from_le_bytes(identity)
    }

    /// Whether nodes that were started with the terms of `before` can go on with these.
    ///
    /// # Errors
    /// The first term that differs.
    pub(in crate::deploy) fn agrees_with(&self, before: &Self) -> Result<(), String> {
        let other = |Terms(terms): &Terms, what: &str| {
            terms
                .iter()
                .find(|term| term.what == what)
                .map_or("nothing".to_owned(), |term| term.value.clone())
        };
        let mut all = before.terms.0.iter().chain(&self.terms.0);
        let differs = all.find(|term| other(&before.terms, &term.what) != other(&self.terms, &term.what));
        let Some(Term { what, .. }) = differs else { return Ok(()) };
        Err(format!(
            "{what} was `{}` and would be `{}`, on which all nodes agree from the first start on: change it back, or start a new cluster with data folders of its own",
            other(&before.terms, what),
            other(&self.terms, what)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn cluster(change: impl Fn(String) -> String) -> Cluster {
        let text = change(Cluster::example("multipaxos", 3, 7001).unwrap());
        Cluster::read(Path::new("c/cluster.toml"), &text).unwrap()
    }

    #[test]
    fn who_numbers_counts_or_forgets_otherwise_is_of_another_cluster() {
        let before = cluster(|text| text);
        let quorums = "\n[[quorums]]\nreads = 'a'\nwrites = 'a * b * c'\n";
        for (change, what) in [
            ("protocol", "protocol was `multipaxos` and would be `mencius`"),
            ("id", "id was `1` and would be `2`"),
            ("order", "node 0 was `server a` and would be `server b`"),
            ("quorums", "[[quorums]] number 0 was `majority` and would be `reads a, writes a * b * c`"),
            ("lanes", "lanes was `65536` and would be `131072`"),
        ] {
            let after = cluster(|text| match change {
                "protocol" => Cluster::example("mencius", 3, 7001).unwrap(),
                "id" => text.replace("id = 1", "id = 2"),
                "order" => text.replace("\"a\"", "\"x\"").replace("\"b\"", "\"a\"").replace("\"x\"", "\"b\""),
                "quorums" => text + quorums,
                _ => text + "\n[limits]\nlanes = 131072\n",
            });
            let why = after.agrees_with(&before).unwrap_err();
            assert!(why.starts_with(what), "{change}: {why}");
            assert_ne!(after.identity(), before.identity(), "{change}");
        }
    }

    #[test]
    fn addresses_and_times_are_everybodys_own() {
        let before = cluster(|text| text);
        let after = cluster(|text| text.replace("7001", "7101") + "\n[times]\nping_ms = 7\n");
        assert_eq!(after.agrees_with(&before), Ok(()));
        assert_eq!(after.identity(), before.identity());
    }
}
