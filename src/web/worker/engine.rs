//! The engine as the worker drives it: the one place of the browser's half
//! that names the network.

use super::failure::WorkerError;
use crate::{
    backend::{
        Backend, Batch, CacheShape, Outputs,
        cpu::{Cpu, Level, Pool},
        webgpu::{Gpu, Options},
    },
    bundle::manifest::LogitsCheck,
    generate::{Drafts, Event, GenerateError, Request, SoFar},
    gpt2::{Config, ForwardError, LoadError, Loaded, Loader, Model},
    tokenizer::Tokenizer,
};

/// A logit may differ from the author's by this share of the largest one:
/// far above rounding, far below a wrong kernel.
const CHECK_TOLERANCE: f32 = 0.02;

/// What is to compute.
pub enum Device {
    Cpu(Level, Pool),
    /// `None`: opened when it is needed.
    Gpu(Option<Box<Gpu>>),
}

/// A model on its way in.
pub enum EngineLoader {
    Cpu(Box<Loader<Cpu>>),
    Gpu(Box<Loader<Gpu>>),
}

impl EngineLoader {
    pub async fn open(device: &mut Device, file_bytes: Option<u64>) -> Result<Self, WorkerError> {
        Ok(match device {
            Device::Cpu(level, pool) => {
                grow(file_bytes);
                Self::Cpu(Box::new(Loader::new(Cpu::new(*level, pool.clone()), file_bytes)))
            }
            Device::Gpu(opened) => {
                let gpu = match opened.take() {
                    Some(gpu) => *gpu,
                    None => Gpu::open(Options::default()).await?,
                };
                Self::Gpu(Box::new(Loader::new(gpu, file_bytes)))
            }
        })
    }

    /// Takes the file's next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        match self {
            Self::Cpu(loader) => loader.push(bytes),
            Self::Gpu(loader) => loader.push(bytes),
        }
    }

    pub fn finish(self) -> Result<Engine, LoadError> {
        Ok(match self {
            Self::Cpu(loader) => Engine::new(loader.finish()?, Network::Cpu),
            Self::Gpu(loader) => Engine::new(loader.finish()?, Network::Gpu),
        })
    }
}

/// Has the memory grow once for all weights: hundreds of growths cost a browser
/// 20 to 40 ms. Where it cannot, taking the weights in says so.
fn grow(bytes: Option<u64>) {
    let mut room = Vec::<u8>::new();
    let _ = room.try_reserve_exact(bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0));
    // Otherwise the compiler leaves it out.
    std::hint::black_box(&room);
}

/// Weights, and what computes with them.
pub enum Network {
    Cpu(Box<Model<Cpu>>),
    Gpu(Box<Model<Gpu>>),
}

impl Network {
    /// Runs a batch. The next one begins when its logits are there.
    pub async fn forward(&mut self, batch: &Batch) -> Result<&Outputs, ForwardError> {
        match self {
            Self::Cpu(model) => model.forward(batch),
            Self::Gpu(model) => {
                model.begin(batch)?;
                model.outputs().await
            }
        }
    }

    /// All logits behind a prompt.
    pub async fn logits(&mut self, prompt: &[u32]) -> Result<&[f32], ForwardError> {
        let last = prompt.len().saturating_sub(1);
        let shape = CacheShape { prompt: prompt.len(), drafts: 1, tail: 1 };
        Ok(&self.forward(&Batch::prompt(prompt, vec![last], shape)).await?.logits)
    }
}

/// A bot ready to write. Its network can be lent to a step that is under way;
/// everything else goes on without it.
pub struct Engine {
    network: Option<Network>,
    backend: &'static str,
    tokenizer: Tokenizer,
    config: Config,
    name: Option<String>,
}

impl Engine {
    fn new<B: Backend>(loaded: Loaded<B>, network: fn(Box<Model<B>>) -> Network) -> Self {
        let Loaded { model, tokenizer, config, name } = loaded;
        let network = network(Box::new(model));
        let backend = match &network {
            Network::Cpu(model) => model.backend().level().name(),
            Network::Gpu(_) => "webgpu",
        };
        Self { network: Some(network), backend, tokenizer, config, name }
    }

    /// `webgpu`, `simd` or `scalar`.
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The name inside the file.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The network, for a step; `None` while another one has it.
    pub fn lend(&mut self) -> Option<Network> {
        self.network.take()
    }

    /// Takes the network back.
    pub fn take_back(&mut self, network: Network) {
        self.network = Some(network);
    }

    /// The network, while no step has it.
    pub fn network(&mut self) -> Result<&mut Network, WorkerError> {
        self.network.as_mut().ok_or(WorkerError::NotReady)
    }

    /// The network on the processor; `None`: its weights are elsewhere.
    pub fn on_processor(&self) -> Option<&Model<Cpu>> {
        match &self.network {
            Some(Network::Cpu(model)) => Some(model),
            _ => None,
        }
    }

    /// Computes the known prompt and compares its logits.
    pub async fn check(&mut self, known: &LogitsCheck) -> Result<(), WorkerError> {
        let logits = self.network()?.logits(&known.prompt_ids).await?;
        let largest = known.logits.iter().fold(1.0f32, |m, x| m.max(x.abs()));
        let off = known.token_ids.iter().zip(&known.logits).map(|(&id, expected)| {
            logits.get(id as usize).map_or(f32::INFINITY, |found| (found - expected).abs())
        });
        // A NaN must not pass for a small difference.
        let off = off.fold(0.0f32, |m, d| if d.is_nan() { f32::INFINITY } else { m.max(d) });
        if off > CHECK_TOLERANCE * largest { Err(WorkerError::SelfCheck { off }) } else { Ok(()) }
    }

    /// Tokens of a start, the one that begins every post included.
    pub fn count(&self, start: &str) -> Result<usize, WorkerError> {
        let tokens = self.tokenizer.encode_plain(start.trim()).map_err(GenerateError::from)?;
        Ok(tokens.len() + 1)
    }

    pub fn begin(&self, request: Request, so_far: &[SoFar]) -> Result<Generation, WorkerError> {
        let drafts = Drafts::resume(&self.tokenizer, &self.config, request, so_far)?;
        Ok(Generation { drafts })
    }

    /// Takes the logits of a generation's batch and draws its tokens.
    pub fn accept(&self, generation: &mut Generation, outputs: &Outputs) -> Result<Step, WorkerError> {
        let drafts = &mut generation.drafts;
        let before: Vec<usize> = (0..drafts.count()).map(|d| drafts.drawn(d).len()).collect();
        let events = drafts.accept(outputs, &self.tokenizer)?;
        let drawn = before.into_iter().enumerate();
        let drawn = drawn.filter_map(|(d, before)| Some((d, *drafts.drawn(d).get(before)?))).collect();
        Ok(Step { events, drawn })
    }
}

/// What a step did.
pub struct Step {
    pub events: Vec<Event>,
    /// (draft, token)
    pub drawn: Vec<(usize, u32)>,
}

/// Drafts on their way.
pub struct Generation {
    drafts: Drafts,
}

impl Generation {
    /// What the network must compute next.
    pub fn next_batch(&self) -> Option<&Batch> {
        self.drafts.next_batch()
    }

    pub fn stop(&mut self, draft: Option<usize>) -> Vec<Event> {
        self.drafts.stop(draft)
    }

    pub fn prompt_tokens(&self) -> usize {
        self.drafts.prompt_tokens()
    }

    pub fn drawn_tokens(&self) -> usize {
        self.drafts.drawn_tokens()
    }
}
