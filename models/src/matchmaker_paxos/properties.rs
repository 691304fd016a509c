//! The properties (matchmaker notes, section 8).

use super::MatchmakerPaxos;
use super::ghost::moment;
use crate::moments::{happens, never};
use crate::one_value::{
    OneValue, agreement, chosen, clients_agree, every_client_is_told, learned_implies_chosen,
    one_proposal_per_round,
};
use crate::{Property, View};
use parthood_protocols::faults::Faults;
use parthood_protocols::matchmaker_paxos::{AcceptorState, Mutant, ProposerState, State};
use parthood_protocols::matchmaking::{MatchmakerState, Round};
use parthood_protocols::state_machine::Data;
use parthood_quorums::{NodeSet, QuorumSystem};

/// What is claimed whoever the clients: the properties of a deployed run.
pub(super) fn of_any_run<V: Data, F: Faults<Mutant>>() -> Vec<Property<MatchmakerPaxos<V, F>>> {
    vec![
        Property::always("agreement", agreement),
        Property::always("what is proposed excludes other choices below", proposals_exclude),
        // That a round has one configuration holds by construction: it follows from its number.
        Property::always("one value per round", |view| one_proposal_per_round(&view.ghost.proposed)),
        never!(moment::PROMISES_BIND),
        never!(moment::ORDER),
        never!(moment::USED_WATERMARK),
        never!(moment::JUSTIFIED),
        never!(moment::RETIRED),
        never!(moment::BYPASS),
        never!(moment::NOT_LOST),
        Property::always("a watermark stands on f + 1 logs", watermarks_are_anchored),
        Property::always("persisted means chosen and stored", persisted_means_stored),
        Property::always("learned implies chosen", learned_implies_chosen),
        Property::always("clients agree", clients_agree),
    ]
}

/// What is claimed where all clients are known: the properties of a model.
pub(super) fn of_known_clients<V: Data, F: Faults<Mutant>>() -> Vec<Property<MatchmakerPaxos<V, F>>> {
    let with_clients: [Property<MatchmakerPaxos<V, F>>; 14] = [
        Property::always("validity", |view| {
            view.ghost.proposed.iter().all(|(_, value)| view.protocol.asked.contains(value))
        }),
        Property::at_the_end("every client is told", |view| {
            !view.protocol.answers || every_client_is_told(view)
        }),
        Property::sometimes("a value is chosen", |view| chosen(view).next().is_some()),
        Property::sometimes("a value is chosen in two rounds", |view| chosen(view).nth(1).is_some()),
        Property::sometimes("all clients are told", every_client_is_told),
        Property::sometimes("a configuration is retired", |view| {
            proposers(view).any(|proposer| proposer.retired_below().is_some())
        }),
        happens!(moment::FREEDOM_CARRIED),
        happens!(moment::PROPOSAL_CARRIED),
        happens!(moment::BY_CHOICE),
        happens!(moment::BY_FREEDOM),
        happens!(moment::BY_PERSISTENCE),
        happens!(moment::SEVERAL),
        happens!(moment::PRUNED),
        happens!(moment::FETCHES),
    ];
    of_any_run().into_iter().chain(with_clients).collect()
}

impl<V: Data, F: Faults<Mutant>> OneValue for MatchmakerPaxos<V, F> {
    type Round = Round;
    type Value = V;

    /// Every value for which, in one round, a write quorum of its configuration voted.
    fn chosen<'a>(view: &View<'a, Self>) -> impl Iterator<Item = &'a (Round, V)> {
        let (protocol, ghost) = (view.protocol, view.ghost);
        let is_chosen = move |round: Round, voters: NodeSet| {
            protocol.configuration(round).is_some_and(|configuration| configuration.is_write_quorum(voters))
        };
        ghost
            .cast
            .iter()
            .filter(move |((round, _), voters)| is_chosen(*round, **voters))
            .map(|(vote, _)| vote)
    }

    fn learned<'a>(view: &View<'a, Self>) -> impl Iterator<Item = &'a V> {
        proposers(view).filter_map(|proposer| proposer.phase.chosen())
    }

    fn told<'a>(view: &View<'a, Self>) -> impl Iterator<Item = Option<&'a V>> {
        view.states.iter().filter_map(|state| match state {
            State::Client(client) => Some(client.chosen.as_ref()),
            _ => None,
        })
    }
}

type Seen<'a, 'v, V, F> = &'a View<'v, MatchmakerPaxos<V, F>>;

fn proposers<'a, V: Data, F: Faults<Mutant>>(
    view: Seen<'_, 'a, V, F>,
) -> impl Iterator<Item = &'a ProposerState<V>> + use<'a, V, F> {
    view.states.iter().filter_map(|state| match state {
        State::Proposer(proposer) => Some(proposer),
        _ => None,
    })
}

fn matchmakers<'a, V: Data, F: Faults<Mutant>>(
    view: Seen<'_, 'a, V, F>,
) -> impl Iterator<Item = &'a MatchmakerState> + use<'a, V, F> {
    view.states.iter().filter_map(|state| match state {
        State::Matchmaker(matchmaker) => Some(matchmaker),
        _ => None,
    })
}

fn acceptors<'a, V: Data, F: Faults<Mutant>>(
    view: Seen<'_, 'a, V, F>,
) -> impl Iterator<Item = &'a AcceptorState<V>> + use<'a, V, F> {
    view.states.iter().filter_map(|state| match state {
        State::Acceptor(acceptor) => Some(acceptor),
        _ => None,
    })
}

/// I3: below a round in which `v` is proposed, no other value was or can be chosen. This is what agreement rests on, and
/// it breaks earlier.
fn proposals_exclude<V: Data, F: Faults<Mutant>>(view: &View<'_, MatchmakerPaxos<V, F>>) -> bool {
    let proposed = &view.ghost.proposed;
    let choosable = |round: Round, value: &V| {
        let Some(configuration) = view.protocol.configuration(round) else { return false };
        let key = (round, value.clone());
        let voted = view.ghost.cast.get(&key).copied().unwrap_or_default();
        let open = acceptors(view).enumerate().filter(|(_, acceptor)| acceptor.round <= round);
        configuration.is_write_quorum(open.fold(voted, |all, (number, _)| all.with(number)))
    };
    proposed.iter().all(|(below, other)| {
        let mut above = proposed.iter().filter(|(round, value)| round > below && value != other);
        above.next().is_none() || !choosable(*below, other)
    })
}

/// I10.
fn watermarks_are_anchored<V: Data, F: Faults<Mutant>>(view: &View<'_, MatchmakerPaxos<V, F>>) -> bool {
    let configuration = |round: &Round| view.protocol.configuration(*round);
    let hold =
        |round: &Round| matchmakers(view).filter(|other| other.covers(*round, configuration(round))).count();
    let anchored = |watermark: Round| {
        let rounds = matchmakers(view).flat_map(|matchmaker| matchmaker.log.range(watermark..));
        rounds.into_iter().any(|(round, _)| hold(round) >= view.protocol.config.f_plus_1())
    };
    matchmakers(view).all(|matchmaker| matchmaker.watermark == Round::ZERO || anchored(matchmaker.watermark))
}

/// I12.
fn persisted_means_stored<V: Data, F: Faults<Mutant>>(view: &View<'_, MatchmakerPaxos<V, F>>) -> bool {
    let is_stored =
        || chosen(view).next().is_some() && view.ghost.stored.len() >= view.protocol.config.f_plus_1();
    !acceptors(view).any(|acceptor| acceptor.persisted) || is_stored()
}
