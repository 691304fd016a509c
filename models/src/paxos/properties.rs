//! The properties (compartmentalization notes, section 13), and states and messages in words.

use super::Paxos;
use crate::one_value::{
    OneValue, agreement, chosen, clients_agree, every_client_is_told, learned_implies_chosen,
    one_proposal_per_round,
};
use crate::{Property, View};
use parthood_protocols::faults::Faults;
use parthood_protocols::ids::Round;
use parthood_protocols::paxos::{AcceptorState, Msg, Mutant, Phase, ProposerState, State, Vote};
use parthood_protocols::state_machine::Data;
use std::fmt::Write;

/// What is claimed whoever the clients: the properties of a deployed run.
pub(super) fn of_any_run<V: Data, F: Faults<Mutant>>() -> Vec<Property<Paxos<V, F>>> {
    vec![
        Property::always("one proposal per round", |view| one_proposal_per_round(&view.ghost.proposed)),
        Property::always("agreement", agreement),
        Property::always("learned implies chosen", learned_implies_chosen),
        Property::always("clients agree", clients_agree),
        Property::always("a higher round proposes what was chosen", higher_rounds_propose_what_was_chosen),
        Property::always("promises never decrease and bound the votes", promises_bound_votes),
        Property::always("read quorums meet write quorums", |view| view.protocol.quorums_meet),
    ]
}

/// What is claimed where all clients are known: the properties of a model.
pub(super) fn of_known_clients<V: Data, F: Faults<Mutant>>() -> Vec<Property<Paxos<V, F>>> {
    let with_clients: [Property<Paxos<V, F>>; 7] = [
        Property::always("validity", validity),
        Property::at_the_end("every client is told", |view| {
            !view.protocol.answers || every_client_is_told(view)
        }),
        Property::sometimes("a value is chosen", |view| chosen(view).next().is_some()),
        Property::sometimes("all clients are told", every_client_is_told),
        Property::sometimes("a later round chooses", |view| {
            chosen(view).any(|(round, _)| *round > Round::ZERO)
        }),
        Property::sometimes("a later round finds the value chosen", |view| {
            let proposed = &view.ghost.proposed;
            chosen(view).any(|(round, value)| proposed.iter().any(|(later, of)| later > round && of == value))
        }),
        Property::sometimes("rounds are abandoned", |view| {
            view.ghost.proposed.len() > 1 && chosen(view).next().is_none()
        }),
    ];
    of_any_run().into_iter().chain(with_clients).collect()
}

impl<V: Data, F: Faults<Mutant>> OneValue for Paxos<V, F> {
    type Round = Round;
    type Value = V;

    /// Every value for which, in one round, a write quorum voted.
    fn chosen<'a>(view: &View<'a, Self>) -> impl Iterator<Item = &'a (Round, V)> {
        let quorums = &view.protocol.config.quorums;
        view.ghost.cast.iter().filter(|(_, voters)| quorums.is_write_quorum(**voters)).map(|(vote, _)| vote)
    }

    fn learned<'a>(view: &View<'a, Self>) -> impl Iterator<Item = &'a V> {
        view.states.iter().filter_map(|state| match state {
            State::Proposer(ProposerState { phase: Phase::Done(value), .. }) => Some(value),
            _ => None,
        })
    }

    fn told<'a>(view: &View<'a, Self>) -> impl Iterator<Item = Option<&'a V>> {
        view.states.iter().filter_map(|state| match state {
            State::Client(client) => Some(client.chosen.as_ref()),
            _ => None,
        })
    }
}

fn acceptors<'a, V: Data, F: Faults<Mutant>>(
    view: &View<'a, Paxos<V, F>>,
) -> impl Iterator<Item = &'a AcceptorState<V>> + use<'a, V, F> {
    view.states.iter().filter_map(|state| match state {
        State::Acceptor(acceptor) => Some(acceptor),
        State::Proposer(_) | State::Client(_) => None,
    })
}

/// S5: what is proposed was asked for by a client; clients ask as soon as they start.
fn validity<V: Data, F: Faults<Mutant>>(view: &View<'_, Paxos<V, F>>) -> bool {
    view.ghost.proposed.iter().all(|(_, value)| view.protocol.asked.contains(value))
}

/// S11: the invariant that Paxos rests on.
fn higher_rounds_propose_what_was_chosen<V: Data, F: Faults<Mutant>>(view: &View<'_, Paxos<V, F>>) -> bool {
    chosen(view).all(|(round, value)| {
        view.ghost.proposed.iter().all(|(later, proposed)| later <= round || proposed == value)
    })
}

/// S11, of acceptors.
fn promises_bound_votes<V: Data, F: Faults<Mutant>>(view: &View<'_, Paxos<V, F>>) -> bool {
    let bound = |acceptor: &AcceptorState<V>| {
        acceptor.vote.as_ref().is_none_or(|vote| vote.vote_round <= acceptor.round)
    };
    !view.ghost.went_back && acceptors(view).all(bound)
}

/// A state in words.
pub(super) fn describe_state<V: Data>(state: &State<V>) -> String {
    match state {
        State::Proposer(proposer) => describe_proposer(proposer),
        State::Acceptor(AcceptorState { round, vote }) => {
            format!("promised {round:?}, {}", describe_vote(vote.as_ref()))
        }
        State::Client(client) => match (&client.asked, &client.chosen) {
            (_, Some(chosen)) => format!("told that v{chosen:?} is chosen"),
            (Some(asked), None) => format!("asked for v{asked:?}"),
            (None, None) => "asked for nothing yet".into(),
        },
    }
}

fn describe_proposer<V: Data>(proposer: &ProposerState<V>) -> String {
    let mut text = match (&proposer.phase, proposer.used) {
        (Phase::Idle, None) => "idle".to_owned(),
        (Phase::Idle, Some(used)) => format!("idle since a restart, will not use {used:?} again"),
        (Phase::Done(value), _) => format!("knows that v{value:?} is chosen"),
        (Phase::Phase1 { promised, best }, used) => {
            let round = used.unwrap_or_default();
            format!(
                "phase 1 of {round:?}: promises of {promised:?}, best report: {}",
                describe_vote(best.as_ref())
            )
        }
        (Phase::Phase2 { value, voted }, used) => {
            let round = used.unwrap_or_default();
            format!("phase 2 of {round:?}: proposed v{value:?}, votes of {voted:?}")
        }
    };
    if proposer.heard > proposer.used.unwrap_or_default() {
        // Writing to a string cannot fail.
        let _ = write!(text, ", heard of {:?}", proposer.heard);
    }
    text
}

fn describe_vote<V: Data>(vote: Option<&Vote<V>>) -> String {
    vote.map_or("no vote".into(), |vote| format!("voted v{:?} in {:?}", vote.vote_value, vote.vote_round))
}

/// A message in words.
pub(super) fn describe_msg<V: Data>(msg: &Msg<V>) -> String {
    match msg {
        Msg::Propose(value) => format!("Propose v{value:?}"),
        Msg::Phase1a { round } => format!("Phase1a {round:?}"),
        Msg::Phase1b { round, vote } => format!("Phase1b {round:?}, {}", describe_vote(vote.as_ref())),
        Msg::Phase2a { round, value } => format!("Phase2a {round:?} v{value:?}"),
        Msg::Phase2b { round } => format!("Phase2b {round:?}"),
        Msg::Nack { round } => format!("Nack {round:?}"),
        Msg::Chosen(value) => format!("Chosen v{value:?}"),
        Msg::Invoke(value) => format!("Invoke v{value:?}"),
    }
}
