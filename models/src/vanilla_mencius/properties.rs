//! The properties, and states in words.

use super::{Ghost, VanillaMencius};
use crate::history::was_asked;
use crate::{Property, View, replicas};
use parthood_protocols::command::Value;
use parthood_protocols::ids::{Round, Slot};
use parthood_protocols::log::ReplicaState;
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use parthood_protocols::vanilla_mencius::{ServerState, State};
use parthood_quorums::NodeSet;
use std::fmt::Write;

type Seen<'a> = View<'a, VanillaMencius>;

pub(super) fn all() -> Vec<Property<VanillaMencius>> {
    vec![
        Property::always("one proposal per round and slot", |view| view.ghost.votes.one_proposal_per_round()),
        Property::always("agreement", agreement),
        Property::always("learned implies chosen", learned_implies_chosen),
        Property::always("logs agree", |view| {
            let replicas = all_replicas(view);
            replicas::executed_prefixes(&replicas) && replicas::logs_agree(&replicas)
        }),
        Property::always("exactly once", |view| {
            replicas::entries_are_distinct(&all_replicas(view)) && view.ghost.clients.answers_agree()
        }),
        Property::always("a higher round proposes what was chosen", |view| {
            view.ghost.votes.higher_rounds_propose_what_was_chosen(majorities(view))
        }),
        Property::always("only owners propose commands", only_owners_propose_commands),
        Property::always("validity", validity),
        Property::always("linearizable", |view| view.ghost.clients.linearizable()),
        Property::at_the_end("every client is answered", |view| {
            !view.protocol.answers || every_client_is_answered(view)
        }),
        Property::sometimes("all clients are done", every_client_is_answered),
        Property::sometimes("a slot is skipped", |view| !view.ghost.skipped.is_empty()),
        Property::sometimes("a slot is revoked", |view| {
            view.ghost.votes.chosen(majorities(view)).any(|(_, round, _)| round > Round::ZERO)
        }),
        Property::sometimes("a command survives the revocation of its slot", |view| {
            let mut chosen = view.ghost.votes.chosen(majorities(view));
            chosen.any(|(_, round, value)| round > Round::ZERO && *value != Value::Noop)
        }),
    ]
}

fn servers<'a>(view: &Seen<'a>) -> impl Iterator<Item = &'a ServerState<AppendLog>> {
    view.states.iter().filter_map(|state| match state {
        State::Server(server) => Some(&**server),
        State::Client(_) => None,
    })
}

fn all_replicas<'a>(view: &Seen<'a>) -> Vec<&'a ReplicaState<AppendLog>> {
    servers(view).map(|server| &server.replica).collect()
}

fn majorities<'a>(view: &Seen<'a>) -> impl Fn(Slot, Round, NodeSet) -> bool + use<'a> {
    let protocol = view.protocol;
    |_, _, voters| protocol.config.is_majority(voters)
}

/// S2: no two values chosen in one slot, and nothing but a noop in one that its owner skipped.
fn agreement(view: &Seen<'_>) -> bool {
    let Ghost { votes, skipped, .. } = view.ghost;
    votes.agree(majorities(view))
        && votes
            .chosen(majorities(view))
            .all(|(slot, _, value)| *value == Value::Noop || !skipped.contains(&slot))
}

/// S3.
fn learned_implies_chosen(view: &Seen<'_>) -> bool {
    all_replicas(view).iter().all(|replica| {
        replica.log.iter().all(|(slot, value)| view.ghost.is_chosen(&view.protocol.config, *slot, value))
    })
}

/// S13: in rounds above zero, a command is proposed only if its slot's owner proposed it in round zero.
fn only_owners_propose_commands(view: &Seen<'_>) -> bool {
    let votes = &view.ghost.votes;
    votes.cast().all(|((slot, round, value), _)| {
        *round == Round::ZERO || *value == Value::Noop || !votes.voters(*slot, Round::ZERO, value).is_empty()
    })
}

/// S5: what is chosen was asked for.
fn validity(view: &Seen<'_>) -> bool {
    view.ghost.votes.chosen(majorities(view)).all(|(_, _, value)| {
        value.commands().iter().all(|command| {
            let client = view.protocol.client(command.id.client);
            was_asked(client.map(|client| client.script.as_slice()), command)
        })
    })
}

/// L1.
fn every_client_is_answered(view: &Seen<'_>) -> bool {
    let clients = view.states.iter().skip(view.protocol.config.servers);
    clients.zip(&view.protocol.clients).all(|(state, client)| match state {
        State::Client(state) => state.is_idle() && state.invoked() == client.script.len(),
        State::Server(_) => false,
    })
}

/// A state in words.
pub(super) fn describe<M: StateMachine>(state: &State<M>) -> String {
    match state {
        State::Client(client) => format!("{client:?}"),
        State::Server(server) => describe_server(server),
    }
}

fn describe_server<M: StateMachine>(server: &ServerState<M>) -> String {
    let ServerState { next_slot, votes, promises, proposals, replica, .. } = server;
    let mut text = format!("next slot {next_slot:?}");
    for (slot, round) in promises {
        // Writing to a string cannot fail.
        let _ = write!(text, "\npromised {round:?} for {slot:?}");
    }
    for (slot, vote) in votes {
        let _ = write!(text, "\nvoted {:?} in {:?} for {slot:?}", vote.vote_value, vote.vote_round);
    }
    for (slot, proposal) in proposals {
        let _ = write!(text, "\nproposed {:?} for {slot:?}, votes of {:?}", proposal.value, proposal.voted);
    }
    if let Some(revocation) = &server.revocation {
        let _ = write!(text, "\nrevokes {:?} in {:?}", revocation.slots, revocation.round);
    }
    for (slot, value) in &replica.log {
        let _ = write!(text, "\nknows {slot:?} is {value:?}");
    }
    let _ = write!(text, "\nexecuted below {:?}: {:?}", replica.executed, replica.machine);
    text
}
