//! GPT-2's byte alphabet, and text processing outside the BPE.

/// Removes the spaces that old tokenizers put before punctuation and contractions, in the same
/// order as `transformers`.
pub fn clean_up_spaces(text: &str) -> String {
    const REPLACEMENTS: [(&str, &str); 10] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    REPLACEMENTS.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// GPT-2's byte alphabet: printable Latin-1 stands for itself, every other byte for a character
/// from U+0100 on, in ascending order.
pub(super) fn byte_alphabet() -> [char; 256] {
    let mut others = 0x100..;
    std::array::from_fn(|byte| match byte as u8 {
        byte @ (b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF) => char::from(byte),
        _ => others.next().and_then(char::from_u32).unwrap_or_default(),
    })
}

/// Converts bytes to text, with U+FFFD for each invalid sequence. A character that is incomplete at
/// the end is omitted, since its other bytes may follow.
pub(super) fn lossy_but_complete(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        text.push_str(chunk.valid());
        let held_back = chunks.peek().is_none() && may_complete(chunk.invalid());
        if !chunk.invalid().is_empty() && !held_back {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text
}

/// Whether these bytes, the invalid end of a text, may be an incomplete character.
fn may_complete(bytes: &[u8]) -> bool {
    matches!(std::str::from_utf8(bytes), Err(e) if e.error_len().is_none())
}
