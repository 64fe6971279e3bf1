//! What the page shows the visitor: the status line, the alert and the progress.

use super::{Engine, Page, Run};
use crate::web::{
    page::{
        query::BadParameter,
        settings::{BadSetting, Setting},
        worker_loss::WorkerLoss,
    },
    protocol::{Because, Failure, NotKept, Phase},
};

/// Longer downloads report their quarters.
const LONG_DOWNLOAD_BYTES: u64 = 20_000_000;

/// A request that cannot be carried out; the engine is unaffected.
#[derive(Debug, Clone, PartialEq)]
pub enum Problem {
    Parameter(BadParameter),
    Setting(BadSetting),
    /// Every card is pinned.
    AllPinned,
    /// The engine's own sentence.
    Refused(String),
}

/// What needs the visitor's attention.
#[derive(Debug, Clone, PartialEq)]
pub enum Alert {
    Engine(Failure),
    Lost(WorkerLoss),
    Problem(Problem),
}

/// The content of the status line.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    NotRunning,
    Loading {
        phase: Phase,
        total_bytes: Option<u64>,
        /// In quarters, for a long download.
        percent: Option<u64>,
        /// Whether drafts start when it is over.
        waits: bool,
        gpu_lost: bool,
    },
    Engine {
        backend: String,
        threads: usize,
        doing: Doing,
        /// Why this engine is used.
        because: Option<Why>,
        /// Why the next visit downloads the weights again.
        not_kept: Option<NotKept>,
    },
}

/// Why an engine is used.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    Chosen(Because),
    /// The GPU was lost meanwhile.
    GpuLost,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Doing {
    Nothing,
    Writing,
    /// The speed of the last generation.
    Wrote {
        tokens_per_s: f64,
    },
}

impl Page {
    /// What needs attention, and whether Retry can help.
    pub fn alert(&self) -> Option<(Alert, bool)> {
        match (&self.engine, &self.problem) {
            (Engine::Failed(failure), _) => Some((Alert::Engine(failure.clone()), failure.retryable)),
            (Engine::Lost(loss), _) => Some((Alert::Lost(loss.clone()), true)),
            (_, Some(problem)) => Some((Alert::Problem(problem.clone()), false)),
            _ => None,
        }
    }

    /// Whether there is no engine, nor one on its way.
    pub fn has_failed(&self) -> bool {
        matches!(self.engine, Engine::Failed(_) | Engine::Lost(_))
    }

    /// Whether the text in a setting's field was refused.
    pub fn refuses(&self, setting: Setting) -> bool {
        matches!(&self.problem, Some(Problem::Setting(bad)) if bad.setting == setting)
    }

    /// The status line: it changes when a phase ends, not with each byte or token.
    pub fn status(&self) -> Status {
        match &self.engine {
            Engine::Failed(_) | Engine::Lost(_) => Status::NotRunning,
            Engine::Loading { phase, loaded_bytes, total_bytes } => Status::Loading {
                phase: *phase,
                total_bytes: *total_bytes,
                percent: total_bytes.and_then(|total| quarters(*loaded_bytes, total)),
                waits: matches!(self.run, Run::Waiting { .. }),
                gpu_lost: self.backend.gpu_lost(),
            },
            Engine::Ready(ready) => {
                let doing = match (&self.run, &self.last) {
                    (Run::Idle, Some(stats)) => Doing::Wrote { tokens_per_s: stats.tokens_per_s },
                    (Run::Idle, None) => Doing::Nothing,
                    _ => Doing::Writing,
                };
                let because = match (self.backend.gpu_lost(), &doing) {
                    (_, Doing::Wrote { .. }) => None,
                    (true, _) => Some(Why::GpuLost),
                    (false, Doing::Writing) => None,
                    (false, Doing::Nothing) => ready.because.clone().map(Why::Chosen),
                };
                let (backend, threads) = (ready.backend.clone(), ready.threads);
                let not_kept = ready.not_kept.filter(|_| self.run == Run::Idle);
                Status::Engine { backend, threads, doing, because, not_kept }
            }
        }
    }

    /// Loaded and total bytes of the transfer under way.
    pub fn progress(&self) -> Option<(u64, u64)> {
        match self.engine {
            Engine::Loading {
                phase: Phase::Engine | Phase::Download | Phase::Cache,
                loaded_bytes,
                total_bytes: Some(total),
            } => Some((loaded_bytes, total)),
            _ => None,
        }
    }
}

/// 0, 25, 50 or 75 for a long download; `None` for a short one.
fn quarters(loaded: u64, total: u64) -> Option<u64> {
    (total > LONG_DOWNLOAD_BYTES).then(|| (4 * loaded / total).min(3) * 25)
}
