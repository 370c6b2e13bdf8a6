//! Small drawings for the docs: SVG, both axes logarithmic.

use std::fmt::Write as _;
use std::path::Path;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 240.0;
/// Left, right, above and below, for the labels.
const MARGIN: [f64; 4] = [56.0, 90.0, 28.0, 36.0];

/// A line's name and its points.
pub type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// Writes `docs/performance-NAME.svg` beside the page that `WRITE` names.
pub fn plot(name: &str, title: &str, (x_name, y_name): (&str, &str), lines: &[Line<'_>]) {
    let page = std::env::var("WRITE").unwrap_or_default();
    if !page.is_empty() {
        let path = Path::new(&page).with_file_name(format!("performance-{name}.svg"));
        std::fs::write(path, svg(title, x_name, y_name, lines)).unwrap();
    }
}

fn svg(title: &str, x_name: &str, y_name: &str, lines: &[Line<'_>]) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let [left, right, above, below] = MARGIN;
    let across = Axis::new(points().map(|point| point.0), left, WIDTH - right, false);
    let up = Axis::new(points().map(|point| point.1), HEIGHT - below, above, true);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{left}\" y=\"16\" font-size=\"13\">{title}</text>\n"
    );
    let (bottom, end) = (HEIGHT - below, WIDTH - right);
    for value in up.ticks() {
        let y = up.at(value);
        let _ = writeln!(
            out,
            "<path d=\"M{left} {y:.1}H{end}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            y + 4.0,
            short(value)
        );
    }
    let mut labelled: Vec<f64> = points().map(|point| point.0).collect();
    labelled.sort_by(f64::total_cmp);
    labelled.dedup();
    for value in labelled {
        let x = across.at(value);
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            short(value)
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{end}\" y=\"{:.1}\" text-anchor=\"end\">{x_name}</text><text x=\"6\" y=\"{:.1}\">{y_name}</text>",
        HEIGHT - 4.0,
        above - 11.0
    );
    for ((name, points), colour) in
        lines.iter().zip(["#1f5fa8", "#b3471c", "#3c7d3c", "#6b4fa0"].iter().cycle())
    {
        let path: Vec<_> =
            points.iter().map(|(x, y)| format!("{:.1} {:.1}", across.at(*x), up.at(*y))).collect();
        let _ = writeln!(
            out,
            "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join("L")
        );
        let last = points.last().map_or(bottom, |(_, y)| up.at(*y));
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
            end + 6.0,
            last + 4.0
        );
    }
    out + "</svg>\n"
}

/// Maps values to coordinates.
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, from: f64, to: f64, decades: bool) -> Self {
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        for value in values {
            (low, high) = (low.min(value.log10()), high.max(value.log10()));
        }
        if decades {
            (low, high) = (low.floor(), high.ceil());
        }
        Self { low, high, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value.log10() - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Its powers of ten.
    fn ticks(&self) -> impl Iterator<Item = f64> {
        let powers = std::iter::successors(Some(self.low), |power| Some(power + 1.0));
        powers.take_while(|power| *power <= self.high).map(|power| 10_f64.powf(power))
    }
}

fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{} M", value / 1e6),
        1e4.. => format!("{} k", value / 1e3),
        _ => format!("{value}"),
    }
}
