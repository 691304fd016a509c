//! What is claimed of facts: the invariants of the notes, section 8.

use super::{ACCEPTORS_MAX, F_PLUS_1, Found, Known, MATCHMAKERS, Model, counted, from, has, members, size};
use crate::Kind;

pub(super) const AGREEMENT: &str = "agreement";
pub(super) const EXCLUDES: &str = "what is proposed excludes other choices below";
pub(super) const PROMISES: &str = "promises bind";
pub(super) const ORDER: &str = "matchmakers answer in ascending order and list what they answered";
pub(super) const USED: &str = "no answer is used whose watermark is above its round";
pub(super) const JUSTIFIED: &str = "garbage collection is justified";
pub(super) const RETIRED: &str = "what is retired is not returned";
pub(super) const ANCHORED: &str = "a watermark stands on f + 1 logs";
pub(super) const BYPASS: &str = "phase 1 is left out only by right";
pub(super) const STORED: &str = "persisted means chosen and stored";

type Holds = fn(&Model, &Known) -> bool;

/// The properties: those that hold everywhere, and what a configuration is there for.
const ALWAYS: [(&str, Holds); 10] = [
    (AGREEMENT, agreement),
    (EXCLUDES, proposals_exclude),
    (PROMISES, promises_bind),
    (ORDER, in_order),
    (USED, |_, known| !known.late),
    (JUSTIFIED, |_, known| !known.unjustified),
    (RETIRED, |_, known| {
        let returned =
            known.rounds.iter().map(|facts| (facts.matched.unwrap_or_default(), facts.retired_below));
        returned.into_iter().all(|(matched, below)| matched == from(matched, usize::from(below)))
    }),
    (ANCHORED, watermarks_are_anchored),
    (BYPASS, |_, known| !known.unlawful),
    (STORED, |model, known| {
        Model::persisted(known) == 0 || model.is_chosen(known) && size(known.stored) >= F_PLUS_1
    }),
];

const CHOSEN_TWICE: (&str, Holds) =
    ("every round chooses", |model, known| (0..model.rounds.len()).all(|round| model.chooses(known, round)));
const RETIRES: (&str, Holds) = ("a configuration is retired", |_, known| {
    known.rounds.iter().any(|facts| size(facts.confirmed) >= F_PLUS_1)
});
const LEAVES_OUT: (&str, Holds) = ("phase 1 is left out where somebody could be asked", |_, known| {
    let unasked = |facts: &super::Facts| facts.promises.iter().all(|promise| !promise.said);
    known.rounds.iter().any(|facts| {
        facts.matched.is_some_and(|matched| matched != 0) && facts.found == Found::Free && unasked(facts)
    })
});
const GIVES_UP: (&str, Holds) = ("a proposer learns that a value is persisted", |_, known| {
    known.rounds.iter().any(|facts| facts.found == Found::Persisted)
});

pub(super) fn of(model: &Model) -> Vec<(&'static str, Kind, Holds)> {
    let sometimes = [
        (true, CHOSEN_TWICE),
        (model.collect != 0, RETIRES),
        (model.bypass && model.has_successors(), LEAVES_OUT),
        (model.persist != 0, GIVES_UP),
    ];
    let sometimes = sometimes.into_iter().filter(|(applies, _)| *applies).map(|(_, property)| property);
    let always = ALWAYS.into_iter().map(|(name, holds)| (name, Kind::Always, holds));
    always.chain(sometimes.map(|(name, holds)| (name, Kind::Sometimes, holds))).collect()
}

pub(super) fn holds(model: &Model, property: usize, known: &Known) -> bool {
    match ALWAYS.get(property) {
        Some((_, holds)) => holds(model, known),
        None => of(model)[property].2(model, known),
    }
}

/// Is a larger round's value one that a smaller round's allows? In a register it must be made of it.
fn follows(model: &Model, below: u8, above: u8) -> bool {
    if model.register { below & above == below } else { below == above }
}

/// I1; of a register: what is chosen forms a chain.
fn agreement(model: &Model, known: &Known) -> bool {
    let chosen = |round: &usize| model.chooses(known, *round);
    let mut values = (0..model.rounds.len()).filter(chosen).map(|round| known.rounds[round].value);
    let Some(mut below) = values.next() else { return true };
    values.all(|value| follows(model, std::mem::replace(&mut below, value), value))
}

/// I3.
fn proposals_exclude(model: &Model, known: &Known) -> bool {
    let choosable = |round: usize| {
        let open = |acceptor: &usize| known.acceptors[*acceptor].round <= counted(round);
        let able = (0..ACCEPTORS_MAX).filter(open).fold(known.rounds[round].votes, |all, one| all | 1 << one);
        model.rounds[round].writes(able)
    };
    let value = |round: usize| known.rounds[round].value;
    (1..model.rounds.len()).filter(|above| value(*above) != 0).all(|above| {
        (0..above)
            .filter(|below| value(*below) != 0 && !follows(model, value(*below), value(above)))
            .all(|below| !choosable(below))
    })
}

/// I5: who has promised a round has not voted below it since.
fn promises_bind(model: &Model, known: &Known) -> bool {
    (0..model.rounds.len()).all(|round| {
        let promises = known.rounds[round].promises.iter().enumerate().filter(|(_, promise)| promise.said);
        promises.into_iter().all(|(acceptor, promise)| {
            let reported = usize::from(promise.vote);
            (reported..round).all(|below| !has(known.rounds[below].votes, acceptor))
        })
    })
}

/// I6.
fn in_order(model: &Model, known: &Known) -> bool {
    (0..MATCHMAKERS).all(|matchmaker| {
        let answer = |round: usize| known.rounds[round].answers[matchmaker];
        let said = (0..model.rounds.len()).filter(|round| answer(*round).said);
        said.clone().all(|above| {
            let lists = |below: usize| {
                has(answer(above).earlier, below) || usize::from(answer(above).watermark) > below
            };
            said.clone().take_while(|below| *below < above).all(lists)
        })
    })
}

/// I10.
fn watermarks_are_anchored(_: &Model, known: &Known) -> bool {
    known.matchmakers.iter().all(|matchmaker| {
        let holding = |round: usize| known.matchmakers.iter().filter(|one| has(one.log, round)).count();
        let noted = known.matchmakers.iter().fold(0, |all, one| all | one.log);
        let above = from(noted, usize::from(matchmaker.watermark));
        matchmaker.watermark == 0 || members(above).any(|round| holding(round) >= F_PLUS_1)
    })
}
