//! `inspect forward --backend cpu`: the browser's engine on given token ids.

use crate::{
    backend::{Batch, CacheShape, cpu::Level},
    bundle::{Precision, folder::BotFolder},
    cli::{engine, eval::negative_log_likelihood},
};

/// Logits (B, T, V) and the mean loss in nats of predicting each next token, for ids (B, T).
pub fn cpu_forward(
    bot: &BotFolder,
    precision: Precision,
    ids: &[Vec<u32>],
) -> anyhow::Result<(Vec<f32>, f32)> {
    let mut model = engine::open(bot, precision, Level::Simd, engine::pool(None))?;
    let (mut all, mut nats, mut labels) = (Vec::new(), 0.0, 0);
    for sequence in ids {
        let shape = CacheShape { prompt: sequence.len(), drafts: 0, tail: 0 };
        let batch = Batch::prompt(sequence, (0..sequence.len()).collect(), shape);
        let logits = &model.forward(&batch)?.logits;
        nats += negative_log_likelihood(logits, sequence);
        labels += sequence.len().saturating_sub(1);
        all.extend_from_slice(logits);
    }
    Ok((all, (nats / labels.max(1) as f64) as f32))
}
