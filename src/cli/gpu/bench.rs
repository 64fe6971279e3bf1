//! `huggingtweets bench gpu`: measures generation speed on this machine's GPU with one draft and
//! eight in parallel, and where a token's time goes: kernels, launch, readback.

use std::{path::PathBuf, sync::OnceLock, time::Instant};

use anyhow::Context;

use crate::{
    backend::{
        Batch, CacheShape, Place, Sequence, Wanted,
        webgpu::{Gpu, KernelTime, Options, StepTimes},
    },
    bundle::{Precision, folder::BotFolder},
    cli::{
        UsageError,
        bench::{Shape, random_weights},
        engine,
    },
    gpt2::{Model, from_weights},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A bot; without one, random weights of GPT-2 124M's shape unless told otherwise
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    shape: Shape,
    /// f32, q8_0 or q4_0
    #[arg(long, default_value = "q8_0")]
    precision: Precision,
    /// Tokens that each draft is timed over
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=512))]
    tokens: u32,
    /// Use the kernels for software adapters or those for GPUs (hardware) [default: by the adapter]
    #[arg(long, value_parser = ["hardware", "software"])]
    kernels: Option<String>,
}

/// Numbers of drafts generated in parallel.
const DRAFTS: [usize; 2] = [1, 8];

/// Length of the prompt, in tokens.
const PROMPT: usize = 4;

/// Number of warm-up steps, and of steps whose kernels are timed individually.
const WARM_STEPS: usize = 8;
const KERNEL_STEPS: usize = 8;

/// Logits requested per row, as with the page's default settings.
const WANTED: Wanted = Wanted::Top(51);

/// Context length of the network with random weights.
const POSITIONS: usize = 1024;

pub fn run(args: Args) -> anyhow::Result<()> {
    let as_software = args.kernels.map(|kernels| kernels == "software");
    let options = Options { as_software, clock: Some(now_ms), ..Options::default() };
    let gpu = pollster::block_on(Gpu::open(options)).context("there is nothing to measure")?;
    let mut model = match &args.model {
        Some(folder) => engine::open_on(gpu, &BotFolder::open(folder)?, args.precision)?,
        None => {
            let config = args.shape.config(POSITIONS)?;
            from_weights(&config, &random_weights(&config, 0), args.precision, gpu)?
        }
    };
    let (tokens, config) = (args.tokens as usize, model.config().clone());
    let most = config.n_positions.saturating_sub(PROMPT + WARM_STEPS + KERNEL_STEPS);
    if tokens > most {
        return Err(
            UsageError(format!("--tokens: at most {most} for a context of {}", config.n_positions)).into()
        );
    }
    let gpu = model.backend();
    let abilities = gpu.abilities();
    let has =
        [("subgroups", abilities.subgroups), ("f16", abilities.f16), ("dot4I8Packed", abilities.packed_dot)];
    let has: Vec<&str> = has.into_iter().filter_map(|(name, there)| there.then_some(name)).collect();
    let kind = if gpu.adapter().software { "software adapter" } else { "GPU" };
    answer!(
        "{} ({kind}): {}",
        gpu.adapter().name,
        if has.is_empty() { "nothing but WebGPU's defaults".into() } else { has.join(", ") }
    )?;
    answer!(
        "{} layers of {} channels, {} tokens in the vocabulary, {}: {:.1} MB of weights on it",
        config.n_layer,
        config.n_embd,
        config.vocab_size,
        args.precision,
        gpu.weight_bytes() as f64 * 1e-6
    )?;
    for drafts in DRAFTS {
        measure(&mut model, drafts, tokens)?.print(drafts)?;
    }
    Ok(())
}

/// Milliseconds since the first call.
fn now_ms() -> f64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3
}

/// Measurements for a number of drafts.
struct Measured {
    tokens_per_s: f64,
    dispatches: usize,
    /// Mean time per step.
    step_ms: f64,
    times: StepTimes,
    /// Mean kernel times per step; `None` if the device has no timestamps.
    kernels: Option<Vec<KernelTime>>,
}

/// Generates `tokens` tokens per draft.
fn measure(model: &mut Model<Gpu>, drafts: usize, tokens: usize) -> anyhow::Result<Measured> {
    let shape = CacheShape { prompt: PROMPT, drafts, tail: WARM_STEPS + tokens + KERNEL_STEPS };
    let vocab = model.config().vocab_size;
    let prompt: Vec<u32> = (0..PROMPT).map(|i| (i * 31 % vocab) as u32).collect();
    step(model, &Batch { wanted: WANTED, ..Batch::prompt(&prompt, vec![PROMPT - 1], shape) })?;
    let mut position = PROMPT;
    let mut next = || {
        let place = |draft| Place { sequence: Sequence::Draft(draft), position };
        let token = |draft| ((draft * 17 + position * 31) % vocab) as u32;
        let batch = Batch {
            tokens: (0..drafts).map(token).collect(),
            places: (0..drafts).map(place).collect(),
            outputs: (0..drafts).collect(),
            wanted: WANTED,
            start: None,
        };
        position += 1;
        batch
    };
    for _ in 0..WARM_STEPS {
        step(model, &next())?;
    }
    let mut times = StepTimes::default();
    let began_ms = now_ms();
    for _ in 0..tokens {
        step(model, &next())?;
        let StepTimes { encode_ms, submit_ms, wait_ms } = model.backend().step_times();
        times.encode_ms += encode_ms;
        times.submit_ms += submit_ms;
        times.wait_ms += wait_ms;
    }
    let all_ms = now_ms() - began_ms;
    let dispatches = model.backend().dispatched();
    let n = tokens as f64;
    let times = StepTimes {
        encode_ms: times.encode_ms / n,
        submit_ms: times.submit_ms / n,
        wait_ms: times.wait_ms / n,
    };
    let kernels = match model.backend().time_kernels(true) {
        true => {
            let mut sums: Vec<KernelTime> = Vec::new();
            for _ in 0..KERNEL_STEPS {
                step(model, &next())?;
                let found = pollster::block_on(model.backend().kernel_times())?;
                match sums.is_empty() {
                    true => sums = found,
                    // Every step runs the same kernels.
                    false => sums.iter_mut().zip(found).for_each(|(sum, found)| sum.ms += found.ms),
                }
            }
            sums.iter_mut().for_each(|sum| sum.ms /= KERNEL_STEPS as f64);
            sums.sort_by(|a, b| b.ms.total_cmp(&a.ms));
            Some(sums)
        }
        false => None,
    };
    model.backend().time_kernels(false);
    Ok(Measured {
        tokens_per_s: drafts as f64 * n / all_ms * 1e3,
        dispatches,
        step_ms: all_ms / n,
        times,
        kernels,
    })
}

fn step(model: &mut Model<Gpu>, batch: &Batch) -> anyhow::Result<()> {
    model.begin(batch)?;
    pollster::block_on(model.outputs())?;
    Ok(())
}

impl Measured {
    fn print(&self, drafts: usize) -> std::io::Result<()> {
        let Self { tokens_per_s, dispatches, step_ms, times, kernels } = self;
        let StepTimes { encode_ms, submit_ms, wait_ms } = times;
        let together = if drafts == 1 { "one draft".into() } else { format!("{drafts} drafts together") };
        answer!(
            "\n{together}: {tokens_per_s:.1} tokens/s, {step_ms:.3} ms per step of {dispatches} dispatches"
        )?;
        answer!("  record {encode_ms:.3} ms, submit {submit_ms:.3} ms, wait and read back {wait_ms:.3} ms")?;
        let Some(kernels) = kernels else {
            return answer!("  kernels: this device has no timestamps");
        };
        let all_ms: f64 = kernels.iter().map(|kernel| kernel.ms).sum();
        answer!("  kernels {all_ms:.3} ms, each in a pass of its own:")?;
        for KernelTime { kernel, shape, dispatches, ms } in kernels {
            answer!("    {ms:8.3} ms  {dispatches:3} x {kernel} {}", size(kernel, shape))?;
        }
        Ok(())
    }
}

/// Describes what distinguishes a kernel's dispatches: the outputs and inputs of a product.
fn size(kernel: &str, shape: &[u32]) -> String {
    match (kernel, shape) {
        ("linear" | "linear_quads", [outputs, blocks, ..]) => format!("{outputs} x {}", blocks * 32),
        ("dense", [outputs, inputs, ..]) => format!("{outputs} x {inputs}"),
        _ => String::new(),
    }
}
