//! The properties (matchmaker notes, sections 5 and 8).

use super::MatchmakerFastPaxos;
use super::ghost::moment;
use crate::moments::never;
use crate::one_value::{
    OneValue, agreement, chosen, clients_agree, every_client_is_told, learned_implies_chosen,
    one_proposal_per_round,
};
use crate::{Property, View};
use parthood_protocols::faults::Faults;
use parthood_protocols::matchmaker_fast_paxos::{FastAcceptorState, FastPhase, FastState, Mutant, State};
use parthood_protocols::matchmaking::Round;
use parthood_protocols::state_machine::Data;
use parthood_quorums::NodeSet;

/// What is claimed whoever the clients: the properties of a deployed run.
pub(super) fn of_any_run<V: Data, F: Faults<Mutant>>() -> Vec<Property<MatchmakerFastPaxos<V, F>>> {
    vec![
        Property::always("agreement", agreement),
        Property::always("votes exclude other choices below", votes_exclude),
        // That a round has one set of acceptors holds by construction: it follows from its number.
        Property::always("one proposal per round", |view| one_proposal_per_round(&view.ghost.proposed)),
        never!(moment::ONE_VOTE),
        never!(moment::PROMISES_BIND),
        never!(moment::BYPASS),
        Property::always("garbage collection is justified", collection_is_justified),
        Property::always("learned implies chosen", learned_implies_chosen),
        Property::always("clients agree", clients_agree),
    ]
}

/// What is claimed where all clients are known: the properties of a model.
pub(super) fn of_known_clients<V: Data, F: Faults<Mutant>>() -> Vec<Property<MatchmakerFastPaxos<V, F>>> {
    let with_clients: [Property<MatchmakerFastPaxos<V, F>>; 9] = [
        Property::always("validity", |view| {
            view.ghost.cast.keys().all(|(_, value)| view.protocol.asked.contains(value))
        }),
        Property::at_the_end("every client is told", |view| {
            !view.protocol.answers || every_client_is_told(view)
        }),
        Property::sometimes("a value is chosen in a fast round", |view| {
            chosen(view).any(|(round, _)| view.ghost.proposed.contains(&(*round, None)))
        }),
        Property::sometimes("a value is chosen in two rounds", |view| chosen(view).nth(1).is_some()),
        Property::sometimes("a client counts before the proposer does", |view| {
            OneValue::told(view).flatten().next().is_some()
                && !proposers(view).any(|proposer| matches!(proposer.phase, FastPhase::Done(_)))
        }),
        Property::sometimes("votes are divided and a value is chosen later", |view| {
            let divided = divided(view);
            chosen(view).any(|(round, _)| divided.is_some_and(|divided| divided < *round))
        }),
        Property::sometimes("all clients are told", every_client_is_told),
        Property::sometimes("a configuration is retired", |view| {
            proposers(view).any(|proposer| proposer.retired_below().is_some())
        }),
        Property::sometimes("garbage is collected because votes are divided", |view| {
            let divided = divided(view);
            let above = |round: &Round| divided.is_some_and(|divided| divided < *round);
            let is_free = |round: &Round| view.ghost.cast.keys().all(|(of, _)| of < round);
            view.ghost.collected.iter().any(|round| above(round) && is_free(round))
        }),
    ];
    of_any_run().into_iter().chain(with_clients).collect()
}

impl<V: Data, F: Faults<Mutant>> OneValue for MatchmakerFastPaxos<V, F> {
    type Round = Round;
    type Value = V;

    /// Every value for which, in one round, all its acceptors voted.
    fn chosen<'a>(view: &View<'a, Self>) -> impl Iterator<Item = &'a (Round, V)> {
        let (protocol, ghost) = (view.protocol, view.ghost);
        let is_chosen = move |round: Round, voters: NodeSet| {
            let acceptors = protocol.config.acceptors(round);
            !acceptors.is_empty() && acceptors.is_subset(voters)
        };
        ghost
            .cast
            .iter()
            .filter(move |((round, _), voters)| is_chosen(*round, **voters))
            .map(|(vote, _)| vote)
    }

    fn learned<'a>(view: &View<'a, Self>) -> impl Iterator<Item = &'a V> {
        proposers(view).filter_map(|proposer| match &proposer.phase {
            FastPhase::Done(value) => Some(value),
            _ => None,
        })
    }

    fn told<'a>(view: &View<'a, Self>) -> impl Iterator<Item = Option<&'a V>> {
        view.states.iter().filter_map(|state| match state {
            State::Client(client) => Some(client.asks.chosen.as_ref()),
            _ => None,
        })
    }
}

type Seen<'a, 'v, V, F> = &'a View<'v, MatchmakerFastPaxos<V, F>>;

/// The smallest round in which two values were voted for.
fn divided<V: Data, F: Faults<Mutant>>(view: Seen<'_, '_, V, F>) -> Option<Round> {
    let mut last = None;
    view.ghost.cast.keys().find(|(round, _)| last.replace(*round) == Some(*round)).map(|(round, _)| *round)
}

fn proposers<'a, V: Data, F: Faults<Mutant>>(
    view: Seen<'_, 'a, V, F>,
) -> impl Iterator<Item = &'a FastState<V>> + use<'a, V, F> {
    view.states.iter().filter_map(|state| match state {
        State::Proposer(proposer) => Some(proposer),
        _ => None,
    })
}

fn acceptors<'a, V: Data, F: Faults<Mutant>>(
    view: Seen<'_, 'a, V, F>,
) -> impl Iterator<Item = &'a FastAcceptorState<V>> + use<'a, V, F> {
    view.states.iter().filter_map(|state| match state {
        State::Acceptor(acceptor) => Some(acceptor),
        _ => None,
    })
}

/// Was or can anything but this be chosen in a round in which something was proposed?
fn is_choosable<V: Data, F: Faults<Mutant>>(
    view: Seen<'_, '_, V, F>,
    round: Round,
    besides: Option<&V>,
) -> bool {
    let all = view.protocol.config.acceptors(round);
    let votes = || view.ghost.cast.iter().filter(|((of, _), _)| *of == round);
    let bound = votes().fold(NodeSet::EMPTY, |all, (_, voters)| all.union(*voters));
    let open = acceptors(view).enumerate().filter(|(_, acceptor)| acceptor.kept.round <= round);
    let open = open.map(|(number, _)| number).collect::<NodeSet>().difference(bound);
    let suffice = |voters: NodeSet| !all.is_empty() && all.is_subset(voters.union(open));
    let proposals = view.ghost.proposed.iter().filter(|(of, _)| *of == round);
    let mut values = proposals.map(|(_, value)| value.as_ref());
    // Whoever was told "any" and has not voted may vote for something that nobody has voted for yet.
    suffice(NodeSet::EMPTY) && values.any(|value| value.is_none() || value != besides)
        || votes().any(|((_, value), voters)| Some(value) != besides && suffice(*voters))
}

/// I3, of votes: below a round in which somebody has voted for `v`, no other value was or can be chosen.
fn votes_exclude<V: Data, F: Faults<Mutant>>(view: &View<'_, MatchmakerFastPaxos<V, F>>) -> bool {
    let below = |round: Round| view.ghost.proposed.iter().filter(move |(of, _)| *of < round);
    let voted = view.ghost.cast.keys();
    voted.into_iter().all(|(round, value)| !below(*round).any(|(of, _)| is_choosable(view, *of, Some(value))))
}

/// I8: whoever collects in a round has had a value chosen in it, or nothing was or can be chosen below.
fn collection_is_justified<V: Data, F: Faults<Mutant>>(view: &View<'_, MatchmakerFastPaxos<V, F>>) -> bool {
    let is_free = |round: Round| {
        let below = view.ghost.proposed.iter().filter(|(of, _)| *of < round);
        below.into_iter().all(|(of, _)| !is_choosable(view, *of, None))
    };
    let is_chosen = |round: Round| chosen(view).any(|(of, _)| *of == round);
    view.ghost.collected.iter().all(|round| is_chosen(*round) || is_free(*round))
}
