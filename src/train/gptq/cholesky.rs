//! Cholesky factor of a symmetric matrix, in blocks, so that almost all of the work is matrix
//! products.

use rayon::prelude::*;

use crate::train::ops::{
    lanes,
    matmul::{Cores, View, product},
    wide,
};

/// Columns per block.
const BLOCK: usize = 64;

/// Replaces the lower triangle of `a` (n, n), symmetric, by L with L L^T = a, and the upper by
/// zeros. `None` if a pivot is not positive; `a` is unspecified then.
pub(super) fn factor(a: &mut [f32], n: usize) -> Option<()> {
    debug_assert_eq!(a.len(), n * n);
    let mut update = Vec::new();
    for first in (0..n).step_by(BLOCK) {
        let width = BLOCK.min(n - first);
        let rows = n - first;
        // What the columns before contribute to this block's, from its diagonal down.
        if first > 0 {
            let below = View::strided(&a[first * n..], rows, first, n);
            let block = View::strided(&a[first * n..], width, first, n);
            update.resize(rows * width, 0.0);
            product(below, block.t(), &mut update, width, false, Cores::All);
            for (row, update) in a[first * n..].chunks_exact_mut(n).zip(update.chunks_exact(width)) {
                row[first..first + width].iter_mut().zip(update).for_each(|(a, u)| *a -= u);
            }
        }
        let (diagonal, below) = a[first * n..].split_at_mut(width * n);
        let mut triangle = [0.0; BLOCK * BLOCK];
        for (i, row) in diagonal.chunks_exact_mut(n).enumerate() {
            let row = &mut row[first..first + width];
            solve(&triangle, &mut row[..i]);
            let (solved, rest) = row.split_at_mut(i);
            let pivot = rest[0] - lanes::dot(solved, solved);
            // Also false for NaN.
            if !(pivot > 0.0 && pivot.is_finite()) {
                return None;
            }
            rest[0] = pivot.sqrt();
            rest[1..].fill(0.0);
            triangle[i * BLOCK..][..width].copy_from_slice(row);
        }
        for row in diagonal.chunks_exact_mut(n) {
            row[first + width..].fill(0.0);
        }
        below.par_chunks_exact_mut(n).for_each(|row| {
            wide(
                #[inline(always)]
                || solve(&triangle, &mut row[first..first + width]),
            );
        });
    }
    Some(())
}

/// Solves x L^T = b for the leading part of L (BLOCK, BLOCK) that is as long as `b`, in place.
#[inline(always)]
fn solve(triangle: &[f32; BLOCK * BLOCK], b: &mut [f32]) {
    for i in 0..b.len() {
        let row = &triangle[i * BLOCK..][..=i];
        let (solved, rest) = b.split_at_mut(i);
        rest[0] = (rest[0] - lanes::dot(solved, &row[..i])) / row[i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::ops::check;

    /// X^T X + I for X (rows, n).
    fn symmetric(n: usize) -> Vec<f32> {
        let x = check::values(n * n, 0.3);
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            a[i * n + i] = 1.0;
        }
        let x = View::new(&x, n, n);
        product(x.t(), x, &mut a, n, true, Cores::One);
        a
    }

    #[test]
    fn the_factor_times_itself_is_the_matrix() {
        for n in [1, 2, 31, BLOCK, BLOCK + 1, 3 * BLOCK - 5] {
            let a = symmetric(n);
            let mut l = a.clone();
            factor(&mut l, n).unwrap();
            for i in 0..n {
                assert!(l[i * n + i + 1..(i + 1) * n].iter().all(|&x| x == 0.0), "row {i} of {n}");
            }
            let mut again = vec![0.0; n * n];
            let view = View::new(&l, n, n);
            product(view, view.t(), &mut again, n, false, Cores::One);
            for (i, (again, a)) in again.iter().zip(&a).enumerate() {
                assert!((again - a).abs() < 1e-5 * (1.0 + n as f32), "{n}: {i}: {again} {a}");
            }
        }
    }

    #[test]
    fn a_matrix_without_a_factor_is_refused() {
        assert!(factor(&mut [1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(factor(&mut [f32::NAN], 1).is_none());
        assert!(factor(&mut [0.0], 1).is_none());
    }

    #[test]
    fn no_number_of_threads_changes_a_bit() {
        let a = symmetric(3 * BLOCK);
        check::any_number_of_threads(|| {
            let mut l = a.clone();
            factor(&mut l, 3 * BLOCK).unwrap();
            l
        });
    }
}
