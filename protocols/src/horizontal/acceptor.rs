//! The acceptor: promises and votes, in any number of configurations, with one promise for all of them.

use super::{Config, Configured, Msg, Mutant, Node, Role, Storage};
use crate::faults::Faults;
use crate::log::{self, Stale};
use crate::state_machine::StateMachine;
use stateright::actor::{Id, Out};
use std::sync::Arc;

/// An acceptor, as configured.
#[derive(Clone, Debug)]
pub struct Acceptor<F> {
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

/// An acceptor's state, all of which it saves.
pub type AcceptorNode<M> = log::AcceptorNode<<Configured<M> as StateMachine>::Command>;

impl<F: Faults<Mutant>> Acceptor<F> {
    /// Where stale rounds are not answered, nothing at all becomes of them.
    pub(super) fn ignores<M: StateMachine>(&self, state: &AcceptorNode<M>, src: Id, msg: &Msg<M>) -> bool {
        let is_old = |round| round < state.acceptor.round && !self.config.bounds.nack;
        !matches!(self.config.role(src), Some(Role::Server(_)))
            || match msg {
                Msg::Phase1a { round, .. } => is_old(*round),
                Msg::Phase2a { round, slot, .. } => {
                    let votes = self.config.breaks(Mutant::AcceptLowerRound);
                    is_old(*round) && *slot >= state.persisted && !votes
                }
                Msg::Persisted(below) => *below <= state.persisted,
                _ => true,
            }
    }

    pub(super) fn on_msg<M: StateMachine>(
        &self,
        state: &mut AcceptorNode<M>,
        leader: Id,
        msg: Msg<M>,
        out: &mut Out<Node<M, F>>,
    ) {
        let (changed, answer) = self.answer(state, msg);
        if changed && !self.config.breaks(Mutant::AcceptorForgets) {
            out.save(Storage::Acceptor(state.clone()));
        }
        if let Some(answer) = answer {
            out.send(leader, answer);
        }
    }

    /// Whether its state has changed, and what it answers.
    fn answer<M: StateMachine>(&self, state: &mut AcceptorNode<M>, msg: Msg<M>) -> (bool, Option<Msg<M>>) {
        match msg {
            Msg::Phase1a { round, .. } if round < state.acceptor.round => {
                (false, Some(Msg::Nack { round: state.acceptor.round }))
            }
            Msg::Phase1a { round, from } => {
                let changed = !self.config.breaks(Mutant::NoPromise) && state.promise(round);
                let report = state.report::<Configured<M>>(from, self.config.limits.page());
                (changed, Some(Msg::Phase1b { round, from, report }))
            }
            Msg::Phase2a { round, slot, value } => {
                let any_round = self.config.breaks(Mutant::AcceptLowerRound);
                match state.vote::<Configured<M>>(round, slot, value, any_round) {
                    Ok(changed) => (changed, Some(Msg::Phase2b { round, slot })),
                    Err(Stale::Slot(persisted)) => (false, Some(Msg::Persisted(persisted))),
                    Err(Stale::Round(round)) => (false, Some(Msg::Nack { round })),
                }
            }
            Msg::Persisted(below) => (state.persist(below), None),
            _ => (false, None),
        }
    }
}
