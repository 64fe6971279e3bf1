//! Measures the time of each kernel of a batch with GPU timestamps. Each timed kernel needs a pass
//! of its own, which costs time, so this is for measurements only.

use super::{
    device::Device,
    meter::{KernelTime, add_up},
    read::Reader,
};
use crate::backend::BackendError;

/// Maximum number of kernels timed per batch; later ones are not. WebGPU limits a query set to
/// twice as many queries.
const MAX_KERNELS: u32 = 2048;

/// Two timestamps per kernel: beginning and end.
#[derive(Debug, Clone)]
pub struct Timestamps {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    /// File and shape of each kernel of the batch.
    kernels: Vec<(&'static str, Vec<u32>)>,
}

impl Timestamps {
    /// Creates the query set; `None` if the device has no timestamps.
    pub fn new(device: &Device) -> Option<Self> {
        let queries = device.has_timestamps.then(|| {
            device.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("kernels"),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * MAX_KERNELS,
            })
        })?;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = device.buffer("times", 16 * u64::from(MAX_KERNELS), usage);
        Some(Self { queries, resolved, kernels: Vec::new() })
    }

    /// Starts a batch.
    pub fn begin(&mut self) {
        self.kernels.clear();
    }

    /// Returns where the next kernel's timestamps go; `None` if there is no room.
    pub fn next(
        &mut self,
        kernel: &'static str,
        shape: &[u32],
    ) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let first = 2 * u32::try_from(self.kernels.len()).ok().filter(|&count| count < MAX_KERNELS)?;
        self.kernels.push((kernel, shape.to_vec()));
        Some(wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        })
    }

    /// Resolves the queries at the end of a batch, before it is submitted.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.queries, 0..2 * self.kernels.len() as u32, &self.resolved, 0);
    }

    /// Returns the times of the kernels of the submitted batch.
    ///
    /// # Errors
    /// If the device has failed.
    pub async fn read(&self, device: &Device) -> Result<Vec<KernelTime>, BackendError> {
        let encoder = device.device.create_command_encoder(&<_>::default());
        let bytes = 16 * self.kernels.len().max(1) as u64;
        let bytes = Reader::default().read(device, encoder, &self.resolved, bytes).await?;
        let tick_ms = f64::from(device.queue.get_timestamp_period()) * 1e-6;
        let pairs = bytes.as_chunks::<16>().0.iter().map(|pair| {
            let [began, ended] = [0, 8].map(|at| {
                let mut word = [0; 8];
                word.copy_from_slice(&pair[at..at + 8]);
                u64::from_le_bytes(word)
            });
            ended.saturating_sub(began) as f64 * tick_ms
        });
        let kernels = self.kernels.iter().cloned();
        Ok(add_up(kernels.zip(pairs).map(|((kernel, shape), ms)| (kernel, shape, ms))))
    }
}
