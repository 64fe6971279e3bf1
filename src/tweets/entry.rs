//! Lists in which one malformed entry must not make the others unreadable.

use std::fmt;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A list's entry if it has the expected shape. Malformed JSON (or CBOR) remains an error.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry<T> {
    Read(T),
    Unreadable(IgnoredAny),
}

impl<T> Entry<T> {
    fn into_read(self) -> Option<T> {
        match self {
            Self::Read(entry) => Some(entry),
            Self::Unreadable(_) => None,
        }
    }
}

/// What is kept of a list. Entries are taken one at a time, because all of them together, readable
/// or not, may need a hundred times the memory of the file.
pub(super) trait Collect: Default {
    type Entry;

    /// Takes the entry of this number (from 1); `None` if it does not have the expected shape.
    fn take(&mut self, number: usize, entry: Option<Self::Entry>);
}

/// Keeps the readable entries.
impl<T> Collect for Vec<T> {
    type Entry = T;

    fn take(&mut self, _: usize, entry: Option<T>) {
        self.extend(entry);
    }
}

/// What was kept of a list, as deserialised.
#[derive(Debug)]
pub(super) struct Collected<C>(pub C);

impl<'de, C: Collect<Entry: Deserialize<'de>>> Deserialize<'de> for Collected<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<C>(C);

        impl<'de, C: Collect<Entry: Deserialize<'de>>> Visitor<'de> for ListVisitor<C> {
            type Value = C;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<C, A::Error> {
                let mut number = 0;
                while let Some(entry) = list.next_element::<Entry<C::Entry>>()? {
                    number += 1;
                    self.0.take(number, entry.into_read());
                }
                Ok(self.0)
            }
        }

        deserializer.deserialize_seq(ListVisitor(C::default())).map(Self)
    }
}

/// The entries of a list that have the expected shape; empty for anything but a list.
pub(super) fn readable<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let list = Entry::<Collected<Vec<T>>>::deserialize(deserializer)?.into_read();
    Ok(list.map_or_else(Vec::new, |Collected(list)| list))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Numbers {
        read: Vec<(usize, u8)>,
        unreadable: Vec<usize>,
    }

    impl Collect for Numbers {
        type Entry = u8;

        fn take(&mut self, number: usize, entry: Option<u8>) {
            match entry {
                Some(entry) => self.read.push((number, entry)),
                None => self.unreadable.push(number),
            }
        }
    }

    #[test]
    fn entries_are_taken_in_order_with_their_numbers() {
        let Collected(numbers): Collected<Numbers> =
            serde_json::from_str(r#"[7, "x", {"a": [1]}, 8, -1]"#).unwrap();
        assert_eq!(numbers, Numbers { read: vec![(1, 7), (4, 8)], unreadable: vec![2, 3, 5] });
        for text in [r#"{"a": 1}"#, "[7, 8", "[7, tru]"] {
            assert!(serde_json::from_str::<Collected<Numbers>>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn unreadable_entries_take_no_memory() {
        let text = format!("[{}7]", "\"x\",".repeat(10_000));
        let list: Vec<[u64; 1]> = readable(&mut serde_json::Deserializer::from_str(&text)).unwrap();
        assert_eq!(list.capacity(), 0);
        let Collected(list): Collected<Vec<u64>> = serde_json::from_str(&text).unwrap();
        assert!(list == [7] && list.capacity() < 100, "{}", list.capacity());
    }
}
