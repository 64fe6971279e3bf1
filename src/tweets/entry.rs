//! Lists of which one bad entry must not cost the others.

use serde::{Deserialize, Deserializer, de::IgnoredAny};

/// An entry of a list as far as it is what it should be. Text that is no JSON (or
/// CBOR) at all stays an error.
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

/// The entries of a list that are what they should be; anything but a list has none.
pub(super) fn readable<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let list = Entry::<Vec<Entry<T>>>::deserialize(deserializer)?.into_read().unwrap_or_default();
    Ok(list.into_iter().filter_map(Entry::into_read).collect())
}
