//! The CPU kernels alone, called through [`Backend`] as the network calls them: first checked,
//! bit for bit, then timed. Products, the head's included, are compared with the scalar
//! reference; attention has one form at every level, so its decode step is compared with the
//! same row of a prompt. Throughput is bytes of weights (or of keys and values) per second, to
//! be compared with `read`, a plain read of the same bytes.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use half::f16;
use huggingtweets::{
    backend::{
        Backend, Batch, CacheShape, Epilogue, Place, Sequence,
        cpu::{Cpu, Level, Matrix, Packer, Pool, Rows},
        stream,
    },
    dtype::Dtype,
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// GPT-2's C, H, L, V and context.
const CHANNELS: usize = 768;
const HEADS: usize = 12;
const LAYERS: usize = 12;
const VOCAB: usize = 50257;
const CONTEXT: usize = 1024;

/// The linear layers of a transformer block: (name, N, K).
const LINEARS: [(&str, usize, usize); 4] = [
    ("c_attn", 3 * CHANNELS, CHANNELS),
    ("attn_proj", CHANNELS, CHANNELS),
    ("c_fc", 4 * CHANNELS, CHANNELS),
    ("mlp_proj", CHANNELS, 4 * CHANNELS),
];

/// Rows of activations: one token, five drafts, a piece of a prompt.
const ROWS: [usize; 3] = [1, 5, 64];

const QUANTISED: [(&str, Dtype); 2] = [("q8_0", Dtype::Q8_0), ("q4_0", Dtype::Q4_0)];

fn cpu(level: Level) -> Cpu {
    Cpu::new(level, Pool::serial())
}

/// A matrix (n, k) of random blocks.
fn matrix(rng: &mut ChaCha8Rng, n: usize, k: usize, dtype: Dtype) -> Matrix {
    let mut bytes = vec![0; dtype.matrix_bytes(n, k)];
    rng.fill_bytes(&mut bytes);
    let scale = f16::from_f32(0.001).to_le_bytes();
    for block in bytes.chunks_exact_mut(dtype.matrix_bytes(1, 32)) {
        block[..2].copy_from_slice(&scale);
    }
    let mut packer = Packer::new(n, k, dtype).expect("whole blocks");
    packer.push(&bytes).and_then(|()| packer.finish()).expect("every byte")
}

/// Activations (rows, width) between -1 and 1.
fn activations(rng: &mut ChaCha8Rng, rows: usize, width: usize) -> Rows {
    let values = (0..rows * width).map(|_| rng.next_u32() as f32 / 2f32.powi(31) - 1.0).collect();
    Rows::new(rows, width, values)
}

fn size_bytes(matrix: &Matrix) -> u64 {
    let (bytes, floats) = matrix.memory();
    (bytes.len() + size_of_val(floats)) as u64
}

/// Asserts that every epilogue of `linear` gives the reference's bits.
fn check_linear(w: &Matrix, x: &Rows, label: &str) {
    for epilogue in [Epilogue::Store, Epilogue::Gelu, Epilogue::Add] {
        let out = |level| {
            let (n, _) = w.shape();
            let mut out = Rows::new(x.rows, n, vec![0.5; x.rows * n]);
            cpu(level).linear(w, Some(&vec![0.25; n]), x, epilogue, &mut out);
            out.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        };
        assert!(out(Level::Simd) == out(Level::Scalar), "{label}: {epilogue:?} differs from the reference");
    }
}

fn linear(c: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    for (format, dtype) in QUANTISED {
        let mut group = c.benchmark_group(format!("linear {format}"));
        for (name, n, k) in LINEARS {
            let w = matrix(&mut rng, n, k, dtype);
            for rows in ROWS {
                let x = activations(&mut rng, rows, k);
                check_linear(&w, &x, name);
                let levels: &[Level] = if rows == 1 { &[Level::Simd, Level::Scalar] } else { &[Level::Simd] };
                group.throughput(Throughput::Bytes(size_bytes(&w)));
                for &level in levels {
                    let id = BenchmarkId::new(format!("{name} {}", level.name()), rows);
                    let (mut backend, mut out) = (cpu(level), Rows::default());
                    group.bench_function(id, |b| {
                        b.iter(|| backend.linear(&w, None, black_box(&x), Epilogue::Store, &mut out));
                    });
                }
            }
        }
    }
}

/// A step of `rows` rows.
fn batch(rows: usize) -> Batch {
    let places = (0..rows).map(|d| Place { sequence: Sequence::Draft(d), position: 9 }).collect();
    Batch { tokens: vec![0; rows], places, ..Batch::default() }
}

/// All matrix products of a decode step, each with its own matrix in memory: what a token costs
/// without attention and norms.
fn step(c: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut group = c.benchmark_group("step");
    group.sample_size(20);
    for (format, dtype) in QUANTISED {
        let shapes = (0..LAYERS).flat_map(|_| LINEARS.map(|(_, n, k)| (n, k))).chain([(VOCAB, CHANNELS)]);
        let matrices: Vec<_> = shapes.map(|(n, k)| matrix(&mut rng, n, k, dtype)).collect();
        group.throughput(Throughput::Bytes(matrices.iter().map(size_bytes).sum()));
        for rows in ROWS {
            let xs: Vec<_> = matrices.iter().map(|w| activations(&mut rng, rows, w.shape().1)).collect();
            // The others are of the shapes that `linear` checks.
            if let (Some(head), Some(x)) = (matrices.last(), xs.last()) {
                check_linear(head, x, "head");
            }
            let (mut backend, mut out) = (cpu(Level::Simd), Rows::default());
            backend.begin(&batch(rows));
            group.bench_function(BenchmarkId::new(format, rows), |b| {
                b.iter(|| {
                    for (w, x) in matrices.iter().zip(&xs) {
                        backend.linear(w, None, black_box(x), Epilogue::Store, &mut out);
                    }
                });
            });
        }
        group.bench_function(format!("read {format}"), |b| {
            b.iter(|| {
                matrices.iter().fold(0, |sum, w| {
                    let (bytes, floats) = w.memory();
                    sum ^ stream::read_bytes(bytes) ^ stream::read_floats(floats)
                })
            });
        });
    }
}

fn attention(c: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut group = c.benchmark_group("attention");
    for position in [63, 199, CONTEXT - 1] {
        let shape = CacheShape { prompt: CONTEXT, drafts: 1, tail: 1 };
        let mut backend = cpu(Level::Simd);
        let mut cache = backend.cache(1, HEADS, CHANNELS, shape).unwrap();
        let mut out = Rows::default();
        let fill = Batch::prompt(&[0; CONTEXT], Vec::new(), shape);
        let qkv = activations(&mut rng, CONTEXT, 3 * CHANNELS);
        backend.store(&qkv, &fill, 0, &mut cache);
        backend.attention(&qkv, &fill, 0, &cache, &mut out);
        // Attention is causal, so the prompt's row at this position is what a decode step there gives.
        let place = Place { sequence: Sequence::Prompt, position };
        let one = Batch { tokens: vec![0], places: vec![place], ..Batch::default() };
        let row = qkv.values[position * qkv.width..][..qkv.width].to_vec();
        let row = Rows::new(1, qkv.width, row);
        let whole = out.values[position * CHANNELS..][..CHANNELS].to_vec();
        backend.attention(&row, &one, 0, &cache, &mut out);
        assert!(out.values == whole, "attention at {position} differs from the same row of a prompt");

        group.throughput(Throughput::Bytes((2 * (position + 1) * CHANNELS * size_of::<f32>()) as u64));
        group.bench_function(BenchmarkId::from_parameter(position + 1), |b| {
            b.iter(|| backend.attention(black_box(&row), &one, 0, &cache, &mut out));
        });
    }
}

criterion_group!(kernels, linear, step, attention);
criterion_main!(kernels);
