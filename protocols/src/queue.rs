//! The commands that wait at a leader, and when it proposes them.
//!
//! A leader proposes a command when it arrives, or it *gathers*: what has arrived together is proposed together, when all of it
//! is here. It sets a timer for that. One of no length fires as soon as what has arrived is handled, so that nothing waits for
//! what is not here yet. What finds no room waits without a timer, until there is room; then it gathers, too.

use crate::command::{Command, CommandOf, take_batch};
use crate::state_machine::StateMachine;
use im::Vector;
use std::time::Duration;

/// The commands that wait at a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queue<C: Clone> {
    /// The commands.
    pub commands: Vector<Command<C>>,
    /// Whether a timer will propose them.
    pub gathering: bool,
}

/// When a leader proposes what waits, there being room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Now.
    Now,
    /// When a timer fires that it sets now.
    AtTimer,
    /// When the timer fires that it has set before.
    AtTimerSet,
}

impl<C: Clone> Default for Queue<C> {
    fn default() -> Self {
        Self { commands: Vector::new(), gathering: false }
    }
}

impl<C: Clone> Queue<C> {
    /// Does no command wait?
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// How many commands wait.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// When to propose what waits, if commands gather for so long, or not at all.
    pub(crate) fn due(&mut self, gather: Option<Duration>) -> Due {
        if gather.is_none() {
            Due::Now
        } else if std::mem::replace(&mut self.gathering, true) {
            Due::AtTimerSet
        } else {
            Due::AtTimer
        }
    }

    /// The timer has fired: what arrives from now on needs another one. (Where this rule is broken, it gets none.)
    pub(crate) fn has_gathered(&mut self, once: bool) {
        self.gathering &= once;
    }

    /// Takes from the front what fits one slot: at least one command, at most `commands` and about `bytes`.
    pub(crate) fn take_batch<M: StateMachine<Command = C>>(
        &mut self,
        commands: usize,
        bytes: usize,
    ) -> Vec<CommandOf<M>> {
        take_batch::<M>(&mut self.commands, commands, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_set_once_for_what_gathers_and_again_for_what_comes_after_it_has_fired() {
        let mut queue = Queue::<u8>::default();
        let gather = Some(Duration::ZERO);
        assert_eq!([queue.due(None), queue.due(None)], [Due::Now; 2]);
        assert_eq!([queue.due(gather), queue.due(gather)], [Due::AtTimer, Due::AtTimerSet]);
        queue.has_gathered(false);
        assert_eq!(queue.due(gather), Due::AtTimer);
    }
}
