//! Pictures of a report as SVG, which take the colours of the page.
//!
//! What must stay true: a picture has a title that says in words what it shows; any finite numbers make
//! a picture inside its frame.

use std::fmt::Write as _;

use super::cells::Cell;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
/// Room for the words at the left, the right, the top and the bottom.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;
/// Steps between two lines of the grid.
const STEPS: usize = 4;

/// A line: points by x, and the class of the page's style that it has.
pub(super) struct Line {
    pub(super) style: &'static str,
    pub(super) points: Vec<(f64, f64)>,
    /// Whether each point is marked.
    pub(super) is_marked: bool,
}

/// What a chart is of.
pub(super) struct Chart<'a> {
    /// In words, for whoever does not see it.
    pub(super) title: &'a str,
    pub(super) lines: Vec<Line>,
    /// The ends of the axes.
    pub(super) x: (f64, f64),
    pub(super) y: (f64, f64),
    /// A number of the axis as a word.
    pub(super) x_word: &'a dyn Fn(f64) -> String,
    pub(super) y_word: &'a dyn Fn(f64) -> String,
}

impl Chart<'_> {
    /// The chart as SVG.
    pub(super) fn svg(&self) -> String {
        let mut svg = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{}</title>",
            Cell::of(self.title).html()
        );
        for step in 0..=STEPS {
            let share = step as f64 / STEPS as f64;
            let (y, at) = (y_at(share), self.y.0 + share * (self.y.1 - self.y.0));
            let word = Cell::of((self.y_word)(at)).html();
            put(
                &mut svg,
                &format!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                     <text class=\"left\" x=\"{:.1}\" y=\"{:.1}\">{word}</text>",
                    WIDTH - RIGHT,
                    LEFT - 6.0,
                    y + 4.0
                ),
            );
            let (x, at) = (x_at(share), self.x.0 + share * (self.x.1 - self.x.0));
            let word = Cell::of((self.x_word)(at)).html();
            put(
                &mut svg,
                &format!(
                    "<text class=\"below\" x=\"{x:.1}\" y=\"{:.1}\">{word}</text>",
                    HEIGHT - BOTTOM + 18.0
                ),
            );
        }
        for line in &self.lines {
            self.draw(line, &mut svg);
        }
        svg.push_str("</svg>");
        svg
    }

    fn draw(&self, line: &Line, svg: &mut String) {
        let points: Vec<(f64, f64)> = line
            .points
            .iter()
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .map(|&(x, y)| (x_at(share(x, self.x)), y_at(share(y, self.y))))
            .collect();
        let mut path = String::new();
        for (x, y) in &points {
            write!(path, "{x:.1},{y:.1} ").expect("a text takes every write");
        }
        let style = line.style;
        put(
            svg,
            &format!(
                "<polyline class=\"line {style}\" points=\"{}\"/>",
                path.trim_end()
            ),
        );
        if line.is_marked || points.len() == 1 {
            for (x, y) in &points {
                put(
                    svg,
                    &format!(
                        "<circle class=\"mark {style}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"
                    ),
                );
            }
        }
    }
}

fn x_at(share: f64) -> f64 {
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn y_at(share: f64) -> f64 {
    HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
}

/// Where a number lies between two ends: 0 to 1.
fn share(at: f64, (from, to): (f64, f64)) -> f64 {
    if to > from {
        ((at - from) / (to - from)).clamp(0.0, 1.0)
    } else {
        0.5
    }
}

fn put(svg: &mut String, element: &str) {
    svg.push_str(element);
}
