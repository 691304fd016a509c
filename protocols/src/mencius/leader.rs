//! What a leader does so that others do not wait for it, and how it hears that they do.

use super::{Mutant, NoopRange};
use crate::compartmentalized::{LeaderState, Msg, Rules, Turn};
use crate::ids::Slot;
use crate::state_machine::StateMachine;

impl<M: StateMachine, F: Rules> Turn<'_, LeaderState<M::Command>, M, F> {
    /// Every so many slots of its own, tells the leaders of other groups how far it is. It was at slot `before` when it began
    /// to propose commands. What it skips is no news: leaders would drive each other on for ever.
    pub(crate) fn tell_high_watermark(&mut self, before: Option<Slot>) {
        if self.config.leader_groups == 1 {
            return;
        }
        let (groups, period) = (self.config.leader_groups as u64, self.config.limits.high_watermark_slots);
        let turn = |slot: Slot| slot.0 / groups / period.max(1);
        let now = self.ready().map(|leading| leading.next_slot);
        if let (Some(before), Some(now)) = (before, now)
            && turn(now) > turn(before)
        {
            self.send_to_proxy(now, Msg::HighWatermark(now));
        }
    }

    /// Skips its slots up to where another group is, if it is far enough behind.
    pub(crate) fn skip_if_behind(&mut self) {
        let (high_watermark, lag) = (self.state.high_watermark, self.config.limits.lag_slots);
        let behind = self.ready().is_some_and(|leading| leading.next_slot.plus(lag.max(1)) <= high_watermark);
        if behind && !self.breaks_mencius(Mutant::NoSkipping) {
            self.skip(high_watermark);
        }
    }

    /// Proposes noops in all slots of its own up to a slot, as far as there is room.
    pub(crate) fn skip(&mut self, below: Slot) {
        let (config, round, slots) = (self.config, self.state.round, self.slots());
        let groups = config.leader_groups as u64;
        let (page, below) = (config.limits.page_slots.max(1), below.min(self.window_end()));
        while let Some(leading) = self.ready()
            && leading.next_slot < below
        {
            let from = leading.next_slot;
            let last = slots.range(from, below).take(page).last().unwrap_or(from);
            let stays = config.breaks_mencius(Mutant::RangeNotSkipped);
            if !stays {
                leading.next_slot = slots.after(last);
            }
            let early = config.breaks_mencius(Mutant::RangeStartsEarly) && from.0 >= groups;
            let range = NoopRange { from: from.minus(if early { groups } else { 0 }), below: last.next() };
            self.send_to_proxy(from, Msg::Phase2aNoops { round, range });
            if stays {
                return;
            }
        }
    }
}
