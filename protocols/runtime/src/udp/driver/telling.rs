//! What the event loop tells: other processes that ask how its nodes stand, and other threads.

use super::super::handle::{Queues, View};
use super::super::peers::bits_of;
use super::super::standing::{Control, DRIVER};
use super::super::watch::Inquiry;
use super::{Driver, PUBLISH_EVERY};
use crate::storage::Journal;
use crate::{Host, Runnable};
use stateright::actor::Id;
use std::time::Instant;

impl<A, J> Driver<A, J>
where
    A: Runnable<State: 'static, Storage: Send + 'static>,
    J: Journal<A::Storage>,
{
    /// Answers who asked how the hosted nodes stand, now that all of it is durable, and asks the others if it is time to.
    pub(super) fn converse(&mut self) {
        for (src, number) in self.watch.take_questions() {
            let Some(to) = self.peers.locate(src).filter(|_| !self.faults.cuts(src)) else { continue };
            self.counters.questions += 1;
            for host in &self.hosts {
                let Some(standing) = self.watch.standing(host.id(), host.state()) else { continue };
                // Who gets no answer asks again.
                let _ =
                    self.outgoing.push(to, host.id(), Id::from(DRIVER), &Control::Told { number, standing });
            }
        }
        for Inquiry { src, number, node, question } in self.watch.take_inquiries() {
            let Some(to) = self.peers.locate(src).filter(|_| !self.faults.cuts(src)) else { continue };
            let Some(host) = self.hosts.iter().find(|host| bits_of(host.id()) == node) else { continue };
            self.counters.questions += 1;
            let Some(answer) = self.watch.reply(host.id(), host.state(), &question) else { continue };
            let answer = Control::Answer { number, answer };
            let _ = self.outgoing.push(to, host.id(), Id::from(DRIVER), &answer);
        }
        let Some(question) = self.watch.question(self.now) else { return };
        let Some(asker) = self.hosts.first().map(Host::id) else { return };
        for place in self.peers.places() {
            let elsewhere = !self.index.contains_key(&place) && !self.faults.cuts(place);
            let Some(to) = self.peers.locate(place).filter(|_| elsewhere) else { continue };
            let _ = self.outgoing.push(to, asker, Id::from(DRIVER), &question);
        }
    }

    /// Lets other threads see what has been done, every so often.
    pub(super) fn publish(&mut self, has_stepped: bool) {
        let now = Instant::now();
        if has_stepped {
            self.counters.turn_times.observe(now.saturating_duration_since(self.woken));
        }
        if now.duration_since(self.published) < PUBLISH_EVERY && self.counters.turns > 1 {
            return;
        }
        self.published = now;
        self.watch.look(now);
        let standing =
            |host: &Host<A>| Some((bits_of(host.id()), self.watch.standing(host.id(), host.state())?));
        let queues = Queues { local: self.local.len(), outbox: self.outbox.len(), timers: self.timers.len() };
        self.handle.publish(View {
            at: Some(now),
            counters: self.counters(),
            queues,
            standings: self.hosts.iter().filter_map(standing).collect(),
            told: self.watch.told().clone(),
        });
    }
}
