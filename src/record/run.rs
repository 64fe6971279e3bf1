//! A run's folder, read back.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use super::{MetricsLine, RecordError, RunConfig, SampleSet, Summary, config::RUN_FORMAT, files};

pub(super) const CONFIG: &str = "config.json";
pub(super) const METRICS: &str = "metrics.jsonl";
pub(super) const SAMPLES: &str = "samples.jsonl";
pub(super) const SUMMARY: &str = "summary.json";

/// A run under way, ended or killed.
#[derive(Debug, Clone)]
pub struct Run {
    pub dir: PathBuf,
    pub config: RunConfig,
    /// In the order of the steps.
    pub metrics: Vec<MetricsLine>,
    pub samples: Vec<SampleSet>,
    /// Absent until the run has ended.
    pub summary: Option<Summary>,
}

impl Run {
    /// Reads a folder that [`super::RunRecorder`] wrote.
    ///
    /// # Errors
    /// [`RecordError::NotARun`] where there is no such `config.json`; the others
    /// where a file is of a newer version, or spoilt.
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

    /// Whether the folder has a run's `config.json`, without reading the rest.
    pub fn is_at(dir: &Path) -> bool {
        let config: Result<Option<serde_json::Value>, _> = read_json(&dir.join(CONFIG));
        matches!(config, Ok(Some(value)) if value.get("run_format_version").is_some())
    }
}

/// The file's value; `None` where there is no file.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RecordError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| RecordError::Json { path: path.into(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RecordError::Io { path: path.into(), source }),
    }
}
