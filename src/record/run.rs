//! Reads a run's folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use super::{
    MetricsLine, RecordError, RunConfig, SampleSet, Stopped, Summary, config::RUN_FORMAT, files, report,
    tensorboard, wandb,
};
use crate::bundle::staging::is_leftover;

pub(super) const CONFIG: &str = "config.json";
pub(super) const METRICS: &str = "metrics.jsonl";
pub(super) const SAMPLES: &str = "samples.jsonl";
pub(super) const SUMMARY: &str = "summary.json";
/// Locked by the process that writes the run, while it lives.
pub const LOCK: &str = "lock";

/// A run that is in progress, ended or killed.
#[derive(Debug, Clone)]
pub struct Run {
    pub dir: PathBuf,
    pub config: RunConfig,
    /// In step order.
    pub metrics: Vec<MetricsLine>,
    pub samples: Vec<SampleSet>,
    /// Absent until the run has ended.
    pub summary: Option<Summary>,
}

impl Run {
    /// Reads a folder written by [`super::RunRecorder`].
    ///
    /// # Errors
    /// [`RecordError::NotARun`] if it has no such `config.json`; another error if a file is
    /// damaged, cannot be read, or has a newer version.
    pub fn open(dir: &Path) -> Result<Self, RecordError> {
        let not_a_run = || RecordError::NotARun { dir: dir.into() };
        let path = dir.join(CONFIG);
        let value: serde_json::Value = read_json(&path)?.ok_or_else(not_a_run)?;
        let version = value.get("run_format_version").and_then(|v| v.as_u64()).ok_or_else(not_a_run)?;
        let version = u32::try_from(version).unwrap_or(u32::MAX);
        if version > RUN_FORMAT {
            return Err(RecordError::Version { path, found: version, known: RUN_FORMAT });
        }
        let config = serde_json::from_value(value).map_err(|source| RecordError::Json { path, source })?;
        Ok(Self {
            dir: dir.into(),
            config,
            metrics: files::read_lines(&dir.join(METRICS))?,
            samples: files::read_lines(&dir.join(SAMPLES))?,
            summary: read_json(&dir.join(SUMMARY))?,
        })
    }

    /// Returns the run's state: `not ended` while in progress or after a kill, `broken off`, or
    /// why it ended.
    pub fn state(&self) -> &'static str {
        match self.summary.as_ref().map(|summary| summary.stopped) {
            None if self.config.broken_off.is_some() => "broken off",
            None => "not ended",
            Some(Stopped::Completed) => "completed",
            Some(Stopped::Early) => "early",
            Some(Stopped::MaxSteps) => "max_steps",
        }
    }

    /// Returns the number of steps done.
    pub fn steps(&self) -> usize {
        self.metrics.last().map_or(0, |line| line.step)
    }

    /// Returns step and loss (in nats per token) of the best evaluation.
    pub fn best(&self) -> Option<(usize, f64)> {
        let losses = self.metrics.iter().filter_map(|line| Some((line.step, line.validation_loss?)));
        losses.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Returns the mean training loss over the last twentieth of the steps, in nats per token.
    pub fn final_loss(&self) -> Option<f64> {
        let losses: Vec<f64> = self.metrics.iter().filter_map(|line| line.loss.map(f64::from)).collect();
        let last = losses.get(losses.len() - losses.len().div_ceil(20)..)?;
        (!last.is_empty()).then(|| last.iter().sum::<f64>() / last.len() as f64)
    }

    /// Returns the seconds spent in the training loop. For a run that has not ended, the time
    /// from its start to its last line.
    pub fn seconds(&self) -> Option<f64> {
        let newest = || Some((self.metrics.last()?.unix_s - self.config.started_unix_s as f64).max(0.0));
        self.summary.as_ref().map(|summary| summary.seconds).or_else(newest)
    }

    /// Returns the median over all steps.
    pub fn median_tokens_per_s(&self) -> Option<f64> {
        let mut rates: Vec<f64> = self.metrics.iter().filter_map(|line| line.tokens_per_s).collect();
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied()
    }

    /// Returns whether a file or folder name belongs to a record.
    pub fn is_part(name: &str) -> bool {
        [CONFIG, METRICS, SAMPLES, SUMMARY, LOCK, report::REPORT, wandb::FOLDER].contains(&name)
            || name.starts_with(tensorboard::NAME)
            || is_leftover(name)
    }

    /// Returns whether the folder has a run's `config.json`, without reading the rest.
    pub fn is_at(dir: &Path) -> bool {
        let config: Result<Option<serde_json::Value>, _> = read_json(&dir.join(CONFIG));
        matches!(config, Ok(Some(value)) if value.get("run_format_version").is_some())
    }
}

/// Reads a JSON file. Returns `None` if it does not exist.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RecordError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| RecordError::Json { path: path.into(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RecordError::Io { path: path.into(), source }),
    }
}
