//! Percentiles of measured values.

use std::fmt;

/// Values in ascending order.
#[derive(Debug)]
pub(super) struct Spread(Vec<f64>);

impl Spread {
    /// The spread of these values.
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The percentile by the nearest rank: the smallest value that at least `share` (0 to
    /// 1) of all values do not exceed; 0 if there are none.
    pub(super) fn percentile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// One line, in the values' own unit.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "n {}   min {:.2}   p50 {:.2}   p90 {:.2}   p99 {:.2}   max {:.2}",
            self.0.len(),
            self.percentile(0.0),
            self.percentile(0.5),
            self.percentile(0.9),
            self.percentile(0.99),
            self.percentile(1.0)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let spread = Spread::of((1..=200).rev().map(f64::from).collect());
        assert_eq!(spread.percentile(0.0), 1.0);
        assert_eq!(spread.percentile(0.5), 100.0);
        assert_eq!(spread.percentile(0.99), 198.0);
        assert_eq!(spread.percentile(1.0), 200.0);
        assert_eq!(Spread::of(vec![]).percentile(0.5), 0.0);
    }
}
