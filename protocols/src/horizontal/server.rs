//! A server: its two roles in one state, and the dispatch of what happens to it.

use super::leader::Leading;
use super::{Config, Configured, Msg, Mutant, Node, Role, Storage, Timer};
use crate::client::ClientMsg;
use crate::faults::Faults;
use crate::ids::{Round, Slot};
use crate::log::ReplicaState;
use crate::operator::{OperatorMsg, Progress, Wanted};
use crate::sessions::{Sessions, Standing};
use crate::state_machine::StateMachine;
use parthood_quorums::NodeSet;
use stateright::actor::{Id, Out};
use std::sync::Arc;
use std::time::Duration;

/// A server, as configured.
#[derive(Clone, Debug)]
pub struct Server<F> {
    /// Its number.
    pub index: usize,
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

/// A server's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerState<M: StateMachine> {
    /// The largest round that it has used; saved before it is used.
    pub used: Option<Round>,
    /// The largest round that it has heard of.
    pub heard: Option<Round>,
    /// A leader wants the slots below to be saved.
    pub store_below: Slot,
    /// As a proposer that leads, or tries to.
    pub leading: Option<Leading<M::Command>>,
    /// As a replica.
    pub replica: ReplicaState<Configured<M>>,
}

/// One event being handled: what a server does are methods of this.
pub(super) struct Turn<'a, M: StateMachine, F: Faults<Mutant>> {
    pub(super) server: &'a Server<F>,
    pub(super) state: &'a mut ServerState<M>,
    out: &'a mut Out<Node<M, F>>,
    must_save: bool,
}

impl<F: Faults<Mutant>> Server<F> {
    /// The first state, or the one after a restart.
    pub(super) fn start<M: StateMachine>(
        &self,
        storage: Option<&Storage<M>>,
        out: &mut Out<Node<M, F>>,
    ) -> ServerState<M> {
        let (used, replica) = if let Some(Storage::Server { used, snapshot }) = storage {
            (*used, ReplicaState::at(snapshot.clone()))
        } else {
            let clients = self.config.known_clients.iter().copied();
            (None, ReplicaState::new(Sessions::with_clients(clients)))
        };
        let mut state = ServerState { used, heard: used, store_below: Slot::ZERO, leading: None, replica };
        self.turn(&mut state, out, |turn| {
            if turn.server.index == 0 && used.is_none() {
                turn.begin_round();
            } else {
                turn.await_leader();
            }
        });
        state
    }

    /// Would the server, in this state, do nothing about the message?
    pub(super) fn ignores<M: StateMachine>(&self, state: &ServerState<M>, src: Id, msg: &Msg<M>) -> bool {
        match (msg, self.config.role(src)) {
            (Msg::Client(ClientMsg::Request(command)), None) => {
                !command.is_sound::<M>(src) || state.replica.sessions.standing(&command.id) == Standing::Old
            }
            (Msg::Operator(OperatorMsg::Reconfigure { wanted, .. }), None) => {
                matches!(wanted, Wanted::Matchmakers(_))
            }
            (Msg::Nack { round }, Some(_)) => Some(*round) <= state.heard,
            (msg, Some(Role::Server(number))) if number != self.index => {
                self.ignores_server(state, number, msg)
            }
            (msg, Some(Role::Acceptor(number))) => state.leading.as_ref().is_none_or(|leading| match msg {
                Msg::Phase1b { round, from, .. } => !leading.awaits_report(*round, *from, number),
                Msg::Phase2b { round, slot } => {
                    let any_round = self.config.breaks(Mutant::CountForeignVotes);
                    !leading.awaits_vote((!any_round).then_some(*round), *slot, number)
                }
                Msg::Persisted(below) => *below <= state.replica.chosen_below.max(state.replica.executed),
                _ => true,
            }),
            _ => true,
        }
    }

    fn ignores_server<M: StateMachine>(&self, state: &ServerState<M>, server: usize, msg: &Msg<M>) -> bool {
        let replica = &state.replica;
        let executed = replica.executed;
        match msg {
            Msg::Ping { round, .. } => Some(*round) < state.heard && !self.config.bounds.nack,
            Msg::Store(_) => false,
            Msg::Stored(slot) => {
                state.leading.as_ref().is_none_or(|leading| leading.stored.get(&server) >= Some(slot))
            }
            Msg::CatchUp { from } => *from >= executed,
            Msg::Chosen { from, values } => {
                let mut slots = (from.0..).map(Slot).take(values.len());
                slots.all(|slot| slot < executed || replica.log.contains_key(&slot))
            }
            Msg::FetchSnapshot { .. } => replica.snapshot.slot == Slot::ZERO,
            Msg::SnapshotPart(part) => !replica.awaits_part(part, lacks(state)),
            _ => true,
        }
    }

    pub(super) fn on_msg<M: StateMachine>(
        &self,
        state: &mut ServerState<M>,
        src: Id,
        msg: Msg<M>,
        out: &mut Out<Node<M, F>>,
    ) {
        let number = match self.config.role(src) {
            Some(Role::Server(number) | Role::Acceptor(number)) => number,
            None => usize::MAX,
        };
        self.turn(state, out, |turn| match msg {
            Msg::Client(ClientMsg::Request(command)) => turn.on_request(src, command),
            Msg::Operator(OperatorMsg::Reconfigure { wanted, after, active }) => {
                turn.on_reconfigure(src, wanted, after, active);
            }
            Msg::Phase1b { from, report, .. } => turn.on_phase1b(number, from, &report),
            Msg::Phase2b { slot, .. } => turn.on_phase2b(number, slot),
            Msg::Nack { round } => turn.raise_round(round),
            Msg::Ping { round, chosen_below } => turn.on_ping(src, round, chosen_below),
            Msg::Store(below) => turn.on_store(src, below),
            Msg::Stored(slot) => turn.on_stored(number, slot),
            Msg::Persisted(below) => turn.expect_chosen(below, None),
            Msg::CatchUp { from } => turn.on_catch_up(src, from),
            Msg::Chosen { from, values } => turn.on_chosen(src, from, values),
            Msg::FetchSnapshot { slot, cursor } => turn.on_fetch_snapshot(src, slot, &cursor),
            Msg::SnapshotPart(part) => turn.on_snapshot_part(src, part),
            _ => {}
        });
    }

    pub(super) fn on_timeout<M: StateMachine>(
        &self,
        state: &mut ServerState<M>,
        timer: Timer,
        out: &mut Out<Node<M, F>>,
    ) {
        self.turn(state, out, |turn| match timer {
            Timer::Election => turn.on_election_timeout(),
            Timer::Ping => turn.ping(),
            Timer::Propose => turn.on_propose_timeout(),
            Timer::Resend => turn.on_resend_timeout(),
            Timer::CatchUp => turn.on_catch_up_timeout(),
            Timer::Retry(_) | Timer::Ask => {}
        });
    }

    /// Runs one turn, and saves if anything changed that must not be forgotten.
    fn turn<M: StateMachine>(
        &self,
        state: &mut ServerState<M>,
        out: &mut Out<Node<M, F>>,
        handle: impl FnOnce(&mut Turn<'_, M, F>),
    ) {
        let mut turn = Turn { server: self, state, out, must_save: false };
        handle(&mut turn);
        if turn.must_save {
            let used = turn.state.used.filter(|_| !turn.breaks(Mutant::ServerForgets));
            let snapshot = turn.state.replica.snapshot.clone();
            turn.out.save(Storage::Server { used, snapshot });
        }
    }
}

/// May it lack something? Whoever is about to lead does not know.
fn lacks<M: StateMachine>(state: &ServerState<M>) -> bool {
    state.replica.chosen_below > state.replica.executed
        || state.leading.as_ref().is_some_and(|leading| !leading.leads)
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// The smallest round of this server above all that it has heard of, if the bound allows it.
    fn next_round(&self) -> Option<Round> {
        let (index, servers) = (self.server.index, self.server.config.servers);
        let first = Round(index as u64);
        let round = self.state.heard.map_or(first, |heard| heard.next_owned_by(index, servers));
        (round <= self.server.config.bounds.round_max).then_some(round)
    }

    /// Gives a leader, present or hoped for, time to show itself.
    pub(super) fn await_leader(&mut self) {
        if self.state.leading.is_none() && self.next_round().is_some() {
            self.set_timer(Timer::Election);
        }
    }

    /// Stands for election: no leader was heard of for too long.
    fn on_election_timeout(&mut self) {
        if self.state.leading.is_none() {
            self.begin_round();
        }
    }

    /// Begins the smallest round of its own above all that it has heard of; saves that it does.
    fn begin_round(&mut self) {
        let Some(round) = self.next_round() else { return };
        (self.state.used, self.state.heard) = (Some(round), Some(round));
        self.save();
        let mut leading = Leading::new(round, self.state.replica.executed);
        leading.chunks = self.first_chunks();
        self.state.leading = Some(leading);
        self.cancel_timer(Timer::Election);
        self.set_timer(Timer::Resend);
        self.ask_for_reports();
        self.go_on();
    }

    /// Hears of a round; one above its own ends its leadership.
    pub(super) fn raise_round(&mut self, round: Round) {
        if Some(round) > self.state.heard {
            self.state.heard = Some(round);
            self.step_down();
        }
    }

    /// What is saved has changed: save it with this turn.
    pub(super) fn save(&mut self) {
        self.must_save = true;
    }

    pub(super) fn send(&mut self, dst: Id, msg: Msg<M>) {
        self.out.send(dst, msg);
    }

    /// Sends to the other servers.
    pub(super) fn send_to_others(&mut self, msg: &Msg<M>) {
        let others = NodeSet::first(self.server.config.servers).without(self.server.index);
        self.send_to_all(others, Role::Server, msg);
    }

    /// Sends to these participants of a role.
    pub(super) fn send_to_all(&mut self, numbers: NodeSet, role: fn(usize) -> Role, msg: &Msg<M>) {
        for number in numbers.iter() {
            self.out.send(self.server.config.id(role(number)), msg.clone());
        }
    }

    /// Tells an operator how far it is.
    pub(super) fn tell(&mut self, operator: Id, wanted: Wanted, progress: Progress) {
        self.send(operator, OperatorMsg::Progress { wanted, progress }.into());
    }

    pub(super) fn reply(&mut self, client: Id, msg: ClientMsg<M::Command, M::Output>) {
        if !self.breaks(Mutant::SilentLeader) || !matches!(msg, ClientMsg::Reply { .. }) {
            self.out.send(client, Msg::Client(msg));
        }
    }

    pub(super) fn set_timer(&mut self, timer: Timer) {
        let Config { timing, bounds, .. } = &*self.server.config;
        let after = match timer {
            Timer::Election => timing.election.clone(),
            Timer::Ping if bounds.ping => timing.ping..timing.ping,
            Timer::Resend if bounds.resend => timing.resend..timing.resend,
            Timer::CatchUp => timing.catch_up..timing.catch_up,
            Timer::Propose => timing.gather.map_or(Duration::ZERO..Duration::ZERO, |after| after..after),
            Timer::Ping | Timer::Resend | Timer::Retry(_) | Timer::Ask => return,
        };
        self.out.set_timer(timer, after);
    }

    pub(super) fn cancel_timer(&mut self, timer: Timer) {
        self.out.cancel_timer(timer);
    }

    pub(super) fn breaks(&self, rule: Mutant) -> bool {
        self.server.config.faults.breaks(rule)
    }
}
