//! Draws a loss curve.

/// Returns the points of a polyline for (step, loss) in a box of `width` by `height`, the lowest
/// loss at the bottom; `None` if fewer than two losses are finite.
pub fn points(values: &[(u64, f64)], width: f64, height: f64) -> Option<String> {
    let finite: Vec<_> = values.iter().filter(|(_, loss)| loss.is_finite()).collect();
    let (first, last) = (finite.first()?.0, finite.last()?.0);
    let least = finite.iter().map(|(_, loss)| *loss).fold(f64::INFINITY, f64::min);
    let most = finite.iter().map(|(_, loss)| *loss).fold(f64::NEG_INFINITY, f64::max);
    if last <= first {
        return None;
    }
    let place = |(step, loss): &(u64, f64)| {
        let x = width * step.saturating_sub(first) as f64 / (last - first) as f64;
        let y = height * (most - loss) / (most - least).max(1e-9);
        format!("{x:.1},{y:.1}")
    };
    Some(finite.into_iter().map(place).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_fills_its_box() {
        let values = [(0, 4.0), (50, 3.0), (100, 2.0)];
        assert_eq!(points(&values, 200.0, 100.0).unwrap(), "0.0,0.0 100.0,50.0 200.0,100.0");
    }

    #[test]
    fn one_point_is_no_curve() {
        assert_eq!(points(&[(3, 1.0)], 9.0, 9.0), None);
        assert_eq!(points(&[], 9.0, 9.0), None);
        assert_eq!(points(&[(0, f64::NAN), (1, 2.0)], 9.0, 9.0), None);
    }
}
