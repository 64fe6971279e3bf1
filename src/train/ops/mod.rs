//! The network's operations on plain buffers, one per file, each with a hand-written gradient.
//!
//! All buffers are f32, row-major, without gaps. Rows are processed in parallel in chunks of a
//! fixed size, and sums over rows are folded in chunk order, so results do not depend on the number
//! of threads. Loops run inside `wide`, compiled once per vector width and selected at run time.

pub mod attention;
pub mod embedding;
pub mod gelu;
pub mod head;
pub(super) mod lanes;
pub mod layer_norm;
pub mod matmul;
pub mod residual;

use std::ops::Range;

use rayon::prelude::*;

/// Rows per parallel task.
const CHUNK_ROWS: usize = 16;

/// Runs a loop with the widest vectors of the machine. The closure and its callees must be
/// `#[inline(always)]` to be compiled for them. Sums are not reordered and products not fused with
/// sums, so results are bit-identical at any width.
#[inline]
pub(super) fn wide<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Adds `f`'s partial sums of each chunk of rows to `sums` (width), in chunk order.
fn sum_chunks(rows: usize, sums: &mut [f32], f: impl Fn(Range<usize>, &mut [f32]) + Sync) {
    let chunks: Vec<Vec<f32>> = (0..rows.div_ceil(CHUNK_ROWS))
        .into_par_iter()
        .map(|chunk| {
            let mut part = vec![0.0; sums.len()];
            let first = chunk * CHUNK_ROWS;
            f(first..(first + CHUNK_ROWS).min(rows), &mut part);
            part
        })
        .collect();
    for chunk in chunks {
        for (sum, part) in sums.iter_mut().zip(chunk) {
            *sum += part;
        }
    }
}

/// Adds the column sums of x (R, width) to `sums` (width): the gradient of a bias.
pub fn add_column_sums(x: &[f32], sums: &mut [f32]) {
    let width = sums.len();
    sum_chunks(x.len() / width, sums, |rows, part| {
        wide(
            #[inline(always)]
            || {
                for row in x[rows.start * width..rows.end * width].chunks_exact(width) {
                    for (sum, x) in part.iter_mut().zip(row) {
                        *sum += x;
                    }
                }
            },
        );
    });
}

/// Copies `row` (width) to every row of `out` (R, width).
pub fn fill_rows(row: &[f32], out: &mut [f32]) {
    out.par_chunks_mut(CHUNK_ROWS * row.len())
        .for_each(|rows| rows.chunks_exact_mut(row.len()).for_each(|out| out.copy_from_slice(row)));
}

/// Sum of squares in f64, folded in a fixed order.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let parts: Vec<f64> = values
        .par_chunks(1 << 14)
        .map(|chunk| {
            wide(
                #[inline(always)]
                || lanes::sum_of_squares(chunk),
            )
        })
        .collect();
    parts.iter().sum()
}

#[cfg(test)]
pub(crate) mod check {
    //! Finite differences, against which every hand-written gradient is tested.

    /// Deterministic, irregular values of about unit size.
    pub fn values(n: usize, phase: f32) -> Vec<f32> {
        (0..n).map(|i| ((i as f32 * 1.37 + phase).sin() * 7.0).sin()).collect()
    }

    /// Compares the gradients of `sum(forward(inputs) * weights)` with central differences, for
    /// every element of every input. `backward` maps the inputs and the gradient of the output to
    /// the gradients of the inputs.
    pub fn gradients(
        inputs: &[Vec<f32>],
        forward: impl Fn(&[Vec<f32>]) -> Vec<f32>,
        backward: impl Fn(&[Vec<f32>], &[f32]) -> Vec<Vec<f32>>,
    ) {
        let weights = values(forward(inputs).len(), 0.5);
        let exact = backward(inputs, &weights);
        assert_eq!(exact.len(), inputs.len());
        let loss = |inputs: &[Vec<f32>]| -> f64 {
            forward(inputs).iter().zip(&weights).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum()
        };
        const STEP: f32 = 1e-2;
        for (which, exact) in exact.iter().enumerate() {
            assert_eq!(exact.len(), inputs[which].len());
            for (i, &exact) in exact.iter().enumerate() {
                let at = |delta: f32| {
                    let mut moved = inputs.to_vec();
                    moved[which][i] += delta;
                    loss(&moved)
                };
                let estimate = (at(STEP) - at(-STEP)) / (2.0 * f64::from(STEP));
                let exact = f64::from(exact);
                let bound = 1e-2 * (1.0 + exact.abs());
                assert!((exact - estimate).abs() < bound, "input {which}, element {i}: {exact} {estimate}");
            }
        }
    }

    /// Runs `f` with one thread and with several and compares the results bit for bit.
    pub fn any_number_of_threads(f: impl Fn() -> Vec<f32> + Sync) {
        let bits = |threads| -> Vec<u32> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| f().iter().map(|v| v.to_bits()).collect())
        };
        let one = bits(1);
        for threads in [2, 3, 5] {
            assert!(one == bits(threads), "{threads} threads give other bits than one");
        }
    }
}
