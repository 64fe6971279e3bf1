//! Lists in which one malformed entry must not make the others unreadable.

use serde::{Deserialize, Deserializer, de::IgnoredAny};

/// A list's entry if it has the expected shape. Malformed JSON (or CBOR) remains an error.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Entry<T> {
    Read(T),
    Unreadable(IgnoredAny),
}

impl<T> Entry<T> {
    pub fn into_read(self) -> Option<T> {
        match self {
            Self::Read(entry) => Some(entry),
            Self::Unreadable(_) => None,
        }
    }
}

/// The entries of a list that have the expected shape; empty for anything but a list.
pub(super) fn readable<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let list = Entry::<Vec<Entry<T>>>::deserialize(deserializer)?.into_read().unwrap_or_default();
    Ok(list.into_iter().filter_map(Entry::into_read).collect())
}
