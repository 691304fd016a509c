//! The properties (compartmentalization notes, section 13), and states in words.

use super::{Compartmentalized, Ghost};
use crate::replicas;
use crate::{Property, View};
use parthood_protocols::command::{Operation, Value, ValueOf};
use parthood_protocols::compartmentalized::{AcceptorNode, LeaderState, Mutant, ReplicaNode, State};
use parthood_protocols::faults::Faults;
use parthood_protocols::ids::{Round, Slot};
use parthood_protocols::log::ReplicaState;
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use parthood_quorums::NodeSet;
use std::fmt::Write;

/// What is claimed whatever the machine and whoever the clients: the properties of a deployed run.
pub(super) fn of_any_machine<M: StateMachine, F: Faults<Mutant>>() -> Vec<Property<Compartmentalized<M, F>>> {
    common(|view| replicas::logs_agree(&all_replicas(view)), |view| view.ghost.clients.answers_agree())
}

/// What is claimed of the append log and clients with scripts: the properties of a model.
pub(super) fn of_the_append_log<F: Faults<Mutant>>() -> Vec<Property<Compartmentalized<AppendLog, F>>> {
    let common = common(
        |view| replicas::executed_prefixes(&all_replicas(view)) && replicas::logs_agree(&all_replicas(view)),
        |view| replicas::entries_are_distinct(&all_replicas(view)) && view.ghost.clients.answers_agree(),
    );
    let with_scripts: [Property<Compartmentalized<AppendLog, F>>; 14] = [
        Property::always("validity", validity),
        Property::always("linearizable", |view| view.ghost.clients.linearizable()),
        Property::always("sequentially consistent", |view| !view.ghost.wrong.out_of_order),
        Property::always("clients never go back", |view| !view.ghost.wrong.showed_less),
        Property::always("reads show a prefix of the log", |view| !view.ghost.wrong.no_prefix),
        Property::at_the_end("every client is answered", |view| {
            !view.protocol.answers || every_client_is_answered(view)
        }),
        Property::sometimes("all clients are done", every_client_is_answered),
        Property::sometimes("a later round leads", a_later_round_leads),
        Property::sometimes("a hole is filled with a noop", a_noop_is_chosen),
        Property::sometimes("a read waits for its slot", |view| {
            replica_nodes(view).any(|replica| !replica.deferred.is_empty())
        }),
        Property::sometimes("commands share a slot", |view| {
            view.ghost.votes.values().any(|value| value.commands().len() > 1)
        }),
        Property::sometimes("reads share a batch", |view| {
            view.states.iter().any(|state| match state {
                State::ReadBatcher(batcher) => batcher.sealed.values().any(|batch| batch.reads.len() > 1),
                _ => false,
            })
        }),
        Property::sometimes("votes are dropped", |view| {
            acceptors(view).any(|acceptor| acceptor.truncated > Slot::ZERO)
        }),
        Property::sometimes("a snapshot is fetched", |view| {
            replica_nodes(view).any(|replica| replica.replica.transfer.is_some())
        }),
    ];
    common.into_iter().chain(with_scripts).collect()
}

type Holds<M, F> = fn(&View<'_, Compartmentalized<M, F>>) -> bool;

fn common<M: StateMachine, F: Faults<Mutant>>(
    logs_agree: Holds<M, F>,
    exactly_once: Holds<M, F>,
) -> Vec<Property<Compartmentalized<M, F>>> {
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
        Property::always("every replica answers a retry", |view| !view.ghost.wrong.kept_quiet),
        Property::always("promises and watermarks never decrease", |view| !view.ghost.wrong.went_back),
        Property::always("read quorums meet write quorums", |view| view.protocol.quorums_meet),
    ]
}

fn acceptors<'a, M: StateMachine, F: Faults<Mutant>>(
    view: &View<'a, Compartmentalized<M, F>>,
) -> impl Iterator<Item = &'a AcceptorNode<M::Command>> {
    view.states.iter().filter_map(|state| match state {
        State::Acceptor(acceptor) => Some(acceptor),
        _ => None,
    })
}

fn leaders<'a, M: StateMachine, F: Faults<Mutant>>(
    view: &View<'a, Compartmentalized<M, F>>,
) -> impl Iterator<Item = &'a LeaderState<M::Command>> {
    view.states.iter().filter_map(|state| match state {
        State::Leader(leader) => Some(leader),
        _ => None,
    })
}

fn replica_nodes<'a, M: StateMachine, F: Faults<Mutant>>(
    view: &View<'a, Compartmentalized<M, F>>,
) -> impl Iterator<Item = &'a ReplicaNode<M>> {
    view.states.iter().filter_map(|state| match state {
        State::Replica(replica) => Some(&**replica),
        _ => None,
    })
}

fn all_replicas<'a, M: StateMachine, F: Faults<Mutant>>(
    view: &View<'a, Compartmentalized<M, F>>,
) -> Vec<&'a ReplicaState<M>> {
    replica_nodes(view).map(|node| &node.replica).collect()
}

fn write_quorums<M: StateMachine, F: Faults<Mutant>>(
    protocol: &Compartmentalized<M, F>,
) -> impl Fn(Slot, Round, NodeSet) -> bool {
    |slot, _, voters| protocol.config().group(slot).system.is_write_quorum(voters)
}

impl<M: StateMachine> Ghost<M> {
    /// What was chosen.
    fn chosen<'a, F: Faults<Mutant>>(
        &'a self,
        protocol: &'a Compartmentalized<M, F>,
    ) -> impl Iterator<Item = (Slot, Round, &'a ValueOf<M>)> {
        self.votes.chosen(write_quorums(protocol))
    }
}

/// S3.
fn learned_implies_chosen<M: StateMachine, F: Faults<Mutant>>(
    view: &View<'_, Compartmentalized<M, F>>,
) -> bool {
    let quorums = write_quorums(view.protocol);
    all_replicas(view).iter().all(|replica| {
        let mut recorded = replica.log.range(view.ghost.unrecorded_below..);
        recorded.all(|(slot, value)| view.ghost.votes.is_chosen(*slot, value, &quorums))
    })
}

/// S5: what is chosen was asked for, and is no read that should not be in the log.
fn validity<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Compartmentalized<M, F>>) -> bool {
    view.ghost.chosen(view.protocol).all(|(_, _, value)| {
        value.commands().iter().all(|command| {
            let id = command.id;
            match &command.op {
                Operation::Open { .. } => view.protocol.client(id.client).is_some() && id.seq == 0,
                Operation::Apply(op) => {
                    let asked = view.protocol.asked(id.client, id.seq);
                    asked.is_some_and(|ask| ask.command == *op && ask.read.is_none())
                }
            }
        })
    })
}

/// S10: what anybody takes for chosen is chosen, and no read quorum has missed a chosen slot.
fn watermarks_are_sound<M: StateMachine, F: Faults<Mutant>>(
    view: &View<'_, Compartmentalized<M, F>>,
) -> bool {
    let config = view.protocol.config();
    let executed = replica_nodes(view).map(|node| node.replica.chosen_below.max(node.replica.executed));
    let known = leaders(view).map(|leader| leader.chosen_below);
    let truncated = acceptors(view).map(|acceptor| acceptor.truncated);
    let below = executed.chain(known).chain(truncated).max();
    let unrecorded = view.ghost.unrecorded_below;
    let (slots, chosen_below) = view.ghost.votes.chosen_slots(unrecorded, write_quorums(view.protocol));
    below.is_none_or(|below| below <= chosen_below)
        && slots.iter().all(|slot| {
            let behind: NodeSet = acceptors(view)
                .enumerate()
                .filter(|(_, node)| node.acceptor.voting && node.acceptor.vote_watermark < Some(*slot))
                .map(|(index, _)| index)
                .collect();
            !config.group(*slot).system.is_read_quorum(behind)
        })
}

/// L1.
fn every_client_is_answered<M: StateMachine, F: Faults<Mutant>>(
    view: &View<'_, Compartmentalized<M, F>>,
) -> bool {
    view.states.iter().zip((0..).map(|id| view.protocol.client(id))).all(|(state, client)| {
        match (state, client) {
            (State::Client(state), Some(client)) => state.is_idle() && state.asked == client.script.len(),
            _ => true,
        }
    })
}

fn a_later_round_leads<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Compartmentalized<M, F>>) -> bool {
    leaders(view).any(|leader| {
        let ready = leader.leading.as_ref().is_some_and(|leading| leading.recovery.is_none());
        ready && leader.round > Round::ZERO
    })
}

fn a_noop_is_chosen<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Compartmentalized<M, F>>) -> bool {
    view.ghost.chosen(view.protocol).any(|(_, _, value)| *value == Value::Noop)
}

/// A state in words.
pub(super) fn describe<M: StateMachine>(state: &State<M>) -> String {
    match state {
        State::Leader(leader) => describe_leader(leader),
        State::Acceptor(node) => describe_acceptor(node),
        State::Replica(node) => describe_replica(node),
        State::ProxyLeader(proxy) => {
            let pending = proxy.pending.iter().map(|(slot, pending)| {
                format!("\n{slot:?}: {:?}, votes of {:?}", pending.value, pending.voted)
            });
            format!("round {:?}{}", proxy.round, pending.collect::<String>())
        }
        other => format!("{other:?}"),
    }
}

fn describe_leader<C: Clone>(leader: &LeaderState<C>) -> String {
    let mut text = format!("knows of {:?}, chosen below {:?}", leader.round, leader.chosen_below);
    if let Some(leading) = &leader.leading {
        let stage = if leading.recovery.is_some() { "collects promises" } else { "leads" };
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{stage}, next slot {:?}, {} waiting", leading.next_slot, leading.queue.len());
    }
    text
}

fn describe_acceptor<C: Clone + std::fmt::Debug>(node: &AcceptorNode<C>) -> String {
    let AcceptorNode { acceptor, truncated, .. } = node;
    let mut text = format!("promised {:?}, watermark {:?}", acceptor.round, acceptor.vote_watermark);
    if *truncated > Slot::ZERO {
        let _ = write!(text, ", truncated below {truncated:?}");
    }
    for (slot, vote) in &acceptor.votes {
        let _ = write!(text, "\nvoted {:?} in {:?} for {slot:?}", vote.vote_value, vote.vote_round);
    }
    text
}

fn describe_replica<M: StateMachine>(node: &ReplicaNode<M>) -> String {
    let replica = &node.replica;
    let mut text = format!("executed below {:?}: {:?}", replica.executed, replica.machine);
    for (slot, value) in &replica.log {
        let _ = write!(text, "\nknows {slot:?} is {value:?}");
    }
    for (slot, read) in node.deferred.keys() {
        let _ = write!(text, "\n{read:?} waits for the slots below {slot:?}");
    }
    text
}
