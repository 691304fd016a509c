//! The unbatcher: deals out replies, so that replicas send one message for many. It has no state.

use super::Msg;
use super::mutant::Rules;
use super::node::Turn;
use crate::state_machine::StateMachine;

impl<M: StateMachine, F: Rules> Turn<'_, (), M, F> {
    pub(super) fn on_msg(&mut self, msg: Msg<M>) {
        let Msg::Replies(replies) = msg else { return };
        for reply in replies {
            self.send(reply.id.client_id(), Msg::Reply(reply));
        }
    }
}
