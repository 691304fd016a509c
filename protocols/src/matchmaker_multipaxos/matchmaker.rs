//! The matchmaker: remembers who uses which acceptors.

use super::{Config, MatchmakerState, Msg, Mutant, Node, Role, Storage};
use crate::faults::Faults;
use crate::matchmaking::{Answer, Standing};
use crate::state_machine::StateMachine;
use stateright::actor::{Id, Out};
use std::sync::Arc;

/// A matchmaker, as configured.
#[derive(Clone, Debug)]
pub struct Matchmaker<F> {
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

impl<F: Faults<Mutant>> Matchmaker<F> {
    /// Where stale rounds are not answered, nothing at all becomes of them.
    pub(super) fn ignores<M: StateMachine>(&self, state: &MatchmakerState, src: Id, msg: &Msg<M>) -> bool {
        if !matches!(self.config.role(src), Some(Role::Server(_))) {
            return true;
        }
        match msg {
            Msg::MatchA { round, announced } => {
                let breaks = |rule| self.config.breaks_rule(rule);
                match state.judge(*round, announced, self.config.log_max, breaks) {
                    Standing::New | Standing::Known => false,
                    Standing::Refused(_) => !self.config.bounds.nack,
                    Standing::Full => true,
                }
            }
            Msg::GarbageA { .. } => false,
            _ => true,
        }
    }

    pub(super) fn on_msg<M: StateMachine>(
        &self,
        state: &mut MatchmakerState,
        leader: Id,
        msg: Msg<M>,
        out: &mut Out<Node<M, F>>,
    ) {
        let breaks = |rule| self.config.breaks_rule(rule);
        match msg {
            Msg::MatchA { round, announced } => {
                match state.announce(round, &announced, self.config.log_max, breaks) {
                    Answer::Matched { watermark, earlier, is_new } => {
                        if is_new {
                            self.save(state, out);
                        }
                        out.send(leader, Msg::MatchB { round, watermark, earlier });
                    }
                    Answer::Refused(round) => out.send(leader, Msg::Nack { round }),
                    Answer::Full => {}
                }
            }
            Msg::GarbageA { round } => {
                if state.retire(round, breaks) {
                    self.save(state, out);
                }
                out.send(leader, Msg::GarbageB { watermark: state.watermark });
            }
            _ => {}
        }
    }

    fn save<M: StateMachine>(&self, state: &MatchmakerState, out: &mut Out<Node<M, F>>) {
        if !self.config.breaks(Mutant::MatchmakerForgets) {
            out.save(Storage::Matchmaker(state.clone()));
        }
    }
}
