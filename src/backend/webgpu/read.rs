//! Reads results back from the GPU: one submission, mapped asynchronously.

use core::time::Duration;

use futures_channel::oneshot;

use super::device::Device;
use crate::backend::BackendError;

/// A native step that takes longer than this means that the GPU hangs. (In a browser, the worker
/// has its own timeout.)
const PATIENCE: Duration = Duration::from_secs(60);

/// The staging buffer that results are copied to and read from; it only grows.
#[derive(Debug, Default)]
pub struct Reader {
    staging: Option<wgpu::Buffer>,
}

impl Reader {
    /// Appends to `encoder` a copy of the first `bytes` of a buffer, submits it, and waits for the
    /// result.
    pub async fn read(
        &mut self,
        device: &Device,
        mut encoder: wgpu::CommandEncoder,
        from: &wgpu::Buffer,
        bytes: u64,
    ) -> Result<Vec<u8>, BackendError> {
        let staging = match self.staging.take() {
            Some(staging) if staging.size() >= bytes => staging,
            kept => {
                kept.into_iter().for_each(|small| device.retire(small));
                let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
                device.buffer("results", bytes.next_power_of_two(), usage)
            }
        };
        encoder.copy_buffer_to_buffer(from, 0, &staging, 0, bytes);
        device.submit(encoder);
        let (done, mapped) = oneshot::channel();
        staging.map_async(wgpu::MapMode::Read, 0..bytes, move |result| {
            let _ = done.send(result);
        });
        // Natively, polling runs the callbacks; in a browser it does nothing.
        let polled =
            device.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: Some(PATIENCE) });
        if let Err(error) = polled {
            device.health.report(format!("the GPU does not answer: {error}"));
        }
        let fault = || BackendError::Device { reason: device.reason() };
        if device.health.fault().is_some() {
            return Err(fault());
        }
        match mapped.await {
            Ok(Ok(())) => {}
            _ => return Err(fault()),
        }
        let view = staging.slice(0..bytes).get_mapped_range().map_err(|_| fault())?;
        let result = view.to_vec();
        drop(view);
        staging.unmap();
        if device.health.fault().is_some() {
            return Err(fault());
        }
        device.stopwatch.read();
        self.staging = Some(staging);
        Ok(result)
    }
}
