//! Plots as SVG. Values in, text out.

use std::fmt::Write;

/// A plot with a logarithmic x axis and a linear y axis from 0.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    pub x: String,
    pub y: String,
    pub curves: Vec<Curve>,
}

#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

const COLORS: [&str; 3] = ["#1a7f37", "#0969da", "#cf222e"];
const WIDTH: f64 = 340.0;
const HEIGHT: f64 = 220.0;
/// The margin around a panel, for its labels.
const MARGIN: f64 = 60.0;

/// Draws panels in two columns, below a title.
pub(crate) fn drawing(title: &str, panels: &[Panel]) -> String {
    let (across, down) = (WIDTH + 2.0 * MARGIN, HEIGHT + 2.0 * MARGIN);
    let height = down * count(panels.len().div_ceil(2));
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"16\">{title}</text>\n",
        2.0 * across
    );
    let panels = panels.iter().enumerate().map(|(number, panel)| {
        let (left, top) = (across * count(number % 2), down * count(number / 2));
        let place = format!("translate({} {})", left + MARGIN, top + MARGIN);
        format!("<g transform=\"{place}\">\n{}</g>\n", panel.text())
    });
    format!("{head}{}</svg>\n", panels.collect::<String>())
}

impl Panel {
    fn text(&self) -> String {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let first = points().map(|point| point.0).fold(f64::MAX, f64::min);
        let last = points().map(|point| point.0).fold(first * 2.0, f64::max);
        let top = round_up(points().map(|point| point.1).fold(0.0, f64::max));
        let x = |value: f64| WIDTH * (value / first).ln() / (last / first).ln();
        let y = |value: f64| HEIGHT * (1.0 - value / top);

        let mut svg = String::new();
        for quarter in 0..=4 {
            let value = top * f64::from(quarter) / 4.0;
            let at = y(value);
            writeln!(svg, "<path d=\"M0 {at:.1}H{WIDTH}\" stroke=\"#ddd\"/>").unwrap();
            svg += &label(-6.0, at + 4.0, "end", &rounded(value));
        }
        let mut marks: Vec<f64> = points().map(|point| point.0).collect();
        marks.sort_by(f64::total_cmp);
        marks.dedup();
        for mark in marks {
            svg += &label(x(mark), HEIGHT + 16.0, "middle", &mark.to_string());
        }
        svg += &label(WIDTH / 2.0, HEIGHT + 36.0, "middle", &self.x);
        svg += &label(0.0, -8.0, "start", &self.y);
        for (index, curve) in self.curves.iter().enumerate() {
            let color = COLORS[index % COLORS.len()];
            let at = |point: &(f64, f64)| format!("{:.1},{:.1}", x(point.0), y(point.1));
            let path = curve.points.iter().map(at).collect::<Vec<_>>().join(" ");
            let line = "fill=\"none\" stroke-width=\"2\"";
            writeln!(svg, "<polyline points=\"{path}\" {line} stroke=\"{color}\"/>").unwrap();
            let name = label(8.0, 16.0 * count(index) + 12.0, "start", curve.name);
            writeln!(svg, "<g fill=\"{color}\">{name}</g>").unwrap();
        }
        svg
    }
}

fn label(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}

/// Rounds away errors in the last digits.
fn rounded(value: f64) -> String {
    ((value * 1000.0).round() / 1000.0).to_string()
}

/// The next larger number whose quarters have few digits.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(0.001).log10().floor());
    let steps = [1.0, 2.0, 4.0, 8.0, 10.0];
    steps.map(|step| step * power).into_iter().find(|step| *step >= value).unwrap_or(value)
}

#[expect(clippy::cast_precision_loss)]
fn count(count: usize) -> f64 {
    count as f64
}
