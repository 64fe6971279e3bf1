//! Writes a run's folder during training.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    Evaluation, MetricsLine, RecordError, Run, RunConfig, SampleDraft, SampleSet, StepMetrics, Summary,
    config::RUN_FORMAT,
    files::{self, LineFile},
    report,
    run::{CONFIG, LOCK, METRICS, SAMPLES, SUMMARY},
    tensorboard::EventFile,
    wandb::OfflineRun,
};

/// An open run folder. If it is dropped without [`RunRecorder::finish`], everything reported
/// so far is kept, and [`RunRecorder::reopen`] can continue it.
#[derive(Debug)]
pub struct RunRecorder {
    dir: PathBuf,
    config: RunConfig,
    metrics: LineFile,
    samples: LineFile,
    tensorboard: EventFile,
    wandb: OfflineRun,
    /// The last line of `metrics`.
    last: Option<MetricsLine>,
}

impl RunRecorder {
    /// Starts a run in a folder that is new or contains only a [`LOCK`]. Creates missing parents.
    /// Sets `format_version`, and `started_unix_s` and `id` unless already set.
    ///
    /// # Errors
    /// [`RecordError::Exists`] if the folder contains anything else, or [`RecordError::Io`].
    pub fn create(dir: &Path, config: &RunConfig) -> Result<Self, RecordError> {
        fs::create_dir_all(dir).map_err(RecordError::io(dir))?;
        for entry in fs::read_dir(dir).map_err(RecordError::io(dir))? {
            if entry.map_err(RecordError::io(dir))?.file_name() != LOCK {
                return Err(RecordError::Exists { dir: dir.into() });
            }
        }
        let mut config = RunConfig { format_version: RUN_FORMAT, ..config.clone() };
        if config.started_unix_s == 0 {
            config.started_unix_s = now() as u64;
        }
        if config.id.is_empty() {
            config.id = config.fresh_id(dir, now());
        }
        files::replace_json(&dir.join(CONFIG), &config)?;
        Self::with(dir, config, &[], &[])
    }

    /// Continues a run after `step` steps. Anything recorded beyond them is dropped, so that the
    /// record is the same as that of an uninterrupted run.
    ///
    /// # Errors
    /// [`RecordError::NotARun`] if the folder does not contain a run, or if it cannot be read or
    /// written.
    pub fn reopen(dir: &Path, step: usize) -> Result<Self, RecordError> {
        Self::reopen_as(dir, step, |_| {})
    }

    /// Like [`RunRecorder::reopen`], but with changed settings, for example more steps.
    ///
    /// # Errors
    /// Those of [`RunRecorder::reopen`].
    pub fn reopen_as(
        dir: &Path,
        step: usize,
        change: impl FnOnce(&mut RunConfig),
    ) -> Result<Self, RecordError> {
        let mut run = Run::open(dir)?;
        change(&mut run.config);
        run.metrics.retain(|line| line.step <= step);
        run.samples.retain(|set| set.step <= step);
        match fs::remove_file(dir.join(SUMMARY)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RecordError::Io { path: dir.join(SUMMARY), source: error });
            }
            _ => {}
        }
        // The id names a folder that is deleted and recreated, so accept only our own format.
        if run.config.id.is_empty() || !run.config.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            run.config.id = run.config.fresh_id(dir, now());
        }
        run.config.ended_unix_s = None;
        run.config.broken_off = None;
        run.config.lineage.output = None;
        files::replace_json(&dir.join(CONFIG), &run.config)?;
        Self::with(dir, run.config, &run.metrics, &run.samples)
    }

    fn with(
        dir: &Path,
        config: RunConfig,
        metrics: &[MetricsLine],
        samples: &[SampleSet],
    ) -> Result<Self, RecordError> {
        let recorder = Self {
            dir: dir.into(),
            tensorboard: EventFile::create(dir, now(), metrics, samples)?,
            wandb: OfflineRun::create(dir, &config, metrics, samples)?,
            config,
            metrics: LineFile::create(&dir.join(METRICS), metrics)?,
            samples: LineFile::create(&dir.join(SAMPLES), samples)?,
            last: metrics.last().copied(),
        };
        recorder.write_report()?;
        Ok(recorder)
    }

    /// Returns the contents of `config.json`.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Records a step. When this returns, it has been written to the file.
    ///
    /// # Errors
    /// [`RecordError::Io`], for example if the disk is full.
    pub fn step(&mut self, step: &StepMetrics) -> Result<(), RecordError> {
        let line = MetricsLine::of_step(step, now());
        self.metrics.append(&line)?;
        self.tensorboard.step(&line)?;
        self.wandb.line(&line)?;
        self.last = Some(line);
        Ok(())
    }

    /// Records an evaluation, merged into the line of its step.
    ///
    /// # Errors
    /// Those of [`RunRecorder::step`].
    pub fn evaluation(&mut self, evaluation: &Evaluation) -> Result<(), RecordError> {
        let line = match self.last {
            Some(last) if last.step == evaluation.step => {
                let line = last.with(evaluation);
                self.metrics.replace_last(&line)?;
                line
            }
            _ => {
                let line = MetricsLine { step: evaluation.step, unix_s: now(), ..MetricsLine::default() };
                let line = line.with(evaluation);
                self.metrics.append(&line)?;
                line
            }
        };
        self.tensorboard.evaluation(&line)?;
        self.wandb.line(&line)?;
        self.last = Some(line);
        Ok(())
    }

    /// Records drafts generated after `step` steps.
    ///
    /// # Errors
    /// Those of [`RunRecorder::step`].
    pub fn samples(&mut self, step: usize, drafts: &[SampleDraft]) -> Result<(), RecordError> {
        let set = SampleSet { step, drafts: drafts.into(), unix_s: now() };
        self.samples.append(&set)?;
        self.tensorboard.samples(&set)?;
        self.wandb.samples(&set)?;
        self.write_report()
    }

    /// Syncs the record to disk. Called before a checkpoint is put in place, so that even after
    /// a power failure no checkpoint is ahead of its record.
    ///
    /// # Errors
    /// [`RecordError::Io`] if syncing fails.
    pub fn sync(&self) -> Result<(), RecordError> {
        self.metrics.sync()?;
        self.samples.sync()
    }

    /// Writes `report.html` from everything recorded so far.
    fn write_report(&self) -> Result<(), RecordError> {
        report::write(&Run::open(&self.dir)?)
    }

    /// Marks the run as broken off, with a sentence as the reason. It can be resumed.
    ///
    /// # Errors
    /// [`RecordError::Io`]; the recorded steps are kept nevertheless.
    pub fn break_off(mut self, reason: &str) -> Result<(), RecordError> {
        self.config.ended_unix_s = Some(now() as u64);
        self.config.broken_off = Some(reason.into());
        files::replace_json(&self.dir.join(CONFIG), &self.config)?;
        self.write_report()?;
        self.sync()
    }

    /// Ends the run.
    ///
    /// # Errors
    /// [`RecordError::Io`] if a file cannot be written.
    pub fn finish(mut self, summary: &Summary) -> Result<(), RecordError> {
        self.config.ended_unix_s = Some(now() as u64);
        self.config.lineage.output = summary.output.clone();
        files::replace_json(&self.dir.join(SUMMARY), summary)?;
        files::replace_json(&self.dir.join(CONFIG), &self.config)?;
        self.wandb.finish(summary)?;
        self.tensorboard.sync().map_err(RecordError::io(&self.dir))?;
        self.write_report()?;
        self.sync()
    }
}

/// Returns the Unix time in seconds, with millisecond resolution.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as f64 / 1000.0
}
