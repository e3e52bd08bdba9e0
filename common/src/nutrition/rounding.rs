//! Rounding as in the app's earlier service, so that a person's numbers stay
//! the same: ties go to the even neighbour, judged by the exact binary value
//! and not its decimal form (2.675 is below the tie, so 2.67).

/// The nearest non-negative integer.
pub(super) fn whole(value: f64) -> u32 {
    // A cast from float saturates: negative values become 0.
    value.round_ties_even() as u32
}

/// The nearest number with this many decimals.
pub(super) fn decimals(value: f64, places: usize) -> f64 {
    // Printing with a precision is correctly rounded, unlike multiplying by a
    // power of ten first.
    format!("{value:.places$}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_even_neighbour() {
        assert_eq!([0.5, 1.5, 2.5, 3.5].map(whole), [0, 2, 2, 4]);
        assert_eq!([0.125, 0.375, 1.375, 1.625].map(|v| decimals(v, 2)), [0.12, 0.38, 1.38, 1.62]);
        assert_eq!([0.25, 0.75, 22.25, 22.75].map(|v| decimals(v, 1)), [0.2, 0.8, 22.2, 22.8]);
    }

    #[test]
    fn a_tie_is_judged_on_the_binary_value() {
        assert_eq!(decimals(2.675, 2), 2.67, "2.675 is 2.67499999…");
        assert_eq!(decimals(1.005, 2), 1.0, "1.005 is 1.00499999…");
        assert_eq!(decimals(1.725, 2), 1.73, "1.725 is 1.72500000000000008…");
    }

    #[test]
    fn less_than_nothing_is_nothing() {
        assert_eq!(whole(-3.0), 0);
    }
}
