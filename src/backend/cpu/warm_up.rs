//! Makes browsers optimise the kernels before they are needed.
//!
//! A browser compiles a function twice: at once by a baseline compiler, and again, on a thread of
//! its own, by an optimising one when the function has run for a while. Until then a kernel takes
//! several times as long.

use super::{
    Cpu, Matrix, Packer,
    matrix::PANEL,
    panels::{self, Level},
    quant::{BLOCK, QuantRows},
};
use crate::{backend::Backend, dtype::Dtype};

/// A small (outputs, inputs) matrix, whose panels pass through the kernels in one call.
const SHAPE: (usize, usize) = (16 * PANEL, 24 * BLOCK);

/// Products of it with a tile: twice what V8 requires (`wasm_tiering_budget`, 13 million bytes of
/// executed code); a millisecond or two.
const TIMES: usize = 24;

impl Cpu {
    /// Runs the kernels for this number of rows and this dtype of weights on zeros, so that a
    /// browser optimises them while other things are done.
    pub fn warm_up(&self, dtype: Dtype, rows: usize) {
        // The reference need not be fast.
        if self.kernel.level == Level::Scalar {
            return;
        }
        let (n, k) = SHAPE;
        let weights = || {
            let mut packer = Packer::new(n, k, dtype).ok()?;
            packer.push(&vec![0; dtype.matrix_bytes(n, k)]).ok()?;
            packer.finish().ok()
        };
        let Some(Matrix::Quantised(w)) = weights() else { return };
        let mut x = QuantRows::default();
        // Longer batches are multiplied in pieces of this many.
        let rows = rows.clamp(1, Self::ROWS_AT_ONCE);
        x.fill(&vec![0.0; rows * k], k, w.format);
        // Two tiles may differ in size and so run different functions; of more tiles, most are
        // alike.
        for _ in 0..TIMES.div_ceil(x.tiles().count().div_ceil(2)) {
            panels::multiply(self.kernel, &w, 0..w.panels(), &x, |_, _, _| ());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::Pool;

    #[test]
    fn any_weights_and_any_number_of_rows_are_taken() {
        for level in [Level::Scalar, Level::Simd] {
            let cpu = Cpu::new(level, Pool::serial());
            for dtype in [Dtype::F32, Dtype::F16, Dtype::Q8_0, Dtype::Q4_0] {
                [0, 1, 7, 64, usize::MAX].into_iter().for_each(|rows| cpu.warm_up(dtype, rows));
            }
        }
    }
}
