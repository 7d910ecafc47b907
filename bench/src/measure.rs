//! Medians and spreads. Nothing here is weighed or trimmed: every run counts.

/// The middle value; of an even number, the mean of the two in the middle. Not a number of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The smallest value that this share of all do not exceed. Not a number of none.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

/// Greatest less smallest, as a share of the median.
pub fn spread(values: &[f64]) -> f64 {
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    if greatest > smallest { (greatest - smallest) / median(values) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        for (share, expected) in [(0.0, 1.0), (0.5, 3.0), (0.8, 4.0), (0.95, 5.0), (1.0, 5.0)] {
            assert!((quantile(&values, share) - expected).abs() < 1e-9, "{share}");
        }
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn medians_and_spreads() {
        for (values, middle, wide) in [
            (vec![3.0, 1.0, 2.0], 2.0, 1.0),
            (vec![4.0, 1.0, 2.0, 3.0], 2.5, 1.2),
            (vec![5.0], 5.0, 0.0),
            (vec![0.0], 0.0, 0.0),
        ] {
            assert!((median(&values) - middle).abs() < 1e-9, "{values:?}");
            assert!((spread(&values) - wide).abs() < 1e-9, "{values:?}");
        }
    }
}
