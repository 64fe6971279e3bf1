//! Compares every kernel with the CPU reference, on a software Vulkan if there is one, with odd
//! shapes and every combination of features that the device has.

mod shaders;

use half::f16;

use super::*;
use crate::backend::{
    Place, Sequence,
    cpu::{self, Cpu, Level, Pool},
    relative_error,
};

/// Returns every combination of features that changes a kernel.
pub fn every_ability() -> impl Iterator<Item = Abilities> {
    (0..8).map(|bits| Abilities { subgroups: bits & 1 != 0, f16: bits & 2 != 0, packed_dot: bits & 4 != 0 })
}

/// Opens a GPU of each kind that this machine can provide, with every tuning regardless of the
/// adapter; none without Vulkan, which `HUGGINGTWEETS_GPU_TESTS=require` makes a failure.
pub fn gpus() -> Vec<Gpu> {
    let mut found: Vec<Gpu> = Vec::new();
    for (abilities, as_software) in every_ability().flat_map(|a| [(a, false), (a, true)]) {
        let options =
            Options { abilities, eager: false, as_software: Some(as_software), ..Options::default() };
        match pollster::block_on(Gpu::open(options)) {
            Ok(gpu) => {
                // Kernels for quads do not use the other features.
                let abilities = |gpu: &Gpu| match gpu.tuning.quads {
                    true => Abilities { f16: false, packed_dot: false, ..gpu.abilities() },
                    false => gpu.abilities(),
                };
                let kind = |gpu: &Gpu| (abilities(gpu), gpu.tuning);
                if found.iter().all(|other| kind(other) != kind(&gpu)) {
                    found.push(gpu);
                }
            }
            Err(error) => {
                let required = std::env::var("HUGGINGTWEETS_GPU_TESTS").is_ok_and(|v| v == "require");
                assert!(!required, "{error}");
            }
        }
    }
    found
}

#[test]
fn every_ability_is_tested_with_every_tuning() {
    let gpus = gpus();
    // A machine that lacks some features has fewer kinds.
    if gpus.iter().any(|gpu| gpu.abilities() == Abilities::ALL) {
        let count = |tuning| gpus.iter().filter(|gpu| gpu.tuning == tuning).count();
        assert_eq!([Tuning::HARDWARE, Tuning::SOFTWARE, Tuning::QUADS].map(count), [8, 4, 1]);
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }

    fn unit(&mut self) -> f32 {
        (self.next() % 20001) as f32 * 1e-4 - 1.0
    }
}

/// Returns the GGUF bytes of random weights.
fn random_matrix(dtype: Dtype, rows: usize, cols: usize, random: &mut Random) -> Vec<u8> {
    match dtype {
        Dtype::F32 => (0..rows * cols).flat_map(|_| random.unit().to_le_bytes()).collect(),
        Dtype::F16 => (0..rows * cols).flat_map(|_| f16::from_f32(random.unit()).to_le_bytes()).collect(),
        Dtype::Q8_0 | Dtype::Q4_0 => (0..rows * cols / BLOCK)
            .flat_map(|_| {
                let scale = f16::from_f32((random.next() % 1000 + 1) as f32 * 1e-4);
                let quants = (0..dtype.matrix_bytes(1, BLOCK) - 2).map(|_| random.next() as u8);
                scale.to_le_bytes().into_iter().chain(quants).collect::<Vec<_>>()
            })
            .collect(),
    }
}

fn matrix<B: Backend>(backend: &B, dtype: Dtype, rows: usize, cols: usize, bytes: &[u8]) -> B::Matrix {
    let mut packer = backend.packer(rows, cols, dtype).unwrap();
    for piece in bytes.chunks(1013) {
        backend.pack(&mut packer, piece).unwrap();
    }
    backend.matrix(packer).unwrap()
}

fn floats(n: usize, random: &mut Random) -> Vec<f32> {
    (0..n).map(|_| random.unit()).collect()
}

impl Gpu {
    /// Creates rows with these values.
    fn upload(&self, rows: usize, values: &[f32]) -> Rows {
        let mut out = Rows::default();
        out.shape(&self.device, rows, values.len() / rows, 0);
        let buffers = out.buffers().unwrap();
        self.device.queue.write_buffer(&buffers.values, 0, bytemuck::cast_slice(values));
        out
    }

    /// Runs what was recorded and returns the words of a buffer.
    fn download(&mut self, buffer: &wgpu::Buffer, count: usize) -> Vec<u32> {
        let encoder = self.tape.get_mut().finish(&self.device);
        let read = self.reader.read(&self.device, encoder, buffer, 4 * count as u64);
        words(&pollster::block_on(read).unwrap())
    }

    fn values(&mut self, rows: &Rows) -> Vec<f32> {
        let buffer = rows.buffers().unwrap().values.clone();
        self.download(&buffer, rows.rows * rows.width).into_iter().map(f32::from_bits).collect()
    }
}

fn cpu_rows(rows: usize, values: &[f32]) -> cpu::Rows {
    cpu::Rows::new(rows, values.len() / rows, values.to_vec())
}

fn scalar() -> Cpu {
    Cpu::new(Level::Scalar, Pool::serial())
}

/// Asserts bit equality: sums have the CPU's order, and every operation its rounding.
fn same(found: &[f32], expected: &[f32], what: &str) {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let off = relative_error(found, expected);
    assert_eq!(bits(found), bits(expected), "{what}: off by {off:e}");
}

#[test]
fn linear_is_the_reference() {
    let mut random = Random(1);
    for mut gpu in gpus() {
        for (dtype, rows, cols) in [
            (Dtype::Q8_0, 33, 32),
            (Dtype::Q4_0, 96, 224),
            (Dtype::Q8_0, 64, 768),
            (Dtype::Q4_0, 31, 64),
            (Dtype::F32, 5, 7),
            (Dtype::F16, 70, 40),
        ] {
            let bytes = random_matrix(dtype, rows, cols, &mut random);
            let (w, expected_w) =
                (matrix(&gpu, dtype, rows, cols, &bytes), matrix(&scalar(), dtype, rows, cols, &bytes));
            let bias = floats(rows, &mut random);
            let gpu_bias = gpu.vector(bias.clone());
            // Every tile with some epilogue, and every epilogue with some tile.
            let [store, gelu, add] = [Epilogue::Store, Epilogue::Gelu, Epilogue::Add];
            for (inputs, epilogues) in
                [(1, &[gelu, add][..]), (2, &[store]), (5, &[gelu]), (9, &[add]), (21, &[store, gelu])]
            {
                let x = floats(inputs * cols, &mut random);
                for &epilogue in epilogues {
                    let before = floats(inputs * rows, &mut random);
                    let mut expected = cpu_rows(inputs, &before);
                    scalar().linear(&expected_w, Some(&bias), &cpu_rows(inputs, &x), epilogue, &mut expected);
                    let from = gpu.upload(inputs, &x);
                    let mut out = gpu.upload(inputs, &before);
                    gpu.linear(&w, Some(&gpu_bias), &from, epilogue, &mut out);
                    let found = gpu.values(&out);
                    let what = format!(
                        "{dtype:?} ({rows}, {cols}), {inputs} rows, {epilogue:?}, {:?}",
                        gpu.abilities()
                    );
                    same(&found, &expected.values, &what);
                    if let Some(tile) = out.tile {
                        quantised_as_defined(&mut gpu, &out, &found, tile, &what);
                    }
                }
            }
        }
    }
}

/// Asserts that the quantised copy of rows equals the quantisation of their floats, bit for bit.
fn quantised_as_defined(gpu: &mut Gpu, rows: &Rows, values: &[f32], tile: u32, what: &str) {
    let buffers = rows.buffers().unwrap().clone();
    let padded = rows.rows.next_multiple_of(tile as usize);
    let words = gpu.download(&buffers.words, padded * rows.width / 4);
    let scales = gpu.download(&buffers.scales, padded * rows.width / BLOCK);
    let place = |row: usize, column: usize, columns: usize| {
        let tile = tile as usize;
        (row / tile * columns + column) * tile + row % tile
    };
    for row in 0..rows.rows {
        let expected = cpu::quantised(&values[row * rows.width..][..rows.width]);
        for (block, (bytes, scale)) in expected.iter().enumerate() {
            let found = f32::from_bits(scales[place(row, block, rows.width / BLOCK)]);
            assert_eq!(found, *scale, "{what}: scale of row {row}, block {block}");
            for (i, four) in bytes.as_chunks::<4>().0.iter().enumerate() {
                let found = words[place(row, block * 8 + i, rows.width / 4)].to_le_bytes();
                assert_eq!(found.map(|b| b as i8), *four, "{what}: row {row}, block {block}");
            }
        }
    }
}

#[test]
fn products_in_pieces_are_the_reference() {
    let mut random = Random(8);
    // Features make no difference here.
    let mut gpus = gpus();
    gpus.sort_by_key(|gpu| (gpu.tuning.lanes, gpu.tuning.quads));
    gpus.dedup_by_key(|gpu| gpu.tuning);
    for mut gpu in gpus {
        for (dtype, rows, cols) in [(Dtype::Q8_0, 160, 64), (Dtype::Q4_0, 131, 96), (Dtype::F32, 70, 40)] {
            let bytes = random_matrix(dtype, rows, cols, &mut random);
            // A binding holds two panels.
            gpu.device.max_binding_bytes = 64 * cols as u64 * if dtype == Dtype::F32 { 4 } else { 1 };
            if dtype == Dtype::Q4_0 {
                gpu.device.max_binding_bytes /= 2;
            }
            let w = matrix(&gpu, dtype, rows, cols, &bytes);
            let firsts: Vec<_> = w.pieces.iter().map(|piece| (piece.first, piece.count)).collect();
            let expected: Vec<_> = (0..rows).step_by(64).map(|at| (at, (rows - at).min(64))).collect();
            assert_eq!(firsts, expected);
            let expected_w = matrix(&scalar(), dtype, rows, cols, &bytes);
            let bias = floats(rows, &mut random);
            let gpu_bias = gpu.vector(bias.clone());
            for (inputs, epilogue) in
                [(1, Epilogue::Gelu), (3, Epilogue::Store), (6, Epilogue::Gelu), (9, Epilogue::Add)]
            {
                let x = floats(inputs * cols, &mut random);
                let before = floats(inputs * rows, &mut random);
                let mut expected = cpu_rows(inputs, &before);
                scalar().linear(&expected_w, Some(&bias), &cpu_rows(inputs, &x), epilogue, &mut expected);
                let (from, mut out) = (gpu.upload(inputs, &x), gpu.upload(inputs, &before));
                gpu.linear(&w, Some(&gpu_bias), &from, epilogue, &mut out);
                let found = gpu.values(&out);
                let what =
                    format!("{dtype:?} ({rows}, {cols}), {inputs} rows, {epilogue:?}, {:?}", gpu.tuning);
                same(&found, &expected.values, &what);
                if let Some(tile) = out.tile {
                    quantised_as_defined(&mut gpu, &out, &found, tile, &what);
                }

                let (mut expected, mut out) = (Outputs::default(), Outputs::default());
                scalar().head(&expected_w, &cpu_rows(inputs, &x), Wanted::All, &mut expected);
                gpu.head(&w, &from, Wanted::All, &mut out);
                pollster::block_on(gpu.collect(&mut out)).unwrap();
                same(&out.logits, &expected.logits, &format!("the head of {what}"));
            }
        }
    }
}

#[test]
fn a_buffer_that_is_replaced_is_destroyed_behind_what_was_recorded_with_it() {
    let mut random = Random(9);
    for mut gpu in gpus().into_iter().take(1) {
        let bytes = random_matrix(Dtype::Q8_0, 40, 32, &mut random);
        let (w, expected_w) =
            (matrix(&gpu, Dtype::Q8_0, 40, 32, &bytes), matrix(&scalar(), Dtype::Q8_0, 40, 32, &bytes));
        let x = floats(32, &mut random);
        let mut expected = cpu::Rows::default();
        scalar().linear(&expected_w, None, &cpu_rows(1, &x), Epilogue::Store, &mut expected);
        let (mut from, mut out) = (gpu.upload(1, &x), Rows::default());
        gpu.linear(&w, None, &from, Epilogue::Store, &mut out);
        let small = from.buffers().unwrap().values.clone();
        gpu.shape(&mut from, 1000, 32, 0);
        let found = gpu.values(&out);
        same(&found, &expected.values, "recorded with what was replaced");
        assert_eq!(gpu.health().fault(), None);
        gpu.device.queue.write_buffer(&small, 0, &[0; 16]);
        assert_ne!(gpu.health().fault(), None, "it is destroyed");
    }
}

#[test]
fn caches_take_what_a_request_needs_and_serve_the_next() {
    for mut gpu in gpus().into_iter().take(1) {
        let sizes = |gpu: &mut Gpu| {
            let caches = gpu.caches.get_mut();
            caches.layers.iter().map(|(keys, values)| (keys.size(), values.size())).collect::<Vec<_>>()
        };
        for (prompt, slots) in [(30, 90), (20, 90), (33, 93)] {
            let shape = CacheShape { prompt, drafts: 5, tail: 12 };
            gpu.cache(2, 3, 96, shape).unwrap();
            assert_eq!(sizes(&mut gpu), [(slots * 96 * 4, slots * 96 * 4); 2]);
        }
    }
}

#[test]
fn activations_are_quantised_as_the_processor_does() {
    let mut random = Random(2);
    for mut gpu in gpus() {
        for (rows, width) in [(1, 32), (3, 96), (6, 768), (2, 2080)] {
            let mut values = floats(rows * width, &mut random);
            // A block of zeros, ties, and an outlier that must not affect other blocks.
            values[..BLOCK].fill(0.0);
            values[width - BLOCK..width].fill(0.5);
            values[width - 1] = 127.0;
            let mut x = gpu.upload(rows, &values);
            let tile = gpu.quantised(&x);
            x.tile = Some(tile);
            quantised_as_defined(&mut gpu, &x, &values, tile, &format!("({rows}, {width})"));
        }
    }
}

#[test]
fn what_is_no_number_makes_its_block_zero_as_on_the_processor() {
    let mut random = Random(7);
    for mut gpu in gpus() {
        let (rows, width) = (5, 5 * BLOCK);
        let mut values = floats(rows * width, &mut random);
        // Each row has its non-finite value in a different block, at a different offset.
        for (row, value) in
            [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN, f32::MAX].iter().enumerate()
        {
            values[row * width + row * BLOCK + 7 * row] = *value;
        }
        let mut x = gpu.upload(rows, &values);
        let tile = gpu.quantised(&x);
        x.tile = Some(tile);
        quantised_as_defined(&mut gpu, &x, &values, tile, "not finite");

        // And through a kernel that quantises its own result.
        let bytes = random_matrix(Dtype::Q8_0, 2 * BLOCK, width, &mut random);
        let w = matrix(&gpu, Dtype::Q8_0, 2 * BLOCK, width, &bytes);
        let mut bias = floats(2 * BLOCK, &mut random);
        (bias[5], bias[40]) = (f32::NAN, f32::INFINITY);
        let (bias, from, mut out) =
            (gpu.vector(bias), gpu.upload(rows, &floats(rows * width, &mut random)), Rows::default());
        gpu.linear(&w, Some(&bias), &from, Epilogue::Gelu, &mut out);
        let (found, tile) = (gpu.values(&out), out.tile.unwrap());
        assert!(found[5].is_nan());
        quantised_as_defined(&mut gpu, &out, &found, tile, "not finite, computed");
    }
}

#[test]
fn logits_that_are_no_numbers_are_the_devices_fault() {
    for mut gpu in gpus().into_iter().take(2) {
        let bytes: Vec<u8> = [f32::NAN; 9000].iter().flat_map(|v| v.to_le_bytes()).collect();
        let w = matrix(&gpu, Dtype::F32, 9000, 1, &bytes);
        let x = gpu.upload(1, &[1.0]);
        for wanted in [Wanted::All, Wanted::Top(3)] {
            let mut out = Outputs::default();
            gpu.head(&w, &x, wanted, &mut out);
            let error = pollster::block_on(gpu.collect(&mut out)).unwrap_err();
            assert!(matches!(error, BackendError::Device { .. }), "{error}");
            assert_eq!(out.top.len(), usize::from(wanted != Wanted::All), "what came back: {wanted:?}");
        }
    }
}

#[test]
fn layer_norm_is_the_reference() {
    let mut random = Random(3);
    for mut gpu in gpus() {
        for (rows, width) in [(1, 32), (2, 20), (5, 768), (3, 1600), (9, 33)] {
            let (x, gain, bias) =
                (floats(rows * width, &mut random), floats(width, &mut random), floats(width, &mut random));
            let mut expected = cpu::Rows::default();
            scalar().layer_norm(&cpu_rows(rows, &x), &gain, &bias, 1e-5, &mut expected);
            let (from, mut out) = (gpu.upload(rows, &x), Rows::default());
            let (gain, bias) = (gpu.vector(gain), gpu.vector(bias));
            gpu.layer_norm(&from, &gain, &bias, 1e-5, &mut out);
            let found = gpu.values(&out);
            same(&found, &expected.values, &format!("({rows}, {width})"));
            if let Some(tile) = out.tile {
                quantised_as_defined(&mut gpu, &out, &found, tile, &format!("({rows}, {width})"));
            }
        }
    }
}

#[test]
fn embeddings_in_pieces_are_the_reference() {
    let mut random = Random(4);
    for mut gpu in gpus() {
        for (dtype, vocab, width) in
            [(Dtype::Q8_0, 130, 64), (Dtype::Q4_0, 300, 96), (Dtype::F32, 70, 20), (Dtype::F16, 33, 31)]
        {
            // A binding that holds one dense panel, then one that holds everything.
            for binding in [(32 * 4 * width) as u64, 1 << 27] {
                gpu.device.max_binding_bytes = binding;
                let tokens = random_matrix(dtype, vocab, width, &mut random);
                let positions = random_matrix(Dtype::F32, 50, width, &mut random);
                let batch = Batch::prompt(
                    &[0, vocab as u32 - 1, 32, 31],
                    vec![1, 3],
                    CacheShape { prompt: 4, drafts: 1, tail: 1 },
                );
                let mut expected = cpu::Rows::default();
                let mut cpu = scalar();
                let (wte, wpe) = (
                    matrix(&cpu, dtype, vocab, width, &tokens),
                    matrix(&cpu, Dtype::F32, 50, width, &positions),
                );
                cpu.embed(&wte, &wpe, &batch, &mut expected);
                let mut picked = cpu::Rows::default();
                cpu.select(&expected, &batch.outputs, 0, &mut picked);

                let (wte, wpe) = (
                    matrix(&gpu, dtype, vocab, width, &tokens),
                    matrix(&gpu, Dtype::F32, 50, width, &positions),
                );
                let (mut out, mut gpu_picked) = (Rows::default(), Rows::default());
                gpu.begin(&batch);
                gpu.cache(1, 1, width, batch.start.unwrap()).unwrap();
                gpu.embed(&wte, &wpe, &batch, &mut out);
                gpu.select(&out, &batch.outputs, 0, &mut gpu_picked);
                let found = gpu.values(&out);
                same(&found, &expected.values, &format!("{dtype:?} ({vocab}, {width})"));
                let found = gpu.values(&gpu_picked);
                same(&found, &picked.values, "selected");
            }
        }
    }
}

#[test]
fn attention_is_the_reference() {
    let mut random = Random(5);
    for mut gpu in gpus() {
        for (heads, width, prompt, drafts) in
            [(1, 32, 3, 2), (3, 20, 70, 3), (2, 64, 130, 1), (4, 96, 1, 5), (1, 8, 1030, 1)]
        {
            let channels = heads * width;
            let shape = CacheShape { prompt, drafts, tail: 3 };
            let mut batches = vec![Batch::prompt(&vec![0; prompt], vec![], shape)];
            for step in 0..3 {
                // Drafts that have ended are left out; in the last step only the last one remains.
                let places = (step / 2 * (drafts - 1)..drafts)
                    .map(|d| Place { sequence: Sequence::Draft(d), position: prompt + step });
                let places: Vec<_> = places.collect();
                batches.push(Batch { tokens: vec![0; places.len()], places, ..Batch::default() });
            }
            let mut cpu = scalar();
            let mut cpu_cache = cpu.cache(2, heads, channels, shape).unwrap();
            let mut gpu_cache = gpu.cache(2, heads, channels, shape).unwrap();
            let table = random_matrix(Dtype::F32, 200, channels, &mut random);
            let table = matrix(&gpu, Dtype::F32, 200, channels, &table);
            for batch in &batches {
                let qkv = floats(batch.rows() * 3 * channels, &mut random);
                let (mut expected, mut out) = (cpu::Rows::default(), Rows::default());
                let rows = cpu_rows(batch.rows(), &qkv);
                cpu.store(&rows, batch, 1, &mut cpu_cache);
                cpu.attention(&rows, batch, 1, &cpu_cache, &mut expected);
                gpu.begin(batch);
                gpu.embed(&table, &table, batch, &mut Rows::default());
                let from = gpu.upload(batch.rows(), &qkv);
                gpu.store(&from, batch, 1, &mut gpu_cache);
                gpu.attention(&from, batch, 1, &gpu_cache, &mut out);
                let found = gpu.values(&out);
                let what = format!("{heads} heads of {width}, {:?}", gpu.abilities());
                same(&found, &expected.values, &what);
                if let Some(tile) = out.tile {
                    quantised_as_defined(&mut gpu, &out, &found, tile, &what);
                }
            }
        }
    }
}

#[test]
fn the_head_gives_the_largest_of_all_its_logits() {
    let mut random = Random(6);
    for mut gpu in gpus() {
        for (vocab, k) in [(9000, 2), (17000, 33), (300, 51)] {
            let bytes = random_matrix(Dtype::Q8_0, vocab, 64, &mut random);
            let w = matrix(&gpu, Dtype::Q8_0, vocab, 64, &bytes);
            for inputs in [1, 3] {
                let x = gpu.upload(inputs, &floats(inputs * 64, &mut random));
                let (mut all, mut top) = (Outputs::default(), Outputs::default());
                gpu.head(&w, &x, Wanted::All, &mut all);
                pollster::block_on(gpu.collect(&mut all)).unwrap();
                gpu.head(&w, &x, Wanted::Top(k), &mut top);
                pollster::block_on(gpu.collect(&mut top)).unwrap();
                assert_eq!((all.rows(), top.rows()), (inputs, inputs));
                assert_eq!(top.top.is_empty(), k > Gpu::max_selected(vocab));
                for (found, logits) in top.top.iter().zip(all.logits.chunks_exact(vocab)) {
                    let mut expected = crate::backend::top::Top::default();
                    expected.restart(k);
                    expected.take(0, logits);
                    let mut expected = expected.finish();
                    expected.sort_by_key(|c| c.0);
                    assert_eq!(found, &expected);
                }
            }
        }
    }
}

#[test]
fn more_ties_than_there_is_room_for_give_all_logits() {
    for mut gpu in gpus() {
        let w = matrix(&gpu, Dtype::Q8_0, 20000, 32, &vec![0; 20000 * 34]);
        let x = gpu.upload(1, &[1.0; 32]);
        let mut out = Outputs::default();
        gpu.head(&w, &x, Wanted::Top(5), &mut out);
        pollster::block_on(gpu.collect(&mut out)).unwrap();
        assert!(out.top.is_empty() && out.logits == vec![0.0; 20000]);
    }
}

#[test]
fn a_device_that_is_gone_is_an_error_with_a_reason() {
    for mut gpu in gpus().into_iter().take(1) {
        let x = gpu.upload(1, &[1.0; 32]);
        let w = matrix(&gpu, Dtype::Q8_0, 40, 32, &[0; 40 * 34]);
        gpu.destroy();
        let mut out = Outputs::default();
        gpu.head(&w, &x, Wanted::All, &mut out);
        let error = pollster::block_on(gpu.collect(&mut out)).unwrap_err();
        assert!(matches!(error, BackendError::Device { .. }), "{error}");
    }
}

#[test]
fn a_tensor_of_the_wrong_size_or_shape_is_refused() {
    for gpu in gpus().into_iter().take(1) {
        assert!(matches!(gpu.packer(2, 40, Dtype::Q8_0), Err(BackendError::Columns { cols: 40 })));
        assert!(matches!(gpu.packer(1 << 40, 1 << 30, Dtype::F32), Err(BackendError::Memory { .. })));
        let mut packer = gpu.packer(2, 32, Dtype::Q8_0).unwrap();
        gpu.pack(&mut packer, &[0; 60]).unwrap();
        assert!(matches!(gpu.pack(&mut packer, &[0; 9]), Err(BackendError::MatrixBytes { found: 69, .. })));
        assert!(matches!(gpu.matrix(packer), Err(BackendError::MatrixBytes { found: 60, .. })));
    }
}
