//! How Stripe writes amounts: whole numbers of the currency's smallest unit.

/// Digits after the point of a currency, by its ISO 4217 code in any case. Source: Stripe's
/// page "Supported currencies", with its special case of UGX, which has two.
pub fn decimals(currency: &str) -> u32 {
    match currency.to_ascii_uppercase().as_str() {
        "BIF" | "CLP" | "DJF" | "GNF" | "JPY" | "KMF" | "KRW" | "MGA" | "PYG" | "RWF" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

/// An amount of the smallest unit in units of the currency: dollars from cents.
pub fn units(smallest: f64, currency: &str) -> f64 {
    smallest / 10_f64.powi(decimals(currency).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_the_digits_of_its_currency() {
        for (currency, expected) in [("usd", 99.9), ("JPY", 9_990.0), ("kwd", 9.99), ("ugx", 99.9)]
        {
            assert!((units(9_990.0, currency) - expected).abs() < 1e-9, "{currency}");
        }
    }
}
