//! What a server's cluster file asks for.
//!
//! A changed cluster file reaches servers one after the other, as they are started again. So two servers may have files that ask
//! for different things, and one with an older file may lead after one with a newer one. Files are therefore numbered by
//! *generations*, and a configuration says which generation was heeded when it was made. A leader heeds its own file if
//! that is newer than its configuration, and else takes no notice of it: it does as if an operator had asked for the
//! matchmakers and then for the acceptors, and the configuration that comes of it has the file's generation. That one is matched
//! like any other before it is used, so that whoever leads next learns of it, and no file is heeded twice or undone by an older
//! one. Of two files with one generation the first to be heeded counts.
//!
//! What an operator asks for later is no affair of the file: the generation stays.

use super::server::Turn;
use super::{Asker, Leading, Mutant, Order};
use crate::faults::Faults;
use crate::matchmaking::Configuration;
use crate::state_machine::StateMachine;
use parthood_quorums::NodeSet;

/// What a server's cluster file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wish {
    /// The number of the file; 0 asks for nothing.
    pub generation: u64,
    /// The acceptors that are to vote, if it names any.
    pub acceptors: Option<Configuration>,
    /// The matchmakers that are to serve, if it names any.
    pub matchmakers: Option<NodeSet>,
}

impl<C: Clone> Leading<C> {
    /// The newest file that it has heeded, or is about to heed.
    fn heeded(&self) -> u64 {
        let next = self.next.as_ref().map_or(0, |next| next.announced.generation);
        let ordered = self.orders.iter().filter_map(|order| match order.by {
            Asker::File(generation) => Some(generation),
            Asker::Operator { .. } => None,
        });
        ordered.chain([next, self.announced.generation]).max().unwrap_or_default()
    }

    /// The configuration that there will be when all that was asked for is done.
    fn last_configuration(&self) -> &Configuration {
        let next = self.next.as_ref().map(|next| &next.announced.configuration);
        let ordered = self.orders.last().map(|order| &order.wanted);
        ordered.or(next).unwrap_or(&self.announced.configuration)
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// Heeds its own file, if that is newer than what is in force: first the matchmakers, then the acceptors.
    pub(super) fn heed_file(&mut self) {
        let any = self.breaks(Mutant::HeedAnyFile);
        let (wish, members) = (&self.server.wish, self.state.epoch.members);
        let Some(leading) = self.state.leading.as_ref().filter(|leading| leading.is_steady()) else { return };
        let heeded = leading.heeded();
        let is_newer = wish.generation > heeded || any && wish.generation != heeded;
        if wish.generation == 0 || !is_newer || leading.handover.is_some() {
            return;
        }
        let by = Asker::File(wish.generation);
        match wish.matchmakers.filter(|wanted| *wanted != members) {
            Some(wanted) => self.begin_handover(Some(by), wanted),
            None => self.order_of_file(),
        }
    }

    /// Orders the acceptors that its file names; or the same as before, so that it is known that the file was heeded.
    pub(super) fn order_of_file(&mut self) {
        let Wish { generation, acceptors, .. } = self.server.wish.clone();
        if let Some(leading) = self.leading() {
            let wanted = acceptors.unwrap_or_else(|| leading.last_configuration().clone());
            leading.orders.push_back(Order { by: Asker::File(generation), wanted, age: 0 });
            self.begin_next();
        }
    }
}
