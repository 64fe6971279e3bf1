//! `huggingtweets bench train`: speed and memory of a training step, and how close it comes to the
//! machine's matrix peak.

use std::time::Instant;

use anyhow::Context;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde_json::json;

use super::{Shape, random_weights};
use crate::{
    cli::{UsageError, memory},
    gpt2::Config,
    train::{
        device,
        gradients::Gradients,
        laps::{Laps, Work},
        model::{Mode, Model, next_tokens},
        ops::matmul::{Cores, View, product},
        optimizer::AdamW,
        recipe::Recipe,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Blocks per step
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Tokens per block
    #[arg(long, default_value_t = 1024)]
    context: usize,
    /// Steps to time
    #[arg(long, default_value_t = 3)]
    steps: usize,
    /// Steps before those, not timed
    #[arg(long, default_value_t = 1)]
    warm_up: usize,
    /// Dropout of embeddings, attention and residuals; 0 turns it off
    #[arg(long, default_value_t = 0.1)]
    dropout: f32,
    /// Compute activations again in the backward pass: less memory, more time
    #[arg(long)]
    checkpoint_activations: bool,
    /// Device, as for train
    #[arg(long, default_value = "auto", value_parser = device::NAMES)]
    device: String,
    #[command(flatten)]
    shape: Shape,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Results of the benchmark.
struct Measured {
    /// Median of the timed steps.
    step_seconds: f64,
    /// Each step's operations per second as a fraction of the matrix peak just before and after it,
    /// because a machine's speed changes over time; the median.
    utilisation: f64,
    /// The matrix peak in operations per second: the median of all measurements.
    matrix_peak: f64,
    /// Loss of the last step, nats per token.
    loss: f32,
    /// Peak memory of the process; `None` if the system does not report it.
    peak_bytes: Option<u64>,
    /// Seconds per step, by kind of work.
    profile: Vec<(&'static str, f64)>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    for (ok, problem) in [
        (args.batch > 0, "--batch must be at least 1"),
        (args.context > 1, "--context must be at least 2"),
        (args.steps > 0, "--steps must be at least 1"),
        ((0.0..1.0).contains(&args.dropout), "--dropout must be at least 0 and under 1"),
    ] {
        if !ok {
            return Err(UsageError(problem.into()).into());
        }
    }
    let mut config = args.shape.config(args.context)?;
    (config.embd_pdrop, config.attn_pdrop, config.resid_pdrop) = (args.dropout, args.dropout, args.dropout);
    let measured = measure(&args, &config)?;
    let tokens = (args.batch * args.context) as f64;
    let tokens_per_s = tokens / measured.step_seconds;
    let flops = flops_per_token(&config, args.context);
    let (peak, utilisation) = (measured.matrix_peak, measured.utilisation);
    if args.json {
        let figures = json!({
            "batch": args.batch, "context": args.context, "steps": args.steps, "dropout": args.dropout,
            "step_seconds": measured.step_seconds, "tokens_per_s": tokens_per_s, "loss": measured.loss,
            "peak_bytes": measured.peak_bytes, "flops_per_token": flops, "matrix_peak_flops": peak,
            "utilisation": utilisation,
            "profile_seconds": measured.profile.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        });
        answer!("{figures}")?;
        return Ok(());
    }
    answer!("{} x {} tokens, {:.3} s per step", args.batch, args.context, measured.step_seconds)?;
    answer!("{tokens_per_s:.1} tokens/s")?;
    if let Some(bytes) = measured.peak_bytes {
        answer!("{:.2} GB at most", bytes as f64 / 1e9)?;
    }
    answer!(
        "{:.0} MFLOP per token of {:.0} GFLOP/s, the matrix peak: {:.0}% used",
        flops / 1e6,
        peak / 1e9,
        100.0 * utilisation
    )?;
    for (work, seconds) in &measured.profile {
        answer!("{:7.3} s {:5.1}%  {work}", seconds, 100.0 * seconds / measured.step_seconds)?;
    }
    Ok(())
}

fn measure(args: &Args, config: &Config) -> anyhow::Result<Measured> {
    let device = device::open(&args.device)?;
    let mut model =
        Model::on(&device, Recipe::default().products(), config.clone(), &random_weights(config, args.seed))?;
    model.checkpoint_activations = args.checkpoint_activations;
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let ids: Vec<u32> =
        (0..args.batch * args.context).map(|_| rng.next_u32() % config.vocab_size as u32).collect();
    let labels = next_tokens(&ids, args.context);
    let (mut optimizer, mut gradients) = (AdamW::default(), Gradients::new(&model));
    let (mut seconds, mut loss) = (Vec::new(), 0.0);
    let mut probe = PeakProbe::new(config.n_embd);
    let mut peaks = Vec::new();
    let (mut before, mut optimizer_laps) = (model.laps(), Laps::default());
    for step in 0..args.warm_up + args.steps {
        if step == args.warm_up {
            (before, optimizer_laps) = (model.laps(), Laps::default());
            peaks.push(probe.measure());
        }
        let started = Instant::now();
        gradients.clear();
        let mode = Mode::Train { seed: args.seed, step: step as u64 };
        loss = model.accumulate(&ids, &labels, args.context, mode, 1.0, &mut gradients)?;
        optimizer_laps.start();
        optimizer.step(&model, &gradients, 1e-4)?;
        optimizer_laps.end(Work::Optimizer);
        if step >= args.warm_up {
            seconds.push(started.elapsed().as_secs_f64());
            peaks.push(probe.measure());
        }
    }
    let step_flops = flops_per_token(config, args.context) * ids.len() as f64;
    let beside = peaks.windows(2).map(|two| (two[0] + two[1]) / 2.0);
    let utilisation = seconds.iter().zip(beside).map(|(step, peak)| step_flops / step / peak).collect();
    let after = model.laps();
    let spent = |work| after.spent(work) - before.spent(work) + optimizer_laps.spent(work);
    Ok(Measured {
        step_seconds: median(seconds).context("no step was timed")?,
        utilisation: median(utilisation).context("no step was timed")?,
        matrix_peak: median(peaks).context("no step was timed")?,
        loss,
        peak_bytes: memory::peak_bytes(),
        profile: Work::ALL
            .iter()
            .map(|&work| (work.name(), spent(work).as_secs_f64() / args.steps as f64))
            .collect(),
    })
}

/// Floating-point operations per token, forward and backward, a multiply-add counting as two: six
/// for each weight of a matrix, and attention over the tokens that each can see. Recomputation is
/// not counted.
fn flops_per_token(config: &Config, context: usize) -> f64 {
    let (c, inner, layers) = (config.n_embd as f64, config.n_inner as f64, config.n_layer as f64);
    let weights = layers * (4.0 * c * c + 2.0 * c * inner) + config.vocab_size as f64 * c;
    6.0 * weights + 6.0 * layers * c * (context as f64 + 1.0)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Measures the matrix peak: the most operations per second that the matrix product reaches on
/// shapes typical of this network, on all cores.
struct PeakProbe {
    /// (m, k, n) of each product.
    shapes: [(usize, usize, usize); 3],
    a: Vec<f32>,
    b: Vec<f32>,
    out: Vec<f32>,
}

impl PeakProbe {
    const ROWS: usize = 1024;
    const TRIALS: usize = 3;

    fn new(channels: usize) -> Self {
        let wide = 4 * channels;
        let shapes =
            [(Self::ROWS, channels, wide), (Self::ROWS, wide, channels), (channels, Self::ROWS, wide)];
        let most = |len: fn((usize, usize, usize)) -> usize| shapes.into_iter().map(len).max().unwrap_or(0);
        let fill = |n: usize| (0..n).map(|i| (i % 997) as f32 / 997.0 - 0.5).collect();
        let (a, b) = (fill(most(|(m, k, _)| m * k)), fill(most(|(_, k, n)| k * n)));
        Self { shapes, a, b, out: vec![0.0; most(|(m, _, n)| m * n)] }
    }

    /// The current matrix peak, in operations per second.
    fn measure(&mut self) -> f64 {
        let mut best: f64 = 0.0;
        for (m, k, n) in self.shapes {
            for _ in 0..Self::TRIALS {
                let started = Instant::now();
                let (a, b) = (View::new(&self.a[..m * k], m, k), View::new(&self.b[..k * n], k, n));
                product(a, b, &mut self.out[..m * n], n, false, Cores::All);
                best = best.max(2.0 * (m * k * n) as f64 / started.elapsed().as_secs_f64());
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpt2_takes_741_million_operations_a_token_and_attention() {
        let shape = Shape { layers: 12, channels: 768, heads: 12, vocab_size: 50257 };
        let config = shape.config(1024).unwrap();
        let attention = 6.0 * 12.0 * 768.0 * 1025.0;
        assert_eq!(flops_per_token(&config, 1024) - attention, 6.0 * 123_532_032.0);
    }

    #[test]
    fn a_small_network_is_measured() {
        let args = Args {
            batch: 2,
            context: 9,
            steps: 2,
            warm_up: 1,
            dropout: 0.1,
            checkpoint_activations: true,
            device: "cpu".into(),
            shape: Shape { layers: 2, channels: 6, heads: 2, vocab_size: 300 },
            seed: 1,
            json: false,
        };
        let measured = measure(&args, &args.shape.config(9).unwrap()).unwrap();
        assert!(measured.step_seconds > 0.0 && measured.utilisation > 0.0 && measured.matrix_peak > 0.0);
        assert!((measured.loss - 300f32.ln()).abs() < 0.5, "{}", measured.loss);
        let total: f64 = measured.profile.iter().map(|(_, seconds)| seconds).sum();
        assert!(total > 0.0 && total < 3.0 * measured.step_seconds);
    }
}
