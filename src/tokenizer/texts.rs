//! A list of short texts in one buffer: a vocabulary's hundred thousand would each have an
//! allocation of their own as `String`s, which takes a page longer than reading them.

use std::fmt;

/// Texts in order, by index.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Texts {
    buffer: String,
    /// Where each ends in the buffer.
    ends: Vec<usize>,
}

impl Texts {
    /// An empty list with room for `count` texts of `bytes` in all.
    pub fn with_capacity(count: usize, bytes: usize) -> Self {
        Self { buffer: String::with_capacity(bytes), ends: Vec::with_capacity(count) }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn push(&mut self, text: &str) {
        self.buffer.push_str(text);
        self.ends.push(self.buffer.len());
    }

    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end);
        self.buffer.get(start..end)
    }

    /// Keeps the first `count` texts.
    pub fn truncate(&mut self, count: usize) {
        self.ends.truncate(count);
        self.buffer.truncate(self.ends.last().map_or(0, |end| *end));
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }
}

impl<T: AsRef<str>> FromIterator<T> for Texts {
    fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
        let mut all = Self::default();
        texts.into_iter().for_each(|text| all.push(text.as_ref()));
        all
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were_pushed() {
        let given = ["Ġa", "", "bc", ""];
        let mut texts: Texts = given.iter().collect();
        assert!(texts.iter().eq(given));
        assert_eq!((texts.get(0), texts.get(2), texts.get(4)), (Some("Ġa"), Some("bc"), None));
        texts.truncate(2);
        texts.push("d");
        assert!(texts.iter().eq(["Ġa", "", "d"]));
        texts.truncate(9);
        assert_eq!(texts.len(), 3);
        texts.truncate(0);
        assert_eq!(texts, Texts::default());
    }
}
