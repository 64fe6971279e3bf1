//! The Hub's responses, reduced to the fields that are used.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

/// The upload mode of each announced file.
#[derive(Deserialize)]
pub struct Preuploads {
    files: Vec<Preupload>,
}

#[derive(Deserialize)]
struct Preupload {
    path: String,
    #[serde(rename = "uploadMode")]
    mode: String,
}

impl Preuploads {
    /// Returns `lfs` or `regular`.
    pub fn mode_of(&self, name: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == name).map(|file| file.mode.as_str())
    }
}

/// Upload instructions for LFS objects.
#[derive(Deserialize)]
pub struct Batch {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
pub struct Object {
    oid: String,
    /// Absent if the object is already stored.
    #[serde(default)]
    pub actions: Option<Actions>,
    #[serde(default)]
    pub error: Option<ObjectError>,
}

#[derive(Deserialize)]
pub struct Actions {
    #[serde(default)]
    pub upload: Option<Action>,
    #[serde(default)]
    pub verify: Option<Action>,
}

#[derive(Deserialize)]
pub struct Action {
    pub href: String,
    /// Headers to send. For a multipart upload instead `chunk_size`, and each part's URL
    /// under its number.
    #[serde(default)]
    header: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
pub struct ObjectError {
    #[serde(default)]
    pub message: String,
}

/// A multipart upload.
pub struct Parts<'a> {
    /// Bytes per part, at least 1. The last part may be shorter.
    pub part_bytes: u64,
    pub addresses: Vec<&'a str>,
}

impl Batch {
    /// Returns the object with this SHA-256.
    pub fn object(&self, sha256: &str) -> Option<&Object> {
        self.objects.iter().find(|object| object.oid == sha256)
    }
}

impl Action {
    /// Returns the parts if this is a multipart upload.
    pub fn parts(&self) -> Result<Option<Parts<'_>>, &'static str> {
        let Some(size) = self.header.get("chunk_size") else {
            return Ok(None);
        };
        let size = size.as_u64().or_else(|| size.as_str()?.parse().ok()).filter(|&size| size > 0);
        let part_bytes = size.ok_or("the size of a part is not a number")?;
        let mut parts: Vec<(u64, &str)> = self
            .header
            .iter()
            .filter_map(|(name, address)| Some((name.parse().ok()?, address.as_str()?)))
            .collect();
        parts.sort_unstable();
        if !(1..).zip(&parts).all(|(number, part)| number == part.0) {
            return Err("the parts are not numbered from 1");
        }
        Ok(Some(Parts { part_bytes, addresses: parts.into_iter().map(|(_, address)| address).collect() }))
    }

    /// Returns the headers to send with a single-part upload.
    pub fn headers(&self) -> Vec<(&str, &str)> {
        self.header
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"))
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
            .collect()
    }
}

/// The `ETag`s returned for the parts, sent to complete a multipart upload.
pub struct Tags {
    oid: String,
    parts: Vec<Value>,
}

impl Tags {
    pub fn new(sha256: &str) -> Self {
        Self { oid: sha256.to_owned(), parts: Vec::new() }
    }

    /// Adds a part's `ETag`. Parts are numbered from 1.
    pub fn push(&mut self, number: u64, tag: String) {
        self.parts.push(json!({ "partNumber": number, "etag": tag }));
    }

    pub fn to_json(&self) -> String {
        json!({ "oid": self.oid, "parts": self.parts }).to_string()
    }
}

/// The answer to a commit.
#[derive(Deserialize)]
pub struct Committed {
    #[serde(rename = "commitUrl", default)]
    address: Option<String>,
}

impl Committed {
    /// Returns the commit's URL, or else the repository's.
    pub fn address(&self, endpoint: &str, repo: &str) -> String {
        let plain = |address: &&String| address.chars().all(|c| c.is_ascii_graphic());
        match self.address.as_ref().filter(plain) {
            Some(address) => address.clone(),
            None => format!("{endpoint}/{repo}"),
        }
    }
}
