//! Kernels made quick before they are needed.
//!
//! A browser compiles a function twice: at once, and again, quick, when it has run for a
//! while, on a thread of its own. What a kernel does until then takes several times as long.

use super::{
    Cpu, Matrix, Packer,
    matrix::PANEL,
    panels::{self, Level},
    quant::{BLOCK, QuantRows},
};
use crate::{backend::Backend, dtype::Dtype};

/// A small matrix, (outputs, inputs): its panels go through the kernels in one call.
const SHAPE: (usize, usize) = (16 * PANEL, 24 * BLOCK);

/// Products of it with each tile of rows: twice what V8 asks for (`wasm_tiering_budget`, 13
/// million bytes of code that ran), and a millisecond or two.
const TIMES: usize = 24;

impl Cpu {
    /// Has the kernels for so many rows and weights of this dtype run on zeros, so that a
    /// browser makes them quick beside whatever is done next.
    pub fn warm_up(&self, dtype: Dtype, rows: usize) {
        // The reference is not there to be quick.
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
        // More are multiplied in pieces.
        let rows = rows.clamp(1, Self::ROWS_AT_ONCE);
        x.fill(&vec![0.0; rows * k], k, w.format);
        // Two tiles may differ, with functions of their own; of more, most are alike.
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
