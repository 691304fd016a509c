//! The properties (matchmaker notes, section 8).

use super::ghost::moment;
use super::{Ghost, MatchmakerMultipaxos};
use crate::history::was_asked;
use crate::moments::{happens, never};
use crate::replicas;
use crate::{Property, View};
use parthood_protocols::command::{Value, ValueOf};
use parthood_protocols::faults::Faults;
use parthood_protocols::ids::Slot;
use parthood_protocols::log::ReplicaState;
use parthood_protocols::matchmaker_multipaxos::{AcceptorNode, Leading, Mutant, ServerState, Stage, State};
use parthood_protocols::matchmaking::Round;
use parthood_protocols::operator::{OperatorState, Wanted};
use parthood_protocols::state_machine::{AppendLog, AppendLogCommand, StateMachine};
use parthood_quorums::{NodeSet, QuorumSystem};
use std::collections::BTreeSet;

type Seen<'a, M, F> = View<'a, MatchmakerMultipaxos<M, F>>;

/// What is claimed whatever the machine and whoever the clients: the properties of a deployed run.
pub(super) fn of_any_machine<M: StateMachine, F: Faults<Mutant>>() -> Vec<Property<MatchmakerMultipaxos<M, F>>>
{
    vec![
        Property::always("one proposal per round and slot", |view| one_each(&view.ghost.proposed)),
        Property::always("agreement", |view| view.ghost.votes.agree(view.ghost.writes())),
        Property::always("learned implies chosen", learned_implies_chosen),
        Property::always("logs agree", |view| replicas::logs_agree(&all_replicas(view))),
        Property::always("equal logs give equal states", |view| {
            replicas::equal_logs_give_equal_states(&all_replicas(view))
        }),
        Property::always("exactly once", |view| view.ghost.clients.answers_agree()),
        Property::always("one configuration per round", |view| {
            let rounds: Vec<Round> = view.ghost.announced.iter().map(|(round, _)| *round).collect();
            rounds.windows(2).all(|two| two[0] != two[1])
        }),
        Property::always("no older cluster file undoes a newer one", |view| {
            let rounds: BTreeSet<Round> = view.ghost.proposed.iter().map(|(_, round, _)| *round).collect();
            let generations: Vec<u64> = rounds.iter().map(|round| view.ghost.generation(*round)).collect();
            generations.is_sorted()
        }),
        Property::always("what is proposed excludes other choices below", proposals_exclude),
        Property::always("garbage collection is justified", collection_is_justified),
        Property::always("who serves knows what was matched before", logs_are_complete),
        never!(moment::ONE_SET),
        Property::always("persisted means chosen and stored", persisted_means_stored),
        never!(moment::WENT_BACK),
        never!(moment::ORDER),
        never!(moment::USED_WATERMARK),
        never!(moment::RETIRED),
        never!(moment::TOLD_ACTIVE),
        never!(moment::TOLD_RETIRED),
        never!(moment::TOLD_HANDED_OVER),
        never!(moment::FROZEN),
        never!(moment::NEWEST),
        never!(moment::BYPASS),
    ]
}

/// What is claimed of the append log and clients with scripts: the properties of a model.
pub(super) fn of_the_append_log<F: Faults<Mutant>>() -> Vec<Property<MatchmakerMultipaxos<AppendLog, F>>> {
    let with_scripts: [Property<MatchmakerMultipaxos<AppendLog, F>>; 19] = [
        Property::always("each request is done once at most", requests_are_done_once),
        Property::always("a watermark stands on f + 1 logs", watermarks_are_anchored),
        Property::always("executed prefixes agree", |view| replicas::executed_prefixes(&all_replicas(view))),
        Property::always("nothing is executed twice", |view| {
            replicas::entries_are_distinct(&all_replicas(view))
        }),
        Property::always("validity", validity),
        Property::always("linearizable", |view| view.ghost.clients.linearizable()),
        Property::at_the_end("every client is answered", |view| {
            !view.protocol.answers || every_client_is_answered(view)
        }),
        Property::sometimes("commands share a slot", |view| {
            view.ghost.votes.values().any(|value| value.commands().len() > 1)
        }),
        Property::sometimes("old and new acceptors choose", |view| {
            let rounds: BTreeSet<Round> =
                view.ghost.votes.chosen(view.ghost.writes()).map(|(_, round, _)| round).collect();
            let configurations: BTreeSet<_> =
                rounds.iter().filter_map(|round| view.ghost.configuration(*round)).collect();
            configurations.len() > 1
        }),
        Property::sometimes("a slot is chosen in a round and the next one in its successor", |view| {
            let chosen = view.ghost.votes.chosen(view.ghost.writes());
            let chosen: BTreeSet<(Slot, Round)> = chosen.map(|(slot, round, _)| (slot, round)).collect();
            chosen.iter().any(|(slot, round)| chosen.contains(&(slot.next(), round.successor())))
        }),
        Property::sometimes("old acceptors are retired", |view| {
            view.ghost.retired_below(view.protocol.config().f() + 1) > Round::ZERO
        }),
        Property::sometimes("new matchmakers match a round", |view| {
            view.ghost.answered.iter().any(|((epoch, _), by)| epoch.number > 0 && epoch.is_quorum(*by))
        }),
        Property::sometimes("old matchmakers are not needed any more", |view| {
            let operators = view.states.iter().filter_map(|state| match state {
                State::Operator(operator) => Some(operator),
                _ => None,
            });
            let done = |operator: &OperatorState| operator.wanted.is_none() && operator.done > 0;
            view.ghost.serving.len() > view.protocol.config().f() && operators.into_iter().any(done)
        }),
        Property::sometimes("all cluster files are heeded", |view| {
            let newest = view.protocol.wishes.iter().max_by_key(|wish| wish.generation);
            let chosen = view.ghost.votes.chosen(view.ghost.writes());
            let mut generations = chosen.map(|(_, round, _)| view.ghost.generation(round));
            newest.is_some_and(|newest| {
                let members = |epoch: &u64, wanted| {
                    servers(view)
                        .any(|server| server.epoch.number == *epoch && server.epoch.members == wanted)
                };
                let serve = newest
                    .matchmakers
                    .is_none_or(|wanted| view.ghost.serving.values().any(|epoch| members(epoch, wanted)));
                serve && generations.any(|generation| generation == newest.generation)
            })
        }),
        happens!(moment::CARRIED),
        happens!(moment::OUTDATED),
        happens!(moment::SEVERAL),
        happens!(moment::TWICE),
        happens!(moment::REFUSED),
    ];
    of_any_machine().into_iter().chain(with_scripts).chain(takeovers()).collect()
}

/// Another server may lead in each state of a leader.
fn takeovers<F: Faults<Mutant>>() -> [Property<MatchmakerMultipaxos<AppendLog, F>>; 6] {
    [
        Property::sometimes("another server leads while one matches its round", |view| {
            is_overtaken(view, |one| matches!(one.stage, Stage::Matching(_)))
        }),
        Property::sometimes("another server leads while one is in phase 1", |view| {
            is_overtaken(view, |one| matches!(one.stage, Stage::Phase1 { .. }))
        }),
        Property::sometimes("another server leads while one does, too", |view| {
            is_overtaken(view, |one| one.is_steady() && one.next.is_none() && one.previous.is_none())
        }),
        Property::sometimes("another server leads while one matches its next round", |view| {
            is_overtaken(view, |one| one.next.is_some())
        }),
        Property::sometimes("another server leads while slots of one's previous round are pending", |view| {
            is_overtaken(view, |one| one.previous.is_some())
        }),
        Property::sometimes("another server leads while one replaces matchmakers", |view| {
            is_overtaken(view, |one| one.handover.is_some())
        }),
    ]
}

/// There are no more configurations after the first than operators and cluster files have asked for, and matchmakers are not
/// exchanged for others more often. (A leader that ends what another one has begun may have the present ones serve again.)
fn requests_are_done_once<M: StateMachine, F: Faults<Mutant>>(view: &Seen<'_, M, F>) -> bool {
    let asked = |is_of: fn(&Wanted) -> bool| {
        let scripts = view.protocol.operators.iter().flat_map(|operator| &operator.script);
        let files = view.protocol.wishes.iter().filter(|wish| wish.generation > 0).count();
        (scripts.filter(|wanted| is_of(wanted)).count() + files) as u64
    };
    let acceptors = asked(|wanted| matches!(wanted, Wanted::Acceptors(_)));
    let matchmakers = asked(|wanted| matches!(wanted, Wanted::Matchmakers(_)));
    let mut announced = view.ghost.announced.iter();
    let first = view.protocol.config().first_epoch().members;
    let epochs: Vec<_> = std::iter::once(&first).chain(view.ghost.epochs.values()).collect();
    let exchanges = epochs.windows(2).filter(|two| two[0] != two[1]).count() as u64;
    announced.all(|(_, announced)| announced.version <= acceptors) && exchanges <= matchmakers
}

fn servers<'a, M: StateMachine, F: Faults<Mutant>>(
    view: &Seen<'a, M, F>,
) -> impl Iterator<Item = &'a ServerState<M>> + use<'a, M, F> {
    view.states.iter().filter_map(|state| match state {
        State::Server(server) => Some(&**server),
        _ => None,
    })
}

/// Does a server lead in a larger round than another one that has not heard of it, and is so far?
fn is_overtaken<F: Faults<Mutant>>(
    view: &Seen<'_, AppendLog, F>,
    is_so_far: fn(&Leading<AppendLogCommand>) -> bool,
) -> bool {
    let leading = || servers(view).filter_map(|server| server.leading.as_ref());
    let newest = leading().filter(|one| one.is_steady()).map(|one| one.round).max();
    leading().any(|one| Some(one.round) < newest && is_so_far(one))
}

fn acceptors<'a, M: StateMachine, F: Faults<Mutant>>(
    view: &Seen<'a, M, F>,
) -> impl Iterator<Item = &'a AcceptorNode<M::Command>> + use<'a, M, F> {
    view.states.iter().filter_map(|state| match state {
        State::Acceptor(acceptor) => Some(acceptor),
        _ => None,
    })
}

fn all_replicas<'a, M: StateMachine, F: Faults<Mutant>>(view: &Seen<'a, M, F>) -> Vec<&'a ReplicaState<M>> {
    servers(view).map(|server| &server.replica).collect()
}

/// I4: no two values in one slot and round.
fn one_each<C: Ord>(proposed: &BTreeSet<(Slot, Round, Value<C>)>) -> bool {
    let mut last = None;
    proposed.iter().all(|(slot, round, _)| last.replace((slot, round)) != Some((slot, round)))
}

fn learned_implies_chosen<M: StateMachine, F: Faults<Mutant>>(view: &Seen<'_, M, F>) -> bool {
    servers(view).all(|server| {
        let recorded = server.replica.log.range(view.ghost.unrecorded_below..);
        let writes = view.ghost.writes();
        recorded.into_iter().all(|(slot, value)| view.ghost.votes.is_chosen(*slot, value, &writes))
    })
}

/// I12: what an acceptor takes for stored is chosen, and `f + 1` servers have saved what it amounts to.
fn persisted_means_stored<M: StateMachine, F: Faults<Mutant>>(view: &Seen<'_, M, F>) -> bool {
    let Some(persisted) = acceptors(view).map(|acceptor| acceptor.persisted).max() else { return true };
    if persisted == Slot::ZERO {
        return true;
    }
    let (_, chosen_below) = view.ghost.votes.chosen_slots(view.ghost.unrecorded_below, view.ghost.writes());
    let stored = servers(view).filter(|server| server.replica.snapshot.slot >= persisted).count();
    persisted <= chosen_below && stored > view.protocol.config().f()
}

/// Can this value still be chosen in this slot and round, or was it? Everybody who has not voted must still be able to.
fn is_choosable<M: StateMachine, F: Faults<Mutant>>(
    view: &Seen<'_, M, F>,
    slot: Slot,
    round: Round,
    value: &ValueOf<M>,
) -> bool {
    let mut able = view.ghost.votes.voters(slot, round, value);
    for (number, acceptor) in acceptors(view).enumerate() {
        if acceptor.acceptor.round <= round && acceptor.persisted <= slot {
            able.insert(number);
        }
    }
    view.ghost.writes()(slot, round, able)
}

/// I3, what agreement rests on: if a value is proposed, no other was or will be chosen in a smaller round.
fn proposals_exclude<M: StateMachine, F: Faults<Mutant>>(view: &Seen<'_, M, F>) -> bool {
    let mut later = view.ghost.proposed.iter();
    view.ghost.proposed.iter().all(|(slot, round, value)| {
        later.next();
        let mut of_slot = later.clone().take_while(|(of, ..)| of == slot);
        let excluded = of_slot.any(|(_, above, other)| above > round && other != value);
        !excluded || !is_choosable(view, *slot, *round, value)
    })
}

/// I8: below a round that collects, every slot that a value may be chosen for is known to a write quorum of the round as
/// stored (Scenario 3), or nothing was or can be chosen for it in a smaller round (Scenario 2).
fn collection_is_justified<M: StateMachine, F: Faults<Mutant>>(view: &Seen<'_, M, F>) -> bool {
    let persisted: Vec<Slot> = acceptors(view).map(|acceptor| acceptor.persisted).collect();
    view.ghost.collecting.iter().all(|collecting| {
        let Some(configuration) = view.ghost.configuration(*collecting) else { return false };
        let noted = |below: Slot| {
            let who = persisted.iter().enumerate().filter(|(_, noted)| **noted >= below);
            configuration.is_write_quorum(who.map(|(number, _)| number).collect::<NodeSet>())
        };
        let noted_below = persisted.iter().copied().filter(|below| noted(*below)).max().unwrap_or_default();
        let mut open = view.ghost.proposed.iter().rev().take_while(|(slot, ..)| *slot >= noted_below);
        open.all(|(slot, round, value)| round >= collecting || !is_choosable(view, *slot, *round, value))
    })
}

/// I14: who serves has noted every round that was matched in an earlier epoch, or its watermark is above.
fn logs_are_complete<M: StateMachine, F: Faults<Mutant>>(view: &Seen<'_, M, F>) -> bool {
    let serving = view.states.iter().filter_map(|state| match state {
        State::Matchmaker(node) => Some((node.newest.number, node.log.as_ref()?)),
        _ => None,
    });
    serving.into_iter().all(|(number, log)| {
        view.ghost.answered.iter().all(|((epoch, round), by)| {
            epoch.number >= number
                || *round < log.watermark
                || !epoch.is_quorum(*by)
                || log.covers(*round, view.ghost.announced(*round))
        })
    })
}

/// I10: above a watermark there is a round that one more than may fail have noted. Said of the first matchmakers, while none is
/// replaced: those that follow get the log one after the other.
fn watermarks_are_anchored<F: Faults<Mutant>>(view: &Seen<'_, AppendLog, F>) -> bool {
    let nodes = || {
        view.states.iter().filter_map(|state| match state {
            State::Matchmaker(node) => Some(node),
            _ => None,
        })
    };
    if nodes().any(|node| node.newest.number > 0) {
        return true;
    }
    let logs: Vec<_> = nodes().filter_map(|node| node.log.as_ref()).collect();
    let is_noted = |round: Round, announced| {
        logs.iter().filter(|log| log.covers(round, Some(announced))).count() > view.protocol.config().f()
    };
    logs.iter().all(|log| {
        let mut above = logs.iter().flat_map(|other| other.log.range(log.watermark..));
        log.watermark == Round::ZERO || above.any(|(round, announced)| is_noted(*round, announced))
    })
}

/// What is chosen was asked for.
fn validity<F: Faults<Mutant>>(view: &Seen<'_, AppendLog, F>) -> bool {
    view.ghost.votes.chosen(view.ghost.writes()).all(|(_, _, value)| {
        value.commands().iter().all(|command| {
            let client = view.protocol.client(command.id.client);
            was_asked(client.map(|client| client.script.as_slice()), command)
        })
    })
}

fn every_client_is_answered<F: Faults<Mutant>>(view: &Seen<'_, AppendLog, F>) -> bool {
    let clients = view.states.iter().filter_map(|state| match state {
        State::Client(client) => Some(client),
        _ => None,
    });
    let mut clients = clients.zip(&view.protocol.clients);
    clients.all(|(state, client)| state.is_idle() && state.invoked() == client.script.len())
}

impl<M: StateMachine> Ghost<M> {
    /// All slots below were chosen before the record of the run begins; nothing is claimed of them.
    pub fn unrecorded_below(&self) -> Slot {
        self.unrecorded_below
    }
}
