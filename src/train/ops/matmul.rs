//! The matrix product, over slices and strides, from the `gemm` crate.

use gemm::Parallelism;

/// A matrix inside a slice.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub values: &'a [f32],
    pub rows: usize,
    pub cols: usize,
    /// Distance between rows, and between columns.
    pub strides: (usize, usize),
}

impl<'a> View<'a> {
    /// Row-major, without gaps.
    pub fn new(values: &'a [f32], rows: usize, cols: usize) -> Self {
        Self { values, rows, cols, strides: (cols, 1) }
    }

    /// Row-major with `stride` between rows.
    pub fn strided(values: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        Self { values, rows, cols, strides: (stride, 1) }
    }

    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, strides: (self.strides.1, self.strides.0), ..self }
    }

    fn fits(&self) -> bool {
        self.rows == 0
            || self.cols == 0
            || (self.rows - 1) * self.strides.0 + (self.cols - 1) * self.strides.1 < self.values.len()
    }
}

/// Whether a product may use all cores, or runs inside a parallel task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    All,
    One,
}

/// out (a.rows, b.cols; rows `stride` apart) = a b, or += where `add`.
pub fn product(a: View, b: View, out: &mut [f32], stride: usize, add: bool, cores: Cores) {
    assert_eq!(a.cols, b.rows);
    let (m, n) = (a.rows, b.cols);
    if m == 0 || n == 0 {
        return;
    }
    assert!(a.fits() && b.fits() && (m - 1) * stride + n <= out.len());
    let parallelism = if cores == Cores::All { Parallelism::Rayon(0) } else { Parallelism::None };
    // SAFETY: the asserts above keep every index the strides can reach inside
    // its slice; `out` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            a.cols,
            out.as_mut_ptr(),
            1,
            stride as isize,
            add,
            a.values.as_ptr(),
            a.strides.1 as isize,
            a.strides.0 as isize,
            b.values.as_ptr(),
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
