//! What a run leaves behind, without an account anywhere: its settings and
//! where everything came from, a line of figures a step, drafts, and the same
//! for the programs that people compare runs with.
//!
//! A run's folder:
//!
//! | file | what it holds |
//! | --- | --- |
//! | `config.json` | [`RunConfig`]: settings, versions, machine, lineage |
//! | `metrics.jsonl` | one [`MetricsLine`] a step |
//! | `samples.jsonl` | one [`SampleSet`] an evaluation |
//! | `summary.json` | [`Summary`], once the run has ended |
//! | `events.out.tfevents.…` | the figures for TensorBoard |
//! | `wandb/offline-run-…/` | the run for `wandb sync` |
//! | `report.html` | one page with all of it |
//! | `lock` | nothing; who writes the run holds its lock |
//!
//! The first four are the record; the others are made from them and can be made
//! again. Each line is written whole and at once, so a killed run has every
//! step that it reported; readers leave out a torn last line.

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

/// Why a run cannot be recorded, or read.
#[derive(Debug, Error)]
pub enum RecordError {
    #[error("{} exists already and is not empty: choose another folder for the run", dir.display())]
    Exists { dir: PathBuf },
    #[error("{} is not the folder of a run: it has no config.json that `train` wrote", dir.display())]
    NotARun { dir: PathBuf },
    #[error("{} is of a newer version ({found}) than this program reads ({known}): update huggingtweets", path.display())]
    Version { path: PathBuf, found: u32, known: u32 },
    #[error("{} cannot be read as a run's: {source}", path.display())]
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
