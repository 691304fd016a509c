//! A server: its two roles in one state, and the dispatch of what happens to it.

use super::storage::Kept;
use super::{Announced, Config, Leading, Msg, Mutant, Node, Role, Settling, Storage, Timer, Wish};
use crate::client::ClientMsg;
use crate::faults::Faults;
use crate::ids::Slot;
use crate::log::ReplicaState;
use crate::matchmaker_paxos::Garbage;
use crate::matchmaking::{Epoch, Round, Said};
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
    /// What its cluster file asks for.
    pub wish: Wish,
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
    /// The newest configuration that it knows; saved.
    pub known: Announced,
    /// The newest epoch of matchmakers that it knows to be chosen; saved.
    pub epoch: Epoch,
    /// The largest ballot on who follows that it has used or heard of; saved before it is used.
    pub ballot: Option<Round>,
    /// A leader wants the slots below to be saved.
    pub store_below: Slot,
    /// As a proposer that leads, or tries to.
    pub leading: Option<Leading<M::Command>>,
    /// As a replica.
    pub replica: ReplicaState<M>,
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
        let (kept, replica) = if let Some(Storage::Server { kept, snapshot }) = storage {
            (kept.clone(), ReplicaState::at(snapshot.clone()))
        } else {
            let configuration = self.config.initial.clone();
            let known = Announced { version: 0, since: Round::ZERO, generation: 0, configuration };
            let sessions = Sessions::with_clients(self.config.known_clients.iter().copied());
            let kept = Kept { used: None, ballot: None, known, epoch: self.config.first_epoch() };
            (kept, ReplicaState::new(sessions))
        };
        let Kept { used, ballot, known, epoch } = kept;
        let (heard, store_below, leading) = (used, Slot::ZERO, None);
        let mut state = ServerState { used, heard, known, epoch, ballot, store_below, leading, replica };
        self.turn(&mut state, out, |turn| {
            if turn.server.index == 0 && used.is_none() {
                let known = turn.state.known.clone();
                turn.begin_round(known);
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
            (Msg::Operator(OperatorMsg::Reconfigure { .. }), None) => false,
            (Msg::Nack { round }, Some(_)) => Some(*round) <= state.heard,
            (msg, Some(Role::Server(number))) if number != self.index => {
                self.ignores_server(state, number, msg)
            }
            (Msg::Said(said), Some(Role::Matchmaker(number))) => self.ignores_matchmaker(state, number, said),
            (msg, Some(Role::Acceptor(number))) => state.leading.as_ref().is_none_or(|leading| match msg {
                Msg::Phase1b { round, from, .. } => !leading.awaits_report(*round, *from, number),
                Msg::Phase2b { round, slot } => !leading.awaits_vote(*round, *slot, number),
                Msg::PersistedAck(below) => {
                    let is_seen = !self.config.bounds.ask_first || leading.seen[0].contains(number);
                    leading.noted.get(&number) >= Some(below) && !leading.calls(number) && is_seen
                }
                _ => true,
            }),
            _ => true,
        }
    }

    /// Answers count within one epoch.
    fn ignores_matchmaker<M: StateMachine>(
        &self,
        state: &ServerState<M>,
        number: usize,
        said: &Said<Announced>,
    ) -> bool {
        if let Said::Nack { round } = said {
            return Some(*round) <= state.heard;
        }
        if let Said::Over { newest, .. } = said
            && newest.number > state.epoch.number
        {
            return false;
        }
        let Some(leading) = &state.leading else { return true };
        let present = |epoch: &u64| *epoch == state.epoch.number;
        match said {
            Said::MatchB { epoch, round, .. } => {
                !present(epoch) && !self.config.breaks(Mutant::CombineEpochs)
                    || !leading.awaits_match(*round, number)
            }
            Said::GarbageB { epoch, watermark } => match leading.garbage {
                Garbage::Asked(confirmed) => {
                    !present(epoch) || *watermark < leading.round || confirmed.contains(number)
                }
                Garbage::Idle | Garbage::Done => true,
            },
            Said::Over { newest, stopped } => {
                *newest != state.epoch || !stopped || leading.handover.is_some()
            }
            Said::Learned(of) => {
                !present(of)
                    || leading.settling.as_ref().is_none_or(|settling| settling.matchmakers.contains(number))
            }
            Said::Lacks(of) => {
                let minds = |settling: &Settling| settling.minds_lack(&state.epoch, self.config.patience);
                let is_free = leading.is_steady() && leading.handover.is_none();
                !present(of) || !is_free || !leading.settling.as_ref().is_some_and(minds)
            }
            said => {
                let change = leading.handover.as_ref().and_then(|handover| handover.change.as_ref());
                change.is_none_or(|change| change.ignores(number, said))
            }
        }
    }

    fn ignores_server<M: StateMachine>(&self, state: &ServerState<M>, server: usize, msg: &Msg<M>) -> bool {
        let replica = &state.replica;
        let executed = replica.executed;
        match msg {
            Msg::Ping { round, .. } => Some(*round) < state.heard && !self.config.bounds.nack,
            Msg::Store(_) | Msg::Serve(_) => false,
            Msg::Serves(number) => {
                let settling = state.leading.as_ref().and_then(|leading| leading.settling.as_ref());
                *number != state.epoch.number
                    || settling.is_none_or(|settling| settling.servers.contains(server))
            }
            Msg::Stored(slot) => {
                state.leading.as_ref().is_none_or(|leading| leading.stored.get(&server) >= Some(slot))
            }
            Msg::CatchUp { from } => *from >= executed,
            Msg::Chosen { from, values } => {
                let mut slots = (from.0..).map(Slot).take(values.len());
                slots.all(|slot| slot < executed || replica.log.contains_key(&slot))
            }
            Msg::FetchSnapshot { .. } => replica.snapshot.slot == Slot::ZERO,
            Msg::SnapshotPart(part) => !replica.awaits_part(part, replica.chosen_below > executed),
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
            Some(Role::Server(number) | Role::Matchmaker(number) | Role::Acceptor(number)) => number,
            None => usize::MAX,
        };
        self.turn(state, out, |turn| match msg {
            Msg::Client(ClientMsg::Request(command)) => turn.on_request(src, command),
            Msg::Operator(OperatorMsg::Reconfigure { wanted, after, active }) => {
                turn.on_reconfigure(src, wanted, after, active);
            }
            Msg::Said(said) => turn.on_said(number, said),
            Msg::Serve(epoch) => turn.on_serve(src, epoch),
            Msg::Serves(_) => turn.on_settled(Role::Server(number)),
            Msg::Phase1b { report, .. } => turn.on_phase1b(number, report),
            Msg::Phase2b { round, slot } => turn.on_phase2b(number, round, slot),
            Msg::Nack { round } => turn.raise_round(round),
            Msg::Ping { round, chosen_below, announced, epoch } => {
                turn.on_ping(src, round, chosen_below, announced, epoch);
            }
            Msg::Store(below) => turn.on_store(src, below),
            Msg::Stored(slot) => turn.on_stored(number, slot),
            Msg::PersistedAck(below) => turn.on_persisted_ack(number, below),
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
            Timer::Ping => {
                turn.ping();
                turn.look_around();
            }
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
            let forgets = turn.breaks(Mutant::ServerForgets);
            let ServerState { used, ballot, known, epoch, replica, .. } = &*turn.state;
            let kept = Kept {
                used: used.filter(|_| !forgets),
                ballot: *ballot,
                known: known.clone(),
                epoch: *epoch,
            };
            let snapshot = replica.snapshot.clone();
            turn.out.save(Storage::Server { kept, snapshot });
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    fn on_said(&mut self, matchmaker: usize, said: Said<Announced>) {
        match said {
            Said::MatchB { round, watermark, collected, earlier, .. } => {
                self.on_match_b(matchmaker, round, (watermark, collected), earlier);
            }
            Said::GarbageB { .. } => self.on_garbage_b(matchmaker),
            Said::Nack { round } => self.raise_round(round),
            Said::Over { newest, stopped } => self.on_over(newest, stopped),
            Said::Learned(_) => self.on_settled(Role::Matchmaker(matchmaker)),
            Said::Lacks(_) => self.on_lacks(),
            said => self.on_change(matchmaker, said),
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
            // A random time, so that two who overtake one another do not do so for ever.
            Timer::Resend if bounds.resend => timing.resend..2 * timing.resend,
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
