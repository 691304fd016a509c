//! The properties (matchmaker notes, section 6).

use super::{MatchmakerCaspaxos, Value};
use crate::one_value::one_proposal_per_round;
use crate::{Property, View};
use parthood_protocols::faults::Faults;
use parthood_protocols::matchmaker_caspaxos::{Mutant, State};
use parthood_protocols::matchmaker_paxos::{AcceptorState, State as ServerState};
use parthood_protocols::matchmaking::Round;
use parthood_protocols::state_machine::{AppendLogCommand, AppendLogOutput, StateMachine};
use parthood_quorums::{NodeSet, QuorumSystem};

/// What is claimed.
pub(super) fn all<F: Faults<Mutant>>() -> Vec<Property<MatchmakerCaspaxos<F>>> {
    vec![
        Property::always("chosen states form a chain", |view| {
            let chosen: Vec<_> = chosen(view).collect();
            chosen.windows(2).all(|two| descends(&two[1].1, &two[0].1))
        }),
        Property::always("proposals descend from what can be chosen below", proposals_descend),
        Property::always("garbage collection is justified", |view| !view.ghost.unjustified),
        Property::always("one state per round", |view| one_proposal_per_round(&view.ghost.proposed)),
        Property::always("linearizable", |view| view.ghost.clients.linearizable()),
        Property::always("exactly once", |view| view.ghost.clients.answers_agree()),
        Property::at_the_end("every client is answered", |view| {
            !view.protocol.answers || all_are_answered(view)
        }),
        Property::sometimes("all clients are answered", all_are_answered),
        Property::sometimes("three states are chosen", |view| chosen(view).nth(2).is_some()),
        Property::sometimes("a proposal is carried to the next round", |view| view.ghost.carried),
    ]
}

fn entries(state: &Value) -> Vec<u8> {
    match state.machine.clone().apply(&AppendLogCommand::Read) {
        AppendLogOutput::Entries(entries) => entries,
        AppendLogOutput::Appended(_) => vec![],
    }
}

/// Is one state made from the other, or the same?
fn descends(later: &Value, earlier: &Value) -> bool {
    entries(later).starts_with(&entries(earlier)) && later.version >= earlier.version
}

/// The states for which, in one round, a write quorum of its configuration voted, in the order of rounds.
fn chosen<'a, F: Faults<Mutant>>(
    view: &View<'a, MatchmakerCaspaxos<F>>,
) -> impl Iterator<Item = &'a (Round, Value)> + use<'a, F> {
    let protocol = view.protocol;
    let is_chosen = move |round: Round, voters: NodeSet| {
        protocol.configuration(round).is_some_and(|configuration| configuration.is_write_quorum(voters))
    };
    let chosen = view.ghost.cast.iter().filter(move |((round, _), voters)| is_chosen(*round, **voters));
    chosen.map(|(vote, _)| vote)
}

fn acceptors<'a, F: Faults<Mutant>>(
    view: &View<'a, MatchmakerCaspaxos<F>>,
) -> impl Iterator<Item = &'a AcceptorState<Value>> + use<'a, F> {
    view.states.iter().filter_map(|state| match state {
        State::Server(ServerState::Acceptor(acceptor)) => Some(acceptor),
        _ => None,
    })
}

/// What agreement rests on, with "ancestor" for "equal".
fn proposals_descend<F: Faults<Mutant>>(view: &View<'_, MatchmakerCaspaxos<F>>) -> bool {
    let choosable = |round: Round, state: &Value| {
        let Some(configuration) = view.protocol.configuration(round) else { return false };
        let voted = view.ghost.cast.get(&(round, state.clone())).copied().unwrap_or_default();
        let open = acceptors(view).enumerate().filter(|(_, acceptor)| acceptor.round <= round);
        configuration.is_write_quorum(open.fold(voted, |all, (number, _)| all.with(number)))
    };
    let proposed = &view.ghost.proposed;
    proposed.iter().all(|(below, state)| {
        let mut above = proposed.iter().filter(|(round, other)| round > below && !descends(other, state));
        above.next().is_none() || !choosable(*below, state)
    })
}

fn all_are_answered<F: Faults<Mutant>>(view: &View<'_, MatchmakerCaspaxos<F>>) -> bool {
    let clients = view.states.iter().filter_map(|state| match state {
        State::Client(client) => Some(client),
        _ => None,
    });
    clients
        .zip(&view.protocol.clients)
        .all(|(state, client)| state.is_idle() && state.invoked() == client.script.len())
}
