//! Errors of reading posts: each variant says where, what, and a way out.

use std::fmt;

use thiserror::Error;

/// A file, and the entry in it if it is an archive or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub entry: Option<String>,
}

impl Place {
    pub fn file(file: &str) -> Self {
        Self { file: file.to_owned(), entry: None }
    }

    pub fn entry(file: &str, entry: &str) -> Self {
        Self { file: file.to_owned(), entry: Some(entry.to_owned()) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(entry) => write!(f, "{}: {entry}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// Why an archive of posts was refused.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("{place}: there is no such file or folder")]
    NotFound { place: Place },
    #[error("{place}: cannot be read")]
    Io { place: Place, source: std::io::Error },
    #[error(
        "{place}: is not a zip archive (it begins with {found}); pass the .zip as it was sent, or the unpacked folder"
    )]
    NotZip { place: Place, found: String },
    #[error("{place}: the zip archive is cut short or damaged ({problem}); copy or download it again")]
    BadZip { place: Place, problem: String },
    #[error("{place}: the tar archive is cut short or damaged ({problem}); copy or download it again")]
    BadTar { place: Place, problem: String },
    #[error("{place}: is not a whole Bluesky repository export ({problem}); export it again")]
    BadCar { place: Place, problem: String },
    #[error("{place}: more than {limit} bytes once unpacked, which no archive of posts needs; refused")]
    TooLarge { place: Place, limit: u64 },
    #[error("{place}: more than {limit} bytes, which no list of posts needs; refused")]
    TooLong { place: Place, limit: u64 },
    #[error("{place}: no posts in it; looked for {looked_for}")]
    NoPostsFile { place: Place, looked_for: &'static str },
    #[error("{place}: is not UTF-8 text (byte {byte} of the file); save it as UTF-8")]
    NotUtf8 { place: Place, byte: usize },
    #[error("{place}: line {line}, column {column}: {problem}{}", hint(*.cut_short))]
    Json { place: Place, line: usize, column: usize, problem: String, cut_short: bool },
    #[error("{place}: no column `text` or `full_text` in the first line; found {found}{}", commas(*.other_separator))]
    NoColumn { place: Place, found: String, other_separator: bool },
    #[error("{place}: line {line}: {problem}")]
    Csv { place: Place, line: u64, problem: String },
    #[error("{place}: holds no post")]
    Empty { place: Place },
    #[error("{place}: none of its {count} entries can be read as a post ({first}); export it again")]
    NoneReadable { place: Place, count: usize, first: String },
    #[error("{place}: is one file of an X archive; pass the .zip as it was sent, or its unpacked folder")]
    PartOfArchive { place: Place },
    #[error(
        "{place}: unknown kind of file; expected an X archive (.zip or folder), a Mastodon archive (.tar.gz, .zip or folder), a Bluesky export (.car, or .json of listRecords), .txt, .csv or .jsonl"
    )]
    UnknownKind { place: Place },
}

fn hint(cut_short: bool) -> &'static str {
    if cut_short { "; the file is cut short, copy or download it again" } else { "" }
}

fn commas(other_separator: bool) -> &'static str {
    if other_separator { "; fields must be separated by commas, so save it as such" } else { "" }
}

impl ReadError {
    /// The error for an archive in which no post was read.
    #[cfg(feature = "archives")]
    pub(crate) fn empty(place: Place, unreadable: super::Unreadable) -> Self {
        match unreadable.count {
            0 => Self::Empty { place },
            count => Self::NoneReadable { place, count, first: unreadable.first },
        }
    }

    /// The problem of a row, without the file's name.
    pub(crate) fn within(&self) -> String {
        match self {
            Self::Json { line, column, problem, .. } => format!("line {line}, column {column}: {problem}"),
            Self::Csv { line, problem, .. } => format!("line {line}: {problem}"),
            other => other.to_string(),
        }
    }

    /// A JSON error in a document that starts `lines_before` lines into its file.
    ///
    /// serde_json quotes a value of the wrong type in its message, and the file with an account's
    /// name also has its e-mail address, so strings are left out.
    pub(crate) fn json(place: Place, error: &serde_json::Error, lines_before: usize) -> Self {
        let cut_short = error.is_eof();
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        let problem = if cut_short {
            "the JSON ends early".to_owned()
        } else if error.is_data() {
            Self::shape(error)
        } else {
            format!("not JSON: {message}")
        };
        Self::Json { place, line: error.line() + lines_before, column: error.column(), problem, cut_short }
    }

    /// What is wrong with the shape of well-formed JSON, without quoting its strings.
    pub(crate) fn shape(error: &serde_json::Error) -> String {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        match message.split_once("invalid type: string") {
            Some((_, rest)) => {
                let expected = rest.rsplit_once("expected ").map_or("", |(_, expected)| expected);
                format!("found a string, expected {expected}")
            }
            None => message.to_owned(),
        }
    }
}

/// The bytes as text, without a byte order mark.
///
/// # Errors
/// [`ReadError::NotUtf8`] with the offset of the first invalid byte.
pub(crate) fn utf8(bytes: &[u8], place: impl Fn() -> Place) -> Result<&str, ReadError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => Err(ReadError::NotUtf8 { place: place(), byte: error.valid_up_to() }),
    }
}
