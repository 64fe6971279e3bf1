//! Compares every kernel with the reference, over random shapes.

use proptest::prelude::*;

use super::*;
use super::{panels::Format, quant::BLOCK};
use crate::backend::{Place, Sequence};

/// Bound on sums in f32 against f64, relative to the sum of the terms' magnitudes.
const SUM_BOUND: f64 = 1e-5;

/// Added to the bound, for sums near f32's smallest numbers.
const SMALLEST: f64 = 1e-9;

/// Bound on attention in f32 against f64, for values within -1..=1.
const ATTENTION_BOUND: f64 = 1e-5;

/// GGUF bytes of random weights, and the weights themselves.
fn random(dtype: Dtype, rows: usize, cols: usize, seed: u64) -> (Vec<u8>, Vec<f32>) {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as u32
    };
    let (mut bytes, mut values) = (Vec::new(), Vec::new());
    for _ in 0..rows * cols / BLOCK {
        let scale = half::f16::from_f32((next() % 1000 + 1) as f32 * 1e-4);
        bytes.extend(scale.to_le_bytes());
        let quants: Vec<u8> = (0..dtype.matrix_bytes(1, BLOCK) - 2).map(|_| next() as u8).collect();
        match dtype {
            Dtype::Q8_0 => values.extend(quants.iter().map(|&q| f32::from(q as i8) * scale.to_f32())),
            _ => {
                let low = quants.iter().map(|q| f32::from((q & 15) as i8 - 8) * scale.to_f32());
                let high = quants.iter().map(|q| f32::from((q >> 4) as i8 - 8) * scale.to_f32());
                values.extend(low.chain(high));
            }
        }
        bytes.extend(quants);
    }
    (bytes, values)
}

fn packed(dtype: Dtype, rows: usize, cols: usize, bytes: &[u8], piece: usize) -> Matrix {
    let mut packer = Packer::new(rows, cols, dtype).unwrap();
    for piece in bytes.chunks(piece) {
        packer.push(piece).unwrap();
    }
    packer.finish().unwrap()
}

fn activations(rows: usize, width: usize, seed: u64) -> Rows {
    let value = |i: usize| (((i as u64 * 7919) ^ seed) % 2001) as f32 * 1e-3 - 1.0;
    Rows::new(rows, width, (0..rows * width).map(value).collect())
}

fn linear(cpu: &mut Cpu, w: &Matrix, bias: &Vec<f32>, x: &Rows, epilogue: Epilogue) -> Vec<f32> {
    let mut out = activations(x.rows, w.shape().0, 3);
    cpu.linear(w, Some(bias), x, epilogue, &mut out);
    out.values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn levels_and_threads_agree_in_every_bit_and_with_the_definition(
        rows in 1usize..120, blocks in 1usize..5, inputs in 1usize..20, seed: u64, piece in 1usize..200,
    ) {
        let cols = blocks * BLOCK;
        let x = activations(inputs, cols, seed);
        let bias: Vec<f32> = (0..rows).map(|i| i as f32 * 0.1).collect();
        let mut quantised = QuantRows::default();
        quantised.fill(&x.values, cols, Format::Q8);
        let pool = Pool::new(3);
        for dtype in [Dtype::Q8_0, Dtype::Q4_0] {
            let (bytes, values) = random(dtype, rows, cols, seed);
            let matrix = packed(dtype, rows, cols, &bytes, piece);
            let mut scalar = Cpu::new(Level::Scalar, Pool::serial());
            let mut others =
                [Cpu::new(Level::Simd, Pool::serial()), Cpu::new(Level::Simd, pool.clone())];
            for epilogue in [Epilogue::Store, Epilogue::Gelu, Epilogue::Add] {
                let expected = linear(&mut scalar, &matrix, &bias, &x, epilogue);
                for other in &mut others {
                    for order in Order::all() {
                        other.set_order(order);
                        prop_assert_eq!(&linear(other, &matrix, &bias, &x, epilogue), &expected);
                    }
                }
            }
            let stored = linear(&mut scalar, &matrix, &bias, &x, Epilogue::Store);
            let places = quantised.tiles().flat_map(|tile| (0..tile.rows).map(move |row| (tile, row)));
            for (r, (tile, row)) in places.enumerate() {
                for n in 0..rows {
                    let terms = (0..cols).map(|k| {
                        let (x, x_scale) = tile.block(row, k / BLOCK);
                        f64::from(values[n * cols + k]) * f64::from(x[k % BLOCK]) * f64::from(x_scale)
                    });
                    let (sum, size) = terms.fold((0.0, 0.0), |(s, a), t| (s + t, a + t.abs()));
                    let sum = sum + f64::from(bias[n]);
                    prop_assert!((f64::from(stored[r * rows + n]) - sum).abs() <= SUM_BOUND * (size + sum.abs()) + SMALLEST);
                }
            }
            let mut row = vec![0.0; cols];
            matrix.add_row(rows - 1, &mut row);
            prop_assert_eq!(&row[..], &values[(rows - 1) * cols..]);
        }
    }

    #[test]
    fn the_largest_products_are_exact(x in prop::sample::select(&[1.0f32, -1.0]), inputs in 1usize..10) {
        for weight in [127, -127, i8::MIN] {
            let mut bytes = half::f16::ONE.to_le_bytes().to_vec();
            bytes.extend([weight as u8; BLOCK]);
            let matrix = packed(Dtype::Q8_0, matrix::PANEL, BLOCK, &bytes.repeat(matrix::PANEL), 1000);
            // Pairs of equal values, and values by themselves.
            for every in [1, 2, BLOCK] {
                let value = |i: usize| if i.is_multiple_of(every) { x } else { 0.0 };
                let x = Rows::new(inputs, BLOCK, (0..inputs * BLOCK).map(value).collect());
                let [expected, found] = [Level::Scalar, Level::Simd].map(|level| {
                    let mut cpu = Cpu::new(level, Pool::serial());
                    linear(&mut cpu, &matrix, &vec![0.0; matrix::PANEL], &x, Epilogue::Store)
                });
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn what_follows_a_gelu_is_quantised_by_the_tasks_as_it_would_be_afterwards(
        panels in 1usize..33, inputs in 1usize..40, seed: u64,
    ) {
        // Some widths are a multiple of a block.
        let (width, outputs) = (panels * matrix::PANEL, 24);
        let bias: Vec<f32> = (0..width).map(|i| i as f32 * 0.01 - 1.0).collect();
        let x = activations(inputs, BLOCK, seed);
        let first = packed(Dtype::Q8_0, width, BLOCK, &random(Dtype::Q8_0, width, BLOCK, seed).0, 1000);
        for (dtype, pool) in [Dtype::Q8_0, Dtype::Q4_0].into_iter().zip([Pool::serial(), Pool::new(3)]) {
            for order in Order::all() {
                let mut cpu = Cpu::new(Level::Simd, pool.clone());
                cpu.set_order(order);
                let mut hidden = Rows::default();
                cpu.linear(&first, Some(&bias), &x, Epilogue::Gelu, &mut hidden);
                prop_assert_eq!(hidden.is_quantised, width.is_multiple_of(BLOCK));
                if !hidden.is_quantised {
                    continue;
                }
                let again = Rows::new(inputs, width, hidden.values.clone());
                let (bytes, _) = random(dtype, outputs, width, seed);
                let second = packed(dtype, outputs, width, &bytes, 1000);
                let bias = vec![0.5; outputs];
                let found = linear(&mut cpu, &second, &bias, &hidden, Epilogue::Add);
                prop_assert_eq!(found, linear(&mut cpu, &second, &bias, &again, Epilogue::Add));
                // Whatever is written over it is not taken for its product.
                cpu.linear(&packed(Dtype::Q8_0, width, BLOCK, &random(Dtype::Q8_0, width, BLOCK, 1).0, 99),
                    None, &x, Epilogue::Add, &mut hidden);
                prop_assert!(!hidden.is_quantised);
            }
        }
    }

    #[test]
    fn the_head_gives_the_largest_of_all_its_logits(
        vocab in 1usize..300, inputs in 1usize..6, k in 1usize..40, seed: u64,
    ) {
        let x = activations(inputs, 64, seed);
        for dtype in [Dtype::Q8_0, Dtype::Q4_0] {
            let (bytes, values) = random(dtype, vocab, 64, seed);
            let floats: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let matrices = [
                packed(dtype, vocab, 64, &bytes, 1000),
                packed(Dtype::F32, vocab, 64, &floats, 999),
            ];
            for w in &matrices {
                for pool in [Pool::serial(), Pool::new(2)] {
                    let mut cpu = Cpu::new(Level::Simd, pool);
                    let (mut all, mut top) = (Outputs::default(), Outputs::default());
                    cpu.head(w, &x, Wanted::All, &mut all);
                    cpu.head(w, &x, Wanted::Top(k), &mut top);
                    prop_assert_eq!((all.rows(), top.rows()), (inputs, inputs));
                    for r in 0..inputs {
                        let logits = &all.logits[r * vocab..][..vocab];
                        let mut expected = Top::default();
                        expected.restart(k);
                        expected.take(0, logits);
                        let mut expected = expected.finish();
                        let mut found = top.top[r].clone();
                        expected.sort_by_key(|c| c.0);
                        found.sort_by_key(|c| c.0);
                        prop_assert_eq!(found, expected);
                    }
                }
            }
        }
    }

    #[test]
    fn attention_is_softmax_of_the_visible(
        prompt in 1usize..6, drafts in 1usize..4, heads in 1usize..4, width in 1usize..20, seed: u64,
    ) {
        let c = heads * width;
        let shape = CacheShape { prompt, drafts, tail: 2 };
        // The prompt, then one token of every draft, then its second.
        let mut batches = vec![Batch::prompt(&vec![0; prompt], vec![], shape)];
        for step in 0..2 {
            let places = (0..drafts).map(|d| Place { sequence: Sequence::Draft(d), position: prompt + step });
            batches.push(Batch { tokens: vec![0; drafts], places: places.collect(), ..Batch::default() });
        }
        let runs: Vec<Vec<Vec<f32>>> = [Pool::serial(), Pool::new(3)]
            .into_iter()
            .map(|pool| {
                let mut cpu = Cpu::new(Level::Simd, pool);
                let mut cache = cpu.cache(1, heads, c, shape).unwrap();
                let run = |(i, batch): (usize, &Batch)| {
                    let qkv = activations(batch.rows(), 3 * c, seed ^ i as u64);
                    let mut out = Rows::default();
                    cpu.store(&qkv, batch, 0, &mut cache);
                    cpu.attention(&qkv, batch, 0, &cache, &mut out);
                    out.values
                };
                batches.iter().enumerate().map(run).collect()
            })
            .collect();
        prop_assert_eq!(&runs[0], &runs[1]);
        // The last draft's second token, computed directly in f64.
        let qkv: Vec<Rows> =
            batches.iter().enumerate().map(|(i, b)| activations(b.rows(), 3 * c, seed ^ i as u64)).collect();
        let seen: Vec<&[f32]> = (qkv[0].iter())
            .chain(qkv[1..].iter().map(|rows| rows.iter().last().unwrap()))
            .collect();
        for head in 0..heads {
            let part = |row: &[f32], which: usize, i: usize| f64::from(row[which * c + head * width + i]);
            let dot = |row: &[f32]| (0..width).map(|i| part(seen[seen.len() - 1], 0, i) * part(row, 1, i)).sum::<f64>();
            let weights: Vec<f64> = seen.iter().map(|row| (dot(row) / (width as f64).sqrt()).exp()).collect();
            let total: f64 = weights.iter().sum();
            for i in 0..width {
                let expected: f64 = seen.iter().zip(&weights).map(|(row, w)| w * part(row, 2, i)).sum::<f64>() / total;
                let found = runs[0][2][(drafts - 1) * c + head * width + i];
                prop_assert!((f64::from(found) - expected).abs() < ATTENTION_BOUND, "{} {}", found, expected);
            }
        }
    }
}

#[test]
fn a_tensor_of_the_wrong_size_or_shape_is_refused() {
    assert!(matches!(Packer::new(2, 40, Dtype::Q8_0), Err(BackendError::Columns { cols: 40 })));
    assert!(matches!(Packer::new(1 << 40, 1 << 20, Dtype::F32), Err(BackendError::Memory { .. })));
    let mut packer = Packer::new(2, 32, Dtype::Q8_0).unwrap();
    packer.push(&[0; 60]).unwrap();
    assert!(matches!(packer.push(&[0; 9]), Err(BackendError::MatrixBytes { expected: 68, found: 69, .. })));
    assert!(matches!(packer.finish(), Err(BackendError::MatrixBytes { expected: 68, found: 60, .. })));
    assert_eq!(Format::Q4.block_bytes(), 32 + 128);
}

#[test]
fn a_cache_beyond_the_memory_is_refused_in_words() {
    let shape = CacheShape { prompt: 1, drafts: 2, tail: 1 << 60 };
    let error = Cpu::new(Level::Simd, Pool::serial()).cache(1, 4, 256, shape).unwrap_err().to_string();
    assert!(error.ends_with("ask for fewer tokens or drafts"), "{error}");
}
