//! One step of the network: which tokens, where they stand, and which logits
//! are wanted.

/// What the cache must hold: one prompt, shared by all drafts, and a tail for
/// each draft. Allocated once a request; it never grows.
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
    /// Token slots in all.
    pub fn slots(&self) -> usize {
        self.prompt + self.drafts * self.tail
    }

    /// The slot of a place.
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

/// Where a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub sequence: Sequence,
    /// From 0 at the prompt's first token; draft tokens go on from the prompt's length.
    pub position: usize,
}

/// Tokens to run through the network together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// (R)
    pub tokens: Vec<u32>,
    /// (R)
    pub places: Vec<Place>,
    /// Rows whose logits are wanted, ascending.
    pub outputs: Vec<usize>,
    /// Set on a request's first batch: start over with an empty cache.
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
            start: Some(shape),
        }
    }

    /// R.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }
}
