//! History that the properties need: votes ever cast, what clients saw, and steps that went backwards.

use super::scope::{InParts, RecordOf, Scope};
use crate::history::History;
use crate::program_order::{Program, sequentially_consistent};
use crate::sequential::OneObject;
use crate::votes::Votes;
use crate::{Cause, CommandOf, Step};
use parthood_protocols::command::CommandId;
use parthood_protocols::compartmentalized::{
    AcceptorNode, Config, Consistency, Msg, Node, ReaderState, ReplicaNode, Reply, Rules, State,
};
use parthood_protocols::ids::Slot;
use parthood_protocols::log::AcceptorState;
use parthood_protocols::sessions::Answer;
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use stateright::actor::Command;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::Hash;

/// What happened so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ghost<M: StateMachine = AppendLog, C: Ord = <M as StateMachine>::Command> {
    /// Who ever voted for what.
    pub(crate) votes: Votes<C>,
    /// What clients asked and were told: what goes through the log, and linearizable reads.
    pub(crate) clients: History<M::Command, M::Output>,
    /// The same with sequential reads, client by client.
    programs: BTreeMap<u64, Program<OneObject<M>>>,
    /// The largest slot that an answer to each client showed.
    shown: BTreeMap<u64, Slot>,
    /// What went wrong in some step.
    pub(super) wrong: Wrong,
    /// All slots below were chosen before the record of the run begins, and their votes may be gone. Zero in a run that
    /// is known from its beginning.
    pub(crate) unrecorded_below: Slot,
}

/// What no state shows, but a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "each belongs to a property of its own")]
pub(super) struct Wrong {
    /// The answers are not sequentially consistent.
    pub(super) out_of_order: bool,
    /// A client was shown less than before by something that promises more.
    pub(super) showed_less: bool,
    /// A read showed what is no prefix of the log.
    pub(super) no_prefix: bool,
    /// A replica kept quiet about a command that it had executed before.
    pub(super) kept_quiet: bool,
    /// An acceptor's promise or watermark decreased, or it voted above its promise.
    pub(super) went_back: bool,
    /// A leader proposed for a slot that its group does not number, or for one that it would propose for again.
    pub(super) not_its_own: bool,
}

impl<M: StateMachine, C: Ord> Default for Ghost<M, C> {
    fn default() -> Self {
        Self {
            votes: Votes::default(),
            clients: History::default(),
            programs: BTreeMap::new(),
            shown: BTreeMap::new(),
            wrong: Wrong::default(),
            unrecorded_below: Slot::ZERO,
        }
    }
}

/// Notes a step of a part.
pub(crate) fn observe<P: InParts>(protocol: &P, ghost: &mut Cow<'_, RecordOf<P>>, step: &Step<'_, P::Actor>) {
    let scope = protocol.scope();
    if let Some(State::Acceptor(after)) = P::ordering(step.after) {
        let before = step.before.and_then(P::ordering).and_then(|before| match before {
            State::Acceptor(before) => Some(before),
            _ => None,
        });
        let restart = matches!(step.cause, Cause::Start(_));
        if restart && before.is_none() {
            begin_at(ghost, after.truncated);
        }
        let (_, index) = scope.config.layout.role(step.id);
        observe_acceptor(ghost, index, before, after, restart && scope.undone_steps);
    }
    match (step.before.and_then(P::serving), P::serving(step.after)) {
        (None, Some(State::Replica(after))) => begin_at(ghost, after.replica.snapshot.slot),
        (Some(State::Replica(before)), Some(State::Replica(after))) => {
            observe_replica(protocol, ghost, before, after, step.out);
        }
        (before, Some(State::Client(after))) => {
            let before = before.and_then(|before| match before {
                State::Client(before) => Some(before),
                _ => None,
            });
            let told = match step.cause {
                Cause::Deliver { msg, .. } => P::said(msg),
                _ => None,
            };
            if let (Some(before), Some(Msg::Reply(reply))) = (before, told)
                && before != after
            {
                ghost.to_mut().returned(scope, reply);
            }
            if after.asked > before.map_or(0, |before| before.asked) {
                ghost.to_mut().invoked(scope, usize::from(step.id) as u64, after);
            }
        }
        _ => {}
    }
}

/// Notes whether a leader proposes for a slot of another group, or for one that is not behind it.
pub(super) fn observe_leader<M: StateMachine, F: Rules>(
    config: &Config<F>,
    ghost: &mut Cow<'_, Ghost<M>>,
    step: &Step<'_, Node<M, F>>,
) {
    let State::Leader(after) = step.after else { return };
    let (_, leader) = config.layout.role(step.id);
    let slots = config.slots_of(leader % config.leader_groups);
    let next = after.leading.as_ref().map(|leading| leading.next_slot);
    let is_wrong = |first: Slot, last: Slot| !slots.contains(first) || next.is_none_or(|next| last >= next);
    let proposes_wrongly = step.out.iter().any(|command| match command {
        Command::Send(_, Msg::Phase2a { slot, .. }) => is_wrong(*slot, *slot),
        Command::Send(_, Msg::Phase2aNoops { range, .. }) => is_wrong(range.from, range.below.minus(1)),
        _ => false,
    });
    if proposes_wrongly || next.is_some_and(|next| !slots.contains(next)) {
        ghost.to_mut().wrong.not_its_own = true;
    }
}

/// The record of the run begins where slots below were chosen and forgotten.
fn begin_at<M: StateMachine, C: Ord + Clone>(ghost: &mut Cow<'_, Ghost<M, C>>, slot: Slot) {
    if slot > ghost.unrecorded_below {
        ghost.to_mut().unrecorded_below = slot;
    }
}

impl<M: StateMachine, C: Ord + Clone + Hash> Ghost<M, C> {
    /// All slots below were chosen before the record of the run begins; nothing is claimed of them.
    pub fn unrecorded_below(&self) -> Slot {
        self.unrecorded_below
    }

    /// How many votes were cast.
    pub fn votes(&self) -> usize {
        self.votes.count()
    }

    fn invoked<F: Rules>(&mut self, scope: &Scope<M, F>, client: u64, state: &ReaderState<M::Command>) {
        let seq = state.asked as u64;
        let Some(ask) = scope.asked(client, seq) else { return };
        if matches!(ask.read, None | Some(Consistency::Linearizable)) {
            self.clients.invoked(name(client, seq), &ask.command);
        }
        if ask.read != Some(Consistency::Eventual) {
            self.programs.entry(client).or_default().push((ask.command.clone(), None));
        }
    }

    fn returned<F: Rules>(&mut self, scope: &Scope<M, F>, reply: &Reply<M::Output>) {
        let CommandId { client, seq, .. } = reply.id;
        let (Answer::Output(output), Some(ask)) = (&reply.answer, scope.asked(client, seq)) else {
            return;
        };
        let spec = OneObject::<M>::default();
        if matches!(ask.read, None | Some(Consistency::Linearizable)) {
            self.clients.told(&spec, name(client, seq), output);
        }
        let shown = self.shown.entry(client).or_default();
        if ask.read != Some(Consistency::Eventual) {
            self.wrong.showed_less |= reply.below < *shown;
            if let Some((_, answer)) = self.programs.entry(client).or_default().last_mut() {
                *answer = Some(output.clone());
            }
            let programs: Vec<_> = self.programs.values().cloned().collect();
            self.wrong.out_of_order |= !sequentially_consistent(&spec, &programs);
        }
        *shown = (*shown).max(reply.below);
    }
}

/// The name of what a client asked, whatever session it belongs to.
fn name(client: u64, seq: u64) -> CommandId {
    CommandId { client, session: 0, pseudonym: 0, seq }
}

/// Notes new votes. After a restart that may have undone steps, whatever they voted for was never told, and is no vote.
fn observe_acceptor<M: StateMachine, C: Ord + Clone + Hash>(
    ghost: &mut Cow<'_, Ghost<M, C>>,
    acceptor: usize,
    before: Option<&AcceptorNode<C>>,
    after: &AcceptorNode<C>,
    undone: bool,
) {
    let went_back = |before: &AcceptorNode<_>| {
        after.acceptor.round < before.acceptor.round
            || after.acceptor.vote_watermark < before.acceptor.vote_watermark
            || after.truncated < before.truncated
    };
    if !undone && before.is_some_and(went_back) {
        ghost.to_mut().wrong.went_back = true;
    }
    let AcceptorState { votes, voting, .. } = &after.acceptor;
    // One that lost its disk did vote, whatever it has forgotten.
    let undone_from = (undone && *voting).then_some(after.truncated);
    let nothing = im::OrdMap::new();
    let before = before.map_or(&nothing, |before| &before.acceptor.votes);
    let changes = ghost.votes.changes(acceptor, before, votes, undone_from);
    if !changes.is_empty() {
        let above = changes.cast.iter().any(|(_, round, _)| *round > after.acceptor.round);
        let ghost = ghost.to_mut();
        ghost.wrong.went_back |= above;
        ghost.votes.apply(acceptor, changes);
    }
}

fn observe_replica<P: InParts>(
    protocol: &P,
    ghost: &mut Cow<'_, RecordOf<P>>,
    before: &ReplicaNode<P::Machine>,
    after: &ReplicaNode<P::Machine>,
    out: &[CommandOf<P::Actor>],
) {
    let scope = protocol.scope();
    let replies = || {
        out.iter().flat_map(|command| match command {
            Command::Send(_, msg) => match P::said(msg) {
                Some(Msg::Reply(reply)) => std::slice::from_ref(reply),
                Some(Msg::Replies(replies)) => replies.as_slice(),
                _ => &[],
            },
            _ => &[],
        })
    };
    for Reply { id, answer, .. } in replies() {
        let Answer::Output(output) = answer else { continue };
        let executed = || after.replica.sessions.known_answer(id).is_some();
        let in_log = scope.asked(id.client, id.seq).map_or_else(executed, |ask| ask.read.is_none());
        if in_log {
            ghost.to_mut().clients.answered(*id, output);
        } else if !(scope.shows_prefix)(&after.replica.machine, output) {
            ghost.to_mut().wrong.no_prefix = true;
        }
    }
    // What was known is known at the moment of execution: an older command of the same lane is nobody's any more.
    let (mut machine, mut sessions) = (before.replica.machine.clone(), before.replica.sessions.clone());
    let lanes = scope.config.limits.lanes;
    for (slot, value) in after.replica.log.range(before.replica.executed..after.replica.executed) {
        for command in value.commands() {
            let known = sessions.known_answer(&command.id).is_some();
            if known && !replies().any(|reply| reply.id == command.id) {
                ghost.to_mut().wrong.kept_quiet = true;
            }
            sessions.execute(&mut machine, *slot, command, lanes);
        }
    }
}
