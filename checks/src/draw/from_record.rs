//! A recorded run as a diagram, whatever its protocol: the contents are drawn as they were written down.

use super::{Diagram, Event, Lane, Message, What};
use parthood_runtime::replay::{Halt, Merge};
use parthood_runtime::trace::{AnyStep, CauseRecord, Entry, Header, Output, TraceReader};
use parthood_runtime::{Error, Notice};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::ops::Range;

/// The most characters of a label.
const LABEL_MAX: usize = 48;
/// Numbers beyond are shortened to their last digits: the identities of clients.
const LONG_NUMBER: u64 = 1_000_000_000_000;

/// Draws the steps of a range, by their number in the causal order of all traces, counted from 1.
///
/// # Errors
/// When a trace cannot be read.
pub fn from_record<B: BufRead>(
    traces: Vec<TraceReader<B, AnyStep>>,
    range: &Range<u64>,
) -> Result<Diagram, Error> {
    let names = traces.first().map_or_else(Vec::new, |trace| lanes(trace.header()));
    let mut drawing = Drawing {
        diagram: Diagram { lanes: names, ..Diagram::default() },
        sent: BTreeMap::new(),
        lane_of: BTreeMap::new(),
    };
    let mut number = 0;
    for placed in Merge::new(traces) {
        let placed = match placed {
            Ok(placed) => placed,
            Err(Halt::Unreadable(error)) => return Err(error),
            Err(Halt::Impossible(finding)) => {
                let last = drawing.diagram.events.last().map_or(0, |event| event.step);
                drawing.remark(last, finding.to_string());
                break;
            }
        };
        match placed.entry {
            Entry::Step(step) => {
                number += 1;
                if number >= range.end {
                    break;
                }
                if number >= range.start {
                    drawing.step(index(number), &step, placed.delivers, placed.sends_from);
                }
            }
            Entry::Notice { notice, .. } if range.contains(&(number + 1)) => {
                drawing.notice(index(number), notice);
            }
            Entry::Notice { .. } => {}
        }
    }
    Ok(drawing.diagram.without_idle_lanes())
}

struct Drawing {
    diagram: Diagram,
    /// Messages of this drawing by their number in the run.
    sent: BTreeMap<u64, usize>,
    /// Lanes of actors that the header does not name, such as clients.
    lane_of: BTreeMap<usize, usize>,
}

impl Drawing {
    fn step(&mut self, number: usize, step: &AnyStep, delivers: Option<u64>, sends_from: u64) {
        let lane = self.lane(usize::from(step.id));
        let what = match &step.cause {
            CauseRecord::Start => What::Start,
            CauseRecord::Recover(_) => {
                // A remark stands beside all lanes.
                let mut own = self.diagram.events.iter().rev().filter(|event| event.lane == lane);
                let last = own.find(|event| !matches!(event.what, What::Remark(_)));
                if last.is_none_or(|last| last.what != What::Crash) {
                    // A process that was killed cannot say so.
                    let crash =
                        Event { lane, step: number, what: What::Crash, sends: vec![], note: String::new() };
                    self.diagram.events.push(crash);
                }
                What::Restart
            }
            CauseRecord::Deliver { src, msg } => {
                let known = delivers.and_then(|number| self.sent.get(&number).copied());
                let message = known.unwrap_or_else(|| {
                    let from = self.lane(usize::from(*src));
                    self.message(from, lane, msg)
                });
                What::Deliver(message)
            }
            CauseRecord::Timeout(timer) => What::Timeout(label(timer)),
            CauseRecord::Random(choice) => What::Choose(label(choice)),
        };
        let mut sends = Vec::new();
        for output in &step.out {
            let Output::Send { dst, msg } = output else { continue };
            let to = self.lane(usize::from(*dst));
            let message = self.message(lane, to, msg);
            self.sent.insert(sends_from + sends.len() as u64, message);
            sends.push(message);
        }
        let saves = step.out.contains(&Output::Save);
        let note = if saves { "saves".to_owned() } else { String::new() };
        self.diagram.events.push(Event { lane, step: number, what, sends, note });
    }

    fn notice(&mut self, number: usize, notice: Notice) {
        let name = |this: &mut Self, id| {
            let lane = this.lane(usize::from(id));
            this.diagram.lanes[lane].name.clone()
        };
        match notice {
            Notice::Crash(id) => {
                let lane = self.lane(usize::from(id));
                self.diagram.events.push(Event {
                    lane,
                    step: number,
                    what: What::Crash,
                    sends: vec![],
                    note: String::new(),
                });
            }
            Notice::Wipe(id) => {
                let text = format!("{} gets an empty disk", name(self, id));
                self.remark(number, text);
            }
            Notice::Pause(id) => {
                let text = format!("{} stands still", name(self, id));
                self.remark(number, text);
            }
            Notice::Resume(id) => {
                let text = format!("{} goes on", name(self, id));
                self.remark(number, text);
            }
            Notice::Cut(from, to) => {
                let text = format!("the link from {} to {} is cut", name(self, from), name(self, to));
                self.remark(number, text);
            }
            Notice::Heal(from, to) => {
                let text = format!("the link from {} to {} works again", name(self, from), name(self, to));
                self.remark(number, text);
            }
        }
    }

    fn remark(&mut self, number: usize, text: String) {
        self.diagram.events.push(Event {
            lane: 0,
            step: number,
            what: What::Remark(text),
            sends: vec![],
            note: String::new(),
        });
    }

    /// The lane of an actor. Actors beyond those named are clients, and the application of a process.
    fn lane(&mut self, id: usize) -> usize {
        let named = self.diagram.lanes.len() - self.lane_of.len();
        if id < named {
            return id;
        }
        if let Some(&lane) = self.lane_of.get(&id) {
            return lane;
        }
        let (name, role) = match id {
            parthood_runtime::LOCAL_APPLICATION => ("application".to_owned(), "application"),
            _ => (format!("client {}", self.lane_of.len()), "client"),
        };
        self.diagram.lanes.push(Lane { name, role: role.to_owned() });
        let lane = self.diagram.lanes.len() - 1;
        self.lane_of.insert(id, lane);
        lane
    }

    fn message(&mut self, from: usize, to: usize, content: &Value) -> usize {
        self.diagram.messages.push(Message { from, to, label: label(content) });
        self.diagram.messages.len() - 1
    }
}

fn lanes(header: &Header) -> Vec<Lane> {
    let role = |name: &str| {
        let word = name.split([' ', '-']).next().unwrap_or_default();
        if header.actors.iter().filter(|other| other.starts_with(word)).count() > 1 {
            word.to_owned()
        } else {
            "node".to_owned()
        }
    };
    header.actors.iter().map(|name| Lane { name: name.clone(), role: role(name) }).collect()
}

/// A recorded content in one line: `{"Phase2b":{"round":0,"slot":7}}` becomes `Phase2b r0 s7`.
fn label(content: &Value) -> String {
    let mut text = String::new();
    write_value(content, true, &mut text);
    if text.chars().count() > LABEL_MAX {
        text = text.chars().take(LABEL_MAX - 1).chain(['…']).collect();
    }
    text
}

fn write_value(value: &Value, top: bool, text: &mut String) {
    match value {
        Value::String(plain) => text.push_str(plain),
        Value::Object(fields) if top && fields.len() == 1 => {
            for (name, inner) in fields {
                // A wrapper that only says whose message it is, as `Client`, says nothing.
                let wrapped = matches!(inner, Value::Object(inner) if inner.len() == 1 && inner.values().all(Value::is_object));
                if !wrapped {
                    text.push_str(name);
                    text.push(' ');
                }
                write_value(inner, wrapped, text);
            }
        }
        Value::Object(fields) => {
            // What places a message comes first, and short.
            let short = [("round", "r"), ("slot", "s"), ("op", ""), ("answer", "")];
            let place = short.iter().filter_map(|(name, letter)| Some((*letter, "", fields.get(*name)?)));
            let rest = fields.iter().filter(|(name, _)| short.iter().all(|(other, _)| other != name));
            let rest = rest.map(|(name, inner)| (name.as_str(), "=", inner));
            for (index, (name, equals, inner)) in place.chain(rest).enumerate() {
                let space = if index > 0 { " " } else { "" };
                text.extend([space, name, equals]);
                write_value(inner, false, text);
            }
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push_str(", ");
                }
                write_value(item, false, text);
            }
            text.push(']');
        }
        Value::Number(number) if number.as_u64().is_some_and(|number| number > LONG_NUMBER) => {
            // Only told apart, never read.
            let digits = number.to_string();
            text.extend(["..", &digits[digits.len() - 4..]]);
        }
        Value::Null => text.push('-'),
        other => text.push_str(&other.to_string()),
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn contents_are_labels() {
        assert_eq!(label(&json!({ "Phase2b": { "round": 0, "slot": 7 } })), "Phase2b r0 s7");
        assert_eq!(label(&json!("Ping")), "Ping");
        let wrapped = json!({ "Client": { "Reply": { "id": { "seq": 1 }, "answer": null } } });
        assert_eq!(label(&wrapped), "Reply - id=seq=1");
        let request = json!({ "Request": { "id": { "client": 12_133_173_572_688_871_424_u64 }, "op": { "Apply": { "get": "k" } } } });
        assert_eq!(label(&request), "Request Apply=get=k id=client=..1424");
    }

    #[test]
    fn a_record_is_drawn_with_its_crashes_and_cuts() {
        let text = concat!(
            r#"{"header":{"version":1,"protocol":"toy","actors":["node a","node b"],"hosted":[0,1]}}"#,
            "\n",
            r#"{"step":{"at_us":0,"id":0,"cause":"start","out":[{"send":{"dst":1,"msg":"Ping"}},"save"]}}"#,
            "\n",
            r#"{"step":{"at_us":1,"id":1,"cause":{"deliver":{"src":0,"msg":"Ping"}},"out":[]}}"#,
            "\n",
            r#"{"notice":{"at_us":2,"notice":{"crash":0}}}"#,
            "\n",
            r#"{"notice":{"at_us":3,"notice":{"cut":[0,1]}}}"#,
            "\n",
            r#"{"step":{"at_us":4,"id":0,"cause":{"recover":{"round":3}},"out":[]}}"#,
            "\n",
        );
        let trace = TraceReader::new(text.as_bytes()).unwrap();
        let diagram = from_record(vec![trace], &(1..100)).unwrap();
        let whats: Vec<&What> = diagram.events.iter().map(|event| &event.what).collect();
        let cut = What::Remark("the link from node a to node b is cut".into());
        assert_eq!(whats, [&What::Start, &What::Deliver(0), &What::Crash, &cut, &What::Restart]);
        assert_eq!(diagram.events[0].sends, [0]);
    }
}
