//! History that the properties need, and judgements of moments.

use super::MatchmakerMultipaxos;
use crate::history::History;
use crate::sequential::OneObject;
use crate::votes::Votes;
use crate::{Cause, Parts, Step};
use parthood_protocols::client::ClientMsg;
use parthood_protocols::command::ValueOf;
use parthood_protocols::faults::Faults;
use parthood_protocols::ids::Slot;
use parthood_protocols::log::AcceptorState;
use parthood_protocols::matchmaker_multipaxos::{
    AcceptorNode, Announced, Leading, MatchmakerNode, Msg, Mutant, Node, Role, ServerState, Stage, State,
};
use parthood_protocols::matchmaking::{Ask, Configuration, Epoch, Round, Said};
use parthood_protocols::operator::{OperatorMsg, Progress, Wanted};
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use parthood_quorums::{NodeSet, QuorumSystem};
use stateright::actor::Command;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What happened so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ghost<M: StateMachine = AppendLog> {
    /// Who ever voted for what.
    pub(super) votes: Votes<M::Command, Round>,
    /// What was ever proposed.
    pub(super) proposed: BTreeSet<(Slot, Round, ValueOf<M>)>,
    /// What clients asked and were told.
    pub(super) clients: History<M::Command, M::Output>,
    /// Which configurations were announced for each round.
    pub(super) announced: BTreeSet<(Round, Announced)>,
    /// The matchmakers that ever answered each round, in each epoch.
    pub(super) answered: BTreeMap<(Epoch, Round), NodeSet>,
    /// The rounds below which somebody wanted to retire everything.
    pub(super) collecting: BTreeSet<Round>,
    /// The largest watermark of each matchmaker in each epoch that a collecting leader has heard of.
    pub(super) confirmed: BTreeMap<(u64, usize), Round>,
    /// The newest epoch after the first that each server knows.
    pub(super) known: BTreeMap<usize, u64>,
    /// The matchmakers of each epoch after the first that a server knows.
    pub(super) epochs: BTreeMap<u64, NodeSet>,
    /// The newest epoch after the first that each matchmaker serves in.
    pub(super) serving: BTreeMap<usize, u64>,
    /// For rounds of new leaders: below which round everything was retired when they began.
    pub(super) retired: BTreeMap<Round, Round>,
    /// All slots below were chosen before the record of the run begins, and their votes may be gone. Zero in a run that is
    /// known from its beginning.
    pub(super) unrecorded_below: Slot,
    /// What happened at some moment: bad things, by the names of the properties that exclude them, and good ones.
    pub(super) moments: BTreeSet<&'static str>,
}

/// Names of properties about moments.
pub(super) mod moment {
    pub(crate) const WENT_BACK: &str = "promises and watermarks never decrease";
    pub(crate) const ORDER: &str = "matchmakers answer in ascending order and list what they answered";
    pub(crate) const USED_WATERMARK: &str = "no answer is used whose watermark is above its round";
    pub(crate) const RETIRED: &str = "what is retired is not returned";
    pub(crate) const TOLD_ACTIVE: &str = "what an operator is told to be active is matched";
    pub(crate) const TOLD_RETIRED: &str = "what an operator is told to be retired is retired";
    pub(crate) const TOLD_HANDED_OVER: &str = "old matchmakers are not needed when an operator is told so";
    pub(crate) const ONE_SET: &str = "each epoch has one set";
    pub(crate) const FROZEN: &str = "a stopped matchmaker changes nothing";
    pub(crate) const NEWEST: &str = "a leader uses the newest configuration that was matched";
    pub(crate) const BYPASS: &str = "phase 1 is left out only by right";

    pub(crate) const CARRIED: &str = "a pending slot is carried to the next round";
    pub(crate) const OUTDATED: &str = "a new leader finds a newer configuration than it knew";
    pub(crate) const SEVERAL: &str = "phase 1 asks several configurations";
    pub(crate) const TWICE: &str = "a leader reconfigures twice";
    pub(crate) const REFUSED: &str = "a reconfiguration is refused";
}

impl<M: StateMachine> Default for Ghost<M> {
    fn default() -> Self {
        Self {
            votes: Votes::default(),
            proposed: BTreeSet::new(),
            clients: History::default(),
            announced: BTreeSet::new(),
            answered: BTreeMap::new(),
            collecting: BTreeSet::new(),
            confirmed: BTreeMap::new(),
            known: BTreeMap::new(),
            epochs: BTreeMap::new(),
            serving: BTreeMap::new(),
            retired: BTreeMap::new(),
            unrecorded_below: Slot::ZERO,
            moments: BTreeSet::new(),
        }
    }
}

impl<M: StateMachine> Ghost<M> {
    /// What was announced for a round.
    pub(super) fn announced(&self, round: Round) -> Option<&Announced> {
        let configuration = Configuration::Majority(NodeSet::EMPTY);
        let least = Announced { version: 0, since: Round::ZERO, generation: 0, configuration };
        let announced = self.announced.range((round, least)..).next();
        announced.filter(|(of, _)| *of == round).map(|(_, announced)| announced)
    }

    /// The newest cluster file that was heeded when the configuration of a round was made.
    pub(super) fn generation(&self, round: Round) -> u64 {
        self.announced(round).map_or(0, |announced| announced.generation)
    }

    /// The configuration that was announced for a round.
    pub(super) fn configuration(&self, round: Round) -> Option<&Configuration> {
        self.announced(round).map(|announced| &announced.configuration)
    }

    /// Below which round everything is retired: as many matchmakers of one epoch as a quorum has have confirmed it.
    pub(super) fn retired_below(&self, quorum: usize) -> Round {
        let epochs: BTreeSet<u64> = self.confirmed.keys().map(|(epoch, _)| *epoch).collect();
        let retired = epochs.into_iter().filter_map(|epoch| {
            let of = self.confirmed.range((epoch, 0)..=(epoch, usize::MAX));
            let mut confirmed: Vec<Round> = of.map(|(_, round)| *round).collect();
            confirmed.sort_unstable_by(|a, b| b.cmp(a));
            confirmed.get(quorum.saturating_sub(1)).copied()
        });
        retired.max().unwrap_or_default()
    }

    /// Was a round matched, in some epoch?
    fn is_matched(&self, round: Round) -> bool {
        let mut answered = self.answered.iter().filter(|((_, of), _)| *of == round);
        answered.any(|((epoch, _), by)| epoch.is_quorum(*by))
    }

    /// Is this a write quorum of a round?
    pub(super) fn writes(&self) -> impl Fn(Slot, Round, NodeSet) -> bool {
        |_, round, voters| {
            self.configuration(round).is_some_and(|configuration| configuration.is_write_quorum(voters))
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
    protocol: &MatchmakerMultipaxos<M, F>,
    ghost: Now<'_, '_, M>,
    step: &Step<'_, Node<M, F>>,
) {
    let restart = matches!(step.cause, Cause::Start(_));
    match (step.before, step.after) {
        (before, State::Acceptor(after)) => {
            let before = before.and_then(|before| match before {
                State::Acceptor(before) => Some(before),
                _ => None,
            });
            if restart && before.is_none() && after.persisted > ghost.unrecorded_below {
                ghost.to_mut().unrecorded_below = after.persisted;
            }
            if let Some(Role::Acceptor(number)) = protocol.config.role(step.id) {
                observe_acceptor(ghost, number, before, after, restart && protocol.undone_steps);
            }
        }
        (Some(State::Matchmaker(before)), State::Matchmaker(after)) if before != after => {
            if let Some(Role::Matchmaker(number)) = protocol.config.role(step.id) {
                if restart && protocol.undone_steps {
                    undo_answers(ghost, number, after);
                } else if before.newest == after.newest
                    && before.successor.is_some()
                    && before.log != after.log
                {
                    note(ghost, moment::FROZEN);
                }
                if after.newest.number > 0 && after.log.is_some() {
                    ghost.to_mut().serving.insert(number, after.newest.number);
                }
            }
        }
        (None, State::Server(after)) if after.replica.snapshot.slot > ghost.unrecorded_below => {
            ghost.to_mut().unrecorded_below = after.replica.snapshot.slot;
        }
        (Some(State::Server(before)), State::Server(after)) => {
            if let Some(Role::Server(number)) = protocol.config.role(step.id)
                && restart
                && protocol.undone_steps
            {
                undo_rounds(ghost, number, after.used);
            }
            if let Some(Role::Server(number)) = protocol.config.role(step.id)
                && before.epoch != after.epoch
            {
                let Epoch { number: epoch, members } = after.epoch;
                if ghost.epochs.get(&epoch).is_some_and(|others| *others != members) {
                    note(ghost, moment::ONE_SET);
                }
                ghost.to_mut().known.insert(number, epoch);
                ghost.to_mut().epochs.insert(epoch, members);
            }
            observe_server(protocol, ghost, step, before, after);
        }
        (Some(State::Client(before)), State::Client(after)) => {
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
        if let Command::Send(_, msg) = command {
            observe_sent(protocol, ghost, step, msg);
        }
    }
}

/// A matchmaker's crash has undone answers that nobody has heard of.
fn undo_answers<M: StateMachine>(ghost: Now<'_, '_, M>, number: usize, after: &MatchmakerNode) {
    let is_undone = |(epoch, round): &&(Epoch, Round)| match &after.log {
        _ if epoch.number != after.newest.number => epoch.number > after.newest.number,
        Some(state) => *round >= state.watermark && !state.covers(*round, ghost.announced(*round)),
        None => true,
    };
    let undone: Vec<_> = ghost.answered.keys().filter(is_undone).copied().collect();
    let answered = &mut ghost.to_mut().answered;
    for key in undone {
        if let Some(by) = answered.get_mut(&key) {
            *by = by.without(number);
        }
    }
    answered.retain(|_, by| !by.is_empty());
}

/// A server's crash has undone the use of rounds that nobody has heard of.
fn undo_rounds<M: StateMachine>(ghost: Now<'_, '_, M>, number: usize, used: Option<Round>) {
    let unsent = |round: &Round| round.proposer == number as u64 && Some(*round) > used;
    if ghost.announced.iter().any(|(round, _)| unsent(round)) {
        let Ghost { announced, proposed, .. } = ghost.to_mut();
        announced.retain(|(round, _)| !unsent(round));
        proposed.retain(|(_, round, _)| !unsent(round));
    }
}

/// Notes new votes. After a restart that may have undone steps, whatever they voted for was never told, and is no vote.
fn observe_acceptor<M: StateMachine>(
    ghost: Now<'_, '_, M>,
    number: usize,
    before: Option<&AcceptorNode<M::Command>>,
    after: &AcceptorNode<M::Command>,
    undone: bool,
) {
    let nothing = AcceptorNode { acceptor: AcceptorState::default(), persisted: Slot::ZERO };
    let before = before.unwrap_or(&nothing);
    if !undone && (after.acceptor.round < before.acceptor.round || after.persisted < before.persisted) {
        note(ghost, moment::WENT_BACK);
    }
    let undone_from = undone.then_some(after.persisted);
    let changes = ghost.votes.changes(number, &before.acceptor.votes, &after.acceptor.votes, undone_from);
    if !changes.is_empty() {
        ghost.to_mut().votes.apply(number, changes);
    }
}

fn observe_server<M: StateMachine, F: Faults<Mutant>>(
    protocol: &MatchmakerMultipaxos<M, F>,
    ghost: Now<'_, '_, M>,
    step: &Step<'_, Node<M, F>>,
    before: &ServerState<M>,
    after: &ServerState<M>,
) {
    if let Cause::Deliver { src, msg: Msg::Said(Said::GarbageB { epoch, watermark }) } = &step.cause
        && let Some(Role::Matchmaker(number)) = protocol.config.role(*src)
        && before != after
        && ghost.confirmed.get(&(*epoch, number)).is_none_or(|confirmed| confirmed < watermark)
    {
        ghost.to_mut().confirmed.insert((*epoch, number), *watermark);
    }
    if let Cause::Deliver { msg: Msg::Said(Said::MatchB { round, watermark, .. }), .. } = &step.cause
        && watermark > round
        && before != after
    {
        note(ghost, moment::USED_WATERMARK);
    }
    let Some(leading) = &after.leading else { return };
    let was = before.leading.as_ref();
    match &leading.stage {
        Stage::Matching(_) if was.is_none_or(|was| was.round != leading.round) => {
            observe_begin(protocol, ghost, leading.round);
            if was.is_some_and(|was| was.announced.version < leading.announced.version) {
                note(ghost, moment::OUTDATED);
            }
        }
        Stage::Phase1 { earlier, .. } => {
            let retired = ghost.retired.get(&leading.round).copied().unwrap_or_default();
            let collected = ghost.announced(retired).map(Announced::age).unwrap_or_default();
            if earlier.iter().any(|(round, listed)| *round < retired || listed.age() < collected) {
                note(ghost, moment::RETIRED);
            }
            if earlier.len() > 1 {
                note(ghost, moment::SEVERAL);
            }
        }
        Stage::Steady => {
            observe_newest(ghost, was.map(|was| (was.is_steady(), was.round)), leading.round);
            let by_right =
                |was: &Leading<M::Command>| was.is_steady() && leading.round == was.round.successor();
            if was.is_some_and(|was| was.round != leading.round && !by_right(was)) {
                note(ghost, moment::BYPASS);
            }
            let activated = was.is_some_and(|was| was.is_steady() && was.round < leading.round);
            if activated && !leading.outstanding.is_empty() {
                note(ghost, moment::CARRIED);
            }
            if activated && was.is_some_and(|was| was.round.step > 0) {
                note(ghost, moment::TWICE);
            }
        }
        Stage::Matching(_) => {}
    }
}

/// A leader begins to propose in a round: no configuration that was matched in a smaller one may be newer than its own.
fn observe_newest<M: StateMachine>(ghost: Now<'_, '_, M>, was: Option<(bool, Round)>, round: Round) {
    if was == Some((true, round)) {
        return;
    }
    let Some(own) = ghost.announced(round) else { return };
    let newer = |(below, announced): &&(Round, Announced)| *below < round && announced.age() > own.age();
    if ghost.announced.iter().filter(newer).any(|(below, _)| ghost.is_matched(*below)) {
        note(ghost, moment::NEWEST);
    }
}

/// A new leader's round begins: notes below which one everything is retired by now.
fn observe_begin<M: StateMachine, F: Faults<Mutant>>(
    protocol: &MatchmakerMultipaxos<M, F>,
    ghost: Now<'_, '_, M>,
    round: Round,
) {
    let retired = ghost.retired_below(protocol.config.f() + 1);
    if retired > Round::ZERO {
        ghost.to_mut().retired.insert(round, retired);
    }
}

fn observe_sent<M: StateMachine, F: Faults<Mutant>>(
    protocol: &MatchmakerMultipaxos<M, F>,
    ghost: Now<'_, '_, M>,
    step: &Step<'_, Node<M, F>>,
    msg: &Msg<M>,
) {
    match (msg, step.after) {
        (Msg::Client(msg), State::Client(_)) if !protocol.clients.is_empty() => {
            ghost.to_mut().clients.sent_by_client(msg);
        }
        (Msg::Client(msg), State::Server(_)) => ghost.to_mut().clients.sent_by_server(msg),
        (Msg::Ask(Ask::MatchA { round, configuration, .. }), _) => {
            let announced = (*round, configuration.clone());
            if !ghost.announced.contains(&announced) {
                ghost.to_mut().announced.insert(announced);
            }
        }
        (Msg::Phase2a { round, slot, value }, _) => {
            let proposal = (*slot, *round, value.clone());
            if !ghost.proposed.contains(&proposal) {
                ghost.to_mut().proposed.insert(proposal);
            }
        }
        (Msg::Ask(Ask::GarbageA { round, .. }), _) if !ghost.collecting.contains(round) => {
            ghost.to_mut().collecting.insert(*round);
        }
        (Msg::Said(Said::MatchB { round, watermark, earlier, .. }), State::Matchmaker(node)) => {
            let Some(Role::Matchmaker(number)) = protocol.config.role(step.id) else { return };
            let epoch = node.newest;
            // A larger round with the same configuration stands for a smaller one.
            let stands_for = |below: Round, (of, listed): &(Round, Announced)| {
                *of == below || *of > below && ghost.announced(below) == Some(listed)
            };
            let lists = |below: Round| earlier.iter().any(|one| stands_for(below, one)) || *watermark > below;
            let of_this = || {
                let mine = ghost.answered.iter().filter(|((of, _), by)| *of == epoch && by.contains(number));
                mine.map(|((_, round), _)| *round)
            };
            let known = of_this().any(|of| of == *round);
            let in_order = of_this().all(|of| if of < *round { lists(of) } else { known || of == *round });
            if !in_order {
                note(ghost, moment::ORDER);
            }
            if !known {
                ghost.to_mut().answered.entry((epoch, *round)).or_default().insert(number);
            }
        }
        (Msg::Operator(OperatorMsg::Progress { wanted, progress }), State::Server(server)) => match wanted {
            Wanted::Acceptors(wanted) => observe_progress(protocol, ghost, server, wanted, progress),
            Wanted::Matchmakers(_) => observe_handover(protocol, ghost, server, progress),
        },
        _ => {}
    }
}

/// An operator is told something. Is it so?
fn observe_progress<M: StateMachine, F: Faults<Mutant>>(
    protocol: &MatchmakerMultipaxos<M, F>,
    ghost: Now<'_, '_, M>,
    server: &ServerState<M>,
    wanted: &Configuration,
    progress: &Progress,
) {
    let enough = protocol.config.f() + 1;
    let is_matched = |version: u64| {
        ghost.announced.iter().any(|(round, announced)| {
            (announced.version, &announced.configuration) == (version, wanted) && ghost.is_matched(*round)
        })
    };
    let round = server.leading.as_ref().map(|leading| leading.round);
    let is_retired = Some(ghost.retired_below(enough)) >= round;
    match progress {
        Progress::Active(version) if !is_matched(*version) => note(ghost, moment::TOLD_ACTIVE),
        Progress::Retired(_) if !is_retired => note(ghost, moment::TOLD_RETIRED),
        Progress::Refused(_) => note(ghost, moment::REFUSED),
        _ => {}
    }
}

/// An operator is told how far new matchmakers are. Could the old ones go?
fn observe_handover<M: StateMachine, F: Faults<Mutant>>(
    protocol: &MatchmakerMultipaxos<M, F>,
    ghost: Now<'_, '_, M>,
    server: &ServerState<M>,
    progress: &Progress,
) {
    let Progress::Retired(number) = progress else { return };
    let servers = ghost.known.values().filter(|known| *known >= number).count();
    let serve = ghost.serving.iter().filter(|(_, epoch)| *epoch >= number).map(|(matchmaker, _)| *matchmaker);
    let serve: NodeSet = serve.collect();
    let is_settled = servers > protocol.config.f() && server.epoch.is_quorum(serve);
    if *number > 0 && !is_settled {
        note(ghost, moment::TOLD_HANDED_OVER);
    }
}

/// Takes the ghost apart by the members of classes.
pub(super) fn split<M: StateMachine, F: Faults<Mutant>>(
    protocol: &MatchmakerMultipaxos<M, F>,
    ghost: &Ghost<M>,
    parts: &mut Parts<'_>,
) {
    let Ghost { votes, proposed, clients, announced, answered, collecting, .. } = ghost;
    let Ghost { confirmed, known, epochs, serving, retired, unrecorded_below, moments, .. } = ghost;
    parts.rest(&(proposed, clients, announced, collecting, known, epochs, retired));
    parts.rest(&(unrecorded_below, moments));
    let id = |role: Role| protocol.config.id(role);
    for (vote, voters) in votes.cast() {
        voters.iter().for_each(|number| parts.about(id(Role::Acceptor(number)), &("voted", vote)));
    }
    for (round, by) in answered {
        by.iter().for_each(|number| parts.about(id(Role::Matchmaker(number)), &("answered", round)));
    }
    for ((epoch, number), round) in confirmed {
        parts.about(id(Role::Matchmaker(*number)), &("confirmed", epoch, round));
    }
    for (number, epoch) in serving {
        parts.about(id(Role::Matchmaker(*number)), &("serves", epoch));
    }
}
