//! The adapter and the device: their features, their limits, and whether they are still alive.

#[cfg_attr(target_family = "wasm", path = "device/web.rs")]
#[cfg_attr(not(target_family = "wasm"), path = "device/native.rs")]
mod platform;

use std::{
    cell::RefCell,
    sync::{Arc, Mutex},
};

use thiserror::Error;

use super::meter::{Clock, Stopwatch};

/// Which optional device features to use, where available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    pub subgroups: bool,
    pub f16: bool,
    /// `dot4I8Packed`
    pub packed_dot: bool,
}

impl Abilities {
    pub const ALL: Self = Self { subgroups: true, f16: true, packed_dot: true };
    /// What every WebGPU device supports.
    pub const NONE: Self = Self { subgroups: false, f16: false, packed_dot: false };

    fn and(self, other: Self) -> Self {
        Self {
            subgroups: self.subgroups && other.subgroups,
            f16: self.f16 && other.f16,
            packed_dot: self.packed_dot && other.packed_dot,
        }
    }
}

/// How to open a device.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Features to use where available.
    pub abilities: Abilities,
    /// Compile kernels while weights arrive rather than on first use. Ignored on a software
    /// adapter, which is busy enough with the kernels that are used.
    pub eager: bool,
    /// Maximum binding size in bytes, if less than the device's; for tests.
    pub max_binding_bytes: Option<u64>,
    /// Overrides whether kernels are chosen as for a software adapter; for tests and measurements.
    pub as_software: Option<bool>,
    /// The clock that measures where a step's time goes ([`super::Gpu::step_times`]).
    pub clock: Option<Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            abilities: Abilities::ALL,
            eager: true,
            max_binding_bytes: None,
            as_software: None,
            clock: None,
        }
    }
}

/// Why there is no device.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum OpenError {
    #[error("there is no GPU that WebGPU can use here")]
    NoAdapter,
    #[error("the GPU refused: {0}")]
    NoDevice(String),
}

/// A GPU's name and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    pub name: String,
    /// Whether it is a software adapter, i.e. a CPU emulating a GPU.
    pub software: bool,
}

/// The first fault of a device; shared with its callbacks.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<Option<String>>>);

impl Health {
    /// Records a fault; the first one stays.
    pub fn report(&self, fault: String) {
        if let Ok(mut slot) = self.0.lock() {
            slot.get_or_insert(fault);
        }
    }

    /// Returns the first fault.
    pub fn fault(&self) -> Option<String> {
        self.0.lock().ok().and_then(|slot| slot.clone())
    }
}

/// The platform's preferred GPU, found but not opened.
#[derive(Debug)]
pub struct FoundAdapter {
    wgpu: wgpu::Adapter,
    adapter: Adapter,
    packed_dot: bool,
}

/// An open device.
#[derive(Debug)]
pub struct Device {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub adapter: Adapter,
    pub abilities: Abilities,
    /// `enable` directives that every shader must start with on this platform.
    pub enables: String,
    /// Maximum size of a storage-buffer binding.
    pub max_binding_bytes: u64,
    /// Whether kernels are those for a software adapter, whose compiler rounds every float
    /// operation as written.
    pub as_software: bool,
    pub health: Health,
    /// Whether timestamp queries are available and wanted.
    pub has_timestamps: bool,
    pub stopwatch: Stopwatch,
    /// Replaced buffers that recorded commands may still use.
    retired: RefCell<Vec<wgpu::Buffer>>,
}

/// Names of software adapters, in lower case.
const SOFTWARE: [&str; 4] = ["swiftshader", "llvmpipe", "lavapipe", "basic render"];

impl FoundAdapter {
    /// Looks for the platform's preferred GPU.
    ///
    /// # Errors
    /// If there is none.
    pub async fn find() -> Result<Self, OpenError> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let wish = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance.request_adapter(&wish).await.map_err(|_| OpenError::NoAdapter)?;
        let info = adapter.get_info();
        let name = platform::name(&info).await;
        let lower = name.to_ascii_lowercase();
        let software =
            info.device_type == wgpu::DeviceType::Cpu || SOFTWARE.iter().any(|known| lower.contains(known));
        let packed = instance.wgsl_language_features();
        Ok(Self {
            wgpu: adapter,
            adapter: Adapter { name, software },
            packed_dot: packed.contains(wgpu::WgslLanguageFeatures::Packed4x8IntegerDotProduct),
        })
    }

    /// Returns its name, and whether it is a software adapter.
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }
}

impl Device {
    /// Opens a GPU.
    ///
    /// # Errors
    /// If the device request fails.
    pub async fn open(found: FoundAdapter, options: Options) -> Result<Self, OpenError> {
        let FoundAdapter { wgpu: adapter, adapter: known, packed_dot } = found;
        let browser = adapter.get_info().backend == wgpu::Backend::BrowserWebGpu;
        let has = adapter.features();
        let mut abilities = options.abilities.and(Abilities {
            subgroups: has.contains(wgpu::Features::SUBGROUP) || browser,
            f16: has.contains(wgpu::Features::SHADER_F16),
            packed_dot,
        });
        let has_timestamps = options.clock.is_some() && has.contains(wgpu::Features::TIMESTAMP_QUERY);
        let mut features = wgpu::Features::empty();
        features.set(wgpu::Features::SHADER_F16, abilities.f16);
        features.set(wgpu::Features::SUBGROUP, abilities.subgroups && !browser);
        features.set(wgpu::Features::TIMESTAMP_QUERY, has_timestamps);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("huggingtweets"),
            required_features: features,
            // The default limits suffice.
            required_limits: wgpu::Limits::defaults(),
            ..Default::default()
        };
        let (device, queue) =
            adapter.request_device(&descriptor).await.map_err(|e| OpenError::NoDevice(e.to_string()))?;
        abilities.subgroups &= platform::subgroups(&device);
        let health = Health::default();
        device.set_device_lost_callback({
            let health = health.clone();
            move |_, reason| health.report(format!("the GPU was lost: {reason}"))
        });
        device.on_uncaptured_error(Arc::new({
            let health = health.clone();
            move |error: wgpu::Error| health.report(sentence(&error))
        }));
        let mut enables = String::new();
        if abilities.f16 {
            enables.push_str("enable f16;\n");
        }
        // naga supports subgroups, but not the directive.
        if abilities.subgroups && browser {
            enables.push_str("enable subgroups;\n");
        }
        let binding = wgpu::Limits::defaults().max_storage_buffer_binding_size;
        Ok(Self {
            device,
            queue,
            as_software: options.as_software.unwrap_or(known.software),
            adapter: known,
            abilities,
            enables,
            max_binding_bytes: options.max_binding_bytes.unwrap_or(binding).min(binding),
            health,
            has_timestamps,
            stopwatch: Stopwatch::new(options.clock),
            retired: RefCell::default(),
        })
    }

    /// Destroys a replaced buffer once the recorded commands have been submitted. Merely dropped,
    /// it would live in a browser until garbage collection.
    pub fn retire(&self, buffer: wgpu::Buffer) {
        self.retired.borrow_mut().push(buffer);
    }

    /// Submits recorded commands.
    pub fn submit(&self, encoder: wgpu::CommandEncoder) {
        self.stopwatch.recorded();
        self.queue.submit([encoder.finish()]);
        for buffer in self.retired.take() {
            buffer.destroy();
        }
        self.stopwatch.submitted();
    }

    /// Creates a buffer; if the device has no room, that is reported to its health.
    pub fn buffer(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let size = bytes.max(16).next_multiple_of(16);
        if size > self.max_binding_bytes.max(self.device.limits().max_storage_buffer_binding_size) {
            self.health.report(format!("the GPU cannot hold {label} of {size} bytes in one piece"));
            return self.buffer(label, 16, usage);
        }
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    /// Returns why the device can no longer be used.
    pub fn reason(&self) -> String {
        self.health.fault().unwrap_or_else(|| "the GPU does not give back its results".into())
    }

    /// Destroys the device; to callers this looks like a driver crash.
    pub fn destroy(&self) {
        self.device.destroy();
    }
}

/// Destroys the device: in a browser, buffers that are merely dropped live until garbage
/// collection, so a bot's weights would remain while the CPU backend loads its own.
impl Drop for Device {
    fn drop(&mut self) {
        self.destroy();
    }
}

fn sentence(error: &wgpu::Error) -> String {
    match error {
        wgpu::Error::OutOfMemory { .. } => "the GPU ran out of memory".into(),
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            format!("the GPU refused a step: {}", description.lines().next().unwrap_or_default())
        }
    }
}
