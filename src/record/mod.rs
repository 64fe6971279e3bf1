//! Records a training run locally, without any account: settings, lineage, metrics per step
//! and sample drafts, also in the formats of TensorBoard and W&B.
//!
//! A run's folder:
//!
//! | file | what it holds |
//! | --- | --- |
//! | `config.json` | [`RunConfig`]: settings, versions, machine, lineage |
//! | `metrics.jsonl` | one [`MetricsLine`] per step |
//! | `samples.jsonl` | one [`SampleSet`] per evaluation |
//! | `summary.json` | [`Summary`], once the run has ended |
//! | `events.out.tfevents.…` | the metrics for TensorBoard |
//! | `wandb/offline-run-…/` | the run for `wandb sync` |
//! | `report.html` | a self-contained report |
//! | `lock` | nothing; locked by the process that writes the run |
//!
//! The first four are the record; the others are derived from them and can be regenerated.
//! Each line is written in a single write, so a killed run has every step that it reported;
//! readers ignore a torn last line.

mod config;
mod files;
mod machine;
pub mod memorisation;
mod metrics;
mod recorder;
pub mod report;
mod run;
mod samples;
mod summary;
mod tensorboard;
mod wandb;

pub use config::{Artifact, DatasetCounts, Lineage, RunConfig, Versions};
pub use machine::Machine;
pub use metrics::{Evaluation, MetricsLine, StepMetrics};
pub use recorder::RunRecorder;
pub use run::{LOCK, Run};
pub use samples::{SampleDraft, SampleSet};
pub use summary::{Memorisation, Stopped, Summary};

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why a run could not be recorded or read.
#[derive(Debug, Error)]
pub enum RecordError {
    #[error("{} exists already and is not empty: choose another folder for the run", dir.display())]
    Exists { dir: PathBuf },
    #[error("{} is not the folder of a run: it has no config.json that `train` wrote", dir.display())]
    NotARun { dir: PathBuf },
    #[error("{} is of a newer version ({found}) than this program reads ({known}): update huggingtweets", path.display())]
    Version { path: PathBuf, found: u32, known: u32 },
    #[error("{} is not a valid part of a run's record: {source}", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("the report's template: {0}")]
    Report(#[from] minijinja::Error),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl RecordError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

#[cfg(test)]
mod tests;
