//! A path of the checker as a diagram.

use super::{Diagram, Event, Lane, Message, Verdict, What};
use parthood_models::{Trace, TraceCause};
use std::collections::BTreeMap;

/// Draws a path; `verdict` is what it amounts to, and whether that is bad news.
pub fn from_trace(trace: &Trace, caption: &str, verdict: Option<(String, bool)>) -> Diagram {
    let lanes = trace.lanes.iter().map(|lane| Lane { name: lane.name.clone(), role: lane.role.to_owned() });
    let mut diagram = Diagram {
        title: trace.title.clone(),
        caption: caption.to_owned(),
        lanes: lanes.collect(),
        ..Diagram::default()
    };
    // The messages that a step sent to a lane with a label; equal ones are one message, as they are to the checker.
    let mut sent: BTreeMap<(usize, usize, &str), usize> = BTreeMap::new();
    for (index, step) in trace.steps.iter().enumerate() {
        let received = match &step.cause {
            TraceCause::Deliver { from, label, sent: by } | TraceCause::Lost { from, label, sent: by } => {
                let known = by.and_then(|by| sent.get(&(by, step.actor, label.as_str())).copied());
                Some(known.unwrap_or_else(|| diagram.add(*from, step.actor, label)))
            }
            _ => None,
        };
        let sends = step.sends.iter().map(|send| {
            let id = diagram.add(step.actor, send.to, &send.label);
            *sent.entry((index, send.to, &send.label)).or_insert(id)
        });
        let sends = sends.collect();
        let what = match (&step.cause, received) {
            (TraceCause::Deliver { .. }, Some(id)) => What::Deliver(id),
            (TraceCause::Lost { .. }, Some(id)) => What::Lose(id),
            (TraceCause::Timeout(timer), _) => What::Timeout(timer.clone()),
            (TraceCause::Random(choice), _) => What::Choose(choice.clone()),
            (TraceCause::Crash(_), _) => What::Crash,
            (TraceCause::Restart, _) => What::Restart,
            _ => What::Start,
        };
        let crashed = matches!(diagram.events.last(), Some(last) if last.what == What::Crash && last.lane == step.actor);
        if what == What::Restart && !crashed {
            let crash = Event {
                lane: step.actor,
                step: step.number,
                what: What::Crash,
                sends: vec![],
                note: String::new(),
            };
            diagram.events.push(crash);
        }
        let note = step.state.clone().unwrap_or_default();
        diagram.events.push(Event { lane: step.actor, step: step.number, what, sends, note });
    }
    let after = diagram.events.len();
    diagram.verdict = verdict.map(|(text, violated)| Verdict { text, violated, after });
    diagram
}

impl Diagram {
    fn add(&mut self, from: usize, to: usize, label: &str) -> usize {
        self.messages.push(Message { from, to, label: label.to_owned() });
        self.messages.len() - 1
    }
}
