//! What happens in the simulator: events reach nodes, nodes step, and what a step asks for is done.

use super::node::{Outgoing, Work};
use super::rng::Span;
use super::{Release, Reply, Sim, What, network};
use crate::{Event, Host, LOCAL_APPLICATION, Observer};
use stateright::actor::{Actor, Command, Id, Out};
use std::ops::Range;
use std::time::Duration;

impl<A: Actor<State: 'static>, O: Observer<A>> Sim<A, O> {
    pub(super) fn happen(&mut self, what: What<A>) {
        match what {
            What::Arrive { src, dst, msg } => self.arrive(src, dst, msg),
            What::Timer { node, life, timer, set } => {
                if self.nodes[node].life == life && self.nodes[node].timers.get(&timer) == Some(&set) {
                    self.nodes[node].enqueue(Work::Timer { timer, set });
                    self.serve(node);
                }
            }
            What::Choice { node, life, key, made } => {
                if self.nodes[node].life == life {
                    self.nodes[node].enqueue(Work::Choice { key, made });
                    self.serve(node);
                }
            }
            What::Synced { node, life } => {
                if self.nodes[node].life == life {
                    self.nodes[node].sync_one();
                    self.release(node);
                }
            }
            What::Ready { node, life } => {
                if self.nodes[node].life == life {
                    self.go_on(node);
                }
            }
            What::Fault(fault) => self.fault(&fault),
        }
    }

    fn arrive(&mut self, src: Id, dst: usize, msg: A::Msg) {
        let from = usize::from(src);
        if from < self.nodes.len() && self.links.is_cut(from, dst) {
            self.traffic.cut += 1;
            return;
        }
        let node = &mut self.nodes[dst];
        if node.host.is_none() {
            self.traffic.to_down += 1;
        } else if node.queue.len() >= self.settings.limits.queue {
            self.traffic.overflow += 1;
        } else {
            self.traffic.arrived += u64::from(from != dst && from != LOCAL_APPLICATION);
            node.enqueue(Work::Message { src, msg });
            self.serve(dst);
        }
    }

    /// Starts a node that is down.
    pub(super) fn start(&mut self, node: usize) {
        let Some(actor) = self.nodes[node].take_resting() else { return };
        let (id, at, mut out) = (Id::from(node), Duration::from_nanos(self.now), Out::new());
        let durable = &self.nodes[node].durable;
        self.observer.1.last = Duration::ZERO;
        let host = Host::start_observed(id, actor, durable, at, &mut self.observer, &mut out);
        self.nodes[node].host = Some(host);
        self.finish_step(node, out, Duration::ZERO);
    }

    /// Lets what may leave the node leave it, and its server work.
    pub(super) fn go_on(&mut self, node: usize) {
        self.release(node);
        self.serve(node);
    }

    /// Has the server work off its queue until it is busy.
    fn serve(&mut self, node: usize) {
        while self.nodes[node].is_ready(self.now) {
            let Some(work) = self.nodes[node].queue.pop_front() else { break };
            let choices = &mut self.rngs.choices;
            if let Some(event) = self.nodes[node].event(work, |n| choices.index(n)) {
                self.step(node, event);
            }
        }
    }

    fn step(&mut self, index: usize, event: Event<A>) {
        let node = &mut self.nodes[index];
        let Some(host) = &mut node.host else { return };
        let mut cost = Duration::ZERO;
        if let Event::Deliver { src, .. } = &event
            && ![index, LOCAL_APPLICATION].contains(&usize::from(*src))
        {
            node.stats.received += 1;
            cost = self.settings.cost(index).receive;
        }
        let (at, mut out) = (Duration::from_nanos(self.now), Out::new());
        self.observer.1.last = Duration::ZERO;
        host.step_observed(event, at, self.wants, &mut self.observer, &mut out);
        self.finish_step(index, out, cost);
    }

    /// Does what a step asked for. `received` is the cost of its cause.
    fn finish_step(&mut self, node: usize, out: Out<A>, received: Duration) {
        let is_remote = |dst: Id| ![node, LOCAL_APPLICATION].contains(&usize::from(dst));
        let sent =
            out.iter().filter(|command| matches!(command, Command::Send(dst, _) if is_remote(*dst))).count();
        let sending = self.settings.cost(node).send.saturating_mul(u32::try_from(sent).unwrap_or(u32::MAX));
        let service = received + sending + self.observer.1.last;
        self.nodes[node].stats.steps += 1;
        self.nodes[node].work_for(service, self.now);
        if !service.is_zero() {
            self.push(self.nodes[node].free_at, What::Ready { node, life: self.nodes[node].life });
        }
        let mut sends = Vec::new();
        let mut saved = None;
        for command in out {
            match command {
                Command::Send(dst, msg) => sends.push((dst, msg)),
                Command::SetTimer(timer, range) => self.set_timer(node, timer, range),
                Command::CancelTimer(timer) => drop(self.nodes[node].timers.remove(&timer)),
                Command::ChooseRandom(key, choices) => self.offer(node, key, choices),
                Command::Save(storage) => saved = Some(storage),
            }
        }
        if let Some(storage) = saved {
            self.save(node, storage);
        }
        if !sends.is_empty() {
            self.hold(node, sends);
        }
    }

    fn save(&mut self, index: usize, storage: A::Storage) {
        let delay = self.rngs.storage.within(self.settings.sync);
        let node = &mut self.nodes[index];
        node.stats.saves += 1;
        node.saved += 1;
        node.unsynced.push_back(storage);
        node.disk_free_at = node.disk_free_at.max(node.free_at.saturating_add(delay));
        if node.disk_free_at <= self.now {
            node.sync_one();
        } else {
            let (at, life) = (node.disk_free_at, node.life);
            self.push(at, What::Synced { node: index, life });
        }
    }

    /// Holds a step's sends back until they may leave, which may be now.
    fn hold(&mut self, index: usize, sends: Vec<(Id, A::Msg)>) {
        let node = &mut self.nodes[index];
        let after = match self.settings.release {
            Release::AfterSync => node.saved,
            Release::BeforeSync => 0,
        };
        node.outgoing.push_back(Outgoing { at: node.free_at, after, sends });
        self.release(index);
    }

    fn release(&mut self, node: usize) {
        if self.nodes[node].paused {
            return;
        }
        while let Some(outgoing) = self.nodes[node].next_released(self.now) {
            for (dst, msg) in outgoing.sends {
                self.send(node, dst, msg);
            }
        }
    }

    fn send(&mut self, from: usize, dst: Id, msg: A::Msg) {
        let (src, to) = (Id::from(from), usize::from(dst));
        if to == LOCAL_APPLICATION {
            if self.outbox.len() < self.settings.limits.outbox {
                self.outbox.push(Reply { at: Duration::from_nanos(self.now), src, msg });
            } else {
                self.outbox_lost += 1;
            }
            return;
        }
        if to == from {
            self.nodes[from].stats.to_self += 1;
            return self.push(self.now, What::Arrive { src, dst: to, msg });
        }
        self.nodes[from].stats.sent += 1;
        self.traffic.sent += 1;
        if to >= self.nodes.len() {
            self.traffic.unroutable += 1;
        } else if self.longest.is_some_and(|(limit, measure)| measure(&msg) > limit) {
            self.traffic.too_long += 1;
        } else if self.links.is_cut(from, to) {
            self.traffic.cut += 1;
        } else if self.pending.len() >= self.settings.limits.in_flight {
            self.traffic.overflow += 1;
        } else {
            let fate = network::fate(&self.network, &mut self.rngs.network, &mut self.traffic);
            self.travel(src, to, msg, fate);
        }
    }

    fn travel(&mut self, src: Id, dst: usize, msg: A::Msg, fate: [Option<u64>; 2]) {
        let [Some(first), second] = fate else { return };
        if let Some(second) = second {
            let copy = What::Arrive { src, dst, msg: msg.clone() };
            self.push(self.now.saturating_add(second), copy);
        }
        self.push(self.now.saturating_add(first), What::Arrive { src, dst, msg });
    }

    fn set_timer(&mut self, node: usize, timer: A::Timer, range: Range<Duration>) {
        let span = Span::new(range.start, range.end.max(range.start));
        // At least a nanosecond, so that a timer that sets itself again does not stop virtual time.
        let after = self.settings.true_time(node, self.rngs.timers.within(span)).max(1);
        let set = self.number();
        self.nodes[node].timers.insert(timer.clone(), set);
        let life = self.nodes[node].life;
        self.push(self.now.saturating_add(after), What::Timer { node, life, timer, set });
    }

    /// Offers a random choice in place of an earlier one of the same key; nothing to choose from is no choice.
    fn offer(&mut self, node: usize, key: String, choices: Vec<A::Random>) {
        self.nodes[node].choices.remove(&key);
        if choices.is_empty() {
            return;
        }
        let made = self.number();
        let after = self.rngs.choices.within(self.settings.choice);
        self.nodes[node].choices.insert(key.clone(), (made, choices));
        let life = self.nodes[node].life;
        self.push(self.now.saturating_add(after), What::Choice { node, life, key, made });
    }
}
