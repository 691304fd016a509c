//! History that the properties need, and judgements of moments.

use super::{MatchmakerPaxos, Value};
use crate::one_value::take_back;
use crate::{Cause, Parts, Step};
use parthood_protocols::faults::Faults;
use parthood_protocols::matchmaker_paxos::{
    AcceptorState, Garbage, Msg, Mutant, Node, Phase, ProposerState, Role, State,
};
use parthood_protocols::matchmaking::{Age, Configuration, MatchmakerState, Round, read_everywhere};
use parthood_protocols::state_machine::Data;
use parthood_quorums::{NodeSet, QuorumSystem};
use stateright::actor::Command;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What happened so far.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ghost<V = Value> {
    /// What was ever proposed in each round.
    pub(super) proposed: BTreeSet<(Round, V)>,
    /// Who ever voted for what.
    pub(super) cast: BTreeMap<(Round, V), NodeSet>,
    /// The rounds that were free: nothing was or will be chosen below.
    pub(super) free: BTreeSet<Round>,
    /// The matchmakers that ever answered each round.
    pub(super) answered: BTreeMap<Round, NodeSet>,
    /// The largest watermark of each matchmaker that a collecting proposer has heard of.
    pub(super) confirmed: BTreeMap<usize, Round>,
    /// For rounds in matching: below which round everything was retired when it began.
    pub(super) retired: BTreeMap<Round, Round>,
    /// The replicas that keep a value.
    pub(super) stored: NodeSet,
    /// The acceptors that know of a persisted value.
    pub(super) noted: NodeSet,
    /// What happened at some moment: bad things, by the names of the properties that exclude them, and good ones.
    pub(super) moments: BTreeSet<&'static str>,
}

/// Names of properties about moments.
pub(super) mod moment {
    pub(crate) const PROMISES_BIND: &str = "promises bind";
    pub(crate) const ORDER: &str = "matchmakers answer in ascending order and list what they answered";
    pub(crate) const USED_WATERMARK: &str = "no answer is used whose watermark is above its round";
    pub(crate) const JUSTIFIED: &str = "garbage collection is justified";
    pub(crate) const RETIRED: &str = "what is retired is not returned";
    pub(crate) const BYPASS: &str = "phase 1 is left out only by right";
    pub(crate) const NOT_LOST: &str = "nothing saved is lost";

    pub(crate) const FREEDOM_CARRIED: &str = "a round is free because its predecessor was";
    pub(crate) const PROPOSAL_CARRIED: &str = "a proposal is carried to the next round without phase 1";
    pub(crate) const BY_CHOICE: &str = "garbage is collected because a value is chosen in the round";
    pub(crate) const BY_FREEDOM: &str = "garbage is collected because the round is free";
    pub(crate) const BY_PERSISTENCE: &str = "garbage is collected because a value is persisted";
    pub(crate) const SEVERAL: &str = "phase 1 asks several configurations";
    pub(crate) const PRUNED: &str = "an answer lists what another one says is retired";
    pub(crate) const FETCHES: &str = "a proposer takes the value from the replicas";
}

impl<V> Default for Ghost<V> {
    fn default() -> Self {
        Self {
            proposed: BTreeSet::new(),
            cast: BTreeMap::new(),
            free: BTreeSet::new(),
            answered: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            retired: BTreeMap::new(),
            stored: NodeSet::EMPTY,
            noted: NodeSet::EMPTY,
            moments: BTreeSet::new(),
        }
    }
}

/// The ghost of a state in the making; copied when it changes.
type Now<'a, 'g, V> = &'a mut Cow<'g, Ghost<V>>;

pub(super) fn observe<V: Data, F: Faults<Mutant>>(
    protocol: &MatchmakerPaxos<V, F>,
    ghost: Now<'_, '_, V>,
    step: &Step<'_, Node<V, F>>,
) {
    let restarted = step.before.is_some() && matches!(step.cause, Cause::Start(_));
    let undone = protocol.undone_steps && restarted;
    match (protocol.config.role(step.id), step.before, step.after) {
        (Some(Role::Acceptor(number)), before, State::Acceptor(after)) => {
            let before = before.and_then(|before| match before {
                State::Acceptor(before) => Some(before),
                _ => None,
            });
            observe_acceptor(ghost, number, before, after, undone);
        }
        (Some(Role::Matchmaker(number)), Some(State::Matchmaker(before)), State::Matchmaker(after))
            if restarted =>
        {
            observe_restarted_matchmaker(protocol, ghost, number, (before, after), undone);
        }
        (Some(Role::Replica(number)), _, State::Replica(value))
            if ghost.stored.contains(number) != value.is_some() =>
        {
            let stored = ghost.stored.without(number);
            ghost.to_mut().stored = if value.is_some() { stored.with(number) } else { stored };
        }
        (Some(Role::Proposer(number)), Some(State::Proposer(before)), State::Proposer(after)) => {
            if undone {
                let unsent = |round: &Round| round.proposer == number as u64 && Some(*round) > after.used;
                if ghost.proposed.iter().any(|(round, _)| unsent(round)) || ghost.free.iter().any(unsent) {
                    ghost.to_mut().proposed.retain(|(round, _)| !unsent(round));
                    ghost.to_mut().free.retain(|round| !unsent(round));
                }
            }
            observe_proposer(protocol, ghost, step, before, after);
        }
        _ => {}
    }
    for command in step.out {
        if let Command::Send(_, msg) = command {
            observe_send(protocol, ghost, step, msg);
        }
    }
}

fn note<V: Data>(ghost: Now<'_, '_, V>, moment: &'static str) {
    if !ghost.moments.contains(moment) {
        ghost.to_mut().moments.insert(moment);
    }
}

/// Notes a vote, and whether promises bind. After a restart that may have undone steps, what they voted for was never
/// told, and is no vote.
fn observe_acceptor<V: Data>(
    ghost: Now<'_, '_, V>,
    number: usize,
    before: Option<&AcceptorState<V>>,
    after: &AcceptorState<V>,
    undone: bool,
) {
    if ghost.noted.contains(number) != after.persisted {
        let noted = ghost.noted.without(number);
        ghost.to_mut().noted = if after.persisted { noted.with(number) } else { noted };
    }
    let old = before.and_then(|before| before.vote.as_ref());
    let promised = before.map_or(Round::ZERO, |before| before.round);
    if undone {
        if let Some(old) = old.filter(|old| after.vote.as_ref() != Some(*old)) {
            let vote = (old.vote_round, old.vote_value.clone());
            take_back(&mut ghost.to_mut().cast, number, &vote);
        }
    } else if after.round < promised {
        note(ghost, moment::PROMISES_BIND);
    }
    if let Some(vote) = after.vote.as_ref().filter(|vote| Some(*vote) != old) {
        if vote.vote_round < promised && !undone {
            note(ghost, moment::PROMISES_BIND);
        }
        let key = (vote.vote_round, vote.vote_value.clone());
        if !ghost.cast.get(&key).is_some_and(|voters| voters.contains(number)) {
            ghost.to_mut().cast.entry(key).or_default().insert(number);
        }
    }
}

/// A matchmaker may have lost what nobody has heard of, and nothing else.
fn observe_restarted_matchmaker<V: Data, F: Faults<Mutant>>(
    protocol: &MatchmakerPaxos<V, F>,
    ghost: Now<'_, '_, V>,
    number: usize,
    (before, after): (&MatchmakerState, &MatchmakerState),
    undone: bool,
) {
    if before == after {
        return;
    }
    if !undone {
        return note(ghost, moment::NOT_LOST);
    }
    let ghost = ghost.to_mut();
    for (round, by) in &mut ghost.answered {
        if *round >= after.watermark && !after.covers(*round, protocol.configuration(*round)) {
            *by = by.without(number);
        }
    }
    ghost.answered.retain(|_, by| !by.is_empty());
}

fn observe_send<V: Data, F: Faults<Mutant>>(
    protocol: &MatchmakerPaxos<V, F>,
    ghost: Now<'_, '_, V>,
    step: &Step<'_, Node<V, F>>,
    msg: &Msg<V>,
) {
    match (msg, protocol.config.role(step.id), step.after) {
        (Msg::Phase2a { round, value }, ..)
            if !ghost.proposed.iter().any(|(other, proposed)| other == round && proposed == value) =>
        {
            ghost.to_mut().proposed.insert((*round, value.clone()));
        }
        (Msg::Phase1b { round, .. }, _, State::Acceptor(after)) if after.round < *round => {
            note(ghost, moment::PROMISES_BIND);
        }
        (Msg::MatchB { round, watermark, earlier }, Some(Role::Matchmaker(number)), _) => {
            // A larger round with the same configuration stands for a smaller one.
            let stands_for = |below: Round, (of, listed): &(Round, Configuration)| {
                *of == below || *of > below && protocol.configuration(below) == Some(listed)
            };
            let lists = |below: Round| earlier.iter().any(|one| stands_for(below, one)) || *watermark > below;
            let of_this = || ghost.answered.iter().filter(|(_, by)| by.contains(number)).map(|(of, _)| *of);
            let known = of_this().any(|of| of == *round);
            let in_order = of_this().all(|of| if of < *round { lists(of) } else { known || of == *round });
            if !in_order {
                note(ghost, moment::ORDER);
            }
            if !known {
                ghost.to_mut().answered.entry(*round).or_default().insert(number);
            }
        }
        _ => {}
    }
}

fn observe_proposer<V: Data, F: Faults<Mutant>>(
    protocol: &MatchmakerPaxos<V, F>,
    ghost: Now<'_, '_, V>,
    step: &Step<'_, Node<V, F>>,
    before: &ProposerState<V>,
    after: &ProposerState<V>,
) {
    let Some(round) = after.used else { return };
    if before.used != after.used {
        if matches!(after.phase, Phase::Matching { .. }) {
            observe_begin(protocol, ghost, before.used, round);
        }
        return;
    }
    let delivered = match step.cause {
        Cause::Deliver { src, msg } => protocol.config.role(src).map(|role| (role, msg)),
        _ => None,
    };
    match (&before.phase, delivered) {
        (Phase::Matching { .. }, Some((Role::Matchmaker(number), Msg::MatchB { watermark, .. }))) => {
            if *watermark > round {
                note(ghost, moment::USED_WATERMARK);
            }
            if !matches!(after.phase, Phase::Matching { .. }) {
                observe_matched(protocol, ghost, step, before, after, number);
            }
        }
        (
            Phase::Phase1 { earlier, promised, best: None },
            Some((Role::Acceptor(number), Msg::Phase1b { vote: None, .. })),
        ) => {
            let asked = earlier.iter().map(|(_, configuration)| configuration);
            let ended = !matches!(after.phase, Phase::Phase1 { .. } | Phase::Fetching);
            if ended && read_everywhere(asked, promised.with(number)) {
                ghost.to_mut().free.insert(round);
            }
        }
        (_, Some((Role::Matchmaker(number), Msg::GarbageB { watermark })))
            if ghost.confirmed.get(&number).is_none_or(|confirmed| confirmed < watermark) =>
        {
            ghost.to_mut().confirmed.insert(number, *watermark);
        }
        _ => {}
    }
    if matches!(after.phase, Phase::Fetching) {
        note(ghost, moment::FETCHES);
    }
    if before.garbage == Garbage::Idle && matches!(after.garbage, Garbage::Asked(_)) {
        observe_collection(protocol, ghost, round);
    }
}

/// A round begins: notes below which one everything is retired by now. What an abandoned round was to be told is of no
/// account any more.
fn observe_begin<V: Data, F: Faults<Mutant>>(
    protocol: &MatchmakerPaxos<V, F>,
    ghost: Now<'_, '_, V>,
    abandoned: Option<Round>,
    round: Round,
) {
    let mut confirmed: Vec<Round> = ghost.confirmed.values().copied().collect();
    confirmed.sort_unstable_by(|a, b| b.cmp(a));
    let retired = confirmed.get(protocol.config.f_plus_1() - 1).copied().unwrap_or_default();
    if retired > Round::ZERO {
        ghost.to_mut().retired.insert(round, retired);
    }
    if let Some(abandoned) = abandoned.filter(|abandoned| ghost.retired.contains_key(abandoned)) {
        ghost.to_mut().retired.remove(&abandoned);
    }
}

/// Matching of a round is finished: what does it follow that phase 1 must ask, and may it be left out?
fn observe_matched<V: Data, F: Faults<Mutant>>(
    protocol: &MatchmakerPaxos<V, F>,
    ghost: Now<'_, '_, V>,
    step: &Step<'_, Node<V, F>>,
    before: &ProposerState<V>,
    after: &ProposerState<V>,
    matchmaker: usize,
) {
    let (Phase::Matching { answers, .. }, Some(round)) = (&before.phase, after.used) else { return };
    let Cause::Deliver { msg: Msg::MatchB { watermark, earlier, .. }, .. } = step.cause else { return };
    let mut answers = answers.clone();
    answers.add(matchmaker, *watermark, Age::default(), earlier.clone());
    let is_complete = answers.replied.len() >= protocol.config.f_plus_1();
    let returned = answers.returned();
    if returned.len() < answers.earlier.len() {
        note(ghost, moment::PRUNED);
    }
    if let Some(retired) = ghost.retired.get(&round).copied() {
        if let Phase::Phase1 { earlier, .. } = &after.phase
            && earlier.iter().any(|(earlier, _)| *earlier < retired)
        {
            note(ghost, moment::RETIRED);
        }
        ghost.to_mut().retired.remove(&round);
    }
    if let Phase::Phase1 { earlier, .. } = &after.phase {
        if earlier.len() > 1 {
            note(ghost, moment::SEVERAL);
        }
        return;
    }
    if is_complete && returned.is_empty() {
        ghost.to_mut().free.insert(round);
        return;
    }
    let predecessor = round.step.checked_sub(1).map(|step| Round { step, ..round });
    let proposed = |of: Round| ghost.proposed.iter().filter(move |(round, _)| *round == of);
    let was_free = |of: &Round| ghost.free.contains(of) && proposed(*of).next().is_none();
    let own = |of: &Round| match &after.phase {
        Phase::Phase2 { value, .. } => proposed(*of).any(|(_, proposed)| proposed == value),
        _ => false,
    };
    if is_complete && predecessor.as_ref().is_some_and(was_free) {
        ghost.to_mut().free.insert(round);
        note(ghost, moment::FREEDOM_CARRIED);
    } else if is_complete && predecessor.as_ref().is_some_and(own) {
        note(ghost, moment::PROPOSAL_CARRIED);
    } else {
        note(ghost, moment::BYPASS);
    }
}

/// The owner of a round begins to collect. Is one of the three scenarios true?
fn observe_collection<V: Data, F: Faults<Mutant>>(
    protocol: &MatchmakerPaxos<V, F>,
    ghost: Now<'_, '_, V>,
    round: Round,
) {
    let Some(configuration) = protocol.configuration(round) else { return };
    let writes = |of: &Round, voters: NodeSet| {
        protocol.configuration(*of).is_some_and(|configuration| configuration.is_write_quorum(voters))
    };
    let mut chosen =
        ghost.cast.iter().filter(|((of, _), voters)| writes(of, **voters)).map(|((of, _), _)| *of);
    let is_chosen_here = chosen.clone().any(|of| of == round);
    let is_persisted = chosen.next().is_some()
        && ghost.stored.len() >= protocol.config.f_plus_1()
        && configuration.is_write_quorum(ghost.noted);
    let why = if ghost.free.contains(&round) {
        moment::BY_FREEDOM
    } else if is_chosen_here {
        moment::BY_CHOICE
    } else if is_persisted {
        moment::BY_PERSISTENCE
    } else {
        moment::JUSTIFIED
    };
    note(ghost, why);
}

/// Takes the ghost apart by the members of classes.
pub(super) fn split<V: Data, F: Faults<Mutant>>(
    protocol: &MatchmakerPaxos<V, F>,
    ghost: &Ghost<V>,
    parts: &mut Parts<'_>,
) {
    let Ghost { proposed, cast, free, answered, confirmed, retired, stored, noted, moments } = ghost;
    parts.rest(&(proposed, free, retired, moments));
    let id = |role: Role| protocol.config.id(role);
    for (vote, voters) in cast {
        voters.iter().for_each(|number| parts.about(id(Role::Acceptor(number)), &("voted", vote)));
    }
    noted.iter().for_each(|number| parts.about(id(Role::Acceptor(number)), "noted"));
    for (round, by) in answered {
        by.iter().for_each(|number| parts.about(id(Role::Matchmaker(number)), &("answered", round)));
    }
    for (number, round) in confirmed {
        parts.about(id(Role::Matchmaker(*number)), &("confirmed", round));
    }
    stored.iter().for_each(|number| parts.about(id(Role::Replica(number)), "stored"));
}
