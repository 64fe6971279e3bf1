//! What page and worker say to each other. Every order carries an id, and
//! every report the id of the order it answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wasm_bindgen::JsValue;

pub use crate::{
    bundle::{
        Precision,
        manifest::{AccountCounts, BotInfo},
    },
    generate::{EndReason, Event, Request, SoFar},
    sample::Params,
};

/// Ties a report to its order; never used twice by a page.
pub type Id = u32;

/// Page to worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    pub id: Id,
    pub order: Order,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Order {
    /// Fetch a bot and make it ready. Answered by `Bot`, `Progress`, then
    /// `Ready` or `Failed`.
    Load(LoadRequest),
    /// Answered by `Drafts`, then `Done` or `Failed`.
    Generate {
        request: Request,
        /// What the drafts had when another worker was lost; empty: nothing.
        so_far: Vec<SoFar>,
    },
    /// End one draft, or all, of the generation with this id; takes effect
    /// within one token, and while the start is computed within one layer. Answered under the generation's own id.
    Stop { generation: Id, draft: Option<usize> },
    /// How many tokens a start has. Answered by `Counted` or `Failed`.
    Count(String),
    /// How quickly this machine reads the loaded weights. Answered by
    /// `Measured` or `Failed`.
    Measure,
    /// The logits behind these tokens. Answered by `Logits` or `Failed`.
    Logits(Vec<u32>),
    /// Remove from this device what it keeps of the bot at this address, and the
    /// weights of this digest. Not answered: what cannot be removed is only in
    /// the way.
    Forget { model: String, sha256: Option<String> },
    /// Answered by `Pong`: how the page knows that the worker lives.
    Ping,
}

/// Which bot, and how to run it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LoadRequest {
    /// Absolute URL of a bundle folder, or of a `.gguf` file.
    pub model: String,
    /// Files that the visitor gave, name -> object URL; what is in it is not
    /// asked of the network, and not kept.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    pub precision: Precision,
    pub backend: BackendChoice,
}

/// The `backend` parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum BackendChoice {
    /// The GPU where it computes right and is quicker, else SIMD.
    #[default]
    Auto,
    /// The GPU, unless it fails or computes wrong.
    WebGpu,
    Simd,
    Scalar,
}

impl BackendChoice {
    pub const ALL: [Self; 4] = [Self::Auto, Self::WebGpu, Self::Simd, Self::Scalar];

    /// As the address has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::WebGpu => "webgpu",
            Self::Simd => "simd",
            Self::Scalar => "scalar",
        }
    }

    /// The choice of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.name() == name)
    }
}

/// Worker to page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub id: Id,
    pub news: News,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "each is written down as JSON at once; none is kept")]
pub enum News {
    /// Who the bot is; known before its weights are here.
    Bot(BotInfo),
    Progress {
        phase: Phase,
        loaded_bytes: u64,
        total_bytes: Option<u64>,
    },
    /// Whether the load is at the GPU now, whose driver may end the worker.
    TriesGpu(bool),
    Ready(Ready),
    /// What one step did to the drafts, and the tokens it drew: (draft, token).
    Drafts {
        events: Vec<Event>,
        drawn: Vec<(usize, u32)>,
    },
    Done(Stats),
    Failed(Failure),
    /// Tokens of a start, the one that begins every post included.
    Counted(usize),
    /// `None`: the weights are not in this machine's memory.
    Measured(Option<Traffic>),
    Logits(Vec<f32>),
    Pong,
}

/// What a load is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The engine's own program over the network.
    Engine,
    /// Reading `bot.json`.
    Description,
    /// Another tab is bringing the same weights.
    Waiting,
    /// Weights over the network.
    Download,
    /// Weights that this device has kept.
    Cache,
    /// A known prompt runs through the engine.
    Check,
    /// The GPU and the processor are timed.
    Measure,
}

/// Why this engine writes, where there was a choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Because {
    /// Both were timed: milliseconds a token.
    GpuQuicker {
        gpu_ms: f64,
        simd_ms: f64,
    },
    SimdQuicker {
        gpu_ms: f64,
        simd_ms: f64,
    },
    /// The browser has none.
    NoWebGpu,
    /// The only adapter is a program.
    SoftwareGpu,
    /// Its logits were not the processor's.
    WrongNumbers,
    /// In its own words.
    GpuFailed(String),
}

/// The engine as it came up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// `webgpu`, `simd` or `scalar`.
    pub backend: String,
    /// Why, where there was a choice: words for the end of the status line.
    pub because: Option<Because>,
    /// Which of the engine's builds runs, such as `relaxed-shared`.
    pub build: String,
    /// Threads that compute.
    pub threads: usize,
    /// The longest text in tokens, prompt included.
    pub positions: usize,
    /// Digest of the weights' file; `None` where nothing says what it must be.
    pub weights_sha256: Option<String>,
    /// Size of the weights' file.
    pub weights_bytes: u64,
    /// From the order to here.
    pub load_ms: f64,
    /// Size of the worker's WebAssembly file; 0 where the browser hides it.
    pub wasm_bytes: u64,
    /// The engine's WebAssembly memory, which never shrinks.
    pub memory_bytes: u64,
    /// Why the next visit downloads the weights again; `None`: they stay on this device.
    pub not_kept: Option<NotKept>,
}

/// How a generation went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    pub prompt_tokens: usize,
    /// Tokens drawn, all drafts together.
    pub new_tokens: usize,
    /// From the order to the first token drawn.
    pub first_token_ms: f64,
    pub total_ms: f64,
    /// Prompt tokens over the time of the first step.
    pub prefill_tokens_per_s: f64,
    /// Tokens after the first step over the time after it.
    pub tokens_per_s: f64,
    pub memory_bytes: u64,
}

/// What bounds a decode step: the bytes it reads, and the speed of reading.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// A plain read of the loaded weights by one thread, best of several;
    /// 10^9 bytes a second.
    pub read_gb_per_s: f64,
    /// Bytes of weights that a step reads.
    pub weight_bytes: u64,
    /// Bytes of keys and values for each position that a step sees.
    pub position_bytes: u64,
}

/// Why something did not work, as a sentence for the visitor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
    /// Whether trying the same again can help.
    pub retryable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The bot, or the engine, could not be fetched.
    Network,
    /// What was fetched is not what `bot.json` promises.
    Damaged,
    /// The file is no model that this engine runs.
    Model,
    /// The request cannot be carried out (a start that is too long).
    Request,
    /// The worker is gone.
    Crash,
    /// The GPU is gone, or of no use any more; a processor can go on.
    Gpu,
}

impl FailureKind {
    /// Whether the processor can go on where the engine `on_gpu` failed so.
    pub fn spares_processor(self, on_gpu: bool) -> bool {
        on_gpu && matches!(self, Self::Gpu | Self::Crash)
    }
}

/// What the readers need to render a bot's card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardOrder {
    pub markdown: String,
    /// The text of `bot.json`; empty where there is none.
    pub manifest: String,
    /// Where the bundle is, ending in `/`: its pictures are there. Empty where
    /// it has no address: pictures are left out.
    pub folder: String,
}

/// Why a bot's weights are not kept on this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotKept {
    /// Its storage is full.
    Full,
    /// The browser gives the page none.
    NoStorage,
    /// No `bot.json` says what they are.
    Undescribed,
}

/// A bot's card, ready to show.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CardPage {
    /// Sanitised.
    pub html: String,
    /// Name, bytes and SHA-256 of each file.
    pub files: Vec<(String, u64, String)>,
    /// Loss on held-out posts, nats a token, by step.
    pub validation: Vec<(u64, f64)>,
    pub first_loss: Option<f64>,
    pub final_loss: Option<f64>,
}

/// A message on its way: JSON text.
pub fn encode(message: &impl Serialize) -> JsValue {
    match serde_json::to_string(message) {
        Ok(text) => text.into(),
        Err(error) => wasm_bindgen::throw_str(&error.to_string()),
    }
}

/// A message that has come.
pub fn decode<T: DeserializeOwned>(message: &JsValue) -> Result<T, serde_json::Error> {
    serde_json::from_str(&message.as_string().unwrap_or_default())
}
