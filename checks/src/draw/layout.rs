//! Where everything stands: lanes in columns, steps in rows, arrows as two straight pieces.

use super::{Diagram, Event, Lane, Message, Verdict, What};

pub(super) const ROW: f64 = 46.0;
pub(super) const GUTTER: f64 = 54.0;
pub(super) const MARGIN: f64 = 28.0;
pub(super) const HEADER_TOP: f64 = 96.0;
pub(super) const HEADER_HEIGHT: f64 = 30.0;
pub(super) const LABEL_SIZE: f64 = 12.0;
pub(super) const NOTE_SIZE: f64 = 10.5;
const BANNER_HEIGHT: f64 = 34.0;
const LANE_SPACING: std::ops::RangeInclusive<f64> = 118.0..=230.0;
/// Room between a label and the lanes on both sides.
const CLEARANCE: f64 = 24.0;
/// From a lane to the text beside it.
pub(super) const BESIDE: f64 = 14.0;
/// The longest note.
pub(super) const NOTE_ROOM: f64 = 320.0;

/// A diagram with coordinates.
pub(super) struct Layout<'a> {
    pub diagram: &'a Diagram,
    pub lane_x: Vec<f64>,
    pub groups: Vec<Group<'a>>,
    pub rows: Vec<Row<'a>>,
    pub arrows: Vec<Arrow<'a>>,
    pub stubs: Vec<Stub<'a>>,
    pub outages: Vec<Outage>,
    pub banner: Option<Banner<'a>>,
    pub width: f64,
    pub bottom: f64,
}

/// Neighbouring lanes of one role.
pub(super) struct Group<'a> {
    pub role: &'a str,
    pub colour: usize,
    pub lanes: std::ops::Range<usize>,
}

/// An event with its place.
pub(super) struct Row<'a> {
    pub event: &'a Event,
    /// None if it is that of the row before.
    pub number: Option<usize>,
    pub y: f64,
}

/// A message from its send to its end.
pub(super) struct Arrow<'a> {
    pub message: &'a Message,
    pub from: (f64, f64),
    /// Where the horizontal piece with the label begins.
    pub elbow: f64,
    pub to: (f64, f64),
    pub lost: bool,
    pub again: bool,
    pub lines: Vec<String>,
}

/// The beginning of a message that has no end in this run.
pub(super) struct Stub<'a> {
    pub message: &'a Message,
    pub from: (f64, f64),
    pub towards: f64,
}

/// A piece of a lane in which its node is down.
pub(super) struct Outage {
    pub lane: usize,
    pub from: f64,
    pub to: f64,
}

/// The verdict with its place.
pub(super) struct Banner<'a> {
    pub verdict: &'a Verdict,
    pub y: f64,
    pub height: f64,
}

impl<'a> Layout<'a> {
    pub(super) fn new(diagram: &'a Diagram) -> Self {
        let spacing = lane_spacing(diagram);
        let lane_x: Vec<f64> =
            (0..diagram.lanes.len()).map(|lane| MARGIN + GUTTER + spacing * (float(lane) + 0.5)).collect();
        let (rows, banner, bottom) = rows(diagram);
        let right =
            right_edge(diagram, &rows, &lane_x).max(MARGIN + GUTTER + spacing * float(diagram.lanes.len()));
        let mut layout = Self {
            groups: groups(diagram),
            arrows: Vec::new(),
            stubs: Vec::new(),
            outages: outages(diagram, &rows, bottom),
            width: (right + MARGIN).ceil(),
            diagram,
            lane_x,
            rows,
            banner,
            bottom,
        };
        layout.connect();
        layout
    }

    /// The middle of a lane.
    pub(super) fn x(&self, lane: usize) -> f64 {
        self.lane_x.get(lane).copied().unwrap_or(MARGIN + GUTTER)
    }

    /// The colour of a lane, as an index.
    pub(super) fn colour(&self, lane: usize) -> usize {
        self.groups.iter().find(|group| group.lanes.contains(&lane)).map_or(0, |group| group.colour)
    }

    /// Draws a line from the send of each message to each of its ends.
    fn connect(&mut self) {
        let mut sent_at = vec![None; self.diagram.messages.len()];
        let mut ended = vec![false; self.diagram.messages.len()];
        for row in &self.rows {
            for &id in &row.event.sends {
                if let Some(at) = sent_at.get_mut(id) {
                    *at = Some(row.y);
                }
            }
        }
        for row in &self.rows {
            let (id, lost) = match row.event.what {
                What::Deliver(id) => (id, false),
                What::Lose(id) => (id, true),
                _ => continue,
            };
            let Some(message) = self.diagram.messages.get(id) else { continue };
            let again = std::mem::replace(&mut ended[id], true);
            let arrow = self.arrow(message, sent_at[id].unwrap_or(row.y - ROW / 2.0), row.y, lost, again);
            self.arrows.push(arrow);
        }
        for (id, message) in self.diagram.messages.iter().enumerate() {
            if let Some(y) = sent_at[id].filter(|_| !ended[id]) {
                let from = (self.x(message.from), y);
                self.stubs.push(Stub { message, from, towards: self.x(message.to) });
            }
        }
    }

    fn arrow(&self, message: &'a Message, sent: f64, y: f64, lost: bool, again: bool) -> Arrow<'a> {
        let (x, mut to) = (self.x(message.from), self.x(message.to));
        if lost {
            to = x + 0.62 * (to - x);
        }
        let side = if to >= x { 1.0 } else { -1.0 };
        let room = (to - x).abs().max(LANE_SPACING.start() / 2.0) - CLEARANCE;
        let suffix = if again { " (again)" } else { "" };
        let lines = broken(&format!("{}{suffix}", message.label), if lost { room / 0.62 } else { room });
        let widest = lines.iter().map(|line| text_width(line, LABEL_SIZE)).fold(0.0, f64::max);
        let mut elbow = to - side * (widest + CLEARANCE - 4.0).min((to - x).abs());
        if self.lane_x.iter().any(|lane| (lane - elbow).abs() < 10.0) && (elbow - x).abs() > 30.0 {
            // An arrow that bends on a lane would seem to come from there.
            elbow -= side * 16.0;
        }
        Arrow { message, from: (x, sent), elbow, to: (to, y), lost, again, lines }
    }
}

/// Wide enough for the labels between neighbours, within reason.
fn lane_spacing(diagram: &Diagram) -> f64 {
    let ended = diagram.events.iter().filter_map(|event| match event.what {
        What::Deliver(id) | What::Lose(id) => diagram.messages.get(id),
        _ => None,
    });
    let needed = ended.map(|message| {
        let lanes = float(message.from.abs_diff(message.to).max(1));
        (text_width(&message.label, LABEL_SIZE) + CLEARANCE + 10.0) / lanes
    });
    let names = diagram.lanes.iter().map(|lane| text_width(&lane.name, 13.0) + 30.0);
    needed.chain(names).fold(*LANE_SPACING.start(), f64::max).min(*LANE_SPACING.end())
}

/// Where the longest text ends.
fn right_edge(diagram: &Diagram, rows: &[Row<'_>], lane_x: &[f64]) -> f64 {
    let verdict = diagram.verdict.as_ref().map_or("", |verdict| &verdict.text);
    let across = [(diagram.title.as_str(), 17.0), (&diagram.caption, 12.0), (verdict, 15.0)];
    let across = across.into_iter().map(|(text, size)| MARGIN + text_width(text, size));
    let beside = rows.iter().map(|Row { event, .. }| {
        let note = if event.step > 0 { text_width(&cut(&event.note, NOTE_ROOM), NOTE_SIZE) } else { 0.0 };
        let own = text_width(own_label(event), LABEL_SIZE) + 60.0;
        lane_x.get(event.lane).copied().unwrap_or_default() + BESIDE + note.max(own)
    });
    across.chain(beside).fold(0.0, f64::max)
}

/// The text that stands beside the mark of an event.
fn own_label(event: &Event) -> &str {
    match &event.what {
        What::Timeout(text) | What::Choose(text) => text,
        What::Restart => "restarts from disk",
        _ => "",
    }
}

fn groups(diagram: &Diagram) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut roles: Vec<&str> = Vec::new();
    for (lane, Lane { role, .. }) in diagram.lanes.iter().enumerate() {
        let colour = roles.iter().position(|known| known == role).unwrap_or_else(|| {
            roles.push(role);
            roles.len() - 1
        });
        match groups.last_mut() {
            Some(last) if last.role == role => last.lanes.end = lane + 1,
            _ => groups.push(Group { role, colour, lanes: lane..lane + 1 }),
        }
    }
    groups
}

/// Starts at the beginning share a row; then one row for each event, with room for the banner where it falls.
fn rows(diagram: &Diagram) -> (Vec<Row<'_>>, Option<Banner<'_>>, f64) {
    let (mut rows, mut banner, mut last) = (Vec::new(), None, 0);
    let mut y = HEADER_TOP + HEADER_HEIGHT + ROW * 0.55;
    for (index, event) in diagram.events.iter().enumerate() {
        if event.step > 0 || event.what != What::Start {
            y += ROW;
        }
        let number = (event.step != last).then_some(event.step);
        last = event.step;
        rows.push(Row { event, number, y });
        if let Some(verdict) = diagram.verdict.as_ref().filter(|verdict| verdict.after == index + 1) {
            banner = Some(Banner { verdict, y: y + ROW * 0.5, height: BANNER_HEIGHT });
            y += BANNER_HEIGHT + ROW * 0.25;
        }
    }
    if let (None, Some(verdict)) = (&banner, &diagram.verdict) {
        banner = Some(Banner { verdict, y: y + ROW * 0.5, height: BANNER_HEIGHT });
        y += BANNER_HEIGHT + ROW * 0.25;
    }
    (rows, banner, y + ROW * 0.6)
}

fn outages(diagram: &Diagram, rows: &[Row<'_>], bottom: f64) -> Vec<Outage> {
    let mut down: Vec<Option<f64>> = vec![None; diagram.lanes.len()];
    let mut outages = Vec::new();
    for Row { event, y, .. } in rows {
        let Some(since) = down.get_mut(event.lane) else { continue };
        match event.what {
            What::Crash => *since = Some(*y),
            What::Start | What::Restart => {
                outages.extend(since.take().map(|from| Outage { lane: event.lane, from, to: *y }));
            }
            _ => {}
        }
    }
    let open = down.into_iter().enumerate().filter_map(|(lane, since)| Some((lane, since?)));
    outages.extend(open.map(|(lane, from)| Outage { lane, from, to: bottom }));
    outages
}

/// At most two lines that fit; what does not fit is cut, and stays in the tooltip.
fn broken(label: &str, room: f64) -> Vec<String> {
    if text_width(label, LABEL_SIZE) <= room {
        return vec![label.to_owned()];
    }
    let widest =
        |at: usize| text_width(&label[..at], LABEL_SIZE).max(text_width(&label[at + 1..], LABEL_SIZE));
    let spaces = label.match_indices(' ').map(|(at, _)| at);
    match spaces.min_by(|&a, &b| widest(a).total_cmp(&widest(b))) {
        Some(at) => vec![cut(&label[..at], room), cut(&label[at + 1..], room)],
        None => vec![cut(label, room)],
    }
}

/// The text, or as much of it as fits with an ellipsis.
pub(super) fn cut(text: &str, room: f64) -> String {
    if text_width(text, LABEL_SIZE) <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    for character in text.chars() {
        kept.push(character);
        if text_width(&kept, LABEL_SIZE) + 9.0 > room {
            break;
        }
    }
    kept.push('…');
    kept
}

/// The width of a text in pixels: an upper estimate for common sans-serif fonts, since no font can be asked.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    let width = |character: char| match character {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '|' | '\'' | '!' => 0.33,
        ' ' | 'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '/' | '-' => 0.42,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.95,
        'A'..='Z' | '=' | '+' | '<' | '>' | '→' => 0.74,
        _ if character.is_ascii() => 0.62,
        _ => 1.0,
    };
    text.chars().map(width).sum::<f64>() * size
}

/// Counts in a drawing or a figure are small.
pub(crate) fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
