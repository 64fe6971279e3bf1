//! The GPU backend, on WebGPU: the browser's own, or natively the same interface over Vulkan,
//! Metal or Direct3D 12.
//!
//! Operations are recorded (`tape`) and submitted once per batch; results are read back
//! asynchronously (`read`). Weights stay quantised (`matrix`) and activations are quantised as
//! defined in `backend/cpu/quant.rs`, so integer sums equal the CPU's; float sums are taken in the
//! CPU's order (`order.wgsl`). Kernels are WGSL files in `kernels/`, turned into `variants` by a
//! small preprocessor (`source`). `meter` and `timestamps` measure where the time goes.

mod cache;
mod device;
mod kernel;
mod matrix;
mod meter;
mod read;
mod rows;
mod source;
mod tape;
#[cfg(test)]
mod tests;
mod timestamps;
mod top;
mod variants;

use std::cell::{Cell, RefCell};

pub use cache::Cache;
pub use device::{Abilities, Adapter, FoundAdapter, Health, OpenError, Options};
pub use matrix::{Matrix, Packer};
pub use meter::{Clock, KernelTime, StepTimes};
pub use rows::Rows;

use super::{Backend, BackendError, Batch, CacheShape, Epilogue, Outputs, Wanted};
use crate::dtype::{BLOCK, Dtype};
use device::Device;
use matrix::Format;
use read::Reader;
use tape::Tape;
use top::Selection;
use variants::{Linear, Tuning};

/// Bound on the relative error ([`super::relative_error`]) of a GPU's logits, compared with the
/// CPU's. Kernels leave no rounding to a compiler (`kernels/rounded.wgsl`), so logits are equal
/// wherever WGSL is implemented as specified; a larger error means wrong results.
pub const LOGITS_BOUND: f64 = 1e-3;

/// The GPU's backend.
#[derive(Debug)]
pub struct Gpu {
    device: Device,
    /// Compile kernels before they are needed.
    eager: bool,
    tuning: Tuning,
    tape: RefCell<Tape>,
    caches: RefCell<cache::Memory>,
    /// Number of outputs of the current batch, over all its pieces.
    outputs: usize,
    /// The head's logits (outputs, V), and the capacity of that buffer in values.
    logits: Option<(wgpu::Buffer, usize)>,
    selection: Selection,
    reader: Reader,
    /// What the last call to `head` asked for: rows, V, and which logits.
    asked: Option<(usize, usize, Wanted)>,
    /// Bytes of weights uploaded so far.
    weight_bytes: Cell<u64>,
    /// Number of dense matrices started so far.
    dense: Cell<usize>,
    /// Bound where a kernel variant does not use a binding.
    nothing: wgpu::Buffer,
}

impl Gpu {
    /// Opens the platform's preferred GPU.
    ///
    /// # Errors
    /// If there is none, or the device request fails.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        Self::open_found(FoundAdapter::find().await?, options).await
    }

    /// Opens a GPU found earlier.
    ///
    /// # Errors
    /// If the device request fails.
    pub async fn open_found(found: FoundAdapter, options: Options) -> Result<Self, OpenError> {
        let device = Device::open(found, options).await?;
        let tuning = Tuning::of(device.as_software, device.abilities.subgroups);
        let nothing = device.buffer("nothing", 16, wgpu::BufferUsages::STORAGE);
        let gpu = Self {
            tape: RefCell::new(Tape::new(&device)),
            eager: options.eager && !device.as_software,
            device,
            tuning,
            caches: RefCell::default(),
            outputs: 0,
            logits: None,
            selection: Selection::default(),
            reader: Reader::default(),
            asked: None,
            weight_bytes: Cell::default(),
            dense: Cell::default(),
            nothing,
        };
        if gpu.eager {
            gpu.prepare();
        }
        Ok(gpu)
    }

    /// Returns the GPU's name, and whether it is a software adapter.
    pub fn adapter(&self) -> &Adapter {
        &self.device.adapter
    }

    /// Returns the maximum k for which the k largest of a row of V logits are selected on the GPU;
    /// above it, all logits are read back.
    pub fn max_selected(vocab: usize) -> usize {
        top::max_selected(vocab)
    }

    /// Returns the optional features that kernels use.
    pub fn abilities(&self) -> Abilities {
        self.device.abilities
    }

    /// Returns the device's health, where faults are reported even while it is idle.
    pub fn health(&self) -> &Health {
        &self.device.health
    }

    /// Destroys the device; to callers this looks like a driver crash.
    pub fn destroy(&self) {
        self.device.destroy();
    }

    /// Returns the number of dispatches in the last batch.
    pub fn dispatched(&self) -> usize {
        self.tape.borrow().dispatched()
    }

    /// Returns the number of kernels compiled so far.
    pub fn compiled(&self) -> usize {
        self.tape.borrow().compiled()
    }

    /// Returns the size of the weights uploaded so far, in bytes.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes.get()
    }

    /// Returns where the last batch's time went; all zero without [`Options::clock`].
    pub fn step_times(&self) -> StepTimes {
        self.device.stopwatch.times()
    }

    /// Turns timing of kernels on or off from the next batch. Returns false if the device has no
    /// timestamps or was opened without [`Options::clock`]. Timed batches take longer.
    pub fn time_kernels(&self, on: bool) -> bool {
        let mut tape = self.tape.borrow_mut();
        tape.time_kernels(&self.device, on);
        tape.timestamps().is_some()
    }

    /// Returns the time that each kernel took in the last batch, if kernels are timed.
    ///
    /// # Errors
    /// If the device has failed.
    pub async fn kernel_times(&self) -> Result<Vec<KernelTime>, BackendError> {
        let timestamps = self.tape.borrow().timestamps().cloned();
        match timestamps {
            Some(timestamps) => timestamps.read(&self.device).await,
            None => Ok(Vec::new()),
        }
    }

    /// Compiles the kernels that every model needs, before its weights arrive.
    fn prepare(&self) {
        let tape = self.tape.borrow();
        let tuning = self.tuning;
        for variant in [
            variants::norm(tuning),
            variants::store(tuning),
            variants::attention(0),
            variants::select(tuning),
            variants::pack(tuning),
        ] {
            tape.prepare(&self.device, &variant);
        }
        for variant in top::variants() {
            tape.prepare(&self.device, &variant);
        }
    }

    /// Compiles the kernels that a matrix needs.
    fn prepare_matrix(&self, format: Format, rows: usize, blocks: u32) {
        let tape = self.tape.borrow();
        tape.prepare(&self.device, &variants::embed(format, self.tuning));
        if format == Format::Dense {
            // Position embeddings are floats in every file, and never multiplied. Their count
            // gives the context length for attention; for any other table, that kernel goes
            // unused.
            tape.prepare(&self.device, &variants::attention(rows.min(variants::MAX_VISIBLE)));
            if self.dense.replace(self.dense.get() + 1) > 0 {
                tape.prepare(&self.device, &variants::dense());
            }
            return;
        }
        for (tile, tiles) in [(1, 1), (4, 1), (4, 2), (4, 4)] {
            for epilogue in [Epilogue::Store, Epilogue::Gelu, Epilogue::Add] {
                let quantise = quantises(epilogue, format, rows);
                let linear = Linear { format, blocks, tile, tiles, bias: true, epilogue, quantise };
                tape.prepare(&self.device, &linear.variant(self.tuning));
            }
            let head = Linear {
                format,
                blocks,
                tile,
                tiles,
                bias: false,
                epilogue: Epilogue::Store,
                quantise: false,
            };
            tape.prepare(&self.device, &head.variant(self.tuning));
        }
    }

    /// Makes sure that x has a quantised copy, and returns its tile.
    fn quantised(&mut self, x: &Rows) -> u32 {
        if let Some(tile) = x.tile {
            return tile;
        }
        let tile = rows::tile(x.rows);
        if let Some(buffers) = x.buffers() {
            self.tape.get_mut().dispatch(
                &self.device,
                &variants::pack(self.tuning),
                &[x.width as u32, tile],
                &[&buffers.values, &buffers.words, &buffers.scales],
                (x.rows, 1),
            );
        }
        tile
    }

    /// Multiplies x by w transposed into a buffer of floats, quantised into `quantised` (words,
    /// scales) as well if given.
    fn multiply(
        &mut self,
        w: &Matrix,
        bias: Option<&Vector>,
        x: &Rows,
        epilogue: Epilogue,
        out: &wgpu::Buffer,
        quantised: Option<(&wgpu::Buffer, &wgpu::Buffer)>,
    ) {
        let Some(from) = x.buffers() else { return };
        let nothing = self.nothing.clone();
        let bias_buffer = bias.map_or(&nothing, |b| &b.0);
        if w.format == Format::Dense {
            let flags: [u32; 3] = [
                bias.is_some().into(),
                (epilogue == Epilogue::Gelu).into(),
                (epilogue == Epilogue::Add).into(),
            ];
            for piece in &w.pieces {
                let shape = [w.rows as u32, w.cols as u32, piece.first as u32, piece.count as u32];
                self.tape.get_mut().dispatch(
                    &self.device,
                    &variants::dense(),
                    &[&shape[..], &flags].concat(),
                    &[&piece.weights, &from.values, bias_buffer, out],
                    (piece.count.div_ceil(variants::DENSE_OUTPUTS).min(MAX_GROUPS), x.rows),
                );
            }
            return;
        }
        let tile = self.quantised(x);
        let tiles = if tile == 1 { 1 } else { variants::tiles(self.tuning, x.rows) };
        let blocks = (w.cols / BLOCK) as u32;
        let linear = Linear {
            format: w.format,
            blocks,
            tile,
            tiles,
            bias: bias.is_some(),
            epilogue,
            quantise: quantised.is_some(),
        };
        let variant = linear.variant(self.tuning);
        let outputs = variants::outputs(self.tuning);
        for piece in &w.pieces {
            let shape = [w.rows as u32, blocks, piece.first as u32, piece.count as u32];
            let mut buffers =
                vec![&piece.weights, &piece.scales, &from.words, &from.scales, bias_buffer, out];
            if let Some((words, scales)) = quantised {
                buffers.extend([words, scales]);
            }
            let groups = (piece.count.div_ceil(outputs), x.rows.div_ceil((tile * tiles) as usize));
            self.tape.get_mut().dispatch(&self.device, &variant, &shape, &buffers, groups);
        }
    }

    fn shape(&self, rows: &mut Rows, count: usize, width: usize, most: usize) {
        if rows.shape(&self.device, count, width, most) {
            self.tape.borrow_mut().drop_bind_groups();
        }
    }
}

/// Workgroups per dimension that every WebGPU device supports.
const MAX_GROUPS: usize = 65535;

/// A bias or a layer-norm gain (K).
#[derive(Debug)]
pub struct Vector(wgpu::Buffer);

impl Backend for Gpu {
    /// As many as the maximum number of drafts.
    const ROWS_AT_ONCE: usize = 256;

    type Matrix = Matrix;
    type Packer = Packer;
    type Vector = Vector;
    type Rows = Rows;
    type Cache = Cache;

    fn packer(&self, rows: usize, cols: usize, dtype: Dtype) -> Result<Packer, BackendError> {
        let packer = Packer::new(&self.device, rows, cols, dtype, self.tuning.quads)?;
        if self.eager {
            self.prepare_matrix(packer.format(), rows, (cols / BLOCK) as u32);
        }
        Ok(packer)
    }

    fn pack(&self, packer: &mut Packer, bytes: &[u8]) -> Result<(), BackendError> {
        match self.device.health.fault() {
            Some(reason) => Err(BackendError::Device { reason }),
            None => packer.push(&self.device, bytes),
        }
    }

    fn matrix(&self, packer: Packer) -> Result<Matrix, BackendError> {
        let matrix = packer.finish()?;
        self.weight_bytes.update(|bytes| bytes + matrix.bytes());
        Ok(matrix)
    }

    fn vector(&self, values: Vec<f32>) -> Vector {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let buffer = self.device.buffer("vector", 4 * values.len() as u64, usage);
        self.device.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&values));
        self.weight_bytes.update(|bytes| bytes + buffer.size());
        Vector(buffer)
    }

    fn rows(&self) -> Rows {
        Rows::default()
    }

    /// If the GPU has no room, reports that to its health, so that the CPU, which may have room,
    /// takes over.
    fn cache(
        &self,
        layers: usize,
        heads: usize,
        channels: usize,
        shape: CacheShape,
    ) -> Result<Cache, BackendError> {
        let mut caches = self.caches.borrow_mut();
        caches.heads = heads;
        caches.reserve(&self.device, layers, channels, shape, || self.tape.borrow_mut().drop_bind_groups());
        let (visible, most) = (caches.visible(), variants::MAX_VISIBLE);
        if visible > most {
            self.device
                .health
                .report(format!("{visible} tokens at once are more than the {most} it can hold"));
        }
        Ok(Cache)
    }

    fn begin(&mut self, batch: &Batch) {
        self.device.stopwatch.begin();
        self.outputs = batch.outputs.len();
        self.asked = None;
        let pieces = batch.rows().div_ceil(Self::ROWS_AT_ONCE);
        self.tape.get_mut().begin(&self.device, pieces, batch.rows());
    }

    fn embed(&mut self, wte: &Matrix, wpe: &Matrix, batch: &Batch, out: &mut Rows) {
        let places = self.caches.get_mut().places(batch);
        self.tape.get_mut().piece(places);
        self.shape(out, batch.rows(), wte.cols, 0);
        let Some(to) = out.buffers() else { return };
        for (by_position, table) in [wte, wpe].into_iter().enumerate() {
            let variant = variants::embed(table.format, self.tuning);
            for piece in &table.pieces {
                let by_position = by_position as u32;
                let shape =
                    [table.cols as u32, piece.first as u32, piece.count as u32, by_position, by_position];
                let mut buffers = vec![&to.values, &piece.weights];
                if table.format != Format::Dense {
                    buffers.push(&piece.scales);
                }
                self.tape.get_mut().dispatch(&self.device, &variant, &shape, &buffers, (batch.rows(), 1));
            }
        }
    }

    fn layer_norm(&mut self, x: &Rows, gain: &Vector, bias: &Vector, epsilon: f32, out: &mut Rows) {
        self.shape(out, x.rows, x.width, 0);
        let (Some(from), Some(to)) = (x.buffers(), out.buffers()) else { return };
        let quantises = x.width.is_multiple_of(BLOCK);
        let tile = rows::tile(x.rows);
        let words = if quantises { x.width as u32 / 4 } else { 0 };
        let variant = match self.tuning.quads && quantises {
            true => variants::norm_quads(x.width),
            false => variants::norm(self.tuning),
        };
        self.tape.get_mut().dispatch(
            &self.device,
            &variant,
            &[x.width as u32, words, tile, epsilon.to_bits()],
            &[&from.values, &gain.0, &bias.0, &to.values, &to.words, &to.scales],
            (x.rows, 1),
        );
        out.tile = quantises.then_some(tile);
    }

    fn linear(&mut self, w: &Matrix, bias: Option<&Vector>, x: &Rows, epilogue: Epilogue, out: &mut Rows) {
        if epilogue != Epilogue::Add {
            self.shape(out, x.rows, w.rows, 0);
        }
        let Some(to) = out.buffers().cloned() else { return };
        let quantises = quantises(epilogue, w.format, w.rows);
        self.multiply(w, bias, x, epilogue, &to.values, quantises.then_some((&to.words, &to.scales)));
        out.tile = quantises.then(|| rows::tile(x.rows));
    }

    fn store(&mut self, qkv: &Rows, batch: &Batch, layer: usize, _: &mut Cache) {
        let width = qkv.width / 3;
        let caches = self.caches.borrow();
        let (Some(from), Some((keys, values))) = (qkv.buffers(), caches.layers.get(layer)) else { return };
        self.tape.get_mut().dispatch(
            &self.device,
            &variants::store(self.tuning),
            &[width as u32],
            &[&from.values, keys, values],
            (width.div_ceil(self.tuning.lanes as usize), batch.rows()),
        );
    }

    fn attention(&mut self, qkv: &Rows, batch: &Batch, layer: usize, _: &Cache, out: &mut Rows) {
        let width = qkv.width / 3;
        self.shape(out, qkv.rows, width, 0);
        let (Some(from), Some(to)) = (qkv.buffers(), out.buffers()) else { return };
        let caches = self.caches.borrow();
        let (heads, head) = (caches.heads, width / caches.heads.max(1));
        let Some((keys, values)) = caches.layers.get(layer) else { return };
        let tape = self.tape.get_mut();
        let quantises = head.is_multiple_of(BLOCK);
        let tile = rows::tile(qkv.rows);
        let words = if quantises { width as u32 / 4 } else { 0 };
        let scale = 1.0 / (head as f32).sqrt();
        let variant = match self.tuning.quads && quantises {
            true => variants::attention_quads(caches.visible(), width, head),
            false => variants::attention(caches.visible()),
        };
        tape.dispatch(
            &self.device,
            &variant,
            &[width as u32, head as u32, words, tile, scale.to_bits()],
            &[&from.values, keys, values, &to.values, &to.words, &to.scales],
            (heads, batch.rows()),
        );
        out.tile = quantises.then_some(tile);
    }

    fn select(&mut self, x: &Rows, rows: &[usize], before: usize, out: &mut Rows) {
        // Sized for all outputs at once: reallocating would lose the earlier rows.
        self.shape(out, before + rows.len(), x.width, self.outputs);
        let tape = self.tape.get_mut();
        tape.pick(rows);
        let (Some(from), Some(to)) = (x.buffers(), out.buffers()) else { return };
        tape.dispatch(
            &self.device,
            &variants::select(self.tuning),
            &[x.width as u32, before as u32],
            &[&from.values, &to.values],
            (rows.len(), 1),
        );
    }

    fn head(&mut self, w: &Matrix, x: &Rows, wanted: Wanted, out: &mut Outputs) {
        out.vocab = w.rows;
        // Products store whole tiles.
        let tile = rows::tile(x.rows) as usize;
        let room = x.rows.next_multiple_of(tile * variants::tiles(self.tuning, x.rows) as usize) * w.rows;
        let logits = match self.logits.take() {
            Some(logits) if logits.1 >= room => logits,
            kept => {
                kept.into_iter().for_each(|(small, _)| self.device.retire(small));
                self.tape.get_mut().drop_bind_groups();
                let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
                (self.device.buffer("logits", 4 * room as u64, usage), room)
            }
        };
        self.multiply(w, None, x, Epilogue::Store, &logits.0, None);
        let wanted = match wanted {
            Wanted::Top(k) if k > top::max_selected(w.rows) => Wanted::All,
            wanted => wanted,
        };
        if let Wanted::Top(k) = wanted {
            let tape = self.tape.get_mut();
            self.selection.record(&self.device, tape, &logits.0, (x.rows, w.rows), k);
        }
        self.logits = Some(logits);
        self.asked = Some((x.rows, w.rows, wanted));
    }

    async fn collect(&mut self, out: &mut Outputs) -> Result<(), BackendError> {
        self.read_back(out).await?;
        // A failing GPU need not report an error.
        match out.are_finite() {
            true => Ok(()),
            false => Err(BackendError::Device { reason: "the GPU gave logits that are no numbers".into() }),
        }
    }
}

impl Gpu {
    /// Submits the recorded commands and reads back what the head was asked for.
    async fn read_back(&mut self, out: &mut Outputs) -> Result<(), BackendError> {
        let Self { device, tape, selection, reader, logits, asked, .. } = self;
        let encoder = tape.get_mut().finish(device);
        let (Some((rows, vocab, wanted)), Some((logits, _))) = (asked.take(), logits.as_ref()) else {
            // No outputs are wanted, but the KV cache must be filled.
            device.submit(encoder);
            return match device.health.fault() {
                Some(reason) => Err(BackendError::Device { reason }),
                None => Ok(()),
            };
        };
        let mut encoder = Some(encoder);
        if let Wanted::Top(k) = wanted
            && let Some((found, bytes)) = selection.found(rows)
        {
            let encoder =
                encoder.take().unwrap_or_else(|| device.device.create_command_encoder(&<_>::default()));
            let bytes = reader.read(device, encoder, found, bytes).await?;
            if let Some(top) = top::candidates(&words(&bytes), k) {
                out.top = top;
                return Ok(());
            }
        }
        let encoder = encoder.unwrap_or_else(|| device.device.create_command_encoder(&<_>::default()));
        let bytes = reader.read(device, encoder, logits, 4 * (rows * vocab) as u64).await?;
        out.logits = words(&bytes).into_iter().map(f32::from_bits).collect();
        Ok(())
    }
}

/// Returns whether a product with a matrix of `rows` outputs also quantises its result: where it
/// is the input of the next product.
fn quantises(epilogue: Epilogue, format: Format, rows: usize) -> bool {
    epilogue == Epilogue::Gelu && format != Format::Dense && rows.is_multiple_of(BLOCK)
}

/// Splits bytes into little-endian words.
fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
}
