//! History that the properties need: votes ever cast, what clients saw, and steps that went backwards.

use super::Multipaxos;
use crate::history::History;
use crate::sequential::OneObject;
use crate::votes::Votes;
use crate::{Cause, Step};
use parthood_protocols::client::ClientMsg;
use parthood_protocols::faults::Faults;
use parthood_protocols::ids::Slot;
use parthood_protocols::multipaxos::{Msg, Mutant, Node, ServerState, State, Storage};
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use stateright::actor::Command;
use std::borrow::Cow;

/// What happened so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ghost<M: StateMachine = AppendLog> {
    /// Who ever voted for what.
    pub(super) votes: Votes<M::Command>,
    /// What clients asked and were told.
    pub(super) clients: History<M::Command, M::Output>,
    /// Was a client sent elsewhere with a command that the server had executed?
    pub(super) refused: bool,
    /// Did a server's promise or watermark ever decrease?
    pub(super) went_back: bool,
    /// All slots below were chosen before the record of the run begins, and their votes may be gone. Zero in a run that
    /// is known from its beginning.
    pub(super) unrecorded_below: Slot,
}

impl<M: StateMachine> Default for Ghost<M> {
    fn default() -> Self {
        Self {
            votes: Votes::default(),
            clients: History::default(),
            refused: false,
            went_back: false,
            unrecorded_below: Slot::ZERO,
        }
    }
}

impl<M: StateMachine> Ghost<M> {
    /// All slots below were chosen before the record of the run begins; nothing is claimed of them.
    pub fn unrecorded_below(&self) -> Slot {
        self.unrecorded_below
    }

    /// How many votes were cast.
    pub fn votes(&self) -> usize {
        self.votes.count()
    }
}

pub(super) fn observe<M: StateMachine, F: Faults<Mutant>>(
    protocol: &Multipaxos<M, F>,
    ghost: &mut Cow<'_, Ghost<M>>,
    step: &Step<'_, Node<M, F>>,
) {
    match (step.before, step.after) {
        (before, State::Server(after)) => {
            let before = before.and_then(|before| match before {
                State::Server(before) => Some(&**before),
                State::Client(_) => None,
            });
            let restart = matches!(step.cause, Cause::Start(_));
            if restart && before.is_none() {
                let known = after.replica.snapshot.slot;
                if known > ghost.unrecorded_below {
                    ghost.to_mut().unrecorded_below = known;
                }
            }
            let undone = restart && protocol.undone_steps;
            observe_server(ghost, usize::from(step.id), before, after, undone);
        }
        (Some(State::Client(before)), State::Client(after)) => {
            if let Cause::Deliver { msg: Msg::Client(msg @ ClientMsg::Reply { .. }), .. } = &step.cause
                && before != after
                && !protocol.clients.is_empty()
            {
                ghost.to_mut().clients.returned(&OneObject::<M>::default(), msg);
            }
        }
        _ => {}
    }
    for command in step.out {
        if let Command::Send(_, Msg::Client(msg)) = command {
            match step.after {
                State::Client(_) if protocol.clients.is_empty() => {}
                State::Client(_) => ghost.to_mut().clients.sent_by_client(msg),
                State::Server(server) => {
                    ghost.to_mut().clients.sent_by_server(msg);
                    if let ClientMsg::NotLeader { id, .. } = msg
                        && server.replica.sessions.known_answer(id).is_some()
                    {
                        ghost.to_mut().refused = true;
                    }
                }
            }
        }
    }
}

/// Notes new votes. After a restart that may have undone steps, whatever they voted for was never told, and is no vote.
fn observe_server<M: StateMachine>(
    ghost: &mut Cow<'_, Ghost<M>>,
    server: usize,
    before: Option<&ServerState<M>>,
    after: &ServerState<M>,
    undone: bool,
) {
    let nothing = Storage::<M>::default().acceptor;
    let before = before.map_or(&nothing, |before| &before.acceptor);
    let (after, snapshot) = (&after.acceptor, after.replica.snapshot.slot);
    if !undone && (after.round < before.round || after.vote_watermark < before.vote_watermark) {
        ghost.to_mut().went_back = true;
    }
    // One that lost its disk did vote, whatever it has forgotten.
    let undone_from = (undone && after.voting).then_some(snapshot);
    let changes = ghost.votes.changes(server, &before.votes, &after.votes, undone_from);
    if !changes.is_empty() {
        let Ghost { votes, clients, .. } = ghost.to_mut();
        let unsent = changes.undone.iter().flat_map(|(.., value)| value.commands());
        let unsent: Vec<_> = unsent.map(|command| command.id).collect();
        if !unsent.is_empty() {
            clients.unsent(|id| unsent.contains(id));
        }
        votes.apply(server, changes);
    }
}
