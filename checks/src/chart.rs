//! Charts as SVG text: lines over two axes, and stacked bars. Text stays text, colours differ in lightness too.

use std::fmt::{Display, Write};

/// Line colours told apart by people who do not see all colours (Okabe and Ito).
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#333333"];
const INK: &str = "#22303c";
const FAINT: &str = "#8795a1";
const GRID: &str = "#e4e8ec";
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 76.0;
const BOTTOM: f64 = 56.0;
/// Room for the legend on the right.
const LEGEND: f64 = 170.0;

/// What is written around a chart.
pub(crate) struct Frame<'a> {
    pub(crate) title: &'a str,
    pub(crate) subtitle: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
}

/// A line.
pub(crate) struct Line {
    pub(crate) name: String,
    /// One that is not a number interrupts the line.
    pub(crate) points: Vec<(f64, f64)>,
    /// Drawn thick and in ink: the line that matters most.
    pub(crate) strong: bool,
    pub(crate) dashed: bool,
    pub(crate) markers: bool,
    /// Drawn in the colour of this line, counted from the first.
    pub(crate) like: Option<usize>,
}

/// A moment of which a timeline tells.
pub(crate) struct Mark<'a> {
    pub(crate) x: f64,
    /// None if empty.
    pub(crate) label: &'a str,
}

/// A bar of segments from the bottom up.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) segments: Vec<Segment>,
    /// A mark at this height, if any.
    pub(crate) limit: Option<f64>,
}

pub(crate) struct Segment {
    pub(crate) height: f64,
    pub(crate) label: String,
    pub(crate) color: String,
    /// The colour of the label, which stands on the other.
    pub(crate) ink: &'static str,
}

/// A shade of red or blue, `at` between 0 (dark) and 1 (light), and the colour of text on it.
pub(crate) fn shade(red: bool, at: f64) -> (String, &'static str) {
    let (dark, light) = if red {
        ([165.0, 15.0, 21.0], [252.0, 174.0, 145.0])
    } else {
        ([8.0, 81.0, 156.0], [158.0, 202.0, 225.0])
    };
    let mix = |i: usize| dark[i] + (light[i] - dark[i]) * at;
    let ink = if at < 0.6 { "#ffffff" } else { INK };
    (format!("rgb({:.0},{:.0},{:.0})", mix(0), mix(1), mix(2)), ink)
}

/// Lines over linear axes.
pub(crate) fn lines(frame: &Frame<'_>, lines: &[Line]) -> String {
    timeline(frame, lines, &[])
}

/// Lines over linear axes, with moments marked.
pub(crate) fn timeline(frame: &Frame<'_>, lines: &[Line], marks: &[Mark<'_>]) -> String {
    let is_there = |(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
    let all = || lines.iter().flat_map(|line| &line.points).filter(|point| is_there(point));
    let bounds = |values: Vec<f64>| {
        values
            .into_iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let x = Axis::new(bounds(all().map(|(x, _)| *x).collect()), LEFT, WIDTH - RIGHT - LEGEND);
    let (_, high) = bounds(all().map(|(_, y)| *y).collect());
    let y = Axis::new((0.0, high), HEIGHT - BOTTOM, TOP);
    let mut svg = Svg::new(frame, WIDTH - RIGHT - LEGEND);
    svg.y_axis(&y, WIDTH - RIGHT - LEGEND);
    svg.x_axis(&x);
    for mark in marks {
        svg.mark(x.at(mark.x), mark.label);
    }
    for (i, line) in lines.iter().enumerate() {
        let hue = line.like.unwrap_or(i);
        let color = if line.strong { INK } else { COLORS[hue % COLORS.len()] };
        let width = if line.strong { 3.0 } else { 1.8 };
        let dash = if line.dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        let at = |&(px, py): &(f64, f64)| (x.at(px), y.at(py));
        for run in line.points.split(|point| !is_there(point)).filter(|run| run.len() > 1) {
            let path: Vec<String> = run.iter().map(at).map(|(px, py)| format!("{px:.1},{py:.1}")).collect();
            svg.line(format_args!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\"{dash}/>",
                path.join(" ")
            ));
        }
        // Eight steps, so that a number of points which they divide ends with a marker.
        let every = (line.points.len().saturating_sub(1) / 8).max(1);
        let marked = line.points.iter().step_by(every).filter(|point| line.markers && is_there(point));
        for (px, py) in marked.map(at) {
            svg.line(format_args!("<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3.2\" fill=\"{color}\"/>"));
        }
        svg.legend(i, &line.name, &format!("stroke=\"{color}\" stroke-width=\"{width}\"{dash}"));
    }
    svg.finish()
}

/// Stacked bars.
pub(crate) fn bars(frame: &Frame<'_>, bars: &[Bar]) -> String {
    let heights = bars.iter().map(|bar| {
        bar.segments.iter().map(|segment| segment.height).sum::<f64>().max(bar.limit.unwrap_or(0.0))
    });
    let y = Axis::new((0.0, heights.fold(0.0, f64::max)), HEIGHT - BOTTOM, TOP);
    let mut svg = Svg::new(frame, WIDTH - RIGHT);
    svg.y_axis(&y, WIDTH - RIGHT);
    let slot = (WIDTH - RIGHT - LEFT) / f64::from(u32::try_from(bars.len().max(1)).unwrap_or(u32::MAX));
    let width = (slot * 0.72).min(96.0);
    let mut center = LEFT + slot / 2.0;
    for bar in bars {
        let mut base = 0.0;
        for segment in &bar.segments {
            let (low, high) = (y.at(base), y.at(base + segment.height));
            base += segment.height;
            svg.line(format_args!(
                "<rect x=\"{:.1}\" y=\"{high:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\" stroke=\"#ffffff\" stroke-width=\"0.8\"><title>{}: {:.6}</title></rect>",
                center - width / 2.0, low - high, segment.color, Escaped(&segment.label), segment.height
            ));
            // Seven units per letter; a label that does not fit stays in the title.
            let fits =
                f64::from(u32::try_from(segment.label.chars().count()).unwrap_or(u32::MAX)) * 6.2 < width;
            if low - high >= 13.0 && fits {
                let middle = (center, f64::midpoint(low, high) + 3.8);
                svg.text(middle, 11.0, segment.ink, "middle", "", &segment.label);
            }
        }
        if let Some(limit) = bar.limit {
            let at = y.at(limit);
            svg.line(format_args!(
                "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"{INK}\" stroke-width=\"2\"/>",
                center - width / 2.0 - 4.0, center + width / 2.0 + 4.0
            ));
        }
        svg.text((center, HEIGHT - BOTTOM + 18.0), 12.0, INK, "middle", "", &bar.name);
        center += slot;
    }
    svg.finish()
}

/// A linear scale with round ticks.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    step: f64,
}

impl Axis {
    fn new((low, high): (f64, f64), from: f64, to: f64) -> Self {
        let (low, high) = if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) };
        let high = if high > low { high } else { low + low.abs().max(1e-12) };
        let rough = (high - low) / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .into_iter()
            .map(|m| m * power)
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let (low, high) = ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step);
        Self { low, high, from, to, step }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = ((self.high - self.low) / self.step).round().clamp(0.0, 50.0);
        (0..=50_u32).map(f64::from).take_while(move |i| *i <= count).map(|i| self.low + i * self.step)
    }

    fn label(&self, value: f64) -> String {
        if value.abs() < self.step * 1e-6 {
            return "0".into();
        }
        if !(1e-4..1e7).contains(&self.step) {
            let text = format!("{value:.2e}");
            let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
            return format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.'));
        }
        let decimals = (0..8).find(|&places| {
            let scaled = self.step * 10_f64.powi(places);
            (scaled - scaled.round()).abs() < 1e-6 * scaled
        });
        format!("{value:.*}", usize::try_from(decimals.unwrap_or(8)).unwrap_or(8))
    }
}

struct Svg(String);

impl Svg {
    /// `right` is where the axes end.
    fn new(frame: &Frame<'_>, right: f64) -> Self {
        let mut svg = Self(String::with_capacity(8192));
        svg.line(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\">"
        ));
        svg.line(format_args!("<title>{}</title>", Escaped(frame.title)));
        svg.line("<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>");
        svg.text((LEFT, 30.0), 17.0, INK, "start", "font-weight=\"600\"", frame.title);
        svg.text((LEFT, 50.0), 12.0, FAINT, "start", "", frame.subtitle);
        svg.text((f64::midpoint(LEFT, right), HEIGHT - 12.0), 12.0, INK, "middle", "", frame.x);
        let middle = f64::midpoint(TOP, HEIGHT - BOTTOM);
        svg.text(
            (0.0, 0.0),
            12.0,
            INK,
            "middle",
            &format!("transform=\"translate(20 {middle}) rotate(-90)\""),
            frame.y,
        );
        svg
    }

    fn finish(mut self) -> String {
        self.0.push_str("</svg>\n");
        self.0
    }

    fn line(&mut self, text: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{text}");
    }

    fn text(&mut self, (x, y): (f64, f64), size: f64, fill: &str, anchor: &str, more: &str, text: &str) {
        self.line(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{fill}\" text-anchor=\"{anchor}\" {more}>{}</text>",
            Escaped(text)
        ));
    }

    fn y_axis(&mut self, axis: &Axis, right: f64) {
        for tick in axis.ticks() {
            let y = axis.at(tick);
            self.line(format_args!(
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{GRID}\"/>"
            ));
            self.text((LEFT - 8.0, y + 4.0), 11.0, FAINT, "end", "", &axis.label(tick));
        }
    }

    fn x_axis(&mut self, axis: &Axis) {
        let bottom = HEIGHT - BOTTOM;
        for tick in axis.ticks() {
            let x = axis.at(tick);
            self.line(format_args!(
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{:.1}\" stroke=\"{FAINT}\"/>",
                bottom + 5.0
            ));
            self.text((x, bottom + 18.0), 11.0, FAINT, "middle", "", &axis.label(tick));
        }
    }

    /// A moment that has a name is drawn in ink.
    fn mark(&mut self, x: f64, label: &str) {
        let color = if label.is_empty() { FAINT } else { INK };
        self.line(format_args!(
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\" stroke=\"{color}\" stroke-width=\"0.8\" stroke-dasharray=\"2 3\"/>",
            HEIGHT - BOTTOM
        ));
        self.text((x, TOP - 6.0), 10.0, INK, "middle", "", label);
    }

    fn legend(&mut self, row: usize, name: &str, stroke: &str) {
        let y = TOP + 8.0 + 20.0 * f64::from(u32::try_from(row).unwrap_or(u32::MAX));
        let x = WIDTH - RIGHT - LEGEND + 16.0;
        self.line(format_args!(
            "<line x1=\"{x}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" {stroke}/>",
            x + 24.0
        ));
        let cut: String = if name.chars().count() > 23 {
            name.chars().take(22).chain(['…']).collect()
        } else {
            name.into()
        };
        self.text((x + 31.0, y + 4.0), 11.5, INK, "start", "", &cut);
    }
}

/// Text with the characters replaced that mean something in SVG.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                c if c.is_control() => f.write_char(' ')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        let axis = Axis::new((0.0, 0.87), 0.0, 100.0);
        let labels: Vec<String> = axis.ticks().map(|tick| axis.label(tick)).collect();
        assert_eq!(labels, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        let axis = Axis::new((0.0, 4200.0), 0.0, 100.0);
        assert_eq!(axis.ticks().map(|tick| axis.label(tick)).collect::<Vec<_>>().last().unwrap(), "5000");
        let axis = Axis::new((0.0, 2.4e-4), 0.0, 100.0);
        let labels: Vec<String> = axis.ticks().map(|tick| axis.label(tick)).collect();
        assert_eq!(labels, ["0", "5e-5", "1e-4", "1.5e-4", "2e-4", "2.5e-4"]);
        assert!(Axis::new((f64::INFINITY, f64::NEG_INFINITY), 0.0, 1.0).at(0.5).is_finite());
    }

    #[test]
    fn names_cannot_break_the_picture() {
        let frame = Frame { title: "<a & b>", subtitle: "", x: "", y: "" };
        let svg = bars(&frame, &[Bar { name: "\"x\"".into(), segments: Vec::new(), limit: None }]);
        assert!(svg.contains("&lt;a &amp; b&gt;") && svg.contains("&quot;x&quot;") && !svg.contains("NaN"));
    }
}
