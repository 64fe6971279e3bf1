//! The engine on a GPU beside the processor's, on the bot that ships: logits,
//! greedy drafts, dispatches, memory; and the command that writes on it.

use huggingtweets::{
    backend::{
        Batch, CacheShape, Place, Sequence, Wanted,
        cpu::{Cpu, Level, Pool},
        relative_error,
        webgpu::{Gpu, LOGITS_BOUND, Options},
    },
    bundle::gguf::{Header, Parsed, TensorEntry},
    dtype::{BLOCK, Dtype},
    gpt2::{Loader, Model},
    tokenizer::Tokenizer,
};

use crate::support::{arg, demo, json, root, stdout};

/// Dispatches a layer.
const DISPATCHES: usize = 8;

/// The kernels of the adapter itself, and those of an adapter that is no processor: where
/// this one is, nothing else would run a whole network on them.
const KERNELS: [Option<bool>; 2] = [None, Some(false)];

/// `None`: this machine has no Vulkan, and need not have.
fn gpu(as_software: Option<bool>) -> Option<Gpu> {
    match pollster::block_on(Gpu::open(Options { as_software, ..Options::default() })) {
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
    fn load(file: &str, as_software: Option<bool>) -> Option<Self> {
        let bytes = std::fs::read(root().join("model-card/demo").join(file)).unwrap();
        let mut on_cpu = Loader::new(Cpu::new(Level::Simd, Pool::serial()), Some(bytes.len() as u64));
        let mut on_gpu = Loader::new(gpu(as_software)?, Some(bytes.len() as u64));
        for piece in bytes.chunks(100_000) {
            on_cpu.push(piece).unwrap();
            on_gpu.push(piece).unwrap();
        }
        let (cpu, gpu) = (on_cpu.finish().unwrap(), on_gpu.finish().unwrap());
        Some(Self { cpu: cpu.model, gpu: gpu.model, tokenizer: cpu.tokenizer, worst: 0.0 })
    }

    /// Whether all logits were as near as they must be.
    fn is_near(&self) -> bool {
        self.worst <= LOGITS_BOUND
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
    let files = ["model-q8_0.gguf", "model-q4_0.gguf"];
    for (file, as_software) in files.into_iter().flat_map(|file| KERNELS.map(|kernels| (file, kernels))) {
        let Some(mut both) = Both::load(file, as_software) else { return };
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
                if f64::from(best.1 - second.1) > LOGITS_BOUND * norm {
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
        println!(
            "{file}, {as_software:?}: {steps} steps, {near} near ties, logits off by at most {:.1e}",
            both.worst
        );
        assert!(both.is_near(), "{}", both.worst);
    }
}

#[test]
fn drafts_together_and_long_prompts_are_the_processors() {
    for as_software in KERNELS {
        drafts_together(as_software);
    }
}

fn drafts_together(as_software: Option<bool>) {
    let Some(mut both) = Both::load("model-q8_0.gguf", as_software) else { return };
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
    for as_software in KERNELS {
        several_pieces(as_software);
    }
}

fn several_pieces(as_software: Option<bool>) {
    let Some(mut both) = Both::load("model-q8_0.gguf", as_software) else { return };
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
    let Some(mut both) = Both::load("model-q8_0.gguf", None) else { return };
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

#[test]
fn nothing_is_compiled_in_the_check_or_in_a_first_request() {
    let Some(mut both) = Both::load("model-q8_0.gguf", Some(false)) else { return };
    let compiled = both.gpu.backend().compiled();
    let step = |drafts: usize, position| Batch {
        tokens: vec![5; drafts],
        places: (0..drafts).map(|d| Place { sequence: Sequence::Draft(d), position }).collect(),
        outputs: (0..drafts).collect(),
        ..Batch::default()
    };
    // A prompt that is short, and one of several tiles; drafts as they end.
    for (prompt, drafts) in [(1, 1), (4, 1), (6, 1), (40, 12)] {
        let shape = CacheShape { prompt, drafts, tail: 4 };
        for wanted in [Wanted::All, Wanted::Top(3)] {
            let prompt = Batch { wanted, ..Batch::prompt(&vec![7; prompt], vec![prompt - 1], shape) };
            let drafts = [drafts, drafts.min(7), drafts.min(3), 1];
            let steps = (0..).zip(drafts).map(|(i, drafts)| step(drafts, prompt.rows() + i));
            let steps: Vec<_> = steps.map(|step| Batch { wanted, ..step }).collect();
            for batch in [&prompt].into_iter().chain(&steps) {
                both.gpu.begin(batch).unwrap();
                pollster::block_on(both.gpu.outputs()).unwrap();
            }
        }
    }
    assert_eq!(both.gpu.backend().compiled(), compiled);
}

#[test]
fn weights_take_as_much_as_in_the_file() {
    for file in ["model-q8_0.gguf", "model-q4_0.gguf"] {
        let bytes = std::fs::read(demo().join(file)).unwrap();
        let Parsed::Header(header) = Header::parse(&bytes, Some(bytes.len() as u64)).unwrap() else {
            panic!("the whole file has a header");
        };
        for as_software in KERNELS {
            let Some(both) = Both::load(file, as_software) else { return };
            let most: u64 =
                header.tensors.iter().map(|tensor| most_bytes(tensor, as_software.is_none())).sum();
            let found = both.gpu.backend().weight_bytes();
            assert!(
                found <= most,
                "{file}, {as_software:?}: {found} bytes on the GPU, at most {most} expected"
            );
            // Once, and all of them.
            assert!(found >= header.tensors.iter().map(|tensor| tensor.size_bytes).sum());
        }
    }
}

/// Bytes that a tensor may take on a GPU: its own, its rows padded to panels of 32, and its
/// buffers to 16 bytes. Halves become floats: values that are stored so, and for an adapter
/// that is a processor, a block's scale.
fn most_bytes(tensor: &TensorEntry, scales_become_floats: bool) -> u64 {
    let rows = if tensor.rows == 1 { 1 } else { tensor.rows.next_multiple_of(32) };
    let row = tensor.size_bytes / tensor.rows as u64;
    let row = match tensor.dtype {
        Dtype::F32 => row,
        Dtype::F16 => 2 * row,
        Dtype::Q8_0 | Dtype::Q4_0 if scales_become_floats => row + 2 * (tensor.cols / BLOCK) as u64,
        Dtype::Q8_0 | Dtype::Q4_0 => row,
    };
    rows as u64 * row + 2 * 16
}

#[test]
fn the_command_writes_on_the_gpu_what_it_writes_on_the_processor() {
    let model = demo();
    let command = |backend| {
        let mut args = vec!["generate", "--model", arg(&model), "--prompt", "My dream is", "--json"];
        args.extend(["--seed", "21", "--drafts", "3", "--max-tokens", "40", "--backend", backend]);
        args
    };
    let Some(gpu) = gpu(None) else { return };
    let found = json(&command("webgpu"), "");
    assert_eq!(found["backend"], "webgpu");
    assert_eq!(found["adapter"], gpu.adapter().name.as_str());
    let expected = json(&command("simd"), "");
    assert_eq!(found["drafts"].as_array().unwrap().len(), 3);
    // Others may draw another token where two are as likely.
    if gpu.adapter().software {
        assert_eq!(found["drafts"], expected["drafts"]);
    }
}

#[test]
fn the_benchmark_says_where_a_token_s_time_goes() {
    let Some(gpu) = gpu(None) else { return };
    let model = demo();
    for kernels in ["hardware", "software"] {
        let args = ["bench", "gpu", "--model", arg(&model), "--tokens", "4", "--kernels", kernels];
        let found = stdout(&args, "");
        for words in
            [&gpu.adapter().name, "one draft: ", "8 drafts together: ", "tokens/s", "record ", "kernels "]
        {
            assert!(found.contains(words), "{found}");
        }
    }
}
