//! Writes a run's folder while the run goes on.

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

/// A run's folder under way. Dropped without [`RunRecorder::finish`], it holds
/// all that was reported, and [`RunRecorder::reopen`] goes on with it.
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
    /// Begins a run in a folder that is new, or empty but for a [`LOCK`]; its parents are made.
    /// `format_version` and `started_unix_s`, where 0, are filled in.
    ///
    /// # Errors
    /// [`RecordError::Exists`] where the folder holds something already.
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

    /// Goes on with a run after `step` steps: what it recorded beyond them is
    /// dropped, so that the record is as an unbroken run's.
    ///
    /// # Errors
    /// [`RecordError::NotARun`] where the folder holds none.
    pub fn reopen(dir: &Path, step: usize) -> Result<Self, RecordError> {
        Self::reopen_as(dir, step, |_| {})
    }

    /// The same with settings that have changed: how long it goes on, for example.
    ///
    /// # Errors
    /// As [`RunRecorder::reopen`].
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
        // It names a folder that is made anew: nothing but our own kind of name.
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

    /// What `config.json` holds.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Records a step. It is in the file when this returns.
    ///
    /// # Errors
    /// [`RecordError::Io`], for example where the disk is full; so for the others.
    pub fn step(&mut self, step: &StepMetrics) -> Result<(), RecordError> {
        let line = MetricsLine::of_step(step, now());
        self.metrics.append(&line)?;
        self.tensorboard.step(&line)?;
        self.wandb.line(&line)?;
        self.last = Some(line);
        Ok(())
    }

    /// Records an evaluation, on the line of its step.
    ///
    /// # Errors
    /// As [`RunRecorder::step`].
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

    /// Records drafts made after `step` steps.
    ///
    /// # Errors
    /// As [`RunRecorder::step`].
    pub fn samples(&mut self, step: usize, drafts: &[SampleDraft]) -> Result<(), RecordError> {
        let set = SampleSet { step, drafts: drafts.into(), unix_s: now() };
        self.samples.append(&set)?;
        self.tensorboard.samples(&set)?;
        self.wandb.samples(&set)?;
        self.write_report()
    }

    /// Waits until the disk has all that was recorded. Before a checkpoint is
    /// put in place, so that even a power cut leaves no checkpoint ahead of its
    /// record.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn sync(&self) -> Result<(), RecordError> {
        self.metrics.sync()?;
        self.samples.sync()
    }

    /// Writes `report.html` from what is recorded so far.
    fn write_report(&self) -> Result<(), RecordError> {
        report::write(&Run::open(&self.dir)?)
    }

    /// Leaves a run that breaks off with the reason: a sentence. It can be gone on with.
    ///
    /// # Errors
    /// [`RecordError::Io`]: the steps are there all the same.
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
    /// [`RecordError::Io`].
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

/// Seconds since 1970-01-01 UTC, to the millisecond.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as f64 / 1000.0
}
