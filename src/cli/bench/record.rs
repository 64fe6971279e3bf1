//! `huggingtweets bench record`: writes a synthetic run in the real format, to test programs that
//! read such folders and to time recording.

use std::{path::PathBuf, time::Instant};

use crate::{
    bundle::file_names::SAFETENSORS,
    cli::train::LEARNING_RATE,
    record::{
        Artifact, DatasetCounts, Evaluation, Lineage, Machine, Memorisation, RunConfig, RunRecorder,
        SampleDraft, StepMetrics, Stopped, Summary, Versions,
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 400)]
    steps: usize,
    /// Steps between evaluations
    #[arg(long, default_value_t = 50)]
    every: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[arg(long, default_value = "made-up")]
    name: String,
}

/// Tokens of a synthetic step.
const TOKENS: u64 = 1024;
const TOKENS_PER_S: f64 = 150.0;

pub fn run(args: Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut recorder = RunRecorder::create(&args.out, &config(&args)?)?;
    let wobble = |step: usize| ((step as u64).wrapping_mul(0x9e37_79b9 ^ args.seed) % 97) as f32 / 97.0 - 0.5;
    let train = |step: usize| 2.2 + 1.6 * (-(step as f32) / 90.0).exp() + 0.3 * wobble(step);
    // Falls, then rises, like that of a bot that overfits.
    let held_out = |step: usize| {
        let part = step as f64 / args.steps.max(1) as f64;
        3.9 - 1.9 * part + 1.2 * part * part
    };
    let (mut best, mut best_step) = (f64::INFINITY, 0);
    for step in 1..=args.steps {
        let done = step as f64 / args.steps as f64;
        recorder.step(&StepMetrics {
            step,
            loss: train(step),
            learning_rate: LEARNING_RATE * (1.0 + (std::f64::consts::PI * done).cos()) / 2.0,
            gradient_norm: 1.1 + wobble(step * 7),
            tokens_per_s: TOKENS_PER_S + 9.0 * f64::from(wobble(step * 3)),
            tokens: TOKENS * step as u64,
        })?;
        if step.is_multiple_of(args.every.max(1)) || step == args.steps {
            let loss = held_out(step);
            let is_best = loss < best;
            if is_best {
                (best, best_step) = (loss, step);
            }
            recorder.evaluation(&Evaluation {
                step,
                validation_loss: loss,
                perplexity: loss.exp(),
                best: is_best,
            })?;
            recorder.samples(step, &drafts(step))?;
        }
    }
    let seconds = args.steps as f64 * TOKENS as f64 / TOKENS_PER_S;
    recorder.finish(&Summary {
        steps: args.steps,
        tokens: TOKENS * args.steps as u64,
        seconds,
        stopped: Stopped::Completed,
        first_loss: Some(f64::from(train(1))),
        final_loss: Some(f64::from(train(args.steps))),
        best_validation_loss: best.is_finite().then_some(best),
        best_step: best.is_finite().then_some(best_step),
        peak_memory_bytes: Some(3_100_000_000),
        memorisation: Some(Memorisation { drafts: 200, memorised: 5, words: 8, longest_words: 14 }),
        output: Some(Artifact::of_bytes(SAFETENSORS, b"made up")),
    })?;
    say!("{} steps recorded in {:.3} s: {}", args.steps, started.elapsed().as_secs_f64(), args.out.display());
    Ok(())
}

fn config(args: &Args) -> anyhow::Result<RunConfig> {
    let mut config = RunConfig {
        name: args.name.clone(),
        recipe: "modern".into(),
        command: "huggingtweets bench record".into(),
        seed: args.seed,
        dataset: DatasetCounts {
            train_posts: 2850,
            validation_posts: 150,
            left_out_posts: 12,
            train_tokens: TOKENS * args.steps as u64,
            validation_tokens: 5120,
        },
        parameters: 124_439_808,
        versions: Versions::of_this_build(),
        machine: Machine::detect(),
        lineage: Lineage {
            archives: vec![Artifact::of_bytes("posts.txt", b"made up posts")],
            dataset: Artifact::of_bytes("training text", b"made up text"),
            base: Artifact::named("scratch"),
            output: None,
        },
        ..RunConfig::default()
    };
    config.set_hyper_parameters(&serde_json::json!({
        "learning_rate": LEARNING_RATE, "batch": 1, "context": TOKENS, "epochs": 4, "dropout": 0.1,
        "gradient_clip": 1.0, "evaluate_every": args.every,
    }))?;
    Ok(config)
}

/// One of the drafts contains markup, which readers must show as text.
fn drafts(step: usize) -> Vec<SampleDraft> {
    let draft =
        |prompt: &str, rest: &str| SampleDraft { prompt: prompt.into(), text: format!("{prompt}{rest}") };
    vec![
        draft("My dream is", &format!(" a lamp that stays lit for {step} nights")),
        draft("Tonight", " <b>the sea</b> & the gulls say \"hush\" 🌊"),
        draft("", "# a post that looks like a title"),
    ]
}
