//! `inspect forward`: the network's outputs for given token ids.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::forward_cpu::cpu_forward;
use crate::{
    bundle::{Precision, folder::BotFolder},
    cli::{UsageError, train::LEARNING_RATE},
    gpt2::names::HF_PREFIX,
    train::{
        gradients::Gradients,
        model::{Mode, Model, next_tokens},
        optimizer::{AdamW, cosine},
    },
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bot: a bundle, or any GPT-2 in a Hugging Face folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// safetensors with `input_ids` (B, T) and, for --steps, `train_input_ids`
    #[arg(long, value_name = "FILE")]
    ids: PathBuf,
    /// safetensors to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// candle is the trainer's model, cpu the browser's engine
    #[arg(long, default_value = "candle", value_parser = ["candle", "cpu"])]
    backend: String,
    /// f32, q8_0 or q4_0 (cpu only)
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Also write `grad.<name>` of the loss for every parameter
    #[arg(long)]
    grads: bool,
    /// Also train this many steps on `train_input_ids`, and write `after.<name>`
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Learning rate of --steps
    #[arg(long, value_name = "X", default_value_t = LEARNING_RATE)]
    lr: f64,
}

/// Tensors to write: shape and f32 values by name.
type Output = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

pub fn run(args: Args) -> anyhow::Result<()> {
    let candle = args.backend == "candle";
    if (args.grads || args.steps.is_some()) && !(candle && args.precision == Precision::F32) {
        bail!(UsageError("--grads and --steps need --backend candle and --precision f32".into()));
    }
    if candle && args.precision != Precision::F32 {
        bail!(UsageError("--backend candle computes in f32; use --backend cpu for quantised weights".into()));
    }
    let bot = BotFolder::open(&args.model)?;
    let ids = read_ids(&args.ids, "input_ids")?;
    for sequence in &ids {
        check(sequence, &bot, &args.ids)?;
    }
    let (logits, loss, mut output);
    if candle {
        let model = Model::new(bot.config.clone(), &bot.weights()?)?;
        let (flat, context) = (ids.concat(), ids[0].len());
        logits = model.logits(&flat, context)?.flatten_all()?.to_vec1::<f32>()?;
        loss = model.loss(&flat, context)?;
        output = if args.grads { gradients(&model, &flat, context)? } else { Output::new() };
        if let Some(steps) = args.steps {
            let ids = read_ids(&args.ids, "train_input_ids")?;
            for sequence in &ids {
                check(sequence, &bot, &args.ids)?;
            }
            output.extend(trained(model, &ids.concat(), ids[0].len(), steps, args.lr)?);
        }
    } else {
        (logits, loss) = cpu_forward(&bot, args.precision, &ids)?;
        output = Output::new();
    }
    let shape = vec![ids.len(), ids[0].len(), bot.config.vocab_size];
    output.insert("logits".into(), (shape, logits));
    output.insert("loss".into(), (vec![1], vec![loss]));
    write(&args.out, &output)
}

/// The gradient of the loss on ids (B, T), flattened, by each parameter: `grad.<name>`.
fn gradients(model: &Model, ids: &[u32], context: usize) -> anyhow::Result<Output> {
    let mut gradients = Gradients::new(model);
    model.accumulate(ids, &next_tokens(ids, context), context, Mode::Evaluate, 1.0, &mut gradients)?;
    let mut output = Output::new();
    for (name, var) in model.vars() {
        let grad = gradients.get(name).with_context(|| format!("no gradient reached `{name}`"))?;
        let grad = (var.dims().to_vec(), grad.to_memory()?.into_owned());
        output.insert(format!("grad.{HF_PREFIX}{name}"), grad);
    }
    Ok(output)
}

/// Each parameter after training on ids (B, T), flattened: `after.<name>`.
fn trained(model: Model, ids: &[u32], context: usize, steps: usize, lr: f64) -> anyhow::Result<Output> {
    let labels = next_tokens(ids, context);
    let (mut optimizer, mut gradients) = (AdamW::default(), Gradients::new(&model));
    for step in 0..steps {
        gradients.clear();
        model.accumulate(ids, &labels, context, Mode::Evaluate, 1.0, &mut gradients)?;
        optimizer.step(&model, &gradients, cosine(lr, step, steps))?;
    }
    let mut output = Output::new();
    for (name, tensor) in model.weights()? {
        output.insert(format!("after.{HF_PREFIX}{name}"), (tensor.shape, tensor.data));
    }
    Ok(output)
}

/// The rows of an integer tensor (B, T).
fn read_ids(path: &Path, name: &str) -> anyhow::Result<Vec<Vec<u32>>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = SafeTensors::deserialize(&bytes)
        .with_context(|| format!("{} is not a safetensors file", path.display()))?;
    let tensor = file.tensor(name).with_context(|| format!("{} has no tensor `{name}`", path.display()))?;
    let &[rows, columns] = tensor.shape() else {
        bail!("{}: `{name}` has shape {:?}, (B, T) expected", path.display(), tensor.shape());
    };
    let values: Vec<i64> = match tensor.dtype() {
        Dtype::I64 => tensor.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
        Dtype::I32 => {
            tensor.data().as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b).into()).collect()
        }
        Dtype::U32 => {
            tensor.data().as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b).into()).collect()
        }
        other => bail!("{}: `{name}` is {other:?}; I64, I32 or U32 expected", path.display()),
    };
    if rows == 0 || columns < 2 {
        bail!("{}: `{name}` needs at least one sequence of two tokens", path.display());
    }
    let ids = values.into_iter().map(|id| {
        u32::try_from(id)
            .with_context(|| format!("{}: `{name}` holds {id}, which is not a token id", path.display()))
    });
    Ok(ids.collect::<anyhow::Result<Vec<_>>>()?.chunks_exact(columns).map(<[u32]>::to_vec).collect())
}

fn check(ids: &[u32], bot: &BotFolder, path: &Path) -> anyhow::Result<()> {
    let (positions, vocab) = (bot.config.n_positions, bot.config.vocab_size);
    if ids.len() > positions {
        bail!("{}: {} tokens in a sequence, the model has {positions} positions", path.display(), ids.len());
    }
    match ids.iter().find(|&&id| id as usize >= vocab) {
        Some(id) => bail!("{}: token {id} is outside the model's vocabulary of {vocab}", path.display()),
        None => Ok(()),
    }
}

fn write(path: &Path, output: &Output) -> anyhow::Result<()> {
    let bytes: BTreeMap<&String, (&Vec<usize>, Vec<u8>)> = output
        .iter()
        .map(|(name, (shape, values))| (name, (shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())))
        .collect();
    let views = bytes
        .iter()
        .map(|(name, (shape, data))| Ok((name, TensorView::new(Dtype::F32, shape.to_vec(), data)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let file = safetensors::serialize(views, None)?;
    fs::write(path, file).with_context(|| format!("cannot write {}", path.display()))
}
