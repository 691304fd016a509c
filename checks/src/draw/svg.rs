//! The text of the picture.

use super::What;
use super::layout::{
    Arrow, BESIDE, Banner, GUTTER, Group, HEADER_HEIGHT, HEADER_TOP, LABEL_SIZE, Layout, MARGIN, NOTE_ROOM,
    NOTE_SIZE, ROW, Row, Stub, cut, text_width,
};
use std::fmt::{Display, Write};

/// Line, text and background of each role, told apart by people who do not see all colours.
const ROLES: [(&str, &str, &str); 7] = [
    ("#2f6db3", "#1f4f86", "#eaf2fb"),
    ("#c8691b", "#8f4709", "#fdf1e5"),
    ("#2b8a66", "#17634a", "#e7f6f0"),
    ("#8557a8", "#613c80", "#f4edf9"),
    ("#7a7a2c", "#57571a", "#f7f7e4"),
    ("#b3476d", "#87304f", "#fcedf2"),
    ("#4d7c8a", "#335964", "#eaf3f5"),
];
const RED: &str = "#c0262d";
const GREEN: &str = "#2b8a3e";
const INK: &str = "#22303c";
const FAINT: &str = "#8795a1";

pub(super) fn render(layout: &Layout<'_>) -> String {
    let mut svg = Svg(String::with_capacity(16_384));
    let (width, height) = (layout.width, layout.bottom + HEADER_HEIGHT + 2.0 * MARGIN);
    svg.line(format_args!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\">"
    ));
    svg.line(format_args!("<title>{}</title>", Escaped(&layout.diagram.title)));
    svg.line(format_args!("<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>"));
    svg.text(MARGIN, 34.0, 17.0, INK, "start", "font-weight=\"600\"", &layout.diagram.title);
    svg.text(MARGIN, 54.0, 12.0, FAINT, "start", "", &layout.diagram.caption);
    layout.groups.iter().for_each(|group| svg.group(layout, group));
    svg.lanes(layout);
    if let Some(banner) = &layout.banner {
        svg.banner(layout, banner);
    }
    layout.stubs.iter().for_each(|stub| svg.stub(layout, stub));
    layout.arrows.iter().for_each(|arrow| svg.arrow(layout, arrow));
    layout.rows.iter().for_each(|row| svg.row(layout, row));
    layout.arrows.iter().for_each(|arrow| svg.label(arrow));
    svg.line(format_args!("</svg>"));
    svg.0
}

fn role(colour: usize) -> (&'static str, &'static str, &'static str) {
    ROLES[colour % ROLES.len()]
}

struct Svg(String);

impl Svg {
    fn line(&mut self, text: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{text}");
    }

    #[allow(clippy::too_many_arguments, reason = "the attributes of one text element")]
    fn text(&mut self, x: f64, y: f64, size: f64, fill: &str, anchor: &str, more: &str, text: &str) {
        self.line(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{fill}\" text-anchor=\"{anchor}\" {more}>{}</text>",
            Escaped(text)
        ));
    }

    /// A text that stays readable on top of lines.
    fn halo(&mut self, at: (f64, f64), size: f64, fill: &str, anchor: &str, text: &str) {
        let halo = "stroke=\"#ffffff\" stroke-width=\"4\" stroke-linejoin=\"round\" paint-order=\"stroke\"";
        self.text(at.0, at.1, size, fill, anchor, halo, text);
    }

    /// The tinted columns of a role, with its name on top.
    fn group(&mut self, layout: &Layout<'_>, group: &Group<'_>) {
        let (colour, ink, tint) = role(group.colour);
        let half = layout.lane_x.first().map_or(0.0, |first| first - MARGIN - GUTTER) - 4.0;
        let (left, right) = (layout.x(group.lanes.start) - half, layout.x(group.lanes.end - 1) + half);
        let (top, height) = (HEADER_TOP - 26.0, layout.bottom + HEADER_HEIGHT + 8.0 - HEADER_TOP + 26.0);
        self.line(format_args!(
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"8\" fill=\"{tint}\" fill-opacity=\"0.55\"/>",
            right - left
        ));
        let name = if group.lanes.len() == 1 { group.role.to_owned() } else { format!("{}s", group.role) };
        self.text(
            f64::midpoint(left, right),
            top + 17.0,
            11.0,
            ink,
            "middle",
            "letter-spacing=\"0.6\"",
            &name,
        );
        for lane in group.lanes.clone() {
            for y in [HEADER_TOP, layout.bottom] {
                self.line(format_args!(
                    "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{HEADER_HEIGHT}\" rx=\"6\" fill=\"#ffffff\" stroke=\"{colour}\" stroke-width=\"1.4\"/>",
                    layout.x(lane) - half + 6.0,
                    2.0 * half - 12.0
                ));
                let name = &layout.diagram.lanes[lane].name;
                self.text(layout.x(lane), y + 20.0, 13.0, ink, "middle", "font-weight=\"600\"", name);
            }
        }
    }

    /// The life of each node, broken where it is down.
    fn lanes(&mut self, layout: &Layout<'_>) {
        for (lane, &x) in layout.lane_x.iter().enumerate() {
            let (colour, ..) = role(layout.colour(lane));
            let (top, bottom) = (HEADER_TOP + HEADER_HEIGHT, layout.bottom);
            self.line(format_args!(
                "<line x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"{colour}\" stroke-width=\"1.6\" stroke-opacity=\"0.55\"/>"
            ));
        }
        for outage in &layout.outages {
            let x = layout.x(outage.lane);
            self.line(format_args!(
                "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#ffffff\" stroke-width=\"4\"/>\
                 <line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"{RED}\" stroke-width=\"1.4\" stroke-dasharray=\"2 5\"/>",
                outage.from, outage.to, outage.from, outage.to
            ));
        }
    }

    fn banner(&mut self, layout: &Layout<'_>, banner: &Banner<'_>) {
        let (line, fill) = if banner.verdict.violated { (RED, "#fdeaea") } else { (GREEN, "#e9f7ec") };
        self.line(format_args!(
            "<rect x=\"{MARGIN}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{}\" rx=\"6\" fill=\"{fill}\" stroke=\"{line}\" stroke-width=\"1.6\"/>",
            banner.y,
            layout.width - 2.0 * MARGIN,
            banner.height
        ));
        let (x, y) = (layout.width / 2.0, banner.y + banner.height / 2.0 + 5.0);
        self.text(x, y, 14.5, line, "middle", "font-weight=\"600\"", &banner.verdict.text);
    }

    /// A message under way: only its direction is drawn, so that what was delivered stands out.
    fn stub(&mut self, layout: &Layout<'_>, stub: &Stub<'_>) {
        let (x, y) = stub.from;
        let side = if stub.towards >= x { 1.0 } else { -1.0 };
        let (end, low) = (x + side * 24.0, y + 12.0);
        let (colour, ..) = role(layout.colour(stub.message.from));
        self.line(format_args!(
            "<g stroke=\"{colour}\" stroke-opacity=\"0.5\" fill=\"none\" stroke-width=\"1.2\"><title>still under way to {}: {}</title>\
             <path d=\"M{x:.1} {y:.1} L{end:.1} {low:.1} m{:.1} -5.5 L{end:.1} {low:.1} l{:.1} 1.5\" stroke-dasharray=\"none\"/></g>",
            Escaped(layout.diagram.lanes.get(stub.message.to).map_or("", |lane| &lane.name)),
            Escaped(&stub.message.label),
            -side * 4.0,
            -side * 6.5
        ));
    }

    fn arrow(&mut self, layout: &Layout<'_>, arrow: &Arrow<'_>) {
        let (colour, ..) = role(layout.colour(arrow.message.from));
        let colour = if arrow.lost { RED } else { colour };
        let (x, y) = arrow.from;
        let (to, end) = arrow.to;
        let side = if to >= arrow.elbow { 1.0 } else { -1.0 };
        let dash = if arrow.lost || arrow.again { " stroke-dasharray=\"5 3\"" } else { "" };
        self.line(format_args!(
            "<g fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"><title>{}</title>",
            Escaped(&arrow.message.label)
        ));
        if arrow.message.from == arrow.message.to {
            self.line(format_args!(
                "<path d=\"M{x:.1} {y:.1} C{:.1} {y:.1} {:.1} {end:.1} {:.1} {end:.1}\"{dash}/>",
                x + 40.0,
                x + 40.0,
                x + 9.0
            ));
            self.head(x + 6.0, end, -1.0, colour);
        } else {
            let tip = to - side * if arrow.lost { 0.0 } else { 9.0 };
            self.line(format_args!(
                "<path d=\"M{x:.1} {y:.1} L{:.1} {end:.1} L{tip:.1} {end:.1}\" stroke-linejoin=\"round\"{dash}/>",
                arrow.elbow
            ));
            if arrow.lost {
                self.line(format_args!(
                    "<path d=\"M{:.1} {:.1} l10 10 m0 -10 l-10 10\" stroke-width=\"2.2\"/>",
                    to - 5.0,
                    end - 5.0
                ));
            } else {
                self.head(to - side * 6.0, end, side, colour);
            }
        }
        self.line(format_args!("</g>"));
    }

    /// An arrow head whose tip is at `x`.
    fn head(&mut self, x: f64, y: f64, side: f64, colour: &str) {
        self.line(format_args!(
            "<path d=\"M{x:.1} {y:.1} l{:.1} -4.2 l0 8.4 z\" fill=\"{colour}\" stroke=\"none\"/>",
            -side * 9.0
        ));
    }

    /// The label of an arrow, above its horizontal piece; a second line stands below.
    fn label(&mut self, arrow: &Arrow<'_>) {
        let (to, end) = arrow.to;
        let itself = arrow.message.from == arrow.message.to;
        let side = if to >= arrow.elbow { 1.0 } else { -1.0 };
        let (x, anchor) = match (itself, side > 0.0) {
            (true, _) => (to + 46.0, "start"),
            (false, true) => (to - 17.0, "end"),
            (false, false) => (to + 17.0, "start"),
        };
        let ink = if arrow.lost { RED } else { INK };
        for (line, y) in arrow.lines.iter().zip([end - 5.5, end + LABEL_SIZE + 2.0]) {
            self.halo((x, y), LABEL_SIZE, ink, anchor, line);
        }
        if arrow.lost {
            self.halo(
                (to + side * 12.0, end + 4.0),
                LABEL_SIZE,
                RED,
                if side > 0.0 { "start" } else { "end" },
                "lost",
            );
        }
    }

    /// The number of a step and the mark of what happened.
    fn row(&mut self, layout: &Layout<'_>, row: &Row<'_>) {
        let (x, y) = (layout.x(row.event.lane), row.y);
        if let Some(number) = row.number {
            let right = layout.width - MARGIN;
            self.line(format_args!(
                "<line x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{right:.1}\" y2=\"{y:.1}\" stroke=\"#000000\" stroke-opacity=\"0.045\"/>",
                MARGIN + 24.0
            ));
            self.text(MARGIN + 16.0, y + 4.0, 11.5, FAINT, "end", "", &number.to_string());
        }
        let (colour, ink, _) = role(layout.colour(row.event.lane));
        let mut side = 1.0;
        match &row.event.what {
            What::Start => self.dot(x, y, "#ffffff", colour),
            What::Deliver(id) => {
                self.dot(x, y, colour, colour);
                let from = layout.diagram.messages.get(*id).map_or(0, |message| message.from);
                side = if layout.x(from) > x || from == row.event.lane { -1.0 } else { 1.0 };
            }
            What::Lose(_) => {}
            What::Timeout(name) => {
                self.clock(x, y, ink);
                self.halo((x + BESIDE, y - 4.5), LABEL_SIZE, ink, "start", &format!("timeout: {name}"));
            }
            What::Choose(choice) => {
                self.line(format_args!(
                    "<path d=\"M{x:.1} {:.1} l8 8 l-8 8 l-8 -8 z\" fill=\"#ffffff\" stroke=\"{ink}\" stroke-width=\"1.6\"/>",
                    y - 8.0
                ));
                self.halo((x + BESIDE, y - 4.5), LABEL_SIZE, ink, "start", &format!("chooses {choice}"));
            }
            What::Crash => {
                self.line(format_args!(
                    "<path d=\"M{:.1} {:.1} l14 14 m0 -14 l-14 14\" stroke=\"{RED}\" stroke-width=\"3\" fill=\"none\"/>",
                    x - 7.0,
                    y - 7.0
                ));
                self.halo((x + BESIDE, y - 4.5), LABEL_SIZE, RED, "start", "crashes");
            }
            What::Restart => {
                self.dot(x, y, "#ffffff", GREEN);
                self.halo((x + BESIDE, y - 4.5), LABEL_SIZE, GREEN, "start", "restarts from disk");
            }
            What::Remark(text) => self.halo((layout.width / 2.0, y + 4.0), LABEL_SIZE, INK, "middle", text),
        }
        self.note(layout, row, side);
    }

    /// What changed in the node: beside the mark where the arrow does not come from, or else below the arrow.
    fn note(&mut self, layout: &Layout<'_>, row: &Row<'_>, side: f64) {
        if row.event.note.is_empty() || row.event.step == 0 {
            return;
        }
        let x = layout.x(row.event.lane);
        let note = cut(&row.event.note, NOTE_ROOM);
        let fits_left = x - BESIDE - text_width(&note, NOTE_SIZE) > MARGIN + 20.0;
        let (x, anchor) = if side < 0.0 && fits_left { (x - BESIDE, "end") } else { (x + BESIDE, "start") };
        let (_, ink, _) = role(layout.colour(row.event.lane));
        self.halo((x, row.y + 0.3 * ROW), NOTE_SIZE, ink, anchor, &note);
    }

    fn dot(&mut self, x: f64, y: f64, fill: &str, stroke: &str) {
        self.line(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"2\"/>"
        ));
    }

    fn clock(&mut self, x: f64, y: f64, ink: &str) {
        self.line(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"8\" fill=\"#ffffff\" stroke=\"{ink}\" stroke-width=\"1.6\"/>\
             <path d=\"M{x:.1} {y:.1} l0 -5 m0 5 l3.5 2.5\" stroke=\"{ink}\" stroke-width=\"1.5\" fill=\"none\"/>"
        ));
    }
}

/// Text that may hold anything, as SVG text or attribute.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                control if control.is_control() => f.write_char(' ')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
