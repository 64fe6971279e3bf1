//! Measures the CPU's time for a decoding step of one draft without the weights, which are on the
//! GPU at that point. A few layers of zeros stand in for all of them, since nearly all of a step
//! is reading weights.
//!
//! A network's weights exceed the CPU caches, so each layer is read from memory at every token. A
//! layer timed repeatedly would stay cached and look faster; therefore as much other memory as the
//! remaining weights is read in between.

use js_sys::{Array, Function, Reflect, Uint8Array};
use wasm_bindgen::JsCast;

use crate::{
    backend::{
        Backend, BackendError, Epilogue,
        cpu::{Cpu, Level, Matrix, Pool, Rows},
    },
    bundle::Precision,
    dtype::Dtype,
    gpt2::Config,
};

/// Layers timed one after the other: other threads have caches of their own, which reading memory
/// on this thread does not evict, but another layer's weights do.
const LAYERS: usize = 2;

/// Untimed warm-up steps.
const WARM_STEPS: usize = 2;

/// How often each layer is timed.
const ROUNDS: usize = 3;

/// Returns the milliseconds of a step by the clock `now_ms`. `sweep` reads that many bytes of
/// other memory.
///
/// # Errors
/// If a layer does not fit in memory.
pub fn step_ms(
    config: &Config,
    precision: Precision,
    pool: &Pool,
    mut now_ms: impl FnMut() -> f64,
    mut sweep: impl FnMut(u64),
) -> Result<f64, BackendError> {
    let (c, inner) = (config.n_embd, config.n_inner);
    let dtype = match precision {
        _ if !c.is_multiple_of(32) || !inner.is_multiple_of(32) => Dtype::F16,
        Precision::F32 => Dtype::F32,
        Precision::Q8_0 => Dtype::Q8_0,
        Precision::Q4_0 => Dtype::Q4_0,
    };
    let mut cpu = Cpu::new(Level::Simd, pool.clone());
    let mut layers = vec![layer(&cpu, config, dtype)?];
    // If only one layer fits, time that one.
    layers.extend((1..LAYERS.min(config.n_layer)).map_while(|_| layer(&cpu, config, dtype).ok()));
    let weights = (4 * c * c + 2 * c * inner) as f64;
    let of_all = (config.n_layer as f64 * weights + (config.vocab_size * c) as f64) / weights;
    let layer_bytes: usize =
        layers[0].iter().map(Matrix::memory).map(|(bytes, floats)| bytes.len() + size_of_val(floats)).sum();
    let others = layer_bytes as f64 * (of_all - layers.len() as f64);

    let rows = |width| Rows::new(1, width, vec![0.5; width]);
    let (x, wide) = (rows(c), rows(inner));
    let mut out = cpu.rows();
    let mut run = |layer: &[Matrix]| {
        for (w, x) in layer.iter().zip([&x, &x, &x, &wide]) {
            cpu.linear(w, None, x, Epilogue::Store, &mut out);
        }
    };
    (0..WARM_STEPS).for_each(|_| run(&layers[0]));
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        sweep(others as u64);
        for layer in &layers {
            let started_ms = now_ms();
            run(layer);
            times.push(now_ms() - started_ms);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2] * of_all)
}

/// Builds the matrices of a layer, all zeros.
fn layer(cpu: &Cpu, config: &Config, dtype: Dtype) -> Result<Vec<Matrix>, BackendError> {
    let (c, inner) = (config.n_embd, config.n_inner);
    let matrix = |(rows, cols)| {
        let mut packer = cpu.packer(rows, cols, dtype)?;
        let row = vec![0; dtype.matrix_bytes(1, cols)];
        for _ in 0..rows {
            cpu.pack(&mut packer, &row)?;
        }
        cpu.matrix(packer)
    };
    [(3 * c, c), (c, c), (inner, c), (c, inner)].into_iter().map(matrix).collect()
}

/// Other memory to read: a JavaScript buffer, which is garbage-collected, while WebAssembly memory
/// never shrinks.
#[derive(Default)]
pub struct Sweep {
    /// `None` until first needed; empty if it could not be allocated.
    memory: Option<Uint8Array>,
    piece: Vec<u8>,
}

/// Larger than most CPU caches, and read in a few milliseconds.
const SWEEP_BYTES: u32 = 64 << 20;

/// Bytes read at a time; stays in cache.
const SWEEP_PIECE_BYTES: u32 = 64 << 10;

impl Sweep {
    /// Reads `bytes` bytes, but at most [`SWEEP_BYTES`].
    pub fn read(&mut self, bytes: u64) {
        let bytes = bytes.min(u64::from(SWEEP_BYTES)) as u32;
        let memory = self.memory.get_or_insert_with(|| written(bytes).unwrap_or_default());
        self.piece.resize(SWEEP_PIECE_BYTES as usize, 0);
        let bytes = bytes.min(memory.length());
        for start in (0..bytes).step_by(SWEEP_PIECE_BYTES as usize) {
            let end = bytes.min(start + SWEEP_PIECE_BYTES);
            memory.subarray(start, end).copy_to(&mut self.piece[..(end - start) as usize]);
        }
        std::hint::black_box(&self.piece);
    }
}

/// Allocates a buffer and writes it once, so that its pages are really backed by memory; `None` if
/// it does not fit.
fn written(bytes: u32) -> Option<Uint8Array> {
    let make: Function = Reflect::get(&js_sys::global(), &"Uint8Array".into()).ok()?.dyn_into().ok()?;
    let memory: Uint8Array = Reflect::construct(&make, &Array::of1(&bytes.into())).ok()?.dyn_into().ok()?;
    Some(memory.fill(1, 0, bytes))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn config() -> Config {
        let json = br#"{"n_embd": 64, "n_head": 1, "n_layer": 5, "n_positions": 8, "vocab_size": 768}"#;
        Config::from_json(json).unwrap()
    }

    #[test]
    fn a_layer_that_memory_has_no_room_for_has_no_time() {
        let config = Config { n_inner: 1 << 56, ..config() };
        for precision in Precision::ALL {
            let time = step_ms(&config, precision, &Pool::serial(), || 0.0, |_| ());
            assert!(matches!(time, Err(BackendError::Memory { .. })), "{time:?}");
        }
    }

    #[test]
    fn layers_are_timed_when_the_others_have_been_read_since() {
        // Every read of this clock advances it by two milliseconds.
        let events = RefCell::new(String::new());
        let mut now_ms = 0.0;
        let clock = || {
            events.borrow_mut().push('t');
            now_ms += 2.0;
            now_ms
        };
        let swept = RefCell::new(Vec::new());
        let sweep = |bytes| {
            events.borrow_mut().push('s');
            swept.borrow_mut().push(bytes);
        };
        let time = step_ms(&config(), Precision::Q8_0, &Pool::serial(), clock, sweep).unwrap();
        assert_eq!(events.into_inner(), "sttttsttttstttt");
        // A layer has 12 C² weights and so has the embedding: six layers' worth, of which two are
        // timed.
        assert_eq!(time, 6.0 * 2.0);
        // 36 bytes for each 32 weights.
        assert_eq!(swept.into_inner(), [4 * 12 * 64 * 64 * 36 / 32; ROUNDS]);
    }

    #[test]
    fn a_network_of_one_layer_is_timed_by_it() {
        let config = Config { n_layer: 1, ..config() };
        let reads = RefCell::new(0);
        let clock = || {
            *reads.borrow_mut() += 1;
            0.0
        };
        step_ms(&config, Precision::Q4_0, &Pool::serial(), clock, |_| ()).unwrap();
        assert_eq!(reads.into_inner(), 2 * ROUNDS);
    }
}
