//! Matrix product over strided slices, computed by the `gemm` crate.

use std::ops::Range;

use gemm::Parallelism;
use rayon::prelude::*;

/// A strided matrix view of a slice.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub values: &'a [f32],
    pub rows: usize,
    pub cols: usize,
    /// Distance between rows and between columns, in elements.
    pub strides: (usize, usize),
}

impl<'a> View<'a> {
    /// Row-major (rows, cols) without gaps.
    pub fn new(values: &'a [f32], rows: usize, cols: usize) -> Self {
        Self { values, rows, cols, strides: (cols, 1) }
    }

    /// Row-major (rows, cols) with `stride` elements from row to row.
    pub fn strided(values: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        Self { values, rows, cols, strides: (stride, 1) }
    }

    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, strides: (self.strides.1, self.strides.0), ..self }
    }

    /// The `rows` rows from `first` on.
    fn rows_from(self, first: usize, rows: usize) -> Self {
        Self { values: &self.values[first * self.strides.0..], rows, ..self }
    }

    fn fits(&self) -> bool {
        self.rows == 0
            || self.cols == 0
            || (self.rows - 1) * self.strides.0 + (self.cols - 1) * self.strides.1 < self.values.len()
    }
}

/// Whether a product may use all cores or runs inside a parallel task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    All,
    One,
}

/// Columns per task when a product is split by columns. Independent of the number of cores, so that
/// the order of sums is too.
const TASK_COLUMNS: usize = 96;

/// Rows per task when a product is split by rows, which happens from [`TALL`] rows on, so that
/// every core gets some.
const TASK_ROWS: usize = 512;
const TALL: usize = 16 * TASK_ROWS;

/// `out` (a.rows, b.cols), whose rows are `stride` elements apart, = a b; += a b if `add`.
pub fn product(a: View, b: View, out: &mut [f32], stride: usize, add: bool, cores: Cores) {
    assert_eq!(a.cols, b.rows);
    let (m, n, k) = (a.rows, b.cols, a.cols);
    if m == 0 || n == 0 {
        return;
    }
    assert!(a.fits() && b.fits() && (m - 1) * stride + n <= out.len());
    let out = Out { start: out.as_mut_ptr(), stride, add };
    match cores {
        // SAFETY: the asserts above keep every index that the strides can reach inside its slice,
        // and `out` is borrowed exclusively.
        Cores::One => unsafe { columns(a, b, out, 0..n, Parallelism::None) },
        // gemm packs b before it starts, whatever its size. For a tall product (the head's
        // gradient), tasks over rows pack only what fits a cache.
        Cores::All if m >= TALL => (0..m.div_ceil(TASK_ROWS)).into_par_iter().for_each(|task| {
            let first = task * TASK_ROWS;
            let rows = a.rows_from(first, TASK_ROWS.min(m - first));
            // SAFETY: as above; tasks have disjoint rows of `out`.
            unsafe { columns(rows, b, out.rows_from(first), 0..n, Parallelism::None) }
        }),
        // gemm's threads synchronise after every few hundred terms of the sum. If k is large for
        // the number of rows, they mostly wait (benches/README.md); tasks over columns never
        // synchronise.
        Cores::All if k >= 2 * m => {
            (0..n.div_ceil(TASK_COLUMNS)).into_par_iter().for_each(|task| {
                let first = task * TASK_COLUMNS;
                // SAFETY: as above; tasks have disjoint columns of `out`.
                unsafe { columns(a, b, out, first..n.min(first + TASK_COLUMNS), Parallelism::None) }
            });
        }
        // SAFETY: as above.
        Cores::All => unsafe { columns(a, b, out, 0..n, Parallelism::Rayon(0)) },
    }
}

/// Destination of a product.
#[derive(Clone, Copy)]
struct Out {
    start: *mut f32,
    stride: usize,
    add: bool,
}

impl Out {
    fn rows_from(self, first: usize) -> Self {
        Self { start: self.start.wrapping_add(first * self.stride), ..self }
    }
}

// SAFETY: each task accesses only its own rows or columns through the pointer.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

/// Computes the columns `range` of the product.
///
/// # Safety
/// The views fit their slices, `a.cols == b.rows`, and the columns `range` of `out`'s a.rows rows
/// are valid for reads and writes, and not accessed by anyone else during the call.
unsafe fn columns(a: View, b: View, out: Out, range: Range<usize>, parallelism: Parallelism) {
    // SAFETY: guaranteed by the caller; columns `range` of b are inside its slice.
    unsafe {
        gemm::gemm(
            a.rows,
            range.len(),
            a.cols,
            out.start.add(range.start),
            1,
            out.stride as isize,
            out.add,
            a.values.as_ptr(),
            a.strides.1 as isize,
            a.strides.0 as isize,
            b.values.as_ptr().add(range.start * b.strides.1),
            b.strides.1 as isize,
            b.strides.0 as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    /// Shapes on both sides of every branch, odd ones included, each operand plain and transposed.
    #[test]
    fn products_follow_the_definition() {
        for (m, n, k) in
            [(1, 1, 1), (3, 5, 7), (4, 2 * TASK_COLUMNS + 1, 9), (4, 100, 8), (33, 97, 70), (TALL + 1, 3, 5)]
        {
            let (a, b) = (check::values(m * k, 0.1), check::values(k * n, 0.2));
            let transposed = |x: &[f32], rows: usize, cols: usize| -> Vec<f32> {
                (0..rows * cols).map(|i| x[i % rows * cols + i / rows]).collect()
            };
            let (a_t, b_t) = (transposed(&a, m, k), transposed(&b, k, n));
            for (a_view, b_view) in [
                (View::new(&a, m, k), View::new(&b, k, n)),
                (View::new(&a_t, k, m).t(), View::new(&b_t, n, k).t()),
            ] {
                for (cores, add) in [(Cores::All, false), (Cores::One, true)] {
                    let stride = n + 3;
                    let mut out = vec![0.5; m * stride];
                    product(a_view, b_view, &mut out, stride, add, cores);
                    for (i, out) in out.iter().enumerate() {
                        let (row, column) = (i / stride, i % stride);
                        let sum: f64 = (0..k)
                            .map(|j| {
                                f64::from(a[row * k + j]) * f64::from(*b.get(j * n + column).unwrap_or(&0.0))
                            })
                            .sum();
                        let expected = match column < n {
                            true => sum + if add { 0.5 } else { 0.0 },
                            false => 0.5,
                        };
                        assert!((f64::from(*out) - expected).abs() < 1e-5, "{m} {n} {k}: {row} {column}");
                    }
                }
            }
        }
    }
}
