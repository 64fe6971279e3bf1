//! Byte pair encoding (Sennrich et al. 2016, over bytes as in GPT-2): a piece of text begins as the
//! tokens of its bytes, and the neighbours whose merge has the highest priority are joined until no
//! neighbours merge. The table contains ids, not strings: a page builds it while weights are
//! downloaded, and with strings for each token and each half of a merge that took three times as
//! long.

use std::{cmp::Reverse, collections::BinaryHeap};

use hashbrown::HashMap;

use super::{Texts, TokenizerError, shorten, text};

/// The merges of a vocabulary; each joins two of its tokens into a third.
pub(super) struct Merges {
    /// The token of each byte; a byte without one is skipped.
    bytes: [Option<u32>; 256],
    /// Highest priority first.
    list: Vec<Merge>,
    /// The index in `list` of the merge of two neighbours.
    ranks: HashMap<(u32, u32), u32>,
}

struct Merge {
    left: u32,
    right: u32,
    joined: u32,
}

impl Merges {
    /// `tokens`: in id order, in the byte alphabet. `merges`: `"a b"`, highest priority first.
    ///
    /// # Errors
    /// [`TokenizerError::Duplicate`], [`TokenizerError::Merge`].
    pub fn new(tokens: &Texts, merges: &Texts) -> Result<Self, TokenizerError> {
        let vocabulary = Vocabulary::new(tokens)?;
        let id_of = |symbol: char| vocabulary.id(symbol.encode_utf8(&mut [0; 4]));
        let bytes = text::byte_alphabet().map(id_of);
        let (list, ranks) = (Vec::with_capacity(merges.len()), HashMap::with_capacity(merges.len()));
        let mut all = Self { bytes, list, ranks };
        for (index, merge) in merges.iter().enumerate() {
            let likely = all.list.last().map_or(0, |before| before.joined + 1);
            let wrong = || TokenizerError::Merge { index, merge: shorten(merge) };
            all.push(vocabulary.merge(merge, likely).ok_or_else(wrong)?);
        }
        Ok(all)
    }

    /// Adds the merge with the lowest priority so far.
    #[inline(never)]
    fn push(&mut self, merge: Merge) {
        self.ranks.insert((merge.left, merge.right), self.list.len() as u32);
        self.list.push(merge);
    }

    /// `(left, right)` of each merge, highest priority first.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (u32, u32)> {
        self.list.iter().map(|merge| (merge.left, merge.right))
    }

    /// Appends the ids of a piece.
    pub fn encode(&self, piece: &str, ids: &mut Vec<u32>) {
        let first = piece.bytes().filter_map(|byte| self.bytes[usize::from(byte)]);
        let mut symbols: Vec<Symbol> = first.map(|id| Symbol { id, previous: NONE, next: NONE }).collect();
        for at in 1..symbols.len() {
            symbols[at].previous = at - 1;
            symbols[at - 1].next = at;
        }
        // Ordered by priority, then by position in the text.
        let mut waiting: BinaryHeap<_> =
            (0..symbols.len()).filter_map(|at| Some(Reverse((self.rank(&symbols, at)?, at)))).collect();
        while let Some(Reverse((rank, at))) = waiting.pop() {
            // Outdated: one of the two has been merged since.
            if self.rank(&symbols, at) != Some(rank) {
                continue;
            }
            let gone = symbols[at].next;
            // Without a next symbol, the removed one never merges.
            let next = std::mem::replace(&mut symbols[gone].next, NONE);
            symbols[at] = Symbol { id: self.list[rank as usize].joined, next, ..symbols[at] };
            if let Some(symbol) = symbols.get_mut(next) {
                symbol.previous = at;
            }
            for at in [symbols[at].previous, at] {
                waiting.extend(self.rank(&symbols, at).map(|rank| Reverse((rank, at))));
            }
        }
        // A merge keeps the position of its left half, so the first symbol remains.
        let left = std::iter::successors(symbols.first(), |symbol| symbols.get(symbol.next));
        ids.extend(left.map(|symbol| symbol.id));
    }

    /// The rank of merging the symbol at `at` with the next one.
    fn rank(&self, symbols: &[Symbol], at: usize) -> Option<u32> {
        let left = symbols.get(at)?;
        let right = symbols.get(left.next)?;
        self.ranks.get(&(left.id, right.id)).copied()
    }
}

/// A vocabulary while its merges are read.
struct Vocabulary<'a> {
    tokens: &'a Texts,
    ids: HashMap<&'a str, u32>,
}

// Small functions that are called often: a browser optimises a function for its next call, and a
// loop of a hundred thousand turns in one call stays as slow as it began.
impl<'a> Vocabulary<'a> {
    fn new(tokens: &'a Texts) -> Result<Self, TokenizerError> {
        let mut vocabulary = Self { tokens, ids: HashMap::with_capacity(tokens.len()) };
        for (id, token) in (0..).zip(tokens.iter()) {
            vocabulary.insert(token, id)?;
        }
        Ok(vocabulary)
    }

    #[inline(never)]
    fn insert(&mut self, token: &'a str, id: u32) -> Result<(), TokenizerError> {
        match self.ids.insert(token, id) {
            Some(first) => Err(TokenizerError::Duplicate { token: shorten(token), first, second: id }),
            None => Ok(()),
        }
    }

    fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    /// Reads `"a b"`. `likely`: the id that the joined token probably has, since vocabularies list
    /// such tokens in the order of their merges.
    #[inline(never)]
    fn merge(&self, merge: &str, likely: u32) -> Option<Merge> {
        let at = merge.bytes().position(|byte| byte == b' ')?;
        let (left, right) = (&merge[..at], &merge[at + 1..]);
        let joined = match self.tokens.get(likely as usize) {
            Some(token) if token.strip_prefix(left) == Some(right) => likely,
            _ => self.id(&[left, right].concat())?,
        };
        Some(Merge { left: self.id(left)?, right: self.id(right)?, joined })
    }
}

/// A symbol of the piece, and the positions of its neighbours.
#[derive(Clone, Copy)]
struct Symbol {
    id: u32,
    previous: usize,
    next: usize,
}

/// No neighbour.
const NONE: usize = usize::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use tokenizers::{
        Model,
        models::bpe::{BPE, Vocab},
    };

    /// Every way to split a token into two others.
    fn possible(tokens: &BTreeSet<String>) -> Vec<String> {
        let splits = |token: &String| {
            let halves: Vec<_> = (1..token.len()).map(|at| token.split_at(at)).collect();
            let known = halves.into_iter().filter(|(a, b)| tokens.contains(*a) && tokens.contains(*b));
            known.map(|(a, b)| format!("{a} {b}")).collect::<Vec<_>>()
        };
        tokens.iter().flat_map(splits).collect()
    }

    fn vocabularies() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
        proptest::collection::btree_set("[abc]{1,5}", 1..60).prop_flat_map(|mut tokens| {
            tokens.extend(["a", "b", "c"].map(str::to_owned));
            // Includes orders that no training gives, in which a whole comes before its parts.
            let merges = Just(possible(&tokens)).prop_shuffle();
            (Just(tokens.into_iter().collect()), merges)
        })
    }

    proptest! {
        #[test]
        fn ids_are_those_of_the_tokenizers_crate((tokens, merges) in vocabularies(), piece in "[abcd]{0,40}") {
            let texts = |list: &Vec<String>| list.iter().collect();
            let ours = Merges::new(&texts(&tokens), &texts(&merges)).unwrap();
            let vocab: Vocab = tokens.iter().cloned().zip(0..).collect();
            let pair = |merge: &String| merge.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned()));
            let theirs = BPE::builder().vocab_and_merges(vocab, merges.iter().filter_map(pair).collect());
            let theirs = theirs.build().unwrap().tokenize(&piece).unwrap();
            let mut ids = Vec::new();
            ours.encode(&piece, &mut ids);
            prop_assert_eq!(ids, theirs.into_iter().map(|token| token.id).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_long_piece_takes_no_more_than_its_length() {
        // 2^20 bytes, merged twenty times; scanning all of them for each merge would take days.
        let tokens: Vec<_> = (0..21).map(|n| "a".repeat(1 << n)).collect();
        let merges = tokens.iter().take(20).map(|half| format!("{half} {half}")).collect();
        let mut ids = Vec::new();
        Merges::new(&tokens.iter().collect(), &merges).unwrap().encode(&tokens[20], &mut ids);
        assert_eq!(ids, [20]);
    }
}
