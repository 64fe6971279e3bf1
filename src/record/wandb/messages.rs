//! The few messages of W&B's `wandb_internal.proto` that a run needs.

use prost::Message;
use serde::Serialize;

/// One record of the log; exactly one of the optional fields is set.
#[derive(Clone, PartialEq, Message)]
pub struct Record {
    /// Position in the log, from 1.
    #[prost(int64, tag = "1")]
    pub num: i64,
    #[prost(message, optional, tag = "2")]
    pub history: Option<History>,
    #[prost(message, optional, tag = "3")]
    pub summary: Option<SummaryUpdate>,
    #[prost(message, optional, tag = "6")]
    pub files: Option<Files>,
    #[prost(message, optional, tag = "17")]
    pub run: Option<RunStart>,
    #[prost(message, optional, tag = "18")]
    pub exit: Option<Exit>,
    #[prost(message, optional, tag = "21")]
    pub header: Option<Header>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Header {
    #[prost(message, optional, tag = "1")]
    pub version_info: Option<VersionInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub struct VersionInfo {
    #[prost(string, tag = "1")]
    pub producer: String,
    /// The minimum version of wandb that can read the log.
    #[prost(string, tag = "2")]
    pub min_consumer: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct RunStart {
    #[prost(string, tag = "1")]
    pub run_id: String,
    #[prost(string, tag = "3")]
    pub project: String,
    #[prost(message, optional, tag = "4")]
    pub config: Option<ConfigUpdate>,
    #[prost(string, tag = "7")]
    pub job_type: String,
    #[prost(string, tag = "8")]
    pub display_name: String,
    #[prost(message, optional, tag = "17")]
    pub start_time: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ConfigUpdate {
    #[prost(message, repeated, tag = "1")]
    pub update: Vec<Item>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SummaryUpdate {
    #[prost(message, repeated, tag = "1")]
    pub update: Vec<Item>,
}

#[derive(Clone, PartialEq, Message)]
pub struct History {
    #[prost(message, repeated, tag = "1")]
    pub item: Vec<Item>,
    #[prost(message, optional, tag = "2")]
    pub step: Option<HistoryStep>,
}

#[derive(Clone, PartialEq, Message)]
pub struct HistoryStep {
    #[prost(int64, tag = "1")]
    pub num: i64,
}

/// A key and its JSON value, for config, history and summary.
#[derive(Clone, PartialEq, Message)]
pub struct Item {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "16")]
    pub value_json: String,
}

impl Item {
    /// Returns `None` if the value cannot be serialised as JSON.
    pub fn new(key: &str, value: impl Serialize) -> Option<Self> {
        Some(Self { key: key.into(), value_json: serde_json::to_string(&value).ok()? })
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Files {
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<FileItem>,
}

#[derive(Clone, PartialEq, Message)]
pub struct FileItem {
    /// Relative to the run's `files` folder.
    #[prost(string, tag = "1")]
    pub path: String,
    /// 2 for media, such as a table.
    #[prost(int32, tag = "3")]
    pub kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Exit {
    #[prost(int32, tag = "1")]
    pub exit_code: i32,
    /// In seconds.
    #[prost(int32, tag = "2")]
    pub runtime: i32,
}
