//! The properties (compartmentalization notes, section 13), and states in words.

use super::{Ghost, Multipaxos};
use crate::{Property, View};
use parthood_protocols::command::{Operation, Value, ValueOf};
use parthood_protocols::faults::Faults;
use parthood_protocols::ids::{Round, Slot};
use parthood_protocols::multipaxos::{Mutant, ServerState, State};
use parthood_protocols::state_machine::{AppendLog, AppendLogCommand, AppendLogOutput, StateMachine};
use parthood_quorums::NodeSet;
use std::fmt::Write;

/// What is claimed whatever the machine and whoever the clients: the properties of a deployed run.
pub(super) fn of_any_machine<M: StateMachine, F: Faults<Mutant>>() -> Vec<Property<Multipaxos<M, F>>> {
    common(logs_agree, |view| view.ghost.clients.answers_agree())
}

/// What is claimed of the append log and clients with scripts: the properties of a model.
pub(super) fn of_the_append_log<F: Faults<Mutant>>() -> Vec<Property<Multipaxos<AppendLog, F>>> {
    let common = common(logs_agree_and_so_do_entries, no_entry_appended_twice);
    let with_scripts: [Property<Multipaxos<AppendLog, F>>; 9] = [
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
            view.ghost.cast.keys().any(|(_, _, value)| value.commands().len() > 1)
        }),
    ];
    common.into_iter().chain(with_scripts).collect()
}

type Holds<M, F> = fn(&View<'_, Multipaxos<M, F>>) -> bool;

fn common<M: StateMachine, F: Faults<Mutant>>(
    logs_agree: Holds<M, F>,
    exactly_once: Holds<M, F>,
) -> Vec<Property<Multipaxos<M, F>>> {
    vec![
        Property::always("one proposal per round and slot", one_proposal_per_round),
        Property::always("agreement", agreement),
        Property::always("learned implies chosen", learned_implies_chosen),
        Property::always("logs agree", logs_agree),
        Property::always("equal logs give equal states", equal_logs_give_equal_states),
        Property::always("exactly once", exactly_once),
        Property::always("watermarks are sound", watermarks_are_sound),
        Property::always("a higher round proposes what was chosen", higher_rounds_propose_what_was_chosen),
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

impl<M: StateMachine> Ghost<M> {
    /// What was chosen: every value for which, in one round, a write quorum of the slot's group voted.
    fn chosen<'a, F: Faults<Mutant>>(
        &'a self,
        protocol: &'a Multipaxos<M, F>,
    ) -> impl Iterator<Item = (Slot, Round, &'a ValueOf<M>)> {
        let chosen = self
            .cast
            .iter()
            .filter(|((slot, ..), voters)| protocol.config().group(*slot).is_write_quorum(**voters));
        chosen.map(|((slot, round, value), _)| (*slot, *round, value))
    }

    /// The votes for a slot, from this round on.
    fn votes_from(&self, slot: Slot, round: Round) -> impl Iterator<Item = (Round, &ValueOf<M>, NodeSet)> {
        let votes = self.cast.range((slot, round, Value::Noop)..);
        let votes = votes.take_while(move |((other, ..), _)| *other == slot);
        votes.map(|((_, round, value), voters)| (*round, value, *voters))
    }

    fn is_chosen<F: Faults<Mutant>>(
        &self,
        protocol: &Multipaxos<M, F>,
        slot: Slot,
        value: &ValueOf<M>,
    ) -> bool {
        let group = protocol.config().group(slot);
        self.votes_from(slot, Round::ZERO)
            .any(|(_, voted, voters)| voted == value && group.is_write_quorum(voters))
    }
}

/// S1.
fn one_proposal_per_round<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Multipaxos<M, F>>) -> bool {
    let mut last = None;
    view.ghost.cast.keys().all(|(slot, round, _)| last.replace((slot, round)) != Some((slot, round)))
}

/// S2.
fn agreement<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Multipaxos<M, F>>) -> bool {
    let mut last: Option<(Slot, &ValueOf<M>)> = None;
    view.ghost.chosen(view.protocol).all(|(slot, _, value)| {
        let before = last.replace((slot, value));
        before.is_none_or(|(other, before)| other != slot || before == value)
    })
}

/// S3.
fn learned_implies_chosen<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Multipaxos<M, F>>) -> bool {
    servers(view).all(|server| {
        let recorded = server.replica.log.range(view.ghost.unrecorded_below..);
        recorded.into_iter().all(|(slot, value)| view.ghost.is_chosen(view.protocol, *slot, value))
    })
}

/// S4: logs agree slot by slot.
fn logs_agree<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Multipaxos<M, F>>) -> bool {
    servers(view).all(|a| {
        servers(view).all(|b| {
            let mut entries = a.replica.log.iter();
            entries.all(|(slot, value)| b.replica.log.get(slot).is_none_or(|other| other == value))
        })
    })
}

/// S4, for what was executed: the machines executed prefixes of one another.
fn logs_agree_and_so_do_entries<F: Faults<Mutant>>(view: &View<'_, Multipaxos<AppendLog, F>>) -> bool {
    let entries: Vec<Vec<u8>> = servers(view).map(|server| entries(&server.replica.machine)).collect();
    let prefixes = entries.iter().all(|a| entries.iter().all(|b| a.iter().zip(b).all(|(a, b)| a == b)));
    prefixes && logs_agree(view)
}

/// S4, for what a snapshot carries: replicas that executed equally far have the same machine and client table.
fn equal_logs_give_equal_states<M: StateMachine, F: Faults<Mutant>>(
    view: &View<'_, Multipaxos<M, F>>,
) -> bool {
    servers(view).all(|a| {
        servers(view)
            .filter(|b| b.replica.executed == a.replica.executed)
            .all(|b| a.replica.machine == b.replica.machine && a.replica.sessions == b.replica.sessions)
    })
}

fn entries(machine: &AppendLog) -> Vec<u8> {
    match machine.clone().apply(&AppendLogCommand::Read) {
        AppendLogOutput::Entries(entries) => entries,
        AppendLogOutput::Appended(_) => vec![],
    }
}

/// S5: what is chosen was asked for.
fn validity<F: Faults<Mutant>>(view: &View<'_, Multipaxos<AppendLog, F>>) -> bool {
    view.ghost.chosen(view.protocol).all(|(_, _, value)| {
        value.commands().iter().all(|command| {
            let script = view.protocol.client(command.id.client).map(|client| &client.script);
            match &command.op {
                Operation::Open { .. } => script.is_some() && command.id.seq == 0,
                Operation::Apply(op) => usize::try_from(command.id.seq)
                    .ok()
                    .and_then(|seq| script?.get(seq.checked_sub(1)?))
                    .is_some_and(|asked| asked == op),
            }
        })
    })
}

/// S6: no entry is appended twice (scripts append distinct entries), and a command has one answer.
fn no_entry_appended_twice<F: Faults<Mutant>>(view: &View<'_, Multipaxos<AppendLog, F>>) -> bool {
    let once = servers(view).all(|server| {
        let mut entries = entries(&server.replica.machine);
        entries.sort_unstable();
        entries.windows(2).all(|pair| pair[0] != pair[1])
    });
    once && view.ghost.clients.answers_agree()
}

/// S10: what a server takes for chosen is chosen, and no read quorum has missed a chosen slot.
fn watermarks_are_sound<M: StateMachine, F: Faults<Mutant>>(view: &View<'_, Multipaxos<M, F>>) -> bool {
    let config = view.protocol.config();
    let unrecorded = view.ghost.unrecorded_below;
    let below = servers(view).map(|server| server.replica.chosen_below.max(server.replica.executed)).max();
    let mut slots: Vec<Slot> = view.ghost.chosen(view.protocol).map(|(slot, ..)| slot).collect();
    slots.dedup();
    let recorded = slots.iter().skip_while(|slot| **slot < unrecorded);
    let gapless = (unrecorded.0..).map(Slot).zip(recorded).take_while(|(slot, chosen)| slot == *chosen);
    let chosen_below = unrecorded.0 + gapless.count() as u64;
    below.is_none_or(|below| below.0 <= chosen_below)
        && slots.iter().all(|slot| {
            let behind: NodeSet = servers(view)
                .enumerate()
                .filter(|(_, server)| server.acceptor.voting && server.acceptor.vote_watermark < Some(*slot))
                .map(|(index, _)| index)
                .collect();
            !config.group(*slot).is_read_quorum(behind)
        })
}

/// S11: the invariant that Paxos rests on.
fn higher_rounds_propose_what_was_chosen<M: StateMachine, F: Faults<Mutant>>(
    view: &View<'_, Multipaxos<M, F>>,
) -> bool {
    view.ghost.chosen(view.protocol).all(|(slot, round, chosen)| {
        view.ghost.votes_from(slot, Round(round.0 + 1)).all(|(_, value, _)| value == chosen)
    })
}

/// L1.
fn every_client_is_answered<F: Faults<Mutant>>(view: &View<'_, Multipaxos<AppendLog, F>>) -> bool {
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
