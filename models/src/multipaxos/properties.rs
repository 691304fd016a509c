//! The properties (compartmentalization notes, section 13), and states in words.

use super::{Ghost, Multipaxos};
use crate::history::was_asked;
use crate::replicas;
use crate::{Property, View};
use parthood_protocols::command::{Value, ValueOf};
use parthood_protocols::faults::Faults;
use parthood_protocols::ids::{Round, Slot};
use parthood_protocols::log::ReplicaState;
use parthood_protocols::multipaxos::{Mutant, ServerState, State};
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use parthood_quorums::NodeSet;
use std::fmt::Write;

/// What is claimed whatever the machine and whoever the clients: the properties of a deployed run.
pub(super) fn of_any_machine<M: StateMachine, F: Faults<Mutant>>() -> Vec<Property<Multipaxos<M, F>>> {
    common(|view| replicas::logs_agree(&all_replicas(view)), |view| view.ghost.clients.answers_agree())
}

/// What is claimed whatever the machine, of clients with scripts.
pub(super) fn of_scripted_clients<M: StateMachine, F: Faults<Mutant>>() -> Vec<Property<Multipaxos<M, F>>> {
    of_any_machine().into_iter().chain(of_scripts()).collect()
}

/// What is claimed of the append log and clients with scripts: the properties of a model.
pub(super) fn of_the_append_log<F: Faults<Mutant>>() -> Vec<Property<Multipaxos<AppendLog, F>>> {
    let common = common(
        |view| replicas::executed_prefixes(&all_replicas(view)) && replicas::logs_agree(&all_replicas(view)),
        |view| replicas::entries_are_distinct(&all_replicas(view)) && view.ghost.clients.answers_agree(),
    );
    common.into_iter().chain(of_scripts()).collect()
}

/// What can be said because it is known what clients ask.
fn of_scripts<M: StateMachine, F: Faults<Mutant>>() -> [Property<Multipaxos<M, F>>; 9] {
    [
        Property::always("validity", validity),
        Property::always("linearizable", |view| view.ghost.clients.linearizable()),
        Property::at_the_end("every client is answered", |view| {
            !view.protocol.answers || every_client_is_answered(view)
        }),
        Property::sometimes("all clients are done", every_client_is_answered),
        Property::sometimes("a later round leads", a_later_round_leads),
        Property::sometimes("a hole is filled with a noop", a_noop_is_chosen),
        Property::sometimes("a snapshot is taken", |view| {
            servers(view).any(|server| server.replica.snapshot.slot > Slot::ZERO)
        }),
        Property::sometimes("a snapshot is fetched", |view| {
            servers(view).any(|server| server.replica.lent.is_some() && server.replica.transfer.is_none())
                && servers(view).any(|server| server.replica.transfer.is_some())
        }),
        Property::sometimes("commands share a slot", |view| {
            view.ghost.votes.values().any(|value| value.commands().len() > 1)
        }),
    ]
}

type Holds<M, F> = fn(&View<'_, Multipaxos<M, F>>) -> bool;

fn common<M: StateMachine, F: Faults<Mutant>>(
    logs_agree: Holds<M, F>,
    exactly_once: Holds<M, F>,
) -> Vec<Property<Multipaxos<M, F>>> {
    vec![
        Property::always("one proposal per round and slot", |view| view.ghost.votes.one_proposal_per_round()),
        Property::always("agreement", |view| view.ghost.votes.agree(write_quorums(view.protocol))),
        Property::always("learned implies chosen", learned_implies_chosen),
        Property::always("logs agree", logs_agree),
        Property::always("equal logs give equal states", |view| {
            replicas::equal_logs_give_equal_states(&all_replicas(view))
        }),
        Property::always("exactly once", exactly_once),
        Property::always("watermarks are sound", watermarks_are_sound),
        Property::always("a higher round proposes what was chosen", |view| {
            view.ghost.votes.higher_rounds_propose_what_was_chosen(write_quorums(view.protocol))
        }),
        Property::always("every replica answers a retry", |view| !view.ghost.refused),
        Property::always("promises and watermarks never decrease", |view| !view.ghost.went_back),
        Property::always("read quorums meet write quorums", |view| view.protocol.quorums_meet),
    ]
}

fn servers<'a, M: StateMachine, F: Faults<Mutant>>(
    view: &View<'a, Multipaxos<M, F>>,
) -> impl Iterator<Item = &'a ServerState<M>> {
    view.states.iter().filter_map(|state| match state {
        State::Server(server) => Some(&**server),
        State::Client(_) => None,
    })
}

fn all_replicas<'a, M: StateMachine, F: Faults<Mutant>>(
    view: &View<'a, Multipaxos<M, F>>,
) -> Vec<&'a ReplicaState<M>> {
    servers(view).map(|server| &server.replica).collect()
}

fn write_quorums<M: StateMachine, F: Faults<Mutant>>(
    protocol: &Multipaxos<M, F>,
) -> impl Fn(Slot, Round, NodeSet) -> bool {
    |slot, _, voters| protocol.config().group(slot).is_write_quorum(voters)
}

impl<M: StateMachine> Ghost<M> {
    /// What was chosen.
    fn chosen<'a, F: Faults<Mutant>>(
        &'a self,
        protocol: &'a Multipaxos<M, F>,
    ) -> impl Iterator<Item = (Slot, Round, &'a ValueOf<M>)> {
        self.votes.chosen(write_quorums(protocol))
    }
}

/// S3.
fn learned_implies_chosen<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Multipaxos<M, F>>) -> bool {
    servers(view).all(|server| {
        let recorded = server.replica.log.range(view.ghost.unrecorded_below..);
        let quorums = write_quorums(view.protocol);
        recorded.into_iter().all(|(slot, value)| view.ghost.votes.is_chosen(*slot, value, &quorums))
    })
}

/// S5: what is chosen was asked for.
fn validity<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Multipaxos<M, F>>) -> bool {
    view.ghost.chosen(view.protocol).all(|(_, _, value)| {
        value.commands().iter().all(|command| {
            let client = view.protocol.client(command.id.client);
            was_asked(client.map(|client| client.script.as_slice()), command)
        })
    })
}

/// S10: what a server takes for chosen is chosen, and no read quorum has missed a chosen slot.
fn watermarks_are_sound<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Multipaxos<M, F>>) -> bool {
    let config = view.protocol.config();
    let unrecorded = view.ghost.unrecorded_below;
    let below = servers(view).map(|server| server.replica.chosen_below.max(server.replica.executed)).max();
    let (slots, chosen_below) = view.ghost.votes.chosen_slots(unrecorded, write_quorums(view.protocol));
    below.is_none_or(|below| below <= chosen_below)
        && slots.iter().all(|slot| {
            let behind: NodeSet = servers(view)
                .enumerate()
                .filter(|(_, server)| server.acceptor.voting && server.acceptor.vote_watermark < Some(*slot))
                .map(|(index, _)| index)
                .collect();
            !config.group(*slot).is_read_quorum(behind)
        })
}

/// L1.
fn every_client_is_answered<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Multipaxos<M, F>>) -> bool {
    let clients = view.states.iter().skip(view.protocol.config().servers);
    clients.zip(&view.protocol.clients).all(|(state, client)| match state {
        State::Client(state) => state.is_idle() && state.invoked() == client.script.len(),
        State::Server(_) => false,
    })
}

fn a_later_round_leads<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Multipaxos<M, F>>) -> bool {
    let mut leaders = servers(view).filter_map(|server| server.leadership.leader());
    leaders.any(|leader| leader.round > Round::ZERO && leader.recovery.is_none())
}

fn a_noop_is_chosen<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Multipaxos<M, F>>) -> bool {
    view.ghost.chosen(view.protocol).any(|(_, _, value)| *value == Value::Noop)
}

/// A state in words.
pub(super) fn describe<M: StateMachine>(state: &State<M>) -> String {
    match state {
        State::Client(client) => format!("{client:?}"),
        State::Server(server) => describe_server(server),
    }
}

fn describe_server<M: StateMachine>(server: &ServerState<M>) -> String {
    let ServerState { acceptor, leadership, replica } = server;
    let mut text = format!("promised {:?}", acceptor.round);
    if !acceptor.voting {
        text.push_str(", may not vote");
    }
    for (slot, vote) in &acceptor.votes {
        // Writing to a string cannot fail.
        let _ = write!(text, "\nvoted {:?} in {:?} for {:?}", vote.vote_value, vote.vote_round, slot);
    }
    if let Some(leader) = leadership.leader() {
        let stage = if leader.recovery.is_some() { "collects promises" } else { "leads" };
        let _ = write!(text, "\n{stage} in {:?}, next slot {:?}", leader.round, leader.next_slot);
        for (slot, proposal) in &leader.outstanding {
            let _ =
                write!(text, "\nproposed {:?} for {slot:?}, votes of {:?}", proposal.value, proposal.voted);
        }
    }
    for (slot, value) in &replica.log {
        let _ = write!(text, "\nknows {slot:?} is {value:?}");
    }
    let _ = write!(text, "\nexecuted below {:?}: {:?}", replica.executed, replica.machine);
    text
}
