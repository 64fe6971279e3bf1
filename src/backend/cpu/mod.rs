//! The engine on the processor: scalar kernels as the reference, and vector kernels.
//!
//! [`Level`] selects the integer kernels at run time; all other code is shared. Integer sums are
//! exact and float sums have one specified order ([`math`]), so every level on every target, with
//! any number of threads, gives the same bits.

mod attention;
pub mod math;
mod matrix;
mod order_tuner;
mod panels;
pub mod pool;
mod prefetch;
mod quant;
mod scalar;
mod shared;
#[cfg(test)]
mod tests;
mod vector;
mod warm_up;

pub use attention::Cache;
pub use matrix::{Matrix, Packer, f16_values, f32_values};
pub use panels::{Level, Order};
pub use pool::Pool;

use std::future::ready;

use super::{Backend, BackendError, Batch, CacheShape, Epilogue, Outputs, Wanted, top::Top};
use crate::dtype::Dtype;
use matrix::Dense;
use order_tuner::OrderTuner;
use panels::{Format, Kernel, ORDERS, Results};
use quant::{BLOCK, QuantRows};
use shared::Shared;

/// Activations (rows, width) f32, row-major.
#[derive(Debug, Default)]
pub struct Rows {
    pub rows: usize,
    pub width: usize,
    pub values: Vec<f32>,
    /// The values quantised, if the product that computed them has done that too.
    quantised: QuantRows,
    is_quantised: bool,
}

impl Rows {
    /// From values (rows, width).
    pub fn new(rows: usize, width: usize, values: Vec<f32>) -> Self {
        Self { rows, width, values, ..Self::default() }
    }

    /// Sets the shape, reusing memory; the values are unspecified.
    fn shape(&mut self, rows: usize, width: usize) {
        self.is_quantised = false;
        self.rows = rows;
        self.width = width;
        self.values.resize(rows * width, 0.0);
    }

    /// The rows quantised for weights of this format: as they are, or into `scratch`.
    fn quantised<'a>(&'a self, format: Format, scratch: &'a mut QuantRows) -> &'a QuantRows {
        if self.is_quantised && self.quantised.format() == format {
            return &self.quantised;
        }
        scratch.fill(&self.values, self.width, format);
        scratch
    }

    /// Where a product with weights of this format puts its results, and quantises them for the
    /// next one if `again`.
    fn results(&mut self, format: Format, again: bool) -> Results<'_> {
        self.is_quantised = again && self.width.is_multiple_of(BLOCK);
        let quantised = self.is_quantised.then(|| self.quantised.shape(self.rows, self.width, format));
        Results { values: &mut self.values, quantised }
    }

    /// Iterates over the rows.
    fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.width.max(1))
    }
}

/// The blocks of a row as the definition quantises them, with their scales; other backends are
/// tested against it.
#[cfg(test)]
pub fn quantised(row: &[f32]) -> Vec<([i8; BLOCK], f32)> {
    let mut rows = QuantRows::default();
    rows.fill(row, row.len(), Format::Q8);
    let tile = rows.tiles().next();
    tile.map_or(Vec::new(), |tile| {
        (0..tile.blocks).map(|b| tile.block(0, b)).map(|(values, scale)| (*values, scale)).collect()
    })
}

/// The processor's backend.
#[derive(Debug)]
pub struct Cpu {
    kernel: Kernel,
    tuner: OrderTuner,
    pool: Pool,
    quantised: QuantRows,
    /// Scratch: what a linear layer adds to its outputs ([`Epilogue::Add`]).
    added: Vec<f32>,
    /// Scratch of attention, one per task.
    attention: Vec<attention::Scratch>,
    /// Scratch: the head's largest logits, one collector per task and row.
    tops: Vec<Top>,
}

impl Cpu {
    pub fn new(level: Level, pool: Pool) -> Self {
        let kernel = Kernel { level, order: ORDERS[0] };
        Self {
            kernel,
            tuner: OrderTuner::default(),
            pool,
            quantised: QuantRows::default(),
            added: Vec::new(),
            attention: Vec::new(),
            tops: Vec::new(),
        }
    }

    /// Sets the order of what follows, until [`Backend::begin`] chooses one: for checks, because
    /// none changes a bit.
    pub fn set_order(&mut self, order: Order) {
        self.kernel.order = order;
    }

    /// The level of the kernels that run.
    pub fn level(&self) -> Level {
        self.kernel.level
    }

    /// Threads that compute, the caller's included.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }
}

impl Backend for Cpu {
    const ROWS_AT_ONCE: usize = 64;

    type Matrix = Matrix;
    type Packer = Packer;
    type Vector = Vec<f32>;
    type Rows = Rows;
    type Cache = Cache;

    fn packer(&self, rows: usize, cols: usize, dtype: Dtype) -> Result<Packer, BackendError> {
        Packer::new(rows, cols, dtype)
    }

    fn pack(&self, packer: &mut Packer, bytes: &[u8]) -> Result<(), BackendError> {
        packer.push(bytes)
    }

    fn matrix(&self, packer: Packer) -> Result<Matrix, BackendError> {
        packer.finish()
    }

    fn vector(&self, values: Vec<f32>) -> Vec<f32> {
        values
    }

    fn rows(&self) -> Rows {
        Rows::default()
    }

    fn cache(
        &self,
        layers: usize,
        heads: usize,
        channels: usize,
        shape: CacheShape,
    ) -> Result<Cache, BackendError> {
        Cache::new(layers, heads, channels / heads.max(1), shape)
            .ok_or_else(|| BackendError::CacheMemory { slots: shape.slots() })
    }

    fn begin(&mut self, batch: &Batch) {
        self.kernel.order = self.tuner.begin(batch);
    }

    fn took(&mut self, ms: f64) {
        self.tuner.took(ms);
    }

    fn embed(&mut self, wte: &Matrix, wpe: &Matrix, batch: &Batch, out: &mut Rows) {
        out.shape(batch.rows(), wte.shape().1);
        out.values.fill(0.0);
        let rows = out.values.chunks_exact_mut(out.width);
        for ((row, &token), place) in rows.zip(&batch.tokens).zip(&batch.places) {
            wte.add_row(token as usize, row);
            wpe.add_row(place.position, row);
        }
    }

    fn layer_norm(&mut self, x: &Rows, gain: &Vec<f32>, bias: &Vec<f32>, epsilon: f32, out: &mut Rows) {
        out.shape(x.rows, x.width);
        for (x, out) in x.iter().zip(out.values.chunks_exact_mut(x.width)) {
            math::layer_norm(x, gain, bias, epsilon, out);
        }
    }

    fn linear(&mut self, w: &Matrix, bias: Option<&Vec<f32>>, x: &Rows, epilogue: Epilogue, out: &mut Rows) {
        match epilogue {
            Epilogue::Store | Epilogue::Gelu => out.shape(x.rows, w.shape().0),
            Epilogue::Add => out.is_quantised = false,
        }
        let bias = bias.map(Vec::as_slice);
        match w {
            Matrix::Dense(w) => dense(self.kernel, &self.pool, w, bias, x, epilogue, &mut out.values),
            Matrix::Quantised(w) => {
                let (kernel, pool) = (self.kernel, &self.pool);
                let x = x.quantised(w.format, &mut self.quantised);
                // In GPT-2 another product follows a GELU, most often of the same format.
                let results = out.results(w.format, epilogue == Epilogue::Gelu);
                panels::linear(kernel, pool, w, bias, x, epilogue, &mut self.added, results);
            }
        }
    }

    fn store(&mut self, qkv: &Rows, batch: &Batch, layer: usize, cache: &mut Cache) {
        cache.store(layer, batch, &qkv.values);
    }

    fn attention(&mut self, qkv: &Rows, batch: &Batch, layer: usize, cache: &Cache, out: &mut Rows) {
        out.shape(qkv.rows, qkv.width / 3);
        let (kernel, pool) = (self.kernel, &self.pool);
        cache.attend(kernel, pool, layer, batch, &qkv.values, &mut self.attention, &mut out.values);
    }

    fn select(&mut self, x: &Rows, rows: &[usize], before: usize, out: &mut Rows) {
        out.shape(before + rows.len(), x.width);
        for (&row, out) in rows.iter().zip(out.values.chunks_exact_mut(x.width).skip(before)) {
            out.copy_from_slice(&x.values[row * x.width..][..x.width]);
        }
    }

    fn head(&mut self, w: &Matrix, x: &Rows, wanted: Wanted, out: &mut Outputs) {
        out.vocab = w.shape().0;
        match (wanted, w) {
            (Wanted::Top(k), Matrix::Quantised(w)) => self.largest(w, x, k, &mut out.top),
            (Wanted::All, _) => {
                let mut logits = Rows::default();
                self.linear(w, None, x, Epilogue::Store, &mut logits);
                out.logits.append(&mut logits.values);
            }
            (Wanted::Top(k), Matrix::Dense(_)) => {
                let mut logits = Rows::default();
                self.linear(w, None, x, Epilogue::Store, &mut logits);
                let mut top = Top::default();
                for row in logits.iter() {
                    top.restart(k);
                    top.take(0, row);
                    out.top.push(top.finish());
                }
            }
        }
    }

    fn collect(&mut self, _: &mut Outputs) -> impl Future<Output = Result<(), BackendError>> {
        ready(Ok(()))
    }
}

impl Cpu {
    /// The k largest logits of each row of x (R, C), collected as w's panels are multiplied.
    fn largest(&mut self, w: &matrix::Panels, x: &Rows, k: usize, out: &mut Vec<Vec<(u32, f32)>>) {
        let quantised = x.quantised(w.format, &mut self.quantised);
        let tasks = self.kernel.tasks(&self.pool, w.panels());
        self.tops.resize_with(self.tops.len().max(tasks * x.rows), Top::default);
        self.tops.iter_mut().for_each(|top| top.restart(k));
        let kernel = self.kernel;
        let tops = Shared::new(&mut self.tops);
        panels::spread(&self.pool, tasks, w.panels(), |task, range| {
            // SAFETY: the range is this task's own: tasks have different numbers.
            let tops = unsafe { tops.slice(task * x.rows, x.rows) };
            panels::multiply(kernel, w, range, quantised, |row, first, logits| tops[row].take(first, logits));
        });
        for row in 0..x.rows {
            let (first, rest) = self.tops.split_at_mut(x.rows);
            for other in rest.iter().skip(row).step_by(x.rows).take(tasks - 1) {
                first[row].merge(other);
            }
            out.push(first[row].finish());
        }
    }
}

/// A linear layer of floats: `x W^T` of x (R, K) and w (N, K), with bias (N) and epilogue, into out
/// (R, N). Rows of w are outermost, so that each is read from memory once.
fn dense(
    kernel: Kernel,
    pool: &Pool,
    w: &Dense,
    bias: Option<&[f32]>,
    x: &Rows,
    epilogue: Epilogue,
    out: &mut [f32],
) {
    let out = Shared::new(out);
    panels::spread(pool, kernel.tasks(pool, w.rows), w.rows, |_, range| {
        for n in range {
            let row = &w.values[n * w.cols..][..w.cols];
            let bias = bias.map(|bias| &bias[n..=n]);
            for (r, x) in x.iter().enumerate() {
                // SAFETY: the ranges of tasks are disjoint, so one task alone writes output n of
                // every row.
                let out = unsafe { &mut out.slice(r * w.rows + n, 1)[0] };
                let mut value = [math::dot(row, x)];
                panels::finish(&mut value, bias, epilogue);
                *out = if epilogue == Epilogue::Add { *out + value[0] } else { value[0] };
            }
        }
    });
}
