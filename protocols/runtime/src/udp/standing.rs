//! How a node stands, as it says itself, and how it is asked.
//!
//! A process that is asked answers for each node that it hosts. Question and answer are messages in ordinary frames, to and from
//! [`DRIVER`], which no actor has: they are sealed, limited and counted as all others are, and no protocol knows of them.
//! An answer is made after the turn's saves are durable, so that nobody is told what a crash takes back. It names the number of
//! the question, so that an old answer that is sent again is not taken for a new one.

use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id};
use std::time::Instant;

/// The logical index that stands for the event loop of a process. No actor has it, and no client: those have their second highest
/// bit clear.
pub(super) const DRIVER: usize = usize::MAX - 1;

/// How a node stands. What a protocol does not have, or the role does not know, is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// It leads: nothing keeps it from having commands chosen but a higher round that it has not heard of.
    pub leads: bool,
    /// The node that the largest round it has heard of belongs to, which leads or tries to.
    pub leader: Option<u64>,
    /// The largest round it has heard of. Rounds are in lexicographic order; where they are plain numbers, zeros follow.
    pub round: Option<[u64; 3]>,
    /// How many slots, vertices or writes it has executed.
    pub executed: Option<u64>,
    /// How many lanes of clients its table holds.
    pub lanes: Option<u64>,
    /// How many commands wait at it to be proposed.
    pub queued: Option<u64>,
    /// How many of its proposals are not known to be chosen.
    pub outstanding: Option<u64>,
    /// How many entries of the log it keeps, or how many votes.
    pub log: Option<u64>,
    /// It has lost what it saved, and does not vote.
    pub abstains: bool,
    /// Quorums that are not in the cluster file, as it knows them.
    pub quorums: Vec<Quorum>,
}

/// A quorum that the cluster needs now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// Of whom, and what for.
    pub what: String,
    /// How new this is: what has the same name and a larger number replaces it.
    pub version: u64,
    /// It is there if one of these is.
    pub any_of: Vec<Choice>,
}

/// So many of some nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The nodes.
    pub nodes: Vec<u64>,
    /// How many of them.
    pub least: u64,
}

/// Tells how a hosted actor stands.
pub(super) type Tell<A> = Box<dyn Fn(Id, &<A as Actor>::State) -> Standing + Send>;

/// Answers questions to hosted actors. It is called between steps, so it must be quick.
pub trait Answers<A: Actor>: Send {
    /// The answer to a question, by the state of the node that is asked, after the saves of that state are durable; none if there
    /// is none. Questions may come twice.
    fn answer(&mut self, node: Id, state: &A::State, question: &[u8]) -> Option<Vec<u8>>;

    /// Lets go of what was kept for questions that do not come. A driver that runs calls it once a second at least.
    fn look(&mut self, _now: Instant) {}
}

impl<A, F> Answers<A> for F
where
    A: Actor,
    F: FnMut(Id, &A::State, &[u8]) -> Option<Vec<u8>> + Send,
{
    fn answer(&mut self, node: Id, state: &A::State, question: &[u8]) -> Option<Vec<u8>> {
        self(node, state, question)
    }
}

/// What event loops say to each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Control {
    /// How do your nodes stand?
    Ask {
        /// The number of the question.
        number: u64,
    },
    /// The sending node stands like this.
    Told {
        /// The number of the question.
        number: u64,
        /// How it stands.
        standing: Standing,
    },
    /// What does the application of this node say to this?
    Inquire {
        /// The number of the question.
        number: u64,
        /// The node.
        node: u64,
        /// What the application understands.
        question: Vec<u8>,
    },
    /// The application of the sending node says this.
    Answer {
        /// The number of the question.
        number: u64,
        /// What it says.
        answer: Vec<u8>,
    },
}
