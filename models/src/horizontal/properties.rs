//! The properties (matchmaker notes, sections 7 and 8).

use super::ghost::moment;
use super::{Ghost, Horizontal};
use crate::history::was_asked;
use crate::moments::{happens, never};
use crate::{Property, View, replicas};
use parthood_protocols::command::{Command, Operation, ValueOf};
use parthood_protocols::faults::Faults;
use parthood_protocols::horizontal::{AcceptorNode, Configured, Entry, Mutant, Numbered, ServerState, State};
use parthood_protocols::ids::{Round, Slot};
use parthood_protocols::log::ReplicaState;
use parthood_protocols::matchmaking::Configuration;
use parthood_protocols::operator::OperatorState;
use parthood_protocols::state_machine::{AppendLog, AppendLogCommand, StateMachine};
use std::collections::BTreeSet;

type Seen<'a, M, F> = View<'a, Horizontal<M, F>>;

/// What is claimed whatever the machine and whoever the clients: the properties of a deployed run.
pub(super) fn of_any_machine<M: StateMachine, F: Faults<Mutant>>() -> Vec<Property<Horizontal<M, F>>> {
    vec![
        Property::always("one proposal per round and slot", one_proposal_each),
        Property::always("agreement", |view| view.ghost.votes.agree(view.ghost.writes(view.protocol))),
        Property::always("learned implies chosen", learned_implies_chosen),
        Property::always("logs agree", |view| replicas::logs_agree(&all_replicas(view))),
        Property::always("equal logs give equal states", |view| {
            replicas::equal_logs_give_equal_states(&all_replicas(view))
        }),
        Property::always("exactly once", |view| view.ghost.clients.answers_agree()),
        Property::always("who decides a slot follows from the log", configurations_follow),
        Property::always("persisted means chosen and stored", persisted_means_stored),
        never!(moment::WENT_BACK),
        never!(moment::WINDOW),
        never!(moment::ASKED),
        never!(moment::TOLD_ACTIVE),
        never!(moment::TOLD_RETIRED),
    ]
}

/// What is claimed of the append log and clients with scripts: the properties of a model.
pub(super) fn of_the_append_log<F: Faults<Mutant>>() -> Vec<Property<Horizontal<AppendLog, F>>> {
    let with_scripts: [Property<Horizontal<AppendLog, F>>; 16] = [
        Property::always("what is proposed excludes other choices below", proposals_exclude),
        Property::always("each request is done once at most", requests_are_done_once),
        Property::always("executed prefixes agree", |view| replicas::executed_prefixes(&all_replicas(view))),
        Property::always("nothing is executed twice", |view| {
            replicas::entries_are_distinct(&all_replicas(view))
        }),
        Property::always("validity", validity),
        Property::always("linearizable", |view| view.ghost.clients.linearizable()),
        Property::at_the_end("every client is answered", |view| {
            !view.protocol.answers || every_client_is_answered(view)
        }),
        Property::sometimes("all clients are done", every_client_is_answered),
        Property::sometimes("commands share a slot", |view| {
            view.ghost.votes.values().any(|value| value.commands().len() > 1)
        }),
        Property::sometimes("old and new acceptors choose", old_and_new_choose),
        Property::sometimes("old acceptors are retired", |view| {
            let done = |operator: &OperatorState| operator.wanted.is_none() && operator.done > 0;
            view.states.iter().any(|state| matches!(state, State::Operator(operator) if done(operator)))
        }),
        Property::sometimes("two servers lead one after the other", |view| {
            servers(view)
                .any(|server| server.leading.as_ref().is_some_and(|one| one.leads && one.round > Round::ZERO))
        }),
        happens!(moment::BOTH),
        happens!(moment::FILLED),
        happens!(moment::AHEAD),
        happens!(moment::REFUSED),
    ];
    of_any_machine().into_iter().chain(with_scripts).collect()
}

/// There are no more configurations after the first than operators have asked for.
fn requests_are_done_once<M: StateMachine, F: Faults<Mutant>>(view: &Seen<'_, M, F>) -> bool {
    let asked: u64 = view.protocol.operators.iter().map(|operator| operator.script.len() as u64).sum();
    let newest = |server: &ServerState<M>| server.replica.machine.newest().map_or(0, |one| one.number);
    servers(view).all(|server| newest(server) <= asked)
}

fn servers<'a, M: StateMachine, F: Faults<Mutant>>(
    view: &Seen<'a, M, F>,
) -> impl Iterator<Item = &'a ServerState<M>> + use<'a, M, F> {
    view.states.iter().filter_map(|state| match state {
        State::Server(server) => Some(&**server),
        _ => None,
    })
}

fn acceptors<'a, M: StateMachine, F: Faults<Mutant>>(
    view: &Seen<'a, M, F>,
) -> impl Iterator<Item = &'a AcceptorNode<M>> + use<'a, M, F> {
    view.states.iter().filter_map(|state| match state {
        State::Acceptor(acceptor) => Some(acceptor),
        _ => None,
    })
}

fn all_replicas<'a, M: StateMachine, F: Faults<Mutant>>(
    view: &Seen<'a, M, F>,
) -> Vec<&'a ReplicaState<Configured<M>>> {
    servers(view).map(|server| &server.replica).collect()
}

/// No two values in one slot and round.
fn one_proposal_each<M: StateMachine, F: Faults<Mutant>>(view: &Seen<'_, M, F>) -> bool {
    let mut last = None;
    let mut proposed = view.ghost.proposed.iter();
    proposed.all(|(slot, round, _)| last.replace((slot, round)) != Some((slot, round)))
}

fn learned_implies_chosen<M: StateMachine, F: Faults<Mutant>>(view: &Seen<'_, M, F>) -> bool {
    let writes = view.ghost.writes(view.protocol);
    servers(view).all(|server| {
        let recorded = server.replica.log.range(view.ghost.unrecorded_below..);
        recorded.into_iter().all(|(slot, value)| view.ghost.votes.is_chosen(*slot, value, &writes))
    })
}

/// Every server takes a configuration for what the log says, from the slot on that the window says. What was recorded of the
/// past may be less than a server that went on knows.
fn configurations_follow<M: StateMachine, F: Faults<Mutant>>(view: &Seen<'_, M, F>) -> bool {
    let Some(first) = view.ghost.configurations.first().map(|numbered| numbered.number) else {
        let unrecorded = view.ghost.unrecorded_below > Slot::ZERO;
        return unrecorded || servers(view).all(|server| server.replica.machine.configurations.is_empty());
    };
    let follows = |known: &Numbered| known.number < first || view.ghost.configurations.contains(known);
    servers(view).all(|server| server.replica.machine.configurations.iter().all(follows))
}

/// What an acceptor takes for stored is chosen, and `f + 1` servers have saved what it amounts to.
fn persisted_means_stored<M: StateMachine, F: Faults<Mutant>>(view: &Seen<'_, M, F>) -> bool {
    let persisted = acceptors(view).map(|acceptor| acceptor.persisted).max().unwrap_or_default();
    let stored = servers(view).filter(|server| server.replica.snapshot.slot >= persisted).count();
    persisted == Slot::ZERO || persisted <= view.ghost.chosen_below && stored > view.protocol.config().f()
}

/// Can this value still be chosen in this slot and round, or was it? Everybody who has not voted must still be able to.
fn is_choosable<M: StateMachine, F: Faults<Mutant>>(
    view: &Seen<'_, M, F>,
    slot: Slot,
    round: Round,
    value: &ValueOf<Configured<M>>,
) -> bool {
    let mut able = view.ghost.votes.voters(slot, round, value);
    for (number, acceptor) in acceptors(view).enumerate() {
        if acceptor.acceptor.round <= round && acceptor.persisted <= slot {
            able.insert(number);
        }
    }
    view.ghost.writes(view.protocol)(slot, round, able)
}

/// What agreement rests on: if a value is proposed, no other was or will be chosen in a smaller round.
fn proposals_exclude<F: Faults<Mutant>>(view: &Seen<'_, AppendLog, F>) -> bool {
    let proposed = &view.ghost.proposed;
    proposed.iter().all(|(slot, round, value)| {
        let later = proposed.iter().any(|(of, above, other)| of == slot && above > round && other != value);
        !later || !is_choosable(view, *slot, *round, value)
    })
}

fn old_and_new_choose<F: Faults<Mutant>>(view: &Seen<'_, AppendLog, F>) -> bool {
    let chosen = view.ghost.votes.chosen(view.ghost.writes(view.protocol));
    let with_commands = chosen.filter(|(.., value)| value.commands().iter().any(|one| asked(one).is_some()));
    let who = |slot| view.ghost.governing(view.protocol, slot);
    let all: BTreeSet<Option<&Configuration>> = with_commands.map(|(slot, ..)| who(slot)).collect();
    all.len() > 1
}

/// What a client asked for, if a client did.
fn asked(command: &Command<Entry<AppendLogCommand>>) -> Option<Command<AppendLogCommand>> {
    let op = match &command.op {
        Operation::Open { lanes } => Operation::Open { lanes: *lanes },
        Operation::Apply(Entry::Command(command)) => Operation::Apply(*command),
        Operation::Apply(Entry::Configuration(_)) => return None,
    };
    Some(Command { id: command.id, op })
}

/// What is chosen was asked for.
fn validity<F: Faults<Mutant>>(view: &Seen<'_, AppendLog, F>) -> bool {
    let wanted = |command: &Command<Entry<AppendLogCommand>>| match asked(command) {
        Some(command) => {
            let client = view.protocol.client(command.id.client);
            was_asked(client.map(|client| client.script.as_slice()), &command)
        }
        None => true,
    };
    let mut chosen = view.ghost.votes.chosen(view.ghost.writes(view.protocol));
    chosen.all(|(.., value)| value.commands().iter().all(wanted))
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
