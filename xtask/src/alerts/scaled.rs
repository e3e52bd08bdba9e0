//! The files of `deploy/monitoring` with all windows and waiting times divided,
//! for a run that cannot wait for an hour. Nothing else is changed.

use std::fmt::Write as _;

/// Fields whose value is a time to wait.
const FIELDS: [&str; 6] =
    ["for", "interval", "keep_firing_for", "group_wait", "group_interval", "repeat_interval"];

/// `text` with every range such as `[5m]` and every waiting time divided by `factor`.
pub(super) fn scaled(text: &str, factor: u32) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let _ = writeln!(out, "{}", fields(&windows(line, factor), factor));
    }
    out
}

/// Divides the windows of range selectors. Other text in brackets is not a duration.
fn windows(line: &str, factor: u32) -> String {
    let mut parts = line.split('[');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push('[');
        match part.split_once(']') {
            Some((inside, rest)) => {
                let divided = divided(inside, factor);
                out.push_str(divided.as_deref().unwrap_or(inside));
                out.push(']');
                out.push_str(rest);
            }
            None => out.push_str(part),
        }
    }
    out
}

fn fields(line: &str, factor: u32) -> String {
    let divided = line.split_once(": ").and_then(|(name, value)| {
        let field = name.trim().trim_start_matches("- ");
        let value = FIELDS.contains(&field).then_some(value.trim())?;
        divided(value, factor).map(|value| format!("{name}: {value}"))
    });
    divided.unwrap_or_else(|| line.to_owned())
}

/// A duration of one number and one unit, divided, in milliseconds.
fn divided(text: &str, factor: u32) -> Option<String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let whole = number.parse::<u64>().ok()?.checked_mul(unit)?;
    Some(format!("{}ms", whole / u64::from(factor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_change() {
        let text = "\
groups:
  - name: a
    interval: 15s
    rules:
      - alert: A
        expr: increase(x{code=~\"[a-z]+\"}[10m]) > 10 and y > 3600 or avg_over_time(z:rate5m[1d]) > 1
        for: 1h
        labels: {severity: page}
  receivers: [slack, mail]
  group_wait: 30s
  repeat_interval: 12h
  - matchers: ['severity=\"page\"']
";
        let expected = "\
groups:
  - name: a
    interval: 250ms
    rules:
      - alert: A
        expr: increase(x{code=~\"[a-z]+\"}[10000ms]) > 10 and y > 3600 or avg_over_time(z:rate5m[1440000ms]) > 1
        for: 60000ms
        labels: {severity: page}
  receivers: [slack, mail]
  group_wait: 500ms
  repeat_interval: 720000ms
  - matchers: ['severity=\"page\"']
";
        assert_eq!(scaled(text, 60), expected);
        let divided_by_one = scaled(text, 1);
        assert!(divided_by_one.contains("[600000ms]") && divided_by_one.contains("for: 3600000ms"));
    }

    /// Whatever stands in the files, each time in them is one that is divided.
    #[test]
    fn no_time_of_the_files_is_left_as_it_was() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring");
        for file in ["rules/alerts.yml", "rules/slo.yml", "alertmanager/alertmanager.yml"] {
            let text = std::fs::read_to_string(root.join(file)).unwrap();
            let scaled = scaled(&text, 60);
            let brackets = |text: &str| text.matches(['[', ']']).count();
            assert_eq!(brackets(&text), brackets(&scaled), "{file}");
            for (old, new) in text.lines().zip(scaled.lines()) {
                let has_time = |line: &str| {
                    let words = line.split(['[', ']', ' ', '"', ':']);
                    words.into_iter().any(|word| divided(word, 1).is_some())
                };
                let code = old.split('#').next().unwrap_or_default();
                assert!(!has_time(code) || old != new, "{file}: {old}");
            }
        }
    }
}
