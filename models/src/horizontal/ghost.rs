//! History that the properties need, and judgements of moments.

use super::Horizontal;
use crate::history::History;
use crate::sequential::OneObject;
use crate::votes::Votes;
use crate::{Cause, Parts, Step};
use parthood_protocols::client::ClientMsg;
use parthood_protocols::command::{Operation, ValueOf};
use parthood_protocols::faults::Faults;
use parthood_protocols::horizontal::{
    AcceptorNode, Configured, Entry, Msg, Mutant, Node, Numbered, Role, ServerState, State,
};
use parthood_protocols::ids::{Round, Slot};
use parthood_protocols::log::AcceptorState;
use parthood_protocols::matchmaking::Configuration;
use parthood_protocols::operator::{OperatorMsg, Progress, Wanted};
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use parthood_quorums::{NodeSet, QuorumSystem};
use stateright::actor::{Command, Id};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What happened so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ghost<M: StateMachine = AppendLog> {
    /// Who ever voted for what.
    pub(super) votes: Votes<Entry<M::Command>>,
    /// What was ever proposed.
    pub(super) proposed: BTreeSet<(Slot, Round, ValueOf<Configured<M>>)>,
    /// What clients asked and were told.
    pub(super) clients: History<M::Command, M::Output>,
    /// All slots below are chosen, by votes and not by what somebody believes.
    pub(super) chosen_below: Slot,
    /// The configurations that these slots hold and that count, each with the slot that it is chosen in and the first that it
    /// governs by the window.
    pub(super) configurations: Vec<Numbered>,
    /// How far each server has saved what the log amounts to.
    pub(super) stored: BTreeMap<usize, Slot>,
    /// All slots below were chosen before the record of the run begins, and their votes may be gone. Zero in a run that is
    /// known from its beginning.
    pub(super) unrecorded_below: Slot,
    /// What happened at some moment: bad things, by the names of the properties that exclude them, and good ones.
    pub(super) moments: BTreeSet<&'static str>,
}

/// Names of properties about moments.
pub(super) mod moment {
    pub(crate) const WENT_BACK: &str = "promises and watermarks never decrease";
    pub(crate) const WINDOW: &str = "nothing is proposed beyond the window";
    pub(crate) const ASKED: &str = "only the acceptors of a slot are asked to vote for it";
    pub(crate) const TOLD_ACTIVE: &str = "what an operator is told to be active is chosen";
    pub(crate) const TOLD_RETIRED: &str = "what an operator is told to be retired is not needed";

    pub(crate) const BOTH: &str = "a leader has votes of old and new acceptors outstanding";
    pub(crate) const FILLED: &str = "the rest of a window is filled with noops";
    pub(crate) const AHEAD: &str = "a new leader crosses from one configuration to the next";
    pub(crate) const REFUSED: &str = "a reconfiguration is refused";
}

impl<M: StateMachine> Default for Ghost<M> {
    fn default() -> Self {
        Self {
            votes: Votes::default(),
            proposed: BTreeSet::new(),
            clients: History::default(),
            chosen_below: Slot::ZERO,
            configurations: Vec::new(),
            stored: BTreeMap::new(),
            unrecorded_below: Slot::ZERO,
            moments: BTreeSet::new(),
        }
    }
}

impl<M: StateMachine> Ghost<M> {
    /// Who decides a slot; none beyond the window.
    pub(super) fn governing<'a, F>(
        &'a self,
        protocol: &'a Horizontal<M, F>,
        slot: Slot,
    ) -> Option<&'a Configuration>
    where
        F: Faults<Mutant>,
    {
        let config = &protocol.config;
        let governing = self.configurations.iter().rev().find(|numbered| numbered.first <= slot);
        let configuration = governing.map_or(&config.initial, |numbered| &numbered.configuration);
        (slot < config.horizon(self.chosen_below)).then_some(configuration)
    }

    /// Is this a write quorum of a slot?
    pub(super) fn writes<'a, F: Faults<Mutant>>(
        &'a self,
        protocol: &'a Horizontal<M, F>,
    ) -> impl Fn(Slot, Round, NodeSet) -> bool + 'a {
        |slot, _, voters| {
            let configuration = self.governing(protocol, slot);
            configuration.is_some_and(|configuration| configuration.is_write_quorum(voters))
        }
    }

    /// Goes through what is chosen, slot by slot.
    fn follow<F: Faults<Mutant>>(&mut self, protocol: &Horizontal<M, F>) {
        loop {
            let slot = self.chosen_below;
            let chosen = self.votes.chosen_in(slot, self.writes(protocol)).next().cloned();
            let Some(value) = chosen else { return };
            for command in value.commands() {
                let Operation::Apply(Entry::Configuration(numbered)) = &command.op else { continue };
                if numbered.number == self.configurations.last().map_or(0, |last| last.number) + 1 {
                    let first = protocol.config.horizon(slot);
                    self.configurations.push(Numbered { slot, first, ..numbered.clone() });
                }
            }
            self.chosen_below = slot.next();
        }
    }
}

type Now<'a, 'g, M> = &'a mut Cow<'g, Ghost<M>>;

fn note<M: StateMachine>(ghost: Now<'_, '_, M>, moment: &'static str) {
    if !ghost.moments.contains(moment) {
        ghost.to_mut().moments.insert(moment);
    }
}

pub(super) fn observe<M: StateMachine, F: Faults<Mutant>>(
    protocol: &Horizontal<M, F>,
    ghost: Now<'_, '_, M>,
    step: &Step<'_, Node<M, F>>,
) {
    let restart = matches!(step.cause, Cause::Start(_));
    let role = protocol.config.role(step.id);
    match (step.before, step.after, role) {
        (before, State::Acceptor(after), Some(Role::Acceptor(number))) => {
            let before = before.and_then(|before| match before {
                State::Acceptor(before) => Some(before),
                _ => None,
            });
            if restart && before.is_none() && after.persisted > ghost.unrecorded_below {
                ghost.to_mut().unrecorded_below = after.persisted;
            }
            observe_acceptor(protocol, ghost, number, before, after, restart && protocol.undone_steps);
        }
        (before, State::Server(after), Some(Role::Server(number))) => {
            if before.is_none() {
                begin_record(protocol, ghost, after);
            }
            let slot = after.replica.snapshot.slot;
            if slot > Slot::ZERO && ghost.stored.get(&number) != Some(&slot) {
                ghost.to_mut().stored.insert(number, slot);
            }
            if let (Some(State::Server(before)), true) = (before, restart && protocol.undone_steps) {
                undo_proposals(protocol, ghost, number, before.used, after.used);
            }
            observe_leader(protocol, ghost, after);
        }
        (Some(State::Client(before)), State::Client(after), _) => {
            if let Cause::Deliver { msg: Msg::Client(msg @ ClientMsg::Reply { .. }), .. } = &step.cause
                && before != after
                && !protocol.clients.is_empty()
            {
                ghost.to_mut().clients.returned(&OneObject::<M>::default(), msg);
            }
        }
        _ => {}
    }
    for command in step.out {
        if let Command::Send(dst, msg) = command {
            observe_sent(protocol, ghost, step, *dst, msg);
        }
    }
}

/// A server begins a record of its life with slots executed: they were chosen, and its machine has the configurations.
fn begin_record<M: StateMachine, F: Faults<Mutant>>(
    protocol: &Horizontal<M, F>,
    ghost: Now<'_, '_, M>,
    server: &ServerState<M>,
) {
    let snapshot = &server.replica.snapshot;
    if snapshot.slot > ghost.unrecorded_below {
        ghost.to_mut().unrecorded_below = snapshot.slot;
    }
    if snapshot.slot > ghost.chosen_below {
        let ghost = ghost.to_mut();
        ghost.chosen_below = snapshot.slot;
        ghost.configurations = snapshot.machine.configurations.iter().cloned().collect();
        ghost.follow(protocol);
    }
}

/// A server's crash has undone the use of rounds that nobody has heard of.
fn undo_proposals<M: StateMachine, F: Faults<Mutant>>(
    protocol: &Horizontal<M, F>,
    ghost: Now<'_, '_, M>,
    number: usize,
    before: Option<Round>,
    used: Option<Round>,
) {
    if before != used {
        let servers = protocol.config.servers;
        let unsent = |round: &Round| round.owner(servers) == number && Some(*round) > used;
        ghost.to_mut().proposed.retain(|(_, round, _)| !unsent(round));
    }
}

/// Notes new votes and what they choose. After a restart that may have undone steps, whatever they voted for was never told,
/// and is no vote.
fn observe_acceptor<M: StateMachine, F: Faults<Mutant>>(
    protocol: &Horizontal<M, F>,
    ghost: Now<'_, '_, M>,
    number: usize,
    before: Option<&AcceptorNode<M>>,
    after: &AcceptorNode<M>,
    undone: bool,
) {
    let nothing = AcceptorNode::<M> { acceptor: AcceptorState::default(), persisted: Slot::ZERO };
    let before = before.unwrap_or(&nothing);
    if !undone && (after.acceptor.round < before.acceptor.round || after.persisted < before.persisted) {
        note(ghost, moment::WENT_BACK);
    }
    let undone_from = undone.then_some(after.persisted);
    let changes = ghost.votes.changes(number, &before.acceptor.votes, &after.acceptor.votes, undone_from);
    if changes.is_empty() {
        return;
    }
    let ghost = ghost.to_mut();
    // What was chosen by votes that were never cast was not chosen, nor was what follows.
    if let Some((slot, ..)) = changes.undone.iter().min().filter(|(slot, ..)| *slot < ghost.chosen_below) {
        ghost.chosen_below = (*slot).max(ghost.unrecorded_below);
        let chosen_below = ghost.chosen_below;
        ghost.configurations.retain(|numbered| numbered.slot < chosen_below);
    }
    ghost.votes.apply(number, changes);
    ghost.follow(protocol);
}

fn observe_leader<M: StateMachine, F: Faults<Mutant>>(
    protocol: &Horizontal<M, F>,
    ghost: Now<'_, '_, M>,
    server: &ServerState<M>,
) {
    let Some(leading) = &server.leading else { return };
    let who = |slot: &Slot| ghost.governing(protocol, *slot);
    let mut pending = leading.outstanding.keys().map(who);
    let first = pending.next();
    let is_both = first.is_some_and(|first| pending.any(|other| other != first));
    if is_both {
        note(ghost, moment::BOTH);
    }
    let crosses = leading.chunks.len() > 1 && leading.round.owner(protocol.config.servers) > 0;
    if crosses && leading.leads {
        note(ghost, moment::AHEAD);
    }
}

fn observe_sent<M: StateMachine, F: Faults<Mutant>>(
    protocol: &Horizontal<M, F>,
    ghost: Now<'_, '_, M>,
    step: &Step<'_, Node<M, F>>,
    dst: Id,
    msg: &Msg<M>,
) {
    match (msg, step.after) {
        (Msg::Client(msg), State::Client(_)) if !protocol.clients.is_empty() => {
            ghost.to_mut().clients.sent_by_client(msg);
        }
        (Msg::Client(msg), State::Server(_)) => ghost.to_mut().clients.sent_by_server(msg),
        (Msg::Phase2a { round, slot, value }, _) => {
            let proposal = (*slot, *round, value.clone());
            let voter = match protocol.config.role(dst) {
                Some(Role::Acceptor(number)) => number,
                _ => usize::MAX,
            };
            match ghost.governing(protocol, *slot) {
                None => note(ghost, moment::WINDOW),
                Some(asked) if !asked.acceptors().contains(voter) => note(ghost, moment::ASKED),
                Some(_) if value.commands().is_empty() && *round == Round::ZERO => {
                    note(ghost, moment::FILLED);
                }
                Some(_) => {}
            }
            if !ghost.proposed.contains(&proposal) {
                ghost.to_mut().proposed.insert(proposal);
            }
        }
        (
            Msg::Operator(OperatorMsg::Progress { wanted: Wanted::Acceptors(wanted), progress }),
            State::Server(_),
        ) => {
            observe_progress(protocol, ghost, wanted, progress);
        }
        _ => {}
    }
}

/// An operator is told something. Is it so?
fn observe_progress<M: StateMachine, F: Faults<Mutant>>(
    protocol: &Horizontal<M, F>,
    ghost: Now<'_, '_, M>,
    wanted: &Configuration,
    progress: &Progress,
) {
    let find = |number: &u64| {
        let named = |numbered: &&Numbered| numbered.number == *number && numbered.configuration == *wanted;
        ghost.configurations.iter().find(named)
    };
    match progress {
        Progress::Active(number) if find(number).is_none() => note(ghost, moment::TOLD_ACTIVE),
        Progress::Retired(number) if *number > 0 => {
            let first = find(number).map(|numbered| numbered.first);
            let stored = ghost.stored.values().filter(|slot| Some(**slot) >= first).count();
            if first.is_none_or(|first| ghost.chosen_below < first) || stored <= protocol.config.f() {
                note(ghost, moment::TOLD_RETIRED);
            }
        }
        Progress::Refused(_) => note(ghost, moment::REFUSED),
        _ => {}
    }
}

/// Takes the ghost apart by the members of classes.
pub(super) fn split<M: StateMachine, F: Faults<Mutant>>(
    protocol: &Horizontal<M, F>,
    ghost: &Ghost<M>,
    parts: &mut Parts<'_>,
) {
    let Ghost { votes, proposed, clients, chosen_below, configurations, stored, unrecorded_below, moments } =
        ghost;
    parts.rest(&(proposed, clients, chosen_below, configurations, stored, unrecorded_below, moments));
    for (vote, voters) in votes.cast() {
        for number in voters.iter() {
            parts.about(protocol.config.id(Role::Acceptor(number)), &("voted", vote));
        }
    }
}
