//! The properties (compartmentalization notes, section 13), and states in words.

use super::scope::InParts;
use crate::replicas;
use crate::{Property, View};
use parthood_protocols::command::{CommandOf, Operation, Value, ValueOf};
use parthood_protocols::compartmentalized::{AcceptorNode, LeaderState, ReplicaNode, State};
use parthood_protocols::ids::{Round, Slot};
use parthood_protocols::log::ReplicaState;
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use parthood_quorums::NodeSet;
use std::fmt::Write;

/// What is claimed whatever the machine and whoever the clients: the properties of a deployed run.
pub(crate) fn of_any_machine<P: InParts>() -> Vec<Property<P>> {
    common(
        |view| replicas::logs_agree(&all_replicas(view)),
        |view| P::record(view.ghost).clients.answers_agree(),
    )
}

/// What is claimed of the append log and clients with scripts: the properties of a model.
pub(crate) fn of_the_append_log<P: InParts<Machine = AppendLog>>(
    validity: fn(&View<'_, P>) -> bool,
) -> Vec<Property<P>> {
    let common = common(
        |view| replicas::executed_prefixes(&all_replicas(view)) && replicas::logs_agree(&all_replicas(view)),
        |view| {
            replicas::entries_are_distinct(&all_replicas(view))
                && P::record(view.ghost).clients.answers_agree()
        },
    );
    let with_scripts: [Property<P>; 14] = [
        Property::always("validity", validity),
        Property::always("linearizable", |view| P::record(view.ghost).clients.linearizable()),
        Property::always("sequentially consistent", |view| !P::record(view.ghost).wrong.out_of_order),
        Property::always("clients never go back", |view| !P::record(view.ghost).wrong.showed_less),
        Property::always("reads show a prefix of the log", |view| !P::record(view.ghost).wrong.no_prefix),
        Property::at_the_end("every client is answered", |view| {
            !view.protocol.scope().answers || every_client_is_answered(view)
        }),
        Property::sometimes("all clients are done", every_client_is_answered),
        Property::sometimes("a later round leads", a_later_round_leads),
        Property::sometimes("a hole is filled with a noop", a_noop_is_chosen),
        Property::sometimes("a read waits for its slot", |view| {
            replica_nodes(view).any(|replica| !replica.deferred.is_empty())
        }),
        Property::sometimes("commands share a slot", |view| {
            P::record(view.ghost).votes.values().any(|value| value.commands().len() > 1)
        }),
        Property::sometimes("reads share a batch", |view| {
            serving(view).any(|state| match state {
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

type Holds<P> = fn(&View<'_, P>) -> bool;

fn common<P: InParts>(logs_agree: Holds<P>, exactly_once: Holds<P>) -> Vec<Property<P>> {
    vec![
        Property::always("one proposal per round and slot", |view| {
            P::record(view.ghost).votes.one_proposal_per_round()
        }),
        Property::always("agreement", |view| P::record(view.ghost).votes.agree(write_quorums(view.protocol))),
        Property::always("learned implies chosen", learned_implies_chosen),
        Property::always("logs agree", logs_agree),
        Property::always("equal logs give equal states", |view| {
            replicas::equal_logs_give_equal_states(&all_replicas(view))
        }),
        Property::always("exactly once", exactly_once),
        Property::always("watermarks are sound", watermarks_are_sound),
        Property::always("a higher round proposes what was chosen", |view| {
            P::record(view.ghost).votes.higher_rounds_propose_what_was_chosen(write_quorums(view.protocol))
        }),
        Property::always("every replica answers a retry", |view| !P::record(view.ghost).wrong.kept_quiet),
        Property::always("promises and watermarks never decrease", |view| {
            !P::record(view.ghost).wrong.went_back
        }),
        Property::always("read quorums meet write quorums", |view| view.protocol.scope().quorums_meet),
    ]
}

type Ordered<P> = <<P as InParts>::Order as StateMachine>::Command;

fn ordering<'a, P: InParts>(view: &View<'a, P>) -> impl Iterator<Item = &'a State<P::Order>> {
    view.states.iter().filter_map(P::ordering)
}

fn serving<'a, P: InParts>(view: &View<'a, P>) -> impl Iterator<Item = &'a State<P::Machine>> {
    view.states.iter().filter_map(P::serving)
}

fn acceptors<'a, P: InParts>(view: &View<'a, P>) -> impl Iterator<Item = &'a AcceptorNode<Ordered<P>>> {
    ordering(view).filter_map(|state| match state {
        State::Acceptor(acceptor) => Some(acceptor),
        _ => None,
    })
}

fn leaders<'a, P: InParts>(view: &View<'a, P>) -> impl Iterator<Item = &'a LeaderState<Ordered<P>>> {
    ordering(view).filter_map(|state| match state {
        State::Leader(leader) => Some(leader),
        _ => None,
    })
}

fn replica_nodes<'a, P: InParts>(view: &View<'a, P>) -> impl Iterator<Item = &'a ReplicaNode<P::Machine>> {
    serving(view).filter_map(|state| match state {
        State::Replica(replica) => Some(&**replica),
        _ => None,
    })
}

/// What all replicas know.
pub(crate) fn all_replicas<'a, P: InParts>(view: &View<'a, P>) -> Vec<&'a ReplicaState<P::Machine>> {
    replica_nodes(view).map(|node| &node.replica).collect()
}

/// Is it a write quorum of a slot's group?
pub(crate) fn write_quorums<P: InParts>(protocol: &P) -> impl Fn(Slot, Round, NodeSet) -> bool + use<'_, P> {
    |slot, _, voters| protocol.scope().config.group(slot).system.is_write_quorum(voters)
}

/// What was chosen.
pub(crate) fn chosen<'a, P: InParts>(
    view: &View<'a, P>,
) -> impl Iterator<Item = (Slot, Round, &'a ValueOf<P::Order>)> {
    P::record(view.ghost).votes.chosen(write_quorums(view.protocol))
}

/// S3.
fn learned_implies_chosen<P: InParts>(view: &View<'_, P>) -> bool {
    let recorded = P::record(view.ghost).unrecorded_below;
    all_replicas(view).iter().all(|replica| {
        let mut log = replica.log.range(recorded..);
        log.all(|(slot, value)| P::is_chosen(view, *slot, value))
    })
}

/// S5 of what a protocol numbers commands by: what is chosen was asked for, and is no read that should not be in the log.
pub(crate) fn validity<P: InParts<Order = <P as InParts>::Machine>>(view: &View<'_, P>) -> bool {
    chosen(view).all(|(_, _, value)| value.commands().iter().all(|command| was_asked(view.protocol, command)))
}

/// Did a client ask for this, to be put into the log?
pub(crate) fn was_asked<P: InParts>(protocol: &P, command: &CommandOf<P::Machine>) -> bool {
    let id = command.id;
    match &command.op {
        Operation::Open { .. } => protocol.scope().client(id.client).is_some() && id.seq == 0,
        Operation::Apply(op) => {
            let asked = protocol.scope().asked(id.client, id.seq);
            asked.is_some_and(|ask| ask.command == *op && ask.read.is_none())
        }
    }
}

/// S10: what anybody takes for chosen is chosen, and no read quorum has missed a chosen slot.
fn watermarks_are_sound<P: InParts>(view: &View<'_, P>) -> bool {
    let config = &view.protocol.scope().config;
    let executed = replica_nodes(view).map(|node| node.replica.chosen_below.max(node.replica.executed));
    let known = leaders(view).map(|leader| leader.chosen_below);
    let truncated = acceptors(view).map(|acceptor| acceptor.truncated);
    let below = executed.chain(known).chain(truncated).max();
    let unrecorded = P::record(view.ghost).unrecorded_below;
    let (slots, chosen_below) =
        P::record(view.ghost).votes.chosen_slots(unrecorded, write_quorums(view.protocol));
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

/// S13: a leader proposes for slots of its own group only, and goes on behind them.
pub(crate) fn leaders_keep_to_their_slots<P: InParts>(view: &View<'_, P>) -> bool {
    !P::record(view.ghost).wrong.not_its_own
}

/// L1.
fn every_client_is_answered<P: InParts>(view: &View<'_, P>) -> bool {
    let client = |id| view.protocol.scope().client(id);
    view.states.iter().zip((0..).map(client)).all(|(state, client)| match (P::serving(state), client) {
        (Some(State::Client(state)), Some(client)) => state.is_idle() && state.asked == client.script.len(),
        _ => true,
    })
}

fn a_later_round_leads<P: InParts>(view: &View<'_, P>) -> bool {
    leaders(view).any(|leader| {
        let ready = leader.leading.as_ref().is_some_and(|leading| leading.recovery.is_none());
        ready && leader.round > Round::ZERO
    })
}

fn a_noop_is_chosen<P: InParts>(view: &View<'_, P>) -> bool {
    chosen(view).any(|(_, _, value)| *value == Value::Noop)
}

/// A state in words.
pub(crate) fn describe<M: StateMachine>(state: &State<M>) -> String {
    match state {
        State::Leader(leader) => describe_leader(leader),
        State::Acceptor(node) => describe_acceptor(node),
        State::Replica(node) => describe_replica(node),
        State::ProxyLeader(proxy) => {
            let pending = proxy.pending.iter().map(|(slot, pending)| {
                let range = pending.range.map(|range| format!(" in {range:?}")).unwrap_or_default();
                format!("\n{slot:?}: {:?}{range}, votes of {:?}", pending.value, pending.voted)
            });
            format!("rounds {:?}{}", proxy.rounds, pending.collect::<String>())
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
