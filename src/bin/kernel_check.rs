//! Compares the engine's vector kernels with the scalar reference; compiled to wasm for the browser
//! tests alone (`tests/web/kernels.test.mjs`). Natively `backend/cpu/tests.rs` does the same with
//! other instructions.

use huggingtweets::{
    backend::{
        Backend, Epilogue, Outputs, Wanted,
        cpu::{Cpu, Level, Order, Packer, Pool, Rows},
    },
    dtype::{BLOCK, Dtype},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use wasm_bindgen::{UnwrapThrowExt, prelude::wasm_bindgen};

/// The instructions that [`check`] tests on this machine.
#[wasm_bindgen]
pub fn instructions() -> String {
    Level::Simd.instructions().into()
}

/// Computes products and heads of random shapes and values, in both formats; describes the first
/// case whose bits differ.
#[wasm_bindgen]
pub fn check(seed: u32, cases: u32) -> Option<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed.into());
    (0..cases).find_map(|_| {
        let mut one_to = |most: u32| (rng.next_u32() % most + 1) as usize;
        // Weights from part of one panel to several groups of panels with a remainder; activations
        // from one tile to several.
        let (rows, cols, inputs) = (one_to(180), one_to(6) * BLOCK, one_to(20));
        let k = one_to(rows as u32);
        [Dtype::Q8_0, Dtype::Q4_0].into_iter().find_map(|dtype| {
            let x = activations(&mut rng, inputs, cols);
            let bytes = weights(&mut rng, dtype, rows, cols);
            let run = |level, order| run(level, order, dtype, rows, &bytes, &x, k);
            let scalar = run(Level::Scalar, Order::all().next()?);
            let order = Order::all().find(|&order| run(Level::Simd, order) != scalar)?;
            Some(format!("{dtype:?}, {rows} x {cols} weights, {inputs} rows, {order:?}"))
        })
    })
}

/// The outputs of every epilogue, and the k largest logits of a head, as bits.
fn run(level: Level, order: Order, dtype: Dtype, rows: usize, bytes: &[u8], x: &Rows, k: usize) -> Vec<u32> {
    let mut cpu = Cpu::new(level, Pool::serial());
    cpu.set_order(order);
    let mut packer = Packer::new(rows, x.width, dtype).expect_throw("a matrix");
    packer.push(bytes).expect_throw("its bytes");
    let matrix = packer.finish().expect_throw("all of them");
    let bias: Vec<f32> = (0..rows).map(|i| i as f32 * 0.1).collect();
    let mut bits = Vec::new();
    for epilogue in [Epilogue::Store, Epilogue::Gelu, Epilogue::Add] {
        let mut out = Rows::new(x.rows, rows, vec![0.5; x.rows * rows]);
        cpu.linear(&matrix, Some(&bias), x, epilogue, &mut out);
        bits.extend(out.values.into_iter().map(f32::to_bits));
    }
    let mut outputs = Outputs::default();
    cpu.head(&matrix, x, Wanted::Top(k), &mut outputs);
    for row in &mut outputs.top {
        row.sort_by_key(|candidate| candidate.0);
        bits.extend(row.iter().flat_map(|&(token, logit)| [token, logit.to_bits()]));
    }
    bits
}

/// (rows, width), with some blocks of zeros, some of equal numbers, and some numbers far above the
/// others.
fn activations(rng: &mut ChaCha8Rng, rows: usize, width: usize) -> Rows {
    let mut values = Vec::new();
    for _ in 0..rows * width / BLOCK {
        let scale = [0.0, 1e-3, 1.0, 40.0][(rng.next_u32() % 4) as usize];
        values.extend((0..BLOCK).map(|_| scale * (rng.next_u32() as i32 as f32 / i32::MAX as f32)));
        if rng.next_u32().is_multiple_of(8) {
            let first = values.len() - BLOCK;
            let value = values[first];
            values[first..].fill(value);
        }
        if let Some(last) = values.last_mut().filter(|_| rng.next_u32().is_multiple_of(4)) {
            *last *= 100.0;
        }
    }
    Rows::new(rows, width, values)
}

/// GGUF bytes of a (rows, cols) matrix, with any quants (-128 included), blocks of the largest, and
/// scales of both signs.
fn weights(rng: &mut ChaCha8Rng, dtype: Dtype, rows: usize, cols: usize) -> Vec<u8> {
    let mut bytes = vec![0; dtype.matrix_bytes(rows, cols)];
    rng.fill_bytes(&mut bytes);
    for block in bytes.chunks_exact_mut(dtype.matrix_bytes(1, BLOCK)) {
        let scale = half::f16::from_f32((rng.next_u32() % 2001) as f32 * 1e-3 - 1.0);
        if rng.next_u32().is_multiple_of(8) {
            block.fill(0x7f);
        }
        block[..2].copy_from_slice(&scale.to_le_bytes());
    }
    bytes
}

/// Empty: the browser test calls the functions above.
fn main() {}
