//! One step of the network: its tokens, their places in sequences, and the logits that are wanted.

use std::ops::Range;

/// The token slots of a KV cache: one prompt, shared by all drafts, and a tail for each draft. A
/// cache is allocated once per request and never grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheShape {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// B: drafts that continue it.
    pub drafts: usize,
    /// Tokens a draft may add.
    pub tail: usize,
}

impl CacheShape {
    /// The number of token slots.
    pub fn slots(&self) -> usize {
        self.drafts.saturating_mul(self.tail).saturating_add(self.prompt)
    }

    /// Whether the cache has a slot for a place.
    pub fn has(&self, place: Place) -> bool {
        match place.sequence {
            Sequence::Prompt => place.position < self.prompt,
            Sequence::Draft(draft) => {
                draft < self.drafts
                    && place.position.checked_sub(self.prompt).is_some_and(|at| at < self.tail)
            }
        }
    }

    /// The slot of a place; [`CacheShape::has`] must be true of it.
    pub fn slot(&self, place: Place) -> usize {
        match place.sequence {
            Sequence::Prompt => place.position,
            Sequence::Draft(d) => self.prompt + d * self.tail + (place.position - self.prompt),
        }
    }
}

/// Which sequence a token belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequence {
    /// The shared start.
    Prompt,
    /// One draft's own continuation.
    Draft(usize),
}

/// A token's place: its sequence and its position there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub sequence: Sequence,
    /// Counts from 0 at the prompt's first token; a draft's tokens continue from the prompt's
    /// length.
    pub position: usize,
}

/// Which of a row's logits are returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    /// All V.
    #[default]
    All,
    /// The k largest, and every one that ties with the k-th.
    Top(usize),
}

/// Tokens to run through the network together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// Token ids (R).
    pub tokens: Vec<u32>,
    /// Their places (R).
    pub places: Vec<Place>,
    /// Rows whose logits are wanted, in strictly ascending order.
    pub outputs: Vec<usize>,
    /// Which logits of those rows are wanted.
    pub wanted: Wanted,
    /// Set in a request's first batch: begin with an empty cache of this shape.
    pub start: Option<CacheShape>,
}

impl Batch {
    /// A prompt's tokens, from position 0, with the logits of `outputs` wanted.
    pub fn prompt(tokens: &[u32], outputs: Vec<usize>, shape: CacheShape) -> Self {
        Self {
            tokens: tokens.to_vec(),
            places: (0..tokens.len())
                .map(|position| Place { sequence: Sequence::Prompt, position })
                .collect(),
            outputs,
            wanted: Wanted::All,
            start: Some(shape),
        }
    }

    /// R.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// A range of the rows, with their outputs, as a continuation of this batch (`start` is
    /// `None`).
    pub fn piece(&self, rows: Range<usize>) -> Self {
        let outputs = self.outputs.iter().filter(|row| rows.contains(row)).map(|row| row - rows.start);
        Self {
            outputs: outputs.collect(),
            tokens: self.tokens[rows.clone()].to_vec(),
            places: self.places[rows].to_vec(),
            wanted: self.wanted,
            start: None,
        }
    }
}

/// The logits of a batch's outputs.
#[derive(Debug, Default)]
pub struct Outputs {
    /// V
    pub vocab: usize,
    /// (outputs, V) if all were wanted, else empty.
    pub logits: Vec<f32>,
    /// One entry per output if the largest were wanted: (token, logit), unordered.
    pub top: Vec<Vec<(u32, f32)>>,
}

/// The logits of one output.
#[derive(Debug, Clone, Copy)]
pub enum Row<'a> {
    /// (V)
    All(&'a [f32]),
    /// (token, logit) of the largest, unordered.
    Top(&'a [(u32, f32)]),
}

impl Row<'_> {
    /// Whether at least one of its logits is finite.
    pub fn is_finite(&self) -> bool {
        match self {
            Self::All(logits) => logits.iter().any(|logit| logit.is_finite()),
            Self::Top(largest) => largest.iter().any(|(_, logit)| logit.is_finite()),
        }
    }
}

impl Outputs {
    /// Removes every row.
    pub fn clear(&mut self) {
        self.logits.clear();
        self.top.clear();
    }

    /// Whether every row has a finite logit; without one there is nothing to sample.
    pub fn are_finite(&self) -> bool {
        (0..self.rows()).all(|index| self.row(index).is_some_and(|row| row.is_finite()))
    }

    /// The number of outputs.
    pub fn rows(&self) -> usize {
        self.top.len() + self.logits.len() / self.vocab.max(1)
    }

    /// The logits of output `index`; `None` beyond the last.
    pub fn row(&self, index: usize) -> Option<Row<'_>> {
        match self.top.get(index) {
            Some(top) => Some(Row::Top(top)),
            None => self.logits.get(index * self.vocab..(index + 1) * self.vocab).map(Row::All),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_a_finite_logit_is_found() {
        let nan = f32::NAN;
        let whole = |logits: &[f32]| Outputs { vocab: 2, logits: logits.to_vec(), top: Vec::new() };
        assert!(whole(&[nan, 1.0, f32::INFINITY, -1.0]).are_finite());
        assert!(!whole(&[0.0, 1.0, f32::NEG_INFINITY, nan]).are_finite());
        let top = |rows: &[&[(u32, f32)]]| Outputs {
            vocab: 2,
            top: rows.iter().map(|row| row.to_vec()).collect(),
            ..Outputs::default()
        };
        assert!(top(&[&[(1, 0.5)], &[(0, nan), (1, 0.0)]]).are_finite());
        assert!(!top(&[&[(1, 0.5)], &[]]).are_finite());
        assert!(Outputs::default().are_finite());
    }
}
