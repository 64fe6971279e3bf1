//! Loss of a model on the held-out set.
//!
//! Each post is evaluated by itself between two `<|endoftext|>`, as the bot writes one, so that no
//! post provides context for another.

use super::{TrainError, data::Data, model::Model, recipe::LossOver};

/// Tokens per batch, padding included; the same as a step of the original.
const BATCH_TOKENS: usize = 1024;

/// Mean cross-entropy of the held-out posts, in nats per token, over the same tokens as the loss in
/// training. Posts of fewer than 2 tokens are skipped. `None` if `stop` returned true on the way.
///
/// # Errors
/// As [`Model::loss_masked`], such as for a post longer than the model's positions.
pub fn held_out_loss(
    model: &Model,
    data: &Data,
    loss_over: LossOver,
    stop: impl Fn() -> bool,
) -> Result<Option<f64>, TrainError> {
    // Posts of similar length are batched together to need little padding.
    let mut order: Vec<&[u32]> =
        data.held_out.iter().map(Vec::as_slice).filter(|post| post.len() > 1).collect();
    order.sort_by_key(|post| post.len());
    let (mut nats, mut tokens) = (0.0, 0);
    let mut rest = order.as_slice();
    while let Some(shortest) = rest.first() {
        if stop() {
            return Ok(None);
        }
        // Lengths ascend, so the last post of a batch is the longest.
        let fits =
            |&count: &usize| rest.get(count - 1).is_some_and(|post| count * post.len() <= BATCH_TOKENS);
        let count = (1..=BATCH_TOKENS / shortest.len().max(1)).take_while(fits).last().unwrap_or(1);
        let (batch, after) = rest.split_at(count);
        rest = after;
        let (ids, mut labels, length) = padded(batch);
        loss_over.mask(&ids, &mut labels, data.eos);
        let labelled = labels.iter().flatten().count();
        let loss = model.loss_masked(&ids, &labels, length)?;
        nats += f64::from(loss) * labelled as f64;
        tokens += labelled;
    }
    Ok(Some(nats / tokens.max(1) as f64))
}

/// Ids (B T), labels (B T) and T of a padded batch. A post is padded with its last token; causal
/// attention hides the padding from the post, and it has no labels.
fn padded(posts: &[&[u32]]) -> (Vec<u32>, Vec<Option<u32>>, usize) {
    let length = posts.iter().map(|post| post.len()).max().unwrap_or(0);
    let (mut ids, mut labels) = (Vec::new(), Vec::new());
    for post in posts {
        let last = post.last().copied().unwrap_or(0);
        ids.extend(post.iter().copied().chain(std::iter::repeat(last)).take(length));
        let next = post.iter().skip(1).map(|&id| Some(id));
        labels.extend(next.chain(std::iter::repeat(None)).take(length));
    }
    (ids, labels, length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{gpt2::Config, train::scratch};

    fn model() -> Model {
        let config = Config {
            vocab_size: 40,
            n_positions: 64,
            n_embd: 16,
            n_layer: 2,
            n_head: 2,
            n_inner: 64,
            layer_norm_epsilon: 1e-5,
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            resid_pdrop: 0.1,
            eos_token_id: 0,
        };
        let mut weights = scratch::weights(&config, 5);
        // Fresh weights give logits near 0, and a loss of ln 40 whatever the posts.
        weights.values_mut().for_each(|tensor| tensor.data.iter_mut().for_each(|x| *x *= 4.0));
        Model::new(config, &weights).unwrap()
    }

    #[test]
    fn padding_and_batches_do_not_change_the_mean() {
        let model = model();
        let posts: Vec<Vec<u32>> =
            (2..60u32).map(|n| (0..n % 31 + 2).map(|i| (i * 7 + n * 3) % 40).collect()).collect();
        let (mut nats, mut tokens) = (0.0, 0);
        for post in &posts {
            let loss = model.loss(post, post.len()).unwrap();
            nats += f64::from(loss) * (post.len() - 1) as f64;
            tokens += post.len() - 1;
        }
        let data = Data { held_out: posts, ..Data::default() };
        let ours = held_out_loss(&model, &data, LossOver::All, || false).unwrap().unwrap();
        assert!((ours - nats / f64::from(tokens as u32)).abs() < 1e-5, "{ours} {}", nats / tokens as f64);
        assert!((ours - 40f64.ln()).abs() > 0.01, "{ours} is what any model has");
    }

    #[test]
    fn it_stops_when_told() {
        let data = Data { held_out: vec![vec![0, 1, 0]], ..Data::default() };
        assert_eq!(held_out_loss(&model(), &data, LossOver::All, || true).unwrap(), None);
    }

    #[test]
    fn within_posts_the_first_token_of_a_post_does_not_count() {
        let (model, post) = (model(), vec![0, 5, 9, 0]);
        let labels = [None, Some(9), Some(0), None];
        let expected = f64::from(model.loss_masked(&post, &labels, 4).unwrap());
        let data = Data { held_out: vec![post, vec![0, 7]], ..Data::default() };
        let loss = |loss_over| held_out_loss(&model, &data, loss_over, || false).unwrap().unwrap();
        let within = loss(LossOver::WithinPosts);
        assert!((within - expected).abs() < 1e-5, "{within} {expected}");
        assert!((within - loss(LossOver::All)).abs() > 0.01);
    }

    #[test]
    fn a_batch_is_as_wide_as_its_longest_post() {
        let (ids, labels, length) = padded(&[&[0, 5, 0], &[0, 6, 7, 0]]);
        assert_eq!((length, ids), (4, vec![0, 5, 0, 0, 0, 6, 7, 0]));
        assert_eq!(labels[..4], [Some(5), Some(0), None, None]);
        assert_eq!(labels[4..], [Some(6), Some(7), Some(0), None]);
    }
}
