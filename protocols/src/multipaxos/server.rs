//! A server: its three roles in one state, and the dispatch of what happens to it.

use super::leader::{LeaderState, Leadership};
use super::{Config, Msg, Mutant, Node, Storage, Timer};
use crate::client::ClientMsg;
use crate::faults::Faults;
use crate::ids::{Round, Slot};
use crate::log::{AcceptorState, ReplicaState};
use crate::sessions::{Sessions, Standing};
use crate::state_machine::StateMachine;
use stateright::actor::{Id, Out};
use std::sync::Arc;
use std::time::Duration;

/// A server, as configured.
#[derive(Clone, Debug)]
pub struct Server<F> {
    /// Its index.
    pub index: usize,
    /// Whether it may vote when it starts without storage. A server that had storage and lost it must not: it would
    /// break promises it does not remember. It then only executes and serves.
    pub voting: bool,
    /// What all servers know.
    pub config: Arc<Config<F>>,
}

/// A server's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerState<M: StateMachine> {
    /// As an acceptor.
    pub acceptor: AcceptorState<M::Command>,
    /// As a proposer.
    pub leadership: Leadership<M::Command>,
    /// As a replica.
    pub replica: ReplicaState<M>,
}

/// One event being handled: the roles of a server are methods of this.
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
        let known_clients = self.config.known_clients.iter().copied();
        let mut state = match storage {
            Some(storage) => storage.restore(),
            None => ServerState {
                acceptor: AcceptorState::new(self.voting),
                leadership: Leadership::Follower,
                replica: ReplicaState::new(Sessions::with_clients(known_clients)),
            },
        };
        self.turn(&mut state, out, |turn| {
            // Nothing precedes round zero, so its owner leads without phase 1: once, which the save makes sure of.
            let faults = turn.server.config.faults;
            let first_start = storage.is_none() || faults.breaks(Mutant::SkipPhase1AfterRestart);
            if turn.server.index == 0 && first_start && turn.state.acceptor.voting {
                turn.save();
                turn.lead(LeaderState::new(Round::ZERO, Slot::ZERO));
                turn.ping();
            } else {
                turn.await_leader();
            }
        });
        state
    }

    /// Would the server, in this state, do nothing about the message?
    pub(super) fn ignores<M: StateMachine>(&self, state: &ServerState<M>, src: Id, msg: &Msg<M>) -> bool {
        let server = usize::from(src);
        let from_server = server < self.config.servers && server != self.index;
        if matches!(msg, Msg::Client(_)) == from_server {
            return true;
        }
        let executed = state.replica.executed;
        // Where stale rounds are not answered, nothing at all becomes of them.
        let answers = self.config.bounds.nack || self.config.faults.breaks(Mutant::AcceptLowerRound);
        let is_over = |round: Round| round < state.acceptor.round && !answers;
        match msg {
            Msg::Client(ClientMsg::Request(command)) => {
                !command.is_sound::<M>(src) || state.replica.sessions.standing(&command.id) == Standing::Old
            }
            Msg::Client(_) => true,
            Msg::Phase1a { round, .. } | Msg::Phase2a { round, .. } => {
                !state.acceptor.voting || is_over(*round)
            }
            Msg::Phase1b { round, from, .. } => !state.leadership.awaits_report(*round, *from, server),
            Msg::Phase2b { round, slot } => {
                let any_round = self.config.faults.breaks(Mutant::CountForeignVotes);
                !state.leadership.awaits_vote((!any_round).then_some(*round), *slot, server)
            }
            Msg::Nack { round } => *round <= state.acceptor.round,
            Msg::Ping { round, .. } => is_over(*round),
            Msg::CatchUp { from } => *from >= executed,
            Msg::Chosen { from, values } => from.plus(values.len() as u64) <= executed,
            Msg::FetchSnapshot { .. } => state.replica.snapshot.slot == Slot::ZERO,
            Msg::SnapshotPart(part) => {
                !state.replica.awaits_part(part, state.replica.chosen_below > executed)
            }
        }
    }

    /// Handles a message that is not ignored.
    pub(super) fn on_msg<M: StateMachine>(
        &self,
        state: &mut ServerState<M>,
        src: Id,
        msg: Msg<M>,
        out: &mut Out<Node<M, F>>,
    ) {
        self.turn(state, out, |turn| match msg {
            Msg::Client(ClientMsg::Request(command)) => turn.on_request(src, command),
            Msg::Client(_) => {}
            Msg::Phase1a { round, from } => turn.on_phase1a(src, round, from),
            Msg::Phase1b { report, .. } => turn.on_phase1b(usize::from(src), report),
            Msg::Phase2a { round, slot, value, chosen_below } => {
                turn.on_phase2a(src, round, slot, value, chosen_below);
            }
            Msg::Phase2b { slot, .. } => turn.on_phase2b(usize::from(src), slot),
            Msg::Nack { round } => turn.raise_round(round),
            Msg::Ping { round, chosen_below } => turn.on_ping(src, round, chosen_below),
            Msg::CatchUp { from } => turn.on_catch_up(src, from),
            Msg::Chosen { from, values } => turn.on_chosen(src, from, values),
            Msg::FetchSnapshot { slot, cursor } => turn.on_fetch_snapshot(src, slot, &cursor),
            Msg::SnapshotPart(part) => turn.on_snapshot_part(src, part),
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
            Timer::Retry(_) => {}
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
        if turn.must_save && !self.config.faults.breaks(Mutant::NoSave) {
            let storage = Storage::of(turn.state);
            out.save(storage);
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// What is saved has changed: save it with this turn.
    pub(super) fn save(&mut self) {
        self.must_save = true;
    }

    pub(super) fn send(&mut self, dst: Id, msg: Msg<M>) {
        self.out.send(dst, msg);
    }

    pub(super) fn send_to_others(&mut self, msg: &Msg<M>) {
        for server in self.others() {
            self.out.send(server, msg.clone());
        }
    }

    pub(super) fn reply(&mut self, client: Id, msg: ClientMsg<M::Command, M::Output>) {
        self.out.send(client, Msg::Client(msg));
    }

    /// The other servers.
    pub(super) fn others(&self) -> impl Iterator<Item = Id> + use<M, F> {
        let index = self.server.index;
        (0..self.server.config.servers).filter(move |server| *server != index).map(Id::from)
    }

    pub(super) fn set_timer(&mut self, timer: Timer) {
        let Config { timing, bounds, .. } = &*self.server.config;
        let after = match timer {
            Timer::Election => timing.election.clone(),
            Timer::Ping if bounds.ping => timing.ping..timing.ping,
            Timer::Resend if bounds.resend => timing.resend..timing.resend,
            Timer::Propose => timing.gather.map_or(Duration::ZERO..Duration::ZERO, |after| after..after),
            Timer::CatchUp => timing.catch_up..timing.catch_up,
            Timer::Ping | Timer::Resend | Timer::Retry(_) => return,
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
