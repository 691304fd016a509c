//! The replica: keeps the chosen value, so that acceptors need not.

use super::{Config, Msg, Mutant, Node, Storage};
use crate::faults::Faults;
use crate::state_machine::Data;
use stateright::actor::{Id, Out};
use std::sync::Arc;

/// A replica, as configured.
#[derive(Clone, Debug)]
pub struct Replica<F> {
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

impl<F: Faults<Mutant>> Replica<F> {
    pub(super) fn on_msg<V: Data>(
        &self,
        state: &mut Option<V>,
        proposer: Id,
        msg: Msg<V>,
        out: &mut Out<Node<V, F>>,
    ) {
        match (msg, &*state) {
            (Msg::Store(_), Some(_)) => out.send(proposer, Msg::Stored),
            (Msg::Store(value), None) => {
                if !self.config.breaks(Mutant::ReplicaForgets) {
                    out.save(Storage::Replica(value.clone()));
                }
                *state = Some(value);
                out.send(proposer, Msg::Stored);
            }
            (Msg::Fetch, Some(value)) => out.send(proposer, Msg::Fetched(value.clone())),
            _ => {}
        }
    }
}
