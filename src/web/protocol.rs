//! The messages between page and worker. Every command carries an id, and every report the id of
//! the command it answers.

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

/// Identifies a command and its reports; a page never reuses one.
pub type Id = u32;

/// A message from page to worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    pub id: Id,
    pub action: Action,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Fetch a bot and prepare it. Answered by `Bot`, `Progress` and `TriesGpu`, then `Ready` or
    /// `Failed`.
    Load(LoadRequest),
    /// Write drafts; a generation under way is replaced and reports nothing more. Answered by
    /// `Drafts`, then `Done` or `Failed`.
    Generate {
        request: Request,
        /// What the drafts contained when another worker was lost; empty for new drafts.
        so_far: Vec<SoFar>,
    },
    /// Stop one draft, or all, of the generation with this id. Takes effect within one token;
    /// during a prefill on the CPU, when the worker next polls between layers. Answered under the
    /// generation's id.
    Stop { generation: Id, draft: Option<usize> },
    /// Count the tokens of a prompt. Answered by `Counted` or `Failed`.
    Count(String),
    /// Measure how fast this machine reads the loaded weights. Answered by `Measured` or `Failed`.
    Measure,
    /// Compute the logits after these tokens. Answered by `Logits` or `Failed`.
    Logits(Vec<u32>),
    /// Remove what this device stores of the bot at this address, and the weights with this digest.
    /// Not answered: what cannot be removed only takes up space.
    Forget { model: String, sha256: Option<String> },
    /// Liveness check, answered by `Pong`.
    Ping,
}

/// Which bot to load, and how to run it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LoadRequest {
    /// Absolute URL of a bundle folder, or of a `.gguf` file.
    pub model: String,
    /// The visitor's own files, name -> object URL. They are neither fetched from the network nor
    /// stored.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    pub precision: Precision,
    pub backend: BackendChoice,
}

/// The `backend` URL parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum BackendChoice {
    /// The GPU if it computes correctly and is faster, else SIMD.
    #[default]
    Auto,
    /// The GPU, unless it fails or computes incorrectly.
    WebGpu,
    Simd,
    Scalar,
}

impl BackendChoice {
    pub const ALL: [Self; 4] = [Self::Auto, Self::WebGpu, Self::Simd, Self::Scalar];

    /// Its name in the URL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::WebGpu => "webgpu",
            Self::Simd => "simd",
            Self::Scalar => "scalar",
        }
    }

    /// The choice with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.name() == name)
    }
}

/// A message from worker to page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub id: Id,
    pub update: Update,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "each is written down as JSON at once; none is kept")]
pub enum Update {
    /// The bot's identity; known before its weights are loaded if there is a `bot.json`.
    Bot(BotInfo),
    Progress {
        phase: Phase,
        loaded_bytes: u64,
        total_bytes: Option<u64>,
    },
    /// Whether the load is using the GPU now, whose driver may kill the worker.
    TriesGpu(bool),
    Ready(Ready),
    /// The events of one step, and the tokens it drew: (draft, token).
    Drafts {
        events: Vec<Event>,
        drawn: Vec<(usize, u32)>,
    },
    Done(Stats),
    Failed(Failure),
    /// Tokens of a prompt, including the one that begins every post.
    Counted(usize),
    /// `None` if the weights are on the GPU, or a step is using them.
    Measured(Option<Traffic>),
    Logits(Vec<f32>),
    Pong,
}

/// The stage of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Downloading the engine itself.
    Engine,
    /// Reading `bot.json`.
    Description,
    /// Another tab is downloading the same weights.
    Waiting,
    /// Downloading the weights.
    Download,
    /// Reading weights stored on this device.
    Cache,
    /// Running a known prompt through the engine.
    Check,
    /// Timing the GPU and the CPU.
    Measure,
}

/// Why this engine was chosen, where there was a choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Because {
    /// Both were timed, in milliseconds per token.
    GpuQuicker {
        gpu_ms: f64,
        simd_ms: f64,
    },
    SimdQuicker {
        gpu_ms: f64,
        simd_ms: f64,
    },
    /// The browser has no WebGPU.
    NoWebGpu,
    /// The only adapter is a software one.
    SoftwareGpu,
    /// The GPU's logits were wrong.
    WrongNumbers,
    /// The GPU's own error message.
    GpuFailed(String),
}

/// The engine after loading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// `webgpu`, `simd` or `scalar`.
    pub backend: String,
    /// Why this engine was chosen, where there was a choice; shown at the end of the status line.
    pub because: Option<Because>,
    /// Which build of the engine this is, such as `relaxed-shared`.
    pub build: String,
    /// Computing threads.
    pub threads: usize,
    /// Longest text in tokens, including the prompt.
    pub positions: usize,
    /// SHA-256 of the weights' file; `None` if nothing specifies it.
    pub weights_sha256: Option<String>,
    /// Size of the weights' file.
    pub weights_bytes: u64,
    /// From the command to this report.
    pub load_ms: f64,
    /// Size of the worker's WebAssembly file, uncompressed; 0 where the browser hides it.
    pub wasm_bytes: u64,
    /// The engine's WebAssembly memory, which never shrinks.
    pub memory_bytes: u64,
    /// Why the next visit downloads the weights again; `None` if they stay on this device.
    pub not_kept: Option<NotKept>,
}

/// Statistics of a generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    pub prompt_tokens: usize,
    /// Tokens drawn, over all drafts.
    pub new_tokens: usize,
    /// From the command to the first token drawn.
    pub first_token_ms: f64,
    pub total_ms: f64,
    /// Prompt tokens divided by `first_token_ms`.
    pub prefill_tokens_per_s: f64,
    /// Tokens after the first step divided by the time after it; all by `total_ms` if there are
    /// none.
    pub tokens_per_s: f64,
    pub memory_bytes: u64,
}

/// What limits a decoding step: the bytes it reads, and the speed of reading.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Plain read of the loaded weights by one thread, best of several; 10^9 bytes per second.
    pub read_gb_per_s: f64,
    /// Bytes of weights that a step reads.
    pub weight_bytes: u64,
    /// Bytes of keys and values for each position that a step attends to.
    pub position_bytes: u64,
}

/// An error, as a sentence for the visitor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
    /// Whether a retry can help.
    pub retryable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The bot or the engine could not be downloaded.
    Network,
    /// The data does not match `bot.json`.
    Damaged,
    /// The file is not a model that this engine runs.
    Model,
    /// The request cannot be carried out, such as a prompt that is too long.
    Request,
    /// The worker died.
    Crash,
    /// The GPU is lost or unusable; the CPU can continue.
    Gpu,
}

impl FailureKind {
    /// Whether the CPU can continue after this failure; `on_gpu`: the engine ran on the GPU.
    pub fn cpu_can_continue(self, on_gpu: bool) -> bool {
        on_gpu && matches!(self, Self::Gpu | Self::Crash)
    }
}

/// What the readers need to render a bot's card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardRequest {
    pub markdown: String,
    /// The text of `bot.json`; empty if there is none.
    pub manifest: String,
    /// The bundle's URL, ending in `/`, with its pictures. Empty if it has none: pictures are left
    /// out.
    pub folder: String,
}

/// Why a bot's weights are not stored on this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotKept {
    /// The storage is full.
    Full,
    /// The browser gives the page no storage.
    NoStorage,
    /// No `bot.json` describes them.
    Undescribed,
}

/// A rendered card.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CardPage {
    /// Sanitised HTML.
    pub html: String,
    /// Name, size in bytes and SHA-256 of each file.
    pub files: Vec<(String, u64, String)>,
    /// (step, loss on held-out posts in nats per token).
    pub validation: Vec<(u64, f64)>,
    pub first_loss: Option<f64>,
    pub final_loss: Option<f64>,
}

/// Serialises a message as JSON text.
pub fn encode(message: &impl Serialize) -> JsValue {
    match serde_json::to_string(message) {
        Ok(text) => text.into(),
        Err(error) => wasm_bindgen::throw_str(&error.to_string()),
    }
}

/// Parses a received message.
///
/// # Errors
/// If it is not the JSON text of a `T`.
pub fn decode<T: DeserializeOwned>(message: &JsValue) -> Result<T, serde_json::Error> {
    serde_json::from_str(&message.as_string().unwrap_or_default())
}
