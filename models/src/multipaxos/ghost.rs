//! History that the properties need: votes ever cast, what clients saw, and steps that went backwards.

use super::Machine;
use crate::history::History;
use crate::sequential::OneObject;
use crate::{Cause, Step};
use parthood_protocols::client::ClientMsg;
use parthood_protocols::command::ValueOf;
use parthood_protocols::faults::Mutated;
use parthood_protocols::ids::{Round, Slot};
use parthood_protocols::multipaxos::{Msg, Mutant, Node, ServerState, State};
use parthood_protocols::state_machine::{AppendLogCommand, AppendLogOutput};
use parthood_quorums::NodeSet;
use stateright::actor::Command;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// Who ever voted for what.
    pub(super) cast: BTreeMap<(Slot, Round, ValueOf<Machine>), NodeSet>,
    /// What clients asked and were told.
    pub(super) clients: History<AppendLogCommand, AppendLogOutput>,
    /// Was a client sent elsewhere with a command that the server had executed?
    pub(super) refused: bool,
    /// Did a server's promise or watermark ever decrease?
    pub(super) went_back: bool,
}

type Actor = Node<Machine, Mutated<Mutant>>;

impl Ghost {
    pub(super) fn observe(ghost: &mut Cow<'_, Self>, step: &Step<'_, Actor>) {
        match (step.before, step.after) {
            (before, State::Server(after)) => {
                let before = before.and_then(|before| match before {
                    State::Server(before) => Some(&**before),
                    State::Client(_) => None,
                });
                observe_server(ghost, usize::from(step.id), before, after);
            }
            (Some(State::Client(before)), State::Client(after)) => {
                if let Cause::Deliver { msg: Msg::Client(msg @ ClientMsg::Reply { .. }), .. } = &step.cause
                    && before != after
                {
                    ghost.to_mut().clients.returned(&OneObject::<Machine>::default(), msg);
                }
            }
            _ => {}
        }
        for command in step.out {
            if let Command::Send(_, Msg::Client(msg)) = command {
                match step.after {
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
}

fn observe_server(
    ghost: &mut Cow<'_, Ghost>,
    server: usize,
    before: Option<&ServerState<Machine>>,
    after: &ServerState<Machine>,
) {
    if let Some(before) = before
        && (after.acceptor.round < before.acceptor.round
            || after.acceptor.vote_watermark < before.acceptor.vote_watermark)
    {
        ghost.to_mut().went_back = true;
    }
    for (slot, vote) in &after.acceptor.votes {
        let same =
            before.and_then(|before| before.acceptor.votes.get(slot)).is_some_and(|before| before == vote);
        if !same {
            let key = (*slot, vote.vote_round, vote.vote_value.clone());
            if !ghost.cast.get(&key).is_some_and(|voters| voters.contains(server)) {
                ghost.to_mut().cast.entry(key).or_default().insert(server);
            }
        }
    }
}
