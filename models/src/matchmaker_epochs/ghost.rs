//! History that the properties need, and judgements of moments.

use crate::{Cause, Parts, Step};
use parthood_protocols::faults::Faults;
use parthood_protocols::matchmaker_epochs::{
    Config, MatchmakerNode, Msg, Mutant, Node, Noted, Phase, ProposerState, Role, State,
};
use parthood_protocols::matchmaking::{Ask, Epoch, Matched, Round, Said};
use parthood_quorums::NodeSet;
use stateright::actor::Command;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// The matchmakers that ever answered a round in an epoch.
    pub(super) answered: BTreeMap<(Epoch, Round), NodeSet>,
    /// What was said to come before each round that was matched, and the number of its epoch.
    pub(super) matched: BTreeMap<Round, (u64, Vec<Matched<Noted>>)>,
    /// The rounds below which somebody wanted to retire everything.
    pub(super) collecting: BTreeSet<Round>,
    /// The largest watermark that each matchmaker has confirmed in each epoch.
    pub(super) confirmed: BTreeMap<(Epoch, usize), Round>,
    /// For rounds: below which round everything was retired when they began.
    pub(super) retired: BTreeMap<Round, Round>,
    /// The sets that were proposed for the epoch after another one, by ballot.
    pub(super) proposed: BTreeSet<(Epoch, Round, NodeSet)>,
    /// Who voted for them.
    pub(super) votes: BTreeMap<(Epoch, Round, NodeSet), NodeSet>,
    /// The epochs in which a matchmaker ever served.
    pub(super) served: BTreeSet<Epoch>,
    /// What happened at some moment: bad things, by the names of the properties that exclude them, and good ones.
    pub(super) moments: BTreeSet<&'static str>,
}

/// Names of properties about moments.
pub(super) mod moment {
    pub(crate) const ORDER: &str = "matchmakers answer in ascending order and list what they answered";
    pub(crate) const RETIRED: &str = "what is retired is not returned";
    pub(crate) const PURE: &str = "what is matched is matched in one epoch";
    pub(crate) const FROZEN: &str = "a stopped matchmaker changes nothing";
    pub(crate) const SILENT: &str = "who answers is in an epoch that is chosen";
    pub(crate) const WENT_BACK: &str = "epochs and promised ballots never decrease";

    pub(crate) const LATE: &str = "a matchmaker gets its log late";
    pub(crate) const ADOPTED: &str = "a set that was voted for before is proposed again";
    pub(crate) const REPLACED: &str = "a member that does not answer is replaced";
    pub(crate) const POINTED: &str = "an old matchmaker says who serves";
}

impl Ghost {
    /// Is this the first epoch, or did one more than may fail of the one before vote for it?
    pub(super) fn is_chosen(&self, epoch: Epoch, first: Epoch) -> bool {
        epoch == first
            || self.votes.iter().any(|((before, _, members), by)| {
                before.followed_by(*members) == epoch && before.is_quorum(*by)
            })
    }

    /// Was it answered by one more than may fail, in one epoch?
    pub(super) fn is_matched_in(&self, epoch: Epoch, round: Round) -> bool {
        self.answered.get(&(epoch, round)).is_some_and(|by| epoch.is_quorum(*by))
    }

    /// Below which round is everything retired: one more than may fail, of one epoch, have confirmed it.
    fn retired_below(&self) -> Round {
        let epochs: BTreeSet<Epoch> = self.confirmed.keys().map(|(epoch, _)| *epoch).collect();
        let mut largest = Round::ZERO;
        for watermark in self.confirmed.values() {
            for epoch in &epochs {
                if self.is_retired_in(*epoch, *watermark) {
                    largest = largest.max(*watermark);
                }
            }
        }
        largest
    }

    /// Has one more than may fail, of this epoch, confirmed that what is below a round is retired?
    pub(super) fn is_retired_in(&self, epoch: Epoch, round: Round) -> bool {
        let of = self.confirmed.iter().filter(|((of, _), watermark)| *of == epoch && **watermark >= round);
        epoch.is_quorum(of.map(|((_, number), _)| *number).collect())
    }
}

type Now<'a, 'g> = &'a mut Cow<'g, Ghost>;

fn note(ghost: Now<'_, '_>, moment: &'static str) {
    if !ghost.moments.contains(moment) {
        ghost.to_mut().moments.insert(moment);
    }
}

pub(super) fn observe<F: Faults<Mutant>>(config: &Config<F>, ghost: Now<'_, '_>, step: &Step<'_, Node<F>>) {
    match (step.before, step.after, config.role(step.id)) {
        (Some(State::Matchmaker(before)), State::Matchmaker(after), Some(Role::Matchmaker(me))) => {
            observe_matchmaker(ghost, me, before, after);
        }
        (before, State::Proposer(after), _) => {
            let before = before.and_then(|before| match before {
                State::Proposer(before) => Some(before),
                _ => None,
            });
            observe_proposer(ghost, before, after);
        }
        (Some(State::Reconfigurer(before)), State::Reconfigurer(after), _) => {
            if let (Some(before), Some(after)) = (&before.change, &after.change)
                && before.wanted != after.wanted
                && before.epoch == after.epoch
            {
                note(ghost, moment::REPLACED);
            }
        }
        _ => {}
    }
    for command in step.out {
        let Command::Send(_, msg) = command else { continue };
        match (msg, step.after) {
            (Msg::Said(said), State::Matchmaker(node)) => {
                let Some(Role::Matchmaker(me)) = config.role(step.id) else { continue };
                observe_said(config, ghost, me, node, said, &step.cause);
            }
            (Msg::Ask(ask), _) => observe_asked(ghost, ask),
            _ => {}
        }
    }
}

fn observe_matchmaker(ghost: Now<'_, '_>, me: usize, before: &MatchmakerNode, after: &MatchmakerNode) {
    let same_epoch = before.newest == after.newest;
    let promised = |node: &MatchmakerNode| node.successor.map(|successor| successor.promised);
    if after.newest.number < before.newest.number || same_epoch && promised(after) < promised(before) {
        note(ghost, moment::WENT_BACK);
    }
    if same_epoch && before.successor.is_some() && before.log != after.log {
        note(ghost, moment::FROZEN);
    }
    if same_epoch && before.log.is_none() && after.log.is_some() && after.newest.members.contains(me) {
        note(ghost, moment::LATE);
    }
    if after.log.is_some() && !ghost.served.contains(&after.newest) {
        ghost.to_mut().served.insert(after.newest);
    }
}

fn observe_proposer(ghost: Now<'_, '_>, before: Option<&ProposerState>, after: &ProposerState) {
    let Some(round) = after.used else { return };
    if before.is_none_or(|before| before.used != after.used) {
        let retired = ghost.retired_below();
        if retired > Round::ZERO {
            ghost.to_mut().retired.insert(round, retired);
        }
    }
    let Phase::Matched(earlier) = &after.phase else { return };
    if before.is_some_and(|before| before.phase == after.phase && before.used == after.used) {
        return;
    }
    if !ghost.is_matched_in(after.epoch, round) {
        note(ghost, moment::PURE);
    }
    let retired = ghost.retired.get(&round).copied().unwrap_or_default();
    if earlier.iter().any(|(below, _)| *below < retired) {
        note(ghost, moment::RETIRED);
    }
    ghost.to_mut().matched.insert(round, (after.epoch.number, earlier.clone()));
}

fn observe_said<F: Faults<Mutant>>(
    config: &Config<F>,
    ghost: Now<'_, '_>,
    me: usize,
    node: &MatchmakerNode,
    said: &Said<Noted>,
    cause: &Cause<'_, Node<F>>,
) {
    let epoch = node.newest;
    match said {
        Said::MatchB { round, watermark, earlier, .. } => {
            if !ghost.is_chosen(epoch, config.first) {
                note(ghost, moment::SILENT);
            }
            let of_this = || {
                let mine = ghost.answered.iter().filter(|((of, _), by)| *of == epoch && by.contains(me));
                mine.map(|((_, round), _)| *round)
            };
            let lists = |below: Round| earlier.iter().any(|(of, _)| *of == below) || *watermark > below;
            let known = of_this().any(|of| of == *round);
            if !of_this().all(|of| if of < *round { lists(of) } else { known || of == *round }) {
                note(ghost, moment::ORDER);
            }
            if !known {
                ghost.to_mut().answered.entry((epoch, *round)).or_default().insert(me);
            }
        }
        Said::GarbageB { watermark, .. } if ghost.confirmed.get(&(epoch, me)) < Some(watermark) => {
            ghost.to_mut().confirmed.insert((epoch, me), *watermark);
        }
        Said::Chose { ballot, .. } => {
            if let Cause::Deliver { msg: Msg::Ask(Ask::Choose { members, .. }), .. } = cause {
                let vote = (epoch, *ballot, *members);
                if !ghost.votes.get(&vote).is_some_and(|by| by.contains(me)) {
                    ghost.to_mut().votes.entry(vote).or_default().insert(me);
                }
            }
        }
        Said::Over { newest, stopped: false } if newest.number > 0 => note(ghost, moment::POINTED),
        _ => {}
    }
}

fn observe_asked(ghost: Now<'_, '_>, ask: &Ask<Noted>) {
    match ask {
        Ask::GarbageA { round, .. } if !ghost.collecting.contains(round) => {
            ghost.to_mut().collecting.insert(*round);
        }
        Ask::Choose { epoch, ballot, members } => {
            let proposal = (*epoch, *ballot, *members);
            if !ghost.proposed.contains(&proposal) {
                let again = |(of, below, set): &(Epoch, Round, NodeSet)| {
                    of == epoch && below < ballot && set == members
                };
                if ghost.proposed.iter().any(again) {
                    note(ghost, moment::ADOPTED);
                }
                ghost.to_mut().proposed.insert(proposal);
            }
        }
        _ => {}
    }
}

/// Takes the ghost apart by the members of classes.
pub(super) fn split<F: Faults<Mutant>>(config: &Config<F>, ghost: &Ghost, parts: &mut Parts<'_>) {
    let Ghost { answered, matched, collecting, confirmed, retired, proposed, votes, served, moments } = ghost;
    parts.rest(&(matched, collecting, retired, proposed, served, moments));
    let id = |number: usize| config.id(Role::Matchmaker(number));
    for (round, by) in answered {
        by.iter().for_each(|number| parts.about(id(number), &("answered", round)));
    }
    for (vote, by) in votes {
        by.iter().for_each(|number| parts.about(id(number), &("voted", vote)));
    }
    for ((epoch, number), round) in confirmed {
        parts.about(id(*number), &("confirmed", epoch, round));
    }
}
