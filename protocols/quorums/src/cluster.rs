//! Nodes: their names and what they can do.
//!
//! A cluster owns names and attributes; expressions hold indices only. One system can so be judged on several clusters,
//! and a node has one set of attributes wherever it occurs.

use crate::{Error, Expr, Node, NodeSet, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The smallest capacity and latency that is accepted.
pub const LEAST_ATTRIBUTE: f64 = 1e-9;
/// The largest capacity and latency that is accepted.
pub const MOST_ATTRIBUTE: f64 = 1e12;

/// What one node can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attributes {
    /// Reads per second.
    pub read_capacity: f64,
    /// Writes per second.
    pub write_capacity: f64,
    /// Seconds from a request to this node's answer.
    pub latency: f64,
    /// The probability that the node is up, independently of others in zones that are up.
    pub up: f64,
    /// The failure domain that the node is in, if it shares one.
    pub zone: Option<String>,
}

impl Default for Attributes {
    /// Capacity 1, latency 1 s, always up, no zone: the paper's homogeneous node.
    fn default() -> Self {
        Self { read_capacity: 1.0, write_capacity: 1.0, latency: 1.0, up: 1.0, zone: None }
    }
}

impl Attributes {
    /// A node with one capacity for reads and writes, in commands per second.
    pub fn capacity(capacity: f64) -> Self {
        Self::capacities(capacity, capacity)
    }

    /// A node with a capacity for reads and one for writes, in commands per second.
    pub fn capacities(read: f64, write: f64) -> Self {
        Self { read_capacity: read, write_capacity: write, ..Self::default() }
    }

    /// The same with another latency, in seconds.
    #[must_use]
    pub fn latency(self, seconds: f64) -> Self {
        Self { latency: seconds, ..self }
    }

    /// The same with another probability of being up.
    #[must_use]
    pub fn up(self, probability: f64) -> Self {
        Self { up: probability, ..self }
    }

    /// The same in a failure domain.
    #[must_use]
    pub fn zone(self, zone: impl Into<String>) -> Self {
        Self { zone: Some(zone.into()), ..self }
    }

    fn check(&self, node: &str) -> Result<()> {
        let bad =
            |attribute, value, range| Error::BadAttribute { node: node.into(), attribute, value, range };
        let attributes = [
            ("the read capacity", self.read_capacity),
            ("the write capacity", self.write_capacity),
            ("the latency", self.latency),
        ];
        for (attribute, value) in attributes {
            // A latency of nothing is an answer from the same machine; a capacity of nothing is no node.
            let zero = attribute == "the latency" && value == 0.0;
            if !zero && !(LEAST_ATTRIBUTE..=MOST_ATTRIBUTE).contains(&value) {
                return Err(bad(attribute, value, "between 1e-9 and 1e12"));
            }
        }
        if !(0.0..=1.0).contains(&self.up) {
            return Err(bad("the probability of being up", self.up, "between 0 and 1"));
        }
        Ok(())
    }
}

/// The nodes that quorums are made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    names: Vec<String>,
    attributes: Vec<Attributes>,
}

impl Cluster {
    /// No nodes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nodes with default attributes; their indices are their positions.
    ///
    /// # Errors
    /// When a name occurs twice, or there are more than [`NodeSet::CAPACITY`] names.
    pub fn named(names: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let mut cluster = Self::new();
        for name in names {
            cluster.add(name, Attributes::default())?;
        }
        Ok(cluster)
    }

    /// Adds a node.
    ///
    /// # Errors
    /// When the name is taken, the cluster is full, or an attribute is out of range.
    pub fn add(&mut self, name: impl Into<String>, attributes: Attributes) -> Result<Node> {
        let name = name.into();
        if self.names.contains(&name) {
            return Err(Error::DuplicateNode { name });
        }
        attributes.check(&name)?;
        let node = Node::new(self.names.len())?;
        self.names.push(name);
        self.attributes.push(attributes);
        Ok(node)
    }

    /// Replaces the attributes of a node.
    ///
    /// # Errors
    /// When no node has this name, or an attribute is out of range.
    pub fn set(&mut self, name: &str, attributes: Attributes) -> Result<()> {
        let node = self.node(name)?;
        attributes.check(name)?;
        self.attributes[node.index()] = attributes;
        Ok(())
    }

    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Is there no node?
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        (0..self.len()).map(|index| Node::new(index).expect("a cluster has at most NodeSet::CAPACITY nodes"))
    }

    /// The node with this name.
    ///
    /// # Errors
    /// When there is none; the error names the most similar one.
    pub fn node(&self, name: &str) -> Result<Node> {
        match self.names.iter().position(|known| known == name) {
            Some(index) => Node::new(index),
            None => Err(Error::UnknownNode { name: name.into(), nearest: self.nearest(name) }),
        }
    }

    /// The set of the nodes with these names.
    ///
    /// # Errors
    /// When a name is unknown.
    pub fn set_of<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<NodeSet> {
        names.into_iter().map(|name| Ok(self.node(name)?.index())).collect()
    }

    /// The name of a node; an empty one for a node that is not of this cluster.
    pub fn name(&self, node: Node) -> &str {
        self.names.get(node.index()).map_or("", String::as_str)
    }

    /// The attributes of a node of this cluster.
    pub fn attributes(&self, node: Node) -> Option<&Attributes> {
        self.attributes.get(node.index())
    }

    /// The attributes of all nodes in order.
    pub fn iter(&self) -> impl Iterator<Item = &Attributes> {
        self.attributes.iter()
    }

    /// The read and the write capacity of every node.
    pub(crate) fn capacities(&self) -> Vec<(f64, f64)> {
        self.attributes.iter().map(|node| (node.read_capacity, node.write_capacity)).collect()
    }

    /// The names of the members, as `{a, b}`.
    pub fn show_set(&self, set: NodeSet) -> String {
        let names: Vec<&str> =
            set.iter().map(|index| self.names.get(index).map_or("?", String::as_str)).collect();
        format!("{{{}}}", names.join(", "))
    }

    /// The expression with names, so that [`Cluster::parse`] reads it back.
    pub fn show(&self, expr: &Expr) -> String {
        Shown { expr, names: Some(&self.names) }.to_string()
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let near =
            |known: &&String| distance(name, known) <= known.chars().count().max(name.chars().count()) / 3;
        self.names.iter().filter(near).min_by_key(|known| distance(name, known)).cloned()
    }
}

impl fmt::Display for Expr {
    /// With node `i` written as `n<i>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown { expr: self, names: None }.fmt(f)
    }
}

struct Shown<'a> {
    expr: &'a Expr,
    names: Option<&'a [String]>,
}

impl Shown<'_> {
    fn child<'b>(&'b self, expr: &'b Expr) -> Shown<'b> {
        Shown { expr, names: self.names }
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gate = match self.expr {
            Expr::Leaf(node) => {
                return match self.names.and_then(|names| names.get(node.index())) {
                    Some(name) if is_plain(name) => f.write_str(name),
                    Some(name) => write!(f, "\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
                    None => write!(f, "n{}", node.index()),
                };
            }
            Expr::Gate(gate) => gate,
        };
        let (open, between) = match (gate.is_unit(), gate.is_or(), gate.is_and()) {
            (true, true, _) => ("(".into(), " + "),
            (true, _, true) => ("(".into(), " * "),
            (true, ..) => (format!("choose({}, ", gate.threshold()), ", "),
            _ => (format!("vote({}; ", gate.threshold()), ", "),
        };
        f.write_str(&open)?;
        for (i, (votes, child)) in gate.children().iter().enumerate() {
            if i > 0 {
                f.write_str(between)?;
            }
            if !gate.is_unit() {
                write!(f, "{votes}:")?;
            }
            self.child(child).fmt(f)?;
        }
        f.write_str(")")
    }
}

/// Can the name stand in an expression without quotes?
pub(crate) fn is_plain(name: &str) -> bool {
    name.chars().next().is_some_and(starts_name) && name.chars().all(continues_name)
}

pub(crate) fn starts_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(crate) fn continues_name(c: char) -> bool {
    starts_name(c) || c == '-' || c == '.'
}

/// How many insertions, deletions and replacements lead from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_node_is_answered_with_the_most_similar_name() {
        let cluster = Cluster::named(["east", "west", "north"]).unwrap();
        let nearest = |name| match cluster.node(name) {
            Err(Error::UnknownNode { nearest, .. }) => nearest,
            other => panic!("{other:?}"),
        };
        assert_eq!(nearest("nort").as_deref(), Some("north"));
        assert_eq!(nearest("eats"), None);
        assert_eq!(nearest("zanzibar"), None);
    }

    #[test]
    fn absurd_attributes_are_errors() {
        let mut cluster = Cluster::new();
        for bad in [0.0, -1.0, 1e-10, 1e13, f64::NAN, f64::INFINITY] {
            assert!(cluster.add("a", Attributes::capacity(bad)).is_err(), "{bad}");
            assert!(cluster.add("a", Attributes::capacities(1.0, bad)).is_err(), "{bad}");
        }
        for bad in [-1.0, 1e13, f64::NAN] {
            assert!(cluster.add("a", Attributes::default().latency(bad)).is_err(), "{bad}");
            assert!(cluster.add("a", Attributes::default().up(bad)).is_err(), "{bad}");
        }
        assert!(cluster.add("a", Attributes::capacities(1e-9, 1e12).latency(0.0)).is_ok());
        assert!(matches!(cluster.add("a", Attributes::default()), Err(Error::DuplicateNode { .. })));
    }
}
