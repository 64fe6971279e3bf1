//! The engine on the processor: scalar as the reference, and vectors.
//!
//! [`Level`] chooses the integer kernels at run time; everything else is one
//! code. Integer sums are exact, and float sums have one written order
//! ([`math`]), so every level on every target gives the same bits.

mod attention;
pub mod math;
mod matrix;
mod panels;
pub mod pool;
mod quant;
mod scalar;
mod vector;

pub use attention::Cache;
pub use matrix::{Matrix, f16_values, f32_values};
pub use panels::Level;
pub use pool::Pool;

use super::{Backend, BackendError, Batch, CacheShape, Dtype, Epilogue};
use matrix::Dense;
use quant::QuantRows;

/// Activations (rows, width) f32, row-major.
#[derive(Debug, Default)]
pub struct Rows {
    pub rows: usize,
    pub width: usize,
    pub values: Vec<f32>,
}

impl Rows {
    /// Sets the shape, re-using memory; values are unspecified.
    fn shape(&mut self, rows: usize, width: usize) {
        self.rows = rows;
        self.width = width;
        self.values.resize(rows * width, 0.0);
    }

    /// Row by row.
    fn iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.width.max(1))
    }
}

/// The processor's backend.
#[derive(Debug)]
pub struct Cpu {
    level: Level,
    pool: Pool,
    quantised: QuantRows,
    products: Vec<f32>,
    scores: Vec<f32>,
}

impl Cpu {
    pub fn new(level: Level, pool: Pool) -> Self {
        Self { level, pool, quantised: QuantRows::default(), products: Vec::new(), scores: Vec::new() }
    }

    /// Which kernels run.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The threads that share the work.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl Backend for Cpu {
    type Matrix = Matrix;
    type Vector = Vec<f32>;
    type Rows = Rows;
    type Cache = Cache;

    fn matrix(&self, rows: usize, cols: usize, dtype: Dtype, bytes: &[u8]) -> Result<Matrix, BackendError> {
        Matrix::new(rows, cols, dtype, bytes)
    }

    fn vector(&self, values: Vec<f32>) -> Vec<f32> {
        values
    }

    fn rows(&self) -> Rows {
        Rows::default()
    }

    fn cache(&self, layers: usize, channels: usize, shape: CacheShape) -> Cache {
        Cache::new(layers, channels, shape)
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
        let (n, _) = w.shape();
        self.products.resize(x.rows * n, 0.0);
        match w {
            Matrix::Dense(w) => dense(w, x, &mut self.products),
            Matrix::Q8(w) => {
                self.quantised.fill(&x.values, x.width);
                panels::multiply(self.level, panels::Format::Q8, w, &self.quantised, &mut self.products);
            }
            Matrix::Q4(w) => {
                self.quantised.fill(&x.values, x.width);
                panels::multiply(self.level, panels::Format::Q4, w, &self.quantised, &mut self.products);
            }
        }
        if epilogue != Epilogue::Add {
            out.shape(x.rows, n);
        }
        for (product, out) in self.products.chunks_exact_mut(n).zip(out.values.chunks_exact_mut(n)) {
            if let Some(bias) = bias {
                for (product, bias) in product.iter_mut().zip(bias) {
                    *product += bias;
                }
            }
            match epilogue {
                Epilogue::Store => out.copy_from_slice(product),
                Epilogue::Gelu => {
                    for (out, &product) in out.iter_mut().zip(&*product) {
                        *out = math::gelu(product);
                    }
                }
                Epilogue::Add => {
                    for (out, product) in out.iter_mut().zip(&*product) {
                        *out += product;
                    }
                }
            }
        }
    }

    fn attention(
        &mut self,
        qkv: &Rows,
        batch: &Batch,
        layer: usize,
        heads: usize,
        cache: &mut Cache,
        out: &mut Rows,
    ) {
        out.shape(qkv.rows, qkv.width / 3);
        cache.store(layer, batch, &qkv.values);
        cache.attend(layer, batch, heads, &qkv.values, &mut self.scores, &mut out.values);
    }

    fn select(&mut self, x: &Rows, rows: &[usize], out: &mut Rows) {
        out.shape(rows.len(), x.width);
        for (&row, out) in rows.iter().zip(out.values.chunks_exact_mut(x.width)) {
            out.copy_from_slice(&x.values[row * x.width..][..x.width]);
        }
    }

    fn read<'a>(&'a self, x: &'a Rows) -> &'a [f32] {
        &x.values
    }
}

/// products (R, N) = x (R, K) times w (N, K) transposed. Rows of w outermost,
/// so that each is read from memory once.
fn dense(w: &Dense, x: &Rows, products: &mut [f32]) {
    for (n, row) in w.values.chunks_exact(w.cols).enumerate() {
        for (r, x) in x.iter().enumerate() {
            products[r * w.rows + n] = math::dot(row, x);
        }
    }
}
