//! The engine as the worker drives it; no other module of the browser side names the network.

use super::failure::WorkerError;
use crate::{
    backend::{
        Backend, Batch, CacheShape, Outputs, Place, Row, Sequence, Wanted,
        cpu::{Cpu, Level, Pool},
        relative_error,
        webgpu::{Gpu, LOGITS_BOUND},
    },
    bundle::manifest::LogitsCheck,
    generate::{Drafts, Event, Request, SoFar, one_line},
    gpt2::{Config, ForwardError, LoadError, Loaded, Loader, Model},
    tokenizer::Tokenizer,
    web::protocol::BackendChoice,
};

/// Most memory reserved in advance for weights: a server's length may be wrong, so beyond this
/// memory grows as bytes arrive.
const GROWN_AT_ONCE: u64 = 512 << 20;

/// Where to compute.
pub enum Device {
    Cpu(Level, Pool),
    /// `None` while a loader owns it.
    Gpu(Option<Box<Gpu>>),
}

/// Loads a model from a file's bytes.
pub enum EngineLoader {
    Cpu(Box<Loader<Cpu>>),
    Gpu(Box<Loader<Gpu>>),
}

impl EngineLoader {
    /// Starts a load. `expected` is the number of bytes announced; `file_bytes` is the file's
    /// length, if certain.
    pub fn open(
        device: &mut Device,
        expected: Option<u64>,
        file_bytes: Option<u64>,
    ) -> Result<Self, WorkerError> {
        Ok(match device {
            Device::Cpu(level, pool) => {
                grow(expected);
                Self::Cpu(Box::new(Loader::new(Cpu::new(*level, pool.clone()), file_bytes)))
            }
            Device::Gpu(opened) => {
                let gpu = opened.take().ok_or(WorkerError::NotReady)?;
                Self::Gpu(Box::new(Loader::new(*gpu, file_bytes)))
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

    /// Warms up the kernels for steps of these numbers of rows, if the weights' dtype is known
    /// already.
    pub fn warm_up(&self, rows: &[usize]) {
        // A GPU's kernels are compiled when it is opened and as weights arrive.
        let Self::Cpu(loader) = self else { return };
        if let Some((cpu, dtype)) = loader.layers() {
            rows.iter().for_each(|&rows| cpu.warm_up(dtype, rows));
        }
    }

    /// Abandons the load; the device can take another file.
    pub fn give_back(self, device: &mut Device) {
        if let Self::Gpu(loader) = self {
            *device = Device::Gpu(loader.into_backend().map(Box::new));
        }
    }

    pub fn finish(self) -> Result<Engine, LoadError> {
        Ok(match self {
            Self::Cpu(loader) => Engine::new(loader.finish()?, Network::Cpu),
            Self::Gpu(loader) => Engine::new(loader.finish()?, Network::Gpu),
        })
    }
}

/// Grows the memory once for all weights: hundreds of small growths cost a browser 20 to 40 ms.
/// If it cannot grow, the load itself reports that.
fn grow(bytes: Option<u64>) {
    let mut reserved = Vec::<u8>::new();
    let _ = reserved.try_reserve_exact(bytes.unwrap_or(0).min(GROWN_AT_ONCE) as usize);
    // Keep the compiler from removing the allocation.
    std::hint::black_box(&reserved);
}

/// A model on either backend.
pub enum Network {
    Cpu(Box<Model<Cpu>>),
    Gpu(Box<Model<Gpu>>),
}

impl Network {
    /// Runs a batch and waits for its logits.
    pub async fn forward(&mut self, batch: &Batch) -> Result<&Outputs, ForwardError> {
        match self {
            Self::Cpu(model) => model.forward(batch),
            Self::Gpu(model) => {
                model.begin(batch)?;
                model.outputs().await
            }
        }
    }

    /// Runs a batch as [`Self::forward`] does, but on the CPU, which blocks this thread for
    /// seconds on a long prompt, calls `go_on` between layers. Returns `None` if `go_on` returned
    /// false.
    pub async fn forward_yielding(
        &mut self,
        batch: &Batch,
        mut go_on: impl AsyncFnMut() -> bool,
    ) -> Result<Option<&Outputs>, ForwardError> {
        let Self::Cpu(model) = self else { return self.forward(batch).await.map(Some) };
        let mut pass = model.enter(batch)?;
        while model.advance(&mut pass) {
            if !go_on().await {
                return Ok(None);
            }
        }
        model.leave(pass);
        Ok(Some(model.outputs().await?))
    }

    /// Records the milliseconds that the last batch took.
    pub fn took(&mut self, ms: f64) {
        match self {
            Self::Cpu(model) => model.took(ms),
            Self::Gpu(model) => model.took(ms),
        }
    }

    /// Computes the known prompt and compares its logits. On a GPU, also checks a decoding step,
    /// which uses other kernels.
    pub async fn check(&mut self, known: &LogitsCheck) -> Result<(), WorkerError> {
        let logits = self.forward(&logits_batch(&known.prompt_ids)).await?.logits.clone();
        let found = known.token_ids.iter().filter_map(|&id| logits.get(id as usize).copied());
        let mut off = relative_error(&found.collect::<Vec<_>>(), &known.logits);
        if let Self::Gpu(_) = self {
            off = off.max(self.step_error(&known.prompt_ids, &logits).await?);
        }
        if off > LOGITS_BOUND { Err(WorkerError::SelfCheck { off }) } else { Ok(()) }
    }

    /// Returns how far the last token's logits (V), computed as a draft's decoding step, are off
    /// the prompt's; infinity if the largest are not selected correctly.
    async fn step_error(&mut self, tokens: &[u32], logits: &[f32]) -> Result<f64, ForwardError> {
        let Some((&last, prompt)) = tokens.split_last().filter(|(_, prompt)| !prompt.is_empty()) else {
            return Ok(0.0);
        };
        let shape = CacheShape { prompt: prompt.len(), drafts: 1, tail: 1 };
        self.forward(&Batch::prompt(prompt, Vec::new(), shape)).await?;
        let mut step = Batch {
            tokens: vec![last],
            places: vec![Place { sequence: Sequence::Draft(0), position: prompt.len() }],
            outputs: vec![0],
            ..Batch::default()
        };
        let all = self.forward(&step).await?.logits.clone();
        let k = Gpu::max_selected(all.len()).max(1);
        step.wanted = Wanted::Top(k);
        Ok(match self.forward(&step).await?.row(0) {
            Some(row) if is_selection(row, k, &all) => relative_error(&all, logits),
            _ => f64::INFINITY,
        })
    }
}

/// Returns the batch that computes all logits after a prompt.
pub fn logits_batch(prompt: &[u32]) -> Batch {
    let shape = CacheShape { prompt: prompt.len(), drafts: 1, tail: 1 };
    Batch::prompt(prompt, vec![prompt.len().saturating_sub(1)], shape)
}

/// Returns whether a row has the k largest of all logits (V), including those that tie with the
/// k-th.
fn is_selection(row: Row, k: usize, all: &[f32]) -> bool {
    let mut largest = match row {
        // The ties did not fit.
        Row::All(logits) => return logits == all,
        Row::Top(largest) => largest.to_vec(),
    };
    let mut sorted = all.to_vec();
    let index = k.clamp(1, sorted.len().max(1)) - 1;
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let Some(&least) = sorted.get(index) else { return largest.is_empty() };
    largest.sort_unstable_by_key(|candidate| candidate.0);
    largest.into_iter().eq((0u32..).zip(all.iter().copied()).filter(|candidate| candidate.1 >= least))
}

/// A bot ready to generate. Its network can be lent to the current step; everything else works
/// without it.
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
            Network::Gpu(_) => BackendChoice::WebGpu.name(),
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

    /// Returns the model's name inside the file.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Lends the network for a step; `None` while another step has it.
    pub fn lend(&mut self) -> Option<Network> {
        self.network.take()
    }

    /// Takes the network back.
    pub fn take_back(&mut self, network: Network) {
        self.network = Some(network);
    }

    /// Returns the network.
    ///
    /// # Errors
    /// If a step has it.
    pub fn network(&mut self) -> Result<&mut Network, WorkerError> {
        self.network.as_mut().ok_or(WorkerError::NotReady)
    }

    /// Returns the model if it runs on the CPU and no step has it.
    pub fn on_processor(&self) -> Option<&Model<Cpu>> {
        match &self.network {
            Some(Network::Cpu(model)) => Some(model),
            _ => None,
        }
    }

    /// Counts the tokens of a prompt, including the leading `<|endoftext|>`.
    pub fn count(&self, start: &str) -> usize {
        self.tokenizer.encode_plain(&one_line(start)).len() + 1
    }

    pub fn begin(&self, request: Request, so_far: &[SoFar]) -> Result<Generation, WorkerError> {
        let drafts = Drafts::resume(&self.tokenizer, &self.config, request, so_far)?;
        Ok(Generation { drafts })
    }

    /// Takes the logits of a generation's batch and samples its tokens.
    pub fn accept(&self, generation: &mut Generation, outputs: &Outputs) -> Result<Step, WorkerError> {
        let drafts = &mut generation.drafts;
        let before: Vec<usize> = (0..drafts.count()).map(|d| drafts.drawn(d).len()).collect();
        let events = drafts.accept(outputs, &self.tokenizer)?;
        let drawn = before.into_iter().enumerate();
        let drawn = drawn.filter_map(|(d, before)| Some((d, *drafts.drawn(d).get(before)?))).collect();
        Ok(Step { events, drawn })
    }
}

/// The result of a step.
pub struct Step {
    pub events: Vec<Event>,
    /// (draft, token)
    pub drawn: Vec<(usize, u32)>,
}

/// Drafts being generated.
pub struct Generation {
    drafts: Drafts,
}

impl Generation {
    /// Returns the batch that the network must compute next.
    pub fn next_batch(&self) -> Option<&Batch> {
        self.drafts.next_batch()
    }

    /// Whether the current batch computes the prompt, which drafts that end do not change.
    pub fn is_starting(&self) -> bool {
        self.next_batch().is_some_and(|batch| batch.start.is_some())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backend::webgpu::Options, bundle::Manifest};

    #[test]
    fn the_bot_that_ships_passes_its_check_and_no_other() {
        let manifest = Manifest::from_json(include_bytes!("../../../model-card/demo/bot.json")).unwrap();
        let (file, bytes) =
            ("model-q8_0.gguf", include_bytes!("../../../model-card/demo/model-q8_0.gguf").as_slice());
        let known = &manifest.checks[file];
        let mut wrong = known.clone();
        wrong.logits.iter_mut().step_by(2).for_each(|logit| *logit *= 1.1);
        let unlisted = LogitsCheck { token_ids: vec![u32::MAX], logits: vec![0.0], ..known.clone() };
        // This machine may have no Vulkan.
        let gpu = pollster::block_on(Gpu::open(Options::default())).ok();
        let gpu = gpu.map(|gpu| Device::Gpu(Some(Box::new(gpu))));
        for mut device in [Device::Cpu(Level::Simd, Pool::serial())].into_iter().chain(gpu) {
            let mut loader = EngineLoader::open(&mut device, None, None).unwrap();
            loader.push(bytes).unwrap();
            let mut engine = loader.finish().unwrap();
            pollster::block_on(engine.network().unwrap().check(known)).unwrap();
            for other in [&wrong, &unlisted] {
                let error = pollster::block_on(engine.network().unwrap().check(other)).unwrap_err();
                assert!(matches!(error, WorkerError::SelfCheck { .. }), "{error}");
            }
        }
    }

    #[test]
    fn a_selection_has_the_largest_and_what_ties_with_them() {
        let all = [1.0, 4.0, 3.0, 3.0, 2.0];
        for (k, largest) in [
            (1, &[(1, 4.0)][..]),
            (2, &[(3, 3.0), (1, 4.0), (2, 3.0)]),
            (9, &[(0, 1.0), (1, 4.0), (2, 3.0), (3, 3.0), (4, 2.0)]),
        ] {
            assert!(is_selection(Row::Top(largest), k, &all), "{k}");
        }
        for wrong in [&[][..], &[(2, 3.0)], &[(1, 4.0), (2, 3.0)], &[(1, 4.5)], &[(1, f32::NAN)]] {
            assert!(!is_selection(Row::Top(wrong), 1, &all), "{wrong:?}");
        }
        assert!(is_selection(Row::All(&all), 2, &all));
        assert!(!is_selection(Row::All(&all[1..]), 2, &all));
    }
}
