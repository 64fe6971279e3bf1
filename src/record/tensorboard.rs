//! Writes event files for TensorBoard.
//!
//! An event file is a sequence of TFRecords (length, checksum, bytes, checksum), each holding
//! an `Event` message. The few fields used are declared here, from TensorFlow's `event.proto`,
//! `summary.proto` and `tensor.proto`: the existing crates are years behind
//! (`tensorboard-rs`) or need `protoc` at build time (`tboard`), while `prost` and `crc32c` are
//! maintained.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use prost::Message;

use super::{MetricsLine, RecordError, SampleSet};

/// Prefix of event file names, by which TensorBoard recognises them.
pub(super) const NAME: &str = "events.out.tfevents.";
/// The name's suffix, where TensorBoard's own writer puts the host name.
const WRITER: &str = "huggingtweets";
/// TensorFlow's `DT_STRING`.
const DT_STRING: i32 = 7;
/// TensorFlow's `DATA_CLASS_TENSOR`.
const DATA_CLASS_TENSOR: i32 = 2;
const SAMPLES_TAG: &str = "samples/text_summary";

/// An open event file.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Creates a file in the run's folder with what was recorded before, and deletes older ones.
    /// A running TensorBoard switches to the new file.
    pub fn create(
        dir: &Path,
        unix_s: f64,
        metrics: &[MetricsLine],
        samples: &[SampleSet],
    ) -> Result<Self, RecordError> {
        for entry in fs::read_dir(dir).map_err(RecordError::io(dir))? {
            let entry = entry.map_err(RecordError::io(dir))?;
            if entry.file_name().to_string_lossy().starts_with(NAME) {
                fs::remove_file(entry.path()).map_err(RecordError::io(entry.path()))?;
            }
        }
        let path = dir.join(format!("{NAME}{}.{WRITER}", unix_s as u64));
        let mut bytes = frame(&Event::version(unix_s));
        let mut events: Vec<Event> = metrics.iter().filter_map(Event::of_step).collect();
        events.extend(metrics.iter().filter_map(Event::of_evaluation));
        events.extend(samples.iter().map(Event::of_samples));
        events.sort_by_key(|event| event.step);
        events.iter().for_each(|event| bytes.extend(frame(event)));
        let file = File::create(&path)
            .and_then(|mut file| file.write_all(&bytes).map(|()| file))
            .map_err(RecordError::io(&path))?;
        Ok(Self { path, file })
    }

    /// Appends a step's metrics.
    pub fn step(&mut self, line: &MetricsLine) -> Result<(), RecordError> {
        self.write(Event::of_step(line))
    }

    /// Appends an evaluation's metrics.
    pub fn evaluation(&mut self, line: &MetricsLine) -> Result<(), RecordError> {
        self.write(Event::of_evaluation(line))
    }

    /// Appends drafts.
    pub fn samples(&mut self, set: &SampleSet) -> Result<(), RecordError> {
        self.write(Some(Event::of_samples(set)))
    }

    /// Writes each event in a single write, so that a kill tears at most the last one;
    /// TensorBoard stops at a torn record and waits.
    fn write(&mut self, event: Option<Event>) -> Result<(), RecordError> {
        let Some(event) = event else { return Ok(()) };
        self.file.write_all(&frame(&event)).map_err(RecordError::io(&self.path))
    }

    /// Syncs the file to disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970-01-01 UTC.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<EventSummary>,
}

#[derive(Clone, PartialEq, Message)]
struct EventSummary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "8")]
    tensor: Option<TensorProto>,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin_data: Option<PluginData>,
    #[prost(int32, tag = "4")]
    data_class: i32,
}

#[derive(Clone, PartialEq, Message)]
struct PluginData {
    #[prost(string, tag = "1")]
    plugin_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    tensor_shape: Option<TensorShape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    string_val: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShape {
    #[prost(message, repeated, tag = "2")]
    dim: Vec<Dim>,
}

#[derive(Clone, PartialEq, Message)]
struct Dim {
    #[prost(int64, tag = "1")]
    size: i64,
}

impl Event {
    /// The first event of every file.
    fn version(unix_s: f64) -> Self {
        Self { wall_time: unix_s, file_version: Some("brain.Event:2".into()), ..Self::default() }
    }

    fn of_step(line: &MetricsLine) -> Option<Self> {
        Self::of_scalars(
            line,
            [
                ("loss", line.loss),
                ("learning_rate", line.learning_rate.map(|rate| rate as f32)),
                ("gradient_norm", line.gradient_norm),
                ("tokens_per_s", line.tokens_per_s.map(|rate| rate as f32)),
            ],
        )
    }

    fn of_evaluation(line: &MetricsLine) -> Option<Self> {
        Self::of_scalars(
            line,
            [
                ("validation_loss", line.validation_loss.map(|loss| loss as f32)),
                ("perplexity", line.perplexity.map(|value| value as f32)),
            ],
        )
    }

    /// Returns `None` if no scalar is present.
    fn of_scalars<const N: usize>(line: &MetricsLine, scalars: [(&str, Option<f32>); N]) -> Option<Self> {
        let scalar = |(tag, value): (&str, Option<f32>)| {
            value.map(|value| Value { tag: tag.into(), simple_value: Some(value), ..Value::default() })
        };
        let value: Vec<Value> = scalars.into_iter().filter_map(scalar).collect();
        (!value.is_empty()).then(|| Self {
            wall_time: line.unix_s,
            step: line.step as i64,
            summary: Some(EventSummary { value }),
            ..Self::default()
        })
    }

    /// Returns a vector of strings for the text plugin, one per draft.
    fn of_samples(set: &SampleSet) -> Self {
        let string_val: Vec<Vec<u8>> =
            set.drafts.iter().map(|draft| no_block(&draft.text).into_bytes()).collect();
        let value = Value {
            tag: SAMPLES_TAG.into(),
            tensor: Some(TensorProto {
                dtype: DT_STRING,
                tensor_shape: Some(TensorShape { dim: vec![Dim { size: string_val.len() as i64 }] }),
                string_val,
            }),
            metadata: Some(Metadata {
                plugin_data: Some(PluginData { plugin_name: "text".into() }),
                data_class: DATA_CLASS_TENSOR,
            }),
            ..Value::default()
        };
        Self {
            wall_time: set.unix_s,
            step: set.step as i64,
            summary: Some(EventSummary { value: vec![value] }),
            ..Self::default()
        }
    }
}

/// Escapes a leading character that would open a Markdown block: the text plugin renders
/// Markdown, and would turn a leading hashtag into a heading.
fn no_block(text: &str) -> String {
    let opens = text.starts_with(['#', '>', '-', '+', '*']);
    if opens { format!("\\{text}") } else { text.into() }
}

/// Encodes a TFRecord: length (u64), its checksum, the bytes, their checksum; all
/// little-endian.
fn frame(event: &Event) -> Vec<u8> {
    let data = event.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(&data);
    record.extend(masked_crc(&data).to_le_bytes());
    record
}

/// CRC-32C, masked (rotated and offset) as in TFRecord, because a CRC over data that itself
/// contains CRCs is problematic.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::record::SampleDraft;

    /// Reads and verifies the events of the only event file in a run's folder.
    fn read(dir: &Path) -> Vec<Event> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
        let mut files = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(NAME));
        let bytes = fs::read(files.next().unwrap().path()).unwrap();
        assert!(files.next().is_none(), "one event file a run");
        let (mut at, mut events) = (0, Vec::new());
        while at < bytes.len() {
            let length: [u8; 8] = bytes[at..at + 8].try_into().unwrap();
            let data = &bytes[at + 12..][..u64::from_le_bytes(length) as usize];
            assert_eq!(bytes[at + 8..at + 12], masked_crc(&length).to_le_bytes());
            at += 12 + data.len();
            assert_eq!(bytes[at..at + 4], masked_crc(data).to_le_bytes());
            at += 4;
            events.push(Event::decode(data).unwrap());
        }
        events
    }

    /// Returns step and tags of every event with metrics or drafts, in order.
    pub fn steps(dir: &Path) -> Vec<(i64, Vec<String>)> {
        let tags = |summary: EventSummary| summary.value.into_iter().map(|value| value.tag).collect();
        read(dir).into_iter().filter_map(|event| Some((event.step, tags(event.summary?)))).collect()
    }

    fn lines() -> [MetricsLine; 2] {
        let line = MetricsLine {
            step: 1,
            loss: Some(3.5),
            learning_rate: Some(0.0001),
            gradient_norm: Some(1.25),
            tokens_per_s: Some(150.0),
            unix_s: 1_700_000_001.5,
            ..MetricsLine::default()
        };
        let second = MetricsLine {
            step: 2,
            loss: Some(3.25),
            learning_rate: Some(0.00025),
            gradient_norm: Some(0.75),
            tokens_per_s: Some(160.5),
            unix_s: 1_700_000_002.25,
            validation_loss: Some(3.125),
            perplexity: Some(22.75),
            ..line
        };
        [line, second]
    }

    fn set() -> SampleSet {
        let texts = ["My dream is a lamp", "Tonight the sea & the gulls say \"hush\" 🌊"];
        let drafts = texts.map(|text| SampleDraft { prompt: String::new(), text: text.into() });
        SampleSet { step: 2, drafts: drafts.into(), unix_s: 1_700_000_003.0 }
    }

    /// The same metrics as written with TensorBoard's own messages and writer.
    const GOLDEN: &[u8] = include_bytes!("../../tests/fixtures/record/events.out.tfevents.golden");

    #[test]
    fn the_bytes_are_tensorboards_own_whether_written_at_once_or_step_by_step() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("events.out.tfevents.1700000000.huggingtweets");
        drop(EventFile::create(home.path(), 1_700_000_000.0, &lines(), &[set()]).unwrap());
        assert_eq!(fs::read(&path).unwrap(), GOLDEN);
        let mut file = EventFile::create(home.path(), 1_700_000_000.0, &[], &[]).unwrap();
        let [first, second] = lines();
        file.step(&first).unwrap();
        file.step(&second).unwrap();
        file.evaluation(&second).unwrap();
        file.samples(&set()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), GOLDEN);
        assert_eq!(read(home.path()).len(), 5);
    }

    #[test]
    fn a_hashtag_opens_no_title() {
        assert_eq!(no_block("#lamp is lit"), "\\#lamp is lit");
        assert_eq!(no_block("lamp #lit"), "lamp #lit");
    }

    #[test]
    fn masked_checksums_are_tensorflows() {
        // RFC 3720's CRC-32C of 32 zeros is 0x8a9136aa.
        assert_eq!(masked_crc(&[0; 32]), 0x8a91_36aa_u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }
}
