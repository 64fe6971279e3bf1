//! GPT-2's first step: splits text into pieces, across which nothing is merged. The pattern is that
//! of `encoder.py` in openai/gpt-2,
//! `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
//! written by hand: a regex engine with look-ahead was a fifth of the engine that a page downloads.

use icu_properties::{
    CodePointMapData,
    props::{GeneralCategory, GeneralCategoryGroup},
};

const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

/// The character classes of the pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Number,
    Space,
    Other,
}

impl Kind {
    fn of(c: char) -> Self {
        match c {
            'a'..='z' | 'A'..='Z' => Self::Letter,
            '0'..='9' => Self::Number,
            _ if c.is_whitespace() => Self::Space,
            _ if c.is_ascii() => Self::Other,
            _ => {
                let category = CodePointMapData::<GeneralCategory>::new().get(c);
                if GeneralCategoryGroup::Letter.contains(category) {
                    Self::Letter
                } else if GeneralCategoryGroup::Number.contains(category) {
                    Self::Number
                } else {
                    Self::Other
                }
            }
        }
    }
}

/// The pieces of a text, in order and without gaps.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, later) = rest.split_at(first_piece(rest));
        rest = later;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Bytes of the first piece; 0 if the text is empty.
fn first_piece(text: &str) -> usize {
    if let Some(contraction) = CONTRACTIONS.iter().find(|c| text.starts_with(**c)) {
        return contraction.len();
    }
    // A word includes one space before it.
    let space = usize::from(text.starts_with(' '));
    let word = &text[space..];
    match word.chars().next().map(Kind::of) {
        Some(kind) if kind != Kind::Space => space + run(word, kind),
        _ => {
            let spaces = run(text, Kind::Space);
            let last = text[..spaces].chars().next_back().map_or(0, char::len_utf8);
            // The last of several spaces belongs to the word after it.
            if spaces == text.len() || spaces == last { spaces } else { spaces - last }
        }
    }
}

/// Bytes of the leading characters of one kind.
fn run(text: &str, kind: Kind) -> usize {
    text.find(|c| Kind::of(c) != kind).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokenizers::{
        OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
        pre_tokenizers::byte_level::ByteLevel,
    };

    /// The pieces according to the `tokenizers` crate.
    fn theirs(text: &str) -> Vec<String> {
        let mut split = PreTokenizedString::from(text);
        ByteLevel::new(false, true, true).pre_tokenize(&mut split).unwrap();
        let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, (start, end), _)| text[start..end].to_owned()).collect()
    }

    #[test]
    fn words_take_one_space_along_and_contractions_stand_alone() {
        let of = |text| pieces(text).collect::<Vec<_>>();
        assert_eq!(
            of("I'll say  it's 42!?\n\n\u{a0}x \n"),
            ["I", "'ll", " say", " ", " it", "'s", " 42", "!?", "\n\n", "\u{a0}", "x", " \n"]
        );
        assert_eq!(of("''s d'Être'RE"), ["''", "s", " d", "'", "Être", "'", "RE"]);
        assert!(of("").is_empty());
    }

    #[test]
    fn every_character_is_of_the_kind_that_the_tokenizers_crate_sees() {
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            // After a letter, a digit and a mark, a character of the same kind joins the piece.
            let text = format!("a{c}1{c}!{c} b");
            let same = pieces(&text).eq(theirs(&text));
            // A newer Unicode version has letters and numbers that were unassigned before.
            let is_new =
                || theirs(&format!("!{c}!")).len() == 1 && matches!(Kind::of(c), Kind::Letter | Kind::Number);
            assert!(same || is_new(), "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn texts_are_split_as_the_tokenizers_crate_does(text in "[ \n\t\u{a0}\u{2003}a'srevmldtéß字٣½1.🦀\u{301}]{0,24}") {
            prop_assert_eq!(pieces(&text).collect::<Vec<_>>(), theirs(&text));
        }
    }
}
