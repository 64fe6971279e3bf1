//! Writes a run as W&B's own program does offline, for `wandb sync`.
//!
//! `wandb/offline-run-<time>-<id>/run-<id>.wandb` is a log ([`log`]) of protobuf records
//! ([`messages`]): a header, the run with its config, then for each step the latest values
//! (summary) and the step's metrics (history), and at the end the exit. Drafts are tables, each
//! a JSON file beside the log. Checked against wandb 0.31, which reads the log and uploads its
//! contents.

mod log;
mod messages;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use prost::Message;
use serde::Serialize;
use serde_json::json;
use time::{OffsetDateTime, macros::format_description};

use self::{
    log::LogFile,
    messages::{
        ConfigUpdate, Exit, FileItem, Files, Header, History, HistoryStep, Item, Record, RunStart,
        SummaryUpdate, Timestamp, VersionInfo,
    },
};
use super::{MetricsLine, RecordError, RunConfig, SampleSet, Summary, config::Artifact};

/// The W&B project that runs appear under.
const PROJECT: &str = "huggingtweets";
const JOB_TYPE: &str = "train";
pub(super) const FOLDER: &str = "wandb";
/// The minimum wandb version declared in the header, the same as wandb itself writes.
const MIN_CONSUMER: &str = "0.70.0";
/// W&B's file type for media.
const MEDIA: i32 = 2;
/// Number of hex digits of a table's digest in its name.
const NAME_DIGITS: usize = 20;

/// An open offline run. A step's records are held back until the step is over, because W&B
/// takes one line of history per step.
#[derive(Debug)]
pub struct OfflineRun {
    dir: PathBuf,
    log: LogFile,
    records: i64,
    started_unix_s: f64,
    pending: Option<Pending>,
}

/// Everything known about the latest step.
#[derive(Debug, Clone)]
struct Pending {
    line: MetricsLine,
    samples: Option<SampleSet>,
}

impl OfflineRun {
    /// Creates the folder inside the run's own, with what was recorded before. Replaces an older
    /// folder of the same run.
    pub fn create(
        run_dir: &Path,
        config: &RunConfig,
        metrics: &[MetricsLine],
        samples: &[SampleSet],
    ) -> Result<Self, RecordError> {
        let dir = run_dir.join(FOLDER).join(format!("offline-run-{}-{}", stamp(config), config.id));
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RecordError::Io { path: dir, source: error });
            }
            _ => {}
        }
        fs::create_dir_all(dir.join("files")).map_err(RecordError::io(&dir))?;
        let path = dir.join(format!("run-{}.wandb", config.id));
        let start = [header(config), start(config)];
        let start: Vec<Vec<u8>> = (1..).zip(start).map(|(num, record)| encode(num, record)).collect();
        let log = LogFile::create(&path, &start).map_err(RecordError::io(&path))?;
        let records = start.len() as i64;
        let mut run = Self { dir, log, records, started_unix_s: config.started_unix_s as f64, pending: None };

        let mut steps: BTreeMap<usize, Pending> = BTreeMap::new();
        for line in metrics {
            steps.insert(line.step, Pending { line: *line, samples: None });
        }
        for set in samples {
            steps.entry(set.step).or_insert_with(|| Pending::of(set)).samples = Some(set.clone());
        }
        for pending in steps.into_values() {
            run.over()?;
            run.pending = Some(pending);
        }
        Ok(run)
    }

    /// Adds a step's line, or replaces it with one that has more fields.
    pub fn line(&mut self, line: &MetricsLine) -> Result<(), RecordError> {
        match &mut self.pending {
            Some(pending) if pending.line.step == line.step => pending.line = *line,
            _ => {
                self.over()?;
                self.pending = Some(Pending { line: *line, samples: None });
            }
        }
        Ok(())
    }

    /// Adds a step's drafts.
    pub fn samples(&mut self, set: &SampleSet) -> Result<(), RecordError> {
        match &mut self.pending {
            Some(pending) if pending.line.step == set.step => pending.samples = Some(set.clone()),
            _ => {
                self.over()?;
                self.pending = Some(Pending::of(set));
            }
        }
        Ok(())
    }

    /// Ends the run, adding its results to the summary.
    pub fn finish(&mut self, summary: &Summary) -> Result<(), RecordError> {
        self.over()?;
        let update = items(&serde_json::to_value(summary).unwrap_or_default());
        self.write(Record { summary: Some(SummaryUpdate { update }), ..Record::default() })?;
        let runtime = summary.seconds as i32;
        self.write(Record { exit: Some(Exit { exit_code: 0, runtime }), ..Record::default() })?;
        self.log.sync().map_err(RecordError::io(&self.dir))
    }

    /// Writes the pending step: its table, summary and history.
    fn over(&mut self) -> Result<(), RecordError> {
        let Some(Pending { line, samples }) = self.pending.take() else { return Ok(()) };
        let mut item = figures(&line);
        if let Some(set) = samples {
            item.extend(Item::new("samples", self.table(&set)?));
        }
        item.extend(Item::new("_timestamp", line.unix_s));
        item.extend(Item::new("_runtime", (line.unix_s - self.started_unix_s).max(0.0)));
        item.extend(Item::new("_step", line.step));
        self.write(Record { summary: Some(SummaryUpdate { update: item.clone() }), ..Record::default() })?;
        let step = Some(HistoryStep { num: line.step as i64 });
        self.write(Record { history: Some(History { item, step }), ..Record::default() })
    }

    /// Writes drafts as a table file and returns its description for the history.
    fn table(&mut self, set: &SampleSet) -> Result<TableFile, RecordError> {
        let rows: Vec<_> =
            set.drafts.iter().map(|draft| json!([set.step, draft.prompt, draft.text])).collect();
        let text = json!({ "columns": TABLE_COLUMNS, "data": rows }).to_string();
        let sha256 = Artifact::of_bytes("", text.as_bytes()).sha256.unwrap_or_default();
        let digits = sha256.get(..NAME_DIGITS).unwrap_or_default();
        let path = format!("media/table/samples_{}_{digits}.table.json", set.step);
        let file = self.dir.join("files").join(&path);
        let folder = file.parent().unwrap_or(&self.dir);
        fs::create_dir_all(folder).and_then(|()| fs::write(&file, &text)).map_err(RecordError::io(&file))?;
        let files = vec![FileItem { path: path.clone(), kind: MEDIA }];
        self.write(Record { files: Some(Files { files }), ..Record::default() })?;
        Ok(TableFile {
            kind: "table-file",
            path,
            sha256,
            size: text.len(),
            ncols: TABLE_COLUMNS.len(),
            nrows: set.drafts.len(),
        })
    }

    fn write(&mut self, record: Record) -> Result<(), RecordError> {
        self.records += 1;
        self.log.append(&encode(self.records, record)).map_err(RecordError::io(&self.dir))
    }
}

/// Writes the pending step of a dropped run. Errors are ignored: the step is also in
/// `metrics.jsonl`.
impl Drop for OfflineRun {
    fn drop(&mut self) {
        let _ = self.over();
    }
}

const TABLE_COLUMNS: [&str; 3] = ["step", "prompt", "text"];

/// Description of a table in the history.
#[derive(Serialize)]
struct TableFile {
    #[serde(rename = "_type")]
    kind: &'static str,
    path: String,
    sha256: String,
    size: usize,
    ncols: usize,
    nrows: usize,
}

impl Pending {
    fn of(set: &SampleSet) -> Self {
        let line = MetricsLine { step: set.step, unix_s: set.unix_s, ..MetricsLine::default() };
        Self { line, samples: Some(set.clone()) }
    }
}

fn encode(num: i64, record: Record) -> Vec<u8> {
    Record { num, ..record }.encode_to_vec()
}

fn header(config: &RunConfig) -> Record {
    let version_info = Some(VersionInfo {
        producer: format!("huggingtweets {}", config.versions.huggingtweets),
        min_consumer: MIN_CONSUMER.into(),
    });
    Record { header: Some(Header { version_info }), ..Record::default() }
}

fn start(config: &RunConfig) -> Record {
    let run = RunStart {
        run_id: config.id.clone(),
        project: PROJECT.into(),
        config: Some(ConfigUpdate { update: config_items(config) }),
        job_type: JOB_TYPE.into(),
        display_name: config.name.clone(),
        start_time: Some(Timestamp { seconds: config.started_unix_s as i64, nanos: 0 }),
    };
    Record { run: Some(run), ..Record::default() }
}

/// Returns the hyper-parameters under their own names, so that W&B can sort and filter by them,
/// followed by the rest of `config.json`.
fn config_items(config: &RunConfig) -> Vec<Item> {
    let mut value = serde_json::to_value(config).unwrap_or_default();
    let hyper_parameters =
        value.as_object_mut().and_then(|object| object.remove("hyper_parameters")).unwrap_or_default();
    // `_wandb` is reserved for the client; `wandb sync` expects it.
    let mut update: Vec<Item> = Item::new("_wandb", json!({})).into_iter().collect();
    update.extend(items(&hyper_parameters));
    let taken: Vec<String> = update.iter().map(|item| item.key.clone()).collect();
    update.extend(items(&value).into_iter().filter(|item| !taken.contains(&item.key)));
    update
}

/// Returns an object's fields.
fn items(value: &serde_json::Value) -> Vec<Item> {
    let fields = value.as_object().into_iter().flatten();
    fields.filter_map(|(key, value)| Item::new(key, value)).collect()
}

/// Returns a line's metrics, named as in `metrics.jsonl`.
fn figures(line: &MetricsLine) -> Vec<Item> {
    [
        line.loss.map(|value| Item::new("loss", value)),
        line.learning_rate.map(|value| Item::new("learning_rate", value)),
        line.gradient_norm.map(|value| Item::new("gradient_norm", value)),
        line.tokens_per_s.map(|value| Item::new("tokens_per_s", value)),
        line.tokens.map(|value| Item::new("tokens", value)),
        line.validation_loss.map(|value| Item::new("validation_loss", value)),
        line.perplexity.map(|value| Item::new("perplexity", value)),
    ]
    .into_iter()
    .flatten()
    .flatten()
    .collect()
}

/// Formats the run's start (UTC) as in W&B's folder names.
fn stamp(config: &RunConfig) -> String {
    let format = format_description!("[year][month][day]_[hour][minute][second]");
    let seconds = i64::try_from(config.started_unix_s).unwrap_or_default();
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(format).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests;
