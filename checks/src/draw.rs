//! A run as a sequence diagram: one lane per node, time downwards, an arrow from each send to its delivery.
//!
//! A [`Diagram`] knows no protocol: a counterexample of the checker, a seed of the simulator and the trace of a deployment
//! become the same picture. Every step has a row of its own, and the label of an arrow stands on the row of its delivery,
//! on a piece of the arrow that is horizontal. So two labels never overlap, however the messages cross.
//!
//! The SVG is self-contained (no script, no font, no style sheet from elsewhere), has a light background, and carries the
//! full text of what it shortens as a tooltip.

mod from_record;
mod from_trace;
mod layout;
mod svg;

pub use from_record::from_record;
pub use from_trace::from_trace;
pub(crate) use layout::float;

/// A run to draw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagram {
    /// What the run shows, in one line.
    pub title: String,
    /// Where it comes from and within which bounds, in one line.
    pub caption: String,
    /// The nodes. Neighbours of one role form a group, with a colour.
    pub lanes: Vec<Lane>,
    /// All messages that were sent.
    pub messages: Vec<Message>,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What it amounts to, and where that can be seen.
    pub verdict: Option<Verdict>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Its name, as "acceptor 2".
    pub name: String,
    /// Its role, as "acceptor".
    pub role: String,
}

/// A message, whatever became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The lane that sent it.
    pub from: usize,
    /// The lane that it was sent to.
    pub to: usize,
    /// Its content, in a few words.
    pub label: String,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where.
    pub lane: usize,
    /// Its number; 0 before the first step. Events with one number belong together.
    pub step: usize,
    /// What.
    pub what: What,
    /// The messages that were sent in reaction, as indices into [`Diagram::messages`].
    pub sends: Vec<usize>,
    /// What changed in the node, in a few words; may be empty. Not drawn before the first step.
    pub note: String,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The node starts. Starts before the first step share one row.
    Start,
    /// This message arrives. One that arrives again was duplicated.
    Deliver(usize),
    /// This message is lost.
    Lose(usize),
    /// A timer fires.
    Timeout(String),
    /// A random choice is taken.
    Choose(String),
    /// The node stops and loses what it did not save.
    Crash,
    /// The node starts again from what it saved.
    Restart,
    /// Something about the whole, as a network cut.
    Remark(String),
}

/// What a run amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The sentence, as "agreement is violated".
    pub text: String,
    /// Is it bad news?
    pub violated: bool,
    /// The number of events after which it is seen.
    pub after: usize,
}

impl Diagram {
    /// The same without lanes in which nothing happens.
    #[must_use]
    pub fn without_idle_lanes(mut self) -> Self {
        let mut busy = vec![false; self.lanes.len()];
        for event in &self.events {
            let message = match event.what {
                What::Deliver(id) | What::Lose(id) => self.messages.get(id),
                _ => None,
            };
            for lane in [Some(event.lane), message.map(|message| message.from)].into_iter().flatten() {
                busy.iter_mut().skip(lane).take(1).for_each(|busy| *busy = true);
            }
        }
        let sent_to = self.messages.iter().map(|message| message.to);
        let stays = |lane: &usize| busy.get(*lane).copied().unwrap_or(false);
        let leaving: Vec<usize> = (0..self.lanes.len()).filter(|lane| !stays(lane)).collect();
        let moved = |lane: usize| lane - leaving.partition_point(|idle| *idle < lane);
        let unseen: Vec<bool> = sent_to.map(|lane| leaving.contains(&lane)).collect();
        for message in &mut self.messages {
            (message.from, message.to) = (moved(message.from), moved(message.to));
        }
        for event in &mut self.events {
            event.lane = moved(event.lane);
            event.sends.retain(|id| !unseen.get(*id).copied().unwrap_or(false));
        }
        self.lanes = self
            .lanes
            .into_iter()
            .enumerate()
            .filter(|(lane, _)| !leaving.contains(lane))
            .map(|(_, lane)| lane)
            .collect();
        self
    }

    /// The picture.
    pub fn to_svg(&self) -> String {
        svg::render(&layout::Layout::new(self))
    }
}

#[cfg(test)]
mod tests;
