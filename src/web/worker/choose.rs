//! Which engine writes: the GPU where it is there, computes right and is
//! quicker, else the processor; and why.

use crate::{
    backend::{
        Backend, BackendError, Batch, CacheShape, Dtype, Epilogue, Place, Sequence, Wanted,
        cpu::{Cpu, Level, Pool},
        webgpu::{Adapter, Gpu, Options},
    },
    bundle::Precision,
    gpt2::Config,
    web::protocol::{BackendChoice, Because, LoadRequest, Phase},
};

use super::{
    Machine, browser,
    download::{self, Loaded},
    engine::{Device, Engine},
    failure::WorkerError,
    other_worker,
    source::Source,
    storage::{remember_measurement, remembered_measurement},
};

/// Steps that are timed, after some that warm up.
const WARM_STEPS: usize = 2;
const TIMED_STEPS: usize = 5;

/// A GPU that has not answered after this long hangs.
pub const PATIENCE_MS: u32 = 30_000;

/// Logits on the GPU may be off the processor's by this share of their norm.
const LOGITS_TOLERANCE: f64 = 1e-2;

/// A prompt for files that bring none: any tokens do.
const KNOWN_PROMPT: [u32; 4] = [0, 40, 7, 11];

/// The engine, and why it is this one where there was a choice.
pub struct Chosen {
    pub engine: Engine,
    pub because: Option<Because>,
    /// Why the weights are not kept on this device; `None` if they are.
    pub not_kept: Option<&'static str>,
}

/// A measurement, as it is remembered.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
struct Measured {
    gpu_ms: f64,
    simd_ms: f64,
}

impl Measured {
    fn gpu_wins(self) -> bool {
        self.gpu_ms < self.simd_ms
    }
}

/// Loads the bot onto what will run it.
pub async fn load(
    source: &Source,
    request: &LoadRequest,
    machine: &Machine,
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> Result<Chosen, WorkerError> {
    let level = if request.backend == BackendChoice::Scalar { Level::Scalar } else { Level::Simd };
    let mut because = None;
    if matches!(request.backend, BackendChoice::Auto | BackendChoice::WebGpu) {
        match on_gpu(source, request, machine, progress).await? {
            Ok(chosen) => return Ok(chosen),
            Err(refusal) => because = Some(refusal),
        }
    }
    let Loaded { mut engine, not_kept } =
        download::weights(source, &mut Device::Cpu(level, machine.pool.clone()), progress).await?;
    machine.assemble().await?;
    if let Some(known) = source.check() {
        progress(Phase::Check, 0, None);
        engine.check(known).await?;
    }
    Ok(Chosen { engine, because, not_kept })
}

/// The bot on the GPU, if it is to run there.
async fn on_gpu(
    source: &Source,
    request: &LoadRequest,
    machine: &Machine,
    progress: &impl Fn(Phase, u64, Option<u64>),
) -> Result<Result<Chosen, Because>, WorkerError> {
    let forced = request.backend == BackendChoice::WebGpu;
    if !browser::has_webgpu() {
        return Ok(Err(Because::NoWebGpu));
    }
    let gpu = match Gpu::open(Options::default()).await {
        Ok(gpu) => gpu,
        Err(error) => return Ok(Err(Because::GpuFailed(error.to_string()))),
    };
    let adapter = gpu.adapter().clone();
    if adapter.software && !forced {
        return Ok(Err(Because::SoftwareGpu));
    }
    let remembered = (!forced).then(|| Memory::new(source, &adapter, &machine.pool));
    let known = match &remembered {
        Some(memory) => memory.recall().await,
        None => None,
    };
    if let Some(Measured { gpu_ms, simd_ms }) = known.filter(|m| !m.gpu_wins()) {
        return Ok(Err(Because::SimdQuicker { gpu_ms, simd_ms }));
    }
    let weights = download::weights(source, &mut Device::Gpu(Some(Box::new(gpu))), progress).await;
    let Loaded { mut engine, not_kept } = match gpu_result(weights)? {
        Ok(loaded) => loaded,
        Err(refusal) => return Ok(Err(refusal)),
    };
    progress(Phase::Check, 0, None);
    if let Err(refusal) = check(source, request, &mut engine).await? {
        return Ok(Err(refusal));
    }
    if forced {
        return Ok(Ok(Chosen { engine, because: None, not_kept }));
    }
    let measured = match known {
        Some(measured) => measured,
        None => {
            progress(Phase::Measure, 0, None);
            machine.assemble().await?;
            let gpu_ms = match gpu_result(gpu_step_ms(&mut engine).await)? {
                Ok(ms) => ms,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let measured =
                Measured { gpu_ms, simd_ms: simd_step_ms(engine.config(), request.precision, &machine.pool) };
            if let Some(memory) = &remembered {
                memory.remember(measured).await;
            }
            measured
        }
    };
    let Measured { gpu_ms, simd_ms } = measured;
    if !measured.gpu_wins() {
        return Ok(Err(Because::SimdQuicker { gpu_ms, simd_ms }));
    }
    let because = Some(Because::GpuQuicker { gpu_ms, simd_ms });
    Ok(Ok(Chosen { engine, because, not_kept }))
}

/// The GPU's own failures are no reason to stop; others are.
fn gpu_result<T>(result: Result<T, WorkerError>) -> Result<Result<T, Because>, WorkerError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(WorkerError::Gpu(reason)) => Ok(Err(Because::GpuFailed(reason))),
        Err(error) => Err(error),
    }
}

/// Compares the GPU's logits: with `bot.json`'s, or with those that another
/// worker computes on the processor.
async fn check(
    source: &Source,
    request: &LoadRequest,
    engine: &mut Engine,
) -> Result<Result<(), Because>, WorkerError> {
    let result = match source.check() {
        Some(known) => patiently(engine.check(known)).await,
        None => {
            let prompt = KNOWN_PROMPT.map(|token| token.min(engine.config().vocab_size as u32 - 1));
            let expected = other_worker::logits(request, &prompt).await?;
            let network = engine.network()?;
            patiently(async { Ok(network.logits(&prompt).await?.to_vec()) }).await.and_then(|found| {
                match distance(&found, &expected) {
                    off if off <= LOGITS_TOLERANCE => Ok(()),
                    off => Err(WorkerError::SelfCheck { off: off as f32 }),
                }
            })
        }
    };
    match gpu_result(result) {
        Err(WorkerError::SelfCheck { .. }) => Ok(Err(Because::WrongNumbers)),
        other => other,
    }
}

/// Norm of the difference over norm; infinite where it cannot be told.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    let size: f64 = expected.iter().map(|x| square(*x)).sum();
    let off = (difference / size.max(1e-30)).sqrt();
    if off.is_nan() || found.len() != expected.len() { f64::INFINITY } else { off }
}

/// Work of the GPU; one that hangs has failed.
async fn patiently<T>(work: impl Future<Output = Result<T, WorkerError>>) -> Result<T, WorkerError> {
    let silent = || Err(WorkerError::Gpu("the GPU does not answer".into()));
    browser::within(PATIENCE_MS, work).await.unwrap_or_else(silent)
}

/// Milliseconds of a step of one draft on the GPU, the median of some.
async fn gpu_step_ms(engine: &mut Engine) -> Result<f64, WorkerError> {
    let tail = (WARM_STEPS + TIMED_STEPS).min(engine.config().n_positions - 1);
    let shape = CacheShape { prompt: 1, drafts: 1, tail };
    let network = engine.network()?;
    let mut times = Vec::new();
    for position in 0..=tail {
        let place = match position {
            0 => Place { sequence: Sequence::Prompt, position },
            _ => Place { sequence: Sequence::Draft(0), position },
        };
        let batch = Batch {
            tokens: vec![0],
            places: vec![place],
            outputs: vec![0],
            wanted: Wanted::Top(51),
            start: (position == 0).then_some(shape),
        };
        let started_ms = browser::now_ms();
        patiently(async { Ok(network.forward(&batch).await.map(drop)?) }).await?;
        times.push(browser::now_ms() - started_ms);
    }
    let mut times = times.split_off(WARM_STEPS.min(times.len() - 1));
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// Milliseconds of the same on the processor, from one layer's products:
/// everything else is small beside the reading of weights. Infinite where
/// there is no memory for a layer.
fn simd_step_ms(config: &Config, precision: Precision, pool: &Pool) -> f64 {
    layer_step_ms(config, precision, pool).unwrap_or(f64::INFINITY)
}

fn layer_step_ms(config: &Config, precision: Precision, pool: &Pool) -> Result<f64, BackendError> {
    let (c, inner) = (config.n_embd, config.n_inner);
    let dtype = match precision {
        _ if !c.is_multiple_of(32) || !inner.is_multiple_of(32) => Dtype::F16,
        Precision::F32 => Dtype::F32,
        Precision::Q8_0 => Dtype::Q8_0,
        Precision::Q4_0 => Dtype::Q4_0,
    };
    let mut cpu = Cpu::new(Level::Simd, pool.clone());
    let mut matrices = Vec::new();
    for (rows, cols) in [(3 * c, c), (c, c), (inner, c), (c, inner)] {
        let mut packer = cpu.packer(rows, cols, dtype)?;
        let row = vec![0; dtype.matrix_bytes(1, cols)];
        for _ in 0..rows {
            cpu.pack(&mut packer, &row)?;
        }
        matrices.push(cpu.matrix(packer)?);
    }
    let rows = |width| crate::backend::cpu::Rows { rows: 1, width, values: vec![0.5; width] };
    let (x, wide) = (rows(c), rows(inner));
    let mut out = cpu.rows();
    let mut times: Vec<f64> = (0..WARM_STEPS + TIMED_STEPS)
        .map(|_| {
            let started_ms = browser::now_ms();
            for (w, x) in matrices.iter().zip([&x, &x, &x, &wide]) {
                cpu.linear(w, None, x, Epilogue::Store, &mut out);
            }
            browser::now_ms() - started_ms
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let layer_ms = times[times.len() / 2];
    let layer = (4 * c * c + 2 * c * inner) as f64;
    let all = config.n_layer as f64 * layer + (config.vocab_size * c) as f64;
    Ok(layer_ms * all / layer)
}

/// Where a measurement is kept: for this GPU, this file, these threads and
/// this version.
struct Memory {
    key: String,
}

impl Memory {
    fn new(source: &Source, adapter: &Adapter, pool: &Pool) -> Self {
        let identity = source.identity();
        let separator = if identity.contains('?') { '&' } else { '?' };
        let gpu: String =
            adapter.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let (threads, version) = (pool.threads(), env!("CARGO_PKG_VERSION"));
        Self { key: format!("{identity}{separator}measured={version}&gpu={gpu}&threads={threads}") }
    }

    async fn recall(&self) -> Option<Measured> {
        serde_json::from_str(&remembered_measurement(&self.key).await?).ok()
    }

    async fn remember(&self, measured: Measured) {
        if let Ok(text) = serde_json::to_string(&measured) {
            remember_measurement(&self.key, &text).await;
        }
    }
}
