//! What an event loop asks other event loops, what it was told, and whom it owes an answer.

use super::peers::bits_of;
use super::standing::{Answers, Control, DRIVER, Standing, Tell};
use crate::wire::{Parcel, Refusal};
use stateright::actor::{Actor, Id};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How many questions one turn answers; others have to be asked again.
const MAX_QUESTIONS: usize = 16;

/// A question to the application of a hosted node.
pub(super) struct Inquiry {
    pub(super) src: Id,
    pub(super) number: u64,
    pub(super) node: u64,
    pub(super) question: Vec<u8>,
}

/// What somebody else's node has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: Instant,
    /// How it stands.
    pub standing: Standing,
}

/// Questions and answers of one event loop.
pub(super) struct Watch<A: Actor> {
    tell: Option<Tell<A>>,
    /// How often it asks the others; none if it does not.
    every: Option<Duration>,
    asked: Option<Instant>,
    /// The number of its last question. Larger than any of an earlier life.
    number: u64,
    /// Who asked in this turn, and under which number.
    questions: Vec<(Id, u64)>,
    answers: Option<Box<dyn Answers<A>>>,
    /// What the applications of hosted nodes were asked in this turn.
    inquiries: Vec<Inquiry>,
    told: BTreeMap<u64, Told>,
}

impl<A: Actor> Watch<A> {
    pub(super) fn new(
        tell: Option<Tell<A>>,
        every: Option<Duration>,
        answers: Option<Box<dyn Answers<A>>>,
    ) -> Self {
        let (questions, inquiries, told) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { tell, every, asked: None, number: 0, questions, answers, inquiries, told }
    }

    /// Takes a message to the event loop, from a source that was checked. Too many questions at once are forgotten.
    pub(super) fn hear(&mut self, parcel: &Parcel<'_>, now: Instant) -> Result<(), Refusal> {
        match parcel.message()? {
            Control::Ask { number } => {
                let is_new = self.questions.iter().all(|(src, _)| *src != parcel.src);
                if is_new && self.tell.is_some() && self.questions.len() < MAX_QUESTIONS {
                    self.questions.push((parcel.src, number));
                }
            }
            Control::Told { number, standing } if number == self.number && self.asked.is_some() => {
                self.told.insert(bits_of(parcel.src), Told { at: now, standing });
            }
            Control::Inquire { number, node, question } => {
                if self.answers.is_some() && self.inquiries.len() < MAX_QUESTIONS {
                    self.inquiries.push(Inquiry { src: parcel.src, number, node, question });
                }
            }
            Control::Told { .. } | Control::Answer { .. } => return Err(Refusal::Stale),
        }
        Ok(())
    }

    /// What applications were asked in this turn.
    pub(super) fn take_inquiries(&mut self) -> Vec<Inquiry> {
        std::mem::take(&mut self.inquiries)
    }

    /// What the application of an actor of this process answers.
    pub(super) fn reply(&mut self, id: Id, state: &A::State, question: &[u8]) -> Option<Vec<u8>> {
        self.answers.as_mut().and_then(|answers| answers.answer(id, state, question))
    }

    /// Lets the application go of what was kept for questions that do not come.
    pub(super) fn look(&mut self, now: Instant) {
        if let Some(answers) = &mut self.answers {
            answers.look(now);
        }
    }

    /// Those who asked in this turn.
    pub(super) fn take_questions(&mut self) -> Vec<(Id, u64)> {
        std::mem::take(&mut self.questions)
    }

    /// How an actor of this process stands.
    pub(super) fn standing(&self, id: Id, state: &A::State) -> Option<Standing> {
        self.tell.as_ref().map(|tell| tell(id, state))
    }

    /// The next question, if it is time for it.
    pub(super) fn question(&mut self, now: Instant) -> Option<Control> {
        let every = self.every?;
        if self.asked.is_some_and(|asked| now.duration_since(asked) < every) {
            return None;
        }
        self.asked = Some(now);
        self.number = self.number.saturating_add(1).max(unix_nanoseconds());
        Some(Control::Ask { number: self.number })
    }

    /// How long until there is a question.
    pub(super) fn patience(&self, now: Instant) -> Option<Duration> {
        let every = self.every?;
        Some(self.asked.map_or(Duration::ZERO, |asked| (asked + every).saturating_duration_since(now)))
    }

    /// What other nodes have said last.
    pub(super) fn told(&self) -> &BTreeMap<u64, Told> {
        &self.told
    }
}

impl<A: Actor> fmt::Debug for Watch<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("every", &self.every).field("told", &self.told).finish_non_exhaustive()
    }
}

/// Is it the event loop that is spoken to?
pub(super) fn is_driver(id: Id) -> bool {
    usize::from(id) == DRIVER
}

/// A number that grows from life to life, as far as the clock does.
pub(super) fn unix_nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
