//! The matchmaker: remembers who uses which acceptors, for as long as it serves.

use super::{Config, MatchmakerNode, Msg, Mutant, Node, Role, Storage};
use crate::faults::Faults;
use crate::matchmaking::Said;
use crate::state_machine::StateMachine;
use stateright::actor::{Id, Out};
use std::sync::Arc;

/// A matchmaker, as configured.
#[derive(Clone, Debug)]
pub struct Matchmaker<F> {
    /// Its number.
    pub index: usize,
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

impl<F: Faults<Mutant>> Matchmaker<F> {
    pub(super) fn ignores<M: StateMachine>(&self, src: Id, msg: &Msg<M>) -> bool {
        !matches!((msg, self.config.role(src)), (Msg::Ask(_), Some(Role::Server(_))))
    }

    /// Answers; returns its state if that has changed. Where stale rounds are not answered nothing becomes of them.
    pub(super) fn on_msg<M: StateMachine>(
        &self,
        state: &MatchmakerNode,
        leader: Id,
        msg: Msg<M>,
        out: &mut Out<Node<M, F>>,
    ) -> Option<MatchmakerNode> {
        let Msg::Ask(ask) = msg else { return None };
        let mut after = state.clone();
        let (changed, said) = after.on(self.index, ask, self.config.log_max, self.config.rules());
        if changed && !self.config.breaks(Mutant::MatchmakerForgets) {
            out.save(Storage::Matchmaker(after.clone()));
        }
        match said {
            Some(Said::Nack { .. }) if !self.config.bounds.nack => {}
            Some(said) => out.send(leader, Msg::Said(said)),
            None => {}
        }
        changed.then_some(after)
    }
}
