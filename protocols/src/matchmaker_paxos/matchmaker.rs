//! The matchmaker: remembers who uses which acceptors.

use super::{Config, Msg, Mutant, Node, Storage};
use crate::faults::Faults;
use crate::matchmaking::{Age, Answer, MatchmakerState, Standing};
use crate::state_machine::Data;
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
    pub(super) fn ignores<V: Data>(&self, state: &MatchmakerState, msg: &Msg<V>) -> bool {
        match msg {
            Msg::MatchA { round, configuration } => {
                let breaks = |rule| self.config.breaks_rule(rule);
                match state.judge(*round, configuration, self.config.log_max, breaks) {
                    Standing::New | Standing::Known => false,
                    Standing::Refused(_) => !self.config.nack,
                    Standing::Full => true,
                }
            }
            Msg::GarbageA { .. } => false,
            _ => true,
        }
    }

    pub(super) fn on_msg<V: Data>(
        &self,
        state: &mut MatchmakerState,
        proposer: Id,
        msg: Msg<V>,
        out: &mut Out<Node<V, F>>,
    ) {
        let Config { log_max, .. } = *self.config;
        let breaks = |rule| self.config.breaks_rule(rule);
        match msg {
            Msg::MatchA { round, configuration } => {
                match state.announce(round, &configuration, log_max, breaks) {
                    Answer::Matched { watermark, earlier, is_new, .. } => {
                        if is_new {
                            self.save(state, out);
                        }
                        out.send(proposer, Msg::MatchB { round, watermark, earlier });
                    }
                    Answer::Refused(round) => out.send(proposer, Msg::Nack { round }),
                    Answer::Full => {}
                }
            }
            Msg::GarbageA { round } => {
                if state.retire(round, Age::default(), breaks) {
                    self.save(state, out);
                }
                out.send(proposer, Msg::GarbageB { watermark: state.watermark });
            }
            _ => {}
        }
    }

    fn save<V: Data>(&self, state: &MatchmakerState, out: &mut Out<Node<V, F>>) {
        if !self.config.breaks(Mutant::MatchmakerForgets) {
            out.save(Storage::Matchmaker(state.clone()));
        }
    }
}
