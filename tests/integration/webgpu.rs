//! The engine on a GPU beside the processor's, on the bot that ships: logits,
//! greedy drafts, dispatches.

use huggingtweets::{
    backend::{
        Batch, CacheShape, Place, Sequence, Wanted,
        cpu::{Cpu, Level, Pool},
        relative_error,
        webgpu::{EXACT_BOUND, Gpu, Options},
    },
    gpt2::{Loader, Model},
    tokenizer::Tokenizer,
};

use crate::support::root;

/// Dispatches a layer.
const DISPATCHES: usize = 8;

/// `None`: this machine has no Vulkan, and need not have.
fn gpu() -> Option<Gpu> {
    match pollster::block_on(Gpu::open(Options::default())) {
        Ok(gpu) => Some(gpu),
        Err(error) => {
            let required = std::env::var("HUGGINGTWEETS_GPU_TESTS").is_ok_and(|v| v == "require");
            assert!(!required, "{error}");
            None
        }
    }
}

struct Both {
    cpu: Model<Cpu>,
    gpu: Model<Gpu>,
    tokenizer: Tokenizer,
    worst: f64,
}

impl Both {
    fn load(file: &str) -> Option<Self> {
        let bytes = std::fs::read(root().join("model-card/demo").join(file)).unwrap();
        let mut on_cpu = Loader::new(Cpu::new(Level::Simd, Pool::serial()), Some(bytes.len() as u64));
        let mut on_gpu = Loader::new(gpu()?, Some(bytes.len() as u64));
        for piece in bytes.chunks(100_000) {
            on_cpu.push(piece).unwrap();
            on_gpu.push(piece).unwrap();
        }
        let (cpu, gpu) = (on_cpu.finish().unwrap(), on_gpu.finish().unwrap());
        Some(Self { cpu: cpu.model, gpu: gpu.model, tokenizer: cpu.tokenizer, worst: 0.0 })
    }

    /// Whether all logits were as near as they must be.
    fn is_near(&self) -> bool {
        self.worst <= self.gpu.backend().adapter().logits_bound()
    }

    /// All logits of a batch's outputs, from both.
    fn logits(&mut self, batch: &Batch) -> (Vec<f32>, Vec<f32>) {
        let expected = self.cpu.forward(batch).unwrap().logits.clone();
        self.gpu.begin(batch).unwrap();
        let found = pollster::block_on(self.gpu.outputs()).unwrap().logits.clone();
        self.worst = self.worst.max(relative_error(&found, &expected));
        (expected, found)
    }
}

/// The two largest: (token, logit).
fn top_two(logits: &[f32]) -> [(usize, f32); 2] {
    let mut best = [(0, f32::NEG_INFINITY); 2];
    for (token, &logit) in logits.iter().enumerate() {
        if logit > best[0].1 {
            best = [(token, logit), best[0]];
        } else if logit > best[1].1 {
            best[1] = (token, logit);
        }
    }
    best
}

#[test]
fn greedy_drafts_are_the_processors_but_for_near_ties() {
    let words = [
        "My dream is",
        "I",
        "The light",
        "Fog",
        "Nobody",
        "Tonight the sea",
        "A ship",
        "Why",
        "Every",
        "The",
    ];
    let ends = ["", " was", " and the", " of my", " never"];
    for file in ["model-q8_0.gguf", "model-q4_0.gguf"] {
        let Some(mut both) = Both::load(file) else { return };
        let (mut steps, mut near) = (0, 0);
        for prompt in words.iter().flat_map(|word| ends.map(|end| format!("{word}{end}"))) {
            let mut tokens = vec![both.tokenizer.eos_id()];
            tokens.extend(both.tokenizer.encode_plain(&prompt));
            let shape = CacheShape { prompt: tokens.len(), drafts: 1, tail: 12 };
            let mut batch = Batch::prompt(&tokens, vec![tokens.len() - 1], shape);
            for position in tokens.len()..tokens.len() + 12 {
                let (expected, found) = both.logits(&batch);
                let norm = expected.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
                let [best, second] = top_two(&expected);
                steps += 1;
                if f64::from(best.1 - second.1) > EXACT_BOUND * norm {
                    assert_eq!(top_two(&found)[0].0, best.0, "{file}: {prompt:?}, position {position}");
                } else {
                    near += 1;
                }
                let place = Place { sequence: Sequence::Draft(0), position };
                batch = Batch {
                    tokens: vec![best.0 as u32],
                    places: vec![place],
                    outputs: vec![0],
                    ..Batch::default()
                };
            }
        }
        println!("{file}: {steps} steps, {near} near ties, logits off by at most {:.1e}", both.worst);
        assert!(both.is_near(), "{}", both.worst);
    }
}

#[test]
fn drafts_together_and_long_prompts_are_the_processors() {
    let Some(mut both) = Both::load("model-q8_0.gguf") else { return };
    let tokens: Vec<u32> = (0..90).map(|i| i * 17 % 2000).collect();
    let shape = CacheShape { prompt: 90, drafts: 6, tail: 5 };
    both.logits(&Batch::prompt(&tokens, vec![3, 89], shape));
    // Drafts end one after the other.
    for step in 0..5 {
        let drafts = step..6;
        let place = |d| Place { sequence: Sequence::Draft(d), position: 90 + step };
        let batch = Batch {
            tokens: drafts.clone().map(|d| (d * 31 + step) as u32).collect(),
            places: drafts.clone().map(place).collect(),
            outputs: (0..6 - step).collect(),
            ..Batch::default()
        };
        both.logits(&batch);
    }
    assert!(both.is_near(), "{}", both.worst);
}

#[test]
fn batches_of_several_pieces_are_the_processors() {
    let Some(mut both) = Both::load("model-q8_0.gguf") else { return };
    // What drafts had when their engine was lost, with the start: three pieces, then nine.
    for (drafts, tail) in [(20, 30), (80, 27)] {
        let shape = CacheShape { prompt: 40, drafts, tail };
        let mut batch = Batch::prompt(&(0..40).map(|i| i * 19 % 2000).collect::<Vec<_>>(), vec![39], shape);
        for draft in 0..drafts {
            for at in 0..tail {
                batch.tokens.push(((draft * 31 + at * 7) % 2000) as u32);
                batch.places.push(Place { sequence: Sequence::Draft(draft), position: 40 + at });
            }
            // Some pieces have one, some several.
            if draft % 3 != 1 {
                batch.outputs.push(batch.rows() - 1);
            }
        }
        both.logits(&batch);
    }
    assert!(both.is_near(), "{}", both.worst);
}

#[test]
fn a_token_takes_few_dispatches() {
    let Some(mut both) = Both::load("model-q8_0.gguf") else { return };
    let layers = both.gpu.config().n_layer;
    let shape = CacheShape { prompt: 3, drafts: 2, tail: 1 };
    let prompt = Batch { wanted: Wanted::Top(4), ..Batch::prompt(&[0, 1, 2], vec![2], shape) };
    let places = [0, 1].map(|d| Place { sequence: Sequence::Draft(d), position: 3 });
    let drafts = Batch {
        tokens: vec![5, 6],
        places: places.to_vec(),
        outputs: vec![0, 1],
        wanted: Wanted::Top(4),
        start: None,
    };
    // A prompt's row is picked, its attention, too, and that quantised.
    for (batch, picking) in [(prompt, 3), (drafts, 0)] {
        both.gpu.begin(&batch).unwrap();
        pollster::block_on(both.gpu.outputs()).unwrap();
        // Two embeddings, the last norm, the head and its selection.
        let others = 2 + picking + 1 + 1 + 3;
        let found = both.gpu.backend().dispatched();
        assert!(found <= DISPATCHES * layers + others, "{found} dispatches for {layers} layers");
    }
}
