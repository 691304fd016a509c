//! What a leader does to have other matchmakers serve.
//!
//! Commands go on meanwhile: a round that was matched needs matchmakers no more. A leader that finds its matchmakers stopped
//! by somebody who is gone ends what that one has begun, and asks those that serve then.

use super::server::Turn;
use super::{Announced, Asker, Matching, Msg, Mutant, Role, Stage};
use crate::faults::Faults;
use crate::matchmaker_paxos::Garbage;
use crate::matchmaking::{Ask, Change, Epoch, Outcome, Round, Said};
use crate::operator::{Progress, Refusal, Wanted, out_of_turn};
use crate::state_machine::StateMachine;
use parthood_quorums::NodeSet;
use stateright::actor::Id;

/// A change of matchmakers under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Handover {
    /// Who asked for it; nobody, where a leader ends what another one has begun.
    pub by: Option<Asker>,
    /// What was asked for.
    pub wanted: NodeSet,
    /// How far it is; none while another one is ahead.
    pub change: Option<Change<Announced>>,
    /// How often it has asked again in vain.
    pub attempts: u32,
}

/// An epoch that was chosen and that not enough participants know of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Settling {
    /// Who asked for it.
    pub operator: Option<usize>,
    /// The servers that have saved it.
    pub servers: NodeSet,
    /// Its matchmakers that serve.
    pub matchmakers: NodeSet,
    /// The log that its matchmakers begin with, for those that have missed it; unknown to whoever has not handed it over.
    pub log: Option<Ask<Announced>>,
    /// How often it has told them again.
    pub attempts: u32,
    /// Are the old matchmakers not needed any more?
    pub is_over: bool,
}

impl Settling {
    /// Is it time to do something about a matchmaker that has missed its log? Not while this leader has it to give, nor before the
    /// others serve and one that the last leader has told has had time to hear it.
    pub(super) fn minds_lack(&self, epoch: &Epoch, patience: u32) -> bool {
        self.log.is_none() && epoch.is_quorum(self.matchmakers) && self.attempts > patience
    }
}

/// Once the old matchmakers are not needed, a new one that is missing is told every so many times only: it may be gone.
const RARELY: u32 = 16;

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// An operator wants these matchmakers, or asks how far that is.
    pub(super) fn order_matchmakers(
        &mut self,
        number: usize,
        wanted: NodeSet,
        after: Option<u64>,
        active: Option<u64>,
    ) -> Progress {
        let (config, epoch) = (&self.server.config, self.state.epoch);
        let Some(leading) = &self.state.leading else {
            return Progress::Elsewhere(self.state.heard.map_or(0, |round| round.proposer));
        };
        if leading.handover.as_ref().is_some_and(|handover| handover.wanted == wanted) {
            return Progress::Waiting;
        }
        if active.is_some_and(|active| active < epoch.number) {
            return Progress::Superseded(epoch.number);
        }
        if epoch.members == wanted {
            let settles = leading.settling.as_ref().is_some_and(|settling| !settling.is_over);
            return if settles && !self.breaks(Mutant::HandedOverTooEarly) {
                Progress::Active(epoch.number)
            } else {
                Progress::Retired(epoch.number)
            };
        }
        match leading.handover.as_ref().map(|handover| handover.by) {
            Some(Some(_)) => return Progress::Refused(Refusal::UnderWay(0)),
            // Nobody asked for that, and it is over soon.
            Some(None) => return Progress::Waiting,
            None => {}
        }
        if let Some(refusal) = config.refusal_of_matchmakers(wanted) {
            return Progress::Refused(refusal);
        }
        let heeds_any = self.breaks(Mutant::HeedLateCopies);
        if let Some(progress) = out_of_turn(after, epoch.number).filter(|_| !heeds_any) {
            return progress;
        }
        // Matchmakers that stop answer no round, and until its own is matched it cannot say that it leads: somebody else would
        // stand, and end what it has begun with the present ones. Its operator will ask again.
        if leading.is_steady() {
            self.begin_handover(Some(Asker::Operator { number, after: epoch.number }), wanted);
        }
        Progress::Waiting
    }

    /// Begins, or begins again, to replace the matchmakers, in a ballot that it has not used.
    pub(super) fn begin_handover(&mut self, by: Option<Asker>, wanted: NodeSet) {
        let ballot = Round::next_owned_by(self.server.index, self.state.ballot);
        if ballot.age() >= self.server.config.bounds.rounds_max || self.state.leading.is_none() {
            return;
        }
        self.state.ballot = Some(ballot);
        self.save();
        let change = Some(Change::new(self.state.epoch, ballot, wanted));
        if let Some(leading) = self.leading() {
            leading.handover = Some(Handover { by, wanted, change, attempts: 0 });
        }
        self.ask_for_change();
    }

    fn ask_for_change(&mut self) {
        let change =
            self.state.leading.as_ref().and_then(|leading| leading.handover.as_ref()?.change.as_ref());
        if let Some((whom, question)) = change.map(Change::questions) {
            self.send_to_all(whom, Role::Matchmaker, &Msg::Ask(question));
        }
    }

    /// Takes an answer in about who follows.
    pub(super) fn on_change(&mut self, matchmaker: usize, said: Said<Announced>) {
        let rules = self.server.config.rules();
        let handover = self.leading().and_then(|leading| leading.handover.as_mut());
        let Some(change) = handover.and_then(|handover| handover.change.as_mut()) else { return };
        let outcome = change.on(matchmaker, said, rules);
        self.act_on_change(outcome);
    }

    fn act_on_change(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Waits => {}
            Outcome::Advances => {
                if let Some(handover) = self.leading().and_then(|leading| leading.handover.as_mut()) {
                    handover.attempts = 0;
                }
                self.ask_for_change();
            }
            Outcome::Overtaken(ballot) => {
                self.state.ballot = self.state.ballot.max(Some(ballot));
                if let Some(handover) = self.leading().and_then(|leading| leading.handover.as_mut()) {
                    handover.change = None;
                }
            }
            Outcome::Chosen(epoch) => self.learn_epoch(epoch),
        }
    }

    /// Asks again about a change of matchmakers; takes other members for those that do not answer, or a higher ballot.
    pub(super) fn resend_change(&mut self) {
        let (patience, rules) = (self.server.config.patience, self.server.config.rules());
        let Some(handover) = self.leading().and_then(|leading| leading.handover.as_mut()) else { return };
        let (by, wanted) = (handover.by, handover.wanted);
        handover.attempts = handover.attempts.saturating_add(1);
        let impatient = handover.attempts > patience;
        let Some(change) = &mut handover.change else { return self.begin_handover(by, wanted) };
        let stragglers = change.stragglers();
        let outcome = if impatient { change.lose_patience(rules) } else { Outcome::Waits };
        if outcome == Outcome::Waits {
            self.ask_for_change();
            if let Some((whom, stop)) = stragglers {
                self.send_to_all(whom, Role::Matchmaker, &Msg::Ask(stop));
            }
        } else {
            self.act_on_change(outcome);
        }
    }

    /// A matchmaker answers nobody in the epoch that it was asked about. Where no other one is chosen and nobody seems to be
    /// about it, ends what somebody has begun, with the same matchmakers.
    pub(super) fn on_over(&mut self, newest: Epoch, stopped: bool) {
        let epoch = self.state.epoch;
        if newest.number > epoch.number {
            self.learn_epoch(newest);
        } else if newest == epoch
            && stopped
            && self.leading().is_some_and(|leading| leading.handover.is_none())
        {
            self.begin_handover(None, epoch.members);
        }
    }

    /// Others serve now. What was answered before does not count together with what they answer.
    pub(super) fn learn_epoch(&mut self, newest: Epoch) {
        if newest.number <= self.state.epoch.number {
            return;
        }
        let old = self.state.epoch.members.difference(newest.members);
        self.state.epoch = newest;
        self.save();
        let combine = self.breaks(Mutant::CombineEpochs);
        let Some(leading) = self.leading() else { return };
        if !combine {
            if let Stage::Matching(answers) = &mut leading.stage {
                *answers = Matching::default();
            }
            if let Some(next) = &mut leading.next {
                next.answers = Matching::default();
            }
        }
        if let Garbage::Asked(confirmed) = &mut leading.garbage {
            *confirmed = NodeSet::EMPTY;
        }
        let handover = leading.handover.take();
        let mut settling = Settling::default();
        if let Some(handover) = handover {
            let change = handover.change.as_ref();
            let is_next =
                |change: &&Change<Announced>| change.epoch.number.checked_add(1) == Some(newest.number);
            settling.log = change.filter(is_next).and_then(Change::bootstrap);
            let is_done = handover.wanted == newest.members;
            let is_replaced = handover.change.as_ref().is_some_and(|change| change.wanted == newest.members);
            match handover.by {
                Some(Asker::Operator { number, .. }) if is_done => settling.operator = Some(number),
                Some(Asker::Operator { number, .. }) if is_replaced => {
                    self.tell_silent(number, handover.wanted, newest);
                }
                // It was to follow another epoch: its operator is told when it asks again.
                Some(Asker::Operator { .. }) if !self.breaks(Mutant::HeedLateCopies) => {}
                Some(Asker::File(_)) if is_done || is_replaced => self.order_of_file(),
                Some(by) => self.begin_handover(Some(by), handover.wanted),
                None => {}
            }
        }
        if let Some(leading) = self.leading() {
            leading.settling = Some(settling);
        }
        // Whoever asks an old matchmaker is then told who follows, and not only that it has stopped.
        self.send_to_all(old, Role::Matchmaker, &Msg::Ask(Ask::Learn(newest)));
        self.ask_matchmakers();
        self.ask_to_retire();
        self.tell_handover();
        self.settle();
    }

    /// One of the wanted matchmakers did not answer, and another one serves in its place.
    fn tell_silent(&mut self, operator: usize, wanted: NodeSet, newest: Epoch) {
        let silent = wanted.difference(newest.members).iter().next().unwrap_or_default();
        let progress = Progress::Refused(Refusal::Silent(silent));
        self.tell(Id::from(operator), Wanted::Matchmakers(wanted), progress);
    }

    /// Tells whoever asked for the present matchmakers how far they are.
    fn tell_handover(&mut self) {
        let early = self.breaks(Mutant::HandedOverTooEarly);
        let epoch = self.state.epoch;
        let Some(leading) = self.leading() else { return };
        let Some(settling) = &leading.settling else { return };
        if let Some(operator) = settling.operator {
            let progress =
                if early { Progress::Retired(epoch.number) } else { Progress::Active(epoch.number) };
            let wanted = Wanted::Matchmakers(epoch.members);
            self.tell(Id::from(operator), wanted, progress);
        }
    }

    /// Tells who serves, until the old matchmakers are not needed even to say so: one more server than may fail has saved it,
    /// and all of the new ones serve; or as many, if the others do not answer.
    pub(super) fn settle(&mut self) {
        if !self.is_settled() {
            self.tell_who_serves();
        }
    }

    /// Notes it, and tells the operator, if the old matchmakers are not needed any more.
    fn is_settled(&mut self) -> bool {
        let (index, epoch, patience) = (self.server.index, self.state.epoch, self.server.config.patience);
        let needed = if self.breaks(Mutant::SettleWithOneServer) { 1 } else { self.server.config.f() + 1 };
        let one = self.breaks(Mutant::SettleWithOneMatchmaker);
        let Some(leading) = self.leading() else { return true };
        let Some(settling) = &mut leading.settling else { return true };
        let (servers, matchmakers) = (settling.servers, settling.matchmakers);
        let all_serve = epoch.members.is_subset(matchmakers);
        let enough_serve = epoch.is_quorum(matchmakers) && settling.attempts > patience;
        let serve = all_serve || enough_serve || one && !matchmakers.is_empty();
        if servers.with(index).len() < needed || !serve {
            return false;
        }
        let operator = settling.operator.take();
        settling.is_over = true;
        if all_serve {
            leading.settling = None;
        }
        if let Some(operator) = operator {
            let (wanted, progress) = (Wanted::Matchmakers(epoch.members), Progress::Retired(epoch.number));
            self.tell(Id::from(operator), wanted, progress);
        }
        true
    }

    fn tell_who_serves(&mut self) {
        let (index, epoch) = (self.server.index, self.state.epoch);
        let others = NodeSet::first(self.server.config.servers).without(index);
        let Some(settling) = self.leading().and_then(|leading| leading.settling.as_ref()) else { return };
        let (servers, matchmakers) = (settling.servers, settling.matchmakers);
        self.send_to_all(others.difference(servers), Role::Server, &Msg::Serve(epoch));
        let missing = epoch.members.difference(matchmakers);
        self.send_to_all(missing, Role::Matchmaker, &Msg::Ask(Ask::Learn(epoch)));
    }

    /// Tells again who serves, and gives the log to matchmakers that have missed it; these also when the old ones are not
    /// needed any more, for as long as this leader leads.
    pub(super) fn settle_again(&mut self) {
        let members = self.state.epoch.members;
        let Some(settling) = self.leading().and_then(|leading| leading.settling.as_mut()) else { return };
        settling.attempts = settling.attempts.saturating_add(1);
        if settling.is_over && settling.attempts % RARELY != 0 {
            return;
        }
        let (log, missing) = (settling.log.clone(), members.difference(settling.matchmakers));
        if let Some(log) = log {
            self.send_to_all(missing, Role::Matchmaker, &Msg::Ask(log));
        }
        self.is_settled();
        self.tell_who_serves();
    }

    pub(super) fn on_serve(&mut self, leader: Id, epoch: Epoch) {
        self.learn_epoch(epoch);
        self.send(leader, Msg::Serves(self.state.epoch.number));
    }

    /// A matchmaker has missed the log of the present epoch, and nobody is left who has handed it over: the same ones begin another
    /// epoch, with a log that all of them get.
    pub(super) fn on_lacks(&mut self) {
        self.begin_handover(None, self.state.epoch.members);
    }

    /// A server has saved who serves, or a matchmaker does.
    pub(super) fn on_settled(&mut self, role: Role) {
        let Some(settling) = self.leading().and_then(|leading| leading.settling.as_mut()) else { return };
        match role {
            Role::Server(number) => settling.servers.insert(number),
            Role::Matchmaker(number) => settling.matchmakers.insert(number),
            Role::Acceptor(_) => return,
        };
        self.is_settled();
    }
}
