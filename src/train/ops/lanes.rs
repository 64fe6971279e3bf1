//! Row reductions in sixteen lanes: a fixed order that compilers vectorise at any width, with
//! smaller rounding errors than a running sum.

/// Lanes of a reduction.
const LANES: usize = 16;

/// Sum of f(a, b, c) over three rows of equal length.
#[inline(always)]
pub fn sum_of_three(a: &[f32], b: &[f32], c: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let (c, c_rest) = c.as_chunks::<LANES>();
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for i in 0..LANES {
            lanes[i] += f(a[i], b[i], c[i]);
        }
    }
    for (lane, ((&a, &b), &c)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest).zip(c_rest)) {
        *lane += f(a, b, c);
    }
    fold(lanes, |a, b| a + b)
}

/// Sum of f(x) over a row.
#[inline(always)]
pub fn sum_of(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    sum_of_three(row, row, row, |x, _, _| f(x))
}

#[inline(always)]
pub fn sum(row: &[f32]) -> f32 {
    sum_of(row, |x| x)
}

#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_of_three(a, b, b, |a, b, _| a * b)
}

/// The largest value, ignoring NaN; -inf for an empty row.
#[inline(always)]
pub fn max(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = larger(lanes[i], chunk[i]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, x);
    }
    fold(lanes, larger)
}

/// Sum of squares of a row, in f64.
#[inline(always)]
pub fn sum_of_squares(row: &[f32]) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] += f64::from(chunk[i]) * f64::from(chunk[i]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(x) * f64::from(x);
    }
    lanes.iter().sum()
}

#[inline(always)]
fn fold(mut lanes: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] = f(lanes[i], lanes[i + half]);
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_summed_whole() {
        for n in 0..70 {
            let row: Vec<f32> = (0..n).map(|i| i as f32 - 20.0).collect();
            assert_eq!(sum(&row), row.iter().sum::<f32>());
            assert_eq!(dot(&row, &row), row.iter().map(|x| x * x).sum::<f32>());
            assert_eq!(sum_of_squares(&row) as f32, dot(&row, &row));
            assert_eq!(max(&row), row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
