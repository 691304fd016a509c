//! What a leader does to use other acceptors, and to retire the old ones.

use super::server::Turn;
use super::{Announced, Leading, Matching, Msg, Mutant, Role, Stage, Transition};
use crate::faults::Faults;
use crate::ids::Slot;
use crate::matchmaker_paxos::Garbage;
use crate::matchmaking::{Ask, Configuration, Round};
use crate::operator::{Progress, Refusal, Wanted, out_of_turn};
use crate::state_machine::StateMachine;
use parthood_quorums::{NodeSet, QuorumSystem};
use stateright::actor::Id;

/// Who asks for a reconfiguration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Asker {
    /// An operator, who is told how far it is.
    Operator {
        /// Who.
        number: usize,
        /// What it is to follow: the version of a configuration, or the number of an epoch.
        after: u64,
    },
    /// The leader's cluster file, of this generation.
    File(u64),
}

impl Asker {
    /// Who is told.
    pub(super) fn operator(self) -> Option<usize> {
        match self {
            Self::Operator { number, .. } => Some(number),
            Self::File(_) => None,
        }
    }

    /// The newest file that will have been heeded then, if it was this one before.
    pub(super) fn generation(self, heeded: u64) -> u64 {
        match self {
            Self::Operator { .. } => heeded,
            Self::File(generation) => generation,
        }
    }
}

/// After so many times its patience a leader takes acceptors that have never answered it for absent. They may just be starting.
const ABSENT: u32 = 4;

/// After so many times its patience it gives up what its operator does not ask for any more.
const FORGOTTEN: u32 = 8;

/// A reconfiguration that waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order {
    /// Who asked.
    pub by: Asker,
    /// What was asked for.
    pub wanted: Configuration,
    /// How often the leader has sent again since it was last asked for.
    pub age: u32,
}

/// The acceptors of the first reconfiguration that waits, asked whether they are there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Call {
    /// Those that have answered.
    pub answered: NodeSet,
    /// How often they were asked again.
    pub attempts: u32,
}

/// The round that a leader is about to go on to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Next {
    /// The round.
    pub round: Round,
    /// Its configuration.
    pub announced: Announced,
    /// Who asked for it.
    pub by: Asker,
    /// The matchmakers' answers so far.
    pub answers: Matching,
}

impl Next {
    /// What was asked for.
    pub(super) fn order(self) -> Order {
        Order { by: self.by, wanted: self.announced.configuration, age: 0 }
    }
}

impl<C: Clone> Leading<C> {
    /// The next reconfiguration that waits, after this version. A file that is not newer any more than what is in force waits
    /// in vain, and so does what was to follow another version: its operator is told when it asks again.
    pub(super) fn next_order(&mut self, version: u64, breaks: impl Fn(Mutant) -> bool) -> Option<Order> {
        self.drop_outdated(version, breaks);
        self.call = None;
        self.orders.pop_front()
    }

    fn drop_outdated(&mut self, version: u64, breaks: impl Fn(Mutant) -> bool) {
        let heeded = self.announced.generation;
        let is_outdated = |order: &Order| match order.by {
            Asker::File(generation) => generation <= heeded && !breaks(Mutant::HeedAnyFile),
            Asker::Operator { after, .. } => after != version && !breaks(Mutant::HeedLateCopies),
        };
        while self.orders.front().is_some_and(is_outdated) {
            self.orders.pop_front();
            self.call = None;
        }
    }

    /// Is it of interest that this acceptor answers?
    pub(super) fn calls(&self, acceptor: usize) -> bool {
        let wanted = self.orders.front().is_some_and(|order| order.wanted.acceptors().contains(acceptor));
        wanted && self.call.as_ref().is_some_and(|call| !call.answered.contains(acceptor))
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// Does what an operator asks for, or says how far it is. To ask again is harmless.
    pub(super) fn on_reconfigure(
        &mut self,
        operator: Id,
        wanted: Wanted,
        after: Option<u64>,
        active: Option<u64>,
    ) {
        let number = usize::from(operator);
        let progress = match &wanted {
            Wanted::Acceptors(configuration) => self.order(number, configuration, after, active),
            Wanted::Matchmakers(members) => self.order_matchmakers(number, *members, after, active),
        };
        self.tell(operator, wanted, progress);
        self.begin_next();
    }

    fn order(
        &mut self,
        number: usize,
        wanted: &Configuration,
        after: Option<u64>,
        active: Option<u64>,
    ) -> Progress {
        let config = &self.server.config;
        let present = self.present();
        let heeds_any = self.breaks(Mutant::HeedLateCopies);
        let Some(leading) = &mut self.state.leading else {
            return Progress::Elsewhere(self.state.heard.map_or(0, |round| round.proposer));
        };
        let is_next = leading.next.as_ref().is_some_and(|next| next.announced.configuration == *wanted);
        if is_next {
            return Progress::Waiting;
        }
        if let Some(order) = leading.orders.iter_mut().find(|order| order.wanted == *wanted) {
            order.age = 0;
            return Progress::Waiting;
        }
        // What was active is not made active again because its operator has not heard that another one followed.
        let version = leading.announced.version;
        if active.is_some_and(|active| active < version) {
            return Progress::Superseded(version);
        }
        // It is in force: as the last one that was asked for, or as what came of this very request, though others wait.
        let is_last = leading.next.is_none() && leading.orders.is_empty();
        let is_done = is_last || after.is_some_and(|after| after < version);
        if let Some(present) = present.filter(|_| is_done && leading.announced.configuration == *wanted) {
            return present;
        }
        if let Some(refusal) = config.refusal(wanted) {
            return Progress::Refused(refusal);
        }
        // A leader that leads has one of them under way.
        let waiting = leading.orders.len() + usize::from(leading.next.is_some());
        if waiting >= config.orders_max + usize::from(leading.is_steady()) {
            return Progress::Refused(Refusal::UnderWay(config.orders_max));
        }
        if let Some(progress) = out_of_turn(after, version).filter(|_| !heeds_any) {
            return progress;
        }
        // Those before it will have been done by then.
        let by = Asker::Operator { number, after: version + waiting as u64 };
        leading.orders.push_back(Order { by, wanted: wanted.clone(), age: 0 });
        Progress::Waiting
    }

    /// How far the present configuration is.
    fn present(&mut self) -> Option<Progress> {
        let early = self.breaks(Mutant::RetiredTooEarly);
        let leading = self.leading()?;
        let version = leading.announced.version;
        Some(match leading.garbage {
            _ if !leading.is_steady() => Progress::Waiting,
            Garbage::Done => Progress::Retired(version),
            Garbage::Asked(_) if early => Progress::Retired(version),
            Garbage::Idle | Garbage::Asked(_) => Progress::Active(version),
        })
    }

    /// Tells whoever asked for the present configuration how far it is.
    pub(super) fn tell_operator(&mut self) {
        let Some(progress) = self.present() else { return };
        let Some(leading) = self.leading() else { return };
        if let Some(operator) = leading.operator {
            let wanted = Wanted::Acceptors(leading.announced.configuration.clone());
            self.tell(Id::from(operator), wanted, progress);
        }
    }

    /// Announces the next configuration that was asked for, in the immediate successor of its round: nobody else's round
    /// lies between. Where somebody has begun a higher round, that one's leader will have to do it.
    pub(super) fn begin_next(&mut self) {
        let (index, heard) = (self.server.index, self.state.heard);
        let any_round = self.breaks(Mutant::BypassFromAnyRound);
        let unfinished = self.breaks(Mutant::BypassUnfinishedPhase1);
        let early = self.breaks(Mutant::ActiveTooEarly);
        let faults = self.server.config.faults;
        let restarts = self.server.config.transition == Transition::Restarts;
        let rounds_max = self.server.config.bounds.rounds_max;
        let Some(leading) = self.leading() else { return };
        let mut round = leading.round.successor();
        if any_round {
            round = Round::next_owned_by(index, heard);
        }
        let is_ready = leading.is_steady() || unfinished;
        if !is_ready || leading.next.is_some() || round.age() >= rounds_max {
            return;
        }
        if restarts && !leading.orders.is_empty() {
            self.begin_another_round();
            return;
        }
        let version = leading.announced.version;
        leading.drop_outdated(version, |mutant| faults.breaks(mutant));
        if !self.wanted_are_there() {
            return;
        }
        let Some(leading) = self.leading() else { return };
        let Some(order) = leading.next_order(version, |mutant| faults.breaks(mutant)) else { return };
        let version = version + 1;
        let generation = order.by.generation(leading.announced.generation);
        let announced = Announced { version, since: round, generation, configuration: order.wanted };
        if let Some(operator) = order.by.operator().filter(|_| early) {
            let wanted = Wanted::Acceptors(announced.configuration.clone());
            let progress = Progress::Active(announced.version);
            self.tell(Id::from(operator), wanted, progress);
        }
        if let Some(leading) = self.leading() {
            let answers = Matching::default();
            leading.next = Some(Next { round, announced, by: order.by, answers });
        }
        self.use_round(round);
        self.ask_matchmakers();
    }

    /// Asks all acceptors whether they are there, so that those that are wanted next need not be asked then. (What is stored
    /// anybody may be told, and says that it was.)
    pub(super) fn look_around(&mut self) {
        let all = NodeSet::first(self.server.config.acceptors);
        let asks = self.server.config.bounds.ask_first;
        let Some(leading) = self.steady().filter(|_| asks) else { return };
        leading.seen = [NodeSet::EMPTY, leading.seen[0]];
        let below = leading.persisted;
        self.send_to_all(all, Role::Acceptor, &Msg::Persisted(below));
    }

    /// Are so many of the acceptors there that the first order wants that they could vote? Asks them, if they have not answered of
    /// late and were not asked: once they are active, slots wait for them.
    fn wanted_are_there(&mut self) -> bool {
        let asks = self.server.config.bounds.ask_first && !self.breaks(Mutant::ActivateUnseen);
        let Some(leading) = self.leading().filter(|_| asks) else { return true };
        let Some(order) = leading.orders.front() else { return true };
        if let Some(call) = &leading.call {
            return order.wanted.is_write_quorum(call.answered);
        }
        if order.wanted.is_write_quorum(leading.seen[0].union(leading.seen[1])) {
            return true;
        }
        leading.call = Some(Call::default());
        self.call_wanted();
        false
    }

    fn call_wanted(&mut self) {
        let Some(leading) = self.leading() else { return };
        let (Some(order), Some(call)) = (leading.orders.front(), &leading.call) else { return };
        let missing = order.wanted.acceptors().difference(call.answered);
        let below = leading.persisted;
        self.send_to_all(missing, Role::Acceptor, &Msg::Persisted(below));
    }

    /// Asks wanted acceptors again that have not answered; gives the reconfiguration up when its patience is at an end. Gives
    /// up as well what nobody has asked for in a long time: its operator is gone.
    pub(super) fn age_orders(&mut self) {
        let patience = self.server.config.patience;
        let [absent, forgotten] = [ABSENT, FORGOTTEN].map(|times| patience.saturating_mul(times));
        let Some(leading) = self.leading() else { return };
        leading.orders.iter_mut().for_each(|order| order.age = order.age.saturating_add(1));
        let first = leading.orders.front().cloned();
        let is_kept = |order: &Order| matches!(order.by, Asker::File(_)) || order.age <= forgotten;
        leading.orders.retain(is_kept);
        if leading.orders.front() != first.as_ref() {
            leading.call = None;
        }
        if let Some(call) = &mut leading.call {
            call.attempts = call.attempts.saturating_add(1);
            if call.attempts > absent { self.give_up_first() } else { self.call_wanted() }
        }
        self.begin_next();
    }

    /// Some of the acceptors that the first order wants do not answer: it is not done.
    fn give_up_first(&mut self) {
        let Some(leading) = self.leading() else { return };
        let (Some(call), Some(order)) = (leading.call.take(), leading.orders.pop_front()) else { return };
        let silent = order.wanted.acceptors().difference(call.answered).iter().next();
        if let (Some(operator), Some(silent)) = (order.by.operator(), silent) {
            let progress = Progress::Refused(Refusal::SilentAcceptor(silent));
            self.tell(Id::from(operator), Wanted::Acceptors(order.wanted), progress);
        }
    }

    /// Enough matchmakers know the next configuration: from now on slots belong to it. What is pending is proposed in it
    /// again, with the same value; nobody is asked about the past.
    pub(super) fn activate(&mut self) {
        let reuse = self.breaks(Mutant::ReuseLastSlot);
        let forget = self.breaks(Mutant::ForgetPending);
        let Some(leading) = self.leading() else { return };
        let Some(next) = leading.next.take() else { return };
        let old = std::mem::replace(&mut leading.announced, next.announced);
        leading.previous = Some((leading.round, old.configuration));
        leading.round = next.round;
        leading.stage = Stage::Steady;
        leading.operator = next.by.operator();
        leading.garbage = Garbage::Idle;
        if reuse && leading.next_slot > Slot::ZERO {
            leading.next_slot = leading.next_slot.minus(1);
        }
        leading.free_from = leading.next_slot;
        let known = leading.announced.clone();
        if forget {
            leading.outstanding = im::OrdMap::new();
        }
        let pending: Vec<_> = leading.outstanding.iter().map(|(slot, one)| (*slot, one.clone())).collect();
        self.state.known = known;
        self.save();
        self.forget_previous();
        for (slot, old) in pending {
            self.propose(slot, old.value);
            if let Some(proposal) = self.leading().and_then(|leading| leading.outstanding.get_mut(&slot)) {
                proposal.voted_before = old.voted;
            }
        }
        self.tell_operator();
        self.ping();
        self.tell_persisted();
        self.make_durable();
        self.propose_queue();
        self.begin_next();
    }

    /// Sees to it that everything below the slots that are free is stored, if the acceptors of smaller rounds are to go.
    pub(super) fn make_durable(&mut self) {
        let at_once = self.breaks(Mutant::CollectAtOnce);
        let collects = self.server.config.bounds.collect;
        let Some(leading) = self.steady().filter(|_| collects) else { return };
        let below = leading.free_from;
        self.state.store_below = self.state.store_below.max(below);
        self.ask_to_store();
        self.store_if_due();
        self.persist();
        if at_once {
            self.collect();
        }
    }

    /// Asks, or asks again, servers to save what the slots below those that are free amount to.
    pub(super) fn ask_to_store(&mut self) {
        let collects = self.server.config.bounds.collect;
        let others = NodeSet::first(self.server.config.servers).without(self.server.index);
        let Some(leading) = self.steady().filter(|leading| collects && leading.garbage == Garbage::Idle)
        else {
            return;
        };
        let below = leading.free_from;
        if below > Slot::ZERO {
            let stored = |server: &usize| leading.stored.get(server) >= Some(&below);
            let missing = others.iter().filter(|server| !stored(server)).collect();
            self.send_to_all(missing, Role::Server, &Msg::Store(below));
        }
    }

    pub(super) fn on_stored(&mut self, server: usize, slot: Slot) {
        if let Some(leading) = self.leading() {
            leading.stored.insert(server, slot);
            self.persist();
        }
    }

    /// Tells acceptors how far enough servers have saved what the log amounts to, if that is farther than they know.
    pub(super) fn persist(&mut self) {
        let stored = self.stored_below();
        let Some(leading) = self.steady() else { return };
        if stored > leading.persisted {
            leading.persisted = stored;
            self.tell_persisted();
        }
        self.collect_if_due();
    }

    /// Tells, or tells again, the acceptors that have not noted it.
    pub(super) fn tell_persisted(&mut self) {
        let Some(leading) = self.steady() else { return };
        let below = leading.persisted;
        if below > Slot::ZERO {
            let noted = |acceptor: &usize| leading.noted.get(acceptor) >= Some(&below);
            let acceptors = leading.announced.configuration.acceptors();
            let missing = acceptors.iter().filter(|acceptor| !noted(acceptor)).collect();
            self.send_to_all(missing, Role::Acceptor, &Msg::Persisted(below));
        }
    }

    /// An acceptor has noted that slots are stored; perhaps more than this server knows to be chosen.
    pub(super) fn on_persisted_ack(&mut self, acceptor: usize, below: Slot) {
        let asks = self.server.config.bounds.ask_first;
        if let Some(leading) = self.leading() {
            let known = leading.noted.get(&acceptor).copied().unwrap_or_default();
            leading.noted.insert(acceptor, known.max(below));
            if asks {
                leading.seen[0].insert(acceptor);
            }
            let calls = leading.calls(acceptor);
            if let Some(call) = leading.call.as_mut().filter(|_| calls) {
                call.answered.insert(acceptor);
            }
            self.expect_chosen(below, None);
            self.collect_if_due();
            if calls {
                self.begin_next();
            }
        }
    }

    /// Retires smaller rounds, once a write quorum knows of all slots that a smaller round can have had a value for.
    fn collect_if_due(&mut self) {
        let unnoted = self.breaks(Mutant::CollectBeforePersisted);
        let Some(leading) = self.steady() else { return };
        let free_from = leading.free_from;
        let noted = leading.noted.iter().filter(|(_, below)| **below >= free_from).map(|(one, _)| *one);
        let is_noted = leading.announced.configuration.is_write_quorum(noted.collect());
        if is_noted || free_from == Slot::ZERO || unnoted && leading.persisted >= free_from {
            self.collect();
        }
    }

    /// Has the matchmakers forget what is below its round. Below the first round there is nothing.
    fn collect(&mut self) {
        let collects = self.server.config.bounds.collect;
        let Some(leading) = self.leading().filter(|leading| collects && leading.garbage == Garbage::Idle)
        else {
            return;
        };
        if leading.round == Round::ZERO {
            leading.garbage = Garbage::Done;
            self.tell_operator();
        } else {
            leading.garbage = Garbage::Asked(NodeSet::EMPTY);
            self.ask_to_retire();
            if self.breaks(Mutant::RetiredTooEarly) {
                self.tell_operator();
            }
        }
    }

    /// Tells, or tells again, the matchmakers that have not confirmed.
    pub(super) fn ask_to_retire(&mut self) {
        let epoch = self.state.epoch;
        let Some(leading) = self.leading() else { return };
        if let Garbage::Asked(confirmed) = leading.garbage {
            let ask = Ask::GarbageA { epoch, round: leading.round, age: leading.announced.age() };
            self.send_to_all(epoch.members.difference(confirmed), Role::Matchmaker, &Msg::Ask(ask));
        }
    }

    pub(super) fn on_garbage_b(&mut self, matchmaker: usize) {
        let epoch = self.state.epoch;
        let Some(leading) = &mut self.state.leading else { return };
        let Garbage::Asked(confirmed) = &mut leading.garbage else { return };
        confirmed.insert(matchmaker);
        if epoch.is_quorum(*confirmed) {
            leading.garbage = Garbage::Done;
            self.tell_operator();
        }
    }
}
