//! Records a batch's GPU work: one encoder, one pass, one submission. Bind groups and shape
//! uniforms are created once and reused.

use std::{cell::RefCell, rc::Rc};

use hashbrown::{Equivalent, HashMap};

use super::{
    device::Device,
    kernel::{Binding, Pipeline, Pipelines, Variant},
    timestamps::Timestamps,
};

/// Bytes between the pieces' uniforms: WebGPU's default alignment of dynamic offsets.
const PIECE_STRIDE: u64 = 256;

/// Words per place, as in `piece.wgsl`.
const PLACE_WORDS: usize = 6;

/// Key of a bind group: a kernel with its shape and buffers.
#[derive(Debug, PartialEq, Eq, Hash)]
struct BindGroupKey {
    pipeline: u32,
    shape: Vec<u32>,
    buffers: Vec<wgpu::Buffer>,
}

/// A borrowed [`BindGroupKey`] with the same hash, so that looking up a bind group does not clone
/// buffers.
#[derive(Hash)]
struct BindGroupKeyRef<'a> {
    pipeline: u32,
    shape: &'a [u32],
    buffers: &'a [&'a wgpu::Buffer],
}

impl Equivalent<BindGroupKey> for BindGroupKeyRef<'_> {
    fn equivalent(&self, key: &BindGroupKey) -> bool {
        self.pipeline == key.pipeline
            && self.shape == key.shape
            && self.buffers.iter().copied().eq(&key.buffers)
    }
}

impl From<&BindGroupKeyRef<'_>> for BindGroupKey {
    fn from(key: &BindGroupKeyRef<'_>) -> Self {
        let buffers = key.buffers.iter().map(|buffer| (*buffer).clone()).collect();
        Self { pipeline: key.pipeline, shape: key.shape.to_vec(), buffers }
    }
}

/// The commands recorded for the current batch, and what is reused between batches.
#[derive(Debug)]
pub struct Tape {
    pipelines: Pipelines,
    bind_groups: RefCell<HashMap<BindGroupKey, wgpu::BindGroup>>,
    shapes: RefCell<HashMap<Vec<u32>, wgpu::Buffer>>,
    recording: Option<Recording>,
    /// The pieces' uniforms and the rows' places, on the GPU.
    pieces: wgpu::Buffer,
    places: wgpu::Buffer,
    /// What will be uploaded there: each piece's first place, and the places' words.
    firsts: Vec<u32>,
    words: Vec<u32>,
    /// Dispatches of the last batch.
    dispatched: usize,
    /// Set if kernels are timed: times of the current batch, or of the last.
    timestamps: Option<Timestamps>,
}

#[derive(Debug)]
struct Recording {
    // The pass must be dropped before its encoder. `None` if each kernel is timed in its own pass.
    pass: Option<wgpu::ComputePass<'static>>,
    encoder: wgpu::CommandEncoder,
    dispatches: usize,
}

/// A row's place, laid out as in `piece.wgsl`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlaceWords {
    pub token: u32,
    pub position: u32,
    pub slot: u32,
    pub prefix: u32,
    pub start: u32,
    pub pick: u32,
}

impl Tape {
    pub fn new(device: &Device) -> Self {
        let (pieces, places) = step_buffers(device, 8, 256);
        Self {
            pipelines: Pipelines::default(),
            bind_groups: RefCell::default(),
            shapes: RefCell::default(),
            recording: None,
            pieces,
            places,
            firsts: Vec::new(),
            words: Vec::new(),
            dispatched: 0,
            timestamps: None,
        }
    }

    /// Compiles a kernel in advance, so that the first batch does not wait for it.
    pub fn prepare(&self, device: &Device, variant: &Variant) -> Rc<Pipeline> {
        self.pipelines.get(device, variant)
    }

    /// Returns the number of kernels compiled so far.
    pub fn compiled(&self) -> usize {
        self.pipelines.count()
    }

    /// Turns timing of kernels on or off from the next batch.
    pub fn time_kernels(&mut self, device: &Device, on: bool) {
        self.timestamps = on.then(|| Timestamps::new(device)).flatten();
    }

    /// Returns the timestamps, if kernels are timed.
    pub fn timestamps(&self) -> Option<&Timestamps> {
        self.timestamps.as_ref()
    }

    /// Drops every bind group, since some buffers are being replaced.
    pub fn drop_bind_groups(&self) {
        self.bind_groups.borrow_mut().clear();
    }

    /// Starts a batch: makes room for its pieces and rows, and drops the previous one's.
    pub fn begin(&mut self, device: &Device, pieces: usize, rows: usize) {
        self.recording = None;
        self.firsts.clear();
        self.words.clear();
        if let Some(timestamps) = &mut self.timestamps {
            timestamps.begin();
        }
        let bytes = (pieces as u64 * PIECE_STRIDE, 4 * (rows * PLACE_WORDS) as u64);
        if bytes.0 > self.pieces.size() || bytes.1 > self.places.size() {
            let (pieces, places) = step_buffers(device, pieces.next_power_of_two(), rows.next_power_of_two());
            device.retire(std::mem::replace(&mut self.pieces, pieces));
            device.retire(std::mem::replace(&mut self.places, places));
            self.drop_bind_groups();
        }
    }

    /// Starts a piece of the batch.
    pub fn piece(&mut self, places: impl IntoIterator<Item = PlaceWords>) {
        self.firsts.push((self.words.len() / PLACE_WORDS) as u32);
        for p in places {
            self.words.extend([p.token, p.position, p.slot, p.prefix, p.start, p.pick]);
        }
    }

    /// Sets which rows of the piece have outputs.
    pub fn pick(&mut self, rows: &[usize]) {
        let first = self.firsts.last().copied().unwrap_or(0) as usize * PLACE_WORDS;
        for (place, &row) in self.words[first..].chunks_exact_mut(PLACE_WORDS).zip(rows) {
            place[PLACE_WORDS - 1] = row as u32;
        }
    }

    /// Records a dispatch of (x, y) workgroups. `buffers` are the kernel's storage buffers in
    /// order.
    pub fn dispatch(
        &mut self,
        device: &Device,
        variant: &Variant,
        shape: &[u32],
        buffers: &[&wgpu::Buffer],
        (x, y): (usize, usize),
    ) {
        if x == 0 || y == 0 {
            return;
        }
        let pipeline = self.pipelines.get(device, variant);
        let key = BindGroupKeyRef { pipeline: pipeline.id, shape, buffers };
        let mut bind_groups = self.bind_groups.borrow_mut();
        let group = bind_groups.get(&key).cloned().unwrap_or_else(|| {
            let group = self.bind(device, variant, &pipeline, shape, buffers);
            bind_groups.insert(BindGroupKey::from(&key), group.clone());
            group
        });
        let recording = self.recording.get_or_insert_with(|| Recording::new(device));
        let mut alone = None;
        let pass = match &mut self.timestamps {
            Some(timestamps) => {
                let writes = timestamps.next(variant.name, shape);
                alone.insert(pass(&mut recording.encoder, writes))
            }
            None => recording.pass.get_or_insert_with(|| pass(&mut recording.encoder, None)),
        };
        pass.set_pipeline(&pipeline.pipeline);
        let piece = self.firsts.len().saturating_sub(1) as u32 * PIECE_STRIDE as u32;
        let offsets: &[u32] = if pipeline.by_piece { &[piece] } else { &[] };
        pass.set_bind_group(0, &group, offsets);
        pass.dispatch_workgroups(x as u32, y as u32, 1);
        recording.dispatches += 1;
    }

    /// Ends the recording, uploading the places ahead of it.
    pub fn finish(&mut self, device: &Device) -> wgpu::CommandEncoder {
        let mut firsts = vec![0u8; self.firsts.len() * PIECE_STRIDE as usize];
        for (uniform, first) in firsts.chunks_exact_mut(PIECE_STRIDE as usize).zip(&self.firsts) {
            uniform[..4].copy_from_slice(&first.to_le_bytes());
        }
        if !firsts.is_empty() && !self.words.is_empty() {
            device.queue.write_buffer(&self.pieces, 0, &firsts);
            device.queue.write_buffer(&self.places, 0, bytemuck::cast_slice(&self.words));
        }
        match self.recording.take() {
            Some(Recording { pass, mut encoder, dispatches }) => {
                drop(pass);
                self.dispatched = dispatches;
                if let Some(timestamps) = &self.timestamps {
                    timestamps.resolve(&mut encoder);
                }
                encoder
            }
            None => device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()),
        }
    }

    /// Returns the number of dispatches in the last batch.
    pub fn dispatched(&self) -> usize {
        self.dispatched
    }

    fn bind(
        &self,
        device: &Device,
        variant: &Variant,
        pipeline: &Pipeline,
        shape: &[u32],
        buffers: &[&wgpu::Buffer],
    ) -> wgpu::BindGroup {
        let mut shapes = self.shapes.borrow_mut();
        let shape = shapes.entry(shape.to_vec()).or_insert_with(|| uniform(device, shape));
        // The places are the first storage buffer of a kernel that takes a piece.
        let with_places = pipeline.by_piece.then_some(&self.places).into_iter();
        let mut storage = with_places.chain(buffers.iter().copied());
        let entries: Vec<_> = (0..)
            .zip(variant.bindings)
            .filter_map(|(binding, kind)| {
                let resource = match kind {
                    Binding::Shape => shape.as_entire_binding(),
                    Binding::Piece => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &self.pieces,
                        offset: 0,
                        size: wgpu::BufferSize::new(16),
                    }),
                    Binding::Read | Binding::Write => storage.next()?.as_entire_binding(),
                };
                Some(wgpu::BindGroupEntry { binding, resource })
            })
            .collect();
        device.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(variant.name),
            layout: &pipeline.layout,
            entries: &entries,
        })
    }
}

impl Recording {
    fn new(device: &Device) -> Self {
        let encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        Self { pass: None, encoder, dispatches: 0 }
    }
}

fn pass(
    encoder: &mut wgpu::CommandEncoder,
    timestamp_writes: Option<wgpu::ComputePassTimestampWrites>,
) -> wgpu::ComputePass<'static> {
    let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
    encoder.begin_compute_pass(&descriptor).forget_lifetime()
}

fn step_buffers(device: &Device, pieces: usize, rows: usize) -> (wgpu::Buffer, wgpu::Buffer) {
    let copy = wgpu::BufferUsages::COPY_DST;
    (
        device.buffer("pieces", pieces as u64 * PIECE_STRIDE, wgpu::BufferUsages::UNIFORM | copy),
        device.buffer("places", 4 * (rows * PLACE_WORDS) as u64, wgpu::BufferUsages::STORAGE | copy),
    )
}

fn uniform(device: &Device, words: &[u32]) -> wgpu::Buffer {
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let buffer = device.buffer("shape", 4 * words.len() as u64, usage);
    device.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(words));
    buffer
}
