//! Plot of the validation loss over training steps, drawn as SVG and rasterised to PNG, which
//! is shown everywhere that cards are.

use super::{figure::round_step, picture::PictureError, svg};

/// Width in pixels.
const WIDTH: f64 = 1000.0;
/// Height in pixels.
const HEIGHT: f64 = 420.0;

/// Margins of the plot area, in pixels.
const LEFT: f64 = 84.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 64.0;

/// Returns whether the points form a curve: at least two, all finite, with increasing steps.
pub fn is_drawable(points: &[(u64, f64)]) -> bool {
    points.len() >= 2
        && points.iter().all(|(_, loss)| loss.is_finite())
        && points.windows(2).all(|pair| pair[0].0 < pair[1].0)
}

/// Returns the index of the lowest finite loss (the first one if tied).
pub fn lowest(points: &[(u64, f64)]) -> Option<usize> {
    let finite = points.iter().enumerate().filter(|(_, (_, loss))| loss.is_finite());
    finite.min_by(|(_, a), (_, b)| a.1.total_cmp(&b.1)).map(|(index, _)| index)
}

/// Draws points (step, loss in nats per token) as PNG, and marks the lowest.
///
/// # Errors
/// If drawing or encoding fails.
pub fn draw(points: &[(u64, f64)]) -> Result<Vec<u8>, PictureError> {
    svg::rasterise(&document(points))
}

fn document(points: &[(u64, f64)]) -> String {
    let losses = points.iter().map(|(_, loss)| *loss);
    let low = losses.clone().fold(f64::INFINITY, f64::min);
    let high = losses.fold(f64::NEG_INFINITY, f64::max);
    // At least 1 % of the value, so that a flat curve has a range, too.
    let room = ((high - low) * 0.08).max(high.abs() * 0.01).max(1e-3);
    let (low, high) = (low - room, high + room);
    let first = points.first().map_or(0.0, |(step, _)| *step as f64);
    let last = points.last().map_or(1.0, |(step, _)| *step as f64);
    let x = |step: f64| LEFT + (step - first) / (last - first) * (WIDTH - LEFT - RIGHT);
    let y = |loss: f64| TOP + (high - loss) / (high - low) * (HEIGHT - TOP - BOTTOM);

    let mut out = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="{family}" font-size="18" fill="#5b6475">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>
<text x="{LEFT}" y="36" font-size="21" font-weight="700" fill="#14171f">Loss on held-out posts, nats a token</text>
"##,
        family = svg::FAMILY,
    );
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let step = round_step(high - low);
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    for n in (low / step).ceil() as i64..=(high / step).floor() as i64 {
        let (loss, at) = (n as f64 * step, y(n as f64 * step));
        out += &format!(
            "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#e4e8ef\" stroke-width=\"2\"/>\
             <text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{loss:.decimals$}</text>\n",
            x = LEFT - 14.0,
            y = at + 6.0,
        );
    }
    let step = round_step(last - first).max(1.0);
    for n in (first / step).ceil() as i64..=(last / step).floor() as i64 {
        let steps = n as f64 * step;
        out += &format!(
            "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{steps:.0}</text>\n",
            x = x(steps),
            y = bottom + 30.0,
        );
    }
    out += &format!(
        "<text x=\"{right}\" y=\"{y}\" text-anchor=\"end\" font-size=\"16\">steps</text>\n",
        y = HEIGHT - 8.0
    );
    let line: Vec<String> =
        points.iter().map(|(step, loss)| format!("{:.1},{:.1}", x(*step as f64), y(*loss))).collect();
    out += &format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"hsl(220, 72%, 50%)\" stroke-width=\"4\" stroke-linejoin=\"round\" stroke-linecap=\"round\"/>\n",
        line.join(" ")
    );
    if let Some(&(step, loss)) = lowest(points).and_then(|index| points.get(index)) {
        let (cx, cy) = (x(step as f64), y(loss));
        let (anchor, dx) = if cx > WIDTH - 220.0 { ("end", -14.0) } else { ("start", 14.0) };
        out += &format!(
            "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"8\" fill=\"hsl(340, 74%, 48%)\"/>\
             <text x=\"{tx:.1}\" y=\"{ty:.1}\" text-anchor=\"{anchor}\" font-weight=\"700\" fill=\"hsl(340, 74%, 40%)\">{loss:.3} at step {step}</text>\n",
            tx = cx + dx,
            ty = cy - 14.0,
        );
    }
    out += "</svg>";
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_curves_are_drawn() {
        assert!(is_drawable(&[(0, 3.0), (10, 2.5)]));
        for none in [&[][..], &[(0, 3.0)], &[(0, 3.0), (0, 2.0)], &[(0, 3.0), (1, f64::NAN)]] {
            assert!(!is_drawable(none), "{none:?}");
        }
    }

    #[test]
    fn the_lowest_is_the_first_of_equals() {
        assert_eq!(lowest(&[(0, 3.0), (5, 2.0), (6, 2.0), (7, f64::NAN)]), Some(1));
        assert_eq!(lowest(&[]), None);
    }

    #[test]
    fn curves_of_every_shape_stay_in_the_picture() {
        let falling: Vec<(u64, f64)> =
            (0..40).map(|i| (i * 25, 2.3 + 1.4 * (-(i as f64) / 9.0).exp() + i as f64 * 0.004)).collect();
        for (file, points) in [
            ("curve.png", falling),
            ("curve-flat.png", vec![(100, 2.0), (200, 2.0)]),
            ("curve-large.png", vec![(0, 1e6), (4_000_000, 1.0)]),
            ("curve-small.png", vec![(1, 1e-9), (2, 2e-9)]),
        ] {
            let svg = document(&points);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            let inside = |text: &str| text.parse::<f64>().is_ok_and(|n| (0.0..=WIDTH).contains(&n));
            let line = svg.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            assert!(line.split([' ', ',']).all(inside), "{line}");
            let png = draw(&points).unwrap();
            assert!(png.len() > 2000);
            if let Some(folder) = std::env::var_os("HUGGINGTWEETS_PICTURES") {
                std::fs::write(std::path::Path::new(&folder).join(file), png).unwrap();
            }
        }
    }
}
