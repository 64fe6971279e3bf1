//! Draws a loss curve.

/// The finite losses as a polyline.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The polyline's `points`.
    pub points: String,
    /// The loss at the bottom of the box.
    pub least: f64,
    /// The loss at its top.
    pub most: f64,
}

/// Draws (step, loss) in a box of `width` by `height`; `None` if fewer than two losses are finite.
pub fn draw(values: &[(u64, f64)], width: f64, height: f64) -> Option<Curve> {
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
    let points = finite.into_iter().map(place).collect::<Vec<_>>().join(" ");
    Some(Curve { points, least, most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_fills_its_box() {
        let values = [(0, 4.0), (50, 3.0), (100, 2.0)];
        let curve = draw(&values, 200.0, 100.0).unwrap();
        assert_eq!(curve.points, "0.0,0.0 100.0,50.0 200.0,100.0");
        assert_eq!((curve.least, curve.most), (2.0, 4.0));
    }

    #[test]
    fn a_loss_that_is_not_drawn_is_not_labelled() {
        let finite = [(0, 4.0), (100, 2.0)];
        let values = [finite[0], (50, f64::INFINITY), (60, f64::NEG_INFINITY), (70, f64::NAN), finite[1]];
        assert_eq!(draw(&values, 200.0, 100.0), draw(&finite, 200.0, 100.0));
    }

    #[test]
    fn one_point_is_no_curve() {
        assert_eq!(draw(&[(3, 1.0)], 9.0, 9.0), None);
        assert_eq!(draw(&[], 9.0, 9.0), None);
        assert_eq!(draw(&[(0, f64::NAN), (1, 2.0)], 9.0, 9.0), None);
    }
}
