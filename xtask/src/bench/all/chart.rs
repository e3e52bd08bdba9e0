//! Bar charts as SVG. The tables beside them have the same numbers.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
/// Where the bars begin; the names stand before.
const LEFT: f64 = 290.0;
/// Room for a value behind the longest bar.
const RIGHT: f64 = 90.0;
const TOP: f64 = 40.0;
const STEP: f64 = 26.0;
const BAR: f64 = 16.0;

/// A bar.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    /// Its name.
    pub(super) name: String,
    /// Its length.
    pub(super) value: f64,
    /// Its value in words.
    pub(super) shown: String,
    /// Whether it is ours.
    pub(super) ours: bool,
}

/// A chart of horizontal bars.
pub(super) fn bars(title: &str, bars: &[Bar]) -> String {
    let height = TOP + STEP * bars.len() as f64 + 10.0;
    let longest = bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let title = escaped(title);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"{title}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"6\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"24\" font-weight=\"600\" fill=\"#1f2933\">{title}</text>\n"
    );
    for (number, bar) in bars.iter().enumerate() {
        let share = if longest > 0.0 { bar.value / longest } else { 0.0 };
        let (y, length) = (TOP + STEP * number as f64, share * (WIDTH - LEFT - RIGHT));
        let colour = if bar.ours { "#0b7a75" } else { "#9aa5b1" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#1f2933\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\" \
             fill=\"{colour}\"/>\n\
             <text x=\"{:.1}\" y=\"{}\" fill=\"#1f2933\">{}</text>",
            LEFT - 10.0,
            y + BAR - 3.0,
            escaped(&bar.name),
            LEFT + length + 6.0,
            y + BAR - 3.0,
            escaped(&bar.shown),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, value: f64, ours: bool) -> Bar {
        Bar { name: name.to_owned(), value, shown: value.to_string(), ours }
    }

    #[test]
    fn the_longest_bar_fills_the_room_and_the_others_follow() {
        let svg = bars("a < b", &[bar("x & y", 50.0, true), bar("z", 200.0, false)]);
        let room = WIDTH - LEFT - RIGHT;
        assert!(svg.contains(&format!("width=\"{room:.1}\"")), "{svg}");
        assert!(svg.contains(&format!("width=\"{:.1}\"", room / 4.0)), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.contains("x &amp; y"), "{svg}");
    }

    #[test]
    fn nothing_measured_is_no_length() {
        assert!(bars("t", &[bar("x", 0.0, true)]).contains("width=\"0.0\""));
    }
}
