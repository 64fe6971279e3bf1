//! Chooses the engine: the GPU if there is one that computes correctly and is faster, else the
//! CPU; and records why.

use crate::{
    backend::{
        Batch, CacheShape, Place, Sequence, Wanted,
        cpu::{Level, Pool},
        webgpu::{FoundAdapter, Gpu, Options},
    },
    bundle::{Precision, manifest::LogitsCheck},
    gpt2::Config,
    web::protocol::{BackendChoice, Because, LoadRequest, NotKept, Phase, Update},
};

use super::{
    Machine, Reply, browser,
    download::{self, Loaded},
    engine::{Device, Engine},
    failure::WorkerError,
    measurement::{Measured, Memory},
    other_worker,
    simd_speed::{self, Sweep},
    source::Source,
};

/// Warm-up steps, and the steps timed after them.
const WARM_STEPS: usize = 2;
const TIMED_STEPS: usize = 5;

/// A GPU that has not answered after this long counts as hung.
pub const TIMEOUT_MS: u32 = 30_000;

/// A prompt for files without a known one: any tokens will do.
const KNOWN_PROMPT: [u32; 4] = [0, 40, 7, 11];

/// The chosen engine.
pub struct Chosen {
    pub engine: Engine,
    /// Size of the weights' file.
    pub bytes: u64,
    pub because: Option<Because>,
    /// Why the weights are not stored on this device; `None` if they are.
    pub not_kept: Option<NotKept>,
}

/// Loads the bot onto the engine that will run it. A GPU has been checked then, since the CPU is to
/// take over from one that computes wrongly.
pub async fn load(
    source: &Source,
    request: &LoadRequest,
    machine: &Machine,
    reply: &Reply,
) -> Result<Chosen, WorkerError> {
    let progress = |phase, loaded, total| reply.progress(phase, loaded, total);
    let level = if request.backend == BackendChoice::Scalar { Level::Scalar } else { Level::Simd };
    let mut because = None;
    if matches!(request.backend, BackendChoice::Auto | BackendChoice::WebGpu) {
        match on_gpu(source, request, machine, reply).await {
            Ok(chosen) => return Ok(chosen),
            Err(NotOnGpu::Because(reason)) => because = Some(reason),
            Err(NotOnGpu::Failed(error)) => return Err(error),
        }
        reply.send(Update::TriesGpu(false));
    }
    let Loaded { engine, bytes, not_kept } = download::weights(
        source,
        &mut Device::Cpu(level, machine.pool.clone()),
        &machine.kept().await,
        &progress,
    )
    .await?;
    machine.assemble().await?;
    Ok(Chosen { engine, bytes, because, not_kept })
}

/// Why the bot was not loaded onto the GPU.
enum NotOnGpu {
    /// The GPU cannot run it, or the CPU is faster: the CPU runs it.
    Because(Because),
    /// The load failed, and not because of the GPU.
    Failed(WorkerError),
}

impl From<Because> for NotOnGpu {
    fn from(reason: Because) -> Self {
        Self::Because(reason)
    }
}

impl From<WorkerError> for NotOnGpu {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Gpu(reason) => Self::Because(Because::GpuFailed(reason)),
            error => Self::Failed(error),
        }
    }
}

/// Loads the bot onto the GPU.
async fn on_gpu(
    source: &Source,
    request: &LoadRequest,
    machine: &Machine,
    reply: &Reply,
) -> Result<Chosen, NotOnGpu> {
    let progress = |phase, loaded, total| reply.progress(phase, loaded, total);
    let forced = request.backend == BackendChoice::WebGpu;
    if !browser::has_webgpu() {
        return Err(Because::NoWebGpu.into());
    }
    reply.send(Update::TriesGpu(true));
    let Opened { gpu, memory, recalled } = open(source, machine, forced).await?;
    let mut device = Device::Gpu(Some(Box::new(gpu)));
    let Loaded { mut engine, bytes, not_kept } =
        download::weights(source, &mut device, &machine.kept().await, &progress).await?;
    progress(Phase::Check, 0, None);
    check(source, request, machine, &mut engine).await?;
    let measured = match (&memory, recalled) {
        (Some(memory), None) => {
            progress(Phase::Measure, 0, None);
            measure(&mut engine, request, machine, memory).await?
        }
        _ => recalled,
    };
    let because = measured.map(gpu_if_quicker).transpose()?;
    Ok(Chosen { engine, bytes, because, not_kept })
}

/// A GPU that may run the bot.
struct Opened {
    gpu: Gpu,
    /// Where its timing is stored; `None` if the visitor's choice is not up to a timing.
    memory: Option<Memory>,
    /// The timing stored there.
    recalled: Option<Measured>,
}

/// Opens the GPU. One that will not be used stays closed: opening it and compiling kernels costs
/// time and energy at every visit.
async fn open(source: &Source, machine: &Machine, forced: bool) -> Result<Opened, NotOnGpu> {
    let found = with_timeout(TIMEOUT_MS, async { Ok(FoundAdapter::find().await?) }).await?;
    if found.adapter().software && !forced {
        return Err(Because::SoftwareGpu.into());
    }
    let memory = (!forced).then(|| Memory::new(&source.identity(), found.adapter(), machine));
    let recalled = match &memory {
        Some(memory) => memory.recall().await,
        None => None,
    };
    if let Some(measured) = recalled {
        gpu_if_quicker(measured)?;
    }
    let gpu =
        with_timeout(TIMEOUT_MS, async { Ok(Gpu::open_found(found, Options::default()).await?) }).await?;
    Ok(Opened { gpu, memory, recalled })
}

/// Times a step on the GPU and on the CPU and stores the result; `None` if one layer does not fit
/// in the CPU's memory, so that it cannot run the bot.
async fn measure(
    engine: &mut Engine,
    request: &LoadRequest,
    machine: &Machine,
    memory: &Memory,
) -> Result<Option<Measured>, WorkerError> {
    machine.assemble().await?;
    let gpu_ms = gpu_step_ms(engine).await?;
    let Some(simd_ms) = simd_step_ms(engine.config(), request.precision, &machine.pool) else {
        return Ok(None);
    };
    let measured = Measured { gpu_ms, simd_ms };
    memory.remember(measured).await;
    Ok(Some(measured))
}

/// Returns why the GPU runs the bot or, as the error, why it does not.
fn gpu_if_quicker(measured: Measured) -> Result<Because, Because> {
    let Measured { gpu_ms, simd_ms } = measured;
    if measured.gpu_wins() {
        Ok(Because::GpuQuicker { gpu_ms, simd_ms })
    } else {
        Err(Because::SimdQuicker { gpu_ms, simd_ms })
    }
}

/// Compares the GPU's logits with those in `bot.json`, or with those that another worker computes
/// on the CPU.
async fn check(
    source: &Source,
    request: &LoadRequest,
    machine: &Machine,
    engine: &mut Engine,
) -> Result<(), NotOnGpu> {
    let computed;
    let known = match source.check() {
        Some(known) => known,
        None => {
            let prompt = KNOWN_PROMPT.map(|token| token.min(engine.config().vocab_size as u32 - 1));
            // Fall back to the CPU, which needs no check and may still succeed here.
            let logits = other_worker::logits(machine, request, &prompt)
                .await
                .map_err(|error| Because::GpuFailed(format!("the GPU could not be checked: {error}")))?;
            let token_ids = (0u32..).take(logits.len()).collect();
            let (prompt, prompt_ids) = (String::new(), prompt.to_vec());
            computed = LogitsCheck { prompt, prompt_ids, token_ids, logits };
            &computed
        }
    };
    match with_timeout(TIMEOUT_MS, engine.network()?.check(known)).await {
        Err(WorkerError::SelfCheck { .. }) => Err(Because::WrongNumbers.into()),
        other => Ok(other?),
    }
}

/// Runs work on the GPU; a timeout counts as its failure.
pub async fn with_timeout<T>(
    ms: u32,
    work: impl Future<Output = Result<T, WorkerError>>,
) -> Result<T, WorkerError> {
    let silent = || Err(WorkerError::Gpu("the GPU does not answer".into()));
    browser::within(ms, work).await.unwrap_or_else(silent)
}

/// Returns the median time of a decoding step of one draft on the GPU, in milliseconds.
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
        with_timeout(TIMEOUT_MS, async { Ok(network.forward(&batch).await.map(drop)?) }).await?;
        times.push(browser::now_ms() - started_ms);
    }
    let mut times = times.split_off(WARM_STEPS.min(times.len() - 1));
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// Returns the same for the CPU; `None` if a layer does not fit in memory.
fn simd_step_ms(config: &Config, precision: Precision, pool: &Pool) -> Option<f64> {
    let mut sweep = Sweep::default();
    simd_speed::step_ms(config, precision, pool, browser::now_ms, |bytes| sweep.read(bytes)).ok()
}
