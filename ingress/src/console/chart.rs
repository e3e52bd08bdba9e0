//! Charts as SVG, drawn here; the table behind each has the same numbers.

use askama::Template;

/// Width and height of the drawing area.
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 44.0;
const TOP: f64 = 10.0;
/// Labels below.
const LABELS: usize = 6;

/// A line of a chart: its name, its class, its values.
pub(super) struct Series {
    /// Its name.
    pub(super) name: String,
    /// How it is drawn: a, b or c.
    pub(super) class: &'static str,
    /// One value for each step; none where nothing was counted.
    pub(super) values: Vec<Option<f64>>,
}

/// A drawn line.
pub(super) struct Line {
    name: String,
    class: &'static str,
    /// Stretches without a gap.
    stretches: Vec<String>,
    /// Where its name stands in the legend.
    legend_x: f64,
}

/// A chart of lines over time.
#[derive(Template)]
#[template(path = "console/chart.html")]
pub(super) struct Chart {
    id: &'static str,
    title: String,
    width: f64,
    height: f64,
    lines: Vec<Line>,
    /// Position and text.
    x_labels: Vec<(f64, String)>,
    y_labels: Vec<(f64, String)>,
    left: f64,
    right: f64,
    heads: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
}

impl Chart {
    /// A chart of `series` over the steps with these labels.
    pub(super) fn new(
        id: &'static str,
        title: String,
        steps: &[String],
        series: Vec<Series>,
    ) -> Self {
        let most = series.iter().flat_map(|one| &one.values).flatten().copied().fold(0.0, f64::max);
        let top = nice(most);
        let last = steps.len().saturating_sub(1).max(1) as f64;
        let x = |step: usize| LEFT + step as f64 / last * (WIDTH - LEFT);
        let y = |value: f64| TOP + (1.0 - value / top) * HEIGHT;
        let every = steps.len().div_ceil(LABELS).max(1);
        let x_labels = steps.iter().enumerate().filter(|(step, _)| step % every == 0);
        let rows = steps.iter().enumerate().map(|(step, label)| {
            let value = |one: &Series| one.values.get(step).copied().flatten();
            let cell = |one: &Series| value(one).map_or_else(|| "–".to_owned(), plain);
            (label.clone(), series.iter().map(cell).collect())
        });
        Self {
            id,
            title,
            width: WIDTH + 10.0,
            height: TOP + HEIGHT + 44.0,
            left: LEFT,
            right: WIDTH,
            x_labels: x_labels.map(|(step, label)| (x(step).round(), label.clone())).collect(),
            y_labels: [0.0, top / 2.0, top].map(|value| (y(value).round(), plain(value))).to_vec(),
            heads: series.iter().map(|one| one.name.clone()).collect(),
            rows: rows.rev().collect(),
            lines: series
                .iter()
                .enumerate()
                .map(|(place, one)| Line {
                    name: one.name.clone(),
                    class: one.class,
                    stretches: stretches(&one.values, x, y),
                    legend_x: LEFT + place as f64 * 160.0,
                })
                .collect(),
        }
    }
}

/// The points of each stretch without a gap.
fn stretches(
    values: &[Option<f64>],
    x: impl Fn(usize) -> f64,
    y: impl Fn(f64) -> f64,
) -> Vec<String> {
    let mut stretches: Vec<String> = Vec::new();
    let mut open = false;
    for (step, value) in values.iter().enumerate() {
        let Some(value) = value else {
            open = false;
            continue;
        };
        let point = format!("{:.1},{:.1}", x(step), y(*value));
        match stretches.last_mut().filter(|_| open) {
            Some(stretch) => {
                stretch.push(' ');
                stretch.push_str(&point);
            }
            // A lone point is a line of no length, which round ends make a dot.
            None => stretches.push(format!("{point} {point}")),
        }
        open = true;
    }
    stretches
}

/// A round number at or above the largest value.
fn nice(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|top| *top >= most).unwrap_or(most)
}

/// A number without needless digits.
fn plain(value: f64) -> String {
    if value == value.round() || value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers_above_the_values() {
        for (most, top) in [(0.0, 1.0), (0.3, 0.5), (7.0, 10.0), (11.0, 20.0), (100.0, 100.0)] {
            assert!((nice(most) - top).abs() < 1e-9, "{most}: {}", nice(most));
        }
        assert_eq!([plain(3.0), plain(0.25), plain(123.4)], ["3", "0.25", "123"]);
    }

    #[test]
    fn a_gap_is_not_drawn_over_and_the_table_has_every_number() {
        let values = vec![Some(1.0), Some(2.0), None, Some(4.0)];
        let series = Series { name: "accepted".to_owned(), class: "a", values };
        let steps = ["a", "b", "c", "d"].map(str::to_owned);
        let chart = Chart::new("x", "Jobs".to_owned(), &steps, vec![series]);
        assert_eq!(chart.lines[0].stretches.len(), 2, "{:?}", chart.lines[0].stretches);
        let svg = chart.render().unwrap();
        assert!(svg.contains("<td class=\"number\">–</td>") && svg.contains("polyline"), "{svg}");
    }
}
