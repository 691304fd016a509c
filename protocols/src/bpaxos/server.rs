//! A server: an acceptor that is a dependency node, too, and, where everything is coupled, a leader and a replica as well.
//!
//! Its parts are the nodes of [`super`], each with its own state. What they say to each other is said within a step; what they
//! save is saved together. Where servers have all roles, a message needs no other address than a server's: which part it is
//! for follows from what it is, and so does which part has sent it. The parts themselves know each other by the indices that
//! they would have as nodes of their own, and [`Turn::post`] and [`Part::receivers`] are where these are translated.

use super::acceptor::AcceptorState;
use super::config::Role;
use super::dependencies::DependencyState;
use super::fast::FastRule;
use super::index::Footprint;
use super::leader::LeaderState;
use super::mutant::{Mutant, Rules};
use super::node::{Node, Part, Turn};
use super::replica::ReplicaState;
use super::storage::Storage;
use super::{Ballot, Msg, Proposal, ProposalOf, Timer, Vote};
use crate::graph::{VertexId, Vertices as _};
use crate::ids::Round;
use crate::state_machine::StateMachine;
use im::OrdMap;
use stateright::actor::{Command, Id, Out};
use std::collections::VecDeque;
use std::sync::Arc;

/// A server's state: that of its parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerState<M: StateMachine> {
    /// What it has seen as a dependency node.
    pub dependencies: DependencyState<M::Key>,
    /// What it has promised and voted as an acceptor.
    pub acceptor: AcceptorState<M::Command>,
    /// What it does as a leader, if it is one and remembers what it has done.
    pub leader: Option<LeaderState<M::Command>>,
    /// What it holds as a replica, if it is one.
    pub replica: Option<ReplicaState<M>>,
}

/// What happens to a part.
enum Event<M: StateMachine> {
    Msg(Id, Msg<M>),
    Timer(Timer),
}

/// What a step has brought about that is not handled yet, and what leaves the server.
struct Work<M: StateMachine> {
    waiting: VecDeque<(Role, Id, Msg<M>)>,
    leaving: Vec<Command<Msg<M>, Timer, (), Storage<M>>>,
    saves: bool,
}

impl<M: StateMachine> ServerState<M> {
    /// What is saved: of each part what it would save by itself.
    fn storage(&self, forgets: impl Fn(Mutant) -> bool) -> Storage<M> {
        let DependencyState { forgotten, collected, old, new, serving } = self.dependencies.clone();
        let (mut old, mut new) = (old.entries, new.entries);
        if forgets(Mutant::ForgetDependencies) {
            (old, new) = (OrdMap::new(), OrdMap::new());
        }
        let dependencies = Storage::DependencyNode { forgotten, collected, old, new, serving };
        let AcceptorState { mut ballots, collection, voting } = self.acceptor.clone();
        if forgets(Mutant::ForgetVotes) {
            ballots = OrdMap::new();
        }
        let acceptor = Storage::Acceptor { ballots, collected: collection.vertices, voting };
        let leader = self.leader.as_ref().map(|leader| Storage::Leader {
            reserved: if forgets(Mutant::ReuseIds) { 0 } else { leader.reserved },
            proposer: leader.proposer.as_ref().map(|proposer| proposer.saved).unwrap_or_default(),
        });
        let replica = self.replica.as_ref().map(|replica| Storage::Replica(replica.snapshot.clone()));
        Storage::Server([Some(dependencies), Some(acceptor), leader, replica].into_iter().flatten().collect())
    }
}

impl<F: Rules> Part<F> {
    pub(super) fn start_server<M: StateMachine>(
        &self,
        storage: Option<&Storage<M>>,
        out: &mut Out<Node<M, F>>,
    ) -> ServerState<M> {
        let saved = match storage {
            Some(Storage::Server(parts)) => parts.as_slice(),
            _ => &[],
        };
        let part = |is_it: fn(&&Storage<M>) -> bool| saved.iter().find(is_it);
        let coupled = self.config.layout.coupled;
        let dependencies = part(|saved| matches!(saved, Storage::DependencyNode { .. }));
        let acceptor = self.start_acceptor(part(|saved| matches!(saved, Storage::Acceptor { .. })));
        // One that lost its storage has forgotten which numbers it gave out, too.
        let leads = coupled && acceptor.voting;
        let leader = || self.start_leader(part(|saved| matches!(saved, Storage::Leader { .. })));
        ServerState {
            dependencies: self.start_dependency_node(dependencies),
            acceptor,
            leader: leads.then(leader),
            replica: coupled
                .then(|| self.start_replica(part(|saved| matches!(saved, Storage::Replica(_))), out)),
        }
    }

    /// The parts that a message from another node is for, each with the part that has sent it.
    fn receivers<M: StateMachine>(&self, state: &ServerState<M>, src: Id, msg: &Msg<M>) -> Vec<(Role, Id)> {
        let layout = self.config.layout;
        let (from, to): (Role, &[Role]) = match msg {
            Msg::Client(_) => return vec![(Role::Leader, src)],
            Msg::PreAccept { .. } | Msg::Phase1a { .. } | Msg::Phase2a { .. } => {
                (Role::Leader, &[Role::Acceptor])
            }
            Msg::PreAcceptOk { .. }
            | Msg::Phase1b { .. }
            | Msg::Phase2b { .. }
            | Msg::Nack { .. }
            | Msg::Collected(_) => (Role::Acceptor, &[Role::Leader]),
            Msg::Saved(_) => (Role::Replica, &[Role::Leader, Role::Acceptor]),
            Msg::SnapshotRequest => (Role::Replica, &[Role::Leader]),
            // A proposer tells of one vertex; a page from a replica, which has more of them, holds several.
            Msg::Commit(committed) if committed.len() == 1 => (Role::Leader, &[Role::Replica]),
            Msg::Recover(_) => {
                // Whoever can help.
                let from = if layout.coupled { layout.id(Role::Replica, usize::from(src)) } else { src };
                let knows =
                    state.replica.as_ref().is_some_and(|replica| !self.replica_ignores(replica, from, msg));
                (Role::Replica, if knows { &[Role::Replica] } else { &[Role::Leader] })
            }
            _ => (Role::Replica, &[Role::Replica]),
        };
        let src = match usize::from(src) {
            index if layout.coupled && index < layout.acceptors => layout.id(from, index),
            _ => src,
        };
        to.iter().map(|to| (*to, src)).collect()
    }

    pub(super) fn server_ignores<M: StateMachine>(
        &self,
        state: &ServerState<M>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        // Clients are nobody's part.
        let foreign = self.config.layout.node(src).0 == Role::Client && !matches!(msg, Msg::Client(_));
        foreign
            || self
                .receivers(state, src, msg)
                .into_iter()
                .all(|(role, src)| self.part_ignores(state, role, src, msg))
    }

    fn part_ignores<M: StateMachine>(
        &self,
        state: &ServerState<M>,
        role: Role,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        match (role, &state.leader, &state.replica) {
            (Role::Leader, Some(leader), _) => self.leader_ignores(leader, src, msg),
            (Role::Acceptor, ..) => self.acceptor_ignores(&state.acceptor, src, msg),
            (Role::Replica, _, Some(replica)) => self.replica_ignores(replica, src, msg),
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, ServerState<M>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: &Msg<M>) {
        let receivers = self.part.receivers(self.state, src, msg);
        let waiting = receivers.into_iter().map(|(role, src)| (role, src, msg.clone())).collect();
        self.work_off(Work { waiting, leaving: vec![], saves: false });
    }

    pub(super) fn on_timeout(&mut self, timer: Timer) {
        let role = match timer {
            Timer::Recover(_) | Timer::CatchUp => Role::Replica,
            _ => Role::Leader,
        };
        let mut work = Work { waiting: VecDeque::new(), leaving: vec![], saves: false };
        let asked = self.happens(role, Event::Timer(timer));
        self.post(role, asked, &mut work);
        self.work_off(work);
    }

    /// Delivers what waits for parts of this server, and what follows from it; then the rest leaves.
    fn work_off(&mut self, mut work: Work<M>) {
        while let Some((role, src, msg)) = work.waiting.pop_front() {
            if !self.part.part_ignores(self.state, role, src, &msg) {
                let asked = self.happens(role, Event::Msg(src, msg));
                self.post(role, asked, &mut work);
            }
        }
        if work.saves {
            let config = self.config;
            self.out.save(self.state.storage(|rule| config.breaks(rule)));
        }
        for command in work.leaving {
            match command {
                Command::Send(dst, msg) => self.out.send(dst, msg),
                Command::SetTimer(timer, after) => self.out.set_timer(timer, after),
                Command::CancelTimer(timer) => self.out.cancel_timer(timer),
                Command::Save(_) | Command::ChooseRandom(..) => {}
            }
        }
    }

    /// Something happens to a part; what it asks for.
    fn happens(&mut self, role: Role, event: Event<M>) -> Out<Node<M, F>> {
        let (mut out, part) = (Out::new(), self.part);
        let ServerState { acceptor, leader, replica, .. } = &mut *self.state;
        match (role, event) {
            (Role::Leader, event) => {
                let Some(mut turn) = leader.as_mut().map(|leader| part.turn(leader, &mut out)) else {
                    return out;
                };
                match event {
                    Event::Msg(src, msg) => turn.on_msg(src, msg),
                    Event::Timer(timer) => turn.on_timeout(timer),
                }
            }
            (Role::Replica, event) => {
                let Some(mut turn) = replica.as_mut().map(|replica| part.turn(replica, &mut out)) else {
                    return out;
                };
                match event {
                    Event::Msg(src, msg) => turn.on_msg(src, msg),
                    Event::Timer(timer) => turn.on_timeout(timer),
                }
            }
            (_, Event::Msg(src, Msg::PreAccept { vertex, round, proposal })) => {
                part.turn(&mut *self.state, &mut out).on_pre_accept(src, vertex, round, proposal);
            }
            (_, Event::Msg(src, msg)) => part.turn(acceptor, &mut out).on_msg(src, msg),
            (_, Event::Timer(_)) => {}
        }
        out
    }

    /// Hands over what a part asks for: what is for a part of this server waits, the rest is to leave.
    fn post(&self, from: Role, asked: Out<Node<M, F>>, work: &mut Work<M>) {
        let layout = self.layout();
        let src = layout.id(from, self.index);
        for command in asked {
            let (dst, msg) = match command {
                Command::Send(dst, msg) => (dst, msg),
                Command::Save(_) => {
                    work.saves = true;
                    continue;
                }
                command => {
                    work.leaving.push(command);
                    continue;
                }
            };
            let (role, index) = layout.role(dst);
            match msg {
                msg @ Msg::Client(_) => work.leaving.push(Command::Send(dst, msg)),
                msg if !layout.coupled => work.leaving.push(Command::Send(dst, msg)),
                // The server's leader is told of it, and tells its acceptor.
                Msg::Saved(_) if role == Role::Acceptor && index != self.index => {}
                msg if index == self.index => work.waiting.push_back((role, src, msg)),
                msg => work.leaving.push(Command::Send(Id::from(index), msg)),
            }
        }
    }

    /// Votes for a command after what it names itself and what is proposed, unless it has promised a higher round.
    fn on_pre_accept(&mut self, proposer: Id, vertex: VertexId, round: Round, proposal: ProposalOf<M>) {
        let config = self.config;
        let ServerState { dependencies, acceptor, .. } = &mut *self.state;
        if !dependencies.serving {
            return;
        }
        let mut acceptor = self.part.turn(acceptor, self.out);
        let Some(ballot) = acceptor.ballot(proposer, vertex, round) else { return };
        let deps = match &ballot.vote {
            Some(vote) if vote.vote_round == round => vote.vote_value.deps.clone(),
            _ => {
                let mut deps =
                    dependencies.answer(vertex, &Arc::new(Footprint::of::<M>(&proposal.action)), config);
                if !config.breaks_fast(FastRule::ForgetLeadersDeps) {
                    deps.add_all(&proposal.deps);
                }
                let vote_value = Proposal { action: proposal.action, deps: deps.clone() };
                let vote = Some(Vote { vote_round: round, vote_value });
                acceptor.state.ballots.insert(vertex, Ballot { round: round.max(ballot.round), vote });
                acceptor.save();
                deps
            }
        };
        self.send(proposer, Msg::PreAcceptOk { vertex, round, deps });
    }
}
