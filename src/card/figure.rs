//! Formatting of numbers and axis ticks for cards, reports and tables.

/// Formats `1234567` as `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Formats `1 post`, `2 posts`: a count and a noun whose plural ends in s.
pub fn counted(n: usize, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{s}")
}

/// Formats with at most this many decimals and without trailing zeros.
pub fn trimmed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}

/// Approximate number of ticks on an axis.
pub const TICKS: usize = 5;

/// Returns a round tick distance for a range: 1, 2 or 5 times a power of ten.
pub fn round_step(range: f64) -> f64 {
    let raw = (range / TICKS as f64).max(f64::MIN_POSITIVE);
    let power = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|n| n * power).find(|&step| step >= raw).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        for (range, expected) in [(1.0, 0.2), (4.0, 1.0), (0.03, 0.01), (1200.0, 500.0)] {
            assert!((round_step(range) - expected).abs() < 1e-12, "{range}");
        }
    }

    #[test]
    fn no_zeros_and_no_bare_point_stand_at_the_end() {
        for (value, decimals, text) in
            [(3.00002, 4, "3"), (2.5, 4, "2.5"), (0.03, 1, "0"), (100.0, 0, "100"), (-1.25, 3, "-1.25")]
        {
            assert_eq!(trimmed(value, decimals), text);
        }
    }
}
