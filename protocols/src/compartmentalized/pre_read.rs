//! The question to acceptors from which a reader learns which slots its read must show.

use super::Msg;
use super::config::{Config, Role};
use super::mutant::{Mutant, Rules};
use crate::faults::is_enough;
use crate::ids::{Slot, remainder};
use crate::state_machine::StateMachine;
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};

/// Names a question among all that one asker ever asks, through restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tag {
    /// A client's lane, or how often a read batcher was started.
    pub series: u64,
    /// A client's sequence number, or the number of a batch.
    pub number: u64,
}

/// A question that is being answered. Answers to an earlier copy of it count as well: none was sent before the read was
/// asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PreRead {
    /// Its name.
    pub tag: Tag,
    /// The group of acceptors that is asked.
    pub group: usize,
    /// Who has answered.
    pub answered: NodeSet,
    /// The most that one of them told; none before the first.
    pub voted_below: Option<Slot>,
}

impl PreRead {
    /// Asks a read quorum of one group; groups and quorums take turns with `number`.
    pub(super) fn ask<M: StateMachine, F: Rules, A: Actor<Msg = Msg<M>>>(
        config: &Config<F>,
        tag: Tag,
        number: u64,
        out: &mut Out<A>,
    ) -> Self {
        let group = remainder(number, config.groups.len());
        let readers = config.groups[group].readers(number / config.groups.len() as u64);
        let question = Self { tag, group, answered: NodeSet::EMPTY, voted_below: None };
        question.send(config, readers, out);
        question
    }

    /// Asks again: everybody in the group who has not answered.
    pub(super) fn ask_again<M: StateMachine, F: Rules, A: Actor<Msg = Msg<M>>>(
        &self,
        config: &Config<F>,
        out: &mut Out<A>,
    ) {
        let group = config.groups[self.group].system.nodes();
        self.send(config, group.difference(self.answered), out);
    }

    fn send<M: StateMachine, F: Rules, A: Actor<Msg = Msg<M>>>(
        &self,
        config: &Config<F>,
        acceptors: NodeSet,
        out: &mut Out<A>,
    ) {
        for acceptor in acceptors.iter() {
            out.send(config.layout.id(Role::Acceptor, acceptor), Msg::PreRead(self.tag));
        }
    }

    /// Does it wait for an answer of this acceptor?
    pub(super) fn awaits<F: Rules>(&self, config: &Config<F>, tag: Tag, acceptor: Id) -> bool {
        let acceptor = config.layout.index_in(Role::Acceptor, acceptor);
        self.tag == tag && acceptor.is_some_and(|acceptor| !self.answered.contains(acceptor))
    }

    /// Adds an answer that it waits for; once a read quorum has answered, the first slot that the read need not show.
    pub(super) fn add<F: Rules>(
        &mut self,
        config: &Config<F>,
        acceptor: Id,
        voted_below: Slot,
    ) -> Option<Slot> {
        let (_, acceptor) = config.layout.role(acceptor);
        self.answered.insert(acceptor);
        let known = self.voted_below.unwrap_or(voted_below);
        let least = config.breaks(Mutant::PreReadMinimum);
        let voted_below = if least { known.min(voted_below) } else { known.max(voted_below) };
        self.voted_below = Some(voted_below);
        let one_short = config.breaks(Mutant::PreReadQuorumShort);
        let system = &config.groups[self.group].system;
        let enough =
            is_enough(self.answered, config.layout.acceptors, one_short, |set| system.is_read_quorum(set));
        // What finished before may have been decided by another group, in a slot up to this much further on.
        let ahead = if config.breaks(Mutant::NoShift) { 0 } else { config.groups.len() as u64 - 1 };
        enough.then(|| voted_below.plus(ahead))
    }
}
