//! Line charts as SVG paths that can be stretched to any width. Text is HTML beside the SVG, so
//! that it keeps its size on a phone.

use serde::Serialize;

use crate::card::figure::{TICKS, grouped, round_step, trimmed};

/// The SVG's size in its own units.
pub const WIDTH: f64 = 1000.0;
pub const HEIGHT: f64 = 400.0;
/// Maximum number of points of a full-width curve; more steps are averaged.
pub const WIDE: usize = 400;
/// Maximum number of points of a curve a third as wide.
pub const NARROW: usize = 120;
/// Margin above and below the curves, as a fraction of their height.
const MARGIN: f64 = 0.05;

/// Values by step.
pub struct Series<'a> {
    /// Name in the legend.
    pub name: &'a str,
    /// CSS class, which sets the colour.
    pub class: &'a str,
    /// (step, value), in ascending step order.
    pub points: Vec<(f64, f64)>,
    /// Whether to draw every point, for series with few points. Such series are not averaged.
    pub dots: bool,
}

/// A chart as drawn by the report's template.
#[derive(Debug, Serialize)]
pub struct Chart {
    /// Text alternative for the whole chart.
    pub label: String,
    pub curves: Vec<Curve>,
    pub x_ticks: Vec<Tick>,
    pub y_ticks: Vec<Tick>,
    /// Number of steps averaged into each point.
    pub steps_a_point: usize,
}

#[derive(Debug, Serialize)]
pub struct Curve {
    pub name: String,
    pub class: String,
    /// Path data of the curve.
    pub path: String,
    /// Path data of the area between the minimum and maximum of each mean; empty if nothing is
    /// averaged.
    pub band: String,
    pub dots: Vec<Dot>,
    pub last: String,
}

#[derive(Debug, Serialize)]
pub struct Dot {
    pub path: String,
    pub title: String,
    /// Whether this is the lowest value of the curve.
    pub lowest: bool,
}

#[derive(Debug, PartialEq, Serialize)]
pub struct Tick {
    /// Position in percent of the width from the left, or of the height from the top.
    pub percent: f64,
    pub label: String,
}

/// A mean over consecutive steps.
struct Mean {
    step: f64,
    value: f64,
    least: f64,
    most: f64,
}

/// Draws the series into one chart, with at most `most_points` points each. Returns `None` if
/// there is no finite point.
pub fn chart(title: &str, most_points: usize, series: &[Series]) -> Option<Chart> {
    let finite: Vec<(&Series, Vec<(f64, f64)>)> = series
        .iter()
        .map(|s| (s, s.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).collect()))
        .filter(|(_, points): &(_, Vec<_>)| !points.is_empty())
        .collect();
    let steps_a_point = finite.iter().map(|(_, points)| points.len().div_ceil(most_points)).max()?;
    let means: Vec<(&Series, Vec<Mean>)> = finite
        .iter()
        .map(|(s, points)| (*s, if s.dots { averaged(points, 1) } else { averaged(points, steps_a_point) }))
        .collect();
    let all = || means.iter().flat_map(|(_, means)| means);
    let (x_low, x_high) = bounds(all().map(|mean| mean.step));
    let (low, high) = bounds(all().map(|mean| mean.value));
    let margin = MARGIN * (high - low).max(f64::MIN_POSITIVE);
    let (y_low, y_high) = if high > low { (low - margin, high + margin) } else { (low - 0.5, high + 0.5) };
    let x = |step: f64| WIDTH * if x_high > x_low { (step - x_low) / (x_high - x_low) } else { 0.5 };
    let y = |value: f64| (HEIGHT * (y_high - value) / (y_high - y_low)).clamp(0.0, HEIGHT);

    let curves: Vec<Curve> = means
        .iter()
        .map(|(s, means)| Curve {
            name: s.name.into(),
            class: s.class.into(),
            path: path(means.iter().map(|mean| (x(mean.step), y(mean.value)))),
            band: if s.dots || steps_a_point == 1 {
                String::new()
            } else {
                let above = means.iter().map(|mean| (x(mean.step), y(mean.most)));
                let below = means.iter().rev().map(|mean| (x(mean.step), y(mean.least)));
                path(above.chain(below)) + "Z"
            },
            dots: means
                .iter()
                .filter(|_| s.dots || means.len() == 1)
                .map(|mean| Dot {
                    // A zero-length line: its round cap is the dot.
                    path: format!("M{:.1} {:.1}h0.01", x(mean.step), y(mean.value)),
                    lowest: means.len() > 1 && means.iter().all(|other| mean.value <= other.value),
                    title: format!("step {}: {} {}", mean.step, s.name, short(mean.value)),
                })
                .collect(),
            last: means.last().map(|mean| short(mean.value)).unwrap_or_default(),
        })
        .collect();
    let words: Vec<String> = means
        .iter()
        .filter_map(|(s, means)| Some((s, means.first()?, means.last()?)))
        .map(|(s, first, last)| format!("{} from {} to {}", s.name, short(first.value), short(last.value)))
        .collect();
    Some(Chart {
        label: format!("{title} over {} to {} steps: {}", x_low, x_high, words.join(", ")),
        curves,
        x_ticks: ticks(x_low, x_high, true).map(|v| tick(x(v) / WIDTH, v)).collect(),
        y_ticks: ticks(y_low, y_high, false).map(|v| tick(y(v) / HEIGHT, v)).collect(),
        steps_a_point,
    })
}

fn averaged(points: &[(f64, f64)], size: usize) -> Vec<Mean> {
    points
        .chunks(size.max(1))
        .filter_map(|chunk| {
            let mean = |of: fn(&(f64, f64)) -> f64| chunk.iter().map(of).sum::<f64>() / chunk.len() as f64;
            let (least, most) = bounds(chunk.iter().map(|point| point.1));
            let step = if size == 1 { chunk.first()?.0 } else { mean(|point| point.0) };
            Some(Mean { step, value: mean(|point| point.1), least, most })
        })
        .collect()
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut text = String::new();
    for (x, y) in points {
        text.push_str(if text.is_empty() { "M" } else { "L" });
        text.push_str(&format!("{x:.1} {y:.1}"));
    }
    text
}

fn tick(part: f64, value: f64) -> Tick {
    Tick { percent: (part * 10_000.0).round() / 100.0, label: short(value) }
}

/// Returns round values within the bounds, 1, 2 or 5 times a power of ten apart.
fn ticks(low: f64, high: f64, whole: bool) -> impl Iterator<Item = f64> {
    let span = if high > low { high - low } else { 1.0 };
    let step = round_step(span);
    let step = if whole { step.max(1.0) } else { step };
    let first = (low / step).ceil();
    // Multiplied rather than accumulated, to avoid 0.30000000000000004.
    (0..=TICKS + 1).map(move |i| (first + i as f64) * step).take_while(move |v| *v <= high)
}

/// Formats a value for display, with three or four significant digits.
pub fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if !(1e-3..1e6).contains(&size) {
        format!("{value:.2e}").replace(".00e", "e").replace("0e", "e")
    } else if size >= 1000.0 {
        let sign = if value < 0.0 { "-" } else { "" };
        format!("{sign}{}", grouped(size.round() as u64))
    } else {
        let digits = if size >= 100.0 {
            1
        } else if size >= 10.0 {
            2
        } else if size >= 0.1 {
            3
        } else {
            5
        };
        trimmed(value, digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: Vec<(f64, f64)>, dots: bool) -> Series<'static> {
        Series { name: "train", class: "train", points, dots }
    }

    #[test]
    fn a_falling_line_goes_from_the_upper_left_to_the_lower_right() {
        let chart = chart("Loss", WIDE, &[series(vec![(1.0, 4.0), (2.0, 3.0), (3.0, 2.0)], false)]).unwrap();
        assert_eq!(chart.curves[0].path, "M0.0 18.2L500.0 200.0L1000.0 381.8");
        assert_eq!(chart.curves[0].band, "");
        assert_eq!(chart.label, "Loss over 1 to 3 steps: train from 4 to 2");
        assert_eq!(
            chart.x_ticks,
            [(0.0, "1"), (50.0, "2"), (100.0, "3")]
                .map(|(percent, label)| Tick { percent, label: label.into() })
        );
    }

    #[test]
    fn many_steps_are_averaged_and_the_band_keeps_the_extremes() {
        let points = (0..4000).map(|i| (f64::from(i), if i == 2005 { 9.0 } else { 1.0 })).collect();
        let chart = chart("Loss", WIDE, &[series(points, false)]).unwrap();
        assert_eq!(chart.steps_a_point, 10);
        assert_eq!(chart.curves[0].path.matches('L').count(), 399);
        assert!(chart.curves[0].band.ends_with('Z'));
    }

    #[test]
    fn one_point_is_a_dot_and_what_is_not_finite_is_left_out() {
        let chart =
            chart("Loss", WIDE, &[series(vec![(1.0, f64::NAN), (2.0, 5.0), (3.0, f64::INFINITY)], false)])
                .unwrap();
        assert_eq!(chart.curves[0].dots.len(), 1);
        assert_eq!(chart.curves[0].dots[0].path, "M500.0 200.0h0.01");
        assert!(super::chart("Loss", WIDE, &[series(vec![(1.0, f64::NAN)], true)]).is_none());
        assert!(super::chart("Loss", WIDE, &[]).is_none());
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 1.0, false).collect::<Vec<_>>().len(), 6);
        assert_eq!(ticks(1.93, 3.31, false).map(short).collect::<Vec<_>>(), ["2", "2.5", "3"]);
        assert_eq!(ticks(1.0, 3.0, true).map(short).collect::<Vec<_>>(), ["1", "2", "3"]);
        assert_eq!(ticks(0.0, 1e-4, false).map(short).last().unwrap(), "1e-4");
        assert_eq!(ticks(5.0, 5.0, false).count(), 1);
    }

    #[test]
    fn figures_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (3.24159, "3.242"),
            (12.0, "12"),
            (1234.5, "1,235"),
            (1.372e-4, "1.37e-4"),
            (0.0125, "0.0125"),
            (-2500.0, "-2,500"),
            (2.5e7, "2.5e7"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
